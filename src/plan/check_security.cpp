// What opens a container towards the host, and whether its author said so.
#include <linux/filter.h>

#include <algorithm>
#include <string>

#include "formatted.hpp"
#include "plan/capabilities.hpp"
#include "plan/checks.hpp"
#include "plan/paths.hpp"
#include "plan/seccomp.hpp"
#include "plan/words.hpp"

namespace condroid::inline v0::detail {

namespace {

std::string capability_names(std::uint64_t bits) {
  std::vector<std::string> names;
  for (unsigned c = 0; c < 64; ++c)
    if (((bits >> c) & 1U) != 0)
      names.emplace_back(c < capability_count ? std::string(to_string(static_cast<Capability>(c)))
                                              : formatted("bit{}", c));
  return listed(names, ", ");
}

/// Whether one of the paths is this one or one above it.
bool covered(const std::vector<GuestPath>& paths, std::string_view path) {
  return std::ranges::any_of(paths, [&](const GuestPath& p) {
    const std::string above = normalized(p.str());
    return above == path || is_below(above, path);
  });
}

/// A name of sysctl(8) as the path below /proc/sys that it stands for.
std::string setting_path(const std::string& name) {
  std::string path = name;
  if (name.find('/') == std::string::npos) std::ranges::replace(path, '.', '/');
  return path;
}

bool is_setting_path(std::string_view path) {
  if (path.empty() || path.front() == '/' || path.back() == '/') return false;
  if (path.find("//") != std::string_view::npos) return false;
  for (const std::string_view name : components(path))
    if (name == "..") return false;
  return std::ranges::all_of(path, [](char c) { return c > ' ' && c < '\x7f'; });
}

}  // namespace

void Checks::security() const {
  const Security& s = spec.security;
  known("security.allow", s.allow);
  if (allowed(Allow::nesting) && !spec.devices.populate)
    refusals.bad("security.allow", "'nesting' puts a procfs and a sysfs into a /dev of its own",
                 "populate /dev");
  if (!s.no_new_privs)
    need(Allow::new_privileges, "security.no_new_privs",
         "without it programs gain privileges by set-id bits and file capabilities");
  capabilities();
  seccomp();
  landlock();
  labels();
  sysctls();
}

void Checks::capabilities() const {
  const Security& s = spec.security;
  constexpr std::string_view field = "security.capabilities";
  const std::uint64_t wanted = s.capabilities.bits();
  if (const std::uint64_t unknown = wanted & ~CapabilitySet::all().bits(); unknown != 0) {
    refusals.bad(field, formatted("there is no capability '{}'", capability_names(unknown)),
                 "capabilities(7) lists them");
    return;
  }
  if (const std::uint64_t more = wanted & ~CapabilitySet::small().bits(); more != 0)
    need(Allow::capabilities, field, formatted("more than the usual: {}", capability_names(more)));
  if (s.capabilities.has(Capability::sys_admin) && !shape.ids.inside())
    need(Allow::real_root, field,
         "sys_admin without a user namespace of its own is the host's root");

  if (!capability_sets_agree("security.")) return;
  // What the process is to have; a bound may be wider than what there is.
  const CapabilitySets sets = capability_sets(spec);
  const std::uint64_t had = sets.permitted->bits() | sets.inheritable->bits();
  if (had == 0) return;
  const std::uint64_t beyond =
      facts.last_capability >= 63 ? 0 : had & ~((std::uint64_t{2} << facts.last_capability) - 1);
  if (beyond != 0)
    refusals.unsupported(field, formatted("this kernel has no {}", capability_names(beyond)),
                         "take it out of the set");
  // Who may not even do without a user namespace was told so.
  if (shape.ids.inside() || !facts.privileged()) return;
  if (const std::uint64_t lacking = had & ~beyond & ~facts.effective_caps; lacking != 0)
    refusals.unsupported(field,
                         formatted("the calling program has no {}", capability_names(lacking)),
                         "take it out of the set, or use a user namespace of its own");
}

bool Checks::capability_sets_agree(std::string_view at) const {
  const Security& s = spec.security;
  const CapabilitySets sets = capability_sets(spec);
  const auto field = [at](std::string_view name) { return formatted("{}{}", at, name); };
  const std::string all = field("capabilities");
  bool good = true;
  const auto refuse = [&](std::string_view name, std::string_view what, std::string hint) {
    refusals.bad(field(name), what, std::move(hint));
    good = false;
  };
  const auto within = [&](std::string_view name, CapabilitySet inner, CapabilitySet outer,
                          std::string_view what) {
    if (const std::uint64_t more = inner.bits() & ~outer.bits(); more != 0)
      refuse(name, formatted("{} in it, but not in {}", capability_names(more), what),
             "take it out here, or add it there");
  };
  if (s.ambient && s.sets.ambient)
    refuse("ambient", formatted("says all of them, and {} says which", field("sets.ambient")),
           "say one of the two");
  within("sets.permitted", *sets.permitted, s.capabilities, all);
  within("sets.inheritable", *sets.inheritable, s.capabilities, all);
  within("sets.effective", *sets.effective, *sets.permitted, "the permitted ones");
  within("sets.ambient", *sets.ambient, *sets.permitted, "the permitted ones");
  within("sets.ambient", *sets.ambient, *sets.inheritable, "the inheritable ones");
  known(field("securebits"), s.securebits);
  if (!good || spec.process.uid.value != 0 || s.securebits.has(Securebit::noroot)) return good;
  // exec(2) gives root the bounding set whatever it had.
  for (const auto& [name, set] :
       {std::pair{"sets.permitted", *sets.permitted}, std::pair{"sets.effective", *sets.effective}})
    if (good && set != s.capabilities)
      refuse(name, formatted("uid 0 has all of {} once it executes the command", all),
             formatted("set securebits = noroot, or take them out of {}", all));
  return good;
}

void Checks::seccomp() const {
  const Seccomp& s = spec.security.seccomp;
  constexpr std::string_view field = "security.seccomp";
  known("security.seccomp.arch", s.arch);
  // Of BPF, too: what a Runtime launches are rules that have become such a filter.
  const bool open = s.kind != Seccomp::none && !has_standard(s) && lets_others_through(s);
  if (s.kind == Seccomp::none || open)
    need(Allow::all_syscalls, field,
         open ? "without the standard filter all that this one does not name may be called"
              : "without a filter every system call may be made");
  if (s.kind != Seccomp::rules &&
      (s.otherwise != Seccomp{}.otherwise || s.error != Seccomp{}.error))
    refusals.bad("security.seccomp.otherwise", "is for rules, and the filter is not made of rules",
                 "set kind = rules, or leave it out");
  if (has_standard(s) && s.arch.has(SyscallArch::x32))
    refusals.bad("security.seccomp.arch", "the standard filter has no calls of x32",
                 "leave x32 out, or set and_standard = false");
  if (s.kind != Seccomp::rules && !s.list.empty())
    refusals.bad("security.seccomp.list", "has rules, but the filter is not made of rules",
                 "set kind = rules, or leave them out");
  if (s.kind != Seccomp::bpf && !s.program.empty())
    refusals.bad("security.seccomp.program", "is there, but the filter is another",
                 "set kind = bpf, or leave it out");
  if (s.kind != Seccomp::bpf && !s.notify_program.empty())
    refusals.bad("security.seccomp.notify_program", "is there, but the filter is another",
                 "set kind = bpf, or write rules with the action notify");
  for (const auto& [name, program] : {std::pair{"security.seccomp.program", &s.program},
                                      {"security.seccomp.notify_program", &s.notify_program}})
    if (s.kind == Seccomp::bpf &&
        (program->size() > BPF_MAXINSNS ||
         (s.program.empty() && s.notify_program.empty() && program == &s.program)))
      refusals.bad(
          name,
          formatted("has {} instructions; the kernel takes 1 to {}", program->size(), BPF_MAXINSNS),
          "give a filter that ends with a return");
}

void Checks::sysctls() const {
  const auto& list = spec.security.sysctls;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string field = nth("security.sysctls", i);
    if (!text(field, list[i].name) || !text(field, list[i].value)) continue;
    const std::string path = setting_path(list[i].name);
    if (!is_setting_path(path)) {
      refusals.bad(field, formatted("{} is no kernel setting", quoted(list[i].name)),
                   "for instance net.ipv4.ip_forward");
      continue;
    }
    for (std::size_t k = 0; k < i; ++k)
      if (setting_path(list[k].name) == path)
        refusals.bad(field, formatted("'{}' is set twice", list[i].name), "leave out one of them");
    const auto of = [&](Namespace kind) {
      if (shape.own(kind)) return;
      refusals.bad(field,
                   formatted("'{}' needs a namespace of its own: {}", list[i].name, name_of(kind)),
                   formatted("add {} to namespaces", name_of(kind)));
    };
    if (path.starts_with("net/"))
      of(Namespace::net);
    else if (path.starts_with("kernel/shm") || path.starts_with("kernel/msg") ||
             path.starts_with("kernel/sem") || path == "kernel/auto_msgmni" ||
             path.starts_with("fs/mqueue/"))
      of(Namespace::ipc);
    else if (path == "kernel/hostname" || path == "kernel/domainname")
      of(Namespace::uts);
    else if (path.starts_with("user/"))
      of(Namespace::user);
    else
      refusals.bad(field, formatted("'{}' is a setting of the whole host", list[i].name),
                   "a container has net.*, kernel.shm*, kernel.msg*, kernel.sem*, fs.mqueue.* and "
                   "user.* of its own");
  }
}

