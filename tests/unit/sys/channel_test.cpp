#include "condroid/sys/channel.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "forked.hpp"
#include "sys_matchers.hpp"

using namespace std::chrono_literals;
using condroid::Channel;
using condroid::Errc;
using condroid::Fd;
using condroid::FdView;
using condroid::Result;
using condroid::test::closes_on_exec;
using condroid::test::errno_of;
using condroid::test::fails_with;
using condroid::test::Forked;
using condroid::test::need;
using condroid::test::same_file;

static_assert(!std::is_copy_constructible_v<Channel> &&
              std::is_nothrow_move_constructible_v<Channel>);

namespace {

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// A message as text, with its descriptors.
struct Taken {
  std::string text;
  std::vector<Fd> fds;
  bool end = false;
};

Taken take(Channel& from, std::size_t most_fds = 0, std::chrono::milliseconds limit = 10s) {
  std::array<std::byte, 256> buffer;
  Channel::Message m = need(from.receive(buffer, most_fds, limit));
  return {std::string(reinterpret_cast<const char*>(buffer.data()), m.size), std::move(m.fds),
          m.end};
}

int open_descriptors() {
  int count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += condroid::test::is_open(fd) ? 1 : 0;
  return count;
}

}  // namespace

TEST_CASE("messages arrive whole and in order, in both directions", "[sys]") {
  auto [left, right] = need(Channel::pair());
  CHECK(closes_on_exec(left.fd()));
  CHECK(closes_on_exec(right.fd()));
  need(left.send(bytes("one")));
  need(left.send(bytes("two three")));
  need(right.send(bytes("back")));
  CHECK(take(right).text == "one");
  CHECK(take(right).text == "two three");
  CHECK(take(left).text == "back");
}

TEST_CASE("descriptors travel in order as copies of the same open files", "[sys]") {
  auto [left, right] = need(Channel::pair());
  const Fd root(::open("/", O_PATH | O_CLOEXEC));
  const Fd null(::open("/dev/null", O_RDWR));
  const FdView sent[] = {root, null};
  need(left.send(bytes("two"), sent));
  const Taken taken = take(right, 2);
  CHECK(taken.text == "two");
  REQUIRE(taken.fds.size() == 2);
  CHECK(same_file(taken.fds[0], root));
  CHECK(same_file(taken.fds[1], null));
  CHECK(closes_on_exec(taken.fds[0]));
  CHECK(closes_on_exec(taken.fds[1]));
}

TEST_CASE("a whole channel can be passed through another one", "[sys]") {
  auto [left, right] = need(Channel::pair());
  auto [inner_left, inner_right] = need(Channel::pair());
  const FdView sent[] = {inner_right.fd()};
  need(left.send(bytes("x"), sent));
  inner_right = {};
  Taken taken = take(right, 1);
  REQUIRE(taken.fds.size() == 1);
  Channel received = need(Channel::from(std::move(taken.fds[0])));
  need(inner_left.send(bytes("through")));
  CHECK(take(received).text == "through");
}

TEST_CASE("as many descriptors as the kernel takes are sent, more are refused", "[sys]") {
  auto [left, right] = need(Channel::pair());
  const Fd one(::eventfd(0, EFD_CLOEXEC));
  const std::vector<FdView> most(Channel::max_fds, FdView(one));
  need(left.send(bytes("many"), most));
  CHECK(take(right, Channel::max_fds).fds.size() == Channel::max_fds);
  const std::vector<FdView> too_many(Channel::max_fds + 1, FdView(one));
  CHECK(errno_of(left.send(bytes("more"), too_many)) == EINVAL);
  std::array<std::byte, 8> buffer;
  CHECK(fails_with(right.receive(buffer, 0, 0ms), Errc::deadline));
}

TEST_CASE("more descriptors than there is room for fail the message and are closed", "[sys]") {
  auto [left, right] = need(Channel::pair());
  const Fd one(::eventfd(0, EFD_CLOEXEC));
  const std::vector<FdView> three(3, FdView(one));
  const int before = open_descriptors();
  need(left.send(bytes("three"), three));
  std::array<std::byte, 8> buffer;
  CHECK(errno_of(right.receive(buffer, 2, 1s)) == EMSGSIZE);
  CHECK(open_descriptors() == before);
  SECTION("the next message is not touched by it") {
    need(left.send(bytes("next")));
    CHECK(take(right).text == "next");
  }
  SECTION("also when none were expected") {
    need(left.send(bytes("three"), three));
    CHECK(errno_of(right.receive(buffer, 0, 1s)) == EMSGSIZE);
    CHECK(open_descriptors() == before);
  }
}

TEST_CASE("more bytes than there is room for fail the message", "[sys]") {
  auto [left, right] = need(Channel::pair());
  need(left.send(bytes("0123456789")));
  need(left.send(bytes("ok")));
  std::array<std::byte, 4> buffer;
  CHECK(errno_of(right.receive(buffer)) == EMSGSIZE);
  const auto next = need(right.receive(buffer));
  CHECK(next.size == 2);
}

