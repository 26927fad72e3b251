// Removing a container.
#pragma once

#include <condroid/config/lxc.hpp>
#include <string>

#include "place.hpp"

/// Its hooks, its root file system where that is its own, its directory. False, and it was said,
/// where something is left.
[[nodiscard]] bool destroy_container(const Place& place,
                                     const condroid::lxc::Configuration& config);
/// A directory with all that is in it, on its own file system alone. False, and it was said, where
/// something is left.
[[nodiscard]] bool remove_tree(const std::string& path);
