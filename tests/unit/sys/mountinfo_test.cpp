#include "sys/mountinfo.hpp"

#include <string>
#include <vector>

#include "catch.hpp"

using condroid::CgroupHierarchy;
using condroid::MountEntry;
using condroid::SubidRange;
using condroid::detail::find_hierarchies;
using condroid::detail::find_user;
using condroid::detail::parse_mountinfo;
using condroid::detail::parse_subids;

namespace {

using Words = std::vector<std::string>;

/// The hierarchies of a machine whose mountinfo has these lines from the target on.
std::vector<CgroupHierarchy> hierarchies(const std::string& mountinfo,
                                         std::string_view membership) {
  return find_hierarchies(parse_mountinfo(mountinfo), membership);
}

constexpr const char* hybrid =
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
    "33 31 0:30 / /sys/fs/cgroup/systemd rw,nosuid - cgroup cgroup rw,xattr,name=systemd\n"
    "34 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n";

}  // namespace

TEST_CASE("a line of mountinfo is taken apart", "[sys]") {
  const auto list = parse_mountinfo(
      "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\n"
      "37 36 0:5 / /proc rw - proc proc rw\n");
  REQUIRE(list.size() == 2);
  CHECK(list[0] == MountEntry{.id = 36,
                              .parent = 35,
                              .root = "/mnt1",
                              .target = "/mnt2",
                              .options = "rw,noatime",
                              .type = "ext3",
                              .source = "/dev/root",
                              .super_options = "rw,errors=continue",
                              .shared = true});
  CHECK(list[1].target == "/proc");
  CHECK(!list[1].shared);
}

TEST_CASE("what the kernel escapes in mountinfo is unescaped", "[sys]") {
  const auto list =
      parse_mountinfo("1 2 0:1 /a\\040b /c\\011d\\012e\\134f rw - tmpfs no\\040ne rw\n");
  REQUIRE(list.size() == 1);
  CHECK(list[0].root == "/a b");
  CHECK(list[0].target == "/c\td\ne\\f");
  CHECK(list[0].source == "no ne");
  // Not three octal digits: as it is.
  CHECK(parse_mountinfo("1 2 0:1 / /a\\04 rw - tmpfs x rw\n").at(0).target == "/a\\04");
  CHECK(parse_mountinfo("1 2 0:1 / /a\\089 rw - tmpfs x rw\n").at(0).target == "/a\\089");
}

TEST_CASE("a mount without a source is one all the same", "[sys]") {
  const auto list = parse_mountinfo("1 2 0:1 / /x rw - tmpfs  rw\n");
  REQUIRE(list.size() == 1);
  CHECK(list[0].source.empty());
  CHECK(list[0].super_options == "rw");
}

TEST_CASE("lines that are no mounts are passed over", "[sys]") {
  CHECK(parse_mountinfo("").empty());
  CHECK(parse_mountinfo("\n\n").empty());
  CHECK(
      parse_mountinfo("nonsense\n12\n12 x 0:1 / / rw - a b c\n1 2 0:1 / /x rw shared:1\n").empty());
  CHECK(parse_mountinfo("1 2 0:1 / /x rw - tmpfs x rw").size() == 1);
}

TEST_CASE("a hierarchy that another mount covers is none", "[sys]") {
  const std::string before = hybrid;
  // As the kernel lists it: on the root of what was there, 31.
  const auto all = hierarchies(
      before + "40 31 0:40 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
      "0::/a\n");
  REQUIRE(all.size() == 1);
  CHECK(all[0].v2);
  CHECK(all[0].mount_point == "/sys/fs/cgroup");
  // One alone; what is above of it; and what was mounted on the cover counts.
  CHECK(hierarchies(before + "40 32 0:40 / /sys/fs/cgroup/unified rw - tmpfs tmpfs rw\n", "")
            .size() == 3);
  CHECK(hierarchies(
            "23 1 0:2 / / rw - ext4 x rw\n31 30 0:3 / /sys/fs/cgroup rw - tmpfs x rw\n"
            "30 23 0:3 / /sys rw - sysfs x rw\n32 31 0:4 / /sys/fs/cgroup/a rw - cgroup2 x rw\n"
            "41 30 0:4 / /sys rw - sysfs x rw\n42 41 0:5 / /sys/fs/cgroup rw - cgroup2 y rw\n",
            "")
            .size() == 1);
  // Beside it and of a longer name.
  CHECK(hierarchies(before + "40 31 0:40 / /sys/fs/cgroup/mem rw - tmpfs tmpfs rw\n", "").size() ==
        4);
  // On the root, which whoever is in it does not see.
  CHECK(hierarchies("23 1 0:1 / / rw - ext4 x rw\n" + before + "50 23 0:1 / / rw - ext4 x rw\n", "")
            .size() == 4);
  // Two that are each other's parents are nowhere.
  CHECK(hierarchies("1 2 0:1 / /a rw - cgroup2 x rw\n2 1 0:1 / /b rw - tmpfs x rw\n", "").size() ==
        1);
}

