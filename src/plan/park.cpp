// The two halves of a container of a pool: set up and parked; taken.
#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "condroid/plan/take.hpp"
#include "formatted.hpp"
#include "plan/checks.hpp"
#include "plan/draft.hpp"
#include "plan/limits.hpp"
#include "plan/paths.hpp"
#include "plan/shape.hpp"
#include "plan/words.hpp"

namespace condroid::inline v0 {

namespace detail {
namespace {

/// Kept by one overlay at a time: overlayfs calls a second user's outcome undefined.
void refuse_shared_uppers(const Spec& spec, Refusals& refusals) {
  constexpr std::string_view why = "is one directory, and a pool has several containers at once";
  constexpr const char* instead = "leave it out: changes go to memory then, each container's own";
  if (!spec.root.upper.empty()) refusals.bad("root.upper", why, instead);
  for (std::size_t i = 0; i < spec.mounts.size(); ++i) {
    const auto* overlay = std::get_if<Overlay>(&spec.mounts[i]);
    const auto* image = std::get_if<ImageMount>(&spec.mounts[i]);
    const HostPath* upper = overlay != nullptr ? &overlay->upper
                            : image != nullptr ? &image->upper
                                               : nullptr;
    if (upper != nullptr && !upper->empty())
      refusals.bad(nth("mounts", i), formatted("the upper layer {} {}", quoted(upper->str()), why),
                   instead);
  }
}

Spec taken(const Spec& spec, const Take& take) {
  Spec out = spec;
  Process& p = out.process;
  if (!take.argv.empty()) p.argv = take.argv;
  p.env = take.clear_env ? take.env : merged_env(spec.process.env, take.env);
  if (take.cwd) p.cwd = *take.cwd;
  if (take.stdio) p.stdio = *take.stdio;
  p.descriptors.insert(p.descriptors.end(), take.descriptors.begin(), take.descriptors.end());
  return out;
}

/// Who takes one has a container of one life: what the next would need is in nobody's hands.
void refuse_next_lives(const Spec& spec, Refusals& refusals) {
  if (spec.lifecycle.restart == Restart::never) return;
  refusals.bad("lifecycle.restart",
               formatted("a container of a pool runs once, and this says {}",
                         name_of(spec.lifecycle.restart)),
               "launch it by itself, or take another one when it has ended");
}

/// All of them would have the same addresses.
void refuse_interfaces(const Spec& spec, Refusals& refusals) {
  if (spec.network.interfaces.empty()) return;
  refusals.bad("network.interfaces",
               "are one container's, and a pool has several at once with the same addresses",
               "launch it by itself, or move an interface in when one is taken");
}

bool has_console(const Stdio& stdio) {
  return stdio.in.kind == Stream::pty || stdio.out.kind == Stream::pty ||
         stdio.err.kind == Stream::pty;
}

/// A number of bytes as the kernel takes one, memparse() in lib/cmdline.c; nothing for no limit.
std::optional<std::uint64_t> v1_bytes(const std::string& text) {
  char* end = nullptr;
  const std::uint64_t n = std::strtoull(text.c_str(), &end, 0);
  if (end == text.c_str() || text.front() == '-') return {};
  constexpr std::string_view units = "kmgtpe";
  const std::size_t unit = units.find(static_cast<char>(std::tolower(*end)));
  return unit == std::string_view::npos || *end == '\0' ? n : n << (10 * (unit + 1));
}

/// What the parked container has been given.
Running running_in(const ParkedPlan& parked) {
  Running now;
  for (const Op& o : parked.plan.ops) {
    if (const auto* create = std::get_if<op::CreateCgroup>(&o))
      now.hierarchies.push_back(create->hierarchy);
    const auto* write = std::get_if<op::WriteCgroup>(&o);
    if (write == nullptr) continue;
    if (write->file == "memory.limit_in_bytes") now.memory = v1_bytes(write->value);
    if (write->file == "memory.memsw.limit_in_bytes") {
      now.memory_and_swap = v1_bytes(write->value);
      now.sum_is_optional = write->optional;
    }
  }
  return now;
}

void write_limits(Draft& d, const Take& take, const ParkedPlan& parked) {
  if (take.resources == Resources{}) return;
  check_change(take.resources, d.refusals);
  const Running now = running_in(parked);
  Groups groups(d.facts, d.refusals, take.resources.optional, &now);
  translate_limits(groups, take.resources);
  for (LeftOut& l : groups.take_left_out()) d.plan.left_out.push_back(std::move(l));
  for (const Group& g : groups.take()) {
    const auto has = [&](const Op& o) {
      const auto* create = std::get_if<op::CreateCgroup>(&o);
      if (create == nullptr || create->hierarchy != g.hierarchy) return false;
      return std::ranges::all_of(g.controllers, [&](const std::string& c) {
        return std::ranges::find(create->controllers, c) != create->controllers.end();
      });
    };
    if (g.values.empty()) continue;
    if (std::ranges::none_of(parked.plan.ops, has))
      d.refusals.bad("resources",
                     formatted("{} is of a controller that the parked container is not under",
                               quoted(g.values.front().file)),
                     "set a limit of that kind in the Spec of the pool, too");
    write_values(d, g);
  }
}

void attach_mounts(Draft& d, const Take& take, std::vector<op::MountOp>& later) {
  if (!take.mounts.empty() && !d.root.valid())
    d.refusals.bad("mounts", "the containers of this pool share the host's mounts",
                   "add mount to the namespaces of its Spec");
  for (std::size_t i = 0; i < take.mounts.size(); ++i) {
    const PassedMount& m = take.mounts[i];
    const Checks checks{.spec = d.spec, .facts = d.facts, .shape = d.shape, .refusals = d.refusals};
    const std::string field = nth("mounts", i);
    checks.guest_path(field + ".target", m.target);
    if (!m.mount.valid())
      d.refusals.bad(field, formatted("{} is no descriptor", m.mount.number),
                     "give one of a detached mount");
    const op::Slot from = d.slot();
    d.add(op::OpenDescriptor{.kind = op::OpenDescriptor::borrowed, .fd = m.mount, .to = from});
    later.push_back({.source = op::MountOp::slot,
                     .what = formatted("descriptor {}", m.mount.number),
                     .from = from,
                     .base = d.root,
                     .target = normalized(m.target.str()),
                     .create = m.create});
  }
}

}  // namespace
}  // namespace detail

Result<ParkedPlan> compile_parked(const Spec& spec, const HostFacts& facts) {
  using namespace detail;
  Refusals refusals;
  const Shape shape = decide(spec, facts, refusals);
  validate(spec, facts, shape, refusals);
  refuse_shared_uppers(spec, refusals);
  refuse_next_lives(spec, refusals);
  refuse_interfaces(spec, refusals);
  Checks{.spec = spec, .facts = facts, .shape = shape, .refusals = refusals}.no_hooks(
      "a pool has several containers at once, made before anybody wants them");
  if (!refusals.empty()) return fail(refusals.take());

  Draft d{.spec = spec, .facts = facts, .shape = shape, .refusals = refusals};
  set_up_container(d, true);
  d.add(op::Park{});
  check_room(d);
  if (!refusals.empty()) return fail(refusals.take());
  return ParkedPlan{.plan = std::move(d.plan),
                    .next_slot = d.next_slot,
                    .root = shape.own_root() ? d.root : op::Slot{},
                    .console = d.console};
}

Result<Plan> compile_take(const Spec& given, const Take& take, const ParkedPlan& parked,
                          const HostFacts& facts) {
  using namespace detail;
  Refusals refusals;
  const Spec spec = taken(given, take);
  Shape shape = decide(spec, facts, refusals);
  Checks{.spec = spec, .facts = facts, .shape = shape, .refusals = refusals}.process();
  if (has_console(spec.process.stdio) && !parked.console.valid())
    refusals.bad("stdio", "the parked container has no terminal",
                 "set terminal.console = true in the Spec of the pool");
  shape.console = parked.console.valid();

  Draft d{.spec = spec,
          .facts = facts,
          .shape = shape,
          .refusals = refusals,
          .plan = parked.plan,
          .next_slot = parked.next_slot,
          .root = parked.root,
          .console = parked.console};
  describe_host_side(d);
  std::vector<op::MountOp> mounts;
  open_streams(d);
  take_descriptors(d);
  attach_mounts(d, take, mounts);
  write_limits(d, take, parked);
  for (auto& m : mounts) d.add(std::move(m));
  settle_process(d);
  check_room(d);
  if (!refusals.empty()) return fail(refusals.take());
  return std::move(d.plan);
}

}  // namespace condroid::inline v0
