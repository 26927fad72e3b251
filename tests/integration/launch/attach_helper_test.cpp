// The helper that waits for an attach: it is there after the first one, holds nothing, and nobody
// depends on it.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "attaching.hpp"

using condroid::Attach;
using condroid::Container;
using condroid::Exit;
using condroid::Result;
using condroid::Spec;
using condroid::Stdio;
using condroid::Task;
using condroid::test::children_of;
using condroid::test::ended;
using condroid::test::entries_of;
using condroid::test::is_alive;
using condroid::test::launch;
using condroid::test::name_of;
using condroid::test::need;
using condroid::test::payload;
using condroid::test::read_file;
using condroid::test::Report;
using condroid::test::runtime;
using condroid::test::TempRoot;
using condroid::test::verb;
using namespace std::chrono_literals;

namespace {

/// The helper that waits, once it does; 0 when there is none within `patience`.
pid_t helper_of(pid_t zygote, std::chrono::milliseconds patience = 10s) {
  const auto until = std::chrono::steady_clock::now() + patience;
  for (;;) {
    for (const pid_t child : children_of(zygote))
      if (name_of(child) == "condroid-helper" &&
          read_file("/proc/" + std::to_string(child) + "/stat").find(") S ") != std::string::npos)
        return child;
    if (std::chrono::steady_clock::now() >= until) return 0;
    std::this_thread::sleep_for(2ms);
  }
}

}  // namespace

TEST_CASE("a helper waits for the next attach, with nothing of anybody's", "[attach][.root]") {
  const TempRoot root;
  const Container box = launch(payload(root, {"pause"}));
  const Container other = launch(payload(root, {"pause"}));
  const pid_t zygote = runtime().zygote_pid().value;
  CHECK(ended(box.attach(verb({"exit", "0"}))).code == 0);
  const pid_t helper = helper_of(zygote);
  REQUIRE(helper > 0);

  SECTION("of the zygote it has its pidfd, and the socket it is asked on") {
    // The numbers below the two are held by what the zygote has there, too: an eventfd.
    std::vector<std::string> open;
    const std::string dir = "/proc/" + std::to_string(helper) + "/fd";
    for (const std::string& number : entries_of(dir)) {
      char to[256] = {};
      REQUIRE(::readlink((dir + "/" + number).c_str(), to, sizeof to - 1) > 0);
      open.push_back(number + " " + std::string(to).substr(0, std::string_view(to).find('[')));
    }
    std::ranges::sort(open);
    REQUIRE(open.size() == 8);
    for (std::size_t i = 0; i < 6; ++i) CHECK(open[i] == std::to_string(i) + " anon_inode:");
    CHECK(open[6].starts_with("6 "));
    CHECK(open[7] == "7 socket:");
    for (const char* kind : {"mnt", "pid", "net", "user"}) {
      char ours[64] = {}, theirs[64] = {};
      const std::string ns = std::string("/ns/") + kind;
      REQUIRE(::readlink(("/proc/self" + ns).c_str(), ours, sizeof ours - 1) > 0);
      REQUIRE(::readlink(("/proc/" + std::to_string(helper) + ns).c_str(), theirs,
                         sizeof theirs - 1) > 0);
      CHECK(std::string_view(ours) == theirs);
    }
  }
  SECTION("it is used up, and there is another one") {
    auto task = need(box.attach(verb({"pause"})));
    CHECK_FALSE(is_alive(helper));
    CHECK(std::ranges::count(children_of(zygote), task.pid().value) == 1);
    const pid_t next = helper_of(zygote);
    CHECK(next > 0);
    CHECK(next != helper);
    // Whichever container it is.
    CHECK(ended(other.attach(verb({"exit", "3"}))).code == 3);
    need(task.kill());
    CHECK_FALSE(need(task.wait()).success());
  }
  SECTION("one that is killed is done without") {
    ::kill(helper, SIGKILL);
    for (int i = 0; i < 500 && is_alive(helper); ++i) std::this_thread::sleep_for(10ms);
    CHECK(ended(box.attach(verb({"exit", "4"}))).code == 4);
    CHECK(helper_of(zygote) > 0);
    CHECK(ended(box.attach(verb({"exit", "5"}))).code == 5);
  }
  SECTION("a failed attach leaves the next one as it was") {
    Attach bad = verb({});
    bad.process.argv = {"/no/such"};
    for (int i = 0; i < 3; ++i) CHECK_FALSE(box.attach(bad));
    CHECK(ended(box.attach(verb({"exit", "6"}))).code == 6);
  }
  SECTION("many at once have one, or are cloned as the first was") {
    std::vector<std::thread> threads;
    std::vector<int> codes(8, -1);
    for (std::size_t i = 0; i < codes.size(); ++i)
      threads.emplace_back([&, i] {
        for (int k = 0; k < 10; ++k) {
          auto task = (i % 2 == 0 ? box : other).attach(verb({"exit", std::to_string(i)}));
          if (!task) return;
          auto e = task->wait();
          codes[i] = e && e->code == static_cast<int>(i) ? e->code : -2;
          if (codes[i] < 0) return;
        }
      });
    for (std::thread& t : threads) t.join();
    for (std::size_t i = 0; i < codes.size(); ++i) CHECK(codes[i] == static_cast<int>(i));
  }
}

