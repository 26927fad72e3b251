#include "android.hpp"

#include <sys/stat.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

#include "commands.hpp"
#include "process_info.hpp"
#include "rows.hpp"

namespace bench {
namespace {

using std::chrono::milliseconds;
namespace fs = std::filesystem;

constexpr const char* section = "Android devices";
/// Root and vendor.
constexpr std::size_t images = 2;

/// The directories and images of a root that has the shape of Android's. Empty, or what is wrong.
std::string make_root(const std::string& directory, const std::string& init,
                      const std::string& pause) {
  std::error_code code;
  for (const char* name : {"acct",       "apex",         "bootstrap-apex",
                           "config",     "data",         "debug_ramdisk",
                           "dev",        "linkerconfig", "metadata",
                           "mnt",        "mnt_extra",    "odm",
                           "oem",        "postinstall",  "proc",
                           "product",    "run",          "second_stage_resources",
                           "storage",    "sys",          "system/bin",
                           "system/etc", "system_ext",   "tmp",
                           "var",        "vendor"})
    fs::create_directories(directory + "/system/" + name, code);
  fs::create_directories(directory + "/vendor/etc", code);
  fs::copy_file(init, directory + "/system/init", code);
  if (code) return init + ": " + code.message();
  fs::copy_file(pause, directory + "/system/system/bin/pause", code);
  if (code) return pause + ": " + code.message();
  for (const char* program : {"/system/init", "/system/system/bin/pause"})
    ::chmod((directory + program).c_str(), 0755);
  std::ofstream(directory + "/system/system/etc/fake-part") << "of the system\n";
  std::ofstream(directory + "/system/default.prop") << "ro.of=the image\n";
  std::ofstream(directory + "/vendor/etc/fake-part") << "of the vendor\n";
  std::ofstream(directory + "/vendor/waydroid.prop") << "ro.of=the image\n";
  const std::string mkfs = find_program("mkfs.erofs");
  if (mkfs.empty()) return "mkfs.erofs is not installed";
  for (const char* part : {"/system", "/vendor"}) {
    const std::string tree = directory + part;
    if (std::system((mkfs + " " + tree + ".erofs " + tree + " > /dev/null 2>&1").c_str()) != 0)
      return "mkfs.erofs failed";
  }
  return {};
}

/// Where something is mounted, with which flags, and what; but for what a file is on.
std::set<std::string> mounts_of(pid_t pid) {
  std::set<std::string> all;
  std::ifstream file("/proc/" + std::to_string(pid) + "/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string skip, target, flags, type;
    words >> skip >> skip >> skip >> skip >> target >> flags;
    while (words >> skip && skip != "-") {
    }
    words >> type;
    struct stat st {};
    const std::string there = "/proc/" + std::to_string(pid) + "/root" + target;
    const bool directory = ::stat(there.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
    all.insert(target + " " + (directory ? type : "file") + " " + flags);
  }
  return all;
}

std::size_t loops_below(const std::string& directory) {
  std::size_t found = 0;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator("/sys/block", code)) {
    std::ifstream file(entry.path() / "loop/backing_file");
    std::string path;
    if (std::getline(file, path) && path.starts_with(directory + "/")) ++found;
  }
  return found;
}

class Devices {
 public:
  Devices(const Warm& warm, const std::string& worker, const std::string& init)
      : warm_(warm),
        directory_(warm.scratch->directory() + "/android"),
        worker_(Worker::start({worker})),
        floor_(warm.start_floor()) {
    error_ = make_root(directory_, init, warm.scratch->root() + "/pause");
    Request request;
    request.kind = Request::open;
    call(&worker_, request);
    helper_ = static_cast<pid_t>(reply_.value[0]);
  }

  void start_rows(const char* type) {
    const std::string kind = type == std::string_view("directory") ? "directories" : "erofs images";
    use(type);
    const std::string list = directory_ + "/mounts-" + type;
    Request request;
    request.kind = Request::device_mounts;
    if (!request.argv.add(list)) error_ = "the path is too long";
    call(&worker_, request);
    same_row(kind, list);
    for (const Pace pace : {Pace::back_to_back, Pace::spaced}) {
      const std::string condition = kind + ", " + to_string(pace);
      Series bare =
          series_of("the same mounts, bare", &floor_, Request::device_start, Work{}, error_);
      if (!bare.request.argv.add(list)) bare.error = "the path is too long";
      Series ours = series_of("device", &worker_, Request::device_start, Work{}, error_);
      Effort effort = pace == Pace::spaced ? Effort{.rounds = 20, .batch = 1}
                                           : Effort{.rounds = 20, .batch = 4};
      if (warm_.quick) effort.rounds = 6;
      if (error_.empty()) measure({&bare, &ours}, pace, effort, warm_.patience);
      if (!complete(warm_.report, section, {&bare, &ours}, condition)) continue;
      warm_.report->add(row_of(section, bare, condition));
      Row row = row_of(section, ours, condition);
      row.ratio = paired_ratio(ours.rounds, bare.rounds);
      row.ratio_to = "bare";
      warm_.report->add(std::move(row));
      std::vector<double> more;
      for (std::size_t i = 0; i < ours.rounds.size() && i < bare.rounds.size(); ++i)
        more.push_back(ours.rounds[i] - bare.rounds[i]);
      add("more than the bare mounts", condition, median(more), "ms", "<", 10);
    }
  }

