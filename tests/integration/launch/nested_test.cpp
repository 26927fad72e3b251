// condroid inside a container of condroid's own: /proc is masked, cgroups are not there, read-only
// or its own. The program inside is this one: its part are the cases tagged "inside".
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "containers.hpp"

using condroid::Allow;
using condroid::Capability;
using condroid::CapabilitySet;
using condroid::CgroupHierarchy;
using condroid::CgroupMount;
using condroid::Container;
using condroid::Errc;
using condroid::Exit;
using condroid::IdMap;
using condroid::MountFlag;
using condroid::Runtime;
using condroid::Spec;
using condroid::Stdio;
using condroid::Step;
using condroid::test::alone;
using condroid::test::attempt;
using condroid::test::entries_of;
using condroid::test::facts;
using condroid::test::FailsWith;
using condroid::test::Failure;
using condroid::test::hierarchy_of;
using condroid::test::launch;
using condroid::test::own_cgroups;
using condroid::test::payload;
using condroid::test::privileged;
using condroid::test::read_file;
using condroid::test::Report;
using condroid::test::run;
using condroid::test::Surroundings;
using condroid::test::TempRoot;
using condroid::test::wait;
using namespace condroid::literals;

namespace {

bool may_make_cgroups() { return std::ranges::any_of(facts().cgroups, &CgroupHierarchy::writable); }

std::string asked() {
  const char* what = std::getenv("CONDROID_NESTED");
  return what != nullptr ? what : "";
}

/// Where a controller of this machine is.
Spec with_limits(Spec spec) {
  spec.resources.pids_max = 6;
  spec.resources.memory_max = 64_MiB;
  return spec;
}

// ---- the container around it ----

enum class View { none, read_only, writable };
enum class Rights {
  user,         ///< An ordinary user's: what is inside makes user namespaces of its own.
  user_root,    ///< All in a user namespace of its own.
  machine_root  ///< The machine's root.
};

Spec outer(View view, Rights rights, const std::string& part) {
  Spec spec;
  spec.name = "outer";
  char self[4096];
  const ssize_t n = ::readlink("/proc/self/exe", self, sizeof self);
  spec.process.argv = {std::string(self, n > 0 ? static_cast<std::size_t>(n) : 0), "[inside]"};
  spec.process.env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "CONDROID_NESTED=" + part};
  spec.process.stdio = Stdio::capture;
  spec.process.init = true;
  spec.security.allow = Allow::capabilities | Allow::nesting;
  if (rights == Rights::user) {
    spec.security.capabilities.add(Capability::setfcap);
  } else {
    spec.security.capabilities = CapabilitySet::all();
    if (rights == Rights::machine_root) {
      spec.security.capabilities = CapabilitySet::from_bits(facts().effective_caps);
      spec.security.allow |= Allow::real_root | Allow::devices;
      spec.devices.filter = condroid::DeviceFilter::never;  // a limit that root of it could lift
    }
  }
  if (rights != Rights::machine_root) {
    spec.namespaces |= condroid::Namespace::user;
    if (privileged())
      spec.idmap = {.kind = IdMap::ranges,
                    .uids = {{.inside = 0, .outside = 100000, .count = 65536}},
                    .gids = {{.inside = 0, .outside = 100000, .count = 65536}}};
  }
  const auto flags = MountFlag::nosuid | MountFlag::nodev | MountFlag::noexec;
  if (view == View::read_only) spec.mounts = {CgroupMount{}};
  if (view == View::writable) spec.mounts = {CgroupMount{.flags = flags}};
  // Limits around limits; those of who could lift them would need a token.
  if (may_make_cgroups() && rights != Rights::machine_root) spec.resources.pids_max = 300;
  return spec;
}

/// What a Runtime makes once, its cgroups in every hierarchy, is there.
void warm_up() {
  (void)condroid::test::launch_and_wait(payload(TempRoot(), {"exit"}));
  if (!may_make_cgroups()) return;
  Spec first = outer(View::writable, Rights::user, "");
  first.process.argv = {"/bin/true"};
  (void)condroid::test::launch_and_wait(first);
}

void check_inside(const Spec& spec) {
  warm_up();
  const Surroundings before = Surroundings::quiet();
  {
    Container box = launch(spec);
    const Exit e = wait(box);
    INFO(to_string(e) << "\n" << e.out << "\n" << e.err);
    CHECK(e.success());
    CHECK(e.out.find("All tests passed") != std::string::npos);
    CHECK(e.cleanup_errors.empty());
    CHECK(own_cgroups().empty());
  }
  CHECK(Surroundings::settled(before) == before);
}

}  // namespace

TEST_CASE("condroid works in a container of its own", "[launch][.root][.userns]") {
  const View view = GENERATE(View::none, View::read_only, View::writable);
  const Rights rights = GENERATE(Rights::user, Rights::user_root, Rights::machine_root);
  if (rights == Rights::machine_root && !privileged()) return;
  CAPTURE(static_cast<int>(view), static_cast<int>(rights));
  const bool limits = view == View::writable && may_make_cgroups();
  // Root of a namespace with one group in it may not even say that it has no others.
  const bool stuck = alone() && rights == Rights::user_root;
  check_inside(outer(view, rights, stuck ? "refused" : limits ? "limits" : "no limits"));
}

