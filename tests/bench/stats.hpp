// What is made of the samples: percentiles, and ratios of paired rounds with an interval.
#pragma once

#include <cstdint>
#include <vector>

namespace bench {

/// Milliseconds.
struct Summary {
  double p50 = 0;
  double p99 = 0;
  double min = 0;
  std::size_t samples = 0;
};

struct Ratio {
  double value = 0;
  double low = 0;  ///< 95 % of the ratios of resampled rounds lie between low and high.
  double high = 0;
};

[[nodiscard]] double median(std::vector<double> values);
[[nodiscard]] Summary summarize(const std::vector<double>& milliseconds);

/// The median over all rounds of (median of a's round / median of b's round). Both of a round were
/// measured within a moment of each other, so the drift of the machine is in neither. Rounds of
/// unequal number are cut to the shorter.
[[nodiscard]] Ratio paired_ratio(const std::vector<double>& a_rounds,
                                 const std::vector<double>& b_rounds);

}  // namespace bench
