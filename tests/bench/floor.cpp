#include "floor.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>

#include "bare_netlink.hpp"
#include "floor_child.hpp"

// clone3(2) that may give the child a stack of its own: the child calls fn(arg) and exits with what
// that returns. glibc has no wrapper for it, and clone(2) cannot express CLONE_INTO_CGROUP.
extern "C" long bench_clone3(clone_args* args, std::size_t size, int (*fn)(void*), void* arg);
#if defined(__x86_64__)
__asm__(
    ".pushsection .text\n"
    ".globl bench_clone3\n"
    ".type bench_clone3, @function\n"
    "bench_clone3:\n"
    "  mov %rcx, %r8\n"  // the syscall instruction overwrites rcx
    "  mov $435, %eax\n"
    "  syscall\n"
    "  test %rax, %rax\n"
    "  jz 1f\n"
    "  ret\n"
    "1:\n"
    "  xor %ebp, %ebp\n"
    // With stack 0 the child goes on where the parent's stack pointer was: inside a call, so 8
    // bytes off what a function may expect before it is called. (On aarch64 sp is a multiple of 16
    // at all times.)
    "  and $-16, %rsp\n"
    "  mov %r8, %rdi\n"
    "  call *%rdx\n"
    "  mov %eax, %edi\n"
    "  mov $231, %eax\n"
    "  syscall\n"
    ".size bench_clone3, . - bench_clone3\n"
    ".popsection\n");
#elif defined(__aarch64__)
__asm__(
    ".pushsection .text\n"
    ".globl bench_clone3\n"
    ".type bench_clone3, %function\n"
    "bench_clone3:\n"
    "  mov x8, #435\n"
    "  svc #0\n"
    "  cbz x0, 1f\n"
    "  ret\n"
    "1:\n"
    "  mov x29, #0\n"
    "  mov x0, x3\n"
    "  blr x2\n"
    "  mov x8, #94\n"
    "  svc #0\n"
    ".size bench_clone3, . - bench_clone3\n"
    ".popsection\n");
#else
#error "floor.cpp: no clone3 for this architecture"
#endif

namespace bench {

Shared* shared() {
  static Shared* const page = [] {
    void* at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? nullptr : static_cast<Shared*>(at);
  }();
  return page;
}

std::uint64_t now() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(t.tv_nsec);
}

void must(long result, const char* what) {
  if (result >= 0) return;
  shared()->error = errno;
  shared()->what = what;
  ::_exit(111);
}

bool failed(FloorFailure* failure, const char* what) {
  failure->what = what;
  failure->error = errno;
  return false;
}

