// A message of rtnetlink(7), attribute by attribute: libnl's, with an owner. Private.
//
//   NetlinkMessage m(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
//   m.put(IFLA_IFNAME, "eth0");
//   {
//     const auto info = m.nest(IFLA_LINKINFO);
//     m.put(IFLA_INFO_KIND, "veth");
//   }
//   send(m.bytes());
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

struct nl_msg;
struct nlattr;

namespace condroid::inline v0::detail {

class NetlinkMessage {
 public:
  /// `head` is the fixed struct that goes with the type: ifinfomsg, ifaddrmsg, rtmsg. NLM_F_REQUEST
  /// is added to the flags. Throws std::bad_alloc without memory, as everything here.
  template <class Head>
  NetlinkMessage(std::uint16_t type, int flags, const Head& head) : NetlinkMessage(type, flags) {
    static_assert(std::is_trivially_copyable_v<Head>);
    append(&head, sizeof head);
  }

  template <class T>
  requires std::is_trivially_copyable_v<T>
  void put(int attribute, const T& value) { put_bytes(attribute, &value, sizeof value); }
  /// With its NUL.
  void put(int attribute, const std::string& text) {
    put_bytes(attribute, text.c_str(), text.size() + 1);
  }
  void put(int attribute, const char* text) { put(attribute, std::string(text)); }
  void put_bytes(int attribute, const void* data, std::size_t size);
  /// Plain bytes: the fixed struct inside of a nest.
  void append(const void* data, std::size_t size);

  class Nest {
   public:
    Nest(nl_msg* message, nlattr* begun) : message_(message), begun_(begun) {}
    Nest(const Nest&) = delete;
    Nest& operator=(const Nest&) = delete;
    ~Nest();

   private:
    nl_msg* message_;
    nlattr* begun_;
  };
  /// What is put while it lives is inside of this attribute.
  [[nodiscard]] Nest nest(int attribute);

  void set_sequence(std::uint32_t number);
  /// Valid until the next change.
  [[nodiscard]] std::string_view bytes() const;

 private:
  NetlinkMessage(std::uint16_t type, int flags);

  struct Free {
    void operator()(nl_msg* m) const;
  };
  std::unique_ptr<nl_msg, Free> message_;
};

}  // namespace condroid::inline v0::detail
