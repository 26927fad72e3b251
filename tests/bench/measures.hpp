// How long it takes to read what a container uses.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

namespace bench {

struct Snapshot {
  std::string hierarchy = {};  ///< "v2", "v1 memory", or "all"
  std::size_t files = 0;
  double microseconds = 0;  ///< Median of single reads.
  bool one_hierarchy = true;
};

/// Of the cgroups of a process, one by one where there are several, and all together; empty, and
/// why, when one cannot be read.
[[nodiscard]] std::vector<Snapshot> time_snapshots(pid_t pid, int rounds, std::string* error);

}  // namespace bench
