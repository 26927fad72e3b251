// Brings an interface that was lent to a container home. Shared by the zygote and the library: no
// libc here.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "program/format.hpp"
#include "program/kernel.hpp"

namespace condroid::program {

// linux/rtnetlink.h, linux/if_link.h; other names of an interface: Linux 5.5
inline constexpr uint16_t rtm_dellink = 17, rtm_getlink = 18, rtm_dellinkprop = 109,
                          ifla_ext_mask = 29, ifla_prop_list = 52, attribute_type = 0x3fff;
inline constexpr uint32_t rtext_filter_skip_stats = 8;

/// What the kernel says next on a socket of rtnetlink(7); -errno. To one that is not connected with
/// the kernel others could send, too: that is not listened to for ever.
template <class System>
long hear_kernel(System& system, int socket, void* to, size_t size) {
  using namespace kernel;
  for (int others = 0; others < 1000; ++others) {
    NetlinkAddress from = {};
    int from_size = sizeof from;
    const long n =
        system(__NR_recvfrom, socket, reinterpret_cast<long>(to), static_cast<long>(size),
               msg_dontwait, reinterpret_cast<long>(&from), reinterpret_cast<long>(&from_size));
    if (n == -e_intr || (n >= 0 && from.port != 0)) continue;
    return n;
  }
  return -e_proto;
}

/// Never made a call of memcpy(3), which is not everywhere.
inline void copy_bytes(void* to, const void* from, size_t size) {
  for (size_t i = 0; i < size; ++i)
    // NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): a byte of a number is one, too
    static_cast<volatile char*>(to)[i] = static_cast<const char*>(from)[i];
}

/// Not the host's, which may have left an answer of its own in a socket that is shared with it.
inline constexpr uint32_t about_link_sequence = 0x7a796700;

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
    copy_bytes(rest_ + size_, head, sizeof head);
    copy_bytes(rest_ + size_ + sizeof head, value, size);
    size_ += whole;
    return *this;
  }
  AboutLink& put(uint16_t attribute, const char (&name)[16]) {
    uint32_t size = 0;
    while (size < sizeof name - 1 && name[size] != 0) ++size;
    return put(attribute, name, size + 1);
  }
  /// 0, or -errno. Whoever sends does the kernel's work: the answer is there after that.
  long ask() { return ask(kernel::rtm_newlink); }
  /// The interface goes.
  long remove() { return ask(rtm_dellink); }

 private:
  long ask(uint16_t type) {
    using namespace kernel;
    struct {
      NetlinkHead head;
      LinkMessage link;
      char rest[sizeof rest_];
    } message = {};
    message.head.size = static_cast<uint32_t>(sizeof message.head + sizeof link_ + size_);
    message.head.type = type;
    message.head.flags = nlm_f_request | nlm_f_ack;
    message.head.sequence = about_link_sequence;
    message.link = link_;
    copy_bytes(message.rest, rest_, size_);
    long n = call(__NR_sendto, socket_, reinterpret_cast<long>(&message),
                  static_cast<long>(message.head.size), msg_dontwait);
    if (n < 0) return n;
    struct {
      NetlinkError error;
      char rest[256];
    } answer;
    for (;;) {
      n = hear_kernel(system_, socket_, &answer, sizeof answer);
      if (n < 0) return n;
      if (n >= static_cast<long>(sizeof answer.error.head) &&
          answer.error.head.sequence != message.head.sequence)
        continue;
      if (n < static_cast<long>(sizeof answer.error) || answer.error.head.type != nlmsg_error)
        return -e_proto;
      return answer.error.error;
    }
  }
  long call(long nr, long a, long b, long c, long d) { return system_(nr, a, b, c, d, 0, 0); }

  System& system_;
  int socket_;
  kernel::LinkMessage link_ = {};
  uint32_t size_ = 0;
  char rest_[96] = {};
};

