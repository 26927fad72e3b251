#include "condroid/config/seccomp.hpp"

#include <fmt/format.h>
#include <linux/audit.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "../../fuzz/seccomp_property.hpp"
#include "bpf_machine.hpp"
#include "catch.hpp"
#include "condroid/plan.hpp"

#if CONDROID_LIBSECCOMP
#include <seccomp.h>
#endif

using namespace condroid;
using Catch::Contains;
using condroid::test::verdict;

namespace {

const std::filesystem::path corpus = std::filesystem::path(CONDROID_TESTS_DIR) / "fuzz" / "corpus";

std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

constexpr std::uint32_t allowed = SECCOMP_RET_ALLOW;
constexpr std::uint32_t killed = SECCOMP_RET_KILL_THREAD;
constexpr std::uint32_t errno_of(std::uint32_t number) { return SECCOMP_RET_ERRNO | number; }

#if defined(__aarch64__)
constexpr std::uint32_t own = AUDIT_ARCH_AARCH64, compat = AUDIT_ARCH_ARM;
constexpr std::string_view own_section = "arm64", compat_section = "arm", foreign_section = "x86";
constexpr long compat_getuid = 24, compat_reboot = 88, compat_clock_settime64 = 404;
constexpr SyscallArch compat_arch = SyscallArch::arm;
#else
constexpr std::uint32_t own = AUDIT_ARCH_X86_64, compat = AUDIT_ARCH_I386;
constexpr std::string_view own_section = "x86_64", compat_section = "x86", foreign_section = "arm";
constexpr long compat_getuid = 24, compat_reboot = 88, compat_clock_settime64 = 404;
constexpr SyscallArch compat_arch = SyscallArch::x86;
#endif

Seccomp taken(const Result<Seccomp>& policy) {
  if (!policy) FAIL(to_string(policy.error()));
  CHECK(seccomp_property::broken(policy) == "");
  return *policy;
}
Seccomp lxc_policy(std::string_view text) { return taken(lxc::parse_seccomp(text)); }

/// The subject and what is in `also`, a line each.
std::vector<std::string> wrong(const Result<Seccomp>& policy) {
  REQUIRE_FALSE(policy);
  CHECK(policy.error().is(Errc::bad_text));
  CHECK(policy.error().step == Step::parse);
  CHECK(seccomp_property::broken(policy) == "");
  std::vector<std::string> lines = {policy.error().subject};
  lines.insert(lines.end(), policy.error().also.begin(), policy.error().also.end());
  return lines;
}
std::string lxc_wrong(std::string_view text) {
  const auto lines = wrong(lxc::parse_seccomp(text));
  CHECK(lines.size() == 1);
  return lines.front();
}

#if CONDROID_LIBSECCOMP

std::vector<std::uint64_t> compiled(const Seccomp& policy) {
  auto filter = compile(policy);
  if (!filter) FAIL(to_string(filter.error()));
  return filter->program;
}

std::uint32_t of(const std::vector<std::uint64_t>& filter, long nr, std::uint64_t first = 0,
                 std::uint64_t second = 0, std::uint32_t arch = own) {
  return verdict(filter, {.nr = static_cast<int>(nr), .arch = arch, .args = {first, second}});
}

#endif

/// What Waydroid gives its container.
constexpr std::string_view waydroid =
    "2\nblacklist\n"
    "init_module\nfinit_module\ndelete_module\n_sysctl\nkexec_file_load\nkexec_load\nreboot\n"
    "open_by_handle_at errno 38\n"
    "adjtimex errno 0\nclock_adjtime errno 0\nclock_adjtime64 errno 0\nclock_settime errno 0\n"
    "clock_settime64 errno 0\nsettimeofday errno 0\nstime errno 0\n"
    "add_key errno 0\nkeyctl errno 0\nrequest_key errno 0\nswapoff errno 0\nswapon errno 0\n";

/// What Debian's LXC gives every container, comments and all.
constexpr std::string_view common =
    "2\ndenylist\nreject_force_umount  # umount -f may go\n[all]\n"
    "kexec_load errno 1\nopen_by_handle_at errno 1\n"
    "init_module errno 1\nfinit_module errno 1\ndelete_module errno 1\n";

}  // namespace

// ---- LXC ---------------------------------------------------------------------------------------

TEST_CASE("a policy file of LXC becomes rules", "[config][seccomp]") {
  const Seccomp policy = lxc_policy(
      "2\ndenylist\n# comment\n\nmount\numount2 # another\nsync errno 0\nptrace errno 38\n"
      "getuid trap\n");
  CHECK(policy ==
        Seccomp{.kind = Seccomp::rules,
                .arch = compat_arch,
                .list = {{.action = SyscallAction::kill_thread,
                          .calls = {"mount", "umount2"},
                          .optional = true},
                         {.calls = {"sync"}, .error = 0, .optional = true},
                         {.calls = {"ptrace"}, .error = 38, .optional = true},
                         {.action = SyscallAction::trap, .calls = {"getuid"}, .optional = true}},
                .and_standard = false});

  SECTION("the second line says what becomes of the other calls") {
    for (const char* kind : {"allowlist", "whitelist"}) {
      const Seccomp only = lxc_policy(fmt::format("2\n{}\nread\n", kind));
      CHECK(only.otherwise == SyscallAction::kill_thread);
      REQUIRE(only.list.size() == 1);
      CHECK(only.list[0].action == SyscallAction::allow);
    }
    const Seccomp fails = lxc_policy("2\nallowlist errno 38\nread\nwrite kill\n");
    CHECK(fails.otherwise == SyscallAction::fail);
    CHECK(fails.error == 38);
    CHECK(fails.list.size() == 2);
    CHECK(lxc_policy("2\nblacklist allow\nmount\n").otherwise == SyscallAction::allow);
    CHECK(lxc_policy("2\nallowlist trap\nread\n").otherwise == SyscallAction::trap);
    // Such a list works in LXC, too, whatever it is called.
    const Seccomp odd = lxc_policy("2\ndenylist errno 1\nread allow\n");
    CHECK(odd.otherwise == SyscallAction::fail);
    CHECK(odd.list[0].action == SyscallAction::allow);
  }
  SECTION("blanks, empty lines and line ends of another system do not matter") {
    CHECK(
        lxc_policy("\n 2 \r\n\n\tdenylist\t\r\n\r\n  mount\terrno\t1\r\n# x\r\n#\n umount2 errno 1")
            .list == lxc_policy("2\ndenylist\nmount errno 1\numount2 errno 1\n").list);
  }
  SECTION("without a rule") {
    CHECK(lxc_policy("2\ndenylist").list.empty());
    CHECK(lxc_policy("1\nallowlist\n").list.empty());
  }
}

