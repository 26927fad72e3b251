// The mounts of a device of Android's by bare system calls: what its start is compared with.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "floor.hpp"

namespace bench {

/// A list of mounts is a file with a line for each, its fields divided by tabs, "-" for none:
///
///   HOW  TARGET  SOURCE  TYPE  FLAGS  DATA
///
/// HOW is "new", "bind" (which gets the flags by a second call) or "image" (SOURCE is a file, which
/// gets a loop device). FLAGS are mount(2)'s, decimal. The first line is the root, whose TARGET is
/// a path of the host's; the others are below it.
class BareMounts {
 public:
  BareMounts() = default;
  BareMounts(const BareMounts&) = delete;
  BareMounts& operator=(const BareMounts&) = delete;
  ~BareMounts() { end(); }

  /// Reads the list, once for each.
  [[nodiscard]] bool prepare(const char* list, FloorFailure* failure);
  /// A process in namespaces of its own makes the mounts and executes /init. Timed until that says
  /// its first word on standard output.
  [[nodiscard]] bool start(std::uint64_t* nanoseconds, FloorFailure* failure);
  /// Kills it; waits for that.
  void end();
  /// Of the one that is alive; -1: none.
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

 private:
  struct Entry {
    const char* how;
    const char* target;
    const char* source;
    const char* type;
    unsigned long flags;
    const char* data;
  };
  [[noreturn]] void child();
  static void mount_entry(const Entry& e);
  static void mount_image(const Entry& e);

  static constexpr std::size_t max_entries = 128;
  char path_[256] = {};
  char text_[16384] = {};
  Entry entries_[max_entries] = {};
  std::size_t count_ = 0;
  int out_ = -1;
  pid_t pid_ = -1;
};

}  // namespace bench