void Checks::masks() const {
  const Security& s = spec.security;
  for (const auto& [name, list] : {std::pair{"security.masked_paths", &s.masked_paths},
                                   {"security.read_only_paths", &s.read_only_paths}})
    for (std::size_t i = 0; i < list->size(); ++i)
      if (const std::string field = nth(name, i); guest_path(field, (*list)[i]))
        if (normalized((*list)[i].str()) == "/")
          refusals.bad(field, "is the root itself",
                       "name what is below it; root.read_only is for the whole");
  if (!shape.own_root()) return;  // the kernel's files are as they are there

  std::vector<std::string> missing;
  for (const GuestPath& p : default_masked_paths())
    if (!covered(s.masked_paths, p.str())) missing.push_back(p.str());
  if (!missing.empty())
    need(Allow::unmasked_kernel, "security.masked_paths",
         "some of the default are missing: " + listed(missing, ", "));
  missing.clear();
  for (const GuestPath& p : default_read_only_paths())
    if (!covered(s.read_only_paths, p.str()) && !covered(s.masked_paths, p.str()))
      missing.push_back(p.str());
  if (!missing.empty())
    need(Allow::unmasked_kernel, "security.read_only_paths",
         "some of the default are missing: " + listed(missing, ", "));
}

void Checks::hidden_below(std::string_view field, std::string_view usual, std::string_view target,
                          bool read_only) const {
  const Security& s = spec.security;
  std::vector<std::string> missing;
  const auto look = [&](const std::vector<GuestPath>& defaults, bool masked_only) {
    for (const GuestPath& p : defaults) {
      if (!is_below(usual, p.str())) continue;
      std::string here(target);
      here += p.str().substr(usual.size());
      if (covered(s.masked_paths, here)) continue;
      if (!masked_only && covered(s.read_only_paths, here)) continue;
      missing.push_back(std::move(here));
    }
  };
  look(default_masked_paths(), true);
  if (!read_only) look(default_read_only_paths(), false);
  if (!missing.empty())
    need(Allow::unmasked_kernel, field,
         "kernel files are open here that are hidden or read-only by default: " +
             listed(missing, ", "));
}

}  // namespace condroid::inline v0::detail
