#include "process_info.hpp"

#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace bench {
namespace {

namespace fs = std::filesystem;

std::string proc(pid_t pid, const char* name) {
  return "/proc/" + std::to_string(pid) + "/" + name;
}

std::uint64_t sum_of(const std::string& path, const std::string& suffix_of_key) {
  std::ifstream file(path);
  std::string line;
  std::uint64_t sum = 0;
  while (std::getline(file, line)) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(0, colon);
    if (key.size() < suffix_of_key.size() ||
        key.compare(key.size() - suffix_of_key.size(), std::string::npos, suffix_of_key) != 0)
      continue;
    std::istringstream value(line.substr(colon + 1));
    std::uint64_t number = 0;
    if (value >> number) sum += number;
  }
  return sum;
}

}  // namespace

ProcessInfo process_info(pid_t pid) {
  ProcessInfo info;
  if (pid <= 0) return info;
  info.resident_kib = sum_of(proc(pid, "smaps_rollup"), "Rss");
  std::ifstream rollup(proc(pid, "smaps_rollup"));
  std::string line;
  while (std::getline(rollup, line)) {
    if (line.rfind("Pss:", 0) == 0) info.proportional_kib = std::stoull(line.substr(4));
  }
  std::error_code error;
  for (fs::directory_iterator it(proc(pid, "fd"), error), end; !error && it != end;
       it.increment(error))
    ++info.descriptors;
  return info;
}

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename().string();
    if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0])) == 0) continue;
    std::ifstream file(entry.path() / "stat");
    std::string text;
    std::getline(file, text);
    const std::size_t close = text.rfind(')');
    if (close == std::string::npos) continue;
    std::istringstream rest(text.substr(close + 1));
    char state = 0;
    pid_t parent = 0;
    rest >> state >> parent;
    if (parent == pid && state != 'Z') out.push_back(static_cast<pid_t>(std::stol(name)));
  }
  return out;
}

std::uint64_t context_switches(pid_t pid) {
  if (pid <= 0) return 0;
  std::uint64_t sum = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(proc(pid, "task"), error))
    sum += sum_of((entry.path() / "status").string(), "voluntary_ctxt_switches");
  return sum;
}

std::uint64_t context_switches(const std::vector<pid_t>& pids) {
  std::uint64_t sum = 0;
  for (const pid_t pid : pids) sum += context_switches(pid);
  return sum;
}

std::uint64_t this_machine_available_mib() {
  return sum_of("/proc/meminfo", "MemAvailable") / 1024;
}

}  // namespace bench
