// The root file system: what it is made of, and the last things done to it.

#include <algorithm>
#include <utility>

#include "formatted.hpp"
#include "plan/draft.hpp"
#include "plan/paths.hpp"

namespace condroid::inline v0::detail {

namespace {

/// Devices are made in /dev, on a tmpfs of its own; a node elsewhere in an image is nobody's.
Flags<MountFlag> root_flags(const Draft& d) {
  return d.spec.security.allow.has(Allow::devices) ? Flags<MountFlag>{} : MountFlag::nodev;
}

/// pivot_root(2) takes no shared root: that comes after it.
Propagation until_pivot(const Root& root) {
  return root.propagation == Propagation::shared ? Propagation::private_ : root.propagation;
}

op::MountOp tmpfs_on_root(op::Slot to, Bytes size, Flags<MountFlag> flags) {
  std::vector<std::string> options = {"mode=0755"};
  if (size.value != 0) options.push_back(formatted("size={}", size.value));
  return {.source = op::MountOp::filesystem,
          .what = "tmpfs",
          .options = std::move(options),
          .flags = flags,
          .place = op::MountOp::on_root,
          .to = to};
}

/// What the root is made of, for a reader.
std::string origin(const Root& root) {
  return root.image.path.empty() ? root.path.str() : root.image.path.str();
}

/// A directory of the host, or the file system of an image, as it is.
void directory(Draft& d) {
  const Root& root = d.spec.root;
  Flags<MountFlag> flags = root_flags(d);
  // From the first moment: what the container needs to be there must be there already.
  if (root.read_only) flags |= MountFlag::read_only;
  op::MountOp m{.source = op::MountOp::tree,
                .what = origin(root),
                .recursive = true,
                .flags = flags,
                .recursive_flags = true,
                .propagation = until_pivot(root),
                .place = op::MountOp::on_root,
                .to = d.root};
  if (const op::Slot made = d.root_image.valid() ? d.root_image : d.root_source; made.valid()) {
    m.source = op::MountOp::slot;
    m.from = made;
  }
  d.add(std::move(m));
}

/// The same below an upper layer.
void ephemeral_directory(Draft& d) {
  const Root& root = d.spec.root;
  if (d.root_source.valid()) {  // the host made the overlay
    d.add(op::MountOp{.source = op::MountOp::slot,
                      .what = "overlay of " + origin(root),
                      .from = d.root_source,
                      .flags = root_flags(d),
                      .propagation = until_pivot(root),
                      .place = op::MountOp::on_root,
                      .to = d.root});
    return;
  }
  const bool in_memory = root.upper.empty();
  op::MountOp m{.source = op::MountOp::filesystem,
                .what = "overlay",
                .flags = root_flags(d),
                .propagation = until_pivot(root),
                .place = op::MountOp::on_root,
                .to = d.root};
  std::string lower = root.path.str();
  if (d.root_image.valid()) {  // beside the upper layer, where it has a name
    lower = "lower";
    m.cwd = d.root_upper;
    d.add(op::MakeEntry{.base = d.root_upper, .path = lower});
    d.add(op::MountOp{.source = op::MountOp::slot,
                      .what = origin(root),
                      .from = d.root_image,
                      .flags = root_flags(d) | MountFlag::read_only,
                      .propagation = Propagation::private_,
                      .base = d.root_upper,
                      .target = lower});
  }
  if (in_memory) {
    m.cwd = d.root_upper;
    d.add(op::MakeEntry{.base = d.root_upper, .path = "upper"});
    d.add(op::MakeEntry{.base = d.root_upper, .path = "work", .mode = {0700}});
  }
  std::vector<std::string> layers = {std::move(lower)};
  for (const HostPath& below : root.lower) layers.push_back(below.str());
  overlay_options(d, m, root.lower.empty() ? "root.path" : "root.lower", layers,
                  in_memory ? "upper" : root.upper.str(), in_memory ? "work" : root.work.str());
  d.add(std::move(m));
}

/// The host's own "/", to be looked at only.
void host_root(Draft& d) {
  d.add(op::MountOp{
      .source = op::MountOp::tree,
      .what = "/",
      .recursive = true,
      .flags = root_flags(d) |
               (d.spec.root.read_only || !d.spec.security.allow.has(Allow::host_root_writable)
                    ? Flags<MountFlag>(MountFlag::read_only)
                    : Flags<MountFlag>{}),
      .recursive_flags = true,
      .propagation = until_pivot(d.spec.root),
      .place = op::MountOp::on_root,
      .to = d.root});
  d.note(
      "/: the host's own, with the mounts below it, read-only; /run and /tmp are empty ones of the "
      "container");
}

/// The mounts of the host that lie below a directory, without those below them.
std::vector<std::string> submounts(const HostFacts& facts, const std::string& directory) {
  std::vector<std::string> list;
  for (const MountEntry& m : facts.mounts)
    if (is_below(directory, m.target)) list.push_back(m.target);
  std::ranges::sort(list);
  std::vector<std::string> top;
  for (std::string& target : list)
    if (top.empty() || (top.back() != target && !is_below(top.back(), target)))
      top.push_back(std::move(target));
  return top;
}

void read_only_bind(Draft& d, const std::string& path, bool recursive) {
  d.add(op::MountOp{.source = op::MountOp::tree,
                    .what = path,
                    .recursive = recursive,
                    .flags = root_flags(d) | MountFlag::read_only,
                    .recursive_flags = recursive,
                    .propagation = Propagation::private_,
                    .base = d.root,
                    .target = path});
}

/// The host's own "/" with a throwaway overlay for every directory in it that can have one.
void ephemeral_host_root(Draft& d) {
  d.add(tmpfs_on_root(d.root, d.spec.root.size, root_flags(d)));
  std::size_t tree = 0;
  for (const RootEntry& e : d.facts.root_entries) {
    const std::string path = "/" + e.name;
    switch (e.kind) {
      case RootEntry::link:
        d.add(op::MakeEntry{
            .kind = op::MakeEntry::link, .base = d.root, .path = e.name, .content = e.points_to});
        continue;
      case RootEntry::file:
        read_only_bind(d, path, false);
        continue;
      case RootEntry::other:
        continue;
      case RootEntry::directory:
        break;
    }
    if (!overlays_host_entry(d, e)) {
      d.add(op::MakeEntry{.base = d.root, .path = e.name, .mode = {e.mode}});
      if (is_own_tree(e.name)) continue;  // mounts of the container's own go there
      if (d.facts.privileged() || e.mode % 010 >= 05) {
        read_only_bind(d, path, true);
        d.note(formatted(
            "{}: the host's, read-only: no overlay above other mounts in a user namespace", path));
      }
      continue;
    }
    op::MountOp m{.flags = root_flags(d), .base = d.root, .target = path};
    if (tree < d.root_trees.size()) {
      m.source = op::MountOp::slot;
      m.what = "overlay of " + path;
      m.from = d.root_trees[tree++];
    } else {
      const std::string upper = "u-" + e.name, work = "w-" + e.name;
      d.add(op::MakeEntry{.base = d.root_upper, .path = upper, .mode = {e.mode}});
      d.add(op::MakeEntry{.base = d.root_upper, .path = work, .mode = {0700}});
      m.source = op::MountOp::filesystem;
      m.what = "overlay";
      m.cwd = d.root_upper;
      overlay_options(d, m, "root", {path}, upper, work);
    }
    d.add(std::move(m));
    d.note(formatted("{}: the host's, below a layer that is thrown away", path));
    for (const std::string& below : submounts(d.facts, path)) {
      read_only_bind(d, below, true);
      d.note(formatted("{}: the host's, read-only: a mount of its own", below));
    }
  }
}

}  // namespace

bool is_own_tree(std::string_view name) {
  return name == "proc" || name == "sys" || name == "dev" || name == "run" || name == "tmp";
}

bool overlays_host_entry(const Draft& d, const RootEntry& e) {
  if (e.kind != RootEntry::directory || is_own_tree(e.name)) return false;
  // In a user namespace the mounts below a directory are locked: overlayfs may not look underneath
  // them. One that the host makes lies above none of them.
  const bool by_host = d.shape.ids.own && d.shape.host_is_root;
  const bool locked = d.shape.confined && !by_host;
  return !locked || submounts(d.facts, "/" + e.name).empty();
}

void overlay_options(Draft& d, op::MountOp& m, std::string_view field,
                     const std::vector<std::string>& lower, const std::string& upper,
                     const std::string& work) {
  constexpr std::size_t longest = 255;  // of one string of fsconfig(2)
  std::string joined;
  for (const std::string& path : lower) {
    if (!joined.empty()) joined += ':';
    joined += overlay_escaped(path);
  }
  const auto too_long = [&](const std::string& s) {
    if (s.size() <= longest) return;
    d.refusals.unsupported(
        field,
        formatted("overlayfs takes paths of at most {} characters from this kernel", longest),
        "use shorter paths, or fewer layers");
  };
  if (joined.size() <= longest) {
    m.options.push_back("lowerdir=" + joined);
  } else if (d.facts.kernel_at_least(6, 8)) {
    for (const std::string& path : lower) {
      too_long(path);
      m.options.push_back("lowerdir+=" + path);
    }
  } else {
    too_long(joined);
  }
  if (!upper.empty()) {
    too_long(upper);
    too_long(work);
    m.options.push_back("upperdir=" + upper);
    m.options.push_back("workdir=" + work);
  }
  // Without the rights of the host it may not use the trusted.* attributes.
  if (d.shape.confined && d.facts.kernel_at_least(5, 11)) m.options.emplace_back("userxattr");
}

/// Where hooks find it by a path: until then it lies on the host's "/", where no path leads.
void place_root(Draft& d, std::size_t first) {
  for (std::size_t i = first; i < d.plan.ops.size(); ++i)
    if (auto* m = std::get_if<op::MountOp>(&d.plan.ops[i]);
        m != nullptr && m->place == op::MountOp::on_root && m->to == d.root)
      m->target = d.spec.hooks.root_at.str();
}

void make_root(Draft& d) {
  const Root& root = d.spec.root;
  const bool host = is_host_root(root);
  const std::size_t first = d.plan.ops.size();
  // Upper layers lie below the root in the stack on the host's "/", so that they go away with it.
  if (root.ephemeral && (root.upper.empty() || d.root_image.valid()) && !d.root_source.valid() &&
      d.root_trees.empty()) {
    d.root_upper = d.slot();
    d.add(tmpfs_on_root(d.root_upper, root.size, root_flags(d)));
  }
  d.uppers.resize(d.spec.mounts.size());
  for (std::size_t i = 0; i < d.spec.mounts.size(); ++i) {
    const Mount& m = d.spec.mounts[i];
    if (const auto* overlay = std::get_if<Overlay>(&m); overlay != nullptr && overlay->ephemeral) {
      d.uppers[i] = d.slot();
      d.add(tmpfs_on_root(d.uppers[i], overlay->size, overlay->flags - MountFlag::read_only));
    } else if (const auto* image = std::get_if<ImageMount>(&m);
               image != nullptr && image->ephemeral) {
      // With an upper layer of the host's it only gives the image a name.
      d.uppers[i] = d.slot();
      d.add(tmpfs_on_root(d.uppers[i], image->size, image->flags - MountFlag::read_only));
    } else if (std::holds_alternative<FileMount>(m) && !d.files.valid()) {
      d.files = d.slot();
      d.add(tmpfs_on_root(d.files, {}, MountFlag::nosuid | MountFlag::nodev | MountFlag::noexec));
    }
  }
  d.root = d.slot();
  if (host)
    root.ephemeral ? ephemeral_host_root(d) : host_root(d);
  else
    root.ephemeral ? ephemeral_directory(d) : directory(d);
  if (roots_before_pivot(d)) place_root(d, first);
}

void finish_root(Draft& d) {
  if (d.spec.root.ephemeral && d.spec.root.read_only)
    d.add(op::SetMountFlags{.mount = d.root, .flags = MountFlag::read_only, .what = "/"});
  d.add(op::PivotRoot{.root = d.root});
  if (d.spec.root.propagation == Propagation::shared)
    d.add(op::SetMountFlags{.mount = d.root, .propagation = Propagation::shared, .what = "/"});
}

}  // namespace condroid::inline v0::detail
