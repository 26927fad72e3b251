#include "start.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <condroid/lxc.hpp>
#include <condroid/runtime.hpp>
#include <cstdlib>
#include <utility>

#include "daemon.hpp"
#include "destroy.hpp"
#include "keep.hpp"
#include "say.hpp"

using namespace condroid;

namespace {

constexpr const char* kinds[] = {"net", "ipc", "uts", "pid", "mnt", "user", "cgroup", "time"};

class PidFile {
 public:
  [[nodiscard]] Result<void> write(const std::string& path) {
    if (path.empty()) return {};
    constexpr unsigned mode = 0600;
    const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, mode));
    const std::string text = std::to_string(::getpid());
    if (!file.valid() ||
        ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      return fail(errno, Step::none, fmt::format("pid file '{}'", path));
    path_ = path;
    return {};
  }
  PidFile() = default;
  PidFile(const PidFile&) = delete;
  PidFile& operator=(const PidFile&) = delete;
  ~PidFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }

 private:
  std::string path_;
};

/// lxc.monitor.unshare: what is mounted by this process and its hooks is seen by nobody else, while
/// what others mount is seen here.
Result<void> unshare_mounts(const lxc::Configuration& config) {
  const auto said = config.get("lxc.monitor.unshare");
  if (!said || std::strtoul(said->value_or("").c_str(), nullptr, 0) == 0) return {};
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) != 0)
    return fail(errno, Step::none, "lxc.monitor.unshare: a mount namespace of its own");
  return {};
}

/// `runs`: nobody is told of a failure otherwise.
void tell_hook(const HookReport& report, bool runs) {
  if (!report.success) note(runs ? lxc::LogLevel::warn : lxc::LogLevel::info, "{}", report.error);
  std::string_view output = report.output;
  while (!output.empty() && output.back() == '\n') output.remove_suffix(1);
  note(lxc::LogLevel::debug, "{}{}{}", report.program, output.empty() ? "" : ": ", output);
}

lxc::StartOptions options_of(const Place& place, const StartWish& wish, const Peer& peer,
                             PidFile& pidfile, const bool& runs) {
  lxc::StartOptions options{.name = place.name(),
                            .lxcpath = HostPath(place.lxcpath()),
                            .config_file = HostPath(place.config_file()),
                            .command = wish.command,
                            .execute = wish.execute,
                            .background = wish.daemon,
                            .console_log = HostPath(wish.console_log),
                            .log_level = log_level(),
                            .monitor_run_dir = HostPath(run_directory())};
  options.adjust = [size = peer.size(), &wish, &pidfile](Spec& spec) -> Result<void> {
    if (size) {
      spec.terminal.rows = size->rows;
      spec.terminal.columns = size->columns;
    }
    pass_listening(spec);
    // Not before the name is this start's: the file may be that of who has it.
    return pidfile.write(wish.pidfile);
  };
  options.launch.on_hook = [&runs](const HookReport& report) { tell_hook(report, runs); };
  options.on_proxy_error = [](const Error& error) { note(lxc::LogLevel::warn, "{}", error); };
  return options;
}

void tell_notes(const std::vector<lxc::Diagnostic>& notes) {
  for (const lxc::Diagnostic& n : notes)
    note(n.kind == lxc::Diagnostic::note ? lxc::LogLevel::info : lxc::LogLevel::warn, "{}",
         lxc::to_string(n));
}

/// The address is the container's, or somebody else has it: anybody can.
int in_use(const Place& place) {
  const auto state = place.state();
  if (state && *state == control::State::stopped)
    say("another program works on '{}', or has its name", place.name());
  else if (state || state.error().is_errno(EPERM))
    say("'{}' is running already{}", place.name(), state ? "" : ", started by another user");
  else if (state.error().is_errno(EACCES))
    say("the name '{}' is in use by another user", place.name());
  else
    say("the name '{}' is in use: {}", place.name(), state.error());
  return 1;
}

int failed(const Error& error, const Place& place, const lxc::Configuration& config) {
  if (error.step == Step::command_socket && error.is_errno(EADDRINUSE)) return in_use(place);
  say("the container failed to start");
  say_error(error);
  // Not before something was tried, and not where the name is somebody else's.
  const bool tried = error.step != Step::command_socket && error.step != Step::compile &&
                     error.step != Step::parse;
  const auto ephemeral = config.get("lxc.ephemeral");
  if (tried && ephemeral && *ephemeral == "1" && place.defined())
    (void)destroy_container(place, config);
  return 1;
}

