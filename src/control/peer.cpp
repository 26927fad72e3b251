#include "control/peer.hpp"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "condroid/sys/fd.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::control {

namespace {

/// In how many pid namespaces a process has a number, from that of /proc on; 0: in none, or it is
/// gone. Or a negative errno.
int levels_of(FdView pidfd) {
  std::string numbers;
  if (const int e = condroid::detail::read_pidfd_line(pidfd.get(), "NSpid", numbers); e != 0)
    return e == EBADF ? -EIO : -e;
  if (numbers.starts_with('0') || numbers.starts_with('-')) return 0;
  return static_cast<int>(std::ranges::count(numbers, '\t') + 1);
}

}  // namespace

bool may_ask(uid_t uid, gid_t gid) { return uid == 0 || (uid == ::getuid() && gid == ::getgid()); }

int refusal_by_place(int client, pid_t pid) {
  if (pid <= 0) return EPERM;
  constexpr int peer_pidfd = 77;  // SO_PEERPIDFD, Linux 6.5
  int number = -1;
  socklen_t size = sizeof number;
  int error = ::getsockopt(client, SOL_SOCKET, peer_pidfd, &number, &size) == 0 ? 0 : errno;
  if (error == ENOPROTOOPT) {
    number = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    error = number < 0 ? errno : 0;
  }
  const Fd theirs(number);
  if (error == EMFILE || error == ENFILE || error == ENOMEM) return error;
  if (!theirs.valid()) return EPERM;
  const Fd ours(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!ours.valid()) return errno;
  const int here = levels_of(ours), there = levels_of(theirs);
  if (here < 0 || there < 0) return here < 0 ? -here : -there;
  return there != 0 && here == there ? 0 : EPERM;
}

}  // namespace condroid::inline v0::control
