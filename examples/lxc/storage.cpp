#include "storage.hpp"

#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "say.hpp"
#include "script.hpp"

using namespace condroid;

namespace {

constexpr std::string_view types[] = {"dir", "overlay", "overlayfs", "loop", "nbd", "lvm",
                                      "zfs", "btrfs",   "rbd",       "best", "aufs"};

/// For the options of mount(2), where ',' and ':' part words.
std::string escaped(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (c == ',' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

bool mounted(const Storage& storage, const std::string& at) {
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    say("a mount namespace: {}", errno_name(errno));
    return false;
  }
  if (storage.kind == Storage::image) {
    const int status = run_program({"mount", "-o", "loop", "--", storage.path, at});
    if (status != 0) say("mounting '{}': mount {}", storage.path, how_it_ended(status));
    return status == 0;
  }
  const std::string work = storage.upper.substr(0, storage.upper.rfind('/')) + "/work";
  const std::string options =
      fmt::format("lowerdir={},upperdir={},workdir={}", escaped(storage.path),
                  escaped(storage.upper), escaped(work));
  if (::mount("overlay", at.c_str(), "overlay", 0, options.c_str()) == 0) return true;
  say("an overlay of '{}' over '{}': {}", storage.upper, storage.path, errno_name(errno));
  return false;
}

}  // namespace

std::optional<off_t> size_of(const std::string& text) {
  constexpr std::string_view letters = "bkmgt";
  off_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string_view unit(end, text.data() + text.size());
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  const int lower = unit.empty() ? 'm' : std::tolower(static_cast<unsigned char>(unit[0]));
  const std::size_t power = letters.find(static_cast<char>(lower));
  constexpr unsigned bits = 10, most = 63;
  if (error != std::errc() || number <= 0 || power == letters.npos || unit.size() > 2 ||
      static_cast<std::uint64_t>(number) >> (most - bits * power) != 0)
    return {};
  return number << (bits * power);
}

Storage Storage::of(const lxc::Configuration& config) {
  const auto item = [&](const char* key) {
    const auto value = config.get(key);
    return value ? value->value_or("") : std::string();
  };
  Storage s;
  // As it is written: what is asked for comes without its type.
  for (const lxc::Item& one : config.items())
    if (one.kind == lxc::Item::setting &&
        (one.key() == "lxc.rootfs.path" || one.key() == "lxc.rootfs"))
      s.path = one.value();
  if (s.path.empty()) return s;
  for (const std::string_view type : types)
    if (s.path.starts_with(type) && s.path.substr(type.size()).starts_with(":")) {
      s.type = type;
      s.path.erase(0, type.size() + 1);
      break;
    }
  const std::string type = s.type.empty() ? item("lxc.rootfs.backend") : s.type;
  struct stat st {};
  const bool there = ::lstat(s.path.c_str(), &st) == 0;
  if (type == "overlay" || type == "overlayfs") {
    const std::size_t at = s.path.find(':');
    // Of several lower ones each would have to be known.
    s.kind = at == s.path.npos || s.path.find(':', at + 1) != s.path.npos ? other : overlay;
    if (s.kind == overlay) {
      s.upper = s.path.substr(at + 1);
      s.path.erase(at);
    }
  } else if (type == "loop" || (type.empty() && there && S_ISREG(st.st_mode))) {
    s.kind = image;
  } else if (type == "dir" || type == "best" || (type.empty() && !(there && S_ISBLK(st.st_mode)))) {
    s.kind = directory;
  } else {
    s.kind = other;
  }
  return s;
}

std::string Storage::text() const {
  if (kind == nothing) return {};
  const std::string before = type.empty() ? "" : type + ":";
  return upper.empty() ? before + path : fmt::format("{}{}:{}", before, path, upper);
}

bool with_root(const Storage& storage, const std::string& at,
               const std::function<bool(const std::string& root)>& work) {
  if (storage.kind == Storage::nothing || storage.kind == Storage::other) return work({});
  if (storage.kind == Storage::directory) return work(storage.path);
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(mounted(storage, at) && work(at) ? 0 : 1);
  if (pid < 0) {
    say("a process: {}", errno_name(errno));
    return false;
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status == 0;
}

bool resize_image(const std::string& path, off_t bytes) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0 || bytes < st.st_size ||
      ::truncate(path.c_str(), bytes) != 0) {
    say("'{}' of {} bytes: {}", path, bytes,
        bytes < st.st_size ? "it is larger" : errno_name(errno));
    return false;
  }
  // Of other kinds than ext4 it has more room, and the file system that it had.
  constexpr int not_ext = 8, mended = 1, shift = 8;
  const int checked =
      run_program({"sh", "-c", "exec e2fsck -f -p \"$1\" >/dev/null 2>&1", "sh", path});
  if (checked == not_ext << shift) return true;
  const int status =
      checked == 0 || checked == mended << shift
          ? run_program({"sh", "-c", "exec resize2fs \"$1\" >/dev/null 2>&1", "sh", path})
          : checked;
  if (status != 0) say("a larger file system in '{}': resize2fs {}", path, how_it_ended(status));
  return status == 0;
}
