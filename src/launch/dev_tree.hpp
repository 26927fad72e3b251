// The /dev of the next container, made while the last one is on its way: a tenth of a launch that
// waits for nothing and that nobody has seen. Private.
#pragma once

#include <atomic>
#include <cstddef>
#include <mutex>
#include <optional>
#include <vector>

#include "condroid/plan.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid::inline v0::detail {

/// Ops of the child that make a tmpfs and fill it, one after the other: first the mount.
struct DevOps {
  std::size_t first = 0;
  std::size_t count = 0;  ///< With the mount.
};

/// The ops of a plan that make /dev out of nothing but themselves; none where it takes nodes of the
/// host.
[[nodiscard]] std::optional<DevOps> find_dev(const Plan& plan);

/// A detached mount with a /dev that nobody has used, for whoever launches the same again.
/// Thread-safe.
class SpareDev {
 public:
  /// The spare one, if it is what these ops make; invalid otherwise. Each is given away once.
  [[nodiscard]] Fd take(const Plan& plan, DevOps ops);
  /// Makes one, if the last two that were wanted were like this and there is none. What cannot be
  /// made is left to the child, which finds out why and whether there is another way.
  void refill(const Plan& plan, DevOps ops);
  /// Whether one was made: mknod(2) is permitted to us, and so to our children.
  [[nodiscard]] bool proven() const noexcept { return proven_.load(std::memory_order_relaxed); }

 private:
  [[nodiscard]] bool is_like(const Plan& plan, DevOps ops) const;

  std::mutex mutex_;
  std::vector<Op> ops_;  // what the spare one is made by
  bool again_ = false;   // it was wanted twice in a row
  bool making_ = false;  // by some thread
  Fd mount_;
  std::atomic<bool> proven_{false};
};

}  // namespace condroid::inline v0::detail
