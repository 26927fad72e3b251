#include "plan/ops.hpp"

#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace condroid::inline v0::detail {

template <class O>
void add_op(std::vector<Op>& list, O o) {
  list.emplace_back(std::move(o));
}

namespace {

template <class... O>
constexpr auto for_each_kind(std::type_identity<std::variant<O...>>) {
  return std::tuple{&add_op<O>...};
}

}  // namespace

// Whose addresses are taken here is compiled here.
extern const decltype(for_each_kind(std::type_identity<Op>{})) add_op_of_each_kind;
const decltype(for_each_kind(std::type_identity<Op>{})) add_op_of_each_kind =
    for_each_kind(std::type_identity<Op>{});

}  // namespace condroid::inline v0::detail

// As op.hpp says.
template class std::vector<condroid::Op>;
