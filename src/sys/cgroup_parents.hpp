// Where a user's containers are put in each hierarchy. Private.
#pragma once

#include <string>

#include "condroid/sys/facts.hpp"

namespace condroid::inline v0::detail {

/// Sets CgroupHierarchy::parent and what depends on it, for the user that the facts are of.
/// `wanted` is somebody's choice for all hierarchies; empty for none.
void choose_cgroup_parents(HostFacts& facts, const std::string& wanted);

}  // namespace condroid::inline v0::detail
