// What a command finds open, who it may be, and what it can do to who launched it.
#include <fcntl.h>
#include <grp.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <termios.h>

#include <chrono>
#include <cstddef>
#include <cstring>

#include "attacks/attacks.hpp"
#include "condroid/attach.hpp"

namespace {

using namespace condroid;                 // NOLINT(google-build-using-namespace)
using namespace condroid::literals;       // NOLINT(google-build-using-namespace)
using namespace condroid::test;           // NOLINT(google-build-using-namespace)
using namespace condroid::test::attacks;  // NOLINT(google-build-using-namespace)
using namespace std::chrono_literals;

std::vector<std::string> command(std::vector<std::string> args) {
  args.insert(args.begin(), {"/bin/payload", "attack"});
  return args;
}
Spec attack(const TempRoot& root, std::vector<std::string> args) {
  args.insert(args.begin(), "attack");
  return payload(root, std::move(args));
}
/// Without the filter, to see what else there is.
void without_filter(Spec& spec) {
  spec.security.seccomp.kind = Seccomp::none;
  spec.security.allow |= Allow::all_syscalls;
}
bool says(const Exit& e, std::string_view text) { return e.out.find(text) != std::string::npos; }

}  // namespace

// ---- descriptors -------------------------------------------------------------------------------

TEST_CASE("a directory that the host has open is not reached", "[attack][.root][.userns]") {
  const Outside outside;
  const TempRoot root;
  const Fd leaked(::open("/", O_RDONLY | O_DIRECTORY));  // no CLOEXEC
  const Fd high(::fcntl(leaked.get(), F_DUPFD, 500));  // where nothing of the child's comes to lie
  REQUIRE(high.valid());
  const Report seen = run(attack(root, {"reach", fmt::format("{}", high.get()), outside / "file"}));
  CHECK(seen["reach"] == "EBADF");
  if (!naive_may_run()) return;
  CHECK(says(run_naive({.root = root.str(),
                        .argv = command({"reach", "30", outside / "file"}),
                        .leaks_directory = true}),
             "reach=secret"));
}

TEST_CASE("a working directory is never outside of the root", "[attack][.root][.userns]") {
  const Outside outside;
  const TempRoot root;
  const Fd leaked(::open("/", O_RDONLY | O_DIRECTORY));
  // CVE-2024-21626: whatever the launch has open at that time.
  for (int fd = 0; fd < 40; ++fd)
    for (const char* self : {"self", "thread-self", "1"}) {
      CAPTURE(fd, self);
      Spec spec = attack(root, {"reach", "-100", outside / "file"});
      spec.process.cwd = GuestPath(fmt::format("/proc/{}/fd/{}", self, fd));
      auto box = runtime().launch(spec);
      if (box) CHECK_FALSE(says(wait(*box), "secret"));
    }
  if (!naive_may_run()) return;
  CHECK(says(run_naive({.root = root.str(),
                        .argv = command({"reach", "-100", outside / "file"}),
                        .cwd = "/proc/self/fd/30",
                        .leaks_directory = true}),
             "reach=secret"));
}

TEST_CASE("the program that launches cannot be overwritten from inside",
          "[attack][.root][.userns]") {
  const TempRoot root;
  // CVE-2019-5736. With an init of ours process 1 is that program.
  Spec spec = payload(root, {"attack", "open-write", "/proc/1/exe"});
  spec.process.init = true;
  CHECK(run(spec)["/proc/1/exe"] == "EACCES");
  if (privileged()) {
    // Who may look at it finds a sealed file.
    spec.security.capabilities.add(Capability::sys_ptrace);
    spec.security.allow = Flags<Allow>(Allow::capabilities);
    const std::string came = run(spec)["/proc/1/exe"];
    CHECK((came == "EPERM" || came == "ETXTBSY" || came == "EACCES"));
  }
  // As the command itself: what is executed is the zygote's own program, or nothing.
  for (const bool script : {false, true}) {
    Spec self = payload(root, {});
    if (script) make_file(root / "bin/script", "#!/proc/self/exe\n", 0755);
    self.process.argv = {script ? "/bin/script" : "/proc/self/exe", "own-program", "/bin/payload"};
    auto box = runtime().launch(self);
    if (box) CHECK_FALSE(says(wait(*box), "overwrite=ok"));
  }
  if (!naive_may_run()) return;
  // The naive launcher's program, here one that knows what to do when it is started by its victim.
  const TempDir host;
  make_file(host / "launcher", read_file(CONDROID_PAYLOAD), 0755);
  const std::string before = read_file(host / "launcher");
  const Exit e = run_naive({.root = root.str(),
                            .argv = {"/proc/self/exe", "attack", "own-program", "/bin/payload"},
                            .program = host / "launcher"});
  CAPTURE(e.out);
  CHECK(read_file(host / "launcher") != before);
}

