#include "launch/console_log.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

namespace condroid::inline v0::detail {

namespace {

constexpr int usual_flags = O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_NONBLOCK | O_CLOEXEC;
constexpr unsigned usual_mode = 0600;

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
  fd_ = Fd(::open(terminal.log.c_str(), usual_flags, usual_mode));
  const bool no_reader = !fd_.valid() && errno == ENXIO;
  if (!fd_.valid() && !no_reader) return errno;
  struct stat st {};
  if (!no_reader && ::fstat(fd_.get(), &st) != 0) return errno;
  // Of a FIFO, with a reader of our own: nobody's going is a SIGPIPE then, which would end the
  // whole program, and who comes later finds it.
  if (no_reader || S_ISFIFO(st.st_mode)) {
    fd_ = Fd(::open(terminal.log.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
    return fd_.valid() ? 0 : errno;
  }
  // A terminal has no size.
  if (terminal.log_size.value == 0 || !S_ISREG(st.st_mode)) return 0;
  most_ = terminal.log_size.value;
  rotate_ = terminal.log_rotate;
  if (!rotate_) return 0;
  // Where links lead, so that it is a file that is renamed.
  const std::unique_ptr<char, void (*)(void*)> whole(::realpath(terminal.log.c_str(), nullptr),
                                                     ::free);
  if (whole == nullptr) return errno;
  const std::string path = whole.get();
  const std::size_t slash = path.rfind('/');
  name_ = path.substr(slash + 1);
  folder_ = Fd(::open(path.substr(0, slash + 1).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  return folder_.valid() ? 0 : errno;
}

std::uint64_t ConsoleLog::room() const {
  struct stat st {};
  if (::fstat(fd_.get(), &st) != 0) return 0;
  return most_ - std::min(most_, static_cast<std::uint64_t>(st.st_size));
}

/// Somebody else may write to that directory: only this file is renamed, and no link is followed.
int ConsoleLog::begin_anew() {
  if (!rotate_) return ::ftruncate(fd_.get(), 0) == 0 ? 0 : errno;
  struct stat ours {
  }, there{};
  if (::fstat(fd_.get(), &ours) != 0) return errno;
  const bool is_there = ::fstatat(folder_.get(), name_.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 &&
                        there.st_dev == ours.st_dev && there.st_ino == ours.st_ino;
  if (is_there &&
      ::renameat(folder_.get(), name_.c_str(), folder_.get(), (name_ + ".1").c_str()) != 0)
    return errno;
  Fd fresh(::openat(folder_.get(), name_.c_str(), usual_flags | O_NOFOLLOW, usual_mode));
  if (!fresh.valid()) return errno;
  if (::fstat(fresh.get(), &there) != 0) return errno;
  if (!S_ISREG(there.st_mode)) return EEXIST;
  fd_ = std::move(fresh);
  return 0;
}

int ConsoleLog::append(std::string_view text) {
  if (most_ == 0) return write_all(fd_, text);
  for (bool anew = false;; anew = true) {
    const std::string_view part = text.substr(0, room());
    if (part.empty() && anew) return EFBIG;  // it is somebody else's, and full
    if (const int e = write_all(fd_, part); e != 0) return e;
    text.remove_prefix(part.size());
    if (text.empty()) return 0;
    if (const int e = begin_anew(); e != 0) return e;
  }
}

}  // namespace condroid::inline v0::detail
