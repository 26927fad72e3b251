// Interfaces of a container, made by the host in the child's network namespace.
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_tun.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "formatted.hpp"
#include "launch/engine.hpp"
#include "launch/interfaces.hpp"
#include "program/interface_requests.hpp"
#include "program/send_home.hpp"
#include "program/syscall.hpp"
#include "spec/links.hpp"
#include "sys/kernel_files.hpp"
#include "sys/netlink.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::detail {

namespace {

/// The kernel takes network namespaces apart in a thread of its own, one after the other.
constexpr std::chrono::seconds most_for_the_last{3};

// linux/pidfd.h, Linux 6.11
constexpr unsigned long pidfd_get_net_namespace = _IO(0xFF, 4);

std::uint64_t random_number() {
  std::uint64_t n = 0;
  if (::getrandom(&n, sizeof n, GRND_NONBLOCK) != static_cast<ssize_t>(sizeof n))
    n = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  return n;
}

std::string random_name(const char* prefix) {
  return formatted("{}{:011x}", prefix, random_number() & 0xfffffffffffU);
}

/// Of each of `marks` in a name or an Ethernet address, a random digit.
std::string filled(std::string text, std::string_view mark) {
  std::uint64_t n = random_number();
  for (std::size_t at = 0; (at = text.find(mark, at)) != text.npos; n >>= 4U)
    text.replace(at++, mark.size(), 1, "0123456789abcdef"[n & 15U]);
  return text;
}

/// With the digits that the Spec leaves open.
Interface with_mac(Interface i) {
  if (i.mac_template.empty()) return i;
  std::ranges::replace(i.mac_template, 'X', 'x');
  i.mac = MacAddress::parse(filled(i.mac_template, "x"));
  if (i.mac) i.mac->bytes[0] &= 0xfeU;  // one interface's
  return i;
}

/// A local one, so high that a bridge does not take it for its own: that is its ports' lowest.
MacAddress high_mac() {
  const std::uint64_t n = random_number();
  MacAddress mac;
  std::memcpy(mac.bytes.data(), &n, mac.bytes.size());
  mac.bytes[0] = 0xfe;
  return mac;
}

/// 0 and errno when there is none.
std::uint32_t index_of(FdView socket, const std::string& name) {
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  if (::ioctl(socket.get(), SIOCGIFINDEX, &request) < 0) return 0;
  return static_cast<std::uint32_t>(request.ifr_ifindex);
}

/// In the network namespace of this thread; of IPv6 rather one that is not of the link alone.
std::optional<IpAddress> first_address(const std::string& name, bool v6) {
  std::optional<IpAddress> found;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) < 0) return found;
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || name != i->ifa_name) continue;
    if (i->ifa_addr->sa_family != (v6 ? AF_INET6 : AF_INET)) continue;
    std::array<std::uint8_t, 16> bytes{};
    if (v6)
      std::memcpy(bytes.data(), &reinterpret_cast<sockaddr_in6*>(i->ifa_addr)->sin6_addr, 16);
    else
      std::memcpy(bytes.data(), &reinterpret_cast<sockaddr_in*>(i->ifa_addr)->sin_addr, 4);
    const IpAddress address = IpAddress::from_bytes(bytes, v6);
    if (!found || (found->is_link_local() && !address.is_link_local())) found = address;
  }
  ::freeifaddrs(list);
  return found;
}

/// One interface that is being made, with what its errors say.
struct Maker {
  const op::CreateInterface& op;
  Fd socket = {};
  std::uint16_t default_vlan = 0;  ///< Of the bridge.
  bool takes_macvlans = false;     ///< What is above: an Ethernet whose packets are long enough.

  [[nodiscard]] tl::unexpected<Error> wrong(int error, const std::string& more = {},
                                            const std::string& kernel = {}) const {
    return fail(error, Step::create_interface,
                formatted("{}{}{}", describe(Op(op)), more.empty() ? "" : ": " + more,
                          kernel.empty() ? "" : " (kernel: " + kernel + ")"));
  }

