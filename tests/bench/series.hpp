// Series of timings that are taken in turns.
#pragma once

#include <string>
#include <vector>

#include "stats.hpp"
#include "worker.hpp"

namespace bench {

/// One thing that is timed again and again.
struct Series {
  std::string name = {};
  Worker* worker = nullptr;
  Request request = {};
  std::string error = {};            ///< Why there are no more samples.
  std::vector<double> samples = {};  ///< Milliseconds.
  std::vector<double> rounds = {};   ///< The median of each round.
};

enum class Pace {
  back_to_back,
  spaced,  ///< 150 ms between any two launches. A tight loop hides waits for an RCU grace period.
};

struct Effort {
  int rounds = 0;
  int batch =
      0;  ///< Launches in a row in one round, back to back. The first of them is not counted.
};

[[nodiscard]] const char* to_string(Pace pace) noexcept;

/// Takes a round of each series in turn, forwards and backwards alternately: what the one before
/// leaves behind (namespaces that the kernel takes apart later) hits all of them alike.
void measure(const std::vector<Series*>& all, Pace pace, Effort effort);

}  // namespace bench
