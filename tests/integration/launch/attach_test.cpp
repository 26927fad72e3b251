// A further process in a container that runs: what it shares with it, how it ends, and what cannot
// be entered.

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "attaching.hpp"
#include "forked.hpp"

using condroid::Attach;
using condroid::AttachCgroup;
using condroid::Bytes;
using condroid::Capability;
using condroid::CapabilitySet;
using condroid::CgroupMode;
using condroid::Container;
using condroid::Errc;
using condroid::Exit;
using condroid::Fd;
using condroid::Flags;
using condroid::Gid;
using condroid::IdMap;
using condroid::LaunchOptions;
using condroid::Namespace;
using condroid::Op;
using condroid::Pid;
using condroid::Result;
using condroid::Signal;
using condroid::Spec;
using condroid::Stdio;
using condroid::Step;
using condroid::Stream;
using condroid::Task;
using condroid::Uid;
using condroid::test::ended;
using condroid::test::facts;
using condroid::test::FailsWith;
using condroid::test::failure_of;
using condroid::test::Forked;
using condroid::test::is_alive;
using condroid::test::launch;
using condroid::test::need;
using condroid::test::own_cgroups;
using condroid::test::own_namespace;
using condroid::test::payload;
using condroid::test::read_file;
using condroid::test::read_until;
using condroid::test::Report;
using condroid::test::runtime;
using condroid::test::Surroundings;
using condroid::test::TempRoot;
using condroid::test::verb;
using namespace condroid::literals;
using namespace std::chrono_literals;

namespace {

Report seen(const Container& box, const Attach& what) { return Report(ended(box.attach(what))); }

/// How a process of the container numbers another one.
pid_t inside_pid(pid_t pid) {
  const std::string status = read_file(fmt::format("/proc/{}/status", pid));
  const std::size_t at = status.find("\nNSpid:");
  if (at == std::string::npos) return -1;
  const std::string line = status.substr(at + 1, status.find('\n', at + 1) - at - 1);
  return std::atoi(line.c_str() + line.find_last_of("\t ") + 1);
}

Step step_named(std::string_view words) {
  for (int i = 0; i < static_cast<int>(Step::count_); ++i)
    if (to_string(static_cast<Step>(i)) == words) return static_cast<Step>(i);
  return Step::none;
}

}  // namespace

TEST_CASE("an attached process is where the container's first one is", "[attach][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.name = "host-of-many";
  spec.process.env = {"KEPT=yes", "CHANGED=before"};
  const Container box = launch(spec);
  Attach what = verb({"probe", "/data/file"});
  what.process.env = {"CHANGED=after", "NEW=too"};
  const Report r = seen(box, what);
  for (const char* ns : {"net", "mnt", "pid", "user", "ipc", "uts", "cgroup", "time"})
    CHECK(r[fmt::format("ns.{}", ns)] == own_namespace(ns, fmt::format("{}", box.pid().value)));
  CHECK(r["hostname"] == "host-of-many");
  CHECK(r["root"] == "/");
  CHECK(r["cwd"] == "/");
  CHECK(r["pid"] == "2");
  CHECK(r["call.uid"] == "0 0");
  CHECK(r["call.no_new_privs"] == "1");
  CHECK(r["call.bounding"] == fmt::format("{:016x}", CapabilitySet::small().bits()));
  CHECK(r["call.effective"] == fmt::format("{:016x}", CapabilitySet::small().bits()));
  CHECK(r["session.leader"] == "yes");
  CHECK(r.all("env") == std::vector<std::string>{"KEPT=yes", "CHANGED=after", "NEW=too"});
  CHECK(r.exit().success());
}

