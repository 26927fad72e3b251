// The words for the enumerators of a Spec: one table per enum, used to print, to parse and to
// suggest. The text form of a Spec, the printed plan, error subjects and the command line all say
// the same word for the same thing.
//
//   to_string(Namespace::pid)                       // "pid"
//   from_name<Namespace>("pid")                     // Namespace::pid
//   flag_names(spec.namespaces)                     // "mount,pid,uts"; "none" when empty
//   kind_name(spec.mounts[0])                       // "bind"
//
// names.cpp checks while compiling that no enumerator is missing here and that each is spelled as
// in its header.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "condroid/flags.hpp"
#include "condroid/spec/devices.hpp"
#include "condroid/spec/hooks.hpp"
#include "condroid/spec/idmap.hpp"
#include "condroid/spec/lifecycle.hpp"
#include "condroid/spec/mount.hpp"
#include "condroid/spec/network.hpp"
#include "condroid/spec/process.hpp"
#include "condroid/spec/resources.hpp"
#include "condroid/spec/security.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {

template <class E>
using EnumName = std::pair<E, std::string_view>;

/// Specialised for every enum that has words: `what` is the word for the enum itself, `table` the
/// ones for its values.
template <class E>
struct EnumNames;

template <class E>
concept NamedEnum = requires {
  EnumNames<E>::table;
};

template <>
struct EnumNames<Namespace> {
  using enum Namespace;
  static constexpr std::string_view what = "namespace";
  static constexpr auto table = std::to_array<EnumName<Namespace>>({
      {mount, "mount"},
      {pid, "pid"},
      {uts, "uts"},
      {ipc, "ipc"},
      {net, "net"},
      {user, "user"},
      {cgroup, "cgroup"},
      {time, "time"},
  });
};

template <>
struct EnumNames<IdMap::Kind> {
  static constexpr std::string_view what = "kind of id map";
  static constexpr auto table = std::to_array<EnumName<IdMap::Kind>>({
      {IdMap::automatic, "automatic"},
      {IdMap::none, "none"},
      {IdMap::subids, "subids"},
      {IdMap::single, "single"},
      {IdMap::ranges, "ranges"},
  });
};

template <>
struct EnumNames<Restart> {
  using enum Restart;
  static constexpr std::string_view what = "restart policy";
  static constexpr auto table = std::to_array<EnumName<Restart>>({
      {never, "never"},
      {on_reboot, "on_reboot"},
      {on_failure, "on_failure"},
      {always, "always"},
  });
};

template <>
struct EnumNames<HookPoint> {
  using enum HookPoint;
  static constexpr std::string_view what = "point of a hook";
  static constexpr auto table = std::to_array<EnumName<HookPoint>>({
      {pre_start, "pre_start"},
      {up, "up"},
      {configured, "configured"},
      {pre_mount, "pre_mount"},
      {mount, "mount"},
      {autodev, "autodev"},
      {start, "start"},
      {start_host, "start_host"},
      {started, "started"},
      {down, "down"},
      {stop, "stop"},
      {post_stop, "post_stop"},
  });
};

template <>
struct EnumNames<HookValue> {
  using enum HookValue;
  static constexpr std::string_view what = "value for a hook";
  static constexpr auto table = std::to_array<EnumName<HookValue>>({
      {name, "name"},
      {pid, "pid"},
      {target, "target"},
      {root, "root"},
      {interface, "interface"},
      {interface_type, "interface_type"},
      {interface_parent, "interface_parent"},
      {interface_host, "interface_host"},
      {ns_user, "ns_user"},
      {ns_mount, "ns_mount"},
      {ns_pid, "ns_pid"},
      {ns_uts, "ns_uts"},
      {ns_ipc, "ns_ipc"},
      {ns_net, "ns_net"},
      {ns_cgroup, "ns_cgroup"},
      {ns_time, "ns_time"},
  });
};

template <>
struct EnumNames<MountFlag> {
  using enum MountFlag;
  static constexpr std::string_view what = "mount flag";
  static constexpr auto table = std::to_array<EnumName<MountFlag>>({
      {read_only, "read_only"},
      {nosuid, "nosuid"},
      {nodev, "nodev"},
      {noexec, "noexec"},
      {noatime, "noatime"},
      {strictatime, "strictatime"},
      {nodiratime, "nodiratime"},
      {nosymfollow, "nosymfollow"},
  });
};

