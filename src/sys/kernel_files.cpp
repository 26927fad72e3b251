#include "sys/kernel_files.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "condroid/sys/fd.hpp"

namespace condroid::inline v0::detail {

int write_file_at(int dir, const char* name, std::string_view text) {
  const Fd fd(::openat(dir, name, O_WRONLY | O_CLOEXEC));
  if (!fd) return errno;
  ssize_t n = 0;
  do {
    n = ::write(fd.get(), text.data(), text.size());
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno;
  return static_cast<std::size_t>(n) == text.size() ? 0 : EIO;
}

int read_file_at(int dir, const char* name, std::string& text) {
  text.clear();
  const Fd fd(::openat(dir, name, O_RDONLY | O_CLOEXEC));
  if (!fd) return errno;
  char buffer[4096];
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return 0;
    text.append(buffer, static_cast<std::size_t>(n));
    if (text.size() > largest_file) return E2BIG;
  }
}

std::string small_file(const std::string& path) {
  std::string text;
  (void)read_file_at(AT_FDCWD, path.c_str(), text);
  return text;
}

}  // namespace condroid::inline v0::detail