TEST_CASE("version 1 has numbers", "[config][seccomp]") {
  const Seccomp policy = lxc_policy("1\nallowlist\n0\n1\n# and these\n60\n231\n");
  CHECK(policy.otherwise == SyscallAction::kill_thread);
  CHECK(policy.arch.empty());
  REQUIRE(policy.list.size() == 1);
  CHECK(policy.list[0].action == SyscallAction::allow);
  CHECK(policy.list[0].calls == std::vector<std::string>{"0", "1", "60", "231"});
  CHECK(lxc_policy("1\nwhitelist\n0\n").list.size() == 1);
  CHECK_THAT(lxc_wrong("1\nallowlist\nread\n"), Contains("line 3: read: version 1 has numbers"));
  CHECK_THAT(lxc_wrong("1\nallowlist\n-1\n"), Contains("line 3: -1: "));
  CHECK_THAT(lxc_wrong("1\nallowlist\n3000000000\n"), Contains("line 3"));
  CHECK_THAT(lxc_wrong("1\nallowlist\n1 allow\n"),
             Contains("line 3: 1: allow: nothing may follow"));
  CHECK_THAT(lxc_wrong("1\nallowlist\n[all]\n"), Contains("line 3: \"[all]\": version 1"));
  CHECK_THAT(lxc_wrong("1\ndenylist\n1\n"), Contains("version 1 has allowlists only"));
}

TEST_CASE("arguments are compared in an LXC policy as libseccomp does it", "[config][seccomp]") {
  using C = ArgumentCheck;
  const auto checks = [](std::string_view groups) {
    const Seccomp policy = lxc_policy(fmt::format("2\ndenylist\nioctl errno 1 {}\n", groups));
    REQUIRE(policy.list.size() == 1);
    CHECK(policy.list[0].action == SyscallAction::fail);
    return policy.list[0].where;
  };
  CHECK(checks("[1,0x5412,==]") == std::vector<C>{{1, C::eq, 0x5412}});
  CHECK(checks("[1,5,!=]") == checks("[1,5,SCMP_CMP_NE]"));
  CHECK(checks("[1,5,<]") == checks("[1,5,SCMP_CMP_LT]"));
  CHECK(checks("[1,5,<=]") == checks("[1,5,SCMP_CMP_LE]"));
  CHECK(checks("[1,5,==]") == checks("[1,5,SCMP_CMP_EQ]"));
  CHECK(checks("[1,5,>=]") == checks("[1,5,SCMP_CMP_GE]"));
  CHECK(checks("[1,5,>]") == checks("[1,5,SCMP_CMP_GT]"));
  CHECK(checks("[1,5,&=,7]") == checks("[1,5,SCMP_CMP_MASKED_EQ,7]"));
  CHECK(checks("[1,5,&=,0xff]") == std::vector<C>{{1, C::eq, 5, 0xff}});
  CHECK(checks("[1,15,&=,7]") == std::vector<C>{{1, C::eq, 7, 7}});  // no bit above the mask
  CHECK(checks("[2,010,>][0,1,<]") == std::vector<C>{{0, C::lt, 1}, {2, C::gt, 8}});
  CHECK(checks("[ 1 , 18446744073709551615 , == ] [2,1,==]  # both") ==
        std::vector<C>{{1, C::eq, ~std::uint64_t{0}}, {2, C::eq, 1}});
  // LXC wants an action before them.
  CHECK(lxc_policy("2\ndenylist\nioctl [1,5,==]\n").list ==
        lxc_policy("2\ndenylist\nioctl kill [1,5,==]\n").list);

  const auto refused = [](std::string_view groups) {
    return lxc_wrong(fmt::format("2\ndenylist\nioctl errno 1 {}\n", groups));
  };
  CHECK_THAT(refused("[6,1,==]"), Contains("line 3: ioctl: argument 6: count from 0 to 5"));
  CHECK_THAT(refused("[1,x,==]"), Contains("value x"));
  CHECK_THAT(refused("[1,-1,==]"), Contains("value -1"));
  CHECK_THAT(refused("[1,1,=]"), Contains("=: unknown operator; did you mean"));
  CHECK_THAT(refused("[1,1,SCMP_CMP_QE]"), Contains("did you mean SCMP_CMP_"));
  CHECK_THAT(refused("[1,1]"), Contains("expected [INDEX,VALUE,OPERATOR]"));
  CHECK_THAT(refused("[1,1,&=,1,1]"), Contains("expected [INDEX,VALUE,OPERATOR]"));
  CHECK_THAT(refused("[1,1,&=]"), Contains("&= needs a mask"));
  CHECK_THAT(refused("[1,1,==,1]"), Contains("a mask goes with &= alone"));
  CHECK_THAT(refused("[1,1,==][1,2,==]"), Contains("argument 1 is compared twice"));
  CHECK_THAT(refused("[1,1,=="), Contains("']' is missing"));
  CHECK_THAT(refused("[1,1,==] kill"), Contains("kill: nothing may follow here"));
}