TEST_CASE("descriptors that find no number in the receiver fail the message", "[sys]") {
  auto [left, right] = need(Channel::pair());
  const Fd one(::eventfd(0, EFD_CLOEXEC));
  const FdView sent[] = {one};
  need(left.send(bytes("x"), sent));
  // In a child: the limit would hit the test program, too.
  Forked child([&right = right] {
    const rlimit none{3, 3};
    if (::setrlimit(RLIMIT_NOFILE, &none) < 0) return 1;
    std::array<std::byte, 8> buffer;
    const auto got = right.receive(buffer, 1, 1s);
    return !got && got.error().is_errno(EMSGSIZE) ? 0 : 2;
  });
  CHECK(child.wait() == 0);
}

TEST_CASE("the end is told after everything that was sent before it", "[sys]") {
  auto [left, right] = need(Channel::pair());
  need(left.send(bytes("last words")));
  left = {};
  CHECK(take(right).text == "last words");
  CHECK(take(right).end);
  CHECK(take(right).end);
}

TEST_CASE("what was sent is received although the other end left our messages unread", "[sys]") {
  auto [left, right] = need(Channel::pair());
  need(left.send(bytes("from left")));
  need(right.send(bytes("never read")));
  left = {};
  CHECK(take(right).text == "from left");
  CHECK(take(right).end);
}

TEST_CASE("sending to a closed end is an error and no signal", "[sys]") {
  auto [left, right] = need(Channel::pair());
  right = {};
  CHECK(errno_of(left.send(bytes("anybody?"))) == EPIPE);
}

TEST_CASE("an empty message is refused: it would look like the end", "[sys]") {
  auto [left, right] = need(Channel::pair());
  CHECK(errno_of(left.send({})) == EINVAL);
}

TEST_CASE("an empty message of a peer that brings descriptors is not the end", "[sys]") {
  auto [left, right] = need(Channel::pair());
  iovec iov{nullptr, 0};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr m{};
  m.msg_iov = &iov;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = left.fd().get();
  std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  REQUIRE(::sendmsg(left.fd().get(), &m, 0) == 0);
  const Taken taken = take(right, 1);
  CHECK(!taken.end);
  CHECK(taken.fds.size() == 1);
}

TEST_CASE("receiving gives up when its time is over", "[sys]") {
  auto [left, right] = need(Channel::pair());
  std::array<std::byte, 8> buffer;
  const auto began = std::chrono::steady_clock::now();
  CHECK(fails_with(right.receive(buffer, 0, 0ms), Errc::deadline));
  CHECK(fails_with(right.receive(buffer, 0, 30ms), Errc::deadline));
  CHECK(std::chrono::steady_clock::now() - began >= 30ms);
}

TEST_CASE("sending waits for room, but not longer than its limit", "[sys]") {
  auto [left, right] = need(Channel::pair());
  const std::string text(4096, 'x');
  Result<void> sent;
  int count = 0;
  while (sent = left.send(bytes(text), {}, 0ms), sent) ++count;
  CHECK(fails_with(sent, Errc::deadline));
  CHECK(fails_with(left.send(bytes(text), {}, 30ms), Errc::deadline));
  const Forked reader([&right = right] {
    std::array<std::byte, 4096> buffer;
    for (;;)
      if (const auto got = right.receive(buffer, 0, 10s); !got || got->end) return 0;
  });
  for (int i = 0; i < count; ++i) need(left.send(bytes(text), {}, 10s));
}

TEST_CASE("a message that no buffer holds is refused", "[sys]") {
  auto [left, right] = need(Channel::pair());
  const std::string huge(64U << 20U, 'x');
  CHECK(errno_of(left.send(bytes(huge), {}, 1s)) == EMSGSIZE);
}

TEST_CASE("waiting goes on after a signal handler ran", "[sys]") {
  auto [left, right] = need(Channel::pair());
  struct sigaction act {
  }, old{};
  act.sa_handler = [](int) {};
  REQUIRE(::sigaction(SIGUSR1, &act, &old) == 0);
  const pid_t receiver = ::getpid();
  {
    const Forked sender([&left = left, receiver] {
      for (int i = 0; i < 5; ++i) {
        ::usleep(5000);
        ::kill(receiver, SIGUSR1);
      }
      ::usleep(5000);
      return left.send(bytes("late")) ? 0 : 1;
    });
    CHECK(take(right).text == "late");
  }
  REQUIRE(::sigaction(SIGUSR1, &old, nullptr) == 0);
}

TEST_CASE("only a seqpacket socket of this machine is taken over", "[sys]") {
  CHECK(errno_of(Channel::from(Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)))) ==
        EPROTOTYPE);
  CHECK(errno_of(Channel::from(Fd(::open("/dev/null", O_RDWR | O_CLOEXEC)))) == ENOTSOCK);
  CHECK(errno_of(Channel::from(Fd())) == EBADF);
}

TEST_CASE("a bad descriptor fails the message, and nothing is sent", "[sys]") {
  auto [left, right] = need(Channel::pair());
  const FdView sent[] = {FdView()};
  CHECK(errno_of(left.send(bytes("x"), sent)) == EBADF);
  std::array<std::byte, 8> buffer;
  CHECK(fails_with(right.receive(buffer, 1, 0ms), Errc::deadline));
}

TEST_CASE("a channel that is not connected fails with EBADF", "[sys]") {
  Channel none;
  CHECK(!none);
  std::array<std::byte, 8> buffer;
  CHECK(errno_of(none.send(bytes("x"))) == EBADF);
  CHECK(errno_of(none.receive(buffer)) == EBADF);
}
