// The network of a container: what is in a network namespace of its own beside the loopback.
//
//   spec.network.interfaces.push_back({.link = Veth{.bridge = "br0"},
//                                      .addresses = {"10.0.3.2/24"_prefix},
//                                      .gateways = {"10.0.3.1"_ip}});
//
// Interfaces are made by the host behind the barrier "configure", straight in the container's
// namespace and under their names there, and are set up by the child before anything else of the
// container runs. They go with the namespace: with the last process and descriptor in it.
// rtnetlink(7). They take CAP_NET_ADMIN in the host's network namespace, but for UserNic and Pasta.
#pragma once

#include <chrono>
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
  /// reached by `host_addresses`, and with them by a route for each address of the container's.
  std::string bridge = {};
  /// Of the host's end. Each "%x" in it becomes a random digit: "veth-web-%x%x%x%x". Empty: "veth"
  /// and random digits.
  std::string host_name = {};
  /// Of the host's end. Not for a port of a bridge, which has none.
  std::vector<IpPrefix> host_addresses = {};
  /// Further networks that the host reaches by way of the container. By a port of a bridge, too, as
  /// LXC has them: there answers of the container's neighbours come in at the bridge, so what is
  /// sent that way arrives only where its Ethernet address is known otherwise; ip-neighbour(8).
  std::vector<IpPrefix> host_routes = {};
  /// With a bridge: other isolated ports of it are not reached. Linux 4.18.
  bool isolated = false;
  /// With a bridge that has vlan_filtering: what is untagged on the cable is of this VLAN, 1 to
  /// 4094; 0: of none. Empty: as the bridge has it for new ports.
  std::optional<std::uint16_t> vlan_id = {};
  std::vector<std::uint16_t> tagged = {};  ///< The same: VLANs that are tagged on the cable.
  std::uint32_t rx_queues = 0;             ///< Of both ends, up to 4096; 0: the kernel's.
  std::uint32_t tx_queues = 0;             ///< The same.
  bool operator==(const Veth&) const = default;
};

/// A bridge of condroid's own, and by it the world: made for the first container that wants it,
/// removed with the last Runtime that used it, those of other programs on the same state directory
/// among them. The bridge has the first address of each subnet.
struct NatBridge {
  std::string name = "condroid0";
  /// One for IPv4, one for IPv6 or one of each. An Interface without addresses gets one of each, of
  /// the same number, that no other container has as long as it lives.
  std::vector<IpPrefix> subnets = {
      {IpAddress::from_bytes({10, 209, 0, 0}, false), 20},
      {IpAddress::from_bytes({0xfd, 0x63, 0x6e, 0x64, 0x72, 0x6f}, true), 64}};
  /// What leaves the bridge for elsewhere bears an address of the host; what did not begin in a
  /// container, and is for no published port, does not enter. Forwarding is switched on. Without,
  /// routes and filters are the caller's.
  bool nat = true;
  /// As Veth::isolated; with `nat` the host passes nothing on between those at the bridge either.
  bool isolated = false;
  bool operator==(const NatBridge&) const = default;
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

/// An interface of the host, for the time of the container: moved in, and given back under its name
/// and with its MTU and Ethernet address when the first process ends, whoever ends it, and when
/// the launch or the host does. It is down then and has no addresses. CAP_SYS_ADMIN is needed.
struct Phys {
  std::string parent = {};  ///< Its name on the host. Not a port of a bridge or a bond.
  bool operator==(const Phys&) const = default;
};

/// An interface whose other end is a descriptor of this program's, which reads and writes Ethernet
/// frames; Container::take_tap(). It lives as long as that is open. CAP_SYS_ADMIN is needed.
/// Documentation/networking/tuntap.rst of the kernel.
struct Tap {
  bool vnet_header = false;  ///< A struct virtio_net_hdr in front of each frame.
  bool operator==(const Tap&) const = default;
};

/// The same with IP packets.
struct Tun {
  bool operator==(const Tun&) const = default;
};

/// A veth(4) at a bridge of the host for users without rights: lxc-user-nic(1), a set-user-ID
/// program of LXC's, makes as many as lxc-usernet(5) lets them have. The host's end has the MTU of
/// the bridge.
struct UserNic {
  std::string bridge = {};
  bool operator==(const UserNic&) const = default;
};

/// What programs in the container send goes out as connections of this user's, by a process of
/// pasta(1), package passt: no rights on the host are needed. It ends with the container.
struct Pasta {
  /// An interface of the host, whose addresses and gateways the container has unless it is given
  /// some. Empty: that of the host's default route.
  std::string parent = {};
  /// The gateway's address leads to the loopback of the host.
  bool reach_host = false;
  bool operator==(const Pasta&) const = default;
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
  using Link = std::variant<Veth, Macvlan, Ipvlan, Vlan, Phys, Tap, Tun, NatBridge, UserNic, Pasta>;

