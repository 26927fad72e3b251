// One container, several lives: what stays the same, and what ends it for good.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "freezers.hpp"

using condroid::Bind;
using condroid::Container;
using condroid::Errc;
using condroid::Exit;
using condroid::Fd;
using condroid::GuestPath;
using condroid::HostFd;
using condroid::IdMap;
using condroid::LaunchEvent;
using condroid::Restart;
using condroid::Signal;
using condroid::Spec;
using condroid::Stdio;
using condroid::Step;
using condroid::Stream;
using condroid::test::launch;
using condroid::test::may_reboot;
using condroid::test::own_cgroups;
using condroid::test::payload;
using condroid::test::privileged;
using condroid::test::read_file;
using condroid::test::read_until;
using condroid::test::Surroundings;
using condroid::test::TempDir;
using condroid::test::TempRoot;
using condroid::test::wait;
using condroid::test::with_pipe;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

/// A root, a directory that outlives lives, and the payload that asks for `count` of them.
struct World {
  TempRoot root = {};
  TempDir notes = {};
  World() { REQUIRE(::chmod(notes.str().c_str(), 0777) == 0); }
  [[nodiscard]] Spec spec(int count, std::vector<std::string> more = {}) const {
    std::vector<std::string> argv = {"lives", "/mnt/lives", fmt::format("{}", count)};
    argv.insert(argv.end(), more.begin(), more.end());
    Spec s = payload(root, std::move(argv));
    s.mounts = {Bind{.source = notes.host(),
                     .target = GuestPath("/mnt"),
                     .flags = condroid::MountFlag::nosuid | condroid::MountFlag::nodev}};
    s.lifecycle.restart = Restart::on_reboot;
    s.lifecycle.restart_limit = 0;
    return may_reboot(std::move(s));
  }
  [[nodiscard]] std::vector<std::string> lives() const {
    std::vector<std::string> list;
    std::istringstream lines(read_file(notes / "lives"));
    for (std::string line; std::getline(lines, line);) list.push_back(line);
    return list;
  }
};

/// The word of a line that begins so.
std::string word(const std::string& line, std::string_view key) {
  std::istringstream words(line);
  for (std::string w; words >> w;)
    if (w.starts_with(key)) return w;
  return {};
}

Exit drive(Container& box) {
  const condroid::FdView fd = box.poll_fd();
  for (const auto until = Clock::now() + 30s; Clock::now() < until;) {
    auto done = box.step();
    if (!done) throw std::runtime_error(to_string(done.error()));
    if (*done) return std::move(**done);
    REQUIRE(box.poll_fd().get() == fd.get());
    pollfd p{fd.get(), POLLIN, 0};
    REQUIRE(::poll(&p, 1, 10000) == 1);
  }
  throw std::runtime_error("the container did not end");
}

}  // namespace

