// What an image's author wrote: the property of tests/fuzz/images_property.hpp.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "../fuzz/images_property.hpp"
#include "catch.hpp"

namespace condroid {

namespace {

std::string seed(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

const auto folder = std::filesystem::path(CONDROID_TESTS_DIR) / "fuzz" / "corpus" / "images";

}  // namespace

TEST_CASE("the seed corpus of the images fuzzer holds", "[images]") {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    INFO(entry.path());
    CHECK(images_property::broken(seed(entry.path())) == "");
    ++files;
  }
  CHECK(files >= 15);
}

TEST_CASE("the seeds of the images fuzzer are what they are called", "[images]") {
  const images_property::Place place;
  const auto layout = [&](const char* name) {
    return images_property::read(seed(folder / name).substr(1), place);
  };
  const auto image = layout("image.layout");
  REQUIRE(image);
  CHECK(image->layers.size() == 1);
  const auto escape = layout("escape.layout");
  REQUIRE_FALSE(escape);
  CHECK(to_string(escape.error()).find("\\x1b[2J") != std::string::npos);

  detail::Tree tree(place.root, place.trash, ::geteuid() == 0);
  detail::Allowance left{.bytes = 1 << 20, .entries = 200};
  const std::string archive = seed(folder / "packed.tar").substr(1);
  REQUIRE(images_property::unpack(archive, tree, left, false) == "");
  CHECK(left.bytes == (1 << 20) - 3);
  struct stat st {};
  CHECK(::fstatat(place.root.get(), "l", &st, 0) == 0);
  CHECK(st.st_size == 3);
}

}  // namespace condroid
