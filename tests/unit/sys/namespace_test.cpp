#include "condroid/sys/namespace.hpp"

#include <fcntl.h>

#include <cerrno>
#include <type_traits>

#include "in_child.hpp"
#include "sys_matchers.hpp"

using condroid::Fd;
using condroid::HostPath;
using condroid::Namespace;
using condroid::NamespaceFd;
using condroid::Pid;
using condroid::Pidfd;
using condroid::Signal;
using condroid::test::closes_on_exec;
using condroid::test::errno_of;
using condroid::test::Forked;
using condroid::test::in_child;
using condroid::test::must;
using condroid::test::need;
using namespace condroid::literals;

static_assert(!std::is_copy_constructible_v<NamespaceFd> &&
              std::is_nothrow_move_constructible_v<NamespaceFd>);

TEST_CASE("every kind of namespace is opened by thread, by pid and by path, and is the same",
          "[sys]") {
  const auto [kind, path] = GENERATE(table<Namespace, HostPath>({
      {Namespace::mount, "/proc/self/ns/mnt"_host},
      {Namespace::pid, "/proc/self/ns/pid"_host},
      {Namespace::uts, "/proc/self/ns/uts"_host},
      {Namespace::ipc, "/proc/self/ns/ipc"_host},
      {Namespace::net, "/proc/self/ns/net"_host},
      {Namespace::user, "/proc/self/ns/user"_host},
      {Namespace::cgroup, "/proc/self/ns/cgroup"_host},
      {Namespace::time, "/proc/self/ns/time"_host},
  }));
  const NamespaceFd current = need(NamespaceFd::current(kind));
  const NamespaceFd by_pid = need(NamespaceFd::open(Pid{::getpid()}, kind));
  const NamespaceFd by_pidfd = need(NamespaceFd::open(need(Pidfd::open(Pid{::getpid()})), kind));
  const NamespaceFd by_path = need(NamespaceFd::open(path, kind));
  CHECK(current.kind() == kind);
  CHECK(need(current.same_as(by_pid)));
  CHECK(need(current.same_as(by_pidfd)));
  CHECK(need(current.same_as(by_path)));
  CHECK(closes_on_exec(current.fd()));
}

TEST_CASE("namespaces of different kinds are different", "[sys]") {
  const NamespaceFd net = need(NamespaceFd::current(Namespace::net));
  const NamespaceFd uts = need(NamespaceFd::current(Namespace::uts));
  CHECK(!need(net.same_as(uts)));
}

TEST_CASE("a descriptor tells its kind", "[sys]") {
  NamespaceFd net = need(NamespaceFd::current(Namespace::net));
  const NamespaceFd again = need(NamespaceFd::from(net.release()));
  CHECK(!net);
  CHECK(again.kind() == Namespace::net);
}

TEST_CASE("a namespace of another kind is refused with both kinds named", "[sys]") {
  const auto by_path = NamespaceFd::open("/proc/self/ns/uts"_host, Namespace::net);
  CHECK(errno_of(by_path) == EINVAL);
  CHECK(by_path.error().subject == "'/proc/self/ns/uts' is a namespace of kind uts, not net");
  const auto by_fd =
      NamespaceFd::from(need(NamespaceFd::current(Namespace::ipc)).release(), Namespace::user);
  CHECK(errno_of(by_fd) == EINVAL);
}

TEST_CASE("what is no namespace is refused", "[sys]") {
  CHECK(errno_of(NamespaceFd::open("/dev/null"_host, Namespace::net)) == EINVAL);
  CHECK(errno_of(NamespaceFd::open("/proc/self"_host, Namespace::net)) == EINVAL);
  CHECK(errno_of(NamespaceFd::from(Fd(::open("/", O_PATH | O_CLOEXEC)))) == EINVAL);
  CHECK(errno_of(NamespaceFd::from(Fd())) == EBADF);
  CHECK(errno_of(NamespaceFd::from(Fd(), Namespace::net)) == EBADF);
}

TEST_CASE("what is not there is not found", "[sys]") {
  CHECK(errno_of(NamespaceFd::open("/run/netns/no such one"_host, Namespace::net)) == ENOENT);
  CHECK(errno_of(NamespaceFd::open(Pid{0x7fffffff}, Namespace::net)) == ENOENT);
}

TEST_CASE("the namespaces of a process that has ended are not those of another with its pid",
          "[sys]") {
  const Forked child([] { return 0; });
  const Pidfd pidfd = need(Pidfd::open(Pid{child.pid()}));
  CHECK(need(pidfd.ended_within(std::chrono::seconds{10})));
  CHECK(errno_of(NamespaceFd::open(pidfd, Namespace::net)) == ESRCH);
  CHECK(need(pidfd.wait()).code == 0);
  CHECK(errno_of(NamespaceFd::open(pidfd, Namespace::net)) == ESRCH);
}

TEST_CASE("the user namespace that one is in cannot be entered again", "[sys]") {
  CHECK(errno_of(need(NamespaceFd::current(Namespace::user)).enter()) == EINVAL);
}

TEST_CASE("entering needs a right over the namespace", "[sys]") {
  const NamespaceFd uts = need(NamespaceFd::current(Namespace::uts));
  CHECK(in_child([&] {
          condroid::test::drop_root();
          must(condroid::test::errno_in_child(uts.enter()) == EPERM, "entering was not refused");
        }) == "");
}

TEST_CASE("a namespace handle that holds nothing fails with EBADF", "[sys]") {
  const NamespaceFd none;
  CHECK(!none);
  CHECK(errno_of(none.enter()) == EBADF);
  CHECK(errno_of(none.owner()) == EBADF);
  CHECK(errno_of(none.same_as(none)) == EBADF);
}
