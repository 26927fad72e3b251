// Launch: a container on its way. A state machine that never blocks, for somebody else's event
// loop; Runtime::launch is a loop over it.
//
//   for (;;) {
//     auto done = launch.step();
//     if (!done) return fail(done);
//     if (*done) return std::move(**done);   // a Container
//     const auto [fd, events] = launch.interest();
//     pollfd waiter{fd.get(), events, 0};
//     ::poll(&waiter, 1, launch.timeout());
//   }
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "condroid/container.hpp"
#include "condroid/error.hpp"
#include "condroid/launch/protocol.hpp"
#include "condroid/plan.hpp"
#include "condroid/sys/fd.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {

namespace detail {
struct RuntimeCore;
class LaunchEngine;
}  // namespace detail

/// A descriptor to poll and for what: POLLIN, POLLOUT.
struct Interest {
  FdView fd = {};
  short events = 0;
};

/// What a callback is told; `name` lives as long as the call. The pid is the container's first
/// process, as the host numbers it.
struct LaunchEvent {
  enum Kind : std::uint8_t {
    configured,  ///< Its ids are mapped, its network is there; nothing of its root is mounted yet.
    set_up,      ///< Everything is in its place, the command is about to be executed.
    started,     ///< The command was executed.
    stopped,     ///< It ended.
  };
  Kind kind = started;
  const std::string& name;
  Pid pid = {};
};

struct LaunchOptions {
  /// For the whole launch, up to the command's first instruction. Zero or less: no deadline.
  std::chrono::milliseconds deadline{10000};
  /// Stop before this op of the plan (Plan::find) until Launch::resume.
  std::optional<std::size_t> stop_before = {};
  /// Keep the Timeline (some KiB per container, some microseconds per launch).
  bool trace = false;
  /// Called on the thread that steps the launch or the container, in order. A returned error ends
  /// the launch (`configured`, `set_up`) or is attached to the exit (`started`, `stopped`).
  std::function<Result<void>(const LaunchEvent&)> on_event = {};
  /// Told of each hook that has ended, well or not, on the same thread; of those inside the
  /// container when the launch is done. It must not call the launch or the container.
  std::function<void(const HookReport&)> on_hook = {};
};

/// Movable, not thread-safe (several Launches may be driven by several threads). One that was moved
/// from has nothing on its way: it can be assigned to and destroyed, step() is ESRCH and all else
/// does nothing.
class Launch {
 public:
  Launch(Launch&&) noexcept;
  Launch& operator=(Launch&&) noexcept;
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;
  /// Gives the launch up when it has not become a Container: kills, waits for the end, undoes. Who
  /// cannot die within ten seconds (a v1 cgroup above it is frozen, the kernel keeps it) is left to
  /// the zygote, which undoes when he has.
  ~Launch();

  /// Does what can be done without waiting. A Container once it runs, nothing while it is on its
  /// way, or the error after which there is nothing left of it: nothing but a process that was
  /// killed and is not gone, which Error::also tells then.
  [[nodiscard]] Result<std::optional<Container>> step();
  /// What step() waits for. Valid until the next step().
  [[nodiscard]] Interest interest() const;
  /// Until step() wants to be called without an event, as poll(2) takes it: milliseconds, -1 for
  /// never. That is the deadline, or earlier, to look for an end that no socket tells because a
  /// forked child of this program holds a copy of it.
  [[nodiscard]] int timeout() const;

  /// Asks for the end; step() reports Errc::cancelled when nothing is left.
  void cancel();
  /// True while the child waits before the op that LaunchOptions::stop_before named.
  [[nodiscard]] bool stopped() const;
  /// Lets a stopped child go on.
  void resume();

  [[nodiscard]] protocol::State state() const;
  /// The child, once it is known; 0 before.
  [[nodiscard]] Pid pid() const;

 private:
  friend class Container;
  friend class Pool;
  friend class Runtime;
  explicit Launch(std::unique_ptr<detail::LaunchEngine> engine);
  std::unique_ptr<detail::LaunchEngine> engine_;
};

}  // namespace v0
}  // namespace condroid
