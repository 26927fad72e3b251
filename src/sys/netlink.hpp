// The little of rtnetlink(7) that moves an interface. Private.
#pragma once

#include <string>

#include "condroid/sys/fd.hpp"

namespace condroid::inline v0::detail {

/// A socket of the caller's network namespace; errno in `error` when there is none.
[[nodiscard]] Fd open_netlink(int& error);
/// Moves the interface `name` from the namespace of one socket to that of the other, which `to` is,
/// under the name `as` if that is not empty. It is down then, without addresses. errno, or 0.
[[nodiscard]] int move_interface(FdView from_socket, FdView to_socket, FdView to,
                                 const std::string& name, const std::string& as);

}  // namespace condroid::inline v0::detail
