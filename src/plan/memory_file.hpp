// Files in memory that hold data. Private.
#pragma once

#include <sys/mman.h>

#include <cerrno>

namespace condroid::inline v0::detail {

/// memfd_create(2), closed on exec. Said to be no program, which a machine may ask for
/// (vm.memfd_noexec = 2, Linux 6.3). -1 and errno when it fails.
inline int memory_file(const char* name) noexcept {
  constexpr unsigned no_program = 8;  // MFD_NOEXEC_SEAL; the C library may not know it
  const int number = ::memfd_create(name, MFD_CLOEXEC | no_program);
  if (number >= 0 || errno != EINVAL) return number;
  return ::memfd_create(name, MFD_CLOEXEC);
}

}  // namespace condroid::inline v0::detail
