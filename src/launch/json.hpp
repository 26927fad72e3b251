// The one thing that writing JSON by hand needs. Private.
#pragma once

#include <iterator>
#include <string>
#include <string_view>

#include "formatted.hpp"

namespace condroid::inline v0::detail {

/// Text as it stands between the quotes of a JSON string. Bytes that are no ASCII become '?': paths
/// need not be UTF-8.
inline std::string json_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      append_formatted(out, "\\u{:04x}", byte);
    } else {
      out += byte < 0x7f ? c : '?';
    }
  }
  return out;
}

}  // namespace condroid::inline v0::detail
