// lxc-attach: a command, or a shell, in a container that runs.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <condroid/attach.hpp>
#include <condroid/config/seccomp.hpp>
#include <condroid/notify.hpp>
#include <condroid/runtime.hpp>
#include <fstream>
#include <sstream>

#include "namespaces.hpp"
#include "place.hpp"
#include "say.hpp"
#include "terminal.hpp"
#include "tools.hpp"

using namespace condroid;

namespace {

constexpr Option options[] = {
    {'e', "elevated-privileges", "PRIVILEGES",
     "With this program's rights where the container's are less: CAP, CGROUP, LSM, a | between "
     "them; "
     "all without PRIVILEGES. Opens the host to what is in the container",
     Option::optional},
    {'a', "arch", "ARCH", "Execution domain: i686, x86_64 ..."},
    {'s', "namespaces", "NAMESPACES",
     "Only these of its namespaces: MOUNT, PID, UTSNAME, IPC, USER, NETWORK, CGROUP, TIME, a | "
     "between them; with all privileges elevated"},
    {'R', "remount-sys-proc", "",
     "With -s and no MOUNT: /proc and /sys are of the namespaces that are entered"},
    {0, "clear-env", "", "Only container=lxc, a PATH and what is said"},
    {0, "keep-env", "", "This program's environment, too; that is usual"},
    {'L', "pty-log", "FILE", "What the terminal shows is appended to FILE"},
    {'v', "set-var", "NAME=VALUE", "A variable; may be repeated"},
    {0, "keep-var", "NAME", "With --clear-env: keep this one; may be repeated"},
    {'f', "rcfile", "FILE", "Read FILE in the place of the container's configuration"},
    {'u', "uid", "UID", "With this user id of the container's"},
    {'g', "gid", "GID", "With this group id of the container's"},
    {'c', "context", "CONTEXT", "For SELinux: refused where that or AppArmor is on"},
};

void set_variable(std::vector<std::string>& env, std::string entry) {
  const std::string name = entry.substr(0, entry.find('=') + 1);
  std::erase_if(env, [&](const std::string& e) { return e.starts_with(name); });
  env.push_back(std::move(entry));
}

std::optional<std::vector<std::string>> environment(const Arguments& args) {
  std::vector<std::string> env;
  if (!args.has("clear-env")) {
    for (char** e = environ; *e != nullptr; ++e)
      if (std::string_view(*e).find('=') != std::string_view::npos) env.emplace_back(*e);
  } else {
    for (const std::string& name : args.values("keep-var"))
      if (const char* const value = ::getenv(name.c_str())) env.push_back(name + "=" + value);
  }
  if (std::ranges::none_of(env, [](const auto& e) { return e.starts_with("PATH="); }))
    env.emplace_back("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  set_variable(env, "container=lxc");
  for (const std::string& one : args.values("set-var")) {
    if (one.find('=') == one.npos || one[0] == '=') {
      say("--set-var={}: NAME=VALUE", one);
      return {};
    }
    set_variable(env, one);
  }
  return env;
}

/// Calls `take` for each word between '|'.
template <class F>
bool each_word(const std::string& text, F take) {
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, '|');)
    if (!take(word)) return false;
  return true;
}

/// Those that are the container's own: in what it shares with this program everybody is already.
Flags<Namespace> not_shared(Pid pid, Flags<Namespace> wanted) {
  constexpr std::pair<Namespace, const char*> files[] = {
      {Namespace::mount, "mnt"}, {Namespace::pid, "pid"},       {Namespace::uts, "uts"},
      {Namespace::ipc, "ipc"},   {Namespace::user, "user"},     {Namespace::net, "net"},
      {Namespace::time, "time"}, {Namespace::cgroup, "cgroup"},
  };
  Flags<Namespace> own;
  for (const auto& [kind, file] : files) {
    struct stat ours {
    }, theirs{};
    const bool same =
        ::stat(fmt::format("/proc/self/ns/{}", file).c_str(), &ours) == 0 &&
        ::stat(fmt::format("/proc/{}/ns/{}", pid.value, file).c_str(), &theirs) == 0 &&
        ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev;
    if (wanted.has(kind) && !same) own |= kind;
  }
  return own;
}

