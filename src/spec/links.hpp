// What the links of interfaces have in common. Private.
#pragma once

#include <string_view>
#include <type_traits>
#include <variant>

#include "condroid/spec/network.hpp"

namespace condroid::inline v0::detail {

/// The host's interface that a link hangs on: the bridge or the parent. Empty when there is none.
[[nodiscard]] inline std::string_view parent_of(const Interface::Link& link) {
  return std::visit(
      []<class L>(const L& l) -> std::string_view {
        if constexpr (requires { l.parent; })
          return l.parent;
        else if constexpr (requires { l.bridge; })
          return l.bridge;
        else if constexpr (std::is_same_v<L, NatBridge>)
          return l.name;
        else
          return {};
      },
      link);
}

}  // namespace condroid::inline v0::detail
