// A connection to a message bus: as much of D-Bus as it takes to call a method and to hear a
// signal. One socket, no thread, nothing that outlives it. Private.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "condroid/error.hpp"
#include "condroid/sys/fd.hpp"
#include "sys/dbus_message.hpp"

namespace condroid::inline v0::detail {

/// Where the bus of the system, or of this user's session, is; as D-Bus addresses are written.
/// Reads the environment of a program that is not set-id.
[[nodiscard]] std::string bus_address(bool of_user);

/// Used by one thread at a time. Every wait ends at the deadline.
class DbusConnection {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// Connects and says hello. `name` is for errors: "the user bus".
  /// @errors Step::start_scope: ENOENT, ECONNREFUSED, EACCES; Errc::deadline; Errc::protocol;
  /// Errc::unsupported for an address that is no socket of this machine.
  [[nodiscard]] static Result<DbusConnection> open(const std::string& address,
                                                   std::string_view name, Time deadline);

  /// Calls a method and waits for the answer; signals that come meanwhile go to `heard`.
  /// @errors as open(); what the other side answers as an error: EACCES when it was refused, else
  /// Errc::unsupported, in its own words.
  [[nodiscard]] Result<DbusMessage> call(const DbusCall& call);
  /// Lets signals come until `done` says so.
  [[nodiscard]] Result<void> wait(const std::string& what, const std::function<bool()>& done);

  std::function<void(const DbusMessage&)> heard = {};
  /// The name of the last error that was answered ("org.freedesktop.systemd1.UnitExists").
  [[nodiscard]] const std::string& last_error() const noexcept { return last_error_; }
  /// It was that nobody has the name that was called.
  [[nodiscard]] bool nobody_there() const noexcept;
  [[nodiscard]] const std::string& unique_name() const noexcept { return unique_name_; }
  /// "the user bus 'unix:path=/run/user/1000/bus'"
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

 private:
  DbusConnection() = default;
  [[nodiscard]] Result<void> authenticate();
  [[nodiscard]] Result<void> send(std::string_view bytes, const std::string& what);
  /// Waits until there is more to read, and reads it.
  [[nodiscard]] Result<void> receive(const std::string& what);
  [[nodiscard]] Result<DbusMessage> next(const std::string& what);
  [[nodiscard]] Result<void> ready(short events, const std::string& what) const;
  [[nodiscard]] tl::unexpected<Error> late(const std::string& what) const;

  Fd socket_;
  Time deadline_;
  std::string name_;
  std::string unique_name_;
  std::string last_error_;
  std::string input_;
  std::uint32_t serial_ = 0;
};

}  // namespace condroid::inline v0::detail
