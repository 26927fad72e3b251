// lxc-unshare: a command in namespaces of its own, and all else as it is here.
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <condroid/sys/fd.hpp>
#include <csignal>

#include "namespaces.hpp"
#include "say.hpp"
#include "script.hpp"
#include "tools.hpp"

using namespace condroid;

namespace {

constexpr int time_namespace = 0x80;  // CLONE_NEWTIME, Linux 5.6

constexpr Option options[] = {
    {'s', "namespaces", "NAMESPACES",
     "Of MOUNT, PID, UTSNAME, IPC, USER, NETWORK, CGROUP, TIME, a | between them"},
    {'u', "user", "UID", "With USER: the id that it has there (0)"},
    {'H', "hostname", "NAME", "With UTSNAME: the host's name there"},
    {'i', "ifname", "NAME", "With NETWORK: this interface is moved there; may be repeated"},
    {'d', "daemon", "", "Do not wait for its end"},
    {'M', "remount", "", "With MOUNT: /proc, /dev/shm and /dev/mqueue are those of the namespaces"},
};

std::optional<int> flags_of(const std::string& text) {
  constexpr std::pair<Namespace, int> bits[] = {
      {Namespace::mount, CLONE_NEWNS},      {Namespace::pid, CLONE_NEWPID},
      {Namespace::uts, CLONE_NEWUTS},       {Namespace::ipc, CLONE_NEWIPC},
      {Namespace::user, CLONE_NEWUSER},     {Namespace::net, CLONE_NEWNET},
      {Namespace::cgroup, CLONE_NEWCGROUP}, {Namespace::time, time_namespace}};
  const auto kinds = read_namespaces(text);
  if (!kinds) return {};
  int flags = 0;
  for (const auto& [kind, bit] : bits)
    if (kinds->has(kind)) flags |= bit;
  if (flags == 0) say("no namespaces are named; use -s NETWORK or others");
  return flags == 0 ? std::nullopt : std::optional<int>(flags);
}

bool map_ids(long uid, unsigned outer_uid, unsigned outer_gid) {
  const auto write = [](const char* file, const std::string& text) {
    const Fd fd(::open(file, O_WRONLY | O_CLOEXEC));
    return fd.valid() && ::write(fd.get(), text.data(), text.size()) >= 0;
  };
  return write("/proc/self/setgroups", "deny") &&
         write("/proc/self/uid_map", fmt::format("{} {} 1", uid, outer_uid)) &&
         write("/proc/self/gid_map", fmt::format("0 {} 1", outer_gid));
}

[[noreturn]] void become(const Arguments& args, int flags, const Fd& moved) {
  constexpr int failed = 1, not_found = 127;
  const auto must = [&](bool fine, const char* what) {
    if (fine) return;
    say("{}: {}", what, errno_name(errno));
    ::_exit(failed);
  };
  char word = 0;
  if (::read(moved.get(), &word, 1) != 1) ::_exit(failed);
  if ((flags & CLONE_NEWNS) != 0) {
    must(::mount("", "/", nullptr, MS_SLAVE | MS_REC, nullptr) == 0, "the mounts");
    if (args.has("remount"))
      must(::mount("proc", "/proc", "proc", 0, nullptr) == 0 &&
               ::mount("shm", "/dev/shm", "tmpfs", 0, nullptr) == 0,
           "/proc and /dev/shm");
    if (args.has("remount") && (flags & CLONE_NEWIPC) != 0)
      (void)::mount("mqueue", "/dev/mqueue", "mqueue", 0, nullptr);
  }
  if (const std::string name = args.value("hostname"); !name.empty() && (flags & CLONE_NEWUTS) != 0)
    must(::sethostname(name.data(), name.size()) == 0, "the host's name");
  std::vector<char*> argv;
  for (const std::string& one : args.words()) argv.push_back(const_cast<char*>(one.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  say("'{}': {}", argv[0], errno_name(errno));
  ::_exit(not_found);
}

int run(const Arguments& args) {
  const auto flags = flags_of(args.value("namespaces"));
  const auto uid = args.number("user", 0);
  if (!flags || !uid) return 1;
  if (args.words().empty()) {
    say("no command is named");
    return 1;
  }
  struct Needs {
    const char* option;
    int flag;
    const char* word;
  };
  for (const Needs& one :
       {Needs{"ifname", CLONE_NEWNET, "NETWORK"}, Needs{"hostname", CLONE_NEWUTS, "UTSNAME"},
        Needs{"remount", CLONE_NEWNS, "MOUNT"}, Needs{"user", CLONE_NEWUSER, "USER"}})
    if (args.has(one.option) && (*flags & one.flag) == 0) {
      say("--{} goes with {} alone", one.option, one.word);
      return 1;
    }
  const unsigned outer_uid = ::geteuid(), outer_gid = ::getegid();
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return 1;
  Fd moved(ends[0]), tell(ends[1]);
  // Its own process first: the interfaces' way there is from here.
  const Fd here(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  const auto interfaces = args.values("ifname");
  if (::unshare(*flags) != 0) {
    say("the namespaces: {}", errno_name(errno));
    return 1;
  }
  if ((*flags & CLONE_NEWUSER) != 0 && !map_ids(*uid, outer_uid, outer_gid)) {
    say("the ids of the user namespace: {}", errno_name(errno));
    return 1;
  }
  const pid_t pid = ::fork();
  if (pid < 0) {
    say("a process: {}", errno_name(errno));
    return 1;
  }
  if (pid == 0) {
    tell.reset();
    become(args, *flags, moved);
  }
  for (const std::string& name : interfaces) {
    if (::setns(here.get(), CLONE_NEWNET) != 0 ||
        run_program({"ip", "link", "set", name, "netns", std::to_string(pid)}, {}) != 0) {
      say("interface '{}' could not be moved", name);
      ::kill(pid, SIGKILL);
      return 1;
    }
  }
  const char word = 'x';
  (void)!::write(tell.get(), &word, 1);
  tell.reset();
  if (args.has("daemon")) return 0;
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  constexpr int of_signal = 128;
  return WIFEXITED(status) ? WEXITSTATUS(status) : of_signal + WTERMSIG(status);
}

}  // namespace

const Tool lxc_unshare = {
    .name = "lxc-unshare",
    .synopsis = "-s NAMESPACES [-u UID] [-H NAME] [-i NAME]... [-d] [-M] [--] COMMAND...",
    .brief = "Runs a command in namespaces of its own, with all else as it is here.",
    .options = options,
    .names = Tool::none,
    .more =
        "Exit status: that of the command, 128 and the signal that ended it; 1 when it could not "
        "be "
        "started.",
    .run = &run,
};
