// Parsers of what the kernel and the machine say in text: mountinfo, cgroup membership, subuid
// files. Pure; private.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "condroid/sys/facts.hpp"

namespace condroid::inline v0::detail {

/// Parses /proc/PID/mountinfo; proc(5). Lines that are none are passed over.
[[nodiscard]] std::vector<MountEntry> parse_mountinfo(std::string_view text);

/// Another mount covers it, or what it is on: its path leads elsewhere. `mount` is one of them.
[[nodiscard]] bool is_hidden(const std::vector<MountEntry>& mounts, const MountEntry& mount);

/// The cgroup hierarchies among the mounts that can be reached, each once, in the order of the
/// mounts; `membership` is /proc/PID/cgroup.
[[nodiscard]] std::vector<CgroupHierarchy> find_hierarchies(const std::vector<MountEntry>& mounts,
                                                            std::string_view membership);

/// The ranges of a user in /etc/subuid or /etc/subgid; subuid(5): a line names the user or its
/// number.
[[nodiscard]] std::vector<SubidRange> parse_subids(std::string_view text, std::string_view user,
                                                   std::uint32_t uid);

/// The name of a user in /etc/passwd; passwd(5). Not through the name service, which loads
/// libraries and may block: a user that is known elsewhere only can still have ranges by number.
[[nodiscard]] std::string find_user(std::string_view passwd, std::uint32_t uid);

}  // namespace condroid::inline v0::detail
