#include "condroid/sys/pidfd.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <type_traits>

#include "forked.hpp"
#include "sys_matchers.hpp"

using namespace std::chrono_literals;
using condroid::Fd;
using condroid::FdView;
using condroid::Pid;
using condroid::Pidfd;
using condroid::ProcessEnd;
using condroid::Signal;
using condroid::test::closes_on_exec;
using condroid::test::errno_of;
using condroid::test::Forked;
using condroid::test::need;

static_assert(!std::is_copy_constructible_v<Pidfd> && std::is_nothrow_move_constructible_v<Pidfd>);

namespace {

int sleeps() {
  for (;;) ::pause();
}

}  // namespace

TEST_CASE("a pidfd is opened by pid and knows its pid", "[sys]") {
  const Pidfd self = need(Pidfd::open(Pid{::getpid()}));
  CHECK(self.valid());
  CHECK(closes_on_exec(self.fd()));
  CHECK(need(self.pid()) == Pid{::getpid()});
}

TEST_CASE("opening fails for what is no process", "[sys]") {
  CHECK(errno_of(Pidfd::open(Pid{0})) == EINVAL);
  CHECK(errno_of(Pidfd::open(Pid{-1})) == EINVAL);
  CHECK(errno_of(Pidfd::open(Pid{0x7fffffff})) == ESRCH);
}

TEST_CASE("a pidfd is taken over, anything else is not", "[sys]") {
  const Pidfd child = need(Pidfd::from(need(Pidfd::open(Pid{::getppid()})).release()));
  CHECK(need(child.pid()) == Pid{::getppid()});
  CHECK(errno_of(Pidfd::from(Fd(::eventfd(0, EFD_CLOEXEC)))) == EBADF);
  CHECK(errno_of(Pidfd::from(Fd(::open("/proc/self", O_RDONLY | O_CLOEXEC)))) == EBADF);
  CHECK(errno_of(Pidfd::from(Fd())) == EBADF);
}

TEST_CASE("a signal reaches the process, and the status tells which it was", "[sys]") {
  const Forked child(sleeps);
  const Pidfd pidfd = need(Pidfd::open(Pid{child.pid()}));
  CHECK(!need(pidfd.ended()));
  CHECK(!need(pidfd.try_wait()));
  need(pidfd.signal(Signal{0}));
  need(pidfd.signal(Signal{SIGTERM}));
  const ProcessEnd end = need(pidfd.wait());
  CHECK(end.kind == ProcessEnd::signaled);
  CHECK(end.signal == Signal{SIGTERM});
  CHECK(!end.core_dumped);
  CHECK(end.pid == Pid{child.pid()});
}

TEST_CASE("the exit code of a child is told once", "[sys]") {
  const Forked child([] { return 42; });
  const Pidfd pidfd = need(Pidfd::open(Pid{child.pid()}));
  SECTION("by waiting") {
    const ProcessEnd end = need(pidfd.wait());
    CHECK(end.kind == ProcessEnd::exited);
    CHECK(end.code == 42);
  }
  SECTION("by waiting with a limit") {
    const auto end = need(pidfd.wait_for(10s));
    REQUIRE(end);
    CHECK(end->code == 42);
  }
  SECTION("after it was seen to end") {
    CHECK(need(pidfd.ended_within(10s)));
    CHECK(need(pidfd.ended()));
    const auto end = need(pidfd.try_wait());
    REQUIRE(end);
    CHECK(end->code == 42);
  }
  CHECK(errno_of(pidfd.wait()) == ECHILD);
  CHECK(errno_of(pidfd.try_wait()) == ECHILD);
  CHECK(errno_of(pidfd.wait_for(10s)) == ECHILD);
  CHECK(errno_of(pidfd.signal(Signal{0})) == ESRCH);
  CHECK(errno_of(pidfd.pid()) == ESRCH);
  CHECK(need(pidfd.ended()));
}

