// Programs of the caller's at points of a container's life.
#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "containers.hpp"
#include "forked.hpp"
#include "networks.hpp"

using condroid::Container;
using condroid::Errc;
using condroid::Exit;
using condroid::Hook;
using condroid::HookPoint;
using condroid::HookReport;
using condroid::LaunchOptions;
using condroid::Restart;
using condroid::Spec;
using condroid::Step;
using condroid::test::attempt;
using condroid::test::facts;
using condroid::test::FailsWith;
using condroid::test::launch;
using condroid::test::payload;
using condroid::test::read_file;
using condroid::test::runtime;
using condroid::test::Surroundings;
using condroid::test::TempDir;
using condroid::test::TempRoot;
using condroid::test::wait;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

struct World {
  TempRoot root = {};
  TempDir notes = {};
  World() { REQUIRE(::chmod(notes.str().c_str(), 0777) == 0); }

  /// A shell's line; $NOTES is a file that each may append to.
  [[nodiscard]] Hook sh(HookPoint point, const std::string& line) const {
    return {.point = point,
            .program = "/bin/sh",
            .argv = {"sh", "-c", line},
            .env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "NOTES=" + (notes / "all"),
                    "NAME=%{name}", "HOST_PID=%{pid}", "TARGET=%{target}", "ROOT=%{root}",
                    "NET_NS=%{ns_net}", "IF=%{interface}", "TYPE=%{interface_type}",
                    "PARENT=%{interface_parent}", "PEER=%{interface_host}"}};
  }
  [[nodiscard]] std::vector<std::string> said() const {
    std::vector<std::string> list;
    std::istringstream lines(read_file(notes / "all"));
    for (std::string line; std::getline(lines, line);) list.push_back(line);
    return list;
  }
  /// What no other process of the machine is called with.
  const std::string sleep = fmt::format("sleep 6{}", ::getpid());
  /// Those that run, as the host numbers them.
  [[nodiscard]] std::vector<pid_t> sleepers() const {
    std::vector<pid_t> list;
    for (const std::string& pid : condroid::test::entries_of("/proc")) {
      std::string words = read_file("/proc/" + pid + "/cmdline");
      std::ranges::replace(words, '\0', ' ');
      if (words.starts_with(sleep)) list.push_back(std::atoi(pid.c_str()));
    }
    return list;
  }
  [[nodiscard]] bool is_quiet_soon() const {
    for (const auto until = Clock::now() + 5s; Clock::now() < until;
         std::this_thread::sleep_for(5ms))
      if (sleepers().empty()) return true;
    return false;
  }
};

Hook inside(std::vector<std::string> args) {
  args.insert(args.begin(), "payload");
  return {.point = HookPoint::start, .program = "/bin/payload", .argv = std::move(args)};
}

/// What is made once is there.
void warm_up() {
  const TempRoot root;
  for (int i = 0; i < 3; ++i) (void)condroid::test::launch_and_wait(payload(root, {"exit", "0"}));
}