template <>
struct EnumNames<Propagation> {
  using enum Propagation;
  static constexpr std::string_view what = "propagation";
  static constexpr auto table = std::to_array<EnumName<Propagation>>({
      {as_is, "as_is"},
      {private_, "private"},  // the one that C++ does not let us spell
      {slave, "slave"},
      {shared, "shared"},
      {unbindable, "unbindable"},
  });
};

template <>
struct EnumNames<DeviceNode::Kind> {
  static constexpr std::string_view what = "kind of device";
  static constexpr auto table = std::to_array<EnumName<DeviceNode::Kind>>({
      {DeviceNode::character, "character"},
      {DeviceNode::block, "block"},
  });
};

template <>
struct EnumNames<DeviceAccess> {
  using enum DeviceAccess;
  static constexpr std::string_view what = "access to a device";
  static constexpr auto table = std::to_array<EnumName<DeviceAccess>>({
      {read, "read"},
      {write, "write"},
      {make, "make"},
  });
};

template <>
struct EnumNames<DeviceFilter> {
  using enum DeviceFilter;
  static constexpr std::string_view what = "device filter";
  static constexpr auto table = std::to_array<EnumName<DeviceFilter>>({
      {automatic, "automatic"},
      {always, "always"},
      {never, "never"},
  });
};

template <>
struct EnumNames<Stream::Kind> {
  static constexpr std::string_view what = "stream";
  static constexpr auto table = std::to_array<EnumName<Stream::Kind>>({
      {Stream::inherit, "inherit"},
      {Stream::null, "null"},
      {Stream::pipe, "pipe"},
      {Stream::capture, "capture"},
      {Stream::pty, "pty"},
      {Stream::descriptor, "fd"},  // always followed by its number: "fd:7"
  });
};

template <>
struct EnumNames<Rlimit> {
  using enum Rlimit;
  static constexpr std::string_view what = "resource limit";
  static constexpr auto table = std::to_array<EnumName<Rlimit>>({
      {cpu, "cpu"},
      {fsize, "fsize"},
      {data, "data"},
      {stack, "stack"},
      {core, "core"},
      {rss, "rss"},
      {nproc, "nproc"},
      {nofile, "nofile"},
      {memlock, "memlock"},
      {as, "as"},
      {locks, "locks"},
      {sigpending, "sigpending"},
      {msgqueue, "msgqueue"},
      {nice, "nice"},
      {rtprio, "rtprio"},
      {rttime, "rttime"},
  });
};

template <>
struct EnumNames<SchedPolicy> {
  using enum SchedPolicy;
  static constexpr std::string_view what = "scheduling policy";
  static constexpr auto table = std::to_array<EnumName<SchedPolicy>>({
      {other, "other"},
      {fifo, "fifo"},
      {round_robin, "round_robin"},
      {batch, "batch"},
      {idle, "idle"},
  });
};

template <>
struct EnumNames<Personality> {
  using enum Personality;
  static constexpr std::string_view what = "personality";
  static constexpr auto table = std::to_array<EnumName<Personality>>({
      {native, "native"},
      {linux32, "linux32"},
  });
};

template <>
struct EnumNames<CgroupMode> {
  using enum CgroupMode;
  static constexpr std::string_view what = "cgroup mode";
  static constexpr auto table = std::to_array<EnumName<CgroupMode>>({
      {automatic, "automatic"},
      {always, "always"},
      {everywhere, "everywhere"},
      {never, "never"},
  });
};

template <>
struct EnumNames<ResourceField> {
  using enum ResourceField;
  static constexpr std::string_view what = "limit";
  static constexpr auto table = std::to_array<EnumName<ResourceField>>({
      {memory_max, "memory_max"},
      {memory_high, "memory_high"},
      {memory_swap_max, "memory_swap_max"},
      {pids_max, "pids_max"},
      {cpus, "cpus"},
      {cpu_weight, "cpu_weight"},
      {cpuset_cpus, "cpuset_cpus"},
      {cpuset_mems, "cpuset_mems"},
      {io_weight, "io_weight"},
      {io, "io"},
      {hugetlb, "hugetlb"},
  });
};

