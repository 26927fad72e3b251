#include "inside.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "say.hpp"

using namespace condroid;

namespace {

constexpr std::chrono::seconds patience{30};
constexpr std::size_t most = std::size_t{4} << 20U;

/// Of what a container has made, too: no more of it than that, and no waiting for it.
std::string read_all(int dir, const char* name) {
  const Fd file(::openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  std::string text;
  char some[4096];
  for (ssize_t n = 0;
       file.valid() && text.size() < most && (n = ::read(file.get(), some, sizeof some)) > 0;)
    text.append(some, static_cast<std::size_t>(n));
  return text;
}

/// Those that the first process could ever have.
std::uint64_t capabilities_of(int process) {
  const std::string status = read_all(process, "status");
  constexpr std::string_view word = "CapBnd:";
  constexpr int hexadecimal = 16;
  const std::size_t at = status.find(word);
  return at == status.npos ? 0
                           : std::strtoull(status.c_str() + at + word.size(), nullptr, hexadecimal);
}

/// No others than these from now on.
bool keep_capabilities(std::uint64_t set) {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &head, data) != 0) return false;
  constexpr unsigned bits = 32;
  for (unsigned i = 0; i < 2; ++i) {
    data[i].permitted &= static_cast<std::uint32_t>(set >> (bits * i));
    data[i].effective = data[i].permitted;
    data[i].inheritable = 0;
  }
  return ::syscall(SYS_capset, &head, data) == 0;
}

struct Where {
  ino_t user = 0, net = 0, pid = 0, mnt = 0;
};
/// Of this process.
Where& here() {
  static Where where = [] {
    struct stat st {};
    const auto own = [&st](const char* file) {
      return ::stat(file, &st) == 0 ? st.st_ino : ino_t{0};
    };
    return Where{own("/proc/self/ns/user"), own("/proc/self/ns/net"), own("/proc/self/ns/pid"),
                 own("/proc/self/ns/mnt")};
  }();
  return where;
}

/// `process` is its directory in /proc.
bool enter(int process) {
  struct Kind {
    const char* file;
    int flag;
    ino_t& own;
    Fd fd = {};
    ino_t inode = 0;
    bool done = false;
  };
  Kind kinds[] = {{"ns/user", CLONE_NEWUSER, here().user},
                  {"ns/net", CLONE_NEWNET, here().net},
                  {"ns/pid", CLONE_NEWPID, here().pid},
                  {"ns/mnt", CLONE_NEWNS, here().mnt}};
  for (Kind& kind : kinds) {
    struct stat st {};
    kind.fd = Fd(::openat(process, kind.file, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!kind.fd.valid() || ::fstat(kind.fd.get(), &st) != 0) return false;
    kind.inode = st.st_ino;
    kind.done = kind.inode == kind.own;
  }
  const Fd root(::openat(process, "root", O_PATH | O_DIRECTORY | O_CLOEXEC));
  const std::uint64_t allowed = capabilities_of(process);
  const bool same_user = kinds[0].done;
  const auto step = [](Kind& kind) {
    kind.done = kind.done || ::setns(kind.fd.get(), kind.flag) == 0;
  };
  // Some by the rights of who asks, the others by those that its users have.
  if (::geteuid() == 0) std::for_each(std::begin(kinds) + 1, std::end(kinds), step);
  std::for_each(std::begin(kinds), std::end(kinds), step);
  for (Kind& kind : kinds) {
    if (!kind.done) return false;
    kind.own = kind.inode;
  }
  if (!root.valid() || ::fchdir(root.get()) != 0 || ::chroot(".") != 0 || ::chdir("/") != 0)
    return false;
  if (!same_user) {
    (void)::setgroups(0, nullptr);
    if (::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0) return false;
  }
  return keep_capabilities(allowed);
}

/// Where a process of in_a_process() writes to.
constexpr int kept = 3;

bool write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(kept, text.data(), text.size());
    if (n <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

/// What `tell` makes in a process of its own.
std::optional<std::string> in_a_process(const Place& place,
                                        const std::function<std::optional<std::string>()>& tell) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {};
  Fd in(ends[0]), out(ends[1]);
  (void)here();
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return {};
  if (child == 0) {
    stop_saying();
    // Nothing that leads out of the container is taken into it.
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (const int fd : {0, 1, 2}) ::dup2(null, fd);
    if (::dup2(out.get(), kept) != kept && out.get() != kept) ::_exit(1);
    ::syscall(SYS_close_range, kept + 1, ~0U, 0U);
    ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    ::signal(SIGPIPE, SIG_DFL);
    const auto text = tell();
    ::_exit(text && write_all(*text) && ::getppid() == parent ? 0 : 1);
  }
  out.reset();
  std::string text;
  const auto until = std::chrono::steady_clock::now() + patience;
  bool whole = false;
  for (char some[4096]; text.size() <= most;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    pollfd wait{in.get(), POLLIN, 0};
    const int ready = left.count() <= 0 ? 0 : ::poll(&wait, 1, static_cast<int>(left.count()));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) break;
    const ssize_t n = ::read(in.get(), some, sizeof some);
    if (n <= 0) {
      whole = n == 0;
      break;
    }
    text.append(some, static_cast<std::size_t>(n));
  }
  if (!whole) {
    ::kill(child, SIGKILL);
    say("what is in '{}' was not told within {} seconds and {} MiB", place.name(), patience.count(),
        most >> 20U);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!whole || status != 0) return {};
  return text;
}

