// lxc-checkconfig: what works on this machine.
#include <fmt/format.h>
#include <unistd.h>

#include <condroid/host.hpp>

#include "tools.hpp"

using namespace condroid;

namespace {

constexpr Option options[] = {
    {0, "problems", "", "Only what does not work"},
    {0, "json", "", "For programs"},
};

int run(const Arguments& args) {
  const HostReport report = Host::report();
  if (args.has("json"))
    fmt::print("{}\n", to_json(report));
  else
    fmt::print("{}",
               to_text(report, {.colour = ::isatty(1) == 1, .problems = args.has("problems")}));
  return report.can_launch() ? 0 : 1;
}

}  // namespace

const Tool lxc_checkconfig = {
    .name = "lxc-checkconfig",
    .synopsis = "[--problems | --json]",
    .brief = "Tries what containers are made of, and says what works here and what mends the rest.",
    .options = options,
    .names = Tool::none,
    .more = "Exit status: 0 when a plain container can be started, else 1.",
    .run = &run,
};
