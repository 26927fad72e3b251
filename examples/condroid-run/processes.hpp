// The processes of a container, as the host's /proc shows them.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

/// Puts everything in a container to sleep, and wakes it. Whatever is there is found as a
/// descendant of the first process: a pid namespace of its own loses none. SIGSTOP takes no freezer
/// and no rights but those over one's own processes.
class Sleep {
 public:
  /// Returns when all are stopped that can be; within about a second even if one of them cannot.
  void begin(pid_t first);
  /// Wakes those that begin() has stopped, and not what the container itself had stopped before.
  void end();
  /// Between the two.
  [[nodiscard]] bool active() const { return active_; }

 private:
  struct Sleeper {
    pid_t pid;
    unsigned long long start;  ///< Tells it from another one that got its number.
  };
  [[nodiscard]] bool knows(const Sleeper& process) const;
  /// One pass over the tree. True if it met somebody who still ran.
  bool pass(pid_t first);

  bool active_ = false;
  std::vector<Sleeper> sleepers_;  ///< Parents before their children.
};

/// The command below a container's small init: its process 2; 0 if there is none any more.
[[nodiscard]] pid_t command_below(pid_t init);

/// A file of a process, as far as it can be read; empty when that has ended.
[[nodiscard]] std::string proc_file(pid_t pid, const char* name);

/// A process and all that descend from it, as /proc shows them now.
[[nodiscard]] std::vector<pid_t> tree_below(pid_t first);
