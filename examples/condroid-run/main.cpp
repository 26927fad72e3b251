// condroid-run: runs a command in a new container.
//
//   condroid-run -- /bin/sh -c 'hostname; id'              the host's own files, read-only
//   condroid-run --rootfs DIR --ephemeral --tty -- bash    a tree that is never touched
//   condroid-run --dry-run -- true                         what would be done, step by step
//
// Exit status: the command's own, or 128 + the signal that ended it; 124 after --timeout, 125 when
// the container could not be made, 126 when the command cannot be executed, 127 when it does not
// exist.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condroid/attach.hpp>
#include <condroid/config/seccomp.hpp>
#include <condroid/learn.hpp>
#include <condroid/registry.hpp>
#include <condroid/runtime.hpp>
#include <condroid/sys/pty.hpp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "options.hpp"
#include "processes.hpp"
#include "running.hpp"
#include "terminal.hpp"

using namespace condroid;
using Clock = std::chrono::steady_clock;

namespace {

int report(const Error& error) {
  fmt::print(stderr, "condroid-run: {}\n", error);
  const bool told =
      error.code.category() == std::system_category();  // by the kernel, of the command
  if (error.step != Step::exec || !told) return failed;
  return error.is_errno(ENOENT) || error.is_errno(ENOTDIR) ? not_found : not_executable;
}

/// One terminal gets all that is a terminal here; what is redirected stays redirected.
Stdio streams(const Terminals& ours) {
  if (!ours.any()) return Stdio::pty;
  const auto stream = [](bool terminal) {
    return Stream(terminal ? Stream::pty : Stream::inherit);
  };
  return {stream(ours.in), stream(ours.out), stream(ours.err)};
}

class Run {
 public:
  explicit Run(Options options) : options_(std::move(options)) {
    if (options_.tty) options_.spec.process.stdio = streams(ours_);
  }

  int operator()() {
    if (!options_.attach.empty()) return join();
    // A scope of systemd's may be needed for limits, and takes systemd some milliseconds: who has
    // none does without.
    const bool limited = options_.spec.resources != Resources{};
    const SystemdScope scope{.use = limited ? SystemdScope::when_needed : SystemdScope::never};
    if (limited && !options_.dry_run)
      if (auto ok = open(scope); !ok) return report(ok.error());
    auto plan = compiled();
    if (!plan) return report(plan.error());
    if (options_.dry_run) {
      fmt::print("{}", *plan);
      return 0;
    }
    LaunchOptions how{.trace = !options_.trace.empty()};
    if (!options_.stop_before.empty()) {
      auto op = plan->find(options_.stop_before);
      if (!op) return report(op.error());
      how.stop_before = *op;
      how.deadline = std::chrono::milliseconds{0};
    }
    if (options_.tty)
      if (auto ok = find_terminal(); !ok) return report(ok.error());
    take_signals();
    if (!runtime_)
      if (auto ok = open(scope); !ok) return report(ok.error());
    auto launch = runtime_->start(std::move(*plan), std::move(how));
    if (!launch) return report(launch.error());
    auto box = drive(*launch);
    if (!box)
      return box.error().is(Errc::cancelled) && asked_ != 0 ? 128 + asked_ : report(box.error());
    tell_left_out(*box);
    if (!options_.trace.empty() && !write_trace(box->timeline())) return failed;
    if (!options_.learn.empty()) {
      auto listener = box->take_listener();
      if (!listener) return report(listener.error());
      learner_.emplace(std::move(*listener));
    }
    return options_.detach ? leave(*box) : attend(*box);
  }