bool elevate(const std::string& text, Attach& what) {
  const auto one = [&](const std::string& word) {
    if (word == "CAP")
      what.capabilities = CapabilitySet::all();
    else if (word == "CGROUP")
      what.cgroup = AttachCgroup::own;
    else if (word == "LSM")
      what.lsm_label = false;
    else {
      say("--elevated-privileges={}: there is no '{}'; CAP, CGROUP, LSM", text, word);
      return false;
    }
    return true;
  };
  return each_word(text.empty() ? "CAP|CGROUP|LSM" : text, one);
}

/// The shell that the container's own users have, by its /etc/passwd.
std::string shell_of(Pid pid, std::uint32_t uid) {
  const Fd root(::open(fmt::format("/proc/{}/root", pid.value).c_str(), O_PATH | O_CLOEXEC));
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const Fd file(
      static_cast<int>(::syscall(SYS_openat2, root.get(), "etc/passwd", &how, sizeof how)));
  std::string text(std::size_t{64} << 10U, '\0');
  const ssize_t n = file.valid() ? ::read(file.get(), text.data(), text.size()) : 0;
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> fields;
    std::istringstream in(line);
    for (std::string one; std::getline(in, one, ':');) fields.push_back(one);
    constexpr std::size_t shell = 6;
    if (fields.size() > shell && fields[2] == std::to_string(uid) && fields[shell].starts_with('/'))
      return fields[shell];
  }
  return "/bin/sh";
}

bool read_id(const Arguments& args, std::string_view option, std::uint32_t& id) {
  const auto n = args.number(option, id);
  if (!n) return false;
  if (*n < 0 || *n > INT32_MAX) {
    say("--{}={}: that is no id", option, *n);
    return false;
  }
  id = static_cast<std::uint32_t>(*n);
  return true;
}

/// The filter that the container has, as its configuration names it: what is inside must not be
/// able to do more by being attached.
bool take_filter(const control::Client& client, Attach& what) {
  what.seccomp = Seccomp{.kind = Seccomp::none, .and_standard = true};
  auto file = client.config_item("lxc.seccomp.profile");
  if (file && !*file) file = client.config_item("lxc.seccomp");  // as LXC 2.0 calls it
  if (!file) {  // who does not answer has not said that there is none
    say_error(file.error());
    return false;
  }
  if (!*file || (*file)->empty()) return true;
  std::ifstream in(**file);
  std::ostringstream text;
  text << in.rdbuf();
  auto policy = lxc::parse_seccomp(text.str());
  if (!policy) {
    say_error(policy.error());
    return false;
  }
  what.seccomp = std::move(*policy);
  return true;
}

/// Where this program is: among the mounts of who calls it, which are those of the command, too.
std::optional<std::string> own_program() {
  char path[PATH_MAX];
  const ssize_t n = ::readlink("/proc/self/exe", path, sizeof path);
  if (n > 0 && static_cast<std::size_t>(n) < sizeof path)
    return std::string(path, static_cast<std::size_t>(n));
  say("--remount-sys-proc: this program's own file: {}", errno_name(errno));
  return {};
}

std::optional<Attach> wishes(const Arguments& args, const control::Client& client, Pid pid) {
  Attach what;
  std::uint32_t uid = 0, gid = 0;
  if (!read_id(args, "uid", uid) || !read_id(args, "gid", gid)) return {};
  what.process.uid = Uid{uid};
  what.process.gid = Gid{gid};
  if (args.has("arch")) {
    lxc::Configuration config;
    if (const auto ok = config.apply("lxc.arch=" + args.value("arch")); !ok) {
      say_error(ok.error());
      return {};
    }
    const auto arch = config.get("lxc.arch");
    what.process.personality = arch && *arch == "i686" ? Personality::linux32 : Personality::native;
  }
  if (args.has("namespaces")) {
    const auto wanted = read_namespaces(args.value("namespaces"));
    if (!wanted || !elevate("", what)) return {};
    what.namespaces = not_shared(pid, *wanted);
  } else if (args.has("elevated-privileges") && !elevate(args.value("elevated-privileges"), what)) {
    return {};
  }
  auto env = environment(args);
  if (!env) return {};
  what.clear_env = true;
  what.process.env = std::move(*env);
  what.process.argv = args.words();
  if (what.process.argv.empty()) what.process.argv = {shell_of(pid, uid)};
  // With its mounts the container's own /proc and /sys are there.
  if (args.has("remount-sys-proc") && what.namespaces && !what.namespaces->has(Namespace::mount)) {
    const auto program = own_program();
    if (!program) return {};
    what.process.argv.insert(what.process.argv.begin(), {*program, std::string(own_proc_word)});
  }
  if (what.lsm_label == false)
    what.seccomp = Seccomp{.kind = Seccomp::none, .and_standard = true};
  else if (!take_filter(client, what))
    return {};
  return what;
}

