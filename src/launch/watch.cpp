// Watching a container: files of its cgroups that tell by POLLPRI, an eventfd on v1, pressure
// triggers, and its end.
#include "condroid/watch.hpp"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>

#include "formatted.hpp"
#include "launch/container_core.hpp"
#include "launch/inside.hpp"
#include "launch/links.hpp"
#include "launch/stats_text.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::detail {

namespace {

using program::Figure;
using std::chrono::milliseconds;

/// A file that is looked at when it, or a timer, says so.
struct Source {
  enum What : std::uint8_t { memory_events, oom_control, pids_events, cgroup_events, freezer };
  Fd fd;
  What what = memory_events;
  bool silent = false;  ///< The kernel does not tell when it changes.
};

constexpr std::array<std::string_view, 3> resources = {"cpu", "memory", "io"};
constexpr std::array<std::string_view, 2> stalls = {"some", "full"};

std::string words_of(const PressureTrigger& t) {
  return formatted("{} pressure, {} {} us of {} us", resources[t.resource], stalls[t.who],
                   t.stall.count(), t.window.count());
}

/// Pressure triggers forget what they told as soon as they were asked, by poll(2) or by an epoll
/// that is itself polled: whoever waits for such an epoll is woken, and finds nothing in it. A poll
/// by the kernel's aio, Linux 4.18, keeps the answer until it is fetched, and has an eventfd that
/// tells of it.
class PressurePolls {
 public:
  PressurePolls() = default;
  PressurePolls(const PressurePolls&) = delete;
  PressurePolls& operator=(const PressurePolls&) = delete;
  ~PressurePolls() {
    if (context_ != 0) ::syscall(SYS_io_destroy, context_);
  }

  [[nodiscard]] int open(std::size_t most) {
    told_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!told_) return errno;
    return ::syscall(SYS_io_setup, static_cast<unsigned>(most), &context_) < 0 ? errno : 0;
  }
  [[nodiscard]] int add(Fd file) {
    files_.push_back(std::move(file));
    return submit(files_.size() - 1);
  }
  [[nodiscard]] FdView told() const noexcept { return told_; }
  /// Calls `tell` with the number of each trigger that fired.
  template <class F>
  void fetch(const F& tell) {
    std::uint64_t count = 0;
    (void)!::read(told_.get(), &count, sizeof count);
    for (;;) {
      std::array<io_event, 8> events{};
      timespec now{};
      const long n = ::syscall(SYS_io_getevents, context_, 0L, static_cast<long>(events.size()),
                               events.data(), &now);
      if (n <= 0) return;
      for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
        const auto trigger = static_cast<std::size_t>(events[i].data);
        // POLLERR: its cgroup is gone.
        if (events[i].res < 0 || (events[i].res & POLLERR) != 0) continue;
        if ((events[i].res & POLLPRI) != 0) tell(trigger);
        (void)submit(trigger);
      }
    }
  }

 private:
  [[nodiscard]] int submit(std::size_t i) {
    iocb one{};
    one.aio_data = i;
    one.aio_lio_opcode = IOCB_CMD_POLL;
    one.aio_fildes = static_cast<std::uint32_t>(files_[i].get());
    one.aio_buf = POLLPRI;
    one.aio_flags = IOCB_FLAG_RESFD;
    one.aio_resfd = static_cast<std::uint32_t>(told_.get());
    iocb* list[] = {&one};
    return ::syscall(SYS_io_submit, context_, 1L, list) == 1 ? 0 : errno;
  }

  aio_context_t context_ = 0;
  Fd told_;
  std::vector<Fd> files_;
};

}  // namespace

class WatchCore {
 public:
  [[nodiscard]] int begin();
  [[nodiscard]] int add_cgroup(int dir, bool v2);
  [[nodiscard]] Result<void> add_triggers(int dir, const std::vector<PressureTrigger>& list);
  [[nodiscard]] int watch_end(int exit_socket, int zygote);
  [[nodiscard]] int watch_links(Fd socket);
  /// What there is by now.
  [[nodiscard]] int look_first(milliseconds look_every);
  [[nodiscard]] Result<std::optional<WatchEvent>> next();

  pid_t owner = ::getpid();
  std::string name;
  std::shared_ptr<EndNote> note;
  Fd epoll;
  bool done = false;

 private:
  enum Tag : std::uint32_t {
    tag_end = 1U << 16U,
    tag_more,
    tag_timer,
    tag_oom,
    tag_pressure,
    tag_links
  };

