// What attaching a process to a running container will do.
#include "condroid/plan/attach.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "formatted.hpp"
#include "plan/checks.hpp"
#include "plan/draft.hpp"
#include "plan/shape.hpp"

namespace condroid::inline v0 {

namespace detail {
namespace {

/// A Spec of the process alone, in a container that is there already.
Spec spec_of(const Attach& attach, const AttachTarget& target, const HostFacts& facts) {
  Spec spec;
  spec.name = target.name;
  spec.namespaces = {};
  spec.process = attach.process;
  if (!attach.clear_env) spec.process.env = merged_env(target.inside.env, attach.process.env);
  spec.security.capabilities = attach.capabilities.value_or(target.inside.capabilities);
  spec.security.ambient = attach.ambient.value_or(target.inside.ambient);
  // The container's are parts of the container's capabilities.
  if (!attach.capabilities && !attach.ambient) spec.security.sets = target.inside.sets;
  if (attach.sets) spec.security.sets = *attach.sets;
  spec.security.securebits = attach.securebits.value_or(target.inside.securebits);
  spec.security.no_new_privs = attach.no_new_privs.value_or(target.inside.no_new_privs);
  spec.security.seccomp = attach.seccomp.value_or(target.inside.seccomp);
  spec.security.landlock = attach.landlock.value_or(target.inside.landlock);
  if (attach.lsm_label.value_or(true)) {
    spec.security.apparmor = target.inside.apparmor;
    spec.security.selinux = target.inside.selinux;
    if (!target.lsm_label.empty())
      (facts.apparmor ? spec.security.apparmor : spec.security.selinux) = target.lsm_label;
  }
  spec.security.allow = Allow::all_syscalls;  // who has none joins with none
  spec.terminal.rows = attach.rows;
  spec.terminal.columns = attach.columns;
  return spec;
}

Shape shape_of(const Spec& spec, Flags<Namespace> joined, const AttachTarget& target) {
  Shape shape;
  shape.joined = joined;
  shape.ids.joined = joined.has(Namespace::user);
  shape.ids.first_uid = target.inside.root_uid;
  shape.ids.first_gid = target.inside.root_gid;
  const Stdio& stdio = spec.process.stdio;
  shape.console = stdio.in.kind == Stream::pty || stdio.out.kind == Stream::pty ||
                  stdio.err.kind == Stream::pty;
  return shape;
}

void check(const Attach& attach, const AttachTarget& target, Flags<Namespace> joined,
           const Checks& checks) {
  Refusals& refusals = checks.refusals;
  checks.process();
  checks.seccomp();
  checks.landlock();
  checks.labels();
  if (attach.process.init)
    refusals.bad("process.init", "an attached process is not the first of its pid namespace",
                 "leave it out; the container's own init reaps what is left behind");
  if (!attach.process.proc_files.empty())
    refusals.bad("process.proc_files", "are of the container's first process",
                 "leave them out, and write the files of the process from outside");
  if (attach.process.oom_score_adj)
    refusals.bad("process.oom_score_adj", "is the container's",
                 "leave it out, and write the file of the process from outside");
  checks.known("namespaces", joined);
  if (const auto foreign = joined - target.inside.namespaces; !foreign.empty())
    refusals.bad("namespaces",
                 formatted("the container shares '{}' with this program", flag_names(foreign)),
                 formatted("it has '{}' of its own", flag_names(target.inside.namespaces)));
  if (joined.has(Namespace::mount) && target.inside.namespaces.has(Namespace::user) &&
      !joined.has(Namespace::user))
    refusals.bad("namespaces",
                 "'mount' without 'user' runs the container's programs with this program's rights",
                 "join both, or leave the mount namespace out to run programs of the host");
  if (!attach.landlock && !target.inside.landlock.rules.empty() &&
      target.inside.namespaces.has(Namespace::mount) && !joined.has(Namespace::mount))
    refusals.bad(
        "namespaces",
        "the container's rules of Landlock name files of its own, and without 'mount' the "
        "process has this program's",
        "join its mount namespace, or give the process rules of its own: Attach::landlock");
  if (checks.shape.console && !joined.has(Namespace::mount))
    refusals.bad("process.stdio", "a terminal comes from the container's devpts",
                 "join its mount namespace, or pass a terminal as a descriptor");
  if ((checks.spec.security.capabilities.bits() & ~CapabilitySet::all().bits()) != 0)
    refusals.bad("capabilities", "has bits that stand for no capability",
                 "use the names that this version's headers have");
  else
    checks.capability_sets_agree("");
  if (attach.lsm_label.value_or(false) && !checks.facts.apparmor && !checks.facts.selinux)
    refusals.unsupported("lsm_label", "no security module gives processes a label here",
                         "see /sys/kernel/security/lsm");
  if (attach.cgroup == AttachCgroup::own && target.inside.devices &&
      checks.spec.security.capabilities.has(Capability::mknod))
    refusals.bad("cgroup",
                 "'own' with the capability mknod gets around the container's filter of devices",
                 "join its cgroups, or leave mknod out of the capabilities");
  if (attach.cgroup == AttachCgroup::below && !target.launched_here)
    refusals.unsupported("cgroup", "'below' needs a container of this Runtime",
                         "use 'container': the cgroups of the process");
  if (attach.cgroup == AttachCgroup::below && target.groups.empty())
    refusals.bad("cgroup", "'below', but the container has no cgroup of its own",
                 "launch it with resources.cgroup = always");
}

void open_cgroups(Draft& d, const Attach& attach, const AttachTarget& target) {
  if (attach.cgroup == AttachCgroup::own) return;
  for (const auto& g : target.groups) {
    if (g.hierarchy >= d.facts.cgroups.size()) continue;
    const CgroupHierarchy& h = d.facts.cgroups[g.hierarchy];
    op::OpenCgroup open{.hierarchy = g.hierarchy,
                        .v2 = h.v2,
                        .path = g.path,
                        .below = attach.cgroup == AttachCgroup::below,
                        .ours = target.launched_here};
    if (!h.v2) {
      open.tasks = d.slot();
      d.tasks.emplace_back(open.tasks, h.mount_point);
    }
    d.add(std::move(open));
  }
}

void open_terminal(Draft& d) {
  if (!d.shape.console) return;
  d.devpts = d.slot();
  d.console = d.slot();
  d.add(op::OpenInside{.path = "/dev/pts", .devpts = true, .to = d.devpts});
  d.add(op::OpenPty{.devpts = d.devpts,
                    .console = true,
                    .rows = d.spec.terminal.rows,
                    .columns = d.spec.terminal.columns,
                    .uid = d.spec.process.uid,
                    .gid = d.spec.process.gid,
                    .slave = d.console});
  d.add(op::SendPtys{.count = 1});
}

}  // namespace
}  // namespace detail

Result<Plan> compile(const Attach& attach, const AttachTarget& target, const HostFacts& facts) {
  using namespace detail;
  Refusals refusals;
  const Flags<Namespace> joined = attach.namespaces.value_or(target.inside.namespaces);
  const Spec spec = spec_of(attach, target, facts);
  const Shape shape = shape_of(spec, joined, target);
  check(attach, target, joined,
        Checks{.spec = spec, .facts = facts, .shape = shape, .refusals = refusals});
  if (!refusals.empty()) return fail(refusals.take());

  Draft d{.spec = spec, .facts = facts, .shape = shape, .refusals = refusals};
  describe_host_side(d);

  open_streams(d);
  open_cgroups(d, attach, target);
  if (!joined.empty())
    d.add(op::EnterProcess{.pid = target.pid, .pidfd = target.pidfd, .namespaces = joined});
  // Where setns(2) leads is the root of the mount namespace: a process of somebody else's may have
  // another.
  op::Slot root;
  if (joined.has(Namespace::mount) && !target.launched_here) {
    root = d.slot();
    d.add(op::OpenDescriptor{
        .kind = op::OpenDescriptor::root_of_pid, .number = target.pid.value, .to = root});
  }
  // The host's own procfs, opened before anybody's mounts are in the way; "self" is whoever asks.
  const bool labels = !spec.security.apparmor.empty() || !spec.security.selinux.empty();
  if (labels) {
    d.proc = d.slot();
    d.add(op::OpenDescriptor{.kind = op::OpenDescriptor::directory, .path = "/proc", .to = d.proc});
  }
  take_descriptors(d);
  const bool into_cgroup =
      attach.cgroup != AttachCgroup::own && std::ranges::any_of(target.groups, [&](const auto& g) {
        return g.hierarchy < facts.cgroups.size() && facts.cgroups[g.hierarchy].v2;
      });
  d.add(op::Clone{.into_cgroup = into_cgroup});
  d.add(op::ArmDeathSignal{});
  for (const auto& [tasks, mount_point] : d.tasks)
    d.add(op::EnterCgroup{.tasks = tasks, .mount_point = mount_point});
  if (root.valid()) d.add(op::EnterRoot{.root = root});
  if (shape.ids.joined)
    d.add(op::BecomeRoot{
        .uid = shape.ids.first_uid, .gid = shape.ids.first_gid, .groups_may_stay = true});
  open_terminal(d);
  set_labels(d);
  settle_ahead(d);
  if (target.own_cores && !spec.process.scheduling.core)
    d.add(
        op::SetScheduling{.cores_of = joined.has(Namespace::pid) ? target.pid_inside : target.pid});
  settle_process(d);
  if (!refusals.empty()) return fail(refusals.take());
  return std::move(d.plan);
}

}  // namespace condroid::inline v0
