#include "launch/links.hpp"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "launch/inside.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr std::size_t aligned(std::size_t n) { return (n + 3) & ~std::size_t{3}; }

/// Calls `f` with the head of each message and all its bytes.
template <class F>
void each_message(std::string_view bytes, const F& f) {
  nlmsghdr head;
  while (bytes.size() >= sizeof head) {
    std::memcpy(&head, bytes.data(), sizeof head);
    if (head.nlmsg_len < sizeof head || head.nlmsg_len > bytes.size()) return;
    f(head, bytes.substr(0, head.nlmsg_len));
    bytes.remove_prefix(std::min(aligned(head.nlmsg_len), bytes.size()));
  }
}

/// Calls `f` with the type and the bytes of each attribute behind `skip` bytes of a message.
template <class F>
void each_attribute(std::string_view message, std::size_t skip, const F& f) {
  message.remove_prefix(std::min(aligned(skip), message.size()));
  rtattr head;
  while (message.size() >= sizeof head) {
    std::memcpy(&head, message.data(), sizeof head);
    if (head.rta_len < sizeof head || head.rta_len > message.size()) return;
    f(head.rta_type, message.substr(sizeof head, head.rta_len - sizeof head));
    message.remove_prefix(std::min(aligned(head.rta_len), message.size()));
  }
}

template <class Body>
std::optional<Body> body_of(std::string_view message) {
  Body body;
  if (message.size() < NLMSG_HDRLEN + sizeof body) return {};
  std::memcpy(&body, message.data() + NLMSG_HDRLEN, sizeof body);
  return body;
}

std::string_view text_of(std::string_view bytes) { return bytes.substr(0, bytes.find('\0')); }

/// One piece of what the kernel says, or nothing where somebody else spoke: who has CAP_NET_ADMIN
/// in that network namespace may. errno, or 0; EAGAIN: there is nothing.
template <std::size_t N>
int receive(FdView socket, std::array<char, N>& bytes, std::string_view& said) {
  ssize_t n = 0;
  sockaddr_nl from{};
  do {
    socklen_t size = sizeof from;
    n = ::recvfrom(socket.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&from),
                   &size);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno;
  said = {bytes.data(), from.nl_pid == 0 ? static_cast<std::size_t>(n) : 0};
  return 0;
}

/// Only the kernel may send to it, but for what all hear: then nobody fills it. errno, or 0.
int hear_the_kernel(FdView socket) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const bool done =
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel) == 0;
  return done ? 0 : errno;
}