/// What this process has used of the processor.
std::chrono::nanoseconds used() {
  timespec t{};
  REQUIRE(::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

condroid::Launch begin(const Spec& spec, LaunchOptions options = {}) {
  auto plan = condroid::compile(spec, facts());
  if (!plan) FAIL(to_string(plan.error()));
  auto launch = runtime().start(std::move(*plan), std::move(options));
  if (!launch) FAIL(to_string(launch.error()));
  return std::move(*launch);
}
/// How often an event loop with nothing else in it was woken until there was a result.
template <class Step, class Wait>
auto count_wakes(Step step, Wait wait, int& wakes) {
  for (wakes = 0;; ++wakes) {
    auto done = step();
    if (!done || *done || wakes > 5000) return done;
    wait();
  }
}
auto drive(condroid::Launch& launch, int& wakes) {
  return count_wakes([&] { return launch.step(); },
                     [&] {
                       const auto [fd, events] = launch.interest();
                       pollfd one{fd.get(), events, 0};
                       (void)::poll(&one, 1, launch.timeout());
                     },
                     wakes);
}
auto drive(Container& box, int& wakes) {
  return count_wakes([&] { return box.step(); },
                     [&] {
                       pollfd one{box.poll_fd().get(), POLLIN, 0};
                       (void)::poll(&one, 1, 10000);
                     },
                     wakes);
}

constexpr HookPoint shell_points[] = {
    HookPoint::pre_start, HookPoint::configured, HookPoint::pre_mount, HookPoint::mount,
    HookPoint::autodev,   HookPoint::start_host, HookPoint::started};

}  // namespace

TEST_CASE("hooks are run in their order and see what their point has", "[hooks][.root]") {
  const World world;
  const bool with_init = GENERATE(false, true);
  CAPTURE(with_init);
  warm_up();
  const Surroundings before = Surroundings::quiet();
  {
    Spec spec = payload(world.root, {"exit", "5"});
    spec.process.init = with_init;
    auto& run = spec.hooks.run;
    const auto add = [&](HookPoint p, const std::string& line) {
      run.push_back(world.sh(p, "{ " + line + "; } >> $NOTES"));
    };
    // Not in the order of their points.
    add(HookPoint::post_stop, "echo post_stop $NAME $TARGET ns=${NET_NS:-none}");
    add(HookPoint::stop,
        "echo stop $TARGET $(readlink $NET_NS) $(test -d /proc/$HOST_PID || echo gone)");
    add(HookPoint::started, "echo started; test -d /proc/$HOST_PID && echo alive; true");
    add(HookPoint::start_host, "echo start_host $(readlink /proc/$HOST_PID/ns/net)");
    run.push_back(inside({"probe"}));
    add(HookPoint::autodev, "echo autodev $(test -c $ROOT/dev/null && echo null)");
    add(HookPoint::mount,
        "echo mount $HOST_PID $(cat $ROOT/data/file) $(test -d $ROOT/proc/1 && echo proc) $$");
    add(HookPoint::pre_mount,
        "echo pre_mount $(ls /mnt | wc -l) $(readlink /proc/self/ns/net) ${ROOT:-none}");
    add(HookPoint::configured, "echo configured $(readlink /proc/$HOST_PID/ns/net)");
    add(HookPoint::pre_start, "echo pre_start $NAME ${HOST_PID:-none} ${TARGET:-none} $(cat)");
    run.back().input = "from %{name}, %%{name}";
    spec.hooks.root_at = condroid::HostPath("/mnt");

    std::vector<HookReport> reports;
    LaunchOptions options;
    options.on_hook = [&](const HookReport& r) { reports.push_back(r); };
    Container box = launch(spec, std::move(options));
    const Exit exit = wait(box);
    CHECK(exit.code == 5);
    CHECK(exit.cleanup_errors.empty());
    const auto said = world.said();
    for (const auto& line : said) UNSCOPED_INFO(line);
    REQUIRE(said.size() >= 9);
    const std::string net = said[1].substr(said[1].find(' ') + 1);
    CHECK(net.starts_with("net:["));
    CHECK(net != condroid::test::own_namespace("net"));
    CHECK(said[0] == "pre_start test none none from test, %{name}");
    CHECK(said[2] ==
          fmt::format("pre_mount {} {} /mnt", condroid::test::entries_of("/mnt").size(), net));
    CHECK(said[3].starts_with("mount 1 original proc "));
    CHECK(said[4] == "autodev null");
    CHECK(said[5] == "start_host " + net);
    CHECK(said[6] == "started");
    const std::size_t stop = said[7] == "alive" ? 8 : 7;
    CHECK(said[stop] == fmt::format("stop stop {} gone", net));
    CHECK(said[stop + 1] == "post_stop test stop ns=none");
    // Of the ones inside it is told when the launch is done.
    std::vector<HookPoint> points;
    for (const auto& r : reports) {
      points.push_back(r.point);
      CAPTURE(r.program, r.error, r.output);
      CHECK(r.success);
      CHECK(r.took > 0ns);
      if (r.point == HookPoint::start) {
        CHECK(r.output.find("pid=") != std::string::npos);
        CHECK(r.output.find("\nfd.2=pipe\n") != std::string::npos);
        CHECK(r.output.find("\nfd.3") == std::string::npos);
      }
    }
    using P = HookPoint;
    CHECK(points == std::vector{P::pre_start, P::configured, P::start_host, P::started,
                                P::pre_mount, P::mount, P::autodev, P::start, P::stop,
                                P::post_stop});
  }
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("a hook that fails is named, and nothing is left", "[hooks][.root]") {
  const World world;
  warm_up();
  const Surroundings before = Surroundings::quiet();
  for (const HookPoint point : shell_points) {
    CAPTURE(static_cast<int>(point));
    Spec spec = payload(world.root, {"exit", "0"});
    spec.hooks.run = {world.sh(point, world.sleep + " & echo no; echo why not; exit 3"),
                      world.sh(HookPoint::post_stop, "echo undone $TARGET >> $NOTES")};
    CHECK_THAT(attempt(spec), FailsWith(Errc::hook_failed, Step::run_hook,
                                        "hook '/bin/sh': it ended with status 3: why not"));
    CHECK(world.is_quiet_soon());
    CHECK(world.said().back() == "undone stop");

    spec.hooks.run = {world.sh(point, "kill -TERM $$")};
    CHECK_THAT(attempt(spec), FailsWith(Errc::hook_failed, Step::run_hook, "killed by signal 15"));
    const auto began = Clock::now();
    spec.hooks.run = {world.sh(point, world.sleep + " & echo waiting; wait")};
    const auto limit = 200ms * condroid::test::slow();
    spec.hooks.run[0].timeout = limit;
    const std::string words = fmt::format("and {:.3g} s is its limit: waiting",
                                          std::chrono::duration<double>(limit).count());
    CHECK_THAT(attempt(spec), FailsWith(Errc::hook_failed, Step::run_hook, words));
    CHECK(Clock::now() - began < 5s * condroid::test::slow());
    CHECK(world.is_quiet_soon());
    // The launch's own deadline is earlier.
    spec.hooks.run[0].timeout = 60s;
    CHECK_THAT(attempt(spec, {.deadline = limit}), FailsWith(Errc::deadline, Step::run_hook));
    CHECK(world.is_quiet_soon());
    spec.hooks.run = {{.point = point, .program = "/no/such"}};
    CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::run_hook, "hook '/no/such'"));
    condroid::test::make_file(world.notes / "script", "#!/no/interpreter\n", 0755);
    spec.hooks.run[0].program = world.notes / "script";
    CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::run_hook, "script'"));
  }
  Spec spec = payload(world.root, {"exit", "0"});
  spec.hooks.run = {inside({"exit", "4"})};
  CHECK_THAT(attempt(spec), FailsWith(Errc::hook_failed, Step::run_hook, "status 4"));
  spec.hooks.run[0].program = "/bin/none";
  CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::run_hook, "start hook '/bin/none'"));
  // Told before anything is made, and what can be known is known by compile().
  spec.hooks.run = {{.point = HookPoint::stop, .program = "/no/such"}};
  CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::run_hook, "stop hook '/no/such'"));
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("a hook may say as much as it likes and leave something behind", "[hooks][.root]") {
  const World world;
  for (const HookPoint point : {HookPoint::start_host, HookPoint::mount}) {
    CAPTURE(static_cast<int>(point));
    Spec spec = payload(world.root, {"exit", "0"});
    spec.hooks.run = {world.sh(point, "(" + world.sleep +
                                          "; :) & head -c 3000000 /dev/zero | tr '\\0' x; echo; "
                                          "echo end")};
    std::vector<HookReport> reports;
    LaunchOptions options;
    options.on_hook = [&](const HookReport& r) { reports.push_back(r); };
    const auto began = Clock::now();
    Container box = launch(spec, std::move(options));
    CHECK(Clock::now() - began < 8s * condroid::test::slow());
    CHECK(wait(box).success());
    REQUIRE(reports.size() == 1);
    CHECK(reports[0].success);
    CHECK(reports[0].output.ends_with("x\nend\n"));
    CHECK(reports[0].output.size() + reports[0].dropped == 3000005);
    // A hook may start a daemon; one of the container's ends with that.
    if (point == HookPoint::start_host) {
      // The shell makes it when it likes.
      auto left = world.sleepers();
      for (int i = 0; i < 2000 && left.empty(); ++i, left = world.sleepers())
        std::this_thread::sleep_for(10ms);
      CHECK(left.size() == 1);
      for (const pid_t pid : left) ::kill(pid, SIGKILL);
    }
  }
}

