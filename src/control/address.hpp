// An abstract address of a socket, and frames with descriptors. Private.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "condroid/sys/fd.hpp"
#include "control/wire.hpp"

namespace condroid::inline v0::control {

struct AbstractAddress {
  sockaddr_un address{};
  socklen_t size = 0;
  [[nodiscard]] const sockaddr* get() const noexcept {
    return reinterpret_cast<const sockaddr*>(&address);
  }
};

/// Nothing when it is too long. No zero byte comes after it: that would be another address.
[[nodiscard]] inline std::optional<AbstractAddress> abstract_address(std::string_view text) {
  AbstractAddress a;
  if (text.size() >= sizeof a.address.sun_path) return {};
  a.address.sun_family = AF_UNIX;
  std::memcpy(&a.address.sun_path[1], text.data(), text.size());
  a.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  return a;
}

/// `size` bytes in one message, with descriptors, without waiting and without a signal. 0 or errno.
[[nodiscard]] int send_with(FdView socket, const void* bytes, std::size_t size,
                            std::span<const int> fds);

}  // namespace condroid::inline v0::control
