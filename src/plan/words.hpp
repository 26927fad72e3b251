// Words for a reader. Private.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "condroid/units.hpp"

namespace condroid::inline v0::detail {

/// In single quotes, with control characters as "\x1b".
[[nodiscard]] std::string quoted(std::string_view text);
[[nodiscard]] std::string listed(const std::vector<std::string>& words, std::string_view separator);
/// "512 MiB", "1000 bytes".
[[nodiscard]] std::string size_text(Bytes bytes);

}  // namespace condroid::inline v0::detail
