// A launch on its way, and the container that runs: waiting, signals, ends, letting go, giving up.
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "containers.hpp"

using condroid::actor_of;
using condroid::Allow;
using condroid::Bind;
using condroid::Bytes;
using condroid::CgroupMode;
using condroid::Container;
using condroid::describe;
using condroid::Errc;
using condroid::Exit;
using condroid::Fd;
using condroid::IdMap;
using condroid::Launch;
using condroid::LaunchEvent;
using condroid::LaunchOptions;
using condroid::Namespace;
using condroid::Pid;
using condroid::Plan;
using condroid::Result;
using condroid::Rlimit;
using condroid::Runtime;
using condroid::Signal;
using condroid::Spec;
using condroid::Stdio;
using condroid::Step;
using condroid::step_of;
using condroid::Stream;
using condroid::Tmpfs;
using condroid::test::attempt;
using condroid::test::children_of;
using condroid::test::drive;
using condroid::test::facts;
using condroid::test::fails_with;
using condroid::test::FailsWith;
using condroid::test::Failure;
using condroid::test::failure_of;
using condroid::test::Forked;
using condroid::test::in_child;
using condroid::test::is_alive;
using condroid::test::launch;
using condroid::test::launch_and_wait;
using condroid::test::must;
using condroid::test::need;
using condroid::test::own_cgroups;
using condroid::test::payload;
using condroid::test::privileged;
using condroid::test::read_all;
using condroid::test::read_file;
using condroid::test::read_until;
using condroid::test::runtime;
using condroid::test::Surroundings;
using condroid::test::TempDir;
using condroid::test::TempRoot;
using condroid::test::wait;
using namespace condroid::literals;
using namespace std::chrono_literals;

namespace {

bool readable(condroid::FdView fd, int milliseconds) {
  pollfd waiter{fd.get(), POLLIN, 0};
  return ::poll(&waiter, 1, milliseconds) == 1;
}

/// Waits until something is so that happens in somebody else's time.
template <class Check>
bool eventually(Check check) {
  for (int i = 0; i < 500; ++i) {
    if (check()) return true;
    std::this_thread::sleep_for(10ms);
  }
  return check();
}

/// A container that takes as many kinds of op as this user can have.
Spec rich(const TempRoot& root) {
  Spec spec = payload(root, {"exit", "3"});
  spec.root.ephemeral = true;
  spec.namespaces |= Namespace::time;
  spec.time.monotonic = 5s;
  spec.domainname = "test.example";
  spec.mounts = {Tmpfs{.target = "/mnt"_guest},
                 Bind{.source = root.host("data"), .target = "/mnt/data"_guest}};
  spec.terminal.console = true;
  spec.terminal.ttys = 2;
  spec.terminal.tty_dir = "lxc";
  spec.process.init = true;
  spec.process.cwd = "/mnt"_guest;
  spec.process.umask = condroid::Mode{0027};
  spec.process.oom_score_adj = 100;
  // Not below what the tests have, which takes rights.
  spec.process.scheduling.nice = std::min(19, ::getpriority(PRIO_PROCESS, 0) + 3);
  spec.process.rlimits = {{.resource = Rlimit::core, .soft = 0, .hard = 0}};
  spec.security.sysctls = {{.name = "net.ipv4.ip_default_ttl", .value = "99"}};
  if (privileged()) {
    spec.resources.pids_max = 50;
    spec.resources.memory_max = 512_MiB;
    spec.resources.cgroup = CgroupMode::always;
    spec.idmap = {.kind = IdMap::ranges,
                  .uids = {{.inside = 0, .outside = 100000, .count = 65536}},
                  .gids = {{.inside = 0, .outside = 100000, .count = 65536}}};
    spec.root.idmapped = true;
    std::get<Bind>(spec.mounts[1]).idmapped = true;
  }
  return spec;
}
std::shared_ptr<const Plan> plan_of(const Spec& spec) {
  return std::make_shared<const Plan>(need(condroid::compile(spec, facts())));
}

}  // namespace

