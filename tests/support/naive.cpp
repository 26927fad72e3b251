#include "naive.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/loop.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "forked.hpp"

namespace condroid::test {

namespace {

void so(bool good, const std::string& what) {
  if (!good) throw std::runtime_error(what + ": " + std::strerror(errno));
}
void put(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  so(fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()), path);
  ::close(fd);
}
bool is_directory(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

volatile pid_t first_process = -1;

/// ioctl(2) with this request, the whole of it, is denied.
void deny_request(unsigned request) {
  const auto low = static_cast<unsigned>(offsetof(seccomp_data, args[1]));
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 5),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low + 4),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, request, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{sizeof program / sizeof program[0], program};
  so(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) == 0, "filter");
}

class Launcher {
 public:
  Launcher(const Naive& how, int report) : n_(how), report_(report) {}

  /// Comes back in nobody: the command takes its place.
  void run() {
    if (!n_.keeps_terminal) {
      ::setsid();
      // Nothing ever comes there, and it ends with this process.
      int input[2];
      so(::pipe2(input, O_CLOEXEC) == 0 && ::dup2(input[0], 0) == 0, "pipe");
    }
    if (!n_.lock.empty())
      so(::open(n_.lock.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) >= 0, n_.lock);
    if (n_.leaks_directory) so(::dup2(::open("/", O_RDONLY | O_DIRECTORY), 30) == 30, "/");
    so(::unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | (n_.host_pids ? 0 : CLONE_NEWPID) |
                 (n_.host_cgroup ? 0 : CLONE_NEWCGROUP) | (n_.host_network ? 0 : CLONE_NEWNET)) ==
           0,
       "unshare");
    so(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "private");
    const pid_t child = ::fork();
    so(child >= 0, "fork");
    if (child != 0) {
      first_process = child;
      ::signal(SIGTERM, [](int) { ::kill(first_process, SIGKILL); });
      if (n_.attaches) attach(child);
      int status = 0;
      while (::waitpid(-1, &status, 0) != child) {
      }
      // Whoever wrote to it before was believed.
      const std::string said = "exit " + std::to_string(WEXITSTATUS(status)) + "\n";
      so(::write(report_, said.data(), said.size()) > 0, "report");
      ::_exit(0);
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int program = n_.program.empty() ? -1 : ::open(n_.program.c_str(), O_PATH | O_CLOEXEC);
    set_up();
    become();
    std::vector<std::string> words = n_.argv;
    if (program >= 0) words.insert(words.begin(), {n_.program, "attack", "launch"});
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    if (program >= 0) ::syscall(SYS_execveat, program, "", argv.data(), environ, AT_EMPTY_PATH);
    ::execv(argv[0], argv.data());
    so(false, "exec " + n_.argv[0]);
  }

 private:
  const Naive& n_;
  int report_;
  int proc_ = -1;  ///< The host's.

  /// Children of ours are in its pid namespace anyway.
  void attach(pid_t to) const {
    const int root = ::open("/", O_RDONLY | O_DIRECTORY);
    const auto pidfd = static_cast<int>(::syscall(SYS_pidfd_open, to, 0));
    if (::fork() != 0) return;
    so(root >= 0 && ::setns(pidfd, CLONE_NEWNS | CLONE_NEWUTS) == 0, "setns");
    give_up_rights();
    for (;;) ::pause();
  }

