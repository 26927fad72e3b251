// Take: what a parked container is to run, and the plans of parking and of taking. pool.hpp has the
// use.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "condroid/path.hpp"
#include "condroid/plan.hpp"
#include "condroid/spec.hpp"

namespace condroid {
inline namespace v0 {

/// What one container of a Pool is to run. What is not set is as the Spec of the Pool says.
struct Take {
  std::vector<std::string> argv = {};
  /// "NAME=value" each, on top of the Spec's.
  std::vector<std::string> env = {};
  bool clear_env = false;
  std::optional<GuestPath> cwd = {};
  std::optional<Stdio> stdio = {};
  std::vector<PassedFd> descriptors = {};
  std::vector<PassedMount> mounts = {};
  /// Written over what the Spec says, in cgroups that the container has.
  Resources resources = {};
  bool operator==(const Take&) const = default;
};

/// Where a parked container stands.
struct ParkedPlan {
  Plan plan;  ///< Ends with op::Park.
  int next_slot = 0;
  op::Slot root = {};     ///< Held open; none where the host's mounts are shared.
  op::Slot console = {};  ///< Its slave.
  bool operator==(const ParkedPlan&) const = default;
};

/// The plan of a container that waits before its command. Pure, as compile().
/// @errors those of compile(); Errc::bad_spec for what several containers at once cannot have: an
/// upper layer in a directory of the host; and for a Lifecycle::restart.
[[nodiscard]] Result<ParkedPlan> compile_parked(const Spec& spec, const HostFacts& facts);

/// The rest of it: `parked.plan` with the ops behind it that taking consists of. Pure.
/// @errors Step::compile, with the field of the Take named.
[[nodiscard]] Result<Plan> compile_take(const Spec& spec, const Take& take,
                                        const ParkedPlan& parked, const HostFacts& facts);

}  // namespace v0
}  // namespace condroid
