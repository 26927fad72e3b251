// A filter of rules, compiled by libseccomp: it knows the names, and what 32-bit programs do in
// other ways (socketcall(2), 64-bit arguments).

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "formatted.hpp"
#include "plan/bpf.hpp"
#include "plan/checks.hpp"
#include "plan/memory_file.hpp"
#include "plan/seccomp.hpp"
#include "plan/words.hpp"
#include "spec/names.hpp"
#include "spec/syscall_names.hpp"

#if CONDROID_LIBSECCOMP
#include <seccomp.h>
#include <unistd.h>
#endif

namespace condroid::inline v0::detail {

#if CONDROID_LIBSECCOMP

namespace {

constexpr std::string_view list_field = "security.seccomp.list";
constexpr std::size_t most_rules = 4096, most_rules_of_a_call = 256;
// From here on every architecture has the same numbers.
constexpr int first_common = 424, clone3_number = 435;

struct Release {
  void operator()(void* context) const { seccomp_release(context); }
};
using Context = std::unique_ptr<void, Release>;

/// In memory; libseccomp writes to descriptors alone.
struct File {
  File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (number >= 0) ::close(number);
  }
  int number = memory_file("condroid-filter");
};

std::uint32_t token(SyscallArch arch) {
  switch (arch) {
    case SyscallArch::x86_64:
      return SCMP_ARCH_X86_64;
    case SyscallArch::x86:
      return SCMP_ARCH_X86;
    case SyscallArch::x32:
      return SCMP_ARCH_X32;
    case SyscallArch::aarch64:
      return SCMP_ARCH_AARCH64;
    case SyscallArch::arm:
      return SCMP_ARCH_ARM;
  }
  return SCMP_ARCH_NATIVE;
}

std::uint32_t verdict(SyscallAction action, std::uint32_t number) {
  switch (action) {
    case SyscallAction::kill_process:
      return SCMP_ACT_KILL_PROCESS;
    case SyscallAction::kill_thread:
      return SCMP_ACT_KILL_THREAD;
    case SyscallAction::trap:
      return SCMP_ACT_TRAP;
    case SyscallAction::fail:
      return SCMP_ACT_ERRNO(number);
    case SyscallAction::notify:
      return SCMP_ACT_NOTIFY;
    case SyscallAction::trace:
      return SCMP_ACT_TRACE(number);
    case SyscallAction::log:
      return SCMP_ACT_LOG;
    case SyscallAction::allow:
      return SCMP_ACT_ALLOW;
  }
  return SCMP_ACT_KILL_PROCESS;
}

scmp_arg_cmp comparison(const ArgumentCheck& check) {
  // In the order of ArgumentCheck::Op.
  constexpr scmp_compare ops[] = {SCMP_CMP_EQ, SCMP_CMP_NE, SCMP_CMP_LT,
                                  SCMP_CMP_LE, SCMP_CMP_GT, SCMP_CMP_GE};
  if (check.mask != ArgumentCheck{}.mask)
    return {check.index, SCMP_CMP_MASKED_EQ, check.mask, check.value};
  return {check.index, ops[check.op], check.value, 0};
}

struct Numbered {
  std::size_t rule = 0;
  int number = 0;
};

bool check_action(std::string_view field, SyscallAction action, std::uint32_t number,
                  Refusals& refusals) {
  if (action == SyscallAction::fail && number > 4095)
    refusals.bad(field, formatted("{} is no errno", number), "use 0 to 4095; errno(3)");
  else if (action == SyscallAction::trace && number > 65535)
    refusals.bad(field, formatted("{} is more than a tracer can be told", number),
                 "use 0 to 65535");
  else
    return true;
  return false;
}

bool check_rule(std::string_view field, const SyscallRule& rule, Refusals& refusals) {
  const std::size_t before = refusals.size();
  if (rule.calls.empty()) refusals.bad(field, "names no system call", "name one, or leave it out");
  check_action(field, rule.action, rule.error, refusals);
  unsigned seen = 0;
  for (const ArgumentCheck& c : rule.where) {
    if (c.index > 5) {
      refusals.bad(field, formatted("there is no argument {}", c.index), "count from 0 to 5");
      continue;
    }
    if (c.op > ArgumentCheck::ge)
      refusals.bad(field, "has an unknown comparison", "use eq, ne, lt, le, gt or ge");
    if (c.op != ArgumentCheck::eq && c.mask != ArgumentCheck{}.mask)
      refusals.bad(field, "a mask goes with == alone", "leave the mask out");
    if ((c.value & ~c.mask) != 0)
      refusals.bad(field, formatted("{:#x} can never be left of mask {:#x}", c.value, c.mask),
                   "take the bits out of the value that are not in the mask");
    if ((seen & (1U << c.index)) != 0)
      refusals.bad(field, formatted("argument {} is compared twice", c.index),
                   "write two rules: either may hold");
    seen |= 1U << c.index;
  }
  return refusals.size() == before;
}

std::string hint_of(const std::string& near) {
  return near.empty() ? "syscalls(2) lists them; numbers are taken, too"
                      : formatted("did you mean '{}'?", near);
}

/// What two rules say of one call must be one thing.
void refuse_contradictions(const Seccomp& s, std::vector<Numbered> all, Refusals& refusals) {
  std::ranges::sort(all, [](const Numbered& a, const Numbered& b) {
    return std::tie(a.number, a.rule) < std::tie(b.number, b.rule);
  });
  for (std::size_t i = 0, first = 0; i < all.size(); ++i) {
    if (all[i].number != all[first].number) first = i;
    const SyscallRule& b = s.list[all[i].rule];
    const std::string field = nth(list_field, all[i].rule);
    if (i - first >= most_rules_of_a_call) {
      refusals.bad(field, formatted("is one of more than {} for one call", most_rules_of_a_call),
                   "a filter is read from front to back at every such call: use fewer");
      return;
    }
    for (std::size_t k = first; k < i; ++k) {
      const SyscallRule& a = s.list[all[k].rule];
      if (verdict(a.action, a.error) == verdict(b.action, b.error)) continue;
      if (!a.arch.empty() && !b.arch.empty() && (a.arch & b.arch).empty()) continue;
      if (!a.where.empty() && !b.where.empty() && a.where != b.where) continue;
      refusals.bad(
          field, formatted("contradicts {}, which has the same call", nth(list_field, all[k].rule)),
          "say one thing of it; where arguments decide, compare them in both rules");
      return;
    }
  }
}

std::vector<Numbered> numbered(const Seccomp& s, Refusals& refusals) {
  std::vector<Numbered> all;
  for (std::size_t i = 0; i < s.list.size(); ++i) {
    const SyscallRule& rule = s.list[i];
    const std::string field = nth(list_field, i);
    if (!check_rule(field, rule, refusals)) continue;
    const bool for_own = rule.arch.empty() || rule.arch == Flags<SyscallArch>(own_arch);
    const bool on_x86 = s.arch.has(SyscallArch::x86) &&
                        (rule.arch.empty() || rule.arch.has(SyscallArch::x86)) &&
                        own_arch == SyscallArch::x86_64;
    for (const std::string& call : rule.calls) {
      if (const auto number = plain_syscall_number(call);
          number && *number < first_common && !for_own)
        refusals.bad(field, formatted("{} is the number of another call elsewhere", call),
                     "name the call; numbers are those of this machine's own architecture");
      if (on_x86 && !rule.where.empty() && hides_arguments(call))
        refusals.bad(field,
                     formatted("x86 programs make {} by way of a call whose arguments are in "
                               "memory",
                               quoted(call)),
                     "set its arch to x86_64, and say without arguments what x86 may do");
      if (const auto number = syscall_number(call))
        all.push_back({i, *number});
      else if (!rule.optional)
        refusals.bad(field, formatted("there is no system call {}", quoted(call)),
                     hint_of(nearest_syscall(call)));
    }
  }
  return all;
}

class Compiler {
 public:
  Compiler(const Seccomp& seccomp, Refusals& refusals) : s_(seccomp), refusals_(refusals) {}

