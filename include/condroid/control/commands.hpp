// What LXC's command socket speaks of: the states of a container, where its socket is, and what is
// said in more than one number.
//
//   control::command_address("/var/lib/lxc", "web");  // "/var/lib/lxc/web/command"
//
//   control::to_string(control::State::frozen);  // "FROZEN"
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/flags.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid {
inline namespace v0 {
namespace control {

/// As LXC numbers and calls them.
enum class State : std::uint8_t {
  stopped,
  starting,
  running,
  stopping,
  aborting,  ///< A start that failed.
  freezing,
  frozen,
  thawed,  ///< Told, never kept: it is running then.
};
inline constexpr std::size_t state_count = 8;

/// "STOPPED", "RUNNING": what lxc-info prints and lxc-wait takes.
[[nodiscard]] std::string_view to_string(State state) noexcept;
/// The state of that name; nothing for another, also one in lower case.
[[nodiscard]] std::optional<State> state_of(std::string_view name) noexcept;

/// The abstract address of a container's command socket, without its leading zero byte, unix(7):
/// LXCPATH/NAME/command, or, where that is 106 bytes or more, the same hashed. Nothing in it is
/// normalised: "/lxc" and "/lxc/" are two.
[[nodiscard]] std::string command_address(std::string_view lxcpath, std::string_view name);
/// Where lxc-monitord of an LXCPATH listens, likewise, and the pipe that states are written to:
/// RUN/lxc/LXCPATH/monitor-fifo. `run` is "/run" for root.
[[nodiscard]] std::string monitor_address(std::string_view lxcpath);
[[nodiscard]] std::string monitor_fifo(std::string_view run, std::string_view lxcpath);

/// A rule for devices, as lxc-device sends it to a container with cgroup v2.
struct DeviceRule {
  char type = 'a';                          ///< 'b', 'c', or 'a' for both.
  std::optional<std::uint32_t> major = {};  ///< Unset: any.
  std::optional<std::uint32_t> minor = {};
  std::string access = {};  ///< Of "rwm".
  bool allow = true;
  bool operator==(const DeviceRule&) const = default;
};

/// A cgroup of a container's, with its directory.
struct CgroupHandle {
  bool v2 = false;
  Fd dir;
};

/// How a machine's cgroups are arranged, as LXC numbers it.
enum class CgroupLayout : std::int8_t { unknown = -1, legacy = 0, hybrid = 1, unified = 2 };

}  // namespace control
}  // namespace v0
}  // namespace condroid
