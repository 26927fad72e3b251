#include "sys/mountinfo.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace condroid::inline v0::detail {

namespace {

std::string_view take_line(std::string_view& text) {
  const auto end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

std::string_view take_field(std::string_view& line, char separator = ' ') {
  const auto end = line.find(separator);
  const std::string_view field = line.substr(0, end);
  line.remove_prefix(end == std::string_view::npos ? line.size() : end + 1);
  return field;
}

template <class T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

/// The kernel writes blanks, tabs, line feeds and backslashes as three octal digits.
std::string unescape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const auto octal = [](char c) { return c >= '0' && c <= '7'; };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) &&
        octal(text[i + 3])) {
      out += static_cast<char>(((text[i + 1] - '0') << 6) | ((text[i + 2] - '0') << 3) |
                               (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> list;
  while (!text.empty()) {
    const auto part = take_field(text, separator);
    if (!part.empty()) list.emplace_back(part);
  }
  return list;
}

bool is_controller_option(std::string_view option) {
  // What is left of a v1 mount's super options when what is no controller is taken away.
  static constexpr std::string_view others[] = {
      "rw", "ro", "noprefix", "clone_children", "xattr", "cpuset_v2_mode", "favordynmods"};
  return std::find(std::begin(others), std::end(others), option) == std::end(others) &&
         !option.starts_with("release_agent=");
}

}  // namespace

std::vector<MountEntry> parse_mountinfo(std::string_view text) {
  std::vector<MountEntry> list;
  while (!text.empty()) {
    std::string_view line = take_line(text);
    MountEntry m;
    const auto id = number<int>(take_field(line));
    const auto parent = number<int>(take_field(line));
    (void)take_field(line);  // major:minor
    if (!id || !parent) continue;
    m.id = *id;
    m.parent = *parent;
    m.root = unescape(take_field(line));
    m.target = unescape(take_field(line));
    m.options = std::string(take_field(line));
    bool separator = false;
    while (!line.empty()) {
      const auto field = take_field(line);
      if (field == "-") {
        separator = true;
        break;
      }
      if (field.starts_with("shared:")) m.shared = true;
    }
    if (!separator) continue;
    m.type = unescape(take_field(line));
    m.source = unescape(take_field(line));
    m.super_options = unescape(line);
    list.push_back(std::move(m));
  }
  return list;
}

bool is_hidden(const std::vector<MountEntry>& mounts, const MountEntry& mount) {
  constexpr int deepest = 100;        // what has no root, too, comes to an end
  const MountEntry* below = nullptr;  // of the chain from `mount` up, the one before `at`
  const MountEntry* at = &mount;
  for (int depth = 0; at != nullptr && depth < deepest; ++depth) {
    for (const MountEntry& other : mounts) {
      // Who has his root below what is mounted on it goes on from there.
      if (&other == at || &other == below || other.target == "/") continue;
      // On its own root; or on a directory on the way from its parent's root to it.
      if (other.parent == at->id && other.target == at->target) return true;
      if (other.parent == at->parent && other.target.size() < at->target.size() &&
          at->target.starts_with(other.target) && at->target[other.target.size()] == '/')
        return true;
    }
    const auto up = std::ranges::find_if(
        mounts, [at](const MountEntry& other) { return other.id == at->parent && &other != at; });
    below = at;
    at = up == mounts.end() ? nullptr : &*up;
  }
  return false;
}

std::vector<CgroupHierarchy> find_hierarchies(const std::vector<MountEntry>& mounts,
                                              std::string_view membership) {
  struct Member {
    std::vector<std::string> controllers;
    std::string path;
  };
  std::vector<Member> members;
  while (!membership.empty()) {
    std::string_view line = take_line(membership);
    (void)take_field(line, ':');
    const auto controllers = take_field(line, ':');
    if (!line.starts_with('/')) continue;
    members.push_back({split(controllers, ','), std::string(line)});
  }
  std::vector<CgroupHierarchy> list;
  for (const MountEntry& m : mounts) {
    if ((m.type != "cgroup" && m.type != "cgroup2") || is_hidden(mounts, m)) continue;
    CgroupHierarchy h;
    h.v2 = m.type == "cgroup2";
    h.mount_point = m.target;
    h.mount_root = m.root;
    if (!h.v2)
      for (auto& option : split(m.super_options, ','))
        if (is_controller_option(option)) h.controllers.push_back(std::move(option));
    const bool seen = std::any_of(list.begin(), list.end(), [&](const CgroupHierarchy& other) {
      return other.v2 == h.v2 && (h.v2 || other.controllers == h.controllers);
    });
    if (seen || (!h.v2 && h.controllers.empty())) continue;
    for (const Member& member : members) {
      const bool mine =
          h.v2 ? member.controllers.empty()
               : std::any_of(member.controllers.begin(), member.controllers.end(),
                             [&](const auto& c) {
                               return std::find(h.controllers.begin(), h.controllers.end(), c) !=
                                      h.controllers.end();
                             });
      if (!mine) continue;
      // Below what is mounted here: a bind of a part of the hierarchy shows that part as its root.
      h.own_path = member.path;
      if (h.mount_root != "/" && (h.own_path + '/').starts_with(h.mount_root + '/'))
        h.own_path.erase(0, h.mount_root.size());
      if (h.own_path.empty()) h.own_path = "/";
    }
    list.push_back(std::move(h));
  }
  return list;
}

std::vector<SubidRange> parse_subids(std::string_view text, std::string_view user,
                                     std::uint32_t uid) {
  std::vector<SubidRange> list;
  while (!text.empty()) {
    std::string_view line = take_line(text);
    if (line.starts_with('#')) continue;
    const auto who = take_field(line, ':');
    const auto start = number<std::uint32_t>(take_field(line, ':'));
    const auto count = number<std::uint32_t>(line);
    if (!start || !count || *count == 0) continue;
    if ((!user.empty() && who == user) || number<std::uint32_t>(who) == uid)
      list.push_back({*start, *count});
  }
  return list;
}

std::string find_user(std::string_view passwd, std::uint32_t uid) {
  while (!passwd.empty()) {
    std::string_view line = take_line(passwd);
    const auto name = take_field(line, ':');
    (void)take_field(line, ':');  // password
    if (number<std::uint32_t>(take_field(line, ':')) == uid) return std::string(name);
  }
  return {};
}

}  // namespace condroid::inline v0::detail
