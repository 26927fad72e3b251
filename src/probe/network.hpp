// Interfaces of a network namespace of the probe's own, packet filters, and helper programs that
// connect one.
#pragma once

#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "probe/try.hpp"

namespace condroid::probe {

/// A netlink message under construction.
struct Message {
  alignas(8) char bytes[1024] = {};
  uint32_t size = 0;
  template <class T>
  T& put() {
    T& place = *reinterpret_cast<T*>(bytes + size);
    size += (sizeof(T) + 3U) & ~3U;
    return place;
  }
  uint32_t begin(uint16_t type) {
    const uint32_t at = size;
    put<nlattr>().nla_type = type;
    return at;
  }
  void end(uint32_t at) {
    reinterpret_cast<nlattr*>(bytes + at)->nla_len = static_cast<uint16_t>(size - at);
  }
  void text(uint16_t type, const char* s) {
    const uint32_t at = begin(type);
    for (size_t i = 0; i <= length(s); ++i) bytes[size + i] = s[i];
    size += static_cast<uint32_t>(length(s)) + 1;
    end(at);
    size = (size + 3U) & ~3U;
  }
  template <class T>
  void value(uint16_t type, T v) {
    const uint32_t at = begin(type);
    *reinterpret_cast<T*>(bytes + size) = v;
    size += sizeof(T);
    end(at);
    size = (size + 3U) & ~3U;
  }
};

/// Sends what begins at `at` and reads the kernel's answers until the first acknowledgement.
inline long ask(long socket, const Message& m) {
  long e = call(__NR_sendto, socket, m.bytes, m.size, 0, 0, 0);
  if (e < 0) return e;
  alignas(8) char answer[2048];
  const long n = call(__NR_recvfrom, socket, answer, sizeof answer, 0, 0, 0);
  if (n < 0) return n;
  const auto* head = reinterpret_cast<const nlmsghdr*>(answer);
  if (n < static_cast<long>(sizeof(nlmsghdr) + sizeof(int)) || head->nlmsg_type != NLMSG_ERROR)
    return -e_proto;
  return *reinterpret_cast<const int*>(answer + sizeof(nlmsghdr));
}

class Links {
 public:
  Links(Try& t, const Facts& f) : t_(t) {
    own(t, f, clone_newnet);
    socket_ = t("open netlink", call(__NR_socket, 16, 3 | sock_cloexec, NETLINK_ROUTE));
  }
  /// A new interface; `fill` adds what its kind has, `link` is the one that it is made on.
  template <class Fill>
  [[nodiscard]] long make(const char* name, const char* kind, uint32_t link, Fill fill) const {
    Message m;
    auto& head = m.put<nlmsghdr>();
    head.nlmsg_type = RTM_NEWLINK;
    head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    m.put<ifinfomsg>();
    m.text(IFLA_IFNAME, name);
    if (link != 0) m.value<uint32_t>(IFLA_LINK, link);
    const uint32_t info = m.begin(IFLA_LINKINFO);
    m.text(IFLA_INFO_KIND, kind);
    const uint32_t data = m.begin(IFLA_INFO_DATA);
    fill(m);
    m.end(data);
    m.end(info);
    head.nlmsg_len = m.size;
    return ask(socket_, m);
  }
  [[nodiscard]] long make(const char* name, const char* kind) const {
    return make(name, kind, 0, [](Message&) {});
  }
  [[nodiscard]] long veth() const {
    return make("probe0", "veth", 0, [](Message& m) {
      const uint32_t peer = m.begin(1 /* VETH_INFO_PEER */);
      m.put<ifinfomsg>();
      m.text(IFLA_IFNAME, "probe1");
      m.end(peer);
    });
  }
  [[nodiscard]] uint32_t index(const char* name) const {
    const long s = t_("open a socket", call(__NR_socket, 2, sock_dgram | sock_cloexec, 0));
    struct {
      char name[16];
      int32_t index;
      char rest[20];
    } request{};
    copy(request.name, name);
    t_("find the interface", call(__NR_ioctl, s, 0x8933 /* SIOCGIFINDEX */, &request));
    close(s);
    return static_cast<uint32_t>(request.index);
  }
  /// Something to make others on.
  [[nodiscard]] uint32_t below() const {
    if (make("probe0", "dummy") < 0) t_("make what it lies on", veth());
    return index("probe0");
  }
  [[nodiscard]] long move(const char* name, long pid) const {
    Message m;
    auto& head = m.put<nlmsghdr>();
    head.nlmsg_type = RTM_NEWLINK;
    head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    m.put<ifinfomsg>().ifi_index = static_cast<int>(index(name));
    m.value<uint32_t>(IFLA_NET_NS_PID, static_cast<uint32_t>(pid));
    head.nlmsg_len = m.size;
    return ask(socket_, m);
  }

