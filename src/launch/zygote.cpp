#include "launch/zygote.hpp"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "formatted.hpp"
#include "launch/embedded.hpp"
#include "launch/scope.hpp"
#include "program/kernel.hpp"
#include "program/syscall.hpp"
#include "sys/cgroup_parents.hpp"
#include "sys/wire.hpp"

extern "C" {
extern const unsigned char condroid_zygote_begin[];
extern const unsigned char condroid_zygote_end[];
}

namespace condroid::inline v0::detail {

namespace {

std::chrono::nanoseconds monotonic_now() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

struct SpawnJob {
  int program;
  int control;
  int host;
  const char* argv[5];
  int pidfd;
  long pid;
  int error;
  alignas(16) char stack[16 * 1024];
};

// Code that runs in a process which shares the host's memory must not be instrumented.
#if defined(__clang__)
#define CONDROID_BARE __attribute__((no_sanitize("address", "thread", "undefined"), noinline))
#else
#define CONDROID_BARE \
  __attribute__((no_sanitize_address, no_sanitize_thread, no_sanitize_undefined, noinline))
#endif

/// Becomes the zygote. Shares the host's memory until exec: raw system calls only, and nothing but
/// `job` is written.
CONDROID_BARE int exec_zygote(void* argument) {
  auto& job = *static_cast<SpawnJob*>(argument);
  const kernel::RealSystem sys;
  // Out of the way of the numbers they are to have.
  long moved[3];
  const int wanted[3] = {job.control, job.host, job.program};
  for (int i = 0; i < 3; ++i) {
    moved[i] = sys(__NR_fcntl, wanted[i], F_DUPFD_CLOEXEC, 16);
    if (moved[i] < 0) return job.error = static_cast<int>(-moved[i]), 1;
  }
  const int numbers[2] = {program::fd_control, program::fd_host};
  for (int i = 0; i < 2; ++i) {
    const long e = sys(__NR_dup3, moved[i], numbers[i], 0);
    if (e < 0) return job.error = static_cast<int>(-e), 1;
  }
  const char* const empty[1] = {nullptr};
  const long e =
      sys(__NR_execveat, moved[2], reinterpret_cast<long>(""), reinterpret_cast<long>(job.argv),
          reinterpret_cast<long>(empty), AT_EMPTY_PATH);
  job.error = static_cast<int>(-e);
  return 1;
}

/// The middle process: clones the zygote and ends, so that the zygote is no child of the host.
CONDROID_BARE int middle(void* argument) {
  auto& job = *static_cast<SpawnJob*>(argument);
  kernel::CloneArgs args{};
  args.flags =
      kernel::clone_vm | kernel::clone_vfork | kernel::clone_pidfd | kernel::clone_clear_sighand;
  args.pidfd = reinterpret_cast<std::uint64_t>(&job.pidfd);
  args.exit_signal = 0;
  args.stack = reinterpret_cast<std::uint64_t>(job.stack);
  args.stack_size = sizeof job.stack;
  job.pid = kernel::clone3_run(&args, sizeof args, exec_zygote, &job);
  return 0;
}

/// Why the zygote could not start, in its own words.
Error start_error(const program::Record& record, const std::string& state_dir,
                  const std::string& name) {
  switch (static_cast<program::StartPart>(record.code)) {
    case program::StartPart::state_dir:
      return sys_error(record.error, Step::open_runtime,
                       formatted("state directory '{}'", state_dir));
    case program::StartPart::owner:
      return make_error(
          Errc::unsupported, Step::open_runtime,
          formatted("state directory '{}' belongs to uid {} with mode {:04o}", state_dir,
                    static_cast<std::uint32_t>(record.status), record.undo_hierarchy),
          "it must be ours and writable by nobody else; give RuntimeOptions::state_dir");
    case program::StartPart::state_file:
      return sys_error(record.error, Step::open_runtime, formatted("'{}/{}'", state_dir, name));
    case program::StartPart::itself:
      break;
  }
  return sys_error(record.error, Step::start_zygote, "its own set-up");
}

}  // namespace

TickClock::TickClock() : ticks_(kernel::ticks()), time_(monotonic_now()) {}

std::chrono::nanoseconds TickClock::at(std::uint64_t ticks) const {
  const std::uint64_t now_ticks = kernel::ticks();
  const auto now = monotonic_now();
  if (now_ticks <= ticks_ || now <= time_) return now;
  const double per_tick =
      static_cast<double>((now - time_).count()) / static_cast<double>(now_ticks - ticks_);
  // What a child wrote may be anything.
  constexpr double most = 1e18;
  const double back = std::clamp(
      static_cast<double>(static_cast<std::int64_t>(now_ticks - ticks)) * per_tick, -most, most);
  return now - std::chrono::nanoseconds(static_cast<std::int64_t>(back));
}

Result<std::shared_ptr<Zygote>> Zygote::start(const std::string& state_dir, bool remove_state_dir,
                                              const std::function<void()>& meanwhile) {
  std::shared_ptr<Zygote> z(new Zygote);
  z->owner_ = ::getpid();
  if (auto ok = z->spawn(state_dir, remove_state_dir); !ok) return fail(ok);
  meanwhile();
  if (auto ok = z->greet(); !ok) return fail(ok);
  return z;
}

Result<void> Zygote::spawn(const std::string& state_dir, bool remove_state_dir) {
  std::uint64_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != static_cast<ssize_t>(sizeof random))
    return fail(errno, Step::start_zygote, "getrandom");
  name_ = formatted("condroid-{:012x}", random & 0xffffffffffffU);

