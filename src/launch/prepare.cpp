// What is ready before the clone: what the host opens ahead of the child, the program as it is
// encoded, and the request to the zygote.
#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "formatted.hpp"
#include "launch/engine.hpp"
#include "launch/shortcuts.hpp"
#include "program/kernel_bits.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::detail {

namespace {

/// Where the child has to wait for the host's callbacks, beside the barriers that the plan has
/// anyway.
class Callbacks {
 public:
  Callbacks(const Plan& plan, bool wanted, bool from_the_start)
      : plan_(plan), configure_(wanted && from_the_start), set_up_(wanted) {
    for (const Op& o : plan.ops) {
      const auto* sync = std::get_if<op::Sync>(&o);
      if (sync == nullptr) continue;
      (sync->ask == op::Sync::configure ? configure_ : set_up_) = false;
    }
  }
  /// configured: in its namespaces, before anything of them is set up. set_up: before descriptors
  /// and rights go.
  [[nodiscard]] std::optional<op::Sync::Ask> due_before(std::size_t index) {
    const Op& o = plan_.ops[index];
    if (actor_of(o) != op::Actor::child) return std::nullopt;
    const bool entering = std::holds_alternative<op::ArmDeathSignal>(o) ||
                          std::holds_alternative<op::EnterCgroup>(o) ||
                          std::holds_alternative<op::JoinNamespace>(o) ||
                          std::holds_alternative<op::Unshare>(o);
    if (configure_ && !entering) {
      configure_ = false;
      return op::Sync::configure;
    }
    const bool leaving =
        std::holds_alternative<op::StartInit>(o) || std::holds_alternative<op::PlaceDescriptors>(o);
    if (set_up_ && leaving) {
      set_up_ = false;
      return op::Sync::cgroup;
    }
    return std::nullopt;
  }

 private:
  const Plan& plan_;
  bool configure_, set_up_;
};

}  // namespace

/// Whether no node is left to be made for which the host's would have to stand in: who may not call
/// mknod(2) finds that in the host's /dev.
bool LaunchEngine::may_make_nodes() const {
  if (made_.has_dev && dev_ops_) {
    const auto end =
        plan().ops.begin() + static_cast<std::ptrdiff_t>(dev_ops_->first + dev_ops_->count);
    return std::none_of(end, plan().ops.end(),
                        [](const Op& o) { return std::holds_alternative<op::MakeNode>(o); });
  }
  const bool wants = std::any_of(plan().ops.begin(), plan().ops.end(), [](const Op& o) {
    return std::holds_alternative<op::MakeNode>(o);
  });
  const bool limited = std::any_of(plan().ops.begin(), plan().ops.end(), [](const Op& o) {
    const auto* write = std::get_if<op::WriteCgroup>(&o);
    return std::holds_alternative<op::FilterDevices>(o) ||
           (write != nullptr && write->file.starts_with("devices."));
  });
  return !wants || (runtime_->spare_dev.proven() && !limited);
}

/// What the child would copy by path is copied here, so that it needs none of the host's mounts.
/// False when it needs some.
Result<bool> LaunchEngine::open_trees_ahead() {
  if (!made_.by_path.empty() || !needs_no_host_mounts(plan()) || !may_make_nodes() ||
      !runtime_->host_mounts.same_view())
    return false;
  std::vector<std::pair<std::size_t, Fd>> trees;
  for (std::size_t i = 0; i < plan().ops.size(); ++i) {
    const auto* m = std::get_if<op::MountOp>(&plan().ops[i]);
    if (m == nullptr || m->source != op::MountOp::tree || m->cwd.valid() || m->inside) continue;
    // Made private here unless the child does so with the whole of it: what was shared once would
    // stay so, with the host.
    const bool set_later =
        (m->propagation == Propagation::private_ || m->propagation == Propagation::unbindable) &&
        m->recursive_flags == m->recursive;
    if (m->recursive && runtime_->host_mounts.holds_namespaces()) return false;
    auto tree = make_tree(m->what, {}, {.recursive = m->recursive, .as_it_is = set_later});
    if (tree) {
      trees.emplace_back(i, std::move(*tree));
      continue;
    }
    if (tree.error().is_errno(EPERM)) return false;
    if (m->optional) continue;  // the child does not find it either, and passes over it
    Error e = std::move(tree).error();
    const Step step = step_of(plan().ops[i]);
    e.step = step == Step::mount ? e.step : step;
    e.subject = describe(plan().ops[i]);
    return fail(std::move(e));
  }
  // Registers from above: a plan counts from below, and not more than one for each of its ops and
  // the standard streams.
  if (plan().ops.size() + 3 + trees.size() > program::slot_count) return false;
  int number = op::slot_count;
  for (auto& [index, tree] : trees) {
    const op::Slot slot{--number};
    give(slot, std::move(tree));
    made_.ahead.emplace_back(index, slot);
  }
  return true;
}

