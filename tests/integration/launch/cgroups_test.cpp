// What a container may use: cgroups of either version, whatever this machine has of them.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "containers.hpp"

using condroid::Allow;
using condroid::CgroupHierarchy;
using condroid::CgroupMode;
using condroid::CgroupMount;
using condroid::Container;
using condroid::Errc;
using condroid::Exit;
using condroid::Fd;
using condroid::IdMap;
using condroid::MountFlag;
using condroid::Namespace;
using condroid::Runtime;
using condroid::Spec;
using condroid::Step;
using condroid::Stream;
using condroid::test::attempt;
using condroid::test::entries_of;
using condroid::test::facts;
using condroid::test::FailsWith;
using condroid::test::hierarchy_of;
using condroid::test::launch;
using condroid::test::launch_and_wait;
using condroid::test::own_cgroups;
using condroid::test::payload;
using condroid::test::read_file;
using condroid::test::read_until;
using condroid::test::Report;
using condroid::test::run;
using condroid::test::runtime;
using condroid::test::TempRoot;
using condroid::test::wait;
using namespace condroid::literals;

namespace {

bool may_make_cgroups() { return std::ranges::any_of(facts().cgroups, &CgroupHierarchy::writable); }

const CgroupHierarchy* v2() {
  for (const CgroupHierarchy& h : facts().cgroups)
    if (h.v2) return &h;
  return nullptr;
}

/// The cgroup of a process in a hierarchy, by its line in /proc/PID/cgroup.
std::string group_of(pid_t pid, const CgroupHierarchy& h) {
  std::istringstream lines(read_file(fmt::format("/proc/{}/cgroup", pid)));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool here = h.v2 ? names == ",,"
                           : !h.controllers.empty() &&
                                 names.find("," + h.controllers.front() + ",") != std::string::npos;
    if (here) return line.substr(second + 1);
  }
  return {};
}
std::string dir_of(const Container& box, const CgroupHierarchy& h) {
  return h.mount_point + group_of(box.pid().value, h);
}

/// A value of the container's cgroup: the file is another one in each version.
std::string value(const Container& box, std::string_view controller, std::string_view v1_file,
                  std::string_view v2_file) {
  const CgroupHierarchy* h = hierarchy_of(controller);
  if (h == nullptr) return "(no such controller)";
  std::string text = read_file(fmt::format("{}/{}", dir_of(box, *h), h->v2 ? v2_file : v1_file));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

bool is_directory(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

}  // namespace

TEST_CASE("a container that needs no cgroup gets none", "[launch][.root][.userns]") {
  const TempRoot root;
  const Container box = launch(payload(root, {"pause"}));
  for (const CgroupHierarchy& h : facts().cgroups) {
    INFO(h.mount_point);
    CHECK(group_of(box.pid().value, h) == group_of(::getpid(), h));
  }
  CHECK(own_cgroups().empty());
}

TEST_CASE("limits are in force before the command runs", "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.resources = {
      .memory_max = 48_MiB, .pids_max = 33, .cpus = 0.5, .cpu_weight = 50, .cpuset_cpus = "0"};
  std::vector<std::string> dirs;
  {
    Container box = launch(spec);
    CHECK(value(box, "memory", "memory.limit_in_bytes", "memory.max") == "50331648");
    CHECK(value(box, "pids", "pids.max", "pids.max") == "33");
    const bool cpu_v2 = hierarchy_of("cpu")->v2;
    CHECK(value(box, "cpu", "cpu.cfs_quota_us", "cpu.max") == (cpu_v2 ? "50000 100000" : "50000"));
    CHECK(value(box, "cpu", "cpu.shares", "cpu.weight") == (cpu_v2 ? "50" : "512"));
    CHECK(value(box, "cpuset", "cpuset.cpus", "cpuset.cpus") == "0");
    for (const char* controller : {"memory", "pids", "cpu", "cpuset"}) {
      INFO(controller);
      const CgroupHierarchy& h = *hierarchy_of(controller);
      dirs.push_back(dir_of(box, h));
      CHECK(dirs.back().find("/condroid-") != std::string::npos);
      CHECK(dirs.back().find("/test.") != std::string::npos);
      // Nobody but its first process is in there.
      CHECK(read_file(dirs.back() + "/cgroup.procs") == fmt::format("{}\n", box.pid().value));
    }
    CHECK_FALSE(own_cgroups().empty());
    REQUIRE(box.kill());
    CHECK(wait(box).cleanup_errors.empty());
    // Whoever has the end knows that nothing is left.
    for (const std::string& dir : dirs) CHECK_FALSE(is_directory(dir));
    CHECK(own_cgroups().empty());
  }
}

