// HostFacts: what this kernel, this user and this machine can do, as plain data. compile() takes
// them as an argument, so that a plan can be made and tested for any machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {

/// A range of ids that a user may map; subuid(5).
struct SubidRange {
  std::uint32_t start = 0;
  std::uint32_t count = 0;
  bool operator==(const SubidRange&) const = default;
};

/// One line of /proc/self/mountinfo; proc(5). Text is unescaped.
struct MountEntry {
  int id = 0;
  int parent = 0;
  std::string root = {};  ///< Of the file system, where this mount begins.
  std::string target = {};
  std::string options = {};  ///< Of this mount: "rw,nosuid,relatime".
  std::string type = {};
  std::string source = {};
  std::string super_options = {};
  bool shared = false;  ///< In a peer group.
  bool operator==(const MountEntry&) const = default;
};

/// One mounted cgroup hierarchy.
struct CgroupHierarchy {
  bool v2 = false;
  std::string mount_point = {};  ///< "/sys/fs/cgroup/memory"
  /// The cgroup that is mounted there: "/" on a plain host.
  std::string mount_root = {};
  /// v1: what is bound here ("cpu", "name=systemd"); v2: cgroup.controllers, for others than root
  /// those that `parent` may hand on.
  std::vector<std::string> controllers = {};
  /// The cgroup of this process in it, from the hierarchy's root.
  std::string own_path = {};
  /// The cgroup that containers are put below, from what is mounted: empty is the top, for root;
  /// for others on v1 the own one, on v2 the nearest from there up that has no process of its own
  /// and is this user's (the delegated one), or a scope of systemd's (systemd_scope.hpp).
  std::string parent = {};
  bool writable = false;  ///< This user may make cgroups there.
  bool operator==(const CgroupHierarchy&) const = default;
};

/// One entry of the host's "/", for a container whose root is the host's own.
struct RootEntry {
  enum Kind : std::uint8_t { directory, file, link, other };
  std::string name = {};
  Kind kind = directory;
  std::string points_to = {};  ///< For link.
  std::uint32_t mode = 0;      ///< Permission bits.
  bool operator==(const RootEntry&) const = default;
};

/// Probed once per Runtime. Everything here is a copy; nothing is held open.
struct HostFacts {
  // Kernel.
  std::string kernel_release = {};  ///< "6.18.0-amd64"
  unsigned kernel_major = 0;
  unsigned kernel_minor = 0;
  std::string machine = {};       ///< "x86_64", "aarch64"
  unsigned last_capability = 40;  ///< /proc/sys/kernel/cap_last_cap
  /// This user may make one (tried, or the limit in /proc/sys/user).
  bool namespaces_user = false;
  bool namespaces_time = false;    ///< Linux 5.6
  bool namespaces_cgroup = false;  ///< Linux 4.6
  bool memfd_exec = false;         ///< MFD_EXEC, Linux 6.3
  bool pidfs = false;              ///< pidfds have unique inodes, Linux 6.9
  bool cgroup_kill = false;        ///< cgroup.kill, Linux 5.14
  /// What the kernel has of Landlock: 1 (Linux 5.13) and up, 0 is none; landlock(7).
  unsigned landlock_abi = 0;
  bool apparmor = false;  ///< Active, and gives processes labels.
  /// This user may load profiles of it: what that is done through is there and may be written to.
  bool apparmor_loads = false;
  std::string apparmor_parser = {};  ///< Path of apparmor_parser(8); empty: none.
  bool selinux = false;

  // User.
  Uid uid = {};
  Gid gid = {};
  std::vector<Gid> groups = {};
  std::string user_name = {};
  std::uint64_t effective_caps = 0;
  std::uint64_t bounding_caps = 0;
  bool initial_user_namespace = false;  ///< The id map is the identity over all ids.
  std::vector<SubidRange> subuids = {};
  std::vector<SubidRange> subgids = {};
  /// Path of the program with its set-id bit or capability; empty: none.
  std::string newuidmap = {};
  std::string newgidmap = {};
  std::string pasta = {};     ///< Path of pasta(1); empty: none.
  std::string user_nic = {};  ///< Of lxc-user-nic(1), with its set-id bit.
  bool no_new_privs = false;  ///< Set on this thread: newuidmap would gain nothing.
  /// soft, hard; indexed by Rlimit.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> rlimits = {};

  // Machine.
  std::vector<MountEntry> mounts = {};
  std::vector<CgroupHierarchy> cgroups = {};
  std::vector<RootEntry> root_entries = {};
  /// Something is mounted below /proc: a user namespace gets no procfs then.
  bool proc_overmounted = false;
  bool sys_overmounted = false;
  std::string state_dir = {};  ///< Where the Runtime keeps its state.

  [[nodiscard]] bool has_cap(unsigned capability) const noexcept {
    return ((effective_caps >> capability) & 1U) != 0;
  }
  /// root in the sense of the launch: may mount, make namespaces and write id maps without a user
  /// namespace.
  [[nodiscard]] bool privileged() const noexcept { return has_cap(21 /* CAP_SYS_ADMIN */); }
  [[nodiscard]] bool kernel_at_least(unsigned major, unsigned minor) const noexcept {
    return kernel_major > major || (kernel_major == major && kernel_minor >= minor);
  }
  bool operator==(const HostFacts&) const = default;
};

/// Looks at this machine as the calling thread sees it. Blocks for some hundred microseconds;
/// changes nothing.
/// @errors Step::probe_host when /proc is not there.
[[nodiscard]] Result<HostFacts> probe_host();

}  // namespace v0
}  // namespace condroid
