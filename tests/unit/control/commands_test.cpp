#include "condroid/control/commands.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>

#include "../../fuzz/lxc_command_property.hpp"
#include "catch.hpp"

using namespace condroid::control;

TEST_CASE("states have LXC's numbers and names", "[control]") {
  CHECK(static_cast<int>(State::running) == 2);
  CHECK(static_cast<int>(State::frozen) == 6);
  for (std::size_t i = 0; i < state_count; ++i) {
    const auto state = static_cast<State>(i);
    CHECK(state_of(to_string(state)) == state);
  }
  CHECK_FALSE(state_of("running"));
  CHECK_FALSE(state_of(""));
}

TEST_CASE("addresses are those of LXC", "[control]") {
  CHECK(command_address("/tmp/lxct", "c1") == "/tmp/lxct/c1/command");
  CHECK(command_address("/tmp/lxct/", "c1") == "/tmp/lxct//c1/command");
  // 105 bytes are plain, 106 are hashed.
  const std::string name(85, 'n');
  CHECK(command_address("/some/path", "x" + name).size() == 105);
  const std::string hashed = command_address("/some/path", "xy" + name);
  CHECK(hashed.starts_with("lxc/"));
  CHECK(hashed.size() == std::string_view("lxc/0123456789abcdef/command").size());
  CHECK(monitor_address("/tmp/lxct") == "lxc/22191b32c328f877//tmp/lxct");
  CHECK(monitor_fifo("/run", "/var/lib/lxc") == "/run/lxc//var/lib/lxc/monitor-fifo");
}

TEST_CASE("the seed corpus of the fuzzer of the command socket holds", "[control]") {
  const auto folder = std::filesystem::path(CONDROID_TESTS_DIR) / "fuzz" / "corpus" / "lxc_command";
  int count = 0;
  for (const auto& seed : std::filesystem::directory_iterator(folder)) {
    INFO(seed.path());
    std::ifstream file(seed.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    CHECK(lxc_command_property::broken(bytes) == "");
    ++count;
  }
  CHECK(count >= 9);
}
