// The handle of a container: what it costs, what it is when its container went elsewhere, and how
// it ends one that cannot be asked politely.
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "containers.hpp"

using condroid::Container;
using condroid::Fd;
using condroid::Signal;
using condroid::Spec;
using condroid::Stdio;
using condroid::Step;
using condroid::Stream;
using condroid::test::entries_of;
using condroid::test::facts;
using condroid::test::is_alive;
using condroid::test::launch;
using condroid::test::launch_and_wait;
using condroid::test::need;
using condroid::test::payload;
using condroid::test::read_until;
using condroid::test::runtime;
using condroid::test::Surroundings;
using condroid::test::TempDir;
using condroid::test::TempRoot;
using condroid::test::wait;
using namespace std::chrono_literals;

namespace {

std::size_t descriptors() { return entries_of("/proc/self/fd").size(); }

}  // namespace

TEST_CASE("a container costs as many descriptors as its header says", "[launch][.root][.userns]") {
  const TempRoot root;
  const TempDir place;
  // Who launches the same /dev twice in a row has the third one ready, which is a descriptor.
  for (int i = 0; i < 3; ++i) (void)launch_and_wait(payload(root, {"exit"}));
  (void)Surroundings::quiet();
  struct Row {
    const char* what;
    std::size_t more;  ///< Than the two that each has.
    std::function<void(Spec&)> change;
  };
  const std::vector<Row> rows = {
      {"nothing", 0, [](Spec&) {}},
      {"captured output", 2, [](Spec& s) { s.process.stdio = Stdio::capture; }},
      {"one captured stream", 1,
       [](Spec& s) {
         s.process.stdio = {Stream::null, Stream::capture, Stream::null};
       }},
      {"pipes", 3, [](Spec& s) { s.process.stdio = Stdio::pipe; }},
      {"an init", 1, [](Spec& s) { s.process.init = true; }},
      {"a command on a console", 1, [](Spec& s) { s.process.stdio = Stdio::pty; }},
      {"a console with a log", 2,
       [&](Spec& s) {
         s.process.stdio = Stdio::pty;
         s.terminal.log = place.host("log");
       }},
      {"a console that nobody has open", 2, [](Spec& s) { s.terminal.console = true; }},
      {"three terminals", 3, [](Spec& s) { s.terminal.ttys = 3; }},
      {"all of it", 7,
       [](Spec& s) {
         s.process.stdio = {Stream::pty, Stream::capture, Stream::capture};
         s.process.init = true;
         s.terminal.ttys = 3;
       }},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    Spec spec = payload(root, {"pause"});
    spec.process.stdio = Stdio::null;
    row.change(spec);
    const std::size_t before = descriptors();
    {
      Container box = launch(spec);
      // The first look may open a slave of a console that nobody has open.
      CHECK_FALSE(need(box.wait_for(20ms)).has_value());
      CHECK(descriptors() == before + 2 + row.more);
      (void)box.poll_fd();
      CHECK(descriptors() == before + 2 + row.more + 1);
      (void)box.poll_fd();
      CHECK(descriptors() == before + 2 + row.more + 1);
      { const Fd taken[] = {box.take_stdin(), box.take_stdout(), box.take_stderr()}; }
      if (std::string(row.what) == "pipes") CHECK(descriptors() == before + 3);
    }
    CHECK(descriptors() == before);
  }
  // What is handed out is held open.
  Spec spec = payload(root, {"pause"});
  spec.process.stdio = Stdio::pty;
  spec.terminal.ttys = 2;
  const std::size_t before = descriptors();
  Container box = launch(spec);
  CHECK(descriptors() == before + 2 + 1 + 2);
  for (int again = 0; again < 2; ++again) {
    CHECK(box.console().valid());
    CHECK(descriptors() == before + 2 + 2 + 2);
  }
  for (int again = 0; again < 2; ++again) {
    CHECK(box.ttys().size() == 2);
    CHECK(descriptors() == before + 2 + 2 + 4);
  }
  Fd console = box.take_console();
  CHECK(descriptors() == before + 2 + 1 + 4);
  REQUIRE(box.kill());
  (void)wait(box);
  CHECK(console.valid());
}

TEST_CASE("a container on the host's / costs one descriptor more at most",
          "[launch][.root][.userns]") {
  Spec spec = payload({"pause"});
  spec.process.argv.front() = CONDROID_PAYLOAD;
  spec.process.stdio = Stdio::null;
  (void)Surroundings::quiet();
  const std::size_t before = descriptors();
  {
    const Container box = launch(spec);
    CHECK(descriptors() >= before + 2);
    CHECK(descriptors() <= before + 3);
  }
  CHECK(descriptors() == before);
}

