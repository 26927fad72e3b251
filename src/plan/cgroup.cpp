#include "plan/shape.hpp"
namespace condroid::inline v0::detail {
std::vector<Group> decide_cgroups(const Spec&, const HostFacts&, const Shape&, Refusals&) {
  return {};
}
}  // namespace condroid::inline v0::detail
