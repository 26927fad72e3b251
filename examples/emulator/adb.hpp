// adbd of devices, by ports of this machine, in the program's own loop: `adb connect
// 127.0.0.1:PORT`. Beside an Emulator; take it into a program of yours.
#pragma once

#include <poll.h>

#include <chrono>
#include <condroid/relay.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "emulator.hpp"

/// Movable, of one thread.
class AdbPorts {
 public:
  /// As long as this device runs, in each of its lives, 127.0.0.1:`port` leads to its port 5555.
  /// Who connects before something listens there is reset.
  void want(std::string device, std::uint16_t port);
  /// Appends what is to be polled for.
  void poll_fds(std::vector<pollfd>& into) const;
  /// Does what can be done without waiting, but for some milliseconds when a life of a device
  /// begins. A line for each port that cannot be had, once in a life: each second it is tried
  /// again.
  [[nodiscard]] std::vector<std::string> step(const Emulator& all);

 private:
  struct Port {
    std::string device;
    std::uint16_t number;
    unsigned life = 0;  ///< That it was tried in last; the first is 1.
    std::chrono::steady_clock::time_point next_try = {};
    std::optional<condroid::PortRelay> relay = {};
  };
  std::vector<Port> ports_;
};
