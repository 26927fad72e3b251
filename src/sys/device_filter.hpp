// The program that a cgroup of v2 asks before a device is opened or made. Private.
#pragma once

#include <cstdint>
#include <span>

namespace condroid::inline v0::detail {

/// Asks it for this cgroup and all below. `again`: in the place of the one that is here, which
/// takes CAP_SYS_ADMIN. bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE, Linux 4.15; it goes with the cgroup.
/// 0, or errno: EPERM without CAP_BPF and CAP_NET_ADMIN.
[[nodiscard]] int set_device_filter(int cgroup, std::span<const std::uint64_t> program,
                                    bool again = false);

}  // namespace condroid::inline v0::detail
