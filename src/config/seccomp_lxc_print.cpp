// Rules as LXC's policy files have them.

#include <cstddef>
#include <iterator>
#include <string>
#include <utility>

#include "condroid/config/seccomp.hpp"
#include "formatted.hpp"

namespace condroid::inline v0 {

namespace {

/// Empty for what LXC has no word for.
std::string action_words(SyscallAction action, std::uint32_t error) {
  switch (action) {
    case SyscallAction::kill_thread:
      return "kill";
    case SyscallAction::trap:
      return "trap";
    case SyscallAction::fail:
      return formatted("errno {}", error);
    case SyscallAction::notify:
      return "notify";
    case SyscallAction::allow:
      return "allow";
    case SyscallAction::kill_process:
    case SyscallAction::trace:
    case SyscallAction::log:
      return {};
  }
  return {};
}

std::string check_words(const ArgumentCheck& check) {
  // In the order of ArgumentCheck::Op.
  static constexpr const char* operators[] = {"SCMP_CMP_EQ", "SCMP_CMP_NE", "SCMP_CMP_LT",
                                              "SCMP_CMP_LE", "SCMP_CMP_GT", "SCMP_CMP_GE"};
  if (check.mask != ArgumentCheck{}.mask)
    return formatted("[{},{:#x},SCMP_CMP_MASKED_EQ,{:#x}]", check.index, check.value, check.mask);
  return formatted("[{},{:#x},{}]", check.index, check.value,
                   operators[check.op % std::size(operators)]);
}

}  // namespace

namespace lxc {

Result<std::string> print_seccomp(const Seccomp& policy) {
  const auto wrong = [](std::string subject) {
    return fail(Errc::bad_spec, Step::parse, std::move(subject),
                "LXC's policy files have no word for it");
  };
  if (policy.kind != Seccomp::rules)
    return wrong("security.seccomp.kind: the filter is not made of rules");
  const std::string others = action_words(policy.otherwise, policy.error);
  if (others.empty()) return wrong("security.seccomp.otherwise: its action");
  std::string text = formatted(
      "2\n{}\n", policy.otherwise == SyscallAction::allow ? "denylist" : "allowlist " + others);
  for (std::size_t i = 0; i < policy.list.size(); ++i) {
    const SyscallRule& rule = policy.list[i];
    const auto field = [&] { return formatted("security.seccomp.list[{}]", i); };
    const std::string action = action_words(rule.action, rule.error);
    if (action.empty()) return wrong(field() + ": its action");
    if (!rule.arch.empty()) return wrong(field() + ": an architecture of its own");
    if (action == others) continue;  // LXC refuses what is done anyway
    std::string checks;
    for (const ArgumentCheck& check : rule.where) checks += " " + check_words(check);
    for (const std::string& call : rule.calls) {
      if (call.empty() || (call[0] >= '0' && call[0] <= '9'))
        return wrong(formatted("{}: '{}', a number in place of a name", field(), call));
      text += formatted("{} {}{}\n", call, action, checks);
    }
  }
  return text;
}

}  // namespace lxc

}  // namespace condroid::inline v0
