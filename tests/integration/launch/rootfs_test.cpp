// The root file system of a container: what it is made of, and what of it reaches the host.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "containers.hpp"

using condroid::Allow;
using condroid::Bind;
using condroid::Capability;
using condroid::Container;
using condroid::HostPath;
using condroid::IdMap;
using condroid::MountEntry;
using condroid::Plan;
using condroid::Propagation;
using condroid::Runtime;
using condroid::Spec;
using condroid::Step;
using condroid::Tmpfs;
using condroid::test::attempt;
using condroid::test::entries_of;
using condroid::test::facts;
using condroid::test::FailsWith;
using condroid::test::fingerprint;
using condroid::test::in_child;
using condroid::test::launch;
using condroid::test::launch_and_wait;
using condroid::test::make_dir;
using condroid::test::make_file;
using condroid::test::mounts_now;
using condroid::test::mounts_of;
using condroid::test::must;
using condroid::test::payload;
using condroid::test::read_file;
using condroid::test::Report;
using condroid::test::run;
using condroid::test::TempDir;
using condroid::test::TempRoot;
using namespace condroid::literals;

namespace {

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

bool has(const std::vector<std::string>& list, std::string_view what) {
  return std::ranges::find(list, what) != list.end();
}

bool mounted(const std::vector<MountEntry>& list, std::string_view target) {
  return std::ranges::any_of(list, [&](const MountEntry& m) { return m.target == target; });
}

/// The program, in a container that sees the host's "/": where the build directory is does not
/// matter.
Spec host_root(std::vector<std::string> args) {
  Spec spec = payload(std::move(args));
  spec.process.argv.front() = "/run/payload";
  spec.mounts.push_back(Bind{.source = HostPath(CONDROID_PAYLOAD), .target = "/run/payload"_guest});
  return spec;
}

/// Container ids from 100000 on.
IdMap shifted() {
  return {.kind = IdMap::ranges,
          .uids = {{.inside = 0, .outside = 100000, .count = 65536}},
          .gids = {{.inside = 0, .outside = 100000, .count = 65536}}};
}

}  // namespace

// ---- a directory -------------------------------------------------------------------------------

TEST_CASE("a directory is the root, as it is", "[launch][.root][.userns]") {
  const TempRoot root;
  const Report seen = run(payload(root, {"list", "/"}));
  std::vector<std::string> inside = seen.all("entry");
  std::erase_if(inside, [](const std::string& e) { return e == "." || e == ".."; });
  std::ranges::sort(inside);
  CHECK(inside == entries_of(root.str()));

  CHECK(run(payload(root, {"touch", "/data/made"}))["/data/made"] == "ok");
  CHECK(exists(root / "data/made"));
  CHECK(run(payload(root, {"probe"})).mount("/").find(" ro") == std::string::npos);
}

TEST_CASE("a read-only root cannot be written", "[launch][.root][.userns]") {
  const TempRoot root;
  const std::string before = fingerprint(root.str());
  Spec spec = payload(root, {"ravage", "/", "/data", "/etc", "/bin"});
  spec.root.read_only = true;
  const Report seen = run(spec);
  for (const char* dir : {"//", "/data/", "/etc/", "/bin/"}) {
    INFO(dir);
    CHECK(seen[std::string("create ") + dir + "new-file"] == "EROFS");
    CHECK(seen[std::string("mkdir ") + dir + "new-directory"] == "EROFS");
  }
  CHECK(seen["chmod /data"] == "EROFS");
  CHECK(seen["unlink /data/file"] == "EROFS");
  CHECK(fingerprint(root.str()) == before);

  // What is mounted in it is not its business.
  spec.process.argv = {"/bin/payload", "touch", "/mnt/x", "/dev/shm/x"};
  spec.mounts.push_back(Tmpfs{.target = "/mnt"_guest});
  CHECK(run(spec)["/mnt/x"] == "ok");
  CHECK(run(spec)["/dev/shm/x"] == "ok");
}

TEST_CASE("of an ephemeral root nothing is left", "[launch][.root][.userns]") {
  const TempRoot root;
  const std::string before = fingerprint(root.str());
  Spec spec = payload(root, {"ravage", "/", "/data", "/bin"});
  spec.root.ephemeral = true;
  const Report seen = run(spec);
  for (const char* dir : {"//", "/data/", "/bin/"}) {
    INFO(dir);
    CHECK(seen[std::string("create ") + dir + "new-file"] == "ok");
    CHECK(seen[std::string("mkdir ") + dir + "new-directory"] == "ok");
  }
  CHECK(seen["chmod /data"] == "ok");
  CHECK(seen["unlink /data/file"] == "ok");
  CHECK(fingerprint(root.str()) == before);
  // Nor does the next container see anything of it.
  spec.process.argv = {"/bin/payload", "owner", "/data/file", "/data/new-file"};
  const Report next = run(spec);
  CHECK(next["/data/new-file"] == "ENOENT");
  CHECK(next["/data/file"] != "ENOENT");
}