  Result<void> find_above(InterfaceSite& site) {
    const std::string name(parent_of(op.interface.link));
    if (op.interface.mtu) site.mtu = *op.interface.mtu;
    if (name.empty()) return {};
    const FoundInterface found = find_interface(socket, name);
    if (found.error != 0) return wrong(found.error);
    if (std::holds_alternative<Veth>(op.interface.link)) {
      if (found.kind != "bridge")
        return fail(make_error(Errc::unsupported, Step::create_interface,
                               formatted("{}: '{}' is {}", describe(Op(op)), name,
                                         found.kind.empty() ? "no bridge" : "a " + found.kind),
                               "name a bridge: ip link add NAME type bridge"));
      const auto& veth = std::get<Veth>(op.interface.link);
      if ((veth.vlan_id || !veth.tagged.empty()) && !found.vlan_filtering)
        return fail(
            make_error(Errc::unsupported, Step::create_interface,
                       formatted("{}: '{}' does not tell VLANs apart", describe(Op(op)), name),
                       formatted("ip link set {} type bridge vlan_filtering 1", name)));
      default_vlan = found.default_vlan;
      if (site.mtu == 0) site.mtu = found.mtu;
    }
    site.above = found.index;
    constexpr std::uint32_t loopback = 1;  // never
    takes_macvlans = found.mac.size() == site.host_mac.bytes.size() && found.index != loopback &&
                     site.mtu <= found.mtu;
    // By these the bridge's and its ports' are told from all others.
    if (found.kind == "bridge" && found.mac.size() == site.host_mac.bytes.size())
      for (std::size_t i = 0; i < bits_of_host_ends.bytes.size(); ++i)
        if (bits_of_host_ends.bytes[i] != 0)
          site.host_mac.bytes[i] = static_cast<std::uint8_t>(found.mac[i]);
    return {};
  }

  /// Whether it may be the last container's that is in the way: of a parent's VLANs each number is
  /// one's, and what passes all through is the only one of its parent.
  [[nodiscard]] bool may_be_going(int error) const {
    return (std::holds_alternative<Vlan>(op.interface.link) && error == EEXIST) ||
           (std::holds_alternative<Macvlan>(op.interface.link) && error == EINVAL &&
            takes_macvlans);
  }

  /// Who is at the other end of a cable may announce himself as a router, once he has a raw socket.
  Result<void> believe_nobody(const std::string& name) const {
    if (!std::get<Veth>(op.interface.link).bridge.empty()) return {};
    const Fd settings(::open("/proc/sys/net/ipv6/conf", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!settings.valid() && errno == ENOENT) return {};  // a kernel without IPv6
    const int e = settings.valid()
                      ? write_file_at(settings.get(), (name + "/accept_ra").c_str(), "0")
                      : errno;
    if (e != 0) return wrong(e, formatted("accept_ra of '{}'", name));
    return {};
  }
  /// What concerns the host's end by its index.
  Result<void> set_up_host_end(std::uint32_t index) const {
    const auto& veth = std::get<Veth>(op.interface.link);
    auto requests =
        veth.bridge.empty() ? host_end_requests(op.interface) : port_requests(veth, default_vlan);
    if (requests.empty()) return {};
    std::string messages;
    for (InterfaceRequest& r : requests) {
      std::memcpy(r.bytes.data() + r.index_at, &index, sizeof index);
      messages += r.bytes;
    }
    const auto answer = ask_netlink(socket, messages, static_cast<std::uint32_t>(requests.size()));
    if (answer.error == 0) return {};
    const bool known = answer.at >= 1 && answer.at <= requests.size();
    return wrong(answer.error, known ? requests[answer.at - 1].what : std::string{}, answer.text);
  }
};

Error not_at_home(const program::LentInterface& lent, int error) {
  if (error == EEXIST)
    return make_error(Errc::unsupported, Step::return_interface,
                      formatted("'{}' is back as '{}'", lent.name, lent.spare),
                      "its name was taken meanwhile: rename it");
  return sys_error(error, Step::return_interface, formatted("'{}'", lent.name));
}

template <std::size_t N>
void put_name(char (&to)[N], const std::string& name) {
  to[name.copy(to, N - 1)] = 0;
}

}  // namespace

