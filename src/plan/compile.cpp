
#include <algorithm>
#include <utility>

#include "condroid/plan.hpp"
#include "formatted.hpp"
#include "plan/draft.hpp"
#include "plan/shape.hpp"

namespace condroid::inline v0 {

namespace detail {
namespace {

// A program has room for 65536 instructions; nobody means more than this.
constexpr std::size_t most_ops = 10000;

void clone(Draft& d) {
  Flags<Namespace>
      with_clone;  // the others are unshared by the child, in parallel with other launches
  for (const Namespace n : {Namespace::pid, Namespace::user})
    if (d.shape.own(n)) with_clone |= n;
  bool into_cgroup = false;
  for (const Group& g : d.shape.groups)
    into_cgroup = into_cgroup || d.facts.cgroups[g.hierarchy].v2;
  d.add(op::Clone{.namespaces = with_clone, .into_cgroup = into_cgroup});
}

void enter_namespaces(Draft& d, const std::vector<std::pair<Namespace, op::Slot>>& joins) {
  for (const auto& [kind, slot] : joins) d.add(op::JoinNamespace{.kind = kind, .ns = slot});
  // The time namespace is made with its offsets: after clone3(2) they are frozen.
  const Flags<Namespace> rest =
      d.shape.fresh - (Namespace::pid | Namespace::user | Namespace::time);
  if (!rest.empty()) d.add(op::Unshare{.namespaces = rest});
}

void become_root(Draft& d) {
  if (!d.shape.ids.inside()) return;
  d.add(op::BecomeRoot{.uid = d.shape.ids.first_uid,
                       .gid = d.shape.ids.first_gid,
                       .set_groups = d.shape.ids.set_groups,
                       .groups_may_stay = d.shape.ids.joined});
}

/// A mount that was private once receives nothing any more.
bool wants_slaves(const Spec& spec) {
  return spec.root.propagation == Propagation::slave ||
         std::ranges::any_of(spec.mounts, [](const Mount& m) {
           const auto* bind = std::get_if<Bind>(&m);
           return bind != nullptr && bind->propagation == Propagation::slave;
         });
}

void apply_settings(Draft& d) {
  const Spec& s = d.spec;
  if (d.shape.proc_early) {
    d.proc = d.slot();
    op::MountOp m = procfs(d, MountFlag::nosuid | MountFlag::nodev | MountFlag::noexec);
    m.place = op::MountOp::nowhere;
    m.to = d.proc;
    d.add(std::move(m));
  }
  if (d.shape.own(Namespace::net) && s.network.loopback_up) d.add(op::RaiseLoopback{});
  configure_interfaces(d);
  if (d.shape.own(Namespace::uts)) {
    d.add(op::SetHostname{.name = s.hostname.empty() ? s.name : s.hostname});
    if (!s.domainname.empty()) d.add(op::SetHostname{.name = s.domainname, .domain = true});
  }
  if (d.shape.own(Namespace::time))
    d.add(op::SetTimeOffsets{.offsets = s.time, .proc = d.proc, .dumpable = d.shape.ids.own});
  for (const Sysctl& setting : s.security.sysctls) {
    std::string path = "sys/" + setting.name;
    for (char& c : path)
      if (c == '.' && setting.name.find('/') == std::string::npos) c = '/';
    d.add(op::WriteSetting{.proc = d.proc, .path = std::move(path), .value = setting.value});
  }
  const auto own_file = [&](std::string_view name, std::string value) {
    d.add(op::WriteSetting{.proc = d.proc,
                           .path = formatted("self/{}", name),
                           .value = std::move(value),
                           .dumpable = d.shape.ids.own});
  };
  if (s.process.oom_score_adj) own_file("oom_score_adj", formatted("{}", *s.process.oom_score_adj));
  for (const ProcFile& file : s.process.proc_files) own_file(file.name, file.value);
  set_labels(d);
}

}  // namespace

void describe_host_side(Draft& d) {
  const Spec& spec = d.spec;
  d.plan.name = spec.name;
  d.plan.stdio = spec.process.stdio;
  d.plan.capture_limit = spec.process.capture_limit;
  d.plan.terminal = spec.terminal;
  d.plan.terminal.console = d.shape.console;
  d.plan.init = spec.process.init;
  d.plan.inside = {.namespaces = d.shape.fresh | d.shape.joined,
                   .root_uid = d.shape.ids.first_uid,
                   .root_gid = d.shape.ids.first_gid,
                   .env = spec.process.env,
                   .capabilities = spec.security.capabilities,
                   .ambient = spec.security.ambient,
                   .sets = spec.security.sets,
                   .securebits = spec.security.securebits,
                   .no_new_privs = spec.security.no_new_privs,
                   .landlock = spec.security.landlock,
                   .apparmor = spec.security.apparmor,
                   .selinux = spec.security.selinux};
  for (const Group& g : d.shape.groups)
    if (g.devices) d.plan.inside.devices = g.devices;
  d.plan.lifecycle = spec.lifecycle;
}

void set_up_container(Draft& d, bool parked) {
  describe_host_side(d);
  if (!d.shape.ids.note.empty()) d.note(d.shape.ids.note);
  for (const LeftOut& l : d.shape.left_out) d.note(formatted("{} is left out: {}", l.field, l.why));
  d.plan.left_out = d.shape.left_out;
  d.plan.hooks_root = d.spec.hooks.root_at;
  begin_hooks(d);
  const auto joins = open_host_side(d, parked);
  clone(d);
  d.add(op::ArmDeathSignal{.dumpable = d.shape.ids.own && !d.facts.privileged()});
  for (const auto& [tasks, mount_point] : d.tasks)
    d.add(op::EnterCgroup{.tasks = tasks, .mount_point = mount_point});
  enter_namespaces(d, joins);
  configure_from_host(d);
  become_root(d);
  if (d.shape.own_root()) d.add(op::ContainPropagation{.slave = wants_slaves(d.spec)});
  apply_settings(d);
  if (d.shape.own_root()) {
    run_hooks_inside(d, HookPoint::pre_mount);
    make_root(d);
    make_mounts(d);
    run_hooks_inside(d, HookPoint::mount);
    run_hooks_inside(d, HookPoint::autodev);
    open_terminals(d);
    hide_kernel(d);
    make_kernel_files(d);
    set_boot_id(d);
    finish_root(d);
  }
  label_mounts(d);
  settle_ahead(d);
}

void check_room(const Draft& d) {
  if (d.next_slot > op::slot_count)
    d.refusals.bad("spec",
                   formatted("needs {} descriptors during the launch; at most {} can be had",
                             d.next_slot, op::slot_count),
                   "use fewer mounts, terminals and descriptors");
  if (d.plan.ops.size() > most_ops)
    d.refusals.bad("spec",
                   formatted("takes {} steps; at most {} are allowed", d.plan.ops.size(), most_ops),
                   "use fewer mounts and settings");
}

}  // namespace detail

Result<Plan> compile(const Spec& spec, const HostFacts& facts) {
  using namespace detail;
  Refusals refusals;
  const Shape shape = decide(spec, facts, refusals);
  validate(spec, facts, shape, refusals);
  if (!refusals.empty()) return fail(refusals.take());

  Draft d{.spec = spec, .facts = facts, .shape = shape, .refusals = refusals};
  set_up_container(d, false);
  settle_process(d);
  note_later_hooks(d);
  check_room(d);
  if (!refusals.empty()) return fail(refusals.take());
  return std::move(d.plan);
}

}  // namespace condroid::inline v0
