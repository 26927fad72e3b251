// Every kind of mount with its attributes, as the container has them.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "condroid/sys/mount.hpp"
#include "containers.hpp"
#include "forked.hpp"

using condroid::Allow;
using condroid::Bind;
using condroid::CgroupMode;
using condroid::Container;
using condroid::DetachedMount;
using condroid::Devpts;
using condroid::Errc;
using condroid::Fd;
using condroid::Flags;
using condroid::FsMount;
using condroid::GuestPath;
using condroid::HostFd;
using condroid::IdMap;
using condroid::Mount;
using condroid::MountEntry;
using condroid::MountFlag;
using condroid::Mqueue;
using condroid::Namespace;
using condroid::Overlay;
using condroid::Proc;
using condroid::Propagation;
using condroid::Spec;
using condroid::Step;
using condroid::Sysfs;
using condroid::Tmpfs;
using condroid::test::attempt;
using condroid::test::facts;
using condroid::test::FailsWith;
using condroid::test::fingerprint;
using condroid::test::Forked;
using condroid::test::in_child;
using condroid::test::launch;
using condroid::test::launch_and_wait;
using condroid::test::make_dir;
using condroid::test::make_file;
using condroid::test::mounts_now;
using condroid::test::mounts_of;
using condroid::test::must;
using condroid::test::payload;
using condroid::test::privileged;
using condroid::test::read_file;
using condroid::test::Report;
using condroid::test::run;
using condroid::test::TempDir;
using condroid::test::TempRoot;
using namespace condroid::literals;

namespace {

using Words = std::set<std::string>;

Words words_of(const std::string& options, char between = ',') {
  Words words;
  std::istringstream list(options);
  for (std::string word; std::getline(list, word, between);) words.insert(word);
  return words;
}

/// The one on top there.
MountEntry mount_at(const std::vector<MountEntry>& list, std::string_view target) {
  MountEntry found;
  for (const MountEntry& m : list)
    if (m.target == target) found = m;
  return found;
}
/// Type, attributes, propagation, as the container itself reads them.
struct Seen {
  std::string type;
  Words options;
  std::string propagation;
};
Seen seen_at(const Report& report, std::string_view target) {
  std::istringstream text(report.mount(target));
  Seen seen;
  std::string options;
  text >> seen.type >> options >> seen.propagation;
  seen.options = words_of(options);
  return seen;
}
/// The attributes that stand for flags; how access times are kept is looked at by itself.
Words flags_at(const Report& report, std::string_view target) {
  Words words = seen_at(report, target).options;
  words.erase("relatime");
  words.erase("rw");
  words.erase("idmapped");
  return words;
}

std::vector<std::string> entries(const Report& report) {
  std::vector<std::string> list = report.all("entry");
  std::erase_if(list, [](const std::string& e) { return e == "." || e == ".."; });
  std::ranges::sort(list);
  return list;
}

}  // namespace

// ---- binds -------------------------------------------------------------------------------------

TEST_CASE("a bind is read-only, without set-id programs and devices unless told otherwise",
          "[launch][.root][.userns]") {
  const TempRoot root;
  const TempDir source;
  make_dir(source / "dir", 0777);
  make_file(source / "dir/file", "bound\n", 0666);
  Spec spec = payload(root, {"probe"});
  spec.mounts = {Bind{.source = source.host("dir"), .target = "/mnt"_guest}};
  CHECK(flags_at(run(spec), "/mnt") == Words{"ro", "nosuid", "nodev"});
  spec.process.argv = {"/bin/payload", "touch", "/mnt/file", "/mnt/new"};
  CHECK(run(spec)["/mnt/file"] == "EROFS");
  CHECK(run(spec)["/mnt/new"] == "EROFS");
  CHECK(read_file(source / "dir/file") == "bound\n");

  std::get<Bind>(spec.mounts[0]).flags = MountFlag::nosuid | MountFlag::nodev;
  CHECK(run(spec)["/mnt/file"] == "ok");
  CHECK(read_file(source / "dir/file") == "xound\n");
  CHECK(read_file(source / "dir/new") == "x");
}

