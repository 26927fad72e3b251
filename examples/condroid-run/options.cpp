#include "options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <condroid/builder.hpp>
#include <condroid/config/seccomp.hpp>
#include <condroid/learn.hpp>
#include <condroid/registry.hpp>
#include <condroid/sys/facts.hpp>
#include <condroid/version.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <stdexcept>
#include <vector>

#include "users.hpp"

using namespace condroid;

namespace {

struct Help : CLI::Formatter {
  Help() { column_width(28); }
  std::string make_usage(const CLI::App* /*app*/, std::string /*name*/) const override {
    return "Usage: condroid-run [OPTIONS] [--] COMMAND [ARG...]\n";
  }
};

/// What is wrong with an option's value, in words; becomes the one line on stderr.
struct Mistake : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t end = text.find(at, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string::npos) return parts;
    begin = end + 1;
  }
}

template <class T, class... Base>
T number(const std::string& option, const std::string& text, Base... how) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, how...);
  if (error != std::errc{} || end != text.data() + text.size())
    throw Mistake(fmt::format("{}: '{}' is no number in range", option, text));
  return value;
}

/// "64m", "64MiB", "1g", "4096".
Bytes size(const std::string& option, const std::string& text) {
  const std::size_t digits = text.find_first_not_of("0123456789");
  if (digits == 0) throw Mistake(fmt::format("{}: '{}' is no size like 64m or 1g", option, text));
  const auto value = number<std::uint64_t>(option, text.substr(0, digits));
  const std::string unit = digits == std::string::npos ? "" : text.substr(digits);
  unsigned shift = 0;
  if (unit == "k" || unit == "K" || unit == "KiB")
    shift = 10;
  else if (unit == "m" || unit == "M" || unit == "MiB")
    shift = 20;
  else if (unit == "g" || unit == "G" || unit == "GiB")
    shift = 30;
  else if (!unit.empty())
    throw Mistake(fmt::format("{}: '{}' is no unit of size (k, m, g)", option, unit));
  if (value > (~std::uint64_t{0} >> shift))
    throw Mistake(fmt::format("{}: '{}' is too large", option, text));
  return Bytes{value << shift};
}

/// "10", "1.5s", "200ms", "2m", "1h".
std::chrono::milliseconds duration(const std::string& option, const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string unit(end, text.data() + text.size());
  double scale = 1000;
  if (unit == "ms")
    scale = 1;
  else if (unit == "m")
    scale = 60e3;
  else if (unit == "h")
    scale = 3600e3;
  else if (!unit.empty() && unit != "s")
    throw Mistake(fmt::format("{}: '{}' is no unit of time (ms, s, m, h)", option, unit));
  if (error != std::errc{} || !(value > 0) || value * scale < 1 || value * scale > 1e12)
    throw Mistake(fmt::format("{}: '{}' is no time above 0", option, text));
  return std::chrono::milliseconds(static_cast<std::int64_t>(value * scale));
}

/// A path of the host, from the working directory as everywhere in a shell.
HostPath host_path(const std::string& text) {
  std::error_code error;
  const auto path = std::filesystem::absolute(text, error);
  if (error) throw Mistake(fmt::format("'{}': the working directory is gone", text));
  return HostPath(path.string());
}