TEST_CASE("a hook ends with the host and with the zygote", "[hooks][.root]") {
  const World world;
  for (const HookPoint point : {HookPoint::pre_start, HookPoint::mount, HookPoint::stop}) {
    CAPTURE(static_cast<int>(point));
    Spec spec = payload(world.root, {"exit", "0"});
    spec.hooks.run = {world.sh(point, world.sleep + " & wait")};
    const condroid::test::Forked host([&] {
      auto box = condroid::test::runtime().launch(spec);
      if (box) (void)box->wait();
    });
    const auto until = Clock::now() + 10s;
    while (world.sleepers().empty() && Clock::now() < until) std::this_thread::sleep_for(5ms);
    REQUIRE(!world.sleepers().empty());
    ::kill(host.pid(), SIGKILL);
    CHECK(world.is_quiet_soon());
  }
}

TEST_CASE("each life has its hooks, and the last word is post_stop's", "[hooks][.root]") {
  const World world;
  const bool refuse = GENERATE(false, true);
  CAPTURE(refuse);
  Spec spec = payload(world.root, {"exit", "1"});
  spec.lifecycle.restart = Restart::on_failure;
  spec.lifecycle.restart_limit = 1;
  spec.hooks.run = {world.sh(HookPoint::pre_start, "echo pre_start >> $NOTES"),
                    world.sh(HookPoint::start_host, "echo start_host >> $NOTES"),
                    world.sh(HookPoint::stop, "echo stop $TARGET >> $NOTES; exit 1"),
                    world.sh(HookPoint::post_stop, "echo post_stop >> $NOTES")};
  if (refuse) spec.hooks.run.push_back(world.sh(HookPoint::post_stop, "echo never again; exit 9"));
  Container box = launch(spec);
  CHECK_THAT(condroid::test::failure_of(box.detach()),
             FailsWith(Errc::unsupported, Step::detach, "has hooks for its end"));
  const Exit exit = wait(box);
  CHECK(exit.restarts == (refuse ? 0U : 1U));
  std::vector<std::string> life = {"pre_start", "start_host", "stop reboot", "post_stop"};
  const std::vector<std::string> first = life;
  if (!refuse) life.insert(life.end(), first.begin(), first.end());
  if (!refuse) life[6] = "stop stop";
  CHECK(world.said() == life);
  REQUIRE(!exit.cleanup_errors.empty());
  CHECK(exit.cleanup_errors[0].find("stop hook '/bin/sh': it ended with status 1") !=
        std::string::npos);
  if (refuse) CHECK(exit.not_restarted.find("status 9: never again") != std::string::npos);
}

