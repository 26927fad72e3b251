// Who does not end when he should, keeps others from ending, or is taken for something else by his
// name.
#include <fcntl.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <chrono>
#include <filesystem>

#include "attacks/attacks.hpp"
#include "condroid/spec.hpp"
#include "forked.hpp"

namespace {

using namespace condroid;                 // NOLINT(google-build-using-namespace)
using namespace condroid::literals;       // NOLINT(google-build-using-namespace)
using namespace condroid::test;           // NOLINT(google-build-using-namespace)
using namespace condroid::test::attacks;  // NOLINT(google-build-using-namespace)
using namespace std::chrono_literals;

bool says(const std::string& text, std::string_view words) {
  return text.find(words) != std::string::npos;
}

}  // namespace

// ---- ends --------------------------------------------------------------------------------------

TEST_CASE("who clears his death signal dies with the host", "[attack][.root][.userns]") {
  const TempRoot root;
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const Fd out(ends[0]);
  Forked host([&] {
    ::dup2(ends[1], 1);
    Spec spec = payload(root, {"attack", "outlive"});
    spec.process.stdio = Stdio{Stdio::pipe, Stdio::inherit, Stdio::null};
    const Container box = launch(spec);
    for (;;) ::pause();
  });
  ::close(ends[1]);
  (void)read_until(out, "ready\n");
  REQUIRE(::kill(host.pid(), SIGKILL) == 0);
  CHECK_FALSE(says(read_all(out), "outlived"));
  if (!naive_may_run()) return;
  const Exit e = run_naive({.root = root.str(),
                            .argv = {"/bin/payload", "attack", "outlive"},
                            .when_ready = Naive::host_killed});
  CAPTURE(e.out);
  CHECK(says(e.out, "alive"));
}

TEST_CASE("who is nobody's child any more dies with his container", "[attack][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"attack", "escape"});
  spec.process.stdio = Stdio{Stdio::null, Stdio::pipe, Stdio::inherit};
  Container box = launch(spec);
  const Fd out = box.take_stdout();
  (void)read_until(out, "ready\n");
  REQUIRE(box.kill());
  (void)wait(box);
  CHECK_FALSE(says(read_all(out), "outlived"));
  if (!naive_may_run()) return;
  const Exit e = run_naive({.root = root.str(),
                            .argv = {"/bin/payload", "attack", "escape"},
                            .when_ready = Naive::command_killed,
                            .host_pids = true});
  CAPTURE(e.out);
  CHECK(says(e.out, "alive"));
}

TEST_CASE("nobody waits to say something to a command that leaves no room",
          "[attack][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"attack", "clog"});
  for (const bool init : {false, true}) {
    spec.process.init = init;
    CHECK(run(spec)["clogged"] == "0");
  }
  if (!naive_may_run()) return;
  const Exit e = run_naive({.root = root.str(),
                            .argv = {"/bin/payload", "attack", "clog"},
                            .patience_ms = 500,
                            .leaks_report = true});
  CHECK(says(e.out, "clogged=1"));
  CHECK(e.code == 124);  // it has not ended
}

// ---- who is launched into a container ----------------------------------------------------------

TEST_CASE("who is launched among a container's processes is not laid hands on", "[attack][.root]") {
  const TempRoot root;
  Spec first = payload(root, {"attack", "ambush", "etc/hostname"});
  first.process.stdio = Stdio{Stdio::null, Stdio::pipe, Stdio::inherit};
  Container box = launch(first);
  const Fd out = box.take_stdout();
  (void)read_until(out, "ready=yes\n");
  Spec second = payload(root, {"exit"});
  second.join.push_back({.kind = Namespace::pid, .from = box.pid()});
  second.resources.cgroup = CgroupMode::never;
  std::string seen;
  for (int i = 0; i < 200 && seen.empty(); ++i) {
    // Whom it stops is given up.
    auto other = runtime().launch(second, {.deadline = 3s});
    pollfd waiter{out.get(), POLLIN, 0};
    if (::poll(&waiter, 1, 0) == 1) seen = read_all(out);
  }
  CAPTURE(seen);
  CHECK(says(seen, "descriptor=none\n"));
  // The naive one does the same when it enters: "who enters is not laid hands on".
}

// ---- terminals ---------------------------------------------------------------------------------

