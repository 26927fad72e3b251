#include "launch/filters.hpp"

#include <algorithm>

#include "condroid/plan.hpp"

namespace condroid::inline v0::detail {

Result<void> FilterCache::settle(Seccomp& seccomp) {
  if (seccomp.kind != Seccomp::rules) return {};
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(known_, seccomp, &std::pair<Seccomp, Seccomp>::first);
  if (found != known_.end()) {
    std::rotate(known_.begin(), found, found + 1);
  } else {
    auto filter = compile(seccomp);
    if (!filter) return fail(filter);
    known_.emplace_front(seccomp, std::move(*filter));
    if (known_.size() > most) known_.pop_back();
  }
  seccomp = known_.front().second;
  return {};
}

}  // namespace condroid::inline v0::detail