TEST_CASE("every attribute of a mount arrives", "[launch][.root][.userns]") {
  struct Case {
    MountFlag flag;
    const char* word;
  };
  const auto [flag, word] =
      GENERATE(Case{MountFlag::read_only, "ro"}, Case{MountFlag::nosuid, "nosuid"},
               Case{MountFlag::nodev, "nodev"}, Case{MountFlag::noexec, "noexec"},
               Case{MountFlag::noatime, "noatime"}, Case{MountFlag::nodiratime, "nodiratime"},
               Case{MountFlag::strictatime, ""}, Case{MountFlag::nosymfollow, "nosymfollow"});
  CAPTURE(word);
  const TempRoot root;
  const TempDir source;
  const Words expected = *word != 0 ? Words{word} : Words{};
  Spec spec = payload(root, {"probe"});
  spec.security.allow |= Allow::devices;  // nodev is left out
  const bool times =
      flag == MountFlag::noatime || flag == MountFlag::nodiratime || flag == MountFlag::strictatime;

  SECTION("of a new file system") {
    spec.mounts = {Tmpfs{.target = "/mnt"_guest, .flags = flag}};
    const Report seen = run(spec);
    CHECK(flags_at(seen, "/mnt") == expected);
    CHECK(seen_at(seen, "/mnt").options.contains("relatime") ==
          (flag != MountFlag::noatime && flag != MountFlag::strictatime));
  }
  SECTION("of a bind") {
    spec.mounts = {Bind{.source = source.host(), .target = "/mnt"_guest, .flags = flag}};
    if (times && !privileged()) {
      // What the host decided about access times a user namespace may not change.
      CHECK_THAT(attempt(spec), FailsWith(EPERM, Step::set_mount_attributes, "'/mnt'"));
      return;
    }
    const Report seen = run(spec);
    CHECK(flags_at(seen, "/mnt") == expected);
    CHECK(seen_at(seen, "/mnt").options.contains("relatime") ==
          (flag != MountFlag::noatime && flag != MountFlag::strictatime));
  }
}

TEST_CASE("a device of a mount without nodev can be opened, of another not", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  const TempDir source;
  REQUIRE(::mknod((source / "null").c_str(), S_IFCHR | 0666, makedev(1, 3)) == 0);
  REQUIRE(::chmod((source / "null").c_str(), 0666) == 0);
  Spec spec = payload(root, {"touch", "/mnt/null"});
  spec.mounts = {Bind{.source = source.host(), .target = "/mnt"_guest, .flags = MountFlag::nodev}};
  CHECK(run(spec)["/mnt/null"] == "EACCES");
  std::get<Bind>(spec.mounts[0]).flags = {};
  CHECK_THAT(attempt(spec), FailsWith(Errc::bad_spec, Step::compile, "mounts[0].flags"));
  spec.security.allow |= Allow::devices;
  CHECK(run(spec)["/mnt/null"] == "ok");
}

TEST_CASE("a bind takes the mounts below along when told to", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  CHECK(in_child([&] {
          condroid::test::enter_own_mounts();
          const TempDir source;
          make_dir(source / "below");
          must(::mount("none", (source / "below").c_str(), "tmpfs", 0, nullptr) == 0, "mount");
          make_file(source / "below/file", "deep\n");
          Spec spec = payload(root, {"probe"});
          spec.mounts = {Bind{.source = source.host(), .target = "/mnt"_guest}};
          must(run(spec).mount("/mnt/below") == "(not mounted)", "the mount below came along");
          std::get<Bind>(spec.mounts[0]).recursive = true;
          const Report seen = run(spec);
          // The attributes reach it, too.
          must(flags_at(seen, "/mnt/below") == Words{"ro", "nosuid", "nodev"},
               seen.mount("/mnt/below"));
          spec.process.argv = {"/bin/payload", "read", "/mnt/below/file"};
          must(run(spec)["/mnt/below/file"] == "deep", "another file");
          must(::umount((source / "below").c_str()) == 0, "umount");
        }) == "");
}

TEST_CASE("single files are bound", "[launch][.root][.userns]") {
  const TempRoot root;
  const TempDir source;
  make_file(source / "file", "of the host\n", 0666);
  Spec spec = payload(root, {"read", "/etc/hostname"});
  SECTION("onto a file") {
    spec.mounts = {Bind{.source = source.host("file"), .target = "/etc/hostname"_guest}};
    CHECK(run(spec)["/etc/hostname"] == "of the host");
    CHECK(read_file(root / "etc/hostname") == "nobody asked\n");
  }
  SECTION("onto one that is made") {
    spec.mounts = {Bind{.source = source.host("file"), .target = "/etc/a/b/file"_guest}};
    spec.process.argv.back() = "/etc/a/b/file";
    CHECK(run(spec)["/etc/a/b/file"] == "of the host");
    CHECK(read_file(root / "etc/a/b/file").empty());
  }
  SECTION("not onto a directory") {
    spec.mounts = {Bind{.source = source.host("file"), .target = "/mnt"_guest}};
    CHECK_THAT(attempt(spec), FailsWith(EINVAL, Step::attach_mount, "'/mnt'"));
  }
  SECTION("nor a directory onto a file") {
    spec.mounts = {Bind{.source = source.host(), .target = "/etc/hostname"_guest}};
    CHECK_THAT(attempt(spec), FailsWith(EINVAL, Step::attach_mount, "'/etc/hostname'"));
  }
}