// ---- waiting -----------------------------------------------------------------------------------

TEST_CASE("the end of a container can be asked for as often as one likes",
          "[launch][.root][.userns]") {
  const TempRoot root;
  Container box = launch(payload(root, {"exit", "42"}));
  CHECK(box.name() == "test");
  const Exit first = need(box.wait());
  CHECK(to_string(first) == "exited with status 42");
  CHECK(first.shell_status() == 42);
  CHECK_FALSE(first.success());
  CHECK(to_string(need(box.wait())) == "exited with status 42");
  CHECK(need(box.wait_for(0ms)).has_value());
  CHECK(need(box.step()).has_value());
  CHECK(box.kill());
}

TEST_CASE("waiting has a limit", "[launch][.root][.userns]") {
  const TempRoot root;
  Container box = launch(payload(root, {"pause"}));
  const auto begin = std::chrono::steady_clock::now();
  CHECK_FALSE(need(box.wait_for(100ms)).has_value());
  const auto took = std::chrono::steady_clock::now() - begin;
  CHECK(took >= 100ms);
  CHECK(took < 10s);
  CHECK_FALSE(need(box.wait_for(0ms)).has_value());
  CHECK_FALSE(need(box.step()).has_value());
  CHECK(is_alive(box.pid().value));
  REQUIRE(box.kill());
  CHECK(to_string(need(box.wait())) == "killed by signal 9 (SIGKILL)");
  CHECK_FALSE(is_alive(box.pid().value));
}

TEST_CASE("one descriptor tells of the end, and of output", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"cat"});
  SECTION("nothing but the end") {
    spec.process.stdio = Stdio::pipe;
    Container box = launch(spec);
    Fd in = box.take_stdin();
    CHECK_FALSE(readable(box.poll_fd(), 50));
    in.reset();
    CHECK(readable(box.poll_fd(), 10000));
    std::optional<Exit> end;
    while (!end) {
      REQUIRE(readable(box.poll_fd(), 10000));
      end = need(box.step());
    }
    CHECK(end->success());
  }
  SECTION("more output than a pipe holds") {
    spec.process.stdio = {Stream::pipe, Stream::capture, Stream::capture};
    Container box = launch(spec);
    Fd in = box.take_stdin();
    CHECK_FALSE(readable(box.poll_fd(), 50));
    const std::string block(10000, 'x');
    std::thread writer([&] {
      for (int i = 0; i < 30; ++i) condroid::test::write_to(in, block);
      in.reset();
    });
    std::optional<Exit> end;
    while (!end) {
      REQUIRE(readable(box.poll_fd(), 10000));
      end = need(box.step());
    }
    writer.join();
    CHECK(end->out.size() == 300000);
  }
}

TEST_CASE("a descriptor that has nothing to tell stays silent", "[launch][.root][.userns]") {
  // A stream that ended would be readable for ever: somebody's loop would spin.
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.terminal.console = true;
  spec.process.init = GENERATE(false, true);
  Container box = launch(spec);
  // The payload says that it is ready whenever it comes to that.
  bool silent = false;
  for (const auto until = std::chrono::steady_clock::now() + 20s;
       !silent && std::chrono::steady_clock::now() < until;) {
    (void)need(box.step());
    silent = !readable(box.poll_fd(), 200);
  }
  CHECK(silent);
}

// ---- ends --------------------------------------------------------------------------------------

