// Talking rtnetlink(7) with the kernel: requests and their answers. Private.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "condroid/sys/fd.hpp"

namespace condroid::inline v0::detail {

/// A socket of the calling thread's network namespace, that is told in words what was wrong; errno
/// in `error` when there is none. `protocol`: NETLINK_ROUTE, or another one.
[[nodiscard]] Fd open_netlink(int& error, int protocol = 0);

struct NetlinkAnswer {
  int error = 0;          ///< errno, or 0.
  std::uint32_t at = 0;   ///< The number of the message that failed.
  std::string text = {};  ///< What the kernel says of it, if anything; Linux 4.12.
};
/// Sends messages that are numbered from 1 to `last` and waits for the answer of the last one, or
/// for the first that failed. The kernel does them one after the other while it is sent to.
[[nodiscard]] NetlinkAnswer ask_netlink(FdView socket, std::string_view messages,
                                        std::uint32_t last);

struct FoundInterface {
  int error = 0;  ///< ENODEV: there is none of that name.
  std::uint32_t index = 0;
  std::string name = {};  ///< Not the alternative one by which it was found.
  std::uint32_t mtu = 0;
  std::uint32_t master = 0;        ///< Of what it is a port; 0: of nothing.
  std::string mac = {};            ///< Its bytes, which are six where it is Ethernet.
  bool vlan_filtering = false;     ///< Of a bridge.
  std::uint16_t default_vlan = 0;  ///< The same: of new ports, if it filters.
  std::string kind = {};           ///< "bridge", "veth"; empty for a physical one.

  [[nodiscard]] bool has_mac(const std::array<std::uint8_t, 6>& bytes) const {
    return std::ranges::equal(
        mac, bytes, [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; });
  }
};
[[nodiscard]] FoundInterface find_interface(FdView socket, const std::string& name);

/// Makes a bridge that has this number and Ethernet address.
[[nodiscard]] NetlinkAnswer create_bridge_link(FdView socket, const std::string& name,
                                               std::uint32_t index,
                                               const std::array<std::uint8_t, 6>& mac);
/// errno, or 0.
[[nodiscard]] int remove_link(FdView socket, std::uint32_t index);

/// Moves the interface `name` from the namespace of one socket to that of the other, which `to` is,
/// under the name `as` if that is not empty. It is down then, without addresses. errno, or 0.
[[nodiscard]] int move_interface(FdView from_socket, FdView to_socket, FdView to,
                                 const std::string& name, const std::string& as);

}  // namespace condroid::inline v0::detail
