// Interfaces of a container, made by the host in the child's network namespace.
#include <fcntl.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/random.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>
#include <variant>

#include "formatted.hpp"
#include "launch/engine.hpp"
#include "launch/interfaces.hpp"
#include "program/interface_requests.hpp"
#include "sys/kernel_files.hpp"
#include "sys/netlink.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::detail {

namespace {

/// The kernel takes network namespaces apart in a thread of its own.
constexpr std::chrono::milliseconds most_for_a_name{500};

// linux/pidfd.h, Linux 6.11
constexpr unsigned long pidfd_get_net_namespace = _IO(0xFF, 4);

/// The network namespace of a process, whatever becomes of its number.
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

std::uint64_t random_number() {
  std::uint64_t n = 0;
  if (::getrandom(&n, sizeof n, GRND_NONBLOCK) != static_cast<ssize_t>(sizeof n))
    n = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  return n;
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

const std::string* above(const Interface::Link& link) {
  struct Name {
    const std::string* operator()(const Veth& l) const {
      return l.bridge.empty() ? nullptr : &l.bridge;
    }
    const std::string* operator()(const Macvlan& l) const { return &l.parent; }
    const std::string* operator()(const Ipvlan& l) const { return &l.parent; }
    const std::string* operator()(const Vlan& l) const { return &l.parent; }
  };
  return std::visit(Name{}, link);
}

/// One interface that is being made, with what its errors say.
struct Maker {
  const op::CreateInterface& op;
  Fd socket = {};

  [[nodiscard]] tl::unexpected<Error> wrong(int error, const std::string& more = {},
                                            const std::string& kernel = {}) const {
    return fail(error, Step::create_interface,
                formatted("{}{}{}", describe(Op(op)), more.empty() ? "" : ": " + more,
                          kernel.empty() ? "" : " (kernel: " + kernel + ")"));
  }

  Result<void> find_above(InterfaceSite& site) const {
    const std::string* name = above(op.interface.link);
    if (op.interface.mtu) site.mtu = *op.interface.mtu;
    if (name == nullptr) return {};
    const FoundInterface found = find_interface(socket, *name);
    if (found.error != 0) return wrong(found.error);
    if (std::holds_alternative<Veth>(op.interface.link)) {
      if (found.kind != "bridge")
        return fail(make_error(Errc::unsupported, Step::create_interface,
                               formatted("{}: '{}' is {}", describe(Op(op)), *name,
                                         found.kind.empty() ? "no bridge" : "a " + found.kind),
                               "name a bridge: ip link add NAME type bridge"));
      if (site.mtu == 0) site.mtu = found.mtu;
    }
    site.above = found.index;
    return {};
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
    auto requests = host_end_requests(op.interface);
    const auto& veth = std::get<Veth>(op.interface.link);
    if (veth.isolated) requests = {isolate_request()};
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

}  // namespace

void HostEnds::take_down() {
  for (const std::uint32_t index : std::exchange(indexes, {})) {
    InterfaceRequest down = down_request();
    std::memcpy(down.bytes.data() + down.index_at, &index, sizeof index);
    (void)ask_netlink(socket, down.bytes, 1);  // ENODEV: the kernel was faster
  }
  socket.reset();
}

Result<bool> LaunchEngine::do_op(const op::CreateInterface& o) {
  if (auto known = know_child(Step::create_interface); !known || !*known)
    return known ? state_ != State::configuring : known;
  Maker maker{.op = o};
  int error = 0;
  const Fd netns = network_of(pidfd_, pid_, error);
  if (error != 0) return maker.wrong(error, "the child's network namespace");
  maker.socket = open_netlink(error);
  if (error != 0) return maker.wrong(error, "a netlink socket");
  InterfaceSite site{.netns = netns.get(), .host_mac = high_mac()};
  if (auto ok = maker.find_above(site); !ok) return fail(ok);
  const auto* veth = std::get_if<Veth>(&o.interface.link);
  // Fifteen bytes are all that a name has: the kernel says when two draw the same.
  for (int tries = 0;; ++tries) {
    if (veth != nullptr)
      site.host_name = veth->host_name.empty()
                           ? formatted("veth{:011x}", random_number() & 0xfffffffffffU)
                           : veth->host_name;
    const NetlinkAnswer made = ask_netlink(maker.socket, create_request(o.interface, site), 1);
    if (made.error == 0) break;
    if (made.error == EEXIST && veth != nullptr) {
      if (veth->host_name.empty() && tries < 3) continue;
      // The end of the container that had it last is gone soon after that.
      if (find_interface(maker.socket, site.host_name).kind == "veth") {
        if (!name_until_) name_until_ = Clock::now() + most_for_a_name;
        if (Clock::now() < *name_until_) return false;
      }
    }
    return maker.wrong(made.error, {}, made.text);
  }
  name_until_.reset();
  if (veth == nullptr) return true;
  const std::uint32_t end = index_of(maker.socket, site.host_name);
  if (end == 0) return maker.wrong(errno, formatted("'{}'", site.host_name));
  made_.host_ends.indexes.push_back(end);
  auto ok = maker.believe_nobody(site.host_name);
  if (ok) ok = maker.set_up_host_end(end);
  if (!made_.host_ends.socket.valid()) made_.host_ends.socket = std::move(maker.socket);
  if (!ok) return fail(ok);
  return true;
}

}  // namespace condroid::inline v0::detail
