#include "launch/scope.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "formatted.hpp"
#include "sys/cgroup_parents.hpp"
#include "sys/systemd.hpp"

namespace condroid::inline v0::detail {

namespace {

Result<void> check(const RuntimeOptions& options) {
  const SystemdScope& s = options.systemd;
  const std::string_view name = s.slice;
  constexpr std::string_view letters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\";
  if (!name.empty() &&
      (!name.ends_with(".slice") || name.find_first_not_of(letters) != std::string_view::npos))
    return fail(Errc::bad_spec, Step::open_runtime, formatted("slice '{}'", name),
                "the name of a unit that ends in .slice");
  if (s.use == SystemdScope::required && !options.cgroup_parent.empty())
    return fail(Errc::bad_spec, Step::open_runtime,
                formatted("a scope is required, and containers are to be put below '{}'",
                          options.cgroup_parent),
                "one of RuntimeOptions::systemd and cgroup_parent");
  return {};
}

/// A root that may make cgroups at the top, told by one system call: it is the usual one.
bool is_root_of_the_machine() {
  return ::geteuid() == 0 && ::faccessat(AT_FDCWD, "/sys/fs/cgroup", W_OK, AT_EACCESS) == 0;
}

/// Root has the system's systemd, unless the user namespace is no more than a program's: what the
/// real root made belongs to nobody there.
bool asks_the_users(const HostFacts& facts) {
  struct stat st {};
  return facts.uid.value != 0 || (!facts.initial_user_namespace &&
                                  (::stat("/run/systemd/system", &st) < 0 || st.st_uid != 0));
}

Result<void> start(const RuntimeCore& core, HostFacts& facts, const Zygote& zygote,
                   const std::string& unit, bool& asked) {
  const SystemdScope& s = core.options.systemd;
  const ScopeRequest request{
      .of_user = asks_the_users(facts),
      .unit = unit,
      .slice = s.slice,
      .process = zygote.pid().value,
      .patience = std::max(s.patience, std::chrono::milliseconds{0}),
  };
  if (auto ok = start_scope(request, asked); !ok) return fail(ok);
  return put_below_scope(facts, request.process, unit);
}

}  // namespace

Result<void> settle_scope(RuntimeCore& core) {
  const SystemdScope& s = core.options.systemd;
  if (auto ok = check(core.options); !ok) return fail(ok);
  if (s.use == SystemdScope::never || !core.options.cgroup_parent.empty()) return {};
  if (s.use == SystemdScope::when_needed && is_root_of_the_machine()) return {};
  auto known = core.get_facts();
  if (!known) return fail(known);
  if (s.use == SystemdScope::when_needed &&
      ((*known)->cgroups.empty() || has_usable_cgroups(**known)))
    return {};

  HostFacts facts = **known;
  const std::string unit = core.zygote->runtime_name() + ".scope";
  bool asked = false;
  auto done = start(core, facts, *core.zygote, unit, asked);
  if (done) {
    core.scope.unit = unit;
    *core.facts = std::move(facts);
    return {};
  }
  if (s.use == SystemdScope::required) return fail(done);
  core.scope.why_not = to_string(done.error());
  if (!asked) return {};
  // systemd may move that zygote yet, or has; the next one it has never heard of.
  core.zygote.reset();
  auto next = core.get_zygote();
  if (!next) return fail(next);
  return {};
}

Result<void> enter_scope_again(RuntimeCore& core, const Zygote& zygote) {
  HostFacts facts = *core.facts;
  bool asked = false;
  if (auto ok = start(core, facts, zygote, core.scope.unit, asked); !ok) return fail(ok);
  if (std::ranges::equal(facts.cgroups, core.facts->cgroups, {}, &CgroupHierarchy::parent,
                         &CgroupHierarchy::parent))
    return {};
  return fail(Errc::unsupported, Step::start_scope,
              formatted("'{}' is not where it was before", core.scope.unit), "open a new Runtime");
}

}  // namespace condroid::inline v0::detail