TEST_CASE("the destructor of a container removes its cgroups", "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Spec spec = payload(root, {"stubborn", "4"});
  spec.resources.pids_max = 100;
  spec.process.stdio = {Stream::null, Stream::pipe, Stream::null};
  {
    Container box = launch(spec);
    (void)read_until(box.take_stdout(), "ready\n");
    CHECK(own_cgroups().size() == 1);
  }
  CHECK(own_cgroups().empty());
}

TEST_CASE("the number of processes is limited", "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Spec spec = payload(root, {"forks", "20"});
  spec.resources.pids_max = 6;
  CHECK(run(spec)["forks"] == "5");
  spec.process.init = true;
  CHECK(run(spec)["forks"] == "4");
}

TEST_CASE("the end for lack of memory is told from others", "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Spec spec = payload(root, {"eat", "200000000"});
  spec.resources.memory_max = 32_MiB;
  SECTION("of the command") {
    const Exit e = launch_and_wait(spec);
    CHECK(to_string(e) == "killed by signal 9 (SIGKILL), out of memory");
    CHECK(e.out_of_memory);
    CHECK(e.peak_rss >= 16_MiB);
    CHECK(e.peak_rss <= 64_MiB);
  }
  SECTION("of a child of the command") {
    spec.process.argv[1] = "feed";
    CHECK(to_string(launch_and_wait(spec)) == "exited with status 7, out of memory");
  }
  SECTION("with an init") {
    spec.process.init = true;
    CHECK(to_string(launch_and_wait(spec)) == "killed by signal 9 (SIGKILL), out of memory");
  }
  SECTION("not at all") {
    spec.process.argv[2] = "2000000";
    const Exit e = launch_and_wait(spec);
    CHECK(e.success());
    CHECK_FALSE(e.out_of_memory);
  }
  SECTION("killed by somebody") {
    spec.process.argv = {"/bin/payload", "pause"};
    Container box = launch(spec);
    REQUIRE(box.kill());
    const Exit e = wait(box);
    CHECK(to_string(e) == "killed by signal 9 (SIGKILL)");
  }
  // Neither the zygote nor the next container suffers from it.
  CHECK(run(payload(root, {"probe"}))["pid"] == "1");
  CHECK(own_cgroups().empty());
}

TEST_CASE("a limit that the launch itself does not fit in is told as such", "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.resources.memory_max = 4_KiB;
  const auto failed = attempt(spec);
  // The kernel kills the child, or refuses it something; in both cases it is no container.
  REQUIRE(failed.error);
  INFO(to_string(*failed.error));
  CHECK((failed.error->is(Errc::child_vanished) || failed.error->is_errno(ENOMEM)));
  CHECK(own_cgroups().empty());
}

TEST_CASE("processor time is limited", "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  using namespace std::chrono_literals;
  const TempRoot root;
  Spec spec = payload(root, {"spin", "0.2"});
  spec.resources.cpus = 0.25;
  const auto begin = std::chrono::steady_clock::now();
  const Exit e = launch_and_wait(spec);
  CHECK(std::chrono::steady_clock::now() - begin > 500ms);
  CHECK(e.user_time + e.system_time >= 190ms);
  CHECK(e.user_time + e.system_time < 500ms);
}

