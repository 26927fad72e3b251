// A reader of JSON for tests of what writes it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace condroid::test {

/// JSON as RFC 8259 has it, and no more.
class Json {
 public:
  using List = std::vector<Json>;
  using Object = std::map<std::string, Json>;

  static Json parse(std::string_view text) {
    Reader r{text};
    Json value = r.value();
    r.blanks();
    if (!r.rest.empty()) r.bad("something behind the end");
    return value;
  }

  [[nodiscard]] const Json& operator[](const std::string& name) const {
    return std::get<Object>(value_).at(name);
  }
  [[nodiscard]] bool has(const std::string& name) const {
    return std::get<Object>(value_).contains(name);
  }
  [[nodiscard]] const std::string& text() const { return std::get<std::string>(value_); }
  [[nodiscard]] bool truth() const { return std::get<bool>(value_); }
  [[nodiscard]] double number() const { return std::get<double>(value_); }
  [[nodiscard]] const List& list() const { return std::get<List>(value_); }

 private:
  struct Reader {
    std::string_view rest;
    [[noreturn]] void bad(const std::string& what) const {
      throw std::runtime_error(what + " at: " + std::string(rest.substr(0, 40)));
    }
    void blanks() {
      while (!rest.empty() && std::string_view(" \t\r\n").find(rest[0]) != std::string_view::npos)
        rest.remove_prefix(1);
    }
    bool take(char c) {
      blanks();
      if (rest.empty() || rest[0] != c) return false;
      rest.remove_prefix(1);
      return true;
    }
    std::string string() {
      if (!take('"')) bad("no string");
      std::string out;
      for (;;) {
        if (rest.empty()) bad("a string without end");
        const char c = rest[0];
        rest.remove_prefix(1);
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"') return out;
        if (byte < 0x20 || byte >= 0x7f) bad("a raw byte in a string");
        if (c != '\\') {
          out += c;
          continue;
        }
        if (rest.empty()) bad("a lone backslash");
        const char e = rest[0];
        rest.remove_prefix(1);
        if (e == '"' || e == '\\' || e == '/') {
          out += e;
        } else if (e == 'u' && rest.size() >= 4) {
          std::size_t used = 0;
          out += static_cast<char>(std::stoul(std::string(rest.substr(0, 4)), &used, 16));
          if (used != 4) bad("a bad escape");
          rest.remove_prefix(4);
        } else {
          bad("an escape of nothing");
        }
      }
    }
    Json value() {
      blanks();
      if (rest.empty()) bad("nothing");
      Json out;
      if (rest[0] == '"') {
        out.value_ = string();
      } else if (take('{')) {
        Object object;
        while (!take('}')) {
          if (!object.empty() && !take(',')) bad("no comma");
          blanks();
          std::string name = string();
          if (!take(':')) bad("no colon");
          if (!object.emplace(std::move(name), value()).second) bad("a name twice");
        }
        out.value_ = std::move(object);
      } else if (take('[')) {
        List list;
        while (!take(']')) {
          if (!list.empty() && !take(',')) bad("no comma");
          list.push_back(value());
        }
        out.value_ = std::move(list);
      } else if (rest.starts_with("true") || rest.starts_with("false")) {
        out.value_ = rest[0] == 't';
        rest.remove_prefix(rest[0] == 't' ? 4 : 5);
      } else {
        const std::size_t n = std::min(rest.find_first_not_of("-0123456789."), rest.size());
        if (n == 0) bad("no value");
        std::size_t used = 0;
        const std::string digits(rest.substr(0, n));
        out.value_ = std::stod(digits, &used);
        if (used != n) bad("no number");
        rest.remove_prefix(n);
      }
      return out;
    }
  };
  std::variant<double, bool, std::string, List, Object> value_;
};

}  // namespace condroid::test
