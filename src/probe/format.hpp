// What the probe program tells the library: one Finding for each thing that it tried. Shared with
// freestanding code: fixed-size, trivially copyable data. The host treats it as hostile input.
#pragma once

#include <stdint.h>

namespace condroid::probe {

enum class State : uint32_t { works = 1, failed, unknown };

struct Finding {
  char id[48];
  State state;
  int32_t error;   ///< errno, when failed; 0: `text` says it all.
  char step[48];   ///< What was being done.
  char text[160];  ///< How it works; or what somebody else said of it.
};

/// Numbers of the program's descriptors, from its first instruction on.
inline constexpr int fd_findings = 1, fd_program = 3, fd_cgroups = 8;
/// Hierarchies that it can be given: two descriptors each.
inline constexpr int max_cgroups = 24;

}  // namespace condroid::probe
