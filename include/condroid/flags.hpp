// Flags<E>: a typed set of bits, made from an enum whose enumerators are single bits.
//
//   enum class MountFlag : std::uint32_t { read_only = 1, nosuid = 2 };
//   template <> struct condroid::is_flag_enum<MountFlag> : std::true_type {};
//   Flags<MountFlag> f = MountFlag::read_only | MountFlag::nosuid;
#pragma once

#include <compare>
#include <initializer_list>
#include <type_traits>

namespace condroid {
inline namespace v0 {

/// Specialise as std::true_type to give an enum the operator | below.
template <class E>
struct is_flag_enum : std::false_type {};

/// A set of enumerators of E, each a single bit. Plain value.
template <class E>
class Flags {
 public:
  using Bits = std::underlying_type_t<E>;
  constexpr Flags() noexcept = default;
  // Not explicit: one flag is a set.
  constexpr Flags(E one) noexcept : bits_(static_cast<Bits>(one)) {}  // NOLINT(*-explicit-*)
  constexpr Flags(std::initializer_list<E> list) noexcept {
    for (const E e : list) *this |= e;
  }
  [[nodiscard]] static constexpr Flags from_bits(Bits bits) noexcept {
    Flags f;
    f.bits_ = bits;
    return f;
  }

  [[nodiscard]] constexpr Bits bits() const noexcept { return bits_; }
  [[nodiscard]] constexpr bool has(E e) const noexcept {
    return (bits_ & static_cast<Bits>(e)) == static_cast<Bits>(e);
  }
  [[nodiscard]] constexpr bool any(Flags other) const noexcept {
    return (bits_ & other.bits_) != 0;
  }
  [[nodiscard]] constexpr bool empty() const noexcept { return bits_ == 0; }

  constexpr Flags& operator|=(Flags other) noexcept {
    bits_ = static_cast<Bits>(bits_ | other.bits_);
    return *this;
  }
  constexpr Flags& operator-=(Flags other) noexcept {
    bits_ = static_cast<Bits>(bits_ & static_cast<Bits>(~other.bits_));
    return *this;
  }
  [[nodiscard]] friend constexpr Flags operator|(Flags a, Flags b) noexcept { return a |= b; }
  [[nodiscard]] friend constexpr Flags operator-(Flags a, Flags b) noexcept { return a -= b; }
  [[nodiscard]] friend constexpr Flags operator&(Flags a, Flags b) noexcept {
    return from_bits(static_cast<Bits>(a.bits_ & b.bits_));
  }
  auto operator<=>(const Flags&) const = default;

 private:
  Bits bits_ = 0;
};

// Version 14 takes the attribute for a part of the condition.
// clang-format off
template <class E>
  requires is_flag_enum<E>::value
[[nodiscard]] constexpr Flags<E> operator|(E a, E b) noexcept {
  return Flags<E>(a) | Flags<E>(b);
}
// clang-format on

}  // namespace v0
}  // namespace condroid
