// lxc-wait: until a container is in one of some states.
#include <algorithm>
#include <chrono>
#include <thread>

#include "place.hpp"
#include "say.hpp"
#include "tools.hpp"

using namespace condroid;
using control::State;
using std::chrono::milliseconds;

namespace {

constexpr Option options[] = {
    {'s', "state", "STATES",
     "One or several of STOPPED, STARTING, RUNNING, STOPPING, ABORTING, "
     "FREEZING, FROZEN, THAWED, a | between them"},
    {'t', "timeout", "SECONDS", "Wait so long at most; else for ever"},
};

std::optional<std::vector<State>> states_of(std::string_view text) {
  std::vector<State> states;
  while (true) {
    const std::size_t end = text.find('|');
    const std::string_view word = text.substr(0, end);
    const auto state = control::state_of(word);
    if (!state) {
      say("there is no state '{}'; see --help", word);
      return {};
    }
    states.push_back(*state);
    if (end == text.npos) return states;
    text.remove_prefix(end + 1);
  }
}

int run(const Arguments& args) {
  using Clock = std::chrono::steady_clock;
  if (!args.has("state")) {
    say("no state is named; use -s STATE");
    return 1;
  }
  const auto place = Place::of(args);
  const auto states = place ? states_of(args.value("state")) : std::nullopt;
  const auto seconds = states ? args.number("timeout", -1) : std::nullopt;
  if (!seconds) return 1;
  const auto until =
      *seconds < 0 ? Clock::time_point::max() : Clock::now() + std::chrono::seconds{*seconds};
  const auto left = [&] {
    if (until == Clock::time_point::max()) return milliseconds{-1};
    return std::max(milliseconds{0}, std::chrono::ceil<milliseconds>(until - Clock::now()));
  };
  for (;;) {
    auto wait = place->client().wait_for(*states);
    if (wait) {
      if (wait->already()) return 0;
      const auto came = wait->next(left());
      if (!came) return say_error(came.error());
      if (!*came) return 1;  // the time is over
      if (std::ranges::find(*states, **came) != states->end()) return 0;
    } else if (!wait.error().is_errno(ECONNREFUSED) && !wait.error().is_errno(ECONNRESET)) {
      return say_error(wait.error());
    } else if (std::ranges::find(*states, State::stopped) != states->end()) {
      return 0;
    }
    // Nobody is there, and nothing tells when somebody is.
    if (left() == milliseconds{0}) return 1;
    std::this_thread::sleep_for(milliseconds{20});
  }
}

}  // namespace

const Tool lxc_wait = {
    .name = "lxc-wait",
    .synopsis = "-n NAME -s STATE[|STATE...] [-t SECONDS]",
    .brief = "Waits until a container is in one of some states.",
    .options = options,
    .more = "Exit status: 0; 1 when the time is over, or a word is no state.",
    .run = &run,
};
