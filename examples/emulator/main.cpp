// condroid-emulator: Android devices in containers, described by TOML files.
//
//   condroid-emulator start phone.toml tablet.toml     both at once, until Ctrl-C
//   condroid-emulator list
//   condroid-emulator shell phone                      by its file or its name
//
// docs/android.md has the keys of the files. Exit status: 0; of shell and logcat the command's; 1
// when something failed, 2 when arguments or files are wrong.
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condroid/version.hpp>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "adb.hpp"
#include "device_file.hpp"
#include "emulator.hpp"
#include "verbs.hpp"
#include "view.hpp"

using namespace condroid;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int failed = 1;
constexpr int bad_usage = 2;

struct StartOptions {
  std::vector<std::string> files = {};
  std::string timeline = {}, view = {};
  double seconds = 0;
  bool until_booted = false;
};

int report(const std::string& what) {
  fmt::print(stderr, "condroid-emulator: {}\n", what);
  return failed;
}

std::optional<DeviceFile> device_of(const std::string& file) {
  std::vector<std::string> mistakes;
  auto device = read_device(file, mistakes);
  for (const std::string& m : mistakes) fmt::print(stderr, "{}\n", m);
  return device;
}

/// Ctrl-C and its kind, to be polled for. From before the first container on.
Fd take_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH}) ::sigaddset(&set, signal);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  return Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

bool write_picture(const std::string& name, const std::string& svg) {
  if (name.empty()) return true;
  std::ofstream file(name, std::ios::binary);
  file << svg << std::flush;
  if (!file) report(fmt::format("'{}' could not be written: {}", name, std::strerror(errno)));
  return static_cast<bool>(file);
}

int start(const HostPath& state_dir, const StartOptions& options) {
  std::vector<DeviceFile> devices;
  bool fine = true;
  for (const std::string& file : options.files) {
    auto device = device_of(file);
    if (!device) {
      fine = false;
      continue;
    }
    for (const DeviceFile& other : devices) {
      const bool named = other.device.name == device->device.name;
      if (!named && (device->adb_port == 0 || other.adb_port != device->adb_port)) continue;
      report(fmt::format("{}: another file has the {}, too", file,
                         named ? fmt::format("name '{}'", device->device.name)
                               : fmt::format("adb_port {}", device->adb_port)));
      fine = false;
    }
    devices.push_back(std::move(*device));
  }
  if (!fine) return bad_usage;

  const Fd signals = take_signals();
  auto all = Emulator::open(state_dir);
  if (!all) return report(to_string(all.error()));
  // One that cannot be is told before any is left running.
  AdbPorts adb;
  for (const DeviceFile& d : devices) {
    if (auto ok = all->add(d.device); !ok) {
      report(fmt::format("{}: {}", d.device.name, to_string(ok.error())));
      fine = false;
    }
    if (d.adb_port != 0) adb.want(d.device.name, d.adb_port);
  }
  if (!fine) return failed;

  View view(::isatty(STDOUT_FILENO) == 1);
  const auto begun = Clock::now();
  const std::chrono::duration<double> limit(options.seconds);
  auto last_shown = begun - std::chrono::seconds{1};
  int asked = 0;
  bool over = false, pictured = false;
  const auto stop = [&] {
    // The table as it was while all of them ran.
    if (!pictured) fine = write_picture(options.view, table_svg(*all)) && fine;
    pictured = true;
    all->stop();
    view.show(*all);
  };
  while (!all->finished()) {
    std::vector<pollfd> waiting = {{signals.get(), POLLIN, 0}};
    all->poll_fds(waiting);
    adb.poll_fds(waiting);
    int timeout = all->timeout();
    if (options.seconds > 0 && !over) {
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(limit - (Clock::now() - begun));
      timeout = std::clamp<int>(static_cast<int>(left.count()), 0, timeout < 0 ? 1000 : timeout);
    }
    (void)::poll(waiting.data(), waiting.size(), timeout);
    signalfd_siginfo info{};
    while (::read(signals.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      if (info.ssi_signo == SIGWINCH) continue;
      if (++asked == 1)
        stop();
      else
        all->kill();
    }
    const bool news = all->step();
    for (const std::string& line : adb.step(*all)) report(line);
    const bool enough = (options.seconds > 0 && Clock::now() - begun >= limit) ||
                        (options.until_booted && all->settled());
    // Once more before they go, and else four times a second.
    if (news || enough || Clock::now() - last_shown >= std::chrono::milliseconds{250}) {
      view.show(*all);
      last_shown = Clock::now();
    }
    if (enough && !over) {
      over = true;
      stop();
    }
  }
  view.show(*all);
  if (!pictured) fine = write_picture(options.view, table_svg(*all)) && fine;
  fine = write_picture(options.timeline, timeline_svg(*all)) && fine;
  for (const Guest& g : all->guests()) {
    // Killed on request is as it should be.
    const bool ended = g.exit ? g.exit->success() || asked > 1 : g.state == State::ended;
    const bool clean = !g.exit || g.exit->cleanup_errors.empty();
    if (!ended || !clean || (options.until_booted && !g.up() && asked == 0)) fine = false;
  }
  return fine ? 0 : failed;
}

/// A file's name is that of the device in it; what is no file is a name.
std::optional<std::string> name_of(const std::string& word) {
  if (!word.ends_with(".toml")) return word;
  const auto device = device_of(word);
  if (!device) return {};
  return device->device.name;
}

}  // namespace