  [[nodiscard]] int listen(int fd, std::uint32_t events, std::uint32_t tag);
  void unlisten(const Fd& fd);
  [[nodiscard]] Result<void> add_trigger(int dir, const PressureTrigger& trigger);
  void push(WatchEvent::Kind kind, std::uint64_t count, std::uint64_t total);
  void counted(Figure figure, std::uint64_t value, WatchEvent::Kind kind);
  void set_frozen(bool frozen);
  void look(Source& source);
  void look_at_silent();
  void set_timer();
  void look_for_end();
  void gather();
  void say_more();

  Fd more_;  ///< eventfd: readable while there are events that were not fetched.
  bool said_more_ = false;
  Fd exit_;
  Fd zygote_;
  Fd timer_;
  Fd oom_told_;
  milliseconds every_{0};
  milliseconds hurry_{0};
  std::vector<Source> sources_;
  std::unique_ptr<PressurePolls> pressure_;
  std::vector<std::uint64_t> fired_;
  program::Figures seen_{};
  bool frozen_ = false;
  std::deque<WatchEvent> queue_;
  LinkListener links_;
};

int WatchCore::listen(int fd, std::uint32_t events, std::uint32_t tag) {
  epoll_event event{};
  event.events = events;
  event.data.u32 = tag;
  return ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

void WatchCore::unlisten(const Fd& fd) {
  if (fd.valid()) (void)::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, fd.get(), nullptr);
}

int WatchCore::begin() {
  epoll = Fd(::epoll_create1(EPOLL_CLOEXEC));
  more_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll || !more_) return errno;
  return listen(more_.get(), EPOLLIN, tag_more);
}

int WatchCore::watch_end(int exit_socket, int zygote) {
  // Copies: the handle may be gone before us.
  exit_ = Fd(::fcntl(exit_socket, F_DUPFD_CLOEXEC, 3));
  zygote_ = Fd(::fcntl(zygote, F_DUPFD_CLOEXEC, 3));
  if (!exit_ || !zygote_) return errno;
  int e = listen(exit_.get(), EPOLLIN, tag_end);
  if (e == 0) e = listen(zygote_.get(), EPOLLIN, tag_end);
  if (e == 0) e = listen(note->told.get(), EPOLLIN, tag_end);
  return e;
}

int WatchCore::watch_links(Fd socket) {
  if (const int e = links_.begin(std::move(socket), queue_); e != 0) return e;
  return listen(links_.socket().get(), EPOLLIN, tag_links);
}

int WatchCore::add_cgroup(int dir, bool v2) {
  struct Candidate {
    Source::What what;
    const char* file;
    bool v1, v2;
  };
  // What POLLPRI tells in these files it tells until they are read, unlike that of triggers.
  static constexpr Candidate candidates[] = {
      {Source::memory_events, "memory.events", false, true},
      {Source::cgroup_events, "cgroup.events", false, true},
      {Source::pids_events, "pids.events", true, true},
      {Source::oom_control, "memory.oom_control", true, false},
      {Source::freezer, "freezer.state", true, false},
  };
  const auto has = [&](Source::What what) {
    return std::any_of(sources_.begin(), sources_.end(),
                       [what](const Source& s) { return s.what == what; });
  };
  for (const Candidate& c : candidates) {
    if (v2 ? !c.v2 : !c.v1) continue;
    // v2 comes first, and its freezer is the one that is used.
    if (c.what == Source::freezer && has(Source::cgroup_events)) continue;
    Fd fd(::openat(dir, c.file, O_RDONLY | O_CLOEXEC));
    if (!fd && (errno == ENOENT || errno == EACCES)) continue;
    if (!fd) return errno;
    if (c.what == Source::oom_control && !oom_told_.valid()) {
      // Whoever may not write there finds it by looking.
      oom_told_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      const Fd control(::openat(dir, "cgroup.event_control", O_WRONLY | O_CLOEXEC));
      const std::string text = formatted("{} {}", oom_told_.get(), fd.get());
      if (control && ::write(control.get(), text.data(), text.size()) > 0)
        if (const int e = listen(oom_told_.get(), EPOLLIN, tag_oom); e != 0) return e;
    }
    if (v2)
      if (const int e = listen(fd.get(), EPOLLPRI, static_cast<std::uint32_t>(sources_.size()));
          e != 0)
        return e;
    sources_.push_back({std::move(fd), c.what, !v2});
  }
  return 0;
}

