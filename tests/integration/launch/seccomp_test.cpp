// Filters of system calls: what a container's programs get from the kernel when they make them.
#include <linux/audit.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <map>
#include <string>
#include <vector>

#include "condroid/attach.hpp"
#include "condroid/pool.hpp"
#include "condroid/run.hpp"
#include "containers.hpp"

using condroid::Allow;
using condroid::Attach;
using condroid::Capability;
using condroid::Container;
using condroid::Errc;
using condroid::Exit;
using condroid::Pool;
using condroid::Seccomp;
using condroid::Spec;
using condroid::Stdio;
using condroid::Step;
using condroid::SyscallArch;
using condroid::test::attempt;
using condroid::test::facts;
using condroid::test::FailsWith;
using condroid::test::failure_of;
using condroid::test::launch;
using condroid::test::launch_and_wait;
using condroid::test::payload;
using condroid::test::read_file;
using condroid::test::Report;
using condroid::test::run;
using condroid::test::runtime;
using condroid::test::Surroundings;
using condroid::test::TempRoot;
using condroid::test::wait;
using namespace condroid::literals;

namespace {

Spec calls(const TempRoot& root, std::vector<std::string> names = {}) {
  names.insert(names.begin(), "calls");
  return payload(root, names);
}

Spec unfiltered(Spec spec) {
  spec.security.seccomp.kind = Seccomp::none;
  spec.security.allow |= Allow::all_syscalls;
  return spec;
}

std::string status_of(int pid, std::string_view key) {
  const std::string status = read_file(fmt::format("/proc/{}/status", pid));
  const std::size_t at = status.find(fmt::format("\n{}:", key));
  if (at == std::string::npos) return "(missing)";
  const std::size_t begin = status.find_first_not_of(" \t", at + key.size() + 2);
  return status.substr(begin, status.find('\n', begin) - begin);
}

#if CONDROID_LIBSECCOMP
/// What a static program of this C library needs to end well.
Seccomp just_enough() {
  return Seccomp::only({"execve", "exit_group", "arch_prctl", "brk", "set_tid_address",
                        "set_robust_list", "rseq", "readlink", "readlinkat", "getrandom",
                        "mprotect", "prlimit64"});
}
#endif

}  // namespace

TEST_CASE("the calls that lead far into the kernel are closed by default",
          "[seccomp][attack][.root][.userns]") {
  const TempRoot root;
  const Report seen = run(calls(root));
  for (const char* name : {"add_key", "keyctl", "io_uring", "clone3", "clone3_user", "new"}) {
    INFO(name);
    CHECK(seen[name] == "ENOSYS");
  }
  for (const char* name : {"bpf", "clone_user", "open_by_handle", "perf", "tioclinux", "tiocsti",
                           "tiocsti_high", "unshare_user", "userfaultfd"}) {
    INFO(name);
    CHECK(seen[name] == "EPERM");
  }
  for (const char* name : {"getpid", "getuid", "kcmp", "thread", "unshare_files"}) {
    INFO(name);
    CHECK(seen[name] == "ok");
  }
  CHECK(seen["sysinfo"] == "EFAULT");
  CHECK(seen["tiocgwinsz"] == "EBADF");
#if defined(__x86_64__)
  // Not every machine runs 32-bit programs: there it is the kernel that ends them.
  const bool runs_32_bit = run(unfiltered(calls(root, {"int80"})))["int80"] == "ok";
  CHECK(seen["int80"] == (runs_32_bit ? "SIGSYS" : "SIGSEGV"));
#endif

  // The kernel's own answers are others: it is the filter that gave these.
  const Report open = run(unfiltered(calls(root)));
  CHECK(open["clone3"] == "ok");
  CHECK(open["clone_user"] == "ok");
  CHECK(open["unshare_user"] == "ok");
  CHECK(open["tiocsti"] == "EBADF");
  CHECK(open["keyctl"] != "ENOSYS");
  CHECK(open["userfaultfd"] == "ok");
}

#if defined(__x86_64__)
TEST_CASE("programs of another architecture die unless it is named",
          "[seccomp][attack][.root][.userns]") {
  const TempRoot root;
  if (run(unfiltered(calls(root, {"int80"})))["int80"] != "ok") {
    // A machine that runs none, with a filter or without.
    CHECK(run(calls(root, {"int80"}))["int80"] == "SIGSEGV");
    return;
  }
  CHECK(run(calls(root, {"int80"}))["int80"] == "SIGSYS");
  Spec spec = calls(root);
  spec.security.seccomp.arch = SyscallArch::x86;
  const Report seen = run(spec);
  CHECK(seen["int80"] == "ok");
  CHECK(seen["bpf"] == "EPERM");
}
#endif

