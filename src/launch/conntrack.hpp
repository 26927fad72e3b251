// What the kernel remembers of datagrams that were led on. Private.
#pragma once

#include <cstdint>

#include "condroid/sys/fd.hpp"

namespace condroid::inline v0::detail {

/// Where datagrams to a port went is decided once, with the first of a client's; the next ones
/// follow as long as they come. Has the kernel decide anew. What fails leaves it as it is.
/// `socket`: of NETLINK_NETFILTER; of nobody else meanwhile. nf_conntrack_netlink, Linux 5.8 for
/// asking of one port alone; before that all that is remembered is gone through.
void forget_datagrams(FdView socket, std::uint16_t port);

}  // namespace condroid::inline v0::detail