TEST_CASE("sources are given by descriptor, too", "[launch][.root][.userns]") {
  const TempRoot root;
  const TempDir source;
  make_file(source / "file", "by descriptor\n");
  Spec spec = payload(root, {"read", "/mnt/file"});
  const int flags = GENERATE(O_PATH, O_RDONLY);
  SECTION("a directory") {
    const Fd dir(::open(source.str().c_str(), flags | O_DIRECTORY | O_CLOEXEC));
    spec.mounts = {Bind{.source_fd = HostFd{dir.get()}, .target = "/mnt"_guest}};
    CHECK(run(spec)["/mnt/file"] == "by descriptor");
    spec.process.argv = {"/bin/payload", "probe"};
    CHECK(flags_at(run(spec), "/mnt") == Words{"ro", "nosuid", "nodev"});
  }
  SECTION("a file") {
    const Fd file(::open((source / "file").c_str(), flags | O_CLOEXEC));
    spec.mounts = {Bind{.source_fd = HostFd{file.get()}, .target = "/mnt/file"_guest}};
    CHECK(run(spec)["/mnt/file"] == "by descriptor");
  }
}

TEST_CASE("a detached mount of the host is handed in", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  const DetachedMount tree =
      condroid::test::need(DetachedMount::create({.type = "tmpfs", .options = {"mode=0755"}}));
  const Fd file(::openat(tree.fd().get(), "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  condroid::test::write_to(file, "from nowhere\n");
  Spec spec = payload(root, {"read", "/mnt/file"});
  spec.mounts = {Bind{.source_fd = HostFd{tree.fd().get()}, .target = "/mnt"_guest}};
  CHECK(run(spec)["/mnt/file"] == "from nowhere");
  CHECK(run(spec)["/mnt/file"] == "from nowhere");  // it is still the host's
}

TEST_CASE("what a bind has below it stays the container's", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const Propagation propagation =
      GENERATE(Propagation::as_is, Propagation::private_, Propagation::slave, Propagation::shared);
  const bool by_path = GENERATE(false, true);
  CAPTURE(static_cast<int>(propagation), by_path);
  const TempRoot root;
  CHECK(in_child([&] {
          condroid::test::enter_own_mounts();
          must(::mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr) == 0, "shared");
          const TempDir source;
          make_dir(source / "sub");
          const Fd dir(::open(source.str().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
          Spec spec = payload(root, {"probe"});
          Bind bind{.target = "/mnt"_guest, .propagation = propagation};
          if (by_path)
            bind.source = source.host();
          else
            bind.source_fd = HostFd{dir.get()};
          spec.mounts = {bind, Tmpfs{.target = "/mnt/sub"_guest}};
          const auto before = mounts_now();
          // Later ones begin with other mounts than the first.
          for (int i = 0; i < 5; ++i) {
            const Report seen = run(spec);
            must(mounts_now() == before, "a mount came out");
            const std::string is = seen_at(seen, "/mnt").propagation;
            must(is == (propagation == Propagation::shared  ? "shared"
                        : propagation == Propagation::slave ? "slave"
                                                            : "private"),
                 is);
          }
        }) == "");
}

TEST_CASE("a mount namespace that is bound to a file below the root is left out",
          "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  CHECK(in_child([&] {
          // The kernel binds only a namespace that is younger than one's own, by a number that each
          // processor has its own range of: one made on another may seem to be older.
          cpu_set_t one;
          CPU_ZERO(&one);
          CPU_SET(::sched_getcpu(), &one);
          must(::sched_setaffinity(0, sizeof one, &one) == 0, "one processor");
          condroid::test::enter_own_mounts();
          const auto ns = [](pid_t pid) {
            char to[64] = {};
            (void)::readlink(fmt::format("/proc/{}/ns/mnt", pid).c_str(), to, sizeof to - 1);
            return std::string(to);
          };
          const auto bind_one = [&] {
            const Forked other([] {
              must(::unshare(CLONE_NEWNS) == 0, "unshare");
              for (;;) ::pause();
            });
            for (int i = 0; i < 20000 && ns(other.pid()) == ns(::getpid()); ++i) ::usleep(1000);
            return ::mount(fmt::format("/proc/{}/ns/mnt", other.pid()).c_str(),
                           (root / "mnt-ns").c_str(), nullptr, MS_BIND, nullptr) == 0;
          };
          Spec spec = payload(root, {"exit", "0"});
          for (int i = 0; i < 4; ++i) {
            must(launch_and_wait(spec).success(), "before");
            if (i == 2) {
              // In the middle, and in the root: it has to be noticed.
              make_file(root / "mnt-ns", "");
              must(bind_one(), "bind");
            }
          }
          must(launch_and_wait(spec).success(), "after");
        }) == "");
}

