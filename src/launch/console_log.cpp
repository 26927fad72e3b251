#include "launch/console_log.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

namespace condroid::inline v0::detail {

namespace {

Fd open_log(const std::string& path) {
  constexpr unsigned mode = 0600;
  return Fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_NONBLOCK | O_CLOEXEC,
                   mode));
}

int write_all(const Fd& fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd.get(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? errno : EIO;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return 0;
}

}  // namespace

int ConsoleLog::open(const Terminal& terminal) {
  fd_ = open_log(terminal.log.str());
  if (!fd_.valid()) return errno;
  path_ = terminal.log.str();
  rotate_ = terminal.log_rotate;
  struct stat st {};
  // A pipe or a terminal has no size.
  const bool file = ::fstat(fd_.get(), &st) == 0 && S_ISREG(st.st_mode);
  most_ = file ? terminal.log_size.value : 0;
  return 0;
}

std::uint64_t ConsoleLog::room() const {
  struct stat st {};
  if (::fstat(fd_.get(), &st) != 0) return 0;
  return most_ - std::min(most_, static_cast<std::uint64_t>(st.st_size));
}

int ConsoleLog::begin_anew() {
  if (!rotate_) return ::ftruncate(fd_.get(), 0) == 0 ? 0 : errno;
  if (::rename(path_.c_str(), (path_ + ".1").c_str()) != 0) return errno;
  Fd fresh = open_log(path_);
  if (!fresh.valid()) return errno;
  fd_ = std::move(fresh);
  return 0;
}

int ConsoleLog::append(std::string_view text) {
  if (most_ == 0) return write_all(fd_, text);
  while (!text.empty()) {
    const std::string_view part = text.substr(0, room());
    if (const int e = write_all(fd_, part); e != 0) return e;
    text.remove_prefix(part.size());
    if (text.empty()) break;
    if (const int e = begin_anew(); e != 0) return e;
  }
  return 0;
}

}  // namespace condroid::inline v0::detail