Result<void> WatchCore::add_trigger(int dir, const PressureTrigger& t) {
  if (t.resource > PressureTrigger::io || t.who > PressureTrigger::full)
    return fail(EINVAL, Step::watch, "a pressure of no resource");
  const std::string file_name = formatted("{}.pressure", resources[t.resource]);
  Fd file(::openat(dir, file_name.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  const auto gone = [dir] { return ::faccessat(dir, "cgroup.procs", F_OK, 0) < 0; };
  if (!file && (errno == ENOENT || errno == ENODEV) && gone()) return {};  // the end tells
  if (!file && (errno == ENOENT || errno == EOPNOTSUPP))
    return fail(Errc::unsupported, Step::watch, words_of(t),
                "pressure stall information is off: boot with psi=1");
  // Ended by 0, as its reader before Linux 5.16 wants it.
  const std::string text = formatted("{} {} {}", stalls[t.who], t.stall.count(), t.window.count());
  if (!file || ::write(file.get(), text.c_str(), text.size() + 1) < 0) {
    if (errno == ENODEV) return {};
    if (errno == EOPNOTSUPP)
      return fail(Errc::unsupported, Step::watch, words_of(t),
                  "pressure stall information is off: boot with psi=1");
    return fail(errno, Step::watch, words_of(t));
  }
  fired_.push_back(0);
  if (const int e = pressure_->add(std::move(file)); e != 0)
    return fail(e, Step::watch, words_of(t));
  return {};
}

Result<void> WatchCore::add_triggers(int dir, const std::vector<PressureTrigger>& list) {
  pressure_ = std::make_unique<PressurePolls>();
  int e = pressure_->open(list.size());
  if (e == 0) e = listen(pressure_->told().get(), EPOLLIN, tag_pressure);
  if (e != 0) return fail(e, Step::watch, formatted("{} pressure triggers", list.size()));
  for (const PressureTrigger& t : list)
    if (auto ok = add_trigger(dir, t); !ok) return ok;
  return {};
}

int WatchCore::look_first(milliseconds look_every) {
  every_ = std::max(look_every, milliseconds{0});
  const bool silent =
      std::any_of(sources_.begin(), sources_.end(), [](const Source& s) { return s.silent; });
  if (silent) {
    timer_ = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!timer_) return errno;
    if (const int e = listen(timer_.get(), EPOLLIN, tag_timer); e != 0) return e;
  }
  for (Source& s : sources_) look(s);
  set_timer();
  if (note->ended) look_for_end();
  say_more();
  return 0;
}

void WatchCore::push(WatchEvent::Kind kind, std::uint64_t count, std::uint64_t total) {
  queue_.push_back({.kind = kind, .count = count, .total = total});
}

void WatchCore::counted(Figure figure, std::uint64_t value, WatchEvent::Kind kind) {
  const std::uint64_t before = seen_.get(figure);
  if (value <= before) return;
  seen_.raise(figure, value);
  push(kind, value - before, value);
}

void WatchCore::set_frozen(bool frozen) {
  if (frozen == frozen_) return;
  frozen_ = frozen;
  push(frozen ? WatchEvent::frozen : WatchEvent::thawed, 1, 1);
}

void WatchCore::look(Source& s) {
  if (!s.fd) return;
  char bytes[1024];
  ssize_t n = 0;
  do {
    n = ::pread(s.fd.get(), bytes, sizeof bytes, 0);
  } while (n < 0 && errno == EINTR);
  if (n < 0) {
    // Its cgroup is gone, or will never say anything: the end tells the rest.
    unlisten(s.fd);
    s.fd.reset();
    return;
  }
  const std::string_view text(bytes, static_cast<std::size_t>(n));
  const auto count = [&](Figure figure, std::string_view key, WatchEvent::Kind kind) {
    counted(figure, number_of(text, key).value_or(0), kind);
  };
  switch (s.what) {
    case Source::memory_events:
      count(Figure::memory_low, "low", WatchEvent::memory_low);
      count(Figure::memory_high, "high", WatchEvent::memory_high);
      count(Figure::memory_max, "max", WatchEvent::memory_max);
      count(Figure::oom_kills, "oom_kill", WatchEvent::oom_kill);
      return;
    case Source::oom_control: {
      // It tells when memory is gone, and only then somebody is killed and counted: to be asked
      // again soon.
      const bool under = number_of(text, "under_oom").value_or(0) != 0;
      count(Figure::oom_kills, "oom_kill", WatchEvent::oom_kill);
      hurry_ = under ? std::clamp(hurry_ * 2, milliseconds{1}, milliseconds{100}) : milliseconds{0};
      return;
    }
    case Source::pids_events:
      count(Figure::pids_limit_hits, "max", WatchEvent::pids_limit);
      return;
    case Source::cgroup_events:
      set_frozen(number_of(text, "frozen").value_or(0) != 0);
      return;
    case Source::freezer:
      if (text != "FREEZING\n") set_frozen(text == "FROZEN\n");
      return;
  }
}

void WatchCore::look_at_silent() {
  for (Source& s : sources_)
    if (s.silent) look(s);
  set_timer();
}

void WatchCore::set_timer() {
  if (!timer_) return;
  auto next = hurry_.count() > 0 ? hurry_ : every_;
  const bool any = std::any_of(sources_.begin(), sources_.end(),
                               [](const Source& s) { return s.silent && s.fd.valid(); });
  if (!any) next = milliseconds{0};
  itimerspec spec{};
  spec.it_value.tv_sec = static_cast<time_t>(next.count() / 1000);
  spec.it_value.tv_nsec = static_cast<long>(next.count() % 1000) * 1000000;
  (void)::timerfd_settime(timer_.get(), 0, &spec, nullptr);
}

void WatchCore::look_for_end() {
  program::Figures figures{};
  {
    const std::lock_guard lock(note->mutex);
    if (note->ended) {
      figures = note->figures;
    } else {
      // The handle takes the record; we only look at it.
      program::Record record{};
      const ssize_t n =
          ::recv(exit_.get(), &record, sizeof record, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (n < 0 &&
          (errno == EINTR || (errno == EAGAIN && wait_for_fd(zygote_.get(), POLLIN, 0) == 0)))
        return;
      if (n == static_cast<ssize_t>(sizeof record) && record.magic == program::magic &&
          record.kind == program::RecordKind::exited)
        figures = record.figures;
      // Else the zygote is dead, and what it would have said is looked for where it would have.
    }
  }
  for (Source& s : sources_) look(s);
  counted(Figure::memory_low, figures.get(Figure::memory_low), WatchEvent::memory_low);
  counted(Figure::memory_high, figures.get(Figure::memory_high), WatchEvent::memory_high);
  counted(Figure::memory_max, figures.get(Figure::memory_max), WatchEvent::memory_max);
  counted(Figure::oom_kills, figures.get(Figure::oom_kills), WatchEvent::oom_kill);
  counted(Figure::pids_limit_hits, figures.get(Figure::pids_limit_hits), WatchEvent::pids_limit);
  push(WatchEvent::ended, 1, 1);
  for (const Fd* fd : {&exit_, &zygote_, &timer_, &oom_told_, &note->told}) unlisten(*fd);
  if (pressure_) (void)::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, pressure_->told().get(), nullptr);
  for (Source& s : sources_) unlisten(s.fd);
  unlisten(links_.socket());
  sources_.clear();
  pressure_.reset();
  exit_.reset();
  zygote_.reset();
  timer_.reset();
  oom_told_.reset();
  links_.end();
}

/// Keeps poll_fd readable as long as there is something that was not fetched.
void WatchCore::say_more() {
  std::uint64_t count = 1;
  if (!queue_.empty() && !said_more_) said_more_ = ::write(more_.get(), &count, sizeof count) > 0;
  if (queue_.empty() && said_more_) said_more_ = ::read(more_.get(), &count, sizeof count) < 0;
}

void WatchCore::gather() {
  std::array<epoll_event, 16> events{};
  const int n = ::epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()), 0);
  bool end = false;
  for (int i = 0; i < n; ++i) {
    const std::uint32_t tag = events[static_cast<std::size_t>(i)].data.u32;
    std::uint64_t count = 0;
    switch (tag) {
      case tag_end:
        end = true;
        break;
      case tag_more:
        break;
      case tag_timer:
        (void)!::read(timer_.get(), &count, sizeof count);
        look_at_silent();
        break;
      case tag_oom:
        (void)!::read(oom_told_.get(), &count, sizeof count);
        look_at_silent();
        break;
      case tag_pressure:
        pressure_->fetch([&](std::size_t trigger) {
          queue_.push_back(
              {.kind = WatchEvent::pressure, .total = ++fired_[trigger], .trigger = trigger});
        });
        break;
      case tag_links:
        if (links_.gather(queue_) != 0) {
          unlisten(links_.socket());
          links_.end();
        }
        break;
      default:
        if (tag < sources_.size()) look(sources_[tag]);
    }
  }
  if (end) look_for_end();
}

