// Gathers everything that is wrong with a Spec, so that its author sees all of it at once. Private.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "condroid/error.hpp"

namespace condroid::inline v0::detail {

class Refusals {
 public:
  /// The Spec asks for what makes no sense, on any machine.
  /// The hint says what to try instead; every refusal has one.
  void bad(std::string_view field, std::string_view what, std::string hint) {
    add(Errc::bad_spec, field, what, std::move(hint));
  }
  /// This kernel, user or machine cannot do what the Spec asks for.
  void unsupported(std::string_view field, std::string_view what, std::string hint) {
    add(Errc::unsupported, field, what, std::move(hint));
  }
  [[nodiscard]] bool empty() const noexcept { return list_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return list_.size(); }

  /// The first as the Error, the others in Error::also. There must be one.
  [[nodiscard]] Error take() {
    Error first = std::move(list_.front());
    for (std::size_t i = 1; i < list_.size(); ++i) {
      std::string line = std::move(list_[i].subject);
      if (!list_[i].hint.empty()) line += "; hint: " + list_[i].hint;
      first.also.push_back(std::move(line));
    }
    list_.clear();
    return first;
  }

 private:
  void add(Errc code, std::string_view field, std::string_view what, std::string hint) {
    std::string subject(field);
    subject += ": ";
    subject += what;
    list_.push_back(make_error(code, Step::compile, std::move(subject), std::move(hint)));
  }

  std::vector<Error> list_;
};

}  // namespace condroid::inline v0::detail
