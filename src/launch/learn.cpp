#include "condroid/learn.hpp"

#include <sched.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>
#include <vector>

namespace condroid::inline v0 {

namespace {

constexpr std::array unasked = {"execve",       "execveat",        "exit",    "exit_group",
                                "rt_sigreturn", "restart_syscall", "sendmmsg"};
// ENOSYS of the standard filter, which programs take for an older kernel.
constexpr std::array<std::string_view, 7> pretended = {
    "add_key",        "clone3", "io_uring_enter", "io_uring_register",
    "io_uring_setup", "keyctl", "request_key"};
constexpr std::size_t most_ioctls = 64;
constexpr std::uint64_t low_half = 0xffffffff;

}  // namespace

Seccomp learning_filter() {
  Seccomp s{.kind = Seccomp::rules, .otherwise = SyscallAction::notify};
  s.allow({unasked.begin(), unasked.end()});
  return s;
}

Seccomp log_only(Seccomp rules) {
  const auto soften = [](SyscallAction& a) {
    if (a != SyscallAction::allow) a = SyscallAction::log;
  };
  if (rules.kind != Seccomp::rules) return rules;
  soften(rules.otherwise);
  for (SyscallRule& rule : rules.list) {
    soften(rule.action);
    rule.error = SyscallRule{}.error;
  }
  rules.error = Seccomp{}.error;
  return rules;
}

void SyscallLearner::note(const SyscallRequest& request) {
  std::string name = request.name();
  // The container chooses what it asks for.
  if (name == "ioctl" && ioctls_.size() <= most_ioctls)
    ioctls_.insert(static_cast<std::uint32_t>(request.args[1]));
  if ((name == "clone" || name == "unshare") && (request.args[0] & CLONE_NEWUSER) != 0)
    new_user_.insert(name);
  ++calls_[std::move(name)];
}

Result<void> SyscallLearner::answer(const SyscallRequest& request) {
  note(request);
  return listener_.proceed(request);
}

Result<void> SyscallLearner::step() {
  const auto each = [this](auto& /*listener*/, const auto& request) { return answer(request); };
  return detail::answer_some(listener_, each);
}

Result<Exit> SyscallLearner::serve(Container& box) {
  return condroid::serve(
      box, listener_, [this](auto& /*listener*/, const auto& request) { return answer(request); });
}

Seccomp SyscallLearner::policy() const {
  std::set<std::string> names(unasked.begin(), unasked.end());
  std::vector<std::string> absent;
  for (const auto& [name, count] : calls_) names.insert(name);
  for (const std::string_view name : pretended)
    if (!names.contains(std::string(name))) absent.emplace_back(name);
  const bool requests = !ioctls_.empty() && ioctls_.size() <= most_ioctls;
  if (requests) names.erase("ioctl");
  std::vector<std::string> without_user;
  for (const char* name : {"clone", "unshare"})
    if (names.contains(name) && !new_user_.contains(name)) {
      names.erase(name);
      without_user.emplace_back(name);
    }
  Seccomp s = Seccomp::only({names.begin(), names.end()});
  if (requests)
    for (const std::uint32_t request : ioctls_)
      s.allow({"ioctl"}, {{1, ArgumentCheck::eq, request, low_half}});
  for (std::string& name : without_user)
    s.allow({std::move(name)}, {{0, ArgumentCheck::eq, 0, CLONE_NEWUSER}});
  if (!absent.empty()) s.fail(ENOSYS, std::move(absent));
  s.and_standard = true;
  return s;
}

}  // namespace condroid::inline v0
