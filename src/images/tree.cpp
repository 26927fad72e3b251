#include "images/tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <memory>
#include <optional>

#include "formatted.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr mode_t permissions = 07777;
constexpr std::size_t most_links = 40;  // as the kernel follows
constexpr std::size_t most_late_bytes = std::size_t{64} << 20U;

int open_within(FdView directory, const char* path, int flags, std::uint64_t resolve) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.resolve = resolve | RESOLVE_NO_MAGICLINKS;
  for (;;) {
    const long fd = ::syscall(SYS_openat2, directory.get(), path, &how, sizeof how);
    // Something was renamed meanwhile, openat2(2).
    if (fd < 0 && errno == EAGAIN) continue;
    return static_cast<int>(fd);
  }
}

std::string joined(const std::vector<std::string>& names, std::size_t count) {
  std::string path;
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) path += '/';
    path += names[i];
  }
  return path.empty() ? "." : path;
}

struct CloseDirectory {
  void operator()(DIR* d) const { ::closedir(d); }
};
using Listing = std::unique_ptr<DIR, CloseDirectory>;

/// Of a copy of the descriptor, whose place in the directory is its own.
Listing list(FdView directory) {
  Fd copy(::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!copy.valid()) return {};
  Listing listing(::fdopendir(copy.get()));
  if (listing) (void)copy.release();
  return listing;
}

bool is_dots(const char* name) {
  return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

}  // namespace

Tried<std::vector<std::string>> names_of(std::string_view path) {
  std::vector<std::string> names;
  if (path.starts_with('/')) return trouble(EXDEV, "its name is absolute");
  // No program could name it either, and each name in it may be a directory to make.
  if (path.size() >= PATH_MAX) return trouble(ENAMETOOLONG);
  while (!path.empty()) {
    const std::size_t end = path.find('/');
    const std::string_view name = path.substr(0, end);
    if (name == "..") return trouble(EXDEV, "its name has '..' in it");
    if (!name.empty() && name != ".") names.emplace_back(name);
    path = end == std::string_view::npos ? std::string_view{} : path.substr(end + 1);
  }
  return names;
}

Fd open_beneath(FdView directory, const std::string& path, int flags) {
  return Fd(open_within(directory, path.c_str(), flags, RESOLVE_BENEATH));
}

int empty_directory(FdView top) {
  // What lies deeper is lifted to the top under a new name, so that no depth needs more
  // descriptors.
  std::uint64_t lifted = 0;
  for (bool again = true; again;) {
    again = false;
    const Listing outer = list(top);
    if (!outer) return errno;
    while (const dirent* entry = ::readdir(outer.get())) {
      const std::string name = entry->d_name;
      if (is_dots(name.c_str())) continue;
      again = true;
      if (::unlinkat(top.get(), name.c_str(), 0) == 0 || errno == ENOENT) continue;
      if (errno != EISDIR && errno != EPERM) return errno;
      // Also of a directory that its owner may not list.
      (void)::fchmodat(top.get(), name.c_str(), 0700, 0);
      const Fd inner(open_within(top, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
                                 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS));
      if (!inner.valid()) return errno;
      const Listing inside = list(inner);
      if (!inside) return errno;
      while (const dirent* below = ::readdir(inside.get())) {
        if (is_dots(below->d_name)) continue;
        if (::unlinkat(inner.get(), below->d_name, 0) == 0 || errno == ENOENT) continue;
        if (errno != EISDIR && errno != EPERM) return errno;
        (void)::fchmodat(inner.get(), below->d_name, 0700, 0);
        if (::unlinkat(inner.get(), below->d_name, AT_REMOVEDIR) == 0) continue;
        int moved = -1;
        do {
          const std::string as = formatted(".lifted-{}", lifted++);
          moved = static_cast<int>(::syscall(SYS_renameat2, inner.get(), below->d_name, top.get(),
                                             as.c_str(), 1 /* RENAME_NOREPLACE */));
        } while (moved < 0 && errno == EEXIST);
        if (moved < 0) return errno;
      }
      if (::unlinkat(top.get(), name.c_str(), AT_REMOVEDIR) < 0 && errno != ENOENT) return errno;
    }
  }
  return 0;
}

void Tree::forget() {
  known_.reset();
  known_names_.clear();
}

