// Which cgroups a container gets, and what is written to them.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>

#include "plan/shape.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr std::uint64_t period_us = 100000;  // the kernel's default of both versions

bool has(const std::vector<std::string>& list, std::string_view what) {
  return std::ranges::find(list, what) != list.end();
}

class Groups {
 public:
  Groups(const HostFacts& facts, Refusals& refusals) : facts_(facts), refusals_(refusals) {}

  /// The hierarchy that has a controller.
  [[nodiscard]] std::optional<std::size_t> find(std::string_view controller) const {
    for (std::size_t i = 0; i < facts_.cgroups.size(); ++i)
      if (has(facts_.cgroups[i].controllers, controller)) return i;
    return std::nullopt;
  }
  [[nodiscard]] std::optional<std::size_t> v2() const {
    for (std::size_t i = 0; i < facts_.cgroups.size(); ++i)
      if (facts_.cgroups[i].v2) return i;
    return std::nullopt;
  }

  /// The container's group where `controller` is; refused when there is none to be had.
  Group* need(std::string_view controller, std::string_view field) {
    const auto hierarchy = find(controller);
    if (!hierarchy) {
      refusals_.unsupported(field,
                            fmt::format("no cgroup hierarchy has the controller '{}'", controller),
                            "see /proc/cgroups and cgroup.controllers");
      return nullptr;
    }
    Group* g = need(*hierarchy, field);
    if (g != nullptr && facts_.cgroups[*hierarchy].v2 && !has(g->controllers, controller))
      g->controllers.emplace_back(controller);
    return g;
  }
  Group* need(std::size_t hierarchy, std::string_view field) {
    const CgroupHierarchy& h = facts_.cgroups[hierarchy];
    if (!h.writable) {
      if (std::ranges::find(refused_, hierarchy) == refused_.end())
        refusals_.unsupported(
            field, fmt::format("this user may not make cgroups in '{}'", h.mount_point),
            "run as root, or in a delegated cgroup (systemd-run --user --scope -p Delegate=yes)");
      refused_.push_back(hierarchy);
      return nullptr;
    }
    const auto at = std::ranges::lower_bound(list_, hierarchy, {}, &Group::hierarchy);
    if (at != list_.end() && at->hierarchy == hierarchy) return &*at;
    return &*list_.insert(at, Group{.hierarchy = hierarchy});
  }
  [[nodiscard]] bool is_v2(const Group& g) const { return facts_.cgroups[g.hierarchy].v2; }
  [[nodiscard]] bool empty() const noexcept { return list_.empty(); }
  [[nodiscard]] std::vector<Group> take() { return std::move(list_); }

 private:
  const HostFacts& facts_;
  Refusals& refusals_;
  std::vector<Group> list_ = {};
  std::vector<std::size_t> refused_ = {};
};

std::string number(std::uint64_t n) { return fmt::format("{}", n); }

void set_memory(Groups& groups, const Resources& r, Refusals& refusals) {
  if (!r.memory_max && !r.memory_high && !r.memory_swap_max) return;
  const std::string_view field = r.memory_max    ? "resources.memory_max"
                                 : r.memory_high ? "resources.memory_high"
                                                 : "resources.memory_swap_max";
  Group* g = groups.need("memory", field);
  if (g == nullptr) return;
  auto& v = g->values;
  if (groups.is_v2(*g)) {
    if (r.memory_max) v.push_back({"memory.max", number(r.memory_max->value)});
    if (r.memory_high) v.push_back({"memory.high", number(r.memory_high->value)});
    if (r.memory_swap_max) v.push_back({"memory.swap.max", number(r.memory_swap_max->value)});
    return;
  }
  if (r.memory_high)
    refusals.unsupported(
        "resources.memory_high",
        "the memory controller of this machine is cgroup v1, which has no such limit",
        "set resources.memory_max, or boot with systemd.unified_cgroup_hierarchy=1");
  if (r.memory_max) v.push_back({"memory.limit_in_bytes", number(r.memory_max->value)});
  if (r.memory_swap_max) {
    if (!r.memory_max)
      refusals.bad("resources.memory_swap_max", "cgroup v1 limits memory and swap together",
                   "set resources.memory_max, too");
    else  // v1 refuses a sum below the memory alone, so this comes second
      v.push_back(
          {"memory.memsw.limit_in_bytes", number(r.memory_max->value + r.memory_swap_max->value)});
  }
}

