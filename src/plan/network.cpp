// Interfaces of the container's own network namespace: what is refused, and the ops.
#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <variant>

#include "formatted.hpp"
#include "plan/checks.hpp"
#include "plan/draft.hpp"
#include "plan/lease_numbers.hpp"
#include "plan/paths.hpp"
#include "plan/words.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr std::size_t longest_name = 15;  // IFNAMSIZ, without the NUL
constexpr std::string_view list = "network.interfaces";
constexpr std::chrono::seconds most_for_detection{5};

/// As the kernel, dev_valid_name() in net/core/dev.c; and no pattern for it to fill in.
bool is_name(std::string_view name) {
  if (name.empty() || name.size() > longest_name || name == "." || name == "..") return false;
  return std::ranges::none_of(name, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return c == '/' || c == ':' || c == '%' || byte <= ' ' || byte == 0x7f || byte == 0xa0;
  });
}

/// Whether all that nothing else is said of goes over it.
bool is_default(const Interface& i, bool v6) {
  const auto same = [&](const IpAddress& a) { return a.is_v6() == v6; };
  const auto* bridge = std::get_if<NatBridge>(&i.link);
  if (bridge != nullptr && i.gateways.empty() && i.up)  // it is the gateway
    return i.addresses.empty() ? std::ranges::any_of(bridge->subnets, same, &IpPrefix::address)
                               : std::ranges::any_of(i.addresses, same, &IpPrefix::address);
  const auto given = std::ranges::find_if(i.gateways, same);
  if (given != i.gateways.end()) return !given->is_any();
  return i.gateway_auto && std::ranges::any_of(i.addresses, same, &IpPrefix::address);
}

/// One that the kernel takes once its digits are drawn.
bool is_mac_template(std::string_view text) {
  std::string drawn(text);
  std::size_t marks = 0;
  for (char& c : drawn)
    if (c == 'x' || c == 'X') c = '2', ++marks;
  const auto mac = MacAddress::parse(drawn);
  return marks != 0 && mac && (!mac->is_multicast() || text[1] == 'x' || text[1] == 'X');
}

const char* kind_of(const IpAddress& a) { return a.is_v6() ? "IPv6" : "IPv4"; }

/// Its program has other rights, and makes it for a user who has none.
bool needs_no_rights(const Interface& i) {
  return std::holds_alternative<UserNic>(i.link) || std::holds_alternative<Pasta>(i.link);
}

/// Its program leaves the Ethernet address to others.
bool has_mac_set_inside(const Interface& i) {
  return std::holds_alternative<UserNic>(i.link) && (i.mac || !i.mac_template.empty());
}

/// They are its parent's: pasta sets them.
bool has_addresses_of_pasta(const Interface& i) {
  return std::holds_alternative<Pasta>(i.link) && i.addresses.empty();
}

/// What is wrong with an interface, with its name in front.
struct Complaints {
  const std::string& field;
  const Interface& i;
  Refusals& refusals;

