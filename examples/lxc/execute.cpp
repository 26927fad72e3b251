// lxc-execute: one command in a container of its own.
#include "claim.hpp"
#include "place.hpp"
#include "say.hpp"
#include "start.hpp"
#include "tools.hpp"

using namespace condroid;

namespace {

constexpr Option options[] = {
    {'d', "daemon", "", "In the background"},
    {'f', "rcfile", "FILE", "Read FILE in the place of the container's configuration"},
    {'s', "define", "KEY=VALUE", "As a line of the configuration; may be repeated"},
    {'u', "uid", "UID", "With this user id of the container's"},
    {'g', "gid", "GID", "With this group id of the container's"},
    {0, "share-net", "NAME", "Share this namespace with a container or process"},
    {0, "share-ipc", "NAME", "The same"},
    {0, "share-uts", "NAME", "The same"},
    {0, "share-pid", "NAME", "The same"},
};

int run(const Arguments& args) {
  const auto place = Place::of(args);
  if (!place) return 1;
  if (is_partial(*place)) return 1;
  if (!place->defined() && !args.has("rcfile")) {
    say("there is no configuration '{}'", place->config_file());
    return 1;
  }
  auto config = place->load();
  if (!config || !adapt(args, *place, *config)) return 1;
  return start_container(*place, *config,
                         {.execute = true, .daemon = args.has("daemon"), .command = args.words()});
}

}  // namespace

const Tool lxc_execute = {
    .name = "lxc-execute",
    .synopsis = "-n NAME [-d] [-f FILE] [-s KEY=VALUE]... [--] COMMAND...",
    .brief = "Runs a command in a container that is there for it, beside a small init.",
    .options = options,
    .more =
        "Without COMMAND lxc.execute.cmd is run.\n\n"
        "Exit status: that of the command, 128 and the signal that ended it; 1 when it could not "
        "be "
        "started.",
    .run = &run,
};
