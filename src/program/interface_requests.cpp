#include "program/interface_requests.hpp"

#if CONDROID_LIBNL

#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "formatted.hpp"
#include "sys/netlink_message.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr std::size_t index_in_link = NLMSG_HDRLEN + offsetof(ifinfomsg, ifi_index);
constexpr std::size_t index_in_address = NLMSG_HDRLEN + offsetof(ifaddrmsg, ifa_index);

std::uint8_t family_of(const IpAddress& a) { return a.is_v6() ? AF_INET6 : AF_INET; }

void put(NetlinkMessage& m, int attribute, const IpAddress& a) {
  m.put_bytes(attribute, a.bytes().data(), a.size());
}

/// Messages in the order of their numbers.
class Requests {
 public:
  void up(std::uint32_t mtu = 0) {
    ifinfomsg head{};
    head.ifi_flags = head.ifi_change = IFF_UP;
    NetlinkMessage m(RTM_NEWLINK, 0, head);
    if (mtu != 0) m.put(IFLA_MTU, mtu);
    add(std::move(m), index_in_link, "up");
  }
  void mac(const MacAddress& address) {
    NetlinkMessage m(RTM_NEWLINK, 0, ifinfomsg{});
    m.put(IFLA_ADDRESS, address.bytes);
    add(std::move(m), index_in_link, "Ethernet address " + to_string(address));
  }
  void mtu(std::uint32_t bytes) {
    NetlinkMessage m(RTM_NEWLINK, 0, ifinfomsg{});
    m.put(IFLA_MTU, bytes);
    add(std::move(m), index_in_link, formatted("MTU {}", bytes));
  }
  void address(const IpPrefix& p, const IpAddress* broadcast, bool detect = false) {
    ifaddrmsg head{};
    head.ifa_family = family_of(p.address);
    head.ifa_prefixlen = p.length;
    head.ifa_flags = p.address.is_v6() && !detect ? IFA_F_NODAD : 0;
    head.ifa_scope = p.address.is_link_local() ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
    NetlinkMessage m(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, head);
    put(m, IFA_LOCAL, p.address);
    put(m, IFA_ADDRESS, p.address);
    // Networks of two addresses and of one have none: RFC 3021.
    if (broadcast != nullptr) {
      if (!broadcast->is_any()) put(m, IFA_BROADCAST, *broadcast);
    } else if (!p.address.is_v6() && p.length < 31) {
      put(m, IFA_BROADCAST, p.last());
    }
    add(std::move(m), index_in_address, "address " + to_string(p));
  }
  void route(const Route& r, bool on_link) {
    rtmsg head{};
    head.rtm_family = family_of(r.to.address);
    head.rtm_dst_len = r.to.length;
    head.rtm_table = RT_TABLE_MAIN;
    head.rtm_protocol = RTPROT_STATIC;
    head.rtm_scope = r.via || r.to.address.is_v6() ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
    head.rtm_type = RTN_UNICAST;
    head.rtm_flags = on_link ? RTNH_F_ONLINK : 0;
    NetlinkMessage m(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, head);
    if (r.to.length != 0) put(m, RTA_DST, r.to.address);
    if (r.via) put(m, RTA_GATEWAY, *r.via);
    if (r.metric) m.put(RTA_PRIORITY, *r.metric);
    const std::size_t at = m.bytes().size() + RTA_LENGTH(0);
    m.put(RTA_OIF, std::uint32_t{0});
    add(std::move(m), at,
        formatted("route to {}{}", to_string(r.to), r.via ? " via " + to_string(*r.via) : ""));
  }
  void isolate() {
    ifinfomsg head{};
    head.ifi_family = AF_BRIDGE;
    NetlinkMessage m(RTM_SETLINK, 0, head);
    {
      const auto port = m.nest(IFLA_PROTINFO);
      m.put(IFLA_BRPORT_ISOLATED, std::uint8_t{1});
    }
    add(std::move(m), index_in_link, "isolation");
  }
  void vlan(std::uint16_t id, unsigned flags) { vlan(RTM_SETLINK, id, flags, "VLAN"); }
  void no_vlan(std::uint16_t id) { vlan(RTM_DELLINK, id, 0, "without VLAN"); }
  std::vector<InterfaceRequest> take() {
    if (!messages_.empty()) set_flags(messages_.back(), NLM_F_ACK);
    return std::move(messages_);
  }

 private:
  void add(NetlinkMessage m, std::size_t index_at, std::string what) {
    m.set_sequence(static_cast<std::uint32_t>(messages_.size() + 1));
    messages_.push_back({std::string(m.bytes()), index_at, std::move(what)});
  }
  void vlan(std::uint16_t type, std::uint16_t id, unsigned flags, std::string_view what) {
    ifinfomsg head{};
    head.ifi_family = AF_BRIDGE;
    NetlinkMessage m(type, 0, head);
    {
      const auto spec = m.nest(IFLA_AF_SPEC);
      const bridge_vlan_info info{.flags = static_cast<std::uint16_t>(flags), .vid = id};
      m.put_bytes(IFLA_BRIDGE_VLAN_INFO, &info, sizeof info);
    }
    add(std::move(m), index_in_link, formatted("{} {}", what, id));
  }
  static void set_flags(InterfaceRequest& r, std::uint16_t more) {
    auto* head = reinterpret_cast<nlmsghdr*>(r.bytes.data());
    head->nlmsg_flags = static_cast<std::uint16_t>(head->nlmsg_flags | more);
  }

