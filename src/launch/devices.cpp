#include "launch/devices.hpp"

#include "formatted.hpp"
#include "plan/device_filter.hpp"
#include "sys/device_filter.hpp"
#include "sys/kernel_files.hpp"

namespace condroid::inline v0::detail {

namespace {

Result<void> done(int error, std::string_view what, const std::string& name) {
  if (error == 0) return {};
  return fail(error, Step::filter_devices, formatted("{} for '{}'", what, name));
}

Result<void> allow_on_v1(int cgroup, const DevicePermission& p, const std::string& name) {
  const std::string line = permission_line(p);
  return done(write_file_at(cgroup, "devices.allow", line), "'" + line + "'", name);
}

}  // namespace

Result<void> filter_devices(int cgroup, const op::FilterDevices& filter, const std::string& name) {
  if (filter.v2)
    return done(set_device_filter(cgroup, device_program(filter.permitted, filter.denied)),
                "the program", name);
  if (!filter.denied.empty()) {
    // Nobody plans that where not all else is permitted.
    if (auto ok = done(write_file_at(cgroup, "devices.allow", "a"), "'a', to be allowed,", name);
        !ok)
      return ok;
    for (const DevicePermission& p : filter.denied) {
      const std::string line = permission_line(p);
      if (auto ok = done(write_file_at(cgroup, "devices.deny", line),
                         formatted("'{}', to be denied,", line), name);
          !ok)
        return ok;
    }
    return {};
  }
  if (auto ok = done(write_file_at(cgroup, "devices.deny", "a"), "'a', to be denied,", name); !ok)
    return ok;
  for (const DevicePermission& p : filter.permitted)
    if (auto ok = allow_on_v1(cgroup, p, name); !ok) return ok;
  return {};
}

Result<void> permit_device(int cgroup, op::FilterDevices& filter, const DevicePermission& more,
                           const std::string& name) {
  // There all is permitted but what is denied, and devices.allow would take that back.
  if (!filter.v2 && !filter.denied.empty()) return {};
  filter.permitted.push_back(more);
  auto ok =
      filter.v2
          ? done(set_device_filter(cgroup, device_program(filter.permitted, filter.denied), true),
                 "the program", name)
          : allow_on_v1(cgroup, more, name);
  if (!ok) filter.permitted.pop_back();
  return ok;
}

}  // namespace condroid::inline v0::detail
