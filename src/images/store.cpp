#include "condroid/image_store.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "formatted.hpp"
#include "images/archive.hpp"
#include "images/oci.hpp"
#include "images/tree.hpp"

// The cache:
//
//   roots/KEY/root     finished ones; made by a rename
//   work/KEY.RANDOM/   being unpacked: root, trash
//   locks/KEY          held exclusively by who unpacks KEY or sweeps what is left of it;
//                      never removed
//   seen/STAT          the digest of an archive that had this device, inode, size and these times

namespace condroid::inline v0 {

namespace {

using namespace detail;

tl::unexpected<Error> wrong(int error, const std::string& subject, std::string hint = {}) {
  Error e = sys_error(error, Step::open_rootfs, subject);
  if (!hint.empty()) e.hint = std::move(hint);
  return fail(std::move(e));
}

Fd open_folder(FdView in, const std::string& name) {
  return Fd(::openat(in.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

std::string usual_cache() {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value != nullptr && value[0] == '/' ? value : "";
  };
  if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty())
    return cache + "/condroid";
  if (::geteuid() == 0) return "/var/cache/condroid";
  const std::string home = variable("HOME");
  return home.empty() ? "" : home + "/.cache/condroid";
}

int make_all(const std::string& path) {
  for (std::size_t at = 1; at != std::string::npos;) {
    at = path.find('/', at + 1);
    if (::mkdir(path.substr(0, at).c_str(), 0700) < 0 && errno != EEXIST && errno != EROFS)
      return errno;
  }
  return 0;
}

std::string random_name() {
  std::array<unsigned char, 8> bytes{};
  while (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
  }
  std::string name;
  for (const unsigned char b : bytes) append_formatted(name, "{:02x}", b);
  return name;
}

/// The cache's directories.
struct Cache {
  Fd roots = {};
  Fd work = {};
  Fd locks = {};
  Fd seen = {};
};

Result<Cache> open_cache(const std::string& path) {
  if (path.empty())
    return wrong(ENOENT, "cache of images", "neither XDG_CACHE_HOME nor HOME is set");
  const Fd top(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::string subject = formatted("cache of images '{}'", path);
  if (!top.valid()) return wrong(errno, subject);
  struct stat st {};
  if (::fstat(top.get(), &st) < 0) return wrong(errno, subject);
  if (st.st_uid != ::geteuid() || (st.st_mode & 022) != 0)
    return wrong(EPERM, subject + ": it is somebody else's, or others may write to it",
                 "name another one with ImageStoreOptions::cache");
  Cache cache;
  for (const auto& [name, fd] :
       {std::pair{"roots", &cache.roots}, std::pair{"work", &cache.work},
        std::pair{"locks", &cache.locks}, std::pair{"seen", &cache.seen}}) {
    if (::mkdirat(top.get(), name, 0700) < 0 && errno != EEXIST) return wrong(errno, subject);
    *fd = open_folder(top, name);
    if (!fd->valid()) return wrong(errno, subject);
  }
  return cache;
}

/// A lock that ends with this, also where a process that was forked meanwhile has a copy of its
/// descriptor.
class Locked {
 public:
  Locked() = default;
  explicit Locked(Fd file) : file_(std::move(file)) {}
  Locked(Locked&&) noexcept = default;
  Locked& operator=(Locked&&) = delete;
  ~Locked() {
    if (file_.valid()) (void)::flock(file_.get(), LOCK_UN);
  }
  [[nodiscard]] bool valid() const noexcept { return file_.valid(); }

 private:
  Fd file_ = {};
};

/// Locks KEY; waits for who has it, if he is to be waited for. Invalid, with errno, if not.
Locked lock(const Cache& cache, const std::string& key, bool wait) {
  Fd file(
      ::openat(cache.locks.get(), key.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) return {};
  for (;;) {
    if (::flock(file.get(), wait ? LOCK_EX : LOCK_EX | LOCK_NB) == 0)
      return Locked(std::move(file));
    if (errno != EINTR) return {};
  }
}

/// Removes what KEY's unpackers left. The caller has its lock.
int sweep(const Cache& cache, const std::string& key, const std::string& name) {
  if (!name.starts_with(key + ".")) return 0;
  const Fd left = open_folder(cache.work, name);
  if (!left.valid()) return errno == ENOENT ? 0 : errno;
  if (const int e = empty_directory(left); e != 0) return e;
  return ::unlinkat(cache.work.get(), name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT ? 0
                                                                                          : errno;
}

std::vector<std::string> names_in(FdView directory) {
  std::vector<std::string> names;
  Fd copy(::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* listing = copy.valid() ? ::fdopendir(copy.get()) : nullptr;
  if (listing == nullptr) return names;
  (void)copy.release();
  while (const dirent* entry = ::readdir(listing))
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  ::closedir(listing);
  return names;
}

void sweep_all(const Cache& cache) {
  for (const std::string& name : names_in(cache.work)) {
    const std::string key = name.substr(0, name.rfind('.'));
    const Locked locked = lock(cache, key, false);
    if (locked.valid()) (void)sweep(cache, key, name);
  }
}

bool finished(const Cache& cache, const std::string& key) {
  return ::faccessat(cache.roots.get(), (key + "/root").c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/// Has `fill` make a root, unless there is one. True: it was made now.
template <class Fill>
Result<bool> unpack_once(const Cache& cache, const std::string& key, const std::string& name,
                         bool sync, Fill fill) {
  if (finished(cache, key)) return false;
  const Locked locked = lock(cache, key, true);
  if (!locked.valid()) return wrong(errno, formatted("{}: the lock of its cache", name));
  if (finished(cache, key)) return false;
  for (const std::string& old : names_in(cache.work)) (void)sweep(cache, key, old);

  const std::string work = formatted("{}.{}", key, random_name());
  const auto made = [&]() -> Result<bool> {
    if (::mkdirat(cache.work.get(), work.c_str(), 0700) < 0) return wrong(errno, name);
    const Fd folder = open_folder(cache.work, work);
    if (!folder.valid() || ::mkdirat(folder.get(), "root", 0755) < 0 ||
        ::mkdirat(folder.get(), "trash", 0700) < 0)
      return wrong(errno, name);
    const Fd root = open_folder(folder, "root");
    const Fd trash = open_folder(folder, "trash");
    // Whatever the umask is.
    if (!root.valid() || !trash.valid() || ::fchmod(root.get(), 0755) < 0)
      return wrong(errno, name);
    Tree tree(root, trash, ::geteuid() == 0);
    if (Result<void> filled = fill(tree); !filled) return fail(filled);
    if (const auto settled = tree.settle(); !settled)
      return wrong(settled.error().error, formatted("{}: {}", name, settled.error().why));
    if (::unlinkat(folder.get(), "trash", AT_REMOVEDIR) < 0) return wrong(errno, name);
    // Nothing has its final name before it is on the disk.
    if (sync && ::syncfs(root.get()) < 0) return wrong(errno, name);
    if (::renameat(cache.work.get(), work.c_str(), cache.roots.get(), key.c_str()) < 0)
      return wrong(errno, name);
    return true;
  }();
  if (!made) (void)sweep(cache, key, work);
  return made;
}

/// What tells that a file is the one that was read before; empty for one that changed so lately
/// that it could change once more within the same time stamp.
std::string stamp_of(const struct stat& st) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  constexpr time_t settled = 2;
  if (st.st_ctim.tv_sec + settled >= now.tv_sec) return {};
  return formatted("{:x}-{:x}-{:x}-{:x}.{:x}-{:x}.{:x}", st.st_dev, st.st_ino, st.st_size,
                   st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
}

constexpr std::size_t digest_length = sizeof "sha256:" - 1 + 64;

Result<std::string> archive_digest(const Cache& cache, FdView file, const struct stat& st,
                                   const std::string& name) {
  const std::string stamp = stamp_of(st);
  if (!stamp.empty()) {
    std::array<char, digest_length> text{};
    const Fd seen(::openat(cache.seen.get(), stamp.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (seen.valid() &&
        ::read(seen.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()))
      return std::string(text.data(), text.size());
  }
  auto digest = digest_of(file, name);
  if (!digest || stamp.empty()) return digest;
  const std::string fresh = formatted(".{}", random_name());
  const Fd note(::openat(cache.seen.get(), fresh.c_str(),
                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (note.valid()) {
    const bool written =
        ::write(note.get(), digest->data(), digest->size()) == static_cast<ssize_t>(digest->size());
    if (!written ||
        ::renameat(cache.seen.get(), fresh.c_str(), cache.seen.get(), stamp.c_str()) < 0)
      (void)::unlinkat(cache.seen.get(), fresh.c_str(), 0);
  }
  return digest;
}

/// "sha256:..." as the name of a file.
std::string key_of(std::string_view kind, std::string digest) {
  digest[digest.find(':')] = '-';
  return formatted("{}-{}", kind, digest);
}

}  // namespace

std::string_view to_string(StoredImage::Kind kind) noexcept {
  switch (kind) {
    case StoredImage::directory:
      return "directory";
    case StoredImage::archive:
      return "archive";
    case StoredImage::oci:
      return "OCI layout";
  }
  return "";
}

Result<ImageStore> ImageStore::open(ImageStoreOptions options) {
  // A directory needs no cache: who has none by default is told when he wants to unpack something.
  const bool usual = options.cache.empty();
  if (usual) options.cache = HostPath(usual_cache());
  if (!options.cache.empty() && !options.cache.is_absolute()) {
    const std::unique_ptr<char, decltype(&std::free)> here(::getcwd(nullptr, 0), &std::free);
    if (!here) return wrong(errno, "cache of images");
    options.cache = HostPath(std::string(here.get())) / options.cache.str();
  }
  if (const int e = options.cache.empty() ? 0 : make_all(options.cache.str()); e != 0 && !usual)
    return wrong(e, formatted("cache of images '{}'", options.cache.str()));
  const auto cache = open_cache(options.cache.str());
  if (!cache && !usual) return tl::unexpected<Error>(cache.error());
  if (cache) sweep_all(*cache);
  return ImageStore(std::move(options));
}

Result<StoredImage> ImageStore::get(const HostPath& image, std::string_view reference) const {
  const std::string name = formatted("image '{}'", image.str());
  // Looked at before it is opened: a device of another kind may do something when it is.
  const Fd place(::open(image.c_str(), O_PATH | O_CLOEXEC));
  struct stat st {};
  if (!place.valid() || ::fstat(place.get(), &st) < 0)
    return wrong(errno, name, errno == ENOENT ? "is there such a file on the host?" : "");
  if (S_ISDIR(st.st_mode) &&
      ::faccessat(place.get(), "oci-layout", F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
    std::string path = image.str();
    if (!image.is_absolute()) {
      const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr),
                                                             &std::free);
      if (!real) return wrong(errno, name);
      path = real.get();
    }
    return StoredImage{.root = HostPath(path), .kind = StoredImage::directory};
  }
  if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
    return wrong(EINVAL, name + ": it is neither a file nor a directory");
  const Fd opened(::open(formatted("/proc/self/fd/{}", place.get()).c_str(),
                         O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!opened.valid()) return wrong(errno, name);
  const auto cache = open_cache(options_.cache.str());
  if (!cache) return tl::unexpected<Error>(cache.error());
  Allowance left{.bytes = options_.most.value, .entries = options_.most_entries};
  StoredImage stored;

  if (S_ISREG(st.st_mode)) {
    stored.kind = StoredImage::archive;
    auto digest = archive_digest(*cache, opened, st, name);
    if (!digest) return fail(digest);
    stored.digest = std::move(*digest);
  } else {
    stored.kind = StoredImage::oci;
  }
  OciImage layout;
  if (stored.kind == StoredImage::oci) {
    auto read = read_layout(opened, name, reference);
    if (!read) return fail(read);
    layout = std::move(*read);
    stored.digest = layout.digest;
  }
  const std::string key =
      key_of(stored.kind == StoredImage::oci ? "oci" : "archive", stored.digest);
  const auto unpacked =
      unpack_once(*cache, key, name, options_.sync, [&](Tree& tree) -> Result<void> {
        if (stored.kind == StoredImage::archive)
          return unpack({.file = opened,
                         .name = name,
                         .digest = stored.digest,
                         .size = static_cast<std::uint64_t>(st.st_size)},
                        tree, left);
        for (const OciLayer& layer : layout.layers) {
          const auto blob = open_blob(opened, name, layer.digest, layer.size);
          if (!blob) return tl::unexpected<Error>(blob.error());
          if (auto done = unpack({.file = *blob,
                                  .name = formatted("{}: layer {}", name, layer.digest),
                                  .packing = layer.packing,
                                  .digest = layer.digest,
                                  .size = layer.size,
                                  .diff_id = layer.diff_id,
                                  .layer = true},
                                 tree, left);
              !done)
            return done;
        }
        return {};
      });
  if (!unpacked) return tl::unexpected<Error>(unpacked.error());
  stored.unpacked = *unpacked;
  stored.root = options_.cache / ("roots/" + key + "/root");
  return stored;
}

}  // namespace condroid::inline v0
