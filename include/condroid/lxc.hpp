// A container of LXC's, started in this program: its configuration becomes a Spec, its hooks are
// run as LXC runs them, and LXC's tools can talk to it.
//
//   auto config = lxc::Configuration::load("/var/lib/lxc/web/config"_host);
//   if (!config) return fail(config);
//   auto web = lxc::start(runtime, *config, {.name = "web"});
//   if (!web) return fail(web);              // EADDRINUSE: it runs already
//   auto exit = web->container.wait();       // lxc-info, lxc-attach, lxc-stop work meanwhile
//
// docs/lxc-programs.md has what the programs lxc-* make of it.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "condroid/config/lxc.hpp"
#include "condroid/container.hpp"
#include "condroid/control/command_socket.hpp"
#include "condroid/error.hpp"
#include "condroid/launch.hpp"
#include "condroid/path.hpp"
#include "condroid/runtime.hpp"
#include "condroid/spec.hpp"

namespace condroid {
inline namespace v0 {
namespace lxc {

/// What a configuration does not say. Plain data.
struct StartOptions {
  std::string name = "container";  ///< 1 to 255 bytes, without '/'.
  HostPath lxcpath = {};           ///< As the tools are told it. Empty: system_path().
  HostPath config_file = {};       ///< What hooks are told as LXC_CONFIG_FILE; empty: nothing.
  /// In the place of lxc.init.cmd; empty: that, or /sbin/init.
  std::vector<std::string> command = {};
  /// As lxc-execute: the command is no init but is run by a small one, has this program's own
  /// standard streams, and where there is none lxc.execute.cmd is run.
  bool execute = false;
  /// Where there is no console the standard streams are /dev/null, not this program's; and hooks
  /// are run in /, not in this program's working directory, as all but those at `start` are else.
  bool background = false;
  HostPath console_log = {};  ///< Output of the console is appended; empty: lxc.console.logfile.
  /// What hooks are told as LXC_LOG_LEVEL where there is no lxc.log.level. Empty: "ERROR".
  std::string log_level = {};
  /// Where states are told for lxc-monitor: RUN/lxc/LXCPATH/monitor-fifo. Empty: nowhere.
  HostPath monitor_run_dir = HostPath("/run");
  /// Each hook is killed then. LXC waits for ever.
  std::chrono::nanoseconds hook_timeout{std::chrono::minutes{1}};
  /// May change what will be launched. An error of it is that of the start.
  std::function<Result<void>(Spec&)> adjust = {};
  /// Told of each state, as CommandOwner::on_state.
  std::function<void(control::State)> on_state = {};
  /// Told why a call was not answered by the program that lxc.seccomp.notify.proxy names, which
  /// then failed with ENOSYS.
  std::function<void(const Error&)> on_proxy_error = {};
  /// The deadline counts for the hooks before the command, too: 0 is none, as with LXC.
  LaunchOptions launch = {.deadline = std::chrono::milliseconds{0}};
};

/// A container that runs. Move-only; on one thread, as its parts. Its destruction kills it, then
/// who waits for it is told.
struct Started {
  /// Before the container, which is destroyed first and needs it until then.
  control::CommandSocket socket;
  Container container;
  Program program = {};  ///< What its configuration says to who keeps it.
  /// What of the configuration was left aside, as Translated::notes.
  std::vector<Diagnostic> notes = {};
};

/// The hooks of a configuration as a Spec has them: by /bin/sh, with the arguments of version 0 or
/// the environment of version 1, and with this program's environment beside LXC's. Part of start().
/// @errors Errc::bad_spec for a name of a hook that there is not.
[[nodiscard]] Result<Hooks> hooks_for(const Configuration& config, const Program& program,
                                      const StartOptions& options);

/// Opens the command socket, asks the containers that lxc.namespace.share.* names for their first
/// processes, translates, launches, and has the container answer LXC's tools. Blocks
/// until the command was executed; who asks meanwhile is told STARTING, and `lxc-stop -k` has it
/// given up. What its filter asks about is forwarded to the program of lxc.seccomp.notify.proxy;
/// without one Container::take_listener() is the caller's. lxc.ephemeral, lxc.start.*, lxc.log.*,
/// lxc.console.path and lxc.monitor.unshare are the caller's to heed.
/// @errors EADDRINUSE, Step::command_socket: it runs already, or is being started; ESRCH,
/// Step::join_namespace: a container whose namespace is shared does not run; those of
/// Configuration::to_spec, compile() and a launch; Errc::cancelled: it was given up. Who waits for
/// it is told: ABORTING. Step::answer_syscall: nobody listens at lxc.seccomp.notify.proxy.
[[nodiscard]] Result<Started> start(const Runtime& runtime, const Configuration& config,
                                    StartOptions options);

}  // namespace lxc
}  // namespace v0
}  // namespace condroid
