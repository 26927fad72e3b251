// What is true of every plan, whatever the Spec and the machine.
#include "condroid/plan.hpp"
#include "condroid/plan/take.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../spec/sample_specs.hpp"
#include "catch.hpp"
#include "facts.hpp"
#include "plan/paths.hpp"
#include "program/encode.hpp"
#include "program/format.hpp"

namespace {

using namespace condroid;
using namespace condroid::literals;

/// Changes that make sense, alone and together.
const std::vector<std::function<void(Spec&)>>& changes() {
  static const std::vector<std::function<void(Spec&)>> list = {
      [](Spec& s) { s.root.path = "/srv/root"_host; },
      [](Spec& s) { s.root.read_only = true; },
      [](Spec& s) { s.root.ephemeral = true; },
      [](Spec& s) { s.root.idmapped = true; },
      [](Spec& s) { s.root.propagation = Propagation::shared; },
      [](Spec& s) { s.idmap.kind = IdMap::subids; },
      [](Spec& s) { s.idmap.kind = IdMap::single; },
      [](Spec& s) { s.namespaces |= Namespace::time; },
      [](Spec& s) { s.time.monotonic = std::chrono::seconds(5); },
      [](Spec& s) { s.namespaces -= Namespace::net; },
      [](Spec& s) { s.namespaces -= Namespace::pid; },
      [](Spec& s) { s.namespaces -= Namespace::ipc; },
      [](Spec& s) { s.namespaces -= Namespace::cgroup; },
      [](Spec& s) { s.namespaces -= Namespace::mount; },
      [](Spec& s) {
        s.join.push_back({Namespace::net, "/run/netns/x"_host});
      },
      [](Spec& s) {
        s.join.push_back({Namespace::pid, Pid{77}});
      },
      [](Spec& s) {
        s.join.push_back({Namespace::user, HostFd{9}});
      },
      [](Spec& s) {
        s.join.push_back({Namespace::ipc, Pid{77}});
      },
      [](Spec& s) { s.process.stdio = Stdio::pty; },
      [](Spec& s) { s.process.stdio = Stdio(Stream::null, Stream::capture, HostFd{5}); },
      [](Spec& s) { s.process.init = true; },
      [](Spec& s) { s.process.cwd = "/work"_guest; },
      [](Spec& s) { s.process.oom_score_adj = 500; },
      [](Spec& s) {
        s.process.rlimits = {{Rlimit::core, 0, 0}};
      },
      [](Spec& s) { s.process.scheduling.nice = 5; },
      [](Spec& s) {
        s.process.descriptors = {{.host = {7}, .number = 5}, {.host = {7}, .number = 3}};
      },
      [](Spec& s) {
        s.process.argv = {"sh", "-c", "a\nb\x1b"};
      },
      [](Spec& s) {
        s.process.env = {"PATH=/bin::/bin:/sbin/", "A=\n"};
      },
      [](Spec& s) { s.process.umask = Mode{077}; },
      [](Spec& s) { s.terminal.ttys = 4; },
      [](Spec& s) { s.terminal.tty_dir = "lxc"; },
      [](Spec& s) { s.devices.populate = false; },
      [](Spec& s) { s.devices.nodes = {{.name = "net/tun", .major = 10, .minor = 200}}; },
      [](Spec& s) { s.default_mounts = false; },
      [](Spec& s) { s.resources.memory_max = 64_MiB; },
      [](Spec& s) { s.resources.pids_max = 5; },
      [](Spec& s) {
        s.resources.settings = {{"cgroup.max.depth", "3", true}};
      },
      [](Spec& s) { s.resources.cgroup = CgroupMode::always; },
      [](Spec& s) { s.resources.cgroup = CgroupMode::everywhere; },
      [](Spec& s) { s.security.capabilities = CapabilitySet::all(); },
      [](Spec& s) {
        s.security.sysctls = {{"net.ipv4.ip_forward", "1"}};
      },
      [](Spec& s) { s.mounts.push_back(Tmpfs{.target = "/var/lib/data/deep"_guest}); },
      [](Spec& s) { s.mounts.push_back(Bind{.source = "/a"_host, .target = "/var"_guest}); },
      [](Spec& s) { s.mounts.push_back(Bind{.source = "/b"_host, .target = "/var-x/y"_guest}); },
      [](Spec& s) { s.mounts.push_back(Bind{.source_fd = {8}, .target = "//var//lib/"_guest}); },
      [](Spec& s) {
        s.mounts.push_back(Bind{.source = "/c"_host, .target = "/c"_guest, .idmapped = true});
      },
      [](Spec& s) { s.security.landlock.permit(landlock::run, "/usr"_guest).best_effort = true; },
      [](Spec& s) { s.mounts.push_back(Devpts{.max = 80}); },
      [](Spec& s) { s.mounts.push_back(Devpts{.target = "/pts"_guest, .ptmx = "/x"_guest}); },
      [](Spec& s) { s.mounts.push_back(Proc{}); },
      [](Spec& s) { s.mounts.push_back(Sysfs{}); },
      [](Spec& s) { s.mounts.push_back(CgroupMount{}); },
      [](Spec& s) { s.mounts.push_back(CgroupMount{.flags = MountFlag::nosuid}); },
      [](Spec& s) { s.mounts.push_back(Tmpfs{.target = "/dev"_guest}); },
      [](Spec& s) {
        s.mounts.push_back(
            Overlay{.target = "/o"_guest, .lower = {"/l1"_host, "/l:2"_host}, .ephemeral = true});
      },
      [](Spec& s) {
        s.mounts.push_back(Overlay{
            .target = "/o"_guest, .lower = {"/l1"_host}, .upper = "/u"_host, .work = "/w"_host});
      },
  };
  return list;
}

/// With every token but the one that changes what is mounted.
Spec open_spec() {
  Spec s;
  for (const auto& [token, name] : EnumNames<Allow>::table)
    if (token != Allow::nesting) s.security.allow |= token;
  return s;
}

/// Some of the changes together.
Spec variation(samples::Random& random) {
  Spec s = open_spec();
  for (std::uint64_t n = random.below(7); n > 0; --n) changes()[random.below(changes().size())](s);
  return s;
}

struct Case {
  std::string what;
  std::string text;  ///< For whoever reads of a failure: the Spec and its plan.
  Spec spec;
  const HostFacts& facts;
  Plan plan;
};

/// Checks a property of many plans.
void for_plans(const std::function<void(const Case&)>& property) {
  static const auto hosts = test::all_hosts();
  static const auto cases = [] {
    std::vector<Case> list;
    const auto add = [&](std::string what, const Spec& spec) {
      for (const auto& host : hosts)
        if (auto plan = compile(spec, host.facts))
          list.push_back({fmt::format("{} on {}", what, host.name),
                          print_spec(spec) + to_string(*plan), spec, host.facts, *plan});
    };
    add("default", Spec{});
    for (std::size_t i = 0; i < changes().size(); ++i) {
      Spec s = open_spec();
      changes()[i](s);
      add(fmt::format("change {}", i), s);
    }
    for (std::uint64_t seed = 0; seed < 120; ++seed) {
      samples::Random random(seed);
      add(fmt::format("seed {}", seed), variation(random));
    }
    return list;
  }();
  REQUIRE(cases.size() > 300);
  for (const Case& c : cases) {
    INFO(c.what << "\n" << c.text);
    property(c);
  }
}

/// The registers that an op needs, and those that it fills.
struct Slots {
  std::vector<op::Slot> uses = {}, fills = {};
};

struct SlotsOf {
  Slots operator()(const op::CreateCgroup& o) const { return {{}, some({o.tasks})}; }
  Slots operator()(const op::WriteCgroup&) const { return {}; }
  Slots operator()(const op::FilterDevices&) const { return {}; }
  Slots operator()(const op::OpenCgroup& o) const { return {{}, some({o.tasks})}; }
  Slots operator()(const op::EnterProcess&) const { return {}; }
  Slots operator()(const op::EnterRoot& o) const { return {{o.root}, {}}; }
  Slots operator()(const op::OpenInside& o) const { return {some({o.base}), {o.to}}; }
  Slots operator()(const op::RemoveEntry& o) const { return {{o.base}, {}}; }
  Slots operator()(const op::OpenSockets&) const { return {}; }
  Slots operator()(const op::End&) const { return {}; }
  Slots operator()(const op::OpenDescriptor& o) const {
    return {{}, o.before_clone ? some({o.to}) : all({o.to})};
  }
  Slots operator()(const op::PinRootfs&) const { return {}; }
  Slots operator()(const op::WriteIdMap&) const { return {}; }
  // What the host makes behind a barrier comes with its answer: Sync has the register.
  Slots operator()(const op::IdmapTree& o) const { return {{o.to}, {}}; }
  Slots operator()(const op::MountImage& o) const { return {{o.to}, {}}; }
  Slots operator()(const op::OverlayTrees& o) const {
    Slots s;
    for (const auto& layer : o.layers) s.uses.push_back(layer.to);
    return s;
  }
  Slots operator()(const op::Clone&) const { return {}; }
  Slots operator()(const op::ArmDeathSignal&) const { return {}; }
  Slots operator()(const op::EnterCgroup& o) const { return {{o.tasks}, {}}; }
  Slots operator()(const op::Unshare&) const { return {}; }
  Slots operator()(const op::JoinNamespace& o) const { return {{o.ns}, {}}; }
  Slots operator()(const op::SetTimeOffsets& o) const { return {{o.proc}, {}}; }
  Slots operator()(const op::Sync& o) const { return {{}, o.receives}; }
  Slots operator()(const op::BecomeRoot&) const { return {}; }
  Slots operator()(const op::ContainPropagation&) const { return {}; }
  Slots operator()(const op::MountOp& o) const {
    Slots s{some({o.cwd}), some({o.to})};
    if (o.source == op::MountOp::slot) s.uses.push_back(o.from);
    if (o.place == op::MountOp::at_target) s.uses.push_back(o.base);
    if (o.place != op::MountOp::at_target) s.fills = {o.to};  // or it would be lost
    return s;
  }
  Slots operator()(const op::MakeEntry& o) const { return {{o.base}, {}}; }
  Slots operator()(const op::MakeNode& o) const { return {{o.base}, {}}; }
  Slots operator()(const op::OpenPty& o) const {
    return {some({o.devpts, o.dev}), some({o.slave})};
  }
  Slots operator()(const op::SendPtys& o) const { return {some({o.devpts}), {}}; }
  Slots operator()(const op::MaskPath& o) const {
    Slots s{some({o.null}), {}};
    s.uses.push_back(o.base);
    return s;
  }
  Slots operator()(const op::ProtectPath& o) const { return {{o.base}, {}}; }
  Slots operator()(const op::SetMountFlags& o) const { return {{o.mount}, {}}; }
  Slots operator()(const op::PivotRoot& o) const { return {{o.root}, {}}; }
  Slots operator()(const op::SetHostname&) const { return {}; }
  Slots operator()(const op::RaiseLoopback&) const { return {}; }
  Slots operator()(const op::CreateInterface&) const { return {}; }
  Slots operator()(const op::LeaseAddress&) const { return {}; }
  Slots operator()(const op::PublishPorts&) const { return {}; }
  Slots operator()(const op::AskUserNic&) const { return {}; }
  Slots operator()(const op::StartPasta&) const { return {}; }
  Slots operator()(const op::ConfigureInterface& o) const { return {some({o.proc}), {}}; }
  Slots operator()(const op::AwaitInterface&) const { return {}; }
  Slots operator()(const op::WriteSetting& o) const { return {{o.proc}, {}}; }
  Slots operator()(const op::SetRlimit&) const { return {}; }
  Slots operator()(const op::SetScheduling&) const { return {}; }
  Slots operator()(const op::SetPersonality&) const { return {}; }
  Slots operator()(const op::SetUmask&) const { return {}; }
  Slots operator()(const op::JoinKeyring&) const { return {}; }
  Slots operator()(const op::NewSession& o) const { return {some({o.terminal}), {}}; }
  Slots operator()(const op::PlaceDescriptors& o) const {
    Slots s;
    for (const auto& e : o.entries) s.uses.push_back(e.from);
    return s;
  }
  Slots operator()(const op::ChangeDirectory&) const { return {}; }
  Slots operator()(const op::SetCredentials&) const { return {}; }
  Slots operator()(const op::NoNewPrivs&) const { return {}; }
  Slots operator()(const op::LoadSeccomp&) const { return {}; }
  Slots operator()(const op::ApplyLandlock&) const { return {}; }
  Slots operator()(const op::LoadProfile&) const { return {}; }
  Slots operator()(const op::RunHook&) const { return {}; }
  Slots operator()(const op::KeepNamespaces&) const { return {}; }
  Slots operator()(const op::OpenHookOutput& o) const { return {{}, {o.to}}; }
  Slots operator()(const op::RunHookInside& o) const { return {{o.output}, {}}; }
  Slots operator()(const op::SetLabel& o) const { return {{o.proc}, {}}; }
  Slots operator()(const op::StartInit&) const { return {}; }
  Slots operator()(const op::Park&) const { return {}; }
  Slots operator()(const op::Exec&) const { return {}; }

