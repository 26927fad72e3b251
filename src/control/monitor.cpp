#include "condroid/control/monitor.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "condroid/sys/fd.hpp"
#include "control/wire.hpp"
#include "formatted.hpp"

namespace condroid::inline v0::control {

bool Monitor::write(int type, int value) const {
  // ENXIO without a reader.
  const Fd pipe(::open(fifo_.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC));
  struct stat st {};
  if (!pipe.valid() || ::fstat(pipe.get(), &st) != 0 || !S_ISFIFO(st.st_mode)) return false;
  // With a reader of our own nobody's going can be a SIGPIPE.
  const Fd reader(::open(formatted("/proc/self/fd/{}", pipe.get()).c_str(),
                         O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!reader.valid()) return false;
  wire::StateMessage message;
  message.type = type;
  message.value = value;
  std::memcpy(message.name.data(), name_.data(), std::min(name_.size(), message.name.size() - 1));
  // Whole or not at all: it is less than PIPE_BUF, pipe(7).
  return ::write(pipe.get(), &message, sizeof message) == static_cast<ssize_t>(sizeof message);
}

bool Monitor::tell(State state) const {
  return write(wire::StateMessage::state, static_cast<int>(state));
}

bool Monitor::tell_exit(int wait_status) const {
  return write(wire::StateMessage::exit_status, wait_status);
}

}  // namespace condroid::inline v0::control
