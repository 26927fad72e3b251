// What can be known to be wrong with the process of a Spec and its terminals.
#include <algorithm>
#include <string>
#include <utility>

#include "formatted.hpp"
#include "plan/checks.hpp"
#include "plan/paths.hpp"
#include "plan/words.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr std::size_t longest_string = 128U << 10U;  // MAX_ARG_STRLEN, with its NUL; execve(2)
constexpr std::uint64_t longest_total = 6U << 20U;   // three quarters of _STK_LIM; execve(2)
constexpr std::size_t most_groups = 65536;           // NGROUPS_MAX
constexpr unsigned most_ttys = 64;
constexpr int largest_number = 32767;  // of a descriptor, in the child's program

}  // namespace

void Checks::process() const {
  argv_and_env();
  ids();
  stdio();
  rlimits();
  scheduling();
  const Process& p = spec.process;
  guest_path("process.cwd", p.cwd);
  if (p.umask) mode("process.umask", *p.umask, 0777);
  if (p.oom_score_adj && (*p.oom_score_adj < -1000 || *p.oom_score_adj > 1000))
    refusals.bad("process.oom_score_adj",
                 formatted("{} is not among -1000 to 1000", *p.oom_score_adj),
                 "the higher, the sooner it is killed for lack of memory; 0 is usual");
  for (std::size_t i = 0; i < p.proc_files.size(); ++i) {
    const ProcFile& file = p.proc_files[i];
    const std::string field = nth("process.proc_files", i);
    if (file.name.empty() || file.name == "." || file.name == ".." ||
        file.name.find('/') != std::string::npos)
      refusals.bad(field, formatted("{} is not the name of a file in /proc/PID", quoted(file.name)),
                   "one name without '/', for instance coredump_filter");
    else
      text(field, file.name);
    text(field, file.value);
    if (file.value.empty() || file.value.size() >= 4096)
      refusals.bad(field,
                   formatted("the value of {} has {} bytes", quoted(file.name), file.value.size()),
                   "the kernel takes 1 to 4095 at once");
  }
  if (p.death_signal.value < 1 || p.death_signal.value > 64)
    refusals.bad("process.death_signal", formatted("{} is not among 1 to 64", p.death_signal.value),
                 "9, SIGKILL, is the default");
  // Settings go through a procfs that nothing lies on yet; to mount one takes rights over the mount
  // namespace.
  if (shape.proc_early && shape.ids.inside() && !shape.own_root() && !shape.ids.joined)
    refusals.unsupported(p.oom_score_adj                          ? "process.oom_score_adj"
                         : !p.proc_files.empty()                  ? "process.proc_files"
                         : !spec.security.sysctls.empty()         ? "security.sysctls"
                         : !spec.security.apparmor.empty()        ? "security.apparmor"
                         : spec.security.own_apparmor             ? "security.own_apparmor"
                         : !spec.security.selinux.empty()         ? "security.selinux"
                         : !spec.security.selinux_keyring.empty() ? "security.selinux_keyring"
                                                                  : "namespaces",
                         "in a new user namespace this needs a mount namespace of its own",
                         "add mount to namespaces");
}

void Checks::argv_and_env() const {
  const Process& p = spec.process;
  if (p.argv.empty())
    refusals.bad("process.argv", "is empty: nothing to run", "name a program and its arguments");
  else if (p.argv.front().empty())
    refusals.bad("process.argv", "the program is an empty word",
                 "name a program; is a variable unset that should have named it?");
  std::uint64_t total = 0;
  const auto fits = [&](const std::string& field, const std::string& s) {
    total += s.size() + 1 + sizeof(char*);
    if (s.size() + 1 > longest_string)
      refusals.bad(field,
                   formatted("has {} bytes; the kernel takes {}", s.size(), longest_string - 1),
                   "pass it by a file or a descriptor");
    return text(field, s);
  };
  for (std::size_t i = 0; i < p.argv.size(); ++i) fits(nth("process.argv", i), p.argv[i]);
  for (std::size_t i = 0; i < p.env.size(); ++i) {
    const std::string field = nth("process.env", i);
    if (!fits(field, p.env[i])) continue;
    const std::size_t equals = p.env[i].find('=');
    if (equals == std::string::npos)
      refusals.bad(field, formatted("{} has no '='", quoted(p.env[i].substr(0, 80))),
                   "NAME=value; nothing is taken from the host's environment");
    else if (equals == 0)
      refusals.bad(field, formatted("{} has no name", quoted(p.env[i].substr(0, 80))),
                   "NAME=value");
  }
  if (total > longest_total)
    refusals.bad("process.argv",
                 formatted("with the environment it takes {}; the kernel has {}",
                           size_text(Bytes{total}), size_text(Bytes{longest_total})),
                 "pass some of it by a file or a descriptor");
}

