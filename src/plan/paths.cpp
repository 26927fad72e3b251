#include "plan/paths.hpp"

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
  if (out.empty() && path.starts_with('/')) out = "/";
  return out;
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
