// What the files say that count for a cgroup, of both versions. Neither allocates nor fails: what
// cannot be understood is left out. Private.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "condroid/stats.hpp"

namespace condroid::inline v0::detail {

/// A file that counts.
enum class Counter : std::uint8_t {
  // v2
  cpu_stat,
  memory_current,
  memory_peak,
  memory_swap,
  memory_events,
  io_stat,
  cpu_pressure,
  memory_pressure,
  io_pressure,
  // v1
  cpuacct_total,
  cpuacct_user,
  cpuacct_system,
  cpu_stat_v1,
  memory_usage,
  memory_max_usage,
  memory_and_swap,  ///< After memory_usage.
  oom_control,
  blkio_bytes,
  blkio_requests,
  // both
  pids_current,
  pids_peak,
  pids_events,
  count_,
};

/// Its name, and in which versions it is found.
struct CounterFile {
  const char* name;
  bool v1;
  bool v2;
};
[[nodiscard]] const CounterFile& file_of(Counter counter) noexcept;

/// Adds what the text says.
void take_counter(Counter counter, std::string_view text, Stats& into) noexcept;

/// The number after a key of a flat keyed file: "max 3\n".
[[nodiscard]] std::optional<std::uint64_t> number_of(std::string_view text,
                                                     std::string_view key) noexcept;

}  // namespace condroid::inline v0::detail
