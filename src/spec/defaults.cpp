// What a container does not get to see or change of the kernel, unless its Spec says otherwise.
#include "condroid/spec/security.hpp"
#include "spec/names.hpp"

namespace condroid {
inline namespace v0 {

// Files of procfs and sysfs that obey uid 0, not namespaces: memory, keys, timers and logs of the
// whole machine, and firmware: the list that container engines agree on, and what root can switch
// on in the kernel's log (Linux 5.7).
std::vector<GuestPath> default_masked_paths() {
  std::vector<GuestPath> list;
  for (const char* path : {"/proc/acpi", "/proc/asound", "/proc/dynamic_debug", "/proc/kcore",
                           "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
                           "/proc/timer_list", "/sys/devices/virtual/powercap", "/sys/firmware"})
    list.emplace_back(path);
  return list;
}

// Settings of the whole machine. A container's own sysctls are written before this.
std::vector<GuestPath> default_read_only_paths() {
  std::vector<GuestPath> list;
  for (const char* path :
       {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"})
    list.emplace_back(path);
  return list;
}

std::string_view to_string(Capability capability) noexcept { return name_of(capability); }

}  // namespace v0
}  // namespace condroid
