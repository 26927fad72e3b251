// SystemdScope: whether a Runtime's containers are put below a cgroup that systemd made for them, a
// scope with Delegate=yes; systemd.scope(5), docs/limits.md.
//
//   auto runtime = Runtime::open({.systemd = {.use = SystemdScope::required}});
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace condroid {
inline namespace v0 {

/// Asked for once, by Runtime::open, over the message bus: root asks the system's systemd, others,
/// and root of a user namespace, the user's own (`systemd --user`). Plain data.
struct SystemdScope {
  enum Use : std::uint8_t {
    never,        ///< Nobody is asked.
    when_needed,  ///< Where this user has no cgroup otherwise whose controllers may be handed on.
    preferred,    ///< Wherever systemd answers; else as with `never`.
    required,     ///< Else Runtime::open is an error.
  };
  Use use = when_needed;
  /// The slice that it is put in, "batch.slice". Empty: systemd's choice, system.slice or
  /// app.slice.
  std::string slice = {};
  /// How long all of the bus's and systemd's answers may take together.
  std::chrono::milliseconds patience{2000};
  bool operator==(const SystemdScope&) const = default;
};

/// What came of it. Plain data.
struct ScopeOutcome {
  std::string unit = {};     ///< "condroid-0123456789ab.scope"; empty: there is none.
  std::string why_not = {};  ///< One line; empty when there is one, or none was asked for.
  bool operator==(const ScopeOutcome&) const = default;
};

}  // namespace v0
}  // namespace condroid
