// The floor of attaching: what the kernel needs for one more process in a container that runs, when
// its system calls are written down by hand. A helper (clone3 with CLONE_VFORK: a few dozen pages
// copied) joins the container by one setns(2) of a pidfd that is held open, and clones the process
// as a sibling of its own; that takes away its rights as condroid does by default, and executes the
// command. Timed from the first call to the command's first instruction, which it tells over a
// pipe.
//
// The pipe is made within the timing, as condroid makes one for each; /dev/null is opened before.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "floor.hpp"

namespace bench {

class AttachFloor {
 public:
  AttachFloor() = default;
  AttachFloor(const AttachFloor&) = delete;
  AttachFloor& operator=(const AttachFloor&) = delete;
  ~AttachFloor();
  /// Of the container whose first process is `container`; `work` says how the process is to be.
  [[nodiscard]] bool prepare(const Work& work, pid_t container, FloorFailure* failure);
  /// Attaches /clock and waits for its end, outside of the timing.
  [[nodiscard]] bool attach(std::uint64_t* nanoseconds, FloorFailure* failure);

 private:
  [[noreturn]] void helper();
  [[noreturn]] void child();

  Work work_ = {};
  pid_t container_ = 0;
  int pidfd_ = -1;
  int null_ = -1;
  int out_ = -1;
  int namespaces_ = 0;
};

}  // namespace bench
