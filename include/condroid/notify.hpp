// The calls that a container's filter asks the host about (SyscallAction::notify), and the answers.
//
//   auto listener = box.take_listener();             // the Spec: Seccomp{}.notify({"mknodat"})
//   pollfd waiter{listener->poll_fd().get(), POLLIN, 0};
//   while (!listener->done() && ::poll(&waiter, 1, -1) > 0)
//     while (auto call = listener->next().value_or(std::nullopt))
//       (void)listener->refuse(*call, ENOSPC);
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "condroid/container.hpp"
#include "condroid/error.hpp"
#include "condroid/spec/seccomp.hpp"
#include "condroid/sys/fd.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {

/// A call that waits for its answer. What it says of arguments is the kernel's copy and stays; what
/// they point to is the container's memory, where others may write at any time.
struct SyscallRequest {
  std::uint64_t id = 0;  ///< The kernel's name of it, unique among those of one listener.
  /// The thread, as this program numbers it; 0 where it cannot be seen from here.
  Pid thread = {};
  int number = 0;  ///< Of `arch`.
  SyscallArch arch = {};
  std::array<std::uint64_t, 6> args = {};
  std::uint64_t instruction = 0;  ///< Address of the call.
  bool operator==(const SyscallRequest&) const = default;

  /// As syscalls(2) has it, "mknodat"; its number in a build without libseccomp.
  [[nodiscard]] std::string name() const;
};

/// One end of seccomp_unotify(2), held by the host. Move-only; one thread at a time, whichever;
/// inert in a forked child of the program, which nevertheless holds a copy of the descriptor until
/// it executes something. May outlive the Container. One descriptor.
///
/// Nothing waits for the container, but for what the kernel itself waits for: its thread takes a
/// descriptor that it is given when it runs, and memory or a path of it may lie in a file system
/// that it serves itself (fuse, userfaultfd; neither is there by default). A request is to be
/// answered once; until then its thread waits, and nothing but SIGKILL ends that (before Linux 5.19
/// any signal does, and the call is asked about again). When this is destroyed, what waits and what
/// comes gets ENOSYS.
///
/// In a forked child all members fail with Errc::in_forked_child.
/// All members that take a request fail with ENOENT when it is not there any more: its thread was
/// killed, or it was answered.
class SyscallListener {
 public:
  SyscallListener(SyscallListener&&) noexcept;
  SyscallListener& operator=(SyscallListener&&) noexcept;
  SyscallListener(const SyscallListener&) = delete;
  SyscallListener& operator=(const SyscallListener&) = delete;
  ~SyscallListener();

  /// Readable when there may be something for next(), and when the last process with the filter is
  /// gone. Invalid after that.
  [[nodiscard]] FdView poll_fd() const noexcept;
  /// The next call that waits; nothing when there is none now.
  /// SECCOMP_IOCTL_NOTIF_RECV
  /// @errors Errc::in_forked_child.
  [[nodiscard]] Result<std::optional<SyscallRequest>> next();
  /// next() has seen that no process with the filter is left.
  [[nodiscard]] bool done() const noexcept;

  // ---- answers: SECCOMP_IOCTL_NOTIF_SEND ----

  /// The call is not made, and gives this to its caller.
  [[nodiscard]] Result<void> respond(const SyscallRequest& request, std::int64_t value = 0);
  /// The call is not made, and fails with this errno, 1 to 4095.
  [[nodiscard]] Result<void> refuse(const SyscallRequest& request, int error);
  /// The kernel makes the call, with what its arguments point to *then*: another thread may have
  /// changed that after it was looked at. So this decides nothing about safety; it is for calls
  /// that the container may make anyway. SECCOMP_USER_NOTIF_FLAG_CONTINUE
  [[nodiscard]] Result<void> proceed(const SyscallRequest& request);
  /// The call gives a descriptor, which is a copy of `fd`: an open(2) that the host has done. Both
  /// in one step. SECCOMP_ADDFD_FLAG_SEND, Linux 5.14
  struct Adding {
    bool cloexec = true;
    /// In place of the lowest free number: this one, whatever it was.
    std::optional<int> number = {};
  };
  [[nodiscard]] Result<void> respond_with(const SyscallRequest& request, FdView fd,
                                          const Adding& how);
  [[nodiscard]] Result<void> respond_with(const SyscallRequest& request, FdView fd) {
    return respond_with(request, fd, Adding{});
  }
  /// Gives the process a copy of `fd` and answers nothing yet; the number that it has there.
  /// SECCOMP_IOCTL_NOTIF_ADDFD
  /// @errors EMFILE: the process may have no more.
  [[nodiscard]] Result<int> add_descriptor(const SyscallRequest& request, FdView fd,
                                           const Adding& how);