TEST_CASE("the ways to end are told apart", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"crash"});
  spec.process.rlimits = {{.resource = Rlimit::core, .soft = 0, .hard = 0}};
  const Exit crash = launch_and_wait(spec);
  CHECK(to_string(crash) == "killed by signal 11 (SIGSEGV)");
  CHECK(crash.kind == Exit::signaled);
  CHECK(crash.shell_status() == 139);
  CHECK_FALSE(crash.core_dumped);

  const std::string pattern = read_file("/proc/sys/kernel/core_pattern");
  rlimit own{};
  REQUIRE(::getrlimit(RLIMIT_CORE, &own) == 0);
  if (pattern[0] != '|' && pattern[0] != '/' && own.rlim_max >= (1U << 24U)) {
    spec.process.rlimits = {{.resource = Rlimit::core, .soft = own.rlim_max, .hard = own.rlim_max}};
    spec.process.cwd = "/dev/shm"_guest;  // where the core may be written, and goes away
    CHECK(to_string(launch_and_wait(spec)) == "killed by signal 11 (SIGSEGV), core dumped");
  }

  spec.process.rlimits.clear();
  spec.process.cwd = "/"_guest;
  spec.process.argv = {"/bin/payload", "spin", "0.15"};
  const Exit busy = launch_and_wait(spec);
  CHECK(busy.success());
  CHECK(busy.user_time + busy.system_time >= 140ms);
  CHECK(busy.user_time + busy.system_time < 5s);
  spec.process.argv = {"/bin/payload", "eat", "30000000"};
  const Exit large = launch_and_wait(spec);
  CHECK(large.peak_rss >= Bytes{30000000});
  CHECK(large.peak_rss <= Bytes{60000000});
}

TEST_CASE("a container is stopped politely, then for good", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"term", "6"});
  spec.process.stdio = {Stream::null, Stream::pipe, Stream::null};
  SECTION("it obeys") {
    Container box = launch(spec);
    (void)read_until(box.take_stdout(), "ready\n");
    CHECK(to_string(need(box.stop())) == "exited with status 6");
    CHECK(to_string(need(box.stop())) == "exited with status 6");
  }
  SECTION("it does not") {
    spec.process.argv = {"/bin/payload", "stubborn"};
    Container box = launch(spec);
    (void)read_until(box.take_stdout(), "ready\n");
    const auto begin = std::chrono::steady_clock::now();
    CHECK(to_string(need(box.stop(150ms))) == "killed by signal 9 (SIGKILL)");
    CHECK(std::chrono::steady_clock::now() - begin >= 150ms);
  }
  SECTION("with another signal") {
    spec.process.argv = {"/bin/payload", "signals"};
    Container box = launch(spec);
    const Fd out = box.take_stdout();
    (void)read_until(out, "ready\n");
    CHECK(to_string(need(box.stop(200ms, Signal{SIGINT}))) == "killed by signal 9 (SIGKILL)");
    CHECK(read_all(out) == "INT\n");
  }
}

