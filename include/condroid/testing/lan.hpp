// A cable for boxes: a bridge in a network namespace that nothing else is in. What testing::Network
// is made of; nothing here is promised.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "condroid/container.hpp"
#include "condroid/error.hpp"
#include "condroid/runtime.hpp"
#include "condroid/spec.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid {
inline namespace v0 {
namespace detail {

/// Thread-safe. The namespace ends with this and the last box in it. It needs CAP_SYS_ADMIN and
/// CAP_NET_ADMIN.
class Lan {
 public:
  /// @errors Step::create_bridge
  [[nodiscard]] static Result<std::shared_ptr<Lan>> make(const IpPrefix& subnet);

  /// A name that no box had so far.
  [[nodiscard]] std::string fresh_name();
  /// An interface for a box of this name, with an address that no other one there has.
  /// @errors Errc::bad_spec when there is one of that name, ENOSPC when no address is left.
  [[nodiscard]] Result<Interface> seat(const std::string& name);
  /// Launches on a thread in the namespace, where the bridge is.
  [[nodiscard]] Result<Container> launch(const Runtime& runtime, const Spec& spec) const;
  /// Has all boxes know one another by name: writes their /etc/hosts.
  [[nodiscard]] Result<void> arrived(const std::string& name, Fd root);
  void leave(const std::string& name);

  /// Takes the cable of a box out, or puts it in again.
  /// @errors ENODEV for no such box
  [[nodiscard]] Result<void> plug(std::string_view name, bool in);
  [[nodiscard]] Result<IpAddress> address(std::string_view name) const;

 private:
  struct Seat {
    std::string interface = {};  ///< The host's end.
    std::uint32_t number = 0;
    IpAddress address = {};
    Fd root = {};
  };
  Lan(const IpPrefix& subnet, Fd place, Fd socket);

  IpPrefix subnet_;
  Fd namespace_;
  Fd socket_;  ///< Of that namespace.
  mutable std::mutex mutex_;
  std::uint32_t last_ = 0;
  std::uint64_t names_ = 0;
  std::map<std::string, Seat, std::less<>> seats_;
};

}  // namespace detail
}  // namespace v0
}  // namespace condroid
