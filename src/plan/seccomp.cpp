#include "plan/seccomp.hpp"

#include <sys/syscall.h>

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <utility>

#include "condroid/plan.hpp"
#include "plan/bpf.hpp"

namespace condroid::inline v0 {

namespace detail {

namespace {

/// All ways through a filter for one call: where an argument decides, both are taken.
class Paths {
 public:
  Paths(std::span<const std::uint64_t> filter, std::uint32_t call, SyscallArch of = own_arch)
      : filter_(filter), number_(call), arch_(audit_arch(of)), seen_(filter.size()) {}

  /// Whether one of them ends in one of these answers.
  bool lead_to(std::initializer_list<std::uint32_t> answers) {
    wanted_ = answers;
    return from(0, number);
  }

 private:
  /// What the accumulator holds.
  enum Held : std::uint8_t { argument, number, arch };

  bool from(std::size_t i, Held held) {
    for (; i < filter_.size(); ++i) {
      const auto bit = static_cast<std::uint8_t>(1U << held);
      if ((seen_[i] & bit) != 0) return false;
      seen_[i] = static_cast<std::uint8_t>(seen_[i] | bit);
      const std::uint64_t word = filter_[i];
      const auto k = static_cast<std::uint32_t>(word >> 32U);
      const std::size_t yes = (word >> 16U) & 0xffU, no = (word >> 24U) & 0xffU;
      switch (const auto code = static_cast<std::uint16_t>(word); code) {
        case BPF_RET | BPF_K:
          return std::ranges::find(wanted_, k & SECCOMP_RET_ACTION_FULL) != wanted_.end();
        case BPF_RET | BPF_A:
          return true;
        case BPF_LD | BPF_W | BPF_ABS:
          held = k == offsetof(seccomp_data, nr)     ? number
                 : k == offsetof(seccomp_data, arch) ? arch
                                                     : argument;
          break;
        case BPF_JMP | BPF_JA:
          i += k;
          break;
        case BPF_JMP | BPF_JEQ | BPF_K:
        case BPF_JMP | BPF_JGE | BPF_K:
        case BPF_JMP | BPF_JGT | BPF_K:
        case BPF_JMP | BPF_JSET | BPF_K:
          if (held == argument) {
            if (from(i + 1 + yes, held)) return true;
            i += no;
          } else {
            i += holds(code, held == arch ? arch_ : number_, k) ? yes : no;
          }
          break;
        case BPF_JMP | BPF_JEQ | BPF_X:
        case BPF_JMP | BPF_JGE | BPF_X:
        case BPF_JMP | BPF_JGT | BPF_X:
        case BPF_JMP | BPF_JSET | BPF_X:
          if (from(i + 1 + yes, held)) return true;
          i += no;
          break;
        case BPF_ST:
        case BPF_STX:
        case BPF_LDX | BPF_IMM:
        case BPF_LDX | BPF_MEM:
        case BPF_MISC | BPF_TAX:
          break;
        default:
          held = argument;  // arithmetic: it may be anything
      }
    }
    return false;
  }

  static bool holds(std::uint16_t code, std::uint32_t a, std::uint32_t k) {
    switch (BPF_OP(code)) {
      case BPF_JEQ:
        return a == k;
      case BPF_JGE:
        return a >= k;
      case BPF_JGT:
        return a > k;
      default:
        return (a & k) != 0;
    }
  }

