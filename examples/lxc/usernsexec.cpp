// lxc-usernsexec: a command as root of a user namespace.
#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <condroid/runtime.hpp>
#include <condroid/sys/facts.hpp>
#include <condroid/sys/fd.hpp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <sstream>

#include "say.hpp"
#include "script.hpp"
#include "tools.hpp"

using namespace condroid;

namespace {

constexpr Option options[] = {
    {'m', "map", "[u|g|b]:INSIDE:OUTSIDE:COUNT",
     "Ids of users, groups or both; may be repeated. Without any: all that /etc/subuid and "
     "/etc/subgid have for this user, from 0 on"},
    {'s', "setid", "", "For LXC's sake: it becomes 0 in any case"},
};

struct Maps {
  std::string users, groups;
};

bool add(Maps& maps, const std::string& text) {
  char kind = 0;
  unsigned inside = 0, outside = 0, count = 0;
  int end = 0;
  const std::string_view kinds = "ugb";
  if (std::sscanf(text.c_str(), "%c:%u:%u:%u%n", &kind, &inside, &outside, &count, &end) != 4 ||
      static_cast<std::size_t>(end) != text.size() || kinds.find(kind) == kinds.npos ||
      count == 0) {
    say("--map={}: as u:0:100000:65536", text);
    return false;
  }
  const std::string line = fmt::format("{} {} {}\n", inside, outside, count);
  if (kind != 'g') maps.users += line;
  if (kind != 'u') maps.groups += line;
  return true;
}

/// One range after the other, from 0 on.
std::string lines_of(const std::vector<SubidRange>& ranges) {
  std::string text;
  std::uint64_t inside = 0;
  for (const SubidRange& r : ranges) {
    if (inside + r.count > UINT32_MAX) break;
    text += fmt::format("{} {} {}\n", inside, r.start, r.count);
    inside += r.count;
  }
  return text;
}

/// All that /etc/subuid and /etc/subgid have for this user.
bool add_granted(Maps& maps) {
  const auto runtime = Runtime::open();
  if (!runtime) return say_error(runtime.error()) == 0;
  const auto facts = runtime->facts();
  if (!facts) return say_error(facts.error()) == 0;
  maps.users = lines_of(facts->get().subuids);
  maps.groups = lines_of(facts->get().subgids);
  if (!maps.users.empty() && !maps.groups.empty()) return true;
  say("{} has no ids for this user; name some by -m b:0:100000:65536",
      maps.users.empty() ? "/etc/subuid" : "/etc/subgid");
  return false;
}

/// As root of this user's ids: /proc itself; else the programs that may.
bool write_map(pid_t pid, const char* kind, const std::string& map) {
  if (::geteuid() == 0) {
    const Fd file(::open(fmt::format("/proc/{}/{}_map", pid, kind).c_str(), O_WRONLY | O_CLOEXEC));
    if (file.valid() && ::write(file.get(), map.data(), map.size()) >= 0) return true;
    say("{}_map: {}", kind, errno_name(errno));
    return false;
  }
  std::vector<std::string> command = {fmt::format("new{}map", kind), std::to_string(pid)};
  std::istringstream words(map);
  for (std::string word; words >> word;) command.push_back(word);
  return run_program(command, {}) == 0;
}

/// In the child, whose ids are mapped when `ready` says so.
[[noreturn]] void become(const Arguments& args, const Fd& asked, const Fd& ready) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  char word = 'x';
  constexpr int failed = 1, not_found = 127;
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
    say("a user namespace: {}", errno_name(errno));
    ::_exit(failed);
  }
  if (::write(asked.get(), &word, 1) != 1 || ::read(ready.get(), &word, 1) != 1) ::_exit(failed);
  if (::setgroups(0, nullptr) != 0 || ::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0 ||
      ::mount("", "/", nullptr, MS_SLAVE | MS_REC, nullptr) != 0) {
    say("to become its root: {}", errno_name(errno));
    ::_exit(failed);
  }
  std::vector<char*> argv;
  for (const std::string& one : args.words()) argv.push_back(const_cast<char*>(one.c_str()));
  static char shell[] = "/bin/sh";
  if (argv.empty()) argv.push_back(shell);
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  say("'{}': {}", argv[0], errno_name(errno));
  ::_exit(not_found);
}

int run(const Arguments& args) {
  Maps maps;
  for (const std::string& one : args.values("map"))
    if (!add(maps, one)) return 1;
  if (!args.has("map") && !add_granted(maps)) return 1;
  if (maps.users.empty() || maps.groups.empty()) {
    say("ids for users and for groups are needed; -m b:0:100000:65536");
    return 1;
  }
  int to[2], back[2];
  if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(back, O_CLOEXEC) != 0) return 1;
  Fd ready(to[0]), ready_in(to[1]), asked(back[0]), asked_in(back[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return 1;
  if (pid == 0) {
    ready_in.reset();
    become(args, asked_in, ready);
  }
  asked_in.reset();
  char word = 0;
  const bool there = ::read(asked.get(), &word, 1) == 1;
  if (there && write_map(pid, "uid", maps.users) && write_map(pid, "gid", maps.groups))
    (void)!::write(ready_in.get(), &word, 1);
  ready_in.reset();
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  constexpr int of_signal = 128;
  return WIFEXITED(status) ? WEXITSTATUS(status) : of_signal + WTERMSIG(status);
}

}  // namespace

const Tool lxc_usernsexec = {
    .name = "lxc-usernsexec",
    .synopsis = "[-m MAP]... [-- COMMAND...]",
    .brief = "Runs a command, or a shell, as root of a user namespace with these ids.",
    .options = options,
    .names = Tool::none,
    .more = "Exit status: that of the command; 127 when it cannot be executed; 1 else.",
    .run = &run,
};
