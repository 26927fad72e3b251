// fail_call LOG HOST [ROLE CALL OCCURRENCE ERROR] -- COMMAND...: runs a command that launches a
// container, and fails one system call of one kind of process. Every process is traced, ptrace(2),
// from its first moment until it is the container's command:
//
//   before  what comes before the program HOST: a change of user, for example
//   host    HOST, its threads, and what it clones until that executes something
//   zygote  the program in the memfd
//   child   what the zygote clones, until it executes something: the container's first process, a
//   small init helper  newuidmap, newgidmap, and whatever else is neither the zygote nor the
//   container's command
//
// The OCCURRENCE-th CALL (a number) of all processes of the ROLE together is not made and gets
// ERROR (a number); but close(2), which is made. Without them nothing is disturbed and LOG lists
// every call: "call ROLE NUMBER RESULT". In any case it has "hit PID ARGUMENTS" for the one that
// failed and "end exited N" or "end signaled N" of the command. It ends when the last traced
// process has.
#include <elf.h>
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <string_view>

namespace {

enum class Role { before, host, zygote, child, helper };
constexpr const char* names[] = {"before", "host", "zygote", "child", "helper"};

struct Process {
  Role role = Role::before;
  bool known = false;    ///< Its parent's event told who it is; until then it waits.
  bool waiting = false;  ///< Stopped, for that.
  bool failing = false;  ///< The call that it is in was taken from it.
  long call = -1;
};

struct Target {
  int role = -1;  ///< None: nothing is failed.
  long call = -1;
  unsigned long occurrence = 0;
  int error = 0;
};

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "fail_call: %s: %s\n", what, std::strerror(errno));
  std::exit(126);
}

#if defined(__x86_64__)
using Registers = user_regs_struct;
void set_call(pid_t pid, long number) {
  Registers regs{};
  iovec io{&regs, sizeof regs};
  ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &io);
  regs.orig_rax = static_cast<unsigned long long>(number);
  ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &io);
}
void set_result(pid_t pid, long result) {
  Registers regs{};
  iovec io{&regs, sizeof regs};
  ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &io);
  regs.rax = static_cast<unsigned long long>(result);
  ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &io);
}
#elif defined(__aarch64__)
void set_call(pid_t pid, long number) {
  int call = static_cast<int>(number);
  iovec io{&call, sizeof call};
  ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &io);
}
void set_result(pid_t pid, long result) {
  user_regs_struct regs{};
  iovec io{&regs, sizeof regs};
  ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &io);
  regs.regs[0] = static_cast<unsigned long long>(result);
  ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &io);
}
#endif

class Tracer {
 public:
  Tracer(std::FILE* log, const struct stat& host, Target target)
      : log_(log), host_(host), target_(target) {}

  void run(pid_t first) {
    first_ = first;
    processes_[first].known = true;
    while (!processes_.empty()) {
      int status = 0;
      const pid_t pid = waitpid(-1, &status, __WALL);
      if (pid < 0 && errno == EINTR) continue;
      if (pid < 0) break;
      if (WIFEXITED(status) || WIFSIGNALED(status))
        ended(pid, status);
      else if (WIFSTOPPED(status))
        stopped(pid, status);
    }
  }

 private:
  void ended(pid_t pid, int status) {
    processes_.erase(pid);
    if (pid != first_) return;
    if (WIFEXITED(status))
      std::fprintf(log_, "end exited %d\n", WEXITSTATUS(status));
    else
      std::fprintf(log_, "end signaled %d\n", WTERMSIG(status));
    std::fflush(log_);
  }

  void stopped(pid_t pid, int status) {
    Process& p = processes_[pid];
    if (!p.known) {
      p.waiting = true;
      return;
    }
    const int signal = WSTOPSIG(status);
    const int event = status >> 16;
    switch (event) {
      case PTRACE_EVENT_CLONE:
      case PTRACE_EVENT_FORK:
      case PTRACE_EVENT_VFORK:
        born(pid, p);
        return go_on(pid, p, 0);
      case PTRACE_EVENT_EXEC:
        return executed(pid, p);
      case PTRACE_EVENT_STOP:
        if (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU) {
          ptrace(PTRACE_LISTEN, pid, nullptr, nullptr);
          return;
        }
        return go_on(pid, p, 0);
      default:
        break;
    }
    if (signal == (SIGTRAP | 0x80)) {
      at_call(pid, p);
      return go_on(pid, p, 0);
    }
    go_on(pid, p, event == 0 ? signal : 0);
  }

