// What the tests run inside containers: one small static program, so that a root file system needs
// nothing else.
//
//   payload probe    prints how it is confined, one "key=value" a line; paths may follow
//   payload exit 3   the other verbs are in the table at the end
//
// Reads /proc where that says most, and asks the kernel itself where a mount could tell a lie.
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "payload_calls.hpp"

extern char** environ;

namespace {

// ---- small things -------------------------------------------------------------------------------

struct Text {
  char bytes[65536];
  size_t size = 0;
  bool there = false;
};

/// A whole (small) file; an empty Text with `there` unset when it cannot be read.
const Text& slurp(const char* path) {
  static Text text;
  text = Text{};
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  text.there = true;
  while (text.size + 1 < sizeof text.bytes) {
    const ssize_t n = read(fd, text.bytes + text.size, sizeof text.bytes - 1 - text.size);
    if (n <= 0) break;
    text.size += static_cast<size_t>(n);
  }
  close(fd);
  text.bytes[text.size] = 0;
  return text;
}

/// The file in one line, runs of white space as one blank.
void print_file(const char* key, const char* path) {
  const Text& text = slurp(path);
  std::printf("%s=", key);
  if (!text.there) std::printf("(%s)", strerrorname_np(errno));
  bool blank = true;  // leading white space goes
  for (size_t i = 0; i < text.size; ++i) {
    const char c = text.bytes[i];
    if (c == ' ' || c == '\t' || c == '\n') {
      if (!blank && i + 1 < text.size) std::putchar(' ');
      blank = true;
    } else {
      std::putchar(c);
      blank = false;
    }
  }
  std::putchar('\n');
}

void print_link(const char* key, const char* path) {
  char to[PATH_MAX];
  const ssize_t n = readlink(path, to, sizeof to - 1);
  if (n < 0) {
    std::printf("%s=(%s)\n", key, strerrorname_np(errno));
  } else {
    to[n] = 0;
    std::printf("%s=%s\n", key, to);
  }
}

[[noreturn]] void rest() {
  for (;;) pause();
}

/// Unbuffered: whoever waits for it must see it now.
void say(const char* text) {
  const ssize_t n = write(1, text, std::strlen(text));
  if (n < 0) _exit(99);
}

// ---- probe --------------------------------------------------------------------------------------

void probe_status() {
  static const char* const wanted[] = {"Uid",    "Gid",    "Groups",  "CapInh",     "CapPrm",
                                       "CapEff", "CapBnd", "CapAmb",  "SigBlk",     "SigIgn",
                                       "SigCgt", "Umask",  "Threads", "NoNewPrivs", "Seccomp"};
  const Text& status = slurp("/proc/self/status");
  if (!status.there) std::printf("status=(none)\n");
  for (const char* line = status.bytes; *line != 0;) {
    const char* end = std::strchr(line, '\n');
    if (end == nullptr) end = line + std::strlen(line);
    for (const char* key : wanted) {
      const size_t n = std::strlen(key);
      if (std::strncmp(line, key, n) != 0 || line[n] != ':') continue;
      std::printf("%s=", key);
      bool blank = true;
      for (const char* p = line + n + 1; p < end; ++p) {
        const bool white = *p == ' ' || *p == '\t';
        if (!(white && blank) && !(white && p + 1 == end)) std::putchar(white ? ' ' : *p);
        blank = white;
      }
      std::putchar('\n');
    }
    line = *end == 0 ? end : end + 1;
  }
}

void probe_kernel_view() {
  // The same from system calls: a /proc that lies would be seen.
  std::printf("pid=%d\nppid=%d\n", getpid(), getppid());
  std::printf("call.uid=%u %u\ncall.gid=%u %u\n", getuid(), geteuid(), getgid(), getegid());
  gid_t groups[256];
  const int n = getgroups(256, groups);
  std::printf("call.groups=");
  for (int i = 0; i < n; ++i) std::printf("%s%u", i > 0 ? " " : "", groups[i]);
  std::printf("\ncall.no_new_privs=%d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  std::uint64_t bounding = 0, ambient = 0;
  for (unsigned c = 0; c < 64; ++c) {
    if (prctl(PR_CAPBSET_READ, c, 0, 0, 0) == 1) bounding |= std::uint64_t{1} << c;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, c, 0, 0) == 1)
      ambient |= std::uint64_t{1} << c;
  }
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  syscall(SYS_capget, &head, data);
  const auto join = [](std::uint32_t low, std::uint32_t high) {
    return (static_cast<unsigned long long>(high) << 32U) | low;
  };
  std::printf("call.bounding=%016llx\ncall.ambient=%016llx\n",
              static_cast<unsigned long long>(bounding), static_cast<unsigned long long>(ambient));
  std::printf("call.effective=%016llx\ncall.permitted=%016llx\ncall.inheritable=%016llx\n",
              join(data[0].effective, data[1].effective),
              join(data[0].permitted, data[1].permitted),
              join(data[0].inheritable, data[1].inheritable));
  std::printf("securebits=%d\n", prctl(PR_GET_SECUREBITS, 0, 0, 0, 0));
  std::printf("session.leader=%s\ngroup.leader=%s\n", getsid(0) == getpid() ? "yes" : "no",
              getpgrp() == getpid() ? "yes" : "no");
  const mode_t mask = umask(0);
  umask(mask);
  std::printf("call.umask=%04o\n", mask);
  unsigned long cookie = 0;  // PR_SCHED_CORE, PR_SCHED_CORE_GET
  (void)prctl(62, 0, 0, 0, &cookie);
  std::printf("core_cookie=%lu\n", cookie);
  std::printf("personality=%lx\n", static_cast<unsigned long>(personality(0xffffffff)));
  errno = 0;
  std::printf("nice=%d\n", getpriority(PRIO_PROCESS, 0));
  std::printf("policy=%d\n", sched_getscheduler(0));
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  sched_getaffinity(0, sizeof cpus, &cpus);
  std::printf("cpus=");
  for (int i = 0, first = 1; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &cpus)) std::printf("%s%d", first != 0 ? "" : ",", i), first = 0;
  std::printf("\n");
  int death = -1;
  prctl(PR_GET_PDEATHSIG, &death, 0, 0, 0);
  std::printf("death_signal=%d\n", death);
  struct utsname names {};
  uname(&names);
  std::printf("hostname=%s\ndomainname=%s\nmachine=%s\n", names.nodename, names.domainname,
              names.machine);
  static const struct {
    const char* name;
    int number;
  } limits[] = {{"cpu", 0},       {"fsize", 1}, {"data", 2},    {"stack", 3},
                {"core", 4},      {"rss", 5},   {"nproc", 6},   {"nofile", 7},
                {"memlock", 8},   {"as", 9},    {"locks", 10},  {"sigpending", 11},
                {"msgqueue", 12}, {"nice", 13}, {"rtprio", 14}, {"rttime", 15}};
  for (const auto& l : limits) {
    rlimit64 now{};
    syscall(SYS_prlimit64, 0, l.number, nullptr, &now);
    std::printf("rlimit.%s=%llu %llu\n", l.name, static_cast<unsigned long long>(now.rlim_cur),
                static_cast<unsigned long long>(now.rlim_max));
  }
}