template <>
struct EnumNames<Capability> {
  using enum Capability;
  static constexpr std::string_view what = "capability";
  static constexpr auto table = std::to_array<EnumName<Capability>>({
      {chown, "chown"},
      {dac_override, "dac_override"},
      {dac_read_search, "dac_read_search"},
      {fowner, "fowner"},
      {fsetid, "fsetid"},
      {kill, "kill"},
      {setgid, "setgid"},
      {setuid, "setuid"},
      {setpcap, "setpcap"},
      {linux_immutable, "linux_immutable"},
      {net_bind_service, "net_bind_service"},
      {net_broadcast, "net_broadcast"},
      {net_admin, "net_admin"},
      {net_raw, "net_raw"},
      {ipc_lock, "ipc_lock"},
      {ipc_owner, "ipc_owner"},
      {sys_module, "sys_module"},
      {sys_rawio, "sys_rawio"},
      {sys_chroot, "sys_chroot"},
      {sys_ptrace, "sys_ptrace"},
      {sys_pacct, "sys_pacct"},
      {sys_admin, "sys_admin"},
      {sys_boot, "sys_boot"},
      {sys_nice, "sys_nice"},
      {sys_resource, "sys_resource"},
      {sys_time, "sys_time"},
      {sys_tty_config, "sys_tty_config"},
      {mknod, "mknod"},
      {lease, "lease"},
      {audit_write, "audit_write"},
      {audit_control, "audit_control"},
      {setfcap, "setfcap"},
      {mac_override, "mac_override"},
      {mac_admin, "mac_admin"},
      {syslog, "syslog"},
      {wake_alarm, "wake_alarm"},
      {block_suspend, "block_suspend"},
      {audit_read, "audit_read"},
      {perfmon, "perfmon"},
      {bpf, "bpf"},
      {checkpoint_restore, "checkpoint_restore"},
  });
};

template <>
struct EnumNames<Allow> {
  using enum Allow;
  static constexpr std::string_view what = "allow token";
  static constexpr auto table = std::to_array<EnumName<Allow>>({
      {host_network, "host_network"},
      {host_pids, "host_pids"},
      {host_ipc, "host_ipc"},
      {host_uts, "host_uts"},
      {host_mounts, "host_mounts"},
      {host_cgroup, "host_cgroup"},
      {capabilities, "capabilities"},
      {new_privileges, "new_privileges"},
      {unmasked_kernel, "unmasked_kernel"},
      {host_root_writable, "host_root_writable"},
      {devices, "devices"},
      {nesting, "nesting"},
      {real_root, "real_root"},
      {own_limits, "own_limits"},
      {all_syscalls, "all_syscalls"},
  });
};

template <>
struct EnumNames<Securebit> {
  using enum Securebit;
  static constexpr std::string_view what = "securebit";
  static constexpr auto table = std::to_array<EnumName<Securebit>>({
      {noroot, "noroot"},
      {noroot_locked, "noroot_locked"},
      {no_setuid_fixup, "no_setuid_fixup"},
      {no_setuid_fixup_locked, "no_setuid_fixup_locked"},
      {keep_caps_locked, "keep_caps_locked"},
      {no_cap_ambient_raise, "no_cap_ambient_raise"},
      {no_cap_ambient_raise_locked, "no_cap_ambient_raise_locked"},
  });
};

template <>
struct EnumNames<SyscallArch> {
  using enum SyscallArch;
  static constexpr std::string_view what = "architecture of system calls";
  static constexpr auto table = std::to_array<EnumName<SyscallArch>>({
      {x86_64, "x86_64"},
      {x86, "x86"},
      {x32, "x32"},
      {aarch64, "aarch64"},
      {arm, "arm"},
  });
};

template <>
struct EnumNames<SyscallAction> {
  using enum SyscallAction;
  static constexpr std::string_view what = "action for a system call";
  static constexpr auto table = std::to_array<EnumName<SyscallAction>>({
      {kill_process, "kill_process"},
      {kill_thread, "kill_thread"},
      {trap, "trap"},
      {fail, "fail"},
      {notify, "notify"},
      {trace, "trace"},
      {log, "log"},
      {allow, "allow"},
  });
};

template <>
struct EnumNames<Seccomp::Kind> {
  static constexpr std::string_view what = "kind of system call filter";
  static constexpr auto table = std::to_array<EnumName<Seccomp::Kind>>({
      {Seccomp::standard, "standard"},
      {Seccomp::rules, "rules"},
      {Seccomp::bpf, "bpf"},
      {Seccomp::none, "none"},
  });
};

