// What LXC refuses of each key is refused, with the line and what would be right; what it takes is
// taken.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "../../fuzz/lxc_config_property.hpp"
#include "catch.hpp"
#include "condroid/config/lxc.hpp"

using namespace condroid;
using Catch::Contains;
using lxc::Configuration;
using lxc::Diagnostic;

namespace {

/// Of a machine with version 1 of cgroups and no security modules, whatever this one has.
lxc::Translation here() {
  return {.name = "box",
          .apparmor = false,
          .selinux = false,
          .cgroup2_only = false,
          .capabilities = CapabilitySet::all(),
          .apparmor_profiles = std::vector<std::string>{},
          .kernel_settings = std::vector<std::string>{}};
}

/// What is said of a text, when it is read or when it becomes a Spec; nothing of one that is taken.
std::vector<Diagnostic> mistakes_of(std::string_view text) {
  std::vector<Diagnostic> mistakes;
  const auto config = Configuration::parse(text, "config", &mistakes);
  if (!config) {
    CHECK(config.error().is(Errc::bad_text));
    return mistakes;
  }
  const auto container = config->to_spec(here(), &mistakes);
  CHECK(container.has_value() == mistakes.empty());
  return mistakes;
}

std::string_view line_of(std::string_view text, std::size_t number) {
  while (--number > 0) text.remove_prefix(std::min(text.find('\n') + 1, text.size()));
  return text.substr(0, text.find('\n'));
}

/// One mistake, in the line that has its key and value.
void check_refused(const std::string& text, std::string_view said) {
  INFO(text.substr(0, 200));
  const auto mistakes = mistakes_of(text);
  REQUIRE(mistakes.size() == 1);
  const Diagnostic& d = mistakes.front();
  CHECK(d.kind == Diagnostic::error);
  CHECK(d.file == "config");
  REQUIRE(d.line > 0);
  const std::string_view line = line_of(text, d.line);
  CHECK(line.starts_with(d.key));
  CHECK(line.ends_with(d.value));
  CHECK_THAT(fmt::format("{}; {}", d.what, d.hint), Contains(std::string(said)));
  // What is wrong with it, and what would be right.
  CHECK_FALSE(d.what.empty());
  CHECK((!d.hint.empty() || d.what.find("cannot be read") != d.what.npos ||
         d.what.find("unknown") != d.what.npos));
  const std::string whole = to_string(d);
  CHECK(whole.starts_with(fmt::format("config:{}: ", d.line)));
  CHECK(whole.find(d.key) != whole.npos);
  CHECK(lxc_config_property::printable(whole));
}

void check_taken(const std::string& text) {
  INFO(text.substr(0, 200));
  for (const Diagnostic& d : mistakes_of(text)) FAIL_CHECK(to_string(d));
}

/// A text in which a key of the table has a value; above it the type that it is of.
std::string with(std::string_view name, std::string_view value) {
  std::string key(name), above;
  if (key.starts_with("lxc.net.N.")) {
    const std::string sub = key.substr(10);
    const std::string kind = sub.substr(0, sub.find('.'));
    const bool of_kind = kind == "veth" || kind == "macvlan" || kind == "ipvlan" || kind == "vlan";
    above = fmt::format("lxc.net.0.type = {}\nlxc.net.0.link = a\n", of_kind ? kind : "veth");
    key.replace(8, 1, "0");
  }
  return fmt::format("{}{} = {}", above, key, value);
}

std::vector<std::string_view> keys_of(std::string_view values) {
  std::vector<std::string_view> names;
  for (const lxc::KeyInfo& key : lxc::keys())
    if (key.values == values) names.push_back(key.name);
  return names;
}

constexpr std::string_view number_values = "a whole number from 0 to 4294967295";
constexpr std::string_view flag_values = "0 or 1";
constexpr std::string_view signal_values = "a number, or a name like SIGPWR or SIGRTMIN+3";
constexpr std::string_view paths[] = {"lxc.rootfs.path",
                                      "lxc.rootfs.mount",
                                      "lxc.init.cwd",
                                      "lxc.mount.fstab",
                                      "lxc.console.path",
                                      "lxc.console.logfile",
                                      "lxc.seccomp.profile",
                                      "lxc.log.file",
                                      "lxc.cgroup.dir",
                                      "lxc.cgroup.dir.monitor",
                                      "lxc.cgroup.dir.monitor.pivot",
                                      "lxc.cgroup.dir.container"};
/// Of these no value is wrong to LXC's parser, and none here.
constexpr std::string_view free_keys[] = {"lxc.rootfs.backend",
                                          "lxc.init.cmd",
                                          "lxc.execute.cmd",
                                          "lxc.apparmor.profile",
                                          "lxc.apparmor.raw",
                                          "lxc.selinux.context",
                                          "lxc.selinux.context.keyring",
                                          "lxc.seccomp.notify.cookie",
                                          "lxc.sysctl.",
                                          "lxc.cgroup.",
                                          "lxc.net.N.flags",
                                          "lxc.net.N.script.up",
                                          "lxc.net.N.script.down",
                                          "lxc.hook.pre-start",
                                          "lxc.hook.pre-mount",
                                          "lxc.hook.mount",
                                          "lxc.hook.autodev",
                                          "lxc.hook.start-host",
                                          "lxc.hook.start",
                                          "lxc.hook.stop",
                                          "lxc.hook.post-stop",
                                          "lxc.hook.clone",
                                          "lxc.hook.destroy",
                                          "lxc.group",
                                          "lxc.kmsg",
                                          "lxc.pivotdir"};

struct Row {
  const char* text;
  const char* said;
};

// The last line is the one that is wrong, unless a row shows the line that it needs below.
#define VETH "lxc.net.0.type = veth\n"
#define UP VETH "lxc.net.0.flags = up\n"
#define MACVLAN "lxc.net.0.type = macvlan\nlxc.net.0.link = a\n"
#define IPVLAN "lxc.net.0.type = ipvlan\nlxc.net.0.link = a\n"
#define VLAN "lxc.net.0.type = vlan\nlxc.net.0.link = a\n"
#define PHYS "lxc.net.0.type = phys\nlxc.net.0.link = a\n"

constexpr Row refused[] = {
    // Lines and keys.
    {"lxc.uts.name # x", "has no '='; KEY = VALUE"},
    {"lxc.", "has no '='; KEY = VALUE"},
    {"lxc. = 1", "unknown key"},
    {"lxc.uts.name a = b", "unknown key; did you mean lxc.uts.name?"},
    {"lxc.Uts.name = a", "unknown key; did you mean lxc.uts.name?"},
    {"lxc.uts.name.x = a", "unknown key; did you mean lxc.uts.name?"},
    {"lxc.cgroups = x", "unknown key; did you mean lxc.cgroup?"},
    {"lxc.personality = x86", "unknown key; docs/lxc-keys.md has them all"},
    {"lxc.net.x.type = veth", "unknown key; did you mean lxc.net.0.type?"},
    {"lxc.net.-1.type = veth", "unknown key; did you mean lxc.net.0.type?"},
    {"lxc.net.2147483647.type = veth", "unknown key; did you mean lxc.net.0.type?"},
    {"lxc.net..type = veth", "unknown key; did you mean lxc.net.0.type?"},
    {"lxc.net.0.type.x = veth", "unknown key; did you mean lxc.net.0.type?"},
    {"lxc.hook.nope = x", "unknown key; did you mean lxc.hook"},
    {"lxc.namespace = x", "unknown key"},
    {"lxc.namespace.share. = x", "unknown key"},
    {"lxc.prlimit. = 1", "unknown key"},
    {"lxc.time.offset.real = 5s", "unknown key"},
    {"lxc.cgroup.dir.montior = a", "unknown key; did you mean lxc.cgroup.dir.monitor?"},
    {"lxc.include = /no/such.conf", "cannot be read: No such file or directory (ENOENT)"},
    {"lxc.net = x", "takes no value; without one it clears what is below it"},
    {"lxc.net.0 = x", "takes no value; without one it clears what is below it"},
    {"lxc.hook = x", "takes no value; without one it clears what is below it"},
    {"lxc.cgroup = x", "takes no value; without one it clears what is below it"},
    {"lxc.cgroup2 = x", "takes no value; without one it clears what is below it"},
    {"lxc.prlimit = x", "takes no value; without one it clears what is below it"},
    {"lxc.sysctl = x", "takes no value; without one it clears what is below it"},
    {"lxc.proc = x", "takes no value; without one it clears what is below it"},
    {"lxc.namespace.share = x", "takes no value; without one it clears what is below it"},

    // Identity, root, first process.
    {"lxc.uts.name = 12345678901234567890123456789012345678901234567890123456789012345",
     "has 65 bytes; use a name of at most 64 bytes"},
    {"lxc.arch = X86_64",
     "did you mean x86_64?; use an architecture like x86_64, i686, aarch64 or armv7l"},
    {"lxc.arch =", "is empty; use an architecture like x86_64, i686, aarch64 or armv7l"},
    {"lxc.rootfs.options = create=dir", "create=dir is for lxc.mount.entry alone; use options of"},
    {"lxc.rootfs.options = create=file", "create=file is for lxc.mount.entry alone; use options"},
    {"lxc.rootfs.options = ro,optional", "optional is for lxc.mount.entry alone; use options of"},
    {"lxc.rootfs.options = relative", "relative is for lxc.mount.entry alone; use options of"},
    {"lxc.rootfs.path = nvme:/x",
     "unknown type nvme; dir, overlay, loop, nbd, lvm, zfs, btrfs or rbd"},
    {"lxc.rootfs.path = overlay:/a", "has no upper directory; overlay:LOWER:UPPER"},
    {"lxc.init.groups = x", "is no group id; use group ids with commas between them"},
    {"lxc.init.groups = 1,x", "is no group id; use group ids with commas between them"},
    {"lxc.init.groups = -1", "is no group id; use group ids with commas between them"},
    {"lxc.init.groups = 4294967296", "is no group id; use group ids with commas between them"},
    {"lxc.init.groups = ,", "has no group id; use group ids with commas between them"},
    {"lxc.init.groups = ,,", "has no group id; use group ids with commas between them"},

    // Network.
    {"lxc.net.0.type = bridge", "unknown type; expected one of veth, macvlan, ipvlan, vlan, phys,"},
    {"lxc.net.0.type = Veth", "unknown type; did you mean veth?"},
    {"lxc.net.0.link = a", "there is no lxc.net.0.type; veth, macvlan, ipvlan, vlan, phys, empty"},
    {"lxc.net.0.type = macvlan", "there is no lxc.net.0.link; name the interface of the host"},
    {"lxc.net.0.type = ipvlan", "there is no lxc.net.0.link; name the interface of the host"},
    {"lxc.net.0.type = vlan", "there is no lxc.net.0.link; name the interface of the host"},
    {"lxc.net.0.type = phys", "there is no lxc.net.0.link; name the interface of the host"},
    {VETH "lxc.net.0.link = 1234567890123456", "has 16 bytes; use a name of 1 to 15 bytes"},
    {VETH "lxc.net.0.name = 1234567890123456", "has 16 bytes; use a name of 1 to 15 bytes"},
    {VETH "lxc.net.0.name = a/b", "is no name of an interface; use a name of 1 to 15 bytes"},
    {VETH "lxc.net.0.name = a%s", "has a '%' that is not %d; eth%d"},
    {VETH "lxc.net.0.hwaddr = 00:16:3e", "is no Ethernet address; use like 00:16:3e:xx:xx:xx"},
    {VETH "lxc.net.0.hwaddr = zz:16:3e:00:00:00", "is no Ethernet address; use like 00:16:3e:"},
    {VETH "lxc.net.0.mtu = big", "is no number in range; use a number of bytes"},
    {VETH "lxc.net.0.mtu = -1", "is no number in range; use a number of bytes"},
    {VETH "lxc.net.0.ipv4.address = 10.0.0", "is no IPv4 address; use ADDRESS[/PREFIX]"},
    {VETH "lxc.net.0.ipv4.address = 10.0.0.1/33", "is no IPv4 address; use ADDRESS[/PREFIX]"},
    {VETH "lxc.net.0.ipv4.address = 10.0.0.1/x", "is no IPv4 address; use ADDRESS[/PREFIX]"},
    {VETH "lxc.net.0.ipv4.address = fd00::1", "is no IPv4 address; use ADDRESS[/PREFIX]"},
    {VETH "lxc.net.0.ipv4.address = 10.0.0.1/24 x",
     "has no IPv4 address for its broadcast; use ADDRESS[/PREFIX] [BROADCAST]"},
    {VETH "lxc.net.0.ipv6.address = 10.0.0.1", "is no IPv6 address; use ADDRESS[/PREFIX]"},
    {VETH "lxc.net.0.ipv6.address = fd00::1/x", "is no IPv6 address; use ADDRESS[/PREFIX]"},
    {UP "lxc.net.0.ipv4.gateway = x", "is no IPv4 address; use an address, auto or dev"},
    {UP "lxc.net.0.ipv4.gateway = fd00::1", "is no IPv4 address; use an address, auto or dev"},
    {UP "lxc.net.0.ipv6.gateway = 10.0.0.1", "is no IPv6 address; use an address, auto or dev"},
    {VETH "lxc.net.0.ipv4.gateway = 10.0.0.1", "the interface is down; lxc.net.0.flags = up"},
    {VETH "lxc.net.0.ipv6.gateway = dev", "the interface is down; lxc.net.0.flags = up"},
    {UP "lxc.net.0.ipv4.gateway = 10.0.0.1",
     "the interface has no IPv4 address; lxc.net.0.ipv4.address must be there"},
    {UP "lxc.net.0.ipv4.gateway = dev", "the interface has no IPv4 address"},
    {UP "lxc.net.0.ipv4.gateway = auto", "the interface has no IPv4 address"},
    {UP "lxc.net.0.ipv4.address = 10.0.0.2/24\nlxc.net.0.ipv6.gateway = fd00::1",
     "the interface has no IPv6 address; lxc.net.0.ipv6.address must be there"},
    {PHYS "lxc.net.0.flags = up\nlxc.net.0.ipv4.address = 10.0.0.2\nlxc.net.0.ipv4.gateway = auto",
     "auto is for veth and macvlan; name the gateway"},
    {VETH "lxc.net.0.veth.pair = 1234567890123456", "has 16 bytes; use a name of 1 to 15 bytes"},
    {VETH "lxc.net.0.veth.mode = x", "unknown mode; expected one of bridge, router; use bridge or"},
    {VETH "lxc.net.0.veth.n_rxqueues = 0", "is no number in range; use a whole number from 1"},
    {VETH "lxc.net.0.veth.n_rxqueues = -1", "is no number in range; use a whole number from 1"},
    {VETH "lxc.net.0.veth.n_txqueues = 0", "is no number in range; use a whole number from 1"},
    {VETH "lxc.net.0.veth.n_txqueues = 2147483648", "is no number in range; use a whole number"},
    {VETH "lxc.net.0.veth.ipv4.route = 10.0.0.0", "has no prefix length; use NETWORK/PREFIX"},
    {VETH "lxc.net.0.veth.ipv4.route = 10.0.0.0/33", "is no IPv4 network; use NETWORK/PREFIX"},
    {VETH "lxc.net.0.veth.ipv4.route = fd00::/8", "is no IPv4 network; use NETWORK/PREFIX"},
    {VETH "lxc.net.0.veth.ipv6.route = fd00::", "has no prefix length; use NETWORK/PREFIX"},
    {VETH "lxc.net.0.veth.ipv6.route = fd00::/129", "is no IPv6 network; use NETWORK/PREFIX"},
    {VETH "lxc.net.0.veth.ipv6.route = 10.0.0.0/8", "is no IPv6 network; use NETWORK/PREFIX"},
    {VETH "lxc.net.0.veth.vlan.id = 4095", "is no number in range; use none or 0 to 4094"},
    {VETH "lxc.net.0.veth.vlan.id = x", "is no number in range; use none or 0 to 4094"},
    {VETH "lxc.net.0.veth.vlan.tagged.id = none", "is no number in range; use 0 to 4094"},
    {VETH "lxc.net.0.veth.vlan.tagged.id = 4095", "is no number in range; use 0 to 4094"},
    {MACVLAN "lxc.net.0.macvlan.mode = source", "use private, vepa, bridge or passthru"},
    {IPVLAN "lxc.net.0.ipvlan.mode = l4", "use l3, l3s or l2"},
    {IPVLAN "lxc.net.0.ipvlan.isolation = x", "use bridge, private or vepa"},
    {VLAN "lxc.net.0.vlan.id = 65536", "is no number in range; use a number from 0 to 65535"},
    {VLAN "lxc.net.0.vlan.id = x", "is no number in range; use a number from 0 to 65535"},
    // Of another type, or above it.
    {"lxc.net.0.veth.pair = a", "comes before its type; lxc.net.0.type = veth must stand above"},
    {"lxc.net.0.macvlan.mode = vepa", "lxc.net.0.type = macvlan must stand above"},
    {"lxc.net.0.ipvlan.mode = l2", "lxc.net.0.type = ipvlan must stand above"},
    {"lxc.net.0.vlan.id = 3", "lxc.net.0.type = vlan must stand above"},
    {PHYS "lxc.net.0.veth.pair = a", "its type is phys; lxc.net.0.type = veth must stand above"},
    {MACVLAN "lxc.net.0.veth.mode = router", "its type is macvlan; lxc.net.0.type = veth must"},
    {MACVLAN "lxc.net.0.veth.n_rxqueues = 1", "its type is macvlan; lxc.net.0.type = veth must"},
    {MACVLAN "lxc.net.0.veth.ipv4.route = 10.0.0.0/8", "its type is macvlan"},
    {MACVLAN "lxc.net.0.veth.ipv6.route = fd00::/8", "its type is macvlan"},
    {MACVLAN "lxc.net.0.veth.vlan.id = 1", "its type is macvlan"},
    {MACVLAN "lxc.net.0.veth.vlan.tagged.id = 1", "its type is macvlan"},
    {VETH "lxc.net.0.macvlan.mode = vepa", "its type is veth"},
    {VETH "lxc.net.0.ipvlan.mode = l3", "its type is veth"},
    {VETH "lxc.net.0.ipvlan.isolation = vepa", "its type is veth"},
    {VETH "lxc.net.0.vlan.id = 3", "its type is veth; lxc.net.0.type = vlan must stand above"},

    // Mounts, /dev, terminals.
    {"lxc.mount.fstab =", "is empty; use a file in the form of fstab(5)"},
    {"lxc.mount.fstab = /no/such", "cannot be read: ENOENT"},
    {"lxc.mount.entry = /a b none", "has 3 fields; SOURCE TARGET TYPE OPTIONS, for instance /srv"},
    {"lxc.mount.entry = /a b none ro 0 0",
     "is neither of a file system nor a bind mount; add bind"},
    {"lxc.mount.auto = proc nope", "unknown word nope; use proc[:mixed|rw], sys[:mixed|ro|rw], cg"},
    {"lxc.mount.auto = Proc", "unknown word Proc"},
    {"lxc.mount.auto = proc:ro", "unknown word proc:ro"},
    {"lxc.mount.auto = proc:rw:force", "unknown word proc:rw:force"},
    {"lxc.mount.auto = sys:x", "unknown word sys:x"},
    {"lxc.mount.auto = cgroup:x", "unknown word cgroup:x"},
    {"lxc.mount.auto = cgroup:force:rw", "unknown word cgroup:force:rw"},
    {"lxc.mount.auto = cgroup2:rw", "unknown word cgroup2:rw"},
    {"lxc.mount.auto = shmounts", "shmounts needs a directory of the host; use proc[:mixed|rw]"},
    {"lxc.autodev.tmpfs.size = x", "is no number in range; use a number of bytes"},
    {"lxc.console.buffer.size = x", "is no size; use auto, or a size with KB, MB or GB"},
    {"lxc.console.buffer.size = 10QB",
     "has an unknown unit; use auto, or a size with KB, MB or GB"},
    {"lxc.console.buffer.size = 99999999999GB", "is too large; use auto, or a size with KB, MB or"},
    {"lxc.console.size = -1", "is no size; use auto, or a size with KB, MB or GB"},
    {"lxc.console.size = 10KiB", "has an unknown unit; use auto, or a size with KB, MB or GB"},
    {"lxc.console.size = 18446744073709551616",
     "is no size; use auto, or a size with KB, MB or GB"},

    // Namespaces and ids.
    {"lxc.idmap = u 0 100000", "has 3 words, not 4; use u|g INSIDE OUTSIDE COUNT"},
    {"lxc.idmap = u 0 1 2 3", "has 5 words, not 4; use u|g INSIDE OUTSIDE COUNT"},
    {"lxc.idmap = b 0 1 2", "b is neither u nor g; use u|g INSIDE OUTSIDE COUNT"},
    {"lxc.idmap = u x 1 2", "x is no id; use u|g INSIDE OUTSIDE COUNT"},
    {"lxc.idmap = g 0 -1 2", "-1 is no id; use u|g INSIDE OUTSIDE COUNT"},
    {"lxc.idmap = u 0 1 many", "many is no id; use u|g INSIDE OUTSIDE COUNT"},
    {"lxc.namespace.clone = pid nett", "unknown namespace; did you mean net?"},
    {"lxc.namespace.clone = mount", "is mnt in LXC's words; use of user, mnt, pid, uts, ipc, net"},
    {"lxc.namespace.keep = net,pid", "unknown namespace; expected one of user, mnt, pid, uts, ipc"},
    {"lxc.namespace.clone = pid\nlxc.namespace.keep = net",
     "there is lxc.namespace.clone as well; use one of them"},
    {"lxc.namespace.keep = pid\nlxc.namespace.clone = net",
     "there is lxc.namespace.keep as well; use one of them"},
    {"lxc.namespace.share.PID = 1", "unknown namespace; one of user, mnt, pid, uts, ipc, net"},
    {"lxc.namespace.share.nett = 1", "unknown namespace; one of user, mnt, pid, uts, ipc, net"},
    {"lxc.time.offset.boot = 5", "has no unit; use a number and h, m, s, ms, us or ns"},
    {"lxc.time.offset.boot = 5 d", "d is no unit; use a number and h, m, s, ms, us or ns"},
    {"lxc.time.offset.boot = 5 s x", "is no offset; use a number and h, m, s, ms, us or ns"},
    {"lxc.time.offset.boot = 0x10 s", "is no number; use a number and h, m, s, ms, us or ns"},
    {"lxc.time.offset.boot = 9999999999999999 h", "is more than 292 years; use a number and h, m"},
    {"lxc.time.offset.monotonic = x s", "is no number; use a number and h, m, s, ms, us or ns"},
    {"lxc.time.offset.monotonic = 5 S", "S is no unit; use a number and h, m, s, ms, us or ns"},

    // Rights and limits.
    {"lxc.cap.drop = sys_admn", "sys_admn: unknown capability; did you mean sys_admin?"},
    {"lxc.cap.drop = cap_kill", "cap_kill: unknown capability"},
    {"lxc.cap.drop = none", "none goes with lxc.cap.keep alone; use capabilities in lower case"},
    {"lxc.cap.drop = 41", "41 is no capability; the last is 40; use capabilities in lower case"},
    {"lxc.cap.drop = -1", "-1: unknown capability"},
    {"lxc.cap.keep = KILL", "KILL: unknown capability; did you mean kill?"},
    {"lxc.cap.keep = 64", "64 is no capability; the last is 40"},
    {"lxc.cap.keep = kill\nlxc.cap.drop = chown", "there is lxc.cap.keep as well; use one of them"},
    {"lxc.cap.drop = kill\nlxc.cap.keep = chown", "there is lxc.cap.drop as well; use one of them"},
    {"lxc.prlimit.nofile = many", "is no limit; use SOFT[:HARD], numbers or unlimited"},
    {"lxc.prlimit.nofile = 1:x", "is no limit; use SOFT[:HARD], numbers or unlimited"},
    {"lxc.prlimit.nofile = 1:2:3", "is no limit; use SOFT[:HARD], numbers or unlimited"},
    {"lxc.prlimit.nofile = 1k", "is no limit; use SOFT[:HARD], numbers or unlimited"},
    {"lxc.prlimit.nofile = 2:1", "the soft limit is above the hard one; SOFT:HARD"},
    {"lxc.prlimit.nofil = 1", "nofil: unknown resource limit; did you mean nofile?"},
    {"lxc.prlimit.16 = 1", "16: unknown resource limit"},
    {"lxc.proc.oom_score_adj = x", "is no number; -1000 to 1000"},
    {"lxc.proc.attr/exec = x", "attr/exec is no file of a process; a name without '/'"},
    {"lxc.seccomp.profile = /no/such", "cannot be read: ENOENT"},
    {"lxc.seccomp.notify.proxy = /run/x", "is no socket; use unix:PATH or unix:@NAME"},
    {"lxc.seccomp.notify.proxy = unix:x", "is no socket; use unix:PATH or unix:@NAME"},
    {"lxc.seccomp.notify.proxy = tcp:/x", "is no socket; use unix:PATH or unix:@NAME"},

    // Cgroups.
    {"lxc.cgroup.dir = /a", "begins with '/'; use a relative path without '..'"},
    {"lxc.cgroup.dir = a/../b", "goes up by '..'; use a relative path without '..'"},
    {"lxc.cgroup.dir.monitor = /a", "begins with '/'; use a relative path without '..'"},
    {"lxc.cgroup.dir.monitor = ..", "goes up by '..'; use a relative path without '..'"},
    {"lxc.cgroup.dir.container = /a", "begins with '/'; use a relative path without '..'"},
    {"lxc.cgroup.dir.container = ../a", "goes up by '..'; use a relative path without '..'"},
    {"lxc.cgroup.dir.monitor.pivot = /a", "begins with '/'; use a relative path without '..'"},
    {"lxc.cgroup.dir.monitor.pivot = a/..", "goes up by '..'; use a relative path without '..'"},
    {"lxc.cgroup.dir.container.inner = a/b", "has a '/' in it; use one name without '/'"},
    {"lxc.cgroup.dir.container.inner = ..", "is no name; use one name without '/'"},
    {"lxc.cgroup.dir.monitor = a",
     "the other of lxc.cgroup.dir.monitor and .container is missing; give both or none"},
    {"lxc.cgroup.dir.container = a",
     "the other of lxc.cgroup.dir.monitor and .container is missing; give both or none"},
    {"lxc.cgroup.dir.monitor = b\nlxc.cgroup.dir.container = c\nlxc.cgroup.dir = a",
     "there is lxc.cgroup.dir.container as well; use one of them"},
    {"lxc.cgroup2.devices.allow = c 1 r", "1 is no MAJOR:MINOR; a, or for instance c 1:3 rwm"},
    {"lxc.cgroup2.devices.deny = b 1:x r", "1:x is no MAJOR:MINOR; a, or for instance c 1:3 rwm"},
    {"lxc.cgroup2.devices.allow = c 1:1 x", "x is no access; r, w and m"},
    {"lxc.cgroup2.devices.allow = x 1:3 r", "is no rule for devices; a, or for instance c 1:3 rwm"},
    {"lxc.cgroup2.devices.allow = c 1:3", "is no rule for devices; a, or for instance c 1:3 rwm"},
    {"lxc.cgroup2.devices.deny = /no/such rw", "/no/such is no device; a, or for instance c 1:3"},

    // Hooks, environment, lifecycle, logging.
    {"lxc.environment = CONDROID_NOBODY_SETS_THIS",
     "is not in this environment; use NAME=VALUE, or NAME for the value that it has in this"},
    {"lxc.environment.runtime = CONDROID_NOBODY_SETS_THIS", "is not in this environment; use NAME"},
    {"lxc.environment.hooks = CONDROID_NOBODY_SETS_THIS", "is not in this environment; use NAME"},
    {"lxc.start.order = x", "is no number in range; use a whole number"},
    {"lxc.start.order = 1x", "is no number in range; use a whole number"},
    {"lxc.start.order = 2147483648", "is no number in range; use a whole number"},
    {"lxc.start.order = -2147483649", "is no number in range; use a whole number"},
    {"lxc.log.level = WARNING",
     "CRIT, ALERT, FATAL; use 0 to 8, or TRACE, DEBUG, INFO, NOTICE, WARN, ERROR"},
    {"lxc.log.level = 9", "unknown level"},
    {"lxc.log.level = -1", "unknown level"},
    {"lxc.log.syslog = mail", "unknown facility; expected one of daemon, local0"},
    {"lxc.log.syslog = local8", "use daemon or local0 to local7"},
};

constexpr const char* taken[] = {
    // Lines: what is no key of LXC's is nobody's, and includes of what is not there.
    "nonsense = 1\nLXC.uts.name = a\n# lxc.nosuch = 1\n   # lxc.nosuch = 1",
    "lxc.include = /no/such/",
    "lxc.include =",
    // An empty value clears.
    "lxc.uts.name =\nlxc.rootfs.options =\nlxc.init.groups =\nlxc.init.uid =\nlxc.tty.max =\n"
    "lxc.signal.halt =\nlxc.log.level =\nlxc.log.syslog =\nlxc.idmap =\nlxc.mount.auto =\n"
    "lxc.mount.entry =\nlxc.time.offset.boot =\nlxc.cap.drop =\nlxc.prlimit.nofile =\n"
    "lxc.cgroup.dir =\nlxc.environment =\nlxc.hook.start =\nlxc.console.size =\n"
    "lxc.namespace.share.net =\nlxc.net.0.link =\nlxc.rootfs.managed =\nlxc.seccomp.profile =",
    "lxc.net =\nlxc.net.0 =\nlxc.hook =\nlxc.cgroup =\nlxc.cgroup2 =\nlxc.prlimit =\n"
    "lxc.sysctl =\nlxc.proc =",
    VETH "lxc.net.0.link = a\nlxc.net.0.type =",
    "lxc.cap.drop = kill\nlxc.cap.drop =\nlxc.cap.keep = chown",
    "lxc.namespace.clone = pid\nlxc.namespace.clone =\nlxc.namespace.keep = net",

    "lxc.uts.name = 1234567890123456789012345678901234567890123456789012345678901234",
    "lxc.rootfs.options = ro,nosuid,idmap=container",
    "lxc.init.groups = 1",
    "lxc.init.groups = ,1,,2,",
    "lxc.init.cmd = sh -c 'not closed",
    "lxc.net.2147483646.type = empty",
    "lxc.net.01.type = empty",
    VETH "lxc.net.0.flags = down",
    VETH "lxc.net.0.link = 123456789012345\nlxc.net.0.name = lan%d",
    VETH "lxc.net.0.hwaddr = 00:16:3e:xX:Xx:0A",
    VETH "lxc.net.0.ipv4.address = 10.0.0.1/24 10.0.0.255\nlxc.net.0.ipv6.address = fd00::1",
    UP "lxc.net.0.ipv6.gateway = fe80::1",
    UP "lxc.net.0.ipv4.address = 10.0.0.2/24\nlxc.net.0.ipv4.gateway = dev",
    UP "lxc.net.0.ipv6.address = fd00::2\nlxc.net.0.ipv6.gateway = dev",
    VETH
    "lxc.net.0.veth.mode = router\nlxc.net.0.veth.ipv4.route = 10.0.0.0/8\n"
    "lxc.net.0.veth.ipv6.route = fd00::/8",
    VETH
    "lxc.net.0.veth.vlan.id = none\nlxc.net.0.veth.vlan.tagged.id = 0\n"
    "lxc.net.0.veth.vlan.tagged.id = 4094",
    VETH "lxc.net.0.veth.vlan.id = 4094\nlxc.net.0.veth.n_rxqueues = 1",
    VLAN "lxc.net.0.vlan.id = 65535",
    "lxc.mount.auto = proc proc:mixed proc:rw sys sys:mixed sys:ro sys:rw cgroup cgroup:mixed "
    "cgroup:ro cgroup:rw cgroup:force cgroup:ro:force cgroup-full:rw:force cgroup2 cgroup2:ro "
    "cgroup2:force cgroup2:ro:force shmounts:/a shmounts:/a:/b",
    "lxc.mount.entry = /a b none bind\nlxc.mount.entry = tmpfs t tmpfs size=1m 0 0",
    "lxc.console.path = none",
    "lxc.console.buffer.size = auto\nlxc.console.size = 10K",
    "lxc.console.size = 10B",
    "lxc.console.size = 10 kb",
    "lxc.console.size = 8192 \t KB",
    "lxc.namespace.clone = NET Pid mnt",
    "lxc.namespace.share.net = 1\nlxc.namespace.share.pid = other\n"
    "lxc.namespace.share.uts = /proc/1/ns/uts",
    "lxc.time.offset.boot = -5 s\nlxc.time.offset.monotonic = +5m",
    "lxc.cap.drop = sys_admin 40 0",
    "lxc.cap.keep = kill none",
    "lxc.prlimit.nofile = unlimited\nlxc.prlimit.7 = 1:2\nlxc.prlimit.core = 1:unlimited",
    "lxc.seccomp.notify.proxy = unix:/run/x",
    "lxc.seccomp.notify.proxy = unix:@x",
    "lxc.cgroup.dir = a/./b",
    "lxc.cgroup.dir.monitor = a\nlxc.cgroup.dir.container = b\n"
    "lxc.cgroup.dir.container.inner = c\nlxc.cgroup.dir.monitor.pivot = d",
    "lxc.cgroup2.devices.deny = a\nlxc.cgroup2.devices.allow = c *:* m\n"
    "lxc.cgroup2.devices.allow = /dev/null rw",
    "lxc.environment = A=\nlxc.environment = PATH\nlxc.environment.runtime = A=1\n"
    "lxc.environment.hooks = A=1",
    "lxc.start.order = -2147483648",
    "lxc.start.order = +3",
    "lxc.log.level = 0",
    "lxc.log.level = fatal",
    "lxc.log.syslog = DAEMON",
};

#undef VETH
#undef UP
#undef MACVLAN
#undef IPVLAN
#undef VLAN
#undef PHYS

/// The name that a key of a text has in the table.
std::string in_table(std::string_view key) {
  std::string name(key);
  if (name.starts_with("lxc.net.0")) name.replace(8, 1, "N");
  for (const std::string_view prefix :
       {"lxc.namespace.share.", "lxc.prlimit.", "lxc.sysctl.", "lxc.proc.", "lxc.cgroup2."})
    if (name.starts_with(prefix)) name = prefix;
  return name;
}

}  // namespace