TEST_CASE("a request is denied whatever its upper half is", "[attack][.root][.userns]") {
  // CVE-2019-7303. Without the filter a command may type on a terminal that is its own; where that
  // is left to root, one that is the machine's.
  const bool as_root = typing_is_roots() && privileged();
  const TempRoot root;
  for (const bool wide : {false, true}) {
    CAPTURE(wide);
    Spec spec = payload(root, {"attack", "type"});
    if (wide) spec.process.argv.emplace_back("wide");
    spec.process.stdio = Stdio::pty;
    Container box = launch(spec);
    CHECK(wait(box).success());
    CHECK(says(box.console_output(), "type=EPERM"));
    CHECK(says(box.console_output(), "paste=EPERM"));
    spec.security.seccomp.kind = Seccomp::none;
    spec.security.allow |= Allow::all_syscalls;
    if (as_root) {
      spec.security.capabilities.add(Capability::sys_admin);
      spec.security.allow |= Allow::capabilities | Flags<Allow>(Allow::real_root);
    }
    Container open = launch(spec);
    CHECK(wait(open).success());
    CHECK(says(open.console_output(), typing_is_roots() && !as_root ? "type=EIO" : "type=ok"));
    CHECK(says(open.console_output(), "paste=ENOTTY"));  // no virtual console of the machine's
  }
  if (!naive_may_run()) return;
  int master = -1, slave = -1;
  REQUIRE(::openpty(&master, &slave, nullptr, nullptr, nullptr) == 0);
  const Fd ours(master), theirs(slave);
  CHECK(in_child([&] {
          ::setsid();
          must(::ioctl(slave, TIOCSCTTY, 0) == 0 && ::dup2(slave, 0) == 0, "a terminal");
          Naive naive{.root = root.str(),
                      .argv = {"/bin/payload", "attack", "type"},
                      .all_capabilities = as_root,
                      .keeps_terminal = true,
                      .filters_wide = true};
          must(says(run_naive(naive).out, "type=EPERM"), "what it was made for");
          naive.argv.emplace_back("wide");
          must(says(run_naive(naive).out, "type=ok"), "naive");
        }) == "");
}

TEST_CASE("a terminal that nobody in the container reads keeps nobody waiting",
          "[attack][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"stubborn"});
  spec.process.stdio = Stdio::pty;
  Container box = launch(spec);
  for (int i = 0; i < 4000 && !says(box.console_output(), "ready"); ++i)
    REQUIRE_FALSE(need(box.wait_for(5ms)));
  const std::string lines(4000, '\n');
  int error = 0;
  for (int i = 0; i < 10000 && error == 0; ++i)
    if (::write(box.console().get(), lines.data(), lines.size()) < 0) error = errno;
  CHECK(error == EAGAIN);
  CHECK(need(box.stop(0ms)).signal == Signal{SIGKILL});
}

// ---- names -------------------------------------------------------------------------------------

TEST_CASE("what a name has in it is not taken for something else", "[attack][.root][.userns]") {
  // A user's directory, whose name leads a launcher that makes text of it to another.
  const Outside outside;
  const TempRoot root;
  const TempDir users;
  const bool lines = GENERATE(true, false);
  const std::string name = lines ? "a /mnt\n" + outside / "dir" + " /data" : "a:" + outside / "dir";
  CAPTURE(name);
  make_dir(users / "a");
  std::filesystem::create_directories(users / name);
  make_file(users / name + "/file", "the user's\n");
  const std::string looked_at = lines ? "/data/file" : "/mnt/file";
  Spec spec = payload(root, {"read", "/mnt/file", "/data/file"});
  if (lines)
    spec.mounts = {Bind{.source = users.host(name), .target = "/mnt"_guest}};
  else
    spec.mounts = {Overlay{.target = "/mnt"_guest, .lower = {users.host(name), root.host("mnt")}}};
  const auto read_back = parse_spec(print_spec(spec));
  REQUIRE(read_back);
  for (const Spec& s : {spec, *read_back}) {
    const Report seen = run(s);
    CHECK(seen["/mnt/file"] == "the user's");
    CHECK(seen["/data/file"] == "original");
  }
  CHECK(outside.untouched());
  if (!naive_may_run()) return;
  const Exit e = run_naive({.root = root.str(),
                            .argv = {"/bin/payload", "read", looked_at},
                            .mounts = {{users / name, "/mnt"}},
                            .lists_mounts = lines,
                            .layers = !lines});
  CHECK(e.out == looked_at + "=secret\n");
}