namespace {

/// Version 4 of RFC 4122, as the kernel writes one.
std::string random_uuid() {
  std::uint8_t b[16] = {};
  // So few bytes come whole, once there are any; getrandom(2).
  while (::getrandom(b, sizeof b, 0) < 0 && errno == EINTR) {
  }
  b[6] = static_cast<std::uint8_t>((b[6] & 0x0FU) | 0x40U);
  b[8] = static_cast<std::uint8_t>((b[8] & 0x3FU) | 0x80U);
  std::string text;
  for (std::size_t i = 0; i < sizeof b; ++i)
    text += formatted("{}{:02x}", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
  return text + "\n";
}

}  // namespace

/// Where its processes are in a hierarchy, from its top: "condroid-1f/web". Empty where it has
/// no cgroup.
std::string LaunchEngine::home_in(std::size_t hierarchy) const {
  const auto facts = runtime_->get_facts();
  for (const Op& o : plan().ops) {
    const auto* c = std::get_if<op::CreateCgroup>(&o);
    if (c == nullptr || c->hierarchy != hierarchy) continue;
    if (!facts || hierarchy >= (*facts)->cgroups.size()) return {};
    const CgroupHierarchy& h = (*facts)->cgroups[hierarchy];
    std::string home = h.mount_root + group_path(*c, h).substr(h.mount_point.size());
    if (!c->inner.empty()) home += "/" + c->inner;
    return home.substr(std::min(home.find_first_not_of('/'), home.size()));
  }
  return {};
}

/// An op of the child as it is encoded: what it is to mount may be opened by somebody else than the
/// plan says, and a profile of its own has its name from the launch.
const Op& LaunchEngine::as_encoded(std::size_t index, Op& replaced) const {
  const Op& o = plan().ops[index];
  if (const auto* label = std::get_if<op::SetLabel>(&o); label != nullptr && label->own) {
    op::SetLabel copy = *label;
    copy.label = own_profile();
    return replaced = std::move(copy);
  }
  if (const auto* file = std::get_if<op::MakeEntry>(&o); file != nullptr && file->uuid) {
    op::MakeEntry copy = *file;
    copy.content = random_uuid();
    return replaced = std::move(copy);
  }
  for (const auto& [at, op] : completed_)
    if (at == index) return replaced = op;
  if (const auto* c = std::get_if<op::ConfigureInterface>(&o))
    if (const Interface* filled = made_.host_ends.share.find(c->interface.name)) {
      op::ConfigureInterface copy = *c;
      copy.interface = *filled;
      return replaced = std::move(copy);
    }
  const auto* m = std::get_if<op::MountOp>(&o);
  if (m == nullptr) return o;
  if (m->own_cgroup)
    if (const std::string home = home_in(*m->own_cgroup); !home.empty()) {
      op::MountOp copy = *m;
      copy.what = home;
      copy.target += "/" + home;
      return replaced = std::move(copy);
    }
  for (const auto& [slot, path] : made_.by_path)
    if (m->source == op::MountOp::slot && m->from == slot) {
      op::MountOp copy = *m;
      copy.source = op::MountOp::tree;
      copy.what = path;
      return replaced = std::move(copy);
    }
  if (made_.has_dev && index == dev_ops_->first) {
    op::MountOp copy = *m;
    copy.source = op::MountOp::slot;
    copy.from = copy.to;
    copy.options.clear();
    copy.flags = {};  // it has them
    return replaced = std::move(copy);
  }
  for (const auto& [at, slot] : made_.ahead)
    if (at == index) {
      op::MountOp copy = *m;
      copy.source = op::MountOp::slot;
      copy.from = slot;
      return replaced = std::move(copy);
    }
  return o;
}

/// The child's ops from `first` on, with the barriers that callbacks need.
void LaunchEngine::encode_child_ops(Encoder& encoder, std::size_t first) const {
  // Of a taken one only the end is left.
  Callbacks callbacks(plan(), static_cast<bool>(options_.on_event), first == 0);
  Op replaced;
  for (std::size_t i = first; i < plan().ops.size(); ++i) {
    if (const auto ask = callbacks.due_before(i))
      encoder.add(op::Sync{.ask = *ask}, static_cast<std::uint32_t>(i));
    if (made_.has_dev && i > dev_ops_->first && i < dev_ops_->first + dev_ops_->count) continue;
    encoder.add(as_encoded(i, replaced), static_cast<std::uint32_t>(i));
  }
}

Result<void> LaunchEngine::prepare_clone() {
  // Not where somebody wants to stand before one of its ops, or looks on.
  if (!options_.stop_before && !options_.on_event && !options_.trace) dev_ops_ = find_dev(plan());
  if (dev_ops_) {
    if (Fd dev = runtime_->spare_dev.take(plan(), *dev_ops_); dev.valid()) {
      give(std::get<op::MountOp>(plan().ops[dev_ops_->first]).to, std::move(dev));
      made_.has_dev = true;
    }
  }
  auto bare = open_trees_ahead();
  if (!bare) return fail(bare);
  if (auto ok = complete_interfaces(); !ok) return fail(ok);
  if (*bare) request_.flags |= program::request_bare_mounts;
  if (auto ok = make_inner_cgroups(); !ok) return ok;
  Encoder encoder;
  for (const op::Slot slot : made_.slots) encoder.pass(slot);
  // Others than the host name the child by its number.
  const bool holds = std::ranges::any_of(plan().ops, [](const Op& o) {
    return std::holds_alternative<op::WriteIdMap>(o) || std::holds_alternative<op::AskUserNic>(o);
  });
  const op::Clone* clone = nullptr;
  for (const Op& o : plan().ops)
    if (const auto* c = std::get_if<op::Clone>(&o)) clone = c;
  encode_child_ops(encoder, 0);
  if (clone == nullptr) return fail(Errc::bad_spec, Step::clone, "a plan without a clone");
  if (!options_.stop_before) early_map_ = early_map(plan());
  auto program = encoder.finish(
      options_.stop_before ? static_cast<std::uint32_t>(*options_.stop_before) : program::no_op);
  if (!program) return fail(program);
  program_ = std::move(*program);

  if (const int e = socket_pair(sync_, sync_child_); e != 0)
    return fail(e, Step::clone, "sync socket");
  if (const int e = socket_pair(exit_, exit_zygote_); e != 0)
    return fail(e, Step::clone, "exit socket");

  program::ResultPage& page = zygote_->page(page_);
  std::memset(static_cast<void*>(&page), 0, offsetof(program::ResultPage, ticks));
  page.op = program::no_op;
  zygote_->live(live_).pid = 0;

  request_.magic = program::magic;
  request_.kind = program::RequestKind::clone;
  request_.live = live_;
  request_.page = page_;
  request_.clone_flags = clone_bits(clone->namespaces);
  request_.joins = static_cast<std::uint32_t>(made_.joins.size());
  request_.cgroups = made_.hierarchies;
  request_.v2 = made_.v2;
  request_.memory = made_.counts_oom;
  request_.pids = made_.pids;
  // Every cgroup of v2 counts it, with or without a controller.
  request_.cpu = made_.v2 != 0 ? made_.v2 : made_.cpuacct;
  if (made_.cgroup >= 0) request_.flags |= program::request_into_cgroup;
  if (holds) request_.flags |= program::request_hold;
  if (may_share_memory(plan(), made_.memory != 0, static_cast<bool>(options_.on_event)) &&
      !options_.stop_before)
    request_.flags |= program::request_share_memory;
  if (plan().inside.landlock.wanted()) request_.marks |= program::mark_landlock;
  if (made_.profile) request_.marks |= program::mark_profile;
  const Inside& inside = plan().inside;
  if (plan().init && (made_.profile || !inside.apparmor.empty() || !inside.selinux.empty()))
    request_.marks |= program::mark_label_below;
  request_.program_size = static_cast<std::uint32_t>(program_.size);
  std::strncpy(request_.name, unique_name_.c_str(), sizeof request_.name - 1);
  request_fds_.assign(1, exit_zygote_.get());
  if (made_.cgroup >= 0) request_fds_.push_back(made_.cgroup);
  request_fds_.insert(request_fds_.end(), made_.joins.begin(), made_.joins.end());
  request_fds_.push_back(sync_child_.get());
  request_fds_.insert(request_fds_.end(), made_.passed.begin(), made_.passed.end());
  return {};
}

}  // namespace condroid::inline v0::detail