TEST_CASE("a helper that waits ends with its Runtime", "[attach][.root]") {
  const TempRoot root;
  pid_t helper = 0;
  {
    const auto own = need(condroid::Runtime::open());
    const Container box = need(own.launch(payload(root, {"pause"})));
    CHECK(ended(box.attach(verb({"exit", "0"}))).code == 0);
    helper = helper_of(own.zygote_pid().value);
    REQUIRE(helper > 0);
  }
  for (int i = 0; i < 500 && is_alive(helper); ++i) std::this_thread::sleep_for(10ms);
  CHECK_FALSE(is_alive(helper));
}

TEST_CASE("a helper that waits ends with the zygote", "[attach][.root]") {
  const TempRoot root;
  const auto own = need(condroid::Runtime::open());
  const Container box = need(own.launch(payload(root, {"pause"})));
  CHECK(ended(box.attach(verb({"exit", "0"}))).code == 0);
  const pid_t helper = helper_of(own.zygote_pid().value);
  REQUIRE(helper > 0);
  ::kill(own.zygote_pid().value, SIGKILL);
  for (int i = 0; i < 500 && is_alive(helper); ++i) std::this_thread::sleep_for(10ms);
  CHECK_FALSE(is_alive(helper));
}

TEST_CASE("an attach that a zygote has no room for leaves later ones where they belong",
          "[attach][.root]") {
  const TempRoot root;
  const auto own = need(condroid::Runtime::open());
  const auto named = [&](const char* name) {
    condroid::Spec spec = payload(root, {"pause"});
    spec.hostname = name;
    return need(own.launch(spec));
  };
  const Container one = named("one"), two = named("two");
  const auto name_in = [](const Container& box) {
    return condroid::test::Report(ended(box.attach(verb({"probe"}))))["hostname"];
  };
  CHECK(name_in(one) == "one");
  const pid_t zygote = own.zygote_pid().value;
  REQUIRE(helper_of(zygote) > 0);
  // The helper has room in a table of its own; the zygote cannot take what it is told with.
  rlimit before{};
  const rlimit none{0, 0};
  REQUIRE(::prlimit(zygote, RLIMIT_NOFILE, nullptr, &before) == 0);
  const rlimit small{none.rlim_cur, before.rlim_max};
  REQUIRE(::prlimit(zygote, RLIMIT_NOFILE, &small, nullptr) == 0);
  const auto refused = one.attach(verb({"probe"}));
  REQUIRE(::prlimit(zygote, RLIMIT_NOFILE, &before, nullptr) == 0);
  CHECK_FALSE(refused);
  for (int i = 0; i < 4; ++i) {
    CHECK(name_in(two) == "two");
    CHECK(name_in(one) == "one");
  }
}
