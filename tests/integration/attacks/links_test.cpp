// Paths of an image that lead out of it, and change while somebody uses them. Each attack is made
// on the naive launcher, too: there it works.
#include <sys/mount.h>
#include <sys/syscall.h>

#include <chrono>
#include <filesystem>

#include "attacks/attacks.hpp"
#include "condroid/sys/mount.hpp"

namespace {

using namespace condroid;                 // NOLINT(google-build-using-namespace)
using namespace condroid::literals;       // NOLINT(google-build-using-namespace)
using namespace condroid::test;           // NOLINT(google-build-using-namespace)
using namespace condroid::test::attacks;  // NOLINT(google-build-using-namespace)
using namespace std::chrono_literals;

/// In place of a file or an empty directory of the root.
void plant(const TempRoot& root, const std::string& name, const std::string& target) {
  const std::string path = root / name;
  REQUIRE((::rmdir(path.c_str()) == 0 || ::unlink(path.c_str()) == 0 || errno == ENOENT));
  REQUIRE(::symlink(target.c_str(), path.c_str()) == 0);
}

/// What a link at a place leads to, by its kind. "none" is missing in `outside`.
std::string link_of(std::string_view kind, const Outside& outside) {
  const std::string up = "../../../../../../../../..";
  if (kind == "absolute") return outside / "dir";
  if (kind == "dots") return up + (outside / "dir");
  if (kind == "dangling") return outside / "none";
  if (kind == "magic") return "/proc/self/root" + (outside / "dir");
  return "itself";  // a loop
}

}  // namespace

TEST_CASE("no kind of link at a target leads a launch out of its root",
          "[attack][.root][.userns]") {
  const std::string kind = GENERATE("absolute", "dots", "dangling", "magic", "loop");
  const std::string where = GENERATE("proc", "sys", "dev", "mnt", "etc/hostname");
  const bool follow = GENERATE(false, true);
  CAPTURE(kind, where, follow);
  const Outside outside;
  const TempRoot root;
  if (kind == "loop") REQUIRE(::symlink("itself", (root / "itself").c_str()) == 0);
  plant(root, where,
        kind == "loop" ? std::string(where.find('/') == std::string::npos ? "itself" : "../itself")
                       : link_of(kind, outside));
  Spec spec = payload(root, {"exit"});
  const MountCommon common{.follow_links = follow};
  if (where == "proc") spec.mounts.push_back(Proc{.common = common});
  if (where == "sys") spec.mounts.push_back(Sysfs{.common = common});
  if (where == "mnt")  // below it: something is to be made
    spec.mounts.push_back(Tmpfs{.target = "/mnt/made"_guest, .common = common});
  if (where == "etc/hostname")
    spec.mounts.push_back(
        Bind{.source = root.host("data/file"), .target = "/etc/hostname"_guest, .common = common});
  // Followed, it leads to a place in the root that is not there.
  CHECK(attempt(spec).error.has_value());
  CHECK(outside.untouched());
}

TEST_CASE("who walks a target by its path is led out of the root", "[attack][.root]") {
  const std::string kind = GENERATE("absolute", "dots", "dangling", "magic");
  CAPTURE(kind);
  const Outside outside;
  const TempRoot root;
  const bool file = kind == "dangling";
  plant(root, file ? "etc/hostname" : "mnt", link_of(kind, outside));
  const Exit e = run_naive(
      {.root = root.str(),
       .argv = {"/bin/payload", "exit"},
       .mounts = {{root / (file ? "data/file" : "data"), file ? "/etc/hostname" : "/mnt/made"}},
       .follows_links = true});
  CAPTURE(e.out);
  CHECK_FALSE(outside.untouched());
}

TEST_CASE("targets that are exchanged for links meanwhile lead nowhere", "[attack][.root]") {
  const Outside outside;
  const TempRoot root;
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const char* name : {"mnt", "dev", "etc"}) {
    const std::string trap = fmt::format("trap-{}", name);
    plant(root, trap, outside / "dir");
    pairs.emplace_back(root / name, root / trap);
  }
  const auto until = std::chrono::steady_clock::now() + 1s;
  SECTION("condroid") {
    Spec spec = payload(root, {"exit"});
    spec.mounts.push_back(Tmpfs{.target = "/mnt/a/b"_guest});
    spec.mounts.push_back(Bind{.source = root.host("data/file"), .target = "/etc/made"_guest});
    spec.terminal.console = true;
    spec.devices.populate = GENERATE(true, false);
    if (!spec.devices.populate) {
      spec.mounts.push_back(Devpts{.target = "/data"_guest});
      spec.terminal.tty_dir = "lxc";
    }
    const Exchanger exchanger(pairs);
    int good = 0, bad = 0;
    // On a busy machine until there was something to see.
    const auto enough = [&] { return bad > 0 && exchanger.done() > 1000; };
    for (auto now = until - 1s; now < until || (!enough() && now < until + 19s);
         now = std::chrono::steady_clock::now())
      ++(attempt(spec).error ? bad : good);
    CAPTURE(good, bad, exchanger.done());
    CHECK(enough());
    CHECK(outside.untouched());
  }
  SECTION("naive") {
    const Exchanger exchanger(pairs);
    while (outside.untouched() && std::chrono::steady_clock::now() < until + 29s)
      (void)run_naive({.root = root.str(),
                       .argv = {"/bin/payload", "exit"},
                       .mounts = {{root / "data", "/mnt/a/b"}},
                       .looks_first = true});
    CHECK_FALSE(outside.untouched());
  }
}

