// What holds whatever clients do to a command socket: there are never more than so many, each is
// answered in whole frames or not at all, states are states, and at the end nothing is left open.
// Used by the fuzz target and, with its seeds, by a unit test.
//
// The input is what clients and the container do, one after the other: a letter, and what it takes.
//   c        another client connects        r CLIENT COMMAND SIZE DATA  it sends a request
//   b CLIENT LENGTH BYTES  it sends bytes   d CLIENT  it sends a descriptor with a byte
//   D CLIENT COUNT  as many with it
//   x CLIENT  it goes                       s STATE  the container is in another state
//   e  the next callback asks for the end
//   f  somebody freezes it, or thaws it     o BYTE  its console says something
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/address.hpp"
#include "control/command_server.hpp"

namespace lxc_command_property {

using namespace condroid;
using namespace condroid::control;

/// Descriptors are pipes and nothing is a container's.
class MadeUp final : public control::Served {
 public:
  MadeUp() {
    int pair[2];
    if (::pipe2(pair, O_CLOEXEC | O_NONBLOCK) != 0) return;
    read_end = Fd(pair[0]);
    write_end = Fd(pair[1]);
  }
  Pid pid() override { return Pid{42}; }
  FdView pidfd() override { return read_end; }
  std::optional<std::uint64_t> namespaces() override { return flags; }
  int stop() override {
    may_end();
    return 0;
  }
  int freeze(bool on) override {
    is_frozen = on;
    return 0;
  }
  std::optional<bool> frozen() override { return is_frozen; }
  std::vector<ServedCgroup> cgroups() override {
    std::vector<ServedCgroup> list(2);
    for (ServedCgroup& g : list) {
      g.dir = Fd(::fcntl(read_end.get(), F_DUPFD_CLOEXEC, 3));
      g.path = "/here";
    }
    list[0].v2 = true;
    list[1].controllers = {"memory", "cpu"};
    return list;
  }
  CgroupLayout layout() override { return CgroupLayout::hybrid; }
  Fd devpts() override { return Fd(::fcntl(read_end.get(), F_DUPFD_CLOEXEC, 3)); }
  std::size_t ttys() override { return 2; }
  FdView tty(std::size_t) override { return read_end; }
  FdView console() override { return write_end; }
  std::string_view console_since(std::uint64_t& position) override {
    const std::size_t from = std::min<std::size_t>(position, said.size());
    position = said.size();
    return std::string_view(said).substr(from);
  }
  std::optional<std::string> config_item(std::string_view key) override {
    may_end();
    if (key.size() < 4) return {};
    return std::string(key) + " is long enough";
  }
  int apply(const DeviceRule& rule) override {
    rules.push_back(rule.allow);
    return 0;
  }
  int add_seccomp_listener(Fd fd) override { return fd.valid() ? 0 : EINVAL; }

  void on_state(State) override { may_end(); }
  void may_end() {
    if (ends != nullptr) ends->end();
  }

