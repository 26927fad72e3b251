// CgroupDir: one cgroup in one hierarchy, of version 1 or 2.
//
//   auto all = CgroupDir::hierarchies();
//   if (!all || all->empty()) return no_cgroups();
//   auto group = CgroupDir::create(all->front(), "/mine");
//   if (!group) return fail(group);
//   if (auto ok = group->write("pids.max", "64"); !ok) return fail(ok);
//   if (auto ok = group->add(child); !ok) return fail(ok);
//   ...
//   if (auto ok = group->kill(); !ok) return fail(ok);
//   if (auto ok = group->remove(); !ok) return fail(ok);
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/sys/facts.hpp"
#include "condroid/sys/fd.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {

/// Holds a cgroup directory open; cgroups(7). Move-only. Letting go of it removes nothing. Calls on
/// different cgroups may be made from several threads; what a file of the kernel's takes, it takes
/// whole.
class CgroupDir {
 public:
  /// Holds nothing; every call then fails with EBADF.
  CgroupDir() noexcept = default;

  /// The hierarchies that are mounted here, as probe_host() finds them; none on a machine without
  /// cgroups.
  [[nodiscard]] static Result<std::vector<CgroupHierarchy>> hierarchies();

  /// An existing cgroup. `path` counts from what is mounted: "/" is the mount point,
  /// CgroupHierarchy::own_path the caller's own.
  /// @errors ENOENT; EINVAL for a path that does not begin with '/' or has "..".
  [[nodiscard]] static Result<CgroupDir> open(const CgroupHierarchy& hierarchy,
                                              std::string_view path);
  /// A new cgroup below one that exists. On v1 a cpuset begins with what its parent has, so that it
  /// can be used.
  /// @errors EEXIST; ENOENT without the parent; EACCES or EROFS where this user may not; EAGAIN at
  /// a limit, cgroup.max.depth.
  [[nodiscard]] static Result<CgroupDir> create(const CgroupHierarchy& hierarchy,
                                                std::string_view path);
  /// One that is open already. Takes a directory of that hierarchy; which one is read from /proc.
  [[nodiscard]] static Result<CgroupDir> adopt(const CgroupHierarchy& hierarchy, Fd directory);
  /// The same directly below this one. A name has no '/'.
  [[nodiscard]] Result<CgroupDir> open_child(std::string_view name) const;
  [[nodiscard]] Result<CgroupDir> create_child(std::string_view name) const;

  /// A file of this cgroup, whole: "memory.max", "cgroup.controllers".
  /// @errors ENOENT if the cgroup has no such file (its controller may not be switched on);
  /// EOPNOTSUPP.
  [[nodiscard]] Result<std::string> read(std::string_view file) const;
  /// Writes a value in one piece.
  /// @errors ENOENT; EINVAL or ERANGE for a value that is none; EBUSY; EACCES.
  [[nodiscard]] Result<void> write(std::string_view file, std::string_view text) const;
  /// Switches controllers on for the cgroups below this one (cgroup.subtree_control); those that
  /// are on stay so. On v1, where each has all the controllers of its hierarchy, nothing is done.
  /// @errors EINVAL for one that does not exist, ENOENT for one that is not on here; EBUSY if this
  /// cgroup has processes itself.
  [[nodiscard]] Result<void> enable(const std::vector<std::string>& controllers) const;

  /// Moves a process with all its threads into this cgroup.
  /// @errors ESRCH; EACCES without write access to the common ancestor; EBUSY on v2 if controllers
  /// are on for the cgroups below; EAGAIN at a limit like pids.max (of this cgroup: v2, Linux 5.7
  /// by clone only); ENOSPC for a cpuset without processors.
  [[nodiscard]] Result<void> add(Pid process) const;
  /// Moves the calling process, with the same errors.
  [[nodiscard]] Result<void> enter() const;
  /// Moves the calling thread alone: v1, and on v2 within a threaded subtree (EOPNOTSUPP
  /// elsewhere).
  [[nodiscard]] Result<void> enter_thread() const;

  /// The processes in this cgroup, not in those below. Those outside of the reader's pid namespace
  /// are 0.
  /// @errors EOPNOTSUPP in a threaded cgroup.
  [[nodiscard]] Result<std::vector<Pid>> processes() const;
  /// Whether there are processes in it or below. Of one that was removed: false.
  [[nodiscard]] Result<bool> populated() const;

