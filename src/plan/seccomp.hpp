// Filters of system calls as the kernel takes them. Private.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "condroid/spec/security.hpp"
#include "plan/refusals.hpp"
#include "spec/syscalls.hpp"

namespace condroid::inline v0::detail {

/// The last system call of Linux 6.18, file_setattr(2): what comes later nobody has looked at. All
/// architectures agree on the numbers from 424 on.
inline constexpr std::uint32_t newest_syscall = 469;

/// The value of the kernel's seccomp_data::arch.
[[nodiscard]] std::uint32_t audit_arch(SyscallArch arch);

/// Seccomp::standard, for programs with these rights; for the first of `archs`, and for those
/// others of them that Seccomp::arch has.
[[nodiscard]] std::vector<std::uint64_t> standard_filter(
    const Security& security, std::span<const SyscallArch> archs = machine_archs);

/// Seccomp::rules. What is wrong is refused with its field.
[[nodiscard]] std::vector<std::uint64_t> rules_filter(const Seccomp& seccomp, Refusals& refusals);

/// The Spec's own filter of rules or BPF; empty without one.
[[nodiscard]] std::vector<std::uint64_t> own_filter(const Seccomp& seccomp, Refusals& refusals);
[[nodiscard]] constexpr bool has_standard(const Seccomp& seccomp) noexcept {
  return seccomp.kind == Seccomp::standard ||
         (seccomp.kind != Seccomp::none && seccomp.and_standard);
}

}  // namespace condroid::inline v0::detail
