// What of somebody's text is shown as it is. Private.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "formatted.hpp"

namespace condroid::inline v0::detail {

struct Character {
  std::size_t bytes = 0;  ///< 0: no UTF-8
  char32_t code = 0;
};

/// The UTF-8 character at the begin of `text`, as the Unicode standard has it: shortest form, no
/// surrogates.
inline Character utf8_at(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const std::size_t size = lead < 0x80   ? 1
                           : lead < 0xc2 ? 0
                           : lead < 0xe0 ? 2
                           : lead < 0xf0 ? 3
                           : lead < 0xf5 ? 4
                                         : 0;
  if (size == 0 || size > text.size()) return {};
  if (size == 1) return {1, lead};
  char32_t code = lead & (0x7fU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0U) != 0x80) return {};
    code = (code << 6U) | (next & 0x3fU);
  }
  constexpr std::array<char32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
  if (code < least[size] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return {};
  return {size, code};
}

/// Characters that show nothing, or change the order of others: a spec is read by reviewers, who
/// must see what is there (CVE-2021-42574 is about the ones that reorder).
inline bool is_treacherous(char32_t code) {
  constexpr std::array<std::pair<char32_t, char32_t>, 10> ranges{{
      {0x80, 0xa0},        // C1 controls, no-break space
      {0xad, 0xad},        // soft hyphen
      {0x34f, 0x34f},      // combining grapheme joiner
      {0x61c, 0x61c},      // Arabic letter mark
      {0x180e, 0x180e},    // Mongolian vowel separator
      {0x2000, 0x200f},    // spaces of many widths, joiners, direction marks
      {0x2028, 0x202f},    // line and paragraph separators, directional embeddings and overrides
      {0x205f, 0x206f},    // spaces, directional isolates, invisible operators
      {0xfeff, 0xfeff},    // byte order mark
      {0xe0000, 0xe0fff},  // tags, variation selectors
  }};
  return std::ranges::any_of(ranges,
                             [&](const auto& r) { return code >= r.first && code <= r.second; });
}

/// How many bytes the character at the begin of `text` has, if it is to be seen; 0: it is a control
/// character, treacherous, or no UTF-8.
inline std::size_t seen_at(std::string_view text) {
  const Character c = utf8_at(text);
  return c.code < 0x20 || c.code == 0x7f || is_treacherous(c.code) ? 0 : c.bytes;
}

/// Names come from archives, configurations and peers: neither is a terminal to obey them, nor do
/// they make a line of their own. What is not to be seen is "\\x1b".
inline void append_printable(std::string& to, std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = seen_at(text);
    if (size == 0)
      append_formatted(to, "\\x{:02x}", static_cast<unsigned char>(text.front()));
    else
      to += text.substr(0, size);
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
}

}  // namespace condroid::inline v0::detail
