// Messages of D-Bus as bytes, without I/O: what is needed to call a method, and to understand what
// comes back. D-Bus Specification, "Message Protocol". Private.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace condroid::inline v0::detail {

/// Writes values as a message's body has them, each aligned to its size, in this machine's order of
/// bytes.
class DbusWriter {
 public:
  DbusWriter& byte(std::uint8_t value);
  DbusWriter& u32(std::uint32_t value);
  DbusWriter& u64(std::uint64_t value);
  DbusWriter& boolean(bool value) { return u32(value ? 1 : 0); }
  DbusWriter& string(std::string_view text);  ///< An object path, too.
  DbusWriter& signature(std::string_view text);
  /// The beginning of a struct, or of an array's elements that are structs.
  DbusWriter& align(std::size_t to);
  /// An array whose elements are aligned to `to` bytes; what is written until end_array is in it.
  /// @returns what end_array needs.
  [[nodiscard]] std::size_t begin_array(std::size_t to);
  void end_array(std::size_t begun, std::size_t to);

  [[nodiscard]] const std::string& bytes() const noexcept { return bytes_; }

 private:
  std::string bytes_;
};

/// Reads them again. Nothing is read beyond the end: ok() is false from then on, and all values are
/// zero or empty.
class DbusReader {
 public:
  explicit DbusReader(std::string_view bytes) : bytes_(bytes) {}
  [[nodiscard]] std::uint8_t byte();
  [[nodiscard]] std::uint32_t u32();
  [[nodiscard]] std::string string();
  [[nodiscard]] std::string signature();
  void align(std::size_t to);
  void skip(std::size_t count);
  [[nodiscard]] bool ok() const noexcept { return ok_; }
  [[nodiscard]] std::size_t at() const noexcept { return at_; }

 private:
  [[nodiscard]] std::string text(std::size_t size);
  std::string_view bytes_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

/// A method call.
struct DbusCall {
  std::string destination = {};
  std::string path = {};
  std::string interface = {};
  std::string member = {};
  std::string signature = {};  ///< Of the body.
  std::string body = {};
};

struct DbusMessage {
  enum Type : std::uint8_t { method_call = 1, method_return = 2, error = 3, signal = 4 };
  std::uint8_t type = 0;
  std::uint32_t reply_to = 0;
  std::string sender = {};
  std::string path = {};
  std::string interface = {};
  std::string member = {};
  std::string error_name = {};
  std::string signature = {};  ///< Of the body.
  std::string body = {};
};

/// Larger ones are refused; systemd's answers are some hundred bytes.
inline constexpr std::size_t most_dbus_message = 1U << 20U;

/// The bytes of a call. Nothing is started that could answer it, and nobody is asked for a
/// password.
[[nodiscard]] std::string encode_call(const DbusCall& call, std::uint32_t serial);
/// The size of the message that begins here; 0 when more bytes are needed to tell. Nothing: it is
/// none, or too large, or in the order of bytes of another machine.
[[nodiscard]] std::optional<std::size_t> dbus_message_size(std::string_view bytes);
/// One whole message; nothing when it is none.
[[nodiscard]] std::optional<DbusMessage> decode_dbus_message(std::string_view bytes);

}  // namespace condroid::inline v0::detail
