// Removing a container.
#pragma once

#include <condroid/config/lxc.hpp>
#include <string>
#include <vector>

#include "place.hpp"

/// Its hooks, its root file system where that is its own, its snapshots, its directory. It cannot
/// be started meanwhile. False, and it was said, where something is left: because it runs, somebody
/// needs its files, or something is mounted there, all before anything is removed.
[[nodiscard]] bool destroy_container(const Place& place,
                                     const condroid::lxc::Configuration& config);
/// What there is of one that was never made whole. The same.
[[nodiscard]] bool remove_half_made(const Place& place);

/// Where its snapshots are, as containers; and their names.
[[nodiscard]] std::string snapshots_path(const Place& place);
[[nodiscard]] std::vector<std::string> snapshots_of(const Place& place);
