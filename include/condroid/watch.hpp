// Watch: what happens to a container, as events on one descriptor.
//
//   auto watch = box.watch();
//   if (!watch) return fail(watch);
//   pollfd waiter{watch->poll_fd().get(), POLLIN, 0};
//   while (::poll(&waiter, 1, -1) > 0)
//     while (auto event = watch->next().value_or(std::nullopt))
//       fmt::print("{}\n", to_string(event->kind));
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/spec/address.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid {
inline namespace v0 {

namespace detail {
class ContainerCore;
class WatchCore;
}  // namespace detail

/// Tells when tasks of the container stood still for `stall` within `window`: cgroup v2 with
/// pressure stall information. At most once per window.
struct PressureTrigger {
  enum Resource : std::uint8_t { cpu, memory, io };
  enum Stall : std::uint8_t { some, full };  ///< At least one task, or all of them.
  Resource resource = memory;
  Stall who = some;
  std::chrono::microseconds stall{150000};
  /// Half a second to ten seconds. Since Linux 6.4, without CAP_SYS_RESOURCE: multiples of two
  /// seconds.
  std::chrono::microseconds window{2000000};
  bool operator==(const PressureTrigger&) const = default;
};

struct WatchOptions {
  std::vector<PressureTrigger> pressure = {};
  /// How often to look at what the kernel does not tell by itself: on v1 the limit on pids, the
  /// freezer, and kills that had another reason than the container's own limit. 0: only when there
  /// is something else, and at the end. Nothing is looked at in this way on v2.
  std::chrono::milliseconds look_every{1000};
  /// The interfaces of a network namespace of the container's own. A process of the zygote's opens
  /// a socket there, a millisecond. As long as the Watch lives and `ended` was not told, the
  /// namespace is not gone. What is there at the beginning is told of, too.
  bool interfaces = false;
};

struct WatchEvent {
  enum Kind : std::uint8_t {
    oom_kill,     ///< The kernel killed a process in it for lack of memory.
    pids_limit,   ///< A fork was refused for its limit.
    memory_low,   ///< v2: memory was taken from it although it is below memory.low.
    memory_high,  ///< v2: it was slowed down for memory.high.
    memory_max,   ///< v2: it met its limit, and memory was found in time or not.
    pressure,     ///< A trigger of WatchOptions::pressure.
    frozen,
    thawed,
    link_up,        ///< An interface that is up has its carrier.
    link_down,      ///< It is down, or its carrier is lost.
    link_removed,   ///< It was removed, or moved elsewhere.
    address_added,  ///< And can be used: of IPv6, once nobody else was found to have it.
    ended,          ///< The last one. Its Exit is there: Container::step().
  };
  Kind kind = ended;
  std::uint64_t count = 1;  ///< How often since the last event of this kind.
  std::uint64_t total = 1;  ///< How often since the container began; pressure: since the watch.
  std::size_t trigger = 0;  ///< pressure: which one.
  std::string interface =
      {};  ///< link_*, address_added: its name in the container, whose root may choose any bytes.
  std::optional<IpPrefix> address = {};  ///< address_added.
  bool operator==(const WatchEvent&) const = default;
};

/// "out-of-memory kill", "pids limit hit"
[[nodiscard]] std::string_view to_string(WatchEvent::Kind kind) noexcept;

/// Move-only; one thread at a time, whichever; inert in a forked child of the program. May outlive
/// the Container, whom it keeps in no way. What happened before it was made is told, too.
/// Descriptors: five, and one per file that tells something, one for all pressure; on v1 two more.
class Watch {
 public:
  Watch(Watch&&) noexcept;
  Watch& operator=(Watch&&) noexcept;
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch();

  /// Readable when there may be something for next(). Not any more once `ended` was told.
  [[nodiscard]] FdView poll_fd() const noexcept;
  /// The next event; nothing when there is none now. Never blocks. Events of one kind that came
  /// together are one, with their number. What the end tells first is told before `ended`.
  /// @errors Errc::in_forked_child.
  [[nodiscard]] Result<std::optional<WatchEvent>> next();
  /// `ended` was told.
  [[nodiscard]] bool done() const noexcept;

 private:
  friend class detail::ContainerCore;
  explicit Watch(std::unique_ptr<detail::WatchCore> core);
  std::unique_ptr<detail::WatchCore> core_;
};

}  // namespace v0
}  // namespace condroid
