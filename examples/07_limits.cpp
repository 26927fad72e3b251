// Limits, and a change of them while the container runs. All are marked optional: where this user
// may not limit, that is reported and the container runs without.
#include <unistd.h>

#include <condroid/builder.hpp>
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
  constexpr auto memory = ResourceField::memory_max | ResourceField::memory_swap_max;
  auto box = ContainerBuilder{"limits"}
                 .memory_max(32_MiB)
                 .memory_swap_max(0_B)
                 .pids_max(20)
                 .optional_limits(memory | ResourceField::pids_max)
                 .stdio({Stream::pipe, Stream::pipe, Stream::null})
                 // Holds as many bytes as it is told to, and counts those that it got.
                 .exec({"/bin/sh", "-c",
                        "while read n; do head -c $n /dev/zero | tail -c $n | wc -c; done"})
                 .launch(*runtime);
  if (!box) {
    fmt::print(stderr, "{}\n", box.error());
    return 1;
  }
  for (const auto& l : box->left_out()) fmt::print("{} is left out: {}\n", l.field, l.why);
  Fd in = box->take_stdin();
  const Fd out = box->take_stdout();
  const auto hold = [&] {
    char answer[32] = {};
    const bool asked = ::write(in.get(), "60000000\n", 9) == 9;
    return asked && ::read(out.get(), answer, sizeof answer - 1) > 0 ? std::string(answer) : "?\n";
  };
  fmt::print("with 32 MiB: {}", hold());
  const auto report = box->set_limits({.memory_max = 256_MiB, .optional = memory});
  if (!report) {
    fmt::print(stderr, "{}\n", report.error());
    return 1;
  }
  fmt::print("with 256 MiB: {}", hold());
  in.reset();
  const auto exit = box->wait();
  if (exit) fmt::print("{}\n", *exit);
  return exit && exit->success() ? 0 : 1;
}
