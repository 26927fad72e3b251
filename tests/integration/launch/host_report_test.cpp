// Host::report: what it says is true, and nothing of its attempts remains.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <string>

#include "condroid/host.hpp"
#include "containers.hpp"

using condroid::Finding;
using condroid::Host;
using condroid::HostOptions;
using condroid::HostPath;
using condroid::HostReport;
using condroid::test::entries_of;
using condroid::test::facts;
using condroid::test::Surroundings;

namespace {

/// With a state directory that nobody else uses.
HostOptions apart() {
  return {.runtime = {.state_dir = HostPath(fmt::format("/tmp/test-report-{}", ::getpid()))}};
}

std::string outcome(const HostReport& report, std::string_view id) {
  const Finding* f = report.find(id);
  INFO(id);
  REQUIRE(f != nullptr);
  return std::string(to_string(f->outcome));
}

}  // namespace

TEST_CASE("a report says of everything what came of it, and leaves nothing",
          "[long][launch][report][root][userns]") {
  (void)Host::report(apart());  // modules that the kernel loads for it stay
  const Surroundings before = Surroundings::quiet();
  const auto devices = entries_of("/dev");
  const HostReport report = Host::report(apart());
  INFO(to_text(report));
  CHECK(report.can_launch());
  std::set<std::string> ids;
  for (const Finding& f : report.findings) {
    INFO(f.id << " " << f.why);
    CHECK(ids.insert(f.id).second);
    CHECK_FALSE(f.group.empty());
    CHECK_FALSE(f.what.empty());
    CHECK(f.outcome != Finding::unknown);
    if (f.outcome != Finding::works) CHECK_FALSE(f.why.empty());
    if (f.outcome == Finding::works) CHECK(f.mend.empty());
    CHECK(f.mend.find("{user}") == f.mend.npos);
  }
  CHECK(report.findings.size() > 60);
  // What the suite itself rests on.
  for (const char* id : {"launch.runtime", "launch.plain", "launch.userns", "ns.user", "ns.mount",
                         "ns.pid", "ns.net", "ns.join", "id.single", "mount.open_tree",
                         "process.clone3", "process.memfd-exec", "security.seccomp"}) {
    INFO(id);
    CHECK(outcome(report, id) == "works");
  }
  // The same as what the library finds out for itself.
  CHECK((outcome(report, "process.pidfd-inode") == "works") == facts().pidfs);
  CHECK(report.kernel == facts().kernel_release);
  CHECK(report.uid == facts().uid);

  CHECK(Surroundings::settled(before) == before);
  CHECK(entries_of("/dev") == devices);
  CHECK(::access(apart().runtime.state_dir.c_str(), F_OK) != 0);
}

TEST_CASE("a report has every hierarchy and controller of the machine", "[launch][report][root]") {
  const HostReport report = Host::report(apart());
  INFO(to_text(report));
  for (const auto& h : facts().cgroups) {
    if (h.v2) {
      for (const char* id : {"cgroup.v2", "cgroup.v2.clone-into", "cgroup.v2.kill",
                             "cgroup.v2.freeze", "cgroup.v2.delegation"})
        CHECK(outcome(report, id) == "works");
      for (const auto& c : h.controllers) (void)outcome(report, "cgroup.v2." + c);
    } else {
      CHECK(outcome(report, "cgroup.v1." + fmt::format("{}", fmt::join(h.controllers, ","))) ==
            "works");
    }
  }
  CHECK(outcome(report, "launch.limits") == "works");
  CHECK(outcome(report, "id.direct") == "works");
}

TEST_CASE("ranges of subids are tried with the programs that map them",
          "[launch][report][subids]") {
  const HostReport report = Host::report(apart());
  INFO(to_text(report));
  CHECK(outcome(report, "id.newuidmap") == "works");
  CHECK(outcome(report, "id.newgidmap") == "works");
  CHECK(outcome(report, "id.direct") == "refused");
  CHECK(report.find("launch.userns")->why == "with subids");
}

TEST_CASE("a report of a machine where no Runtime can be opened says so",
          "[launch][report][root][userns]") {
  HostOptions options;
  options.runtime.state_dir = HostPath("/proc/no/such/place");
  const HostReport report = Host::report(options);
  CHECK_FALSE(report.can_launch());
  const Finding* f = report.find("launch.runtime");
  REQUIRE(f != nullptr);
  CHECK(f->outcome == Finding::fails);
  CHECK(f->why.find("/proc/no/such/place") != std::string::npos);
  CHECK(outcome(report, "ns.user") == "unknown");
  CHECK(report.kernel == facts().kernel_release);
}

TEST_CASE("what is not tried before the deadline is unknown, and nothing of it remains",
          "[launch][report][root][userns]") {
  const Surroundings before = Surroundings::quiet();
  HostOptions options = apart();
  for (const int ms : {1, 20, 60}) {
    options.deadline = std::chrono::milliseconds{ms};
    const HostReport report = Host::report(options);
    CHECK(report.findings.size() > 40);
  }
  options.deadline = std::chrono::milliseconds{0};
  const HostReport none = Host::report(options);
  CHECK(outcome(none, "net.veth") == "unknown");
  CHECK_FALSE(none.can_launch());
  CHECK(Surroundings::settled(before) == before);
  CHECK(::access(options.runtime.state_dir.c_str(), F_OK) != 0);
}
