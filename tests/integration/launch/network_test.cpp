// Interfaces of containers, with real traffic: between host and container and between containers,
// in network namespaces that the tests make themselves.
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "containers.hpp"
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

/// A network namespace in which this thread plays the host, with a loopback.
class OwnNetwork {
 public:
  OwnNetwork() : before_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
    must(before_ && ::unshare(CLONE_NEWNET) == 0, "unshare");
    inside_ = Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    int error = 0;
    socket_ = detail::open_netlink(error);
    must(error == 0, "netlink");
    set_up("lo", {});
  }
  OwnNetwork(const OwnNetwork&) = delete;
  OwnNetwork& operator=(const OwnNetwork&) = delete;
  ~OwnNetwork() { must(::setns(before_.get(), CLONE_NEWNET) == 0, "setns"); }
  /// For another thread.
  void enter() const { must(::setns(inside_.get(), CLONE_NEWNET) == 0, "setns"); }

  void bridge(const std::string& name, const std::vector<IpPrefix>& addresses = {}) {
    NetlinkMessage m(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, ifinfomsg{});
    m.put(IFLA_IFNAME, name);
    {
      const auto info = m.nest(IFLA_LINKINFO);
      m.put(IFLA_INFO_KIND, "bridge");
    }
    send(m);
    set_up(name, addresses);
  }
  /// Two interfaces that are one cable.
  void pair(const std::string& name, const std::string& other) {
    Interface peer{.name = other, .link = Veth{}};
    const detail::InterfaceSite site{
        .netns = inside_.get(), .host_name = name, .host_mac = "fe:00:00:00:00:01"_mac};
    const auto made = detail::ask_netlink(socket_, detail::create_request(peer, site), 1);
    must(made.error == 0, made.text);
    set_up(name, {});
    set_up(other, {});
  }
  void set_up(const std::string& name, const std::vector<IpPrefix>& addresses) {
    const auto requests = detail::setup_requests({.name = name, .addresses = addresses});
    std::string all;
    const std::uint32_t index = detail::find_interface(socket_, name).index;
    for (auto r : requests) {
      std::memcpy(r.bytes.data() + r.index_at, &index, sizeof index);
      all += r.bytes;
    }
    const auto done =
        detail::ask_netlink(socket_, all, static_cast<std::uint32_t>(requests.size()));
    must(done.error == 0, name + ": " + done.text);
  }
  void remove(const std::string& name) {
    ifinfomsg head{};
    head.ifi_index = static_cast<int>(detail::find_interface(socket_, name).index);
    NetlinkMessage m(RTM_DELLINK, NLM_F_ACK, head);
    send(m);
  }
  [[nodiscard]] bool has(const std::string& name) const {
    return detail::find_interface(socket_, name).error == 0;
  }
  [[nodiscard]] std::uint32_t mtu(const std::string& name) const {
    return detail::find_interface(socket_, name).mtu;
  }
  static std::set<std::string> links() {
    std::set<std::string> names;
    auto* const list = ::if_nameindex();
    for (auto* i = list; i != nullptr && i->if_index != 0; ++i) names.insert(i->if_name);
    ::if_freenameindex(list);
    return names;
  }
  /// What went with a network namespace does so a little after it.
  static bool soon(const std::set<std::string>& expected) {
    for (int i = 0; i < 1000 * slow() && links() != expected; ++i)
      std::this_thread::sleep_for(10ms);
    return links() == expected;
  }

 private:
  void send(NetlinkMessage& m) {
    m.set_sequence(1);
    const auto done = detail::ask_netlink(socket_, m.bytes(), 1);
    must(done.error == 0, done.text);
  }

  Fd before_, inside_, socket_;
};

/// The verb of payload as a process of the host's, which is this thread's.
class OnHost {
 public:
  explicit OnHost(std::vector<std::string> args) {
    int ends[2];
    must(::pipe2(ends, O_CLOEXEC) == 0, "pipe");
    out_ = Fd(ends[0]);
    const Fd write_end(ends[1]);
    process_.emplace([&] {
      std::vector<char*> argv;
      std::string name = "payload";
      argv.push_back(name.data());
      for (std::string& a : args) argv.push_back(a.data());
      argv.push_back(nullptr);
      ::dup2(write_end.get(), 1);
      ::execv(CONDROID_PAYLOAD, argv.data());
      return 127;
    });
  }
  void wait_for(std::string_view text) { said_ += read_until(out_, text); }
  std::string end() {
    said_ += read_all(out_);
    process_->wait();
    return said_;
  }