  void add(std::string_view what, std::string hint) const {
    refusals.bad(field, formatted("{}: {}", quoted(i.name), what), std::move(hint));
  }
  bool name(std::string_view name, std::string_view what) const {
    if (is_name(name)) return true;
    add(formatted("{} {}", what,
                  name.empty() ? std::string("has no name")
                               : formatted("cannot be named {}", quoted(name))),
        "a name has 1 to 15 bytes, no blank, '/', ':' or '%'");
    return false;
  }
  void address(const IpPrefix& p) const {
    if (p.address.is_any() || p.address.is_multicast())
      add(formatted("{} is no interface's address", to_string(p.address)), "give it one address");
    if (p.length == 0 || p.length > 8 * p.address.size())
      add(formatted("{} has a prefix of {} bits", to_string(p.address), p.length),
          formatted("use 1 to {}", 8 * p.address.size()));
  }
  void gateways() const {
    unsigned v4 = 0, v6 = 0;
    if (i.gateway_auto) {
      const auto* veth = std::get_if<Veth>(&i.link);
      if ((veth == nullptr || veth->bridge.empty()) && !std::holds_alternative<Macvlan>(i.link) &&
          !std::holds_alternative<UserNic>(i.link))
        add("its gateway is to be found, and there is no bridge and no parent to have it",
            "name the gateway");
      if (i.addresses.empty())
        add("its gateway is to be found, and it has no address", "give it one");
    }
    for (const IpAddress& g : i.gateways) {
      // With gateway_auto: none of that kind.
      const auto none = [&](const IpAddress& a) { return a.is_any() && a.is_v6() == g.is_v6(); };
      if (i.gateway_auto && std::ranges::any_of(i.gateways, none)) {
        if (++(g.is_v6() ? v6 : v4) == 2)
          add(formatted("has a gateway for {} and none", kind_of(g)), "leave out one of them");
        continue;
      }
      if (g.is_any() || g.is_multicast() || g.is_loopback()) {
        add(formatted("{} is no gateway", to_string(g)), "use the address of a router");
        continue;
      }
      if (++(g.is_v6() ? v6 : v4) == 2)
        add(formatted("has two gateways for {}", kind_of(g)),
            "use a route with a metric for the second one");
      const auto same = [&](const IpPrefix& p) { return p.address.is_v6() == g.is_v6(); };
      if (!g.is_link_local() && std::ranges::none_of(i.addresses, same))
        add(formatted("gateway {}, and no {} address", to_string(g), kind_of(g)),
            "give it an address in the gateway's network");
      if (std::ranges::any_of(i.addresses, [&](const IpPrefix& p) { return p.address == g; }))
        add(formatted("gateway {} is its own address", to_string(g)),
            "use the address of the bridge or router");
    }
  }
  /// Where a route may lead.
  void network_of(const IpPrefix& to) const {
    const unsigned bits = 8 * to.address.size();
    if (to.length > bits) {
      add(formatted("route to {} with {} bits", to_string(to.address), to.length),
          formatted("use at most {}", bits));
    } else if (const IpPrefix net{to.first(), to.length}; net != to) {
      add(formatted("route to {} has bits beyond its prefix", to_string(to)),
          formatted("use {}", to_string(net)));
    }
  }
  void broadcasts() const {
    const auto v4 =
        std::ranges::count_if(i.addresses, [](const IpPrefix& p) { return !p.address.is_v6(); });
    if (std::ranges::ssize(i.broadcasts) > v4)
      add(formatted("has {} broadcast addresses for {} of IPv4", i.broadcasts.size(), v4),
          "give one for each address at most");
    for (const IpAddress& b : i.broadcasts)
      if (b.is_v6() || b.is_multicast() || b.is_loopback())
        add(formatted("{} is no broadcast address", to_string(b)),
            "use one of IPv4, or 0.0.0.0 for none");
  }
  void routes() const {
    for (const Route& r : i.routes) {
      network_of(r.to);
      if (r.to.length == 0 && !r.metric && is_default(i, r.to.address.is_v6()))
        add(formatted("has a gateway and a route to {}", to_string(r.to)),
            "leave out one, or give the route a metric");
      if (r.via && r.via->is_v6() != r.to.address.is_v6())
        add(formatted("route to {} by {}", to_string(r.to), to_string(*r.via)),
            "use two addresses of one kind");
    }
  }

  void operator()(const Veth& l) const {
    std::string drawn = l.host_name;
    for (std::size_t at = 0; (at = drawn.find("%x", at)) != drawn.npos;) drawn.replace(at, 2, "0");
    if (!l.host_name.empty()) name(drawn, "the host's end");
    if (!l.bridge.empty()) {
      name(l.bridge, "the bridge");
      if (!l.host_addresses.empty())
        add("the host's end is a port of a bridge and has addresses",
            "give them to the bridge, or leave out the bridge");
    } else {
      if (l.isolated) add("is isolated, and no port of a bridge", "name the bridge");
      if (l.vlan_id || !l.tagged.empty())
        add("is in a VLAN of a bridge, and no port of one", "name the bridge");
    }
    for (const IpPrefix& p : l.host_addresses) address(p);
    for (const IpPrefix& p : l.host_routes) network_of(p);
    vlans(l);
    for (const std::uint32_t queues : {l.rx_queues, l.tx_queues})
      if (queues > 4096) add(formatted("has {} queues", queues), "use 1 to 4096");
  }
  void vlans(const Veth& l) const {
    const auto no_vlan = [&](unsigned id) {
      add(formatted("there is no VLAN {}", id), "use a number from 1 to 4094");
    };
    if (l.vlan_id && *l.vlan_id > 4094) no_vlan(*l.vlan_id);
    for (std::size_t n = 0; n < l.tagged.size(); ++n) {
      const std::uint16_t id = l.tagged[n];
      if (id < 1 || id > 4094) no_vlan(id);
      const auto before = l.tagged.begin() + static_cast<std::ptrdiff_t>(n);
      if (l.vlan_id == id || std::find(l.tagged.begin(), before, id) != before)
        add(formatted("VLAN {} is given twice", id), "a VLAN is tagged or not");
    }
  }