TEST_CASE("owners of an id-mapped bind are the container's", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  const TempDir source;
  make_file(source / "file", "");
  REQUIRE(::chown((source / "file").c_str(), 7, 8) == 0);
  Spec spec = payload(root, {"owner", "/mnt/file"});
  spec.idmap = {.kind = IdMap::ranges,
                .uids = {{.inside = 0, .outside = 200000, .count = 1000}},
                .gids = {{.inside = 0, .outside = 200000, .count = 1000}}};
  Bind bind{.source = source.host(), .target = "/mnt"_guest};
  spec.mounts = {bind};
  CHECK(run(spec)["/mnt/file"].starts_with("65534:65534 "));
  bind.idmapped = true;
  spec.mounts = {bind};
  CHECK(run(spec)["/mnt/file"].starts_with("7:8 "));
  spec.process.argv = {"/bin/payload", "probe"};
  CHECK(run(spec).mount("/mnt").ends_with(" idmapped"));
  CHECK(flags_at(run(spec), "/mnt") == Words{"ro", "nosuid", "nodev"});

  spec.process.argv = {"/bin/payload", "owner", "/mnt/file"};
  const Fd dir(::open(source.str().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  bind.source = {};
  bind.source_fd = HostFd{dir.get()};
  spec.mounts = {bind};
  CHECK(run(spec)["/mnt/file"].starts_with("7:8 "));
}

// ---- file systems ------------------------------------------------------------------------------

TEST_CASE("a tmpfs has the size, number of files and mode that were asked for",
          "[launch][attack][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.mounts = {Tmpfs{.target = "/mnt"_guest, .size = 3_MiB, .inodes = 17, .mode = {01770}},
                 Tmpfs{.target = "/data"_guest}};
  {
    const Container box = launch(spec);
    const MountEntry m = mount_at(mounts_of(box), "/mnt");
    CHECK(m.type == "tmpfs");
    CHECK(words_of(m.super_options).contains("size=3072k"));
    CHECK(words_of(m.super_options).contains("nr_inodes=17"));
    CHECK(words_of(m.super_options).contains("mode=1770"));
    CHECK(words_of(mount_at(mounts_of(box), "/data").super_options).contains("size=65536k"));
  }
  spec.process.argv = {"/bin/payload", "probe"};
  CHECK(flags_at(run(spec), "/mnt") == Words{"nosuid", "nodev"});
  spec.process.argv = {"/bin/payload", "fill", "/mnt/big", "4000000"};
  CHECK(run(spec)["fill"] == "ENOSPC");
}

TEST_CASE("procfs is of the container's own processes", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"list", "/proc"});
  const auto numbers = [](const Report& seen) {
    std::vector<std::string> list;
    for (const std::string& e : seen.all("entry"))
      if (e[0] >= '0' && e[0] <= '9') list.push_back(e);
    return list;
  };
  const Report usual = run(spec);
  CHECK(numbers(usual) == std::vector<std::string>{"1"});
  CHECK(std::ranges::count(usual.all("entry"), "cmdline") == 1);

  spec.mounts = {Proc{.pids_only = true}};
  const Report pids = run(spec);
  CHECK(numbers(pids) == std::vector<std::string>{"1"});
  CHECK(std::ranges::count(pids.all("entry"), "cmdline") == 0);

  spec.mounts = {Proc{.hide_others = true, .flags = MountFlag::read_only}};
  spec.process.argv = {"/bin/payload", "pause"};
  const Container box = launch(spec);
  const MountEntry m = mount_at(mounts_of(box), "/proc");
  CHECK(words_of(m.super_options).contains("hidepid=invisible"));
  CHECK(words_of(m.options) == Words{"ro", "relatime"});
}

TEST_CASE("a procfs elsewhere", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  spec.mounts = {Proc{.target = "/mnt"_guest, .pids_only = true}};
  const Report seen = run(spec);
  CHECK(seen_at(seen, "/mnt").type == "proc");
  CHECK(seen_at(seen, "/proc").type == "proc");
  // A whole one would show what is masked at /proc.
  spec.mounts = {Proc{.target = "/mnt"_guest}};
  CHECK_THAT(attempt(spec), FailsWith(Errc::bad_spec, Step::compile, "mounts[0].target"));
}

