#include "crowd.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condroid/runtime.hpp>
#include <condroid/sys/cgroup.hpp>
#include <csignal>
#include <fstream>
#include <optional>
#include <utility>

namespace bench {
namespace {

using namespace condroid;
using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

bool has_freezer(const CgroupHierarchy& h) {
  return !h.v2 &&
         std::find(h.controllers.begin(), h.controllers.end(), "freezer") != h.controllers.end();
}

/// The container's directory in the hierarchy, by /proc/PID/cgroup.
std::string directory_of(const Container& box, const CgroupHierarchy& h) {
  std::ifstream lines("/proc/" + std::to_string(box.pid().value) + "/cgroup");
  const std::string mark = h.v2 ? "0::" : ":freezer:";
  for (std::string line; std::getline(lines, line);)
    if (const auto at = line.find(mark); at != std::string::npos && (at == 0 || !h.v2))
      return h.mount_point + line.substr(at + mark.size());
  return {};
}

class Directory {
 public:
  explicit Directory(const std::string& path) : path_(path) {}
  [[nodiscard]] bool write(const char* file, const char* text) const {
    const Fd fd(::open((path_ + "/" + file).c_str(), O_WRONLY | O_CLOEXEC));
    const auto size = static_cast<ssize_t>(std::string_view(text).size());
    return fd.valid() && ::write(fd.get(), text, static_cast<std::size_t>(size)) == size;
  }
  /// Opened before what it is to tell: the cgroup may be gone by then.
  [[nodiscard]] Fd events() const {
    return Fd(::open((path_ + "/cgroup.events").c_str(), O_RDONLY | O_CLOEXEC));
  }
  /// Waits by event until cgroup.events has this line.
  [[nodiscard]] static bool wait_event(const Fd& fd, const char* line) {
    const auto until = Clock::now() + std::chrono::seconds(10);
    for (char text[256];;) {
      const ssize_t n = ::pread(fd.get(), text, sizeof text, 0);
      if (n < 0) return errno == ENODEV;  // the zygote was faster, and has removed it
      if (std::string_view(text, static_cast<std::size_t>(n)).find(line) != std::string_view::npos)
        return true;
      // A millisecond: a cgroup that is removed meanwhile tells nothing more.
      pollfd p{fd.get(), POLLPRI, 0};
      (void)::poll(&p, 1, 1);
      if (Clock::now() > until) return false;
    }
  }
  [[nodiscard]] bool wait_state(std::string_view state) const {
    for (char text[64];;) {
      const Fd fd(::open((path_ + "/freezer.state").c_str(), O_RDONLY | O_CLOEXEC));
      const ssize_t n = ::read(fd.get(), text, sizeof text);
      if (n < 0) return false;
      if (std::string_view(text, static_cast<std::size_t>(n)) == state) return true;
      ::sched_yield();
    }
  }
  [[nodiscard]] bool wait_full() const {
    for (const auto until = Clock::now() + std::chrono::seconds(10); Clock::now() < until;) {
      std::ifstream list(path_ + "/cgroup.procs");
      if (std::count(std::istreambuf_iterator<char>(list), {}, '\n') == crowd_size) return true;
      ::usleep(1000);
    }
    return false;
  }

 private:
  std::string path_;
};

class Crowd {
 public:
  Crowd(const Runtime& runtime, Plan plan, const CgroupHierarchy& h)
      : runtime_(runtime), plan_(std::make_shared<const Plan>(std::move(plan))), hierarchy_(h) {}

