// The file that console output is appended to. Private.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "condroid/spec.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid::inline v0::detail {

class ConsoleLog {
 public:
  /// As the Spec says; the errno, or 0.
  [[nodiscard]] int open(const Terminal& terminal);
  [[nodiscard]] bool valid() const { return fd_.valid(); }
  [[nodiscard]] FdView fd() const { return fd_; }
  /// Never waits. The errno, or 0; what was not written is lost.
  [[nodiscard]] int append(std::string_view text);

 private:
  /// What can be written before it is full.
  [[nodiscard]] std::uint64_t room() const;
  [[nodiscard]] int begin_anew();

  Fd fd_;
  Fd folder_;  ///< With `name_`: where it is, when it was opened.
  std::string name_;
  std::uint64_t most_ = 0;  ///< 0: without limit.
  bool rotate_ = false;
};

}  // namespace condroid::inline v0::detail