/// As a shell says why a command could not be executed.
int failed(const Error& error) {
  say_error(error);
  constexpr int not_found = 127, not_executable = 126;
  if (error.step != Step::exec) return 1;
  return error.is_errno(ENOENT) ? not_found : not_executable;
}

int run(const Arguments& args) {
  const auto place = Place::of(args);
  if (!place) return 1;
  const auto pid = place->client().init_pid();
  if (!pid) {
    if (pid.error().is_errno(ECONNREFUSED))
      say("it is not running");
    else
      say_error(pid.error());
    return 1;
  }
  const auto pidfd = place->client().init_pidfd();
  auto what = wishes(args, place->client(), *pid);
  if (!what) return 1;
  Stdio& stdio = what->process.stdio;
  if (::isatty(0) == 1) stdio.in = Stdio::pty;
  if (::isatty(1) == 1) stdio.out = Stdio::pty;
  if (::isatty(2) == 1) stdio.err = Stdio::pty;
  const int terminal = own_terminal();
  if (terminal >= 0)
    if (const auto size = window_size(FdView(terminal)); size) {
      what->rows = size->rows;
      what->columns = size->columns;
    }
  Fd log;
  if (args.has("pty-log")) {
    constexpr unsigned mode = 0600;
    log = Fd(::open(args.value("pty-log").c_str(),
                    O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, mode));
    if (!log.valid()) {
      say("'{}': {}", args.value("pty-log"), errno_name(errno));
      return 1;
    }
  }
  const auto runtime = Runtime::open();
  if (!runtime) return say_error(runtime.error());
  const auto facts = runtime->facts();
  if (what->capabilities && facts)
    what->capabilities->keep(CapabilitySet::from_bits(facts->get().effective_caps));
  // Where nobody has a label LXC takes any, too.
  if (args.has("context") && (!facts || facts->get().apparmor || facts->get().selinux)) {
    say("--context is not supported where AppArmor or SELinux is on");
    return 1;
  }
  // By the pidfd where there is one: who has the number later is not entered.
  const auto attach = [&]() -> Result<Task> {
    if (!pidfd) return runtime->attach(*pid, *what);
    auto attaching = runtime->start_attach(*pid, *pidfd, *what, {});
    if (!attaching) return fail(attaching);
    return attaching->finish();
  };
  auto task = attach();
  if (!task) return failed(task.error());
  // Who keeps the container answers what the filter asks about; where it does not, it is ENOSYS.
  if (const auto listener = task->take_listener())
    if (const auto ok = place->client().add_seccomp_listener(listener->poll_fd()); !ok)
      note(lxc::LogLevel::info, "{}", ok.error());
  if (terminal >= 0) {
    const Fd signals = watch_signals();
    auto raw = stdio.in.kind == Stdio::pty && in_foreground(0)
                   ? RawTerminal::enter(0)
                   : Result<RawTerminal>(fail(ENOTTY, Step::open_tty, ""));
    const Fd master = task->take_console();
    const int out = stdio.out.kind == Stdio::pty ? 1 : stdio.err.kind == Stdio::pty ? 2 : -1;
    if (copy_terminal(master, raw ? 0 : -1, out, Escape{}, task->poll_fd(), signals, &log)) {
      (void)task->kill();
    }
  }
  const auto exit = task->wait();
  return exit ? exit->shell_status() : say_error(exit.error());
}

}  // namespace

const Tool lxc_attach = {
    .name = "lxc-attach",
    .synopsis = "-n NAME [OPTION...] [-- COMMAND...]",
    .brief = "Runs a command, or a shell, in a container that runs.",
    .options = options,
    .more =
        "It has a terminal of the container's where its own streams are one.\n\n"
        "Exit status: that of the command, 128 and the signal that ended it; 127 and 126 when it "
        "cannot be\nexecuted; 1 when the container does not run, or cannot be entered.",
    .run = &run,
};