TEST_CASE("an attached process runs on the cores that are its container's own",
          "[attach][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.process.scheduling.core = true;
  auto launched = runtime().launch(spec);
  if (!launched) {  // a kernel without core scheduling
    CHECK_THAT(failure_of(launched), FailsWith(EINVAL, Step::set_scheduling, "a core for itself"));
    return;
  }
  const Container box = std::move(*launched);
  const auto cookie_of = [](pid_t pid) {
    unsigned long cookie = 0;
    return ::prctl(62, 0, pid, 0, &cookie) == 0 ? cookie : 0;  // PR_SCHED_CORE_GET
  };
  // None where each core has one thread.
  const std::string cookie = fmt::format("{}", cookie_of(box.pid().value));
  CHECK(seen(box, verb({"probe"}))["core_cookie"] == cookie);
  Attach outside = verb({"probe"});
  outside.namespaces = spec.namespaces - Namespace::pid;
  if (!facts().privileged()) *outside.namespaces |= Namespace::user;
  CHECK(seen(box, outside)["core_cookie"] == cookie);
  // And for who knows nothing but its number.
  Attach foreign = verb({"probe"});
  CHECK(Report(ended(runtime().attach(box.pid(), foreign)))["core_cookie"] == cookie);
}

TEST_CASE("an attached process has nothing open but its streams", "[attach][.root][.userns]") {
  const TempRoot root;
  const Container box = launch(payload(root, {"pause"}));
  const Report r = seen(box, verb({"probe"}));
  std::vector<std::string> numbers;
  for (const std::string& line : r.below("fd."))
    numbers.push_back(line.substr(0, line.find_first_of("=.")));
  std::ranges::sort(numbers);
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  CHECK(numbers == std::vector<std::string>{"0", "1", "2"});
}

TEST_CASE("what an attached process is given is its own", "[attach][.root]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.process.env = {"KEPT=yes"};
  Container box = launch(spec);
  SECTION("ids, groups, directory, capabilities") {
    Attach what = verb({"probe"});
    what.process.uid = Uid{1000};
    what.process.gid = Gid{1001};
    what.process.groups = {Gid{7}, Gid{8}};
    what.process.cwd = "/data"_guest;
    what.capabilities = CapabilitySet{Capability::net_bind_service};
    what.ambient = true;
    const Report r = seen(box, what);
    CHECK(r["call.uid"] == "1000 1000");
    CHECK(r["call.gid"] == "1001 1001");
    CHECK(r["call.groups"] == "7 8");
    CHECK(r["cwd"] == "/data");
    CHECK(r["call.effective"] == "0000000000000400");
    CHECK(r["call.bounding"] == "0000000000000400");
  }
  SECTION("no environment but its own") {
    Attach what = verb({"probe"});
    what.clear_env = true;
    what.process.env = {"ONLY=this"};
    CHECK(seen(box, what).all("env") == std::vector<std::string>{"ONLY=this"});
  }
  SECTION("an environment that was changed since") {
    box.update_env({"KEPT=otherwise", "LATER=1"});
    CHECK(seen(box, verb({"probe"})).all("env") ==
          std::vector<std::string>{"KEPT=otherwise", "LATER=1"});
    box.update_env({"KEPT"});
    CHECK(seen(box, verb({"probe"})).all("env") == std::vector<std::string>{"LATER=1"});
  }
  SECTION("a pipe to talk through") {
    Attach what = verb({"cat"});
    what.process.stdio = Stdio::pipe;
    Task task = need(box.attach(what));
    {
      const Fd in = task.take_stdin();
      condroid::test::write_to(in, "hello");
    }
    const Fd out = task.take_stdout();
    CHECK(condroid::test::read_all(out) == "hello");
    CHECK(need(task.wait()).success());
  }
  SECTION("a terminal from the container's own devpts") {
    Attach what = verb({"probe"});
    what.process.stdio = Stdio::pty;
    what.rows = 33;
    what.columns = 99;
    Task task = need(box.attach(what));
    const Exit e = need(task.wait());
    CHECK(e.success());
    const std::string text = task.console_output();
    CHECK(text.find("/dev/pts/") != std::string::npos);
    CHECK(text.find("33") != std::string::npos);
  }
}

