#include "series.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

namespace bench {
namespace {

using std::chrono::milliseconds;

void take_round(Series* series, Pace pace, Effort effort) {
  Reply reply;
  series->request.count = pace == Pace::spaced ? 1 : static_cast<std::uint32_t>(effort.batch) + 1;
  if (!series->worker->call(series->request, &reply)) {
    series->error = series->worker->error();
    return;
  }
  std::vector<double> round;
  for (std::uint32_t i = pace == Pace::spaced ? 0 : 1; i < reply.count; ++i)
    round.push_back(static_cast<double>(reply.ns[i]) / 1e6);
  series->rounds.push_back(median(round));
  series->samples.insert(series->samples.end(), round.begin(), round.end());
}

}  // namespace

const char* to_string(Pace pace) noexcept {
  return pace == Pace::spaced ? "150 ms apart" : "back to back";
}

void measure(const std::vector<Series*>& all, Pace pace, Effort effort) {
  std::vector<Series*> order = all;
  for (int round = 0; round < effort.rounds; ++round) {
    for (Series* series : order) {
      if (!series->error.empty()) continue;
      std::this_thread::sleep_for(pace == Pace::spaced ? milliseconds(150) : milliseconds(3));
      take_round(series, pace, effort);
    }
    std::reverse(order.begin(), order.end());
  }
}

}  // namespace bench
