// testing.hpp for GoogleTest: a fixture with a fresh box, and predicates that show what a command
// said when it ended otherwise.
//
//   const condroid::testing::Image& busybox();  // yours: opened once
//   using Busybox = condroid::testing::SandboxTest<busybox>;
//   TEST_F(Busybox, Starts) {
//     EXPECT_TRUE(condroid::testing::succeeds(box.run("server --check")));
//   }
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <ostream>
#include <string_view>

#include "condroid/testing.hpp"

namespace condroid {
inline namespace v0 {
namespace testing {

/// The fixture: each test has a box of its own. `image`: a function that gives an Image.
template <auto image>
class SandboxTest : public ::testing::Test {
 protected:
  SandboxTest() : box(image()) {}
  /// What the box was, when the test failed.
  void TearDown() override {
    if (HasFailure()) std::fputs(box.report().c_str(), stderr);
  }
  Sandbox box;
};

[[nodiscard]] inline ::testing::AssertionResult exits_with(int status, const Ran& ran) {
  if (ran.exit.kind == Exit::exited && ran.exit.code == status)
    return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << fmt::format("should have exited with status {}\n{}", status, ran.report());
}
[[nodiscard]] inline ::testing::AssertionResult succeeds(const Ran& ran) {
  return exits_with(0, ran);
}
/// This is somewhere in what it wrote to its standard output.
[[nodiscard]] inline ::testing::AssertionResult says(std::string_view text, const Ran& ran) {
  if (ran.out.find(text) != std::string_view::npos) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << fmt::format("should have said \"{}\"\n{}", text, ran.report());
}

/// For GoogleTest's messages.
inline void PrintTo(const Ran& ran, std::ostream* to) { *to << ran.report(); }

}  // namespace testing
}  // namespace v0
}  // namespace condroid
