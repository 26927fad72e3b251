#include "launch/user_nic.hpp"

#include <csignal>
#include <utility>
#include <variant>
#include <vector>

#include "formatted.hpp"
#include "launch/engine.hpp"
#include "launch/helper.hpp"
#include "sys/netlink.hpp"

namespace condroid::inline v0::detail {

namespace {

/// What says that it is none, in a form that its program can make something of.
Result<void> look_for_bridge(const op::AskUserNic& o, const std::string& bridge) {
  int error = 0;
  const Fd socket = open_netlink(error);
  if (error != 0)
    return fail(error, Step::create_interface, describe(Op(o)) + ": a netlink socket");
  const FoundInterface found = find_interface(socket, bridge);
  if (found.error != 0) return fail(found.error, Step::create_interface, describe(Op(o)));
  if (found.kind == "bridge" || found.kind == "openvswitch") return {};
  return fail(make_error(Errc::unsupported, Step::create_interface,
                         formatted("{}: '{}' is {}", describe(Op(o)), bridge,
                                   found.kind.empty() ? "no bridge" : "a " + found.kind),
                         "name a bridge"));
}

}  // namespace

Result<bool> LaunchEngine::do_op(const op::AskUserNic& o) {
  if (auto known = know_child(Step::create_interface); !known || !*known)
    return known ? state_ != State::configuring : known;
  const std::string& bridge = std::get<UserNic>(o.interface.link).bridge;
  if (!helper_) {
    if (auto ok = look_for_bridge(o, bridge); !ok) return fail(ok);
    auto helper = Helper::run(zygote_,
                              {o.program, "create", "/", plan().name, formatted("{}", pid_.value),
                               "veth", bridge, o.interface.name},
                              -1, program::mark_finishes);
    if (!helper) return fail(helper);
    helper_ = std::move(*helper);
  }
  auto end = program_end(o.program);
  if (!end) return fail(end);
  if (!*end) return false;
  const Helper::Outcome& out = **end;
  const bool well = out.code == CLD_EXITED && out.status == 0;
  if (auto name = user_nic_host_end(out.text); well && name) {
    made_.host_ends.names.emplace_back(o.interface.name, std::move(*name));
    return true;
  }
  std::string why = user_nic_complaint(out.text);
  if (why.empty())
    why = out.code == CLD_EXITED ? formatted("it exited with status {}", out.status)
                                 : formatted("signal {}", out.status);
  return fail(make_error(
      Errc::unsupported, Step::create_interface, formatted("{} failed: {}", describe(Op(o)), why),
      formatted("a line '{} veth {} 10' in /etc/lxc/lxc-usernet lets this user have ten at a time",
                o.user.empty() ? "USER" : o.user, bridge)));
}

}  // namespace condroid::inline v0::detail
