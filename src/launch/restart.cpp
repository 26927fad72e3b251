// One life of a container after the other: what is kept, when it is launched again, and how the
// handle goes from one to the next.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <limits>
#include <utility>
#include <variant>

#include "formatted.hpp"
#include "launch/container_core.hpp"
#include "launch/engine.hpp"
#include "launch/kept.hpp"
#include "sys/namespace_files.hpp"
#include "sys/wire.hpp"

namespace condroid {
inline namespace v0 {
namespace detail {

namespace {

bool has_own(const Plan& plan, Namespace ns) {
  return std::ranges::any_of(plan.ops, [ns](const Op& o) {
    if (const auto* clone = std::get_if<op::Clone>(&o)) return clone->namespaces.has(ns);
    const auto* unshare = std::get_if<op::Unshare>(&o);
    return unshare != nullptr && unshare->namespaces.has(ns);
  });
}

/// The words and keys of a new terminal; what its last user made of it is over.
void put_back(const Fd& slave) {
  termios t{};
  if (!slave.valid() || ::tcgetattr(slave.get(), &t) != 0) return;
  t.c_iflag = ICRNL | IXON;
  t.c_oflag = OPOST | ONLCR;
  t.c_cflag = CS8 | CREAD | (t.c_cflag & CBAUD);
  t.c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
  constexpr cc_t control = 0x1f;
  t.c_cc[VINTR] = 'C' & control;
  t.c_cc[VQUIT] = '\\' & control;
  t.c_cc[VERASE] = 0x7f;
  t.c_cc[VKILL] = 'U' & control;
  t.c_cc[VEOF] = 'D' & control;
  t.c_cc[VMIN] = 1;
  t.c_cc[VTIME] = 0;
  t.c_cc[VSTART] = 'Q' & control;
  t.c_cc[VSTOP] = 'S' & control;
  t.c_cc[VSUSP] = 'Z' & control;
  t.c_cc[VREPRINT] = 'R' & control;
  t.c_cc[VDISCARD] = 'O' & control;
  t.c_cc[VWERASE] = 'W' & control;
  t.c_cc[VLNEXT] = 'V' & control;
  (void)::tcsetattr(slave.get(), TCSANOW, &t);
}

/// Replaces descriptors of the caller by copies of ours.
class Holder {
 public:
  explicit Holder(Kept& kept) : kept_(kept) {}

  void hold(HostFd& fd) {
    if (!fd.valid()) return;
    Fd copy(::fcntl(fd.number, F_DUPFD_CLOEXEC, 3));
    if (!copy.valid()) {  // the launch says so, in its own words
      full_ = full_ || errno != EBADF;
      return;
    }
    fd.number = copy.get();
    kept_.held.push_back(std::move(copy));
  }
  [[nodiscard]] Result<void> stream(op::OpenDescriptor& o) {
    if (o.stream.kind == Stream::inherit) {
      // One that is closed now may be anything later.
      o.stream = ::fcntl(o.number, F_GETFD) >= 0 ? Stream(HostFd{o.number}) : Stream(Stream::null);
    }
    if (o.stream.kind == Stream::descriptor) hold(o.stream.fd);
    if (o.stream.kind != Stream::pipe) return {};
    int pair[2];
    if (::pipe2(pair, O_CLOEXEC) < 0)
      return fail(errno, Step::open_descriptor, formatted("pipe as stream {}", o.number));
    Fd read_end(pair[0]), write_end(pair[1]);
    Fd& theirs = o.number == 0 ? read_end : write_end;
    o.stream = Stream(HostFd{theirs.get()});
    kept_.held.push_back(std::move(theirs));
    if (o.number == 0)
      kept_.stdin_write = std::move(write_end);
    else
      (o.number == 1 ? kept_.stdout_read : kept_.stderr_read) = std::move(read_end);
    return {};
  }
  /// The namespace of a process that may have ended by then.
  void namespace_of(op::OpenDescriptor& o) {
    Fd fd(
        ::open(formatted("/proc/{}/ns/{}", o.number, file_of(o.ns)).c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) return;  // as above
    o.kind = op::OpenDescriptor::borrowed;
    o.fd = HostFd{fd.get()};
    kept_.held.push_back(std::move(fd));
  }
  [[nodiscard]] bool full() const noexcept { return full_; }

 private:
  Kept& kept_;
  bool full_ = false;
};

}  // namespace

Result<std::shared_ptr<Kept>> keep(const std::shared_ptr<const Plan>& plan,
                                   const LaunchOptions& options) {
  auto kept = std::make_shared<Kept>();
  kept->deadline = options.deadline;
  kept->trace = options.trace;
  Plan own = *plan;
  Holder holder(*kept);
  for (Op& o : own.ops) {
    if (auto* tree = std::get_if<op::IdmapTree>(&o)) holder.hold(tree->fd);
    auto* open = std::get_if<op::OpenDescriptor>(&o);
    if (open == nullptr) continue;
    if (open->kind == op::OpenDescriptor::stdio) {
      if (auto ok = holder.stream(*open); !ok) return fail(ok);
    } else if (open->kind == op::OpenDescriptor::ns_of_pid) {
      holder.namespace_of(*open);
    } else {
      holder.hold(open->fd);
      // One that is missing now, and may be, must not be somebody else's later.
      if (open->optional && ::fcntl(open->fd.number, F_GETFD) < 0)
        open->fd = HostFd{std::numeric_limits<int>::max()};
    }
  }
  if (holder.full())
    return fail(EMFILE, Step::open_descriptor, "keeping the descriptors that the Spec names");
  kept->plan = std::make_shared<const Plan>(std::move(own));
  return kept;
}

LaunchOptions keeping(LaunchOptions options, const std::shared_ptr<Kept>& kept) {
  if (!has_own(*kept->plan, Namespace::net)) return options;
  options.on_event = [kept, user = std::move(options.on_event)](const LaunchEvent& e) {
    if (e.kind == LaunchEvent::configured)
      if (auto ok = kept->configured(e.pid); !ok) return ok;
    return user ? user(e) : Result<void>{};
  };
  return options;
}

Result<void> Kept::configured(Pid pid) {
  const auto open = [&](Namespace kind, Fd& to) -> Result<void> {
    if (to.valid()) return {};
    const char* const ns = file_of(kind);
    to = Fd(::open(formatted("/proc/{}/ns/{}", pid.value, ns).c_str(), O_RDONLY | O_CLOEXEC));
    if (to.valid()) return {};
    return fail(errno, Step::open_descriptor,
                formatted("{} namespace of process {}, to be kept", ns, pid.value));
  };
  if (auto ok = open(Namespace::net, network); !ok) return ok;
  return has_own(*plan, Namespace::user) ? open(Namespace::user, users) : Result<void>{};
}

void Kept::take_terminals(const Plan& made_by, std::vector<Fd>& ptys) {
  const bool sent = std::ranges::any_of(made_by.ops, [](const Op& o) {
    const auto* send = std::get_if<op::SendPtys>(&o);
    return send != nullptr && send->devpts.valid();
  });
  if (!sent || ptys.empty()) return;
  devpts = std::move(ptys.back());
  ptys.pop_back();
  std::vector<Fd> all;
  std::size_t next = 0;
  terminals.clear();
  for (const Op& o : made_by.ops) {
    const auto* pty = std::get_if<op::OpenPty>(&o);
    if (pty == nullptr) continue;
    int number = pty->number;
    Fd master;
    if (number < 0 && next < ptys.size()) {
      master = std::move(ptys[next++]);
      if (::ioctl(master.get(), TIOCGPTN, &number) < 0) number = -1;
    }
    terminals.push_back(number);
    all.push_back(std::move(master));
  }
  ptys = std::move(all);
}

std::vector<Fd> Kept::open_terminals() const {
  std::vector<Fd> list;
  for (const int number : terminals) {
    Fd slave;
    if (number >= 0 && devpts.valid())
      slave = Fd(::openat(devpts.get(), formatted("{}", number).c_str(),
                          O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
    list.push_back(std::move(slave));
  }
  return list;
}

// ---- the handle ---------------------------------------------------------------------------------

Result<std::optional<Exit>> ContainerCore::step() {
  if (auto ok = check_owner(); !ok) return fail(ok);
  auto done = step_lives();
  const bool seen = exit.has_value();
  look_after();
  if (exit && !seen) {
    // It was given up between two lives, by what looked: that sees the end, too.
    look_after();
    if (done) done = exit;
  }
  if (orphan && !ending && done && !*done)
    return fail(ECANCELED, Step::wait,
                formatted("container '{}', whose handle was destroyed meanwhile", name));
  return done;
}

Result<std::optional<Exit>> ContainerCore::step_lives() {
  for (;;) {
    if (next) {
      if (step_next()) continue;
      set_timer();
      return std::optional<Exit>{};
    }
    if (end_hooks) {
      if (!step_end_hooks()) {
        set_timer();
        return std::optional<Exit>{};
      }
      conclude();
      continue;
    }
    if (exit) return exit;
    if (kill_again || Clock::now() >= kill_at)
      if (auto ok = kill_everything(); !ok) return fail(ok);
    auto done = step_life();
    if (!done) return done;
    if (!*done) {
      if (timer.valid()) set_timer();
      return done;
    }
    begin_end_hooks();
    if (!end_hooks) conclude();
  }
}

bool ContainerCore::wants_again(const Exit& e) const {
  if (!kept || stay_down || detached || e.asked == Exit::Asked::power_off) return false;
  switch (lifecycle.restart) {
    case Restart::never:
      return false;
    case Restart::on_reboot:
      return e.asked == Exit::Asked::restart;
    case Restart::on_failure:
      return !e.success();
    case Restart::always:
      return true;
  }
  return false;
}

void ContainerCore::hold_terminals() {
  std::vector<Fd> slaves = kept->open_terminals();
  std::size_t first_tty = 0;
  if (has_console && !slaves.empty()) {
    console_slave = std::move(slaves[0]);
    first_tty = 1;
  }
  std::vector<Fd> others;
  for (std::size_t i = first_tty; i < slaves.size(); ++i) others.push_back(std::move(slaves[i]));
  tty_slaves = std::move(others);
}

bool ContainerCore::is_within_limit() {
  const auto now = Clock::now();
  while (!restarted_at.empty() && now - restarted_at.front() > lifecycle.restart_window)
    restarted_at.pop_front();
  return lifecycle.restart_limit == 0 || restarted_at.size() < lifecycle.restart_limit;
}

std::string ContainerCore::limit_text() const {
  return formatted("{} times within {} s is the limit", lifecycle.restart_limit,
                   std::chrono::duration<double>(lifecycle.restart_window).count());
}

void ContainerCore::begin_end_hooks() {
  if (later.empty()) return;
  // It is at its end, and would wake whoever waits for the hooks.
  unwatch(exit_socket);
  unwatch(status_socket);
  exit_socket.reset();
  status_socket.reset();
  // Drained, and of a last life hung up, which poll(2) would tell all the time.
  unwatch(console.fd);
  console_deaf = true;
  kill_at = Clock::time_point::max();
  kill_again = false;
  const bool wanted = wants_again(*exit);
  if (wanted && !is_within_limit()) not_again = limit_text();
  const bool again = wanted && not_again.empty();
  // Of what stays it is not the end yet.
  if (again && kept->network.valid())
    std::erase_if(later, [](const op::RunHook& h) {
      return h.hook.point == HookPoint::down && stays(h.interface_type);
    });
  HookScene scene{.name = name,
                  .pid = pid,
                  .host_names = host_ends.names,
                  .namespaces = std::move(namespaces),
                  .target = again ? "reboot" : "stop"};
  // The network goes with the last life, before hooks at post_stop.
  const auto gone = [this] {
    if (wants_again(*exit) && not_again.empty()) return;
    host_ends.take_down();
    if (!kept) return;
    kept->network.reset();
    kept->users.reset();
  };
  end_hooks =
      std::make_unique<EndHooks>(runtime, std::move(scene), std::move(later), on_hook, gone);
  later.clear();
}

bool ContainerCore::step_end_hooks() {
  if (!end_hooks->step()) {
    watch(end_hooks->poll_fd());
    return false;
  }
  auto& all = exit->cleanup_errors;
  all.insert(all.end(), end_hooks->errors().begin(), end_hooks->errors().end());
  if (not_again.empty()) not_again = end_hooks->refusal();
  end_hooks.reset();
  return true;
}

void ContainerCore::conclude() {
  const bool again = wants_again(*exit);
  if (!again || !not_again.empty()) {
    ended = std::move(exit);
    return give_up(again ? std::move(not_again) : std::string());
  }
  hold_terminals();  // again: the end of a session may have hung them up
  put_back(console_slave);
  for (const Fd& slave : tty_slaves) put_back(slave);

  unwatch(exit_socket);
  unwatch(status_socket);
  exit_socket.reset();
  status_socket.reset();
  ended = std::move(exit);
  exit.reset();
  // What was captured goes on.
  out.text = std::move(ended->out);
  err.text = std::move(ended->err);

  if (!is_within_limit()) return give_up(limit_text());
  restarted_at.push_back(Clock::now());
  if (auto ok = begin_again(); !ok) {
    next.reset();
    give_up(to_string(ok.error()));
  }
}

Result<void> ContainerCore::begin_again() {
  auto alive = runtime->get_zygote();
  if (!alive) return fail(alive);
  // What the container had of a bridge of ours went with that zygote: addresses that may be
  // somebody else's by now, and ports.
  if (*alive != zygote && !host_ends.share.uses.empty()) {
    host_ends.take_down();
    kept->network.reset();
    kept->ups.clear();
  }
  Carried carried{.network = kept->network.get(),
                  .users = kept->users.get(),
                  .devpts = kept->devpts.get(),
                  .terminals = kept->terminals};
  // One whose master was closed is gone; it gets a new one.
  for (int& number : carried.terminals) {
    struct stat st {};
    if (number >= 0 && ::fstatat(kept->devpts.get(), formatted("{}", number).c_str(), &st,
                                 AT_SYMLINK_NOFOLLOW) != 0)
      number = -1;
  }
  auto plan_again = std::make_shared<const Plan>(next_life(*kept->plan, carried));
  if (kept->stop_before && *kept->stop_before >= plan_again->ops.size())
    return fail(Errc::bad_spec, Step::clone,
                formatted("stop before {}: the plan of a next life has {} ops", *kept->stop_before,
                          plan_again->ops.size()));
  LaunchOptions options{
      .deadline = kept->deadline, .stop_before = kept->stop_before, .trace = kept->trace};
  options.on_event = std::move(on_event);
  options.on_hook = on_hook;
  next = std::make_unique<LaunchEngine>(runtime, std::move(*alive), std::move(plan_again),
                                        std::move(options));
  // The same cgroup, unless something of the old one is left.
  next->keep(kept, left_nothing ? unique_name : std::string{});
  return next->prepare();
}

bool ContainerCore::step_next() {
  auto done = next->step();
  if (!done) {
    next.reset();
    // Nobody asks why there is no next life; what is left of it is told.
    if (stay_down)
      for (std::string& left : done.error().also) ended->cleanup_errors.push_back(std::move(left));
    give_up(stay_down ? std::string() : to_string(done.error()));
    return true;
  }
  if (*done) {
    ContainerCore& made = *(**done).core_;
    next.reset();
    take_over(made);
    // Its command was executed before it could be given up.
    if (stay_down)
      if (auto ok = kill_everything(); !ok) late.push_back(to_string(ok.error()));
    return true;
  }
  if (const auto [fd, events] = next->interest(); poll.valid() && fd.valid()) {
    epoll_event event{};
    event.events = static_cast<std::uint32_t>(events);  // the same bits
    event.data.fd = fd.get();
    if (::epoll_ctl(poll.get(), EPOLL_CTL_MOD, fd.get(), &event) != 0 &&
        ::epoll_ctl(poll.get(), EPOLL_CTL_ADD, fd.get(), &event) != 0)
      wake_always();
  }
  return false;
}

void ContainerCore::drop_next() {
  next->cancel();
  if (!step_next()) set_timer();
}

void ContainerCore::take_over(ContainerCore& made) {
  ++restarts;
  ended.reset();
  note.reset();  // who watched has been told the end of that life
  zygote = std::move(made.zygote);
  unique_name = std::move(made.unique_name);
  group_name = std::move(made.group_name);
  group_home = std::move(made.group_home);
  inside.apparmor = std::move(made.inside.apparmor);  // a profile of its own has that life's name
  pid = made.pid;
  pidfd = std::move(made.pidfd);
  companion = std::move(made.companion);
  // Not in the set of poll_fd() with what the launch waited for.
  if (poll.valid()) (void)::epoll_ctl(poll.get(), EPOLL_CTL_DEL, made.exit_socket.get(), nullptr);
  exit_socket = std::move(made.exit_socket);
  status_socket = std::move(made.status_socket);
  init_status.reset();
  live = made.live;
  parents = std::move(made.parents);
  pin = std::move(made.pin);
  out.fd = std::move(made.out.fd);
  err.fd = std::move(made.err.fd);
  killed = kill_again = false;
  if (made.console.fd.valid()) {
    unwatch(console.fd);
    console.fd = std::move(made.console.fd);
    console_deaf = true;
  }
  if (console_deaf && console.fd.valid()) {
    console_deaf = false;
    watch(console.fd);
  }
  console.log = std::move(made.console.log);
  ttys.resize(std::max(ttys.size(), made.ttys.size()));
  for (std::size_t i = 0; i < made.ttys.size(); ++i)
    if (made.ttys[i].valid()) ttys[i] = std::move(made.ttys[i]);
  console_slave = std::move(made.console_slave);
  tty_slaves = std::move(made.tty_slaves);
  listener = std::move(made.listener);
  timeline = std::move(made.timeline);
  late.insert(late.end(), made.late.begin(), made.late.end());
  on_event = std::move(made.on_event);
  later = std::move(made.later);
  namespaces = std::move(made.namespaces);
  if (made.host_ends.share.uses.empty())
    host_ends.lent = std::move(made.host_ends.lent);
  else
    host_ends = std::move(made.host_ends);  // of a network that was made anew
  for (const Fd* fd : {&exit_socket, &status_socket, &out.fd, &err.fd}) watch(*fd);
  made.exit.emplace();  // nothing is left for its end to do
}

void ContainerCore::give_up(std::string why) {
  ended->restarts = restarts;
  ended->not_restarted = std::move(why);
  if (ended->out.empty()) ended->out = std::move(out.text);
  if (ended->err.empty()) ended->err = std::move(err.text);
  exit = std::move(ended);
  ended.reset();
  on_event = {};  // it holds what is kept, too
  host_ends.take_down();
  console_slave.reset();
  tty_slaves.clear();
  kept.reset();
  kill_at = Clock::time_point::max();
  kill_again = false;
  // Readable from now on, as the exit socket would be.
  if (poll.valid() && !exit_socket.valid()) {
    kill_at = Clock::now();
    set_timer();
    kill_at = Clock::time_point::max();
  }
}

void LaunchEngine::stop_next_before(Container& box, std::size_t op) {
  if (box.core_->kept) box.core_->kept->stop_before = op;
}

LaunchEngine* LaunchEngine::next_of(Container& box) { return box.core_->next.get(); }

}  // namespace detail

unsigned Container::restarts() const noexcept { return core_ ? core_->restarts : 0; }

Life Container::life() const noexcept {
  if (!core_) return Life::ended;
  if (core_->next || (core_->end_hooks && core_->end_hooks->again())) return Life::between;
  if (core_->end_hooks) return Life::ending;
  return core_->exit ? Life::ended : Life::running;
}

const Exit* Container::last_exit() const noexcept {
  if (!core_) return nullptr;
  if (core_->exit) return &*core_->exit;
  return core_->next && core_->ended ? &*core_->ended : nullptr;
}

}  // namespace v0
}  // namespace condroid
