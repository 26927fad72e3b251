// Pool: containers that are set up already and wait for a command. To take one costs about what an
// exec costs.
//
//   auto pool = Pool::open(runtime, spec, {.size = 8});
//   auto box = pool->take({.argv = {"/bin/sh", "-c", "echo hello"}, .stdio = Stdio::capture});
//   auto exit = box->wait();
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>

#include "condroid/container.hpp"
#include "condroid/error.hpp"
#include "condroid/launch.hpp"
#include "condroid/plan/take.hpp"
#include "condroid/runtime.hpp"
#include "condroid/spec.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid {
inline namespace v0 {

namespace detail {
class PoolCore;
}  // namespace detail

struct PoolOptions {
  std::size_t size = 4;  ///< So many are kept ready; 1 to 4096.
  /// For each to be set up. Of a time in which nobody called step() or take() no more than a
  /// quarter of it counts, or a second, and nothing of it where something had come meanwhile.
  std::chrono::milliseconds deadline{10000};
};

/// Movable, not thread-safe. A parked container is as isolated as any other, in its namespaces and
/// cgroups, stopped before its command has the last rights taken away; it dies with this program.
/// It wakes nobody up. Costs three descriptors here, four with a console, and two in the zygote.
///
/// Taken ones are replaced by step(), and by take() when half of them are gone; with an event loop
/// poll poll_fd(), at most for timeout().
class Pool {
 public:
  /// Begins to set `options.size` containers up; does not wait for them.
  /// @errors of compile(); Errc::bad_spec for a Spec whose containers cannot be there several at a
  /// time or are to be launched again (Lifecycle::restart), and for a size out of range; of the
  /// first launch.
  [[nodiscard]] static Result<Pool> open(const Runtime& runtime, Spec spec,
                                         PoolOptions options = {});
  Pool(Pool&&) noexcept;
  Pool& operator=(Pool&&) noexcept;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  /// Ends those that are parked and waits until nothing of them is left.
  ~Pool();

  /// Gives a parked container its command and waits until that was executed; one that is still on
  /// its way when none is ready.
  /// @errors Step::compile with the field of `what` named, then the pool is as it was; ESRCH after
  /// a move; those of a launch.
  [[nodiscard]] Result<Container> take(const Take& what = {}, LaunchOptions options = {});
  /// The same for an event loop. Never blocks. Of LaunchOptions, stop_before is an op of plan()
  /// that is left to do for a take, and LaunchEvent::configured is not told: that was before.
  [[nodiscard]] Result<Launch> start_take(const Take& what = {}, LaunchOptions options = {});

  /// Replaces what was taken or has died, as far as that goes without waiting.
  /// @errors why the last container that should have been parked was not; asked for again at the
  /// next call.
  [[nodiscard]] Result<void> step();
  /// Readable when step() has something to do.
  [[nodiscard]] FdView poll_fd() const noexcept;
  /// Until step() wants to be called without an event, in milliseconds for poll(2): 0 when there
  /// are fewer than there are to be, else a second or less while one is being set up; -1: never.
  [[nodiscard]] int timeout() const;
  /// step() until so many are parked, or all; blocks.
  [[nodiscard]] Result<void> fill(std::size_t count = ~std::size_t{0});

  /// All that is done for such a container, in order: up to op::Park ahead, behind it by the take.
  /// @errors Step::compile with the field of `what` named.
  [[nodiscard]] Result<Plan> plan(const Take& what = {}) const;
  [[nodiscard]] const Spec& spec() const noexcept;   ///< What its containers are made of.
  [[nodiscard]] std::size_t size() const noexcept;   ///< How many there are to be.
  [[nodiscard]] std::size_t ready() const noexcept;  ///< How many are parked.

 private:
  explicit Pool(std::unique_ptr<detail::PoolCore> core);
  std::unique_ptr<detail::PoolCore> core_;
};

}  // namespace v0
}  // namespace condroid
