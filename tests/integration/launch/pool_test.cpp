// Containers that wait, set up, for a command: what they are given, what they are like meanwhile,
// and how they end.
#include "condroid/pool.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "condroid/sys/mount.hpp"
#include "containers.hpp"
#include "forked.hpp"

using condroid::Bytes;
using condroid::CgroupMode;
using condroid::Container;
using condroid::describe;
using condroid::Errc;
using condroid::Exit;
using condroid::Fd;
using condroid::IdMap;
using condroid::Launch;
using condroid::LaunchEvent;
using condroid::Overlay;
using condroid::Plan;
using condroid::Pool;
using condroid::Result;
using condroid::Runtime;
using condroid::Spec;
using condroid::Stdio;
using condroid::Step;
using condroid::step_of;
using condroid::Take;
using condroid::test::children_of;
using condroid::test::drive;
using condroid::test::facts;
using condroid::test::FailsWith;
using condroid::test::failure_of;
using condroid::test::Forked;
using condroid::test::is_alive;
using condroid::test::need;
using condroid::test::own_cgroups;
using condroid::test::payload;
using condroid::test::processes_of_zygote;
using condroid::test::read_file;
using condroid::test::Report;
using condroid::test::runtime;
using condroid::test::Surroundings;
using condroid::test::TempRoot;
using condroid::test::wait;
using namespace condroid::literals;
using namespace std::chrono_literals;

namespace {

Take verb(std::vector<std::string> args) {
  args.insert(args.begin(), "/bin/payload");
  return {.argv = std::move(args)};
}
Exit ended(Result<Container> box) {
  if (!box) throw std::runtime_error(to_string(box.error()));
  return wait(*box);
}

/// What payload tells of its confinement, without what is another one each time.
std::map<std::string, std::string> confinement(const Report& r) {
  std::map<std::string, std::string> out;
  const std::string& text = r.exit().out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    const std::size_t sign = line.find('=');
    const std::string key = line.substr(0, sign);
    if (key.starts_with("ns.") || key.starts_with("cgroup") || key.starts_with("fd.")) continue;
    out[key + (out.contains(key) ? line : std::string())] = line.substr(sign + 1);
  }
  return out;
}

}  // namespace

TEST_CASE("a taken container runs what it is told", "[pool][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"probe", "/data/file"});
  spec.process.env = {"KEPT=yes", "CHANGED=before"};
  Pool pool = need(Pool::open(runtime(), spec, {.size = 2}));
  need(pool.fill());
  CHECK(pool.ready() == 2);
  SECTION("as its Spec says, when nothing else is said") {
    const Report r(ended(pool.take()));
    CHECK(r.all("env") == std::vector<std::string>{"KEPT=yes", "CHANGED=before"});
    CHECK(r["pid"] == "1");
  }
  SECTION("another command, environment, directory") {
    Take what = verb({"probe"});
    what.env = {"CHANGED=after", "NEW=1"};
    what.cwd = "/data"_guest;
    const Report r(ended(pool.take(what)));
    CHECK(r.all("env") == std::vector<std::string>{"KEPT=yes", "CHANGED=after", "NEW=1"});
    CHECK(r["cwd"] == "/data");
    what.clear_env = true;
    CHECK(Report(ended(pool.take(what))).all("env") ==
          std::vector<std::string>{"CHANGED=after", "NEW=1"});
  }
  SECTION("streams and descriptors of its own") {
    Take what = verb({"cat"});
    what.stdio = Stdio::pipe;
    Container box = need(pool.take(what));
    {
      const Fd in = box.take_stdin();
      condroid::test::write_to(in, "words");
    }
    const Fd out = box.take_stdout();
    CHECK(condroid::test::read_all(out) == "words");
    CHECK(wait(box).success());
  }
  SECTION("a program that is not there is named, and the next one is fine") {
    CHECK_THAT(failure_of(pool.take({.argv = {"/no/such"}})),
               FailsWith(ENOENT, Step::exec, "/no/such"));
    CHECK(ended(pool.take(verb({"exit", "0"}))).success());
  }
  SECTION("more than there are") {
    for (int i = 0; i < 8; ++i)
      CHECK(to_string(ended(pool.take(verb({"exit", fmt::format("{}", i)})))) ==
            fmt::format("exited with status {}", i));
  }
}

