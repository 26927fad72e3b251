// Hooks: programs of the caller's that are run at points of a container's life.
//
//   spec.hooks.run.push_back({.point = HookPoint::start_host,
//                             .program = "/usr/local/bin/register",
//                             .argv = {"register", "%{name}", "%{pid}"},
//                             .env = {"PATH=/usr/bin:/bin"}});
//
// docs/hooks.md says what each point sees, and what becomes of a hook that fails.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/path.hpp"

namespace condroid {
inline namespace v0 {

/// When a hook is run, in this order; those of one point in the order of the Spec. "Here" is the
/// world of the caller: the zygote's namespaces and ids.
enum class HookPoint : std::uint8_t {
  pre_start,  ///< Here, before anything is made.
  up,         ///< Here, for one interface, when it is made and not yet set up.
  /// Here, when namespaces, id map and interfaces are made; nothing is mounted.
  configured,
  /// In the container's namespaces, with the host's root and mounts; the container's root is not
  /// mounted.
  pre_mount,
  mount,    ///< The same; the root and all that is in it is mounted below Hooks::root_at.
  autodev,  ///< The same, after `mount`.
  /// In the container, in its root, with the ids and rights of its command. The program is the
  /// container's.
  start,
  start_host,  ///< Here, when everything is set up; the command is executed after it.
  started,     ///< Here, when the command was executed.
  down,        ///< Here, for one interface, after the end and before it goes.
  stop,        ///< Here, after the end of the first process; ns_* are still there.
  post_stop,   ///< Here, after everything else is gone.
};

/// What the core fills in where "%{word}" is in Hook::argv, env and input.
enum class HookValue : std::uint8_t {
  name,    ///< Spec::name.
  pid,     ///< The first process's, here; in the container 1 if it has pids of its own.
  target,  ///< After the end: "reboot" when it is launched again, else "stop".
  root,    ///< Hooks::root_at, at `pre_mount`, `mount` and `autodev`.
  // Of the interface that `up` and `down` are for:
  interface,         ///< Its name in the container.
  interface_type,    ///< As the Spec's text names it: "veth", "macvlan", "phys".
  interface_parent,  ///< Bridge or device that it belongs to.
  interface_host,    ///< The host's end of a veth.
  // The container's own namespaces, "/proc/PID/fd/N" of this program: at `down` and `stop`.
  ns_user,
  ns_mount,
  ns_pid,
  ns_uts,
  ns_ipc,
  ns_net,
  ns_cgroup,
  ns_time,
};

/// "%{pid}"
[[nodiscard]] std::string placeholder(HookValue value);
/// `text` as it stands for itself in a Hook, whatever stands beside it: "%" becomes "%%", which is
/// the only thing that is written differently.
[[nodiscard]] std::string hook_text(std::string_view text);

/// One program. Plain data.
struct Hook {
  HookPoint point = HookPoint::pre_start;
  /// Absolute. Here for all points but `start`, where it is a path in the container.
  std::string program = {};
  /// With argv[0]; empty: the program alone. "%{word}" is a HookValue. An argument or variable in
  /// which one has no value at this point is left out.
  std::vector<std::string> argv = {};
  /// All of its environment: "NAME=value" each. No two of a name.
  std::vector<std::string> env = {};
  /// Its standard input, up to 1 MiB; a HookValue without a value is nothing in it.
  std::string input = {};
  /// `up`, `down`: the name of the Interface; empty: each one's.
  std::string interface = {};
  /// It and its process group are killed then. 1 ms to a day.
  std::chrono::nanoseconds timeout{std::chrono::seconds{30}};
  bool operator==(const Hook&) const = default;
};

/// All of a container's.
struct Hooks {
  std::vector<Hook> run = {};
  /// Where the container's root is mounted until it becomes the root, if `pre_mount`, `mount` or
  /// `autodev` are there: a directory of the host, which in the container's mount namespace nobody
  /// needs.
  HostPath root_at{"/mnt"};
  bool operator==(const Hooks&) const = default;
};

/// What became of one hook; LaunchOptions::on_hook.
struct HookReport {
  HookPoint point = HookPoint::pre_start;
  std::string program = {};
  std::string interface = {};
  bool success = false;    ///< It ended with status 0 in time.
  std::string error = {};  ///< Else why, in one line.
  std::chrono::nanoseconds took{0};
  /// What it wrote to standard output and error: the last 16 KiB.
  std::string output = {};
  std::uint64_t dropped = 0;  ///< Bytes before that.
};

}  // namespace v0
}  // namespace condroid