namespace {

alignas(64) char child_stack[32 * 1024];

template <std::size_t Size, typename... Args>
bool format(char (&to)[Size], const char* text, Args... args) {
  const int length = std::snprintf(to, Size, text, args...);
  if (length >= 0 && static_cast<std::size_t>(length) < Size) return true;
  errno = ENAMETOOLONG;
  return false;
}

long futex(std::atomic<std::uint32_t>* word, int op, std::uint32_t value) {
  return ::syscall(SYS_futex, word, op, value, nullptr, nullptr, 0);
}

struct Node {
  const char* path;
  const char* host;
  unsigned major;
  unsigned minor;
};
constexpr Node nodes[] = {
    {"dev/full", "/dev/full", 1, 7},       {"dev/null", "/dev/null", 1, 3},
    {"dev/random", "/dev/random", 1, 8},   {"dev/tty", "/dev/tty", 5, 0},
    {"dev/urandom", "/dev/urandom", 1, 9}, {"dev/zero", "/dev/zero", 1, 5},
};

struct Link {
  const char* to;
  const char* path;
};
constexpr Link links[] = {
    {"/proc/self/fd", "dev/fd"},       {"/proc/self/fd/0", "dev/stdin"},
    {"/proc/self/fd/1", "dev/stdout"}, {"/proc/self/fd/2", "dev/stderr"},
    {"pts/ptmx", "dev/ptmx"},
};

bool write_text(int directory, const char* path, const char* text) {
  const int fd = ::openat(directory, path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const auto length = static_cast<ssize_t>(std::strlen(text));
  const bool good = ::write(fd, text, static_cast<std::size_t>(length)) == length;
  const int error = errno;
  ::close(fd);
  errno = error;
  return good;
}

}  // namespace

bool Floor::prepare(const Work& work, FloorClone how, FloorFailure* failure) {
  work_ = work;
  how_ = how;
  if (shared() == nullptr) return failed(failure, "mmap");
  clone_flags_ = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC;
  if (work_.net) clone_flags_ |= CLONE_NEWNET;
  if (work_.user) clone_flags_ |= CLONE_NEWUSER;
  if (how_ == FloorClone::memory_shared) clone_flags_ |= CLONE_VM;
  // A cgroup namespace is rooted where its maker is, so with cgroups the child makes it when it has
  // moved.
  if (work_.cgroup_ns && work_.cgroup_count == 0) clone_flags_ |= CLONE_NEWCGROUP;

  if (!format(id_map_, "0 %u 65536\n", work_.id_base)) return failed(failure, "id map");
  if (work_.bridge[0] != '\0') {
    if (netlink_ < 0) netlink_ = bare_socket();
    bridge_ = netlink_ < 0 ? 0 : bare_index(netlink_, work_.bridge);
    if (bridge_ == 0) return failed(failure, "finding the bridge");
  }
  for (int i = 0; i < work_.cgroup_count; ++i) {
    if (!format(cgroup_[i], "%s/floor.%d", work_.cgroups[i].parent, ::getpid()))
      return failed(failure, "cgroup");
  }
  return true;
}

bool Floor::make_cgroups(FloorFailure* failure) {
  for (int i = 0; i < work_.cgroup_count; ++i) {
    const CgroupDirectory& c = work_.cgroups[i];
    if (::mkdir(cgroup_[i], 0755) != 0) return failed(failure, "mkdir cgroup");
    const int directory = ::open(cgroup_[i], O_DIRECTORY | O_PATH | O_CLOEXEC);
    if (directory < 0) return failed(failure, "open cgroup");
    for (const char* file = nullptr; (file = c.values.next(file)) != nullptr;) {
      const char* const value = c.values.next(file);
      if (!write_text(directory, file, value)) return failed(failure, "write to a cgroup");
      file = value;
    }
    cgroup_fd_[i] = directory;
    if (c.v2) continue;
    cgroup_fd_[i] = ::openat(directory, "tasks", O_WRONLY | O_CLOEXEC);
    if (cgroup_fd_[i] < 0) return failed(failure, "open tasks");
    ::close(directory);
  }
  return true;
}

bool Floor::remove_cgroups(FloorFailure* failure) {
  for (int i = 0; i < work_.cgroup_count; ++i) {
    ::close(cgroup_fd_[i]);
    if (::rmdir(cgroup_[i]) != 0) return failed(failure, "rmdir cgroup");
  }
  return true;
}

bool Floor::write_id_map(int pid, FloorFailure* failure) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
  if (!write_text(AT_FDCWD, path, id_map_)) return failed(failure, "write uid_map");
  std::snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
  if (!write_text(AT_FDCWD, path, id_map_)) return failed(failure, "write gid_map");
  return true;
}

bool Floor::make_interface(int pid, FloorFailure* failure) {
  char name[16];
  if (!format(name, "fl%x.%x", ::getpid(), ++interfaces_)) return failed(failure, "a name");
  errno = bare_make_veth(netlink_, name, pid, bridge_);
  if (errno != 0) return failed(failure, "making a veth");
  host_end_ = bare_index(netlink_, name);
  return true;
}

void Floor::let_go_on() {
  shared()->mapped.store(1, std::memory_order_release);
  futex(&shared()->mapped, FUTEX_WAKE, 1);
}