TEST_CASE("a taken container is as confined as another one", "[pool][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"probe", "/data/file", "/proc/kcore", "/sys"});
  const bool may_have = std::ranges::any_of(facts().cgroups, &condroid::CgroupHierarchy::writable);
  spec.resources.cgroup = may_have ? CgroupMode::always : CgroupMode::automatic;
  spec.terminal.console = true;
  Pool pool = need(Pool::open(runtime(), spec, {.size = 1}));
  const auto cold = confinement(condroid::test::run(spec));
  const auto warm = confinement(Report(ended(pool.take())));
  CHECK(cold.size() > 50);
  CHECK(warm == cold);
}

TEST_CASE("a detached mount is put into a taken container", "[pool][.root]") {
  const TempRoot root, more;
  condroid::test::make_file(more / "inside", "x");
  Pool pool = need(Pool::open(runtime(), payload(root, {"pause"}), {.size = 1}));
  const auto mount = need(condroid::DetachedMount::clone_tree(more.host()));
  Take what = verb({"list", "/mnt"});
  what.mounts = {{.mount = {mount.fd().get()}, .target = "/mnt"_guest}};
  CHECK(ended(pool.take(what)).out.find("inside") != std::string::npos);
  what.mounts[0].target = "/no/such"_guest;
  what.mounts[0].create = false;
  const auto again = need(condroid::DetachedMount::clone_tree(more.host()));
  what.mounts[0].mount = {again.fd().get()};
  CHECK_THAT(failure_of(pool.take(what)), FailsWith(ENOENT, Step::resolve_target, "/no/such"));
}

TEST_CASE("limits of a taken container are its own", "[pool][.root][cgroup]") {
  const TempRoot root;
  Spec spec = payload(root, {"forks", "20"});
  spec.resources.pids_max = 50;
  Pool pool = need(Pool::open(runtime(), spec, {.size = 2}));
  Take few;
  few.resources.pids_max = 5;
  CHECK(Report(ended(pool.take())).exit().out.find("20") != std::string::npos);
  const std::string out = ended(pool.take(few)).out;
  CHECK(out.find("20") == std::string::npos);
  Take other;
  other.resources.memory_max = 64_MiB;
  if (facts().cgroups.size() > 1)
    CHECK_THAT(failure_of(pool.take(other)),
               FailsWith(Errc::unsupported, Step::compile, "resources.memory_max"));
}

TEST_CASE("a taken container has more memory than a parked one, or less", "[pool][.root][cgroup]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  // Of v1 it is one sum with the memory, which the kernel never lets be below that alone.
  spec.resources = {.memory_max = 64_MiB, .memory_swap_max = 16_MiB};
  Pool pool = need(Pool::open(runtime(), spec, {.size = 1}));
  for (const Bytes most : {256_MiB, 32_MiB}) {
    CAPTURE(most.value);
    Take what;
    what.resources.memory_max = most;
    const Container box = need(pool.take(what));
    // The pool has set the next one up by now.
    const auto has = [&](const char* file, std::uint64_t value) {
      return std::ranges::any_of(own_cgroups(), [&](const std::string& group) {
        return read_file(fmt::format("{}/cgroup.procs", group)) ==
                   fmt::format("{}\n", box.pid().value) &&
               read_file(fmt::format("{}/{}", group, file)) == fmt::format("{}\n", value);
      });
    };
    const auto memory = condroid::test::hierarchy_of("memory");
    REQUIRE(memory != nullptr);
    CHECK(has(memory->v2 ? "memory.max" : "memory.limit_in_bytes", most.value));
    if (memory->v2)
      CHECK(has("memory.swap.max", (16_MiB).value));
    else
      CHECK(has("memory.memsw.limit_in_bytes", most.value + (16_MiB).value));
  }
}