TEST_CASE("the end of the handle is the end of the container", "[launch][.root][.userns]") {
  const TempRoot root;
  const Surroundings before = (launch_and_wait(payload(root, {"exit"})), Surroundings::quiet());
  Spec spec = payload(root, {"stubborn", "3"});
  spec.process.stdio = {Stream::null, Stream::pipe, Stream::null};
  SECTION("by its destructor") {
    Pid pid;
    {
      Container box = launch(spec);
      pid = box.pid();
      (void)read_until(box.take_stdout(), "ready\n");
    }
    CHECK_FALSE(is_alive(pid.value));
  }
  SECTION("by assignment") {
    Container box = launch(spec);
    const Pid first = box.pid();
    box = launch(payload(root, {"exit", "1"}));
    CHECK_FALSE(is_alive(first.value));
    CHECK(need(box.wait()).code == 1);
  }
  SECTION("moved, it lives on") {
    Container box = launch(spec);
    Container other = std::move(box);
    CHECK(is_alive(other.pid().value));
  }
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("captured output is complete though a daemon holds the pipe",
          "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"daemon"});
  // The daemon outlives the command: nobody but a pid namespace or a cgroup would take it along.
  spec.namespaces -= Namespace::pid;
  spec.security.allow |= Allow::host_pids;
  spec.resources.cgroup = CgroupMode::never;
  const auto begin = std::chrono::steady_clock::now();
  const Exit e = launch_and_wait(spec);
  CHECK(std::chrono::steady_clock::now() - begin < 5s);
  CHECK(e.out == "daemon\nlast words\n");
  CHECK(e.code == 5);
  int found = 0;
  for (const std::string& name : condroid::test::entries_of("/proc")) {
    const int pid = std::atoi(name.c_str());
    if (pid <= 0 ||
        read_file("/proc/" + name + "/cmdline") != std::string("/bin/payload\0daemon\0", 20))
      continue;
    ::kill(pid, SIGKILL);
    ++found;
  }
  CHECK(found == 1);
}

// ---- letting go --------------------------------------------------------------------------------

TEST_CASE("a detached container lives on, and is cleaned up after", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"exit"});
  spec.process.stdio = Stdio::null;
  if (privileged()) spec.resources.pids_max = 10;
  const Surroundings before = (launch_and_wait(spec), Surroundings::quiet());
  spec.process.argv.back() = "pause";
  Pid pid;
  {
    Container box = launch(spec);
    pid = box.pid();
    REQUIRE(box.detach());
  }
  std::this_thread::sleep_for(50ms);
  CHECK(is_alive(pid.value));
  CHECK(own_cgroups().size() == (privileged() ? 1 : 0));
  // Whose it is now: nobody's but the kernel's and the zygote's.
  REQUIRE(::kill(pid.value, SIGKILL) == 0);
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("a detached container outlives its program", "[launch][.root][.userns]") {
  const TempRoot root;
  const TempDir place;
  Spec spec = payload(root, {"pause"});
  spec.process.stdio = Stdio::null;
  CHECK(in_child([&] {
          Container box = launch(spec);
          condroid::test::make_file(
              place / "pids", fmt::format("{} {}", box.pid().value, runtime().zygote_pid().value));
          must(box.detach());
        }) == "");
  int pid = 0, zygote = 0;
  REQUIRE(std::sscanf(read_file(place / "pids").c_str(), "%d %d", &pid, &zygote) == 2);
  std::this_thread::sleep_for(100ms);
  CHECK(is_alive(pid));
  CHECK(is_alive(zygote));
  REQUIRE(::kill(pid, SIGKILL) == 0);
  // The zygote stayed as its monitor only.
  CHECK(eventually([&] { return !is_alive(pid) && !is_alive(zygote); }));
}

TEST_CASE("the end of a Runtime is the end of its zygote", "[launch][attack][.root][.userns]") {
  const std::string dir = fmt::format("/tmp/test-state-{}-c", ::getpid());
  const TempRoot root;
  Pid zygote;
  {
    const Runtime other = need(Runtime::open({.state_dir = condroid::HostPath(dir)}));
    zygote = other.zygote_pid();
    CHECK(is_alive(zygote.value));
    CHECK(children_of(::getpid()).empty());  // it is nobody's child
    std::optional<Runtime> copy = other;
    Container box = need(copy->launch(payload(root, {"pause"})));
    copy.reset();
    CHECK(is_alive(box.pid().value));
  }
  CHECK(eventually([&] { return !is_alive(zygote.value); }));
  CHECK(eventually([&] { return ::access(dir.c_str(), F_OK) < 0; }));
}

// ---- callbacks and deadlines -------------------------------------------------------------------

TEST_CASE("callbacks are told each state, in order", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"exit", "0"});
  spec.process.init = GENERATE(false, true);
  if (GENERATE(false, true)) spec.namespaces |= Namespace::user;
  std::vector<LaunchEvent::Kind> seen;
  std::vector<int> pids;
  std::string uts;
  bool mounted_early = true;
  LaunchOptions options;
  options.on_event = [&](const LaunchEvent& event) -> Result<void> {
    seen.push_back(event.kind);
    pids.push_back(event.pid.value);
    CHECK(event.name == "test");
    if (event.kind == LaunchEvent::configured) {
      CHECK(is_alive(event.pid.value));
      uts = condroid::test::own_namespace("uts", std::to_string(event.pid.value));
      mounted_early = read_file(fmt::format("/proc/{}/mountinfo", event.pid.value))
                          .find("/dev/shm-of-the-container") != std::string::npos;
    }
    return {};
  };
  Container box = launch(spec, options);
  (void)wait(box);
  CHECK(seen == std::vector<LaunchEvent::Kind>{LaunchEvent::configured, LaunchEvent::set_up,
                                               LaunchEvent::started, LaunchEvent::stopped});
  CHECK(pids == std::vector<int>(4, box.pid().value));
  CHECK_FALSE(mounted_early);
  if (!uts.empty()) CHECK(uts != condroid::test::own_namespace("uts"));
}