TEST_CASE("any of a container's namespaces can be joined alone", "[attach][.root]") {
  const TempRoot root;
  const Container box = launch(payload(root, {"pause"}));
  const std::string pid = fmt::format("{}", box.pid().value);
  for (const auto& [kind, name] :
       {std::pair{Namespace::net, "net"}, {Namespace::uts, "uts"}, {Namespace::ipc, "ipc"}}) {
    Attach what;
    what.namespaces = Flags<Namespace>(kind);
    what.process.argv = {"/bin/readlink", fmt::format("/proc/self/ns/{}", name),
                         "/proc/self/ns/mnt", "/proc/self/ns/pid"};
    what.process.stdio = Stdio::capture;
    const Exit e = ended(box.attach(what));
    CHECK(e.out == fmt::format("{}\n{}\n{}\n", own_namespace(name, pid), own_namespace("mnt"),
                               own_namespace("pid")));
  }
}

TEST_CASE("an attached process ends by itself, by its handle, and with the container",
          "[attach][.root][.userns]") {
  const TempRoot root;
  Container box = launch(payload(root, {"pause"}));
  SECTION("its status is told") {
    CHECK(to_string(ended(box.attach(verb({"exit", "7"})))) == "exited with status 7");
    CHECK(to_string(ended(box.attach(verb({"crash"})))) == "killed by signal 11 (SIGSEGV)");
    CHECK(ended(box.attach(verb({"say", "words"}))).success());
  }
  SECTION("a handle that goes takes its process along, and no other") {
    pid_t gone = 0;
    {
      const Task task = need(box.attach(verb({"pause"})));
      gone = task.pid().value;
      CHECK(is_alive(gone));
    }
    CHECK_FALSE(is_alive(gone));
    CHECK(is_alive(box.pid().value));
  }
  SECTION("stopped politely") {
    Task task = need(box.attach(verb({"pause"})));
    CHECK(to_string(need(task.stop(10s))) == "killed by signal 15 (SIGTERM)");
  }
  SECTION("the container's end is its end") {
    Task task = need(box.attach(verb({"pause"})));
    (void)need(box.stop(0ms));
    const auto e = need(task.wait_for(10s));
    REQUIRE(e);
    CHECK(to_string(*e) == "killed by signal 9 (SIGKILL)");
    CHECK_THAT(failure_of(box.attach(verb({"pause"}))),
               FailsWith(ESRCH, Step::join_namespace, "'test' has ended"));
  }
  SECTION("a program that is not there is named") {
    Attach what = verb({});
    what.process.argv = {"/no/such"};
    CHECK_THAT(failure_of(box.attach(what)), FailsWith(ENOENT, Step::exec, "/no/such"));
  }
}

