#include "running.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condroid/registry.hpp>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <optional>

#include "options.hpp"
#include "processes.hpp"

using namespace condroid;

namespace {

int report(const Error& error) {
  fmt::print(stderr, "condroid-run: {}\n", error);
  return failed;
}

/// "8s", "5m12s", "3h07m", "4d02h".
std::string age(std::chrono::nanoseconds of) {
  const auto s = std::chrono::duration_cast<std::chrono::seconds>(of).count();
  constexpr long minute = 60, hour = 60 * minute, day = 24 * hour;
  if (s < minute) return fmt::format("{}s", s);
  if (s < hour) return fmt::format("{}m{:02}s", s / minute, s % minute);
  if (s < day) return fmt::format("{}h{:02}m", s / hour, s % hour / minute);
  return fmt::format("{}d{:02}h", s / day, s % day / hour);
}

/// "812K", "3.4M", "1.2G".
std::string size(std::uint64_t bytes) {
  constexpr double step = 1024;
  constexpr const char* units[] = {"K", "M", "G", "T"};
  double value = static_cast<double>(bytes) / step;
  std::size_t unit = 0;
  for (; value >= step && unit + 1 < std::size(units); ++unit) value /= step;
  return value < 10 && unit > 0 ? fmt::format("{:.1f}{}", value, units[unit])
                                : fmt::format("{:.0f}{}", value, units[unit]);
}

/// What its cgroup counts; without one, what its processes have resident, shared pages counted with
/// each.
std::uint64_t memory(const Registered& box) {
  for (const auto& c : box.cgroups) {
    const auto& names = c.hierarchy.controllers;
    if (!c.hierarchy.v2 && std::ranges::find(names, "memory") == names.end()) continue;
    const auto dir = CgroupDir::open(c.hierarchy, c.path);
    if (!dir) continue;
    const auto text = dir->read(c.hierarchy.v2 ? "memory.current" : "memory.usage_in_bytes");
    if (text) return std::strtoull(text->c_str(), nullptr, 10);
  }
  std::uint64_t pages = 0;
  for (const pid_t pid : tree_below(box.pid.value)) {
    std::ifstream file(fmt::format("/proc/{}/statm", pid));
    std::uint64_t whole = 0, resident = 0;
    if (file >> whole >> resident) pages += resident;
  }
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

/// Its first process's, in one line, without what a terminal would take for more than text.
std::string command(const Registered& box) {
  std::string text = proc_file(box.pid.value, "cmdline");
  while (!text.empty() && text.back() == '\0') text.pop_back();
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < ' ') c = ' ';
    if (byte >= 0x7f) c = '?';
  }
  return text;
}

}  // namespace

int list_running() {
  const auto all = Registry::list();
  if (!all) return report(all.error());
  std::size_t width = 4;
  for (const auto& box : *all) width = std::max(width, box.name.size());
  winsize window{};
  std::size_t columns = 0;
  if (::isatty(STDOUT_FILENO) != 0 && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0)
    columns = window.ws_col;
  fmt::print("{:<{}}  {:>7}  {:>6}  {:<7}  {:>6}  COMMAND\n", "NAME", width, "PID", "AGE", "STATE",
             "MEMORY");
  for (const auto& box : *all) {
    std::string line =
        fmt::format("{:<{}}  {:>7}  {:>6}  {:<7}  {:>6}  {}", box.name, width, box.pid.value,
                    age(box.age), to_string(box.state), size(memory(box)), command(box));
    if (columns > 0 && line.size() > columns) line.resize(columns);
    fmt::print("{}\n", line);
  }
  return 0;
}

int stop_running(const std::string& what) {
  const auto box = Registry::open(what);
  if (!box) return report(box.error());
  if (auto ok = box->stop(); !ok) return report(ok.error());
  return 0;
}