TEST_CASE("waiting ends with its limit while the child lives", "[sys]") {
  const Forked child(sleeps);
  const Pidfd pidfd = need(Pidfd::open(Pid{child.pid()}));
  const auto began = std::chrono::steady_clock::now();
  CHECK(!need(pidfd.wait_for(30ms)));
  CHECK(!need(pidfd.ended_within(30ms)));
  CHECK(std::chrono::steady_clock::now() - began >= 60ms);
}

TEST_CASE("the descriptor polls readable once the process has ended", "[sys]") {
  const Forked child(sleeps);
  const Pidfd pidfd = need(Pidfd::open(Pid{child.pid()}));
  pollfd p{pidfd.fd().get(), POLLIN, 0};
  CHECK(::poll(&p, 1, 0) == 0);
  need(pidfd.signal(Signal{SIGKILL}));
  CHECK(::poll(&p, 1, 10000) == 1);
  CHECK((p.revents & POLLIN) != 0);
}

TEST_CASE("who is no child cannot be waited for, and that is said at once", "[sys]") {
  const Pidfd self = need(Pidfd::open(Pid{::getpid()}));
  CHECK(errno_of(self.wait()) == ECHILD);
  CHECK(errno_of(self.wait_for(10s)) == ECHILD);
}

TEST_CASE("a child without an exit signal is waited for, too", "[sys]") {
  const long pid = ::syscall(SYS_clone, 0UL, nullptr, nullptr, nullptr, 0UL);
  if (pid == 0) ::_exit(7);
  REQUIRE(pid > 0);
  const Pidfd pidfd = need(Pidfd::open(Pid{static_cast<int>(pid)}));
  CHECK(need(pidfd.wait()).code == 7);
}

TEST_CASE("a pidfd that does not block is waited for all the same", "[sys]") {
  const Forked child([] {
    ::usleep(20000);
    return 3;
  });
  constexpr unsigned nonblock = O_NONBLOCK;  // PIDFD_NONBLOCK, Linux 5.10
  const Pidfd pidfd =
      need(Pidfd::from(Fd(static_cast<int>(::syscall(SYS_pidfd_open, child.pid(), nonblock)))));
  CHECK(need(pidfd.wait()).code == 3);
}

TEST_CASE("a number that is no signal is refused", "[sys]") {
  const Forked child(sleeps);
  const Pidfd pidfd = need(Pidfd::open(Pid{child.pid()}));
  CHECK(errno_of(pidfd.signal(Signal{1000})) == EINVAL);
  CHECK(errno_of(pidfd.signal(Signal{-1})) == EINVAL);
}

TEST_CASE("a descriptor of another process is the same open file", "[sys]") {
  const Fd ready(::eventfd(0, EFD_CLOEXEC));
  const Forked child([&] {
    const std::uint64_t one = 1;
    if (::dup2(ready.get(), 100) != 100 || ::write(100, &one, sizeof one) != sizeof one) return 1;
    return sleeps();
  });
  std::uint64_t value = 0;
  REQUIRE(::read(ready.get(), &value, sizeof value) == sizeof value);
  const Pidfd pidfd = need(Pidfd::open(Pid{child.pid()}));
  auto copied = pidfd.copy_fd(100);
  // The right to trace even a child may be taken away: kernel.yama.ptrace_scope.
  if (errno_of(copied) == EPERM) CONDROID_SKIP("this user may not trace its own children");
  const Fd copy = need(std::move(copied));
  CHECK(closes_on_exec(copy));
  value = 5;
  REQUIRE(::write(copy.get(), &value, sizeof value) == sizeof value);
  REQUIRE(::read(ready.get(), &value, sizeof value) == sizeof value);
  CHECK(value == 5);
  CHECK(errno_of(pidfd.copy_fd(101)) == EBADF);
}

TEST_CASE("a pidfd that holds nothing fails with EBADF", "[sys]") {
  const Pidfd none;
  CHECK(!none);
  CHECK(errno_of(none.signal(Signal{SIGTERM})) == EBADF);
  CHECK(errno_of(none.ended()) == EBADF);
  CHECK(errno_of(none.pid()) == EBADF);
  CHECK(errno_of(none.copy_fd(0)) == EBADF);
  CHECK(!none.wait());
  CHECK(!none.try_wait());
}
