#include "control.hpp"

#include <poll.h>

#include <unistd.h>
#include <atomic>
#include <chrono>
#include <condroid/builder.hpp>
#include <condroid/control/client.hpp>
#include <condroid/control/command_socket.hpp>
#include <condroid/runtime.hpp>
#include <optional>
#include <thread>

#include "stats.hpp"

namespace bench {
namespace {

using namespace condroid;
using control::State;
using Clock = std::chrono::steady_clock;

double time_steps(Container& box) {
  constexpr int steps = 200;
  const auto begin = Clock::now();
  for (int i = 0; i < steps; ++i)
    if (!box.step()) return 0;
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count() / steps;
}

}  // namespace

bool measure_control(const std::string& root, const std::string& command, unsigned rounds,
                     ControlFigures* figures, std::string* error) {
  const auto failed = [error](const Error& e) { return *error = to_string(e), false; };
  const auto runtime = Runtime::open();
  if (!runtime) return failed(runtime.error());
  const auto launch = [&] {
    return ContainerBuilder{"bench"}
        .root(HostPath(root))
        .stdio(Stdio::null)
        .exec({command})
        .launch(*runtime);
  };
  auto plain = launch();
  auto served = launch();
  if (!plain || !served) return failed(plain ? served.error() : plain.error());
  const std::string path = "/bench-" + std::to_string(::getpid());
  auto socket = control::CommandSocket::open({.lxcpath = path, .name = "bench"});
  if (!socket) return failed(socket.error());
  if (const auto ok = socket->serve(*served); !ok) return failed(ok.error());

  const control::Client client(path, "bench");
  // Answers what another thread asks.
  const auto answered = [&](auto ask) {
    std::atomic<bool> done{false};
    std::thread other([&] {
      ask();
      done = true;
    });
    while (!done) {
      pollfd waiter{served->poll_fd().get(), POLLIN, 0};
      ::poll(&waiter, 1, 1);
      (void)served->step();
    }
    other.join();
  };
  std::vector<control::StateWait> waiting;
  std::optional<Error> wrong;
  std::vector<double> answers;
  answered([&] {
    for (unsigned i = 0; i < state_clients && !wrong; ++i) {
      auto one = client.wait_for({State::stopped, State::frozen});
      if (one)
        waiting.push_back(std::move(*one));
      else
        wrong = one.error();
    }
    for (unsigned i = 0; i < rounds * 10 && !wrong; ++i) {
      const auto begin = Clock::now();
      if (const auto state = client.state(); !state) wrong = state.error();
      answers.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
    }
  });
  if (wrong) return failed(*wrong);
  figures->answer = median(std::move(answers));
  for (unsigned i = 0; i < rounds; ++i) {
    figures->without.push_back(time_steps(*plain));
    figures->with.push_back(time_steps(*served));
  }
  return true;
}

}  // namespace bench