  std::string name = "eth0";  ///< There; 1 to 15 bytes.
  Link link = {};
  /// Empty: a random one; for Ipvlan, Vlan, Phys and Macvlan::passthru, that of the parent.
  std::optional<MacAddress> mac = {};
  /// Instead: one in which each x is a random digit, "02:00:00:xx:xx:xx".
  std::string mac_template = {};
  /// Bytes; 68 to 65535, of IPv6 at least 1280. Empty: of the bridge or the parent.
  std::optional<std::uint32_t> mtu = {};
  bool up = true;
  /// With the length of the network's prefix: "10.0.3.2/24". They can be used when the command
  /// starts.
  std::vector<IpPrefix> addresses = {};
  /// Of the IPv4 addresses, in their order. Those that have none here have their network's last
  /// address; 0.0.0.0: none.
  std::vector<IpAddress> broadcasts = {};
  /// Default routes, one for IPv4 and one for IPv6 at most. One that no address here has in its
  /// network is taken to be on the link. With `gateway_auto`, 0.0.0.0 or :: is none of that kind.
  std::vector<IpAddress> gateways = {};
  /// The first address of the bridge, or of a macvlan's parent, is a gateway: for IPv4 and IPv6
  /// where there is an address of that kind here, and no gateway above. Where no gateway is needed,
  /// a route without `via` to "0.0.0.0/0" does.
  bool gateway_auto = false;
  std::vector<Route> routes = {};
  /// A link-local address, and what routers announce, also where nothing above is IPv6. Without,
  /// IPv6 is switched off on such an interface.
  bool ipv6_autoconf = false;
  /// Asks the network whether somebody has the IPv6 addresses already (RFC 4862) and waits for the
  /// answer, a second or two, within `ready_within` or five seconds: EADDRINUSE then. Without, they
  /// are taken as they are.
  bool duplicate_address_detection = false;
  /// Waits before the command starts until the interface has a carrier and no IPv6 address of it,
  /// the link-local one neither, is still being asked about; ETIMEDOUT after that time. 0: it is
  /// not waited for.
  std::chrono::nanoseconds ready_within{0};
  bool operator==(const Interface&) const = default;
};

/// A port of the host that leads to one of the container: `127.0.0.1:8080 -> 80`.
struct PublishedPort {
  enum Protocol : std::uint8_t { tcp, udp };

  /// One of the host's addresses; 0.0.0.0 is all of IPv4, :: all of IPv6. Empty: all of both.
  std::optional<IpAddress> host_address = {};
  std::uint16_t host_port = 0;  ///< 1 to 65535.
  std::uint16_t port = 0;       ///< In the container; 1 to 65535.
  Protocol protocol = tcp;
  bool operator==(const PublishedPort&) const = default;
};

struct Network {
  bool loopback_up = true;  ///< Bring "lo" up in a new network namespace.
  /// In a new network namespace only; made in this order. Of containers of a pool none.
  std::vector<Interface> interfaces = {};
  /// Ports of the host that lead into the container.
  std::vector<PublishedPort> publish = {};
  /// Written to the container's /etc/resolv.conf, a file of its own that lies on top of what is
  /// there; resolv.conf(5). Empty, both: it has what its root has.
  std::vector<IpAddress> name_servers = {};
  std::vector<std::string> search = {};  ///< Domains that names without a dot may be in.
  bool operator==(const Network&) const = default;
};

}  // namespace v0
}  // namespace condroid
