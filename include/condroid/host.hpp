// Host: what of all that containers are made of works here, for this user, and what mends the rest.
// Each line is what came of trying it, never of a version or of a file that is there.
//
//   const HostReport report = Host::report();
//   if (!report.can_launch()) fmt::print(stderr, "{}", to_text(report));
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/runtime.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {

/// What came of one attempt. Plain data.
struct Finding {
  enum Outcome : std::uint8_t {
    works,
    refused,  ///< The kernel has it, but not for this user: EPERM, EACCES.
    fails,    ///< It is not there, or does not do what it should.
    unknown,  ///< It could not be tried.
  };
  std::string id = {};     ///< Stays the same from release to release: "ns.user", "cgroup.v1.pids".
  std::string group = {};  ///< "namespaces"
  std::string what = {};   ///< In words: "user namespace".
  Outcome outcome = unknown;
  /// Of what works: how ("in a user namespace"), or empty. Else the step and the reason.
  std::string why = {};
  /// A command or setting that mends it; empty when there is none, or none is needed.
  std::string mend = {};
  bool operator==(const Finding&) const = default;
};

/// "works", "refused", "fails", "unknown".
[[nodiscard]] std::string_view to_string(Finding::Outcome outcome) noexcept;

struct HostReport {
  std::string kernel = {};   ///< "6.18.0-amd64"
  std::string machine = {};  ///< "x86_64"
  Uid uid = {};
  std::string user = {};                 ///< Its name; may be empty.
  std::vector<Finding> findings = {};    ///< By group, in the order in which they are read best.
  std::chrono::milliseconds elapsed{0};  ///< How long it took.

  /// Whether a plain container was launched.
  [[nodiscard]] bool can_launch() const noexcept;
  /// The finding of that id; nullptr when it was not tried (a controller that is nowhere).
  [[nodiscard]] const Finding* find(std::string_view id) const noexcept;
};

struct HostOptions {
  RuntimeOptions runtime = {};  ///< Of the Runtime that the attempts are made with.
  /// What was not tried by then is `unknown`.
  std::chrono::milliseconds deadline{30000};
};

class Host {
 public:
  /// Tries everything, each in a throwaway process below a zygote; some tenths of a second. The
  /// calling program is never forked, and nothing of the attempts remains (the kernel may have
  /// loaded modules that they needed). What goes wrong is itself a finding. Thread-safe.
  [[nodiscard]] static HostReport report(HostOptions options = {});
};

/// How a report is written for people.
struct TextStyle {
  unsigned width = 80;    ///< Columns, 40 at least.
  bool colour = false;    ///< With the escapes of a terminal.
  bool problems = false;  ///< Only what does not work.
};

/// A table: a line for each finding, below it the reason and what mends it.
[[nodiscard]] std::string to_text(const HostReport& report, TextStyle style = {});
/// One object: "kernel", "machine", "uid", "user", "can_launch", "elapsed_ms", and "findings" with
/// the members of Finding as strings. ASCII only.
[[nodiscard]] std::string to_json(const HostReport& report);

}  // namespace v0
}  // namespace condroid