  void operator()(const Macvlan& l) const {
    name(l.parent, "the parent");
    if ((i.mac || !i.mac_template.empty()) && l.mode == Macvlan::passthru)
      add("a macvlan that is passthru has the Ethernet address of its parent", "leave out mac");
  }
  void operator()(const Ipvlan& l) const {
    name(l.parent, "the parent");
    if (i.mac || !i.mac_template.empty())
      add("an ipvlan has the Ethernet address of its parent", "leave out mac");
  }
  void operator()(const Phys& l) const {
    name(l.parent, "the interface of the host");
    if (l.parent == "lo") add("the loopback stays where it is", "use another interface");
  }
  void operator()(const Tap& /*l*/) const {}
  void operator()(const Tun& /*l*/) const {
    if (i.mac || !i.mac_template.empty()) add("a tun has no Ethernet address", "leave out mac");
  }
  void operator()(const Vlan& l) const {
    name(l.parent, "the parent");
    if (l.id < 1 || l.id > 4094)
      add(formatted("there is no VLAN {}", l.id), "use a number from 1 to 4094");
  }
  void operator()(const NatBridge& l) const {
    name(l.name, "the bridge");
    if (l.subnets.empty())
      add("the bridge has no subnet", "name one like 10.209.0.0/20 or fd00:1::/64");
    for (std::size_t n = 0; n < l.subnets.size(); ++n) {
      const IpPrefix& p = l.subnets[n];
      const unsigned bits = 8 * p.address.size();
      for (std::size_t before = 0; before < n; ++before)
        if (l.subnets[before].address.is_v6() == p.address.is_v6())
          add(formatted("the bridge has two subnets of {}", kind_of(p.address)),
              "use one of each kind at most");
      if (p.address.is_any() || p.address.is_multicast() || p.address.is_loopback())
        add(formatted("{} is no subnet for a bridge", to_string(p)), "use a private one");
      // The bridge's address and one more.
      if (p.length < 8 || p.length > bits - 2)
        add(formatted("subnet {} has a prefix of {} bits", to_string(p), p.length),
            formatted("use 8 to {}", bits - 2));
      else if (const IpPrefix net{p.first(), p.length}; net != p)
        add(formatted("subnet {} has bits beyond its prefix", to_string(p)),
            formatted("use {}", to_string(net)));
    }
    for (const IpPrefix& a : i.addresses) {
      const auto in =
          std::ranges::find_if(l.subnets, [&](const IpPrefix& p) { return p.contains(a.address); });
      if (in == l.subnets.end() || in->length != a.length) {
        std::string all;
        for (const IpPrefix& p : l.subnets)
          all += formatted("{}{}", all.empty() ? "" : ", ", to_string(p));
        add(formatted("{} is in no subnet of the bridge", to_string(a)),
            formatted("use an address of {} with that prefix, or none: it is given one", all));
      } else if (const auto number = lease_number(*in, a.address);
                 !number || *number < first_lease || *number > last_lease(*in)) {
        add(formatted("{} cannot be a container's", to_string(a)),
            "use another one: the first is the bridge's, the last the broadcast address");
      }
    }
  }
  void operator()(const UserNic& l) const { name(l.bridge, "the bridge"); }
  void operator()(const Pasta& l) const {
    if (!l.parent.empty()) name(l.parent, "the parent");
    if (!i.up) add("pasta brings its interface up", "leave up as it is");
  }
};

/// The interface by which published ports lead into the container.
const Interface* published_by(const Spec& spec) {
  for (const Interface& i : spec.network.interfaces)
    if (std::holds_alternative<NatBridge>(i.link)) return &i;
  for (const Interface& i : spec.network.interfaces)
    if (std::holds_alternative<Pasta>(i.link)) return &i;
  return nullptr;
}

}  // namespace