TEST_CASE("a socket of the host by an abstract name is not there", "[attack][.root][.userns]") {
  const TempRoot root;
  const std::string name = fmt::format("condroid-attack-{}", ::getpid());
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  std::memcpy(where.sun_path + 1, name.data(), name.size());
  const Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(listener.get(), reinterpret_cast<sockaddr*>(&where),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())) == 0);
  REQUIRE(::listen(listener.get(), 5) == 0);
  CHECK(run(attack(root, {"connect", name}))["connect"] == "ECONNREFUSED");
  // Of condroid's own there is none for who shares the network.
  const std::string sockets = read_file("/proc/net/unix");
  for (std::size_t at = 0; (at = sockets.find('@', at)) != std::string::npos; ++at)
    if (sockets.compare(at + 1, 8, "condroid") == 0)
      CHECK(sockets.compare(at + 1, name.size(), name) == 0);
  if (!naive_may_run()) return;
  CHECK(says(
      run_naive({.root = root.str(), .argv = command({"connect", name}), .host_network = true}),
      "connect=ok"));
}

// ---- who enters --------------------------------------------------------------------------------

TEST_CASE("who enters is not laid hands on", "[attack][.root]") {
  // While nothing is stopped but by the attack. At each step: "nothing gets hold of who enters".
  const TempRoot root;
  Spec spec = attack(root, {"ambush", "etc/hostname"});
  spec.process.stdio = Stdio{Stdio::null, Stdio::pipe, Stdio::inherit};
  Container box = launch(spec);
  const Fd out = box.take_stdout();
  (void)read_until(out, "ready=yes\n");
  std::string seen;
  for (int i = 0; i < 200 && seen.empty(); ++i) {
    Attach what;
    what.process.argv = {"/bin/payload", "exit"};
    what.process.stdio = Stdio::null;
    auto task = box.attach(what);
    pollfd waiter{out.get(), POLLIN, 0};
    if (::poll(&waiter, 1, 0) == 1) seen = read_all(out);
  }
  CAPTURE(seen);
  // It may be traced, and its memory opened, once it is the container's own program.
  CHECK(seen.find("descriptor=none\n") != std::string::npos);
  const Exit e = run_naive({.root = root.str(),
                            .argv = command({"ambush", "etc/hostname"}),
                            .attaches = true,
                            .all_capabilities = true});
  CAPTURE(e.out);
  CHECK(says(e, "mem=ok\ntrace=ok\ndescriptor=ok"));
}

TEST_CASE("a command has nobody to lie to", "[attack][.root][.userns]") {
  const TempRoot root;
  Spec spec = attack(root, {"lie"});
  spec.process.init = GENERATE(false, true);
  const Exit ours = launch_and_wait(spec);
  CHECK(says(ours, "told=0\n"));
  CHECK(ours.code == 7);
  if (!naive_may_run()) return;
  const Exit e = run_naive({.root = root.str(), .argv = command({"lie"}), .leaks_report = true});
  CHECK_FALSE(says(e, "told=0\n"));
  CHECK(e.code == 0);
}

TEST_CASE("an init that says everything at once ends, and nothing of it is left",
          "[attack][.root]") {
  // With what opens the small init to its command; what that says of its end may be a lie then.
  const TempRoot root;
  (void)run(payload(root, {"exit", "0"}));
  const Surroundings before = Surroundings::quiet();
  {
    Spec spec = attack(root, {"flood"});
    spec.process.init = true;
    spec.process.stdio = Stdio{Stdio::null, Stdio::pipe, Stdio::inherit};
    spec.security.capabilities.add(Capability::sys_ptrace);
    spec.security.allow = Flags<Allow>(Allow::capabilities);
    auto box = runtime().launch(spec);
    // One that speaks before the host has heard of its execution is a launch that failed.
    for (int i = 0; i < 50 && !box; ++i) {
      CHECK_THAT(failure_of(box), FailsWith(Errc::protocol, Step::sync));
      box = runtime().launch(spec);
    }
    REQUIRE(box);
    const Fd out = box->take_stdout();
    CHECK(read_until(out, "\n") != "taken=0\n");
    const auto began = std::chrono::steady_clock::now();
    CHECK(box->stop(0ms).has_value());
    CHECK(std::chrono::steady_clock::now() - began < 10s);
  }
  CHECK(Surroundings::settled(before) == before);
}

// ---- rights ------------------------------------------------------------------------------------

