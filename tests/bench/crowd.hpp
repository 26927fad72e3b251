// Freezing, thawing and killing a container of many processes, against the kernel's own operations.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bench {

/// Milliseconds of each round; bare and ours of one round were measured within a moment of each
/// other.
struct CrowdRounds {
  std::vector<double> bare = {};
  std::vector<double> ours = {};
};
struct CrowdFigures {
  CrowdRounds freeze = {};
  CrowdRounds thaw = {};
  /// Until every process is gone. Ours: until the exit was told, with the cgroup removed.
  CrowdRounds kill = {};
};
inline constexpr unsigned crowd_size = 500;

/// "v2", "v1 freezer": what this machine can freeze with.
[[nodiscard]] std::vector<std::string> crowd_freezers();
/// `command` in `root` becomes crowd_size processes. False with the reason in `error`.
[[nodiscard]] bool measure_crowd(const std::string& root, std::string_view freezer, unsigned rounds,
                                 CrowdFigures* figures, std::string* error);

}  // namespace bench
