#include "sys/image.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "formatted.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr std::uint64_t sector = 512;

/// A file or a device that is to be mounted.
struct Opened {
  Fd fd = {};
  struct stat st = {};
  std::uint64_t size = 0;
  bool device = false;
};

/// Errors of this file: the image, what is wrong, what to try.
tl::unexpected<Error> wrong(int errnum, const ImageWanted& wanted, const std::string& what,
                            std::string hint) {
  Error e = sys_error(errnum, Step::mount_root,
                      formatted("image '{}'{}{}", wanted.path, what.empty() ? "" : ": ", what));
  if (!hint.empty()) e.hint = std::move(hint);
  return fail(std::move(e));
}

std::string path_of(const Fd& fd) { return formatted("/proc/self/fd/{}", fd.get()); }

Result<Opened> open_image(const ImageWanted& wanted) {
  Opened image;
  // Looked at before it is opened: a device of another kind may do something when it is.
  const Fd place(::open(wanted.path.c_str(), O_PATH | O_CLOEXEC));
  if (!place.valid())
    return wrong(errno, wanted, "", errno == ENOENT ? "is there such a file on the host?" : "");
  if (::fstat(place.get(), &image.st) < 0) return wrong(errno, wanted, "", "");
  image.device = S_ISBLK(image.st.st_mode);
  if (S_ISDIR(image.st.st_mode))
    return wrong(EISDIR, wanted, "it is a directory", "give it as root.path");
  if (!image.device && !S_ISREG(image.st.st_mode))
    return wrong(ENOTBLK, wanted, "it is neither a file nor a block device", "");
  image.fd = Fd(::open(path_of(place).c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!image.fd.valid()) return wrong(errno, wanted, "", "");
  image.size = static_cast<std::uint64_t>(image.st.st_size);
  if (image.device && ::ioctl(image.fd.get(), BLKGETSIZE64, &image.size) < 0)
    return wrong(errno, wanted, "its size", "");
  return image;
}

/// The same file, whatever is at its path by now: that was looked into.
Result<void> open_for_writing(Opened& image, const ImageWanted& wanted) {
  Fd again(::open(path_of(image.fd).c_str(), O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!again.valid()) {
    const bool closed = errno == EROFS || errno == EACCES || errno == EPERM;
    return wrong(errno, wanted, "it cannot be opened for writing",
                 closed ? "root.read_only or root.ephemeral leaves it as it is" : "");
  }
  image.fd = std::move(again);
  return {};
}

Result<ImageKind> look_into(const Opened& image, const ImageWanted& wanted) {
  std::vector<std::uint8_t> head(image_head);
  std::size_t have = 0;
  while (have < head.size()) {
    const ssize_t n =
        ::pread(image.fd.get(), head.data() + have, head.size() - have, static_cast<off_t>(have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return wrong(errno, wanted, "reading it", "");
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  head.resize(have);
  return image_kind(head);
}

/// Whether what the file system says of its size can be: its driver may find out late.
Result<void> has_all(const Opened& image, const ImageKind& kind, const ImageWanted& wanted) {
  const std::uint64_t usable = image.size / sector * sector;
  if (kind.size <= usable) return {};
  if (kind.size <= image.size)
    return wrong(EINVAL, wanted, formatted("its {} bytes are no whole sectors", image.size),
                 "truncate --size=%512 makes it longer");
  return wrong(EINVAL, wanted,
               formatted("{} of {} bytes in {} bytes", kind.what, kind.size, image.size),
               "it is truncated, or damaged: copy it again, or have it checked");
}

bool writes_nothing(std::string_view type) {
  return type == "squashfs" || type == "erofs" || type == "iso9660" || type == "cramfs" ||
         type == "romfs";
}

// ---- loop devices -------------------------------------------------------------------------------

struct Loop {
  Fd fd = {};  ///< It lives as long as this is open, or a file system is mounted from it.
  std::string path = {};
  bool read_only = false;
};

/// Whether a loop device that cannot be asked is of this file, or of one that cannot be told.
bool may_have(std::string_view name, const Opened& image) {
  const Fd file(
      ::open(formatted("/sys/block/{}/loop/backing_file", name).c_str(), O_RDONLY | O_CLOEXEC));
  char path[4096];
  const ssize_t n = ::read(file.get(), path, sizeof path - 1);
  if (n <= 1) return true;
  path[n - 1] = '\0';  // a line feed
  struct stat st {};
  return ::stat(path, &st) < 0 || (st.st_dev == image.st.st_dev && st.st_ino == image.st.st_ino);
}

/// The loop device that this file has already, from its beginning and whole.
Result<std::optional<Loop>> existing_loop(const Opened& image, const ImageWanted& wanted,
                                          bool write) {
  struct Close {
    void operator()(DIR* d) const noexcept { ::closedir(d); }
  };
  const std::unique_ptr<DIR, Close> list(::opendir("/sys/block"));
  if (list == nullptr) {
    // Who only reads may have a device of his own.
    if (!write) return std::optional<Loop>{};
    return wrong(errno, wanted, "'/sys/block' tells whether it is mounted already",
                 "mount /sys, or use root.read_only");
  }
  while (const dirent* e = ::readdir(list.get())) {
    const std::string_view name = e->d_name;
    if (!name.starts_with("loop")) continue;
    struct stat bound {};
    if (::stat(formatted("/sys/block/{}/loop", name).c_str(), &bound) < 0) continue;
    Loop loop{.path = formatted("/dev/{}", name)};
    loop.fd = Fd(::open(loop.path.c_str(), O_RDONLY | O_CLOEXEC));
    const int closed = loop.fd.valid() ? 0 : errno;
    // ENXIO: it is being taken down.
    if (write && closed != 0 && closed != ENXIO && may_have(name, image))
      return wrong(
          EBUSY, wanted,
          formatted("{} may have it, and cannot be opened ({})", loop.path, errno_name(closed)),
          "give this program that device, or use root.read_only or root.ephemeral");
    loop_info64 info{};
    // Asked when it is open: from then on it stays what it is.
    if (!loop.fd.valid() || ::ioctl(loop.fd.get(), LOOP_GET_STATUS64, &info) < 0) continue;
    if (info.lo_device != image.st.st_dev || info.lo_inode != image.st.st_ino) continue;
    loop.read_only = (info.lo_flags & LO_FLAGS_READ_ONLY) != 0;
    const bool whole = info.lo_offset == 0 && info.lo_sizelimit == 0;
    if (whole && (!write || !loop.read_only)) return std::optional(std::move(loop));
    if (write)
      return wrong(EBUSY, wanted,
                   formatted("{} has {}", loop.path, whole ? "it read-only" : "a part of it"),
                   "what others read does not change below them: use root.read_only or "
                   "root.ephemeral, or end them");
  }
  return std::optional<Loop>{};
}

Result<Loop> new_loop(const Opened& image, const ImageWanted& wanted, bool write) {
  const Fd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control.valid())
    return wrong(errno, wanted, "'/dev/loop-control'",
                 "a file is mounted by a loop device, and there are none here: modprobe loop, or "
                 "give this program's container its devices");
  // Somebody else may take the free one before we do.
  for (int tries = 0; tries < 64; ++tries) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0)
      return wrong(errno, wanted, "there is no free loop device", "losetup -a lists those in use");
    Loop loop{.path = formatted("/dev/loop{}", number), .read_only = !write};
    loop.fd = Fd(::open(loop.path.c_str(), (write ? O_RDWR : O_RDONLY) | O_CLOEXEC));
    if (!loop.fd.valid() && errno == ENXIO) continue;  // somebody's, who lets go of it
    if (!loop.fd.valid())
      return wrong(errno, wanted, formatted("'{}'", loop.path),
                   errno == ENOENT ? formatted("mknod -m 660 {} b 7 {}", loop.path, number) : "");
    loop_config config{};
    config.fd = static_cast<std::uint32_t>(image.fd.get());
    config.info.lo_flags =
        LO_FLAGS_AUTOCLEAR | (write ? 0U : static_cast<std::uint32_t>(LO_FLAGS_READ_ONLY));
    wanted.path.copy(reinterpret_cast<char*>(config.info.lo_file_name), LO_NAME_SIZE - 1);
    if (::ioctl(loop.fd.get(), LOOP_CONFIGURE, &config) == 0) return loop;
    if (errno != EBUSY) return wrong(errno, wanted, formatted("as '{}'", loop.path), "");
  }
  return wrong(EBUSY, wanted, "others took every loop device that was free", "");
}

// ---- mounting -----------------------------------------------------------------------------------

Result<DetachedMount> mount_device(const std::string& device, const ImageWanted& wanted,
                                   const std::string& type, const std::string& what, bool write) {
  NewFileSystem fs{.type = type, .source = device, .options = wanted.options, .flags = {}};
  if (!write) {
    fs.flags = MountFlag::read_only;
    fs.options.emplace_back("ro");
  }
  auto mount = DetachedMount::create(fs);
  // Another has it mounted to write to it: then it is this mount alone that is read-only.
  if (!mount && !write && mount.error().is_errno(EBUSY)) {
    fs.options.pop_back();
    mount = DetachedMount::create(fs);
  }
  if (mount) return mount;
  const int errnum = mount.error().code.value();
  std::string hint;
  if (errnum == ENODEV)
    hint = formatted("this kernel does not have {}: modprobe {}", type, type);
  else if (errnum == EPERM || errnum == EACCES)
    hint = "root of the initial user namespace mounts file systems on devices; is it read-only?";
  else if (errnum == EBUSY)
    hint = write ? "somebody has it mounted read-only: use root.read_only or root.ephemeral"
                 : "somebody holds the device for himself: see lsblk, dmsetup ls";
  else if (errnum == EROFS)
    hint = write ? "it can only be read here: use root.read_only or root.ephemeral"
                 : "its journal is to be replayed, which is written: mount it once, or have it "
                   "checked";
  else if (errnum == EINVAL || errnum == EUCLEAN || errnum == EIO || errnum == EBADMSG)
    hint = "is it whole, and does the kernel know all of its features? dmesg says more";
  return wrong(errnum, wanted, formatted("{}, mounting {}", what, mount.error().subject),
               std::move(hint));
}

/// Whether it is ours to set the image up; let go of with the descriptor.
Result<std::optional<Fd>> lock(const ImageWanted& wanted, const Opened& image) {
  Fd fd(::open(path_of(image.fd).c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd.valid()) return wrong(errno, wanted, "", "");
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return std::optional(std::move(fd));
  if (errno == EWOULDBLOCK) return std::optional<Fd>{};
  return wrong(errno, wanted, "locking it", "");
}

}  // namespace

Result<std::optional<DetachedMount>> mount_image(const ImageWanted& wanted) {
  auto image = open_image(wanted);
  if (!image) return fail(image);
  auto kind = look_into(*image, wanted);
  if (!kind) return fail(kind);
  const std::string type = wanted.type.empty() ? kind->type : wanted.type;
  if (type.empty())
    return wrong(EINVAL, wanted, kind->what,
                 "ext4, squashfs, erofs, f2fs, xfs and btrfs are found by what is in it; name any "
                 "other type");
  if (kind->type == type)
    if (auto ok = has_all(*image, *kind, wanted); !ok) return fail(ok);
  const bool write = !wanted.read_only && !writes_nothing(type);
  if (write)
    if (auto ok = open_for_writing(*image, wanted); !ok) return fail(ok);
  if (image->device) {
    auto mount = mount_device(path_of(image->fd), wanted, type, kind->what, write);
    if (!mount) return fail(mount);
    return std::optional(std::move(*mount));
  }
  auto locked = lock(wanted, *image);
  if (!locked) return fail(locked);
  if (!*locked) return std::optional<DetachedMount>{};
  auto found = existing_loop(*image, wanted, write);
  if (!found) return fail(found);
  Loop loop;
  if (*found) {
    loop = std::move(**found);
  } else {
    auto made = new_loop(*image, wanted, write);
    if (!made) return fail(made);
    loop = std::move(*made);
  }
  auto mount = mount_device(loop.path, wanted, type, kind->what, write);
  if (!mount) return fail(mount);
  return std::optional(std::move(*mount));
}

}  // namespace condroid::inline v0::detail
