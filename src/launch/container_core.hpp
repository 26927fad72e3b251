// What a Container holds. Private.
#pragma once

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "condroid/container.hpp"
#include "condroid/launch.hpp"
#include "condroid/plan.hpp"
#include "condroid/spec.hpp"
#include "condroid/sys/cgroup.hpp"
#include "condroid/sys/fd.hpp"
#include "launch/console_log.hpp"
#include "launch/hooks.hpp"
#include "launch/interfaces.hpp"
#include "launch/zygote.hpp"
#include "program/format.hpp"

namespace condroid::inline v0::detail {

/// Output gathered from a pipe or a terminal without blocking.
struct Gather {
  Fd fd;
  std::string text;
  std::size_t limit = 0;
  std::uint64_t dropped = 0;
  bool ring = false;  ///< Keep the end rather than the beginning.
  ConsoleLog log;
  int error = 0;      ///< The first of reading it; 0: all of it is here.
  int log_error = 0;  ///< The first of writing `log`.
  /// Reads what is there. False when the other end is closed.
  bool drain();
};

/// The end, for those who watch the container while its handle may take the record before they see
/// it.
struct EndNote {
  std::mutex mutex;  ///< Held from the taking of the record until `figures` are here.
  bool ended = false;
  program::Figures figures{};
  Fd told;  ///< eventfd: readable from the end on.
};
struct Kept;

/// What is asked of a handle that was moved from.
[[nodiscard]] inline tl::unexpected<Error> moved_away(Step step) {
  return fail(ESRCH, step, "the container of a handle that was moved from");
}

class ContainerCore;
class Helper;
/// What is looked after besides.
struct Attended {
  Fd readable;
  std::shared_ptr<const std::function<bool(Container&)>> look;  ///< Shared with its call.
};

/// ESRCH when there is no container any more that something could be done in.
[[nodiscard]] Result<void> check_alive(const ContainerCore* core);

class ContainerCore {
 public:
  using Clock = std::chrono::steady_clock;
  ContainerCore();
  ~ContainerCore();
  [[nodiscard]] Result<std::optional<Exit>> step();
  [[nodiscard]] Result<std::optional<Exit>> step_lives();
  /// Of its cgroup in a hierarchy, on the host.
  [[nodiscard]] std::string group_path(const CgroupHierarchy& hierarchy) const;
  [[nodiscard]] Result<std::optional<Exit>> wait_until(int milliseconds);
  [[nodiscard]] Result<void> check_owner() const;
  [[nodiscard]] bool ours() const;
  /// For somebody's event loop; made at the first call. wait_until() does without.
  [[nodiscard]] FdView poll_fd();
  void watch(FdView fd);
  void wake_always();
  void unwatch(const Fd& fd);
  /// Has poll_fd() wake for kill_at, and for what the next life waits for.
  void set_timer();
  /// Keeps a terminal from being at its end until the container is.
  static void hold(const Fd& master, Fd& slave);
  void read_console();
  [[nodiscard]] Result<void> attend(FdView readable, std::function<bool(Container&)> look);
  void look_after();
  /// Sends the signal; whether the first process is one that never gets it.
  [[nodiscard]] bool signal_and_look(int number, int& error);
  void end(Exit exit);
  /// Into `exit` and `final_figures`.
  void take_figures(const program::Figures& figures, Exit& exit);
  /// The cgroups of a container whose zygote did not say what they count.
  void take_figures_ourselves(Exit& exit);
  [[nodiscard]] Result<StatsReader> stats_reader(const StatsOptions& options = {}) const;
  [[nodiscard]] Result<Watch> watch(const WatchOptions& options);

  // freeze.cpp: its cgroups
  /// Those that it has, v2 first.
  [[nodiscard]] Result<std::vector<CgroupDir>> cgroups() const;
  /// The one in which it can be made to stand still.
  [[nodiscard]] Result<CgroupDir> freezer() const;
  [[nodiscard]] Result<void> change_freezer(bool freeze, std::chrono::milliseconds limit) const;
  /// SIGKILL to all that is in it.
  [[nodiscard]] Result<void> kill_everything();

  // stop.cpp
  [[nodiscard]] Result<void> send(Signal signal, const char* what) const;
  void no_next_life();
  [[nodiscard]] Result<void> begin_stop(const StopOptions& options);
  [[nodiscard]] Result<Exit> stop(const StopOptions& options);