  std::vector<InterfaceRequest> messages_;
};

bool reaches(const Interface& i, const IpAddress& gateway) {
  return gateway.is_link_local() ||
         std::ranges::any_of(i.addresses, [&](const IpPrefix& p) { return p.contains(gateway); });
}

/// Both ends have it, or the one there is.
void put_mtu(NetlinkMessage& m, const InterfaceSite& site) {
  if (site.mtu != 0) m.put(IFLA_MTU, site.mtu);
}

/// Attributes of the interface in the container.
void put_inner(NetlinkMessage& m, const Interface& i, const InterfaceSite& site) {
  m.put(IFLA_IFNAME, i.name);
  m.put(IFLA_NET_NS_FD, static_cast<std::uint32_t>(site.netns));
  if (i.mac) m.put(IFLA_ADDRESS, i.mac->bytes);
  put_mtu(m, site);
}

/// Also of both ends.
void put_queues(NetlinkMessage& m, const Veth& l) {
  if (l.tx_queues != 0) m.put(IFLA_NUM_TX_QUEUES, l.tx_queues);
  if (l.rx_queues != 0) m.put(IFLA_NUM_RX_QUEUES, l.rx_queues);
}

void put_link(NetlinkMessage& m, const Interface& i, const InterfaceSite& site, const Veth& l) {
  m.put(IFLA_IFNAME, site.host_name);
  m.put(IFLA_ADDRESS, site.host_mac.bytes);
  put_mtu(m, site);
  put_queues(m, l);
  if (site.above != 0) m.put(IFLA_MASTER, site.above);
  const auto info = m.nest(IFLA_LINKINFO);
  m.put(IFLA_INFO_KIND, "veth");
  const auto data = m.nest(IFLA_INFO_DATA);
  const auto peer = m.nest(VETH_INFO_PEER);
  const ifinfomsg head{};
  m.append(&head, sizeof head);
  put_inner(m, i, site);
  put_queues(m, l);
}

void put_link(NetlinkMessage& m, const Interface& i, const InterfaceSite& site,
              const NatBridge& /*l*/) {
  put_link(m, i, site, Veth{});
}

void put_above(NetlinkMessage& m, const Interface& i, const InterfaceSite& site) {
  put_inner(m, i, site);
  m.put(IFLA_LINK, site.above);
}

void put_link(NetlinkMessage& m, const Interface& i, const InterfaceSite& site, const Macvlan& l) {
  put_above(m, i, site);
  const auto info = m.nest(IFLA_LINKINFO);
  m.put(IFLA_INFO_KIND, "macvlan");
  const auto data = m.nest(IFLA_INFO_DATA);
  m.put(IFLA_MACVLAN_MODE, std::uint32_t{1} << l.mode);  // in the order of our own
}
static_assert(MACVLAN_MODE_PRIVATE == 1U << Macvlan::private_ &&
              MACVLAN_MODE_VEPA == 1U << Macvlan::vepa &&
              MACVLAN_MODE_BRIDGE == 1U << Macvlan::bridge &&
              MACVLAN_MODE_PASSTHRU == 1U << Macvlan::passthru);

void put_link(NetlinkMessage& m, const Interface& i, const InterfaceSite& site, const Ipvlan& l) {
  put_above(m, i, site);
  const auto info = m.nest(IFLA_LINKINFO);
  m.put(IFLA_INFO_KIND, "ipvlan");
  const auto data = m.nest(IFLA_INFO_DATA);
  m.put(IFLA_IPVLAN_MODE, static_cast<std::uint16_t>(l.mode));
  m.put(IFLA_IPVLAN_FLAGS, static_cast<std::uint16_t>(l.isolation));  // bits of it
}
static_assert(IPVLAN_MODE_L2 == int{Ipvlan::l2} && IPVLAN_MODE_L3 == int{Ipvlan::l3} &&
              IPVLAN_MODE_L3S == int{Ipvlan::l3s} && IPVLAN_F_PRIVATE == Ipvlan::private_ &&
              IPVLAN_F_VEPA == Ipvlan::vepa);

void put_link(NetlinkMessage& m, const Interface& i, const InterfaceSite& site, const Vlan& l) {
  put_above(m, i, site);
  const auto info = m.nest(IFLA_LINKINFO);
  m.put(IFLA_INFO_KIND, "vlan");
  const auto data = m.nest(IFLA_INFO_DATA);
  m.put(IFLA_VLAN_ID, l.id);
}

void put_link(NetlinkMessage& m, const Interface& i, const InterfaceSite& site, const Phys& /*l*/) {
  put_inner(m, i, site);
  m.put(IFLA_NEW_IFINDEX, site.index);
}

