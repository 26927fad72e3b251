// The zygote on a machine that is made up: tests/fuzz/zygote_property.hpp.
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "../../fuzz/zygote_property.hpp"
#include "catch.hpp"

namespace {

std::string contents(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("whatever the zygote is sent, it leaves nothing and ends", "[zygote]") {
  const auto folder = std::filesystem::path(CONDROID_TESTS_DIR) / "fuzz" / "corpus" / "zygote";
  std::size_t files = 0;
  std::mt19937 chance(1);  // NOLINT(cert-msc51-cpp): the same each time
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    INFO(entry.path());
    std::string bytes = contents(entry.path());
    CHECK(zygote_property::broken(bytes) == "");
    ++files;
    // Cut off and spoiled ones, too.
    for (std::size_t n = 0; n < 50 && !bytes.empty(); ++n) {
      CHECK(zygote_property::broken(std::string_view(bytes).substr(0, n)) == "");
      bytes[chance() % bytes.size()] = static_cast<char>(chance());
      CHECK(zygote_property::broken(bytes) == "");
    }
  }
  CHECK(files >= 9);
}
