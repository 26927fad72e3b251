// A container's interfaces, looked at and listened to over a socket of its network namespace;
// rtnetlink(7). Private.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "condroid/stats.hpp"
#include "condroid/watch.hpp"

namespace condroid::inline v0::detail {

struct Place;

/// A socket for either, which does not block. About a millisecond.
[[nodiscard]] Result<Fd> network_socket(const Place& place);

/// The counters of all interfaces, as many as there is room for. errno, or 0. Does not allocate.
[[nodiscard]] int read_interfaces(FdView socket, Stats& into);

/// Turns what the kernel tells of interfaces into events.
class LinkListener {
 public:
  /// Subscribes, and tells of what is there. errno, or 0.
  [[nodiscard]] int begin(Fd socket, std::deque<WatchEvent>& events);
  /// What has been told since. errno, or 0.
  [[nodiscard]] int gather(std::deque<WatchEvent>& events);
  void end() { socket_.reset(); }
  [[nodiscard]] const Fd& socket() const noexcept { return socket_; }

 private:
  struct Known {
    std::string name;
    bool up = false;
    bool seen = false;
    std::set<std::pair<std::string, std::uint8_t>> addresses = {};  ///< Bytes and prefix.
  };
  void take(std::string_view message, std::deque<WatchEvent>& events);
  void take_link(std::string_view message, bool removed, std::deque<WatchEvent>& events);
  void take_address(std::string_view message, bool removed, std::deque<WatchEvent>& events);
  /// Asks for all. EAGAIN: things changed all the while, and something may have been missed.
  [[nodiscard]] int look(std::deque<WatchEvent>& events);
  [[nodiscard]] int look_once(std::deque<WatchEvent>& events);
  [[nodiscard]] int dump(std::uint16_t type, std::deque<WatchEvent>& events);

  Fd socket_;
  std::map<int, Known> links_;
};

}  // namespace condroid::inline v0::detail
