// Who enters a container is among its processes before he is one of them: nothing that has power in
// there gets hold of him meanwhile.
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "attacks/attacks.hpp"
#include "condroid/attach.hpp"

namespace {

using namespace condroid;                 // NOLINT(google-build-using-namespace)
using namespace condroid::test;           // NOLINT(google-build-using-namespace)
using namespace condroid::test::attacks;  // NOLINT(google-build-using-namespace)
using namespace std::chrono_literals;

/// A file on the file system that "/" is on: what is mounted below that goes when a launcher lets
/// go of it. The roots of tests have none of that name.
constexpr const char* of_the_host = "/etc/passwd";

/// A container whose first process does to who enters what it is asked to.
class Lair {
 public:
  explicit Lair(bool mapped) {
    Spec spec = payload(root_, {"attack", "hold", of_the_host, "asked"});
    spec.process.stdio = Stdio{Stdio::pipe, Stdio::pipe, Stdio::inherit};
    spec.security.seccomp.kind = Seccomp::none;
    spec.security.allow |= Allow::all_syscalls;
    if (mapped) {
      spec.idmap = {.kind = IdMap::ranges,
                    .uids = {{.inside = 0, .outside = 300000, .count = 65536}},
                    .gids = {{.inside = 0, .outside = 300000, .count = 65536}}};
      // Of its own user namespace. Without one that would be the machine's.
      spec.security.capabilities = CapabilitySet::all();
      spec.security.allow |= Allow::capabilities;
    }
    box_ = launch(spec);
    in_ = box_->take_stdin();
    out_ = box_->take_stdout();
  }
  [[nodiscard]] const Container& box() const { return *box_; }
  Report ask(char what) {
    write_to(in_, {&what, 1});
    return Report(Exit{.out = read_until(out_, "body\n")});
  }

 private:
  TempRoot root_;
  std::optional<Container> box_ = {};
  Fd in_ = {}, out_ = {};
};

/// With a terminal, which is the container's: it has more steps so.
Attach entering() {
  Attach what;
  what.process.argv = {"/bin/payload", "exit", "3"};
  what.process.stdio = Stdio::pty;
  return what;
}

/// Stopped before that op; none when the plan has not so many.
std::optional<Attaching> stopped_at(const Container& box, std::size_t op, LaunchOptions options) {
  options.stop_before = op;
  auto attaching = box.start_attach(entering(), options);
  if (!attaching) {
    CHECK_THAT(failure_of(attaching), FailsWith(Errc::bad_spec, Step::clone, "stop_before"));
    return {};
  }
  while (!attaching->stopped()) {
    REQUIRE_FALSE(need(attaching->step()));
    const Interest interest = attaching->interest();
    pollfd waiter{interest.fd.get(), interest.events, 0};
    (void)::poll(&waiter, 1, 100);
  }
  return std::move(*attaching);
}

}  // namespace

TEST_CASE("nothing gets hold of who enters, at any step", "[attack][.root]") {
  const bool mapped = GENERATE(false, true);
  CAPTURE(mapped);
  Lair lair(mapped);
  int met = 0;
  for (std::size_t op = 0;; ++op) {
    CAPTURE(op);
    auto attaching = stopped_at(lair.box(), op, {.deadline = 60s});
    if (!attaching) break;
    const Report tried = lair.ask('h');
    CHECK(tried["met"] == (attaching->pid().value != 0 ? "somebody" : "nobody"));
    if (tried["met"] == "somebody") {
      ++met;
      for (const char* way : {"mem", "environ", "auxv", "maps", "exe", "ns/mnt", "ns/user", "root",
                              "cwd", "map_files", "read", "trace"}) {
        CAPTURE(way, tried[way]);
        CHECK((tried[way] == "EACCES" || tried[way] == "EPERM"));
      }
      // To the same uid the kernel tells which numbers are open, and no more.
      if (mapped) CHECK(tried["fd"] == "EACCES");
      CHECK(tried["opened"] == "none");
      CHECK(tried["taken"] == "none");
      CHECK(tried["led"] == "nowhere");
    }
    attaching->resume();
    Task task = need(attaching->finish());
    CHECK(need(task.wait()).code == 3);
  }
  CHECK(met > 10);
}

TEST_CASE("who enters and can be traced is got hold of", "[attack][.root]") {
  const TempRoot root;
  // Where Yama keeps programs from tracing others it takes a right more.
  const std::string yama = read_file("/proc/sys/kernel/yama/ptrace_scope");
  const Exit e = run_naive({.root = root.str(),
                            .argv = {"/bin/payload", "attack", "hold", of_the_host},
                            .attaches = true,
                            .all_capabilities = !yama.empty() && yama != "0\n"});
  CAPTURE(e.out);
  const Report tried{e};
  for (const char* way : {"mem", "environ", "auxv", "maps", "exe", "ns/mnt", "ns/user", "root",
                          "cwd", "fd", "map_files", "read", "trace", "opened", "taken"}) {
    CAPTURE(way);
    CHECK(tried[way] == "ok");
  }
  CHECK(tried["led"] == "secret");
}

TEST_CASE("who is killed or stopped while he enters is given up, and the next one enters",
          "[attack][.root]") {
  const bool mapped = GENERATE(false, true);
  CAPTURE(mapped);
  Lair lair(mapped);
  const Surroundings before = Surroundings::quiet();
  int met = 0;
  for (std::size_t op = 0;; ++op) {
    CAPTURE(op);
    auto attaching = stopped_at(lair.box(), op, {.deadline = 60s});
    if (!attaching) break;
    const bool there = lair.ask('k')["met"] == "somebody";
    met += there ? 1 : 0;
    attaching->resume();
    auto task = attaching->finish();
    CHECK(task.has_value() != there);
    if (!there) continue;
    CAPTURE(failure_of(task));
    CHECK(failure_of(task).error->is(Errc::child_vanished));
    CHECK(failure_of(task).error->subject.find("killed by signal 9") != std::string::npos);
  }
  CHECK(met > 10);
  SECTION("stopped, until the deadline") {
    auto attaching = stopped_at(lair.box(), 10, {.deadline = 1s});
    REQUIRE(attaching);
    REQUIRE(lair.ask('s')["signal"] == "ok");
    attaching->resume();
    const auto task = attaching->finish();
    REQUIRE_FALSE(task);
    CHECK(task.error().is(Errc::deadline));
  }
  CHECK(need(need(lair.box().attach(entering())).wait()).code == 3);
  CHECK(Surroundings::settled(before) == before);
}