template <>
struct EnumNames<LandlockAccess> {
  using enum LandlockAccess;
  static constexpr std::string_view what = "right over files";
  static constexpr auto table = std::to_array<EnumName<LandlockAccess>>({
      {execute, "execute"},
      {write_file, "write_file"},
      {read_file, "read_file"},
      {read_dir, "read_dir"},
      {remove_dir, "remove_dir"},
      {remove_file, "remove_file"},
      {make_char, "make_char"},
      {make_dir, "make_dir"},
      {make_reg, "make_reg"},
      {make_sock, "make_sock"},
      {make_fifo, "make_fifo"},
      {make_block, "make_block"},
      {make_sym, "make_sym"},
      {refer, "refer"},
      {truncate, "truncate"},
      {ioctl_dev, "ioctl_dev"},
  });
};

template <>
struct EnumNames<LandlockTcp> {
  using enum LandlockTcp;
  static constexpr std::string_view what = "use of TCP ports";
  static constexpr auto table = std::to_array<EnumName<LandlockTcp>>({
      {bind, "bind"},
      {connect, "connect"},
  });
};

template <>
struct EnumNames<LandlockScope> {
  using enum LandlockScope;
  static constexpr std::string_view what = "scope";
  static constexpr auto table = std::to_array<EnumName<LandlockScope>>({
      {abstract_socket, "abstract_socket"},
      {signal, "signal"},
  });
};

template <>
struct EnumNames<Macvlan::Mode> {
  static constexpr std::string_view what = "mode of a macvlan";
  static constexpr auto table = std::to_array<EnumName<Macvlan::Mode>>({
      {Macvlan::private_, "private"},
      {Macvlan::vepa, "vepa"},
      {Macvlan::bridge, "bridge"},
      {Macvlan::passthru, "passthru"},
  });
};

template <>
struct EnumNames<Ipvlan::Mode> {
  static constexpr std::string_view what = "mode of an ipvlan";
  static constexpr auto table = std::to_array<EnumName<Ipvlan::Mode>>({
      {Ipvlan::l2, "l2"},
      {Ipvlan::l3, "l3"},
      {Ipvlan::l3s, "l3s"},
  });
};

template <>
struct EnumNames<Ipvlan::Isolation> {
  static constexpr std::string_view what = "isolation of an ipvlan";
  static constexpr auto table = std::to_array<EnumName<Ipvlan::Isolation>>({
      {Ipvlan::bridge, "bridge"},
      {Ipvlan::private_, "private"},
      {Ipvlan::vepa, "vepa"},
  });
};

template <>
struct EnumNames<PublishedPort::Protocol> {
  static constexpr std::string_view what = "protocol";
  static constexpr auto table = std::to_array<EnumName<PublishedPort::Protocol>>({
      {PublishedPort::tcp, "tcp"},
      {PublishedPort::udp, "udp"},
  });
};

// The kinds of interface by type, as the kinds of mount below.
template <class L>
inline constexpr std::string_view link_kind = L::link_kind_is_missing_in_names_hpp;
template <>
inline constexpr std::string_view link_kind<Veth> = "veth";
template <>
inline constexpr std::string_view link_kind<Macvlan> = "macvlan";
template <>
inline constexpr std::string_view link_kind<Ipvlan> = "ipvlan";
template <>
inline constexpr std::string_view link_kind<Vlan> = "vlan";
template <>
inline constexpr std::string_view link_kind<Phys> = "phys";
template <>
inline constexpr std::string_view link_kind<Tap> = "tap";
template <>
inline constexpr std::string_view link_kind<Tun> = "tun";
template <>
inline constexpr std::string_view link_kind<NatBridge> = "bridge";
template <>
inline constexpr std::string_view link_kind<UserNic> = "user_nic";
template <>
inline constexpr std::string_view link_kind<Pasta> = "pasta";

// The kinds of mount by type: a new alternative of Mount does not compile until it has a word.
template <class M>
inline constexpr std::string_view mount_kind = M::mount_kind_is_missing_in_names_hpp;
template <>
inline constexpr std::string_view mount_kind<Bind> = "bind";
template <>
inline constexpr std::string_view mount_kind<Tmpfs> = "tmpfs";
template <>
inline constexpr std::string_view mount_kind<Proc> = "proc";
template <>
inline constexpr std::string_view mount_kind<Sysfs> = "sysfs";
template <>
inline constexpr std::string_view mount_kind<Mqueue> = "mqueue";
template <>
inline constexpr std::string_view mount_kind<CgroupMount> = "cgroup";
template <>
inline constexpr std::string_view mount_kind<Devpts> = "devpts";
template <>
inline constexpr std::string_view mount_kind<Overlay> = "overlay";
template <>
inline constexpr std::string_view mount_kind<FsMount> = "fs";
template <>
inline constexpr std::string_view mount_kind<ImageMount> = "image";
template <>
inline constexpr std::string_view mount_kind<FileMount> = "file";

