// What is known of system calls without libseccomp: whose programs this machine runs, and which
// calls show a filter nothing. Private.
#pragma once

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>

#include "condroid/spec/seccomp.hpp"

namespace condroid::inline v0::detail {

/// The architectures of programs that this build's machine may run: its own, that of its 32-bit
/// programs, others.
#if defined(__aarch64__)
inline constexpr std::array machine_archs = {SyscallArch::aarch64, SyscallArch::arm};
#else
inline constexpr std::array machine_archs = {SyscallArch::x86_64, SyscallArch::x86,
                                             SyscallArch::x32};
#endif
inline constexpr SyscallArch own_arch = machine_archs[0];
inline constexpr SyscallArch compat_arch = machine_archs[1];

/// Whether 32-bit programs of x86 may make it by socketcall(2) or ipc(2), with its arguments in
/// memory, where no filter sees them.
[[nodiscard]] constexpr bool hides_arguments(std::string_view call) noexcept {
  constexpr std::string_view all[] = {
      "accept",   "accept4",  "bind",   "connect",    "getpeername", "getsockname", "getsockopt",
      "listen",   "msgctl",   "msgget", "msgrcv",     "msgsnd",      "recv",        "recvfrom",
      "recvmmsg", "recvmsg",  "semctl", "semget",     "semop",       "semtimedop",  "send",
      "sendmmsg", "sendmsg",  "sendto", "setsockopt", "shmat",       "shmctl",      "shmdt",
      "shmget",   "shutdown", "socket", "socketpair"};
  return std::ranges::find(all, call) != std::end(all);
}

}  // namespace condroid::inline v0::detail
