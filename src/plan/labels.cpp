// Labels of security modules: of what is executed, and of the mounts that are made for it.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>

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

}  // namespace

void Checks::labels() const {
  const Security& s = spec.security;
  const auto check = [&](std::string_view field, const std::string& label, bool active,
                         std::string_view module, const char* boot) {
    if (label.empty()) return;
    if (!is_label(label))
      refusals.bad(field, fmt::format("{} is no label", quoted(label)),
                   "it has no blanks, and below 1024 characters");
    if (!active)
      refusals.unsupported(field, fmt::format("{} is not active on this machine", module), boot);
  };
  check("security.apparmor", s.apparmor, facts.apparmor, "AppArmor",
        "boot with apparmor=1 security=apparmor, or leave it out");
  constexpr const char* selinux = "boot with selinux=1 security=selinux, or leave it out";
  check("security.selinux", s.selinux, facts.selinux, "SELinux", selinux);
  check("security.selinux_mount", s.selinux_mount, facts.selinux, "SELinux", selinux);
  if (!s.selinux_mount.empty() && s.selinux_mount.find('"') != std::string::npos)
    refusals.bad("security.selinux_mount", "has a quotation mark", "a context has none");
}

void set_labels(Draft& d) {
  const Security& s = d.spec.security;
  if (!s.apparmor.empty())
    d.add(op::SetLabel{.proc = d.proc, .apparmor = true, .label = s.apparmor});
  if (!s.selinux.empty()) d.add(op::SetLabel{.proc = d.proc, .label = s.selinux});
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
