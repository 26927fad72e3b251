// What holds for a launch to which anything happens in any order: every event is answered, the
// first thing that goes wrong ends it, what was made is undone once, the caller is told once, and
// an end is an end. Used by the fuzz target and, with its seeds, by a unit test.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "condroid/launch/protocol.hpp"

namespace protocol_property {

namespace protocol = condroid::protocol;
using protocol::Action;
using protocol::Event;
using protocol::State;

/// Each byte is an event: 'a' is the first. Control characters are none, so that a seed is a file
/// of text.
inline std::optional<Event> event_of(char byte) {
  const auto value = static_cast<unsigned char>(byte);
  if (value < ' ') return {};
  return static_cast<Event>((value + 2 * protocol::event_count - 'a' % protocol::event_count) %
                            protocol::event_count);
}

/// A launch, and what its host was asked to do.
class Launch {
 public:
  /// Empty when all holds that must, otherwise what does not.
  std::string feed(Event event) {
    const State before = state_;
    const protocol::Transition t = protocol::next(before, event);
    trace_ += std::string(trace_.empty() ? "" : ", ").append(to_string(event));
    state_ = t.state;
    const auto has = [&](Action a) { return t.actions.has(a); };
    const auto broken = [&](std::string_view what) {
      return std::string(what) + ": " + std::string(to_string(before)) + " to " +
             std::string(to_string(t.state)) + " by " + trace_;
    };

    if (static_cast<std::size_t>(t.state) >= protocol::state_count) return broken("no such state");
    if (before == State::running || before == State::failed) {
      if (t.state != before || !t.actions.empty() || t.error) return broken("an end that is none");
      return {};
    }

    // What went wrong is kept before it is told, and nothing leads back from it.
    const bool lost = t.state == State::ending || t.state == State::failed;
    if (t.error && !lost) return broken("a protocol error that leads on");
    if (t.error && !has(Action::keep_error)) return broken("a protocol error that is not kept");
    if (t.error && !has(Action::kill) && !has(Action::undo))
      return broken("a protocol error after which something may be left");
    if (before == State::ending && !lost) return broken("a way back");
    if (has(Action::keep_error)) kept_ = true;
    if (lost && !kept_) return broken("an end without an error");
    if (lost != (has(Action::keep_error) || before == State::ending))
      return broken("an error that ends nothing");

    // There is a child from the clone on; its end is awaited, or nobody is left to tell of it.
    if (has(Action::send_clone) && cloned_) return broken("cloned twice");
    if (has(Action::send_clone)) cloned_ = true;
    if (has(Action::kill) && !cloned_) return broken("killed what is not there");
    if (has(Action::kill)) killed_ = true;
    if (t.state == State::ending && !killed_)
      return broken("waits for the end of a child that lives");
    if (has(Action::undo) && undone_) return broken("undone twice");
    if (has(Action::undo)) undone_ = true;
    if (has(Action::undo) && cloned_ && event == Event::exited)
      return broken("undone by host and zygote");

    // The child is answered when it asked, once.
    if (has(Action::do_configure) || has(Action::do_limits) || has(Action::tell_stopped)) {
      if (asked_) return broken("two questions of the child at once");
      asked_ = true;
    }
    if (has(Action::send_post_configure) || has(Action::send_post_cgroup) ||
        has(Action::send_resume)) {
      if (!asked_) return broken("an answer to no question");
      asked_ = false;
    }

    // One end, told once.
    const bool running = t.state == State::running;
    if (has(Action::tell_running) != running) return broken("running, and the caller is not told");
    if (has(Action::tell_failed) != (t.state == State::failed))
      return broken("failed, and the caller is not told");
    if (running && (kept_ || killed_ || undone_ || !cloned_ || asked_))
      return broken("a container after something went wrong");
    // Who could not die in time is the zygote's, with all that is to be undone then.
    const bool by_zygote =
        event == Event::exited || (before == State::ending && event == Event::deadline);
    if (t.state == State::failed && !undone_ && (!cloned_ || !by_zygote))
      return broken("failed, and something is left");
    return {};
  }
  [[nodiscard]] State state() const { return state_; }

 private:
  State state_ = State::planned;
  bool cloned_ = false, asked_ = false, kept_ = false, killed_ = false, undone_ = false;
  std::string trace_;
};

struct Outcome {
  std::string broken = {};       ///< What does not hold; empty when all does.
  State state = State::planned;  ///< Where the events have led.
};

inline Outcome check(std::string_view bytes) {
  Launch launch;
  for (const char byte : bytes) {
    const std::optional<Event> event = event_of(byte);
    if (!event) continue;
    if (std::string wrong = launch.feed(*event); !wrong.empty()) return {wrong, launch.state()};
  }
  // Wherever it is: the caller loses patience and the zygote has its last word, one of these.
  for (const Event last : {Event::exited, Event::refused, Event::zygote_lost}) {
    Launch end = launch;
    for (const Event event : {Event::cancel, last})
      if (std::string wrong = end.feed(event); !wrong.empty()) return {wrong, end.state()};
    if (end.state() != State::running && end.state() != State::failed)
      return {"it does not end: " + std::string(to_string(end.state())), end.state()};
  }
  return {{}, launch.state()};
}

}  // namespace protocol_property
