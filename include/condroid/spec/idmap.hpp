// Namespaces and id maps: what of the container is its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <variant>
#include <vector>

#include "condroid/flags.hpp"
#include "condroid/namespaces.hpp"
#include "condroid/path.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {

/// An existing namespace to be joined instead of making a new one.
struct Join {
  Namespace kind = Namespace::net;
  /// Of a process, of a file like /run/netns/x, or a descriptor.
  std::variant<Pid, HostPath, HostFd> from = Pid{};
  bool operator==(const Join&) const = default;
};

/// A range of ids: container ids inside ... inside+count-1 are host ids outside ...
/// outside+count-1.
struct IdRange {
  std::uint32_t inside = 0;
  std::uint32_t outside = 0;
  std::uint32_t count = 1;
  auto operator<=>(const IdRange&) const = default;
};

/// How user and group ids are mapped; user_namespaces(7).
struct IdMap {
  enum Kind : std::uint8_t {
    /// None for root; otherwise the caller's ranges of /etc/subuid and /etc/subgid, else a single
    /// id.
    automatic,
    none,  ///< No user namespace of its own.
    /// The caller's ranges of /etc/subuid and /etc/subgid; an error when there are none.
    subids,
    single,  ///< The caller's own ids, mapped to the ids of the process.
    ranges,  ///< As given below.
  };
  Kind kind = automatic;
  std::vector<IdRange> uids = {};
  std::vector<IdRange> gids = {};
  bool operator==(const IdMap&) const = default;
};

/// Offsets of the clocks of a new time namespace; time_namespaces(7).
struct TimeOffsets {
  std::chrono::nanoseconds monotonic{0};
  std::chrono::nanoseconds boottime{0};
  auto operator<=>(const TimeOffsets&) const = default;
};

}  // namespace v0
}  // namespace condroid
