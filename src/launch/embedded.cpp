#include "launch/embedded.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "formatted.hpp"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U  // Linux 6.3
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020  // Linux 6.3
#endif

namespace condroid::inline v0::detail {

Result<Fd> embedded_program(std::span<const unsigned char> program, const char* name, Step step) {
  const auto write_all = [&](int fd) {
    for (std::size_t done = 0; done < program.size();) {
      const ssize_t n = ::write(fd, program.data() + done, program.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      done += static_cast<std::size_t>(n);
    }
    return true;
  };
  Fd memory(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC));
  if (!memory.valid() && errno == EINVAL)  // before 6.3 there is no such flag
    memory = Fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (memory.valid()) {
    if (!write_all(memory.get())) return fail(errno, step, "writing its program to a memfd");
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    if (::fcntl(memory.get(), F_ADD_SEALS, seals | F_SEAL_EXEC) < 0 &&
        ::fcntl(memory.get(), F_ADD_SEALS, seals) < 0)
      return fail(errno, step, "sealing its program");
    return memory;
  }
  const int first = errno;
  // Where memfds may not be executed (vm.memfd_noexec): a file without a name, opened again so that
  // nobody can write it.
  for (const char* dir : {"/run", "/dev/shm", "/var/tmp", "/tmp"}) {
    Fd writable(::open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0700));
    if (!writable.valid() || !write_all(writable.get())) continue;
    Fd readable(
        ::open(formatted("/proc/self/fd/{}", writable.get()).c_str(), O_RDONLY | O_CLOEXEC));
    if (readable.valid()) return readable;
  }
  return fail(first, step, "memfd_create");
}

}  // namespace condroid::inline v0::detail
