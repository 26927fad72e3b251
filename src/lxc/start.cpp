#include <algorithm>
#include <memory>
#include <utility>

#include "condroid/lxc.hpp"
#include "formatted.hpp"

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

/// Who the tools speak to. What they ask of the configuration is answered from the one that runs.
/// `stop_signal` is known once that is translated.
control::CommandOwner owner_of(const Configuration& config, const StartOptions& options,
                               std::shared_ptr<const Signal> stop_signal) {
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
  owner.stop = [stop_signal = std::move(stop_signal)](Container& box) -> Result<void> {
    constexpr int sigkill = 9;
    return stop_signal->value == sigkill ? box.kill() : box.signal(*stop_signal);
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
  if (!options.console_log.empty()) spec.terminal.log = options.console_log;
  // Who looks at the console, this program or lxc-console, sees what is kept of it.
  constexpr Bytes seen{64U << 10U};
  if (spec.terminal.console && spec.terminal.ring.value < seen.value) spec.terminal.ring = seen;
  if (options.execute) {
    spec.process.init = true;
    spec.process.stdio = options.background ? Stdio::null : Stdio::inherit;
    spec.terminal.console = false;
    spec.lifecycle.restart = Restart::never;
  } else if (!spec.terminal.console && options.background) {
    spec.process.stdio = Stdio::null;
  }
  return options.adjust ? options.adjust(spec) : Result<void>{};
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

}  // namespace

Result<Started> start(const Runtime& runtime, const Configuration& config, StartOptions options) {
  if (options.lxcpath.empty()) options.lxcpath = system_path();
  const auto stop_signal = std::make_shared<Signal>();
  auto socket = control::CommandSocket::open(owner_of(config, options, stop_signal));
  if (!socket) return fail(socket);
  const auto facts = runtime.facts();
  if (!facts) return fail(facts.error());
  lxc::Translation how{.name = spec_name(options.name), .lxcpath = options.lxcpath};
  // With ids of its own it has all; else no more than this program.
  const auto idmap = config.get("lxc.idmap");
  if (!idmap || !*idmap) how.capabilities = CapabilitySet::from_bits(facts->get().effective_caps);
  auto made = config.to_spec(how);
  if (!made) return fail(made);
  if (!facts->get().has_cap(static_cast<unsigned>(Capability::net_admin))) use_user_nic(made->spec);
  *stop_signal = made->spec.lifecycle.stop_signal;
  auto hooks = hooks_for(config, made->program, options);
  if (!hooks) return fail(hooks);
  made->spec.hooks = std::move(*hooks);
  if (auto ok = fill(made->spec, made->program, options); !ok) return fail(ok);
  auto box = runtime.launch(made->spec, std::move(options.launch));
  if (!box) return fail(box);
  if (auto ok = socket->serve(*box); !ok) return fail(ok);
  return Started{.socket = std::move(*socket),
                 .container = std::move(*box),
                 .program = std::move(made->program),
                 .notes = std::move(made->notes)};
}

}  // namespace condroid::inline v0::lxc
