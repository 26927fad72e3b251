// Devices of Android.
#pragma once

#include <string>

#include "warm.hpp"

namespace bench {

/// The start of a device to the first word of its init, beside the same mounts by bare calls; what
/// a hundred of them cost their launcher; freezing and thawing one. `worker`:
/// condroid-bench-devices; `init`: the process 1 of the devices.
void android_section(const Warm& warm, const std::string& worker, const std::string& init);

}  // namespace bench
