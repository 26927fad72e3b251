#include "condroid/step.hpp"

#include <set>
#include <string_view>

#include "catch.hpp"

TEST_CASE("every step has words of its own", "[base]") {
  using condroid::Step;
  std::set<std::string_view> seen;
  for (unsigned i = 0; i < static_cast<unsigned>(Step::count_); ++i) {
    const std::string_view words = to_string(static_cast<Step>(i));
    INFO(i << " " << words);
    CHECK_FALSE(words.empty());
    CHECK(words != "unknown step");
    CHECK(seen.insert(words).second);
    for (const char c : words) CHECK(((c >= 'a' && c <= 'z') || c == ' ' || c == '_'));
  }
  CHECK(to_string(Step::count_) == "unknown step");
}

TEST_CASE("the words of a step are those of its name", "[base]") {
  using condroid::Step;
  // Both lists are in the same order: their ends and some in between.
  CHECK(to_string(Step::none) == "no step");
  CHECK(to_string(Step::open_runtime) == "open runtime");
  CHECK(to_string(Step::sweep) == "sweep");
  CHECK(to_string(Step::read_program) == "read program");
  CHECK(to_string(Step::attach_mount) == "attach mount");
  CHECK(to_string(Step::open_tty) == "open tty");
  CHECK(to_string(Step::set_no_new_privs) == "set no_new_privs");
  CHECK(to_string(Step::exec) == "exec");
}
