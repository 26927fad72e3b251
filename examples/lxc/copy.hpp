// Copying a container: what lxc-copy and lxc-snapshot have in common.
#pragma once

#include <condroid/config/lxc.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "place.hpp"
#include "storage.hpp"

struct CopyWish {
  bool by_overlay = false;  ///< A directory is not copied but lies below the new one.
  bool keep_name = false;   ///< Of the host.
  bool keep_mac = false;
  off_t image_size = 0;  ///< Bytes of the copy of an image; 0: as many as it has.
  std::vector<std::string> hook_words = {};
  /// The last that is done to its configuration; a directory of its own is there then.
  std::function<bool(condroid::lxc::Configuration&)> finish = {};
};

/// Makes the container `to` of `from`, which stands still and whose configuration that is. False,
/// and it was said; nothing is left of it then, and nothing of `from` was touched.
[[nodiscard]] bool copy_container(const Place& from, const condroid::lxc::Configuration& config,
                                  const Place& to, const CopyWish& wish);

/// The parts of it, for who puts them in the place of others.
/// Where the root file system is in the container's directory `into` when it was copied there.
[[nodiscard]] Storage storage_in(const std::string& into, const Storage& from, bool by_overlay);
/// Whether it can be copied; false, and it was said.
[[nodiscard]] bool can_copy(const Storage& from, bool by_overlay);
/// Copies it into that directory. False, and it was said.
[[nodiscard]] bool copy_storage(const Storage& from, const std::string& into, bool by_overlay);
/// The configuration with what is below `from` named below `to`: hooks, the fstab and what overlays
/// are made of, which are copied to `into`. Nothing, and it was said.
[[nodiscard]] std::optional<condroid::lxc::Configuration> moved(
    const condroid::lxc::Configuration& config, const std::string& from, const std::string& to,
    const std::string& into);
/// Sets what is wrong to be said.
[[nodiscard]] bool set_item(condroid::lxc::Configuration& config, const std::string& key,
                            const std::string& value);
