// Which files and ports a container's programs may use, beyond what its mounts and ids say:
// Landlock, landlock(7). It needs no privilege and only takes away.
//
//   spec.security.landlock = Landlock{}
//       .permit(landlock::run, "/usr"_guest)
//       .permit(landlock::read | landlock::write, "/data"_guest)
//       .permit_connect(443);                         // and no other TCP port
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "condroid/flags.hpp"
#include "condroid/path.hpp"

namespace condroid {
inline namespace v0 {

/// The kernel's single rights over files; the values are its own. Linux 5.13 unless said.
enum class LandlockAccess : std::uint32_t {
  execute = 1U << 0U,
  write_file = 1U << 1U,
  read_file = 1U << 2U,
  read_dir = 1U << 3U,
  remove_dir = 1U << 4U,
  remove_file = 1U << 5U,
  make_char = 1U << 6U,
  make_dir = 1U << 7U,
  make_reg = 1U << 8U,
  make_sock = 1U << 9U,
  make_fifo = 1U << 10U,
  make_block = 1U << 11U,
  make_sym = 1U << 12U,
  /// Link or rename into another directory; Linux 5.19. Where the kernel does not know it, or it is
  /// not `handled`, that is denied altogether (EXDEV).
  refer = 1U << 13U,
  truncate = 1U << 14U,   ///< Linux 6.2
  ioctl_dev = 1U << 15U,  ///< ioctl(2) of devices; Linux 6.10
};
template <>
struct is_flag_enum<LandlockAccess> : std::true_type {};

/// Rights that belong together; in the text form they are words among the single ones.
namespace landlock {
using Access = Flags<LandlockAccess>;
/// Every right of this header.
inline constexpr Access all = Access::from_bits(0xffffU);
/// Read files, list directories.
inline constexpr Access read = LandlockAccess::read_file | LandlockAccess::read_dir;
/// Execute programs, and read what they are made of.
inline constexpr Access run = read | LandlockAccess::execute;
/// Write to files, make and remove what is no device.
inline constexpr Access write = LandlockAccess::write_file | LandlockAccess::truncate |
                                LandlockAccess::refer | LandlockAccess::remove_dir |
                                LandlockAccess::remove_file | LandlockAccess::make_dir |
                                LandlockAccess::make_reg | LandlockAccess::make_sock |
                                LandlockAccess::make_fifo | LandlockAccess::make_sym;
}  // namespace landlock

/// Uses of TCP ports; Linux 6.7.
enum class LandlockTcp : std::uint32_t { bind = 1U << 0U, connect = 1U << 1U };
template <>
struct is_flag_enum<LandlockTcp> : std::true_type {};

/// What does not reach beyond the processes that share the restriction; Linux 6.12.
enum class LandlockScope : std::uint32_t {
  abstract_socket = 1U << 0U,  ///< Connecting to a unix socket of an abstract name; unix(7).
  signal = 1U << 1U,
};
template <>
struct is_flag_enum<LandlockScope> : std::true_type {};

/// What may be done with a file, or with a directory and all below it, whatever is mounted there.
struct LandlockRule {
  GuestPath path = {};
  /// Of a file that is no directory the rights of directories do not count.
  Flags<LandlockAccess> access = {};
  bool follow_links = false;  ///< Inside the container's root; else a link in `path` is an error.
  bool optional = false;      ///< Passed over where there is no such path.
  bool operator==(const LandlockRule&) const = default;
};

/// Restrictions for the command and all that it starts, for good. They begin right before it is
/// executed, so it needs a rule for itself, its loader and its libraries. Processes that are
/// attached have the same. Nothing is restricted by default.
struct Landlock {
  /// Each of these is denied but where a rule permits it.
  Flags<LandlockAccess> handled = {};
  std::vector<LandlockRule> rules = {};
  /// Each of these is denied but for the ports below.
  Flags<LandlockTcp> tcp = {};
  std::vector<std::uint16_t> bind = {};  ///< 0 stands for "any that is free"; bind(2).
  std::vector<std::uint16_t> connect = {};
  Flags<LandlockScope> scope = {};
  /// What this kernel does not know is left out, and reported in Plan::left_out. Otherwise it is
  /// refused with the kernel that is needed.
  bool best_effort = false;
  bool operator==(const Landlock&) const = default;

  /// Whether it restricts anything.
  [[nodiscard]] bool wanted() const noexcept {
    return !handled.empty() || !tcp.empty() || !scope.empty();
  }
  /// One more rule. The first one has all rights handled, unless some are already.
  Landlock& permit(Flags<LandlockAccess> access, GuestPath path) {
    if (handled.empty()) handled = landlock::all;
    rules.push_back({.path = std::move(path), .access = access});
    return *this;
  }
  /// One more port; without any of its kind none may be used once it is in `tcp`.
  Landlock& permit_bind(std::uint16_t port) {
    tcp |= LandlockTcp::bind;
    bind.push_back(port);
    return *this;
  }
  Landlock& permit_connect(std::uint16_t port) {
    tcp |= LandlockTcp::connect;
    connect.push_back(port);
    return *this;
  }
};

}  // namespace v0
}  // namespace condroid
