#include "harness.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "commands.hpp"
#include "rows.hpp"

namespace bench {
namespace {

using std::chrono::milliseconds;

constexpr const char* section = "throwaway containers";
constexpr const char* cold_name = "Sandbox, launched";
constexpr const char* warm_name = "Sandbox, of a full pool";
constexpr std::uint64_t pool_size = 4;

/// A test program with an image whose pool has so many.
Worker start_boxes(const Warm& warm, const std::string& program, const Work& work,
                   std::uint64_t pool, std::string* error) {
  Worker worker = Worker::start({program});
  Request request;
  Reply reply;
  request.kind = Request::image;
  request.work = work;
  request.amount = pool;
  if (!request.argv.add(warm.scratch->directory() + "/box-cache")) *error = "the path is too long";
  if (error->empty() && !worker.call(request, &reply)) *error = worker.error();
  return worker;
}

/// One that starts commands where nothing but cgroup v2 is.
Worker start_cage(const Warm& warm, std::string* error) {
  Worker cage = warm.start_floor();
  Request request;
  Reply reply;
  request.kind = Request::cage;
  if (warm.scratch->cgroup_v2().empty()) *error = warm.scratch->cgroup_error();
  if (error->empty() && !request.argv.add(warm.scratch->cgroup_v2()))
    *error = "the path of the cgroup is too long";
  if (error->empty() && !cage.call(request, &reply)) *error = cage.error();
  return cage;
}

Series series_of(const Command& command, Worker* cage, Request::Kind kind,
                 const std::string& error) {
  Series s =
      series_of(command.name, cage, kind, Work{}, command.absent.empty() ? error : command.absent);
  for (const std::string& a : command.argv)
    if (!s.request.argv.add(a)) s.error = "the command line is too long";
  return s;
}

/// What the first one makes for all others is not timed; and whether it runs at all.
void try_once(Series* s) {
  Request request = s->request;
  Reply reply;
  request.kind = Request::command;
  request.count = 1;
  if (s->error.empty() && !s->worker->call(request, &reply)) s->error = s->worker->error();
}

Row plain_row(const std::string& name, const std::string& condition) {
  Row row;
  row.section = section;
  row.name = name;
  row.condition = condition;
  return row;
}

/// Of one that need not be there.
void absent_row(const Warm& warm, const Series& s, const std::string& condition) {
  Row row = plain_row(s.name + " (optional)", condition);
  row.note = s.error;
  warm.report->add(std::move(row));
}

void time_row(const Warm& warm, const Series& floor, const Series& s, const std::string& condition,
              double most) {
  Row row = row_of(section, s, condition);
  row.ratio = paired_ratio(s.rounds, floor.rounds);
  row.ratio_to = floor.name;
  warm.report->add(std::move(row));
  Row time = plain_row(s.name, condition);
  time.value = summarize(s.samples).p50;
  time.unit = "ms";
  Report::judge(&time, *time.value, "<", most);
  warm.report->add(std::move(time));
}

void latency_rows(const Warm& warm, const std::string& program, const Work& work) {
  std::string cold_error, warm_error, cage_error;
  Worker cold_worker = start_boxes(warm, program, work, 0, &cold_error);
  Worker warm_worker = start_boxes(warm, program, work, pool_size, &warm_error);
  Worker cage = start_cage(warm, &cage_error);
  Worker floor_worker = warm.start_floor();
  std::vector<Series> peers;
  std::vector<Command> commands = make_box_commands(work, *warm.scratch, 0);
  for (const Command& c : commands) {
    peers.push_back(series_of(c, &cage, Request::command, cage_error));
    try_once(&peers.back());
  }
  for (const Pace pace : {Pace::back_to_back, Pace::spaced}) {
    const std::string condition = to_string(pace);
    Series cold = series_of(cold_name, &cold_worker, Request::box, Work{}, cold_error);
    Series pooled = series_of(warm_name, &warm_worker, Request::box, Work{}, warm_error);
    Series floor = series_of("floor, of a launch alone", &floor_worker, Request::run, work, "");
    std::vector<Series*> all = {&floor, &cold, &pooled};
    for (std::size_t i = 0; i < peers.size(); ++i) {
      peers[i].samples = peers[i].rounds = {};
      peers[i].disturbed = 0;
      if (peers[i].error.empty() || !commands[i].optional) all.push_back(&peers[i]);
    }
    Effort effort =
        pace == Pace::spaced ? Effort{.rounds = 20, .batch = 1} : Effort{.rounds = 20, .batch = 3};
    if (warm.quick) effort.rounds = 5;
    bool good = true;
    for (const Series* s : all) good = good && s->error.empty();
    if (good) measure(all, pace, effort, warm.patience);
    if (!complete(warm.report, section, all, condition)) continue;
    // What the machine takes for a process in namespaces that runs the same program.
    warm.report->add(row_of(section, floor, condition));
    time_row(warm, floor, cold, condition, 3);
    time_row(warm, floor, pooled, condition, 1);
    for (std::size_t i = 0; i < peers.size(); ++i) {
      if (peers[i].samples.empty()) {
        absent_row(warm, peers[i], condition);
        continue;
      }
      Row row = row_of(section, peers[i], condition);
      row.ratio = paired_ratio(peers[i].rounds, pooled.rounds);
      row.ratio_to = warm_name;
      if (row.note.empty()) row.note = commands[i].note;
      if (!commands[i].optional) Report::judge(&row, row.ratio->value, ">=", 8);
      warm.report->add(std::move(row));
    }
  }
}

/// Several at once: threads of one test program, or so many processes that start commands.
struct Rate {
  std::string name;
  std::vector<Worker*> workers;
  std::vector<Request> requests = {};
  std::string error = {};
  bool optional = false;
  double least = 0;  ///< So many times as many has the Sandbox to be.
  std::string note = {};
  std::vector<double> rates = {};

