// Plan: what launching a Spec on this machine will do, step by step. Made by a pure function,
// printed as a dry run.
//
//   auto plan = compile(spec, facts);
//   if (plan) fmt::print("{}", *plan);
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/plan/op.hpp"
#include "condroid/spec.hpp"
#include "condroid/sys/facts.hpp"

namespace condroid {
inline namespace v0 {

/// What a process that joins a running container takes over from it; Attach (attach.hpp).
struct Inside {
  Flags<Namespace> namespaces = {};  ///< Those that are not this program's.
  /// The ids of the container's root: 0, or the first that are mapped.
  Uid root_uid = {};
  Gid root_gid = {};
  std::vector<std::string> env = {};  ///< "NAME=value" each.
  CapabilitySet capabilities = {};
  bool ambient = false;
  CapabilitySets sets = {};
  Flags<Securebit> securebits = {};
  bool no_new_privs = true;
  /// Its filter of system calls: Seccomp::bpf, or none.
  Seccomp seccomp = {.kind = Seccomp::none};
  Landlock landlock = {};
  /// The labels that its Spec asked for; Security.
  std::string apparmor = {};
  std::string selinux = {};
  /// How its devices are filtered, where they are.
  std::optional<op::FilterDevices> devices = {};
  bool operator==(const Inside&) const = default;
};

/// A flat list of ops in the order in which they are carried out. An op's index is its name for
/// stop_before, for the timeline and in messages. Plain data; a Plan may be launched any number of
/// times, from any thread.
struct Plan {
  std::string name = {};
  // An initializer would have every file that includes this compile the destructor of all ops.
  std::vector<Op> ops;
  /// What a reader of a dry run should know: which directory got what, and why.
  std::vector<std::string> notes = {};

  /// Limits marked optional that this machine or user cannot have.
  std::vector<LeftOut> left_out = {};

  // What the host side needs to know beyond the ops.
  Stdio stdio = {};
  Bytes capture_limit = {};
  Terminal terminal = {};
  bool init = false;
  Inside inside = {};
  Lifecycle lifecycle = {};
  /// Hooks at `started`, `down`, `stop` and `post_stop`, in this order.
  std::vector<op::RunHook> later = {};
  HostPath hooks_root = {};  ///< Hooks::root_at.
  bool operator==(const Plan&) const = default;

  /// The index of the first op that `what` names: a number ("12"), or a step ("pivot root",
  /// "pivot_root").
  /// @errors Errc::bad_text when there is none; the hint lists what there is.
  [[nodiscard]] Result<std::size_t> find(std::string_view what) const;
};

/// Decides everything that launching `spec` on a machine with `facts` will do. Pure: no I/O, no
/// privilege, deterministic. Everything that can be known to be wrong is refused here.
/// @errors Step::compile; Errc::bad_spec with the field named ("root.path: ..."), Errc::unsupported
/// with what this machine or user lacks. All errors of the Spec at once: the first in the subject,
/// the others in Error::also.
[[nodiscard]] Result<Plan> compile(const Spec& spec, const HostFacts& facts);

/// Rules as the filter that they become (Seccomp::bpf), which takes libseccomp a millisecond or so:
/// to be done once for many Specs. A Runtime does it by itself for the Specs that it launches. What
/// is not made of rules comes back as it is.
/// @errors As compile() of a Spec: "security.seccomp.list[2]: ...".
[[nodiscard]] Result<Seccomp> compile(const Seccomp& seccomp);

/// One line per op: index, who, step, object, and what undoes it; then the notes.
[[nodiscard]] std::string to_string(const Plan& plan);

}  // namespace v0
}  // namespace condroid

template <>
struct fmt::formatter<condroid::Plan> {
  constexpr auto parse(fmt::format_parse_context& ctx) { return ctx.begin(); }
  template <class Context>
  auto format(const condroid::Plan& p, Context& ctx) const {
    return fmt::format_to(ctx.out(), "{}", condroid::to_string(p));
  }
};
