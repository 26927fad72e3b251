// Series of timings that are taken in turns.
#pragma once

#include <chrono>
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
  int disturbed = 0;                 ///< How many of the rounds were taken on a busy machine.
};

/// Waits until nothing else runs on the machine, as /proc/loadavg counts it. False if it is still
/// busy when `patience`, from which the waiting is taken, is used up. A launch that shares its
/// processors waits for the scheduler and for RCU most of the time, and says nothing.
[[nodiscard]] bool wait_for_quiet(std::chrono::milliseconds* patience);

enum class Pace {
  back_to_back,
  spaced,  ///< 150 ms between any two launches. A tight loop hides waits for an RCU grace period.
};

struct Effort {
  int rounds = 0;
  int batch = 0;  ///< Launches in a row in one round; the first of them is not counted.
};

[[nodiscard]] const char* to_string(Pace pace) noexcept;

/// Takes a round of each series in turn, forwards and backwards alternately: what the one before
/// leaves behind (namespaces that the kernel takes apart later) hits all of them alike. Each turn
/// waits for a quiet moment as long as `patience` lasts; rounds that were disturbed all the same
/// are repeated, and taken after all when there are too few others.
void measure(const std::vector<Series*>& all, Pace pace, Effort effort,
             std::chrono::milliseconds* patience);

/// The same, and once more, up to `times` in all, while it is not clear on which side of `limit`
/// the ratio of `ours` to `reference` is: while the limit is in the ratio's interval. A busy
/// machine gets more rounds that way.
void measure_until_clear(const std::vector<Series*>& all, Pace pace, Effort effort,
                         const Series& ours, const Series& reference, double limit, int times,
                         std::chrono::milliseconds* patience);

}  // namespace bench
