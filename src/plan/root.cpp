// The root file system: what it is made of, and the last things done to it.
#include <fmt/format.h>

#include <utility>

#include "plan/draft.hpp"
#include "plan/paths.hpp"

namespace condroid::inline v0::detail {

namespace {

/// Devices are made in /dev, on a tmpfs of its own; a node elsewhere in an image is nobody's.
Flags<MountFlag> root_flags(const Draft& d) {
  return d.spec.security.allow.has(Allow::devices) ? Flags<MountFlag>{} : MountFlag::nodev;
}

void directory(Draft& d) {
  op::MountOp m{.source = op::MountOp::tree,
                .what = d.spec.root.path.str(),
                .recursive = true,
                .flags = root_flags(d),
                .recursive_flags = true,
                .place = op::MountOp::on_root,
                .to = d.root};
  d.add(std::move(m));
}

}  // namespace

void make_root(Draft& d) {
  d.root = d.slot();
  directory(d);
}

void finish_root(Draft& d) {
  if (d.spec.root.read_only)
    d.add(op::SetMountFlags{.mount = d.root, .flags = MountFlag::read_only, .what = "/"});
  d.add(op::PivotRoot{.root = d.root});
}

}  // namespace condroid::inline v0::detail