void Checks::ids() const {
  const Process& p = spec.process;
  const auto mapped = [&](std::string_view field, std::uint32_t id, bool has) {
    if (id == no_id)
      refusals.bad(field, formatted("{} stands for no id", id), "use an id of the container");
    else if (!has)
      refusals.bad(field, formatted("{} is not in the container's id map", id),
                   "use an id that is, or a larger map");
  };
  // A map that could not be made out was refused already.
  const bool uids = !shape.ids.uids.empty(), gids = !shape.ids.gids.empty();
  mapped("process.uid", p.uid.value, !uids || shape.ids.has_uid(p.uid.value));
  mapped("process.gid", p.gid.value, !gids || shape.ids.has_gid(p.gid.value));
  for (std::size_t i = 0; i < p.groups.size(); ++i)
    mapped(nth("process.groups", i), p.groups[i].value,
           !gids || !shape.ids.set_groups || shape.ids.has_gid(p.groups[i].value));
  if (!shape.ids.set_groups && !p.groups.empty())
    refusals.unsupported("process.groups",
                         "setgroups(2) is not permitted with an id map of this user's own ids",
                         "newgidmap and a range in /etc/subgid allow it");
  if (p.groups.size() > most_groups)
    refusals.bad("process.groups",
                 formatted("has {} groups; the kernel takes {}", p.groups.size(), most_groups),
                 "give fewer");
}

void Checks::stdio() const {
  const Process& p = spec.process;
  for (const auto& [field, stream] :
       {std::pair<std::string_view, Stream>{"process.stdio.in", p.stdio.in},
        {"process.stdio.out", p.stdio.out},
        {"process.stdio.err", p.stdio.err}})
    if (stream.kind == Stream::descriptor && !stream.fd.valid())
      refusals.bad(field, formatted("{} is no descriptor", stream.fd.number),
                   "give one that is open, or another kind of stream");
  if (p.stdio.in.kind == Stream::capture)
    refusals.bad("process.stdio.in", "'capture' is for output", "'null' reads as empty");

  // The zygote raises its own limit as far as it goes; the Spec's comes before the descriptors are
  // placed.
  constexpr auto nofile = static_cast<std::size_t>(Rlimit::nofile);
  std::uint64_t open_files =
      facts.rlimits.size() > nofile ? facts.rlimits[nofile].second : RlimitSetting::unlimited;
  for (const RlimitSetting& limit : p.rlimits)
    if (limit.resource == Rlimit::nofile) open_files = limit.soft;
  for (std::size_t i = 0; i < p.descriptors.size(); ++i) {
    const PassedFd& fd = p.descriptors[i];
    const std::string field = nth("process.descriptors", i);
    if (!fd.host.valid())
      refusals.bad(field, formatted("{} is no descriptor", fd.host.number),
                   "give one that is open");
    if (fd.number < 3)
      refusals.bad(field, formatted("number {} is not 3 or more", fd.number),
                   "0 to 2 are process.stdio");
    else if (fd.number > largest_number || static_cast<std::uint64_t>(fd.number) >= open_files)
      refusals.bad(
          field,
          formatted("number {} is beyond the last descriptor, {}", fd.number,
                    std::min<std::uint64_t>(largest_number, open_files == 0 ? 0 : open_files - 1)),
          "use a lower number, or a higher limit of open files");
    for (std::size_t k = 0; k < i; ++k)
      if (p.descriptors[k].number == fd.number)
        refusals.bad(field, formatted("number {} is given twice", fd.number),
                     "give each another number");
  }
}

void Checks::rlimits() const {
  const auto& list = spec.process.rlimits;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const RlimitSetting& limit = list[i];
    const std::string field = nth("process.rlimits", i);
    const std::string_view name = name_of(limit.resource);
    if (name.empty()) {
      refusals.bad(field, "is no limit of setrlimit(2)", "use one of Rlimit");
      continue;
    }
    if (limit.soft > limit.hard)
      refusals.bad(field, formatted("the soft limit of '{}' is above the hard one", name),
                   "raise the hard one, or lower the soft one");
    for (std::size_t k = 0; k < i; ++k)
      if (list[k].resource == limit.resource)
        refusals.bad(field, formatted("'{}' is set twice", name), "leave out one of them");
    const auto resource = static_cast<std::size_t>(limit.resource);
    // The kernel asks for the capability in the initial user namespace, of which the child has
    // left.
    if (resource < facts.rlimits.size() && limit.hard > facts.rlimits[resource].second &&
        !has_on_host(Capability::sys_resource))
      refusals.unsupported(
          field,
          formatted("'{}' above {} needs CAP_SYS_RESOURCE", name, facts.rlimits[resource].second),
          shape.ids.inside() && facts.has_cap(static_cast<unsigned>(Capability::sys_resource))
              ? "a user namespace of its own has it not: ask for less, or set idmap.kind = none"
              : "ask for less, or raise the limit of the calling program first");
  }
}

