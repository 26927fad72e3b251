// What tests of the handles ask: does a Result hold, does it fail with this errno, is this
// descriptor as it should be.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <string>

#include "catch.hpp"
#include "condroid/error.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid::test {

/// Fails the test case with the whole Error in the message; else the value.
template <class T>
T need(Result<T> result) {
  if (!result) FAIL(to_string(result.error()));
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// The failure's errno, 0 for none or one of condroid's own; the Error is shown when the check
/// fails.
template <class T>
int errno_of(const Result<T>& result) {
  if (result) return 0;
  UNSCOPED_INFO(to_string(result.error()));
  return result.error().errnum();
}

template <class T>
bool fails_with(const Result<T>& result, Errc code) {
  if (!result) UNSCOPED_INFO(to_string(result.error()));
  return !result && result.error().is(code);
}

[[nodiscard]] inline bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }
[[nodiscard]] inline bool closes_on_exec(FdView fd) {
  return (::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) != 0;
}

/// Whether both lead to the same file, by device and inode.
[[nodiscard]] inline bool same_file(FdView a, FdView b) {
  struct stat x {
  }, y{};
  return ::fstat(a.get(), &x) == 0 && ::fstat(b.get(), &y) == 0 && x.st_dev == y.st_dev &&
         x.st_ino == y.st_ino;
}

}  // namespace condroid::test
