// Requests and replies over a worker's seqpacket socket, for both ends.
#pragma once

#include <sys/socket.h>

#include <cerrno>

#include "work.hpp"

namespace bench {

/// One message of type T. False at end-of-file or on any error; blocks.
template <typename T>
[[nodiscard]] bool receive(int socket, T* message) noexcept {
  ssize_t got = 0;
  do {
    got = ::recv(socket, static_cast<void*>(message), sizeof *message, 0);
  } while (got < 0 && errno == EINTR);
  return got == static_cast<ssize_t>(sizeof *message);
}

template <typename T>
[[nodiscard]] bool send_message(int socket, const T& message) noexcept {
  ssize_t sent = 0;
  do {
    sent = ::send(socket, static_cast<const void*>(&message), sizeof message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(sizeof message);
}

}  // namespace bench