TEST_CASE("a parked container waits in silence", "[pool][.root]") {
  const TempRoot root;
  const int zygote = runtime().zygote_pid().value;
  const auto before = processes_of_zygote();
  Pool pool = need(Pool::open(runtime(), payload(root, {"pause"}), {.size = 3}));
  need(pool.fill());
  std::vector<pid_t> parked = processes_of_zygote();
  std::erase_if(parked, [&](pid_t p) { return std::ranges::find(before, p) != before.end(); });
  REQUIRE(parked.size() == 3);
  const auto switches = [&] {
    std::string all;
    for (const pid_t p : parked)
      for (const std::string& line : {read_file(fmt::format("/proc/{}/status", p))})
        all += line.substr(line.find("voluntary_ctxt_switches"));
    return all + read_file(fmt::format("/proc/{}/schedstat", zygote));
  };
  // Who said that it is parked is about to wait; on a busy machine it comes to that later.
  bool silent = false;
  pollfd waiter{pool.poll_fd().get(), POLLIN, 0};
  for (int i = 0; i < 10 && !silent; ++i) {
    const std::string then = switches();
    CHECK(::poll(&waiter, 1, 700) == 0);
    CHECK(pool.timeout() == -1);
    silent = switches() == then;
  }
  CHECK(silent);

  SECTION("and cannot be looked into by another container's root") {
    for (const char* file : {"mem", "environ", "exe", "maps", "fd/6"}) {
      Spec spec = payload(root, {"peek", fmt::format("/proc/{}/{}", parked[0], file)});
      spec.namespaces -= condroid::Namespace::pid;
      spec.security.allow |= condroid::Allow::host_pids;
      const std::string out = condroid::test::launch_and_wait(spec).out;
      CAPTURE(file, out);
      CHECK((out.find("=EACCES") != std::string::npos || out.find("=EPERM") != std::string::npos ||
             out.find("=ENOENT") != std::string::npos));
    }
  }
  SECTION("and is replaced when it dies") {
    ::kill(parked[1], SIGKILL);
    REQUIRE(::poll(&waiter, 1, 10000) == 1);
    // On a busy machine another one may be parked by the time that step() returns.
    need(pool.step());
    need(pool.fill());
    CHECK(pool.ready() == 3);
    auto now = processes_of_zygote();
    std::erase_if(now, [&](pid_t p) { return std::ranges::find(before, p) != before.end(); });
    CHECK(now.size() == 3);
    CHECK(std::ranges::count(now, parked[0]) == 1);
    CHECK(std::ranges::count(now, parked[1]) == 0);
    CHECK(std::ranges::count(now, parked[2]) == 1);
    CHECK(ended(pool.take(verb({"exit", "4"}))).code == 4);
  }
  SECTION("and is not given away when it is dead") {
    for (const pid_t p : parked) ::kill(p, SIGKILL);
    for (const pid_t p : parked)
      for (int i = 0; i < 500 && is_alive(p); ++i) std::this_thread::sleep_for(10ms);
    CHECK(ended(pool.take(verb({"exit", "5"}))).code == 5);
  }
}

