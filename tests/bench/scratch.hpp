// What the benchmark makes on the machine: one directory with a root file system and peers'
// configurations, and one cgroup directory in each hierarchy. A guardian process removes all of it,
// however the harness ends.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace bench {

class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  /// Waits until everything is removed.
  ~Scratch();

  /// Makes directory, root file system (with `payloads` copied into it) and cgroups, and starts the
  /// guardian.
  [[nodiscard]] bool open(const std::vector<std::string>& payloads, std::string* error);

  [[nodiscard]] const std::string& directory() const noexcept { return directory_; }
  [[nodiscard]] std::string root() const { return directory_ + "/root"; }
  /// Empty if the machine has no v2 tree that we may write to; cgroup_error() says why.
  [[nodiscard]] const std::string& cgroup_v2() const noexcept { return cgroup_v2_; }
  /// Our directory in the hierarchy that is mounted there; below it a launch makes its own. With
  /// controllers (v2) it is another one than cgroup_v2(), where they are switched on: no process
  /// can be in it. Empty if it could not be made.
  [[nodiscard]] std::string cgroup_in(const std::string& mount_point,
                                      const std::vector<std::string>& controllers) const;
  /// Ours of each hierarchy, for a process to be in.
  [[nodiscard]] std::vector<std::string> cgroups_to_enter() const;
  [[nodiscard]] const std::string& cgroup_error() const noexcept { return cgroup_error_; }

 private:
  [[nodiscard]] bool make_root(const std::vector<std::string>& payloads, std::string* error);
  void make_cgroups();
  [[nodiscard]] bool start_guardian(std::string* error);

  std::string directory_ = {};
  std::string cgroup_v2_ = {};
  std::string cgroup_name_ = {};
  std::vector<std::string> cgroups_ = {};  ///< All that the guardian removes.
  std::string cgroup_error_ = {};
  pid_t guardian_ = -1;
  int lifeline_ = -1;
};

}  // namespace bench