  void crowd_rows() {
    const unsigned count = 100;
    const std::string condition = std::to_string(count) + " devices of the same images";
    use("erofs");
    // What is touched by the first ones is not the price of one.
    spawn(4);
    stop_all();
    spawn(1);
    settle();
    const ProcessInfo before = process_info(worker_.pid());
    const ProcessInfo helper_before = process_info(helper_);
    spawn(count - 1);
    const double each_ms = static_cast<double>(reply_.value[0]) / 1e6 / (count - 1);
    std::this_thread::sleep_for(milliseconds(1000));
    const ProcessInfo live = process_info(worker_.pid());
    const ProcessInfo helper_live = process_info(helper_);
    const std::size_t alive = children_of(helper_).size();
    const std::size_t loops = loops_below(directory_);
    stop_all();
    std::this_thread::sleep_for(milliseconds(300));
    const std::size_t left = children_of(helper_).size();
    if (!error_.empty()) return missing("alive", condition);
    const auto each = [&](std::uint64_t now, std::uint64_t then) {
      return (static_cast<double>(now) - static_cast<double>(then)) / (count - 1);
    };
    add("alive", condition, static_cast<double>(alive), "devices", ">=", count);
    add("loop devices", condition, static_cast<double>(loops), "", "<=", images);
    add("launcher, per device", condition, each(live.resident_kib, before.resident_kib), "KiB", "<",
        100);
    add("zygote, per device", condition, each(helper_live.resident_kib, helper_before.resident_kib),
        "KiB");
    add("launcher, descriptors each", condition, each(live.descriptors, before.descriptors), "fds");
    add("start, each", condition, each_ms, "ms");
    add("left after stop", condition, static_cast<double>(left), "processes", "<=", 0);
  }

  void freeze_rows() {
    const std::string condition = "an idle device";
    use("erofs");
    spawn(1);
    std::this_thread::sleep_for(milliseconds(1000));
    Series freeze = series_of("freeze", &worker_, Request::freeze, Work{}, error_);
    Series thaw = series_of("thaw", &worker_, Request::thaw, Work{}, error_);
    Effort effort{.rounds = warm_.quick ? 10 : 40, .batch = 8};
    if (error_.empty()) measure({&freeze, &thaw}, Pace::back_to_back, effort, warm_.patience);
    stop_all();
    if (!complete(warm_.report, section, {&freeze, &thaw}, condition)) return;
    for (const Series* s : {&freeze, &thaw}) {
      warm_.report->add(row_of(section, *s, condition));
      add(s->name, condition, summarize(s->samples).p50 * 1000, "us", "<", 1000);
    }
  }

 private:
  void call(Worker* worker, const Request& request) {
    if (error_.empty() && !worker->call(request, &reply_)) error_ = worker->error();
  }
  void use(const char* type) {
    Request request;
    request.kind = Request::device;
    for (const std::string& word : {directory_, std::string(type)})
      if (!request.argv.add(word)) error_ = "the path is too long";
    call(&worker_, request);
  }
  void step(Request::Kind kind, std::uint32_t count) {
    Request request;
    request.kind = kind;
    request.count = count;
    call(&worker_, request);
  }
  void spawn(std::uint32_t count) { step(Request::spawn, count); }
  void stop_all() { step(Request::stop_all, 0); }
  void settle() { step(Request::settle, 0); }

  /// One of each beside the other.
  void same_row(const std::string& kind, const std::string& list) {
    const char* const name = "mounts, bare and a device's";
    spawn(1);
    const auto ours = error_.empty() ? static_cast<pid_t>(reply_.value[1]) : 0;
    Request request;
    request.kind = Request::device_start;
    request.count = 1;
    request.amount = 1;
    if (!request.argv.add(list)) error_ = "the path is too long";
    call(&floor_, request);
    const auto bare = error_.empty() ? static_cast<pid_t>(reply_.value[0]) : 0;
    // Until both inits have told, and made mounts of their own.
    std::this_thread::sleep_for(milliseconds(300));
    const std::set<std::string> first = mounts_of(bare), second = mounts_of(ours);
    request.amount = 0;
    request.count = 0;
    call(&floor_, request);
    stop_all();
    if (error_.empty() && (first.empty() || second.empty())) error_ = "one of them has no mounts";
    if (!error_.empty()) return missing(name, kind);
    Row row;
    std::size_t differ = 0;
    for (const auto& [mine, others] : {std::pair{&first, &second}, std::pair{&second, &first}})
      for (const std::string& m : *mine)
        if (!others->contains(m)) {
          ++differ;
          row.note += (row.note.empty() ? "" : "; ") +
                      std::string(mine == &first ? "bare: " : "device: ") + m;
        }
    row.section = section;
    row.name = name;
    row.condition = kind;
    row.value = static_cast<double>(differ);
    row.unit = "of " + std::to_string(second.size()) + " differ";
    Report::judge(&row, *row.value, "<=", 0);
    warm_.report->add(std::move(row));
  }

  void missing(const char* name, const std::string& condition) {
    warm_.report->missing(section, name, condition, error_);
  }
  void add(const std::string& name, const std::string& condition, double value, const char* unit,
           const char* relation = nullptr, double limit = 0) {
    Row row;
    row.section = section;
    row.name = name;
    row.condition = condition;
    row.value = value;
    row.unit = unit;
    if (relation != nullptr) Report::judge(&row, value, relation, limit);
    warm_.report->add(std::move(row));
  }

  const Warm& warm_;
  std::string directory_;
  Worker worker_;
  Worker floor_;
  Reply reply_ = {};
  pid_t helper_ = 0;
  std::string error_ = {};
};

}  // namespace

void android_section(const Warm& warm, const std::string& worker, const std::string& init) {
  Devices devices(warm, worker, init);
  for (const char* type : {"directory", "erofs"}) devices.start_rows(type);
  devices.crowd_rows();
  devices.freeze_rows();
}

}  // namespace bench
