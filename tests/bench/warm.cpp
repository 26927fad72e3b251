#include "warm.hpp"

#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

#include "process_info.hpp"
#include "rows.hpp"

namespace bench {
namespace {

using std::chrono::milliseconds;
namespace fs = std::filesystem;

Work clock_work(const Warm& warm, bool net) {
  Work work = warm.work(net);
  work.clock = true;
  copy_text(work.command, "/clock");
  return work;
}

/// Directories of containers in all hierarchies.
std::size_t count_cgroups() {
  std::size_t count = 0;
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    const std::size_t dash = line.find(" - cgroup");
    if (dash == std::string::npos) continue;
    std::istringstream front(line.substr(0, dash));
    std::string at;
    for (int i = 0; i < 5; ++i) front >> at;
    std::error_code error;
    for (fs::recursive_directory_iterator it(at, error), end; !error && it != end;
         it.increment(error))
      if (it->path().filename().string().starts_with("bench.") && it->is_directory(error)) ++count;
  }
  return count;
}

/// What a host and its zygote hold.
struct Holdings {
  std::size_t descriptors = 0;
  std::size_t processes = 0;
  std::size_t cgroups = 0;
};
Holdings holdings(pid_t host, pid_t helper) {
  return {process_info(host).descriptors + process_info(helper).descriptors,
          children_of(helper).size(), count_cgroups()};
}

}  // namespace

void take_section(const Warm& warm) {
  const char* const section = "to the first instruction: pool";
  std::string error;
  const std::unique_ptr<Worker> host = warm.start_host(0, nullptr, &error);
  for (const bool net : {false, true}) {
    const Work work = clock_work(warm, net);
    Request pool;
    Reply reply;
    pool.kind = Request::fill;
    pool.work = work;
    pool.amount = 4;
    if (host != nullptr && error.empty() && !host->call(pool, &reply)) error = host->error();
    for (const Pace pace : {Pace::back_to_back, Pace::spaced}) {
      const std::string condition = std::string(net ? "net, " : "no net, ") + to_string(pace);
      Series cold = series_of("cold launch", host.get(), Request::first, work, error);
      Series taken = series_of("Pool::take", host.get(), Request::first_take, work, error);
      if (error.empty())
        measure_until_clear({&cold, &taken}, pace, effort_of(pace, warm.quick), taken, cold, 0.5,
                            warm.quick ? 1 : 4, warm.patience);
      if (!complete(warm.report, section, {&cold, &taken}, condition)) continue;
      warm.report->add(row_of(section, cold, condition));
      Row row = row_of(section, taken, condition);
      row.ratio = paired_ratio(taken.rounds, cold.rounds);
      row.ratio_to = cold.name;
      Report::judge(&row, row.ratio->value, "<=", 0.5);
      warm.report->add(row);
      Row time;
      time.section = section;
      time.name = taken.name;
      time.condition = condition;
      time.value = row.latency->p50;
      time.unit = "ms";
      Report::judge(&time, *time.value, "<", 1);
      warm.report->add(std::move(time));
    }
  }
}

void attach_section(const Warm& warm) {
  const char* const section = "to the first instruction: attach";
  const std::array<std::uint64_t, 2> sizes = {0, 4096};
  const Work work = clock_work(warm, true);
  std::array<std::unique_ptr<Worker>, 2> hosts;
  std::array<std::string, 2> errors;
  pid_t container = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (this_machine_available_mib() < sizes[i] + 512) {
      errors[i] = "not enough memory on this machine";
      continue;
    }
    hosts[i] = warm.start_host(sizes[i] * 1024 * 1024, nullptr, &errors[i]);
    if (hosts[i] == nullptr) continue;
    Request request;
    Reply reply;
    request.kind = Request::spawn;
    request.count = 1;
    request.work = warm.work(true);
    copy_text(request.work.command, "/pause");
    if (!hosts[i]->call(request, &reply)) errors[i] = hosts[i]->error();
    if (i == 0) container = static_cast<pid_t>(reply.value[1]);
  }
  Worker floor = warm.start_floor();
  for (const Pace pace : {Pace::back_to_back, Pace::spaced}) {
    const std::string condition = std::string("net, ") + to_string(pace);
    Series bare = series_of("floor", &floor, Request::first_attach, work, errors[0]);
    bare.request.amount = static_cast<std::uint64_t>(container);
    Series ours = series_of("condroid", hosts[0].get(), Request::first_attach, work, errors[0]);
    Series large = series_of("condroid, 4 GiB resident", hosts[1].get(), Request::first_attach,
                             work, errors[1]);
    const std::vector<Series*> all = {&bare, &ours, &large};
    measure_until_clear(all, pace, effort_of(pace, warm.quick), ours, bare, 1.3, warm.quick ? 1 : 4,
                        warm.patience);
    if (!complete(warm.report, section, all, condition)) continue;
    warm.report->add(row_of(section, bare, condition));
    Row row = row_of(section, ours, condition);
    row.ratio = paired_ratio(ours.rounds, bare.rounds);
    row.ratio_to = bare.name;
    Report::judge(&row, row.ratio->value, "<=", 1.3);
    warm.report->add(std::move(row));
    row = row_of(section, large, condition);
    row.ratio = paired_ratio(large.rounds, ours.rounds);
    row.ratio_to = "empty";
    Report::judge(&row, row.ratio->value, "<=", 1.05);
    warm.report->add(std::move(row));
  }
}