// Made by their descriptor.
void put_link(NetlinkMessage&, const Interface&, const InterfaceSite&, const Tap&) {}
void put_link(NetlinkMessage&, const Interface&, const InterfaceSite&, const Tun&) {}
/// Their programs make them.
void put_link(NetlinkMessage&, const Interface&, const InterfaceSite&, const UserNic&) {}
void put_link(NetlinkMessage& /*m*/, const Interface& /*i*/, const InterfaceSite& /*site*/,
              const Pasta& /*l*/) {}

}  // namespace

std::vector<InterfaceRequest> setup_requests(const Interface& interface) {
  Requests r;
  const bool by_program = std::holds_alternative<UserNic>(interface.link);
  const bool by_descriptor =
      std::holds_alternative<Tap>(interface.link) || std::holds_alternative<Tun>(interface.link);
  if (by_program && interface.mac) r.mac(*interface.mac);
  if ((by_program || by_descriptor) && interface.mtu) r.mtu(*interface.mtu);
  // One that pasta made has its own.
  const bool ours = !std::holds_alternative<Pasta>(interface.link);
  if (interface.up) r.up(ours ? 0 : interface.mtu.value_or(0));
  std::size_t v4 = 0;
  for (const IpPrefix& p : interface.addresses) {
    const bool own = !p.address.is_v6() && v4 < interface.broadcasts.size();
    r.address(p, own ? &interface.broadcasts[v4] : nullptr, interface.duplicate_address_detection);
    if (!p.address.is_v6()) ++v4;
  }
  for (const Route& route : interface.routes)
    r.route(route, route.via && !reaches(interface, *route.via));
  for (const IpAddress& gateway : interface.gateways) {
    const IpAddress any = IpPrefix{gateway, 0}.first();
    r.route({.to = {any, 0}, .via = gateway}, !reaches(interface, gateway));
  }
  return r.take();
}

std::vector<InterfaceRequest> host_end_requests(const Interface& interface) {
  const auto* veth = std::get_if<Veth>(&interface.link);
  Requests r;
  if (veth == nullptr || !veth->bridge.empty()) return r.take();
  for (const IpPrefix& p : veth->host_addresses) r.address(p, nullptr);
  for (const IpPrefix& p : interface.addresses) {
    const bool there = std::ranges::any_of(
        veth->host_addresses, [&](const IpPrefix& mine) { return mine.contains(p.address); });
    const auto whole = static_cast<std::uint8_t>(8 * p.address.size());
    if (!there && !veth->host_addresses.empty()) r.route({.to = {p.address, whole}}, false);
  }
  for (const IpPrefix& p : veth->host_routes) r.route({.to = p}, false);
  return r.take();
}

InterfaceRequest down_request() {
  ifinfomsg head{};
  head.ifi_change = IFF_UP;
  NetlinkMessage m(RTM_NEWLINK, NLM_F_ACK, head);
  m.set_sequence(1);
  return {std::string(m.bytes()), index_in_link, "down"};
}

std::vector<InterfaceRequest> port_requests(const Veth& veth, std::uint16_t default_vlan) {
  Requests r;
  if (veth.isolated) r.isolate();
  if (veth.vlan_id && *veth.vlan_id != 0)
    r.vlan(*veth.vlan_id, BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED);
  if (veth.vlan_id && default_vlan != 0 && default_vlan != *veth.vlan_id) r.no_vlan(default_vlan);
  for (const std::uint16_t id : veth.tagged) r.vlan(id, 0);
  for (const IpPrefix& p : veth.host_routes) r.route({.to = p}, false);
  return r.take();
}

std::string create_request(const Interface& interface, const InterfaceSite& site) {
  ifinfomsg head{};
  // The host's end of a pair is up at once; the container's other kinds are brought up there.
  if (std::holds_alternative<Veth>(interface.link)) head.ifi_flags = head.ifi_change = IFF_UP;
  const bool moves = std::holds_alternative<Phys>(interface.link);
  if (moves) head.ifi_index = static_cast<int>(site.above);
  NetlinkMessage m(RTM_NEWLINK, NLM_F_ACK | (moves ? 0 : NLM_F_CREATE | NLM_F_EXCL), head);
  std::visit([&](const auto& link) { put_link(m, interface, site, link); }, interface.link);
  m.set_sequence(1);
  return std::string(m.bytes());
}

}  // namespace condroid::inline v0::detail

#else

namespace condroid::inline v0::detail {

// compile() refuses what would need them.
std::vector<InterfaceRequest> setup_requests(const Interface& /*interface*/) { return {}; }
std::vector<InterfaceRequest> host_end_requests(const Interface& /*interface*/) { return {}; }
InterfaceRequest down_request() { return {}; }
std::vector<InterfaceRequest> port_requests(const Veth& /*veth*/, std::uint16_t /*default_vlan*/) {
  return {};
}
std::string create_request(const Interface& /*interface*/, const InterfaceSite& /*site*/) {
  return {};
}

}  // namespace condroid::inline v0::detail

#endif
