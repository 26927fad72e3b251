#include "condroid/flags.hpp"

#include <cstdint>
#include <type_traits>

#include "catch.hpp"

namespace own {
enum class Colour : std::uint8_t { red = 1, green = 2, blue = 4, yellow = 3 };
enum class Other : std::uint8_t { one = 1 };
}  // namespace own
template <>
struct condroid::is_flag_enum<own::Colour> : std::true_type {};

using condroid::Flags;
using own::Colour;

TEST_CASE("a set of flags is built, asked and taken apart", "[base]") {
  Flags<Colour> set;
  CHECK(set.empty());
  CHECK(set.bits() == 0);
  set |= Colour::red;
  set |= Flags<Colour>{Colour::blue, Colour::red};
  CHECK(set.bits() == 5);
  CHECK(set.has(Colour::red));
  CHECK_FALSE(set.has(Colour::green));
  CHECK(set.any({Colour::green, Colour::blue}));
  CHECK_FALSE(set.any(Colour::green));
  set -= Colour::red;
  CHECK(set == Colour::blue);
  CHECK((set - Colour::blue).empty());
  CHECK((set & Colour::red).empty());
  CHECK((set | Colour::green).bits() == 6);
}

TEST_CASE("a flag of several bits is in a set that has all of them", "[base]") {
  CHECK_FALSE(Flags<Colour>(Colour::red).has(Colour::yellow));
  CHECK((Flags<Colour>{Colour::red, Colour::green}).has(Colour::yellow));
}

TEST_CASE("unknown bits are kept, not interpreted", "[base]") {
  const auto set = Flags<Colour>::from_bits(0xf0);
  CHECK(set.bits() == 0xf0);
  CHECK_FALSE(set.empty());
  CHECK_FALSE(set.has(Colour::red));
}

TEST_CASE("flags cost nothing and do not mix", "[base]") {
  static_assert(sizeof(Flags<Colour>) == sizeof(Colour));
  static_assert(std::is_trivially_copyable_v<Flags<Colour>>);
  static_assert(!std::is_convertible_v<own::Other, Flags<Colour>>);
  static_assert(!std::is_convertible_v<std::uint8_t, Flags<Colour>>);
  constexpr Flags<Colour> set{Colour::red, Colour::blue};
  static_assert(set.has(Colour::blue));
  CHECK(set.bits() == 5);
}