TEST_CASE("a handle that was moved from has no container", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.process.stdio = Stdio::pty;
  Container box = launch(spec);
  Container other = std::move(box);
  const auto none = [](const auto& result) {
    if (result) return false;
    INFO(to_string(result.error()));
    CHECK(result.error().step != Step::none);
    CHECK(result.error().subject.find("moved from") != std::string::npos);
    return result.error().is_errno(ESRCH);
  };
  // NOLINTBEGIN(bugprone-use-after-move): that is what is tested
  CHECK(none(box.step()));
  CHECK(none(box.wait()));
  CHECK(none(box.wait_for(1s)));
  CHECK(none(box.signal(Signal{15})));
  CHECK(none(box.kill()));
  CHECK(none(box.stop()));
  CHECK(none(box.detach()));
  CHECK(box.name().empty());
  CHECK(box.pid().value == 0);
  CHECK_FALSE(box.pidfd().valid());
  CHECK_FALSE(box.poll_fd().valid());
  CHECK_FALSE(box.console().valid());
  CHECK(box.ttys().empty());
  CHECK(box.console_output().empty());
  CHECK(box.timeline().entries.empty());
  CHECK_FALSE(box.take_stdin().valid());
  CHECK_FALSE(box.take_stdout().valid());
  CHECK_FALSE(box.take_stderr().valid());
  CHECK_FALSE(box.take_console().valid());
  CHECK(is_alive(other.pid().value));
  box = std::move(other);
  // NOLINTEND(bugprone-use-after-move)
  CHECK(is_alive(box.pid().value));
  CHECK(box.name() == "test");
  CHECK(box.kill());
}

TEST_CASE("who can never get the polite signal is not waited for", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.process.stdio = {Stream::null, Stream::pipe, Stream::null};
  const auto stopped_after = [&](std::chrono::milliseconds patience, int signal,
                                 const std::string& end) {
    Container box = launch(spec);
    const Fd out = box.take_stdout();
    (void)read_until(out, "ready\n");
    // Until it sleeps: who runs could still do something about it.
    for (int i = 0; i < 500; ++i) {
      const std::string stat =
          condroid::test::read_file(fmt::format("/proc/{}/stat", box.pid().value));
      if (stat.find(") S ") != std::string::npos) break;
      ::usleep(2000);
    }
    const auto begin = std::chrono::steady_clock::now();
    const std::string said = to_string(need(box.stop(patience, Signal{signal})));
    CHECK(said == end);
    return std::chrono::steady_clock::now() - begin;
  };
  const std::string killed = "killed by signal 9 (SIGKILL)";
  SECTION("a process 1 without a handler") {
    CHECK(stopped_after(20s, 15, killed) < 5s);
    CHECK(stopped_after(20s, 1, killed) < 5s);
  }
  SECTION("one that handles another signal") {
    spec.process.argv = {"/bin/payload", "term", "6"};
    CHECK(stopped_after(20s, 2, killed) < 5s);
    CHECK(stopped_after(20s, 15, "exited with status 6") < 5s);
  }
  SECTION("one that waits for signals has its time") {
    spec.process.argv = {"/bin/payload", "signals"};
    CHECK(stopped_after(20s, 15, "exited with status 0") < 5s);
    CHECK(stopped_after(150ms, 2, killed) >= 150ms);
  }
  SECTION("and so has one that ignores them") {
    spec.process.argv = {"/bin/payload", "stubborn"};
    CHECK(stopped_after(150ms, 15, killed) >= 150ms);
  }
  SECTION("with an init it is the command that gets it") {
    spec.process.init = true;
    CHECK(stopped_after(20s, 15, "killed by signal 15 (SIGTERM)") < 5s);
    spec.process.argv = {"/bin/payload", "stubborn"};
    CHECK(stopped_after(150ms, 15, killed) >= 150ms);
  }
  SECTION("without a pid namespace of its own it is a process as others") {
    spec.namespaces -= condroid::Namespace::pid;
    spec.security.allow |= condroid::Allow::host_pids;
    spec.resources.cgroup = condroid::CgroupMode::never;
    CHECK(stopped_after(20s, 15, "killed by signal 15 (SIGTERM)") < 5s);
  }
}