TEST_CASE("targets that are missing are made in the upper layer only", "[launch][.root][.userns]") {
  const TempRoot root;
  for (const char* dir : {"proc", "sys", "dev"}) REQUIRE(::rmdir((root / dir).c_str()) == 0);
  const std::string before = fingerprint(root.str());
  Spec spec = payload(root, {"probe"});
  spec.root.ephemeral = true;
  spec.mounts.push_back(Tmpfs{.target = "/a/b/c"_guest});
  const Report seen = run(spec);
  CHECK(seen.mount("/proc").starts_with("proc "));
  CHECK(seen.mount("/a/b/c").starts_with("tmpfs "));
  CHECK(fingerprint(root.str()) == before);
}

TEST_CASE("the upper layer in memory has a size", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"fill", "/data/big", "3000000"});
  spec.root.ephemeral = true;
  CHECK(run(spec)["fill"] == "ok");
  spec.root.size = 1_MiB;
  CHECK(run(spec)["fill"] == "ENOSPC");
}

TEST_CASE("an ephemeral root that is read-only", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"touch", "/data/x", "/tmp/x"});
  spec.root.ephemeral = spec.root.read_only = true;
  const Report seen = run(spec);
  CHECK(seen["/data/x"] == "EROFS");
  CHECK(seen["/tmp/x"] == "EROFS");
}

TEST_CASE("changes go to an upper directory of the host", "[launch][.root][.userns]") {
  const TempRoot root;
  const TempDir layers;
  make_dir(layers / "upper");
  make_dir(layers / "work");
  const std::string before = fingerprint(root.str());
  Spec spec = payload(root, {"touch", "/data/made", "/data/file"});
  spec.root.ephemeral = true;
  spec.root.upper = layers.host("upper");
  spec.root.work = layers.host("work");
  CHECK(run(spec)["/data/made"] == "ok");
  CHECK(fingerprint(root.str()) == before);
  CHECK(read_file(layers / "upper/data/made") == "x");
  CHECK(read_file(layers / "upper/data/file").starts_with("xriginal"));
  // It can be used again.
  spec.process.argv = {"/bin/payload", "read", "/data/made", "/data/file"};
  const Report seen = run(spec);
  CHECK(seen["/data/made"] == "x");
  CHECK(seen["/data/file"] == "xriginal");
}

// ---- the host's own "/" ------------------------------------------------------------------------

TEST_CASE("without a root directory there is the host's, to be read", "[launch][.root][.userns]") {
  const Report list = run(host_root({"list", "/", "/run", "/tmp"}));
  for (const auto& e : facts().root_entries) {
    INFO(e.name);
    CHECK(has(list.all("entry"), e.name));
  }
  const Report seen =
      run(host_root({"touch", "/x", "/usr/x", "/etc/passwd", "/var/tmp/x", "/run/x", "/tmp/x"}));
  for (const char* path : {"/x", "/usr/x", "/etc/passwd", "/var/tmp/x"}) {
    INFO(path);
    // Not to be written by this user at all: the kernel looks at that first.
    CHECK(seen[path] == (::access(path, W_OK) < 0 && errno == EACCES ? "EACCES" : "EROFS"));
  }
  // Its own ones: no sockets of the host, and nobody sees what it leaves there.
  CHECK(seen["/run/x"] == "ok");
  CHECK(seen["/tmp/x"] == "ok");
  CHECK_FALSE(exists("/run/x"));
  CHECK_FALSE(exists("/tmp/x"));
  const Report own = run(host_root({"list", "/run", "/tmp"}));
  CHECK(own.all("entry") == std::vector<std::string>{".", "..", "payload", ".", ".."});
}

