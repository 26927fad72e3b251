// ImageStore: root file systems for throwaway containers, from images as they lie on disk. Each is
// unpacked once into a cache that programs share, and is only read from then on.
//
//   auto store = ImageStore::open();
//   auto image = store->get("busybox.tar.gz"_host);
//   if (!image) return fail(image);
//   auto box = ContainerBuilder{"box"}.root(image->root).ephemeral().launch(runtime);
//
// In the library condroid-testing, beside condroid.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "condroid/error.hpp"
#include "condroid/path.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {

struct ImageStoreOptions {
  /// The cache; made, mode 0700, when it is missing. Has to be this user's and nobody else's to
  /// write to. Empty: $XDG_CACHE_HOME/condroid or ~/.cache/condroid, for root /var/cache/condroid.
  HostPath cache = {};
  /// So much an image's files may take up in all, counted by their sizes.
  Bytes most = {std::uint64_t{16} << 30U};
  /// So many entries it may have in all its layers.
  std::uint64_t most_entries = 4'000'000;
  /// Waits until an unpacked image is on the disk before it is one, syncfs(2), which takes seconds
  /// where others write much. Without, a power failure may leave one with empty files.
  bool sync = true;
};

/// Where an image is.
struct StoredImage {
  enum Kind : std::uint8_t {
    directory,  ///< As it lies there: debootstrap(8) and mmdebstrap(1) make such ones.
    archive,    ///< tar(5), plain or packed with gzip, zstd or xz.
    oci,        ///< An OCI image layout, a directory with a file `oci-layout`.
  };
  /// A root directory that others use, too: read it, or put an overlay on it (Root::ephemeral).
  HostPath root = {};
  Kind kind = directory;
  /// "sha256:..." of the archive or of the image's manifest; empty for a directory.
  std::string digest = {};
  bool unpacked = false;  ///< By this call; otherwise it was there.
};

/// Thread-safe, and safe to be used by many processes at once: one of them unpacks an image, those
/// that want it wait. What a process that was killed has begun never looks finished, and is removed
/// by the next one that opens the store. Images are never removed: remove the cache when nothing
/// uses it.
///
/// Nothing of an image is trusted. Digests and sizes are compared before anything is unpacked, and
/// files are made below a directory's descriptor, openat2(2), Linux 5.6. A symbolic link is looked
/// up as in the container, whose root it cannot leave. Owners, set-id bits, device nodes and
/// extended attributes are those of the image for root; for anybody else all files are this user's,
/// and there are no device nodes.
class ImageStore {
 public:
  /// A usual cache that cannot be made is an error of get(), where one is needed.
  /// @errors Step::open_rootfs: EPERM for a cache that is somebody else's or that others may write
  /// to; those of mkdir(2) and open(2).
  [[nodiscard]] static Result<ImageStore> open(ImageStoreOptions options = {});

  /// The root directory of an image. Blocks: the first time as long as unpacking takes, later for
  /// about a millisecond; an archive that was changed lately is read once more. `reference` is the
  /// name of one of several images in an OCI layout (org.opencontainers.image.ref.name); empty: the
  /// only one for this machine's architecture.
  /// @errors Step::open_rootfs, and there is nothing in the cache then. ENOENT for a missing image
  /// or blob; EBADMSG for a digest or a size that is not what was promised, a broken archive, or
  /// JSON that says nothing sensible; EXDEV for an entry that leads out of the root; EFBIG for more
  /// than ImageStoreOptions::most; ENOSPC; Errc::unsupported for an archive or a layout in a build
  /// without `images`, for media types that are not known and for other architectures. Entry and
  /// layer are named.
  [[nodiscard]] Result<StoredImage> get(const HostPath& image,
                                        std::string_view reference = {}) const;

  [[nodiscard]] const HostPath& cache() const noexcept { return options_.cache; }

 private:
  explicit ImageStore(ImageStoreOptions options) : options_(std::move(options)) {}
  ImageStoreOptions options_;
};

/// The words of a kind: "directory", "archive", "OCI layout".
[[nodiscard]] std::string_view to_string(StoredImage::Kind kind) noexcept;

}  // namespace v0
}  // namespace condroid