#if CONDROID_LIBSECCOMP
TEST_CASE("a rule for a call that nobody has is refused where it would leave one open",
          "[config][seccomp]") {
  CHECK(lxc_wrong("2\ndenylist\nmount errno 1\numont2 errno 1\n") ==
        "line 4: there is no system call 'umont2'; did you mean 'umount2'?");
  CHECK(lxc_wrong("2\nallowlist errno 1\numont2 kill\n") ==
        "line 3: there is no system call 'umont2'; did you mean 'umount2'?");
#if CONDROID_OCI
  CHECK(wrong(oci::parse_seccomp(R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
          {"names": ["mount", "umont2"], "action": "SCMP_ACT_ERRNO"}]})")) ==
        std::vector<std::string>{
            "syscalls[0].names[1]: there is no system call 'umont2'; did you mean 'umount2'?"});
#endif
  // What is allowed by name alone stays closed; other machines' calls and younger ones are known.
  CHECK(lxc::parse_seccomp("2\nallowlist\numont2\n"));
  CHECK(lxc::parse_seccomp("2\ndenylist\narm_fadvise64_64 errno 1\nmseal errno 1\n"));
}
#endif

TEST_CASE("sections of other machines are skipped, and unknown ones refused", "[config][seccomp]") {
  const auto calls = [](std::string_view text) {
    std::vector<std::string> all;
    for (const SyscallRule& rule : lxc_policy(text).list)
      all.insert(all.end(), rule.calls.begin(), rule.calls.end());
    return all;
  };
  using Names = std::vector<std::string>;
  const std::string text = fmt::format(
      "2\ndenylist\nacct\n[{}]\nbpf\nnothing of: this is, read "
      "1\n[{}]\nchroot\n[{}]\nmount\n[all]\n"
      "swapon\n",
      foreign_section, own_section, compat_section);
  CHECK(calls(text) == Names{"acct", "chroot", "mount", "swapon"});
  CHECK(calls("2\ndenylist\n[MIPS64N32]\nacct\n[ALL] # these\nbpf\n[s390x]\nmount\n") ==
        Names{"bpf"});
  // LXC 5.0 takes them for all that this machine runs.
  for (const SyscallRule& rule : lxc_policy(text).list) CHECK(rule.arch.empty());
  CHECK_THAT(lxc_wrong("2\ndenylist\n[x68]\nacct\n"),
             Contains("line 3: [x68]: unknown architecture; did you mean x86?"));
  CHECK_THAT(lxc_wrong("2\ndenylist\n[All]\nacct\n"), Contains("did you mean all?"));
  CHECK_THAT(lxc_wrong("2\ndenylist\n[all\nacct\n"), Contains("']' is missing"));
  CHECK_THAT(lxc_wrong("2\ndenylist\n[all] a\n"), Contains("a: nothing may follow here"));
}

TEST_CASE("rules of one call are settled as in LXC", "[config][seccomp]") {
  const auto rules = [](std::string_view lines) {
    return lxc_policy(fmt::format("2\ndenylist\n{}", lines)).list;
  };
  SECTION("of two without arguments the first holds") {
    CHECK(rules("getuid errno 5\ngetuid errno 6\ngetuid\n") == rules("getuid errno 5\n"));
    CHECK(rules("getuid errno 5\ngetuid errno 6 [0,1,==]\n") == rules("getuid errno 5\n"));
  }
  SECTION("one without arguments takes the place of those with") {
    CHECK(rules("ioctl errno 5 [1,5,==]\nioctl errno 7 [2,1,==]\nioctl errno 8\n") ==
          rules("ioctl errno 8\n"));
  }
  SECTION("arguments that 32-bit programs hide in memory are compared for the others alone") {
    const auto list = rules("socket errno 5 [0,40,==]\nioctl errno 5 [0,40,==]\n");
    REQUIRE(list.size() == 2);
#if defined(__x86_64__)
    CHECK(list[0].arch == SyscallArch::x86_64);
#endif
    CHECK(list[1].arch.empty());
    CHECK(rules("socket errno 5 [0,40,==]\nsocket errno 6\n") == rules("socket errno 6\n"));
    CHECK(rules("socket errno 6\nsocket errno 5 [0,40,==]\n") == rules("socket errno 6\n"));
  }
  SECTION("one that is there twice is there once") {
    CHECK(rules("ioctl trap [1,5,==][2,1,==]\nioctl trap [2,1,==][1,5,==]\n") ==
          rules("ioctl trap [1,5,==][2,1,==]\n"));
  }
  SECTION("two that differ in nothing but what they do are refused, there and here") {
    CHECK_THAT(lxc_wrong("2\ndenylist\nioctl errno 7 [1,5,==]\nioctl errno 8 [1,5,==]\n"),
               Contains("line 4: ioctl: line 3 says something else of the same arguments"));
  }
  SECTION("and so is what holds anyway") {
    CHECK_THAT(lxc_wrong("2\ndenylist\ngetuid allow\n"), Contains("line 3: getuid: that is what"));
    CHECK_THAT(lxc_wrong("2\nallowlist\ngetuid kill\n"), Contains("line 3: getuid: that is what"));
    CHECK_THAT(lxc_wrong("2\nallowlist errno 1\ngetuid errno 1\n"), Contains("line 3: getuid"));
    CHECK(lxc_policy("2\nallowlist errno 1\ngetuid errno 2\n").list.size() == 1);
  }
}

