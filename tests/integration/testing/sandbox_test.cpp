#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "condroid/testing/catch2.hpp"
#include "forked.hpp"
#include "images.hpp"

namespace condroid {

using namespace std::chrono_literals;
using testing::Failure;
using testing::Image;

using testing::Ran;
using testing::Sandbox;
using testing::Says;
using testing::Succeeds;

namespace {

/// The machine's busybox, in an image of its own in a cache of its own. Where everybody may look
/// it up: what is in a user namespace has other rights there.
struct Busybox {
  Busybox() : Busybox(0) {}
  explicit Busybox(std::size_t pool)
      : bench({.store = {.cache = HostPath(scratch / "cache"), .sync = false}}),
        image(bench, made(), {.pool = pool, .disk = {std::uint64_t{64} << 20U}}) {}
  std::string made() const {
    test::write_file(scratch / "busybox.tar", test::busybox_tar());
    return scratch / "busybox.tar";
  }
  test::Scratch scratch;
  testing::Bench bench;
  Image image;
};

/// The text of what was thrown.
template <class Body>
std::string failure_of(Body body) {
  try {
    body();
  } catch (const Failure& failure) {
    return failure.what();
  }
  return "(nothing was thrown)";
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* const list = ::opendir("/proc/self/fd");
  while (::readdir(list) != nullptr) ++count;
  ::closedir(list);
  return count;
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a box keeps its files between commands, and no other box has them",
          "[testing][root][userns]") {
  const Busybox busybox;
  Sandbox one{busybox.image};
  Sandbox two{busybox.image};
  CHECK_THAT(one.run("echo hello > /var/mine"), Succeeds());
  CHECK(one.run({"cat", "/var/mine"}).out == "hello\n");
  CHECK(two.run({"cat", "/var/mine"}).status() == 1);
  CHECK_FALSE(test::is_there(busybox.image.root().str() + "/var/mine"));
  const Ran ran = one.run("echo out; echo err >&2; exit 3");
  CHECK(ran.out == "out\n");
  CHECK(ran.err == "err\n");
  CHECK(ran.status() == 3);
  CHECK(ran.duration > 0s);
  CHECK(one.run("cat", {.input = "given"}).out == "given");
  CHECK(one.run("echo $A; pwd", {.env = {"A=b c"}, .cwd = GuestPath("/var")}).out == "b c\n/var\n");
  CHECK(one.expect_exit(7, "exit 7").status() == 7);
  CHECK(one.expect_signal({SIGKILL}, "kill -9 $$").exit.kind == Exit::signaled);
  CHECK(one.run("hostname").out == "box\n");
}

TEST_CASE("files go in and come out", "[testing][root][userns]") {
  const Busybox busybox;
  Sandbox box{busybox.image};
  box.put("/etc/new/deep.conf", "port = 80\n");
  CHECK(box.run("cat /etc/new/deep.conf").out == "port = 80\n");
  box.put("/bin/tool", "#!/bin/sh\necho tool $1\n", {0755});
  CHECK(box.run({"/bin/tool", "x"}).out == "tool x\n");
  const std::string large(std::size_t{3} << 20U, 'x');
  box.put("/var/large", large);
  CHECK(box.get("/var/large") == large);
  box.run("echo said > /var/said");
  CHECK(box.get("/var/said") == "said\n");
  CHECK(contains(failure_of([&] { (void)box.get("/no/such"); }), "/no/such"));
  CHECK(contains(failure_of([&] { (void)box.get("/etc"); }), "EISDIR"));

  // A link leads to what is there in the box.
  const test::Scratch outside;
  test::write_file(outside / "victim", "untouched");
  box.run({"mkdir", "-p", outside.str()});
  box.run({"/bin/busybox", "ln", "-s", outside / "victim", "/var/out"});
  box.run({"/bin/busybox", "ln", "-s", "../../../../.." + outside.str(), "/var/up"});
  box.put("/var/out", "in the box");
  box.put("/var/up/second", "in the box");
  CHECK(test::text_of(outside / "victim") == "untouched");
  CHECK_FALSE(test::is_there(outside / "second"));
  CHECK(box.run({"cat", outside / "victim"}).out == "in the box");
}

TEST_CASE("a command that hangs is ended at its deadline, with what it said",
          "[testing][root][userns]") {
  const Busybox busybox;
  Sandbox box{busybox.image};
  const std::string text =
      failure_of([&] { box.run("echo begun; echo badly >&2; sleep 1000", {.deadline = 3s}); });
  CHECK(contains(text, "deadline of 3000 ms"));
  CHECK(contains(text, "begun"));
  CHECK(contains(text, "badly"));
  CHECK(contains(text, "sleep 1000"));
  // Its plan, too.
  CHECK(contains(text, "exec"));
  CHECK_THAT(box.run("true"), Succeeds());
}

TEST_CASE("what cannot be executed is thrown with the box's plan", "[testing][root][userns]") {
  const Busybox busybox;
  Sandbox box{busybox.image};
  const std::string text = failure_of([&] { box.run({"/no/such/program"}); });
  CHECK(contains(text, "/no/such/program"));
  CHECK(contains(text, "ENOENT"));
  CHECK(contains(text, "its plan"));
  CHECK(contains(failure_of([&] { box.expect_exit(0, "echo why; exit 5"); }), "why"));
  CHECK(contains(failure_of([&] { Image(busybox.bench, "/no/such/image"); }), "/no/such/image"));
}

TEST_CASE("a matcher that fails shows what the command said", "[testing][root][userns]") {
  const Busybox busybox;
  Sandbox box{busybox.image};
  const Ran ran = box.run("echo the reason; exit 4");
  CHECK_FALSE(Succeeds().match(ran));
  CHECK(testing::ExitsWith(4).match(ran));
  CHECK(Says("reason").match(ran));
  CHECK(contains(Catch::StringMaker<Ran>::convert(ran), "the reason"));
}

TEST_CASE("a command in the background is looked at, waited for and ended",
          "[testing][root][userns]") {
  const Busybox busybox;
  Sandbox box{busybox.image};
  auto talker = box.start("echo ready; sleep 1000");
  talker.expect_output("ready", 20s);
  CHECK(talker.running());
  CHECK(box.run("ps").out.find("sleep 1000") != std::string::npos);
  talker.kill();
  CHECK_FALSE(talker.running());
  auto loud = box.start("yes", {.most_output = {100000}});
  // Nobody reads it, and it does not wait for that: it is refused more.
  CHECK(loud.wait(20s).out.size() <= 100000);
  CHECK(loud.out().size() > 50000);
  auto quick = box.start("cat; exit 6", {.input = "given"});
  const Ran ran = quick.wait(20s);
  CHECK(ran.status() == 6);
  CHECK(ran.out == "given");
  auto mute = box.start("exit 1");
  CHECK(contains(failure_of([&] { mute.expect_output("never", 20s); }), "it ended before"));
}

TEST_CASE("boxes of a pool are fresh", "[testing][root][userns]") {
  const Busybox busybox(3);
  for (int i = 0; i < 12; ++i) {
    Sandbox box{busybox.image};
    CHECK(box.run("test ! -e /var/mine && touch /var/mine").success());
  }
  busybox.image.warm();
}

/// Of the zygote's children those whose program is not the zygote's.
std::set<pid_t> running_below(Pid zygote) {
  std::set<pid_t> all;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "status");
    std::string line, name;
    while (std::getline(file, line)) {
      if (line.starts_with("Name:")) name = line.substr(6);
      if (line == fmt::format("PPid:\t{}", zygote.value) && name != "condroid-zygote")
        all.insert(std::stoi(entry.path().filename()));
    }
  }
  return all;
}

