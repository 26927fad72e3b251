// Specs for tests: one with every member set by hand, and random ones.
#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "condroid/spec.hpp"
#include "spec/names.hpp"

namespace samples {

using namespace condroid;
using namespace condroid::literals;

/// Every member differs from a default Spec; every kind of mount, every way to join. It makes no
/// sense as a container.
inline Spec full_spec() {
  using namespace std::chrono_literals;
  const MountCommon common{.create_target = false, .follow_links = true, .optional = true};
  return Spec{
      .name = "full",
      .root = {.path = "/srv/my images/alpine"_host,
               .image = {.path = "/srv/alpine.img"_host,
                         .type = "ext4",
                         .options = {"errors=remount-ro"}},
               .read_only = true,
               .ephemeral = true,
               .lower = {"/srv/lower"_host},
               .upper = "/srv/upper"_host,
               .work = "/srv/work"_host,
               .size = 2_GiB,
               .idmapped = true,
               .propagation = Propagation::slave},
      .process = {.argv = {"sh", "-c", "echo \"it's $HOME\" # no comment\n", ""},
                  .env = {"PATH=/usr/bin:/bin", "GREETING=grüß gott", "RAW=\xff\xfe",
                          "HIDDEN=a\u202eb"},
                  .cwd = "/home/user"_guest,
                  .create_cwd = true,
                  .uid = {1000},
                  .gid = {1001},
                  .groups = {{27}, {4294967295U}},
                  .stdio = Stdio(Stream::null, HostFd{7}, Stream::capture),
                  .capture_limit = 1536_B,
                  .descriptors = {{.host = {9}, .number = 3}, {.host = {10}, .number = 4}},
                  .init = true,
                  .new_session = false,
                  .controlling_terminal = false,
                  .umask = Mode{027},
                  .rlimits = {{Rlimit::nofile, 1024, 4096},
                              {Rlimit::core, 0, RlimitSetting::unlimited}},
                  .oom_score_adj = -500,
                  .proc_files = {{"coredump_filter", "0x33"}, {"timerslack_ns", "50000"}},
                  .scheduling = {.policy = SchedPolicy::round_robin,
                                 .priority = 7,
                                 .nice = -5,
                                 .cpus = {0, 2, 3},
                                 .core = true},
                  .personality = Personality::linux32,
                  .death_signal = {15}},
      .terminal = {.console = true,
                   .ttys = 4,
                   .tty_dir = "lxc",
                   .log = "/var/log/full.log"_host,
                   .log_size = 1_MiB,
                   .log_rotate = true,
                   .ring = 0_B,
                   .rows = 50,
                   .columns = 132},
      .namespaces = Namespace::mount | Namespace::pid | Namespace::user | Namespace::time,
      .join = {{Namespace::net, "/run/netns/blue"_host},
               {Namespace::ipc, Pid{1234}},
               {Namespace::uts, HostFd{8}},
               {Namespace::cgroup, "relative"_host}},
      .idmap = {.kind = IdMap::ranges,
                .uids = {{0, 100000, 65536}, {65536, 1000, 1}},
                .gids = {{0, 100000, 65536}}},
      .time = {.monotonic = 10s, .boottime = -1500ns},
      .hostname = "box",
      .domainname = "example.org",
      .mounts = {Bind{.source = "/etc/resolv.conf"_host,
                      .target = "/etc/resolv.conf"_guest,
                      .flags = MountFlag::noexec | MountFlag::nosymfollow,
                      .recursive = true,
                      .idmapped = true,
                      .propagation = Propagation::shared,
                      .common = common},
                 Bind{.source_fd = {11}, .target = "/by-descriptor"_guest, .flags = {}},
                 Tmpfs{.target = "/tmp"_guest,
                       .size = 0_B,
                       .inodes = 1000,
                       .mode = {01777},
                       .flags = MountFlag::nosuid,
                       .common = common},
                 Tmpfs{.target = "/run"_guest}, Proc{},
                 Proc{.target = "/proc2"_guest,
                      .pids_only = true,
                      .hide_others = true,
                      .flags = MountFlag::read_only,
                      .common = common},
                 Sysfs{.target = "/sys2"_guest, .flags = MountFlag::read_only, .common = common},
                 Mqueue{.target = "/mq"_guest, .flags = MountFlag::nodev, .common = common},
                 CgroupMount{.target = "/cg"_guest,
                             .flags = MountFlag::nosuid,
                             .own_writable = true,
                             .common = common},
                 Devpts{.target = "/pts"_guest,
                        .max = 16,
                        .ptmx = "/ptmx"_guest,
                        .flags = MountFlag::nosuid,
                        .common = common},
                 Overlay{.target = "/data"_guest,
                         .lower = {"/srv/a"_host, "/srv/b,c=d e"_host},
                         .upper = "/srv/u"_host,
                         .work = "/srv/w"_host,
                         .ephemeral = true,
                         .size = 1_MiB,
                         .flags = MountFlag::noatime | MountFlag::nodiratime,
                         .common = common},
                 FsMount{.type = "ext4",
                         .source = "/dev/vda1",
                         .options = {"data=ordered", "errors=remount-ro", "discard"},
                         .target = "/disk"_guest,
                         .flags = MountFlag::strictatime,
                         .common = common},
                 ImageMount{.image = {.path = "/srv/vendor.img"_host,
                                      .type = "ext4",
                                      .options = {"noload"}},
                            .target = "/vendor"_guest,
                            .ephemeral = true,
                            .upper = "/srv/vu"_host,
                            .work = "/srv/vw"_host,
                            .size = 2_MiB,
                            .idmapped = true,
                            .flags = MountFlag::nodev,
                            .common = common},
                 FileMount{.target = "/proc/cmdline"_guest,
                           .content = "a=b \"c\"\nd\n",
                           .mode = {0600},
                           .flags = MountFlag::nosuid,
                           .common = common}},
      .default_mounts = false,
      .devices = {.populate = false,
                  .shm = false,
                  .mqueue = false,
                  .size = 1_KiB,
                  .shm_size = 1_GiB,
                  .nodes = {{.name = "fuse", .major = 10, .minor = 229},
                            {.name = "mapper/x y",
                             .kind = DeviceNode::block,
                             .major = 253,
                             .minor = 1,
                             .mode = {0600},
                             .uid = {5},
                             .gid = {6}}},
                  .filter = DeviceFilter::always,
                  .permitted = {{.major = 10, .access = DeviceAccess::read | DeviceAccess::write},
                                {.kind = DeviceNode::block, .minor = 3}},
                  .denied = {{.major = 10, .minor = 200}}},
      .network = {.loopback_up = false,
                  .interfaces =
                      {{.link = Veth{.bridge = "br0",
                                     .host_name = "vethbox",
                                     .isolated = true,
                                     .vlan_id = 5,
                                     .tagged = {6, 7},
                                     .rx_queues = 2,
                                     .tx_queues = 2},
                        .mac = "02:00:00:00:00:01"_mac,
                        .mtu = 1400,
                        .addresses = {"10.0.3.2/24"_prefix, "fd00::2/64"_prefix},
                        .gateways = {"10.0.3.1"_ip, "fe80::1"_ip},
                        .routes = {{.to = "10.1.0.0/16"_prefix, .via = "10.0.3.9"_ip, .metric = 5},
                                   {.to = "192.168.7.0/24"_prefix}},
                        .duplicate_address_detection = true,
                        .ready_within = std::chrono::seconds{3}},
                       {.name = "p2p",
                        .link = Veth{.host_addresses = {"10.0.4.1/32"_prefix}},
                        .up = false,
                        .ipv6_autoconf = true},
                       {.name = "wan",
                        .link = Macvlan{.parent = "eth0", .mode = Macvlan::passthru}},
                       {.name = "ip0",
                        .link = Ipvlan{.parent = "eth0",
                                       .mode = Ipvlan::l2,
                                       .isolation = Ipvlan::private_}},
                       {.name = "v7", .link = Vlan{.parent = "eth0", .id = 7}},
                       {.name = "nic", .link = Phys{.parent = "enp1s0"}},
                       {.name = "tap0",
                        .link = Tap{.vnet_header = true},
                        .mac_template = "02:00:00:xx:xx:xx",
                        .addresses = {"10.9.0.2/24"_prefix},
                        .broadcasts = {"10.9.0.254"_ip},
                        .gateway_auto = true},
                       {.name = "tun0", .link = Tun{}},
                       {.link = NatBridge{.name = "lab0",
                                          .subnets = {"10.50.0.0/16"_prefix},
                                          .nat = false,
                                          .isolated = true}}},
                  .publish = {{.host_address = "127.0.0.1"_ip, .host_port = 8080, .port = 80},
                              {.host_address = "::"_ip,
                               .host_port = 53,
                               .port = 5353,
                               .protocol = PublishedPort::udp},
                              {.host_port = 443, .port = 443}},
                  .name_servers = {"192.0.2.53"_ip, "2001:db8::53"_ip},
                  .search = {"example.org", "lan"}},
      .resources = {.cgroup = CgroupMode::always,
                    .cgroup_path = "guests/box",
                    .cgroup_inner = "ns",
                    .memory_max = 512_MiB,
                    .memory_high = 400_MiB,
                    .memory_swap_max = 0_B,
                    .pids_max = 256,
                    .cpus = 1.5,
                    .cpu_weight = 50,
                    .cpuset_cpus = "0-2,5",
                    .cpuset_mems = "0",
                    .io_weight = 20,
                    .io = {{.device = "/dev/sda"_host, .read_bytes = 1_MiB},
                           {.device = DeviceNumber{8, 16},
                            .write_bytes = unlimited,
                            .read_operations = 100,
                            .write_operations = 50}},
                    .hugetlb = {{.page_size = 2_MiB, .most = 8_MiB},
                                {.page_size = 1_GiB, .most = unlimited}},
                    .settings = {{"memory.oom.group", "1"}, {"io.max", "8:0 rbps=1048576", true}},
                    .optional = ResourceField::io_weight | ResourceField::hugetlb},
      .security = {.capabilities = CapabilitySet::small().add(Capability::net_admin),
                   .ambient = true,
                   .sets = {.permitted = CapabilitySet::small(),
                            .effective = CapabilitySet{},
                            .inheritable = CapabilitySet{Capability::kill},
                            .ambient = CapabilitySet{Capability::chown}},
                   .securebits = Securebit::noroot | Securebit::noroot_locked,
                   .no_new_privs = false,
                   .seccomp = {.kind = Seccomp::rules,
                               .arch = SyscallArch::x86 | SyscallArch::arm,
                               .otherwise = SyscallAction::fail,
                               .error = 38,
                               .list = {{.action = SyscallAction::allow,
                                         .calls = {"read", "write", "452"}},
                                        {.calls = {"ioctl"},
                                         .error = 22,
                                         .where = {{1, ArgumentCheck::eq, 0x5412, 0xffffffff},
                                                   {0, ArgumentCheck::lt, 3}},
                                         .arch = SyscallArch::x86,
                                         .optional = true}},
                               .program = {6, 0x7fff000000000006},
                               .notify_program = {0x7fc0000000000006},
                               .and_standard = false,
                               .log = true},
                   .landlock = {.handled = landlock::all - LandlockAccess::ioctl_dev,
                                .rules = {{.path = "/usr"_guest, .access = landlock::run},
                                          {.path = "/a b"_guest,
                                           .access = landlock::write | LandlockAccess::make_char,
                                           .follow_links = true,
                                           .optional = true}},
                                .tcp = LandlockTcp::bind | LandlockTcp::connect,
                                .bind = {0, 8080},
                                .connect = {65535},
                                .scope = LandlockScope::signal,
                                .best_effort = true},
                   .apparmor = "container-default",
                   .own_apparmor = true,
                   .apparmor_rules = {"deny /srv/** w,", "deny mount,"},
                   .selinux = "system_u:system_r:container_t:s0:c1,c2",
                   .selinux_mount = "system_u:object_r:container_file_t:s0",
                   .selinux_keyring = "system_u:system_r:container_t:s0",
                   .own_keyring = false,
                   .masked_paths = {},
                   .read_only_paths = {"/proc/sys"_guest, "/proc/bus"_guest},
                   .sysctls = {{"net.ipv4.ip_forward", "1"}, {"kernel.msgmax", ""}},
                   .allow = Allow::capabilities | Allow::devices},
      .lifecycle = {.stop_signal = {34},
                    .halt_signal = {12},
                    .reboot_signal = {1},
                    .stop_timeout = 1500ms,
                    .freezable = true,
                    .own_boot_id = true,
                    .restart = Restart::on_failure,
                    .restart_limit = 0,
                    .restart_window = 2h},
      .hooks = {.run = {{.point = HookPoint::up,
                         .program = "/usr/lib/hooks/up",
                         .argv = {"up", "%{interface}", "%%{no value}", ""},
                         .env = {"PID=%{pid}", "EMPTY="},
                         .input = "{\"pid\":%{pid}}\n",
                         .interface = "eth0",
                         .timeout = 1500ms},
                        {.point = HookPoint::post_stop, .program = "/bin/true"}},
                .root_at = "/run/condroid/root"_host},
  };
}

/// Fills anything that a Spec is made of with random values: half of the members keep their
/// default. The structured bindings are here so that a new member is filled, too.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  // No std distributions: their results differ between libraries, and a seed has to mean the same
  // everywhere.
  std::uint64_t below(std::uint64_t n) { return engine_() % n; }
  bool coin() { return below(2) == 0; }

