#include "condroid/sys/fd.hpp"

#include <unistd.h>

namespace condroid::inline v0 {

void Fd::reset(int number) noexcept {
  if (number_ >= 0) ::close(number_);
  number_ = number;
}

}  // namespace condroid::inline v0