TEST_CASE("the next box runs before it is asked for, and one that died meanwhile is not given",
          "[testing][root]") {
  const Busybox busybox(2);
  Sandbox launched{busybox.image};
  Sandbox first{busybox.image};
  busybox.image.warm();
  Sandbox taken{busybox.image};
  // By itself: one was ready, and nobody waits for it.
  std::set<pid_t> others;
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (others.size() != 1 && std::chrono::steady_clock::now() < end) {
    ::usleep(5000);
    others = running_below(busybox.image.runtime().zygote_pid());
    for (Sandbox* box : {&launched, &first, &taken}) others.erase(box->container().pid().value);
  }
  REQUIRE(others.size() == 1);
  const pid_t next = *others.begin();
  SECTION("given") {
    Sandbox second{busybox.image};
    CHECK(second.container().pid().value == next);
    CHECK(second.run("echo lives").out == "lives\n");
  }
  SECTION("dead") {
    const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, next, 0)));
    REQUIRE(::kill(next, SIGKILL) == 0);
    pollfd ended{pidfd.get(), POLLIN, 0};
    REQUIRE(::poll(&ended, 1, 20000) == 1);
    Sandbox second{busybox.image};
    CHECK(second.container().pid().value != next);
    CHECK(second.run("echo lives").out == "lives\n");
  }
}

