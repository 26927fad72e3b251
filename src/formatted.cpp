#include "formatted.hpp"

#include <fmt/format.h>

#include <iterator>

namespace condroid::inline v0::detail {

std::string formatted_text(fmt::string_view pattern, fmt::format_args values) {
  return fmt::vformat(pattern, values);
}

void append_text(std::string& to, fmt::string_view pattern, fmt::format_args values) {
  fmt::vformat_to(std::back_inserter(to), pattern, values);
}

}  // namespace condroid::inline v0::detail
