#include "launch/state_file.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "formatted.hpp"

namespace condroid::inline v0::detail {

namespace {

using program::ArenaHeader;
using program::LiveEntry;

/// Text of a fixed-size field; nothing when its end is missing.
template <std::size_t N>
std::optional<std::string> text_of(const char (&field)[N]) {
  const std::size_t size = ::strnlen(field, N);
  if (size == N) return std::nullopt;
  return std::string(field, size);
}

/// As Spec::name, with the number behind it.
bool is_name(std::string_view text) {
  constexpr std::string_view allowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
  return !text.empty() && text.front() != '.' && text.front() != '-' &&
         text.find_first_not_of(allowed) == text.npos;
}

/// A directory that can be named without surprises.
bool is_plain_path(std::string_view path) {
  if (path.empty() || path.front() != '/') return false;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at + 1), path.size());
    const std::string_view part = path.substr(at + 1, end - at - 1);
    if (part == ".." || part == "." || (part.empty() && path.size() > 1)) return false;
    at = end;
  }
  return std::ranges::none_of(path, [](char c) { return static_cast<unsigned char>(c) < ' '; });
}

std::optional<StateEntry> parse_entry(const LiveEntry& from, std::uint32_t place) {
  const auto text = text_of(from.name);
  if (!text || from.pid <= 1) return std::nullopt;
  const auto group = text_of(from.place);
  if (!group || (!group->empty() && !is_plain_path("/" + *group))) return std::nullopt;
  const std::size_t dot = text->rfind('.');
  if (dot == text->npos || dot + 1 == text->size()) return std::nullopt;
  StateEntry e{.place = place,
               .name = text->substr(0, dot),
               .number = text->substr(dot + 1),
               .pid = from.pid,
               .born = from.born,
               .cgroups = from.cgroups,
               .group = *group,
               .detached = from.detached != 0,
               .landlock = (from.marks & program::mark_landlock) != 0,
               .profile = (from.marks & program::mark_profile) != 0,
               .label_below = (from.marks & program::mark_label_below) != 0};
  constexpr std::size_t longest_name = 64, longest_number = 20;
  if (!is_name(e.name) || e.name.size() > longest_name || e.number.size() > longest_number ||
      e.number.find_first_not_of("0123456789") != e.number.npos)
    return std::nullopt;
  return e;
}

/// Ours, and nobody else may write there.
bool only_ours(const struct stat& st) {
  return st.st_uid == ::geteuid() && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

}  // namespace

bool is_state_file_name(std::string_view name) {
  constexpr std::string_view prefix = "condroid-";
  constexpr std::size_t digits = 12;
  return name.size() == prefix.size() + digits && name.starts_with(prefix) &&
         name.find_first_not_of("0123456789abcdef", prefix.size()) == name.npos;
}

std::optional<StateHeader> parse_state_header(std::span<const char> bytes,
                                              std::string_view file_name) {
  ArenaHeader head{};
  if (bytes.size() < sizeof head) return std::nullopt;
  std::memcpy(&head, bytes.data(), sizeof head);
  const auto runtime = text_of(head.runtime);
  if (head.magic != program::magic || head.version != program::arena_version || head.zygote <= 0 ||
      head.host < 0 || !runtime || *runtime != file_name || !is_state_file_name(*runtime))
    return std::nullopt;
  StateHeader out{.host = head.host, .zygote = head.zygote, .runtime = *runtime};
  for (const auto& parent : head.parents) {
    const auto text = text_of(parent);
    out.parents.push_back(text && is_plain_path(*text) ? *text : std::string());
  }
  return out;
}

std::vector<StateEntry> parse_state_entries(std::span<const char> bytes, std::uint32_t place) {
  std::vector<StateEntry> out;
  for (; bytes.size() >= sizeof(LiveEntry); bytes = bytes.subspan(sizeof(LiveEntry)), ++place) {
    LiveEntry one{};
    std::memcpy(&one, bytes.data(), sizeof one);
    if (auto e = parse_entry(one, place)) out.push_back(std::move(*e));
  }
  return out;
}