/// SRC:DST[:opts]
void add_bind(Spec& spec, const std::string& text) {
  const auto parts = split(text, ':');
  if (parts.size() < 2 || parts.size() > 3 || parts[0].empty() || parts[1].empty())
    throw Mistake(fmt::format("--bind: '{}' is not SRC:DST[:OPTIONS]", text));
  Bind bind{.source = host_path(parts[0]),
            .target = GuestPath(parts[1]),
            .flags = MountFlag::nosuid | MountFlag::nodev,
            .recursive = true};
  if (parts.size() == 3) {
    for (const std::string& o : split(parts[2], ',')) {
      if (o == "ro")
        bind.flags |= MountFlag::read_only;
      else if (o == "rw")
        bind.flags -= MountFlag::read_only;
      else if (o == "suid")
        bind.flags -= MountFlag::nosuid;
      else if (o == "nosuid")
        bind.flags |= MountFlag::nosuid;
      else if (o == "nodev")
        bind.flags |= MountFlag::nodev;
      else if (o == "exec")
        bind.flags -= MountFlag::noexec;
      else if (o == "noexec")
        bind.flags |= MountFlag::noexec;
      else if (o == "rec")
        bind.recursive = true;
      else if (o == "norec")
        bind.recursive = false;
      else if (o == "idmap")
        bind.idmapped = true;
      else if (o == "optional")
        bind.common.optional = true;
      else if (o == "dev") {
        bind.flags -= MountFlag::nodev;
        spec.security.allow |= Allow::devices;
      } else {
        throw Mistake(fmt::format(
            "--bind: '{}' is none of ro, rw, suid, dev, exec, noexec, rec, norec, idmap, optional",
            o));
      }
    }
  }
  spec.mounts.emplace_back(std::move(bind));
}

/// DST[:opts]
void add_tmpfs(Spec& spec, const std::string& text) {
  const auto parts = split(text, ':');
  if (parts.size() > 2 || parts[0].empty())
    throw Mistake(fmt::format("--tmpfs: '{}' is not DST[:OPTIONS]", text));
  Tmpfs tmpfs{.target = GuestPath(parts[0])};
  if (parts.size() == 2) {
    for (const std::string& o : split(parts[1], ',')) {
      if (o.starts_with("size="))
        tmpfs.size = size("--tmpfs", o.substr(5));
      else if (o.starts_with("mode="))
        tmpfs.mode = {number<std::uint32_t>("--tmpfs", o.substr(5), 8)};
      else if (o.starts_with("inodes="))
        tmpfs.inodes = number<std::uint64_t>("--tmpfs", o.substr(7));
      else if (o == "ro")
        tmpfs.flags |= MountFlag::read_only;
      else if (o == "noexec")
        tmpfs.flags |= MountFlag::noexec;
      else
        throw Mistake(fmt::format("--tmpfs: '{}' is none of size=, mode=, inodes=, ro, noexec", o));
    }
  }
  spec.mounts.emplace_back(std::move(tmpfs));
}

struct Shared {
  const char* name;
  Namespace kind;
  Allow token;
};
constexpr Shared shareable[] = {{"net", Namespace::net, Allow::host_network},
                                {"pid", Namespace::pid, Allow::host_pids},
                                {"ipc", Namespace::ipc, Allow::host_ipc},
                                {"uts", Namespace::uts, Allow::host_uts},
                                {"cgroup", Namespace::cgroup, Allow::host_cgroup},
                                {"mount", Namespace::mount, Allow::host_mounts},
                                {"user", Namespace::user, {}},
                                {"time", Namespace::time, {}}};

void join_none(Spec& spec, Namespace kind) {
  std::erase_if(spec.join, [kind](const Join& join) { return join.kind == kind; });
}

/// Whoever types it has decided so: the token goes with the option.
void share(Spec& spec, const std::string& name) {
  for (const Shared& s : shareable) {
    if (name != s.name) continue;
    spec.namespaces -= s.kind;
    join_none(spec, s.kind);
    spec.security.allow |= s.token;
    if (s.kind == Namespace::user) spec.idmap = {.kind = IdMap::none};
    if (s.kind == Namespace::time) spec.time = {};
    return;
  }
  throw Mistake(
      fmt::format("--share: '{}' is none of net, pid, ipc, uts, cgroup, mount, user, time", name));
}

/// Its own, whatever a stored spec said.
void own_network(Spec& spec) {
  spec.namespaces |= Namespace::net;
  join_none(spec, Namespace::net);
}

