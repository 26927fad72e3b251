#include "launch/conntrack.hpp"

#if CONDROID_LIBNL

#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "sys/netlink_message.hpp"

namespace condroid::inline v0::detail {

namespace {

// enum ctattr_filter of Linux 5.8, in older headers not there
constexpr int ask_for = 25, ask_for_first = 1;
// CTA_FILTER_F_CTA_PROTO_NUM, CTA_FILTER_F_CTA_PROTO_DST_PORT
constexpr std::uint32_t protocol_alone = 1U << 3U, protocol_and_port = protocol_alone | 1U << 5U;

NetlinkMessage message(int type, int flags, int family) {
  nfgenmsg head{};
  head.nfgen_family = static_cast<std::uint8_t>(family);
  head.version = NFNETLINK_V0;
  return {static_cast<std::uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | type), flags, head};
}

int send(FdView socket, NetlinkMessage& m) {
  m.set_sequence(1);
  const auto bytes = m.bytes();
  return ::send(socket.get(), bytes.data(), bytes.size(), 0) < 0 ? -1 : 0;
}

nlattr* in(nlattr* nest, int attribute) {
  return nest == nullptr ? nullptr
                         : nla_find(static_cast<nlattr*>(nla_data(nest)), nla_len(nest), attribute);
}

std::uint16_t port_of(nlattr* tuple, int which) {
  nlattr* const port = in(in(tuple, CTA_TUPLE_PROTO), which);
  return port == nullptr || nla_len(port) < 2 ? 0 : ntohs(nla_get_u16(port));
}

/// `which`: as of IPv4, behind which that of IPv6 comes.
std::optional<IpAddress> address_of(nlattr* tuple, int which) {
  nlattr* const ip = in(tuple, CTA_TUPLE_IP);
  nlattr* const v4 = in(ip, which);
  nlattr* const found = v4 != nullptr ? v4 : in(ip, which + (CTA_IP_V6_SRC - CTA_IP_V4_SRC));
  std::array<std::uint8_t, 16> bytes{};
  const std::size_t size = v4 != nullptr ? 4 : bytes.size();
  if (found == nullptr || static_cast<std::size_t>(nla_len(found)) != size) return {};
  std::memcpy(bytes.data(), nla_data(found), size);
  return IpAddress::from_bytes(bytes, v4 == nullptr);
}
static_assert(CTA_IP_V6_DST - CTA_IP_V4_DST == CTA_IP_V6_SRC - CTA_IP_V4_SRC);

bool in_one_of(const std::vector<IpPrefix>& all, const IpAddress& address) {
  return std::ranges::any_of(all, [&](const IpPrefix& p) { return p.contains(address); });
}

/// One that is to be forgotten.
bool is_one(nlmsghdr* head, const std::vector<DatagramFlows>& flows) {
  const auto attribute = [&](int which) { return nlmsg_find_attr(head, sizeof(nfgenmsg), which); };
  nlattr* const tuple = attribute(CTA_TUPLE_ORIG);
  nlattr* const protocol = in(in(tuple, CTA_TUPLE_PROTO), CTA_PROTO_NUM);
  // What is in a zone was put there by others.
  if (protocol == nullptr || nla_get_u8(protocol) != IPPROTO_UDP || attribute(CTA_ZONE) != nullptr)
    return false;
  const auto to = address_of(tuple, CTA_IP_V4_DST);
  const auto from = address_of(attribute(CTA_TUPLE_REPLY), CTA_IP_V4_SRC);
  nlattr* const status = attribute(CTA_STATUS);
  if (!to || !from || status == nullptr) return false;
  const bool led = (ntohl(nla_get_u32(status)) & IPS_DST_NAT) != 0;
  return std::ranges::any_of(flows, [&](const DatagramFlows& f) {
    return f.port == port_of(tuple, CTA_PROTO_DST_PORT) && (f.to.empty() || in_one_of(f.to, *to)) &&
           (led ? in_one_of(f.answered_by, *from) : f.unled);
  });
}

}  // namespace

void forget_datagrams(FdView socket, const std::vector<DatagramFlows>& flows) {
  if (flows.empty()) return;
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
  std::vector<char> buffer(32768);
  // The kernel answers while it is asked, and goes on while it is listened to. Others may send,
  // too.
  const auto next = [&] {
    for (;;) {
      if (std::chrono::steady_clock::now() >= until) return -1;
      sockaddr_nl from{};
      socklen_t size = sizeof from;
      const ssize_t n = ::recvfrom(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT,
                                   reinterpret_cast<sockaddr*>(&from), &size);
      if (n < 0 || from.nl_pid == 0) return static_cast<int>(n);
    }
  };
  const auto drain = [&] {
    while (next() > 0) {
    }
  };
  const bool one_port =
      std::ranges::all_of(flows, [&](const auto& f) { return f.port == flows[0].port; });
  for (const int family : {AF_INET, AF_INET6}) {
    drain();  // of one that was given up
    NetlinkMessage all = message(IPCTNL_MSG_CT_GET, NLM_F_DUMP, family);
    {
      const auto tuple = all.nest(CTA_TUPLE_ORIG);
      const auto protocol = all.nest(CTA_TUPLE_PROTO);
      all.put(CTA_PROTO_NUM, std::uint8_t{IPPROTO_UDP});
      if (one_port) all.put(CTA_PROTO_DST_PORT, htons(flows[0].port));
    }
    {
      const auto filter = all.nest(ask_for);
      all.put(ask_for_first, one_port ? protocol_and_port : protocol_alone);
    }
    if (send(socket, all) != 0) return;
    std::vector<std::string> tuples;
    for (bool more = true; more;) {
      int size = next();
      if (size <= 0) return;
      for (auto* h = reinterpret_cast<nlmsghdr*>(buffer.data()); nlmsg_ok(h, size) != 0;
           h = nlmsg_next(h, &size)) {
        if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR) {
          more = false;
          break;
        }
        if (!is_one(h, flows)) continue;
        nlattr* const tuple = nlmsg_find_attr(h, sizeof(nfgenmsg), CTA_TUPLE_ORIG);
        tuples.emplace_back(static_cast<const char*>(nla_data(tuple)),
                            static_cast<std::size_t>(nla_len(tuple)));
      }
    }
    for (const std::string& tuple : tuples) {
      NetlinkMessage forget = message(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, family);
      {
        const auto nest = forget.nest(CTA_TUPLE_ORIG);
        forget.append(tuple.data(), tuple.size());
      }
      if (send(socket, forget) != 0 || next() <= 0) return;
    }
  }
}

}  // namespace condroid::inline v0::detail

#else

namespace condroid::inline v0::detail {

void forget_datagrams(FdView, const std::vector<DatagramFlows>&) {}

}  // namespace condroid::inline v0::detail

#endif
