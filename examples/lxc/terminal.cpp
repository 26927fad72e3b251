#include "terminal.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstring>

using namespace condroid;

namespace {

constexpr std::size_t most_waiting = std::size_t{4} << 20U;
constexpr std::size_t piece = 4096;

/// In a process of its own: waits for a word or the end of `from`, and restores after the latter.
[[noreturn]] void guard(int terminal, int from, const termios& before) {
  // A session of its own: no key of the terminal and no hangup of the session reaches it, and it
  // may set the terminal from anywhere.
  ::setsid();
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  const int low = std::min(terminal, from), high = std::max(terminal, from);
  // Nobody shall wait for the end of a pipe because of it.
  const auto close_from = [](int first, int last) {
    if (first <= last)
      ::syscall(SYS_close_range, static_cast<unsigned>(first), static_cast<unsigned>(last), 0U);
  };
  close_from(0, low - 1);
  close_from(low + 1, high - 1);
  ::syscall(SYS_close_range, static_cast<unsigned>(high) + 1, ~0U, 0U);
  char word = 0;
  ssize_t n = 0;
  do n = ::read(from, &word, 1);
  while (n < 0 && errno == EINTR);
  if (n == 0) ::tcsetattr(terminal, TCSANOW, &before);
  ::_exit(0);
}

}  // namespace

Result<RawTerminal> RawTerminal::enter(int terminal) {
  termios before{};
  if (::tcgetattr(terminal, &before) != 0)
    return fail(errno, Step::open_tty, "the settings of the terminal");
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return fail(errno, Step::open_tty, "a socket to who restores it");
  Fd ours(ends[0]), other(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return fail(errno, Step::open_tty, "a process that restores it");
  if (pid == 0) {
    // Twice, so that nobody has to wait for it.
    if (::fork() != 0) ::_exit(0);
    guard(terminal, other.get(), before);
  }
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  auto mode = RawMode::enter(FdView(terminal));
  if (!mode) {
    const char word = 'x';
    (void)!::write(ours.get(), &word, 1);
    return fail(mode);
  }
  return RawTerminal(std::move(*mode), std::move(ours), ::getpid());
}

void RawTerminal::restore() {
  if (!guardian_.valid() || pid_ != ::getpid()) return;
  (void)mode_.restore();
  const char word = 'x';
  (void)!::send(guardian_.get(), &word, 1, MSG_NOSIGNAL);
  guardian_.reset();
}

void Outflow::add(std::string_view bytes) {
  if (fd_ < 0) return;
  bytes_ += bytes;
  // Who stops his terminal for long misses the oldest.
  if (bytes_.size() > most_waiting) bytes_.erase(0, bytes_.size() - most_waiting);
}

bool Outflow::full() const { return bytes_.size() >= piece * 16; }

void Outflow::flush() {
  const ssize_t n = ::write(fd_, bytes_.data(), std::min(bytes_.size(), piece));
  if (n > 0) {
    bytes_.erase(0, static_cast<std::size_t>(n));
  } else if (n < 0 && errno != EINTR && errno != EAGAIN) {
    bytes_.clear();
    fd_ = -1;
  }
}

void Outflow::finish() {
  constexpr int patience = 3000;
  while (pending()) {
    pollfd ready{fd_, POLLOUT, 0};
    const int n = ::poll(&ready, 1, patience);
    if (n == 0 || (n < 0 && errno != EINTR)) return;
    if (n > 0) flush();
  }
}

int own_terminal() {
  for (const int fd : {0, 1, 2})
    if (::isatty(fd) == 1) return fd;
  return -1;
}

bool in_foreground(int terminal) {
  const pid_t group = ::tcgetpgrp(terminal);
  // Of a terminal of another session, or of none, only who has it open is in the foreground.
  return group == ::getpgrp() || (group < 0 && errno == ENOTTY && ::isatty(terminal) == 1);
}

std::optional<Escape> Escape::parse(std::string_view text) {
  Escape e;
  if (text.empty() || text == "-1") return e;
  if (text.size() == 2 && text[0] == '^') text.remove_prefix(1);
  if (text.size() != 1 || std::isalpha(static_cast<unsigned char>(text[0])) == 0) return {};
  constexpr int control = 0x1f;
  e.letter_ = text[0] & control;
  return e;
}

std::string Escape::pass(std::string_view typed, bool& over) {
  std::string out;
  for (const char c : typed) {
    if (!seen_ && letter_ >= 0 && c == letter_) {
      seen_ = true;
      continue;
    }
    if (seen_ && c == 'q') {
      seen_ = false;
      over = true;
      return out;
    }
    seen_ = false;
    out += c;  // the prefix twice is the prefix
  }
  return out;
}

Fd watch_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int one : {SIGWINCH, SIGTERM, SIGHUP, SIGINT, SIGQUIT}) ::sigaddset(&set, one);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  return Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

bool copy_terminal(FdView master, int input, int output, Escape escape, FdView also, FdView signals,
                   Fd* log) {
  Outflow down(output), up(master.get());
  bool over = false, typing = input >= 0, ended = false;
  const auto resize = [&] {
    if (const auto size = window_size(FdView(output >= 0 ? output : input)); size)
      (void)set_window_size(master, *size);
  };
  resize();
  // What is there still when `also` has ended is taken.
  const auto take = [&] {
    char some[piece];
    const ssize_t n = ::read(master.get(), some, sizeof some);
    if (n > 0) {
      down.add({some, static_cast<std::size_t>(n)});
      if (log != nullptr && log->valid())
        (void)!::write(log->get(), some, static_cast<std::size_t>(n));
    }
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
  };
  while (!over && !ended) {
    pollfd wait[] = {
        {typing && !up.full() ? input : -1, POLLIN, 0},
        {master.get(),
         static_cast<short>((down.full() ? 0 : POLLIN) | (up.pending() ? POLLOUT : 0)), 0},
        {down.pending() ? down.fd() : -1, POLLOUT, 0},
        {also.get(), POLLIN, 0},
        {signals.get(), POLLIN, 0}};
    if (::poll(wait, std::size(wait), -1) < 0) {
      if (errno == EINTR) continue;
      break;
    }
    if (wait[0].revents != 0) {
      char some[piece];
      const ssize_t n = ::read(input, some, sizeof some);
      if (n > 0)
        up.add(escape.pass({some, static_cast<std::size_t>(n)}, over));
      else if (n == 0 || errno != EINTR)
        typing = false;
    }
    if ((wait[1].revents & POLLOUT) != 0) up.flush();
    if ((wait[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) ended = !take();
    if (wait[2].revents != 0) down.flush();
    if (wait[4].revents != 0) {
      signalfd_siginfo info{};
      if (::read(signals.get(), &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGWINCH)
          resize();
        else
          over = true;
      }
    }
    if (wait[3].revents != 0) break;
  }
  for (pollfd more{master.get(), POLLIN, 0}; !over && !ended && ::poll(&more, 1, 0) > 0;)
    if (!take()) break;
  down.finish();
  return over;
}
