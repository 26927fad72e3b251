// Errors: what went wrong, at which step, to which object, and what the reader might try.
//
//   Result<Fd> fd = open_somewhere();
//   if (!fd) return fail(fd);                // hands the Error on
//   fmt::print(stderr, "{}\n", fd.error());  // attach mount: bind '/a' -> guest '/b': ... (EPERM)
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "condroid/step.hpp"

namespace condroid {
inline namespace v0 {

/// condroid's own conditions, beside the errno values of the system category.
enum class Errc : std::uint8_t {
  bad_spec = 1,    ///< The Spec contradicts itself or asks for what cannot be.
  unsupported,     ///< This kernel, user or machine cannot do what was asked.
  child_vanished,  ///< The container's process died before it executed its command.
  zygote_lost,     ///< The zygote died or never came up.
  protocol,        ///< A message that the sync protocol does not allow here.
  deadline,        ///< The caller's deadline passed.
  cancelled,       ///< The caller gave the launch up.
  /// Runtime::launch met LaunchOptions::stop_before where only Launch::resume goes on.
  stopped,
  in_forked_child,  ///< The handle belongs to another process: this one is a fork of it.
  hook_failed,      ///< A program of the caller's ended badly, or not in its time.
  bad_text,         ///< Text of a Spec, or the name of a step, that does not parse.
};

/// The category of Errc. Thread-safe.
[[nodiscard]] const std::error_category& condroid_category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(Errc e) noexcept {
  return {static_cast<int>(e), condroid_category()};
}

/// One failure. Plain data: copy it, compare its parts, print it with fmt.
struct Error {
  std::error_code code;    ///< errno in the system category, or an Errc.
  Step step = Step::none;  ///< Where in the launch.
  std::string subject;     ///< To what: "bind '/tmp/work' -> guest '/work'".
  std::string hint;        ///< What the reader might try; empty when we do not know.
  /// Further refusals of the same Spec or text, or what could not be undone.
  std::vector<std::string> also;

  /// The errno, or 0 when the code is condroid's own.
  [[nodiscard]] int errnum() const noexcept;
  [[nodiscard]] bool is(Errc e) const noexcept { return code == make_error_code(e); }
  [[nodiscard]] bool is_errno(int e) const noexcept { return errnum() == e; }
};

template <class T>
using Result = tl::expected<T, Error>;

/// Makes an Error out of an errno value; the hint is looked up in the table of hints.
[[nodiscard]] Error sys_error(int errnum, Step step, std::string subject);
/// Makes an Error of condroid's own.
[[nodiscard]] Error make_error(Errc code, Step step, std::string subject, std::string hint = {});

/// Hands a failed Result on as the failure of another type: `if (!x) return fail(x);`
template <class T>
[[nodiscard]] tl::unexpected<Error> fail(Result<T>& failed) {
  return tl::unexpected<Error>(std::move(failed).error());
}
template <class T>
[[nodiscard]] tl::unexpected<Error> fail(Result<T>&& failed) {
  return tl::unexpected<Error>(std::move(failed).error());
}
[[nodiscard]] inline tl::unexpected<Error> fail(Error error) {
  return tl::unexpected<Error>(std::move(error));
}
[[nodiscard]] inline tl::unexpected<Error> fail(int errnum, Step step, std::string subject) {
  return tl::unexpected<Error>(sys_error(errnum, step, std::move(subject)));
}
[[nodiscard]] inline tl::unexpected<Error> fail(Errc code, Step step, std::string subject,
                                                std::string hint = {}) {
  return tl::unexpected<Error>(make_error(code, step, std::move(subject), std::move(hint)));
}

/// What a reader might try after this errno at this step; empty when we do not know.
[[nodiscard]] std::string_view hint_for(Step step, int errnum) noexcept;

/// The symbolic name of an errno value ("EPERM"), or "" when unknown. Thread-safe.
[[nodiscard]] std::string_view errno_name(int errnum) noexcept;

/// "step: subject: message (ENAME); hint: ...; also: ...": one line, lower case, no full stop.
/// Whatever names are in it: what cannot be seen, the end of a line, too, is written as "\x1b".
[[nodiscard]] std::string to_string(const Error& error);

}  // namespace v0
}  // namespace condroid

template <>
struct std::is_error_code_enum<condroid::Errc> : std::true_type {};

template <>
struct fmt::formatter<condroid::Error> {
  constexpr auto parse(fmt::format_parse_context& ctx) { return ctx.begin(); }
  template <class Context>
  auto format(const condroid::Error& e, Context& ctx) const {
    return fmt::format_to(ctx.out(), "{}", condroid::to_string(e));
  }
};
