// What /proc says about processes.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

struct ProcessInfo {
  std::uint64_t resident_kib = 0;      ///< Exact, from smaps_rollup: VmRSS of status lags behind.
  std::uint64_t proportional_kib = 0;  ///< Pss
  std::uint64_t descriptors = 0;
};

/// All zero for a process that is not there, or pid 0.
[[nodiscard]] ProcessInfo process_info(pid_t pid);

/// Processes whose parent is `pid`; zombies are not counted.
[[nodiscard]] std::vector<pid_t> children_of(pid_t pid);

/// Context switches, voluntary or not, of all threads.
[[nodiscard]] std::uint64_t context_switches(pid_t pid);
[[nodiscard]] std::uint64_t context_switches(const std::vector<pid_t>& pids);

/// MemAvailable.
[[nodiscard]] std::uint64_t this_machine_available_mib();

}  // namespace bench
