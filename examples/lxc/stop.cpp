// lxc-stop: asks a container to end, or kills it; or has it restart.
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>

#include "place.hpp"
#include "say.hpp"
#include "tools.hpp"

using namespace condroid;
using control::State;

namespace {

constexpr Option options[] = {
    {'r', "reboot", "", "Have it restart"},
    {'W', "nowait", "", "Return as soon as it is asked"},
    {'t', "timeout", "SECONDS", "After so long it is killed (60); -1: never"},
    {'k', "kill", "", "Kill it at once"},
    {0, "nolock", "", "For LXC's sake: nothing is locked"},
    {0, "nokill", "", "Never kill it"},
};

/// What the container's configuration says, else what its init expects: systemd blocks the signal
/// that it is to be halted by.
int halt_signal(const std::optional<lxc::Configuration>& config, Pid pid) {
  if (config)
    if (const auto made = config->to_spec(); made && made->program.halt_signal)
      return made->program.halt_signal->value;
  const int systemd = SIGRTMIN + 3;
  std::ifstream status(fmt::format("/proc/{}/status", pid.value));
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("SigBlk:")) continue;
    const auto mask = std::strtoull(line.c_str() + sizeof "SigBlk:", nullptr, 16);
    return ((mask >> (static_cast<unsigned>(systemd) - 1)) & 1U) != 0 ? systemd : SIGPWR;
  }
  return SIGPWR;
}

int reboot_signal(const std::optional<lxc::Configuration>& config) {
  const auto made = config ? config->to_spec() : Result<lxc::Translated>(lxc::Translated{});
  return made ? made->spec.lifecycle.reboot_signal.value : SIGINT;
}

Result<void> send(const control::Client& client, int signal) {
  const auto pidfd = client.init_pidfd();
  if (pidfd) {
    if (::syscall(SYS_pidfd_send_signal, pidfd->get(), signal, nullptr, 0U) == 0) return {};
    return fail(errno, Step::command_socket, fmt::format("signal {} to its first process", signal));
  }
  const auto pid = client.init_pid();
  if (!pid) return fail(pid.error());
  if (::kill(pid->value, signal) == 0) return {};
  return fail(errno, Step::command_socket, fmt::format("signal {} to its first process", signal));
}

/// What was asked of a container that has ended by itself meanwhile was done.
int ended_or(const Place& place, const Error& error) {
  const auto state = place.state();
  return state && *state == State::stopped ? 0 : say_error(error);
}

/// Its first process has ended, and hooks of its end are run: there is nobody to ask.
bool is_ending(const Place& place) {
  const auto state = place.state();
  return state && *state == State::stopping;
}

int kill(const Place& place) {
  const auto ok = place.kill();
  return ok ? 0 : say_error(ok.error());
}

int run(const Arguments& args) {
  const auto place = Place::of(args);
  if (!place) return 1;
  constexpr long usual = 60;
  const auto seconds = args.number("timeout", usual);
  if (!seconds) return 1;
  if (args.has("kill") && (args.has("reboot") || args.has("nokill") || args.has("nowait"))) {
    say("--kill goes with none of --reboot, --nokill, --nowait");
    return 1;
  }
  const auto state = place->state();
  if (!state) return say_error(state.error());
  if (*state == State::stopped) {
    say("it is not running");
    constexpr int not_running = 2;
    return not_running;
  }
  const control::Client& client = place->client();
  if (args.has("kill")) return kill(*place);

  std::optional<lxc::Configuration> config;
  if (place->defined()) config = place->load();
  const auto pid = client.init_pid();
  if (!pid && !is_ending(*place)) return ended_or(*place, pid.error());
  const bool reboot = args.has("reboot");
  const bool waits = !args.has("nowait") && *seconds != 0;
  // What stands still hears nothing; and that it runs again is no restart.
  if (*state == State::frozen) (void)place->thaw();
  // Before it is asked: the answer may be quick.
  auto change = reboot ? client.wait_for_next({State::running}) : client.wait_for({State::stopped});
  if (!change) return ended_or(*place, change.error());
  if (pid) {
    const int signal = reboot ? reboot_signal(config) : halt_signal(config, *pid);
    if (const auto ok = send(client, signal); !ok && !is_ending(*place))
      return ended_or(*place, ok.error());
  }
  if (!waits) return 0;
  const auto came =
      change->next(*seconds < 0 ? std::chrono::milliseconds{-1} : std::chrono::seconds{*seconds});
  if (!came) return say_error(came.error());
  if (*came && **came == (reboot ? State::running : State::stopped)) return 0;
  if (reboot) {
    if (*came)
      say("it ended, and did not restart");
    else
      say("it did not restart within {} seconds", *seconds);
    return 1;
  }
  if (args.has("nokill")) {
    say("it has not ended within {} seconds", *seconds);
    return 1;
  }
  return kill(*place);
}

}  // namespace

const Tool lxc_stop = {
    .name = "lxc-stop",
    .synopsis = "-n NAME [-r] [-W] [-t SECONDS] [-k] [--nokill]",
    .brief = "Asks a container to end, and kills it when it has not after a while.",
    .options = options,
    .more =
        "It is asked by lxc.signal.halt; without, by SIGRTMIN+3 where its init waits for that, as "
        "systemd\ndoes, else by SIGPWR. -r: by lxc.signal.reboot, SIGINT.\n\n"
        "Exit status: 0; 2 when it does not run; 1 else.",
    .run = &run,
};
