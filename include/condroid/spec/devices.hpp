// /dev of a container, and which devices it may open at all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "condroid/flags.hpp"
#include "condroid/path.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {

/// One more node in /dev, made by mknod(2) where that is permitted, otherwise the host's node of
/// that number bound.
struct DeviceNode {
  enum Kind : std::uint8_t { character, block };
  std::string name = {};  ///< Below /dev: "fuse", "net/tun".
  Kind kind = character;
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  Mode mode = {0666};
  Uid uid = {};
  Gid gid = {};
  bool operator==(const DeviceNode&) const = default;
};

enum class DeviceAccess : std::uint8_t {
  read = 1U << 0U,
  write = 1U << 1U,
  make = 1U << 2U,  ///< mknod(2)
};
template <>
struct is_flag_enum<DeviceAccess> : std::true_type {};

/// Devices that a container may use, by number, whatever node they are opened by.
struct DevicePermission {
  DeviceNode::Kind kind = DeviceNode::character;
  std::optional<std::uint32_t> major = {};  ///< Unset: any.
  std::optional<std::uint32_t> minor = {};  ///< Unset: any.
  Flags<DeviceAccess> access = DeviceAccess::read | DeviceAccess::write | DeviceAccess::make;
  bool operator==(const DevicePermission&) const = default;
};

/// Whether the kernel asks a list before a container opens a device: the devices controller of
/// cgroup v1, or a BPF program on its cgroup of v2 (Linux 4.15). The list has the usual nodes,
/// consoles and pseudo terminals, `Devices::nodes` and `Devices::permitted`; a node of any device
/// may be made, but not opened. What is not on it is EPERM.
enum class DeviceFilter : std::uint8_t {
  /// Where a container could make nodes of the host's devices (capability mknod without a user
  /// namespace), and where something is `permitted`.
  automatic,
  always,
  never,  ///< Needs Allow::devices with the capability mknod.
};

struct Devices {
  /// A small tmpfs on /dev with full, null, random, tty, urandom, zero, fd, stdin, stdout, stderr,
  /// ptmx, pts.
  bool populate = true;
  bool shm = true;  ///< A tmpfs on /dev/shm.
  /// mqueue on /dev/mqueue; only with an ipc namespace of its own.
  bool mqueue = true;
  Bytes size = {512U << 10U};     ///< Of the tmpfs on /dev.
  Bytes shm_size = {64U << 20U};  ///< Of the tmpfs on /dev/shm; 0: the kernel's default.
  std::vector<DeviceNode> nodes = {};
  DeviceFilter filter = DeviceFilter::automatic;
  /// Beside what every container may use, whoever made the node; needs Allow::devices.
  std::vector<DevicePermission> permitted = {};
  /// Of these nothing may be used in a way that is named here, whatever is permitted. On v1 only
  /// where all else is permitted: any character and any block device.
  std::vector<DevicePermission> denied = {};
  bool operator==(const Devices&) const = default;
};

}  // namespace v0
}  // namespace condroid
