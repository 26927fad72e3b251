// What a container may use: limits kept by cgroups.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {

/// A value written as it is to a file of the container's cgroup: {"memory.high", "64M"}. The part
/// before the first dot names the controller.
struct CgroupSetting {
  std::string file = {};
  std::string value = {};
  bool optional = false;  ///< A hierarchy without that file is no failure.
  bool operator==(const CgroupSetting&) const = default;
};

/// Whether the container has a cgroup of its own.
enum class CgroupMode : std::uint8_t {
  automatic,  ///< When a limit, a cgroup mount or a shared pid namespace needs one.
  always,
  measured,  ///< One in each hierarchy that counts something; what this user may not have is left
             ///< out.
  never,
};

/// Limits of everything in the container together. Unset: not limited.
struct Resources {
  CgroupMode cgroup = CgroupMode::automatic;
  std::optional<Bytes> memory_max = {};
  std::optional<Bytes> memory_high = {};  ///< v2 only
  /// Swap alone; on v1 memory and swap together are set to the sum.
  std::optional<Bytes> memory_swap_max = {};
  std::optional<std::uint64_t> pids_max = {};
  /// Processor time, in processors: 0.5 is half of one.
  std::optional<double> cpus = {};
  std::optional<std::uint32_t> cpu_weight = {};  ///< 1 to 10000, 100 is usual.
  std::string cpuset_cpus = {};                  ///< "0-2,5"
  std::string cpuset_mems = {};
  std::vector<CgroupSetting> settings = {};
  bool operator==(const Resources&) const = default;
};

}  // namespace v0
}  // namespace condroid