  std::span<const std::uint64_t> filter_;
  std::uint32_t number_;
  std::uint32_t arch_;
  std::vector<std::uint8_t> seen_;
  std::initializer_list<std::uint32_t> wanted_ = {};
};

}  // namespace

bool may_ask(std::span<const std::uint64_t> filter, long number) {
  return Paths(filter, static_cast<std::uint32_t>(number)).lead_to({SECCOMP_RET_USER_NOTIF});
}

bool may_deny(std::span<const std::uint64_t> filter, long number) {
  return Paths(filter, static_cast<std::uint32_t>(number))
      .lead_to({SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP,
                SECCOMP_RET_ERRNO, SECCOMP_RET_TRACE});
}

bool lets_others_through(const Seccomp& seccomp) {
  if (seccomp.kind == Seccomp::rules)
    return seccomp.otherwise == SyscallAction::allow || seccomp.otherwise == SyscallAction::log;
  constexpr std::uint32_t nobodys = 0x3ffffff0;  // no kernel has it, and it is none of x32's
  // What older kernels had and no program needs: create_module(2), nfsservctl(2) on aarch64.
  constexpr std::uint32_t obsolete = own_arch == SyscallArch::x86_64 ? 174 : 42;
  const auto lets = [](std::span<const std::uint64_t> filter) {
    const auto open = [&](std::uint32_t call, SyscallArch arch) {
      return Paths(filter, call, arch).lead_to({SECCOMP_RET_ALLOW, SECCOMP_RET_LOG});
    };
    return filter.empty() || open(obsolete, own_arch) ||
           std::ranges::any_of(machine_archs, [&](SyscallArch a) { return open(nobodys, a); });
  };
  return lets(seccomp.program) && lets(seccomp.notify_program);
}

std::vector<OwnCall> own_calls(const OwnFilters& filters, Early early) {
  std::vector<OwnCall> all = {
      {"execve", SYS_execve}, {"execveat", SYS_execveat}, {"exit_group", SYS_exit_group}};
  if (!filters.program.empty()) all.push_back({"seccomp", SYS_seccomp});
  if (may_ask(filters.notify, SYS_sendmsg)) all.push_back({"sendmmsg", SYS_sendmmsg});
  if (early.credentials || early.init)
    all.insert(all.end(), {{"prlimit64", SYS_prlimit64},
                           {"umask", SYS_umask},
                           {"rt_sigprocmask", SYS_rt_sigprocmask},
                           {"ppoll", SYS_ppoll},
                           {"prctl", SYS_prctl}});
  if (early.credentials)
    all.insert(all.end(), {{"setgroups", SYS_setgroups},
                           {"setresgid", SYS_setresgid},
                           {"setresuid", SYS_setresuid},
                           {"capset", SYS_capset},
                           {"capget", SYS_capget}});
  if (early.init)
    all.insert(all.end(), {{"clone", SYS_clone},
                           {"madvise", SYS_madvise},
                           {"setsid", SYS_setsid},
                           {"munmap", SYS_munmap},
                           {"close_range", SYS_close_range},
                           {"rt_sigtimedwait", SYS_rt_sigtimedwait},
                           {"wait4", SYS_wait4},
                           {"kill", SYS_kill},
                           {"sendmsg", SYS_sendmsg}});
  if (early.barrier || early.hooks)
    all.insert(all.end(),
               {{"sendmsg", SYS_sendmsg}, {"recvmsg", SYS_recvmsg}, {"ppoll", SYS_ppoll}});
  if (early.hooks)
    all.insert(all.end(), {{"clock_gettime", SYS_clock_gettime},
                           {"madvise", SYS_madvise},
                           {"memfd_create", SYS_memfd_create},
                           {"pwrite64", SYS_pwrite64},
                           {"pipe2", SYS_pipe2},
                           {"clone", SYS_clone},
                           {"close", SYS_close},
                           {"fcntl", SYS_fcntl},
                           {"read", SYS_read},
                           {"waitid", SYS_waitid},
                           {"kill", SYS_kill},
                           {"pidfd_send_signal", SYS_pidfd_send_signal},
                           {"prctl", SYS_prctl},
                           {"setsid", SYS_setsid},
                           {"dup3", SYS_dup3},
                           {"close_range", SYS_close_range},
                           {"chdir", SYS_chdir},
                           {"prlimit64", SYS_prlimit64},
                           {"umask", SYS_umask},
                           {"rt_sigprocmask", SYS_rt_sigprocmask}});
  if (early.init && early.terminal) all.push_back({"ioctl", SYS_ioctl});
  return all;
}

OwnFilters own_filters(const Seccomp& seccomp, Refusals& refusals) {
  if (seccomp.kind == Seccomp::rules) return rules_filters(seccomp, refusals);
  if (seccomp.kind != Seccomp::bpf) return {};
  return {.notify = seccomp.notify_program, .program = seccomp.program};
}

}  // namespace detail

Result<Seccomp> compile(const Seccomp& seccomp) {
  if (seccomp.kind != Seccomp::rules) return seccomp;
  detail::Refusals refusals;
  detail::OwnFilters filters = detail::rules_filters(seccomp, refusals);
  if (!refusals.empty()) return fail(refusals.take());
  return Seccomp{.kind = Seccomp::bpf,
                 .arch = seccomp.arch,
                 .program = std::move(filters.program),
                 .notify_program = std::move(filters.notify),
                 .and_standard = seccomp.and_standard,
                 .log = seccomp.log};
}

}  // namespace condroid::inline v0
