// Which cgroups a container gets. What is written to them: limits.cpp.
#include <algorithm>
#include <string_view>
#include <utility>

#include "plan/device_filter.hpp"
#include "plan/limits.hpp"
#include "plan/shape.hpp"

namespace condroid::inline v0::detail {

std::vector<Group> decide_cgroups(const Spec& spec, const HostFacts& facts, const Shape& shape,
                                  Refusals& refusals, std::vector<LeftOut>& left_out) {
  const Resources& r = spec.resources;
  if (r.cgroup == CgroupMode::never) {
    if (filters_devices(spec, shape))
      refusals.bad("devices.filter", "needs a cgroup, and resources.cgroup is never",
                   "let it have one, or take mknod out of the capabilities");
    return {};
  }
  Groups groups(facts, refusals, r.optional, nullptr);
  translate_limits(groups, r);
  filter_devices(groups, spec, shape);

  const bool mounted = std::ranges::any_of(
      spec.mounts, [](const Mount& m) { return std::holds_alternative<CgroupMount>(m); });
  if (mounted || r.cgroup == CgroupMode::everywhere)
    // What it sees of every hierarchy is to be its own; where that cannot be, it sees the host's,
    // and no more than that.
    for (std::size_t i = 0; i < facts.cgroups.size(); ++i)
      if (facts.cgroups[i].writable) groups.need(i, {"mounts"});
  // On v2 a cgroup counts and limits what is switched on for it. Nothing needs that, and where this
  // program's own cgroup is the parent the kernel refuses it: no internal processes, cgroups(7).
  if (const auto v2 = groups.v2();
      r.cgroup == CgroupMode::everywhere && v2 && facts.cgroups[*v2].writable)
    for (const std::string_view controller : {"cpu", "cpuset", "hugetlb", "io", "memory", "pids"})
      if (groups.find(controller) == v2) groups.wish(*v2, controller, {"resources.cgroup"});

  if (spec.lifecycle.freezable) {
    if (const auto freezer = groups.freezer())
      groups.need(*freezer, {"lifecycle.freezable"});
    else
      refusals.unsupported("lifecycle.freezable", "no cgroup hierarchy of this machine can freeze",
                           "mount cgroup v2, or the freezer of v1");
  }

  // With a pid namespace of its own, the end of pid 1 is the end of all; otherwise only a cgroup
  // knows who belongs to it.
  const bool for_kill = !shape.own(Namespace::pid);
  const bool asked = r.cgroup == CgroupMode::always || r.cgroup == CgroupMode::everywhere ||
                     !r.cgroup_path.empty() || !r.cgroup_inner.empty();
  if ((asked || for_kill) && groups.empty()) {
    const std::string_view field = for_kill && !asked ? "namespaces" : "resources.cgroup";
    auto any = groups.freezer();  // what stands still does not run away from being killed
    if (!any) any = groups.v2();
    for (std::size_t i = 0; !any && i < facts.cgroups.size(); ++i)
      if (facts.cgroups[i].writable) any = i;
    if (any)
      groups.need(*any, {field});
    else
      refusals.unsupported(
          field, "no cgroup hierarchy is mounted",
          for_kill ? "without a pid namespace of its own a container is ended by its cgroup; "
                     "resources.cgroup = never does without"
                   : "mount one at /sys/fs/cgroup, or leave resources.cgroup out");
  }
  for (LeftOut& l : groups.take_left_out()) left_out.push_back(std::move(l));
  return groups.take();
}

}  // namespace condroid::inline v0::detail
