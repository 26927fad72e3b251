// A large host.
#pragma once

#include <sys/mman.h>

#include <cstdint>

namespace bench {

/// Makes `bytes` resident, for as long as this process lives. False with errno.
[[nodiscard]] inline bool grow(std::uint64_t bytes) noexcept {
  if (bytes == 0) return true;
  void* const at =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return false;
  // Small pages: the page tables, which a fork copies, are as large as they get.
  ::madvise(at, bytes, MADV_NOHUGEPAGE);
  for (std::uint64_t offset = 0; offset < bytes; offset += 4096)
    static_cast<volatile char*>(at)[offset] = 1;
  return true;
}

}  // namespace bench