TEST_CASE("tokens and capabilities open the calls that are theirs", "[seccomp][.root][.userns]") {
  const TempRoot root;
  Spec spec = calls(root);
  spec.security.allow = Allow::nesting;
  CHECK(run(spec)["unshare_user"] == "ok");
  CHECK(run(spec)["bpf"] == "EPERM");
  CHECK(run(spec)["clone3_user"] == "ok");
}

TEST_CASE("every process of a container has one filter", "[seccomp][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  Container box = launch(spec);
  CHECK(status_of(box.pid().value, "Seccomp") == "2");
  CHECK(status_of(box.pid().value, "Seccomp_filters") == "1");

  SECTION("one that is attached has it, too") {
    const Attach attach{.process = {.argv = {"/bin/payload", "calls"}, .stdio = Stdio::capture}};
    auto task = box.attach(attach);
    if (!task) FAIL(to_string(task.error()));
    const Exit e = task->wait().value();
    CHECK(e.success());
    CHECK(Report(e)["bpf"] == "EPERM");
    CHECK(Report(e)["unshare_user"] == "EPERM");
  }
  SECTION("and one that is attached by pid") {
    Attach attach{.process = {.argv = {"/bin/payload", "calls"}, .stdio = Stdio::capture}};
    auto task = runtime().attach(box.pid(), attach);
    if (!task) FAIL(to_string(task.error()));
    CHECK(Report(task->wait().value())["bpf"] == "EPERM");
    attach.seccomp = Seccomp{.kind = Seccomp::bpf};
    CHECK_THAT(failure_of(runtime().attach(box.pid(), attach)),
               FailsWith(Errc::bad_spec, Step::compile, "security.seccomp.program"));
  }
  SECTION("or one of its own") {
    Attach attach{.process = {.argv = {"/bin/payload", "calls"}, .stdio = Stdio::capture}};
    attach.seccomp = Seccomp{.kind = Seccomp::none};
    auto open = box.attach(attach);
    if (!open) FAIL(to_string(open.error()));
    CHECK(Report(open->wait().value())["clone3"] == "ok");
#if CONDROID_LIBSECCOMP
    attach.seccomp = Seccomp::all_but({"getuid"});
    auto task = box.attach(attach);
    if (!task) FAIL(to_string(task.error()));
    const Exit e = task->wait().value();
    CHECK(Report(e)["getuid"] == "EPERM");
    CHECK(Report(e)["bpf"] == "EPERM");  // of the standard one
    attach.seccomp->fail(1, {"no_such_call"});
    CHECK_THAT(failure_of(box.attach(attach)),
               FailsWith(Errc::bad_spec, Step::compile, "'no_such_call'"));
#endif
  }
}

TEST_CASE("a taken container has the filter of its pool", "[seccomp][pool][.root]") {
  const TempRoot root;
  const auto with = [&](const Spec& spec) {
    auto pool = Pool::open(runtime(), spec, {.size = 1});
    if (!pool) FAIL(to_string(pool.error()));
    auto box = pool->take();
    if (!box) FAIL(to_string(box.error()));
    return Report(wait(*box));
  };
  CHECK(with(calls(root))["bpf"] == "EPERM");
#if CONDROID_LIBSECCOMP
  Spec spec = calls(root);
  spec.security.seccomp = Seccomp::all_but({"getuid"});
  CHECK(with(spec)["getuid"] == "EPERM");
  spec.security.seccomp = Seccomp::all_but({"getuidd"});
  CHECK_THAT(failure_of(Pool::open(runtime(), spec, {.size = 1})),
             FailsWith(Errc::bad_spec, Step::compile, "getuidd"));
#endif
}

TEST_CASE("the small init is under the standard filter, the command also under its own",
          "[seccomp][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.process.init = true;
  const auto filters = [&](int of_init, int of_command) {
    Container box = launch(spec);
    CHECK(status_of(box.pid().value, "Seccomp_filters") == std::to_string(of_init));
    const auto children = condroid::test::children_of(box.pid().value);
    REQUIRE(children.size() == 1);
    CHECK(status_of(children[0], "Seccomp_filters") == std::to_string(of_command));
    CHECK(box.kill().has_value());
    CHECK(wait(box).signal.value == SIGKILL);
  };
  filters(1, 1);
  spec.security.seccomp = {.kind = Seccomp::bpf, .program = {0x7fff000000000006}};
  filters(1, 2);
  // Whom the command may trace has no more calls than the command.
  if (!facts().privileged()) return;
  spec.security.capabilities.add(Capability::sys_ptrace);
  spec.security.allow = Allow::capabilities;
  filters(2, 2);
}

