#include "condroid/sys/pty.hpp"

#include <cerrno>

#include "condroid/sys/mount.hpp"
#include "in_child.hpp"
#include "sys_matchers.hpp"

using condroid::DetachedMount;
using condroid::MountFlag;
using condroid::Pty;
using condroid::test::in_child;
using condroid::test::must;
using namespace condroid::literals;

namespace {

/// A devpts of one's own numbers its ptys from 0, and is no place but what its descriptor leads to.
void own_devpts() {
  DetachedMount devpts =
      must(DetachedMount::create({.type = "devpts",
                                  .options = {"ptmxmode=0666", "mode=0620", "max=2"},
                                  .flags = MountFlag::nosuid}));
  const Pty first = must(Pty::open_in(devpts.fd()));
  const Pty second = must(Pty::open_in(devpts.fd()));
  must(must(first.number()) == 0 && must(second.number()) == 1, "not an instance of its own");
  must(::isatty(first.peer().get()) == 1, "no terminal");
  must(condroid::test::errno_in_child(Pty::open_in(devpts.fd())) == ENOSPC, "more than max");
  must(devpts.attach("/mnt"_host));
  must(::access("/mnt/1", F_OK) == 0, "not in its devpts");
  must(condroid::test::same_file(must(first.open_peer()), first.peer()), "another peer");
}

}  // namespace

TEST_CASE("a pty comes from the devpts that was given, by root", "[sys][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  CHECK(in_child([] {
          condroid::test::enter_own_mounts();
          own_devpts();
        }) == "");
}

TEST_CASE("a pty comes from the devpts that was given, in a user namespace", "[sys][.userns]") {
  CHECK(in_child([] {
          condroid::test::enter_own_user_and_mounts();
          own_devpts();
        }) == "");
}
