// What holds for whatever comes over a D-Bus socket: it is no message, or one that lies within its
// bytes, whose beginning never says more than the whole does. Used by the fuzz target and, with its
// seeds, by a unit test.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "sys/dbus_message.hpp"

namespace dbus_property {

/// Empty when it holds, otherwise what does not.
inline std::string broken(std::string_view bytes) {
  using namespace condroid::detail;
  const auto size = dbus_message_size(bytes);
  if (size && *size > most_dbus_message) return "a size that is to be refused";
  // What is read first decides nothing that the rest takes back.
  for (const std::size_t cut :
       {std::size_t{1}, std::size_t{15}, std::size_t{16}, bytes.size() / 2}) {
    const auto early = dbus_message_size(bytes.substr(0, cut));
    if (size && !early) return "refused at first, and taken with more";
    if (early && *early != 0 && size != early) return "a size that changes";
  }
  const auto message = decode_dbus_message(bytes);
  if (message) {
    if (!size || *size != bytes.size()) return "a message that is not all of it";
    if (message->body.size() > bytes.size()) return "a body that is larger than its message";
    for (const std::string* text : {&message->path, &message->interface, &message->member,
                                    &message->sender, &message->error_name, &message->signature})
      if (text->size() > bytes.size()) return "a field that is larger than its message";
  }
  // A body of any kind, read as anything.
  DbusReader reader(message ? std::string_view(message->body) : bytes);
  for (unsigned i = 0; reader.ok() && i < 64; ++i) {
    const std::size_t before = reader.at();
    const std::string text = i % 3 == 0 ? reader.string() : i % 3 == 1 ? reader.signature() : "";
    if (i % 3 == 2 && reader.u32() != 0 && !reader.ok()) return "a number from beyond the end";
    if (!reader.ok() && !text.empty()) return "a text from beyond the end";
    if (reader.at() < before || reader.at() > bytes.size()) return "a place beyond the end";
  }
  // What is called with these words comes back as they were.
  const std::string words(bytes.substr(0, std::min<std::size_t>(bytes.size(), 200)));
  const DbusCall call{.destination = "a.b",
                      .path = words,
                      .interface = words,
                      .member = words,
                      .signature = words,
                      .body = words};
  const auto back = decode_dbus_message(encode_call(call, 7));
  if (!back || back->path != words || back->member != words || back->signature != words ||
      back->body != words)
    return "a call that does not come back";
  return {};
}

}  // namespace dbus_property