Tried<Fd> Tree::walk(const std::vector<std::string>& names, bool make) {
  // A copy of the kernel's walk, for what it does not do beneath a directory: a link to an absolute
  // path begins at the root again, and one that climbs above it is an error, not the root itself.
  std::vector<std::string> ahead(names.rbegin(), names.rend());
  std::vector<std::string> behind;
  std::size_t links = 0;
  Fd here(open_within(root_, ".", O_PATH | O_DIRECTORY, RESOLVE_BENEATH));
  if (!here.valid()) return trouble(errno);
  while (!ahead.empty()) {
    const std::string name = std::move(ahead.back());
    ahead.pop_back();
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      if (behind.empty()) return trouble(EXDEV, "a symbolic link leads out of the image");
      behind.pop_back();
      here.reset(open_within(root_, joined(behind, behind.size()).c_str(), O_PATH | O_DIRECTORY,
                             RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS));
      if (!here.valid()) return trouble(errno);
      continue;
    }
    struct stat st {};
    if (::fstatat(here.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0) {
      if (errno != ENOENT || !make) return trouble(errno, formatted("'{}'", name));
      // Whatever the umask is.
      if (::mkdirat(here.get(), name.c_str(), 0755) < 0 ||
          ::fchmodat(here.get(), name.c_str(), 0755, 0) < 0)
        return trouble(errno);
    } else if (S_ISLNK(st.st_mode)) {
      if (++links > most_links) return trouble(ELOOP, "symbolic links without an end");
      std::array<char, 4096> text{};
      const ssize_t size = ::readlinkat(here.get(), name.c_str(), text.data(), text.size());
      if (size < 0) return trouble(errno);
      std::string_view rest(text.data(), static_cast<std::size_t>(size));
      if (rest.starts_with('/')) {
        behind.clear();
        here.reset(open_within(root_, ".", O_PATH | O_DIRECTORY, RESOLVE_BENEATH));
        if (!here.valid()) return trouble(errno);
      }
      std::vector<std::string> more;
      while (!rest.empty()) {
        const std::size_t end = rest.find('/');
        more.emplace_back(rest.substr(0, end));
        rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
      }
      ahead.insert(ahead.end(), more.rbegin(), more.rend());
      continue;
    }
    here.reset(open_within(here, name.c_str(), O_PATH | O_DIRECTORY,
                           RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS));
    if (!here.valid()) return trouble(errno, formatted("'{}'", name));
    behind.push_back(name);
  }
  // With rights to its entries, where O_PATH has none.
  Fd whole(::openat(here.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!whole.valid()) return trouble(errno);
  return whole;
}

Tried<FdView> Tree::folder(const std::vector<std::string>& names, bool make) {
  if (names.empty()) return root_;
  if (known_.valid() && known_names_ == names) return FdView(known_);
  Fd found(open_within(root_, joined(names, names.size()).c_str(), O_RDONLY | O_DIRECTORY,
                       RESOLVE_BENEATH));
  if (!found.valid()) {
    auto walked = walk(names, make);
    if (!walked) return tl::unexpected<Trouble>(std::move(walked.error()));
    found = std::move(*walked);
  }
  known_ = std::move(found);
  known_names_ = names;
  return FdView(known_);
}

Tried<Tree::Place> Tree::place(const std::vector<std::string>& names, bool make) {
  if (names.empty()) return trouble(EISDIR, "it would be the root itself");
  auto parent = folder({names.begin(), names.end() - 1}, make);
  if (!parent) return tl::unexpected<Trouble>(std::move(parent.error()));
  return Place{*parent, names.back()};
}

Tried<void> Tree::discard(const Place& place) {
  if (::unlinkat(place.parent.get(), place.leaf.c_str(), 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return trouble(errno);
  // A directory: out of the way at once, and then taken apart.
  (void)::fchmodat(place.parent.get(), place.leaf.c_str(), 0700, 0);
  if (::renameat(place.parent.get(), place.leaf.c_str(), trash_.get(), "old") < 0)
    return trouble(errno);
  forget();
  if (const int e = empty_directory(trash_); e != 0) return trouble(e, "what was there before");
  return {};
}

Tried<void> Tree::owners(const Place& place, const Entry& entry) {
  if (!root_user_) return {};
  if (::fchownat(place.parent.get(), place.leaf.c_str(), entry.uid, entry.gid,
                 AT_SYMLINK_NOFOLLOW) < 0)
    return trouble(errno, "its owner");
  return {};
}

Tried<void> Tree::attributes(FdView file, const Entry& entry) {
  for (const auto& [name, value] : entry.attributes) {
    // Those of the system's are root's to give, and trusted ones are the overlay's own language.
    if (name.starts_with("trusted.overlay.") || name.starts_with("user.overlay."))
      return trouble(EPERM, formatted("its attribute {} is one of overlayfs's", name));
    if (!root_user_ && !name.starts_with("user.")) continue;
    if (::fsetxattr(file.get(), name.c_str(), value.data(), value.size(), 0) < 0) {
      // A file system without them, or a kernel without that security module.
      if (errno == ENOTSUP || errno == EOPNOTSUPP) continue;
      return trouble(errno, formatted("its attribute {}", name));
    }
  }
  return {};
}

Tried<void> Tree::directory(const Entry& entry) {
  Fd made;
  if (entry.names.empty()) {
    made.reset(::openat(root_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  } else {
    const auto at = place(entry.names, true);
    if (!at) return tl::unexpected<Trouble>(at.error());
    const auto open = [&] {
      made.reset(open_within(at->parent, at->leaf.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
                             RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS));
    };
    if (::mkdirat(at->parent.get(), at->leaf.c_str(), 0700) < 0) {
      if (errno != EEXIST) return trouble(errno);
      open();
      if (!made.valid()) {
        // Something else of that name.
        if (auto gone = discard(*at); !gone) return gone;
        forget();
        const auto again = place(entry.names, true);
        if (!again) return tl::unexpected<Trouble>(again.error());
        if (::mkdirat(again->parent.get(), again->leaf.c_str(), 0700) < 0) return trouble(errno);
        made.reset(open_within(again->parent, again->leaf.c_str(),
                               O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
                               RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS));
      }
    } else {
      open();
    }
  }
  if (!made.valid()) return trouble(errno);
  if (root_user_ && ::fchown(made.get(), entry.uid, entry.gid) < 0)
    return trouble(errno, "its owner");
  if (auto done = attributes(made, entry); !done) return done;
  // To be written to as long as there are entries below; for root, who needs no mode, now.
  if (::fchmod(made.get(), root_user_ ? entry.mode & permissions : 0700) < 0)
    return trouble(errno, "its mode");
  std::string path = joined(entry.names, entry.names.size());
  late_bytes_ += path.size();
  if (late_bytes_ > most_late_bytes) return trouble(EFBIG, "too many directories");
  late_.insert_or_assign(std::move(path), Late{entry.mode & permissions, entry.modified});
  return {};
}

Tried<Fd> Tree::file(const Entry& entry) {
  auto at = place(entry.names, true);
  if (!at) return tl::unexpected<Trouble>(std::move(at.error()));
  if (auto gone = discard(*at); !gone) return tl::unexpected<Trouble>(gone.error());
  at = place(entry.names, true);
  if (!at) return tl::unexpected<Trouble>(std::move(at.error()));
  Fd made(::openat(at->parent.get(), at->leaf.c_str(),
                   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!made.valid()) return trouble(errno);
  return made;
}

Tried<void> Tree::finish(FdView file, const Entry& entry) {
  if (root_user_ && ::fchown(file.get(), entry.uid, entry.gid) < 0)
    return trouble(errno, "its owner");
  // After the owner, whose change takes set-id bits and capabilities away.
  if (::fchmod(file.get(), entry.mode & permissions) < 0) return trouble(errno, "its mode");
  if (auto done = attributes(file, entry); !done) return done;
  const timespec times[2] = {entry.modified, entry.modified};
  if (::futimens(file.get(), times) < 0) return trouble(errno, "its time");
  return {};
}

Tried<void> Tree::link(const Entry& entry, const std::string& text) {
  auto at = place(entry.names, true);
  if (!at) return tl::unexpected<Trouble>(std::move(at.error()));
  if (auto gone = discard(*at); !gone) return gone;
  at = place(entry.names, true);
  if (!at) return tl::unexpected<Trouble>(std::move(at.error()));
  forget();  // it may be on the way to what is known
  at = place(entry.names, true);
  if (!at) return tl::unexpected<Trouble>(std::move(at.error()));
  if (::symlinkat(text.c_str(), at->parent.get(), at->leaf.c_str()) < 0) return trouble(errno);
  const timespec times[2] = {entry.modified, entry.modified};
  (void)::utimensat(at->parent.get(), at->leaf.c_str(), times, AT_SYMLINK_NOFOLLOW);
  return owners(*at, entry);
}

Tried<void> Tree::hard_link(const Entry& entry, const std::string& target) {
  const auto names = names_of(target);
  if (!names)
    return trouble(names.error().error,
                   formatted("hard link to '{}': {}", target, names.error().why));
  // Held by a descriptor of its own: the other look-up may let go of what is known.
  auto from = place(*names, false);
  if (!from)
    return trouble(from.error().error,
                   formatted("hard link to '{}': {}", target, from.error().why));
  const Fd from_parent(::openat(from->parent.get(), ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  const std::string from_leaf = from->leaf;
  if (!from_parent.valid()) return trouble(errno);
  struct stat st {};
  if (::fstatat(from_parent.get(), from_leaf.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0)
    return trouble(errno, formatted("hard link to '{}'", target));
  auto at = place(entry.names, true);
  if (!at) return tl::unexpected<Trouble>(std::move(at.error()));
  struct stat old {};
  if (::fstatat(at->parent.get(), at->leaf.c_str(), &old, AT_SYMLINK_NOFOLLOW) == 0 &&
      old.st_dev == st.st_dev && old.st_ino == st.st_ino)
    return {};
  if (auto gone = discard(*at); !gone) return gone;
  at = place(entry.names, true);
  if (!at) return tl::unexpected<Trouble>(std::move(at.error()));
  if (::linkat(from_parent.get(), from_leaf.c_str(), at->parent.get(), at->leaf.c_str(), 0) < 0)
    return trouble(errno, formatted("hard link to '{}'", target));
  return {};
}

Tried<void> Tree::node(const Entry& entry, mode_t kind, dev_t device) {
  auto at = place(entry.names, true);
  if (!at) return tl::unexpected<Trouble>(std::move(at.error()));
  if (auto gone = discard(*at); !gone) return gone;
  if (!root_user_ && kind != S_IFIFO) return {};
  at = place(entry.names, true);
  if (!at) return tl::unexpected<Trouble>(std::move(at.error()));
  if (::mknodat(at->parent.get(), at->leaf.c_str(), kind | 0600, device) < 0) {
    // Root of a user namespace: as anybody.
    if (errno == EPERM && kind != S_IFIFO) return {};
    return trouble(errno);
  }
  if (auto done = owners(*at, entry); !done) return done;
  if (::fchmodat(at->parent.get(), at->leaf.c_str(), entry.mode & permissions, 0) < 0)
    return trouble(errno, "its mode");
  return {};
}

Tried<void> Tree::remove(const std::vector<std::string>& names) {
  const auto at = place(names, false);
  if (!at) {
    if (at.error().error == ENOENT || at.error().error == ENOTDIR) return {};
    return tl::unexpected<Trouble>(at.error());
  }
  forget();
  const auto again = place(names, false);
  if (!again) return tl::unexpected<Trouble>(again.error());
  return discard(*again);
}

Tried<void> Tree::clear(const std::vector<std::string>& names) {
  Fd inside;
  if (names.empty()) {
    inside.reset(::openat(root_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  } else {
    const auto at = place(names, false);
    if (!at) {
      if (at.error().error == ENOENT || at.error().error == ENOTDIR) return {};
      return tl::unexpected<Trouble>(at.error());
    }
    // Not where a link leads to: the layer has a directory in place of the link.
    inside.reset(open_within(at->parent, at->leaf.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
                             RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS));
  }
  if (!inside.valid()) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return {};
    return trouble(errno);
  }
  forget();
  if (const int e = empty_directory(inside); e != 0) return trouble(e);
  return {};
}

Tried<void> Tree::settle() {
  forget();
  for (auto late = late_.rbegin(); late != late_.rend(); ++late) {
    const auto& [path, wanted] = *late;
    const Fd there(
        open_within(root_, path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW, RESOLVE_BENEATH));
    if (!there.valid()) continue;  // gone by a later entry, or reached by way of a link
    const timespec times[2] = {wanted.modified, wanted.modified};
    if (::futimens(there.get(), times) < 0) return trouble(errno, "a directory's time");
    if (!root_user_ && ::fchmod(there.get(), wanted.mode) < 0)
      return trouble(errno, "a directory's mode");
  }
  late_.clear();
  return {};
}

}  // namespace condroid::inline v0::detail