 private:
  static std::vector<op::Slot> all(std::vector<op::Slot> list) { return list; }
  /// Those that there are.
  static std::vector<op::Slot> some(std::vector<op::Slot> list) {
    std::erase_if(list, [](op::Slot s) { return !s.valid(); });
    return list;
  }
};

template <class O>
std::vector<const O*> all_of(const Plan& plan) {
  std::vector<const O*> list;
  for (const Op& o : plan.ops)
    if (const auto* x = std::get_if<O>(&o)) list.push_back(x);
  return list;
}

template <class O>
std::size_t index_of(const Plan& plan) {
  for (std::size_t i = 0; i < plan.ops.size(); ++i)
    if (std::holds_alternative<O>(plan.ops[i])) return i;
  return plan.ops.size();
}

}  // namespace

TEST_CASE("the same Spec on the same machine gives the same plan", "[plan]") {
  for_plans([](const Case& c) {
    const auto again = compile(c.spec, c.facts);
    REQUIRE(again);
    CHECK((*again == c.plan));
    CHECK(to_string(*again) == to_string(c.plan));
    const auto stored = parse_spec(print_spec(c.spec));
    REQUIRE(stored);
    const auto from_text = compile(*stored, c.facts);
    REQUIRE(from_text);
    CHECK((*from_text == c.plan));
  });
}

