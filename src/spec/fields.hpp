// Every member of a Spec with its key, once, for both directions: print_spec and parse_spec are two
// visitors of fields().
//
// The structured bindings are the reminder: a member that is added to one of these structs does not
// compile until it is named here, and what is named here is printed and parsed.
//
// What a visitor v understands:
//   v("key", member)          one value; `v("key", member, Codec)` when its type alone does not say
//   how it is written v.group("key", part)      a struct whose members' keys get "key." in front
//   v.part(part)              a struct whose members are as if they were here
//   v.words("key", list)      a list of values that read well beside each other
//   v.lines("key", list)      a list of values, printed one a line
//   v.records("key", list)    a list of structs, one a line
// and inside of a record:
//   v.first("key", member)    a value without key: the line begins with it
//   v.must("key", member)     a value that is never left out
#pragma once

#include <concepts>
#include <type_traits>
#include <variant>

#include "condroid/spec.hpp"
#include "spec/values.hpp"

namespace condroid {
inline namespace v0 {
namespace spec_text {

/// T is U or const U: parsing writes, printing reads.
template <class T, class U>
concept Like = std::same_as<std::remove_const_t<T>, U>;

// The mounts.

template <class V>
void fields(V& v, Like<MountCommon> auto& common) {
  auto& [create_target, follow_links, optional] = common;
  v("create_target", create_target);
  v("follow_links", follow_links);
  v("optional", optional);
}

template <class V>
void fields(V& v, Like<Bind> auto& bind) {
  auto& [source, source_fd, inside, target, flags, recursive, idmapped, idmap_of, propagation,
         common] = bind;
  v("source", source);
  v("source_fd", source_fd);
  v("inside", inside);
  v.must("target", target);
  v("flags", flags);
  v("recursive", recursive);
  v("idmapped", idmapped);
  v("idmap_of", idmap_of);
  v("propagation", propagation);
  v.part(common);
}

template <class V>
void fields(V& v, Like<Tmpfs> auto& tmpfs) {
  auto& [target, size, inodes, mode, flags, common] = tmpfs;
  v.must("target", target);
  v("size", size);
  v("inodes", inodes);
  v("mode", mode);
  v("flags", flags);
  v.part(common);
}

template <class V>
void fields(V& v, Like<Proc> auto& proc) {
  auto& [target, pids_only, hide_others, flags, common] = proc;
  v("target", target);
  v("pids_only", pids_only);
  v("hide_others", hide_others);
  v("flags", flags);
  v.part(common);
}

template <class V>
void fields(V& v, Like<Sysfs> auto& sysfs) {
  auto& [target, flags, net_writable, common] = sysfs;
  v("target", target);
  v("flags", flags);
  v("net_writable", net_writable);
  v.part(common);
}

template <class V>
void fields(V& v, Like<Mqueue> auto& mqueue) {
  auto& [target, flags, common] = mqueue;
  v.must("target", target);
  v("flags", flags);
  v.part(common);
}

template <class V>
void fields(V& v, Like<CgroupMount> auto& cgroup) {
  auto& [target, flags, own_writable, common] = cgroup;
  v("target", target);
  v("flags", flags);
  v("own_writable", own_writable);
  v.part(common);
}

template <class V>
void fields(V& v, Like<Devpts> auto& devpts) {
  auto& [target, max, ptmx, flags, common] = devpts;
  v("target", target);
  v("max", max);
  v("ptmx", ptmx);
  v("flags", flags);
  v.part(common);
}

template <class V>
void fields(V& v, Like<Overlay> auto& overlay) {
  auto& [target, lower, upper, work, ephemeral, size, flags, common] = overlay;
  v.words("lower", lower);
  v("upper", upper);
  v("work", work);
  v.must("target", target);
  v("ephemeral", ephemeral);
  v("size", size);
  v("flags", flags);
  v.part(common);
}

template <class V>
void fields(V& v, Like<FsMount> auto& fs) {
  auto& [type, source, options, target, flags, propagation, common] = fs;
  v.must("type", type);
  v("source", source);
  v.must("target", target);
  v.words("options", options);
  v("flags", flags);
  v("propagation", propagation);
  v.part(common);
}

template <class V>
void fields(V& v, Like<ImageMount> auto& mount) {
  auto& [image, target, ephemeral, upper, work, size, idmapped, flags, common] = mount;
  v.must("path", image.path);
  v("type", image.type);
  v.words("options", image.options);
  v.must("target", target);
  v("ephemeral", ephemeral);
  v("upper", upper);
  v("work", work);
  v("size", size);
  v("idmapped", idmapped);
  v("flags", flags);
  v.part(common);
}

template <class V>
void fields(V& v, Like<FileMount> auto& file) {
  auto& [target, content, mode, flags, common] = file;
  v.must("target", target);
  v("content", content);
  v("mode", mode);
  v("flags", flags);
  v.part(common);
}

// The other records.

template <class V>
void fields(V& v, Like<Join> auto& join) {
  auto& [kind, from] = join;
  v.first("kind", kind);
  v.first("from", from);
}

template <class V>
void fields(V& v, Like<PassedFd> auto& passed) {
  auto& [host, number] = passed;
  v.must("host", host);
  v.must("number", number);
}

template <class V>
void fields(V& v, Like<RlimitSetting> auto& setting) {
  auto& [resource, soft, hard] = setting;
  v.first("resource", resource);
  v.must("soft", soft, RlimitCodec{});
  v.must("hard", hard, RlimitCodec{});
}

template <class V>
void fields(V& v, Like<DeviceNode> auto& node) {
  auto& [name, kind, major, minor, mode, uid, gid] = node;
  v.first("name", name);
  v("kind", kind);
  v.must("major", major);
  v.must("minor", minor);
  v("mode", mode);
  v("uid", uid);
  v("gid", gid);
}

template <class V>
void fields(V& v, Like<DevicePermission> auto& permission) {
  auto& [kind, major, minor, access] = permission;
  v.first("kind", kind);
  v("major", major);
  v("minor", minor);
  v("access", access);
}

template <class V>
void fields(V& v, Like<CgroupSetting> auto& setting) {
  auto& [file, value, optional] = setting;
  v.first("file", file);
  v.first("value", value);
  v("optional", optional);
}

template <class V>
void fields(V& v, Like<IoLimit> auto& io) {
  auto& [device, read_bytes, write_bytes, read_operations, write_operations] = io;
  v.first("device", device);
  v("read_bytes", read_bytes);
  v("write_bytes", write_bytes);
  v("read_operations", read_operations);
  v("write_operations", write_operations);
}

template <class V>
void fields(V& v, Like<HugetlbLimit> auto& hugetlb) {
  auto& [page_size, most] = hugetlb;
  v.first("page_size", page_size);
  v.first("most", most);
}

template <class V>
void fields(V& v, Like<ProcFile> auto& file) {
  auto& [name, value] = file;
  v.first("name", name);
  v.first("value", value);
}

template <class V>
void fields(V& v, Like<Sysctl> auto& sysctl) {
  auto& [name, value] = sysctl;
  v.first("name", name);
  v.first("value", value);
}

template <class V>
void fields(V& v, Like<SyscallRule> auto& rule) {
  auto& [action, calls, error, where, arch, optional] = rule;
  v.first("action", action);
  v.words("calls", calls);
  v("error", error);
  v.words("where", where);
  v("arch", arch);
  v("optional", optional);
}

template <class V>
void fields(V& v, Like<LandlockRule> auto& rule) {
  auto& [path, access, follow_links, optional] = rule;
  v.first("path", path);
  v("access", access);
  v("follow_links", follow_links);
  v("optional", optional);
}

template <class V>
void fields(V& v, Like<Veth> auto& veth) {
  auto& [bridge, host_name, host_addresses, host_routes, isolated, vlan_id, tagged, rx_queues,
         tx_queues] = veth;
  v("bridge", bridge);
  v("host_name", host_name);
  v.words("host_addresses", host_addresses);
  v.words("host_routes", host_routes);
  v("isolated", isolated);
  v("vlan_id", vlan_id);
  v.words("tagged", tagged);
  v("rx_queues", rx_queues);
  v("tx_queues", tx_queues);
}

template <class V>
void fields(V& v, Like<Macvlan> auto& macvlan) {
  auto& [parent, mode] = macvlan;
  v.must("parent", parent);
  v("mode", mode);
}

template <class V>
void fields(V& v, Like<Ipvlan> auto& ipvlan) {
  auto& [parent, mode, isolation] = ipvlan;
  v.must("parent", parent);
  v("mode", mode);
  v("isolation", isolation);
}

template <class V>
void fields(V& v, Like<Vlan> auto& vlan) {
  auto& [parent, id] = vlan;
  v.must("parent", parent);
  v.must("id", id);
}

template <class V>
void fields(V& v, Like<Phys> auto& phys) {
  auto& [parent] = phys;
  v.must("parent", parent);
}

template <class V>
void fields(V& v, Like<Tap> auto& tap) {
  auto& [vnet_header] = tap;
  v("vnet_header", vnet_header);
}

template <class V>
void fields(V& /*v*/, Like<Tun> auto& /*tun*/) {}

template <class V>
void fields(V& v, Like<NatBridge> auto& bridge) {
  auto& [name, subnets, nat, isolated] = bridge;
  v("bridge", name);
  v.words("subnets", subnets);
  v("nat", nat);
  v("isolated", isolated);
}

template <class V>
void fields(V& v, Like<UserNic> auto& nic) {
  auto& [bridge] = nic;
  v.must("bridge", bridge);
}

template <class V>
void fields(V& v, Like<Pasta> auto& pasta) {
  auto& [parent, reach_host] = pasta;
  v("parent", parent);
  v("reach_host", reach_host);
}

template <class V>
void fields(V& v, Like<Interface> auto& interface) {
  auto& [name, link, mac, mac_template, mtu, up, addresses, broadcasts, gateways, gateway_auto,
         routes, ipv6_autoconf, duplicate_address_detection, ready_within] = interface;
  v.first("name", name);
  std::visit([&](auto& l) { fields(v, l); }, link);
  v("mac", mac);
  v("mac_template", mac_template);
  v("mtu", mtu);
  v("up", up);
  v.words("addresses", addresses);
  v.words("broadcasts", broadcasts);
  v.words("gateways", gateways);
  v("gateway_auto", gateway_auto);
  v.words("routes", routes);
  v("ipv6_autoconf", ipv6_autoconf);
  v("duplicate_address_detection", duplicate_address_detection);
  v("ready_within", ready_within);
}

// The parts of a Spec.

template <class V>
void fields(V& v, Like<RootImage> auto& image) {
  auto& [path, type, options] = image;
  v("path", path);
  v("type", type);
  v.words("options", options);
}

template <class V>
void fields(V& v, Like<Root> auto& root) {
  auto& [path, image, read_only, ephemeral, lower, upper, work, size, idmapped, propagation] = root;
  v("path", path);
  v.group("image", image);
  v("read_only", read_only);
  v("ephemeral", ephemeral);
  v.words("lower", lower);
  v("upper", upper);
  v("work", work);
  v("size", size);
  v("idmapped", idmapped);
  v("propagation", propagation);
}

template <class V>
void fields(V& v, Like<Stdio> auto& stdio) {
  auto& [in, out, err] = stdio;
  v("in", in);
  v("out", out);
  v("err", err);
}

template <class V>
void fields(V& v, Like<Scheduling> auto& scheduling) {
  auto& [policy, priority, nice, cpus, core] = scheduling;
  v("policy", policy);
  v("priority", priority);
  v("nice", nice);
  v.words("cpus", cpus);
  v("core", core);
}

template <class V>
void fields(V& v, Like<Process> auto& process) {
  auto& [argv, env, cwd, create_cwd, uid, gid, groups, stdio, capture_limit, descriptors, init,
         new_session, controlling_terminal, umask, rlimits, oom_score_adj, proc_files, scheduling,
         personality, death_signal] = process;
  v.words("argv", argv);
  v.lines("env", env);
  v("cwd", cwd);
  v("create_cwd", create_cwd);
  v("uid", uid);
  v("gid", gid);
  v.words("groups", groups);
  v.group("stdio", stdio);
  v("capture_limit", capture_limit);
  v.records("descriptors", descriptors);
  v("init", init);
  v("new_session", new_session);
  v("controlling_terminal", controlling_terminal);
  v("umask", umask);
  v.records("rlimits", rlimits);
  v("oom_score_adj", oom_score_adj);
  v.records("proc_files", proc_files);
  v.group("scheduling", scheduling);
  v("personality", personality);
  v("death_signal", death_signal);
}

template <class V>
void fields(V& v, Like<Terminal> auto& terminal) {
  auto& [console, ttys, tty_dir, log, log_size, log_rotate, ring, rows, columns] = terminal;
  v("console", console);
  v("ttys", ttys);
  v("tty_dir", tty_dir);
  v("log", log);
  v("log_size", log_size);
  v("log_rotate", log_rotate);
  v("ring", ring);
  v("rows", rows);
  v("columns", columns);
}

template <class V>
void fields(V& v, Like<IdMap> auto& idmap) {
  auto& [kind, uids, gids] = idmap;
  v("kind", kind);
  v.words("uids", uids);
  v.words("gids", gids);
}

template <class V>
void fields(V& v, Like<TimeOffsets> auto& time) {
  auto& [monotonic, boottime] = time;
  v("monotonic", monotonic);
  v("boottime", boottime);
}

template <class V>
void fields(V& v, Like<Devices> auto& devices) {
  auto& [populate, shm, mqueue, size, shm_size, nodes, filter, permitted, denied] = devices;
  v("populate", populate);
  v("shm", shm);
  v("mqueue", mqueue);
  v("size", size);
  v("shm_size", shm_size);
  v.records("nodes", nodes);
  v("filter", filter);
  v.records("permitted", permitted);
  v.records("denied", denied);
}

template <class V>
void fields(V& v, Like<Network> auto& network) {
  auto& [loopback_up, interfaces, publish, name_servers, search] = network;
  v("loopback_up", loopback_up);
  v.records("interfaces", interfaces);
  v.words("publish", publish);
  v.words("name_servers", name_servers);
  v.words("search", search);
}

template <class V>
void fields(V& v, Like<Resources> auto& resources) {
  auto& [cgroup, cgroup_path, cgroup_inner, memory_max, memory_high, memory_swap_max, pids_max,
         cpus, cpu_weight, cpuset_cpus, cpuset_mems, io_weight, io, hugetlb, settings, optional] =
      resources;
  v("cgroup", cgroup);
  v("cgroup_path", cgroup_path);
  v("cgroup_inner", cgroup_inner);
  v("memory_max", memory_max);
  v("memory_high", memory_high);
  v("memory_swap_max", memory_swap_max);
  v("pids_max", pids_max);
  v("cpus", cpus);
  v("cpu_weight", cpu_weight);
  v("cpuset_cpus", cpuset_cpus);
  v("cpuset_mems", cpuset_mems);
  v("io_weight", io_weight);
  v.records("io", io);
  v.records("hugetlb", hugetlb);
  v.records("settings", settings);
  v("optional", optional);
}

template <class V>
void fields(V& v, Like<Seccomp> auto& seccomp) {
  auto& [kind, arch, otherwise, error, list, program, notify_program, and_standard, log] = seccomp;
  v("kind", kind);
  v("arch", arch);
  v("otherwise", otherwise);
  v("error", error);
  v.records("list", list);
  v.words("program", program);
  v.words("notify_program", notify_program);
  v("and_standard", and_standard);
  v("log", log);
}

template <class V>
void fields(V& v, Like<CapabilitySets> auto& sets) {
  auto& [permitted, effective, inheritable, ambient] = sets;
  v("permitted", permitted);
  v("effective", effective);
  v("inheritable", inheritable);
  v("ambient", ambient);
}

template <class V>
void fields(V& v, Like<Landlock> auto& landlock) {
  auto& [handled, rules, tcp, bind, connect, scope, best_effort] = landlock;
  v("handled", handled);
  v.records("rules", rules);
  v("tcp", tcp);
  v.words("bind", bind);
  v.words("connect", connect);
  v("scope", scope);
  v("best_effort", best_effort);
}

template <class V>
void fields(V& v, Like<Security> auto& security) {
  auto& [capabilities, ambient, sets, securebits, no_new_privs, seccomp, landlock, apparmor,
         own_apparmor, apparmor_rules, selinux, selinux_mount, selinux_keyring, own_keyring,
         masked_paths, read_only_paths, sysctls, allow] = security;
  v("capabilities", capabilities);
  v("ambient", ambient);
  v.group("sets", sets);
  v("securebits", securebits);
  v("no_new_privs", no_new_privs);
  v.group("seccomp", seccomp);
  v.group("landlock", landlock);
  v("apparmor", apparmor);
  v("own_apparmor", own_apparmor);
  v.lines("apparmor_rules", apparmor_rules);
  v("selinux", selinux);
  v("selinux_mount", selinux_mount);
  v("selinux_keyring", selinux_keyring);
  v("own_keyring", own_keyring);
  v.lines("masked_paths", masked_paths);
  v.lines("read_only_paths", read_only_paths);
  v.records("sysctls", sysctls);
  v("allow", allow);
}

template <class V>
void fields(V& v, Like<Lifecycle> auto& lifecycle) {
  auto& [stop_signal, halt_signal, reboot_signal, stop_timeout, freezable, own_boot_id, restart,
         restart_limit, restart_window] = lifecycle;
  v("stop_signal", stop_signal);
  v("halt_signal", halt_signal);
  v("reboot_signal", reboot_signal);
  v("stop_timeout", stop_timeout);
  v("freezable", freezable);
  v("own_boot_id", own_boot_id);
  v("restart", restart);
  v("restart_limit", restart_limit);
  v("restart_window", restart_window);
}

template <class V>
void fields(V& v, Like<Hook> auto& hook) {
  auto& [point, program, argv, env, input, interface, timeout] = hook;
  v.first("point", point);
  v.first("program", program);
  v.words("argv", argv);
  v.words("env", env);
  v("input", input);
  v("interface", interface);
  v("timeout", timeout);
}

template <class V>
void fields(V& v, Like<Hooks> auto& hooks) {
  auto& [run, root_at] = hooks;
  v.records("run", run);
  v("root_at", root_at);
}

template <class V>
void fields(V& v, Like<Spec> auto& spec) {
  auto& [name, root, process, terminal, namespaces, join, idmap, time, hostname, domainname, mounts,
         default_mounts, devices, network, resources, security, lifecycle, hooks] = spec;
  v("name", name);
  v.group("root", root);
  v.group("process", process);
  v.group("terminal", terminal);
  v("namespaces", namespaces);
  v.records("join", join);
  v.group("idmap", idmap);
  v.group("time", time);
  v("hostname", hostname);
  v("domainname", domainname);
  v.records("mounts", mounts);
  v("default_mounts", default_mounts);
  v.group("devices", devices);
  v.group("network", network);
  v.group("resources", resources);
  v.group("security", security);
  v.group("lifecycle", lifecycle);
  v.group("hooks", hooks);
}

}  // namespace spec_text
}  // namespace v0
}  // namespace condroid
