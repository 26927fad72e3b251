// run(): one call for a whole life.
#include "condroid/run.hpp"

#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>

#include "../lifecycle/freezers.hpp"

using condroid::Bytes;
using condroid::Errc;
using condroid::Pool;
using condroid::run;
using condroid::Spec;
using condroid::Stdio;
using condroid::Step;
using condroid::test::FailsWith;
using condroid::test::failure_of;
using condroid::test::need;
using condroid::test::own_cgroups;
using condroid::test::payload;
using condroid::test::runtime;
using condroid::test::Surroundings;
using condroid::test::TempRoot;
using namespace std::chrono_literals;

TEST_CASE("a command is run from nothing to its result", "[run][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"say", "5", "1"});
  spec.process.stdio = Stdio{};
  const auto r = need(run(runtime(), spec, 10s));
  CHECK(r.success());
  CHECK(r.exit.out.starts_with("01234"));
  CHECK(r.launch_time > 0ns);
  CHECK(r.run_time > 0ns);
  CHECK(to_string(r).starts_with("exited with status 0 after "));
  spec.process.argv = {"/bin/payload", "exit", "3"};
  CHECK_FALSE(need(run(runtime(), spec, 10s)).success());
  CHECK(need(run(runtime(), spec, 10s)).exit.code == 3);
}

TEST_CASE("what a command prints is kept up to the limit", "[run][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"say", "3000000", "1"});
  spec.process.stdio = Stdio{};
  spec.process.capture_limit = Bytes{1000};
  const auto r = need(run(runtime(), spec, 20s));
  CHECK(r.exit.out.size() == 1000);
  CHECK(r.exit.dropped == 2999000);
}

TEST_CASE("at the deadline everything is gone, and the result says so", "[run][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"stubborn"});
  const Surroundings before = Surroundings::quiet();
  // Who else wants the processors makes one of them late; what is slow by itself makes all.
  double least = 1e9;
  for (int i = 0; i < 6 && least >= 600; ++i) {
    const auto began = std::chrono::steady_clock::now();
    const auto r = need(run(runtime(), spec, 500ms));
    CHECK(std::chrono::steady_clock::now() - began >= 500ms);
    CHECK(r.timed_out);
    CHECK_FALSE(r.success());
    const std::string begin = "timed out after ";
    REQUIRE(to_string(r).starts_with(begin));
    const double ms = std::strtod(to_string(r).c_str() + begin.size(), nullptr);
    CHECK(ms >= 500);
    least = std::min(least, ms);
    CHECK(to_string(r).find("killed by signal 9 (SIGKILL)") != std::string::npos);
  }
  CHECK(least < 500 + 100 * condroid::test::slow());
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("a deadline that is over in the launch is the launch's", "[run][.root]") {
  const TempRoot root;
  CHECK_THAT(failure_of(run(runtime(), payload(root, {"exit"}), 0ms)),
             FailsWith(Errc::bad_spec, Step::wait, "a deadline of 0 ms"));
  CHECK_THAT(failure_of(run(runtime(), payload(root, {"exit"}), -5ms)),
             FailsWith(Errc::bad_spec, Step::wait, "a deadline of -5 ms"));
}

TEST_CASE("a command that cannot die is not waited for without end", "[long][run][v1][.root]") {
  const auto* freezer = condroid::test::v1_freezer();
  if (freezer == nullptr) CONDROID_SKIP("needs the freezer of v1");
  const TempRoot root;
  Spec warm = payload(root, {"exit"});
  warm.resources.cgroup = condroid::CgroupMode::everywhere;
  for (int i = 0; i < 3; ++i) CHECK(need(run(runtime(), warm, 10s)).success());
  const Surroundings before = Surroundings::quiet();
  {
    Spec spec = warm;
    spec.process.argv.back() = "pause";
    std::optional<condroid::test::FrozenAbove> above;
    std::thread meddler([&] {
      for (int i = 0; i < 1000 && !above; ++i) {
        std::this_thread::sleep_for(5ms);
        for (const pid_t pid : condroid::test::members())
          if (condroid::test::read_file(fmt::format("/proc/{}/comm", pid)) == "payload\n")
            above.emplace(condroid::test::own_cgroup_in(*freezer));
      }
    });
    const auto began = std::chrono::steady_clock::now();
    const auto result = run(runtime(), spec, 2s);
    const auto took = std::chrono::steady_clock::now() - began;
    meddler.join();
    REQUIRE(above);
    const auto failed = failure_of(result);
    CHECK_THAT(failed, FailsWith(Errc::deadline, Step::kill, "was killed and is not gone"));
    CHECK(failed.error->hint.find("is frozen: thaw it") != std::string::npos);
    CHECK(took < 25s);
  }
  // Thawed, it dies, and is undone without anybody's help.
  for (int i = 0; i < 500 && !own_cgroups().empty(); ++i) std::this_thread::sleep_for(10ms);
  CHECK(need(run(runtime(), warm, 10s)).success());
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("a command is run in a container of a pool", "[run][pool][.root][.userns]") {
  const TempRoot root;
  Pool pool = need(Pool::open(runtime(), payload(root, {"pause"}), {.size = 2}));
  const auto r = need(run(pool, {.argv = {"/bin/payload", "say", "3", "1"}}, 10s));
  CHECK(r.exit.out.starts_with("012"));
  CHECK(need(run(pool, {}, 500ms * condroid::test::slow())).timed_out);
  CHECK_FALSE(run(pool, {}, 0ms));
}

TEST_CASE("a thousand commands leave nothing behind", "[run][pool][many][.root]") {
  const TempRoot root;
  Spec spec = payload(root, {"exit"});
  // Whatever is kept from one launch to the next is there after a few.
  for (int i = 0; i < 3; ++i) CHECK(need(run(runtime(), spec, 10s)).success());
  const Surroundings before = Surroundings::quiet();
  int good = 0;
  SECTION("each launched") {
    for (int i = 0; i < 1000; ++i) good += need(run(runtime(), spec, 10s)).success() ? 1 : 0;
  }
  SECTION("each taken from a pool") {
    Pool pool = need(Pool::open(runtime(), spec, {.size = 4}));
    for (int i = 0; i < 1000; ++i) good += need(run(pool, {}, 10s)).success() ? 1 : 0;
  }
  CHECK(good == 1000);
  CHECK(Surroundings::settled(before) == before);
}
