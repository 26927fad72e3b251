#include "plan/seccomp.hpp"

#include <linux/audit.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <set>
#include <string>

#include "bpf_machine.hpp"
#include "catch.hpp"
#include "condroid/plan.hpp"
#include "facts.hpp"

#if CONDROID_LIBSECCOMP
#include <seccomp.h>
#endif

using namespace condroid;
using namespace condroid::literals;
using condroid::detail::Refusals;
using condroid::test::verdict;

namespace {

constexpr std::uint32_t allowed = SECCOMP_RET_ALLOW;
constexpr std::uint32_t eperm = SECCOMP_RET_ERRNO | EPERM;
constexpr std::uint32_t enosys = SECCOMP_RET_ERRNO | ENOSYS;
constexpr std::uint64_t newuser = 0x10000000;

#if defined(__aarch64__)
constexpr std::uint32_t own = AUDIT_ARCH_AARCH64, compat = AUDIT_ARCH_ARM;
constexpr SyscallArch compat_arch = SyscallArch::arm;
constexpr int compat_ioctl = 54, compat_keyctl = 311;
#else
constexpr std::uint32_t own = AUDIT_ARCH_X86_64, compat = AUDIT_ARCH_I386;
constexpr SyscallArch compat_arch = SyscallArch::x86;
constexpr int compat_ioctl = 54, compat_keyctl = 288;
#endif

std::vector<std::uint64_t> standard(const Security& security = {}) {
  return detail::standard_filter(security);
}

std::uint32_t of(const std::vector<std::uint64_t>& filter, long nr, std::uint64_t first = 0,
                 std::uint64_t second = 0, std::uint32_t arch = own) {
  return verdict(filter, {.nr = static_cast<int>(nr), .arch = arch, .args = {first, second}});
}

}  // namespace

TEST_CASE("the standard filter closes what lets a program without rights far into the kernel",
          "[plan][seccomp]") {
  const auto filter = standard();
  std::set<long> closed;
  for (long nr = 0; nr <= detail::newest_syscall; ++nr)
    if (of(filter, nr) != allowed) closed.insert(nr);
  CHECK(closed == std::set<long>{__NR_add_key, __NR_request_key, __NR_keyctl, __NR_bpf,
                                 __NR_perf_event_open, __NR_open_by_handle_at, __NR_userfaultfd,
                                 __NR_io_uring_setup, __NR_io_uring_enter, __NR_io_uring_register,
                                 __NR_clone3});
  CHECK(of(filter, __NR_keyctl) == enosys);
  CHECK(of(filter, __NR_bpf) == eperm);
  CHECK(of(filter, __NR_io_uring_setup) == enosys);
  CHECK(of(filter, __NR_clone3) == enosys);

  SECTION("user namespaces by a flag, whatever else is asked for") {
    for (const long nr : {long{__NR_clone}, long{__NR_unshare}}) {
      CHECK(of(filter, nr, newuser) == eperm);
      CHECK(of(filter, nr, newuser | 0x20000000) == eperm);
      CHECK(of(filter, nr, newuser | std::uint64_t{1} << 40U) == eperm);
      CHECK(of(filter, nr, ~newuser) == allowed);
    }
  }
  SECTION("typing for the user, in the 32 bits that the kernel looks at") {
    for (const std::uint64_t request : {std::uint64_t{TIOCSTI}, std::uint64_t{TIOCLINUX}}) {
      CHECK(of(filter, __NR_ioctl, 0, request) == eperm);
      CHECK(of(filter, __NR_ioctl, 0, request | 0xdeadbeef00000000ULL) == eperm);
    }
    CHECK(of(filter, __NR_ioctl, 0, TIOCGWINSZ) == allowed);
  }
  SECTION("calls that nobody has looked at") {
    CHECK(of(filter, detail::newest_syscall) == allowed);
    CHECK(of(filter, detail::newest_syscall + 1) == enosys);
    CHECK(of(filter, 0x40000000 | __NR_keyctl) == enosys);  // x32
    CHECK(of(filter, -1) == enosys);
  }
  SECTION("programs of another architecture") {
    CHECK(of(filter, 1, 0, 0, compat) == SECCOMP_RET_KILL_PROCESS);
    const auto both = standard({.seccomp = {.arch = compat_arch}});
    CHECK(of(both, 1, 0, 0, compat) == allowed);
    CHECK(of(both, compat_keyctl, 0, 0, compat) == enosys);
    CHECK(of(both, compat_ioctl, 0, TIOCSTI, compat) == eperm);
    CHECK(of(both, __NR_keyctl) == enosys);
    CHECK(of(both, 1, 0, 0, AUDIT_ARCH_S390X) == SECCOMP_RET_KILL_PROCESS);
#if defined(__aarch64__)
    CHECK(of(both, 0xf0002, 0, 0, compat) == allowed);  // cacheflush
#endif
    // What this machine cannot run changes nothing.
    CHECK(standard({.seccomp = {.arch = SyscallArch::x32}}) == filter);
  }
  SECTION("small enough to be loaded with every container") {
    CHECK(filter.size() <= 64);
    CHECK(standard({.seccomp = {.arch = compat_arch}}).size() <= 128);
  }
}

