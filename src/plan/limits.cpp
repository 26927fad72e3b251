#include "plan/limits.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>
#include <utility>
#include <variant>

#include "formatted.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr std::uint64_t period_us = 100000;  // the kernel's default of both versions

bool has(const std::vector<std::string>& list, std::string_view what) {
  return std::ranges::find(list, what) != list.end();
}

}  // namespace

std::optional<std::size_t> Groups::find(std::string_view controller) const {
  for (std::size_t i = 0; i < facts_.cgroups.size(); ++i)
    if (has(facts_.cgroups[i].controllers, controller)) return i;
  return std::nullopt;
}

std::optional<std::size_t> Groups::v2() const {
  for (std::size_t i = 0; i < facts_.cgroups.size(); ++i)
    if (facts_.cgroups[i].v2) return i;
  return std::nullopt;
}

std::optional<std::size_t> Groups::freezer() const {
  const auto two = v2(), one = find("freezer");
  if (two && (facts_.cgroups[*two].writable || !one || !facts_.cgroups[*one].writable)) return two;
  return one;
}

void Groups::cannot(Field field, std::string_view what, std::string hint) {
  if (field.optional)
    left_out_.push_back({std::string(field.name), std::string(what)});
  else
    refusals_.unsupported(field.name, what, std::move(hint));
}

Group* Groups::need(std::string_view controller, Field field) {
  const auto hierarchy = find(controller);
  if (!hierarchy) {
    cannot(field, formatted("no cgroup hierarchy has the controller '{}'", controller),
           facts_.privileged()
               ? "see /proc/cgroups and cgroup.controllers"
               : "it must be delegated to this user: see cgroup.controllers, docs/limits.md");
    return nullptr;
  }
  Group* g = need(*hierarchy, field);
  if (g != nullptr && facts_.cgroups[*hierarchy].v2 && !has(g->controllers, controller))
    g->controllers.emplace_back(controller);
  return g;
}

void Groups::wish(std::size_t hierarchy, std::string_view controller, Field field) {
  Group* const g = need(hierarchy, field);
  if (g != nullptr && !has(g->controllers, controller)) g->wished.emplace_back(controller);
}

Group* Groups::need(std::size_t hierarchy, Field field) {
  const CgroupHierarchy& h = facts_.cgroups[hierarchy];
  const auto at = std::ranges::lower_bound(list_, hierarchy, {}, &Group::hierarchy);
  if (at != list_.end() && at->hierarchy == hierarchy) return &*at;
  if (running_ != nullptr &&
      std::ranges::find(running_->hierarchies, hierarchy) == running_->hierarchies.end()) {
    cannot(field, formatted("the container has no cgroup in '{}'", h.mount_point),
           "launch it with a limit of that controller, or with resources.cgroup = everywhere");
    return nullptr;
  }
  if (running_ == nullptr && !h.writable) {
    const bool again = std::ranges::find(refused_, hierarchy) != refused_.end();
    if (!again || field.optional)
      cannot(field, formatted("this user may not make cgroups in '{}'", h.mount_point),
             "run as root, or in a delegated cgroup (systemd-run --user --scope -p Delegate=yes)");
    if (!field.optional) refused_.push_back(hierarchy);
    return nullptr;
  }
  return &*list_.insert(at, Group{.hierarchy = hierarchy});
}

