#include "condroid/sys/mount.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <iterator>
#include <string>

#include "in_child.hpp"
#include "sys/mountinfo.hpp"
#include "sys_matchers.hpp"

using condroid::DetachedMount;
using condroid::Fd;
using condroid::FdView;
using condroid::MountFlag;
using condroid::Namespace;
using condroid::NamespaceFd;
using condroid::Propagation;
using condroid::test::errno_in_child;
using condroid::test::Forked;
using condroid::test::in_child;
using condroid::test::must;
using condroid::test::need;
using namespace condroid::literals;

namespace {

/// A tmpfs on /mnt as a place of the test's own. Only in a mount namespace of its own.
void make_place() {
  must(
      must(DetachedMount::create({.type = "tmpfs", .options = {"mode=0755"}})).attach("/mnt"_host));
  for (const char* dir : {"/mnt/source", "/mnt/target"}) must(::mkdir(dir, 0755) == 0, dir);
}

std::string options_of(const char* path) {
  std::ifstream file("/proc/self/mountinfo");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::string found = "not mounted";
  for (const auto& m : condroid::detail::parse_mountinfo(text))
    if (m.target == path) found = m.options + (m.shared ? " shared" : "");
  return found;
}

bool exists(const char* path) { return ::access(path, F_OK) == 0; }
bool can_write(const char* path) {
  return Fd(::open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)).valid();
}

void new_file_system() {
  make_place();
  DetachedMount fresh =
      must(DetachedMount::create({.type = "tmpfs",
                                  .source = "named",
                                  .options = {"size=1m", "mode=0700"},
                                  .flags = MountFlag::nosuid | MountFlag::noexec}));
  // Usable before it is anywhere.
  must(::mkdirat(fresh.fd().get(), "inside", 0700) == 0, "mkdirat");
  must(!exists("/mnt/target/inside"), "attached too early");
  must(fresh.attach("/mnt/target"_host));
  must(exists("/mnt/target/inside"), "not attached");
  struct statvfs fs {};
  must(::statvfs("/mnt/target", &fs) == 0 && fs.f_blocks * fs.f_frsize == 1U << 20U,
       "another size");
  must(options_of("/mnt/target") == "rw,nosuid,noexec,relatime", options_of("/mnt/target"));
}

void attached_outlives_handle() {
  make_place();
  {
    DetachedMount never = must(DetachedMount::create({.type = "tmpfs"}));
    must(::mkdirat(never.fd().get(), "inside", 0700) == 0, "mkdirat");
    DetachedMount once = must(DetachedMount::create({.type = "tmpfs"}));
    must(::mkdirat(once.fd().get(), "kept", 0700) == 0, "mkdirat");
    must(once.attach("/mnt/target"_host));
  }
  must(exists("/mnt/target/kept"), "gone with its handle");
}

void attached_by_descriptor() {
  make_place();
  const Fd target(::open("/mnt/target", O_PATH | O_DIRECTORY | O_CLOEXEC));
  DetachedMount tree = must(DetachedMount::clone_tree("/mnt/source"_host));
  must(::mkdir("/mnt/source/seen", 0700) == 0, "mkdir");
  must(tree.attach(FdView(target)));
  must(exists("/mnt/target/seen"), "another directory");
}

void plain_copy() {
  make_place();
  must(must(DetachedMount::create({.type = "tmpfs"})).attach("/mnt/source"_host));
  must(::mkdir("/mnt/source/below", 0700) == 0, "mkdir");
  must(must(DetachedMount::create({.type = "tmpfs"})).attach("/mnt/source/below"_host));
  must(can_write("/mnt/source/below/file"), "no file");
  const Fd source(::open("/mnt/source", O_PATH | O_DIRECTORY | O_CLOEXEC));
  must(must(DetachedMount::clone_tree(FdView(source))).attach("/mnt/target"_host));
  must(exists("/mnt/target/below") && !exists("/mnt/target/below/file"),
       "mounts below were copied");
  must(must(DetachedMount::clone_tree("/mnt/source"_host, {.recursive = true}))
           .attach("/mnt/target"_host));
  must(exists("/mnt/target/below/file"), "mounts below were not copied");
}

