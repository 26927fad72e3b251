#include "condroid/control/commands.hpp"

#include <array>

#include "formatted.hpp"

namespace condroid::inline v0::control {

namespace {

constexpr std::array<std::string_view, state_count> names{
    "STOPPED", "STARTING", "RUNNING", "STOPPING", "ABORTING", "FREEZING", "FROZEN", "THAWED"};

/// FNV-1a of 64 bits.
std::uint64_t hash(std::string_view text) {
  std::uint64_t h = 0xcbf29ce484222325U;
  for (const char c : text) {
    h ^= static_cast<unsigned char>(c);
    h *= 0x100000001b3U;
  }
  return h;
}

}  // namespace

std::string_view to_string(State state) noexcept {
  const auto i = static_cast<std::size_t>(state);
  return i < names.size() ? names[i] : "UNKNOWN";
}

std::optional<State> state_of(std::string_view name) noexcept {
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return static_cast<State>(i);
  return {};
}

std::string command_address(std::string_view lxcpath, std::string_view name) {
  std::string plain = formatted("{}/{}/command", lxcpath, name);
  constexpr std::size_t room = 106;
  if (plain.size() < room) return plain;
  return formatted("lxc/{:016x}/command", hash(formatted("{}/{}", lxcpath, name)));
}

std::string monitor_address(std::string_view lxcpath) {
  return formatted("lxc/{:016x}/{}", hash(formatted("lxc/{}/monitor-sock", lxcpath)), lxcpath);
}

std::string monitor_fifo(std::string_view run, std::string_view lxcpath) {
  return formatted("{}/lxc/{}/monitor-fifo", run, lxcpath);
}

}  // namespace condroid::inline v0::control
