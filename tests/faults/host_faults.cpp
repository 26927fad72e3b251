// The host's half of everything that a Runtime does, with a system call of it failing: each call in
// turn, with each errno that it could plausibly have, until one is untouched. The calls are the
// library's own, which the linker leads here (--wrap, see meson.build), so what runs is what always
// runs, as root, on this machine.
//
//   host_faults PAYLOAD [--seconds S] [--only DEED[:N[:ERRNO]]]
//
// What must hold each time: what fails names a step, its object and the errno, or goes on (whether
// the container is then all that it was to be, tests/support/faultwalk.py finds out); nothing is
// left (descriptors of host and zygote, processes, cgroups, mounts, files), and the next one is as
// good as the first. Prints a table of which step was told how often. With --seconds, as many as
// there is time for, by chance; CONDROID_SEED repeats them.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condroid/attach.hpp>
#include <condroid/builder.hpp>
#include <condroid/pool.hpp>
#include <condroid/runtime.hpp>
#include <condroid/watch.hpp>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace condroid;
using namespace condroid::literals;

// ---- the calls ----------------------------------------------------------------------------------

namespace {

struct Call {
  std::string name;
  std::string path;
};
struct Fault {
  bool on = false;   ///< Calls are counted.
  long wanted = -1;  ///< Which one is to fail.
  int error = 0;
  std::function<void()> kill = {};  ///< In place of that: somebody dies before it.
  long count = 0;
  bool hit = false;
  std::vector<Call> calls;  ///< When they are looked at.
  bool look = false;
};
Fault fault;

/// Whether this call is the one.
bool fails(const char* name, const char* path = nullptr) {
  if (!fault.on) return false;
  const long n = fault.count++;
  if (fault.look) {
    fault.on = false;
    fault.calls.push_back({name, path != nullptr ? path : ""});
    fault.on = true;
  }
  if (n != fault.wanted) return false;
  fault.hit = true;
  fault.on = false;
  fault.calls.push_back({name, path != nullptr ? path : ""});
  if (fault.kill) fault.kill();
  fault.on = true;
  if (fault.kill) return false;
  errno = fault.error;
  return true;
}

const char* name_of(long number) {
  switch (number) {
    case SYS_pidfd_open:
      return "pidfd_open";
    case SYS_pidfd_send_signal:
      return "pidfd_send_signal";
    case SYS_open_tree:
      return "open_tree";
    case SYS_move_mount:
      return "move_mount";
    case SYS_mount_setattr:
      return "mount_setattr";
    case SYS_fsopen:
      return "fsopen";
    case SYS_fsconfig:
      return "fsconfig";
    case SYS_fsmount:
      return "fsmount";
    case SYS_bpf:
      return "bpf";
    case SYS_memfd_create:
      return "memfd_create";
    default:
      return "syscall";
  }
}

}  // namespace

// name, result of a failure, arguments: declared, and given without their types.
#define CONDROID_TEST_CALL(type, name, bad, declared, given) \
  extern "C" type __real_##name declared; /* NOLINT */       \
  extern "C" type __wrap_##name declared; /* NOLINT */       \
  extern "C" type __wrap_##name declared { return fails(#name) ? (bad) : __real_##name given; }

CONDROID_TEST_CALL(ssize_t, read, -1, (int fd, void* to, size_t n), (fd, to, n))
CONDROID_TEST_CALL(ssize_t, write, -1, (int fd, const void* from, size_t n), (fd, from, n))
CONDROID_TEST_CALL(ssize_t, pread64, -1, (int fd, void* to, size_t n, off64_t at), (fd, to, n, at))
CONDROID_TEST_CALL(int, poll, -1, (pollfd * list, nfds_t n, int time), (list, n, time))
CONDROID_TEST_CALL(int, stat64, -1, (const char* path, struct stat64* to), (path, to))
CONDROID_TEST_CALL(int, fstat64, -1, (int fd, struct stat64* to), (fd, to))
CONDROID_TEST_CALL(int, fstatat64, -1, (int dir, const char* path, struct stat64* to, int flags),
                   (dir, path, to, flags))
