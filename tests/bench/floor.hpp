// The floor: what the kernel needs for one container when its system calls are written down by hand, with nothing around
// them. condroid is measured against this, so it is as fast as we know how to write it:
//
//   - cloned with CLONE_VM from a small static process, so that no page table is copied and no page fault is taken;
//     without CLONE_VFORK, whose wake-up of the parent at exec is on the way of the child (60 us);
//   - everything that can be prepared is prepared outside of the timing;
//   - mount(2) with relative paths below one chdir, one system call per mount.
//
// One launch at a time per process: the child runs on a static stack.
#pragma once

#include <cstdint>

#include "work.hpp"

namespace bench {

struct FloorFailure {
  const char* what = nullptr;  ///< The system call, or nullptr.
  int error = 0;
};

/// How the floor clones. The second is what a program does that does not share memory with its child.
enum class FloorClone : std::uint8_t { shared_memory, copied_memory };

class Floor {
 public:
  /// Looks at what can be known before: which masked paths are there and of what kind, the texts of the id map.
  [[nodiscard]] bool prepare(const Work& work, FloorClone how, FloorFailure* failure);
  /// Launches, waits for the end, removes its cgroups; gives the nanoseconds from the first call to the last.
  [[nodiscard]] bool launch(std::uint64_t* nanoseconds, FloorFailure* failure);

 private:
  static constexpr int max_paths = 64;
  static constexpr int max_hierarchies = 24;

  struct Masked {
    const char* path;
    bool directory;
  };

  static int child_entry(void* self);
  int child();
  void set_up_dev();
  void mask();
  void restrict_self();
  [[nodiscard]] bool make_cgroups(FloorFailure* failure);
  [[nodiscard]] bool remove_cgroups(FloorFailure* failure);
  [[nodiscard]] bool write_id_map(int pid, FloorFailure* failure);

  Work work_ = {};
  FloorClone how_ = FloorClone::shared_memory;
  std::uint64_t clone_flags_ = 0;
  Masked masked_[max_paths] = {};
  int masked_count_ = 0;
  const char* read_only_[max_paths] = {};
  int read_only_count_ = 0;
  char id_map_[64] = {};
  char cgroup_v2_[320] = {};
  int cgroup_v2_fd_ = -1;
  char cgroup_v1_[max_hierarchies][320] = {};
  int cgroup_v1_fd_[max_hierarchies] = {};
  int cgroup_v1_count_ = 0;
};

}  // namespace bench
