#include "condroid/units.hpp"

#include <type_traits>

#include "catch.hpp"

using namespace condroid;
using namespace condroid::literals;

TEST_CASE("sizes are in bytes", "[base]") {
  CHECK((7_B).value == 7);
  CHECK((1_KiB).value == 1024);
  CHECK((64_MiB).value == 67108864);
  CHECK((4_GiB).value == 4294967296U);
  CHECK(1024_MiB == 1_GiB);
  CHECK(1023_MiB < 1_GiB);
  CHECK(Bytes{} == 0_B);
}

TEST_CASE("numbers of one unit are compared, those of two cannot be", "[base]") {
  CHECK(Uid{1} < Uid{2});
  CHECK(Gid{3} == Gid{3});
  CHECK(Mode{0755} != Mode{0700});
  static_assert(!std::is_convertible_v<Uid, Gid>);
  static_assert(!std::is_constructible_v<Uid, Gid>);
  static_assert(!std::is_constructible_v<Signal, Pid>);
  static_assert(!std::is_convertible_v<int, Signal>);
  static_assert(!std::is_convertible_v<Bytes, std::uint64_t>);
}

TEST_CASE("a descriptor of the host is none until it is given", "[base]") {
  CHECK_FALSE(HostFd{}.valid());
  CHECK(HostFd{0}.valid());
}
