#include "plan/seccomp.hpp"

#include <utility>

#include "condroid/plan.hpp"

namespace condroid::inline v0 {

namespace detail {

std::vector<std::uint64_t> own_filter(const Seccomp& seccomp, Refusals& refusals) {
  if (seccomp.kind == Seccomp::rules) return rules_filter(seccomp, refusals);
  return seccomp.kind == Seccomp::bpf ? seccomp.program : std::vector<std::uint64_t>{};
}

}  // namespace detail

Result<Seccomp> compile(const Seccomp& seccomp) {
  if (seccomp.kind != Seccomp::rules) return seccomp;
  detail::Refusals refusals;
  Seccomp filter{.kind = Seccomp::bpf,
                 .arch = seccomp.arch,
                 .program = detail::rules_filter(seccomp, refusals),
                 .and_standard = seccomp.and_standard,
                 .log = seccomp.log};
  if (!refusals.empty()) return fail(refusals.take());
  return filter;
}

}  // namespace condroid::inline v0