  /// How many a second in this turn.
  void take_turn() {
    double sum = 0;
    for (std::size_t i = 0; i < workers.size(); ++i)
      if (error.empty() && !workers[i]->send(requests[i])) error = workers[i]->error();
    for (Worker* w : workers) {
      Reply reply;
      if (!error.empty() || !w->receive(&reply)) {
        if (error.empty()) error = w->error();
        continue;
      }
      sum += static_cast<double>(reply.value[0]) * 1e9 / static_cast<double>(reply.value[1]);
    }
    if (error.empty()) rates.push_back(sum);
  }
};

void rate_rows(const Warm& warm, const std::string& program, const Work& work, unsigned parallel) {
  const std::string condition = std::to_string(parallel) + " at once";
  const std::uint32_t millis = warm.quick ? 1500 : 5000;
  const int rounds = warm.quick ? 3 : 5;
  std::vector<Rate> all;
  std::vector<Worker> boxes;
  boxes.reserve(2);
  for (const std::uint64_t pool : {pool_size, std::uint64_t{0}}) {
    Rate rate{pool > 0 ? "Sandbox" : cold_name, {}};
    boxes.push_back(start_boxes(warm, program, work, pool, &rate.error));
    Request request;
    request.kind = Request::rate;
    request.threads = parallel;
    request.millis = millis;
    rate.workers.push_back(&boxes.back());
    rate.requests.push_back(request);
    all.push_back(std::move(rate));
  }
  std::string error;
  std::vector<Worker> cages;
  for (unsigned i = 0; i < parallel; ++i) cages.push_back(start_cage(warm, &error));
  for (unsigned i = 0; i < parallel; ++i) {
    const std::vector<Command> commands = make_box_commands(work, *warm.scratch, i);
    for (std::size_t c = 0; c < commands.size(); ++c) {
      if (i == 0)
        all.push_back({.name = commands[c].name,
                       .workers = {},
                       .optional = commands[c].optional,
                       .least = commands[c].optional ? 20.0 : 4.0,
                       .note = commands[c].note});
      Rate& rate = all[2 + c];
      Series s = series_of(commands[c], &cages[i], Request::command_rate, error);
      if (i == 0) try_once(&s);
      if (rate.error.empty()) rate.error = s.error;
      s.request.millis = millis;
      rate.workers.push_back(&cages[i]);
      rate.requests.push_back(s.request);
    }
  }
  int disturbed = 0;
  for (int round = 0; round < rounds; ++round) {
    bool quiet = true;
    for (std::size_t i = 0; i < all.size(); ++i) {
      // Forwards and backwards, as everywhere.
      Rate& rate = all[round % 2 == 0 ? i : all.size() - 1 - i];
      if (!rate.error.empty()) continue;
      quiet = wait_for_quiet(warm.patience) && quiet;
      rate.take_turn();
      // What is left to be taken apart after so many is not the next one's.
      std::this_thread::sleep_for(milliseconds(300));
    }
    if (!quiet) ++disturbed;
  }
  for (Rate& rate : all) {
    if (!rate.error.empty() && rate.optional) {
      Series s;
      s.name = rate.name;
      s.error = rate.error;
      absent_row(warm, s, condition);
      continue;
    }
    if (!rate.error.empty() || !all[0].error.empty()) {
      warm.report->missing(section, rate.name, condition,
                           rate.error.empty() ? all[0].error : rate.error);
      continue;
    }
    Row row = plain_row(rate.name, condition);
    row.value = median(rate.rates);
    row.unit = "per s";
    row.note = rate.note;
    if (disturbed > 0)
      row.note += (row.note.empty() ? "" : "; ") + std::to_string(disturbed) + " of " +
                  std::to_string(rounds) + " rounds on a busy machine";
    warm.report->add(row);
    if (rate.least == 0) continue;
    Row ratio = plain_row(all[0].name, condition);
    ratio.ratio = paired_ratio(all[0].rates, rate.rates);
    ratio.ratio_to = rate.name;
    Report::judge(&ratio, ratio.ratio->value, ">=", rate.least);
    warm.report->add(std::move(ratio));
  }
}

}  // namespace

void harness_section(const Warm& warm, const std::string& worker) {
  const Work work = warm.work(true);
  latency_rows(warm, worker, work);
  rate_rows(warm, worker, work, 4);
}

}  // namespace bench
