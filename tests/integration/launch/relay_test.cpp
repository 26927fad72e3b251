// What needs no rights on the host: pasta, and ports that this program relays. With real clients
// and servers, in network namespaces that the tests make themselves.
#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "condroid/relay.hpp"
#include "containers.hpp"
#include "launch/pasta.hpp"
#include "launch/ports.hpp"
#include "program/interface_requests.hpp"
#include "sys/netlink.hpp"
#include "sys/wire.hpp"

namespace {

using namespace condroid;
using namespace condroid::literals;
using namespace condroid::test;
using namespace std::chrono_literals;
using detail::SocketAddress;

/// A network namespace of the calling thread's, with a loopback.
void enter_network() {
  must(::unshare(CLONE_NEWNET) == 0, "unshare");
  const Fd s(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq up{};
  std::strcpy(up.ifr_name, "lo");
  up.ifr_flags = IFF_UP;
  must(::ioctl(s.get(), SIOCSIFFLAGS, &up) == 0, "lo");
}

class OwnNetwork {
 public:
  OwnNetwork() : before_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
    enter_network();
  }
  OwnNetwork(const OwnNetwork&) = delete;
  OwnNetwork& operator=(const OwnNetwork&) = delete;
  ~OwnNetwork() { must(::setns(before_.get(), CLONE_NEWNET) == 0, "setns"); }

 private:
  Fd before_;
};

Spec echoing(Spec spec, const std::string& at) {
  spec.process.argv = {"/bin/payload", "echo", at, "7"};
  spec.process.stdio.out = Stream::pipe;
  return spec;
}

/// A container in which everything is echoed.
struct Echo {
  Container box;
  Fd out;
  explicit Echo(const Runtime& by, const Spec& spec, const std::string& at = "::")
      : box(must(by.launch(echoing(spec, at)))), out(box.take_stdout()) {
    must(read_until(out, "ready=1\n").ends_with("ready=1\n"), "the container's service");
  }
};

/// A relay that goes on in a thread of its own until the container has ended, or this.
class Relaying {
 public:
  explicit Relaying(PortRelay relay)
      : relay_(std::move(relay)), thread_([this] {
          while (!stop_) {
            if (detail::wait_for_fd(relay_.poll_fd().get(), POLLIN, 20) > 0) ++wakes;
            const auto more = relay_.step();
            clients = relay_.clients();
            most = std::max(most.load(), clients.load());
            if (!more) error_ = to_string(more.error());
            if (!more || !*more) break;
          }
          ended = true;
        }) {}
  Relaying(const Relaying&) = delete;
  Relaying& operator=(const Relaying&) = delete;
  ~Relaying() { stop(); }
  std::string stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return error_;
  }
  std::atomic<std::size_t> clients{0};
  std::atomic<std::size_t> most{0};  ///< Of them.
  std::atomic<unsigned> wakes{0};
  std::atomic<bool> ended{false};

 private:
  PortRelay relay_;
  std::string error_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

template <class F>
bool soon(const F& f) {
  for (int i = 0; i < 500 * slow() && !f(); ++i) std::this_thread::sleep_for(10ms);
  return f();
}

Fd client(const IpAddress& to, std::uint16_t port, int type = SOCK_STREAM) {
  const SocketAddress at = detail::socket_address(to, port);
  Fd s(::socket(at.bytes.ss_family, type | SOCK_CLOEXEC, 0));
  const timeval most{5 * slow(), 0};
  must(s.valid() && ::setsockopt(s.get(), SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most) == 0 &&
           ::connect(s.get(), at.get(), at.size) == 0,
       "connect");
  return s;
}

std::string pattern(std::size_t size, unsigned seed) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i)
    text[i] = static_cast<char>((i * 7 + i / 251 + seed) & 0xffU);
  return text;
}