Fd network_of(FdView pidfd, Pid pid, int& error) {
  if (const int ns = ::ioctl(pidfd.get(), pidfd_get_net_namespace, 0); ns >= 0) {
    (void)::fcntl(ns, F_SETFD, FD_CLOEXEC);
    return Fd(ns);
  }
  Fd ns(::open(formatted("/proc/{}/ns/net", pid.value).c_str(), O_RDONLY | O_CLOEXEC));
  error = ns.valid() ? 0 : errno;
  // While it is alive the number is its own.
  if (error == 0 && wait_for_fd(pidfd.get(), POLLIN, 0) > 0) error = ESRCH;
  return ns;
}

Error HostEnds::not_home(const program::Record& record) const {
  const std::uint32_t number = record.undo_hierarchy - program::undo_interface;
  for (const LentOut& l : lent)
    if (l.what.number == number) return not_at_home(l.what, record.undo_error);
  return sys_error(record.undo_error, Step::return_interface, "an interface of the host");
}

void HostEnds::bring_home(std::vector<std::string>& errors) {
  for (const LentOut& l : std::exchange(lent, {})) {
    kernel::RealSystem system;
    if (const long e = program::send_home(system, l.away.get(), l.home.get(), l.what); e < 0)
      errors.push_back(to_string(not_at_home(l.what, static_cast<int>(-e))));
  }
}

/// Asks the zygote for what ends a container's connections with it, of the network that has a veth:
/// only those are taken down at the end, by the other kinds it goes on with whoever joined. What
/// fails is no failure: the kernel is done with them some time later.
void LaunchEngine::ask_for_patience() {
  int error = 0;
  const Fd netns = network_of(pidfd_, pid_, error);
  Fd& ours = made_.host_ends.patience;
  Fd theirs;
  program::Request request{};
  request.magic = program::magic;
  request.kind = program::RequestKind::patience;
  if (error != 0 || socket_pair(ours, theirs) != 0 ||
      zygote_->request(request, std::array{netns.get(), theirs.get()}) != 0)
    ours.reset();
}

void HostEnds::take_down() {
  std::vector<std::string> errors;
  bring_home(errors);
  taps.clear();
  for (const std::uint32_t index : std::exchange(indexes, {})) {
    InterfaceRequest down = down_request();
    std::memcpy(down.bytes.data() + down.index_at, &index, sizeof index);
    (void)ask_netlink(socket, down.bytes, 1);  // ENODEV: the kernel was faster
  }
  if (patience.valid()) {
    program::Record record{};
    std::array<Fd, 1> file;
    const Received r = receive_message(patience.get(), &record, sizeof record, file);
    if (r.error == 0 && file[0].valid()) (void)::write(file[0].get(), "1", 1);
    patience.reset();
  }
  socket.reset();
  share.give_back();
}

/// Has the zygote do something in the child's network namespace. False: its answer is not there
/// yet, or, where the launch has ended meanwhile, will not come.
Result<bool> LaunchEngine::reach(program::RequestKind kind, const void* what, std::size_t size,
                                 std::span<const int> fds, const std::string& subject) {
  if (!reaching_) {
    program::Request request{};
    request.magic = program::magic;
    request.kind = kind;
    request.live = live_;
    std::memcpy(request.name, what, size);
    if (const int e = zygote_->request_surely(request, fds); e != 0)
      return fail(e, Step::create_interface, formatted("{}: asking the zygote", subject));
    reaching_.emplace();
  }
  const bool hopeless = !zygote_->alive();
  while (!reaching_->answered && state_ == State::configuring && pump_exit()) {
  }
  if (state_ != State::configuring) return false;
  if (!reaching_->answered)
    return hopeless ? Result<bool>(fail(Errc::zygote_lost, Step::create_interface, subject))
                    : Result<bool>(false);
  if (reaching_->error == EMFILE)
    return fail(make_error(Errc::unsupported, Step::create_interface,
                           formatted("{}: the zygote has {} already", subject, program::max_lent),
                           "lend fewer, or use another Runtime"));
  if (reaching_->error != 0 || !reaching_->fd.valid())
    return fail(reaching_->error != 0 ? reaching_->error : EMFILE, Step::create_interface,
                kind == program::RequestKind::tap
                    ? formatted("{}: '/dev/net/tun'", subject)
                    : formatted("{}: the child's network namespace", subject));
  return true;
}

