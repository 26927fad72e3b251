#include "processes.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condroid/sys/pidfd.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

using Clock = std::chrono::steady_clock;

namespace {

struct Process {
  pid_t parent = 0;
  char state = 0;
  unsigned long long start = 0;

  [[nodiscard]] bool runs() const { return state == 'R' || state == 'S'; }
};

/// proc(5), stat. The name in it may contain anything.
std::optional<Process> look_at(pid_t pid) {
  const std::string text = proc_file(pid, "stat");
  std::istringstream fields(text.substr(std::min(text.rfind(')') + 1, text.size())));
  Process p;
  fields >> p.state >> p.parent;
  constexpr int between = 17;  // field 4 is the parent, 22 the start
  std::string skipped;
  for (int i = 0; i < between; ++i) fields >> skipped;
  fields >> p.start;
  if (!fields) return {};
  return p;
}

std::map<pid_t, Process> all_processes() {
  std::map<pid_t, Process> all;
  std::error_code error;
  for (std::filesystem::directory_iterator i("/proc", error), end; !error && i != end;
       i.increment(error)) {
    const std::string name = i->path().filename();
    pid_t pid = 0;
    const auto [last, bad] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (bad != std::errc{} || last != name.data() + name.size()) continue;
    if (const auto process = look_at(pid)) all.emplace(pid, *process);
  }
  return all;
}

/// To this process and none that has got its number since.
void send(pid_t pid, unsigned long long start, int signal) {
  const auto process = condroid::Pidfd::open(condroid::Pid{pid});
  if (!process) return;
  const auto now = look_at(pid);
  if (now && now->start == start) (void)process->signal(condroid::Signal{signal});
}

}  // namespace

std::string proc_file(pid_t pid, const char* name) {
  std::ifstream file(fmt::format("/proc/{}/{}", pid, name), std::ios::binary);
  // Where reading fails, as it does once the process has ended, a stream buffer throws. This does
  // not.
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

bool Sleep::knows(const Sleeper& process) const {
  return std::any_of(sleepers_.begin(), sleepers_.end(), [&](const Sleeper& s) {
    return s.pid == process.pid && s.start == process.start;
  });
}

bool Sleep::pass(pid_t first) {
  const auto all = all_processes();
  bool met = false;
  // Level by level: a shell that still ran when its children stop would take them for a job that
  // was stopped.
  for (std::vector<pid_t> level{first}, next; !level.empty(); level.swap(next)) {
    std::vector<pid_t> told;
    next.clear();
    for (const pid_t pid : level) {
      const auto found = all.find(pid);
      if (found == all.end()) continue;
      const Process& process = found->second;
      const Sleeper sleeper{pid, process.start};
      const bool known = knows(sleeper);
      if (known ? process.runs() : process.state != 'T') {
        send(pid, process.start, SIGSTOP);
        told.push_back(pid);
        met = true;
        if (!known) sleepers_.push_back(sleeper);
      }
      for (const auto& [child, of] : all)
        if (of.parent == pid) next.push_back(child);
    }
    // A process that has got SIGSTOP forks no more, but it is told to stop, not stopped.
    constexpr std::chrono::milliseconds patience{50};
    for (const auto until = Clock::now() + patience; Clock::now() < until;) {
      if (std::none_of(told.begin(), told.end(), [](pid_t pid) {
            const auto now = look_at(pid);
            return now && now->runs();
          }))
        break;
      (void)::poll(nullptr, 0, 1);
    }
  }
  return met;
}

void Sleep::begin(pid_t first) {
  active_ = true;
  // Again until a pass finds nobody new: one who ends meanwhile leaves children to another parent.
  constexpr std::chrono::seconds patience{1};
  for (const auto until = Clock::now() + patience; pass(first) && Clock::now() < until;) continue;
}

void Sleep::end() {
  // Children first, so that whoever waits for them finds them running.
  for (auto s = sleepers_.rbegin(); s != sleepers_.rend(); ++s) send(s->pid, s->start, SIGCONT);
  sleepers_.clear();
  active_ = false;
}

pid_t command_below(pid_t init) {
  for (const auto& [pid, process] : all_processes()) {
    if (process.parent != init) continue;
    std::ifstream status(fmt::format("/proc/{}/status", pid));
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("NSpid:") && line.ends_with("\t2")) return pid;
  }
  return 0;
}

std::vector<pid_t> tree_below(pid_t first) {
  const auto all = all_processes();
  std::vector<pid_t> tree{first};
  // One that is added is looked at in its turn.
  for (std::size_t i = 0; i < tree.size(); ++i)
    for (const auto& [pid, process] : all)
      if (process.parent == tree[i] && pid != first) tree.push_back(pid);
  return tree;
}
