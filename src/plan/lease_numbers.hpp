// The addresses of a subnet by number: what leases are. Private.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "condroid/spec/address.hpp"

namespace condroid::inline v0::detail {

/// The bridge has number 1; 0 is the network itself.
inline constexpr std::uint64_t bridge_number = 1;
inline constexpr std::uint64_t first_lease = 2;

/// The highest that is given; of IPv6 more than anybody counts.
[[nodiscard]] constexpr std::uint64_t last_lease(const IpPrefix& subnet) {
  const unsigned bits = 8 * subnet.address.size() - subnet.length;
  constexpr unsigned most = 32;
  if (bits > most) return (std::uint64_t{1} << most) - 1;
  // The last one of IPv4 is the broadcast address.
  return (std::uint64_t{1} << bits) - (subnet.address.is_v6() ? 1U : 2U);
}

[[nodiscard]] constexpr IpAddress leased_address(const IpPrefix& subnet, std::uint64_t number) {
  std::array<std::uint8_t, 16> bytes = subnet.first().bytes();
  for (unsigned at = subnet.address.size(); number != 0 && at > 0; number >>= 8U)
    --at, bytes[at] = static_cast<std::uint8_t>(bytes[at] | (number & 0xffU));
  return IpAddress::from_bytes(bytes, subnet.address.is_v6());
}

/// Nothing for an address of another network, and for one so far behind that it has no number.
[[nodiscard]] constexpr std::optional<std::uint64_t> lease_number(const IpPrefix& subnet,
                                                                  const IpAddress& address) {
  if (!subnet.contains(address)) return {};
  std::uint64_t number = 0;
  for (unsigned i = 0; i < address.size(); ++i) {
    const unsigned byte = address.bytes()[i] ^ subnet.first().bytes()[i];
    if (number >> 48U != 0) return {};
    number = number << 8U | byte;
  }
  return number;
}

}  // namespace condroid::inline v0::detail
