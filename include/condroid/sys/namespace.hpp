// NamespaceFd: one namespace, held open: it lives as long as somebody holds it, is in it or has it
// mounted.
//
//   auto net = NamespaceFd::open("/run/netns/blue"_host, Namespace::net);
//   if (!net) return fail(net);
//   if (auto in = net->enter(); !in) return fail(in);     // in a thread or child of its own
#pragma once

#include <utility>

#include "condroid/error.hpp"
#include "condroid/namespaces.hpp"
#include "condroid/path.hpp"
#include "condroid/sys/fd.hpp"
#include "condroid/sys/pidfd.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {

/// Owns a descriptor of a namespace whose kind is known; namespaces(7). Move-only. Reading from
/// several threads is safe.
class NamespaceFd {
 public:
  /// Holds nothing; every call then fails with EBADF.
  NamespaceFd() noexcept = default;

  /// That of the calling thread.
  /// @errors ENOENT if this kernel has no such kind.
  [[nodiscard]] static Result<NamespaceFd> current(Namespace kind);
  /// That of a process, /proc/PID/ns. A pid can be given out again: hold the process by a Pidfd
  /// when it is no own child.
  /// @errors ENOENT if there is no such process or kind; EACCES or EPERM without the right to trace
  /// it, ptrace(2).
  [[nodiscard]] static Result<NamespaceFd> open(Pid pid, Namespace kind);
  /// The same for the process that is held here and no other.
  /// @errors as above, and ESRCH if it has ended.
  [[nodiscard]] static Result<NamespaceFd> open(const Pidfd& process, Namespace kind);
  /// From a file on which one is mounted: /run/netns/NAME. A symbolic link is followed.
  /// @errors EINVAL if it is no namespace, or one of another kind; those of open(2).
  [[nodiscard]] static Result<NamespaceFd> open(const HostPath& path, Namespace kind);
  /// Takes over a descriptor; its kind is asked for. NS_GET_NSTYPE, Linux 4.11.
  /// @errors EINVAL if it is no namespace. It is closed then.
  [[nodiscard]] static Result<NamespaceFd> from(Fd fd);
  /// The same for one that must be of this kind.
  /// @errors EINVAL if it is not.
  [[nodiscard]] static Result<NamespaceFd> from(Fd fd, Namespace kind);

  [[nodiscard]] Namespace kind() const noexcept { return kind_; }
  /// Whether both are the same namespace, by device and inode: a number alone is given out again.
  [[nodiscard]] Result<bool> same_as(const NamespaceFd& other) const;
  /// The user namespace that owns this one; of a user namespace its parent. NS_GET_USERNS,
  /// Linux 4.9.
  /// @errors EPERM if that is outside the caller's own user namespace.
  [[nodiscard]] Result<NamespaceFd> owner() const;

  /// Moves the calling thread into it; for pid and time, its future children only. setns(2).
  /// @errors EPERM without CAP_SYS_ADMIN over it (and over one's own); EINVAL for the user
  /// namespace one is in, or with more than one thread for user, time, or mount with a shared root
  /// and working directory.
  [[nodiscard]] Result<void> enter() const;

  [[nodiscard]] FdView fd() const noexcept { return fd_; }
  [[nodiscard]] bool valid() const noexcept { return fd_.valid(); }
  explicit operator bool() const noexcept { return valid(); }
  /// Gives the descriptor up.
  [[nodiscard]] Fd release() noexcept { return std::move(fd_); }

 private:
  NamespaceFd(Fd fd, Namespace kind) noexcept : fd_(std::move(fd)), kind_(kind) {}
  Fd fd_;
  Namespace kind_ = Namespace::mount;
};

}  // namespace v0
}  // namespace condroid
