#include "script.hpp"

#include <poll.h>
#include <spawn.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condroid/spec/hooks.hpp>
#include <csignal>
#include <iterator>
#include <string_view>

#include "say.hpp"
#include "storage.hpp"

using namespace condroid;
using std::chrono::steady_clock;

namespace {

constexpr std::chrono::seconds hook_limit{60};

struct Interruption {
  Fd signals = {};
  int seen = 0;
};
Interruption& interruption() {
  static Interruption one;
  return one;
}

/// Takes what has come. The number of the signal, or 0.
int take_signal() {
  signalfd_siginfo info{};
  if (::read(interruption().signals.get(), &info, sizeof info) != sizeof info) return 0;
  interruption().seen = static_cast<int>(info.ssi_signo);
  return interruption().seen;
}

/// What is said to it is not to be told otherwise by a hook of another container that calls us.
std::vector<std::string> environment(const std::vector<std::string>& env) {
  std::vector<std::string> whole = env;
  for (char** e = environ; *e != nullptr; ++e) {
    const std::string_view entry = *e;
    const std::string_view name = entry.substr(0, entry.find('=') + 1);
    const bool said = std::ranges::any_of(
        env, [name](const std::string& one) { return !name.empty() && one.starts_with(name); });
    if (!said && !(entry.starts_with("LXC_") && !env.empty())) whole.emplace_back(entry);
  }
  return whole;
}

std::vector<char*> pointers(const std::vector<std::string>& from) {
  std::vector<char*> all;
  all.reserve(from.size() + 1);
  for (const std::string& one : from) all.push_back(const_cast<char*>(one.c_str()));
  all.push_back(nullptr);
  return all;
}

/// With no signal blocked or passed over; `leads` a group of its own, all of which can be killed.
pid_t spawn(const std::vector<std::string>& argv, const std::vector<std::string>& env, bool leads) {
  posix_spawnattr_t how;
  if (::posix_spawnattr_init(&how) != 0) return -1;
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&how, &none);
  ::posix_spawnattr_setsigdefault(&how, &all);
  ::posix_spawnattr_setpgroup(&how, 0);
  ::posix_spawnattr_setflags(&how,
                             static_cast<short>(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                (leads ? POSIX_SPAWN_SETPGROUP : 0)));
  const std::vector<std::string> whole = environment(env);
  pid_t pid = -1;
  if (::posix_spawnp(&pid, argv[0].c_str(), nullptr, &how, pointers(argv).data(),
                     pointers(whole).data()) != 0)
    pid = -1;
  ::posix_spawnattr_destroy(&how);
  return pid;
}

int left_until(steady_clock::time_point end) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - steady_clock::now()).count();
  return static_cast<int>(std::clamp<long long>(left, 0, 1 << 30U));
}

}  // namespace

void heed_interruption() {
  if (interruption().signals.valid()) return;
  sigset_t set;
  ::sigemptyset(&set);
  for (const int one : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ::sigaddset(&set, one);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  interruption().signals = Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

bool interrupted() {
  if (interruption().signals.valid()) (void)take_signal();
  return interruption().seen != 0;
}

int run_program(const std::vector<std::string>& argv, const std::vector<std::string>& env,
                std::chrono::seconds limit) {
  if (interrupted()) return -1;
  const bool limited = limit > std::chrono::seconds{0};
  const pid_t pid = spawn(argv, env, limited);
  if (pid < 0) return -1;
  const Fd ended(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U)));
  const pid_t all = limited ? -pid : pid;
  std::optional<steady_clock::time_point> end;
  if (limited) end = steady_clock::now() + limit;
  while (ended.valid()) {
    pollfd wait[] = {{ended.get(), POLLIN, 0}, {interruption().signals.get(), POLLIN, 0}};
    const int n = ::poll(wait, std::size(wait), end ? left_until(*end) : -1);
    if (n < 0 && errno != EINTR) break;
    if (wait[0].revents != 0 && n > 0) break;
    if (n == 0) {
      ::kill(all, SIGKILL);
      break;
    }
    if (wait[1].revents == 0 || n < 0) continue;
    // It may clean up itself, and has a while for that.
    if (const int number = take_signal(); number != 0) ::kill(all, number);
    constexpr std::chrono::seconds patience{5};
    end = std::min(end.value_or(steady_clock::time_point::max()), steady_clock::now() + patience);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return status;
}

std::string how_it_ended(int status) {
  if (status < 0) return "cannot be run";
  if (WIFSIGNALED(status)) return fmt::format("was ended by signal {}", WTERMSIG(status));
  return fmt::format("ended with status {}", WEXITSTATUS(status));
}

bool run_scripts(const Place& place, const lxc::Configuration& config, std::string_view when,
                 const HookWords& words) {
  const auto item = [&](const std::string& key) {
    const auto value = config.get(key);
    return value ? value->value_or("") : std::string();
  };
  std::string lines = item(fmt::format("lxc.hook.{}", when));
  if (lines.empty()) return true;
  const bool by_arguments = item("lxc.hook.version") != "1";
  std::vector<std::string> told = {fmt::format("LXC_HOOK_VERSION={}", by_arguments ? 0 : 1),
                                   "LXC_CGNS_AWARE=1"};
  const auto tell = [&](const char* name, const std::string& value) {
    if (!value.empty()) told.push_back(fmt::format("{}={}", name, value));
  };
  tell("LXC_NAME", place.name());
  tell("LXC_SRC_NAME", words.source);
  tell("LXC_CONFIG_FILE", place.config_file());
  std::string root_at = words.root_at;
  if (root_at.empty()) root_at = item("lxc.rootfs.mount");
  tell("LXC_ROOTFS_MOUNT", root_at.empty() ? Hooks{}.root_at.str() : root_at);
  // LXC tells the hooks of a copy its kind, too.
  Storage storage = Storage::of(config);
  if (storage.kind == Storage::directory && storage.type.empty()) storage.type = "dir";
  tell("LXC_ROOTFS_PATH", when == "clone" ? storage.text() : item("lxc.rootfs.path"));
  tell("LXC_CONSOLE", item("lxc.console.path"));
  tell("LXC_CONSOLE_LOGPATH", item("lxc.console.logfile"));
  const std::string level = item("lxc.log.level");
  tell("LXC_LOG_LEVEL", level.empty() || level == "NOTSET" ? log_level() : level);
  if (!by_arguments) {
    told.push_back(fmt::format("LXC_HOOK_TYPE={}", when));
    told.emplace_back("LXC_HOOK_SECTION=lxc");
  }
  while (!lines.empty()) {
    const std::string hook = lines.substr(0, lines.find('\n'));
    lines.erase(0, hook.size() + 1);
    if (hook.empty()) continue;
    std::vector<std::string> argv = {"/bin/sh", "-c", fmt::format("exec {} \"$@\"", hook), "sh"};
    if (by_arguments) argv.insert(argv.end(), {place.name(), "lxc", std::string(when)});
    argv.insert(argv.end(), words.more.begin(), words.more.end());
    const auto begun = steady_clock::now();
    const int status = run_program(argv, told, hook_limit);
    if (status == 0) continue;
    say("hook '{}' of {} {}", hook, when,
        status > 0 && steady_clock::now() - begun >= hook_limit
            ? fmt::format("was killed: it has {} seconds", hook_limit.count())
            : how_it_ended(status));
    return false;
  }
  return true;
}
