#include "launch/nat_bridges.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>
#include <utility>

#include "formatted.hpp"
#include "launch/conntrack.hpp"
#include "launch/engine.hpp"
#include "launch/interfaces.hpp"
#include "launch/nftables.hpp"
#include "launch/ports.hpp"
#include "launch/zygote.hpp"
#include "plan/lease_numbers.hpp"
#include "plan/words.hpp"
#include "program/interface_requests.hpp"
#include "sys/kernel_files.hpp"
#include "sys/netlink.hpp"

namespace condroid::inline v0::detail {

namespace {

using namespace condroid::literals;

constexpr off_t byte_of_users = 0, byte_of_maker = 1, bytes_of_leases = 1024;
/// Who removes a bridge, or makes it, holds a byte for milliseconds.
constexpr std::chrono::seconds most_for_others{10};

struct flock range(off_t at, short type) {
  struct flock l {};
  l.l_type = type;
  l.l_whence = SEEK_SET;
  l.l_start = at;
  l.l_len = 1;
  return l;
}

/// errno, or 0.
int lock(FdView file, off_t at, short type) {
  auto l = range(at, type);
  while (::fcntl(file.get(), F_OFD_SETLK, &l) < 0)
    if (errno != EINTR) return errno == EACCES ? EAGAIN : errno;
  return 0;
}

/// Of a file that is gone the name may be another one's, and the bridge as well.
bool has_its_name(FdView file) {
  struct stat st {};
  return ::fstat(file.get(), &st) == 0 && st.st_nlink > 0;
}

/// An Ethernet address that tells our bridges from others: of the state directory, however it is
/// spelt, and the name. Not of its inode: whoever removes it and makes it again, as systemd does,
/// still finds what was left. errno, or 0.
int find_mark(FdView state_dir, const std::string& name, MacAddress& mac) {
  struct stat st {};
  if (::fstat(state_dir.get(), &st) < 0) return errno;
  std::string path(PATH_MAX, '\0');
  const ssize_t n =
      ::readlink(formatted("/proc/self/fd/{}", state_dir.get()).c_str(), path.data(), path.size());
  if (n < 0) return errno;
  path.resize(static_cast<std::size_t>(n));
  std::uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a
  for (const char c : formatted("{}/{}/{}", st.st_dev, path, name))
    hash = (hash ^ static_cast<unsigned char>(c)) * std::uint64_t{0x100000001b3U};
  std::memcpy(mac.bytes.data(), &hash, mac.bytes.size());
  mac.bytes[0] = 0x02;
  return 0;
}

/// 0 when it is gone, or an errno.
int remove_surely(FdView route, std::uint32_t index) {
  int e = EAGAIN;
  for (int tries = 0; tries < 4 && e != 0 && e != ENODEV; ++tries) e = remove_link(route, index);
  return e == ENODEV ? 0 : e;
}

/// That of the bridge which is there now, whoever made it; or else `known`.
std::uint32_t index_in(FdView file, std::uint32_t known) {
  std::uint32_t index = 0;
  return ::pread(file.get(), &index, sizeof index, 0) == sizeof index && index != 0 ? index : known;
}

std::string described(const NatBridge& b) {
  std::string text = b.nat ? "nat" : "no nat";
  for (const IpPrefix& p : b.subnets) text += " " + to_string(p);
  return text;
}

std::uint64_t inode_of(const char* path) {
  struct stat st {};
  return ::stat(path, &st) == 0 ? st.st_ino : 0;
}

/// Of a network namespace: the calling thread's. Nothing to do is no write, which may be forbidden.
int set(const std::string& path, std::string_view value) {
  const Fd dir(::open("/proc/sys/net", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!dir.valid()) return errno;
  std::string now;
  if (const int e = read_file_at(dir.get(), path.c_str(), now); e != 0) return e;
  while (!now.empty() && now.back() == '\n') now.pop_back();
  return now == value ? 0 : write_file_at(dir.get(), path.c_str(), value);
}

std::string value_of(const std::string& path) {
  std::string now = small_file("/proc/sys/net/" + path);
  while (!now.empty() && now.back() == '\n') now.pop_back();
  return now;
}

/// A router does not listen to routers, net.ipv6.conf.*.accept_ra: what listens now goes on.
void go_on_listening() {
  DIR* d = ::opendir("/proc/sys/net/ipv6/conf");
  if (d == nullptr) return;
  while (const dirent* e = ::readdir(d)) {
    const std::string name = e->d_name;
    if (name == "." || name == ".." || name == "all") continue;
    const std::string path = "ipv6/conf/" + name + "/accept_ra";
    if (value_of(path) == "1") (void)set(path, "2");
  }
  ::closedir(d);
}

IpPrefix alone(const IpAddress& a) { return {a, static_cast<std::uint8_t>(8 * a.size())}; }

std::vector<IpPrefix> each_alone(std::vector<IpPrefix> all) {
  for (IpPrefix& p : all) p = alone(p.address);
  return all;
}

/// To which one sends that sends to this host.
std::vector<IpPrefix> addresses_of_host() {
  std::vector<IpPrefix> all{"127.0.0.0/8"_prefix, "::1/128"_prefix};
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) < 0) return all;
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    const int family = i->ifa_addr == nullptr ? AF_UNSPEC : i->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    std::array<std::uint8_t, 16> bytes{};
    if (family == AF_INET6)
      std::memcpy(bytes.data(), &reinterpret_cast<sockaddr_in6*>(i->ifa_addr)->sin6_addr, 16);
    else
      std::memcpy(bytes.data(), &reinterpret_cast<sockaddr_in*>(i->ifa_addr)->sin_addr, 4);
    all.push_back(alone(IpAddress::from_bytes(bytes, family == AF_INET6)));
  }
  ::freeifaddrs(list);
  return all;
}