TEST_CASE("a container that asks for a restart is launched again",
          "[lifecycle][any_cgroup][.root]") {
  const World world;
  const bool loop = GENERATE(false, true);
  CAPTURE(loop);
  condroid::test::warm_up();
  const Surroundings before = Surroundings::quiet();
  {
    Spec spec = world.spec(4);
    spec.name = "again";
    spec.lifecycle.freezable = true;
    spec.lifecycle.own_boot_id = true;
    std::vector<LaunchEvent::Kind> events;
    std::vector<condroid::Pid> pids;
    condroid::LaunchOptions options;
    options.on_event = [&](const LaunchEvent& e) -> condroid::Result<void> {
      events.push_back(e.kind);
      CHECK(e.name == "again");
      if (e.kind == LaunchEvent::started) pids.push_back(e.pid);
      return {};
    };
    Container box = launch(spec, std::move(options));
    const Exit exit = loop ? drive(box) : wait(box);
    CHECK(exit.code == 7);
    CHECK(exit.restarts == 3);
    CHECK(box.restarts() == 3);
    CHECK(exit.not_restarted.empty());
    CHECK(to_string(exit) == "exited with status 7, after 3 restarts");
    CHECK(box.name() == "again");
    const auto lives = world.lives();
    REQUIRE(lives.size() == 4);
    std::string said;
    std::set<std::string> boots = {"boot=" + read_file("/proc/sys/kernel/random/boot_id")};
    for (std::size_t i = 0; i < lives.size(); ++i) {
      said += lives[i] + "\n";
      CHECK(word(lives[i], "boot=").size() == 5 + 36);
      CHECK(boots.insert(word(lives[i], "boot=") + "\n").second);
      CHECK(word(lives[i], "pid=") == "pid=1");
      CHECK(word(lives[i], "net:") == word(lives[0], "net:"));
      CHECK(word(lives[i], "host=") == "host=again");
    }
    CHECK(word(lives[0], "net:") != condroid::test::own_namespace("net"));
    CHECK(exit.out == said);  // captured output goes on
    using K = LaunchEvent::Kind;
    std::vector<LaunchEvent::Kind> expected;
    for (int i = 0; i < 4; ++i)
      expected.insert(expected.end(), {K::configured, K::set_up, K::started, K::stopped});
    CHECK(events == expected);
    CHECK(pids.size() == 4);
    // Again and again the same.
    const auto later = box.step();
    REQUIRE(later);
    CHECK((*later)->restarts == 3);
  }
  CHECK(own_cgroups().empty());
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("lives of a container with an id map have one network", "[lifecycle][.root][.userns]") {
  const World world;
  Spec spec = world.spec(3);
  if (privileged())
    spec.idmap = {.kind = IdMap::ranges,
                  .uids = {{.inside = 0, .outside = 100000, .count = 65536}},
                  .gids = {{.inside = 0, .outside = 100000, .count = 65536}}};
  Container box = launch(spec);
  const Exit exit = wait(box);
  INFO(to_string(exit) << exit.out << exit.err);
  CHECK(exit.code == 7);
  CHECK(exit.restarts == 2);
  const auto lives = world.lives();
  REQUIRE(lives.size() == 3);
  for (const std::string& life : lives) {
    CHECK(word(life, "net:") == word(lives[0], "net:"));
    CHECK(word(life, "user:") == word(lives[0], "user:"));
  }
}

TEST_CASE("the terminals of a container go on from life to life", "[lifecycle][.root][.userns]") {
  const World world;
  const bool taken = GENERATE(false, true);
  const bool ttys = GENERATE(false, true);
  CAPTURE(taken, ttys);
  Spec spec = world.spec(3, {"echo"});
  spec.process.stdio = Stdio::pty;
  spec.terminal.rows = 33;
  spec.terminal.ttys = ttys ? 2 : 0;
  Container box = launch(spec);
  REQUIRE(box.console().valid());
  Fd own = taken ? box.take_console() : Fd{};
  const condroid::FdView master = taken ? condroid::FdView(own) : box.console();
  const auto masters = box.ttys();
  std::string seen;
  for (int life = 1; life <= 3; ++life) {
    const std::string typed = fmt::format("word{}\n", life);
    condroid::test::write_to(master, typed);
    // Nothing is read here but what is there: who holds the master may look whenever he likes.
    const std::string answer = fmt::format("heard word{}", life);
    for (const auto until = Clock::now() + 20s; seen.find(answer) == std::string::npos;) {
      REQUIRE(Clock::now() < until);
      const auto done = box.wait_for(5ms);
      REQUIRE(done);
      if (taken) {
        pollfd p{master.get(), POLLIN, 0};
        char text[4096];
        if (::poll(&p, 1, 0) <= 0) continue;
        const ssize_t n = ::read(master.get(), text, sizeof text);
        REQUIRE(n > 0);  // it is not at its end between two lives
        seen.append(text, static_cast<std::size_t>(n));
      } else {
        seen = box.console_output();
      }
      if (*done && life < 3) FAIL(to_string(**done));
    }
    // The line came back as typed: the terminal echoes again, though the last life left it raw.
    CHECK(seen.find(fmt::format("word{}\r\n", life)) != std::string::npos);
    for (int i = 0; i < 4000 && box.restarts() < static_cast<unsigned>(life) && life < 3; ++i)
      REQUIRE(box.wait_for(5ms));
  }
  const Exit exit = wait(box);
  CHECK(exit.code == 7);
  CHECK(exit.restarts == 2);
  const auto lives = world.lives();
  REQUIRE(lives.size() == 3);
  for (const std::string& life : lives) CHECK(word(life, "tty=") == "tty=/dev/pts/0");
  CHECK(masters.size() == (ttys ? 2 : 0));
  if (taken) {
    (void)condroid::test::read_all(own);  // but now
    for (const condroid::FdView tty : masters) CHECK(condroid::test::read_all(tty).empty());
  }
}

TEST_CASE("pipes and descriptors go on from life to life", "[lifecycle][.root]") {
  const World world;
  Spec spec = world.spec(3);
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const Fd from(ends[0]);
  Fd to(ends[1]);
  spec.process.stdio = {Stream::null, Stream::pipe, HostFd{to.get()}};
  Container box = launch(spec);
  const Fd out = box.take_stdout();
  to.reset();  // the number is somebody else's from now on
  const Fd other(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const Exit exit = wait(box);
  CHECK(exit.restarts == 2);
  std::string said;
  for (const std::string& life : world.lives()) said += life + "\n";
  CHECK(condroid::test::read_all(out) == said);  // and then its end
  CHECK(condroid::test::read_all(from).empty());
}

TEST_CASE("a limit ends a boot loop", "[lifecycle][.root][.userns]") {
  const World world;
  Spec spec = world.spec(1000);
  spec.lifecycle.restart_limit = 3;
  Container box = launch(spec);
  const Exit exit = wait(box);
  CHECK(exit.asked == Exit::Asked::restart);
  CHECK(exit.restarts == 3);
  CHECK(exit.not_restarted == "3 times within 60 s is the limit");
  CHECK(to_string(exit) ==
        "asked for a restart, reboot(2), after 3 restarts; not restarted: 3 times within 60 s is "
        "the limit");
  CHECK(world.lives().size() == 4);
}

TEST_CASE("a policy says which ends are the last", "[lifecycle][.root][.userns]") {
  const TempRoot root;
  const auto restarts = [&](Restart policy, std::vector<std::string> argv) {
    Spec spec = may_reboot(payload(root, std::move(argv)));
    spec.lifecycle = {.restart = policy, .restart_limit = 2};
    return condroid::test::launch_and_wait(spec).restarts;
  };
  CHECK(restarts(Restart::never, {"reboot", "restart"}) == 0);
  CHECK(restarts(Restart::on_reboot, {"exit", "0"}) == 0);
  CHECK(restarts(Restart::on_reboot, {"exit", "3"}) == 0);
  CHECK(restarts(Restart::on_reboot, {"reboot", "power_off"}) == 0);
  CHECK(restarts(Restart::on_failure, {"exit", "0"}) == 0);
  CHECK(restarts(Restart::on_failure, {"exit", "3"}) == 2);
  CHECK(restarts(Restart::on_failure, {"reboot", "restart"}) == 2);
  CHECK(restarts(Restart::on_failure, {"reboot", "power_off"}) == 0);
  CHECK(restarts(Restart::always, {"exit", "0"}) == 2);
  CHECK(restarts(Restart::always, {"reboot", "halt"}) == 0);
}

TEST_CASE("whoever stops a container does not see it come again", "[lifecycle][.root][.userns]") {
  const TempRoot root;
  Spec spec = with_pipe(payload(root, {"term", "4"}));
  spec.lifecycle.restart = Restart::always;
  spec.lifecycle.restart_limit = 0;
  condroid::test::warm_up();
  const Surroundings before = Surroundings::quiet();
  {
    Container box = launch(spec);
    const Fd out = box.take_stdout();
    (void)read_until(out, "ready\n");
    REQUIRE(box.signal(Signal{SIGTERM}));  // not a stop
    (void)[&] {
      while (box.restarts() < 1) REQUIRE(box.wait_for(5ms));
      return 0;
    }
    ();
    (void)read_until(out, "ready\n");
    const auto exit = box.stop(10s);
    REQUIRE(exit);
    CHECK(exit->code == 4);
    CHECK(exit->restarts == 1);
  }
  {
    Container box = launch(spec);
    REQUIRE(box.kill());
    CHECK(wait(box).restarts == 0);
  }
  // In the middle of a launch.
  spec.process.argv = {"/bin/payload", "exit", "1"};
  for (int steps = 1; steps < 40; ++steps) {
    Container box = launch(spec);
    for (int i = 0; i < steps; ++i) {
      REQUIRE(box.step());
      pollfd p{box.poll_fd().get(), POLLIN, 0};
      (void)::poll(&p, 1, 1000);
    }
    if (steps % 3 == 0) {
      REQUIRE(box.kill());
      const Exit exit = wait(box);
      CHECK((exit.code == 1 || exit.signal == Signal{SIGKILL}));
    } else if (steps % 3 == 1) {
      REQUIRE(box.stop(0ms));
    }
  }
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("whoever ends a container that is being launched again does not wait for the launch",
          "[lifecycle][.root]") {
  if (condroid::test::v1_freezer() == nullptr) CONDROID_SKIP("needs the freezer of v1");
  const TempRoot root;
  condroid::test::warm_up();
  const Surroundings before = Surroundings::quiet();
  const std::string how = GENERATE("kill", "begin_stop");
  CAPTURE(how);
  {
    Spec spec = payload(root, {"exit", "3"});
    spec.lifecycle.restart = Restart::on_failure;
    // Of the second life the child stands still, and cannot die.
    std::optional<condroid::test::FrozenAbove> above;
    int launches = 0;
    Container box =
        condroid::test::launch_with("v1", spec, {.on_event = [&](const LaunchEvent& e) {
                                      if (e.kind == LaunchEvent::configured && ++launches == 2)
                                        above.emplace(own_cgroups().front());
                                      return condroid::Result<void>{};
                                    }});
    const condroid::FdView fd = box.poll_fd();
    for (const auto until = Clock::now() + 10s; !above && Clock::now() < until;) {
      REQUIRE_FALSE(*box.step());
      pollfd p{fd.get(), POLLIN, 0};
      (void)::poll(&p, 1, 100);
    }
    REQUIRE(above);
    const auto began = Clock::now();
    if (how == "kill") REQUIRE(box.kill());
    if (how == "begin_stop") REQUIRE(box.begin_stop());
    CHECK(Clock::now() - began < 8s);  // who waits for the end gives up after 10 s
    CHECK_FALSE(*box.wait_for(300ms));
    above->thaw();
    const Exit exit = wait(box);
    CHECK(exit.code == 3);
    CHECK(exit.restarts == 0);
    CHECK(exit.not_restarted.empty());
    CHECK(exit.cleanup_errors.empty());
    CHECK(own_cgroups().empty());
  }
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("a launch that fails is the end, and says why", "[lifecycle][.root]") {
  const World world;
  const TempDir extra;
  condroid::test::make_dir(extra / "goes");
  Spec spec = world.spec(1000);
  spec.mounts.push_back(
      Bind{.source = extra.host("goes"), .target = GuestPath("/tmp"), .recursive = false});
  condroid::test::warm_up();
  const Surroundings before = Surroundings::quiet();
  {
    Container box = launch(spec);
    while (box.restarts() < 2) REQUIRE(box.wait_for(1ms));
    REQUIRE(::rmdir((extra / "goes").c_str()) == 0);
    const Exit exit = drive(box);
    CHECK(exit.asked == Exit::Asked::restart);
    CHECK(exit.restarts >= 2);
    CHECK(exit.not_restarted.find("No such file or directory (ENOENT)") != std::string::npos);
  }
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("a detached container is not launched again", "[lifecycle][.root]") {
  const TempRoot root;
  Spec spec = with_pipe(payload(root, {"term", "5"}));
  spec.lifecycle.restart = Restart::always;
  Container box = launch(spec);
  (void)read_until(box.take_stdout(), "ready\n");
  REQUIRE(box.detach());
  REQUIRE(box.signal(Signal{SIGTERM}));
  const Exit exit = wait(box);
  CHECK(exit.code == 5);
  CHECK(exit.restarts == 0);
}