TEST_CASE("sysfs is read-only, and of the container's network", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  const Report seen = run(spec);
  CHECK(seen_at(seen, "/sys").type == "sysfs");
  CHECK(flags_at(seen, "/sys") == Words{"ro", "nosuid", "nodev", "noexec"});
  spec.process.argv = {"/bin/payload", "list", "/sys/class/net"};
  CHECK(entries(run(spec)) == std::vector<std::string>{"lo"});
  spec.namespaces -= Namespace::net;
  spec.security.allow |= Allow::host_network;
  CHECK(entries(run(spec)) == condroid::test::entries_of("/sys/class/net"));
  spec.process.argv = {"/bin/payload", "probe"};
  const Report shared = run(spec);
  CHECK(seen_at(shared, "/sys").type == "sysfs");
  CHECK(flags_at(shared, "/sys").contains("ro"));
}

TEST_CASE("a writable sysfs needs its token", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  spec.mounts = {Sysfs{.flags = MountFlag::nosuid}};
  CHECK_THAT(attempt(spec), FailsWith(Errc::bad_spec, Step::compile, "mounts[0].flags"));
  spec.security.allow |= Allow::unmasked_kernel;
  CHECK(flags_at(run(spec), "/sys") == Words{"nosuid"});
}

TEST_CASE("what is of the network is writable in a sysfs that is not otherwise",
          "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"touch", "/sys/kernel/none", "/sys/devices/virtual/net/none"});
  spec.mounts = {Sysfs{.net_writable = true}};
  CHECK_THAT(attempt(spec), FailsWith(Errc::bad_spec, Step::compile, "net_writable"));
  spec.security.allow |= Allow::unmasked_kernel;
  const Report seen = run(spec);
  CHECK(seen["/sys/kernel/none"] == "EROFS");
  CHECK(seen["/sys/devices/virtual/net/none"] != "EROFS");
  spec.process.argv = {"/bin/payload", "probe"};
  const Report probe = run(spec);
  CHECK(probe.mount("/sys").find("sysfs ro,") == 0);
  CHECK(probe.mount("/sys/devices/virtual/net").find("sysfs rw,") == 0);
}

TEST_CASE("a bind of what is inside goes through no link, and shows what is mounted there",
          "[launch][.root][.userns]") {
  const TempRoot root;
  must(::symlink("/etc", (root / "link").c_str()) == 0, "symlink");
  make_dir(root / "from");
  make_file(root / "from/file", "of the root\n");
  Spec spec = payload(root, {"read", "/mnt/file"});
  const auto inside = [](const char* path) {
    return Bind{.inside = GuestPath(path), .target = "/mnt"_guest};
  };
  spec.mounts = {inside("/from")};
  CHECK(run(spec)["/mnt/file"] == "of the root");
  spec.process.argv = {"/bin/payload", "touch", "/mnt/file"};
  CHECK(run(spec)["/mnt/file"] == "EROFS");
  spec.process.argv = {"/bin/payload", "list", "/mnt"};
  spec.mounts = {inside("/from"), Tmpfs{.target = "/from"_guest}};
  CHECK(run(spec).exit().out.find("file") == std::string::npos);
  for (const char* path : {"/link", "/link/hostname"}) {
    spec.mounts = {inside(path)};
    CHECK_THAT(attempt(spec), FailsWith(ELOOP, Step::open_source));
  }
  spec.mounts = {inside("/none")};
  CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::open_source));
}

TEST_CASE("mqueue and devpts are mounted anywhere", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.mounts = {Mqueue{.target = "/mnt/queues"_guest},
                 Devpts{.target = "/mnt/pts"_guest, .max = 5, .ptmx = "/mnt/other"_guest}};
  const Container box = launch(spec);
  const auto list = mounts_of(box);
  CHECK(mount_at(list, "/mnt/queues").type == "mqueue");
  CHECK(words_of(mount_at(list, "/mnt/queues").options) ==
        Words{"rw", "nosuid", "nodev", "noexec", "relatime"});
  const MountEntry pts = mount_at(list, "/mnt/pts");
  CHECK(pts.type == "devpts");
  CHECK(words_of(pts.options) == Words{"rw", "nosuid", "noexec", "relatime"});
  CHECK(words_of(pts.super_options).contains("max=5"));
  CHECK(words_of(pts.super_options).contains("ptmxmode=666"));
  CHECK(words_of(pts.super_options).contains("mode=620"));
  CHECK(mount_at(list, "/mnt/other").type == "devpts");
  CHECK(mount_at(list, "/mnt/other").super_options == pts.super_options);
  // Another instance than that of /dev/pts.
  CHECK(words_of(mount_at(list, "/dev/pts").super_options).contains("max=1024"));
}