TEST_CASE("the host's / with layers that are thrown away", "[launch][.root][.userns]") {
  const bool mapped = GENERATE(false, true);
  if (mapped && !facts().has_cap(21)) return;  // a user's containers have an id map anyway
  CAPTURE(mapped);
  Spec spec = host_root({"touch", "/usr/condroid-test-x", "/etc/condroid-test-x"});
  spec.root.ephemeral = true;
  if (mapped) spec.namespaces |= condroid::Namespace::user;
  const std::string before = fingerprint("/etc");
  const Report seen = run(spec);
  CHECK(seen["/usr/condroid-test-x"] == "ok");
  CHECK_FALSE(exists("/usr/condroid-test-x"));
  CHECK_FALSE(exists("/etc/condroid-test-x"));
  CHECK(fingerprint("/etc") == before);

  auto plan = condroid::compile(spec, facts());
  REQUIRE(plan);
  const auto note = [&](std::string_view path) {
    for (const std::string& n : plan->notes)
      if (n.starts_with(std::string(path) + ":")) return n;
    return std::string();
  };
  CHECK(note("/usr").find("thrown away") != std::string::npos);
  // The plan says which directory got what, and that is so.
  CHECK((note("/etc").find("thrown away") != std::string::npos) ==
        (seen["/etc/condroid-test-x"] == "ok"));
}

TEST_CASE("mounts below the host's / are there, in every kind of it", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const bool ephemeral = GENERATE(false, true), mapped = GENERATE(false, true);
  CAPTURE(ephemeral, mapped);
  CHECK(in_child([&] {
          condroid::test::enter_own_mounts();
          must(::mount("none", "/srv", "tmpfs", 0, nullptr) == 0, "mount");
          must(::chmod("/srv", 0755) == 0, "chmod");
          make_file("/srv/below", "the mount below\n");
          make_dir("/srv/deep");
          must(::mount("none", "/srv/deep", "tmpfs", 0, nullptr) == 0, "mount");
          make_file("/srv/deep/file", "and deeper\n");
          Spec spec = host_root({"read", "/srv/below", "/srv/deep/file"});
          spec.root.ephemeral = ephemeral;
          if (mapped) spec.namespaces |= condroid::Namespace::user;
          const Report seen = run(spec);
          must(seen["/srv/below"] == "the mount below", seen["/srv/below"]);
          must(seen["/srv/deep/file"] == "and deeper", seen["/srv/deep/file"]);
          spec.process.argv = {"/run/payload", "touch", "/srv/new", "/srv/deep/new"};
          const Report write = run(spec);
          must(write["/srv/deep/new"] == "EROFS", "deep: " + write["/srv/deep/new"]);
          must(!exists("/srv/new") && !exists("/srv/deep/new"), "written to the host");
        }) == "");
}

// ---- id-mapped ---------------------------------------------------------------------------------

TEST_CASE("the owners in an id-mapped root are the container's", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  make_file(root / "data/of-1000", "");
  REQUIRE(::chown((root / "data/of-1000").c_str(), 1000, 1001) == 0);
  Spec spec = payload(root, {"owner", "/data/file", "/data/of-1000"});
  spec.idmap = shifted();
  SECTION("without it they are nobody's") {
    const Report seen = run(spec);
    CHECK(seen["/data/file"].starts_with("65534:65534 "));
  }
  spec.root.idmapped = true;
  SECTION("owners are shifted both ways") {
    const Report seen = run(spec);
    CHECK(seen["/data/file"].starts_with("0:0 "));
    CHECK(seen["/data/of-1000"].starts_with("1000:1001 "));
    spec.process.argv = {"/bin/payload", "touch", "/data/made"};
    spec.process.uid = {0};
    CHECK(run(spec)["/data/made"] == "ok");
    struct stat st {};
    REQUIRE(::stat((root / "data/made").c_str(), &st) == 0);
    CHECK(st.st_uid == 0);
    CHECK(st.st_gid == 0);
  }
  SECTION("read-only") {
    spec.root.read_only = true;
    CHECK(run(spec)["/data/of-1000"].starts_with("1000:1001 "));
    spec.process.argv = {"/bin/payload", "touch", "/data/made"};
    CHECK(run(spec)["/data/made"] == "EROFS");
  }
  SECTION("below a layer that is thrown away") {
    const std::string before = fingerprint(root.str());
    spec.root.ephemeral = true;
    CHECK(run(spec)["/data/of-1000"].starts_with("1000:1001 "));
    spec.process.argv = {"/bin/payload", "ravage", "/data"};
    const Report seen = run(spec);
    CHECK(seen["create /data/new-file"] == "ok");
    CHECK(seen["unlink /data/file"] == "ok");
    CHECK(fingerprint(root.str()) == before);
  }
  SECTION("below a layer that is kept") {
    const TempDir layers;
    make_dir(layers / "upper");
    make_dir(layers / "work");
    const std::string before = fingerprint(root.str());
    spec.root.ephemeral = true;
    spec.root.upper = layers.host("upper");
    spec.root.work = layers.host("work");
    spec.process.argv = {"/bin/payload", "touch", "/data/made"};
    CHECK(run(spec)["/data/made"] == "ok");
    CHECK(read_file(layers / "upper/data/made") == "x");
    CHECK(fingerprint(root.str()) == before);
  }
}

