// What each finding of a host report is called, and what mends it. Private.
#pragma once

#include <array>
#include <string_view>

namespace condroid::inline v0::detail {

struct FindingWords {
  std::string_view id;
  std::string_view group;
  std::string_view what;
  /// For EPERM and EACCES; for what is not there; for what somebody else said of it (else as for
  /// what is not there). {user} is this user's name.
  std::string_view refused = {};
  std::string_view absent = {};
  std::string_view said = {};
};

inline constexpr std::string_view as_root = "run as root";
inline constexpr std::string_view subids =
    "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}";
inline constexpr std::string_view delegate =
    "as root, or systemd-run --user --scope -p Delegate=yes COMMAND";

inline constexpr std::string_view systemd_for_root =
    "apt install dbus, on a machine or in a container that systemd has started";
inline constexpr std::string_view systemd_for_user =
    "apt install dbus-user-session; loginctl enable-linger {user}";

/// In the order of the report. Cgroups, whose number is the machine's, come behind "id.newgidmap".
inline constexpr auto finding_words = std::to_array<FindingWords>({
    {"launch.runtime", "containers", "zygote and state directory"},
    {"launch.plain", "containers", "plain container"},
    {"launch.userns", "containers", "container with a user namespace"},
    {"launch.ephemeral", "containers", "ephemeral root"},
    {"launch.terminal", "containers", "terminal of its own"},
    {"launch.init", "containers", "small init"},
    {"launch.time", "containers", "clocks of its own"},
    {"launch.limits", "containers", "limits of memory and processes"},

    {"ns.user", "namespaces", "user",
     "sysctl -w kernel.unprivileged_userns_clone=1 "
     "kernel.apparmor_restrict_unprivileged_userns=0 (what of them there is)",
     "sysctl -w user.max_user_namespaces=15000"},
    {"ns.mount", "namespaces", "mount"},
    {"ns.pid", "namespaces", "pid"},
    {"ns.net", "namespaces", "network"},
    {"ns.uts", "namespaces", "host name (uts)"},
    {"ns.ipc", "namespaces", "ipc"},
    {"ns.cgroup", "namespaces", "cgroup"},
    {"ns.time",
     "namespaces",
     "time, with offsets of its clocks",
     {},
     "Linux 5.6 with CONFIG_TIME_NS"},
    {"ns.join", "namespaces", "entering those of a pidfd"},

    {"id.single", "ids", "a single id",
     "uid 0 is mapped with CAP_SETFCAP only (Linux 5.12): keep it, or be another user"},
    {"id.direct", "ids", "a range, written directly",
     "as root; others use ranges of /etc/subuid (newuidmap)"},
    {"id.newuidmap", "ids", "user ids through newuidmap", subids, "apt install uidmap", subids},
    {"id.newgidmap", "ids", "group ids through newgidmap", subids, "apt install uidmap", subids},

    {"mount.open_tree", "mounts", "open_tree", {}, "Linux 5.2"},
    {"mount.fsopen", "mounts", "fsopen, fsmount", {}, "Linux 5.2"},
    {"mount.move_mount", "mounts", "move_mount", {}, "Linux 5.2"},
    {"mount.mount_setattr", "mounts", "mount_setattr", {}, "Linux 5.12"},
    {"mount.idmapped", "mounts", "idmapped mounts", as_root,
     "Linux 5.12 (a tmpfs: 6.3), and a file system that takes it"},
    {"mount.open_tree_attr", "mounts", "open_tree_attr", {}, "Linux 6.15"},
    {"mount.statmount", "mounts", "statmount", {}, "Linux 6.8"},
    {"mount.pivot_root", "mounts", "pivot_root"},
    {"mount.proc", "mounts", "a new procfs",
     "in a container: one whose /proc has nothing mounted on it (nesting)"},
    {"mount.sysfs", "mounts", "a new sysfs",
     "in a container: one whose /sys has nothing mounted on it (nesting)"},
    {"mount.mqueue", "mounts", "a new mqueue", {}, "CONFIG_POSIX_MQUEUE"},
    {"mount.cgroup2", "mounts", "cgroup2 of a cgroup namespace",
     "in a container: one that sees a whole cgroup2 (nesting)", "CONFIG_CGROUPS"},
    {"mount.mknod", "mounts", "device nodes by mknod",
     "as root of the machine; condroid binds the host's nodes elsewhere"},
    {"mount.bind-node", "mounts", "device nodes by bind mount"},

    {"overlay.root", "overlays", "as root", "as root; others mount it in a user namespace",
     "modprobe overlay"},
    {"overlay.user", "overlays", "in a user namespace", "Linux 5.11", "modprobe overlay"},
    {"overlay.host", "overlays", "over the host's /usr", "Linux 5.11",
     "the host's root is a stack of overlays already: use a root directory on a disk"},

    {"image.loop", "images", "loop devices", as_root,
     "modprobe loop; in a container, it has to be given /dev/loop-control"},
    {"image.ext4", "images", "ext4 image", as_root, "loop devices, and modprobe ext4"},
    {"image.squashfs", "images", "squashfs image", as_root, "loop devices, and modprobe squashfs"},
    {"image.erofs", "images", "erofs image", as_root, "loop devices, and modprobe erofs"},
    {"image.erofs-file", "images", "erofs image without a loop device", as_root,
     "Linux 6.12 with CONFIG_EROFS_FS_BACKED_BY_FILE"},
    {"image.fuse", "images", "fuse", "chmod 0666 /dev/fuse", "modprobe fuse"},

    {"process.memfd-exec", "processes", "execution of a memfd", "sysctl -w vm.memfd_noexec=0",
     "sysctl -w vm.memfd_noexec=0"},
    {"process.clone3", "processes", "clone3 with a pidfd", {}, "Linux 5.5"},
    {"process.pidfd-getfd", "processes", "another one's descriptors (pidfd_getfd)",
     "sysctl -w kernel.yama.ptrace_scope=1", "Linux 5.6"},
    {"process.pidfd-group", "processes", "signals to a group by pidfd", {}, "Linux 6.9"},
    {"process.pidfd-inode",
     "processes",
     "pidfds with inodes of their own",
     {},
     "Linux 6.9",
     "Linux 6.9"},
    {"process.pidfd-info", "processes", "PIDFD_GET_INFO", {}, "Linux 6.13"},

    {"security.bounding-set", "security", "dropping capabilities"},
    {"security.seccomp", "security", "seccomp filter", {}, "CONFIG_SECCOMP_FILTER"},
    {"security.seccomp-notify", "security", "seccomp user notification",
     "is another listener installed here already?", "Linux 5.0"},
    {"security.landlock",
     "security",
     "Landlock",
     {},
     "Linux 5.13 with CONFIG_SECURITY_LANDLOCK, and landlock in lsm= of the kernel's command line"},
    {"security.apparmor", "security", "AppArmor", {}, "boot with apparmor=1 security=apparmor"},
    {"security.selinux", "security", "SELinux", {}, "boot with selinux=1 security=selinux"},
    {"security.keyring", "security", "session keyring", {}, "CONFIG_KEYS"},

    {"net.veth", "network", "veth", {}, "modprobe veth"},
    {"net.move", "network", "moving an interface to a container"},
    {"net.bridge", "network", "bridge", {}, "modprobe bridge"},
    {"net.macvlan", "network", "macvlan", {}, "modprobe macvlan"},
    {"net.ipvlan", "network", "ipvlan", {}, "modprobe ipvlan"},
    {"net.vlan", "network", "vlan", {}, "modprobe 8021q"},
    {"net.tun", "network", "tun and tap", "chmod 0666 /dev/net/tun", "modprobe tun"},
    {"net.nftables", "network", "nftables with nat", {}, "modprobe nft_chain_nat"},
    {"net.pasta", "network", "helper pasta", {}, "apt install passt"},
    {"net.slirp4netns", "network", "helper slirp4netns", {}, "apt install slirp4netns"},
    {"net.lxc-user-nic",
     "network",
     "helper lxc-user-nic",
     {},
     "apt install lxc; echo '{user} veth lxcbr0 10' >> /etc/lxc/lxc-usernet",
     "echo '{user} veth lxcbr0 10' >> /etc/lxc/lxc-usernet, and a bridge lxcbr0 (lxc-net)"},

    {"device.devpts", "devices", "terminals of a devpts of its own", {}, "CONFIG_UNIX98_PTYS"},
    {"device.pty-peer", "devices", "opening a terminal by its master"},
    {"device.kvm", "devices", "kvm", "usermod --append --groups kvm {user}",
     "modprobe kvm_intel or kvm_amd; a machine with virtualization"},
    {"device.binderfs", "devices", "binderfs", {}, "a kernel with CONFIG_ANDROID_BINDERFS"},
    {"device.binder", "devices", "the host's /dev/binder", "chmod 0666 /dev/binder",
     "modprobe binder_linux; binderfs does as well"},
});

/// Of v2 beside its controllers; `what` of those and of v1 is the controller.
inline constexpr auto cgroup_words = std::to_array<FindingWords>({
    {"cgroup.scope", "cgroups", "scope of systemd"},
    {"cgroup.v2", "cgroups", "cgroups of version 2", delegate, delegate},
    {"cgroup.v2.clone-into", "cgroups", "v2: clone into a cgroup", delegate},
    {"cgroup.v2.kill", "cgroups", "v2: kill", delegate, "Linux 5.14"},
    {"cgroup.v2.freeze", "cgroups", "v2: freeze and thaw", delegate},
    {"cgroup.v2.pressure", "cgroups", "v2: thresholds of pressure", "Linux 6.5, or run as root",
     "boot with psi=1"},
    {"cgroup.v2.delegation", "cgroups", "v2: a cgroup for another user", delegate},
    {"cgroup.v1.freeze", "cgroups", "v1: freeze and thaw", as_root},
});

}  // namespace condroid::inline v0::detail