  void go_on(pid_t pid, const Process& p, int signal) {
    ptrace(p.role == Role::before ? PTRACE_CONT : PTRACE_SYSCALL, pid, nullptr,
           reinterpret_cast<void*>(static_cast<long>(signal)));
  }

  void born(pid_t parent, const Process& p) {
    unsigned long pid = 0;
    if (ptrace(PTRACE_GETEVENTMSG, parent, nullptr, &pid) < 0) return;
    Process& child = processes_[static_cast<pid_t>(pid)];
    child.known = true;
    child.role = p.role == Role::zygote ? Role::child : p.role;
    if (child.waiting) {
      child.waiting = false;
      go_on(static_cast<pid_t>(pid), child, 0);
    }
  }

  void executed(pid_t pid, Process& p) {
    const std::string path = "/proc/" + std::to_string(pid) + "/exe";
    char to[PATH_MAX];
    const ssize_t n = readlink(path.c_str(), to, sizeof to);
    const std::string_view program(to, n > 0 ? static_cast<std::size_t>(n) : 0);
    struct stat st {};
    if (p.role == Role::before) {
      if (stat(path.c_str(), &st) == 0 && st.st_dev == host_.st_dev && st.st_ino == host_.st_ino)
        p.role = Role::host;
    } else if (p.role == Role::host && program.ends_with(" (deleted)")) {
      p.role = Role::zygote;
    } else if (p.role == Role::child && !program.ends_with("/newuidmap") &&
               !program.ends_with("/newgidmap")) {
      // The command: what it does is its own business.
      ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
      processes_.erase(pid);
      return;
    } else {
      p.role = Role::helper;
    }
    go_on(pid, p, 0);
  }

  void at_call(pid_t pid, Process& p) {
    __ptrace_syscall_info info{};
    if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) < 0) return;
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
      p.call = static_cast<long>(info.entry.nr);
      const auto role = static_cast<int>(p.role);
      if (role != target_.role || p.call != target_.call || ++count_ != target_.occurrence) return;
      std::fprintf(log_, "hit %d", pid);
      for (const auto a : info.entry.args)
        std::fprintf(log_, " %llx", static_cast<unsigned long long>(a));
      std::fprintf(log_, "\n");
      std::fflush(log_);
      p.failing = true;
      // What close(2) tells, it tells of a descriptor that is gone.
      if (p.call != SYS_close) set_call(pid, -1);
    } else if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
      if (p.failing) {
        p.failing = false;
        set_result(pid, -target_.error);
      } else if (target_.role < 0 && p.call >= 0) {
        std::fprintf(log_, "call %s %ld %lld\n", names[static_cast<int>(p.role)], p.call,
                     static_cast<long long>(info.exit.rval));
      }
      p.call = -1;
    }
  }

  std::FILE* log_;
  struct stat host_;
  Target target_;
  pid_t first_ = 0;
  unsigned long count_ = 0;
  std::map<pid_t, Process> processes_;
};

}  // namespace

int main(int argc, char** argv) {
  int at = 3;
  Target target;
  if (argc > 7 && std::strcmp(argv[3], "--") != 0) {
    for (int r = 0; r < 5; ++r)
      if (std::strcmp(argv[3], names[r]) == 0) target.role = r;
    target.call = std::atol(argv[4]);
    target.occurrence = std::strtoul(argv[5], nullptr, 10);
    target.error = std::atoi(argv[6]);
    at = 7;
    if (target.role < 0) return 2;
  }
  if (argc < at + 2 || std::strcmp(argv[at], "--") != 0) return 2;
  std::FILE* log = std::fopen(argv[1], "we");
  struct stat host {};
  if (log == nullptr || stat(argv[2], &host) < 0) give_up(argv[2]);
  const pid_t pid = fork();
  if (pid < 0) give_up("fork");
  if (pid == 0) {
    raise(SIGSTOP);
    execvp(argv[at + 1], argv + at + 1);
    std::perror(argv[at + 1]);
    _exit(127);
  }
  int status = 0;
  if (waitpid(pid, &status, WUNTRACED) != pid) give_up("waitpid");
  const unsigned long how = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                            PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
  if (ptrace(PTRACE_SEIZE, pid, nullptr, how) < 0) give_up("ptrace");
  kill(pid, SIGCONT);
  Tracer(log, host, target).run(pid);
  std::fclose(log);
  return 0;
}
