// The floor: what the kernel needs for one container when its system calls are written down by
// hand, with nothing around them. It is what a small C program does that makes just this container,
// and condroid is measured against it:
//
//   - clone3(2) from a small static process with one thread, memory copied as fork does: a few
//   dozen pages;
//   - everything that can be prepared is prepared outside of the timing, but what depends on the
//   machine's state (which
//     kernel paths there are to mask) is asked in the child at every launch, as condroid does;
//   - mount(2) with relative paths below one chdir, one system call per mount.
//
// A stricter floor shares its memory with the child (CLONE_VM): no page table is copied and no page
// is copied on write. It does without CLONE_VFORK, whose wake-up of the parent at exec is on the
// way of the child (60 us). No program that does anything else could launch like this, but
// condroid's zygote does, so it is shown beside the floor.
//
// One launch at a time per process: with shared memory the child runs on a static stack.
#pragma once

#include <cstdint>

#include "work.hpp"

namespace bench {

struct FloorFailure {
  const char* what = nullptr;  ///< The system call, or nullptr.
  int error = 0;
};

/// How the floor clones: the floor that is judged by, and the stricter one.
enum class FloorClone : std::uint8_t { memory_copied, memory_shared };

class Floor {
 public:
  /// Makes what does not change from launch to launch: flags, names, the text of the id map.
  [[nodiscard]] bool prepare(const Work& work, FloorClone how, FloorFailure* failure);
  /// Launches, waits for the end, removes its cgroups; gives the nanoseconds from the first call to
  /// the last.
  [[nodiscard]] bool launch(std::uint64_t* nanoseconds, FloorFailure* failure);

 private:
  static int child_entry(void* self);
  int child();
  void set_up_dev();
  void mask();
  [[nodiscard]] bool make_cgroups(FloorFailure* failure);
  [[nodiscard]] bool remove_cgroups(FloorFailure* failure);
  [[nodiscard]] bool write_id_map(int pid, FloorFailure* failure);
  [[nodiscard]] bool make_interface(int pid, FloorFailure* failure);
  /// The child may go on: what it waits for is there.
  static void let_go_on();

  Work work_ = {};
  FloorClone how_ = FloorClone::memory_copied;
  std::uint64_t clone_flags_ = 0;
  char id_map_[64] = {};
  int netlink_ = -1;
  unsigned bridge_ = 0;
  unsigned interfaces_ = 0;  ///< How many were made: the kernel removes the last one when it likes.
  unsigned host_end_ = 0;
  char cgroup_[Work::max_cgroups][256] = {};
  int cgroup_fd_[Work::max_cgroups] = {};  ///< v2: the directory; v1: `tasks`.
};

}  // namespace bench
