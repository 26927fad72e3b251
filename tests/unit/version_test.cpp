#include "condroid/version.hpp"

#include <fmt/format.h>

#include "catch.hpp"

TEST_CASE("the version is one fact in three spellings", "[base]") {
  CHECK(condroid::version == fmt::format("{}.{}.{}", condroid::version_major,
                                         condroid::version_minor, condroid::version_patch));
  CHECK(condroid::library_version() == condroid::version);
}