/// What comes back of it: all is sent by another thread, and that no more comes is said.
std::string echoed(const IpAddress& to, std::uint16_t port, const std::string& text) {
  const Fd s = client(to, port);
  std::thread sender([&] {
    for (std::size_t done = 0; done < text.size();) {
      const ssize_t n = ::send(s.get(), text.data() + done, text.size() - done, MSG_NOSIGNAL);
      if (n <= 0) break;
      done += static_cast<std::size_t>(n);
    }
    (void)::shutdown(s.get(), SHUT_WR);
  });
  std::string back;
  std::array<char, 65536> bytes{};
  ssize_t n = 0;
  while ((n = ::recv(s.get(), bytes.data(), bytes.size(), 0)) > 0)
    back.append(bytes.data(), static_cast<std::size_t>(n));
  sender.join();
  return back;
}

std::string datagram(const Fd& s, std::string_view text) {
  if (::send(s.get(), text.data(), text.size(), 0) < 0) return strerrorname_np(errno);
  std::array<char, 512> bytes{};
  const ssize_t n = ::recv(s.get(), bytes.data(), bytes.size(), 0);
  return n < 0 ? strerrorname_np(errno) : std::string(bytes.data(), static_cast<std::size_t>(n));
}

constexpr std::uint16_t outside = 8080;

/// Both protocols by both kinds of address; `port` is published.
void talk(const Container& box) {
  Relaying relay(
      must(box.relay({{.host_port = outside, .port = 7},
                      {.host_port = outside, .port = 7, .protocol = PublishedPort::udp}})));
  for (const IpAddress& to : {"127.0.0.1"_ip, "::1"_ip}) {
    const std::string text = pattern(300000, to.is_v6() ? 1 : 0);
    must(echoed(to, outside, text) == text, "300000 bytes both ways");
    const Fd a = client(to, outside, SOCK_DGRAM), b = client(to, outside, SOCK_DGRAM);
    must(datagram(a, "one") == "one" && datagram(b, "two") == "two" && datagram(a, "3") == "3",
         "datagrams both ways");
  }
  must(relay.stop().empty(), "the relay");
}

TEST_CASE("a relay carries connections and datagrams into a container", "[relay][.root]") {
  const TempRoot root;
  const OwnNetwork net;
  Spec spec = payload(root, {});
  SECTION("of root") {}
  SECTION("with a user namespace") {
    spec.idmap = {
        .kind = IdMap::ranges, .uids = {{0, 100000, 65536}}, .gids = {{0, 100000, 65536}}};
  }
  talk(Echo(runtime(), spec).box);
}

void put(const char* path, const std::string& text) {
  const Fd fd(::open(path, O_WRONLY | O_CLOEXEC));
  must(::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()), path);
}

TEST_CASE("a relay needs no rights", "[relay][.userns]") {
  const TempRoot root;
  CHECK(in_child([&] {
          const uid_t uid = ::geteuid();
          const gid_t gid = ::getegid();
          must(::unshare(CLONE_NEWUSER) == 0, "unshare");
          put("/proc/self/setgroups", "deny");
          put("/proc/self/uid_map", fmt::format("1000 {} 1", uid));
          put("/proc/self/gid_map", fmt::format("1000 {} 1", gid));
          enter_network();
          __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
          const std::array<__user_cap_data_struct, 2> none{};
          must(::syscall(SYS_capset, &head, none.data()) == 0, "capset");
          const Runtime mine = must(Runtime::open());
          Spec spec = payload(root, {});
          talk(Echo(mine, spec).box);
        }) == "");
}

TEST_CASE("a relay finds the loopback that is served", "[relay][.root]") {
  const TempRoot root;
  const OwnNetwork net;
  const Echo echo(runtime(), payload(root, {}), GENERATE("127.0.0.1", "::1"));
  talk(echo.box);
}

