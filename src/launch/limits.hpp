// Writing limits into a container's cgroups: at the launch, and while it runs. Private.
#pragma once

#include <string>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/plan/op.hpp"
#include "condroid/spec/resources.hpp"

namespace condroid::inline v0::detail {

class ContainerCore;

/// "MAJOR:MINOR " of the disk that a path means: a block device's node is that device, anything
/// else is on one. A partition is a part of its disk.
[[nodiscard]] Result<std::string> disk_of(const std::string& path, const std::string& field);

/// Writes one value to the cgroup `dir`; `cgroup` is its name for the reader. Something optional
/// that cannot be had is added to `left_out`.
[[nodiscard]] Result<void> write_limit(int dir, const op::WriteCgroup& o, const std::string& cgroup,
                                       std::vector<LeftOut>& left_out);

/// Container::set_limits.
[[nodiscard]] Result<LimitsReport> change_limits(ContainerCore& core, const Resources& limits);

}  // namespace condroid::inline v0::detail
