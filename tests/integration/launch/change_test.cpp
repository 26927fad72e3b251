// A container that runs is changed: mounts, device nodes, terminals, network interfaces.
#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

#include "condroid/attach.hpp"
#include "condroid/sys/mount.hpp"
#include "containers.hpp"

using condroid::Allow;
using condroid::Attach;
using condroid::Container;
using condroid::DetachedMount;
using condroid::DeviceNode;
using condroid::Errc;
using condroid::Exit;
using condroid::Fd;
using condroid::Flags;
using condroid::GuestPath;
using condroid::IdMap;
using condroid::Namespace;
using condroid::Spec;
using condroid::Stdio;
using condroid::Step;
using condroid::test::FailsWith;
using condroid::test::failure_of;
using condroid::test::launch;
using condroid::test::mounts_of;
using condroid::test::need;
using condroid::test::payload;
using condroid::test::read_until;
using condroid::test::Surroundings;
using condroid::test::TempRoot;
using namespace condroid::literals;
using namespace std::chrono_literals;

namespace {

Spec mapped(Spec spec) {
  spec.idmap = {.kind = IdMap::ranges,
                .uids = {{.inside = 0, .outside = 400000, .count = 65536}},
                .gids = {{.inside = 0, .outside = 400000, .count = 65536}}};
  return spec;
}

std::string inside(const Container& box, std::vector<std::string> args) {
  Attach what;
  args.insert(args.begin(), "/bin/payload");
  what.process.argv = std::move(args);
  what.process.stdio = Stdio::capture;
  auto task = need(box.attach(what));
  return need(task.wait()).out;
}

bool mounted(const Container& box, std::string_view target) {
  return std::ranges::any_of(mounts_of(box), [&](const auto& m) { return m.target == target; });
}

/// The names of the interfaces in a process's network namespace.
std::string interfaces(pid_t pid) {
  return condroid::test::read_file(fmt::format("/proc/{}/net/dev", pid));
}

}  // namespace

TEST_CASE("a mount comes into a running container and goes again", "[change][.root]") {
  const TempRoot root, more;
  condroid::test::make_file(more / "inside", "x");
  Spec spec = payload(root, {"pause"});
  spec.root.ephemeral = true;
  const bool ids = GENERATE(false, true);
  CAPTURE(ids);
  if (ids) spec = mapped(std::move(spec));
  // Where nobody inside owns the root nobody makes a target there: before Linux 6.3 a tmpfs is not
  // idmapped.
  struct statfs fs {};
  REQUIRE(::statfs(root.str().c_str(), &fs) == 0);
  const bool tmpfs = fs.f_type == TMPFS_MAGIC && !condroid::test::facts().kernel_at_least(6, 3);
  spec.root.idmapped = ids && !tmpfs;
  const GuestPath place = ids && tmpfs ? "/data"_guest : "/mnt/new/place"_guest;
  const Container box = launch(spec);
  const auto mount = need(DetachedMount::clone_tree(more.host()));
  need(box.add_mount({.mount = {mount.fd().get()}, .target = place}));
  CHECK(mounted(box, place.str()));
  CHECK(inside(box, {"list", place.str()}).find("inside") != std::string::npos);
  need(box.remove_mount(place));
  CHECK_FALSE(mounted(box, place.str()));

  SECTION("a file on a file") {
    const auto file = need(DetachedMount::clone_tree(more.host("inside")));
    need(box.add_mount({.mount = {file.fd().get()}, .target = "/etc/hostname"_guest}));
    CHECK(mounted(box, "/etc/hostname"));
    need(box.remove_mount("/etc/hostname"_guest));
    CHECK_FALSE(mounted(box, "/etc/hostname"));
  }
  SECTION("what is not there is named") {
    CHECK_THAT(failure_of(box.remove_mount("/mnt"_guest)),
               FailsWith(EINVAL, Step::remove_entry, "/mnt"));
    CHECK_THAT(failure_of(box.remove_mount("/no/such"_guest)),
               FailsWith(ENOENT, Step::remove_entry, "/no/such"));
    CHECK_THAT(failure_of(box.remove_mount("relative"_guest)),
               FailsWith(Errc::bad_spec, Step::remove_entry, "relative"));
    CHECK_THAT(failure_of(box.add_mount({.mount = {9999}, .target = "/mnt"_guest})),
               FailsWith(EBADF, Step::open_descriptor, "9999"));
  }
}

TEST_CASE("a link in the container does not lead a mount out of its place",
          "[change][attack][.root]") {
  const TempRoot root, more;
  REQUIRE(::symlink("/tmp", (root / "trap").c_str()) == 0);
  const Container box = launch(payload(root, {"pause"}));
  const auto mount = need(DetachedMount::clone_tree(more.host()));
  CHECK_THAT(failure_of(box.add_mount({.mount = {mount.fd().get()}, .target = "/trap"_guest})),
             FailsWith(ELOOP, Step::resolve_target, "/trap"));
  CHECK_THAT(failure_of(box.add_mount({.mount = {mount.fd().get()}, .target = "/trap/x"_guest})),
             FailsWith(ELOOP, Step::resolve_target, "/trap/x"));
}

