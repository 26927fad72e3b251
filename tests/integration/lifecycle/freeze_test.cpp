// A container that stands still, by every means that this machine has.
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "freezers.hpp"

using condroid::Bytes;
using condroid::Container;
using condroid::Errc;
using condroid::Exit;
using condroid::Fd;
using condroid::Signal;
using condroid::Spec;
using condroid::Step;
using condroid::Stream;
using condroid::test::FailsWith;
using condroid::test::failure_of;
using condroid::test::Forked;
using condroid::test::freezers;
using condroid::test::is_alive;
using condroid::test::launch;
using condroid::test::launch_with;
using condroid::test::members;
using condroid::test::need;
using condroid::test::own_cgroups;
using condroid::test::payload;
using condroid::test::read_until;
using condroid::test::runtime;
using condroid::test::Surroundings;
using condroid::test::TempRoot;
using condroid::test::wait;
using condroid::test::with_pipe;
using namespace std::chrono_literals;
using std::chrono::milliseconds;

namespace {

void drain(const Fd& fd) {
  char buffer[65536];
  for (pollfd p{fd.get(), POLLIN, 0}; ::poll(&p, 1, 0) > 0;)
    if (::read(fd.get(), buffer, sizeof buffer) <= 0) return;
}

bool says_something(const Fd& fd, int within_ms) {
  pollfd p{fd.get(), POLLIN, 0};
  return ::poll(&p, 1, within_ms) > 0;
}

}  // namespace

TEST_CASE("a frozen container stands still, and goes on when it is thawed",
          "[lifecycle][any_cgroup][.root]") {
  REQUIRE_FALSE(freezers().empty());
  const TempRoot root;
  for (const std::string& by : freezers()) {
    CAPTURE(by);
    condroid::test::warm_up();
    const Surroundings before = Surroundings::quiet();
    {
      Container box = launch_with(by, with_pipe(payload(root, {"tick"})));
      const Fd out = box.take_stdout();
      (void)read_until(out, "...");
      CHECK_FALSE(*box.frozen());
      for (int round = 0; round < 3; ++round) {
        REQUIRE(box.freeze());
        CHECK(*box.frozen());
        REQUIRE(box.freeze());  // once more is fine
        drain(out);
        CHECK_FALSE(says_something(out, 100));
        REQUIRE(box.thaw());
        CHECK_FALSE(*box.frozen());
        CHECK(says_something(out, 5000));
      }
      REQUIRE(box.kill());
      CHECK(wait(box).signal == Signal{SIGKILL});
      CHECK_THAT(failure_of(box.freeze()), FailsWith(ESRCH, Step::freeze, "has ended"));
      CHECK_THAT(failure_of(box.thaw()), FailsWith(ESRCH, Step::freeze, "has ended"));
      CHECK_THAT(failure_of(box.frozen()), FailsWith(ESRCH, Step::freeze, "has ended"));
    }
    CHECK(own_cgroups().empty());
    CHECK(Surroundings::settled(before) == before);
  }
}

