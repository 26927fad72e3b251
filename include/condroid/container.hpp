// Container: a running container, held by its pidfd. Its destructor kills everything in it.
//
//   auto exit = box.wait();
//   if (exit) fmt::print("{}\n", *exit);            // exited with status 0
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/flags.hpp"
#include "condroid/spec/address.hpp"
#include "condroid/spec/devices.hpp"
#include "condroid/spec/mount.hpp"
#include "condroid/spec/resources.hpp"
#include "condroid/spec/security.hpp"
#include "condroid/stats.hpp"
#include "condroid/sys/fd.hpp"
#include "condroid/sys/pty.hpp"
#include "condroid/units.hpp"
#include "condroid/watch.hpp"

namespace condroid {
inline namespace v0 {

namespace detail {
class ContainerCore;
class LaunchEngine;
struct RuntimeCore;
}  // namespace detail

class ContainerBuilder;
class Attaching;
class CgroupDir;
class PortRelay;
class SyscallListener;
class Task;
struct Attach;
struct LaunchOptions;
struct PublishedPort;
struct RelayOptions;

/// When each op of the plan began, counted from the start of the launch.
struct Timeline {
  struct Entry {
    std::size_t op = 0;  ///< Index in the plan.
    Step step = Step::none;
    std::string object = {};  ///< describe() of the op.
    std::string actor = {};   ///< "host", "zygote", "child"
    std::chrono::nanoseconds begin{0};
    std::chrono::nanoseconds end{0};
  };
  std::string name = {};
  std::vector<Entry> entries = {};    ///< In order of begin.
  std::chrono::nanoseconds total{0};  ///< To the command's first instruction, as the host saw it.

  /// Trace Event Format, for chrome://tracing or ui.perfetto.dev.
  [[nodiscard]] std::string chrome_json() const;
  /// A picture: one bar per op.
  [[nodiscard]] std::string svg() const;
};

/// How a container ended.
struct Exit {
  enum Kind : std::uint8_t {
    exited,    ///< The command ended by itself with `code`.
    signaled,  ///< A signal ended it.
    lost,      ///< The zygote died with it; how it ended is not known.
  };
  /// What reboot(2) in the container asked for. The kernel ends the first process of the pid
  /// namespace as by a signal then, pid_namespaces(7), and `kind` and `signal` say that, too:
  /// SIGHUP, SIGINT. No such signal from anywhere ends that process: so this is never one that was
  /// sent. Always `nothing` without a pid namespace of its own, where there is no such call.
  enum class Asked : std::uint8_t {
    nothing,
    restart,    ///< LINUX_REBOOT_CMD_RESTART, RESTART2
    power_off,  ///< POWER_OFF or HALT: the kernel tells both alike.
  };
  Kind kind = exited;
  int code = 0;
  Signal signal = {};
  bool core_dumped = false;
  Asked asked = Asked::nothing;
  bool out_of_memory = false;         ///< The kernel killed something in it for lack of memory.
  std::uint64_t oom_kills = 0;        ///< How often it did.
  std::uint64_t pids_limit_hits = 0;  ///< How often a fork was refused for Resources::pids_max.
  std::chrono::microseconds user_time{0};
  std::chrono::microseconds system_time{0};
  Bytes peak_rss = {};  ///< Of its largest process that was waited for.
  /// Of everything that was in it, as its cgroups counted; unset where none did. docs/measures.md
  std::optional<CpuTime> cpu_time = {};
  std::optional<Bytes> peak_memory = {};
  std::optional<std::uint64_t> peak_pids = {};
  std::chrono::nanoseconds launch_time{0};       ///< From Runtime::start or launch to the command.
  std::chrono::nanoseconds run_time{0};          ///< From then to its end.
  Timeline timeline = {};                        ///< As Container::timeline().
  std::string out = {};                          ///< Captured standard output.
  std::string err = {};                          ///< Captured standard error.
  std::uint64_t dropped = 0;                     ///< Captured bytes beyond the limit.
  std::vector<std::string> cleanup_errors = {};  ///< What could not be undone; empty.
  std::vector<std::string> output_errors = {};   ///< Output that was not read or not logged; empty.
  unsigned restarts = 0;  ///< How often it was launched again before this end.
  /// Why it was not launched again although Lifecycle::restart says so: the limit, or the error of
  /// the launch. Empty otherwise.
  std::string not_restarted = {};

  [[nodiscard]] bool success() const noexcept { return kind == exited && code == 0; }
  /// As a shell says it: the code, or 128 + signal; 128 for `lost`.
  [[nodiscard]] int shell_status() const noexcept {
    return kind == exited ? code : 128 + signal.value;
  }
};

/// "exited with status 3", "killed by signal 9 (SIGKILL), out of memory, pids limit hit 3 times",
/// "asked for a restart, reboot(2)".
[[nodiscard]] std::string to_string(const Exit& exit);

/// Where a container is in its lives.
enum class Life : std::uint8_t {
  running,
  between,  ///< One has ended, and by Lifecycle::restart the next is on its way.
  ending,   ///< It has ended for good; hooks of its end are still run.
  ended,
};

/// How Container::stop() asks.
struct StopOptions {
  std::optional<Signal> signal = {};  ///< Unset: Lifecycle::stop_signal.
  /// Until everything is killed. Unset: Lifecycle::stop_timeout. Zero: at once.
  std::optional<std::chrono::milliseconds> patience = {};
};

/// Movable, not thread-safe (several Containers may be used by several threads); inert in a forked
/// child of the program. One that was moved from has no container: it can be assigned to and
/// destroyed, all else is ESRCH or empty.
///
/// Descriptors in this program while it runs: two, the pidfd and the one that tells the end.
/// Besides, one each for a captured stream; a pipe, until it is taken; the small init; the console,
/// its log, and console() once it was called or when nobody in the container has the console open;
/// each further terminal, and again once ttys() was called; a filter's listener, until it is taken;
/// the host's own "/" as root, when it is not ephemeral; poll_fd() once it was called, and a timer
/// for begin_stop(). With a Lifecycle::restart also what is kept: the network and user namespace,
/// the terminals' devpts and one for each terminal, and every descriptor that its Spec names.
class Container {
 public:
  using Builder = ContainerBuilder;
  /// The same as ContainerBuilder{name}; needs builder.hpp.
  template <class B = ContainerBuilder>
  [[nodiscard]] static B builder(std::string name) {
    return B{std::move(name)};
  }

  Container(Container&&) noexcept;
  Container& operator=(Container&&) noexcept;
  Container(const Container&) = delete;
  Container& operator=(const Container&) = delete;
  /// SIGKILL to everything in it, and waits until it is gone and undone; then nothing of it is
  /// left.
  ~Container();

  [[nodiscard]] const std::string& name() const noexcept;
  /// The first process, as the host numbers it.
  [[nodiscard]] Pid pid() const noexcept;
  [[nodiscard]] FdView pidfd() const noexcept;

  /// Readable when there is something for step(): the end, output to be gathered, a time that is
  /// over. The same descriptor through all lives of a container that is launched again.
  [[nodiscard]] FdView poll_fd() const noexcept;
  /// Gathers output without blocking; the Exit once it has ended, and again at every later call.
  /// Where Lifecycle::restart says so it launches the container again instead, a piece at each
  /// call; name() and the terminals stay, pid() and pidfd() are those of the new first process once
  /// it runs.
  [[nodiscard]] Result<std::optional<Exit>> step();
  /// How often it was launched again.
  [[nodiscard]] unsigned restarts() const noexcept;
  /// As the last step() left it; Life::ended of a handle that was moved from.
  [[nodiscard]] Life life() const noexcept;
  /// How the life before this one ended, between two; once it has ended for good, how that was, but
  /// for what hooks that are still run will add. Null while it runs. Valid until the next step().
  [[nodiscard]] const Exit* last_exit() const noexcept;
  /// Has step(), and with it wait() and stop(), look after something else of this program's, too,
  /// and poll_fd() wake for it: `look` is called at the end of every step, also of those after the
  /// end, until it says false. `readable` is duplicated; one that `look` leaves readable wakes
  /// again at once. In `look` nothing may be asked of the container that waits for it, step() and
  /// detach() included. It goes with the handle, whose end kills the container first and has `look`
  /// see Life::ended; of a detached one `look` just goes.
  ///
  /// The handle that `look` is given is lent: moving from it gives an empty one. The container's
  /// own may be moved and destroyed in `look`; the step, wait() or stop() that has called it fails
  /// with ECANCELED then, unless it has the end to tell, and the container ends with that call.
  /// What `look` throws goes through, except where the handle is destroyed.
  /// @errors Errc::in_forked_child; ESRCH of a handle that was moved from; EMFILE, ENOMEM.
  [[nodiscard]] Result<void> attend(FdView readable, std::function<bool(Container&)> look);
  /// Waits for the end. Every process of the container is gone then, its cgroups too. Later calls
  /// give the same Exit. Captured output and the console are gathered meanwhile; what is a pipe the
  /// caller reads, or a command that writes more than a pipe holds never ends.
  [[nodiscard]] Result<Exit> wait();
  /// The same for at most `limit`; nothing if it still runs then.
  [[nodiscard]] Result<std::optional<Exit>> wait_for(std::chrono::milliseconds limit);

  /// A signal to the first process. pidfd_send_signal(2). ESRCH when it has ended.
  [[nodiscard]] Result<void> signal(Signal signal);
  /// SIGKILL to everything in it, frozen or not: by cgroup.kill (Linux 5.14) where it has a cgroup
  /// of v2, by the end of its pid namespace, else process by process through its cgroup. Does not
  /// wait. It is not launched again. Nothing, when it has ended.
  [[nodiscard]] Result<void> kill();
  /// Asks it to end, and kills it when it has not after some time; waits for the end. Thaws it
  /// first. It is not launched again. A process 1 never gets a signal that it has no handler for,
  /// pid_namespaces(7): where /proc tells that it is such a one it is killed at once. A shell or a
  /// plain program is ended by the signal itself only with Process::init. What ignores the signal
  /// on purpose is given its time.
  /// @errors Errc::deadline: killed, and not gone within ten seconds; the hint says why, if it can
  /// be told (a frozen cgroup of v1 above it). Everything in it dies as soon as it can.
  [[nodiscard]] Result<Exit> stop(const StopOptions& options = {});
  [[nodiscard]] Result<Exit> stop(std::chrono::milliseconds patience);
  [[nodiscard]] Result<Exit> stop(std::chrono::milliseconds patience, Signal polite);
  /// The same for an event loop: asks and returns. step() kills it when the time is over, and
  /// poll_fd() wakes for that.
  [[nodiscard]] Result<void> begin_stop(const StopOptions& options = {});
  /// Lifecycle::halt_signal or reboot_signal to the first process; what it does about it is its
  /// own. ESRCH when it has ended.
  [[nodiscard]] Result<void> halt();
  [[nodiscard]] Result<void> reboot();

  /// Stops everything in it and waits until it stands still: cgroup.freeze of v2, also on a machine
  /// with both versions (Linux 5.2), else the freezer of v1. With `limit` zero it only begins to:
  /// frozen() tells. Frozen, it can be killed, and stop() thaws it.
  /// @errors Errc::unsupported without a cgroup for it (Lifecycle::freezable); Errc::deadline: it
  /// is being frozen still, because something in it waits for the kernel; ESRCH when it has ended.
  [[nodiscard]] Result<void> freeze(std::chrono::milliseconds limit = std::chrono::seconds{2});
  /// Lets it go on. With `limit` zero it does not wait.
  /// @errors as freeze(); Errc::deadline, too, when a cgroup above it is frozen.
  [[nodiscard]] Result<void> thaw(std::chrono::milliseconds limit = std::chrono::seconds{2});
  /// Whether everything in it stands still now, whoever froze it. Two calls.
  [[nodiscard]] Result<bool> frozen() const;
  /// Has the kernel take back memory that it holds: for one that is frozen, or idle. What it reads
  /// again comes from its files and from swap. As CgroupDir::reclaim(), which says how, and for how
  /// long it blocks: on v1 as long as it goes on to read, unless it is frozen; that of cgroups() is
  /// for a thread.
  /// @errors Errc::unsupported without a cgroup that counts its memory (CgroupMode::everywhere, a
  /// limit of memory), for `most` on v1, and on v2 before Linux 5.19; ESRCH when it has ended.
  [[nodiscard]] Result<Bytes> reclaim(std::optional<Bytes> most = {});
  /// Its cgroups, that of v2 first; none without any. Needs sys/cgroup.hpp.
  /// @errors those of open(2); ESRCH of a handle that was moved from.
  [[nodiscard]] Result<std::vector<CgroupDir>> cgroups() const;
  /// Changes its limits while it runs; what is unset in `limits` stays as it is, `unlimited` lifts
  /// a limit. The values become those of a launch, by the same table (docs/limits.md), one after
  /// the other; when one is refused those before it are taken back. Resources::cgroup means nothing
  /// here. Blocks for some microseconds, longer where the kernel frees memory first. A v2
  /// memory_max below what is in use is not refused: the kernel frees what it can, and then kills.
  /// @errors Step::write_cgroup; Errc::bad_spec and Errc::unsupported as of compile(), the latter
  /// also for a container without a cgroup where that limit is; ESRCH when it has ended; EBUSY for
  /// a v1 limit of memory that is below what is in use; any errno of the kernel's.
  [[nodiscard]] Result<LimitsReport> set_limits(const Resources& limits);
  /// The limits marked optional that are not in force since the launch. Changes do not alter it.
  [[nodiscard]] const std::vector<LeftOut>& left_out() const noexcept;

  /// Lets go: it lives on when this handle and this program end. The zygote stays until then, holds
  /// the terminals (what the console says goes to the log), and cleans up.
  /// @errors ESRCH when it has ended.
  [[nodiscard]] Result<void> detach();

  /// The host's ends of streams made as pipes; each can be taken once, then is invalid.
  [[nodiscard]] Fd take_stdin() noexcept;
  [[nodiscard]] Fd take_stdout() noexcept;
  [[nodiscard]] Fd take_stderr() noexcept;
  /// Master of the console; step() reads it unless it was taken. As long as it is not, and for the
  /// others always, the host holds the slave open, so that reading ends with the container only.
  [[nodiscard]] FdView console() const noexcept;
  [[nodiscard]] Fd take_console() noexcept;
  /// The other end of a Tap or Tun, by its name in the container; can be taken once, then is
  /// invalid. Each read and write is one frame or packet, and none waits: O_NONBLOCK. The
  /// interface goes when it is closed; if it is not taken, at the end. As long as it is open, so is
  /// the container's network namespace.
  [[nodiscard]] Fd take_tap(std::string_view interface) noexcept;
  /// Masters of /dev/tty1 and so on, in order.
  [[nodiscard]] std::vector<FdView> ttys() const;
  /// The devpts that its terminals come from, which a container with terminals and a
  /// Lifecycle::restart keeps; else invalid.
  [[nodiscard]] FdView devpts() const noexcept;
  /// The last console output that step() has read, at most Terminal::ring.
  [[nodiscard]] std::string console_output() const;
  /// What came after the first `position` bytes that the console said, as far as it is kept still;
  /// `position` becomes the number of all that it said. Valid until the next step().
  [[nodiscard]] std::string_view console_since(std::uint64_t& position) const noexcept;

  /// Where the calls wait that its filter asks this program about (SyscallAction::notify). They
  /// wait until somebody has taken it and answers; without it, with the handle or the program gone,
  /// they get ENOSYS. Of each life and of each attached process there is one. Needs notify.hpp.
  /// @errors EBADF when there is none, or it was taken.
  [[nodiscard]] Result<SyscallListener> take_listener();

  /// Runs a further process in it and waits until that was executed: about a millisecond. It is
  /// entered by its pidfd, so that it is never somebody else; nothing of this program's memory or
  /// descriptors can be reached from inside. Needs attach.hpp, as the next two.
  /// @errors ESRCH when it has ended; Step::compile; those of a launch.
  [[nodiscard]] Result<Task> attach(const Attach& what) const;
  [[nodiscard]] Result<Task> attach(const Attach& what, LaunchOptions options) const;
  /// The same for somebody's event loop. Never blocks.
  [[nodiscard]] Result<Attaching> start_attach(const Attach& what, LaunchOptions options) const;
  /// The environment that later attached processes get, "NAME=value" each: these come on top of
  /// what there is; "NAME" alone takes one away.
  void update_env(const std::vector<std::string>& env);

  // ---- changes while it runs; each blocks for about a millisecond ----

  /// Moves a detached mount into its place in the container. What it shows there is what it was
  /// made of: to the container's user namespace its owners are those of the host unless it is an
  /// idmapped one (MountChange, mount_setattr(2)).
  /// @errors ESRCH when it has ended; Step::resolve_target, Step::attach_mount;
  /// Errc::unsupported where the container shares the host's mounts.
  [[nodiscard]] Result<void> add_mount(const PassedMount& what) const;
  /// Takes away the topmost mount at `target`, with all that lies below it; who is inside keeps it.
  /// umount2(2), MNT_DETACH. Files made for a target stay.
  /// @errors Step::remove_entry: EINVAL when nothing is mounted there, ENOENT.
  [[nodiscard]] Result<void> remove_mount(const GuestPath& target) const;
  /// One more node in its /dev: a new one, or, where the container has a user namespace, the host's
  /// bound, with the owner and the mode that it has there. What may be done with it cgroups and
  /// capabilities say. Opens the container towards the host: refused without Allow::devices.
  [[nodiscard]] Result<void> add_device(const DeviceNode& node, Flags<Allow> allow) const;
  /// Takes it away again. Who has it open keeps it.
  [[nodiscard]] Result<void> remove_device(const std::string& name) const;
  /// Tells the console (0) or /dev/ttyN (N) another size: who runs on it gets SIGWINCH.
  /// tty_ioctl(4)
  /// @errors ENODEV without that terminal.
  [[nodiscard]] Result<void> resize(const WindowSize& size, unsigned tty = 0) const;
  /// Of its interfaces at a NatBridge, in the order of the Spec: those that were leased at the
  /// launch among them. Empty once it has ended.
  [[nodiscard]] std::vector<IpPrefix> addresses() const;
  /// Moves a network interface of this program's namespace into the container's, as `as` if that is
  /// not empty. It is down there, without addresses. Physical ones come back when the container's
  /// namespace ends, others end with it; network_namespaces(7).
  /// @errors Step::move_interface: ENODEV, EEXIST; Errc::unsupported where the network is shared.
  [[nodiscard]] Result<void> move_interface_in(const std::string& name,
                                               const std::string& as = {}) const;
  /// The way back.
  [[nodiscard]] Result<void> move_interface_out(const std::string& name,
                                                const std::string& as = {}) const;

  /// Has ports of the host lead into it, by this program's own work; needs relay.hpp. Listens from
  /// here on. About a millisecond for sockets of the container's, which a process of the zygote's
  /// opens there.
  /// @errors Step::publish_port with the port: EADDRINUSE, EACCES below 1024 for who may not,
  /// EADDRNOTAVAIL; relay_port: Errc::unsupported where it shares our network; ESRCH when it has
  /// ended; those of a launch.
  [[nodiscard]] Result<PortRelay> relay(const std::vector<PublishedPort>& ports) const;
  [[nodiscard]] Result<PortRelay> relay(const std::vector<PublishedPort>& ports,
                                        const RelayOptions& options) const;

  /// What it uses now. For more than one look stats_reader() is cheaper.
  /// @errors Errc::unsupported without a cgroup that counts anything: CgroupMode::everywhere has
  /// all of them; ESRCH when it has ended: what it used is in the Exit.
  [[nodiscard]] Result<Stats> stats() const;
  /// @errors as stats(), but with interfaces a cgroup is not needed: Errc::unsupported where it
  /// shares this program's network, ESRCH when it has ended, those of a launch.
  [[nodiscard]] Result<StatsReader> stats_reader(const StatsOptions& options = {}) const;
  /// What happens to it. One that has ended, too, for what its Exit says.
  /// @errors Errc::unsupported with neither a cgroup nor interfaces to look at, and for these where
  /// it shares this program's network; for a pressure trigger: where there is none of that
  /// resource, EINVAL for a window out of range; ESRCH, and with interfaces those of a launch.
  [[nodiscard]] Result<Watch> watch(const WatchOptions& options = {}) const;

  /// How the launch went, step by step; empty without LaunchOptions::trace.
  [[nodiscard]] const Timeline& timeline() const;

 private:
  void let_go() noexcept;
  friend class detail::ContainerCore;
  friend class detail::LaunchEngine;
  explicit Container(std::unique_ptr<detail::ContainerCore> core);
  std::unique_ptr<detail::ContainerCore> core_;
};

}  // namespace v0
}  // namespace condroid

template <>
struct fmt::formatter<condroid::Exit> {
  constexpr auto parse(fmt::format_parse_context& ctx) { return ctx.begin(); }
  template <class Context>
  auto format(const condroid::Exit& e, Context& ctx) const {
    return fmt::format_to(ctx.out(), "{}", condroid::to_string(e));
  }
};