void map_ids(Spec& spec, const std::vector<std::string>& wishes) {
  if (!wishes.empty()) spec.idmap = {};  // what a stored spec said
  for (const std::string& text : wishes) {
    if (text == "auto" || text == "host") {
      if (wishes.size() > 1)
        throw Mistake(fmt::format("--userns: '{}' goes with no other map", text));
      spec.idmap = {.kind = text == "auto" ? IdMap::automatic : IdMap::none};
      return;
    }
    const auto parts = split(text, ':');
    if (parts.size() != 3)
      throw Mistake(fmt::format("--userns: '{}' is not auto, host or IN:OUT:COUNT", text));
    const IdRange range{number<std::uint32_t>("--userns", parts[0]),
                        number<std::uint32_t>("--userns", parts[1]),
                        number<std::uint32_t>("--userns", parts[2])};
    spec.idmap.kind = IdMap::ranges;
    spec.idmap.uids.push_back(range);
    spec.idmap.gids.push_back(range);
  }
}

CapabilitySet capabilities(const std::string& option, std::string name) {
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (name == "all") return CapabilitySet::all();
  if (name.starts_with("cap_")) name.erase(0, 4);
  for (unsigned i = 0; i < capability_count; ++i)
    if (const auto c = static_cast<Capability>(i); to_string(c) == name) return CapabilitySet{c};
  throw Mistake(fmt::format("{}: '{}' is no capability; capabilities(7) lists them", option, name));
}

/// "all" is where it starts; of single ones the taking away counts last.
void change_capabilities(Security& security, const std::vector<std::string>& add,
                         const std::vector<std::string>& drop) {
  const auto has_all = [](const std::vector<std::string>& list) {
    return std::any_of(list.begin(), list.end(),
                       [](const auto& c) { return c == "all" || c == "ALL"; });
  };
  std::uint64_t bits = security.capabilities.bits();
  if (has_all(add)) bits = CapabilitySet::all().bits();
  if (has_all(drop)) bits = 0;
  for (const auto& c : add) bits |= has_all(add) ? 0 : capabilities("--cap-add", c).bits();
  for (const auto& c : drop) bits &= has_all(drop) ? bits : ~capabilities("--cap-drop", c).bits();
  security.capabilities = CapabilitySet::from_bits(bits);
  if (!add.empty()) security.allow |= Allow::capabilities;
}

void add_environment(Spec& spec, const std::vector<std::string>& wishes, bool usual) {
  std::vector<std::string>& env = spec.process.env;
  const auto set = [&env](std::string entry, bool over) {
    const std::string name = entry.substr(0, entry.find('=') + 1);
    for (std::string& old : env) {
      if (!old.starts_with(name)) continue;
      if (over) old = std::move(entry);
      return;
    }
    env.push_back(std::move(entry));
  };
  for (const std::string& e : wishes) {
    if (e.find('=') != std::string::npos) {
      set(e, true);
    } else if (const char* value = std::getenv(e.c_str()); value != nullptr) {
      set(e + "=" + value, true);
    }
  }
  if (!usual) return;  // what a container has that runs already stays
  set("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", false);
  set(spec.process.uid.value == 0 ? "HOME=/root" : "HOME=/", false);
}

std::string file_text(const std::string& option, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  // Not by iterators: they throw where reading fails, which it does for a directory. And not the
  // whole of what never ends: whoever parses it says that it is too much.
  constexpr std::size_t most = std::size_t{17} << 20U;
  for (char block[4096]; text.size() < most && (file.read(block, sizeof block), file.gcount() > 0);)
    text.append(block, static_cast<std::size_t>(file.gcount()));
  if (!file.eof() && text.size() < most)
    throw Mistake(fmt::format("{}: cannot read '{}'", option, path));
  return text;
}

