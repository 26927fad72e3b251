#include "plan/paths.hpp"

#include <algorithm>

namespace condroid::inline v0::detail {

std::vector<std::string_view> components(std::string_view path) {
  std::vector<std::string_view> list;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    if (!name.empty() && name != ".") list.push_back(name);
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  return list;
}

std::string normalized(std::string_view path) {
  std::string out;
  for (const std::string_view name : components(path)) {
    if (!out.empty() || path.starts_with('/')) out += '/';
    out += name;
  }
  if (out.empty() && path.starts_with('/')) out += '/';
  return out;
}

bool goes_up(std::string_view path) {
  const auto list = components(path);
  return std::ranges::find(list, "..") != list.end();
}

std::string without_dots(std::string_view path) {
  std::vector<std::string_view> kept;
  for (const std::string_view name : components(path)) {
    if (name != "..")
      kept.push_back(name);
    else if (!kept.empty())
      kept.pop_back();
  }
  std::string out;
  for (const std::string_view name : kept) (out += '/') += name;
  return out.empty() ? "/" : out;
}

std::string overlay_escaped(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace condroid::inline v0::detail