TEST_CASE("a pool leaves nothing behind", "[pool][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"exit"});
  { const Pool once = need(Pool::open(runtime(), spec, {.size = 2})); }
  const Surroundings before = Surroundings::quiet();
  {
    Pool pool = need(Pool::open(runtime(), spec, {.size = 4}));
    for (int i = 0; i < 30; ++i) (void)ended(pool.take());
    CHECK_FALSE(pool.take({.argv = {"/no/such"}}));
    Pool moved = std::move(pool);
    CHECK_THAT(failure_of(pool.take()), FailsWith(ESRCH, Step::park));
    CHECK(pool.ready() == 0);
    (void)ended(moved.take());
  }
  { const Pool at_once = need(Pool::open(runtime(), spec, {.size = 8})); }  // on their way still
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("a pool outlives its zygote", "[pool][.root]") {
  const TempRoot root;
  const Runtime own = need(Runtime::open(
      {.state_dir = condroid::HostPath(fmt::format("/tmp/test-pool-{}", ::getpid()))}));
  Pool pool = need(Pool::open(own, payload(root, {"pause"}), {.size = 2}));
  need(pool.fill());
  const pid_t zygote = own.zygote_pid().value;
  const auto parked = children_of(zygote);
  REQUIRE(parked.size() == 2);
  ::kill(zygote, SIGKILL);
  pollfd waiter{pool.poll_fd().get(), POLLIN, 0};
  REQUIRE(::poll(&waiter, 1, 10000) == 1);
  need(pool.fill());
  CHECK(pool.ready() == 2);
  for (const pid_t p : parked) CHECK_FALSE(is_alive(p));
  CHECK(ended(pool.take(verb({"exit", "6"}))).code == 6);
}

TEST_CASE("a pool is inert in a forked child", "[pool][.root]") {
  const TempRoot root;
  Pool pool = need(Pool::open(runtime(), payload(root, {"exit"}), {.size = 2}));
  need(pool.fill());
  Forked child([&] {
    const auto taken = pool.take();
    const auto stepped = pool.step();
    return !taken && taken.error().is(Errc::in_forked_child) && !stepped ? 0 : 1;
  });
  CHECK(child.wait() == 0);
  CHECK(pool.ready() == 2);
  CHECK(ended(pool.take()).success());
}

TEST_CASE("parked containers die with the program", "[pool][.root][.userns]") {
  const TempRoot root;
  int told[2];
  REQUIRE(::pipe2(told, O_CLOEXEC) == 0);
  Forked host([&] {
    auto pool = Pool::open(runtime(), payload(root, {"pause"}), {.size = 3});
    if (!pool || !pool->fill()) return 1;
    for (const pid_t p : processes_of_zygote()) (void)!::write(told[1], &p, sizeof p);
    ::close(told[1]);
    for (;;) ::pause();
  });
  ::close(told[1]);
  std::vector<pid_t> parked;
  for (pid_t p = 0; ::read(told[0], &p, sizeof p) == sizeof p;) parked.push_back(p);
  ::close(told[0]);
  REQUIRE(parked.size() == 3);
  ::kill(host.pid(), SIGKILL);
  host.wait();
  for (const pid_t p : parked) {
    for (int i = 0; i < 1000 && is_alive(p); ++i) std::this_thread::sleep_for(10ms);
    CHECK_FALSE(is_alive(p));
  }
}

TEST_CASE("a pool that nobody attends to for longer than its deadline still gives",
          "[long][pool][.root][.userns]") {
  const TempRoot root;
  Pool pool = need(Pool::open(runtime(), payload(root, {"exit"}), {.size = 2, .deadline = 3s}));
  for (int i = 0; i < 2; ++i) {
    // Both are on their way, as far as it knows.
    std::this_thread::sleep_for(3500ms);
    CHECK(ended(pool.take(verb({"exit", "7"}))).code == 7);
  }
  std::this_thread::sleep_for(3500ms);
  need(pool.fill());
  CHECK(pool.ready() == 2);
}

TEST_CASE("a pool that is looked at seldom has all the time it needs", "[pool][.root][.userns]") {
  const TempRoot root;
  // With newuidmap and newgidmap a place needs four looks; as many fill the deadline.
  Pool pool = need(Pool::open(runtime(), payload(root, {"exit"}), {.size = 1, .deadline = 1s}));
  for (int looks = 0; looks < 40 && pool.ready() == 0; ++looks) {
    std::this_thread::sleep_for(300ms);
    need(pool.step());
  }
  CHECK(pool.ready() == 1);
  CHECK(ended(pool.take(verb({"exit", "7"}))).code == 7);
}

TEST_CASE("a pool lives in somebody's event loop", "[pool][.root][.userns]") {
  const TempRoot root;
  Pool pool = need(Pool::open(runtime(), payload(root, {"exit"}), {.size = 2}));
  std::vector<LaunchEvent::Kind> told;
  int taken = 0;
  std::optional<condroid::Launch> taking;
  const auto until = std::chrono::steady_clock::now() + 20s;
  while (taken < 6 && std::chrono::steady_clock::now() < until) {
    if (!taking)
      taking.emplace(need(pool.start_take(verb({"exit", "9"}), {.on_event = [&](const auto& e) {
                                            told.push_back(e.kind);
                                            return Result<void>{};
                                          }})));
    const auto interest = taking->interest();
    pollfd waiting[2] = {{pool.poll_fd().get(), POLLIN, 0},
                         {interest.fd.get(), interest.events, 0}};
    (void)::poll(waiting, 2, 100);
    need(pool.step());
    if (auto done = need(taking->step())) {
      CHECK(wait(*done).code == 9);
      taking.reset();
      ++taken;
    }
  }
  CHECK(taken == 6);
  CHECK(told.size() == 18);
  CHECK(std::ranges::count(told, LaunchEvent::set_up) == 6);
  CHECK(std::ranges::count(told, LaunchEvent::stopped) == 6);
}

TEST_CASE("what cannot be parked or taken is refused", "[pool][.root]") {
  const TempRoot root;
  Spec spec = payload(root, {"exit"});
  CHECK_THAT(failure_of(Pool::open(runtime(), spec, {.size = 0})),
             FailsWith(Errc::bad_spec, Step::park, "a pool of 0"));
  CHECK_THAT(failure_of(Pool::open(runtime(), spec, {.size = 100000})),
             FailsWith(Errc::bad_spec, Step::park, "a pool of 100000"));
  Spec shared = spec;
  shared.root.ephemeral = true;
  shared.root.upper = root.host("data");
  shared.root.work = root.host("tmp");
  CHECK_THAT(failure_of(Pool::open(runtime(), shared)),
             FailsWith(Errc::bad_spec, Step::compile, "root.upper"));
  Spec lives = spec;
  lives.lifecycle.restart = condroid::Restart::always;
  CHECK_THAT(failure_of(Pool::open(runtime(), lives)),
             FailsWith(Errc::bad_spec, Step::compile, "lifecycle.restart"));
  Spec nowhere = spec;
  nowhere.root.path = "/no/such/root"_host;
  CHECK_FALSE(
      Pool::open(runtime(), nowhere, {.size = 1}).and_then([](Pool p) { return p.fill(); }));
  Pool pool = need(Pool::open(runtime(), spec, {.size = 1}));
  Take what;
  what.stdio = Stdio::pty;
  what.env = {"no sign"};
  what.mounts = {{.mount = {}, .target = "relative"_guest}};
  const auto refused = failure_of(pool.take(what));
  CHECK_THAT(refused, FailsWith(Errc::bad_spec, Step::compile, "process.env[0]"));
  CHECK_THAT(refused, FailsWith(Errc::bad_spec, Step::compile, "stdio: the parked container has"));
  CHECK_THAT(refused, FailsWith(Errc::bad_spec, Step::compile, "mounts[0]"));
  CHECK_THAT(failure_of(pool.take({}, {.stop_before = 3})),
             FailsWith(Errc::bad_spec, Step::park, "stop_before"));
  CHECK_THAT(failure_of(pool.take({}, {.stop_before = need(pool.plan()).ops.size()})),
             FailsWith(Errc::bad_spec, Step::park, "stop_before"));
  CHECK_THAT(failure_of(pool.plan(what)), FailsWith(Errc::bad_spec, Step::compile, "mounts[0]"));
  CHECK(ended(pool.take()).success());
}

TEST_CASE("a take can be given up before every op that is left", "[pool][.root][.userns]") {
  const TempRoot root;
  enum class How { cancel, destroy, kill, resume, deadline };
  const How how = GENERATE(How::cancel, How::destroy, How::kill, How::resume, How::deadline);
  CAPTURE(static_cast<int>(how));
  const auto open = [&] {
    return need(Pool::open(runtime(), payload(root, {"exit", "3"}), {.size = 1}));
  };
  const Take what{.argv = {"/bin/payload", "exit", "3"}};
  const Plan plan = need(open().plan(what));
  const std::size_t first = need(plan.find("park")) + 1;
  REQUIRE(first < plan.ops.size());
  const Surroundings before = Surroundings::quiet();
  for (std::size_t i = first; i < plan.ops.size(); ++i) {
    INFO("op " << i << " of " << plan.ops.size() << ": " << describe(plan.ops[i]));
    {
      Pool pool = open();
      REQUIRE(pool.fill());
      const auto limit = how == How::deadline ? 300ms * condroid::test::slow() : 10000ms;
      Launch launch = need(pool.start_take(what, {.deadline = limit, .stop_before = i}));
      const auto stopped = drive(launch);
      if (!stopped) FAIL(to_string(stopped.error()));
      REQUIRE(launch.stopped());
      const int pid = launch.pid().value;
      REQUIRE(pid > 0);
      switch (how) {
        case How::destroy: {
          const Launch gone = std::move(launch);
          break;
        }
        case How::cancel:
          launch.cancel();
          CHECK_THAT(failure_of(drive(launch, true)),
                     FailsWith(Errc::cancelled, step_of(plan.ops[i])));
          break;
        case How::deadline:
          CHECK_THAT(failure_of(drive(launch, true)),
                     FailsWith(Errc::deadline, step_of(plan.ops[i]), describe(plan.ops[i])));
          break;
        case How::kill:
          REQUIRE(::kill(pid, SIGKILL) == 0);
          CHECK_THAT(failure_of(drive(launch, true)),
                     FailsWith(Errc::child_vanished, step_of(plan.ops[i]), "signal 9"));
          break;
        case How::resume: {
          launch.resume();
          auto done = drive(launch);
          if (!done) FAIL(to_string(done.error()));
          REQUIRE(done->has_value());
          CHECK(wait(**done).code == 3);
          break;
        }
      }
      // Whatever became of that one, there is another.
      CHECK(ended(pool.take(what)).code == 3);
    }
    CHECK(Surroundings::settled(before) == before);
  }
}
