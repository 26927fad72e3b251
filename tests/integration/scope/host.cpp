// A host for tests with a real systemd: opens a Runtime that uses a scope as it is told, says what
// came of it, and does what it reads, a line each.
//
//   scope-host USE PAYLOAD [SLICE]   USE: never, when_needed, preferred, required
//
//   launch   a container that stays, and where it is
//   limit    a container with a limit of processes, and how many it got
//   freeze   freezes and thaws the one that stays
//   detach   lets it go on without us
//   again    kills the zygote, and launches through the next one
//   end      (or the end of the input) ends
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <condroid/condroid.hpp>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <optional>
#include <string>

using namespace condroid;

namespace {

[[noreturn]] void give_up(const Error& error) {
  std::printf("error=%s\n", to_string(error).c_str());
  std::fflush(stdout);
  std::_Exit(3);
}

template <class T>
T must(Result<T> result) {
  if (!result) give_up(result.error());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// Where a process is on v2, or on v1 for the processes' controller.
std::string group_of(int pid, const std::string& controller) {
  std::ifstream file(fmt::format("/proc/{}/cgroup", pid));
  for (std::string line; std::getline(file, line);)
    if (const auto at = line.find(":" + controller + ":"); at != std::string::npos)
      return line.substr(at + controller.size() + 2);
  return "(none)";
}

int open_descriptors() {
  int n = 0;
  DIR* d = ::opendir("/proc/self/fd");
  while (::readdir(d) != nullptr) ++n;
  ::closedir(d);
  return n;
}

Spec of(const std::string& payload, std::vector<std::string> argv) {
  Spec spec;
  spec.name = "inside";
  argv.insert(argv.begin(), payload);
  spec.process.argv = std::move(argv);
  spec.process.stdio = Stdio::capture;
  return spec;
}

Spec lasting(const std::string& payload) {
  Spec spec = of(payload, {"pause"});
  spec.resources.cgroup = CgroupMode::always;
  spec.lifecycle.freezable = true;
  spec.process.stdio = Stdio::null;  // nobody listens once it is detached
  if (::geteuid() != 0) spec.idmap.kind = IdMap::single;
  return spec;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::map<std::string, SystemdScope::Use> uses = {{"never", SystemdScope::never},
                                                         {"when_needed", SystemdScope::when_needed},
                                                         {"preferred", SystemdScope::preferred},
                                                         {"required", SystemdScope::required}};
  const std::string payload = argv[2];
  const int before = open_descriptors();
  const auto began = std::chrono::steady_clock::now();
  const char* patience = std::getenv("SCOPE_PATIENCE_MS");
  SystemdScope systemd{.use = uses.at(argv[1]), .slice = argc > 3 ? argv[3] : ""};
  if (patience != nullptr) systemd.patience = std::chrono::milliseconds{std::atoi(patience)};
  std::optional<Runtime> runtime = must(Runtime::open({.systemd = systemd}));
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
  std::printf("open_ms=%.1f\nunit=%s\nwhy_not=%s\n", took.count(), runtime->scope().unit.c_str(),
              runtime->scope().why_not.c_str());
  // The zygote's socket and pidfd, and the place that descriptors are found through.
  std::printf("descriptors=%d\n", open_descriptors() - before);
  const auto print_zygote = [&] {
    const int zygote = runtime->zygote_pid().value;
    std::printf("zygote=%d\nzygote_v2=%s\nzygote_pids=%s\n", zygote, group_of(zygote, "").c_str(),
                group_of(zygote, "pids").c_str());
  };
  print_zygote();
  std::printf("own_v2=%s\n", group_of(::getpid(), "").c_str());
  const HostFacts& facts = must(runtime->facts()).get();
  for (const CgroupHierarchy& h : facts.cgroups)
    std::printf("hierarchy=%s %s %d %s\n", h.mount_point.c_str(),
                h.parent.empty() ? "/" : h.parent.c_str(), h.writable ? 1 : 0,
                fmt::format("{}", fmt::join(h.controllers, ",")).c_str());
  std::printf("ready=\n");
  std::fflush(stdout);

  std::optional<Container> box;
  for (std::string line; std::getline(std::cin, line) && line != "end";) {
    if (line == "again") {
      ::kill(runtime->zygote_pid().value, SIGKILL);
      if (box) (void)box->wait();
    }
    if (line == "launch" || line == "again") {
      box = must(runtime->launch(lasting(payload)));
      std::printf("box=%d\nbox_v2=%s\nbox_pids=%s\n", box->pid().value,
                  group_of(box->pid().value, "").c_str(),
                  group_of(box->pid().value, "pids").c_str());
      print_zygote();
    } else if (line == "limit") {
      Spec spec = of(payload, {"forks", "20"});
      if (::geteuid() != 0) spec.idmap.kind = IdMap::single;
      spec.resources.pids_max = 6;
      Container limited = must(runtime->launch(spec));
      const Exit e = must(limited.wait());
      std::printf("limit=%s %s%s\n", to_string(e).c_str(), e.out.c_str(), e.err.c_str());
      for (const auto& c : e.cleanup_errors) std::printf("cleanup=%s\n", c.c_str());
    } else if (line == "freeze") {
      must(box->freeze());
      must(box->thaw());
    } else if (line == "detach") {
      must(box->detach());
    }
    std::printf("done=%s\n", line.c_str());
    std::fflush(stdout);
  }
  box.reset();
  runtime.reset();
  std::printf("end=\n");
}