TEST_CASE("what a nested host leaves behind ends with its container", "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const Spec spec = outer(View::writable, Rights::user_root, "abandon");
  warm_up();
  const Surroundings before = Surroundings::quiet();
  {
    Container box = launch(spec);
    const Exit e = wait(box);
    INFO(to_string(e) << "\n" << e.out << "\n" << e.err);
    CHECK(e.code == 42);
    CHECK(e.cleanup_errors.empty());
    CHECK(own_cgroups().empty());
  }
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("without the token for it a container inside is refused in one line",
          "[launch][.root][.userns]") {
  const View view = GENERATE(View::none, View::read_only);
  // Who may unmount the masks is not held up by them.
  const Rights rights = GENERATE(Rights::user, Rights::user_root);
  CAPTURE(static_cast<int>(view), static_cast<int>(rights));
  Spec spec = outer(view, rights, rights == Rights::user || alone() ? "refused" : "no limits");
  spec.security.allow -= Allow::nesting;
  check_inside(spec);
}

// ---- its part ----------------------------------------------------------------------------------

TEST_CASE("inside: containers are launched", "[.inside]") {
  REQUIRE_FALSE(asked().empty());
  const TempRoot root;
  if (asked() == "refused") {
    // The filter of system calls leaves no way to a user namespace, for who needs one.
    const auto opened = Runtime::open({.state_dir = root.host("state")});
    if (!opened) {
      const std::string text = to_string(opened.error());
      INFO(text);
      CHECK(opened.error().step == Step::start_zygote);
      CHECK(opened.error().is_errno(ENOSYS));
      CHECK(text.find("Allow::nesting") != std::string::npos);
      CHECK(text.find('\n') == std::string::npos);
      return;
    }
    const Surroundings before = Surroundings::quiet();
    const Failure failed = attempt(payload(root, {"exit"}));
    REQUIRE(failed.error);
    const std::string text = to_string(*failed.error);
    INFO(text);
    CHECK((failed.error->step == Step::mount || failed.error->step == Step::set_groups));
    CHECK(failed.error->is_errno(EPERM));
    CHECK_FALSE(failed.error->hint.empty());
    CHECK(text.find('\n') == std::string::npos);
    CHECK(Surroundings::settled(before) == before);
    return;
  }
  const bool limits = asked() == "limits" || asked() == "abandon";
  if (limits)
    for (const CgroupHierarchy& h : facts().cgroups) {
      // A v2 cgroup that gives controllers to others takes no process itself: we make room.
      if (!h.v2 || h.controllers.empty()) continue;
      REQUIRE(::mkdir((h.mount_point + "/self").c_str(), 0755) == 0);
      for (std::istringstream list(read_file(h.mount_point + "/cgroup.procs")); list;) {
        std::string pid;
        if (list >> pid)
          condroid::test::write_text((h.mount_point + "/self/cgroup.procs").c_str(), pid);
      }
    }
  const Spec limited = with_limits(payload(root, {"forks", "20"}));
  if (asked() == "abandon") {
    Spec abandoned = limited;
    abandoned.process.argv = {"/bin/payload", "pause"};
    const Container box = launch(abandoned);
    REQUIRE_FALSE(own_cgroups().empty());
    ::_exit(42);
  }

  const Report plain = run(payload(root, {"probe"}));  // the Runtime's first
  CHECK(plain["hostname"] == "test");
  CHECK(plain["pid"] == "1");
  if (limits) (void)run(limited);
  const Surroundings before = Surroundings::quiet();
  CHECK(run(payload(root, {"probe"}))["path./proc/keys"].starts_with("null"));

  Spec rich = payload(root, {"say", "5"});
  rich.root.ephemeral = true;
  rich.process.stdio = Stdio::pty;
  rich.terminal.ttys = 2;
  {
    Container box = launch(rich);
    CHECK(wait(box).success());
    CHECK(box.console_output() == "01234");
  }

  if (limits) {
    CHECK(run(limited)["forks"] == "5");
    Spec lasting = limited;
    lasting.process.argv = {"/bin/payload", "pause"};
    Container box = launch(lasting);
    const CgroupHierarchy* pids = hierarchy_of("pids");
    const CgroupHierarchy* memory = hierarchy_of("memory");
    REQUIRE((pids != nullptr && memory != nullptr));
    const auto groups = own_cgroups();
    CHECK(groups.size() == (pids == memory ? 1 : 2));
    for (const std::string& dir : groups) {
      INFO(dir);
      // Its only process is the one that we know.
      CHECK(read_file(dir + "/cgroup.procs") == fmt::format("{}\n", box.pid().value));
      if (dir.starts_with(pids->mount_point + "/")) CHECK(read_file(dir + "/pids.max") == "6\n");
    }
    REQUIRE(box.kill());
    CHECK(wait(box).cleanup_errors.empty());
  } else {
    const Failure failed = attempt(limited);
    CHECK_THAT(failed, FailsWith(Errc::unsupported, Step::compile, "resources.memory_max"));
    CHECK_THAT(failed, FailsWith(Errc::unsupported, Step::compile, "resources.pids_max"));
    if (failed.error) CHECK_FALSE(failed.error->hint.empty());
  }
  CHECK(own_cgroups().empty());
  CHECK(Surroundings::settled(before) == before);
}
