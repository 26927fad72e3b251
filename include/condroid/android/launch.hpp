// Launching a device: what is left to do when its container is set up.
//
//   auto box = android::launch(*runtime, *ready);
#pragma once

#include "condroid/android/device.hpp"
#include "condroid/container.hpp"
#include "condroid/error.hpp"
#include "condroid/launch.hpp"
#include "condroid/runtime.hpp"

namespace condroid {
inline namespace v0 {
namespace android {

/// The options with which the Spec of a device is launched: as given, and the nodes of its binderfs
/// are made when everything else is in its place, in every life. For Runtime::start.
[[nodiscard]] LaunchOptions options_for(const Ready& ready, LaunchOptions options = {});

/// Runtime::launch with those. The lease stays with `ready`: keep it as long as the container.
[[nodiscard]] Result<Container> launch(const Runtime& runtime, const Ready& ready,
                                       LaunchOptions options = {});

}  // namespace android
}  // namespace v0
}  // namespace condroid
