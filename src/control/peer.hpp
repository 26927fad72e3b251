// Who may ask a command socket. Private.
#pragma once

#include <sys/types.h>

namespace condroid::inline v0::control {

/// As LXC: root, and who started it.
[[nodiscard]] bool may_ask(uid_t uid, gid_t gid);

/// EPERM for a client that is not of this very pid namespace. The programs of containers are of one
/// below, and their root is root here, too, where it has no user namespace. Whoever connected and
/// is gone may have been anybody. Another errno where that could not be found out; 0 for who may.
[[nodiscard]] int refusal_by_place(int client, pid_t pid);

}  // namespace condroid::inline v0::control