void probe_files() {
  print_link("cwd", "/proc/self/cwd");
  print_link("root", "/proc/self/root");
  for (const char* n : {"net", "mnt", "pid", "user", "ipc", "uts", "cgroup", "time"}) {
    char key[32], path[64];
    std::snprintf(key, sizeof key, "ns.%s", n);
    std::snprintf(path, sizeof path, "/proc/self/ns/%s", n);
    print_link(key, path);
  }
  for (const char* n : {"uid_map", "gid_map", "setgroups", "oom_score_adj", "timens_offsets",
                        "coredump_filter", "timerslack_ns"}) {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/%s", n);
    print_file(n, path);
  }
  const Text& groups = slurp("/proc/self/cgroup");
  for (const char* line = groups.bytes; *line != 0;) {
    const char* end = std::strchr(line, '\n');
    if (end == nullptr) end = line + std::strlen(line);
    std::printf("cgroup=%.*s\n", static_cast<int>(end - line), line);
    line = *end == 0 ? end : end + 1;
  }
}

void probe_descriptors() {
  DIR* d = opendir("/proc/self/fd");
  if (d == nullptr) {
    std::printf("fds=(none)\n");
    return;
  }
  const int own = dirfd(d);
  int list[4096];
  int n = 0;
  while (const dirent* e = readdir(d))
    if (e->d_name[0] != '.' && std::atoi(e->d_name) != own && n < 4096)
      list[n++] = std::atoi(e->d_name);
  closedir(d);
  std::sort(list, list + n);
  for (int i = 0; i < n; ++i) {
    struct stat st {};
    const char* kind = "gone";
    if (fstat(list[i], &st) == 0)
      kind = S_ISREG(st.st_mode)    ? "file"
             : S_ISDIR(st.st_mode)  ? "directory"
             : S_ISCHR(st.st_mode)  ? (isatty(list[i]) != 0 ? "tty" : "device")
             : S_ISFIFO(st.st_mode) ? "pipe"
             : S_ISSOCK(st.st_mode) ? "socket"
                                    : "other";
    const int flags = fcntl(list[i], F_GETFD);
    std::printf("fd.%d=%s%s\n", list[i], kind, (flags & FD_CLOEXEC) != 0 ? " cloexec" : "");
  }
}

void probe_terminal() {
  for (int fd = 0; fd < 3; ++fd) {
    char name[PATH_MAX];
    if (isatty(fd) == 0) continue;
    const int e = ttyname_r(fd, name, sizeof name);
    std::printf("ttyname.%d=%s\n", fd, e == 0 ? name : strerrorname_np(e));
    winsize size{};
    ioctl(fd, TIOCGWINSZ, &size);
    std::printf("winsize.%d=%ux%u\n", fd, size.ws_row, size.ws_col);
  }
  const int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
  std::printf("controlling_terminal=%s\n", fd >= 0 ? "yes" : strerrorname_np(errno));
  if (fd >= 0) {
    std::printf("foreground=%s\n", tcgetpgrp(fd) == getpgrp() ? "yes" : "no");
    close(fd);
  }
}

void probe_mounts() {
  const Text& text = slurp("/proc/self/mountinfo");
  for (const char* line = text.bytes; *line != 0;) {
    const char* end = std::strchr(line, '\n');
    if (end == nullptr) end = line + std::strlen(line);
    char root[512], target[512], options[256], rest[1024];
    // id parent dev root target options [propagation...] - type source super
    if (std::sscanf(line, "%*d %*d %*s %511s %511s %255s %1023[^\n]", root, target, options,
                    rest) == 4) {
      const bool shared = std::strstr(rest, "shared:") != nullptr,
                 slave = std::strstr(rest, "master:") != nullptr;
      const char* type = std::strstr(rest, "- ");
      char fs[64] = "?";
      if (type != nullptr) std::sscanf(type, "- %63s", fs);
      std::printf(
          "mount=%s %s %s %s%s\n", target, fs, options,
          shared  ? "shared"
          : slave ? "slave"
                  : "private",
          std::strstr(rest, "idmapped") != nullptr || std::strstr(options, "idmapped") != nullptr
              ? " idmapped"
              : "");
    }
    line = *end == 0 ? end : end + 1;
  }
}

