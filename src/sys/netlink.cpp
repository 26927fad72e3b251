#include "sys/netlink.hpp"

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#if CONDROID_LIBNL
#include <netlink/attr.h>
#include <netlink/msg.h>

#include "sys/netlink_message.hpp"
#endif

namespace condroid::inline v0::detail {

Fd open_netlink(int& error, int protocol) {
  Fd s(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  error = s.valid() ? 0 : errno;
  const int on = 1;
  if (s.valid()) {
    // Nobody else can send to one that is connected with the kernel: an answer would have no room.
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    if (::connect(s.get(), reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel) < 0)
      error = errno;
    // Without these it is told less.
    (void)::setsockopt(s.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    (void)::setsockopt(s.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  }
  return error == 0 ? std::move(s) : Fd();
}

#if CONDROID_LIBNL

namespace {

struct Buffer {
  alignas(NLMSG_ALIGNTO) char bytes[32768];
  ssize_t size = 0;
};

int send_all(FdView socket, std::string_view messages) {
  for (;;) {
    const ssize_t n = ::send(socket.get(), messages.data(), messages.size(), MSG_NOSIGNAL);
    if (n >= 0) return 0;
    if (errno != EINTR) return errno;
  }
}

/// The answer is there when the send returns: whoever sends does the work. Others may send to the
/// socket, too: what is not the kernel's is none.
int receive(FdView socket, Buffer& to) {
  sockaddr_nl from{};
  do {
    socklen_t size = sizeof from;
    to.size = ::recvfrom(socket.get(), to.bytes, sizeof to.bytes, 0,
                         reinterpret_cast<sockaddr*>(&from), &size);
  } while (to.size < 0 ? errno == EINTR : from.nl_pid != 0);
  return to.size < 0 ? errno : 0;
}

/// The words behind an error: an attribute behind the head of the message that it is about.
std::string text_of(nlmsghdr* answer, const nlmsgerr& error) {
  if ((answer->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
  std::size_t skip = sizeof error;
  if ((answer->nlmsg_flags & NLM_F_CAPPED) == 0) skip += error.msg.nlmsg_len - sizeof error.msg;
  const nlattr* text = nlmsg_find_attr(answer, static_cast<int>(skip), NLMSGERR_ATTR_MSG);
  if (text == nullptr) return {};
  const std::string_view all(static_cast<const char*>(nla_data(text)),
                             static_cast<std::size_t>(nla_len(text)));
  return std::string(all.substr(0, all.find('\0')));
}

}  // namespace

NetlinkAnswer ask_netlink(FdView socket, std::string_view messages, std::uint32_t last) {
  if (const int e = send_all(socket, messages); e != 0) return {.error = e};
  Buffer buffer;
  for (;;) {
    if (const int e = receive(socket, buffer); e != 0) return {.error = e};
    auto* head = reinterpret_cast<nlmsghdr*>(buffer.bytes);
    if (nlmsg_ok(head, static_cast<int>(buffer.size)) == 0 || head->nlmsg_type != NLMSG_ERROR ||
        nlmsg_datalen(head) < static_cast<int>(sizeof(nlmsgerr)))
      return {.error = EPROTO};
    const auto& error = *static_cast<const nlmsgerr*>(nlmsg_data(head));
    if (error.error != 0)
      return {.error = -error.error, .at = head->nlmsg_seq, .text = text_of(head, error)};
    if (head->nlmsg_seq == last) return {};
  }
}

FoundInterface find_interface(FdView socket, const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ) return {.error = EINVAL};
  NetlinkMessage find(RTM_GETLINK, 0, ifinfomsg{});
  find.put(IFLA_IFNAME, name);
  if (const int e = send_all(socket, find.bytes()); e != 0) return {.error = e};
  Buffer buffer;
  if (const int e = receive(socket, buffer); e != 0) return {.error = e};
  auto* head = reinterpret_cast<nlmsghdr*>(buffer.bytes);
  if (nlmsg_ok(head, static_cast<int>(buffer.size)) == 0) return {.error = EPROTO};
  if (head->nlmsg_type == NLMSG_ERROR && nlmsg_datalen(head) >= static_cast<int>(sizeof(nlmsgerr)))
    return {.error = -static_cast<const nlmsgerr*>(nlmsg_data(head))->error};
  if (head->nlmsg_type != RTM_NEWLINK || nlmsg_valid_hdr(head, sizeof(ifinfomsg)) == 0)
    return {.error = EPROTO};
  FoundInterface found{
      .index = static_cast<std::uint32_t>(static_cast<ifinfomsg*>(nlmsg_data(head))->ifi_index)};
  if (nlattr* name_now = nlmsg_find_attr(head, sizeof(ifinfomsg), IFLA_IFNAME); name_now != nullptr)
    found.name = nla_get_string(name_now);
  if (nlattr* mtu = nlmsg_find_attr(head, sizeof(ifinfomsg), IFLA_MTU); mtu != nullptr)
    found.mtu = nla_get_u32(mtu);
  if (nlattr* master = nlmsg_find_attr(head, sizeof(ifinfomsg), IFLA_MASTER); master != nullptr)
    found.master = nla_get_u32(master);
  if (nlattr* mac = nlmsg_find_attr(head, sizeof(ifinfomsg), IFLA_ADDRESS); mac != nullptr)
    found.mac.assign(static_cast<const char*>(nla_data(mac)),
                     static_cast<std::size_t>(nla_len(mac)));
  if (nlattr* info = nlmsg_find_attr(head, sizeof(ifinfomsg), IFLA_LINKINFO); info != nullptr) {
    const auto in = [](nlattr* nest, int attribute) {
      return nest == nullptr
                 ? nullptr
                 : nla_find(static_cast<nlattr*>(nla_data(nest)), nla_len(nest), attribute);
    };
    if (nlattr* kind = in(info, IFLA_INFO_KIND); kind != nullptr) found.kind = nla_get_string(kind);
    nlattr* data = found.kind == "bridge" ? in(info, IFLA_INFO_DATA) : nullptr;
    if (nlattr* filters = in(data, IFLA_BR_VLAN_FILTERING); filters != nullptr)
      found.vlan_filtering = nla_get_u8(filters) != 0;
    if (nlattr* vlan = in(data, IFLA_BR_VLAN_DEFAULT_PVID); vlan != nullptr)
      found.default_vlan = nla_get_u16(vlan);
  }
  return found;
}

NetlinkAnswer create_bridge_link(FdView socket, const std::string& name, std::uint32_t index,
                                 const std::array<std::uint8_t, 6>& mac) {
  ifinfomsg head{};
  head.ifi_index = static_cast<int>(index);
  NetlinkMessage m(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, head);
  m.put(IFLA_IFNAME, name);
  m.put(IFLA_ADDRESS, mac);
  {
    const auto info = m.nest(IFLA_LINKINFO);
    m.put(IFLA_INFO_KIND, "bridge");
  }
  m.set_sequence(1);
  return ask_netlink(socket, m.bytes(), 1);
}

int remove_link(FdView socket, std::uint32_t index) {
  ifinfomsg head{};
  head.ifi_index = static_cast<int>(index);
  NetlinkMessage m(RTM_DELLINK, NLM_F_ACK, head);
  m.set_sequence(1);
  return ask_netlink(socket, m.bytes(), 1).error;
}

int move_interface(FdView from_socket, FdView to_socket, FdView to, const std::string& name,
                   const std::string& as) {
  if (as.size() >= IFNAMSIZ) return EINVAL;
  const FoundInterface found = find_interface(from_socket, name);
  if (found.error != 0) return found.error;
  // The kernel moves it first and finds afterwards that the name is taken.
  const int taken = find_interface(to_socket, as.empty() ? name : as).error;
  if (taken != ENODEV) return taken == 0 ? EEXIST : taken;
  ifinfomsg head{};
  head.ifi_index = static_cast<int>(found.index);
  NetlinkMessage move(RTM_NEWLINK, NLM_F_ACK, head);
  move.put(IFLA_NET_NS_FD, to.get());
  if (!as.empty()) move.put(IFLA_IFNAME, as);
  move.set_sequence(1);
  return ask_netlink(from_socket, move.bytes(), 1).error;
}

#else

NetlinkAnswer ask_netlink(FdView, std::string_view, std::uint32_t) { return {.error = EOPNOTSUPP}; }
FoundInterface find_interface(FdView, const std::string&) { return {.error = EOPNOTSUPP}; }
NetlinkAnswer create_bridge_link(FdView, const std::string&, std::uint32_t,
                                 const std::array<std::uint8_t, 6>&) {
  return {.error = EOPNOTSUPP};
}
int remove_link(FdView, std::uint32_t) { return EOPNOTSUPP; }
int move_interface(FdView, FdView, FdView, const std::string&, const std::string&) {
  return EOPNOTSUPP;
}

#endif

}  // namespace condroid::inline v0::detail