/// lxc.cgroup.pattern of LXC's own settings holds where the container names no place.
bool follow_pattern(const std::string& name, lxc::Configuration& config) {
  const auto system = system_configuration();
  if (!system) return false;
  std::string place = system->cgroup_pattern;
  place.erase(0, place.find_first_not_of('/'));
  for (const char* key : {"lxc.cgroup.dir", "lxc.cgroup.dir.container", "lxc.cgroup.dir.monitor"})
    if (const auto said = config.get(key); said && *said) place.clear();
  if (place.empty()) return true;
  for (std::size_t at = 0; (at = place.find("%n", at)) != place.npos; at += name.size())
    place.replace(at, 2, name);
  for (const auto& [whose, below] : {std::pair{"monitor", "monitor"}, {"container", "payload"}})
    if (const auto ok = config.apply(fmt::format("lxc.cgroup.dir.{}={}/{}", whose, place, below));
        !ok) {
      say("lxc.cgroup.pattern = {}", system->cgroup_pattern);
      say_error(ok.error());
      return false;
    }
  return true;
}

}  // namespace

bool adapt(const Arguments& args, const Place& place, lxc::Configuration& config) {
  if (!apply_definitions(args, config) || !follow_pattern(place.name(), config)) return false;
  if (const std::string console = args.value("console"); !console.empty()) {
    const auto ok = config.apply(
        fmt::format("lxc.console.path={}", console == "none" ? console : whole_path(console)));
    if (!ok) {
      say_error(ok.error());
      return false;
    }
  }
  for (const char* kind : kinds) {
    const std::string key = fmt::format("lxc.namespace.share.{}", kind);
    const std::string who = args.value(fmt::format("share-{}", kind));
    if (who.empty()) continue;
    if (const auto ok = config.apply(fmt::format("{}={}", key, who)); !ok) {
      say_error(ok.error());
      return false;
    }
  }
  for (const char* id : {"uid", "gid"}) {
    if (!args.has(id)) continue;
    if (const auto ok = config.apply(fmt::format("lxc.init.{}={}", id, args.value(id))); !ok) {
      say_error(ok.error());
      return false;
    }
  }
  return true;
}

int start_container(const Place& place, const lxc::Configuration& config, const StartWish& wish) {
  log_as(config);
  std::string console = "none";
  if (!wish.execute) {
    const auto said = config.get("lxc.console.path");
    console = said ? said->value_or("") : "";
  }
  auto peer = Peer::open(console, !wish.daemon);
  if (!peer) return 1;
  std::optional<Background> background;
  if (wish.daemon) {
    std::optional<int> status;
    background = Background::enter(status, peer->descriptor());
    if (status) return *status;
  } else if (wish.close_all) {
    close_inherited({log_descriptor(), peer->descriptor()});
  }
  if (const auto ok = unshare_mounts(config); !ok) return failed(ok.error(), place, config);
  PidFile pidfile;
  // LXC's containers are below the cgroup of the machine's first process, unless this says
  // otherwise.
  const auto here = config.get("lxc.cgroup.relative");
  const auto runtime = Runtime::open({.cgroup_parent = here && *here == "1" ? "." : ""});
  if (!runtime) {
    say("the container failed to start");
    return say_error(runtime.error());
  }
  bool runs = false;
  auto started = lxc::start(*runtime, config, options_of(place, wish, *peer, pidfile, runs));
  if (!started) return failed(started.error(), place, config);
  runs = true;
  // Not before: a start that does not come to its end can be interrupted.
  const Fd signals = forwarded_signals();
  tell_notes(started->notes);
  if (background) {
    background->running();
    set_title(fmt::format("[lxc monitor] {} {}", place.lxcpath(), place.name()));
  }
  const auto exit = Keeper(*started, *peer, signals).run();
  if (!exit) return say_error(exit.error());
  note(lxc::LogLevel::info, "{}", to_string(*exit));
  for (const std::string& left : exit->cleanup_errors)
    if (!left.starts_with(to_string(Step::run_hook)))  // which was told, by its name
      note(lxc::LogLevel::warn, "{}", left);
  if (!exit->not_restarted.empty())
    note(lxc::LogLevel::warn, "it is not started again: {}", exit->not_restarted);
  if (started->program.ephemeral && place.defined()) (void)destroy_container(place, config);
  return wish.execute ? exit->shell_status() : 0;
}