void probe_devices() {
  DIR* d = opendir("/dev");
  if (d == nullptr) return;
  char names[128][64];
  int n = 0;
  while (const dirent* e = readdir(d))
    if (std::strcmp(e->d_name, ".") != 0 && std::strcmp(e->d_name, "..") != 0 && n < 128)
      std::snprintf(names[n++], sizeof names[0], "%.63s", e->d_name);
  closedir(d);
  std::qsort(names, static_cast<size_t>(n), sizeof names[0], [](const void* a, const void* b) {
    return std::strcmp(static_cast<const char*>(a), static_cast<const char*>(b));
  });
  for (int i = 0; i < n; ++i) {
    char path[80];
    std::snprintf(path, sizeof path, "/dev/%.70s", names[i]);
    struct stat st {};
    if (lstat(path, &st) < 0) continue;
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
      std::printf("dev.%s=%s %u:%u %04o %u:%u\n", names[i], S_ISCHR(st.st_mode) ? "char" : "block",
                  major(st.st_rdev), minor(st.st_rdev), st.st_mode & 07777, st.st_uid, st.st_gid);
    else
      std::printf("dev.%s=%s\n", names[i],
                  S_ISLNK(st.st_mode)   ? "link"
                  : S_ISDIR(st.st_mode) ? "directory"
                                        : "file");
  }
}

void probe_path(const char* path) {
  struct stat st {};
  if (stat(path, &st) < 0) {
    std::printf("path.%s=%s\n", path, strerrorname_np(errno));
    return;
  }
  const bool null = S_ISCHR(st.st_mode) && major(st.st_rdev) == 1 && minor(st.st_rdev) == 3;
  int entries = -1;
  if (S_ISDIR(st.st_mode)) {
    entries = 0;
    if (DIR* d = opendir(path)) {
      while (const dirent* e = readdir(d))
        if (e->d_name[0] != '.') ++entries;
      closedir(d);
    }
  }
  struct statvfs fs {};
  statvfs(path, &fs);
  std::printf("path.%s=%s%s\n", path,
              null                  ? "null"
              : entries == 0        ? "empty"
              : S_ISDIR(st.st_mode) ? "directory"
                                    : "file",
              (fs.f_flag & ST_RDONLY) != 0 ? " read-only" : "");
}

void probe_rest(char** argv) {
  for (char** e = environ; *e != nullptr; ++e) std::printf("env=%s\n", *e);
  for (char** a = argv; *a != nullptr; ++a) std::printf("arg=%s\n", *a);
  const int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  std::printf("loopback=%s\n", ioctl(s, SIOCGIFFLAGS, &request) < 0 ? strerrorname_np(errno)
                               : (request.ifr_flags & IFF_UP) != 0  ? "up"
                                                                    : "down");
  close(s);
  // A session keyring of one's own is empty and has nobody else's name.
  std::int32_t keys[64];
  const long n =
      syscall(SYS_keyctl, 11 /* KEYCTL_READ */, -3 /* the session's */, keys, sizeof keys, 0);
  if (n < 0)
    std::printf("keyring=%s\n", strerrorname_np(errno));
  else
    std::printf("keyring=%ld keys\n", n / 4);
  char label[256] = {};
  if (syscall(SYS_keyctl, 17 /* KEYCTL_GET_SECURITY */, -3, label, sizeof label - 1, 0) > 0)
    std::printf("keyring_label=%s\n", label);
  for (const char* path :
       {"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/sysrq-trigger",
        "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/sys/kernel/uevent_helper",
        "/sys/fs/cgroup/cgroup.procs", "/proc/acpi", "/proc/scsi", "/sys/firmware", "/"})
    probe_path(path);
  for (char** a = argv; *a != nullptr; ++a)
    if (**a == '/' && a != argv) probe_path(*a);
}

int probe(int /*argc*/, char** argv) {
  probe_status();
  probe_kernel_view();
  probe_files();
  probe_descriptors();
  probe_terminal();
  probe_mounts();
  probe_devices();
  probe_rest(argv);
  return std::fflush(stdout) == 0 ? 0 : 1;
}

/// The same when its standard input has ended: once whoever started it let go.
int late(int argc, char** argv) {
  char byte = 0;
  ssize_t n = 0;
  while ((n = read(0, &byte, 1)) > 0) {
  }
  return n == 0 ? probe(argc, argv) : 1;
}

// ---- the other verbs ----------------------------------------------------------------------------

int do_exit(int argc, char** argv) { return argc > 2 ? std::atoi(argv[2]) : 0; }

/// SIGSEGV is forced by the kernel: it ends even the first process of a pid namespace.
int do_crash(int /*argc*/, char** /*argv*/) {
  volatile int* nowhere = nullptr;
  *nowhere = 1;
  return 0;
}

int do_raise(int argc, char** argv) {
  const int number = argc > 2 ? std::atoi(argv[2]) : SIGTERM;
  signal(number, SIG_DFL);
  kill(getpid(), number);
  return 90;  // the first process of a pid namespace cannot kill itself
}

int do_pause(int /*argc*/, char** /*argv*/) {
  say("ready\n");
  rest();
}

volatile std::sig_atomic_t exit_code = 0;

int do_term(int argc, char** argv) {
  exit_code = argc > 2 ? std::atoi(argv[2]) : 0;
  signal(SIGTERM, [](int) { _exit(exit_code); });
  say("ready\n");
  rest();
}

