// Landlock: what of it this kernel has, and the op that applies it.

#include <string>
#include <string_view>

#include "formatted.hpp"
#include "plan/checks.hpp"
#include "plan/draft.hpp"
#include "plan/paths.hpp"
#include "plan/words.hpp"

namespace condroid::inline v0::detail {

namespace {

using Access = Flags<LandlockAccess>;

/// The kernel that has it; landlock(7).
constexpr std::string_view kernel_of(unsigned abi) {
  constexpr std::string_view kernels[] = {"", "5.13", "5.19", "6.2", "6.7", "6.10", "6.12"};
  return kernels[abi];
}

/// Rights over files since that version of the interface.
constexpr Access files_of(unsigned abi) {
  if (abi == 0) return {};
  Access all = landlock::all;
  if (abi < 5) all -= LandlockAccess::ioctl_dev;
  if (abi < 3) all -= LandlockAccess::truncate;
  if (abi < 2) all -= LandlockAccess::refer;
  return all;
}

struct Missing {
  std::string_view field;
  std::string names;
  unsigned abi = 0;  ///< The least that has it.
};

/// Takes out what the kernel does not have, and gives it.
std::vector<Missing> cut(Landlock& l, unsigned abi) {
  std::vector<Missing> list;
  if (const Access lost = (l.handled & landlock::all) - files_of(abi); !lost.empty()) {
    unsigned least = 1;
    while (!(lost - files_of(least)).empty()) ++least;
    list.push_back({"security.landlock.handled", flag_names(lost), least});
    l.handled -= lost;
  }
  if (!l.tcp.empty() && abi < 4) {
    list.push_back({"security.landlock.tcp", flag_names(l.tcp), 4});
    l.tcp = {};
    l.bind.clear();
    l.connect.clear();
  }
  if (!l.scope.empty() && abi < 6) {
    list.push_back({"security.landlock.scope", flag_names(l.scope), 6});
    l.scope = {};
  }
  // What only concerned rights that are gone permits nothing any more; the kernel takes no such
  // rule.
  std::erase_if(l.rules, [&](const LandlockRule& r) { return (r.access & l.handled).empty(); });
  return list;
}

std::string needs(const Missing& m, unsigned abi) {
  return abi == 0 ? formatted("'{}', but this kernel has no Landlock", m.names)
                  : formatted("'{}' needs Linux {} (Landlock ABI {}); this kernel has ABI {}",
                              m.names, kernel_of(m.abi), m.abi, abi);
}

}  // namespace

void Checks::landlock() const {
  const Landlock& l = spec.security.landlock;
  known("security.landlock.handled", l.handled);
  known("security.landlock.tcp", l.tcp);
  known("security.landlock.scope", l.scope);
  for (std::size_t i = 0; i < l.rules.size(); ++i) {
    const std::string field = nth("security.landlock.rules", i);
    const LandlockRule& rule = l.rules[i];
    known(field + ".access", rule.access);
    if (!guest_path(field, rule.path)) continue;
    if ((rule.access & l.handled).empty())
      refusals.bad(field,
                   formatted("permits nothing of what is handled at {}", quoted(rule.path.str())),
                   rule.access.empty() ? "give it rights: access=read"
                                       : "set handled = all, or leave it out");
  }
  if (!l.tcp.has(LandlockTcp::bind) && !l.bind.empty())
    refusals.bad("security.landlock.bind", "has ports, but every port may be bound to",
                 "add bind to landlock.tcp");
  if (!l.tcp.has(LandlockTcp::connect) && !l.connect.empty())
    refusals.bad("security.landlock.connect", "has ports, but every port may be connected to",
                 "add connect to landlock.tcp");
  if (l.best_effort) return;
  Landlock kept = l;
  for (const Missing& m : cut(kept, facts.landlock_abi))
    refusals.unsupported(
        m.field, needs(m, facts.landlock_abi),
        facts.landlock_abi == 0
            ? formatted("Linux {} with landlock in lsm= of its command line; or set best_effort",
                        kernel_of(m.abi))
            : "leave it out, or set best_effort");
}

void apply_landlock(Draft& d) {
  Landlock rules = d.spec.security.landlock;
  for (const Missing& m : cut(rules, d.facts.landlock_abi))
    d.plan.left_out.push_back({std::string(m.field), needs(m, d.facts.landlock_abi)});
  if (rules.wanted()) d.add(op::ApplyLandlock{.landlock = std::move(rules)});
}

}  // namespace condroid::inline v0::detail
