#include "spec/names.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>

#include "catch.hpp"

namespace {

using namespace condroid;

template <class E>
void check_table() {
  std::set<std::string_view> names;
  for (const auto& [value, name] : EnumNames<E>::table) {
    INFO(name);
    CHECK(name_of(value) == name);
    CHECK(from_name<E>(name) == value);
    CHECK(names.insert(name).second);
    // What the text form of a Spec needs: a word without quotes, commas, or a meaning of its own.
    CHECK(std::ranges::all_of(
        name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; }));
    if (is_flag_enum<E>::value) CHECK(name != "none");
  }
  CHECK_FALSE(from_name<E>("").has_value());
  CHECK_FALSE(from_name<E>("nonesuch").has_value());
}

}  // namespace

TEST_CASE("every enumerator has a word of its own that leads back to it", "[spec]") {
  check_table<Namespace>();
  check_table<IdMap::Kind>();
  check_table<MountFlag>();
  check_table<Propagation>();
  check_table<DeviceNode::Kind>();
  check_table<Stream::Kind>();
  check_table<Rlimit>();
  check_table<SchedPolicy>();
  check_table<Personality>();
  check_table<CgroupMode>();
  check_table<ResourceField>();
  check_table<Capability>();
  check_table<Allow>();
}

TEST_CASE("the public words for capabilities are those of the table", "[spec]") {
  for (const auto& [capability, name] : EnumNames<Capability>::table)
    CHECK(to_string(capability) == name);
}

TEST_CASE("a set is printed by name, and bits without a name by number", "[spec]") {
  CHECK(flag_names(Flags<MountFlag>{}) == "none");
  CHECK(flag_names(MountFlag::nodev | MountFlag::read_only) == "read_only,nodev");
  CHECK(flag_names(MountFlag::nodev | MountFlag::read_only, "|") == "read_only|nodev");
  CHECK(flag_names(Flags<MountFlag>::from_bits(0x80000001U)) == "read_only,bit31");
}

TEST_CASE("a value outside of its enum has no word", "[spec]") {
  CHECK(name_of(static_cast<Rlimit>(99)).empty());
  CHECK(name_of(static_cast<Namespace>(3)).empty());
}

TEST_CASE("mounts and signals have words", "[spec]") {
  CHECK(kind_name(Bind{}) == "bind");
  CHECK(kind_name(CgroupMount{}) == "cgroup");
  CHECK(kind_name(FsMount{}) == "fs");
  CHECK(kind_name(ImageMount{}) == "image");
  CHECK(kind_name(FileMount{}) == "file");
  CHECK(signal_name({15}) == "SIGTERM");
  CHECK(signal_name({40}) == "40");
}
