#include "sys/dbus_message.hpp"

#include <bit>
#include <cstring>

namespace condroid::inline v0::detail {

namespace {

constexpr char byte_order = std::endian::native == std::endian::little ? 'l' : 'B';
constexpr std::uint8_t version = 1;
// Of the header, before its fields: order of bytes, type, flags, version, sizes of body and fields.
constexpr std::size_t fixed_size = 16;
constexpr std::size_t most_fields = 1U << 16U;

// Header fields, by their numbers.
enum Field : std::uint8_t {
  field_path = 1,
  field_interface = 2,
  field_member = 3,
  field_error_name = 4,
  field_reply_serial = 5,
  field_destination = 6,
  field_sender = 7,
  field_signature = 8,
};

constexpr std::size_t aligned(std::size_t at, std::size_t to) { return (at + to - 1) / to * to; }

/// The size of a value of fixed size, which is its alignment; 0 for the others.
std::size_t size_of(char type) {
  switch (type) {
    case 'y':
      return 1;
    case 'n':
    case 'q':
      return 2;
    case 'b':
    case 'i':
    case 'u':
    case 'h':
      return 4;
    case 'x':
    case 't':
    case 'd':
      return 8;
    default:
      return 0;
  }
}

}  // namespace

// ---- writing ------------------------------------------------------------------------------------

DbusWriter& DbusWriter::align(std::size_t to) {
  bytes_.resize(aligned(bytes_.size(), to));
  return *this;
}

DbusWriter& DbusWriter::byte(std::uint8_t value) {
  bytes_.push_back(static_cast<char>(value));
  return *this;
}

DbusWriter& DbusWriter::u32(std::uint32_t value) {
  align(sizeof value);
  bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  return *this;
}

DbusWriter& DbusWriter::u64(std::uint64_t value) {
  align(sizeof value);
  bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  return *this;
}

DbusWriter& DbusWriter::string(std::string_view text) {
  u32(static_cast<std::uint32_t>(text.size()));
  bytes_.append(text).push_back('\0');
  return *this;
}

DbusWriter& DbusWriter::signature(std::string_view text) {
  bytes_.push_back(static_cast<char>(text.size()));
  bytes_.append(text).push_back('\0');
  return *this;
}

std::size_t DbusWriter::begin_array(std::size_t to) {
  u32(0);
  const std::size_t begun = bytes_.size();
  align(to);
  return begun;
}

void DbusWriter::end_array(std::size_t begun, std::size_t to) {
  // The padding before the first element does not count.
  const auto size = static_cast<std::uint32_t>(bytes_.size() - aligned(begun, to));
  std::memcpy(bytes_.data() + begun - sizeof size, &size, sizeof size);
}

std::string encode_call(const DbusCall& call, std::uint32_t serial) {
  constexpr std::uint8_t no_auto_start = 2;
  DbusWriter w;
  w.byte(byte_order).byte(DbusMessage::method_call).byte(no_auto_start).byte(version);
  w.u32(static_cast<std::uint32_t>(call.body.size())).u32(serial);
  const std::size_t fields = w.begin_array(8);
  const auto field = [&](Field code, std::string_view type, std::string_view value) {
    if (value.empty()) return;
    w.align(8).byte(code).signature(type);
    if (type == "g")
      w.signature(value);
    else
      w.string(value);
  };
  field(field_path, "o", call.path);
  field(field_interface, "s", call.interface);
  field(field_member, "s", call.member);
  field(field_destination, "s", call.destination);
  field(field_signature, "g", call.signature);
  w.end_array(fields, 8);
  w.align(8);
  return w.bytes() + call.body;
}

// ---- reading ------------------------------------------------------------------------------------

void DbusReader::skip(std::size_t count) {
  if (count > bytes_.size() - at_) {
    ok_ = false;
    at_ = bytes_.size();
  } else {
    at_ += count;
  }
}

void DbusReader::align(std::size_t to) { skip(aligned(at_, to) - at_); }

std::uint8_t DbusReader::byte() {
  const std::size_t from = at_;
  skip(1);
  return ok_ ? static_cast<std::uint8_t>(bytes_[from]) : std::uint8_t{0};
}

std::uint32_t DbusReader::u32() {
  std::uint32_t value = 0;
  align(sizeof value);
  const std::size_t from = at_;
  skip(sizeof value);
  if (ok_) std::memcpy(&value, bytes_.data() + from, sizeof value);
  return value;
}

std::string DbusReader::text(std::size_t size) {
  const std::size_t from = at_;
  skip(size);
  const bool ended = byte() == 0;
  ok_ = ok_ && ended;
  return ok_ ? std::string(bytes_.substr(from, size)) : std::string();
}

std::string DbusReader::string() {
  const std::size_t size = u32();
  return text(size);
}

std::string DbusReader::signature() {
  const std::size_t size = byte();
  return text(size);
}

std::optional<std::size_t> dbus_message_size(std::string_view bytes) {
  if (!bytes.empty() && bytes[0] != byte_order) return {};
  if (bytes.size() < fixed_size) return 0;
  if (static_cast<std::uint8_t>(bytes[3]) != version) return {};
  DbusReader r(bytes.substr(0, fixed_size));
  r.skip(4);
  const std::size_t body = r.u32();
  (void)r.u32();  // serial
  const std::size_t fields = r.u32();
  if (fields > most_fields || body > most_dbus_message) return {};
  const std::size_t size = aligned(fixed_size + fields, 8) + body;
  if (size > most_dbus_message) return {};
  return size;
}

std::optional<DbusMessage> decode_dbus_message(std::string_view bytes) {
  const auto size = dbus_message_size(bytes);
  if (!size || *size == 0 || *size != bytes.size()) return {};
  DbusReader r(bytes);
  DbusMessage m;
  r.skip(1);
  m.type = r.byte();
  r.skip(2);
  const std::size_t body = r.u32();
  (void)r.u32();
  const std::size_t end = r.u32() + fixed_size;
  while (r.ok() && r.at() < end) {
    r.align(8);
    const std::uint8_t code = r.byte();
    const std::string type = r.signature();
    if (type == "s" || type == "o") {
      std::string value = r.string();
      switch (code) {
        case field_path:
          m.path = std::move(value);
          break;
        case field_interface:
          m.interface = std::move(value);
          break;
        case field_member:
          m.member = std::move(value);
          break;
        case field_error_name:
          m.error_name = std::move(value);
          break;
        case field_sender:
          m.sender = std::move(value);
          break;
        default:
          break;
      }
    } else if (type == "g") {
      std::string value = r.signature();
      if (code == field_signature) m.signature = std::move(value);
    } else if (type == "u" && code == field_reply_serial) {
      m.reply_to = r.u32();
    } else if (const std::size_t width = type.size() == 1 ? size_of(type[0]) : 0; width != 0) {
      r.align(width);
      r.skip(width);
    } else {
      return {};  // no field that there is has such a type
    }
  }
  if (!r.ok() || r.at() != end) return {};
  m.body = bytes.substr(bytes.size() - body);
  return m;
}

}  // namespace condroid::inline v0::detail