TEST_CASE("a capability opens the calls that are its own", "[plan][seccomp]") {
  const auto with = [](Capability c) { return standard({.capabilities = {c}}); };
  CHECK(of(with(Capability::bpf), __NR_bpf) == allowed);
  CHECK(of(with(Capability::bpf), __NR_perf_event_open) == eperm);
  CHECK(of(with(Capability::perfmon), __NR_perf_event_open) == allowed);
  CHECK(of(with(Capability::sys_ptrace), __NR_userfaultfd) == allowed);
  CHECK(of(with(Capability::dac_read_search), __NR_open_by_handle_at) == allowed);
  CHECK(of(with(Capability::sys_admin), __NR_clone3) == allowed);
  CHECK(of(with(Capability::sys_admin), __NR_unshare, newuser) == allowed);
  CHECK(of(with(Capability::sys_admin), __NR_keyctl) == enosys);
  const auto nesting = standard({.allow = Allow::nesting});
  CHECK(of(nesting, __NR_clone3) == allowed);
  CHECK(of(nesting, __NR_clone, newuser) == allowed);
  CHECK(of(nesting, __NR_bpf) == eperm);
}

#if CONDROID_LIBSECCOMP

TEST_CASE("the numbers of the standard filter are those of libseccomp", "[plan][seccomp]") {
  struct Arch {
    SyscallArch arch;
    std::uint32_t token;
  };
  for (const auto& [arch, token] :
       {Arch{SyscallArch::x86_64, SCMP_ARCH_X86_64}, Arch{SyscallArch::x86, SCMP_ARCH_X86},
        Arch{SyscallArch::aarch64, SCMP_ARCH_AARCH64}, Arch{SyscallArch::arm, SCMP_ARCH_ARM}}) {
    const SyscallArch one[] = {arch};
    const auto filter = detail::standard_filter({}, one);
    std::set<std::string> closed;
    for (int nr = 0; nr <= static_cast<int>(detail::newest_syscall); ++nr) {
      if (of(filter, nr, newuser, TIOCSTI, detail::audit_arch(arch)) == allowed) continue;
      char* name = seccomp_syscall_resolve_num_arch(token, nr);
      REQUIRE(name != nullptr);
      closed.insert(name);
      std::free(name);
    }
    CHECK(closed == std::set<std::string>{"add_key", "bpf", "clone", "clone3", "io_uring_enter",
                                          "io_uring_register", "io_uring_setup", "ioctl", "keyctl",
                                          "open_by_handle_at", "perf_event_open", "request_key",
                                          "unshare", "userfaultfd"});
  }
}