TEST_CASE("rules are printed as LXC reads them", "[config][seccomp]") {
  const auto printed = [](const Seccomp& policy) {
    auto text = lxc::print_seccomp(policy);
    if (!text) FAIL(to_string(text.error()));
    return *text;
  };
  Seccomp s = Seccomp::only({"read", "write"});
  s.allow({"clone"}, {{0, ArgumentCheck::eq, 0, 0x10000000}})
      .fail(38, {"clone3"})
      .fail(1, {"mount"})
      .notify({"mknod"}, {{1, ArgumentCheck::gt, 5}, {2, ArgumentCheck::ge, 7}});
  const std::string text = printed(s);
  CHECK(text ==
        "2\nallowlist errno 1\nread allow\nwrite allow\n"
        "clone allow [0,0x0,SCMP_CMP_MASKED_EQ,0x10000000]\nclone3 errno 38\n"
        "mknod notify [1,0x5,SCMP_CMP_GT] [2,0x7,SCMP_CMP_GE]\n");
  const Seccomp back = lxc_policy(text);
  CHECK(back.otherwise == SyscallAction::fail);
  CHECK(back.error == 1);
  CHECK(printed(back) == text);
  CHECK(printed(Seccomp::all_but({"mount"})) == "2\ndenylist\nmount errno 1\n");
  CHECK(lxc_policy("2\nallowlist notify\nread allow\n").otherwise == SyscallAction::notify);

  const auto unprintable = [](const Seccomp& policy) {
    const auto refused = lxc::print_seccomp(policy);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().is(Errc::bad_spec));
    return refused.error().subject;
  };
  CHECK_THAT(unprintable(Seccomp{}), Contains("security.seccomp.kind"));
  CHECK_THAT(unprintable(Seccomp{}.kill({"read"})), Contains("security.seccomp.list[0]"));
  CHECK_THAT(unprintable(Seccomp{}.fail(1, {"452"})), Contains("'452'"));
  s.list[1].arch = SyscallArch::x86;
  CHECK_THAT(unprintable(s), Contains("security.seccomp.list[1]"));
}

TEST_CASE("all bad lines of a policy are told at once", "[config][seccomp]") {
  const auto lines = wrong(lxc::parse_seccomp(contents(corpus / "seccomp_lxc/mistakes.policy")));
  using Lines = std::vector<std::string>;
  CHECK(lines ==
        Lines{"line 2: the other calls: trapp: unknown action; did you mean trap?",
              "line 3: mount: errn: unknown action; did you mean errno?",
              "line 4: mount: errno 9999: expected a number from 0 to 4095",
              "line 5: [x68]: unknown architecture; did you mean x86?",
              "line 6: mount: argument 7: count from 0 to 5",
              "line 7: mount: =: unknown operator; did you mean ==?",
              "line 8: mount: notfy: unknown action; did you mean notify?",
              "line 9: \"[all\": ']' is missing", "line 10: mount: \"[1\": ']' is missing",
              "line 11: 42: not a name of a system call; after it come blanks and what becomes of "
              "it"});

  CHECK_THAT(lxc_wrong(""), Contains("line 1: the version is missing"));
  CHECK_THAT(lxc_wrong("3\nallowlist\n"), Contains("line 1: 3: expected the version, 1 or 2"));
  CHECK_THAT(lxc_wrong("denylist\nmount\n"), Contains("line 1: denylist: expected the version"));
  CHECK_THAT(lxc_wrong("2\n"), Contains("no allowlist or denylist"));
  CHECK_THAT(lxc_wrong("2\nblaklist\nmount allow\n"),
             Contains("line 2: blaklist: unknown kind of list"));
  CHECK_THAT(lxc_wrong("2\ndenylist debug\n"), Contains("line 2: debug: "));
  CHECK_THAT(lxc_wrong("2\ndenylist notfy\n"), Contains("line 2: the other calls: notfy"));
  CHECK_THAT(lxc_wrong("2\ndenylist\nmount errno\n"), Contains("a number is missing"));
  CHECK_THAT(lxc_wrong("2\ndenylist\nmount errno -1\n"), Contains("errno -1: expected a number"));
  CHECK_THAT(lxc_wrong("2\ndenylist\nmount kill now\n"), Contains("mount: now: nothing may"));
  CHECK_THAT(lxc_wrong("2\ndenylist\nmount,umount2\n"), Contains("not a name of a system call"));
  CHECK_THAT(lxc_wrong("2\ndenylist\nreject_force_umount errno 1\n"), Contains("nothing may"));
}

TEST_CASE("what is no policy is refused in bounded time and memory", "[config][seccomp]") {
  SECTION("a line of a gibibyte is not even looked at") {
    constexpr std::size_t size = std::size_t{1} << 30U;
    void* nothing =
        ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(nothing != MAP_FAILED);
    const std::string_view text(static_cast<const char*>(nothing), size);
    CHECK_THAT(lxc_wrong(text), Contains("a policy of 1073741824 bytes; at most 1 MiB is read"));
    CHECK_THAT(wrong(oci::parse_seccomp(text)).front(), Contains("at most 1 MiB is read"));
    ::munmap(nothing, size);
  }
  SECTION("more errors than anybody reads") {
    std::string text = "2\ndenylist\n";
    for (int i = 0; i < 1000; ++i) text += "mount nonsense\n";
    const auto lines = wrong(lxc::parse_seccomp(text));
    CHECK(lines.size() == 101);
    CHECK_THAT(lines.back(), Contains("the rest of the text was not read"));
  }
  SECTION("more rules than anybody means") {
    std::string text = "2\ndenylist\n";
    for (int i = 0; i < 20000; ++i) text += fmt::format("ioctl trap [1,{},==]\n", i);
    CHECK_THAT(lxc_wrong(text), Contains("line 8195: more than 8192 rules"));
  }
  SECTION("one line of everything, and control characters") {
    std::string text = "2\ndenylist\nioctl trap";
    for (int i = 0; i < 100000; ++i) text += "[1,1,==]";
    CHECK_THAT(lxc_wrong(text), Contains("compared twice"));
    CHECK_THAT(lxc_wrong("2\ndenylist\n\x1b[2Jmount\n"), Contains("line 3: \"\\x1b[2Jmount\""));
    CHECK_THAT(lxc_wrong("2\ndeny\x07list\n"), Contains("\\x07"));
    CHECK_THAT(lxc_wrong("2\ndenylist\nmount \x1b]0;\n"), Contains("\\x1b"));
    CHECK_THAT(lxc_wrong("2\ndenylist\n[\x1b]\n"), Contains("\\x1b"));
    CHECK_THAT(lxc_wrong(std::string("2\ndenylist\n") + std::string(100000, 'a')),
               Contains("not a name"));
  }
}

