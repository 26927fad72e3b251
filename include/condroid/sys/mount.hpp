// DetachedMount: a mount that is nowhere yet. It is made, given its attributes, and then attached
// in one step: nobody ever sees it half done. What is never attached is gone with its handle.
//
//   auto data = DetachedMount::clone_tree("/srv/data"_host, {.recursive = true});
//   if (!data) return fail(data);
//   const MountChange closed{.set = MountFlag::read_only | MountFlag::nosuid, .recursive = true};
//   if (auto ok = data->change(closed); !ok) return fail(ok);
//   if (auto ok = data->attach("/mnt"_host); !ok) return fail(ok);
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/mount_flags.hpp"
#include "condroid/path.hpp"
#include "condroid/sys/fd.hpp"
#include "condroid/sys/namespace.hpp"

namespace condroid {
inline namespace v0 {

/// How much of what is there is copied.
struct TreeOptions {
  bool recursive = false;  ///< With the mounts below it.
  /// When the path's last component is a symbolic link: what it points to, not the link.
  bool follow_links = true;
};

/// A file system to be mounted anew.
struct NewFileSystem {
  std::string type = {};    ///< "tmpfs"
  std::string source = {};  ///< As in mount(8); may be empty.
  /// "key" or "key=value" each, values up to 255 bytes: those of that file system.
  std::vector<std::string> options = {};
  Flags<MountFlag> flags = MountFlag::nosuid | MountFlag::nodev;
};

/// What of a mount is to be different.
struct MountChange {
  Flags<MountFlag> set = {};
  /// Before `set` is set. Clearing noatime or strictatime leaves relatime.
  Flags<MountFlag> clear = {};
  Propagation propagation = Propagation::as_is;
  bool recursive = false;  ///< All mounts below it, too; either all are changed or none is.
};

/// Owns a descriptor of a mount. Move-only, not thread-safe. All of it needs CAP_SYS_ADMIN in the
/// user namespace that owns the caller's mount namespace (EPERM otherwise), and Linux 5.2; changes
/// Linux 5.12.
class DetachedMount {
 public:
  /// Holds nothing; every call then fails with EBADF.
  DetachedMount() noexcept = default;

  /// A copy of what is at a path, a bind mount that is not attached. open_tree(2) with
  /// OPEN_TREE_CLONE.
  /// @errors ENOENT; EINVAL if the mount is unbindable, or has locked mounts below it and is not
  /// copied recursively.
  [[nodiscard]] static Result<DetachedMount> clone_tree(const HostPath& path,
                                                        TreeOptions options = {});
  /// A copy of the file or directory that is open here. Of another detached mount: Linux 6.15,
  /// EINVAL before.
  [[nodiscard]] static Result<DetachedMount> clone_tree(FdView file, TreeOptions options = {});
  /// A new file system. fsopen(2), fsconfig(2), fsmount(2). What the kernel says about it stands in
  /// the error's subject.
  /// @errors ENODEV if this kernel does not have that type; EINVAL for an option that it does not
  /// take; EPERM if it may not be mounted in this user namespace.
  [[nodiscard]] static Result<DetachedMount> create(const NewFileSystem& what);
  /// Takes over a descriptor, one that open_tree or fsmount made elsewhere. It is not checked.
  [[nodiscard]] static DetachedMount from(Fd fd) noexcept { return DetachedMount(std::move(fd)); }

  /// Changes attributes; mount_setattr(2), Linux 5.12.
  /// @errors EPERM for an attribute that is locked, mount_namespaces(7); EBUSY for read_only with
  /// files open for writing; EINVAL for more than one of noatime and strictatime.
  [[nodiscard]] Result<void> change(const MountChange& change);
  /// Shows the owners of files as the id map of this user namespace has them. For good: a mount has
  /// one map or none. Linux 5.12, and a file system that takes part (tmpfs: 6.3).
  /// @errors EINVAL for a file system that does not take part, a mount that was attached, or a
  /// namespace without a map; EPERM for a second map, the initial user namespace, or without
  /// CAP_SYS_ADMIN over the file system.
  [[nodiscard]] Result<void> idmap(const NamespaceFd& user, bool recursive = false);

  /// Attaches it on top of an existing file or directory; move_mount(2). The handle then is one of
  /// the attached mount: it is not unmounted with it, and attaching again moves it. A symbolic link
  /// is followed.
  /// @errors ENOENT; EINVAL if one is a directory and the other is not, or if the target is in
  /// another mount namespace.
  [[nodiscard]] Result<void> attach(const HostPath& target);
  /// The same on what is open here, O_PATH is enough.
  [[nodiscard]] Result<void> attach(FdView target);

  /// Its root: paths in it can be opened from here before it is attached; openat(2).
  [[nodiscard]] FdView fd() const noexcept { return fd_; }
  [[nodiscard]] bool valid() const noexcept { return fd_.valid(); }
  explicit operator bool() const noexcept { return valid(); }
  /// Gives the descriptor up.
  [[nodiscard]] Fd release() noexcept { return std::move(fd_); }

 private:
  explicit DetachedMount(Fd fd) noexcept : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace v0
}  // namespace condroid