  /// Where something goes, as a path for mount(2).
  std::string place(const std::string& target, bool directory) const {
    const std::string path = n_.root + target;
    if (!n_.follows_links && !n_.looks_first) {
      const int root = ::open(n_.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
      open_how in_root{};
      in_root.flags = O_PATH | O_CLOEXEC;
      in_root.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
      const long fd = ::syscall(SYS_openat2, root, target.c_str(), &in_root, sizeof in_root);
      so(fd >= 0, target);
      return "/proc/self/fd/" + std::to_string(fd);
    }
    for (std::size_t slash = n_.root.size(); slash != std::string::npos;) {
      slash = path.find('/', slash + 1);
      const std::string part = path.substr(0, slash);
      struct stat st {};
      if (n_.looks_first && ::lstat(part.c_str(), &st) == 0 && S_ISLNK(st.st_mode)) {
        errno = ELOOP;
        so(false, part);
      }
      if (slash == std::string::npos && !directory)
        ::close(::open(part.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
      else
        ::mkdir(part.c_str(), 0755);
    }
    return path;
  }

  void bind(const std::string& source, const std::string& target, bool read_only) const {
    const std::string onto = place(target, is_directory(source));
    so(::mount(source.c_str(), onto.c_str(), nullptr, MS_BIND, nullptr) == 0, target);
    // By the path, since what was found lies below the new mount.
    if (read_only)
      so(::mount(nullptr, (n_.root + target).c_str(), nullptr,
                 MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr) == 0,
         target);
  }

  void overlay(const std::string& source, const std::string& target) const {
    const std::string layers = "lowerdir=" + source + ":" + n_.root + target;
    so(::mount("overlay", place(target, true).c_str(), "overlay", MS_RDONLY, layers.c_str()) == 0,
       layers);
  }

  Naive::Pairs mounts() const {
    if (!n_.lists_mounts) return n_.mounts;
    std::string text;
    for (const auto& [source, target] : n_.mounts) text += source + " " + target + "\n";
    Naive::Pairs list;
    std::istringstream lines(text);
    for (std::string line, source, target; std::getline(lines, line);) {
      std::istringstream words(line);
      words >> source >> target;
      list.emplace_back(source, target);
    }
    return list;
  }

  void mount_proc() const {
    so(::mount("proc", place(n_.proc, true).c_str(), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC,
               nullptr) == 0,
       n_.proc);
    if (n_.opens_kernel) return;
    const std::string proc = n_.root + n_.proc + "/";
    for (const char* name : {"sys", "sysrq-trigger"}) {
      const std::string path = proc + name;
      if (::mount(path.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) == 0)
        ::mount(nullptr, path.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr);
    }
    const std::string null = n_.masks_with_its ? n_.root + "/dev/null" : "/dev/null";
    for (const char* name : {"kcore", "keys", "timer_list"})
      if (const std::string path = proc + name; ::access(path.c_str(), F_OK) == 0)
        so(::mount(null.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) == 0, path);
  }

  void mount_image() const {
    int image = ::open(n_.image.c_str(), O_RDONLY | O_CLOEXEC);
    char label[17] = {};
    constexpr off_t place_of_label = 1024 + 120;
    so(::pread(image, label, sizeof label - 1, place_of_label) > 0, n_.image);
    so(label == n_.image_label, "another label");
    if (n_.opens_twice) image = ::open(n_.image.c_str(), O_RDONLY | O_CLOEXEC);
    const int control = ::open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    for (int tries = 0; tries < 100; ++tries) {
      const std::string device = "/dev/loop" + std::to_string(::ioctl(control, LOOP_CTL_GET_FREE));
      const int loop = ::open(device.c_str(), O_RDONLY | O_CLOEXEC);
      loop_config config{};
      config.fd = static_cast<unsigned>(image);
      config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_READ_ONLY;
      if (::ioctl(loop, LOOP_CONFIGURE, &config) < 0) continue;  // another's by now
      so(::mount(device.c_str(), n_.root.c_str(), "ext4", MS_RDONLY, nullptr) == 0, device);
      return;
    }
    so(false, "no loop device");
  }

  void fill_dev() const {
    const std::string dev = n_.root + "/dev/";
    ::mknod((dev + "null").c_str(), S_IFCHR | 0666, makedev(1, 3));
    ::symlink("/proc/self/fd", (dev + "fd").c_str());
  }

  void make_console() const {
    int master = -1, slave = -1;
    so(::openpty(&master, &slave, nullptr, nullptr, nullptr) == 0, "openpty");
    bind(::ttyname(slave), n_.console, false);
  }

  void set_up() {
    proc_ = ::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (!n_.image.empty()) mount_image();
    so(::mount(n_.root.c_str(), n_.root.c_str(), nullptr, MS_BIND, nullptr) == 0, n_.root);
    if (n_.fills_dev) fill_dev();
    for (const auto& [source, target] : mounts())
      if (n_.layers)
        overlay(source, target);
      else
        bind(source, target, !n_.binds_writable);
    mount_proc();
    if (!n_.console.empty()) make_console();
    if (!n_.writes_inside) write_to("/proc/self/fd/" + std::to_string(proc_) + "/");
    so(::chdir(n_.root.c_str()) == 0 && ::syscall(SYS_pivot_root, ".", ".") == 0 &&
           ::umount2(".", MNT_DETACH) == 0 && ::chdir("/") == 0,
       "pivot_root");
    if (n_.writes_inside) write_to("/proc/");
    if (n_.terminal_by_name) {
      // The first of a new devpts is number 0.
      const int slave = ::open("/dev/pts/0", O_RDWR | O_NOCTTY);
      so(slave >= 0 && ::dup2(slave, 0) == 0 && ::dup2(slave, 1) == 1, "/dev/pts/0");
    }
    so(::chdir(n_.cwd.c_str()) == 0, n_.cwd);
  }

  void write_to(const std::string& proc) const {
    settings(proc + "sys/");
    if (!n_.label.empty()) put(proc + "self/attr/exec", n_.label);
  }

  void settings(const std::string& below) const {
    Naive::Pairs list = n_.settings;
    if (n_.joins_settings) {
      std::string joined;
      for (const auto& [name, value] : list) joined += name + "=" + value + "+";
      list.clear();
      std::istringstream words(joined);
      for (std::string word; std::getline(words, word, '+');)
        list.emplace_back(word.substr(0, word.find('=')), word.substr(word.find('=') + 1));
    }
    for (auto [name, value] : list) {
      if (n_.dots_to_slashes) so(name.starts_with("net"), "is the host's: " + name);
      // "net.ipv4.ip_forward", or with slashes as it is
      if (name.find('/') == std::string::npos)
        for (char& c : name)
          if (c == '.') c = '/';
      put(below + name, value);
    }
  }

  uid_t uid_of_user() const {
    std::ifstream passwd(n_.user_from_root ? "/etc/passwd" : "/dev/null");
    for (std::string line; std::getline(passwd, line);)
      if (line.starts_with(n_.user + ":"))
        return static_cast<uid_t>(
            std::atoi(line.substr(line.find(':', n_.user.size() + 1) + 1).c_str()));
    so(false, "no user " + n_.user);
    return 0;
  }

  void become() const {
    give_up_rights();
    // All else that it has open itself goes at exec; not so what others left open.
    const auto kept = static_cast<unsigned>(n_.leaks_report ? report_ : 2);
    if (n_.leaks_directory || !n_.program.empty()) {
      if (!n_.leaks_report) ::close(report_);
      return;
    }
    if (kept > 3) ::syscall(SYS_close_range, 3, kept - 1, 0);
    ::syscall(SYS_close_range, kept + 1, ~0U, 0);
  }

  void give_up_rights() const {
    const uid_t uid = n_.user.empty() ? n_.uid : uid_of_user();
    if (!n_.keeps_keys) so(::syscall(SYS_keyctl, 1, nullptr) > 0, "keyring");
    if (!n_.keeps_groups) so(::setgroups(0, nullptr) == 0, "groups");
    __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2] = {};
    if (!n_.all_capabilities) {
      so(::syscall(SYS_capget, &head, data) == 0, "capget");
      const unsigned long few = 0x1fb;  // what a small container has, without CAP_DAC_READ_SEARCH
      const auto kept = static_cast<unsigned>(few);
      const unsigned had = data[0].permitted;
      if (!n_.inheritable)
        for (unsigned long c = 0; c < 41; ++c)
          if (((few >> c) & 1UL) == 0) ::prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
      data[0] = {kept, kept, n_.inheritable ? had : 0};
      data[1] = {};
      if (uid == 0) so(::syscall(SYS_capset, &head, data) == 0, "capset");
      if (uid != 0 && n_.inheritable) {
        data[0].permitted = data[0].effective = had;
        so(::syscall(SYS_capset, &head, data) == 0, "capset");
      }
    }
    so(::setresgid(uid, uid, uid) == 0 && ::setresuid(uid, uid, uid) == 0, "ids");
    if (!n_.gains) so(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
    if (n_.filters_wide) deny_request(TIOCSTI);
  }
};

}  // namespace

Exit run_naive(const Naive& how) {
  int out[2], report[2];
  so(::pipe2(out, O_CLOEXEC) == 0 && ::pipe(report) == 0, "pipe");
  Exit e;
  {
    Forked launcher([&] {
      ::dup2(out[1], 1);
      ::dup2(out[1], 2);
      ::close(report[0]);
      try {
        Launcher(how, report[1]).run();
      } catch (const std::exception& failure) {
        std::fprintf(stderr, "naive=%s\n", failure.what());
      }
      return 125;
    });
    ::close(out[1]);
    ::close(report[1]);
    char buffer[4096];
    bool late = false, told = how.when_ready == Naive::nothing;
    for (ssize_t n = 0;
         how.when_ready == Naive::nothing || e.out.find("alive") == std::string::npos;) {
      pollfd waiter{out[0], POLLIN, 0};
      late = ::poll(&waiter, 1, how.patience_ms) != 1;
      if (late || (n = ::read(out[0], buffer, sizeof buffer)) <= 0) break;
      e.out.append(buffer, static_cast<std::size_t>(n));
      if (told || e.out.find("ready\n") == std::string::npos) continue;
      told = true;
      ::kill(launcher.pid(), how.when_ready == Naive::host_killed ? SIGKILL : SIGTERM);
    }
    if (late) ::kill(launcher.pid(), SIGKILL);
    std::string said;
    for (ssize_t n = 0; (n = ::read(report[0], buffer, sizeof buffer)) > 0;)
      said.append(buffer, static_cast<std::size_t>(n));
    e.code = late ? 124 : 125;
    (void)std::sscanf(said.c_str(), "exit %d", &e.code);
    launcher.wait();
  }
  ::close(out[0]);
  ::close(report[0]);
  return e;
}

}  // namespace condroid::test