int ask_for_all(FdView socket, std::uint16_t type, std::uint32_t sequence) {
  struct {
    nlmsghdr head;
    ifinfomsg body;  // as long as that for addresses, and longer
  } request{};
  request.head.nlmsg_len = sizeof request;
  request.head.nlmsg_type = type;
  request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.head.nlmsg_seq = sequence;
  ssize_t n = 0;
  do {
    n = ::send(socket.get(), &request, sizeof request, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return n < 0 ? errno : 0;
}

void take_use(std::string_view message, Stats& into) {
  if (into.interface_count >= into.interfaces.size()) return;
  InterfaceUse& use = into.interfaces[into.interface_count];
  bool counted = false;
  use = {};
  each_attribute(message, NLMSG_HDRLEN + sizeof(ifinfomsg),
                 [&](std::uint16_t type, std::string_view value) {
                   if (type == IFLA_IFNAME) {
                     const std::string_view name = text_of(value);
                     name.copy(use.name.data(), use.name.size() - 1);
                   }
                   // Older kernels have fewer of them, newer ones more.
                   constexpr std::size_t least = offsetof(rtnl_link_stats64, multicast);
                   if (type != IFLA_STATS64 || value.size() < least) return;
                   rtnl_link_stats64 s{};
                   std::memcpy(&s, value.data(), std::min(value.size(), sizeof s));
                   use.rx_bytes = s.rx_bytes;
                   use.rx_packets = s.rx_packets;
                   use.rx_errors = s.rx_errors;
                   use.rx_dropped = s.rx_dropped;
                   use.tx_bytes = s.tx_bytes;
                   use.tx_packets = s.tx_packets;
                   use.tx_errors = s.tx_errors;
                   use.tx_dropped = s.tx_dropped;
                   counted = true;
                 });
  if (counted) ++into.interface_count;
}

/// Of a question: what is left of the answer to an earlier one has another.
std::uint32_t next_sequence() {
  static std::atomic<std::uint32_t> last{0};
  return ++last;
}

/// Of what is said, at once: a container that has its interfaces come and go is not to hold up who
/// listens.
constexpr int most_pieces = 64;
/// How often all is asked for again where something changed meanwhile.
constexpr int most_looks = 4;

}  // namespace

Result<Fd> network_socket(const Place& place) {
  auto sent = sockets_inside(place, {.domain = AF_NETLINK, .type = SOCK_RAW | SOCK_NONBLOCK});
  if (!sent) return fail(sent);
  if (const int e = hear_the_kernel(sent->front()); e != 0)
    return fail(e, Step::open_sockets, "connecting a netlink socket");
  return std::move(sent->front());
}

int read_interfaces(FdView socket, Stats& into) {
  into.interface_count = 0;
  const std::uint32_t sequence = next_sequence();
  if (const int e = ask_for_all(socket, RTM_GETLINK, sequence); e != 0) return e;
  for (bool done = false; !done;) {
    alignas(nlmsghdr) std::array<char, 16384> bytes;
    std::string_view said;
    // A part of the answer is there whenever it is asked for.
    if (const int e = receive(socket, bytes, said); e != 0) return e;
    int error = 0;
    each_message(said, [&](const nlmsghdr& head, std::string_view message) {
      if (head.nlmsg_seq != sequence) return;
      if (head.nlmsg_type == RTM_NEWLINK) take_use(message, into);
      if (head.nlmsg_type == NLMSG_DONE) done = true;
      if (head.nlmsg_type == NLMSG_ERROR) {
        const auto e = body_of<nlmsgerr>(message);
        error = e ? -e->error : EPROTO;
        done = true;
      }
    });
    if (error != 0) return error;
  }
  return 0;
}

int LinkListener::begin(Fd socket, std::deque<WatchEvent>& events) {
  socket_ = std::move(socket);
  for (const int group : {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR})
    if (::setsockopt(socket_.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
      return errno;
  const int e = look(events);
  return e == EAGAIN ? 0 : e;
}

int LinkListener::look(std::deque<WatchEvent>& events) {
  int e = EAGAIN;
  for (int tries = 0; tries < most_looks && e == EAGAIN; ++tries) e = look_once(events);
  return e;
}

int LinkListener::look_once(std::deque<WatchEvent>& events) {
  for (auto& [index, known] : links_) known.seen = false;
  if (const int e = dump(RTM_GETLINK, events); e != 0) return e;
  for (auto it = links_.begin(); it != links_.end();) {
    if (it->second.seen) {
      ++it;
      continue;
    }
    events.push_back({.kind = WatchEvent::link_removed, .interface = it->second.name});
    it = links_.erase(it);
  }
  return dump(RTM_GETADDR, events);
}

int LinkListener::dump(std::uint16_t type, std::deque<WatchEvent>& events) {
  const std::uint32_t sequence = next_sequence();
  if (const int e = ask_for_all(socket_, type, sequence); e != 0) return e;
  int error = 0;
  bool changed = false;
  for (bool done = false; !done;) {
    alignas(nlmsghdr) std::array<char, 16384> bytes;
    std::string_view said;
    const int e = receive(socket_, bytes, said);
    changed = changed || e == ENOBUFS;  // something was not told
    if (e == ENOBUFS) continue;
    if (e != 0) return e;
    each_message(said, [&](const nlmsghdr& head, std::string_view message) {
      if (head.nlmsg_seq != sequence) return take(message, events);
      changed = changed || (head.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
      done = done || head.nlmsg_type == NLMSG_DONE || head.nlmsg_type == NLMSG_ERROR;
      if (head.nlmsg_type != NLMSG_ERROR) return take(message, events);
      const auto wrong = body_of<nlmsgerr>(message);
      error = wrong && wrong->error < 0 ? -wrong->error : EPROTO;
    });
  }
  return error != 0 ? error : changed ? EAGAIN : 0;
}

int LinkListener::gather(std::deque<WatchEvent>& events) {
  for (int piece = 0; piece < most_pieces; ++piece) {
    alignas(nlmsghdr) std::array<char, 16384> bytes;
    std::string_view said;
    const int e = receive(socket_, bytes, said);
    if (e == EAGAIN) return 0;
    if (e == ENOBUFS) {  // some were not told
      if (const int again = look(events); again != 0 && again != EAGAIN) return again;
      continue;
    }
    if (e != 0) return e;
    each_message(said, [&](const nlmsghdr& /*head*/, std::string_view m) { take(m, events); });
  }
  return 0;  // the rest at the next call: the socket is readable
}

void LinkListener::take(std::string_view message, std::deque<WatchEvent>& events) {
  const auto head = [&] {
    nlmsghdr h;
    std::memcpy(&h, message.data(), sizeof h);
    return h;
  }();
  switch (head.nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      return take_link(message, head.nlmsg_type == RTM_DELLINK, events);
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return take_address(message, head.nlmsg_type == RTM_DELADDR, events);
    default:
      return;
  }
}

void LinkListener::take_link(std::string_view message, bool removed,
                             std::deque<WatchEvent>& events) {
  const auto body = body_of<ifinfomsg>(message);
  if (!body || body->ifi_family != AF_UNSPEC) return;  // as a port of a bridge it tells nothing
  std::string name;
  each_attribute(message, NLMSG_HDRLEN + sizeof(ifinfomsg),
                 [&](std::uint16_t type, std::string_view value) {
                   if (type == IFLA_IFNAME) name = text_of(value);
                 });
  if (removed) {
    if (links_.erase(body->ifi_index) != 0)
      events.push_back({.kind = WatchEvent::link_removed, .interface = std::move(name)});
    return;
  }
  Known& known = links_[body->ifi_index];
  known.seen = true;
  if (!name.empty()) known.name = std::move(name);
  const bool up = (body->ifi_flags & IFF_UP) != 0 && (body->ifi_flags & IFF_RUNNING) != 0;
  if (up == known.up) return;
  known.up = up;
  events.push_back(
      {.kind = up ? WatchEvent::link_up : WatchEvent::link_down, .interface = known.name});
}

void LinkListener::take_address(std::string_view message, bool removed,
                                std::deque<WatchEvent>& events) {
  const auto body = body_of<ifaddrmsg>(message);
  if (!body) return;
  const auto link = links_.find(static_cast<int>(body->ifa_index));
  if (link == links_.end()) return;
  std::uint32_t flags = body->ifa_flags;
  std::string_view address, local;
  each_attribute(message, NLMSG_HDRLEN + sizeof(ifaddrmsg),
                 [&](std::uint16_t type, std::string_view value) {
                   if (type == IFA_ADDRESS) address = value;
                   if (type == IFA_LOCAL) local = value;
                   if (type == IFA_FLAGS && value.size() >= sizeof flags)
                     std::memcpy(&flags, value.data(), sizeof flags);
                 });
  if (!local.empty()) address = local;  // that is the other end's
  const bool v6 = body->ifa_family == AF_INET6;
  if ((!v6 && body->ifa_family != AF_INET) || address.size() != (v6 ? 16U : 4U)) return;
  std::pair key{std::string(address), body->ifa_prefixlen};
  auto& addresses = link->second.addresses;
  const bool usable = (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) == 0;
  if (removed || !usable) {
    addresses.erase(key);
    return;
  }
  if (!addresses.insert(std::move(key)).second) return;
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), address.data(), address.size());
  events.push_back({.kind = WatchEvent::address_added,
                    .interface = link->second.name,
                    .address = IpPrefix{IpAddress::from_bytes(bytes, v6), body->ifa_prefixlen}});
}

}  // namespace condroid::inline v0::detail
