// Bridges of condroid's own: what they lead to, and that nothing of them stays. The host is a
// namespace of the test's own, and so is the world outside.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/neighbour.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "containers.hpp"
#include "forked.hpp"
#include "launch/nftables.hpp"
#include "launch/ports.hpp"
#include "networks.hpp"
#include "sys/kernel_files.hpp"

#if CONDROID_LIBNL

namespace {

using namespace condroid;
using namespace condroid::literals;
using namespace condroid::test;
using namespace std::chrono_literals;

/// The same in a forked child.
const std::string& state_dir() {
  static const std::string dir = fmt::format("/tmp/test-state-{}-nat", ::getpid());
  return dir;
}
Runtime own_runtime() { return need(Runtime::open({.state_dir = HostPath(state_dir())})); }

/// How many tables nftables has here, by a message that asks for all.
int tables() {
  int error = 0;
  const Fd socket = detail::open_netlink(error, NETLINK_NETFILTER);
  must(error == 0, "netfilter's socket");
  struct {
    nlmsghdr head;
    nfgenmsg about;
  } ask{{sizeof ask, NFNL_SUBSYS_NFTABLES << 8 | 1 /* NFT_MSG_GETTABLE */,
         NLM_F_REQUEST | NLM_F_DUMP, 1, 0},
        {0, 0, 0}};
  must(::send(socket.get(), &ask, sizeof ask, 0) > 0, "ask");
  for (int count = 0;;) {
    alignas(8) char answer[16384];
    auto n = static_cast<unsigned>(::recv(socket.get(), answer, sizeof answer, 0));
    for (auto* h = reinterpret_cast<nlmsghdr*>(answer); NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
      if (h->nlmsg_type == NLMSG_DONE) return count;
      must(h->nlmsg_type != NLMSG_ERROR, "the list of tables");
      ++count;
    }
  }
}

/// A host, a cable to the outside, and the outside, which knows no way back but to the host.
struct World {
  OwnNetwork host;
  std::optional<OwnNetwork> outside;
  std::set<std::string> before;

