#include "condroid/sys/pty.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "formatted.hpp"
#include "program/kernel.hpp"

namespace condroid {
inline namespace v0 {

namespace {

constexpr int terminal_flags = O_RDWR | O_NOCTTY | O_CLOEXEC;

std::string name_of(FdView terminal) {
  return formatted("terminal, descriptor {}", terminal.get());
}

}  // namespace

Result<WindowSize> window_size(FdView terminal) {
  winsize size{};
  if (::ioctl(terminal.get(), TIOCGWINSZ, &size) < 0)
    return fail(errno, Step::open_tty, name_of(terminal));
  return WindowSize{size.ws_row, size.ws_col, size.ws_xpixel, size.ws_ypixel};
}

Result<void> set_window_size(FdView terminal, WindowSize size) {
  const winsize wanted{size.rows, size.columns, size.width, size.height};
  if (::ioctl(terminal.get(), TIOCSWINSZ, &wanted) < 0)
    return fail(errno, Step::open_tty, name_of(terminal));
  return {};
}

Result<Pty> Pty::with_peer(Fd master, const std::string& name) {
  if (!master) return fail(errno, Step::open_tty, name);
  const int unlocked = 0;
  if (::ioctl(master.get(), TIOCSPTLCK, &unlocked) < 0) return fail(errno, Step::open_tty, name);
  Pty pty(std::move(master));
  auto peer = pty.open_peer();
  if (!peer) return fail(peer);
  pty.peer_ = std::move(*peer);
  return pty;
}

Result<Pty> Pty::open() { return open(HostPath("/dev/ptmx")); }

Result<Pty> Pty::open(const HostPath& ptmx) {
  return with_peer(Fd(::open(ptmx.c_str(), terminal_flags)), formatted("'{}'", ptmx));
}

Result<Pty> Pty::open_in(FdView devpts) {
  return with_peer(Fd(::openat(devpts.get(), "ptmx", terminal_flags | O_NOFOLLOW)),
                   formatted("'ptmx' of descriptor {}", devpts.get()));
}

Result<Pty> Pty::from(Fd master) {
  Pty pty(std::move(master));
  if (auto number = pty.number(); !number) return fail(number);
  return pty;
}

Result<Fd> Pty::open_peer() const {
  Fd peer(::ioctl(master_.get(), kernel::tiocgptpeer, terminal_flags));
  if (!peer) return fail(errno, Step::open_tty, formatted("the peer of {}", name_of(master_)));
  return peer;
}

Result<unsigned> Pty::number() const {
  unsigned number = 0;
  if (::ioctl(master_.get(), TIOCGPTN, &number) < 0)
    return fail(errno, Step::open_tty, name_of(master_));
  return number;
}

Result<RawMode> RawMode::enter(FdView terminal) {
  static_assert(sizeof(termios) <= sizeof(RawMode::before_));
  RawMode mode;
  termios settings{};
  if (::tcgetattr(terminal.get(), &settings) < 0)
    return fail(errno, Step::open_tty, name_of(terminal));
  std::memcpy(mode.before_.data(), &settings, sizeof settings);
  Fd own(::fcntl(terminal.get(), F_DUPFD_CLOEXEC, 0));
  if (!own) return fail(errno, Step::open_tty, name_of(terminal));
  ::cfmakeraw(&settings);
  int failed = 0;
  do {
    failed = ::tcsetattr(own.get(), TCSADRAIN, &settings);
  } while (failed < 0 && errno == EINTR);
  if (failed < 0) return fail(errno, Step::open_tty, name_of(terminal));
  mode.fd_ = std::move(own);
  mode.owner_ = ::getpid();
  return mode;
}

RawMode::RawMode(RawMode&& other) noexcept = default;

RawMode& RawMode::operator=(RawMode&& other) noexcept {
  if (this != &other) {
    (void)restore();
    fd_ = std::move(other.fd_);
    owner_ = other.owner_;
    before_ = other.before_;
  }
  return *this;
}

RawMode::~RawMode() { (void)restore(); }

Result<void> RawMode::restore() noexcept {
  const Fd terminal = std::move(fd_);
  if (!terminal || owner_ != ::getpid()) return {};
  termios settings{};
  std::memcpy(&settings, before_.data(), sizeof settings);
  // In the background the kernel stops who changes a terminal, unless he has this signal blocked.
  sigset_t background, mask;
  ::sigemptyset(&background);
  ::sigaddset(&background, SIGTTOU);
  ::pthread_sigmask(SIG_BLOCK, &background, &mask);
  int e = 0;
  // At once: to wait until the last output was read could be for ever.
  while ((e = ::tcsetattr(terminal.get(), TCSANOW, &settings) < 0 ? errno : 0) == EINTR) {
  }
  ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  if (e != 0) return fail(e, Step::open_tty, name_of(terminal));
  return {};
}

}  // namespace v0
}  // namespace condroid