  Spec spec() {
    Spec s;
    fill(s);
    return s;
  }

  /// Any bytes but NUL, with a liking for those that a text form trips over.
  std::string bytes() {
    static constexpr auto pieces = std::to_array<std::string_view>({" ",
                                                                    "\n",
                                                                    "\t",
                                                                    "\r",
                                                                    "\"",
                                                                    "'",
                                                                    "\\",
                                                                    "#",
                                                                    "=",
                                                                    ",",
                                                                    ":",
                                                                    "|",
                                                                    "/",
                                                                    "none",
                                                                    "true",
                                                                    "\\n",
                                                                    "\\x41",
                                                                    "path:",
                                                                    "fd:7",
                                                                    "ü",
                                                                    "\u202e",
                                                                    "\u2028",
                                                                    "😀",
                                                                    "\xff",
                                                                    "\xc3",
                                                                    "\xed\xa0\x80",
                                                                    "\xf4\x90\x80\x80",
                                                                    "\xe2\x82",
                                                                    "\x7f",
                                                                    "\x01",
                                                                    "a",
                                                                    "B",
                                                                    "0"});
    std::string text;
    const std::uint64_t length = below(4) == 0 ? below(40) : below(6);
    for (std::uint64_t i = 0; i < length; ++i) {
      if (coin()) {
        text += pieces[below(pieces.size())];
      } else {
        text += static_cast<char>(1 + below(255));
      }
    }
    return text;
  }

