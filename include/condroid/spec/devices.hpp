// /dev of a container.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

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
  bool operator==(const Devices&) const = default;
};

}  // namespace v0
}  // namespace condroid
