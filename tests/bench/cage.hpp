// A place of its own for what makes cgroups and keeps state in /run. Plain C++ without exceptions,
// for the small worker, too.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace bench {

/// Moves this process into the cgroup `directory`. 0, or an errno.
[[nodiscard]] inline int enter_cgroup(const char* directory) noexcept {
  char procs[300];
  const int length = std::snprintf(procs, sizeof procs, "%s/cgroup.procs", directory);
  if (length < 0 || static_cast<std::size_t>(length) >= sizeof procs) return ENAMETOOLONG;
  const int fd = ::open(procs, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  const int error = ::write(fd, "0", 1) == 1 ? 0 : errno;
  ::close(fd);
  return error;
}

/// Gives this process, of one thread, an empty /run and /dev/shm, and the v2 cgroup `directory` as
/// the root of all cgroups (the only ones that it sees) or, without one, the cgroups that it is in.
/// 0, or an errno and in `what` the step.
[[nodiscard]] inline int enter_cage(const char* directory, const char** what) noexcept {
  *what = "its cgroup";
  if (const int error = directory == nullptr ? 0 : enter_cgroup(directory); error != 0)
    return error;
  *what = "unshare";
  if (::unshare(CLONE_NEWNS | (directory == nullptr ? 0 : CLONE_NEWCGROUP)) != 0) return errno;
  *what = "mount private";
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return errno;
  *what = "mount /run";
  if (::mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") != 0) return errno;
  *what = "mount /dev/shm";
  if (::mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") != 0 &&
      errno != ENOENT)
    return errno;
  if (directory == nullptr) return 0;
  // Of the network namespace that it runs in; EBUSY: that is what is there.
  *what = "mount sysfs";
  constexpr unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (::mount("sysfs", "/sys", "sysfs", flags, nullptr) != 0 && errno != EBUSY) return errno;
  *what = "mount cgroup2";
  return ::mount("cgroup2", "/sys/fs/cgroup", "cgroup2", flags, nullptr) == 0 ? 0 : errno;
}

}  // namespace bench