TEST_CASE("what an op uses was made by an earlier one", "[plan]") {
  for_plans([](const Case& c) {
    std::set<op::Slot> filled;
    for (const Op& o : c.plan.ops) {
      INFO(describe(o));
      const Slots slots = std::visit(SlotsOf{}, o);
      for (const op::Slot s : slots.uses) {
        CHECK(s.valid());
        CHECK(filled.contains(s));
      }
      for (const op::Slot s : slots.fills) {
        CHECK(s.valid());
        CHECK(s.number < op::slot_count);
        CHECK(filled.insert(s).second);
      }
    }
  });
}

TEST_CASE("a container that is parked and taken goes through what a launched one does", "[plan]") {
  std::size_t compared = 0;
  for_plans([&](const Case& c) {
    const auto parked = compile_parked(c.spec, c.facts);
    if (!parked) {
      const std::string why = to_string(parked.error());
      CHECK((why.find("a pool has several containers") != std::string::npos ||
             why.find("a container of a pool runs once") != std::string::npos));
      return;
    }
    CHECK(std::holds_alternative<op::Park>(parked->plan.ops.back()));
    CHECK(all_of<op::Exec>(parked->plan).empty());
    CHECK(all_of<op::SetCredentials>(parked->plan).empty());
    const auto taken = compile_take(c.spec, {}, *parked, c.facts);
    REQUIRE(taken);
    // Further descriptors are opened later, so that registers have other numbers then.
    if (!c.spec.process.descriptors.empty()) return;
    const auto by_child = [](const Plan& p) {
      std::vector<std::string> list;
      for (const Op& o : p.ops)
        if (actor_of(o) == op::Actor::child && !std::holds_alternative<op::Park>(o))
          list.push_back(fmt::format("{} {}", to_string(step_of(o)), describe(o)));
      return list;
    };
    CHECK(by_child(*taken) == by_child(c.plan));
    CHECK(taken->inside == c.plan.inside);
    CHECK(taken->stdio == c.plan.stdio);
    ++compared;
  });
  CHECK(compared > 10);
}

