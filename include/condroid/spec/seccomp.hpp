// Which system calls a container's programs may make: seccomp(2).
//
//   spec.security.seccomp = Seccomp::all_but({"mount", "umount2"});          // these fail: EPERM
//   spec.security.seccomp = Seccomp::only({"execve", "read", "exit_group"}); // all others fail
//   Seccomp no_vsock;
//   no_vsock.fail(EAFNOSUPPORT, {"socket"}, {{0, ArgumentCheck::eq, AF_VSOCK, 0xffffffff}});
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "condroid/flags.hpp"

namespace condroid {
inline namespace v0 {

/// A set of system calls with numbers of their own.
enum class SyscallArch : std::uint32_t {
  x86_64 = 1U << 0U,
  x86 = 1U << 1U,  ///< 32-bit programs on x86_64.
  x32 = 1U << 2U,  ///< 32-bit pointers on x86_64.
  aarch64 = 1U << 3U,
  arm = 1U << 4U,  ///< 32-bit programs on aarch64.
};
template <>
struct is_flag_enum<SyscallArch> : std::true_type {};

/// What becomes of a system call.
enum class SyscallAction : std::uint8_t {
  kill_process,  ///< SIGSYS to the whole process, which cannot be caught.
  kill_thread,   ///< The thread ends; rarely what one wants.
  trap,          ///< SIGSYS, which the program may catch.
  fail,          ///< The call is not made and gives an errno.
  notify,        ///< The host is asked; notify.hpp. ENOSYS when nobody listens. Linux 5.15
  trace,         ///< Asks a tracer; ENOSYS without one. ptrace(2), PTRACE_EVENT_SECCOMP.
  log,           ///< It is made, and written to the kernel's audit log. Linux 4.14
  allow,
};

/// A comparison with one argument of a call, unsigned, 64 bits. A call whose argument is an `int`
/// ignores the upper half of them: give eq the mask 0xffffffff there, or a program gets around it.
/// A pointer can be compared, but not what it points to.
struct ArgumentCheck {
  enum Op : std::uint8_t { eq, ne, lt, le, gt, ge };
  unsigned index = 0;  ///< 0 to 5.
  Op op = eq;
  std::uint64_t value = 0;
  /// With eq alone: these bits are compared.
  std::uint64_t mask = ~std::uint64_t{0};
  bool operator==(const ArgumentCheck&) const = default;
};

/// What becomes of some calls.
struct SyscallRule {
  SyscallAction action = SyscallAction::fail;
  /// Names as in syscalls(2), or numbers: "452".
  std::vector<std::string> calls = {};
  /// With fail: errno, 0 to 4095; 0 pretends that the call was made. With trace: what the tracer is
  /// told, up to 65535.
  std::uint32_t error = 1;
  /// All must hold. A call may have several rules with arguments; two that can hold at once must
  /// not differ in what they do.
  std::vector<ArgumentCheck> where = {};
  /// Only for these; empty: for all that the filter has.
  Flags<SyscallArch> arch = {};
  /// Names that this machine's calls are not among are passed over, not refused.
  bool optional = false;
  bool operator==(const SyscallRule&) const = default;
};

/// A filter for the first process and all that it starts, for good; seccomp(2), Linux 3.17.
/// Processes that are attached have it, too.
struct Seccomp {
  enum Kind : std::uint8_t {
    /// Closes what lets a program without rights far into the kernel: keys, bpf(2),
    /// perf_event_open(2), io_uring, userfaultfd(2), user namespaces, TIOCSTI; docs/seccomp.md has
    /// the list. A capability that is there for such a call, and Allow::nesting, open theirs.
    standard,
    rules,  ///< `list`; needs a build with libseccomp.
    bpf,    ///< `program`
    none,   ///< Needs Allow::all_syscalls.
  };
  Kind kind = standard;
  /// Beside the machine's own. What is not its own kills the process, so 32-bit programs need
  /// theirs here; one that the machine cannot run is passed over.
  Flags<SyscallArch> arch = {};
  /// rules: what becomes of the other calls.
  SyscallAction otherwise = SyscallAction::allow;
  std::uint32_t error = 1;  ///< With `otherwise`, as of SyscallRule.
  std::vector<SyscallRule> list = {};
  /// bpf: classic BPF, a struct sock_filter in each: code | jt << 16 | jf << 24 | k << 32. 1 to
  /// 4096.
  std::vector<std::uint64_t> program = {};
  /// bpf: the same, loaded ahead of `program` (which may be empty then) and with a listener: where
  /// it gives SECCOMP_RET_USER_NOTIF the host is asked. It must not do that for what condroid calls
  /// itself after it is loaded: docs/seccomp.md.
  std::vector<std::uint64_t> notify_program = {};
  /// rules, bpf: the standard filter holds as well. Without it, one that allows what it does not
  /// name needs Allow::all_syscalls.
  bool and_standard = true;
  /// All that is not allowed is told to the kernel's audit log, SECCOMP_FILTER_FLAG_LOG,
  /// Linux 4.14.
  bool log = false;
  bool operator==(const Seccomp&) const = default;

  /// The calls that are named fail with EPERM, like those that the standard filter closes.
  [[nodiscard]] static Seccomp all_but(std::vector<std::string> calls) {
    Seccomp s{.kind = rules};
    s.fail(1, std::move(calls));
    return s;
  }
  /// The calls that are named are allowed, and no others: they fail with EPERM; clone3, and what is
  /// newer than this library, with ENOSYS. execve is needed to start at all.
  [[nodiscard]] static Seccomp only(std::vector<std::string> calls) {
    Seccomp s{.kind = rules, .otherwise = SyscallAction::fail, .and_standard = false};
    s.allow(std::move(calls));
    return s;
  }
  Seccomp& allow(std::vector<std::string> calls, std::vector<ArgumentCheck> where = {}) {
    return add(SyscallAction::allow, 0, std::move(calls), std::move(where));
  }
  Seccomp& fail(std::uint32_t error_number, std::vector<std::string> calls,
                std::vector<ArgumentCheck> where = {}) {
    return add(SyscallAction::fail, error_number, std::move(calls), std::move(where));
  }
  Seccomp& kill(std::vector<std::string> calls, std::vector<ArgumentCheck> where = {}) {
    return add(SyscallAction::kill_process, 0, std::move(calls), std::move(where));
  }
  Seccomp& log_calls(std::vector<std::string> calls, std::vector<ArgumentCheck> where = {}) {
    return add(SyscallAction::log, 0, std::move(calls), std::move(where));
  }
  /// The host answers: Container::take_listener().
  Seccomp& notify(std::vector<std::string> calls, std::vector<ArgumentCheck> where = {}) {
    return add(SyscallAction::notify, 0, std::move(calls), std::move(where));
  }

 private:
  Seccomp& add(SyscallAction action, std::uint32_t number, std::vector<std::string> calls,
               std::vector<ArgumentCheck> where) {
    kind = rules;
    list.push_back(
        {.action = action, .calls = std::move(calls), .error = number, .where = std::move(where)});
    return *this;
  }
};

}  // namespace v0
}  // namespace condroid
