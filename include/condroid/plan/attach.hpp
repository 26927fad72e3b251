// Attach: what to run in a container that is there already, and the plan of it. attach.hpp has the
// use.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "condroid/plan.hpp"
#include "condroid/spec/process.hpp"
#include "condroid/spec/security.hpp"

namespace condroid {
inline namespace v0 {

/// In which cgroup an attached process is.
enum class AttachCgroup : std::uint8_t {
  /// The container's: its limits count for the process, and its end is the process's. On v2 one
  /// below it, if the container has switched controllers on there, which leaves no room for
  /// processes in its own.
  container,
  below,  ///< A new one below the container's, gone with the process; not for a Pid of somebody's.
  own,    ///< This program's: outside of the container's limits.
};

/// What to run, and how much of the container is joined. Plain data.
struct Attach {
  /// As of a container's first process; its ids are the container's. `env` comes on top of the
  /// container's. `init` is refused: the container has its own.
  Process process = {.argv = {"/bin/sh"}};
  bool clear_env = false;  ///< `process.env` alone.
  /// Which of the container's namespaces. Unset: all that are not this program's. Without
  /// Namespace::mount the program is looked up in this program's own files.
  std::optional<Flags<Namespace>> namespaces = {};
  AttachCgroup cgroup = AttachCgroup::container;
  /// Unset: what the container has.
  std::optional<CapabilitySet> capabilities = {};
  std::optional<bool> ambient = {};
  std::optional<CapabilitySets> sets = {};
  /// Those of a process of somebody else's are not known: unset is none.
  std::optional<Flags<Securebit>> securebits = {};
  std::optional<bool> no_new_privs = {};
  /// Which one a process of somebody else's has is not known: for who has any, unset is the
  /// standard one.
  std::optional<Seccomp> seccomp = {};
  /// Unset: the container's, looked up in its root as it is now; without Namespace::mount they are
  /// refused, and paths given here are this program's. Nobody can tell which ones a process of
  /// somebody else's has: unset is none.
  std::optional<Landlock> landlock = {};
  /// Whether the program is executed under the label that a security module, AppArmor or SELinux,
  /// gave to the container's first process. Unset: the one that the container's Spec asked for; of
  /// a process of somebody else's its label, where it is not this program's own. `true` is refused
  /// where processes have no labels, `false` leaves it to this program's own rules.
  std::optional<bool> lsm_label = {};
  /// Of the terminal that Stdio::pty is, from the container's own devpts.
  std::uint16_t rows = 24;
  std::uint16_t columns = 80;
  bool operator==(const Attach&) const = default;
};

/// The container as compile() of an Attach needs to know it.
struct AttachTarget {
  std::string name = {};  ///< For messages.
  Pid pid = {};
  HostFd pidfd = {};  ///< Borrowed: says which process is meant.
  Inside inside = {};
  struct Group {
    std::size_t hierarchy = 0;  ///< Index in HostFacts::cgroups.
    std::string path = {};      ///< As this program sees it.
    bool operator==(const Group&) const = default;
  };
  std::vector<Group> groups = {};  ///< Ordered by hierarchy.
  /// What the first process has, if that is to be taken over: a profile of AppArmor
  /// ("unconfined" is none), or a context of SELinux where HostFacts has that. Empty: nothing.
  std::string lsm_label = {};
  bool launched_here = false;  ///< By this Runtime: cgroups below its own are undone.
  /// While it runs on a core, nobody else does (Scheduling::core): what is attached may.
  bool own_cores = false;
  Pid pid_inside = {1};  ///< As its own pid namespace numbers it.
  bool operator==(const AttachTarget&) const = default;
};

/// What attaching will do, step by step. Pure, as compile() of a Spec.
/// @errors Step::compile: Errc::bad_spec and Errc::unsupported with the field named.
[[nodiscard]] Result<Plan> compile(const Attach& attach, const AttachTarget& target,
                                   const HostFacts& facts);

}  // namespace v0
}  // namespace condroid
