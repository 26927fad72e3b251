#include "users.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <condroid/sys/fd.hpp>
#include <optional>
#include <sstream>

namespace {

std::string read_inside(const std::string& root, const char* path) {
  const condroid::Fd dir(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const condroid::Fd found(
      static_cast<int>(::syscall(SYS_openat2, dir.get(), path, &how, sizeof how)));
  // An image may have anything in that place, and to open a device is to do something with it.
  struct stat st {};
  if (::fstat(found.get(), &st) < 0 || !S_ISREG(st.st_mode)) return {};
  const condroid::Fd file(
      ::open(fmt::format("/proc/self/fd/{}", found.get()).c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; file.valid() && text.size() < (1U << 20U) &&
                      (n = ::read(file.get(), buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(n));
  return text;
}

std::optional<std::uint32_t> id(const std::string& text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return value;
}

/// Calls `use` with the fields of each line until it says true.
template <class Use>
bool for_lines(const std::string& text, Use use) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> fields;
    std::istringstream parts(line);
    for (std::string field; std::getline(parts, field, ':');) fields.push_back(field);
    if (fields.size() >= 3 && use(fields)) return true;
  }
  return false;
}

}  // namespace

tl::expected<User, std::string> find_user(const std::string& root, const std::string& wish) {
  const std::size_t colon = wish.find(':');
  const std::string user = wish.substr(0, colon);
  const std::string group = colon == std::string::npos ? "" : wish.substr(colon + 1);
  const std::string groups = read_inside(root, "etc/group");
  User found{};
  if (const auto uid = id(user)) {
    found.uid = condroid::Uid{*uid};
    // Its group is its own, or the same number: not root's, which may read what others may not.
    found.gid = condroid::Gid{*uid};
    for_lines(read_inside(root, "etc/passwd"), [&](const auto& f) {
      if (f.size() < 4 || id(f[2]) != uid || !id(f[3])) return false;
      found.gid = condroid::Gid{*id(f[3])};
      return true;
    });
  } else {
    const bool known = for_lines(read_inside(root, "etc/passwd"), [&](const auto& f) {
      if (f.size() < 4 || f[0] != user || !id(f[2]) || !id(f[3])) return false;
      found = {.uid = condroid::Uid{*id(f[2])}, .gid = condroid::Gid{*id(f[3])}, .groups = {}};
      return true;
    });
    if (!known)
      return tl::make_unexpected(fmt::format("no user '{}' in the container's /etc/passwd", user));
    for_lines(groups, [&](const auto& f) {
      if (f.size() > 3 && id(f[2]) &&
          ("," + f[3] + ",").find("," + user + ",") != std::string::npos)
        found.groups.push_back(condroid::Gid{*id(f[2])});
      return false;
    });
  }
  if (group.empty()) {
    if (colon != std::string::npos)
      return tl::make_unexpected(fmt::format("'{}' has no group after the ':'", wish));
    return found;
  }
  if (const auto gid = id(group)) {
    found.gid = condroid::Gid{*gid};
    return found;
  }
  const bool known = for_lines(groups, [&](const auto& f) {
    if (f[0] != group || !id(f[2])) return false;
    found.gid = condroid::Gid{*id(f[2])};
    return true;
  });
  if (!known)
    return tl::make_unexpected(fmt::format("no group '{}' in the container's /etc/group", group));
  return found;
}