void sustain_section(const Warm& warm) {
  const char* const section = "takes at a steady rate";
  constexpr std::uint32_t rate = 200;
  const std::uint32_t seconds = warm.quick ? 5 : 60;
  const std::string condition =
      std::to_string(rate) + " per s for " + std::to_string(seconds) + " s, net, cgroup";
  pid_t helper = 0;
  std::string error;
  const std::unique_ptr<Worker> host = warm.start_host(0, &helper, &error);
  Request request;
  Reply reply;
  request.work = clock_work(warm, true);
  if (error.empty() && !warm.add_cgroup(&request.work, &error) && error.empty())
    error = "no cgroup";
  const auto step = [&](Request::Kind kind, std::uint32_t count) {
    request.kind = kind;
    request.count = count;
    if (host != nullptr && error.empty() && !host->call(request, &reply)) error = host->error();
  };
  request.amount = 8;
  step(Request::fill, 0);
  // What is kept from one take to the next is there after a few.
  request.millis = 200;
  step(Request::sustain, rate);
  std::this_thread::sleep_for(milliseconds(300));
  (void)wait_for_quiet(warm.patience);
  const Holdings before = holdings(host == nullptr ? 0 : host->pid(), helper);
  request.millis = seconds * 1000;
  step(Request::sustain, rate);
  const Reply run = reply;
  std::this_thread::sleep_for(milliseconds(300));
  const Holdings after = holdings(host == nullptr ? 0 : host->pid(), helper);
  request.amount = 0;
  step(Request::fill, 0);
  std::this_thread::sleep_for(milliseconds(300));
  const Holdings end = holdings(host == nullptr ? 0 : host->pid(), helper);
  if (!error.empty()) {
    for (const char* name :
         {"takes", "to the first instruction, p50", "to the first instruction, p99",
          "descriptors left", "processes left", "cgroups left"})
      warm.report->missing(section, name, condition, error);
    return;
  }
  const auto add = [&](const char* name, double value, const char* unit, const char* relation,
                       double limit) {
    Row row;
    row.section = section;
    row.name = name;
    row.condition = condition;
    row.value = value;
    row.unit = unit;
    if (relation != nullptr) Report::judge(&row, value, relation, limit);
    warm.report->add(std::move(row));
  };
  // One more would have begun in the last moment.
  add("takes", static_cast<double>(run.value[0]) * 1e9 / static_cast<double>(run.value[3]), "per s",
      ">=", rate - 1);
  add("to the first instruction, p50", static_cast<double>(run.value[1]) / 1e6, "ms", nullptr, 0);
  add("to the first instruction, p99", static_cast<double>(run.value[2]) / 1e6, "ms", nullptr, 0);
  const auto more = [](std::size_t now, std::size_t then) {
    return static_cast<double>(now) - static_cast<double>(then);
  };
  add("descriptors left", more(after.descriptors, before.descriptors), "fds", "<=", 0);
  add("processes left",
      more(after.processes, before.processes) + static_cast<double>(end.processes), "processes",
      "<=", 0);
  add("cgroups left", more(after.cgroups, before.cgroups) + static_cast<double>(end.cgroups),
      "directories", "<=", 0);
}

}  // namespace bench
