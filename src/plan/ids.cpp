// Whose ids are whose: what the id map of a container will be, on this machine and for this user.

#include <algorithm>

#include "formatted.hpp"
#include "plan/shape.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr unsigned cap_setfcap = 31;

std::vector<IdRange> to_ranges(const std::vector<SubidRange>& list, std::uint32_t first_inside) {
  std::vector<IdRange> ranges;
  std::uint64_t inside = first_inside;
  for (const SubidRange& r : list) {
    if (r.count == 0 || inside > 0xfffffffeU) continue;
    const auto count =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(r.count, 0xffffffffU - inside));
    ranges.push_back(
        {.inside = static_cast<std::uint32_t>(inside), .outside = r.start, .count = count});
    inside += count;
  }
  return ranges;
}

/// Why an unprivileged user cannot use his subordinate ids; empty when he can.
std::string no_subids(const HostFacts& facts) {
  if (facts.subuids.empty() || facts.subgids.empty())
    return formatted("{} has no range for user '{}'",
                     facts.subuids.empty() ? "/etc/subuid" : "/etc/subgid",
                     facts.user_name.empty() ? formatted("{}", facts.uid.value) : facts.user_name);
  if (facts.privileged()) return {};
  if (facts.newuidmap.empty() || facts.newgidmap.empty())
    return "newuidmap and newgidmap are not installed (Debian: package uidmap)";
  if (facts.no_new_privs) return "no_new_privs is set, so newuidmap would gain no privilege";
  return {};
}

void use_subids(Ids& ids, const HostFacts& facts) {
  ids.own = true;
  if (facts.privileged()) {
    ids.uids = to_ranges(facts.subuids, 0);
    ids.gids = to_ranges(facts.subgids, 0);
    return;
  }
  // The user's own id is root inside, so that his files are, too; the subordinate ids are the
  // others.
  ids.how = op::WriteIdMap::helpers;
  ids.uids = to_ranges(facts.subuids, 1);
  ids.gids = to_ranges(facts.subgids, 1);
  ids.uids.insert(ids.uids.begin(), {.inside = 0, .outside = facts.uid.value, .count = 1});
  ids.gids.insert(ids.gids.begin(), {.inside = 0, .outside = facts.gid.value, .count = 1});
}

void use_single(Ids& ids, const Spec& spec, const HostFacts& facts) {
  ids.own = true;
  ids.uids = {{.inside = spec.process.uid.value, .outside = facts.uid.value, .count = 1}};
  ids.gids = {{.inside = spec.process.gid.value, .outside = facts.gid.value, .count = 1}};
}

bool only(const std::vector<IdRange>& ranges, std::uint32_t outside) {
  return ranges.size() == 1 && ranges.front().count == 1 && ranges.front().outside == outside;
}

}  // namespace

Ids decide_ids(const Spec& spec, const HostFacts& facts, Refusals& refusals) {
  Ids ids;
  const IdMap& map = spec.idmap;
  ids.joined =
      std::ranges::any_of(spec.join, [](const Join& j) { return j.kind == Namespace::user; });
  const bool insisted = spec.namespaces.has(Namespace::user);
  if (ids.joined) {
    if (insisted || (map.kind != IdMap::automatic && map.kind != IdMap::none))
      refusals.bad("idmap", "a joined user namespace has its id map already",
                   "leave out the id map, or the join");
    return ids;  // its root, as far as we know
  }

  switch (map.kind) {
    case IdMap::none:
      if (insisted)
        refusals.bad("idmap.kind", "'none', but namespaces asks for a user namespace",
                     "take user out of namespaces, or use another kind");
      if (!facts.privileged())
        refusals.unsupported("idmap.kind", "'none' needs CAP_SYS_ADMIN",
                             "use 'automatic', or run as root");
      return ids;
    case IdMap::automatic:
      if (facts.privileged() && !insisted) return ids;
      if (const std::string why = no_subids(facts); why.empty()) {
        use_subids(ids, facts);
      } else {
        use_single(ids, spec, facts);
        ids.note = formatted("one user and one group id only: {}", why);
      }
      break;
    case IdMap::subids:
      if (const std::string why = no_subids(facts); !why.empty())
        refusals.unsupported("idmap.kind", "'subids': " + why,
                             "usermod --add-subuids and --add-subgids grant ranges");
      use_subids(ids, facts);
      break;
    case IdMap::single:
      use_single(ids, spec, facts);
      break;
    case IdMap::ranges:
      ids.own = true;
      ids.uids = map.uids;
      ids.gids = map.gids;
      if (!facts.privileged() &&
          !(only(ids.uids, facts.uid.value) && only(ids.gids, facts.gid.value))) {
        ids.how = op::WriteIdMap::helpers;
        if (facts.newuidmap.empty() || facts.newgidmap.empty())
          refusals.unsupported("idmap.kind",
                               "'ranges' of an unprivileged user need newuidmap and newgidmap",
                               "install them (Debian: package uidmap)");
        else if (facts.no_new_privs)
          refusals.unsupported("idmap.kind",
                               "no_new_privs is set, so newuidmap would gain no privilege",
                               "set idmap.kind = single, or run it without no_new_privs");
      }
      break;
  }
  if (!facts.namespaces_user)
    refusals.unsupported(
        "idmap", "this kernel or its settings allow no user namespace to this user",
        "see /proc/sys/user/max_user_namespaces and /proc/sys/kernel/unprivileged_userns_clone");
  // Since Linux 5.12 file capabilities of the parent's root count in a namespace that maps it.
  const bool maps_root =
      std::ranges::any_of(ids.uids, [](const IdRange& r) { return r.outside == 0; });
  if (maps_root && !facts.has_cap(cap_setfcap) && facts.kernel_at_least(5, 12))
    refusals.unsupported(
        "idmap",
        "uid 0 of the calling program would be mapped, which needs CAP_SETFCAP since Linux 5.12",
        "run it as a user other than root, or with that capability");
  // user_namespaces(7): who has no CAP_SETGID outside may map his gid only after giving
  // setgroups(2) up.
  if (ids.how == op::WriteIdMap::direct && !facts.privileged()) {
    ids.deny_setgroups = true;
    ids.set_groups = false;
  }
  if (!ids.has_uid(0) && !ids.uids.empty()) ids.first_uid = Uid{ids.uids.front().inside};
  if (!ids.has_gid(0) && !ids.gids.empty()) ids.first_gid = Gid{ids.gids.front().inside};
  return ids;
}

}  // namespace condroid::inline v0::detail
