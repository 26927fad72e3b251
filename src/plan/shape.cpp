#include "plan/shape.hpp"

#include <algorithm>

#include "plan/draft.hpp"

namespace condroid::inline v0::detail {

Shape decide(const Spec& spec, const HostFacts& facts, Refusals& refusals) {
  Shape s;
  for (const Join& join : spec.join) s.joined |= join.kind;
  s.ids = decide_ids(spec, facts, refusals);
  s.confined = s.ids.inside() || !facts.initial_user_namespace;
  s.host_is_root = facts.privileged() && facts.initial_user_namespace;
  s.fresh = spec.namespaces - s.joined;  // to join one is to say where it comes from
  if (s.ids.own) s.fresh |= Namespace::user;
  const Stdio& stdio = spec.process.stdio;
  s.console = spec.terminal.console || stdio.in.kind == Stream::pty ||
              stdio.out.kind == Stream::pty || stdio.err.kind == Stream::pty;
  const Security& security = spec.security;
  s.proc_early =
      !security.sysctls.empty() || !security.apparmor.empty() || security.own_apparmor ||
      !security.selinux.empty() || !security.selinux_keyring.empty() ||
      spec.process.oom_score_adj.has_value() || !spec.process.proc_files.empty() ||
      s.fresh.has(Namespace::time) ||
      (s.own(Namespace::net) && std::ranges::any_of(spec.network.interfaces, is_without_ipv6));
  s.groups = decide_cgroups(spec, facts, s, refusals, s.left_out);
  return s;
}

}  // namespace condroid::inline v0::detail
