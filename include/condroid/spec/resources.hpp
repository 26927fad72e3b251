// What a container may use: limits kept by cgroups. docs/limits.md has the table of which field
// becomes which file.
//
//   spec.resources = {.memory_max = 512_MiB, .pids_max = 256, .cpus = 1.5};
//   spec.resources.io = {{.device = "/srv"_host, .write_bytes = 10_MiB}};
//   ...
//   auto report = box.set_limits({.memory_max = 1_GiB, .cpus = unlimited});
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "condroid/flags.hpp"
#include "condroid/path.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {

/// No limit, as a value: what a change of a running container lifts one with.
struct Unlimited {};
inline constexpr Unlimited unlimited{};

/// A most of something, or `unlimited`.
template <class T>
class Limit {
 public:
  constexpr Limit() noexcept = default;  ///< Unlimited.
  // Not explicit: a number is a limit.
  constexpr Limit(T most) noexcept : most_(most), limited_(true) {}  // NOLINT(*-explicit-*)
  constexpr Limit(Unlimited /*none*/) noexcept {}                    // NOLINT(*-explicit-*)

  [[nodiscard]] constexpr bool limited() const noexcept { return limited_; }
  /// The most; T{} when there is no limit.
  [[nodiscard]] constexpr T most() const noexcept { return most_; }
  bool operator==(const Limit&) const = default;

 private:
  T most_ = {};
  bool limited_ = false;
};

/// A value written as it is to a file of the container's cgroup: {"memory.high", "64M"}. The part
/// before the first dot names the controller.
struct CgroupSetting {
  std::string file = {};
  std::string value = {};
  bool optional = false;  ///< Left out, and reported, where there is no such file.
  bool operator==(const CgroupSetting&) const = default;
};

/// A block device by its numbers.
struct DeviceNumber {
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  auto operator<=>(const DeviceNumber&) const = default;
};

/// Rates of one block device, per second. Unset: not changed.
struct IoLimit {
  /// A path of a block device's node is that device, any other path the device that its file
  /// system is on; a partition stands for its disk, since the kernel limits whole disks only.
  std::variant<HostPath, DeviceNumber> device = {};
  std::optional<Limit<Bytes>> read_bytes = {};
  std::optional<Limit<Bytes>> write_bytes = {};
  std::optional<Limit<std::uint64_t>> read_operations = {};
  std::optional<Limit<std::uint64_t>> write_operations = {};
  bool operator==(const IoLimit&) const = default;
};

/// Memory in huge pages of one size; the kernel rounds it down to whole pages.
struct HugetlbLimit {
  Bytes page_size = {};  ///< A power of two from 64 KiB to 16 GiB: those that the machine has.
  Limit<Bytes> most = {};
  bool operator==(const HugetlbLimit&) const = default;
};

/// Whether the container has a cgroup of its own.
enum class CgroupMode : std::uint8_t {
  automatic,  ///< When a limit, a cgroup mount or a shared pid namespace needs one.
  always,     ///< One at least, of version 2 where there is one.
  /// In every hierarchy where this user may make one, with every controller: all is counted, and
  /// any limit can be set while it runs. On v2 a cgroup that has processes, like the one of this
  /// program, cannot give controllers to those below it: Container::left_out() names them.
  everywhere,
  never,
};

/// The fields of Resources that can be marked optional.
enum class ResourceField : std::uint32_t {
  memory_max = 1U << 0U,
  memory_high = 1U << 1U,
  memory_swap_max = 1U << 2U,
  pids_max = 1U << 3U,
  cpus = 1U << 4U,
  cpu_weight = 1U << 5U,
  cpuset_cpus = 1U << 6U,
  cpuset_mems = 1U << 7U,
  io_weight = 1U << 8U,
  io = 1U << 9U,
  hugetlb = 1U << 10U,
};
template <>
struct is_flag_enum<ResourceField> : std::true_type {};

/// Limits of everything in the container together. Unset: not limited, or, where a running
/// container is changed, left as it is.
struct Resources {
  CgroupMode cgroup = CgroupMode::automatic;
  /// Where its cgroups are, in each hierarchy: "guests/web", below RuntimeOptions::cgroup_parent.
  /// What is missing on the way is made, and goes with the last that was below it. It must not be
  /// there yet (EEXIST). At most 100 bytes. Empty: below one of the Runtime's, by the container's
  /// name.
  std::string cgroup_path = {};
  /// With that, one name: its processes are in a cgroup of that name below the one with limits. A
  /// cgroup namespace of its own begins there, so that the limits are out of its view. Empty: in
  /// that one.
  std::string cgroup_inner = {};
  std::optional<Limit<Bytes>> memory_max = {};
  std::optional<Limit<Bytes>> memory_high = {};  ///< v2 only
  /// Swap alone; on v1 memory and swap together are set to the sum.
  std::optional<Limit<Bytes>> memory_swap_max = {};
  std::optional<Limit<std::uint64_t>> pids_max = {};
  /// Processor time, in processors: 0.5 is half of one.
  std::optional<Limit<double>> cpus = {};
  std::optional<std::uint32_t> cpu_weight = {};  ///< 1 to 10000, 100 is usual.
  std::string cpuset_cpus = {};                  ///< "0-2,5"
  std::string cpuset_mems = {};
  std::optional<std::uint32_t> io_weight = {};  ///< 1 to 10000, 100 is usual.
  std::vector<IoLimit> io = {};
  std::vector<HugetlbLimit> hugetlb = {};
  std::vector<CgroupSetting> settings = {};
  /// What of these is left out, and reported, where this machine, kernel or user cannot do it,
  /// instead of being refused. A value that the kernel does not take is an error all the same.
  Flags<ResourceField> optional = {};
  bool operator==(const Resources&) const = default;
};

/// A limit that was marked optional and is not in force.
struct LeftOut {
  std::string field = {};  ///< "resources.memory_high", "resources.io[1]"
  std::string why = {};    ///< In the words of a refusal.
  bool operator==(const LeftOut&) const = default;
};

/// What became of a change of limits: everything that is not named here is in force.
struct LimitsReport {
  std::vector<LeftOut> left_out = {};
  bool operator==(const LimitsReport&) const = default;
};

}  // namespace v0
}  // namespace condroid
