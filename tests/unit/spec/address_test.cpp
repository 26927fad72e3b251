#include "condroid/spec/address.hpp"

#include <arpa/inet.h>

#include <cstring>
#include <random>
#include <string>

#include "catch.hpp"

namespace {

using namespace condroid;
using namespace condroid::literals;

/// What libc makes of a text: nothing, or its bytes.
std::optional<std::string> libc(const std::string& text) {
  unsigned char bytes[16] = {};
  if (::inet_pton(AF_INET, text.c_str(), bytes) == 1) return std::string(bytes, bytes + 4);
  if (::inet_pton(AF_INET6, text.c_str(), bytes) == 1) return std::string(bytes, bytes + 16);
  return {};
}
std::optional<std::string> ours(const std::string& text) {
  const auto a = IpAddress::parse(text);
  if (!a) return {};
  return std::string(a->bytes().begin(), a->bytes().begin() + a->size());
}

TEST_CASE("addresses are read as libc reads them", "[network]") {
  std::size_t good = 0, bad = 0;
  const auto same = [&](const std::string& text) {
    INFO("'" << text << "'");
    const auto theirs = libc(text);
    CHECK(ours(text) == theirs);
    ++(theirs ? good : bad);
    if (!theirs) return;
    const IpAddress a = *IpAddress::parse(text);
    char usual[INET6_ADDRSTRLEN];
    REQUIRE(::inet_ntop(a.is_v6() ? AF_INET6 : AF_INET, a.bytes().data(), usual, sizeof usual));
    CHECK(to_string(a) == usual);
  };
  for (const char* text : {"",
                           "0.0.0.0",
                           "255.255.255.255",
                           "256.0.0.1",
                           "1.2.3",
                           "1.2.3.4.5",
                           "01.2.3.4",
                           "1.2.3.",
                           ".1.2.3",
                           "1..2.3",
                           "::",
                           ":::",
                           "::1",
                           "1::",
                           ":1",
                           "1:",
                           "1::2::3",
                           "1:2:3:4:5:6:7:8",
                           "1:2:3:4:5:6:7:8:9",
                           "1:2:3:4:5:6:7::",
                           "::2:3:4:5:6:7:8",
                           "1:2:3:4:5:6:7:8::",
                           "::ffff:1.2.3.4",
                           "1:2:3:4:5:6:1.2.3.4",
                           "1:2:3:4:5:6:7:1.2.3.4",
                           "::1.2.3",
                           "1.2.3.4::",
                           "12345::",
                           "g::",
                           "FE80::aBcD",
                           "fe80::1%lo",
                           " ::1",
                           "::1 ",
                           "1.2.3.4 ",
                           "+1.2.3.4"})
    same(text);
  // Random words of what addresses are made of.
  std::mt19937 random(4711);
  const std::string letters = "0123456789af::::....";
  for (int i = 0; i < 200'000; ++i) {
    std::string text;
    for (auto n = random() % 16; n > 0; --n) text += letters[random() % letters.size()];
    const auto theirs = libc(text);
    if (ours(text) != theirs || theirs) same(text);
  }
  CHECK(good > 1000);
  CHECK(bad >= 20);
}

TEST_CASE("prefixes", "[network]") {
  CHECK(IpPrefix::parse("10.0.3.2/24") == IpPrefix{"10.0.3.2"_ip, 24});
  CHECK(IpPrefix::parse("10.0.3.2") == IpPrefix{"10.0.3.2"_ip, 32});
  CHECK(IpPrefix::parse("fd00::/0") == IpPrefix{"fd00::"_ip, 0});
  CHECK(IpPrefix::parse("fd00::1") == IpPrefix{"fd00::1"_ip, 128});
  for (const char* text : {"10.0.3.2/33", "10.0.3.2/", "10.0.3.2/-1", "10.0.3.2/024", "/24",
                           "fd00::/129", "10.0.3.2/24/24", "10.0.3.2/ 24"}) {
    INFO(text);
    CHECK_FALSE(IpPrefix::parse(text));
  }
  CHECK(to_string("10.0.3.2/24"_prefix) == "10.0.3.2/24");
  CHECK("10.0.3.2/22"_prefix.first() == "10.0.0.0"_ip);
  CHECK("10.0.3.2/22"_prefix.last() == "10.0.3.255"_ip);
  CHECK("10.0.3.2/0"_prefix.first() == IpAddress{});
  CHECK("10.0.3.2"_prefix.last() == "10.0.3.2"_ip);
  CHECK("fd00::1:2/112"_prefix.first() == "fd00::1:0"_ip);
  CHECK("fd00::1/0"_prefix.first() == "::"_ip);
  CHECK("10.0.3.2/24"_prefix.contains("10.0.3.255"_ip));
  CHECK_FALSE("10.0.3.2/24"_prefix.contains("10.0.2.255"_ip));
  CHECK_FALSE("10.0.3.2/24"_prefix.contains("::10.0.3.2"_ip));
  CHECK("0.0.0.0/0"_prefix.contains("8.8.8.8"_ip));
  CHECK("fd00::/9"_prefix.contains("fd7f::"_ip));
  CHECK_FALSE("fd00::/9"_prefix.contains("fd80::"_ip));
}

TEST_CASE("Ethernet addresses", "[network]") {
  CHECK(to_string("02:00:5E:aa:00:01"_mac) == "02:00:5e:aa:00:01");
  for (const char* text : {"", "02:00:00:00:00", "02:00:00:00:00:0g", "02-00-00-00-00-01",
                           "02:00:00:00:00:001", "020000000001", "2:0:0:0:0:1"}) {
    INFO(text);
    CHECK_FALSE(MacAddress::parse(text));
  }
  CHECK("01:00:00:00:00:00"_mac.is_multicast());
}

}  // namespace