TEST_CASE("any file of a cgroup can be written", "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.resources.settings = {{.file = "pids.max", .value = "77"},
                             {.file = "pids.no_such_file", .value = "1", .optional = true},
                             {.file = "nonesuch.max", .value = "1", .optional = true}};
  {
    const Container box = launch(spec);
    CHECK(value(box, "pids", "pids.max", "pids.max") == "77");
  }
  SECTION("a value that the kernel does not take") {
    spec.resources.settings = {{.file = "pids.max", .value = "many"}};
    CHECK_THAT(attempt(spec), FailsWith(EINVAL, Step::write_cgroup, "pids.max"));
  }
  SECTION("a file that is not there") {
    spec.resources.settings = {{.file = "pids.no_such_file", .value = "1"}};
    CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::write_cgroup, "pids.no_such_file"));
  }
  SECTION("a controller that is not there") {
    spec.resources.settings = {{.file = "nonesuch.max", .value = "1"}};
    CHECK_THAT(attempt(spec), FailsWith(Errc::unsupported, Step::compile, "'nonesuch'"));
  }
  CHECK(own_cgroups().empty());
}

TEST_CASE("a container is cloned into its v2 cgroup", "[launch][.root]") {
  if (v2() == nullptr || !v2()->writable) CONDROID_SKIP("needs a v2 hierarchy");
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.resources.cgroup = CgroupMode::always;
  Container box = launch(spec);
  const std::string dir = dir_of(box, *v2());
  CHECK(dir.find("/condroid-") != std::string::npos);
  CHECK(read_file(dir + "/cgroup.procs") == fmt::format("{}\n", box.pid().value));
  const auto plan = condroid::compile(spec, facts());
  REQUIRE(plan);
  CHECK(std::ranges::any_of(plan->ops, [](const condroid::Op& o) {
    const auto* clone = std::get_if<condroid::op::Clone>(&o);
    return clone != nullptr && clone->into_cgroup;
  }));
  REQUIRE(box.kill());
  (void)wait(box);
  CHECK_FALSE(is_directory(dir));
}

TEST_CASE("without a pid namespace the cgroup knows who belongs to the container",
          "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Spec spec = payload(root, {"stubborn", "3"});
  spec.namespaces -= Namespace::pid;
  spec.security.allow |= Allow::host_pids;
  spec.process.stdio = {Stream::null, Stream::pipe, Stream::null};
  Container box = launch(spec);
  (void)read_until(box.take_stdout(), "ready\n");
  const auto groups = own_cgroups();
  REQUIRE(groups.size() == 1);
  std::vector<pid_t> all;
  for (int i = 0; i < 5000 && all.size() < 7; ++i) {  // its children have children yet to come
    all.clear();
    std::istringstream list(read_file(groups.front() + "/cgroup.procs"));
    for (pid_t pid = 0; list >> pid;) all.push_back(pid);
    ::usleep(2000);
  }
  CHECK(all.size() == 7);
  REQUIRE(box.kill());
  (void)wait(box);
  for (const pid_t pid : all) {
    INFO(read_file(fmt::format("/proc/{}/stat", pid)));
    CHECK_FALSE(condroid::test::is_alive(pid));
  }
  CHECK(own_cgroups().empty());
}

TEST_CASE("a container sees its own cgroups, to be read", "[launch][attack][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  if (GENERATE(false, true)) spec.namespaces |= Namespace::user;
  spec.mounts = {CgroupMount{}};
  const Report seen = run(spec);
  // From inside each of them is the top.
  for (const std::string& line : seen.all("cgroup")) {
    INFO(line);
    CHECK(line.ends_with(":/"));
  }
  for (const CgroupHierarchy& h : facts().cgroups) {
    INFO(h.mount_point);
    const std::string is = seen.mount(h.mount_point);
    CHECK(
        is.starts_with(h.v2 ? "cgroup2 ro,nosuid,nodev,noexec" : "cgroup ro,nosuid,nodev,noexec"));
    spec.process.argv = {"/bin/payload", "read", h.mount_point + "/cgroup.procs"};
    CHECK(run(spec)[h.mount_point + "/cgroup.procs"] == "1");
    spec.process.argv = {"/bin/payload", "ravage", h.mount_point};
    CHECK(run(spec)["mkdir " + h.mount_point + "/new-directory"] == "EROFS");
  }
  CHECK(own_cgroups().empty());
}

