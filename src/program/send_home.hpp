// Brings an interface that was lent to a container home. Shared by the zygote and the library: no
// libc here.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "program/format.hpp"
#include "program/kernel.hpp"

namespace condroid::program {

/// A message of rtnetlink(7) about one interface, and its answer. `System` as of the Interpreter.
template <class System>
class AboutLink {
 public:
  AboutLink(System& system, int socket, uint32_t index) : system_(system), socket_(socket) {
    link_.index = index;
  }
  AboutLink& down() {
    link_.change = kernel::iff_up;
    return *this;
  }
  AboutLink& put(uint16_t attribute, const void* value, uint32_t size) {
    const uint16_t head[2] = {static_cast<uint16_t>(sizeof head + size), attribute};
    const uint32_t whole = (head[0] + 3U) & ~3U;
    if (size_ + whole > sizeof rest_) return *this;
    copy(rest_ + size_, head, sizeof head);
    copy(rest_ + size_ + sizeof head, value, size);
    size_ += whole;
    return *this;
  }
  AboutLink& put(uint16_t attribute, const char (&name)[16]) {
    uint32_t size = 0;
    while (size < sizeof name - 1 && name[size] != 0) ++size;
    return put(attribute, name, size + 1);
  }
  /// 0, or -errno. Whoever sends does the kernel's work: the answer is there after that.
  long ask() {
    using namespace kernel;
    struct {
      NetlinkHead head;
      LinkMessage link;
      char rest[sizeof rest_];
    } message = {};
    message.head.size = static_cast<uint32_t>(sizeof message.head + sizeof link_ + size_);
    message.head.type = rtm_newlink;
    message.head.flags = nlm_f_request | nlm_f_ack;
    message.head.sequence = 1;
    message.link = link_;
    copy(message.rest, rest_, size_);
    long n = call(__NR_sendto, socket_, reinterpret_cast<long>(&message),
                  static_cast<long>(message.head.size), msg_dontwait);
    if (n < 0) return n;
    struct {
      NetlinkError error;
      char rest[256];
    } answer;
    for (;;) {
      n = call(__NR_recvfrom, socket_, reinterpret_cast<long>(&answer), sizeof answer,
               msg_dontwait);
      if (n == -e_intr) continue;
      if (n < 0) return n;
      if (n < static_cast<long>(sizeof answer.error) || answer.error.head.type != nlmsg_error)
        return -e_proto;
      if (answer.error.head.sequence == message.head.sequence) return answer.error.error;
    }
  }

 private:
  static void copy(void* to, const void* from, size_t size) {
    for (size_t i = 0; i < size; ++i)
      static_cast<volatile char*>(to)[i] = static_cast<const char*>(from)[i];
  }
  long call(long nr, long a, long b, long c, long d) { return system_(nr, a, b, c, d, 0, 0); }

  System& system_;
  int socket_;
  kernel::LinkMessage link_ = {};
  uint32_t size_ = 0;
  char rest_[96] = {};
};

/// `away` is a netlink socket of the namespace in which it is, `home` the namespace in which it
/// was. 0, also when it is not there any more; -errno: -EEXIST, when it is at home under `spare`.
template <class System>
long send_home(System& system, int away, int home, const LentInterface& lent) {
  using namespace kernel;
  const auto about = [&] { return AboutLink<System>(system, away, lent.index); };
  if (about().down().ask() == -e_nodev) return 0;
  // Somebody may have changed all of it. At home it would be changed under the eyes of others.
  long e = lent.mtu != 0 ? about().put(ifla_mtu, &lent.mtu, sizeof lent.mtu).ask() : 0;
  if (lent.mac_size != 0 && lent.mac_size <= sizeof lent.mac)
    if (const long mac = about().put(ifla_address, lent.mac, lent.mac_size).ask(); e == 0) e = mac;
  // Under a name that is free at home: the kernel moves first and names afterwards.
  (void)about().put(ifla_ifname, lent.spare).ask();
  const auto move = [&](uint32_t index) {
    const int32_t to = home;
    auto message = about();
    message.put(ifla_net_ns_fd, &to, sizeof to).put(ifla_ifname, lent.name);
    if (index != 0) message.put(ifla_new_ifindex, &index, sizeof index);
    return message.ask();
  };
  long moved = move(lent.home_index);
  if (moved == -e_busy) moved = move(0);  // another has that index now
  return moved != 0 ? moved : e;
}

}  // namespace condroid::program
