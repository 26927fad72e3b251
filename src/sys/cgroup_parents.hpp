// Where a user's containers are put in each hierarchy. Private.
#pragma once

#include <sys/types.h>

#include <string>

#include "condroid/error.hpp"
#include "condroid/sys/facts.hpp"

namespace condroid::inline v0::detail {

/// Sets CgroupHierarchy::parent and what depends on it, for the user that the facts are of.
/// `wanted` is somebody's choice for all hierarchies; empty for none.
void choose_cgroup_parents(HostFacts& facts, const std::string& wanted);

/// The directory of CgroupHierarchy::parent: "/sys/fs/cgroup/memory/user".
[[nodiscard]] inline std::string parent_dir(const CgroupHierarchy& h) {
  return h.mount_point + (h.parent == "/" ? "" : h.parent);
}

/// Whether this user may make cgroups and give them controllers.
[[nodiscard]] bool has_usable_cgroups(const HostFacts& facts);

/// Puts containers below the scope `unit` that `process` is in, and the process on v2 into a leaf
/// of it: controllers are handed on only by a cgroup without processes. Hierarchies in which
/// systemd made no such cgroup stay as they are.
/// @errors Step::start_scope when there is none in any hierarchy that is mounted here.
[[nodiscard]] Result<void> put_below_scope(HostFacts& facts, pid_t process,
                                           const std::string& unit);

}  // namespace condroid::inline v0::detail
