#include "namespaces.hpp"

#include <fmt/format.h>
#include <linux/magic.h>
#include <sched.h>
#include <strings.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <sstream>
#include <utility>

#include "say.hpp"

using namespace condroid;

namespace {

struct Word {
  std::string_view lxc;  ///< As it is written alone.
  const char* kernel;    ///< In any case.
  Namespace kind;
};
constexpr Word words[] = {
    {"MOUNT", "mnt", Namespace::mount}, {"", "pid", Namespace::pid},
    {"UTSNAME", "uts", Namespace::uts}, {"", "ipc", Namespace::ipc},
    {"", "user", Namespace::user},      {"NETWORK", "net", Namespace::net},
    {"", "cgroup", Namespace::cgroup},  {"", "time", Namespace::time},
};

}  // namespace

std::optional<Flags<Namespace>> read_namespaces(const std::string& text) {
  Flags<Namespace> all;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, '|');) {
    const Word* found = std::begin(words);
    while (found != std::end(words) &&
           !(word == found->lxc || ::strcasecmp(word.c_str(), found->kernel) == 0))
      ++found;
    if (word.empty() || found == std::end(words)) {
      say("--namespaces={}: there is no '{}'; {}", text, word, namespace_words);
      return {};
    }
    all |= found->kind;
  }
  return all;
}

int execute_with_own_proc(char** command) {
  const auto failed = [](std::string_view what, int status = 1) {
    fmt::print(stderr, "lxc-attach: {}: {}\n", what, errno_name(errno));
    return status;
  };
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) != 0)
    return failed("--remount-sys-proc: a mount namespace");
  // Over those that are there where they cannot be taken away, in a user namespace. What is the
  // same file system as before is busy then, and right.
  const auto renew = [](const char* type, const char* where) {
    constexpr unsigned long usual = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    const bool locked = ::umount2(where, MNT_DETACH) != 0;
    if (locked && errno != EINVAL) return false;
    return ::mount(type, where, type, usual, nullptr) == 0 || (locked && errno == EBUSY);
  };
  if (!renew("proc", "/proc")) return failed("--remount-sys-proc: /proc");
  struct statfs sys {};
  if (::statfs("/sys", &sys) == 0 && sys.f_type == SYSFS_MAGIC && !renew("sysfs", "/sys"))
    return failed("--remount-sys-proc: /sys");
  ::execvp(command[0], command);
  constexpr int not_found = 127, not_executable = 126;
  return failed(fmt::format("exec: '{}'", command[0]),
                errno == ENOENT ? not_found : not_executable);
}
