#include "sys/dbus_message.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "../../fuzz/dbus_property.hpp"
#include "catch.hpp"

using condroid::detail::dbus_message_size;
using condroid::detail::DbusCall;
using condroid::detail::DbusMessage;
using condroid::detail::DbusReader;
using condroid::detail::DbusWriter;
using condroid::detail::decode_dbus_message;
using condroid::detail::encode_call;
using namespace std::string_view_literals;

namespace {

DbusCall hello() {
  return {.destination = "org.freedesktop.DBus",
          .path = "/org/freedesktop/DBus",
          .interface = "org.freedesktop.DBus",
          .member = "Hello"};
}

/// What dbus-daemon 1.14 answered to Hello with serial 1.
constexpr auto answer =
    "l\2\1\1\11\0\0\0\1\0\0\0=\0\0\0"
    "\6\1s\0\4\0\0\0:1.0\0\0\0\0"
    "\5\1u\0\1\0\0\0"
    "\10\1g\0\1s\0\0"
    "\7\1s\0\24\0\0\0org.freedesktop.DBus\0\0\0\0"
    "\4\0\0\0:1.0\0"sv;

}  // namespace

TEST_CASE("a call is written as the specification says", "[sys][dbus]") {
  const std::string bytes = encode_call(hello(), 1);
  constexpr auto expected =
      "l\1\2\1\0\0\0\0\1\0\0\0m\0\0\0"
      "\1\1o\0\25\0\0\0/org/freedesktop/DBus\0\0\0"
      "\2\1s\0\24\0\0\0org.freedesktop.DBus\0\0\0\0"
      "\3\1s\0\5\0\0\0Hello\0\0\0"
      "\6\1s\0\24\0\0\0org.freedesktop.DBus\0\0\0\0"sv;  // as dbus-daemon took it
  CHECK(bytes == expected);
}

TEST_CASE("values are aligned, and arrays know their size without the padding", "[sys][dbus]") {
  DbusWriter w;
  w.string("ab").boolean(true);
  const std::size_t array = w.begin_array(8);
  w.align(8).u64(7);
  w.end_array(array, 8);
  const std::size_t empty = w.begin_array(8);
  w.end_array(empty, 8);
  CHECK(w.bytes() == "\2\0\0\0ab\0\0\1\0\0\0\10\0\0\0\7\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"sv);
}

TEST_CASE("an answer of a bus is understood", "[sys][dbus]") {
  CHECK(dbus_message_size(answer) == answer.size());
  const auto m = decode_dbus_message(answer);
  REQUIRE(m);
  CHECK(m->type == DbusMessage::method_return);
  CHECK(m->reply_to == 1);
  CHECK(m->sender == "org.freedesktop.DBus");
  CHECK(m->signature == "s");
  CHECK(DbusReader(m->body).string() == ":1.0");
}

TEST_CASE("what we write is read again", "[sys][dbus]") {
  DbusCall call = hello();
  call.signature = "su";
  call.body = DbusWriter().string("one").u32(2).bytes();
  const auto m = decode_dbus_message(encode_call(call, 9));
  REQUIRE(m);
  CHECK(m->type == DbusMessage::method_call);
  CHECK(m->path == call.path);
  CHECK(m->interface == call.interface);
  CHECK(m->member == call.member);
  CHECK(m->signature == call.signature);
  DbusReader body(m->body);
  CHECK(body.string() == "one");
  CHECK(body.u32() == 2);
  CHECK(body.ok());
  CHECK(body.u32() == 0);
  CHECK_FALSE(body.ok());
}

TEST_CASE("the beginning of a message is no message", "[sys][dbus]") {
  for (std::size_t size = 0; size < answer.size(); ++size) {
    INFO(size);
    const auto whole = dbus_message_size(answer.substr(0, size));
    REQUIRE(whole);
    CHECK((*whole == 0 || *whole == answer.size()));
    CHECK_FALSE(decode_dbus_message(answer.substr(0, size)));
  }
}

TEST_CASE("no byte of a message that is wrong makes a reader go beyond it", "[sys][dbus]") {
  // What is made of it does not matter; the sanitizers look on.
  for (std::size_t at = 0; at < answer.size(); ++at)
    for (int value = 0; value < 256; ++value) {
      std::string bytes(answer);
      bytes[at] = static_cast<char>(value);
      const std::string exact(bytes.begin(), bytes.end());
      const auto size = dbus_message_size(exact);
      const auto m = decode_dbus_message(exact);
      if (!m) continue;
      CHECK(size == exact.size());
      DbusReader body(m->body);
      (void)body.string();
      (void)body.u32();
      CHECK(body.at() <= m->body.size());
    }
}

TEST_CASE("sizes that no message has are refused before anything is read", "[sys][dbus]") {
  std::string bytes(answer);
  SECTION("body") { bytes.replace(4, 4, "\0\0\0\x10"sv); }
  SECTION("fields") { bytes.replace(12, 4, "\xff\xff\xff\xff"sv); }
  SECTION("of another machine") { bytes[0] = 'B'; }
  SECTION("of another protocol") { bytes[3] = 2; }
  CHECK_FALSE(dbus_message_size(bytes));
  CHECK_FALSE(dbus_message_size("HTTP/1.1 400 Bad Request\r\n"));
}

TEST_CASE("the seed corpus of the D-Bus fuzzer holds", "[sys][dbus]") {
  const auto folder = std::filesystem::path(CONDROID_TESTS_DIR) / "fuzz" / "corpus" / "dbus";
  std::size_t files = 0, messages = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    INFO(entry.path());
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    CHECK(dbus_property::broken(bytes) == "");
    messages += decode_dbus_message(bytes) ? 1 : 0;
    ++files;
  }
  CHECK(files >= 7);
  CHECK(messages >= 4);
}
