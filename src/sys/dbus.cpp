#include "sys/dbus.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "formatted.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr auto step = Step::start_scope;

std::string environment(const char* name) {
  const char* value = ::secure_getenv(name);
  return value != nullptr ? value : "";
}

/// A value of an address, where %2f stands for '/'.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::sscanf(std::string(text.substr(i + 1, 2)).c_str(), "%2x", &code) == 1) {
      out.push_back(static_cast<char>(code));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

/// Somebody else's words, on one line.
std::string one_line(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 127; }, ' ');
  return text;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       std::string_view("-_/.\\*").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : formatted("%{:02x}", static_cast<unsigned char>(c));
  }
  return out;
}

/// Connects to one address of the list; errno, or 0. EPROTONOSUPPORT for a kind that is no socket
/// here: sd-bus and others would start a program for "unixexec:".
int connect_one(std::string_view address, Fd& socket) {
  constexpr std::string_view unix_kind = "unix:";
  if (!address.starts_with(unix_kind)) return EPROTONOSUPPORT;
  address.remove_prefix(unix_kind.size());
  std::string name;
  while (!address.empty()) {
    const std::string_view part = address.substr(0, address.find(','));
    address.remove_prefix(std::min(part.size() + 1, address.size()));
    constexpr std::string_view path = "path=", abstract = "abstract=";
    if (part.starts_with(path)) name = unescaped(part.substr(path.size()));
    if (part.starts_with(abstract)) name = '\0' + unescaped(part.substr(abstract.size()));
  }
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (name.empty()) return EPROTONOSUPPORT;
  if (name.size() >= sizeof to.sun_path) return ENAMETOOLONG;
  std::memcpy(to.sun_path, name.data(), name.size());
  const std::size_t ending = name[0] == '\0' ? 0 : 1;
  socket = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return errno;
  return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to),
                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + ending)) <
                 0
             ? errno
             : 0;
}

}  // namespace

std::string bus_address(bool of_user) {
  if (!of_user) {
    std::string named = environment("DBUS_SYSTEM_BUS_ADDRESS");
    return named.empty() ? "unix:path=/run/dbus/system_bus_socket" : named;
  }
  if (std::string named = environment("DBUS_SESSION_BUS_ADDRESS"); !named.empty()) return named;
  if (const std::string dir = environment("XDG_RUNTIME_DIR"); !dir.empty())
    return formatted("unix:path={}/bus", escaped(dir));
  // As pam_systemd sets it; su(1) and cron(8) do not pass it on.
  return formatted("unix:path=/run/user/{}/bus", ::geteuid());
}

Result<DbusConnection> DbusConnection::open(const std::string& address, std::string_view name,
                                            Time deadline) {
  DbusConnection bus;
  bus.deadline_ = deadline;
  bus.name_ = formatted("{} '{}'", name, address);
  int error = EPROTONOSUPPORT;
  for (std::string_view rest = address; !rest.empty() && error != 0;) {
    const std::string_view one = rest.substr(0, rest.find(';'));
    rest.remove_prefix(std::min(one.size() + 1, rest.size()));
    error = connect_one(one, bus.socket_);
  }
  if (error == EPROTONOSUPPORT)
    return fail(Errc::unsupported, step, bus.name_, "an address of a socket: unix:path=");
  if (error != 0) return fail(error, step, bus.name_);
  if (auto ok = bus.authenticate(); !ok) return fail(ok);
  auto hello = bus.call({.destination = "org.freedesktop.DBus",
                         .path = "/org/freedesktop/DBus",
                         .interface = "org.freedesktop.DBus",
                         .member = "Hello"});
  if (!hello) return fail(hello);
  bus.unique_name_ = DbusReader(hello->body).string();
  return bus;
}

/// EXTERNAL: the kernel tells the bus who we are. No id is named, since in a user namespace ours
/// would be another one.
Result<void> DbusConnection::authenticate() {
  const std::string what = "authentication";
  using namespace std::string_view_literals;
  if (auto ok = send("\0AUTH EXTERNAL\r\nDATA\r\n"sv, what); !ok) return fail(ok);
  for (;;) {
    std::size_t end = 0;
    while ((end = input_.find("\r\n")) == std::string::npos) {
      constexpr std::size_t longest = 16384;
      if (input_.size() > longest)
        return fail(Errc::protocol, step, formatted("{} of {}", what, name_),
                    "is that a message bus?");
      if (auto ok = receive(what); !ok) return fail(ok);
    }
    const std::string line = input_.substr(0, end);
    input_.erase(0, end + 2);
    if (line.starts_with("OK ")) break;
    if (line.starts_with("REJECTED")) return fail(EACCES, step, formatted("{} of {}", what, name_));
    if (line != "DATA" && line != "DATA ")
      return fail(Errc::protocol, step, formatted("{} of {}", what, name_),
                  "is that a message bus?");
  }
  return send("BEGIN\r\n"sv, what);
}