TEST_CASE("groups of the host are left behind", "[attack][.root]") {
  const TempRoot root;
  make_file(root / "data/secret", "secret\n", 0640);
  REQUIRE(::chown((root / "data/secret").c_str(), 0, 4242) == 0);
  Spec spec = payload(root, {"read", "/data/secret"});
  spec.process.uid = {1000};
  spec.process.gid = {1000};
  CHECK(in_child([&] {
          const gid_t group = 4242;
          must(::setgroups(1, &group) == 0, "setgroups");
          must(launch_and_wait(spec).out == "/data/secret=(EACCES)\n", "condroid");
          const Exit e = run_naive({.root = root.str(),
                                    .argv = {"/bin/payload", "read", "/data/secret"},
                                    .uid = 1000,
                                    .keeps_groups = true});
          must(says(e, "/data/secret=secret\n"), "naive: " + e.out);
        }) == "");
}

TEST_CASE("a user cannot get rid of a group that keeps him out", "[attack][.root]") {
  // CVE-2014-8989: a file that all but one group may read.
  const TempRoot root;
  make_file(root / "data/secret", "secret\n", 0604);
  REQUIRE(::chown((root / "data/secret").c_str(), 0, 4242) == 0);
  CHECK(in_child([&] {
          const gid_t group = 4242;
          must(::setgroups(1, &group) == 0 && ::setresgid(65534, 65534, 65534) == 0 &&
                   ::setresuid(65534, 65534, 65534) == 0,
               "becoming nobody");
          must(launch_and_wait(payload(root, {"read", "/data/secret"})).out ==
                   "/data/secret=(EACCES)\n",
               "condroid");
        }) == "");
  // The same user with a map that root wrote for him, and that lets him call setgroups(2).
  int ready[2], mapped[2];
  REQUIRE((::pipe2(ready, O_CLOEXEC) == 0 && ::pipe2(mapped, O_CLOEXEC) == 0));
  Forked user([&] {
    const gid_t group = 4242;
    char c = 0;
    if (::setgroups(1, &group) < 0 || ::setresgid(65534, 65534, 65534) < 0 ||
        ::setresuid(65534, 65534, 65534) < 0 || ::unshare(CLONE_NEWUSER) < 0)
      return 90;
    if (::write(ready[1], "x", 1) != 1 || ::read(mapped[0], &c, 1) != 1) return 91;
    if (::open((root / "data/secret").c_str(), O_RDONLY | O_CLOEXEC) >= 0) return 92;
    if (::setgroups(0, nullptr) < 0) return 93;
    return ::open((root / "data/secret").c_str(), O_RDONLY | O_CLOEXEC) >= 0 ? 0 : 94;
  });
  char c = 0;
  REQUIRE(::read(ready[0], &c, 1) == 1);
  write_text(fmt::format("/proc/{}/uid_map", user.pid()).c_str(), "0 65534 1");
  write_text(fmt::format("/proc/{}/gid_map", user.pid()).c_str(), "0 65534 1");
  REQUIRE(::write(mapped[1], "x", 1) == 1);
  CHECK(user.wait() == 0);
  for (const int fd : {ready[0], ready[1], mapped[0], mapped[1]}) ::close(fd);
}

TEST_CASE("capabilities are not regained from files of the image", "[attack][.root]") {
  // CVE-2022-29162: a file that hands on what is inheritable.
  const TempRoot root;
  struct {
    std::uint32_t magic = 0x02000000 | 1, permitted = 0, inheritable = 1U << 13U, more[2] = {};
  } net_raw;
  REQUIRE(::setxattr((root / "bin/payload").c_str(), "security.capability", &net_raw, 20, 0) == 0);
  Spec spec = payload(root, {"probe"});
  spec.process.uid = {1000};
  spec.security.no_new_privs = false;
  spec.security.allow |= Allow::new_privileges;
  CHECK(in_child([&] {
          enter_own_mounts();
          mount_plainly(root);
          const Report seen = run(spec);
          for (const char* set : {"CapEff", "CapInh"})
            must(std::stoull(seen[set], nullptr, 16) == 0, set);
          const Exit e = run_naive({.root = root.str(),
                                    .argv = {"/bin/payload", "probe"},
                                    .uid = 1000,
                                    .inheritable = true,
                                    .gains = true});
          must(says(e, "CapEff=0000000000002000"), "naive: " + e.out);
        }) == "");
}

