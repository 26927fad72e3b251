// The table of LXC's keys. Private.
//
// A row says all that the language knows of a key; the parser, the writer, key_help() and
// docs/lxc-keys.md are made from it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/spec.hpp"

namespace condroid::inline v0::lxc_language {

/// What is wrong with a value, nothing when it is right; and the value gets the form in which LXC
/// gives it back. What would be right is in the row.
using Check = std::string (*)(std::string& value);

std::string anything(std::string& value);
std::string flag(std::string& value);
std::string whole(std::string& value);     ///< 0 to UINT_MAX, in C's spelling
std::string positive(std::string& value);  ///< The same from 1.
std::string integer(std::string& value);   ///< With a sign.
std::string path(std::string& value);
std::string host_name(std::string& value);
std::string architecture(std::string& value);
std::string root_path(std::string& value);
std::string root_options(std::string& value);
std::string command(std::string& value);  ///< Words in LXC's quotes.
std::string group_id(std::string& value);
std::string absolute(std::string& value);
std::string auto_mount(std::string& value);
std::string dev_size(std::string& value);
std::string tty_dir(std::string& value);
std::string buffer_size(std::string& value);
std::string log_size(std::string& value);
std::string id_range(std::string& value);
std::string namespace_kind(std::string& value);
std::string shared_namespace(std::string& value);
std::string time_offset(std::string& value);
std::string capability(std::string& value);
std::string kept_capability(std::string& value);
std::string limit(std::string& value);
std::string proxy(std::string& value);
std::string cgroup_path(std::string& value);
std::string cgroup_name(std::string& value);
std::string environment(std::string& value);
std::string signal(std::string& value);
std::string log_level(std::string& value);
std::string syslog_facility(std::string& value);
std::string net_type(std::string& value);
std::string net_up(std::string& value);
std::string net_name(std::string& value);
std::string net_mac(std::string& value);
std::string net_mtu(std::string& value);
std::string net_address4(std::string& value);
std::string net_address6(std::string& value);
std::string net_gateway4(std::string& value);
std::string net_gateway6(std::string& value);
std::string net_route4(std::string& value);
std::string net_route6(std::string& value);
std::string net_veth_mode(std::string& value);
std::string net_vlan(std::string& value);
std::string net_tagged(std::string& value);
std::string net_macvlan_mode(std::string& value);
std::string net_ipvlan_mode(std::string& value);
std::string net_ipvlan_isolation(std::string& value);
std::string net_vlan_id(std::string& value);

enum class Shape : std::uint8_t {
  once,     ///< The last line holds.
  list,     ///< Each line is one more.
  words,    ///< Each word of each line is one more.
  group,    ///< Only to be cleared, with all keys that begin with it.
  include,  ///< The parser's own.
  dropped,  ///< An old key that means nothing any more.
};

struct Key {
  std::string_view name;
  std::string_view legacy;  ///< The older name. Those of lxc.network.* are made.
  Shape shape;
  Check check;
  std::string_view values;
  std::string_view otherwise;  ///< As lxc-info -c prints it; empty: it is not found then.
  std::string_view help;
};

inline constexpr std::string_view number_values = "a whole number from 0 to 4294967295";
inline constexpr std::string_view flag_values = "0 or 1";
inline constexpr std::string_view command_values = "a command line";
inline constexpr std::string_view name_values = "a name of 1 to 15 bytes";
inline constexpr std::string_view signal_values = "a number, or a name like SIGPWR or SIGRTMIN+3";
inline constexpr std::string_view kind_values = "of user, mnt, pid, uts, ipc, net, cgroup, time";
inline constexpr std::string_view environment_values =
    "NAME=VALUE, or NAME for the value that it has in this environment";

inline constexpr auto table = std::to_array<Key>({
    {"lxc.include", "", Shape::include, anything, "a file, or a directory of files named *.conf",
     "",
     "Reads them here, in the order of their names. A directory that is not there is passed over."},

    {"lxc.uts.name", "lxc.utsname", Shape::once, host_name, "a name of at most 64 bytes", "",
     "Host name of the container."},
    {"lxc.arch", "", Shape::once, architecture,
     "an architecture like x86_64, i686, aarch64 or armv7l", "",
     "What uname(2) says it is: one of 32 bits is the personality linux32."},
    {"lxc.rootfs.path", "lxc.rootfs", Shape::once, root_path, "[TYPE:]PATH", "",
     "Root file system: a directory, overlay:LOWER:UPPER, or an image. Without one it shares the "
     "host's."},
    {"lxc.rootfs.mount", "", Shape::once, path, "a directory",
     "/usr/lib/x86_64-linux-gnu/lxc/rootfs",
     "Where LXC mounts the root file system before it is the root. Hooks see it there; without "
     "hooks nothing is mounted."},
    {"lxc.rootfs.options", "", Shape::once, root_options, "options of mount(8), idmap=container",
     "", "How the root file system is mounted."},
    {"lxc.rootfs.managed", "", Shape::once, flag, flag_values, "1",
     "0: it stays when the container is destroyed."},
    {"lxc.rootfs.backend", "", Shape::once, anything, "a type like dir, overlayfs or loop", "",
     "Of LXC 1.0 and 2.0: the type, which is now in front of lxc.rootfs.path."},
    {"lxc.init.cmd", "lxc.init_cmd", Shape::once, command, command_values, "",
     "First process of the container, /sbin/init without. Words end at blanks; '...' and \"...\" "
     "hold them together."},
    {"lxc.execute.cmd", "", Shape::once, command, command_values, "",
     "What lxc-execute runs without being told."},
    {"lxc.init.uid", "lxc.init_uid", Shape::once, whole, number_values, "0",
     "User id of the first process, in the container's numbering."},
    {"lxc.init.gid", "lxc.init_gid", Shape::once, whole, number_values, "0",
     "Group id of the first process."},
    {"lxc.init.groups", "", Shape::words, group_id, "group ids with commas between them", "",
     "Its supplementary groups. Without, it has none."},
    {"lxc.init.cwd", "", Shape::once, absolute, "an absolute path", "",
     "Its working directory, made when it is missing."},
    {"lxc.ephemeral", "", Shape::once, flag, flag_values, "0",
     "1: the container is destroyed when it has stopped."},
    {"lxc.no_new_privs", "", Shape::once, flag, flag_values, "0",
     "1: nothing in it gains rights by executing a program."},
    {"lxc.keyring.session", "", Shape::once, flag, flag_values, "0",
     "1: no session keyring of its own. LXC's manual says it the other way round; this is what LXC "
     "does."},

    {"lxc.namespace.clone", "", Shape::words, namespace_kind, kind_values, "",
     "These namespaces are new, and no others."},
    {"lxc.namespace.keep", "", Shape::words, namespace_kind, kind_values, "",
     "All but these are new."},
    {"lxc.namespace.share.", "", Shape::once, shared_namespace,
     "a pid, the name of a container, or the path of a namespace", "",
     "It joins that namespace; the key ends with its kind."},
    {"lxc.idmap", "lxc.id_map", Shape::list, id_range, "u|g INSIDE OUTSIDE COUNT", "",
     "Ids of a user namespace: u for users, g for groups."},
    {"lxc.time.offset.boot", "", Shape::once, time_offset, "a number and h, m, s, ms, us or ns",
     "0 ns", "What its CLOCK_BOOTTIME is ahead."},
    {"lxc.time.offset.monotonic", "", Shape::once, time_offset,
     "a number and h, m, s, ms, us or ns", "0ns", "What its CLOCK_MONOTONIC is ahead."},

    {"lxc.mount.fstab", "lxc.mount", Shape::once, path, "a file in the form of fstab(5)", "",
     "Mounts, ahead of those of lxc.mount.entry."},
    {"lxc.mount.entry", "", Shape::list, anything, "SOURCE TARGET TYPE OPTIONS [0 0]", "",
     "A mount, as a line of fstab(5); also create=dir, create=file, optional, relative, "
     "idmap=container, idmap=PATH."},
    {"lxc.mount.auto", "", Shape::words, auto_mount,
     "proc[:mixed|rw], sys[:mixed|ro|rw], cgroup[-full][:mixed|ro|rw][:force], "
     "cgroup2[:ro][:force], shmounts:HOST[:TARGET]",
     "", "The usual kernel file systems. Of one kind the last holds."},
    {"lxc.autodev", "", Shape::once, flag, flag_values, "1",
     "A tmpfs on /dev with the usual nodes."},
    {"lxc.autodev.tmpfs.size", "", Shape::once, dev_size, "a number of bytes", "0",
     "Size of that tmpfs; 0: 500000."},
    {"lxc.tty.max", "lxc.tty", Shape::once, whole, number_values, "0",
     "Number of terminals /dev/tty1 and so on."},
    {"lxc.tty.dir", "lxc.devttydir", Shape::once, tty_dir, "the name of a directory in /dev", "",
     "Where they and the console are."},
    {"lxc.pty.max", "lxc.pts", Shape::once, whole, number_values, "0",
     "Number of pseudo terminals of its own."},
    {"lxc.console.path", "lxc.console", Shape::once, path, "a terminal or a file, or none", "",
     "What the console is connected to; none: there is no console."},
    {"lxc.console.logfile", "", Shape::once, path, "a file", "",
     "Console output is appended to it."},
    {"lxc.console.buffer.size", "", Shape::once, buffer_size, "auto, or a size with KB, MB or GB",
     "0", "So much of the last console output is kept in memory."},
    {"lxc.console.size", "", Shape::once, log_size, "auto, or a size with KB, MB or GB", "0",
     "Most of the log file."},
    {"lxc.console.rotate", "", Shape::once, flag, flag_values, "0",
     "1: a full log file is renamed to .1, and not truncated."},

    {"lxc.cap.drop", "", Shape::words, capability, "capabilities in lower case, without cap_", "",
     "It never has them."},
    {"lxc.cap.keep", "", Shape::words, kept_capability,
     "capabilities in lower case, without cap_; none", "",
     "It never has others; none: it has none at all."},
    {"lxc.apparmor.profile", "lxc.aa_profile", Shape::once, anything,
     "a profile, unconfined, unchanged or generated", "",
     "Profile of AppArmor for the first process."},
    {"lxc.apparmor.allow_incomplete", "lxc.aa_allow_incomplete", Shape::once, flag, flag_values,
     "0", "1: it starts where AppArmor cannot mediate mounts."},
    {"lxc.apparmor.allow_nesting", "", Shape::once, flag, flag_values, "0",
     "1: a profile that is generated allows containers inside."},
    {"lxc.apparmor.raw", "", Shape::list, anything, "a line of a profile", "",
     "At the end of a profile that is generated."},
    {"lxc.selinux.context", "lxc.se_context", Shape::once, anything, "a context", "",
     "Context of SELinux for the first process."},
    {"lxc.selinux.context.keyring", "", Shape::once, anything, "a context", "",
     "The same for its session keyring."},
    {"lxc.seccomp.profile", "lxc.seccomp", Shape::once, path, "a file", "",
     "Which system calls it may make: docs/seccomp.md."},
    {"lxc.seccomp.allow_nesting", "", Shape::once, flag, flag_values, "0",
     "1: the filter is loaded beside one that is there. It always is."},
    {"lxc.seccomp.notify.proxy", "", Shape::once, proxy, "unix:PATH or unix:@NAME", "",
     "Who answers for the action notify."},
    {"lxc.seccomp.notify.cookie", "", Shape::once, anything, "text", "",
     "What each request to it carries."},
    {"lxc.sched.core", "", Shape::once, flag, flag_values, "0",
     "1: no other container runs on the same core at the same time."},
    {"lxc.prlimit.", "lxc.limit.", Shape::once, limit, "SOFT[:HARD], numbers or unlimited", "",
     "A limit of setrlimit(2); the key ends with its name."},
    {"lxc.sysctl.", "", Shape::once, anything, "a value", "",
     "A kernel setting of its own; the key ends with its name."},
    {"lxc.proc.", "", Shape::once, anything, "a value", "",
     "A file of the first process's directory in /proc, for instance oom_score_adj."},

    {"lxc.cgroup.", "", Shape::list, anything, "a value", "",
     "A file of its cgroup of version 1; the key ends with its name."},
    {"lxc.cgroup2.", "", Shape::list, anything, "a value", "",
     "A file of its cgroup of version 2. devices.allow and devices.deny: a, or TYPE MAJOR:MINOR "
     "ACCESS."},
    {"lxc.cgroup.dir", "", Shape::once, cgroup_path, "a relative path without '..'", "",
     "The cgroups are below it."},
    {"lxc.cgroup.dir.monitor", "", Shape::once, cgroup_path, "a relative path without '..'", "",
     "Cgroup of the program that keeps it."},
    {"lxc.cgroup.dir.monitor.pivot", "", Shape::once, cgroup_path, "a relative path without '..'",
     "", "Where that goes when it cleans up."},
    {"lxc.cgroup.dir.container", "", Shape::once, cgroup_path, "a relative path without '..'", "",
     "Cgroup of the container, with its limits."},
    {"lxc.cgroup.dir.container.inner", "", Shape::once, cgroup_name, "one name without '/'", "",
     "One more below, in which it is."},
    {"lxc.cgroup.relative", "", Shape::once, flag, flag_values, "0",
     "1: below the caller's cgroup, not the top."},

    {"lxc.net.N.type", "", Shape::once, net_type,
     "veth, macvlan, ipvlan, vlan, phys, empty or none", "",
     "The kind of interface; the first key of one. none: the host's network is shared."},
    {"lxc.net.N.flags", "", Shape::once, net_up, "up", "",
     "It is brought up, and the loopback, too. Whatever is said means up."},
    {"lxc.net.N.link", "", Shape::once, net_name, name_values, "",
     "Interface or bridge of the host that it is connected to, or that it is; of a phys also eth+, "
     "the last of those that begin so."},
    {"lxc.net.N.l2proxy", "", Shape::once, flag, flag_values, "0",
     "1: the host answers on the link for its addresses."},
    {"lxc.net.N.name", "", Shape::once, net_name, "a name of 1 to 15 bytes, or eth%d", "",
     "Its name in the container."},
    {"lxc.net.N.hwaddr", "", Shape::once, net_mac, "like 00:16:3e:xx:xx:xx", "",
     "Its Ethernet address; an x is a random digit."},
    {"lxc.net.N.mtu", "", Shape::once, net_mtu, "a number of bytes", "", "The longest packet."},
    {"lxc.net.N.ipv4.address", "", Shape::list, net_address4, "ADDRESS[/PREFIX] [BROADCAST]", "",
     "An address in the container."},
    {"lxc.net.N.ipv4.gateway", "", Shape::once, net_gateway4, "an address, auto or dev", "",
     "Default route; auto: the first address of the link; dev: without a router."},
    {"lxc.net.N.ipv6.address", "", Shape::list, net_address6, "ADDRESS[/PREFIX]", "",
     "The same for IPv6."},
    {"lxc.net.N.ipv6.gateway", "", Shape::once, net_gateway6, "an address, auto or dev", "",
     "The same for IPv6."},
    {"lxc.net.N.script.up", "", Shape::once, anything, command_values, "",
     "Run on the host when it is there."},
    {"lxc.net.N.script.down", "", Shape::once, anything, command_values, "",
     "Run on the host before it goes."},
    {"lxc.net.N.veth.pair", "", Shape::once, net_name, name_values, "", "Name of the host's end."},
    {"lxc.net.N.veth.mode", "", Shape::once, net_veth_mode, "bridge or router", "bridge",
     "router: no bridge, but routes of the host."},
    {"lxc.net.N.veth.n_rxqueues", "", Shape::once, positive, "a whole number from 1", "",
     "Queues of both ends for receiving."},
    {"lxc.net.N.veth.n_txqueues", "", Shape::once, positive, "a whole number from 1", "",
     "Queues of both ends for sending."},
    {"lxc.net.N.veth.ipv4.route", "", Shape::list, net_route4, "NETWORK/PREFIX", "",
     "The host reaches that network by way of the container."},
    {"lxc.net.N.veth.ipv6.route", "", Shape::list, net_route6, "NETWORK/PREFIX", "",
     "The same for IPv6."},
    {"lxc.net.N.veth.vlan.id", "", Shape::once, net_vlan, "none or 0 to 4094", "",
     "VLAN of the bridge for what is untagged."},
    {"lxc.net.N.veth.vlan.tagged.id", "", Shape::list, net_tagged, "0 to 4094", "",
     "A VLAN that is tagged."},
    {"lxc.net.N.macvlan.mode", "", Shape::once, net_macvlan_mode,
     "private, vepa, bridge or passthru", "private", "Who else on the link is reached."},
    {"lxc.net.N.ipvlan.mode", "", Shape::once, net_ipvlan_mode, "l3, l3s or l2", "l2",
     "Where it is routed. LXC's manual says l3 for none; this is what LXC does."},
    {"lxc.net.N.ipvlan.isolation", "", Shape::once, net_ipvlan_isolation, "bridge, private or vepa",
     "bridge", "Who else on the link is reached."},
    {"lxc.net.N.vlan.id", "", Shape::once, net_vlan_id, "a number from 0 to 65535", "0",
     "The VLAN."},
    {"lxc.net.N", "", Shape::group, anything, "nothing", "", "Clears one interface."},
    {"lxc.net", "lxc.network", Shape::group, anything, "nothing", "", "Clears all interfaces."},

    {"lxc.hook.pre-start", "", Shape::list, anything, command_values, "",
     "Before anything of it is there, on the host."},
    {"lxc.hook.pre-mount", "", Shape::list, anything, command_values, "",
     "In its mount namespace, without its root."},
    {"lxc.hook.mount", "", Shape::list, anything, command_values, "",
     "After its mounts, before its root is the root."},
    {"lxc.hook.autodev", "", Shape::list, anything, command_values, "",
     "After that, with lxc.autodev."},
    {"lxc.hook.start-host", "", Shape::list, anything, command_values, "",
     "When all is set up, on the host."},
    {"lxc.hook.start", "", Shape::list, anything, command_values, "",
     "The same, in the container."},
    {"lxc.hook.stop", "", Shape::list, anything, command_values, "",
     "After its first process has ended, on the host."},
    {"lxc.hook.post-stop", "", Shape::list, anything, command_values, "",
     "When nothing of it is left. A failure ends a restart."},
    {"lxc.hook.clone", "", Shape::list, anything, command_values, "", "When it has been copied."},
    {"lxc.hook.destroy", "", Shape::list, anything, command_values, "", "Before it is destroyed."},
    {"lxc.hook.version", "", Shape::once, flag, flag_values, "0",
     "How a hook is told what it is about: 0 by arguments, 1 by its environment."},

    {"lxc.environment", "", Shape::list, environment, environment_values, "",
     "For hooks in the container and its first process."},
    {"lxc.environment.runtime", "", Shape::list, environment, environment_values, "",
     "For its first process alone."},
    {"lxc.environment.hooks", "", Shape::list, environment, environment_values, "",
     "For its hooks alone."},
    {"lxc.group", "", Shape::words, anything, "names", "",
     "Groups that lxc-autostart knows it by."},
    {"lxc.start.auto", "", Shape::once, flag, flag_values, "0", "1: started with the machine."},
    {"lxc.start.delay", "", Shape::once, whole, number_values, "0",
     "Seconds until the next one is started."},
    {"lxc.start.order", "", Shape::once, integer, "a whole number", "0", "The lower, the sooner."},
    {"lxc.signal.halt", "lxc.haltsignal", Shape::once, signal, signal_values, "0",
     "Asks it to end; SIGPWR, or SIGRTMIN+3 for systemd."},
    {"lxc.signal.reboot", "lxc.rebootsignal", Shape::once, signal, signal_values, "0",
     "Asks it to start anew; SIGINT."},
    {"lxc.signal.stop", "lxc.stopsignal", Shape::once, signal, signal_values, "0",
     "Ends it; SIGKILL."},
    {"lxc.monitor.unshare", "", Shape::once, whole, number_values, "0",
     "Not 0: who keeps it has a mount namespace of its own."},
    {"lxc.monitor.signal.pdeath", "", Shape::once, signal, signal_values, "9",
     "What it gets when that ends; SIGKILL."},
    {"lxc.log.level", "lxc.loglevel", Shape::once, log_level,
     "0 to 8, or TRACE, DEBUG, INFO, NOTICE, WARN, ERROR, CRIT, ALERT, FATAL", "NOTSET",
     "What is logged."},
    {"lxc.log.file", "lxc.logfile", Shape::once, path, "a file", "", "Where it is logged."},
    {"lxc.log.syslog", "lxc.syslog", Shape::once, syslog_facility, "daemon or local0 to local7", "",
     "As what it is told to syslog(3)."},

    {"lxc.hook", "", Shape::group, anything, "nothing", "", "Clears all hooks."},
    {"lxc.cgroup", "", Shape::group, anything, "nothing", "", "Clears all files of version 1."},
    {"lxc.cgroup2", "", Shape::group, anything, "nothing", "", "Clears all files of version 2."},
    {"lxc.prlimit", "lxc.limit", Shape::group, anything, "nothing", "", "Clears all limits."},
    {"lxc.sysctl", "", Shape::group, anything, "nothing", "", "Clears all kernel settings."},
    {"lxc.proc", "", Shape::group, anything, "nothing", "", "Clears all files of /proc."},
    {"lxc.namespace.share", "", Shape::group, anything, "nothing", "", "Joins none."},

    {"lxc.kmsg", "", Shape::dropped, anything, "anything", "",
     "Of LXC 1.0 and 2.0, a link from /dev/kmsg to the console. Nothing is done."},
    {"lxc.pivotdir", "", Shape::dropped, anything, "anything", "",
     "Of LXC 1.0, a place for the old root. None is needed."},
});

constexpr bool has_rest(const Key& key) { return key.name.ends_with('.'); }
constexpr std::string_view net_prefix = "lxc.net.N.";
constexpr bool of_net(const Key& key) { return key.name.starts_with(net_prefix); }

/// The row of a name that there is.
consteval std::size_t row(std::string_view name) {
  for (std::size_t i = 0; i < table.size(); ++i)
    if (table[i].name == name) return i;
  throw "no such key";
}

/// A row, and what is said beside it: the number of an interface, the rest of a prefix.
struct Found {
  std::size_t row = table.size();
  std::string rest = {};
  std::string modern = {};  ///< For an old spelling the new one; without a number for a new device.
  bool counts = false;      ///< Of lxc.network without a number: the latest device.
  [[nodiscard]] bool known() const { return row < table.size(); }
};
[[nodiscard]] Found find_key(std::string_view name);
/// The known name that is nearest to one that is not; may be empty.
[[nodiscard]] std::string near_key(std::string_view name);

/// A command line in words, as LXC splits one; what is wrong with it otherwise.
[[nodiscard]] std::string split_command(std::string_view text, std::vector<std::string>& words);
[[nodiscard]] std::string joined_command(const std::vector<std::string>& words);
[[nodiscard]] std::vector<std::string_view> words_of(std::string_view text,
                                                     std::string_view blanks = " \t");
/// An address with its prefix length; without one that of its class, for IPv6 64.
[[nodiscard]] IpPrefix prefix_of(std::string_view text);
/// Whether a root begins with one of LXC's types and a ':'.
[[nodiscard]] bool names_type(std::string_view root);
[[nodiscard]] bool read_whole(std::string_view text, std::uint64_t most, std::uint64_t& out);

}  // namespace condroid::inline v0::lxc_language
