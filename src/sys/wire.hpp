// Messages with descriptors over seqpacket sockets, without allocation; and a few system calls that
// Debian 12's libc does not wrap. Private.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "condroid/sys/fd.hpp"

namespace condroid::inline v0::detail {

/// Sends one message without blocking. 0, or an errno: EAGAIN when the peer has not read yet, EPIPE
/// when it is gone.
[[nodiscard]] int send_message(int socket, const void* data, std::size_t size,
                               std::span<const int> fds = {});

struct Received {
  int error = 0;     ///< errno; EAGAIN when there is nothing.
  bool end = false;  ///< The peer closed.
  std::size_t size = 0;
  bool truncated = false;
  std::size_t fd_count = 0;
};

/// Most descriptors that the kernel takes in one message: SCM_MAX_FD, unix(7).
inline constexpr std::size_t most_message_fds = 253;

/// Receives one message without blocking. At most fds.size() descriptors are kept, all CLOEXEC;
/// others are closed.
[[nodiscard]] Received receive_message(int socket, void* data, std::size_t size,
                                       std::span<Fd> fds = {});

/// A seqpacket pair, both ends CLOEXEC. errno, or 0.
[[nodiscard]] int socket_pair(Fd& ours, Fd& theirs);

/// Waits for `events` on fd. 1 ready, 0 time out, -errno. EINTR is hidden; `milliseconds` < 0 waits
/// for ever.
[[nodiscard]] int wait_for_fd(int fd, short events, int milliseconds);

/// A span of time as poll(2) and wait_for_fd take it: anything negative is for ever, and what no
/// int holds nearly so.
[[nodiscard]] constexpr int poll_timeout(std::chrono::milliseconds limit) noexcept {
  if (limit.count() < 0) return -1;
  return static_cast<int>(
      std::min<std::chrono::milliseconds::rep>(limit.count(), std::numeric_limits<int>::max()));
}

/// pidfd_send_signal(2), Linux 5.1. errno, or 0.
[[nodiscard]] int pidfd_signal(int pidfd, int signal);

/// What procfs says of a pidfd behind "Pid:\t" or "NSpid:\t", proc(5), which needs no right to look
/// at the process. errno, or 0; EBADF for a descriptor that is no pidfd.
[[nodiscard]] int read_pidfd_line(int pidfd, std::string_view key, std::string& value);

}  // namespace condroid::inline v0::detail
