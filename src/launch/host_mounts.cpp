#include "launch/host_mounts.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "program/kernel.hpp"

namespace condroid::inline v0::detail {

HostMounts::View HostMounts::look() {
  struct stat space {};
  kernel::Statx root{};
  if (::stat("/proc/thread-self/ns/mnt", &space) < 0 ||
      ::syscall(__NR_statx, AT_FDCWD, "/", 0, kernel::statx_ino | kernel::statx_mount, &root) < 0)
    return {};
  return {space.st_ino, root.mount, root.ino};
}

void HostMounts::open() {
  view_ = look();
  mountinfo_ = Fd(::open("/proc/thread-self/mountinfo", O_RDONLY | O_CLOEXEC));
}

bool HostMounts::same_view() const { return view_.space != 0 && look() == view_; }

bool HostMounts::scan() const {
  if (::lseek(mountinfo_.get(), 0, SEEK_SET) < 0) return true;
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t n = ::read(mountinfo_.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return true;
    if (n == 0) break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  // The fourth field, what of the file system is mounted: "mnt:[4026531841]".
  return text.find(" mnt:[") != std::string::npos;
}

bool HostMounts::holds_namespaces() {
  const std::lock_guard lock(mutex_);
  if (!mountinfo_.valid()) return true;
  // proc_pid_mountinfo(5): told once for each change since it was told last, so it is asked before
  // it is read.
  pollfd changed{mountinfo_.get(), POLLPRI, 0};
  if (::poll(&changed, 1, 0) != 0 || !scanned_) {
    holds_ = scan();
    scanned_ = true;
  }
  return holds_;
}

}  // namespace condroid::inline v0::detail
