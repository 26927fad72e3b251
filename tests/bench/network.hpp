// Launches with an interface.
#pragma once

#include <string>

#include "warm.hpp"

namespace bench {

/// A veth at a bridge with one address, against the floor that makes the same and against
/// lxc-start; and five hundred of them at one bridge. In a network namespace of its own.
void network_section(const Warm& warm, const std::string& condroid_run);

}  // namespace bench
