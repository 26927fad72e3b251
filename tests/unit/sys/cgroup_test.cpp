#include "condroid/sys/cgroup.hpp"

#include <algorithm>
#include <cerrno>
#include <type_traits>

#include "in_child.hpp"
#include "sys/cgroup_files.hpp"
#include "sys_matchers.hpp"

// What makes cgroups is in tests/integration/sys/cgroup_test.cpp.

using condroid::CgroupDir;
using condroid::CgroupHierarchy;
using condroid::Pid;
using condroid::test::errno_in_child;
using condroid::test::errno_of;
using condroid::test::in_child;
using condroid::test::must;
using condroid::test::need;

static_assert(!std::is_copy_constructible_v<CgroupDir> &&
              std::is_nothrow_move_constructible_v<CgroupDir>);

TEST_CASE("a process finds itself in its own cgroup of every hierarchy", "[sys]") {
  const auto all = need(CgroupDir::hierarchies());
  if (all.empty()) CONDROID_SKIP("no cgroups are mounted here");
  for (const CgroupHierarchy& h : all) {
    INFO(h.mount_point << h.own_path);
    const CgroupDir own = need(CgroupDir::open(h, h.own_path));
    CHECK(own.v2() == h.v2);
    const auto pids = need(own.processes());
    CHECK(std::find(pids.begin(), pids.end(), Pid{::getpid()}) != pids.end());
    CHECK(need(own.populated()));
  }
}

TEST_CASE("a tree is removed however deep it is nested", "[sys]") {
  // Of usual directories: what is done is the same, and nobody needs rights for it.
  char top[] = "/tmp/test-nested.XXXXXX";
  REQUIRE(::mkdtemp(top) != nullptr);
  const condroid::Fd parent(::open(top, O_PATH | O_DIRECTORY | O_CLOEXEC));
  const auto nest = [](const condroid::Fd& below, const char* name, int depth) {
    condroid::Fd at(::dup(below.get()));
    for (int i = 0; i < depth; ++i) {
      must(::mkdirat(at.get(), name, 0755) == 0, "mkdirat");
      // A brother at each level.
      must(i == 0 || ::mkdirat(at.get(), "other", 0755) == 0, "mkdirat");
      condroid::Fd next(::openat(at.get(), name, O_PATH | O_DIRECTORY | O_CLOEXEC));
      must(next.valid(), "openat");
      at = std::move(next);
    }
    return at;
  };
  constexpr int depth = 3000;  // more than there are descriptors, and longer than a path may be
  (void)nest(parent, "name", depth);
  CHECK(condroid::detail::remove_cgroup(parent.get(), "name") == 0);
  CHECK(::faccessat(parent.get(), "name", F_OK, 0) < 0);

  // What cannot be removed stays, with what is above it; all else goes.
  const condroid::Fd deep = nest(parent, "name", 40);
  REQUIRE(condroid::Fd(::openat(deep.get(), "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600)).valid());
  CHECK(condroid::detail::remove_empty_cgroup(parent.get(), "name") == ENOTEMPTY);
  CHECK(::faccessat(parent.get(), "name/name/other", F_OK, 0) < 0);
  CHECK(::faccessat(deep.get(), "file", F_OK, 0) == 0);
  REQUIRE(::unlinkat(deep.get(), "file", 0) == 0);
  CHECK(condroid::detail::remove_empty_cgroup(parent.get(), "name") == 0);
  CHECK(::rmdir(top) == 0);
}

TEST_CASE("paths and names that lead elsewhere are refused", "[sys]") {
  const CgroupHierarchy h{.v2 = true, .mount_point = "/sys"};
  for (const char* path : {"", "kernel", "/kernel/../..", "/..", "/../proc"}) {
    INFO(path);
    CHECK(errno_of(CgroupDir::open(h, path)) == EINVAL);
    CHECK(errno_of(CgroupDir::create(h, path)) == EINVAL);
  }
  CHECK(errno_of(CgroupDir::create(h, "/")) == EINVAL);
  const CgroupDir top = need(CgroupDir::open(h, "/"));
  for (const char* name : {"", ".", "..", "a/b", "/"}) {
    INFO(name);
    CHECK(errno_of(top.open_child(name)) == EINVAL);
    CHECK(errno_of(top.create_child(name)) == EINVAL);
    CHECK(errno_of(top.read(name)) == EINVAL);
    CHECK(errno_of(top.write(name, "1")) == EINVAL);
  }
  CHECK(errno_of(top.add(Pid{0})) == EINVAL);
  CHECK(errno_of(top.remove()) == EBUSY);
}

TEST_CASE("what is not there is named", "[sys]") {
  const CgroupHierarchy h{.v2 = true, .mount_point = "/sys"};
  const auto missing = CgroupDir::open(h, "/no/such/cgroup");
  CHECK(errno_of(missing) == ENOENT);
  CHECK(missing.error().subject == "cgroup '/sys/no/such/cgroup'");
  CHECK(errno_of(CgroupDir::create(h, "/no/such/cgroup")) == ENOENT);
}

TEST_CASE("who may not write to a hierarchy makes and changes nothing there", "[sys]") {
  const auto all = need(CgroupDir::hierarchies());
  if (all.empty()) CONDROID_SKIP("no cgroups are mounted here");
  CHECK(in_child([&] {
          condroid::test::drop_root();
          for (const CgroupHierarchy& h : all) {
            const CgroupDir top = must(CgroupDir::open(h, "/"));
            const auto refused = [&](int e) {
              must(e == EACCES || e == EROFS || e == EPERM, h.mount_point);
            };
            refused(errno_in_child(top.create_child("condroid-test-never")));
            refused(errno_in_child(top.enter()));
          }
        }) == "");
}

TEST_CASE("a cgroup handle that holds nothing fails with EBADF", "[sys]") {
  const CgroupDir none;
  CHECK(!none);
  CHECK(errno_of(none.create_child("x")) == EBADF);
  CHECK(errno_of(none.open_child("x")) == EBADF);
  CHECK(errno_of(none.read("cgroup.procs")) == EBADF);
  CHECK(errno_of(none.write("cgroup.procs", "0")) == EBADF);
  CHECK(errno_of(none.enter()) == EBADF);
  CHECK(errno_of(none.enter_thread()) == EBADF);
  CHECK(errno_of(none.add(Pid{1})) == EBADF);
  CHECK(errno_of(none.enable({})) == EBADF);
  CHECK(errno_of(none.processes()) == EBADF);
  CHECK(errno_of(none.populated()) == EBADF);
  CHECK(errno_of(none.freeze()) == EBADF);
  CHECK(errno_of(none.thaw()) == EBADF);
  CHECK(errno_of(none.kill()) == EBADF);
  CHECK(errno_of(none.remove()) == EBADF);
}
