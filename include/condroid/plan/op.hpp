// The ops of a plan: every single thing that is done to make a container, as typed values. A plan
// (plan.hpp) is a flat list of them. Each is carried out by the host, by the zygote, or by the
// container's own process before it executes its command, and is one step of the timeline, of
// stop_before and of an error.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/flags.hpp"
#include "condroid/spec.hpp"

namespace condroid {
inline namespace v0 {
namespace op {

/// Who carries an op out.
enum class Actor : std::uint8_t { host, zygote, child };

/// A numbered place for a descriptor in the child: the program's registers. -1 is none.
struct Slot {
  int number = -1;
  [[nodiscard]] constexpr bool valid() const noexcept { return number >= 0; }
  auto operator<=>(const Slot&) const = default;
};
inline constexpr int slot_count = 256;

// ---- by the host --------------------------------------------------------------------------------

/// Makes the container's cgroup in one hierarchy and opens what the child or the zygote needs of
/// it. Undone by removing it, with all below it.
struct CreateCgroup {
  static constexpr Step step = Step::create_cgroup;
  static constexpr Actor actor = Actor::host;
  std::size_t hierarchy = 0;  ///< Index in HostFacts::cgroups.
  bool v2 = false;
  std::string mount_point = {};               ///< For the reader.
  std::vector<std::string> controllers = {};  ///< v2: to be switched on above it.
  std::vector<std::string> wished = {};       ///< v2: the same, where that can be.
  /// v1: the child writes "0" to it; v2: none, the child is cloned into it.
  Slot tasks = {};
  std::string path = {};   ///< Below the parent; empty: the Runtime's, by the container's name.
  std::string inner = {};  ///< Below it, where the processes are; empty: in it.
  /// Given to `uid` and `gid`, as the host numbers them; cgroups(7), delegation.
  bool delegated = false;
  Uid uid = {};
  Gid gid = {};
  bool operator==(const CreateCgroup&) const = default;
};

/// Writes one value to the container's cgroup, before anything runs in it.
struct WriteCgroup {
  static constexpr Step step = Step::write_cgroup;
  static constexpr Actor actor = Actor::host;
  std::size_t hierarchy = 0;
  std::string file = {};
  std::string value = {};
  bool optional = false;   ///< Where it cannot be done it is reported, and no failure.
  std::string field = {};  ///< Of the Spec: "resources.memory_max".
  /// A path of the host: the number of its block device goes in front of the value.
  std::string device = {};
  /// What is written instead where there is no `file`.
  std::string or_file = {};
  std::string or_value = {};
  bool operator==(const WriteCgroup&) const = default;
};

/// Lets what is in the container's cgroup open these devices and no others, and none that is
/// denied: by devices.deny and devices.allow of v1, or by a BPF program on v2,
/// BPF_PROG_TYPE_CGROUP_DEVICE.
struct FilterDevices {
  static constexpr Step step = Step::filter_devices;
  static constexpr Actor actor = Actor::host;
  std::size_t hierarchy = 0;
  bool v2 = false;
  std::vector<DevicePermission> permitted = {};
  std::vector<DevicePermission> denied = {};
  bool operator==(const FilterDevices&) const = default;
};

/// Opens the cgroup that a process which joins a container is to be in.
struct OpenCgroup {
  static constexpr Step step = Step::enter_cgroup;
  static constexpr Actor actor = Actor::host;
  std::size_t hierarchy = 0;  ///< Index in HostFacts::cgroups.
  bool v2 = false;
  std::string path = {};  ///< As this program sees it: "/sys/fs/cgroup/pids/a/b".
  /// A new one below that, of this process alone; undone by removing it.
  bool below = false;
  bool ours = false;  ///< Of a container of this Runtime: what is below can be undone.
  Slot tasks = {};    ///< v1: the child writes "0" to it; v2: none, the child is cloned into it.
  bool operator==(const OpenCgroup&) const = default;
};

/// The namespaces of a running process: the zygote joins them before it clones, all at once.
/// setns(2) of a pidfd, Linux 5.8.
struct EnterProcess {
  static constexpr Step step = Step::join_namespace;
  static constexpr Actor actor = Actor::host;
  Pid pid = {};
  HostFd pidfd = {};  ///< Borrowed; says which process is meant, whatever becomes of the number.
  Flags<Namespace> namespaces = {};
  bool operator==(const EnterProcess&) const = default;
};

/// Opens or takes what the child is to inherit.
struct OpenDescriptor {
  static constexpr Step step = Step::open_descriptor;
  static constexpr Actor actor = Actor::host;
  enum Kind : std::uint8_t {
    stdio,       ///< Of `number` 0 to 2, as `stream` says.
    borrowed,    ///< The host descriptor `fd`.
    ns_of_pid,   ///< The namespace `ns` of process `number`.
    ns_of_path,  ///< The namespace at `path`.
    /// A detached copy of the mount of descriptor `fd` (open_tree(2)); recursive if `recursive`.
    tree,
    root_of_pid,  ///< The root directory of process `number`.
    directory,    ///< The host's directory `path`, O_PATH.
  };
  Kind kind = stdio;
  int number = -1;
  Stream stream = {};
  HostFd fd = {};
  Namespace ns = Namespace::net;
  std::string path = {};
  bool recursive = false;
  bool slave = false;         ///< tree: mounts of the host that come later reach it.
  bool optional = false;      ///< tree: a missing one is none.
  bool before_clone = false;  ///< The zygote joins it before it clones (pid and user namespaces).
  Slot to = {};
  bool operator==(const OpenDescriptor&) const = default;
};

/// Holds a file of the root file system open for writing, so that the container cannot turn the
/// file system read-only.
struct PinRootfs {
  static constexpr Step step = Step::pin_rootfs;
  static constexpr Actor actor = Actor::host;
  std::string path = {};
  bool operator==(const PinRootfs&) const = default;
};

/// Writes uid_map and gid_map of the child.
struct WriteIdMap {
  static constexpr Step step = Step::write_id_map;
  static constexpr Actor actor = Actor::host;
  enum How : std::uint8_t { direct, helpers };
  How how = direct;
  bool deny_setgroups = false;  ///< Before an unprivileged gid_map; user_namespaces(7).
  std::vector<IdRange> uids = {};
  std::vector<IdRange> gids = {};
  std::string newuidmap = {};  ///< For helpers: their paths.
  std::string newgidmap = {};
  bool operator==(const WriteIdMap&) const = default;
};

/// Makes a detached copy of a host directory whose owners are shifted by the child's id map, and
/// sends it to the child.
struct IdmapTree {
  static constexpr Step step = Step::open_source;
  static constexpr Actor actor = Actor::host;
  std::string path = {};
  HostFd fd = {};  ///< Instead of path.
  bool recursive = false;
  bool slave = false;  ///< As of OpenDescriptor.
  bool optional = false;
  std::string map_of = {};  ///< A user namespace's file; empty: the child's.
  Slot to = {};  ///< Received with the answer to Sync::configure, in the order of these ops.
  bool operator==(const IdmapTree&) const = default;
};

/// Mounts the file system in an image, detached; a file by a loop device, that of others who have
/// the same file mounted.
struct MountImage {
  static constexpr Step step = Step::mount_root;
  static constexpr Actor actor = Actor::host;
  RootImage image = {};
  bool read_only = false;  ///< Nobody writes to it by this mount.
  /// With owners shifted by the child's id map. Then it is received as of IdmapTree.
  bool idmapped = false;
  Slot to = {};
  bool operator==(const MountImage&) const = default;
};

/// Makes, in a throwaway process of the zygote, a detached overlay for every directory given, over
/// copies whose owners are shifted by the child's id map, and sends them to the child. Upper layers
/// share one tmpfs.
struct OverlayTrees {
  static constexpr Step step = Step::mount_root;
  static constexpr Actor actor = Actor::host;
  struct Layer {
    std::string lower = {};
    std::string upper = {};  ///< Host directory; empty: in the tmpfs.
    std::string work = {};
    /// Of the directory, as the host has it; its owner is the container's root.
    Mode mode = {0755};
    Slot to = {};
    bool operator==(const Layer&) const = default;
  };
  std::vector<Layer> layers = {};
  RootImage image = {};  ///< Is the lower directory, and not `lower`, of the only layer.
  Bytes size = {};
  bool idmapped = true;
  bool operator==(const OverlayTrees&) const = default;
};

/// Has pasta(1) make an interface in the child's network namespace and carry what goes over it,
/// until the container ends.
struct StartPasta {
  static constexpr Step step = Step::start_pasta;
  static constexpr Actor actor = Actor::host;
  std::string program = {};
  Interface interface = {};
  std::vector<PublishedPort> publish = {};
  bool own_users = false;  ///< The namespace belongs to the child's user namespace, to be joined.
  bool operator==(const StartPasta&) const = default;
};

/// Has lxc-user-nic(1) make a veth between the child's network namespace and a bridge of the host.
/// It goes with the namespace.
struct AskUserNic {
  static constexpr Step step = Step::create_interface;
  static constexpr Actor actor = Actor::host;
  std::string program = {};
  Interface interface = {};
  std::string user = {};  ///< For the hint.
  bool operator==(const AskUserNic&) const = default;
};

/// Makes an interface in the child's network namespace; rtnetlink(7). It goes with the namespace.
struct CreateInterface {
  static constexpr Step step = Step::create_interface;
  static constexpr Actor actor = Actor::host;
  Interface interface = {};
  bool operator==(const CreateInterface&) const = default;
};

/// Takes part in a bridge of condroid's own, which is made if it is not there, and addresses for an
/// interface from its subnets.
struct LeaseAddress {
  static constexpr Step step = Step::lease_address;
  static constexpr Actor actor = Actor::host;
  Interface interface = {};
  bool operator==(const LeaseAddress&) const = default;
};

/// Has ports of the host lead to the container's address on the bridge.
struct PublishPorts {
  static constexpr Step step = Step::publish_port;
  static constexpr Actor actor = Actor::host;
  std::string interface = {};  ///< Of the container, by whose addresses it is reached.
  std::vector<PublishedPort> ports = {};
  bool operator==(const PublishPorts&) const = default;
};

/// Runs a program of the caller's in its own world: the zygote's process, which it is waited for.
struct RunHook {
  static constexpr Step step = Step::run_hook;
  static constexpr Actor actor = Actor::host;
  Hook hook = {};  ///< Its values are filled in when it is run.
  /// Of the interface that it is for; else empty.
  std::string interface_type = {};
  std::string interface_parent = {};
  bool operator==(const RunHook&) const = default;
};

/// Makes what keeps the output of the hooks that the child runs, in memory.
struct OpenHookOutput {
  static constexpr Step step = Step::open_descriptor;
  static constexpr Actor actor = Actor::host;
  unsigned hooks = 0;
  Slot to = {};
  bool operator==(const OpenHookOutput&) const = default;
};

/// Opens namespaces of the child's for the hooks of its end.
struct KeepNamespaces {
  static constexpr Step step = Step::run_hook;
  static constexpr Actor actor = Actor::host;
  Flags<Namespace> namespaces = {};
  bool operator==(const KeepNamespaces&) const = default;
};

// ---- by the zygote ------------------------------------------------------------------------------

/// Clones the child: clone3(2). Everything above this line happens in the host before there is a
/// process.
struct Clone {
  static constexpr Step step = Step::clone;
  static constexpr Actor actor = Actor::zygote;
  Flags<Namespace> namespaces = {};  ///< Of pid, user.
  bool into_cgroup = false;          ///< CLONE_INTO_CGROUP, Linux 5.7
  bool operator==(const Clone&) const = default;
};

// ---- by the child -------------------------------------------------------------------------------

/// Asks for SIGKILL (or `signal`) when the zygote dies, and makes sure that zygote and host still
/// live.
struct ArmDeathSignal {
  static constexpr Step step = Step::arm_death_signal;
  static constexpr Actor actor = Actor::child;
  Signal signal = {9};
  /// Until the id map is written by an unprivileged host; proc(5), /proc/PID/uid_map.
  bool dumpable = false;
  bool operator==(const ArmDeathSignal&) const = default;
};

/// Writes "0" to the tasks file of a v1 hierarchy.
struct EnterCgroup {
  static constexpr Step step = Step::enter_cgroup;
  static constexpr Actor actor = Actor::child;
  Slot tasks = {};
  std::string mount_point = {};
  bool operator==(const EnterCgroup&) const = default;
};

struct Unshare {
  static constexpr Step step = Step::unshare;
  static constexpr Actor actor = Actor::child;
  Flags<Namespace> namespaces = {};
  bool operator==(const Unshare&) const = default;
};

struct JoinNamespace {
  static constexpr Step step = Step::join_namespace;
  static constexpr Actor actor = Actor::child;
  Namespace kind = Namespace::net;
  Slot ns = {};
  bool operator==(const JoinNamespace&) const = default;
};

/// Goes to a directory of the mount namespace that was joined and makes it the root: chroot(2).
struct EnterRoot {
  static constexpr Step step = Step::open_rootfs;
  static constexpr Actor actor = Actor::child;
  Slot root = {};
  bool operator==(const EnterRoot&) const = default;
};

/// Opens something in a root that others may change meanwhile.
struct OpenInside {
  static constexpr Step step = Step::resolve_target;
  static constexpr Actor actor = Actor::child;
  Slot base = {};  ///< None: the process's own root.
  std::string path = {};
  bool devpts = false;  ///< It must be one.
  Slot to = {};
  bool operator==(const OpenInside&) const = default;
};

/// Takes away what is mounted there, or the entry of a directory, or both: umount2(2), unlink(2).
struct RemoveEntry {
  static constexpr Step step = Step::remove_entry;
  static constexpr Actor actor = Actor::child;
  Slot base = {};
  std::string path = {};
  bool mounted = true;  ///< What is mounted on it goes.
  bool node = false;    ///< The device node, or the file that one was bound on, goes.
  bool operator==(const RemoveEntry&) const = default;
};

/// Opens sockets of the network namespace that was joined, to be sent up with SendPtys: what is
/// said on them is said there, whoever says it. socket(2).
struct OpenSockets {
  static constexpr Step step = Step::open_sockets;
  static constexpr Actor actor = Actor::child;
  int domain = 0;  ///< AF_NETLINK, AF_INET, ...
  int type = 0;    ///< With SOCK_NONBLOCK, if that is wanted. They are closed by execve(2).
  int protocol = 0;
  unsigned count = 1;
  bool operator==(const OpenSockets&) const = default;
};

/// Makes and enters a time namespace with these offsets.
struct SetTimeOffsets {
  static constexpr Step step = Step::set_time_offsets;
  static constexpr Actor actor = Actor::child;
  TimeOffsets offsets = {};
  Slot proc = {};
  /// For the moment of the write, in a user namespace of one's own: /proc/self is root's otherwise.
  bool dumpable = false;
  bool operator==(const SetTimeOffsets&) const = default;
};

/// A barrier of the sync protocol: sends `ask` and waits for the answer. The host's ops that follow
/// in the plan, up to the next op of the child, are done in between.
struct Sync {
  static constexpr Step step = Step::sync;
  static constexpr Actor actor = Actor::child;
  enum Ask : std::uint8_t { configure, cgroup };
  Ask ask = configure;
  /// Where the descriptors go that come with the answer, in order.
  std::vector<Slot> receives = {};
  bool operator==(const Sync&) const = default;
};

/// Takes ids 0 of the new user namespace (or the first mapped ones).
struct BecomeRoot {
  static constexpr Step step = Step::become_root;
  static constexpr Actor actor = Actor::child;
  Uid uid = {};
  Gid gid = {};
  bool set_groups = true;
  bool groups_may_stay = false;  ///< Where a joined namespace denies setgroups(2).
  bool operator==(const BecomeRoot&) const = default;
};

/// Makes every mount of the new mount namespace private, so that nothing travels to the host, or
/// slave, so that what the host mounts later can come in where the Spec wants it.
struct ContainPropagation {
  static constexpr Step step = Step::contain_propagation;
  static constexpr Actor actor = Actor::child;
  bool slave = false;
  bool operator==(const ContainPropagation&) const = default;
};

/// One mount, from its source to its place.
struct MountOp {
  static constexpr Step step = Step::mount;
  static constexpr Actor actor = Actor::child;
  enum Source : std::uint8_t {
    /// A detached copy of the mount at host path `what`, or of what `what` names in `cwd`.
    tree,
    slot,        ///< The detached mount in `from`.
    filesystem,  ///< A new instance of file system `what`.
  };
  enum Place : std::uint8_t {
    nowhere,  ///< Stays detached in `to`.
    /// On top of the host's "/" in the child's own mount namespace: hidden from every path, held by
    /// `to`.
    on_root,
    at_target,  ///< At `target`, looked up below `base`.
  };
  Source source = tree;
  std::string what = {};
  std::string fs_source = {};
  std::vector<std::string> options = {};  ///< "key" or "key=value".
  Slot cwd = {};  ///< filesystem: relative paths in options start here. tree: `what` does.
  Slot from = {};
  bool recursive = false;
  bool inside = false;  ///< tree: `what` is looked up below `base`, and never through a link.
  /// tree: the container's cgroup in this hierarchy, an index in HostFacts::cgroups. It has its
  /// name from the launch: `what`, and what stands behind `target`.
  std::optional<std::size_t> own_cgroup = {};
  Flags<MountFlag> flags = {};
  bool recursive_flags = false;
  Propagation propagation = Propagation::as_is;
  Place place = at_target;
  Slot base = {};
  Slot dir = {};  ///< filesystem: as of MaskPath, for `target`.
  /// Absolute in the container for a reader; looked up in `base`, never as a host path.
  std::string target = {};
  bool create = true;
  bool follow_links = false;
  bool optional = false;
  Slot to = {};  ///< Keeps the mount's root open.
  bool operator==(const MountOp&) const = default;
};

/// Makes a directory, a link or an empty file below a slot. An existing one of the same kind is
/// fine.
struct MakeEntry {
  static constexpr Step step = Step::make_directory;  // step_of knows the other kinds
  static constexpr Actor actor = Actor::child;
  enum Kind : std::uint8_t { directory, link, file };
  Kind kind = directory;
  Slot base = {};
  std::string path = {};     ///< Relative to base; parents are made for a directory.
  std::string content = {};  ///< link: where it points; file: what is in it.
  bool uuid = false;         ///< file: a random UUID is in it, of each launch another; RFC 4122.
  Mode mode = {0755};
  bool operator==(const MakeEntry&) const = default;
};

/// A device node below a slot: mknod(2), or the host's own node bound where that is not permitted.
struct MakeNode {
  static constexpr Step step = Step::make_node;
  static constexpr Actor actor = Actor::child;
  Slot base = {};
  DeviceNode node = {};
  bool bind = false;           ///< Do not try mknod: a user namespace cannot open such nodes.
  std::string host_path = {};  ///< "/dev/null"
  bool operator==(const MakeNode&) const = default;
};

/// Allocates a pty from the container's devpts, binds its slave at `path` below `dev` (nowhere,
/// when that is empty), sends the master to the host.
struct OpenPty {
  static constexpr Step step = Step::open_console;
  static constexpr Actor actor = Actor::child;
  Slot devpts = {};
  Slot dev = {};
  std::string path = {};  ///< Relative to dev: "console", "tty1", "lxc/tty1".
  /// Also a link here to path (tty_dir); or, for the console, a second bind.
  std::string link_from = {};
  bool console = false;
  std::uint16_t rows = 24;
  std::uint16_t columns = 80;
  Uid uid = {};
  Gid gid = {};
  Slot slave = {};  ///< Keeps the slave open.
  /// Of a pty that is there already, in a devpts that was kept: it is bound, and no master is made.
  int number = -1;
  bool operator==(const OpenPty&) const = default;
};

/// Sends the pty masters (and sockets) gathered so far to the host, in order.
struct SendPtys {
  static constexpr Step step = Step::open_console;
  static constexpr Actor actor = Actor::child;
  unsigned count = 0;
  /// Behind them goes a copy of the mount of this devpts, for the container's next life.
  Slot devpts = {};
  bool operator==(const SendPtys&) const = default;
};

/// Hides a kernel file or directory; passes over what is not there.
struct MaskPath {
  static constexpr Step step = Step::mask_path;
  static constexpr Actor actor = Actor::child;
  Slot base = {};
  /// What is mounted at the first name of `path`, if it is a file system of the kernel's that the
  /// container's process has put there: the rest is looked up in it, and nothing of the root is.
  /// None: the whole of `path` is looked up below `base`.
  Slot dir = {};
  std::string path = {};
  /// The /dev directory whose "null" covers files; without one the host's /dev/null is taken.
  Slot null = {};
  bool operator==(const MaskPath&) const = default;
};

/// Makes a path read-only by binding it onto itself; passes over what is not there.
struct ProtectPath {
  static constexpr Step step = Step::protect_path;
  static constexpr Actor actor = Actor::child;
  Slot base = {};
  Slot dir = {};  ///< As of MaskPath.
  std::string path = {};
  bool operator==(const ProtectPath&) const = default;
};

/// Sets attributes of a mount that is in its place already: the root made read-only as the last
/// thing.
struct SetMountFlags {
  static constexpr Step step = Step::set_mount_attributes;
  static constexpr Actor actor = Actor::child;
  Slot mount = {};
  Flags<MountFlag> flags = {};
  bool recursive = false;
  Propagation propagation = Propagation::as_is;
  std::string what = {};  ///< For the reader: "/".
  bool operator==(const SetMountFlags&) const = default;
};

/// pivot_root(2) into the slot and lets go of the host's root.
struct PivotRoot {
  static constexpr Step step = Step::pivot_root;
  static constexpr Actor actor = Actor::child;
  Slot root = {};
  bool operator==(const PivotRoot&) const = default;
};

struct SetHostname {
  static constexpr Step step = Step::set_hostname;
  static constexpr Actor actor = Actor::child;
  std::string name = {};
  bool domain = false;
  bool operator==(const SetHostname&) const = default;
};

struct RaiseLoopback {
  static constexpr Step step = Step::raise_loopback;
  static constexpr Actor actor = Actor::child;
  bool operator==(const RaiseLoopback&) const = default;
};

/// Brings an interface of the child's own network namespace up and gives it addresses and routes;
/// rtnetlink(7).
struct ConfigureInterface {
  static constexpr Step step = Step::configure_interface;
  static constexpr Actor actor = Actor::child;
  Interface interface = {};  ///< Its link does not matter any more.
  /// A procfs, to switch IPv6 off first: what routers announce would be believed otherwise. None
  /// where IPv6 is wanted.
  Slot proc = {};
  bool operator==(const ConfigureInterface&) const = default;
};

/// Waits until no IPv6 address of an interface is tentative any more, RFC 4862; rtnetlink(7).
struct AwaitInterface {
  static constexpr Step step = Step::await_interface;
  static constexpr Actor actor = Actor::child;
  std::string name = {};
  std::vector<IpAddress> addresses = {};  ///< IPv6: for the error's words.
  bool carrier = false;                   ///< And until there is one.
  bool link_local = false;                ///< That address is waited for, too.
  std::chrono::nanoseconds limit{};
  bool operator==(const AwaitInterface&) const = default;
};

/// Writes a file of the private procfs in `proc`: a sysctl, oom_score_adj.
struct WriteSetting {
  static constexpr Step step = Step::write_setting;
  static constexpr Actor actor = Actor::child;
  Slot proc = {};
  std::string path = {};  ///< Relative to the procfs: "sys/net/ipv4/ip_forward".
  std::string value = {};
  bool dumpable = false;  ///< As of SetTimeOffsets.
  bool operator==(const WriteSetting&) const = default;
};

/// Sets the label that the command is executed under, through a file of the procfs in `proc` that
/// is proven to be that: /proc/self/attr, proc(5). Read back.
struct SetLabel {
  static constexpr Step step = Step::set_label;
  static constexpr Actor actor = Actor::child;
  Slot proc = {};
  bool apparmor = false;   ///< Else SELinux.
  std::string label = {};  ///< Profile or context.
  bool own = false;        ///< The profile of LoadProfile, which each launch names.
  bool keyring = false;    ///< That of the keyrings it makes instead.
  bool operator==(const SetLabel&) const = default;
};

/// Loads the container's own profile of AppArmor, under the name of its launch: apparmor_parser(8).
struct LoadProfile {
  static constexpr Step step = Step::load_profile;
  static constexpr Actor actor = Actor::host;
  std::string parser = {};  ///< Its path.
  std::string rules = {};   ///< What follows the name in the profile's text.
  bool operator==(const LoadProfile&) const = default;
};

struct SetRlimit {
  static constexpr Step step = Step::set_rlimit;
  static constexpr Actor actor = Actor::child;
  RlimitSetting limit = {};
  bool operator==(const SetRlimit&) const = default;
};

/// sched_setscheduler(2), setpriority(2), sched_setaffinity(2); PR_SCHED_CORE of prctl(2),
/// Linux 5.14.
struct SetScheduling {
  static constexpr Step step = Step::set_scheduling;
  static constexpr Actor actor = Actor::child;
  Scheduling scheduling = {};
  /// The process, as the child's pid namespace numbers it, whose cores are the child's, too; 0:
  /// none.
  Pid cores_of = {};
  bool operator==(const SetScheduling&) const = default;
};

struct SetPersonality {
  static constexpr Step step = Step::set_personality;
  static constexpr Actor actor = Actor::child;
  Personality personality = Personality::native;
  bool operator==(const SetPersonality&) const = default;
};

struct SetUmask {
  static constexpr Step step = Step::set_umask;
  static constexpr Actor actor = Actor::child;
  Mode umask = {0022};
  bool operator==(const SetUmask&) const = default;
};

/// A new session keyring; keyctl(2). A kernel without keys has nothing to hide.
struct JoinKeyring {
  static constexpr Step step = Step::join_keyring;
  static constexpr Actor actor = Actor::child;
  bool operator==(const JoinKeyring&) const = default;
};

/// setsid(2), and the terminal in slot `terminal` as the controlling one.
struct NewSession {
  static constexpr Step step = Step::new_session;
  static constexpr Actor actor = Actor::child;
  Slot terminal = {};
  bool operator==(const NewSession&) const = default;
};

/// Puts descriptors at the numbers where the command finds them and leaves no other open.
struct PlaceDescriptors {
  static constexpr Step step = Step::set_stdio;
  static constexpr Actor actor = Actor::child;
  struct Entry {
    Slot from = {};
    int number = -1;
    bool operator==(const Entry&) const = default;
  };
  std::vector<Entry> entries = {};
  Slot keep = {};  ///< Stays open, for hooks, until exec.
  bool operator==(const PlaceDescriptors&) const = default;
};

struct ChangeDirectory {
  static constexpr Step step = Step::change_directory;
  static constexpr Actor actor = Actor::child;
  std::string path = {};
  bool create = false;
  bool operator==(const ChangeDirectory&) const = default;
};

/// Groups, ids and capabilities, in the one order that works: bounding set, groups, gid, uid, sets,
/// ambient, securebits; reads them back. Then the death signal again, which an id change clears.
struct SetCredentials {
  static constexpr Step step = Step::set_ids;
  static constexpr Actor actor = Actor::child;
  Uid uid = {};
  Gid gid = {};
  std::vector<Gid> groups = {};
  bool set_groups = true;  ///< Off where the id map forbids setgroups(2).
  /// Where a joined namespace denies setgroups(2), and none are wanted.
  bool groups_may_stay = false;
  CapabilitySet bounding = {};
  CapabilitySet permitted = {};
  CapabilitySet effective = {};
  CapabilitySet inheritable = {};
  CapabilitySet ambient = {};
  Flags<Securebit> securebits = {};
  unsigned last_capability = 40;
  Signal death_signal = {9};
  bool operator==(const SetCredentials&) const = default;
};

struct NoNewPrivs {
  static constexpr Step step = Step::set_no_new_privs;
  static constexpr Actor actor = Actor::child;
  bool operator==(const NoNewPrivs&) const = default;
};

/// Opens what the rules name, in the process's own root, and restricts the process to it for good;
/// landlock_restrict_self(2). All of `landlock` is what this kernel has.
struct ApplyLandlock {
  static constexpr Step step = Step::apply_landlock;
  static constexpr Actor actor = Actor::child;
  Landlock landlock = {};
  bool operator==(const ApplyLandlock&) const = default;
};

/// Loads a filter of system calls for good; seccomp(2), SECCOMP_SET_MODE_FILTER.
struct LoadSeccomp {
  static constexpr Step step = Step::load_seccomp;
  static constexpr Actor actor = Actor::child;
  std::string what = {};                    ///< For the reader: "the standard filter".
  std::vector<std::uint64_t> program = {};  ///< As Seccomp::program.
  bool log = false;
  /// What Exec does before it executes is done before the filter is there: it must not need calls
  /// that the filter denies.
  bool before_exec = true;
  /// It asks the host: the listener, SECCOMP_FILTER_FLAG_NEW_LISTENER, is sent to it.
  bool listener = false;
  /// By sendmmsg(2), since the filter asks about sendmsg(2).
  bool by_sendmmsg = false;
  bool operator==(const LoadSeccomp&) const = default;
};

/// Runs a program of the caller's in the container and waits for its end.
struct RunHookInside {
  static constexpr Step step = Step::run_hook;
  static constexpr Actor actor = Actor::child;
  Hook hook = {};      ///< As it is run: no values are left in it.
  Slot output = {};    ///< Of OpenHookOutput.
  unsigned place = 0;  ///< Its number in there.
  /// It gets the filters of system calls that the command gets: those that come later in the plan.
  bool filtered = false;
  bool operator==(const RunHookInside&) const = default;
};

/// Becomes a small init: the command runs as pid 2, signals are forwarded to it, zombies are
/// reaped, and its end is ours.
struct StartInit {
  static constexpr Step step = Step::start_init;
  static constexpr Actor actor = Actor::child;
  bool operator==(const StartInit&) const = default;
};

/// Waits until it is taken: a further program comes with what it is to run; pool.hpp.
struct Park {
  static constexpr Step step = Step::park;
  static constexpr Actor actor = Actor::child;
  bool operator==(const Park&) const = default;
};

/// The end of a process that had no command to execute: status 0.
struct End {
  static constexpr Step step = Step::wait;
  static constexpr Actor actor = Actor::child;
  bool operator==(const End&) const = default;
};

/// Marks `exec`, checks for the last time that somebody still wants it, and executes the command.
struct Exec {
  static constexpr Step step = Step::exec;
  static constexpr Actor actor = Actor::child;
  /// To be tried in order: one, or one for each directory of PATH.
  std::vector<std::string> paths = {};
  std::vector<std::string> argv = {};
  std::vector<std::string> env = {};
  bool operator==(const Exec&) const = default;
};

}  // namespace op

/// Every kind of op.
using Op = std::variant<
    op::CreateCgroup, op::WriteCgroup, op::FilterDevices, op::OpenCgroup, op::EnterProcess,
    op::EnterRoot, op::OpenInside, op::OpenDescriptor, op::PinRootfs, op::WriteIdMap, op::IdmapTree,
    op::MountImage, op::OverlayTrees, op::RunHook, op::OpenHookOutput, op::KeepNamespaces,
    op::RunHookInside, op::CreateInterface, op::LeaseAddress, op::PublishPorts, op::AskUserNic,
    op::StartPasta, op::Clone, op::ArmDeathSignal, op::EnterCgroup, op::Unshare, op::JoinNamespace,
    op::SetTimeOffsets, op::Sync, op::BecomeRoot, op::ContainPropagation, op::MountOp,
    op::MakeEntry, op::MakeNode, op::OpenPty, op::SendPtys, op::MaskPath, op::ProtectPath,
    op::SetMountFlags, op::PivotRoot, op::SetHostname, op::RaiseLoopback, op::ConfigureInterface,
    op::AwaitInterface, op::WriteSetting, op::SetRlimit, op::SetScheduling, op::SetPersonality,
    op::SetUmask, op::JoinKeyring, op::NewSession, op::PlaceDescriptors, op::ChangeDirectory,
    op::SetCredentials, op::NoNewPrivs, op::ApplyLandlock, op::LoadProfile, op::SetLabel,
    op::LoadSeccomp, op::StartInit, op::Park, op::RemoveEntry, op::OpenSockets, op::End, op::Exec>;

/// The step that an op is, for errors and the timeline.
[[nodiscard]] Step step_of(const Op& o);
[[nodiscard]] op::Actor actor_of(const Op& o);

/// What an op is done to, for a person: "bind '/tmp/work' -> guest '/work'". One line.
[[nodiscard]] std::string describe(const Op& o);
/// What undoes it, for a person; empty when the end of the process or of a namespace does.
[[nodiscard]] std::string describe_undo(const Op& o);

}  // namespace v0
}  // namespace condroid

#ifdef CONDROID_COMPILED_LISTS  // of this project's own programs; see spec.hpp
extern template class std::vector<condroid::Op>;
#endif
