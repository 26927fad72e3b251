// docs/protocol.md, drawn from the table of the sync protocol.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "condroid/launch/protocol.hpp"

namespace condroid::test {

/// An action in words. Without a default, so that a new one asks for its words here.
inline std::string_view words(protocol::Action action) {
  using enum protocol::Action;
  switch (action) {
    case send_clone:
      return "send the program, ask the zygote for a process";
    case do_configure:
      return "do the host's ops of the barrier";
    case send_post_configure:
      return "callback `configured`, answer the child";
    case do_limits:
      return "do the host's ops of the barrier";
    case send_post_cgroup:
      return "callback `set_up`, answer the child";
    case keep_ptys:
      return "keep the descriptors";
    case tell_stopped:
      return "tell the caller that it is stopped";
    case send_resume:
      return "let the child go on";
    case do_finish:
      return "make the Container, callback `started`";
    case tell_running:
      return "hand out the Container";
    case keep_error:
      return "keep the error";
    case kill:
      return "kill the child";
    case undo:
      return "undo the host's ops";
    case tell_failed:
      return "report the error";
  }
  return {};
}

inline std::string words(Flags<protocol::Action> actions) {
  std::string text;
  for (std::uint32_t bit = 1; bit != 0; bit <<= 1U) {
    const auto action = static_cast<protocol::Action>(bit);
    if (!actions.has(action)) continue;
    if (!text.empty()) text += "; ";
    text += words(action);
  }
  return text.empty() ? "nothing" : text;
}

inline std::string identifier(protocol::State state) {
  std::string text(to_string(state));
  for (char& c : text)
    if (c == ' ') c = '_';
  return text;
}

inline std::string protocol_page() {
  using namespace protocol;
  std::string out;
  const auto put = std::back_inserter(out);
  out +=
      "# The sync protocol\n"
      "\n"
      "<!-- Drawn from include/condroid/launch/protocol.hpp by `meson compile update-docs`; a unit "
      "test compares. -->\n"
      "\n"
      "What a launch waits for, what can happen to it and what follows, as the host sees it. The "
      "child, the zygote and the caller\n"
      "each cause events; the host acts. The table is total: an event that a state does not name "
      "is a "
      "protocol error, which kills\n"
      "the child and ends the launch. Nothing in it does I/O; `src/launch/engine.cpp` does.\n"
      "\n"
      "Two kinds of launch use a part of it. An attached process has nothing to configure: it goes "
      "from cloning to executing at once. A\n"
      "container of a pool stops before the op `park` and stays there, `stopped` like one that a "
      "debugger stopped; what resumes it is not the\n"
      "word alone but a second program with its descriptors, and from there on it goes as ever.\n"
      "\n"
      "## Where it goes when nothing fails\n"
      "\n"
      "```mermaid\n"
      "stateDiagram-v2\n";
  for (std::size_t s = 0; s < state_count; ++s) {
    const auto state = static_cast<State>(s);
    if (identifier(state) != to_string(state))
      fmt::format_to(put, "  state \"{}\" as {}\n", to_string(state), identifier(state));
  }
  out += "  [*] --> planned\n";
  for (std::size_t s = 0; s < state_count; ++s) {
    const auto from = static_cast<State>(s);
    std::map<State, std::string> edges;
    for (std::size_t e = 0; e < event_count; ++e) {
      const Transition t = next(from, static_cast<Event>(e));
      const bool good =
          !t.error && !t.actions.has(Action::keep_error) && !(t.state == from && t.actions.empty());
      if (!good) continue;
      std::string& label = edges[t.state];
      if (!label.empty()) label += ", ";
      label += to_string(static_cast<Event>(e));
    }
    for (const auto& [to, label] : edges)
      fmt::format_to(put, "  {} --> {}: {}\n", identifier(from), identifier(to), label);
  }
  out +=
      "  running --> [*]\n"
      "  failed --> [*]\n"
      "```\n"
      "\n"
      "What fails leads to `ending`, where the exit of the killed child is awaited, or, when there "
      "is no child or nobody to\n"
      "tell of its end, to `failed` at once. A child that cannot die (a cgroup above it is frozen, "
      "or "
      "the kernel keeps it) is\n"
      "left to the zygote after ten seconds: the deadline of `ending`.\n"
      "\n"
      "## Everything\n"
      "\n"
      "Rows with the same answer share a line.\n";
  for (std::size_t s = 0; s < state_count; ++s) {
    const auto from = static_cast<State>(s);
    fmt::format_to(put, "\n### {}\n\n", to_string(from));
    // In order of the first event that has that answer; protocol errors last.
    std::vector<std::pair<Transition, std::string>> rows;
    const auto same = [](const Transition& a, const Transition& b) {
      return a.state == b.state && a.actions == b.actions && a.error == b.error;
    };
    Transition wrong;
    for (std::size_t e = 0; e < event_count; ++e) {
      const Transition t = next(from, static_cast<Event>(e));
      if (t.error) {
        wrong = t;
        continue;
      }
      auto row = rows.begin();
      while (row != rows.end() && !same(row->first, t)) ++row;
      if (row == rows.end()) row = rows.insert(row, {t, {}});
      if (!row->second.empty()) row->second += ", ";
      row->second += to_string(static_cast<Event>(e));
    }
    std::size_t answered = 0;
    for (std::size_t e = 0; e < event_count; ++e)
      if (!next(from, static_cast<Event>(e)).error) ++answered;
    if (answered == event_count && rows.size() == 1 && rows[0].first.state == from) {
      out += "An end: whatever else comes changes nothing.\n";
      continue;
    }
    out += "| event | then | actions |\n|---|---|---|\n";
    for (const auto& [t, events] : rows)
      fmt::format_to(put, "| {} | {} | {} |\n", events, to_string(t.state), words(t.actions));
    if (answered < event_count)
      fmt::format_to(put, "| anything else: a protocol error | {} | {} |\n", to_string(wrong.state),
                     words(wrong.actions));
  }
  return out;
}

}  // namespace condroid::test
