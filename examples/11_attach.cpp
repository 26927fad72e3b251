// A further process in a container that runs: in one of ours, and in anybody's by its pid.
#include <condroid/attach.hpp>
#include <condroid/builder.hpp>
#include <condroid/runtime.hpp>
#include <cstdio>

using namespace condroid;

namespace {

/// What the command printed, or why there is none.
int show(const char* what, Result<Task> task) {
  auto exit = task.and_then([](Task& t) { return t.wait(); });
  if (!exit) {
    fmt::print(stderr, "{}: {}\n", what, exit.error());
    return 1;
  }
  fmt::print("{}: {}", what, exit->out);
  if (exit->success() && exit->output_errors.empty()) return 0;
  fmt::print(stderr, "{}: {}\n", what, *exit);
  return 1;
}

}  // namespace

int main() {
  const auto runtime = Runtime::open();
  if (!runtime) {
    fmt::print(stderr, "{}\n", runtime.error());
    return 1;
  }
  const auto box = ContainerBuilder{"server"}
                       .exec({"/bin/sleep", "infinity"})
                       .env("ROLE", "database")
                       .launch(*runtime);
  if (!box) {
    fmt::print(stderr, "{}\n", box.error());
    return 1;
  }
  // All of its namespaces, its cgroup, its environment; no more rights than it has.
  const Attach command{.process = {
                           .argv = {"/bin/sh", "-c", "echo $(hostname), $ROLE, process $$"},
                           .stdio = Stdio::capture,
                       }};
  if (show("by its handle", box->attach(command)) != 0) return 1;

  // One that somebody else launched is known by a pid, as `nsenter -t PID -a` does it.
  const Attach by_pid{.process = {
                          .argv = {"/bin/sh", "-c", "echo $(hostname), $ROLE, uid $(id -u)"},
                          .stdio = Stdio::capture,
                      }};
  return show("by its pid", runtime->attach(box->pid(), by_pid));
}