void Checks::interface(const std::string& field, const Interface& i) const {
  const Complaints wrong{field, i, refusals};
  if (wrong.name(i.name, "the interface") && i.name == "lo")
    wrong.add("is the loopback, which is there already", "use another name");
  std::visit(wrong, i.link);
  if (i.mac && (i.mac->is_multicast() || *i.mac == MacAddress{}))
    wrong.add(formatted("{} is no single interface's Ethernet address", to_string(*i.mac)),
              "use one like 02:00:00:00:00:01");
  if (!i.mac_template.empty() && (i.mac || !is_mac_template(i.mac_template)))
    wrong.add(i.mac ? std::string("has an Ethernet address and a template for one")
                    : formatted("{} is no template of an Ethernet address", quoted(i.mac_template)),
              "use one like 02:00:00:xx:xx:xx");
  const std::uint32_t least = is_without_ipv6(i) ? 68 : 1280;
  if (i.mtu && (*i.mtu < least || *i.mtu > 65535))
    wrong.add(formatted("an MTU of {}", *i.mtu), formatted("use {} to 65535", least));
  for (const IpPrefix& p : i.addresses) wrong.address(p);
  if (!i.up && !(i.gateways.empty() && i.routes.empty() && !i.gateway_auto))
    wrong.add("routes go over an interface that is up", "leave up as it is");
  wrong.broadcasts();
  if (i.ready_within.count() < 0)
    wrong.add("is to be ready before it is made", "give ready_within a span of time, or 0");
  if (!i.up && (i.ready_within.count() != 0 || i.duplicate_address_detection))
    wrong.add("is down, and would be waited for", "leave up as it is");
  if (i.duplicate_address_detection && is_without_ipv6(i))
    wrong.add("duplicate_address_detection, and no IPv6 address", "leave it out");
  if (i.duplicate_address_detection && std::holds_alternative<NatBridge>(i.link))
    wrong.add("duplicate_address_detection, and its addresses are leased: nobody else has them",
              "leave it out");
  wrong.gateways();
  wrong.routes();
}

void Checks::publish() const {
  const auto& ports = spec.network.publish;
  if (ports.empty()) return;
  constexpr std::string_view field = "network.publish";
  const Interface* by = published_by(spec);
  const auto* bridge = by == nullptr ? nullptr : std::get_if<NatBridge>(&by->link);
  if (by == nullptr || (bridge != nullptr && !bridge->nat)) {
    refusals.unsupported(
        field, "ports lead into a container at a bridge of our own with NAT, or by pasta",
        "give it such an interface, NatBridge or Pasta; or see Container::relay()");
    return;
  }
  for (std::size_t n = 0; n < ports.size(); ++n) {
    const PublishedPort& p = ports[n];
    const std::string at = nth(field, n);
    if (p.host_port == 0 || p.port == 0) refusals.bad(at, "there is no port 0", "use 1 to 65535");
    if (p.host_address && p.host_address->is_multicast())
      refusals.bad(at, formatted("{} is no host's address", to_string(*p.host_address)),
                   "use an address of this host, or none for all");
    if (bridge != nullptr && p.host_address && p.host_address->is_v6() &&
        p.host_address->is_loopback())
      refusals.unsupported(at, "the kernel lets nothing from ::1 leave the loopback",
                           "publish at 127.0.0.1, or at another address of this host");
    const auto has = [&](bool v6) {
      if (by->addresses.empty())
        return bridge == nullptr || std::ranges::any_of(bridge->subnets, [&](const IpPrefix& s) {
                 return s.address.is_v6() == v6;
               });
      return std::ranges::any_of(by->addresses,
                                 [&](const IpPrefix& a) { return a.address.is_v6() == v6; });
    };
    if (p.host_address && !has(p.host_address->is_v6()))
      refusals.bad(at,
                   formatted("at {}, and the container has no {} address",
                             to_string(*p.host_address), kind_of(*p.host_address)),
                   "give the bridge a subnet of that kind");
    for (std::size_t before = 0; before < n; ++before) {
      const PublishedPort& o = ports[before];
      const bool same_address = !p.host_address || !o.host_address ||
                                (p.host_address->is_v6() == o.host_address->is_v6() &&
                                 (p.host_address->is_any() || o.host_address->is_any() ||
                                  *p.host_address == *o.host_address));
      if (o.host_port == p.host_port && o.protocol == p.protocol && same_address)
        refusals.bad(at, formatted("the host's port {} is published twice", p.host_port),
                     "use another port, or another address");
    }
  }
}

