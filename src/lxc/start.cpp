#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "condroid/control/client.hpp"
#include "condroid/lxc.hpp"
#include "formatted.hpp"
#include "lxc/hooks.hpp"
#include "lxc/proxy.hpp"

namespace condroid::inline v0::lxc {

namespace {

/// A Spec's name is for messages, cgroups and files: shorter than LXC's, and of fewer letters.
std::string spec_name(const std::string& name) {
  constexpr std::size_t most = 64;
  std::string text = name.substr(0, most);
  constexpr std::string_view letters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
  for (char& c : text)
    if (letters.find(c) == letters.npos) c = '_';
  if (text.empty() || text[0] == '.' || text[0] == '-') text.insert(0, "_");
  text.resize(std::min(text.size(), most));
  return text;
}

/// What a start and its socket tell each other.
struct Shared {
  Signal stop_signal = {};  ///< Known once the configuration is translated.
  bool given_up = false;
  std::optional<Proxy> proxy = {};  ///< Where lxc.seccomp.notify.proxy names one.
};

/// Who the tools speak to. What they ask of the configuration is answered from the one that runs.
control::CommandOwner owner_of(const Configuration& config, const StartOptions& options,
                               const std::shared_ptr<Shared>& shared) {
  control::CommandOwner owner;
  owner.lxcpath = options.lxcpath.str();
  owner.name = options.name;
  owner.monitor_run_dir = options.monitor_run_dir;
  owner.on_state = options.on_state;
  owner.config_item = [kept = std::make_shared<const Configuration>(config)](
                          std::string_view key) -> std::optional<std::string> {
    auto value = kept->get(key);
    return value ? std::move(*value) : std::nullopt;
  };
  owner.stop = [shared](Container& box) -> Result<void> {
    constexpr int sigkill = 9;
    return shared->stop_signal.value == sigkill ? box.kill() : box.signal(shared->stop_signal);
  };
  owner.give_up = [shared] { shared->given_up = true; };
  owner.seccomp_listener = [shared](Container&, Fd listener) -> Result<void> {
    if (!shared->proxy) return fail(EINVAL, Step::answer_syscall, "no lxc.seccomp.notify.proxy");
    return shared->proxy->add(std::move(listener));
  };
  return owner;
}

Result<void> fill(Spec& spec, const Program& program, const StartOptions& options) {
  if (!options.command.empty())
    spec.process.argv = options.command;
  else if (options.execute)
    spec.process.argv = program.execute;
  if (spec.process.argv.empty())
    return fail(Errc::bad_spec, Step::compile, "no command",
                "name one, or set lxc.execute.cmd in the configuration");
  if (!options.console_log.empty()) {
    spec.terminal.log = options.console_log;
    spec.terminal.log_size = program.console_log_size;
    spec.terminal.log_rotate = program.console_rotate && program.console_log_size.value != 0;
  }
  // Who looks at the console, this program or lxc-console, sees what is kept of it.
  constexpr Bytes seen{64U << 10U};
  if (spec.terminal.console && spec.terminal.ring.value < seen.value) spec.terminal.ring = seen;
  if (options.execute) {
    spec.process.init = true;
    spec.process.stdio = options.background ? Stdio::null : Stdio::inherit;
    spec.terminal.console = false;
    spec.terminal.log = {};
    spec.terminal.log_size = {};
    spec.terminal.log_rotate = false;
    spec.lifecycle.restart = Restart::never;
  } else if (!spec.terminal.console && options.background) {
    spec.process.stdio = Stdio::null;
  }
  return options.adjust ? options.adjust(spec) : Result<void>{};
}

bool asks(const Seccomp& filter) {
  return filter.kind == Seccomp::rules &&
         std::ranges::any_of(filter.list, [](const SyscallRule& rule) {
           return rule.action == SyscallAction::notify;
         });
}

/// A hook may take its time: whoever asks meanwhile is answered.
Result<Container> launched(Launch launch, control::CommandSocket& socket, const Shared& shared) {
  bool cancelled = false;
  for (;;) {
    if (shared.given_up && !std::exchange(cancelled, true)) launch.cancel();
    auto done = launch.step();
    if (!done) return fail(done);
    if (*done) {
      // It came too late to be given up.
      if (shared.given_up)
        if (auto ok = (*done)->kill(); !ok) return fail(ok);
      return std::move(**done);
    }
    const auto [fd, events] = launch.interest();
    if (launch.stopped() && !fd.valid())
      return fail(Errc::stopped, Step::clone,
                  "stopped before an op of the host; nobody can go on from there here");
    pollfd wait[] = {{fd.get(), events, 0}, {socket.poll_fd().get(), POLLIN, 0}};
    if (::poll(wait, std::size(wait), launch.timeout()) < 0) {
      if (errno != EINTR) return fail(errno, Step::wait, "poll");
      continue;
    }
    if (wait[1].revents != 0) socket.step();
  }
}

/// As LXC does for users without rights: a program that has them makes the veth. It does nothing
/// else, so that of one with more the Spec stays as it is, and is refused.
void use_user_nic(Spec& spec) {
  for (Interface& i : spec.network.interfaces) {
    const auto* veth = std::get_if<Veth>(&i.link);
    if (veth == nullptr || veth->bridge.empty()) continue;
    // The name of the host's end is that program's.
    if (*veth == Veth{.bridge = veth->bridge, .host_name = veth->host_name})
      i.link = UserNic{.bridge = veth->bridge};
  }
}

/// Containers whose namespaces are shared become their first processes. Nothing where there are
/// none.
Result<std::optional<Configuration>> with_processes(const Configuration& config,
                                                    const StartOptions& options) {
  std::optional<Configuration> out;
  for (const char* kind : {"user", "mnt", "pid", "uts", "ipc", "net", "cgroup", "time"}) {
    const std::string key = formatted("lxc.namespace.share.{}", kind);
    const auto said = config.get(key);
    if (!said || !*said) continue;
    const std::string& who = **said;
    if (who.starts_with('/') || who.find_first_not_of("0123456789") == who.npos) continue;
    if (who == options.name)
      return fail(Errc::bad_spec, Step::join_namespace, formatted("{}: '{}' is itself", key, who),
                  "name another container");
    const auto pid = control::Client(options.lxcpath.str(), who).init_pid();
    if (!pid && (pid.error().is_errno(ECONNREFUSED) || pid.error().is_errno(ESRCH)))
      return fail(ESRCH, Step::join_namespace, formatted("{}: '{}' does not run", key, who));
    if (!pid) return fail(pid.error());
    if (!out) out = config;
    if (auto ok = out->apply(formatted("{}={}", key, pid->value)); !ok) return fail(ok);
  }
  return out;
}

/// As LXC: who may make no cgroups goes without.
void do_without_cgroups(Translated& made, const HostFacts& facts) {
  const auto ours = [](const CgroupHierarchy& h) { return h.writable; };
  if (std::ranges::any_of(facts.cgroups, ours)) return;
  made.spec.resources.cgroup = CgroupMode::automatic;
  made.spec.resources.cgroup_path.clear();
  made.spec.resources.cgroup_inner.clear();
  made.spec.lifecycle.freezable = false;
  made.notes.push_back({.kind = Diagnostic::unsupported,
                        .what =
                            "cgroups: this user may make none, so it cannot be frozen, and nothing "
                            "of it is counted"});
}

/// The names that LXC gives, where they can be had, with -1, -2 and so on behind one that is there.
/// One that the configuration names as a whole must not be there.
void place_cgroups(Spec& spec, const Program& program, const std::string& name,
                   const HostFacts& facts) {
  Resources& r = spec.resources;
  if (r.cgroup != CgroupMode::everywhere || !program.cgroup_container.empty()) return;
  // Nobody else has the library's own names, however many are started at once.
  if (program.cgroup_dir.empty() && program.cgroup_inner.empty()) return;
  std::string path = formatted("lxc.payload.{}", name);
  if (!program.cgroup_dir.empty()) path.insert(0, program.cgroup_dir + "/");
  constexpr std::size_t longest = 96;  // with a number behind it, of what a Spec takes
  const bool odd =
      std::ranges::any_of(path, [](char c) { return static_cast<unsigned char>(c) < ' '; });
  if (path.size() > longest || odd) {
    // As long as nobody says where it is to be, it has a name of the library's.
    if (!program.cgroup_dir.empty()) r.cgroup_path = path;
    return;
  }
  const auto there = [&](const std::string& at) {
    return std::ranges::any_of(facts.cgroups, [&](const CgroupHierarchy& h) {
      return ::access(formatted("{}{}/{}", h.mount_point, h.parent, at).c_str(), F_OK) == 0;
    });
  };
  constexpr int most = 999;
  r.cgroup_path = path;
  for (int i = 1; i <= most && there(r.cgroup_path); ++i)
    r.cgroup_path = formatted("{}-{}", path, i);
}

/// The layers of an overlay that is to be written to. What is wrong with them the launch says.
void make_layers(const Root& root) {
  constexpr unsigned mode = 0755;
  for (const HostPath* layer : {&root.upper, &root.work}) {
    const std::string& path = layer->str();
    if (!layer->is_absolute()) continue;
    for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
      (void)::mkdir(path.substr(0, end).c_str(), mode);
      if (end == path.npos) break;
    }
  }
}

}  // namespace

