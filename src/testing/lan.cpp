#include "condroid/testing/lan.hpp"

#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>
#include <thread>
#include <utility>

#include "condroid/testing/box.hpp"
#include "formatted.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr const char* bridge = "lan";

/// errno, or 0.
int set_up(FdView socket, const std::string& interface, bool up) {
  ifreq request{};
  interface.copy(request.ifr_name, IFNAMSIZ - 1);
  if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) < 0) return errno;
  constexpr short flag = IFF_UP;
  const int flags = up ? request.ifr_flags | flag : request.ifr_flags & ~flag;
  request.ifr_flags = static_cast<short>(flags);
  return ::ioctl(socket.get(), SIOCSIFFLAGS, &request) < 0 ? errno : 0;
}

IpAddress numbered(const IpPrefix& subnet, std::uint32_t number) {
  auto bytes = subnet.first().bytes();
  const std::size_t size = subnet.address.size();
  for (std::size_t i = 0; i < 4; ++i, number >>= 8U) {
    number += bytes[size - 1 - i];
    bytes[size - 1 - i] = static_cast<std::uint8_t>(number & 0xffU);
  }
  return IpAddress::from_bytes(bytes, subnet.address.is_v6());
}

}  // namespace

Lan::Lan(const IpPrefix& subnet, Fd place, Fd socket)
    : subnet_(subnet), namespace_(std::move(place)), socket_(std::move(socket)) {}

Result<std::shared_ptr<Lan>> Lan::make(const IpPrefix& subnet) {
  // A thread of its own goes there; this one stays where it is.
  Fd place, socket;
  int error = 0;
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) < 0) {
      error = errno;
      return;
    }
    place.reset(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    socket.reset(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!place.valid() || !socket.valid() || ::ioctl(socket.get(), SIOCBRADDBR, bridge) < 0)
      error = errno;
    else
      error = set_up(socket, bridge, true);
  }).join();
  if (error != 0) {
    Error e = sys_error(error, Step::create_bridge, "a network for boxes");
    if (error == EPERM) e.hint = "it takes CAP_SYS_ADMIN and CAP_NET_ADMIN: be root";
    return fail(std::move(e));
  }
  return std::shared_ptr<Lan>(new Lan(subnet, std::move(place), std::move(socket)));
}

std::string Lan::fresh_name() {
  const std::scoped_lock hold(mutex_);
  std::string name;
  do {
    name = formatted("box{}", ++names_);
  } while (seats_.contains(name));
  return name;
}

Result<Interface> Lan::seat(const std::string& name) {
  const std::scoped_lock hold(mutex_);
  const std::string subject = formatted("a network's box '{}'", name);
  if (seats_.contains(name))
    return fail(Errc::bad_spec, Step::lease_address, subject + ": there is one of that name",
                "give each box a name of its own");
  // The next one, so that nobody remembers another Ethernet address for it, and the first ones
  // again at the end. Those of the last byte 0 and 255 mean something else to many.
  const auto usable = [&](std::uint32_t number) {
    for (const auto& [other, seat] : seats_)
      if (seat.number == number) return false;
    const IpAddress is = numbered(subnet_, number);
    return (number & 0xffU) != 0 && (number & 0xffU) != 0xff && subnet_.contains(is) &&
           is != subnet_.last();
  };
  constexpr std::uint32_t most = 65000;
  std::uint32_t tried = 0;
  do {
    if (++tried > most) return fail(ENOSPC, Step::lease_address, subject);
    last_ = last_ % most + 1;
  } while (!usable(last_));
  Seat seat{
      .interface = formatted("box{}", last_), .number = last_, .address = numbered(subnet_, last_)};
  Interface interface {
    .link = Veth{.bridge = bridge, .host_name = seat.interface}, .addresses = {
      {seat.address, subnet_.length}
    }
  };
  seats_.emplace(name, std::move(seat));
  return interface;
}

Result<Container> Lan::launch(const Runtime& runtime, const Spec& spec) const {
  // Not on the thread in there: what the machine can do is asked once.
  if (auto facts = runtime.facts(); !facts) return fail(facts);
  std::optional<Result<Container>> launched;
  int error = 0;
  std::thread([&] {
    if (::setns(namespace_.get(), CLONE_NEWNET) < 0) {
      error = errno;
      return;
    }
    launched.emplace(runtime.launch(spec));
  }).join();
  if (!launched) return fail(error, Step::join_namespace, "a network for boxes");
  return std::move(*launched);
}

Result<void> Lan::arrived(const std::string& name, Fd root) {
  const std::scoped_lock hold(mutex_);
  const auto at = seats_.find(name);
  if (at == seats_.end()) return fail(ENODEV, Step::lease_address, name);
  at->second.root = std::move(root);
  std::string hosts = "127.0.0.1 localhost\n::1 localhost\n";
  for (const auto& [box, seat] : seats_)
    append_formatted(hosts, "{} {}\n", to_string(seat.address), box);
  // What another box did to its own file is no reason for this one not to come.
  Result<void> own;
  for (const auto& [box, seat] : seats_)
    if (seat.root.valid())
      if (auto done = put_file(seat.root, GuestPath("/etc/hosts"), hosts, {0644});
          !done && box == name)
        own = std::move(done);
  return own;
}

void Lan::leave(const std::string& name) {
  const std::scoped_lock hold(mutex_);
  seats_.erase(name);
}

Result<void> Lan::plug(std::string_view name, bool in) {
  const std::scoped_lock hold(mutex_);
  const auto at = seats_.find(name);
  const int error = at == seats_.end() ? ENODEV : set_up(socket_, at->second.interface, in);
  if (error != 0)
    return fail(error, Step::configure_interface, formatted("the cable of box '{}'", name));
  return {};
}

Result<IpAddress> Lan::address(std::string_view name) const {
  const std::scoped_lock hold(mutex_);
  const auto at = seats_.find(name);
  if (at == seats_.end())
    return fail(ENODEV, Step::lease_address, formatted("a network's box '{}'", name));
  return at->second.address;
}

}  // namespace condroid::inline v0::detail
