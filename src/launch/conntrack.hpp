// What the kernel remembers of datagrams that were led on. Private.
#pragma once

#include <cstdint>
#include <vector>

#include "condroid/spec/address.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid::inline v0::detail {

/// Flows of UDP. Where a client's datagrams went is decided once, with the first one; the next ones
/// follow as long as they come.
struct DatagramFlows {
  std::vector<IpPrefix> to = {};  ///< What the client sends to is in one of them; none: anything.
  std::uint16_t port = 0;         ///< The port that it sends to.
  /// Who answers is in one of them; or, with `unled`, it was led nowhere.
  std::vector<IpPrefix> answered_by = {};
  bool unled = false;
};

/// Has the kernel decide anew of these, and of no others. What fails leaves it as it is, and so
/// does what would take longer than half a second: the kernel goes through all that it remembers.
/// `socket`: of NETLINK_NETFILTER; of nobody else meanwhile. nf_conntrack_netlink, Linux 5.8 for
/// asking of datagrams, or one port, alone.
void forget_datagrams(FdView socket, const std::vector<DatagramFlows>& flows);

}  // namespace condroid::inline v0::detail
