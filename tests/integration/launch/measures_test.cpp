// What a container uses, what happens to it, and what its exit says of both.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "condroid/sys/cgroup.hpp"
#include "containers.hpp"

using condroid::CgroupDir;
using condroid::CgroupHierarchy;
using condroid::CgroupMode;
using condroid::Container;
using condroid::Errc;
using condroid::Exit;
using condroid::Namespace;
using condroid::PressureTrigger;
using condroid::Runtime;
using condroid::Spec;
using condroid::Stats;
using condroid::Step;
using condroid::Stream;
using condroid::Watch;
using condroid::WatchEvent;
using condroid::WatchOptions;
using condroid::test::facts;
using condroid::test::FailsWith;
using condroid::test::failure_of;
using condroid::test::hierarchy_of;
using condroid::test::launch;
using condroid::test::need;
using condroid::test::own_cgroups;
using condroid::test::payload;
using condroid::test::read_file;
using condroid::test::read_until;
using condroid::test::runtime;
using condroid::test::Surroundings;
using condroid::test::TempRoot;
using condroid::test::wait;
using namespace condroid::literals;
using namespace std::chrono_literals;

namespace {

using Clock = std::chrono::steady_clock;

bool may_make_cgroups() { return std::ranges::any_of(facts().cgroups, &CgroupHierarchy::writable); }

const CgroupHierarchy* v2() {
  for (const CgroupHierarchy& h : facts().cgroups)
    if (h.v2 && h.writable) return &h;
  return nullptr;
}
/// The container's own cgroup in a hierarchy.
CgroupDir cgroup_of(const Container& box, const CgroupHierarchy& h) {
  std::istringstream lines(read_file(fmt::format("/proc/{}/cgroup", box.pid().value)));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    if (h.v2 ? names == ",," : names.find("," + h.controllers.front() + ",") != std::string::npos)
      return need(CgroupDir::open(h, line.substr(second + 1)));
  }
  FAIL("no cgroup in " << h.mount_point);
  return {};
}

Spec piped(Spec spec) {
  spec.process.stdio = {Stream::null, Stream::pipe, Stream::null};
  return spec;
}

/// The next event, by poll_fd() as somebody's event loop has it; nothing after `patience`.
std::optional<WatchEvent> next(Watch& watch, std::chrono::milliseconds patience = 10s) {
  const auto until = Clock::now() + patience;
  for (;;) {
    auto event = need(watch.next());
    if (event) return event;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
    pollfd waiter{watch.poll_fd().get(), POLLIN, 0};
    if (left.count() <= 0 || ::poll(&waiter, 1, static_cast<int>(left.count())) == 0) return {};
  }
}

/// All events up to `ended`.
std::vector<WatchEvent> events_of(Watch& watch) {
  std::vector<WatchEvent> list;
  while (!watch.done()) {
    const auto event = next(watch);
    if (!event) FAIL("no end within the deadline");
    list.push_back(*event);
  }
  CHECK_FALSE(need(watch.next()));
  // Nothing wakes anybody any more.
  pollfd waiter{watch.poll_fd().get(), POLLIN, 0};
  CHECK(::poll(&waiter, 1, 0) == 0);
  return list;
}
std::uint64_t times(const std::vector<WatchEvent>& list, WatchEvent::Kind kind) {
  std::uint64_t count = 0;
  for (const WatchEvent& e : list)
    if (e.kind == kind) count += e.count;
  return count;
}

}  // namespace

