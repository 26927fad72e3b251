// Small files whose content the kernel makes: of procfs, sysfs and cgroups. Private.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace condroid::inline v0::detail {

/// Writes a value in one piece, as such files want it. errno, or 0.
[[nodiscard]] int write_file_at(int dir, const char* name, std::string_view text);

/// More than such a file has by itself; that of one's environment can be made endless, prctl(2),
/// PR_SET_MM_MAP.
inline constexpr std::size_t largest_file = std::size_t{1} << 20U;
/// Reads all of a file. errno, or 0; E2BIG for one that is larger than that.
[[nodiscard]] int read_file_at(int dir, const char* name, std::string& text);
/// What can be read of a file, for whom nothing is an answer, too.
[[nodiscard]] std::string small_file(const std::string& path);

}  // namespace condroid::inline v0::detail