TEST_CASE("a plan has one clone, and ends with exec", "[plan]") {
  for_plans([](const Case& c) {
    const Plan& p = c.plan;
    REQUIRE(all_of<op::Clone>(p).size() == 1);
    REQUIRE(all_of<op::Exec>(p).size() == 1);
    CHECK(std::holds_alternative<op::Exec>(p.ops.back()));
    const std::size_t clone = index_of<op::Clone>(p);
    for (std::size_t i = 0; i < p.ops.size(); ++i) {
      INFO(i);
      if (i < clone) CHECK(actor_of(p.ops[i]) == op::Actor::host);
      // Afterwards the host acts only while the child waits for it.
      if (i > clone && actor_of(p.ops[i]) == op::Actor::host)
        CHECK((actor_of(p.ops[i - 1]) == op::Actor::host ||
               std::holds_alternative<op::Sync>(p.ops[i - 1])));
    }
  });
}

TEST_CASE("rights are given up after all that needs them", "[plan]") {
  for_plans([](const Case& c) {
    const Plan& p = c.plan;
    REQUIRE(all_of<op::SetCredentials>(p).size() == 1);
    const std::size_t credentials = index_of<op::SetCredentials>(p);
    for (std::size_t i = credentials + 1; i < p.ops.size(); ++i)
      CHECK((std::holds_alternative<op::NoNewPrivs>(p.ops[i]) ||
             std::holds_alternative<op::LoadSeccomp>(p.ops[i]) ||
             std::holds_alternative<op::ApplyLandlock>(p.ops[i]) ||
             std::holds_alternative<op::StartInit>(p.ops[i]) ||
             std::holds_alternative<op::NewSession>(p.ops[i]) ||
             std::holds_alternative<op::Exec>(p.ops[i])));
    CHECK(all_of<op::NoNewPrivs>(p).size() == 1);
    if (c.spec.namespaces.has(Namespace::mount)) {
      CHECK(index_of<op::ContainPropagation>(p) < index_of<op::MountOp>(p));
      CHECK(index_of<op::PivotRoot>(p) < credentials);
      for (std::size_t i = index_of<op::PivotRoot>(p); i < p.ops.size(); ++i)
        CHECK_FALSE((std::holds_alternative<op::MountOp>(p.ops[i]) ||
                     std::holds_alternative<op::MaskPath>(p.ops[i])));
      for (const GuestPath& path : default_masked_paths())
        CHECK(std::ranges::any_of(all_of<op::MaskPath>(p),
                                  [&](const auto* m) { return m->path == path.str(); }));
    } else {
      CHECK(all_of<op::MountOp>(p).size() <= 1);  // the procfs for settings, attached to nothing
    }
  });
}

