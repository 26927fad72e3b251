#include "plan/seccomp.hpp"

#include "condroid/plan.hpp"

namespace condroid::inline v0::detail {

std::vector<std::uint64_t> filter_of(const Security& security, Refusals& refusals) {
  switch (security.seccomp.kind) {
    case Seccomp::standard:
      return standard_filter(security);
    case Seccomp::rules:
      return rules_filter(security.seccomp, refusals);
    case Seccomp::bpf:
      return security.seccomp.program;
    case Seccomp::none:
      return {};
  }
  return {};
}

}  // namespace condroid::inline v0::detail

namespace condroid::inline v0 {

Result<Seccomp> compile(const Seccomp& seccomp) {
  if (seccomp.kind != Seccomp::rules) return seccomp;
  detail::Refusals refusals;
  Seccomp filter{
      .kind = Seccomp::bpf, .program = detail::rules_filter(seccomp, refusals), .log = seccomp.log};
  if (!refusals.empty()) return fail(refusals.take());
  return filter;
}

}  // namespace condroid::inline v0

namespace condroid::inline v0::detail {

std::string_view filter_name(Seccomp::Kind kind) {
  switch (kind) {
    case Seccomp::standard:
      return "the standard filter";
    case Seccomp::rules:
      return "a filter of rules";
    case Seccomp::bpf:
      return "a filter of the caller's";
    case Seccomp::none:
      return "none";
  }
  return "";
}

}  // namespace condroid::inline v0::detail