int main(int argc, char** argv) {
  std::string state = "/run/condroid-emulator", device;
  StartOptions options;
  std::vector<std::string> command;
  int status = 0;

  CLI::App app("Android devices in containers, described by TOML files (docs/android.md).",
               "condroid-emulator");
  app.set_version_flag("--version", fmt::format("condroid-emulator {}", version));
  app.add_option("--state", state, "Where running devices are found by their names")
      ->type_name("DIR")
      ->capture_default_str();
  app.require_subcommand(1);
  app.fallthrough();

  const auto dir = [&] { return HostPath(state); };
  const auto with_device = [&](const char* verb, const char* what, auto run) {
    CLI::App* sub = app.add_subcommand(verb, what);
    sub->add_option("DEVICE", device, "Its file (.toml) or its name")->required();
    sub->callback([&, run] {
      const auto name = name_of(device);
      status = name ? run(*name) : bad_usage;
    });
    return sub;
  };

  CLI::App* begin = app.add_subcommand("start", "Boots devices, and shows how far they are");
  begin->add_option("FILES", options.files, "One for each device")->required();
  begin->add_option("--timeline", options.timeline, "Draws at the end who was where when")
      ->type_name("FILE.svg");
  begin->add_option("--view", options.view, "Draws the table as it was before they were stopped")
      ->type_name("FILE.svg");
  begin->add_option("--for", options.seconds, "Stops them after this time")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.001, 1e9));
  begin->add_flag("--until-booted", options.until_booted,
                  "Stops them once all have booted; fails when one does not");
  begin->footer("Ctrl-C asks all of them to end, a second one kills them.");
  begin->callback([&] { status = start(dir(), options); });
  with_device("stop", "Asks one to end, kills it after ten seconds",
              [&](const std::string& name) { return stop_device(dir(), name); });
  app.add_subcommand("list", "Those that run")->callback([&] { status = list_devices(dir()); });
  with_device("shell", "Runs a command in one; without a command /system/bin/sh",
              [&](const std::string& name) {
                if (command.empty()) command = {"/system/bin/sh"};
                return run_in_device(dir(), name, command);
              })
      ->add_option("COMMAND", command, "After --");
  with_device("logcat", "Runs its /system/bin/logcat", [&](const std::string& name) {
    command.insert(command.begin(), "/system/bin/logcat");
    return run_in_device(dir(), name, command);
  })->add_option("ARGUMENTS", command, "After --");
  bool reclaim = false;
  with_device("freeze", "Has everything in one stand still", [&](const std::string& name) {
    return freeze_device(dir(), name, true, reclaim);
  })->add_flag("--reclaim", reclaim, "Has the kernel take back the memory that it holds, too");
  with_device("thaw", "Lets it go on",
              [&](const std::string& name) { return freeze_device(dir(), name, false); });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& wrong) {
    return app.exit(wrong) == 0 ? 0 : bad_usage;
  }
  return status;
}