/// All of it is one message, however many lines are wrong; the first ones are enough of it.
template <class T>
T parsed(const std::string& option, Result<T> value) {
  if (value) return std::move(*value);
  auto& also = value.error().also;
  if (const std::size_t more = also.size(); more > 3) {
    also.resize(3);
    also.push_back(fmt::format("{} more lines", more - 3));
  }
  throw Mistake(fmt::format("{}: {}", option, value.error()));
}
Spec parse(const std::string& option, const std::string& text) {
  return parsed(option, parse_spec(text));
}

/// "standard", "none", or a policy file as LXC or an OCI runtime reads it. Whoever types what
/// takes the place of the standard filter has decided so: the token goes with the option.
void filter_calls(Security& security, const std::string& wish) {
  security.seccomp = {};
  if (wish == "standard") return;
  if (wish == "none") {
    security.seccomp.kind = Seccomp::none;
    security.allow |= Allow::all_syscalls;
    return;
  }
  const std::string text = file_text("--seccomp", wish);
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  const bool json = begin != std::string::npos && text[begin] == '{';
  security.seccomp =
      parsed("--seccomp " + wish, json ? oci::parse_seccomp(text) : lxc::parse_seccomp(text));
  if (!security.seccomp.and_standard) security.allow |= Allow::all_syscalls;
  const auto asks = [](const SyscallRule& rule) { return rule.action == SyscallAction::notify; };
  if (security.seccomp.otherwise == SyscallAction::notify ||
      std::ranges::any_of(security.seccomp.list, asks))
    throw Mistake(fmt::format(
        "--seccomp {}: notify: condroid-run answers nobody; a program of yours can", wish));
}

/// "/usr:run", "bind:8080", "connect:443", "scope:signal", "best-effort".
void restrict_reach(Landlock& landlock, const std::string& wish) {
  if (wish == "best-effort") {
    landlock.best_effort = true;
    return;
  }
  const std::size_t colon = wish.rfind(':');
  const std::string what = wish.substr(0, colon);
  if (colon == std::string::npos || what.empty() || colon + 1 == wish.size())
    throw Mistake(
        fmt::format("--landlock '{}': expected PATH:RIGHTS like /usr:run, bind:PORT, "
                    "connect:PORT, scope:signal or best-effort",
                    wish));
  const std::string option = fmt::format("--landlock '{}'", wish);
  const std::string value = wish.substr(colon + 1);
  if (what == "bind") {
    landlock.permit_bind(number<std::uint16_t>(option, value));
  } else if (what == "connect") {
    landlock.permit_connect(number<std::uint16_t>(option, value));
  } else if (what == "scope") {
    landlock.scope |=
        parse(option, fmt::format("security.landlock.scope = {}", value)).security.landlock.scope;
  } else {
    landlock.permit(parse(option, fmt::format("security.landlock.handled = {}", value))
                        .security.landlock.handled,
                    GuestPath(what));
  }
}

/// "memory.high = 64M": a file of the container's cgroup, by the controller that it begins with.
/// Keys of a spec are others.
std::optional<CgroupSetting> cgroup_file(const std::string& line) {
  const std::size_t equals = line.find('=');
  const std::string key = line.substr(0, line.find_first_of(" ="));
  if (equals == std::string::npos) return {};
  const std::string controller = key.substr(0, key.find('.'));
  // "devices" is a part of a spec, too, with keys of its own.
  static constexpr std::string_view all[] = {
      "blkio",  "cgroup", "cpu",     "cpuacct",  "cpuset",     "hugetlb", "io",
      "memory", "misc",   "net_cls", "net_prio", "perf_event", "pids",    "rdma"};
  const bool known =
      key == "devices.allow" || key == "devices.deny" ||
      (controller != key && std::find(std::begin(all), std::end(all), controller) != std::end(all));
  if (!known) return {};
  const std::size_t begin = line.find_first_not_of(' ', equals + 1);
  if (begin == std::string::npos) throw Mistake(fmt::format("--set: {}: a value is missing", key));
  return CgroupSetting{.file = key, .value = line.substr(begin)};
}

