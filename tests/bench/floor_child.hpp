// What both floors share: the page in which a child says what failed, and the last steps before
// exec.
#pragma once

#include <atomic>
#include <cstdint>

#include "floor.hpp"

namespace bench {

/// Shared with the child in both ways of cloning, so that it can report and the barrier of the id
/// map works.
struct Shared {
  const char* what;
  int error;
  std::atomic<std::uint32_t> mapped;
  std::atomic<std::int32_t> pid;  ///< Of the process that a helper cloned.
};

/// nullptr with errno if there is no memory.
[[nodiscard]] Shared* shared();

/// CLOCK_MONOTONIC in nanoseconds.
[[nodiscard]] std::uint64_t now();

/// In the child: leaves the first failure for the parent and ends.
void must(long result, const char* what);

/// Fills it in from errno; false.
bool failed(FloorFailure* failure, const char* what);

/// Keyring, session, descriptors, groups, capabilities and no_new_privs, as far as `work` says.
void restrict_self(const Work& work);

}  // namespace bench
