// What is wrong with a text, by its places: "line 3", "syscalls[3].action". Private.
#pragma once

#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "condroid/error.hpp"
#include "formatted.hpp"

namespace condroid::inline v0::detail {

class Mistakes {
 public:
  template <class... Args>
  void add(std::string_view place, fmt::format_string<Args...> format, Args&&... args) {
    if (full()) return;
    all_.push_back(formatted("{}: ", place) + formatted(format, std::forward<Args>(args)...));
    if (full()) all_.push_back(formatted("{} errors; the rest of the text was not read", most));
  }
  [[nodiscard]] bool full() const { return all_.size() >= most; }
  [[nodiscard]] bool empty() const { return all_.empty(); }
  [[nodiscard]] std::size_t size() const { return all_.size(); }

  /// There must be one.
  [[nodiscard]] Error error() && {
    Error error = make_error(Errc::bad_text, Step::parse, std::move(all_.front()));
    error.also.assign(std::make_move_iterator(all_.begin() + 1),
                      std::make_move_iterator(all_.end()));
    return error;
  }

 private:
  static constexpr std::size_t most = 100;
  std::vector<std::string> all_;
};

}  // namespace condroid::inline v0::detail
