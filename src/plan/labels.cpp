// Labels of security modules: of what is executed, and of the mounts that are made for it.

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "config/apparmor_rules.hpp"
#include "formatted.hpp"
#include "plan/checks.hpp"
#include "plan/draft.hpp"
#include "plan/words.hpp"

namespace condroid::inline v0::detail {

namespace {

/// What a file of /proc/self/attr takes as one word: nothing that could say more than a name.
bool is_label(std::string_view label) {
  return label.size() < 1024 &&
         std::ranges::all_of(label, [](char c) { return c > ' ' && c < '\x7f'; });
}

/// File systems whose files may be given one context for all.
bool takes_context(const op::MountOp& m) {
  return m.source == op::MountOp::filesystem &&
         (m.what == "tmpfs" || m.what == "overlay" || m.what == "devpts");
}

/// Whether rules end the profile that they stand in, or leave something open.
bool leave_profile(const std::vector<std::string>& rules) {
  int depth = 0;
  for (const std::string& rule : rules) {
    bool quoted = false;
    for (std::size_t i = 0; i < rule.size(); ++i) {
      const char c = rule[i];
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        quoted = !quoted;
      } else if (!quoted) {
        if (c == '#') break;
        if (c == '{') ++depth;
        if (c == '}' && --depth < 0) return true;
      }
    }
    if (quoted) return true;
  }
  return depth != 0;
}

constexpr const char* boot_apparmor = "boot with apparmor=1 security=apparmor, or leave it out";
constexpr unsigned cap_mac_admin = 33;

}  // namespace

void Checks::own_profile() const {
  const Security& s = spec.security;
  if (!s.own_apparmor && !s.apparmor_rules.empty())
    refusals.bad("security.apparmor_rules", "there is no profile of its own",
                 "set security.own_apparmor, or leave them out");
  for (const std::string& rule : s.apparmor_rules)
    if (std::ranges::any_of(rule, [](char c) { return c != '\t' && (c < ' ' || c == '\x7f'); }))
      refusals.bad("security.apparmor_rules", formatted("{} has control characters", quoted(rule)),
                   "one line each");
  if (leave_profile(s.apparmor_rules))
    refusals.bad("security.apparmor_rules", "their braces or quotation marks end the profile",
                 "each '{' has its '}' behind it");
  if (!s.own_apparmor) return;
  constexpr std::string_view field = "security.own_apparmor";
  if (!s.apparmor.empty())
    refusals.bad(field, formatted("and {} in security.apparmor are two", quoted(s.apparmor)),
                 "one profile holds for a command: name it, or have it made");
  // Its processes may outlive it, and a profile that is removed sets free whom it held.
  if (!shape.own(Namespace::pid) && spec.resources.cgroup == CgroupMode::never)
    refusals.bad(
        field,
        "nothing says when its last process has gone: no pid namespace of its own, no cgroup",
        "leave resources.cgroup = never out");
  if (!facts.apparmor)
    refusals.unsupported(field, "AppArmor is not active on this machine", boot_apparmor);
  else if (!facts.apparmor_loads || !facts.has_cap(cap_mac_admin))
    refusals.unsupported(field, "this user may not load profiles",
                         "it takes CAP_MAC_ADMIN, and securityfs at /sys/kernel/security");
  else if (facts.apparmor_parser.empty())
    refusals.unsupported(field, "apparmor_parser is not installed", "Debian: package apparmor");
}

void Checks::labels() const {
  const Security& s = spec.security;
  const auto check = [&](std::string_view field, const std::string& label, bool active,
                         std::string_view module, const char* boot) {
    if (label.empty()) return;
    if (!is_label(label))
      refusals.bad(field, formatted("{} is no label", quoted(label)),
                   "it has no blanks, and below 1024 characters");
    if (!active)
      refusals.unsupported(field, formatted("{} is not active on this machine", module), boot);
  };
  check("security.apparmor", s.apparmor, facts.apparmor, "AppArmor", boot_apparmor);
  own_profile();
  constexpr const char* selinux = "boot with selinux=1 security=selinux, or leave it out";
  check("security.selinux", s.selinux, facts.selinux, "SELinux", selinux);
  check("security.selinux_mount", s.selinux_mount, facts.selinux, "SELinux", selinux);
  check("security.selinux_keyring", s.selinux_keyring, facts.selinux, "SELinux", selinux);
  if (!s.selinux_keyring.empty() && !s.own_keyring)
    refusals.bad("security.selinux_keyring", "it has no keyring of its own",
                 "set security.own_keyring, or leave it out");
  if (!s.selinux_mount.empty() && s.selinux_mount.find('"') != std::string::npos)
    refusals.bad("security.selinux_mount", "has a quotation mark", "a context has none");
}

void set_labels(Draft& d) {
  const Security& s = d.spec.security;
  if (s.own_apparmor) d.add(op::SetLabel{.proc = d.proc, .apparmor = true, .own = true});
  if (!s.apparmor.empty())
    d.add(op::SetLabel{.proc = d.proc, .apparmor = true, .label = s.apparmor});
  if (!s.selinux.empty()) d.add(op::SetLabel{.proc = d.proc, .label = s.selinux});
  if (!s.selinux_keyring.empty())
    d.add(op::SetLabel{.proc = d.proc, .label = s.selinux_keyring, .keyring = true});
}

void load_profile(Draft& d) {
  if (!d.spec.security.own_apparmor) return;
  auto rules = apparmor::rules_of(d.spec);
  if (!rules) {
    d.refusals.bad("security.own_apparmor", rules.error().subject, rules.error().hint);
    return;
  }
  d.add(op::LoadProfile{.parser = d.facts.apparmor_parser, .rules = std::move(*rules)});
}

void label_mounts(Draft& d) {
  const std::string& context = d.spec.security.selinux_mount;
  if (context.empty()) return;
  for (Op& o : d.plan.ops) {
    if (std::holds_alternative<op::OverlayTrees>(o))
      d.refusals.unsupported("security.selinux_mount",
                             "overlays above directories whose owners are shifted take no context",
                             "leave idmapped out, or label the layers");
    if (auto* m = std::get_if<op::MountOp>(&o); m != nullptr && takes_context(*m))
      m->options.push_back("context=" + context);
  }
}

}  // namespace condroid::inline v0::detail
