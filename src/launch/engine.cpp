#include "launch/engine.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "formatted.hpp"
#include "launch/helper.hpp"
#include "launch/kept.hpp"
#include "launch/profiles.hpp"
#include "program/interface_requests.hpp"
#include "sys/cgroup_files.hpp"
#include "sys/kernel_files.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::detail {

namespace {

std::chrono::nanoseconds now_ns() { return Clock::now().time_since_epoch(); }

}  // namespace

LaunchEngine::LaunchEngine(std::shared_ptr<RuntimeCore> runtime, std::shared_ptr<Zygote> zygote,
                           std::shared_ptr<const Plan> plan, LaunchOptions options)
    : runtime_(std::move(runtime)),
      zygote_(std::move(zygote)),
      plan_(std::move(plan)),
      parks_(!plan_->ops.empty() && std::holds_alternative<op::Park>(plan_->ops.back())),
      options_(std::move(options)) {
  start_clock();
  for (host_end_ = 0; host_end_ < plan_->ops.size(); ++host_end_)
    if (actor_of(plan_->ops[host_end_]) != op::Actor::host) break;
}

void LaunchEngine::start_clock() {
  began_ = looked_ = Clock::now();
  // What is further away than the clock can tell is none.
  until_ = options_.deadline.count() > 0 && options_.deadline < std::chrono::hours(24 * 365)
               ? began_ + options_.deadline
               : Clock::time_point::max();
}

void LaunchEngine::take(std::shared_ptr<const Plan> plan, LaunchOptions options) {
  options_.deadline = options.deadline;
  start_clock();
  taking_ = Taking{std::move(plan), std::move(options)};
}

/// The host's part of a take, before the child hears of it.
bool LaunchEngine::pump_take() {
  if (parks_) {
    part_ = host_next_ = plan().ops.size();
    plan_ = std::move(taking_->plan);
    options_ = std::move(taking_->options);
    parks_ = false;
    made_.passed.clear();
    made_.slots.clear();
    made_.owned.clear();
    made_.null = -1;
  }
  for (; host_next_ < plan().ops.size() && actor_of(plan().ops[host_next_]) == op::Actor::host;
       ++host_next_) {
    last_op_ = host_next_;
    if (options_.stop_before == host_next_) return stop_here();
    if (options_.trace) host_stamps_.emplace_back(host_next_, Clock::now().time_since_epoch());
    if (auto done = run_host_op(host_next_); !done) {
      feed_error(Event::op_failed, std::move(done).error());
      return true;
    }
  }
  feed(Event::resume);
  return true;
}

/// Hands a parked child the rest of its plan.
Result<void> LaunchEngine::go_on() {
  taking_.reset();
  Encoder encoder;
  for (const op::Slot slot : made_.slots) encoder.pass(slot);
  encode_child_ops(encoder, host_next_);
  auto program = encoder.finish(
      options_.stop_before ? static_cast<std::uint32_t>(*options_.stop_before) : program::no_op);
  if (!program) return fail(program);
  program_ = std::move(*program);
  // One message wakes it up, with all that most programs are.
  const program::SyncMessage m{program::SyncKind::resume,
                               static_cast<std::uint32_t>(program_.size)};
  program_sent_ = std::min<std::size_t>(program_.size, program::woken_with);
  std::array<char, sizeof m + program::woken_with> first;
  std::memcpy(first.data(), &m, sizeof m);
  std::memcpy(first.data() + sizeof m, program_.data(), program_sent_);
  const int e = send_message(sync_.get(), first.data(), sizeof m + program_sent_, made_.passed);
  look_at_ = {};
  made_.owned.clear();
  // A child that is gone has left why, and the end of the socket tells of it.
  if (e != 0 && e != EPIPE && e != ECONNRESET)
    return fail(e, Step::sync, formatted("taking '{}'", plan().name));
  return {};
}

std::vector<Fd> LaunchEngine::take_sent(Container& made) { return std::move(made.core_->ttys); }

/// What the kernel or the zygote says of one that nothing is asked of.
void LaunchEngine::look_for_end() {
  while (parked() && pump_exit()) {
  }
  if (parked() && !zygote_->alive())
    feed_error(Event::zygote_lost,
               make_error(Errc::zygote_lost, Step::park, "the zygote of a parked container died"));
}

bool LaunchEngine::lives() const { return wait_for_fd(pidfd_.get(), POLLIN, 0) == 0; }

LaunchEngine::~LaunchEngine() {
  if (runtime_->owner != ::getpid()) return;
  // What is being ended answers within milliseconds; a zygote that does not is dead, and step()
  // says so, as it does of a child that cannot die.
  const auto settled = [this] {
    return state_ == State::running || (state_ == State::failed && end_begun_ && !end_hooks_);
  };
  for (cancel(); !settled();) {
    (void)step();
    if (settled()) break;
    (void)wait_for_fd(interest_.fd.get(), interest_.events, timeout());
  }
  release_places();
}

void LaunchEngine::release_places() {
  if (has_page_) zygote_->give_back_page(page_);
  if (has_live_) zygote_->give_back_live(live_);
  has_page_ = has_live_ = false;
}

Pid LaunchEngine::pid() const {
  if (pid_.value != 0) return pid_;
  return has_live_ && request_sent_ ? Pid{zygote_->live(live_).pid} : Pid{};
}

/// Whoever has a pool may be away for long; what was set up meanwhile is not late. So of the time
/// between two looks at one that nobody waits for no more than this counts, and nothing of a longer
/// one after which there was something to do.
std::chrono::milliseconds LaunchEngine::longest_look() const {
  return std::clamp<std::chrono::milliseconds>(options_.deadline / 4, std::chrono::milliseconds(1),
                                               std::chrono::seconds(1));
}

