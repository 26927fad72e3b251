// lxc-freeze and lxc-unfreeze.
#include "place.hpp"
#include "say.hpp"
#include "tools.hpp"

using namespace condroid;
using control::State;

namespace {

int change(const Arguments& args, bool frozen) {
  const auto place = Place::of(args);
  if (!place) return 1;
  const char* const verb = frozen ? "freeze" : "unfreeze";
  const auto state = place->state();
  if (!state) return say_error(state.error());
  if (*state == State::stopped) {
    // LXC: what does not run is not frozen either.
    if (!frozen && place->defined()) return 0;
    say("cannot {} it: {}", verb,
        place->defined() ? "it does not run" : "there is no such container");
    return 1;
  }
  const auto done = frozen ? place->freeze() : place->thaw();
  return done ? 0 : say_error(done.error());
}

int freeze(const Arguments& args) { return change(args, true); }
int unfreeze(const Arguments& args) { return change(args, false); }

}  // namespace

const Tool lxc_freeze = {
    .name = "lxc-freeze",
    .synopsis = "-n NAME",
    .brief = "Stops all processes of a container, and returns when they stand still.",
    .more = "Exit status: 0; 1 when it does not run, or does not stand still within ten seconds.",
    .run = &freeze,
};
const Tool lxc_unfreeze = {
    .name = "lxc-unfreeze",
    .synopsis = "-n NAME",
    .brief = "Lets the processes of a frozen container go on.",
    .more = "Exit status: 0, also when it does not run; 1 when there is no such container.",
    .run = &unfreeze,
};
