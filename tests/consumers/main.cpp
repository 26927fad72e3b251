// A program of somebody else's: headers, templates of fmt and tl::expected, and a symbol of the
// library.
#include <fmt/format.h>
#include <condroid/version.hpp>
#include <tl/expected.hpp>

int main() {
  const tl::expected<std::string_view, int> running = condroid::library_version();
  fmt::print("condroid {}\n", running.value_or("?"));
  return running == condroid::version ? 0 : 1;
}
