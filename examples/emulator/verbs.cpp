#include "verbs.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <condroid/android/device.hpp>
#include <condroid/attach.hpp>
#include <condroid/registry.hpp>
#include <condroid/runtime.hpp>
#include <condroid/stats.hpp>
#include <condroid/sys/pty.hpp>
#include <csignal>
#include <optional>
#include <utility>

#include "../condroid-run/terminal.hpp"

using namespace condroid;

namespace {

int report(const Error& error) {
  fmt::print(stderr, "condroid-emulator: {}\n", error);
  return 1;
}

Result<OpenContainer> find(const HostPath& state_dir, const std::string& name) {
  auto box = Registry::open(name, state_dir);
  if (!box && box.error().is_errno(ESRCH))
    return fail(make_error(Errc::bad_text, Step::find_container,
                           fmt::format("device '{}': none of this name runs", name),
                           "condroid-emulator list"));
  return box;
}

/// The first of its cgroups that freezes.
Result<CgroupDir> freezer(const OpenContainer& box) {
  auto groups = box.cgroups();
  if (!groups) return fail(groups);
  for (CgroupDir& g : *groups)
    if (g.freezes()) return std::move(g);
  return fail(Errc::unsupported, Step::write_cgroup,
              fmt::format("device '{}': it has no cgroup that freezes", box.name()));
}

int reclaim_of(const OpenContainer& box) {
  const auto groups = box.cgroups();
  if (!groups) return report(groups.error());
  for (const CgroupDir& g : *groups) {
    if (!g.reclaims()) continue;
    const auto taken = g.reclaim();
    if (!taken) return report(taken.error());
    fmt::print("{:.1f} MiB given back\n", static_cast<double>(taken->value) / (1 << 20));
    return 0;
  }
  return report(make_error(Errc::unsupported, Step::write_cgroup,
                           fmt::format("device '{}': nothing counts its memory", box.name())));
}

/// Copies between the user's terminal and that of the task until the task has ended.
Result<Exit> attend(Task& task) {
  Fd input_again, output_again;
  const auto input = usable_terminal(STDIN_FILENO, O_RDONLY, input_again);
  if (!input) return tl::unexpected<Error>(input.error());
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGWINCH);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  const Fd signals(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  auto raw = RawMode::enter(FdView(*input));
  if (!raw) return fail(raw);
  Relay relay(task.take_console(), *input, STDOUT_FILENO);
  relay.resize(*input);
  for (;;) {
    auto ended = task.step();
    if (!ended) return fail(ended);
    if (*ended) {
      relay.finish();
      return std::move(**ended);
    }
    const std::array<Relay::Wish, 3> wishes = {relay.input_wish(), relay.output_wish(),
                                               relay.master_wish()};
    std::array<pollfd, 5> waiting{{{task.poll_fd().get(), POLLIN, 0},
                                   {signals.get(), POLLIN, 0},
                                   {wishes[0].fd, wishes[0].events, 0},
                                   {wishes[1].fd, wishes[1].events, 0},
                                   {wishes[2].fd, wishes[2].events, 0}}};
    if (::poll(waiting.data(), waiting.size(), -1) < 0) continue;
    if (waiting[1].revents != 0) {
      signalfd_siginfo info{};
      while (::read(signals.get(), &info, sizeof info) > 0) continue;
      relay.resize(*input);
    }
    if (waiting[2].revents != 0) relay.input_ready();
    if (waiting[3].revents != 0) relay.output_ready();
    if (waiting[4].revents != 0) relay.master_ready(waiting[4].revents);
  }
}

}  // namespace

int list_devices(const HostPath& state_dir) {
  const auto all = Registry::list(state_dir);
  if (!all) return report(all.error());
  std::size_t width = 6;
  for (const Registered& r : *all) width = std::max(width, r.name.size());
  fmt::print("{:<{}}  {:<7}  {:>7}  {:>8}  {:>7}\n", "DEVICE", width, "STATE", "PID", "SECONDS",
             "MEMORY");
  for (const Registered& r : *all) {
    std::string memory = "-";
    Stats stats;
    if (auto box = Registry::open(r, state_dir))
      if (auto groups = box->cgroups())
        if (auto reader = StatsReader::open(*groups))
          if (reader->read(stats).value_or(false) && stats.memory)
            memory = fmt::format("{:.1f}M",
                                 static_cast<double>(stats.memory->current.value) / (1U << 20U));
    fmt::print("{:<{}}  {:<7}  {:>7}  {:>8.0f}  {:>7}\n", r.name, width, to_string(r.state),
               r.pid.value, std::chrono::duration<double>(r.age).count(), memory);
  }
  return 0;
}

int stop_device(const HostPath& state_dir, const std::string& name) {
  const auto box = find(state_dir, name);
  if (!box) return report(box.error());
  // What stands still hears nothing.
  if (auto group = freezer(*box))
    if (group->frozen().value_or(false)) (void)group->thaw();
  if (auto ok = box->stop(); !ok) return report(ok.error());
  return 0;
}

int freeze_device(const HostPath& state_dir, const std::string& name, bool freeze, bool reclaim) {
  const auto box = find(state_dir, name);
  if (!box) return report(box.error());
  const auto group = freezer(*box);
  if (!group) return report(group.error());
  if (auto ok = freeze ? group->freeze() : group->thaw(); !ok) return report(ok.error());
  return reclaim ? reclaim_of(*box) : 0;
}

int run_in_device(const HostPath& state_dir, const std::string& name,
                  std::vector<std::string> argv) {
  const auto box = find(state_dir, name);
  if (!box) return report(box.error());
  if (box->entry().state == Registered::frozen) {
    fmt::print(stderr,
               "condroid-emulator: device '{}' is frozen; hint: condroid-emulator thaw {}\n", name,
               name);
    return 1;
  }
  auto runtime = Runtime::open({.state_dir = state_dir});
  if (!runtime) return report(runtime.error());
  const bool terminal = ::isatty(STDIN_FILENO) == 1;
  const std::string program = argv.front();
  Attach what{.process = {.argv = std::move(argv)}, .seccomp = android::seccomp()};
  what.process.env = android::shell_environment();
  what.process.stdio = terminal ? Stdio::pty : Stdio::inherit;
  auto attaching = runtime->start_attach(box->pid(), box->pidfd().fd(), what, {});
  if (!attaching) return report(attaching.error());
  auto task = attaching->finish();
  if (!task) {
    if (task.error().step == Step::exec && task.error().is_errno(ENOENT))
      fmt::print(stderr, "condroid-emulator: device '{}' has no {}\n", name, program);
    else
      return report(task.error());
    return 127;
  }
  const auto ended = terminal ? attend(*task) : task->wait();
  if (!ended) return report(ended.error());
  return ended->shell_status();
}
