#include "condroid/error.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

#include "formatted.hpp"

namespace condroid {
inline namespace v0 {

namespace {

class Category final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "condroid"; }
  [[nodiscard]] std::string message(int code) const override {
    switch (static_cast<Errc>(code)) {
      case Errc::bad_spec:
        return "the spec is wrong";
      case Errc::unsupported:
        return "not possible here";
      case Errc::child_vanished:
        return "the container's process is gone";
      case Errc::zygote_lost:
        return "the zygote is gone";
      case Errc::protocol:
        return "protocol error";
      case Errc::deadline:
        return "deadline passed";
      case Errc::cancelled:
        return "cancelled";
      case Errc::stopped:
        return "stopped";
      case Errc::in_forked_child:
        return "used in a forked child";
      case Errc::hook_failed:
        return "the hook failed";
      case Errc::bad_text:
        return "bad text";
    }
    return "unknown error";
  }
};

/// How many bytes a character of UTF-8 has that is to be seen; 0: the first of them is no such.
std::size_t seen_at(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (at(0) < 0x80) return at(0) >= 0x20 && at(0) != 0x7f ? 1 : 0;
  if (at(0) < 0xc2 || at(0) > 0xf4) return 0;
  const std::size_t size = at(0) < 0xe0 ? 2 : at(0) < 0xf0 ? 3 : 4;
  if (size > text.size()) return 0;
  for (std::size_t i = 1; i < size; ++i)
    if ((at(i) & 0xc0U) != 0x80) return 0;
  // U+0080 to U+009F are commands.
  return at(0) == 0xc2 && at(1) < 0xa0 ? 0 : size;
}

/// Names come from archives, configurations and peers: neither is a terminal to obey them, nor do
/// they make a line of their own.
std::string shown(std::string_view text) {
  std::string all;
  all.reserve(text.size());
  while (!text.empty()) {
    const std::size_t size = seen_at(text);
    if (size == 0)
      all += formatted("\\x{:02x}", static_cast<unsigned char>(text.front()));
    else
      all += text.substr(0, size);
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return all;
}

}  // namespace

const std::error_category& condroid_category() noexcept {
  static const Category category;
  return category;
}

int Error::errnum() const noexcept {
  return code.category() == std::system_category() || code.category() == std::generic_category()
             ? code.value()
             : 0;
}

Error sys_error(int errnum, Step step, std::string subject) {
  Error e;
  e.code = std::error_code(errnum, std::system_category());
  e.step = step;
  e.subject = std::move(subject);
  e.hint = hint_for(step, errnum);
  return e;
}

Error make_error(Errc code, Step step, std::string subject, std::string hint) {
  Error e;
  e.code = make_error_code(code);
  e.step = step;
  e.subject = std::move(subject);
  e.hint = std::move(hint);
  return e;
}

std::string_view errno_name(int errnum) noexcept {
  const char* name = ::strerrorname_np(errnum);
  return name != nullptr ? std::string_view(name) : std::string_view();
}

std::string to_string(const Error& error) {
  std::string text(to_string(error.step));
  if (!error.subject.empty()) text += formatted(": {}", error.subject);
  const int e = error.errnum();
  if (e != 0) {
    const char* words = ::strerrordesc_np(e);
    text += words != nullptr ? formatted(": {} ({})", words, errno_name(e))
                             : formatted(": unknown error {}", e);
  } else if (!error.is(Errc::bad_spec) && !error.is(Errc::bad_text) &&
             !error.is(Errc::hook_failed)) {
    // What is wrong with a spec, a text or a hook is said by the subject.
    text += formatted(": {}", error.code.message());
  }
  if (!error.hint.empty()) text += formatted("; hint: {}", error.hint);
  for (const auto& a : error.also) text += formatted("; also: {}", a);
  return shown(text);
}

}  // namespace v0
}  // namespace condroid
