// What a configuration says, line after line, and what of it holds. Private.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/config/lxc.hpp"
#include "config/lxc_keys.hpp"

namespace condroid::inline v0::lxc_language {

inline constexpr std::size_t most_bytes = std::size_t{16} << 20U;
inline constexpr std::size_t most_lines = 250000;
inline constexpr std::size_t most_files = 2000;
inline constexpr std::size_t most_depth = 32;
inline constexpr std::size_t most_words = 10000;  // of one line
inline constexpr std::size_t most_diagnostics = 100;

/// One value that holds, in the form in which LXC gives it back, and the item it is from.
struct Value {
  std::string text;
  std::uint32_t item = 0;
};
/// Of a row: by the number of the interface, or what the key ends with; "" for all others.
using Values = std::map<std::string, std::vector<Value>, std::less<>>;

/// Diagnostics, the first hundred of them.
class Report {
 public:
  void add(lxc::Diagnostic diagnostic) {
    if (diagnostic.kind == lxc::Diagnostic::error) ++errors_;
    if (all_.size() < most_diagnostics) all_.push_back(std::move(diagnostic));
  }
  [[nodiscard]] bool full() const { return all_.size() >= most_diagnostics; }
  /// One more that nobody reads.
  void count() { ++errors_; }
  [[nodiscard]] std::size_t errors() const { return errors_; }
  [[nodiscard]] std::vector<lxc::Diagnostic>& all() { return all_; }
  /// There must be an error.
  [[nodiscard]] Error error(Errc code = Errc::bad_text) const;

 private:
  std::vector<lxc::Diagnostic> all_;
  std::size_t errors_ = 0;
};

}  // namespace condroid::inline v0::lxc_language

namespace condroid::inline v0::lxc {

struct Configuration::Impl {
  std::vector<std::string> files;
  std::vector<Item> items;
  /// Of each item: the row, and the number of the interface or what the key ends with.
  struct Meaning {
    std::size_t row = lxc_language::table.size();
    std::string rest = {};
  };
  std::vector<Meaning> meanings;
  std::array<lxc_language::Values, lxc_language::table.size()> values;
  std::vector<Diagnostic> notes;
  /// Rows of lines that are wrong, the last one: of keys that are none. What such a line was to say
  /// is not missing.
  std::array<bool, lxc_language::table.size() + 1> misspelt = {};
  bool misspelt_net = false;   ///< One of those that are none is about an interface.
  std::int64_t last_net = -1;  ///< Device that lxc.network.* without a number speaks of.

  [[nodiscard]] std::uint32_t file(std::string_view name);
  /// A line that is none of the lines that have an end; not looked at yet.
  std::size_t push(std::string_view line, Item::Origin origin, std::uint32_t file,
                   std::uint32_t number);
  /// What an item means for what holds.
  void digest(std::size_t item, lxc_language::Report& report);
  /// The same for all of them, from the start.
  void settle(lxc_language::Report& report);
  void clear_rows(std::string_view prefix);
  /// The lowest number that no interface has.
  [[nodiscard]] std::int64_t free_net() const;
  /// Whether there was more than a type.
  bool clear_net(std::string_view number);

  [[nodiscard]] Diagnostic about(std::size_t item, Diagnostic::Kind kind, std::string what,
                                 std::string hint = {}) const;
  /// The last value of a row without a rest; nullptr when there is none.
  [[nodiscard]] const lxc_language::Value* one(std::size_t row, std::string_view rest = {}) const;
};

}  // namespace condroid::inline v0::lxc
