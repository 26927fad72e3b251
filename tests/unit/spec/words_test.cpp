#include "spec/words.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catch.hpp"

namespace {

using condroid::spec_text::quoted;
using condroid::spec_text::shown;
using condroid::spec_text::split_words;
using Words = std::vector<std::string>;

Words split(std::string_view line) {
  Words words;
  const std::string wrong = split_words(line, words);
  INFO(line);
  CHECK(wrong == "");
  return words;
}

}  // namespace

TEST_CASE("a line is split at blanks, quotes keep them", "[spec]") {
  CHECK(split("").empty());
  CHECK(split(" \t ").empty());
  CHECK(split("a  b\tc ") == Words{"a", "b", "c"});
  CHECK(split(R"("a b" c"d e"f "")") == Words{"a b", "cd ef", ""});
  CHECK(split(R"("\"\\\n\t\r\x41\xfF")") == Words{"\"\\\n\t\rA\xff"});
  CHECK(split("a#b # c \" ' \\") == Words{"a#b"});
  CHECK(split("\"#\"") == Words{"#"});
  CHECK(split("gr\xc3\xbc\xc3\x9f \xff") == Words{"gr\xc3\xbc\xc3\x9f", "\xff"});
}

TEST_CASE("only plain words go without quotes", "[spec]") {
  for (const std::string_view plain :
       {"a", "/usr/bin:/bin", "net.ipv4.ip_forward", "a=b,c", "8:0", "+x", "100%", "me@host"}) {
    CHECK(quoted(plain) == plain);
  }
  for (const std::string_view shell :
       {"$HOME", "a;b", "*", "~", "a|b", "{a}", "!", "`", "<", "(", "a&b", "#", "'"}) {
    CHECK(quoted(shell) == "\"" + std::string(shell) + "\"");
  }
  CHECK(quoted("") == "\"\"");
  CHECK(quoted("a\\b\"c\n") == R"("a\\b\"c\n")");
}

TEST_CASE("readable UTF-8 stays as it is, all else is escaped", "[spec]") {
  CHECK(quoted("grüß 😀") == "\"grüß 😀\"");
  const std::vector<std::pair<std::string_view, std::string_view>> cases{
      {"\xff", R"("\xff")"},
      {"\xc3", R"("\xc3")"},                          // cut short
      {"\xc3x", R"("\xc3x")"},                        // not continued
      {"\xc0\xaf", R"("\xc0\xaf")"},                  // longer than need be
      {"\xe0\x80\xaf", R"("\xe0\x80\xaf")"},          // the same in three bytes
      {"\xed\xa0\x80", R"("\xed\xa0\x80")"},          // surrogate
      {"\xf4\x90\x80\x80", R"("\xf4\x90\x80\x80")"},  // beyond Unicode
      {"\x7f\x1b", R"("\x7f\x1b")"},
      {"\xc2\x9b", R"("\xc2\x9b")"},    // CSI of the C1 controls
      {"\u202e", R"("\xe2\x80\xae")"},  // right to left from here
      {"\ufeff", R"("\xef\xbb\xbf")"},
      {"\u200b", R"("\xe2\x80\x8b")"},
  };
  for (const auto& [text, expected] : cases) {
    CHECK(quoted(text) == expected);
    CHECK(split(quoted(text)) == Words{std::string(text)});
  }
}

TEST_CASE("a message shows the begin of a long word", "[spec]") {
  CHECK(shown("short") == "short");
  CHECK(shown(std::string(61, 'x')) == std::string(60, 'x') + "...");
}
