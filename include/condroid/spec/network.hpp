// The network of a container. A new network namespace has the loopback only.
#pragma once

namespace condroid {
inline namespace v0 {

struct Network {
  bool loopback_up = true;  ///< Bring "lo" up in a new network namespace.
  bool operator==(const Network&) const = default;
};

}  // namespace v0
}  // namespace condroid
