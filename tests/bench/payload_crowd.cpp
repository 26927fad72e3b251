// The container's command for freezing and killing: 500 processes that sleep.
#include "payload.hpp"

extern "C" [[noreturn]] void _start() {
  for (int i = 1; i < 500; ++i)
    if (payload::fork() == 0) break;
  for (;;) payload::sleep_for_ever();
}