TEST_CASE("the host's / has its owners with an id map, too, when ephemeral", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  Spec spec = host_root({"owner", "/etc/passwd", "/etc"});
  spec.idmap = shifted();
  spec.root.ephemeral = true;
  const Report seen = run(spec);
  CHECK(seen["/etc/passwd"].starts_with("0:0 "));
  CHECK(seen["/etc"].starts_with("0:0 "));
}

// ---- what leads out ----------------------------------------------------------------------------

TEST_CASE("targets that are links out of the root touch nothing there",
          "[launch][attack][.root][.userns]") {
  const TempDir outside;
  make_dir(outside / "dir", 0777);
  make_file(outside / "file", "precious\n", 0666);
  const std::string before = fingerprint(outside.str());
  const std::string up = "../../../../../../../../..";
  const bool absolute = GENERATE(true, false);
  const auto to = [&](const char* name) {
    return (absolute ? "" : up) + outside.str() + "/" + name;
  };
  CAPTURE(absolute);
  const TempRoot root;
  const auto replace = [&](const char* name, const std::string& target) {
    const std::string path = root / name;
    REQUIRE((::rmdir(path.c_str()) == 0 || errno == ENOENT));
    REQUIRE(::symlink(target.c_str(), path.c_str()) == 0);
  };
  Spec spec = payload(root, {"probe"});
  SECTION("all of them") {
    for (const char* name : {"proc", "sys", "dev", "mnt"}) replace(name, to("dir"));
    CHECK_THAT(attempt(spec), FailsWith(ELOOP, Step::resolve_target, "guest '/dev'"));
    spec.root.ephemeral = true;
    CHECK_THAT(attempt(spec), FailsWith(ELOOP, Step::resolve_target, "guest '/dev'"));
  }
  SECTION("one at a time") {
    const char* name = GENERATE("proc", "sys", "dev", "mnt");
    CAPTURE(name);
    replace(name, to("dir"));
    spec.mounts.push_back(Tmpfs{.target = "/mnt"_guest});
    CHECK_THAT(attempt(spec),
               FailsWith(ELOOP, Step::resolve_target, fmt::format("guest '/{}'", name)));
  }
  SECTION("a link in the middle") {
    replace("mnt", to("dir"));
    spec.mounts.push_back(Tmpfs{.target = "/mnt/below/this"_guest});
    CHECK_THAT(attempt(spec), FailsWith(ELOOP, Step::resolve_target, "'/mnt/below/this'"));
  }
  SECTION("a file") {
    REQUIRE(::unlink((root / "etc/hostname").c_str()) == 0);
    replace("etc/hostname", to("file"));
    make_file(root / "source", "other\n");
    spec.mounts.push_back(Bind{.source = root.host("source"), .target = "/etc/hostname"_guest});
    CHECK_THAT(attempt(spec), FailsWith(ELOOP, Step::resolve_target, "'/etc/hostname'"));
  }
  SECTION("followed, they stay in the root") {
    replace("mnt", to("dir"));
    spec.mounts.push_back(Tmpfs{.target = "/mnt/x"_guest, .common = {.follow_links = true}});
    // There is no such place in the root, and what is missing is not made through a link.
    CHECK_FALSE(attempt(spec).error == std::nullopt);
    make_dir(root / "tmp/y");
    REQUIRE(::unlink((root / "mnt").c_str()) == 0);
    REQUIRE(::symlink(((absolute ? "/" : up + "/") + std::string("tmp/y")).c_str(),
                      (root / "mnt").c_str()) == 0);
    CHECK(run(spec).mount("/tmp/y/x").starts_with("tmpfs "));
  }
  CHECK(fingerprint(outside.str()) == before);
}

TEST_CASE("a root that is a link is followed, as the host would", "[launch][.root][.userns]") {
  const TempRoot root;
  const TempDir other;
  REQUIRE(::symlink(root.str().c_str(), (other / "link").c_str()) == 0);
  Spec spec = payload({"read", "/data/file"});
  spec.root.path = other.host("link");
  CHECK(run(spec)["/data/file"] == "original");
}

// ---- mounts and the host -----------------------------------------------------------------------