namespace {

std::vector<std::uint64_t> compiled(const Seccomp& seccomp) {
  Refusals refusals;
  detail::OwnFilters filters = detail::rules_filters(seccomp, refusals);
  if (!refusals.empty()) FAIL(to_string(refusals.take()));
  CHECK(filters.notify.empty());
  return filters.program;
}

std::string refused(const Seccomp& seccomp) {
  Refusals refusals;
  CHECK(detail::rules_filters(seccomp, refusals).program.empty());
  REQUIRE_FALSE(refusals.empty());
  return to_string(refusals.take());
}

}  // namespace

TEST_CASE("rules become a filter that says what they say", "[plan][seccomp]") {
  SECTION("all but some") {
    const auto filter = compiled(Seccomp::all_but({"mount", "umount2"}));
    CHECK(of(filter, __NR_mount) == eperm);
    CHECK(of(filter, __NR_umount2) == eperm);
    CHECK(of(filter, __NR_getpid) == allowed);
    CHECK(of(filter, __NR_getpid, 0, 0, compat) == SECCOMP_RET_KILL_PROCESS);
  }
  SECTION("some only") {
    const auto filter = compiled(Seccomp::only({"read", "write", "execve", "exit_group"}));
    CHECK(of(filter, __NR_read) == allowed);
    CHECK(of(filter, __NR_getpid) == eperm);
    CHECK(of(filter, detail::newest_syscall + 1) == enosys);
    CHECK(of(filter, __NR_clone3) == enosys);  // or no C library would try clone
    const auto later = compiled(Seccomp::only({"execve", "clone3", "472"}));
    CHECK(of(later, __NR_clone3) == allowed);
    CHECK(of(later, 472) == allowed);
    CHECK(of(later, 471) == eperm);
    CHECK(of(later, 473) == enosys);
#if defined(__x86_64__)
    Seccomp s = Seccomp::only({"read", "execve"});
    s.arch = SyscallArch::x32;
    const auto both = compiled(s);
    CHECK(of(both, __NR_read) == allowed);
    CHECK(of(both, detail::newest_syscall + 1) == enosys);
    CHECK(of(both, 0x3fffffff) == enosys);
    CHECK(of(both, 0x40000000 | __NR_read) == allowed);
    CHECK(of(both, 0x40000000 | __NR_mount) == eperm);
#endif
  }
  SECTION("each action") {
    Seccomp s = Seccomp::all_but({"getpid"});
    s.kill({"ptrace"}).fail(ENOSYS, {"statx"}).log_calls({"chmod", "fchmod"}).fail(0, {"sync"});
    s.list.push_back({.action = SyscallAction::trap, .calls = {"getuid"}});
    s.list.push_back({.action = SyscallAction::trace, .calls = {"getgid"}, .error = 7});
    s.list.push_back({.action = SyscallAction::kill_thread, .calls = {"geteuid"}});
    const auto filter = compiled(s);
    CHECK(of(filter, __NR_ptrace) == SECCOMP_RET_KILL_PROCESS);
    CHECK(of(filter, __NR_statx) == enosys);
    CHECK(of(filter, __NR_fchmod) == SECCOMP_RET_LOG);
    CHECK(of(filter, __NR_sync) == SECCOMP_RET_ERRNO);
    CHECK(of(filter, __NR_getuid) == SECCOMP_RET_TRAP);
    CHECK(of(filter, __NR_getgid) == (SECCOMP_RET_TRACE | 7));
    CHECK(of(filter, __NR_geteuid) == SECCOMP_RET_KILL_THREAD);
  }
  SECTION("comparisons of arguments, all of 64 bits") {
    using C = ArgumentCheck;
    struct Sample {
      C check;
      std::vector<std::uint64_t> holds, fails;
    };
    const std::uint64_t big = std::uint64_t{1} << 40U;
    for (const Sample& s :
         {Sample{{1, C::eq, 5}, {5}, {4, 6, big + 5}}, Sample{{1, C::ne, 5}, {4, big + 5}, {5}},
          Sample{{1, C::lt, big}, {0, big - 1}, {big, big + 1}},
          Sample{{1, C::le, big}, {big}, {big + 1}}, Sample{{1, C::gt, big}, {big + 1}, {big, 0}},
          Sample{{1, C::ge, big}, {big, ~std::uint64_t{0}}, {big - 1}},
          Sample{{1, C::eq, 4, 6}, {4, 5, big + 4}, {6, 2, 0}}}) {
      Seccomp rules{.kind = Seccomp::rules};
      rules.fail(EPERM, {"ioctl"}, {s.check});
      const auto filter = compiled(rules);
      for (const auto v : s.holds) CHECK(of(filter, __NR_ioctl, 0, v) == eperm);
      for (const auto v : s.fails) CHECK(of(filter, __NR_ioctl, 0, v) == allowed);
    }
  }
  SECTION("several rules with arguments for one call: any of them") {
    Seccomp s{.kind = Seccomp::rules};
    s.fail(EPERM, {"socket"}, {{0, ArgumentCheck::eq, 38}});
    s.fail(EPERM, {"socket"}, {{0, ArgumentCheck::eq, 40}});
    const auto filter = compiled(s);
    CHECK(of(filter, __NR_socket, 38) == eperm);
    CHECK(of(filter, __NR_socket, 40) == eperm);
    CHECK(of(filter, __NR_socket, 2) == allowed);
  }
  SECTION("for one architecture alone") {
    Seccomp s{.kind = Seccomp::rules, .arch = compat_arch};
    s.list.push_back({.calls = {"getpid"}, .arch = compat_arch});
    s.list.push_back({.calls = {"keyctl"}});
    const auto filter = compiled(s);
    CHECK(of(filter, __NR_getpid) == allowed);
    CHECK(of(filter, 20, 0, 0, compat) == eperm);  // getpid of either
    CHECK(of(filter, __NR_keyctl) == eperm);
    CHECK(of(filter, compat_keyctl, 0, 0, compat) == eperm);
  }
  SECTION("numbers, and names newer than libseccomp's own") {
    Seccomp s = Seccomp::all_but({"468", "mseal"});
    const auto filter = compiled(s);
    CHECK(of(filter, 468) == eperm);
    CHECK(of(filter, 462) == eperm);
    CHECK(of(filter, 467) == allowed);
  }
  SECTION("names that do not exist here are passed over where that is asked for") {
    Seccomp s = Seccomp::all_but({"getpid"});
    s.list[0].optional = true;
    s.list[0].calls.push_back("no_such_call");
    CHECK(of(compiled(s), __NR_getpid) == eperm);
  }
}

