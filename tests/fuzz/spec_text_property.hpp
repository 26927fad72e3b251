// What holds for every text: it is refused with a message, or it is a Spec whose printed form is
// the same Spec and prints the same again. Used by the fuzz target and, with the seed corpus, by a
// unit test.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "condroid/spec.hpp"

namespace spec_text_property {

/// Empty when it holds, otherwise what does not.
inline std::string broken(std::string_view text) {
  const auto spec = condroid::parse_spec(text);
  if (!spec) {
    const condroid::Error& error = spec.error();
    const auto printable = [](const std::string& line) {
      return !line.empty() && std::ranges::none_of(line, [](char c) {
        const auto byte = static_cast<unsigned char>(c);  // char has no sign on every machine
        return byte < 0x20 || byte == 0x7f;
      });
    };
    if (!error.is(condroid::Errc::bad_text)) return "refused with another code";
    if (!printable(error.subject)) return "a message that no terminal should see: " + error.subject;
    for (const std::string& line : error.also) {
      if (!printable(line)) return "a message that no terminal should see: " + line;
    }
    return {};
  }
  const std::string printed = condroid::print_spec(*spec);
  const auto again = condroid::parse_spec(printed);
  if (!again) return "its printed form is refused: " + again.error().subject + "\n" + printed;
  if (*again != *spec) return "its printed form is another Spec:\n" + printed;
  if (condroid::print_spec(*again) != printed)
    return "it prints differently the second time:\n" + printed;
  return {};
}

}  // namespace spec_text_property
