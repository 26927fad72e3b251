// PortRelay: ports of the host that lead into a container, carried by this program. No rights on
// the host are needed, and no other program.
//
//   auto relay = box.relay({{.host_address = "127.0.0.1"_ip, .host_port = 8080, .port = 80}});
//   if (!relay) return fail(relay);
//   pollfd waiter{relay->poll_fd().get(), POLLIN, 0};
//   while (::poll(&waiter, 1, -1) > 0 && relay->step().value_or(false)) {
//   }
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>

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
  /// TCP connections and UDP clients at once, two descriptors each of TCP and one of UDP. Who comes
  /// after that waits in the host's queue (TCP), or is not heard (UDP). 1 to 65536.
  std::size_t most_clients = 512;
  /// A UDP client that nothing came from or went to for so long is forgotten.
  std::chrono::milliseconds udp_idle{60000};
};

/// Accepts at ports of the host and connects each client to the same service at the container's
/// loopback (127.0.0.1, then ::1; for clients of IPv6 the other way round): there they all have
/// that address. Each direction of a connection ends by itself, and nobody is read from faster than
/// the other end takes it: at most 16 KiB wait in between. A connection that cannot be made inside
/// is reset. Move-only; one thread at a time, whichever; inert in a forked child of the program.
/// May outlive the Container's handle. Ends with the container's life; as long as it is there the
/// container's network namespace is, too.
class PortRelay {
 public:
  PortRelay(PortRelay&&) noexcept;
  PortRelay& operator=(PortRelay&&) noexcept;
  PortRelay(const PortRelay&) = delete;
  PortRelay& operator=(const PortRelay&) = delete;
  /// Closes its ports, and resets what goes through them.
  ~PortRelay();

  /// Readable when step() has something to do.
  [[nodiscard]] FdView poll_fd() const noexcept;
  /// Does what can be done now; never blocks. False once the container has ended: its ports are
  /// closed then.
  /// @errors Errc::in_forked_child; Step::join_namespace and others where no more sockets can be
  /// opened in the container: the clients that are there go on.
  [[nodiscard]] Result<bool> step();
  /// How many go through it now.
  [[nodiscard]] std::size_t clients() const noexcept;

 private:
  friend class Container;
  explicit PortRelay(std::unique_ptr<detail::RelayCore> core);
  std::unique_ptr<detail::RelayCore> core_;
};

}  // namespace v0
}  // namespace condroid