void recursive_read_only() {
  make_place();
  must(::mkdir("/mnt/source/below", 0700) == 0, "mkdir");
  must(must(DetachedMount::create({.type = "tmpfs"})).attach("/mnt/source/below"_host));
  DetachedMount tree = must(DetachedMount::clone_tree("/mnt/source"_host, {.recursive = true}));
  must(tree.change({.set = MountFlag::read_only, .recursive = true}));
  must(tree.attach("/mnt/target"_host));
  must(!can_write("/mnt/target/file") && errno == EROFS, "the tree is writable");
  must(!can_write("/mnt/target/below/file") && errno == EROFS, "a mount below is writable");
  must(can_write("/mnt/source/below/file"), "the original became read-only");
  must(tree.change({.clear = MountFlag::read_only}));
  must(can_write("/mnt/target/file"), "the tree is still read-only");
  must(!can_write("/mnt/target/below/other") && errno == EROFS, "more was changed than asked for");
}

void access_times() {
  make_place();
  DetachedMount tree = must(DetachedMount::create({.type = "tmpfs", .flags = {}}));
  must(tree.attach("/mnt/target"_host));
  const auto is = [](const char* what) {
    must(options_of("/mnt/target") == what, options_of("/mnt/target"));
  };
  is("rw,relatime");
  must(tree.change({.set = MountFlag::noatime}));
  is("rw,noatime");
  must(tree.change({.set = MountFlag::strictatime}));
  is("rw");
  must(tree.change(
      {.set = MountFlag::nodiratime | MountFlag::nodev, .clear = MountFlag::strictatime}));
  is("rw,nodev,nodiratime,relatime");
  must(errno_in_child(tree.change({.set = MountFlag::noatime | MountFlag::strictatime})) == EINVAL,
       "both were set");
}

void propagation() {
  make_place();
  DetachedMount tree = must(DetachedMount::create({.type = "tmpfs", .flags = {}}));
  must(tree.attach("/mnt/target"_host));
  must(tree.change({.propagation = Propagation::shared}));
  must(options_of("/mnt/target") == "rw,relatime shared", options_of("/mnt/target"));
  must(tree.change({.propagation = Propagation::private_}));
  must(options_of("/mnt/target") == "rw,relatime", options_of("/mnt/target"));
  must(tree.change({.propagation = Propagation::unbindable}));
  must(errno_in_child(DetachedMount::clone_tree("/mnt/target"_host)) == EINVAL,
       "an unbindable mount was copied");
}

void single_file() {
  make_place();
  must(can_write("/mnt/source/file") && can_write("/mnt/target/file"), "no files");
  DetachedMount file = must(DetachedMount::clone_tree("/mnt/source/file"_host));
  const auto wrong = file.attach("/mnt/target"_host);
  must(errno_in_child(wrong) == EINVAL && wrong.error().subject == "'/mnt/target'",
       "a file on a directory");
  must(file.attach("/mnt/target/file"_host));
  struct stat a {
  }, b{};
  must(::stat("/mnt/source/file", &a) == 0 && ::stat("/mnt/target/file", &b) == 0 &&
           a.st_ino == b.st_ino,
       "another file");
}

void links() {
  make_place();
  must(::symlink("source", "/mnt/link") == 0 && ::mkdir("/mnt/source/seen", 0700) == 0, "symlink");
  must(must(DetachedMount::clone_tree("/mnt/link"_host)).attach("/mnt/target"_host));
  must(exists("/mnt/target/seen"), "the link was not followed");
  const DetachedMount link =
      must(DetachedMount::clone_tree("/mnt/link"_host, {.follow_links = false}));
  struct stat st {};
  must(::fstat(link.fd().get(), &st) == 0 && S_ISLNK(st.st_mode), "the link was followed");
}

