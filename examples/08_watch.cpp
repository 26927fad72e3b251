// A container that runs into its limit of memory, watched from a poll loop, with live figures.
#include <poll.h>

#include <chrono>
#include <condroid/builder.hpp>
#include <condroid/runtime.hpp>
#include <cstdio>

using namespace condroid;
using namespace condroid::literals;

int main() {
  const auto runtime = Runtime::open();
  if (!runtime) {
    fmt::print(stderr, "{}\n", runtime.error());
    return 1;
  }
  // tail(1) keeps the last line, and /dev/zero is one that never ends.
  auto box = ContainerBuilder{"hog"}
                 .exec({"/bin/sh", "-c", "read x; tail /dev/zero; echo the shell lives on; exit 3"})
                 .stdio({Stream::pipe, Stream::inherit, Stream::inherit})
                 .memory_max(64_MiB)
                 .cgroup(CgroupMode::everywhere)
                 .launch(*runtime);
  if (!box) {
    fmt::print(stderr, "{}\n", box.error());
    return 1;
  }
  auto watch = box->watch();
  auto reader = box->stats_reader();
  if (!watch || !reader) {
    fmt::print(stderr, "{}\n", watch ? reader.error() : watch.error());
    return 1;
  }
  (void)box->take_stdin();  // It is closed, and that is the sign to begin.

  Stats now;
  while (!watch->done()) {
    pollfd waiter{watch->poll_fd().get(), POLLIN, 0};
    ::poll(&waiter, 1, 10);
    // False at the end, when its cgroups are gone.
    if (reader->read(now).value_or(false) && now.memory && now.cpu)
      fmt::print("{} MiB, {} ms of a processor\n", now.memory->current.value >> 20U,
                 std::chrono::milliseconds(now.cpu->total / std::chrono::milliseconds{1}).count());
    while (const auto event = watch->next().value_or(std::nullopt))
      fmt::print("{}, {} in all\n", to_string(event->kind), event->total);
  }

  const auto exit = box->wait();
  if (!exit) {
    fmt::print(stderr, "{}\n", exit.error());
    return 1;
  }
  fmt::print("{}; {} killed, at most {} MiB\n", *exit, exit->oom_kills,
             exit->peak_memory.value_or(Bytes{}).value >> 20U);
  return 0;
}
