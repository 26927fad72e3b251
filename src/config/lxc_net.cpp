// The interfaces of a configuration: lxc.net.N.
#include <net/if.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include "config/lxc_translate.hpp"
#include "formatted.hpp"
#include "spec/names.hpp"

namespace condroid::inline v0::lxc_language {

namespace {

/// Those of this thread's network namespace, by their numbers; if_nameindex(3).
std::vector<std::string> interfaces_here() {
  std::map<unsigned, std::string> names;
  if (struct if_nameindex* const all = ::if_nameindex(); all != nullptr) {
    for (const struct if_nameindex* i = all; i->if_index != 0; ++i) names[i->if_index] = i->if_name;
    ::if_freenameindex(all);
  }
  std::vector<std::string> list;
  for (auto& [index, name] : names) list.push_back(std::move(name));
  return list;
}

}  // namespace

void Translator::network() {
  Spec& spec = out_.spec;
  spec.network.loopback_up = false;
  std::map<std::uint64_t, std::string> numbers;
  for (std::size_t r = 0; r < table.size(); ++r) {
    if (!of_net(table[r])) continue;
    for (const auto& [number, values] : in_.values[r]) {
      std::uint64_t n = 0;
      if (!values.empty() && read_whole(number, UINT32_MAX, n)) numbers.emplace(n, number);
    }
  }
  Names names;
  std::size_t shared = 0, typed = 0;
  for (const auto& [n, number] : numbers) {
    const auto type = text(row("lxc.net.N.type"), number);
    if (type) ++typed;
    if (type == "none") ++shared;
    if (const auto name = text(row("lxc.net.N.name"), number)) names.taken.insert(*name);
    if (type == "phys" && !text(row("lxc.net.N.name"), number)) names.taken.insert(link_of(number));
  }
  const bool here = own(Namespace::net);
  if (shared != 0 && shared == typed) spec.namespaces -= Namespace::net;
  for (const auto& [n, number] : numbers) {
    const bool none = text(row("lxc.net.N.type"), number) == "none";
    if (here || none || !text(row("lxc.net.N.type"), number))
      interface(number, names);
    else
      left_interface(number, "is not made: the network namespace is not its own");
  }
}

/// Of a phys "eth+" is an interface of the host whose name begins so: as LXC has it the last of
/// them.
std::string Translator::link_of(std::string_view number) const {
  std::string link = text(row("lxc.net.N.link"), number).value_or("");
  if (!link.ends_with('+') || text(row("lxc.net.N.type"), number) != "phys") return link;
  link.pop_back();
  std::string last;
  for (const std::string& name : how_.interfaces ? *how_.interfaces : interfaces_here())
    if (name.starts_with(link)) last = name;
  return last;
}

void Translator::left_interface(std::string_view number, std::string_view why) {
  note(place(row("lxc.net.N.type"), number), formatted("lxc.net.{} {}", number, why));
}

void Translator::interface(std::string_view number, Names& names) {
  Spec& spec = out_.spec;
  const auto type = text(row("lxc.net.N.type"), number);
  if (!type) {
    lxc::Diagnostic any;
    for (std::size_t r = 0; r < table.size() && any.key.empty(); ++r)
      if (of_net(table[r]) && in_.one(r, number) != nullptr) any = place(r, number);
    return missing({row("lxc.net.N.type")}, std::move(any),
                   formatted("there is no lxc.net.{}.type", number),
                   "veth, macvlan, ipvlan, vlan, phys, empty or none");
  }
  const bool up = text(row("lxc.net.N.flags"), number).has_value();
  if (up && *type != "none") spec.network.loopback_up = true;
  const std::string link = link_of(number);
  const auto scripts = [&](const std::string& interface_name) {
    for (const auto& [r, when] : {std::pair{row("lxc.net.N.script.up"), "up"},
                                  std::pair{row("lxc.net.N.script.down"), "down"}})
      if (const auto script = text(r, number))
        out_.program.network_scripts.push_back(
            {.interface = interface_name,
             .when = when,
             .command = *script,
             .type = *type,
             .link = link,
             .pair = text(row("lxc.net.N.veth.pair"), number).value_or("")});
  };
  if (*type == "empty" || *type == "none") {
    // LXC makes none of it either.
    if (*type == "empty") scripts("");
    for (std::size_t r = 0; r < table.size(); ++r) {
      const bool done = r == row("lxc.net.N.type") || r == row("lxc.net.N.flags") ||
                        (*type == "empty" && table[r].name.starts_with("lxc.net.N.script."));
      if (of_net(table[r]) && !done && in_.one(r, number) != nullptr)
        note(place(r, number), formatted("means nothing to the type {}", *type));
    }
    return;
  }

  Interface i;
  i.up = up;
  i.ipv6_autoconf = true;  // as the kernel has it
  const auto needs_link = [&] {
    const auto asked = text(row("lxc.net.N.link"), number);
    if (asked && link.empty())
      wrong(place(row("lxc.net.N.link"), number), "is the beginning of no interface's name here",
            "ip link shows them all");
    else if (link.empty())
      missing({row("lxc.net.N.link")}, place(row("lxc.net.N.type"), number),
              formatted("there is no lxc.net.{}.link", number), "name the interface of the host");
  };
  const auto name = text(row("lxc.net.N.name"), number);
  if (name && name->find('%') == name->npos) {
    i.name = *name;
  } else if (*type == "phys" && !name) {
    i.name = link;
  } else {
    const std::string pattern = name.value_or("eth%d");
    const std::size_t mark = pattern.find("%d");
    if (mark == pattern.npos)
      return wrong(place(row("lxc.net.N.name"), number), "has a '%' that is not %d", "eth%d");
    do {
      i.name = pattern;
      i.name.replace(mark, 2, formatted("{}", names.next[pattern]++));
    } while (!names.taken.insert(i.name).second);
  }

  const auto addresses = [&](std::size_t r) {
    for (const Value& v : list(r, number)) {
      const auto words = words_of(v.text);
      i.addresses.push_back(prefix_of(words[0]));
      const IpPrefix& p = i.addresses.back();
      if (p.address.is_v6()) continue;
      i.broadcasts.push_back(words.size() > 1 ? IpAddress::parse(words[1]).value_or(IpAddress{})
                             : p.length >= 31 ? IpAddress{}
                                              : p.last());
    }
  };
  addresses(row("lxc.net.N.ipv4.address"));
  addresses(row("lxc.net.N.ipv6.address"));
  const auto only = [](const IpAddress& a) {
    return IpPrefix{a, static_cast<std::uint8_t>(8 * a.size())};
  };
  std::vector<IpPrefix> routers;
  std::size_t automatic = 0, by_address[2] = {};
  for (const std::size_t r : {row("lxc.net.N.ipv4.gateway"), row("lxc.net.N.ipv6.gateway")}) {
    const auto gateway = text(r, number);
    if (!gateway) continue;
    const bool v6 = r == row("lxc.net.N.ipv6.gateway");
    const IpAddress router = IpAddress::parse(*gateway).value_or(IpAddress{});
    const bool reached =
        router.is_link_local() || std::ranges::any_of(i.addresses, [&](const IpPrefix& p) {
          return p.address.is_v6() == v6;
        });
    if (!up) {
      missing({row("lxc.net.N.flags")}, place(r, number), "the interface is down",
              formatted("lxc.net.{}.flags = up", number));
    } else if (*gateway == "auto" && *type != "veth" && *type != "macvlan") {
      wrong(place(r, number), "auto is for veth and macvlan", "name the gateway");
    } else if (!reached) {
      missing({v6 ? row("lxc.net.N.ipv6.address") : row("lxc.net.N.ipv4.address")},
              place(r, number), formatted("the interface has no IPv{} address", v6 ? 6 : 4),
              formatted("lxc.net.{}.ipv{}.address must be there", number, v6 ? 6 : 4));
    } else if (*gateway == "auto") {
      ++automatic;
    } else if (*gateway == "dev") {
      i.routes.push_back({.to = {.address = IpAddress::from_bytes({}, v6)}});
    } else {
      ++by_address[v6 ? 1 : 0];
      i.gateways.push_back(router);
      routers.push_back(only(router));
    }
  }
  i.gateway_auto = automatic != 0;
  if (automatic == 1) {
    // Interface::gateway_auto is of both families, but for one that is said to have none.
    const bool other_v6 = text(row("lxc.net.N.ipv6.gateway"), number) != "auto";
    const bool other = std::ranges::any_of(
        i.addresses, [&](const IpPrefix& p) { return p.address.is_v6() == other_v6; });
    if (other && by_address[other_v6 ? 1 : 0] == 0)
      i.gateways.push_back(IpAddress::from_bytes({}, other_v6));
  }
  if (auto mac = text(row("lxc.net.N.hwaddr"), number)) {
    for (char& c : *mac)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (mac->find('x') == mac->npos)
      i.mac = MacAddress::parse(*mac);
    else
      i.mac_template = *mac;
  }
  if (text(row("lxc.net.N.mtu"), number))
    i.mtu = static_cast<std::uint32_t>(this->number(row("lxc.net.N.mtu"), 0, number));

  if (*type == "veth") {
    Veth veth{.bridge = link, .host_name = text(row("lxc.net.N.veth.pair"), number).value_or("")};
    const bool router = text(row("lxc.net.N.veth.mode"), number) == "router";
    if (router) veth.bridge.clear();
    for (const std::size_t r : {row("lxc.net.N.veth.ipv4.route"), row("lxc.net.N.veth.ipv6.route")})
      for (const Value& v : list(r, number)) {
        veth.host_routes.push_back(prefix_of(v.text));
        if (!veth.bridge.empty())
          note(place(v),
               "the answers of a bridge's ports come in at the bridge: lxc.net.N.veth.mode = "
               "router has routes that lead further");
      }
    if (router) {
      // LXC answers for the gateway as a neighbour's proxy; here the host has that address.
      veth.host_addresses = routers;
      // Then the routes to the container's addresses come with it; LXC has them without, too.
      if (routers.empty())
        for (const IpPrefix& p : i.addresses) veth.host_routes.push_back(only(p.address));
    }
    if (const auto vlan = text(row("lxc.net.N.veth.vlan.id"), number))
      veth.vlan_id =
          *vlan == "none"
              ? std::uint16_t{0}
              : static_cast<std::uint16_t>(this->number(row("lxc.net.N.veth.vlan.id"), 0, number));
    for (const Value& v : list(row("lxc.net.N.veth.vlan.tagged.id"), number)) {
      std::uint64_t n = 0;
      if (read_whole(v.text, 4094, n)) veth.tagged.push_back(static_cast<std::uint16_t>(n));
    }
    veth.rx_queues =
        static_cast<std::uint32_t>(this->number(row("lxc.net.N.veth.n_rxqueues"), 0, number));
    veth.tx_queues =
        static_cast<std::uint32_t>(this->number(row("lxc.net.N.veth.n_txqueues"), 0, number));
    i.link = std::move(veth);
  } else if (*type == "macvlan") {
    needs_link();
    i.link = Macvlan{.parent = link,
                     .mode = from_name<Macvlan::Mode>(
                                 text(row("lxc.net.N.macvlan.mode"), number).value_or("private"))
                                 .value_or(Macvlan::private_)};
  } else if (*type == "ipvlan") {
    needs_link();
    i.link = Ipvlan{
        .parent = link,
        .mode = from_name<Ipvlan::Mode>(text(row("lxc.net.N.ipvlan.mode"), number).value_or("l2"))
                    .value_or(Ipvlan::l2),
        .isolation = from_name<Ipvlan::Isolation>(
                         text(row("lxc.net.N.ipvlan.isolation"), number).value_or("bridge"))
                         .value_or(Ipvlan::bridge)};
  } else if (*type == "vlan") {
    needs_link();
    i.link =
        Vlan{.parent = link,
             .id = static_cast<std::uint16_t>(this->number(row("lxc.net.N.vlan.id"), 0, number))};
  } else {
    needs_link();
    i.link = Phys{.parent = link};
  }
  if (this->number(row("lxc.net.N.l2proxy"), 0, number) != 0)
    unsupported(place(row("lxc.net.N.l2proxy"), number), "the host answers for its addresses",
                "lxc.net.N.veth.mode = router has routes instead");
  scripts(i.name);
  spec.network.interfaces.push_back(std::move(i));
}

}  // namespace condroid::inline v0::lxc_language