TEST_CASE("what LXC refuses of a key is refused in its line, with what would be right",
          "[config][lxc]") {
  for (const auto& [text, said] : refused) check_refused(text, said);
}

TEST_CASE("what LXC takes of a key is taken", "[config][lxc]") {
  for (const char* text : taken) check_taken(text);
  for (const char* arch :
       {"arm",     "armel",  "armhf",    "armv7l", "athlon",  "i386",    "i486",
        "i586",    "i686",   "linux32",  "mips",   "mipsel",  "ppc",     "powerpc",
        "x32",     "x86",    "aarch64",  "amd64",  "arm64",   "linux64", "loongarch64",
        "loong64", "mips64", "mips64el", "ppc64",  "ppc64el", "ppc64le", "powerpc64",
        "riscv64", "s390x",  "x86_64"})
    check_taken(fmt::format("lxc.arch = {}", arch));
}

TEST_CASE("numbers of a configuration are C's, without a minus, to the last one", "[config][lxc]") {
  const auto keys = keys_of(number_values);
  CHECK(keys.size() == 6);
  for (const std::string_view key : keys) {
    for (const char* value : {"x", "-1", "4294967296", "08", "0x", "1 2", "1x", "1.5"})
      check_refused(with(key, value), fmt::format("is no number in range; use {}", number_values));
    // More terminals than a machine has are for whoever launches it.
    for (const char* value : {"", "+1", "4294967295", "010", "0x10"}) check_taken(with(key, value));
  }
}

