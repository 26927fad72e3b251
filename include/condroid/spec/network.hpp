// The network of a container: what is in a network namespace of its own beside the loopback.
//
//   spec.network.interfaces.push_back({.link = Veth{.bridge = "br0"},
//                                      .addresses = {"10.0.3.2/24"_prefix},
//                                      .gateways = {"10.0.3.1"_ip}});
//
// Interfaces are made by the host behind the barrier "configure", straight in the container's
// namespace and under their names there, and are set up by the child before anything else of the
// container runs. They go with the namespace: with the last process and descriptor in it.
// rtnetlink(7). They take CAP_NET_ADMIN in the host's network namespace.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "condroid/spec/address.hpp"

namespace condroid {
inline namespace v0 {

/// A pair of interfaces, one here and one there; veth(4).
struct Veth {
  /// The bridge of the host that its end becomes a port of. Empty: none; then the container is
  /// reached by `host_addresses` and a route for each address of the container's.
  std::string bridge = {};
  std::string host_name = {};  ///< Of the host's end. Empty: "veth" and random digits.
  /// Of the host's end. Not for a port of a bridge, which has none.
  std::vector<IpPrefix> host_addresses = {};
  /// With a bridge: other isolated ports of it are not reached. Linux 4.18.
  bool isolated = false;
  bool operator==(const Veth&) const = default;
};

/// One more Ethernet address on an interface of the host. The host itself is not reached through
/// it.
struct Macvlan {
  enum Mode : std::uint8_t {
    private_,  ///< The others on `parent` are not reached.
    vepa,      ///< By way of a switch that sends back.
    bridge,    ///< They are.
    passthru,  ///< The only one on `parent`, with its Ethernet address.
  };
  std::string parent = {};
  Mode mode = bridge;
  bool operator==(const Macvlan&) const = default;
};

/// Further addresses on the Ethernet address of an interface of the host.
struct Ipvlan {
  enum Mode : std::uint8_t {
    l2,
    l3,   ///< Routed by the host's interface; no broadcast, no multicast.
    l3s,  ///< The same, and seen by the host's netfilter.
  };
  enum Isolation : std::uint8_t {
    bridge,    ///< The others on `parent` are reached.
    private_,  ///< They are not.
    vepa,      ///< By way of a switch that sends back.
  };
  std::string parent = {};
  Mode mode = l3;
  Isolation isolation = bridge;
  bool operator==(const Ipvlan&) const = default;
};

/// The frames of an interface of the host that have this tag, IEEE 802.1Q.
struct Vlan {
  std::string parent = {};
  std::uint16_t id = 0;  ///< 1 to 4094.
  bool operator==(const Vlan&) const = default;
};

/// Where packets for a network go.
struct Route {
  IpPrefix to = {};                          ///< "0.0.0.0/0" and "::/0" are all others.
  std::optional<IpAddress> via = {};         ///< Empty: it is reached without another in between.
  std::optional<std::uint32_t> metric = {};  ///< The lowest is taken. Empty: the kernel's.
  bool operator==(const Route&) const = default;
};

/// An interface in the container.
struct Interface {
  using Link = std::variant<Veth, Macvlan, Ipvlan, Vlan>;

  std::string name = "eth0";  ///< There; 1 to 15 bytes.
  Link link = {};
  /// Empty: a random one; for Ipvlan, Vlan and Macvlan::passthru, that of the parent.
  std::optional<MacAddress> mac = {};
  /// Bytes; 68 to 65535, of IPv6 at least 1280. Empty: of the bridge or the parent.
  std::optional<std::uint32_t> mtu = {};
  bool up = true;
  /// With the length of the network's prefix: "10.0.3.2/24". No duplicate address detection
  /// (RFC 4862) delays them: they can be used when the command starts.
  std::vector<IpPrefix> addresses = {};
  /// Default routes, one for IPv4 and one for IPv6 at most. One that no address here has in its
  /// network is taken to be on the link.
  std::vector<IpAddress> gateways = {};
  std::vector<Route> routes = {};
  /// A link-local address, and what routers announce, also where nothing above is IPv6. Without,
  /// IPv6 is switched off on such an interface.
  bool ipv6_autoconf = false;
  bool operator==(const Interface&) const = default;
};

struct Network {
  bool loopback_up = true;  ///< Bring "lo" up in a new network namespace.
  /// In a new network namespace only; made in this order. Of containers of a pool none.
  std::vector<Interface> interfaces = {};
  bool operator==(const Network&) const = default;
};

}  // namespace v0
}  // namespace condroid
