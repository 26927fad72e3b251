// The shortest useful program: one command in a container whose files are the host's own,
// read-only.
#include <condroid/builder.hpp>
#include <condroid/runtime.hpp>
#include <cstdio>

using namespace condroid;

int main() {
  const auto runtime = Runtime::open();  // once per program
  if (!runtime) {
    fmt::print(stderr, "{}\n", runtime.error());
    return 1;
  }
  auto box = ContainerBuilder{"hello"}
                 .exec({"/bin/sh", "-c", "echo hello from $(hostname), process $$"})
                 .launch(*runtime);
  if (!box) {
    fmt::print(stderr, "{}\n", box.error());
    return 1;
  }
  const auto exit = box->wait();
  if (!exit) fmt::print(stderr, "{}\n", exit.error());
  return exit && exit->success() ? 0 : 1;
}
