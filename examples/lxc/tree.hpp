// Trees of files: removed without leaving their file system, copied with all that they have, put
// in the place of another.
#pragma once

#include <condroid/sys/fd.hpp>
#include <optional>
#include <string>

/// Nothing is mounted at or below it, as this process sees it; else false, and it was said what.
[[nodiscard]] bool nothing_mounted_below(const std::string& path);
/// A directory with all that is in it. It follows no link and enters no mount: where something is
/// mounted nothing is removed. False, and it was said, where something is left.
[[nodiscard]] bool remove_tree(const std::string& path);
/// `to`, which must not be there, becomes what `from` is: owners, modes, times, extended
/// attributes, hard links, holes and devices. False, and it was said; what there is of `to` is the
/// caller's to remove then.
[[nodiscard]] bool copy_tree(const std::string& from, const std::string& to);
/// What there is of `path`, link or not.
[[nodiscard]] bool exists(const std::string& path);
/// `from` becomes `to`, which must not be there.
[[nodiscard]] bool move_to_nothing(const std::string& from, const std::string& to);
/// `path` becomes `other` and `other` becomes `path`, at once.
[[nodiscard]] bool exchange(const std::string& path, const std::string& other);
/// A directory of that name, which may not be there. False, and it was said.
[[nodiscard]] bool make_directory(const std::string& path, unsigned mode);
/// A file with that text, written beside its place and then put there. False, and it was said.
[[nodiscard]] bool write_file(const std::string& path, std::string_view text, unsigned mode);
[[nodiscard]] std::optional<std::string> read_file(const std::string& path);