  // ---- who asks. Each looks again, when it is done, whether the request is still there: the
  // thread lived all the time, and its number was nobody else's. ----

  /// Whether it waits still. SECCOMP_IOCTL_NOTIF_ID_VALID
  [[nodiscard]] Result<bool> waiting(const SyscallRequest& request) const;
  /// The process that the thread is of.
  [[nodiscard]] Result<Fd> pidfd(const SyscallRequest& request) const;
  /// Its memory, all of `into` or EFAULT. process_vm_readv(2)
  /// @errors EPERM: this program may not look into it, ptrace(2).
  [[nodiscard]] Result<void> read(const SyscallRequest& request, std::uint64_t address,
                                  std::span<std::byte> into) const;
  /// Up to the first NUL, which must come within `most` bytes: ENAMETOOLONG.
  [[nodiscard]] Result<std::string> read_string(const SyscallRequest& request,
                                                std::uint64_t address,
                                                std::size_t most = 4096) const;
  /// The other way: what a call would have filled in. Nobody but who asks is written to: its memory
  /// is opened before it is asked whether the request is still there. As ptrace(2) does it, also
  /// where the process itself may only read. /proc/PID/mem, proc(5)
  [[nodiscard]] Result<void> write(const SyscallRequest& request, std::uint64_t address,
                                   std::span<const std::byte> from) const;
  /// Where a path of the thread's leads, for the host to make or open something there: the
  /// directory, opened below the thread's own root and nowhere else (openat2(2),
  /// RESOLVE_IN_ROOT), and the last name, not followed. `dirfd` as of openat(2): what the path is
  /// relative to.
  struct Place {
    Fd directory;      ///< O_PATH
    std::string name;  ///< Without a slash; never empty, "." or "..".
  };
  [[nodiscard]] Result<Place> place(const SyscallRequest& request, int dirfd,
                                    const std::string& path) const;

 private:
  friend class Container;
  class Core;
  explicit SyscallListener(std::unique_ptr<Core> core);
  std::unique_ptr<Core> core_;
};

/// Answers what is asked until the container has ended: a loop over both, for a program without one
/// of its own. `answer(listener, request)` is called for each request, on this thread, and gives a
/// Result<void>. A container that is launched again has a new listener each time, which is taken.
/// @errors That of `answer`, but for ENOENT: somebody waits whom nobody has answered. The container
/// runs then; end it, or give the listener up.
template <class Answer>
[[nodiscard]] Result<Exit> serve(Container& box, SyscallListener& listener, Answer answer);

namespace detail {

/// Answers what waits, but some at a time: a container may ask without end.
template <class Answer>
Result<void> answer_some(SyscallListener& listener, Answer& answer) {
  for (int i = 0; i < 64; ++i) {
    auto request = listener.next();
    if (!request) return fail(request);
    if (!*request) return {};
    // ENOENT: who was killed meanwhile needs no answer.
    if (Result<void> ok = answer(listener, **request); !ok && !ok.error().is_errno(ENOENT))
      return ok;
  }
  return {};
}
/// Waits until one of the two has something to say. Of a container that was launched again the new
/// listener is taken.
[[nodiscard]] Result<void> wait_for_either(Container& box, SyscallListener& listener);

}  // namespace detail

template <class Answer>
Result<Exit> serve(Container& box, SyscallListener& listener, Answer answer) {
  for (;;) {
    if (auto ok = detail::answer_some(listener, answer); !ok) return fail(ok);
    auto exit = box.step();
    if (!exit) return fail(exit);
    if (*exit) return std::move(**exit);
    if (auto ok = detail::wait_for_either(box, listener); !ok) return fail(ok);
  }
}

}  // namespace v0
}  // namespace condroid