void failures() {
  const auto missing = DetachedMount::clone_tree("/no/such/place"_host);
  must(errno_in_child(missing) == ENOENT && missing.error().subject == "'/no/such/place'",
       "a missing source");
  must(errno_in_child(DetachedMount::clone_tree(FdView())) == EBADF, "no descriptor");
  must(errno_in_child(DetachedMount::create({.type = "nosuchfs"})) == ENODEV, "an unknown type");
  const auto option =
      DetachedMount::create({.type = "tmpfs", .options = {"size=1m", "frobnicate=2"}});
  must(errno_in_child(option) == EINVAL, "an unknown option");
  must(option.error().subject.starts_with("tmpfs option 'frobnicate=2' (kernel: ") &&
           option.error().subject.find("nknown parameter 'frobnicate'") != std::string::npos,
       "subject: " + option.error().subject);
  const auto value = DetachedMount::create({.type = "tmpfs", .options = {"mode=nonsense"}});
  must(errno_in_child(value) == EINVAL &&
           value.error().subject.starts_with("tmpfs option 'mode=nonsense' (kernel: "),
       "a bad value");
  const auto layers =
      DetachedMount::create({.type = "overlay", .options = {"lowerdir=/no/such/place"}});
  must(!layers && layers.error().subject.starts_with("overlay"), "an overlay over nothing");
}

struct Case {
  const char* what;
  void (*body)();
};
constexpr Case cases[] = {
    {"a new file system is filled before it is attached", new_file_system},
    {"what was attached outlives the handle, what was not is gone", attached_outlives_handle},
    {"a mount is attached by descriptor", attached_by_descriptor},
    {"mounts below are copied when asked for", plain_copy},
    {"attributes reach the mounts below when asked for", recursive_read_only},
    {"how access times are kept is changed whole", access_times},
    {"propagation is changed", propagation},
    {"a single file is a mount, too", single_file},
    {"links are followed unless told otherwise", links},
    {"failures say what and why", failures},
};

}  // namespace

TEST_CASE("mounts are made, changed and attached by root", "[sys][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const Case& c = GENERATE(from_range(std::begin(cases), std::end(cases)));
  INFO(c.what);
  CHECK(in_child([&] {
          condroid::test::enter_own_mounts();
          c.body();
        }) == "");
}

TEST_CASE("mounts are made, changed and attached in a user namespace", "[sys][.userns]") {
  const Case& c = GENERATE(from_range(std::begin(cases), std::end(cases)));
  INFO(c.what);
  CHECK(in_child([&] {
          condroid::test::enter_own_user_and_mounts();
          c.body();
        }) == "");
}

TEST_CASE("owners are shifted by the id map of a user namespace", "[sys][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const Forked holder([] {
    if (::unshare(CLONE_NEWUSER) < 0) return 1;
    for (;;) ::pause();
  });
  // The child's own namespace only once it has unshared.
  const NamespaceFd own = need(NamespaceFd::current(Namespace::user));
  NamespaceFd user = need(NamespaceFd::open(condroid::Pid{holder.pid()}, Namespace::user));
  for (int i = 0; i < 1000 && need(user.same_as(own)); ++i) {
    ::usleep(1000);
    user = need(NamespaceFd::open(condroid::Pid{holder.pid()}, Namespace::user));
  }
  const std::string proc = "/proc/" + std::to_string(holder.pid());
  CHECK(in_child([&] {
          condroid::test::enter_own_mounts();
          make_place();
          DetachedMount early = must(DetachedMount::clone_tree("/mnt/source"_host));
          must(errno_in_child(early.idmap(user)) == EINVAL, "a namespace without a map was taken");
          condroid::test::write_text((proc + "/uid_map").c_str(), "0 100000 65536");
          condroid::test::write_text((proc + "/gid_map").c_str(), "0 200000 65536");
          DetachedMount tree = must(DetachedMount::clone_tree("/mnt/source"_host));
          if (const auto shifted = tree.idmap(user); errno_in_child(shifted) == EINVAL) {
            // tmpfs takes part since Linux 6.3: then by what / is on, which is older.
            must(::mkdir("/tmp/condroid-idmap", 0755) == 0, "mkdir");
            tree = must(DetachedMount::clone_tree("/tmp/condroid-idmap"_host));
            must(::rmdir("/tmp/condroid-idmap") == 0, "rmdir");
            must(tree.idmap(user));
          } else {
            must(shifted.has_value(), "idmap");
          }
          struct stat st {};
          must(::fstat(tree.fd().get(), &st) == 0 && st.st_uid == 100000 && st.st_gid == 200000,
               "owners are not shifted");
          must(errno_in_child(tree.idmap(user)) == EPERM, "a second map was taken");
          must(errno_in_child(must(DetachedMount::clone_tree("/mnt/source"_host)).idmap(own)) ==
                   EPERM,
               "the host's own map was taken");
        }) == "");
}
