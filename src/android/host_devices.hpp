// The host's devices that a device may be given: cameras, sound, input, GPUs.
#pragma once

#include <vector>

#include "condroid/android/device.hpp"

namespace condroid {
inline namespace v0 {
namespace android {

/// All that are there, by kind, and of a kind by number; with Android's modes and owners.
[[nodiscard]] std::vector<HostNode> find_host_nodes();
/// By number.
[[nodiscard]] std::vector<RenderNode> find_render_nodes();
/// The one that a device has; empty for none.
[[nodiscard]] HostPath render_node_of(const Device& device, const Facts& facts);

}  // namespace android
}  // namespace v0
}  // namespace condroid
