// --net and what goes with it.
#include <condroid/registry.hpp>
#include <condroid/sys/namespace.hpp>

#include "wishes.hpp"

namespace wishes {

namespace {

template <class T>
T address(const std::string& option, const std::string& text, const char* like) {
  if (const auto value = T::parse(text)) return *value;
  throw Mistake(fmt::format("{}: '{}' is no address like {}", option, text, like));
}

void join_network(Spec& spec, const std::string& path) {
  if (!path.starts_with('/'))
    throw Mistake(fmt::format("--net: 'ns:{}' names no file like ns:/run/netns/blue", path));
  own_network(spec);
  spec.join.push_back({Namespace::net, HostPath(path)});
}

/// Of one that is found as --attach finds it.
void join_container(Spec& spec, const std::string& name) {
  auto box = Registry::open(name);
  if (!box) throw Mistake(fmt::format("--net: {}", to_string(box.error())));
  // By its pidfd: nobody else's, if it ends now.
  auto net = NamespaceFd::open(box->pidfd(), Namespace::net);
  if (!net) throw Mistake(fmt::format("--net: {}", to_string(net.error())));
  own_network(spec);
  static Fd held;  // up to the launch, and for each one after it
  held = net->release();
  spec.join.push_back({Namespace::net, HostFd{held.get()}});
}

Interface::Link link(const std::string& kind, const std::string& rest) {
  if (kind == "veth") return Veth{.bridge = rest};
  if (kind == "bridge") return rest.empty() ? NatBridge{} : NatBridge{.name = rest};
  if (kind == "macvlan") return Macvlan{.parent = rest};
  if (kind == "phys") return Phys{.parent = rest};
  if (kind == "user-nic") return UserNic{.bridge = rest};
  if (kind == "pasta") return Pasta{.parent = rest};
  if (kind == "ipvlan") return Ipvlan{.parent = rest};
  if (kind == "vlan") {
    const std::size_t colon = rest.rfind(':');
    if (colon == std::string::npos)
      throw Mistake(fmt::format("--net: 'vlan:{}' is not vlan:DEV:ID", rest));
    return Vlan{.parent = rest.substr(0, colon),
                .id = number<std::uint16_t>("--net", rest.substr(colon + 1))};
  }
  throw Mistake(fmt::format(
      "--net: '{}' is none of none, host, bridge, bridge:NAME, pasta, veth, veth:BRIDGE, "
      "user-nic:BRIDGE, macvlan:DEV, ipvlan:DEV, vlan:DEV:ID, phys:DEV, ns:PATH, container:NAME",
      kind));
}

/// [IP:]HOST:GUEST[/tcp|/udp], an IPv6 address in brackets.
PublishedPort published(const std::string& text) {
  PublishedPort p;
  std::string ports = text;
  if (const std::size_t slash = ports.rfind('/'); slash != std::string::npos) {
    const std::string protocol = ports.substr(slash + 1);
    if (protocol != "tcp" && protocol != "udp")
      throw Mistake(fmt::format("--publish: '{}' is neither tcp nor udp", protocol));
    p.protocol = protocol == "udp" ? PublishedPort::udp : PublishedPort::tcp;
    ports.resize(slash);
  }
  const std::size_t guest = ports.rfind(':');
  if (guest == std::string::npos || guest == 0)
    throw Mistake(
        fmt::format("--publish: '{}' is not like 8080:80 or 127.0.0.1:8080:80/udp", text));
  p.port = number<std::uint16_t>("--publish", ports.substr(guest + 1));
  ports.resize(guest);
  if (const std::size_t host = ports.rfind(':'); host != std::string::npos) {
    std::string at = ports.substr(0, host);
    if (at.size() > 2 && at.front() == '[' && at.back() == ']') at = at.substr(1, at.size() - 2);
    p.host_address = address<IpAddress>("--publish", at, "127.0.0.1 or [fd00::1]");
    ports = ports.substr(host + 1);
  }
  p.host_port = number<std::uint16_t>("--publish", ports);
  return p;
}

}  // namespace

void set_network(Spec& spec, const NetworkWishes& wishes) {
  const std::string& net = wishes.net;
  const std::size_t colon = net.find(':');
  const std::string kind = net.substr(0, colon);
  const std::string rest = colon == std::string::npos ? "" : net.substr(colon + 1);
  // What a stored spec says of interfaces goes with its network.
  if (!net.empty()) spec.network.interfaces.clear();
  if (net == "host")
    share(spec, "net");
  else if (net == "none")
    own_network(spec);
  else if (kind == "ns")
    join_network(spec, rest);
  else if (kind == "container")
    join_container(spec, rest);
  else if (!net.empty()) {
    own_network(spec);
    spec.network.interfaces.push_back({.link = link(kind, rest)});
  }
  for (const auto& text : wishes.publish) spec.network.publish.push_back(published(text));
  for (const auto& text : wishes.dns)
    spec.network.name_servers.push_back(address<IpAddress>("--dns", text, "192.0.2.53"));
  const bool more = !(wishes.ip.empty() && wishes.gateway.empty() && wishes.host_ip.empty());
  if (!more) return;
  if (spec.network.interfaces.size() != 1)
    throw Mistake("--ip, --host-ip and --gateway go with one interface: --net veth:BRIDGE, say");
  Interface& i = spec.network.interfaces.front();
  for (const auto& text : wishes.ip)
    i.addresses.push_back(address<IpPrefix>("--ip", text, "10.0.3.2/24"));
  for (const auto& text : wishes.gateway) {
    if (text == "auto")
      i.gateway_auto = true;
    else
      i.gateways.push_back(address<IpAddress>("--gateway", text, "10.0.3.1"));
  }
  if (wishes.host_ip.empty()) return;
  auto* veth = std::get_if<Veth>(&i.link);
  if (veth == nullptr) throw Mistake("--host-ip goes with --net veth");
  for (const auto& text : wishes.host_ip)
    veth->host_addresses.push_back(address<IpPrefix>("--host-ip", text, "10.0.3.1/24"));
}

}  // namespace wishes
