// What holds for every policy of system calls: it is refused with messages that a terminal may
// show, or it is rules that nobody has to refuse later, and that print as text and come back. Used
// by the fuzz targets and, with the seed corpora, by a unit test.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "condroid/config/seccomp.hpp"
#include "condroid/spec.hpp"

namespace seccomp_property {

inline bool printable(std::string_view line) {
  return !line.empty() && std::ranges::none_of(line, [](char c) {
    const auto byte = static_cast<unsigned char>(c);  // char has no sign on every machine
    return byte < 0x20 || byte == 0x7f;
  });
}

/// What compile() would refuse of a rule; empty when nothing.
inline std::string odd(const condroid::SyscallRule& rule) {
  if (rule.calls.empty()) return "a rule without a call";
  if (!rule.optional) return "a rule that refuses what this machine does not know";
  if (rule.error > (rule.action == condroid::SyscallAction::fail ? 4095U : 65535U))
    return "a number that is too large";
  for (const std::string& call : rule.calls)
    if (call.empty() || !printable(call)) return "a call without a name";
  unsigned seen = 0;
  for (const condroid::ArgumentCheck& check : rule.where) {
    if (check.index > 5) return "an argument that there is not";
    if ((seen & (1U << check.index)) != 0) return "an argument that is compared twice";
    seen |= 1U << check.index;
    if ((check.value & ~check.mask) != 0) return "a value that the mask does not let through";
    if (check.op != condroid::ArgumentCheck::eq && check.mask != condroid::ArgumentCheck{}.mask)
      return "a mask without ==";
  }
  return {};
}

/// Empty when it holds, otherwise what does not.
inline std::string broken(const condroid::Result<condroid::Seccomp>& policy) {
  if (!policy) {
    const condroid::Error& error = policy.error();
    if (!error.is(condroid::Errc::bad_text)) return "refused with another code";
    if (!printable(error.subject)) return "a message that no terminal should see: " + error.subject;
    for (const std::string& line : error.also)
      if (!printable(line)) return "a message that no terminal should see: " + line;
    return {};
  }
  if (policy->kind != condroid::Seccomp::rules) return "not rules";
  if (policy->and_standard) return "more than the policy says";
  for (const condroid::SyscallRule& rule : policy->list)
    if (std::string wrong = odd(rule); !wrong.empty()) return wrong;
  condroid::Spec spec;
  spec.security.seccomp = *policy;
  const std::string printed = condroid::print_spec(spec);
  const auto again = condroid::parse_spec(printed);
  if (!again) return "its printed form is refused: " + again.error().subject;
  if (*again != spec) return "its printed form is another";
  return {};
}

}  // namespace seccomp_property
