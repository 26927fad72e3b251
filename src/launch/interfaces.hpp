// What the host keeps of a container's interfaces. Private.
#pragma once

#include <cstdint>
#include <vector>

#include "condroid/sys/fd.hpp"

namespace condroid::inline v0::detail {

/// The host's ends of veths. The kernel removes them with the container's network namespace, in a
/// thread of its own and a while after the end; up to then the namespace would still answer for its
/// addresses. Taking the ends down costs a tenth of a millisecond, removing them a hundred times
/// that.
struct HostEnds {
  Fd socket;  ///< Of the network namespace that they are in; only if there are any.
  std::vector<std::uint32_t> indexes;

  void take_down();
};

}  // namespace condroid::inline v0::detail
