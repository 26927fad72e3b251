// The program that a cgroup of v2 asks before a device is opened or made. Private.
#pragma once

#include <cstdint>
#include <span>

namespace condroid::inline v0::detail {

/// Puts it in the place of the one that was set here before, or beside those of others, all of
/// which must agree. bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE, Linux 4.15; it goes with the cgroup. 0,
/// or errno: EPERM without CAP_BPF and CAP_NET_ADMIN.
[[nodiscard]] int set_device_filter(int cgroup, std::span<const std::uint64_t> program);

}  // namespace condroid::inline v0::detail