TEST_CASE("a filter goes with programs that may gain privileges", "[seccomp][.root][.userns]") {
  const TempRoot root;
  Spec spec = calls(root);
  spec.security.no_new_privs = false;
  spec.security.allow = Allow::new_privileges;
  const Report seen = run(spec);
  CHECK(seen["bpf"] == "EPERM");
  CHECK(seen["unshare_user"] == "EPERM");
  spec.process.init = true;
  CHECK(run(spec)["bpf"] == "EPERM");
}

TEST_CASE("a filter that the kernel does not take is refused, and nothing is left",
          "[seccomp][.root][.userns]") {
  const TempRoot root;
  const Surroundings before = Surroundings::quiet();
  Spec spec = payload(root, {"exit"});
  // A load from behind the data.
  spec.security.seccomp = {.kind = Seccomp::bpf, .program = {0x1000'0000'0020, 0x7fff000000000006}};
  CHECK_THAT(attempt(spec), FailsWith(EINVAL, Step::load_seccomp, "2 instructions"));
  // And one that lets nothing through: not even the command.
  spec.security.seccomp.program = {0x00050001'0000'0006};
  CHECK_THAT(attempt(spec), FailsWith(EPERM, Step::exec));
  CHECK(Surroundings::settled(before) == before);
}

#if CONDROID_LIBSECCOMP

TEST_CASE("rules hold as they are written", "[seccomp][.root][.userns]") {
  const TempRoot root;
  Spec spec = calls(root);
  SECTION("all but some") {
    spec.security.seccomp = Seccomp::all_but({"getuid"}).fail(ENOSYS, {"sysinfo"});
    const Report seen = run(spec);
    CHECK(seen["getuid"] == "EPERM");
    CHECK(seen["sysinfo"] == "ENOSYS");
    CHECK(seen["getpid"] == "ok");
    CHECK(seen["clone3"] == "ENOSYS");  // the standard one is there, too
    CHECK(seen["bpf"] == "EPERM");
  }
  SECTION("an argument decides") {
    spec.security.seccomp = Seccomp{};
    spec.security.seccomp.fail(EACCES, {"ioctl"},
                               {{1, condroid::ArgumentCheck::eq, 0x5412, 0xffffffff}});
    const Report seen = run(spec);
    CHECK(seen["tiocsti"] == "EACCES");
    CHECK(seen["tiocsti_high"] == "EACCES");
    CHECK(seen["tiocgwinsz"] == "EBADF");
  }
  SECTION("a forbidden call ends the process, and the exit says so") {
    spec = payload(root, {"calls", "getuid"});
    spec.security.seccomp = Seccomp::all_but({"swapon"}).kill({"getuid"});
    CHECK(run(spec)["getuid"] == "SIGSYS");
    spec.security.seccomp = Seccomp::all_but({"swapon"}).kill({"fork", "clone", "clone3"});
    const Exit e = launch_and_wait(spec);
    CHECK(e.signal.value == SIGSYS);
    CHECK_THAT(to_string(e), Catch::Contains("SIGSYS"));
  }
  SECTION("a handful of calls is enough to be started") {
    spec = payload(root, {"exit", "7"});
    spec.security.seccomp = just_enough();
    CHECK(launch_and_wait(spec).code == 7);
  }
}

TEST_CASE("a Runtime compiles the rules of a Spec once", "[seccomp][.root]") {
  const TempRoot root;
  Spec spec = payload(root, {"exit"});
  spec.security.seccomp = just_enough();
  spec.security.seccomp.otherwise = condroid::SyscallAction::kill_process;
  const auto once = compile(spec.security.seccomp);
  REQUIRE(once);
  CHECK(once->kind == Seccomp::bpf);
  CHECK(compile(*once).value() == *once);
  for (int i = 0; i < 40; ++i) {
    // More of them than are kept, and each is right.
    spec.security.seccomp.list.back().calls.push_back(std::to_string(500 + i % 20));
    CHECK(launch_and_wait(spec).success());
  }
}

#endif
