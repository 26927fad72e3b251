// Learns which system calls a run makes, and writes the policy that it needed.
//
//   spec.security.seccomp = learning_filter();
//   auto box = runtime.launch(spec);
//   SyscallLearner learner(box->take_listener().value());
//   auto exit = learner.serve(*box);                 // slow: every call asks this program
//   auto text = lxc::print_seccomp(learner.policy());
//
// What a run did not do this time is not in it: look at it before it guards anything.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "condroid/container.hpp"
#include "condroid/notify.hpp"
#include "condroid/spec/seccomp.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid {
inline namespace v0 {

/// The standard filter, and behind it this program is asked about every call but those that
/// condroid itself needs to get the command started (execve, execveat, exit_group, sendmmsg) and
/// those by which the kernel and the C library end something (exit, rt_sigreturn, restart_syscall).
/// Needs a build with libseccomp.
[[nodiscard]] Seccomp learning_filter();

/// The same rules with nothing denied: what they would deny is made, and written to the kernel's
/// audit log (SyscallAction::log). Of the rules alone: the standard filter beside them, if it is
/// there, still denies. Rules that allow whatever they do not name need Allow::all_syscalls where
/// the standard filter is not.
[[nodiscard]] Seccomp log_only(Seccomp rules);

/// Lets all calls go on and remembers them. One thread at a time, as the listener it is made of.
class SyscallLearner {
 public:
  explicit SyscallLearner(SyscallListener listener) : listener_(std::move(listener)) {}

  [[nodiscard]] FdView poll_fd() const noexcept { return listener_.poll_fd(); }
  [[nodiscard]] bool done() const noexcept { return listener_.done(); }
  /// Answers what waits now, 64 calls at most: poll_fd() stays readable while there is more.
  [[nodiscard]] Result<void> step();
  /// step() until the container has ended, in each of its lives.
  [[nodiscard]] Result<Exit> serve(Container& box);

  /// How often each call of this machine's own architecture was made, by name.
  [[nodiscard]] const std::map<std::string, std::uint64_t>& calls() const noexcept {
    return calls_;
  }
  /// Seccomp::only() of these, beside the standard filter. What learning_filter() does not ask
  /// about is always in it; ioctl with the requests that were seen, up to 64 of them; clone and
  /// unshare without CLONE_NEWUSER unless that was seen. What the standard filter pretends not to
  /// exist does not exist here either.
  [[nodiscard]] Seccomp policy() const;

 private:
  void note(const SyscallRequest& request);
  [[nodiscard]] Result<void> answer(const SyscallRequest& request);

  SyscallListener listener_;
  std::map<std::string, std::uint64_t> calls_ = {};
  std::set<std::uint32_t> ioctls_ = {};
  std::set<std::string> new_user_ = {};  ///< Calls that made a user namespace.
};

}  // namespace v0
}  // namespace condroid