CONDROID_TEST_CALL(int, faccessat, -1, (int dir, const char* path, int mode, int flags),
                   (dir, path, mode, flags))
CONDROID_TEST_CALL(int, access, -1, (const char* path, int mode), (path, mode))
CONDROID_TEST_CALL(int, pipe2, -1, (int* pair, int flags), (pair, flags))
CONDROID_TEST_CALL(int, mkdir, -1, (const char* path, mode_t mode), (path, mode))
CONDROID_TEST_CALL(int, mkdirat, -1, (int dir, const char* path, mode_t mode), (dir, path, mode))
CONDROID_TEST_CALL(int, mknodat, -1, (int dir, const char* path, mode_t mode, dev_t dev),
                   (dir, path, mode, dev))
CONDROID_TEST_CALL(int, symlinkat, -1, (const char* what, int dir, const char* path),
                   (what, dir, path))
CONDROID_TEST_CALL(int, fchmodat, -1, (int dir, const char* path, mode_t mode, int flags),
                   (dir, path, mode, flags))
CONDROID_TEST_CALL(int, fchownat, -1, (int dir, const char* path, uid_t u, gid_t g, int flags),
                   (dir, path, u, g, flags))
CONDROID_TEST_CALL(int, unlinkat, -1, (int dir, const char* path, int flags), (dir, path, flags))
CONDROID_TEST_CALL(ssize_t, readlink, -1, (const char* path, char* to, size_t n), (path, to, n))
CONDROID_TEST_CALL(int, epoll_create1, -1, (int flags), (flags))
CONDROID_TEST_CALL(int, epoll_ctl, -1, (int fd, int what, int of, epoll_event* event),
                   (fd, what, of, event))
CONDROID_TEST_CALL(int, epoll_wait, -1, (int fd, epoll_event* to, int n, int time),
                   (fd, to, n, time))
CONDROID_TEST_CALL(int, eventfd, -1, (unsigned value, int flags), (value, flags))
CONDROID_TEST_CALL(int, timerfd_create, -1, (int clock, int flags), (clock, flags))
CONDROID_TEST_CALL(int, timerfd_settime, -1,
                   (int fd, int flags, const itimerspec* time, itimerspec* before),
                   (fd, flags, time, before))
CONDROID_TEST_CALL(int, memfd_create, -1, (const char* name, unsigned flags), (name, flags))
CONDROID_TEST_CALL(int, dup3, -1, (int fd, int to, int flags), (fd, to, flags))
CONDROID_TEST_CALL(int, socketpair, -1, (int domain, int type, int protocol, int* pair),
                   (domain, type, protocol, pair))
CONDROID_TEST_CALL(ssize_t, sendmsg, -1, (int fd, const msghdr* m, int flags), (fd, m, flags))
CONDROID_TEST_CALL(ssize_t, recvmsg, -1, (int fd, msghdr* m, int flags), (fd, m, flags))
CONDROID_TEST_CALL(int, shutdown, -1, (int fd, int how), (fd, how))
CONDROID_TEST_CALL(int, waitid, -1, (idtype_t type, id_t id, siginfo_t* to, int flags),
                   (type, id, to, flags))
CONDROID_TEST_CALL(void*, mmap64, MAP_FAILED,
                   (void* at, size_t n, int prot, int flags, int fd, off64_t from),
                   (at, n, prot, flags, fd, from))
CONDROID_TEST_CALL(int, madvise, -1, (void* at, size_t n, int what), (at, n, what))
CONDROID_TEST_CALL(ssize_t, getrandom, -1, (void* to, size_t n, unsigned flags), (to, n, flags))
CONDROID_TEST_CALL(DIR*, fdopendir, nullptr, (int fd), (fd))
CONDROID_TEST_CALL(DIR*, opendir, nullptr, (const char* path), (path))

