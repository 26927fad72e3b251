// Addresses of networks: IPv4 and IPv6, with and without a prefix length, and of Ethernet.
//
//   using namespace condroid::literals;
//   IpPrefix a = "10.0.3.2/24"_prefix;                  // checked while it is compiled
//   IpAddress b = "fe80::1"_ip;
//   std::optional<IpPrefix> c = IpPrefix::parse(text);  // checked while it runs
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace condroid {
inline namespace v0 {

/// An IPv4 or IPv6 address. The default one is 0.0.0.0.
class IpAddress {
 public:
  constexpr IpAddress() = default;
  /// Dotted IPv4 of four decimal numbers, or IPv6 as in RFC 4291, without a zone; nothing for
  /// anything else. As inet_pton(3).
  [[nodiscard]] static constexpr std::optional<IpAddress> parse(std::string_view text) noexcept;

  /// Network byte order; of IPv4 the first four count.
  [[nodiscard]] static constexpr IpAddress from_bytes(const std::array<std::uint8_t, 16>& bytes,
                                                      bool v6) noexcept {
    IpAddress a;
    a.v6_ = v6;
    for (unsigned i = 0; i < a.size(); ++i) a.bytes_[i] = bytes[i];
    return a;
  }

  [[nodiscard]] constexpr bool is_v6() const noexcept { return v6_; }
  /// Network byte order; of IPv4 the first four count.
  [[nodiscard]] constexpr const std::array<std::uint8_t, 16>& bytes() const noexcept {
    return bytes_;
  }
  /// 4 or 16.
  [[nodiscard]] constexpr unsigned size() const noexcept { return v6_ ? 16 : 4; }
  /// 0.0.0.0 or ::.
  [[nodiscard]] constexpr bool is_any() const noexcept {
    return bytes_ == std::array<std::uint8_t, 16>{};
  }
  [[nodiscard]] constexpr bool is_multicast() const noexcept {
    return v6_ ? bytes_[0] == 0xff : (bytes_[0] & 0xf0U) == 0xe0;
  }
  [[nodiscard]] constexpr bool is_loopback() const noexcept;
  /// fe80::/10.
  [[nodiscard]] constexpr bool is_link_local() const noexcept {
    return v6_ && bytes_[0] == 0xfe && (bytes_[1] & 0xc0U) == 0x80;
  }
  constexpr auto operator<=>(const IpAddress&) const = default;

 private:
  std::array<std::uint8_t, 16> bytes_ = {};
  bool v6_ = false;
};

/// The address, as RFC 5952 writes it.
[[nodiscard]] std::string to_string(const IpAddress& address);

/// An address and how many of its bits name the network: "10.0.3.2/24", an interface's address, or
/// "10.0.3.0/24", a network.
struct IpPrefix {
  IpAddress address = {};
  std::uint8_t length = 0;  ///< At most 32 for IPv4, 128 for IPv6.

  /// Without "/LENGTH" it is that of one address: 32 or 128.
  [[nodiscard]] static constexpr std::optional<IpPrefix> parse(std::string_view text) noexcept;
  [[nodiscard]] constexpr bool contains(const IpAddress& other) const noexcept;
  /// The first address and the last one that the network has: "10.0.3.0" and "10.0.3.255" of
  /// "10.0.3.2/24".
  [[nodiscard]] constexpr IpAddress first() const noexcept { return with_host_bits(false); }
  [[nodiscard]] constexpr IpAddress last() const noexcept { return with_host_bits(true); }
  constexpr auto operator<=>(const IpPrefix&) const = default;

 private:
  [[nodiscard]] constexpr IpAddress with_host_bits(bool ones) const noexcept;
};
[[nodiscard]] std::string to_string(const IpPrefix& prefix);

/// An Ethernet address.
struct MacAddress {
  std::array<std::uint8_t, 6> bytes = {};

  /// Six pairs of hexadecimal digits with ':' between them.
  [[nodiscard]] static constexpr std::optional<MacAddress> parse(std::string_view text) noexcept;
  [[nodiscard]] constexpr bool is_multicast() const noexcept { return (bytes[0] & 1U) != 0; }
  constexpr auto operator<=>(const MacAddress&) const = default;
};
[[nodiscard]] std::string to_string(const MacAddress& mac);

// ---- how they are read --------------------------------------------------------------------------

namespace detail {
constexpr int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}
/// A decimal number without leading zeros, at most `most`; -1 for anything else.
constexpr int small_number(std::string_view text, int most) noexcept {
  if (text.empty() || text.size() > 3 || (text.size() > 1 && text[0] == '0')) return -1;
  int value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  return value <= most ? value : -1;
}
constexpr bool read_v4(std::string_view text, std::uint8_t* out) noexcept {
  for (int i = 0; i < 4; ++i) {
    const std::size_t dot = text.find('.');
    if ((dot == std::string_view::npos) != (i == 3)) return false;
    const int value = small_number(text.substr(0, dot), 255);
    if (value < 0) return false;
    out[i] = static_cast<std::uint8_t>(value);
    if (i < 3) text.remove_prefix(dot + 1);
  }
  return true;
}
/// Groups of hexadecimal digits, at most `room` bytes of them, an IPv4 address possibly last. The
/// number of bytes, or -1.
constexpr int read_groups(std::string_view text, std::uint8_t* out, int room,
                          bool v4_may_follow) noexcept {
  int used = 0;
  while (!text.empty()) {
    const std::size_t colon = text.find(':');
    const std::string_view group = text.substr(0, colon);
    if (colon == std::string_view::npos && v4_may_follow &&
        group.find('.') != std::string_view::npos) {
      if (used + 4 > room || !read_v4(group, out + used)) return -1;
      return used + 4;
    }
    if (group.empty() || group.size() > 4 || used + 2 > room) return -1;
    int value = 0;
    for (const char c : group) {
      const int digit = hex_digit(c);
      if (digit < 0) return -1;
      value = value * 16 + digit;
    }
    out[used++] = static_cast<std::uint8_t>(value >> 8);
    out[used++] = static_cast<std::uint8_t>(value & 0xff);
    if (colon == std::string_view::npos) return used;
    text.remove_prefix(colon + 1);
    if (text.empty()) return -1;
  }
  return used;
}
}  // namespace detail

constexpr std::optional<IpAddress> IpAddress::parse(std::string_view text) noexcept {
  IpAddress a;
  if (text.find(':') == std::string_view::npos) {
    if (!detail::read_v4(text, a.bytes_.data())) return {};
    return a;
  }
  a.v6_ = true;
  const std::size_t gap = text.find("::");
  if (gap == std::string_view::npos) {
    if (detail::read_groups(text, a.bytes_.data(), 16, true) != 16) return {};
    return a;
  }
  // "::" stands for at least one group of zeros.
  std::array<std::uint8_t, 16> tail{};
  const int left = detail::read_groups(text.substr(0, gap), a.bytes_.data(), 14, false);
  if (left < 0) return {};
  const int right = detail::read_groups(text.substr(gap + 2), tail.data(), 14 - left, true);
  if (right < 0) return {};
  const auto last = static_cast<std::size_t>(right);
  for (std::size_t i = 0; i < last; ++i) a.bytes_[16 - last + i] = tail[i];
  return a;
}

constexpr bool IpAddress::is_loopback() const noexcept {
  if (!v6_) return bytes_[0] == 127;
  std::array<std::uint8_t, 16> one{};
  one[15] = 1;
  return bytes_ == one;
}

constexpr std::optional<IpPrefix> IpPrefix::parse(std::string_view text) noexcept {
  const std::size_t slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return {};
  const int most = address->is_v6() ? 128 : 32;
  int length = most;
  if (slash != std::string_view::npos) length = detail::small_number(text.substr(slash + 1), most);
  if (length < 0) return {};
  return IpPrefix{*address, static_cast<std::uint8_t>(length)};
}

constexpr bool IpPrefix::contains(const IpAddress& other) const noexcept {
  if (other.is_v6() != address.is_v6()) return false;
  for (unsigned bit = 0; bit < length; ++bit) {
    const unsigned mask = 0x80U >> (bit % 8);
    if (((address.bytes()[bit / 8] ^ other.bytes()[bit / 8]) & mask) != 0) return false;
  }
  return true;
}

constexpr IpAddress IpPrefix::with_host_bits(bool ones) const noexcept {
  std::array<std::uint8_t, 16> bytes = address.bytes();
  for (unsigned bit = length; bit < 8 * address.size(); ++bit) {
    const unsigned mask = 0x80U >> (bit % 8);
    const unsigned byte = bytes[bit / 8];
    bytes[bit / 8] = static_cast<std::uint8_t>(ones ? byte | mask : byte & ~mask);
  }
  return IpAddress::from_bytes(bytes, address.is_v6());
}

constexpr std::optional<MacAddress> MacAddress::parse(std::string_view text) noexcept {
  if (text.size() != 17) return {};
  MacAddress mac;
  for (std::size_t i = 0; i < 6; ++i) {
    const int high = detail::hex_digit(text[3 * i]);
    const int low = detail::hex_digit(text[3 * i + 1]);
    if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':')) return {};
    mac.bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return mac;
}

namespace literals {
// What is none does not compile.
[[nodiscard]] consteval IpAddress operator""_ip(const char* text, std::size_t size) {
  return IpAddress::parse({text, size}).value();
}
/// With "/LENGTH", or without for one address.
[[nodiscard]] consteval IpPrefix operator""_prefix(const char* text, std::size_t size) {
  return IpPrefix::parse({text, size}).value();
}
[[nodiscard]] consteval MacAddress operator""_mac(const char* text, std::size_t size) {
  return MacAddress::parse({text, size}).value();
}
}  // namespace literals

}  // namespace v0
}  // namespace condroid
