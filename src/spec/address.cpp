#include "condroid/spec/address.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include "formatted.hpp"

namespace condroid::inline v0 {

std::string to_string(const IpAddress& address) {
  char text[INET6_ADDRSTRLEN] = {};
  (void)::inet_ntop(address.is_v6() ? AF_INET6 : AF_INET, address.bytes().data(), text,
                    sizeof text);
  return text;
}

std::string to_string(const IpPrefix& prefix) {
  return formatted("{}/{}", to_string(prefix.address), prefix.length);
}

std::string to_string(const MacAddress& mac) {
  return formatted("{:02x}", fmt::join(mac.bytes, ":"));
}

}  // namespace condroid::inline v0