TEST_CASE("everywhere is a cgroup in every hierarchy, with every controller", "[plan]") {
  Spec s;
  s.process.argv = {"true"};
  s.resources.cgroup = CgroupMode::everywhere;
  const auto made = [&](const HostFacts& facts) {
    std::vector<std::string> list;
    const auto plan = compile(s, facts);
    REQUIRE(plan);
    for (const auto* c : all_of<op::CreateCgroup>(*plan)) {
      std::string line = facts.cgroups[c->hierarchy].mount_point;
      if (c->v2)
        for (const std::string& controller : c->wished) line += " " + controller;
      list.push_back(line);
    }
    return list;
  };
  using List = std::vector<std::string>;
  CHECK(made(condroid::test::root_on_v2()) == List{"/sys/fs/cgroup cpu cpuset io memory pids"});
  CHECK(made(condroid::test::root_on_hybrid()) ==
        List{"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpuset", "/sys/fs/cgroup/freezer",
             "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/systemd",
             "/sys/fs/cgroup/unified"});
  SECTION("what this user may not have is left out") {
    HostFacts facts = condroid::test::root_on_hybrid();
    for (auto& h : facts.cgroups) h.writable = h.v2;
    CHECK(made(facts) == List{"/sys/fs/cgroup/unified"});
  }
  SECTION("nothing at all is a refusal") {
    HostFacts facts = condroid::test::root_on_hybrid();
    for (auto& h : facts.cgroups) h.writable = false;
    const auto refused = compile(s, facts);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().subject.find("resources.cgroup") != std::string::npos);
  }
}

