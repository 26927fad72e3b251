#include "spec/suggest.hpp"

#include <initializer_list>
#include <string>
#include <string_view>

#include "catch.hpp"

namespace {

std::string best(std::string_view word, std::initializer_list<std::string_view> known) {
  condroid::spec_text::Suggestion near(word);
  for (const std::string_view name : known) near.offer(name);
  return std::string(near.best());
}

}  // namespace

TEST_CASE("the nearest known word is suggested", "[spec]") {
  CHECK(best("nosiud", {"nodev", "nosuid", "noexec"}) == "nosuid");
  CHECK(best("NoSuid", {"nodev", "nosuid"}) == "nosuid");
  CHECK(best("root.pth", {"root.path", "root.size"}) == "root.path");
  CHECK(best("pathx", {"paths", "path"}) == "paths");  // the first of equally near ones
}

TEST_CASE("a word with the wrong front is suggested as well, a typing error first", "[spec]") {
  CHECK(best("argv", {"name", "process.argv"}) == "process.argv");
  CHECK(best("process.hostname", {"hostname"}) == "hostname");
  CHECK(best("CAP_SYS_ADMIN", {"sys_rawio", "sys_admin"}) == "sys_admin");
  CHECK(best("process.size", {"root.path", "root.size"}) == "root.size");
  CHECK(best("argv", {"process.argv", "args"}) == "args");
}

TEST_CASE("nothing is suggested when nothing is near", "[spec]") {
  CHECK(best("", {"a"}).empty());
  CHECK(best("x", {"bind", "proc"}).empty());
  CHECK(best("uts", {"ipc", "pid"}).empty());
  CHECK(best(std::string(1000, 'a'), {"a"}).empty());
}