namespace {

using Field = Groups::Field;

std::string number(std::uint64_t n) { return formatted("{}", n); }

/// One value on its way into a group.
op::WriteCgroup write(Field field, std::string file, std::string value) {
  return {.file = std::move(file),
          .value = std::move(value),
          .optional = field.optional,
          .field = std::string(field.name)};
}

/// A limit of bytes: v2 says "max", v1 has -1.
std::string bytes(const Limit<Bytes>& limit, bool v2) {
  if (limit.limited()) return number(limit.most().value);
  return v2 ? "max" : "-1";
}

// ---- memory -------------------------------------------------------------------------------------

void set_memory_v1(Groups& groups, const Resources& r) {
  const Field memory = groups.field("resources.memory_max", ResourceField::memory_max);
  const Field high = groups.field("resources.memory_high", ResourceField::memory_high);
  const Field swap = groups.field("resources.memory_swap_max", ResourceField::memory_swap_max);
  if (r.memory_high && r.memory_high->limited())
    groups.cannot(high,
                  "the memory controller of this machine is cgroup v1, which has no such limit",
                  "set resources.memory_max, or boot with systemd.unified_cgroup_hierarchy=1");
  if (!r.memory_max && !r.memory_swap_max) return;
  Group* g = r.memory_max ? groups.need("memory", memory) : nullptr;
  if (r.memory_swap_max) g = groups.need("memory", swap);
  if (g == nullptr) return;

  const Running fresh;
  const Running& now = groups.running() != nullptr ? *groups.running() : fresh;
  using Most = std::optional<std::uint64_t>;  // nothing: no limit
  const auto most = [](const Limit<Bytes>& l) {
    return l.limited() ? Most(l.most().value) : Most();
  };
  const auto sum = [](std::uint64_t a, std::uint64_t b) {
    return a > ~std::uint64_t{0} - b ? Most() : Most(a + b);
  };
  const Most new_memory = r.memory_max ? most(*r.memory_max) : now.memory;
  Most new_sum = now.memory_and_swap;
  if (r.memory_swap_max && r.memory_swap_max->limited()) {
    if (!new_memory) {
      groups.refusals().bad("resources.memory_swap_max",
                            "cgroup v1 limits memory and swap together",
                            "set resources.memory_max, too");
      return;
    }
    new_sum = sum(*new_memory, r.memory_swap_max->most().value);
  } else if (r.memory_swap_max || !new_memory) {
    new_sum = {};
  } else if (now.memory_and_swap && now.memory) {
    // What swap it may use stays as it was.
    new_sum = sum(*new_memory, *now.memory_and_swap - std::min(*now.memory_and_swap, *now.memory));
  }
  const auto text = [](const Most& m) { return m ? number(*m) : std::string("-1"); };
  std::vector<op::WriteCgroup> writes;
  if (r.memory_max) writes.push_back(write(memory, "memory.limit_in_bytes", text(new_memory)));
  if (new_sum != now.memory_and_swap) {
    // The kernel never lets the sum be below the memory alone: it is raised first and lowered last.
    const bool raised = now.memory_and_swap && (!new_sum || *new_sum > *now.memory_and_swap);
    const Field by = r.memory_swap_max     ? swap
                     : now.sum_is_optional ? Field{swap.name, true}
                                           : memory;
    writes.insert(raised ? writes.begin() : writes.end(),
                  write(by, "memory.memsw.limit_in_bytes", text(new_sum)));
  }
  g->values.insert(g->values.end(), writes.begin(), writes.end());
}

void set_memory(Groups& groups, const Resources& r) {
  if (!r.memory_max && !r.memory_high && !r.memory_swap_max) return;
  const auto hierarchy = groups.find("memory");
  if (hierarchy && !groups.is_v2(*hierarchy)) return set_memory_v1(groups, r);
  const std::array<std::tuple<const std::optional<Limit<Bytes>>&, Field, const char*>, 3> all{{
      {r.memory_max, groups.field("resources.memory_max", ResourceField::memory_max), "memory.max"},
      {r.memory_high, groups.field("resources.memory_high", ResourceField::memory_high),
       "memory.high"},
      {r.memory_swap_max, groups.field("resources.memory_swap_max", ResourceField::memory_swap_max),
       "memory.swap.max"},
  }};
  for (const auto& [limit, field, file] : all)
    if (limit)
      if (Group* g = groups.need("memory", field))
        g->values.push_back(write(field, file, bytes(*limit, true)));
}

// ---- processors and processes -------------------------------------------------------------------

void set_processors(Groups& groups, const Resources& r) {
  const Field cpus = groups.field("resources.cpus", ResourceField::cpus);
  if (Group* g = r.cpus ? groups.need("cpu", cpus) : nullptr) {
    // The kernel takes no quota below a millisecond.
    const auto quota = [&] {
      return number(static_cast<std::uint64_t>(
          std::llround(std::max(r.cpus->most() * static_cast<double>(period_us), 1000.0))));
    };
    if (groups.is_v2(*g)) {
      g->values.push_back(
          write(cpus, "cpu.max",
                formatted("{} {}", r.cpus->limited() ? quota() : std::string("max"), period_us)));
    } else if (r.cpus->limited()) {
      g->values.push_back(write(cpus, "cpu.cfs_period_us", number(period_us)));
      g->values.push_back(write(cpus, "cpu.cfs_quota_us", quota()));
    } else {
      g->values.push_back(write(cpus, "cpu.cfs_quota_us", "-1"));
    }
  }
  const Field weight = groups.field("resources.cpu_weight", ResourceField::cpu_weight);
  if (Group* g = r.cpu_weight ? groups.need("cpu", weight) : nullptr) {
    if (groups.is_v2(*g))
      g->values.push_back(write(weight, "cpu.weight", number(*r.cpu_weight)));
    else  // where v2 says 100, v1 says 1024; 2 is the least
      g->values.push_back(
          write(weight, "cpu.shares",
                number(std::max<std::uint64_t>(2, std::uint64_t{*r.cpu_weight} * 1024 / 100))));
  }
  const Field set = groups.field("resources.cpuset_cpus", ResourceField::cpuset_cpus);
  if (!r.cpuset_cpus.empty())
    if (Group* g = groups.need("cpuset", set))
      g->values.push_back(write(set, "cpuset.cpus", r.cpuset_cpus));
  const Field nodes = groups.field("resources.cpuset_mems", ResourceField::cpuset_mems);
  if (!r.cpuset_mems.empty())
    if (Group* g = groups.need("cpuset", nodes))
      g->values.push_back(write(nodes, "cpuset.mems", r.cpuset_mems));
}

void set_pids(Groups& groups, const Resources& r) {
  if (!r.pids_max) return;
  const Field field = groups.field("resources.pids_max", ResourceField::pids_max);
  if (Group* g = groups.need("pids", field))
    g->values.push_back(
        write(field, "pids.max", r.pids_max->limited() ? number(r.pids_max->most()) : "max"));
}

// ---- devices ------------------------------------------------------------------------------------

/// 100 is 100; above it the 10000 of io.weight are the 1000 that BFQ has.
std::uint64_t bfq_weight(std::uint64_t weight) {
  return weight <= 100 ? weight : 100 + (weight - 100) * 900 / 9900;
}

void set_io_of(Groups& groups, const IoLimit& io, Field field, std::string_view controller) {
  Group* g = groups.need(controller, field);
  if (g == nullptr) return;
  const auto add = [&](std::string file, std::string value) {
    op::WriteCgroup w = write(field, std::move(file), std::move(value));
    if (const auto* path = std::get_if<HostPath>(&io.device)) {
      w.device = path->str();
    } else {
      const auto& [major, minor] = *std::get_if<DeviceNumber>(&io.device);
      w.value = formatted("{}:{} {}", major, minor, w.value);
    }
    g->values.push_back(std::move(w));
  };
  const bool v2 = groups.is_v2(*g);
  std::string line;
  const auto rate = [&](const char* key, const char* v1_file, bool limited, std::uint64_t most) {
    if (v2)
      line += formatted("{}{}={}", line.empty() ? "" : " ", key,
                        limited ? number(most) : std::string("max"));
    else  // 0 takes a limit away
      add(formatted("blkio.throttle.{}", v1_file), number(limited ? most : 0));
  };
  const auto bytes_rate = [&](const char* key, const char* file,
                              const std::optional<Limit<Bytes>>& l) {
    if (l) rate(key, file, l->limited(), l->most().value);
  };
  const auto operations_rate = [&](const char* key, const char* file,
                                   const std::optional<Limit<std::uint64_t>>& l) {
    if (l) rate(key, file, l->limited(), l->most());
  };
  bytes_rate("rbps", "read_bps_device", io.read_bytes);
  bytes_rate("wbps", "write_bps_device", io.write_bytes);
  operations_rate("riops", "read_iops_device", io.read_operations);
  operations_rate("wiops", "write_iops_device", io.write_operations);
  if (!line.empty()) add("io.max", line);
}

void set_io(Groups& groups, const Resources& r) {
  // The same controller under its two names.
  const std::string_view controller = !groups.find("io") && groups.find("blkio") ? "blkio" : "io";
  const Field weight = groups.field("resources.io_weight", ResourceField::io_weight);
  if (Group* g = r.io_weight ? groups.need(controller, weight) : nullptr) {
    const std::string bfq = number(bfq_weight(*r.io_weight));
    if (groups.is_v2(*g)) {
      // Of the two schedulers that know weights a kernel may have either.
      op::WriteCgroup w = write(weight, "io.weight", number(*r.io_weight));
      w.or_file = "io.bfq.weight";
      w.or_value = bfq;
      g->values.push_back(std::move(w));
    } else {
      g->values.push_back(write(weight, "blkio.bfq.weight", bfq));
    }
  }
  for (std::size_t i = 0; i < r.io.size(); ++i) {
    const std::string name = formatted("resources.io[{}]", i);
    set_io_of(groups, r.io[i], groups.field(name, ResourceField::io), controller);
  }
}

/// As the kernel names it in its files: "2MB".
std::string page_size_name(Bytes size) {
  constexpr std::uint64_t k = 1024;
  if (size.value >= k * k * k) return formatted("{}GB", size.value / (k * k * k));
  if (size.value >= k * k) return formatted("{}MB", size.value / (k * k));
  return formatted("{}KB", size.value / k);
}

void set_hugetlb(Groups& groups, const Resources& r) {
  for (std::size_t i = 0; i < r.hugetlb.size(); ++i) {
    const std::string name = formatted("resources.hugetlb[{}]", i);
    const Field field = groups.field(name, ResourceField::hugetlb);
    Group* g = groups.need("hugetlb", field);
    if (g == nullptr) continue;
    const bool v2 = groups.is_v2(*g);
    g->values.push_back(write(field,
                              formatted("hugetlb.{}.{}", page_size_name(r.hugetlb[i].page_size),
                                        v2 ? "max" : "limit_in_bytes"),
                              bytes(r.hugetlb[i].most, v2)));
  }
}

// ---- anything else ------------------------------------------------------------------------------

void set_raw(Groups& groups, const Resources& r) {
  for (std::size_t i = 0; i < r.settings.size(); ++i) {
    const CgroupSetting& s = r.settings[i];
    const std::string name = formatted("resources.settings[{}]", i);
    const Field field{name, s.optional};
    const std::size_t dot = s.file.find('.');
    if (dot == std::string::npos || dot == 0 || dot + 1 == s.file.size() ||
        s.file.find('/') != std::string::npos) {
      groups.refusals().bad(name, formatted("'{}' is no file of a cgroup", s.file),
                            "for instance memory.high");
      continue;
    }
    const std::string controller = s.file.substr(0, dot);
    Group* g = nullptr;
    if (controller != "cgroup") {
      g = groups.need(controller, field);
    } else if (const auto v2 = groups.v2()) {
      g = groups.need(*v2, field);
    } else {
      groups.cannot(field, formatted("'{}' needs cgroup v2, which is not mounted", s.file),
                    "mount it, or mark the setting optional");
    }
    if (g != nullptr) g->values.push_back(write(field, s.file, s.value));
  }
}

}  // namespace

void translate_limits(Groups& groups, const Resources& limits) {
  set_memory(groups, limits);
  set_pids(groups, limits);
  set_processors(groups, limits);
  set_io(groups, limits);
  set_hugetlb(groups, limits);
  set_raw(groups, limits);
}

}  // namespace condroid::inline v0::detail
