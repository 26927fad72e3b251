// Runtime: what a program opens once to launch containers: facts about the machine, a state
// directory, and the zygote that clones every container (docs/design.md says why the program itself
// never does).
//
//   auto runtime = Runtime::open();
//   if (!runtime) { fmt::print(stderr, "{}\n", runtime.error()); return 1; }
//   auto box = runtime->launch(spec);
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "condroid/container.hpp"
#include "condroid/error.hpp"
#include "condroid/launch.hpp"
#include "condroid/path.hpp"
#include "condroid/plan.hpp"
#include "condroid/spec.hpp"
#include "condroid/sys/facts.hpp"
#include "condroid/systemd_scope.hpp"

namespace condroid {
inline namespace v0 {

struct Attach;
class Attaching;
class Task;
class Host;

struct RuntimeOptions {
  /// Where the state of running containers is kept. Empty: /run/condroid for a root that may write
  /// there, else $XDG_RUNTIME_DIR/condroid, else condroid-<uid> in /tmp. Made when missing, mode
  /// 0700; removed again when it is empty.
  HostPath state_dir = {};
  /// Below which cgroup containers are put, from the top of each hierarchy ("/my.slice"). Empty:
  /// for root the top, else the program's own cgroup, which "." is for everybody.
  std::string cgroup_parent = {};
  /// Whether they are put below a scope of systemd's instead. Nobody is asked when `cgroup_parent`
  /// is named.
  SystemdScope systemd = {};
  /// Clean up after Runtimes that died together with their zygote.
  bool sweep = true;
};

/// Opened once per program; copies share it. Safe to use from any thread. A container inherits
/// limits, priority, affinity, umask, namespaces and ids from the thread that called open(), at
/// that time, and what is known of the machine, its mounts and this program's cgroups is of then.
/// In a forked child of the program every call fails with Errc::in_forked_child, and nothing is
/// undone by its exit.
class Runtime {
 public:
  /// Makes the state directory and starts the zygote; 1 to 2 ms. Where systemd is asked for a scope
  /// it takes as long as systemd does, some 10 ms, at most SystemdScope::patience.
  /// @errors Step::open_runtime, Step::start_zygote, Step::probe_host, Step::start_scope
  [[nodiscard]] static Result<Runtime> open(RuntimeOptions options = {});

  /// What this machine and user can do. Probed by open(), while the zygote sets itself up, and
  /// kept; where that failed, tried again by this and by launch(Spec).
  [[nodiscard]] Result<std::reference_wrapper<const HostFacts>> facts() const;

  /// Begins a launch; the caller drives it with Launch::step(). Never blocks.
  [[nodiscard]] Result<Launch> start(Plan plan, LaunchOptions options = {}) const;
  /// The same for a plan that is launched many times: it is not copied.
  [[nodiscard]] Result<Launch> start(std::shared_ptr<const Plan> plan,
                                     LaunchOptions options = {}) const;
  /// compile() and start() in one; the errors of both.
  [[nodiscard]] Result<Launch> start(const Spec& spec, LaunchOptions options = {}) const;
  /// Launches and waits until the command was executed. Blocks for about a millisecond, at most for
  /// options.deadline. Nobody can resume here what options.stop_before stopped: that is for
  /// start().
  /// @errors any step; docs/errors.md. Nothing of the container is left then.
  [[nodiscard]] Result<Container> launch(Plan plan, LaunchOptions options = {}) const;
  [[nodiscard]] Result<Container> launch(std::shared_ptr<const Plan> plan,
                                         LaunchOptions options = {}) const;
  /// compile() and launch() in one; the errors of both.
  [[nodiscard]] Result<Container> launch(const Spec& spec, LaunchOptions options = {}) const;

  /// Runs a process in a container that somebody else launched: in the namespaces, the root
  /// directory and the cgroups that process `pid` has, with its bounding set of capabilities and
  /// its environment where they can be read. Needs attach.hpp.
  /// @errors ESRCH when there is no such process, or it ends meanwhile; EPERM for one in a user
  /// namespace that this user has no rights in.
  [[nodiscard]] Result<Task> attach(Pid pid, const Attach& what, LaunchOptions options = {}) const;
  /// The same for somebody's event loop, and for a process that is held already: `pidfd` is
  /// borrowed, and who it stands for is the one that is entered.
  [[nodiscard]] Result<Attaching> start_attach(Pid pid, FdView pidfd, const Attach& what,
                                               LaunchOptions options = {}) const;

  /// The scope of systemd's that the zygote and all containers are in, or why there is none. As
  /// long as the Runtime; the same always.
  [[nodiscard]] const ScopeOutcome& scope() const noexcept;

  /// The zygote's process now; 0 when there is none. For tests and tools.
  [[nodiscard]] Pid zygote_pid() const;

 private:
  friend class Launch;
  friend class Pool;
  friend class Host;
  explicit Runtime(std::shared_ptr<detail::RuntimeCore> core) : core_(std::move(core)) {}
  std::shared_ptr<detail::RuntimeCore> core_;
};

}  // namespace v0
}  // namespace condroid
