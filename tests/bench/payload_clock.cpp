// The container's command for timings to its first instruction: tells on standard output when it
// began, and ends.
#include "payload.hpp"

extern "C" [[noreturn]] void _start() {
  payload::Timespec now;
  payload::monotonic_time(&now);
  payload::write_out(&now, sizeof now);
  for (;;) payload::exit_group(0);
}