TEST_CASE("hybrid cgroups are found with their controllers and the process's place", "[sys]") {
  const auto list = hierarchies(hybrid,
                                "4:memory:/jobs/7\n"
                                "3:cpu,cpuacct:/\n"
                                "1:name=systemd:/user.slice/a:b\n"
                                "0::/user.slice\n");
  REQUIRE(list.size() == 4);
  CHECK(list[0] == CgroupHierarchy{.v2 = true,
                                   .mount_point = "/sys/fs/cgroup/unified",
                                   .mount_root = "/",
                                   .own_path = "/user.slice"});
  CHECK(list[1].controllers == Words{"name=systemd"});
  CHECK(list[1].own_path == "/user.slice/a:b");
  CHECK(list[2].controllers == Words{"cpu", "cpuacct"});
  CHECK(list[2].own_path == "/");
  CHECK(list[3].own_path == "/jobs/7");
  CHECK(!list[3].v2);
}

TEST_CASE("a hierarchy that is mounted twice counts once, where it was mounted first", "[sys]") {
  const auto list = hierarchies(
      "1 2 0:1 / /first rw - cgroup2 cgroup2 rw\n"
      "3 2 0:1 / /second rw - cgroup2 cgroup2 rw\n"
      "4 2 0:2 / /third rw - cgroup cgroup rw,pids\n"
      "5 2 0:2 / /fourth rw - cgroup cgroup rw,pids\n",
      "0::/\n");
  REQUIRE(list.size() == 2);
  CHECK(list[0].mount_point == "/first");
  CHECK(list[1].mount_point == "/third");
}

TEST_CASE("where a part of a hierarchy is mounted, paths count from there", "[sys]") {
  const std::string mount = "1 2 0:1 /jobs/7 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
  CHECK(hierarchies(mount, "0::/jobs/7/mine\n").at(0).own_path == "/mine");
  CHECK(hierarchies(mount, "0::/jobs/7\n").at(0).own_path == "/");
  // Beside it, not in it.
  CHECK(hierarchies(mount, "0::/jobs/77\n").at(0).own_path == "/jobs/77");
}

TEST_CASE("a mount of version 1 without controllers is no hierarchy", "[sys]") {
  CHECK(hierarchies("1 2 0:1 / /x rw - cgroup cgroup rw,xattr,release_agent=/bin/x\n", "").empty());
}

TEST_CASE("a machine without cgroups has no hierarchies", "[sys]") {
  CHECK(hierarchies("1 2 0:1 / / rw - ext4 /dev/sda rw\n", "").empty());
}

TEST_CASE("ranges of subordinate ids are a user's by name or by number", "[sys]") {
  constexpr const char* text =
      "# who:from:count\n"
      "alice:100000:65536\n"
      "bob:165536:65536\n"
      "1000:300000:10\n"
      "alice:400000:1\n";
  CHECK(parse_subids(text, "alice", 1000) ==
        std::vector<SubidRange>{{100000, 65536}, {300000, 10}, {400000, 1}});
  CHECK(parse_subids(text, "bob", 1001) == std::vector<SubidRange>{{165536, 65536}});
  CHECK(parse_subids(text, "", 1000) == std::vector<SubidRange>{{300000, 10}});
  CHECK(parse_subids(text, "carol", 7).empty());
}

TEST_CASE("bad lines among subordinate ids are passed over", "[sys]") {
  CHECK(parse_subids("a:x:1\na:1:x\na:1\na:1:0\na::1\n:1:1\na:4294967296:1\na:-1:5\n", "a", 5)
            .empty());
  // A user without a name is nobody's name.
  CHECK(parse_subids(":1:1\n", "", 5).empty());
}

TEST_CASE("a user's name is found by number", "[sys]") {
  constexpr const char* text =
      "root:x:0:0:root:/root:/bin/sh\nbroken\nalice:x:1000:1000::/:/bin/sh\n";
  CHECK(find_user(text, 0) == "root");
  CHECK(find_user(text, 1000) == "alice");
  CHECK(find_user(text, 1001).empty());
}