TEST_CASE("kernel files stay hidden when /proc is exchanged for another directory",
          "[attack][.root]") {
  const TempRoot root;
  make_dir(root / "decoy");
  const std::vector<std::string> look = {"/bin/payload", "attack", "unmasked", "/proc", "/decoy"};
  std::string seen;
  SECTION("at any time") {
    Spec spec = payload(root, {"attack", "unmasked", "/proc", "/decoy"});
    // The usual /proc, and one that is looked up by its path.
    if (GENERATE(false, true)) spec.mounts.push_back(Proc{});
    const Exchanger exchanger({{root / "proc", root / "decoy"}});
    const auto until = std::chrono::steady_clock::now() + 1s;
    int launched = 0;
    const auto enough = [&] { return launched > 0 && exchanger.done() > 1000; };
    for (auto now = until - 1s; seen.empty() && (now < until || (!enough() && now < until + 19s));
         now = std::chrono::steady_clock::now()) {
      auto box = runtime().launch(spec);
      launched += box ? 1 : 0;
      if (box) seen = wait(*box).out;
    }
    CHECK(seen.empty());
    CHECK(enough());
  }
  SECTION("between the mount and what is done in it") {
    Spec spec = payload(root, {"attack", "unmasked", "/proc", "/decoy"});
    if (GENERATE(false, true)) spec.mounts.push_back(Proc{});
    auto box = disturbed(spec, "protect path", [&] {
      REQUIRE(::syscall(SYS_renameat2, AT_FDCWD, (root / "proc").c_str(), AT_FDCWD,
                        (root / "decoy").c_str(), RENAME_EXCHANGE) == 0);
    });
    if (box) CHECK(wait(**box).out.empty());
  }
  SECTION("naive") {
    const Exchanger exchanger({{root / "proc", root / "decoy"}});
    const auto until = std::chrono::steady_clock::now() + 30s;
    while (seen.find("open=") == std::string::npos && std::chrono::steady_clock::now() < until)
      seen = run_naive({.root = root.str(), .argv = look, .masks_by_path = true}).out;
    CHECK(seen.find("open=") != std::string::npos);
  }
}

TEST_CASE("a /dev in the image that is a link gets no node", "[attack][.root]") {
  const Outside outside;
  const TempRoot root;
  plant(root, "dev", outside / "dir");
  Spec spec = payload(root, {"exit"});
  spec.terminal = {.console = true, .ttys = 1};
  const std::string tty_dir = GENERATE("", "lxc");
  spec.terminal.tty_dir = tty_dir;
  CHECK_THAT(attempt(spec), FailsWith(ELOOP, Step::resolve_target, "/dev"));
  spec.devices.populate = false;
  spec.mounts.push_back(Devpts{.target = "/mnt"_guest});
  CHECK(attempt(spec).error.has_value());
  CHECK(outside.untouched());
  (void)run_naive({.root = root.str(),
                   .argv = {"/bin/payload", "exit"},
                   .follows_links = true,
                   .fills_dev = true});
  CHECK_FALSE(outside.untouched());
}

TEST_CASE("consoles that are links in the image are not followed", "[attack][.root]") {
  const Outside outside;
  const TempRoot root;
  Spec spec = payload(root, {"exit"});
  spec.devices.populate = false;
  spec.mounts.push_back(Devpts{.target = "/mnt"_guest});
  SECTION("console") {
    plant(root, "dev/console", outside / "none");
    spec.terminal.console = true;
    CHECK_THAT(attempt(spec), FailsWith(ELOOP, Step::open_console));
  }
  SECTION("tty1") {
    plant(root, "dev/tty1", outside / "none");
    spec.terminal.ttys = 1;
    CHECK_THAT(attempt(spec), FailsWith(ELOOP, Step::open_console));
  }
  SECTION("a link of ours lies beside what it leads to") {
    spec.terminal = {.ttys = 1, .tty_dir = "lxc"};
    CHECK(launch_and_wait(spec).success());
    char to[64] = {};
    CHECK(::readlink((root / "dev/tty1").c_str(), to, sizeof to - 1) > 0);
    CHECK(std::string_view(to) == "lxc/tty1");
  }
  CHECK(outside.untouched());
}

TEST_CASE("who opens a console by its path makes files of the host", "[attack][.root]") {
  const Outside outside;
  const TempRoot root;
  plant(root, "dev/console", outside / "none");
  (void)run_naive({.root = root.str(),
                   .argv = {"/bin/payload", "exit"},
                   .console = "/dev/console",
                   .follows_links = true});
  CHECK_FALSE(outside.untouched());
}

