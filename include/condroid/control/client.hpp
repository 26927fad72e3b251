// Client: asks a container by its command socket, be it one of this library's or of LXC's own.
//
//   const control::Client web("/var/lib/lxc", "web");
//   auto state = web.state();
//   if (!state) return fail(state);          // ECONNREFUSED: it does not run
//   fmt::print("{}\n", control::to_string(*state));
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/control/commands.hpp"
#include "condroid/error.hpp"
#include "condroid/sys/fd.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {
namespace control {

/// Waits for one change of state. Move-only.
class StateWait {
 public:
  /// The state at the time of asking, when it was one of those asked for: nothing more comes then.
  [[nodiscard]] std::optional<State> already() const noexcept { return already_; }
  /// Readable once there is something for next().
  [[nodiscard]] FdView poll_fd() const noexcept { return fd_; }
  /// The state that came, after at most `limit` (negative: without a limit); State::stopped is the
  /// end of the connection. Nothing when none has come.
  [[nodiscard]] Result<std::optional<State>> next(std::chrono::milliseconds limit);

 private:
  friend class Client;
  StateWait() = default;
  Fd fd_;
  std::string subject_;
  std::optional<State> already_ = {};
};

/// A terminal of a container's; others cannot have it until this is gone.
struct ClaimedTerminal {
  Fd master;      ///< What is read from it the container has written.
  Fd connection;  ///< Readable (its end) when the container is gone. Closing it gives it back.
  unsigned number = 0;  ///< 0: the console.
};

struct ConsoleLogRequest {
  bool read = true;
  bool clear = false;          ///< What is there is forgotten then.
  std::uint64_t most = 0;      ///< Bytes; 0: all.
  bool write_logfile = false;  ///< LXC: to lxc.console.logfile, too.
};

/// Of a controller: which cgroup, and its directory.
struct ControllerCgroup {
  CgroupLayout layout = CgroupLayout::unknown;
  CgroupHandle cgroup;
};

/// All cgroups of a container, that of v2 last.
struct CgroupContexts {
  CgroupLayout layout = CgroupLayout::unknown;
  std::vector<Fd> dirs;
};

/// Each call is a connection of its own. It blocks until the answer is there, at most for the
/// deadline. A plain value; safe to use from any thread. Who listens must be root or this program's
/// own user; what he says is not believed further than its form: sizes, numbers, and how many
/// descriptors there are and of what kind.
///
/// Errors of all: ECONNREFUSED: nobody listens, it does not run; EPERM: it is somebody else's;
/// EACCES: somebody else listens; EAGAIN: it has too many clients that wait;
/// ENOSYS: an older LXC; Errc::deadline; Errc::protocol; ECONNRESET: no answer; and what is
/// answered.
class Client {
 public:
  /// Does nothing yet. A negative deadline is none.
  Client(std::string lxcpath, std::string name,
         std::chrono::milliseconds deadline = std::chrono::seconds{10});

  [[nodiscard]] Result<State> state() const;
  [[nodiscard]] Result<Pid> init_pid() const;
  [[nodiscard]] Result<Fd> init_pidfd() const;
  /// CLONE_NEW*.
  [[nodiscard]] Result<std::uint64_t> namespaces() const;
  /// Kills it, and waits for its end: that of the connection, and of its first process.
  [[nodiscard]] Result<void> stop() const;
  /// A key of its configuration as it runs; nothing for one that is not set.
  [[nodiscard]] Result<std::optional<std::string>> config_item(std::string_view key) const;
  [[nodiscard]] Result<std::string> name() const;
  [[nodiscard]] Result<std::string> lxcpath() const;

  /// Waits for the first of these states, counting the one that it is in.
  [[nodiscard]] Result<StateWait> wait_for(std::initializer_list<State> states) const;
  [[nodiscard]] Result<StateWait> wait_for(const std::vector<State>& states) const;
  /// The same, not counting the one that it is in: to see it restart.
  [[nodiscard]] Result<StateWait> wait_for_next(const std::vector<State>& states) const;
  /// Says that it has another state now, and has all who wait told: for who freezes by a cgroup.
  [[nodiscard]] Result<void> tell_state(State state) const;
  /// LXC's own does so on v2 only (ENOENT), and keeps its state: tell_state(). `limit` in whole
  /// seconds: negative waits without a limit, zero does not wait.
  [[nodiscard]] Result<void> freeze(std::chrono::seconds limit) const;
  [[nodiscard]] Result<void> thaw(std::chrono::seconds limit) const;

  /// Its path below the mount point of the hierarchy with that controller; `limit` is where the
  /// limits are, which may be one above.
  /// @errors ECONNRESET: it has none with that controller.
  [[nodiscard]] Result<std::string> cgroup(std::string_view controller) const;
  [[nodiscard]] Result<std::string> limit_cgroup(std::string_view controller) const;
  [[nodiscard]] Result<ControllerCgroup> cgroup_fd(std::string_view controller) const;
  [[nodiscard]] Result<ControllerCgroup> limit_cgroup_fd(std::string_view controller) const;
  /// EINVAL of LXC's own where there is v1, too.
  [[nodiscard]] Result<Fd> cgroup2_fd() const;
  [[nodiscard]] Result<Fd> limit_cgroup2_fd() const;
  /// ENOENT without any.
  [[nodiscard]] Result<CgroupContexts> cgroup_contexts() const;
  [[nodiscard]] Result<std::string> systemd_scope() const;
  [[nodiscard]] Result<void> apply(const DeviceRule& rule) const;

  /// /dev/ttyN; nothing: the first that is free; 0: the console.
  /// @errors EBADF: no such terminal, or somebody has it.
  [[nodiscard]] Result<ClaimedTerminal> terminal(std::optional<unsigned> number) const;
  /// Nothing is "", and so is no console. `write_logfile` means nothing to a container of ours.
  [[nodiscard]] Result<std::string> console_log(const ConsoleLogRequest& what) const;
  [[nodiscard]] Result<Fd> devpts_fd() const;
  [[nodiscard]] Result<Fd> seccomp_notify_fd() const;
  [[nodiscard]] Result<void> add_seccomp_listener(FdView listener) const;

 private:
  std::string lxcpath_, name_;
  std::chrono::milliseconds deadline_;
};

}  // namespace control
}  // namespace v0
}  // namespace condroid