  World() {
    outside.emplace();
    host.enter();
    host.cable("up0", *outside, "wan0");
    host.set_up("up0", {"198.51.100.1/24"_prefix, "2001:db8::1/64"_prefix});
    outside->enter();
    outside->set_up("wan0", {"198.51.100.2/24"_prefix, "2001:db8::2/64"_prefix});
    host.enter();
    before = OwnNetwork::links();
  }
  ~World() { outside.reset(), host.enter(); }
  std::string call_from_outside(const Way& way, const char* address, const char* port) {
    outside->enter();
    OnHost caller({"call", way.protocol, address, port, "x", "2000"});
    host.enter();
    return caller.end();
  }
};

Interface at_bridge(std::vector<IpPrefix> subnets = NatBridge{}.subnets) {
  return {.link = NatBridge{.name = "nat0", .subnets = std::move(subnets)}};
}

Spec at_nat(const TempRoot& root, std::vector<std::string> args) {
  return on_network(root, at_bridge(), std::move(args));
}

TEST_CASE("containers at a bridge of our own reach the world and each other", "[nat][.root]") {
  const TempRoot root;
  World world;
  {
    const Runtime own = own_runtime();
    for (const Way& way : ways) {
      INFO(way.protocol << (way.v6 ? " v6" : " v4"));
      const std::size_t which = way.v6 ? 1 : 0;
      // Outside it looks as if the host asked.
      world.outside->enter();
      const char* there = way.v6 ? "2001:db8::2" : "198.51.100.2";
      OnHost server({"serve", way.protocol, there, "7", "1"});
      server.wait_for("ready=1\n");
      world.host.enter();
      Container caller = need(own.launch(at_nat(root, {"call", way.protocol, there, "7", "out"})));
      CHECK(wait(caller).out == answer(way.v6 ? "2001:db8::1"_ip : "198.51.100.1"_ip, "out"));
      server.end();
      // Another container is reached by the address that it was given.
      const IpAddress all = way.v6 ? "::"_ip : "0.0.0.0"_ip;
      Server other(at_nat(root, {}), way, all, 2, own);
      REQUIRE(other.box.addresses().size() == 2);
      const std::string of = to_string(other.box.addresses()[which].address);
      Container box = need(own.launch(at_nat(root, {"call", way.protocol, of, "7", "in"})));
      const IpAddress mine = box.addresses()[which].address;
      CHECK(wait(box).out == answer(mine, "in"));
      CHECK(OnHost({"call", way.protocol, of, "7", "host"}).end() ==
            answer(way.v6 ? "fd63:6e64:726f::1"_ip : "10.209.0.1"_ip, "host"));
      CHECK(wait(other.box).success());
    }
    CHECK(tables() == 1);
    CHECK(world.host.has("nat0"));
    // Nothing comes in that was not asked for, from somebody who knows the way.
    Server server(at_nat(root, {}), ways[0], "0.0.0.0"_ip, 1, own);
    const std::string of = to_string(server.box.addresses()[0].address);
    world.outside->apply(
        {.name = "wan0", .routes = {{.to = "10.209.0.0/20"_prefix, .via = "198.51.100.1"_ip}}});
    world.outside->enter();
    OnHost intruder({"call", "tcp", of, "7", "x", "300"});
    world.host.enter();
    CHECK(intruder.end() == "connect=ETIMEDOUT\n");
    CHECK(OnHost({"call", "tcp", of, "7", "x"}).end() == answer("10.209.0.1"_ip, "x"));
  }
  CHECK(world.host.soon(world.before));
  CHECK(tables() == 0);
  CHECK(entries_of(state_dir()).empty());
}

TEST_CASE("published ports lead into the container, from outside and from the host",
          "[nat][.root]") {
  const TempRoot root;
  World world;
  // Somebody else's table stays as it is.
  detail::NftBatch other("somebodys");
  other.new_table();
  other.chain({"all", "filter", detail::NftChain::input, detail::NftChain::filter});
  int error = 0;
  const Fd socket = detail::open_netlink(error, NETLINK_NETFILTER);
  REQUIRE(other.send(socket).error == 0);
  {
    const Runtime own = own_runtime();
    for (const Way& way : ways) {
      INFO(way.protocol << (way.v6 ? " v6" : " v4"));
      const auto protocol =
          std::string(way.protocol) == "udp" ? PublishedPort::udp : PublishedPort::tcp;
      Spec spec = at_nat(root, {});
      spec.network.publish = {{.host_port = 8080, .port = 7, .protocol = protocol}};
      if (!way.v6)
        spec.network.publish.push_back(
            {.host_address = "127.0.0.1"_ip, .host_port = 8081, .port = 7, .protocol = protocol});
      Server server(spec, way, way.v6 ? "::"_ip : "0.0.0.0"_ip, way.v6 ? 3 : 5, own);
      CHECK(tables() == 3);
      const char* here = way.v6 ? "2001:db8::1" : "198.51.100.1";
      CHECK(world.call_from_outside(way, here, "8080") ==
            answer(way.v6 ? "2001:db8::2"_ip : "198.51.100.2"_ip, "x"));
      CHECK(OnHost({"call", way.protocol, here, "8080", "self"}).end().ends_with(": self\n"));
      if (!way.v6) {
        CHECK(OnHost({"call", way.protocol, "127.0.0.1", "8080", "lo"}).end() ==
              answer("10.209.0.1"_ip, "lo"));
        CHECK(OnHost({"call", way.protocol, "127.0.0.1", "8081", "lo"}).end() ==
              answer("10.209.0.1"_ip, "lo"));
        CHECK(world.call_from_outside(way, here, "8081").find("answer") == std::string::npos);
      }
      // Another container by the host's address.
      Container box = need(own.launch(at_nat(root, {"call", way.protocol, here, "8080", "hair"})));
      CHECK(wait(box).out.ends_with(": hair\n"));
      // The port is taken, for containers and everybody.
      CHECK_THAT(
          failure_of(own.launch(spec)),
          FailsWith(EADDRINUSE, Step::publish_port, std::string("port *:8080/") + way.protocol));
      CHECK(wait(server.box).success());
      CHECK(tables() == 2);
      CHECK(world.call_from_outside(way, here, "8080").find("answer") == std::string::npos);
    }
  }
  CHECK(tables() == 1);
  CHECK(world.host.soon(world.before));
}

TEST_CASE("addresses are given once, and a subnet has an end", "[nat][.root]") {
  const TempRoot root;
  OwnNetwork net;
  const Runtime own = own_runtime();
  Spec spec = on_network(root, at_bridge({"10.209.0.0/29"_prefix}), {"pause"});
  std::vector<Container> boxes;
  std::set<IpPrefix> given;
  for (int i = 0; i < 5; ++i) {
    boxes.push_back(need(own.launch(spec)));
    given.insert(boxes.back().addresses().at(0));
  }
  CHECK(given.size() == 5);
  CHECK(*given.begin() == "10.209.0.2/29"_prefix);
  CHECK(*given.rbegin() == "10.209.0.6/29"_prefix);
  CHECK_THAT(failure_of(own.launch(spec)),
             FailsWith(EADDRNOTAVAIL, Step::lease_address, "all 5 addresses"));
  // One that ends makes room, and only one asks for a certain address.
  const IpPrefix third = boxes[2].addresses().at(0);
  boxes.erase(boxes.begin() + 2);
  Spec certain = spec;
  certain.network.interfaces[0].addresses = {third};
  boxes.push_back(need(own.launch(certain)));
  CHECK(boxes.back().addresses() == std::vector{third});
  CHECK_THAT(failure_of(own.launch(certain)),
             FailsWith(EADDRINUSE, Step::lease_address, to_string(third)));
  // Not the same bridge with something else.
  CHECK_THAT(
      failure_of(own.launch(on_network(root, at_bridge({"10.210.0.0/24"_prefix}), {"exit"}))),
      FailsWith(EBUSY, Step::create_bridge, "'nat0'"));
  // Another program on the same state directory sees what is taken, and what is free.
  const Runtime second = own_runtime();
  CHECK_THAT(failure_of(second.launch(spec)),
             FailsWith(EADDRNOTAVAIL, Step::lease_address, "all 5 addresses"));
  boxes.pop_back();
  Container late = need(second.launch(spec));
  CHECK(late.addresses() == std::vector{third});
}

TEST_CASE("a launch that fails gives its address back", "[nat][.root]") {
  const TempRoot root;
  OwnNetwork net;
  const Runtime own = own_runtime();
  // There is one address beside the bridge's own.
  Spec spec = on_network(root, at_bridge({"10.209.0.0/30"_prefix}), {"exit"});
  Spec missing = spec;
  missing.process.argv = {"/no/such/command"};
  Spec late = spec;
  late.process.cwd = GuestPath("/no/such/directory");
  for (int i = 0; i < 3; ++i) {
    CHECK_THAT(failure_of(own.launch(missing)), FailsWith(ENOENT, Step::exec, "/no/such/command"));
    CHECK_THAT(failure_of(own.launch(late)),
               FailsWith(ENOENT, Step::change_directory, "/no/such/directory"));
    Container box = need(own.launch(spec));
    CHECK(box.addresses() == std::vector{"10.209.0.2/30"_prefix});
    CHECK(wait(box).success());
  }
}

/// The calling process becomes one of a kernel without netfilter's netlink.
void do_without_netfilter() {
  const auto argument = [](unsigned i) {
    return static_cast<std::uint32_t>(offsetof(seccomp_data, args) + i * sizeof(std::uint64_t));
  };
  const std::array<sock_filter, 8> filter = {
      {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
       BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 5),
       BPF_STMT(BPF_LD | BPF_W | BPF_ABS, argument(0)),
       BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 3),
       BPF_STMT(BPF_LD | BPF_W | BPF_ABS, argument(2)),
       BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NETLINK_NETFILTER, 0, 1),
       BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPROTONOSUPPORT),
       BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)}};
  const sock_fprog program{filter.size(), const_cast<sock_filter*>(filter.data())};
  must(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0, "seccomp");
}

