// The sync protocol of a launch, seen from the host, as a table with no I/O: (state, event) ->
// (state, actions). It is total: every event in every state has an answer, a wrong one is a
// protocol error.
//
//   Transition t = next(State::setting_up, Event::configure);
//   t.state == State::configuring; t.actions.has(Action::do_configure);
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "condroid/flags.hpp"

namespace condroid {
inline namespace v0 {
namespace protocol {

/// How far a launch has come.
enum class State : std::uint8_t {
  planned,     ///< Nothing was done yet.
  cloning,     ///< The zygote was asked for a process.
  setting_up,  ///< The child works on its ops.
  /// The child waits for `post_configure`: id maps, network, mounts of the host's making.
  configuring,
  limiting,   ///< The child waits for `post_cgroup`.
  stopped,    ///< The child waits before the op that stop_before named.
  executing,  ///< The command was executed; the last things on the host's side are done.
  running,    ///< Done: there is a Container. An end state.
  ending,     ///< Something failed: the child is killed, its exit record is awaited for a while.
  failed,     ///< Done: there is an Error and nothing else. An end state.
};
inline constexpr std::size_t state_count = 10;

/// What happens to a launch.
enum class Event : std::uint8_t {
  start,         ///< The caller wants it; what goes before the clone is done.
  configure,     ///< The child's message.
  configured,    ///< The host's ops of that barrier are done.
  cgroup,        ///< The child's message.
  limited,       ///< The host's ops of that barrier are done.
  ptys,          ///< The child's message: masters of its terminals, or its filter's listener.
  reached_stop,  ///< The child's message: it is where stop_before said.
  resume,        ///< The caller lets it go on.
  started,       ///< The small init's message: the command was executed.
  /// End of file, and the last mark is `exec` without an error: the command was executed.
  closed_by_exec,
  closed_failed,  ///< End of file, and the result page tells a failed op.
  closed_early,   ///< End of file otherwise: the child vanished.
  exited,         ///< The zygote's exit record.
  refused,        ///< The zygote could not clone.
  finished,       ///< The host's last ops (release, callbacks) are done.
  op_failed,      ///< An op of the host failed.
  garbage,        ///< A message that is none.
  zygote_lost,    ///< The zygote is dead.
  deadline,
  cancel,
};
inline constexpr std::size_t event_count = 20;

enum class Action : std::uint32_t {
  send_clone = 1U << 0U,
  do_configure = 1U << 1U,
  send_post_configure = 1U << 2U,
  do_limits = 1U << 3U,
  send_post_cgroup = 1U << 4U,
  keep_ptys = 1U << 5U,
  tell_stopped = 1U << 6U,
  send_resume = 1U << 7U,
  do_finish = 1U << 8U,  ///< Release what was pinned, run the callback for `started`.
  tell_running = 1U << 9U,
  keep_error = 1U << 10U,  ///< The first error of a launch is the one that is reported.
  kill = 1U << 11U,        ///< SIGKILL to the child, and close the sync socket.
  /// Nothing was cloned, or nobody else will do it: undo the host's ops here.
  undo = 1U << 12U,
  tell_failed = 1U << 13U,
};

}  // namespace protocol

template <>
struct is_flag_enum<protocol::Action> : std::true_type {};

namespace protocol {

struct Transition {
  State state = State::failed;
  Flags<Action> actions = {};
  bool error = false;  ///< The event was wrong in that state: a protocol error.
};

namespace detail {
using Table = std::array<std::array<Transition, event_count>, state_count>;

/// The table. What is not set here is a protocol error: the child, if any, is killed and the launch
/// ends.
[[nodiscard]] constexpr Table make_table() {
  Table t{};
  // Written out, not left to Transition's default members: g++ 12 forgets them in most rows of
  // nested arrays, at run time and in the table that it emits (though not in a static_assert).
  for (auto& row : t)
    for (Transition& wrong : row) wrong = {State::ending, Action::keep_error | Action::kill, true};
  const auto set = [&t](State from, Event on, State to, Flags<Action> actions) {
    t[static_cast<std::size_t>(from)][static_cast<std::size_t>(on)] =
        Transition{to, actions, false};
  };
  using enum State;
  using enum Event;
  const Flags<Action> give_up = Action::keep_error | Action::kill;

  // There is no child yet whose end could be awaited.
  for (Transition& unexpected : t[static_cast<std::size_t>(planned)])
    unexpected = {failed, Action::keep_error | Action::undo | Action::tell_failed, true};
  set(planned, start, cloning, Action::send_clone);
  for (const Event e : {op_failed, cancel, deadline, zygote_lost})
    set(planned, e, failed, Action::keep_error | Action::undo | Action::tell_failed);

  // The first message of the child proves that it was cloned; nothing waits for the zygote's word.
  for (const State s : {cloning, setting_up}) {
    set(s, configure, configuring, Action::do_configure);
    set(s, cgroup, limiting, Action::do_limits);
    set(s, ptys, setting_up, Action::keep_ptys);
    set(s, Event::reached_stop, State::stopped, Action::tell_stopped);
    set(s, started, executing, Action::do_finish);
    set(s, closed_by_exec, executing, Action::do_finish);
  }
  set(configuring, configured, setting_up, Action::send_post_configure);
  set(limiting, limited, setting_up, Action::send_post_cgroup);
  set(State::stopped, resume, setting_up, Action::send_resume);
  set(executing, finished, running, Action::tell_running);
  // With the small init the channel stays; without it, its end is expected.
  set(executing, exited, executing, {});

  for (const State s : {cloning, setting_up, configuring, limiting, State::stopped, executing}) {
    for (const Event e : {closed_failed, closed_early, op_failed, garbage, deadline, cancel})
      set(s, e, ending, give_up);
    set(s, zygote_lost, failed,
        Action::keep_error | Action::kill | Action::undo | Action::tell_failed);
  }
  for (const State s : {setting_up, configuring, limiting, State::stopped})
    set(s, exited, failed, Action::keep_error | Action::tell_failed);
  set(cloning, exited, failed, Action::keep_error | Action::tell_failed);
  set(cloning, refused, failed, Action::keep_error | Action::undo | Action::tell_failed);

  set(ending, exited, failed, Action::tell_failed);
  set(ending, refused, failed, Action::undo | Action::tell_failed);
  set(ending, zygote_lost, failed, Action::undo | Action::tell_failed);
  for (const Event e :
       {configure, configured, cgroup, limited, ptys, Event::reached_stop, resume, started,
        closed_by_exec, closed_failed, closed_early, finished, op_failed, garbage, cancel})
    set(ending, e, ending, {});
  // The time for its end. Who cannot die is left to the zygote, which undoes when he has.
  set(ending, deadline, failed, Action::tell_failed);

  // End states take everything and do nothing.
  for (const State s : {running, failed})
    for (std::size_t e = 0; e < event_count; ++e) set(s, static_cast<Event>(e), s, {});
  return t;
}
inline constexpr Table table = make_table();
}  // namespace detail

/// What follows from an event. Pure.
[[nodiscard]] constexpr Transition next(State state, Event event) noexcept {
  return detail::table[static_cast<std::size_t>(state)][static_cast<std::size_t>(event)];
}

[[nodiscard]] std::string_view to_string(State state) noexcept;
[[nodiscard]] std::string_view to_string(Event event) noexcept;

}  // namespace protocol
}  // namespace v0
}  // namespace condroid
