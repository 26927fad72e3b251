// What the kernel is asked for to make an interface and to set it up, as messages of rtnetlink(7).
// Private.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "condroid/spec/network.hpp"

namespace condroid::inline v0::detail {

/// One message about an interface whose index is not known yet.
struct InterfaceRequest {
  std::string bytes = {};
  std::size_t index_at = 0;  ///< Where in `bytes` the index goes, 32 bits of it.
  std::string what = {};     ///< For a reader: "address 10.0.3.2/24".
};

/// What the child sends in its network namespace: up, addresses, routes, in this order. They are
/// numbered from 1, and the last one alone is answered when it went well.
[[nodiscard]] std::vector<InterfaceRequest> setup_requests(const Interface& interface);
/// The same of the host's end of a veth: its addresses, and a route for each of the container's.
[[nodiscard]] std::vector<InterfaceRequest> host_end_requests(const Interface& interface);
[[nodiscard]] InterfaceRequest down_request();
/// What the host's end of a veth is as a port: isolated, in which VLANs. `default_vlan` is that
/// which the bridge gives new ports; 0: none.
[[nodiscard]] std::vector<InterfaceRequest> port_requests(const Veth& veth,
                                                          std::uint16_t default_vlan);

/// What the host finds out before it makes an interface.
struct InterfaceSite {
  int netns = -1;           ///< Where it is to be: a descriptor of this process.
  std::uint32_t above = 0;  ///< Index of the bridge or the parent; 0: none.
  std::uint32_t mtu = 0;    ///< 0: the kernel's.
  std::string host_name = {};
  MacAddress host_mac = {};  ///< Of the host's end of a veth.
  std::uint32_t index = 0;   ///< Of a Phys: the one it gets there. Linux 5.13.
};
/// That which makes it, or moves it in.
[[nodiscard]] std::string create_request(const Interface& interface, const InterfaceSite& site);

}  // namespace condroid::inline v0::detail
