#include "condroid/launch/protocol.hpp"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../fuzz/protocol_property.hpp"
#include "catch.hpp"
#include "protocol_page.hpp"

namespace {

using namespace condroid::protocol;
using condroid::Flags;

std::vector<State> states() {
  std::vector<State> all;
  for (std::size_t s = 0; s < state_count; ++s) all.push_back(static_cast<State>(s));
  return all;
}
std::vector<Event> events() {
  std::vector<Event> all;
  for (std::size_t e = 0; e < event_count; ++e) all.push_back(static_cast<Event>(e));
  return all;
}
bool is_end(State s) { return s == State::running || s == State::failed; }

/// Events after which a launch cannot become a Container.
constexpr auto failures =
    std::to_array({Event::closed_failed, Event::closed_early, Event::op_failed, Event::garbage,
                   Event::zygote_lost, Event::deadline, Event::cancel});
/// What the zygote's exit socket has to say in the end: one of them always comes, since its end of
/// file is `zygote_lost`.
constexpr auto last_words = std::to_array({Event::exited, Event::refused, Event::zygote_lost});

/// A launch, and what was done for it.
struct Trace {
  State state = State::planned;
  Flags<Action> done = {};
  bool child_undone_by_zygote = false;
  std::string text = "planned";

  Transition feed(Event e) {
    const State before = state;
    const Transition t = next(before, e);
    if (!is_end(before) && before != State::planned && e == Event::exited)
      child_undone_by_zygote = true;
    if (before == State::ending && e == Event::deadline) child_undone_by_zygote = true;
    state = t.state;
    done |= t.actions;
    text += " -(";
    text += to_string(e);
    text += ")-> ";
    text += to_string(state);
    return t;
  }
};

std::string name(State s, Event e) {
  return std::string(to_string(e)) + " while " + std::string(to_string(s));
}

}  // namespace

TEST_CASE("every state and event of a launch has a word of its own", "[launch]") {
  std::set<std::string_view> words;
  for (const State s : states()) words.insert(to_string(s));
  CHECK(words.size() == state_count);
  CHECK(to_string(State::planned) == "planned");
  CHECK(to_string(State::failed) == "failed");
  CHECK(to_string(static_cast<State>(state_count)) == "unknown");
  words.clear();
  for (const Event e : events()) words.insert(to_string(e));
  CHECK(words.size() == event_count);
  CHECK(to_string(Event::start) == "start");
  CHECK(to_string(Event::cancel) == "cancel");
  CHECK(to_string(static_cast<Event>(event_count)) == "unknown");
}

TEST_CASE("every event in every state of a launch has an answer", "[launch]") {
  for (const State s : states())
    for (const Event e : events()) {
      INFO(name(s, e));
      const Transition t = next(s, e);
      CHECK(static_cast<std::size_t>(t.state) < state_count);
      if (t.error) {
        // A protocol error never leads on.
        CHECK((t.state == State::ending || t.state == State::failed));
        CHECK(t.actions.has(Action::keep_error));
      }
    }
}

TEST_CASE("an event that a state does not know ends the launch as a protocol error", "[launch]") {
  for (const State s : states()) {
    if (is_end(s)) continue;
    // Both are nothing but the caller's own doing.
    const Event unknown = s == State::planned ? Event::resume : Event::start;
    const Transition t = next(s, unknown);
    INFO(name(s, unknown));
    CHECK(t.error);
    CHECK(t.state == (s == State::planned ? State::failed : State::ending));
    CHECK(t.actions.has(Action::keep_error));
    CHECK(t.actions.has(s == State::planned ? Action::undo : Action::kill));
  }
  std::size_t errors = 0;
  for (const State s : states())
    for (const Event e : events()) errors += next(s, e).error ? 1U : 0U;
  CHECK(errors >= 60);
}

TEST_CASE("nothing leads back to the beginning of a launch", "[launch]") {
  // How far each state is; a barrier, a stop and the work between them may alternate.
  const auto rank = [](State s) {
    switch (s) {
      case State::planned:
        return 0;
      case State::cloning:
        return 1;
      case State::setting_up:
      case State::configuring:
      case State::limiting:
      case State::stopped:
        return 2;
      case State::executing:
        return 3;
      case State::ending:
        return 4;
      case State::running:
      case State::failed:
        return 5;
    }
    return -1;
  };
  for (const State s : states())
    for (const Event e : events()) {
      INFO(name(s, e));
      CHECK(rank(next(s, e).state) >= rank(s));
    }
}

