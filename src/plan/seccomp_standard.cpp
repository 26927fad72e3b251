// The filter that a container has unless its Spec says otherwise. Written by hand and not by
// libseccomp: it is part of every build, and of every launch, where each instruction costs the
// kernel a fifth of a microsecond.
#include <linux/audit.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "plan/bpf.hpp"
#include "plan/seccomp.hpp"

namespace condroid::inline v0::detail {

namespace {

enum class Verdict : std::uint8_t {
  allow,
  eperm,
  enosys,          ///< Programs take another way, as on a kernel without it.
  new_user,        ///< EPERM where the first argument has CLONE_NEWUSER.
  terminal_input,  ///< EPERM for the ioctl(2) requests that type for the user.
};

/// Numbers by column: x86_64, x86, aarch64, arm.
struct Row {
  std::array<std::uint16_t, 4> numbers;
  Verdict verdict;
  CapabilitySet opened_by;
  bool by_nesting = false;
};

// clang-format off
const Row rows[] = {
    {{ 16,  54,  29,  54}, Verdict::terminal_input, {}},  // ioctl
    {{ 56, 120, 220, 120}, Verdict::new_user, {Capability::sys_admin}, true},  // clone
    {{272, 310,  97, 337}, Verdict::new_user, {Capability::sys_admin}, true},  // unshare
    // Its flags are in memory, where a filter cannot look.
    {{435, 435, 435, 435}, Verdict::enosys, {Capability::sys_admin}, true},  // clone3
    {{248, 286, 217, 309}, Verdict::enosys, {}},  // add_key
    {{249, 287, 218, 310}, Verdict::enosys, {}},  // request_key
    {{250, 288, 219, 311}, Verdict::enosys, {}},  // keyctl
    {{298, 336, 241, 364}, Verdict::eperm, {Capability::perfmon, Capability::sys_admin}},  // perf_event_open
    {{304, 342, 265, 371}, Verdict::eperm, {Capability::dac_read_search}},  // open_by_handle_at
    {{321, 357, 280, 386}, Verdict::eperm, {Capability::bpf, Capability::sys_admin}},  // bpf
    {{323, 374, 282, 388}, Verdict::eperm, {Capability::sys_ptrace}},  // userfaultfd
    {{425, 425, 425, 425}, Verdict::enosys, {}},  // io_uring_setup
    {{426, 426, 426, 426}, Verdict::enosys, {}},  // io_uring_enter
    {{427, 427, 427, 427}, Verdict::enosys, {}},  // io_uring_register
};
// clang-format on

constexpr std::uint32_t clone_newuser = 0x10000000;
constexpr std::uint32_t eperm = SECCOMP_RET_ERRNO | EPERM;
constexpr std::uint32_t enosys = SECCOMP_RET_ERRNO | ENOSYS;
// Of arm alone: cacheflush, set_tls and others of its own.
constexpr std::uint32_t arm_private = 0xf0000;

std::size_t column(SyscallArch arch) {
  switch (arch) {
    case SyscallArch::x86_64:
    case SyscallArch::x32:  // the same numbers, with a bit that makes them unknown here
      return 0;
    case SyscallArch::x86:
      return 1;
    case SyscallArch::aarch64:
      return 2;
    case SyscallArch::arm:
      return 3;
  }
  return 0;
}

/// From a number on, up to the next one's.
struct Segment {
  std::uint32_t from;
  Verdict verdict;
};

std::vector<Segment> segments(SyscallArch arch, const Security& security) {
  std::vector<Segment> closed;
  for (const Row& row : rows) {
    if ((row.opened_by.bits() & security.capabilities.bits()) != 0) continue;
    if (row.by_nesting && security.allow.has(Allow::nesting)) continue;
    closed.push_back({row.numbers[column(arch)], row.verdict});
  }
  std::ranges::sort(closed, {}, &Segment::from);
  std::vector<Segment> all = {{0, Verdict::allow}};
  const auto begin = [&all](Segment next) {
    if (all.back().from == next.from) all.pop_back();
    if (all.empty() || all.back().verdict != next.verdict) all.push_back(next);
  };
  for (const Segment& s : closed) {
    begin(s);
    begin({s.from + 1, Verdict::allow});
  }
  return all;
}

void give(Bpf& out, Verdict verdict) {
  switch (verdict) {
    case Verdict::allow:
      return out.give(SECCOMP_RET_ALLOW);
    case Verdict::eperm:
      return out.give(eperm);
    case Verdict::enosys:
      return out.give(enosys);
    case Verdict::new_user:
      out.load_argument(0);
      out.unless_bits(clone_newuser);
      out.give(eperm);
      return out.give(SECCOMP_RET_ALLOW);
    case Verdict::terminal_input:
      // The kernel looks at 32 bits of the request, whatever is above them.
      out.load_argument(1);
      for (const std::uint32_t request : {std::uint32_t{TIOCSTI}, std::uint32_t{TIOCLINUX}}) {
        out.unless_equal(request);
        out.give(eperm);
      }
      return out.give(SECCOMP_RET_ALLOW);
  }
}

/// A binary search, so that the kernel's own cache of verdicts is filled fast, too.
void search(Bpf& out, const Segment* first, const Segment* last) {
  if (last - first == 1) return give(out, first->verdict);
  const Segment* const middle = first + (last - first) / 2;
  const std::size_t above = out.jump_if_at_least(middle->from);
  search(out, first, middle);
  out.land_near(above);
  search(out, middle, last);
}

}  // namespace

std::uint32_t audit_arch(SyscallArch arch) {
  switch (arch) {
    case SyscallArch::x86_64:
    case SyscallArch::x32:
      return AUDIT_ARCH_X86_64;
    case SyscallArch::x86:
      return AUDIT_ARCH_I386;
    case SyscallArch::aarch64:
      return AUDIT_ARCH_AARCH64;
    case SyscallArch::arm:
      return AUDIT_ARCH_ARM;
  }
  return 0;
}

std::vector<std::uint64_t> standard_filter(const Security& security,
                                           std::span<const SyscallArch> archs) {
  Bpf out;
  out.load_arch();
  std::vector<std::pair<SyscallArch, std::size_t>> parts;
  for (const SyscallArch arch : archs) {
    if (arch != archs.front() && !security.seccomp.arch.has(arch)) continue;
    if (arch == SyscallArch::x32) continue;
    out.unless_equal(audit_arch(arch));
    parts.emplace_back(arch, out.jump());
  }
  out.give(SECCOMP_RET_KILL_PROCESS);
  for (const auto& [arch, jump] : parts) {
    out.land(jump);
    out.load_nr();
    if (arch == SyscallArch::arm) {
      out.unless_at_least(arm_private);
      out.give(SECCOMP_RET_ALLOW);
    }
    // What came after us, and every number of x32.
    out.unless_at_least(newest_syscall + 1);
    out.give(enosys);
    const std::vector<Segment> list = segments(arch, security);
    search(out, list.data(), list.data() + list.size());
  }
  return out.take();
}

}  // namespace condroid::inline v0::detail