TEST_CASE("what is taken out of a container is not what a link leads to", "[attack][.root]") {
  const TempDir outside;
  make_file(outside / "tun", "secret\n");
  const TempRoot root, more;
  make_file(more / "flag", "");
  const Container box = launch(payload(root, {"pause"}));
  const std::string inside = fmt::format("/proc/{}/root", box.pid().value);
  const auto mount = need(DetachedMount::clone_tree(more.host()));
  need(box.add_mount({.mount = {mount.fd().get()}, .target = GuestPath("/mnt")}));
  need(box.add_device({.name = "net/tun", .major = 10, .minor = 200}, Allow::devices));
  // By then the container has put something else there.
  plant(root, "trap", "mnt");
  REQUIRE(::rename((inside + "/dev/net").c_str(), (inside + "/dev/was").c_str()) == 0);
  REQUIRE(::symlink(outside.str().c_str(), (inside + "/dev/net").c_str()) == 0);
  // The link itself is looked at, on which nothing is mounted.
  CHECK_THAT(failure_of(box.remove_mount(GuestPath("/trap"))),
             FailsWith(EINVAL, Step::remove_entry, "/trap"));
  CHECK(std::filesystem::exists(inside + "/mnt/flag"));
  CHECK_THAT(failure_of(box.remove_device("net/tun")), FailsWith(ELOOP, Step::remove_entry));
  CHECK(std::filesystem::exists(outside / "tun"));
  // Who removes by path.
  CHECK(::unlink((inside + "/dev/net/tun").c_str()) == 0);
  CHECK_FALSE(std::filesystem::exists(outside / "tun"));
}

TEST_CASE("what covers kernel files is not the image's", "[attack][.root]") {
  const TempRoot root;
  make_file(root / "data/fake", "the container's\n");
  plant(root, "dev/null", "../data/fake");
  Spec spec = payload(root, {"read", "/proc/keys"});
  spec.devices.populate = false;
  CHECK(run(spec)["/proc/keys"].empty());
  const Exit e = run_naive({.root = root.str(),
                            .argv = {"/bin/payload", "read", "/proc/keys"},
                            .follows_links = true,
                            .masks_with_its = true});
  CHECK_THAT(e.out, Catch::Contains("/proc/keys=the container's"));
}

TEST_CASE("a source that is exchanged after it was checked is not what is mounted",
          "[attack][.root]") {
  // What a program was asked to share: a directory in a user's part of the host.
  const Outside outside;
  const TempRoot root;
  const TempDir users;
  make_dir(users / "share");
  make_file(users / "share/file", "the user's\n");
  REQUIRE(::symlink((outside / "dir").c_str(), (users / "link").c_str()) == 0);
  const Fd checked(::open((users / "share").c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  REQUIRE(checked.valid());
  struct stat st {};
  REQUIRE((::lstat((users / "share").c_str(), &st) == 0 && S_ISDIR(st.st_mode)));
  REQUIRE(::syscall(SYS_renameat2, AT_FDCWD, (users / "share").c_str(), AT_FDCWD,
                    (users / "link").c_str(), RENAME_EXCHANGE) == 0);
  Spec spec = payload(root, {"read", "/mnt/file"});
  spec.mounts.push_back(Bind{.source_fd = {checked.get()}, .target = "/mnt"_guest});
  CHECK(run(spec)["/mnt/file"] == "the user's");
  const Exit e = run_naive({.root = root.str(),
                            .argv = {"/bin/payload", "read", "/mnt/file"},
                            .mounts = {{users / "share", "/mnt"}}});
  CHECK(e.out == "/mnt/file=secret\n");
}

TEST_CASE("what is bound is the host's to write", "[attack][.root]") {
  const Outside outside;
  const TempRoot root;
  Spec spec = payload(root, {"write", "/mnt/file", "owned"});
  spec.mounts.push_back(Bind{.source = outside.host("dir"), .target = "/mnt"_guest});
  CHECK(run(spec)["open"] == "EROFS");
  CHECK(outside.untouched());
  (void)run_naive({.root = root.str(),
                   .argv = {"/bin/payload", "write", "/mnt/file", "owned"},
                   .mounts = {{outside / "dir", "/mnt"}},
                   .binds_writable = true});
  CHECK_FALSE(outside.untouched());
}

TEST_CASE("what it keeps for itself is not kept where others make links", "[attack][.root]") {
  // CVE-2015-1331: a lock file in a place like /tmp.
  const Outside outside;
  const TempDir shared;
  REQUIRE(::chmod(shared.str().c_str(), 01777) == 0);
  REQUIRE(::symlink((outside / "file").c_str(), (shared / "lock").c_str()) == 0);
  CHECK_FALSE(Runtime::open({.state_dir = shared.host()}).has_value());
  REQUIRE(::symlink((outside / "dir").c_str(), (shared / "link").c_str()) == 0);
  CHECK_FALSE(Runtime::open({.state_dir = shared.host("link")}).has_value());
  CHECK(outside.untouched());
  const TempRoot root;
  (void)run_naive({.root = root.str(), .argv = {"/bin/payload", "exit"}, .lock = shared / "lock"});
  CHECK_FALSE(outside.untouched());
}