/// Also of what may have come about although we were told nothing of it.
void remove_table(FdView socket, const std::string& name) {
  NftBatch batch(name);
  batch.remove_table();
  (void)batch.send(socket);
}

}  // namespace

// ---- leases -------------------------------------------------------------------------------------

NatBridgeUse::Lease::Lease(std::shared_ptr<NatBridgeUse> of, std::vector<std::uint64_t> numbers)
    : of_(std::move(of)), numbers_(std::move(numbers)) {}

NatBridgeUse::Lease::~Lease() {
  // A fork of this program has the same open file, and its locks.
  if (of_->owner_ != ::getpid()) return;
  for (const std::uint64_t n : numbers_) (void)of_->lock_number(n, false);
}

void NatBridgeUse::Lease::leave() noexcept {
  const std::lock_guard guard(of_->mutex_);
  of_->left_ = true;
  numbers_.clear();
}

int NatBridgeUse::lock_number(std::uint64_t number, bool wanted) const {
  return lock(shared_, bytes_of_leases + static_cast<off_t>(number), wanted ? F_WRLCK : F_UNLCK);
}

/// Whether somebody has it; then `number` becomes the next one behind all that are taken with it.
bool NatBridgeUse::is_taken(std::uint64_t& number) const {
  auto l = range(bytes_of_leases + static_cast<off_t>(number), F_WRLCK);
  if (::fcntl(look_.get(), F_OFD_GETLK, &l) < 0 || l.l_type == F_UNLCK) return false;
  number = static_cast<std::uint64_t>(l.l_start - bytes_of_leases + std::max<off_t>(l.l_len, 1));
  return true;
}

