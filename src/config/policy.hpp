// The rules of a policy file, settled as libseccomp settles them for the tools that such files are
// written for. Private.
//
//   Policy policy;
//   if (auto other = policy.add({.calls = {"mount"}}, "line 4")) mistakes.add("line 4", ...);
//   seccomp.list = policy.take();
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "condroid/spec/seccomp.hpp"

namespace condroid::inline v0::detail {

/// What a policy may have, all of them taken together: more is no policy.
inline constexpr std::size_t most_policy_bytes = std::size_t{1} << 20U;
inline constexpr std::size_t most_policy_rules = 8192;
/// MAX_ERRNO: more is no error to a program.
inline constexpr std::uint32_t most_policy_errno = 4095;

class Policy {
 public:
  /// Takes a rule for one call. Gives the place of an earlier one that says something else of the
  /// same arguments: then libseccomp takes neither, and says "File exists".
  [[nodiscard]] std::optional<std::string_view> add(std::string call, SyscallRule rule,
                                                    std::string_view place);
  [[nodiscard]] bool full() const { return all_.size() >= most_policy_rules; }

  /// In the order of the file; neighbours that say one thing are one rule of several calls.
  [[nodiscard]] std::vector<SyscallRule> take() &&;

 private:
  struct One {
    std::string call;
    SyscallRule rule;  ///< Without the call.
    std::string place;
    bool holds = true;
  };
  std::vector<One> all_;
  std::unordered_map<std::string, std::vector<std::size_t>> of_call_;
};

/// What is wrong with a rule for a call that nobody here has heard of: without it the call that is
/// meant would be open, or less closed than its author thinks. Nothing where all others are closed
/// more.
[[nodiscard]] std::optional<std::string> opens_what_is_meant(const std::string& call,
                                                             SyscallAction action,
                                                             SyscallAction otherwise);

/// Whether a system call may have that name: 1 to 64 of [A-Za-z0-9_], not a number alone.
[[nodiscard]] bool is_call_name(std::string_view name);

}  // namespace condroid::inline v0::detail