TEST_CASE("the host sleeps while hooks run", "[long][hooks][.root]") {
  const World world;
  constexpr int few = 60;
  for (const HookPoint point : {HookPoint::pre_start, HookPoint::start_host, HookPoint::started,
                                HookPoint::stop, HookPoint::post_stop}) {
    CAPTURE(static_cast<int>(point));
    Spec spec = payload(world.root, {"exit", "0"});
    spec.process.stdio = condroid::Stdio::pty;
    spec.hooks.run = {world.sh(point, "sleep 0.5")};
    int launching = 0, ending = 0;
    {
      auto launch = begin(spec);
      auto box = drive(launch, launching);
      REQUIRE((box && *box));
      CHECK(drive(**box, ending));
    }
    CHECK(launching < few);
    CHECK(ending < few);
    // The same without a loop of the caller's.
    Container box = condroid::test::launch(spec);
    const auto before = used();
    CHECK(wait(box).success());
    CHECK(used() - before < 200ms * condroid::test::slow());
  }
  // After a launch that failed, too.
  Spec spec = payload(world.root, {"exit", "0"});
  spec.hooks.run = {world.sh(HookPoint::start_host, "exit 1"),
                    world.sh(HookPoint::post_stop, "sleep 0.5")};
  int wakes = 0;
  auto launch = begin(spec);
  CHECK_FALSE(drive(launch, wakes));
  CHECK(wakes < few);
}

TEST_CASE("a hook that ended while its host was busy was in time", "[hooks][.root]") {
  const World world;
  Spec spec = payload(world.root, {"exit", "0"});
  spec.hooks.run = {world.sh(HookPoint::start_host, "sleep 0.1")};
  spec.hooks.run[0].timeout = 300ms * condroid::test::slow();
  auto launch = begin(spec);
  const auto until = Clock::now() + 10s;
  while (launch.state() != condroid::protocol::State::limiting && Clock::now() < until) {
    const auto done = launch.step();
    REQUIRE((done && !*done));
    std::this_thread::sleep_for(1ms);
  }
  std::this_thread::sleep_for(spec.hooks.run[0].timeout + 100ms);
  int wakes = 0;
  auto box = drive(launch, wakes);
  if (!box) FAIL(to_string(box.error()));
  CHECK(wait(**box).success());
}

