// What holds whatever a command socket answers: every question comes to an end, in what its type
// may be or in an error with a step, and nothing is left open. Used by the fuzz target and, with
// its seeds, by a unit test.
//
// The input is which question is asked, one byte, and what each connection says then, one after the
// other:
//   COUNT KINDS... LENGTH(2) BYTES...   descriptors that come with the first byte, and the bytes
// At most four connections say something; then, and at the end, each is closed.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "condroid/control/client.hpp"
#include "control/address.hpp"
#include "lxc_command_property.hpp"
#include "sys/wire.hpp"

namespace lxc_client_property {

using namespace condroid;
using namespace condroid::control;

struct Saying {
  std::vector<Fd> fds;
  std::string bytes;
};

inline Fd made_fd(std::uint8_t kind) {
  switch (kind % 4) {
    case 0:
      return Fd(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0U)));
    case 1:
      return Fd(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
    case 2:
      return Fd(::open("/", O_PATH | O_CLOEXEC));
    default:
      return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  }
}

inline std::vector<Saying> sayings(std::string_view input) {
  std::vector<Saying> all;
  const auto byte = [&input]() -> std::uint8_t {
    if (input.empty()) return 0;
    const auto b = static_cast<std::uint8_t>(input.front());
    input.remove_prefix(1);
    return b;
  };
  constexpr std::size_t most = 4, most_fds = 12;
  while (!input.empty() && all.size() < most) {
    Saying s;
    for (std::size_t n = byte() % (most_fds + 1); n > 0; --n) s.fds.push_back(made_fd(byte()));
    std::size_t length = byte() * 256U;
    length += byte();
    s.bytes = input.substr(0, length);
    input.remove_prefix(s.bytes.size());
    all.push_back(std::move(s));
  }
  return all;
}

/// Says it to one client each, in a thread of its own. Its address is this process's.
class Answerer {
 public:
  explicit Answerer(std::vector<Saying> all) : all_(std::move(all)) {
    const auto at = abstract_address(command_address(path(), "web"));
    socket_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!at || ::bind(socket_.get(), at->get(), at->size) != 0 || ::listen(socket_.get(), 8) != 0)
      return;
    thread_ = std::thread([this] {
      for (std::size_t i = 0;; ++i) {
        const Fd client(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!client.valid()) return;
        if (i >= all_.size()) continue;
        std::vector<int> fds;
        for (const Fd& fd : all_[i].fds)
          if (fd.valid()) fds.push_back(fd.get());
        const std::string& bytes = all_[i].bytes;
        if (!bytes.empty()) (void)send_with(client, bytes.data(), bytes.size(), fds);
      }
    });
  }
  ~Answerer() {
    (void)::shutdown(socket_.get(), SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
  }
  Answerer(const Answerer&) = delete;
  Answerer& operator=(const Answerer&) = delete;
  Answerer(Answerer&&) = delete;
  Answerer& operator=(Answerer&&) = delete;

  static std::string path() { return "/answerer/" + std::to_string(::getpid()); }
  [[nodiscard]] bool valid() const { return thread_.joinable(); }

 private:
  std::vector<Saying> all_;
  Fd socket_;
  std::thread thread_;
};

/// What is wrong with an answer, of whatever type.
template <class T>
std::string wrong(const Result<T>& r) {
  if (r) return {};
  const bool placed = r.error().step == Step::command_socket && !r.error().subject.empty();
  return placed ? "" : "an error of nowhere: " + to_string(r.error());
}

inline std::string wrong_state(const Result<State>& r) {
  return r && static_cast<std::size_t>(*r) >= state_count ? "a state that is none" : wrong(r);
}

inline std::string wrong_wait(Result<StateWait> r) {
  if (!r) return wrong(r);
  if (r->already()) return wrong_state(*r->already());
  const auto came = r->next(std::chrono::seconds{20});
  if (came && !*came) return "a wait that nobody ended";
  return came ? wrong_state(**came) : wrong(came);
}

inline std::string ask(const Client& c, std::uint8_t question) {
  constexpr unsigned count = 18;
  switch (question % count) {
    case 0:
      return wrong_state(c.state());
    case 1: {
      const auto pid = c.init_pid();
      return pid && pid->value <= 0 ? "a pid that is none" : wrong(pid);
    }
    case 2:
      return wrong(c.init_pidfd());
    case 3:
      return wrong(c.namespaces());
    case 4:
      return wrong(c.config_item("lxc.uts.name"));
    case 5:
      return wrong(c.name());
    case 6:
      return wrong_wait(c.wait_for({State::running, State::stopped}));
    case 7:
      return wrong_wait(c.wait_for_next({State::running}));
    case 8:
      return wrong(c.tell_state(State::frozen));
    case 9:
      return wrong(c.freeze(std::chrono::seconds{1}));
    case 10:
      return wrong(c.cgroup("memory"));
    case 11:
      return wrong(c.cgroup_fd("memory"));
    case 12:
      return wrong(c.cgroup2_fd());
    case 13:
      return wrong(c.cgroup_contexts());
    case 14:
      return wrong(c.apply({.type = 'c', .major = 1, .minor = 3, .access = "rw"}));
    case 15: {
      const auto terminal = c.terminal(1U);
      return terminal && !terminal->master.valid() ? "a terminal that is none" : wrong(terminal);
    }
    case 16: {
      const auto log = c.console_log({.most = 100});
      return log && log->size() > (16U << 20U) ? "more than it takes" : wrong(log);
    }
    default:
      return wrong(c.devpts_fd());
  }
}

/// Empty when it holds, otherwise what does not.
inline std::string broken(std::string_view input) {
  if (input.empty()) return {};
  const std::size_t before = lxc_command_property::open_descriptors();
  std::string wrong;
  {
    const Answerer answerer(sayings(input.substr(1)));
    if (!answerer.valid()) return "no socket to listen at";
    const auto began = std::chrono::steady_clock::now();
    wrong = ask(Client(Answerer::path(), "web", std::chrono::seconds{20}),
                static_cast<std::uint8_t>(input.front()));
    if (std::chrono::steady_clock::now() - began > std::chrono::seconds{15})
      wrong = "an answer that is waited for after the end";
  }
  if (wrong.empty() && lxc_command_property::open_descriptors() != before)
    wrong = "a descriptor is left";
  return wrong;
}

}  // namespace lxc_client_property