Result<void> DbusConnection::ready(short events, const std::string& what) const {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline_ - std::chrono::steady_clock::now());
  const int ready =
      wait_for_fd(socket_.get(), events, poll_timeout(std::max(left, decltype(left){0})));
  if (ready < 0) return fail(-ready, step, formatted("{} of {}", what, name_));
  if (ready == 0) return late(what);
  return {};
}

tl::unexpected<Error> DbusConnection::late(const std::string& what) const {
  return fail(Errc::deadline, step, formatted("{}: no answer from {}", what, name_),
              "does it stand still? SystemdScope::patience says how long is waited");
}

Result<void> DbusConnection::send(std::string_view bytes, const std::string& what) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      if (auto ok = ready(POLLOUT, what); !ok) return fail(ok);
    } else if (errno != EINTR) {
      return fail(errno, step, formatted("{} of {}", what, name_));
    }
  }
  return {};
}

Result<void> DbusConnection::receive(const std::string& what) {
  // A peer that never stops talking must not be listened to for ever.
  if (std::chrono::steady_clock::now() >= deadline_) return late(what);
  std::array<char, 4096> block;
  for (;;) {
    const ssize_t n = ::recv(socket_.get(), block.data(), block.size(), 0);
    if (n > 0) {
      input_.append(block.data(), static_cast<std::size_t>(n));
      return {};
    }
    if (n == 0) return fail(ECONNRESET, step, formatted("{} of {}", what, name_));
    if (errno == EAGAIN) {
      if (auto ok = ready(POLLIN, what); !ok) return fail(ok);
    } else if (errno != EINTR) {
      return fail(errno, step, formatted("{} of {}", what, name_));
    }
  }
}

Result<DbusMessage> DbusConnection::next(const std::string& what) {
  for (;;) {
    const auto size = dbus_message_size(input_);
    if (!size)
      return fail(Errc::protocol, step, formatted("{}, of {}", what, name_),
                  "is that a message bus?");
    if (*size == 0 || *size > input_.size()) {
      if (std::chrono::steady_clock::now() >= deadline_) return late(what);
      if (auto ok = receive(what); !ok) return fail(ok);
      continue;
    }
    auto message = decode_dbus_message(std::string_view(input_).substr(0, *size));
    input_.erase(0, *size);
    if (!message)
      return fail(Errc::protocol, step, formatted("{}, of {}", what, name_),
                  "is that a message bus?");
    return std::move(*message);
  }
}

Result<DbusMessage> DbusConnection::call(const DbusCall& call) {
  const std::uint32_t serial = ++serial_;
  last_error_.clear();
  if (auto ok = send(encode_call(call, serial), call.member); !ok) return fail(ok);
  for (;;) {
    auto m = next(call.member);
    if (!m) return fail(m);
    if (m->type == DbusMessage::signal && heard) heard(*m);
    if (m->reply_to != serial) continue;
    if (m->type == DbusMessage::method_return) return m;
    if (m->type != DbusMessage::error) continue;
    last_error_ = m->error_name;
    const std::string words = m->signature.starts_with('s') ? DbusReader(m->body).string() : "";
    const std::string subject = formatted("{} at {}: {}", call.member, name_,
                                          one_line(words.empty() ? m->error_name : words));
    constexpr std::array refusals = {"org.freedesktop.DBus.Error.AccessDenied",
                                     "org.freedesktop.DBus.Error.AuthFailed",
                                     "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"};
    if (std::ranges::find(refusals, m->error_name) != refusals.end())
      return fail(EACCES, step, subject);
    return fail(Errc::unsupported, step, subject,
                nobody_there() ? formatted("'{}' is not running there", call.destination) : "");
  }
}

bool DbusConnection::nobody_there() const noexcept {
  return last_error_ == "org.freedesktop.DBus.Error.ServiceUnknown" ||
         last_error_ == "org.freedesktop.DBus.Error.NameHasNoOwner";
}

Result<void> DbusConnection::wait(const std::string& what, const std::function<bool()>& done) {
  while (!done()) {
    auto m = next(what);
    if (!m) return fail(m);
    if (m->type == DbusMessage::signal && heard) heard(*m);
  }
  return {};
}

}  // namespace condroid::inline v0::detail
