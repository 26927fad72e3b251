// Nobody reads the console of a detached container but the zygote: it must go on reading, and what
// it reads goes to the log, all of it, once, in order.
#include <poll.h>
#include <sys/types.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "containers.hpp"
#include "forked.hpp"

using namespace std::chrono_literals;
using condroid::Container;
using condroid::Runtime;
using condroid::Spec;
using condroid::Stdio;
using condroid::test::is_alive;
using condroid::test::launch;
using condroid::test::must;
using condroid::test::payload;
using condroid::test::read_file;
using condroid::test::TempDir;
using condroid::test::TempRoot;

namespace {

constexpr std::size_t much = 300000;  // more than a terminal holds, however generous

/// Writes that many digits to its terminal, the console.
Spec talker(const TempRoot& root, std::string log, std::size_t count = much) {
  Spec spec = payload(root, {"say", std::to_string(count)});
  spec.terminal.console = true;
  spec.terminal.log = condroid::HostPath(std::move(log));
  spec.process.stdio = Stdio::pty;
  return spec;
}

/// What `payload say` writes.
std::string digits(std::size_t count) {
  std::string text(count, '0');
  for (std::size_t i = 0; i < count; ++i) text[i] = static_cast<char>('0' + i % 10);
  return text;
}

template <class Condition>
bool comes_true(Condition condition) {
  const auto until = std::chrono::steady_clock::now() + 20s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    (void)::poll(nullptr, 0, 2);
  }
  return true;
}

bool ends(pid_t pid) {
  return comes_true([pid] { return !is_alive(pid); });
}

}  // namespace

TEST_CASE("what a detached container says on its console is in the log",
          "[launch][.root][.userns]") {
  const TempRoot root;
  const TempDir place;
  Container box = launch(talker(root, place / "log"));
  REQUIRE(box.detach());
  CHECK(ends(box.pid().value));
  CHECK(comes_true([&] { return read_file(place / "log").size() >= much; }));
  CHECK((read_file(place / "log") == digits(much)));  // in brackets: too much to be printed
}

TEST_CASE("a console that is handed over loses nothing and says nothing twice",
          "[launch][.root][.userns]") {
  const TempRoot root;
  const TempDir place;
  constexpr std::size_t more = 20 * much;  // not all at one step
  Container box = launch(talker(root, place / "log", more));
  // Some of it by us.
  REQUIRE(comes_true([&] {
    auto ended = box.step();
    return !ended || *ended || read_file(place / "log").size() > 20000;
  }));
  REQUIRE(read_file(place / "log").size() < more);
  REQUIRE(box.detach());
  CHECK(ends(box.pid().value));
  CHECK(comes_true([&] { return read_file(place / "log").size() >= more; }));
  CHECK((read_file(place / "log") == digits(more)));  // in brackets: too much to be printed
}

TEST_CASE("a detached console is drained when its program is gone", "[launch][.root][.userns]") {
  const TempRoot root;
  const TempDir place;
  Spec spec = talker(root, place / "log");
  condroid::test::Forked host([&] {
    const auto mine = Runtime::open({.state_dir = place.host("state")});
    if (!mine) return 1;
    auto box = mine->launch(spec);
    return box && box->detach() ? 0 : 2;
  });
  CHECK(host.wait() == 0);
  CHECK(comes_true([&] { return read_file(place / "log").size() >= much; }));
  CHECK((read_file(place / "log") == digits(much)));  // in brackets: too much to be printed
  // And then the monitor goes, with its directory.
  CHECK(comes_true([&] { return ::access((place / "state").c_str(), F_OK) != 0; }));
}

TEST_CASE("a detached console without a log is drained, too", "[launch][.root][.userns]") {
  const TempRoot root;
  Container box = launch(talker(root, {}));
  REQUIRE(box.detach());
  CHECK(ends(box.pid().value));
}

TEST_CASE("a detached console that is closed and opened again goes on",
          "[launch][.root][.userns]") {
  constexpr std::size_t times = 200, each = 1000;
  const TempRoot root;
  const TempDir place;
  Spec spec = talker(root, place / "log");
  spec.process.argv = {"/bin/payload", "reopen", "/dev/console", std::to_string(times)};
  spec.process.stdio = Stdio::null;
  Container box = launch(spec);
  REQUIRE(box.detach());
  CHECK(ends(box.pid().value));
  CHECK(comes_true([&] { return read_file(place / "log").size() >= times * each; }));
  CHECK(read_file(place / "log") == std::string(times * each, '.'));
}
