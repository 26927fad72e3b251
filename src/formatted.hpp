// Text from a pattern and values. Private.
#pragma once

#include <fmt/core.h>

#include <string>
#include <utility>

namespace condroid::inline v0 {

namespace detail {
[[nodiscard]] std::string formatted_text(fmt::string_view pattern, fmt::format_args values);
void append_text(std::string& to, fmt::string_view pattern, fmt::format_args values);
}  // namespace detail

/// As fmt::format(), and the pattern is checked by the compiler as there; but what does the work is
/// compiled once (formatted.cpp), rather than in every file: fmt is headers alone here.
template <class... T>
[[nodiscard]] std::string formatted(fmt::format_string<T...> pattern, T&&... values) {
  return detail::formatted_text(pattern, fmt::make_format_args(values...));
}
/// As fmt::format_to(), at the end of a string.
template <class... T>
void append_formatted(std::string& to, fmt::format_string<T...> pattern, T&&... values) {
  detail::append_text(to, pattern, fmt::make_format_args(values...));
}

}  // namespace condroid::inline v0
