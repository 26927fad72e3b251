// Android's process 1 as far as its world goes: says on standard output what it finds there, a line
// "name=value" each, logs to /dev/kmsg as init does, and ends as init does. Static: a root needs
// nothing else. What it is to do stands in androidboot.fake_* words, of /proc/cmdline or its
// arguments:
//
//   androidboot.fake_end=wait        until SIGTERM, then status 0; the default
//   androidboot.fake_end=reboot      reboot(2): a restart; poweroff likewise
//   androidboot.fake_end=exit
//   androidboot.fake_binder=manager  is the context manager of /dev/binder, and answers;
//                                    client asks whether there is one
#include <dirent.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

extern char** environ;

namespace {

std::string error_name(int e) {
  if (e == 0) return "ok";
  const char* name = strerrorname_np(e);
  return name != nullptr ? name : std::to_string(e);
}
/// "ok", or the name of errno.
std::string outcome(long result) { return error_name(result < 0 ? errno : 0); }

void say(const std::string& name, const std::string& value) {
  const std::string line = name + "=" + value + "\n";
  (void)!::write(1, line.data(), line.size());
}

void log_line(const char* text) {
  const int fd = ::open("/dev/kmsg", O_WRONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return;
  const std::string line = std::string("<6>") + text + "\n";
  (void)!::write(fd, line.data(), line.size());
  ::close(fd);
}

std::string read_file(const std::string& path) {
  std::string text;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  char some[4096];
  for (ssize_t n = 0; (n = ::read(fd, some, sizeof some)) > 0;)
    text.append(some, static_cast<std::size_t>(n));
  ::close(fd);
  return text;
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> list;
  std::string word;
  for (const char c : text + at) {
    if (c != at) {
      word += c;
      continue;
    }
    if (!word.empty()) list.push_back(word);
    word.clear();
  }
  return list;
}

std::string write_to(const char* path, const char* text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return outcome(-1);
  const long n = ::write(fd, text, std::strlen(text));
  const std::string said = outcome(n);
  ::close(fd);
  return said;
}

// ---- its world ----------------------------------------------------------------------------------

void tell_process(int argc, char** argv) {
  for (int i = 0; i < argc; ++i) say("arg" + std::to_string(i), argv[i]);
  for (char** e = environ; *e != nullptr; ++e) say("env", *e);
  say("pid", std::to_string(::getpid()));
  const mode_t mask = ::umask(0);
  say("umask", std::to_string(mask));
  char cwd[256] = "?";
  (void)!::getcwd(cwd, sizeof cwd);
  say("cwd", cwd);
  const std::pair<const char*, int> limits[] = {{"nice", RLIMIT_NICE},
                                                {"nofile", RLIMIT_NOFILE},
                                                {"memlock", RLIMIT_MEMLOCK},
                                                {"core", RLIMIT_CORE}};
  for (const auto& [name, which] : limits) {
    rlimit r{};
    ::getrlimit(static_cast<__rlimit_resource_t>(which), &r);
    say(std::string("rlimit.") + name,
        std::to_string(r.rlim_cur) + " " + std::to_string(r.rlim_max));
  }
  for (const std::string& line : split(read_file("/proc/self/status"), '\n'))
    for (const char* key :
         {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp:"})
      if (line.rfind(key, 0) == 0) {
        const std::size_t colon = line.find(':');
        say(line.substr(0, colon), line.substr(line.find_first_not_of(" \t", colon + 1)));
      }
}

void tell_mounts() {
  for (const std::string& line : split(read_file("/proc/self/mountinfo"), '\n')) {
    const std::vector<std::string> w = split(line, ' ');
    std::size_t dash = 0;
    while (dash < w.size() && w[dash] != "-") ++dash;
    if (dash + 2 < w.size() && w.size() > 5) say("mount:" + w[4], w[dash + 1] + " " + w[5]);
    if (dash + 3 < w.size() && w.size() > 5) say("super:" + w[4], w[dash + 3]);
  }
}

void tell_nodes(const std::string& dir, int depth = 0) {
  DIR* d = ::opendir(dir.c_str());
  if (d == nullptr) return;
  while (const dirent* e = ::readdir(d)) {
    const std::string name = e->d_name;
    if (name == "." || name == "..") continue;
    const std::string path = dir + "/" + name;
    struct stat st {};
    if (::lstat(path.c_str(), &st) < 0) continue;
    char text[256];
    if (S_ISCHR(st.st_mode)) {
      std::snprintf(text, sizeof text, "c %u:%u %04o %u:%u", major(st.st_rdev), minor(st.st_rdev),
                    st.st_mode & 07777U, st.st_uid, st.st_gid);
      say("node:" + path, text);
      const int fd = ::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
      say("open:" + path, outcome(fd));
      if (fd >= 0) ::close(fd);
    } else if (S_ISLNK(st.st_mode)) {
      char to[256] = "";
      (void)!::readlink(path.c_str(), to, sizeof to - 1);
      say("link:" + path, to);
    } else if (S_ISDIR(st.st_mode)) {
      std::snprintf(text, sizeof text, "%04o %u:%u", st.st_mode & 07777U, st.st_uid, st.st_gid);
      say("dir:" + path, text);
      if (depth < 1 && name != "pts") tell_nodes(path, depth + 1);
    }
  }
  ::closedir(d);
}

/// A device of the host's that the filter must keep closed, whoever makes a node of it.
void tell_other_devices() {
  const char* const path = "/dev/fake-loop";
  say("make:7:0", outcome(::mknod(path, S_IFBLK | 0600, makedev(7, 0))));
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  say("open:7:0", outcome(fd));
  if (fd >= 0) ::close(fd);
  ::unlink(path);
}

void tell_files() {
  say("cmdline", split(read_file("/proc/cmdline") + "\n", '\n').empty()
                     ? ""
                     : split(read_file("/proc/cmdline"), '\n')[0]);
  for (const std::string& line : split(read_file("/proc/bootconfig"), '\n'))
    say("bootconfig", line);
  for (const char* file : {"/vendor/waydroid.prop", "/default.prop", "/vendor/build.prop"})
    for (const std::string& line : split(read_file(file), '\n')) {
      const std::size_t equals = line.find('=');
      if (equals != std::string::npos)
        say("property:" + line.substr(0, equals), line.substr(equals + 1));
    }
  for (const char* part : {"/vendor", "/product", "/system_ext", "/odm", "/system"})
    for (const std::string& line : split(read_file(std::string(part) + "/etc/fake-part"), '\n'))
      say(std::string("part:") + part, line);
  for (const char* path : {"/made-by-init", "/vendor/made-by-init", "/data/made-by-init",
                           "/dev/made-by-init", "/dev/socket/made-by-init"}) {
    const int fd = ::open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    say(std::string("write:") + path, outcome(fd));
    if (fd >= 0) ::close(fd);
  }
  struct stat st {};
  if (::stat("/data", &st) == 0) {
    say("data.owner", std::to_string(st.st_uid) + ":" + std::to_string(st.st_gid));
    say("data.chown", outcome(::chown("/data", 1000, 1000)));
  }
}

void tell_kernel() {
  for (const char* path :
       {"/proc/sys/vm/mmap_rnd_bits", "/proc/sys/kernel/kptr_restrict", "/proc/sys/kernel/sysrq",
        "/proc/sys/kernel/panic_on_oops", "/proc/sys/net/ipv4/ip_forward"})
    say(std::string("write:") + path, write_to(path, "1\n"));
  for (const char* path : {"/proc/sysrq-trigger", "/sys/power/state", "/sys/power/wake_lock",
                           "/proc/vmallocinfo", "/proc/kcore"}) {
    struct stat st {};
    const bool there = ::stat(path, &st) == 0;
    const bool null = there && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
    say(std::string("hidden:") + path, !there ? "missing" : null ? "yes" : "no");
  }
  for (const char* path :
       {"/proc/sys/net/ipv4/ping_group_range", "/proc/sys/net/unix/max_dgram_qlen",
        "/proc/sys/net/ipv4/fwmark_reflect"}) {
    std::string text = read_file(path);
    for (char& c : text)
      if (c == '\t' || c == '\n') c = ' ';
    while (!text.empty() && text.back() == ' ') text.pop_back();
    say(std::string("setting:") + path, text);
  }
  const char* const group = "/sys/fs/cgroup/uid_1000";
  const std::string made = outcome(::mkdir(group, 0755));
  say("cgroup.mkdir", made);
  if (made == "ok") {
    const pid_t child = ::fork();
    if (child == 0) {
      ::pause();
      ::_exit(0);
    }
    say("cgroup.procs",
        write_to("/sys/fs/cgroup/uid_1000/cgroup.procs", std::to_string(child).c_str()));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    say("cgroup.rmdir", outcome(::rmdir(group)));
  }
}

/// What the second stage does, where a failure is the end of it.
void tell_second_stage() {
  say("second.shared", outcome(::mount(nullptr, "/", nullptr, MS_SHARED | MS_REC, nullptr)));
  for (const char* dir : {"/apex", "/linkerconfig", "/bootstrap-apex"})
    say(std::string("second.mount:") + dir,
        outcome(::mount("tmpfs", dir, "tmpfs", MS_NOEXEC | MS_NOSUID | MS_NODEV, "mode=0755")));
  const int old = ::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
  say("second.unshare", outcome(::unshare(CLONE_NEWNS)));
  say("second.setns", outcome(::setns(old, CLONE_NEWNS)));
  ::close(old);
}

// ---- the filter ---------------------------------------------------------------------------------

struct Call {
  const char* name;
  long number;
  long a, b, c;
};

/// One call in a process of its own, since it may be killed for it.
std::string try_call(const Call& call) {
  int ends[2];
  if (::pipe(ends) < 0) return outcome(-1);
  const pid_t child = ::fork();
  if (child == 0) {
    errno = 0;
    const long r = ::syscall(call.number, call.a, call.b, call.c, 0L, 0L);
    const int e = r < 0 ? errno : 0;
    (void)!::write(ends[1], &e, sizeof e);
    ::_exit(0);
  }
  ::close(ends[1]);
  int e = -1;
  const bool answered = ::read(ends[0], &e, sizeof e) == static_cast<ssize_t>(sizeof e);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGSYS ? "SIGSYS" : "signal";
  return answered ? error_name(e) : "?";
}

void tell_filter() {
  const Call calls[] = {
      {"init_module", __NR_init_module, 0, 0, 0},
      {"finit_module", __NR_finit_module, -1, 0, 0},
      {"delete_module", __NR_delete_module, 0, 0, 0},
      {"kexec_load", __NR_kexec_load, 0, 0, 0},
      {"kexec_file_load", __NR_kexec_file_load, -1, -1, 0},
      {"open_by_handle_at", __NR_open_by_handle_at, -1, 0, 0},
      // Of what is only pretended each argument is one that the kernel would refuse.
      {"adjtimex", __NR_adjtimex, 1, 0, 0},
      {"clock_adjtime", __NR_clock_adjtime, 0, 1, 0},
      {"clock_settime", __NR_clock_settime, 0, 1, 0},
      {"settimeofday", __NR_settimeofday, 1, 0, 0},
      {"add_key", __NR_add_key, 1, 1, 0},
      {"keyctl", __NR_keyctl, 9999, 0, 0},
      {"request_key", __NR_request_key, 1, 1, 0},
      {"swapon", __NR_swapon, 1, 0, 0},
      {"swapoff", __NR_swapoff, 1, 0, 0},
      {"ioctl.BINDER_FREEZE", __NR_ioctl, -1, 0x400c620e, 0},
      {"ioctl.BINDER_FREEZE.high", __NR_ioctl, -1, static_cast<long>(0x100000000L | 0x400c620eL),
       0},
      {"ioctl.other", __NR_ioctl, -1, 0x400c620d, 0},
      // Never to be closed: EINVAL or EBADF is the kernel's own answer.
      {"setns", __NR_setns, -1, 0, 0},
      {"unshare", __NR_unshare, 0, 0, 0},
      {"memfd_create", __NR_memfd_create, 0, 0, 0},
      {"seccomp", __NR_seccomp, 99, 0, 0},
      {"bpf", __NR_bpf, 99999, 0, 0},
  };
  for (const Call& call : calls) say(std::string("call:") + call.name, try_call(call));
}

// ---- binder -------------------------------------------------------------------------------------

constexpr unsigned long set_context_mgr = 0x40046207, version_request = 0xc0046209,
                        write_read = 0xc0306201;

struct WriteRead {
  std::uint64_t write_size, write_consumed, write_buffer, read_size, read_consumed, read_buffer;
};
#pragma pack(push, 1)
struct Transaction {  // struct binder_transaction_data of a 64-bit kernel
  std::uint64_t target, cookie;
  std::uint32_t code, flags;
  std::int32_t sender_pid;
  std::uint32_t sender_euid;
  std::uint64_t data_size, offsets_size, buffer, offsets;
};
struct Message {
  std::uint32_t command;
  Transaction t;
};
#pragma pack(pop)
static_assert(sizeof(Transaction) == 64);
constexpr std::uint32_t bc_transaction = 0x40406300, bc_reply = 0x40406301,
                        bc_enter_looper = 0x630c, br_transaction = 0x80407202,
                        br_reply = 0x80407203, br_dead_reply = 0x7205, br_failed_reply = 0x7211,
                        br_noop = 0x720c, br_complete = 0x7206;

int open_binder(const char* path) {
  const int fd = ::open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd >= 0) (void)::mmap(nullptr, 64 * 1024, PROT_READ, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
  return fd;
}

/// One exchange; the commands that came are looked through until `wanted` gives a word.
template <class F>
std::string talk(int fd, const void* out, std::size_t size, F wanted) {
  WriteRead wr{size, 0, reinterpret_cast<std::uint64_t>(out), 0, 0, 0};
  alignas(8) static char in[4096];
  for (int i = 0; i < 1000; ++i) {
    wr.read_size = sizeof in;
    wr.read_consumed = 0;
    wr.read_buffer = reinterpret_cast<std::uint64_t>(in);
    if (::ioctl(fd, write_read, &wr) < 0 && errno != EAGAIN) return outcome(-1);
    for (std::size_t at = 0; at + 4 <= wr.read_consumed;) {
      std::uint32_t command = 0;
      std::memcpy(&command, in + at, 4);
      if (const char* word = wanted(command, in + at + 4)) return word;
      at += 4 + ((command >> 16U) & 0x3fffU);
    }
    wr.write_size = wr.write_consumed = 0;
    pollfd waiter{fd, POLLIN, 0};
    ::poll(&waiter, 1, 20);
  }
  return "silence";
}

std::string ask_manager(int fd) {
  Message m{bc_transaction, {}};
  m.t.code = 0x5f504e47;  // PING
  return talk(fd, &m, sizeof m, [](std::uint32_t command, const char*) -> const char* {
    if (command == br_reply) return "answered";
    if (command == br_dead_reply) return "dead";
    if (command == br_failed_reply) return "failed";
    return nullptr;
  });
}

[[noreturn]] void be_manager(int fd) {
  const std::uint32_t enter = bc_enter_looper;
  WriteRead only{sizeof enter, 0, reinterpret_cast<std::uint64_t>(&enter), 0, 0, 0};
  (void)::ioctl(fd, write_read, &only);
  for (;;) {
    Message reply{bc_reply, {}};
    const std::string got =
        talk(fd, nullptr, 0, [](std::uint32_t command, const char*) -> const char* {
          return command == br_transaction ? "asked" : nullptr;
        });
    if (got == "asked")
      (void)talk(fd, &reply, sizeof reply, [](std::uint32_t command, const char*) -> const char* {
        return command == br_complete || command == br_noop ? "sent" : nullptr;
      });
  }
}

void tell_binder(const std::string& role) {
  for (const char* path : {"/dev/binder", "/dev/hwbinder", "/dev/vndbinder"}) {
    const int fd = ::open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
      say(std::string("binder:") + path, outcome(fd));
      continue;
    }
    std::int32_t version = 0;
    say(std::string("binder:") + path,
        ::ioctl(fd, version_request, &version) == 0 ? std::to_string(version) : outcome(-1));
    ::close(fd);
  }
  if (role == "manager") {
    int ends[2];
    if (::pipe(ends) < 0) return;
    if (::fork() == 0) {
      const int fd = open_binder("/dev/binder");
      const int zero = 0;
      const std::string became = outcome(::ioctl(fd, set_context_mgr, zero));
      say("binder.manager", became);
      (void)!::write(ends[1], "x", 1);
      ::close(ends[1]);
      if (became == "ok") be_manager(fd);
      ::_exit(0);
    }
    ::close(ends[1]);
    char c = 0;
    (void)!::read(ends[0], &c, 1);
    ::close(ends[0]);
  }
  if (role.empty()) return;
  const int fd = open_binder("/dev/binder");
  say("binder.ask", fd < 0 ? outcome(fd) : ask_manager(fd));
  struct {
    std::uint32_t pid, enable, timeout;
  } freeze{1, 1, 100};
  say("binder.freeze", outcome(::ioctl(fd, 0x400c620e, &freeze)));
}

// ---- its end ------------------------------------------------------------------------------------

bool may_reboot() {
  for (const std::string& line : split(read_file("/proc/self/status"), '\n'))
    if (line.rfind("CapBnd:", 0) == 0)
      return ((std::strtoull(line.c_str() + 8, nullptr, 16) >> 22U) & 1U) != 0;
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  const bool second = argc > 1 && std::strcmp(argv[1], "second_stage") == 0;
  // A first stage that goes on where it fails.
  if (::access("/proc/self", F_OK) != 0) {
    say("first.proc", outcome(::mount("proc", "/proc", "proc", 0, "hidepid=2,gid=3009")));
    say("first.sys", outcome(::mount("sysfs", "/sys", "sysfs", 0, nullptr)));
    say("first.pts", outcome(::mkdir("/dev/pts", 0755)));
    say("first.kmsg", outcome(::mknod("/dev/kmsg", S_IFCHR | 0600, makedev(1, 11))));
  }
  log_line(second ? "init: init second stage started!" : "init: init first stage started!");
  std::string end = "wait", role;
  std::vector<std::string> words = split(read_file("/proc/cmdline"), ' ');
  for (int i = 1; i < argc; ++i) words.emplace_back(argv[i]);
  for (const std::string& line : words) {
    const std::string word = line.substr(0, line.find('\n'));
    constexpr std::size_t end_size = sizeof "androidboot.fake_end=" - 1;
    constexpr std::size_t role_size = sizeof "androidboot.fake_binder=" - 1;
    if (word.rfind("androidboot.fake_end=", 0) == 0) end = word.substr(end_size);
    if (word.rfind("androidboot.fake_binder=", 0) == 0) role = word.substr(role_size);
  }
  tell_process(argc, argv);
  tell_mounts();
  tell_nodes("/dev");
  tell_other_devices();
  tell_files();
  tell_kernel();
  tell_filter();
  tell_binder(role);
  tell_second_stage();
  log_line("init: starting service 'servicemanager'...");
  log_line("init: starting service 'zygote'...");

  const bool reboots = may_reboot();
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &term, nullptr);
  // As AOSP has it: who may call reboot(2) does not listen to SIGTERM.
  const int signals = reboots ? -1 : ::signalfd(-1, &term, SFD_CLOEXEC);
  say("reboots", reboots ? "yes" : "no");
  log_line("init: Boot completed");
  say("ready", "yes");
  if (end == "exit") return 0;
  if (end == "reboot" || end == "poweroff") {
    const long r = ::syscall(
        __NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
        end == "reboot" ? LINUX_REBOOT_CMD_RESTART2 : LINUX_REBOOT_CMD_POWER_OFF, "bootloader");
    say("reboot", outcome(r));
    return 3;
  }
  if (signals < 0)
    for (;;) ::pause();
  signalfd_siginfo got{};
  while (::read(signals, &got, sizeof got) == static_cast<ssize_t>(sizeof got))
    if (got.ssi_pid == 0) {  // from outside of its world
      say("end", "SIGTERM");
      return 0;
    }
  return 4;
}
