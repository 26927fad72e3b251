// What tests of a container's life have in common; containers that can be frozen by each means that
// this machine has: v2, and the freezer of v1.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "containers.hpp"

namespace condroid::test {

inline const CgroupHierarchy* v2_hierarchy() {
  for (const CgroupHierarchy& h : facts().cgroups)
    if (h.v2 && h.writable) return &h;
  return nullptr;
}
inline const CgroupHierarchy* v1_freezer() {
  for (const CgroupHierarchy& h : facts().cgroups)
    if (!h.v2 && h.writable && std::ranges::find(h.controllers, "freezer") != h.controllers.end())
      return &h;
  return nullptr;
}

/// "v2", "v1"; none on a machine that has neither, where such a test fails.
inline std::vector<std::string> freezers() {
  std::vector<std::string> list;
  if (v2_hierarchy() != nullptr) list.emplace_back("v2");
  if (v1_freezer() != nullptr) list.emplace_back("v1");
  return list;
}

/// As on a machine that has nothing but that.
inline HostFacts facts_with(std::string_view freezer) {
  HostFacts f = facts();
  if (freezer == "v1")
    for (CgroupHierarchy& h : f.cgroups)
      if (h.v2) h.writable = false;
  return f;
}

inline Plan plan_with(std::string_view freezer, Spec spec) {
  spec.lifecycle.freezable = true;
  return need(compile(spec, facts_with(freezer)));
}
inline Container launch_with(std::string_view freezer, Spec spec, LaunchOptions options = {}) {
  return need(runtime().launch(plan_with(freezer, std::move(spec)), std::move(options)));
}

/// The freezer's cgroup, on v1, that all containers of this process's Runtime are below.
class FrozenAbove {
 public:
  /// That of the container whose cgroup this is.
  explicit FrozenAbove(const std::string& own)
      : state_(own.substr(0, own.rfind('/')) + "/freezer.state") {
    write_text(state_.c_str(), "FROZEN");
  }
  FrozenAbove(const FrozenAbove&) = delete;
  FrozenAbove& operator=(const FrozenAbove&) = delete;
  ~FrozenAbove() { thaw(); }
  void thaw() const {
    if (const Fd fd(::open(state_.c_str(), O_WRONLY | O_CLOEXEC)); fd.valid())
      (void)!::write(fd.get(), "THAWED", 6);
  }

 private:
  std::string state_;
};

/// The container's own cgroup in that hierarchy.
inline std::string own_cgroup_in(const CgroupHierarchy& h) {
  for (const std::string& path : own_cgroups())
    if (path.starts_with(h.mount_point + "/")) return path;
  throw std::runtime_error("no cgroup in " + h.mount_point);
}

/// It may call reboot(2).
inline Spec may_reboot(Spec spec) {
  spec.security.capabilities = CapabilitySet::small().add(Capability::sys_boot);
  spec.security.allow |= Allow::capabilities;
  return spec;
}
inline Spec with_pipe(Spec spec) {
  spec.process.stdio = {Stream::null, Stream::pipe, Stream::null};
  return spec;
}

/// What a Runtime makes once is there: its cgroups, what it keeps ready for the next launch.
inline void warm_up() {
  const TempRoot root;
  for (const std::string& by : freezers())
    for (int i = 0; i < 2; ++i) {
      Container box = launch_with(by, payload(root, {"exit"}));
      (void)wait(box);
    }
}

/// The processes in the container's cgroups, and below.
inline std::vector<pid_t> members() {
  std::vector<pid_t> list;
  std::vector<std::string> dirs = own_cgroups();
  while (!dirs.empty()) {
    const std::string dir = std::move(dirs.back());
    dirs.pop_back();
    std::istringstream pids(read_file(dir + "/cgroup.procs"));
    for (pid_t pid = 0; pids >> pid;) list.push_back(pid);
    for (const std::string& e : entries_of(dir)) {
      struct stat st {};
      const std::string path = fmt::format("{}/{}", dir, e);
      if (::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) dirs.push_back(path);
    }
  }
  std::ranges::sort(list);
  list.erase(std::unique(list.begin(), list.end()), list.end());
  return list;
}

}  // namespace condroid::test