  std::vector<std::uint64_t> run() {
    const std::vector<Numbered> rules = numbered(s_, refusals_);
    check_action("security.seccomp.error", s_.otherwise, s_.error, refusals_);
    if (refusals_.empty()) refuse_contradictions(s_, rules, refusals_);
    if (!refusals_.empty()) return {};
    for (const auto& [rule, number] : rules) {
      names_clone3_ = names_clone3_ || number == clone3_number;
      newest_ = std::max(newest_, number);
    }
    Context all;
    for (const SyscallArch arch : machine_archs) {
      if (arch != own_arch && !s_.arch.has(arch)) continue;
      Context one = of(arch, rules);
      if (!one) return {};
      if (!all) {
        all = std::move(one);
        continue;
      }
      if (const int e = seccomp_merge(all.get(), one.get()); e < 0) return failed("merge", e);
      (void)one.release();  // it is part of the other now
    }
    return exported(all.get());
  }

 private:
  Context of(SyscallArch arch, const std::vector<Numbered>& rules) {
    Context c(seccomp_init(verdict(s_.otherwise, s_.error)));
    if (!c) return failed("init", -ENOMEM), nullptr;
    if (arch != own_arch) {
      if (const int e = seccomp_arch_add(c.get(), token(arch)); e < 0)
        return failed("add", e), nullptr;
      if (const int e = seccomp_arch_remove(c.get(), SCMP_ARCH_NATIVE); e < 0)
        return failed("remove", e), nullptr;
    }
    (void)seccomp_attr_set(c.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    // A binary search, where the library has that: a quarter of the time that loading takes.
    (void)seccomp_attr_set(c.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (const auto& [index, number] : rules) {
      const SyscallRule& rule = s_.list[index];
      if (!rule.arch.empty() && !rule.arch.has(arch)) continue;
      // What is so anyway is no rule to libseccomp.
      if (verdict(rule.action, rule.error) == verdict(s_.otherwise, s_.error)) continue;
      std::vector<scmp_arg_cmp> where;
      for (const ArgumentCheck& check : rule.where) where.push_back(comparison(check));
      const int e = seccomp_rule_add_array(c.get(), verdict(rule.action, rule.error), number,
                                           static_cast<unsigned>(where.size()), where.data());
      // Newer than this libseccomp, which knows others' numbers by name: then the call has what
      // `otherwise` says, if that is no weaker.
      if (e == -EFAULT && !stricter()) {
        refusals_.unsupported(
            nth(list_field, index),
            "has a call that this libseccomp does not know for another architecture",
            "set its arch to this machine's own");
        return nullptr;
      }
      // -EDOM: it is not among the calls of this architecture.
      if (e < 0 && e != -EDOM && e != -EEXIST && e != -EFAULT)
        return failed(nth(list_field, index), e), nullptr;
    }
    // C libraries try clone where there is no clone3, and give up where it fails with anything
    // else.
    if (stricter() && !names_clone3_ && s_.otherwise != SyscallAction::notify)
      (void)seccomp_rule_add(c.get(), SCMP_ACT_ERRNO(ENOSYS), clone3_number, 0);
    return c;
  }

  [[nodiscard]] bool stricter() const { return s_.otherwise <= SyscallAction::trace; }

  std::vector<std::uint64_t> exported(void* context) {
    const File file;
    if (file.number < 0) return failed("memory for it", -errno);
    if (const int e = seccomp_export_bpf(context, file.number); e < 0) return failed("export", e);
    const off_t size = ::lseek(file.number, 0, SEEK_END);
    if (size < 0) return failed("size of it", -errno);
    std::vector<std::uint64_t> filter(static_cast<std::size_t>(size) / 8);
    if (const ssize_t n = ::pread(file.number, filter.data(), filter.size() * 8, 0); n != size)
      return failed("read", n < 0 ? -errno : -EIO);
    // Programs try what is new and take another way when there is none: ENOSYS, not EPERM.
    if (s_.otherwise == SyscallAction::fail) {
      constexpr std::uint32_t x32_numbers = 0x40000000;  // they have the same arch
      Bpf front;
      front.load_arch();
      front.unless_equal(audit_arch(own_arch));
      const std::size_t ours = front.jump();
      const std::size_t others = front.jump();
      front.land(ours);
      front.load_nr();
      const bool x32 = s_.arch.has(SyscallArch::x32);
      const std::size_t of_x32 = x32 ? front.jump_if_at_least(x32_numbers) : 0;
      front.unless_at_least(static_cast<std::uint32_t>(newest_) + 1);
      front.give(SECCOMP_RET_ERRNO | ENOSYS);
      if (x32) front.land_near(of_x32);
      front.land(others);
      std::vector<std::uint64_t> whole = front.take();
      whole.insert(whole.end(), filter.begin(), filter.end());
      filter = std::move(whole);
    }
    if (filter.size() > BPF_MAXINSNS)
      refusals_.bad(
          "security.seccomp",
          formatted("becomes {} instructions; the kernel takes {}", filter.size(), BPF_MAXINSNS),
          "use fewer rules, or fewer architectures");
    return filter;
  }

  std::vector<std::uint64_t> failed(std::string_view what, int error) {
    refusals_.bad("security.seccomp",
                  formatted("libseccomp makes no filter of it ({}: {})", what, errno_name(-error)),
                  "errno(3) has the name; leave out what it speaks of");
    return {};
  }

  const Seccomp& s_;
  Refusals& refusals_;
  bool names_clone3_ = false;
  int newest_ = static_cast<int>(newest_syscall);  ///< Of the calls that somebody has thought of.
};

}  // namespace

namespace {

/// The part of it that asks, or the one that does not: what is the other's is allowed.
Seccomp part(const Seccomp& whole, bool asking) {
  Seccomp s = whole;
  const auto settle = [asking](SyscallAction& a) {
    if ((a == SyscallAction::notify) != asking) a = SyscallAction::allow;
  };
  settle(s.otherwise);
  for (SyscallRule& rule : s.list) settle(rule.action);
  return s;
}

bool has_other_than(const Seccomp& s, SyscallAction action) {
  return s.otherwise != action || std::ranges::any_of(s.list, [action](const SyscallRule& rule) {
           return rule.action != action;
         });
}

/// What asks about this call.
std::string asking_field(const Seccomp& s, const OwnCall& call) {
  for (std::size_t i = 0; i < s.list.size(); ++i)
    if (s.list[i].action == SyscallAction::notify)
      for (const std::string& name : s.list[i].calls)
        if (syscall_number(name) == static_cast<int>(call.number)) return nth(list_field, i);
  return "security.seccomp.otherwise";
}

}  // namespace

OwnFilters rules_filters(const Seccomp& seccomp, Refusals& refusals) {
  if (seccomp.list.size() > most_rules) {
    refusals.bad(list_field,
                 formatted("has {} rules; at most {} are read", seccomp.list.size(), most_rules),
                 "name several calls in one rule");
    return {};
  }
  const Seccomp asking = part(seccomp, true), other = part(seccomp, false);
  OwnFilters out;
  if (!has_other_than(asking, SyscallAction::allow))
    return {.notify = {}, .program = Compiler(seccomp, refusals).run()};
  out.notify = Compiler(asking, refusals).run();
  if (!refusals.empty()) return {};
  if (has_other_than(other, SyscallAction::allow)) out.program = Compiler(other, refusals).run();
  if (!refusals.empty()) return {};
  for (const OwnCall& call : own_calls(out))
    if (may_ask(out.notify, call.number))
      refusals.bad(asking_field(seccomp, call),
                   formatted("asks the host about {}, which condroid itself needs to get the "
                             "command started",
                             quoted(call.name)),
                   "take it out, or allow it by a rule");
  return refusals.empty() ? std::move(out) : OwnFilters{};
}

std::string syscall_name(SyscallArch arch, int number) {
  if (char* known = seccomp_syscall_resolve_num_arch(token(arch), number)) {
    std::string name = known;
    std::free(known);
    return name;
  }
  return std::string(young_syscall(number));
}

#else

std::string syscall_name(SyscallArch /*arch*/, int /*number*/) { return {}; }

OwnFilters rules_filters(const Seccomp& /*seccomp*/, Refusals& refusals) {
  refusals.unsupported("security.seccomp", "this condroid was built without libseccomp",
                       "build it with -Dseccomp=enabled, or give the filter as kind = bpf");
  return {};
}

#endif

}  // namespace condroid::inline v0::detail
