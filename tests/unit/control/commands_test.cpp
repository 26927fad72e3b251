#include "condroid/control/commands.hpp"

#include <poll.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "../../fuzz/lxc_client_property.hpp"
#include "../../fuzz/lxc_command_property.hpp"
#include "catch.hpp"

using namespace condroid;
using namespace condroid::control;
using lxc_command_property::hear;
using lxc_command_property::MadeUp;
using lxc_command_property::Peer;

namespace {

/// A server of something made up, and its clients.
struct Tried {
  explicit Tried(std::chrono::milliseconds patience = std::chrono::seconds{10})
      : server(made_up, "/path", "name", {.clients = 8, .strangers = 2, .patience = patience}) {
    REQUIRE(server.begin());
  }
  Peer client() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    server.add(Fd(ends[1]));
    return {.fd = Fd(ends[0])};
  }
  void say(Peer& p, wire::Command command, std::string_view data = {}, std::int64_t number = 0) {
    const wire::Request r{.command = static_cast<std::uint32_t>(command),
                          .size = static_cast<std::int32_t>(data.size()),
                          .data = number};
    REQUIRE(send_with(p.fd, &r, sizeof r, {}) == 0);
    if (!data.empty()) REQUIRE(send_with(p.fd, data.data(), data.size(), {}) == 0);
    for (int i = 0; i < 3; ++i) server.step();
    hear(p);
  }
  wire::Answer ask(wire::Command command, std::string_view data = {}, std::int64_t number = 0) {
    Peer p = client();
    say(p, command, data, number);
    REQUIRE(p.heard.size() >= sizeof(wire::Answer));
    return wire::read_as<wire::Answer>(p.heard.data());
  }
  Peer waits_for(State state) {
    Peer p = client();
    std::array<std::int32_t, state_count> wanted{};
    wanted.at(static_cast<std::size_t>(state)) = wire::also_now;
    say(p, wire::Command::add_state_client,
        {reinterpret_cast<const char*>(wanted.data()), sizeof wanted});
    return p;
  }
  [[nodiscard]] bool wakes() const {
    pollfd waiter{server.poll_fd().get(), POLLIN, 0};
    return ::poll(&waiter, 1, 20) > 0;
  }
  MadeUp made_up;
  CommandServer server;
};

}  // namespace

TEST_CASE("states have LXC's numbers and names", "[control]") {
  CHECK(static_cast<int>(State::running) == 2);
  CHECK(static_cast<int>(State::frozen) == 6);
  for (std::size_t i = 0; i < state_count; ++i) {
    const auto state = static_cast<State>(i);
    CHECK(state_of(to_string(state)) == state);
  }
  CHECK_FALSE(state_of("running"));
  CHECK_FALSE(state_of(""));
}

TEST_CASE("addresses are those of LXC", "[control]") {
  CHECK(command_address("/tmp/lxct", "c1") == "/tmp/lxct/c1/command");
  CHECK(command_address("/tmp/lxct/", "c1") == "/tmp/lxct//c1/command");
  // 105 bytes are plain, 106 are hashed.
  const std::string name(85, 'n');
  CHECK(command_address("/some/path", "x" + name).size() == 105);
  const std::string hashed = command_address("/some/path", "xy" + name);
  CHECK(hashed.starts_with("lxc/"));
  CHECK(hashed.size() == std::string_view("lxc/0123456789abcdef/command").size());
  CHECK(monitor_address("/tmp/lxct") == "lxc/22191b32c328f877//tmp/lxct");
  CHECK(monitor_fifo("/run", "/var/lib/lxc") == "/run/lxc//var/lib/lxc/monitor-fifo");
}

