// What is done to cgroup directories by file, without owning them. Errors are errno values, 0 is
// success. Private.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid::inline v0::detail {

/// A v1 cpuset is unusable until it has processors and memory nodes; a new one has none.
[[nodiscard]] int inherit_cpuset(int parent, int dir);
/// Switches controllers on for the children of a v2 cgroup; `path` is for the message.
[[nodiscard]] Result<void> enable_controllers(int dir, const std::string& path,
                                              const std::vector<std::string>& controllers);

/// The processes of one cgroup, not of those below; sorted. 0 stands for one outside of this pid
/// namespace.
[[nodiscard]] int list_cgroup(int dir, std::vector<int>& pids);
/// SIGKILL to those processes. Never to another one that got such a pid meanwhile.
[[nodiscard]] int kill_listed(int dir, const std::vector<int>& pids);
/// Calls `what` for the cgroup and for each below it, from the top; for none below one for which it
/// says false. How deep they are nested was a container's to say: neither the stack nor descriptors
/// are its to use up.
void for_each_cgroup(int dir, const std::function<bool(int dir)>& what);
/// Thaws a cgroup of v1 and all below it, however deep. Nothing in a hierarchy without the freezer.
void thaw_below(int dir);
/// Stands still, or is about to.
[[nodiscard]] bool is_frozen(int dir, bool v2);
/// The cgroups directly below, opened.
[[nodiscard]] std::vector<std::pair<std::string, Fd>> child_cgroups(int dir);

/// Who is in a cgroup or below it, for a message: "process 12 (sh)", "processes 12 (sh), 13 (cat)
/// and 4 more". Empty: nobody.
[[nodiscard]] std::string inhabitants(int dir);
/// The same as the end of a message about the cgroup `name` below `parent`, when `error` is one
/// that they are the reason of: ", where process 12 (sh) is".
[[nodiscard]] std::string in_the_way(int error, int parent, const std::string& name);
/// The cgroup above this one, or itself, that keeps everything here from running; empty: none.
[[nodiscard]] std::string frozen_above(int dir, bool v2);

/// The extended attribute for that, as the zygote has it.
inline constexpr char made_mark[] = "user.condroid";
/// Says of a cgroup that `runtime` made it. 0, or an error number.
[[nodiscard]] int mark_cgroup(int dir, const std::string& runtime);
/// Whether a runtime has made it; of that name, unless it is empty.
[[nodiscard]] bool is_marked(int parent, const char* name, std::string_view runtime = {});
/// Removes those above `path` that some runtime made for what is below them, as far as they are
/// empty.
void remove_way(int parent, std::string path);

/// Removes a cgroup and those below it, once. EBUSY if there is something in it.
[[nodiscard]] int remove_empty_cgroup(int parent, const char* name);
/// Kills what is in a cgroup and below, and removes it; waits up to two seconds for the end of what
/// was killed.
[[nodiscard]] int remove_cgroup(int parent, const char* name);

}  // namespace condroid::inline v0::detail