bool Floor::launch(std::uint64_t* nanoseconds, FloorFailure* failure) {
  Shared* const page = shared();
  page->what = nullptr;
  page->mapped.store(0, std::memory_order_relaxed);

  const std::uint64_t start = now();
  if (!make_cgroups(failure)) return false;
  clone_args args{};
  args.flags = clone_flags_;
  args.exit_signal = SIGCHLD;
  if (how_ == FloorClone::memory_shared) {
    args.stack = reinterpret_cast<std::uintptr_t>(child_stack);
    args.stack_size = sizeof child_stack;
  }
  for (int i = 0; i < work_.cgroup_count; ++i) {
    if (!work_.cgroups[i].v2) continue;
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<std::uint64_t>(cgroup_fd_[i]);
  }
  const long pid = bench_clone3(&args, sizeof args, &Floor::child_entry, this);
  if (pid < 0) {
    errno = static_cast<int>(-pid);
    return failed(failure, "clone3");
  }
  if ((work_.user && !write_id_map(static_cast<int>(pid), failure)) ||
      (bridge_ != 0 && !make_interface(static_cast<int>(pid), failure))) {
    ::kill(static_cast<pid_t>(pid), SIGKILL);
    ::waitpid(static_cast<pid_t>(pid), nullptr, __WALL);
    return false;
  }
  if (work_.user || bridge_ != 0) let_go_on();
  int status = 0;
  if (::waitpid(static_cast<pid_t>(pid), &status, __WALL) != pid) return failed(failure, "waitpid");
  // Its namespace answers for the address until the kernel has taken it apart.
  if (bridge_ != 0) (void)bare_set_down(netlink_, host_end_);
  if (!remove_cgroups(failure)) return false;
  *nanoseconds = now() - start;

  if (page->what != nullptr) {
    *failure = {page->what, page->error};
    return false;
  }
  if (status != 0) {
    *failure = {WIFSIGNALED(status) ? "the container was killed" : "the container failed", ECHILD};
    return false;
  }
  return true;
}

int Floor::child_entry(void* self) { return static_cast<Floor*>(self)->child(); }

