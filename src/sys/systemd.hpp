// Asking systemd for a scope, org.freedesktop.systemd1(5). Private.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

#include "condroid/error.hpp"

namespace condroid::inline v0::detail {

struct ScopeRequest {
  bool of_user = false;    ///< The user's systemd, else the system's.
  std::string unit = {};   ///< "name.scope"
  std::string slice = {};  ///< Empty: systemd's choice.
  pid_t process = 0;       ///< The one that is put into it.
  std::chrono::milliseconds patience{};
};

/// Has a scope with Delegate=yes started around a process. Blocks until systemd has done it, for
/// some milliseconds, at most for `patience`; one of the same name that is about to go is waited
/// for.
/// @param asked set once systemd was asked: whatever else is returned, it may be done later.
/// @errors Step::start_scope; sys/dbus.hpp.
[[nodiscard]] Result<void> start_scope(const ScopeRequest& request, bool& asked);

}  // namespace condroid::inline v0::detail