TEST_CASE("in the host's cgroup namespace a container may write to its own cgroup alone",
          "[launch][attack][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  const bool inner = GENERATE(false, true);
  CAPTURE(inner);
  const std::string path = fmt::format("integration-own-{}", ::getpid());
  Spec spec = payload(root, {"ravage"});
  spec.namespaces -= Namespace::cgroup;
  spec.security.allow = Allow::host_cgroup;
  spec.resources.cgroup_path = path;
  if (inner) spec.resources.cgroup_inner = "ns";
  spec.mounts = {CgroupMount{.own_writable = true}};
  const std::string home = inner ? path + "/ns" : path;
  std::vector<std::string> closed, open;
  for (const CgroupHierarchy& h : facts().cgroups) {
    if (!h.writable) continue;
    closed.push_back(h.mount_point);
    if (inner) closed.push_back(h.mount_point + "/" + path);
    open.push_back(h.mount_point + "/" + home);
  }
  spec.process.argv.insert(spec.process.argv.end(), closed.begin(), closed.end());
  spec.process.argv.insert(spec.process.argv.end(), open.begin(), open.end());
  const Report seen = run(spec);
  for (const std::string& place : closed) {
    INFO(place);
    CHECK(seen["mkdir " + place + "/new-directory"] == "EROFS");
  }
  for (const std::string& place : open) {
    INFO(place);
    CHECK(seen["mkdir " + place + "/new-directory"] == "ok");
    CHECK_FALSE(is_directory(place));  // with all that was below it
  }
}

TEST_CASE("a container may have cgroups below its own, which end with it",
          "[launch][attack][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  const bool mapped = GENERATE(false, true);
  CAPTURE(mapped);
  Spec spec = payload(root, {"ravage"});
  if (mapped)
    spec.idmap = {.kind = IdMap::ranges,
                  .uids = {{.inside = 0, .outside = 100000, .count = 65536}},
                  .gids = {{.inside = 0, .outside = 100000, .count = 65536}}};
  spec.mounts = {CgroupMount{.flags = MountFlag::nosuid | MountFlag::nodev | MountFlag::noexec}};
  std::vector<std::string> where;
  for (const CgroupHierarchy& h : facts().cgroups) {
    // A v1 cpuset without processors, or one of root's that cannot be given away, is no matter
    // here.
    where.push_back(h.mount_point);
    spec.process.argv.push_back(h.mount_point);
  }
  const Report seen = run(spec);
  for (const std::string& place : where) {
    INFO(place);
    CHECK(seen["mkdir " + place + "/new-directory"] == "ok");
  }
  CHECK(own_cgroups().empty());
  for (const CgroupHierarchy& h : facts().cgroups)
    CHECK_FALSE(is_directory(h.mount_point + "/new-directory"));
}

TEST_CASE("cgroups are put below a parent of the program's choice", "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const CgroupHierarchy& h = *hierarchy_of("pids");
  const std::string parent = fmt::format("/integration-test-{}", ::getpid());
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.resources.pids_max = 10;
  auto mine = Runtime::open(
      {.state_dir = condroid::HostPath(fmt::format("/tmp/test-state-{}-b", ::getpid())),
       .cgroup_parent = parent});
  REQUIRE(mine);
  SECTION("that is there") {
    REQUIRE(::mkdir((h.mount_point + parent).c_str(), 0755) == 0);
    if (h.v2) {
      const Fd control(
          ::open((h.mount_point + "/cgroup.subtree_control").c_str(), O_WRONLY | O_CLOEXEC));
      condroid::test::write_to(control, "+pids");
    }
    {
      auto box = mine->launch(spec);
      REQUIRE(box);
      CHECK(group_of(box->pid().value, h).starts_with(parent + "/condroid-"));
    }
    { const Runtime gone = std::move(*mine); }
    // The runtime's own directory goes with it; its zygote does that in its own time.
    for (int i = 0; i < 200 && ::rmdir((h.mount_point + parent).c_str()) < 0; ++i) ::usleep(10000);
    CHECK_FALSE(is_directory(h.mount_point + parent));
  }
  SECTION("that is not") {
    CHECK_THAT(condroid::test::failure_of(mine->launch(spec)),
               FailsWith(ENOENT, Step::create_cgroup, parent));
  }
}

