// MountFlag and Propagation: what a mount is like, for a Spec and for the handles alike.
#pragma once

#include <cstdint>
#include <type_traits>

#include "condroid/flags.hpp"

namespace condroid {
inline namespace v0 {

/// Attributes of a mount; mount_setattr(2).
enum class MountFlag : std::uint32_t {
  read_only = 1U << 0U,
  nosuid = 1U << 1U,
  nodev = 1U << 2U,
  noexec = 1U << 3U,
  noatime = 1U << 4U,
  strictatime = 1U << 5U,
  nodiratime = 1U << 6U,
  nosymfollow = 1U << 7U,  ///< Linux 5.14
};
template <>
struct is_flag_enum<MountFlag> : std::true_type {};

/// How mounts made later travel between this mount and its copies; mount_namespaces(7).
enum class Propagation : std::uint8_t { as_is, private_, slave, shared, unbindable };

}  // namespace v0
}  // namespace condroid
