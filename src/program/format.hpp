// The flat program that a container's process interprets between clone and exec, the page in which
// it leaves its result, and the messages between host, zygote and child. Shared by the library and
// the freestanding zygote: no libc here, only fixed-size, trivially copyable data.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "program/kernel.hpp"

namespace condroid::program {

inline constexpr uint32_t magic = 0x64726e63;  // "cnrd"
inline constexpr uint32_t no_op = 0xffffffffU;
inline constexpr unsigned slot_count = 256;
inline constexpr unsigned max_passed = 250;  // SCM_MAX_FD is 253
inline constexpr unsigned max_ptys = 65;
inline constexpr uint32_t max_program = 8U << 20U;
// programs travel over the sync socket in pieces of this size
inline constexpr uint32_t chunk_size = 64U << 10U;
/// So much of a parked one's next program rides with the message that wakes it up.
inline constexpr uint32_t woken_with = 8U << 10U;

/// What an instruction does. Operands are named beside each: r = registers (slots), s = strings, n
/// = numbers.
enum class Code : uint16_t {
  arm_death_signal = 1,  // n0 signal, n1 dumpable
  enter_cgroup,          // r0 tasks
  unshare,               // n0 CLONE_NEW* bits
  join_namespace,        // r0 ns, n0 CLONE_NEW* bit
  set_time_offsets,      // r0 proc, s0 text for timens_offsets, n0 dumpable meanwhile
  // n0 message to send, n1 message to wait for, s0 list of int16 registers for descriptors
  sync,
  become_root,          // n0 uid, n1 gid, n2 0 groups stay, 1 none, 2 none unless denied
  contain_propagation,  // n0 propagation
  mount,                // see MountFlags
  make_directory,       // r0 base, s0 path, n0 mode
  make_link,            // r0 base, s0 path, s1 content
  make_file,            // r0 base, s0 path, s1 content, n0 mode
  // r0 base, s0 path, s1 host path, n0 mode with type, n1 dev_t, n2 uid | gid << 32, n3 bind
  make_node,
  // r0 devpts, r1 dev, r2 slave out, s0 path, s1 second path, n0 uid|gid<<32, n1 rows|cols<<16, n2
  // second is a bind
  open_pty,
  send_ptys,        // n0 count
  mask_path,        // r0 base, r1 directory with "null", s0 path, flags
  protect_path,     // r0 base, s0 path, flags
  set_mount_flags,  // r0 mount, n0 attr, n1 propagation, n2 recursive
  pivot_root,       // r0 root
  set_hostname,     // s0
  set_domainname,   // s0
  raise_loopback,
  write_setting,    // r0 proc, s0 path, s1 value, n0 dumpable meanwhile
  set_rlimit,       // n0 resource, n1 soft, n2 hard
  set_scheduling,   // n0 policy, n1 priority, n2 nice + 100 or 0, s0 affinity mask bytes; flags
  set_personality,  // n0
  set_umask,        // n0
  join_keyring,
  new_session,        // r0 terminal
  place_descriptors,  // s0 list of Placement, r0 what stays open besides
  change_directory,   // s0, n0 create
  // n0 uid | gid << 32, n1 securebits, n2 last capability, n3 death signal, s0 groups (uint32), s1
  // CapabilityMasks, flags
  set_credentials,
  no_new_privs,
  start_init,
  // s0 paths (NUL separated), s1 argv, s2 envp, s3 room for pointers, n0 argc, n1 envc, n2 paths
  exec,
  set_owner,     // r0 base, s0 path, n0 uid | gid << 32
  send_slots,    // s0 list of int16 registers: sent up with message trees
  end,           // leave with status 0: a throwaway helper
  enter_root,    // r0 root
  open_inside,   // r0 out, r1 base, s0 path, n0 the file system's magic number, or 0
  park,          // goes on with the program that comes
  remove_entry,  // r0 base, s0 path, n0 what is mounted there, n1 the entry itself
  open_sockets,  // n0 domain, n1 type, n2 protocol, n3 how many
  // s0 the filter, 8 bytes an instruction; n0 its flags, n1 exec is next, n2 what sends its
  // listener: 0 nothing, 1 sendmsg, 2 sendmmsg
  load_seccomp,
  // s0 paths (NUL separated), s1 uint64 for each: rights | landlock_follow, landlock_optional; s2
  // uint64 for each port: port | rights << 16; n0 to n2 what is handled: files, net, scope; n3
  // paths
  apply_landlock,
  set_label,  // r0 proc, s0 path, s1 what is written, s2 what is read back
  // s0 name, s1 messages of rtnetlink(7), s2 uint32 each: where in s1 the index goes; r0 proc,
  // s3 what of it is set to "1" first, where there is such a file
  configure_interface,
  // s0 name, s1 IPv6 addresses, 16 bytes each, s2 room for what the kernel says; n0 carrier, n1
  // link-local, n2 limit in nanoseconds
  await_interface,
  // s0 program and argv (NUL separated), s1 envp, s2 standard input, s3 room for pointers; r0 where
  // its output goes; n0 words of s0, n1 envc, n2 limit in nanoseconds, n3 its place in r0; flags
  run_hook,
};
inline constexpr uint16_t code_count = static_cast<uint16_t>(Code::run_hook) + 1;
inline constexpr unsigned interface_name_size = 16;  // IFNAMSIZ
inline constexpr unsigned address_size = 16;         // of IPv6
inline constexpr unsigned netlink_room = 8192;       // the largest piece of a dump
/// As ioctls on interfaces take it: struct ifreq.
struct InterfaceQuery {
  char name[interface_name_size];
  union {
    int32_t index;
    int16_t flags;
  };
  char pad[20];
};

// Rec::flags of Code::mount. r0 base, r1 from, r2 to, r3 user namespace of an idmapped copy; s0
// what, s1 target, s2 options (NUL separated "k=v"), s3 source; n0 attr, n1 propagation, n2 cwd
// register, n3 number of options.
inline constexpr uint16_t mount_tree = 1U << 0U, mount_slot = 1U << 1U, mount_fs = 1U << 2U,
                          mount_recursive = 1U << 3U, mount_recursive_flags = 1U << 4U,
                          mount_at_target = 1U << 5U, mount_on_root = 1U << 6U,
                          mount_create = 1U << 7U, mount_follow = 1U << 8U,
                          mount_optional = 1U << 9U, mount_near = 1U << 10U,
                          // A tree of what is below r0, and not a path of the host.
    mount_inside = 1U << 11U;
// Rec::flags of Code::mask_path and Code::protect_path, and mount_near: the path is a name in r0,
// which nobody else has seen.
inline constexpr uint16_t path_near = 1U << 0U;
// Rec::flags of Code::set_scheduling.
inline constexpr uint16_t share_no_core = 1U << 0U;
// Rec::flags of Code::run_hook: it gets the filters that come later in the program.
inline constexpr uint16_t hook_filtered = 1U << 0U;
/// What is known of a hook that the child ran, in the file for their output: at the beginning of
/// its place, before the text. Written when the hook has ended.
struct HookOutput {
  uint64_t total;  ///< Bytes that it wrote. Byte i is at i % hook_text of the text.
  uint64_t took;   ///< Nanoseconds.
  uint32_t ended;  ///< Not 0: all of this is filled in.
  uint32_t pad;
};
inline constexpr uint32_t hook_text = 16U << 10U;
inline constexpr uint64_t hook_longest = 24ULL * 3600 * 1000000000;  // nanoseconds: a day
inline constexpr uint64_t hook_place = sizeof(HookOutput) + hook_text;
inline constexpr uint32_t max_filter = 4096;  // instructions, BPF_MAXINSNS
// Rec::flags of Code::set_credentials.
inline constexpr uint16_t cred_set_groups = 1U << 0U, cred_groups_may_stay = 1U << 1U;
struct CapabilityMasks {
  uint64_t bounding, permitted, effective, inheritable, ambient;
};

// A path of Code::apply_landlock.
inline constexpr uint64_t landlock_follow = uint64_t{1} << 62U,
                          landlock_optional = uint64_t{1} << 63U;

/// Bytes of the blob. A string is followed by a NUL that `size` does not count.
struct Str {
  uint32_t offset;
  uint32_t size;
};

struct Rec {
  Code code;
  uint16_t flags;
  uint32_t index;  ///< Of the op in the plan.
  int16_t r[4];    ///< Registers; -1 is none.
  Str s[4];
  uint64_t n[4];
};
static_assert(sizeof(Rec) == 80);

struct Placement {
  int16_t from;
  int16_t number;
};

struct Header {
  uint32_t magic;
  uint32_t total;  ///< Of everything: header, records, blob.
  uint32_t count;  ///< Of records; they follow the header.
  uint32_t blob;   ///< Where the blob begins.
  uint32_t blob_size;
  uint32_t stop_before;  ///< Index of an op of the plan, or no_op.
  /// So many registers are filled from descriptors that came with the clone request, as said
  uint32_t passed;
  uint32_t reserved;   ///< by `slots`.
  int16_t slots[256];  ///< Register of each passed descriptor, in order.
};
static_assert(sizeof(Header) % 8 == 0);

/// Which part of an instruction failed; the host turns it into words.
enum class Part : uint16_t {
  whole,
  open_source,
  create_filesystem,
  filesystem_option,
  set_attributes,
  idmap,
  resolve_target,
  make_target,
  attach,
  write,
  verify,
  bounding_set,
  groups,
  gid,
  uid,
  capset,
  ambient,
  securebits,
  death_signal,
  host_gone,
  terminal,
  device_mismatch,
  descriptors,  ///< Closing what the process must not have; before the program was read.
  joining,      ///< Namespaces of another process; before the program was read.
  message,      ///< Number `detail`, from 0, of those to the kernel.
  carrier,      ///< It is the carrier that was waited for.
  address,      ///< Number `detail`, from 0, of the addresses.
  hook_exec,    ///< It is the hook's program that cannot be executed.
  hook_status,  ///< It ended with `detail`: a status, or 256 and a signal.
  hook_time,    ///< It had its time.
  core,         ///< Its cores are not its own.
};

enum class ChildState : uint32_t { idle, reading, running, waiting, stopped, failed, exec, done };

/// What the child leaves for the host. The host treats it as hostile input and copies what it uses,
/// once.
struct ResultPage {
  ChildState state;
  uint32_t op;    ///< Index of the op it is at.
  int32_t error;  ///< errno, when failed.
  Part part;
  uint16_t detail;     ///< Which option, entry or group.
  uint32_t stamps;     ///< How many of `ticks` are filled.
  uint32_t text_size;  ///< Of `text`.
  uint64_t started;    ///< Counter when the child began.
  char text[224];      ///< What the kernel said of a file system's parameters.
  struct Stamp {
    uint32_t op;
    uint32_t pad;
    uint64_t ticks;
  } ticks[238];
};
static_assert(sizeof(ResultPage) <= 4096);

inline constexpr size_t longest_place = 127;
/// An extended attribute of a cgroup at a place of its own, and of those that were made on the way
/// there: the name of the runtime that made it. The latter go with the last that is below them.
inline constexpr char made_mark[] = "user.condroid";

/// One running container, as the next Runtime on the same state directory finds it if host and
/// zygote both die.
struct LiveEntry {
  int32_t pid;  ///< Written by the kernel in clone3(2) (CLONE_PARENT_SETTID); 0: none.
  uint32_t detached;
  uint64_t born;     ///< CLOCK_BOOTTIME in nanoseconds when it was cloned.
  uint64_t marks;    ///< Of the Request.
  uint64_t cgroups;  ///< Bit per hierarchy.
  char name[96];     ///< "<name>.<id>": its cgroup below the runtime's.
  /// Instead of that: where its cgroup is below the runtime's parents. Written by the host before
  /// there is a process, or a cgroup.
  char place[longest_place + 1];
};
static_assert(sizeof(LiveEntry) == 256);

/// Restricted in a way that nobody can find out from the process.
inline constexpr uint32_t mark_landlock = 1U << 0U;
/// Has a profile of AppArmor of its own, which is called by the runtime's name and its own.
inline constexpr uint32_t mark_profile = 1U << 1U;
/// Leads a process group that does not outlive its failure: a hook.
inline constexpr uint32_t mark_group = 1U << 3U;
/// Its first process is an init of ours, which does not have the label that the command has.
inline constexpr uint32_t mark_label_below = 1U << 2U;
/// Ends by itself, soon, and leaves something unfinished if it is killed: whoever dies, it is not.
inline constexpr uint32_t mark_finishes = 1U << 4U;

inline constexpr unsigned max_live = 16384;
inline constexpr unsigned max_pages = 2048;
inline constexpr unsigned max_hierarchies = 32;

inline constexpr uint32_t arena_version = 2;

struct ArenaHeader {
  uint32_t magic;
  uint32_t version;
  int32_t host;
  int32_t zygote;
  /// Of the zygote's helper that joins namespaces and clones.
  int64_t join_result;
  int32_t join_pidfd;
  char runtime[64];  ///< "condroid-<id>"
  /// Directories in which the runtime's cgroups are, for a later sweep.
  char parents[max_hierarchies][240];
  /// Not 0: profiles of AppArmor were loaded, whose names begin with the runtime's.
  uint32_t profiles;
  /// So many of the entries, from the first, may have a place.
  uint32_t places;
};

inline constexpr size_t arena_live = 8192;
static_assert(sizeof(ArenaHeader) <= arena_live);
inline constexpr size_t arena_pages = arena_live + size_t{max_live} * sizeof(LiveEntry);
inline constexpr size_t arena_size = arena_pages + size_t{max_pages} * 4096;

// ---- messages -----------------------------------------------------------------------------------

/// On the sync socket, both ways.
enum class SyncKind : uint32_t {
  configure = 1,
  post_configure,
  cgroup,
  post_cgroup,
  error,
  ptys,     ///< Pty masters ride with it.
  trees,    ///< Detached mounts ride with it.
  stopped,  ///< Reached stop_before, or parks.
  /// To one that parks: value is the size of its next program, of which the first bytes, at most
  /// woken_with, come behind it in the same message; its descriptors ride with it.
  resume,
  started,   ///< From the small init: the command was executed. Without init, end-of-file says so.
  ended,     ///< From the small init: value is the command's wait status.
  listener,  ///< Of a filter that asks the host; it rides with it.
};
struct SyncMessage {
  SyncKind kind;
  uint32_t value;
};

/// helper: the socket on which helpers are to wait for attaches, one after the other. lend: an
/// interface is about to be moved into the container's network namespace. tap: one is wanted there.
/// bridge: of the host's that is removed with the last who takes part; `live` is its number here,
/// `cgroups` its index, `name` its file; with the locks, once there are any, a socket of
/// rtnetlink(7) and, if it has a table, that table's.
enum class RequestKind : uint32_t {
  clone = 1,
  adopt,
  detach,
  release,
  helper,
  lend,
  tap,
  bridge,
  patience
};
inline constexpr unsigned max_bridges = 16;

/// request_share_memory: the child may run in the zygote's own memory until it executes its
/// command, which saves copying and faulting pages. Only for a child that goes straight to exec,
/// and that nothing can hurt the zygote through: see may_share_memory() in the host.
/// request_bare_mounts: the child's mount namespace may begin empty. The zygote keeps an empty one
/// to copy, from the second such request on; with it, Code::unshare and Code::pivot_root have less
/// to do.
/// request_by_helper: the helper that waits has the same request already, over its own socket and
/// with all descriptors but the exit socket, which comes here. The zygote waits for the helper's
/// end and takes over what it cloned. Requests are in the same order on both sockets.
inline constexpr uint32_t request_into_cgroup = 1U << 0U, request_hold = 1U << 1U,
                          request_share_memory = 1U << 2U, request_bare_mounts = 1U << 3U,
                          request_by_helper = 1U << 4U;

/// Whether who joins these namespaces and clones may run in the zygote's memory, which costs no
/// copy. Not who joins a time namespace: the kernel wants one that shares his with nobody (EUSERS).
/// Not who joins a user namespace, for what the memory shares: a change of rights sets its dumpable
/// flag anew.
constexpr bool joins_in_shared_memory(uint64_t join_flags) {
  return join_flags != 0 && (join_flags & (kernel::clone_newtime | kernel::clone_newuser)) == 0;
}
/// Whether a helper that waits may do it: only for a pid namespace it takes one that clones.
constexpr bool may_have_helper(uint64_t join_flags) {
  return (join_flags & kernel::clone_newpid) != 0 && joins_in_shared_memory(join_flags);
}

/// Host to zygote. Descriptors of a clone, in this order: exit socket, [cgroup], joins, sync
/// socket, passed ones.
struct Request {
  uint32_t magic;
  RequestKind kind;
  uint32_t live;  ///< Index of the LiveEntry.
  uint32_t page;  ///< Index of the ResultPage.
  uint64_t clone_flags;
  uint32_t flags;
  uint32_t joins;  ///< How many namespaces a helper joins before it clones.
  /// clone: bit per hierarchy with a cgroup to be removed; adopt: the hierarchy's index.
  uint64_t cgroups;
  uint64_t v2;  ///< Bit per hierarchy; adopt: 1 if it is v2.
  /// Bits of the hierarchies that count memory, tasks, processor time.
  uint64_t memory;
  uint64_t pids;
  uint64_t cpu;
  uint32_t program_size;
  uint32_t marks;  ///< What the table is to say of it besides: mark_landlock.
  /// CLONE_NEW* bits: the one descriptor of `joins` is a pidfd, whose namespaces of these kinds are
  /// joined.
  uint64_t join_flags;
  /// 1 + the place of a container that it is to end with; it ends before that is told. 0: none.
  uint32_t lives_with;
  uint32_t reserved;
  /// lend: a LentInterface; tap: a WantedTap.
  char name[96];
};

/// What it takes to bring an interface of the host's home. Descriptors of the request: the network
/// namespace of the container, and the one where it is at home.
struct LentInterface {
  uint32_t index;       ///< In the container, whatever it is called there.
  uint32_t home_index;  ///< At home, where it gets that again if it is free.
  uint32_t number;      ///< Of the container's, from 0.
  uint32_t mtu;
  uint32_t mac_size;
  uint8_t mac[32];
  char name[16];
  char spare[16];  ///< A name that nobody has; on the way, and where the other one is taken.
};
/// The descriptor of the request: the network namespace of the container.
struct WantedTap {
  char name[16];
  uint32_t flags;  ///< IFF_* of TUNSETIFF.
};
static_assert(sizeof(LentInterface) <= sizeof Request::name);
inline constexpr unsigned max_lent = 256;

/// A network namespace lives as long as connections of TCP in it that nobody has open any more.
/// This file of it says how often their last words are repeated, and does not keep the namespace.
/// Descriptors of a request for patience: the namespace, and the socket that gets the file.
inline constexpr char patience_file[] = "/proc/sys/net/ipv4/tcp_orphan_retries";

/// reached: the answer to lend, tap and patience, with a netlink socket of the container's network
/// namespace, the descriptor of the tap, or the file; or with an errno.
enum class RecordKind : uint32_t { ready = 1, cloned, failed, exited, staying, reached };

/// Where the zygote's own start failed: Record::code of a `failed` on the control socket.
enum class StartPart : int32_t {
  itself,
  state_dir,  ///< Making or opening the state directory.
  /// It is somebody else's: Record::status is its owner, Record::undo_hierarchy its mode.
  owner,
  state_file,  ///< Making, sizing, locking or mapping the file.
};

/// What cgroups say of a container at its end.
enum class Figure : uint32_t {
  oom_kills,
  memory_low,
  memory_high,
  memory_max,
  pids_limit_hits,
  peak_memory,  ///< Bytes.
  peak_pids,
  cpu_total,  ///< Microseconds, as the next two.
  cpu_user,
  cpu_system,
  count_,
};
struct Figures {
  uint64_t known;  ///< A bit per Figure.
  uint64_t values[static_cast<unsigned>(Figure::count_)];

