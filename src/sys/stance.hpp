// Where a process is, to tell what a signal comes to. Private.
#pragma once

#include <string>

namespace condroid::inline v0::detail {

struct Stance {
  bool deaf = false;
  std::string where = {};  ///< The system call that its main thread waits in, with its arguments.
  bool operator==(const Stance&) const = default;
};

/// Whether the first process of a pid namespace would get this signal at all: one that it neither
/// handles nor blocks is dropped when it is sent, pid_namespaces(7). False when that cannot be
/// told. Two looks around the signal that are equal and deaf: it did not handle it in between
/// either.
[[nodiscard]] Stance stance_on(int pid, int signal);

}  // namespace condroid::inline v0::detail
