#include "plan/shape.hpp"
namespace condroid::inline v0::detail {
Ids decide_ids(const Spec& spec, const HostFacts& facts, Refusals& refusals) {
  (void)refusals;
  (void)spec;
  (void)facts;
  Ids ids;
  return ids;
}
}  // namespace condroid::inline v0::detail
