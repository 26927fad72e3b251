// The kernel's side of the freestanding code: system call numbers, constants and structures,
// spelled here so that no libc and no colliding uapi header is needed. Values are those of x86_64
// and of arm64 (asm-generic) alike unless said.
#pragma once

#include <asm/unistd.h>
#include <stddef.h>
#include <stdint.h>

namespace condroid::kernel {

using Nr = long;

// clone3(2), Linux 5.3
struct CloneArgs {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
      set_tid_size, cgroup;
};
inline constexpr uint64_t clone_vm = 0x100, clone_files = 0x400, clone_pidfd = 0x1000,
                          clone_vfork = 0x4000, clone_parent = 0x8000, clone_newns = 0x20000,
                          clone_parent_settid = 0x100000, clone_child_cleartid = 0x200000,
                          clone_newcgroup = 0x02000000, clone_newuts = 0x04000000,
                          clone_newipc = 0x08000000, clone_newuser = 0x10000000,
                          clone_newpid = 0x20000000, clone_newnet = 0x40000000,
                          clone_newtime = 0x80, clone_clear_sighand = 0x100000000ULL,
                          clone_into_cgroup = 0x200000000ULL;

// openat2(2), Linux 5.6
struct OpenHow {
  uint64_t flags, mode, resolve;
};
inline constexpr uint64_t resolve_no_xdev = 1, resolve_no_magiclinks = 2, resolve_no_symlinks = 4,
                          resolve_beneath = 8, resolve_in_root = 16;
// close_range(2), Linux 5.9
inline constexpr unsigned close_range_unshare = 2;
inline constexpr int at_fdcwd = -100, at_empty_path = 0x1000, at_symlink_nofollow = 0x100,
                     at_removedir = 0x200, at_recursive = 0x8000, at_no_automount = 0x800;
inline constexpr int o_rdonly = 0, o_wronly = 1, o_rdwr = 2, o_creat = 0100, o_excl = 0200,
                     o_noctty = 0400, o_trunc = 01000, o_append = 02000, o_nonblock = 04000,
                     o_cloexec = 02000000, o_path = 010000000;
#if defined(__aarch64__)
inline constexpr int o_directory = 040000, o_nofollow = 0100000;
#else
inline constexpr int o_directory = 0200000, o_nofollow = 0400000;
#endif

// open_tree(2), move_mount(2), fsopen(2), Linux 5.2; mount_setattr(2), Linux 5.12
inline constexpr unsigned open_tree_clone = 1, open_tree_cloexec = o_cloexec, fsopen_cloexec = 1,
                          fsmount_cloexec = 1, fsconfig_set_flag = 0, fsconfig_set_string = 1,
                          fsconfig_cmd_create = 6, move_mount_f_empty_path = 4,
                          move_mount_t_empty_path = 0x40;
inline constexpr long nr_open_tree_attr = 467;  // Linux 6.15
struct MountAttr {
  uint64_t attr_set, attr_clr, propagation, userns_fd;
};
inline constexpr uint64_t attr_rdonly = 1, attr_nosuid = 2, attr_nodev = 4, attr_noexec = 8,
                          attr_atime = 0x70, attr_noatime = 0x10, attr_strictatime = 0x20,
                          attr_nodiratime = 0x80, attr_idmap = 0x100000,
                          attr_nosymfollow = 0x200000;
inline constexpr uint64_t ms_rec = 0x4000, ms_unbindable = 1 << 17, ms_private = 1 << 18,
                          ms_slave = 1 << 19, ms_shared = 1 << 20;
inline constexpr int mnt_detach = 2, umount_nofollow = 8;

// memfd_create(2); the latter Linux 6.3
inline constexpr unsigned mfd_cloexec = 1, mfd_noexec_seal = 8;

// madvise(2), Linux 4.14
inline constexpr int madv_wipeonfork = 18, madv_keeponfork = 19;

// seccomp(2), Linux 3.17; the flags Linux 4.14, 5.0 and 5.19
inline constexpr unsigned seccomp_set_mode_filter = 1, seccomp_filter_flag_log = 2,
                          seccomp_filter_flag_new_listener = 8,
                          seccomp_filter_flag_wait_killable = 32;
struct FilterProgram {
  uint16_t count;
  const void* filter;
};

// landlock_create_ruleset(2), Linux 5.13; ports Linux 6.7, scopes Linux 6.12. An older kernel takes
// the longer structure if what it does not know is 0.
struct LandlockRuleset {
  uint64_t files, net, scoped;
};
struct [[gnu::packed]] LandlockPath {
  uint64_t access;
  int32_t fd;
};
struct LandlockPort {
  uint64_t access, port;
};
inline constexpr unsigned landlock_version = 1, landlock_rule_path = 1, landlock_rule_port = 2;
/// What a file that is no directory can have: execute, write_file, read_file, truncate, ioctl_dev.
inline constexpr uint64_t landlock_of_files = 0x1 | 0x2 | 0x4 | 0x4000 | 0x8000;

// statx(2), Linux 4.11
struct Statx {
  uint32_t mask, blksize;
  uint64_t attributes;
  uint32_t nlink, uid, gid;
  uint16_t mode, pad0;
  uint64_t ino, size, blocks, attributes_mask;
  struct {
    int64_t sec;
    uint32_t nsec;
    int32_t pad;
  } times[4];
  uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
  uint64_t mount;  ///< Linux 5.8
  uint64_t spare[13];
};
static_assert(sizeof(Statx) == 256);
inline constexpr unsigned statx_type = 1, statx_ino = 0x100, statx_basic = 0x7ff,
                          statx_mount = 0x1000;
inline constexpr uint64_t statx_attr_mount_root = 0x2000;  // Linux 5.8
// linux/magic.h
inline constexpr uint64_t devpts_magic = 0x1cd1, proc_magic = 0x9fa0, sysfs_magic = 0x62656572,
                          tmpfs_magic = 0x01021994;
// inode of /proc/PID/ns/user; linux/nsfs.h, USER_NS_INIT_INO
inline constexpr uint64_t initial_user_namespace = 0xEFFFFFFD;
inline constexpr uint32_t s_ifmt = 0170000, s_ifdir = 0040000, s_ifreg = 0100000, s_ifchr = 0020000,
                          s_iflnk = 0120000;

inline constexpr int pr_set_pdeathsig = 1, pr_set_dumpable = 4, pr_set_keepcaps = 8,
                     pr_set_name = 15, pr_capbset_drop = 24, pr_get_securebits = 27,
                     pr_set_securebits = 28, pr_set_child_subreaper = 36, pr_set_no_new_privs = 38,
                     pr_cap_ambient = 47, pr_cap_ambient_is_set = 1, pr_cap_ambient_raise = 2,
                     pr_cap_ambient_clear_all = 4, pr_sched_core = 62, pr_sched_core_get = 0,
                     pr_sched_core_create = 1, pr_sched_core_share_from = 3;
inline constexpr int pidtype_pid = 0, pidtype_tgid = 1;  // of PR_SCHED_CORE: a thread, all of them
inline constexpr long securebit_keep_caps = 1 << 4;      // of PR_SET_KEEPCAPS; exec clears it
inline constexpr int keyctl_join_session_keyring = 1;
inline constexpr unsigned long tiocsptlck = 0x40045431, tiocgptpeer = 0x5441, tiocswinsz = 0x5414,
                               tiocsctty = 0x540e, siocgifflags = 0x8913, siocsifflags = 0x8914,
                               siocgifindex = 0x8933, tunsetiff = 0x400454ca;
struct Winsize {
  uint16_t rows, columns, x, y;
};
struct Rlimit64 {
  uint64_t soft, hard;
};
inline constexpr unsigned rlimit_nofile = 7;

struct CapHeader {
  uint32_t version;
  int32_t pid;
};
struct CapData {
  uint32_t effective, permitted, inheritable;
};
inline constexpr uint32_t cap_version_3 = 0x20080522;
inline constexpr unsigned cap_setpcap = 8;

struct PollFd {
  int fd;
  int16_t events, revents;
};
inline constexpr int16_t pollin = 1, pollerr = 8, pollhup = 16, pollrdhup = 0x2000;
struct Timespec {
  int64_t sec, nsec;
};

// Sockets
inline constexpr int af_unix = 1, af_netlink = 16, sock_dgram = 2, sock_raw = 3, netlink_route = 0,
                     sock_cloexec = o_cloexec, sol_socket = 1, scm_rights = 1, msg_peek = 0x2,
                     msg_dontwait = 0x40, msg_nosignal = 0x4000, msg_cmsg_cloexec = 0x40000000,
                     msg_ctrunc = 8, msg_trunc = 0x20;
// A message of netlink(7), and the answer to one.
struct NetlinkHead {
  uint32_t size;
  uint16_t type, flags;
  uint32_t sequence, port;
};
struct NetlinkError {
  NetlinkHead head;
  int32_t error;  ///< Negative, or 0.
};
inline constexpr uint16_t nlmsg_error = 2, nlmsg_done = 3, nlm_f_request = 1, nlm_f_ack = 4,
                          nlm_f_dump = 0x300, nlm_f_dump_intr = 0x10, rtm_newlink = 16,
                          rtm_newaddr = 20, rtm_getaddr = 22, ifla_address = 1, ifla_ifname = 3,
                          ifla_mtu = 4, ifla_net_ns_fd = 28, ifla_new_ifindex = 49, ifa_address = 1,
                          ifa_flags = 8;
inline constexpr uint32_t iff_up = 1, rtmgrp_link = 1, rtmgrp_ipv6_ifaddr = 0x100,
                          ifa_f_dadfailed = 0x08, ifa_f_tentative = 0x40;
inline constexpr uint8_t af_inet6 = 10;
inline constexpr int16_t iff_running = 0x40;
/// rtnetlink(7): about an interface.
struct LinkMessage {
  uint8_t family, pad;
  uint16_t type;
  uint32_t index, flags, change;
};
struct NetlinkAddress {  // struct sockaddr_nl
  uint16_t family, pad;
  uint32_t port, groups;
};
struct NetlinkIfAddr {  // struct ifaddrmsg
  uint8_t family, length, flags, scope;
  uint32_t index;
};
struct IoVec {
  void* base;
  size_t size;
};
struct MsgHdr {
  void* name;
  int name_size;
  IoVec* iov;
  size_t iov_count;
  void* control;
  size_t control_size;
  unsigned flags;
};
struct CmsgHdr {
  size_t size;
  int level, type;
};

// Signals and waiting
inline constexpr int sig_chld = 17, sig_kill = 9, sig_stop = 19, sig_block = 0, sig_setmask = 2;
inline constexpr int p_pidfd = 3, p_pid = 1, wexited = 4, wnohang = 1, wnowait = 0x1000000,
                     cld_exited = 1;
inline constexpr int wall = 0x40000000;
struct SigInfo {
  int32_t signo, error, code, pad0;
  int32_t pid;
  uint32_t uid;
  int32_t status;
  int32_t pad[25];
};
static_assert(sizeof(SigInfo) == 128);

// Error numbers that are decided upon.
inline constexpr long e_perm = 1, e_noent = 2, e_intr = 4, e_noexec = 8, e_badf = 9, e_again = 11,
                      e_nomem = 12, e_acces = 13, e_busy = 16, e_exist = 17, e_notdir = 20,
                      e_inval = 22, e_nametoolong = 36, e_nosys = 38, e_loop = 40, e_nodata = 61,
                      e_proto = 71, e_pipe = 32, e_child = 10, e_opnotsupp = 95, e_connreset = 104,
                      e_canceled = 125, e_srch = 3, e_mfile = 24, e_nodev = 19, e_notempty = 39,
                      e_stale = 116, e_addrinuse = 98, e_nobufs = 105, e_timedout = 110,
                      e_range = 34, e_rofs = 30;

/// The processor's free-running counter: what the child stamps its ops with. The host knows its
/// relation to CLOCK_MONOTONIC; a system call per op would cost more than many ops.
inline uint64_t ticks() {
#if defined(__x86_64__)
  uint32_t low, high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return (static_cast<uint64_t>(high) << 32U) | low;
#elif defined(__aarch64__)
  uint64_t value;
  asm volatile("mrs %0, cntvct_el0" : "=r"(value));
  return value;
#else
#error "condroid knows x86_64 and aarch64"
#endif
}

}  // namespace condroid::kernel