TEST_CASE("the end states of a launch take everything and do nothing", "[launch]") {
  for (const State s : {State::running, State::failed})
    for (const Event e : events()) {
      INFO(name(s, e));
      CHECK(next(s, e).state == s);
      CHECK(next(s, e).actions.empty());
      CHECK_FALSE(next(s, e).error);
    }
}

TEST_CASE("only the finished host makes a launch a container", "[launch]") {
  for (const State s : states())
    for (const Event e : events()) {
      if (s == State::running) continue;
      INFO(name(s, e));
      const Transition t = next(s, e);
      const bool good = s == State::executing && e == Event::finished;
      CHECK((t.state == State::running) == good);
      CHECK(t.actions.has(Action::tell_running) == good);
    }
}

TEST_CASE("what fails ends a launch, with its error kept and nothing left", "[launch]") {
  for (const State s : states())
    for (const Event e : failures) {
      if (is_end(s)) continue;
      const Transition t = next(s, e);
      INFO(name(s, e));
      if (s != State::ending) CHECK(t.actions.has(Action::keep_error));
      CHECK((t.state == State::ending || t.state == State::failed));
      if (t.state == State::ending && s != State::ending) CHECK(t.actions.has(Action::kill));
      // Whose end is waited for no longer is the zygote's, with all there is to undo.
      const bool left = s == State::ending && e == Event::deadline;
      if (t.state == State::failed) CHECK(t.actions.has(Action::undo) == !left);
    }
}

TEST_CASE("a launch that failed was told, and undone by the host or by the zygote", "[launch]") {
  for (const State s : states())
    for (const Event e : events()) {
      const Transition t = next(s, e);
      if (s == State::failed || t.state != State::failed) continue;
      INFO(name(s, e));
      CHECK(t.actions.has(Action::tell_failed));
      // The zygote undoes before it sends an exit record; otherwise there is nobody but the host.
      const bool by_zygote = e == Event::exited || (s == State::ending && e == Event::deadline);
      CHECK(t.actions.has(Action::undo) == (s == State::planned || !by_zygote));
      // The error was kept now, or on the way to `ending`.
      if (s != State::ending) CHECK(t.actions.has(Action::keep_error));
      // Where a child may live and its end was not told, it is killed.
      const bool child = s != State::planned && s != State::ending;
      if (child && e == Event::zygote_lost) CHECK(t.actions.has(Action::kill));
    }
}

TEST_CASE("nothing gets out of `ending` but the end", "[launch]") {
  for (const Event e : events()) {
    INFO(name(State::ending, e));
    const Transition t = next(State::ending, e);
    bool last = false;
    for (const Event l : last_words) last = last || e == l;
    last = last || e == Event::deadline;  // or the time for it is over
    CHECK(t.state == (last ? State::failed : State::ending));
  }
}

TEST_CASE("a launch goes from its start to a container", "[launch]") {
  using enum Event;
  struct Step {
    Event event;
    State then;
    Flags<Action> actions;
  };
  const std::vector<Step> shortest = {{start, State::cloning, Action::send_clone},
                                      {closed_by_exec, State::executing, Action::do_finish},
                                      {finished, State::running, Action::tell_running}};
  const std::vector<Step> everything = {
      {start, State::cloning, Action::send_clone},
      {configure, State::configuring, Action::do_configure},
      {configured, State::setting_up, Action::send_post_configure},
      {ptys, State::setting_up, Action::keep_ptys},
      {cgroup, State::limiting, Action::do_limits},
      {limited, State::setting_up, Action::send_post_cgroup},
      {reached_stop, State::stopped, Action::tell_stopped},
      {resume, State::setting_up, Action::send_resume},
      {started, State::executing, Action::do_finish},
      {exited, State::executing, {}},  // of a short command; the Container tells of it
      {finished, State::running, Action::tell_running}};
  for (const auto& path : {shortest, everything}) {
    State state = State::planned;
    for (const Step& step : path) {
      INFO(name(state, step.event));
      const Transition t = next(state, step.event);
      CHECK_FALSE(t.error);
      CHECK(t.state == step.then);
      CHECK(t.actions == step.actions);
      state = t.state;
    }
    CHECK(state == State::running);
  }
}

