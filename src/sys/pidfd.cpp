#include "condroid/sys/pidfd.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <string>
#include <string_view>

#include "formatted.hpp"
#include "program/kernel.hpp"
#include "sys/wire.hpp"

namespace condroid {
inline namespace v0 {

namespace {

std::string name_of(const Fd& pidfd) { return formatted("pidfd {}", pidfd.get()); }

/// 0 if it has none in this pid namespace, -1 after it was waited for.
Result<int> pid_in_fdinfo(const Fd& pidfd) {
  std::string text;
  const int e = detail::read_pidfd_line(pidfd.get(), "Pid", text);
  if (e == EBADF && pidfd)
    return fail(e, Step::open_descriptor, formatted("descriptor {} is not a pidfd", pidfd.get()));
  if (e != 0)
    return fail(e, Step::open_descriptor,
                pidfd ? formatted("'/proc/thread-self/fdinfo/{}'", pidfd.get()) : name_of(pidfd));
  int pid = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), pid).ec != std::errc{})
    return fail(EIO, Step::open_descriptor, formatted("'Pid:{}' of {}", text, name_of(pidfd)));
  return pid;
}

/// waitid for this one child. 0 with an empty result if it runs, or an errno.
int wait_once(int pidfd, int flags, std::optional<ProcessEnd>& end) {
  siginfo_t info{};
  int n = 0;
  do {
    n = ::waitid(static_cast<idtype_t>(kernel::p_pidfd), static_cast<id_t>(pidfd), &info,
                 WEXITED | kernel::wall | flags);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno;
  if (info.si_pid == 0) return 0;
  ProcessEnd e;
  e.pid = Pid{info.si_pid};
  if (info.si_code == CLD_EXITED) {
    e.code = info.si_status;
  } else {
    e.kind = ProcessEnd::signaled;
    e.signal = Signal{info.si_status};
    e.core_dumped = info.si_code == CLD_DUMPED;
  }
  end = e;
  return 0;
}

}  // namespace

Result<Pidfd> Pidfd::open(Pid pid) {
  Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid.value, 0)));
  if (!fd) return fail(errno, Step::open_descriptor, formatted("process {}", pid.value));
  return Pidfd(std::move(fd));
}

Result<Pidfd> Pidfd::from(Fd fd) {
  if (auto pid = pid_in_fdinfo(fd); !pid) return fail(pid);
  return Pidfd(std::move(fd));
}

Result<void> Pidfd::signal(Signal signal) const {
  if (const int e = detail::pidfd_signal(fd_.get(), signal.value); e != 0)
    return fail(e, Step::signal, formatted("signal {} to {}", signal.value, name_of(fd_)));
  return {};
}

Result<bool> Pidfd::ended_within(std::chrono::milliseconds limit) const {
  // poll would pass a negative number over in silence.
  if (!fd_) return fail(EBADF, Step::wait, name_of(fd_));
  const int ready = detail::wait_for_fd(fd_.get(), POLLIN, detail::poll_timeout(limit));
  if (ready < 0) return fail(-ready, Step::wait, name_of(fd_));
  return ready > 0;
}

Result<ProcessEnd> Pidfd::wait() const {
  std::optional<ProcessEnd> end;
  for (;;) {
    const int e = wait_once(fd_.get(), 0, end);
    if (e == 0) return *end;
    // A pidfd opened with PIDFD_NONBLOCK (Linux 5.10) lets waitid not wait.
    if (e != EAGAIN) return fail(e, Step::wait, name_of(fd_));
    if (auto ready = ended_within(std::chrono::milliseconds{-1}); !ready) return fail(ready);
  }
}

Result<std::optional<ProcessEnd>> Pidfd::wait_for(std::chrono::milliseconds limit) const {
  using Clock = std::chrono::steady_clock;
  const auto began = Clock::now();
  std::optional<ProcessEnd> end;
  for (bool was_ready = false;;) {
    // First: whose child it is not should not have to wait to be told.
    const int e = wait_once(fd_.get(), WNOHANG, end);
    if (e != 0 && e != EAGAIN) return fail(e, Step::wait, name_of(fd_));
    if (end) return end;
    auto left = limit;
    if (limit.count() >= 0) {
      left = limit - std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began);
      if (left.count() <= 0) return std::nullopt;
    }
    // Ended, but not for us yet: a tracer has not let go of it. Nothing tells when it does.
    if (was_ready) (void)::poll(nullptr, 0, 1);
    auto ready = ended_within(left);
    if (!ready) return fail(ready);
    was_ready = *ready;
  }
}

Result<Pid> Pidfd::pid() const {
  auto pid = pid_in_fdinfo(fd_);
  if (!pid) return fail(pid);
  if (*pid < 0) return fail(ESRCH, Step::open_descriptor, name_of(fd_));
  if (*pid == 0)
    return fail(Errc::unsupported, Step::open_descriptor,
                name_of(fd_) + " has no number in this pid namespace");
  return Pid{*pid};
}

Result<Fd> Pidfd::copy_fd(int number) const {
  Fd fd(static_cast<int>(::syscall(SYS_pidfd_getfd, fd_.get(), number, 0)));
  if (!fd)
    return fail(errno, Step::open_descriptor,
                formatted("descriptor {} of {}", number, name_of(fd_)));
  return fd;
}

}  // namespace v0
}  // namespace condroid