TEST_CASE("the seed corpora of the policies' fuzzers hold", "[config][seccomp]") {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(corpus / "seccomp_lxc")) {
    INFO(entry.path());
    CHECK(seccomp_property::broken(lxc::parse_seccomp(contents(entry.path()))) == "");
    ++files;
  }
#if CONDROID_OCI
  for (const auto& entry : std::filesystem::directory_iterator(corpus / "seccomp_oci")) {
    INFO(entry.path());
    CHECK(seccomp_property::broken(oci::parse_seccomp(contents(entry.path()))) == "");
    ++files;
  }
#else
  files += 7;
#endif
  CHECK(files >= 16);
}

#if CONDROID_LIBSECCOMP

TEST_CASE("Waydroid's policy does what it says, for 32-bit programs, too", "[config][seccomp]") {
  const auto filter = compiled(lxc_policy(waydroid));
  for (const long nr : {__NR_init_module, __NR_finit_module, __NR_delete_module, __NR_kexec_load,
                        __NR_kexec_file_load, __NR_reboot})
    CHECK(of(filter, nr) == killed);
  CHECK(of(filter, __NR_open_by_handle_at) == errno_of(ENOSYS));
  for (const long nr : {__NR_adjtimex, __NR_clock_adjtime, __NR_clock_settime, __NR_settimeofday,
                        __NR_add_key, __NR_keyctl, __NR_request_key, __NR_swapoff, __NR_swapon})
    CHECK(of(filter, nr) == errno_of(0));
  for (const long nr : {__NR_read, __NR_mount, __NR_clone3, __NR_bpf})
    CHECK(of(filter, nr) == allowed);
  CHECK(of(filter, compat_reboot, 0, 0, compat) == killed);
  CHECK(of(filter, compat_clock_settime64, 0, 0, compat) == errno_of(0));
  CHECK(of(filter, compat_getuid, 0, 0, compat) == allowed);
  // Of 32-bit programs alone: the number is nobody's here.
  CHECK(of(filter, compat_clock_settime64) == allowed);
}

TEST_CASE("LXC's own policy keeps umount -f from containers", "[config][seccomp]") {
  const auto filter = compiled(lxc_policy(common));
  constexpr std::uint64_t force = 1, detach = 2;
  CHECK(of(filter, __NR_umount2, 0, force) == errno_of(EACCES));
  CHECK(of(filter, __NR_umount2, 0, force | detach) == errno_of(EACCES));
  CHECK(of(filter, __NR_umount2, 0, detach) == allowed);
  CHECK(of(filter, 52, 0, force, compat) == errno_of(EACCES));  // umount2 of either
  for (const long nr : {__NR_kexec_load, __NR_open_by_handle_at, __NR_init_module,
                        __NR_finit_module, __NR_delete_module})
    CHECK(of(filter, nr) == errno_of(EPERM));
  CHECK(of(filter, __NR_mount) == allowed);
  // As it is installed, where it is.
  const std::string installed = contents("/usr/share/lxc/config/common.seccomp");
  if (!installed.empty()) CHECK(compiled(lxc_policy(installed)) == filter);
}

TEST_CASE("an allow list is one for every architecture that the machine runs",
          "[config][seccomp]") {
  const auto filter = compiled(lxc_policy(fmt::format(
      "2\nallowlist\ngetuid\n[{}]\ngetpid errno 3\n[{}]\ngetppid\nioctl allow [1,5,==]\n",
      own_section, compat_section)));
  CHECK(of(filter, __NR_getuid) == allowed);
  CHECK(of(filter, compat_getuid, 0, 0, compat) == allowed);
  CHECK(of(filter, __NR_getpid) == errno_of(3));
  CHECK(of(filter, 20, 0, 0, compat) == errno_of(3));  // getpid of either
  CHECK(of(filter, __NR_getppid) == allowed);
  CHECK(of(filter, __NR_ioctl, 0, 5) == allowed);
  CHECK(of(filter, __NR_ioctl, 0, 6) == killed);
  CHECK(of(filter, __NR_mount) == killed);
  const auto numbers = compiled(lxc_policy(fmt::format("1\nallowlist\n{}\n", __NR_getuid)));
  CHECK(of(numbers, __NR_getuid) == allowed);
  CHECK(of(numbers, __NR_getpid) == killed);
}

TEST_CASE("contradictions in a policy are none to compile()", "[config][seccomp]") {
  const auto filter = compiled(
      lxc_policy("2\ndenylist\nmount errno 1\nmount errno 2\nmount\nioctl errno 1 [1,5,==]\n"
                 "ioctl errno 2\nflock errno 3 [0,1,==]\nflock errno 4 [0,2,==]\n"));
  CHECK(of(filter, __NR_mount) == errno_of(1));
  CHECK(of(filter, __NR_ioctl, 0, 5) == errno_of(2));
  CHECK(of(filter, __NR_flock, 1) == errno_of(3));
  CHECK(of(filter, __NR_flock, 2) == errno_of(4));
  CHECK(of(filter, __NR_flock, 3) == allowed);
}

#endif

// ---- OCI ---------------------------------------------------------------------------------------

#if CONDROID_OCI

namespace {

Seccomp oci_policy(std::string_view json) { return taken(oci::parse_seccomp(json)); }
std::string oci_wrong(std::string_view json) {
  const auto lines = wrong(oci::parse_seccomp(json));
  for (const std::string& line : lines) INFO(line);
  CHECK(lines.size() == 1);
  return lines.front();
}

/// With these rules, all else allowed.
std::string with(std::string_view rules, std::string_view more = "") {
  return fmt::format(R"({{"defaultAction": "SCMP_ACT_ALLOW"{}, "syscalls": [{}]}})", more, rules);
}
std::string checked(std::string_view args) {
  return with(
      fmt::format(R"({{"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "args": [{}]}})", args));
}

}  // namespace