TEST_CASE("the answer to a barrier is sent once, and only when it was asked for", "[launch]") {
  for (const State s : states())
    for (const Event e : events()) {
      INFO(name(s, e));
      const Transition t = next(s, e);
      CHECK(t.actions.has(Action::send_post_configure) ==
            (s == State::configuring && e == Event::configured));
      CHECK(t.actions.has(Action::send_post_cgroup) ==
            (s == State::limiting && e == Event::limited));
      CHECK(t.actions.has(Action::send_resume) == (s == State::stopped && e == Event::resume));
      CHECK(t.actions.has(Action::send_clone) == (s == State::planned && e == Event::start));
    }
}

TEST_CASE("whatever happens in whatever order, a launch ends", "[launch]") {
  const auto seed = GENERATE(take(200, random(std::uint64_t{0}, ~std::uint64_t{0})));
  INFO("seed " << seed);
  std::mt19937_64 engine(seed);
  const auto below = [&](std::uint64_t n) { return engine() % n; };
  // Mostly what can be expected, so that the later states are met, too.
  constexpr auto likely = std::to_array(
      {Event::start, Event::configure, Event::configured, Event::cgroup, Event::limited,
       Event::ptys, Event::reached_stop, Event::resume, Event::started, Event::finished});
  const auto all = events();
  Trace trace;
  for (int i = 0; i < 400 && !is_end(trace.state); ++i) {
    Event e = below(30) == 0 ? all[below(all.size())] : likely[below(likely.size())];
    // Orderly most of the time: an event that the state does not know is drawn again.
    for (int k = 0; k < 50 && next(trace.state, e).error && below(20) != 0; ++k)
      e = likely[below(likely.size())];
    const State before = trace.state;
    const Transition t = trace.feed(e);
    if (t.error && !is_end(before)) CHECK((t.state == State::ending || t.state == State::failed));
  }
  // A caller loses patience, the zygote has its last word.
  if (!is_end(trace.state)) trace.feed(Event::cancel);
  if (!is_end(trace.state)) trace.feed(last_words[below(last_words.size())]);
  INFO(trace.text);
  REQUIRE(is_end(trace.state));
  CHECK(trace.done.has(Action::tell_running) == (trace.state == State::running));
  CHECK(trace.done.has(Action::tell_failed) == (trace.state == State::failed));
  if (trace.state == State::failed) {
    CHECK(trace.done.has(Action::keep_error));
    CHECK((trace.done.has(Action::undo) || trace.child_undone_by_zygote));
  } else {
    CHECK_FALSE(trace.done.any({Action::keep_error, Action::kill, Action::undo}));
    CHECK(trace.done.has(Action::send_clone));
    CHECK(trace.done.has(Action::do_finish));
  }
}

TEST_CASE("the seeds of the protocol fuzzer hold, and lead to every end", "[launch]") {
  const std::filesystem::path folder =
      std::filesystem::path(CONDROID_TESTS_DIR) / "fuzz" / "corpus" / "protocol";
  std::set<State> ends;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    INFO(entry.path());
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string seed{std::istreambuf_iterator<char>(in), {}};
    // Each beginning of it is a launch, too.
    for (std::size_t size = 0; size <= seed.size(); ++size) {
      const auto outcome = protocol_property::check(std::string_view(seed).substr(0, size));
      CHECK(outcome.broken == "");
      ends.insert(outcome.state);
    }
  }
  CHECK(ends.size() == state_count);
}

TEST_CASE("random events never break what holds for a launch", "[launch]") {
  const auto seed = GENERATE(take(100, random(std::uint64_t{0}, ~std::uint64_t{0})));
  INFO("seed " << seed);
  std::mt19937_64 engine(seed);
  std::string events(engine() % 40, ' ');
  // A start first, mostly: without it there is little to see.
  for (char& byte : events) byte = static_cast<char>('a' + engine() % event_count);
  if (!events.empty() && engine() % 10 != 0) events.front() = 'a';
  CHECK(protocol_property::check(events).broken == "");
}

TEST_CASE("docs/protocol.md is the table as it is", "[launch][docs]") {
  const std::filesystem::path path =
      std::filesystem::path(CONDROID_TESTS_DIR) / ".." / "docs" / "protocol.md";
  const std::string now = condroid::test::protocol_page();
  if (std::getenv("CONDROID_UPDATE_DOCS") != nullptr) {
    std::ofstream out(path, std::ios::binary);
    out << now;
    REQUIRE(out.flush());
  }
  std::ifstream in(path, std::ios::binary);
  const std::string written{std::istreambuf_iterator<char>(in), {}};
  INFO("run the target update-docs");
  CHECK((written == now));
}