TEST_CASE("the seed corpus of the fuzzer of the command socket holds", "[control]") {
  const auto folder = std::filesystem::path(CONDROID_TESTS_DIR) / "fuzz" / "corpus" / "lxc_command";
  int count = 0;
  for (const auto& seed : std::filesystem::directory_iterator(folder)) {
    INFO(seed.path());
    std::ifstream file(seed.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    CHECK(lxc_command_property::broken(bytes) == "");
    ++count;
  }
  CHECK(count >= 12);
}

TEST_CASE("the seed corpus of the fuzzer of what asks holds", "[control]") {
  const auto folder = std::filesystem::path(CONDROID_TESTS_DIR) / "fuzz" / "corpus" / "lxc_client";
  int count = 0;
  for (const auto& seed : std::filesystem::directory_iterator(folder)) {
    INFO(seed.path());
    std::ifstream file(seed.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    CHECK(lxc_client_property::broken(bytes) == "");
    ++count;
  }
  CHECK(count >= 20);
}

TEST_CASE("who is kept leaves room for who asks", "[control]") {
  Tried t;
  t.server.set_state(State::running);
  std::vector<Peer> kept;
  for (int i = 0; i < 6; ++i) kept.push_back(t.waits_for(State::stopping));
  CHECK(t.server.waiting() == 6);
  const Peer refused = t.waits_for(State::stopping);
  CHECK(wire::read_as<wire::Answer>(refused.heard.data()).result == -EAGAIN);
  CHECK(t.ask(wire::Command::get_tty_fd, {}, 1).result == -EAGAIN);
  CHECK(t.ask(wire::Command::freeze, {}, 5).result == -EAGAIN);
  CHECK(t.ask(wire::Command::get_init_pid).data == 42);
  // To stop it there is another.
  Peer stops = t.client();
  t.say(stops, wire::Command::stop);
  CHECK((stops.heard.empty() && !stops.end));
  CHECK(t.ask(wire::Command::stop).result == -EAGAIN);
  CHECK(t.ask(wire::Command::get_init_pid).data == 42);
}

TEST_CASE("who says no more still listens", "[control]") {
  Tried t;
  Peer p = t.waits_for(State::stopping);
  REQUIRE(::shutdown(p.fd.get(), SHUT_WR) == 0);
  t.server.step();
  CHECK(t.server.waiting() == 1);
  t.server.set_state(State::stopping);
  hear(p);
  CHECK(p.heard.size() == sizeof(wire::Answer) + sizeof(wire::StateMessage));
  Peer gone = t.waits_for(State::stopped);
  gone.fd.reset();
  t.server.step();
  CHECK(t.server.clients() == 0);
}

TEST_CASE("after the end nothing wakes", "[control]") {
  Tried t(std::chrono::milliseconds{5});
  const Peer p = t.client();
  t.server.step();
  t.server.set_state(State::running);
  CHECK(t.ask(wire::Command::get_init_pid).data == 42);
  const Peer slow = t.client();
  REQUIRE(send_with(slow.fd, "half", 4, {}) == 0);
  const Peer other = t.client();
  t.server.step();
  t.server.end();
  CHECK_FALSE(t.wakes());
}

TEST_CASE("rules for devices are those that are known", "[control]") {
  Tried t;
  const auto answer = [&t](wire::DeviceRule rule) {
    rule.type = 'c';
    rule.access = {'r', 'w', '\0', '\0'};
    return t
        .ask(wire::Command::add_bpf_device_cgroup,
             {reinterpret_cast<const char*>(&rule), sizeof rule})
        .result;
  };
  CHECK(answer({.major = 1, .minor = -1, .allow = 1}) == 0);
  CHECK(t.made_up.rules == std::vector{true});
  CHECK(answer({.major = 1, .minor = 3, .allow = 0}) == 0);
  CHECK(answer({.major = 1, .minor = 3, .allow = -1}) == -EINVAL);
  CHECK(answer({.major = 1, .minor = 3, .allow = 2}) == -EINVAL);
  CHECK(answer({.major = -2, .minor = 3, .allow = 1}) == -EINVAL);
  CHECK(answer({.major = 1, .minor = -7, .allow = 1}) == -EINVAL);
  CHECK(t.made_up.rules == std::vector{true, false});
}

TEST_CASE("namespaces that cannot be told are an error", "[control]") {
  Tried t;
  CHECK(t.ask(wire::Command::get_clone_flags).data == 0x20000);
  t.made_up.flags.reset();
  CHECK(t.ask(wire::Command::get_clone_flags).result == -ESRCH);
}

TEST_CASE("a command that is not known is so with data, too", "[control]") {
  Tried t;
  CHECK(t.ask(wire::Command::count_, "data").result == -ENOSYS);
  CHECK(t.ask(wire::Command::count_).result == -ENOSYS);
}

TEST_CASE("what was thawed by somebody who is gone can be seen frozen again", "[control]") {
  Tried t;
  t.server.set_state(State::running);
  const auto state = [&t] { return static_cast<State>(t.ask(wire::Command::get_state).data); };
  CHECK(t.ask(wire::Command::serve_state_clients, {}, static_cast<int>(State::thawed)).result == 0);
  const Peer waits = t.waits_for(State::running);
  CHECK(state() == State::running);
  t.made_up.is_frozen = true;
  CHECK(state() == State::frozen);
}

TEST_CASE("who leaves a console that takes nothing is seen to go", "[control]") {
  Tried t;
  std::string much(std::size_t{1} << 20U, 'x');
  (void)!::write(t.made_up.write_end.get(), much.data(), much.size());
  Peer p = t.client();
  const wire::Request r{};
  REQUIRE(send_with(p.fd, &r, sizeof r, {}) == 0);
  for (int i = 0; i < 3; ++i) t.server.step();
  wire::Answer a;
  Fd master;
  iovec part{&a, sizeof a};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr m{};
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  m.msg_control = control.data();
  m.msg_controllen = control.size();
  REQUIRE(::recvmsg(p.fd.get(), &m, MSG_CMSG_CLOEXEC) == sizeof a);
  REQUIRE(CMSG_FIRSTHDR(&m) != nullptr);
  master = Fd(wire::read_as<int>(CMSG_DATA(CMSG_FIRSTHDR(&m))));
  REQUIRE(::fcntl(master.get(), F_SETFL, O_NONBLOCK) == 0);
  for (int i = 0; i < 8; ++i) {
    (void)!::write(master.get(), much.data(), 4096);
    t.server.step();
  }
  CHECK(t.server.clients() == 1);
  // What the console says last is seen.
  t.made_up.said = "last words";
  SECTION("the end") {
    t.server.end();
    std::array<char, 64> some{};
    const ssize_t n = ::read(master.get(), some.data(), some.size());
    CHECK(std::string_view(some.data(), static_cast<std::size_t>(std::max<ssize_t>(n, 0))) ==
          "last words");
  }
  SECTION("he closes it") {
    master.reset();
    for (int i = 0; i < 3; ++i) t.server.step();
    CHECK(t.server.clients() == 0);
  }
}
