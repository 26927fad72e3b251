#include "launch/shortcuts.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <type_traits>

namespace condroid::inline v0::detail {

bool may_share_memory(const Plan& plan, bool memory_cgroup, bool callbacks) {
  if (memory_cgroup || callbacks) return false;
  return std::none_of(plan.ops.begin(), plan.ops.end(), [](const Op& o) {
    if (const auto* a = std::get_if<op::ArmDeathSignal>(&o)) return a->dumpable;
    if (const auto* w = std::get_if<op::WriteSetting>(&o))
      return w->path.find("oom_") != std::string::npos;
    if (const auto* d = std::get_if<op::OpenDescriptor>(&o)) return d->before_clone;
    return std::holds_alternative<op::EnterProcess>(o) || std::holds_alternative<op::Park>(o) ||
           std::holds_alternative<op::Sync>(o) || std::holds_alternative<op::StartInit>(o) ||
           std::holds_alternative<op::RunHookInside>(o) ||
           std::holds_alternative<op::JoinNamespace>(o) ||
           std::holds_alternative<op::SetTimeOffsets>(o);
  });
}

namespace {

/// File systems that are made of nothing: no device, no directory of the host.
bool stands_alone(const op::MountOp& m) {
  constexpr std::array<std::string_view, 7> made_of_nothing = {
      "cgroup", "cgroup2", "devpts", "mqueue", "proc", "sysfs", "tmpfs"};
  return m.fs_source.empty() && !m.cwd.valid() &&
         std::ranges::find(made_of_nothing, m.what) != made_of_nothing.end();
}

bool hangs_on_host_mounts(const Op& o) {
  return std::visit(
      [](const auto& x) {
        using T = std::decay_t<decltype(x)>;
        if constexpr (std::is_same_v<T, op::MountOp>)
          return x.source == op::MountOp::filesystem && !stands_alone(x);
        else if constexpr (std::is_same_v<T, op::MakeNode>)
          return x.bind;
        else if constexpr (std::is_same_v<T, op::MaskPath>)
          return !x.null.valid();  // the host's /dev/null is the cover
        else if constexpr (std::is_same_v<T, op::ContainPropagation>)
          return x.slave;  // what the host mounts later is to arrive
        else if constexpr (std::is_same_v<T, op::Clone>)
          // Who has no rights over the empty namespace cannot enter it; and cloned in it, he would
          // get no procfs: the kernel wants to see one there, mount_too_revealing() in
          // fs/namespace.c.
          return x.namespaces.has(Namespace::user);
        else if constexpr (std::is_same_v<T, op::OpenDescriptor>)
          return x.before_clone;
        else if constexpr (std::is_same_v<T, op::RunHookInside>)
          return x.hook.point != HookPoint::start;  // the program is the host's
        else
          return false;
      },
      o);
}

}  // namespace

bool needs_no_host_mounts(const Plan& plan) {
  const auto own_mounts = [](const Op& o) {
    const auto* unshare = std::get_if<op::Unshare>(&o);
    return unshare != nullptr && unshare->namespaces.has(Namespace::mount);
  };
  return std::ranges::any_of(plan.ops, own_mounts) &&
         std::ranges::none_of(plan.ops, hangs_on_host_mounts);
}

std::optional<std::size_t> early_map(const Plan& plan) {
  for (std::size_t i = 0; i + 1 < plan.ops.size(); ++i) {
    if (const auto* armed = std::get_if<op::ArmDeathSignal>(&plan.ops[i]);
        armed != nullptr && armed->dumpable)
      return std::nullopt;
    if (!std::holds_alternative<op::Sync>(plan.ops[i])) continue;
    const auto* map = std::get_if<op::WriteIdMap>(&plan.ops[i + 1]);
    if (map == nullptr || map->how != op::WriteIdMap::direct) return std::nullopt;
    return i + 1;
  }
  return std::nullopt;
}

}  // namespace condroid::inline v0::detail