Result<Started> start(const Runtime& runtime, const Configuration& config, StartOptions options) {
  if (options.lxcpath.empty()) options.lxcpath = system_path();
  auto resolved = with_processes(config, options);
  if (!resolved) return fail(resolved);
  const auto shared = std::make_shared<Shared>();
  auto socket = control::CommandSocket::open(owner_of(config, options, shared));
  if (!socket) return fail(socket);
  const auto facts = runtime.facts();
  if (!facts) return fail(facts.error());
  lxc::Translation how{.name = spec_name(options.name), .lxcpath = options.lxcpath};
  // With ids of its own it has all; else no more than this program.
  const auto idmap = config.get("lxc.idmap");
  if (!idmap || !*idmap) how.capabilities = CapabilitySet::from_bits(facts->get().effective_caps);
  auto made = (*resolved ? **resolved : config).to_spec(how);
  if (!made) return fail(made);
  if (!facts->get().has_cap(static_cast<unsigned>(Capability::net_admin))) use_user_nic(made->spec);
  do_without_cgroups(*made, facts->get());
  place_cgroups(made->spec, made->program, options.name, facts->get());
  shared->stop_signal = made->spec.lifecycle.stop_signal;
  auto hooks = named_hooks_for(config, made->program, options);
  if (!hooks) return fail(hooks);
  made->spec.hooks = hooks->first;
  const auto names = std::make_shared<HookNames>(std::move(hooks->first), std::move(hooks->second));
  if (auto ok = fill(made->spec, made->program, options); !ok) return fail(ok);
  make_layers(made->spec.root);
  if (!made->program.seccomp_proxy.empty() && asks(made->spec.security.seccomp)) {
    auto proxy = Proxy::open(made->program.seccomp_proxy, made->program.seccomp_cookie,
                             options.on_proxy_error);
    if (!proxy) return fail(proxy);
    shared->proxy.emplace(std::move(*proxy));
  }
  options.launch.on_hook = [names, tell = options.launch.on_hook](HookReport report) {
    names->rename(report);
    if (tell) tell(report);
  };
  auto launch = runtime.start(made->spec, std::move(options.launch));
  if (!launch) return fail(launch);
  auto box = launched(std::move(*launch), *socket, *shared);
  if (!box) {
    names->rename(box.error());
    return fail(box);
  }
  if (auto ok = socket->serve(*box); !ok) return fail(ok);
  if (shared->proxy)
    if (auto ok = box->attend(shared->proxy->poll_fd(),
                              [shared](Container& one) { return shared->proxy->look(one); });
        !ok)
      return fail(ok);
  return Started{.socket = std::move(*socket),
                 .container = std::move(*box),
                 .program = std::move(made->program),
                 .notes = std::move(made->notes)};
}

}  // namespace condroid::inline v0::lxc
