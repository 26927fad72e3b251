// Root inside, nobody outside: a user namespace whose ids are mapped to unused ones of the host.
// Needs no privilege; with ranges in /etc/subuid and /etc/subgid it has 65536 ids, without them
// one.
#include <condroid/builder.hpp>
#include <condroid/runtime.hpp>
#include <cstdio>

using namespace condroid;

int main() {
  const auto runtime = Runtime::open();
  if (!runtime) {
    fmt::print(stderr, "{}\n", runtime.error());
    return 1;
  }
  const Spec spec = ContainerBuilder{"rootless"}
                        .userns()
                        .stdio(Stdio::capture)
                        .exec({"/bin/sh", "-c",
                               "id -u; cat /proc/self/uid_map; touch /etc/x 2>/dev/null || echo "
                               "'the host is safe'"})
                        .spec();
  const auto facts = runtime->facts();
  if (!facts) {
    fmt::print(stderr, "{}\n", facts.error());
    return 1;
  }
  auto plan = compile(spec, *facts);
  if (!plan) {
    fmt::print(stderr, "{}\n", plan.error());
    return 1;
  }
  for (const auto& note : plan->notes) fmt::print("note: {}\n", note);
  auto box = runtime->launch(std::move(*plan));
  if (!box) {
    fmt::print(stderr, "{}\n", box.error());
    return 1;
  }
  const auto exit = box->wait();
  if (!exit) {
    fmt::print(stderr, "{}\n", exit.error());
    return 1;
  }
  fmt::print("{}{}", exit->out, exit->err);
  return exit->success() ? 0 : 1;
}