TEST_CASE("a running container is measured", "[launch][measures][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Spec spec = piped(payload(root, {"use", "16000000", "0.3"}));
  spec.resources.cgroup = CgroupMode::everywhere;
  Container box = launch(spec);
  (void)read_until(box.take_stdout(), "ready\n");
  const auto reader = need(box.stats_reader());
  INFO(reader.files() << " files");
  Stats now;
  REQUIRE(need(reader.read(now)));

  REQUIRE(now.cpu);
  CHECK(now.cpu->total >= 290ms);
  CHECK(now.cpu->total < 3s);
  CHECK(now.cpu->user + now.cpu->system <= now.cpu->total + 20ms);
  CHECK(now.cpu->user >= 100ms);
  REQUIRE(now.memory);
  CHECK(now.memory->current >= 15_MiB);
  CHECK(now.memory->current < 64_MiB);
  CHECK(now.memory->oom_kills == 0U);
  if (now.memory->peak) CHECK(*now.memory->peak >= now.memory->current);
  if (now.memory->swap) CHECK(*now.memory->swap < 1_MiB);
  REQUIRE(now.pids);
  CHECK(now.pids->current == 1);
  if (now.pids->peak) CHECK(*now.pids->peak >= 1);
  CHECK(now.pids->limit_hits == 0U);
  CHECK(now.io.has_value() == (hierarchy_of("io") != nullptr || hierarchy_of("blkio") != nullptr));
  if (const CgroupHierarchy* h = v2(); h != nullptr) {
    const CgroupDir dir = cgroup_of(box, *h);
    CHECK(now.cpu_pressure.has_value() == dir.read("cpu.pressure").has_value());
    CHECK(now.memory_pressure.has_value() == dir.read("memory.pressure").has_value());
    CHECK(now.io_pressure.has_value() == dir.read("io.pressure").has_value());
  }

  const Stats once = need(box.stats());
  CHECK(once.taken > now.taken);
  CHECK(once.cpu->total >= now.cpu->total);
  CHECK(once.memory->current >= 15_MiB);

  REQUIRE(box.kill());
  const Exit e = wait(box);
  REQUIRE(e.cpu_time);
  CHECK(e.cpu_time->total >= once.cpu->total);
  CHECK(e.cpu_time->total < once.cpu->total + 1s);
  CHECK(e.cpu_time->user >= 100ms);
  CHECK(e.peak_memory.has_value() == now.memory->peak.has_value());
  if (e.peak_memory) CHECK(*e.peak_memory >= 15_MiB);
  CHECK(e.peak_pids == now.pids->peak);
  CHECK(e.oom_kills == 0);
  CHECK(e.pids_limit_hits == 0);

  // What is gone is the end, and nothing else.
  const Stats before = now;
  CHECK_FALSE(need(reader.read(now)));
  CHECK(now.taken == before.taken);
  CHECK_THAT(failure_of(box.stats()), FailsWith(ESRCH, Step::measure, "has ended"));
  CHECK_THAT(failure_of(box.stats_reader()), FailsWith(ESRCH, Step::measure, "has ended"));
  CHECK(own_cgroups().empty());
}

TEST_CASE("a container that ended by itself is at its end for a reader, too",
          "[launch][measures][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Spec spec = payload(root, {"cat"});
  spec.resources.cgroup = CgroupMode::everywhere;
  spec.process.stdio = {Stream::pipe, Stream::null, Stream::null};
  Container box = launch(spec);
  const auto reader = need(box.stats_reader());
  // Its handle is not asked meanwhile: the zygote alone removes what is read here.
  Stats now;
  std::size_t looks = 0;
  const auto until = Clock::now() + 10s;
  for (condroid::Fd in = box.take_stdin(); need(reader.read(now)) && Clock::now() < until;
       in.reset())
    ++looks;
  CHECK(looks > 0);
  CHECK(Clock::now() < until);
  CHECK(now.cpu);
  CHECK_THAT(failure_of(box.stats()), FailsWith(ESRCH, Step::measure, "has ended"));
  CHECK(wait(box).success());
}

TEST_CASE("without a cgroup nothing is measured or told, and the hint says what would",
          "[launch][measures][.root][.userns]") {
  const TempRoot root;
  Container box = launch(payload(root, {"pause"}));
  for (const auto& failure :
       {failure_of(box.stats()), failure_of(box.stats_reader()), failure_of(box.watch())}) {
    REQUIRE(failure.error);
    INFO(to_string(*failure.error));
    CHECK(failure.error->is(Errc::unsupported));
    CHECK(failure.error->subject.find("'test' has no cgroup") != std::string::npos);
    CHECK(failure.error->hint.find("resources.cgroup") != std::string::npos);
  }
  REQUIRE(box.kill());
  const Exit e = wait(box);
  CHECK_FALSE(e.cpu_time);
  CHECK_FALSE(e.peak_memory);
  CHECK_FALSE(e.peak_pids);
  CHECK(e.launch_time > 0ns);
  CHECK(e.run_time > 0ns);
}

TEST_CASE("an exit tells how long the launch and the run took", "[launch][measures][.root]") {
  const TempRoot root;
  Container box = launch(payload(root, {"spin", "0.2"}), {.trace = true});
  const Exit e = wait(box);
  // The payload's processor time counts from its birth on, and a busy host sees the exec late.
  CHECK(e.launch_time + e.run_time >= 190ms);
  CHECK(e.run_time >= 100ms);
  CHECK(e.run_time < 20s);
  CHECK(e.launch_time > 50us);
  CHECK(e.launch_time < 10s);
  CHECK(e.timeline.entries.size() > 5);
  CHECK(e.timeline.total == e.launch_time);
  Container plain = launch(payload(root, {"exit", "0"}));
  CHECK(wait(plain).timeline.entries.empty());
}