TEST_CASE("what is a flag is 0 or 1", "[config][lxc]") {
  const auto keys = keys_of(flag_values);
  CHECK(keys.size() == 14);
  for (const std::string_view key : keys) {
    for (const char* value : {"2", "yes", "-1"})
      check_refused(with(key, value), "is neither 0 nor 1; use 0 or 1");
    for (const char* value : {"", "0", "1", "01"}) check_taken(with(key, value));
  }
}

TEST_CASE("signals have a number or their whole name", "[config][lxc]") {
  const auto keys = keys_of(signal_values);
  CHECK(keys.size() == 4);
  for (const std::string_view key : keys) {
    for (const char* value : {"PWR", "SIGNOPE", "-1", "SIGRTMIN", "SIGRTMAX", "SIGRTMIN-1",
                              "SIGRTMIN+31", "SIGRTMAX-31", "SIGRTMIN+x"})
      check_refused(with(key, value), "unknown signal");
    for (const char* value : {"65", "9x"})
      check_refused(with(key, value), fmt::format("is no signal; use {}", signal_values));
    for (const char* value :
         {"", "0", "64", "SIGPWR", "sigterm", "SIGRTMIN+3", "sigrtmin+30", "SIGRTMAX-30"})
      check_taken(with(key, value));
  }
}