Result<bool> LaunchEngine::lend(const op::CreateInterface& o, FdView socket, FdView netns) {
  const Maker wrong{.op = o};
  const auto& phys = std::get<Phys>(o.interface.link);
  if (!lending_) {
    const FoundInterface found = find_interface(socket, phys.parent);
    if (found.error != 0) return wrong.wrong(found.error);
    if (found.master != 0)
      return fail(make_error(Errc::unsupported, Step::create_interface,
                             formatted("{}: it is a port of another interface", describe(Op(o))),
                             "take it out of its bridge or bond first"));
    LentOut lent{.home = Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC))};
    if (!lent.home.valid()) return wrong.wrong(errno, "the host's network namespace");
    // Nobody but us says which number it has there: it is the same under any name.
    lent.what.index = 0x40000000U | static_cast<std::uint32_t>(random_number() & 0x3fffffffU);
    lent.what.number = static_cast<std::uint32_t>(made_.host_ends.lent.size());
    lent.what.mtu = found.mtu;
    lent.what.mac_size = static_cast<std::uint32_t>(
        found.mac.copy(reinterpret_cast<char*>(lent.what.mac), sizeof lent.what.mac));
    put_name(lent.what.name, found.name);
    put_name(lent.what.spare, random_name("phys"));
    lent.what.home_index = found.index;
    lending_ = std::move(lent);
  }
  // From now on the zygote brings it home, whoever dies.
  auto ready = reach(program::RequestKind::lend, &lending_->what, sizeof lending_->what,
                     std::array{netns.get(), lending_->home.get()}, describe(Op(o)));
  if (!ready || !*ready) return ready;
  lending_->away = std::move(reaching_->fd);
  reaching_.reset();
  InterfaceSite site{
      .netns = netns.get(), .above = lending_->what.home_index, .index = lending_->what.index};
  if (o.interface.mtu) site.mtu = *o.interface.mtu;
  made_.host_ends.lent.push_back(std::move(*lending_));
  lending_.reset();
  const NetlinkAnswer moved = ask_netlink(socket, create_request(with_mac(o.interface), site), 1);
  if (moved.error != 0) return wrong.wrong(moved.error, {}, moved.text);
  return true;
}

Result<bool> LaunchEngine::make_tap(const op::CreateInterface& o, FdView netns) {
  const Maker wrong{.op = o};
  const auto* tap = std::get_if<Tap>(&o.interface.link);
  program::WantedTap wanted{};
  put_name(wanted.name, o.interface.name);
  wanted.flags = IFF_NO_PI | IFF_TUN_EXCL | (tap == nullptr ? IFF_TUN : IFF_TAP);
  if (tap != nullptr && tap->vnet_header) wanted.flags |= IFF_VNET_HDR;
  auto ready = reach(program::RequestKind::tap, &wanted, sizeof wanted, std::array{netns.get()},
                     describe(Op(o)));
  if (!ready || !*ready) return ready;
  Fd fd = std::move(reaching_->fd);
  reaching_.reset();
  if (const auto mac = with_mac(o.interface).mac; mac && tap != nullptr) {
    ifreq request{};
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    std::memcpy(request.ifr_hwaddr.sa_data, mac->bytes.data(), mac->bytes.size());
    if (::ioctl(fd.get(), SIOCSIFHWADDR, &request) < 0)
      return wrong.wrong(errno, formatted("Ethernet address {}", to_string(*mac)));
  }
  made_.host_ends.taps.push_back({o.interface.name, std::move(fd)});
  return true;
}