void reset_when_closed(const Fd& s) {
  const linger now{1, 0};
  must(::setsockopt(s.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0, "SO_LINGER");
}

TEST_CASE("many clients go through a relay at once", "[relay][.root]") {
  const TempRoot root;
  const OwnNetwork net;
  const Echo echo(runtime(), payload(root, {}));
  Relaying relay(need(echo.box.relay(
      {{.host_address = "127.0.0.1"_ip, .host_port = outside, .port = 7}}, {.most_clients = 40})));
  // All that are let in at once, and a few that wait.
  std::vector<Fd> all;
  for (int i = 0; i < 50; ++i) all.push_back(client("127.0.0.1"_ip, outside));
  for (std::size_t i = 0; i < 40; ++i) CHECK(datagram(all[i], "x") == "x");
  CHECK(soon([&] { return relay.clients == 40; }));
  pollfd late{all[45].get(), POLLIN, 0};
  CHECK(::send(late.fd, "y", 1, 0) == 1);
  CHECK(::poll(&late, 1, 50) == 0);
  all.erase(all.begin(), all.begin() + 40);
  CHECK(datagram(all.front(), "z") == "z");
  all.clear();
  CHECK(soon([&] { return relay.clients == 0; }));
  // One after the other, more than are kept ahead.
  for (int i = 0; i < 150; ++i) CHECK(echoed("127.0.0.1"_ip, outside, "again") == "again");
  CHECK(relay.stop().empty());
}

TEST_CASE("each side of a relay learns when the other is gone", "[relay][.root]") {
  const TempRoot root;
  const OwnNetwork net;
  Echo echo(runtime(), payload(root, {}));
  Relaying relay(
      need(echo.box.relay({{.host_address = "127.0.0.1"_ip, .host_port = outside, .port = 7},
                           {.host_address = "127.0.0.1"_ip, .host_port = 8081, .port = 9}})));
  // Nobody serves that port inside.
  CHECK(datagram(client("127.0.0.1"_ip, 8081), "x") == "ECONNRESET");
  // A client that reads nothing, and is gone with much on its way.
  {
    const Fd s = client("127.0.0.1"_ip, outside);
    const std::string much = pattern(200000, 3);
    CHECK(::send(s.get(), much.data(), much.size(), MSG_DONTWAIT) > 0);
    reset_when_closed(s);
  }
  CHECK(soon([&] { return relay.clients == 0; }));
  // The container ends while somebody waits.
  const Fd waiting = client("127.0.0.1"_ip, outside);
  CHECK(datagram(waiting, "x") == "x");
  need(echo.box.kill());
  (void)wait(echo.box);
  char byte = 0;
  CHECK(::recv(waiting.get(), &byte, 1, 0) <= 0);
  CHECK(soon([&] { return relay.ended.load(); }));
  CHECK(relay.stop().empty());
  CHECK(detail::try_port({.host_address = "127.0.0.1"_ip, .host_port = outside}) == 0);
}

/// One that takes nobody but the first, and five wait for it.
struct Deaf {
  Container box;
  Fd out;
  explicit Deaf(Spec spec, std::vector<std::string> args) : box(begin(spec, std::move(args))) {
    out = box.take_stdout();
    must(read_until(out, "ready=1\n").ends_with("ready=1\n"), "the container's service");
  }
  static Container begin(Spec& spec, std::vector<std::string> args) {
    spec.process.argv = {"/bin/payload"};
    spec.process.argv.insert(spec.process.argv.end(), args.begin(), args.end());
    spec.process.stdio.out = Stream::pipe;
    return launch(spec);
  }
};

TEST_CASE("a client that is gone is noticed whatever the service does", "[relay][.root]") {
  const TempRoot root;
  const OwnNetwork net;
  const Deaf deaf(payload(root, {}), {"serve", "tcp", "127.0.0.1", "7", "1"});
  Relaying relay(
      need(deaf.box.relay({{.host_address = "127.0.0.1"_ip, .host_port = outside, .port = 7}})));
  std::vector<Fd> all;
  for (int i = 0; i < 12; ++i) {
    all.push_back(client("127.0.0.1"_ip, outside));
    reset_when_closed(all.back());
  }
  CHECK(soon([&] { return relay.clients == 12; }));
  // Of the first one the service waits for a word. Of the others until nothing more is taken: five
  // are connected and not read, and the rest is not connected yet.
  const Fd first = std::move(all.front());
  all.erase(all.begin());
  const std::string much = pattern(100000, 1);
  for (const Fd& s : all)
    for (pollfd p{s.get(), POLLOUT, 0}; ::poll(&p, 1, 30) > 0;)
      CHECK(::send(s.get(), much.data(), much.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0);
  all.clear();
  CHECK(soon([&] { return relay.clients == 1; }));
  CHECK_FALSE(relay.ended);
  CHECK(relay.stop().empty());
}

TEST_CASE("a relay carries what was said before the container's end", "[relay][.root]") {
  const TempRoot root;
  const OwnNetwork net;
  constexpr std::size_t size = 1000000;
  Deaf once(payload(root, {}), {"give", "127.0.0.1", "7", std::to_string(size)});
  const bool patient = GENERATE(true, false);
  Relaying relay(
      need(once.box.relay({{.host_address = "127.0.0.1"_ip, .host_port = outside, .port = 7}},
                          {.drain = patient ? 20s : 50ms})));
  const Fd s = client("127.0.0.1"_ip, outside);
  const pollfd end{once.box.pidfd().get(), POLLIN, 0};
  std::string got(2 * size, '\0');
  std::size_t have = 0;
  const auto some = [&] {
    const ssize_t n = ::recv(s.get(), got.data() + have, 10000, 0);
    if (n > 0) have += static_cast<std::size_t>(n);
    return n;
  };
  if (!patient) {
    CHECK(some() > 0);
    need(once.box.kill());
    CHECK(soon([&] { return relay.ended.load(); }));
    while (some() > 0) {
    }
    CHECK(have < size);
    return;
  }
  // Slower than the service, so that much is on its way when that ends.
  for (pollfd p = end; ::poll(&p, 1, 3) == 0;) REQUIRE(some() > 0);
  CHECK(have < size);
  (void)wait(once.box);
  CHECK_FALSE(relay.ended);
  while (some() > 0) {
  }
  CHECK(have == size);
  bool same = true;
  for (std::size_t i = 0; i < have; ++i)
    same = same && got[i] == static_cast<char>('a' + (size - i / 1000 * 1000) / 1000 % 26);
  CHECK(same);
  CHECK(soon([&] { return relay.ended.load(); }));
  CHECK(relay.stop().empty());
}

TEST_CASE("a fork of the program does not keep a relay awake", "[relay][.root]") {
  const TempRoot root;
  const OwnNetwork net;
  Echo echo(runtime(), payload(root, {}));
  std::optional<Relaying> relay(
      std::in_place,
      need(echo.box.relay({{.host_port = outside, .port = 7},
                           {.host_port = outside, .port = 7, .protocol = PublishedPort::udp}},
                          {.udp_idle = 300ms})));
  std::vector<Fd> some;
  for (int i = 0; i < 3; ++i) some.push_back(client("127.0.0.1"_ip, outside));
  const Fd stays = client("127.0.0.1"_ip, outside);
  some.push_back(client("::1"_ip, outside, SOCK_DGRAM));
  for (const Fd& s : some) CHECK(datagram(s, "x") == "x");
  CHECK(datagram(stays, "x") == "x");
  const Forked other([] { ::pause(); });
  // It has these, too: one is reset by this, and the others are at their end.
  const sockaddr none{.sa_family = AF_UNSPEC, .sa_data = {}};
  CHECK(::connect(some[0].get(), &none, sizeof none) == 0);
  for (const Fd& s : some) (void)::shutdown(s.get(), SHUT_RDWR);
  CHECK(soon([&] { return relay->clients == 1; }));
  const unsigned before = relay->wakes;
  std::this_thread::sleep_for(100ms);
  CHECK(relay->wakes - before < 10);
  relay.reset();
  CHECK(datagram(stays, "x") == "ECONNRESET");
}

TEST_CASE("many new clients at once are all heard", "[relay][.root]") {
  const TempRoot root;
  const OwnNetwork net;
  Echo echo(runtime(), payload(root, {}));
  PortRelay relay = need(echo.box.relay(
      {{.host_port = outside, .port = 7, .protocol = PublishedPort::udp}}, {.most_clients = 200}));
  // More than the sockets that are kept ready, before it looks once.
  std::vector<Fd> all;
  for (int i = 0; i < 100; ++i) {
    all.push_back(client("127.0.0.1"_ip, outside, SOCK_DGRAM));
    REQUIRE(::send(all.back().get(), "x", 1, 0) == 1);
  }
  const Relaying stepping(std::move(relay));
  for (const Fd& s : all) {
    char byte = 0;
    CHECK(::recv(s.get(), &byte, 1, 0) == 1);
  }
}

TEST_CASE("a relay goes on when there were no descriptors", "[relay][.root]") {
  const TempRoot root;
  const OwnNetwork net;
  const Echo echo(runtime(), payload(root, {}));
  PortRelay relay =
      need(echo.box.relay({{.host_address = "127.0.0.1"_ip, .host_port = outside, .port = 7}}));
  const auto until = [&](const auto& what) {
    const auto end = std::chrono::steady_clock::now() + 5s * slow();
    while (!what() && std::chrono::steady_clock::now() < end) {
      (void)detail::wait_for_fd(relay.poll_fd().get(), POLLIN, 1000);
      CHECK(need(relay.step()));
    }
    return what();
  };
  std::vector<Fd> all;
  const auto one_more = [&] {
    all.push_back(client("127.0.0.1"_ip, outside));
    return until([&] { return relay.clients() == all.size(); });
  };
  // 32 are kept ready, and are refilled when there are less than eight.
  while (all.size() < 23) REQUIRE(one_more());
  std::vector<Fd> late;
  for (int i = 0; i < 4; ++i) late.push_back(client("127.0.0.1"_ip, outside));
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  {
    // Enough for these, and not for a process of the zygote's as well.
    const int next = ::fcntl(0, F_DUPFD_CLOEXEC, 0);
    (void)::close(next);
    const rlimit few{static_cast<rlim_t>(next) + 2, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
    const bool told = until([&] { return relay.trouble().has_value(); });
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    REQUIRE(told);
    CHECK(relay.trouble()->is_errno(EMFILE));
  }
  CHECK(until([&] { return relay.clients() == all.size() + late.size() && !relay.trouble(); }));
  for (int i = 0; i < 30; ++i) late.push_back(client("127.0.0.1"_ip, outside));
  CHECK(until([&] { return relay.clients() == all.size() + late.size(); }));
}

TEST_CASE("a client of UDP that says nothing is forgotten", "[relay][.root]") {
  const TempRoot root;
  const OwnNetwork net;
  const Echo echo(runtime(), payload(root, {}));
  const PublishedPort udp{
      .host_address = "::1"_ip, .host_port = outside, .port = 7, .protocol = PublishedPort::udp};
  PublishedPort tcp = udp;
  tcp.protocol = PublishedPort::tcp;
  for (const auto idle : {0ms, std::chrono::milliseconds::max()})
    CHECK_THAT(failure_of(echo.box.relay({udp}, {.udp_idle = idle})),
               FailsWith(Errc::bad_spec, Step::relay_port, "their time"));
  Relaying relay(need(echo.box.relay({udp, tcp}, {.most_clients = 1, .udp_idle = 200ms})));
  const Fd s = client("::1"_ip, outside, SOCK_DGRAM);
  for (int i = 0; i < 3; ++i) {
    relay.most = 0;
    CHECK(datagram(s, "hello") == "hello");
    CHECK(soon([&] { return relay.clients == 0; }));
    CHECK(relay.most == 1);
  }
  // Those of TCP have places of their own.
  CHECK(datagram(s, "hello") == "hello");
  CHECK(echoed("::1"_ip, outside, "as well") == "as well");
}

TEST_CASE("a relay says which port it cannot have", "[relay][.root]") {
  const TempRoot root;
  const OwnNetwork net;
  Echo echo(runtime(), payload(root, {}));
  const auto refused = [&](const PublishedPort& p) { return failure_of(echo.box.relay({p})); };
  int error = 0;
  const Fd taken = detail::open_port({.host_address = "127.0.0.1"_ip, .host_port = outside}, error);
  CHECK(error == 0);
  CHECK_THAT(refused({.host_address = "127.0.0.1"_ip, .host_port = outside, .port = 7}),
             FailsWith(EADDRINUSE, Step::publish_port, "port 127.0.0.1:8080/tcp"));
  CHECK_THAT(refused({.host_address = "192.0.2.1"_ip, .host_port = outside, .port = 7}),
             FailsWith(EADDRNOTAVAIL, Step::publish_port, "port 192.0.2.1:8080/tcp"));
  CHECK_THAT(refused({.host_port = 8082}), FailsWith(Errc::bad_spec, Step::relay_port, "8082"));
  CHECK_THAT(failure_of(echo.box.relay({})), FailsWith(Errc::bad_spec, Step::relay_port, "test"));
  need(echo.box.kill());
  (void)wait(echo.box);
  CHECK_THAT(refused({.host_port = 8082, .port = 7}),
             FailsWith(ESRCH, Step::join_namespace, "has ended"));
}

#if CONDROID_LIBNL

/// A way out of this network namespace: a cable with 198.51.100.2 at one end.
void lay_cable() {
  int error = 0;
  const Fd socket = detail::open_netlink(error);
  const Fd here(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  const Interface peer{.name = "up1", .link = Veth{}};
  must(detail::ask_netlink(socket,
                           detail::create_request(peer, {.netns = here.get(),
                                                         .host_name = "up0",
                                                         .host_mac = "fe:00:00:00:00:01"_mac}),
                           1)
               .error == 0,
       "a cable");
  for (const Interface& i : {Interface{.name = "up1"},
                             Interface{.name = "up0",
                             .addresses = {"198.51.100.2/24"_prefix, "2001:db8:5::2/64"_prefix},
                             .gateways = {"198.51.100.1"_ip, "2001:db8:5::1"_ip}}}) {
    const std::uint32_t index = detail::find_interface(socket, i.name).index;
    auto requests = detail::setup_requests(i);
    std::string all;
    for (auto& r : requests) {
      std::memcpy(r.bytes.data() + r.index_at, &index, sizeof index);
      all += r.bytes;
    }
    const auto done = detail::ask_netlink(socket, all, static_cast<std::uint32_t>(requests.size()));
    must(done.error == 0, i.name + ": " + done.text);
  }
}

/// A user without rights, in a network that has a way out.
template <class Body>
std::string as_user(Body body, uid_t somebody = 61234) {
  return in_child([&] {
    enter_network();
    must(::unshare(CLONE_NEWNS) == 0 &&
             ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0,
         "mounts");
    // As it is where udev is: everybody may use it.
    must(::mount("tmpfs", "/dev/net", "tmpfs", 0, nullptr) == 0 &&
             ::mknod("/dev/net/tun", S_IFCHR | 0666, ::makedev(10, 200)) == 0 &&
             ::chmod("/dev/net/tun", 0666) == 0,
         "/dev/net/tun");
    lay_cable();
    must(::setgroups(0, nullptr) == 0 && ::setresgid(somebody, somebody, somebody) == 0 &&
             ::setresuid(somebody, somebody, somebody) == 0,
         "ids");
    body(must(Runtime::open()));
  });
}

/// Processes of pasta's that are this user's. Of their namespaces nobody but root is told.
std::size_t pastas(pid_t* one = nullptr) {
  std::size_t count = 0;
  const std::string mine = fmt::format("\nUid:\t{}\t", ::getuid());
  for (const std::string& pid : entries_of("/proc")) {
    if (pid.front() < '0' || pid.front() > '9') continue;
    const std::string status = read_file("/proc/" + pid + "/status");
    if (!status.starts_with("Name:\tpas") || status.find(mine) == status.npos) continue;
    ++count;
    if (one != nullptr) *one = std::stoi(pid);
  }
  return count;
}

Interface by_pasta() {
  return {.link = Pasta{},
          .addresses = {"10.9.9.2/24"_prefix, "fd99::2/64"_prefix},
          .gateways = {"10.9.9.1"_ip, "fd99::1"_ip}};
}

TEST_CASE("pasta connects a container of a user without rights", "[pasta][.root]") {
  const TempRoot root;
  REQUIRE_FALSE(facts().pasta.empty());
  CHECK(as_user([&](const Runtime& mine) {
          Spec spec = payload(root, {});
          spec.network.interfaces = {by_pasta()};
          // A datagram from the host's loopback has the gateway's address inside, by which nothing
          // goes back.
          spec.network.publish = {{.host_address = "127.0.0.1"_ip, .host_port = outside, .port = 7},
                                  {.host_address = "198.51.100.2"_ip,
                                   .host_port = 8081,
                                   .port = 7,
                                   .protocol = PublishedPort::udp}};
          {
            const Echo echo(mine, spec);
            must(pastas() == 1, "one of it");
            const std::string text = pattern(100000, 5);
            must(echoed("127.0.0.1"_ip, outside, text) == text, "a published port");
            must(datagram(client("198.51.100.2"_ip, 8081, SOCK_DGRAM), "x") == "x", "one of UDP");
          }
          must(soon([] { return pastas() == 0; }), "it has ended");
          // The other way: a service of the host's, by its own address.
          int error = 0;
          const Fd served =
              detail::open_port({.host_address = "198.51.100.2"_ip, .host_port = 7}, error);
          must(error == EACCES, "ports below 1024 are not its");
          const Fd service =
              detail::open_port({.host_address = "198.51.100.2"_ip, .host_port = 7007}, error);
          must(error == 0 && ::fcntl(service.get(), F_SETFL, 0) == 0, "a service");
          std::thread answering([&] {
            const Fd c(::accept4(service.get(), nullptr, nullptr, SOCK_CLOEXEC));
            char bytes[64];
            const ssize_t n = ::recv(c.get(), bytes, sizeof bytes, 0);
            if (n > 0) (void)::send(c.get(), bytes, static_cast<std::size_t>(n), 0);
          });
          Spec calling = payload(root, {"call", "tcp", "198.51.100.2", "7007", "hello"});
          calling.network.interfaces = {by_pasta()};
          calling.process.stdio.out = Stream::capture;
          Container box = must(mine.launch(calling));
          const std::string out = must(box.wait()).out;
          ::shutdown(service.get(), SHUT_RDWR);
          answering.join();
          must(out == "answer=hello\n", out);
          must(soon([] { return pastas() == 0; }), "it has ended");
        }) == "");
}

TEST_CASE("a container of pasta's has the addresses of the host", "[pasta][.root]") {
  const TempRoot root;
  CHECK(as_user([&](const Runtime& mine) {
          Spec spec = payload(root, {"interfaces"});
          spec.network.interfaces = {{.link = Pasta{}}};
          spec.process.stdio.out = Stream::capture;
          // Its next life has one of its own.
          spec.lifecycle = {.restart = Restart::always, .restart_limit = 1};
          Container box = must(mine.launch(spec));
          const std::string out = must(box.wait()).out;
          for (const char* line : {"if.eth0=up\n", "address.eth0=198.51.100.2/24\n",
                                   "address.eth0=2001:db8:5::2/64\n"})
            must(out.find(line) != out.npos, out);
        }) == "");
}

TEST_CASE("pasta's failure is told in its own words, and nothing stays", "[pasta][.root]") {
  const TempRoot root;
  CHECK(as_user([&](const Runtime& mine) {
          const auto why = [&](const Spec& spec) {
            const auto box = mine.launch(spec);
            must(!box.has_value(), "it was launched");
            must(soon([] { return pastas() == 0; }), "it has ended");
            return to_string(box.error());
          };
          Spec spec = payload(root, {});
          spec.network.interfaces = {{.link = Pasta{.parent = "nonesuch"}}};
          const std::string no_parent = why(spec);
          must(no_parent.find("start pasta: 'eth0': '/usr/bin/pasta' failed: ") != no_parent.npos &&
                   no_parent.find("nonesuch") != no_parent.npos,
               no_parent);
          spec.network.interfaces = {by_pasta()};
          spec.network.publish = {{.host_address = "127.0.0.1"_ip, .host_port = 80, .port = 7}};
          const std::string low = why(spec);
          must(low.find("publish port: port 127.0.0.1:80/tcp: ") != low.npos, low);
          spec.network.publish.front().host_port = outside;
          int error = 0;
          const Fd taken = detail::open_port(spec.network.publish.front(), error);
          const std::string in_use = why(spec);
          must(in_use.find("port 127.0.0.1:8080/tcp: Address already in use") != in_use.npos,
               in_use);
        }) == "");
}

TEST_CASE("pasta ends when its container does, whoever is killed", "[pasta][.root]") {
  const TempRoot root;
  CHECK(as_user([&](const Runtime& mine) {
          Spec spec = payload(root, {});
          spec.network.interfaces = {by_pasta()};
          Forked host([&] {
            const Runtime other = must(Runtime::open());
            const Echo echo(other, spec);
            ::raise(SIGKILL);
            return 0;
          });
          host.wait();
          must(soon([] { return pastas() == 0; }), "the host was killed");
          Echo echo(mine, spec);
          must(::kill(echo.box.pid().value, SIGKILL) == 0, "kill");
          // Without anybody who takes its end.
          must(soon([] { return pastas() == 0; }), "the container was killed");
          must(must(echo.box.wait()).cleanup_errors.empty(), "nothing to be told");
          // One that loses it is told of that.
          Echo alone(mine, spec);
          pid_t it = 0;
          must(pastas(&it) == 1 && ::kill(it, SIGTERM) == 0, "pasta is killed");
          must(soon([] { return pastas() == 0; }), "it has ended");
          (void)::poll(nullptr, 0, 20);  // not at once with the container
          must(alone.box.kill());
          const auto told = must(alone.box.wait()).cleanup_errors;
          must(told.size() == 1 && told[0].find("start pasta: it ended before") == 0, "it is told");
          // One that was let go keeps it.
          int ends[2];
          must(::pipe2(ends, O_CLOEXEC) == 0, "pipe");
          const Fd from(ends[0]), to(ends[1]);
          Forked leaving([&] {
            const Runtime other = must(Runtime::open());
            Echo left(other, spec);
            must(left.box.detach());
            // Others come and go, and leave it alone.
            for (int i = 0; i < 3; ++i)
              must(must(other.launch(payload(root, {"interfaces"}))).wait());
            const pid_t pid = left.box.pid().value;
            return ::write(to.get(), &pid, sizeof pid) == sizeof pid ? 0 : 1;
          });
          pid_t left = 0;
          must(::read(from.get(), &left, sizeof left) == sizeof left && leaving.wait() == 0,
               "a container that was let go");
          must(pastas() == 1 && is_alive(left), "it goes on");
          must(::kill(left, SIGKILL) == 0, "kill");
          must(soon([] { return pastas() == 0; }), "the container that was let go was killed");
        }) == "");
}

TEST_CASE("pasta's last words are its last, and about the cause", "[pasta][.root]") {
  CHECK(detail::last_words("4711\nFailed to send 9 bytes to syslog\n").empty());
  CHECK(detail::last_words("4711\nno route\ngone\n") == "no route; gone");
  std::string much;
  while (much.size() < 4096) much += "a packet was odd\n";
  const std::string told = detail::last_words(much + "the tap is gone\n");
  CHECK(told.size() < 600);
  CHECK(told.starts_with("..."));
  CHECK(told.ends_with("; the tap is gone"));
}

TEST_CASE("root's containers are connected by pasta, too", "[pasta][.root]") {
  const TempRoot root;
  CHECK(as_user(
            [&](const Runtime& mine) {
              Spec spec = payload(root, {"interfaces"});
              spec.network.interfaces = {by_pasta()};
              spec.process.stdio.out = Stream::capture;
              for (const IdMap& map : {IdMap{}, IdMap{.kind = IdMap::ranges,
                                                .uids = {{0, 100000, 65536}},
                                                .gids = {{0, 100000, 65536}}}}) {
                spec.idmap = map;
                Container box = must(mine.launch(spec));
                const std::string out = must(box.wait()).out;
                must(out.find("address.eth0=10.9.9.2/24\n") != out.npos, out);
              }
            },
            0) == "");
}

#endif

}  // namespace
