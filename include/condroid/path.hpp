// HostPath and GuestPath: two kinds of path that never convert into each other.
//
//   using namespace condroid::literals;
//   Bind{.source = "/tmp/work"_host, .target = "/work"_guest};
#pragma once

#include <fmt/format.h>

#include <compare>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace condroid {
inline namespace v0 {

namespace detail {
/// A path as text, tagged with the world it belongs to. It is never touched, resolved or normalized
/// here.
template <class Tag>
class TaggedPath {
 public:
  TaggedPath() = default;
  explicit TaggedPath(std::string text) : text_(std::move(text)) {}
  explicit TaggedPath(std::string_view text) : text_(text) {}
  explicit TaggedPath(const char* text) : text_(text) {}

  [[nodiscard]] const std::string& str() const noexcept { return text_; }
  [[nodiscard]] const char* c_str() const noexcept { return text_.c_str(); }
  [[nodiscard]] bool empty() const noexcept { return text_.empty(); }
  [[nodiscard]] bool is_absolute() const noexcept { return !text_.empty() && text_[0] == '/'; }
  auto operator<=>(const TaggedPath&) const = default;

  /// This path with one more component; exactly one '/' stands between them.
  [[nodiscard]] friend TaggedPath operator/(const TaggedPath& left, std::string_view right) {
    std::string joined = left.text_;
    if (joined.empty() || joined.back() != '/') joined += '/';
    while (!right.empty() && right.front() == '/') right.remove_prefix(1);
    joined += right;
    return TaggedPath(std::move(joined));
  }

 private:
  std::string text_;
};
}  // namespace detail

/// A path as the host sees it (more exactly: as the thread that called Runtime::open sees it).
using HostPath = detail::TaggedPath<struct HostPathTag>;
/// A path as the container sees it; absolute, resolved inside the container's root only.
using GuestPath = detail::TaggedPath<struct GuestPathTag>;

namespace literals {
[[nodiscard]] inline HostPath operator""_host(const char* text, std::size_t size) {
  return HostPath(std::string(text, size));
}
[[nodiscard]] inline GuestPath operator""_guest(const char* text, std::size_t size) {
  return GuestPath(std::string(text, size));
}
}  // namespace literals

}  // namespace v0
}  // namespace condroid

template <class Tag>
struct fmt::formatter<condroid::detail::TaggedPath<Tag>> {
  constexpr auto parse(fmt::format_parse_context& ctx) { return ctx.begin(); }
  template <class Context>
  auto format(const condroid::detail::TaggedPath<Tag>& p, Context& ctx) const {
    return fmt::format_to(ctx.out(), "{}", p.str());
  }
};