  CommandServer* ends = nullptr;
  Fd read_end, write_end;
  bool is_frozen = false;
  std::optional<std::uint64_t> flags = 0x20000;
  std::vector<bool> rules;  ///< For devices, whether they allow.
  std::string said;
};

struct Peer {
  Fd fd;
  std::string heard = {};
  bool end = false;
  bool wild = false;  ///< It sent what is no request.
};

/// What is wrong with all that one client heard.
inline std::string wrong_frames(const Peer& p) {
  std::string_view rest = p.heard;
  if (rest.empty()) return {};
  if (rest.size() < sizeof(wire::Answer)) return "half an answer";
  const auto head = wire::read_as<wire::Answer>(rest.data());
  rest.remove_prefix(sizeof head);
  if (head.result < -4095 || head.result > wire::no_state) return "a result that is none";
  if (head.size < 0 || head.size > (1 << 20)) return "a size that is none";
  const auto size = static_cast<std::size_t>(head.size);
  if (head.result == wire::no_state && size == 0) {
    // Then comes one state, or the end.
    if (rest.size() != 0 && rest.size() != sizeof(wire::StateMessage)) return "half a state";
    if (rest.empty()) return {};
    const auto message = wire::read_as<wire::StateMessage>(rest.data());
    return message.value >= 0 && message.value < wire::no_state ? "" : "a state that is none";
  }
  if (rest.size() > size) return "more than one answer";
  if (p.end && rest.size() != size) return "less than was announced";
  return {};
}

inline void hear(Peer& p) {
  std::array<char, 4096> some;
  while (p.fd.valid() && !p.end) {
    const ssize_t n = ::recv(p.fd.get(), some.data(), some.size(), MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    p.end = n <= 0;
    if (n > 0) p.heard.append(some.data(), static_cast<std::size_t>(n));
  }
}

/// How many this process has, and one more.
inline std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* const dir = ::opendir("/proc/self/fd");
  while (dir != nullptr && ::readdir(dir) != nullptr) ++count;
  if (dir != nullptr) ::closedir(dir);
  return count;
}

/// Empty when it holds, otherwise what does not.
inline std::string broken(std::string_view input) {
  const std::size_t before = open_descriptors();
  std::string wrong;
  {
    MadeUp made_up;
    constexpr std::size_t most = 8;
    CommandServer server(
        made_up, "/path", "name",
        {.clients = most, .strangers = 2, .patience = std::chrono::milliseconds{1000}});
    if (!server.begin()) return "no epoll";
    std::vector<Peer> peers;
    const auto byte = [&input]() -> std::uint8_t {
      if (input.empty()) return 0;
      const auto b = static_cast<std::uint8_t>(input.front());
      input.remove_prefix(1);
      return b;
    };
    const auto number = [&byte] {
      std::uint32_t n = 0;
      for (int i = 0; i < 4; ++i) n = n << 8U | byte();
      return static_cast<std::int32_t>(n);
    };
    const auto peer = [&]() -> Peer* {
      const std::size_t i = byte();
      return peers.empty() ? nullptr : &peers[i % peers.size()];
    };
    for (int acts = 0; !input.empty() && acts < 200 && wrong.empty(); ++acts) {
      switch (byte()) {
        case 'c': {
          int ends[2];
          if (peers.size() >= 20 ||
              ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
            break;
          peers.push_back({.fd = Fd(ends[0])});
          server.add(Fd(ends[1]), peers.size() % 7 == 0 ? EPERM : 0);
          break;
        }
        case 'r': {
          Peer* const p = peer();
          const wire::Request r{.command = byte(), .size = number(), .data = number()};
          if (p != nullptr && p->fd.valid()) (void)send_with(p->fd, &r, sizeof r, {});
          break;
        }
        case 'b': {
          Peer* const p = peer();
          const std::size_t size = std::min<std::size_t>(byte(), input.size());
          if (p != nullptr && p->fd.valid()) (void)send_with(p->fd, input.data(), size, {});
          input.remove_prefix(size);
          break;
        }
        case 'd': {
          Peer* const p = peer();
          const int fds[] = {made_up.read_end.get()};
          if (p != nullptr && p->fd.valid()) (void)send_with(p->fd, "x", 1, fds);
          break;
        }
        case 'D': {
          Peer* const p = peer();
          const std::vector<int> fds(byte(), made_up.read_end.get());
          if (p != nullptr && p->fd.valid()) (void)send_with(p->fd, "x", 1, fds);
          break;
        }
        case 'x':
          if (Peer* const p = peer(); p != nullptr) p->fd.reset();
          break;
        case 's':
          server.set_state(static_cast<State>(byte() % state_count));
          break;
        case 'e':
          made_up.ends = &server;
          break;
        case 'f':
          made_up.is_frozen = !made_up.is_frozen;
          break;
        case 'o':
          made_up.said.append(1000, static_cast<char>(byte()));
          break;
        default:
          break;
      }
      server.step();
      if (server.clients() > most + 2) wrong = "more clients than there may be";
      if (static_cast<std::size_t>(server.state()) >= state_count ||
          server.state() == State::thawed)
        wrong = "a state that is never kept";
      for (Peer& p : peers) hear(p);
    }
    server.end();
    if (server.clients() != 0) wrong = "clients after the end";
    for (Peer& p : peers) {
      hear(p);
      if (wrong.empty()) wrong = wrong_frames(p);
    }
  }
  if (wrong.empty() && open_descriptors() != before) wrong = "a descriptor is left";
  return wrong;
}

}  // namespace lxc_command_property
