#include "stats.hpp"

#include <algorithm>
#include <random>

namespace bench {

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  if (values.size() % 2 == 1) return values[middle];
  return (values[middle - 1] + values[middle]) / 2;
}

Summary summarize(const std::vector<double>& milliseconds) {
  if (milliseconds.empty()) return {};
  std::vector<double> sorted = milliseconds;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t last = sorted.size() - 1;
  return {.p50 = median(sorted),
          .p99 = sorted[std::min(last, sorted.size() * 99 / 100)],
          .min = sorted.front(),
          .samples = sorted.size()};
}

Ratio paired_ratio(const std::vector<double>& a_rounds, const std::vector<double>& b_rounds) {
  const std::size_t rounds = std::min(a_rounds.size(), b_rounds.size());
  std::vector<double> ratios;
  for (std::size_t i = 0; i < rounds; ++i) {
    if (b_rounds[i] > 0) ratios.push_back(a_rounds[i] / b_rounds[i]);
  }
  if (ratios.empty()) return {};
  std::mt19937 random(1);  // NOLINT(*-msc51-cpp): the same samples give the same interval
  std::uniform_int_distribution<std::size_t> pick(0, ratios.size() - 1);
  std::vector<double> medians;
  for (int i = 0; i < 1000; ++i) {
    std::vector<double> resampled;
    for (std::size_t j = 0; j < ratios.size(); ++j) resampled.push_back(ratios[pick(random)]);
    medians.push_back(median(std::move(resampled)));
  }
  std::sort(medians.begin(), medians.end());
  return {.value = median(ratios), .low = medians[25], .high = medians[974]};
}

}  // namespace bench
