#include "launch/ports.hpp"

#include <algorithm>
#include <cerrno>

#include "formatted.hpp"

namespace condroid::inline v0::detail {

SocketAddress socket_address(const IpAddress& address, std::uint16_t port) {
  SocketAddress a;
  if (address.is_v6()) {
    auto& in = reinterpret_cast<sockaddr_in6&>(a.bytes);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port);
    std::memcpy(&in.sin6_addr, address.bytes().data(), sizeof in.sin6_addr);
    a.size = sizeof in;
  } else {
    auto& in = reinterpret_cast<sockaddr_in&>(a.bytes);
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&in.sin_addr, address.bytes().data(), sizeof in.sin_addr);
    a.size = sizeof in;
  }
  return a;
}

SocketAddress mapped(const SocketAddress& v4) {
  const auto& from = reinterpret_cast<const sockaddr_in&>(v4.bytes);
  SocketAddress a;
  auto& in = reinterpret_cast<sockaddr_in6&>(a.bytes);
  in.sin6_family = AF_INET6;
  in.sin6_port = from.sin_port;
  in.sin6_addr.s6_addr[10] = in.sin6_addr.s6_addr[11] = 0xff;
  std::memcpy(in.sin6_addr.s6_addr + 12, &from.sin_addr, sizeof from.sin_addr);
  a.size = sizeof in;
  return a;
}

std::string port_text(const PublishedPort& p) {
  std::string host = "*";
  if (p.host_address)
    host = p.host_address->is_v6() ? formatted("[{}]", to_string(*p.host_address))
                                   : to_string(*p.host_address);
  return formatted("{}:{}/{}", host, p.host_port, p.protocol == PublishedPort::tcp ? "tcp" : "udp");
}

tl::unexpected<Error> no_port(const PublishedPort& p, int error) {
  return fail(error, Step::publish_port, formatted("port {}", port_text(p)));
}

Fd open_port(const PublishedPort& p, int& error, PortUse use) {
  const bool tcp = p.protocol == PublishedPort::tcp;
  // One with SO_REUSEADDR that does not listen would keep nobody off.
  const bool serves = tcp && use == PortUse::serve;
  const auto open = [&](const IpAddress& address, bool both) {
    const SocketAddress at = socket_address(address, p.host_port);
    Fd fd(::socket(at.bytes.ss_family,
                   (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int yes = 1, only = both ? 0 : 1;
    error = 0;
    if (!fd.valid() ||
        (serves && ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0) ||
        (address.is_v6() &&
         ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only) < 0) ||
        ::bind(fd.get(), at.get(), at.size) < 0 || (serves && ::listen(fd.get(), 128) < 0)) {
      error = errno;
      return Fd{};
    }
    return fd;
  };
  if (p.host_address) return open(*p.host_address, false);
  Fd both = open(IpAddress::from_bytes({}, true), true);
  if (error == EAFNOSUPPORT || error == EADDRNOTAVAIL) return open(IpAddress{}, false);
  return both;
}

int try_port(const PublishedPort& p) {
  int error = 0;
  (void)open_port(p, error);
  return error;
}

}  // namespace condroid::inline v0::detail