  /// Stops everything in it and below, and waits at most `limit` until it stands still. v2:
  /// cgroup.freeze, Linux 5.2; v1: the hierarchy of the freezer. Freezing oneself waits until
  /// somebody else thaws.
  /// @errors Errc::unsupported in another hierarchy of v1; Errc::deadline: it is being frozen
  /// still.
  [[nodiscard]] Result<void> freeze(std::chrono::milliseconds limit = std::chrono::seconds{
                                        2}) const;
  /// Lets it go on. With a cgroup above that is frozen it stays so, and Errc::deadline tells.
  [[nodiscard]] Result<void> thaw(std::chrono::milliseconds limit = std::chrono::seconds{2}) const;

  /// Whether everything in it and below stands still now, whoever froze it.
  /// @errors Errc::unsupported in another hierarchy of v1 than the freezer's; ENOENT, ENODEV when
  /// it was removed.
  [[nodiscard]] Result<bool> frozen() const;

  /// Has the kernel take memory back from what is in it and below, frozen or not: what was read
  /// from files is dropped, what was written goes to the disk first, and what programs hold to
  /// swap, where there is some. About `most`, or all that it can. Blocks as long as the kernel
  /// works on that, or up to a signal: in an event loop in small portions, or in a thread. v2:
  /// memory.reclaim, Linux 5.19; v1: memory.force_empty, all of it.
  /// @returns what it holds less than before; less than `most` is no error.
  /// @errors Errc::unsupported where reclaims() says no, for `most` on v1, and on v2 before Linux
  /// 5.19; ENOENT, ENODEV when it was removed.
  [[nodiscard]] Result<Bytes> reclaim(std::optional<Bytes> most = {}) const;

  /// SIGKILL to everything in it and below, frozen or not. Does not wait for the end. v2:
  /// cgroup.kill, Linux 5.14, at once. Before that and on v1: process by process, until a look
  /// finds none that was not killed; where there is a freezer what is in it is stopped meanwhile,
  /// elsewhere what forks faster may get away. What is frozen on v1, it or a cgroup below, is
  /// thawed then.
  /// @errors EPERM; Errc::unsupported if a process there has no number in this pid namespace. The
  /// others were killed then.
  [[nodiscard]] Result<void> kill() const;
  /// Removes it and the cgroups below. Does not kill: waits at most `limit` for the end of what is
  /// there.
  /// @errors EBUSY if something is still in it; some of those below may be removed then. Fine if it
  /// was removed before.
  [[nodiscard]] Result<void> remove(std::chrono::milliseconds limit = std::chrono::seconds{
                                        1}) const;

  [[nodiscard]] bool v2() const noexcept { return v2_; }
  /// freeze() works here: v2, or the freezer's hierarchy.
  [[nodiscard]] bool freezes() const noexcept { return v2_ || freezer_; }
  /// reclaim() finds its memory counted here: v2 with that controller, or a cgroup
  /// of its hierarchy. A call.
  [[nodiscard]] bool reclaims() const noexcept;
  /// Where it was found: "/sys/fs/cgroup/memory/mine".
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// An O_PATH descriptor: for openat(2) and CLONE_INTO_CGROUP.
  [[nodiscard]] FdView fd() const noexcept { return fd_; }
  [[nodiscard]] bool valid() const noexcept { return fd_.valid(); }
  explicit operator bool() const noexcept { return valid(); }

 private:
  CgroupDir(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  [[nodiscard]] Result<void> change_freezer(bool frozen, std::chrono::milliseconds limit) const;
  [[nodiscard]] Result<void> wait_frozen_v2(bool frozen, std::chrono::milliseconds limit) const;
  [[nodiscard]] Result<void> wait_frozen_v1(bool frozen, std::chrono::milliseconds limit) const;
  [[nodiscard]] Result<void> kill_one_by_one() const;
  Fd fd_;
  std::string path_;
  bool v2_ = false;
  bool cpuset_ = false;   // v1, with that controller
  bool freezer_ = false;  // the same
  bool memory_ = false;   // the same
  bool top_ = false;      // what is mounted, which nobody can remove
};

}  // namespace v0
}  // namespace condroid