Result<std::unique_ptr<NatBridgeUse::Lease>> NatBridgeUse::lease(Interface& interface) {
  const std::lock_guard guard(mutex_);
  std::vector<std::uint64_t> numbers;
  const auto failed = [&](int error, std::string_view what) {
    for (const std::uint64_t n : numbers) (void)lock_number(n, false);
    return fail(error, Step::lease_address,
                formatted("{} at {}: {}", quoted(interface.name), quoted(bridge_.name), what));
  };
  const auto& subnets = bridge_.subnets;
  if (interface.addresses.empty()) {
    std::uint64_t last = last_lease(subnets[0]);
    for (const IpPrefix& p : subnets) last = std::min(last, last_lease(p));
    if (next_ < first_lease || next_ > last) next_ = first_lease;
    // From behind the last one on, so that an address is new for a while after it was used.
    std::uint64_t n = next_;
    bool around = false;
    for (;;) {
      if (n > last && !around) {
        around = true;
        n = first_lease;
      }
      if (n > last || (around && n >= next_))
        return failed(EADDRNOTAVAIL, formatted("all {} addresses of {} are taken",
                                               last - first_lease + 1, described(bridge_)));
      if (is_taken(n)) continue;
      const int e = lock_number(n, true);
      if (e == 0) break;
      if (e != EAGAIN) return failed(e, "a lease");
      ++n;  // another program was faster
    }
    numbers.push_back(n);
    next_ = n + 1;
    for (const IpPrefix& p : subnets)
      interface.addresses.push_back({leased_address(p, n), p.length});
  } else {
    for (const IpPrefix& a : interface.addresses)
      for (const IpPrefix& p : subnets) {
        const auto n = lease_number(p, a.address);
        if (!n || std::ranges::find(numbers, *n) != numbers.end()) continue;
        std::uint64_t at = *n;
        int e = is_taken(at) ? EAGAIN : lock_number(*n, true);
        if (e == EAGAIN) e = EADDRINUSE;
        if (e != 0) return failed(e, to_string(a));
        numbers.push_back(*n);
      }
  }
  if (interface.gateways.empty() && interface.up)
    for (const IpPrefix& p : subnets)
      if (std::ranges::any_of(interface.addresses,
                              [&](const IpPrefix& a) { return p.contains(a.address); }))
        interface.gateways.push_back(leased_address(p, bridge_number));
  auto lease = std::make_unique<Lease>(shared_from_this(), std::move(numbers));
  if (std::get<NatBridge>(interface.link).isolated && bridge_.nat && !apart_)
    if (auto ok = keep_apart(); !ok) return fail(ok);
  return lease;
}

// ---- ports --------------------------------------------------------------------------------------

NatBridgeUse::Published::Published(std::shared_ptr<NatBridgeUse> of, std::string table,
                                   std::vector<Fd> held, std::vector<DatagramFlows> flows)
    : of_(std::move(of)),
      table_(std::move(table)),
      held_(std::move(held)),
      flows_(std::move(flows)) {}

NatBridgeUse::Published::~Published() {
  if (table_.empty() || of_->owner_ != ::getpid()) return;
  {
    const std::lock_guard guard(of_->mutex_);
    // Or it went with the bridge.
    if (of_->published_.erase(table_) != 0) remove_table(of_->nft_, table_);
  }
  of_->forget(flows_);
}

void NatBridgeUse::forget(const std::vector<DatagramFlows>& flows) {
  const std::lock_guard guard(flows_mutex_);
  if (flows_.valid()) forget_datagrams(flows_, flows);
}

Result<std::unique_ptr<NatBridgeUse::Published>> NatBridgeUse::publish(
    const std::vector<PublishedPort>& ports, const std::vector<IpPrefix>& addresses) {
  std::vector<Fd> held;
  // Those that lead to nobody, or to one of ours that is gone; and later, those to this container.
  std::vector<DatagramFlows> before, after;
  bool from_loopback = false;
  std::unique_lock guard(mutex_);
  if (departed_)  // the numbers of tables are the next one's
    return fail(ENODEV, Step::publish_port, formatted("{} was removed", quoted(bridge_.name)));
  const std::string table = formatted("{}_{}", table_, ++last_table_);
  NftBatch batch(table);
  batch.new_table();
  batch.chain({"from_outside", "nat", NftChain::prerouting, NftChain::destinations});
  batch.chain({"from_here", "nat", NftChain::output, NftChain::destinations});
  std::vector<IpPrefix> host;  // once a port of datagrams is at all of its addresses
  for (const PublishedPort& p : ports) {
    const bool all = !p.host_address || p.host_address->is_any();
    int error = 0;
    Fd s = open_port(p, error, PortUse::hold);
    if (error != 0) return no_port(p, error);
    held.push_back(std::move(s));
    if (p.protocol == PublishedPort::udp) {
      if (all && host.empty()) host = addresses_of_host();
      before.push_back({.to = all ? host : std::vector{alone(*p.host_address)},
                        .port = p.host_port,
                        .answered_by = bridge_.subnets,
                        .unled = true});
      after.push_back({.port = p.host_port, .answered_by = each_alone(addresses)});
    }
    for (const IpPrefix& to : addresses) {
      const bool v6 = to.address.is_v6();
      if (p.host_address && p.host_address->is_v6() != v6) continue;
      from_loopback = from_loopback || (!v6 && (all || p.host_address->is_loopback()));
      const auto begun = [&] {
        NftRule r;
        r.is_of(to.address);
        const auto whole = static_cast<std::uint8_t>(8 * to.address.size());
        if (all)
          r.to_this_host();
        else
          r.to({*p.host_address, whole});
        return r;
      };
      const auto add = [&](const char* chain, NftRule r) {
        const std::uint8_t protocol = p.protocol == PublishedPort::udp ? IPPROTO_UDP : IPPROTO_TCP;
        batch.rule(chain,
                   r.protocol(protocol).to_port(p.host_port).redirect_to(to.address, p.port));
      };
      // The loopback's addresses are this host's alone, whatever comes from outside.
      const IpPrefix loopback = v6 ? "::1/128"_prefix : "127.0.0.0/8"_prefix;
      if (all || !p.host_address->is_loopback()) add("from_outside", begun().not_to(loopback));
      NftRule here = begun();
      if (v6) here.not_to(loopback);
      add("from_here", here);
    }
  }
  // For what comes from 127.0.0.1; our table drops what containers send there. Only where it is
  // wanted: when host and zygote are killed at once the table goes before the bridge does.
  if (from_loopback) {
    const std::string path = "ipv4/conf/" + bridge_.name + "/route_localnet";
    if (const int e = set(path, "1"); e != 0) return fail(e, Step::publish_port, "net/" + path);
  }
  if (const auto made = batch.send(nft_); made.error != 0) {
    remove_table(nft_, table);
    return fail(
        made.error, Step::publish_port,
        formatted("table '{}'{}", table, made.text.empty() ? "" : " (kernel: " + made.text + ")"));
  }
  published_.insert(table);
  guard.unlock();
  // Also what was sent before somebody was there.
  auto done =
      std::make_unique<Published>(shared_from_this(), table, std::move(held), std::move(after));
  forget(before);
  return done;
}

