// Interfaces: what is refused, each with its name in front, and what the host and the child do.
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "condroid/builder.hpp"
#include "condroid/plan.hpp"
#include "condroid/plan/take.hpp"
#include "facts.hpp"

#if CONDROID_LIBNL

namespace {

using namespace condroid;
using namespace condroid::literals;

Interface bridged() {
  return {.link = Veth{.bridge = "br0"},
          .addresses = {"10.0.3.2/24"_prefix},
          .gateways = {"10.0.3.1"_ip}};
}
Spec with(std::vector<Interface> interfaces) {
  Spec spec = ContainerBuilder("net").root(HostPath("/srv/root")).exec({"/bin/sh"}).spec();
  spec.network.interfaces = std::move(interfaces);
  return spec;
}
Spec with(Interface interface) { return with(std::vector{std::move(interface)}); }

template <class T>
std::vector<std::string> refusals(const Result<T>& plan) {
  if (plan) return {};
  std::vector<std::string> list = {plan.error().subject + "; hint: " + plan.error().hint};
  list.insert(list.end(), plan.error().also.begin(), plan.error().also.end());
  return list;
}

/// Just one refusal, with these words.
void refused(const Spec& spec, const std::string& words, HostFacts facts = test::root_on_v2()) {
  const auto list = refusals(compile(spec, facts));
  std::string all;
  for (const auto& line : list) all += line + "\n";
  INFO("expected: " << words << "\nrefused:\n" << all);
  REQUIRE(list.size() == 1);
  CHECK(list[0].starts_with("network.interfaces"));
  CHECK(list[0].find(words) != std::string::npos);
  CHECK(list[0].find("hint: ") != std::string::npos);
}
void refused(const std::string& words, const std::function<void(Interface&)>& change) {
  Interface i = bridged();
  change(i);
  refused(with(i), words);
}

TEST_CASE("interfaces that make no sense are refused by name", "[network]") {
  REQUIRE(compile(with(bridged()), test::root_on_v2()));
  using I = Interface;
  refused("'lo': is the loopback", [](I& i) { i.name = "lo"; });
  for (const char* name : {"", "a b", "a/b", "eth%d", "0123456789abcdef", ".", "..", "a:1", "a\n"})
    refused("the interface", [=](I& i) { i.name = name; });
  refused("the bridge cannot be named 'x/y'", [](I& i) { i.link = Veth{.bridge = "x/y"}; });
  refused("the parent has no name", [](I& i) { i.link = Macvlan{}; });
  refused("there is no VLAN 4095", [](I& i) { i.link = Vlan{.parent = "eth0", .id = 4095}; });
  refused("there is no VLAN 0", [](I& i) { i.link = Vlan{.parent = "eth0"}; });
  refused("is isolated, and no port", [](I& i) { i.link = Veth{.isolated = true}; });
  refused("is a port of a bridge and has addresses",
          [](I& i) { i.link = Veth{.bridge = "br0", .host_addresses = {"10.0.3.1/24"_prefix}}; });
  refused("an ipvlan has the Ethernet address", [](I& i) {
    i.link = Ipvlan{.parent = "eth0"};
    i.mac = "02:00:00:00:00:01"_mac;
  });
  refused("01:00:00:00:00:01 is no single", [](I& i) { i.mac = "01:00:00:00:00:01"_mac; });
  refused("an MTU of 67", [](I& i) { i.mtu = 67; });
  refused("use 1280 to 65535", [](I& i) {
    i.mtu = 1000;
    i.addresses.push_back("fd00::2/64"_prefix);
  });
  refused("224.0.0.1 is no interface's",
          [](I& i) { i.addresses.push_back("224.0.0.1/24"_prefix); });
  refused("10.0.9.2 has a prefix of 0", [](I& i) { i.addresses.push_back("10.0.9.2/0"_prefix); });
  refused("10.0.3.2 is given twice", [](I& i) { i.addresses.push_back("10.0.3.2/16"_prefix); });
  refused("two gateways for IPv4", [](I& i) { i.gateways.push_back("10.0.3.3"_ip); });
  refused("no IPv6 address", [](I& i) { i.gateways.push_back("fd00::1"_ip); });
  refused("0.0.0.0 is no gateway", [](I& i) { i.gateways = {"0.0.0.0"_ip}; });
  refused("a gateway and a route to 0.0.0.0/0",
          [](I& i) { i.routes = {{.to = "0.0.0.0/0"_prefix}}; });
  refused("that is passthru has the Ethernet", [](I& i) {
    i.link = Macvlan{.parent = "eth0", .mode = Macvlan::passthru};
    i.mac = "02:00:00:00:00:01"_mac;
  });
  refused("use 1280 to 65535", [](I& i) {
    i.mtu = 1000;
    i.ipv6_autoconf = true;
  });
  refused("the interface", [](I& i) { i.name = "\xc3\xa0"; });
  refused("10.0.3.2 is its own", [](I& i) { i.gateways = {"10.0.3.2"_ip}; });
  refused("use 10.1.0.0/16", [](I& i) { i.routes = {{.to = "10.1.2.3/16"_prefix}}; });
  refused("by fd00::1",
          [](I& i) { i.routes = {{.to = "10.1.0.0/16"_prefix, .via = "fd00::1"_ip}}; });
  refused("an interface that is up", [](I& i) { i.up = false; });
  refused("there is no VLAN 4095", [](I& i) { i.link = Veth{.bridge = "br0", .vlan_id = 4095}; });
  refused("there is no VLAN 0", [](I& i) { i.link = Veth{.bridge = "br0", .tagged = {0}}; });
  refused("VLAN 7 is given twice",
          [](I& i) { i.link = Veth{.bridge = "br0", .vlan_id = 7, .tagged = {7}}; });
  refused("is in a VLAN of a bridge, and", [](I& i) { i.link = Veth{.tagged = {7}}; });
  refused("has 4097 queues", [](I& i) { i.link = Veth{.bridge = "br0", .rx_queues = 4097}; });
  refused("use 10.1.0.0/16", [](I& i) { i.link = Veth{.host_routes = {"10.1.2.0/16"_prefix}}; });
  for (const char* mac : {"02:00:00:00:00:01", "02:00:00:00:xx", "x", "01:00:00:00:00:xx"})
    refused("is no template", [=](I& i) { i.mac_template = mac; });
  refused("and a template", [](I& i) {
    i.mac = "02:00:00:00:00:01"_mac;
    i.mac_template = "02:00:00:00:00:xx";
  });
  refused("a tun has no Ethernet", [](I& i) {
    i.link = Tun{};
    i.mac_template = "02:00:00:00:00:xx";
  });
  refused("has 2 broadcast", [](I& i) { i.broadcasts = {"10.0.3.255"_ip, "10.0.3.255"_ip}; });
  refused("fd00::1 is no broadcast", [](I& i) { i.broadcasts = {"fd00::1"_ip}; });
  refused("there is no bridge and no parent", [](I& i) {
    i.link = Veth{};
    i.gateways.clear();
    i.gateway_auto = true;
  });
  refused("has a gateway for IPv4 and none", [](I& i) {
    i.gateways = {"0.0.0.0"_ip, "10.0.3.1"_ip};
    i.gateway_auto = true;
  });
  refused("0.0.0.0 is no gateway", [](I& i) { i.gateways = {"0.0.0.0"_ip}; });
  refused("the interface of the host has no name", [](I& i) { i.link = Phys{}; });
  refused("the loopback stays", [](I& i) { i.link = Phys{.parent = "lo"}; });
  refused(with({{.link = Phys{.parent = "a"}}, {.name = "eth1", .link = Phys{.parent = "a"}}}),
          "'a' is lent twice");
  refused(with({bridged(), {.link = Veth{.bridge = "br0"}}}), "two of the name 'eth0'");
  refused(with({bridged(), {.name = "eth1", .addresses = {"10.0.3.2/8"_prefix}}}), "given twice");
  refused(
      with({{.link = Veth{.host_name = "x"}}, {.name = "eth1", .link = Veth{.host_name = "x"}}}),
      "two ends on the host are named 'x'");
}

TEST_CASE("bridges of our own that make no sense are refused by name", "[network]") {
  const auto at = [](NatBridge bridge, std::vector<IpPrefix> addresses = {}) {
    return with(Interface{.link = std::move(bridge), .addresses = std::move(addresses)});
  };
  REQUIRE(compile(at({}), test::root_on_v2()));
  REQUIRE(compile(at({}, {"10.209.0.2/20"_prefix}), test::root_on_v2()));
  refused(at({.name = "a b"}), "the bridge cannot be named 'a b'");
  refused(at({.subnets = {}}), "the bridge has no subnet");
  refused(at({.subnets = {"10.1.0.0/24"_prefix, "10.2.0.0/24"_prefix}}), "two subnets of IPv4");
  refused(at({.subnets = {"10.1.0.1/24"_prefix}}), "use 10.1.0.0/24");
  refused(at({.subnets = {"10.1.0.0/31"_prefix}}), "a prefix of 31 bits");
  refused(at({.subnets = {"127.0.0.0/8"_prefix}}), "is no subnet for a bridge");
  refused(at({}, {"10.1.0.2/24"_prefix}), "10.1.0.2/24 is in no subnet");
  refused(at({}, {"10.209.0.2/24"_prefix}), "is in no subnet");
  for (const char* taken : {"10.209.0.0/20", "10.209.0.1/20", "10.209.15.255/20"})
    refused(at({}, {*IpPrefix::parse(taken)}), "cannot be a container's");
  refused(with({{.link = NatBridge{}},
                {.name = "eth1",
                 .link = NatBridge{.name = "other", .subnets = {"10.1.0.0/24"_prefix}}}}),
          "a second default route for IPv4");
}

TEST_CASE("ports and names that make no sense are refused, each in its place", "[network]") {
  const auto says = [](const std::string& words, const std::function<void(Network&)>& change) {
    Spec spec = with(Interface{.link = NatBridge{.subnets = {"10.1.0.0/24"_prefix}}});
    change(spec.network);
    const auto list = refusals(compile(spec, test::root_on_v2()));
    REQUIRE(list.size() == 1);
    CHECK_THAT(list[0], Catch::Matchers::StartsWith(words));
  };
  using N = Network;
  const PublishedPort good{.host_address = "127.0.0.1"_ip, .host_port = 8080, .port = 80};
  Spec spec = with(Interface{.link = NatBridge{}});
  spec.network.publish = {good, {.host_port = 8080, .port = 80, .protocol = PublishedPort::udp}};
  spec.network.name_servers = {"192.0.2.53"_ip};
  spec.network.search = {"example.org"};
  CHECK(compile(spec, test::root_on_v2()));
  says("network.publish: ports lead into", [&](N& n) {
    n.publish = {good};
    n.interfaces = {bridged()};
  });
  says("network.publish[0]: there is no port 0", [](N& n) { n.publish = {{.port = 80}}; });
  says("network.publish[1]: the host's port 8080", [&](N& n) {
    n.publish = {good, {.host_port = 8080, .port = 81}};
  });
  says("network.publish[0]: the kernel lets nothing from ::1", [](N& n) {
    n.interfaces = {{.link = NatBridge{}}};
    n.publish = {{.host_address = "::1"_ip, .host_port = 1, .port = 1}};
  });
  says("network.publish[0]: at 2001:db8::1, and",
       [](N& n) { n.publish = {{.host_address = "2001:db8::1"_ip, .host_port = 1, .port = 1}}; });
  says("network.name_servers[0]: 0.0.0.0 is", [](N& n) { n.name_servers = {{}}; });
  says("network.search[0]: 'a b' is no domain", [](N& n) { n.search = {"a b"}; });
}

TEST_CASE("what is waited for can come", "[network]") {
  using I = Interface;
  refused("is to be ready before", [](I& i) { i.ready_within = std::chrono::seconds{-1}; });
  refused("is down, and would be waited for",
          [](I& i) { i = {.up = false, .ready_within = std::chrono::seconds{1}}; });
  refused("duplicate_address_detection, and no IPv6 address",
          [](I& i) { i.duplicate_address_detection = true; });
  Interface i = bridged();
  i.addresses.push_back("fd00::2/64"_prefix);
  i.duplicate_address_detection = true;
  const Plan plan = compile(with(i), test::root_on_v2()).value();
  const auto await = std::ranges::find_if(
      plan.ops, [](const Op& o) { return std::holds_alternative<op::AwaitInterface>(o); });
  REQUIRE(await != plan.ops.end());
  CHECK(describe(*await) == "'eth0': fd00::2");
}

TEST_CASE("pasta needs no rights, and publishes ports", "[network]") {
  const Interface i{.link = Pasta{}, .addresses = {"10.0.3.2/24"_prefix}};
  Spec spec = with(i);
  spec.network.publish = {{.host_port = 8080, .port = 80}};
  HostFacts without = test::root_on_v2();
  without.effective_caps &= ~(std::uint64_t{1} << static_cast<unsigned>(Capability::net_admin));
  CHECK(compile(spec, without));
  HostFacts missing = test::root_on_v2();
  missing.pasta.clear();
  refused(spec, "pasta is not installed", missing);
  refused(with({i, {.name = "eth1", .link = Pasta{}}}), "two of pasta");
  refused("pasta brings its interface up",
          [](Interface& one) { one = {.link = Pasta{}, .up = false}; });
  spec.network.publish.push_back(spec.network.publish.front());
  CHECK(refusals(compile(spec, without))[0].find("port 8080 is published twice") !=
        std::string::npos);
  spec.network.publish = {{.host_port = 8080}};
  CHECK(refusals(compile(spec, without))[0].find("there is no port 0") != std::string::npos);
}

TEST_CASE("a veth by lxc-user-nic needs that program and no rights", "[network]") {
  const Interface i{
      .link = UserNic{.bridge = "br0"}, .addresses = {"10.0.3.2/24"_prefix}, .gateway_auto = true};
  HostFacts without = test::root_on_v2();
  without.effective_caps &= ~(std::uint64_t{1} << static_cast<unsigned>(Capability::net_admin));
  const auto plan = compile(with(i), without);
  REQUIRE(plan);
  const auto ask = std::ranges::find_if(
      plan->ops, [](const Op& o) { return std::holds_alternative<op::AskUserNic>(o); });
  REQUIRE(ask != plan->ops.end());
  CHECK(describe(*ask) == "'eth0': veth at bridge 'br0' ('/usr/libexec/lxc/lxc-user-nic')");
  HostFacts missing = without;
  missing.user_nic.clear();
  refused(with(i), "lxc-user-nic is not installed, or not set-user-ID root", missing);
  missing = without;
  missing.no_new_privs = true;
  refused(with(i), "lxc-user-nic would gain no privilege", missing);
  refused("the bridge has no name", [](Interface& one) { one = {.link = UserNic{}}; });
  Interface down{.link = UserNic{.bridge = "br0"}, .mac = "02:00:00:00:00:01"_mac, .up = false};
  down.ipv6_autoconf = true;
  const auto configured = compile(with(down), without);
  REQUIRE(configured);
  CHECK(std::ranges::any_of(configured->ops, [](const Op& o) {
    return std::holds_alternative<op::ConfigureInterface>(o);
  }));
}

TEST_CASE("two interfaces are not both the way to all others", "[network]") {
  Interface other{.name = "eth1", .addresses = {"10.9.0.2/24"_prefix}, .gateways = {"10.9.0.1"_ip}};
  refused(with({bridged(), other}), "a second default route for IPv4");
  other.gateways.clear();
  other.routes = {{.to = "0.0.0.0/0"_prefix, .via = "10.9.0.1"_ip, .metric = 100}};
  CHECK(compile(with({bridged(), other}), test::root_on_v2()));
}

TEST_CASE("IPv6 is switched off where nothing is said of it", "[network]") {
  const auto is_off = [](const Interface& i) {
    const Plan plan = compile(with(i), test::root_on_v2()).value();
    bool off = false;
    for (const Op& o : plan.ops)
      if (const auto* c = std::get_if<op::ConfigureInterface>(&o)) off = off || c->proc.valid();
    return off;
  };
  CHECK(is_off(bridged()));
  CHECK(is_off({.up = false}));
  Interface i = bridged();
  i.ipv6_autoconf = true;
  CHECK_FALSE(is_off(i));
  CHECK_FALSE(is_off({.link = NatBridge{}}));
  CHECK(is_off({.link = NatBridge{.subnets = {"10.1.0.0/24"_prefix}}}));
  CHECK_FALSE(is_off({.addresses = {"fd00::2/64"_prefix}}));
  CHECK_FALSE(is_off({.gateways = {"fe80::1"_ip}}));
  CHECK_FALSE(is_off({.routes = {{.to = "fd00::/8"_prefix, .via = "fe80::1"_ip}}}));
}

TEST_CASE("interfaces need a network namespace, and the right to make them", "[network]") {
  Spec shared = with(bridged());
  shared.namespaces -= Namespace::net;
  shared.security.allow |= Allow::host_network;
  refused(shared, "a network namespace of the container's own");
  HostFacts without = test::root_on_v2();
  without.effective_caps &= ~(std::uint64_t{1} << static_cast<unsigned>(Capability::net_admin));
  refused(with(bridged()), "need CAP_NET_ADMIN", without);
  without = test::root_on_v2();
  without.effective_caps &= ~(std::uint64_t{1} << static_cast<unsigned>(Capability::sys_admin));
  const auto no_admin = refusals(compile(with({.link = Tap{}}), without));
  CHECK(std::ranges::any_of(no_admin, [](const std::string& line) {
    return line.find("need CAP_SYS_ADMIN where they are phys, tap or tun") != line.npos;
  }));
  const auto parked = compile_parked(with(bridged()), test::root_on_v2());
  const auto list = refusals(parked);
  REQUIRE(list.size() == 1);
  CHECK(list[0].find("a pool has several at once") != std::string::npos);
}

}  // namespace

#endif
