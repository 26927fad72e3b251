// What a container costs its program with clients of LXC's command socket waiting for a state.
#pragma once

#include <string>
#include <vector>

namespace bench {

struct ControlFigures {
  /// Microseconds for Container::step(), medians of rounds that were measured alternately: without
  /// the socket, and with so many clients at it.
  std::vector<double> without = {};
  std::vector<double> with = {};
  double answer = 0;  ///< Microseconds for a question of its state, connecting included: median.
};
inline constexpr unsigned state_clients = 100;

/// `command` in `root`, which lives on. False with the reason in `error`.
[[nodiscard]] bool measure_control(const std::string& root, const std::string& command,
                                   unsigned rounds, ControlFigures* figures, std::string* error);

}  // namespace bench