TEST_CASE("where nftables is not to be had there is no bridge with NAT", "[nat][.root]") {
  const TempRoot root;
  OwnNetwork net;
  Forked host([&] {
    do_without_netfilter();
    const Runtime own = need(Runtime::open({.state_dir = HostPath(state_dir())}));
    const auto refused = own.launch(at_nat(root, {"exit"}));
    if (refused) return 1;
    const std::string said = to_string(refused.error());
    if (refused.error().step != Step::create_bridge || !refused.error().is_errno(EPROTONOSUPPORT) ||
        said.find("'nat0'") == said.npos || said.find("netfilter") == said.npos)
      return fmt::print(stderr, "{}\n", said), 2;
    if (OwnNetwork::links() != std::set<std::string>{"lo"}) return 3;
    // One without needs none.
    Interface plain = at_bridge();
    std::get<NatBridge>(plain.link).nat = false;
    const auto box = own.launch(on_network(root, std::move(plain), {"exit"}));
    return box ? 0 : (fmt::print(stderr, "{}\n", box.error()), 4);
  });
  CHECK(host.wait() == 0);
  CHECK(net.soon({"lo"}));
  CHECK(entries_of(state_dir()).empty());
}

/// How many flows the kernel remembers of which this is an address.
int flows_of(const IpAddress& v4) {
  int error = 0;
  const Fd socket = detail::open_netlink(error, NETLINK_NETFILTER);
  must(error == 0, "netfilter's socket");
  struct {
    nlmsghdr head;
    nfgenmsg about;
  } ask{{sizeof ask, NFNL_SUBSYS_CTNETLINK << 8 | 1 /* IPCTNL_MSG_CT_GET */,
         NLM_F_REQUEST | NLM_F_DUMP, 1, 0},
        {AF_INET, 0, 0}};
  must(::send(socket.get(), &ask, sizeof ask, 0) > 0, "ask");
  for (int count = 0;;) {
    alignas(8) char answer[16384];
    auto n = static_cast<unsigned>(::recv(socket.get(), answer, sizeof answer, 0));
    for (auto* h = reinterpret_cast<nlmsghdr*>(answer); NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
      if (h->nlmsg_type == NLMSG_DONE) return count;
      must(h->nlmsg_type != NLMSG_ERROR, "the list of flows");
      count += ::memmem(h, h->nlmsg_len, v4.bytes().data(), v4.size()) != nullptr ? 1 : 0;
    }
  }
}