TEST_CASE("a user without a cgroup of his own is told so", "[launch][.userns]") {
  if (may_make_cgroups()) CONDROID_SKIP("this user may make cgroups");
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.resources.memory_max = 1_GiB;
  CHECK_THAT(attempt(spec), FailsWith(Errc::unsupported, Step::compile, "resources.memory_max"));
  spec.resources = {.cgroup = CgroupMode::always};
  CHECK_THAT(attempt(spec), FailsWith(Errc::unsupported, Step::compile, "resources.cgroup"));
}

TEST_CASE("a user to whom a cgroup was given limits containers in it", "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const CgroupHierarchy& h = *hierarchy_of("pids");
  const std::string parent = fmt::format("/integration-test-user-{}", ::getpid());
  const std::string dir = h.mount_point + parent;
  if (h.v2)
    condroid::test::write_text((h.mount_point + "/cgroup.subtree_control").c_str(), "+pids");
  REQUIRE(::mkdir(dir.c_str(), 0755) == 0);
  // Where the program is: a v2 cgroup that has limited ones below takes no process itself.
  REQUIRE(::mkdir((dir + "/program").c_str(), 0755) == 0);
  for (const char* file : {"", "/cgroup.procs", "/cgroup.subtree_control", "/tasks", "/program",
                           "/program/cgroup.procs", "/program/tasks"})
    if (::chown((dir + file).c_str(), 65534, 65534) < 0) REQUIRE(errno == ENOENT);
  const TempRoot root;
  const bool cpuset_is_there = hierarchy_of("cpuset") == &h;
  CHECK(condroid::test::in_child([&] {
          using condroid::test::must;
          condroid::test::write_text((dir + "/program/cgroup.procs").c_str(), "0");
          condroid::test::drop_root();
          const auto mine = must(Runtime::open(
              {.state_dir = condroid::HostPath(fmt::format("/tmp/test-state-{}-f", ::getpid())),
               .cgroup_parent = parent}));
          Spec spec = payload(root, {"forks", "20"});
          spec.resources.pids_max = 6;
          {
            Spec lasting = spec;
            lasting.process.argv = {"/bin/payload", "pause"};
            const Container box = must(mine.launch(lasting));
            const std::string group = group_of(box.pid().value, h);
            must(group.starts_with(parent + "/condroid-"), group);
          }
          {
            Container box = must(mine.launch(spec));
            const Exit e = wait(box);
            must(e.out == "forks=5\n" && e.cleanup_errors.empty(), to_string(e) + e.out + e.err);
          }
          // Other hierarchies were not given.
          spec.resources.settings = {{.file = "cpuset.cpus", .value = "0"}};
          if (cpuset_is_there) return;
          const auto refused = mine.launch(spec);
          must(!refused && refused.error().is(Errc::unsupported), "not refused");
          must(refused.error().subject.starts_with("resources.settings[0]: "),
               to_string(refused.error()));
        }) == "");
  for (const std::string& path : {dir + "/program", dir}) {
    for (int i = 0; i < 500 && ::rmdir(path.c_str()) < 0 && errno != ENOENT; ++i) ::usleep(10000);
    CHECK_FALSE(is_directory(path));
  }
}

// ---- version 2 alone: in the suite of machines that have nothing else --------------------------

TEST_CASE("what only v2 has", "[launch][.v2]") {
  if (facts().cgroups.size() != 1 || v2() == nullptr)
    CONDROID_SKIP("needs a machine with cgroup v2 alone");
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.resources = {.memory_max = 64_MiB,
                    .memory_high = 48_MiB,
                    .memory_swap_max = 0_B,
                    .settings = {{.file = "cgroup.max.depth", .value = "3"}}};
  const Container box = launch(spec);
  const std::string dir = dir_of(box, *v2());
  CHECK(read_file(dir + "/memory.max") == "67108864\n");
  CHECK(read_file(dir + "/memory.high") == "50331648\n");
  CHECK(read_file(dir + "/memory.swap.max") == "0\n");
  CHECK(read_file(dir + "/cgroup.max.depth") == "3\n");
}
