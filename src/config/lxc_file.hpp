// The text of a file, as much of it as is asked for. Private.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace condroid::inline v0::lxc_language {

struct FileText {
  std::string text = {};
  std::uint64_t device = 0, inode = 0;
};
/// 0, or an errno: EFBIG for one that has more, ETIMEDOUT for a pipe that is not at its end after
/// two seconds.
[[nodiscard]] int read_text(const std::string& path, std::size_t most, FileText& out);

}  // namespace condroid::inline v0::lxc_language
