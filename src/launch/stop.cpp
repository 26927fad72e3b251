// The ways to end a container: a signal, everything at once, politely.
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string>

#include "formatted.hpp"
#include "launch/container_core.hpp"
#include "launch/engine.hpp"
#include "sys/cgroup_files.hpp"
#include "sys/stance.hpp"
#include "sys/wire.hpp"

namespace condroid {
inline namespace v0 {
namespace detail {

bool ContainerCore::signal_and_look(int number, int& error) {
  const Stance before = stance_on(pid.value, number);
  error = pidfd_signal(pidfd.get(), number);
  // Unmoved: it did not handle the signal between the two looks either.
  return before.deaf && error == 0 && stance_on(pid.value, number) == before;
}

Result<void> ContainerCore::send(Signal signal, const char* what) const {
  if (auto ok = check_owner(); !ok) return ok;
  if (const int e = pidfd_signal(pidfd.get(), signal.value); e != 0)
    return fail(e, Step::signal,
                formatted("{}signal {} to container '{}'", what, signal.value, name));
  return {};
}

void ContainerCore::no_next_life() {
  stay_down = true;
  if (end_hooks) end_hooks->stay_down();
}

Result<void> ContainerCore::begin_stop(const StopOptions& options) {
  if (auto ok = check_owner(); !ok) return ok;
  no_next_life();
  if (next) drop_next();
  if (exit || next) return {};
  const Signal polite = options.signal.value_or(lifecycle.stop_signal);
  const auto patience = options.patience.value_or(
      std::chrono::ceil<std::chrono::milliseconds>(lifecycle.stop_timeout));
  // Who is frozen answers nothing. Where it cannot be thawed, its time runs all the same.
  if (!parents.empty())
    if (auto group = freezer(); group) (void)group->thaw(std::chrono::milliseconds{0});
  int e = 0;
  const bool deaf = signal_and_look(polite.value, e);
  if (e != 0 && e != ESRCH)
    return fail(e, Step::signal, formatted("signal {} to container '{}'", polite.value, name));
  if (deaf || patience.count() <= 0) return kill_everything();
  kill_at =
      Clock::now() + std::min<std::chrono::milliseconds>(patience, std::chrono::hours(24 * 20));
  set_timer();
  return {};
}

Result<Exit> ContainerCore::stop(const StopOptions& options) {
  if (auto ok = begin_stop(options); !ok) return fail(ok);
  const auto left = [&] {
    return kill_at == Clock::time_point::max()
               ? 0
               : static_cast<int>(std::clamp<long long>(
                     std::chrono::ceil<std::chrono::milliseconds>(kill_at - Clock::now()).count(),
                     0, 1 << 30));
  };
  // Of hooks each has a limit of its own.
  const auto wait = [&](int most) {
    auto done = wait_until(most);
    return done && !*done && end_hooks ? wait_until(-1) : done;
  };
  auto done = wait(left());
  if (!done) return fail(done);
  if (*done) return std::move(**done);
  if (!killed)
    if (auto ok = kill_everything(); !ok) return fail(ok);
  constexpr int most = 10000;
  done = wait(most);
  if (!done) return fail(done);
  if (*done) return std::move(**done);
  in_vain = true;
  std::string hint = "something in it waits for the kernel, or is traced from outside";
  if (auto groups = cgroups())
    for (const CgroupDir& g : *groups) {
      const std::string by = g.v2() ? std::string() : frozen_above(g.fd().get(), false);
      if (!by.empty()) hint = formatted("'{}' is frozen: thaw it", by);
    }
  return fail(make_error(Errc::deadline, Step::kill,
                         formatted("container '{}' was killed and is not gone", name),
                         std::move(hint)));
}

void ContainerCore::set_timer() {
  auto at = kill_at;
  if (next)
    if (const int ms = next->timeout(); ms >= 0)
      at = std::min(at, Clock::now() + std::chrono::milliseconds(ms));
  if (end_hooks) at = std::min(at, end_hooks->until());
  if (kill_again) at = std::min(at, Clock::now() + std::chrono::milliseconds(100));
  const bool wanted = at != Clock::time_point::max();
  if (!poll.valid() || (!wanted && !timer.valid())) return;
  if (!timer.valid()) {
    timer = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    watch(timer);
  }
  itimerspec spec{};  // all zero: none, and what was due is forgotten
  if (wanted) {
    const auto ns = std::max<long long>(1, at.time_since_epoch().count());
    spec.it_value = {ns / 1000000000, ns % 1000000000};
  }
  if (::timerfd_settime(timer.get(), TFD_TIMER_ABSTIME, &spec, nullptr) != 0) wake_always();
}

}  // namespace detail

using detail::moved_away;

Result<void> Container::signal(Signal signal) {
  if (!core_) return moved_away(Step::signal);
  return core_->send(signal, "");
}

Result<void> Container::halt() {
  if (!core_) return moved_away(Step::signal);
  return core_->send(core_->lifecycle.halt_signal, "halt: ");
}

Result<void> Container::reboot() {
  if (!core_) return moved_away(Step::signal);
  return core_->send(core_->lifecycle.reboot_signal, "reboot: ");
}

Result<void> Container::kill() {
  if (!core_) return moved_away(Step::kill);
  if (auto ok = core_->check_owner(); !ok) return ok;
  core_->no_next_life();
  return core_->exit ? Result<void>{} : core_->kill_everything();
}

Result<Exit> Container::stop(std::chrono::milliseconds patience) {
  return stop(StopOptions{.patience = patience});
}

Result<Exit> Container::stop(std::chrono::milliseconds patience, Signal polite) {
  return stop(StopOptions{.signal = polite, .patience = patience});
}

Result<void> Container::begin_stop(const StopOptions& options) {
  if (!core_) return moved_away(Step::signal);
  return core_->begin_stop(options);
}

}  // namespace v0
}  // namespace condroid