TEST_CASE("an overlay has its layers in order", "[launch][.root][.userns]") {
  const TempRoot root;
  const TempDir layers;
  for (const char* dir : {"top", "bottom", "upper", "work"}) make_dir(layers / dir);
  make_file(layers / "top/both", "top\n");
  make_file(layers / "bottom/both", "bottom\n");
  make_file(layers / "bottom/one", "bottom\n");
  const std::string before = fingerprint(layers / "bottom") + fingerprint(layers / "top");
  Overlay overlay{.target = "/mnt"_guest, .lower = {layers.host("top"), layers.host("bottom")}};
  Spec spec = payload(root, {"read", "/mnt/both", "/mnt/one"});
  SECTION("to be read") {
    spec.mounts = {overlay};
    const Report seen = run(spec);
    CHECK(seen["/mnt/both"] == "top");
    CHECK(seen["/mnt/one"] == "bottom");
    spec.process.argv = {"/bin/payload", "touch", "/mnt/both"};
    CHECK(run(spec)["/mnt/both"] == "EROFS");
    spec.process.argv = {"/bin/payload", "probe"};
    CHECK(seen_at(run(spec), "/mnt").type == "overlay");
    CHECK(flags_at(run(spec), "/mnt") == Words{"nosuid", "nodev"});
  }
  SECTION("with an upper directory") {
    overlay.upper = layers.host("upper");
    overlay.work = layers.host("work");
    spec.mounts = {overlay};
    spec.process.argv = {"/bin/payload", "touch", "/mnt/one"};
    CHECK(run(spec)["/mnt/one"] == "ok");
    CHECK(read_file(layers / "upper/one") == "xottom\n");
  }
  SECTION("with a layer that is thrown away") {
    overlay.ephemeral = true;
    overlay.size = 1_MiB;
    spec.mounts = {overlay};
    CHECK(run(spec)["/mnt/both"] == "top");
    spec.process.argv = {"/bin/payload", "touch", "/mnt/one", "/mnt/new"};
    CHECK(run(spec)["/mnt/one"] == "ok");
    CHECK(run(spec)["/mnt/new"] == "ok");
    spec.process.argv = {"/bin/payload", "fill", "/mnt/big", "2000000"};
    CHECK(run(spec)["fill"] == "ENOSPC");
  }
  CHECK(fingerprint(layers / "bottom") + fingerprint(layers / "top") == before);
}

TEST_CASE("names with what separates layers and options in them",
          "[launch][attack][.root][.userns]") {
  const TempRoot root;
  const TempDir layers;
  const std::string odd = "a,b:c\\d e=f";
  make_dir(layers / odd);
  make_file(layers / (odd + "/file"), "odd\n");
  Spec spec = payload(root, {"read", "/mnt/file"});
  spec.mounts = {Overlay{.target = "/mnt"_guest, .lower = {layers.host(odd)}, .ephemeral = true}};
  // Before Linux 6.5 overlayfs takes no name with a comma, and it is an error.
  if (facts().kernel_at_least(6, 5))
    CHECK(run(spec)["/mnt/file"] == "odd");
  else
    CHECK_THAT(attempt(spec), FailsWith(EINVAL, Step::mount, "comma"));
  spec.mounts = {Bind{.source = layers.host(odd), .target = GuestPath("/tmp/" + odd)}};
  spec.process.argv.back() = "/tmp/" + odd + "/file";
  const condroid::Exit e = condroid::test::launch_and_wait(spec);
  CHECK(e.out == "/tmp/" + odd + "/file=odd\n");
}

TEST_CASE("any file system is mounted by name", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.mounts = {FsMount{.type = "tmpfs",
                         .source = "named",
                         .options = {"size=2m", "mode=0711"},
                         .target = "/mnt"_guest,
                         .flags = MountFlag::noexec | MountFlag::nodev}};
  {
    const Container box = launch(spec);
    const MountEntry m = mount_at(mounts_of(box), "/mnt");
    CHECK(m.type == "tmpfs");
    CHECK(m.source == "named");
    CHECK(words_of(m.options) == Words{"rw", "nodev", "noexec", "relatime"});
    CHECK(words_of(m.super_options).contains("size=2048k"));
    CHECK(words_of(m.super_options).contains("mode=711"));
  }
  spec.mounts = {FsMount{.type = "ramfs", .target = "/mnt"_guest}};
  {
    const Container box = launch(spec);
    CHECK(mount_at(mounts_of(box), "/mnt").type == "ramfs");
  }
  spec.mounts = {FsMount{.type = "nosuchfs", .target = "/mnt"_guest}};
  CHECK_THAT(attempt(spec), FailsWith(ENODEV, Step::mount, "nosuchfs"));
  spec.mounts = {FsMount{.type = "tmpfs", .options = {"frobnicate=1"}, .target = "/mnt"_guest}};
  CHECK_THAT(attempt(spec), FailsWith(EINVAL, Step::mount, "option 'frobnicate=1'"));
}

// ---- targets and order -------------------------------------------------------------------------

