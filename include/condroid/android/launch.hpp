// Launching a device: what is left to do when its container is set up.
//
//   auto box = android::launch(*runtime, *ready);
#pragma once

#include <string>
#include <vector>

#include "condroid/android/device.hpp"
#include "condroid/container.hpp"
#include "condroid/error.hpp"
#include "condroid/launch.hpp"
#include "condroid/runtime.hpp"
#include "condroid/sys/fd.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {
namespace android {

/// The options with which the Spec of a device is launched: as given, and the nodes of its binderfs
/// are made when everything else is in its place, in every life. For Runtime::start.
[[nodiscard]] LaunchOptions options_for(const Ready& ready, LaunchOptions options = {});

/// Runtime::launch with those. The lease stays with `ready`: keep it as long as the container.
[[nodiscard]] Result<Container> launch(const Runtime& runtime, const Ready& ready,
                                       LaunchOptions options = {});

/// What a process that is attached to a running device joins, and has in its environment.
struct Shell {
  Pid process = {};
  Fd pidfd = {};                      ///< Of that process.
  std::vector<std::string> env = {};  ///< "NAME=value" each.
};

/// For a shell in a device, whose process 1 is `init`, held by `pidfd` (borrowed). Init keeps the
/// mount namespace of its first stage, and its services have another one, with the modules of
/// /apex: so it is Zygote that is joined, a child of init's, or init as long as there is none. The
/// environment is shell_environment() and the class paths that the device has found out
/// (/data/system/environ/classpath), without which its `am` and `pm` do not start.
///
///   auto shell = android::shell_of(box.pid(), box.pidfd());
///   Attach what{.process = {.argv = {"am", "start", ...}, .env = shell->env},
///               .seccomp = android::seccomp()};
///   auto task = runtime.start_attach(shell->process, shell->pidfd, what);
///
/// @errors ESRCH when the device has ended.
[[nodiscard]] Result<Shell> shell_of(Pid init, FdView pidfd);

}  // namespace android
}  // namespace v0
}  // namespace condroid
