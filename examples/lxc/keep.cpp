#include "keep.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condroid/notify.hpp>
#include <csignal>

#include "say.hpp"

using namespace condroid;

std::optional<Peer> Peer::open(const std::string& path, bool foreground) {
  Peer peer;
  if (path == "none" || (path.empty() && (!foreground || own_terminal() < 0))) return peer;
  constexpr unsigned mode = 0600;
  const std::string whole = whole_path(path);
  const char* const name = path.empty() ? "/dev/tty" : whole.c_str();
  // Opened here and nobody else's: a write to a terminal waits, poll(2) or not, until all of it is
  // taken, and whoever asks the container would wait with it.
  const int flags = O_NONBLOCK | (path.empty() ? O_RDWR : O_RDWR | O_CREAT | O_APPEND);
  peer.fd_ = Fd(::open(name, flags | O_CLOEXEC | O_NOCTTY, mode));
  if (!peer.fd_.valid()) {
    if (path.empty()) return peer;  // a terminal that is not this session's
    say("console '{}': {}", name, errno_name(errno));
    return {};
  }
  struct stat st {};
  // The user's own, or another one that nobody else reads from.
  peer.terminal_ = ::isatty(peer.fd_.get()) == 1 && in_foreground(peer.fd_.get());
  peer.typed_ = peer.terminal_ || (::fstat(peer.fd_.get(), &st) == 0 && !S_ISREG(st.st_mode) &&
                                   ::isatty(peer.fd_.get()) == 0);
  return peer;
}

std::optional<WindowSize> Peer::size() const {
  const auto size =
      fd_.valid() ? window_size(fd_) : Result<WindowSize>(fail(EBADF, Step::none, ""));
  if (!size || size->rows == 0) return {};
  return *size;
}

Fd forwarded_signals() {
  sigset_t set;
  ::sigfillset(&set);
  for (const int one : {SIGBUS, SIGILL, SIGSEGV, SIGFPE, SIGABRT, SIGTRAP, SIGCHLD, SIGPIPE})
    ::sigdelset(&set, one);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  return Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

/// As LXC: a hangup asks for the end, all else is the container's own.
void Keeper::signal() {
  signalfd_siginfo info{};
  if (::read(signals_.get(), &info, sizeof info) != sizeof info) return;
  const auto number = static_cast<int>(info.ssi_signo);
  if (number == SIGWINCH) {
    if (const auto size = peer_.size()) (void)started_.container.resize(*size);
    return;
  }
  (void)started_.container.signal(Signal{number == SIGHUP ? SIGTERM : number});
}

void Keeper::typed() {
  char some[4096];
  const ssize_t n = ::read(peer_.fd_.get(), some, sizeof some);
  if (n > 0)
    typed_.append(some, static_cast<std::size_t>(n));
  else if (n == 0 || (errno != EINTR && errno != EAGAIN))
    peer_.typed_ = false;
}

/// Without a program that answers, what the filter of a life asks about is ENOSYS, and nobody
/// waits.
void Keeper::refuse_to_answer() {
  Container& box = started_.container;
  if (!started_.program.seccomp_proxy.empty() || box.life() != Life::running ||
      lives_ > box.restarts())
    return;
  lives_ = box.restarts() + 1;
  (void)box.take_listener();
}

void Keeper::show() { shown_.add(started_.container.console_since(position_)); }

Result<Exit> Keeper::run() {
  Container& box = started_.container;
  std::optional<RawTerminal> raw;
  if (peer_.terminal_ && box.console().valid()) {
    auto entered = RawTerminal::enter(peer_.fd_.get());
    if (entered)
      raw.emplace(std::move(*entered));
    else
      note(lxc::LogLevel::warn, "{}", entered.error());
  }
  constexpr std::size_t enough = 65536;
  for (;;) {
    refuse_to_answer();
    const auto exit = box.step();
    if (!exit) return fail(exit.error());
    show();
    if (*exit) {
      shown_.finish();
      return **exit;
    }
    const FdView console = box.console();
    pollfd wait[] = {
        {box.poll_fd().get(), POLLIN, 0},
        {signals_.get(), POLLIN, 0},
        {peer_.typed_ && typed_.size() < enough ? peer_.fd_.get() : -1, POLLIN, 0},
        {typed_.empty() ? -1 : console.get(), POLLOUT, 0},
        {shown_.pending() ? shown_.fd() : -1, POLLOUT, 0},
    };
    if (::poll(wait, std::size(wait), -1) < 0 && errno != EINTR)
      return fail(errno, Step::wait, "the container and its console");
    if (wait[1].revents != 0) signal();
    if (wait[2].revents != 0) typed();
    if (wait[3].revents != 0) {
      const ssize_t n = ::write(console.get(), typed_.data(), typed_.size());
      if (n > 0) typed_.erase(0, static_cast<std::size_t>(n));
      if (n < 0 && errno != EAGAIN && errno != EINTR) typed_.clear();
    }
    if (wait[4].revents != 0) shown_.flush();
  }
}
