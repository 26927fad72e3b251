#include "condroid/sys/mount.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>

#include "formatted.hpp"
#include "program/kernel_bits.hpp"

namespace condroid {
inline namespace v0 {

namespace {

Result<Fd> open_tree(int dir, const std::string& path, unsigned flags, const std::string& name) {
  Fd fd(static_cast<int>(::syscall(SYS_open_tree, dir, path.c_str(),
                                   flags | kernel::open_tree_clone | kernel::open_tree_cloexec)));
  if (!fd) return fail(errno, Step::open_source, name);
  return fd;
}

/// What the kernel wrote about this file system context: errors and warnings; " (kernel: ...)" or
/// nothing.
std::string kernel_log(const Fd& context) {
  std::string all;
  char message[1024];
  for (;;) {
    const ssize_t n = ::read(context.get(), message, sizeof message);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;  // ENODATA: that was the last one
    std::string_view text(message, static_cast<std::size_t>(n));
    while (text.ends_with('\n')) text.remove_suffix(1);
    if (!text.starts_with("e ") && !text.starts_with("w ")) continue;
    if (!all.empty()) all += "; ";
    all += text.substr(2);
  }
  return all.empty() ? all : formatted(" (kernel: {})", all);
}

/// 0, or an errno.
int configure(const Fd& context, const std::string& key, const char* value) {
  const unsigned command =
      value == nullptr ? kernel::fsconfig_set_flag : kernel::fsconfig_set_string;
  return ::syscall(SYS_fsconfig, context.get(), command, key.c_str(), value, 0) < 0 ? errno : 0;
}

Result<void> set_attributes(const Fd& mount, const kernel::MountAttr& attr, bool recursive,
                            const char* what) {
  // The kernel looks at the caller's rights first.
  if (!mount) return fail(EBADF, Step::set_mount_attributes, what);
  const int flags = kernel::at_empty_path | (recursive ? kernel::at_recursive : 0);
  if (::syscall(SYS_mount_setattr, mount.get(), "", flags, &attr, sizeof attr) < 0)
    return fail(errno, Step::set_mount_attributes, formatted("{} of mount {}", what, mount.get()));
  return {};
}

constexpr Flags<MountFlag> atime = MountFlag::noatime | MountFlag::strictatime;

}  // namespace

Result<DetachedMount> DetachedMount::clone_tree(const HostPath& path, TreeOptions options) {
  const auto flags =
      static_cast<unsigned>((options.recursive ? kernel::at_recursive : 0) |
                            (options.follow_links ? 0 : kernel::at_symlink_nofollow));
  auto fd = open_tree(AT_FDCWD, path.str(), flags, formatted("'{}'", path));
  if (!fd) return fail(fd);
  return DetachedMount(std::move(*fd));
}

Result<DetachedMount> DetachedMount::clone_tree(FdView file, TreeOptions options) {
  const auto flags =
      static_cast<unsigned>(kernel::at_empty_path | (options.recursive ? kernel::at_recursive : 0));
  auto fd = open_tree(file.get(), "", flags, formatted("descriptor {}", file.get()));
  if (!fd) return fail(fd);
  return DetachedMount(std::move(*fd));
}

Result<DetachedMount> DetachedMount::create(const NewFileSystem& what) {
  const Fd context(
      static_cast<int>(::syscall(SYS_fsopen, what.type.c_str(), kernel::fsopen_cloexec)));
  if (!context) return fail(errno, Step::mount, what.type);
  const auto failed = [&](int e, const std::string& where) {
    return fail(e, Step::mount, formatted("{}{}{}", what.type, where, kernel_log(context)));
  };
  if (!what.source.empty())
    if (const int e = configure(context, "source", what.source.c_str()); e != 0)
      return failed(e, formatted(" source '{}'", what.source));
  for (const std::string& option : what.options) {
    const std::size_t equals = option.find('=');
    const bool flag = equals == std::string::npos;
    if (const int e = configure(context, option.substr(0, equals),
                                flag ? nullptr : option.c_str() + equals + 1);
        e != 0)
      return failed(e, formatted(" option '{}'", option));
  }
  if (::syscall(SYS_fsconfig, context.get(), kernel::fsconfig_cmd_create, nullptr, nullptr, 0) < 0)
    return failed(errno, "");
  Fd fd(static_cast<int>(::syscall(SYS_fsmount, context.get(), kernel::fsmount_cloexec,
                                   static_cast<unsigned>(detail::mount_attr(what.flags)))));
  if (!fd) return failed(errno, "");
  return DetachedMount(std::move(fd));
}

Result<void> DetachedMount::change(const MountChange& change) {
  kernel::MountAttr attr{detail::mount_attr(change.set), detail::mount_attr(change.clear),
                         detail::propagation_bits(change.propagation), 0};
  // How access times are kept is one field of the kernel's, with relatime as 0: it is cleared whole
  // or not at all.
  if (change.set.any(atime) || change.clear.any(atime)) attr.attr_clr |= kernel::attr_atime;
  return set_attributes(fd_, attr, change.recursive, "attributes");
}

Result<void> DetachedMount::idmap(const NamespaceFd& user, bool recursive) {
  if (!user)
    return fail(EBADF, Step::set_mount_attributes, "owners by a user namespace that is not open");
  const kernel::MountAttr attr{kernel::attr_idmap, 0, 0,
                               static_cast<std::uint64_t>(user.fd().get())};
  return set_attributes(fd_, attr, recursive, "owners");
}

Result<void> DetachedMount::attach(const HostPath& target) {
  const Fd at(::open(target.c_str(), O_PATH | O_CLOEXEC));
  if (!at) return fail(errno, Step::attach_mount, formatted("'{}'", target));
  auto done = attach(FdView(at));
  if (!done) done.error().subject = formatted("'{}'", target);
  return done;
}

Result<void> DetachedMount::attach(FdView target) {
  if (!fd_ || !target)
    return fail(EBADF, Step::attach_mount, formatted("descriptor {}", target.get()));
  if (::syscall(SYS_move_mount, fd_.get(), "", target.get(), "",
                kernel::move_mount_f_empty_path | kernel::move_mount_t_empty_path) < 0)
    return fail(errno, Step::attach_mount, formatted("descriptor {}", target.get()));
  return {};
}

}  // namespace v0
}  // namespace condroid
