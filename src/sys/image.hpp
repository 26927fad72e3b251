// File systems in files: what an image has in it, and mounting it by a loop device that ends with
// the last mount.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/sys/mount.hpp"

namespace condroid::inline v0::detail {

/// How much of an image has to be read to know what it is.
inline constexpr std::size_t image_head = std::size_t{68} * 1024;

/// What the first bytes of an image say.
struct ImageKind {
  std::string type = {};  ///< The file system as mount(8) calls it; empty: none that we know.
  std::string what = {};  ///< For a person: "an ext4 file system", "gzip data".
  /// That the file system says it has, in bytes; 0: not known. Any number at all may stand there.
  std::uint64_t size = 0;
};
[[nodiscard]] ImageKind image_kind(std::span<const std::uint8_t> head);

struct ImageWanted {
  std::string path = {};
  std::string type = {};  ///< Empty: by what is in it.
  std::vector<std::string> options = {};
  bool read_only = false;
};

/// Mounts a file or a block device, detached and with no flags but that it may be read-only. A file
/// gets a loop device that goes with the last mount (LO_FLAGS_AUTOCLEAR), or that one which the
/// file has already: two of one file would not know of each other's writes. So whoever mounts
/// the same image meets the same file system. Needs CAP_SYS_ADMIN in the initial user namespace,
/// and waits for the disk.
/// @return none: somebody else sets it up at this moment, or holds a lock on it for another reason.
/// @errors Step::mount_root, with what was found in the image and what to try.
[[nodiscard]] Result<std::optional<DetachedMount>> mount_image(const ImageWanted& wanted);

}  // namespace condroid::inline v0::detail