/// Names every signal that arrives, ends at SIGTERM.
int do_signals(int /*argc*/, char** /*argv*/) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  say("ready\n");
  for (;;) {
    const int number = sigwaitinfo(&all, nullptr);
    if (number < 0) continue;
    char line[64];
    std::snprintf(line, sizeof line, "%s\n", sigabbrev_np(number));
    say(line);
    if (number == SIGTERM) return 0;
  }
}

/// The size of its terminal, at first and each time that it is told of another one.
int do_window(int /*argc*/, char** /*argv*/) {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGWINCH);
  sigprocmask(SIG_BLOCK, &one, nullptr);
  for (;;) {
    winsize size{};
    char line[64];
    if (ioctl(0, TIOCGWINSZ, &size) < 0) return 91;
    std::snprintf(line, sizeof line, "size %ux%u\n", size.ws_row, size.ws_col);
    say(line);
    while (sigwaitinfo(&one, nullptr) != SIGWINCH) {
    }
  }
}

void defy() {
  prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
  for (int number = 1; number < 32; ++number) signal(number, SIG_IGN);
}

/// What does not want to die: no death signal, no signals, children that left the session.
int do_stubborn(int argc, char** argv) {
  defy();
  signal(SIGCHLD, SIG_DFL);
  for (int i = argc > 2 ? std::atoi(argv[2]) : 2; i > 0; --i)
    if (fork() == 0) {
      setsid();
      if (fork() == 0) {
        defy();
        rest();
      }
      rest();
    }
  say("ready\n");
  rest();
}

/// A dot each millisecond, for ever.
int do_tick(int /*argc*/, char** /*argv*/) {
  for (;;) {
    say(".");
    usleep(1000);
  }
}

int reboot_as(const char* how) {
  const int command = std::strcmp(how, "restart") == 0 ? static_cast<int>(RB_AUTOBOOT)
                      : std::strcmp(how, "halt") == 0  ? static_cast<int>(RB_HALT_SYSTEM)
                                                       : static_cast<int>(RB_POWER_OFF);
  if (getpid() > 2) return 96;  // a pid of the machine's: not there
  reboot(command);
  std::printf("reboot=%s\n", strerrorname_np(errno));
  return 95;
}

/// reboot(2) for "restart", "halt" or "power_off", when its input ends.
int do_reboot(int argc, char** argv) {
  char c;
  while (read(0, &c, 1) > 0) {
  }
  return reboot_as(argc > 2 ? argv[2] : "restart");
}

/// Appends what it is to a file, also says it, and asks for a restart until the file has so many
/// lines.
int do_lives(int argc, char** argv) {
  if (argc < 4) return 2;
  char line[512], net[64] = {}, user[64] = {}, tty[64] = {};
  (void)!readlink("/proc/self/ns/net", net, sizeof net - 1);
  (void)!readlink("/proc/self/ns/user", user, sizeof user - 1);
  if (ttyname_r(0, tty, sizeof tty) != 0) std::strcpy(tty, "none");
  utsname host{};
  uname(&host);
  int lives = 1;
  const Text& before = slurp(argv[2]);
  for (size_t i = 0; i < before.size; ++i) lives += before.bytes[i] == '\n' ? 1 : 0;
  const Text& boot = slurp("/proc/sys/kernel/random/boot_id");
  std::snprintf(line, sizeof line, "life=%d pid=%d %s %s tty=%s host=%s boot=%.36s\n", lives,
                getpid(), net, user, tty, host.nodename, boot.bytes);
  const int fd = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0 || write(fd, line, std::strlen(line)) < 0) return 91;
  close(fd);
  say(line);
  if (argc > 4 && std::strcmp(argv[4], "echo") == 0) {
    // A line from the terminal comes back, in the words of a terminal that is not raw.
    char word[64] = {};
    ssize_t n = read(0, word, sizeof word - 1);
    if (n <= 0) return 92;
    std::snprintf(line, sizeof line, "heard %s", word);
    say(line);
    // As a full-screen program leaves it.
    termios raw{};
    tcgetattr(0, &raw);
    cfmakeraw(&raw);
    tcsetattr(0, TCSANOW, &raw);
  }
  return lives < std::atoi(argv[3]) ? reboot_as("restart") : 7;
}

/// Children of one kind that is hard to be rid of; says "ready" when they are there.
int do_beast(int argc, char** argv) {
  const char* kind = argc > 2 ? argv[2] : "";
  const auto is = [kind](const char* name) { return std::strcmp(kind, name) == 0; };
  int there[2];
  if (pipe(there) < 0) return 91;
  const auto arrived = [&] { return write(there[1], ".", 1) == 1; };
  const auto wait_for = [&] {
    char c;
    return read(there[0], &c, 1) == 1;
  };
  if (is("daemon")) {  // forked twice, in a session of its own, deaf
    if (fork() == 0) {
      setsid();
      if (fork() == 0) {
        defy();
        arrived();
        rest();
      }
      _exit(0);
    }
    if (!wait_for()) return 92;
  } else if (is("stopped")) {
    const pid_t child = fork();
    if (child == 0) rest();
    kill(child, SIGSTOP);
    if (waitpid(child, nullptr, WUNTRACED) != child) return 92;
  } else if (is("traced")) {  // stands in a stop of its tracer's, which ignores all
    const pid_t tracer = fork();
    if (tracer == 0) {
      const pid_t child = fork();
      if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        raise(SIGSTOP);
        rest();
      }
      waitpid(child, nullptr, 0);
      ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACEEXIT);
      defy();
      arrived();
      rest();
    }
    if (!wait_for()) return 92;
  } else if (is("nested")) {  // a pid namespace in the pid namespace, with a deaf first process
    if (unshare(CLONE_NEWPID) < 0) return 93;
    if (fork() == 0) {
      defy();
      if (fork() == 0) {
        setsid();
        arrived();
        rest();
      }
      rest();
    }
    if (!wait_for()) return 92;
  } else if (is("vfork")) {  // waits for a child that shares its memory and never executes
    if (fork() == 0) {
      arrived();
      if (vfork() == 0)
        for (;;) pause();
      _exit(0);
    }
    if (!wait_for()) return 92;
  } else {
    return 2;
  }
  defy();
  say("ready\n");
  rest();
}

