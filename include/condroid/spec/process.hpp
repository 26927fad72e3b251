// What runs in the container: command, environment, ids, standard streams, limits of the process.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "condroid/path.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {

/// Where one standard stream of the container's first process comes from or goes to.
struct Stream {
  enum Kind : std::uint8_t {
    inherit,  ///< The host's own descriptor of that number, at the time of the launch.
    null,     ///< /dev/null.
    /// A pipe; the host's end is Container::take_stdin(), take_stdout(), take_stderr(). Whoever has
    /// it reads it.
    pipe,
    capture,     ///< Output kept in memory, complete when the exit is reported; not for stdin.
    pty,         ///< The console of the container (implies Terminal::console).
    descriptor,  ///< The host descriptor `fd`.
  };
  Kind kind = inherit;
  HostFd fd = {};  ///< For descriptor only.
  constexpr Stream() = default;
  constexpr Stream(Kind k) : kind(k) {}  // NOLINT(*-explicit-*): a kind is a stream
  constexpr Stream(HostFd f) : kind(descriptor), fd(f) {}  // NOLINT(*-explicit-*)
  auto operator<=>(const Stream&) const = default;
};

/// The three standard streams. `Stdio::pty` and so on set all three alike (capture leaves stdin
/// null).
struct Stdio {
  static constexpr Stream::Kind inherit = Stream::inherit;
  static constexpr Stream::Kind null = Stream::null;
  static constexpr Stream::Kind pipe = Stream::pipe;
  static constexpr Stream::Kind capture = Stream::capture;
  static constexpr Stream::Kind pty = Stream::pty;
  Stream in = {};
  Stream out = {};
  Stream err = {};
  constexpr Stdio() = default;
  constexpr Stdio(Stream::Kind all)  // NOLINT(*-explicit-*): one kind for all three reads well
      : in(all == Stream::capture ? Stream::null : all), out(all), err(all) {}
  constexpr Stdio(Stream i, Stream o, Stream e) : in(i), out(o), err(e) {}
  auto operator<=>(const Stdio&) const = default;
};

/// A further descriptor that the command finds open under `number` (3 or more).
struct PassedFd {
  HostFd host = {};
  int number = -1;
  auto operator<=>(const PassedFd&) const = default;
};

/// The limits of setrlimit(2), by name.
enum class Rlimit : std::uint8_t {  // the values are the kernel's
  // clang-format off
  cpu, fsize, data, stack, core, rss, nproc, nofile, memlock, as, locks, sigpending, msgqueue, nice, rtprio, rttime,
  // clang-format on
};

/// One resource limit; in the unit of getrlimit(2). `unlimited` stands for RLIM_INFINITY.
struct RlimitSetting {
  static constexpr std::uint64_t unlimited = ~std::uint64_t{0};
  Rlimit resource = Rlimit::nofile;
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
  auto operator<=>(const RlimitSetting&) const = default;
};

/// Scheduling policy, sched(7).
enum class SchedPolicy : std::uint8_t { other = 0, fifo = 1, round_robin = 2, batch = 3, idle = 5 };

struct Scheduling {
  SchedPolicy policy = SchedPolicy::other;
  int priority = 0;                 ///< 1 to 99 for fifo and round_robin, else 0.
  std::optional<int> nice = {};     ///< -20 to 19.
  std::vector<unsigned> cpus = {};  ///< The processors it may run on; empty: as the host.
  /// While it runs on a core, the core's other threads run nothing but it and what it has started;
  /// prctl(2), PR_SCHED_CORE, Linux 5.14 with CONFIG_SCHED_CORE, else EINVAL. On a machine whose
  /// cores have one thread each it means nothing. What is attached shares them.
  bool core = false;
  bool operator==(const Scheduling&) const = default;
};

/// A file of a process's directory in /proc, and what is written to it: {"coredump_filter",
/// "0x33"}.
struct ProcFile {
  std::string name = {};  ///< Without '/'.
  std::string value = {};
  bool operator==(const ProcFile&) const = default;
};

/// Execution domain, personality(2).
enum class Personality : std::uint8_t { native, linux32 };

/// The first process of the container.
struct Process {
  /// Program and arguments. A program without '/' is looked up in the PATH of `env`, otherwise in a
  /// usual default.
  std::vector<std::string> argv = {"/sbin/init"};
  /// "NAME=value" each, in order. Nothing else is in the environment.
  std::vector<std::string> env = {};
  GuestPath cwd = GuestPath("/");  ///< Must exist, unless create_cwd.
  bool create_cwd = false;         ///< Make it, mode 0755, when it is missing.
  Uid uid = {};                    ///< In the container's numbering.
  Gid gid = {};
  /// Supplementary groups; always set, so the default drops all.
  std::vector<Gid> groups = {};
  Stdio stdio = {};
  /// Of each captured stream; what comes later is counted and dropped.
  Bytes capture_limit = {1U << 20U};
  std::vector<PassedFd> descriptors = {};
  bool init = false;        ///< A small init of ours is pid 1 and the command is pid 2.
  bool new_session = true;  ///< setsid(2).
  /// When a standard stream is the console: make it the controlling terminal.
  bool controlling_terminal = true;
  std::optional<Mode> umask = {};  ///< Unset: 0022.
  std::vector<RlimitSetting> rlimits = {};
  std::optional<int> oom_score_adj = {};  ///< -1000 to 1000; proc(5).
  /// Its own, written in this order before the command is executed.
  std::vector<ProcFile> proc_files = {};
  Scheduling scheduling = {};
  Personality personality = Personality::native;
  /// The signal that the kernel sends to the container's first process when its zygote dies.
  Signal death_signal = {9};
  bool operator==(const Process&) const = default;
};

/// Pseudo terminals of the container, from its own devpts.
struct Terminal {
  bool console = false;  ///< A pty bound on /dev/console; the host holds the master.
  unsigned ttys = 0;     ///< So many ptys bound on /dev/tty1, /dev/tty2 ...; at most 64.
  /// Name of a directory in /dev for them ("lxc"); empty: /dev itself.
  std::string tty_dir = {};
  HostPath log = {};  ///< Console output is appended to this file; empty: none.
  /// When it would be longer, it begins anew; 4096 at least. 0: without limit, as it is after
  /// detach(). Of a regular file; of others it means nothing.
  Bytes log_size = {};
  bool log_rotate = false;    ///< What there was then is kept, as `log` with ".1" behind it.
  Bytes ring = {64U << 10U};  ///< So much of the last console output is kept in memory.
  std::uint16_t rows = 24;
  std::uint16_t columns = 80;
  bool operator==(const Terminal&) const = default;
};

}  // namespace v0
}  // namespace condroid
