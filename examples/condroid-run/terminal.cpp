#include "terminal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace {

constexpr std::size_t enough =
    65536;  // waiting to be written: the other side has to catch up first
constexpr std::size_t piece =
    4096;  // PIPE_BUF: a pipe that is ready takes so much without blocking

}  // namespace

Terminals Terminals::look() {
  return {.in = ::isatty(0) == 1, .out = ::isatty(1) == 1, .err = ::isatty(2) == 1};
}

condroid::Result<int> usable_terminal(int number, int direction, condroid::Fd& again) {
  const int mode = ::fcntl(number, F_GETFL) & O_ACCMODE;
  if (mode == O_RDWR || mode == direction) return number;
  again = condroid::Fd(
      ::open(fmt::format("/proc/self/fd/{}", number).c_str(), direction | O_NOCTTY | O_CLOEXEC));
  if (!again.valid())
    return condroid::fail(errno, condroid::Step::open_descriptor,
                          fmt::format("the terminal of descriptor {}, for {}", number,
                                      direction == O_RDONLY ? "reading" : "writing"));
  return again.get();
}

Relay::Relay(condroid::Fd master, int input, int output)
    : master_(std::move(master)), input_(input), output_(output) {}

Relay::Wish Relay::input_wish() const {
  return reading_ && to_master_.size() < enough ? Wish{input_, POLLIN} : Wish{};
}

Relay::Wish Relay::output_wish() const {
  return output_open_ && !to_output_.empty() ? Wish{output_, POLLOUT} : Wish{};
}

Relay::Wish Relay::master_wish() const {
  if (!master_.valid()) return {};
  const int in = to_output_.size() < enough ? POLLIN : 0;
  const int out = to_master_.empty() && !end_pending_ ? 0 : POLLOUT;
  return in == 0 && out == 0 ? Wish{} : Wish{master_.get(), static_cast<short>(in | out)};
}

void Relay::input_ready() {
  char buffer[piece];
  const ssize_t n = ::read(input_, buffer, sizeof buffer);
  if (n > 0) {
    to_master_.append(buffer, static_cast<std::size_t>(n));
  } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
    reading_ = false;
    end_pending_ = true;
  }
}

void Relay::end_of_input() {
  termios now{};
  end_pending_ = false;
  // In the middle of a line the first end-of-file character only ends the line.
  if (::tcgetattr(master_.get(), &now) == 0 && (now.c_lflag & ICANON) != 0)
    to_master_.append(2, static_cast<char>(now.c_cc[VEOF]));
}

void Relay::output_ready() {
  const ssize_t n = ::write(output_, to_output_.data(), std::min(to_output_.size(), piece));
  if (n > 0) {
    to_output_.erase(0, static_cast<std::size_t>(n));
  } else if (n < 0 && errno != EINTR && errno != EAGAIN) {
    output_open_ = false;  // nobody reads it any more; the container need not wait for that
    if (errno != EPIPE) lost_ = errno;
    to_output_.clear();
  }
}

void Relay::master_ready(short events) {
  if ((events & POLLOUT) != 0) {
    if (to_master_.empty() && end_pending_) end_of_input();
    const ssize_t n = ::write(master_.get(), to_master_.data(), to_master_.size());
    if (n > 0) to_master_.erase(0, static_cast<std::size_t>(n));
  }
  if ((events & (POLLIN | POLLHUP | POLLERR)) == 0) return;
  char buffer[piece];
  const ssize_t n = ::read(master_.get(), buffer, sizeof buffer);
  if (n > 0 && output_open_) to_output_.append(buffer, static_cast<std::size_t>(n));
  check_master(n);
}

void Relay::check_master(ssize_t n) {
  if (n > 0) {
    failures_ = 0;
    return;
  }
  // EIO: nobody in the container has its terminal open. The end of the container is told elsewhere.
  // Another failure may be over the next time; to close the master would be a hangup.
  constexpr int patience = 100;
  if (n == 0 || errno == EIO || (errno != EAGAIN && errno != EINTR && ++failures_ > patience))
    master_.reset();
}

void Relay::resize(int from) const {
  winsize size{};
  if (master_.valid() && ::ioctl(from, TIOCGWINSZ, &size) == 0)
    ::ioctl(master_.get(), TIOCSWINSZ, &size);
}

void Relay::finish() {
  char buffer[piece];
  while (master_.valid()) {
    const ssize_t n = ::read(master_.get(), buffer, sizeof buffer);
    if (n > 0) to_output_.append(buffer, static_cast<std::size_t>(n));
    if (n < 0 && errno == EAGAIN) break;
    check_master(n);
  }
  while (output_open_ && !to_output_.empty()) {
    pollfd ready{output_, POLLOUT, 0};
    if (::poll(&ready, 1, -1) > 0) output_ready();
  }
}