int LaunchEngine::timeout() const {
  auto until = state_ == State::ending ? give_up_at_ : until_;
  if (state_ == State::failed) until = Clock::time_point::max();
  if (hook_) until = std::min(until, hook_->until());
  if (end_hooks_) until = std::min(until, end_hooks_->until());
  // Before that somebody else may be waited for, of whom no descriptor tells.
  const bool asks = request_sent_ || (state_ == State::planned && look_at_ != Clock::time_point{});
  // Of a hook, of an end and of who is known a descriptor does.
  const bool told =
      hook_ || state_ == State::failed || (state_ == State::executing && pidfd_.valid());
  const bool looks = asks && !told;
  if (looks && (!stop_host_ || state_ == State::ending)) until = std::min(until, look_at_);
  if (is_on_its_own()) until = std::min(until, looked_ + longest_look());
  if (until == Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
  return static_cast<int>(std::clamp<long long>(left, 0, 1 << 30));
}

Result<void> LaunchEngine::prepare(std::string_view within) {
  // Of one that is planned the end would begin it.
  const auto give_up = [this](Error error) {
    feed_error(Event::op_failed, error);
    return fail(std::move(error));
  };
  if (kept_) ups_ = kept_->ups;
  const int places = zygote_->take_places(live_, page_);
  if (places == EAGAIN)
    return give_up(sys_error(places, Step::clone,
                             formatted("{} containers alive or {} launches on their way",
                                       program::max_live, program::max_pages)));
  if (places != 0)
    return give_up(sys_error(places, Step::open_runtime, formatted("'{}'", zygote_->state_file())));
  has_live_ = has_page_ = true;
  if (auto ok = look_for_hooks(); !ok) return give_up(std::move(ok).error());
  if (const Terminal& t = plan().terminal; t.console && !t.log.empty())
    if (const int e = console_log_.open(t); e != 0)
      return give_up(sys_error(e, Step::open_console, formatted("console log '{}'", t.log.str())));
  if (!within.empty())
    unique_name_ = formatted("{}/attach.{}", within, zygote_->next_id());
  else if (unique_name_.empty())
    unique_name_ = formatted("{}.{}", plan().name.substr(0, 64), zygote_->next_id());
  group_name_ = group_home_ = unique_name_;
  for (const Op& o : plan().ops)
    if (const auto* create = std::get_if<op::CreateCgroup>(&o);
        create != nullptr && !create->path.empty()) {
      group_name_ = std::string(beside_runtime) + create->path;
      group_home_ =
          create->inner.empty() ? group_name_ : formatted("{}/{}", group_name_, create->inner);
    }
  const bool elsewhere = group_name_.starts_with(beside_runtime);
  const std::string_view place =
      elsewhere ? std::string_view(group_name_).substr(beside_runtime.size()) : std::string_view();
  if (place.size() > program::longest_place)
    return give_up(sys_error(ENAMETOOLONG, Step::create_cgroup, formatted("'{}'", place)));
  if (elsewhere) zygote_->put_at(live_, place);
  return {};
}

Result<std::optional<Container>> LaunchEngine::step() {
  if (runtime_->owner != ::getpid())
    return fail(Errc::in_forked_child, Step::clone, formatted("launch of '{}'", plan().name));
  auto away = Clock::now() - looked_;
  looked_ += away;
  for (;;) {
    bool moved = false;
    while (pump()) moved = true;
    if (is_on_its_own() && away > longest_look()) until_ += moved ? away : away - longest_look();
    away = {};
    if (state_ == State::running && done_) {
      std::optional<Container> out(std::move(*done_));
      done_.reset();
      return out;
    }
    if (state_ == State::failed) {
      if (!run_end_hooks()) return std::optional<Container>{};
      Error e =
          error_ ? *error_
                 : make_error(Errc::protocol, Step::sync, formatted("launch of '{}'", plan().name));
      for (auto& late : late_errors_) e.also.push_back(to_string(late));
      late_errors_.clear();
      return fail(std::move(e));
    }
    if (cancel_asked_) {
      cancel_asked_ = false;
      feed_error(Event::cancel, make_error(Errc::cancelled, step_of(plan().ops[current_op()]),
                                           formatted("launch of '{}'", plan().name)));
      continue;
    }
    if (state_ == State::ending && Clock::now() >= give_up_at_) {
      leave_child();
      continue;
    }
    // Who waits to be taken is never late.
    const bool waits = parks_ && !taking_ && state_ == State::stopped;
    if (!timed_out_ && !waits && state_ != State::ending && Clock::now() >= until_) {
      timed_out_ = true;
      // A hook at `started` is behind all ops.
      const bool behind = state_ == State::executing && hook_ != nullptr;
      const Op at = behind ? Op(plan().later[next_started_]) : plan().ops[current_op()];
      feed_error(Event::deadline,
                 make_error(Errc::deadline, step_of(at),
                            formatted("launch of '{}' at op {}: {}", plan().name,
                                      behind ? plan().ops.size() : current_op(), describe(at))));
      continue;
    }
    return std::optional<Container>{};
  }
}

void LaunchEngine::cancel() { cancel_asked_ = state_ != State::ending; }

void LaunchEngine::resume() {
  if (stop_host_) {
    stop_host_ = false;
    options_.stop_before.reset();
  } else if (state_ == State::stopped) {
    feed(Event::resume);
  }
}

std::size_t LaunchEngine::current_op() const {
  // Where the host is at work it is the host's: of a take it has the whole plan then.
  const bool of_host =
      state_ == State::configuring || state_ == State::limiting || (taking_.has_value() && !parks_);
  if (request_sent_ && !of_host) {
    const std::uint32_t at = zygote_->page(page_).op;
    if (at < plan().ops.size()) return at;
  }
  return std::min(last_op_, plan().ops.size() - 1);
}

void LaunchEngine::feed_error(Event event, Error error) {
  if (!error_)
    error_ = std::move(error);
  else
    late_errors_.push_back(std::move(error));
  feed(event);
}

void LaunchEngine::feed(Event event) {
  using protocol::Action;
  const auto t = protocol::next(state_, event);
  if (t.error && !error_)
    error_ = make_error(
        Errc::protocol, Step::sync,
        formatted("'{}' while {}", protocol::to_string(event), protocol::to_string(state_)));
  constexpr std::chrono::seconds grace{10};
  if (t.state == State::ending && state_ != State::ending) give_up_at_ = Clock::now() + grace;
  state_ = t.state;
  const auto tell = [&](LaunchEvent::Kind kind) {
    if (!options_.on_event) return;
    const LaunchEvent what{kind, plan().name, pid()};
    if (auto ok = options_.on_event(what); !ok) feed_error(Event::op_failed, std::move(ok).error());
  };
  if (t.actions.has(Action::do_configure) || t.actions.has(Action::do_limits)) begin_host_ops();
  if (t.actions.has(Action::send_post_configure)) {
    tell(LaunchEvent::configured);
    if (state_ == State::setting_up) answer_configure();
  }
  if (t.actions.has(Action::send_post_cgroup)) {
    tell(LaunchEvent::set_up);
    if (state_ == State::setting_up) answer(program::SyncKind::post_cgroup);
  }
  if (t.actions.has(Action::send_resume)) {
    if (!taking_)
      answer(program::SyncKind::resume);
    else if (auto ok = go_on(); !ok)
      feed_error(Event::op_failed, std::move(ok).error());
  }
  if (t.actions.has(Action::kill)) kill_child();
  if (t.actions.has(Action::undo)) undo();
  if (state_ == State::failed && !owes_down()) made_.host_ends.take_down();
}

void LaunchEngine::kill_child() {
  sync_.reset();
  sync_child_.reset();
  sync_closed_ = true;
  helper_.reset();
  drop_hook();
  if (!request_sent_) {
    feed(Event::refused);
    return;
  }
  (void)release_hold();  // without it the zygote would never tell the end
  end_child();
}

/// Of a child whose pidfd did not arrive. The kernel wrote its pid into the shared file before it
/// ran.
void LaunchEngine::find_pidfd() {
  const int pid = zygote_->live(live_).pid;
  if (pidfd_.valid() || pid <= 1) return;
  pidfd_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  // it is gone, and the pid somebody else's
  if (!is_the_one(zygote_->live(live_), pid)) pidfd_.reset();
}

/// Whoever froze it: on v1 nothing dies that stands still, and these cgroups are ours.
void LaunchEngine::end_child() {
  if (pid_.value != 0) find_pidfd();  // there was no room for it when it was told
  if (!pidfd_.valid()) return;
  (void)pidfd_signal(pidfd_.get(), SIGKILL);
  const auto thaw = [](int parent, const std::string& name) {
    const Fd dir(::openat(parent, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (dir.valid()) thaw_below(dir.get());
  };
  for (const auto& [hierarchy, parent] : made_.parents)
    if (((made_.v2 >> hierarchy) & 1U) == 0) thaw(parent, group_name_);
  for (const auto& [parent, name] : made_.below) thaw(parent.get(), name);
}

/// Nobody can make it die now: the zygote sees its end, whenever that is, and undoes.
void LaunchEngine::leave_child() {
  std::string what =
      formatted("process {} of '{}' was killed and is not gone", pid().value, plan().name);
  std::string why = "something in the kernel, or who traces it, keeps it";
  for (const auto& [hierarchy, parent] : made_.parents) {
    if (((made_.v2 >> hierarchy) & 1U) != 0) continue;
    const Fd dir(::openat(parent, group_name_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    const std::string by = dir.valid() ? frozen_above(dir.get(), false) : std::string();
    if (!by.empty()) why = formatted("'{}' is frozen: thaw it", by);
  }
  if (pidfd_.valid()) {
    zygote_->keep_until_end(std::move(exit_), live_, page_);
  } else {
    // Not born yet, as far as we know: a zygote that finds nobody to tell of a child kills it. Its
    // places are not used again.
    what = formatted("whether there is a process of '{}' is not known", plan().name);
    why =
        formatted("the zygote, process {}, does not answer: is it stopped?", zygote_->pid().value);
    exit_.reset();
  }
  has_live_ = has_page_ = false;
  made_.below.clear();
  made_.groups.clear();
  made_.parents.clear();
  feed_error(Event::deadline,
             make_error(Errc::deadline, Step::kill, std::move(what), std::move(why)));
}

void LaunchEngine::undo() {
  helper_.reset();  // what it is making is undone
  drop_hook();
  if (request_sent_) {
    find_pidfd();  // the zygote is dead
    if (pidfd_.valid()) {
      had_child_ = true;
      (void)pidfd_signal(pidfd_.get(), SIGKILL);
      (void)wait_for_fd(pidfd_.get(), POLLIN, 5000);
    }
    (void)wait_for_fd(zygote_->pidfd(), POLLIN, 1000);
    zygote_->bury();
  }
  if (!owes_down()) made_.host_ends.take_down();
  // EBUSY: of a child that lives on with the zygote, which removes it.
  for (const auto& [dir, name] : made_.below)
    (void)::unlinkat(dir.get(), name.c_str(), AT_REMOVEDIR);
  made_.below.clear();
  made_.groups.clear();
  for (const auto& [hierarchy, dir] : made_.parents) {
    if (const int e = remove_cgroup(dir, group_name_.c_str()); e != 0)
      late_errors_.push_back(sys_error(e, Step::remove_cgroup,
                                       formatted("'{}' in hierarchy {}{}", group_name_, hierarchy,
                                                 in_the_way(e, dir, group_name_))));
    else if (group_name_.starts_with(beside_runtime))
      remove_way(dir, group_name_);
  }
  made_.parents.clear();
  if (made_.profile)
    if (const int e = remove_profile(own_profile()); e != 0)
      late_errors_.push_back(
          sys_error(e, Step::load_profile, formatted("removing profile '{}'", own_profile())));
  made_.profile = false;
}

// ---- what can be done now -----------------------------------------------------------------------

bool LaunchEngine::pump() {
  switch (state_) {
    case State::planned:
    case State::configuring:
    case State::limiting:
      return pump_host_ops();
    case State::cloning:
    case State::setting_up:
      // The answer that goes with the map must not overtake the program.
      return pump_send() ||
             (early_map_ && program_sent_ == program_.size ? pump_early_map() : pump_sync());
    case State::stopped:
      if (taking_) return pump_take();
      return parks_ && !pidfd_.valid() ? pump_exit() || look_again() : pump_sync();
    case State::executing:
      if (!pidfd_.valid()) return pump_exit() || look_again();
      if (auto done = run_started_hooks(); !done) {
        feed_error(Event::op_failed, std::move(done).error());
      } else if (!*done) {
        interest_ = {hook_->poll_fd(), POLLIN};
        return false;
      } else {
        finish();
      }
      return true;
    case State::ending:
      return pump_exit() || look_again();
    case State::running:
    case State::failed:
      return false;
  }
  return false;
}

bool LaunchEngine::pump_send() {
  if (request_sent_ && program_sent_ == program_.size) return false;
  // The first piece goes before the request: the child finds it when it is born.
  while (program_sent_ < program_.size) {
    const std::size_t n = std::min<std::size_t>(program_.size - program_sent_, program::chunk_size);
    const int e = send_message(sync_.get(), program_.data() + program_sent_, n);
    if (e == EAGAIN) {
      if (!request_sent_) break;
      interest_ = {sync_, POLLOUT};
      return false;
    }
    if (e == EPIPE) break;  // the child is gone; the read side tells why
    if (e != 0) {
      feed_error(Event::op_failed, sys_error(e, Step::sync, "sending the program"));
      return true;
    }
    program_sent_ += n;
  }
  if (!request_sent_) {
    const int e = send_request();
    if (e == EAGAIN && !by_helper_) {
      interest_ = {FdView(zygote_->control()), POLLOUT};
      return false;
    }
    if (e != 0) {
      const bool dead = e == EPIPE || e == ECONNRESET;
      if (by_helper_) {  // there may be a child
        request_sent_ = true;
        sync_child_.reset();
        exit_zygote_.reset();
        made_.owned.clear();
      }
      if (dead)
        feed_error(Event::op_failed,
                   make_error(Errc::zygote_lost, Step::clone, "the zygote is dead"));
      else
        feed_error(Event::op_failed, sys_error(e, Step::clone, "asking the zygote"));
      // Another helper makes the zygote look for what the first one cloned.
      if (by_helper_ && !dead && state_ == State::ending) {
        leave_child();
        zygote_->offer_helper();
      }
      return true;
    }
    request_sent_ = true;
    sync_child_.reset();
    exit_zygote_.reset();
    made_.owned.clear();
    made_.groups.clear();
    if (dev_ops_) runtime_->spare_dev.refill(plan(), *dev_ops_);  // we have nothing else to do now
    return true;
  }
  return program_sent_ < program_.size ? false : true;
}

/// By way of a helper that waits, if there is one: a process less to be cloned and woken up.
int LaunchEngine::send_request() {
  if (program::may_have_helper(request_.join_flags)) {
    const int e = zygote_->request_by_helper(request_, request_fds_);
    by_helper_ = e != ENOENT;
    if (by_helper_) return e;
  }
  return zygote_->request(request_, request_fds_);
}

/// Writes the id map as soon as there is a process to have one, while the child makes its other
/// namespaces: it asks for it later.
bool LaunchEngine::pump_early_map() {
  if (!pidfd_.valid()) return pump_exit() || look_again();
  const std::size_t index = *early_map_;
  early_map_.reset();
  if (options_.trace) host_stamps_.emplace_back(index, Clock::now().time_since_epoch());
  if (auto done = run_host_op(index); !done) {
    // Of a child that is gone the sync socket tells more.
    if (wait_for_fd(pidfd_.get(), POLLIN, 0) > 0) return true;
    feed_error(Event::op_failed, std::move(done).error());
    return true;
  }
  written_map_ = index;
  const bool all =
      index + 1 < plan().ops.size() && actor_of(plan().ops[index + 1]) != op::Actor::host;
  if (all && !options_.on_event) answer_configure();
  return true;
}

/// The map is written, what the child is to get is made: it may go on.
void LaunchEngine::answer_configure() {
  if (answered_configure_) return;
  if (const int e = release_hold(); e != 0) {
    feed_error(Event::op_failed, sys_error(e, Step::sync, "telling the zygote"));
    return;
  }
  std::vector<int> fds;
  for (const auto& fd : trees_) fds.push_back(fd.get());
  // One that has not read its program yet may have no room for more: it is answered when it asks.
  answered_configure_ = answer(program::SyncKind::post_configure, fds, state_ == State::cloning);
  if (answered_configure_) trees_.clear();
}

/// False when there is no room, and that is no mistake of the child's.
bool LaunchEngine::answer(program::SyncKind kind, std::span<const int> fds, bool may_wait) {
  const program::SyncMessage m{kind, 0};
  const int e = send_message(sync_.get(), &m, sizeof m, fds);
  if (e == EAGAIN && may_wait) return false;
  // A child that is gone has left why, and the end of the socket tells of it.
  if (e != 0 && e != EPIPE && e != ECONNRESET)
    feed_error(Event::op_failed, sys_error(e, Step::sync, "answering the child"));
  return true;
}

/// The zygote kept the child's pid from being given to somebody else. errno, or 0.
int LaunchEngine::release_hold() {
  if ((request_.flags & program::request_hold) == 0) return 0;
  program::Request release{};
  release.magic = program::magic;
  release.kind = program::RequestKind::release;
  release.live = live_;
  const int e = zygote_->request_surely(release);
  if (e == 0) request_.flags &= ~program::request_hold;
  return e;
}

/// End of file does not tell an end while somebody else has a copy of the other end: a process that
/// the host forked, without exec, in the moment in which that end was the host's. So it is looked
/// for, rarely.
bool LaunchEngine::look_again() {
  const auto now = Clock::now();
  const bool first = look_at_ == Clock::time_point{};
  const auto pause = std::chrono::milliseconds(state_ == State::stopped ? 200 : 25);
  if (!first && now < look_at_) return false;
  look_at_ = now + pause;
  if (first || !request_sent_) return false;
  if (state_ == State::ending) end_child();  // something may have frozen it since

  const bool alive = zygote_->alive();  // before its last word is read
  if (!sync_closed_ && alive) {
    const auto state =
        *const_cast<const volatile program::ChildState*>(&zygote_->page(page_).state);
    const int pid = zygote_->live(live_).pid;
    bool ended = state == program::ChildState::failed ||
                 (pid <= 1 && state != program::ChildState::idle) ||
                 (pid > 1 && ::kill(pid, 0) < 0 && errno == ESRCH);
    if (!ended && pid > 1 && state == program::ChildState::exec && !plan().init) {
      // exec gives a process another name; procfs tells it to everybody.
      const std::string name = small_file(formatted("/proc/{}/comm", pid));
      ended = !name.empty() && name != "condroid-zygote\n";
    }
    if (ended) {
      on_closed();
      return true;
    }
    if (pid > 1) return false;
  }
  if (alive) {
    // The zygote may have refused; its word is on the other socket.
    const Interest interest = interest_;
    const bool done = pump_exit();
    interest_ = interest;
    return done;
  }
  if (pump_exit()) return true;
  feed_error(Event::zygote_lost,
             make_error(Errc::zygote_lost, Step::clone, "the zygote died during the launch"));
  return true;
}

bool LaunchEngine::pump_sync() {
  if (sync_closed_) return false;
  program::SyncMessage m{};
  std::array<Fd, program::max_ptys + 1> fds;
  const Received r = receive_message(sync_.get(), &m, sizeof m, fds);
  if (r.error == EAGAIN) {
    const bool unsent = request_sent_ && program_sent_ < program_.size;
    interest_ = {sync_, static_cast<short>(unsent ? POLLIN | POLLOUT : POLLIN)};
    return look_again();
  }
  if (r.end || r.error == ECONNRESET) {
    on_closed();
    return true;
  }
  if (r.error != 0) {
    feed_error(Event::garbage, sys_error(r.error, Step::sync, "a message of the child"));
    return true;
  }
  if (r.size != sizeof m || r.truncated) {
    feed_error(Event::garbage,
               make_error(Errc::protocol, Step::sync, "a message of the child that is none"));
    return true;
  }
  // An op sends one at most, and so do the stop and the small init. More would keep us here for as
  // long as they come, and what comes with them would use up our descriptors.
  if (++heard_ > plan().ops.size() + 2) {
    feed_error(Event::garbage, make_error(Errc::protocol, Step::sync,
                                          "more messages of the child than its plan has ops"));
    return true;
  }
  using K = program::SyncKind;
  switch (m.kind) {
    case K::configure:
      feed(Event::configure);
      break;
    case K::cgroup:
      feed(Event::cgroup);
      break;
    case K::stopped:
      feed(Event::reached_stop);
      break;
    case K::started:
      feed(Event::started);
      break;
    case K::ptys:
      if (!ptys_.empty()) {
        feed_error(Event::garbage,
                   make_error(Errc::protocol, Step::sync, "terminals of the child, once more"));
        break;
      }
      for (std::size_t i = 0; i < r.fd_count; ++i) ptys_.push_back(std::move(fds[i]));
      feed(Event::ptys);
      break;
    case K::listener:
      listener_ = std::move(fds[0]);
      feed(Event::ptys);
      break;
    default:
      feed_error(Event::garbage,
                 make_error(Errc::protocol, Step::sync,
                            formatted("message {} of the child", static_cast<unsigned>(m.kind))));
  }
  return true;
}

void LaunchEngine::on_closed() {
  sync_closed_ = true;
  sync_.reset();
  // One copy of what the child left: what is decided upon must not change meanwhile.
  program::ResultPage copy{};
  std::memcpy(static_cast<void*>(&copy), static_cast<const void*>(&zygote_->page(page_)),
              offsetof(program::ResultPage, ticks));
  if ((copy.state == program::ChildState::exec && copy.error == 0 && !plan().init) ||
      (copy.state == program::ChildState::done &&
       std::holds_alternative<op::End>(plan().ops.back()))) {
    feed(Event::closed_by_exec);
  } else if (copy.state == program::ChildState::failed) {
    feed_error(Event::closed_failed, child_error(copy));
  } else {
    vanished_ = true;
    feed(Event::closed_early);
  }
}

bool LaunchEngine::pump_exit() {
  program::Record record{};
  std::array<Fd, 1> fd;
  const Received r = receive_message(exit_.get(), &record, sizeof record, fd);
  if (r.error == EAGAIN) {
    interest_ = {exit_, POLLIN};
    return false;
  }
  if (r.error != 0 || r.end || r.size != sizeof record || record.magic != program::magic) {
    // One that lives had no room for the socket on which it would have said so, and says it in the
    // page: a moment later, as the kernel closes first.
    for (int tries = 0; r.end && tries < 50 && zygote_->alive(); ++tries) {
      program::ResultPage copy{};
      std::memcpy(static_cast<void*>(&copy), static_cast<const void*>(&zygote_->page(page_)),
                  offsetof(program::ResultPage, ticks));
      if (copy.state == program::ChildState::failed && copy.op == program::no_op &&
          copy.error == EMFILE) {
        feed_error(Event::zygote_lost, child_error(copy));
        return true;
      }
      (void)wait_for_fd(zygote_->pidfd(), POLLIN, 1);
    }
    feed_error(Event::zygote_lost,
               make_error(Errc::zygote_lost, Step::clone, "the zygote died during the launch"));
    return true;
  }
  on_record(record, std::move(fd[0]));
  return true;
}

void LaunchEngine::on_record(const program::Record& record, Fd pidfd) {
  switch (record.kind) {
    case program::RecordKind::cloned:
      pid_ = Pid{record.pid};
      had_child_ = true;
      pidfd_ = std::move(pidfd);
      if (state_ == State::ending)
        end_child();
      else if (!pidfd_.valid())  // other threads have taken what there was
        feed_error(Event::op_failed, sys_error(EMFILE, Step::clone, "a descriptor of the child"));
      return;
    case program::RecordKind::failed: {
      std::size_t clone = 0;
      while (clone + 1 < plan().ops.size() && !std::holds_alternative<op::Clone>(plan().ops[clone]))
        ++clone;
      vanished_ = false;
      Error e = sys_error(record.error, Step::clone, describe(plan().ops[clone]));
      for (const Op& o : plan().ops) {
        const auto* entered = std::get_if<op::EnterProcess>(&o);
        if (entered == nullptr) continue;
        // A pid namespace whose first process has ended takes nobody: ENOMEM, pid_namespaces(7).
        const bool ended = wait_for_fd(entered->pidfd.number, POLLIN, 0) > 0;
        if (ended || record.error == EPERM || record.error == EINVAL || record.error == ESRCH)
          e = sys_error(ended ? ESRCH : record.error, Step::join_namespace, describe(o));
      }
      request_sent_ = false;  // there is no child, and nothing of it for the zygote to undo
      if (!error_ || error_->is(Errc::child_vanished)) error_ = std::move(e);
      feed(Event::refused);
      return;
    }
    case program::RecordKind::exited:
      exit_record_ = record;
      had_child_ = true;
      if (record.error != 0 && (vanished_ || !error_)) {
        error_ = sys_error(record.error, Step::clone, "watching the container's process");
        vanished_ = false;
      }
      if (!error_ && (vanished_ || state_ != State::executing)) error_ = vanished_error();
      if (record.undo_error != 0)
        late_errors_.push_back(record.undo_hierarchy >= program::undo_interface &&
                                       record.undo_hierarchy != program::undo_profile
                                   ? made_.host_ends.not_home(record)
                                   : left_behind(record, unique_name_));
      feed(Event::exited);
      return;
    case program::RecordKind::reached:
      if (reaching_) *reaching_ = {.answered = true, .error = record.error, .fd = std::move(pidfd)};
      return;
    case program::RecordKind::ready:
    case program::RecordKind::staying:
      return;
  }
}

// ---- errors -------------------------------------------------------------------------------------

Error LaunchEngine::vanished_error() const {
  const std::size_t at = current_op();
  std::string how = "it ended";
  if (exit_record_) {
    if (exit_record_->code == CLD_EXITED)
      how = formatted("it exited with status {}", exit_record_->status);
    else
      how = formatted("it was killed by signal {}", exit_record_->status);
  }
  std::string hint;
  const bool limited = std::any_of(plan().ops.begin(), plan().ops.end(), [](const Op& op) {
    const auto* write = std::get_if<op::WriteCgroup>(&op);
    return write != nullptr && write->file.starts_with("memory.");
  });
  if (limited && exit_record_ && exit_record_->code != CLD_EXITED &&
      exit_record_->status == SIGKILL)
    hint = "the limit of memory is too small even to set the container up: some MiB are needed";
  return make_error(Errc::child_vanished, step_of(plan().ops[at]),
                    formatted("{} at op {} ({})", how, at, describe(plan().ops[at])),
                    std::move(hint));
}

Error LaunchEngine::child_error(const program::ResultPage& page) {
  using program::Part;
  // No child opens anything before its first op: the zygote could not take what came with the
  // request.
  if (page.part == Part::whole && page.op == program::no_op && page.error == EMFILE)
    return sys_error(page.error, Step::clone, "the zygote has no room for its descriptors");
  if (page.part == Part::descriptors && page.op >= plan().ops.size())
    return sys_error(page.error, Step::read_program, "close_range of what the child must not have");
  if (page.part == Part::joining)
    for (const Op& o : plan().ops)
      if (const auto* entered = std::get_if<op::EnterProcess>(&o)) {
        const bool ended = wait_for_fd(entered->pidfd.number, POLLIN, 0) > 0;
        return sys_error(ended ? ESRCH : page.error, Step::join_namespace, describe(o));
      }
  if (page.op >= plan().ops.size())
    return page.error == EPROTO ? make_error(Errc::protocol, Step::read_program,
                                             "the program did not arrive in one piece")
                                : sys_error(page.error, Step::read_program, "the child's program");
  const Op& op = plan().ops[page.op];
  if (const auto* run = std::get_if<op::RunHookInside>(&op); run != nullptr)
    if (page.part != Part::host_gone) return inside_error(page, *run);
  Step step = step_of(op);
  std::string subject = describe(op);
  const bool mount = std::holds_alternative<op::MountOp>(op) && step != Step::mount_root;
  switch (page.part) {
    case Part::open_source:
      if (mount) step = Step::open_source;
      break;
    case Part::resolve_target:
      if (mount) step = Step::resolve_target;
      if (const auto* l = std::get_if<op::ApplyLandlock>(&op);
          l != nullptr && page.detail < l->landlock.rules.size())
        subject = formatted("rule '{}'", l->landlock.rules[page.detail].path.str());
      break;
    case Part::make_target:
      if (mount) step = Step::make_directory;
      break;
    case Part::attach:
      if (mount) step = Step::attach_mount;
      break;
    case Part::set_attributes:
      if (mount) step = Step::set_mount_attributes;
      break;
    case Part::filesystem_option:
      if (const auto* m = std::get_if<op::MountOp>(&op);
          m != nullptr && page.detail < m->options.size())
        subject += formatted(", option '{}'", m->options[page.detail]);
      break;
    case Part::write:
      if (const auto* c = std::get_if<op::ConfigureInterface>(&op))
        subject = formatted("'{}': disable_ipv6", c->interface.name);
      break;
    case Part::message:
      if (Op room; const auto* c = std::get_if<op::ConfigureInterface>(&as_encoded(page.op, room)))
        if (const auto asked = setup_requests(c->interface); page.detail < asked.size())
          subject = formatted("'{}': {}", c->interface.name, asked[page.detail].what);
      break;
    case Part::carrier:
    case Part::address:
      if (const auto* a = std::get_if<op::AwaitInterface>(&op)) {
        const std::string_view of = page.part == Part::carrier           ? "carrier"
                                    : page.detail >= a->addresses.size() ? "its own address"
                                                                         : "address";
        subject = formatted("'{}': {}", a->name, of);
        if (of == "address") subject += " " + to_string(a->addresses[page.detail]);
      }
      break;
    case Part::bounding_set:
    case Part::capset:
    case Part::ambient:
    case Part::securebits:
      step = Step::drop_capabilities;
      break;
    case Part::groups:
      step = Step::set_groups;
      break;
    case Part::death_signal:
      step = Step::arm_death_signal;
      break;
    case Part::host_gone:
      subject += ": host or zygote is gone";
      break;
    case Part::device_mismatch:
      subject += ": the host's node has another type or number";
      break;
    case Part::core:
      subject += ": a core for itself";
      break;
    case Part::verify:
      subject += ": what was set is not what is read back";
      break;
    default:
      break;
  }
  std::string_view text(page.text, std::min<std::size_t>(page.text_size, sizeof page.text));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\0')) text.remove_suffix(1);
  // What it is, as the log of fsopen(2) has it: error, warning, information.
  if (text.starts_with("e ") || text.starts_with("w ") || text.starts_with("i "))
    text.remove_prefix(2);
  const bool read_back = step == Step::set_label && page.part == Part::verify;
  if (!text.empty())
    subject += read_back ? formatted(": '{}'", one_line(text))
                         : formatted(" (kernel: {})", one_line(text));
  if (page.error == EPROTO) return make_error(Errc::protocol, step, std::move(subject));
  Error e = sys_error(page.error, step, std::move(subject));
  if (page.part == Part::core && page.error == EINVAL)
    e.hint = "this kernel has no core scheduling: CONFIG_SCHED_CORE";
  if (read_back && page.error == EPERM && !text.empty())
    e.hint = "write it as it is read back, which is how the security module spells it";
  return e;
}

// ---- the end of a good launch -------------------------------------------------------------------

Timeline LaunchEngine::make_timeline(std::chrono::nanoseconds done) const {
  Timeline t;
  t.name = plan().name;
  const auto origin = began_.time_since_epoch();
  const auto* page = &zygote_->page(page_);
  const std::uint32_t stamps =
      std::min<std::uint32_t>(page->stamps, sizeof page->ticks / sizeof page->ticks[0]);
  const auto add = [&](std::size_t op, std::chrono::nanoseconds at, std::chrono::nanoseconds end) {
    if (op >= plan().ops.size() || op < part_) return;  // of a taken one: what taking consisted of
    const Op& o = plan().ops[op];
    static constexpr const char* actors[] = {"host", "zygote", "child"};
    // The child's counter and our clock agree to some microseconds only.
    at = std::clamp(at, origin, done);
    end = std::clamp(end, at, done);
    t.entries.push_back({op, step_of(o), describe(o), actors[static_cast<std::size_t>(actor_of(o))],
                         at - origin, end - origin});
  };
  for (const auto& [op, at] : host_stamps_) add(op, at, at);
  for (std::uint32_t i = 0; i < stamps; ++i) {
    const auto begin = zygote_->clock().at(page->ticks[i].ticks);
    const auto end = i + 1 < stamps ? zygote_->clock().at(page->ticks[i + 1].ticks) : done;
    add(page->ticks[i].op, begin, end);
  }
  std::ranges::sort(t.entries, {}, [](const auto& e) { return std::pair{e.begin, e.op}; });
  // A host's op ends where the next op begins.
  for (std::size_t i = 0; i < t.entries.size(); ++i)
    if (t.entries[i].end == t.entries[i].begin)
      t.entries[i].end = i + 1 < t.entries.size() ? t.entries[i + 1].begin : done - origin;
  t.total = done - origin;
  return t;
}

void LaunchEngine::finish() {
  // Of use at its end, so it is asked for when nobody waits any more.
  if (!made_.host_ends.indexes.empty()) ask_for_patience();
  if (kept_)
    kept_->take_terminals(plan(), ptys_);
  else if (plan().lifecycle.restart != Restart::never && !ptys_.empty())
    ptys_.pop_back();  // nobody keeps the devpts, as of one from a pool
  auto core = std::make_unique<ContainerCore>();
  core->lifecycle = plan().lifecycle;
  core->has_console = plan().terminal.console;
  core->own_pids = std::ranges::any_of(plan().ops, [](const Op& o) {
    const auto* clone = std::get_if<op::Clone>(&o);
    return clone != nullptr && clone->namespaces.has(Namespace::pid);
  });
  core->owner = runtime_->owner;
  core->runtime = runtime_;
  core->zygote = zygote_;
  core->name = plan().name;
  core->unique_name = unique_name_;
  core->group_name = group_name_;
  core->group_home = group_home_;
  core->pid = pid_;
  core->pidfd = std::move(pidfd_);
  core->exit_socket = std::move(exit_);
  core->has_init = plan().init;
  core->inside = plan().inside;
  if (made_.profile) core->inside.apparmor = own_profile();
  core->listener = std::move(listener_);
  if (plan().init) core->status_socket = std::move(sync_);
  core->live = live_;
  core->parents = std::move(made_.parents);
  core->left_out = plan_->left_out;
  core->left_out.insert(core->left_out.end(), left_out_.begin(), left_out_.end());
  core->pin = std::move(made_.pin);
  core->host_ends = std::move(made_.host_ends);
  core->companion = std::move(made_.companion);
  core->stdin_write = std::move(made_.stdin_write);
  const auto limit = static_cast<std::size_t>(plan().capture_limit.value);
  if (made_.capture_out) {
    core->out.fd = std::move(made_.stdout_read);
    core->out.limit = limit;
  } else {
    core->stdout_read = std::move(made_.stdout_read);
  }
  if (made_.capture_err) {
    core->err.fd = std::move(made_.stderr_read);
    core->err.limit = limit;
  } else {
    core->stderr_read = std::move(made_.stderr_read);
  }
  if (kept_) {  // there from the first life on
    core->kept = kept_;
    if (kept_->stdin_write.valid()) core->stdin_write = std::move(kept_->stdin_write);
    if (kept_->stdout_read.valid()) core->stdout_read = std::move(kept_->stdout_read);
    if (kept_->stderr_read.valid()) core->stderr_read = std::move(kept_->stderr_read);
  }
  std::size_t first_tty = 0;
  if (plan().terminal.console && !ptys_.empty()) {
    core->console.fd = std::move(ptys_[0]);
    first_tty = 1;
    core->console.ring = true;
    core->console.limit = static_cast<std::size_t>(plan().terminal.ring.value);
    const int flags = ::fcntl(core->console.fd.get(), F_GETFL);
    (void)::fcntl(core->console.fd.get(), F_SETFL, flags | O_NONBLOCK);
    core->console.log = std::move(console_log_);
  }
  for (std::size_t i = first_tty; i < ptys_.size(); ++i) core->ttys.push_back(std::move(ptys_[i]));
  core->began = began_.time_since_epoch();
  core->executed = now_ns();
  if (kept_) core->hold_terminals();
  if (options_.trace) core->timeline = make_timeline(core->executed);
  zygote_->give_back_page(page_);
  has_page_ = has_live_ = false;
  if (program::may_have_helper(request_.join_flags) && !by_helper_) zygote_->offer_helper();
  report_inside();
  core->later.assign(plan().later.begin() + static_cast<std::ptrdiff_t>(next_started_),
                     plan().later.end());
  core->namespaces = std::move(namespaces_);
  core->on_hook = std::move(options_.on_hook);
  if (kept_ && !core->host_ends.names.empty()) kept_->host_names = core->host_ends.names;
  if (options_.on_event) {
    const LaunchEvent event{LaunchEvent::started, plan().name, pid_};
    if (auto ok = options_.on_event(event); !ok) late_errors_.push_back(std::move(ok).error());
    core->on_event = std::move(options_.on_event);
  }
  for (const auto& e : late_errors_) core->late.push_back(to_string(e));
  late_errors_.clear();
  done_.emplace(Container(std::move(core)));
  feed(Event::finished);
}

}  // namespace condroid::inline v0::detail

namespace condroid {
inline namespace v0 {

Launch::Launch(std::unique_ptr<detail::LaunchEngine> engine) : engine_(std::move(engine)) {}
Launch::Launch(Launch&&) noexcept = default;
Launch& Launch::operator=(Launch&&) noexcept = default;
Launch::~Launch() = default;
// One that was moved away has nothing on its way.
Result<std::optional<Container>> Launch::step() {
  if (engine_ == nullptr) return fail(ESRCH, Step::clone, "a launch that was moved from");
  return engine_->step();
}
Interest Launch::interest() const { return engine_ ? engine_->interest() : Interest{}; }
int Launch::timeout() const { return engine_ ? engine_->timeout() : -1; }
void Launch::cancel() {
  if (engine_) engine_->cancel();
}
bool Launch::stopped() const { return engine_ && engine_->stopped(); }
void Launch::resume() {
  if (engine_) engine_->resume();
}
protocol::State Launch::state() const {
  return engine_ ? engine_->state() : protocol::State::failed;
}
Pid Launch::pid() const { return engine_ ? engine_->pid() : Pid{}; }

}  // namespace v0
}  // namespace condroid
