#include "bare_netlink.hpp"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

namespace bench {
namespace {

struct Message {
  alignas(NLMSG_ALIGNTO) char bytes[512] = {};
  std::size_t size = 0;
  std::size_t begun = 0;  ///< Where the request that is being written begins.

  template <class Head>
  void begin(std::uint16_t type, int flags, const Head& head) {
    begun = size;
    nlmsghdr h{};
    h.nlmsg_type = type;
    h.nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST);
    append(&h, sizeof h);
    append(&head, sizeof head);
    close(begun);
  }
  void append(const void* data, std::size_t length) {
    std::memcpy(bytes + size, data, length);
    size += NLMSG_ALIGN(length);
    if (begun < size) close(begun);
  }
  void put(std::uint16_t type, const void* data, std::size_t length) {
    const rtattr a{static_cast<std::uint16_t>(RTA_LENGTH(length)), type};
    append(&a, sizeof a);
    append(data, length);
  }
  std::size_t open(std::uint16_t type) {
    const std::size_t at = size;
    put(type, nullptr, 0);
    return at;
  }
  void shut(std::size_t at) {
    const auto length = static_cast<std::uint16_t>(size - at);
    std::memcpy(bytes + at, &length, sizeof length);
  }
  void close(std::size_t at) {
    const auto length = static_cast<std::uint32_t>(size - at);
    std::memcpy(bytes + at, &length, sizeof length);
  }
};

/// The answer of the one request that wants one, or of the first that failed.
int ask(int socket, const Message& m) {
  if (::send(socket, m.bytes, m.size, 0) < 0) return errno;
  alignas(NLMSG_ALIGNTO) char answer[1024];
  const ssize_t n = ::recv(socket, answer, sizeof answer, 0);
  if (n < 0) return errno;
  if (static_cast<std::size_t>(n) < NLMSG_LENGTH(sizeof(nlmsgerr))) return EPROTO;
  return -reinterpret_cast<const nlmsgerr*>(answer + NLMSG_HDRLEN)->error;
}

constexpr int make = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;

}  // namespace

int bare_socket() { return ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE); }

int bare_make_bridge(int socket, const char* name) {
  Message m;
  ifinfomsg head{};
  head.ifi_flags = head.ifi_change = IFF_UP;
  m.begin(RTM_NEWLINK, make, head);
  m.put(IFLA_IFNAME, name, std::strlen(name) + 1);
  const std::size_t info = m.open(IFLA_LINKINFO);
  m.put(IFLA_INFO_KIND, "bridge", 7);
  m.shut(info);
  return ask(socket, m);
}

int bare_make_veth(int socket, const char* host_name, int pid, unsigned bridge) {
  Message m;
  ifinfomsg head{};
  head.ifi_flags = head.ifi_change = IFF_UP;
  m.begin(RTM_NEWLINK, make, head);
  m.put(IFLA_IFNAME, host_name, std::strlen(host_name) + 1);
  m.put(IFLA_MASTER, &bridge, sizeof bridge);
  const std::size_t info = m.open(IFLA_LINKINFO);
  m.put(IFLA_INFO_KIND, "veth", 5);
  const std::size_t data = m.open(IFLA_INFO_DATA);
  const std::size_t peer = m.open(VETH_INFO_PEER);
  const ifinfomsg other{};
  m.append(&other, sizeof other);
  m.put(IFLA_IFNAME, bare_interface, std::strlen(bare_interface) + 1);
  m.put(IFLA_NET_NS_PID, &pid, sizeof pid);
  m.shut(peer);
  m.shut(data);
  m.shut(info);
  return ask(socket, m);
}

int bare_configure(int socket) {
  const unsigned index = bare_index(socket, bare_interface);
  if (index == 0) return ENODEV;
  Message m;
  ifinfomsg up{};
  up.ifi_index = static_cast<int>(index);
  up.ifi_flags = up.ifi_change = IFF_UP;
  m.begin(RTM_NEWLINK, 0, up);
  ifaddrmsg address{};
  address.ifa_family = AF_INET;
  address.ifa_prefixlen = bare_prefix;
  address.ifa_index = index;
  m.begin(RTM_NEWADDR, make, address);
  m.put(IFA_LOCAL, bare_address, sizeof bare_address);
  m.put(IFA_ADDRESS, bare_address, sizeof bare_address);
  unsigned char broadcast[4] = {bare_address[0], bare_address[1], bare_address[2], 255};
  m.put(IFA_BROADCAST, broadcast, sizeof broadcast);
  return ask(socket, m);
}

int bare_set_down(int socket, unsigned index) {
  Message m;
  ifinfomsg head{};
  head.ifi_index = static_cast<int>(index);
  head.ifi_change = IFF_UP;
  m.begin(RTM_NEWLINK, NLM_F_ACK, head);
  return ask(socket, m);
}

unsigned bare_index(int socket, const char* name) {
  ifreq request{};
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  return ::ioctl(socket, SIOCGIFINDEX, &request) < 0 ? 0
                                                     : static_cast<unsigned>(request.ifr_ifindex);
}

}  // namespace bench