TEST_CASE("a device node comes and goes", "[change][.root]") {
  const TempRoot root;
  Spec spec = payload(root, {"pause"});
  const bool ids = GENERATE(false, true);
  CAPTURE(ids);
  if (ids) spec = mapped(std::move(spec));
  const Container box = launch(spec);
  const DeviceNode node{.name = "net/tun", .major = 10, .minor = 200};
  CHECK_THAT(failure_of(box.add_device(node, {})),
             FailsWith(Errc::bad_spec, Step::make_node, "net/tun"));
  need(box.add_device(node, Allow::devices));
  CHECK(inside(box, {"list", "/dev/net"}).find("tun") != std::string::npos);
  CHECK(inside(box, {"peek", "/dev/net/tun"}).find("ENOENT") == std::string::npos);
  // The host's own node keeps its owner, whom a container with shifted ids does not know.
  struct stat node_there {};
  const bool everybodys = ::stat("/dev/net/tun", &node_there) == 0 && (node_there.st_mode & 6) == 6;
  if (!ids || everybodys)
    CHECK(inside(box, {"peek", "/dev/net/tun"}).find("EACCES") == std::string::npos);
  need(box.remove_device("net/tun"));
  CHECK(inside(box, {"peek", "/dev/net/tun"}) == "/dev/net/tun=ENOENT\n");
  CHECK_THAT(failure_of(box.remove_device("net/tun")),
             FailsWith(ENOENT, Step::remove_entry, "tun"));
  CHECK_THAT(failure_of(box.add_device({.name = "../x"}, Allow::devices)),
             FailsWith(Errc::bad_spec, Step::make_node));
}

TEST_CASE("a terminal is told another size", "[change][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"window"});
  spec.process.stdio = Stdio::pty;
  spec.terminal.ttys = 1;
  Container box = launch(spec);
  const Fd master = Fd(::dup(box.console().get()));
  (void)read_until(master, "24x80");
  need(box.resize({.rows = 50, .columns = 132}));
  (void)read_until(master, "50x132");
  need(box.resize({.rows = 10, .columns = 20}, 1));
  CHECK_THAT(failure_of(box.resize({}, 2)), FailsWith(ENODEV, Step::resize_terminal, "tty2"));
}

TEST_CASE("a network interface is moved into a container and out again", "[change][.root]") {
  const TempRoot root;
  // In a namespace that the test made: the machine's own interfaces stay what they are.
  CHECK(condroid::test::in_child([&] {
          const auto fine = [](const auto& result, const char* what) {
            if (!result) throw std::runtime_error(what + to_string(result.error()));
          };
          const auto refused = [](const auto& result, int error, const char* what) {
            if (result || !result.error().is_errno(error)) throw std::runtime_error(what);
          };
          const auto so = [](bool is, const char* what) {
            if (!is) throw std::runtime_error(what);
          };
          so(::unshare(CLONE_NEWNET) == 0, "unshare");
          so(std::system("ip link add test0 type veth peer name test1") == 0, "ip");
          const Container box = launch(mapped(payload(root, {"pause"})));
          const pid_t pid = box.pid().value;
          fine(box.move_interface_in("test0", "eth0"), "in: ");
          so(interfaces(pid).find("eth0:") != std::string::npos, "eth0 is not inside");
          so(::if_nametoindex("test0") == 0, "test0 is still outside");
          refused(box.move_interface_in("test0"), ENODEV, "test0 was moved twice");
          fine(box.move_interface_in("test1"), "in, too: ");
          refused(box.move_interface_out("eth0", "lo"), EEXIST, "there are two lo");
          fine(box.move_interface_out("eth0", "back0"), "out: ");
          so(::if_nametoindex("back0") != 0, "back0 is not outside");
          so(interfaces(pid).find("eth0:") == std::string::npos, "eth0 is still inside");
          refused(box.move_interface_out("eth0"), ENODEV, "eth0 was moved twice");
        }) == "");
}

TEST_CASE("changes leave nothing behind", "[change][.root]") {
  const TempRoot root, more;
  const Container box = launch(payload(root, {"pause"}));
  const auto change = [&] {
    const auto mount = need(DetachedMount::clone_tree(more.host()));
    need(box.add_mount({.mount = {mount.fd().get()}, .target = "/mnt"_guest}));
    need(box.remove_mount("/mnt"_guest));
    CHECK_FALSE(box.remove_mount("/mnt"_guest));
  };
  change();
  const Surroundings before = Surroundings::quiet();
  for (int i = 0; i < 10; ++i) change();
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("what has ended or shares is not changed", "[change][.root]") {
  const TempRoot root;
  Container box = launch(payload(root, {"pause"}));
  (void)need(box.stop(0ms));
  CHECK_THAT(failure_of(box.remove_mount("/mnt"_guest)),
             FailsWith(ESRCH, Step::join_namespace, "has ended"));
  CHECK_THAT(failure_of(box.move_interface_in("lo")), FailsWith(ESRCH, Step::join_namespace));
  Spec spec = payload(root, {"pause"});
  spec.namespaces -= Namespace::net;
  spec.security.allow |= Allow::host_network;
  const Container open = launch(spec);
  CHECK_THAT(failure_of(open.move_interface_in("lo")),
             FailsWith(Errc::unsupported, Step::move_interface));
}
