// What attaching will do, for any machine.
#include "condroid/plan/attach.hpp"

#include <algorithm>
#include <string>

#include "catch.hpp"
#include "facts.hpp"
#include "sys_matchers.hpp"

using condroid::Attach;
using condroid::AttachCgroup;
using condroid::AttachTarget;
using condroid::Errc;
using condroid::HostFacts;
using condroid::Namespace;
using condroid::Plan;
using condroid::Spec;
using condroid::Stdio;
using condroid::test::need;

namespace {

AttachTarget target() {
  AttachTarget t{.name = "box", .pid = {4711}, .pidfd = {9}, .launched_here = true};
  t.inside.namespaces = Spec::default_namespaces;
  t.inside.capabilities = {condroid::Capability::chown};
  t.inside.env = {"TERM=linux", "HOME=/"};
  return t;
}

/// The text of the steps, without the first columns.
std::string steps(const Plan& plan) {
  std::string text;
  for (const auto& o : plan.ops) {
    text += condroid::to_string(condroid::step_of(o));
    const std::string what = condroid::describe(o);
    if (!what.empty()) text += ": " + what;
    text += '\n';
  }
  return text;
}

}  // namespace

TEST_CASE("what is attached shares the container's cores, when those are its own", "[plan]") {
  const HostFacts facts = condroid::test::root_on_hybrid();
  AttachTarget t = target();
  CHECK(steps(need(compile(Attach{}, t, facts))).find("set scheduling") == std::string::npos);
  t.own_cores = true;
  CHECK(steps(need(compile(Attach{}, t, facts)))
            .find("set scheduling: cores shared with process 1\n") != std::string::npos);
  // Without its pid namespace by the number that everybody else sees.
  Attach outside{.namespaces = Namespace::net | Namespace::uts};
  CHECK(steps(need(compile(outside, t, facts)))
            .find("set scheduling: cores shared with process 4711\n") != std::string::npos);
  Attach own{.process = {.argv = {"/bin/sh"}, .scheduling = {.core = true}}};
  CHECK(steps(need(compile(own, t, facts))).find("cores shared") == std::string::npos);
}

TEST_CASE("attaching joins at once, and does to the process what a launch does", "[plan]") {
  Attach what{.process = {.argv = {"/bin/sh"}, .env = {"HOME=/root"}, .stdio = Stdio::null}};
  const Plan plan = need(compile(what, target(), condroid::test::root_on_hybrid()));
  CHECK(steps(plan) ==
        "open descriptor: stdin: /dev/null\n"
        "open descriptor: stdout: /dev/null\n"
        "open descriptor: stderr: /dev/null\n"
        "join namespace: mount pid uts ipc net cgroup of process 4711, joined before the clone\n"
        "clone: a process\n"
        "arm death signal: SIGKILL when the zygote dies\n"
        "join keyring: new and empty\n"
        "new session: without a terminal\n"
        "set stdio: descriptors 0 1 2; all others closed\n"
        "change directory: '/'\n"
        "set ids: uid 0, gid 0, capabilities chown\n"
        "set no_new_privs: no set-id, no file capabilities\n"
        "exec: '/bin/sh'\n");
}

TEST_CASE("an attached process is put where the container's processes are", "[plan]") {
  AttachTarget box = target();
  const HostFacts facts = condroid::test::root_on_hybrid();
  for (std::size_t i = 0; i < facts.cgroups.size(); ++i)
    box.groups.push_back({.hierarchy = i, .path = facts.cgroups[i].mount_point + "/box"});
  Attach what;
  const std::string text = steps(need(compile(what, box, facts)));
  CHECK(text.find("clone: a process, into its cgroup\n") != std::string::npos);
  std::size_t v1 = 0;
  for (const auto& h : facts.cgroups) v1 += h.v2 ? 0 : 1;
  std::size_t entered = 0;
  for (std::size_t at = text.find("enter cgroup: in "); at != std::string::npos;
       at = text.find("enter cgroup: in ", at + 1))
    ++entered;
  CHECK(entered == v1);
  what.cgroup = AttachCgroup::own;
  CHECK(steps(need(compile(what, box, facts))).find("cgroup: ") == std::string::npos);
}

TEST_CASE("a plan to attach says all that is wrong with it at once", "[plan]") {
  Attach what;
  what.process.argv = {};
  what.process.init = true;
  what.namespaces = condroid::Flags<Namespace>(Namespace::time);
  what.process.stdio = Stdio::pty;
  what.cgroup = AttachCgroup::below;
  const auto plan = compile(what, target(), condroid::test::root_on_v2());
  REQUIRE_FALSE(plan);
  CHECK(plan.error().is(Errc::bad_spec));
  CHECK(plan.error().also.size() == 4);
}

TEST_CASE("an attached process has the container's rules and label", "[plan]") {
  using namespace condroid::literals;
  AttachTarget box = target();
  box.inside.landlock.permit(condroid::landlock::run, "/usr"_guest);
  box.inside.apparmor = "box";
  HostFacts facts = condroid::test::root_on_v2();
  Attach what;
  CHECK(steps(need(compile(what, box, facts)))
            .find("set label: AppArmor profile 'box'\n"
                  "join keyring: new and empty\n") != std::string::npos);
  CHECK(steps(need(compile(what, box, facts)))
            .find("set no_new_privs: no set-id, no file "
                  "capabilities\n"
                  "apply landlock: paths: 1\n"
                  "exec: ") != std::string::npos);
  SECTION("or others") {
    what.landlock = condroid::Landlock{};
    what.lsm_label = false;
    const std::string text = steps(need(compile(what, box, facts)));
    CHECK(text.find("landlock") == std::string::npos);
    CHECK(text.find("label") == std::string::npos);
  }
  SECTION("but not where its paths mean other files") {
    what.namespaces = box.inside.namespaces - condroid::Flags<Namespace>(Namespace::mount);
    const auto plan = compile(what, box, facts);
    REQUIRE_FALSE(plan);
    CHECK(to_string(plan.error()).find("rules of Landlock name files") != std::string::npos);
    what.landlock = condroid::Landlock{}.permit(condroid::landlock::run, "/usr"_guest);
    CHECK(compile(what, box, facts).has_value());
    what.landlock.reset();
    box.inside.landlock = {.tcp = condroid::LandlockTcp::bind};
    CHECK(compile(what, box, facts).has_value());
  }
  SECTION("or what the first process has") {
    box.inside.apparmor.clear();
    box.lsm_label = "somebodys";
    CHECK(steps(need(compile(what, box, facts))).find("AppArmor profile 'somebodys'") !=
          std::string::npos);
    facts.apparmor = false;
    facts.selinux = true;
    CHECK(steps(need(compile(what, box, facts))).find("SELinux context 'somebodys'") !=
          std::string::npos);
  }
}
