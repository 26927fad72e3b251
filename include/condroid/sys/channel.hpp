// Channel: one end of a pair of sockets that carries messages, each with bytes and descriptors.
//
//   auto pair = Channel::pair();
//   if (!pair) return fail(pair);
//   auto& [ours, theirs] = *pair;   // `theirs` goes to a child, or by another Channel
//   const FdView passed[] = {log};
//   auto sent = ours.send(std::as_bytes(std::span("log")), passed);
//   if (!sent) return fail(sent);
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid {
inline namespace v0 {

/// Owns one end of a SOCK_SEQPACKET pair; unix(7). Move-only. Messages arrive whole, once, in
/// order. Several threads may use one end at once: each message goes to one of them. The descriptor
/// can be polled.
class Channel {
 public:
  /// What send and receive take for waiting without a limit.
  static constexpr std::chrono::milliseconds no_limit{-1};
  /// Most descriptors in one message: the kernel's SCM_MAX_FD.
  static constexpr std::size_t max_fds = 253;

  /// What one receive brought.
  struct Message {
    std::size_t size = 0;      ///< Bytes in the caller's buffer.
    std::vector<Fd> fds = {};  ///< In the order they were sent; close-on-exec.
    bool end = false;          ///< The other end was closed, there is and will be nothing more.
  };

  /// Not connected; every call then fails with EBADF.
  Channel() noexcept = default;

  /// Two connected ends, both close-on-exec. socketpair(2).
  [[nodiscard]] static Result<std::pair<Channel, Channel>> pair();
  /// Takes over an end that was inherited or received.
  /// @errors ENOTSOCK, or EPROTOTYPE if it is not a SOCK_SEQPACKET socket of AF_UNIX; it is closed
  /// then.
  [[nodiscard]] static Result<Channel> from(Fd fd);

  /// Sends one message with copies of these descriptors. Waits at most `limit` for room (0: does
  /// not wait). Raises no SIGPIPE. Nothing was sent if it fails. sendmsg(2).
  /// @errors EINVAL for no bytes (it would look like the end) or more than max_fds descriptors;
  /// EMSGSIZE for more bytes than the socket's buffer has; EPIPE or ECONNRESET when the other end
  /// is closed; EBADF for a descriptor that is none; ETOOMANYREFS when this user has too many
  /// descriptors under way; Errc::deadline when there was no room in time.
  [[nodiscard]] Result<void> send(std::span<const std::byte> data, std::span<const FdView> fds = {},
                                  std::chrono::milliseconds limit = no_limit);

  /// Takes the next message: its bytes into `buffer`, at most `most_fds` descriptors. Waits at most
  /// `limit` for one (0: does not wait). What was sent before the other end was closed is still
  /// received. recvmsg(2).
  /// @errors EMSGSIZE when it had more bytes or descriptors than there was room for here, or when
  /// this process has no descriptor numbers left; that message is lost, its descriptors are closed.
  /// Errc::deadline when none came.
  [[nodiscard]] Result<Message> receive(std::span<std::byte> buffer, std::size_t most_fds = 0,
                                        std::chrono::milliseconds limit = no_limit);

  [[nodiscard]] FdView fd() const noexcept { return fd_; }
  [[nodiscard]] bool valid() const noexcept { return fd_.valid(); }
  explicit operator bool() const noexcept { return valid(); }
  /// Gives the descriptor up.
  [[nodiscard]] Fd release() noexcept { return std::move(fd_); }

 private:
  explicit Channel(Fd fd) noexcept : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace v0
}  // namespace condroid
