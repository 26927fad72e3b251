// A program that used liblxc: lxc_container_new, set_config_item, start, init_pid,
// attach_run_waitl, shutdown and destroy. docs/lxc-api.md has every call.
#include <condroid/attach.hpp>
#include <condroid/lxc.hpp>
#include <cstdio>

using namespace condroid;
using namespace std::chrono_literals;

namespace {

Result<Exit> run() {
  lxc::Configuration config;  // load() reads /var/lib/lxc/NAME/config
  for (const auto& [key, value] : {std::pair{"lxc.uts.name", "apicontainer"},
                                   {"lxc.console.path", "none"},
                                   {"lxc.init.cmd", "/bin/sleep 60"}})
    if (auto ok = config.set(key, value); !ok) return fail(ok);

  auto runtime = Runtime::open();
  if (!runtime) return fail(runtime);
  auto c = lxc::start(*runtime, config,
                      {.name = "apicontainer", .lxcpath = HostPath("/tmp/condroid-lxc")});
  if (!c) return fail(c);
  fmt::print("{}, process {}\n", control::to_string(c->socket.state()), c->container.pid().value);

  auto task =
      c->container.attach({.process = {.argv = {"/bin/hostname"}, .stdio = Stdio::capture}});
  if (!task) return fail(task);
  auto status = task->wait();
  if (!status) return fail(status);
  fmt::print("{}", status->out);

  return c->container.stop(30s);  // asks it to end, and kills it then
}

}  // namespace

int main() {
  const auto exit = run();
  if (exit)
    fmt::print("{}\n", *exit);
  else
    fmt::print(stderr, "{}\n", exit.error());
  return exit ? 0 : 1;
}