int Floor::child() {
  // Errors are seen by their result everywhere below, but errno is only good while parent and
  // child, which share it, do not both make calls: the parent waits.
  must(::prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl(PR_SET_PDEATHSIG)");
  if (work_.user || bridge_ != 0)
    while (shared()->mapped.load(std::memory_order_acquire) == 0)
      futex(&shared()->mapped, FUTEX_WAIT, 0);
  if (work_.user) {
    must(::setresgid(0, 0, 0), "setresgid");
    must(::setresuid(0, 0, 0), "setresuid");
    must(::prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl(PR_SET_PDEATHSIG)");
  }
  for (int i = 0; i < work_.cgroup_count; ++i) {
    if (!work_.cgroups[i].v2) must(::write(cgroup_fd_[i], "0", 1), "write tasks");
  }
  if (work_.cgroup_ns && work_.cgroup_count > 0)
    must(::unshare(CLONE_NEWCGROUP), "unshare(CLONE_NEWCGROUP)");

  must(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount private");
  must(::mount(work_.root, work_.root, nullptr, MS_BIND | MS_REC, nullptr), "bind root");
  must(::chdir(work_.root), "chdir");
  unsigned long root_flags = MS_NODEV;
  if (work_.read_only_root) root_flags |= MS_RDONLY;
  must(::mount(nullptr, ".", nullptr, MS_BIND | MS_REMOUNT | root_flags, nullptr), "remount root");
  set_up_dev();
  must(::mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr), "mount proc");
  constexpr unsigned long sys_flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
  if (work_.sysfs == SysfsUse::fresh) {
    must(::mount("sysfs", "sys", "sysfs", sys_flags, nullptr), "mount sysfs");
  } else if (work_.sysfs == SysfsUse::bound) {
    // Recursive, because a user namespace may not take mounts apart that it got from its parent.
    must(::mount("/sys", "sys", nullptr, MS_BIND | MS_REC, nullptr), "bind sys");
    must(::mount(nullptr, "sys", nullptr, MS_BIND | MS_REMOUNT | sys_flags | MS_RELATIME, nullptr),
         "remount sys");
  }
  if (work_.net) {
    // Interface ioctls are those of every socket family; AF_UNIX is the cheapest to make.
    const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    must(fd, "socket");
    ifreq request{};
    std::memcpy(request.ifr_name, "lo", 3);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    must(::ioctl(fd, SIOCSIFFLAGS, &request), "ioctl(SIOCSIFFLAGS)");
    ::close(fd);
  }
  if (bridge_ != 0) {
    must(write_text(AT_FDCWD, "proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1") ? 0 : -1,
         "switching IPv6 off");
    const int fd = bare_socket();
    must(fd, "socket");
    errno = bare_configure(fd);
    must(errno == 0 ? 0 : -1, "configuring the interface");
    ::close(fd);
  }
  // After what is written below /proc/sys.
  mask();
  must(::syscall(SYS_pivot_root, ".", "."), "pivot_root");
  must(::umount2(".", MNT_DETACH), "umount old root");
  must(::chdir("/"), "chdir /");
  must(::sethostname(work_.hostname, std::strlen(work_.hostname)), "sethostname");
  restrict_self(work_);
  char* argv[] = {work_.command, nullptr};
  char* environment[] = {nullptr};
  must(::execve(work_.command, argv, environment), "execve");
  return 0;
}

void Floor::set_up_dev() {
  must(::mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=0755,size=512k"), "mount dev");
  ::umask(0);
  for (const Node& node : nodes) {
    if (!work_.bind_nodes) {
      must(::mknod(node.path, S_IFCHR | 0666, makedev(node.major, node.minor)), "mknod");
    } else {
      must(::mknod(node.path, S_IFREG | 0666, 0), "mknod (target of a node)");
      must(::mount(node.host, node.path, nullptr, MS_BIND, nullptr), "bind node");
    }
  }
  for (const Link& link : links) must(::symlink(link.to, link.path), "symlink");
  must(::mkdir("dev/pts", 0755), "mkdir dev/pts");
  must(::mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
               "newinstance,ptmxmode=0666,mode=0620,gid=5,max=1024"),
       "mount devpts");
  if (work_.shm) {
    must(::mkdir("dev/shm", 01777), "mkdir dev/shm");
    must(::mount("tmpfs", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=64m"),
         "mount shm");
  }
  if (work_.mqueue) {
    must(::mkdir("dev/mqueue", 01777), "mkdir dev/mqueue");
    must(::mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr),
         "mount mqueue");
  }
  ::umask(022);
}

void Floor::mask() {
  // Which of them there are is asked here and every time: a module that was loaded since may have
  // brought one more. The first masked directory gets an empty read-only tmpfs, the others are
  // binds of it: one super block for all.
  const char* empty = nullptr;
  for (const char* p = nullptr; (p = work_.masked.next(p)) != nullptr;) {
    struct stat st {};
    if (::stat(p, &st) != 0) {
      if (errno != ENOENT) must(-1, "stat path to mask");
    } else if (!S_ISDIR(st.st_mode)) {
      must(::mount("dev/null", p, nullptr, MS_BIND, nullptr), "mask file");
    } else if (empty == nullptr) {
      must(::mount("tmpfs", p, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
                   "size=4k,mode=0555"),
           "mask directory");
      empty = p;
    } else {
      must(::mount(empty, p, nullptr, MS_BIND, nullptr), "mask directory");
    }
  }
  for (const char* p = nullptr; (p = work_.read_only.next(p)) != nullptr;) {
    if (::mount(p, p, nullptr, MS_BIND | MS_REC, nullptr) != 0) {
      if (errno != ENOENT) must(-1, "bind read-only path");
      continue;
    }
    must(::mount(nullptr, p, nullptr,
                 MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr),
         "remount read-only path");
  }
}

void restrict_self(const Work& work) {
  if (work.own_keyring)
    must(::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr, 0, 0, 0), "keyctl");
  if (work.new_session) must(::setsid(), "setsid");
  if (work.close_descriptors) must(::syscall(SYS_close_range, 3U, ~0U, 0U), "close_range");
  if (work.drop_groups) must(::syscall(SYS_setgroups, 0, nullptr), "setgroups");
  if (work.limit_capabilities) {
    for (int c = 0; c <= CAP_LAST_CAP; ++c) {
      if (((work.capabilities >> c) & 1U) == 0) must(::prctl(PR_CAPBSET_DROP, c, 0, 0, 0), "prctl");
    }
    // What exec gives to root is the bounding set, so the other sets need no call of their own but
    // this.
    __user_cap_header_struct header{};
    header.version = _LINUX_CAPABILITY_VERSION_3;
    const auto low = static_cast<std::uint32_t>(work.capabilities);
    const auto high = static_cast<std::uint32_t>(work.capabilities >> 32U);
    const __user_cap_data_struct data[2] = {{low, low, 0}, {high, high, 0}};
    must(::syscall(SYS_capset, &header, data), "capset");
  }
  if (work.no_new_privs) must(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl");
  if (work.filter_size != 0) {
    struct {
      std::uint16_t size;
      const void* filter;
    } const program{work.filter_size, work.filter};
    must(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "seccomp");
  }
}

}  // namespace bench