TEST_CASE("paths and names of a configuration have an end", "[config][lxc]") {
  for (const std::string_view key : paths) {
    INFO(key);
    const std::string_view top = key.starts_with("lxc.cgroup.") ? "" : "/";
    const auto of_size = [&](std::size_t size) {
      return fmt::format("{} = {}{}", key, top, std::string(size - top.size(), 'a'));
    };
    check_refused(of_size(4096), "is too long for a path; use ");
    for (const Diagnostic& d : mistakes_of(of_size(4095)))
      CHECK(d.what.find("too long") == d.what.npos);
  }
  check_refused("lxc.tty.dir = " + std::string(256, 'a'),
                "is too long; use the name of a directory in /dev");
  check_taken("lxc.tty.dir = " + std::string(255, 'a'));
  check_refused("lxc.seccomp.notify.proxy = unix:/" + std::string(107, 'a'),
                "is too long for a socket; use unix:PATH or unix:@NAME");
  check_taken("lxc.seccomp.notify.proxy = unix:/" + std::string(106, 'a'));
}

TEST_CASE("every key is in a table of what is wrong with it, or nothing is", "[config][lxc]") {
  std::set<std::string> tried;
  for (const auto& [text, said] : refused)
    for (std::string_view rest = text; !rest.empty();) {
      const std::string_view line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(rest.size(), line.size() + 1));
      // Those above it are right.
      if (rest.empty()) tried.insert(in_table(line.substr(0, line.find_first_of(" ="))));
    }
  for (const std::string_view values : {number_values, flag_values, signal_values})
    for (const std::string_view key : keys_of(values)) tried.emplace(key);
  for (const std::string_view key : paths) tried.emplace(key);
  tried.emplace("lxc.tty.dir");
  for (const lxc::KeyInfo& key : lxc::keys()) {
    INFO(key.name);
    const bool free = std::ranges::find(free_keys, key.name) != std::end(free_keys);
    CHECK(tried.contains(std::string(key.name)) != free);
    if (!free) continue;
    std::string name(key.name);
    if (name.ends_with('.')) name += "some.file";
    check_taken(with(name, "\"?!\" =, /../ \\x"));
  }
}