/// Those that it has started end with it. A change of the user forgets it: to be called after.
void end_with_parent() { ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); }

}  // namespace

void leave_own_file() {
  const Fd own(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  const int seals = ::fcntl(own.get(), F_GET_SEALS);
  struct stat st {};
  if (::geteuid() != 0 || (seals >= 0 && (seals & F_SEAL_WRITE) != 0) ||
      ::fstat(own.get(), &st) != 0)
    return;
  constexpr unsigned executable = 0x10U;  // MFD_EXEC, Linux 6.3
  constexpr unsigned usual = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  Fd copy(::memfd_create("condroid-lxc", usual | executable));
  if (!copy.valid()) copy = Fd(::memfd_create("condroid-lxc", usual));
  off_t at = 0;
  while (copy.valid() && at < st.st_size)
    if (::sendfile(copy.get(), own.get(), &at, static_cast<std::size_t>(st.st_size - at)) <= 0)
      return;
  if (::fcntl(copy.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) !=
      0)
    return;
  std::string words = read_all(AT_FDCWD, "/proc/self/cmdline");
  std::vector<char*> argv;
  for (std::size_t i = 0; i < words.size(); i = words.find('\0', i) + 1)
    argv.push_back(words.data() + i);
  argv.push_back(nullptr);
  ::syscall(SYS_execveat, copy.get(), "", argv.data(), environ, AT_EMPTY_PATH);
}

std::optional<std::string> ask_inside(const Place& place, const InsideWork& work) {
  return in_a_process(place, [&]() -> std::optional<std::string> {
    const auto pid = place.client().init_pid();
    if (!pid) return {};
    const Fd process(
        ::open(fmt::format("/proc/{}", pid->value).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    // Who had the number before and after this has it meanwhile.
    const auto again = place.client().init_pid();
    if (!process.valid() || !again || again->value != pid->value) return {};
    const std::string sockets = read_all(process.get(), "net/unix");
    if (!enter(process.get())) return {};
    end_with_parent();
    // Its children are in the pid namespace: who answers there wants those who ask to be.
    const pid_t child = ::fork();
    if (child == 0) {
      end_with_parent();
      ::_exit(write_all(work(sockets)) ? 0 : 1);
    }
    int status = 1;
    while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (child < 0 || status != 0) return {};
    return "";
  });
}

std::optional<std::string> ask_below(const Place& place, const std::string& root,
                                     const InsideWork& work) {
  return in_a_process(place, [&]() -> std::optional<std::string> {
    const Fd top(::open(root.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!top.valid() || ::fchdir(top.get()) != 0) return {};
    // A user may have a root of his own in a user namespace of his own.
    if (::chroot(".") != 0 && (::unshare(CLONE_NEWUSER) != 0 || ::chroot(".") != 0)) return {};
    if (::chdir("/") != 0) return {};
    end_with_parent();
    return work({});
  });
}
