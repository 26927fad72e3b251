// A container of LXC's in this program: its tools can talk to it as long as it runs.
#include <condroid/lxc.hpp>
#include <cstdio>

using namespace condroid;

namespace {

Result<Exit> run() {
  auto config = lxc::Configuration::parse("lxc.uts.name = web\nlxc.console.path = none\n");
  if (!config) return fail(config);
  auto runtime = Runtime::open();
  if (!runtime) return fail(runtime);
  auto web = lxc::start(*runtime, *config,
                        {.name = "web",
                         .lxcpath = HostPath("/tmp/condroid-lxc"),
                         .command = {"/bin/sh", "-c", "echo $(hostname) is here"},
                         .on_state = [](control::State state) {
                           fmt::print("{}\n", control::to_string(state));
                           std::fflush(stdout);
                         }});
  if (!web) return fail(web);
  return web->container.wait();  // and answers lxc-info, lxc-attach, lxc-stop meanwhile
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