TEST_CASE("attaching leaves nothing behind", "[attach][.root][.userns]") {
  const TempRoot root;
  const Container box = launch(payload(root, {"pause"}));
  (void)ended(box.attach(verb({"exit"})));
  const Surroundings before = Surroundings::quiet();
  for (int i = 0; i < 20; ++i) {
    (void)ended(box.attach(verb({"exit"})));
    Attach bad = verb({});
    bad.process.argv = {"/no/such"};
    CHECK_FALSE(box.attach(bad));
  }
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("an attached process counts among the container's", "[attach][.root][cgroup]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.resources.cgroup = CgroupMode::always;
  spec.resources.pids_max = 2;
  const Container box = launch(spec);
  const auto groups = [](pid_t pid) { return read_file(fmt::format("/proc/{}/cgroup", pid)); };
  Task first = need(box.attach(verb({"pause"})));
  CHECK(groups(first.pid().value) == groups(box.pid().value));
  // Two are allowed: on v2 the clone is refused; on v1 who enters a full cgroup by writing to it is
  // let in, and then there is no room for a child.
  if (const auto second = box.attach(verb({"forks", "1"}))) {
    CHECK(facts().cgroups.size() > 1);
  } else {
    CHECK_THAT(failure_of(second), FailsWith(EAGAIN, Step::clone));
  }
  (void)need(first.stop(0ms));

  Attach below = verb({"pause"});
  below.cgroup = AttachCgroup::below;
  {
    const Task task = need(box.attach(below));
    const std::string mine = groups(task.pid().value);
    CHECK(mine != groups(box.pid().value));
    CHECK(mine.find("/attach.") != std::string::npos);
  }
  for (const std::string& path : own_cgroups())
    for (const std::string& name : condroid::test::entries_of(path))
      CHECK(name.find("attach.") == std::string::npos);

  Attach outside = verb({"pause"});
  outside.cgroup = AttachCgroup::own;
  const Task task = need(box.attach(outside));
  CHECK(groups(task.pid().value) == groups(::getpid()));
}

TEST_CASE("a user namespace is entered as its root", "[attach][.root]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  const std::uint32_t first = 200000;
  spec.idmap = {.kind = IdMap::ranges,
                .uids = {{.inside = 0, .outside = first, .count = 65536}},
                .gids = {{.inside = 0, .outside = first, .count = 65536}}};
  const Container box = launch(spec);
  Attach what = verb({"probe"});
  what.process.uid = Uid{33};
  const Report r = seen(box, what);
  CHECK(r["call.uid"] == "33 33");
  CHECK(r["ns.user"] == own_namespace("user", fmt::format("{}", box.pid().value)));
  Task task = need(box.attach(verb({"pause"})));
  const std::string status = read_file(fmt::format("/proc/{}/status", task.pid().value));
  CHECK(status.find(fmt::format("Uid:\t{0}\t{0}\t{0}\t{0}\n", first)) != std::string::npos);
  what.process.stdio = Stdio::pty;
  what.process.uid = Uid{0};
  Task on_terminal = need(box.attach(what));
  CHECK(need(on_terminal.wait()).success());
}

TEST_CASE("nothing of an attaching process can be reached from inside", "[attach][attack][.root]") {
  const TempRoot root;
  const bool mapped = GENERATE(false, true);
  CAPTURE(mapped);
  Spec spec = payload(root, {"pause"});
  if (mapped)
    spec.idmap = {.kind = IdMap::ranges,
                  .uids = {{.inside = 0, .outside = 300000, .count = 65536}},
                  .gids = {{.inside = 0, .outside = 300000, .count = 65536}}};
  const Container box = launch(spec);
  // Held at every step before its command: all that time it is among the container's processes.
  for (const std::string_view step : {"arm death signal", "change directory", "set ids", "exec"}) {
    CAPTURE(step);
    Attach what = verb({"pause"});
    std::size_t at = 0;
    {
      condroid::AttachTarget target{.name = "test", .pid = box.pid(), .launched_here = true};
      target.inside.namespaces = Spec::default_namespaces;
      target.inside.seccomp = {};
      if (mapped) target.inside.namespaces |= Namespace::user;
      auto plan = condroid::compile(what, target, facts());
      REQUIRE(plan);
      at = need(plan->find(step));
    }
    auto attaching = need(box.start_attach(what, {.stop_before = at}));
    const auto until = std::chrono::steady_clock::now() + 10s;
    while (!attaching.stopped() && std::chrono::steady_clock::now() < until) {
      REQUIRE_FALSE(need(attaching.step()));
      std::this_thread::sleep_for(1ms);
    }
    REQUIRE(attaching.stopped());
    // Its pidfd of the zygote: first where that had it, then behind the standard streams.
    const char* fd = step == "arm death signal" ? "fd/6" : "fd/4";
    const std::string p = fmt::format("/proc/{}/", inside_pid(attaching.pid().value));
    const Report r = seen(box, verb({"peek", p + "mem", p + "environ", p + fd, p + "exe",
                                     p + "root/bin/payload", p + "cwd/bin/payload", p + "maps"}));
    for (const char* file :
         {"mem", "environ", fd, "exe", "root/bin/payload", "cwd/bin/payload", "maps"}) {
      CAPTURE(file);
      CHECK((r[p + file] == "EACCES" || r[p + file] == "EPERM"));
    }
    attaching.cancel();
    CHECK_THAT(failure_of(attaching.finish()), FailsWith(Errc::cancelled, step_named(step)));
  }
}

TEST_CASE("an attach goes to the container that it was asked for", "[attach][attack][.root]") {
  const TempRoot root;
  std::optional<Container> box(launch(payload(root, {"pause"})));
  auto attaching = need(box->start_attach(verb({"pause"}), {}));
  box.reset();
  // Its descriptors' numbers are others' now.
  const Container other = launch(payload(root, {"pause"}));
  CHECK_THAT(failure_of(attaching.finish()), FailsWith(ESRCH, Step::join_namespace));
}

TEST_CASE("a container's programs do not get this program's rights", "[attach][attack][.root]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.idmap = {.kind = IdMap::ranges,
                .uids = {{.inside = 0, .outside = 500000, .count = 65536}},
                .gids = {{.inside = 0, .outside = 500000, .count = 65536}}};
  const Container box = launch(spec);
  Attach what = verb({"pause"});
  what.namespaces = Namespace::mount | Namespace::pid;
  CHECK_THAT(failure_of(box.attach(what)),
             FailsWith(Errc::bad_spec, Step::compile, "'mount' without 'user'"));
}