 private:
  /// The command in a container that runs already, whoever launched it.
  [[nodiscard]] int join() {
    Pid pid{};
    Fd pidfd;
    bool restricted = false;
    if (auto box = Registry::open(options_.attach)) {
      pid = box->pid();
      pidfd = Fd(::fcntl(box->pidfd().fd().get(), F_DUPFD_CLOEXEC, 3));
      restricted = box->entry().landlock;
    } else {
      // None of ours; any process has namespaces to be joined.
      char* end = nullptr;
      pid = Pid{static_cast<int>(std::strtol(options_.attach.c_str(), &end, 10))};
      if (*end != 0 || pid.value < 1) return report(box.error());
      pidfd = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid.value, 0)));
      if (!pidfd.valid()) return report(box.error());
      // Or one that a container of ours has started.
      auto around = Registry::around(pid);
      if (!around) return report(around.error());
      restricted = *around && (*around)->landlock;
    }
    if (restricted && !options_.spec.security.landlock.wanted()) {
      fmt::print(stderr,
                 "condroid-run: --attach: '{}' is under rules of Landlock that only the program "
                 "which launched it knows; hint: give some with --landlock\n",
                 options_.attach);
      return failed;
    }
    if (options_.tty)
      if (auto ok = find_terminal(); !ok) return report(ok.error());
    take_signals();
    // Who enters another cgroup has to be in one near by: with a user's systemd, below it.
    const auto groups_of = [](const std::string& process) {
      std::ifstream file("/proc/" + process + "/cgroup");
      return std::string{std::istreambuf_iterator<char>(file), {}};
    };
    const bool elsewhere = groups_of(std::to_string(pid.value)) != groups_of("self");
    if (auto ok = open({.use = elsewhere ? SystemdScope::when_needed : SystemdScope::never}); !ok)
      return report(ok.error());
    auto attaching = runtime_->start_attach(
        pid, pidfd,
        {.process = options_.spec.process, .landlock = options_.spec.security.landlock});
    if (!attaching) return report(attaching.error());
    auto task = attaching->finish();
    if (!task) return report(task.error());
    Container process = std::move(*task).as_container();
    tell_left_out(process);
    return attend(process);
  }

  static void tell_left_out(const Container& box) {
    for (const auto& l : box.left_out())
      fmt::print(stderr, "condroid-run: {} is left out: {}\n", l.field, l.why);
  }

  [[nodiscard]] Result<void> open(const SystemdScope& scope) {
    auto runtime = Runtime::open({.systemd = scope});
    if (!runtime) return fail(runtime);
    runtime_ = std::move(*runtime);
    return {};
  }

  [[nodiscard]] Result<Plan> compiled() const {
    if (!runtime_) {
      auto facts = probe_host();
      return facts ? compile(options_.spec, *facts) : fail(facts);
    }
    auto facts = runtime_->facts();
    if (!facts) return fail(facts);
    auto plan = compile(options_.spec, *facts);
    if (const auto& why = runtime_->scope().why_not; !plan && !why.empty())
      plan.error().also.push_back("without a scope of systemd's: " + why);
    return plan;
  }

  /// Whichever of the three streams it is: what is shown never ends in one that is redirected.
  [[nodiscard]] Result<void> find_terminal() {
    if (!ours_.any()) return {};
    auto input = usable_terminal(ours_.number(), O_RDONLY, reopened_[0]);
    if (!input) return fail(input);
    auto output = usable_terminal(ours_.shown(), O_WRONLY, reopened_[1]);
    if (!output) return fail(output);
    input_ = *input;
    output_ = *output;
    return {};
  }

  void take_signals() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int s :
         {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP, SIGCONT})
      ::sigaddset(&set, s);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  /// The next signal that came, or 0.
  [[nodiscard]] int next_signal() const {
    signalfd_siginfo info{};
    return ::read(signals_.get(), &info, sizeof info) == sizeof info
               ? static_cast<int>(info.ssi_signo)
               : 0;
  }

  [[nodiscard]] Result<Container> drive(Launch& launch) {
    // The command may run already though we have not heard of it: the first signal is its to
    // answer.
    constexpr std::chrono::milliseconds patience{100};
    auto cancel_at = Clock::time_point::max();
    bool told = false;
    for (;;) {
      if (Clock::now() >= cancel_at) launch.cancel();
      auto done = launch.step();
      if (!done) return fail(done);
      if (*done) return std::move(**done);
      const Interest interest = launch.interest();
      const bool stopped = launch.stopped();
      if (stopped && !told) {
        fmt::print(stderr, "condroid-run: stopped before '{}'{}; go on with: kill -CONT {}\n",
                   options_.stop_before,
                   launch.pid().value != 0 ? fmt::format(", process {}", launch.pid().value) : "",
                   ::getpid());
        told = true;
      }
      std::array<pollfd, 2> waiting{
          {{signals_.get(), POLLIN, 0}, {interest.fd.get(), interest.events, 0}}};
      const bool soon = cancel_at != Clock::time_point::max();
      (void)::poll(waiting.data(), waiting.size(), soon ? 1 : launch.timeout());
      while (const int signal = next_signal()) {
        if (signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT) {
          const bool at_once = stopped || asked_ != 0;
          cancel_at = Clock::now() + (at_once ? std::chrono::milliseconds{0} : patience);
          asked_ = signal;
        } else if (signal == SIGCONT) {
          if (stopped) launch.resume();
          std::erase(early_, SIGTSTP);
        } else if (signal == SIGTSTP && stopped) {
          ::raise(SIGSTOP);
        } else {
          early_.push_back(signal);
        }
      }
    }
  }

  void enter_raw() {
    if (ours_.number() < 0) return;
    if (auto raw = RawMode::enter(FdView(ours_.number()))) raw_.emplace(std::move(*raw));
  }

  [[nodiscard]] int leave(Container& box) const {
    if (auto ok = box.detach(); !ok) return report(ok.error());
    fmt::print("{} {}\n", options_.spec.name, box.pid().value);
    return 0;
  }

  int attend(Container& box) {
    std::optional<Relay> relay;
    if (options_.tty) {
      relay.emplace(box.take_console(), input_, output_);
      relay->resize(ours_.number());
      enter_raw();
    }
    // What came while it was launched.
    if (const int early = std::exchange(asked_, 0)) handle(early, box, relay);
    for (const int early : std::exchange(early_, {})) handle(early, box, relay);
    const auto until =
        options_.timeout.count() > 0 ? Clock::now() + options_.timeout : Clock::time_point::max();
    for (;;) {
      if (learner_)
        if (auto ok = learner_->step(); !ok) return report(ok.error());
      auto done = box.step();
      if (!done) return report(done.error());
      if (*done) {
        if (relay) relay->finish();
        raw_.reset();
        const int status = ended(**done);
        if (learner_ && !write_policy()) return failed;
        if (!relay || relay->lost() == 0) return status;
        fmt::print(stderr, "condroid-run: {}: {}; some of it is lost\n",
                   ours_.any() ? "the terminal" : "standard output",
                   std::generic_category().message(relay->lost()));
        return failed;
      }
      int wait = -1;
      if (until != Clock::time_point::max() && !late_) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
        if (left <= 0) {
          late_ = true;
          (void)(options_.polite ? box.begin_stop() : box.kill());
          continue;
        }
        wait = static_cast<int>(std::min<long long>(left, 1 << 30));
      }
      if (looks_ > 0 && Clock::now() >= next_look_) look_again(box);
      if (looks_ > 0 && (wait < 0 || wait > between_looks.count()))
        wait = static_cast<int>(between_looks.count());
      const Relay::Wish in = relay ? relay->input_wish() : Relay::Wish{};
      const Relay::Wish out = relay ? relay->output_wish() : Relay::Wish{};
      const Relay::Wish master = relay ? relay->master_wish() : Relay::Wish{};
      const int asked = learner_ ? learner_->poll_fd().get() : -1;
      std::array<pollfd, 6> waiting{{{signals_.get(), POLLIN, 0},
                                     {box.poll_fd().get(), POLLIN, 0},
                                     {in.fd, in.events, 0},
                                     {out.fd, out.events, 0},
                                     {master.fd, master.events, 0},
                                     {asked, POLLIN, 0}}};
      if (::poll(waiting.data(), waiting.size(), wait) < 0) continue;
      if (waiting[2].revents != 0) relay->input_ready();
      if (waiting[3].revents != 0) relay->output_ready();
      if (waiting[4].revents != 0) relay->master_ready(waiting[4].revents);
      while (const int signal = next_signal()) handle(signal, box, relay);
    }
  }

  void handle(int signal, Container& box, std::optional<Relay>& relay) {
    switch (signal) {
      case SIGWINCH:
        // Its own terminal tells it when it changes.
        if (relay)
          relay->resize(ours_.number());
        else
          send(signal, box);
        break;
      case SIGTSTP:
        // The container sleeps while we do; the shell finds its terminal as it was.
        raw_.reset();
        sleep_.begin(box.pid().value);
        ::raise(SIGSTOP);
        break;
      case SIGCONT:
        if (sleep_.active())
          sleep_.end();
        else
          (void)box.signal(Signal{SIGCONT});
        if (relay) {
          enter_raw();
          relay->resize(ours_.number());
        }
        break;
      case SIGUSR1:
      case SIGUSR2:
        (void)box.signal(Signal{signal});
        break;
      default:
        // The first is the command's to answer; the kernel drops what a process 1 has no handler
        // for.
        // Who is stopped by it is not to come again.
        if (asked_ == 0 && (options_.polite || options_.spec.lifecycle.restart != Restart::never)) {
          asked_ = signal;
          StopOptions how;
          if (signal != SIGTERM) how.signal = Signal{signal};
          (void)box.begin_stop(how);
          killed_ = true;  // if it does not answer
          break;
        }
        const Heard now = asked_ != 0 ? Heard::no : heard(signal, box.pid());
        if (now == Heard::no) {
          kill(signal, box);
        } else {
          asked_ = signal;
          send(signal, box);
          looks_ = now == Heard::perhaps ? most_looks : 0;
          next_look_ = Clock::now() + between_looks;
        }
    }
  }

  /// What a terminal sends goes to the command's whole process group, as a terminal would do it.
  void send(int signal, Container& box) const {
    constexpr unsigned to_process_group = 1U << 2U;  // PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9
    if (signal == SIGINT || signal == SIGQUIT || signal == SIGWINCH) {
      if (options_.spec.process.init) {
        // The small init would hand it to the command alone.
        const pid_t command = command_below(box.pid().value);
        if (command > 0 && ::kill(-command, signal) == 0) return;
      } else if (::syscall(SYS_pidfd_send_signal, box.pidfd().get(), signal, nullptr,
                           to_process_group) == 0 ||
                 ::kill(-box.pid().value, signal) == 0) {
        return;
      }
    }
    (void)box.signal(Signal{signal});
  }

  enum class Heard : std::uint8_t { no, perhaps, yes };

  /// Whether the container's first process would notice this signal; proc(5), status.
  [[nodiscard]] Heard heard(int signal, Pid pid) const {
    // Only a process 1 never hears what it has no handler for.
    if (options_.spec.process.init || !options_.attach.empty() ||
        !options_.spec.namespaces.has(Namespace::pid))
      return Heard::yes;
    std::ifstream status(fmt::format("/proc/{}/status", pid.value));
    if (!status.is_open()) return Heard::yes;
    Heard answer = Heard::no;
    for (std::string line; std::getline(status, line);) {
      const bool blocked = line.starts_with("SigBlk:");
      if (!blocked && !line.starts_with("SigIgn:") && !line.starts_with("SigCgt:")) continue;
      if (((std::stoull(line.substr(7), nullptr, 16) >> (signal - 1)) & 1U) == 0) continue;
      if (!blocked) return Heard::yes;
      answer = Heard::perhaps;
    }
    return answer;
  }

  void kill(int signal, Container& box) {
    (void)box.kill();
    if (asked_ == 0) asked_ = signal;
    killed_ = true;
    looks_ = 0;
  }

  /// A blocked signal waits for sigwait(3) or signalfd(2); or is dropped when it is let through, as
  /// by a shell that blocked all of them only to fork.
  void look_again(Container& box) {
    const Heard now = heard(asked_, box.pid());
    next_look_ = Clock::now() + between_looks;
    --looks_;
    if (now == Heard::no)
      kill(asked_, box);
    else if (now == Heard::yes)
      looks_ = 0;
  }

  int ended(const Exit& exit) const {
    for (const auto* list : {&exit.cleanup_errors, &exit.output_errors})
      for (const auto& e : *list) fmt::print(stderr, "condroid-run: {}\n", e);
    if (late_) {
      fmt::print(stderr, "condroid-run: '{}' was ended after {} ms\n", options_.spec.name,
                 options_.timeout.count());
      return timed_out;
    }
    if (exit.kind == Exit::lost) {
      fmt::print(stderr, "condroid-run: {}\n", exit);
      return failed;
    }
    if (!exit.not_restarted.empty())
      fmt::print(stderr, "condroid-run: not restarted: {}\n", exit.not_restarted);
    if (exit.out_of_memory) fmt::print(stderr, "condroid-run: {}\n", exit);
    if (options_.stats) say_usage(exit);
    if (!exit.cleanup_errors.empty()) return failed;
    return killed_ && exit.kind == Exit::signaled ? 128 + asked_ : exit.shell_status();
  }

  /// What was counted, in one line.
  static void say_usage(const Exit& exit) {
    const auto seconds = [](auto t) { return std::chrono::duration<double>(t).count(); };
    std::string text = fmt::format("ran {:.3f} s", seconds(exit.run_time));
    const auto cpu = exit.cpu_time ? exit.cpu_time->total : exit.user_time + exit.system_time;
    text += fmt::format(", {:.3f} s of processors", seconds(cpu));
    const Bytes peak = exit.peak_memory.value_or(exit.peak_rss);
    text += fmt::format(", {:.1f} MiB at most", static_cast<double>(peak.value) / (1U << 20U));
    if (exit.peak_pids) text += fmt::format(", {} processes at most", *exit.peak_pids);
    if (exit.oom_kills > 0) text += fmt::format(", {} killed for memory", exit.oom_kills);
    if (exit.pids_limit_hits > 0) text += fmt::format(", {} forks refused", exit.pids_limit_hits);
    fmt::print(stderr, "condroid-run: {}\n", text);
  }

  [[nodiscard]] bool write_policy() const {
    auto text = lxc::print_seccomp(learner_->policy());
    if (!text) {
      fmt::print(stderr, "condroid-run: {}\n", text.error());
      return false;
    }
    std::ofstream file(options_.learn, std::ios::binary);
    file << *text;
    file.close();
    if (file) return true;
    fmt::print(stderr, "condroid-run: cannot write '{}'\n", options_.learn);
    return false;
  }

  [[nodiscard]] bool write_trace(const Timeline& timeline) const {
    std::ofstream file(options_.trace, std::ios::binary);
    file << (options_.trace.ends_with(".svg") ? timeline.svg() : timeline.chrome_json());
    file.close();
    if (file) return true;
    fmt::print(stderr, "condroid-run: cannot write '{}'\n", options_.trace);
    return false;
  }

  Options options_;
  Terminals ours_ = Terminals::look();
  int input_ = 0, output_ = 1;  ///< Of the user's terminal; without one, the streams.
  std::array<Fd, 2> reopened_;
  std::optional<RawMode> raw_;  ///< Its end brings the terminal back, whatever the way out.
  Fd signals_;
  std::optional<SyscallLearner> learner_;
  std::vector<int> early_;  ///< Signals for a command that is not there yet.
  Sleep sleep_;
  int asked_ = 0;  ///< The signal that asked for the end.
  static constexpr int most_looks = 300;
  static constexpr std::chrono::milliseconds between_looks{10};
  int looks_ = 0;  ///< Still to be taken at whether it was heard.
  Clock::time_point next_look_;
  bool killed_ = false;  ///< By us, for that signal.
  bool late_ = false;
  std::optional<Runtime> runtime_;  ///< Ends before the terminal is brought back.
};

}  // namespace

int main(int argc, char** argv) {
  int status = 0;
  auto options = read_options(argc, argv, status);
  if (!options) return status;
  if (options->ps) return list_running();
  if (!options->stop.empty()) return stop_running(options->stop);
  if (options->print_spec) {
    fmt::print("{}", print_spec(options->spec));
    return 0;
  }
  return Run(std::move(*options))();
}
