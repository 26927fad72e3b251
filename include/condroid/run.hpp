// run(): one command in a throwaway container, from nothing to its result.
//
//   auto result = run(runtime, spec, std::chrono::seconds{10});
//   if (!result) { fmt::print(stderr, "{}\n", result.error()); return 1; }
//   fmt::print("{}: {}", result->exit, result->exit.out);
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <string>

#include "condroid/container.hpp"
#include "condroid/error.hpp"
#include "condroid/pool.hpp"
#include "condroid/runtime.hpp"
#include "condroid/spec.hpp"

namespace condroid {
inline namespace v0 {

/// What became of a command. The container is gone, with everything in it.
struct RunResult {
  Exit exit = {};          ///< How it ended, what it printed, what it used.
  bool timed_out = false;  ///< It was killed at the deadline; `exit` tells how far it came.
  /// From the call to the command's first instruction.
  std::chrono::nanoseconds launch_time{0};
  /// From there until nothing of it was left.
  std::chrono::nanoseconds run_time{0};

  /// It ended by itself, in time, with status 0.
  [[nodiscard]] bool success() const noexcept { return !timed_out && exit.success(); }
};

/// "exited with status 3 after 12.3 ms", "timed out after 1000.0 ms: killed by signal 9 (SIGKILL)".
[[nodiscard]] std::string to_string(const RunResult& result);

/// Launches, waits for the end, at most until `deadline` from now, and gives what there is to tell.
/// Of streams that are left at Stream::inherit standard input is empty, and output is captured,
/// each to Process::capture_limit. Blocks. Thread-safe.
/// @errors those of a launch, Errc::deadline among them: then the command was not executed.
/// Errc::bad_spec for a deadline of zero or less. Errc::deadline of Step::kill: it was killed, and
/// could not die within ten seconds (Container::stop).
[[nodiscard]] Result<RunResult> run(const Runtime& runtime, const Spec& spec,
                                    std::chrono::milliseconds deadline);
/// The same in a container of a pool.
[[nodiscard]] Result<RunResult> run(Pool& pool, const Take& what,
                                    std::chrono::milliseconds deadline);

}  // namespace v0
}  // namespace condroid

template <>
struct fmt::formatter<condroid::RunResult> {
  constexpr auto parse(fmt::format_parse_context& ctx) { return ctx.begin(); }
  template <class Context>
  auto format(const condroid::RunResult& r, Context& ctx) const {
    return fmt::format_to(ctx.out(), "{}", condroid::to_string(r));
  }
};
