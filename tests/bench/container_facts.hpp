// What a container is, as /proc shows it from outside: to compare the floor's with condroid's. A
// ratio says something only while both make the same.
#pragma once

#include <sys/types.h>

#include <set>
#include <string>

namespace bench {

/// One line per fact: its mounts, its nodes in /dev, ids, capabilities, namespaces, descriptors.
/// Facts that differ from container to container (numbers of mounts and namespaces) are left out.
/// Waits up to a second until `pid` executes `command` (its name, without the path); empty if it
/// does not.
[[nodiscard]] std::set<std::string> container_facts(pid_t pid, const std::string& command);

/// "only A: ...; only B: ..." of what is not in both, shortened.
[[nodiscard]] std::string differences(const std::string& a_name, const std::set<std::string>& a,
                                      const std::string& b_name, const std::set<std::string>& b,
                                      std::size_t* count);

}  // namespace bench
