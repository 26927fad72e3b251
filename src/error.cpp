#include "condroid/error.hpp"

#include <cerrno>
#include <cstring>
#include <string>

#include "formatted.hpp"
#include "printable.hpp"

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
  std::string shown;
  detail::append_printable(shown, text);
  return shown;
}

}  // namespace v0
}  // namespace condroid
