// A container that outlives the program that launched it, found again through the registry: listed,
// and stopped, by another program.
#include <condroid/builder.hpp>
#include <condroid/registry.hpp>
#include <condroid/runtime.hpp>
#include <cstdio>

using namespace condroid;

namespace {

int failed(const Error& error) {
  fmt::print(stderr, "{}\n", error);
  return 1;
}

/// Runtime and zygote are this function's only: when it returns, the container is on its own.
Result<std::string> launch_and_leave() {
  auto runtime = Runtime::open();
  if (!runtime) return fail(runtime);
  // Where something fails below, nobody stops it: it ends by itself.
  auto box =
      ContainerBuilder{"sleeper"}.stdio(Stdio::null).exec({"/bin/sleep", "8"}).launch(*runtime);
  if (!box) return fail(box);
  if (auto ok = box->detach(); !ok) return fail(ok);
  return fmt::format("{}", box->pid().value);
}

}  // namespace

int main() {
  const auto pid = launch_and_leave();
  if (!pid) return failed(pid.error());

  // From here on as any other program of this user could.
  const auto all = Registry::list();
  if (!all) return failed(all.error());
  for (const auto& c : *all)
    if (fmt::format("{}", c.pid.value) == *pid)
      fmt::print("{} is {}{}\n", c.name, to_string(c.state), c.detached ? ", detached" : "");

  auto box = Registry::open(*pid);  // by name, too, if there is one of that name
  if (!box) return failed(box.error());
  if (auto ok = box->stop(std::chrono::seconds{2}); !ok) return failed(ok.error());
  const auto again = Registry::find(*pid);
  fmt::print("{}\n", again ? "it runs still" : "it is gone");
  return again ? 1 : 0;
}
