// A throwaway command: it may change what files it likes, its output is kept, and nothing of it
// stays.
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
  auto box = ContainerBuilder{"throwaway"}
                 .ephemeral(64_MiB)  // changes go to memory, at most so much
                 .rlimit(Rlimit::cpu, 10)
                 .stdio(Stdio::capture)
                 .capture_limit(1_MiB)
                 .exec({"/bin/sh", "-c",
                        "cd /tmp && seq 1000 > result && wc -l < result; echo oops >&2; exit 3"})
                 .launch(*runtime);
  if (!box) {
    fmt::print(stderr, "{}\n", box.error());
    return 1;
  }
  const auto exit = box->wait();
  if (!exit) {
    fmt::print(stderr, "{}\n", exit.error());
    return 1;
  }
  fmt::print("{}\n", *exit);
  fmt::print("stdout: {}stderr: {}", exit->out, exit->err);
  fmt::print("it took {} of processor time\n",
             (exit->user_time + exit->system_time).count() > 0 ? "some" : "no");
  return exit->code == 3 ? 0 : 1;
}
