// Kernel constants that the handles need and program/kernel.hpp has no use for, with the version
// that brought each. Spelled here because <linux/mount.h> collides with <sys/mount.h> on some
// systems, and Debian 12's headers are older than the kernels we meet.
#pragma once

#include <cstdint>

namespace condroid::uapi {

// statfs(2)
inline constexpr long nsfs_magic = 0x6e736673;

// ioctl_ns(2)
inline constexpr unsigned long ns_get_userns = 0xb701;  // Linux 4.9
inline constexpr unsigned long ns_get_nstype = 0xb703;  // Linux 4.11

}  // namespace condroid::uapi