void Checks::names() const {
  const Network& n = spec.network;
  if (n.name_servers.empty() && n.search.empty()) return;
  const std::string_view field = n.name_servers.empty() ? "network.search" : "network.name_servers";
  if (!shape.own_root() || !spec.devices.populate)
    refusals.bad(field, "are written to a file on a /dev of the container's own",
                 "leave devices.populate and its mount namespace as they are");
  for (const Mount& m : spec.mounts)
    if (normalized(std::visit([](const auto& x) { return x.target.str(); }, m)) ==
        "/etc/resolv.conf")
      refusals.bad(field, "are written where a mount of yours lies, '/etc/resolv.conf'",
                   "leave one of the two out");
  for (std::size_t i = 0; i < n.name_servers.size(); ++i)
    if (n.name_servers[i].is_any() || n.name_servers[i].is_multicast())
      refusals.bad(nth("network.name_servers", i),
                   formatted("{} is no server's address", to_string(n.name_servers[i])),
                   "use the address of a server");
  for (std::size_t i = 0; i < n.search.size(); ++i)
    if (n.search[i].empty() || std::ranges::any_of(n.search[i], [](char c) {
          return static_cast<unsigned char>(c) <= ' ' || c == 0x7f;
        }))
      refusals.bad(nth("network.search", i), formatted("{} is no domain", quoted(n.search[i])),
                   "use a name like example.org");
}

void Checks::user_nic() const {
  if (std::ranges::none_of(spec.network.interfaces, [](const Interface& i) {
        return std::holds_alternative<UserNic>(i.link);
      }))
    return;
  if (facts.user_nic.empty())
    refusals.unsupported(list, "lxc-user-nic is not installed, or not set-user-ID root",
                         "Debian: package lxc; or use pasta");
  else if (facts.no_new_privs)
    refusals.unsupported(list, "no_new_privs is set, so lxc-user-nic would gain no privilege",
                         "run it without no_new_privs, or use pasta");
}

/// One connects the container to all that its user reaches.
void Checks::pasta() const {
  const auto is_pasta = [](const Interface& i) { return std::holds_alternative<Pasta>(i.link); };
  const auto count = std::ranges::count_if(spec.network.interfaces, is_pasta);
  if (count == 0) return;
  if (count > 1)
    refusals.bad(list, "there are two of pasta", "use one: it reaches what this user reaches");
  if (facts.pasta.empty())
    refusals.unsupported(list, "pasta is not installed", "Debian: package passt");
}

void Checks::network() const {
  user_nic();
  pasta();
  publish();
  names();
  const auto& interfaces = spec.network.interfaces;
  if (interfaces.empty()) return;
  if (!shape.own(Namespace::net))
    refusals.bad(list, "need a network namespace of the container's own",
                 "leave net among the namespaces, and do not join one");
#if !CONDROID_LIBNL
  refusals.unsupported(list, "cannot be made by this build of condroid, which has no libnl",
                       "build it with libnl-3-dev, -Dnetwork=enabled");
#endif
  const bool ours = !std::ranges::all_of(interfaces, needs_no_rights);
  if (ours && !facts.has_cap(static_cast<unsigned>(Capability::net_admin)))
    refusals.unsupported(list, "need CAP_NET_ADMIN where the host's interfaces are",
                         "run as root, or use pasta, or user_nic");
  const auto needs_zygote = [](const Interface& i) {
    return std::holds_alternative<Phys>(i.link) || std::holds_alternative<Tap>(i.link) ||
           std::holds_alternative<Tun>(i.link);
  };
  if (!facts.has_cap(static_cast<unsigned>(Capability::sys_admin)) &&
      std::ranges::any_of(interfaces, needs_zygote))
    refusals.unsupported(list, "need CAP_SYS_ADMIN where they are phys, tap or tun", "run as root");
  for (std::size_t n = 0; n < interfaces.size(); ++n) {
    const Interface& i = interfaces[n];
    const std::string field = nth(list, n);
    interface(field, i);
    for (std::size_t before = 0; before < n; ++before) {
      const Interface& other = interfaces[before];
      if (other.name == i.name)
        refusals.bad(field, formatted("there are two of the name {}", quoted(i.name)),
                     "give each its own");
      const auto* lent = std::get_if<Phys>(&i.link);
      if (lent != nullptr && other.link == i.link)
        refusals.bad(field, formatted("{} is lent twice", quoted(lent->parent)),
                     "leave out one of them");
      const auto* mine = std::get_if<Veth>(&i.link);
      const auto* theirs = std::get_if<Veth>(&other.link);
      if (mine != nullptr && theirs != nullptr && !mine->host_name.empty() &&
          mine->host_name.find("%x") == std::string::npos && mine->host_name == theirs->host_name)
        refusals.bad(field, formatted("two ends on the host are named {}", quoted(mine->host_name)),
                     "give each its own name, or none");
    }
    for (const bool v6 : {false, true})
      if (is_default(i, v6) &&
          std::any_of(interfaces.begin(), interfaces.begin() + static_cast<std::ptrdiff_t>(n),
                      [&](const Interface& o) { return is_default(o, v6); }))
        refusals.bad(
            field,
            formatted("{} has a second default route for {}", quoted(i.name), v6 ? "IPv6" : "IPv4"),
            "leave out one gateway, or use routes with metrics");
    for (std::size_t a = 0; a < i.addresses.size(); ++a) {
      const IpAddress& address = i.addresses[a].address;
      std::size_t times = 0;
      for (std::size_t before = 0; before <= n; ++before)
        for (std::size_t b = 0; b < (before < n ? interfaces[before].addresses.size() : a); ++b)
          if (interfaces[before].addresses[b].address == address) ++times;
      if (times > 0)
        refusals.bad(field, formatted("{} is given twice", to_string(address)),
                     "give each interface its own addresses");
    }
  }
}