TEST_CASE("datagrams go to whoever has the port now", "[nat][.root]") {
  const TempRoot root;
  World world;
  const Runtime own = own_runtime();
  Spec spec = at_nat(root, {});
  spec.network.publish = {{.host_port = 8080, .port = 7, .protocol = PublishedPort::udp}};
  const Fd client(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto to = detail::socket_address("198.51.100.1"_ip, 8080);
  const timeval patience{2, 0};
  ::setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  for (const char* word : {"first", "second"}) {
    // Also what came when nobody was there is remembered.
    (void)::sendto(client.get(), "?", 1, 0, to.get(), to.size);
    Server server(spec, ways[1], "0.0.0.0"_ip, 1, own);
    // What goes to that port of somebody else is none of ours.
    CHECK(flows_of("198.51.100.2"_ip) == (word == std::string_view("first") ? 0 : 1));
    const auto elsewhere = detail::socket_address("198.51.100.2"_ip, 8080);
    (void)::sendto(client.get(), "!", 1, 0, elsewhere.get(), elsewhere.size);
    CHECK(flows_of("198.51.100.2"_ip) == 1);
    must(::sendto(client.get(), word, ::strlen(word), 0, to.get(), to.size) > 0, "send");
    char text[64];
    const ssize_t n = ::recv(client.get(), text, sizeof text, 0);
    CHECK(std::string(text, n > 0 ? static_cast<std::size_t>(n) : 0).ends_with(word));
    (void)server.box.kill();
    (void)wait(server.box);
  }
}

/// This thread, in the container's network namespace.
void enter(const Container& box) {
  const Fd there(
      ::open(fmt::format("/proc/{}/ns/net", box.pid().value).c_str(), O_RDONLY | O_CLOEXEC));
  must(::setns(there.get(), CLONE_NEWNET) == 0, "setns");
}

/// Here, of eth0.
void know_neighbour(const IpAddress& address, const std::string& mac) {
  int error = 0;
  const Fd socket = detail::open_netlink(error);
  ndmsg head{};
  head.ndm_family = address.is_v6() ? AF_INET6 : AF_INET;
  head.ndm_ifindex = static_cast<int>(detail::find_interface(socket, "eth0").index);
  head.ndm_state = NUD_PERMANENT;
  NetlinkMessage m(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK, head);
  m.put_bytes(NDA_DST, address.bytes().data(), address.size());
  m.put_bytes(NDA_LLADDR, mac.data(), mac.size());
  m.set_sequence(1);
  must(detail::ask_netlink(socket, m.bytes(), 1).error == 0, "neighbour");
}

TEST_CASE("isolated containers do not reach each other by the host either", "[nat][.root]") {
  const TempRoot root;
  World world;
  const Runtime own = own_runtime();
  const std::vector<Route> by_host = {
      {.to = "10.209.0.50/32"_prefix, .via = "10.209.0.1"_ip},
      {.to = "fd63:6e64:726f::50/128"_prefix, .via = "fd63:6e64:726f::1"_ip}};
  // Who has a route by the host to what is at the same bridge.
  const auto called = [&](bool isolated, IpAddress to, const char* port) {
    Spec spec = at_nat(root, {"call", "tcp", to_string(to), port, "x", isolated ? "300" : "20000"});
    auto& i = spec.network.interfaces[0];
    std::get<NatBridge>(i.link).isolated = isolated;
    i.routes = by_host;
    Container box = need(own.launch(spec));
    return wait(box).out;
  };
  Spec spec = at_nat(root, {});
  auto& i = spec.network.interfaces[0];
  std::get<NatBridge>(i.link).isolated = true;
  i.addresses = {"10.209.0.50/20"_prefix, "fd63:6e64:726f::50/64"_prefix};
  spec.network.publish = {{.host_port = 8080, .port = 7}};
  Server server(spec, ways[0], "::"_ip, 2, own);
  const auto& both = i.addresses;
  for (const IpPrefix& to : both) CHECK(called(true, to.address, "7") == "connect=ETIMEDOUT\n");
  CHECK(called(false, "198.51.100.1"_ip, "8080").ends_with("10.209.0.1: x\n"));

  // The host is also who has the other end of one's cable.
  Spec caller = at_nat(root, {"pause"});
  auto& eth = caller.network.interfaces[0];
  std::get<NatBridge>(eth.link).isolated = true;
  eth.routes = by_host;
  const auto others = OwnNetwork::links();
  Container box = need(own.launch(caller));
  std::string end;
  for (const std::string& name : OwnNetwork::links())
    if (!others.contains(name)) end = name;
  const auto call_by = [&](const std::string& mac) {
    enter(box);
    for (const Route& r : by_host) know_neighbour(*r.via, mac);
    for (const IpPrefix& to : both)
      CHECK(OnHost({"call", "tcp", to_string(to.address), "7", "x", "300"}).end() ==
            "connect=ETIMEDOUT\n");
    world.host.enter();
  };
  call_by(world.host.look(end).mac);
  call_by(world.host.look("nat0").mac);

  // What belongs to no connection is not let through for that.
  const auto icmp = [] { return Fd(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP)); };
  const auto to = detail::socket_address("10.209.0.50"_ip, 0);
  constexpr std::array<unsigned char, 8> answers_nothing{0, 0, 0xff, 0xff};
  const auto arrives_from = [&](FdView from, const Fd& at, int milliseconds) {
    must(::sendto(from.get(), answers_nothing.data(), answers_nothing.size(), 0, to.get(),
                  to.size) > 0,
         "send");
    pollfd p{at.get(), POLLIN, 0};
    return ::poll(&p, 1, milliseconds) == 1;
  };
  enter(server.box);
  const Fd there = icmp();
  enter(box);
  const Fd here = icmp();
  world.host.enter();
  CHECK_FALSE(arrives_from(here, there, 300));
  CHECK(arrives_from(icmp(), there, 5000));
  CHECK(OnHost({"call", "tcp", "10.209.0.50", "7", "host"}).end().ends_with(": host\n"));
  CHECK(wait(server.box).success());
}

