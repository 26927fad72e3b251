// Containers whose cgroups have a place of their own.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <sstream>
#include <string>
#include <vector>

#include "condroid/attach.hpp"
#include "condroid/plan.hpp"
#include "condroid/registry.hpp"
#include "containers.hpp"

using condroid::Attach;
using condroid::AttachCgroup;
using condroid::CgroupHierarchy;
using condroid::CgroupMode;
using condroid::Container;
using condroid::Exit;
using condroid::HostPath;
using condroid::LaunchOptions;
using condroid::Runtime;
using condroid::RuntimeOptions;
using condroid::Spec;
using condroid::Step;
using condroid::test::attempt;
using condroid::test::facts;
using condroid::test::FailsWith;
using condroid::test::failure_of;
using condroid::test::hierarchy_of;
using condroid::test::launch;
using condroid::test::need;
using condroid::test::payload;
using condroid::test::read_file;
using condroid::test::TempRoot;
using condroid::test::wait;

namespace {

/// A directory of this test's own in each hierarchy.
std::string own() { return fmt::format("integration-test-{}", ::getpid()); }

std::vector<const CgroupHierarchy*> hierarchies() {
  std::vector<const CgroupHierarchy*> list;
  for (const CgroupHierarchy& h : facts().cgroups)
    if (h.writable) list.push_back(&h);
  return list;
}

bool is_directory(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

/// The hierarchies that have it.
std::size_t having(const std::string& path) {
  return static_cast<std::size_t>(std::ranges::count_if(
      hierarchies(), [&](const auto* h) { return is_directory(h->mount_point + "/" + path); }));
}
bool goes(const std::string& path) {
  for (int i = 0; i < 2000 && having(path) != 0; ++i) ::usleep(10000);
  return having(path) == 0;
}

/// Of each hierarchy of ours what /proc/PID/cgroup says; once each.
std::vector<std::string> places_of(pid_t pid) {
  std::vector<std::string> list;
  std::istringstream lines(read_file(fmt::format("/proc/{}/cgroup", pid)));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    for (const auto* h : hierarchies())
      if (h->v2 ? names == ",,"
                : names.find("," + h->controllers.front() + ",") != std::string::npos)
        list.push_back(line.substr(second + 1));
  }
  std::ranges::sort(list);
  list.erase(std::unique(list.begin(), list.end()), list.end());
  return list;
}

Spec placed(const TempRoot& root, const std::string& path, std::vector<std::string> args) {
  Spec spec = payload(root, std::move(args));
  spec.resources.cgroup = CgroupMode::everywhere;
  spec.resources.cgroup_path = path;
  return spec;
}

void make(const std::string& path) {
  for (const auto* h : hierarchies())
    REQUIRE(::mkdir((h->mount_point + "/" + path).c_str(), 0755) == 0);
}
void remove(const std::string& path) {
  for (const auto* h : hierarchies()) (void)::rmdir((h->mount_point + "/" + path).c_str());
}

/// A host of its own that has launched it and waits to be killed. Its pid.
pid_t host_of(const Spec& spec, const std::string& state_dir, LaunchOptions options = {}) {
  int ready[2];
  REQUIRE(::pipe2(ready, O_CLOEXEC) == 0);
  const pid_t host = ::fork();
  if (host == 0) {
    auto mine = Runtime::open({.state_dir = HostPath(state_dir)});
    bool good = false;
    if (mine && options.stop_before) {
      auto one = mine->start(spec, options);
      if (one) {
        while (!one->stopped() && one->step()) ::usleep(1000);
        good = one->stopped();
        (void)!::write(ready[1], good ? "y" : "n", 1);
        ::pause();
      }
    } else if (mine) {
      auto box = mine->launch(spec);
      good = box.has_value();
      (void)!::write(ready[1], good ? "y" : "n", 1);
      if (good) ::pause();
    }
    ::_exit(1);
  }
  ::close(ready[1]);
  char answer = 0;
  CHECK(::read(ready[0], &answer, 1) == 1);
  CHECK(answer == 'y');
  ::close(ready[0]);
  return host;
}

void kill_host(pid_t host) {
  ::kill(host, SIGKILL);
  ::waitpid(host, nullptr, 0);
}

}  // namespace

