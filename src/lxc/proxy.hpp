// Who answers for the action notify: the program that lxc.seccomp.notify.proxy names. Private.
#pragma once

#include <linux/seccomp.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/container.hpp"
#include "condroid/error.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid::inline v0::lxc {

/// Forwards what a container's filter asks about, one call after the other as LXC does, and gives
/// its answers to the kernel. Never waits for the program at the other end: look() is called when
/// poll_fd() is readable, and once a call was told to it, it has 30 seconds. A call that nobody
/// answers, or not in the right words, fails with ENOSYS.
class Proxy {
 public:
  /// `address` is "unix:/path" or "unix:@name".
  /// @errors those of connect(2): nobody listens.
  [[nodiscard]] static Result<Proxy> open(const std::string& address, std::string cookie,
                                          std::function<void(const Error&)> on_error);

  [[nodiscard]] FdView poll_fd() const noexcept { return poll_; }
  /// Whoever else's calls are to be answered: a process that was attached.
  [[nodiscard]] Result<void> add(Fd listener);
  /// For Container::attend(). False when it has ended.
  [[nodiscard]] bool look(Container& box);

 private:
  Proxy() = default;
  [[nodiscard]] int connect();
  void disconnect();
  void take(Container& box);
  [[nodiscard]] bool ask_next(const Container& box);
  [[nodiscard]] bool receive(std::size_t which);
  void forward(const Container& box);
  [[nodiscard]] int send(std::string_view message, std::span<const int> fds);
  [[nodiscard]] bool take_answer();
  void answer();
  void give_up(int error, std::string_view what);
  void rest();
  [[nodiscard]] bool still_waits();
  void poll(FdView fd, bool on);
  void set_timer(std::int64_t seconds);

  seccomp_notif& request() { return *reinterpret_cast<seccomp_notif*>(request_.data()); }
  seccomp_notif_resp& response() {
    return *reinterpret_cast<seccomp_notif_resp*>(response_.data());
  }

  std::string address_;
  std::string cookie_;
  std::function<void(const Error&)> on_error_;
  seccomp_notif_sizes sizes_ = {};
  Fd poll_, timer_, socket_;
  std::vector<Fd> listeners_;  ///< Watched while no call is with the program.
  std::size_t asked_ = 0;      ///< The listener of that call.
  bool waits_ = false;         ///< For its answer.
  /// As the kernel has them, whose structures may be longer than those that we know.
  std::vector<std::uint64_t> request_, response_;
  bool taken_ = false;  ///< The listener of the container's present life, which is `life_`.
  unsigned life_ = 0;
};

}  // namespace condroid::inline v0::lxc
