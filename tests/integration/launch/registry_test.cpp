// The registry: containers as another program finds them, by what their zygotes keep in the state
// directory.
#include "condroid/registry.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include "condroid/attach.hpp"
#include "containers.hpp"
#include "forked.hpp"

using namespace std::chrono_literals;
using condroid::CgroupMode;
using condroid::Container;
using condroid::Errc;
using condroid::Fd;
using condroid::FdView;
using condroid::HostPath;
using condroid::Registered;
using condroid::Registry;
using condroid::Runtime;
using condroid::Signal;
using condroid::Spec;
using condroid::Step;
using condroid::Stream;
using condroid::test::children_of;
using condroid::test::entries_of;
using condroid::test::facts;
using condroid::test::FailsWith;
using condroid::test::failure_of;
using condroid::test::Forked;
using condroid::test::is_alive;
using condroid::test::launch;
using condroid::test::must;
using condroid::test::need;
using condroid::test::payload;
using condroid::test::read_until;
using condroid::test::runtime;
using condroid::test::Surroundings;
using condroid::test::TempRoot;

namespace {

/// Where the test program's own Runtime keeps its state.
HostPath own_state() { return HostPath(facts().state_dir); }

Spec named(const TempRoot& root, std::string name, std::vector<std::string> verb) {
  Spec spec = payload(root, std::move(verb));
  spec.name = std::move(name);
  spec.process.stdio = {Stream::null, Stream::pipe, Stream::null};
  return spec;
}
/// Launched, and said that it is ready.
Container ready(const Spec& spec) {
  Container box = launch(spec);
  const Fd out = box.take_stdout();
  (void)read_until(FdView(out), "ready");
  return box;
}

const Registered* find_in(const std::vector<Registered>& list, int pid) {
  const auto at =
      std::ranges::find_if(list, [&](const Registered& r) { return r.pid.value == pid; });
  return at == list.end() ? nullptr : &*at;
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

/// A program of its own that launches, lets go and ends; what it said is known afterwards.
struct Gone {
  explicit Gone(const Spec& spec, bool detach = true)
      : state(fmt::format("/tmp/test-registry-{}", ::getpid())) {
    int pair[2];
    must(::pipe2(pair, O_CLOEXEC) == 0, "pipe2");
    const Fd out(pair[0]);
    Fd in(pair[1]);
    const Forked program([&] {
      auto rt = Runtime::open({.state_dir = state});
      if (!rt) return 1;
      auto box = rt->launch(spec);
      if (!box) return 2;
      const Fd said = box->take_stdout();
      (void)read_until(FdView(said), "ready");
      if (detach && !box->detach()) return 3;
      const std::string line = fmt::format("{} {}\n", box->pid().value, rt->zygote_pid().value);
      if (::write(in.get(), line.data(), line.size()) < 0) return 4;
      if (!detach)
        for (;;) ::pause();
      return 0;
    });
    in.reset();
    const std::string line = read_until(FdView(out), detach ? "" : "\n");
    must(std::sscanf(line.c_str(), "%d %d", &pid, &zygote) == 2, "what the program said");
    if (detach) must(comes_true([&] { return !is_alive(program.pid()); }), "its end");
    host = program.pid();
    if (!detach) {
      // Both at once, so that nobody cleans up.
      must(::kill(zygote, SIGKILL) == 0, "kill");
    }
  }
  HostPath state;
  int pid = 0, zygote = 0, host = 0;
};

}  // namespace

TEST_CASE("a running container is in the registry, with what it is known by",
          "[launch][registry][root][userns]") {
  const TempRoot root;
  const Surroundings before = Surroundings::quiet();
  {
    Container box = ready(named(root, "listed", {"pause"}));
    const auto all = need(Registry::list(own_state()));
    const Registered* r = find_in(all, box.pid().value);
    REQUIRE(r != nullptr);
    CHECK(r->name == "listed");
    CHECK(r->id.starts_with("listed."));
    CHECK(r->zygote == runtime().zygote_pid());
    CHECK(r->host.value == ::getpid());
    CHECK_FALSE(r->detached);
    CHECK(r->state == Registered::running);
    CHECK(r->age >= 0ns);
    CHECK(r->age < 60s);

    for (const std::string& what : {std::string("listed"), r->id, r->id.substr(0, r->id.find('@')),
                                    std::to_string(box.pid().value)}) {
      INFO(what);
      const auto found = Registry::find(what, own_state());
      REQUIRE(found);
      CHECK(found->id == r->id);
      CHECK(found->cgroups == r->cgroups);
    }
    auto handle = need(Registry::open(*r, own_state()));
    CHECK(handle.pid() == box.pid());
    CHECK_FALSE(need(handle.wait_for(0ms)));
    REQUIRE(handle.refresh());
    CHECK(need(handle.cgroups()).size() == r->cgroups.size());
    REQUIRE(box.kill());
    REQUIRE(box.wait());
    CHECK(need(handle.wait_for(10s)));
    // It is gone, and stays so, whoever gets its number.
    CHECK_THAT(failure_of(handle.signal(Signal{SIGKILL})), FailsWith(ESRCH, Step::signal));
    CHECK(handle.kill());
    CHECK(handle.stop());
    CHECK_THAT(failure_of(handle.refresh()), FailsWith(ESRCH, Step::find_container));
    CHECK_THAT(failure_of(Registry::open(*r, own_state())), FailsWith(ESRCH, Step::find_container));
    CHECK_THAT(failure_of(Registry::find("listed", own_state())),
               FailsWith(ESRCH, Step::find_container, "'listed'"));
    CHECK(find_in(need(Registry::list(own_state())), r->pid.value) == nullptr);
  }
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("of several containers of one name none is meant, and all are named",
          "[launch][registry][root][userns]") {
  const TempRoot root;
  Container one = ready(named(root, "twin", {"pause"}));
  Container two = ready(named(root, "twin", {"pause"}));
  const auto all = need(Registry::list(own_state()));
  const Registered* a = find_in(all, one.pid().value);
  const Registered* b = find_in(all, two.pid().value);
  REQUIRE(a != nullptr);
  REQUIRE(b != nullptr);
  CHECK(a->id != b->id);
  CHECK(a->started <= b->started);
  const auto refused = Registry::find("twin", own_state());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().is(Errc::bad_text));
  for (const auto* r : {a, b}) {
    CHECK(refused.error().subject.find(r->id) != std::string::npos);
    CHECK(refused.error().subject.find(std::to_string(r->pid.value)) != std::string::npos);
    CHECK(need(Registry::find(r->id, own_state())).pid == r->pid);
  }
}

TEST_CASE("another program stops a container politely, or not",
          "[launch][registry][root][userns]") {
  const TempRoot root;
  const Surroundings before = Surroundings::quiet();
  {
    Container polite = ready(named(root, "polite", {"term", "7"}));
    auto handle = need(Registry::open("polite", own_state()));
    REQUIRE(handle.stop(10s));
    CHECK(need(polite.wait()).code == 7);
  }
  {
    Container stubborn = ready(named(root, "stubborn", {"stubborn", "4"}));
    auto handle = need(Registry::open("stubborn", own_state()));
    REQUIRE(handle.stop(50ms));
    CHECK(need(stubborn.wait()).signal.value == SIGKILL);
  }
  {
    // A process 1 without a handler never gets the signal: nobody waits for it.
    Container deaf = ready(named(root, "deaf", {"pause"}));
    const std::string call = fmt::format("/proc/{}/syscall", deaf.pid().value);
    CHECK(comes_true([&] { return !condroid::test::read_file(call).starts_with("running"); }));
    auto handle = need(Registry::open("deaf", own_state()));
    const auto begin = std::chrono::steady_clock::now();
    REQUIRE(handle.stop(60s));
    CHECK(std::chrono::steady_clock::now() - begin < 30s);
    CHECK(need(deaf.wait()).signal.value == SIGKILL);
  }
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE(
    "a detached container is found by another program, and nothing is left when it was stopped",
    "[launch][registry][root][userns]") {
  const TempRoot root;
  const Gone gone(named(root, "orphan", {"pause"}));
  const auto all = need(Registry::list(gone.state));
  REQUIRE(all.size() == 1);
  CHECK(all[0].name == "orphan");
  CHECK(all[0].pid.value == gone.pid);
  CHECK(all[0].zygote.value == gone.zygote);
  CHECK(all[0].detached);
  CHECK(all[0].host.value == 0);
  auto handle = need(Registry::open("orphan", gone.state));
  REQUIRE(handle.stop(2s));
  CHECK_FALSE(is_alive(gone.pid));
  CHECK(comes_true([&] { return !is_alive(gone.zygote); }));
  CHECK(need(Registry::list(gone.state)).empty());
  CHECK(comes_true([&] { return ::access(gone.state.c_str(), F_OK) != 0; }));
  for (const auto& c : all[0].cgroups)
    CHECK(::access((c.hierarchy.mount_point + c.path).c_str(), F_OK) != 0);
}

TEST_CASE("what a killed zygote left is not listed as running",
          "[launch][registry][root][userns]") {
  const TempRoot root;
  Spec spec = named(root, "stale", {"stubborn", "2"});  // its death signal is disarmed
  const Gone gone(spec, false);
  REQUIRE(comes_true([&] { return !is_alive(gone.zygote); }));
  CHECK(need(Registry::list(gone.state)).empty());
  CHECK_FALSE(Registry::find("stale", gone.state));
  // The next Runtime there ends and removes what is left.
  REQUIRE(comes_true([&] { return !is_alive(gone.host); }));
  { const Runtime sweeper = need(Runtime::open({.state_dir = gone.state})); }
  CHECK(comes_true([&] { return !is_alive(gone.pid); }));
  (void)::rmdir(gone.state.c_str());
  CHECK(::access(gone.state.c_str(), F_OK) != 0);
}

TEST_CASE("a signal after the end of a container that was listed reaches nobody",
          "[launch][registry][root][userns]") {
  const TempRoot root;
  for (int i = 0; i < 50; ++i) {
    Container box = ready(named(root, "brief", {"pause"}));
    const auto all = need(Registry::list(own_state()));
    const Registered* r = find_in(all, box.pid().value);
    REQUIRE(r != nullptr);
    auto handle = need(Registry::open(*r, own_state()));
    REQUIRE(box.kill());
    // In the middle of its end: reached, or told that it is gone.
    const auto sent = handle.signal(Signal{SIGTERM});
    if (!sent) CHECK(sent.error().is_errno(ESRCH));
    REQUIRE(box.wait());
    CHECK_THAT(failure_of(handle.signal(Signal{SIGTERM})), FailsWith(ESRCH, Step::signal));
    CHECK_FALSE(Registry::open(*r, own_state()));
  }
}

TEST_CASE("many containers are listed, each once", "[launch][registry][root][userns]") {
  const TempRoot root;
  std::vector<Container> boxes;
  for (int i = 0; i < 40; ++i)
    boxes.push_back(ready(named(root, fmt::format("many-{}", i), {"pause"})));
  const auto all = need(Registry::list(own_state()));
  CHECK(std::ranges::count_if(
            all, [](const Registered& r) { return r.name.starts_with("many-"); }) == 40);
  for (auto& box : boxes) CHECK(find_in(all, box.pid().value) != nullptr);
}

TEST_CASE("a frozen container is told as one, and can be stopped", "[launch][registry][root]") {
  const TempRoot root;
  Spec spec = named(root, "icy", {"stubborn", "3"});
  spec.resources.cgroup = CgroupMode::always;
  {
    const Container first = ready(spec);
  }  // the Runtime keeps the cgroup that is above all of them
  const Surroundings before = Surroundings::quiet();
  {
    Container box = ready(spec);
    auto handle = need(Registry::open("icy", own_state()));
    REQUIRE_FALSE(handle.entry().cgroups.empty());
    bool frozen = false;
    for (const auto& dir : need(handle.cgroups())) {
      const auto ok = dir.freeze();
      if (!ok) continue;
      frozen = true;
      CHECK(need(handle.refresh()).state == Registered::frozen);
      CHECK(to_string(need(handle.refresh()).state) == "frozen");
    }
    CHECK(frozen);
    REQUIRE(handle.stop(50ms));
    CHECK(need(box.wait()).signal.value == SIGKILL);
  }
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("a container without a pid namespace of its own is stopped with all that it started",
          "[launch][registry][root]") {
  const TempRoot root;
  Spec spec = named(root, "spread", {"stubborn", "5"});
  spec.namespaces -= condroid::Namespace::pid;
  spec.security.allow |= condroid::Allow::host_pids;
  Container box = ready(spec);
  auto handle = need(Registry::open("spread", own_state()));
  REQUIRE_FALSE(handle.entry().cgroups.empty());
  std::vector<condroid::Pid> inside;
  for (const auto& dir : need(handle.cgroups()))
    for (const auto& p : need(dir.processes())) inside.push_back(p);
  CHECK(inside.size() > 5);
  REQUIRE(handle.stop(50ms));
  REQUIRE(box.wait());
  for (const auto& p : inside) CHECK(comes_true([&] { return !is_alive(p.value); }));
}

TEST_CASE("a process is known by the container that it is in",
          "[launch][registry][attach][root][userns]") {
  const TempRoot root;
  const Container a = ready(named(root, "a", {"pause"}));
  const Container b = ready(named(root, "b", {"pause"}));
  const condroid::Attach what{.process = {.argv = {"/bin/payload", "pause"}}};
  auto task = need(a.attach(what));
  const auto name_around = [](condroid::Pid pid) {
    const auto found = need(Registry::around(pid, own_state()));
    return found ? found->id.substr(0, found->id.find('.')) : "none";
  };
  CHECK(name_around(a.pid()) == "a");
  CHECK(name_around(b.pid()) == "b");
  CHECK(name_around(task.pid()) == "a");
  CHECK(name_around(condroid::Pid{::getpid()}) == "none");
  const auto nobody = Registry::around(condroid::Pid{1 << 30}, own_state());
  REQUIRE_FALSE(nobody.has_value());
  CHECK(nobody.error().is_errno(ESRCH));
}
