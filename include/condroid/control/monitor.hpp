// What lxc-monitor shows: states, written to the pipe of lxc-monitord.
//
//   const control::Monitor monitor(control::monitor_fifo("/run", "/var/lib/lxc"), "web");
//   monitor.tell(control::State::running);   // nobody there: nothing happens
#pragma once

#include <string>

#include "condroid/control/commands.hpp"

namespace condroid {
inline namespace v0 {
namespace control {

/// Tells of one container. Opens the pipe each time and never waits: who is not there, or reads
/// too slowly, misses it. A plain value.
class Monitor {
 public:
  Monitor(std::string fifo, std::string name) : fifo_(std::move(fifo)), name_(std::move(name)) {}
  /// Whether it was written. Nothing but a pipe is written to, and no link is followed.
  bool tell(State state) const;
  /// How its first process ended, as wait(2) says it. LXC tells it before State::stopping.
  bool tell_exit(int wait_status) const;

 private:
  bool write(int type, int value) const;
  std::string fifo_, name_;
};

}  // namespace control
}  // namespace v0
}  // namespace condroid
