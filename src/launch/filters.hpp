// Filters of rules that a Runtime has compiled: the Specs of a program have few, and libseccomp
// takes longer for one than a launch does. Private.
#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <utility>

#include "condroid/error.hpp"
#include "condroid/spec/seccomp.hpp"

namespace condroid::inline v0::detail {

/// Thread-safe.
class FilterCache {
 public:
  /// Puts the filter in the place of its rules, if it is made of rules.
  Result<void> settle(Seccomp& seccomp);

 private:
  static constexpr std::size_t most = 16;
  std::mutex mutex_;
  std::deque<std::pair<Seccomp, Seccomp>> known_;  ///< Rules and filter, the last used first.
};

}  // namespace condroid::inline v0::detail
