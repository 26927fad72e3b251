// Draft: a plan that is being written, with the slots that later ops need. Private.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "condroid/plan.hpp"
#include "plan/ops.hpp"
#include "plan/shape.hpp"

namespace condroid::inline v0::detail {

struct Draft {
  const Spec& spec;
  const HostFacts& facts;
  const Shape& shape;
  Refusals& refusals;
  Plan plan = {};
  int next_slot = 3;  ///< 0 to 2 are the standard streams.

  op::Slot proc = {};  ///< A procfs that is not attached yet.
  op::Slot root = {};
  op::Slot dev = {};
  op::Slot devpts = {};
  /// "/proc" and "/sys" as they were mounted last, for what is hidden in them.
  op::Slot proc_dir = {};
  op::Slot sys_dir = {};
  op::Slot console = {};               ///< The slave.
  std::vector<op::Slot> sources = {};  ///< By index of Spec::mounts: what the host opened for it.
  std::vector<op::Slot> uppers =
      {};                     ///< By index of Spec::mounts: the tmpfs of an ephemeral overlay.
  op::Slot files = {};        ///< The tmpfs that has the content of every FileMount.
  op::Slot root_source = {};  ///< The root as the host made it.
  op::Slot root_image = {};   ///< The file system of an image, to be the root or to lie below it.
  std::vector<op::Slot> root_trees =
      {};  ///< Overlays of the host's directories that the host made, in their order.
  op::Slot root_upper = {};  ///< The tmpfs of an ephemeral root's upper layers.
  std::vector<std::pair<op::Slot, std::string>> tasks =
      {};  ///< Of v1 cgroups, with their mount points.
  std::vector<op::PlaceDescriptors::Entry> placed = {};
  op::Slot hook_output = {};
  unsigned hook_places = 0;

  template <class O>
  void add(O o) {
    add_op(plan.ops, std::move(o));
  }
  [[nodiscard]] op::Slot slot() noexcept {
    return {next_slot++};
  }  // compile() checks that there were enough
  void note(std::string text) { plan.notes.push_back(std::move(text)); }
};

/// The ops of one idea each, in the file of that name.
/// Gives the namespaces that the child has to join.
std::vector<std::pair<Namespace, op::Slot>> open_host_side(Draft& draft, bool parked);
/// Everything up to the process itself. `parked`: what it is to run comes later, and with it what
/// it is to inherit.
void set_up_container(Draft& draft, bool parked);  // compile.cpp
/// What the host has to know beside the ops.
void describe_host_side(Draft& draft);  // compile.cpp
/// Refuses what a program has no room for.
void check_room(const Draft& draft);  // compile.cpp
/// Values for a cgroup of the container.
void write_values(Draft& draft, const Group& group);  // host.cpp
/// `base` with `more` on top: a later word replaces an earlier one of its name.
[[nodiscard]] std::vector<std::string> merged_env(const std::vector<std::string>& base,
                                                  const std::vector<std::string>& more);
void open_streams(Draft& draft);
void take_descriptors(Draft& draft);
void configure_from_host(Draft& draft);  // host.cpp: the barrier and what the host does behind it
/// Hooks, in the order of a launch: hooks.cpp.
void begin_hooks(Draft& draft);
/// `interface`: the one that they are for, or none.
void run_hooks_here(const Draft& draft, HookPoint point, std::vector<Op>& ops,
                    const Interface* interface);
void run_hooks_inside(Draft& draft, HookPoint point);
[[nodiscard]] bool has_hooks(const Draft& draft, HookPoint point);
/// Behind everything else the child waits for the host.
[[nodiscard]] bool waits_for_hooks(const Draft& draft);
void settle_hooks(Draft& draft);  // start, and the barrier of start_host
void note_later_hooks(Draft& draft);
/// Whether the root is needed at a path before it is the root.
[[nodiscard]] bool roots_before_pivot(const Draft& draft);
/// Of the child's own network namespace. Gives nothing to do where there are none.
void lease_addresses(Draft& draft);                                 // network.cpp
void create_interfaces(const Draft& draft, std::vector<Op>& host);  // network.cpp
void configure_interfaces(Draft& draft);                            // network.cpp
/// Nothing of it is IPv6, so it is switched off: what routers announce would be believed otherwise.
[[nodiscard]] bool is_without_ipv6(const Interface& interface);  // network.cpp
void make_root(Draft& draft);                                    // root.cpp
void make_mounts(Draft& draft);        // mounts.cpp, with /dev in its place
void populate_dev(Draft& draft);       // devices.cpp
void open_terminals(Draft& draft);     // devices.cpp
void hide_kernel(Draft& draft);        // mounts.cpp: masks and read-only paths
void make_kernel_files(Draft& draft);  // mounts.cpp: each FileMount in /proc or /sys, behind them
void set_boot_id(Draft& draft);        // mounts.cpp: behind them
void finish_root(Draft& draft);        // root.cpp: read-only last, pivot
void settle_ahead(Draft& draft);       // process.cpp: what no command changes
void settle_process(Draft& draft);     // process.cpp: limits to exec
void apply_landlock(Draft& draft);     // landlock.cpp
/// The label that the command is executed under, written through the procfs that is held.
void set_labels(Draft& draft);    // labels.cpp
void load_profile(Draft& draft);  // labels.cpp: of its own, before the clone
void label_mounts(Draft& draft);  // labels.cpp: `context=` for what was made for the container

/// Has the container a mount of its own at this entry of "/", whatever the host has there?
[[nodiscard]] bool is_own_tree(std::string_view name);
/// Whether an ephemeral root of the host's own "/" has an overlay for this entry of it.
[[nodiscard]] bool overlays_host_entry(const Draft& draft, const RootEntry& entry);
/// Adds the options of an overlay. Paths that are not absolute start at MountOp::cwd.
void overlay_options(Draft& draft, op::MountOp& mount, std::string_view field,
                     const std::vector<std::string>& lower, const std::string& upper,
                     const std::string& work);

/// A procfs as an op, the host's bound where a new one is not permitted.
[[nodiscard]] op::MountOp procfs(const Draft& draft, Flags<MountFlag> flags);

}  // namespace condroid::inline v0::detail
