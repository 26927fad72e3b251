// Three containers in somebody else's event loop: one thread, nothing ever blocks but poll itself.
#include <poll.h>

#include <condroid/builder.hpp>
#include <condroid/runtime.hpp>
#include <cstdio>
#include <map>
#include <utility>

using namespace condroid;

int main() {
  const auto runtime = Runtime::open();
  if (!runtime) {
    fmt::print(stderr, "{}\n", runtime.error());
    return 1;
  }
  const auto facts = runtime->facts();
  if (!facts) {
    fmt::print(stderr, "{}\n", facts.error());
    return 1;
  }

  std::vector<Launch> launches;
  for (const char* name : {"one", "two", "three"}) {
    const Spec spec = ContainerBuilder{name}
                          .exec({"/bin/sh", "-c", "exit ${#HOSTNAME}"})
                          .env("HOSTNAME", name)
                          .spec();
    auto launch =
        compile(spec, *facts).and_then([&](Plan plan) { return runtime->start(std::move(plan)); });
    if (!launch) {
      fmt::print(stderr, "{}\n", launch.error());
      return 1;
    }
    launches.push_back(std::move(*launch));
  }

  std::map<std::string, Container> running;
  std::size_t ended = 0;
  while (ended < 3) {
    std::vector<pollfd> waiting;
    for (auto launch = launches.begin(); launch != launches.end();) {
      auto done = launch->step();
      if (!done) {
        fmt::print(stderr, "{}\n", done.error());
        return 1;
      }
      if (*done) {
        std::string name = (*done)->name();
        running.emplace(std::move(name), std::move(**done));
        launch = launches.erase(launch);
        continue;
      }
      const auto [fd, events] = launch->interest();
      waiting.push_back({fd.get(), events, 0});
      ++launch;
    }
    for (auto box = running.begin(); box != running.end();) {
      const auto exit = box->second.step();
      if (!exit) {
        fmt::print(stderr, "{}\n", exit.error());
        return 1;
      }
      if (*exit) {
        fmt::print("{}: {}\n", box->first, **exit);
        box = running.erase(box);
        ++ended;
        continue;
      }
      waiting.push_back({box->second.poll_fd().get(), POLLIN, 0});
      ++box;
    }
    if (ended < 3) ::poll(waiting.data(), waiting.size(), -1);
  }
  return 0;
}
