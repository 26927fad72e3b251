#include "condroid/sys/facts.hpp"

#include <algorithm>

#include "condroid/sys/mount.hpp"
#include "in_child.hpp"
#include "sys_matchers.hpp"

using condroid::DetachedMount;
using condroid::HostFacts;
using condroid::MountEntry;
using condroid::Propagation;
using condroid::Uid;
using condroid::test::in_child;
using condroid::test::must;
using namespace condroid::literals;

TEST_CASE("in a user namespace one is root there and not in the initial one", "[sys][.userns]") {
  CHECK(in_child([] {
          condroid::test::enter_own_user_namespace();
          const HostFacts f = must(condroid::probe_host());
          must(f.uid == Uid{0}, "another user");
          must(f.privileged(), "no capabilities");
          must(!f.initial_user_namespace, "it was taken for the initial one");
          must(f.subuids.empty() && f.subgids.empty(), "ids that do not exist here");
        }) == "");
}

TEST_CASE("what is mounted over /proc and what is shared is seen", "[sys][.userns]") {
  CHECK(in_child([] {
          condroid::test::enter_own_user_and_mounts();
          DetachedMount cover = must(DetachedMount::create({.type = "tmpfs"}));
          must(cover.attach("/proc/sys"_host));
          must(cover.change({.propagation = Propagation::shared}));
          const HostFacts f = must(condroid::probe_host());
          must(f.proc_overmounted, "the cover was not seen");
          must(std::any_of(f.mounts.begin(), f.mounts.end(),
                           [](const MountEntry& m) {
                             return m.target == "/proc/sys" && m.shared && m.type == "tmpfs";
                           }),
               "not listed");
        }) == "");
}
