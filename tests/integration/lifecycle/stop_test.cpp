// The ends of a container: asked for, forced, and what it asked for itself.
#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "freezers.hpp"

using condroid::Capability;
using condroid::CapabilitySet;
using condroid::Container;
using condroid::Errc;
using condroid::Exit;
using condroid::Fd;
using condroid::Signal;
using condroid::Spec;
using condroid::Step;
using condroid::StopOptions;
using condroid::Stream;
using condroid::test::FailsWith;
using condroid::test::failure_of;
using condroid::test::is_alive;
using condroid::test::launch;
using condroid::test::launch_and_wait;
using condroid::test::may_reboot;
using condroid::test::members;
using condroid::test::own_cgroups;
using condroid::test::payload;
using condroid::test::read_until;
using condroid::test::Surroundings;
using condroid::test::TempDir;
using condroid::test::TempRoot;
using condroid::test::wait;
using condroid::test::with_pipe;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

/// A file system whose server answers to nothing but its mount: who asks for a file waits, and
/// nothing wakes him, until answer().
class Unanswering {
 public:
  explicit Unanswering(std::string where) : where_(std::move(where)) {
    device_ = Fd(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
    const std::string options =
        fmt::format("fd={},rootmode=40000,user_id=0,group_id=0", device_.get());
    good_ =
        device_.valid() && ::mount("unanswering", where_.c_str(), "fuse", 0, options.c_str()) == 0;
    if (!good_) return;
    // FUSE_INIT, fuse(4): its header is 40 bytes, the answer's 16.
    char request[65536];
    good_ = ::read(device_.get(), request, sizeof request) > 0;
    struct {
      std::uint32_t size, error;
      std::uint64_t unique;
      std::uint32_t major = 7, minor = 31, rest[14] = {};
    } reply{};
    reply.size = sizeof reply;
    std::memcpy(&reply.unique, request + 8, sizeof reply.unique);
    good_ = good_ && ::write(device_.get(), &reply, sizeof reply) > 0;
  }
  Unanswering(const Unanswering&) = delete;
  Unanswering& operator=(const Unanswering&) = delete;
  ~Unanswering() {
    device_.reset();  // aborts what is not answered
    ::umount2(where_.c_str(), MNT_DETACH);
  }
  [[nodiscard]] bool good() const noexcept { return good_; }
  /// Takes the question of somebody who waits from now on.
  [[nodiscard]] bool take() {
    pollfd p{device_.get(), POLLIN, 0};
    char request[65536];
    return ::poll(&p, 1, 5000) == 1 && ::read(device_.get(), request, sizeof request) > 0 &&
           std::memcpy(&unique_, request + 8, sizeof unique_) != nullptr;
  }
  void answer() {
    struct {
      std::uint32_t size = 16;
      std::int32_t error = -EIO;
      std::uint64_t unique;
    } reply{.unique = unique_};
    (void)!::write(device_.get(), &reply, sizeof reply);
  }

 private:
  std::string where_;
  Fd device_;
  bool good_ = false;
  std::uint64_t unique_ = 0;
};

char state_of(pid_t pid) {
  const std::string stat = condroid::test::read_file(fmt::format("/proc/{}/stat", pid));
  const std::size_t at = stat.rfind(')');
  return at == std::string::npos ? '-' : stat[at + 2];
}

}  // namespace

