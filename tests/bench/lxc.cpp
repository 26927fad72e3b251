#include "lxc.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <vector>

#include "commands.hpp"
#include "rows.hpp"

namespace bench {
namespace {

constexpr const char* section = "LXC's configurations";
constexpr const char* ours_name = "condroid, in process";
constexpr const char* theirs_name = "liblxc, in process";

/// Which cgroups a host sees, and what is asked of the ratio there.
struct Layout {
  const char* name;
  bool v2;
  double least;
  double least_large;
};

/// A host that starts containers of LXC's in its process, ours or liblxc's.
class LxcHost {
 public:
  LxcHost(const Warm& warm, const LxcPrograms& programs, const Layout& layout, bool theirs,
          std::uint64_t bytes)
      : worker_(Worker::start({theirs ? programs.liblxc : programs.worker})) {
    if (theirs && ::access(programs.liblxc.c_str(), X_OK) != 0)
      error_ = "it was built without liblxc (Debian: lxc-dev)";
    Request request;
    request.kind = Request::grow;
    request.amount = bytes;
    call(request);
    request.kind = layout.v2 ? Request::cage : Request::enter;
    const std::vector<std::string> cgroups =
        layout.v2 ? std::vector{warm.scratch->cgroup_v2()} : warm.scratch->cgroups_to_enter();
    if (cgroups.empty() || cgroups[0].empty()) error_ = warm.scratch->cgroup_error();
    for (const std::string& directory : cgroups)
      if (!request.argv.add(directory)) error_ = "too many cgroups";
    call(request);
  }
  [[nodiscard]] Series series(const char* name, const std::string& directory, const char* config) {
    Series s = series_of(name, &worker_, Request::lxc_start, Work{}, error_);
    for (const std::string& word : {directory, std::string("bench"), directory + "/" + config})
      if (!s.request.argv.add(word)) s.error = "the path is too long";
    return s;
  }
  /// One start, outside of any series.
  [[nodiscard]] std::string once(const std::string& directory, const char* config) {
    Series s = series("", directory, config);
    Reply reply;
    s.request.count = 1;
    if (s.error.empty() && !worker_.call(s.request, &reply)) s.error = worker_.error();
    return s.error;
  }

