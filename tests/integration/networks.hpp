// Networks that tests make for themselves: namespaces in which a thread plays a host, what serves
// and what calls there and in containers. Only with libnl.
#pragma once

#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/resource.h>

#include <chrono>
#include <cstring>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "containers.hpp"
#include "forked.hpp"
#include "program/interface_requests.hpp"
#include "sys/netlink.hpp"
#include "sys/netlink_message.hpp"

#if CONDROID_LIBNL

namespace condroid::test {

using namespace condroid::literals;
using namespace std::chrono_literals;
using detail::NetlinkMessage;

/// A network namespace in which this thread plays the host, with a loopback.
class OwnNetwork {
 public:
  OwnNetwork() : before_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
    must(before_ && ::unshare(CLONE_NEWNET) == 0, "unshare");
    inside_ = Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    int error = 0;
    socket_ = detail::open_netlink(error);
    must(error == 0, "netlink");
    set_up("lo", {});
  }
  OwnNetwork(const OwnNetwork&) = delete;
  OwnNetwork& operator=(const OwnNetwork&) = delete;
  ~OwnNetwork() { must(::setns(before_.get(), CLONE_NEWNET) == 0, "setns"); }
  /// For another thread.
  void enter() const { must(::setns(inside_.get(), CLONE_NEWNET) == 0, "setns"); }

  /// With an Ethernet address that stays: without one it has that of a port, and what is sent to
  /// the host is lost when another container's takes its place.
  void bridge(const std::string& name, const std::vector<IpPrefix>& addresses = {},
              bool tells_vlans_apart = false) {
    NetlinkMessage m(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, ifinfomsg{});
    m.put(IFLA_IFNAME, name);
    m.put(IFLA_ADDRESS, std::array<std::uint8_t, 6>{2, 0, 0, 0, 1, ++bridges_});
    {
      const auto info = m.nest(IFLA_LINKINFO);
      m.put(IFLA_INFO_KIND, "bridge");
      if (tells_vlans_apart) {
        const auto data = m.nest(IFLA_INFO_DATA);
        m.put(IFLA_BR_VLAN_FILTERING, std::uint8_t{1});
      }
    }
    send(m);
    set_up(name, addresses);
  }
  /// Two interfaces that are one cable.
  void pair(const std::string& name, const std::string& other) {
    Interface peer{.name = other, .link = Veth{}};
    const detail::InterfaceSite site{
        .netns = inside_.get(), .host_name = name, .host_mac = "fe:00:00:00:00:01"_mac};
    const auto made = detail::ask_netlink(socket_, detail::create_request(peer, site), 1);
    must(made.error == 0, made.text);
    set_up(name, {});
    set_up(other, {});
  }
  /// A cable to another one, in which this thread is not: `name` here, at `bridge`, and `other`
  /// there.
  void cable(const std::string& name, const OwnNetwork& there, const std::string& other,
             const std::string& bridge = {}) {
    Interface peer{.name = other, .link = Veth{}};
    const detail::InterfaceSite site{.netns = there.inside_.get(),
                                     .above = bridge.empty() ? 0 : look(bridge).index,
                                     .host_name = name,
                                     .host_mac = "fe:00:00:00:00:01"_mac};
    const auto made = detail::ask_netlink(socket_, detail::create_request(peer, site), 1);
    must(made.error == 0, made.text);
  }
  void set_up(const std::string& name, const std::vector<IpPrefix>& addresses) {
    apply({.name = name, .addresses = addresses});
  }
  /// Brings an interface up, and adds what `as` has.
  void apply(const Interface& as) {
    const std::string& name = as.name;
    const auto requests = detail::setup_requests(as);
    std::string all;
    const std::uint32_t index = detail::find_interface(socket_, name).index;
    for (auto r : requests) {
      std::memcpy(r.bytes.data() + r.index_at, &index, sizeof index);
      all += r.bytes;
    }
    const auto done =
        detail::ask_netlink(socket_, all, static_cast<std::uint32_t>(requests.size()));
    must(done.error == 0, name + ": " + done.text);
  }
  void remove(const std::string& name) {
    ifinfomsg head{};
    head.ifi_index = static_cast<int>(detail::find_interface(socket_, name).index);
    NetlinkMessage m(RTM_DELLINK, NLM_F_ACK, head);
    send(m);
  }
  /// Down, which one is to be for that before Linux 6.2.
  void rename(const std::string& name, const std::string& to) {
    ifinfomsg head{};
    head.ifi_index = static_cast<int>(detail::find_interface(socket_, name).index);
    head.ifi_change = IFF_UP;
    NetlinkMessage down(RTM_NEWLINK, NLM_F_ACK, head);
    send(down);
    NetlinkMessage m(RTM_NEWLINK, NLM_F_ACK, head);
    m.put(IFLA_IFNAME, to);
    send(m);
  }
  void take_down(const std::string& name) {
    detail::InterfaceRequest down = detail::down_request();
    const std::uint32_t index = detail::find_interface(socket_, name).index;
    std::memcpy(down.bytes.data() + down.index_at, &index, sizeof index);
    must(detail::ask_netlink(socket_, down.bytes, 1).error == 0, name);
  }
  [[nodiscard]] bool has(const std::string& name) const {
    return detail::find_interface(socket_, name).error == 0;
  }
  [[nodiscard]] std::uint32_t mtu(const std::string& name) const {
    return detail::find_interface(socket_, name).mtu;
  }
  [[nodiscard]] detail::FoundInterface look(const std::string& name) const {
    return detail::find_interface(socket_, name);
  }
  static std::set<std::string> links() {
    std::set<std::string> names;
    auto* const list = ::if_nameindex();
    for (auto* i = list; i != nullptr && i->if_index != 0; ++i) names.insert(i->if_name);
    ::if_freenameindex(list);
    return names;
  }
  /// What went with a network namespace does so a little after it, or a few seconds, where
  /// connections of TCP were just being closed.
  static bool soon(const std::set<std::string>& expected) {
    for (int i = 0; i < 1000 * slow() && links() != expected; ++i)
      std::this_thread::sleep_for(10ms);
    return links() == expected;
  }

