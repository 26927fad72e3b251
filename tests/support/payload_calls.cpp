// Verb "calls": makes system calls that a filter may deny, and prints what came of each. Verb
// "device": makes nodes of devices, and opens them. Verb "reach": "read:PATH", "connect:PORT" and
// so on, and what came of each.
#include "payload_calls.hpp"

#include <fcntl.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

/// In a child, for good and all: "ok", the errno, or the signal that it died of.
template <class F>
void in_child(const char* name, F f) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    errno = 0;
    const long result = f();
    _exit(result >= 0 ? 0 : errno);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status))
    std::printf("%s=SIG%s\n", name, sigabbrev_np(WTERMSIG(status)));
  else
    std::printf("%s=%s\n", name,
                WEXITSTATUS(status) == 0 ? "ok" : strerrorname_np(WEXITSTATUS(status)));
}

long call(long nr, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  return syscall(nr, a, b, c, d, e);
}

/// The end of a child that a clone made; its parent goes on.
long cloned(long pid) {
  if (pid == 0) _exit(0);
  return pid;
}

long clone_user() { return cloned(call(SYS_clone, CLONE_NEWUSER | SIGCHLD)); }
long clone3_user() {
  std::uint64_t args[8] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD, 0, 0, 0};
  return cloned(call(SYS_clone3, reinterpret_cast<long>(args), sizeof args));
}
long clone3_plain() {
  std::uint64_t args[8] = {0, 0, 0, 0, SIGCHLD, 0, 0, 0};
  return cloned(call(SYS_clone3, reinterpret_cast<long>(args), sizeof args));
}
long perf() {
  perf_event_attr attr{};
  attr.size = sizeof attr;
  attr.type = PERF_TYPE_SOFTWARE;
  attr.config = PERF_COUNT_SW_DUMMY;
  attr.exclude_kernel = 1;
  return call(SYS_perf_event_open, reinterpret_cast<long>(&attr), 0, -1, -1, 0);
}
long ioctl_of(long request) { return call(SYS_ioctl, 99, request, 0); }
long io_uring() {
  char params[120] = {};
  return call(SYS_io_uring_setup, 4, reinterpret_cast<long>(params));
}
long int80() {
#if defined(__x86_64__)
  long result = 20;  // getpid of 32-bit programs
  __asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
  return result;
#else
  errno = ENOSYS;
  return -1;
#endif
}
/// The thread library asks for clone3 first, and has to find its way without.
long thread() {
  pthread_t other{};
  errno = pthread_create(
      &other, nullptr, [](void*) -> void* { return nullptr; }, nullptr);
  return errno == 0 && pthread_join(other, nullptr) == 0 ? 0 : -1;
}

struct {
  const char* name;
  long (*make)();
} const calls[] = {
    {"add_key", [] { return call(SYS_add_key, 0, 0, 0, 0, -3); }},
    {"bpf", [] { return call(SYS_bpf, 0, 0, 0); }},
    {"clone3", clone3_plain},
    {"clone3_user", clone3_user},
    {"clone_user", clone_user},
    {"getpid", [] { return call(SYS_getpid); }},
    {"getuid", [] { return call(SYS_getuid); }},
    {"int80", int80},
    {"io_uring", io_uring},
    {"kcmp", [] { return call(SYS_kcmp, getpid(), getpid(), 0, 0, 0); }},
    {"keyctl", [] { return call(SYS_keyctl, 0, -3, 0); }},
    {"new", [] { return call(4000); }},
    {"open_by_handle", [] { return call(SYS_open_by_handle_at, -1, 0, 0); }},
    {"perf", perf},
    {"sysinfo", [] { return call(SYS_sysinfo, 0); }},
    {"thread", thread},
    {"tioclinux", [] { return ioctl_of(TIOCLINUX); }},
    {"tiocsti", [] { return ioctl_of(TIOCSTI); }},
    {"tiocsti_high", [] { return ioctl_of(TIOCSTI | 0x100000000L); }},
    {"tiocgwinsz", [] { return ioctl_of(TIOCGWINSZ); }},
    {"unshare_files", [] { return call(SYS_unshare, CLONE_FILES); }},
    {"unshare_user", [] { return call(SYS_unshare, CLONE_NEWUSER); }},
    {"userfaultfd", [] { return call(SYS_userfaultfd, 1); }},
};

