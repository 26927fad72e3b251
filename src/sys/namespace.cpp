#include "condroid/sys/namespace.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <optional>
#include <string>
#include <string_view>

#include "formatted.hpp"
#include "program/kernel_bits.hpp"
#include "sys/namespace_files.hpp"
#include "sys/uapi.hpp"

namespace condroid {
inline namespace v0 {

namespace {

/// What kind the descriptor is of; nothing if it is no namespace, or of a kind that is not known
/// here.
std::optional<Namespace> kind_of(int fd) {
  // First: on other files the number of the request may mean anything.
  struct statfs fs {};
  if (::fstatfs(fd, &fs) < 0 || static_cast<long>(fs.f_type) != uapi::nsfs_magic) return {};
  const int type = ::ioctl(fd, uapi::ns_get_nstype);
  for (const auto& [kind, name] : detail::namespace_files)
    if (type > 0 && static_cast<std::uint64_t>(type) == detail::clone_bits(kind)) return kind;
  return {};
}

/// The descriptor, if it is a namespace of that kind.
Result<Fd> checked(Fd fd, Namespace kind, const std::string& name) {
  if (!fd) return fail(EBADF, Step::open_descriptor, name);
  const auto found = kind_of(fd.get());
  if (!found) return fail(EINVAL, Step::open_descriptor, formatted("{} is not a namespace", name));
  if (*found != kind)
    return fail(EINVAL, Step::open_descriptor,
                formatted("{} is a namespace of kind {}, not {}", name, detail::file_of(*found),
                          detail::file_of(kind)));
  return fd;
}

Result<Fd> open_checked(const std::string& path, Namespace kind) {
  // Whatever else it may be: nothing here waits for the other end of a fifo or takes a terminal
  // over.
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return fail(errno, Step::open_descriptor, formatted("'{}'", path));
  return checked(std::move(fd), kind, formatted("'{}'", path));
}

}  // namespace

Result<NamespaceFd> NamespaceFd::current(Namespace kind) {
  auto fd = open_checked(formatted("/proc/thread-self/ns/{}", detail::file_of(kind)), kind);
  if (!fd) return fail(fd);
  return NamespaceFd(std::move(*fd), kind);
}

Result<NamespaceFd> NamespaceFd::open(Pid pid, Namespace kind) {
  auto fd = open_checked(formatted("/proc/{}/ns/{}", pid.value, detail::file_of(kind)), kind);
  if (!fd) return fail(fd);
  return NamespaceFd(std::move(*fd), kind);
}

Result<NamespaceFd> NamespaceFd::open(const Pidfd& process, Namespace kind) {
  const auto pid = process.pid();
  if (!pid) return tl::unexpected(pid.error());
  auto fd = open(*pid, kind);
  // As long as the process has not ended, its pid was its own.
  const auto ended = process.ended();
  if (!ended) return tl::unexpected(ended.error());
  if (*ended)
    return fail(ESRCH, Step::open_descriptor,
                formatted("{} namespace of process {}", detail::file_of(kind), pid->value));
  return fd;
}

Result<NamespaceFd> NamespaceFd::open(const HostPath& path, Namespace kind) {
  auto fd = open_checked(path.str(), kind);
  if (!fd) return fail(fd);
  return NamespaceFd(std::move(*fd), kind);
}

Result<NamespaceFd> NamespaceFd::from(Fd fd) {
  const std::string name = formatted("descriptor {}", fd.get());
  if (!fd) return fail(EBADF, Step::open_descriptor, name);
  const auto kind = kind_of(fd.get());
  if (!kind) return fail(EINVAL, Step::open_descriptor, formatted("{} is not a namespace", name));
  return NamespaceFd(std::move(fd), *kind);
}

Result<NamespaceFd> NamespaceFd::from(Fd fd, Namespace kind) {
  const std::string name = formatted("descriptor {}", fd.get());
  auto good = checked(std::move(fd), kind, name);
  if (!good) return fail(good);
  return NamespaceFd(std::move(*good), kind);
}

Result<bool> NamespaceFd::same_as(const NamespaceFd& other) const {
  struct stat mine {
  }, theirs{};
  if (::fstat(fd_.get(), &mine) < 0 || ::fstat(other.fd_.get(), &theirs) < 0)
    return fail(errno, Step::open_descriptor, "comparing namespaces");
  return mine.st_dev == theirs.st_dev && mine.st_ino == theirs.st_ino;
}

Result<NamespaceFd> NamespaceFd::owner() const {
  Fd fd(::ioctl(fd_.get(), uapi::ns_get_userns));
  if (!fd)
    return fail(errno, Step::open_descriptor,
                formatted("owner of a namespace of kind {}", detail::file_of(kind_)));
  return NamespaceFd(std::move(fd), Namespace::user);
}

Result<void> NamespaceFd::enter() const {
  if (::setns(fd_.get(), static_cast<int>(detail::clone_bits(kind_))) < 0)
    return fail(errno, Step::join_namespace, std::string(detail::file_of(kind_)));
  return {};
}

}  // namespace v0
}  // namespace condroid