TEST_CASE("who runs is not the image's to say", "[attack][.root][.userns]") {
  const TempRoot root;
  make_file(root / "etc/passwd",
            "games:x:0:0:%s%n\n\n:::::\n" + std::string(1U << 20U, 'x') + "\n");
  for (const char* text : {"process.uid = 1x", "process.uid = games", "process.uid = -1",
                           "process.uid =", "process.uid = 1:1", "process.uid = 4294967295",
                           "process.uid = 4294967296"}) {
    CAPTURE(text);
    const auto spec = parse_spec(text);
    const bool refused = !spec || !compile(*spec, facts());
    CHECK(refused);
  }
  if (!naive_may_run()) return;
  Spec spec = payload(root, {"probe"});
  spec.process.uid = {5};
  CHECK(run(spec)["Uid"] == "5 5 5 5");
  CHECK(says(run_naive({.root = root.str(),
                        .argv = {"/bin/payload", "probe"},
                        .user = "games",
                        .user_from_root = true}),
             "Uid=0 0 0 0"));
}

TEST_CASE("names in an image are only names", "[attack][.root][.userns]") {
  const TempRoot root;
  const std::string lines = "/mnt/two\nlines %s%n \\040 \"x\"";
  const std::string longest = "/mnt/" + std::string(255, 'n');
  for (const std::string& name : {lines, longest}) {
    CAPTURE(name);
    Spec spec = payload(root, {"list", name});
    spec.mounts.push_back(Bind{.source = root.host("data"), .target = GuestPath(name)});
    const auto box = runtime().launch(spec);
    // Done, or refused in one line.
    if (!box) CHECK(to_string(box.error()).find('\n') == std::string::npos);
  }
  Spec spec = payload(root, {"list", longest});
  spec.mounts.push_back(Bind{.source = root.host("data"), .target = GuestPath(longest)});
  CHECK(says(launch_and_wait(spec), "entry=file\n"));
  spec.mounts = {Bind{.source = root.host("data"), .target = GuestPath(longest + "n")}};
  CHECK(attempt(spec).error.has_value());
}

// ---- terminals, keys, devices
// --------------------------------------------------------------------

TEST_CASE("nothing is typed at the host's terminal", "[attack][.root]") {
  const TempRoot root;
  const bool naive = GENERATE(false, true);
  CAPTURE(naive);
  int master = -1, slave = -1;
  REQUIRE(::openpty(&master, &slave, nullptr, nullptr, nullptr) == 0);
  const Fd ours(master), theirs(slave);
  CHECK(in_child([&] {
          ::setsid();
          must(::ioctl(slave, TIOCSCTTY, 0) == 0 && ::dup2(slave, 0) == 0, "a terminal");
          Exit e;
          if (naive) {
            e = run_naive({.root = root.str(),
                           .argv = command({"type"}),
                           .all_capabilities = typing_is_roots(),
                           .keeps_terminal = true});
          } else {
            Spec spec = attack(root, {"type"});
            spec.process.stdio.in = Stdio::inherit;
            without_filter(spec);
            e = launch_and_wait(spec);
          }
          must(says(e, naive ? "type=ok" : typing_is_roots() ? "type=EIO" : "type=EPERM"), e.out);
        }) == "");
  int waiting = 0;
  REQUIRE(::ioctl(slave, FIONREAD, &waiting) == 0);
  CHECK(waiting == (naive ? 6 : 0));
}

TEST_CASE("a terminal is the one that was made, whatever has its name", "[attack][.root]") {
  const TempRoot root;
  make_dir(root / "dev/pts");
  for (const char* n : {"0", "1", "2", "ptmx"})
    make_file(root / (std::string("dev/pts/") + n), "planted\n", 0666);
  Spec spec = payload(root, {"say", "10"});
  spec.process.stdio = Stdio::pty;
  Container box = launch(spec);
  const Exit e = wait(box);
  CHECK(e.success());
  CHECK(box.console_output().find("0123456789") != std::string::npos);
  CHECK(read_file(root / "dev/pts/0") == "planted\n");
  (void)run_naive(
      {.root = root.str(), .argv = {"/bin/payload", "say", "10"}, .terminal_by_name = true});
  CHECK(read_file(root / "dev/pts/0") != "planted\n");
}

TEST_CASE("keys of the host are not found", "[attack][.root]") {
  const TempRoot root;
  CHECK(in_child([&] {
          must(::syscall(SYS_keyctl, 1, nullptr) > 0, "a session keyring");
          must(::syscall(SYS_add_key, "user", "the-hosts", "secret", 6, -3) > 0, "a key");
          Spec spec = attack(root, {"key", "the-hosts"});
          must(says(launch_and_wait(spec), "key=ENOSYS\n"), "with the filter");
          without_filter(spec);
          must(says(launch_and_wait(spec), "key=ENOKEY\n"), "without");
          const Exit e = run_naive(
              {.root = root.str(), .argv = command({"key", "the-hosts"}), .keeps_keys = true});
          must(says(e, "key=ok\n"), "naive: " + e.out);
        }) == "");
}

