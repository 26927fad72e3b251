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
  auto box =
      ContainerBuilder{"limits"}
          .memory_max(256_MiB)
          .pids_max(20)
          .optional_limits(ResourceField::memory_max | ResourceField::pids_max)
          .stdio({Stream::pipe, Stream::pipe, Stream::null})
          // Starts as many processes as it is told to, and counts those that it got.
          .exec({"/bin/sh", "-c",
                 "while read n; do set -- $(for i in $(seq $n); do sleep 60 > /dev/null & echo $i; "
                 "done); echo $#; done"})
          .launch(*runtime);
  if (!box) {
    fmt::print(stderr, "{}\n", box.error());
    return 1;
  }
  for (const auto& l : box->left_out()) fmt::print("{} is left out: {}\n", l.field, l.why);
  Fd in = box->take_stdin();
  const Fd out = box->take_stdout();
  const auto start = [&] {
    char answer[32] = {};
    const bool asked = ::write(in.get(), "40\n", 3) == 3;
    return asked && ::read(out.get(), answer, sizeof answer - 1) > 0 ? std::string(answer) : "?\n";
  };
  fmt::print("of 40, with 20 processes at most: {}", start());
  const auto report = box->set_limits({.pids_max = 100, .optional = ResourceField::pids_max});
  if (!report) {
    fmt::print(stderr, "{}\n", report.error());
    return 1;
  }
  fmt::print("of 40, with 100: {}", start());
  in.reset();
  const auto exit = box->wait();
  if (exit) fmt::print("{}\n", *exit);
  return exit && exit->success() ? 0 : 1;
}
