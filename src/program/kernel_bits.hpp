// Our sets of words as the kernel's bits.
#pragma once

#include <cstdint>

#include "condroid/mount_flags.hpp"
#include "condroid/namespaces.hpp"
#include "program/kernel.hpp"

namespace condroid::inline v0::detail {

/// Flags as MOUNT_ATTR_* bits; mount_setattr(2).
[[nodiscard]] constexpr std::uint64_t mount_attr(Flags<MountFlag> flags) noexcept {
  std::uint64_t bits = 0;
  const auto add = [&](MountFlag f, std::uint64_t bit) {
    if (flags.has(f)) bits |= bit;
  };
  add(MountFlag::read_only, kernel::attr_rdonly);
  add(MountFlag::nosuid, kernel::attr_nosuid);
  add(MountFlag::nodev, kernel::attr_nodev);
  add(MountFlag::noexec, kernel::attr_noexec);
  add(MountFlag::noatime, kernel::attr_noatime);
  add(MountFlag::strictatime, kernel::attr_strictatime);
  add(MountFlag::nodiratime, kernel::attr_nodiratime);
  add(MountFlag::nosymfollow, kernel::attr_nosymfollow);
  return bits;
}

/// Propagation as an MS_* bit, 0 for as it is; mount_setattr(2).
[[nodiscard]] constexpr std::uint64_t propagation_bits(Propagation p) noexcept {
  switch (p) {
    case Propagation::as_is:
      return 0;
    case Propagation::private_:
      return kernel::ms_private;
    case Propagation::slave:
      return kernel::ms_slave;
    case Propagation::shared:
      return kernel::ms_shared;
    case Propagation::unbindable:
      return kernel::ms_unbindable;
  }
  return 0;
}

/// Namespaces as CLONE_NEW* bits; clone(2).
[[nodiscard]] constexpr std::uint64_t clone_bits(Flags<Namespace> namespaces) noexcept {
  std::uint64_t bits = 0;
  const auto add = [&](Namespace n, std::uint64_t bit) {
    if (namespaces.has(n)) bits |= bit;
  };
  add(Namespace::mount, kernel::clone_newns);
  add(Namespace::pid, kernel::clone_newpid);
  add(Namespace::uts, kernel::clone_newuts);
  add(Namespace::ipc, kernel::clone_newipc);
  add(Namespace::net, kernel::clone_newnet);
  add(Namespace::user, kernel::clone_newuser);
  add(Namespace::cgroup, kernel::clone_newcgroup);
  add(Namespace::time, kernel::clone_newtime);
  return bits;
}

}  // namespace condroid::inline v0::detail