TEST_CASE("nothing travels to a host whose mounts are shared", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const bool ephemeral = GENERATE(false, true), host = GENERATE(false, true);
  CAPTURE(ephemeral, host);
  const TempRoot root;
  CHECK(in_child([&] {
          condroid::test::enter_own_mounts();
          must(::mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr) == 0, "shared");
          Spec spec = host ? host_root({"pause"}) : payload(root, {"pause"});
          spec.root.ephemeral = ephemeral;
          spec.mounts.push_back(Tmpfs{.target = "/mnt"_guest});
          const auto before = mounts_now();
          {
            Container box = launch(spec);
            must(mounts_now() == before, "the host has mounts of the container");
            for (const MountEntry& m : mounts_of(box))
              must(!m.shared, m.target + " of the container is shared");
            const auto inside = mounts_of(box);
            must(::mount("none", host ? "/srv" : (root / "data").c_str(), "tmpfs", 0, nullptr) == 0,
                 "mount");
            must(mounts_of(box) == inside, "a mount came in");
            must(::umount(host ? "/srv" : (root / "data").c_str()) == 0, "umount");
          }
          must(mounts_now() == before, "the host's mounts are other ones afterwards");
        }) == "");
}

TEST_CASE("a slave root sees what the host mounts later", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  CHECK(in_child([&] {
          condroid::test::enter_own_mounts();
          must(::mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr) == 0, "shared");
          Spec spec = payload(root, {"pause"});
          spec.root.propagation = Propagation::slave;
          const auto before = mounts_now();
          Container box = launch(spec);
          must(mounts_now() == before, "the host has mounts of the container");
          must(::mount("none", (root / "data").c_str(), "tmpfs", 0, nullptr) == 0, "mount");
          must(mounted(mounts_of(box), "/data"), "it did not come in");
          must(::umount((root / "data").c_str()) == 0, "umount");
          must(!mounted(mounts_of(box), "/data"), "it did not go");
        }) == "");
}

TEST_CASE("a shared root is shared inside only", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  CHECK(in_child([&] {
          condroid::test::enter_own_mounts();
          must(::mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr) == 0, "shared");
          Spec spec = payload(root, {"probe"});
          spec.root.propagation = Propagation::shared;
          const auto before = mounts_now();
          const Report seen = run(spec);
          must(seen.mount("/").ends_with(" shared"), seen.mount("/"));
          must(mounts_now() == before, "the host has mounts of the container");
        }) == "");
}

TEST_CASE("after pivot_root nothing of the host's tree is left", "[launch][.root][.userns]") {
  const bool ephemeral = GENERATE(false, true);
  CAPTURE(ephemeral);
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.root.ephemeral = ephemeral;
  Container box = launch(spec);
  std::vector<std::string> targets;
  for (const MountEntry& m : mounts_of(box)) {
    INFO(m.target << " " << m.type << " " << m.root);
    targets.push_back(m.target);
    if (m.target == "/") {
      CHECK(m.type == (ephemeral ? "overlay" : mounts_now().front().type.empty() ? "" : m.type));
      CHECK((ephemeral || m.root.ends_with(root.str())));
    }
  }
  CHECK(std::ranges::count(targets, "/") == 1);
  // Only the usual: what is masked or protected lies below /proc and /sys.
  for (const std::string& t : targets) {
    INFO(t);
    CHECK((t == "/" || t.starts_with("/proc") || t.starts_with("/sys") || t.starts_with("/dev")));
  }
  // Its root is the top of its namespace: there is nowhere to go up to.
  struct stat inside {
  }, up{};
  const std::string proc = fmt::format("/proc/{}/root", box.pid().value);
  if (facts().has_cap(19)) {  // CAP_SYS_PTRACE
    REQUIRE(::stat(proc.c_str(), &inside) == 0);
    REQUIRE(::stat((proc + "/..").c_str(), &up) == 0);
    CHECK(inside.st_ino == up.st_ino);
  }
}

TEST_CASE("a container with all rights cannot make the host's file system read-only",
          "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  // On a file system of the test's own: should it go wrong, the machine's goes on.
  CHECK(in_child([&] {
          condroid::test::enter_own_mounts();
          const TempDir place;
          must(::mount("none", place.str().c_str(), "tmpfs", 0, "mode=0755") == 0, "mount");
          for (const char* dir : {"bin", "dev", "proc", "sys"}) make_dir(place / dir);
          make_file(place / "bin/payload", read_file(CONDROID_PAYLOAD), 0755);
          Spec spec = payload(place, {"remount", "/"});
          spec.security.capabilities.add(Capability::sys_admin);
          spec.security.allow |= Allow::capabilities;
          spec.security.allow |= Allow::real_root;
          {
            Container box = launch(spec);
            const condroid::Exit e = condroid::test::wait(box);
            must(e.out == "remount=EBUSY\n", e.out);
          }
          make_file(place / "still", "writable");
          must(::umount(place.str().c_str()) == 0, "it is busy");
        }) == "");
}
