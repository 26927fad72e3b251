// The container's command for launch timings: ends at once. Freestanding and one page long, so that
// a timing holds the launch and next to nothing of the payload's own start.
#include "payload.hpp"

extern "C" [[noreturn]] void _start() {
  for (;;) payload::exit_group(0);
}
