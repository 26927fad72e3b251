// Whom a shell in a running device joins, and what its class path is.
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "condroid/android/launch.hpp"
#include "formatted.hpp"

namespace condroid::inline v0::android {

namespace {

constexpr std::size_t most_bytes = std::size_t{256} * 1024;

bool has_ended(FdView pidfd) {
  pollfd ended{pidfd.get(), POLLIN, 0};
  return ::poll(&ended, 1, 0) != 0;
}

/// Nothing of what cannot be read, and no more than `most_bytes`.
std::string contents(const Fd& file) {
  std::string all;
  char some[4096];
  while (file.valid() && all.size() < most_bytes) {
    const ssize_t n = ::read(file.get(), some, sizeof some);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    all.append(some, static_cast<std::size_t>(n));
  }
  return all;
}
std::string contents(const std::string& path) {
  return contents(Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)));
}

std::vector<Pid> children_of(Pid process) {
  const std::string text = contents(formatted("/proc/{0}/task/{0}/children", process.value));
  std::vector<Pid> list;
  for (std::string_view rest = text; !rest.empty();) {
    Pid pid;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), pid.value);
    if (error != std::errc{}) break;
    list.push_back(pid);
    rest.remove_prefix(std::min(static_cast<std::size_t>(end - rest.data()) + 1, rest.size()));
  }
  return list;
}

/// A regular file of the device's, its links followed as it would itself.
std::string file_of(Pid process, FdView pidfd, const char* path) {
  const Fd root(
      ::open(formatted("/proc/{}/root", process.value).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  // As long as it lives the number is its own.
  if (!root.valid() || has_ended(pidfd)) return {};
  open_how how{};
  how.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const Fd file(static_cast<int>(::syscall(SYS_openat2, root.get(), path, &how, sizeof how)));
  struct stat st {};
  if (!file.valid() || ::fstat(file.get(), &st) < 0 || !S_ISREG(st.st_mode)) return {};
  return contents(file);
}

/// Lines `export NAME VALUE`, as derive_classpath writes them; only those that it is for.
void add_class_paths(std::string_view text, std::vector<std::string>& env) {
  constexpr std::array<std::string_view, 3> names = {"BOOTCLASSPATH", "DEX2OATBOOTCLASSPATH",
                                                     "SYSTEMSERVERCLASSPATH"};
  constexpr std::string_view word = "export ";
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.starts_with(word)) continue;
    line.remove_prefix(word.size());
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find('\0') != std::string_view::npos) continue;
    if (std::ranges::find(names, line.substr(0, space)) != names.end())
      env.push_back(formatted("{}={}", line.substr(0, space), line.substr(space + 1)));
  }
}

}  // namespace

Result<Shell> shell_of(Pid init, FdView pidfd) {
  Shell shell{.process = init, .pidfd = Fd(::fcntl(pidfd.get(), F_DUPFD_CLOEXEC, 3)), .env = {}};
  if (!shell.pidfd.valid())
    return fail(errno, Step::join_namespace, "another descriptor of its pidfd");
  for (const Pid child : children_of(init)) {
    Fd held(static_cast<int>(::syscall(SYS_pidfd_open, child.value, 0)));
    if (!held.valid()) continue;
    // "zygote64", or "zygote" where it is of 32 bits. Who holds it sees its own number only.
    const std::string name = contents(formatted("/proc/{}/cmdline", child.value));
    const auto siblings = children_of(init);
    if (!name.starts_with("zygote") || std::ranges::find(siblings, child) == siblings.end() ||
        has_ended(held))
      continue;
    shell.process = child;
    shell.pidfd = std::move(held);
    break;
  }
  if (has_ended(pidfd))
    return fail(ESRCH, Step::join_namespace, formatted("process {}", init.value));
  shell.env = shell_environment();
  add_class_paths(file_of(shell.process, shell.pidfd, "data/system/environ/classpath"), shell.env);
  return shell;
}

}  // namespace condroid::inline v0::android
