// A forked child for tests of what the kernel does to processes. It is killed and waited for when
// the handle goes.
//
//   const Forked sleeper([] { ::pause(); return 0; });
//   ::kill(sleeper.pid(), SIGTERM);
#pragma once

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <system_error>
#include <type_traits>
#include <utility>

namespace condroid::test {

class Forked {
 public:
  /// Runs `body` in a child, which ends with what it returns, if anything. Checks of the test
  /// framework do not belong in there.
  template <class Body>
  explicit Forked(Body body) {
    // The test framework's handlers are not for the child, not even for its first moment.
    sigset_t all, before;
    ::sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, &before);
    pid_ = ::fork();
    if (pid_ == 0)
      for (const int s : {SIGINT, SIGTERM, SIGSEGV, SIGABRT, SIGFPE, SIGILL}) ::signal(s, SIG_DFL);
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid_ != 0) return;
    if constexpr (std::is_void_v<decltype(body())>) {
      body();
      ::_exit(0);
    } else {
      ::_exit(body());
    }
  }
  Forked(Forked&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Forked(const Forked&) = delete;
  Forked& operator=(const Forked&) = delete;
  ~Forked() {
    // The test may have waited for it; then the pid is nobody's, or somebody else's.
    if (pid_ > 0 && ::waitpid(pid_, nullptr, WNOHANG | __WALL) == 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, __WALL);
    }
  }

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  /// Waits for the end: the exit code, or 128 + signal, or -1 when it was waited for before.
  int wait() {
    int status = 0;
    if (::waitpid(pid_, &status, __WALL) != pid_) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
};

}  // namespace condroid::test
