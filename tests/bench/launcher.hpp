// What the harness needs of a library that launches containers.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "work.hpp"

namespace bench {

class Launcher {
 public:
  Launcher() = default;
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;
  virtual ~Launcher() = default;

  /// The process that does the cloning (the zygote); 0 if there is none.
  [[nodiscard]] virtual pid_t helper_pid() const = 0;

  /// Takes in what the next launches are to do, outside of any timing: the plan is compiled here,
  /// as the floor prepares its arguments.
  [[nodiscard]] virtual bool prepare(const Work& work, std::string* error) = 0;

  /// One launch of what was prepared: started, waited for, status 0, handle destroyed. Called from
  /// many threads at once.
  [[nodiscard]] virtual bool launch_and_wait(std::string* error) = 0;

  /// One launch of what was prepared, with `moment` the CLOCK_MONOTONIC time that its command
  /// /clock told.
  [[nodiscard]] virtual bool launch_clock(std::uint64_t* moment, std::string* error) = 0;

  /// A pool of `size` for this Work, full; size 0 takes it down. take_clock() as launch_clock(),
  /// refill() does what can be done at once, fill() waits until the pool is full.
  [[nodiscard]] virtual bool open_pool(const Work& work, std::uint64_t size,
                                       std::string* error) = 0;
  [[nodiscard]] virtual bool take_clock(std::uint64_t* moment, std::string* error) = 0;
  [[nodiscard]] virtual bool refill(std::string* error) = 0;
  [[nodiscard]] virtual bool fill(std::string* error) = 0;
  /// Readable when refill() has something to do.
  [[nodiscard]] virtual int pool_fd() const = 0;

  /// Runs /clock in the container that spawn() started last.
  [[nodiscard]] virtual bool attach_clock(std::uint64_t* moment, std::string* error) = 0;
  /// Of that container; 0 without.
  [[nodiscard]] virtual pid_t last_spawned() const = 0;

  /// Starts one of what was prepared that stays alive and is held until stop_all().
  [[nodiscard]] virtual bool spawn(std::string* error) = 0;

  /// Kills and waits for all that spawn() started.
  [[nodiscard]] virtual bool stop_all(std::string* error) = 0;
};

/// A cgroup that the library makes for a container.
struct CgroupPart {
  bool v2 = false;
  std::string mount_point = {};               ///< Of its hierarchy.
  std::vector<std::string> controllers = {};  ///< v2: to be switched on above it.
  std::vector<std::pair<std::string, std::string>> values = {};  ///< File and text.
};

/// Which cgroups the library makes for this Work, for the floor to make the same.
[[nodiscard]] bool cgroups_of(const Work& work, std::vector<CgroupPart>* parts, std::string* error);

/// Gives the Work the filter of system calls that the library loads for it.
[[nodiscard]] bool add_filter(Work* work, std::string* error);

/// A launcher that is warm (its Runtime is open), or nullptr with the reason.
[[nodiscard]] std::unique_ptr<Launcher> make_launcher(const Work& work, std::string* error);

}  // namespace bench