TEST_CASE("rules that cannot be meant are refused by name", "[plan][seccomp]") {
  using Catch::Contains;
  Seccomp s = Seccomp::all_but({"mount"});
  SECTION("an unknown call, with the nearest") {
    s.fail(EPERM, {"umont2"});
    CHECK_THAT(refused(s), Contains("security.seccomp.list[1]") && Contains("'umont2'") &&
                               Contains("'umount2'"));
  }
  SECTION("contradictions") {
    s.kill({"mount"});
    CHECK_THAT(refused(s), Contains("list[1]: contradicts security.seccomp.list[0]"));
    Seccomp with = Seccomp::all_but({"getpid"});
    with.kill({"ioctl"}, {{1, ArgumentCheck::eq, 1}}).fail(EPERM, {"ioctl"});
    CHECK_THAT(refused(with), Contains("contradicts"));
  }
  SECTION("arguments that there are not") {
    s.fail(EPERM, {"ioctl"}, {{6, ArgumentCheck::eq, 1}});
    CHECK_THAT(refused(s), Contains("no argument 6"));
  }
  SECTION("one argument twice") {
    s.fail(EPERM, {"ioctl"}, {{1, ArgumentCheck::ge, 1}, {1, ArgumentCheck::le, 9}});
    CHECK_THAT(refused(s), Contains("argument 1 is compared twice"));
  }
  SECTION("a mask that leaves nothing of the value") {
    s.fail(EPERM, {"ioctl"}, {{1, ArgumentCheck::eq, 8, 7}});
    CHECK_THAT(refused(s), Contains("0x8"));
  }
  SECTION("an errno that is none") {
    s.fail(4096, {"ioctl"});
    CHECK_THAT(refused(s), Contains("4096 is no errno"));
  }
  SECTION("arguments that programs of x86 pass in memory") {
    s.arch = SyscallArch::x86;
    s.fail(EPERM, {"socket"}, {{0, ArgumentCheck::eq, 38}});
    if (detail::own_arch == SyscallArch::x86_64) {
      CHECK_THAT(refused(s), Contains("list[1]") && Contains("'socket'"));
      s.list[1].arch = SyscallArch::x86_64;
    }
    CHECK(of(compiled(s), __NR_socket, 38) == eperm);
  }
  SECTION("a number where it is another call's") {
    s.list.push_back({.calls = {"120"}, .arch = compat_arch});
    CHECK_THAT(refused(s), Contains("120"));
  }
  SECTION("a name that libseccomp does not know elsewhere") {
    s.arch = compat_arch;
    s.fail(EPERM, {"file_setattr"});
    CHECK_THAT(refused(s), Contains("list[1]"));
    // Denied like all others, it is no hole.
    Seccomp only = Seccomp::only({"read", "file_setattr"});
    only.arch = compat_arch;
    CHECK(of(compiled(only), 469) == allowed);
    CHECK(of(compiled(only), 469, 0, 0, compat) == eperm);
  }
  SECTION("the same said twice is fine") {
    s.list.push_back({.action = SyscallAction::fail, .calls = {"mount"}});
    s.list.push_back({.action = SyscallAction::kill_process, .calls = {"getpid"}, .error = 3});
    s.kill({"getpid"});
    CHECK(of(compiled(s), __NR_mount) == eperm);
  }
  SECTION("a rule without a call") {
    s.fail(EPERM, {});
    CHECK_THAT(refused(s), Contains("names no system call"));
  }
  SECTION("more rules than anybody means") {
    for (int i = 0; i < 300; ++i) s.fail(EPERM, {"mount"});
    CHECK_THAT(refused(s), Contains("for one call"));
    for (int i = 0; i < 5000; ++i) s.fail(EPERM, {"mount"});
    CHECK_THAT(refused(s), Contains("at most 4096"));
  }
}

