// What a container that may be launched again keeps from life to life. Private.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/launch.hpp"
#include "condroid/plan.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid::inline v0::detail {

struct Kept {
  /// With descriptors of ours in place of the caller's, whose numbers may be something else by
  /// then.
  std::shared_ptr<const Plan> plan;
  std::chrono::milliseconds deadline{0};
  bool trace = false;
  std::optional<std::size_t> stop_before = {};  ///< An op of each next life's plan.
  std::vector<Fd> held;  ///< What the plan names, and the container's ends of pipes.
  Fd stdin_write, stdout_read, stderr_read;
  Fd network;  ///< Its network namespace, if it has one of its own.
  Fd users;    ///< Its user namespace: the network belongs to that.
  Fd devpts;   ///< A detached mount, from which the terminals are opened again.
  /// The terminals by their numbers in there, console first; -1: none.
  std::vector<int> terminals;
  std::vector<std::pair<std::string, std::string>> host_names;  ///< As of HostEnds.
  std::vector<std::string> ups;  ///< Interfaces of that network whose hooks at `up` were run.

  /// Of a container that runs: takes what was sent up with its terminals out of `ptys`. Those that
  /// are still there from before have none in the list afterwards.
  void take_terminals(const Plan& plan, std::vector<Fd>& ptys);
  /// A slave of each terminal; none of one that is gone.
  [[nodiscard]] std::vector<Fd> open_terminals() const;
  /// The child is in its namespaces, and not beyond: they are opened.
  [[nodiscard]] Result<void> configured(Pid pid);
};

/// What launches by this plan will keep; takes copies of all descriptors that it names.
[[nodiscard]] Result<std::shared_ptr<Kept>> keep(const std::shared_ptr<const Plan>& plan,
                                                 const LaunchOptions& options);
/// The options with a callback that takes the namespaces.
[[nodiscard]] LaunchOptions keeping(LaunchOptions options, const std::shared_ptr<Kept>& kept);

/// Whether an interface of this type, as hooks are told it, is there in the next life when the
/// network is. One of the host's comes home with each end, and one of pasta's goes with its
/// program.
[[nodiscard]] bool stays(std::string_view interface_type);

/// What the next life's plan takes from the one before, by descriptor; -1: nothing.
struct Carried {
  int network = -1;
  int users = -1;
  int devpts = -1;
  std::vector<int> terminals = {};  ///< Numbers; -1: a new one is made.
};
/// The plan of the next life. Pure.
[[nodiscard]] Plan next_life(const Plan& plan, const Carried& carried);

}  // namespace condroid::inline v0::detail
