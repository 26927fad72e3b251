// A relay for published ports: sockets here and there, two buffers for each connection.
#include "condroid/relay.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <list>
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
using std::chrono::milliseconds;

/// After a failure that may pass.
constexpr milliseconds retry_after{100};
/// For a connection inside.
constexpr std::chrono::seconds patience{10};
/// How often it is asked whether a client has all. Nothing wakes us for that.
constexpr milliseconds ask_every{50};
constexpr std::chrono::hours longest{24};

/// Sockets of one kind in the container's namespace, opened ahead: several at once cost what one
/// does.
struct Stock {
  int type = SOCK_STREAM;
  std::vector<Fd> ready = {};
  std::optional<Errand> coming = {};
  bool sent = false;  ///< What is coming did, and has only to end.
  Fd watched = {};    ///< What is waited for of it, among the others.
  bool wanted = false;
  Clock::time_point not_before{};
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
  int waits_for = -1;    ///< As epoll has it; -1: it does not.
  bool hung_up = false;  ///< It would say so again and again.
  bool broken = false;   ///< The container's: it takes nothing more, but may have left something.
};

struct Connection {
  std::uint16_t port = 0;
  bool v6_first = false;
  bool connecting = true;
  bool second_try = false;
  bool holds_spare = false;             ///< A socket of the stock is left for the second try.
  bool parting = false;                 ///< Only what the client has not yet is waited for.
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
  bool answered = false;  ///< By who is asked now.
  Clock::time_point used;
  std::list<std::uint64_t>::iterator place;  ///< Among the others, by `used`.
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

/// Its peer learns that it was not heard to the end; also when a forked child has a copy, which
/// close(2) would leave connected.
void reset(const Fd& fd) {
  const linger now{1, 0};
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  const sockaddr none{.sa_family = AF_UNSPEC, .sa_data = {}};
  (void)::connect(fd.get(), &none, sizeof none);
}

/// It is noticed within two minutes when the peer's machine is gone.
void set_up(const Fd& fd) {
  const auto set = [&](int level, int name, int value) {
    (void)::setsockopt(fd.get(), level, name, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(IPPROTO_TCP, TCP_KEEPCNT, 6);
}

/// Whether the peer's kernel has all that was sent, the end included.
bool has_all(const Fd& fd) {
  int left = 0;
  return ::ioctl(fd.get(), TIOCOUTQ, &left) != 0 || left == 0;
}

}  // namespace

class RelayCore {
 public:
  RelayCore(Place where, RelayOptions how) : place(std::move(where)), options(how) {}
  ~RelayCore() {
    if (owner != ::getpid()) return;
    for (auto& [id, c] : connections_) abort(*c);
    close_ports();
  }
  RelayCore(const RelayCore&) = delete;
  RelayCore& operator=(const RelayCore&) = delete;

  [[nodiscard]] Result<void> begin(const std::vector<PublishedPort>& ports);
  [[nodiscard]] Result<bool> step();
  [[nodiscard]] std::size_t clients() const { return connections_.size() + udp_.size(); }

  std::optional<Error> trouble;
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
  /// Before each close(2): a copy that a forked child has would stay in the set.
  void unlisten(int fd) const { (void)::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, fd, nullptr); }
  void drop(Side& s) const;
  [[nodiscard]] Fd take(std::size_t kind);
  [[nodiscard]] Result<void> refill(std::size_t kind);
  void restock(std::size_t kind);
  void watch_errand(std::size_t kind);
  [[nodiscard]] bool may_accept() const;
  /// 0, or the errno of what is tried again later.
  int set_listening();
  void accept_at(std::size_t index);
  void add_connection(Fd client, const sockaddr_storage& from, const Listener& at);
  bool connect(Connection& c);
  void release_spare(Connection& c);
  void on_side(std::uint64_t number, std::uint32_t events);
  static bool pump(Connection& c, std::size_t from);
  void carry(Connection& c, std::uint64_t id);
  [[nodiscard]] bool wait_on(Connection& c, std::uint64_t id) const;
  void abort(Connection& c);
  void close(std::uint64_t id);
  void receive_at(std::size_t index);
  UdpClient* client_of(std::size_t index, const UdpPeer& peer);
  bool connect(UdpClient& c) const;
  bool connect_to_other(UdpClient& c) const;
  void send_in(UdpClient& c, const char* bytes, std::size_t size) const;
  void touch(UdpClient& c);
  void on_udp(std::uint64_t id);
  void forget(std::uint64_t id);
  void do_what_is_due();
  void set_timer();
  void close_ports();
  void begin_end();
  void finish();

  Fd timer_;
  std::vector<Listener> listeners_;
  std::array<Stock, 2> stocks_{Stock{.type = SOCK_STREAM}, Stock{.type = SOCK_DGRAM}};
  std::uint64_t last_id_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::unordered_map<std::uint64_t, std::unique_ptr<UdpClient>> udp_;
  std::list<std::uint64_t> by_use_;  ///< Of udp_: whose last use is longest ago comes first.
  std::size_t spares_ = 0;           ///< Of the stock of TCP, for second tries.
  std::deque<std::pair<Clock::time_point, std::uint64_t>> connecting_;  ///< Until when.
  std::vector<std::uint64_t> parting_;
  Clock::time_point ask_at_{};
  Clock::time_point paused_until_{};         ///< No descriptor could be had.
  Clock::time_point armed_{};                ///< When the timer wakes us.
  std::optional<Clock::time_point> end_at_;  ///< The container has ended: the last moment.
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
  if (options.most_clients == 0 || options.most_clients > 65536 || options.udp_idle.count() <= 0 ||
      options.udp_idle > longest || options.drain.count() < 0 || options.drain > longest)
    return fail(
        Errc::bad_spec, Step::relay_port, subject + ": clients or their time",
        "most_clients is 1 to 65536, udp_idle more than 0, udp_idle and drain a day at most");
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
    if (e != 0) return no_port(p, e);
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
  if (e = set_listening(); e != 0) return fail(e, Step::relay_port, subject);
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

/// A step of that, and what came of it. What fails is tried again later.
void RelayCore::restock(std::size_t kind) {
  Stock& s = stocks_[kind];
  const auto failed = [&](Error why) {
    trouble = std::move(why);
    s.coming.reset();
    s.not_before = Clock::now() + retry_after;
  };
  const std::size_t least = few + (kind == tcp ? spares_ : 0);
  if (!s.coming && s.wanted && !end_at_ && s.ready.size() < least && Clock::now() >= s.not_before)
    if (auto ok = refill(kind); !ok) failed(std::move(ok.error()));
  if (s.coming && !s.sent) {
    auto done = s.coming->step();
    if (!done) {
      failed(std::move(done.error()));
    } else if (*done) {
      s.sent = true;
      trouble.reset();
      if ((*done)->empty()) {  // this program may have no more descriptors
        trouble = sys_error(EMFILE, Step::open_sockets, formatted("container '{}'", place.name));
        s.not_before = Clock::now() + retry_after;
      }
      for (Fd& fd : **done) s.ready.push_back(std::move(fd));
    }
  }
  // Its destructor would wait for the end.
  if (s.coming && s.sent && s.coming->ended()) s.coming.reset();
  if (!s.coming) s.sent = false;
  watch_errand(kind);
}

/// What it waits for changes, and may be a descriptor that it has closed by then: a copy.
void RelayCore::watch_errand(std::size_t kind) {
  Stock& s = stocks_[kind];
  if (s.watched.valid()) unlisten(s.watched.get());
  s.watched.reset();
  if (!s.coming) return;
  const auto [fd, events] = s.coming->interest();
  s.watched = Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
  if (s.watched.valid() &&
      listen(s.watched.get(), static_cast<std::uint32_t>(events), tagged(tag_stock, kind)) != 0)
    s.watched.reset();  // the timer looks after it
}

Fd RelayCore::take(std::size_t kind) {
  Stock& s = stocks_[kind];
  if (s.ready.empty()) return {};
  Fd fd = std::move(s.ready.back());
  s.ready.pop_back();
  return fd;
}

/// Nobody is accepted who could not be connected, by the second try if need be.
bool RelayCore::may_accept() const {
  return connections_.size() < options.most_clients &&
         stocks_[tcp].ready.size() >= spares_ + (v4_only_ ? 1 : 2);
}

int RelayCore::set_listening() {
  int error = 0;
  const bool paused = Clock::now() < paused_until_;
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    Listener& l = listeners_[i];
    const bool is_tcp = l.port.protocol == PublishedPort::tcp;
    // A client who is not taken would lose what it sent.
    const bool wanted = !paused && (is_tcp ? may_accept() : !stocks_[udp].ready.empty());
    if (wanted == l.listens) continue;
    if (const int e = wanted ? listen(l.fd.get(), EPOLLIN, tagged(tag_listener, i)) : 0; e != 0) {
      error = e;
      paused_until_ = Clock::now() + retry_after;
      continue;
    }
    if (!wanted) unlisten(l.fd.get());
    l.listens = wanted;
  }
  return error;
}

// ---- TCP ----------------------------------------------------------------------------------------

void RelayCore::accept_at(std::size_t index) {
  const Listener& l = listeners_[index];
  for (int n = 0; n < 64 && may_accept(); ++n) {
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    Fd client(::accept4(l.fd.get(), reinterpret_cast<sockaddr*>(&from), &size,
                        SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!client.valid()) {
      if (errno == ECONNABORTED || errno == EINTR) continue;
      if (errno != EAGAIN) paused_until_ = Clock::now() + retry_after;
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
  set_up(c->sides[0].fd);
  for (Direction& d : c->directions) d.bytes = std::make_unique<char[]>(Direction::room);
  c->holds_spare = !v4_only_;
  spares_ += c->holds_spare ? 1 : 0;
  const std::uint64_t id = ++last_id_;
  if (!connect(*c) || !wait_on(*c, id)) return abort(*c);
  connecting_.emplace_back(Clock::now() + patience, id);
  connections_.emplace(id, std::move(c));
}

void RelayCore::release_spare(Connection& c) {
  if (std::exchange(c.holds_spare, false)) --spares_;
}

void RelayCore::drop(Side& s) const {
  if (s.waits_for >= 0) unlisten(s.fd.get());
  s = {};
}

/// To the loopback of one kind, then of the other.
bool RelayCore::connect(Connection& c) {
  for (;;) {
    Fd fd = take(tcp);
    if (!fd.valid()) return false;
    const bool v6 = c.v6_first != c.second_try;
    SocketAddress to = socket_address(loopback(v6), c.port);
    if (!v6 && !v4_only_) to = mapped(to);
    drop(c.sides[1]);
    c.sides[1].fd = std::move(fd);
    set_up(c.sides[1].fd);
    if (::connect(c.sides[1].fd.get(), to.get(), to.size) == 0 || errno == EINPROGRESS) return true;
    if (v4_only_ || std::exchange(c.second_try, true)) return false;
    release_spare(c);
  }
}

/// Moves what can be moved from one side to the other. False: nothing more can be.
bool RelayCore::pump(Connection& c, std::size_t from) {
  Direction& d = c.directions[from];
  Side& in = c.sides[from];
  Side& out = c.sides[1 - from];
  if (out.broken) return true;
  const auto bad = [](ssize_t n) { return n < 0 && errno != EAGAIN && errno != EINTR; };
  for (int rounds = 0; rounds < 8; ++rounds) {
    if (!d.at_end && d.end < Direction::room) {
      const ssize_t n = ::recv(in.fd.get(), d.bytes.get() + d.end, Direction::room - d.end, 0);
      if (bad(n)) {
        if (from == 0) return false;
        in.broken = true;
      }
      if (n == 0 || bad(n)) d.at_end = true;
      if (n > 0) d.end += static_cast<std::size_t>(n);
    }
    if (d.empty()) break;
    const ssize_t n = ::send(out.fd.get(), d.bytes.get() + d.begin, d.end - d.begin, MSG_NOSIGNAL);
    if (bad(n)) {
      if (from == 1) return false;
      // What it said before that is still to be read.
      out.broken = true;
      return true;
    }
    if (n <= 0) break;
    d.begin += static_cast<std::size_t>(n);
    if (d.empty()) d.begin = d.end = 0;
  }
  if (d.at_end && d.empty() && !in.broken && !std::exchange(d.told, true))
    (void)::shutdown(out.fd.get(), SHUT_WR);
  return true;
}

bool RelayCore::wait_on(Connection& c, std::uint64_t id) const {
  for (std::size_t i = 0; i < 2; ++i) {
    Side& s = c.sides[i];
    const Direction& out_of = c.directions[i];
    const Direction& into = c.directions[1 - i];
    const Side& other = c.sides[1 - i];
    // That it is gone is said without being asked for.
    std::uint32_t wanted = 0;
    if (c.connecting) {
      if (i == 1) wanted = EPOLLOUT;
    } else if (!s.broken) {
      if (!other.broken && !out_of.at_end && out_of.end < Direction::room) wanted |= EPOLLIN;
      // What a broken one left is fetched whenever there is room.
      if (!into.empty() || (other.broken && !into.at_end)) wanted |= EPOLLOUT;
    }
    const int now = s.broken || (wanted == 0 && s.hung_up) ? -1 : static_cast<int>(wanted);
    if (now == s.waits_for) continue;
    epoll_event event{};
    event.events = wanted;
    event.data.u64 = tagged(tag_side, id * 2 + i);
    const int how = now < 0 ? EPOLL_CTL_DEL : s.waits_for < 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (::epoll_ctl(epoll.get(), how, s.fd.get(), &event) != 0 && now >= 0) return false;
    s.waits_for = now;
  }
  return true;
}

void RelayCore::abort(Connection& c) {
  release_spare(c);
  for (Side& s : c.sides) {
    if (s.fd.valid()) reset(s.fd);
    drop(s);
  }
}

void RelayCore::close(std::uint64_t id) {
  Connection& c = *connections_.at(id);
  release_spare(c);
  for (Side& s : c.sides) drop(s);
  connections_.erase(id);
}

void RelayCore::on_side(std::uint64_t number, std::uint32_t events) {
  const std::uint64_t id = number / 2;
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;  // closed by what came before
  Connection& c = *found->second;
  Side& side = c.sides[number % 2];
  if (number % 2 == 0 && (events & EPOLLERR) != 0) {
    abort(c);
    return close(id);
  }
  if (c.connecting && number % 2 == 1) {
    int error = 0;
    socklen_t size = sizeof error;
    (void)::getsockopt(side.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      release_spare(c);
      const bool again = !v4_only_ && !std::exchange(c.second_try, true) && connect(c);
      if (again && wait_on(c, id)) return;
      abort(c);
      return close(id);
    }
    c.connecting = false;
    release_spare(c);
    return carry(c, id);
  }
  if ((events & EPOLLHUP) != 0) side.hung_up = true;
  if (number % 2 == 1 && (events & EPOLLERR) != 0) side.broken = true;
  carry(c, id);
}

/// Both directions, and the end of it.
void RelayCore::carry(Connection& c, std::uint64_t id) {
  bool good = true;
  if (!c.connecting)
    for (std::size_t from = 0; from < 2 && good; ++from) good = pump(c, from);
  const Direction& answer = c.directions[1];
  const bool cut = c.sides[1].broken && answer.at_end && answer.empty();
  // Nobody is there any more who would hear the client.
  const bool heard = end_at_.has_value() && answer.told;
  c.parting = good && (cut || heard);
  if (c.parting && !has_all(c.sides[0].fd)) {
    if (std::find(parting_.begin(), parting_.end(), id) == parting_.end()) parting_.push_back(id);
  } else if (!good || (cut && !answer.told)) {
    abort(c);
    return close(id);
  } else if (cut || heard || (answer.told && c.directions[0].told)) {
    return close(id);
  }
  if (!wait_on(c, id)) {
    abort(c);
    close(id);
  }
}

// ---- UDP ----------------------------------------------------------------------------------------

bool RelayCore::connect(UdpClient& c) const {
  // The source address of the other loopback would stay.
  const sockaddr none{.sa_family = AF_UNSPEC, .sa_data = {}};
  (void)::connect(c.fd.get(), &none, sizeof none);
  const bool v6 = c.v6_first != c.second_try;
  SocketAddress to = socket_address(loopback(v6), listeners_[c.listener].port.port);
  if (!v6 && !v4_only_) to = mapped(to);
  return ::connect(c.fd.get(), to.get(), to.size) == 0;
}

bool RelayCore::connect_to_other(UdpClient& c) const {
  if (v4_only_) return false;
  c.answered = false;
  c.second_try = !c.second_try;
  if (connect(c)) return true;
  c.second_try = !c.second_try;
  (void)connect(c);
  return false;
}

void RelayCore::touch(UdpClient& c) {
  c.used = Clock::now();
  by_use_.splice(by_use_.end(), by_use_, c.place);
}

UdpClient* RelayCore::client_of(std::size_t index, const UdpPeer& peer) {
  Listener& l = listeners_[index];
  std::string key(reinterpret_cast<const char*>(&peer.from), peer.size);
  if (const auto known = l.clients.find(key); known != l.clients.end())
    return udp_.at(known->second).get();
  if (udp_.size() >= options.most_clients) return nullptr;
  auto c = std::make_unique<UdpClient>();
  c->listener = index;
  c->key = key;
  c->peer = peer;
  c->v6_first = is_v6(peer.from) && !v4_only_;
  c->fd = take(udp);
  if (!c->fd.valid()) return nullptr;
  const std::uint64_t id = ++last_id_;
  if ((!connect(*c) && !connect_to_other(*c)) ||
      listen(c->fd.get(), EPOLLIN, tagged(tag_udp, id)) != 0) {
    stocks_[udp].ready.push_back(std::move(c->fd));
    return nullptr;
  }
  l.clients.emplace(std::move(key), id);
  c->place = by_use_.insert(by_use_.end(), id);
  return udp_.emplace(id, std::move(c)).first->second.get();
}

/// Where nobody is who takes it, to the other loopback; and once more where the refusal may have
/// been that of an earlier one.
void RelayCore::send_in(UdpClient& c, const char* bytes, std::size_t size) const {
  for (int tries = 0; tries < 3; ++tries) {
    int error = ::send(c.fd.get(), bytes, size, MSG_NOSIGNAL) < 0 ? errno : 0;
    if (error == 0 && !c.answered) {
      // On a loopback the refusal is there already.
      socklen_t length = sizeof error;
      (void)::getsockopt(c.fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    }
    if (error != ECONNREFUSED) return;
    (void)connect_to_other(c);
  }
}

void RelayCore::receive_at(std::size_t index) {
  for (int n = 0; n < 64 && !stocks_[udp].ready.empty(); ++n) {
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
    touch(*c);
    send_in(*c, bytes.data(), static_cast<std::size_t>(size));
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
      if (errno == ECONNREFUSED) (void)connect_to_other(c);
      return;
    }
    touch(c);
    c.answered = true;
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

void RelayCore::forget(std::uint64_t id) {
  const auto found = udp_.find(id);
  UdpClient& c = *found->second;
  unlisten(c.fd.get());
  listeners_[c.listener].clients.erase(c.key);
  by_use_.erase(c.place);
  udp_.erase(found);
}

// ---- all of it ----------------------------------------------------------------------------------

void RelayCore::do_what_is_due() {
  const auto now = Clock::now();
  while (!by_use_.empty() && udp_.at(by_use_.front())->used + options.udp_idle <= now)
    forget(by_use_.front());
  while (!connecting_.empty()) {
    const auto [until, id] = connecting_.front();
    const auto found = connections_.find(id);
    const bool waits = found != connections_.end() && found->second->connecting;
    if (waits && until > now) break;
    if (waits) {
      abort(*found->second);
      close(id);
    }
    connecting_.pop_front();
  }
  if (parting_.empty() || now < ask_at_) return;
  ask_at_ = now + ask_every;
  for (const std::uint64_t id : std::exchange(parting_, {}))
    if (const auto found = connections_.find(id);
        found != connections_.end() && found->second->parting)
      carry(*found->second, id);
}

void RelayCore::set_timer() {
  constexpr auto never = Clock::time_point::max();
  const auto now = Clock::now();
  auto at = end_at_.value_or(never);
  const auto sooner = [&at](Clock::time_point t) { at = std::min(at, t); };
  if (paused_until_ > now) sooner(paused_until_);
  if (!by_use_.empty()) sooner(udp_.at(by_use_.front())->used + options.udp_idle);
  if (!connecting_.empty()) sooner(connecting_.front().first);
  if (!parting_.empty()) sooner(ask_at_);
  for (const Stock& s : stocks_) {
    if (s.not_before > now) sooner(s.not_before);
    if (!s.coming) continue;
    if (const int ms = s.coming->timeout(); ms >= 0) sooner(now + milliseconds(ms));
    if (!s.watched.valid()) sooner(now + retry_after);
  }
  at = std::max(at, now + milliseconds(1));
  // Too early does no harm.
  if (at == never || (armed_ > now && armed_ <= at)) return;
  armed_ = at;
  itimerspec in{};
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(at - now).count();
  in.it_value = {static_cast<time_t>(ns / 1000000000), static_cast<long>(ns % 1000000000)};
  (void)::timerfd_settime(timer_.get(), 0, &in, nullptr);
}

void RelayCore::close_ports() {
  for (const Listener& l : listeners_) {
    if (l.listens) unlisten(l.fd.get());
    if (l.port.protocol == PublishedPort::tcp) (void)::shutdown(l.fd.get(), SHUT_RDWR);
  }
  listeners_.clear();
}

/// Nobody new, and what the container said before its end is still carried.
void RelayCore::begin_end() {
  end_at_ = Clock::now() + options.drain;
  unlisten(place.pidfd.get());
  while (!by_use_.empty()) {
    const std::uint64_t id = by_use_.front();
    on_udp(id);
    forget(id);
  }
  close_ports();
  std::vector<std::uint64_t> ids;
  for (const auto& [id, c] : connections_) ids.push_back(id);
  for (const std::uint64_t id : ids) carry(*connections_.at(id), id);
}

/// Of sockets on their way the process may still be there: they stay until this is destroyed.
void RelayCore::finish() {
  ended_ = true;
  for (auto& [id, c] : connections_) abort(*c);
  connections_.clear();
  for (Stock& s : stocks_) {
    s.ready.clear();
    if (s.watched.valid()) unlisten(s.watched.get());
    s.watched.reset();
  }
  unlisten(timer_.get());
  timer_.reset();
}

Result<bool> RelayCore::step() {
  if (owner != ::getpid())
    return fail(Errc::in_forked_child, Step::relay_port, formatted("container '{}'", place.name),
                "it belongs to the process that made it");
  if (ended_) return false;
  do_what_is_due();
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
        armed_ = {};
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
  if (end) begin_end();
  for (const std::size_t kind : {tcp, udp}) restock(kind);
  if (end_at_) {
    const bool coming = stocks_[tcp].coming || stocks_[udp].coming;
    if ((connections_.empty() && !coming) || Clock::now() >= *end_at_) {
      finish();
      return false;
    }
  }
  (void)set_listening();
  set_timer();
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
std::optional<Error> PortRelay::trouble() const {
  return core_ ? core_->trouble : std::optional<Error>{};
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
