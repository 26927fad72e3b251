// Containers below a cgroup that systemd made for this program: a scope. Where no systemd answers
// it goes on without, and says why.
#include <condroid/builder.hpp>
#include <condroid/runtime.hpp>
#include <cstdio>

using namespace condroid;

int main() {
  const auto runtime = Runtime::open({.systemd = {.use = SystemdScope::preferred}});
  if (!runtime) {
    fmt::print(stderr, "{}\n", runtime.error());
    return 1;
  }
  const ScopeOutcome& scope = runtime->scope();
  if (scope.unit.empty())
    fmt::print("no scope: {}\n", scope.why_not);
  else
    fmt::print("containers are in {}\n", scope.unit);

  auto box = ContainerBuilder{"scope"}
                 .pids_max(20)
                 .optional_limits(ResourceField::pids_max)
                 .exec({"/bin/sh", "-c", "exit 3"})
                 .launch(*runtime);
  if (!box) {
    fmt::print(stderr, "{}\n", box.error());
    return 1;
  }
  for (const LeftOut& l : box->left_out()) fmt::print("{} is left out: {}\n", l.field, l.why);
  const auto exit = box->wait();
  if (exit) fmt::print("{}\n", *exit);
  return exit && exit->code == 3 ? 0 : 1;
}
