#include "lxc/proxy.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include "condroid/notify.hpp"
#include "formatted.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::lxc {

namespace {

/// LXC's struct seccomp_notify_proxy_msg. Behind it are the kernel's request and response, and the
/// cookie.
struct ProxyHead {
  std::uint64_t reserved = 0;
  std::int32_t keeper = 0, init = 0;
  seccomp_notif_sizes sizes = {};
  std::uint16_t padding = 0;
  std::uint64_t cookie_size = 0;
};
static_assert(sizeof(ProxyHead) == 32);

constexpr std::int64_t proxy_patience = 30;

std::size_t proxy_words(std::size_t size, std::size_t known) {
  return (std::max(size, known) + 7) / 8;
}

}  // namespace

Result<Proxy> Proxy::open(const std::string& address, std::string cookie,
                          std::function<void(const Error&)> on_error) {
  Proxy p;
  p.address_ = address;
  p.cookie_ = std::move(cookie);
  p.on_error_ = std::move(on_error);
  if (::syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &p.sizes_) < 0)
    return fail(errno, Step::answer_syscall, "sizes of requests");
  p.request_.resize(proxy_words(p.sizes_.seccomp_notif, sizeof(seccomp_notif)));
  p.response_.resize(proxy_words(p.sizes_.seccomp_notif_resp, sizeof(seccomp_notif_resp)));
  p.poll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  p.timer_ = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!p.poll_.valid() || !p.timer_.valid())
    return fail(errno, Step::answer_syscall, "a timer for its proxy");
  p.poll(p.timer_, true);
  if (const int e = p.connect(); e != 0)
    return fail(e, Step::answer_syscall,
                formatted("nobody listens at lxc.seccomp.notify.proxy '{}'", address));
  return p;
}

int Proxy::connect() {
  disconnect();
  constexpr std::string_view scheme = "unix:";
  const std::string_view path = std::string_view(address_).substr(scheme.size());
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof to.sun_path) return ENAMETOOLONG;
  path.copy(to.sun_path, path.size());
  std::size_t size = offsetof(sockaddr_un, sun_path) + path.size();
  if (path.front() == '@')
    to.sun_path[0] = '\0';
  else
    ++size;
  socket_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket_.valid()) return errno;
  // EAGAIN: there are too many whom it has not accepted yet.
  if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&to),
                static_cast<socklen_t>(size)) == 0)
    return 0;
  const int e = errno;
  socket_.reset();
  return e;
}

void Proxy::disconnect() {
  if (waits_ && socket_.valid()) poll(socket_, false);
  socket_.reset();
}

void Proxy::poll(FdView fd, bool on) {
  epoll_event e{};
  e.events = EPOLLIN;
  ::epoll_ctl(poll_.get(), on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd.get(), &e);
}

void Proxy::set_timer(std::int64_t seconds) {
  itimerspec when{};
  when.it_value.tv_sec = seconds;
  ::timerfd_settime(timer_.get(), 0, &when, nullptr);
}

Result<void> Proxy::add(Fd listener) {
  constexpr std::size_t most = 1024;
  if (listeners_.size() >= most)
    return fail(EAGAIN, Step::answer_syscall, "another process whose calls are asked about");
  if (!waits_) poll(listener, true);
  listeners_.push_back(std::move(listener));
  return {};
}

void Proxy::take(Container& box) {
  if (box.life() != Life::running || (taken_ && life_ == box.restarts())) return;
  taken_ = true;
  life_ = box.restarts();
  const auto listener = box.take_listener();
  if (!listener) return;
  Fd own(::fcntl(listener->poll_fd().get(), F_DUPFD_CLOEXEC, 3));
  Result<void> ok = fail(errno, Step::answer_syscall, "its listener");
  if (own.valid()) ok = add(std::move(own));
  if (!ok && on_error_) on_error_(ok.error());
}

bool Proxy::look(Container& box) {
  if (box.life() == Life::ended) return false;
  take(box);
  constexpr int some = 64;  // a container may ask without end
  for (int i = 0; i < some; ++i)
    if (waits_ ? !take_answer() : !ask_next(box)) break;
  return true;
}

/// False: nobody has asked.
bool Proxy::ask_next(const Container& box) {
  for (std::size_t tries = listeners_.size(); tries > 0; --tries) {
    // In turn: one that asks without end keeps no other waiting.
    asked_ = (asked_ + 1) % listeners_.size();
    if (receive(asked_)) {
      forward(box);
      return true;
    }
    if (listeners_.empty()) break;
  }
  return false;
}

