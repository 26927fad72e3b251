#include "condroid/sys/namespace.hpp"

#include <sys/utsname.h>

#include <cerrno>
#include <string>

#include "in_child.hpp"
#include "sys_matchers.hpp"

using condroid::Namespace;
using condroid::NamespaceFd;
using condroid::Pid;
using condroid::Pidfd;
using condroid::test::Forked;
using condroid::test::in_child;
using condroid::test::must;
using condroid::test::need;

namespace {

std::string host_name() {
  utsname name{};
  must(::uname(&name) == 0, "uname");
  return name.nodename;
}

/// A child that enters namespaces by `enter`, takes a host name and then sleeps; returns once it
/// has.
template <class Enter>
Forked named_sleeper(Enter enter, const char* name) {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const condroid::Fd from(ends[0]);
  condroid::Fd to(ends[1]);
  Forked child([&] {
    try {
      enter();
      if (::sethostname(name, std::char_traits<char>::length(name)) < 0 ||
          ::write(to.get(), "x", 1) != 1)
        return 1;
    } catch (const std::exception&) {
      return 2;
    }
    for (;;) ::pause();
  });
  to.reset();
  char byte = 0;
  REQUIRE(::read(from.get(), &byte, 1) == 1);
  return child;
}

}  // namespace

TEST_CASE("entering a process's namespace shows what it sees", "[sys][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const Forked child =
      named_sleeper([] { must(::unshare(CLONE_NEWUTS) == 0, "unshare"); }, "entered");
  const NamespaceFd uts =
      need(NamespaceFd::open(need(Pidfd::open(Pid{child.pid()})), Namespace::uts));
  CHECK(!need(uts.same_as(need(NamespaceFd::current(Namespace::uts)))));
  CHECK(in_child([&] {
          must(uts.enter());
          must(host_name() == "entered", "another host name");
        }) == "");
}

TEST_CASE("a namespace lives on in its handle", "[sys][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  NamespaceFd uts;
  {
    const Forked child =
        named_sleeper([] { must(::unshare(CLONE_NEWUTS) == 0, "unshare"); }, "outlived");
    uts = need(NamespaceFd::open(Pid{child.pid()}, Namespace::uts));
  }
  CHECK(in_child([&] {
          must(uts.enter());
          must(host_name() == "outlived", "another host name");
        }) == "");
}

TEST_CASE("a user namespace and what it owns are entered in that order", "[sys][.userns]") {
  const Forked child =
      named_sleeper([] { condroid::test::enter_own_user_namespace(CLONE_NEWUTS); }, "unprivileged");
  const NamespaceFd user = need(NamespaceFd::open(Pid{child.pid()}, Namespace::user));
  const NamespaceFd uts = need(NamespaceFd::open(Pid{child.pid()}, Namespace::uts));
  CHECK(in_child([&] {
          must(user.enter());
          must(uts.enter());
          must(host_name() == "unprivileged", "another host name");
        }) == "");
}

TEST_CASE("a namespace names the user namespace that owns it", "[sys][.userns]") {
  const NamespaceFd before = need(NamespaceFd::current(Namespace::user));
  CHECK(in_child([&] {
          condroid::test::enter_own_user_namespace(CLONE_NEWUTS);
          const NamespaceFd user = must(NamespaceFd::current(Namespace::user));
          const NamespaceFd uts = must(NamespaceFd::current(Namespace::uts));
          must(must(must(uts.owner()).same_as(user)), "not owned by the new user namespace");
          // Its parent is out of reach from inside.
          must(condroid::test::errno_in_child(user.owner()) == EPERM, "the parent was given");
          must(!must(user.same_as(before)), "no new user namespace");
        }) == "");
}
