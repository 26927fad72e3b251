// Stats: what a container uses, counted by its cgroups. The same on cgroup v1, v2 and both.
//
//   auto reader = box.stats_reader();
//   Stats now;
//   while (reader && reader->read(now).value_or(false))
//     if (now.memory) fmt::print("{} bytes\n", now.memory->current.value);
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/sys/cgroup.hpp"
#include "condroid/sys/fd.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {

namespace detail {
class ContainerCore;
}  // namespace detail

/// Processor time of everything in a container, also of what has ended.
struct CpuTime {
  std::chrono::microseconds total{0};
  std::chrono::microseconds user{0};
  std::chrono::microseconds system{0};
  auto operator<=>(const CpuTime&) const = default;
};

/// How often a container was stopped for its limit on processor time.
struct CpuThrottling {
  std::uint64_t periods = 0;             ///< In which it ran while there was a limit.
  std::uint64_t throttled = 0;           ///< In which it was stopped.
  std::chrono::microseconds stopped{0};  ///< Of all processors together.
  auto operator<=>(const CpuThrottling&) const = default;
};

struct MemoryUse {
  Bytes current = {};
  std::optional<Bytes> peak = {};  ///< v2: Linux 5.19
  std::optional<Bytes> swap = {};  ///< Unset where swap is not counted.
  std::optional<std::uint64_t> oom_kills = {};
  bool operator==(const MemoryUse&) const = default;
};

/// What has gone through a network interface of the container's, as the kernel counts it from
/// there; struct rtnl_link_stats64.
struct InterfaceUse {
  /// Ends with a NUL; any bytes that its root may choose.
  std::array<char, 16> name = {};
  std::uint64_t rx_bytes = 0, rx_packets = 0, rx_errors = 0, rx_dropped = 0;
  std::uint64_t tx_bytes = 0, tx_packets = 0, tx_errors = 0, tx_dropped = 0;
  [[nodiscard]] std::string_view name_view() const noexcept { return name.data(); }
  auto operator<=>(const InterfaceUse&) const = default;
};

/// What a StatsReader reads besides the cgroups.
struct StatsOptions {
  /// The interfaces of a network namespace of the container's own: Stats::interfaces. A process of
  /// the zygote's opens a socket there, a millisecond, once; a descriptor more. As long as that is
  /// open the namespace, and what is in it, is not gone.
  bool interfaces = false;
};

/// What was read, written and discarded on block devices.
struct IoCount {
  Bytes read = {};
  Bytes written = {};
  Bytes discarded = {};
  std::uint64_t reads = 0;  ///< Requests.
  std::uint64_t writes = 0;
  std::uint64_t discards = 0;
  bool operator==(const IoCount&) const = default;
};

struct IoUse {
  struct Device {
    std::uint32_t major = 0;
    std::uint32_t minor = 0;
    IoCount count = {};
    bool operator==(const Device&) const = default;
  };
  IoCount total = {};  ///< Of all devices, also those that `devices` has no place for.
  std::array<Device, 16> list = {};
  std::size_t listed = 0;

  [[nodiscard]] std::span<const Device> devices() const noexcept { return {list.data(), listed}; }
  bool operator==(const IoUse&) const = default;
};

struct PidsUse {
  std::uint64_t current = 0;                     ///< Processes and threads.
  std::optional<std::uint64_t> peak = {};        ///< Unset on older kernels; 6.1 has it.
  std::optional<std::uint64_t> limit_hits = {};  ///< Forks that were refused.
  bool operator==(const PidsUse&) const = default;
};

/// How long tasks stood still for want of a resource; "Pressure stall information" of the kernel.
struct Pressure {
  struct Line {
    double avg10 = 0;  ///< Percent of the last 10 seconds.
    double avg60 = 0;
    double avg300 = 0;
    std::chrono::microseconds total{0};
    bool operator==(const Line&) const = default;
  };
  Line some = {};                 ///< At least one task stood still.
  std::optional<Line> full = {};  ///< All of them did. For cpu: Linux 5.13.
  bool operator==(const Pressure&) const = default;
};

/// One look. What none of the container's hierarchies counts is unset; docs/measures.md has the
/// table. Plain data of a fixed size.
struct Stats {
  std::chrono::steady_clock::time_point taken = {};
  std::optional<CpuTime> cpu = {};
  std::optional<CpuThrottling> throttling = {};
  std::optional<MemoryUse> memory = {};
  std::optional<IoUse> io = {};
  std::optional<PidsUse> pids = {};
  std::optional<Pressure> cpu_pressure = {};
  std::optional<Pressure> memory_pressure = {};
  std::optional<Pressure> io_pressure = {};
  /// The first so many of StatsOptions::interfaces, the loopback among them, in the kernel's order.
  std::array<InterfaceUse, 16> interfaces = {};
  std::uint8_t interface_count = 0;
};

/// Keeps the files that count open, one descriptor each: up to 13 on v2, 16 where v1 and v2 are
/// mixed; and a socket for interfaces. Move-only; may outlive the container and be used by one
/// thread at a time, whichever.
class StatsReader {
 public:
  /// Reads nothing: read() says that it has ended.
  StatsReader() noexcept = default;
  /// Of a container that somebody else launched: its cgroup in each hierarchy that counts.
  /// @errors Errc::unsupported if nothing is counted there; EMFILE.
  [[nodiscard]] static Result<StatsReader> open(std::span<const CgroupDir> cgroups);

  /// Fills `into`; false, and `into` is left as it was, when the container has ended. Does not
  /// block and does not allocate, but for the Error. pread(2) of each file.
  [[nodiscard]] Result<bool> read(Stats& into) const;
  /// How many files are read each time.
  [[nodiscard]] std::size_t files() const noexcept { return files_.size(); }

 private:
  friend class detail::ContainerCore;
  struct File {
    Fd fd;
    std::uint8_t what = 0;
  };
  /// What counts in one cgroup, beside what was found before. errno, or 0.
  [[nodiscard]] int add(int dir, bool v2);
  std::vector<File> files_ = {};
  Fd network_ = {};  ///< Of rtnetlink(7), in the container's namespace.
  Fd process_ = {};  ///< With it: the container's first process.
};

}  // namespace v0
}  // namespace condroid