TEST_CASE("rules that ask become a filter that asks and one that denies", "[plan][seccomp]") {
  using Catch::Contains;
  constexpr std::uint32_t asks = SECCOMP_RET_USER_NOTIF;
  const auto filters = [](const Seccomp& seccomp) {
    Refusals refusals;
    detail::OwnFilters both = detail::rules_filters(seccomp, refusals);
    if (!refusals.empty()) FAIL(to_string(refusals.take()));
    return both;
  };
  SECTION("each call is one filter's") {
    const auto both = filters(Seccomp{}
                                  .notify({"mknod", "mknodat", "sysinfo"})
                                  .notify({"socket"}, {{0, ArgumentCheck::eq, 40}})
                                  .fail(EPERM, {"mount", "sendmsg"}));
    CHECK(of(both.notify, __NR_mknodat) == asks);
    CHECK(of(both.program, __NR_mknodat) == allowed);
    CHECK(of(both.notify, __NR_mount) == allowed);
    CHECK(of(both.program, __NR_mount) == eperm);
    CHECK(of(both.notify, __NR_socket, 40) == asks);
    CHECK(of(both.notify, __NR_socket, 2) == allowed);
    CHECK(detail::may_ask(both.notify, __NR_socket));
    CHECK_FALSE(detail::may_ask(both.notify, __NR_mount));
    CHECK_FALSE(detail::may_ask(both.program, __NR_socket));
  }
  SECTION("what is allowed is the one's, what is asked the other's") {
    Seccomp s = Seccomp::only({"read", "execve", "exit_group"}).notify({"mkdir", "mkdirat"});
    const auto both = filters(s);
    CHECK(of(both.notify, __NR_mkdirat) == asks);
    CHECK(of(both.program, __NR_mkdirat) == allowed);
    CHECK(of(both.notify, __NR_write) == allowed);
    CHECK(of(both.program, __NR_write) == eperm);
    CHECK(of(both.program, __NR_execve) == allowed);
    const auto compiled_once = compile(s);
    REQUIRE(compiled_once);
    CHECK(compiled_once->notify_program == both.notify);
    CHECK(compiled_once->program == both.program);
  }
  SECTION("all but some") {
    Seccomp s{.kind = Seccomp::rules, .otherwise = SyscallAction::notify};
    s.allow({"execve", "execveat", "exit_group", "sendmmsg"});
    const auto both = filters(s);
    CHECK(both.program.empty());
    CHECK(of(both.notify, __NR_execve) == allowed);
    for (const long nr : {long{__NR_sendmsg}, long{__NR_clone3}, long{__NR_read}, 500L})
      CHECK(of(both.notify, nr) == asks);
  }
  SECTION("what starts the command cannot be asked about") {
    CHECK_THAT(refused(Seccomp{}.fail(EPERM, {"mount"}).notify({"mkdirat", "execve"})),
               Contains("list[1]") && Contains("'execve'"));
    CHECK_THAT(refused(Seccomp{}.notify({"execveat"}, {{0, ArgumentCheck::eq, 5}})),
               Contains("'execveat'"));
    CHECK_THAT(refused(Seccomp{}.notify({"seccomp"}).fail(EPERM, {"mount"})),
               Contains("'seccomp'"));
    CHECK(filters(Seccomp{}.notify({"seccomp", "sendmsg"})).program.empty());
    CHECK_THAT(refused(Seccomp{}.notify({"sendmsg"}).notify({"sendmmsg"})),
               Contains("list[1]") && Contains("'sendmmsg'"));
    const Seccomp all{.kind = Seccomp::rules, .otherwise = SyscallAction::notify};
    CHECK_THAT(refused(all), Contains("security.seccomp.otherwise") && Contains("'execve'"));
    CHECK_THAT(refused(Seccomp{}.notify({"mount"}).fail(EPERM, {"mount"})),
               Contains("contradicts"));
  }
  SECTION("what else condroid does behind it depends on the Spec") {
    Spec spec;
    spec.root.path = "/srv/root"_host;
    const auto refusal = [&] {
      const auto plan = compile(spec, condroid::test::root_on_v2());
      return plan ? std::string() : to_string(plan.error());
    };
    spec.security.seccomp = Seccomp{}.notify({"setgroups"});
    CHECK(refusal().empty());
    spec.security.no_new_privs = false;
    spec.security.allow = Allow::new_privileges;
    CHECK_THAT(refusal(), Contains("'setgroups'") && Contains("no_new_privs"));
    spec.security.seccomp = Seccomp{}.notify({"wait4"});
    CHECK(refusal().empty());
    spec.process.init = true;
    CHECK_THAT(refusal(), Contains("'wait4'") && Contains("init"));
  }
}