/// "made ok", "made EPERM", "EPERM": whether the node could be made, and then opened.
void try_device(mode_t kind, unsigned major, unsigned minor, int flags) {
  const char* path = "/dev/of-the-test";
  unlink(path);
  std::printf("%c%u:%u=", kind == S_IFBLK ? 'b' : 'c', major, minor);
  if (mknod(path, kind | 0600, makedev(major, minor)) != 0) {
    std::printf("%s\n", strerrorname_np(errno));
    return;
  }
  const int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC);
  std::printf("made %s\n", fd >= 0 ? "ok" : strerrorname_np(errno));
  if (fd >= 0) close(fd);
  unlink(path);
}

}  // namespace

int do_device(int argc, char** argv) {
  int i = 2;
  int flags = O_RDONLY;
  if (i < argc && std::strcmp(argv[i], "write") == 0) {
    flags = O_WRONLY;
    ++i;
  }
  for (; i + 2 < argc; i += 3)
    try_device(*argv[i] == 'b' ? S_IFBLK : S_IFCHR, static_cast<unsigned>(std::atoi(argv[i + 1])),
               static_cast<unsigned>(std::atoi(argv[i + 2])), flags);
  return 0;
}

namespace {

long reach_file(const char* path, int flags) {
  const int fd = open(path, flags | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
  return fd;
}

long reach_port(const char* port, bool to_connect) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<uint16_t>(std::atoi(port)));
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto* address = reinterpret_cast<const sockaddr*>(&a);
  return to_connect ? connect(s, address, sizeof a) : bind(s, address, sizeof a);
}

long reach_abstract(const char* name) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  std::strncpy(a.sun_path + 1, name, sizeof a.sun_path - 2);
  const int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  return connect(s, reinterpret_cast<const sockaddr*>(&a),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + std::strlen(name)));
}

long reach(const char* what, const char* to) {
  if (std::strcmp(what, "read") == 0) return reach_file(to, O_RDONLY);
  if (std::strcmp(what, "list") == 0) return reach_file(to, O_RDONLY | O_DIRECTORY);
  if (std::strcmp(what, "write") == 0) return reach_file(to, O_WRONLY);
  if (std::strcmp(what, "make") == 0) return reach_file(to, O_WRONLY | O_CREAT | O_EXCL);
  if (std::strcmp(what, "remove") == 0) return unlink(to);
  if (std::strcmp(what, "bind") == 0) return reach_port(to, false);
  if (std::strcmp(what, "connect") == 0) return reach_port(to, true);
  if (std::strcmp(what, "abstract") == 0) return reach_abstract(to);
  if (std::strcmp(what, "signal") == 0) return kill(std::atoi(to), 0);
  if (std::strcmp(what, "run") == 0) return execl(to, to, "exit", "0", nullptr);
  errno = ENOTSUP;
  return -1;
}

}  // namespace

int do_reach(int argc, char** argv) {
  for (int i = 2; i < argc; ++i) {
    char what[256] = {};
    std::strncpy(what, argv[i], sizeof what - 1);
    char* to = std::strchr(what, ':');
    if (to == nullptr) return 2;
    *to++ = 0;
    in_child(argv[i], [&] { return reach(what, to); });
  }
  return 0;
}

int do_calls(int argc, char** argv) {
  for (const auto& c : calls) {
    bool wanted = argc < 3;
    for (int i = 2; i < argc; ++i) wanted = wanted || std::strcmp(argv[i], c.name) == 0;
    if (wanted) in_child(c.name, c.make);
  }
  return 0;
}
