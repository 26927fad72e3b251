// A container of LXC's: its configuration file is read, all mistakes are told, and it is launched.
#include <condroid/config/lxc.hpp>
#include <condroid/run.hpp>
#include <condroid/runtime.hpp>

using namespace condroid;

namespace {

/// What there is when no file is named.
constexpr std::string_view hello = R"(# Words of LXC 1.0 and of today.
lxc.utsname = box
lxc.mount.auto = proc:mixed
lxc.cap.drop = net_admin sys_module sys_time
lxc.console.path = none
lxc.environment = PATH=/usr/bin:/bin
lxc.prlimit.nofile = 256
lxc.init.cmd = /bin/sh -c "echo hello from $(hostname), $(ulimit -n) files"
)";

}  // namespace

int main(int argc, char** argv) {
  std::vector<lxc::Diagnostic> mistakes;
  const auto config = argc > 1 ? lxc::Configuration::load(HostPath(argv[1]), &mistakes)
                               : lxc::Configuration::parse(hello, "hello", &mistakes);
  for (const lxc::Diagnostic& m : mistakes) fmt::print(stderr, "{}\n", to_string(m));
  if (!config) return 1;
  for (const lxc::Diagnostic& n : config->notes()) fmt::print("{}\n", to_string(n));

  auto container = config->to_spec({.name = "box"});
  if (!container) {
    fmt::print(stderr, "{}\n", container.error());
    return 1;
  }
  for (const lxc::Diagnostic& n : container->notes) fmt::print("{}\n", to_string(n));
  container->spec.process.stdio = Stdio::capture;

  const auto runtime = Runtime::open();
  if (!runtime) {
    fmt::print(stderr, "{}\n", runtime.error());
    return 1;
  }
  const auto done = run(*runtime, container->spec, std::chrono::seconds{10});
  if (!done) {
    fmt::print(stderr, "{}\n", done.error());
    return 1;
  }
  fmt::print("{}{}\n{}", done->exit.out, done->exit, done->exit.err);
}