/// Ignores every signal, holds terminals open, and forks without end.
int do_siege(int argc, char** argv) {
  defy();
  for (int i = 0; i < 4; ++i)
    if (const int master = posix_openpt(O_RDWR | O_NOCTTY); master >= 0)
      if (grantpt(master) == 0 && unlockpt(master) == 0) open(ptsname(master), O_RDWR | O_NOCTTY);
  const int enough = argc > 2 ? std::atoi(argv[2]) : 50;
  for (int made = 0;;) {
    const pid_t child = fork();
    if (child == 0) {
      setsid();
      if (made % 2 == 0) continue;  // forks on
      usleep(20000);
      _exit(0);
    }
    if (child < 0) usleep(1000);
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    if (++made == enough && getpid() == 1) say("ready\n");
  }
}

/// A cgroup of its own making in `dir`, frozen, with a child in it. `dir` is its own cgroup's
/// directory.
int do_nest(int argc, char** argv) {
  if (argc < 3) return 2;
  char path[PATH_MAX];
  const auto put = [&](const char* file, const char* text) {
    std::snprintf(path, sizeof path, "%s/deep/deeper/%s", argv[2], file);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    const bool good = fd >= 0 && write(fd, text, std::strlen(text)) > 0;
    if (fd >= 0) close(fd);
    return good;
  };
  std::snprintf(path, sizeof path, "%s/deep", argv[2]);
  if (mkdir(path, 0755) < 0) return 91;
  std::snprintf(path, sizeof path, "%s/deep/deeper", argv[2]);
  if (mkdir(path, 0755) < 0) return 92;
  int there[2];
  if (pipe(there) < 0) return 93;
  if (fork() == 0) {
    defy();
    const bool in = put("cgroup.procs", "0");
    if (write(there[1], in ? "." : "!", 1) != 1) _exit(1);
    for (;;) usleep(1000);
  }
  char c = 0;
  if (read(there[0], &c, 1) != 1 || c != '.') return 94;
  const bool v2 = put("cgroup.freeze", "1");
  if (!v2 && !put("freezer.state", "FROZEN")) return 95;
  std::snprintf(path, sizeof path, "%s/deep/deeper/%s", argv[2],
                v2 ? "cgroup.events" : "freezer.state");
  while (std::strstr(slurp(path).bytes, v2 ? "frozen 1" : "FROZEN") == nullptr) usleep(1000);
  defy();
  say("ready\n");
  rest();
}

/// So many children that rest.
int do_crowd(int argc, char** argv) {
  for (int i = argc > 2 ? std::atoi(argv[2]) : 10; i > 0; --i) {
    const pid_t child = fork();
    if (child < 0) return 91;
    if (child == 0) rest();
  }
  say("ready\n");
  rest();
}

int do_eat(int argc, char** argv) {
  const size_t size = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
  void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return 91;
  for (size_t i = 0; i < size; i += 4096) static_cast<volatile char*>(p)[i] = 1;
  return 0;
}

/// A child is killed for memory, the command itself lives; with a further argument it stays.
int do_feed(int argc, char** argv) {
  const pid_t child = fork();
  if (child == 0) _exit(do_eat(argc, argv));
  int status = 0;
  waitpid(child, &status, 0);
  if (argc > 3) {
    say("ready\n");
    rest();
  }
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? 7 : 8;
}

int do_spin(int argc, char** argv) {
  const double most = argc > 2 ? std::atof(argv[2]) : 0.1;
  volatile unsigned x = 0;
  while (static_cast<double>(clock()) / CLOCKS_PER_SEC < most)
    for (int i = 0; i < 10000; ++i) x = x + 1;
  return 0;
}

/// Holds so much memory, uses so many seconds of a processor, and stays.
int do_use(int argc, char** argv) {
  if (argc < 4 || do_eat(argc, argv) != 0) return 91;
  do_spin(argc - 1, argv + 1);
  say("ready\n");
  rest();
}

/// So many children that want a processor all the time, until they are killed.
int do_burn(int argc, char** argv) {
  for (int i = argc > 2 ? std::atoi(argv[2]) : 2; i > 0; --i)
    if (fork() == 0)
      for (volatile unsigned x = 0;;) x = x + 1;
  say("ready\n");
  rest();
}

/// So many bytes of "0123456789..." to descriptor `fd`.
int do_say(int argc, char** argv) {
  size_t left = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
  const int fd = argc > 3 ? std::atoi(argv[3]) : 1;
  char block[10000];
  for (size_t i = 0; i < sizeof block; ++i) block[i] = static_cast<char>('0' + i % 10);
  while (left > 0) {
    const ssize_t n = write(fd, block, std::min(left, sizeof block));
    if (n <= 0) return 92;
    left -= static_cast<size_t>(n);
  }
  return 0;
}

/// Says something, then ends while a daemon of its own goes on holding standard output.
int do_daemon(int /*argc*/, char** /*argv*/) {
  int pair[2];
  if (pipe(pair) < 0) return 93;
  if (fork() == 0) {
    setsid();
    if (fork() == 0) {
      say("daemon\n");
      close(pair[0]);
      close(pair[1]);
      rest();
    }
    _exit(0);
  }
  close(pair[1]);
  char c;
  if (read(pair[0], &c, 1) != 0) return 94;
  say("last words\n");
  return 5;
}

