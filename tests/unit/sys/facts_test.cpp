#include "condroid/sys/facts.hpp"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "in_child.hpp"
#include "sys_matchers.hpp"

using condroid::CgroupHierarchy;
using condroid::Gid;
using condroid::HostFacts;
using condroid::MountEntry;
using condroid::probe_host;
using condroid::RootEntry;
using condroid::Uid;
using condroid::test::in_child;
using condroid::test::must;
using condroid::test::need;

TEST_CASE("the kernel and the user are those of this process", "[sys]") {
  const HostFacts f = need(probe_host());
  utsname name{};
  REQUIRE(::uname(&name) == 0);
  CHECK(f.kernel_release == name.release);
  CHECK(f.machine == name.machine);
  CHECK(f.kernel_release.starts_with(std::to_string(f.kernel_major) + "." +
                                     std::to_string(f.kernel_minor)));
  CHECK(f.uid == Uid{::geteuid()});
  CHECK(f.gid == Gid{::getegid()});
  CHECK(f.groups.size() == static_cast<std::size_t>(::getgroups(0, nullptr)));
  CHECK(f.last_capability >= 40);  // CAP_CHECKPOINT_RESTORE, Linux 5.9
  CHECK(f.last_capability < 64);
}

TEST_CASE("limits are those of this process, soft and hard", "[sys]") {
  const HostFacts f = need(probe_host());
  REQUIRE(f.rlimits.size() == RLIMIT_NLIMITS);
  rlimit files{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &files) == 0);
  CHECK(f.rlimits[RLIMIT_NOFILE].first == files.rlim_cur);
  CHECK(f.rlimits[RLIMIT_NOFILE].second == files.rlim_max);
}

TEST_CASE("mounts are those that exist", "[sys]") {
  const HostFacts f = need(probe_host());
  const auto mounted = [&](const char* target) {
    return std::any_of(f.mounts.begin(), f.mounts.end(),
                       [&](const MountEntry& m) { return m.target == target; });
  };
  CHECK(mounted("/"));
  CHECK(mounted("/proc"));
  for (const CgroupHierarchy& h : f.cgroups) {
    INFO(h.mount_point);
    CHECK(mounted(h.mount_point.c_str()));
    CHECK(::access((h.mount_point + "/cgroup.procs").c_str(), F_OK) == 0);
  }
}

TEST_CASE("the entries of / are listed with their kind, sorted", "[sys]") {
  const HostFacts f = need(probe_host());
  CHECK(std::is_sorted(f.root_entries.begin(), f.root_entries.end(),
                       [](const RootEntry& a, const RootEntry& b) { return a.name < b.name; }));
  const auto proc = std::find_if(f.root_entries.begin(), f.root_entries.end(),
                                 [](const auto& e) { return e.name == "proc"; });
  REQUIRE(proc != f.root_entries.end());
  CHECK(proc->kind == RootEntry::directory);
  CHECK(proc->mode == 0555);
  for (const RootEntry& e : f.root_entries) {
    INFO(e.name);
    struct stat st {};
    REQUIRE(::lstat(("/" + e.name).c_str(), &st) == 0);
    CHECK((e.kind == RootEntry::directory) == S_ISDIR(st.st_mode));
    CHECK((e.kind == RootEntry::link) == S_ISLNK(st.st_mode));
    CHECK(e.points_to.empty() == (e.kind != RootEntry::link));
  }
}

TEST_CASE("who gave up root has no capability and may write to no hierarchy of root's", "[sys]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root to give up");
  CHECK(in_child([] {
          condroid::test::drop_root();
          const HostFacts f = must(probe_host());
          must(f.uid == Uid{65534} && f.gid == Gid{65534}, "another user");
          must(f.effective_caps == 0 && !f.privileged(), "capabilities are left");
          for (const CgroupHierarchy& h : f.cgroups)
            must(!h.writable, h.mount_point + " is writable");
        }) == "");
}

TEST_CASE("what cannot be gained any more is known", "[sys]") {
  CHECK(in_child([] {
          must(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "prctl");
          must(must(probe_host()).no_new_privs, "no_new_privs was not seen");
        }) == "");
}

TEST_CASE("probing opens nothing that stays open", "[sys]") {
  const auto open_descriptors = [] {
    int count = 0;
    for (int fd = 0; fd < 1024; ++fd) count += condroid::test::is_open(fd) ? 1 : 0;
    return count;
  };
  const int before = open_descriptors();
  (void)need(probe_host());
  CHECK(open_descriptors() == before);
}

TEST_CASE("a version is compared by both its parts", "[sys]") {
  HostFacts f;
  f.kernel_major = 5;
  f.kernel_minor = 15;
  CHECK(f.kernel_at_least(5, 15));
  CHECK(f.kernel_at_least(5, 2));
  CHECK(f.kernel_at_least(4, 20));
  CHECK(!f.kernel_at_least(5, 16));
  CHECK(!f.kernel_at_least(6, 0));
}

TEST_CASE("privileged means the capability to mount", "[sys]") {
  HostFacts f;
  CHECK(!f.privileged());
  f.effective_caps = std::uint64_t{1} << 21U;
  CHECK(f.privileged());
  CHECK(f.has_cap(21));
  CHECK(!f.has_cap(20));
}
