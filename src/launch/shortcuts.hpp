// What a launch may leave out, decided from its plan alone. Private.
#pragma once

#include <cstddef>
#include <optional>

#include "condroid/plan.hpp"

namespace condroid::inline v0::detail {

/// Whether the child may run in the zygote's memory until exec. Not when
/// - it waits on the way, or stays (the small init): the place it takes would be taken long, or for
/// ever;
/// - it must be traceable for a while, which would make the zygote traceable;
/// - it meets processes of others (joined namespaces);
/// - it may run out of its cgroup's memory: the kernel then kills all who share the memory, and
/// oom_score_adj is given
///   to all of them (fs/proc/base.c, mm/oom_kill.c);
/// - the kernel wants it single (time namespaces, timens_install).
[[nodiscard]] bool may_share_memory(const Plan& plan, bool memory_cgroup, bool callbacks);

/// Whether the child needs nothing of the host's mounts once the host has opened what it copies by
/// path. Its mount namespace may then begin empty: the kernel copies the host's whole mount tree
/// into one that does not, and the child has to take it down again.
[[nodiscard]] bool needs_no_host_mounts(const Plan& plan);

/// The op that writes the id map, if it may be done as soon as the child exists: it is the first
/// behind the barrier, a matter of three writes, and does not need the child to be traceable.
[[nodiscard]] std::optional<std::size_t> early_map(const Plan& plan);

}  // namespace condroid::inline v0::detail
