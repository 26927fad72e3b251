// What the host does: before the clone, and behind the barrier `configure`.
#include <utility>

#include "plan/draft.hpp"
#include "plan/paths.hpp"

namespace condroid::inline v0::detail {

namespace {

/// Whether the container's root is to make cgroups below its own.
bool delegates(const Draft& d) {
  if (!d.shape.ids.own || !d.shape.host_is_root) return false;
  for (const Mount& m : d.spec.mounts)
    if (const auto* c = std::get_if<CgroupMount>(&m);
        c != nullptr && !c->flags.has(MountFlag::read_only))
      return true;
  return false;
}

/// The host's name for an id of the container.
std::uint32_t outside(const std::vector<IdRange>& ranges, std::uint32_t inside) {
  for (const IdRange& r : ranges)
    if (inside >= r.inside && inside - r.inside < r.count) return r.outside + (inside - r.inside);
  return 0;
}

void make_cgroups(Draft& d) {
  const bool delegated = delegates(d);
  for (const Group& g : d.shape.groups) {
    const CgroupHierarchy& h = d.facts.cgroups[g.hierarchy];
    op::CreateCgroup create{.hierarchy = g.hierarchy,
                            .v2 = h.v2,
                            .mount_point = h.mount_point,
                            .controllers = g.controllers,
                            .wished = g.wished,
                            .path = d.spec.resources.cgroup_path,
                            .inner = d.spec.resources.cgroup_inner};
    if (!h.v2) {
      create.tasks = d.slot();
      d.tasks.emplace_back(create.tasks, h.mount_point);
    }
    if (delegated) {
      create.delegated = true;
      create.uid = Uid{outside(d.shape.ids.uids, 0)};
      create.gid = Gid{outside(d.shape.ids.gids, 0)};
    }
    d.add(std::move(create));
    write_values(d, g);
    if (g.devices) d.add(*g.devices);
  }
}

/// The namespaces that the child joins by itself, in the order of the Spec.
std::vector<std::pair<Namespace, op::Slot>> open_joins(Draft& d) {
  std::vector<std::pair<Namespace, op::Slot>> by_child;
  std::vector<op::OpenDescriptor> list;
  for (const Join& join : d.spec.join) {
    op::OpenDescriptor open{.ns = join.kind};
    if (const auto* pid = std::get_if<Pid>(&join.from)) {
      open.kind = op::OpenDescriptor::ns_of_pid;
      open.number = pid->value;
    } else if (const auto* path = std::get_if<HostPath>(&join.from)) {
      open.kind = op::OpenDescriptor::ns_of_path;
      open.path = path->str();
    } else {
      open.kind = op::OpenDescriptor::borrowed;
      open.fd = std::get<HostFd>(join.from);
    }
    // A child in a user namespace of its own has no right to join what belongs to the host's: the
    // zygote joins it.
    open.before_clone =
        join.kind == Namespace::pid || join.kind == Namespace::user || d.shape.ids.own;
    if (!open.before_clone) {
      open.to = d.slot();
      by_child.emplace_back(join.kind, open.to);
    }
    list.push_back(std::move(open));
  }
  // The user namespace gives the rights for the others.
  for (const bool user : {true, false})
    for (const auto& open : list)
      if ((open.ns == Namespace::user) == user) d.add(open);
  return by_child;
}

void open_sources(Draft& d) {
  d.sources.resize(d.spec.mounts.size());
  for (std::size_t i = 0; i < d.spec.mounts.size(); ++i) {
    if (const auto* mount = std::get_if<ImageMount>(&d.spec.mounts[i]);
        mount != nullptr && !mount->idmapped && d.shape.own_root()) {
      d.sources[i] = d.slot();
      d.add(op::MountImage{.image = mount->image,
                           .read_only = mount->ephemeral || mount->flags.has(MountFlag::read_only),
                           .to = d.sources[i]});
    }
    const auto* bind = std::get_if<Bind>(&d.spec.mounts[i]);
    if (bind == nullptr || !bind->source_fd.valid() || bind->idmapped) continue;
    d.sources[i] = d.slot();
    d.add(op::OpenDescriptor{.kind = op::OpenDescriptor::tree,
                             .fd = bind->source_fd,
                             .recursive = bind->recursive,
                             .slave = bind->propagation == Propagation::slave,
                             .optional = bind->common.optional,
                             .to = d.sources[i]});
  }
}

void open_image(Draft& d) {
  const Root& root = d.spec.root;
  // With shifted owners it is made when there are some.
  if (root.image.path.empty() || !d.shape.own_root() || root.idmapped) return;
  d.root_image = d.slot();
  d.add(op::MountImage{
      .image = root.image, .read_only = root.read_only || root.ephemeral, .to = d.root_image});
}

void pin(Draft& d) {
  const Root& root = d.spec.root;
  // Only a container with the real CAP_SYS_ADMIN could remount the host's file system.
  if (d.shape.ids.inside() || !d.shape.own_root() || root.ephemeral || !root.image.path.empty() ||
      !d.spec.security.capabilities.has(Capability::sys_admin))
    return;
  d.add(op::PinRootfs{.path = is_host_root(root) ? "/" : root.path.str()});
}

/// What of the root the host makes for a container with an id map: copies with shifted owners,
/// overlays above them.
template <class Receive, class Ask>
void make_root_for_ids(Draft& d, Receive receive, Ask ask) {
  const Root& root = d.spec.root;
  if (!d.shape.ids.own || !d.shape.host_is_root) return;
  if (is_host_root(root)) {
    if (!root.ephemeral) return;
    op::OverlayTrees trees{.size = root.size};
    for (const RootEntry& e : d.facts.root_entries) {
      if (!overlays_host_entry(d, e)) continue;
      d.root_trees.push_back(receive());
      trees.layers.push_back({.lower = "/" + e.name, .mode = {e.mode}, .to = d.root_trees.back()});
    }
    if (!trees.layers.empty()) ask(std::move(trees));
  } else if (root.idmapped && root.ephemeral) {
    d.root_source = receive();
    op::OverlayTrees trees{.image = root.image, .size = root.size};
    trees.layers.push_back(
        {.lower = root.image.path.empty() ? root.path.str() : root.image.path.str(),
         .upper = root.upper.str(),
         .work = root.work.str(),
         .to = d.root_source});
    ask(std::move(trees));
  } else if (root.idmapped && !root.image.path.empty()) {
    d.root_image = receive();
    ask(op::MountImage{
        .image = root.image, .read_only = root.read_only, .idmapped = true, .to = d.root_image});
  } else if (root.idmapped) {
    d.root_source = receive();
    ask(op::IdmapTree{.path = root.path.str(),
                      .recursive = true,
                      .slave = root.propagation == Propagation::slave,
                      .to = d.root_source});
  }
}

}  // namespace

void write_values(Draft& d, const Group& g) {
  for (op::WriteCgroup value : g.values) {
    value.hierarchy = g.hierarchy;
    d.add(std::move(value));
  }
}

void open_streams(Draft& d) {
  const Stdio& stdio = d.spec.process.stdio;
  const Stream* const streams[] = {&stdio.in, &stdio.out, &stdio.err};
  for (int number = 0; number < 3; ++number) {
    const Stream& s = *streams[number];
    if (s.kind == Stream::pty) continue;  // the console's slave, once there is one
    d.add(op::OpenDescriptor{
        .kind = op::OpenDescriptor::stdio, .number = number, .stream = s, .to = {number}});
  }
}

void take_descriptors(Draft& d) {
  for (const PassedFd& fd : d.spec.process.descriptors) {
    const op::Slot to = d.slot();
    d.placed.push_back({.from = to, .number = fd.number});
    d.add(op::OpenDescriptor{.kind = op::OpenDescriptor::borrowed, .fd = fd.host, .to = to});
  }
}

std::vector<std::pair<Namespace, op::Slot>> open_host_side(Draft& d, bool parked) {
  if (!parked) open_streams(d);
  make_cgroups(d);
  auto joins = open_joins(d);
  open_sources(d);
  open_image(d);
  if (!parked) take_descriptors(d);
  pin(d);
  load_profile(d);
  lease_addresses(d);
  return joins;
}

void configure_from_host(Draft& d) {
  Draft host{.spec = d.spec, .facts = d.facts, .shape = d.shape, .refusals = d.refusals};
  op::Sync sync;
  const auto ask = [&](auto o) { host.add(std::move(o)); };
  const auto receive = [&] {
    sync.receives.push_back(d.slot());
    return sync.receives.back();
  };
  if (d.shape.ids.own)
    ask(op::WriteIdMap{.how = d.shape.ids.how,
                       .deny_setgroups = d.shape.ids.deny_setgroups,
                       .uids = d.shape.ids.uids,
                       .gids = d.shape.ids.gids,
                       .newuidmap = d.facts.newuidmap,
                       .newgidmap = d.facts.newgidmap});
  if (d.shape.own_root()) {
    for (std::size_t i = 0; i < d.spec.mounts.size(); ++i) {
      if (const auto* mount = std::get_if<ImageMount>(&d.spec.mounts[i]);
          mount != nullptr && mount->idmapped) {
        d.sources[i] = receive();
        ask(op::MountImage{.image = mount->image,
                           .read_only = mount->flags.has(MountFlag::read_only),
                           .idmapped = true,
                           .to = d.sources[i]});
      }
      const auto* bind = std::get_if<Bind>(&d.spec.mounts[i]);
      if (bind == nullptr || !bind->idmapped) continue;
      d.sources[i] = receive();
      ask(op::IdmapTree{.path = bind->source_fd.valid() ? std::string{} : bind->source.str(),
                        .fd = bind->source_fd,
                        .recursive = bind->recursive,
                        .slave = bind->propagation == Propagation::slave,
                        .optional = bind->common.optional,
                        .map_of = bind->idmap_of.str(),
                        .to = d.sources[i]});
    }
    make_root_for_ids(d, receive, ask);
  }
  create_interfaces(d, host.plan.ops);
  run_hooks_here(d, HookPoint::configured, host.plan.ops, nullptr);
  if (host.plan.ops.empty()) return;  // an empty barrier costs and gives nothing
  d.add(std::move(sync));
  for (Op& o : host.plan.ops) d.plan.ops.push_back(std::move(o));
}

}  // namespace condroid::inline v0::detail