void Checks::scheduling() const {
  const Scheduling& s = spec.process.scheduling;
  constexpr std::string_view field = "process.scheduling.priority";
  const bool real_time = s.policy == SchedPolicy::fifo || s.policy == SchedPolicy::round_robin;
  if (real_time && (s.priority < 1 || s.priority > 99))
    refusals.bad(field, formatted("{} is not among 1 to 99", s.priority),
                 "set a priority with a real-time policy");
  if (!real_time && s.priority != 0)
    refusals.bad(
        field,
        formatted("'{}' has no priority; process.scheduling.nice has one", name_of(s.policy)),
        "set the policy to fifo or round_robin, or the priority to 0");
  constexpr auto rtprio = static_cast<std::size_t>(Rlimit::rtprio);
  std::uint64_t most =
      facts.rlimits.size() > rtprio ? facts.rlimits[rtprio].first : RlimitSetting::unlimited;
  for (const RlimitSetting& limit : spec.process.rlimits)
    if (limit.resource == Rlimit::rtprio) most = limit.soft;
  if (real_time && s.priority > 0 && static_cast<std::uint64_t>(s.priority) > most &&
      !has_on_host(Capability::sys_nice))
    refusals.unsupported(
        field, formatted("{} needs CAP_SYS_NICE, or RLIMIT_RTPRIO, which is {}", s.priority, most),
        "run as root without an id map, or raise the limit of the calling program");
  if (s.nice && (*s.nice < -20 || *s.nice > 19))
    refusals.bad("process.scheduling.nice", formatted("{} is not among -20 to 19", *s.nice),
                 "19 yields to everybody, 0 is usual");
  for (const unsigned cpu : s.cpus)
    if (cpu >= most_processors) {
      refusals.bad("process.scheduling.cpus",
                   formatted("{} is beyond {}, the last there can be", cpu, most_processors - 1),
                   "processors count from 0; see nproc(1)");
      break;
    }
}

void Checks::terminal() const {
  const Terminal& t = spec.terminal;
  if (t.ttys > most_ttys)
    refusals.bad("terminal.ttys", formatted("{} is beyond {}", t.ttys, most_ttys),
                 "ask for fewer; a container opens more by itself from its /dev/ptmx");
  if (!t.tty_dir.empty()) {
    if (t.tty_dir.size() > 255 || t.tty_dir == "." || t.tty_dir == ".." ||
        t.tty_dir.find('/') != std::string::npos)
      refusals.bad("terminal.tty_dir",
                   formatted("{} is not the name of a directory in /dev", quoted(t.tty_dir)),
                   "one name without '/', for instance lxc");
    else
      text("terminal.tty_dir", t.tty_dir);
  }
  if (!t.log.empty()) {
    host_path("terminal.log", t.log);
    if (!shape.console)
      refusals.bad("terminal.log", "there is no console", "set terminal.console = true");
  } else if (t.log_size.value != 0 || t.log_rotate) {
    refusals.bad(t.log_rotate ? "terminal.log_rotate" : "terminal.log_size", "there is no log",
                 "set terminal.log");
  }
  constexpr std::uint64_t page = 4096;
  if (t.log_size.value != 0 && t.log_size.value < page)
    refusals.bad("terminal.log_size", formatted("{} bytes are full at once", t.log_size.value),
                 "4096 at least");
  if (t.log_rotate && t.log_size.value == 0)
    refusals.bad("terminal.log_rotate", "the log is never full", "set terminal.log_size");

  if (!shape.console && t.ttys == 0) return;
  const std::string_view field = t.console       ? "terminal.console"
                                 : shape.console ? "process.stdio"
                                                 : "terminal.ttys";
  if (!shape.own_root()) {
    refusals.bad(field, "a terminal needs a mount namespace of the container's own",
                 "add mount to namespaces");
    return;
  }
  // From which devpts they come: that at /dev/pts, otherwise the first.
  bool usual_taken = false;
  const Devpts* from = nullptr;
  bool from_usual = false;
  for (const Mount& m : spec.mounts) {
    const bool usual = normalized(target_of(m).str()) == "/dev/pts";
    usual_taken = usual_taken || usual;
    const auto* devpts = std::get_if<Devpts>(&m);
    if (devpts == nullptr || (from_usual && !usual) || (from != nullptr && !usual)) continue;
    from = devpts;
    from_usual = usual;
  }
  const bool usual = spec.devices.populate && !usual_taken;
  if (from == nullptr && !usual) {
    refusals.bad(field, "there is no devpts to open it from",
                 "set devices.populate = true, or add a mount of devpts");
    return;
  }
  const unsigned wanted = std::min(t.ttys, most_ttys) + (shape.console ? 1U : 0U);
  if (!usual && from->max < wanted)
    refusals.bad(field, formatted("{} terminals are wanted; that devpts has {}", wanted, from->max),
                 "raise its max, or ask for fewer");
}

}  // namespace condroid::inline v0::detail