TEST_CASE("every cgroup that is made is filled, entered and removed", "[plan]") {
  for_plans([](const Case& c) {
    const Plan& p = c.plan;
    std::set<std::size_t> made;
    bool v2 = false;
    for (const Op& o : p.ops) {
      if (const auto* create = std::get_if<op::CreateCgroup>(&o)) {
        CHECK(made.insert(create->hierarchy).second);
        REQUIRE(create->hierarchy < c.facts.cgroups.size());
        CHECK(c.facts.cgroups[create->hierarchy].v2 == create->v2);
        CHECK(c.facts.cgroups[create->hierarchy].writable);
        CHECK_FALSE(describe_undo(o).empty());
        v2 = v2 || create->v2;
        // Version 1 is entered through its tasks file, version 2 by the clone.
        CHECK(create->tasks.valid() != create->v2);
        if (!create->v2)
          CHECK(std::ranges::any_of(all_of<op::EnterCgroup>(p), [&](const auto* enter) {
            return enter->tasks == create->tasks;
          }));
      }
      if (const auto* write = std::get_if<op::WriteCgroup>(&o))
        CHECK(made.contains(write->hierarchy));
      if (const auto* clone = std::get_if<op::Clone>(&o)) CHECK(clone->into_cgroup == v2);
    }
    CHECK(all_of<op::EnterCgroup>(p).size() + (v2 ? 1 : 0) == made.size());
    if (!c.spec.namespaces.has(Namespace::pid) || !c.spec.join.empty()) return;
    if (c.spec.resources == Resources{} && c.spec.mounts.empty())
      CHECK(made.size() == (p.inside.devices ? 1U : 0U));
  });
}

TEST_CASE("a plan mounts parents before children", "[plan]") {
  for_plans([](const Case& c) {
    // The root itself may consist of mounts; what the Spec mounts comes on top of it.
    const bool host_in_parts = detail::is_host_root(c.spec.root) && c.spec.root.ephemeral;
    std::vector<std::string> targets;
    for (const auto* m : all_of<op::MountOp>(c.plan)) {
      if (m->place != op::MountOp::at_target) continue;
      const bool of_root =
          host_in_parts && (m->what == m->target || m->what.starts_with("overlay"));
      if (of_root) continue;
      // What is stacked on another mount may hide what that one had below it.
      const bool stacked = std::ranges::find(targets, m->target) != targets.end();
      for (const std::string& earlier : targets) {
        if (stacked) break;
        INFO(m->target << " after " << earlier);
        CHECK_FALSE(detail::is_below(m->target, earlier));
      }
      targets.push_back(m->target);
    }
  });
}