TEST_CASE("twenty mistakes of twenty kinds are listed, each with its line", "[config][lxc]") {
  // Those that are seen when it is read; a right line between two of them.
  std::string text;
  std::vector<Row> rows;
  std::set<std::string_view> kinds;
  for (const Row& row : refused) {
    const std::string_view line(row.text), said(row.said);
    const bool kind_is_new = kinds.insert(said.substr(0, 12)).second;
    if (rows.size() == 20 || line.find('\n') != line.npos || !kind_is_new) continue;
    if (Configuration::parse(line)) continue;
    rows.push_back(row);
    text += fmt::format("lxc.tty.max = {}\n{}\n", rows.size(), line);
  }
  REQUIRE(rows.size() == 20);
  const auto mistakes = mistakes_of(text);
  REQUIRE(mistakes.size() == 20);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CHECK(mistakes[i].line == 2 * i + 2);
    CHECK_THAT(fmt::format("{}; {}", mistakes[i].what, mistakes[i].hint), Contains(rows[i].said));
  }
  const auto config = Configuration::parse(text, "config");
  REQUIRE_FALSE(config);
  CHECK(config.error().also.size() == 19);

  // And those that are seen when it becomes a Spec.
  const auto later = mistakes_of(
      "lxc.rootfs.path = nvme:/x\nlxc.net.0.link = a\nlxc.net.1.type = macvlan\n"
      "lxc.net.2.type = phys\nlxc.net.3.type = veth\nlxc.net.3.ipv4.gateway = 10.0.0.1\n"
      "lxc.mount.fstab = /no/such\nlxc.mount.entry = /a b\nlxc.mount.entry = /a b none ro\n"
      "lxc.prlimit.nofil = 1\nlxc.prlimit.nofile = 2:1\nlxc.proc.oom_score_adj = x\n"
      "lxc.seccomp.profile = /no/such\nlxc.cgroup.dir.monitor = a\n"
      "lxc.cgroup2.devices.allow = c 1 r\nlxc.cgroup2.devices.allow = c 1:1 x\n"
      "lxc.cgroup2.devices.deny = x\nlxc.idmap = u 0 1 2\nlxc.net.4.type = ipvlan\n"
      "lxc.net.5.type = veth\nlxc.net.5.name = a%s\nlxc.mount.entry = a b none bind\n");
  CHECK(later.size() == 20);
}