TEST_CASE("what a box is can be adjusted", "[testing][root][userns]") {
  const Busybox busybox;
  Sandbox box{busybox.image, {.name = "special", .adjust = [](Spec& spec) {
                                spec.process.env.emplace_back("MORE=1");
                                spec.mounts.emplace_back(Tmpfs{.target = GuestPath("/mnt")});
                              }}};
  CHECK(box.run("hostname; echo $MORE; grep -c ' /mnt tmpfs' /proc/mounts").out ==
        "special\n1\n1\n");
}

TEST_CASE("a child that a command leaves is reaped in the box", "[testing][root][userns]") {
  const Busybox busybox;
  Sandbox box{busybox.image};
  CHECK_THAT(box.run("(sleep 0.1 &) ; exit 0"), Succeeds());
  const auto gone = [&] { return !contains(box.run("ps").out, "sleep"); };
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (!gone() && std::chrono::steady_clock::now() < end) ::usleep(20000);
  CHECK(gone());
}

TEST_CASE("boxes reach one another by name and by address, and nobody else", "[testing][root]") {
  const Busybox busybox;
  testing::Network net;
  Sandbox server{busybox.image, {.network = &net, .name = "server"}};
  Sandbox client{busybox.image, {.network = &net, .name = "client"}};
  Sandbox alone{busybox.image};
  Sandbox unnamed{busybox.image, {.network = &net}};
  server.put("/var/www/page", "good evening\n");
  auto httpd = server.start({"httpd", "-f", "-h", "/var/www"});
  // (Debian's static wget looks for more of a system than there is here.)
  const auto page_of = [](const std::string& host) {
    return "printf 'GET /page HTTP/1.0\\r\\n\\r\\n' | nc -w 5 " + host + " 80";
  };
  CHECK_THAT(client.eventually(page_of("server"), {.deadline = 20s}), Says("good evening\n"));
  CHECK_THAT(client.run(page_of(to_string(net.address("server")))), Says("good evening\n"));
  // One that was there before knows those that came later.
  CHECK_THAT(server.run("ping -c 1 -W 10 client"), Succeeds());
  CHECK_THAT(server.run("ping -c 1 -W 10 " + unnamed.name()), Succeeds());
  CHECK(alone.run("ip -o link").out.find("eth0") == std::string::npos);
  // The host has no part in it: no interface, no address, no way to there.
  CHECK_FALSE(test::is_there("/sys/class/net/lan"));
  CHECK_FALSE(test::is_there("/sys/class/net/box1"));
  CHECK(client.run("ip route").out.find("default") == std::string::npos);
  CHECK(contains(failure_of([&] {
                   Sandbox again{busybox.image, {.network = &net, .name = "server"}};
                 }),
                 "'server'"));

  // Another one of the same addresses is another one.
  testing::Network other;
  Sandbox stranger{busybox.image, {.network = &other, .name = "stranger"}};
  CHECK(stranger.run("ping -c 1 -W 1 server").status() != 0);
  CHECK(stranger.run("ping -c 1 -W 1 " + to_string(net.address("client"))).status() != 0);
}