TEST_CASE("a missing target is made, or not", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  spec.mounts = {Tmpfs{.target = "/data/a/b"_guest}};
  SECTION("made") {
    CHECK(seen_at(run(spec), "/data/a/b").type == "tmpfs");
    struct stat st {};
    REQUIRE(::stat((root / "data/a/b").c_str(), &st) == 0);
    CHECK((st.st_mode & 07777) == 0755);
  }
  SECTION("not made") {
    std::get<Tmpfs>(spec.mounts[0]).common.create_target = false;
    CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::resolve_target, "'/data/a/b'"));
    CHECK(::access((root / "data/a").c_str(), F_OK) < 0);
  }
  SECTION("not to be made in a read-only root") {
    spec.root.read_only = true;
    CHECK_THAT(attempt(spec), FailsWith(EROFS, Step::make_directory, "'/data/a/b'"));
  }
}

TEST_CASE("parents are mounted before children, whatever the order of the Spec",
          "[launch][.root][.userns]") {
  const TempRoot root;
  const TempDir source;
  make_file(source / "file", "deepest\n");
  Spec spec = payload(root, {"probe"});
  spec.mounts = {Bind{.source = source.host(), .target = "/mnt/a/b/c"_guest},
                 Tmpfs{.target = "/mnt/a/b"_guest},
                 Tmpfs{.target = "/mnt/a-b"_guest},
                 Tmpfs{.target = "/mnt/a"_guest},
                 Tmpfs{.target = "/mnt"_guest},
                 Tmpfs{.target = "/dev/extra"_guest}};
  const Report seen = run(spec);
  for (const char* target :
       {"/mnt", "/mnt/a", "/mnt/a-b", "/mnt/a/b", "/mnt/a/b/c", "/dev/extra"}) {
    INFO(target);
    CHECK(seen.mount(target) != "(not mounted)");
  }
  spec.process.argv = {"/bin/payload", "read", "/mnt/a/b/c/file"};
  CHECK(run(spec)["/mnt/a/b/c/file"] == "deepest");
}

TEST_CASE("two mounts on one target: the later one is on top", "[launch][.root][.userns]") {
  const TempRoot root;
  const TempDir source;
  make_file(source / "file", "below\n");
  Spec spec = payload(root, {"list", "/mnt"});
  spec.mounts = {Bind{.source = source.host(), .target = "/mnt"_guest},
                 Tmpfs{.target = "/mnt"_guest}};
  CHECK(entries(run(spec)).empty());
  std::ranges::reverse(spec.mounts);
  CHECK(entries(run(spec)) == std::vector<std::string>{"file"});
}

TEST_CASE("a mount of the Spec takes the place of a usual one", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.mounts = {Tmpfs{.target = "/dev/shm"_guest, .size = 1_MiB},
                 Devpts{.target = "/dev/pts"_guest, .max = 7}};
  const Container box = launch(spec);
  const auto list = mounts_of(box);
  const auto count = [&](std::string_view target) {
    return std::ranges::count(list, target, &MountEntry::target);
  };
  CHECK(count("/dev/shm") == 1);
  CHECK(count("/dev/pts") == 1);
  CHECK(words_of(mount_at(list, "/dev/shm").super_options).contains("size=1024k"));
  CHECK(words_of(mount_at(list, "/dev/pts").super_options).contains("max=7"));
}

TEST_CASE("without the usual mounts there are none", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  spec.default_mounts = false;
  spec.devices.populate = false;
  const Container box = launch(spec);
  const auto list = mounts_of(box);
  REQUIRE(list.size() == 1);
  CHECK(list.front().target == "/");
}

TEST_CASE("a mount that is optional may fail", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  spec.mounts = {
      Bind{.source = "/no/such/source"_host, .target = "/mnt"_guest, .common = {.optional = true}},
      FsMount{.type = "nosuchfs", .target = "/data"_guest, .common = {.optional = true}},
      Tmpfs{.target = "/not/made"_guest, .common = {.create_target = false, .optional = true}},
      Tmpfs{.target = "/tmp"_guest, .common = {.optional = true}}};
  const Report seen = run(spec);
  CHECK(seen.mount("/mnt") == "(not mounted)");
  CHECK(seen.mount("/data") == "(not mounted)");
  CHECK(seen.mount("/not/made") == "(not mounted)");
  CHECK(seen_at(seen, "/tmp").type == "tmpfs");
  std::get<Bind>(spec.mounts[0]).common.optional = false;
  CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::open_source, "'/no/such/source'"));
}