TEST_CASE("a filter of an OCI configuration becomes rules", "[config][seccomp]") {
  const Seccomp policy = oci_policy(R"({
    "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_ARM", "SCMP_ARCH_S390X"],
    "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
              "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
    "listenerPath": "/run/nobody",
    "somethingNew": {"a": [1, 2.5, null, true]},
    "syscalls": [
      {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "usual"},
      {"names": ["exit"], "action": "SCMP_ACT_ALLOW", "args": []},
      {"names": ["ptrace"], "action": "SCMP_ACT_ERRNO"},
      {"names": ["statx"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
      {"names": ["kcmp"], "action": "SCMP_ACT_KILL"},
      {"names": ["bpf"], "action": "SCMP_ACT_KILL_PROCESS"},
      {"names": ["sync"], "action": "SCMP_ACT_TRAP"},
      {"names": ["getuid"], "action": "SCMP_ACT_TRACE", "errnoRet": 7},
      {"names": ["chmod"], "action": "SCMP_ACT_LOG"}
    ]})");
  using A = SyscallAction;
  CHECK(policy ==
        Seccomp{.kind = Seccomp::rules,
                .arch = compat_arch,
                .otherwise = A::fail,
                .error = 38,
                .list = {{.action = A::allow, .calls = {"read", "write", "exit"}, .optional = true},
                         {.calls = {"ptrace"}, .optional = true},
                         {.action = A::kill_thread, .calls = {"kcmp"}, .optional = true},
                         {.action = A::kill_process, .calls = {"bpf"}, .optional = true},
                         {.action = A::trap, .calls = {"sync"}, .optional = true},
                         {.action = A::trace, .calls = {"getuid"}, .error = 7, .optional = true},
                         {.action = A::log, .calls = {"chmod"}, .optional = true}},
                .and_standard = false,
                .log = true});
  SECTION("the shortest") {
    const Seccomp least = oci_policy(R"({"defaultAction": "SCMP_ACT_ALLOW"})");
    CHECK(least.otherwise == A::allow);
    CHECK(least.list.empty());
    CHECK(least.arch.empty());
    CHECK_FALSE(least.log);
    CHECK(oci_policy(R"({"defaultAction": "SCMP_ACT_ERRNO"})").error == EPERM);
    CHECK(oci_policy(R"({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"})").otherwise ==
          A::notify);
  }
  SECTION("of rules of one call those hold that libseccomp takes") {
    CHECK(oci_policy(with(R"({"names": ["acct"], "action": "SCMP_ACT_TRAP"},
                             {"names": ["acct", "bpf"], "action": "SCMP_ACT_KILL"})"))
              .list == oci_policy(with(R"({"names": ["acct"], "action": "SCMP_ACT_TRAP"},
                             {"names": ["bpf"], "action": "SCMP_ACT_KILL"})"))
                           .list);
  }
}

TEST_CASE("comparisons of an OCI filter", "[config][seccomp]") {
  using C = ArgumentCheck;
  const auto where = [](std::string_view args) {
    std::vector<std::vector<C>> all;
    for (const SyscallRule& rule : oci_policy(checked(args)).list) all.push_back(rule.where);
    return all;
  };
  using All = std::vector<std::vector<C>>;
  for (const auto& [name, op] : {std::pair{"NE", C::ne},
                                 {"LT", C::lt},
                                 {"LE", C::le},
                                 {"EQ", C::eq},
                                 {"GE", C::ge},
                                 {"GT", C::gt}})
    CHECK(where(fmt::format(R"({{"index": 1, "value": 5, "op": "SCMP_CMP_{}"}})", name)) ==
          All{{{1, op, 5}}});
  CHECK(where(R"({"index": 0, "value": 2114060288, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"})") ==
        All{{{0, C::eq, 0, 2114060288}}});
  CHECK(where(R"({"index": 0, "value": 7, "valueTwo": 5, "op": "SCMP_CMP_MASKED_EQ"},
                 {"index": 5, "value": 18446744073709551615, "op": "SCMP_CMP_EQ"})") ==
        All{{{0, C::eq, 5, 7}, {5, C::eq, ~std::uint64_t{0}}}});
  // One argument twice: a rule of each comparison.
  CHECK(where(R"({"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
                 {"index": 1, "value": 2, "op": "SCMP_CMP_EQ"},
                 {"index": 0, "value": 3, "op": "SCMP_CMP_EQ"})") ==
        All{{{0, C::eq, 1}}, {{1, C::eq, 2}}, {{0, C::eq, 3}}});

  CHECK(oci_wrong(checked(R"({"index": 6, "value": 1, "op": "SCMP_CMP_EQ"})")) ==
        "syscalls[0].args[0].index: expected a whole number from 0 to 5");
  CHECK(oci_wrong(checked(R"({"index": 0, "value": -1, "op": "SCMP_CMP_EQ"})")) ==
        "syscalls[0].args[0].value: expected a whole number from 0 to 18446744073709551615");
  CHECK_THAT(oci_wrong(checked(R"({"index": 0, "value": 1.5, "op": "SCMP_CMP_EQ"})")),
             Contains("args[0].value"));
  CHECK_THAT(oci_wrong(checked(R"({"index": 0, "value": 18446744073709551616,
                                   "op": "SCMP_CMP_EQ"})")),
             Contains("args[0].value"));
  CHECK(oci_wrong(checked(R"({"index": 0, "value": 1, "op": "SCMP_CMP_QE"})")) ==
        "syscalls[0].args[0].op: SCMP_CMP_QE: unknown operator; did you mean SCMP_CMP_EQ?");
  CHECK(oci_wrong(checked(R"({"index": 0, "value": 1})")) == "syscalls[0].args[0].op: is missing");
  CHECK(oci_wrong(checked(R"({"value": 1, "op": "SCMP_CMP_EQ"})")) ==
        "syscalls[0].args[0].index: is missing");
  CHECK(oci_wrong(checked("5")) == "syscalls[0].args[0]: expected an object");
}