TEST_CASE("freezing can be begun and asked about", "[lifecycle][any_cgroup][.root]") {
  const TempRoot root;
  for (const std::string& by : freezers()) {
    CAPTURE(by);
    Container box = launch_with(by, with_pipe(payload(root, {"crowd", "50"})));
    (void)read_until(box.take_stdout(), "ready\n");
    const auto until = std::chrono::steady_clock::now() + 5s;
    REQUIRE(box.freeze(0ms));
    while (!*box.frozen() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    CHECK(*box.frozen());
    REQUIRE(box.thaw(0ms));
    while (*box.frozen() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    CHECK_FALSE(*box.frozen());
  }
}

TEST_CASE("memory is taken back from what is frozen", "[lifecycle][any_cgroup][.root]") {
  constexpr std::uint64_t mib = 1 << 20;
  const TempRoot root;
  condroid::test::warm_up();
  // That hierarchy has not been used before.
  {
    Spec first = payload(root, {"exit"});
    first.resources.memory_max = Bytes{256 * mib};
    Container box = launch(first);
    (void)wait(box);
  }
  const Surroundings before = Surroundings::quiet();
  {
    Spec spec = payload(root, {"keep", "/file", "24"});
    spec.process.stdio = {Stream::pipe, Stream::pipe, Stream::null};
    spec.lifecycle.freezable = true;
    spec.resources.memory_max = Bytes{256 * mib};
    Container box = launch(spec);
    const Fd in = box.take_stdin(), out = box.take_stdout();
    (void)read_until(out, "filled\n");
    const auto groups = need(box.cgroups());
    const auto counts = std::ranges::find_if(groups, [](const auto& g) { return g.reclaims(); });
    REQUIRE(counts != groups.end());
    const auto held = [&] {
      const char* file = counts->v2() ? "memory.current" : "memory.usage_in_bytes";
      return std::stoull(need(counts->read(file)));
    };
    REQUIRE(box.freeze());
    const std::uint64_t full = held();
    REQUIRE(full > 24 * mib);
    const auto part = box.reclaim(Bytes{4 * mib});
    if (counts->v2() && ::faccessat(counts->fd().get(), "memory.reclaim", F_OK, 0) < 0) {
      CHECK_THAT(failure_of(part), FailsWith(Errc::unsupported, Step::write_cgroup, "memory of"));
      CHECK(part.error().hint == "memory.reclaim takes Linux 5.19");
      return;
    }
    // What is in memory alone has nowhere to go.
    struct statfs below {};
    REQUIRE(::statfs(root.host().c_str(), &below) == 0);
    if (below.f_type == TMPFS_MAGIC) {
      CHECK(box.reclaim());
      return;
    }
    if (counts->v2()) {
      REQUIRE(part);
      CHECK(part->value >= 3 * mib);
      CHECK(part->value < 20 * mib);
    } else {
      CHECK_THAT(failure_of(part), FailsWith(Errc::unsupported, Step::write_cgroup, "memory of"));
      CHECK(held() > 24 * mib);
    }
    const std::uint64_t rest = held();
    const auto all = box.reclaim();
    REQUIRE(all);
    CHECK(all->value + 8 * mib > rest);
    CHECK(held() < 8 * mib);
    CHECK(*box.frozen());
    // What it had is on the disk.
    REQUIRE(box.thaw());
    condroid::test::write_to(in, "x");
    CHECK(read_until(out, "same\n") == "24 the same\n");
    // Its cgroups may be gone before its end is heard of.
    for (int i = 0; i < 1000 && !own_cgroups().empty(); ++i) std::this_thread::sleep_for(10ms);
    CHECK_THAT(failure_of(box.reclaim()), FailsWith(ESRCH, Step::write_cgroup, "has ended"));
    CHECK(wait(box).success());
    CHECK_THAT(failure_of(box.reclaim()), FailsWith(ESRCH, Step::write_cgroup, "has ended"));
  }
  CHECK(own_cgroups().empty());
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("memory that nothing counts cannot be taken back", "[lifecycle][any_cgroup][.root]") {
  const TempRoot root;
  Container box = launch(payload(root, {"pause"}));
  CHECK_THAT(failure_of(box.reclaim()), FailsWith(Errc::unsupported, Step::write_cgroup,
                                                  "container 'test' has no cgroup that counts"));
}

TEST_CASE("what is in no cgroup for it cannot be frozen", "[lifecycle][any_cgroup][.root]") {
  const TempRoot root;
  Container box = launch(payload(root, {"pause"}));
  const auto failed = failure_of(box.freeze());
  CHECK_THAT(failed, FailsWith(Errc::unsupported, Step::freeze, "container 'test' has no cgroup"));
  CHECK(failed.error->hint == "set lifecycle.freezable = true");
  CHECK_THAT(failure_of(box.frozen()), FailsWith(Errc::unsupported, Step::freeze));
}

TEST_CASE("a frozen container is stopped, killed and let go of", "[lifecycle][any_cgroup][.root]") {
  const TempRoot root;
  for (const std::string& by : freezers()) {
    CAPTURE(by);
    condroid::test::warm_up();
    const Surroundings before = Surroundings::quiet();
    {
      Container box = launch_with(by, with_pipe(payload(root, {"term", "6"})));
      (void)read_until(box.take_stdout(), "ready\n");
      REQUIRE(box.freeze());
      const auto exit = box.stop(10s);
      REQUIRE(exit);
      CHECK(exit->code == 6);  // thawed, so that it could answer
    }
    {
      Container box = launch_with(by, with_pipe(payload(root, {"stubborn", "5"})));
      (void)read_until(box.take_stdout(), "ready\n");
      REQUIRE(box.freeze());
      REQUIRE(box.kill());
      CHECK(wait(box).signal == Signal{SIGKILL});
    }
    {
      Container box = launch_with(by, with_pipe(payload(root, {"stubborn", "5"})));
      (void)read_until(box.take_stdout(), "ready\n");
      REQUIRE(box.freeze());
    }
    CHECK(own_cgroups().empty());
    CHECK(Surroundings::settled(before) == before);
  }
}

namespace {

/// A host launches a container, freezes what `freeze` does, and is killed: that process ends, and
/// the container's cgroup goes.
template <class F>
void kill_host_of_frozen(const std::string& by, const F& freeze) {
  const TempRoot root;
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const Fd from(ends[0]);
  Fd to(ends[1]);
  pid_t pid = 0;
  std::string group;
  {
    const Forked host([&] {
      Container box = launch_with(by, with_pipe(payload(root, {"stubborn", "3"})));
      (void)read_until(box.take_stdout(), "ready\n");
      const std::string own = own_cgroups().front();
      const std::string text = fmt::format("{} {}\n", freeze(box), own);
      if (::write(to.get(), text.data(), text.size()) < 0) return 2;
      ::pause();
      return 3;
    });
    to.reset();
    std::istringstream told(read_until(from, "\n"));
    told >> pid >> group;
    REQUIRE(is_alive(pid));
  }
  for (int i = 0; i < 500 && (is_alive(pid) || ::access(group.c_str(), F_OK) == 0); ++i)
    ::usleep(10000);
  CHECK_FALSE(is_alive(pid));
  CHECK(::access(group.c_str(), F_OK) != 0);
}

/// Moves one of the container's processes so many cgroups down, and freezes it there.
pid_t bury_one(const Container& box, const std::string& by, int levels) {
  auto all = members();
  std::erase(all, box.pid().value);
  std::string path = own_cgroups().front();
  for (int i = 0; i < levels; ++i) {
    // There are others beside the way: who comes up again has to go on behind where he was.
    for (const char* name : {"/a", "/m", "/z"}) condroid::test::make_dir(path + name);
    path += "/m";
  }
  condroid::test::write_text((path + "/cgroup.procs").c_str(), fmt::format("{}", all.at(0)));
  const bool v2 = by == "v2";
  condroid::test::write_text((path + (v2 ? "/cgroup.freeze" : "/freezer.state")).c_str(),
                             v2 ? "1" : "FROZEN");
  return all.at(0);
}

}  // namespace

TEST_CASE("a frozen container ends with a host that is killed",
          "[lifecycle][attack][any_cgroup][.root]") {
  for (const std::string& by : freezers()) {
    CAPTURE(by);
    kill_host_of_frozen(by, [](Container& box) { return box.freeze() ? box.pid().value : -1; });
  }
}

TEST_CASE("a process that is frozen deep down ends with a host that is killed",
          "[lifecycle][any_cgroup][.root]") {
  for (const std::string& by : freezers()) {
    CAPTURE(by);
    kill_host_of_frozen(by, [&](Container& box) { return bury_one(box, by, 200); });
  }
}

TEST_CASE("a frozen container without a pid namespace dies, too",
          "[lifecycle][any_cgroup][.root]") {
  const TempRoot root;
  for (const std::string& by : freezers()) {
    CAPTURE(by);
    Spec spec = with_pipe(payload(root, {"stubborn", "4"}));
    spec.namespaces -= condroid::Namespace::pid;
    spec.security.allow |= condroid::Allow::host_pids;
    Container box = launch_with(by, spec);
    (void)read_until(box.take_stdout(), "ready\n");
    REQUIRE(box.freeze());
    const auto all = members();
    CHECK(all.size() >= 5);
    REQUIRE(box.kill());
    (void)wait(box);
    for (const pid_t pid : all) CHECK_FALSE(is_alive(pid));
    CHECK(own_cgroups().empty());
  }
}

TEST_CASE("cgroups that the container froze itself do not hold its end up",
          "[lifecycle][any_cgroup][.root]") {
  const TempRoot root;
  for (const std::string& by : freezers()) {
    for (const bool own_pids : {true, false}) {
      CAPTURE(by, own_pids);
      const auto* h = by == "v2" ? condroid::test::v2_hierarchy() : condroid::test::v1_freezer();
      Spec spec = with_pipe(payload(root, {"nest", h->mount_point}));
      spec.mounts = {condroid::CgroupMount{.flags = condroid::MountFlag::nosuid |
                                                    condroid::MountFlag::nodev |
                                                    condroid::MountFlag::noexec}};
      if (!own_pids) {
        spec.namespaces -= condroid::Namespace::pid;
        spec.security.allow |= condroid::Allow::host_pids;
      }
      Container box = launch_with(by, spec);
      (void)read_until(box.take_stdout(), "ready\n");
      const auto all = members();
      CHECK(all.size() >= 2);
      REQUIRE(box.kill());
      CHECK(wait(box).cleanup_errors.empty());
      for (const pid_t pid : all) CHECK_FALSE(is_alive(pid));
      CHECK(own_cgroups().empty());
    }
  }
}

TEST_CASE("a cgroup above that is frozen is named when its container cannot die",
          "[long][lifecycle][.root]") {
  // v2 kills what is frozen from above.
  const auto* freezer = condroid::test::v1_freezer();
  if (freezer == nullptr) CONDROID_SKIP("needs the freezer of v1");
  const TempRoot root;
  Container box = launch_with("v1", with_pipe(payload(root, {"pause"})));
  (void)read_until(box.take_stdout(), "ready\n");
  const condroid::test::FrozenAbove above(own_cgroups().front());
  CHECK_THAT(failure_of(box.thaw(50ms)), FailsWith(Errc::deadline, Step::freeze));
  const auto exit = box.stop(0ms);
  above.thaw();
  REQUIRE_FALSE(exit);
  CHECK(exit.error().is(Errc::deadline));
  CHECK(exit.error().hint.find("is frozen: thaw it") != std::string::npos);
  CHECK(wait(box).signal == Signal{SIGKILL});
}

namespace {

/// A launch that waits before its command.
condroid::Launch stopped(const std::string& by, const TempRoot& root, milliseconds deadline) {
  condroid::Plan plan = condroid::test::plan_with(by, payload(root, {"pause"}));
  const std::size_t at = need(plan.find("exec"));
  auto launch = need(runtime().start(std::move(plan), {.deadline = deadline, .stop_before = at}));
  while (!launch.stopped()) {
    REQUIRE_FALSE(need(launch.step()));
    const auto [fd, events] = launch.interest();
    pollfd p{fd.get(), events, 0};
    REQUIRE(::poll(&p, 1, 10000) >= 0);
  }
  return launch;
}

/// How its launch failed, and how often it had to be stepped for that; nothing after so long.
std::pair<condroid::test::Failure, int> drive(condroid::Launch& launch, milliseconds most) {
  const auto until = std::chrono::steady_clock::now() + most;
  for (int steps = 1; std::chrono::steady_clock::now() < until; ++steps) {
    const auto done = launch.step();
    if (!done) return {failure_of(done), steps};
    const auto [fd, events] = launch.interest();
    pollfd p{fd.get(), events, 0};
    (void)::poll(&p, 1, launch.timeout());
  }
  return {{}, 0};
}

}  // namespace

TEST_CASE("a launch whose cgroup somebody froze ends at its deadline",
          "[long][lifecycle][any_cgroup][.root]") {
  const TempRoot root;
  for (const std::string& by : freezers()) {
    CAPTURE(by);
    condroid::test::warm_up();
    const Surroundings before = Surroundings::quiet();
    {
      auto launch = stopped(by, root, 1000ms * condroid::test::slow());
      const std::string own = own_cgroups().front();
      condroid::test::write_text((own + (by == "v2" ? "/cgroup.freeze" : "/freezer.state")).c_str(),
                                 by == "v2" ? "1" : "FROZEN");
      const auto [failed, steps] = drive(launch, 8000ms * condroid::test::slow());
      CHECK_THAT(failed, FailsWith(Errc::deadline, Step::exec));
      CHECK(failed.error->also.empty());
      CHECK(steps < 100);
    }
    CHECK(own_cgroups().empty());
    CHECK(Surroundings::settled(before) == before);
  }
}

TEST_CASE("a child that cannot die is left to the zygote after a while",
          "[long][lifecycle][.root]") {
  if (condroid::test::v1_freezer() == nullptr) CONDROID_SKIP("needs the freezer of v1");
  const TempRoot root;
  condroid::test::warm_up();
  const Surroundings before = Surroundings::quiet();
  {
    auto launch = stopped("v1", root, 500ms * condroid::test::slow());
    const condroid::test::FrozenAbove above(own_cgroups().front());
    const pid_t pid = launch.pid().value;
    const auto [failed, steps] = drive(launch, 20s);
    CHECK_THAT(failed, FailsWith(Errc::deadline, Step::exec));
    CHECK_THAT(failed, FailsWith(Errc::deadline, Step::exec,
                                 fmt::format("process {} of 'test' was killed", pid)));
    CHECK(steps < 1000);
    CHECK(is_alive(pid));
  }
  for (int i = 0; i < 500 && !own_cgroups().empty(); ++i) std::this_thread::sleep_for(10ms);
  CHECK(own_cgroups().empty());
  condroid::test::warm_up();  // whose launches take its places
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("a kill takes no more descriptors the deeper the container has nested",
          "[lifecycle][any_cgroup][.root]") {
  const TempRoot root;
  for (const std::string& by : freezers()) {
    CAPTURE(by);
    Forked host([&] {
      Spec spec = with_pipe(payload(root, {"stubborn", "3"}));
      spec.namespaces -= condroid::Namespace::pid;
      spec.security.allow |= condroid::Allow::host_pids;
      Container box = launch_with(by, spec);
      (void)read_until(box.take_stdout(), "ready\n");
      const auto all = members();
      (void)bury_one(box, by, 100);
      const rlimit few{100, 100};
      if (::setrlimit(RLIMIT_NOFILE, &few) < 0) return 2;
      if (!box.kill()) return 3;
      const Exit exit = wait(box);
      if (!exit.cleanup_errors.empty()) return 4;
      return std::ranges::any_of(all, is_alive) ? 5 : 0;
    });
    CHECK(host.wait() == 0);
  }
}