// Those that take any arguments.
extern "C" {
int __real_open64(const char* path, int flags, ...);             // NOLINT
int __real_openat64(int dir, const char* path, int flags, ...);  // NOLINT
int __real_fcntl64(int fd, int what, ...);                       // NOLINT
int __real_ioctl(int fd, unsigned long what, ...);               // NOLINT
long __real_syscall(long number, ...);                           // NOLINT
int __wrap_open64(const char* path, int flags, ...);             // NOLINT
int __wrap_openat64(int dir, const char* path, int flags, ...);  // NOLINT
int __wrap_fcntl64(int fd, int what, ...);                       // NOLINT
int __wrap_ioctl(int fd, unsigned long what, ...);               // NOLINT
long __wrap_syscall(long number, ...);                           // NOLINT

int __wrap_open64(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const auto mode = va_arg(more, mode_t);
  va_end(more);
  return fails("open", path) ? -1 : __real_open64(path, flags, mode);
}
int __wrap_openat64(int dir, const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const auto mode = va_arg(more, mode_t);
  va_end(more);
  return fails("openat", path) ? -1 : __real_openat64(dir, path, flags, mode);
}
int __wrap_fcntl64(int fd, int what, ...) {
  va_list more;
  va_start(more, what);
  const auto value = va_arg(more, long);
  va_end(more);
  return fails("fcntl") ? -1 : __real_fcntl64(fd, what, value);
}
int __wrap_ioctl(int fd, unsigned long what, ...) {
  va_list more;
  va_start(more, what);
  void* const value = va_arg(more, void*);
  va_end(more);
  return fails("ioctl") ? -1 : __real_ioctl(fd, what, value);
}
long __wrap_syscall(long number, ...) {
  va_list more;
  va_start(more, number);
  long x[6];
  for (long& value : x) value = va_arg(more, long);
  va_end(more);
  return fails(name_of(number)) ? -1 : __real_syscall(number, x[0], x[1], x[2], x[3], x[4], x[5]);
}
}

