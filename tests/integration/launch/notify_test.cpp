// Calls that a filter asks the host about: what a container gets for the host's answers.
#include "condroid/notify.hpp"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "condroid/attach.hpp"
#include "condroid/config/seccomp.hpp"
#include "condroid/learn.hpp"
#include "condroid/pool.hpp"
#include "containers.hpp"
#include "forked.hpp"

using condroid::Allow;
using condroid::Attach;
using condroid::Capability;
using condroid::CapabilitySet;
using condroid::Container;
using condroid::Exit;
using condroid::Fd;
using condroid::Pool;
using condroid::Restart;
using condroid::Seccomp;
using condroid::Spec;
using condroid::Stdio;
using condroid::Step;
using condroid::SyscallListener;
using condroid::SyscallRequest;
using condroid::test::attempt;
using condroid::test::facts;
using condroid::test::FailsWith;
using condroid::test::failure_of;
using condroid::test::Forked;
using condroid::test::is_alive;
using condroid::test::launch;
using condroid::test::must;
using condroid::test::payload;
using condroid::test::Report;
using condroid::test::runtime;
using condroid::test::Surroundings;
using condroid::test::TempRoot;
using condroid::test::wait;
using namespace std::chrono_literals;

namespace {

using Words = std::vector<std::string>;
using Answer = std::function<void(SyscallListener&, const SyscallRequest&)>;

/// A filter that asks about these calls of this machine's own architecture, and allows all others;
/// without libseccomp's help, so that every build has it.
Seccomp asking(const std::vector<long>& numbers) {
  const auto word = [](unsigned code, std::uint32_t k, unsigned yes = 0, unsigned no = 0) {
    return code | std::uint64_t{yes} << 16U | std::uint64_t{no} << 24U | std::uint64_t{k} << 32U;
  };
  Seccomp s{.kind = Seccomp::bpf};
  s.notify_program.push_back(word(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  for (const long number : numbers) {
    s.notify_program.push_back(
        word(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 1));
    s.notify_program.push_back(word(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
  }
  s.notify_program.push_back(word(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  return s;
}

Spec asks(const TempRoot& root, const std::vector<long>& numbers, Words words) {
  words.insert(words.begin(), "ask");
  Spec spec = payload(root, words);
  spec.security.seccomp = asking(numbers);
  return spec;
}

template <class Box>
SyscallListener listener_of(Box& box) {
  auto listener = box.take_listener();
  if (!listener) throw std::runtime_error(to_string(listener.error()));
  return std::move(*listener);
}

void must_be(const condroid::Result<void>& result) {
  if (!result) throw std::runtime_error(to_string(result.error()));
}

constexpr int patience_ms = 20000;

/// The next request, which must come.
SyscallRequest request_of(SyscallListener& listener) {
  for (;;) {
    auto request = listener.next();
    if (!request) throw std::runtime_error(to_string(request.error()));
    if (*request) return **request;
    pollfd waiter{listener.poll_fd().get(), POLLIN, 0};
    if (listener.done() || ::poll(&waiter, 1, patience_ms) != 1)
      throw std::runtime_error("nobody asked");
  }
}

/// Answers until nobody is left who could ask.
void answer(SyscallListener& listener, const Answer& give) {
  for (;;) {
    auto request = listener.next();
    if (!request) throw std::runtime_error(to_string(request.error()));
    if (*request) {
      give(listener, **request);
      continue;
    }
    if (listener.done()) return;
    pollfd waiter{listener.poll_fd().get(), POLLIN, 0};
    if (::poll(&waiter, 1, patience_ms) != 1) throw std::runtime_error("it neither asks nor ends");
  }
}

Report run_asking(const Spec& spec, const Answer& give) {
  Container box = launch(spec);
  SyscallListener listener = listener_of(box);
  answer(listener, give);
  const Exit e = wait(box);
  if (!e.success()) throw std::runtime_error(fmt::format("{}: {}{}", e, e.out, e.err));
  return Report(e);
}

}  // namespace

TEST_CASE("a call gets the errno, the value or the kernel's own answer that the host gives",
          "[notify][.root][.userns]") {
  const TempRoot root;
  int asked = 0;
  const Spec spec = asks(root, {SYS_getppid}, {"getppid", "getppid", "getppid"});
  const Report seen = run_asking(spec, [&](SyscallListener& l, const SyscallRequest& r) {
    CHECK(r.number == SYS_getppid);
    CHECK(r.thread.value > 0);
#if CONDROID_LIBSECCOMP
    CHECK(r.name() == "getppid");
#endif
    switch (asked++) {
      case 0:
        CHECK(failure_of(l.refuse(r, 0)).error.has_value());
        return must_be(l.refuse(r, EXDEV));
      case 1:
        CHECK(l.waiting(r).value());
        must_be(l.respond(r, 1234567));
        // Answered once.
        CHECK_THAT(failure_of(l.respond(r, 1)), FailsWith(ENOENT, Step::answer_syscall));
        return;
      default:
        return must_be(l.proceed(r));
    }
  });
  CHECK(seen.all("getppid") == Words{"EXDEV", "1234567", "0"});
  CHECK(asked == 3);
}

TEST_CASE("the host makes what a path of the container's names",
          "[notify][attack][.root][.userns]") {
  const TempRoot root;
  // A link that leads out of the root for whoever follows it from outside.
  must(::symlink("/data", (root / "mnt/link").c_str()) == 0 &&
           ::symlink("../../../../../../tmp", (root / "mnt/up").c_str()) == 0,
       "symlink");
  const Spec spec = asks(root, {SYS_mkdirat},
                         {"mkdir:/mnt/link/one", "chdir:/tmp", "mkdir:two", "mkdir:/mnt/up/three",
                          "mkdir:/none/four", "mkdir:.."});
  const Report seen = run_asking(spec, [](SyscallListener& l, const SyscallRequest& r) {
    auto path = l.read_string(r, r.args[1]);
    if (!path) throw std::runtime_error(to_string(path.error()));
    auto place = l.place(r, static_cast<int>(r.args[0]), *path);
    if (!place) return must_be(l.refuse(r, place.error().code.value()));
    if (::mkdirat(place->directory.get(), place->name.c_str(), 0700) != 0)
      return must_be(l.refuse(r, errno));
    must_be(l.respond(r));
  });
  CHECK(seen.all("mkdir") == Words{"0", "0", "0", "ENOENT", "EEXIST"});
  for (const char* made : {"data/one", "tmp/two", "tmp/three"}) {
    INFO(made);
    struct stat st {};
    CHECK(::stat((root / made).c_str(), &st) == 0);
    CHECK((st.st_mode & 0777U) == 0700U);
  }
}

TEST_CASE("a container without the right to make devices gets one from the host",
          "[notify][.root]") {
  const TempRoot root;
  Spec spec = asks(root, {SYS_mknodat}, {"mknod:/dev/zilch", "null:/dev/zilch", "mknod:/dev/mem2"});
  spec.security.capabilities = CapabilitySet{};
  const Report seen = run_asking(spec, [](SyscallListener& l, const SyscallRequest& r) {
    const auto path = l.read_string(r, r.args[1]).value();
    if (r.args[3] != makedev(1, 3) || path != "/dev/zilch") return must_be(l.refuse(r, EPERM));
    auto place = l.place(r, static_cast<int>(r.args[0]), path);
    if (!place) return must_be(l.refuse(r, place.error().code.value()));
    const int e =
        ::mknodat(place->directory.get(), place->name.c_str(), S_IFCHR | 0666, makedev(1, 3)) == 0
            ? 0
            : errno;
    must_be(e == 0 ? l.respond(r) : l.refuse(r, e));
  });
  CHECK(seen.all("mknod") == Words{"0", "EPERM"});
  CHECK(seen["null"] == "4");
}

TEST_CASE("an open gets the descriptor that the host opened", "[notify][.root][.userns]") {
  const TempRoot root;
  const Fd file(::memfd_create("answer", MFD_CLOEXEC));
  must(::write(file.get(), "of the host", 11) == 11, "write");
  const Spec spec = asks(root, {SYS_openat}, {"open:/no/such", "open:/data/file", "open:/x"});
  const Report seen = run_asking(spec, [&](SyscallListener& l, const SyscallRequest& r) {
    const auto path = l.read_string(r, r.args[1]).value();
    CHECK_THAT(failure_of(l.read_string(r, r.args[1], 2)),
               FailsWith(ENAMETOOLONG, Step::answer_syscall));
    CHECK_THAT(failure_of(l.read_string(r, 8)), FailsWith(EFAULT, Step::answer_syscall));
    must(::lseek(file.get(), 0, SEEK_SET) == 0, "lseek");
    if (path == "/no/such") return must_be(l.respond_with(r, file));
    if (path != "/x") return must_be(l.proceed(r));
    const auto number = l.add_descriptor(r, file, {.number = 17});
    CHECK(number.value() == 17);
    must_be(l.respond(r, 17));
  });
  CHECK(seen.all("open") == Words{"of the host", "original", "of the host"});
}

TEST_CASE("the host fills in what a call would have filled in", "[notify][.root][.userns]") {
  const TempRoot root;
  const Spec spec = asks(root, {SYS_sysinfo}, {"sysinfo"});
  const Report seen = run_asking(spec, [](SyscallListener& l, const SyscallRequest& r) {
    struct sysinfo info {};
    info.uptime = 4711;
    must_be(l.write(r, r.args[0], std::as_bytes(std::span(&info, 1))));
    struct sysinfo back {};
    must_be(l.read(r, r.args[0], std::as_writable_bytes(std::span(&back, 1))));
    CHECK(back.uptime == 4711);
    CHECK_THAT(failure_of(l.write(r, 8, std::as_bytes(std::span(&info, 1)))),
               FailsWith(EFAULT, Step::answer_syscall));
    auto pidfd = l.pidfd(r);
    CHECK(pidfd.has_value());
    must_be(l.respond(r));
  });
  CHECK(seen["sysinfo"] == "4711");
}

TEST_CASE("what was looked at is done by who looked, or it may be something else",
          "[notify][attack][.root][.userns]") {
  const TempRoot root;
  const Spec spec = asks(root, {SYS_mkdirat}, {"mkdir:/tmp/first", "mkdir:/tmp/other"});
  const Report seen = run_asking(spec, [](SyscallListener& l, const SyscallRequest& r) {
    const std::string path = l.read_string(r, r.args[1]).value();
    auto place = l.place(r, static_cast<int>(r.args[0]), path);
    must(place.has_value(), path);
    // As another thread of the container does it, now that the path was found to be good.
    const std::string swapped = path == "/tmp/first" ? "/tmp/owned" : "/tmp/taken";
    must_be(l.write(r, r.args[1], std::as_bytes(std::span(swapped))));
    if (path == "/tmp/first") return must_be(l.proceed(r));  // the naive one
    must(::mkdirat(place->directory.get(), place->name.c_str(), 0700) == 0, path);
    must_be(l.respond(r));
  });
  CHECK(seen.all("mkdir") == Words{"0", "0"});
  const auto there = [&](const char* name) { return ::access((root / name).c_str(), F_OK) == 0; };
  CHECK(there("tmp/owned"));
  CHECK_FALSE(there("tmp/first"));
  CHECK(there("tmp/other"));
  CHECK_FALSE(there("tmp/taken"));
}

TEST_CASE("nobody is written to but who asks, whatever becomes of him", "[notify][attack][.root]") {
  // A host of which every call is looked at. Whose number it is must be asked when the memory is
  // open already; then the one who asked is killed, so that the number is free.
  const bool kill_him = GENERATE(false, true);
  CAPTURE(kill_him);
  const TempRoot root;
  struct Shared {
    pid_t asks;
    int error;
  };
  void* const page =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(page != MAP_FAILED);
  auto* const shared = new (page) Shared{0, -1};
  Forked host([&] {
    Container box = launch(asks(root, {SYS_sysinfo}, {"sysinfo"}));
    SyscallListener listener = listener_of(box);
    const SyscallRequest r = request_of(listener);
    shared->asks = r.thread.value;
    struct sysinfo info {};
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) return 1;
    ::raise(SIGSTOP);
    const auto done = listener.write(r, r.args[0], std::as_bytes(std::span(&info, 1)));
    ::raise(SIGSTOP);
    shared->error = done ? 0 : done.error().code.value();
    return 0;
  });
  int status = 0;
  const auto stopped_by = [&](int signal) {
    return ::waitpid(host.pid(), &status, __WALL) == host.pid() && WIFSTOPPED(status) &&
           WSTOPSIG(status) == signal;
  };
  REQUIRE(stopped_by(SIGSTOP));
  const auto request = [&](__ptrace_request what, std::uintptr_t number, void* data) {
    return ::ptrace(what, host.pid(), reinterpret_cast<void*>(number),
                    data);  // NOLINT(*-int-to-ptr)
  };
  REQUIRE(request(PTRACE_SETOPTIONS, 0,
                  reinterpret_cast<void*>(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) == 0);
  std::vector<std::uint64_t> calls;
  while (request(PTRACE_SYSCALL, 0, nullptr) == 0 && stopped_by(SIGTRAP | 0x80)) {
    __ptrace_syscall_info call{};
    REQUIRE(request(PTRACE_GET_SYSCALL_INFO, sizeof call, &call) > 0);
    if (call.op != PTRACE_SYSCALL_INFO_ENTRY) continue;
    calls.push_back(call.entry.nr);
    if (call.entry.nr != SYS_ioctl || !kill_him) continue;
    ::kill(shared->asks, SIGKILL);
    for (int i = 0; i < 10000 && is_alive(shared->asks); ++i) ::usleep(1000);
    CHECK_FALSE(is_alive(shared->asks));
  }
  REQUIRE(WSTOPSIG(status) == SIGSTOP);
  std::erase_if(calls, [](std::uint64_t nr) {
    return nr != SYS_openat && nr != SYS_ioctl && nr != SYS_pwrite64 && nr != SYS_process_vm_writev;
  });
  REQUIRE(request(PTRACE_DETACH, 0, nullptr) == 0);
  CHECK(host.wait() == 0);
  CHECK(shared->error == (kill_him ? ENOENT : 0));
  const std::vector<std::uint64_t> whole = {SYS_openat, SYS_ioctl, SYS_pwrite64, SYS_ioctl};
  CHECK(calls == (kill_him ? std::vector<std::uint64_t>{SYS_openat, SYS_ioctl} : whole));
  ::munmap(page, sizeof(Shared));
}

TEST_CASE("who is killed while he waits is gone for the host", "[notify][.root][.userns]") {
  const TempRoot root;
  const Surroundings before = Surroundings::quiet();
  {
    Container box = launch(asks(root, {SYS_getppid}, {"getppid"}));
    SyscallListener listener = listener_of(box);
    const SyscallRequest r = request_of(listener);
    CHECK(box.kill().has_value());
    CHECK(wait(box).signal.value == SIGKILL);
    CHECK(!listener.waiting(r).value());
    CHECK(failure_of(listener.respond(r)).error->is_errno(ENOENT));
    CHECK(failure_of(listener.proceed(r)).error->is_errno(ENOENT));
    CHECK(failure_of(listener.refuse(r, EPERM)).error->is_errno(ENOENT));
    CHECK(failure_of(listener.pidfd(r)).error->is_errno(ENOENT));
    CHECK(failure_of(listener.read_string(r, r.args[0])).error->is_errno(ENOENT));
    CHECK(failure_of(listener.place(r, AT_FDCWD, "/x")).error->is_errno(ENOENT));
    CHECK(failure_of(listener.respond_with(r, Fd(::dup(0)))).error->is_errno(ENOENT));
    CHECK(!listener.next().value());
    CHECK(listener.done());
    CHECK(!listener.poll_fd().valid());
  }
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("without a listener calls get ENOSYS", "[notify][.root][.userns]") {
  const TempRoot root;
  Container box = launch(asks(root, {SYS_getppid}, {"getppid", "getppid"}));
  {
    SyscallListener listener = listener_of(box);
    CHECK_THAT(failure_of(box.take_listener()), FailsWith(EBADF, Step::answer_syscall));
    (void)request_of(listener);
  }
  CHECK(Report(wait(box)).all("getppid") == Words{"ENOSYS", "ENOSYS"});
  Container plain = launch(payload(root, {"exit"}));
  CHECK_THAT(failure_of(plain.take_listener()),
             FailsWith(EBADF, Step::answer_syscall, "container 'test'"));
  CHECK(wait(plain).success());
}

TEST_CASE("every one of many requests has its own answer", "[notify][.root][.userns]") {
  const TempRoot root;
  constexpr int each = 500;
  int asked = 0;
  const Report seen =
      run_asking(asks(root, {SYS_getppid}, {fmt::format("many:{}", each)}),
                 [&](SyscallListener& l, const SyscallRequest& r) {
                   ++asked;
                   must_be(l.respond(r, static_cast<std::int64_t>(r.args[0] * each + r.args[1])));
                 });
  CHECK(asked == 4 * each);
  CHECK(seen["many"] == "4");
}

TEST_CASE("what is taken from a pool or attached asks on a listener of its own",
          "[notify][pool][.root][.userns]") {
  const TempRoot root;
  const auto fixed = [](std::int64_t value) {
    return [value](SyscallListener& l, const SyscallRequest& r) { must_be(l.respond(r, value)); };
  };
  SECTION("pool") {
    auto pool = Pool::open(runtime(), asks(root, {SYS_getppid}, {"getppid"}), {.size = 1});
    if (!pool) FAIL(to_string(pool.error()));
    auto box = pool->take();
    if (!box) FAIL(to_string(box.error()));
    SyscallListener listener = listener_of(*box);
    answer(listener, fixed(77));
    CHECK(Report(wait(*box))["getppid"] == "77");
  }
  SECTION("attach") {
    Spec spec = payload(root, {"pause"});
    spec.security.seccomp = asking({SYS_getppid});
    Container box = launch(spec);
    SyscallListener of_box = listener_of(box);
    const Attach attach{
        .process = {.argv = {"/bin/payload", "ask", "getppid"}, .stdio = Stdio::capture}};
    auto task = box.attach(attach);
    if (!task) FAIL(to_string(task.error()));
    SyscallListener of_task = listener_of(*task);
    answer(of_task, fixed(78));
    CHECK(Report(task->wait().value())["getppid"] == "78");
    CHECK(!of_box.next().value());
    CHECK(!of_box.done());
    CHECK(box.kill().has_value());
    (void)wait(box);
    CHECK(!of_box.next().value());
    CHECK(of_box.done());
  }
}

TEST_CASE("a small init, and programs that may gain privileges, go with a filter that asks",
          "[notify][.root][.userns]") {
  const TempRoot root;
  Spec spec = asks(root, {SYS_getppid}, {"getppid"});
  SECTION("init") { spec.process.init = true; }
  SECTION("privileges") {
    spec.security.no_new_privs = false;
    spec.security.allow = Allow::new_privileges;
  }
  SECTION("both") {
    spec.process.init = true;
    spec.security.no_new_privs = false;
    spec.security.allow = Allow::new_privileges;
  }
  SECTION("an init that the command may trace") {
    if (!facts().privileged()) return;
    spec.process.init = true;
    spec.security.capabilities.add(Capability::sys_ptrace);
    spec.security.allow = Allow::capabilities;
  }
  SECTION("asked about what would have sent the listener") {
    spec.security.seccomp = asking({SYS_getppid, SYS_sendmsg});
  }
  SECTION("a second filter that denies all that sends anything") {
    spec.security.seccomp.program = asking({SYS_sendmsg, SYS_sendmmsg, SYS_seccomp}).notify_program;
    for (std::uint64_t& word : spec.security.seccomp.program)
      if (word >> 32U == SECCOMP_RET_USER_NOTIF)
        word = (word & 0xffffffffU) | std::uint64_t{SECCOMP_RET_ERRNO | EPERM} << 32U;
  }
  const Report seen = run_asking(
      spec, [](SyscallListener& l, const SyscallRequest& r) { must_be(l.respond(r, 79)); });
  CHECK(seen["getppid"] == "79");
}

TEST_CASE("each life of a container has a listener of its own", "[notify][.root]") {
  const TempRoot root;
  Spec spec = asks(root, {SYS_getppid}, {"getppid"});
  spec.lifecycle.restart = Restart::always;
  spec.lifecycle.restart_limit = 1;
  Container box = launch(spec);
  for (int life = 0; life < 2; ++life) {
    SyscallListener listener = listener_of(box);
    answer(listener,
           [](SyscallListener& l, const SyscallRequest& r) { must_be(l.respond(r, 80)); });
    for (const auto until = std::chrono::steady_clock::now() + 20s;
         life == 0 && box.restarts() == 0;) {
      if (std::chrono::steady_clock::now() > until) FAIL("no second life");
      pollfd waiter{box.poll_fd().get(), POLLIN, 0};
      (void)::poll(&waiter, 1, 100);
      (void)box.step();
    }
  }
  CHECK(wait(box).success());
}

TEST_CASE("serve answers until the container has ended", "[notify][.root][.userns]") {
  const TempRoot root;
  Container box = launch(asks(root, {SYS_getppid}, {"getppid", "getppid"}));
  SyscallListener listener = listener_of(box);
  auto exit = serve(box, listener, [](SyscallListener& l, const SyscallRequest& r) {
    return l.refuse(r, ENOSPC);
  });
  if (!exit) FAIL(to_string(exit.error()));
  CHECK(Report(*exit).all("getppid") == Words{"ENOSPC", "ENOSPC"});
}

TEST_CASE("serve ends with the error of an answer, and the container goes on",
          "[notify][.root][.userns]") {
  const TempRoot root;
  Container box = launch(asks(root, {SYS_getppid}, {"getppid", "getppid"}));
  {
    SyscallListener listener = listener_of(box);
    auto exit = serve(box, listener, [](SyscallListener&, const SyscallRequest&) {
      return condroid::Result<void>(condroid::fail(EIO, Step::answer_syscall, "mine"));
    });
    REQUIRE_FALSE(exit);
    CHECK(exit.error().is_errno(EIO));
  }
  CHECK(Report(wait(box)).all("getppid") == Words{"ENOSYS", "ENOSYS"});
}

TEST_CASE("a filter that asks about what starts the command is refused",
          "[notify][.root][.userns]") {
  const TempRoot root;
  Spec spec = asks(root, {SYS_execve}, {"getppid"});
  CHECK_THAT(attempt(spec), FailsWith(condroid::Errc::bad_spec, Step::compile, "'execve'"));
#if CONDROID_LIBSECCOMP
  spec.security.seccomp = Seccomp{}.notify({"mount"}).notify({"sendmsg", "sendmmsg"});
  CHECK_THAT(attempt(spec),
             FailsWith(condroid::Errc::bad_spec, Step::compile, "list[1]: asks the host"));
  // What is asked and what is denied are one filter to the container.
  spec.security.seccomp = Seccomp{}.notify({"getppid"}).fail(EXDEV, {"sysinfo", "sendmsg"});
  spec.process.argv = {"/bin/payload", "ask", "getppid", "sysinfo"};
  const Report seen = run_asking(
      spec, [](SyscallListener& l, const SyscallRequest& r) { must_be(l.respond(r, 81)); });
  CHECK(seen["getppid"] == "81");
  CHECK(seen["sysinfo"] == "EXDEV");
#endif
}

#if CONDROID_LIBSECCOMP

TEST_CASE("the policy that a run needed is learnt, and no more",
          "[notify][learn][.root][.userns]") {
  const TempRoot root;
  const auto asking_for = [&](const Words& words, const Seccomp& seccomp) {
    Spec spec = payload(root, words);
    spec.security.seccomp = seccomp;
    return spec;
  };
  Container box = launch(
      asking_for({"ask", "getppid", "getppid", "mkdir:/tmp/a"}, condroid::learning_filter()));
  condroid::SyscallLearner learner(listener_of(box));
  auto exit = learner.serve(box);
  if (!exit) FAIL(to_string(exit.error()));
  CHECK(Report(*exit).all("getppid") == Words{"0", "0"});
  CHECK(Report(*exit)["mkdir"] == "0");
  CHECK(learner.calls().at("getppid") == 2);
  CHECK(learner.calls().at("mkdirat") == 1);
  CHECK(learner.calls().contains("write"));
  CHECK(!learner.calls().contains("sysinfo"));

  const auto text = condroid::lxc::print_seccomp(learner.policy());
  if (!text) FAIL(to_string(text.error()));
  const auto read_back = condroid::lxc::parse_seccomp(*text);
  if (!read_back) FAIL(to_string(read_back.error()));
  for (const Seccomp& policy : {learner.policy(), *read_back}) {
    const Report same = condroid::test::run(asking_for({"ask", "getppid", "mkdir:/tmp/a"}, policy));
    CHECK(same["getppid"] == "0");
    CHECK(same["mkdir"] == "EEXIST");
    const Report more = condroid::test::run(asking_for({"ask", "sysinfo", "getppid"}, policy));
    CHECK(more["sysinfo"] == "EPERM");
    CHECK(more["getppid"] == "0");
  }
}

TEST_CASE("what rules would deny can be logged alone", "[notify][learn][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"ask", "getppid", "mkdir:/tmp/b"});
  spec.security.seccomp = Seccomp::all_but({"mkdir", "mkdirat"}).kill({"getppid"});
  spec.security.seccomp = log_only(spec.security.seccomp);
  const Report seen = condroid::test::run(spec);
  CHECK(seen["getppid"] == "0");
  CHECK(seen["mkdir"] == "0");
}

#endif
