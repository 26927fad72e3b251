#include "plan/shape.hpp"
namespace condroid::inline v0::detail {
void validate(const Spec&, const HostFacts&, const Shape&, Refusals&) {}
}  // namespace condroid::inline v0::detail
