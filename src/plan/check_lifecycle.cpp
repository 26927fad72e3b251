// What of a Spec's lifecycle cannot be.
#include "formatted.hpp"
#include "plan/checks.hpp"

namespace condroid::inline v0::detail {

void Checks::lifecycle() const {
  const Lifecycle& l = spec.lifecycle;
  const auto signal = [&](std::string_view field, Signal s) {
    if (s.value < 1 || s.value > 64)
      refusals.bad(field, formatted("{} is not among 1 to 64", s.value), "signal(7) lists them");
  };
  signal("lifecycle.stop_signal", l.stop_signal);
  signal("lifecycle.halt_signal", l.halt_signal);
  signal("lifecycle.reboot_signal", l.reboot_signal);
  if (l.stop_timeout.count() < 0)
    refusals.bad("lifecycle.stop_timeout", "is less than nothing", "0s kills at once");
  if (l.freezable && spec.resources.cgroup == CgroupMode::never)
    refusals.bad("lifecycle.freezable", "what stands still together is a cgroup",
                 "leave resources.cgroup = never out");
  if (l.own_boot_id && (!shape.own_root() || !spec.devices.populate))
    refusals.bad("lifecycle.own_boot_id", "is a file on a /dev of the container's own",
                 "leave devices.populate and its mount namespace as they are");
  if (l.restart == Restart::never) return;
  if (name_of(l.restart).empty())
    refusals.bad("lifecycle.restart",
                 formatted("there is no policy {}", static_cast<unsigned>(l.restart)),
                 "never, on_reboot, on_failure or always");
  if (l.restart_limit > 0 && l.restart_window.count() <= 0)
    refusals.bad("lifecycle.restart_window", "a limit counts within some time",
                 "1m is usual; restart_limit = 0 has no limit");
  if (l.restart == Restart::on_reboot && !shape.own(Namespace::pid))
    refusals.bad("lifecycle.restart",
                 "reboot(2) asks for the restart of the pid namespace's first process, and this "
                 "container has none of its own",
                 "give it one, or use on_failure");
}

}  // namespace condroid::inline v0::detail
