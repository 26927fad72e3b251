#include "series.hpp"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>

namespace bench {
namespace {

using std::chrono::milliseconds;

// Running and runnable threads of the whole machine but this one: 0 when nothing else wants a
// processor.
int others_running() {
  std::ifstream file("/proc/loadavg");
  std::string skip;
  int running = 1;
  char slash = 0;
  file >> skip >> skip >> skip >> running >> slash;
  return running - 1;
}

using Round = std::vector<std::vector<double>>;  // One entry per series.

std::vector<double> take_turn(Series* series, Pace pace, Effort effort) {
  Reply reply;
  series->request.count = pace == Pace::spaced ? 1 : static_cast<std::uint32_t>(effort.batch) + 1;
  std::vector<double> turn;
  if (!series->worker->call(series->request, &reply)) {
    series->error = series->worker->error();
    return turn;
  }
  for (std::uint32_t i = pace == Pace::spaced ? 0 : 1; i < reply.count; ++i)
    turn.push_back(static_cast<double>(reply.ns[i]) / 1e6);
  return turn;
}

void keep(const std::vector<Series*>& all, const Round& round, bool disturbed) {
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (round[i].empty()) continue;
    all[i]->rounds.push_back(median(round[i]));
    all[i]->samples.insert(all[i]->samples.end(), round[i].begin(), round[i].end());
    if (disturbed) ++all[i]->disturbed;
  }
}

}  // namespace

const char* to_string(Pace pace) noexcept {
  return pace == Pace::spaced ? "150 ms apart" : "back to back";
}

bool wait_for_quiet(milliseconds* patience) {
  constexpr milliseconds step(5);
  for (;;) {
    if (others_running() == 0) return true;
    if (*patience < step) return false;
    std::this_thread::sleep_for(step);
    *patience -= step;
  }
}

void measure(const std::vector<Series*>& all, Pace pace, Effort effort, milliseconds* patience) {
  std::vector<std::size_t> order(all.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<Round> disturbed;
  int quiet_rounds = 0;
  for (int tried = 0; quiet_rounds < effort.rounds && tried < 3 * effort.rounds; ++tried) {
    Round round(all.size());
    bool quiet = true;
    for (const std::size_t i : order) {
      if (!all[i]->error.empty()) continue;
      bool undisturbed = false;
      for (int attempt = 0; attempt < 3 && !undisturbed && all[i]->error.empty(); ++attempt) {
        std::this_thread::sleep_for(pace == Pace::spaced ? milliseconds(150) : milliseconds(3));
        undisturbed = wait_for_quiet(patience);
        round[i] = take_turn(all[i], pace, effort);
        // What the launches themselves leave to do for the kernel is soon done.
        milliseconds moment(20);
        undisturbed = undisturbed && wait_for_quiet(&moment);
        if (*patience <= milliseconds(0)) break;
      }
      quiet = quiet && undisturbed;
    }
    std::reverse(order.begin(), order.end());
    if (quiet) {
      keep(all, round, false);
      ++quiet_rounds;
    } else {
      disturbed.push_back(std::move(round));
      // Without patience every round is as good as the next.
      if (*patience <= milliseconds(0) && tried + 1 >= effort.rounds) break;
    }
  }
  for (const Round& round : disturbed) {
    if (quiet_rounds >= effort.rounds / 2) break;
    keep(all, round, true);
    ++quiet_rounds;
  }
}

void measure_until_clear(const std::vector<Series*>& all, Pace pace, Effort effort,
                         const Series& ours, const Series& reference, double limit, int times,
                         milliseconds* patience) {
  for (int i = 0; i < times; ++i) {
    measure(all, pace, effort, patience);
    if (!ours.error.empty() || !reference.error.empty()) return;
    const Ratio ratio = paired_ratio(ours.rounds, reference.rounds);
    if (ratio.high < limit || ratio.low > limit) return;
  }
}

}  // namespace bench