  state_dir_ = state_dir;
  remove_state_dir_ = remove_state_dir;
  auto executable = embedded_program({condroid_zygote_begin, condroid_zygote_end},
                                     "condroid-zygote", Step::start_zygote);
  if (!executable) return fail(executable);
  Fd theirs;
  if (const int e = socket_pair(control_, theirs); e != 0)
    return fail(sys_error(e, Step::start_zygote, "socketpair"));
  Fd self(static_cast<int>(::syscall(SYS_pidfd_open, owner_, 0)));
  if (!self.valid())
    return fail(sys_error(errno, Step::start_zygote, "pidfd_open of this process"));

  auto job = std::make_unique<SpawnJob>();
  job->program = executable->get();
  job->control = theirs.get();
  job->host = self.get();
  job->argv[0] = "condroid-zygote";
  job->argv[1] = name_.c_str();
  job->argv[2] = state_dir.c_str();
  job->argv[3] = remove_state_dir ? "1" : "0";
  job->argv[4] = nullptr;
  job->pidfd = -1;
  job->pid = -EAGAIN;
  job->error = 0;

  // No handler of the host may run in a process that shares its memory.
  sigset_t all, before;
  ::sigfillset(&all);
  if (const int e = ::pthread_sigmask(SIG_SETMASK, &all, &before); e != 0)
    return fail(sys_error(e, Step::start_zygote, "blocking signals"));
  auto middle_stack = std::make_unique<char[]>(std::size_t{16} * 1024 + 16);
  kernel::CloneArgs args{};
  args.flags = kernel::clone_vm | kernel::clone_vfork | kernel::clone_files;
  args.exit_signal = 0;
  args.stack = (reinterpret_cast<std::uint64_t>(middle_stack.get()) + 15) & ~std::uint64_t{15};
  args.stack_size = std::size_t{16} * 1024;
  const long middle_pid = kernel::clone3_run(&args, sizeof args, middle, job.get());
  if (middle_pid > 0) {
    while (::waitpid(static_cast<pid_t>(middle_pid), nullptr, __WALL) < 0 && errno == EINTR) {
    }
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (middle_pid < 0)
    return fail(sys_error(static_cast<int>(-middle_pid), Step::start_zygote,
                          "clone of the middle process"));
  pidfd_ = Fd(job->pidfd);
  if (job->pid < 0)
    return fail(sys_error(static_cast<int>(-job->pid), Step::start_zygote, "clone"));
  if (job->error != 0)
    return fail(sys_error(job->error, Step::start_zygote, "exec of the embedded program"));
  pid_ = Pid{static_cast<std::int32_t>(job->pid)};
  return {};
}

/// Waits for its first word.
Result<void> Zygote::greet() {
  program::Record record{};
  for (;;) {
    const int ready = wait_for_fd(control_.get(), POLLIN, 10000);
    if (ready == 0)
      return fail(Errc::zygote_lost, Step::start_zygote, "it did not answer within 10 s");
    if (ready < 0) return fail(-ready, Step::start_zygote, "poll");
    const Received r = receive_message(control_.get(), &record, sizeof record);
    if (r.error == EAGAIN) continue;
    if (r.error != 0) return fail(r.error, Step::start_zygote, "its first message");
    if (r.end || r.size != sizeof record || record.magic != program::magic)
      return fail(Errc::zygote_lost, Step::start_zygote, "it died while starting");
    break;
  }
  if (record.kind != program::RecordKind::ready)
    return fail(start_error(record, state_dir_, name_));
  const std::string path = state_file();
  const Fd file(::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (!file.valid()) return fail(errno, Step::open_runtime, formatted("'{}'", path));
  void* mapped =
      ::mmap(nullptr, program::arena_size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) return fail(errno, Step::open_runtime, "mapping the state file");
  arena_ = static_cast<char*>(mapped);
  (void)::madvise(arena_, program::arena_size, MADV_RANDOM);  // as the zygote does
  reinterpret_cast<program::ArenaHeader*>(arena_)->host = owner_;
  return {};
}

Zygote::~Zygote() {
  if (owner_ == ::getpid()) {
    let_go();
    bury();
  }
  if (arena_ != nullptr) ::munmap(arena_, program::arena_size);
}

/// Tells the zygote that we are done and waits until all is undone but what was detached; ten
/// seconds at most, it goes on by itself after that.
void Zygote::let_go() {
  helper_.reset();
  if (!control_.valid() || !pidfd_.valid()) return;
  // Not close: a forked child of this program may hold a copy, and the zygote must see the end now.
  if (::shutdown(control_.get(), SHUT_WR) < 0) control_.reset();
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  bool listening = true;
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return;
    std::array<pollfd, 2> waiting{
        {{pidfd_.get(), POLLIN, 0}, {listening ? control_.get() : -1, POLLIN, 0}}};
    if (::poll(waiting.data(), waiting.size(), static_cast<int>(left.count())) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    if (waiting[0].revents != 0) break;
    if (waiting[1].revents == 0) continue;
    program::Record record{};
    const Received r = receive_message(control_.get(), &record, sizeof record);
    if (r.error == 0 && r.size == sizeof record && record.kind == program::RecordKind::staying)
      return;
    if (r.end || (r.error != 0 && r.error != EAGAIN)) listening = false;
  }
  // Ours to reap only if this program is a subreaper or pid 1.
  siginfo_t info{};
  (void)::waitid(static_cast<idtype_t>(3 /* P_PIDFD */), static_cast<id_t>(pidfd_.get()), &info,
                 WEXITED | WNOHANG | __WALL);
}

void Zygote::bury() {
  if (name_.empty() || owner_ != ::getpid()) return;
  const std::lock_guard lock(burying_);  // which may take a moment that no launch waits for
  if (buried_ || (pidfd_.valid() && wait_for_fd(pidfd_.get(), POLLIN, 0) == 0)) return;
  buried_ = sweep_runtime(state_dir_, name_);
  bridges_.depart();
  if (remove_state_dir_) ::rmdir(state_dir_.c_str());
}

bool Zygote::alive() const {
  pollfd p{pidfd_.get(), POLLIN, 0};
  return ::poll(&p, 1, 0) <= 0;  // an error says nothing
}

program::ResultPage& Zygote::page(std::uint32_t i) const noexcept {
  return *reinterpret_cast<program::ResultPage*>(arena_ + program::arena_pages +
                                                 std::size_t{i} * 4096);
}

program::LiveEntry& Zygote::live(std::uint32_t i) const noexcept {
  return reinterpret_cast<program::LiveEntry*>(arena_ + program::arena_live)[i];
}

/// Has the file system give what lies there: where it is full, it would end whoever touches it, by
/// SIGBUS. 0, or an errno.
int Zygote::reserve(std::size_t offset, std::size_t size) const {
  constexpr int populate_write = 23;  // MADV_POPULATE_WRITE, Linux 5.14; EINVAL before
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t begin = offset / page * page;
  if (::madvise(arena_ + begin, offset + size - begin, populate_write) == 0) return 0;
  return errno == EFAULT ? ENOSPC : errno == ENOMEM ? ENOMEM : 0;
}

int Zygote::take_places(std::uint32_t& live, std::uint32_t& page) {
  const std::lock_guard lock(mutex_);
  look_for_ends();
  const bool has_live = !free_live_.empty() || next_live_ < program::max_live;
  const bool has_page = !free_pages_.empty() || next_page_ < program::max_pages;
  if (!has_live || !has_page) return EAGAIN;
  constexpr std::size_t entry = sizeof(program::LiveEntry), room = 4096;
  if (free_live_.empty())
    if (const int e = reserve(program::arena_live + next_live_ * entry, entry); e != 0) return e;
  if (free_pages_.empty())
    if (const int e = reserve(program::arena_pages + next_page_ * room, room); e != 0) return e;
  if (free_live_.empty()) {
    live = next_live_++;
  } else {
    live = free_live_.back();
    free_live_.pop_back();
  }
  if (free_pages_.empty()) {
    page = next_page_++;
  } else {
    page = free_pages_.back();
    free_pages_.pop_back();
  }
  return 0;
}

/// With the lock held.
void Zygote::look_for_ends() {
  std::erase_if(lasting_, [this](const Lasting& l) {
    // The record of its clone may be there, too: the end closes the socket.
    for (program::Record record{};;) {
      std::array<Fd, 1> fd;
      const Received r = receive_message(l.exit.get(), &record, sizeof record, fd);
      if (r.error == EAGAIN) return false;
      const bool told = r.error == 0 && !r.end && r.size == sizeof record;
      if (told && record.kind == program::RecordKind::cloned) {
        // Born after it was given up.
        if (!l.lives_on && fd[0].valid()) (void)pidfd_signal(fd[0].get(), SIGKILL);
        continue;
      }
      if (l.live) free_live_.push_back(*l.live);
      if (l.page) free_pages_.push_back(*l.page);
      return true;
    }
  });
}

void Zygote::keep_until_end(Fd exit, std::optional<std::uint32_t> live,
                            std::optional<std::uint32_t> page, bool lives_on) {
  const std::lock_guard lock(mutex_);
  lasting_.push_back({std::move(exit), live, page, lives_on});
}

void Zygote::give_back_page(std::uint32_t page) {
  const std::lock_guard lock(mutex_);
  free_pages_.push_back(page);
}

void Zygote::put_at(std::uint32_t live, std::string_view place) {
  const std::lock_guard lock(mutex_);
  program::LiveEntry& entry = this->live(live);
  const std::size_t size = std::min(place.size(), program::longest_place);
  std::memcpy(entry.place, place.data(), size);
  entry.place[size] = 0;
  auto& head = *reinterpret_cast<program::ArenaHeader*>(arena_);
  if (size != 0) head.places = std::max(head.places, live + 1);
}

void Zygote::give_back_live(std::uint32_t live) {
  const std::lock_guard lock(mutex_);
  this->live(live).place[0] = 0;
  free_live_.push_back(live);
}

int Zygote::request(const program::Request& request, std::span<const int> fds) const {
  return send_message(control_.get(), &request, sizeof request, fds);
}

int Zygote::request_surely(const program::Request& request, std::span<const int> fds) const {
  int e = this->request(request, fds);
  // A lack of memory, or of room for descriptors on their way, may be over the next time.
  const auto again = [&e](int tries) {
    const bool gone = e == EPIPE || e == ECONNRESET || e == EBADF;
    return e != 0 && !gone && tries < (e == EAGAIN ? 1000 : 10);
  };
  for (int tries = 0; again(tries); ++tries) {
    if (wait_for_fd(control_.get(), POLLOUT, 10) > 0 && e != EAGAIN)
      (void)wait_for_fd(pidfd_.get(), POLLIN, 1);
    e = this->request(request, fds);
  }
  return e;
}

int Zygote::request_by_helper(program::Request request, std::span<const int> fds) {
  const std::lock_guard lock(helper_mutex_);
  // Whoever is asked is told of to the zygote, too, and at once.
  if (!helper_.valid() || wait_for_fd(control_.get(), POLLOUT, 0) <= 0) return ENOENT;
  if (const int e = send_message(helper_.get(), &request, sizeof request, fds.subspan(1)); e != 0) {
    if (e != EAGAIN) helper_.reset();  // the zygote has given it up: another is offered
    return ENOENT;
  }
  request.flags |= program::request_by_helper;
  const int e = request_surely(request, fds.first(1));
  if (e != 0) helper_.reset();
  return e;
}

void Zygote::offer_helper() {
  const std::lock_guard lock(helper_mutex_);
  if (helper_.valid()) return;
  Fd ours, theirs;
  if (socket_pair(ours, theirs) != 0) return;
  program::Request offer{};
  offer.magic = program::magic;
  offer.kind = program::RequestKind::helper;
  const int fd = theirs.get();
  if (request(offer, {&fd, 1}) == 0) helper_ = std::move(ours);
}

Result<void> RuntimeCore::check_owner() const {
  if (owner == ::getpid()) return {};
  return fail(Errc::in_forked_child, Step::clone,
              "this process is a fork of the one that opened the Runtime",
              "open a Runtime of its own here");
}

Result<std::shared_ptr<Zygote>> RuntimeCore::get_zygote() {
  // Before the lock: another thread may have held it at the fork, and here nobody would let go of
  // it.
  if (auto ok = check_owner(); !ok) return fail(ok);
  const std::lock_guard lock(mutex);
  if (zygote && zygote->alive()) return zygote;
  const bool in_scope = !scope.unit.empty();
  if (in_scope && zygote) zygote->bury();  // the scope ends with the last process in it
  // It sets itself up on another processor: time for what every launch wants to know. Why that
  // failed is told by whoever asks for it.
  auto z = Zygote::start(state_dir, remove_state_dir, [this] { (void)look_at_host(); });
  if (!z) return fail(z);
  if (in_scope)
    if (auto ok = enter_scope_again(*this, **z); !ok) return fail(ok);
  zygote = std::move(*z);
  return zygote;
}

Result<const HostFacts*> RuntimeCore::get_facts() {
  if (auto ok = check_owner(); !ok) return fail(ok);
  const std::lock_guard lock(mutex);
  if (auto ok = look_at_host(); !ok) return fail(ok);
  return facts.get();
}

Result<void> RuntimeCore::look_at_host() {
  if (facts) return {};
  auto probed = probe_host();
  if (!probed) return fail(probed);
  probed->state_dir = state_dir;
  if (!options.cgroup_parent.empty()) choose_cgroup_parents(*probed, options.cgroup_parent);
  facts = std::make_unique<HostFacts>(std::move(*probed));
  return {};
}

}  // namespace condroid::inline v0::detail
