// Interfaces of containers, with real traffic: between host and container and between containers,
// in network namespaces that the tests make themselves.
#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "condroid/attach.hpp"
#include "condroid/sys/namespace.hpp"
#include "containers.hpp"
#include "launch/ports.hpp"
#include "networks.hpp"
#include "program/interface_requests.hpp"
#include "sys/netlink.hpp"
#include "sys/netlink_message.hpp"

#if CONDROID_LIBNL

namespace {

using namespace condroid;
using namespace condroid::literals;
using namespace condroid::test;
using namespace std::chrono_literals;
using detail::NetlinkMessage;

Interface bridged(const std::string& bridge, unsigned number) {
  return {.link = Veth{.bridge = bridge},
          .addresses = {*IpPrefix::parse(fmt::format("10.77.0.{}/24", number)),
                        *IpPrefix::parse(fmt::format("fd77::{:x}/64", number))}};
}

/// Traffic both ways between two containers and, where it is reached from them, the host: 10.77.0.1
/// and fd77::1. Each pair has the addresses of the one before, unless they are to be `fresh`.
void talk(const TempRoot& root, const Interface::Link& link, bool with_host, bool fresh) {
  unsigned number = 2;
  for (const Way& way : ways) {
    INFO(way.protocol << (way.v6 ? " v6" : " v4"));
    Interface a = bridged("", number), b = bridged("", number + 1);
    a.link = b.link = link;
    if (fresh) number += 2;
    const std::size_t which = way.v6 ? 1 : 0;
    const IpAddress of_a = a.addresses[which].address, of_b = b.addresses[which].address;
    const IpAddress host = way.v6 ? "fd77::1"_ip : "10.77.0.1"_ip;
    Server server(on_network(root, a, {}), way, of_a, with_host ? 2 : 1);
    CHECK(run(on_network(root, b, {"call", way.protocol, to_string(of_a), "7", "hello"}))
              .exit()
              .out == answer(of_b, "hello"));
    if (with_host) {
      CHECK(OnHost({"call", way.protocol, to_string(of_a), "7", "from outside"}).end() ==
            answer(host, "from outside"));
      OnHost there({"serve", way.protocol, to_string(host), "8", "1"});
      there.wait_for("ready=1\n");
      CHECK(
          run(on_network(root, b, {"call", way.protocol, to_string(host), "8", "hi"})).exit().out ==
          answer(of_b, "hi"));
      there.end();
    }
    const Exit end = wait(server.box);
    INFO(fmt::format("{}: {}", end, read_all(server.out)));
    CHECK(end.success());
  }
}

constexpr std::array hosts{"10.77.0.1", "fd77::1"};

/// From the host to a container that serves twice, and from there to the host, at `here`.
void talk_with_host(Server& server, const Way& way, const IpAddress& of_it, const IpAddress& here) {
  INFO(way.protocol << (way.v6 ? " v6" : " v4"));
  CHECK(OnHost({"call", way.protocol, to_string(of_it), "7", "in"}).end() == answer(here, "in"));
  OnHost there({"serve", way.protocol, to_string(here), "8", "1"});
  there.wait_for("ready=1\n");
  Attach call;
  call.process.argv = {"/bin/payload", "call", way.protocol, to_string(here), "8", "out"};
  call.process.stdio = Stdio::capture;
  Task out = need(server.box.attach(call));
  CHECK(need(out.wait()).out == answer(of_it, "out"));
  there.end();
  CHECK(OnHost({"call", way.protocol, to_string(of_it), "7", "on"}).end() == answer(here, "on"));
  CHECK(wait(server.box).success());
}

/// By each protocol, each with a container and addresses of its own, to the host's at the other end
/// of a cable to the interface's parent.
void talk_with_network(const TempRoot& root, const Interface::Link& link) {
  unsigned number = 2;
  for (const Way& way : ways) {
    OwnNetwork net;
    net.pair("up0", "up1");
    net.set_up("up1", {"10.77.0.1/24"_prefix, "fd77::1/64"_prefix});
    Interface i = bridged("", number++);
    i.link = link;
    const std::size_t which = way.v6 ? 1 : 0;
    const IpAddress of_it = i.addresses[which].address;
    Server server(on_network(root, i, {}), way, of_it, 2);
    talk_with_host(server, way, of_it, *IpAddress::parse(hosts[which]));
    CHECK(net.soon({"lo", "up0", "up1"}));
  }
}

/// Nobody answers: half a second is enough where an answer takes less than a thousandth of it.
Exit in_vain(const TempRoot& root, const Interface& i, const char* address) {
  return launch_and_wait(on_network(root, i, {"call", "udp", address, "7", "x", "500"}));
}

TEST_CASE("containers on a bridge talk to each other and to the host", "[network][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.bridge("cbr0", {"10.77.0.1/24"_prefix, "fd77::1/64"_prefix});
  talk(root, Veth{.bridge = "cbr0"}, true, false);
  CHECK(net.soon({"lo", "cbr0"}));
}

TEST_CASE("a container without a bridge has a way to the host, and beyond by it",
          "[network][.root]") {
  const TempRoot root;
  OwnNetwork net;
  const Interface routed{
      .link = Veth{.host_addresses = {"10.77.1.1/32"_prefix, "fd77:1::1/128"_prefix}},
      .addresses = {"10.77.1.2/32"_prefix, "fd77:1::2/128"_prefix},
      .gateways = {"10.77.1.1"_ip, "fd77:1::1"_ip}};
  for (const Way& way : ways) {
    INFO(way.protocol << (way.v6 ? " v6" : " v4"));
    const IpAddress here = way.v6 ? "fd77:1::1"_ip : "10.77.1.1"_ip;
    const IpAddress there = way.v6 ? "fd77:1::2"_ip : "10.77.1.2"_ip;
    Server server(on_network(root, routed, {}), way, there, 2);
    talk_with_host(server, way, there, here);
    CHECK(net.soon({"lo"}));
  }
}

TEST_CASE("macvlans of one parent talk to each other", "[network][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.pair("up0", "up1");
  talk(root, Macvlan{.parent = "up0"}, false, true);
  Interface a = bridged("", 20), b = bridged("", 21);
  a.link = b.link = Macvlan{.parent = "up0", .mode = Macvlan::private_};
  Server server(on_network(root, a, {}), {"udp", false}, "10.77.0.20"_ip, 1);
  CHECK(in_vain(root, b, "10.77.0.20").out == "read=ETIMEDOUT\n");
  need(server.box.kill());
  (void)wait(server.box);
  CHECK(net.soon({"lo", "up0", "up1"}));
}

TEST_CASE("macvlans and what is lent talk to the network that they are on", "[network][.root]") {
  const TempRoot root;
  const auto mode = GENERATE(Macvlan::bridge, Macvlan::private_, Macvlan::vepa, Macvlan::passthru);
  CAPTURE(static_cast<int>(mode));
  talk_with_network(root, Macvlan{.parent = "up0", .mode = mode});
  if (mode == Macvlan::passthru) talk_with_network(root, Phys{.parent = "up0"});
}

TEST_CASE("what passes all of a parent through is the next one's as soon as it is free",
          "[long][network][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.pair("up0", "up1");
  Interface i = bridged("", 2);
  for (int n = 0; n < 10; ++n) {
    i.link = Macvlan{.parent = "up0", .mode = n % 3 == 0 ? Macvlan::bridge : Macvlan::passthru};
    CHECK(launch_and_wait(on_network(root, i, {"exit"})).success());
  }
  i.link = Macvlan{.parent = "up0", .mode = Macvlan::passthru};
  const Container box = launch(on_network(root, i, {"pause"}));
  CHECK_THAT(attempt(on_network(root, i, {"exit"})),
             FailsWith(EINVAL, Step::create_interface, "'eth0': macvlan"));
}

// Of kernels that have them: run.sh's stage vm.
TEST_CASE("a VLAN is the next one's as soon as it is free", "[network][.more_kernel]") {
  const TempRoot root;
  OwnNetwork net;
  net.pair("up0", "up1");
  Interface i = bridged("", 2);
  i.link = Vlan{.parent = "up0", .id = 7};
  for (int n = 0; n < 10; ++n) CHECK(launch_and_wait(on_network(root, i, {"exit"})).success());
  const Container box = launch(on_network(root, i, {"pause"}));
  CHECK_THAT(attempt(on_network(root, i, {"exit"})),
             FailsWith(EEXIST, Step::create_interface, "'eth0': vlan 7 above 'up0'"));
}

TEST_CASE("VLANs of one number talk to each other", "[network][.more_kernel]") {
  const TempRoot root;
  OwnNetwork net;
  net.pair("up0", "up1");
  unsigned number = 2;
  Interface a, b;
  for (const Way& way : ways) {
    INFO(way.protocol << (way.v6 ? " v6" : " v4"));
    a = bridged("", number), b = bridged("", number + 1);
    number += 2;
    a.link = Vlan{.parent = "up0", .id = 7};
    b.link = Vlan{.parent = "up1", .id = 7};
    const std::size_t which = way.v6 ? 1 : 0;
    const IpAddress of_a = a.addresses[which].address, of_b = b.addresses[which].address;
    Server at_a(on_network(root, a, {}), way, of_a, 1);
    CHECK(run(on_network(root, b, {"call", way.protocol, to_string(of_a), "7", "x"})).exit().out ==
          answer(of_b, "x"));
    CHECK(wait(at_a.box).success());
    Server at_b(on_network(root, b, {}), way, of_b, 1);
    CHECK(run(on_network(root, a, {"call", way.protocol, to_string(of_b), "7", "y"})).exit().out ==
          answer(of_a, "y"));
    CHECK(wait(at_b.box).success());
  }
  Server other(on_network(root, a, {}), {"udp", false}, a.addresses[0].address, 1);
  b.link = Vlan{.parent = "up1", .id = 8};
  CHECK(in_vain(root, b, to_string(a.addresses[0].address).c_str()).out == "read=ETIMEDOUT\n");
  need(other.box.kill());
  (void)wait(other.box);
}

TEST_CASE("ipvlans talk to each other", "[network][.more_kernel]") {
  const TempRoot root;
  OwnNetwork net;
  net.pair("up0", "up1");
  SECTION("layer 2") { talk(root, Ipvlan{.parent = "up0", .mode = Ipvlan::l2}, false, true); }
  SECTION("layer 3") { talk(root, Ipvlan{.parent = "up0"}, false, true); }
}

TEST_CASE("isolated ports reach the bridge and not each other", "[network][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.bridge("cbr0", {"10.77.0.1/24"_prefix});
  Interface a = bridged("cbr0", 2), b = bridged("cbr0", 3);
  a.link = b.link = Veth{.bridge = "cbr0", .isolated = true};
  Server server(on_network(root, a, {}), {"udp", false}, "10.77.0.2"_ip, 1);
  CHECK(in_vain(root, b, "10.77.0.2").out == "read=ETIMEDOUT\n");
  CHECK(OnHost({"call", "udp", "10.77.0.2", "7", "x"}).end() == answer("10.77.0.1"_ip, "x"));
  CHECK(wait(server.box).success());
}

TEST_CASE("an interface is as the Spec says", "[network][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.bridge("cbr0");
  Spec spec = payload(root, {"interfaces"});
  spec.network.interfaces = {
      {.name = "lan",
       .link = Veth{.bridge = "cbr0", .host_name = "forlan"},
       .mac = "02:00:00:00:00:07"_mac,
       .mtu = 1400,
       .addresses = {"10.77.0.2/24"_prefix, "10.77.5.2/16"_prefix, "fd77::2/64"_prefix}},
      {.name = "idle", .link = Veth{}, .up = false}};
  const Report seen = run(spec);
  CHECK(seen["if.lo"] == "up");
  CHECK(seen["if.lan"] == "up");
  CHECK(seen["if.idle"] == "down");
  CHECK(seen.below("if.").size() == 3);
  const auto addresses = seen.all("address.lan");
  for (const char* a : {"10.77.0.2/24", "10.77.5.2/16", "fd77::2/64"})
    CHECK(std::ranges::find(addresses, a) != addresses.end());
  CHECK(seen.all("address.idle").empty());
  Spec quiet = payload(root, {"interfaces"});
  quiet.network.interfaces = {
      {.link = Veth{.bridge = "cbr0"}, .addresses = {"10.77.0.3/24"_prefix}}};
  Spec switched = quiet;
  switched.process.argv = {"/bin/payload", "read", "/proc/sys/net/ipv6/conf/eth0/disable_ipv6"};
  CHECK(run(switched)["/proc/sys/net/ipv6/conf/eth0/disable_ipv6"] == "1");
  CHECK(run(quiet).all("address.eth0") == std::vector<std::string>{"10.77.0.3/24"});

  spec.process.argv = {"/bin/payload", "pause"};
  Container box = launch(spec);
  CHECK(net.has("forlan"));
  CHECK(net.mtu("forlan") == 1400);
  CHECK(read_file(fmt::format("/proc/{}/net/if_inet6", box.pid().value)).find("fd77") !=
        std::string::npos);
  need(box.kill());
  CHECK(net.soon({"lo", "cbr0"}));
}

TEST_CASE("a container with an id map has interfaces, too", "[network][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.bridge("cbr0", {"10.77.0.1/24"_prefix});
  Spec spec = on_network(root, bridged("cbr0", 2), {});
  spec.idmap = {.kind = IdMap::ranges, .uids = {{0, 100000, 65536}}, .gids = {{0, 100000, 65536}}};
  Server server(spec, ways[0], "10.77.0.2"_ip, 1);
  CHECK(OnHost({"call", "tcp", "10.77.0.2", "7", "x"}).end() == answer("10.77.0.1"_ip, "x"));
  CHECK(wait(server.box).success());
}

TEST_CASE("the next life has the network of the last", "[network][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.bridge("cbr0");
  Spec spec = on_network(root, bridged("cbr0", 2), {"lives", "3"});
  spec.network.interfaces[0].link = Veth{.bridge = "cbr0", .host_name = "same"};
  spec.lifecycle.restart = Restart::always;
  spec.lifecycle.restart_limit = 2;
  {
    Container box = launch(spec);
    (void)wait(box);
    CHECK(box.restarts() == 2);
  }
  CHECK(net.soon({"lo", "cbr0"}));
}

TEST_CASE("a connection that nobody answers for any more keeps no network",
          "[long][network][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.bridge("cbr0", {"10.77.0.1/24"_prefix});
  Spec spec = on_network(root, bridged("cbr0", 2), {});
  spec.network.interfaces[0].link = Veth{.bridge = "cbr0", .host_name = "itsend"};
  Server server(spec, ways[0], "10.77.0.2"_ip, 2);
  const Fd caller(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto to = detail::socket_address("10.77.0.2"_ip, 7);
  REQUIRE(::connect(caller.get(), to.get(), to.size) == 0);
  // What the kernel says for the container when it ends gets to nobody.
  net.take_down("itsend");
  need(server.box.kill());
  (void)wait(server.box);
  CHECK(net.soon({"lo", "cbr0"}));
}

TEST_CASE("an interface that cannot be made is one error, and nothing stays", "[network][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.bridge("cbr0");
  net.pair("up0", "up1");
  const std::set<std::string> before = net.links();
  const auto with = [&](Interface::Link link) {
    Interface i = bridged("", 2);
    i.link = std::move(link);
    return attempt(on_network(root, i, {"exit"}));
  };
  CHECK_THAT(with(Veth{.bridge = "none"}),
             FailsWith(ENODEV, Step::create_interface, "'eth0': veth at bridge 'none'"));
  CHECK_THAT(with(Veth{.bridge = "up0"}),
             FailsWith(Errc::unsupported, Step::create_interface, "'up0' is a veth"));
  CHECK_THAT(with(Veth{.bridge = "lo"}),
             FailsWith(Errc::unsupported, Step::create_interface, "'lo' is no bridge"));
  CHECK_THAT(with(Veth{.bridge = "cbr0", .host_name = "up1"}),
             FailsWith(EEXIST, Step::create_interface, "veth of 'up1'"));
  CHECK_THAT(with(Macvlan{.parent = "none"}),
             FailsWith(ENODEV, Step::create_interface, "macvlan (bridge) above 'none'"));
  CHECK_THAT(with(Macvlan{.parent = "lo"}),
             FailsWith(EINVAL, Step::create_interface, "macvlan (bridge) above 'lo'"));
  // The second one fails when the first one is there.
  Spec two = on_network(root, bridged("cbr0", 2), {"exit"});
  two.network.interfaces.push_back({.name = "eth1", .link = Veth{.bridge = "none"}});
  CHECK_THAT(attempt(two), FailsWith(ENODEV, Step::create_interface, "'eth1'"));
  // The kernel's own objections, with what it was about.
  Spec route = on_network(root, bridged("cbr0", 2), {"exit"});
  route.network.interfaces[0].routes = {{.to = "10.77.0.0/24"_prefix},
                                        {.to = "10.77.0.0/24"_prefix}};
  CHECK_THAT(attempt(route),
             FailsWith(EEXIST, Step::configure_interface, "'eth0': route to 10.77.0.0/24"));
  CHECK(net.soon(before));
}

TEST_CASE("an address that is asked about can be used at once, or is somebody's",
          "[network][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.bridge("cbr0");
  Interface mine = bridged("cbr0", 2);
  mine.duplicate_address_detection = true;
  // An address that is asked about yet cannot be bound to.
  Server server(on_network(root, mine, {}), {"udp", true}, "fd77::2"_ip, 1);
  CHECK_THAT(attempt(on_network(root, mine, {"exit"})),
             FailsWith(EADDRINUSE, Step::await_interface, "'eth0': address fd77::2"));
  need(server.box.kill());
  (void)wait(server.box);
}

TEST_CASE("an interface is waited for until it is ready", "[network][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.bridge("cbr0");
  Interface ready = bridged("cbr0", 2);
  ready.ready_within = 10s * slow();
  const Report seen = run(on_network(root, ready, {"interfaces"}));
  // The link-local one is made by the kernel once there is a carrier.
  CHECK(std::ranges::any_of(seen.all("address.eth0"),
                            [](const std::string& a) { return a.starts_with("fe80::"); }));
  net.pair("up0", "up1");
  net.take_down("up1");
  Interface idle = bridged("", 3);
  idle.link = Macvlan{.parent = "up0"};
  idle.ready_within = 200ms;
  CHECK_THAT(attempt(on_network(root, idle, {"exit"})),
             FailsWith(ETIMEDOUT, Step::await_interface, "'eth0': carrier"));
}

TEST_CASE("what becomes of a container's interfaces is told", "[network][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.bridge("cbr0");
  Spec spec = on_network(root, bridged("cbr0", 2), {"pause"});
  spec.network.interfaces[0].link = Veth{.bridge = "cbr0", .host_name = "itsend"};
  Container box = launch(spec);
  Watch watch = need(box.watch({.interfaces = true}));
  std::vector<std::string> told;
  const auto until = [&](const std::string& text) {
    for (;;) {
      const auto event = need(watch.next());
      if (!event) {
        pollfd p{watch.poll_fd().get(), POLLIN, 0};
        if (::poll(&p, 1, 5000 * slow()) != 1) return false;
        continue;
      }
      told.push_back(fmt::format("{} {}{}", to_string(event->kind), event->interface,
                                 event->address ? " " + to_string(*event->address) : ""));
      if (told.back() == text) return true;
    }
  };
  CHECK(until("address added eth0 fd77::2/64"));
  for (const char* text : {"link up lo", "link up eth0", "address added lo 127.0.0.1/8",
                           "address added eth0 10.77.0.2/24"})
    CHECK(std::ranges::find(told, text) != told.end());
  net.take_down("itsend");
  CHECK(until("link down eth0"));
  net.set_up("itsend", {});
  CHECK(until("link up eth0"));
  need(box.move_interface_out("eth0", "back"));
  CHECK(until("link removed eth0"));
  need(box.kill());
  CHECK(until("ended "));
  CHECK(watch.done());
  CHECK(std::ranges::count(told, "link up eth0") == 2);
}

TEST_CASE("the stats have what went through a container's interfaces", "[network][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.bridge("cbr0", {"10.77.0.1/24"_prefix});
  constexpr int times = 20;
  Server server(on_network(root, bridged("cbr0", 2), {}), {"udp", false}, "10.77.0.2"_ip,
                times + 1);
  const StatsReader reader = need(server.box.stats_reader({.interfaces = true}));
  Stats before, after;
  CHECK(need(reader.read(before)));
  REQUIRE(before.interface_count == 2);
  CHECK(before.interfaces[0].name_view() == "lo");
  REQUIRE(before.interfaces[1].name_view() == "eth0");
  for (int i = 0; i < times; ++i)
    (void)OnHost({"call", "udp", "10.77.0.2", "7", "0123456789"}).end();
  CHECK(need(reader.read(after)));
  const auto& a = before.interfaces[1];
  const auto& b = after.interfaces[1];
  CHECK(b.rx_packets - a.rx_packets >= times);
  CHECK(b.tx_packets - a.tx_packets >= times);
  CHECK(b.rx_bytes - a.rx_bytes >= times * (10 + 28));
  CHECK(b.tx_errors == 0);
  need(server.box.kill());
  (void)wait(server.box);
  CHECK_FALSE(need(reader.read(after)));
}

TEST_CASE("an interface that goes away while the container is made", "[network][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.bridge("cbr0");
  Spec spec = on_network(root, bridged("cbr0", 2), {"exit"});
  spec.network.interfaces[0].link = Veth{.bridge = "cbr0", .host_name = "goes"};
  LaunchOptions options;
  options.on_event = [&](const LaunchEvent& event) -> Result<void> {
    if (event.kind == LaunchEvent::configured) net.remove("goes");
    return {};
  };
  CHECK_THAT(attempt(spec, options), FailsWith(ENODEV, Step::configure_interface, "'eth0'"));
  CHECK(net.soon({"lo", "cbr0"}));
}

TEST_CASE("many containers on one bridge at once", "[network][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.bridge("cbr0", {"10.77.0.1/16"_prefix});
  const AllDescriptors limit;  // each takes five, and 1024 are not enough then
  constexpr unsigned threads = 4, each = 50;
  std::atomic<unsigned> good = 0;
  std::array<std::string, threads> said;
  {
    std::vector<std::jthread> all;
    for (unsigned t = 0; t < threads; ++t)
      all.emplace_back([&, t] {
        net.enter();
        std::vector<Container> boxes;
        for (unsigned n = 0; n < each; ++n) {
          Interface i = bridged("cbr0", 2);
          i.addresses = {*IpPrefix::parse(fmt::format("10.77.{}.{}/16", t + 1, n + 1))};
          auto box = runtime().launch(on_network(root, i, {"pause"}));
          if (!box) said[t] = to_string(box.error());
          if (!box) return;
          boxes.push_back(std::move(*box));
        }
        good += each;
        for (Container& box : boxes) (void)box.kill();
      });
  }
  INFO(fmt::format("{}", fmt::join(said, "\n")));
  CHECK(good == threads * each);
  CHECK(net.soon({"lo", "cbr0"}));
}

TEST_CASE("two hundred launches are on their way to one bridge at once", "[network][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.bridge("cbr0", {"10.77.0.1/16"_prefix});
  const AllDescriptors limit;
  std::vector<Launch> launches;
  for (unsigned n = 0; n < 200; ++n) {
    Interface i = bridged("cbr0", 2);
    i.addresses = {*IpPrefix::parse(fmt::format("10.77.1.{}/16", n + 1))};
    launches.push_back(
        need(runtime().start(on_network(root, i, {"pause"}), {.deadline = 60s * slow()})));
  }
  std::vector<Container> boxes;
  std::size_t at_first = 0;
  for (;;) {
    std::vector<Launch> left;
    for (Launch& launch : launches) {
      if (auto box = need(launch.step()))
        boxes.push_back(std::move(*box));
      else
        left.push_back(std::move(launch));
    }
    launches = std::move(left);
    if (at_first == 0) at_first = launches.size();
    if (launches.empty()) break;
    std::vector<pollfd> all;
    int least = 1000;
    for (const Launch& launch : launches) {
      all.push_back({launch.interest().fd.get(), launch.interest().events, 0});
      if (const int ms = launch.timeout(); ms >= 0) least = std::min(least, ms);
    }
    (void)::poll(all.data(), all.size(), least);
  }
  CHECK(at_first > 150);
  CHECK(boxes.size() == 200);
  for (Container& box : boxes) need(box.kill());
  for (Container& box : boxes) (void)wait(box);
  CHECK(net.soon({"lo", "cbr0"}));
}

std::shared_ptr<const Plan> plan_of(const Spec& spec) {
  return std::make_shared<const Plan>(need(condroid::compile(spec, facts())));
}
/// In the network namespace of a container, by this thread.
template <class F>
auto inside(const Container& box, F look) {
  const Fd here(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  const Fd there(
      ::open(fmt::format("/proc/{}/ns/net", box.pid().value).c_str(), O_RDONLY | O_CLOEXEC));
  must(::setns(there.get(), CLONE_NEWNET) == 0, "setns");
  int error = 0;
  const Fd socket = detail::open_netlink(error);
  auto found = look(socket);
  must(::setns(here.get(), CLONE_NEWNET) == 0, "setns");
  return found;
}

// ---- interfaces of the host --------------------------------------------------------------------

void add_name(FdView socket, std::uint32_t index, const std::string& name) {
  ifinfomsg head{};
  head.ifi_index = static_cast<int>(index);
  NetlinkMessage m(108 /* RTM_NEWLINKPROP */, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, head);
  {
    const auto list = m.nest(52 /* IFLA_PROP_LIST */);
    m.put(53 /* IFLA_ALT_IFNAME */, name);
  }
  m.set_sequence(1);
  must(detail::ask_netlink(socket, m.bytes(), 1).error == 0, "another name");
}

/// Its end of a cable as it was, however it was left.
void check_home(const OwnNetwork& net, const detail::FoundInterface& before) {
  REQUIRE(net.soon({"lo", "up0", "up1"}));
  const auto after = net.look("up0");
  CHECK(after.mtu == before.mtu);
  CHECK(after.mac == before.mac);
  CHECK(after.index == before.index);
}

Interface lent() {
  Interface i = bridged("", 2);
  i.link = Phys{.parent = "up0"};
  i.mtu = 1400;
  i.mac = "02:00:00:00:00:09"_mac;
  return i;
}

TEST_CASE("an interface of the host is lent and comes home", "[network][phys][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.pair("up0", "up1");
  net.set_up("up1", {"10.77.0.1/24"_prefix, "fd77::1/64"_prefix});
  const auto before = net.look("up0");
  for (const Way& way : ways) {
    INFO(way.protocol << (way.v6 ? " v6" : " v4"));
    const IpAddress there = way.v6 ? "fd77::2"_ip : "10.77.0.2"_ip;
    Server server(on_network(root, lent(), {}), way, there, 1);
    CHECK_FALSE(net.has("up0"));
    CHECK(inside(server.box, [](const Fd& s) { return detail::find_interface(s, "eth0").mtu; }) ==
          1400);
    CHECK(OnHost({"call", way.protocol, to_string(there), "7", "in"}).end() ==
          answer(way.v6 ? "fd77::1"_ip : "10.77.0.1"_ip, "in"));
    const Exit end = wait(server.box);
    CHECK(end.success());
    CHECK(end.cleanup_errors.empty());
    CHECK(net.has("up0"));  // at once
    check_home(net, before);
  }
  SECTION("each life has it") {
    Spec spec = on_network(root, lent(), {"lives", "3"});
    spec.lifecycle.restart = Restart::always;
    spec.lifecycle.restart_limit = 2;
    Container box = launch(spec);
    const Exit end = wait(box);
    CHECK(box.restarts() == 2);
    CHECK(end.cleanup_errors.empty());
    CHECK(net.has("up0"));
  }
  SECTION("asked for by another name of its") {
    int error = 0;
    add_name(detail::open_netlink(error), before.index, "enp0s9");
    Interface i = lent();
    i.link = Phys{.parent = "enp0s9"};
    Container box = launch(on_network(root, i, {"pause"}));
    CHECK_FALSE(net.has("up0"));
    need(box.kill());
    CHECK(wait(box).cleanup_errors.empty());
    check_home(net, before);
  }
  SECTION("with an id map, and changed inside") {
    Spec spec = on_network(root, lent(), {"pause"});
    spec.idmap = {
        .kind = IdMap::ranges, .uids = {{0, 100000, 65536}}, .gids = {{0, 100000, 65536}}};
    Container box = launch(spec);
    inside(box, [](const Fd& s) {
      ifinfomsg head{};
      head.ifi_index = static_cast<int>(detail::find_interface(s, "eth0").index);
      head.ifi_change = IFF_UP;  // before Linux 6.2 one that is up keeps its name
      NetlinkMessage down(RTM_NEWLINK, NLM_F_ACK, head);
      down.set_sequence(1);
      must(detail::ask_netlink(s, down.bytes(), 1).error == 0, "down");
      NetlinkMessage m(RTM_NEWLINK, NLM_F_ACK, head);
      m.put(IFLA_MTU, std::uint32_t{1300});
      m.put(IFLA_IFNAME, "another");
      m.set_sequence(1);
      must(detail::ask_netlink(s, m.bytes(), 1).error == 0, "rename");
      return 0;
    });
    need(box.kill());
    CHECK(wait(box).cleanup_errors.empty());
  }
  SECTION("nobody in the container can send to who brings it home") {
    Container box = launch(on_network(root, lent(), {"pause"}));
    int sockets = 0;
    inside(box, [&](const Fd& s) {
      std::ifstream all("/proc/thread-self/net/netlink");
      std::string line, address;
      for (std::getline(all, line); std::getline(all, line);) {
        int protocol = 0;
        sockaddr_nl to{};
        std::istringstream(line) >> address >> protocol >> to.nl_pid;
        if (protocol != NETLINK_ROUTE || to.nl_pid == 0) continue;
        to.nl_family = AF_NETLINK;
        ++sockets;
        CHECK(::sendto(s.get(), "x", 1, 0, reinterpret_cast<sockaddr*>(&to), sizeof to) < 0);
        CHECK(errno == ECONNREFUSED);
      }
      return 0;
    });
    CHECK(sockets == 2);  // that one, and our own
    need(box.kill());
    CHECK(wait(box).cleanup_errors.empty());
  }
  SECTION("its name is taken") {
    Container box = launch(on_network(root, lent(), {"pause"}));
    net.bridge("up0");
    need(box.kill());
    const Exit end = wait(box);
    REQUIRE(end.cleanup_errors.size() == 1);
    CHECK(end.cleanup_errors[0].find("return interface: 'up0' is back as 'phys") !=
          std::string::npos);
    CHECK(net.links().size() == 4);
    return;
  }
  SECTION("somebody at home is called as its other names are") {
    Container box = launch(on_network(root, lent(), {"pause"}));
    net.bridge("taken0");
    const auto inside = need(NamespaceFd::open(box.pid(), Namespace::net));
    std::thread([&] {
      must(::setns(inside.fd().get(), CLONE_NEWNET) == 0, "setns");
      int error = 0;
      const Fd socket = detail::open_netlink(error);
      const std::uint32_t index = detail::find_interface(socket, "eth0").index;
      // More than fits into one message.
      for (int n = 0; n < 100; ++n)
        add_name(socket, index, n == 50 ? "taken0" : std::string(100, 'x') + fmt::format("{}", n));
    }).join();
    need(box.kill());
    CHECK(wait(box).cleanup_errors.empty());
    net.remove("taken0");
  }
  SECTION("the launch fails, or is given up at any op") {
    Spec spec = on_network(root, lent(), {"exit"});
    const auto plan = plan_of(spec);
    std::size_t first = 0;
    while (!std::holds_alternative<condroid::op::CreateInterface>(plan->ops[first])) ++first;
    for (std::size_t i = first; i < plan->ops.size(); ++i) {
      INFO(describe(plan->ops[i]));
      Launch launch = need(runtime().start(plan, {.stop_before = i}));
      must(drive(launch).has_value() && launch.stopped(), "stop");
      CHECK(net.has("up0") == (i == first));
      if (i % 2 == 0) must(::kill(launch.pid().value, SIGKILL) == 0, "kill");
      if (i % 3 == 0) launch.cancel();
      { const Launch gone = std::move(launch); }
      check_home(net, before);
    }
    spec.network.interfaces.push_back({.name = "eth1", .link = Veth{.bridge = "none"}});
    CHECK_THAT(attempt(spec), FailsWith(ENODEV, Step::create_interface, "'eth1'"));
  }
  SECTION("there is none, it is a port, or another container's") {
    Interface i = lent();
    i.link = Phys{.parent = "none"};
    CHECK_THAT(attempt(on_network(root, i, {"exit"})),
               FailsWith(ENODEV, Step::create_interface, "'eth0': the host's 'none'"));
    Container box = launch(on_network(root, lent(), {"pause"}));
    CHECK_THAT(attempt(on_network(root, lent(), {"exit"})),
               FailsWith(ENODEV, Step::create_interface, "'eth0': the host's 'up0'"));
    need(box.kill());
    (void)wait(box);
  }
  check_home(net, before);
}

TEST_CASE("an interface of the host comes home whoever dies", "[network][phys][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.pair("up0", "up1");
  const auto before = net.look("up0");
  enum class Dies { host, zygote, init };
  const Dies dies = GENERATE(Dies::host, Dies::zygote, Dies::init);
  CAPTURE(static_cast<int>(dies));
  const auto plan = plan_of(on_network(root, lent(), {"pause"}));
  std::size_t create = 0;
  while (!std::holds_alternative<condroid::op::CreateInterface>(plan->ops[create])) ++create;
  // Right after the zygote knows of it, in the middle of the launch, and in the life after it.
  for (const std::size_t at : {create + 1, plan->ops.size() - 1, plan->ops.size()}) {
    INFO("op " << at);
    int ends[2], held[2];
    must(::pipe2(ends, O_CLOEXEC) == 0 && ::pipe2(held, O_CLOEXEC) == 0, "pipe");
    const Fd out(ends[0]), hold(held[0]);
    Fd in(ends[1]), go_on(held[1]);
    Forked host([&] {
      go_on.reset();
      LaunchOptions options;
      if (at < plan->ops.size()) options.stop_before = at;
      Launch launch = need(runtime().start(plan, options));
      auto made = drive(launch);
      const std::string said = made ? fmt::format("{} {}\n", runtime().zygote_pid().value,
                                                  *made ? (**made).pid().value : launch.pid().value)
                                    : to_string(made.error()) + "\n";
      must(::write(in.get(), said.data(), said.size()) > 0, "write");
      if (made && *made) {
        (void)wait(**made);
      } else {
        // A launch that went on would end, and with it what was lent: not before somebody has
        // looked.
        char c = 0;
        (void)!::read(hold.get(), &c, 1);
        launch.resume();
        (void)drive(launch, true);
      }
    });
    in.reset();
    const std::string said = read_until(out, "\n");
    INFO(said);
    REQUIRE(std::isdigit(said[0]));
    const int zygote = std::stoi(said), init = std::stoi(said.substr(said.find(' ')));
    REQUIRE_FALSE(net.has("up0"));
    if (dies == Dies::init) ::kill(init, SIGKILL);
    if (dies == Dies::zygote) ::kill(zygote, SIGKILL);
    if (dies == Dies::host) ::kill(host.pid(), SIGKILL);
    go_on.reset();
    check_home(net, before);
    (void)host.wait();
  }
}

// ---- taps and tuns -----------------------------------------------------------------------------

/// A tap or tun of this thread's network namespace, up.
Fd own_tap(OwnNetwork& net, const std::string& name, short flags) {
  Fd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = static_cast<short>(flags | IFF_NO_PI);
  must(fd.valid() && ::ioctl(fd.get(), TUNSETIFF, &request) == 0, "TUNSETIFF");
  net.set_up(name, {"10.77.0.1/24"_prefix, "fd77::1/64"_prefix});
  return fd;
}

/// Carries from one to the other until it goes.
class Carrier {
 public:
  Carrier(const Fd& a, const Fd& b)
      : thread_([&a, &b](const std::stop_token& stop) {
          while (!stop.stop_requested()) {
            std::array<pollfd, 2> both{{{a.get(), POLLIN, 0}, {b.get(), POLLIN, 0}}};
            (void)::poll(both.data(), both.size(), 20);
            char frame[4096];
            for (const auto& [from, to] : {std::pair(&a, &b), std::pair(&b, &a)})
              if (const ssize_t n = ::read(from->get(), frame, sizeof frame); n > 0)
                (void)!::write(to->get(), frame, static_cast<std::size_t>(n));
          }
        }) {}

 private:
  std::jthread thread_;
};

TEST_CASE("this program is the other end of a tap or tun", "[network][tap][.root]") {
  const TempRoot root;
  OwnNetwork net;
  const bool frames = GENERATE(true, false);
  CAPTURE(frames);
  const Fd here = own_tap(net, "here", frames ? IFF_TAP : IFF_TUN);
  Interface i = bridged("", 2);
  i.name = "emu0";
  i.mtu = 1400;
  if (frames) {
    i.link = Tap{};
    i.mac = "02:77:00:00:00:01"_mac;  // the host has heard of it the next time
  } else {
    i.link = Tun{};
  }
  for (const Way& way : ways) {
    INFO(way.protocol << (way.v6 ? " v6" : " v4"));
    const IpAddress there = way.v6 ? "fd77::2"_ip : "10.77.0.2"_ip;
    Server server(on_network(root, i, {}), way, there, 2);
    const Fd tap = server.box.take_tap("emu0");
    REQUIRE(tap.valid());
    CHECK_FALSE(server.box.take_tap("emu0").valid());
    const auto found =
        inside(server.box, [](const Fd& s) { return detail::find_interface(s, "emu0"); });
    CHECK(found.mtu == 1400);
    if (frames) CHECK(found.mac.starts_with("\x02\x77"));
    {
      const Carrier carrier(here, tap);
      talk_with_host(server, way, there, *IpAddress::parse(hosts[way.v6 ? 1 : 0]));
    }
  }
  CHECK(net.links() == std::set<std::string>{"lo", "here"});
}

// ---- what else a veth may be -------------------------------------------------------------------

TEST_CASE("ports of a bridge are in VLANs", "[network][vlans][.more_kernel]") {
  const TempRoot root;
  OwnNetwork net;
  net.bridge("cbr0", {}, true);
  Interface a = bridged("", 2), b = bridged("", 3), c = bridged("", 4);
  a.link = b.link = Veth{.bridge = "cbr0", .vlan_id = 5, .tagged = {6}};
  c.link = Veth{.bridge = "cbr0", .vlan_id = 6};
  Server server(on_network(root, a, {}), {"udp", false}, "10.77.0.2"_ip, 1);
  CHECK(in_vain(root, c, "10.77.0.2").out == "read=ETIMEDOUT\n");
  CHECK(run(on_network(root, b, {"call", "udp", "10.77.0.2", "7", "x"})).exit().out ==
        answer("10.77.0.3"_ip, "x"));
  CHECK(wait(server.box).success());
  net.bridge("plain");
  a.link = Veth{.bridge = "plain", .vlan_id = 5};
  CHECK_THAT(attempt(on_network(root, a, {"exit"})),
             FailsWith(Errc::unsupported, Step::create_interface,
                       "'eth0': veth at bridge 'plain': 'plain' does not tell VLANs apart"));
  CHECK(net.soon({"lo", "cbr0", "plain"}));
}

TEST_CASE("names, queues, gateways and broadcasts are as asked for", "[network][fields][.root]") {
  const TempRoot root;
  OwnNetwork net;
  net.bridge("cbr0", {"10.77.0.1/24"_prefix, "fd77::1/64"_prefix});
  Interface i = bridged("", 2);
  i.link = Veth{.bridge = "cbr0",
                .host_name = "of-box-%x%x%x%x",
                .host_routes = {"10.98.0.0/16"_prefix},
                .rx_queues = 2,
                .tx_queues = 3};
  i.mac_template = "0x:77:00:00:00:xx";
  i.broadcasts = {"10.77.0.99"_ip};
  i.gateway_auto = true;
  Interface cable{.name = "eth1",
                  .link = Veth{.host_name = "cable", .host_routes = {"10.99.0.0/16"_prefix}},
                  .addresses = {"10.78.0.2/24"_prefix},
                  .broadcasts = {"0.0.0.0"_ip}};
  Spec spec = on_network(root, i, {"pause"});
  spec.network.interfaces.push_back(cable);
  Container box = launch(spec);
  std::string end;
  for (const std::string& name : net.links())
    if (name.starts_with("of-box-")) end = name;
  CHECK(end.size() == 11);
  CHECK(end.find('%') == std::string::npos);
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  ifreq request{};
  end.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_data = reinterpret_cast<char*>(&channels);
  const Fd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  REQUIRE(::ioctl(any.get(), SIOCETHTOOL, &request) == 0);
  CHECK(channels.max_rx == 2);
  CHECK(channels.max_tx == 3);
  const auto mac = inside(box, [](const Fd& s) { return detail::find_interface(s, "eth0").mac; });
  CHECK(mac.substr(1, 4) == std::string("\x77\0\0\0", 4));
  CHECK((mac[0] & 0xf1) == 0);
  const auto of_box = [&](const char* file) {
    return read_file(fmt::format("/proc/{}/net/{}", box.pid().value, file));
  };
  CHECK(of_box("route").find("eth0\t00000000\t01004D0A") != std::string::npos);
  CHECK(of_box("ipv6_route").find("fd770000000000000000000000000001") != std::string::npos);
  CHECK(read_file("/proc/thread-self/net/route").find("cable\t0000630A") != std::string::npos);
  CHECK(read_file("/proc/thread-self/net/route").find(end + "\t0000620A") != std::string::npos);
  const auto broadcasts = inside(box, [](const Fd&) {
    std::map<std::string, std::uint32_t> found;
    ifaddrs* list = nullptr;
    must(::getifaddrs(&list) == 0, "getifaddrs");
    for (const ifaddrs* a = list; a != nullptr; a = a->ifa_next)
      if (a->ifa_addr != nullptr && a->ifa_addr->sa_family == AF_INET &&
          (a->ifa_flags & IFF_BROADCAST) != 0 && a->ifa_broadaddr != nullptr)
        found[a->ifa_name] =
            ntohl(reinterpret_cast<sockaddr_in*>(a->ifa_broadaddr)->sin_addr.s_addr);
    ::freeifaddrs(list);
    return found;
  });
  CHECK(broadcasts.at("eth0") == 0x0a4d0063U);
  need(box.kill());
  (void)wait(box);
  CHECK(net.soon({"lo", "cbr0"}));
  // Of one family alone; the other has none.
  for (const bool v6 : {false, true}) {
    Interface one = bridged("cbr0", 2);
    one.gateway_auto = true;
    one.gateways = {v6 ? "0.0.0.0"_ip : "::"_ip};
    box = launch(on_network(root, one, {"pause"}));
    CHECK((of_box("route").find("eth0\t00000000\t01004D0A") != std::string::npos) != v6);
    CHECK((of_box("ipv6_route").find("fd770000000000000000000000000001") != std::string::npos) ==
          v6);
    need(box.kill());
    (void)wait(box);
  }
  net.bridge("bare");
  i.link = Veth{.bridge = "bare"};
  CHECK_THAT(attempt(on_network(root, i, {"exit"})),
             FailsWith(Errc::unsupported, Step::configure_interface,
                       "'eth0': 'bare' has no IPv4 address"));
}

}  // namespace

#endif