  [[nodiscard]] bool start(std::string* error) {
    auto box = runtime_.launch(plan_);
    if (!box) return *error = to_string(box.error()), false;
    box_.emplace(std::move(*box));
    group_.emplace(directory_of(*box_, hierarchy_));
    return group_->wait_full() || (*error = "the processes did not come", false);
  }
  [[nodiscard]] bool freeze(bool bare, bool on, std::vector<double>* times) {
    const auto began = Clock::now();
    bool good = false;
    if (!bare)
      good = (on ? box_->freeze() : box_->thaw()).has_value();
    else if (hierarchy_.v2) {
      const Fd events = group_->events();
      good = group_->write("cgroup.freeze", on ? "1" : "0") &&
             Directory::wait_event(events, on ? "frozen 1" : "frozen 0");
    } else
      good = group_->write("freezer.state", on ? "FROZEN" : "THAWED") &&
             group_->wait_state(on ? "FROZEN\n" : "THAWED\n");
    times->push_back(since(began));
    return good;
  }
  [[nodiscard]] bool kill(bool bare, std::vector<double>* times) {
    const auto began = Clock::now();
    if (!bare) {
      const bool good = box_->kill().has_value() && box_->wait().has_value();
      times->push_back(since(began));
      return good;
    }
    bool good = false;
    if (hierarchy_.v2) {
      const Fd events = group_->events();
      good = group_->write("cgroup.kill", "1") && Directory::wait_event(events, "populated 0");
    } else {
      pollfd p{box_->pidfd().get(), POLLIN, 0};
      good = ::syscall(SYS_pidfd_send_signal, p.fd, SIGKILL, nullptr, 0) == 0 &&
             ::poll(&p, 1, 10000) == 1;
    }
    times->push_back(since(began));
    return box_->wait().has_value() && good;
  }

 private:
  const Runtime& runtime_;
  std::shared_ptr<const Plan> plan_;
  const CgroupHierarchy& hierarchy_;
  std::optional<Container> box_ = {};
  std::optional<Directory> group_ = {};
};

}  // namespace

std::vector<std::string> crowd_freezers() {
  std::vector<std::string> list;
  const auto facts = probe_host();
  if (!facts) return list;
  for (const CgroupHierarchy& h : facts->cgroups) {
    if (h.v2 && h.writable) list.insert(list.begin(), "v2");
    if (has_freezer(h) && h.writable) list.emplace_back("v1 freezer");
  }
  return list;
}

bool measure_crowd(const std::string& root, std::string_view freezer, unsigned rounds,
                   CrowdFigures* figures, std::string* error) {
  auto runtime = Runtime::open();
  if (!runtime) return *error = to_string(runtime.error()), false;
  auto known = runtime->facts();
  if (!known) return *error = to_string(known.error()), false;
  HostFacts facts = known->get();
  const bool v2 = freezer == "v2";
  const CgroupHierarchy* hierarchy = nullptr;
  for (CgroupHierarchy& h : facts.cgroups) {
    if (v2 ? h.v2 : has_freezer(h)) hierarchy = &h;
    if (!v2 && h.v2) h.writable = false;  // as on a machine without
  }
  if (hierarchy == nullptr) return *error = "this machine has no such hierarchy", false;
  Spec spec;
  spec.name = "crowd";
  spec.root.path = HostPath(root);
  spec.process.argv = {"/crowd"};
  spec.process.stdio = Stdio::null;
  spec.lifecycle.freezable = true;
  auto plan = compile(spec, facts);
  if (!plan) return *error = to_string(plan.error()), false;
  Crowd crowd(*runtime, std::move(*plan), *hierarchy);
  for (unsigned round = 0; round < 2 * rounds; ++round) {
    // Which of the two is first changes, and with each the processes are new.
    const bool bare = (round % 4 == 0) || (round % 4 == 3);
    const auto& pick = [bare](CrowdRounds& r) { return bare ? &r.bare : &r.ours; };
    if (!crowd.start(error)) return false;
    bool good = true;
    // Each kind freezes twice and the second counts: the first takes what was never run before.
    std::vector<double> first;
    for (std::vector<double>* f : {&first, pick(figures->freeze)}) {
      good = good && crowd.freeze(bare, true, f);
      good = good && crowd.freeze(bare, false, f == &first ? &first : pick(figures->thaw));
    }
    good = good && crowd.kill(bare, pick(figures->kill));
    if (!good) return *error = "an operation failed or took more than ten seconds", false;
  }
  return true;
}

}  // namespace bench
