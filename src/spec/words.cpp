#include "spec/words.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "formatted.hpp"
#include "printable.hpp"

namespace condroid {
inline namespace v0 {
namespace spec_text {
namespace {

constexpr bool is_blank(char c) { return c == ' ' || c == '\t'; }
constexpr bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == '\x7f'; }

// What needs no quotes. Less than split_words takes bare: characters that mean something to a shell
// are quoted, so that nobody wonders.
constexpr bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("/._-+:,=@%").find(c) != std::string_view::npos;
}

void append_escaped(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const char c = text[0];
    std::size_t bytes = 1;
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (const std::size_t seen = detail::seen_at(text); seen != 0) {
      bytes = seen;
      out += text.substr(0, bytes);
    } else {
      append_formatted(out, "\\x{:02x}", static_cast<unsigned char>(c));
    }
    text.remove_prefix(bytes);
  }
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Reads the escape at the begin of `text`, after the backslash, and takes it off.
std::string unescape(std::string_view& text, std::string& word) {
  constexpr std::string_view right = R"(write \", \\, \n, \t, \r or \xHH)";
  const char c = text.empty() ? '\0' : text[0];
  constexpr std::string_view names = R"("\ntr)";
  constexpr std::string_view values = "\"\\\n\t\r";
  if (const auto at = names.find(c); c != '\0' && at != std::string_view::npos) {
    word += values[at];
    text.remove_prefix(1);
    return {};
  }
  if (c != 'x') {
    const bool visible = !is_blank(c) && !is_control(c) && static_cast<unsigned char>(c) < 0x80;
    return formatted("unknown escape \\{}; {}", visible ? text.substr(0, 1) : "", right);
  }
  const int high = text.size() > 1 ? hex_digit(text[1]) : -1;
  const int low = text.size() > 2 ? hex_digit(text[2]) : -1;
  if (high < 0 || low < 0) return formatted("\\x needs two hexadecimal digits; {}", right);
  if (high == 0 && low == 0) return "\\x00 is a NUL byte, which no text can hold";
  word += static_cast<char>(high * 16 + low);
  text.remove_prefix(3);
  return {};
}

std::string raw_control(char c) {
  if (c == '\0') return "a NUL byte, which no text can hold";
  return formatted("a raw control byte; write \\x{0:02x} in double quotes",
                   static_cast<unsigned char>(c));
}

// Reads a quoted part up to and with its closing quote; `text` begins after the opening one.
std::string read_quoted(std::string_view& text, std::string& word) {
  while (!text.empty()) {
    const char c = text[0];
    text.remove_prefix(1);
    if (c == '"') return {};
    if (c == '\\') {
      if (std::string wrong = unescape(text, word); !wrong.empty()) return wrong;
    } else if (is_control(c) && c != '\t') {
      return raw_control(c);
    } else {
      word += c;
    }
  }
  return "the closing \" is missing; a line break inside is written \\n";
}

}  // namespace

std::string quoted(std::string_view text) {
  if (!text.empty() && std::ranges::all_of(text, is_plain)) return std::string(text);
  std::string out = "\"";
  append_escaped(out, text);
  out += '"';
  return out;
}

std::string shown(std::string_view text) {
  constexpr std::size_t longest = 60;
  if (text.size() <= longest) return spec_text::quoted(text);
  return spec_text::quoted(text.substr(0, longest)) + "...";
}

std::string split_words(std::string_view line, std::vector<std::string>& words) {
  for (;;) {
    while (!line.empty() && is_blank(line[0])) line.remove_prefix(1);
    if (line.empty() || line[0] == '#') return {};
    std::string word;
    while (!line.empty() && !is_blank(line[0])) {
      const char c = line[0];
      line.remove_prefix(1);
      if (c == '"') {
        if (std::string wrong = read_quoted(line, word); !wrong.empty()) return wrong;
      } else if (c == '\'') {
        return "a single quote; quote with double quotes";
      } else if (c == '\\') {
        return "a backslash outside of double quotes; put the word into double quotes and double "
               "it";
      } else if (is_control(c)) {
        return raw_control(c);
      } else {
        word += c;
      }
    }
    words.push_back(std::move(word));
  }
}

}  // namespace spec_text
}  // namespace v0
}  // namespace condroid
