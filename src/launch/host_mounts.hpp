// What the program sees of the machine's mounts, and whether that is still what its zygote sees.
// Private.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <mutex>

#include "condroid/sys/fd.hpp"

namespace condroid::inline v0::detail {

/// The mounts as the thread saw them that opened the Runtime. Thread-safe.
class HostMounts {
 public:
  /// Remembers the calling thread's view. One descriptor.
  void open();
  /// Whether a tree that the calling thread opens is what the zygote's children would find at that
  /// path: nobody has changed root or mount namespace since. Two calls.
  [[nodiscard]] bool same_view() const;
  /// Whether a mount namespace is bound to a file somewhere, as snapd and unshare(1) do. The kernel
  /// copies such a file with a tree that is opened, but attaches it nowhere else (it could make a
  /// loop); unshare(2) leaves it out. Looked for again only when something was mounted meanwhile.
  [[nodiscard]] bool holds_namespaces();

 private:
  struct View {
    ino_t space = 0;
    std::uint64_t root_mount = 0;
    std::uint64_t root = 0;
    bool operator==(const View&) const = default;
  };
  /// All zero when it cannot be told.
  [[nodiscard]] static View look();
  /// Without /proc it is taken to be so.
  [[nodiscard]] bool scan() const;

  View view_;
  std::mutex mutex_;
  Fd mountinfo_;
  bool scanned_ = false;
  bool holds_ = true;
};

}  // namespace condroid::inline v0::detail
