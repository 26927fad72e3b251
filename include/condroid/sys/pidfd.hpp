// Pidfd: a process held by descriptor, so that a pid that was given out again is never meant.
//
//   auto process = Pidfd::open(Pid{1234});
//   if (!process) return fail(process);
//   if (auto sent = process->signal(Signal{15}); !sent) return fail(sent);
//   auto gone = process->ended_within(std::chrono::seconds{5});
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include "condroid/error.hpp"
#include "condroid/sys/fd.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {

/// How a child process ended; waitid(2).
struct ProcessEnd {
  enum Kind : std::uint8_t { exited, signaled };
  Kind kind = exited;
  int code = 0;        ///< For exited: 0 to 255.
  Signal signal = {};  ///< For signaled.
  bool core_dumped = false;
  Pid pid = {};  ///< Which it was; the number is free for others now.
  bool operator==(const ProcessEnd&) const = default;
};

/// Owns a pidfd; pidfd_open(2). Move-only. Closing it does nothing to the process. Several threads
/// may use one at once, but only one of them gets the end of a child. The descriptor is readable
/// (POLLIN) once the process has ended.
class Pidfd {
 public:
  /// Holds no process; every call then fails with EBADF.
  Pidfd() noexcept = default;

  /// The process with this pid in the caller's pid namespace. It is the caller who knows that the
  /// pid is still the one that was meant: true of an own child that was not waited for.
  /// Close-on-exec. Linux 5.3.
  /// @errors ESRCH if there is none; EINVAL for a number below 1; ENOENT or EINVAL for a thread
  /// that is no group leader.
  [[nodiscard]] static Result<Pidfd> open(Pid pid);
  /// Takes over a descriptor, of clone3 or from a message. Needs /proc.
  /// @errors EBADF if it is not a pidfd; it is closed then.
  [[nodiscard]] static Result<Pidfd> from(Fd fd);

  /// Sends a signal; 0 only asks whether one could be sent. pidfd_send_signal(2), Linux 5.1.
  /// @errors ESRCH if the process was waited for (one that ended and was not takes signals still,
  /// without effect); EPERM; EINVAL for a number that is no signal.
  [[nodiscard]] Result<void> signal(Signal signal) const;

  /// Whether the process has ended, be it a child or not. Does not block. poll(2) on the
  /// descriptor.
  [[nodiscard]] Result<bool> ended() const { return ended_within(std::chrono::milliseconds{0}); }
  /// Waits for the end of the process for at most `limit`, negative: without a limit; false if it
  /// lives on. Does not take a child's status.
  [[nodiscard]] Result<bool> ended_within(std::chrono::milliseconds limit) const;

  /// Waits until this child has ended and takes its status. waitid(2) with P_PIDFD, Linux 5.4.
  /// Children made without an exit signal are waited for, too.
  /// @errors ECHILD if it is not a child of this process, or its status was taken before, or
  /// SIGCHLD is ignored.
  [[nodiscard]] Result<ProcessEnd> wait() const;
  /// The same without waiting: nothing if it still runs.
  [[nodiscard]] Result<std::optional<ProcessEnd>> try_wait() const {
    return wait_for(std::chrono::milliseconds{0});
  }
  /// The same for at most `limit`; negative: without a limit.
  [[nodiscard]] Result<std::optional<ProcessEnd>> wait_for(std::chrono::milliseconds limit) const;

  /// The pid, as the pid namespace of the mounted /proc numbers it.
  /// @errors ESRCH if the process was waited for; Errc::unsupported if it has no number in that
  /// namespace.
  [[nodiscard]] Result<Pid> pid() const;

  /// A copy of descriptor `number` of that process: the same open file. Close-on-exec.
  /// pidfd_getfd(2), Linux 5.6.
  /// @errors EBADF if the process has no such descriptor; EPERM without the right to trace it,
  /// ptrace(2); ESRCH.
  [[nodiscard]] Result<Fd> copy_fd(int number) const;

  [[nodiscard]] FdView fd() const noexcept { return fd_; }
  [[nodiscard]] bool valid() const noexcept { return fd_.valid(); }
  explicit operator bool() const noexcept { return valid(); }
  /// Gives the descriptor up.
  [[nodiscard]] Fd release() noexcept { return std::move(fd_); }

 private:
  explicit Pidfd(Fd fd) noexcept : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace v0
}  // namespace condroid
