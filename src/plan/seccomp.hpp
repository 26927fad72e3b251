// Filters of system calls as the kernel takes them. Private.
#pragma once

#include <cstdint>
#include <span>
#include <string>
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

/// A filter in two parts. The kernel asks every filter, and the strictest answer counts: together
/// they say what one would. In between the listener is sent, by calls that the second may deny.
struct OwnFilters {
  std::vector<std::uint64_t> notify;  ///< Asks the host or allows; may be empty.
  std::vector<std::uint64_t> program;
};

/// Seccomp::rules. What is wrong is refused with its field.
[[nodiscard]] OwnFilters rules_filters(const Seccomp& seccomp, Refusals& refusals);

/// The Spec's own filter of rules or BPF; empty without one.
[[nodiscard]] OwnFilters own_filters(const Seccomp& seccomp, Refusals& refusals);

/// Whether the filter may ask the host about this call of the machine's own architecture, whatever
/// its arguments are.
[[nodiscard]] bool may_ask(std::span<const std::uint64_t> filter, long number);

/// Whether it may answer anything but yes.
[[nodiscard]] bool may_deny(std::span<const std::uint64_t> filter, long number);

/// Whether what rules or BPF do not name may be called, as far as they are asked.
[[nodiscard]] bool lets_others_through(const Seccomp& seccomp);

/// A call that condroid makes after the filter was loaded: asked about it, the host waits for a
/// launch that waits for the host.
struct OwnCall {
  std::string_view name;
  long number;
};
/// What condroid makes more calls for, after the Spec's own filter, than it takes to execute.
struct Early {
  bool credentials = false;  ///< Rights are given up behind it.
  bool init = false;         ///< The small init is under it,
  bool terminal = false;     ///< and gives its command a terminal.
  bool barrier = false;      ///< The host is waited for.
  bool hooks = false;        ///< Programs are run in the container before the command.
};
/// What a launch makes: of the two that can send the listener one is enough.
[[nodiscard]] std::vector<OwnCall> own_calls(const OwnFilters& filters, Early early = {});

/// Its name, as syscalls(2) has it; empty where it has none or there is no libseccomp.
[[nodiscard]] std::string syscall_name(SyscallArch arch, int number);

[[nodiscard]] constexpr bool has_standard(const Seccomp& seccomp) noexcept {
  return seccomp.kind == Seccomp::standard ||
         (seccomp.kind != Seccomp::none && seccomp.and_standard);
}

}  // namespace condroid::inline v0::detail