int do_cat(int argc, char** argv) {
  const int fd = argc > 2 ? std::atoi(argv[2]) : 0;
  char block[4096];
  for (;;) {
    const ssize_t n = read(fd, block, sizeof block);
    if (n < 0) return 95;
    if (n == 0) return 0;
    if (write(1, block, static_cast<size_t>(n)) != n) return 96;
  }
}

/// A pseudoterminal of the container's own.
int do_pty(int /*argc*/, char** /*argv*/) {
  const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0) {
    std::printf("pty=%s\n", strerrorname_np(errno));
    return 0;
  }
  const char* name = ptsname(master);
  const int slave = name != nullptr ? open(name, O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;
  std::printf("pty=%s\nslave=%s\n", name, slave >= 0 ? "ok" : strerrorname_np(errno));
  return 0;
}

/// Opens each for reading, and reads a byte.
int do_peek(int argc, char** argv) {
  for (int i = 2; i < argc; ++i) {
    const int fd = open(argv[i], O_RDONLY | O_NOCTTY | O_CLOEXEC);
    unsigned char byte = 0;
    const ssize_t n = fd >= 0 ? read(fd, &byte, 1) : -1;
    if (n < 0)
      std::printf("%s=%s\n", argv[i], strerrorname_np(errno));
    else
      std::printf("%s=%s\n", argv[i], n == 0 ? "end" : "byte");
    if (fd >= 0) close(fd);
  }
  return 0;
}

/// Leaves orphans that end, then counts the zombies that /proc shows, once they have had their
/// time.
int do_orphans(int argc, char** argv) {
  const int count = argc > 2 ? std::atoi(argv[2]) : 5;
  for (int i = 0; i < count; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      if (fork() == 0) _exit(0);
      _exit(0);
    }
    waitpid(child, nullptr, 0);
  }
  int zombies = -1;
  for (int tries = 0; tries < 200 && zombies != 0; ++tries) {
    zombies = 0;
    DIR* d = opendir("/proc");
    if (d == nullptr) return 97;
    while (const dirent* e = readdir(d)) {
      if (e->d_name[0] < '0' || e->d_name[0] > '9') continue;
      char path[300];
      std::snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
      const Text& stat = slurp(path);
      const char* p = std::strrchr(stat.bytes, ')');
      if (p != nullptr && p[1] == ' ' && p[2] == 'Z') ++zombies;
    }
    closedir(d);
    if (zombies != 0) usleep(10000);
  }
  std::printf("pid=%d zombies=%d\n", getpid(), zombies);
  return 0;
}