std::optional<StateFile> StateFile::open(int dir, const std::string& name, int* error) {
  if (!is_state_file_name(name)) return std::nullopt;
  const auto cannot = [error] {
    // It is gone, or somebody else's: that is an answer.
    if (error != nullptr && errno != ENOENT && errno != ELOOP && errno != EACCES) *error = errno;
    return std::nullopt;
  };
  Fd fd(::openat(dir, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat st {};
  if (!fd.valid() || ::fstat(fd.get(), &st) < 0) return cannot();
  if (!S_ISREG(st.st_mode) || !only_ours(st) ||
      st.st_size != static_cast<off_t>(program::arena_size))
    return std::nullopt;
  std::vector<char> bytes(sizeof(ArenaHeader));
  const ssize_t n = ::pread(fd.get(), bytes.data(), bytes.size(), 0);
  if (n < 0) return cannot();
  if (n != static_cast<ssize_t>(bytes.size())) return std::nullopt;
  auto header = parse_state_header(bytes, name);
  if (!header) return std::nullopt;
  StateFile file(std::move(fd), std::move(*header));
  if (!file.held()) return std::nullopt;
  return file;
}

bool StateFile::held() const {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  // Without memory to tell, the kernel has not said that the zygote is gone.
  if (::fcntl(fd_.get(), F_GETLK, &whole) < 0) return errno == ENOMEM;
  if (whole.l_type == F_UNLCK) return false;
  // The kernel names who holds it, unless that one has no number in this pid namespace.
  return whole.l_pid <= 0 || whole.l_pid == header_.zygote;
}

std::vector<StateEntry> StateFile::entries(int* error) const {
  std::vector<StateEntry> out;
  constexpr std::size_t piece = 64U << 10U;
  static_assert(piece % sizeof(LiveEntry) == 0);
  std::vector<char> bytes(piece);
  constexpr std::size_t begin = program::arena_live, end = program::arena_pages;
  for (std::size_t at = begin; at < end;) {
    // What was never used is a hole.
    const off_t data = ::lseek(fd_.get(), static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;
    if (data < 0 && error != nullptr && errno != EINVAL) *error = errno;
    if (data > static_cast<off_t>(at)) {
      const std::size_t skipped = (static_cast<std::size_t>(data) - at) / sizeof(LiveEntry);
      at += skipped * sizeof(LiveEntry);
    }
    if (at >= end) break;
    const ssize_t n =
        ::pread(fd_.get(), bytes.data(), std::min(piece, end - at), static_cast<off_t>(at));
    if (n < 0 && error != nullptr) *error = errno;
    if (n < static_cast<ssize_t>(sizeof(LiveEntry))) break;
    const std::size_t whole = static_cast<std::size_t>(n) / sizeof(LiveEntry) * sizeof(LiveEntry);
    auto found = parse_state_entries({bytes.data(), whole},
                                     static_cast<std::uint32_t>((at - begin) / sizeof(LiveEntry)));
    std::ranges::move(found, std::back_inserter(out));
    at += whole;
  }
  return out;
}

std::optional<StateEntry> StateFile::entry(std::uint32_t place) const {
  LiveEntry one{};
  if (place >= program::max_live ||
      ::pread(fd_.get(), &one, sizeof one,
              static_cast<off_t>(program::arena_live + std::size_t{place} * sizeof one)) !=
          static_cast<ssize_t>(sizeof one))
    return std::nullopt;
  return parse_entry(one, place);
}

Result<Fd> open_state_dir(const std::string& path) {
  Fd dir(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!dir.valid()) {
    if (errno == ENOENT) return Fd{};
    return fail(errno, Step::find_container, formatted("state directory '{}'", path));
  }
  struct stat st {};
  if (::fstat(dir.get(), &st) < 0)
    return fail(errno, Step::find_container, formatted("state directory '{}'", path));
  if (!only_ours(st))
    return fail(
        EPERM, Step::find_container,
        formatted("state directory '{}': it is another user's, or others may write to it", path));
  return dir;
}

std::vector<std::string> state_files(int dir, int* error) {
  std::vector<std::string> names;
  // A position of its own: the descriptor may be read again.
  const int again = ::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* d = again < 0 ? nullptr : ::fdopendir(again);
  if (d == nullptr) {
    if (error != nullptr && errno != ENOENT) *error = errno;
    if (again >= 0) ::close(again);
    return names;
  }
  errno = 0;
  while (const dirent* e = ::readdir(d)) {
    if (is_state_file_name(e->d_name)) names.emplace_back(e->d_name);
    errno = 0;
  }
  if (error != nullptr && errno != 0 && errno != ENOENT) *error = errno;
  ::closedir(d);
  std::ranges::sort(names);
  return names;
}

}  // namespace condroid::inline v0::detail