  [[nodiscard]] bool has(Figure f) const { return ((known >> static_cast<unsigned>(f)) & 1U) != 0; }
  [[nodiscard]] uint64_t get(Figure f) const { return values[static_cast<unsigned>(f)]; }
  /// None of them falls. Of two looks the later may find less: a cgroup that is gone.
  void raise(Figure f, uint64_t value) {
    known |= uint64_t{1} << static_cast<unsigned>(f);
    if (values[static_cast<unsigned>(f)] < value) values[static_cast<unsigned>(f)] = value;
  }
};

inline constexpr uint32_t undo_profile = 0xffffffffU;
/// And its LentInterface::number.
inline constexpr uint32_t undo_interface = 0xffff0000U;

/// Zygote to host. On the control socket: `ready`; `failed`, when it could not start; `staying`,
/// when the host let go and only detached containers are left. The others on a launch's exit
/// socket.
struct Record {
  uint32_t magic;
  RecordKind kind;
  int32_t pid;
  /// failed: errno of clone3 or of joining. exited: why it could not be watched, and was killed.
  int32_t error;
  int32_t code;             ///< exited: CLD_EXITED, CLD_KILLED or CLD_DUMPED.
  int32_t status;           ///< exited: exit code or signal.
  int32_t undo_error;       ///< exited: errno of the first cgroup that could not be removed.
  uint32_t undo_hierarchy;  ///< undo_profile, undo_interface: that instead.
  Figures figures;
  uint64_t ended;       ///< exited: when, in nanoseconds of CLOCK_MONOTONIC.
  uint64_t rusage[18];  ///< The kernel's struct rusage.
};

// Descriptors of the zygote, from its first instruction on.
inline constexpr int fd_control = 3, fd_host = 4, fd_state = 5, fd_self = 6, fd_epoll = 7,
                     fd_arena = 8, fd_bare_mounts = 9;

}  // namespace condroid::program