TEST_CASE("mounts on one target are stacked in the order of the Spec", "[plan]") {
  Spec s;
  s.root.path = "/srv/root"_host;
  s.mounts = {Bind{.source = "/first"_host, .target = "/x/y"_guest}, Tmpfs{.target = "/x"_guest},
              Bind{.source = "/second"_host, .target = "/x//y/"_guest}};
  const auto plan = compile(s, test::root_on_v2());
  REQUIRE(plan);
  std::vector<std::string> order;
  for (const auto* m : all_of<op::MountOp>(*plan))
    if (m->target.starts_with("/x")) order.push_back(m->what);
  CHECK(order == std::vector<std::string>{"tmpfs", "/first", "/second"});
}

TEST_CASE("standard streams and passed descriptors are placed, each once", "[plan]") {
  for_plans([](const Case& c) {
    const auto places = all_of<op::PlaceDescriptors>(c.plan);
    REQUIRE(places.size() == 1);
    std::vector<int> numbers;
    for (const auto& e : places.front()->entries) numbers.push_back(e.number);
    std::vector<int> expected = {0, 1, 2};
    for (const PassedFd& fd : c.spec.process.descriptors) expected.push_back(fd.number);
    std::ranges::sort(expected);
    CHECK(numbers == expected);
  });
}

TEST_CASE("a plan is printed with one line for each op and note", "[plan]") {
  for_plans([](const Case& c) {
    const std::string text = to_string(c.plan);
    CHECK(static_cast<std::size_t>(std::ranges::count(text, '\n')) ==
          c.plan.ops.size() + c.plan.notes.size());
    CHECK(std::ranges::none_of(
        text, [](char ch) { return (ch >= 0 && ch < ' ' && ch != '\n') || ch == '\x7f'; }));
  });
}

TEST_CASE("the child's half of every plan can be encoded", "[plan]") {
  for_plans([](const Case& c) {
    detail::Encoder encoder;
    for (std::size_t i = 0; i < c.plan.ops.size(); ++i)
      encoder.add(c.plan.ops[i], static_cast<std::uint32_t>(i));
    const auto program = encoder.finish(program::no_op);
    INFO((program ? std::string() : to_string(program.error())));
    CHECK(program.has_value());
  });
}

TEST_CASE("an op is found by its number and by its step", "[plan]") {
  const auto plan = compile(Spec{}, test::root_on_v2());
  REQUIRE(plan);
  for (std::size_t i = 0; i < plan->ops.size(); ++i) {
    CHECK(plan->find(std::to_string(i)) == i);
    const std::string step(to_string(step_of(plan->ops[i])));
    const auto found = plan->find(step);
    REQUIRE(found);
    CHECK(*found <= i);
    CHECK(step_of(plan->ops[*found]) == step_of(plan->ops[i]));
    std::string underscored = step;
    std::ranges::replace(underscored, ' ', '_');
    CHECK(plan->find(underscored) == *found);
  }
  CHECK(plan->find("exec") == plan->ops.size() - 1);
  for (const std::string& wrong :
       {std::string(), std::string("-1"), std::string("1x"), std::string("no such step"),
        std::to_string(plan->ops.size()), std::string("99999999999999999999999")}) {
    const auto found = plan->find(wrong);
    REQUIRE_FALSE(found);
    CHECK(found.error().is(Errc::bad_text));
    CHECK(found.error().hint.find("pivot root") != std::string::npos);
  }
}