 private:
  template <class Member>
  void maybe(Member& member) {
    if (coin()) fill(member);
  }
  template <class... Members>
  void some(Members&... members) {
    (maybe(members), ...);
  }

  void fill(bool& b) { b = coin(); }
  void fill(std::string& s) { s = bytes(); }
  void fill(double& d) {
    static constexpr std::array<double, 8> odd{
        0.5, 1e300, 5e-324, -0.0, 0.1, 1e22, -3, std::numeric_limits<double>::infinity()};
    d = coin() ? odd[below(odd.size())] : std::bit_cast<double>(engine_());
    if (d != d) d = 0.25;  // not a number: equal to nothing
  }
  template <std::integral N>
  void fill(N& n) {
    static constexpr std::array<N, 4> odd{0, 1, std::numeric_limits<N>::min(),
                                          std::numeric_limits<N>::max()};
    n = coin() ? odd[below(odd.size())] : static_cast<N>(engine_() >> below(64));
  }
  void fill(Bytes& b) {
    fill(b.value);
    if (coin()) b.value <<= 10 * below(7);
  }
  void fill(Uid& u) { fill(u.value); }
  void fill(Gid& g) { fill(g.value); }
  void fill(Pid& p) { fill(p.value); }
  void fill(Signal& s) {
    s.value = coin() ? static_cast<int>(below(70)) : static_cast<int>(engine_());
  }
  void fill(Mode& m) { fill(m.value); }
  void fill(HostFd& f) { fill(f.number); }
  void fill(std::chrono::nanoseconds& t) {
    std::int64_t count = 0;
    fill(count);
    if (coin()) count = static_cast<std::int64_t>(below(1000)) * 1000000000;
    t = std::chrono::nanoseconds(count);
  }
  template <class Tag>
  void fill(detail::TaggedPath<Tag>& p) {
    p = detail::TaggedPath<Tag>((coin() ? "/" : "") + bytes());
  }
  template <NamedEnum E>
  void fill(E& e) {
    const auto& table = EnumNames<E>::table;
    e = table[below(table.size())].first;
  }
  template <class E>
  void fill(Flags<E>& f) {
    using Bits = typename Flags<E>::Bits;
    f = Flags<E>::from_bits(static_cast<Bits>(coin() ? engine_() : engine_() & engine_() & 0xff));
  }
  void fill(CapabilitySet& c) {
    static constexpr std::array<CapabilitySet, 3> usual{CapabilitySet{}, CapabilitySet::small(),
                                                        CapabilitySet::all()};
    c = coin() ? usual[below(usual.size())] : CapabilitySet::from_bits(engine_());
    if (coin()) c.add(static_cast<Capability>(below(capability_count)));
    if (coin()) c.drop(static_cast<Capability>(below(capability_count)));
  }
  void fill(Stream& s) {
    auto& [kind, fd] = s;
    fill(kind);
    if (kind == Stream::descriptor || below(4) == 0) fill(fd);
  }
  template <class T>
  void fill(std::optional<T>& o) {
    fill(o.emplace());
  }
  template <class T>
  void fill(std::vector<T>& list) {
    list.clear();  // of a default, too: an emptied list must come back empty
    for (std::uint64_t n = below(4) == 0 ? below(30) : below(4); n > 0; --n)
      fill(list.emplace_back());
  }
  template <class... T>
  void fill(std::variant<T...>& v) {
    const std::uint64_t chosen = below(sizeof...(T));
    std::uint64_t i = 0;
    const auto choose = [&]<class A>(std::type_identity<A> /*alternative*/) {
      if (i++ == chosen) fill(v.template emplace<A>());
    };
    (choose(std::type_identity<T>{}), ...);
  }