#endif

TEST_CASE("a Spec says which filter it has", "[plan][seccomp]") {
  Spec spec;
  spec.root.path = "/srv/root"_host;
  const HostFacts facts = test::root_on_v2();
  const auto filter_in = [&]() -> const op::LoadSeccomp* {
    static Plan plan;
    auto compiled = compile(spec, facts);
    if (!compiled) FAIL(to_string(compiled.error()));
    plan = std::move(*compiled);
    for (const Op& o : plan.ops)
      if (const auto* load = std::get_if<op::LoadSeccomp>(&o)) return load;
    return nullptr;
  };
  const auto refused_with = [&] {
    auto compiled = compile(spec, facts);
    REQUIRE_FALSE(compiled);
    return to_string(compiled.error());
  };
  SECTION("the standard one unless it says otherwise") {
    const auto* load = filter_in();
    REQUIRE(load != nullptr);
    CHECK(load->program == standard(spec.security));
    CHECK_FALSE(load->before_exec);
  }
  SECTION("rules come on top of it, and without it take a token") {
    spec.security.seccomp = {.kind = Seccomp::bpf, .program = {0x7fff000000000006}};
    const auto both = compile(spec, facts);
    REQUIRE(both);
    std::size_t count = 0;
    for (const Op& o : both->ops) count += std::holds_alternative<op::LoadSeccomp>(o) ? 1 : 0;
    CHECK(count == 2);
    CHECK(both->inside.seccomp == spec.security.seccomp);
    spec.security.seccomp = {.kind = Seccomp::rules, .and_standard = false};
    CHECK_THAT(refused_with(), Catch::Contains("Allow::all_syscalls"));
  }
  SECTION("also as the filter that they become") {
    spec.security.seccomp = {
        .kind = Seccomp::bpf, .program = {0x7fff000000000006}, .and_standard = false};
    CHECK_THAT(refused_with(), Catch::Contains("Allow::all_syscalls"));
    spec.security.seccomp.program = {0x00050001'0000'0006};
    CHECK(compile(spec, facts).has_value());
#if CONDROID_LIBSECCOMP
    Seccomp open = Seccomp::all_but({"mount"});
    open.and_standard = false;
    spec.security.seccomp = compile(open).value();
    CHECK_THAT(refused_with(), Catch::Contains("Allow::all_syscalls"));
    spec.security.seccomp = compile(Seccomp::only({"read", "execve"})).value();
    CHECK(compile(spec, facts).has_value());
    open = Seccomp::only({"read", "execve"}).notify({"mkdir"});
    spec.security.seccomp = compile(open).value();
    CHECK(compile(spec, facts).has_value());
#endif
  }
  SECTION("none takes a token") {
    spec.security.seccomp.kind = Seccomp::none;
    CHECK_THAT(refused_with(), Catch::Contains("Allow::all_syscalls"));
    spec.security.allow = Allow::all_syscalls;
    CHECK(filter_in() == nullptr);
  }
  SECTION("the caller's own") {
    spec.security.allow = Allow::all_syscalls;
    spec.security.seccomp = {
        .kind = Seccomp::bpf, .program = {0x7fff000000000006}, .and_standard = false, .log = true};
    const auto* load = filter_in();
    REQUIRE(load != nullptr);
    CHECK(load->program == std::vector<std::uint64_t>{0x7fff000000000006});
    CHECK(load->log);
    spec.security.seccomp.program.clear();
    CHECK_THAT(refused_with(), Catch::Contains("security.seccomp.program"));
    spec.security.seccomp.program.assign(4097, 6);
    CHECK_THAT(refused_with(), Catch::Contains("4097"));
  }
  SECTION("parts of another kind are refused") {
    spec.security.seccomp.program = {6};
    CHECK_THAT(refused_with(), Catch::Contains("security.seccomp.program"));
    spec.security.seccomp = Seccomp::all_but({"mount"});
    spec.security.seccomp.kind = Seccomp::standard;
    CHECK_THAT(refused_with(), Catch::Contains("security.seccomp.list"));
    spec.security.seccomp = {.otherwise = SyscallAction::kill_process};
    CHECK_THAT(refused_with(), Catch::Contains("security.seccomp.otherwise"));
    spec.security.seccomp = {.arch = SyscallArch::x32};
    CHECK_THAT(refused_with(), Catch::Contains("x32"));
  }
}