TEST_CASE("a bridge of our own that somebody else removed is made again", "[nat][.root]") {
  const TempRoot root;
  OwnNetwork net;
  {
    const Runtime own = own_runtime();
    // A port at which nobody is any more is one that leads nowhere, whoever has the address next.
    const auto publishing = [&](std::uint16_t port) {
      Spec spec = at_nat(root, {"pause"});
      spec.network.publish = {{.host_port = port, .port = 7}};
      return spec;
    };
    Container lost = need(own.launch(publishing(8080)));
    CHECK(tables() == 2);
    net.remove("nat0");
    Container next = need(own.launch(publishing(8081)));
    CHECK(net.has("nat0"));
    CHECK(tables() == 2);
    CHECK(next.addresses() != lost.addresses());
    need(lost.kill());
    (void)wait(lost);
    CHECK(tables() == 2);
    // Its state directory may be named otherwise.
    const Runtime second =
        need(Runtime::open({.state_dir = HostPath("/proc/self/root" + state_dir())}));
    Container other = need(second.launch(at_nat(root, {"pause"})));
    CHECK(other.addresses() != next.addresses());
    // The places of those that nobody is at any more are given to others.
    for (int n = 1; n < 20; ++n) {
      Interface i = at_bridge({"10.210.0.0/24"_prefix});
      std::get<NatBridge>(i.link).name = fmt::format("nat{}", n);
      Container box = need(own.launch(on_network(root, i, {"exit"})));
      (void)wait(box);
      net.remove(fmt::format("nat{}", n));
    }
    CHECK(net.has("nat0"));
  }
  CHECK(net.soon({"lo"}));
  CHECK(tables() == 0);
  CHECK(entries_of(state_dir()).empty());
}

TEST_CASE("a bridge that was made again goes with whoever is last", "[nat][.root]") {
  const TempRoot root;
  OwnNetwork net;
  std::optional<Runtime> first(own_runtime());
  std::optional<Container> early(need(first->launch(at_nat(root, {"pause"}))));
  {
    const Runtime second = own_runtime();
    const Container one = need(second.launch(at_nat(root, {"pause"})));
    net.remove("nat0");
    const Container two = need(second.launch(at_nat(root, {"pause"})));
    CHECK(net.has("nat0"));
  }
  CHECK(net.has("nat0"));
  need(early->kill());
  (void)wait(*early);
  early.reset();
  first.reset();
  CHECK(net.soon({"lo"}));
  CHECK(entries_of(state_dir()).empty());
}

TEST_CASE("a bridge that could not be made again is not left half made", "[nat][.root]") {
  const TempRoot root;
  OwnNetwork net;
  const Runtime first = own_runtime(), second = own_runtime();
  const Container one = need(first.launch(at_nat(root, {"pause"})));
  const Container two = need(second.launch(at_nat(root, {"pause"})));
  net.remove("nat0");
  const auto no_ipv6 = [](const char* value) {
    must(
        detail::write_file_at(AT_FDCWD, "/proc/sys/net/ipv6/conf/default/disable_ipv6", value) == 0,
        "disable_ipv6");
  };
  no_ipv6("1");
  CHECK_THAT(failure_of(second.launch(at_nat(root, {"exit"}))),
             FailsWith(EACCES, Step::create_bridge, "'nat0'"));
  CHECK_FALSE(net.has("nat0"));
  no_ipv6("0");
  Container next = need(first.launch(at_nat(root, {"exit"})));
  CHECK(wait(next).success());
  CHECK(net.has("nat0"));
}

TEST_CASE("a bridge of our own that somebody else renamed is not given up", "[nat][.root]") {
  const TempRoot root;
  OwnNetwork net;
  const Runtime own = own_runtime();
  {
    const Container box = need(own.launch(at_nat(root, {"pause"})));
    net.rename("nat0", "other0");
    CHECK_THAT(failure_of(own.launch(at_nat(root, {"exit"}))),
               FailsWith(ENODEV, Step::create_bridge, "it is called 'other0' now"));
    CHECK(net.has("other0"));
  }
  Container next = need(own.launch(at_nat(root, {"exit"})));
  CHECK(wait(next).success());
  CHECK(net.has("nat0"));
  CHECK_FALSE(net.has("other0"));
}

