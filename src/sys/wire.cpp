#include "sys/wire.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "formatted.hpp"

namespace condroid::inline v0::detail {

int send_message(int socket, const void* data, std::size_t size, std::span<const int> fds) {
  if (fds.size() > most_message_fds) return EINVAL;
  iovec iov{const_cast<void*>(data), size};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * most_message_fds)];
  msghdr m{};
  m.msg_iov = &iov;
  m.msg_iovlen = 1;
  if (!fds.empty()) {
    m.msg_control = control;
    m.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::memcpy(CMSG_DATA(c), fds.data(), sizeof(int) * fds.size());
  }
  for (;;) {
    if (::sendmsg(socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
    if (errno != EINTR) return errno;
  }
}

Received receive_message(int socket, void* data, std::size_t size, std::span<Fd> fds) {
  Received r;
  iovec iov{data, size};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * most_message_fds)];
  msghdr m{};
  ssize_t n = 0;
  // A lack of memory may be over the next time; the message waits for us.
  int tries = 0;
  do {
    m = msghdr{};
    m.msg_iov = &iov;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    n = ::recvmsg(socket, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (n < 0 && (errno == EINTR || (errno != EAGAIN && errno != ECONNRESET && ++tries < 4)));
  if (n < 0) {
    r.error = errno;
    return r;
  }
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
      Fd owned(fd);
      if (r.fd_count < fds.size())
        fds[r.fd_count++] = std::move(owned);
      else
        r.truncated = true;
    }
  }
  r.size = static_cast<std::size_t>(n);
  r.truncated = r.truncated || (m.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0;
  // An empty message looks the same, but one with descriptors is none.
  r.end = n == 0 && r.fd_count == 0 && !r.truncated;
  return r;
}

int socket_pair(Fd& ours, Fd& theirs) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return errno;
  ours = Fd(pair[0]);
  theirs = Fd(pair[1]);
  return 0;
}

int wait_for_fd(int fd, short events, int milliseconds) {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::milliseconds(milliseconds);
  for (;;) {
    pollfd p{fd, events, 0};
    const int n = ::poll(&p, 1, milliseconds);
    if (n >= 0) return n;
    if (errno != EINTR) return -errno;
    if (milliseconds > 0) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
      milliseconds = static_cast<int>(std::max<long long>(0, left.count()));
    }
  }
}

int pidfd_signal(int pidfd, int signal) {
  return ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) < 0 ? errno : 0;
}

int read_pidfd_line(int pidfd, std::string_view key, std::string& value) {
  if (pidfd < 0) return EBADF;
  // Of this thread: others may have a descriptor table of their own.
  const Fd info(
      ::open(formatted("/proc/thread-self/fdinfo/{}", pidfd).c_str(), O_RDONLY | O_CLOEXEC));
  if (!info) return errno;
  char text[2048];
  const ssize_t n = ::read(info.get(), text, sizeof text);
  if (n < 0) return errno;
  const std::string_view all(text, static_cast<std::size_t>(n));
  const std::string head = formatted("\n{}:\t", key);
  const std::size_t at = all.find(head);
  if (at == std::string_view::npos) return EBADF;
  value = all.substr(at + head.size(), all.find('\n', at + 1) - at - head.size());
  return 0;
}

}  // namespace condroid::inline v0::detail
