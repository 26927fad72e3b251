// A relay for published ports: sockets here and there, two buffers for each connection.
#include "condroid/relay.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "formatted.hpp"
#include "launch/inside.hpp"
#include "launch/ports.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::detail {

namespace {

using Clock = std::chrono::steady_clock;

/// Sockets of one kind in the container's namespace, opened ahead: several at once cost what one
/// does.
struct Stock {
  int type = SOCK_STREAM;
  std::vector<Fd> ready = {};
  std::optional<Errand> coming = {};
  Fd watched = {};  ///< What is waited for of it, among the others.
  bool wanted = false;
};
constexpr unsigned at_once = 32;
constexpr std::size_t few = 8;

/// One direction of a connection.
struct Direction {
  std::unique_ptr<char[]> bytes;
  std::size_t begin = 0, end = 0;
  bool at_end = false;  ///< Nothing more is read.
  bool told = false;    ///< And the other side knows.
  static constexpr std::size_t room = 16384;
  [[nodiscard]] bool empty() const { return begin == end; }
};

struct Side {
  Fd fd;
  std::uint32_t waits_for = 0;  ///< As epoll has it; 0: it does not.
};

struct Connection {
  std::uint16_t port = 0;
  bool v6_first = false;
  bool connecting = true;
  bool second_try = false;
  std::array<Side, 2> sides;            // the client's, the container's
  std::array<Direction, 2> directions;  // from the client, from the container
};

/// Where a datagram came from, and which of our addresses it came to.
struct UdpPeer {
  sockaddr_storage from{};
  socklen_t size = 0;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in6_pktinfo))> info{};
  std::size_t info_size = 0;
};

struct UdpClient {
  std::size_t listener = 0;
  std::string key;
  UdpPeer peer;
  Fd fd;
  bool v6_first = false;
  bool second_try = false;
  Clock::time_point used;
};

struct Listener {
  PublishedPort port;
  Fd fd;
  bool listens = false;
  std::map<std::string, std::uint64_t> clients = {};  ///< UDP: by address.
};

IpAddress loopback(bool v6) {
  std::array<std::uint8_t, 16> bytes{};
  if (v6)
    bytes[15] = 1;
  else
    bytes[0] = 127, bytes[3] = 1;
  return IpAddress::from_bytes(bytes, v6);
}

bool is_v6(const sockaddr_storage& a) {
  if (a.ss_family != AF_INET6) return false;
  return !IN6_IS_ADDR_V4MAPPED(&reinterpret_cast<const sockaddr_in6&>(a).sin6_addr);
}

/// Its peer learns that it was not heard to the end.
void reset_when_closed(const Fd& fd) {
  const linger now{1, 0};
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

}  // namespace

class RelayCore {
 public:
  RelayCore(Place where, RelayOptions how) : place(std::move(where)), options(how) {}
  ~RelayCore() {
    if (owner != ::getpid()) return;
    for (auto& [id, c] : connections_) abort(*c);
  }
  RelayCore(const RelayCore&) = delete;
  RelayCore& operator=(const RelayCore&) = delete;

  [[nodiscard]] Result<void> begin(const std::vector<PublishedPort>& ports);
  [[nodiscard]] Result<bool> step();
  [[nodiscard]] std::size_t clients() const { return connections_.size() + udp_.size(); }

  pid_t owner = ::getpid();
  Place place;
  RelayOptions options;
  Fd epoll;

 private:
  // Of what a descriptor is, in the upper bits of what epoll says; below them its number.
  enum Tag : std::uint64_t { tag_end, tag_timer, tag_stock, tag_listener, tag_side, tag_udp };
  static constexpr unsigned tag_shift = 56;
  static std::uint64_t tagged(Tag tag, std::uint64_t number) {
    return (std::uint64_t{tag} << tag_shift) | number;
  }
  static constexpr std::size_t tcp = 0, udp = 1;  // of stocks_

