// Which devices a container may open, as cgroups of either version take it. Private.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "condroid/spec.hpp"
#include "plan/limits.hpp"
#include "plan/shape.hpp"

namespace condroid::inline v0::detail {

[[nodiscard]] bool filters_devices(const Spec& spec, const Shape& shape);
/// The usual ones, the nodes of the Spec, what it permits.
[[nodiscard]] std::vector<DevicePermission> permitted_devices(const Spec& spec);
/// Whether these are all character and all block devices.
[[nodiscard]] bool permits_all(std::span<const DevicePermission> permitted);
/// One of the groups does it.
void filter_devices(Groups& groups, const Spec& spec, const Shape& shape);

/// "c 1:3 rwm", as devices.allow of v1 takes it.
[[nodiscard]] std::string permission_line(const DevicePermission& p);
/// The program of v2 that answers 0 for what is denied, 1 for what is permitted and 0 for the rest:
/// eBPF, a struct bpf_insn in each.
[[nodiscard]] std::vector<std::uint64_t> device_program(
    std::span<const DevicePermission> permitted, std::span<const DevicePermission> denied = {});

}  // namespace condroid::inline v0::detail
