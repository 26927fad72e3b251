// System calls by name, as libseccomp has them; without it nothing is known. Private.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace condroid::inline v0::detail {

/// Whether neither libseccomp nor we know a system call of that name on any machine.
[[nodiscard]] bool is_nobodys_syscall(const std::string& call);
/// Whom a mistyped one may mean; empty when none is near.
[[nodiscard]] std::string nearest_syscall(const std::string& call);

#if CONDROID_LIBSECCOMP
/// Of digits alone.
[[nodiscard]] std::optional<int> plain_syscall_number(const std::string& call);
/// Negative where only other architectures have it; a number is itself.
[[nodiscard]] std::optional<int> syscall_number(const std::string& call);
/// The name of one that libseccomp need not have heard of: the same number everywhere.
[[nodiscard]] std::string_view young_syscall(int number);
#endif

}  // namespace condroid::inline v0::detail
