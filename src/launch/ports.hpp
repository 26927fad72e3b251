// Ports of the host, as sockets. Private.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <string>

#include "condroid/error.hpp"
#include "condroid/spec/network.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid::inline v0::detail {

struct SocketAddress {
  sockaddr_storage bytes{};
  socklen_t size = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&bytes); }
};

[[nodiscard]] SocketAddress socket_address(const IpAddress& address, std::uint16_t port);

/// One of IPv4 for a socket of IPv6; ipv6(7).
[[nodiscard]] SocketAddress mapped(const SocketAddress& v4);

/// "127.0.0.1:8080/tcp"
[[nodiscard]] std::string port_text(const PublishedPort& p);

/// That it cannot be had, whoever is to lead from there: "publish port: port *:80/tcp: ...".
[[nodiscard]] tl::unexpected<Error> no_port(const PublishedPort& p, int error);

enum class PortUse {
  serve,  ///< Of TCP it listens.
  hold,   ///< Bound and nothing else: whoever else wants the port is told so.
};
/// A socket that is bound to it; not blocking. Without an address one of IPv6 that takes both, or
/// where there is none, of IPv4. errno in `error`.
[[nodiscard]] Fd open_port(const PublishedPort& p, int& error, PortUse use = PortUse::serve);

/// Whether it can be had: 0, or an errno.
[[nodiscard]] int try_port(const PublishedPort& p);

}  // namespace condroid::inline v0::detail