TEST_CASE("all that is wrong with an OCI filter is told by its place", "[config][seccomp]") {
  const auto lines = wrong(oci::parse_seccomp(contents(corpus / "seccomp_oci/mistakes.json")));
  using Lines = std::vector<std::string>;
  CHECK(lines ==
        Lines{"defaultAction: SCMP_ACT_ERNO: unknown action; did you mean SCMP_ACT_ERRNO?",
              "architectures[0]: x: unknown architecture; expected one of SCMP_ARCH_X86, "
              "SCMP_ARCH_X86_64, SCMP_ARCH_X32, SCMP_ARCH_ARM, SCMP_ARCH_AARCH64, SCMP_ARCH_MIPS, "
              "SCMP_ARCH_MIPS64, SCMP_ARCH_MIPS64N32, SCMP_ARCH_MIPSEL, SCMP_ARCH_MIPSEL64, "
              "SCMP_ARCH_MIPSEL64N32, SCMP_ARCH_PPC, SCMP_ARCH_PPC64, SCMP_ARCH_PPC64LE, "
              "SCMP_ARCH_S390, SCMP_ARCH_S390X, SCMP_ARCH_PARISC, SCMP_ARCH_PARISC64, "
              "SCMP_ARCH_RISCV64, SCMP_ARCH_LOONGARCH64, SCMP_ARCH_M68K, SCMP_ARCH_SH, "
              "SCMP_ARCH_SHEB",
              "flags: expected a list", "syscalls[0].action: is missing",
              "syscalls[0].names: is missing", "syscalls[1]: expected an object",
              "syscalls[2].action: SCMP_ACT_NOTFY: unknown action; did you mean SCMP_ACT_NOTIFY?",
              "syscalls[2].names: expected a list",
              "syscalls[3].includes: belongs to a profile of docker or podman, not to OCI; give "
              "what they write into config.json",
              "syscalls[3].errnoRet: goes with SCMP_ACT_ERRNO and SCMP_ACT_TRACE alone",
              "syscalls[3].names[0]: \"\": not a name of a system call",
              "syscalls[3].args[0].index: expected a whole number from 0 to 5",
              "syscalls[3].args[0].value: expected a whole number from 0 to 18446744073709551615",
              "syscalls[3].args[0].op: EQ: unknown operator; did you mean SCMP_CMP_EQ?",
              "syscalls[3].args[1]: expected an object"});

  CHECK(oci_wrong("[]") == "the whole: expected an object with defaultAction and syscalls");
  CHECK(oci_wrong("{}") == "defaultAction: is missing");
  CHECK_THAT(oci_wrong(R"({"ociVersion": "1.0.2"})"), Contains("give its linux.seccomp"));
  CHECK_THAT(oci_wrong(R"({"defaultAction": 5})"), Contains("defaultAction: expected a string"));
  CHECK_THAT(oci_wrong(R"({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1})"),
             Contains("defaultErrnoRet: goes with"));
  CHECK_THAT(oci_wrong(R"({"defaultAction": "SCMP_ACT_NOTFY"})"), Contains("defaultAction: SCMP"));
  CHECK_THAT(oci_wrong(with("", R"(, "flags": ["SECCOMP_FILTER_FLAG_LGO"])")),
             Contains("flags[0]: ") && Contains("did you mean SECCOMP_FILTER_FLAG_LOG?"));
  CHECK_THAT(oci_wrong(with("", R"(, "architectures": ["SCMP_ARCH_X87"])")),
             Contains("architectures[0]: ") && Contains("did you mean SCMP_ARCH_X86?"));
  CHECK_THAT(oci_wrong(with("", R"(, "archMap": [{"architecture": "SCMP_ARCH_X86_64"}])")),
             Contains("archMap: belongs to a profile of docker"));
  CHECK_THAT(oci_wrong(with("", R"(, "listenerMetadata": "x")")), Contains("no listenerPath"));
  CHECK_THAT(oci_wrong(with(R"({"names": [], "action": "SCMP_ACT_TRAP"})")),
             Contains("syscalls[0].names: names no system call"));
  CHECK_THAT(oci_wrong(with(R"({"names": ["a\u001b[2J"], "action": "SCMP_ACT_TRAP"})")),
             Contains("syscalls[0].names[0]") && Contains("\\x1b"));
  CHECK_THAT(
      oci_wrong(with(R"({"names": ["acct"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096})")),
      Contains("syscalls[0].errnoRet: expected a whole number from 0 to 4095"));
  CHECK_THAT(oci_wrong(R"({"defaultAction": "SCMP_ACT_ALLOW", "defaultAction": "SCMP_ACT_KILL"})"),
             Contains("defaultAction: this key is there twice"));
  // What differs in nothing but what is done is refused by libseccomp, and so by crun.
  CHECK_THAT(oci_wrong(with(R"({"names": ["acct"], "action": "SCMP_ACT_TRAP",
                                "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
                               {"names": ["acct"], "action": "SCMP_ACT_LOG",
                                "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]})")),
             Contains("syscalls[1]: acct: syscalls[0] says something else of the same arguments"));
}

TEST_CASE("what is no JSON is refused with its place", "[config][seccomp]") {
  CHECK(oci_wrong("") == "line 1, column 1: this is not JSON");
  CHECK(oci_wrong("{\n  \"defaultAction\": \"SCMP_ACT_ALLOW\",\n  syscalls: []\n}") ==
        "line 3, column 3: this is not JSON");
  CHECK_THAT(oci_wrong("{\"defaultAction\": \"\xff\"}"), Contains("line 1, column 20"));
  CHECK_THAT(oci_wrong(R"({"defaultAction": "SCMP_ACT_ALLOW", "x": 1e999})"), Contains("number"));
  CHECK_THAT(oci_wrong(R"({"defaultAction": "SCMP_ACT_ALLOW"} 2)"), Contains("not JSON"));
  SECTION("deep nesting is found before anything is built from it") {
    CHECK(oci_wrong(std::string(1U << 20U, '[')) == "line 1, column 33: deeper than 32 levels");
    std::string deep;
    for (int i = 0; i < 100000; ++i) deep += R"({"a":)";
    CHECK_THAT(oci_wrong(deep), Contains("deeper than 32 levels"));
    CHECK(oci_policy(
              R"({"defaultAction": "SCMP_ACT_ALLOW", "x": "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["})")
              .list.empty());
  }
  SECTION("and so is a megabyte of rules") {
    std::string rules;
    for (int i = 0; i < 9000; ++i)
      rules += fmt::format(R"({}{{"names": ["acct"], "action": "SCMP_ACT_TRAP", )"
                           R"("args": [{{"index": 0, "value": {}, "op": "SCMP_CMP_EQ"}}]}})",
                           i == 0 ? "" : ",", i);
    CHECK_THAT(oci_wrong(with(rules)), Contains("syscalls[8192]: more than 8192 rules"));
    std::string many = R"({"index": 0, "value": 0, "op": "SCMP_CMP_EQ"})";
    for (int i = 1; i < 200; ++i)
      many += fmt::format(R"(,{{"index": 0, "value": {}, "op": "SCMP_CMP_EQ"}})", i);
    CHECK_THAT(wrong(oci::parse_seccomp(checked(many))).front(),
               Contains("syscalls[0].args[64]: more than 64 comparisons"));
  }
}

#if CONDROID_LIBSECCOMP

TEST_CASE("a profile as docker writes it for its containers", "[config][seccomp]") {
  // Everything but some is allowed by name, three calls by their arguments, and one is told not to
  // exist; among the names are those of other architectures and of other kernels.
  const std::set<std::string> closed = {"acct",
                                        "add_key",
                                        "bpf",
                                        "clone",
                                        "clone3",
                                        "delete_module",
                                        "fanotify_init",
                                        "finit_module",
                                        "init_module",
                                        "io_uring_enter",
                                        "io_uring_register",
                                        "io_uring_setup",
                                        "iopl",
                                        "ioperm",
                                        "kcmp",
                                        "kexec_file_load",
                                        "kexec_load",
                                        "keyctl",
                                        "lookup_dcookie",
                                        "mount",
                                        "move_mount",
                                        "open_by_handle_at",
                                        "open_tree",
                                        "perf_event_open",
                                        "personality",
                                        "pivot_root",
                                        "quotactl",
                                        "reboot",
                                        "request_key",
                                        "setns",
                                        "settimeofday",
                                        "socket",
                                        "swapoff",
                                        "swapon",
                                        "umount2",
                                        "unshare",
                                        "userfaultfd",
                                        "vhangup"};
  std::string names =
      R"("arm_fadvise64_64", "sync_file_range2", "s390_pci_mmio_read", "call_of_a_later_kernel")";
  std::set<int> open;
  for (int nr = 0; nr <= 450; ++nr) {
    char* name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);
    if (name == nullptr) continue;
    if (!closed.contains(name)) {
      open.insert(nr);
      names += fmt::format(", \"{}\"", name);
    }
    std::free(name);
  }
  CHECK(open.size() > 280);
  const std::string profile = fmt::format(R"({{
    "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64",
                      "SCMP_ARCH_ARM"],
    "syscalls": [
      {{"names": [{}], "action": "SCMP_ACT_ALLOW", "args": [], "comment": "", "includes": {{}},
        "excludes": {{}}}},
      {{"names": ["socket"], "action": "SCMP_ACT_ALLOW",
        "args": [{{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}}]}},
      {{"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [
        {{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}},
        {{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}},
        {{"index": 0, "value": 131072, "op": "SCMP_CMP_EQ"}},
        {{"index": 0, "value": 4294967295, "op": "SCMP_CMP_EQ"}}]}},
      {{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [
        {{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}}]}},
      {{"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}},
      {{"names": ["bpf"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}}
    ]}})",
                                          names);
  const auto filter = compiled(oci_policy(profile));
  for (int nr = 0; nr <= 450; ++nr) {
    if (nr == __NR_socket || nr == __NR_personality || nr == __NR_clone) continue;
    INFO(nr);
    CHECK(of(filter, nr) == (open.contains(nr)   ? allowed
                             : nr == __NR_clone3 ? errno_of(ENOSYS)
                                                 : errno_of(EPERM)));
  }
  CHECK(of(filter, __NR_socket, 2) == allowed);
  CHECK(of(filter, __NR_socket, 40) == errno_of(EPERM));
  for (const std::uint64_t persona : std::initializer_list<std::uint64_t>{0, 8, 0x20000}) {
    CHECK(of(filter, __NR_personality, persona) == allowed);
    CHECK(of(filter, __NR_personality, persona + 1) == errno_of(EPERM));
  }
  CHECK(of(filter, __NR_personality, 0xffffffff) == allowed);
  CHECK(of(filter, __NR_clone, SIGCHLD) == allowed);
  CHECK(of(filter, __NR_clone, SIGCHLD | CLONE_NEWUSER) == errno_of(EPERM));
  CHECK(of(filter, compat_getuid, 0, 0, compat) == allowed);
  CHECK(of(filter, compat_reboot, 0, 0, compat) == errno_of(EPERM));
#if defined(__x86_64__)
  // socket and socketcall(SYS_SOCKET) of 32-bit programs: their arguments are not seen, as in crun.
  CHECK(of(filter, 359, 40, 0, compat) == allowed);
  CHECK(of(filter, 102, 1, 0, compat) == allowed);
  CHECK(of(filter, 0x40000000 | __NR_socket, 40) == errno_of(EPERM));
#endif
}

#endif

#else

TEST_CASE("a build that reads no JSON says so", "[config][seccomp]") {
  const auto policy = oci::parse_seccomp("{}");
  REQUIRE_FALSE(policy);
  CHECK(policy.error().is(Errc::unsupported));
  CHECK_THAT(to_string(policy.error()), Contains("-Doci=enabled"));
}

#endif