TEST_CASE("a cable that was taken out carries nothing until it is in again", "[testing][root]") {
  const Busybox busybox;
  testing::Network net;
  Sandbox a{busybox.image, {.network = &net, .name = "a"}};
  Sandbox b{busybox.image, {.network = &net, .name = "b"}};
  CHECK_THAT(a.eventually("ping -c 1 -W 1 b", {.deadline = 20s}), Succeeds());
  net.cut("b");
  CHECK_FALSE(a.run("ping -c 1 -W 1 b").success());
  CHECK_FALSE(b.run("ping -c 1 -W 1 a").success());
  net.heal("b");
  CHECK_THAT(a.eventually("ping -c 1 -W 1 b", {.deadline = 20s}), Succeeds());
  CHECK(contains(failure_of([&] { net.cut("nobody"); }), "nobody"));
  { Sandbox third{busybox.image, {.network = &net, .name = "c"}}; }
  // Its name is free again.
  Sandbox third{busybox.image, {.network = &net, .name = "c"}};
  CHECK_THAT(third.eventually("ping -c 1 -W 1 a", {.deadline = 20s}), Succeeds());
}

TEST_CASE("threads have boxes of one image at once", "[testing][root][userns]") {
  const Busybox busybox(4);
  std::atomic<int> fine{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) {
        Sandbox box{busybox.image};
        if (box.run("test ! -e /var/mine && touch /var/mine").success()) ++fine;
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(fine == 40);
}

TEST_CASE("boxes leave nothing in the program that had them", "[testing][root]") {
  const Busybox busybox(2);
  testing::Network net;
  const auto round = [&] {
    Sandbox a{busybox.image};
    Sandbox b{busybox.image, {.network = &net}};
    a.put("/var/x", "x");
    (void)a.start("sleep 1000");
    REQUIRE(b.run("true").success());
  };
  for (int i = 0; i < 4; ++i) round();
  busybox.image.warm();
  const std::size_t before = open_descriptors();
  for (int i = 0; i < 20; ++i) round();
  busybox.image.warm();
  CHECK(open_descriptors() == before);
}

TEST_CASE("boxes of a test program that is killed are gone", "[testing][root][userns]") {
  const Busybox busybox;
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const std::string state = busybox.scratch / "state";
  {
    test::Forked program([&] {
      const testing::Bench bench(
          {.runtime = {.state_dir = HostPath(state)},
           .store = {.cache = HostPath(busybox.scratch / "cache"), .sync = false}});
      const Image image(bench, busybox.scratch / "busybox.tar", {.pool = 2});
      std::vector<Sandbox> boxes;
      std::vector<testing::Background> running;
      for (int i = 0; i < 4; ++i) {
        boxes.emplace_back(image);
        running.push_back(boxes.back().start("sleep 1000"));
      }
      // As the host numbers them.
      for (auto& box : boxes) {
        const pid_t pid = box.container().pid().value;
        (void)!::write(write_end.get(), &pid, sizeof pid);
      }
      for (auto& each : running) {
        const pid_t pid = each.pid().value;
        (void)!::write(write_end.get(), &pid, sizeof pid);
      }
      ::pause();
    });
    std::vector<Fd> held;
    write_end.reset();
    for (int i = 0; i < 8; ++i) {
      pid_t pid = 0;
      REQUIRE(::read(read_end.get(), &pid, sizeof pid) == sizeof pid);
      held.emplace_back(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
      REQUIRE(held.back().valid());
    }
    ::kill(program.pid(), SIGKILL);
    (void)program.wait();
    for (const Fd& each : held) {
      pollfd ended{each.get(), POLLIN, 0};
      CHECK(::poll(&ended, 1, 20000) == 1);
    }
  }
  // The zygote's own state goes last.
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (test::is_there(state) && std::chrono::steady_clock::now() < end) ::usleep(10000);
  CHECK_FALSE(test::is_there(state));
}

namespace {
const Image& shared_image() {
  static const Busybox busybox;
  return busybox.image;
}
}  // namespace

TEST_CASE_METHOD(testing::InSandbox<shared_image>, "a fixture has a box of its own",
                 "[testing][root][userns]") {
  CHECK_THAT(box.run("echo from a fixture"), Succeeds() && Says("fixture"));
}

}  // namespace condroid
