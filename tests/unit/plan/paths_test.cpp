#include "plan/paths.hpp"

#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"

using namespace condroid;
using namespace condroid::detail;

TEST_CASE("a normalized path has single slashes and no dots", "[plan]") {
  CHECK(normalized("/a//b/./c/") == "/a/b/c");
  CHECK(normalized("/") == "/");
  CHECK(normalized("//.//") == "/");
  CHECK(normalized("a/./b") == "a/b");
  CHECK(normalized("./") == "");
  CHECK(normalized("") == "");
  CHECK(normalized("/a/../b") == "/a/../b");
}

TEST_CASE("components are the names of a path", "[plan]") {
  CHECK(components("/").empty());
  CHECK(components("").empty());
  CHECK(components("/a//./b/") == std::vector<std::string_view>{"a", "b"});
  CHECK(components("../x") == std::vector<std::string_view>{"..", "x"});
}

TEST_CASE("a path is below another by whole names only", "[plan]") {
  CHECK(is_below("/a", "/a/b"));
  CHECK(is_below("/", "/a"));
  CHECK_FALSE(is_below("/a", "/a"));
  CHECK_FALSE(is_below("/", "/"));
  CHECK_FALSE(is_below("/a", "/ab"));
  CHECK_FALSE(is_below("/a/b", "/a"));
}

TEST_CASE("dots are followed as if there were no links", "[plan]") {
  CHECK(without_dots("/usr/..") == "/");
  CHECK(without_dots("/usr/../etc/./x") == "/etc/x");
  CHECK(without_dots("/../..") == "/");
  CHECK(without_dots("/a/b") == "/a/b");
  CHECK(goes_up("/a/../b"));
  CHECK_FALSE(goes_up("/a/..b/.../c"));
}

TEST_CASE("the host's root is known by any spelling", "[plan]") {
  CHECK(is_host_root(Root{}));
  CHECK(is_host_root(Root{.path = HostPath("/")}));
  CHECK(is_host_root(Root{.path = HostPath("//./")}));
  CHECK_FALSE(is_host_root(Root{.path = HostPath("/srv")}));
}

TEST_CASE("overlayfs gets its separators escaped", "[plan]") {
  CHECK(overlay_escaped("/a:b\\c,d") == "/a\\:b\\\\c,d");
  CHECK(overlay_escaped("/plain") == "/plain");
}
