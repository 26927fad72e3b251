// What the attacks share: a place of the host that must stay as it is, and a launch that can be
// disturbed at any step.
#pragma once

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "condroid/launch.hpp"
#include "containers.hpp"
#include "naive.hpp"

namespace condroid::test::attacks {

/// A directory that no container was given: "dir" with a file "secret", and "file".
class Outside : public TempDir {
 public:
  Outside() {
    make_dir(*this / "dir", 0777);
    make_file(*this / "dir/file", "secret\n", 0666);
    make_file(*this / "file", "secret\n", 0666);
    before_ = fingerprint(str());
  }
  [[nodiscard]] bool untouched() const { return fingerprint(str()) == before_; }

 private:
  std::string before_;
};

/// Goes on with a launch until it is stopped or over.
inline Result<std::optional<Container>> drive(Launch& launch) {
  for (;;) {
    auto done = launch.step();
    if (!done || *done || launch.stopped()) return done;
    const Interest interest = launch.interest();
    pollfd waiter{interest.fd.get(), interest.events, 0};
    if (::poll(&waiter, 1, 10000) != 1) throw std::runtime_error("the launch does not go on");
  }
}

/// What somebody does at the last moment before the first op of that step; then what becomes of it.
template <class Disturb>
Result<std::optional<Container>> disturbed(const Spec& spec, std::string_view step,
                                           Disturb disturb) {
  const auto plan = need(compile(spec, facts()));
  Launch launch = need(runtime().start(plan, {.stop_before = need(plan.find(step))}));
  REQUIRE(drive(launch).has_value());
  REQUIRE(launch.stopped());
  disturb();
  launch.resume();
  return drive(launch);
}

}  // namespace condroid::test::attacks