TEST_CASE("no file is opened by its handle", "[attack][.root]") {
  const Outside outside;
  const TempRoot root;
  alignas(8) char room[sizeof(file_handle) + MAX_HANDLE_SZ] = {};
  auto* handle = reinterpret_cast<file_handle*>(room);
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount_id = 0;
  REQUIRE(::name_to_handle_at(AT_FDCWD, (outside / "file").c_str(), handle, &mount_id, 0) == 0);
  std::string hex;
  for (unsigned i = 0; i < handle->handle_bytes; ++i)
    hex += fmt::format("{:02x}", handle->f_handle[i]);
  const std::string kind = std::to_string(handle->handle_type);
  Spec spec = attack(root, {"handle", kind, hex});
  CHECK(run(spec)["handle"] == "EPERM");
  without_filter(spec);
  CHECK(run(spec)["handle"] == "EPERM");
  CHECK(says(
      run_naive(
          {.root = root.str(), .argv = command({"handle", kind, hex}), .all_capabilities = true}),
      "handle=secret"));
}

TEST_CASE("the host's disk and nested user namespaces are out of reach", "[attack][.root]") {
  const TempRoot root;
  // The first disk that can be opened at all; the kernel's log on a machine without one.
  std::vector<std::string> numbers = {"c", "1", "11"};
  for (const std::string& disk : entries_of("/sys/block")) {
    const std::string dev = read_file("/sys/block/" + disk + "/dev");
    const auto major = static_cast<unsigned>(std::atoi(dev.c_str()));
    const auto minor = static_cast<unsigned>(std::atoi(dev.substr(dev.find(':') + 1).c_str()));
    const std::string node = root / "tmp/node";
    if (::mknod(node.c_str(), S_IFBLK | 0600, makedev(major, minor)) != 0) continue;
    const Fd fd(::open(node.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    ::unlink(node.c_str());
    if (!fd.valid()) continue;
    numbers = {"b", std::to_string(major), std::to_string(minor)};
    break;
  }
  const std::string key = fmt::format("{}{}:{}", numbers[0], numbers[1], numbers[2]);
  std::vector<std::string> device = {"device"};
  device.insert(device.end(), numbers.begin(), numbers.end());
  Spec spec = payload(root, device);
  CHECK(run(spec)[key] == "EPERM");
  spec.security.capabilities.add(Capability::mknod);
  spec.security.allow |= Allow::capabilities;
  CHECK(run(spec)[key] == "made EPERM");
  const Report seen = run(payload(root, {"calls", "clone_user", "clone3_user", "unshare_user"}));
  CHECK(seen["clone_user"] == "EPERM");
  CHECK(seen["clone3_user"] == "ENOSYS");
  CHECK(seen["unshare_user"] == "EPERM");

  device.insert(device.begin(), "/bin/payload");
  CHECK(in_child([&] {
          enter_own_mounts();
          mount_plainly(root);
          const Exit e = run_naive({.root = root.str(), .argv = device, .all_capabilities = true});
          must(says(e, key + "=made ok"), "naive: " + e.out);
        }) == "");
  CHECK(says(run_naive({.root = root.str(), .argv = {"/bin/payload", "calls", "unshare_user"}}),
             "unshare_user=ok"));
}

TEST_CASE("programs of a bind do not run as their owner", "[attack][.root]") {
  const TempRoot root;
  const TempDir shared;
  make_file(shared / "payload", read_file(CONDROID_PAYLOAD), 04755);
  Spec spec = payload(root, {"probe"});
  spec.process.argv[0] = "/mnt/payload";
  spec.process.uid = {1000};
  spec.security.no_new_privs = false;
  spec.security.allow |= Allow::new_privileges;
  spec.mounts.push_back(Bind{.source = shared.host(), .target = "/mnt"_guest});
  CHECK(in_child([&] {
          enter_own_mounts();
          mount_plainly(shared);
          must(run(spec)["Uid"] == "1000 1000 1000 1000", "condroid");
          const Exit e = run_naive({.root = root.str(),
                                    .argv = {"/mnt/payload", "probe"},
                                    .mounts = {{shared.str(), "/mnt"}},
                                    .uid = 1000,
                                    .binds_writable = true,
                                    .gains = true});
          must(says(e, "Uid=1000 0 0 0"), "naive: " + e.out);
        }) == "");
}