TEST_CASE("a container that eats its memory is told while it lives, and its exit says so",
          "[launch][measures][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Spec spec = piped(payload(root, {"feed", "200000000", "stay"}));
  spec.resources.memory_max = 32_MiB;
  Container box = launch(spec);
  auto watch = need(box.watch({.look_every = 0ms}));
  (void)read_until(box.take_stdout(), "ready\n");
  std::optional<WatchEvent> event;
  do {
    event = next(watch);
  } while (event && event->kind == WatchEvent::memory_max);
  REQUIRE(event);
  CHECK(event->kind == WatchEvent::oom_kill);
  CHECK(event->count == 1);
  CHECK(event->total == 1);
  CHECK(need(box.stats()).memory->oom_kills == 1U);
  REQUIRE(box.kill());
  const Exit e = wait(box);
  CHECK(e.out_of_memory);
  CHECK(e.oom_kills == 1);
  CHECK(to_string(e) == "killed by signal 9 (SIGKILL), out of memory");
  if (e.peak_memory) {
    CHECK(*e.peak_memory >= 30_MiB);
    CHECK(*e.peak_memory <= 33_MiB);
  }
  const auto rest = events_of(watch);
  CHECK(times(rest, WatchEvent::oom_kill) == 0);
  CHECK(rest.back().kind == WatchEvent::ended);
}

TEST_CASE("nothing is missed of a container that ends at once", "[launch][measures][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Spec spec = payload(root, {"eat", "100000000"});
  spec.resources.memory_max = 8_MiB;
  for (int i = 0; i < 50; ++i) {
    INFO("round " << i);
    Container box = launch(spec);
    std::optional<Exit> exit;
    // The end may come before the watch, before the first look, or be taken by the handle first.
    if (i % 5 == 0) exit = wait(box);
    auto watch = need(box.watch());
    if (i % 5 == 1) exit = wait(box);
    if (i % 5 == 2) {
      pollfd waiter{box.pidfd().get(), POLLIN, 0};
      CHECK(::poll(&waiter, 1, 10000) == 1);
    }
    const auto events = events_of(watch);
    CHECK(times(events, WatchEvent::oom_kill) == 1);
    CHECK(times(events, WatchEvent::ended) == 1);
    CHECK(events.back().kind == WatchEvent::ended);
    if (!exit) exit = wait(box);
    CHECK(exit->oom_kills == 1);
    CHECK(exit->out_of_memory);
  }
  CHECK(own_cgroups().empty());
}

TEST_CASE("a container that forks beyond its limit is told, and its exit says so",
          "[launch][measures][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  SECTION("while it lives") {
    Spec spec = piped(payload(root, {"forks", "20", "stay"}));
    spec.resources.pids_max = 6;
    Container box = launch(spec);
    auto watch = need(box.watch({.look_every = 20ms}));
    CHECK(read_until(box.take_stdout(), "forks=5\n") == "forks=5\n");
    std::uint64_t hits = 0;
    while (hits < 15) {
      const auto event = next(watch);
      REQUIRE(event);
      REQUIRE(event->kind == WatchEvent::pids_limit);
      hits += event->count;
      CHECK(event->total == hits);
    }
    CHECK(hits == 15);
    const Stats now = need(box.stats());
    CHECK(now.pids->current == 6);
    CHECK(now.pids->limit_hits == 15U);
    if (now.pids->peak) CHECK(*now.pids->peak == 6);
    REQUIRE(box.kill());
    const Exit e = wait(box);
    CHECK(e.pids_limit_hits == 15);
    CHECK(to_string(e) == "killed by signal 9 (SIGKILL), pids limit hit 15 times");
  }
  SECTION("at its end, when nobody looked before") {
    Spec spec = payload(root, {"forks", "7"});
    spec.resources.pids_max = 6;
    for (int i = 0; i < 10; ++i) {
      Container box = launch(spec);
      auto watch = need(box.watch({.look_every = 0ms}));
      const auto events = events_of(watch);
      CHECK(times(events, WatchEvent::pids_limit) == 2);
      CHECK(events.back().kind == WatchEvent::ended);
      CHECK(to_string(wait(box)) == "exited with status 0, pids limit hit 2 times");
    }
  }
}

