// lxc-start: starts a container by its configuration.
#include "claim.hpp"
#include "place.hpp"
#include "say.hpp"
#include "start.hpp"
#include "tools.hpp"

using namespace condroid;

namespace {

constexpr Option options[] = {
    {'d', "daemon", "", "In the background; that is usual"},
    {'F', "foreground", "", "This terminal is its console"},
    {'p', "pidfile", "FILE", "Write the process id of the program that keeps it to FILE"},
    {'f', "rcfile", "FILE", "Read FILE in the place of the container's configuration"},
    {'c', "console", "FILE", "A file or terminal that is the other end of its console"},
    {'L', "console-log", "FILE", "What the console shows is appended to FILE"},
    {'C', "close-all-fds", "", "Close inherited descriptors; usual in the background"},
    {'s', "define", "KEY=VALUE", "As a line of the configuration; may be repeated"},
    {0, "share-net", "NAME", "Share this namespace with a container or process"},
    {0, "share-ipc", "NAME", "The same"},
    {0, "share-uts", "NAME", "The same"},
    {0, "share-pid", "NAME", "The same"},
};

int run(const Arguments& args) {
  const auto place = Place::of(args);
  if (!place) return 1;
  // LXC's exit status for it; scripts start what may run already.
  if (const auto state = place->state(); state && *state != control::State::stopped) {
    say("it is running already");
    return 0;
  }
  if (is_partial(*place)) return 1;
  if (!place->defined()) {
    say("there is no configuration '{}'", place->config_file());
    return 1;
  }
  auto config = place->load();
  if (!config || !adapt(args, *place, *config)) return 1;
  if (args.has("daemon") && args.has("foreground")) {
    say("--daemon and --foreground do not go together");
    return 1;
  }
  return start_container(*place, *config,
                         {.daemon = !args.has("foreground"),
                          .close_all = args.has("close-all-fds"),
                          .console_log = whole_path(args.value("console-log")),
                          .pidfile = whole_path(args.value("pidfile")),
                          .command = args.words()});
}

}  // namespace

const Tool lxc_start = {
    .name = "lxc-start",
    .synopsis = "-n NAME [-F] [-f FILE] [-s KEY=VALUE]... [OPTION...] [-- COMMAND...]",
    .brief = "Starts a container, with COMMAND in the place of its init.",
    .options = options,
    .more =
        "In the foreground its console is this terminal, and signals but SIGHUP, which asks it to "
        "end, "
        "are the\ncontainer's.\n\n"
        "Exit status: 0 when it was started, however it ended, or runs already; else 1.",
    .run = &run,
};
