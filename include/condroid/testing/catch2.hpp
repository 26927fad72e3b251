// testing.hpp for Catch2, version 2 and 3: a fixture with a fresh box, and matchers that show what
// a command said when it ended otherwise.
//
//   const testing::Image& busybox();            // yours: opened once
//   TEST_CASE_METHOD(testing::InSandbox<busybox>, "the server starts") {
//     CHECK_THAT(box.run("server --check"), testing::Succeeds());
//   }
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#include <string>
#include <utility>

#include "condroid/testing.hpp"

namespace condroid {
inline namespace v0 {
namespace testing {

namespace detail {
#if __has_include(<catch2/catch_all.hpp>)
template <class T>
using Matcher = Catch::Matchers::MatcherBase<T>;
#else
template <class T>
using Matcher = Catch::MatcherBase<T>;
#endif
}  // namespace detail

/// The fixture of TEST_CASE_METHOD: each test case, and each run of its sections, has a box of its
/// own. `image`: a function that gives an Image.
template <auto image>
class InSandbox {
 public:
  InSandbox() : box(image()) {}

 protected:
  Sandbox box;
};

/// Of a Ran: it exited with a status.
class ExitsWith : public detail::Matcher<Ran> {
 public:
  explicit ExitsWith(int status) : status_(status) {}
  bool match(const Ran& ran) const override {
    return ran.exit.kind == Exit::exited && ran.exit.code == status_;
  }
  std::string describe() const override {
    return fmt::format("should have exited with status {}", status_);
  }

 private:
  int status_;
};
[[nodiscard]] inline ExitsWith Succeeds() { return ExitsWith(0); }

/// Of a Ran: this is somewhere in what it wrote to its standard output.
class Says : public detail::Matcher<Ran> {
 public:
  explicit Says(std::string text) : text_(std::move(text)) {}
  bool match(const Ran& ran) const override { return ran.out.find(text_) != std::string::npos; }
  std::string describe() const override { return fmt::format("should have said \"{}\"", text_); }

 private:
  std::string text_;
};

}  // namespace testing
}  // namespace v0
}  // namespace condroid

template <>
struct Catch::StringMaker<condroid::testing::Ran> {
  static std::string convert(const condroid::testing::Ran& ran) { return ran.report(); }
};