/// One value for a file: the last.
void set_file(std::vector<CgroupSetting>& settings, CgroupSetting setting) {
  std::erase_if(settings, [&](const CgroupSetting& s) { return s.file == setting.file; });
  settings.push_back(std::move(setting));
}

/// The text of a spec with one line instead of all lines of that key.
/// Where the files of a container that runs are.
std::string root_of(const std::string& container) {
  auto box = Registry::open(container);
  if (box) return fmt::format("/proc/{}/root", box->pid().value);
  const bool number = container.find_first_not_of("0123456789") == std::string::npos;
  if (!number) throw Mistake(fmt::format("--attach: {}", box.error()));
  return fmt::format("/proc/{}/root", container);
}

/// Whether this user may have a cgroup at all.
bool may_count() {
  const auto facts = probe_host();
  return facts && std::ranges::any_of(facts->cgroups, &CgroupHierarchy::writable);
}

std::string with_line(const std::string& text, const std::string& line) {
  const std::string key = line.substr(0, line.find_first_of(" ="));
  std::string out;
  for (const std::string& old : split(text, '\n'))
    if (!old.empty() && old.substr(0, old.find_first_of(" =")) != key) out += old + "\n";
  return out + line + "\n";
}

}  // namespace

std::optional<Options> read_options(int argc, char** argv, int& status) {
  Options options;
  std::string spec_file, rootfs, name, hostname, workdir, user, net, timeout, memory, cpus, cpuset,
      pids;
  std::string stop_signal, stop_timeout, restart, seccomp, apparmor, selinux;
  std::vector<std::string> landlock, binds, tmpfs, env, userns, shares, cap_add, cap_drop, allow,
      set, command;
  bool ephemeral = false, read_only = false, init = false;

  CLI::App app("Runs a command in a new container.\n", "condroid-run");
  app.formatter(std::make_shared<Help>());
  app.set_version_flag("--version", fmt::format("condroid-run {}", condroid::version));
  app.option_defaults()->group("Files");
  app.add_option("--rootfs", rootfs,
                 "Directory to be the root (default: the host's own, read-only)")
      ->type_name("DIR");
  app.add_flag("--ephemeral", ephemeral, "Changes are kept in memory and forgotten at the end");
  app.add_flag("--read-only", read_only, "Nothing in the root can be changed");
  app.add_option("--bind", binds,
                 "SRC:DST[:OPTIONS], a path of the host; with ro, rw (default), noexec,\nsuid, "
                 "dev, norec, idmap, optional")
      ->type_name("BIND");
  app.add_option("--tmpfs", tmpfs,
                 "DST[:OPTIONS], empty, in memory; with size=64m, mode=1777, inodes=N, ro,\nnoexec")
      ->type_name("TMPFS");

  app.option_defaults()->group("Command");
  app.add_option("--env", env, "NAME=VALUE, or NAME to pass it on; nothing else is")
      ->type_name("ENV");
  app.add_option("--workdir", workdir, "Working directory")->type_name("DIR");
  app.add_option("--user", user,
                 "UID[:GID] or NAME[:GROUP], as the container's /etc/passwd says\n(default: 0:0)")
      ->type_name("USER");
  app.add_flag("--init", init, "A small init is pid 1: it forwards signals and reaps");
  app.add_flag("--tty", options.tty, "The command gets a terminal of its own");
  app.add_option("--timeout", timeout,
                 "Ends it after this time (5, 1.5s, 200ms, 2m); exit status 124")
      ->type_name("TIME");
  app.add_option("--stop-signal", stop_signal,
                 "What asks it to end, at --timeout and at TERM (default: TERM)")
      ->type_name("SIGNAL");
  app.add_option("--stop-timeout", stop_timeout,
                 "So long it has to end when it was asked, then it is killed (default: 10)")
      ->type_name("TIME");
  app.add_option("--restart", restart,
                 "Launches it again: never (default), on-reboot, on-failure, always")
      ->type_name("WHEN");

  app.add_flag("--detach", options.detach,
               "Starts it and leaves it running; prints its name and process");

  app.option_defaults()->group("Running containers");
  app.add_flag("--ps", options.ps, "Lists those of this user, and ends");
  app.add_option(
         "--attach", options.attach,
         "Runs the command in one that runs (default: /bin/sh), with\n--env, --user, --workdir, "
         "--tty and --timeout")
      ->type_name("NAME|PID");
  app.add_option("--stop", options.stop,
                 "Ends one: SIGTERM, after ten seconds SIGKILL; a name, an id or a\nprocess")
      ->type_name("NAME|PID");

  app.option_defaults()->group("Isolation");
  app.add_option("--name", name, "Name (default: condroid)")->type_name("NAME");
  app.add_option("--hostname", hostname, "Host name (default: the name)")->type_name("NAME");
  app.add_option("--userns", userns, "Ids: auto (default), host, or IN:OUT:COUNT, repeatable")
      ->type_name("MAP");
  app.add_option("--net", net, "Network: none (default; loopback only) or host")->type_name("KIND");
  app.add_option("--share", shares,
                 "Namespace that stays the host's: net, pid, ipc, uts, cgroup, mount,\nuser, time")
      ->type_name("NS");
  app.add_option("--cap-add", cap_add, "One more capability, or all")->type_name("CAP");
  app.add_option("--cap-drop", cap_drop, "One capability less, or all")->type_name("CAP");
  app.add_option(
         "--seccomp", seccomp,
         "Filter of system calls: standard (default), none, or a policy file of\nLXC or OCI")
      ->type_name("FILTER");
  app.add_option(
         "--seccomp-learn", options.learn,
         "Writes the policy that the run needed, as LXC has it; --seccomp\nreads it. The run "
         "is slow")
      ->type_name("FILE");
  app.add_option("--landlock", landlock,
                 "Only this may be reached: PATH:RIGHTS (/usr:run, /data:read,write),\n"
                 "bind:PORT, connect:PORT, scope:signal; best-effort where the kernel\nis older")
      ->type_name("RULE");
  app.add_option("--apparmor", apparmor, "Profile of AppArmor that the command is executed under")
      ->type_name("NAME");
  app.add_option("--selinux", selinux, "Context of SELinux that the command is executed in")
      ->type_name("CONTEXT");
  app.add_option("--allow", allow,
                 "A token that opens the container towards the host; a refusal names\nthe one that "
                 "is missing")
      ->type_name("TOKEN");
  app.add_option("--memory", memory, "Most memory (64m, 1g)")->type_name("SIZE");
  app.add_option("--cpus", cpus, "Most processor time, in processors (0.5)")->type_name("N");
  app.add_option("--cpuset", cpuset, "The processors that it may use (0-2,5)")->type_name("LIST");
  app.add_option("--pids", pids, "Most processes")->type_name("N");
  app.add_flag("--stats", options.stats, "Says at the end what was used, on standard error");

  app.option_defaults()->group("Looking closer");
  app.add_option("--spec", spec_file, "Starts from a stored spec; other options change it")
      ->type_name("FILE");
  app.add_option(
         "--set", set,
         "One line of a spec: 'process.umask = 0077', or a value for a file of\nits cgroup: "
         "memory.high=64M")
      ->type_name("KEY=VALUE");
  app.add_flag("--print-spec", options.print_spec, "Prints the spec and ends");
  app.add_flag("--dry-run", options.dry_run, "Prints what would be done, step by step, and ends");
  app.add_option("--stop-before", options.stop_before,
                 "Waits before this step of the dry run, for a debugger")
      ->type_name("OP");
  app.add_option("--trace", options.trace,
                 "Writes how long each step took: a picture (.svg) or a Chrome\ntrace (.json)")
      ->type_name("FILE");
  for (CLI::Option* option : app.get_options())
    if (option->get_items_expected_max() > 1) option->allow_extra_args(false);
  app.prefix_command();

  try {
    app.parse(argc, argv);
    // An empty value is a variable of a script that was not set: no limit, or the host's own root,
    // is not what was meant.
    for (const CLI::Option* option : app.get_options())
      for (const std::string& value : option->results())
        if (value.empty()) throw Mistake(fmt::format("{}: is empty", option->get_name()));
    command = app.remaining();
    if (!command.empty() && command.front() == "--")
      command.erase(command.begin());
    else if (!command.empty() && command.front().starts_with('-'))
      throw Mistake(fmt::format("no option '{}'; --help lists what there is", command.front()));

    if (options.ps || !options.stop.empty()) {
      if (options.ps && !options.stop.empty()) throw Mistake("--ps and --stop do not go together");
      if (!command.empty()) throw Mistake("--ps and --stop run no command");
      return options;
    }
    if (!options.attach.empty()) {
      for (const CLI::Option* option : app.get_options()) {
        static const std::set<std::string> fine = {
            "--attach", "--env", "--user", "--workdir", "--tty", "--timeout", "--landlock"};
        if (option->count() > 0 && !fine.contains(option->get_name()))
          throw Mistake(
              fmt::format("--attach: {} is for a container of its own", option->get_name()));
      }
      if (command.empty()) command = {"/bin/sh"};
    }
    if (options.detach && options.stats)
      throw Mistake("--detach: nobody would be there to say --stats");
    if (options.detach && options.tty)
      throw Mistake("--detach: nobody would be at the terminal of --tty");
    if (options.detach && !options.learn.empty())
      throw Mistake("--detach: nobody would be there to learn for --seccomp-learn");
    if (!options.learn.empty() && !(seccomp.empty() && restart.empty()))
      throw Mistake("--seccomp-learn: goes with neither --seccomp nor --restart");
    if (options.detach && !timeout.empty())
      throw Mistake("--detach: nobody would be there to end it after --timeout");

    Spec& spec = options.spec;
    spec.name = "condroid";
    if (!spec_file.empty()) spec = parse("--spec " + spec_file, file_text("--spec", spec_file));
    if (!rootfs.empty()) spec.root.path = host_path(rootfs);
    if (ephemeral) spec.root.ephemeral = true;
    if (read_only) spec.root.read_only = true;
    for (const auto& b : binds) add_bind(spec, b);
    for (const auto& t : tmpfs) add_tmpfs(spec, t);
    if (!workdir.empty()) spec.process.cwd = GuestPath(workdir);
    if (!user.empty()) {
      const std::string root = !options.attach.empty()  ? root_of(options.attach)
                               : spec.root.path.empty() ? "/"
                                                        : spec.root.path.str();
      auto known = find_user(root, user);
      if (!known) throw Mistake(fmt::format("--user: {}", known.error()));
      spec.process.uid = known->uid;
      spec.process.gid = known->gid;
      spec.process.groups = known->groups;
    }
    if (init) spec.process.init = true;
    if (!timeout.empty()) options.timeout = duration("--timeout", timeout);
    if (!stop_signal.empty()) {
      const bool word = stop_signal.front() >= 'A' && !stop_signal.starts_with("SIG");
      spec.lifecycle.stop_signal =
          parse("--stop-signal",
                fmt::format("lifecycle.stop_signal = {}{}", word ? "SIG" : "", stop_signal))
              .lifecycle.stop_signal;
    }
    if (!stop_timeout.empty())
      spec.lifecycle.stop_timeout = duration("--stop-timeout", stop_timeout);
    options.polite = !stop_signal.empty() || !stop_timeout.empty();
    if (!restart.empty()) {
      std::ranges::replace(restart, '-', '_');
      spec.lifecycle.restart =
          parse("--restart", "lifecycle.restart = " + restart + "\n").lifecycle.restart;
    }
    if (!name.empty()) spec.name = name;
    if (!hostname.empty()) spec.hostname = hostname;
    map_ids(spec, userns);
    if (net == "host")
      share(spec, "net");
    else if (net == "none")
      own_network(spec);
    else if (!net.empty())
      throw Mistake(fmt::format("--net: '{}' is neither none nor host", net));
    for (const auto& s : shares) share(spec, s);
    if (!cap_add.empty() || !cap_drop.empty())
      change_capabilities(spec.security, cap_add, cap_drop);
    if (!seccomp.empty()) filter_calls(spec.security, seccomp);
    if (!options.learn.empty()) spec.security.seccomp = learning_filter();
    for (const auto& rule : landlock) restrict_reach(spec.security.landlock, rule);
    if (!apparmor.empty()) spec.security.apparmor = apparmor;
    if (!selinux.empty()) spec.security.selinux = selinux;
    if (!memory.empty()) spec.resources.memory_max = size("--memory", memory);
    if (!pids.empty()) spec.resources.pids_max = number<std::uint64_t>("--pids", pids);
    if (!cpus.empty()) spec.resources.cpus = number<double>("--cpus", cpus);
    if (!cpuset.empty()) spec.resources.cpuset_cpus = cpuset;
    // What nothing counts is not said; without --stats a cgroup costs, and is made when it is
    // needed.
    if (options.stats && spec.resources.cgroup == CgroupMode::automatic && may_count())
      spec.resources.cgroup = CgroupMode::everywhere;
    if (!command.empty()) spec.process.argv = command;
    add_environment(spec, env, options.attach.empty());
    if (options.detach) {
      // Whoever reads our output waits for its end, which would be the container's.
      for (Stream* stream :
           {&spec.process.stdio.in, &spec.process.stdio.out, &spec.process.stdio.err})
        if (stream->kind == Stream::inherit) *stream = Stream::null;
    }
    if (options.tty) {
      spec.terminal.console = true;
      if (const char* term = std::getenv("TERM"); term != nullptr && term[0] != 0)
        spec.process.env.push_back(std::string("TERM=") + term);
    }
    for (const auto& a : allow)
      spec.security.allow |= parse("--allow", "security.allow = " + a + "\n").security.allow;
    for (const auto& line : set) {
      if (auto file = cgroup_file(line)) {
        set_file(spec.resources.settings, std::move(*file));
        continue;
      }
      (void)parse("--set", line);  // alone, so that a mistake in it is in line 1
      spec = parse("--set", with_line(print_spec(spec), line));
    }
    if (command.empty() && spec_file.empty() && set.empty())
      throw Mistake("no command: give one after the options, as in 'condroid-run -- /bin/sh'");
    if (!options.trace.empty() && !options.trace.ends_with(".json") &&
        !options.trace.ends_with(".svg"))
      throw Mistake(fmt::format("--trace: '{}' ends neither in .json nor in .svg", options.trace));
  } catch (const CLI::Success& wish) {  // --help, --version
    app.exit(wish);
    status = 0;
    return {};
  } catch (const CLI::ArgumentMismatch& mistake) {
    const std::string_view what = mistake.what();
    const bool twice = what.find("At Most 1") != what.npos;
    fmt::print(stderr, "condroid-run: {}\n",
               twice ? fmt::format("{} is given twice", what.substr(0, what.find(':'))) : what);
    status = failed;
    return {};
  } catch (const CLI::ParseError& mistake) {
    fmt::print(stderr, "condroid-run: {}\n", mistake.what());
    status = failed;
    return {};
  } catch (const Mistake& mistake) {
    fmt::print(stderr, "condroid-run: {}\n", mistake.what());
    status = failed;
    return {};
  }
  return options;
}