TEST_CASE("a container's cgroups are where its Spec says, and go with it", "[launch][.root]") {
  if (hierarchies().empty()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  const std::string path = own() + "/on the way/box";
  Container box = launch(placed(root, path, {"pause"}));
  CHECK(places_of(box.pid().value) == std::vector<std::string>{"/" + path});
  CHECK(having(path) == hierarchies().size());
  const auto groups = box.cgroups();
  REQUIRE(groups);
  CHECK(groups->size() == hierarchies().size());
  for (const auto& g : *groups) CHECK(g.path().ends_with("/" + path));
  CHECK_THAT(attempt(placed(root, path, {"pause"})), FailsWith(EEXIST, Step::create_cgroup, path));
  CHECK(places_of(box.pid().value) == std::vector<std::string>{"/" + path});
  REQUIRE(box.kill());
  CHECK(wait(box).cleanup_errors.empty());
  CHECK(having(own()) == 0);
}

TEST_CASE("cgroups on the way go with the last below them", "[launch][.root]") {
  if (hierarchies().empty()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  SECTION("when somebody else has made them they stay") {
    make(own());
    Container box = launch(placed(root, own() + "/a/box", {"pause"}));
    REQUIRE(box.kill());
    CHECK(wait(box).cleanup_errors.empty());
    CHECK(having(own() + "/a") == 0);
    CHECK(having(own()) == hierarchies().size());
    remove(own());
  }
  SECTION("of two containers either may be the last") {
    Container one = launch(placed(root, own() + "/one", {"pause"}));
    Container two = launch(placed(root, own() + "/two", {"pause"}));
    REQUIRE(one.kill());
    CHECK(wait(one).cleanup_errors.empty());
    CHECK(having(own() + "/one") == 0);
    CHECK(having(own() + "/two") == hierarchies().size());
    REQUIRE(two.kill());
    CHECK(wait(two).cleanup_errors.empty());
    CHECK(having(own()) == 0);
  }
  SECTION("a cgroup of that name that is there is somebody else's") {
    make(own());
    make(own() + "/box");
    {
      auto mine = Runtime::open({.state_dir = HostPath("/tmp/" + own())});
      REQUIRE(mine);
      CHECK_THAT(failure_of(mine->launch(placed(root, own() + "/box", {"pause"}))),
                 FailsWith(EEXIST, Step::create_cgroup, own()));
    }
    for (int i = 0; i < 2000 && is_directory("/tmp/" + own()); ++i) ::usleep(10000);
    CHECK(having(own() + "/box") == hierarchies().size());
    remove(own() + "/box");
    remove(own());
  }
}

TEST_CASE("processes may be in a cgroup below the one with the limits", "[launch][.root]") {
  if (hierarchies().empty()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Spec spec = placed(root, own() + "/box", {"pause"});
  spec.resources.cgroup_inner = "ns";
  spec.resources.pids_max = 6;
  Container box = launch(spec);
  CHECK(places_of(box.pid().value) == std::vector<std::string>{"/" + own() + "/box/ns"});
  const CgroupHierarchy& h = *hierarchy_of("pids");
  const std::string outer = h.mount_point + "/" + own() + "/box";
  CHECK(read_file(outer + "/pids.max") == "6\n");
  CHECK(read_file(outer + "/ns/pids.max") == "max\n");
  Attach what;
  what.process.argv = {"/bin/payload", "pause"};
  for (const AttachCgroup where : {AttachCgroup::container, AttachCgroup::below}) {
    what.cgroup = where;
    const auto task = box.attach(what);
    if (!task) FAIL(to_string(task.error()));
    const auto places = places_of(task->pid().value);
    REQUIRE(places.size() == 1);
    CHECK(places.front().starts_with("/" + own() + "/box/ns"));
  }
  what.process.argv = {"/bin/payload", "forks", "20"};
  what.process.stdio = condroid::Stdio::capture;
  auto task = box.attach(what);
  if (!task) FAIL(to_string(task.error()));
  const auto e = task->wait();
  REQUIRE(e);
  CHECK(e->out == "forks=4\n");
  REQUIRE(box.freeze());
  REQUIRE(box.thaw());
  REQUIRE(box.kill());
  CHECK(wait(box).cleanup_errors.empty());
  CHECK(having(own()) == 0);
}

TEST_CASE("a cgroup below the one with the limits is no hindrance to them", "[launch][.root]") {
  if (hierarchies().empty()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Spec spec = placed(root, own() + "/box", {"pause"});
  spec.resources.cgroup_inner = "ns";
  // On v1 neither can be written to a cgroup with others below it.
  spec.devices.filter = condroid::DeviceFilter::always;
  if (hierarchy_of("cpuset") != nullptr) spec.resources.cpuset_cpus = "0";
  Container box = launch(spec);
  CHECK(places_of(box.pid().value) == std::vector<std::string>{"/" + own() + "/box/ns"});
  REQUIRE(box.kill());
  CHECK(wait(box).cleanup_errors.empty());
  CHECK(having(own()) == 0);
}

TEST_CASE("cgroups at a place of their own go when the host is killed", "[launch][.root]") {
  if (hierarchies().empty()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  const std::string state_dir = "/tmp/" + own();
  Spec spec = placed(root, own() + "/a/box", {"pause"});
  SECTION("while it runs") {
    spec.resources.cgroup_inner = "ns";
    const pid_t host = host_of(spec, state_dir);
    CHECK(having(own() + "/a/box/ns") == hierarchies().size());
    kill_host(host);
  }
  SECTION("before there is a process in them") {
    const auto plan = condroid::compile(spec, facts());
    REQUIRE(plan);
    const auto clone = std::ranges::find_if(plan->ops, [](const condroid::Op& o) {
      return std::holds_alternative<condroid::op::Clone>(o);
    });
    LaunchOptions options;
    options.stop_before = static_cast<std::size_t>(clone - plan->ops.begin());
    const pid_t host = host_of(spec, state_dir, options);
    CHECK(having(own() + "/a/box") == hierarchies().size());
    kill_host(host);
  }
  SECTION("together with its zygote") {
    const pid_t host = host_of(spec, state_dir);
    REQUIRE(having(own() + "/a/box") == hierarchies().size());
    pid_t zygote = 0;
    const auto all = need(condroid::Registry::list(HostPath(state_dir)));
    for (const auto& r : all) zygote = r.zygote.value;
    REQUIRE(zygote > 1);
    ::kill(zygote, SIGSTOP);
    ::kill(host, SIGKILL);
    ::kill(zygote, SIGKILL);
    ::waitpid(host, nullptr, 0);
    CHECK(having(own() + "/a/box") == hierarchies().size());
    const auto next = Runtime::open({.state_dir = HostPath(state_dir)});
    REQUIRE(next);
    CHECK(having(own()) == 0);
  }
  CHECK(goes(own()));
}
