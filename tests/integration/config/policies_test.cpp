// Policies of system calls that other tools read, in containers of ours and, where they are
// installed, in theirs: the same calls get the same answers.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "condroid/config/seccomp.hpp"
#include "containers.hpp"

using condroid::Exit;
using condroid::Result;
using condroid::Seccomp;
using condroid::Spec;
using condroid::test::facts;
using condroid::test::make_dir;
using condroid::test::make_file;
using condroid::test::payload;
using condroid::test::read_file;
using condroid::test::Report;
using condroid::test::run;
using condroid::test::TempDir;
using condroid::test::TempRoot;

#if CONDROID_LIBSECCOMP

namespace {

/// What comes of each call, by the names that payload has for them.
using Answers = std::map<std::string, std::string>;

Answers answers(const Report& report, const Answers& asked) {
  Answers given;
  for (const auto& [name, answer] : asked) given[name] = report[name];
  return given;
}

Answers ours(const Result<Seccomp>& policy, const Answers& asked) {
  if (!policy) FAIL(to_string(policy.error()));
  const TempRoot root;
  Spec spec = payload(root, {"calls"});
  spec.security.seccomp = *policy;
  spec.security.allow |= condroid::Allow::all_syscalls;
  return answers(run(spec), asked);
}

/// Sees version 2 of cgroups alone, which crun insists on, in one of its own, where LXC leaves
/// something behind; and has a /run of its own.
constexpr std::string_view cage = R"sh(
own=/run/cgroups/$1
shift
mount -t tmpfs none /run && mkdir /run/cgroups && mount -t cgroup2 none /run/cgroups && mkdir "$own" || exit 9
(
  echo 0 > "$own/cgroup.procs"
  exec unshare --mount --cgroup sh -c \
    'umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@"' sh "$@"
)
status=$?
find "$own" -depth -type d -exec rmdir {} ';'
exit $status
)sh";

/// Runs a tool that is installed, as root; what payload printed in its container.
Report said_by(const TempDir& place, const std::string& command) {
  make_file(place / "cage", cage);
  const std::string all = fmt::format(
      "timeout -k 5 30 unshare --mount sh {}/cage condroid-peer-{} {} < /dev/null "
      "2> {}/errors",
      place.str(), ::getpid(), command, place.str());
  std::FILE* const pipe = ::popen(all.c_str(), "r");
  REQUIRE(pipe != nullptr);
  Exit exit;
  char block[4096];
  for (std::size_t n = 0; (n = std::fread(block, 1, sizeof block, pipe)) > 0;)
    exit.out.append(block, n);
  const int status = ::pclose(pipe);
  INFO(command << "\n" << exit.out << read_file(place / "errors"));
  CHECK(status == 0);
  return Report(exit);
}

bool can_ask(const char* tool) {
  if (!facts().privileged()) return false;
  for (const char* folder : {"/usr/bin/", "/usr/sbin/"})
    if (::access((std::string(folder) + tool).c_str(), X_OK) == 0) return true;
  WARN(tool << " is not installed: nothing to compare with");
  return false;
}

Answers of_lxc(std::string_view policy, const Answers& asked) {
  const TempRoot root;
  const TempDir place;
  make_file(place / "policy", policy);
  make_file(place / "config",
            fmt::format("lxc.rootfs.path = dir:{}\nlxc.uts.name = peer\nlxc.net.0.type = empty\n"
                        "lxc.cgroup.relative = 1\nlxc.autodev = 1\nlxc.mount.auto = proc:rw\n"
                        "lxc.no_new_privs = 1\nlxc.seccomp.profile = {}\n",
                        root.str(), place / "policy"));
  return answers(
      said_by(place, fmt::format("lxc-execute -P {0} -n peer-{1} -f {0}/config -o {0}/log -- "
                                 "/bin/payload calls",
                                 place.str(), ::getpid())),
      asked);
}

Answers of_crun(std::string_view profile, const Answers& asked) {
  const TempRoot root;
  const TempDir place;
  make_dir(place / "bundle");
  make_file(place / "bundle/config.json", fmt::format(R"({{"ociVersion": "1.0.2",
  "process": {{"terminal": false, "user": {{"uid": 0, "gid": 0}}, "cwd": "/", "env": [],
    "args": ["/bin/payload", "calls"], "noNewPrivileges": true}},
  "root": {{"path": "{}", "readonly": true}},
  "mounts": [{{"destination": "/proc", "type": "proc", "source": "proc"}},
    {{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}}],
  "linux": {{"namespaces": [{{"type": "pid"}}, {{"type": "mount"}}, {{"type": "ipc"}},
      {{"type": "uts"}}, {{"type": "network"}}],
    "seccomp": {}}}}})",
                                                      root.str(), profile));
  return answers(
      said_by(place, fmt::format("crun --root {0}/state --cgroup-manager=disabled run -b "
                                 "{0}/bundle peer-{1}",
                                 place.str(), ::getpid())),
      asked);
}

#if defined(__x86_64__)
/// Not every machine runs 32-bit programs: there it is the kernel that ends them.
bool runs_32_bit() {
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGSEGV, SIG_DFL);  // a sanitizer's handler would end it otherwise
    long result = 20;            // getpid
    asm volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
    ::_exit(0);
  }
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status);
}
#endif

}  // namespace

