// main() of every test program. Catch2 counts a skipped case as passed (2.13 knows no other way),
// so skips are counted here.
#define CATCH_CONFIG_RUNNER
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "catch.hpp"

namespace {

std::vector<std::string>& skips() {
  static std::vector<std::string> reasons;
  return reasons;
}

/// Is the suite that meson says we run as (CONDROID_SUITE) in the list
/// CONDROID_MUST_RUN=userns,root?
bool must_run() {
  const char* list = std::getenv("CONDROID_MUST_RUN");
  const char* suite = std::getenv("CONDROID_SUITE");
  if (list == nullptr || suite == nullptr) return false;
  const std::string haystack = "," + std::string(list) + ",";
  return haystack.find("," + std::string(suite) + ",") != std::string::npos;
}

}  // namespace

bool condroid::test::note_skip(std::string_view reason) {
  skips().emplace_back(reason);
  std::fprintf(stderr, "skipped: %.*s\n", static_cast<int>(reason.size()), reason.data());
  return must_run();
}

namespace {

#if CATCH_VERSION_MAJOR >= 3
using ListenerBase = Catch::EventListenerBase;
#else
using ListenerBase = Catch::TestEventListenerBase;
#endif

/// Counts the cases that ran, for the exit status.
struct Counter final : ListenerBase {
  using ListenerBase::ListenerBase;
  void testCaseStarting(const Catch::TestCaseInfo& /*info*/) override { ++cases; }
  static inline std::size_t cases = 0;
};

}  // namespace

CATCH_REGISTER_LISTENER(Counter)

int main(int argc, char** argv) {
  constexpr int skipped_status = 77;
  const int failed = Catch::Session().run(argc, argv);
  if (failed != 0) return failed;
  if (Counter::cases == 0) std::fprintf(stderr, "skipped: no test case was selected\n");
  return skips().size() >= Counter::cases && !must_run() ? skipped_status : 0;
}
