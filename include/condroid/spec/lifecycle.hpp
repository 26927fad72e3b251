// How a container is asked to end, whether it can be made to stand still, and when it is launched
// again.
#pragma once

#include <chrono>
#include <cstdint>

#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {

/// After which ends a container is launched again. Never after Container::stop(), kill() or the end
/// of the handle, and not when it asked for its power to be switched off.
enum class Restart : std::uint8_t {
  never,
  on_reboot,   ///< It called reboot(2) for a restart; reported as Exit::Asked::restart.
  on_failure,  ///< That, and every end that Exit::success() does not call one.
  always,
};

/// Plain data for Container::stop(), halt(), reboot() and freeze(), and for what step() and wait()
/// do at the end of the container's first process.
struct Lifecycle {
  Signal stop_signal = {15};   ///< What stop() sends first; SIGTERM.
  Signal halt_signal = {30};   ///< What halt() sends; SIGPWR, as LXC does (lxc.signal.halt).
  Signal reboot_signal = {2};  ///< What reboot() sends; SIGINT (lxc.signal.reboot).
  /// From the stop signal until everything in it is killed. Zero: at once.
  std::chrono::nanoseconds stop_timeout{std::chrono::seconds{10}};
  /// It gets a cgroup in which Container::freeze() works; CgroupMode::always on a machine with
  /// cgroup v2 gives one, too.
  bool freezable = false;
  /// Each life has another /proc/sys/kernel/random/boot_id, random(4), which tells journals where a
  /// boot begins. Without, it is the machine's.
  bool own_boot_id = false;
  /// Network, terminals, pipes and the name are kept from life to life: docs/stop.md.
  Restart restart = Restart::never;
  /// So often within `restart_window`; the next end is the last. 0: without limit.
  std::uint32_t restart_limit = 5;
  std::chrono::nanoseconds restart_window{std::chrono::minutes{1}};
  bool operator==(const Lifecycle&) const = default;
};

}  // namespace v0
}  // namespace condroid
