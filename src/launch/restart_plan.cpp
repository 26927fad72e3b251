// The plan of a container's next life: the first one's, with what is kept in place of what was
// made.
#include <algorithm>
#include <utility>
#include <variant>

#include "launch/kept.hpp"
#include "plan/ops.hpp"
#include "spec/names.hpp"

namespace condroid::inline v0::detail {

namespace {

op::OpenDescriptor joined(Namespace ns, int fd) {
  return {.kind = op::OpenDescriptor::borrowed, .fd = HostFd{fd}, .ns = ns, .before_clone = true};
}

/// The op that mounts the devpts which the terminals are opened from.
const op::MountOp* devpts_of(const Plan& plan) {
  op::Slot slot;
  for (const Op& o : plan.ops)
    if (const auto* send = std::get_if<op::SendPtys>(&o)) slot = send->devpts;
  for (const Op& o : plan.ops)
    if (const auto* m = std::get_if<op::MountOp>(&o); m != nullptr && slot.valid() && m->to == slot)
      return m;
  return nullptr;
}

/// What concerns an interface that is there in the next life.
bool concerns_kept(const Plan& plan, const Op& o) {
  const auto is_ours = [](const Interface& i) {
    return !std::holds_alternative<Phys>(i.link) && !std::holds_alternative<Pasta>(i.link);
  };
  if (const auto* await = std::get_if<op::AwaitInterface>(&o))
    return std::ranges::none_of(plan.ops, [&](const Op& other) {
      const auto* c = std::get_if<op::CreateInterface>(&other);
      const auto* pasta = std::get_if<op::StartPasta>(&other);
      return (c != nullptr && c->interface.name == await->name && !is_ours(c->interface)) ||
             (pasta != nullptr && pasta->interface.name == await->name);
    });
  if (const auto* create = std::get_if<op::CreateInterface>(&o)) return is_ours(create->interface);
  if (const auto* configure = std::get_if<op::ConfigureInterface>(&o))
    return is_ours(configure->interface);
  if (const auto* hook = std::get_if<op::RunHook>(&o))
    return hook->hook.point == HookPoint::up && stays(hook->interface_type);
  return std::holds_alternative<op::AskUserNic>(o) || std::holds_alternative<op::LeaseAddress>(o) ||
         std::holds_alternative<op::PublishPorts>(o);
}

}  // namespace

bool stays(std::string_view interface_type) {
  return interface_type != link_kind<Phys> && interface_type != link_kind<Pasta>;
}

Plan next_life(const Plan& plan, const Carried& carried) {
  const op::MountOp* const devpts = carried.devpts >= 0 ? devpts_of(plan) : nullptr;
  Plan next = plan;
  next.ops.clear();
  std::size_t terminal = 0;
  unsigned made = 0;
  for (const Op& o : plan.ops) {
    if (const auto* clone = std::get_if<op::Clone>(&o)) {
      // The zygote joins them: a user namespace first, for the rights over the other.
      if (carried.users >= 0) add_op(next.ops, joined(Namespace::user, carried.users));
      if (carried.network >= 0) add_op(next.ops, joined(Namespace::net, carried.network));
      if (devpts != nullptr)
        add_op(next.ops, op::OpenDescriptor{.kind = op::OpenDescriptor::borrowed,
                                            .fd = HostFd{carried.devpts},
                                            .to = devpts->to});
      op::Clone copy = *clone;
      if (carried.users >= 0) copy.namespaces -= Namespace::user;
      add_op(next.ops, copy);
    } else if (const auto* unshare = std::get_if<op::Unshare>(&o)) {
      op::Unshare copy = *unshare;
      if (carried.network >= 0) copy.namespaces -= Namespace::net;
      if (!copy.namespaces.empty()) add_op(next.ops, copy);
    } else if ((std::holds_alternative<op::WriteIdMap>(o) && carried.users >= 0) ||
               (carried.network >= 0 && concerns_kept(plan, o))) {
      continue;  // it is written; it is there, as the last life left it
    } else if (const auto* m = std::get_if<op::MountOp>(&o); m != nullptr && m == devpts) {
      op::MountOp copy = *m;
      copy.source = op::MountOp::slot;
      copy.from = copy.to;
      copy.options.clear();
      copy.flags = {};  // it has them
      add_op(next.ops, std::move(copy));
    } else if (const auto* pty = std::get_if<op::OpenPty>(&o)) {
      op::OpenPty copy = *pty;
      if (devpts != nullptr && terminal < carried.terminals.size())
        copy.number = carried.terminals[terminal];
      ++terminal;
      if (copy.number < 0) ++made;
      add_op(next.ops, std::move(copy));
    } else if (const auto* send = std::get_if<op::SendPtys>(&o)) {
      op::SendPtys copy = *send;
      copy.count = made;
      add_op(next.ops, copy);
    } else {
      next.ops.push_back(o);
    }
  }
  return next;
}

}  // namespace condroid::inline v0::detail