Result<void> LaunchEngine::complete_interfaces() {
  for (std::size_t n = 0; n < plan().ops.size(); ++n) {
    const auto* configure = std::get_if<op::ConfigureInterface>(&plan().ops[n]);
    if (configure == nullptr) continue;
    const bool draws = std::holds_alternative<UserNic>(configure->interface.link) &&
                       !configure->interface.mac_template.empty();
    if (!configure->interface.gateway_auto && !draws) continue;
    op::ConfigureInterface found = *configure;
    Interface& i = found.interface;
    if (draws) i = with_mac(i);
    const bool finds = std::exchange(i.gateway_auto, false);
    const std::string name(parent_of(i.link));
    for (const bool v6 : {false, true}) {
      if (!finds) break;
      const auto same = [&](const IpAddress& a) { return a.is_v6() == v6; };
      if (std::ranges::none_of(i.addresses, same, &IpPrefix::address) ||
          std::ranges::any_of(i.gateways, same))
        continue;
      const auto gateway = first_address(name, v6);
      if (!gateway)
        return fail(make_error(Errc::unsupported, Step::configure_interface,
                               formatted("'{}': '{}' has no {} address that could be the gateway",
                                         i.name, name, v6 ? "IPv6" : "IPv4"),
                               "give it one, or name the gateway"));
      i.gateways.push_back(*gateway);
    }
    std::erase_if(i.gateways, [](const IpAddress& g) { return g.is_any(); });
    completed_.emplace_back(n, std::move(found));
  }
  return {};
}

Result<bool> LaunchEngine::do_op(const op::CreateInterface& wanted) {
  op::CreateInterface o = wanted;
  if (const Interface* filled = made_.host_ends.share.find(o.interface.name); filled != nullptr)
    o.interface = *filled;
  if (auto known = know_child(Step::create_interface); !known || !*known)
    return known ? state_ != State::configuring : known;
  Maker maker{.op = o};
  int error = 0;
  const Fd netns = network_of(pidfd_, pid_, error);
  if (error != 0) return maker.wrong(error, "the child's network namespace");
  maker.socket = open_netlink(error);
  if (error != 0) return maker.wrong(error, "a netlink socket");
  if (std::holds_alternative<Phys>(o.interface.link)) return lend(o, maker.socket, netns);
  if (std::holds_alternative<Tap>(o.interface.link) ||
      std::holds_alternative<Tun>(o.interface.link))
    return make_tap(o, netns);
  const Interface interface = with_mac(o.interface);
  InterfaceSite site{.netns = netns.get(), .host_mac = high_mac()};
  if (auto ok = maker.find_above(site); !ok) return fail(ok);
  // Its address was one of a bridge that somebody removed, and another launch has made again.
  if (const auto leased = made_.host_ends.share.bridge_of(o.interface.name);
      leased != 0 && leased != site.above)
    return maker.wrong(ENODEV, "its bridge was made again meanwhile");
  const auto* veth = std::get_if<Veth>(&o.interface.link);
  // Fifteen bytes are all that a name has: the kernel says when two draw the same.
  for (int tries = 0;; ++tries) {
    if (veth != nullptr)
      site.host_name =
          veth->host_name.empty() ? random_name("veth") : filled(veth->host_name, "%x");
    const NetlinkAnswer made = ask_netlink(maker.socket, create_request(interface, site), 1);
    if (made.error == 0) break;
    bool going = maker.may_be_going(made.error);
    if (made.error == EEXIST && veth != nullptr) {
      if (site.host_name != veth->host_name && tries < 3) continue;
      going = find_interface(maker.socket, site.host_name).kind == "veth";
    }
    // That of the container that had it last is gone soon after its end.
    if (going) {
      if (!going_until_) going_until_ = Clock::now() + most_for_the_last;
      if (Clock::now() < *going_until_) return false;
    }
    return maker.wrong(made.error, {}, made.text);
  }
  going_until_.reset();
  if (veth == nullptr) return true;
  const std::uint32_t end = index_of(maker.socket, site.host_name);
  if (end == 0) return maker.wrong(errno, formatted("'{}'", site.host_name));
  made_.host_ends.indexes.push_back(end);
  made_.host_ends.names.emplace_back(o.interface.name, site.host_name);
  auto ok = maker.believe_nobody(site.host_name);
  if (ok) ok = maker.set_up_host_end(end);
  if (!made_.host_ends.socket.valid()) made_.host_ends.socket = std::move(maker.socket);
  if (!ok) return fail(ok);
  return true;
}

}  // namespace condroid::inline v0::detail