 private:
  void send(NetlinkMessage& m) {
    m.set_sequence(1);
    const auto done = detail::ask_netlink(socket_, m.bytes(), 1);
    must(done.error == 0, done.text);
  }

  Fd before_, inside_, socket_;
  std::uint8_t bridges_ = 0;
};

/// The verb of payload as a process of the host's, which is this thread's.
class OnHost {
 public:
  explicit OnHost(std::vector<std::string> args) {
    int ends[2];
    must(::pipe2(ends, O_CLOEXEC) == 0, "pipe");
    out_ = Fd(ends[0]);
    const Fd write_end(ends[1]);
    process_.emplace([&] {
      std::vector<char*> argv;
      std::string name = "payload";
      argv.push_back(name.data());
      for (std::string& a : args) argv.push_back(a.data());
      argv.push_back(nullptr);
      ::dup2(write_end.get(), 1);
      ::execv(CONDROID_PAYLOAD, argv.data());
      return 127;
    });
  }
  void wait_for(std::string_view text) { said_ += read_until(out_, text); }
  std::string end() {
    said_ += read_all(out_);
    process_->wait();
    return said_;
  }

 private:
  Fd out_;
  std::optional<Forked> process_;
  std::string said_;
};

/// As many descriptors as this program may have at most, as long as it lives.
class AllDescriptors {
 public:
  AllDescriptors() {
    must(::getrlimit(RLIMIT_NOFILE, &before_) == 0, "getrlimit");
    const rlimit all{before_.rlim_max, before_.rlim_max};
    must(::setrlimit(RLIMIT_NOFILE, &all) == 0, "setrlimit");
  }
  AllDescriptors(const AllDescriptors&) = delete;
  AllDescriptors& operator=(const AllDescriptors&) = delete;
  ~AllDescriptors() { (void)::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

struct Way {
  const char* protocol;
  bool v6;
};
inline constexpr Way ways[] = {{"tcp", false}, {"udp", false}, {"tcp", true}, {"udp", true}};

inline Spec on_network(const TempRoot& root, Interface interface, std::vector<std::string> args) {
  Spec spec = payload(root, std::move(args));
  spec.network.interfaces = {std::move(interface)};
  return spec;
}

/// A container that serves, once it says so.
struct Server {
  Container box;
  Fd out;

  Server(Spec spec, const Way& way, const IpAddress& address, int times,
         const Runtime& by = runtime())
      : box(start(spec, way, address, times, by)) {
    out = box.take_stdout();
    read_until(out, "ready=1\n");
  }
  static Container start(Spec& spec, const Way& way, const IpAddress& address, int times,
                         const Runtime& by) {
    spec.process.argv = {"/bin/payload",     "serve", way.protocol,
                         to_string(address), "7",     fmt::format("{}", times)};
    spec.process.stdio.out = Stream::pipe;
    return need(by.launch(spec));
  }
};

inline std::string answer(const IpAddress& from, std::string_view text) {
  return fmt::format("answer=for {}: {}\n", to_string(from), text);
}

}  // namespace condroid::test

#endif
