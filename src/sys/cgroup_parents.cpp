#include "sys/cgroup_parents.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <sstream>
#include <vector>

#include "condroid/sys/fd.hpp"
#include "sys/cgroup_files.hpp"
#include "sys/kernel_files.hpp"

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
      h.parent = wanted;
      h.writable = may_write(h.mount_point);
    } else if (wanted.empty() && h.v2) {
      choose_delegated(h);
    } else {
      h.parent = wanted.empty() ? own : wanted;
      const std::string dir = h.mount_point + h.parent;
      h.writable = may_write(dir);
      if (h.v2) h.controllers = can_hand_on(dir) ? controllers_of(dir) : std::vector<std::string>{};
    }
    if (h.parent == "/") h.parent.clear();
  }
}

}  // namespace condroid::inline v0::detail
