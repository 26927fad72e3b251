// Scopes where systemd does not answer as one wishes: each way is one clear error where a scope is
// required, and the next choice where it is not. What a real systemd does: tests/integration/scope.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>

#include "condroid/systemd_scope.hpp"
#include "containers.hpp"
#include "forked.hpp"

using condroid::Errc;
using condroid::Error;
using condroid::Fd;
using condroid::Runtime;
using condroid::Step;
using condroid::SystemdScope;
using condroid::test::FailsWith;
using condroid::test::failure_of;
using condroid::test::Forked;
using condroid::test::in_child;
using condroid::test::make_file;
using condroid::test::must;
using condroid::test::payload;
using condroid::test::TempDir;
using condroid::test::TempRoot;
using condroid::test::wait;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using namespace std::string_view_literals;

namespace {

constexpr milliseconds patience{500};

std::string state_dir() { return fmt::format("/tmp/test-state-{}-s", ::getpid()); }

auto open_with(SystemdScope::Use use) {
  return Runtime::open({.state_dir = condroid::HostPath(state_dir()),
                        .systemd = {.use = use, .patience = patience}});
}

/// A socket that somebody listens on; what comes of that is up to the test.
class Listener {
 public:
  explicit Listener(const std::string& path)
      : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    path.copy(to.sun_path, sizeof to.sun_path - 1);
    must(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 &&
             ::listen(socket_.get(), 4) == 0,
         path);
    must(::chmod(path.c_str(), 0666) == 0, path);
  }
  void close() { socket_.reset(); }
  /// Says this to whoever comes, and goes away, or stays until it is killed.
  void serve(std::string_view words, bool stays) {
    for (;;) {
      const Fd peer(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      (void)::send(peer.get(), words.data(), words.size(), MSG_NOSIGNAL);
      char buffer[512];
      while (stays && ::read(peer.get(), buffer, sizeof buffer) > 0) {
      }
    }
  }

 private:
  Fd socket_;
};

/// In a child that has this for its system bus: required it fails with `words` in the text,
/// preferred it works without. Both within the patience, and with nothing left open.
std::string meets(const std::string& address, const std::string& words) {
  return in_child([&] {
    ::setenv("DBUS_SYSTEM_BUS_ADDRESS", address.c_str(), 1);
    const auto descriptors = condroid::test::entries_of("/proc/self/fd").size();
    auto began = Clock::now();
    auto refused = open_with(SystemdScope::required);
    constexpr milliseconds slack{1500};
    must(Clock::now() - began < patience + slack, "it took too long");
    must(!refused, "it was not refused");
    const std::string text = to_string(refused.error());
    must(refused.error().step == Step::start_scope, text);
    must(text.find(words) != std::string::npos && text.find('\n') == std::string::npos, text);
    must(text.find(address.substr(0, address.find(';'))) != std::string::npos, text);
    must(!refused.error().hint.empty(), text);
    must(condroid::test::entries_of("/proc/self/fd").size() == descriptors, "descriptors are open");
    began = Clock::now();
    auto runtime = must(open_with(SystemdScope::preferred));
    must(Clock::now() - began < patience + slack, "it took too long");
    must(runtime.scope().unit.empty(), "a scope");
    must(runtime.scope().why_not.find(words) != std::string::npos, runtime.scope().why_not);
    const TempRoot root;
    auto spec = payload(root, {"exit", "7"});
    spec.resources.pids_max = 20;
    auto box = must(runtime.launch(spec));
    must(wait(box).code == 7, "the container");
  });
}

/// dbus-daemon with a policy.
class Daemon {
 public:
  Daemon(const TempDir& dir, std::string_view policy) : path_(dir / "bus") {
    make_file(dir / "bus.conf",
              fmt::format(
                  "<!DOCTYPE busconfig PUBLIC '-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN'"
                  " 'http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd'>"
                  "<busconfig><listen>unix:path={}</listen><auth>EXTERNAL</auth>{}</busconfig>",
                  path_, policy));
    int ends[2];
    must(::pipe2(ends, O_CLOEXEC) == 0, "pipe");
    const Fd from(ends[0]);
    Fd to(ends[1]);
    pid_ = ::fork();
    must(pid_ >= 0, "fork");
    if (pid_ == 0) {
      ::dup2(to.get(), 1);
      const std::string config = "--config-file=" + (dir / "bus.conf");
      ::execlp("dbus-daemon", "dbus-daemon", config.c_str(), "--nofork", "--nopidfile",
               "--print-address=1", nullptr);
      ::_exit(127);
    }
    to.reset();
    // It says so when it listens.
    must(condroid::test::read_until(from, "\n").ends_with('\n'), "dbus-daemon did not start");
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  ~Daemon() {
    ::kill(pid_, SIGKILL);
    (void)::waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] std::string address() const { return "unix:path=" + path_; }

 private:
  std::string path_;
  pid_t pid_ = -1;
};

}  // namespace

TEST_CASE("a bus that is not there, or no bus, is told as what it is", "[launch][scope][.root]") {
  const TempDir dir;
  const std::string path = dir / "bus", address = "unix:path=" + path;
  SECTION("not there") {
    CHECK(meets(address, "(ENOENT)") == "");
    CHECK(meets(address + ";unix:abstract=condroid-nobody", "(ECONNREFUSED)") == "");
  }
  SECTION("nobody listens any more") {
    Listener(path).close();
    CHECK(meets(address, "(ECONNREFUSED)") == "");
  }
  SECTION("it does not answer") {
    const Listener bus(path);
    CHECK(meets(address, "no answer from") == "");
  }
  SECTION("it lets us in, and does not answer") {
    Listener bus(path);
    Forked server([&] { return bus.serve("DATA\r\nOK 1234\r\n", true), 0; });
    bus.close();
    CHECK(meets(address, "Hello: no answer from") == "");
  }
  SECTION("it hangs up") {
    Listener bus(path);
    Forked server([&] { return bus.serve("", false), 0; });
    bus.close();
    // EPIPE or ECONNRESET: that depends on when it does.
    CHECK(meets(address, "authentication of the system bus") == "");
  }
  SECTION("it rejects us") {
    Listener bus(path);
    Forked server([&] { return bus.serve("REJECTED EXTERNAL\r\n", true), 0; });
    bus.close();
    CHECK(meets(address, "authentication of the system bus") == "");
  }
  SECTION("it speaks of something else") {
    Listener bus(path);
    const auto words = GENERATE(
        "HTTP/1.1 400 Bad Request\r\n\r\n"sv, "DATA\r\nOK 1\r\nnothing that is a message"sv,
        "DATA\r\nOK 1\r\nl\2\1\1\xff\xff\xff\x7f\1\0\0\0\xff\xff\xff\x7f"sv);
    Forked server([&] { return bus.serve(words, true), 0; });
    bus.close();
    CHECK(meets(address, "is that a message bus?") == "");
  }
  SECTION("it never ends a line") {
    Listener bus(path);
    const std::string words(100000, 'x');
    Forked server([&] { return bus.serve(words, true), 0; });
    bus.close();
    CHECK(meets(address, "is that a message bus?") == "");
  }
}

TEST_CASE("no program is started to reach a bus", "[launch][scope][.root]") {
  const TempDir dir;
  const std::string trace = dir / "started";
  CHECK(meets("unixexec:path=/bin/touch,argv1=" + trace, "an address of a socket") == "");
  CHECK(meets("tcp:host=localhost,port=1", "an address of a socket") == "");
  CHECK(::access(trace.c_str(), F_OK) < 0);
}

TEST_CASE("a bus without systemd, or one that refuses", "[launch][scope][.root]") {
  const TempDir dir;
  constexpr auto all =
      "<allow send_destination='*' eavesdrop='true'/><allow eavesdrop='true'/><allow own='*'/>";
  SECTION("without systemd") {
    const Daemon bus(dir, fmt::format("<policy context='default'>{}</policy>", all));
    CHECK(meets(bus.address(), "'org.freedesktop.systemd1' is not running there") == "");
  }
  SECTION("it refuses what it is asked") {
    const Daemon bus(dir, fmt::format("<policy context='default'>{}<deny "
                                      "send_destination='org.freedesktop.DBus' "
                                      "send_interface='org.freedesktop.DBus' "
                                      "send_member='AddMatch'/></policy>",
                                      all));
    CHECK(meets(bus.address(), "(EACCES)") == "");
  }
  SECTION("it lets nobody in") {
    const Daemon bus(dir, "<policy context='default'><deny user='*'/></policy>");
    CHECK(meets(bus.address(), "of the system bus") == "");
  }
}

TEST_CASE("what a scope cannot be is refused before anybody is asked", "[launch][scope][.root]") {
  CHECK_THAT(failure_of(Runtime::open({.state_dir = condroid::HostPath(state_dir()),
                                       .systemd = {.slice = "nothing of a unit"}})),
             FailsWith(Errc::bad_spec, Step::open_runtime, "slice 'nothing of a unit'"));
  CHECK_THAT(failure_of(Runtime::open({.state_dir = condroid::HostPath(state_dir()),
                                       .cgroup_parent = "/mine",
                                       .systemd = {.use = SystemdScope::required}})),
             FailsWith(Errc::bad_spec, Step::open_runtime, "'/mine'"));
}

TEST_CASE("who does not need a scope asks nobody", "[launch][scope][.root]") {
  const TempDir dir;
  const Listener bus(dir / "bus");
  CHECK(in_child([&] {
          ::setenv("DBUS_SYSTEM_BUS_ADDRESS", ("unix:path=" + (dir / "bus")).c_str(), 1);
          for (const auto use : {SystemdScope::never, SystemdScope::when_needed}) {
            const auto runtime = must(open_with(use));
            must(runtime.scope() == condroid::ScopeOutcome{}, runtime.scope().why_not);
          }
          const auto named = must(Runtime::open({.state_dir = condroid::HostPath(state_dir()),
                                                 .cgroup_parent = "/mine",
                                                 .systemd = {.use = SystemdScope::preferred}}));
          must(named.scope() == condroid::ScopeOutcome{}, named.scope().why_not);
        }) == "");
}

TEST_CASE("a user who needs one asks his own bus", "[launch][scope][.root]") {
  const TempDir dir;
  CHECK(in_child([&] {
          condroid::test::drop_root();
          const auto says = [](std::string_view words) {
            const auto runtime = must(open_with(SystemdScope::when_needed));
            must(runtime.scope().why_not.find(words) != std::string::npos, runtime.scope().why_not);
          };
          ::unsetenv("DBUS_SESSION_BUS_ADDRESS");
          ::unsetenv("XDG_RUNTIME_DIR");
          says("the user bus 'unix:path=/run/user/65534/bus': ");
          ::setenv("XDG_RUNTIME_DIR", (dir / "run time").c_str(), 1);
          says("the user bus 'unix:path=" + (dir / "run%20time/bus': "));
          ::setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/no/such", 1);
          says("the user bus 'unix:path=/no/such': ");
        }) == "");
}
