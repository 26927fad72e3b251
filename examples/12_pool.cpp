// A harness that runs fifty commands, each in a container of its own that was set up before it was
// asked for.
#include <condroid/builder.hpp>
#include <condroid/pool.hpp>
#include <condroid/run.hpp>
#include <condroid/runtime.hpp>
#include <cstdio>
#include <string>

using namespace condroid;
using namespace condroid::literals;

int main() {
  const auto runtime = Runtime::open();
  if (!runtime) {
    fmt::print(stderr, "{}\n", runtime.error());
    return 1;
  }
  auto pool = Pool::open(*runtime, ContainerBuilder{"test"}.ephemeral(16_MiB).spec(), {.size = 4});
  if (!pool) {
    fmt::print(stderr, "{}\n", pool.error());
    return 1;
  }
  int sum = 0;
  int failed = 0;
  for (int i = 1; i <= 50; ++i) {
    // No command sees what the one before it left in /tmp.
    const Take take{.argv = {"/bin/sh", "-c", "test ! -e /tmp/mine && echo $N | tee /tmp/mine"},
                    .env = {fmt::format("N={}", i)}};
    const auto result = run(*pool, take, std::chrono::seconds{10});
    if (!result) {
      fmt::print(stderr, "command {}: {}\n", i, result.error());
      return 1;
    }
    if (result->success())
      sum += std::stoi(result->exit.out);
    else
      fmt::print(stderr, "command {}: {}\n{}", i, *result, result->exit.err), ++failed;
  }
  fmt::print("50 commands, {} failed, sum {}\n", failed, sum);
  return failed == 0 ? 0 : 1;
}