 private:
  Try& t_;
  long socket_;
};

inline void net_veth(Try& t, const Facts& f) { t("make it", Links(t, f).veth()); }
inline void net_bridge(Try& t, const Facts& f) {
  t("make it", Links(t, f).make("probe0", "bridge"));
}
inline void net_macvlan(Try& t, const Facts& f) {
  const Links links(t, f);
  t("make it", links.make("probe2", "macvlan", links.below(), [](Message& m) {
    m.value<uint32_t>(IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
  }));
}
inline void net_ipvlan(Try& t, const Facts& f) {
  const Links links(t, f);
  t("make it", links.make("probe2", "ipvlan", links.below(),
                          [](Message& m) { m.value<uint16_t>(IFLA_IPVLAN_MODE, 0); }));
}
inline void net_vlan(Try& t, const Facts& f) {
  const Links links(t, f);
  t("make it", links.make("probe2", "vlan", links.below(),
                          [](Message& m) { m.value<uint16_t>(IFLA_VLAN_ID, 5); }));
}

/// One end of a veth goes to another namespace, as to a container.
inline void net_move(Try& t, const Facts& f) {
  const Links links(t, f);
  const Waiting child(t, "unshare", [&] { t("unshare", call(__NR_unshare, clone_newnet)); });
  t("make a veth", links.veth());
  t("move it", links.move("probe1", child.pid()));
}

inline void net_tun(Try& t, const Facts& f) {
  own(t, f, clone_newnet);
  const long tun =
      t("open /dev/net/tun", call(__NR_openat, at_fdcwd, "/dev/net/tun", o_rdwr | o_cloexec));
  struct {
    char name[16];
    int16_t flags;
    char rest[22];
  } request{};
  request.flags = IFF_TAP | IFF_NO_PI;
  t("make a tap", call(__NR_ioctl, tun, 0x400454caUL /* TUNSETIFF */, &request));
}

inline nlmsghdr& nft(Message& m, uint16_t type, uint16_t flags, uint8_t family, uint16_t res) {
  auto& head = m.put<nlmsghdr>();
  head.nlmsg_type = type;
  head.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  auto& gen = m.put<nfgenmsg>();
  gen.nfgen_family = family;
  gen.version = 0;
  gen.res_id = static_cast<uint16_t>(static_cast<unsigned>(res) << 8U);  // network order
  head.nlmsg_len = sizeof(nlmsghdr) + sizeof(nfgenmsg);
  return head;
}
/// A table with a chain that rewrites source addresses, as a container's way out needs.
inline void net_nftables(Try& t, const Facts& f) {
  own(t, f, clone_newnet);
  const long socket = t("open netlink", call(__NR_socket, 16, 3 | sock_cloexec, NETLINK_NETFILTER));
  Message m;
  nft(m, NFNL_MSG_BATCH_BEGIN, 0, 0, NFNL_SUBSYS_NFTABLES);
  const uint32_t table_at = m.size;
  auto& table = nft(m, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE, NLM_F_CREATE, 2, 0);
  m.text(NFTA_TABLE_NAME, "probe");
  table.nlmsg_len = m.size - table_at;
  const uint32_t chain_at = m.size;
  auto& chain =
      nft(m, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_ACK, 2, 0);
  m.text(NFTA_CHAIN_TABLE, "probe");
  m.text(NFTA_CHAIN_NAME, "out");
  const uint32_t hook = m.begin(NFTA_CHAIN_HOOK | NLA_F_NESTED);
  m.value<uint32_t>(NFTA_HOOK_HOOKNUM, __builtin_bswap32(4));     // postrouting
  m.value<uint32_t>(NFTA_HOOK_PRIORITY, __builtin_bswap32(100));  // of source addresses
  m.end(hook);
  m.text(NFTA_CHAIN_TYPE, "nat");
  chain.nlmsg_len = m.size - chain_at;
  nft(m, NFNL_MSG_BATCH_END, 0, 0, NFNL_SUBSYS_NFTABLES);
  t("make a table with a nat chain", ask(socket, m));
}

// ---- programs -----------------------------------------------------------------------------------

inline void ran(Try& t, long status, const char* said) {
  t("run it", status);
  if (status != 0) t.fail("run it", 0, said[0] != 0 ? said : "it failed and said nothing");
}
inline void net_pasta(Try& t, const Facts& f) {
  const char* const paths[] = {"/usr/bin/pasta", "/usr/local/bin/pasta", nullptr};
  const char* const argv[] = {"pasta", "--config-net", "--quiet", "--", "/bin/true", nullptr};
  const auto run = [&] {
    char said[160];
    ran(t, run_program(paths, argv, said), said);
  };
  // Killed while it begins it leaves a process that runs for ever, and dropping its rights takes
  // the death signal from it. What ends it is the end of a pid namespace; only root's is one it
  // works in.
  if (f.uid == 0 && call(__NR_unshare, clone_newns | clone_newpid) == 0) {
    t("make mounts private", call(__NR_mount, 0, "/", 0, ms_rec | ms_private, 0));
    t("mount proc", in_child([&] {
        if (const long e = call(__NR_mount, "proc", "/proc", "proc", 0, 0); e < 0) return e;
        run();
        return 0L;
      }));
    if (t.failed()) leave(0);  // the child has said why
    return;
  }
  run();
}
inline void net_slirp(Try& t, const Facts& f) {
  const Waiting child(t, "unshare", [&] { own(t, f, clone_newnet); });
  const Path pid = Path().add(static_cast<uint64_t>(child.pid()));
  const char* const paths[] = {"/usr/bin/slirp4netns", "/usr/local/bin/slirp4netns", nullptr};
  // It ends by itself when the other end of its exit descriptor is closed, which is so already.
  const char* const argv[] = {"slirp4netns", "--configure", "--exit-fd=3",
                              pid.text,      "tap0",        nullptr};
  Pipe gone;
  t("pipe", gone.open());
  close(gone.in);
  char said[160];
  ran(t, run_program(paths, argv, said, gone.out), said);
}
inline void net_lxc_user_nic(Try& t, const Facts& f) {
  // Without it the program refuses everybody, but makes its list of interfaces first.
  t("open /etc/lxc/lxc-usernet",
    call(__NR_openat, at_fdcwd, "/etc/lxc/lxc-usernet", o_rdonly | o_cloexec));
  // That list is in /run/lxc: one of our own where we may, which users may not.
  if (call(__NR_unshare, clone_newns) == 0) {
    t("make mounts private", call(__NR_mount, 0, "/", 0, ms_rec | ms_private, 0));
    t("mount tmpfs", call(__NR_mount, "tmpfs", "/run", "tmpfs", 0, 0));
  }
  const Waiting child(t, "unshare", [&] { own(t, f, clone_newnet); });
  const Path pid = Path().add(static_cast<uint64_t>(child.pid()));
  const char* const paths[] = {
      "/usr/lib/x86_64-linux-gnu/lxc/lxc-user-nic", "/usr/lib/aarch64-linux-gnu/lxc/lxc-user-nic",
      "/usr/libexec/lxc/lxc-user-nic", "/usr/lib/lxc/lxc-user-nic", nullptr};
  const char* const argv[] = {"lxc-user-nic", "create", "/",      "probe", pid.text,
                              "veth",         "lxcbr0", "probe0", nullptr};
  char said[160];
  const long status = run_program(paths, argv, said);
  // Its lines begin with the place in its source.
  const char* text = said;
  for (const char* c = said; *c != 0; ++c)
    if (begins(c, " - ")) {
      text = c + 3;
      break;
    }
  ran(t, status, text);
}

}  // namespace condroid::probe
