// libFuzzer target: the sync protocol of a launch, given any events in any order.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "protocol_property.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto outcome =
      protocol_property::check(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!outcome.broken.empty()) {
    std::fprintf(stderr, "%s\n", outcome.broken.c_str());
    std::abort();
  }
  return 0;
}
