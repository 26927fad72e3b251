// Namespace: the kinds of namespace, for a Spec and for the handles alike.
#pragma once

#include <cstdint>
#include <type_traits>

#include "condroid/flags.hpp"

namespace condroid {
inline namespace v0 {

/// The kinds of namespace; namespaces(7).
enum class Namespace : std::uint32_t {
  mount = 1U << 0U,
  pid = 1U << 1U,
  uts = 1U << 2U,
  ipc = 1U << 3U,
  net = 1U << 4U,
  user = 1U << 5U,
  cgroup = 1U << 6U,
  time = 1U << 7U,  ///< Linux 5.6
};
template <>
struct is_flag_enum<Namespace> : std::true_type {};

}  // namespace v0
}  // namespace condroid