  // restart.cpp: from one life to the next
  /// One life: the Exit once its first process has ended.
  [[nodiscard]] Result<std::optional<Exit>> step_life();
  [[nodiscard]] bool wants_again(const Exit& e) const;
  /// A slave of each kept terminal, so that none is at its end between two lives.
  void hold_terminals();
  /// After a life: whether it was the last, and why.
  void conclude();
  /// After a life: its hooks. False while one runs.
  [[nodiscard]] bool step_end_hooks();
  void begin_end_hooks();
  /// Of restarts within some time.
  [[nodiscard]] bool is_within_limit();
  [[nodiscard]] std::string limit_text() const;
  [[nodiscard]] Result<void> begin_again();
  /// False while the next life is on its way.
  [[nodiscard]] bool step_next();
  void take_over(ContainerCore& next_life);
  /// The next life is not wanted any more. Does not wait for the end of its launch.
  void drop_next();
  /// No next life; `why` is empty when nobody wants one any more.
  void give_up(std::string why);

  pid_t owner = 0;
  std::shared_ptr<RuntimeCore> runtime;
  std::shared_ptr<Zygote> zygote;
  std::string name;
  std::string unique_name;
  std::string group_name;  ///< Its cgroups, from `parents` on.
  std::string group_home;  ///< The same, of those that its processes are in.
  Pid pid{};
  Fd pidfd;
  Fd exit_socket;
  Fd status_socket;  ///< Of the small init.
  std::uint32_t live = 0;
  std::vector<std::pair<std::size_t, int>> parents;  ///< Where its cgroups are, by hierarchy.
  std::vector<LeftOut> left_out;                     ///< Optional limits that are not in force.
  Fd pin;
  HostEnds host_ends;
  std::shared_ptr<Helper> companion;  ///< A program that ends with it.
  Fd stdin_write, stdout_read, stderr_read;
  Gather out, err, console;
  std::vector<Fd> ttys;
  Fd listener;  ///< Of a filter that asks, until it is taken.
  /// Without an open slave a master is at its end until somebody in the container opens the
  /// terminal (again): it could not be waited for, and a program that writes now and then would
  /// block when nobody reads. Opened when that comes about, or when the master is handed out: most
  /// consoles are somebody's standard streams, who holds them open himself.
  Fd console_slave;
  std::vector<Fd> tty_slaves;
  bool console_deaf = false;  ///< At its end, and no slave can be had: not waited for.
  Fd poll;                    ///< epoll over several, once it was asked for.
  bool has_init = false;
  bool detached = false;
  std::optional<int> init_status;  ///< The command's wait status, from the small init.
  std::optional<Exit> exit;
  program::Figures final_figures{};      ///< What the end said.
  std::shared_ptr<EndNote> note;         ///< Once somebody watches.
  std::chrono::nanoseconds began{0};     ///< Of the launch; steady_clock.
  std::chrono::nanoseconds executed{0};  ///< When the host knew of the command's execution.
  std::vector<std::string> late;
  Inside inside;  ///< For what is attached later.
  std::vector<Attended> attended;
  bool looking = false;             ///< In one of them.
  const Container* lent = nullptr;  ///< The handle that it was given.
  bool ending = false;              ///< In the destructor.
  int busy = 0;                     ///< Calls of the handle's that may look after something.
  bool orphan = false;              ///< The handle was destroyed in one of them.
  Timeline timeline;
  std::function<Result<void>(const LaunchEvent&)> on_event;
  std::function<void(const HookReport&)> on_hook;
  std::vector<op::RunHook> later;  ///< Hooks of its end.
  std::vector<std::pair<Namespace, Fd>> namespaces;
  std::unique_ptr<EndHooks> end_hooks;  ///< They are being run.
  std::string not_again;                ///< What a hook, or the limit, says against a next life.

  Lifecycle lifecycle;
  bool has_console = false;
  bool own_pids = false;   ///< Its first process is that of a pid namespace.
  bool stay_down = false;  ///< Somebody wants its end.
  bool killed = false;
  bool in_vain = false;     ///< It had its time to be gone after that.
  bool kill_again = false;  ///< On v1 something may freeze itself between our signal and our thaw.
  bool left_nothing = false;  ///< The life that ended; its hooks are another thing.
  Clock::time_point kill_at = Clock::time_point::max();
  Fd timer;
  std::shared_ptr<Kept> kept;          ///< Only if it may be launched again.
  std::unique_ptr<LaunchEngine> next;  ///< The next life, on its way.
  std::optional<Exit> ended;           ///< The end before that.
  unsigned restarts = 0;
  std::deque<Clock::time_point> restarted_at;
};

}  // namespace condroid::inline v0::detail
