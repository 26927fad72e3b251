#include "attach_floor.hpp"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <ctime>

#include "floor_child.hpp"

namespace bench {

AttachFloor::~AttachFloor() {
  if (pidfd_ >= 0) ::close(pidfd_);
  if (null_ >= 0) ::close(null_);
}

bool AttachFloor::prepare(const Work& work, pid_t container, FloorFailure* failure) {
  work_ = work;
  if (shared() == nullptr) return failed(failure, "mmap");
  namespaces_ = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC;
  if (work.net) namespaces_ |= CLONE_NEWNET;
  if (work.cgroup_ns) namespaces_ |= CLONE_NEWCGROUP;
  if (null_ < 0) null_ = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null_ < 0) return failed(failure, "open /dev/null");
  if (pidfd_ >= 0 && container == container_) return true;
  if (pidfd_ >= 0) ::close(pidfd_);
  container_ = container;
  pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, container, 0));
  return pidfd_ >= 0 || failed(failure, "pidfd_open");
}

bool AttachFloor::attach(std::uint64_t* nanoseconds, FloorFailure* failure) {
  Shared* const page = shared();
  page->what = nullptr;
  page->pid.store(0, std::memory_order_relaxed);

  const std::uint64_t start = now();
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return failed(failure, "pipe2");
  out_ = ends[1];
  clone_args args{};
  args.flags = CLONE_VFORK;
  args.exit_signal = SIGCHLD;
  const auto pid = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
  if (pid == 0) helper();
  ::close(ends[1]);
  if (pid < 0 || ::waitpid(pid, nullptr, __WALL) != pid) {
    ::close(ends[0]);
    return failed(failure, "clone3");
  }
  timespec told{};
  const ssize_t got = ::read(ends[0], &told, sizeof told);
  ::close(ends[0]);

  int status = 0;
  const pid_t attached = page->pid.load(std::memory_order_relaxed);
  if (attached > 0 && ::waitpid(attached, &status, __WALL) != attached)
    return failed(failure, "waitpid");
  if (page->what != nullptr) {
    *failure = {page->what, page->error};
    return false;
  }
  if (attached <= 0 || status != 0 || got != static_cast<ssize_t>(sizeof told)) {
    *failure = {"the attached process failed", ECHILD};
    return false;
  }
  *nanoseconds = static_cast<std::uint64_t>(told.tv_sec) * 1'000'000'000U +
                 static_cast<std::uint64_t>(told.tv_nsec) - start;
  return true;
}

void AttachFloor::helper() {
  must(::setns(pidfd_, namespaces_), "setns");
  clone_args args{};
  args.flags = CLONE_PARENT;
  const long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) child();
  must(pid, "clone3 in the container");
  shared()->pid.store(static_cast<std::int32_t>(pid), std::memory_order_relaxed);
  ::_exit(0);
}

void AttachFloor::child() {
  must(::prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl(PR_SET_PDEATHSIG)");
  must(::dup2(null_, STDIN_FILENO), "dup2");
  must(::dup2(out_, STDOUT_FILENO), "dup2");
  must(::dup2(null_, STDERR_FILENO), "dup2");
  must(::chdir("/"), "chdir /");
  restrict_self(work_);
  char command[] = "/clock";
  char* argv[] = {command, nullptr};
  char* environment[] = {nullptr};
  must(::execve(command, argv, environment), "execve");
  ::_exit(111);
}

}  // namespace bench