TEST_CASE("frozen and thawed are told", "[launch][measures][.root]") {
  if (v2() == nullptr) CONDROID_SKIP("needs a v2 hierarchy");
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.resources.cgroup = CgroupMode::always;
  Container box = launch(spec);
  auto watch = need(box.watch());
  const CgroupDir dir = cgroup_of(box, *v2());
  for (int i = 0; i < 3; ++i) {
    CHECK_FALSE(need(watch.next()));
    need(dir.freeze());
    auto event = next(watch);
    REQUIRE(event);
    CHECK(event->kind == WatchEvent::frozen);
    // Who comes later is told how it stands.
    auto late = need(box.watch());
    event = next(late);
    REQUIRE(event);
    CHECK(event->kind == WatchEvent::frozen);
    need(dir.thaw());
    event = next(watch);
    REQUIRE(event);
    CHECK(event->kind == WatchEvent::thawed);
  }
  REQUIRE(box.kill());
  CHECK(times(events_of(watch), WatchEvent::ended) == 1);
}

TEST_CASE("the freezer of v1 is looked at", "[launch][measures][.root]") {
  const CgroupHierarchy* freezer = hierarchy_of("freezer");
  if (freezer == nullptr) {
    CHECK(v2() != nullptr);  // then the test above is what there is
    return;
  }
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  // A cgroup there, and in no hierarchy that would tell more.
  spec.resources.settings = {{.file = "freezer.nothing", .value = "1", .optional = true}};
  Container box = launch(spec);
  auto watch = need(box.watch({.look_every = 20ms}));
  const CgroupDir dir = cgroup_of(box, *freezer);
  need(dir.freeze());
  auto event = next(watch);
  REQUIRE(event);
  CHECK(event->kind == WatchEvent::frozen);
  need(dir.thaw());
  event = next(watch);
  REQUIRE(event);
  CHECK(event->kind == WatchEvent::thawed);
}