 private:
  void call(const Request& request) {
    Reply reply;
    if (error_.empty() && !worker_.call(request, &reply)) error_ = worker_.error();
  }
  Worker worker_;
  std::string error_ = {};
};

/// Of a file like /proc/PID/cgroup: each hierarchy, and the last name of the cgroup in it; nothing
/// where that is the host's.
std::map<std::string, std::string> hierarchies(const std::string& file) {
  std::map<std::string, std::string> all;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == line.npos ? first : line.find(':', first + 1);
    if (second == line.npos) continue;
    std::string last = line.substr(line.rfind('/') + 1);
    if (last.starts_with("condroid-bench.")) last.clear();
    all[line.substr(first + 1, second - first - 1)] = std::move(last);
  }
  return all;
}

/// A start of each whose hook looks at the cgroups of the container.
void same_cgroups_row(const Warm& warm, const Layout& layout, LxcHost* ours, LxcHost* theirs,
                      const std::string& directory) {
  const char* const name = "hierarchies with a cgroup, condroid and liblxc";
  const std::string seen = directory + "/cgroups";
  std::array<std::map<std::string, std::string>, 2> both;
  for (std::size_t i = 0; i < 2; ++i) {
    ::unlink(seen.c_str());
    const std::string error = (i == 0 ? ours : theirs)->once(directory, "config-facts");
    both[i] = hierarchies(seen);
    if (error.empty() && !both[i].empty()) continue;
    return warm.report->missing(section, name, layout.name,
                                error.empty() ? "the hook has told nothing" : error);
  }
  std::size_t differ = 0;
  Row row;
  for (const auto& [hierarchy, place] : both[1]) {
    const std::string& ours_there = both[0][hierarchy];
    if (ours_there.empty() == place.empty()) continue;
    ++differ;
    row.note += (row.note.empty() ? "" : "; ") + hierarchy + ": " +
                (place.empty() ? "condroid's alone" : "liblxc's alone");
  }
  row.section = section;
  row.name = name;
  row.condition = layout.name;
  row.value = static_cast<double>(differ);
  row.unit = "of " + std::to_string(both[1].size()) + " differ";
  Report::judge(&row, *row.value, "<=", 0);
  warm.report->add(std::move(row));
}

void in_process_rows(const Warm& warm, const LxcPrograms& programs, const Layout& layout,
                     const std::string& directory) {
  for (const bool large : {false, true}) {
    const std::uint64_t bytes = large ? std::uint64_t{1} << 30U : 0;
    const double least = large ? layout.least_large : layout.least;
    LxcHost our_host(warm, programs, layout, false, bytes);
    LxcHost their_host(warm, programs, layout, true, bytes);
    if (!large) same_cgroups_row(warm, layout, &our_host, &their_host, directory);
    for (const Pace pace : {Pace::back_to_back, Pace::spaced}) {
      const std::string condition =
          std::string(layout.name) + (large ? ", 1 GiB resident, " : ", ") + to_string(pace);
      Series ours = our_host.series(ours_name, directory, "config");
      Series theirs = their_host.series(theirs_name, directory, "config");
      Effort effort = effort_of(pace, warm.quick);
      if (pace == Pace::back_to_back) effort = {.rounds = warm.quick ? 5 : 15, .batch = 4};
      measure({&ours, &theirs}, pace, effort, warm.patience);
      if (!complete(warm.report, section, {&ours, &theirs}, condition)) continue;
      warm.report->add(row_of(section, ours, condition));
      Row row = row_of(section, theirs, condition);
      row.ratio = paired_ratio(theirs.rounds, ours.rounds);
      row.ratio_to = ours_name;
      Report::judge(&row, row.ratio->value, ">=", least);
      warm.report->add(std::move(row));
    }
  }
}

/// Ours, then LXC's own; the same command line but for where the program is.
std::vector<Series> both_programs(const LxcPrograms& programs, Worker* cage, const char* program,
                                  const std::vector<std::string>& arguments,
                                  const std::string& error) {
  std::vector<Series> both;
  for (const bool theirs : {false, true}) {
    std::string path = theirs ? find_program(program) : programs.ours + "/" + program;
    Series s = series_of(std::string(program) + (theirs ? ", LXC's" : ", condroid's"), cage,
                         Request::command, Work{}, error);
    if (s.error.empty() && ::access(path.c_str(), X_OK) != 0)
      s.error = std::string(program) + " is not there: " + (theirs ? "Debian's lxc" : path);
    (void)s.request.argv.add(path);
    for (const std::string& word : arguments)
      if (!s.request.argv.add(word)) s.error = "the command line is too long";
    both.push_back(std::move(s));
  }
  return both;
}

void program_rows(const Warm& warm, std::vector<Series> both, double least) {
  std::vector<Series*> list = {&both[0], &both[1]};
  for (const Pace pace : {Pace::back_to_back, Pace::spaced}) {
    const std::string condition = std::string("whole commands, ") + to_string(pace);
    for (Series& s : both) s.samples = s.rounds = {};
    Effort effort = effort_of(pace, warm.quick);
    if (pace == Pace::back_to_back) effort = {.rounds = warm.quick ? 5 : 15, .batch = 3};
    if (both[0].error.empty() && both[1].error.empty()) measure(list, pace, effort, warm.patience);
    if (!complete(warm.report, section, list, condition)) continue;
    warm.report->add(row_of(section, both[0], condition));
    Row row = row_of(section, both[1], condition);
    row.ratio = paired_ratio(both[1].rounds, both[0].rounds);
    row.ratio_to = both[0].name;
    Report::judge(&row, row.ratio->value, ">=", least);
    warm.report->add(std::move(row));
  }
}

std::string run_once(Series one) {
  Reply reply;
  one.request.count = 1;
  if (one.error.empty() && !one.worker->call(one.request, &reply)) one.error = one.worker->error();
  return one.error;
}

void all_program_rows(const Warm& warm, const LxcPrograms& programs, const std::string& directory) {
  Worker cage = warm.start_floor();
  Request request;
  Reply reply;
  request.kind = Request::cage;
  std::string error = warm.scratch->cgroup_error();
  if (error.empty() && !request.argv.add(warm.scratch->cgroup_v2()))
    error = "the path of the cgroup is too long";
  if (error.empty() && !cage.call(request, &reply)) error = cage.error();

  const std::vector<std::string> name = {"-P", directory, "-n", "bench"};
  const auto with = [&](std::vector<std::string> more, const char* config) {
    more.insert(more.begin(), name.begin(), name.end());
    if (*config != '\0') more.insert(more.end(), {"-f", directory + "/" + config});
    return more;
  };
  program_rows(warm,
               both_programs(programs, &cage, "lxc-start",
                             with({"-F", "-o", directory + "/log"}, "config"), error),
               2.5);
  // Of one that condroid keeps: both ask the same.
  if (error.empty())
    error = run_once(
        both_programs(programs, &cage, "lxc-start", with({"-d"}, "config-pause"), error)[0]);
  program_rows(warm, both_programs(programs, &cage, "lxc-info", with({"-s"}, ""), error), 2);
  if (error.empty())
    (void)run_once(both_programs(programs, &cage, "lxc-stop", with({"-k"}, ""), error)[0]);
}

}  // namespace

void lxc_section(const Warm& warm, const LxcPrograms& programs) {
  const std::string directory = warm.scratch->directory() + "/lxcpath";
  ::mkdir(directory.c_str(), 0755);
  const std::string config = lxc_config(warm.work(false), warm.scratch->root());
  std::ofstream(directory + "/config") << config << "lxc.init.cmd = /true\n";
  std::ofstream(directory + "/config-pause") << config << "lxc.init.cmd = /pause\n";
  std::ofstream(directory + "/config-facts")
      << config << "lxc.init.cmd = /true\nlxc.hook.version = 1\n"
      << "lxc.hook.start-host = sh -c 'cat /proc/$LXC_PID/cgroup > " << directory << "/cgroups'\n";
  for (const Layout& layout :
       {Layout{"cgroup v2", true, 5, 20}, Layout{"the machine's cgroups", false, 3, 15}})
    in_process_rows(warm, programs, layout, directory);
  all_program_rows(warm, programs, directory);
}

}  // namespace bench