  [[nodiscard]] int listen(int fd, std::uint32_t events, std::uint64_t tag) const;
  void unlisten(int fd) const { (void)::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, fd, nullptr); }
  [[nodiscard]] Fd open_socket(int type) const;
  [[nodiscard]] Fd take(std::size_t kind);
  [[nodiscard]] Result<void> refill(std::size_t kind);
  void watch_errand(std::size_t kind);
  void set_listening();
  void accept_at(std::size_t index);
  void add_connection(Fd client, const sockaddr_storage& from, const Listener& at);
  bool connect(Connection& c);
  void on_side(std::uint64_t number, std::uint32_t events);
  static bool pump(Connection& c, std::size_t from);
  void wait_on(Connection& c, std::uint64_t id);
  void abort(Connection& c);
  void close(std::uint64_t id);
  void receive_at(std::size_t index);
  UdpClient* client_of(std::size_t index, const UdpPeer& peer);
  bool connect(UdpClient& c) const;
  void on_udp(std::uint64_t id);
  void forget_idle();
  void set_timer();
  void finish();

  Fd timer_;
  std::vector<Listener> listeners_;
  std::array<Stock, 2> stocks_{Stock{.type = SOCK_STREAM}, Stock{.type = SOCK_DGRAM}};
  std::uint64_t last_id_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::unordered_map<std::uint64_t, std::unique_ptr<UdpClient>> udp_;
  bool exhausted_ = false;  ///< No descriptor could be had: not before the timer.
  bool v4_only_ = false;
  bool ended_ = false;
};

int RelayCore::listen(int fd, std::uint32_t events, std::uint64_t tag) const {
  epoll_event event{};
  event.events = events;
  event.data.u64 = tag;
  return ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

Result<void> RelayCore::begin(const std::vector<PublishedPort>& ports) {
  const std::string subject = formatted("container '{}'", place.name);
  if (ports.empty())
    return fail(Errc::bad_spec, Step::relay_port, subject,
                "name a port of the host's and one inside");
  if (options.most_clients == 0 || options.most_clients > 65536 || options.udp_idle.count() <= 0)
    return fail(Errc::bad_spec, Step::relay_port, subject + ": clients or their time",
                "most_clients is 1 to 65536, udp_idle more than 0");
  if (!place.inside.namespaces.has(Namespace::net))
    return fail(Errc::unsupported, Step::relay_port, subject + " shares this program's network",
                "its ports are the host's already");
  epoll = Fd(::epoll_create1(EPOLL_CLOEXEC));
  timer_ = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  int e = epoll && timer_ ? 0 : errno;
  if (e == 0) e = listen(place.pidfd.get(), EPOLLIN, tagged(tag_end, 0));
  if (e == 0) e = listen(timer_.get(), EPOLLIN, tagged(tag_timer, 0));
  if (e != 0) return fail(e, Step::relay_port, subject);
  for (const PublishedPort& p : ports) {
    const std::string what = formatted("port {}", port_text(p));
    if (p.host_port == 0 || p.port == 0)
      return fail(Errc::bad_spec, Step::relay_port, what + " to " + formatted("{}", p.port),
                  "use numbers from 1 to 65535");
    Listener l{.port = p};
    l.fd = open_port(p, e);
    const int yes = 1;
    if (e == 0 && p.protocol == PublishedPort::udp) {
      // The answer comes from the address that was asked.
      int domain = 0;
      socklen_t size = sizeof domain;
      (void)::getsockopt(l.fd.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size);
      if (domain == AF_INET6)
        (void)::setsockopt(l.fd.get(), IPPROTO_IPV6, IPV6_RECVPKTINFO, &yes, sizeof yes);
      else
        (void)::setsockopt(l.fd.get(), IPPROTO_IP, IP_PKTINFO, &yes, sizeof yes);
    }
    if (e != 0) return fail(e, Step::relay_port, what);
    stocks_[p.protocol == PublishedPort::tcp ? tcp : udp].wanted = true;
    listeners_.push_back(std::move(l));
  }
  for (const std::size_t kind : {tcp, udp}) {
    if (!stocks_[kind].wanted) continue;
    if (auto ok = refill(kind); !ok) return ok;
    auto first = stocks_[kind].coming->wait();
    // A kernel without IPv6.
    if (!first && !v4_only_ && first.error().is_errno(EAFNOSUPPORT)) {
      v4_only_ = true;
      stocks_[kind].coming.reset();
      if (auto ok = refill(kind); !ok) return ok;
      first = stocks_[kind].coming->wait();
    }
    if (!first) return fail(first);
    stocks_[kind].ready = std::move(*first);
    stocks_[kind].coming.reset();
  }
  set_listening();
  return {};
}

/// The container's namespace is asked for more before there are none.
Result<void> RelayCore::refill(std::size_t kind) {
  Stock& s = stocks_[kind];
  if (s.coming) return {};
  auto errand = start_sockets(
      place,
      {.domain = v4_only_ ? AF_INET : AF_INET6, .type = s.type | SOCK_NONBLOCK, .count = at_once});
  if (!errand) return fail(errand);
  s.coming = std::move(*errand);
  return {};
}

/// What it waits for changes, and may be a descriptor that it has closed by then: a copy.
void RelayCore::watch_errand(std::size_t kind) {
  Stock& s = stocks_[kind];
  if (s.watched.valid()) unlisten(s.watched.get());
  s.watched.reset();
  if (!s.coming) return;
  const auto [fd, events] = s.coming->interest();
  s.watched = Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
  if (s.watched.valid())
    (void)listen(s.watched.get(), static_cast<std::uint32_t>(events), tagged(tag_stock, kind));
}

Fd RelayCore::take(std::size_t kind) {
  Stock& s = stocks_[kind];
  if (s.ready.empty()) return {};
  Fd fd = std::move(s.ready.back());
  s.ready.pop_back();
  return fd;
}

/// Nobody is accepted who could not be connected.
void RelayCore::set_listening() {
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    Listener& l = listeners_[i];
    const bool is_tcp = l.port.protocol == PublishedPort::tcp;
    const bool wanted =
        !exhausted_ &&
        (!is_tcp || (clients() < options.most_clients && stocks_[tcp].ready.size() > 1));
    if (wanted == l.listens) continue;
    if (wanted && listen(l.fd.get(), EPOLLIN, tagged(tag_listener, i)) != 0) continue;
    if (!wanted) unlisten(l.fd.get());
    l.listens = wanted;
  }
}

