// Which devices a container may open, told to its cgroup: at the launch, and while it runs.
// Private.
#pragma once

#include <string>

#include "condroid/error.hpp"
#include "condroid/plan/op.hpp"

namespace condroid::inline v0::detail {

/// In a cgroup that is new. `name` is for messages.
[[nodiscard]] Result<void> filter_devices(int cgroup, const op::FilterDevices& filter,
                                          const std::string& name);
/// One more, in a cgroup that has the filter, and in `filter`.
[[nodiscard]] Result<void> permit_device(int cgroup, op::FilterDevices& filter,
                                         const DevicePermission& more, const std::string& name);

}  // namespace condroid::inline v0::detail