void lease_addresses(Draft& d) {
  for (const Interface& i : d.spec.network.interfaces)
    if (std::holds_alternative<NatBridge>(i.link)) d.add(op::LeaseAddress{.interface = i});
}

void create_interfaces(const Draft& d, std::vector<Op>& host) {
  std::optional<op::PublishPorts> ports;  // behind all of them
  for (const Interface& i : d.spec.network.interfaces) {
    const auto* const by = d.spec.network.publish.empty() ? nullptr : published_by(d.spec);
    if (std::holds_alternative<UserNic>(i.link))
      add_op(host, op::AskUserNic{
                       .program = d.facts.user_nic, .interface = i, .user = d.facts.user_name});
    else if (std::holds_alternative<Pasta>(i.link))
      add_op(host, op::StartPasta{
                       .program = d.facts.pasta,
                       .interface = i,
                       .publish = by == &i ? d.spec.network.publish : std::vector<PublishedPort>{},
                       .own_users = !d.facts.privileged()});
    else
      add_op(host, op::CreateInterface{.interface = i});
    run_hooks_here(d, HookPoint::up, host, &i);
    if (by == &i && std::holds_alternative<NatBridge>(i.link))
      ports = op::PublishPorts{.interface = i.name, .ports = d.spec.network.publish};
  }
  if (ports) add_op(host, std::move(*ports));
}

bool is_without_ipv6(const Interface& i) {
  const auto v4 = [](const auto& all, auto address) {
    return std::ranges::none_of(all, [&](const auto& x) { return address(x).is_v6(); });
  };
  const auto* bridge = std::get_if<NatBridge>(&i.link);
  if (bridge != nullptr && i.addresses.empty() &&
      !v4(bridge->subnets, [](const IpPrefix& p) { return p.address; }))
    return false;
  if (has_addresses_of_pasta(i)) return false;
  return !i.ipv6_autoconf && v4(i.addresses, [](const IpPrefix& p) { return p.address; }) &&
         v4(i.gateways, [](const IpAddress& g) { return g; }) &&
         v4(i.routes, [](const Route& r) { return r.to.address; });
}

void configure_interfaces(Draft& d) {
  for (const Interface& i : d.spec.network.interfaces) {
    op::ConfigureInterface configure{.interface = i};
    if (has_addresses_of_pasta(i)) configure.interface.up = !i.routes.empty();
    if (is_without_ipv6(i)) configure.proc = d.proc;
    if (configure.interface.up || !i.addresses.empty() ||
        (i.mtu && !std::holds_alternative<Pasta>(i.link)) || configure.proc.valid() ||
        std::holds_alternative<NatBridge>(i.link) || has_mac_set_inside(i))
      d.add(std::move(configure));
  }
  // Behind all of them: what is asked about their addresses is asked at the same time.
  for (const Interface& i : d.spec.network.interfaces) {
    const bool ready = i.ready_within.count() > 0;
    if (!i.duplicate_address_detection && !ready) continue;
    op::AwaitInterface await{.name = i.name,
                             .carrier = ready,
                             .link_local = ready && !is_without_ipv6(i),
                             .limit = ready ? i.ready_within : most_for_detection};
    if (i.duplicate_address_detection)
      for (const IpPrefix& p : i.addresses)
        if (p.address.is_v6()) await.addresses.push_back(p.address);
    d.add(std::move(await));
  }
}

}  // namespace condroid::inline v0::detail
