#include "sys/cgroup_parents.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <sstream>
#include <vector>

#include "condroid/sys/fd.hpp"
#include "formatted.hpp"
#include "sys/cgroup_files.hpp"
#include "sys/kernel_files.hpp"
#include "sys/mountinfo.hpp"

namespace condroid::inline v0::detail {

namespace {

bool may_write(const std::string& path) {
  return ::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0;
}

std::string file_of(const std::string& dir, const char* name) {
  std::string text;
  const Fd fd(::open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (fd) (void)read_file_at(fd.get(), name, text);
  return text;
}

std::vector<std::string> controllers_of(const std::string& dir) {
  std::istringstream words(file_of(dir, "cgroup.controllers"));
  std::vector<std::string> list;
  for (std::string word; words >> word;) list.push_back(word);
  return list;
}

/// Whether controllers can be switched on for the cgroups below: not where processes are. The top
/// one, which has no type, may.
bool can_hand_on(const std::string& dir) {
  return file_of(dir, "cgroup.procs").empty() || ::access((dir + "/cgroup.type").c_str(), F_OK) < 0;
}

/// What a user needs of a cgroup to run others below it; cgroups(7), delegation.
bool delegated(const std::string& dir) {
  return may_write(dir) && may_write(dir + "/cgroup.procs") &&
         may_write(dir + "/cgroup.subtree_control");
}

/// Where an unprivileged user's containers go on v2.
void choose_delegated(CgroupHierarchy& h) {
  h.parent = h.own_path == "/" ? "" : h.own_path;
  h.writable = may_write(h.mount_point + h.parent);
  h.controllers.clear();
  for (std::string at = h.parent;; at.resize(at.rfind('/'))) {
    if (delegated(h.mount_point + at) && can_hand_on(h.mount_point + at)) {
      h.parent = at;
      h.writable = true;
      h.controllers = controllers_of(h.mount_point + at);
      return;
    }
    if (at.find('/') == std::string::npos) return;
  }
}

}  // namespace

void choose_cgroup_parents(HostFacts& facts, const std::string& wanted) {
  const bool privileged = facts.privileged();
  for (CgroupHierarchy& h : facts.cgroups) {
    const std::string own = h.own_path == "/" ? "" : h.own_path;
    if (h.v2) h.controllers = controllers_of(h.mount_point);
    if (privileged) {
      h.parent = wanted == "." ? own : wanted;
      h.writable = may_write(h.mount_point);
    } else if ((wanted.empty() || wanted == ".") && h.v2) {
      choose_delegated(h);
    } else {
      h.parent = wanted.empty() || wanted == "." ? own : wanted;
      const std::string dir = h.mount_point + h.parent;
      h.writable = may_write(dir);
      if (h.v2) h.controllers = can_hand_on(dir) ? controllers_of(dir) : std::vector<std::string>{};
    }
    if (h.parent == "/") h.parent.clear();
  }
}

bool has_usable_cgroups(const HostFacts& facts) {
  return std::ranges::any_of(facts.cgroups, [](const CgroupHierarchy& h) {
    if (!h.writable) return false;
    // The v2 part of a machine that has its controllers on v1 has none for anybody.
    if (h.v2) return !h.controllers.empty() || controllers_of(h.mount_point).empty();
    return std::ranges::any_of(h.controllers, [](const std::string& controller) {
      return !controller.starts_with("name=");
    });
  });
}

Result<void> put_below_scope(HostFacts& facts, pid_t process, const std::string& unit) {
  // The same hierarchies in the same order, as that process is in them.
  const std::vector<CgroupHierarchy> now =
      find_hierarchies(facts.mounts, small_file(formatted("/proc/{}/cgroup", process)));
  bool any = false;
  for (std::size_t i = 0; i < std::min(now.size(), facts.cgroups.size()); ++i) {
    CgroupHierarchy& h = facts.cgroups[i];
    const std::string& path = now[i].own_path;
    const std::string dir = h.mount_point + path;
    if (!path.ends_with("/" + unit) || path.starts_with("/..") || !may_write(dir)) continue;
    h.parent = path;
    h.writable = true;
    any = true;
    if (!h.v2) continue;
    if (::mkdir((dir + "/zygote").c_str(), 0755) < 0 && errno != EEXIST)
      return fail(errno, Step::start_scope, formatted("'{}/zygote'", dir));
    const Fd leaf(::open((dir + "/zygote").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!leaf.valid()) return fail(errno, Step::start_scope, formatted("'{}/zygote'", dir));
    if (const int e = write_file_at(leaf.get(), "cgroup.procs", formatted("{}", process)); e != 0)
      return fail(e, Step::start_scope, formatted("'{}/zygote/cgroup.procs'", dir));
    h.controllers = controllers_of(dir);
  }
  if (any) return {};
  return fail(Errc::unsupported, Step::start_scope,
              formatted("'{}': this user has it in no hierarchy that is mounted here", unit));
}

}  // namespace condroid::inline v0::detail
