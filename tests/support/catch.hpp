// The one way our tests include Catch2: hides what differs between 2.13 (one header) and 3.x, and
// adds a skip with a reason.
//
//   TEST_CASE("a mount can be cloned", "[sys][.root]") {
//     if (::geteuid() != 0) CONDROID_SKIP("needs root");
//     ...
//   }
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
namespace Catch::Matchers {
/// What matchers of our own derive from: Catch 3 has it under this name.
template <class T>
using MatcherBase = Catch::MatcherBase<T>;
}  // namespace Catch::Matchers
#endif

#include <string>
#include <string_view>

namespace condroid::test {

/// Notes that the running test case cannot be run here. True if CONDROID_MUST_RUN forbids that for
/// this suite. A program that skipped all of its cases exits with 77.
[[nodiscard]] bool note_skip(std::string_view reason);

}  // namespace condroid::test

/// Leaves the test case (a function that returns void) as skipped; fails it where CONDROID_MUST_RUN
/// names the suite.
#define CONDROID_SKIP(reason)                                                               \
  do {                                                                                      \
    const std::string condroid_skip_reason = (reason);                                      \
    if (::condroid::test::note_skip(condroid_skip_reason))                                  \
      FAIL("must run here (CONDROID_MUST_RUN), but was skipped: " << condroid_skip_reason); \
    SUCCEED("skipped: " << condroid_skip_reason);                                           \
    return;                                                                                 \
  } while (false)
