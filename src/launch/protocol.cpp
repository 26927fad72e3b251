#include "condroid/launch/protocol.hpp"

namespace condroid {
inline namespace v0 {
namespace protocol {

std::string_view to_string(State state) noexcept {
  static constexpr std::array<std::string_view, state_count> names = {
      "planned", "cloning",   "setting up", "configuring", "limiting",
      "stopped", "executing", "running",    "ending",      "failed"};
  const auto i = static_cast<std::size_t>(state);
  return i < names.size() ? names[i] : "unknown";
}

std::string_view to_string(Event event) noexcept {
  static constexpr std::array<std::string_view, event_count> names = {
      "start",         "configure",    "configured",  "cgroup",   "limited",
      "ptys",          "reached stop", "resume",      "started",  "closed by exec",
      "closed failed", "closed early", "exited",      "refused",  "finished",
      "op failed",     "garbage",      "zygote lost", "deadline", "cancel"};
  const auto i = static_cast<std::size_t>(event);
  return i < names.size() ? names[i] : "unknown";
}

}  // namespace protocol
}  // namespace v0
}  // namespace condroid