TEST_CASE("a policy of LXC does in our containers what it does in LXC's",
          "[seccomp][config][.root]") {
  const std::string_view policy =
      "2\nblacklist\nreject_force_umount  # and the rest\n"
      "getuid errno 5\ngetuid errno 6\n"
      "sysinfo errno 0\n"
      "kcmp trap\n"
      "keyctl\n"
      "arm_fadvise64_64 kill\n"
      "[x86]\nadd_key errno 7\n"
      "[ppc64le]\ngetpid errno 1\n"
      "[all]\n"
      "ioctl errno 13 [1,0x5412,&=,0xffffffff]\n"
      "ioctl errno 16 [1,0x541c,==]\n"
      "open_by_handle_at errno 3 [2,1,==]\nopen_by_handle_at errno 4\n";
  const Answers expected = {
    {"getuid", "EIO"},
    {"sysinfo", "ok"},
    {"kcmp", "SIGSYS"},
    {"keyctl", "SIGSYS"},
#if defined(__x86_64__)
    {"add_key", "E2BIG"},
#endif
    {"getpid", "ok"},
    {"tiocsti", "EACCES"},
    {"tiocsti_high", "EACCES"},
    {"tioclinux", "EBUSY"},
    {"tiocgwinsz", "EBADF"},
    {"open_by_handle", "EINTR"},
    {"thread", "ok"}
  };
  CHECK(ours(condroid::lxc::parse_seccomp(policy), expected) == expected);
  if (can_ask("lxc-execute")) CHECK(of_lxc(policy, expected) == expected);
}

TEST_CASE("Waydroid's policy pretends and kills as in LXC", "[seccomp][config][.root]") {
  const std::string_view policy =
      "2\nblacklist\n"
      "init_module\nfinit_module\ndelete_module\n_sysctl\nkexec_file_load\nkexec_load\nreboot\n"
      "open_by_handle_at errno 38\nadjtimex errno 0\nclock_adjtime errno 0\n"
      "clock_adjtime64 errno 0\nclock_settime errno 0\nclock_settime64 errno 0\n"
      "settimeofday errno 0\nstime errno 0\nadd_key errno 0\nkeyctl errno 0\nrequest_key errno 0\n"
      "swapoff errno 0\nswapon errno 0\n";
  const Answers expected = {{"open_by_handle", "ENOSYS"},
                            {"add_key", "ok"},
                            {"keyctl", "ok"},
                            {"getuid", "ok"},
                            {"clone3", "ok"},
                            {"thread", "ok"}};
  CHECK(ours(condroid::lxc::parse_seccomp(policy), expected) == expected);
  if (can_ask("lxc-execute")) CHECK(of_lxc(policy, expected) == expected);
}

#if CONDROID_OCI

TEST_CASE("a filter of an OCI configuration does in our containers what it does in crun's",
          "[seccomp][config][.root]") {
  const std::string_view profile = R"({
    "defaultAction": "SCMP_ACT_ALLOW",
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
    "flags": ["SECCOMP_FILTER_FLAG_LOG"],
    "syscalls": [
      {"names": ["getuid", "arm_fadvise64_64"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5},
      {"names": ["getuid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 6},
      {"names": ["getpid"], "action": "SCMP_ACT_ALLOW"},
      {"names": ["sysinfo"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0},
      {"names": ["kcmp"], "action": "SCMP_ACT_TRAP"},
      {"names": ["keyctl"], "action": "SCMP_ACT_KILL"},
      {"names": ["add_key"], "action": "SCMP_ACT_KILL_PROCESS"},
      {"names": ["open_by_handle_at"], "action": "SCMP_ACT_ERRNO"},
      {"names": ["userfaultfd"], "action": "SCMP_ACT_TRACE", "errnoRet": 1},
      {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13, "args": [
        {"index": 1, "value": 4294967295, "valueTwo": 21522, "op": "SCMP_CMP_MASKED_EQ"}]},
      {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 16, "args": [
        {"index": 1, "value": 21532, "op": "SCMP_CMP_EQ"},
        {"index": 1, "value": 99999, "op": "SCMP_CMP_EQ"}]}
    ]})";
  const Answers expected = {
    {"getuid", "EIO"},
    {"getpid", "ok"},
    {"sysinfo", "ok"},
    {"kcmp", "SIGSYS"},
    {"keyctl", "SIGSYS"},
    {"add_key", "SIGSYS"},
    {"open_by_handle", "EPERM"},
    {"userfaultfd", "ENOSYS"},
#if defined(__x86_64__)
    {"int80", runs_32_bit() ? "SIGSYS" : "SIGSEGV"},
#endif
    {"tiocsti", "EACCES"},
    {"tiocsti_high", "EACCES"},
    {"tioclinux", "EBUSY"},
    {"tiocgwinsz", "EBADF"},
    {"thread", "ok"}
  };
  CHECK(ours(condroid::oci::parse_seccomp(profile), expected) == expected);
  if (can_ask("crun")) CHECK(of_crun(profile, expected) == expected);
}

#endif

#endif