// ---- TCP ----------------------------------------------------------------------------------------

void RelayCore::accept_at(std::size_t index) {
  const Listener& l = listeners_[index];
  for (int n = 0; n < 64 && clients() < options.most_clients && stocks_[tcp].ready.size() > 1;
       ++n) {
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    Fd client(::accept4(l.fd.get(), reinterpret_cast<sockaddr*>(&from), &size,
                        SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!client.valid()) {
      exhausted_ = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
      if (errno == ECONNABORTED || errno == EINTR) continue;
      return;
    }
    add_connection(std::move(client), from, l);
  }
}

void RelayCore::add_connection(Fd client, const sockaddr_storage& from, const Listener& at) {
  auto c = std::make_unique<Connection>();
  c->port = at.port.port;
  c->v6_first = is_v6(from) && !v4_only_;
  c->sides[0].fd = std::move(client);
  const int yes = 1;
  (void)::setsockopt(c->sides[0].fd.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  for (Direction& d : c->directions) d.bytes = std::make_unique<char[]>(Direction::room);
  if (!connect(*c)) return abort(*c);
  const std::uint64_t id = ++last_id_;
  wait_on(*c, id);
  connections_.emplace(id, std::move(c));
}

/// To the loopback of one kind, then of the other.
bool RelayCore::connect(Connection& c) {
  for (;;) {
    Fd fd = take(tcp);
    if (!fd.valid()) return false;
    const bool v6 = c.v6_first != c.second_try;
    SocketAddress to = socket_address(loopback(v6), c.port);
    if (!v6 && !v4_only_) to = mapped(to);
    if (c.sides[1].waits_for != 0) unlisten(c.sides[1].fd.get());
    c.sides[1] = {std::move(fd), 0};
    const int yes = 1;
    (void)::setsockopt(c.sides[1].fd.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (::connect(c.sides[1].fd.get(), to.get(), to.size) == 0 || errno == EINPROGRESS) return true;
    if (v4_only_ || std::exchange(c.second_try, true)) return false;
  }
}

/// Moves what can be moved from one side to the other. False: an end is broken.
bool RelayCore::pump(Connection& c, std::size_t from) {
  Direction& d = c.directions[from];
  const Fd& in = c.sides[from].fd;
  const Fd& out = c.sides[1 - from].fd;
  for (int rounds = 0; rounds < 8; ++rounds) {
    if (!d.at_end && d.end < Direction::room) {
      const ssize_t n = ::recv(in.get(), d.bytes.get() + d.end, Direction::room - d.end, 0);
      if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
      if (n == 0) d.at_end = true;
      if (n > 0) d.end += static_cast<std::size_t>(n);
    }
    if (d.empty()) break;
    const ssize_t n = ::send(out.get(), d.bytes.get() + d.begin, d.end - d.begin, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (n <= 0) break;
    d.begin += static_cast<std::size_t>(n);
    if (d.empty()) d.begin = d.end = 0;
  }
  if (d.at_end && d.empty() && !std::exchange(d.told, true)) (void)::shutdown(out.get(), SHUT_WR);
  return true;
}

void RelayCore::wait_on(Connection& c, std::uint64_t id) {
  for (std::size_t i = 0; i < 2; ++i) {
    Side& s = c.sides[i];
    const Direction& out_of = c.directions[i];
    const Direction& into = c.directions[1 - i];
    std::uint32_t wanted = 0;
    if (c.connecting) {
      // Of the client only that it is gone: what it says is not taken yet.
      wanted = i == 1 ? std::uint32_t{EPOLLOUT} : 0U;
    } else {
      if (!out_of.at_end && out_of.end < Direction::room) wanted |= EPOLLIN;
      if (!into.empty()) wanted |= EPOLLOUT;
    }
    if (wanted == s.waits_for) continue;
    epoll_event event{};
    event.events = wanted;
    event.data.u64 = tagged(tag_side, id * 2 + i);
    // One that nothing is wanted of would say again and again that it is at its end.
    const int how = wanted == 0 ? EPOLL_CTL_DEL : s.waits_for == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    (void)::epoll_ctl(epoll.get(), how, s.fd.get(), &event);
    s.waits_for = wanted;
  }
}

void RelayCore::abort(Connection& c) {
  for (Side& s : c.sides) {
    if (s.fd.valid()) reset_when_closed(s.fd);
    s.fd.reset();
  }
}

void RelayCore::close(std::uint64_t id) { connections_.erase(id); }

void RelayCore::on_side(std::uint64_t number, std::uint32_t events) {
  const std::uint64_t id = number / 2;
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;  // closed by what came before
  Connection& c = *found->second;
  if (c.connecting) {
    if (number % 2 == 0) return;
    int error = 0;
    socklen_t size = sizeof error;
    (void)::getsockopt(c.sides[1].fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      const bool again = !v4_only_ && !std::exchange(c.second_try, true) && connect(c);
      if (again) return wait_on(c, id);
      abort(c);
      return close(id);
    }
    c.connecting = false;
    events = 0;
  }
  bool good = (events & EPOLLERR) == 0;
  for (std::size_t from = 0; from < 2 && good; ++from) good = pump(c, from);
  if (!good) {
    abort(c);
    return close(id);
  }
  if (c.directions[0].told && c.directions[1].told) return close(id);
  wait_on(c, id);
}

// ---- UDP ----------------------------------------------------------------------------------------

bool RelayCore::connect(UdpClient& c) const {
  const bool v6 = c.v6_first != c.second_try;
  SocketAddress to = socket_address(loopback(v6), listeners_[c.listener].port.port);
  if (!v6 && !v4_only_) to = mapped(to);
  return ::connect(c.fd.get(), to.get(), to.size) == 0;
}

UdpClient* RelayCore::client_of(std::size_t index, const UdpPeer& peer) {
  Listener& l = listeners_[index];
  std::string key(reinterpret_cast<const char*>(&peer.from), peer.size);
  if (const auto known = l.clients.find(key); known != l.clients.end())
    return udp_.at(known->second).get();
  if (clients() >= options.most_clients) return nullptr;
  auto c = std::make_unique<UdpClient>();
  c->listener = index;
  c->key = key;
  c->peer = peer;
  c->v6_first = is_v6(peer.from) && !v4_only_;
  c->fd = take(udp);
  const std::uint64_t id = ++last_id_;
  if (!c->fd.valid() || !connect(*c) || listen(c->fd.get(), EPOLLIN, tagged(tag_udp, id)) != 0)
    return nullptr;
  l.clients.emplace(std::move(key), id);
  return udp_.emplace(id, std::move(c)).first->second.get();
}

void RelayCore::receive_at(std::size_t index) {
  for (int n = 0; n < 64; ++n) {
    std::array<char, 65536> bytes;
    UdpPeer peer;
    iovec part{bytes.data(), bytes.size()};
    msghdr m{};
    m.msg_name = &peer.from;
    m.msg_namelen = sizeof peer.from;
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_control = peer.info.data();
    m.msg_controllen = peer.info.size();
    const ssize_t size = ::recvmsg(listeners_[index].fd.get(), &m, 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size < 0) continue;
    peer.size = m.msg_namelen;
    peer.info_size = m.msg_controllen;
    UdpClient* const c = client_of(index, peer);
    if (c == nullptr) continue;
    c->used = Clock::now();
    // The answer to the last one may have been that nobody is there: once, and then it is sent.
    for (int tries = 0; tries < 2; ++tries)
      if (::send(c->fd.get(), bytes.data(), static_cast<std::size_t>(size), MSG_NOSIGNAL) >= 0 ||
          errno != ECONNREFUSED)
        break;
  }
}

void RelayCore::on_udp(std::uint64_t id) {
  const auto found = udp_.find(id);
  if (found == udp_.end()) return;
  UdpClient& c = *found->second;
  for (int n = 0; n < 64; ++n) {
    std::array<char, 65536> bytes;
    const ssize_t size = ::recv(c.fd.get(), bytes.data(), bytes.size(), 0);
    if (size < 0) {
      // Nobody is there: what it says next goes to the loopback of the other kind.
      if (errno == ECONNREFUSED && !v4_only_) {
        c.second_try = !c.second_try;
        (void)connect(c);
      }
      return;
    }
    c.used = Clock::now();
    iovec part{bytes.data(), static_cast<std::size_t>(size)};
    msghdr m{};
    m.msg_name = &c.peer.from;
    m.msg_namelen = c.peer.size;
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_control = c.peer.info_size != 0 ? c.peer.info.data() : nullptr;
    m.msg_controllen = c.peer.info_size;
    (void)::sendmsg(listeners_[c.listener].fd.get(), &m, MSG_NOSIGNAL);
  }
}

void RelayCore::forget_idle() {
  const auto before = Clock::now() - options.udp_idle;
  for (auto it = udp_.begin(); it != udp_.end();) {
    if (it->second->used > before) {
      ++it;
      continue;
    }
    listeners_[it->second->listener].clients.erase(it->second->key);
    it = udp_.erase(it);
  }
}

// ---- all of it ----------------------------------------------------------------------------------

void RelayCore::set_timer() {
  std::optional<Clock::duration> in;
  const auto sooner = [&](Clock::duration d) {
    in = std::max<Clock::duration>(std::min(in.value_or(d), d), std::chrono::milliseconds(1));
  };
  if (exhausted_) sooner(std::chrono::milliseconds(100));
  const auto now = Clock::now();
  for (const auto& [id, c] : udp_) sooner(c->used + options.udp_idle - now);
  for (const Stock& s : stocks_)
    if (s.coming)
      if (const int ms = s.coming->timeout(); ms >= 0) sooner(std::chrono::milliseconds(ms));
  itimerspec at{};
  if (in) {
    const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(*in).count();
    at.it_value = {static_cast<time_t>(ns / 1000000000), static_cast<long>(ns % 1000000000)};
  }
  (void)::timerfd_settime(timer_.get(), 0, &at, nullptr);
}

void RelayCore::finish() {
  ended_ = true;
  for (auto& [id, c] : connections_) abort(*c);
  connections_.clear();
  udp_.clear();
  listeners_.clear();
  stocks_ = {};
  unlisten(place.pidfd.get());
  timer_.reset();
}

Result<bool> RelayCore::step() {
  if (owner != ::getpid())
    return fail(Errc::in_forked_child, Step::relay_port, formatted("container '{}'", place.name),
                "it belongs to the process that made it");
  if (ended_) return false;
  std::array<epoll_event, 64> events{};
  const int n = ::epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()), 0);
  bool end = false;
  for (int i = 0; i < n; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    const std::uint64_t number = event.data.u64 & ((std::uint64_t{1} << tag_shift) - 1);
    std::uint64_t count = 0;
    switch (static_cast<Tag>(event.data.u64 >> tag_shift)) {
      case tag_end:
        end = true;
        break;
      case tag_timer:
        (void)!::read(timer_.get(), &count, sizeof count);
        exhausted_ = false;
        forget_idle();
        break;
      case tag_stock:
        break;
      case tag_listener:
        if (listeners_[number].port.protocol == PublishedPort::tcp)
          accept_at(number);
        else
          receive_at(number);
        break;
      case tag_side:
        on_side(number, event.events);
        break;
      case tag_udp:
        on_udp(number);
        break;
    }
  }
  if (end) {
    finish();
    return false;
  }
  Result<void> wrong;
  for (const std::size_t kind : {tcp, udp}) {
    Stock& s = stocks_[kind];
    if (s.wanted && s.ready.size() < few && !s.coming) {
      if (auto ok = refill(kind); !ok) wrong = std::move(ok);
    }
    if (!s.coming) continue;
    auto done = s.coming->step();
    if (!done) wrong = fail(done);
    if (done && *done)
      for (Fd& fd : **done) s.ready.push_back(std::move(fd));
    if (!done || *done) s.coming.reset();
    watch_errand(kind);
  }
  set_listening();
  set_timer();
  if (!wrong) return fail(wrong);
  return true;
}

}  // namespace condroid::inline v0::detail

namespace condroid {
inline namespace v0 {

PortRelay::PortRelay(std::unique_ptr<detail::RelayCore> core) : core_(std::move(core)) {}
PortRelay::PortRelay(PortRelay&&) noexcept = default;
PortRelay& PortRelay::operator=(PortRelay&&) noexcept = default;
PortRelay::~PortRelay() = default;
FdView PortRelay::poll_fd() const noexcept { return core_ ? FdView(core_->epoll) : FdView{}; }
Result<bool> PortRelay::step() {
  if (!core_) return false;
  return core_->step();
}
std::size_t PortRelay::clients() const noexcept { return core_ ? core_->clients() : 0; }

Result<PortRelay> Container::relay(const std::vector<PublishedPort>& ports) const {
  return relay(ports, {});
}
Result<PortRelay> Container::relay(const std::vector<PublishedPort>& ports,
                                   const RelayOptions& options) const {
  if (auto ok = detail::check_alive(core_.get()); !ok) return fail(ok);
  auto place = detail::Place::of(*core_);
  if (!place) return fail(place);
  auto core = std::make_unique<detail::RelayCore>(std::move(*place), options);
  if (auto ok = core->begin(ports); !ok) return fail(ok);
  return PortRelay(std::move(core));
}

}  // namespace v0
}  // namespace condroid
