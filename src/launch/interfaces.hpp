// What the host keeps of a container's interfaces. Private.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/spec/address.hpp"
#include "condroid/sys/fd.hpp"
#include "condroid/units.hpp"
#include "launch/nat_bridges.hpp"
#include "program/format.hpp"

namespace condroid::inline v0::detail {

/// What the Ethernet addresses of a bridge and of the host's ends at it have in common.
inline constexpr MacAddress bits_of_host_ends{{0x00, 0xff, 0xff, 0xff, 0x00, 0x00}};

/// The network namespace of a process, whatever becomes of its number. errno in `error`, or 0.
[[nodiscard]] Fd network_of(FdView pidfd, Pid pid, int& error);

/// An interface of the host that is in the container.
struct LentOut {
  Fd away;  ///< A netlink socket of the container's network namespace, which it keeps.
  Fd home;
  program::LentInterface what = {};
};

/// What the zygote was asked to do in the container's network namespace, and its answer.
struct Reaching {
  bool answered = false;
  int error = 0;
  Fd fd;
};

struct HeldTap {
  std::string name;
  Fd fd;
};

/// The host's ends of veths. The kernel removes them with the container's network namespace, in a
/// thread of its own and a while after the end; up to then the namespace would still answer for its
/// addresses. Taking the ends down costs a tenth of a millisecond, removing them a hundred times
/// that. What a connection of TCP was still to say has no way out then: the kernel would repeat it
/// for two minutes, and keep the namespace as long, if it were not told to give up sooner.
struct HostEnds {
  Fd socket;  ///< Of the network namespace that they are in; only if there are any.
  std::vector<std::uint32_t> indexes;
  std::vector<LentOut> lent;
  /// Names by names in the container.
  std::vector<std::pair<std::string, std::string>> names;
  std::vector<HeldTap> taps;  ///< Until they are taken.
  Fd patience;                ///< On which the zygote sends the file of program::patience_file.
  BridgeShare share;          ///< Given back once nobody answers for the addresses any more.

  /// What the zygote does at each end, when that is gone.
  void bring_home(std::vector<std::string>& errors);
  void take_down();
  /// Of what the zygote said.
  [[nodiscard]] Error not_home(const program::Record& record) const;
};

}  // namespace condroid::inline v0::detail
