// The file system of a container: its root and what is mounted in it.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "condroid/flags.hpp"
#include "condroid/mount_flags.hpp"
#include "condroid/path.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {

/// What every kind of mount has.
struct MountCommon {
  bool create_target = true;  ///< Make the target (and its parents) when it is missing.
  /// Follow symbolic links in the target, inside the root only. Otherwise a link is an error.
  bool follow_links = false;
  bool optional = false;  ///< A failure of this mount is no failure of the launch.
  auto operator<=>(const MountCommon&) const = default;
};

/// A file or directory of the host, seen in the container. Read-only unless `flags` says otherwise.
struct Bind {
  HostPath source = {};
  /// Instead of `source`: a descriptor of the file or directory, or a detached mount.
  HostFd source_fd = {};
  /// Instead of both: a file or directory of the container's own root, with what was mounted there
  /// before, never found through a link. Mounts are made in the order of their targets' names.
  GuestPath inside = {};
  GuestPath target = {};
  Flags<MountFlag> flags = MountFlag::read_only | MountFlag::nosuid | MountFlag::nodev;
  bool recursive = false;  ///< With the mounts below it; the flags then count for all of them.
  /// File owners are shifted by the container's id map. Needs root; Linux 5.12.
  bool idmapped = false;
  /// With `idmapped`: by the map of this user namespace, "/proc/PID/ns/user", and not its own.
  HostPath idmap_of = {};
  Propagation propagation = Propagation::private_;
  MountCommon common = {};
  auto operator<=>(const Bind&) const = default;
};

struct Tmpfs {
  GuestPath target = {};
  Bytes size = {64U << 20U};  ///< 0: the kernel's default, half of the memory.
  std::uint64_t inodes = 0;   ///< 0: the kernel's default.
  Mode mode = {0755};         ///< Of its root, which is uid 0's; a /tmp for all is 01777.
  Flags<MountFlag> flags = MountFlag::nosuid | MountFlag::nodev;
  MountCommon common = {};
  auto operator<=>(const Tmpfs&) const = default;
};

/// procfs of the container's pid namespace.
struct Proc {
  GuestPath target = GuestPath("/proc");
  bool pids_only = false;    ///< subset=pid, Linux 5.8
  bool hide_others = false;  ///< hidepid=invisible
  Flags<MountFlag> flags = MountFlag::nosuid | MountFlag::nodev | MountFlag::noexec;
  MountCommon common = {};
  auto operator<=>(const Proc&) const = default;
};

/// sysfs of the container's network namespace; the host's, bound, when that is shared.
struct Sysfs {
  GuestPath target = GuestPath("/sys");
  Flags<MountFlag> flags =
      MountFlag::read_only | MountFlag::nosuid | MountFlag::nodev | MountFlag::noexec;
  /// Where the rest is read-only: devices/virtual/net, the settings of the network's interfaces, is
  /// not. Needs a network namespace of the container's own.
  bool net_writable = false;
  MountCommon common = {};
  auto operator<=>(const Sysfs&) const = default;
};

struct Mqueue {
  GuestPath target = {};
  Flags<MountFlag> flags = MountFlag::nosuid | MountFlag::nodev | MountFlag::noexec;
  MountCommon common = {};
  auto operator<=>(const Mqueue&) const = default;
};

/// The container's own part of every cgroup hierarchy that the host has mounted, in the host's
/// layout. Writable, it may make cgroups of its own below. The files of its limits stay the
/// launching user's: where that one is in the container (no user namespace, or an id map with that
/// user in it), its root could lift them, and limits need Allow::own_limits.
struct CgroupMount {
  GuestPath target = GuestPath("/sys/fs/cgroup");
  Flags<MountFlag> flags =
      MountFlag::read_only | MountFlag::nosuid | MountFlag::nodev | MountFlag::noexec;
  /// For a container that shares the host's cgroup namespace, and so sees all of each hierarchy:
  /// where the rest is read-only, the cgroup that it is in is not.
  bool own_writable = false;
  MountCommon common = {};
  auto operator<=>(const CgroupMount&) const = default;
};

/// A new instance of devpts.
struct Devpts {
  GuestPath target = GuestPath("/dev/pts");
  unsigned max = 1024;  ///< Most ptys it hands out.
  /// Its "ptmx" is seen there, too, for programs that know it by that name; empty: nowhere. With
  /// Devices::populate there is /dev/ptmx anyway. Passed over where it cannot be, and where a link
  /// is.
  GuestPath ptmx = {};
  Flags<MountFlag> flags = MountFlag::nosuid | MountFlag::noexec;
  MountCommon common = {};
  auto operator<=>(const Devpts&) const = default;
};

/// overlayfs. With an empty upper directory the layers are read-only (then two lower ones are
/// needed).
struct Overlay {
  GuestPath target = {};
  std::vector<HostPath> lower = {};  ///< Topmost first.
  HostPath upper = {};
  HostPath work = {};
  bool ephemeral = false;  ///< Upper and work in a tmpfs that ends with the container.
  Bytes size = {};         ///< Of that tmpfs; 0: the kernel's default.
  Flags<MountFlag> flags = MountFlag::nosuid | MountFlag::nodev;
  MountCommon common = {};
  auto operator<=>(const Overlay&) const = default;
};

