#include "bench.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <thread>

#include "android.hpp"
#include "commands.hpp"
#include "container_facts.hpp"
#include "control.hpp"
#include "count_calls.hpp"
#include "crowd.hpp"
#include "harness.hpp"
#include "isolation.hpp"
#include "launcher.hpp"
#include "lxc.hpp"
#include "measures.hpp"
#include "network.hpp"
#include "process_info.hpp"
#include "report.hpp"
#include "rows.hpp"
#include "scratch.hpp"
#include "series.hpp"
#include "texts.hpp"
#include "warm.hpp"
#include "worker.hpp"

namespace bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t mib = 1024 * 1024;

// The container of the benchmark: what condroid makes when nothing is said but root, host name and
// command. Aligned with the defaults of Spec; the floor does the same, op by op.
Work default_work(const Scratch& scratch, bool net) {
  Work w;
  copy_text(w.root, scratch.root());
  copy_text(w.command, "/true");
  copy_text(w.hostname, "bench");
  w.net = net;
  w.cgroup_ns = true;
  w.new_session = true;
  w.no_new_privs = true;
  w.own_keyring = true;
  w.drop_groups = true;
  w.close_descriptors = true;
  w.limit_capabilities = true;
  // chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service sys_chroot
  w.capabilities = 0x405fb;
  bool fits = true;
  for (const char* p : {"proc/acpi", "proc/asound", "proc/dynamic_debug", "proc/kcore", "proc/keys",
                        "proc/latency_stats", "proc/sched_debug", "proc/scsi", "proc/timer_list",
                        "sys/devices/virtual/powercap", "sys/firmware"})
    fits = fits && w.masked.add(p);
  for (const char* p : {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"})
    fits = fits && w.read_only.add(p);
  if (!fits) std::fprintf(stderr, "condroid-bench: the list of paths is too long\n");
  if (std::string error; !add_filter(&w, &error))
    std::fprintf(stderr, "condroid-bench: no filter of system calls: %s\n", error.c_str());
  return w;
}

// Tells the floor to make the cgroups that condroid makes. False if the harness has no directory
// for one.
bool add_cgroups(const Scratch& scratch, CgroupUse use, Work* work, std::string* error) {
  work->cgroup = use;
  std::vector<CgroupPart> parts;
  if (!cgroups_of(*work, &parts, error)) return false;
  for (const CgroupPart& part : parts) {
    const std::string parent = scratch.cgroup_in(part.mount_point, part.controllers);
    if (parent.empty()) {
      return *error = "no cgroup of ours in " + part.mount_point + ": " + scratch.cgroup_error(),
             false;
    }
    if (work->cgroup_count == Work::max_cgroups) return *error = "too many cgroups", false;
    CgroupDirectory& c = work->cgroups[work->cgroup_count++];
    c.v2 = part.v2;
    copy_text(c.parent, parent);
    for (const auto& [file, value] : part.values) {
      if (!c.values.add(file) || !c.values.add(value))
        return *error = "too many values for a cgroup", false;
    }
  }
  return true;
}

struct Kind {
  std::string name;
  Work work;
  bool strict = false;     ///< Also against the floor with shared memory.
  std::string error = {};  ///< Why it cannot be measured.
};

class Bench {
 public:
  explicit Bench(const Options& options) : options_(options) {}
  [[nodiscard]] int run();

 private:
  [[nodiscard]] bool wanted(const char* section) const;
  [[nodiscard]] std::vector<Kind> kinds() const;
  [[nodiscard]] Worker start_floor() const;
  /// A host of `bytes` resident with an open Runtime.
  [[nodiscard]] std::unique_ptr<Worker> start_host(std::uint64_t bytes, pid_t* helper,
                                                   std::string* error) const;
  void same_section();
  /// The facts of the only container of `parent`.
  [[nodiscard]] static std::set<std::string> facts_below(pid_t parent);
  void launch_section();
  void launch_rows(const Kind& kind, Worker* floor, Worker* host, const std::string& host_error,
                   Pace pace);
  void host_section();
  void rate_section();
  void rate_rows(bool net, unsigned parallel);
  void command_section();
  void command_rows(bool net, Worker* host, const std::string& host_error, Pace pace);
  void live_section();
  void measures_section();
  void text_section();
  void control_section();
  void calls_section();
  void many_section();
  void crowd_section();
  [[nodiscard]] Warm warm();
  void warm_isolation_section() { isolation_section(warm()); }
  void warm_network_section() { network_section(warm(), options_.condroid_run); }
  void warm_lxc_section() {
    lxc_section(warm(), {.worker = options_.lxc_worker,
                         .liblxc = options_.liblxc_worker,
                         .ours = options_.lxc_programs});
  }
  void warm_take_section() { take_section(warm()); }
  void warm_attach_section() { attach_section(warm()); }
  void warm_sustain_section() { sustain_section(warm()); }
  void warm_harness_section() { harness_section(warm(), options_.box_worker); }
  void warm_android_section() {
    android_section(warm(), options_.device_worker, options_.device_init);
  }
  void add_latency(const char* section, const Series& series, const std::string& condition,
                   const Series* to);

  const Options& options_;
  milliseconds patience_{0};
  Scratch scratch_ = {};
  Report report_{this_machine()};
};

bool Bench::wanted(const char* section) const {
  return options_.sections.empty() || std::find(options_.sections.begin(), options_.sections.end(),
                                                section) != options_.sections.end();
}

Worker Bench::start_floor() const { return Worker::start({options_.floor}); }

std::unique_ptr<Worker> Bench::start_host(std::uint64_t bytes, pid_t* helper,
                                          std::string* error) const {
  auto worker = std::make_unique<Worker>(Worker::start({"/proc/self/exe", "--host-worker"}));
  Request request;
  Reply reply;
  request.kind = Request::grow;
  request.amount = bytes;
  bool good = worker->call(request, &reply);
  request.kind = Request::open;
  request.work = default_work(scratch_, true);
  good = good && worker->call(request, &reply);
  if (!good) {
    *error = worker->error();
    return nullptr;
  }
  if (helper != nullptr) *helper = static_cast<pid_t>(reply.value[0]);
  return worker;
}

std::vector<Kind> Bench::kinds() const {
  std::vector<Kind> out;
  out.push_back({"no net", default_work(scratch_, false), true});
  out.push_back({"net", default_work(scratch_, true), true});
  for (const CgroupUse use : {CgroupUse::plain, CgroupUse::limits}) {
    Kind kind{use == CgroupUse::plain ? "net, cgroup" : "net, cgroups with limits",
              default_work(scratch_, true)};
    if (!add_cgroups(scratch_, use, &kind.work, &kind.error) && kind.error.empty())
      kind.error = "no cgroup";
    out.push_back(std::move(kind));
  }
  Kind ids{"net, id map", default_work(scratch_, true)};
  ids.work.user = true;
  ids.work.bind_nodes = true;
  out.push_back(ids);
  return out;
}

void Bench::add_latency(const char* section, const Series& series, const std::string& condition,
                        const Series* to) {
  if (series.samples.empty()) {
    report_.missing(section, series.name, condition, series.error);
    return;
  }
  Row row = row_of(section, series, condition);
  if (to != nullptr && !to->rounds.empty()) {
    row.ratio = paired_ratio(series.rounds, to->rounds);
    row.ratio_to = to->name;
  }
  report_.add(std::move(row));
}

Series series_of(std::string name, Worker* worker, const Work& work, const std::string& error) {
  return series_of(std::move(name), worker, Request::run, work, worker == nullptr ? error : "");
}

std::set<std::string> Bench::facts_below(pid_t parent) {
  for (int waited = 0; waited < 1000; ++waited) {
    const std::vector<pid_t> children = children_of(parent);
    if (children.size() == 1) return container_facts(children[0], "pause");
    std::this_thread::sleep_for(milliseconds(1));
  }
  return {};
}

void Bench::same_section() {
  const char* const section = "the same container";
  for (Kind& kind : kinds()) {
    copy_text(kind.work.command, "/pause");
    pid_t helper = 0;
    std::string error = kind.error;
    Worker floor = start_floor();
    const std::unique_ptr<Worker> host = start_host(0, &helper, &error);
    Request request;
    Reply reply;
    request.work = kind.work;
    request.count = 1;
    request.kind = Request::run;
    std::set<std::string> bare;
    std::set<std::string> ours;
    if (error.empty() && !floor.send(request)) error = floor.error();
    if (error.empty()) {
      bare = facts_below(floor.pid());
      for (const pid_t child : children_of(floor.pid())) ::kill(child, SIGKILL);
      // That its command was killed is a failure to the floor.
      if (!floor.receive(&reply) && !floor.good()) error = floor.error();
    }
    request.kind = Request::spawn;
    if (error.empty() && host->call(request, &reply)) {
      ours = facts_below(helper);
      request.kind = Request::stop_all;
      if (!host->call(request, &reply)) error = host->error();
    } else if (error.empty()) {
      error = host->error();
    }
    if (error.empty() && (bare.empty() || ours.empty())) {
      error = std::string(bare.empty() ? "the floor" : "condroid") + " has no container";
      if (bare.empty() && reply.error[0] != '\0') error += std::string(": ") + reply.error;
    }
    if (!error.empty()) {
      report_.missing(section, "floor and condroid", kind.name, error);
      continue;
    }
    Row row;
    row.section = section;
    row.name = "floor and condroid";
    row.condition = kind.name;
    std::size_t count = 0;
    row.note = differences("floor", bare, "condroid", ours, &count);
    row.value = static_cast<double>(count);
    row.unit = "of " + std::to_string(bare.size()) + " facts differ";
    Report::judge(&row, *row.value, "<=", 0);
    report_.add(std::move(row));
  }
}

void Bench::launch_section() {
  Worker floor = start_floor();
  std::string error;
  const std::unique_ptr<Worker> host = start_host(0, nullptr, &error);
  for (const Kind& kind : kinds()) {
    for (const Pace pace : {Pace::back_to_back, Pace::spaced})
      launch_rows(kind, &floor, host.get(), error, pace);
  }
}

void Bench::launch_rows(const Kind& kind, Worker* floor, Worker* host,
                        const std::string& host_error, Pace pace) {
  const char* const section = "launch to exit";
  const std::string condition = kind.name + ", " + to_string(pace);
  if (!kind.error.empty()) {
    for (const char* name : {"floor", "condroid"})
      report_.missing(section, name, condition, kind.error);
    return;
  }
  Series bare = series_of("floor", floor, kind.work, "");
  Series strict = series_of("floor, memory shared", floor, kind.work, "");
  strict.request.share_memory = true;
  Series ours = series_of("condroid", host, kind.work, host_error);
  std::vector<Series*> all = {&bare, &ours};
  if (kind.strict) all.push_back(&strict);
  Effort effort =
      pace == Pace::spaced ? Effort{.rounds = 40, .batch = 1} : Effort{.rounds = 60, .batch = 8};
  if (!kind.strict && pace == Pace::spaced) effort.rounds = 24;
  if (options_.quick) effort.rounds = pace == Pace::spaced ? (kind.strict ? 10 : 4) : 12;
  measure_until_clear(all, pace, effort, ours, bare, 1.15, options_.quick ? 1 : 4, &patience_);

  add_latency(section, bare, condition, nullptr);
  if (kind.strict) add_latency(section, strict, condition, &bare);
  if (ours.samples.empty()) {
    report_.missing(section, ours.name, condition, ours.error);
    return;
  }
  Row row = row_of(section, ours, condition);
  row.ratio = paired_ratio(ours.rounds, bare.rounds);
  row.ratio_to = "floor";
  Report::judge(&row, row.ratio->value, "<=", 1.15);
  if (!ours.error.empty()) row.verdict = Verdict::missing;
  report_.add(row);
  if (strict.rounds.empty()) return;
  row.latency.reset();
  row.note.clear();
  row.ratio = paired_ratio(ours.rounds, strict.rounds);
  row.ratio_to = "floor, memory shared";
  row.target.clear();
  row.verdict = Verdict::info;
  report_.add(std::move(row));
}

void Bench::host_section() {
  const char* const section = "by size of the host";
  const std::array<std::uint64_t, 4> sizes = {0, 256, 1024, 4096};
  const std::array<const char*, 4> names = {"empty host", "256 MiB resident", "1 GiB resident",
                                            "4 GiB resident"};
  std::vector<std::unique_ptr<Worker>> hosts;
  std::vector<std::string> errors(sizes.size());
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (this_machine_available_mib() < sizes[i] + 512) {
      errors[i] = "not enough memory on this machine";
      hosts.push_back(nullptr);
    } else {
      hosts.push_back(start_host(sizes[i] * mib, nullptr, &errors[i]));
    }
  }
  for (const Pace pace : {Pace::back_to_back, Pace::spaced}) {
    std::vector<Series> series;
    for (std::size_t i = 0; i < sizes.size(); ++i)
      series.push_back(
          series_of(names[i], hosts[i].get(), default_work(scratch_, false), errors[i]));
    std::vector<Series*> all;
    for (Series& s : series) all.push_back(&s);
    Effort effort =
        pace == Pace::spaced ? Effort{.rounds = 40, .batch = 1} : Effort{.rounds = 60, .batch = 8};
    if (options_.quick) effort.rounds = pace == Pace::spaced ? 8 : 12;
    measure_until_clear(all, pace, effort, series[3], series[0], 1.05, options_.quick ? 1 : 4,
                        &patience_);
    for (std::size_t i = 0; i < series.size(); ++i) {
      const std::string condition = std::string("no net, ") + to_string(pace);
      if (series[i].samples.empty()) {
        report_.missing(section, series[i].name, condition, series[i].error);
        continue;
      }
      Row row;
      row.section = section;
      row.name = series[i].name;
      row.condition = condition;
      row.latency = summarize(series[i].samples);
      row.note = note_of(series[i]);
      if (i > 0 && !series[0].rounds.empty()) {
        row.ratio = paired_ratio(series[i].rounds, series[0].rounds);
        row.ratio_to = "empty";
        if (sizes[i] == 4096) Report::judge(&row, row.ratio->value, "<=", 1.05);
      }
      report_.add(std::move(row));
    }
  }
}

void Bench::rate_section() {
  for (const bool net : {false, true}) {
    for (const unsigned parallel : {1U, 4U, 16U}) rate_rows(net, parallel);
  }
}

void Bench::rate_rows(bool net, unsigned parallel) {
  const char* const section = "launches per second";
  const std::string condition = std::string(net ? "net, " : "no net, ") + std::to_string(parallel);
  std::string host_error;
  const std::unique_ptr<Worker> host = start_host(0, nullptr, &host_error);
  std::vector<Worker> floors;
  for (unsigned i = 0; i < parallel; ++i) floors.push_back(start_floor());
  Request request;
  request.kind = Request::rate;
  request.work = default_work(scratch_, net);
  request.millis = options_.quick ? 250 : 600;

  std::vector<double> floor_rates;
  std::vector<double> host_rates;
  std::string floor_error;
  int disturbed = 0;
  // Starting many processes at once takes as long as a short measurement: each adds its own
  // launches by its own time.
  for (int round = 0; round < (options_.quick ? 3 : 7); ++round) {
    Reply reply;
    bool quiet = wait_for_quiet(&patience_);
    double rate = 0;
    for (Worker& f : floors) {
      if (!f.send(request)) floor_error = f.error();
    }
    for (Worker& f : floors) {
      if (!f.receive(&reply)) {
        floor_error = f.error();
      } else {
        rate += static_cast<double>(reply.value[0]) * 1e9 / static_cast<double>(reply.value[1]);
      }
    }
    floor_rates.push_back(rate);
    // What is left to be taken apart after so many launches is not the next one's.
    std::this_thread::sleep_for(milliseconds(net ? 300 : 50));
    request.threads = parallel;
    quiet = wait_for_quiet(&patience_) && quiet;
    if (!quiet) ++disturbed;
    if (host != nullptr && host_error.empty()) {
      if (host->call(request, &reply)) {
        host_rates.push_back(static_cast<double>(reply.value[0]) * 1e9 /
                             static_cast<double>(reply.value[1]));
      } else {
        host_error = host->error();
      }
      std::this_thread::sleep_for(milliseconds(net ? 300 : 50));
    }
  }
  Row row;
  row.section = section;
  row.name = "floor";
  row.condition = condition + (parallel == 1 ? " process" : " processes");
  row.value = median(floor_rates);
  row.unit = "per s";
  row.note = floor_error;
  if (!floor_error.empty()) row.verdict = Verdict::missing;
  report_.add(row);
  row.name = "condroid";
  row.condition = condition + (parallel == 1 ? " thread" : " threads");
  if (host_rates.empty() || !host_error.empty()) {
    report_.missing(section, row.name, row.condition, host_error);
    return;
  }
  row.value = median(host_rates);
  row.ratio = paired_ratio(host_rates, floor_rates);
  row.ratio_to = "floor";
  row.note.clear();
  if (disturbed > 0)
    row.note = std::to_string(disturbed) + " of " + std::to_string(host_rates.size()) +
               " rounds on a busy machine";
  row.verdict = Verdict::info;
  if (parallel == 4) Report::judge(&row, row.ratio->value, ">=", 0.9);
  report_.add(row);
}

void Bench::command_section() {
  std::string error;
  const std::unique_ptr<Worker> host = start_host(0, nullptr, &error);
  for (const bool net : {false, true}) {
    for (const Pace pace : {Pace::back_to_back, Pace::spaced})
      command_rows(net, host.get(), error, pace);
  }
}

void Bench::command_rows(bool net, Worker* host, const std::string& host_error, Pace pace) {
  const char* const section = "whole commands";
  const std::string condition = std::string(net ? "net, " : "no net, ") + to_string(pace);
  Work work = default_work(scratch_, net);
  work.read_only_root = true;
  const std::vector<Command> commands = make_commands(work, scratch_, options_.condroid_run);
  Worker open_worker = start_floor();
  Worker cage_worker = start_floor();
  std::string cage_error = scratch_.cgroup_v2().empty() ? scratch_.cgroup_error() : "";
  if (cage_error.empty()) {
    Request cage;
    Reply reply;
    cage.kind = Request::cage;
    if (!cage.argv.add(scratch_.cgroup_v2())) cage_error = "the path of the cgroup is too long";
    if (cage_error.empty() && !cage_worker.call(cage, &reply)) cage_error = cage_worker.error();
  }
  std::vector<Series> series;
  series.push_back(series_of("condroid, in process", host, work, host_error));
  for (const Command& c : commands) {
    Series s;
    s.name = c.name;
    s.worker = c.caged ? &cage_worker : &open_worker;
    s.request.kind = Request::command;
    if (c.filter) s.request.work = work;
    s.error = !c.absent.empty() ? c.absent : c.caged ? cage_error : "";
    for (const std::string& a : c.argv) {
      if (!s.request.argv.add(a)) s.error = "the command line is too long";
    }
    series.push_back(std::move(s));
  }
  std::vector<Series*> all;
  for (Series& s : series) all.push_back(&s);
  Effort effort =
      pace == Pace::spaced ? Effort{.rounds = 15, .batch = 1} : Effort{.rounds = 20, .batch = 3};
  if (options_.quick)
    effort =
        pace == Pace::spaced ? Effort{.rounds = 3, .batch = 1} : Effort{.rounds = 5, .batch = 2};
  measure(all, pace, effort, &patience_);

  const Series& in_process = series[0];
  const Series& ours = series[1];
  add_latency(section, in_process, condition, nullptr);
  add_latency(section, ours, condition, nullptr);
  for (std::size_t i = 1; i < commands.size(); ++i) {
    const Series& peer = series[i + 1];
    if (peer.samples.empty() || !peer.error.empty()) {
      report_.missing(section, peer.name, condition, peer.error);
      continue;
    }
    Row row;
    row.section = section;
    row.name = peer.name;
    row.condition = condition;
    row.latency = summarize(peer.samples);
    row.note = commands[i].note;
    report_.add(row);
    if (commands[i].reference) continue;
    row.latency.reset();
    row.note.clear();
    if (!in_process.rounds.empty()) {
      row.name = "condroid, in process";
      row.ratio = paired_ratio(in_process.rounds, peer.rounds);
      row.ratio_to = peer.name;
      Report::judge(&row, row.ratio->value, "<", 1);
      report_.add(row);
    }
    if (!ours.rounds.empty() && peer.name == "bwrap") {
      row.name = "condroid-run";
      row.ratio = paired_ratio(ours.rounds, peer.rounds);
      row.ratio_to = peer.name;
      Report::judge(&row, row.ratio->value, "<", 1);
      report_.add(row);
    }
  }
}

void Bench::live_section() {
  const char* const section = "live containers";
  const std::array<const char*, 7> rows = {"zygote, resident",          "host, per container",
                                           "zygote, per container",     "host, descriptors each",
                                           "zygote, descriptors each",  "wake-ups while idle, 1 s",
                                           "containers left after stop"};
  const unsigned count = options_.quick ? 100 : 500;
  const std::string condition = std::to_string(count) + " containers, net";
  pid_t helper = 0;
  std::string error;
  const std::unique_ptr<Worker> host = start_host(0, &helper, &error);
  Request request;
  Reply reply;
  request.work = default_work(scratch_, true);
  copy_text(request.work.command, "/pause");
  const auto step = [&](Request::Kind kind, unsigned n) {
    if (host == nullptr || !error.empty()) return;
    request.kind = kind;
    request.count = n;
    if (!host->call(request, &reply)) error = host->error();
  };
  // A few up and down first: what is touched at the very first launch is not the price of a
  // container.
  step(Request::spawn, 8);
  step(Request::stop_all, 0);
  step(Request::spawn, 1);
  step(Request::settle, 0);
  if (host == nullptr || !error.empty()) {
    for (const char* name : rows) report_.missing(section, name, condition, error);
    return;
  }
  const ProcessInfo host_before = process_info(host->pid());
  const ProcessInfo helper_before = process_info(helper);
  step(Request::spawn, count);
  std::this_thread::sleep_for(milliseconds(200));
  const ProcessInfo host_live = process_info(host->pid());
  const ProcessInfo helper_live = process_info(helper);
  const std::vector<pid_t> inits = children_of(helper > 0 ? helper : host->pid());
  const std::uint64_t switches_before =
      context_switches(host->pid()) + context_switches(helper) + context_switches(inits);
  std::this_thread::sleep_for(seconds(1));
  const std::uint64_t switches_after =
      context_switches(host->pid()) + context_switches(helper) + context_switches(inits);
  step(Request::stop_all, 0);
  std::this_thread::sleep_for(milliseconds(200));
  const std::size_t left = children_of(helper > 0 ? helper : host->pid()).size();
  if (!error.empty()) {
    for (const char* name : rows) report_.missing(section, name, condition, error);
    return;
  }
  const auto each = [&](std::uint64_t after, std::uint64_t before) {
    return (static_cast<double>(after) - static_cast<double>(before)) / count;
  };
  const auto add = [&](const char* name, double value, const char* unit, double limit) {
    Row row;
    row.section = section;
    row.name = name;
    row.condition = condition;
    row.value = value;
    row.unit = unit;
    Report::judge(&row, value, "<=", limit);
    report_.add(std::move(row));
  };
  add(rows[0], static_cast<double>(helper_before.resident_kib), "KiB", 200);
  add(rows[1], each(host_live.resident_kib, host_before.resident_kib), "KiB", 8);
  add(rows[2], each(helper_live.resident_kib, helper_before.resident_kib), "KiB", 4);
  add(rows[3], each(host_live.descriptors, host_before.descriptors), "fds", 3);
  add(rows[4], each(helper_live.descriptors, helper_before.descriptors), "fds", 2);
  if (inits.size() < count) {
    report_.missing(section, rows[5], condition, "not all containers were found alive");
  } else {
    add(rows[5], static_cast<double>(switches_after - switches_before), "switches", 0);
  }
  add(rows[6], static_cast<double>(left), "processes", 0);
}

void Bench::measures_section() {
  const char* const section = "measures";
  pid_t helper = 0;
  std::string error;
  const std::unique_ptr<Worker> host = start_host(0, &helper, &error);
  Request request;
  Reply reply;
  request.kind = Request::spawn;
  request.count = 1;
  request.work = default_work(scratch_, false);
  request.work.cgroup = CgroupUse::everywhere;
  copy_text(request.work.command, "/pause");
  if (host != nullptr && !host->call(request, &reply)) error = host->error();
  const std::vector<pid_t> inits = error.empty() ? children_of(helper) : std::vector<pid_t>{};
  std::vector<Snapshot> snapshots;
  if (error.empty() && inits.size() != 1) error = "the container was not found";
  if (error.empty()) snapshots = time_snapshots(inits.front(), options_.quick ? 500 : 5000, &error);
  request.kind = Request::stop_all;
  if (error.empty() && !host->call(request, &reply)) error = host->error();
  if (!error.empty()) {
    report_.missing(section, "a snapshot", "a measured container", error);
    return;
  }
  for (const Snapshot& s : snapshots) {
    Row row;
    row.section = section;
    row.name = "a snapshot, " + s.hierarchy;
    row.condition = std::to_string(s.files) + " files";
    row.value = s.microseconds;
    row.unit = "us";
    if (s.one_hierarchy) Report::judge(&row, s.microseconds, "<=", 20);
    report_.add(std::move(row));
  }
}

void Bench::text_section() {
  for (const TimedText& t : time_texts(options_.quick ? 5 : 15)) {
    Row row;
    row.section = "text";
    row.name = t.name;
    row.condition = t.condition;
    row.value = t.milliseconds;
    row.unit = "ms";
    if (t.most > 0) Report::judge(&row, t.milliseconds, "<=", t.most);
    report_.add(std::move(row));
  }
}

void Bench::control_section() {
  const char* const section = "LXC's command socket";
  const std::string condition = std::to_string(state_clients) + " clients wait for a state";
  ControlFigures figures;
  std::string error;
  const Work work = default_work(scratch_, false);
  if (!measure_control(work.root, "/pause", options_.quick ? 50 : 500, &figures, &error)) {
    report_.missing(section, "a step of the container's", condition, error);
    return;
  }
  const auto add = [&](const char* name, double value, const char* unit, double limit) {
    Row row;
    row.section = section;
    row.name = name;
    row.condition = condition;
    row.value = value;
    row.unit = unit;
    if (limit > 0) Report::judge(&row, value, "<=", limit);
    report_.add(std::move(row));
  };
  // Of an idle container, whose program is woken for its end alone.
  const double without = median(figures.without), with = median(figures.with);
  add("a step of the container's, without the socket", without, "us", 0);
  add("a step of the container's", with, "us", 5);
  add("what a step takes more for them", with - without, "us", 1);
  add("a question and its answer", figures.answer, "us", 0);
}

void Bench::calls_section() {
  const char* const section = "system calls per launch";
  for (const bool net : {false, true}) {
    for (const bool floor : {true, false}) {
      const std::string condition = std::string(net ? "net" : "no net");
      const char* const name = floor ? "floor" : "condroid";
      pid_t helper = 0;
      std::string error;
      std::unique_ptr<Worker> worker =
          floor ? std::make_unique<Worker>(start_floor()) : start_host(0, &helper, &error);
      Request request;
      Reply reply;
      request.kind = Request::run;
      request.count = 5;
      request.work = default_work(scratch_, net);
      if (worker != nullptr && !worker->call(request, &reply)) error = worker->error();
      // What a request costs by itself is in both counts and cancels.
      CallCounts few;
      CallCounts more;
      constexpr unsigned n = 20;
      request.count = 1;
      bool good = worker != nullptr && error.empty() &&
                  count_calls(worker.get(), helper, request, &few, &error);
      request.count = 1 + n;
      good = good && count_calls(worker.get(), helper, request, &more, &error);
      if (!good) {
        report_.missing(section, name, condition, error);
        continue;
      }
      const auto add = [&](const char* who, std::uint64_t a, std::uint64_t b) {
        Row row;
        row.section = section;
        row.name = std::string(name) + who;
        row.condition = condition;
        row.value = (static_cast<double>(b) - static_cast<double>(a)) / n;
        row.unit = "calls";
        report_.add(std::move(row));
      };
      add(", host", few.host, more.host);
      if (!floor) add(", zygote", few.helper, more.helper);
      add(", child", few.children, more.children);
    }
  }
}

void Bench::many_section() {
  const char* const section = "many at once";
  const unsigned count = options_.quick ? 200 : 1000;
  const std::string condition = std::to_string(count) + " alive, net";
  pid_t helper = 0;
  std::string error;
  const std::unique_ptr<Worker> host = start_host(0, &helper, &error);
  Request request;
  Reply start;
  Reply stop;
  std::size_t alive = 0;
  std::size_t left = 0;
  std::uint64_t before = 0;
  std::uint64_t after = 0;
  if (host != nullptr) {
    const pid_t parent = helper > 0 ? helper : host->pid();
    request.work = default_work(scratch_, true);
    copy_text(request.work.command, "/pause");
    // What is kept from one launch to the next is there after a few.
    request.kind = Request::spawn;
    request.count = 5;
    bool good = host->call(request, &start);
    request.kind = Request::stop_all;
    good = good && host->call(request, &stop);
    std::this_thread::sleep_for(milliseconds(300));
    before = process_info(host->pid()).descriptors + process_info(helper).descriptors;
    request.kind = Request::spawn;
    request.count = count;
    good = good && host->call(request, &start);
    alive = children_of(parent).size();
    request.kind = Request::stop_all;
    good = good && host->call(request, &stop);
    if (!good) error = host->error();
    std::this_thread::sleep_for(milliseconds(300));
    left = children_of(parent).size();
    after = process_info(host->pid()).descriptors + process_info(helper).descriptors;
  }
  if (!error.empty()) {
    for (const char* name : {"alive", "left after stop", "start, each", "stop, each"})
      report_.missing(section, name, condition, error);
    return;
  }
  Row row;
  row.section = section;
  row.condition = condition;
  row.name = "alive";
  row.value = static_cast<double>(alive);
  row.unit = "containers";
  Report::judge(&row, *row.value, ">=", count);
  report_.add(row);
  row.name = "left after stop";
  row.value = static_cast<double>(left + (after > before ? after - before : 0));
  row.unit = "processes and fds";
  Report::judge(&row, *row.value, "<=", 0);
  report_.add(row);
  row.target.clear();
  row.verdict = Verdict::info;
  row.unit = "ms";
  row.name = "start, each";
  row.value = static_cast<double>(start.value[0]) / 1e6 / count;
  report_.add(row);
  row.name = "stop, each";
  row.value = static_cast<double>(stop.value[0]) / 1e6 / count;
  report_.add(row);
}

void Bench::crowd_section() {
  const char* const section = "500 processes";
  const std::vector<std::string> freezers = crowd_freezers();
  if (freezers.empty())
    report_.missing(section, "freeze, thaw, kill", "", "no cgroup hierarchy that can freeze");
  for (const std::string& freezer : freezers) {
    CrowdFigures figures;
    std::string error;
    (void)wait_for_quiet(&patience_);
    const bool good =
        measure_crowd(scratch_.root(), freezer, options_.quick ? 6 : 30, &figures, &error);
    for (const auto& [name, rounds] :
         {std::pair{"freeze", &figures.freeze}, std::pair{"thaw", &figures.thaw},
          std::pair{"kill", &figures.kill}}) {
      if (!good) {
        report_.missing(section, name, freezer, error);
        continue;
      }
      Row row;
      row.section = section;
      row.condition = freezer;
      row.name = std::string(name) + ", the kernel's own";
      row.latency = summarize(rounds->bare);
      report_.add(row);
      row.name = std::string(name) + ", condroid";
      row.latency = summarize(rounds->ours);
      row.ratio = paired_ratio(rounds->ours, rounds->bare);
      row.ratio_to = "the kernel's own";
      Report::judge(&row, row.ratio->value, "<=", 1.2);
      report_.add(row);
    }
  }
}

Warm Bench::warm() {
  Warm w;
  w.report = &report_;
  w.patience = &patience_;
  w.quick = options_.quick;
  w.scratch = &scratch_;
  w.work = [this](bool net) { return default_work(scratch_, net); };
  w.add_cgroup = [this](Work* work, std::string* error) {
    return add_cgroups(scratch_, CgroupUse::plain, work, error);
  };
  w.start_floor = [this] { return start_floor(); };
  w.start_host = [this](std::uint64_t bytes, pid_t* helper, std::string* error) {
    return start_host(bytes, helper, error);
  };
  return w;
}

int Bench::run() {
  std::string error;
  if (!scratch_.open(options_.payloads, &error)) {
    std::fprintf(stderr, "condroid-bench: %s\n", error.c_str());
    return 1;
  }
  struct Section {
    const char* name;
    void (Bench::*run)();
  };
  const std::array<Section, 20> sections = {{{"same", &Bench::same_section},
                                             {"launch", &Bench::launch_section},
                                             {"isolation", &Bench::warm_isolation_section},
                                             {"network", &Bench::warm_network_section},
                                             {"lxc", &Bench::warm_lxc_section},
                                             {"host", &Bench::host_section},
                                             {"rate", &Bench::rate_section},
                                             {"commands", &Bench::command_section},
                                             {"live", &Bench::live_section},
                                             {"measures", &Bench::measures_section},
                                             {"text", &Bench::text_section},
                                             {"control", &Bench::control_section},
                                             {"calls", &Bench::calls_section},
                                             {"many", &Bench::many_section},
                                             {"crowd", &Bench::crowd_section},
                                             {"take", &Bench::warm_take_section},
                                             {"attach", &Bench::warm_attach_section},
                                             {"sustain", &Bench::warm_sustain_section},
                                             {"harness", &Bench::warm_harness_section},
                                             {"android", &Bench::warm_android_section}}};
  milliseconds left = options_.patience;
  std::size_t to_come = static_cast<std::size_t>(
      std::count_if(sections.begin(), sections.end(),
                    [&](const Section& section) { return wanted(section.name); }));
  for (const Section& section : sections) {
    if (!wanted(section.name)) continue;
    std::fprintf(stderr, "condroid-bench: %s ...\n", section.name);
    // Each may use its share, and what those before did not need.
    const milliseconds share = left / static_cast<int>(to_come--);
    patience_ = share;
    (this->*section.run)();
    left -= share - patience_;
  }
  std::printf("%s", report_.table().c_str());
  if (!options_.json.empty() && !(std::ofstream(options_.json) << report_.json()).flush()) {
    std::fprintf(stderr, "condroid-bench: %s: cannot be written\n", options_.json.c_str());
    return 1;
  }
  if (report_.count(Verdict::missing) > 0) return 1;
  return options_.strict && report_.count(Verdict::missed) > 0 ? 1 : 0;
}

}  // namespace

int run_all(const Options& options) { return Bench(options).run(); }

}  // namespace bench
