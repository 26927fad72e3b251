// Registry: the containers of this user that run now, whichever program launched them, as their
// zygotes' state files tell. Another program lists, watches and stops them with it.
//
//   auto all = Registry::list();
//   if (!all) return fail(all);
//   for (const auto& c : *all) fmt::print("{} {}\n", c.name, c.pid.value);
//   auto box = Registry::open("worker");
//   if (box) (void)box->stop(std::chrono::seconds{5});
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/path.hpp"
#include "condroid/sys/cgroup.hpp"
#include "condroid/sys/pidfd.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {

/// A container's cgroup in one hierarchy.
struct RegisteredCgroup {
  CgroupHierarchy hierarchy = {};
  std::string path = {};  ///< From what is mounted, as CgroupDir::open takes it.
  bool operator==(const RegisteredCgroup&) const = default;
};

/// A running container, as it was when it was looked at. Plain data. One that is still being
/// launched is there, too.
struct Registered {
  enum State : std::uint8_t {
    running,
    frozen,  ///< By its cgroup's freezer, or that of a cgroup above.
    ending,  ///< Its first process has ended; its zygote is cleaning up.
  };
  std::string name = {};  ///< Spec::name; need not be unique.
  /// Unique among this user's: "worker.2@1a2b3c4d5e6f".
  std::string id = {};
  Pid pid = {};                         ///< The first process, as this pid namespace numbers it.
  std::chrono::nanoseconds started{0};  ///< When it was cloned; CLOCK_BOOTTIME, to a clock tick.
  std::chrono::nanoseconds age{0};      ///< Since then.
  /// Those of its own; none when its spec needed none.
  std::vector<RegisteredCgroup> cgroups = {};
  Pid zygote = {};
  /// The program that launched it; 0 when that one has ended. To know it by: not checked beyond
  /// that such a process is there.
  Pid host = {};
  bool detached = false;  ///< It outlives the program that launched it.
  /// Its Spec asked for Landlock. With which rules only that program knows: who attaches to it says
  /// some himself, Attach::landlock.
  bool landlock = false;
  State state = running;
  bool operator==(const Registered&) const = default;
};

/// "running", "frozen", "ending".
[[nodiscard]] std::string_view to_string(Registered::State state) noexcept;

/// A handle on a container that another program may have launched: a pidfd of its first process,
/// whose identity was checked. Move-only; several threads may use one at once. Letting go of it
/// does nothing to the container.
class OpenContainer {
 public:
  OpenContainer(OpenContainer&&) noexcept = default;
  OpenContainer& operator=(OpenContainer&&) noexcept = default;

  /// As it was when it was opened.
  [[nodiscard]] const Registered& entry() const noexcept { return entry_; }
  [[nodiscard]] const std::string& name() const noexcept { return entry_.name; }
  [[nodiscard]] Pid pid() const noexcept { return entry_.pid; }
  /// Readable when the first process has ended. To enter the container by, too.
  [[nodiscard]] const Pidfd& pidfd() const noexcept { return pidfd_; }

  /// Looks again: state, age, whether it is detached.
  /// @errors ESRCH when it is gone.
  [[nodiscard]] Result<Registered> refresh() const;
  /// A signal to the first process.
  /// @errors ESRCH when it has ended; never another process.
  [[nodiscard]] Result<void> signal(Signal signal) const;
  /// SIGKILL to everything in it: through its cgroup where it has one, and to the first process.
  /// Does not wait. Nothing, when it has ended.
  [[nodiscard]] Result<void> kill() const;
  /// `polite`, then after `patience` kill(); waits until it has ended and its zygote has undone all
  /// of it. A process 1 that has no handler for `polite` never gets it, pid_namespaces(7), and is
  /// killed at once. Nothing, when it has ended.
  /// @errors Errc::deadline when it is not gone 10 s after kill().
  [[nodiscard]] Result<void> stop(std::chrono::milliseconds patience = std::chrono::seconds{10},
                                  Signal polite = {15}) const;
  /// Waits for the end for at most `limit`, negative: without a limit; false if it lives on. How it
  /// ended is known to the program that launched it alone.
  [[nodiscard]] Result<bool> wait_for(std::chrono::milliseconds limit) const;

  /// Its cgroups, opened; in the order of entry().cgroups.
  /// @errors ENOENT when they are gone.
  [[nodiscard]] Result<std::vector<CgroupDir>> cgroups() const;

 private:
  friend class Registry;
  OpenContainer(Registered entry, Pidfd pidfd, std::string state_dir)
      : entry_(std::move(entry)), pidfd_(std::move(pidfd)), state_dir_(std::move(state_dir)) {}
  Registered entry_;
  Pidfd pidfd_;
  std::string state_dir_;
};

/// Reads the state directory, never writes. Only files that are this user's, in a directory that
/// is, and that a living zygote holds; what they say is checked against the processes that are
/// there. `state_dir` is RuntimeOptions::state_dir, empty for the same default. Thread-safe.
class Registry {
 public:
  /// Everything that runs, oldest first; nothing when there is no state directory. Some tenths of a
  /// millisecond for each zygote.
  /// @errors Step::find_container: EPERM for a directory that is another user's or that others may
  /// write to; EACCES.
  [[nodiscard]] static Result<std::vector<Registered>> list(const HostPath& state_dir = {});

  /// The one that `what` means: a name, an id, an id without its "@..." or a pid.
  /// @errors ESRCH when there is none; Errc::bad_text when there are several, all of them named.
  [[nodiscard]] static Result<Registered> find(std::string_view what,
                                               const HostPath& state_dir = {});

  /// The innermost one that process `pid` is in, whoever started it there: as its first process, in
  /// its cgroups, or in its pid namespace or one below. Nothing when it is in none. One that has
  /// neither cgroup nor pid namespace of its own is known by its first process alone.
  /// @errors ESRCH when there is no such process.
  [[nodiscard]] static Result<std::optional<Registered>> around(Pid pid,
                                                                const HostPath& state_dir = {});

  /// find(), and a handle on it.
  [[nodiscard]] static Result<OpenContainer> open(std::string_view what,
                                                  const HostPath& state_dir = {});
  /// A handle on one of list().
  /// @errors ESRCH when it has ended since.
  [[nodiscard]] static Result<OpenContainer> open(const Registered& entry,
                                                  const HostPath& state_dir = {});
};

}  // namespace v0
}  // namespace condroid
