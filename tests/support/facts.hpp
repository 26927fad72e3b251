// Machines for tests, as HostFacts: none of them is the one that the test runs on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "condroid/sys/facts.hpp"

namespace condroid::test {

/// The limits of a usual login, soft and hard, in the order of Rlimit.
inline std::vector<std::pair<std::uint64_t, std::uint64_t>> usual_rlimits() {
  constexpr std::uint64_t none = ~std::uint64_t{0};
  return {{none, none},      {none, none},   {none, none},
          {8U << 20U, none}, {0, none},      {none, none},
          {62000, 62000},    {1024, 524288}, {8U << 20U, 8U << 20U},
          {none, none},      {none, none},   {62000, 62000},
          {819200, 819200},  {0, 0},         {0, 0},
          {none, none}};
}

/// What every machine here has in common: Linux 6.18 and a usual "/".
inline HostFacts some_host() {
  HostFacts f;
  f.kernel_release = "6.18.0";
  f.kernel_major = 6;
  f.kernel_minor = 18;
  f.machine = "x86_64";
  f.last_capability = 40;
  f.namespaces_user = f.namespaces_time = f.namespaces_cgroup = true;
  f.memfd_exec = f.pidfs = f.cgroup_kill = true;
  f.landlock_abi = 7;
  f.initial_user_namespace = true;
  f.bounding_caps = (std::uint64_t{1} << 41U) - 1;
  f.rlimits = usual_rlimits();
  f.newuidmap = "/usr/bin/newuidmap";
  f.newgidmap = "/usr/bin/newgidmap";
  f.mounts = {
      {.id = 22,
       .parent = 1,
       .root = "/",
       .target = "/",
       .options = "rw",
       .type = "ext4",
       .source = "/dev/vda1",
       .super_options = "rw",
       .shared = true},
      {.id = 23,
       .parent = 22,
       .root = "/",
       .target = "/proc",
       .options = "rw",
       .type = "proc",
       .source = "proc",
       .super_options = "rw",
       .shared = true},
      {.id = 24,
       .parent = 22,
       .root = "/",
       .target = "/sys",
       .options = "rw",
       .type = "sysfs",
       .source = "sysfs",
       .super_options = "rw",
       .shared = true},
      {.id = 25,
       .parent = 22,
       .root = "/",
       .target = "/dev",
       .options = "rw",
       .type = "devtmpfs",
       .source = "udev",
       .super_options = "rw",
       .shared = true},
      {.id = 26,
       .parent = 22,
       .root = "/",
       .target = "/home",
       .options = "rw",
       .type = "ext4",
       .source = "/dev/vda2",
       .super_options = "rw",
       .shared = true},
      {.id = 27,
       .parent = 22,
       .root = "/",
       .target = "/var/lib/data",
       .options = "rw",
       .type = "xfs",
       .source = "/dev/vdb1",
       .super_options = "rw",
       .shared = true},
  };
  const auto directory = [](const char* name, std::uint32_t mode = 0755) {
    return RootEntry{.name = name, .kind = RootEntry::directory, .mode = mode};
  };
  const auto link = [](const char* name, const char* to) {
    return RootEntry{.name = name, .kind = RootEntry::link, .points_to = to, .mode = 0777};
  };
  f.root_entries = {link("bin", "usr/bin"),
                    directory("dev"),
                    directory("etc"),
                    directory("home"),
                    {.name = "initrd.img", .kind = RootEntry::file, .mode = 0644},
                    link("lib", "usr/lib"),
                    directory("proc", 0555),
                    directory("root", 0700),
                    directory("run"),
                    directory("sys", 0555),
                    directory("tmp", 01777),
                    directory("usr"),
                    directory("var")};
  f.state_dir = "/run/condroid";
  return f;
}

inline std::vector<CgroupHierarchy> v2_only(bool writable) {
  return {{.v2 = true,
           .mount_point = "/sys/fs/cgroup",
           .mount_root = "/",
           .controllers = {"cpuset", "cpu", "io", "memory", "pids"},
           .own_path = "/user.slice/session.scope",
           .writable = writable}};
}

/// systemd's hybrid layout: controllers on version 1, an empty version 2 beside them.
inline std::vector<CgroupHierarchy> hybrid(bool writable) {
  const auto v1 = [&](const char* name, std::vector<std::string> controllers) {
    return CgroupHierarchy{.v2 = false,
                           .mount_point = std::string("/sys/fs/cgroup/") + name,
                           .mount_root = "/",
                           .controllers = std::move(controllers),
                           .own_path = "/",
                           .writable = writable};
  };
  return {v1("cpu,cpuacct", {"cpu", "cpuacct"}),
          v1("cpuset", {"cpuset"}),
          v1("freezer", {"freezer"}),
          v1("memory", {"memory"}),
          v1("pids", {"pids"}),
          v1("systemd", {"name=systemd"}),
          {.v2 = true,
           .mount_point = "/sys/fs/cgroup/unified",
           .mount_root = "/",
           .controllers = {},
           .own_path = "/",
           .writable = writable}};
}

/// Nothing but version 1, with every controller that has limits.
inline std::vector<CgroupHierarchy> v1_only(bool writable) {
  std::vector<CgroupHierarchy> list = hybrid(writable);
  list.pop_back();
  for (const char* name : {"blkio", "hugetlb"})
    list.push_back({.v2 = false,
                    .mount_point = std::string("/sys/fs/cgroup/") + name,
                    .mount_root = "/",
                    .controllers = {name},
                    .own_path = "/",
                    .writable = writable});
  return list;
}

inline HostFacts root_on(std::vector<CgroupHierarchy> cgroups) {
  HostFacts f = some_host();
  f.user_name = "root";
  f.effective_caps = f.bounding_caps;
  f.cgroups = std::move(cgroups);
  f.subuids = {{.start = 100000, .count = 65536}};
  f.subgids = {{.start = 100000, .count = 65536}};
  return f;
}
inline HostFacts root_on_v2() {
  HostFacts f = root_on(v2_only(true));
  f.apparmor = f.apparmor_loads = true;
  f.apparmor_parser = "/usr/sbin/apparmor_parser";
  f.pasta = "/usr/bin/pasta";
  f.user_nic = "/usr/libexec/lxc/lxc-user-nic";
  return f;
}
inline HostFacts root_on_hybrid() { return root_on(hybrid(true)); }
inline HostFacts root_on_v1() { return root_on(v1_only(true)); }

/// A user with subordinate ids, newuidmap and newgidmap.
inline HostFacts user_with_subids() {
  HostFacts f = some_host();
  f.uid = {1000};
  f.gid = {1000};
  f.groups = {{1000}};
  f.user_name = "ann";
  f.cgroups = v2_only(false);
  f.subuids = {{.start = 100000, .count = 65536}};
  f.subgids = {{.start = 100000, .count = 65536}};
  return f;
}

/// A user whom nobody granted anything.
inline HostFacts user_alone() {
  HostFacts f = user_with_subids();
  f.user_name = "bob";
  f.uid = {1001};
  f.gid = {1001};
  f.groups = {{1001}};
  f.subuids.clear();
  f.subgids.clear();
  f.newuidmap.clear();
  f.newgidmap.clear();
  return f;
}

/// The same machine with an older kernel.
inline HostFacts with_kernel(HostFacts f, unsigned major, unsigned minor) {
  f.kernel_release = std::to_string(major) + "." + std::to_string(minor) + ".0";
  f.kernel_major = major;
  f.kernel_minor = minor;
  const auto since = [&](unsigned a, unsigned b) { return f.kernel_at_least(a, b); };
  f.namespaces_time = f.namespaces_time && since(5, 6);
  f.last_capability = since(5, 9) ? 40 : since(5, 8) ? 39 : 37;
  f.memfd_exec = since(6, 3);
  f.pidfs = since(6, 9);
  f.cgroup_kill = since(5, 14);
  f.landlock_abi = since(6, 12) ? 6 : since(6, 7) ? 4 : since(6, 2) ? 3 : since(5, 19) ? 2 : 1;
  f.bounding_caps = (std::uint64_t{2} << f.last_capability) - 1;
  f.effective_caps &= f.bounding_caps;
  return f;
}
inline HostFacts root_on_5_15() { return with_kernel(root_on_v2(), 5, 15); }

/// A machine with its name, for a test over all of them.
struct NamedHost {
  const char* name;
  HostFacts facts;
};
inline std::vector<NamedHost> all_hosts() {
  return {{"root on v2", root_on_v2()},
          {"root on hybrid", root_on_hybrid()},
          {"root on v1", root_on_v1()},
          {"root on 5.15", root_on_5_15()},
          {"user with subids", user_with_subids()},
          {"user alone", user_alone()}};
}

}  // namespace condroid::test