TEST_CASE("an optional source by descriptor or with shifted owners may be missing, too",
          "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  spec.idmap = {.kind = IdMap::ranges,
                .uids = {{.inside = 0, .outside = 200000, .count = 1000}},
                .gids = {{.inside = 0, .outside = 200000, .count = 1000}}};
  spec.mounts = {Bind{.source = "/no/such/source"_host,
                      .target = "/mnt"_guest,
                      .idmapped = true,
                      .common = {.optional = true}}};
  CHECK(run(spec).mount("/mnt") == "(not mounted)");
  spec.mounts = {Bind{.source_fd = HostFd{987},
                      .target = "/mnt"_guest,
                      .idmapped = GENERATE(false, true),
                      .common = {.optional = true}}};
  CHECK(run(spec).mount("/mnt") == "(not mounted)");
}

TEST_CASE("a source by descriptor that was renamed meanwhile is still the one",
          "[launch][attack][.root][.userns]") {
  const TempRoot root;
  const TempDir source;
  make_dir(source / "a");
  make_file(source / "a/file", "right\n");
  const Fd dir(::open((source / "a").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(::rename((source / "a").c_str(), (source / "b").c_str()) == 0);
  make_dir(source / "a");
  make_file(source / "a/file", "wrong\n");
  Spec spec = payload(root, {"read", "/mnt/file"});
  spec.mounts = {Bind{.source_fd = HostFd{dir.get()}, .target = "/mnt"_guest}};
  CHECK(run(spec)["/mnt/file"] == "right");
}

// ---- what is hidden ----------------------------------------------------------------------------

TEST_CASE("kernel files are hidden or read-only by default", "[launch][attack][.root][.userns]") {
  const TempRoot root;
  const Report seen = run(payload(root, {"probe"}));
  for (const char* path : {"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug"}) {
    INFO(path);
    const std::string is = seen[std::string("path.") + path];
    CHECK((is == "null" || is == "null read-only" || is == "ENOENT"));
  }
  CHECK(seen["path./proc/keys"] != "ENOENT");
  for (const char* path : {"/proc/acpi", "/proc/scsi", "/sys/firmware"}) {
    INFO(path);
    const std::string is = seen[std::string("path.") + path];
    CHECK((is == "empty read-only" || is == "ENOENT"));
  }
  const std::string sysrq = seen["path./proc/sysrq-trigger"];  // not in every kernel
  CHECK((sysrq == "file read-only" || sysrq == "ENOENT"));
  CHECK(seen["path./proc/sys/kernel/core_pattern"] == "file read-only");
  Spec spec = payload(root, {"write", "/proc/sys/kernel/core_pattern", "owned"});
  // It is not this root's file where there is a user namespace.
  CHECK(run(spec)["open"] == (privileged() ? "EROFS" : "EACCES"));
}

TEST_CASE("more is hidden and protected on demand", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"list", "/mnt"});
  make_file(root / "mnt/inside", "");
  spec.security.masked_paths.push_back("/data/file"_guest);
  spec.security.masked_paths.push_back("/mnt"_guest);
  spec.security.masked_paths.push_back("/no/such/path"_guest);
  spec.security.read_only_paths.push_back("/etc"_guest);
  spec.security.read_only_paths.push_back("/nor/this"_guest);
  CHECK(entries(run(spec)).empty());
  spec.process.argv = {"/bin/payload", "read", "/data/file", "/etc/hostname"};
  CHECK(run(spec)["/data/file"].empty());
  CHECK(run(spec)["/etc/hostname"] == "nobody asked");
  spec.process.argv = {"/bin/payload", "touch", "/etc/hostname", "/mnt/x", "/data/x"};
  const Report seen = run(spec);
  CHECK(seen["/etc/hostname"] == "EROFS");
  CHECK(seen["/mnt/x"] == "EROFS");
  CHECK(seen["/data/x"] == "ok");
  CHECK(read_file(root / "data/file") == "original\n");
}

TEST_CASE("links are not masked or protected in place of what they lead to",
          "[launch][attack][.root][.userns]") {
  const TempRoot root;
  REQUIRE(::symlink("/data/file", (root / "link").c_str()) == 0);
  Spec spec = payload(root, {"read", "/data/file"});
  spec.security.masked_paths.push_back("/link"_guest);
  CHECK_THAT(attempt(spec), FailsWith(ELOOP, Step::mask_path, "'/link'"));
  spec.security.masked_paths.pop_back();
  spec.security.read_only_paths.push_back("/link"_guest);
  CHECK_THAT(attempt(spec), FailsWith(ELOOP, Step::protect_path, "'/link'"));
}

TEST_CASE("fewer masks need their token", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  spec.security.masked_paths.clear();
  CHECK_THAT(attempt(spec), FailsWith(Errc::bad_spec, Step::compile, "security.masked_paths"));
  spec.security.allow |= Allow::unmasked_kernel;
  CHECK(run(spec)["path./proc/keys"] == "file");
}