Result<std::optional<WatchEvent>> WatchCore::next() {
  if (owner != ::getpid())
    return fail(Errc::in_forked_child, Step::watch, formatted("container '{}'", name),
                "it belongs to the process that launched it");
  if (done) return std::optional<WatchEvent>{};
  if (queue_.empty()) gather();
  std::optional<WatchEvent> event;
  if (!queue_.empty()) {
    event = std::move(queue_.front());
    queue_.pop_front();
    done = event->kind == WatchEvent::ended;
  }
  say_more();
  return event;
}

Result<Watch> ContainerCore::watch(const WatchOptions& options) {
  if (auto ok = check_owner(); !ok) return fail(ok);
  const std::string subject = formatted("container '{}'", name);
  if (options.interfaces && !inside.namespaces.has(Namespace::net))
    return fail(Errc::unsupported, Step::watch, subject + " shares this program's network",
                "interfaces are watched of a network of its own");
  if (parents.empty() && !options.interfaces)
    return fail(Errc::unsupported, Step::watch, subject + " has no cgroup",
                "resources.cgroup = always gives it one, everywhere one in every hierarchy");
  if (!exit && !exit_socket.valid())
    return fail(ESRCH, Step::watch, subject + " is between two lives");
  auto facts = runtime->get_facts();
  if (!facts) return fail(facts);
  if (!note) {
    auto made = std::make_shared<EndNote>();
    made->told = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!made->told) return fail(errno, Step::watch, subject);
    note = std::move(made);
    if (exit) {
      note->ended = true;
      note->figures = final_figures;
    }
  }
  auto core = std::make_unique<WatchCore>();
  core->name = name;
  core->note = note;
  int e = core->begin();
  if (e == 0 && !exit) {
    e = core->watch_end(exit_socket.get(), zygote->pidfd());
    Fd v2_dir;
    bool gone = false;
    for (const bool v2 : {true, false})
      for (const auto& [hierarchy, dir] : parents) {
        if (e != 0 || (*facts)->cgroups[hierarchy].v2 != v2) continue;
        Fd own(::openat(dir, group_name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
        if (!own && errno == ENOENT) {  // at its end, which tells what it said
          gone = true;
          continue;
        }
        e = own ? core->add_cgroup(own.get(), v2) : errno;
        if (v2) v2_dir = std::move(own);
      }
    if (e == 0 && !options.pressure.empty() && !gone) {
      if (!v2_dir)
        return fail(
            Errc::unsupported, Step::watch, subject + " is in no cgroup of v2",
            "pressure is told by cgroup v2 only: resources.cgroup = everywhere, where it is "
            "mounted");
      if (auto ok = core->add_triggers(v2_dir.get(), options.pressure); !ok) return fail(ok);
    }
  }
  if (e == 0 && options.interfaces && !exit) {
    auto place = Place::of(*this);
    if (!place) return fail(place);
    auto socket = network_socket(*place);
    if (!socket) return fail(socket);
    e = core->watch_links(std::move(*socket));
  }
  if (e == 0) e = core->look_first(options.look_every);
  if (e != 0) return fail(e, Step::watch, subject);
  return Watch(std::move(core));
}

}  // namespace condroid::inline v0::detail

namespace condroid {
inline namespace v0 {

std::string_view to_string(WatchEvent::Kind kind) noexcept {
  static constexpr std::array<std::string_view, 13> words = {
      "out-of-memory kill",
      "pids limit hit",
      "memory below its protection reclaimed",
      "memory above memory.high",
      "memory limit hit",
      "pressure",
      "frozen",
      "thawed",
      "link up",
      "link down",
      "link removed",
      "address added",
      "ended",
  };
  return kind < words.size() ? words[kind] : std::string_view("?");
}

Watch::Watch(std::unique_ptr<detail::WatchCore> core) : core_(std::move(core)) {}
Watch::Watch(Watch&&) noexcept = default;
Watch& Watch::operator=(Watch&&) noexcept = default;
Watch::~Watch() = default;
FdView Watch::poll_fd() const noexcept { return core_ ? FdView(core_->epoll) : FdView{}; }
bool Watch::done() const noexcept { return !core_ || core_->done; }
Result<std::optional<WatchEvent>> Watch::next() {
  if (!core_) return std::optional<WatchEvent>{};
  return core_->next();
}

}  // namespace v0
}  // namespace condroid
