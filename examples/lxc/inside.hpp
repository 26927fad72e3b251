// Looking at the containers that are in a container: by a process of its own that sees its files
// and sockets as those inside do.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "place.hpp"

/// Run inside, it makes what is told. `sockets` is what /proc/net/unix says there; without it
/// nobody there can be asked.
using InsideWork = std::function<std::string(const std::optional<std::string>& sockets)>;

/// Executes this program once more, from a sealed copy in memory: root of a container without an id
/// map can write to the file of a program that is seen in there. To be called once, before any
/// other work; where it cannot be done it returns.
void leave_own_file();

/// What `work` makes where the mounts, the processes, the network and the users are those of the
/// container, which runs. It has no more capabilities than the container's first process, no
/// descriptor of this program's, half a minute and a few megabytes. Nothing where the container
/// cannot be entered; where there was no end of it, that was said.
[[nodiscard]] std::optional<std::string> ask_inside(const Place& place, const InsideWork& work);
/// The same below the root file system of a container that does not run.
[[nodiscard]] std::optional<std::string> ask_below(const Place& place, const std::string& root,
                                                   const InsideWork& work);