TEST_CASE("a container that shares the host's pids is entered without a helper in it",
          "[attach][.root]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.namespaces -= Namespace::pid;
  spec.security.allow |= condroid::Allow::host_pids;
  spec.idmap = {.kind = IdMap::ranges,
                .uids = {{.inside = 0, .outside = 600000, .count = 65536}},
                .gids = {{.inside = 0, .outside = 600000, .count = 65536}}};
  const Container box = launch(spec);
  const Report r = seen(box, verb({"probe"}));
  for (const char* ns : {"net", "mnt", "user", "ipc", "uts", "cgroup"})
    CHECK(r[fmt::format("ns.{}", ns)] == own_namespace(ns, fmt::format("{}", box.pid().value)));
  CHECK(r["call.uid"] == "0 0");
}

TEST_CASE("a cgroup of its own goes when the attach fails", "[attach][.root][cgroup]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.resources.cgroup = CgroupMode::everywhere;
  const Container box = launch(spec);
  Attach what = verb({"pause"});
  what.cgroup = AttachCgroup::below;
  what.process.descriptors = {{.host = {9999}, .number = 3}};
  CHECK_THAT(failure_of(box.attach(what)), FailsWith(EBADF, Step::open_descriptor, "9999"));
  for (const std::string& path : own_cgroups())
    for (const std::string& name : condroid::test::entries_of(path))
      CHECK(name.find("attach.") == std::string::npos);
}

TEST_CASE("a container that somebody else launched is entered by pid", "[attach][.root]") {
  int ready[2];
  REQUIRE(::pipe2(ready, O_CLOEXEC) == 0);
  const Forked other([&] {
    if (::unshare(CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWNS) < 0) return 1;
    if (::sethostname("elsewhere", 9) < 0 || ::chroot("/usr") < 0 || ::chdir("/") < 0) return 2;
    (void)!::write(ready[1], "x", 1);
    for (;;) ::pause();
  });
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  ::close(ready[0]);
  ::close(ready[1]);
  Attach what;
  what.process.argv = {"/bin/uname", "-n"};  // below its root, that is /usr/bin/uname
  what.process.stdio = Stdio::capture;
  const Exit whole = ended(runtime().attach(Pid{other.pid()}, what));
  CHECK(whole.out == "elsewhere\n");
  what.process.argv = {"/bin/ls", "-d", "/share", "/usr"};
  CHECK(ended(runtime().attach(Pid{other.pid()}, what)).out == "/share\n");
  what.namespaces = Flags<Namespace>(Namespace::uts);
  what.process.argv = {"/usr/bin/uname", "-n"};
  CHECK(ended(runtime().attach(Pid{other.pid()}, what)).out == "elsewhere\n");
}