TEST_CASE("who ends a container while its hooks run is heard, and waits for them",
          "[hooks][.root]") {
  const World world;
  Spec spec = payload(world.root, {"exit", "1"});
  spec.lifecycle.restart = Restart::always;
  spec.lifecycle.restart_limit = 5;
  spec.hooks.run = {world.sh(HookPoint::stop,
                             "echo begun >> $NOTES; sleep 0.4; "
                             "echo stop $TARGET >> $NOTES"),
                    world.sh(HookPoint::post_stop, "echo post_stop $TARGET >> $NOTES")};
  enum { killed, stopped, dropped };
  for (const int how : {killed, stopped, dropped}) {
    CAPTURE(how);
    condroid::test::make_file(world.notes / "all", "", 0666);
    {
      Container box = launch(spec);
      const auto until = Clock::now() + 10s;
      while (world.said().empty() && Clock::now() < until) {
        REQUIRE(box.step());
        std::this_thread::sleep_for(2ms);
      }
      if (how == killed) CHECK(box.kill());
      if (how == stopped) CHECK(box.begin_stop({}));
      if (how != dropped) CHECK(wait(box).restarts == 0);
    }
    CHECK(world.said() == std::vector<std::string>{"begun", "stop reboot", "post_stop stop"});
  }
}

TEST_CASE("a hook that is killed with its launch is told of", "[hooks][.root]") {
  const World world;
  warm_up();
  const Surroundings before = Surroundings::quiet();
  for (const HookPoint point : {HookPoint::pre_start, HookPoint::start_host, HookPoint::started}) {
    CAPTURE(static_cast<int>(point));
    Spec spec = payload(world.root, {"exit", "0"});
    spec.hooks.run = {world.sh(point, "echo said; " + world.sleep + " & wait"),
                      world.sh(HookPoint::post_stop, "true")};
    std::vector<HookReport> reports;
    LaunchOptions options;
    options.on_hook = [&](const HookReport& r) { reports.push_back(r); };
    auto launch = begin(spec, std::move(options));
    const auto until = Clock::now() + 10s;
    while (world.sleepers().empty() && Clock::now() < until) {
      REQUIRE(launch.step());
      std::this_thread::sleep_for(2ms);
    }
    launch.cancel();
    int wakes = 0;
    const auto done = drive(launch, wakes);
    REQUIRE(!done);
    CHECK(done.error().is(Errc::cancelled));
    CHECK(world.is_quiet_soon());
    REQUIRE(reports.size() == 2);
    CHECK(reports[0].error.find("cancelled") != std::string::npos);
    CHECK(reports[0].output == "said\n");
    CHECK(reports[1].success);
  }
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("a hook ends with the child that it is for", "[hooks][.root]") {
  const World world;
  warm_up();
  const Surroundings before = Surroundings::quiet();
  for (const HookPoint point : {HookPoint::configured, HookPoint::start_host}) {
    CAPTURE(static_cast<int>(point));
    Spec spec = payload(world.root, {"exit", "0"});
    spec.hooks.run = {world.sh(point, "kill -KILL $HOST_PID; " + world.sleep + " & wait")};
    spec.hooks.run[0].timeout = 60s;
    std::vector<HookReport> reports;
    LaunchOptions options{.deadline = 60s};
    options.on_hook = [&](const HookReport& r) { reports.push_back(r); };
    const auto began = Clock::now();
    const auto done = attempt(spec, options);
    REQUIRE(done.error);
    CHECK(done.error->is(Errc::child_vanished));
    CHECK(Clock::now() - began < 5s * condroid::test::slow());
    CHECK(world.is_quiet_soon());
    REQUIRE(reports.size() == 1);
    CHECK_FALSE(reports[0].success);
  }
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("what a hook started ends with the zygote", "[hooks][.root]") {
  const World world;
  for (const HookPoint point : {HookPoint::pre_start, HookPoint::start_host, HookPoint::stop}) {
    CAPTURE(static_cast<int>(point));
    auto rt = condroid::Runtime::open(
        {.state_dir = condroid::HostPath(fmt::format("/tmp/test-hooks-z-{}", ::getpid()))});
    REQUIRE(rt);
    Spec spec = payload(world.root, {"exit", "0"});
    spec.hooks.run = {world.sh(point, world.sleep + " & wait")};
    const pid_t zygote = rt->zygote_pid().value;
    std::thread killer([&] {
      const auto until = Clock::now() + 10s;
      while (world.sleepers().empty() && Clock::now() < until) std::this_thread::sleep_for(5ms);
      ::kill(zygote, SIGKILL);
    });
    auto box = rt->launch(spec);
    if (box) (void)box->wait();
    killer.join();
    CHECK(box.has_value() == (point == HookPoint::stop));
    CHECK(world.is_quiet_soon());
  }
}

TEST_CASE("a hook that fails is no reason for another cgroup", "[hooks][.root]") {
  const World world;
  Spec spec = payload(world.root, {"exit", "1"});
  spec.resources.pids_max = 20;
  spec.lifecycle.restart = Restart::on_failure;
  spec.lifecycle.restart_limit = 1;
  spec.hooks.run = {world.sh(HookPoint::start_host,
                             "grep -o 'test[.][0-9]*$' /proc/$HOST_PID/cgroup | sort -u >> $NOTES"),
                    world.sh(HookPoint::stop, "exit 1")};
  Container box = launch(spec);
  CHECK(wait(box).restarts == 1);
  const auto said = world.said();
  REQUIRE(said.size() == 2);
  CHECK(said[0] == said[1]);
}

TEST_CASE("hooks with an id map are the container's root", "[hooks][.root]") {
  const World world;
  Spec spec = payload(world.root, {"exit", "0"});
  spec.idmap = {.kind = condroid::IdMap::single};
  spec.hooks.run = {world.sh(HookPoint::mount, "id -u; cat /proc/self/uid_map")};
  std::vector<HookReport> reports;
  LaunchOptions options;
  options.on_hook = [&](const HookReport& r) { reports.push_back(r); };
  Container box = launch(spec, std::move(options));
  CHECK(wait(box).success());
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].output.starts_with("0\n"));
  CHECK(reports[0].output.find("4294967295") == std::string::npos);
}

