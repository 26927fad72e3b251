#include "condroid/path.hpp"

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <type_traits>

#include "catch.hpp"

using namespace condroid;
using namespace condroid::literals;

TEST_CASE("a path is its text, untouched", "[base]") {
  for (const std::string text : {"", "/", "//a//b/../c/", "relative", "/with space\n\xff"}) {
    const HostPath path(text);
    CHECK(path.str() == text);
    CHECK(std::string_view(path.c_str()) == text);
    CHECK(path.empty() == text.empty());
    CHECK(fmt::format("{}", path) == text);
  }
  CHECK(("/a"_host).str() == "/a");
  CHECK(("/a"_guest).str() == "/a");
}

TEST_CASE("a path is absolute when it begins at a root", "[base]") {
  CHECK(("/"_host).is_absolute());
  CHECK(("/a/b"_guest).is_absolute());
  CHECK_FALSE(HostPath{}.is_absolute());
  CHECK_FALSE(("a/b"_host).is_absolute());
  CHECK_FALSE(("./a"_host).is_absolute());
}

TEST_CASE("one slash stands between joined names", "[base]") {
  CHECK("/a"_host / "b" == "/a/b"_host);
  CHECK("/a/"_host / "b" == "/a/b"_host);
  CHECK("/a"_host / "/b" == "/a/b"_host);
  CHECK("/a/"_host / "//b/c" == "/a/b/c"_host);
  CHECK("/"_guest / "b" == "/b"_guest);
  CHECK("/a"_guest / "" == "/a/"_guest);
}

TEST_CASE("a path of the host is never one of the container", "[base]") {
  static_assert(!std::is_convertible_v<HostPath, GuestPath>);
  static_assert(!std::is_constructible_v<GuestPath, HostPath>);
  static_assert(!std::is_assignable_v<GuestPath&, HostPath>);
  static_assert(!std::is_convertible_v<const char*, HostPath>);
  static_assert(!std::is_convertible_v<std::string, GuestPath>);
  CHECK("/a"_host < "/b"_host);
  CHECK("/a"_guest != "/b"_guest);
}