TEST_CASE("a callback's error ends the launch, or is told at the end", "[launch][.root][.userns]") {
  const TempRoot root;
  const Surroundings before = (launch_and_wait(payload(root, {"exit"})), Surroundings::quiet());
  const auto fails_at = GENERATE(LaunchEvent::configured, LaunchEvent::set_up, LaunchEvent::started,
                                 LaunchEvent::stopped);
  CAPTURE(static_cast<int>(fails_at));
  std::vector<LaunchEvent::Kind> seen;
  LaunchOptions options;
  options.on_event = [&](const LaunchEvent& event) -> Result<void> {
    seen.push_back(event.kind);
    if (event.kind == fails_at)
      return condroid::fail(EXDEV, Step::callback, "of the test's own making");
    return {};
  };
  const bool early = fails_at == LaunchEvent::configured || fails_at == LaunchEvent::set_up;
  if (early) {
    CHECK_THAT(attempt(payload(root, {"pause"}), options),
               FailsWith(EXDEV, Step::callback, "of the test's own making"));
    CHECK(seen.back() == fails_at);
  } else {
    Container box = launch(payload(root, {"exit", "4"}), options);
    const Exit e = wait(box);
    CHECK(e.code == 4);
    REQUIRE(e.cleanup_errors.size() == 1);
    CHECK(e.cleanup_errors.front().find("of the test's own making") != std::string::npos);
  }
  options = {};
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("a launch has a deadline", "[launch][.root][.userns]") {
  const TempRoot root;
  const Surroundings before = (launch_and_wait(rich(root)), Surroundings::quiet());
  const auto plan = plan_of(rich(root));
  const std::size_t pivot = need(plan->find("pivot root"));
  const auto begin = std::chrono::steady_clock::now();
  const auto deadline = 500ms * condroid::test::slow();
  const auto failed =
      failure_of(runtime().launch(plan, {.deadline = deadline, .stop_before = pivot}));
  CHECK_THAT(failed, FailsWith(Errc::deadline, Step::pivot_root));
  const auto took = std::chrono::steady_clock::now() - begin;
  CHECK(took >= deadline);
  CHECK(took < deadline + 10s);
  CHECK(Surroundings::settled(before) == before);
}

// ---- giving up, at every op --------------------------------------------------------------------

TEST_CASE("a launch can be given up before every op", "[launch][.root][.userns]") {
  const TempRoot root;
  enum class How { cancel, destroy, kill, resume };
  const How how = GENERATE(How::cancel, How::destroy, How::kill, How::resume);
  CAPTURE(static_cast<int>(how));
  const auto plan = plan_of(rich(root));
  {
    // The Runtime's own directories are made at the first launch that needs them, and stay.
    Container box = need(runtime().launch(plan));
    REQUIRE(wait(box).code == 3);
  }
  const Surroundings before = Surroundings::quiet();
  for (std::size_t i = 0; i < plan->ops.size(); ++i) {
    INFO("op " << i << " of " << plan->ops.size() << ": " << describe(plan->ops[i]));
    {
      Launch launch = need(runtime().start(plan, {.stop_before = i}));
      const auto stopped = drive(launch);
      if (!stopped) FAIL(to_string(stopped.error()));
      REQUIRE(launch.stopped());
      REQUIRE_FALSE(stopped->has_value());
      const int pid = launch.pid().value;
      switch (how) {
        case How::destroy:
          break;
        case How::cancel:
          launch.cancel();
          CHECK_THAT(failure_of(drive(launch, true)),
                     FailsWith(Errc::cancelled, step_of(plan->ops[i])));
          break;
        case How::kill: {
          if (pid == 0) {  // there is nobody yet
            launch.cancel();
            CHECK_FALSE(drive(launch, true).has_value());
            break;
          }
          REQUIRE(::kill(pid, SIGKILL) == 0);
          // While the host is at work the child is at the barrier.
          const bool at_barrier = actor_of(plan->ops[i]) == condroid::op::Actor::host;
          const Step where = at_barrier ? Step::sync : step_of(plan->ops[i]);
          CHECK_THAT(failure_of(drive(launch, true)),
                     FailsWith(Errc::child_vanished, where, "signal 9"));
          break;
        }
        case How::resume: {
          launch.resume();
          auto done = drive(launch);
          if (!done) FAIL(to_string(done.error()));
          REQUIRE(done->has_value());
          CHECK(wait(**done).code == 3);
          break;
        }
      }
      if (pid != 0) CHECK((how == How::destroy || !is_alive(pid)));
    }
    CHECK(Surroundings::settled(before) == before);
  }
}

TEST_CASE("what a stopped zygote was asked for does not come to life later",
          "[long][launch][.root]") {
  const TempRoot root;
  const Runtime own = need(Runtime::open({.state_dir = root.host("state")}));
  CHECK(need(need(own.launch(payload(root, {"exit"}))).wait()).success());
  const pid_t zygote = own.zygote_pid().value;
  ::kill(zygote, SIGSTOP);
  const auto asked = own.launch(payload(root, {"touch", "/tmp/late"}), {.deadline = 200ms});
  ::kill(zygote, SIGCONT);
  CHECK_THAT(failure_of(asked), FailsWith(Errc::deadline, Step::clone));
  // It has seen to everything that came before this.
  CHECK(need(need(own.launch(payload(root, {"exit"}))).wait()).success());
  CHECK(condroid::test::read_file(root / "tmp/late").empty());
  CHECK(::access((root / "tmp/late").c_str(), F_OK) == -1);
}

TEST_CASE("a deadline passes before every op", "[launch][.root][.userns]") {
  const TempRoot root;
  const auto plan = plan_of(rich(root));
  {
    Container box = need(runtime().launch(plan));
    REQUIRE(wait(box).code == 3);
  }
  const Surroundings before = Surroundings::quiet();
  for (std::size_t i = 0; i < plan->ops.size(); ++i) {
    INFO("op " << i << " of " << plan->ops.size() << ": " << describe(plan->ops[i]));
    // Long enough to come there: a busy machine is given more.
    for (auto deadline = 60ms;; deadline *= 2) {
      REQUIRE(deadline < 10s);
      Launch launch = need(runtime().start(plan, {.deadline = deadline, .stop_before = i}));
      const int pid_before = launch.pid().value;
      auto reached = drive(launch);
      if (!reached) {
        CHECK(reached.error().is(Errc::deadline));  // nothing else may happen on the way
        if (!reached.error().is(Errc::deadline)) FAIL(to_string(reached.error()));
        continue;
      }
      REQUIRE(launch.stopped());
      const int pid = std::max(pid_before, launch.pid().value);
      const Failure failed = failure_of(drive(launch, true));
      CHECK_THAT(failed, FailsWith(Errc::deadline, step_of(plan->ops[i]),
                                   fmt::format("at op {}: {}", i, describe(plan->ops[i]))));
      if (pid != 0) CHECK_FALSE(is_alive(pid));
      break;
    }
    CHECK(Surroundings::settled(before) == before);
  }
}

TEST_CASE("a launch that is stopped can be looked at", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  const auto plan = plan_of(payload(root, {"exit"}));
  Launch launch = need(runtime().start(plan, {.stop_before = need(plan->find("pivot root"))}));
  REQUIRE(drive(launch).has_value());
  REQUIRE(launch.stopped());
  CHECK(launch.state() == condroid::protocol::State::stopped);
  const std::string mounts = read_file(fmt::format("/proc/{}/mountinfo", launch.pid().value));
  CHECK(mounts.find(root.str()) != std::string::npos);
  // Nothing happens by itself.
  std::this_thread::sleep_for(30ms);
  CHECK_FALSE(need(launch.step()).has_value());
  CHECK(launch.stopped());
  launch.resume();
  CHECK(drive(launch)->has_value());
}

TEST_CASE("the blocking launch says that it was stopped before an op of the host",
          "[launch][.root][.userns]") {
  const TempRoot root;
  const auto plan = plan_of(payload(root, {"exit"}));
  CHECK(fails_with(runtime().launch(plan, {.stop_before = 0}), Errc::stopped));
  CHECK_THAT(failure_of(runtime().start(plan, {.stop_before = plan->ops.size()})),
             FailsWith(Errc::bad_spec, Step::clone, "stop_before"));
}

// ---- many --------------------------------------------------------------------------------------

TEST_CASE("a launch that was moved from has nothing on its way", "[launch][.root][.userns]") {
  const TempRoot root;
  const auto plan = plan_of(payload(root, {"exit", "0"}));
  Launch launch = need(runtime().start(plan));
  Launch other = std::move(launch);
  // NOLINTBEGIN(bugprone-use-after-move): that is what is tested
  const auto done = launch.step();
  REQUIRE_FALSE(done);
  CHECK(done.error().is_errno(ESRCH));
  CHECK_FALSE(launch.interest().fd.valid());
  CHECK(launch.timeout() == -1);
  CHECK_FALSE(launch.stopped());
  CHECK(launch.pid().value == 0);
  launch.cancel();
  launch.resume();
  launch = std::move(other);
  // NOLINTEND(bugprone-use-after-move)
  auto box = drive(launch);
  REQUIRE(box);
  CHECK((*box)->wait());
}

TEST_CASE("any number of launches is on its way in one thread", "[launch][.root][.userns]") {
  const TempRoot root;
  const Surroundings before = (launch_and_wait(payload(root, {"exit"})), Surroundings::quiet());
  const auto plan = plan_of(payload(root, {"exit", "5"}));
  std::vector<Launch> launches;
  std::vector<Container> boxes;
  constexpr std::size_t count = 40;
  for (std::size_t i = 0; i < count; ++i) launches.push_back(need(runtime().start(plan)));
  while (!launches.empty()) {
    std::vector<pollfd> waiters;
    for (std::size_t i = 0; i < launches.size();) {
      auto done = launches[i].step();
      if (!done) FAIL(to_string(done.error()));
      if (*done) {
        boxes.push_back(std::move(**done));
        launches.erase(launches.begin() + static_cast<std::ptrdiff_t>(i));
        continue;
      }
      const auto [fd, events] = launches[i++].interest();
      waiters.push_back({fd.get(), events, 0});
    }
    if (!waiters.empty()) REQUIRE(::poll(waiters.data(), waiters.size(), 10000) > 0);
  }
  CHECK(boxes.size() == count);
  for (Container& box : boxes) CHECK(wait(box).code == 5);
  boxes.clear();
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("a container outlives the thread that launched it", "[launch][.root][.userns]") {
  const TempRoot root;
  std::optional<Container> box;
  std::thread([&] { box = launch(payload(root, {"pause"})); }).join();
  std::this_thread::sleep_for(100ms);
  CHECK(is_alive(box->pid().value));
  // And one whose Runtime was opened by such a thread.
  std::optional<Runtime> other;
  std::thread([&] {
    other = need(Runtime::open(
        {.state_dir = condroid::HostPath(fmt::format("/tmp/test-state-{}-d", ::getpid()))}));
  }).join();
  Container second = need(other->launch(payload(root, {"pause"})));
  std::this_thread::sleep_for(100ms);
  CHECK(is_alive(second.pid().value));
}

// ---- the host's own processes ------------------------------------------------------------------

TEST_CASE("the program's own handling of children is left alone", "[launch][.root][.userns]") {
  const TempRoot root;
  CHECK(in_child([&] {
          ::signal(SIGCHLD, SIG_IGN);  // the kernel reaps, and statuses are lost
          Container box = launch(payload(root, {"exit", "11"}));
          must(wait(box).code == 11, "the status was lost");
          must(children_of(::getpid()).empty(), "a child, or a zombie");
          ::signal(SIGCHLD, SIG_DFL);
          Container again = launch(payload(root, {"exit", "12"}));
          must(::waitpid(-1, nullptr, __WALL) < 0 && errno == ECHILD, "somebody is our child");
          must(wait(again).code == 12, "the status was lost");
        }) == "");
}

TEST_CASE("in a forked child everything is inert", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  if (privileged()) spec.resources.pids_max = 10;
  Container box = launch(spec);
  const auto plan = plan_of(payload(root, {"exit"}));
  auto pending =
      std::make_unique<Launch>(need(runtime().start(plan, {.stop_before = plan->ops.size() - 1})));
  REQUIRE(drive(*pending).has_value());
  const Runtime shared = runtime();
  Forked child([&] {
    const auto inert = [](const auto& result) {
      return !result && result.error().is(Errc::in_forked_child);
    };
    if (!inert(box.wait())) return 1;
    if (!inert(box.step())) return 2;
    if (!inert(box.signal(Signal{SIGKILL}))) return 3;
    if (!inert(box.kill())) return 4;
    if (!inert(box.stop())) return 5;
    if (!inert(box.detach())) return 6;
    if (!inert(shared.launch(plan))) return 7;
    if (!inert(shared.facts())) return 8;
    if (!inert(pending->step())) return 9;
    pending.reset();
    { const Container gone = std::move(box); }
    return 0;
  });
  CHECK(child.wait() == 0);
  CHECK(is_alive(box.pid().value));
  CHECK(is_alive(pending->pid().value));
  CHECK(own_cgroups().size() == (privileged() ? 1 : 0));
  pending->resume();
  CHECK(drive(*pending)->has_value());
  CHECK(box.kill());
  CHECK(to_string(wait(box)) == "killed by signal 9 (SIGKILL)");
}

// ---- timeline ----------------------------------------------------------------------------------

TEST_CASE("a traced launch tells when each op began", "[launch][.root][.userns]") {
  const TempRoot root;
  const auto plan = plan_of(rich(root));
  Container box = need(runtime().launch(plan, {.trace = true}));
  const condroid::Timeline t = box.timeline();
  CHECK(t.name == "test");
  std::vector<bool> seen(plan->ops.size());
  for (std::size_t i = 0; i < t.entries.size(); ++i) {
    const auto& e = t.entries[i];
    REQUIRE(e.op < plan->ops.size());
    INFO(e.op << " " << e.object << " by " << e.actor);
    seen[e.op] = true;
    CHECK(e.step == step_of(plan->ops[e.op]));
    CHECK(e.object == describe(plan->ops[e.op]));
    CHECK(e.end >= e.begin);
    CHECK(e.begin >= 0ns);
    CHECK(e.end <= t.total + 10ms);
    if (i > 0) CHECK(e.begin >= t.entries[i - 1].begin);
  }
  for (std::size_t i = 0; i < seen.size(); ++i) {
    INFO(i << " " << describe(plan->ops[i]));
    CHECK(seen[i]);
  }
  CHECK(t.chrome_json().find("\"traceEvents\"") != std::string::npos);
  CHECK(t.svg().starts_with("<svg"));
  Container plain = launch(payload(root, {"exit"}));
  CHECK(plain.timeline().entries.empty());
}
