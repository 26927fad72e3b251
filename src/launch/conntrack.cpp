#include "launch/conntrack.hpp"

#if CONDROID_LIBNL

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <poll.h>
#include <sys/socket.h>

#include <string>
#include <vector>

#include "sys/netlink_message.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::detail {

namespace {

// enum ctattr_filter of Linux 5.8, in older headers not there
constexpr int ask_for = 25, ask_for_first = 1;
// CTA_FILTER_F_CTA_PROTO_NUM, CTA_FILTER_F_CTA_PROTO_DST_PORT
constexpr std::uint32_t protocol_and_port = 1U << 3U | 1U << 5U;

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

bool goes_to(nlattr* tuple, std::uint16_t port) {
  nlattr* const protocol = in(in(tuple, CTA_TUPLE_PROTO), CTA_PROTO_NUM);
  nlattr* const to = in(in(tuple, CTA_TUPLE_PROTO), CTA_PROTO_DST_PORT);
  return protocol != nullptr && to != nullptr && nla_get_u8(protocol) == IPPROTO_UDP &&
         nla_get_u16(to) == htons(port);
}

}  // namespace

void forget_datagrams(FdView socket, std::uint16_t port) {
  std::vector<char> buffer(32768);
  // The kernel answers while it is asked; what hangs would hang us.
  const auto next = [&] {
    return wait_for_fd(socket.get(), POLLIN, 1000) > 0
               ? static_cast<int>(::recv(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT))
               : -1;
  };
  for (const int family : {AF_INET, AF_INET6}) {
    while (::recv(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT) > 0) {
    }
    NetlinkMessage all = message(IPCTNL_MSG_CT_GET, NLM_F_DUMP, family);
    {
      const auto tuple = all.nest(CTA_TUPLE_ORIG);
      const auto protocol = all.nest(CTA_TUPLE_PROTO);
      all.put(CTA_PROTO_NUM, std::uint8_t{IPPROTO_UDP});
      all.put(CTA_PROTO_DST_PORT, htons(port));
    }
    {
      const auto filter = all.nest(ask_for);
      all.put(ask_for_first, protocol_and_port);
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
        nlattr* const tuple = nlmsg_find_attr(h, sizeof(nfgenmsg), CTA_TUPLE_ORIG);
        if (tuple != nullptr && goes_to(tuple, port))
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

void forget_datagrams(FdView, std::uint16_t) {}

}  // namespace condroid::inline v0::detail

#endif