// ---- taking part --------------------------------------------------------------------------------

NatBridgeUse::NatBridgeUse(NatBridge bridge, Zygote& zygote, std::size_t number)
    : owner_(::getpid()), bridge_(std::move(bridge)), zygote_(zygote), number_(number) {
  const std::string& runtime = zygote.runtime_name();  // "condroid-" and digits
  table_ = formatted("condroid_{}_{}", runtime.substr(runtime.find('-') + 1), number);
}

NatBridgeUse::~NatBridgeUse() = default;

tl::unexpected<Error> NatBridgeUse::wrong(int error, const std::string& what,
                                          const std::string& kernel) const {
  return fail(error, Step::create_bridge,
              formatted("{}{}{}{}", quoted(bridge_.name), what.empty() ? "" : ": ", what,
                        kernel.empty() ? "" : " (kernel: " + kernel + ")"));
}

Result<bool> NatBridgeUse::open_file(Clock::time_point until) {
  const std::string path = zygote_.state_file();
  const std::string dir = path.substr(0, path.rfind('/'));
  const std::string file = formatted("'{}/{}'", dir, file_name_);
  state_dir_ = Fd(::open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!state_dir_.valid()) return wrong(errno, formatted("state directory '{}'", dir));
  for (;;) {
    shared_ = Fd(::openat(state_dir_.get(), file_name_.c_str(),
                          O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!shared_.valid()) return wrong(errno, file);
    int e = lock(shared_, byte_of_maker, F_WRLCK);
    if (e == 0) e = lock(shared_, byte_of_users, F_RDLCK);
    if (e == 0 && has_its_name(shared_)) break;
    // Whoever was the last has removed it in between, or is about to. Nothing is held meanwhile.
    shared_.reset();
    if (e != 0 && e != EAGAIN) return wrong(e, "a lock of " + file);
    if (Clock::now() >= until) return wrong(EBUSY, "a lock of " + file);
    if (e == EAGAIN) return false;
  }
  look_ = Fd(::openat(state_dir_.get(), file_name_.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (!look_.valid()) return wrong(errno, file);
  return true;
}

int NatBridgeUse::tell_zygote() const {
  program::Request request{};
  request.magic = program::magic;
  request.kind = program::RequestKind::bridge;
  request.live = static_cast<std::uint32_t>(number_);
  request.cgroups = index_;
  std::strncpy(request.name, file_name_.c_str(), sizeof request.name - 1);
  std::vector<int> fds{route_.get()};
  if (shared_.valid()) fds.insert(fds.begin(), shared_.get());
  if (shared_.valid() && nft_.valid()) fds.push_back(nft_.get());
  return zygote_.request_surely(request, fds);
}

Result<bool> NatBridgeUse::take_part(std::optional<Clock::time_point>& until) {
  if (!until) until = Clock::now() + most_for_others;
  if (!route_.valid()) {
    int error = 0;
    route_ = open_netlink(error);
    if (error != 0) return wrong(error, "a netlink socket");
    if (bridge_.nat) nft_ = open_netlink(error, NETLINK_NETFILTER);
    if (bridge_.nat && error == 0) flows_ = open_netlink(error, NETLINK_NETFILTER);
    if (error != 0) return wrong(error, "a netlink socket of netfilter");
    // Before there is a file, so that it goes whatever happens to us.
    if (const int e = tell_zygote(); e != 0) return wrong(e, "telling the zygote");
  }
  if (auto open = open_file(*until); !open || !*open) return open;
  auto done = ensure_bridge();
  if (done) done = create_table();
  (void)lock(shared_, byte_of_maker, F_UNLCK);
  if (!done) {
    depart();
    return fail(done);
  }
  return ready_ = true;
}

std::string NatBridgeUse::name_now() const {
  ifreq request{};
  request.ifr_ifindex = static_cast<int>(index_);
  if (::ioctl(route_.get(), SIOCGIFNAME, &request) == 0) return request.ifr_name;
  return errno == ENODEV ? "" : bridge_.name;
}

Result<void> NatBridgeUse::ensure_bridge() {
  // Nobody takes part that did not lock this before: what the file says is theirs.
  const bool alone = lock(shared_, byte_of_users, F_WRLCK) == 0;
  if (const int e = lock(shared_, byte_of_users, F_RDLCK); e != 0) return wrong(e, "a lock");
  std::string text(4096, '\0');
  const ssize_t n = ::pread(shared_.get(), text.data(), text.size(), sizeof index_);
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  const bool whole = text.ends_with('\n');
  if (whole) text.pop_back();
  const std::string wanted = described(bridge_);
  if (!alone && text != wanted)
    return wrong(EBUSY, formatted("it is in use with {}, and this wants {}", text, wanted));
  if (const int e = find_mark(state_dir_, bridge_.name, mark_); e != 0)
    return wrong(e, "the state directory");
  auto found = find_interface(route_, bridge_.name);
  if (found.error != 0 && found.error != ENODEV) return wrong(found.error, "");
  if (found.error == 0 && (found.kind != "bridge" || !found.has_mac(mark_.bytes)))
    return wrong(EEXIST, "");
  if (found.error == 0 && (alone || !whole)) {
    // Of somebody who died together with his zygote, or could not finish it.
    index_ = found.index;
    if (const int e = remove_surely(route_, found.index); e != 0)
      return wrong(e, "removing what was left of it");
    found.error = ENODEV;
  }
  if (found.error == 0) {
    index_ = found.index;
    if (const int e = tell_zygote(); e != 0) return wrong(e, "telling the zygote");
    return {};
  }
  // The zygotes know what to remove before it is there: the number is ours to choose.
  std::uint32_t chosen = 0;
  if (::getrandom(&chosen, sizeof chosen, GRND_NONBLOCK) != static_cast<ssize_t>(sizeof chosen))
    chosen = static_cast<std::uint32_t>(Clock::now().time_since_epoch().count());
  index_ = (chosen & 0x3fffffffU) | 0x40000000U;
  std::string all(sizeof index_, '\0');
  std::memcpy(all.data(), &index_, sizeof index_);
  all += wanted;
  const auto size = static_cast<ssize_t>(all.size());
  if (::ftruncate(shared_.get(), 0) < 0 ||
      ::pwrite(shared_.get(), all.data(), all.size(), 0) != size)
    return wrong(errno, "writing its file");
  if (const int e = tell_zygote(); e != 0) return wrong(e, "telling the zygote");
  if (const auto made = create_bridge_link(route_, bridge_.name, index_, mark_.bytes);
      made.error != 0)
    return wrong(made.error, "", made.text);
  auto done = set_up_host();
  // By this the next one, who may have taken part in the last one, sees that it is whole.
  if (done && ::pwrite(shared_.get(), "\n", 1, size) != 1) done = wrong(errno, "writing its file");
  if (!done) (void)remove_surely(route_, index_);
  return done;
}

/// What goes with the bridge, and what the host forwards at all.
Result<void> NatBridgeUse::set_up_host() {
  Interface ends{.name = bridge_.name};
  bool v4 = false, v6 = false;
  for (const IpPrefix& p : bridge_.subnets) {
    (p.address.is_v6() ? v6 : v4) = true;
    ends.addresses.push_back({leased_address(p, bridge_number), p.length});
  }
  const auto need = [&](const std::string& path, std::string_view value) -> Result<void> {
    if (const int e = set(path, value); e != 0) return wrong(e, "net/" + path);
    return {};
  };
  const std::string conf = "/conf/" + bridge_.name + "/";
  // The containers could announce themselves as routers.
  if (const int e = set("ipv6" + conf + "accept_ra", "0"); e != 0 && (e != ENOENT || v6))
    return wrong(e, "net/ipv6" + conf + "accept_ra");
  if (!v6) (void)set("ipv6" + conf + "disable_ipv6", "1");
  // What is forwarded asks for its neighbours by the link-local address, which would be looked for
  // elsewhere for a second or two before that (RFC 4862).
  if (v6)
    if (auto ok = need("ipv6" + conf + "accept_dad", "0"); !ok) return ok;
  std::string messages;
  const auto requests = setup_requests(ends);
  for (InterfaceRequest r : requests) {
    std::memcpy(r.bytes.data() + r.index_at, &index_, sizeof index_);
    messages += r.bytes;
  }
  const auto answer = ask_netlink(route_, messages, static_cast<std::uint32_t>(requests.size()));
  if (answer.error != 0) {
    const bool known = answer.at >= 1 && answer.at <= requests.size();
    return wrong(answer.error, known ? requests[answer.at - 1].what : "", answer.text);
  }
  if (!bridge_.nat) return {};
  if (v4)
    if (auto ok = need("ipv4/ip_forward", "1"); !ok) return ok;
  if (v6 && value_of("ipv6/conf/all/forwarding") != "1") {
    go_on_listening();
    if (auto ok = need("ipv6/conf/all/forwarding", "1"); !ok) return ok;
  }
  return {};
}

Result<void> NatBridgeUse::create_table() {
  if (!bridge_.nat) return {};
  const std::string& br = bridge_.name;
  NftBatch batch(table_);
  batch.new_table();
  batch.chain({"loopback", "filter", NftChain::prerouting, NftChain::raw});
  batch.chain({"forward", "filter", NftChain::forward, NftChain::filter});
  batch.chain({"out", "nat", NftChain::postrouting, NftChain::sources});
  batch.rule("forward", NftRule().output_is(br).input_is_not(br).stray().drop());
  batch.rule("forward",
             NftRule().output_is(br).input_is_not(br).unknown().redirected(false).drop());
  for (const IpAddress& like : {"0.0.0.0"_ip, "::"_ip}) {
    NftRule foreign = NftRule().input_is(br).output_is_not(br).is_of(like);
    for (const IpPrefix& p : bridge_.subnets)
      if (p.address.is_v6() == like.is_v6()) foreign.not_from(p);
    batch.rule("forward", foreign.drop());
  }
  for (const IpPrefix& p : bridge_.subnets) {
    const bool v6 = p.address.is_v6();
    if (!v6) {
      const auto from_bridge = NftRule().input_is(br).is_of(p.address);
      batch.rule("loopback", NftRule(from_bridge).to("127.0.0.0/8"_prefix).drop());
      batch.rule("loopback", NftRule(from_bridge).from("127.0.0.0/8"_prefix).drop());
    }
    batch.rule("out", NftRule().output_is_not(br).is_of(p.address).from(p).masquerade());
    // Both ends on the bridge, and one of them takes the host for the other.
    batch.rule("out",
               NftRule().output_is(br).is_of(p.address).from(p).redirected(true).masquerade());
    if (!v6)
      batch.rule("out",
                 NftRule().output_is(br).is_of(p.address).from("127.0.0.0/8"_prefix).masquerade());
  }
  if (const auto made = batch.send(nft_); made.error != 0)
    return wrong(made.error, formatted("table '{}' of nftables", table_), made.text);
  return {};
}

Result<void> NatBridgeUse::keep_apart() {
  // What is sent to an Ethernet address of the host's, the bridge's own or that of a port, is to be
  // passed on; what is only bridged may come by here, too (br_netfilter). A published port leads to
  // whomever it leads.
  const std::string& br = bridge_.name;
  const NftRule back = NftRule().input_is(br).output_is(br).to_mac(mark_, bits_of_host_ends);
  NftBatch batch(table_);
  batch.rule("forward", NftRule(back).stray().drop());
  batch.rule("forward", NftRule(back).redirected(false).drop());
  if (const auto made = batch.send(nft_); made.error != 0)
    return wrong(made.error, formatted("table '{}' of nftables", table_), made.text);
  apart_ = true;
  return {};
}

void NatBridgeUse::depart() {
  const std::lock_guard guard(mutex_);
  departed_ = true;
  // The tables first: they are ours alone. Not by closing, of which a fork of this program has a
  // copy. What was published leads to addresses that others may have soon.
  for (const std::string& table : std::exchange(published_, {})) remove_table(nft_, table);
  if (nft_.valid()) remove_table(nft_, table_);
  struct flock all {};
  all.l_type = F_UNLCK;
  all.l_whence = SEEK_SET;
  (void)::fcntl(shared_.get(), F_OFD_SETLK, &all);
  if (lock(shared_, byte_of_users, F_WRLCK) != 0) return;
  // The zygote may have been the last one, and removed it.
  if (has_its_name(shared_)) {
    const std::uint32_t index = index_in(shared_, index_);
    // By its file the next one finds what is left.
    if (index == 0 || remove_surely(route_, index) == 0)
      (void)::unlinkat(state_dir_.get(), file_name_.c_str(), 0);
  }
  (void)::fcntl(shared_.get(), F_OFD_SETLK, &all);
}

void sweep_bridge(int dir, const std::string& file_name) {
  const std::size_t begin = file_name.find('.') + 1, end = file_name.rfind('.');
  const std::string here = formatted("{}", inode_of("/proc/thread-self/ns/net"));
  if (end < begin || file_name.substr(end + 1) != here) return;
  const Fd file(::openat(dir, file_name.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (!file.valid() || lock(file, byte_of_maker, F_WRLCK) != 0 ||
      lock(file, byte_of_users, F_WRLCK) != 0 || !has_its_name(file))
    return;
  int error = 0;
  const Fd route = open_netlink(error);
  const std::string name = file_name.substr(begin, end - begin);
  const auto found = find_interface(route, name);
  MacAddress mark;
  int e = found.error == ENODEV ? 0 : found.error;
  if (found.error == 0 && found.kind == "bridge") {
    e = find_mark(FdView(dir), name, mark);
    if (e == 0 && found.has_mac(mark.bytes)) e = remove_surely(route, found.index);
  }
  if (e == 0) (void)::unlinkat(dir, file_name.c_str(), 0);
}

bool NatBridges::is_idle(const std::shared_ptr<NatBridgeUse>& use) {
  if (use.use_count() > 1) return false;
  const std::lock_guard guard(use->mutex_);
  return !use->left_;
}

/// The number of one that there is not, or that no container has anything of.
std::optional<std::size_t> NatBridges::free_place() {
  for (const bool used : {false, true})
    for (std::size_t i = 0; i < all_.size(); ++i) {
      if (!used && all_[i] == nullptr) return i;
      if (!used || !is_idle(all_[i])) continue;
      if (all_[i]->ready_) all_[i]->depart();
      all_[i].reset();
      return i;
    }
  return {};
}

Result<std::shared_ptr<NatBridgeUse>> NatBridges::get(const NatBridge& bridge, Zygote& zygote,
                                                      std::optional<Clock::time_point>& until) {
  const std::uint64_t here = inode_of("/proc/thread-self/ns/net");
  const std::lock_guard guard(mutex_);
  all_.resize(program::max_bridges);
  const auto there = std::ranges::find_if(all_, [&](const auto& use) {
    return use != nullptr && use->namespace_ == here && use->bridge_.name == bridge.name;
  });
  std::uint64_t last_table = 0, next = 0;
  // Containers that were at one that is gone have nothing of the next one. And what nobody is at,
  // as when a launch that waited was given up, keeps nobody from one with other subnets.
  const auto is_other = [&](const NatBridgeUse& of) {
    return described(of.bridge_) != described(bridge);
  };
  const bool ready_there = there != all_.end() && (*there)->ready_;
  const std::string name = ready_there ? (*there)->name_now() : bridge.name;
  if (there != all_.end() &&
      (name.empty() || ((name != bridge.name || is_other(**there)) && is_idle(*there)))) {
    const auto old = std::exchange(*there, nullptr);
    if (old->ready_) old->depart();
    last_table = old->last_table_;
    next = old->next_;
  }
  std::shared_ptr<NatBridgeUse> use = there == all_.end() ? nullptr : *there;
  if (use == nullptr) {
    const auto place = free_place();
    if (!place)
      return fail(EAGAIN, Step::create_bridge,
                  formatted("{}: at most {} bridges of one Runtime", quoted(bridge.name),
                            program::max_bridges));
    use.reset(new NatBridgeUse(bridge, zygote, *place));
    use->namespace_ = here;
    use->last_table_ = last_table;
    use->next_ = next;
    use->file_name_ = formatted("bridge.{}.{}", bridge.name, here);
    all_[*place] = use;
  }
  if (is_other(*use))
    return use->wrong(EBUSY, formatted("it is in use with {}, and this wants {}",
                                       described(use->bridge_), described(bridge)));
  if (use->ready_ && name != bridge.name)
    return use->wrong(ENODEV, formatted("it is called {} now", quoted(name)));
  if (use->ready_) {
    until.reset();
    return use;
  }
  auto ready = use->take_part(until);
  if (!ready) all_[use->number_].reset();
  if (!ready) return fail(ready);
  if (!*ready) return nullptr;
  until.reset();
  return use;
}

void NatBridges::depart() {
  const std::lock_guard guard(mutex_);
  for (const auto& use : std::exchange(all_, {}))
    if (use != nullptr && use->ready_) use->depart();
}

// ---- of a container -----------------------------------------------------------------------------

const Interface* BridgeShare::find(const std::string& name) const {
  const auto found = std::ranges::find(interfaces, name, &Interface::name);
  return found == interfaces.end() ? nullptr : &*found;
}

std::uint32_t BridgeShare::bridge_of(const std::string& name) const {
  const auto found = std::ranges::find(interfaces, name, &Interface::name);
  return found == interfaces.end()
             ? 0
             : uses[static_cast<std::size_t>(found - interfaces.begin())]->index();
}

void BridgeShare::give_back() {
  published.clear();
  leases.clear();
  interfaces.clear();
  uses.clear();
}

void BridgeShare::leave() {
  for (auto& p : published) p->leave();
  for (auto& l : leases) l->leave();
}

Result<bool> LaunchEngine::do_op(const op::LeaseAddress& o) {
  auto use = zygote_->bridges().get(std::get<NatBridge>(o.interface.link), *zygote_, bridge_until_);
  if (!use) return fail(use);
  if (*use == nullptr) return false;
  Interface filled = o.interface;
  auto lease = (*use)->lease(filled);
  if (!lease) return fail(lease);
  // What a container sees of it is a port of a bridge.
  const auto& bridge = std::get<NatBridge>(o.interface.link);
  filled.link = Veth{.bridge = bridge.name, .isolated = bridge.isolated};
  BridgeShare& share = made_.host_ends.share;
  share.leases.push_back(std::move(*lease));
  share.interfaces.push_back(std::move(filled));
  share.uses.push_back(std::move(*use));
  return true;
}

Result<void> LaunchEngine::do_op(const op::PublishPorts& o) {
  BridgeShare& share = made_.host_ends.share;
  for (std::size_t i = 0; i < share.interfaces.size(); ++i) {
    if (share.interfaces[i].name != o.interface) continue;
    auto published = share.uses[i]->publish(o.ports, share.interfaces[i].addresses);
    if (!published) return fail(published);
    share.published.push_back(std::move(*published));
    return {};
  }
  return fail(Errc::bad_spec, Step::publish_port,
              formatted("no interface {} that was given an address", quoted(o.interface)));
}

}  // namespace condroid::inline v0::detail

namespace condroid::inline v0 {

std::vector<IpPrefix> Container::addresses() const {
  std::vector<IpPrefix> all;
  if (core_ != nullptr)
    for (const Interface& i : core_->host_ends.share.interfaces)
      all.insert(all.end(), i.addresses.begin(), i.addresses.end());
  return all;
}

}  // namespace condroid::inline v0
