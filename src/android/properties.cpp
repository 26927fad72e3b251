// Properties: what Android takes for one, and the file that they are in.
#include <algorithm>
#include <string>

#include "condroid/android/device.hpp"
#include "formatted.hpp"
#include "printable.hpp"

namespace condroid::inline v0::android {

namespace {

constexpr std::size_t longest_value = 91;  // PROP_VALUE_MAX has room for a NUL

bool letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '@' || c == ':';
}

/// Whether text is UTF-8, as mbstowcs(3) of bionic has it.
bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = detail::utf8_at(text).bytes;
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

}  // namespace

std::string property_mistake(const Property& p) {
  // IsLegalPropertyName() of system/core.
  if (p.key.empty()) return "the key is empty";
  if (p.key.front() == '.' || p.key.back() == '.' || p.key.find("..") != std::string::npos)
    return "the key has a '.' at an end, or two in a row";
  if (!std::ranges::all_of(p.key, [](char c) { return letter(c) || c == '.'; }))
    return "a key has letters, digits and _-@:. alone";
  if (p.value.size() > longest_value && !p.key.starts_with("ro."))
    return formatted("the value has {} bytes; at most {}, but for ro.*", p.value.size(),
                     longest_value);
  if (std::ranges::any_of(p.value, [](char c) { return c == '\n' || c == '\r' || c == '\0'; }))
    return "the value has a line feed or a NUL in it";
  if (!p.value.empty() && (p.value.front() == ' ' || p.value.front() == '\t' ||
                           p.value.back() == ' ' || p.value.back() == '\t'))
    return "blanks around a value are lost";
  if (!is_utf8(p.value)) return "the value is no UTF-8";
  return {};
}

std::string property_text(const std::vector<Property>& properties) {
  std::string text;
  for (const Property& p : properties) text += formatted("{}={}\n", p.key, p.value);
  return text;
}

}  // namespace condroid::inline v0::android