TEST_CASE("a label is taken over, or refused where there is none", "[attach][.root][v2]") {
  Attach what;
  what.process.argv = {"/bin/cat", "/proc/self/attr/current"};
  what.process.stdio = Stdio::capture;
  what.lsm_label = true;
  char own[256];
  const Fd attr(::open("/proc/self/attr/current", O_RDONLY | O_CLOEXEC));
  const bool labels = attr.valid() && ::read(attr.get(), own, sizeof own) > 0;
  const Forked other([] {
    for (;;) ::pause();
  });
  if (!labels) {
    CHECK_THAT(failure_of(runtime().attach(Pid{other.pid()}, what)),
               FailsWith(Errc::unsupported, Step::compile, "lsm_label"));
    return;
  }
  CHECK(ended(runtime().attach(Pid{other.pid()}, what)).out ==
        read_file(fmt::format("/proc/{}/attr/current", other.pid())));
}

TEST_CASE("who cannot be entered is named", "[attach][.root]") {
  const TempRoot root;
  SECTION("a container that is frozen") {
    Spec spec = payload(root, {"pause"});
    spec.resources.cgroup = CgroupMode::always;
    const Container box = launch(spec);
    for (const std::string& path : own_cgroups())
      for (const auto& [file, value] :
           {std::pair{"/cgroup.freeze", "1"}, {"/freezer.state", "FROZEN"}})
        if (const Fd fd(::open((path + file).c_str(), O_WRONLY | O_CLOEXEC)); fd.valid())
          condroid::test::write_to(fd, value);
    CHECK_THAT(failure_of(box.attach(verb({"pause"}))),
               FailsWith(EBUSY, Step::enter_cgroup, "is frozen"));
  }
  SECTION("a process that has ended") {
    Forked gone([] { return 0; });
    const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, gone.pid(), 0)));
    const pid_t pid = gone.pid();
    gone.wait();
    const auto said = fmt::format("process {}", pid);
    CHECK_THAT(failure_of(runtime().attach(Pid{pid}, {})),
               FailsWith(ESRCH, Step::join_namespace, said));
    // Whoever has that number now, the descriptor tells that it is somebody else.
    CHECK_THAT(failure_of(runtime().start_attach(Pid{::getpid()}, pidfd, {})),
               FailsWith(ESRCH, Step::join_namespace));
  }
  SECTION("a number that is none") {
    CHECK_THAT(failure_of(runtime().attach(Pid{-1}, {})), FailsWith(EINVAL, Step::join_namespace));
  }
  SECTION("what makes no sense in a container that is there already") {
    const Container box = launch(payload(root, {"pause"}));
    Attach what = verb({"pause"});
    what.process.init = true;
    what.process.argv.clear();
    what.namespaces = Namespace::net | Flags<Namespace>(Namespace::time);
    const auto refused = failure_of(box.attach(what));
    CHECK_THAT(refused, FailsWith(Errc::bad_spec, Step::compile, "process.argv"));
    CHECK_THAT(refused, FailsWith(Errc::bad_spec, Step::compile, "process.init"));
    CHECK_THAT(refused, FailsWith(Errc::bad_spec, Step::compile, "shares 'time'"));
    Attach below = verb({"pause"});
    below.cgroup = AttachCgroup::below;
    CHECK_THAT(failure_of(box.attach(below)),
               FailsWith(Errc::bad_spec, Step::compile, "no cgroup of its own"));
  }
}

TEST_CASE("another user's namespaces are not entered", "[attach][.userns]") {
  // Process 1 is somebody else's, whoever we are here.
  if (facts().uid.value == 0 && facts().initial_user_namespace) return;
  const auto refused = failure_of(runtime().attach(Pid{1}, {}));
  REQUIRE(refused.error);
  CHECK((refused.error->is_errno(EACCES) || refused.error->is_errno(EPERM)));
}
