// Binder for devices that must not meet: an instance of binderfs each, or nodes of a pool that
// nobody else has; drivers/android of the kernel.
//
//   auto nodes = android::lease_binder(facts.binder_pool);   // held as long as its descriptors are
//   auto made = android::make_binder_nodes(box.pid());       // in the binderfs of a device
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "condroid/android/device.hpp"
#include "condroid/error.hpp"
#include "condroid/sys/fd.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {
namespace android {

/// A triple of the pool that is this program's. The locks are flock(2)'s: they go with the
/// descriptors, also of a program that is killed.
struct BinderLease {
  BinderNodes nodes = {};
  std::vector<Fd> locks = {};
};

/// A line of /proc/misc.
struct MiscNode {
  std::string name = {};
  std::uint32_t minor = 0;
};

/// The whole triples among nodes in /dev: "c1-binder", "c1-hwbinder" and "c1-vndbinder" are one. In
/// the order of the names. Pure.
[[nodiscard]] std::vector<BinderNodes> binder_triples(const std::vector<MiscNode>& nodes);

/// The first triple of the pool that nobody has. Each node is opened and asked for its version:
/// what is no binder is an error and not passed over. Does not wait.
/// @errors Step::open_descriptor: EBUSY with what to do when all are taken; ENOENT, EACCES,
/// ENOTTY, EPROTO for another version of the protocol.
[[nodiscard]] Result<BinderLease> lease_binder(const std::vector<BinderNodes>& pool);

/// Makes binder, hwbinder and vndbinder in the binderfs on /dev/binderfs of process `pid`, for all
/// to use, and links to them in its /dev. Those that are there already (the module's parameter
/// `devices`) are taken. For a process whose world is set up and nothing of whose own runs yet:
/// LaunchEvent::set_up. Needs root's rights.
/// @errors Step::make_node.
[[nodiscard]] Result<void> make_binder_nodes(Pid pid);

/// The version of the protocol that a binder node speaks: 8, of 32-bit kernels 7. BINDER_VERSION
/// @errors Step::open_descriptor: ENOTTY for what is no binder.
[[nodiscard]] Result<int> binder_version(FdView node);

}  // namespace android
}  // namespace v0
}  // namespace condroid
