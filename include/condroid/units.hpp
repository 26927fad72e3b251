// Numbers with a unit: sizes, ids, signals and modes that cannot be mixed up.
//
//   using namespace condroid::literals;
//   spec.resources.memory_max = 512_MiB;
//   spec.process.uid = Uid{1000};
#pragma once

#include <compare>
#include <cstdint>

namespace condroid {
inline namespace v0 {

/// A number of bytes.
struct Bytes {
  std::uint64_t value = 0;
  auto operator<=>(const Bytes&) const = default;
};

/// A user id. Whose numbering it is (the host's or the container's) is said where one is used.
struct Uid {
  std::uint32_t value = 0;
  auto operator<=>(const Uid&) const = default;
};

/// A group id.
struct Gid {
  std::uint32_t value = 0;
  auto operator<=>(const Gid&) const = default;
};

/// A process id as the host's pid namespace numbers it. For messages and look-ups; a process is
/// held by its pidfd.
struct Pid {
  std::int32_t value = 0;
  auto operator<=>(const Pid&) const = default;
};

/// A signal number, 1 to 64; signal(7).
struct Signal {
  int value = 0;
  auto operator<=>(const Signal&) const = default;
};

/// Permission bits of a file, 0 to 07777; also used for umasks.
struct Mode {
  std::uint32_t value = 0;
  auto operator<=>(const Mode&) const = default;
};

/// A descriptor of the host process, by number. Borrowed: it must stay open until the Container is
/// there.
struct HostFd {
  int number = -1;
  [[nodiscard]] constexpr bool valid() const noexcept { return number >= 0; }
  auto operator<=>(const HostFd&) const = default;
};

namespace literals {
constexpr Bytes operator""_B(unsigned long long n) noexcept { return {n}; }
constexpr Bytes operator""_KiB(unsigned long long n) noexcept { return {n << 10U}; }
constexpr Bytes operator""_MiB(unsigned long long n) noexcept { return {n << 20U}; }
constexpr Bytes operator""_GiB(unsigned long long n) noexcept { return {n << 30U}; }
}  // namespace literals

}  // namespace v0
}  // namespace condroid