TEST_CASE("an address of a bridge that was made again meanwhile is not used", "[nat][.root]") {
  const TempRoot root;
  OwnNetwork net;
  const Runtime own = own_runtime();
  const Plan plan = need(compile(at_nat(root, {"pause"}), facts()));
  LaunchOptions options;
  for (std::size_t i = 0; i < plan.ops.size(); ++i)
    if (std::holds_alternative<op::CreateInterface>(plan.ops[i])) options.stop_before = i;
  Launch launch = need(own.start(plan, options));
  const auto step_until = [&](const auto& done) {
    for (;;) {
      auto box = launch.step();
      if (!box || done()) return box;
      pollfd p{launch.interest().fd.get(), launch.interest().events, 0};
      (void)::poll(&p, 1, launch.timeout());
    }
  };
  CHECK(step_until([&] { return launch.stopped(); }).has_value());
  net.remove("nat0");
  Container other = need(own.launch(at_nat(root, {"pause"})));
  launch.resume();
  CHECK_THAT(failure_of(step_until([] { return false; })),
             FailsWith(ENODEV, Step::create_interface, "made again"));
}

TEST_CASE("a launch waits for who makes or removes the bridge, and blocks nobody", "[nat][.root]") {
  const TempRoot root;
  OwnNetwork net;
  const Runtime own = own_runtime();
  { Container first = need(own.launch(payload(root, {"exit"}))); }
  struct stat here {};
  must(::stat("/proc/thread-self/ns/net", &here) == 0, "stat");
  Fd held(::open(fmt::format("{}/bridge.nat0.{}", state_dir(), here.st_ino).c_str(),
                 O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  struct flock maker {};
  maker.l_type = F_WRLCK;
  maker.l_start = maker.l_len = 1;
  must(::fcntl(held.get(), F_OFD_SETLK, &maker) == 0, "lock");
  Launch launch = need(own.start(need(compile(at_nat(root, {"exit"}), facts())), {}));
  for (int n = 0; n < 10; ++n) {
    CHECK_FALSE(need(launch.step()).has_value());
    CHECK((launch.timeout() >= 0 && launch.timeout() < 100));
    (void)::poll(nullptr, 0, launch.timeout());
  }
  CHECK_FALSE(net.has("nat0"));
  {
    // One that waited and was given up is in nobody's way.
    Launch given_up = std::move(launch);
    CHECK_FALSE(need(given_up.step()).has_value());
  }
  launch = need(own.start(
      need(compile(on_network(root, at_bridge({"10.210.0.0/24"_prefix}), {"exit"}), facts())), {}));
  CHECK_FALSE(need(launch.step()).has_value());
  held.reset();
  std::optional<Container> box;
  while (!(box = need(launch.step()))) {
    pollfd p{launch.interest().fd.get(), launch.interest().events, 0};
    (void)::poll(&p, 1, launch.timeout());
  }
  CHECK(wait(*box).success());
}

TEST_CASE("the next life has a bridge of our own, too, when the zygote was killed",
          "[nat][.root]") {
  const TempRoot root;
  World world;
  const Runtime own = own_runtime();
  Spec spec = at_nat(root, {});
  spec.network.publish = {{.host_port = 8080, .port = 7, .protocol = PublishedPort::udp}};
  spec.lifecycle = {.restart = Restart::always, .restart_limit = 1};
  Server server(spec, ways[1], "0.0.0.0"_ip, 99, own);
  must(::kill(own.zygote_pid().value, SIGKILL) == 0, "kill");
  for (int i = 0; i < 500 * slow() && server.box.restarts() == 0; ++i)
    CHECK_FALSE(need(server.box.wait_for(10ms)).has_value());
  REQUIRE(server.box.restarts() == 1);
  std::string said;
  for (int i = 0; i < 20 * slow() && !said.ends_with(": x\n"); ++i)
    said = OnHost({"call", "udp", "198.51.100.1", "8080", "x", "200"}).end();
  CHECK(said.ends_with(": x\n"));
}

TEST_CASE("many containers at a bridge of our own at once", "[nat][.root]") {
  const TempRoot root;
  OwnNetwork net;
  constexpr unsigned programs = 2, threads = 2, each = 50;
  const AllDescriptors files;
  {
    const std::array runtimes{own_runtime(), own_runtime()};
    std::mutex mutex;
    std::set<IpPrefix> given;
    std::string why;
    {
      std::vector<std::jthread> all;
      for (unsigned t = 0; t < programs * threads; ++t)
        all.emplace_back([&, t] {
          net.enter();
          std::vector<Container> boxes;
          for (unsigned n = 0; n < each; ++n) {
            auto box = runtimes[t % programs].launch(at_nat(root, {"pause"}));
            const std::lock_guard lock(mutex);
            if (!box) {
              why = to_string(box.error());
              return;
            }
            for (const IpPrefix& p : box->addresses()) given.insert(p);
            boxes.push_back(std::move(*box));
          }
          // Nobody's is given back before the last one has his.
          for (;;) {
            {
              const std::lock_guard lock(mutex);
              if (given.size() >= std::size_t{2} * programs * threads * each || !why.empty()) break;
            }
            std::this_thread::sleep_for(1ms);
          }
          for (Container& box : boxes) (void)box.kill();
        });
    }
    INFO(why);
    CHECK(given.size() == std::size_t{2} * programs * threads * each);
  }
  CHECK(net.soon({"lo"}));
  CHECK(tables() == 0);
}

TEST_CASE("what comes with a container at a bridge is the container", "[nat][.root]") {
  const TempRoot root;
  OwnNetwork net;
  const Runtime own = own_runtime();
  const pid_t zygote = own.zygote_pid().value;
  const auto ours = children_of(::getpid());
  REQUIRE(children_of(zygote).empty());
  Spec published = at_nat(root, {"pause"});
  published.network.publish = {{.host_port = 8080, .port = 7}};
  std::vector<Container> boxes;
  boxes.push_back(need(own.launch(published)));
  for (int i = 0; i < 2; ++i) boxes.push_back(need(own.launch(at_nat(root, {"pause"}))));
  std::set<pid_t> wanted;
  for (const Container& box : boxes) wanted.insert(box.pid().value);
  const auto there = children_of(zygote);
  CHECK(std::set<pid_t>(there.begin(), there.end()) == wanted);
  CHECK(children_of(::getpid()) == ours);
}

TEST_CASE("whoever dies, nothing of a bridge of our own stays", "[nat][.root]") {
  const TempRoot root;
  OwnNetwork net;
  (void)state_dir();
  Spec spec = at_nat(root, {"pause"});
  spec.network.publish = {{.host_port = 8080, .port = 7}};
  // A host that is killed before each of its ops that have to do with it, and with all done.
  const Plan plan = need(compile(spec, facts()));
  std::vector<std::optional<std::size_t>> moments{std::nullopt};
  for (std::size_t i = 0; i < plan.ops.size(); ++i)
    if (std::holds_alternative<op::CreateInterface>(plan.ops[i]) ||
        std::holds_alternative<op::PublishPorts>(plan.ops[i]) ||
        std::holds_alternative<op::ConfigureInterface>(plan.ops[i]))
      moments.emplace_back(i);
  REQUIRE(moments.size() == 4);
  for (const auto& moment : moments) {
    INFO((moment ? describe(plan.ops[*moment]) : "all done"));
    int ends[2];
    must(::pipe2(ends, O_CLOEXEC) == 0, "pipe");
    const Fd out(ends[0]);
    Fd in(ends[1]);
    Forked host([&] {
      const Runtime own = own_runtime();
      LaunchOptions options;
      options.stop_before = moment;
      auto launch = must(own.start(plan, options));
      std::optional<Container> box;
      while (!box && !launch.stopped()) {
        box = must(launch.step());
        pollfd p{launch.interest().fd.get(), launch.interest().events, 0};
        if (!box && !launch.stopped()) (void)::poll(&p, 1, launch.timeout());
      }
      write_to(in, fmt::format("zygote {}\n", own.zygote_pid().value));
      ::pause();
      return 0;
    });
    in.reset();
    read_until(out, "\n");
    CHECK(net.has("nat0"));
    ::kill(host.pid(), SIGKILL);
    (void)host.wait();
    CHECK(net.soon({"lo"}));
    for (int i = 0; i < 1000 * slow() && !(tables() == 0 && entries_of(state_dir()).empty()); ++i)
      std::this_thread::sleep_for(10ms);
    CHECK(tables() == 0);
    CHECK(entries_of(state_dir()).empty());
  }
  SECTION("the zygote is killed") {
    const Runtime own = own_runtime();
    Container box = need(own.launch(spec));
    must(::kill(own.zygote_pid().value, SIGKILL) == 0, "kill");
    (void)wait(box);
    Container next = need(own.launch(spec));
    CHECK(next.addresses() ==
          std::vector<IpPrefix>{"10.209.0.2/20"_prefix, "fd63:6e64:726f::2/64"_prefix});
    CHECK(tables() == 2);
  }
  CHECK(net.soon({"lo"}));
}

TEST_CASE("of who was killed together with his zygote the next one removes the bridge",
          "[nat][.root]") {
  const TempRoot root;
  OwnNetwork net;
  (void)state_dir();
  int ends[2];
  must(::pipe2(ends, O_CLOEXEC) == 0, "pipe");
  const Fd out(ends[0]);
  Fd in(ends[1]);
  Forked host([&] {
    const Runtime own = own_runtime();
    const Container box = must(own.launch(at_nat(root, {"pause"})));
    write_to(in, fmt::format("{}\n", own.zygote_pid().value));
    ::pause();
    return 0;
  });
  in.reset();
  const pid_t zygote = std::stoi(read_until(out, "\n"));
  // It is ours also after the state directory was moved away with all that is in it.
  const bool moved = GENERATE(false, true);
  must(::kill(zygote, SIGSTOP) == 0, "stop");
  must(::kill(host.pid(), SIGKILL) == 0, "kill");
  (void)host.wait();
  must(::kill(zygote, SIGKILL) == 0, "kill");
  for (int i = 0; i < 1000 * slow() && tables() != 0; ++i) std::this_thread::sleep_for(10ms);
  CHECK(tables() == 0);
  CHECK(net.has("nat0"));
  // Its locks go when all of it does.
  for (int i = 0; i < 1000 * slow() && is_alive(zygote); ++i) std::this_thread::sleep_for(10ms);
  const std::string old = state_dir() + ".old";
  if (moved) must(::rename(state_dir().c_str(), old.c_str()) == 0, "rename");
  {
    const Runtime next = own_runtime();
    if (moved) {
      Container box = need(next.launch(at_nat(root, {"exit"})));
      CHECK(wait(box).success());
    }
  }
  CHECK(net.soon({"lo"}));
  if (moved) std::filesystem::remove_all(old);
  CHECK(entries_of(state_dir()).empty());
  (void)::rmdir(state_dir().c_str());  // it was there before that one
}

TEST_CASE("a bridge of our own that cannot be had is one error", "[nat][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.bridge("nat0", {"10.77.0.1/24"_prefix});
  {
    const Runtime own = own_runtime();
    CHECK_THAT(failure_of(own.launch(at_nat(root, {"exit"}))),
               FailsWith(EEXIST, Step::create_bridge, "'nat0'"));
  }
  CHECK(net.soon({"lo", "nat0"}));
  CHECK(entries_of(state_dir()).empty());
  net.remove("nat0");
  // It stays that of whoever is left.
  std::optional<Runtime> first(own_runtime()), second(own_runtime());
  Container a = need(first->launch(at_nat(root, {"pause"})));
  Container b = need(second->launch(at_nat(root, {"pause"})));
  CHECK(a.addresses() != b.addresses());
  need(a.kill());
  (void)wait(a);
  { const Container gone = std::move(a); }
  first.reset();
  CHECK(net.has("nat0"));
  CHECK(tables() == 1);
}

TEST_CASE("who goes takes nobody else's bridge along", "[nat][.root]") {
  const TempRoot root;
  OwnNetwork net;
  (void)state_dir();
  const Spec spec = at_nat(root, {"pause"});
  const auto come_and_go = [&] {
    Forked program([&] {
      for (;;) {
        const Runtime own = own_runtime();
        const Container box = must(own.launch(spec));
      }
    });
    return program;
  };
  const Forked first = come_and_go(), second = come_and_go();
  for (int i = 0; i < 60; ++i) {
    const Runtime own = own_runtime();
    const Container box = need(own.launch(spec));
    const std::uint32_t index = net.look("nat0").index;
    REQUIRE(index != 0);
    for (int n = 0; n < 10; ++n) {
      std::this_thread::sleep_for(2ms);
      REQUIRE(net.look("nat0").index == index);
    }
  }
}

TEST_CASE("many ports of one container are published at once", "[nat][.root]") {
  const TempRoot root;
  World world;
  {
    const Runtime own = own_runtime();
    Spec spec = at_nat(root, {});
    for (std::uint16_t n = 0; n < 200; ++n)
      spec.network.publish.push_back(
          {.host_port = static_cast<std::uint16_t>(8000 + n), .port = 7});
    Server server(spec, ways[0], "0.0.0.0"_ip, 2, own);
    CHECK(tables() == 2);
    for (const char* port : {"8000", "8199"})
      CHECK(world.call_from_outside(ways[0], "198.51.100.1", port) ==
            answer("198.51.100.2"_ip, "x"));
  }
  CHECK(tables() == 0);
}

TEST_CASE("the host's loopback is nobody else's", "[nat][.root]") {
  const TempRoot root;
  World world;
  const Runtime own = own_runtime();
  Spec spec = at_nat(root, {"pause"});
  spec.network.publish = {{.host_port = 8080, .port = 7}};
  const Container box = need(own.launch(spec));
  OnHost service({"serve", "tcp", "127.0.0.1", "7777", "1"});
  service.wait_for("ready=1\n");
  // Another port of the bridge, and the world outside, where 127.0.0.0/8 is a network like others.
  OwnNetwork at_port;
  world.host.enter();
  world.host.cable("port0", at_port, "eth0", "nat0");
  world.host.set_up("port0", {});
  const auto is_deaf = [&](OwnNetwork& from, const std::string& name,
                           std::vector<IpPrefix> addresses, IpAddress gateway) {
    from.enter();
    from.take_down("lo");
    from.apply({.name = name,
                .addresses = std::move(addresses),
                .routes = {{.to = "127.0.0.0/8"_prefix, .via = gateway}}});
    std::ofstream("/proc/sys/net/ipv4/conf/" + name + "/route_localnet") << "1";
    OnHost caller({"call", "tcp", "127.0.0.1", "7777", "x", "500"});
    world.host.enter();
    CHECK(caller.end() == "connect=ETIMEDOUT\n");
  };
  is_deaf(at_port, "eth0", {"10.209.0.99/20"_prefix}, "10.209.0.1"_ip);
  is_deaf(*world.outside, "wan0", {}, "198.51.100.1"_ip);
  CHECK(OnHost({"call", "tcp", "127.0.0.1", "7777", "x"}).end() == answer("127.0.0.1"_ip, "x"));
}

}  // namespace

#endif
