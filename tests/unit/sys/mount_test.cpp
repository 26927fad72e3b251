#include "condroid/sys/mount.hpp"

#include <fcntl.h>

#include <cerrno>
#include <type_traits>

#include "in_child.hpp"
#include "sys_matchers.hpp"

// What needs the right to mount is in tests/integration/sys/mount_test.cpp.

using condroid::DetachedMount;
using condroid::Fd;
using condroid::MountFlag;
using condroid::Namespace;
using condroid::NamespaceFd;
using condroid::test::errno_in_child;
using condroid::test::errno_of;
using condroid::test::in_child;
using condroid::test::must;
using condroid::test::need;
using namespace condroid::literals;

static_assert(!std::is_copy_constructible_v<DetachedMount> &&
              std::is_nothrow_move_constructible_v<DetachedMount>);

TEST_CASE("without the right to mount nothing is made", "[sys]") {
  CHECK(in_child([] {
          condroid::test::drop_root();
          must(errno_in_child(DetachedMount::clone_tree("/"_host)) == EPERM, "a tree was copied");
          must(errno_in_child(DetachedMount::create({.type = "tmpfs"})) == EPERM,
               "a file system was made");
        }) == "");
}

TEST_CASE("a mount handle that holds nothing fails with EBADF", "[sys]") {
  DetachedMount none;
  CHECK(!none);
  CHECK(errno_of(none.change({.set = MountFlag::read_only})) == EBADF);
  CHECK(errno_of(none.idmap(need(NamespaceFd::current(Namespace::user)))) == EBADF);
  CHECK(errno_of(none.idmap(NamespaceFd())) == EBADF);
  CHECK(errno_of(none.attach("/"_host)) == EBADF);
}

TEST_CASE("attaching to what is not there names the target", "[sys]") {
  DetachedMount root = DetachedMount::from(Fd(::open("/", O_PATH | O_CLOEXEC)));
  const auto attached = root.attach("/no/such/place"_host);
  CHECK(errno_of(attached) == ENOENT);
  CHECK(attached.error().subject == "'/no/such/place'");
}
