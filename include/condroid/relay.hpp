// PortRelay: ports of the host that lead into a container, carried by this program. No rights on
// the host are needed, and no other program.
//
//   auto relay = box.relay({{.host_address = "127.0.0.1"_ip, .host_port = 8080, .port = 80}});
//   if (!relay) return fail(relay);
//   pollfd waiter{relay->poll_fd().get(), POLLIN, 0};
//   while (::poll(&waiter, 1, -1) > 0) {
//     const auto goes_on = relay->step();
//     if (!goes_on) return fail(goes_on);  // only in a forked child
//     if (!*goes_on) break;                // the container has ended
//   }
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>

#include "condroid/error.hpp"
#include "condroid/spec/network.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid {
inline namespace v0 {

class Container;

namespace detail {
class RelayCore;
}  // namespace detail

struct RelayOptions {
  /// TCP connections at once, and as many clients of UDP. Who comes after that waits in the host's
  /// queue (TCP), or is not heard (UDP). A connection has two descriptors, a client of UDP one;
  /// besides up to about 40 sockets of the container's are kept ready for each protocol, and one
  /// for each connection that is being made. 1 to 65536.
  std::size_t most_clients = 512;
  /// A UDP client that nothing came from or went to for so long is forgotten. A day at most.
  std::chrono::milliseconds udp_idle{60000};
  /// How long clients have, once the container has ended, to take what it had said to them. A day
  /// at most; 0: they are reset at once.
  std::chrono::milliseconds drain{5000};
};

/// Accepts at ports of the host and connects each client to the same service at the container's
/// loopback (127.0.0.1, then ::1; for clients of IPv6 the other way round): there they all have
/// that address. Each direction of a connection ends by itself, and nobody is read from faster than
/// the other end takes it: at most 16 KiB wait in between. A connection that cannot be made inside
/// within ten seconds is reset, as is one whose service resets it, once the client has what came
/// before. A peer whose machine is gone is noticed within two minutes of silence. Move-only; one
/// thread at a time, whichever; inert in a forked child of the program. May outlive the Container's
/// handle. Ends with the container's life; as long as it goes on the container's network namespace
/// is there, too.
///
/// When the container ends the ports are closed. Each client still gets all that its service had
/// written, as far as it takes it within RelayOptions::drain; a service that ended with something
/// unread resets its connection, tcp(7), and what it had written is cut off where it was. Then the
/// client's connection is closed.
class PortRelay {
 public:
  PortRelay(PortRelay&&) noexcept;
  PortRelay& operator=(PortRelay&&) noexcept;
  PortRelay(const PortRelay&) = delete;
  PortRelay& operator=(const PortRelay&) = delete;
  /// Closes its ports, and resets what goes through them. A process that opens sockets at that
  /// moment is ended, and waited for.
  ~PortRelay();

  /// Readable when step() has something to do.
  [[nodiscard]] FdView poll_fd() const noexcept;
  /// Does what can be done now; never blocks. False once the container has ended and its clients
  /// have been served. What fails and may succeed later is tried again, and no error: trouble().
  /// @errors Errc::in_forked_child.
  [[nodiscard]] Result<bool> step();
  /// Why no more sockets can be opened in the container, until some could. Clients that are there
  /// go on; others of TCP wait meanwhile, others of UDP are not heard.
  [[nodiscard]] std::optional<Error> trouble() const;
  /// How many go through it now, of both protocols.
  [[nodiscard]] std::size_t clients() const noexcept;

 private:
  friend class Container;
  explicit PortRelay(std::unique_ptr<detail::RelayCore> core);
  std::unique_ptr<detail::RelayCore> core_;
};

}  // namespace v0
}  // namespace condroid