/// Any file system by name.
struct FsMount {
  std::string type = {};
  std::string source = {};                ///< The "source" parameter, as in mount(8); may be empty.
  std::vector<std::string> options = {};  ///< "key" or "key=value" each, of that file system.
  GuestPath target = {};
  Flags<MountFlag> flags = MountFlag::nosuid | MountFlag::nodev;
  Propagation propagation = Propagation::as_is;  ///< Of the new mount.
  MountCommon common = {};
  auto operator<=>(const FsMount&) const = default;
};

/// A file system in a file, or on a block device. The host mounts it for the container, which takes
/// root's rights, and all who have the same file share one mounted file system. Nothing of it
/// stays, no loop device either, when the last of them is gone, however that came. The kernel reads
/// what is in it: an image of somebody who is not trusted is not for it.
struct RootImage {
  HostPath path = {};  ///< A regular file, or the node of a block device. Empty: none.
  /// Of the file system, as in mount(8); empty: ext4, squashfs, erofs and others by what is in it.
  std::string type = {};
  std::vector<std::string> options = {};  ///< "key" or "key=value" each, of that file system.
  auto operator<=>(const RootImage&) const = default;
};

/// The file system of an image at a place in the container: what Root::image is for its root.
/// docs/images.md
struct ImageMount {
  RootImage image = {};
  GuestPath target = {};
  /// Changes go to an upper layer; the image itself is only read.
  bool ephemeral = false;
  HostPath upper = {};  ///< Of that; empty: a tmpfs that ends with the container.
  HostPath work = {};   ///< overlayfs's work directory, beside `upper` on the same file system.
  Bytes size = {};      ///< Of that tmpfs; 0: the kernel's default, half of the memory.
  /// File owners are shifted by the container's id map. Not with an upper layer. Linux 5.12.
  bool idmapped = false;
  /// Without read_only, and not ephemeral, the image itself is written to.
  Flags<MountFlag> flags = MountFlag::read_only | MountFlag::nosuid | MountFlag::nodev;
  MountCommon common = {};
  auto operator<=>(const ImageMount&) const = default;
};

/// A file that is made for the container, in memory: each launch has its own, and nothing of it is
/// on the host. Over a file of /proc or /sys it stands for what the kernel says there.
struct FileMount {
  GuestPath target = {};
  std::string content = {};  ///< At most 64 KiB, without NUL.
  Mode mode = {0444};        ///< Its owner is the container's root.
  /// Without read_only the container may change it.
  Flags<MountFlag> flags =
      MountFlag::read_only | MountFlag::nosuid | MountFlag::nodev | MountFlag::noexec;
  MountCommon common = {};
  auto operator<=>(const FileMount&) const = default;
};

using Mount = std::variant<Bind, Tmpfs, Proc, Sysfs, Mqueue, CgroupMount, Devpts, Overlay, FsMount,
                           ImageMount, FileMount>;

/// Where a mount goes.
[[nodiscard]] inline const GuestPath& target_of(const Mount& mount) {
  return std::visit([](const auto& m) -> const GuestPath& { return m.target; }, mount);
}

/// The root file system.
struct Root {
  /// A directory. Empty or "/": the host's own, read-only unless it is ephemeral or there is
  /// Allow::host_root_writable; /run and /tmp are empty ones of the container.
  HostPath path = {};
  /// Instead of `path`. What cannot be written to, as squashfs and erofs, is read-only.
  RootImage image = {};
  bool read_only = false;
  bool ephemeral = false;  ///< Changes go to an upper layer; the directory itself is never touched.
  /// Of an ephemeral root: directories that lie below `path` or `image`, topmost first.
  std::vector<HostPath> lower = {};
  /// Of the ephemeral overlay; empty: a tmpfs that ends with the container.
  HostPath upper = {};
  HostPath work = {};  ///< overlayfs's work directory, beside `upper` on the same file system.
  Bytes size = {};     ///< Of that tmpfs; 0: the kernel's default, half of the memory.
  /// File owners are shifted by the container's id map. Needs root; Linux 5.12.
  bool idmapped = false;
  Propagation propagation = Propagation::private_;  ///< Of the container's root, seen from inside.
  bool operator==(const Root&) const = default;
};

/// A detached mount (open_tree(2), fsmount(2)) for a container that is set up already. It is moved
/// into its place there; the descriptor is borrowed until that is done, and of no further use.
struct PassedMount {
  HostFd mount = {};
  GuestPath target = {};  ///< Looked up in the container's root, never through a link.
  /// Made when it is missing, if the root can be written to.
  bool create = true;
  bool operator==(const PassedMount&) const = default;
};

}  // namespace v0
}  // namespace condroid
