#include "sys/netlink.hpp"

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace condroid::inline v0::detail {

namespace {

struct Message {
  alignas(NLMSG_ALIGNTO) char bytes[512] = {};

  Message(std::uint16_t type, std::uint16_t flags, int index) {
    head().nlmsg_len = NLMSG_LENGTH(sizeof(ifinfomsg));
    head().nlmsg_type = type;
    head().nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST);
    head().nlmsg_seq = 1;
    reinterpret_cast<ifinfomsg*>(bytes + NLMSG_HDRLEN)->ifi_index = index;
  }
  nlmsghdr& head() { return *reinterpret_cast<nlmsghdr*>(bytes); }
  void add(std::uint16_t type, const void* data, std::size_t size) {
    const std::size_t at = NLMSG_ALIGN(head().nlmsg_len);
    const rtattr attribute{static_cast<std::uint16_t>(RTA_LENGTH(size)), type};
    std::memcpy(bytes + at, &attribute, sizeof attribute);
    std::memcpy(bytes + at + RTA_LENGTH(0), data, size);
    head().nlmsg_len = static_cast<std::uint32_t>(at + RTA_LENGTH(size));
  }
};

/// Sends and reads the answer into `answer`; errno, or 0.
int ask(FdView socket, Message& m, char* answer, std::size_t room) {
  ssize_t n = 0;
  do {
    n = ::send(socket.get(), m.bytes, m.head().nlmsg_len, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno;
  do {
    n = ::recv(socket.get(), answer, room, 0);  // the kernel answers at once
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno;
  const auto* head = reinterpret_cast<const nlmsghdr*>(answer);
  if (static_cast<std::size_t>(n) < NLMSG_HDRLEN) return EPROTO;
  if (head->nlmsg_type != NLMSG_ERROR) return 0;
  if (static_cast<std::size_t>(n) < NLMSG_LENGTH(sizeof(nlmsgerr))) return EPROTO;
  return -reinterpret_cast<const nlmsgerr*>(answer + NLMSG_HDRLEN)->error;
}

int find_interface(FdView socket, const std::string& name, int& index) {
  alignas(NLMSG_ALIGNTO) char answer[16384];
  Message find(RTM_GETLINK, 0, 0);
  find.add(IFLA_IFNAME, name.c_str(), name.size() + 1);
  if (const int e = ask(socket, find, answer, sizeof answer); e != 0) return e;
  if (reinterpret_cast<const nlmsghdr*>(answer)->nlmsg_type != RTM_NEWLINK) return EPROTO;
  index = reinterpret_cast<const ifinfomsg*>(answer + NLMSG_HDRLEN)->ifi_index;
  return 0;
}

}  // namespace

Fd open_netlink(int& error) {
  Fd s(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  error = s.valid() ? 0 : errno;
  return s;
}

int move_interface(FdView from_socket, FdView to_socket, FdView to, const std::string& name,
                   const std::string& as) {
  if (name.empty() || name.size() >= IFNAMSIZ || as.size() >= IFNAMSIZ) return EINVAL;
  int index = 0;
  if (const int e = find_interface(from_socket, name, index); e != 0) return e;
  // The kernel moves it first and finds afterwards that the name is taken.
  int other = 0;
  const int taken = find_interface(to_socket, as.empty() ? name : as, other);
  if (taken != ENODEV) return taken == 0 ? EEXIST : taken;
  Message move(RTM_NEWLINK, NLM_F_ACK, index);
  const int fd = to.get();
  move.add(IFLA_NET_NS_FD, &fd, sizeof fd);
  if (!as.empty()) move.add(IFLA_IFNAME, as.c_str(), as.size() + 1);
  alignas(NLMSG_ALIGNTO) char answer[1024];
  return ask(from_socket, move, answer, sizeof answer);
}

}  // namespace condroid::inline v0::detail
