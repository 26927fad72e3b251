// lxc-destroy: removes a container.
#include <fmt/format.h>

#include "claim.hpp"
#include "destroy.hpp"
#include "say.hpp"
#include "tools.hpp"

using namespace condroid;

namespace {

constexpr Option options[] = {
    {'s', "snapshots", "", "With its snapshots"},
    {'f', "force", "", "Kill it first, if it runs"},
};

int run(const Arguments& args) {
  const auto place = Place::of(args);
  if (!place) return 1;
  if (partial(place->directory()) == Partial::made_now) {
    say("it is being made now");
    return 1;
  }
  if (partial(place->directory()) == Partial::left) {
    const auto claim = Claim::take(*place);
    return claim && remove_half_made(*place) ? 0 : 1;
  }
  if (!place->defined()) {
    say("there is no such container");
    return 1;
  }
  const auto state = place->state();
  if (!state) return say_error(state.error());
  if (*state != control::State::stopped) {
    if (!args.has("force")) {
      say("it is running; -f kills it first");
      return 1;
    }
    if (const auto ok = place->kill(); !ok) return say_error(ok.error());
  }
  if (!args.has("snapshots") && !snapshots_of(*place).empty()) {
    say("it has snapshots; -s removes them, too");
    return 1;
  }
  const auto config = place->load();
  return config && destroy_container(*place, *config) ? 0 : 1;
}

}  // namespace

const Tool lxc_destroy = {
    .name = "lxc-destroy",
    .synopsis = "-n NAME [-f] [-s]",
    .brief = "Removes a container: its directory with all that is in it.",
    .options = options,
    .more =
        "A root file system elsewhere is left. While a clone's files lie above its own, or "
        "something is mounted\nin its directory, nothing is removed.\n\n"
        "Exit status: 0; 1 when there is none, it runs, or something could not be removed.",
    .run = &run,
};
