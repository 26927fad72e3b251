#include "condroid/run.hpp"

#include <algorithm>
#include <csignal>
#include <optional>
#include <utility>

#include "formatted.hpp"

namespace condroid {
inline namespace v0 {

namespace {

using Clock = std::chrono::steady_clock;

Result<void> check(std::chrono::milliseconds deadline) {
  if (deadline.count() > 0) return {};
  return fail(Errc::bad_spec, Step::wait, formatted("a deadline of {} ms", deadline.count()),
              "give it the time that the command may take");
}

/// What nobody sees is not printed; what is asked for is.
Stdio captured(Stdio stdio) {
  if (stdio.in.kind == Stream::inherit) stdio.in = Stream::null;
  if (stdio.out.kind == Stream::inherit) stdio.out = Stream::capture;
  if (stdio.err.kind == Stream::inherit) stdio.err = Stream::capture;
  return stdio;
}

Result<RunResult> finish(Result<Container> box, Clock::time_point began,
                         std::chrono::milliseconds deadline) {
  if (!box) return fail(box);
  RunResult result;
  const auto started = Clock::now();
  result.launch_time = started - began;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(began + deadline - started);
  auto ended = box->wait_for(std::max(left, std::chrono::milliseconds{0}));
  if (!ended) return fail(ended);
  result.timed_out = !*ended;
  if (result.timed_out) {
    auto killed = box->stop({.signal = Signal{SIGKILL}, .patience = std::chrono::milliseconds{0}});
    if (!killed) return fail(killed);
    result.exit = std::move(*killed);
  } else {
    result.exit = std::move(**ended);
  }
  result.run_time = Clock::now() - started;
  return result;
}

}  // namespace

Result<RunResult> run(const Runtime& runtime, const Spec& spec,
                      std::chrono::milliseconds deadline) {
  if (auto ok = check(deadline); !ok) return fail(ok);
  const auto began = Clock::now();
  Spec silent = spec;
  silent.process.stdio = captured(spec.process.stdio);
  return finish(runtime.launch(silent, {.deadline = deadline}), began, deadline);
}

Result<RunResult> run(Pool& pool, const Take& what, std::chrono::milliseconds deadline) {
  if (auto ok = check(deadline); !ok) return fail(ok);
  const auto began = Clock::now();
  Take silent = what;
  silent.stdio = captured(what.stdio.value_or(pool.spec().process.stdio));
  return finish(pool.take(silent, {.deadline = deadline}), began, deadline);
}

std::string to_string(const RunResult& r) {
  const double ms = std::chrono::duration<double, std::milli>(r.launch_time + r.run_time).count();
  return r.timed_out ? formatted("timed out after {:.1f} ms: {}", ms, r.exit)
                     : formatted("{} after {:.1f} ms", r.exit, ms);
}

}  // namespace v0
}  // namespace condroid