#if CONDROID_LIBNL
TEST_CASE("interfaces have hooks of their own", "[hooks][net][.root]") {
  const World world;
  condroid::test::OwnNetwork net;
  net.bridge("hooked");
  auto rt = condroid::Runtime::open(
      {.state_dir = condroid::HostPath(fmt::format("/tmp/test-hooks-{}", ::getpid()))});
  REQUIRE(rt);
  Spec spec = payload(world.root, {"exit", "0"});
  spec.network.interfaces = {
      {.name = "eth0", .link = condroid::Veth{.bridge = "hooked", .host_name = "hook-end"}},
      {.name = "eth1", .link = condroid::Veth{.host_name = "hook-two"}}};
  const std::string line =
      " $IF $TYPE ${PARENT:-none} $PEER $(ip -br link show $PEER | wc -l) "
      ">> $NOTES";
  spec.hooks.run = {world.sh(HookPoint::up, "echo up" + line),
                    world.sh(HookPoint::down, "echo down" + line)};
  spec.hooks.run[1].interface = "eth0";
  auto box = rt->launch(spec);
  if (!box) FAIL(to_string(box.error()));
  CHECK(wait(*box).cleanup_errors.empty());
  CHECK(world.said() == std::vector<std::string>{"up eth0 veth hooked hook-end 1",
                                                 "up eth1 veth none hook-two 1",
                                                 "down eth0 veth hooked hook-end 1"});

  // A launch that failed: down finds what it undoes, and at post_stop that is down.
  condroid::test::make_file(world.notes / "all", "", 0666);
  const std::string state = " $(ip -br link show hook-end | grep -c UP)";
  spec.hooks.run[1] = world.sh(
      HookPoint::down, "echo down $IF" + state + " $(readlink $NET_NS | cut -c1-4) >> $NOTES");
  spec.hooks.run[1].interface = "eth0";
  spec.hooks.run.push_back(world.sh(HookPoint::post_stop, "echo post_stop" + state + " >> $NOTES"));
  spec.hooks.run.push_back(world.sh(HookPoint::pre_mount, "exit 1"));
  CHECK_FALSE(rt->launch(spec));
  CHECK(world.said() == std::vector<std::string>{"up eth0 veth hooked hook-end 1",
                                                 "up eth1 veth none hook-two 1",
                                                 "down eth0 1 net:", "post_stop 0"});

  // An interface that stays for the next life is made once, and goes once.
  condroid::test::make_file(world.notes / "all", "", 0666);
  spec.hooks.run.pop_back();
  spec.process.argv = {"/bin/payload", "exit", "1"};
  spec.lifecycle.restart = Restart::on_failure;
  spec.lifecycle.restart_limit = 2;
  auto again = rt->launch(spec);
  if (!again) FAIL(to_string(again.error()));
  CHECK(wait(*again).restarts == 2);
  CHECK(world.said() == std::vector<std::string>{"up eth0 veth hooked hook-end 1",
                                                 "up eth1 veth none hook-two 1", "post_stop 1",
                                                 "post_stop 1", "down eth0 1 net:", "post_stop 0"});
}
#endif
