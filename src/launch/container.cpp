#include "condroid/container.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "formatted.hpp"
#include "launch/container_core.hpp"
#include "launch/engine.hpp"
#include "launch/helper.hpp"
#include "launch/kept.hpp"
#include "launch/pasta.hpp"
#include "launch/profiles.hpp"
#include "program/kernel.hpp"
#include "sys/cgroup_files.hpp"
#include "sys/wire.hpp"

namespace condroid {
inline namespace v0 {
namespace detail {

bool Gather::drain() {
  if (!fd.valid()) return false;
  char buffer[65536];
  // Who writes as fast as we read would keep us here for ever. What is left keeps the descriptor
  // readable.
  // Of a terminal no more than is kept: who looks after it sees all that it says, step by step.
  constexpr std::size_t mebibyte = std::size_t{1} << 20U, page = 4096;
  for (std::size_t most = ring ? std::clamp(limit, page, mebibyte) : mebibyte; most > 0;) {
    // A terminal may be blocking: others have it open, too.
    if (ring && wait_for_fd(fd.get(), POLLIN, 0) == 0) return true;
    const ssize_t n = ::read(fd.get(), buffer, std::min(most, sizeof buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return true;
    // EIO: of a terminal whose last slave was closed.
    if (n < 0 && error == 0 && !(ring && errno == EIO)) error = errno;
    if (n <= 0) return false;
    const auto size = static_cast<std::size_t>(n);
    most -= std::min(most, size);
    if (log.valid())
      if (const int e = log.append({buffer, size}); e != 0 && log_error == 0) log_error = e;
    if (ring) {
      text.append(buffer, size);
      if (text.size() > limit) {
        dropped += text.size() - limit;
        text.erase(0, text.size() - limit);
      }
    } else {
      const std::size_t room = limit > text.size() ? limit - text.size() : 0;
      const std::size_t keep = std::min(room, size);
      text.append(buffer, keep);
      dropped += size - keep;
    }
  }
  return true;
}

bool ContainerCore::ours() const { return owner == ::getpid(); }

Result<void> ContainerCore::check_owner() const {
  if (ours()) return {};
  return fail(Errc::in_forked_child, Step::wait, formatted("container '{}'", name),
              "it belongs to the process that launched it");
}

FdView ContainerCore::poll_fd() {
  if (poll.valid()) return poll;
  if (!ours()) return exit_socket;
  poll = Fd(::epoll_create1(EPOLL_CLOEXEC));
  for (const Fd* fd : {&exit_socket, &status_socket, &out.fd, &err.fd}) watch(*fd);
  if (!console_deaf) watch(console.fd);
  for (const Attended& a : attended) watch(a.readable);
  if (end_hooks) watch(end_hooks->poll_fd());
  set_timer();
  if (exit && !end_hooks && !exit_socket.valid()) wake_always();
  return poll.valid() ? FdView(poll) : FdView(exit_socket);
}

Result<void> ContainerCore::attend(FdView readable, std::function<bool(Container&)> look) {
  if (auto ok = check_owner(); !ok) return ok;
  Fd own(::fcntl(readable.get(), F_DUPFD_CLOEXEC, 3));
  if (!own.valid())
    return fail(errno, Step::watch, formatted("what container '{}' is to look after", name));
  watch(own);
  attended.push_back(
      {std::move(own), std::make_shared<const std::function<bool(Container&)>>(std::move(look))});
  return {};
}

void ContainerCore::look_after() {
  if (attended.empty() || looking) return;
  // A handle for the time of the call.
  struct Lent {
    explicit Lent(ContainerCore& c) : core(c), box(std::unique_ptr<ContainerCore>(&c)) {
      core.looking = true;
      core.lent = &box;
    }
    Lent(const Lent&) = delete;
    Lent& operator=(const Lent&) = delete;
    ~Lent() {
      core.looking = false;
      core.lent = nullptr;
      if (box.core_.get() == &core) (void)box.core_.release();
    }
    ContainerCore& core;
    Container box;
  };
  Lent handle(*this);
  for (std::size_t i = 0; i < attended.size();) {
    // It may ask for more to be looked after.
    const auto look = attended[i].look;
    bool goes_on = false;
    try {
      goes_on = (*look)(handle.box);
    } catch (...) {
      if (!ending) throw;
    }
    if (goes_on) {
      ++i;
      continue;
    }
    unwatch(attended[i].readable);
    attended.erase(attended.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void ContainerCore::watch(FdView fd) {
  if (!poll.valid() || !fd.valid()) return;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd.get();
  if (::epoll_ctl(poll.get(), EPOLL_CTL_ADD, fd.get(), &event) == 0 || errno == EEXIST) return;
  wake_always();
}

/// Out of watches or of memory: who waits is woken all the time, for that is better than never.
void ContainerCore::wake_always() {
  if (const Fd always(::eventfd(1, EFD_CLOEXEC)); always.valid())
    (void)::dup3(always.get(), poll.get(), O_CLOEXEC);
}

/// An ended stream would stay readable for ever.
void ContainerCore::unwatch(const Fd& fd) {
  if (poll.valid() && fd.valid()) (void)::epoll_ctl(poll.get(), EPOLL_CTL_DEL, fd.get(), nullptr);
}

void ContainerCore::hold(const Fd& master, Fd& slave) {
  // The terminal is the container's, whose devpts we cannot see. Linux 4.13.
  if (master.valid() && !slave.valid())
    slave = Fd(::ioctl(master.get(), kernel::tiocgptpeer, O_RDWR | O_NOCTTY | O_CLOEXEC));
}

void ContainerCore::read_console() {
  if (!console.fd.valid() || console.drain()) return;
  // Its last slave was closed, or all were hung up at the end of a session. It may be opened again:
  // a slave of our own makes it quiet until then. Where none can be had it is asked at each step,
  // and at the end.
  console_slave.reset();
  hold(console.fd, console_slave);
  console_deaf = !console_slave.valid();
  if (console_deaf) unwatch(console.fd);
}

void ContainerCore::end(Exit e) {
  // What was written before the end is in the pipes; who holds them still (a daemon outside the pid
  // namespace) does not matter.
  for (Gather* g : {&out, &err, &console}) {
    // A pipe holds a mebibyte at most, unless root made it larger.
    for (int tries = 0;
         tries < 16 && g->fd.valid() && wait_for_fd(g->fd.get(), POLLIN, 0) > 0 && g->drain();)
      ++tries;
    if (g == &console) continue;
    unwatch(g->fd);
    g->fd.reset();
  }
  if (!wants_again(e)) {
    console_slave.reset();
    tty_slaves.clear();
  }
  e.out = std::move(out.text);
  e.err = std::move(err.text);
  e.dropped = out.dropped + err.dropped;
  if (on_event) {
    const LaunchEvent event{LaunchEvent::stopped, name, pid};
    if (auto ok = on_event(event); !ok) late.push_back(to_string(ok.error()));
  }
  e.cleanup_errors.insert(e.cleanup_errors.end(), late.begin(), late.end());
  pin.reset();
  host_ends.bring_home(e.cleanup_errors);
  // Hooks at `down` come before that.
  if (!wants_again(e) && later.empty()) host_ends.take_down();
  if (zygote->alive()) zygote->give_back_live(live);
  e.launch_time = executed - began;
  e.timeline = timeline;
  left_nothing = e.cleanup_errors.empty() && e.kind != Exit::lost;
  const std::pair<Gather*, const char*> gathered[] = {
      {&out, "standard output"}, {&err, "standard error"}, {&console, "the console"}};
  for (const auto& [g, what] : gathered) {
    if (const int error = std::exchange(g->error, 0); error != 0)
      e.output_errors.push_back(to_string(sys_error(error, Step::wait, what)));
    if (const int error = std::exchange(g->log_error, 0); error != 0)
      e.output_errors.push_back(
          to_string(sys_error(error, Step::wait, formatted("the log of {}", what))));
  }
  exit = std::move(e);
}

Result<std::optional<Exit>> ContainerCore::step_life() {
  for (Gather* g : {&out, &err})
    if (g->fd.valid() && !g->drain()) {
      unwatch(g->fd);
      g->fd.reset();
    }
  read_console();
  if (status_socket.valid()) {
    program::SyncMessage message{};
    const Received r = receive_message(status_socket.get(), &message, sizeof message);
    if (r.error == 0 && r.size == sizeof message && message.kind == program::SyncKind::ended)
      init_status = static_cast<int>(message.value);
    if ((r.error == 0 && r.end) || (r.error != 0 && r.error != EAGAIN)) {
      unwatch(status_socket);
      status_socket.reset();
    }
  }
  program::Record record{};
  std::unique_lock<std::mutex> taking;
  if (note) taking = std::unique_lock(note->mutex);
  Received r = receive_message(exit_socket.get(), &record, sizeof record);
  if (r.error == EAGAIN && zygote->alive()) return std::optional<Exit>{};
  Exit e;
  if (r.error == EAGAIN) {
    // Dead, and a forked child of the host has a copy of the socket's other end: no end of file.
    // Its last word may have come between the two looks.
    r = receive_message(exit_socket.get(), &record, sizeof record);
  }
  if (r.error != 0 || r.end || r.size != sizeof record || record.magic != program::magic ||
      record.kind != program::RecordKind::exited) {
    // The zygote is dead. Its death killed most containers; this one is killed here, and what it
    // would have undone too.
    (void)kill_everything();
    (void)wait_for_fd(pidfd.get(), POLLIN, 5000);
    e.kind = Exit::lost;
    e.signal = Signal{SIGKILL};
    take_figures_ourselves(e);
    for (const auto& [hierarchy, dir] : parents) {
      if (const int undone = remove_cgroup(dir, group_name.c_str()); undone != 0)
        e.cleanup_errors.push_back(
            to_string(sys_error(undone, Step::remove_cgroup,
                                formatted("'{}' in hierarchy {}{}", group_name, hierarchy,
                                          in_the_way(undone, dir, group_name)))));
      else if (group_name.starts_with(beside_runtime))
        remove_way(dir, group_name);
    }
    (void)wait_for_fd(zygote->pidfd(), POLLIN, 1000);
    zygote->bury();
    if (taking.owns_lock()) taking.unlock();
    end(std::move(e));
    return exit;
  }
  if (status_socket.valid() && !init_status) {
    program::SyncMessage message{};
    const Received last = receive_message(status_socket.get(), &message, sizeof message);
    if (last.error == 0 && last.size == sizeof message && message.kind == program::SyncKind::ended)
      init_status = static_cast<int>(message.value);
  }
  if (record.code == CLD_EXITED && has_init && init_status) {
    const int status = *init_status;
    if (WIFSIGNALED(status)) {
      e.kind = Exit::signaled;
      e.signal = Signal{WTERMSIG(status)};
      e.core_dumped = WCOREDUMP(status);
    } else {
      e.code = WEXITSTATUS(status);
    }
  } else if (record.code == CLD_EXITED) {
    e.code = record.status & 0xff;
  } else {
    e.kind = Exit::signaled;
    e.signal = Signal{record.status};
    e.core_dumped = record.code == CLD_DUMPED;
    // Neither of these ends a first process, from wherever it is sent, unless it is in the code of
    // its exit: zap_pid_ns_processes() in kernel/pid_namespace.c.
    if (own_pids && record.status == SIGHUP) e.asked = Exit::Asked::restart;
    if (own_pids && record.status == SIGINT) e.asked = Exit::Asked::power_off;
  }
  rusage usage{};
  static_assert(sizeof record.rusage >= sizeof usage);
  std::memcpy(&usage, record.rusage, sizeof usage);
  const auto micros = [](const timeval& t) {
    return std::chrono::seconds(t.tv_sec) + std::chrono::microseconds(t.tv_usec);
  };
  e.user_time = micros(usage.ru_utime);
  e.system_time = micros(usage.ru_stime);
  e.peak_rss = Bytes{static_cast<std::uint64_t>(usage.ru_maxrss) << 10U};
  take_figures(record.figures, e);
  if (taking.owns_lock()) taking.unlock();
  e.run_time =
      std::max(std::chrono::nanoseconds(record.ended) - executed, std::chrono::nanoseconds{0});
  if (record.error != 0)
    e.cleanup_errors.push_back(to_string(sys_error(
        record.error, Step::wait, formatted("container '{}', which was killed for that", name))));
  if (record.undo_error != 0)
    e.cleanup_errors.push_back(to_string(record.undo_hierarchy >= program::undo_interface &&
                                                 record.undo_hierarchy != program::undo_profile
                                             ? host_ends.not_home(record)
                                             : left_behind(record, group_name)));
  // The zygote has ended it after the container; what went before that left it without a network.
  // Of two that somebody killed at once the zygote may hear in any order.
  constexpr std::uint64_t at_once = 5'000'000;  // nanoseconds
  if (companion)
    if (const auto gone = companion->step();
        gone && *gone && (*gone)->ended + at_once < record.ended) {
      const auto& c = **gone;
      bool end = false;
      const std::string words = last_words(companion->heard(end));
      e.cleanup_errors.push_back(formatted(
          "start pasta: it ended before the container did, and with it the network: {} {}{}",
          c.code == CLD_EXITED ? "it exited with status" : "signal", c.status,
          words.empty() ? "" : ": " + words));
    }
  end(std::move(e));
  return exit;
}

Result<std::optional<Exit>> ContainerCore::wait_until(int milliseconds) {
  const auto until = Clock::now() + std::chrono::milliseconds(milliseconds);
  for (;;) {
    auto done = step();
    if (!done || *done) return done;
    int left = -1;
    if (milliseconds >= 0) {
      left = static_cast<int>(std::max<long long>(
          0, std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count()));
    }
    const auto at_most = [&left](int most) { left = left < 0 ? most : std::min(left, most); };
    constexpr int slice = 100;
    if ((console_deaf && !end_hooks) || kill_again)
      at_most(slice);  // step() asks it, or makes sure
    if (kill_at != Clock::time_point::max())
      at_most(static_cast<int>(std::max<long long>(
          0, std::chrono::ceil<std::chrono::milliseconds>(kill_at - Clock::now()).count())));
    Interest launching = next ? next->interest() : Interest{};
    if (const int soon = next ? next->timeout() : -1; soon >= 0) at_most(soon);
    if (end_hooks) {
      launching = {end_hooks->poll_fd(), POLLIN};
      at_most(static_cast<int>(std::clamp<long long>(
          std::chrono::ceil<std::chrono::milliseconds>(end_hooks->until() - Clock::now()).count(),
          0, 1 << 30)));
    }
    // poll(2) passes over what is negative.
    std::array<pollfd, 7> own{{{exit_socket.get(), POLLIN, 0},
                               {end_hooks ? -1 : zygote->pidfd(), POLLIN, 0},
                               {status_socket.get(), POLLIN, 0},
                               {out.fd.get(), POLLIN, 0},
                               {err.fd.get(), POLLIN, 0},
                               {console_deaf ? -1 : console.fd.get(), POLLIN, 0},
                               {launching.fd.get(), launching.events, 0}}};
    std::span<pollfd> waiting = own;
    std::vector<pollfd> more;
    if (!attended.empty()) {
      more.assign(own.begin(), own.end());
      for (const Attended& a : attended) more.push_back({a.readable.get(), POLLIN, 0});
      waiting = more;
    }
    const int ready = ::poll(waiting.data(), waiting.size(), left);
    if (ready < 0 && errno != EINTR)
      return fail(errno, Step::wait, formatted("container '{}'", name));
    // Also of one that never is quiet.
    if (milliseconds >= 0 && Clock::now() >= until) return step();
  }
}

ContainerCore::ContainerCore() = default;

ContainerCore::~ContainerCore() {
  ending = true;
  if (!ours() || detached) return;
  if (exit && !end_hooks) {
    look_after();
    return;
  }
  no_next_life();
  if (next) {
    next.reset();
    give_up({});
    look_after();
    return;
  }
  const bool told = kill_everything().has_value();
  // The end of a killed container is the kernel's business; a zygote that cannot tell it within
  // this time is stuck. One that could not be killed is not waited for: the zygote's end is its
  // end.
  // Its hooks have their own.
  auto most = std::chrono::milliseconds(in_vain ? 0 : 30000);
  if (end_hooks) most += end_hooks->most();
  for (const op::RunHook& h : later)
    most += std::chrono::ceil<std::chrono::milliseconds>(h.hook.timeout) +
            std::chrono::milliseconds(1000);
  constexpr std::chrono::milliseconds longest = std::chrono::hours(24 * 20);
  if (told) (void)wait_until(static_cast<int>(std::min(most, longest).count()));
  if (!exit && zygote->alive()) zygote->keep_until_end(std::move(exit_socket), live, {});
}

}  // namespace detail

std::string to_string(const Exit& e) {
  std::string text;
  switch (e.kind) {
    case Exit::exited:
      text = formatted("exited with status {}", e.code);
      break;
    case Exit::signaled: {
      if (e.asked != Exit::Asked::nothing) {
        text = formatted("asked for {}, reboot(2)",
                         e.asked == Exit::Asked::restart ? "a restart" : "power off");
        break;
      }
      const char* abbreviation = ::sigabbrev_np(e.signal.value);
      text = abbreviation != nullptr
                 ? formatted("killed by signal {} (SIG{})", e.signal.value, abbreviation)
                 : formatted("killed by signal {}", e.signal.value);
      if (e.core_dumped) text += ", core dumped";
      break;
    }
    case Exit::lost:
      text = "lost with its zygote";
      break;
  }
  if (e.out_of_memory) text += ", out of memory";
  if (e.pids_limit_hits == 1)
    text += ", pids limit hit once";
  else if (e.pids_limit_hits > 1)
    text += formatted(", pids limit hit {} times", e.pids_limit_hits);
  if (e.restarts > 0)
    text += formatted(", after {} restart{}", e.restarts, e.restarts == 1 ? "" : "s");
  if (!e.not_restarted.empty()) text += "; not restarted: " + e.not_restarted;
  for (const auto* list : {&e.cleanup_errors, &e.output_errors})
    for (const auto& c : *list) text += "; also: " + c;
  return text;
}

Container::Container(std::unique_ptr<detail::ContainerCore> core) : core_(std::move(core)) {}
// A lent one stays whose it is.
Container::Container(Container&& other) noexcept {
  if (other.core_ && other.core_->lent != &other) core_ = std::move(other.core_);
}
Container& Container::operator=(Container&& other) noexcept {
  if (this == &other) return *this;
  let_go();
  if (other.core_ && other.core_->lent != &other) core_ = std::move(other.core_);
  return *this;
}
Container::~Container() { let_go(); }

void Container::let_go() noexcept {
  if (!core_) return;
  const bool lent = core_->lent == this;
  if (!lent && core_->busy == 0) return core_.reset();
  if (!lent) core_->orphan = true;
  (void)core_.release();
}

namespace {

/// A call that may look after something, in which the handle may be destroyed: the container goes
/// on until its end.
class Busy {
 public:
  explicit Busy(detail::ContainerCore& core) : core_(core) { ++core_.busy; }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
  ~Busy() {
    if (--core_.busy == 0 && core_.orphan)
      const std::unique_ptr<detail::ContainerCore> gone(&core_);
  }

 private:
  detail::ContainerCore& core_;
};

}  // namespace

using detail::moved_away;

const std::string& Container::name() const noexcept {
  static const std::string none;
  return core_ ? core_->name : none;
}
Pid Container::pid() const noexcept { return core_ ? core_->pid : Pid{}; }
FdView Container::pidfd() const noexcept { return core_ ? FdView(core_->pidfd) : FdView{}; }
FdView Container::poll_fd() const noexcept { return core_ ? core_->poll_fd() : FdView{}; }
Result<std::optional<Exit>> Container::step() {
  if (!core_) return moved_away(Step::wait);
  const Busy busy(*core_);
  return core_->step();
}

Result<Exit> Container::wait() {
  if (!core_) return moved_away(Step::wait);
  const Busy busy(*core_);
  auto done = core_->wait_until(-1);
  if (!done) return fail(done);
  return std::move(**done);
}

Result<std::optional<Exit>> Container::wait_for(std::chrono::milliseconds limit) {
  if (!core_) return moved_away(Step::wait);
  const auto most = std::chrono::milliseconds(std::chrono::hours(24 * 20));
  const Busy busy(*core_);
  return core_->wait_until(
      static_cast<int>(std::clamp(limit, std::chrono::milliseconds{0}, most).count()));
}

Result<void> Container::detach() {
  if (!core_) return moved_away(Step::detach);
  if (auto ok = core_->check_owner(); !ok) return ok;
  if (core_->next)
    return fail(EAGAIN, Step::detach,
                formatted("container '{}' is being launched again", core_->name));
  if (core_->exit)
    return fail(ESRCH, Step::detach, formatted("container '{}' has ended", core_->name));
  if (!core_->later.empty())
    return fail(Errc::unsupported, Step::detach,
                formatted("container '{}' has hooks for its end", core_->name),
                "this program runs them, and has to wait for the end");
  program::Request request{};
  request.magic = program::magic;
  request.kind = program::RequestKind::detach;
  request.live = core_->live;
  std::vector<int> fds;
  if (core_->console.fd.valid()) {
    fds.push_back(core_->console.fd.get());
    if (core_->console.log.valid()) fds.push_back(core_->console.log.fd().get());
  }
  if (const int e = core_->zygote->request_surely(request, fds); e != 0)
    return fail(e, Step::detach, formatted("container '{}'", core_->name));
  core_->host_ends.share.leave();
  core_->detached = true;
  if (core_->companion) core_->companion->release();
  return {};
}

Fd Container::take_stdin() noexcept { return core_ ? std::move(core_->stdin_write) : Fd{}; }
Fd Container::take_stdout() noexcept { return core_ ? std::move(core_->stdout_read) : Fd{}; }
Fd Container::take_stderr() noexcept { return core_ ? std::move(core_->stderr_read) : Fd{}; }
FdView Container::console() const noexcept {
  if (!core_) return {};
  if (!core_->exit && core_->ours())
    detail::ContainerCore::hold(core_->console.fd, core_->console_slave);
  return core_->console.fd;
}
Fd Container::take_console() noexcept {
  if (!core_) return {};
  core_->unwatch(core_->console.fd);
  if (!core_->kept) core_->console_slave.reset();  // else it ends with the last life only
  return std::move(core_->console.fd);
}
Fd Container::take_tap(std::string_view interface) noexcept {
  if (!core_) return {};
  for (detail::HeldTap& tap : core_->host_ends.taps)
    if (tap.name == interface) return std::move(tap.fd);
  return {};
}
std::vector<FdView> Container::ttys() const {
  std::vector<FdView> list;
  if (!core_) return list;
  auto& c = *core_;
  if (!c.exit && c.ours()) {
    c.tty_slaves.resize(c.ttys.size());
    for (std::size_t i = 0; i < c.ttys.size(); ++i)
      detail::ContainerCore::hold(c.ttys[i], c.tty_slaves[i]);
  }
  for (const auto& t : c.ttys) list.emplace_back(t);
  return list;
}
FdView Container::devpts() const noexcept {
  return core_ && core_->kept ? FdView(core_->kept->devpts) : FdView{};
}
std::string Container::console_output() const {
  return core_ ? core_->console.text : std::string{};
}
std::string_view Container::console_since(std::uint64_t& position) const noexcept {
  if (!core_) return {};
  const std::string& kept = core_->console.text;
  const std::uint64_t all = core_->console.dropped + kept.size();
  const std::uint64_t more = all - std::min(position, all);
  position = all;
  return std::string_view(kept).substr(
      kept.size() - static_cast<std::size_t>(std::min<std::uint64_t>(more, kept.size())));
}
Result<Exit> Container::stop(const StopOptions& options) {
  if (!core_) return moved_away(Step::signal);
  const Busy busy(*core_);
  return core_->stop(options);
}
Result<void> Container::attend(FdView readable, std::function<bool(Container&)> look) {
  if (!core_) return moved_away(Step::watch);
  return core_->attend(readable, std::move(look));
}
Result<StatsReader> Container::stats_reader(const StatsOptions& options) const {
  if (!core_) return moved_away(Step::measure);
  return core_->stats_reader(options);
}
Result<Stats> Container::stats() const {
  auto reader = stats_reader();
  if (!reader) return fail(reader);
  Stats now;
  const auto there = reader->read(now);
  if (there && !*there)
    return fail(ESRCH, Step::measure, formatted("container '{}' has ended", core_->name));
  if (!there) return fail(Result<bool>(there));
  return now;
}
Result<Watch> Container::watch(const WatchOptions& options) const {
  if (!core_) return moved_away(Step::watch);
  return core_->watch(options);
}
const Timeline& Container::timeline() const {
  static const Timeline none;
  return core_ ? core_->timeline : none;
}

}  // namespace v0
}  // namespace condroid