TEST_CASE("a pressure threshold is told through an event loop of somebody's own",
          "[long][launch][measures][.root]") {
  if (v2() == nullptr) CONDROID_SKIP("needs a v2 hierarchy");
  const TempRoot root;
  Spec spec = piped(payload(root, {"burn", "8"}));
  spec.resources.cgroup = CgroupMode::always;
  Container box = launch(spec);
  (void)read_until(box.take_stdout(), "ready\n");
  if (!cgroup_of(box, *v2()).read("cpu.pressure")) {
    const auto off = failure_of(box.watch({.pressure = {{.resource = PressureTrigger::cpu}}}));
    CHECK_THAT(off, FailsWith(Errc::unsupported, Step::watch, "cpu pressure"));
    CHECK(off.error->hint.find("psi=1") != std::string::npos);
    return;
  }
  const PressureTrigger never{.resource = PressureTrigger::io, .stall = 1900ms, .window = 2s};
  const PressureTrigger soon{.resource = PressureTrigger::cpu, .stall = 50ms, .window = 2s};
  auto watch = need(box.watch({.pressure = {never, soon}}));
  // Polled by way of another epoll, as a loop has it: asking must not make it forget.
  const condroid::Fd loop(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event add{};
  add.events = EPOLLIN;
  REQUIRE(::epoll_ctl(loop.get(), EPOLL_CTL_ADD, watch.poll_fd().get(), &add) == 0);
  for (std::uint64_t i = 1; i <= 2; ++i) {
    pollfd outer{loop.get(), POLLIN, 0};
    REQUIRE(::poll(&outer, 1, 20000) == 1);
    CHECK(::poll(&outer, 1, 0) == 1);
    epoll_event ready{};
    CHECK(::epoll_wait(loop.get(), &ready, 1, 0) == 1);
    const auto event = need(watch.next());
    REQUIRE(event);
    CHECK(event->kind == WatchEvent::pressure);
    CHECK(event->trigger == 1);
    CHECK(event->total == i);
    CHECK_FALSE(need(watch.next()));
  }
  CHECK(need(box.stats()).cpu_pressure->some.total > 50ms);
  REQUIRE(box.kill());
  const auto rest = events_of(watch);
  CHECK(rest.back().kind == WatchEvent::ended);
  CHECK(wait(box).cpu_time->total > 50ms);
}

TEST_CASE("a trigger that cannot be is refused by name", "[launch][measures][.root]") {
  if (v2() == nullptr) CONDROID_SKIP("needs a v2 hierarchy");
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.resources.cgroup = CgroupMode::always;
  Container box = launch(spec);
  if (!cgroup_of(box, *v2()).read("cpu.pressure")) return;  // refused whole, see above
  const auto before = Surroundings::now();
  const auto attempt = [&](PressureTrigger t) {
    return failure_of(box.watch({.pressure = {{.window = 2s}, t}}));
  };
  CHECK_THAT(attempt({.stall = 1ms, .window = 100ms}),
             FailsWith(EINVAL, Step::watch, "memory pressure, some 1000 us of 100000 us"));
  CHECK_THAT(attempt({.stall = 3s, .window = 2s}), FailsWith(EINVAL, Step::watch));
  CHECK_THAT(attempt({.stall = 0s, .window = 2s}), FailsWith(EINVAL, Step::watch));
  CHECK_THAT(attempt({.stall = -1s, .window = -2s}), FailsWith(EINVAL, Step::watch));
  CHECK_THAT(attempt({.resource = static_cast<PressureTrigger::Resource>(9)}),
             FailsWith(EINVAL, Step::watch));
  // The descriptor that tells the end is one for all who watch.
  const auto after = Surroundings::now();
  CHECK(after.descriptors.size() <= before.descriptors.size() + 1);

  if (const CgroupHierarchy* memory = hierarchy_of("memory"); !memory->v2) {
    spec.resources = {.memory_max = 64_MiB};
    Container old = launch(spec);
    CHECK_THAT(failure_of(old.watch({.pressure = {{}}})),
               FailsWith(Errc::unsupported, Step::watch, "no cgroup of v2"));
    CHECK(old.watch());
  }
}

TEST_CASE("a watch outlives the handle, and an end that nobody took", "[launch][measures][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.resources.cgroup = CgroupMode::always;
  const auto before = Surroundings::quiet();
  {
    std::optional<Watch> watch;
    {
      Container box = launch(spec);
      watch.emplace(need(box.watch()));
      CHECK_FALSE(need(watch->next()));
      auto other = need(box.watch());
      *watch = std::move(other);
    }
    const auto events = events_of(*watch);
    CHECK(events.size() == 1);
  }
  const auto after = Surroundings::settled(before);
  CHECK(after == before);
}

TEST_CASE("a watch is inert in a forked child", "[launch][measures][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.resources.cgroup = CgroupMode::always;
  Container box = launch(spec);
  auto watch = need(box.watch());
  CHECK(condroid::test::in_child([&] {
          const auto event = watch.next();
          condroid::test::must(!event && event.error().is(Errc::in_forked_child), "next");
          const auto stats = box.stats();
          condroid::test::must(!stats && stats.error().is(Errc::in_forked_child), "stats");
          const auto second = box.watch();
          condroid::test::must(!second && second.error().is(Errc::in_forked_child), "watch");
        }) == "");
  REQUIRE(box.kill());
  CHECK(events_of(watch).size() == 1);
}

TEST_CASE("the death of the zygote ends a watch", "[launch][measures][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  auto own = need(Runtime::open(
      {.state_dir = condroid::HostPath(fmt::format("/tmp/test-watch-{}", ::getpid()))}));
  Spec spec = payload(root, {"feed", "100000000", "stay"});
  spec.process.stdio = {Stream::null, Stream::pipe, Stream::null};
  spec.resources.memory_max = 16_MiB;
  auto box = need(own.launch(spec));
  (void)read_until(box.take_stdout(), "ready\n");
  REQUIRE(::kill(own.zygote_pid().value, SIGKILL) == 0);
  auto watch = need(box.watch());
  const auto events = events_of(watch);
  CHECK(times(events, WatchEvent::oom_kill) == 1);
  const Exit e = wait(box);
  CHECK(e.kind == Exit::lost);
  CHECK(e.oom_kills == 1);
}

TEST_CASE("memory above memory.high is told", "[launch][.v2]") {
  const CgroupHierarchy* memory = hierarchy_of("memory");
  REQUIRE(memory != nullptr);
  REQUIRE(memory->v2);  // v1 has no such limit: docs/measures.md
  const TempRoot root;
  Spec spec = piped(payload(root, {"use", "24000000", "0"}));
  spec.resources.memory_high = 16_MiB;
  Container box = launch(spec);
  auto watch = need(box.watch());
  std::optional<WatchEvent> event = next(watch, 60s);
  REQUIRE(event);
  CHECK(event->kind == WatchEvent::memory_high);
  CHECK(event->count >= 1);
  REQUIRE(box.kill());
  CHECK(times(events_of(watch), WatchEvent::ended) == 1);
}
