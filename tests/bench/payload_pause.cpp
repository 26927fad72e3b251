// The container's command for live containers: sleeps until it is killed and never wakes up by
// itself.
#include "payload.hpp"

extern "C" [[noreturn]] void _start() {
  for (;;) payload::sleep_for_ever();
}