int do_touch(int argc, char** argv) {
  for (int i = 2; i < argc; ++i) {
    const int fd = open(argv[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    std::printf("%s=%s\n", argv[i], fd >= 0 ? "ok" : strerrorname_np(errno));
    if (fd >= 0) {
      if (write(fd, "x", 1) != 1) std::printf("%s=short\n", argv[i]);
      close(fd);
    }
  }
  return 0;
}

/// Everything a payload would try on the tree it is given.
int do_ravage(int argc, char** argv) {
  for (int i = 2; i < argc; ++i) {
    char path[PATH_MAX];
    std::snprintf(path, sizeof path, "%s/new-file", argv[i]);
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    std::printf("create %s=%s\n", path, fd >= 0 ? "ok" : strerrorname_np(errno));
    if (fd >= 0) close(fd);
    std::snprintf(path, sizeof path, "%s/new-directory", argv[i]);
    std::printf("mkdir %s=%s\n", path, mkdir(path, 0777) == 0 ? "ok" : strerrorname_np(errno));
    std::printf("chmod %s=%s\n", argv[i],
                chmod(argv[i], 0700) == 0 ? "ok" : strerrorname_np(errno));
    std::snprintf(path, sizeof path, "%s/file", argv[i]);
    std::printf("unlink %s=%s\n", path, unlink(path) == 0 ? "ok" : strerrorname_np(errno));
  }
  return 0;
}

/// keep FILE MIB: writes that to the disk, and after a byte on standard input says what is in it.
int do_keep(int argc, char** argv) {
  if (argc < 4) return 2;
  const int fd = open(argv[2], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  static char block[1 << 20];
  const long blocks = std::atol(argv[3]);
  for (long i = 0; i < blocks; ++i) {
    std::memset(block, static_cast<int>(i), sizeof block);
    if (write(fd, block, sizeof block) != static_cast<ssize_t>(sizeof block)) return 1;
  }
  if (fsync(fd) != 0) return 1;
  std::puts("filled");
  std::fflush(stdout);
  if (read(0, block, 1) != 1) return 1;
  long same = 0;
  for (long i = 0; i < blocks; ++i) {
    if (pread(fd, block, sizeof block, i << 20) != static_cast<ssize_t>(sizeof block)) break;
    bool good = true;
    for (const char c : block) good = good && c == static_cast<char>(i);
    same += good ? 1 : 0;
  }
  std::printf("%ld the same\n", same);
  return 0;
}

/// Writes so many bytes into a new file; how far it came.
int do_fill(int argc, char** argv) {
  if (argc < 4) return 2;
  const int fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) {
    std::printf("open=%s\n", strerrorname_np(errno));
    return 0;
  }
  size_t left = std::strtoull(argv[3], nullptr, 10);
  const char block[65536] = {};
  const char* end = "ok";
  while (left > 0) {
    const ssize_t n = write(fd, block, std::min(left, sizeof block));
    if (n <= 0) {
      end = strerrorname_np(errno);
      break;
    }
    left -= static_cast<size_t>(n);
  }
  std::printf("fill=%s\n", end);
  close(fd);
  return 0;
}

/// Opens a file so many times, and writes 1000 bytes to it each time.
int do_reopen(int argc, char** argv) {
  if (argc < 4) return 2;
  char block[1000];
  std::memset(block, '.', sizeof block);
  for (int i = std::atoi(argv[3]); i > 0; --i) {
    const int fd = open(argv[2], O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) return 91;
    if (write(fd, block, sizeof block) != sizeof block) return 92;
    close(fd);
  }
  return 0;
}

/// How many children it may have, of so many; with a further argument all of them stay.
int do_forks(int argc, char** argv) {
  int made = 0;
  for (int i = argc > 2 ? std::atoi(argv[2]) : 5; i > 0; --i) {
    const pid_t child = fork();
    if (child == 0) rest();
    if (child > 0) ++made;
  }
  std::printf("forks=%d\n", made);
  if (argc > 3) {
    std::fflush(stdout);
    rest();
  }
  return 0;
}

/// As long as it takes: so many milliseconds of processor time, of one thread.
double spin_for(double milliseconds) {
  const clock_t begin = clock();
  volatile unsigned x = 0;
  while (static_cast<double>(clock() - begin) * 1000 / CLOCKS_PER_SEC < milliseconds)
    for (int i = 0; i < 10000; ++i) x = x + 1;
  return milliseconds;
}

int fork_and_count(int wanted) {
  pid_t children[64];
  int made = 0;
  for (; wanted > 0; --wanted) {
    const pid_t child = fork();
    if (child == 0) rest();
    if (child > 0 && made < 64) children[made++] = child;
  }
  for (int i = 0; i < made; ++i) {
    kill(children[i], SIGKILL);
    waitpid(children[i], nullptr, 0);
  }
  return made;
}

/// Past the page cache, so that whoever counts bytes knows whose they are.
const char* write_direct(const char* path, size_t size) {
  constexpr size_t block = 65536;
  void* p = mmap(nullptr, block, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const int fd = open(path, O_WRONLY | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
  if (fd < 0 || p == MAP_FAILED) return strerrorname_np(errno);
  const char* result = "ok";
  for (size_t done = 0; done < size; done += block)
    if (write(fd, p, block) != static_cast<ssize_t>(block)) result = strerrorname_np(errno);
  close(fd);
  munmap(p, block);
  return result;
}

/// Does what standard input says, a line each, and answers with a line: "eat BYTES" (keeps them),
/// "forks N", "spin MILLISECONDS" of processor time, "write FILE BYTES".
int do_obey(int /*argc*/, char** /*argv*/) {
  say("ready\n");
  char line[256], path[200], answer[64];
  for (;;) {
    size_t used = 0;
    for (char c = 0; c != '\n'; line[used++] = c)
      if (used + 1 == sizeof line || read(0, &c, 1) != 1) return 0;
    line[used] = 0;
    unsigned long n = 0;
    if (std::sscanf(line, "eat %lu", &n) == 1) {
      char bytes[32];
      std::snprintf(bytes, sizeof bytes, "%lu", n);
      char* args[] = {nullptr, nullptr, bytes};
      std::snprintf(answer, sizeof answer, "eat=%d\n", do_eat(3, args));
    } else if (std::sscanf(line, "forks %lu", &n) == 1) {
      std::snprintf(answer, sizeof answer, "forks=%d\n", fork_and_count(static_cast<int>(n)));
    } else if (std::sscanf(line, "spin %lu", &n) == 1) {
      std::snprintf(answer, sizeof answer, "spin=%.0f\n", spin_for(static_cast<double>(n)));
    } else if (std::sscanf(line, "write %199s %lu", path, &n) == 2) {
      std::snprintf(answer, sizeof answer, "write=%s\n", write_direct(path, n));
    } else {
      std::snprintf(answer, sizeof answer, "what?\n");
    }
    say(answer);
  }
}

/// Tries to turn a whole file system read-only, for everybody who has it mounted.
int do_remount(int argc, char** argv) {
  if (argc < 3) return 2;
  const int e = mount(nullptr, argv[2], nullptr, MS_REMOUNT | MS_RDONLY, nullptr);
  std::printf("remount=%s\n", e == 0 ? "ok" : strerrorname_np(errno));
  return 0;
}

int do_owner(int argc, char** argv) {
  for (int i = 2; i < argc; ++i) {
    struct stat st {};
    if (lstat(argv[i], &st) == 0)
      std::printf("%s=%u:%u %06o\n", argv[i], st.st_uid, st.st_gid, st.st_mode);
    else
      std::printf("%s=%s\n", argv[i], strerrorname_np(errno));
  }
  return 0;
}

int do_clock(int /*argc*/, char** /*argv*/) {
  for (const auto& [name, id] :
       {std::pair{"monotonic", CLOCK_MONOTONIC}, std::pair{"boottime", CLOCK_BOOTTIME}}) {
    timespec t{};
    clock_gettime(id, &t);
    std::printf("%s=%lld\n", name, static_cast<long long>(t.tv_sec) * 1000 + t.tv_nsec / 1000000);
  }
  return 0;
}

int do_list(int argc, char** argv) {
  for (int i = 2; i < argc; ++i) {
    DIR* d = opendir(argv[i]);
    std::printf("%s=%s\n", argv[i], d != nullptr ? "ok" : strerrorname_np(errno));
    if (d == nullptr) continue;
    while (const dirent* e = readdir(d)) std::printf("entry=%s\n", e->d_name);
    closedir(d);
  }
  return 0;
}

/// Prints the first line of each file.
int do_read(int argc, char** argv) {
  for (int i = 2; i < argc; ++i) print_file(argv[i], argv[i]);
  return 0;
}

int do_write(int argc, char** argv) {
  if (argc < 4) return 2;
  const int fd = open(argv[2], O_WRONLY | O_CLOEXEC);
  if (fd < 0) {
    std::printf("open=%s\n", strerrorname_np(errno));
    return 0;
  }
  const ssize_t n = write(fd, argv[3], std::strlen(argv[3]));
  std::printf("write=%s\n", n >= 0 ? "ok" : strerrorname_np(errno));
  close(fd);
  return 0;
}

/// Tries to get more than it was given.
int do_escalate(int /*argc*/, char** /*argv*/) {
  std::printf("setuid0=%s\n", setuid(0) == 0 ? "ok" : strerrorname_np(errno));
  std::printf("unshare_user=%s\n", unshare(CLONE_NEWUSER) == 0 ? "ok" : strerrorname_np(errno));
  std::printf("mknod=%s\n", mknod("/dev/mem-of-host", S_IFCHR | 0600, makedev(1, 1)) == 0
                                ? "ok"
                                : strerrorname_np(errno));
  std::printf("chroot=%s\n", chroot("/") == 0 ? "ok" : strerrorname_np(errno));
  std::printf("sethostname=%s\n", sethostname("x", 1) == 0 ? "ok" : strerrorname_np(errno));
  return 0;
}

/// Calls that somebody else may answer: each word is one, or "call:argument".
int do_ask(int argc, char** argv) {
  for (int i = 2; i < argc; ++i) {
    char* const call = argv[i];
    char* const colon = std::strchr(call, ':');
    const char* const argument = colon != nullptr ? colon + 1 : "";
    if (colon != nullptr) *colon = 0;
    const auto is = [call](const char* name) { return std::strcmp(call, name) == 0; };
    long result = 0;
    struct sysinfo info = {};
    if (is("getppid")) {
      result = syscall(SYS_getppid);
    } else if (is("mknod")) {
      result = syscall(SYS_mknodat, AT_FDCWD, argument, S_IFCHR | 0666, makedev(1, 3));
    } else if (is("mkdir")) {
      result = syscall(SYS_mkdirat, AT_FDCWD, argument, 0755);
    } else if (is("chdir")) {
      result = chdir(argument);
    } else if (is("sysinfo")) {
      result = sysinfo(&info);
      if (result == 0) result = info.uptime;
    } else if (is("null")) {
      const int fd = static_cast<int>(syscall(SYS_openat, AT_FDCWD, argument, O_WRONLY, 0));
      result = fd < 0 ? fd : write(fd, "gone", 4);
    } else if (is("open")) {
      const int fd = static_cast<int>(syscall(SYS_openat, AT_FDCWD, argument, O_RDONLY, 0));
      char text[64] = {};
      result = fd < 0 ? fd : read(fd, text, sizeof text - 1);
      if (result >= 0) {
        std::printf("open=%s\n", text);
        continue;
      }
    } else if (is("many")) {
      // Of four processes at once; how many had an answer of their own.
      const int count = std::atoi(argument);
      for (int child = 0; child < 4; ++child)
        if (fork() == 0) {
          int right = 0;
          for (int k = 0; k < count; ++k)
            if (syscall(SYS_getppid, child, k) == child * count + k) ++right;
          _exit(right == count ? 0 : 1);
        }
      for (int status = 0; wait(&status) > 0;) result += status == 0 ? 1 : 0;
    } else {
      return 2;
    }
    if (result < 0)
      std::printf("%s=%s\n", call, strerrorname_np(errno));
    else
      std::printf("%s=%ld\n", call, result);
    std::fflush(stdout);
  }
  return 0;
}

constexpr struct {
  const char* name;
  int (*run)(int, char**);
} verbs[] = {{"probe", probe},        {"late", late},          {"exit", do_exit},
             {"crash", do_crash},     {"raise", do_raise},     {"pause", do_pause},
             {"term", do_term},       {"signals", do_signals}, {"stubborn", do_stubborn},
             {"eat", do_eat},         {"feed", do_feed},       {"spin", do_spin},
             {"say", do_say},         {"daemon", do_daemon},   {"cat", do_cat},
             {"orphans", do_orphans}, {"touch", do_touch},     {"ravage", do_ravage},
             {"forks", do_forks},     {"reopen", do_reopen},   {"pty", do_pty},
             {"peek", do_peek},       {"owner", do_owner},     {"fill", do_fill},
             {"remount", do_remount}, {"clock", do_clock},     {"list", do_list},
             {"read", do_read},       {"write", do_write},     {"escalate", do_escalate},
             {"window", do_window},   {"use", do_use},         {"burn", do_burn},
             {"obey", do_obey},       {"tick", do_tick},       {"reboot", do_reboot},
             {"lives", do_lives},     {"beast", do_beast},     {"siege", do_siege},
             {"nest", do_nest},       {"crowd", do_crowd},     {"calls", do_calls},
             {"device", do_device},   {"ask", do_ask},         {"attack", do_attack},
             {"reach", do_reach},     {"serve", do_serve},     {"echo", do_echo},
             {"give", do_give},       {"call", do_call},       {"interfaces", do_interfaces},
             {"keep", do_keep}};

}  // namespace

int main(int argc, char** argv) {
  if (argc >= 2)
    for (const auto& verb : verbs)
      if (std::strcmp(argv[1], verb.name) == 0) return verb.run(argc, argv);
  std::fprintf(stderr, "payload: no such verb\n");
  return 2;
}
