// Programs that the library carries with it. Private.
#pragma once

#include <span>

#include "condroid/error.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid::inline v0::detail {

/// An embedded program as an executable file without a name, sealed.
[[nodiscard]] Result<Fd> embedded_program(std::span<const unsigned char> program, const char* name,
                                          Step step);

}  // namespace condroid::inline v0::detail