TEST_CASE("what does not want to die dies", "[lifecycle][attack][any_cgroup][.root]") {
  const TempRoot root;
  condroid::test::warm_up();
  const Surroundings before = Surroundings::quiet();
  for (const char* kind : {"daemon", "stopped", "traced", "nested", "vfork"})
    for (const bool in_cgroup : {false, true})
      for (const bool at_once : {false, true}) {
        CAPTURE(kind, in_cgroup, at_once);
        Spec spec = with_pipe(payload(root, {"beast", kind}));
        if (std::string_view(kind) == "nested") {
          spec.security.capabilities = CapabilitySet::small().add(Capability::sys_admin);
          spec.security.allow |= condroid::Allow::capabilities;
          spec.security.allow |= condroid::Allow::real_root;
        }
        spec.lifecycle.freezable = in_cgroup;
        Container box = launch(spec);
        (void)read_until(box.take_stdout(), "ready\n");
        const auto began = Clock::now();
        if (at_once) {
          REQUIRE(box.kill());
          (void)wait(box);
        } else {
          const auto exit = box.stop(50ms);
          REQUIRE(exit);
          CHECK(exit->signal == Signal{SIGKILL});
          CHECK(Clock::now() - began >= 50ms);
        }
        CHECK(Clock::now() - began < 8s);  // it is given up after 10 s
        CHECK(condroid::test::processes_of_zygote().empty());
        CHECK(own_cgroups().empty());
      }
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("a container that ignores everything, holds terminals and forks is gone in time",
          "[lifecycle][attack][any_cgroup][.root]") {
  const TempRoot root;
  constexpr auto patience = 200ms;
  // How long it took beyond that to stop it, or to wait so long and to kill it then.
  const auto besiege = [&](bool own_pids, bool to_stop) {
    Spec spec = with_pipe(payload(root, {"siege", "40"}));
    spec.terminal = {.console = true, .ttys = 2};
    spec.resources.pids_max = 150;
    spec.lifecycle.freezable = true;
    if (!own_pids) {
      spec.namespaces -= condroid::Namespace::pid;
      spec.security.allow |= condroid::Allow::host_pids;
      // Its first process says so only as number 1: with this one we wait for its children.
      spec.process.stdio = condroid::Stdio::null;
    }
    Container box = launch(spec);
    if (own_pids) (void)read_until(box.take_stdout(), "ready\n");
    for (int i = 0; i < 5000 && members().size() < 30; ++i) ::usleep(1000);
    REQUIRE(members().size() >= 30);
    const auto began = Clock::now();
    if (!to_stop) (void)::poll(nullptr, 0, static_cast<int>(patience.count()));
    const auto exit = box.stop(to_stop ? patience : 0ms);
    const auto took = Clock::now() - began;
    REQUIRE(exit);
    CHECK(exit->signal == Signal{SIGKILL});
    CHECK(took >= patience);
    CHECK(members().empty());
    CHECK(own_cgroups().empty());
    return took - patience;
  };
  for (const bool own_pids : {true, false}) {
    CAPTURE(own_pids);
    // Who else wants the processors makes some of them late, and us who kill as well; what is slow
    // by itself makes all of them late.
    const auto bound = 100ms * condroid::test::slow();
    Clock::duration least = besiege(own_pids, true), ours{0};
    for (int more = 0; more < 5 && least >= bound + 2 * ours; ++more) {
      ours = std::max(ours, besiege(own_pids, false));
      least = std::min(least, besiege(own_pids, true));
    }
    CAPTURE(ours.count());
    CHECK(least < bound + 2 * ours);
  }
}

TEST_CASE("who waits for the kernel dies when that has answered", "[lifecycle][.root]") {
  const TempRoot root;
  const TempDir place;
  condroid::test::make_dir(place / "fs");
  Unanswering fs(place / "fs");
  if (!fs.good()) CONDROID_SKIP("needs FUSE");
  Spec spec = payload(root, {"read", "/mnt/file"});
  spec.mounts = {condroid::Bind{
      .source = place.host("fs"), .target = condroid::GuestPath("/mnt"), .recursive = false}};
  spec.lifecycle.freezable = true;
  Container box = launch(spec);
  REQUIRE(fs.take());
  const pid_t pid = box.pid().value;
  for (int i = 0; i < 2000 && state_of(pid) != 'D' && state_of(pid) != 'S'; ++i) ::usleep(1000);
  REQUIRE(box.kill());
  const auto early = box.wait_for(200ms);
  REQUIRE(early);
  CHECK_FALSE(*early);
  CHECK(state_of(pid) == 'D');
  fs.answer();
  CHECK(wait(box).signal == Signal{SIGKILL});
  CHECK(own_cgroups().empty());
}

TEST_CASE("the signals of a Spec are the ones that are sent", "[lifecycle][.root][.userns]") {
  const TempRoot root;
  Spec spec = with_pipe(payload(root, {"signals"}));
  spec.lifecycle.halt_signal = {SIGUSR1};
  spec.lifecycle.reboot_signal = {SIGUSR2};
  Container box = launch(spec);
  const Fd out = box.take_stdout();
  (void)read_until(out, "ready\n");
  REQUIRE(box.halt());
  CHECK(read_until(out, "\n") == "USR1\n");
  REQUIRE(box.reboot());
  CHECK(read_until(out, "\n") == "USR2\n");
  REQUIRE(box.begin_stop({.signal = Signal{SIGWINCH}, .patience = 1h}));
  CHECK(read_until(out, "\n") == "WINCH\n");
  const auto exit = box.stop();  // SIGTERM
  REQUIRE(exit);
  CHECK(exit->success());
  CHECK_THAT(failure_of(box.halt()), FailsWith(ESRCH, Step::signal, "halt: signal 10"));
  CHECK_THAT(failure_of(box.reboot()), FailsWith(ESRCH, Step::signal, "reboot: signal 12"));
}

TEST_CASE("the time of a stop is the Spec's, or the caller's", "[lifecycle][.root][.userns]") {
  const TempRoot root;
  Spec spec = with_pipe(payload(root, {"stubborn"}));
  spec.lifecycle.stop_signal = {SIGHUP};
  spec.lifecycle.stop_timeout = 150ms;
  for (const bool own : {true, false}) {
    CAPTURE(own);
    Container box = launch(spec);
    (void)read_until(box.take_stdout(), "ready\n");
    const auto began = Clock::now();
    const auto exit = own ? box.stop() : box.stop(StopOptions{.patience = 0ms});
    const auto took = Clock::now() - began;
    REQUIRE(exit);
    CHECK(exit->signal == Signal{SIGKILL});
    if (own) CHECK(took >= 150ms);
    CHECK(took < 8s);  // without either it is 10 s
  }
}

TEST_CASE("an event loop stops a container without waiting", "[lifecycle][.root][.userns]") {
  const TempRoot root;
  Container box = launch(with_pipe(payload(root, {"stubborn"})));
  (void)read_until(box.take_stdout(), "ready\n");
  const bool asked_before = GENERATE(false, true);
  CAPTURE(asked_before);
  // Whether the descriptor was asked for before the stop or after it.
  const condroid::FdView early = asked_before ? box.poll_fd() : condroid::FdView{};
  const auto began = Clock::now();
  REQUIRE(box.begin_stop({.patience = 100ms}));
  const condroid::FdView fd = box.poll_fd();
  if (asked_before) CHECK(fd.get() == early.get());
  int wakes = 0;
  for (;; ++wakes) {
    const auto done = box.step();
    REQUIRE(done);
    if (*done) {
      CHECK((*done)->signal == Signal{SIGKILL});
      break;
    }
    pollfd p{fd.get(), POLLIN, 0};
    REQUIRE(::poll(&p, 1, 5000) == 1);  // nothing but what it tells wakes us
  }
  CHECK(Clock::now() - began >= 100ms);
  CHECK(wakes < 10);
}

TEST_CASE("to begin a stop is not to wait for it", "[lifecycle][.root][.userns]") {
  const TempRoot root;
  Container box = launch(with_pipe(payload(root, {"stubborn"})));
  (void)read_until(box.take_stdout(), "ready\n");
  REQUIRE(box.begin_stop({.patience = 1h}));
  CHECK_FALSE(*box.step());
}

TEST_CASE("what reboot(2) asked for is told apart from signals", "[lifecycle][.root]") {
  const TempRoot root;
  using Asked = Exit::Asked;
  struct Case {
    const char* how;
    Asked asked;
    int signal;
    const char* said;
  };
  for (const bool init : {false, true})
    for (const Case& c : std::array<Case, 3>{
             {{"restart", Asked::restart, SIGHUP, "asked for a restart, reboot(2)"},
              {"halt", Asked::power_off, SIGINT, "asked for power off, reboot(2)"},
              {"power_off", Asked::power_off, SIGINT, "asked for power off, reboot(2)"}}}) {
      CAPTURE(c.how, init);
      Spec spec = may_reboot(payload(root, {"reboot", c.how}));
      spec.process.init = init;
      // A small init that dies before it has said that the command runs is a launch that failed.
      spec.process.stdio = {Stream::pipe, Stream::null, Stream::null};
      Container box = launch(spec);
      box.take_stdin().reset();
      const Exit exit = wait(box);
      CHECK(exit.asked == c.asked);
      CHECK(exit.kind == Exit::signaled);
      CHECK(exit.signal == Signal{c.signal});
      CHECK(to_string(exit) == c.said);
      CHECK(exit.shell_status() == 128 + c.signal);
    }
  SECTION("a signal that ends the command is one") {
    Spec spec = payload(root, {"raise", "1"});
    spec.process.init = true;  // pid 1 itself is never ended by it
    const Exit exit = launch_and_wait(spec);
    CHECK(exit.signal == Signal{SIGHUP});
    CHECK(exit.asked == Asked::nothing);
    CHECK(to_string(exit) == "killed by signal 1 (SIGHUP)");
  }
  SECTION("a signal from outside does not end a first process") {
    Container box = launch(with_pipe(payload(root, {"pause"})));
    (void)read_until(box.take_stdout(), "ready\n");
    for (const int number : {SIGHUP, SIGINT}) REQUIRE(box.signal(Signal{number}));
    const auto done = box.wait_for(100ms);
    REQUIRE(done);
    CHECK_FALSE(*done);
  }
  SECTION("without a pid namespace of its own it is the signal that was sent") {
    Spec spec = with_pipe(payload(root, {"pause"}));
    spec.namespaces -= condroid::Namespace::pid;
    spec.security.allow |= condroid::Allow::host_pids;
    Container box = launch(spec);
    (void)read_until(box.take_stdout(), "ready\n");
    REQUIRE(box.signal(Signal{SIGHUP}));
    const Exit exit = wait(box);
    CHECK(exit.signal == Signal{SIGHUP});
    CHECK(exit.asked == Asked::nothing);
  }
  SECTION("without the capability the call is refused") {
    const Exit exit = launch_and_wait(payload(root, {"reboot", "restart"}));
    CHECK(exit.code == 95);
    CHECK(exit.out == "reboot=EPERM\n");
  }
}