bool Proxy::receive(std::size_t which) {
  for (;;) {
    pollfd look{listeners_[which].get(), POLLIN, 0};
    if (::poll(&look, 1, 0) < 0) return false;
    if ((look.revents & POLLIN) == 0) {
      // No process with that filter is left. Others may hold the listener open.
      if ((look.revents & POLLHUP) != 0) {
        poll(listeners_[which], false);
        listeners_.erase(listeners_.begin() + static_cast<std::ptrdiff_t>(which));
        asked_ = 0;
      }
      return false;
    }
    std::ranges::fill(request_, 0);
    if (::ioctl(listeners_[which].get(), SECCOMP_IOCTL_NOTIF_RECV, request_.data()) == 0)
      return true;
    if (errno != EINTR && errno != ENOENT) return false;
  }
}

bool Proxy::still_waits() {
  std::uint64_t id = request().id;
  while (::ioctl(listeners_[asked_].get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) != 0)
    if (errno != EINTR) return false;
  return true;
}

void Proxy::forward(const Container& box) {
  std::ranges::fill(response_, 0);
  response().id = request().id;
  const Fd process(
      ::open(formatted("/proc/{}", request().pid).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Fd memory(process.valid() ? ::openat(process.get(), "mem", O_RDWR | O_CLOEXEC) : -1);
  const int error = memory.valid() ? 0 : errno;
  // What was opened is of who asks, if he waits still.
  if (!still_waits()) return;
  if (error != 0) return give_up(error, "the memory of who asks");
  ProxyHead head{.keeper = ::getpid(),
                 .init = box.pid().value,
                 .sizes = sizes_,
                 .cookie_size = cookie_.size()};
  std::string message(reinterpret_cast<const char*>(&head), sizeof head);
  message.append(reinterpret_cast<const char*>(request_.data()), sizes_.seccomp_notif);
  message.append(reinterpret_cast<const char*>(response_.data()), sizes_.seccomp_notif_resp);
  message += cookie_;
  const std::array<int, 3> fds{process.get(), memory.get(), listeners_[asked_].get()};
  int e = send(message, fds);
  // It may have been started again.
  if (e != 0 && (e = connect()) == 0) e = send(message, fds);
  if (e != 0) return give_up(e, "nobody is there");
  waits_ = true;
  for (const Fd& one : listeners_) poll(one, false);
  poll(socket_, true);
  set_timer(proxy_patience);
}

int Proxy::send(std::string_view message, std::span<const int> fds) {
  if (!socket_.valid()) return ENOTCONN;
  // What it has said unasked is no answer to this.
  constexpr int most = 64;
  for (int i = 0; i < most; ++i) {
    char nothing = 0;
    const auto r = detail::receive_message(socket_.get(), &nothing, sizeof nothing);
    if (r.error == EAGAIN)
      return detail::send_message(socket_.get(), message.data(), message.size(), fds);
    if (r.error != 0 || r.end) break;
  }
  return EPIPE;
}

/// False: there is none yet.
bool Proxy::take_answer() {
  std::string message(sizeof(ProxyHead) + sizes_.seccomp_notif + sizes_.seccomp_notif_resp, '\0');
  const auto r = detail::receive_message(socket_.get(), message.data(), message.size());
  if (r.error == EAGAIN) {
    std::uint64_t times = 0;
    if (::read(timer_.get(), &times, sizeof times) != sizeof times) return false;
    rest();
    disconnect();  // what it says later is about another call
    give_up(ETIMEDOUT, "no answer");
    return true;
  }
  rest();
  if (r.error != 0 || r.end) {
    disconnect();
    give_up(r.error != 0 ? r.error : EPIPE, "no answer");
  } else if (r.truncated || r.size != message.size()) {
    give_up(EBADMSG, "no answer but something else");
  } else {
    std::memcpy(response_.data(), message.data() + sizeof(ProxyHead) + sizes_.seccomp_notif,
                sizes_.seccomp_notif_resp);
    answer();
  }
  return true;
}

/// No call is with the program any more.
void Proxy::rest() {
  poll(socket_, false);
  set_timer(0);
  for (const Fd& one : listeners_) poll(one, true);
  waits_ = false;
}

void Proxy::answer() {
  if (response().id != request().id) return give_up(EBADMSG, "an answer to another call");
  while (::ioctl(listeners_[asked_].get(), SECCOMP_IOCTL_NOTIF_SEND, response_.data()) != 0) {
    if (errno == EINTR) continue;
    // It was killed, or the program has answered by the listener that it was given.
    if (errno == ENOENT || errno == EINPROGRESS || errno == ESRCH) return;
    return give_up(errno, "an answer that the kernel does not take");
  }
}

void Proxy::give_up(int error, std::string_view what) {
  std::ranges::fill(response_, 0);
  response().id = request().id;
  response().error = -ENOSYS;
  while (::ioctl(listeners_[asked_].get(), SECCOMP_IOCTL_NOTIF_SEND, response_.data()) != 0 &&
         errno == EINTR) {
  }
  if (on_error_)
    on_error_(sys_error(error, Step::answer_syscall,
                        formatted("call {} of thread {}: {} at '{}'", request().data.nr,
                                  request().pid, what, address_)));
}

}  // namespace condroid::inline v0::lxc
