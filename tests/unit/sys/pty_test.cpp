#include "condroid/sys/pty.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <type_traits>

#include "in_child.hpp"
#include "sys_matchers.hpp"

using condroid::Fd;
using condroid::FdView;
using condroid::Pty;
using condroid::RawMode;
using condroid::WindowSize;
using condroid::test::closes_on_exec;
using condroid::test::errno_in_child;
using condroid::test::errno_of;
using condroid::test::Forked;
using condroid::test::in_child;
using condroid::test::must;
using condroid::test::need;
using condroid::test::same_file;
using namespace condroid::literals;

static_assert(!std::is_copy_constructible_v<Pty> && std::is_nothrow_move_constructible_v<Pty>);
static_assert(!std::is_copy_constructible_v<RawMode> &&
              std::is_nothrow_move_constructible_v<RawMode>);

namespace {

void put(FdView to, const std::string& text) {
  REQUIRE(::write(to.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

/// What can be read before `size` bytes are there or nothing comes for a while.
std::string get(FdView from, std::size_t size, int patience = 2000) {
  std::string text;
  char buffer[256];
  pollfd p{from.get(), POLLIN, 0};
  while (text.size() < size && ::poll(&p, 1, patience) > 0) {
    const ssize_t n = ::read(from.get(), buffer, std::min(sizeof buffer, size - text.size()));
    if (n <= 0) break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  return text;
}

bool is_raw(FdView terminal) {
  termios t{};
  return ::tcgetattr(terminal.get(), &t) == 0 && (t.c_lflag & (ICANON | ECHO | ISIG)) == 0 &&
         (t.c_oflag & OPOST) == 0;
}

bool same_settings(FdView terminal, const termios& before) {
  termios t{};
  return ::tcgetattr(terminal.get(), &t) == 0 && t.c_iflag == before.c_iflag &&
         t.c_oflag == before.c_oflag && t.c_cflag == before.c_cflag &&
         t.c_lflag == before.c_lflag && std::memcmp(t.c_cc, before.c_cc, sizeof t.c_cc) == 0;
}

}  // namespace

TEST_CASE("what is written on one end of a pty is read on the other", "[sys]") {
  const Pty pty = need(Pty::open());
  CHECK(closes_on_exec(pty.master()));
  CHECK(closes_on_exec(pty.peer()));
  CHECK(::isatty(pty.peer().get()) == 1);
  put(pty.peer(), "shown\n");
  CHECK(get(pty.master(), 7) == "shown\r\n");
  put(pty.master(), "typed\n");
  CHECK(get(pty.peer(), 6) == "typed\n");
  CHECK(get(pty.master(), 7) == "typed\r\n");
}

TEST_CASE("the master opens further descriptors of its peer", "[sys]") {
  Pty pty = need(Pty::open());
  const Fd taken = pty.take_peer();
  CHECK(!pty.peer().valid());
  const Fd again = need(pty.open_peer());
  CHECK(same_file(taken, again));
  CHECK(closes_on_exec(again));
}

TEST_CASE("the master tells when nobody has the peer open", "[sys]") {
  Pty pty = need(Pty::open());
  (void)pty.take_peer();
  pollfd p{pty.master().get(), POLLIN, 0};
  CHECK(::poll(&p, 1, 1000) == 1);
  char byte = 0;
  CHECK(::read(pty.master().get(), &byte, 1) == -1);
  CHECK(errno == EIO);
}

TEST_CASE("opening a pty takes no controlling terminal", "[sys]") {
  CHECK(in_child([] {
          must(::setsid() > 0, "setsid");
          const Pty pty = must(Pty::open());
          must(!Fd(::open("/dev/tty", O_RDWR | O_CLOEXEC)).valid(),
               "it became the controlling terminal");
        }) == "");
}

TEST_CASE("both ends have one size", "[sys]") {
  const Pty pty = need(Pty::open());
  const WindowSize size{.rows = 50, .columns = 132, .width = 1056, .height = 800};
  need(pty.set_size(size));
  CHECK(need(pty.size()) == size);
  CHECK(need(condroid::window_size(pty.peer())) == size);
  need(condroid::set_window_size(pty.peer(), {.rows = 24, .columns = 80}));
  CHECK(need(pty.size()) == WindowSize{.rows = 24, .columns = 80});
}

TEST_CASE("a master is taken over, what is none is not", "[sys]") {
  Pty pty = need(Pty::open());
  const unsigned number = need(pty.number());
  const Fd peer = pty.take_peer();
  const Pty again = need(Pty::from(pty.take_master()));
  CHECK(!pty);
  CHECK(need(again.number()) == number);
  CHECK(same_file(need(again.open_peer()), peer));
  CHECK(errno_of(Pty::from(need(again.open_peer()))) == ENOTTY);
  CHECK(errno_of(Pty::from(Fd(::open("/dev/null", O_RDWR | O_CLOEXEC)))) == ENOTTY);
  CHECK(errno_of(Pty::from(Fd())) == EBADF);
}

TEST_CASE("what is no devpts has no pty", "[sys]") {
  CHECK(errno_of(Pty::open("/no/such/ptmx"_host)) == ENOENT);
  CHECK(errno_of(Pty::open("/dev/null"_host)) == ENOTTY);
  const Fd proc(::open("/proc", O_PATH | O_CLOEXEC));
  CHECK(errno_of(Pty::open_in(proc)) == ENOENT);
}

TEST_CASE("a raw terminal passes every byte as it is, and then is what it was", "[sys]") {
  const Pty pty = need(Pty::open());
  termios before{};
  REQUIRE(::tcgetattr(pty.peer().get(), &before) == 0);
  {
    const RawMode raw = need(RawMode::enter(pty.peer()));
    CHECK(raw.active());
    CHECK(is_raw(pty.peer()));
    put(pty.peer(), "a\nb");
    CHECK(get(pty.master(), 3) == "a\nb");
    put(pty.master(), "\x03\x04\r");
    CHECK(get(pty.peer(), 3) == "\x03\x04\r");
    CHECK(get(pty.master(), 1, 20).empty());
  }
  CHECK(same_settings(pty.peer(), before));
}

TEST_CASE("a terminal is restored once, and early when asked", "[sys]") {
  const Pty pty = need(Pty::open());
  termios before{};
  REQUIRE(::tcgetattr(pty.peer().get(), &before) == 0);
  RawMode first = need(RawMode::enter(pty.peer()));
  need(first.restore());
  CHECK(!first.active());
  CHECK(same_settings(pty.peer(), before));
  const RawMode second = need(RawMode::enter(pty.peer()));
  need(first.restore());
  CHECK(is_raw(pty.peer()));
}

TEST_CASE("moving raw mode moves the duty to restore", "[sys]") {
  const Pty pty = need(Pty::open());
  const Pty other = need(Pty::open());
  termios before{};
  REQUIRE(::tcgetattr(pty.peer().get(), &before) == 0);
  {
    RawMode kept = need(RawMode::enter(other.peer()));
    {
      RawMode raw = need(RawMode::enter(pty.peer()));
      kept = std::move(raw);
      CHECK(!is_raw(other.peer()));
    }
    CHECK(is_raw(pty.peer()));
  }
  CHECK(same_settings(pty.peer(), before));
}

TEST_CASE("a terminal is restored although its owner closed it", "[sys]") {
  Pty pty = need(Pty::open());
  const Fd look = need(pty.open_peer());
  {
    const RawMode raw = need(RawMode::enter(pty.peer()));
    (void)pty.take_peer();
    CHECK(is_raw(look));
  }
  CHECK(!is_raw(look));
}

TEST_CASE("a forked child does not restore its parent's terminal", "[sys]") {
  const Pty pty = need(Pty::open());
  std::optional<RawMode> raw = need(RawMode::enter(pty.peer()));
  Forked child([&] {
    raw.reset();
    return 0;
  });
  CHECK(child.wait() == 0);
  CHECK(is_raw(pty.peer()));
}

TEST_CASE("a terminal is restored from the background", "[sys]") {
  const Pty pty = need(Pty::open());
  CHECK(in_child([&] {
          must(::setsid() > 0 && ::ioctl(pty.peer().get(), TIOCSCTTY, 0) == 0,
               "no controlling terminal");
          RawMode raw = must(RawMode::enter(pty.peer()));
          // Somebody else is in the foreground now.
          const Forked other([] {
            for (;;) ::pause();
          });
          must(::setpgid(other.pid(), other.pid()) == 0 &&
                   ::tcsetpgrp(pty.peer().get(), other.pid()) == 0,
               "tcsetpgrp");
          must(errno_in_child(RawMode::enter(pty.peer())) == EIO,
               "the background changed the terminal");
          must(raw.restore());
          must(!is_raw(pty.peer()), "still raw");
        }) == "");
}

TEST_CASE("what is no terminal has neither size nor raw mode", "[sys]") {
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  CHECK(errno_of(RawMode::enter(null)) == ENOTTY);
  CHECK(errno_of(condroid::window_size(null)) == ENOTTY);
  CHECK(errno_of(condroid::set_window_size(null, {})) == ENOTTY);
  const Pty none;
  CHECK(!none);
  CHECK(errno_of(none.size()) == EBADF);
  CHECK(errno_of(none.open_peer()) == EBADF);
  CHECK(errno_of(none.number()) == EBADF);
}
