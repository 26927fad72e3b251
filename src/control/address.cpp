#include "control/address.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

namespace condroid::inline v0::control {

int send_with(FdView socket, const void* bytes, std::size_t size, std::span<const int> fds) {
  iovec part{const_cast<void*>(bytes), size};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * wire::most_hierarchies)> control{};
  const std::size_t fd_bytes = std::min(fds.size(), wire::most_hierarchies) * sizeof(int);
  msghdr m{};
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  if (fd_bytes != 0) {
    m.msg_control = control.data();
    m.msg_controllen = CMSG_SPACE(fd_bytes);
    cmsghdr* const head = CMSG_FIRSTHDR(&m);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(fd_bytes);
    std::memcpy(CMSG_DATA(head), fds.data(), fd_bytes);
  }
  ssize_t n = 0;
  do n = ::sendmsg(socket.get(), &m, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n < 0) return errno;
  return n == static_cast<ssize_t>(size) ? 0 : EMSGSIZE;
}

}  // namespace condroid::inline v0::control
