// "did you mean": the known word that is nearest to an unknown one.
//
//   Suggestion near("root.pth");
//   for (const auto& key : keys) near.offer(key);
//   near.best()                                     // "root.path"; empty when nothing is near
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace condroid {
inline namespace v0 {
namespace spec_text {

class Suggestion {
 public:
  explicit Suggestion(std::string_view unknown) : word_(unknown) {}

  /// `candidate` must outlive the Suggestion.
  void offer(std::string_view candidate) {
    // Beyond this nobody mistyped anything, and hostile text gets no quadratic time.
    if (word_.empty() || word_.size() > longest || candidate.size() > longest) return;
    const std::size_t d = distance(candidate);
    if (d < nearest_) {
      nearest_ = d;
      best_ = candidate;
    }
  }

  [[nodiscard]] std::string_view best() const noexcept { return best_; }

 private:
  static constexpr std::size_t longest = 48;
  static constexpr std::size_t far = longest + 2;

  // "argv" for "process.argv", "CAP_KILL" for "kill" and "process.size" for "root.size" are no
  // typing errors, but near all the same.
  [[nodiscard]] std::size_t distance(std::string_view candidate) const {
    const auto [shorter, longer] = std::minmax({word_.size(), candidate.size()});
    const std::size_t allowed = std::max<std::size_t>(1, shorter / 3);
    if (longer - shorter <= allowed) {  // it takes as many insertions at least
      const std::size_t typing = edits(candidate);
      if (typing <= allowed) return typing;
    }
    if (is_tail(word_, candidate) || is_tail(candidate, word_)) return far - 2;
    const bool dotted = candidate.find('.') != candidate.npos && word_.find('.') != word_.npos;
    return dotted && last_part(word_) == last_part(candidate) ? far - 1 : far;
  }

  // Whether `whole` ends with `tail`, after a separator.
  static bool is_tail(std::string_view tail, std::string_view whole) {
    if (tail.size() >= whole.size()) return false;
    const std::string_view end = whole.substr(whole.size() - tail.size());
    const char before = whole[whole.size() - tail.size() - 1];
    return (before == '.' || before == '_') && std::ranges::equal(end, tail, {}, lower, lower);
  }

  static std::string_view last_part(std::string_view key) {
    return key.substr(key.rfind('.') + 1);  // npos + 1 is 0
  }

  static char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

  // Insertions, deletions, replacements and swaps of neighbours, case aside.
  [[nodiscard]] std::size_t edits(std::string_view candidate) const {
    using Row = std::array<std::size_t, longest + 1>;
    Row before{};
    Row above{};
    Row row{};
    for (std::size_t j = 0; j <= candidate.size(); ++j) above[j] = j;
    for (std::size_t i = 1; i <= word_.size(); ++i) {
      row[0] = i;
      for (std::size_t j = 1; j <= candidate.size(); ++j) {
        const auto same = [&](std::size_t a, std::size_t b) {
          return lower(word_[a - 1]) == lower(candidate[b - 1]);
        };
        row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (same(i, j) ? 0U : 1U)});
        if (i > 1 && j > 1 && same(i, j - 1) && same(i - 1, j)) {
          row[j] = std::min(row[j], before[j - 2] + 1);
        }
      }
      before = above;
      above = row;
    }
    return above[candidate.size()];
  }

  std::string_view word_;
  std::string_view best_;
  std::size_t nearest_ = far;
};

}  // namespace spec_text
}  // namespace v0
}  // namespace condroid
