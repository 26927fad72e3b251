// Shape: what compile() decides about a container as a whole before it writes down the first op.
// Private.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "condroid/plan/op.hpp"
#include "condroid/spec.hpp"
#include "condroid/sys/facts.hpp"
#include "plan/refusals.hpp"

namespace condroid::inline v0::detail {

/// Whose ids are whose.
struct Ids {
  bool own = false;                ///< A new user namespace.
  bool joined = false;             ///< An existing one.
  std::vector<IdRange> uids = {};  ///< Of a new one.
  std::vector<IdRange> gids = {};
  op::WriteIdMap::How how = op::WriteIdMap::direct;
  bool deny_setgroups = false;
  bool set_groups = true;  ///< setgroups(2) is possible.
  Uid first_uid = {};      ///< Who the child becomes while it sets the container up.
  Gid first_gid = {};
  std::string note = {};

  /// Not the user namespace of the host: weaker rights, locked mounts.
  [[nodiscard]] bool inside() const noexcept { return own || joined; }
  [[nodiscard]] bool has_uid(std::uint32_t id) const noexcept { return has(uids, id); }
  [[nodiscard]] bool has_gid(std::uint32_t id) const noexcept { return has(gids, id); }

 private:
  [[nodiscard]] bool has(const std::vector<IdRange>& ranges, std::uint32_t id) const noexcept {
    if (!own) return true;  // the host's ids, or a map that we do not know
    for (const auto& r : ranges)
      if (id >= r.inside && id - r.inside < r.count) return true;
    return false;
  }
};

/// The container's cgroup in one hierarchy.
struct Group {
  std::size_t hierarchy = 0;
  std::vector<std::string> controllers = {};      ///< v2: to be switched on.
  std::vector<std::string> wished = {};           ///< v2: none of those; switched on where it can.
  std::vector<op::WriteCgroup> values = {};       ///< In the order in which they are written.
  std::optional<op::FilterDevices> devices = {};  ///< To be filtered here.
};

struct Shape {
  Flags<Namespace> fresh = {};  ///< New namespaces, user and time included.
  Flags<Namespace> joined = {};
  Ids ids = {};
  std::vector<Group> groups = {};  ///< Ordered by hierarchy.
  std::vector<LeftOut> left_out = {};
  bool console = false;
  bool confined =
      false;  ///< In a user namespace, new or the host's own: locked mounts, no nodes of devices.
  bool host_is_root = false;  ///< The host may do what root of the machine may.
  bool proc_early =
      false;  ///< Settings are written through a procfs that nothing is mounted on yet.

  [[nodiscard]] bool own(Namespace n) const noexcept { return fresh.has(n); }
  [[nodiscard]] bool shares(Namespace n) const noexcept { return !fresh.has(n) && !joined.has(n); }
  /// The root, the mounts and /dev are ours to make.
  [[nodiscard]] bool own_root() const noexcept { return fresh.has(Namespace::mount); }
  [[nodiscard]] const Group* group(std::size_t hierarchy) const noexcept {
    for (const auto& g : groups)
      if (g.hierarchy == hierarchy) return &g;
    return nullptr;
  }
};

inline constexpr Flags<Namespace> all_namespaces =
    Spec::default_namespaces | Flags<Namespace>(Namespace::user) | Namespace::time;

/// Decides the shape. What cannot be decided is refused.
[[nodiscard]] Shape decide(const Spec& spec, const HostFacts& facts, Refusals& refusals);
/// ids.cpp, cgroup.cpp: their parts of it.
[[nodiscard]] Ids decide_ids(const Spec& spec, const HostFacts& facts, Refusals& refusals);
[[nodiscard]] std::vector<Group> decide_cgroups(const Spec& spec, const HostFacts& facts,
                                                const Shape& shape, Refusals& refusals,
                                                std::vector<LeftOut>& left_out);

/// Refuses what cannot be.
void validate(const Spec& spec, const HostFacts& facts, const Shape& shape, Refusals& refusals);

}  // namespace condroid::inline v0::detail