  void fill(MountCommon& m) {
    auto& [create_target, follow_links, optional] = m;
    some(create_target, follow_links, optional);
  }
  void fill(Bind& m) {
    auto& [source, source_fd, inside, target, flags, recursive, idmapped, idmap_of, propagation,
           common] = m;
    some(source, source_fd, inside, target, flags, recursive, idmapped, idmap_of, propagation,
         common);
  }
  void fill(Tmpfs& m) {
    auto& [target, size, inodes, mode, flags, common] = m;
    some(target, size, inodes, mode, flags, common);
  }
  void fill(Proc& m) {
    auto& [target, pids_only, hide_others, flags, common] = m;
    some(target, pids_only, hide_others, flags, common);
  }
  void fill(Sysfs& m) {
    auto& [target, flags, net_writable, common] = m;
    some(target, flags, net_writable, common);
  }
  void fill(Mqueue& m) {
    auto& [target, flags, common] = m;
    some(target, flags, common);
  }
  void fill(CgroupMount& m) {
    auto& [target, flags, own_writable, common] = m;
    some(target, flags, own_writable, common);
  }
  void fill(Devpts& m) {
    auto& [target, max, ptmx, flags, common] = m;
    some(target, max, ptmx, flags, common);
  }
  void fill(Overlay& m) {
    auto& [target, lower, upper, work, ephemeral, size, flags, common] = m;
    some(target, lower, upper, work, ephemeral, size, flags, common);
  }
  void fill(FsMount& m) {
    auto& [type, source, options, target, flags, propagation, common] = m;
    some(type, source, options, target, flags, propagation, common);
  }
  void fill(ImageMount& m) {
    auto& [image, target, ephemeral, upper, work, size, idmapped, flags, common] = m;
    some(image, target, ephemeral, upper, work, size, idmapped, flags, common);
  }
  void fill(FileMount& m) {
    auto& [target, content, mode, flags, common] = m;
    some(target, content, mode, flags, common);
  }
  void fill(Join& j) {
    auto& [kind, from] = j;
    some(kind, from);
  }
  void fill(IdRange& r) {
    auto& [inside, outside, count] = r;
    some(inside, outside, count);
  }
  void fill(PassedFd& p) {
    auto& [host, number] = p;
    some(host, number);
  }
  void fill(RlimitSetting& r) {
    auto& [resource, soft, hard] = r;
    some(resource, soft, hard);
  }
  void fill(DeviceNode& n) {
    auto& [name, kind, major, minor, mode, uid, gid] = n;
    some(name, kind, major, minor, mode, uid, gid);
  }
  void fill(CgroupSetting& s) {
    auto& [file, value, optional] = s;
    some(file, value, optional);
  }
  template <class T>
  void fill(Limit<T>& l) {
    T most{};
    fill(most);
    l = below(3) == 0 ? Limit<T>(unlimited) : Limit<T>(most);
  }
  void fill(DeviceNumber& d) {
    auto& [major, minor] = d;
    some(major, minor);
  }
  void fill(IoLimit& i) {
    auto& [device, read_bytes, write_bytes, read_operations, write_operations] = i;
    some(device, read_bytes, write_bytes, read_operations, write_operations);
  }
  void fill(HugetlbLimit& h) {
    auto& [page_size, most] = h;
    some(page_size, most);
  }
  void fill(ProcFile& f) {
    auto& [name, value] = f;
    some(name, value);
  }
  void fill(Sysctl& s) {
    auto& [name, value] = s;
    some(name, value);
  }
  void fill(RootImage& i) {
    auto& [path, type, options] = i;
    some(path, type, options);
  }
  void fill(Root& r) {
    auto& [path, image, read_only, ephemeral, lower, upper, work, size, idmapped, propagation] = r;
    some(path, image, read_only, ephemeral, lower, upper, work, size, idmapped, propagation);
  }
  void fill(Stdio& s) {
    auto& [in, out, err] = s;
    some(in, out, err);
  }
  void fill(Scheduling& s) {
    auto& [policy, priority, nice, cpus, core] = s;
    some(policy, priority, nice, cpus, core);
  }
  void fill(Process& p) {
    auto& [argv, env, cwd, create_cwd, uid, gid, groups, stdio, capture_limit, descriptors, init,
           new_session, controlling_terminal, umask, rlimits, oom_score_adj, proc_files, scheduling,
           personality, death_signal] = p;
    some(argv, env, cwd, create_cwd, uid, gid, groups, stdio, capture_limit, descriptors, init,
         new_session, controlling_terminal, umask, rlimits, oom_score_adj, proc_files, scheduling,
         personality, death_signal);
  }
  void fill(Terminal& t) {
    auto& [console, ttys, tty_dir, log, log_size, log_rotate, ring, rows, columns] = t;
    some(console, ttys, tty_dir, log, log_size, log_rotate, ring, rows, columns);
  }
  void fill(IdMap& m) {
    auto& [kind, uids, gids] = m;
    some(kind, uids, gids);
  }
  void fill(TimeOffsets& t) {
    auto& [monotonic, boottime] = t;
    some(monotonic, boottime);
  }
  void fill(Devices& d) {
    auto& [populate, shm, mqueue, size, shm_size, nodes, filter, permitted, denied] = d;
    some(populate, shm, mqueue, size, shm_size, nodes, filter, permitted, denied);
  }
  void fill(DevicePermission& p) {
    auto& [kind, major, minor, access] = p;
    some(kind, major, minor, access);
  }
  void fill(Network& n) {
    auto& [loopback_up, interfaces, publish, name_servers, search] = n;
    some(loopback_up, interfaces, publish, name_servers, search);
  }
  void fill(PublishedPort& p) {
    auto& [host_address, host_port, port, protocol] = p;
    some(host_address, host_port, port, protocol);
  }
  void fill(IpAddress& a) {
    std::string text;
    if (coin()) {
      text = fmt::format("{}.{}.{}.{}", below(256), below(256), below(256), below(256));
    } else {
      for (int i = 0; i < 8; ++i)
        text += fmt::format("{}{:x}", i == 0 ? "" : ":", coin() ? 0 : below(65536));
    }
    a = IpAddress::parse(text).value();
  }
  void fill(IpPrefix& p) {
    fill(p.address);
    p.length = static_cast<std::uint8_t>(below(8 * p.address.size() + 1));
  }
  void fill(MacAddress& m) {
    for (std::uint8_t& b : m.bytes) b = static_cast<std::uint8_t>(below(256));
  }
  void fill(Route& r) {
    auto& [to, via, metric] = r;
    some(to, via, metric);
  }
  void fill(Veth& l) {
    auto& [bridge, host_name, host_addresses, host_routes, isolated, vlan_id, tagged, rx_queues,
           tx_queues] = l;
    some(bridge, host_name, host_addresses, host_routes, isolated, vlan_id, tagged, rx_queues,
         tx_queues);
  }
  void fill(Macvlan& l) {
    auto& [parent, mode] = l;
    some(parent, mode);
  }
  void fill(Ipvlan& l) {
    auto& [parent, mode, isolation] = l;
    some(parent, mode, isolation);
  }
  void fill(Vlan& l) {
    auto& [parent, id] = l;
    some(parent, id);
  }
  void fill(NatBridge& l) {
    auto& [name, subnets, nat, isolated] = l;
    some(name, subnets, nat, isolated);
    if (subnets.empty()) subnets.emplace_back();  // which is refused, and has no text
  }
  void fill(Pasta& l) {
    auto& [parent, reach_host] = l;
    some(parent, reach_host);
  }
  void fill(Interface& i) {
    auto& [name, link, mac, mac_template, mtu, up, addresses, broadcasts, gateways, gateway_auto,
           routes, ipv6_autoconf, detection, ready] = i;
    some(name, mac, mac_template, mtu, up, addresses, broadcasts, gateways, gateway_auto, routes,
         ipv6_autoconf, detection, ready);
    switch (below(10)) {
      case 0:
        fill(link.emplace<Veth>());
        break;
      case 1:
        fill(link.emplace<Macvlan>());
        break;
      case 2:
        fill(link.emplace<Ipvlan>());
        break;
      case 3:
        fill(link.emplace<Vlan>());
        break;
      case 4:
        some(link.emplace<Phys>().parent);
        break;
      case 5:
        some(link.emplace<Tap>().vnet_header);
        break;
      case 6:
        fill(link.emplace<NatBridge>());
        break;
      case 7:
        fill(link.emplace<Pasta>());
        break;
      case 8:
        some(link.emplace<UserNic>().bridge);
        break;
      default:
        link.emplace<Tun>();
        break;
    }
  }
  void fill(Resources& r) {
    auto& [cgroup, cgroup_path, cgroup_inner, memory_max, memory_high, memory_swap_max, pids_max,
           cpus, cpu_weight, cpuset_cpus, cpuset_mems, io_weight, io, hugetlb, settings, optional] =
        r;
    some(cgroup, cgroup_path, cgroup_inner, memory_max, memory_high, memory_swap_max, pids_max,
         cpus, cpu_weight, cpuset_cpus, cpuset_mems, io_weight, io, hugetlb, settings, optional);
  }
  void fill(Security& s) {
    auto& [capabilities, ambient, sets, securebits, no_new_privs, seccomp, landlock, apparmor,
           own_apparmor, apparmor_rules, selinux, selinux_mount, selinux_keyring, own_keyring,
           masked_paths, read_only_paths, sysctls, allow] = s;
    some(capabilities, ambient, sets, securebits, no_new_privs, seccomp, landlock, apparmor,
         own_apparmor, apparmor_rules, selinux, selinux_mount, selinux_keyring, own_keyring,
         masked_paths, read_only_paths, sysctls, allow);
  }
  void fill(CapabilitySets& s) {
    auto& [permitted, effective, inheritable, ambient] = s;
    some(permitted, effective, inheritable, ambient);
  }
  void fill(Landlock& l) {
    auto& [handled, rules, tcp, bind, connect, scope, best_effort] = l;
    some(handled, rules, tcp, bind, connect, scope, best_effort);
  }
  void fill(LandlockRule& r) {
    auto& [path, access, follow_links, optional] = r;
    some(path, access, follow_links, optional);
  }
  void fill(Seccomp& s) {
    auto& [kind, arch, otherwise, error, list, program, notify_program, and_standard, log] = s;
    some(kind, arch, otherwise, error, list, program, notify_program, and_standard, log);
  }
  void fill(SyscallRule& r) {
    auto& [action, calls, error, where, arch, optional] = r;
    some(action, calls, error, where, arch, optional);
  }
  void fill(ArgumentCheck& c) {
    auto& [index, op, value, mask] = c;
    some(index, value, mask);
    op = static_cast<ArgumentCheck::Op>(below(6));
  }
  void fill(Lifecycle& l) {
    auto& [stop_signal, halt_signal, reboot_signal, stop_timeout, freezable, own_boot_id, restart,
           restart_limit, restart_window] = l;
    some(stop_signal, halt_signal, reboot_signal, stop_timeout, freezable, own_boot_id, restart,
         restart_limit, restart_window);
  }
  void fill(Hook& h) {
    auto& [point, program, argv, env, input, interface, timeout] = h;
    some(program, argv, env, input, interface, timeout);
    point = static_cast<HookPoint>(below(12));
  }
  void fill(Hooks& h) {
    auto& [run, root_at] = h;
    some(run, root_at);
  }
  void fill(Spec& s) {
    auto& [name, root, process, terminal, namespaces, join, idmap, time, hostname, domainname,
           mounts, default_mounts, devices, network, resources, security, lifecycle, hooks] = s;
    some(name, root, process, terminal, namespaces, join, idmap, time, hostname, domainname, mounts,
         default_mounts, devices, network, resources, security, lifecycle, hooks);
  }

  std::mt19937_64 engine_;
};

}  // namespace samples
