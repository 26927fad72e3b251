#include "options.hpp"

#include <CLI/CLI.hpp>
#include <condroid/learn.hpp>
#include <condroid/version.hpp>
#include <memory>
#include <set>
#include <vector>

#include "users.hpp"
#include "wishes.hpp"

using namespace condroid;
using namespace wishes;

namespace {

struct Help : CLI::Formatter {
  Help() { column_width(28); }
  std::string make_usage(const CLI::App* /*app*/, std::string /*name*/) const override {
    return "Usage: condroid-run [OPTIONS] [--] COMMAND [ARG...]\n";
  }
};

}  // namespace

std::optional<Options> read_options(int argc, char** argv, int& status) {
  Options options;
  std::string spec_file, rootfs, name, hostname, workdir, user, timeout, memory, cpus, cpuset, pids;
  std::string stop_signal, stop_timeout, restart, seccomp, apparmor, selinux;
  std::vector<std::string> landlock, binds, tmpfs, env, userns, shares, cap_add, cap_drop, allow,
      set, command;
  NetworkWishes network;
  bool ephemeral = false, read_only = false, init = false;

  CLI::App app("Runs a command in a new container.\n", "condroid-run");
  app.formatter(std::make_shared<Help>());
  app.set_version_flag("--version", fmt::format("condroid-run {}", condroid::version));
  app.option_defaults()->group("Files");
  app.add_option("--rootfs", rootfs,
                 "Directory, image or block device to be the root (default: the host's\n"
                 "own, read-only)")
      ->type_name("PATH");
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
  app.add_option(
         "--net", network.net,
         "Network: none (default; loopback only), host, bridge[:NAME] (with NAT,\nmade for it), "
         "pasta or user-nic:BRIDGE (need no rights), veth:BRIDGE,\nveth, macvlan:DEV, ipvlan:DEV, "
         "vlan:DEV:ID, phys:DEV, or one that\nis there: ns:PATH, container:NAME")
      ->type_name("KIND");
  app.add_option("--ip", network.ip, "Address of its interface, repeatable")->type_name("ADDR/LEN");
  app.add_option("--gateway", network.gateway,
                 "By which it reaches all else, one of each kind; or auto: the bridge")
      ->type_name("ADDR");
  app.add_option("--host-ip", network.host_ip, "Address of the host's end of --net veth")
      ->type_name("ADDR/LEN");
  app.add_option("--publish", network.publish,
                 "Port of the host that leads into it, with --net bridge or pasta;\nrepeatable")
      ->type_name("[IP:]PORT:PORT[/udp]");
  app.add_option("--dns", network.dns, "Name server in its /etc/resolv.conf, repeatable")
      ->type_name("ADDR");
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
    if (!rootfs.empty()) set_root(spec, rootfs);
    if (ephemeral) spec.root.ephemeral = true;
    if (read_only) spec.root.read_only = true;
    for (const auto& b : binds) add_bind(spec, b);
    for (const auto& t : tmpfs) add_tmpfs(spec, t);
    if (!workdir.empty()) spec.process.cwd = GuestPath(workdir);
    if (!user.empty()) {
      const std::string root = !options.attach.empty()         ? root_of(options.attach)
                               : !spec.root.image.path.empty() ? spec.root.image.path.str()
                               : spec.root.path.empty()        ? "/"
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
    set_network(spec, network);
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
