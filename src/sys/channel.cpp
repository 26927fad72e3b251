#include "condroid/sys/channel.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

#include "formatted.hpp"
#include "sys/wire.hpp"

namespace condroid {
inline namespace v0 {

static_assert(Channel::max_fds == detail::most_message_fds);

namespace {

using Clock = std::chrono::steady_clock;

/// Waits for `events` within what is left of `limit`. 0, or an errno; ETIME when the time is over.
int wait_until(int fd, short events, Clock::time_point began, std::chrono::milliseconds limit) {
  auto left = limit;
  if (limit.count() >= 0) {
    left = limit - std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began);
    if (left.count() <= 0) return ETIME;
  }
  const int ready = detail::wait_for_fd(fd, events, detail::poll_timeout(left));
  return ready > 0 ? 0 : ready == 0 ? ETIME : -ready;
}

tl::unexpected<Error> failed(int e, std::string subject) {
  if (e == ETIME) return fail(Errc::deadline, Step::sync, std::move(subject));
  return fail(e, Step::sync, std::move(subject));
}

}  // namespace

Result<std::pair<Channel, Channel>> Channel::pair() {
  Fd left, right;
  if (const int e = detail::socket_pair(left, right); e != 0)
    return fail(e, Step::sync, "making a pair of sockets");
  return std::pair(Channel(std::move(left)), Channel(std::move(right)));
}

Result<Channel> Channel::from(Fd fd) {
  const auto option = [&](int which) {
    int value = 0;
    socklen_t size = sizeof value;
    return ::getsockopt(fd.get(), SOL_SOCKET, which, &value, &size) < 0 ? -errno : value;
  };
  const std::string name = formatted("descriptor {}", fd.get());
  const int domain = option(SO_DOMAIN), type = option(SO_TYPE);
  if (domain < 0) return fail(-domain, Step::sync, name);
  if (domain != AF_UNIX || type != SOCK_SEQPACKET) return fail(EPROTOTYPE, Step::sync, name);
  return Channel(std::move(fd));
}

Result<void> Channel::send(std::span<const std::byte> data, std::span<const FdView> fds,
                           std::chrono::milliseconds limit) {
  const auto subject = [&] {
    return formatted("sending {} bytes and {} descriptors", data.size(), fds.size());
  };
  if (data.empty() || fds.size() > max_fds) return failed(EINVAL, subject());
  std::array<int, max_fds> numbers;
  std::transform(fds.begin(), fds.end(), numbers.begin(), [](FdView v) { return v.get(); });
  const auto began = Clock::now();
  for (;;) {
    int e = detail::send_message(fd_.get(), data.data(), data.size(),
                                 std::span(numbers).first(fds.size()));
    if (e == 0) return {};
    if (e == EAGAIN) e = wait_until(fd_.get(), POLLOUT, began, limit);
    if (e != 0) return failed(e, subject());
  }
}

Result<Channel::Message> Channel::receive(std::span<std::byte> buffer, std::size_t most_fds,
                                          std::chrono::milliseconds limit) {
  Message message;
  message.fds.resize(std::min(most_fds, max_fds));
  const auto began = Clock::now();
  for (bool was_reset = false;;) {
    const detail::Received r =
        detail::receive_message(fd_.get(), buffer.data(), buffer.size(), message.fds);
    int e = r.error;
    if (e == 0) {
      if (r.truncated)
        return failed(EMSGSIZE, formatted("receiving up to {} bytes and {} descriptors",
                                          buffer.size(), most_fds));
      message.fds.resize(r.fd_count);
      message.size = r.size;
      message.end = r.end;
      return message;
    }
    // The other end was closed without having read all that we sent. The kernel says that once,
    // before what it sent us.
    if (e == ECONNRESET && !std::exchange(was_reset, true)) continue;
    if (e == EAGAIN) e = wait_until(fd_.get(), POLLIN, began, limit);
    if (e != 0) return failed(e, "receiving");
  }
}

}  // namespace v0
}  // namespace condroid