 private:
  Fd out_;
  std::optional<Forked> process_;
  std::string said_;
};

struct Way {
  const char* protocol;
  bool v6;
};
constexpr Way ways[] = {{"tcp", false}, {"udp", false}, {"tcp", true}, {"udp", true}};

Spec on_network(const TempRoot& root, Interface interface, std::vector<std::string> args) {
  Spec spec = payload(root, std::move(args));
  spec.network.interfaces = {std::move(interface)};
  return spec;
}

/// A container that serves, once it says so.
struct Server {
  Container box;
  Fd out;

  Server(Spec spec, const Way& way, const IpAddress& address, int times)
      : box(start(spec, way, address, times)) {
    out = box.take_stdout();
    read_until(out, "ready=1\n");
  }
  static Container start(Spec& spec, const Way& way, const IpAddress& address, int times) {
    spec.process.argv = {"/bin/payload",     "serve", way.protocol,
                         to_string(address), "7",     fmt::format("{}", times)};
    spec.process.stdio.out = Stream::pipe;
    return launch(spec);
  }
};

std::string answer(const IpAddress& from, std::string_view text) {
  return fmt::format("answer=for {}: {}\n", to_string(from), text);
}

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
    Server server(on_network(root, routed, {}), way, there, 1);
    CHECK(OnHost({"call", way.protocol, to_string(there), "7", "in"}).end() == answer(here, "in"));
    CHECK(wait(server.box).success());
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

// For kernels that have them: run.sh's stage vm.
TEST_CASE("ipvlans and vlans talk to each other", "[network][.more_kernel]") {
  const TempRoot root;
  OwnNetwork net;
  net.pair("up0", "up1");
  SECTION("ipvlan, layer 2") {
    talk(root, Ipvlan{.parent = "up0", .mode = Ipvlan::l2}, false, true);
  }
  SECTION("ipvlan, layer 3") { talk(root, Ipvlan{.parent = "up0"}, false, true); }
  SECTION("one VLAN at both ends of a cable") {
    Interface a = bridged("", 2), b = bridged("", 3);
    a.link = Vlan{.parent = "up0", .id = 7};
    b.link = Vlan{.parent = "up1", .id = 7};
    Server server(on_network(root, a, {}), {"tcp", false}, "10.77.0.2"_ip, 1);
    CHECK(run(on_network(root, b, {"call", "tcp", "10.77.0.2", "7", "x"})).exit().out ==
          answer("10.77.0.3"_ip, "x"));
    CHECK(wait(server.box).success());
    b.link = Vlan{.parent = "up1", .id = 8};
    CHECK(launch_and_wait(on_network(root, b, {"call", "tcp", "10.77.0.2", "7", "x", "500"})).out ==
          "connect=ETIMEDOUT\n");
  }
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
  constexpr unsigned threads = 4, each = 50;
  std::atomic<unsigned> good = 0;
  {
    std::vector<std::jthread> all;
    std::array<std::string, threads> said;
    for (unsigned t = 0; t < threads; ++t)
      all.emplace_back([&, t] {
        net.enter();
        std::vector<Container> boxes;
        for (unsigned n = 0; n < each; ++n) {
          Interface i = bridged("cbr0", 2);
          i.addresses = {*IpPrefix::parse(fmt::format("10.77.{}.{}/16", t + 1, n + 1))};
          auto box = runtime().launch(on_network(root, i, {"pause"}));
          if (!box) return;
          boxes.push_back(std::move(*box));
        }
        good += each;
        for (Container& box : boxes) (void)box.kill();
      });
  }
  CHECK(good == threads * each);
  CHECK(net.soon({"lo", "cbr0"}));
}

}  // namespace

#endif