namespace {

/// What it could plausibly be told.
std::vector<int> errors_of(std::string_view call) {
  static const std::set<std::string_view> waiting = {"read",    "write",   "pread64", "poll",
                                                     "sendmsg", "recvmsg", "waitid",  "epoll_wait",
                                                     "open",    "openat"};
  static const std::set<std::string_view> opening = {
      "open",         "openat",  "pipe2",      "epoll_create1", "eventfd",    "timerfd_create",
      "memfd_create", "dup3",    "socketpair", "fcntl",         "pidfd_open", "open_tree",
      "fsopen",       "fsmount", "opendir",    "fdopendir"};
  static const std::set<std::string_view> storing = {"write",     "mkdir",     "mkdirat", "mknodat",
                                                     "symlinkat", "epoll_ctl", "fsconfig"};
  if (call == "madvise") return {ENOMEM, EFAULT};
  if (call == "getrandom") return {EIO};
  std::vector<int> list = {EIO, ENOMEM, EPERM};
  if (waiting.contains(call)) list.push_back(EINTR);
  if (opening.contains(call)) list.push_back(EMFILE);
  if (storing.contains(call)) list.push_back(ENOSPC);
  if (call == "sendmsg") list.push_back(ENOBUFS);
  return list;
}

// ---- what is told of a failure ------------------------------------------------------------------

std::map<std::pair<std::string, Step>, int> table;
std::map<std::string, int> passed_over;
int failures = 0;
std::string current;  ///< For who is late.

void wrong(const std::string& what) {
  fmt::print(stderr, "FAILED {}: {}\n", current, what);
  ++failures;
}
[[noreturn]] void give_up(const std::string& why) {
  fmt::print(stderr, "host_faults: {}: {}\n", current, why);
  std::_Exit(1);
}
template <class T>
T need(Result<T> result) {
  if (!result) give_up(to_string(result.error()));
  return std::move(*result);
}
void need(bool good, const std::string& what) {
  if (!good) give_up(fmt::format("{}: errno {}", what, errno));
}

/// What came of a deed: an error, or what an end said besides.
struct Told {
  std::optional<Error> error;
  std::vector<std::string> also;
};

using Deed = std::function<void(Told&)>;

struct Failed {
  Error error;
};
template <class T>
T must(Result<T> result) {
  if (!result) throw Failed{std::move(result).error()};
  return std::move(*result);
}
void must(Result<void> result) {
  if (!result) throw Failed{std::move(result).error()};
}
void end_of(Told& told, Result<Exit> result, int code = 0) {
  Exit exit = must(std::move(result));
  told.also = exit.cleanup_errors;
  if (exit.kind == Exit::lost || (code >= 0 && exit.code != code))
    throw Failed{make_error(Errc::child_vanished, Step::wait, to_string(exit))};
}

// ---- what is there ------------------------------------------------------------------------------

std::vector<std::string> entries(const std::string& path) {
  std::vector<std::string> list;
  if (DIR* d = ::opendir(path.c_str()); d != nullptr) {
    while (const dirent* e = ::readdir(d))
      if (e->d_name[0] != '.') list.emplace_back(e->d_name);
    ::closedir(d);
  }
  return list;
}
std::string text_of(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// All that could be left, as lines.
struct Surroundings {
  std::string state_dir;
  std::vector<std::string> cgroup_parents;

  [[nodiscard]] std::map<std::string, std::size_t> look(pid_t zygote) const {
    std::map<std::string, std::size_t> all;
    all["descriptors of the host"] = entries("/proc/self/fd").size();
    all["mounts"] =
        static_cast<std::size_t>(std::ranges::count(text_of("/proc/self/mountinfo"), '\n'));
    all["state files"] = entries(state_dir).size();
    std::size_t groups = 0;
    for (const std::string& name : entries(state_dir))
      for (const std::string& parent : cgroup_parents)
        for (const std::string& box : entries(parent + "/" + name)) {
          struct stat st {};
          if (::stat((parent + "/" + name + "/" + box).c_str(), &st) == 0 && S_ISDIR(st.st_mode))
            ++groups;
        }
    all["cgroups"] = groups;
    if (zygote > 0) {
      all["descriptors of the zygote"] = entries(fmt::format("/proc/{}/fd", zygote)).size();
      const std::string children = text_of(fmt::format("/proc/{0}/task/{0}/children", zygote));
      all["processes"] = static_cast<std::size_t>(std::ranges::count(children, ' '));
    }
    return all;
  }
};

// ---- one deed, with everything that may happen to it -------------------------------------------

class Walk {
 public:
  Walk(Surroundings around, double seconds, std::string only, unsigned seed)
      : around_(std::move(around)), only_(std::move(only)), chance_(seed), sampled_(seconds > 0) {
    until_ = std::chrono::steady_clock::now() +
             std::chrono::milliseconds(static_cast<long>(seconds * 1000));
  }

  /// With `deaths` nothing fails, but the zygote dies before each call, or its youngest child.
  void add(std::string name, std::function<pid_t()> zygote, Deed deed, bool deaths = false) {
    places_.push_back({std::move(name), std::move(zygote), std::move(deed), deaths, {}});
  }

  int run() {
    for (Place& p : places_) {
      current = p.name;
      for (int i = 0; i < 4; ++i) undisturbed(p);  // what is kept for the next time is there
      fault = Fault{.look = true};
      undisturbed(p);
      p.calls = std::move(fault.calls);
      if (p.calls.empty()) give_up("not a single call: is the linker told?");
    }
    struct Case {
      Place* place;
      long n;
      int error;
    };
    std::vector<Case> cases;
    for (Place& p : places_)
      for (std::size_t n = 0; n < p.calls.size(); ++n)
        for (const int error :
             p.deaths ? std::vector{zygote_dies, child_dies} : errors_of(p.calls[n].name)) {
          const std::string name = fmt::format("{}:{}:{}:", p.name, n, error);
          if (only_.empty() || name.starts_with(only_ + ":"))
            cases.push_back({&p, static_cast<long>(n), error});
        }
    if (sampled_) std::ranges::shuffle(cases, chance_);
    std::size_t done = 0;
    for (const Case& c : cases) {
      if (sampled_ && std::chrono::steady_clock::now() > until_) break;
      one(*c.place, c.n, c.error);
      ++done;
    }
    int told = 0, went_on = 0;
    for (const auto& [key, count] : table) {
      fmt::print("{:18}{:24}{:6}\n", key.first, to_string(key.second), count);
      told += count;
    }
    for (const auto& [call, count] : passed_over) {
      fmt::print("went on after {:28}{:6}\n", call, count);
      went_on += count;
    }
    for (const Place& p : places_) fmt::print("{}: {} calls\n", p.name, p.calls.size());
    fmt::print("{} of {} cases: {} told, {} passed over, {} not reached, {} wrong\n", done,
               cases.size(), told, went_on, missed_, failures);
    return failures == 0 && told > 0 ? 0 : 1;
  }

 private:
  struct Place {
    std::string name;
    std::function<pid_t()> zygote;
    Deed deed;
    bool deaths = false;
    std::vector<Call> calls;
  };

  Told attempt(const Place& p) {
    Told told;
    fault.on = true;
    try {
      p.deed(told);
    } catch (Failed& failed) {
      told.error = std::move(failed.error);
    }
    fault.on = false;
    return told;
  }
  void undisturbed(const Place& p) {
    const Told told = attempt(p);
    if (told.error) give_up("undisturbed: " + to_string(*told.error));
    if (!told.also.empty()) give_up("undisturbed: " + told.also.front());
  }

  void one(const Place& p, long n, int error) {
    const Call& call = p.calls[static_cast<std::size_t>(n)];
    current = fmt::format("{}:{}:{} ({} '{}' {})", p.name, n, error, call.name, call.path,
                          error > 0              ? ::strerrorname_np(error)
                          : error == zygote_dies ? "zygote dies"
                                                 : "child dies");
    const auto before = settled(p, nullptr);
    fault = Fault{.wanted = n, .error = error};
    const pid_t server = p.zygote();  // asked now: the host may hold its lock then
    if (p.deaths)
      fault.kill = [error, server] {
        pid_t whom = server;
        if (error == child_dies) {
          std::ifstream list(fmt::format("/proc/{0}/task/{0}/children", whom));
          whom = 0;
          for (pid_t child = 0; list >> child;) whom = child;
        }
        if (whom > 0) (void)::kill(whom, SIGKILL);
      };
    ::alarm(20);
    const auto begin = std::chrono::steady_clock::now();
    const Told told = attempt(p);
    const auto took = std::chrono::steady_clock::now() - begin;
    ::alarm(0);
    const bool hit = fault.hit;
    const Call was = hit ? fault.calls.back() : call;  // they are not the very same each time
    fault = Fault{};
    if (!hit) {
      ++missed_;
    } else if (told.error) {
      const Error& e = *told.error;
      ++table[{p.name, e.step}];
      if (!p.deaths && !is_about(e, error, was.name)) wrong(fmt::format("it says: {}", e));
      if (!only_.empty()) fmt::print("{}: {}; also {}\n", current, e, fmt::join(e.also, "; "));
      if (e.subject.empty()) wrong(fmt::format("of what? {}", e));
    } else {
      ++passed_over[was.name];
    }
    if (took > std::chrono::seconds(3)) wrong("it took seconds");
    // Until it is gone it may be taken for alive.
    for (int tries = 0; hit && error == zygote_dies && tries < 1000; ++tries) {
      const std::string stat = text_of(fmt::format("/proc/{}/stat", server));
      if (stat.empty() || stat.find(") Z ") != std::string::npos) break;
      (void)::usleep(1000);
    }
    // The first thing after that is done as if nothing had been.
    for (int i = 0; i < (p.deaths ? 4 : 2); ++i) {
      const Told again = attempt(p);
      if (again.error) wrong(fmt::format("the next one: {}", *again.error));
    }
    if (auto after = settled(p, &before); after != before) {
      // Of a new zygote, whatever that has by then.
      for (const char* theirs : {"descriptors of the zygote", "processes"})
        if (error == zygote_dies) after[theirs] = before.at(theirs);
      if (after == before) return;
      std::string what;
      for (const auto& [key, value] : after)
        if (const auto old = before.find(key); old == before.end() || old->second != value)
          what +=
              fmt::format(" {} {}, {} before;", key, value, old == before.end() ? 0 : old->second);
      // What could not be removed and was told of is somebody else's to remove.
      if (!told.also.empty() || (told.error && !told.error->also.empty()))
        ++passed_over["what it said is left"];
      else
        wrong("left:" + what);
    }
  }

  [[nodiscard]] static bool is_about(const Error& e, int error, std::string_view call) {
    if (e.errnum() == error) return true;
    // MADV_POPULATE_WRITE says so of a file system that is full.
    if (call == "madvise" && error == EFAULT) return e.errnum() == ENOSPC;
    // What may not be looked at is not there, as far as we are concerned.
    return call == "access" && error == EPERM && e.is(Errc::unsupported);
  }

  /// What is there when it is quiet; the zygote tells an end before it has closed what it had of
  /// it.
  std::map<std::string, std::size_t> settled(const Place& p,
                                             const std::map<std::string, std::size_t>* wanted) {
    auto now = around_.look(p.zygote());
    for (int tries = 0, same = 0; tries < 1000 && same < (wanted != nullptr ? 1000 : 2); ++tries) {
      if (wanted != nullptr && now == *wanted) break;
      (void)::usleep(wanted != nullptr ? 1000 : 300);
      auto next = around_.look(p.zygote());
      same = next == now ? same + 1 : 0;
      now = std::move(next);
    }
    return now;
  }

  static constexpr int zygote_dies = -1, child_dies = -2;

  Surroundings around_;
  std::string only_;
  std::mt19937 chance_;
  bool sampled_;
  std::chrono::steady_clock::time_point until_;
  std::vector<Place> places_;
  int missed_ = 0;
};

void late(int /*signal*/) {
  constexpr std::string_view text = "FAILED, it hangs: ";
  (void)!::write(2, text.data(), text.size());
  (void)!::write(2, current.data(), current.size());
  (void)!::write(2, "\n", 1);
  std::_Exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  double seconds = 0;
  std::string only;
  for (int i = 2; i + 1 < argc; i += 2) {
    if (argv[i] == std::string_view("--seconds")) seconds = std::atof(argv[i + 1]);
    if (argv[i] == std::string_view("--only")) only = argv[i + 1];
  }
  if (argc < 2) give_up("PAYLOAD");
  if (::geteuid() != 0) give_up("needs root");
  ::signal(SIGALRM, late);
  unsigned seed = std::random_device{}();
  if (const char* given = std::getenv("CONDROID_SEED"))
    seed = static_cast<unsigned>(std::atol(given));
  if (seconds > 0) fmt::print("CONDROID_SEED={}\n", seed);
  // Mounts are this process's alone.
  need(::unshare(CLONE_NEWNS) == 0 &&
           ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0,
       "mounts of its own");
  char name[] = "/var/tmp/host-faults.XXXXXX";
  need(::mkdtemp(name) != nullptr && ::chmod(name, 0755) == 0, "mkdtemp");
  const std::string directory = name, root = directory + "/root", state = directory + "/state";
  for (const char* made : {"", "/bin", "/dev", "/etc", "/mnt", "/proc", "/sys", "/tmp"})
    need(::mkdir((root + made).c_str(), 0755) == 0, root + made);
  const std::string copy = fmt::format("cp '{}' '{}/bin/payload'", argv[1], root);
  need(std::system(copy.c_str()) == 0, copy);  // NOLINT(cert-env33-c,concurrency-mt-unsafe)
  int result = 1;
  {
    const Runtime runtime = need(Runtime::open({.state_dir = HostPath(state)}));
    Surroundings around{.state_dir = state, .cgroup_parents = {}};
    for (const auto& h : need(runtime.facts()).get().cgroups)
      around.cgroup_parents.push_back(h.mount_point + h.parent);

    Spec plain =
        ContainerBuilder{"faulty"}.root(HostPath(root)).exec({"/bin/payload", "exit", "0"}).spec();
    plain.process.stdio = Stdio::null;
    Spec rich = plain;
    rich.resources.memory_max = 64_MiB;
    rich.resources.pids_max = 20;
    rich.terminal.console = true;
    rich.process.init = true;
    rich.process.stdio = {Stream(Stream::pipe), Stream(Stream::capture), Stream(Stream::capture)};
    Spec shifted = plain;
    shifted.idmap = {
        .kind = IdMap::ranges, .uids = {{0, 100000, 65536}}, .gids = {{0, 100000, 65536}}};
    shifted.root.ephemeral = true;
    Spec lives = plain;
    lives.process.argv = {"/bin/payload", "exit", "3"};
    lives.lifecycle = {.restart = Restart::on_failure, .restart_limit = 1};
    const auto lived_twice = [&](const Runtime& by, Told& told) {
      Container made = must(by.launch(lives));
      const Exit exit = must(made.wait());
      told.also = exit.cleanup_errors;
      if (exit.restarts == 1) return;
      // Why there was none is told in words.
      if (fault.kill) throw Failed{make_error(Errc::child_vanished, Step::wait, to_string(exit))};
      const bool it = exit.not_restarted.find(::strerrordesc_np(fault.error)) != std::string::npos;
      throw Failed{it ? sys_error(fault.error, Step::wait, exit.not_restarted)
                      : make_error(Errc::child_vanished, Step::wait, to_string(exit))};
    };
    Spec pause = plain;
    pause.process.argv = {"/bin/payload", "pause"};
    pause.lifecycle.freezable = true;
    pause.resources.pids_max = 20;
    Container box = need(runtime.launch(pause));

    Walk walk(std::move(around), seconds, only, seed);
    const auto zygote = [&] { return runtime.zygote_pid().value; };
    const auto launched = [&](const Spec& spec, int code) {
      return [&runtime, spec, code](Told& told) {
        Container made = must(runtime.launch(spec));
        end_of(told, made.wait(), code);
      };
    };
    walk.add("launch", zygote, launched(plain, 0));
    walk.add("launch with all", zygote, launched(rich, 0));
    walk.add("shifted", zygote, launched(shifted, 0));
    walk.add("next life", zygote, [&](Told& told) { lived_twice(runtime, told); });
    walk.add(
        "runtime", [] { return 0; },
        [&](Told& told) {
          const Runtime own = must(Runtime::open({.state_dir = HostPath(directory + "/state2")}));
          Container made = must(own.launch(plain));
          end_of(told, made.wait());
        });
    const auto taken = [&](const Runtime& by, Told& told) {
      Pool pool = must(Pool::open(by, plain, {.size = 1}));
      must(pool.fill());
      Container made = must(pool.take(Take{}));
      end_of(told, made.wait());
    };
    walk.add("pool", zygote, [&](Told& told) { taken(runtime, told); });
    walk.add("attach", zygote, [&](Told& told) {
      Task task =
          must(box.attach({.process = {.argv = {"/bin/payload", "exit", "0"}, .stdio = Stdio::pty},
                           .cgroup = AttachCgroup::below}));
      end_of(told, task.wait());
    });
    walk.add("running", zygote, [&](Told&) {
      must(box.freeze());
      must(box.thaw());
      (void)must(box.set_limits({.pids_max = 21}));
      (void)must(box.set_limits({.pids_max = 20}));
      (void)must(box.stats());
    });
    walk.add("stop", zygote, [&](Told& told) {
      Container made = must(runtime.launch(pause));
      end_of(told, made.stop(std::chrono::milliseconds(3)), -1);
    });
    // Whose zygote dies is nobody else's.
    const Runtime mortal = need(Runtime::open({.state_dir = HostPath(state)}));
    const auto theirs = [&] { return mortal.zygote_pid().value; };
    walk.add(
        "deaths: pool", theirs, [&](Told& told) { taken(mortal, told); }, true);
    walk.add(
        "deaths: life", theirs, [&](Told& told) { lived_twice(mortal, told); }, true);
    result = walk.run();
  }
  const std::string remove = fmt::format("rm -r '{}'", directory);
  need(std::system(remove.c_str()) == 0, remove);  // NOLINT(cert-env33-c,concurrency-mt-unsafe)
  return result;
}
