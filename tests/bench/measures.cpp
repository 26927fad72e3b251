#include "measures.hpp"

#include <algorithm>
#include <chrono>
#include <condroid/stats.hpp>
#include <condroid/sys/cgroup.hpp>
#include <fstream>
#include <span>
#include <string_view>

namespace bench {
namespace {

using namespace condroid;
using Clock = std::chrono::steady_clock;

/// The cgroup of a process in a hierarchy; empty when it is in none.
std::string cgroup_of(pid_t pid, const CgroupHierarchy& h) {
  std::ifstream lines("/proc/" + std::to_string(pid) + "/cgroup");
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool here = h.v2 ? names == ",,"
                           : !h.controllers.empty() &&
                                 names.find("," + h.controllers.front() + ",") != std::string::npos;
    if (here) return line.substr(second + 1);
  }
  return {};
}

double median_of(const StatsReader& reader, int rounds, std::string* error) {
  std::vector<double> samples;
  samples.reserve(static_cast<std::size_t>(rounds));
  Stats now;
  for (int i = 0; i < rounds; ++i) {
    const auto begin = Clock::now();
    const auto there = reader.read(now);
    const std::chrono::duration<double, std::micro> took = Clock::now() - begin;
    if (!there || !*there) {
      *error = there ? "the container ended" : to_string(there.error());
      return 0;
    }
    samples.push_back(took.count());
  }
  std::nth_element(samples.begin(), samples.begin() + rounds / 2, samples.end());
  return samples[static_cast<std::size_t>(rounds / 2)];
}

}  // namespace

std::vector<Snapshot> time_snapshots(pid_t pid, int rounds, std::string* error) {
  std::vector<Snapshot> out;
  const auto hierarchies = CgroupDir::hierarchies();
  if (!hierarchies) return *error = to_string(hierarchies.error()), out;
  std::vector<CgroupDir> all;
  const auto add = [&](std::string name, std::span<const CgroupDir> dirs, bool one) {
    const auto reader = StatsReader::open(dirs);
    if (!reader) return;  // nothing is counted there
    out.push_back({std::move(name), reader->files(), median_of(*reader, rounds, error), one});
  };
  for (const CgroupHierarchy& h : *hierarchies) {
    const std::string path = cgroup_of(pid, h);
    if (path.find("/condroid-") == std::string::npos) continue;
    auto dir = CgroupDir::open(h, path);
    if (!dir) return *error = to_string(dir.error()), std::vector<Snapshot>{};
    all.push_back(std::move(*dir));
    add(h.v2 ? "v2" : "v1 " + h.controllers.front(), {&all.back(), 1}, true);
  }
  if (out.empty() && error->empty()) *error = "nothing of it is counted";
  if (out.size() > 1) add("all", all, false);
  if (!error->empty()) out.clear();
  return out;
}

}  // namespace bench