/// Takes other names from an interface, a message full of them at a time. 0: it had none; -errno.
template <class System>
long drop_other_names(System& system, int socket, uint32_t index) {
  using namespace kernel;
  struct Attribute {
    uint16_t size, type;
  };
  struct {
    NetlinkHead head;
    LinkMessage link;
    Attribute mask_head;
    uint32_t mask;
  } find = {};
  find.head = {sizeof find, rtm_getlink, nlm_f_request, 1, 0};
  find.link.index = index;
  find.mask_head = {sizeof find.mask_head + sizeof find.mask, ifla_ext_mask};
  find.mask = rtext_filter_skip_stats;
  const auto send = [&](const void* message, size_t size) {
    return system(__NR_sendto, socket, reinterpret_cast<long>(message), static_cast<long>(size),
                  msg_dontwait, 0, 0);
  };
  if (const long n = send(&find, sizeof find); n < 0) return n;
  alignas(4) char found[4096];
  const long got = hear_kernel(system, socket, found, sizeof found);
  if (got < 0) return got;
  const auto end = static_cast<size_t>(got);
  if (end < sizeof(NetlinkHead) + sizeof(LinkMessage)) return -e_proto;
  if (reinterpret_cast<const NetlinkHead*>(found)->sequence != find.head.sequence) return -e_proto;
  const uint16_t kind = reinterpret_cast<const NetlinkHead*>(found)->type;
  if (kind == nlmsg_error) return reinterpret_cast<const NetlinkError*>(found)->error;
  const auto read = [&](size_t at) {
    Attribute a;
    for (size_t i = 0; i < sizeof a; ++i) reinterpret_cast<volatile char*>(&a)[i] = found[at + i];
    return a;
  };
  const auto whole = [](size_t size) { return (size + 3U) & ~size_t{3}; };
  for (size_t at = sizeof(NetlinkHead) + sizeof(LinkMessage); at + sizeof(Attribute) <= end;) {
    Attribute a = read(at);
    if (a.size < sizeof a) return -e_proto;
    if ((a.type & attribute_type) != ifla_prop_list) {
      at += whole(a.size);
      continue;
    }
    // As many as are there in one piece. The list goes back as it came, behind a head of its own.
    size_t last = at + sizeof a;
    const size_t list_end = at + a.size < end ? at + a.size : end;
    while (last + sizeof a <= list_end) {
      const size_t next = whole(read(last).size);
      if (next < sizeof a || last + next > end) break;
      last += next;
    }
    if (last == at + sizeof a) return 0;
    const size_t begin = at - sizeof(NetlinkHead) - sizeof(LinkMessage);
    const NetlinkHead head = {static_cast<uint32_t>(last - begin), rtm_dellinkprop,
                              nlm_f_request | nlm_f_ack, 2, 0};
    a.size = static_cast<uint16_t>(last - at);
    copy_bytes(found + begin, &head, sizeof head);
    copy_bytes(found + begin + sizeof head, &find.link, sizeof find.link);
    copy_bytes(found + at, &a, sizeof a);
    if (const long n = send(found + begin, last - begin); n < 0) return n;
    NetlinkError answer;
    const long n = hear_kernel(system, socket, &answer, sizeof answer);
    if (n < 0) return n;
    const bool good = n >= static_cast<long>(sizeof answer) &&
                      answer.head.sequence == head.sequence && answer.error == 0;
    return good ? 1 : -e_proto;
  }
  return 0;
}

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
  // Somebody at home is called as one of its other names: it would not be let in for that.
  // Or it is at home already, and only its own name was taken.
  if (moved == -e_exist) {
    long had = 0;
    for (int tries = 0; tries < 64; ++tries)
      if (had = drop_other_names(system, away, lent.index); had <= 0) break;
    if (had >= 0) moved = move(lent.home_index);
    if (moved == -e_busy) moved = move(0);
  }
  return moved != 0 ? moved : e;
}

}  // namespace condroid::program