void set_processors(Groups& groups, const Resources& r) {
  if (r.cpus || r.cpu_weight) {
    Group* g = groups.need("cpu", r.cpus ? "resources.cpus" : "resources.cpu_weight");
    if (g != nullptr) {
      const bool v2 = groups.is_v2(*g);
      if (r.cpus) {
        // The kernel takes no quota below a millisecond.
        const auto quota = static_cast<std::uint64_t>(
            std::llround(std::max(*r.cpus * static_cast<double>(period_us), 1000.0)));
        if (v2) {
          g->values.push_back({"cpu.max", fmt::format("{} {}", quota, period_us)});
        } else {
          g->values.push_back({"cpu.cfs_period_us", number(period_us)});
          g->values.push_back({"cpu.cfs_quota_us", number(quota)});
        }
      }
      if (r.cpu_weight) {
        if (v2)
          g->values.push_back({"cpu.weight", number(*r.cpu_weight)});
        else  // where v2 says 100, v1 says 1024; 2 is the least
          g->values.push_back({"cpu.shares", number(std::max<std::uint64_t>(
                                                 2, std::uint64_t{*r.cpu_weight} * 1024 / 100))});
      }
    }
  }
  if (!r.cpuset_cpus.empty() || !r.cpuset_mems.empty()) {
    Group* g = groups.need(
        "cpuset", r.cpuset_cpus.empty() ? "resources.cpuset_mems" : "resources.cpuset_cpus");
    if (g == nullptr) return;
    if (!r.cpuset_cpus.empty()) g->values.push_back({"cpuset.cpus", r.cpuset_cpus});
    if (!r.cpuset_mems.empty()) g->values.push_back({"cpuset.mems", r.cpuset_mems});
  }
}

void set_raw(Groups& groups, const Resources& r, Refusals& refusals) {
  for (std::size_t i = 0; i < r.settings.size(); ++i) {
    const CgroupSetting& s = r.settings[i];
    const std::string field = fmt::format("resources.settings[{}]", i);
    const std::size_t dot = s.file.find('.');
    if (dot == std::string::npos || dot == 0 || dot + 1 == s.file.size() ||
        s.file.find('/') != std::string::npos) {
      refusals.bad(field, fmt::format("'{}' is no file of a cgroup", s.file),
                   "for instance memory.high");
      continue;
    }
    const std::string controller = s.file.substr(0, dot);
    Group* g = nullptr;
    if (controller == "cgroup") {
      const auto v2 = groups.v2();
      if (!v2 && s.optional) continue;
      if (!v2)
        refusals.unsupported(field,
                             fmt::format("'{}' needs cgroup v2, which is not mounted", s.file),
                             "mount it, or mark the setting optional");
      else
        g = groups.need(*v2, field);
    } else {
      if (s.optional && !groups.find(controller)) continue;
      g = groups.need(controller, field);
    }
    if (g != nullptr) g->values.push_back({s.file, s.value, s.optional});
  }
}

/// Where something is counted, as far as this user may.
void need_counting(Groups& groups, const HostFacts& facts) {
  const auto may = [&](std::optional<std::size_t> hierarchy) {
    return hierarchy && facts.cgroups[*hierarchy].writable;
  };
  for (const std::string_view controller : {"cpu", "cpuacct", "memory", "io", "blkio", "pids"})
    if (may(groups.find(controller))) groups.need(controller, "resources.cgroup");
  // Pressure, and what happens to a cgroup, are there without a controller.
  if (const auto v2 = groups.v2(); may(v2)) groups.need(*v2, "resources.cgroup");
}

}  // namespace

std::vector<Group> decide_cgroups(const Spec& spec, const HostFacts& facts, const Shape& shape,
                                  Refusals& refusals) {
  const Resources& r = spec.resources;
  if (r.cgroup == CgroupMode::never) return {};
  Groups groups(facts, refusals);
  set_memory(groups, r, refusals);
  if (r.pids_max)
    if (Group* g = groups.need("pids", "resources.pids_max"))
      g->values.push_back({"pids.max", number(*r.pids_max)});
  set_processors(groups, r);
  set_raw(groups, r, refusals);

  if (r.cgroup == CgroupMode::measured) need_counting(groups, facts);

  const bool mounted = std::ranges::any_of(
      spec.mounts, [](const Mount& m) { return std::holds_alternative<CgroupMount>(m); });
  if (mounted)
    // What it sees of every hierarchy is to be its own; where that cannot be, it sees the host's,
    // and no more than that.
    for (std::size_t i = 0; i < facts.cgroups.size(); ++i)
      if (facts.cgroups[i].writable) groups.need(i, "mounts");

  // With a pid namespace of its own, the end of pid 1 is the end of all; otherwise only a cgroup
  // knows who belongs to it.
  const bool for_kill = !shape.own(Namespace::pid);
  const bool asked = r.cgroup == CgroupMode::always || r.cgroup == CgroupMode::measured;
  if ((asked || for_kill) && groups.empty()) {
    const std::string_view field = for_kill && !asked ? "namespaces" : "resources.cgroup";
    auto any = groups.v2();
    for (std::size_t i = 0; !any && i < facts.cgroups.size(); ++i)
      if (facts.cgroups[i].writable) any = i;
    if (any)
      groups.need(*any, field);
    else
      refusals.unsupported(
          field, "no cgroup hierarchy is mounted",
          for_kill ? "without a pid namespace of its own a container is ended by its cgroup; "
                     "resources.cgroup = never does without"
                   : "mount one at /sys/fs/cgroup, or leave resources.cgroup out");
  }
  return groups.take();
}

}  // namespace condroid::inline v0::detail