TEST_CASE("no Spec makes compile crash, and every refusal names a field", "[plan]") {
  const auto hosts = test::all_hosts();
  const auto look = [&](const Spec& spec, const HostFacts& facts) {
    const auto plan = compile(spec, facts);
    if (plan) {
      CHECK_FALSE(to_string(*plan).empty());
      return;
    }
    CHECK(plan.error().step == Step::compile);
    CHECK((plan.error().is(Errc::bad_spec) || plan.error().is(Errc::unsupported)));
    std::vector<std::string> lines = plan.error().also;
    lines.push_back(plan.error().subject);
    for (const std::string& line : lines) {
      INFO(line);
      const std::size_t colon = line.find(": ");
      REQUIRE(colon != std::string::npos);
      CHECK(line.substr(0, colon).find_first_not_of("abcdefghijklmnopqrstuvwxyz_.[]0123456789") ==
            std::string::npos);
    }
  };
  look(samples::full_spec(), test::root_on_v2());
  look(Spec{}, HostFacts{});
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    INFO("seed " << seed);
    samples::Random random(seed);
    const HostFacts& facts = hosts[random.below(hosts.size())].facts;
    const Spec wild = random.spec();
    look(wild, facts);
    // One wild part in a Spec that otherwise makes sense.
    Spec spec = variation(random);
    switch (random.below(8)) {
      case 0:
        spec.root = wild.root;
        break;
      case 1:
        spec.process = wild.process;
        break;
      case 2:
        spec.terminal = wild.terminal;
        break;
      case 3:
        spec.mounts = wild.mounts;
        break;
      case 4:
        spec.devices = wild.devices;
        break;
      case 5:
        spec.resources = wild.resources;
        break;
      case 6:
        spec.idmap = wild.idmap;
        break;
      default:
        spec.security = wild.security;
        break;
    }
    look(spec, facts);
    // A few bytes of its text changed.
    std::string text = print_spec(variation(random));
    for (int i = 0; i < 3; ++i)
      text[random.below(text.size())] = static_cast<char>(random.below(256));
    if (const auto mutated = parse_spec(text)) look(*mutated, facts);
  }
}

TEST_CASE("a profile of a container's own is loaded before there is a process", "[plan]") {
  Spec spec;
  spec.name = "t";
  spec.root.path = "/srv/root"_host;
  spec.security.own_apparmor = true;
  const auto plan = compile(spec, condroid::test::root_on_v2());
  REQUIRE(plan.has_value());
  const auto loaded = std::ranges::find_if(
      plan->ops, [](const Op& o) { return std::holds_alternative<op::LoadProfile>(o); });
  REQUIRE(loaded != plan->ops.end());
  CHECK(describe(*loaded).starts_with("AppArmor profile of its own, "));
  CHECK(std::get<op::LoadProfile>(*loaded).rules.find("deny \"/proc/kcore{,/**}\"") !=
        std::string::npos);
  const auto is_clone = [](const Op& o) { return std::holds_alternative<op::Clone>(o); };
  CHECK(std::none_of(plan->ops.begin(), loaded, is_clone));
  CHECK(std::ranges::count_if(plan->ops, [](const Op& o) {
          const auto* label = std::get_if<op::SetLabel>(&o);
          return label != nullptr && label->own;
        }) == 1);
}

TEST_CASE("what is made for a container has the context of its mounts", "[plan]") {
  Spec spec;
  spec.name = "t";
  spec.root.path = "/srv/root"_host;
  spec.root.ephemeral = true;
  spec.mounts = {Tmpfs{.target = "/mnt"_guest}};
  spec.security.selinux = "u:r:box_t:s0:c1,c2";
  spec.security.selinux_mount = "u:r:file_t:s0:c1,c2";
  HostFacts facts = condroid::test::root_on_v2();
  facts.selinux = true;
  const auto plan = compile(spec, facts);
  REQUIRE(plan.has_value());
  std::size_t labelled = 0, label = 0;
  for (const Op& o : plan->ops) {
    if (const auto* l = std::get_if<op::SetLabel>(&o))
      label += !l->apparmor && l->label == spec.security.selinux ? 1 : 0;
    const auto* m = std::get_if<op::MountOp>(&o);
    if (m == nullptr) continue;
    const bool has = std::ranges::count(m->options, "context=u:r:file_t:s0:c1,c2") == 1;
    INFO(describe(o));
    CHECK(has == (m->what == "tmpfs" || m->what == "overlay" || m->what == "devpts"));
    labelled += has ? 1 : 0;
  }
  CHECK(label == 1);
  CHECK(labelled >= 4);  // /mnt, /dev, /dev/pts, the root and its upper layer
}