TEST_CASE("what the making of a Spec finds is listed with what reading finds, by line",
          "[config][lxc]") {
  const auto mistakes = mistakes_of(
      "lxc.prlimit.nofile = 2:1\nlxc.tty.max = two\nlxc.mount.entry = /a b\n"
      "lxc.rootfs.path = nvme:/x\nlxc.mount.fstab = /no/such\nlxc.cap.drop = sys_admn\n");
  REQUIRE(mistakes.size() == 6);
  for (std::size_t i = 0; i < mistakes.size(); ++i) {
    CHECK(mistakes[i].line == i + 1);
    CHECK(mistakes[i].kind == Diagnostic::error);
  }
  const auto config = Configuration::parse("lxc.prlimit.nofile = 2:1\nlxc.tty.max = two\n");
  REQUIRE_FALSE(config);
  CHECK_THAT(config.error().subject, Contains("the soft limit is above the hard one"));
  REQUIRE(config.error().also.size() == 1);
  CHECK_THAT(config.error().also[0], Contains("lxc.tty.max"));
}

TEST_CASE("nothing is missing that a wrong line may have said", "[config][lxc]") {
  for (const char* text :
       {"lxc.net.0.typ = veth\nlxc.net.0.link = br0\nlxc.net.0.veth.mode = router\n",
        "lxc.network.typ = veth\nlxc.network.link = br0\n",
        "lxc.net.0.type = vethh\nlxc.net.0.link = br0\n",
        "lxc.net.0.type = macvlan\nlxc.net.0.link = a/b\n",
        "lxc.net.0.type = veth\nlxc.net.0.flags = up\nlxc.net.0.ipv4.address = 10.0.0.300/24\n"
        "lxc.net.0.ipv4.gateway = 10.0.0.1\n",
        "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000\n",
        "lxc.include = /no/such/file\nlxc.net.0.link = br0\n",
        "lxc.cgroup.dir.monitor = a\nlxc.cgroup.dir.container = ../b\n"}) {
    INFO(text);
    CHECK(mistakes_of(text).size() == 1);
  }
  // Where all else is right it is.
  CHECK(mistakes_of("lxc.net.0.link = br0\nlxc.idmap = u 0 100000 65536\n").size() == 2);
  // Of another key a wrong line says nothing.
  CHECK(mistakes_of("lxc.tty.max = two\nlxc.net.0.link = br0\n").size() == 2);
}
