// A launch with a Zygote that is made up: tests/fuzz/launch_property.hpp.
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "../../fuzz/launch_property.hpp"
#include "catch.hpp"

namespace {

std::string contents(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("whatever child and zygote say, a launch ends and leaves nothing", "[launch]") {
  const auto folder = std::filesystem::path(CONDROID_TESTS_DIR) / "fuzz" / "corpus" / "launch";
  std::size_t files = 0;
  std::mt19937 chance(1);  // NOLINT(cert-msc51-cpp): the same each time
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    INFO(entry.path());
    std::string bytes = contents(entry.path());
    CHECK(launch_property::broken(bytes) == "");
    ++files;
    for (std::size_t n = 0; n < 50 && !bytes.empty(); ++n) {
      CHECK(launch_property::broken(std::string_view(bytes).substr(0, n)) == "");
      bytes[chance() % bytes.size()] = static_cast<char>(chance());
      CHECK(launch_property::broken(bytes) == "");
    }
  }
  CHECK(files >= 8);
}
