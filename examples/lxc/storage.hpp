// Where a container's root file system is, as its configuration says.
#pragma once

#include <sys/types.h>

#include <condroid/config/lxc.hpp>
#include <functional>
#include <optional>
#include <string>

/// The value of lxc.rootfs.path, taken apart.
struct Storage {
  enum Kind {
    nothing,    ///< It has none.
    directory,  ///< `path`
    overlay,    ///< `upper` over `path`
    image,      ///< The file `path`
    other,      ///< A block device, or what LXC has more.
  } kind = nothing;
  std::string type = {};  ///< "dir", as written; empty: nothing was.
  std::string path = {};
  std::string upper = {};

  [[nodiscard]] static Storage of(const condroid::lxc::Configuration& config);
  [[nodiscard]] std::string text() const;
};

/// Calls `work` with where the files of the root file system are. What has to be mounted for that
/// is, at the directory `at`, in a process and a mount namespace of their own, which end with it.
/// False, and it was said, where that or `work` fails.
[[nodiscard]] bool with_root(const Storage& storage, const std::string& at,
                             const std::function<bool(const std::string& root)>& work);

/// Bytes, as LXC reads a size: MiB without a letter. Nothing for what is none.
[[nodiscard]] std::optional<off_t> size_of(const std::string& text);
/// Gives an image, and a file system ext4 in it, that many bytes, which are more than it has.
/// False, and it was said.
[[nodiscard]] bool resize_image(const std::string& path, off_t bytes);