/// The signals that have a name; the real-time ones are numbers. The same on every architecture we
/// build for.
inline constexpr auto signal_names = std::to_array<std::pair<int, std::string_view>>({
    {SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},       {SIGQUIT, "SIGQUIT"}, {SIGILL, "SIGILL"},
    {SIGTRAP, "SIGTRAP"}, {SIGABRT, "SIGABRT"},     {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},
    {SIGKILL, "SIGKILL"}, {SIGUSR1, "SIGUSR1"},     {SIGSEGV, "SIGSEGV"}, {SIGUSR2, "SIGUSR2"},
    {SIGPIPE, "SIGPIPE"}, {SIGALRM, "SIGALRM"},     {SIGTERM, "SIGTERM"}, {SIGSTKFLT, "SIGSTKFLT"},
    {SIGCHLD, "SIGCHLD"}, {SIGCONT, "SIGCONT"},     {SIGSTOP, "SIGSTOP"}, {SIGTSTP, "SIGTSTP"},
    {SIGTTIN, "SIGTTIN"}, {SIGTTOU, "SIGTTOU"},     {SIGURG, "SIGURG"},   {SIGXCPU, "SIGXCPU"},
    {SIGXFSZ, "SIGXFSZ"}, {SIGVTALRM, "SIGVTALRM"}, {SIGPROF, "SIGPROF"}, {SIGWINCH, "SIGWINCH"},
    {SIGIO, "SIGIO"},     {SIGPWR, "SIGPWR"},       {SIGSYS, "SIGSYS"},
});

/// The word for a value; empty for one that is not in the table.
template <NamedEnum E>
[[nodiscard]] constexpr std::string_view name_of(E value) noexcept {
  const auto& table = EnumNames<E>::table;
  const auto found = std::ranges::find(table, value, &EnumName<E>::first);
  return found == table.end() ? std::string_view{} : found->second;
}

/// As name_of. (Capability has its own in the public header; it says the same.)
template <NamedEnum E>
[[nodiscard]] constexpr std::string_view to_string(E value) noexcept {
  return name_of(value);
}

/// The value of a word.
template <NamedEnum E>
[[nodiscard]] constexpr std::optional<E> from_name(std::string_view name) noexcept {
  const auto& table = EnumNames<E>::table;
  const auto found = std::ranges::find(table, name, &EnumName<E>::second);
  if (found == table.end()) return std::nullopt;
  return found->first;
}

/// The word for a bit without a name: a set that was made from raw bits must be printable as well.
[[nodiscard]] inline std::string unnamed_bit(int bit) { return "bit" + std::to_string(bit); }

/// The words of a set, in the order of the table, then bits without a name as "bit29"; "none" when
/// it is empty.
template <class E>
[[nodiscard]] std::string flag_names(Flags<E> flags, std::string_view separator = ",") {
  std::string text;
  const auto append = [&](std::string_view word) {
    if (!text.empty()) text += separator;
    text += word;
  };
  auto rest = flags.bits();
  for (const auto& [flag, name] : EnumNames<E>::table) {
    if (flags.has(flag)) append(name);
    rest &= static_cast<decltype(rest)>(~static_cast<decltype(rest)>(flag));
  }
  for (; rest != 0; rest &= rest - 1) append(unnamed_bit(std::countr_zero(rest)));
  return text.empty() ? "none" : text;
}

/// "bind", "tmpfs" ...
[[nodiscard]] inline std::string_view kind_name(const Mount& mount) {
  return std::visit([]<class M>(const M&) { return mount_kind<M>; }, mount);
}

/// "SIGTERM", or the number of a signal without a name.
[[nodiscard]] inline std::string signal_name(Signal signal) {
  const auto found =
      std::ranges::find(signal_names, signal.value, &std::pair<int, std::string_view>::first);
  return found == signal_names.end() ? std::to_string(signal.value) : std::string(found->second);
}

}  // namespace v0
}  // namespace condroid
