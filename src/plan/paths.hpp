// Paths as text: nothing here looks at a file system. Private.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "condroid/spec/mount.hpp"

namespace condroid::inline v0::detail {

/// "/a//b/./c/" -> "/a/b/c". Keeps "..": what it means depends on links.
[[nodiscard]] std::string normalized(std::string_view path);

/// "/a/b" -> {"a", "b"}; "/" -> {}.
[[nodiscard]] std::vector<std::string_view> components(std::string_view path);

/// Both normalized. A path is not below itself.
[[nodiscard]] inline bool is_below(std::string_view parent, std::string_view child) noexcept {
  if (parent == "/") return child.size() > 1;
  return child.size() > parent.size() && child.starts_with(parent) && child[parent.size()] == '/';
}

/// The directory of a normalized absolute path: "/a" of "/a/b", "/" of "/a".
[[nodiscard]] inline std::string_view parent_of(std::string_view path) noexcept {
  const auto slash = path.rfind('/');
  return slash == 0 || slash == path.npos ? "/" : path.substr(0, slash);
}

/// Whether ".." is among the components.
[[nodiscard]] bool goes_up(std::string_view path);

/// Where an absolute path leads if there are no links on it: "/usr/../" is "/".
[[nodiscard]] std::string without_dots(std::string_view path);

/// True for a root that is the host's own.
[[nodiscard]] inline bool is_host_root(const Root& root) {
  return root.image.path.empty() && (root.path.empty() || normalized(root.path.str()) == "/");
}

/// As overlayfs wants a path in its options: ':' separates layers, '\' escapes.
[[nodiscard]] std::string overlay_escaped(std::string_view path);

}  // namespace condroid::inline v0::detail
