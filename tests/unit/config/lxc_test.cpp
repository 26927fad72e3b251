#include "condroid/config/lxc.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <tuple>
#include <vector>

#include "../../fuzz/lxc_config_property.hpp"
#include "catch.hpp"
#include "condroid/plan.hpp"
#include "facts.hpp"
#include "growth.hpp"

using namespace condroid;
using Catch::Contains;
using lxc::Configuration;
using lxc::Diagnostic;

namespace {

namespace fs = std::filesystem;
const fs::path corpus = fs::path(CONDROID_TESTS_DIR) / "fuzz" / "corpus" / "lxc_config";

std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void write(const fs::path& path, std::string_view text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  REQUIRE(out.flush());
}

class Folder {
 public:
  Folder() {
    char name[] = "/tmp/test-lxc.XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  [[nodiscard]] fs::path operator/(std::string_view name) const { return path_ / name; }

 private:
  fs::path path_;
};

Configuration good(std::string_view text) {
  auto config = Configuration::parse(text, "config");
  if (!config) FAIL(to_string(config.error()));
  return *config;
}

const std::vector<std::string> profiles = {"lxc-container-default-cgns"};

/// Of a machine with version 1 of cgroups and no security modules, whatever this one has.
lxc::Translation here(std::string name = "box") {
  return {.name = std::move(name),
          .apparmor = false,
          .selinux = false,
          .cgroup2_only = false,
          .capabilities = CapabilitySet::all(),
          .apparmor_profiles = profiles,
          .kernel_settings = std::vector<std::string>{}};
}
lxc::Translation with_apparmor(std::vector<std::string> loaded = profiles) {
  lxc::Translation how = here();
  how.apparmor = true;
  how.apparmor_profiles = std::move(loaded);
  return how;
}
lxc::Translation with_v2() {
  lxc::Translation how = here();
  how.cgroup2_only = true;
  return how;
}

lxc::Translated translated(const Configuration& config, const lxc::Translation& how = here()) {
  auto container = config.to_spec(how);
  if (!container) FAIL(to_string(container.error()));
  return *container;
}
Spec spec_of(std::string_view text, const lxc::Translation& how = here()) {
  return translated(good(text), how).spec;
}

std::string line_of(std::string_view word) { return fmt::format("lxc.mount.auto = {}\n", word); }
/// The notes of a kind that say something of that.
std::size_t said(const lxc::Translated& container, Diagnostic::Kind kind, std::string_view what) {
  return static_cast<std::size_t>(std::ranges::count_if(container.notes, [&](const auto& d) {
    return d.kind == kind && to_string(d).find(what) != std::string::npos;
  }));
}

/// What is said of a text that is refused, when it is read or when it becomes a Spec.
std::vector<std::string> wrong(std::string_view text) {
  std::vector<Diagnostic> mistakes;
  const auto config = Configuration::parse(text, "config", &mistakes);
  if (config) {
    const auto container = config->to_spec(here(), &mistakes);
    INFO(text);
    REQUIRE_FALSE(container);
    CHECK(container.error().is(Errc::bad_text));
  } else {
    CHECK(config.error().is(Errc::bad_text));
  }
  std::vector<std::string> lines;
  for (const Diagnostic& d : mistakes) lines.push_back(to_string(d));
  return lines;
}

std::string got(const Configuration& config, std::string_view key) {
  const auto value = config.get(key);
  if (!value) FAIL(to_string(value.error()));
  return value->value_or("(not found)");
}

struct Mistake {
  const char* text;
  const char* said;
};

}  // namespace

TEST_CASE("mistakes of LXC's language are refused with what would be right", "[config][lxc]") {
  const auto [text, said] = GENERATE(values<Mistake>({
      {"lxc.uts.name", "config:1: lxc.uts.name: has no '='; KEY = VALUE"},
      {"lxc.uts.nam = a", "unknown key; did you mean lxc.uts.name?"},
      {"lxc.network.typ = veth", "did you mean lxc.net.0.type?"},
      {"lxc.net.1.lnk = a", "did you mean lxc.net.1.link?"},
      {"lxc.net.2147483647.link = a", "unknown key"},
      {"lxc.personality = x86", "unknown key"},
      {"lxc.UTS.name = a", "unknown key; did you mean lxc.uts.name?"},
      {"lxc.uts.name = 12345678901234567890123456789012345678901234567890123456789012345",
       "has 65 bytes; use a name of at most 64 bytes"},
      {"lxc.arch = x86_65", "unknown architecture; did you mean x86_64?"},
      {"lxc.arch =", "is empty; use an architecture"},
      {"lxc.rootfs.options = ro,optional", "optional is for lxc.mount.entry alone"},
      {"lxc.rootfs.options = create=dir", "create=dir is for lxc.mount.entry alone"},
      {"lxc.rootfs.managed = 2", "is neither 0 nor 1; use 0 or 1"},
      {"lxc.rootfs.path = ovl:/a:/b", "unknown type ovl"},
      {"lxc.rootfs.path = srv/root", "is not absolute"},
      {"lxc.rootfs.path = overlay:/a", "has no upper directory; overlay:LOWER:UPPER"},
      {"lxc.init.uid = -1", "is no number in range; use a whole number from 0 to 4294967295"},
      {"lxc.init.uid = 4294967296", "is no number in range"},
      {"lxc.init.gid = 0x", "is no number in range"},
      {"lxc.init.groups = 1,x", "is no group id"},
      {"lxc.init.groups = 1, 2 3", "is no group id"},
      {"lxc.arch = armv8l", "unknown architecture"},
      {"lxc.mount.auto = cgroup2:rw", "unknown word cgroup2:rw"},
      {"lxc.log.level = WARNING", "unknown level"},
      {"lxc.time.offset.boot = 0x10 s", "is no number"},
      {"lxc.init.cwd = srv", "is not absolute"},
      {"lxc.ephemeral = yes", "is neither 0 nor 1"},
      {"lxc.no_new_privs = 2", "is neither 0 nor 1"},
      {"lxc.keyring.session = x", "is neither 0 nor 1"},
      {"lxc.net = x", "takes no value"},
      {"lxc.hook = x", "takes no value"},
      {"lxc.net.0.type = bridge", "unknown type"},
      {"lxc.net.0.veth.pair = a", "comes before its type; lxc.net.0.type = veth must stand above"},
      {"lxc.net.0.type = phys\nlxc.net.0.link = a\nlxc.net.0.veth.pair = a", "its type is phys"},
      {"lxc.net.0.type = veth\nlxc.net.0.vlan.id = 3", "its type is veth"},
      {"lxc.net.0.link = a", "there is no lxc.net.0.type"},
      {"lxc.net.0.type = veth\nlxc.net.0.hwaddr = 00:16:3e", "is no Ethernet address"},
      {"lxc.net.0.type = veth\nlxc.net.0.mtu = big", "is no number in range"},
      {"lxc.net.0.type = veth\nlxc.net.0.link = 1234567890123456", "has 16 bytes"},
      {"lxc.net.0.type = veth\nlxc.net.0.l2proxy = 2", "is neither 0 nor 1"},
      {"lxc.net.0.type = veth\nlxc.net.0.ipv4.address = 10.0.0", "is no IPv4 address"},
      {"lxc.net.0.type = veth\nlxc.net.0.ipv4.address = 10.0.0.1/33", "is no IPv4 address"},
      {"lxc.net.0.type = veth\nlxc.net.0.ipv4.gateway = x", "is no IPv4 address"},
      {"lxc.net.0.type = veth\nlxc.net.0.ipv4.gateway = auto", "the interface is down"},
      {"lxc.net.0.type = phys\nlxc.net.0.link = e\nlxc.net.0.flags = up\nlxc.net.0.ipv4.gateway = "
       "auto",
       "auto is for veth and macvlan"},
      {"lxc.net.0.type = veth\nlxc.net.0.ipv6.address = 10.0.0.1", "is no IPv6 address"},
      {"lxc.net.0.type = veth\nlxc.net.0.veth.mode = x", "unknown mode"},
      {"lxc.net.0.type = veth\nlxc.net.0.veth.n_rxqueues = 0", "is no number in range"},
      {"lxc.net.0.type = veth\nlxc.net.0.veth.ipv4.route = 10.0.0.0", "has no prefix length"},
      {"lxc.net.0.type = veth\nlxc.net.0.veth.vlan.id = 4095", "is no number in range"},
      {"lxc.net.0.type = macvlan\nlxc.net.0.link = a\nlxc.net.0.macvlan.mode = x", "unknown mode"},
      {"lxc.net.0.type = macvlan", "there is no lxc.net.0.link"},
      {"lxc.net.0.type = ipvlan\nlxc.net.0.link = a\nlxc.net.0.ipvlan.mode = l4", "unknown mode"},
      {"lxc.network.link = a", "comes before lxc.network.type"},
      {"lxc.mount.fstab =", "is empty; use a file"},
      {"lxc.mount.fstab = /no/such", "cannot be read: ENOENT"},
      {"lxc.mount.entry = a b none", "has 3 fields; SOURCE TARGET TYPE OPTIONS"},
      {"lxc.mount.entry = /a b/../c none bind 0 0", "its target goes up by '..'"},
      {"lxc.mount.entry = a b none bind 0 0", "its source a is not absolute"},
      {"lxc.mount.entry = /a b none ro 0 0", "is neither of a file system nor a bind mount"},
      {"lxc.mount.auto = proc:ro", "unknown word proc:ro"},
      {"lxc.mount.auto = shmounts", "shmounts needs a directory of the host"},
      {"lxc.autodev = x", "is neither 0 nor 1"},
      {"lxc.tty.max = four", "use a whole number from 0 to 4294967295"},
      {"lxc.tty.max = 08", "is no number in range"},
      {"lxc.pty.max = 1 2", "is no number in range"},
      {"lxc.console.buffer.size = 10QB", "has an unknown unit"},
      {"lxc.console.size = big", "is no size"},
      {"lxc.console.rotate = 2", "is neither 0 nor 1"},
      {"lxc.idmap = u 0 100000", "has 3 words, not 4; use u|g INSIDE OUTSIDE COUNT"},
      {"lxc.idmap = x 0 1 2", "x is neither u nor g"},
      {"lxc.idmap = u 0 1 many", "many is no id"},
      {"lxc.idmap = u 0 100000 10", "there is none of kind g"},
      {"lxc.namespace.clone = pid nett", "unknown namespace; did you mean net?"},
      {"lxc.namespace.clone = pid\nlxc.namespace.keep = net",
       "there is lxc.namespace.clone as well"},
      {"lxc.namespace.share.PID = 1", "unknown namespace"},
      {"lxc.time.offset.boot = 5", "has no unit"},
      {"lxc.time.offset.boot = 5 d", "d is no unit"},
      {"lxc.time.offset.monotonic = x s", "is no number"},
      {"lxc.cap.drop = sys_admn", "sys_admn: unknown capability; did you mean sys_admin?"},
      {"lxc.cap.drop = none", "none goes with lxc.cap.keep alone"},
      {"lxc.cap.drop = 41", "41 is no capability; the last is 40"},
      {"lxc.cap.drop = SYS_ADMIN", "did you mean sys_admin?"},
      {"lxc.cap.keep = kill\nlxc.cap.drop = chown", "there is lxc.cap.keep as well"},
      {"lxc.prlimit.nofile = 1:", "has no hard limit"},
      {"lxc.prlimit.nofile = many", "is no limit"},
      {"lxc.prlimit.nofil = 1", "nofil: unknown"},
      {"lxc.prlimit.nofile = 2:1", "the soft limit is above the hard one"},
      {"lxc.proc.oom_score_adj = x", "is no number"},
      {"lxc.apparmor.allow_nesting = 2", "is neither 0 nor 1"},
      {"lxc.seccomp.profile = /no/such", "cannot be read: ENOENT"},
      {"lxc.seccomp.allow_nesting = 2", "is neither 0 nor 1"},
      {"lxc.seccomp.notify.proxy = /run/x", "is no socket; use unix:PATH or unix:@NAME"},
      {"lxc.sched.core = 2", "is neither 0 nor 1"},
      {"lxc.cgroup.dir = /a", "begins with '/'"},
      {"lxc.cgroup.dir = a/../b", "goes up by '..'"},
      {"lxc.cgroup.dir.container = a", "lxc.cgroup.dir.monitor and .container is missing"},
      {"lxc.cgroup.dir = a\nlxc.cgroup.dir.monitor = b\nlxc.cgroup.dir.container = c",
       "there is lxc.cgroup.dir.container as well"},
      {"lxc.cgroup.dir.container.inner = a/b", "has a '/' in it"},
      {"lxc.cgroup.dir.montior = a", "unknown key; did you mean lxc.cgroup.dir.monitor?"},
      {"lxc.cgroup.relative = 2", "is neither 0 nor 1"},
      {"lxc.cgroup2.devices.allow = c 1 r", "1 is no MAJOR:MINOR"},
      {"lxc.cgroup.devices.deny = a\nlxc.cgroup.devices.allow = c 1:1 x", "x is no access"},
      {"lxc.hook.version = 2", "is neither 0 nor 1"},
      {"lxc.environment = CONDROID_NOBODY_SETS_THIS", "is not in this environment"},
      {"lxc.environment = =x", "has no name"},
      {"lxc.start.auto = 2", "is neither 0 nor 1"},
      {"lxc.start.delay = -1", "is no number in range"},
      {"lxc.start.order = x", "is no number in range"},
      {"lxc.signal.halt = PWR", "unknown signal"},
      {"lxc.signal.halt = SIGRTMIN+40", "unknown signal"},
      {"lxc.signal.stop = 65", "is no signal"},
      {"lxc.log.level = LOUD", "unknown level"},
      {"lxc.log.level = 9", "unknown level"},
      {"lxc.log.syslog = mail", "unknown facility"},
      {"lxc.include = /no/such.conf", "cannot be read: No such file or directory (ENOENT)"},
  }));
  const auto lines = wrong(text);
  INFO(text);
  REQUIRE(lines.size() == 1);
  CHECK_THAT(lines.front(), Contains(said));
  CHECK(lxc_config_property::printable(lines.front()));
}

TEST_CASE("a configuration with twenty mistakes lists twenty", "[config][lxc]") {
  std::string text;
  for (int i = 0; i < 10; ++i)
    text += fmt::format("lxc.uts.name = fine\nlxc.tyt.max = {}\nlxc.tty.max = x{}\n", i, i);
  CHECK(wrong(text).size() == 20);
  const auto config = Configuration::parse(text, "config");
  REQUIRE_FALSE(config);
  CHECK(config.error().subject ==
        "config:2: lxc.tyt.max = 0: unknown key; did you mean lxc.tty.max?");
  REQUIRE(config.error().also.size() == 19);
  CHECK_THAT(config.error().also.back(), Contains("config:30: lxc.tty.max = x9: "));
}

TEST_CASE("lines are taken as LXC takes them", "[config][lxc]") {
  CHECK(got(good("lxc.uts.name = a # c"), "lxc.uts.name") == "a # c");
  CHECK(got(good("  \tlxc.uts.name==a"), "lxc.uts.name") == "=a");
  CHECK(got(good("lxc.uts.name\t= \"a b\" "), "lxc.uts.name") == "a b");
  CHECK(got(good("lxc.uts.name = \"a"), "lxc.uts.name") == "\"a");
  CHECK(got(good("lxc.uts.name = '"), "lxc.uts.name") == "'");
  CHECK(got(good("lxc.uts.name = a\\\nlxc.tty.max=010"), "lxc.uts.name") == "a\\");
  CHECK(got(good("lxc.tty.max=010"), "lxc.tty.max") == "8");
  CHECK(got(good("lxc.tty.max = 1\rlxc.tty.max = 0x10"), "lxc.tty.max") == "16");
  CHECK(got(good("nonsense\n# lxc.tty.max = 3\n"), "lxc.tty.max") == "0");
  CHECK(got(good("lxc.uts.name = a\nlxc.uts.name ="), "lxc.uts.name") == "(not found)");
}

TEST_CASE("what holds is given back as lxc-info prints it", "[config][lxc]") {
  const Configuration config = good(contents(corpus / "all_kinds"));
  CHECK(got(config, "lxc.environment") == "A=1\nA=2\n");
  CHECK(got(config, "lxc.cgroup2.memory.max") == "64M\n128M\n");
  CHECK(got(config, "lxc.cgroup2") ==
        "lxc.cgroup2.memory.max = 64M\nlxc.cgroup2.memory.max = 128M\n");
  CHECK(got(config, "lxc.mount.auto") == "proc:rw sys:rw");
  CHECK(got(config, "lxc.signal.reboot") == "10");
  CHECK(got(config, "lxc.prlimit.memlock") == "unlimited");
  CHECK(got(config, "lxc.prlimit.7") == "16");
  CHECK(got(config, "lxc.prlimit") == "lxc.prlimit.memlock = unlimited\nlxc.prlimit.7 = 16\n");
  CHECK(got(config, "lxc.time.offset.boot") == "-300 s");
  CHECK(got(config, "lxc.net.0.flags") == "up");
  CHECK(got(config, "lxc.net") == "veth\nipvlan\nvlan\nphys\nempty\n");
  CHECK(got(config, "lxc.cap.keep") == "kill\n5\nchown\n");
  CHECK(got(config, "lxc.init.groups") == "1,2,3");
  CHECK(got(config, "lxc.init.cwd") == "/srv/x");
  CHECK(got(config, "lxc.console.buffer.size") == "131072");
  CHECK(got(config, "lxc.console.size") == "4096");
  CHECK(got(config, "lxc.group") == "a\nb\nc\n");
  CHECK(got(config, "lxc.autodev") == "1");
  CHECK(got(good("lxc.arch = armv7l"), "lxc.arch") == "i686");
  CHECK(got(good("lxc.log.level = 1"), "lxc.log.level") == "DEBUG");
  CHECK(got(good("lxc.signal.halt = SIGRTMIN+3"), "lxc.signal.halt") == "37");
  CHECK_FALSE(config.get("lxc.hook"));
  CHECK_FALSE(config.get("lxc.uts.nme"));
}

TEST_CASE("what holds is what lxc-info of Debian's 5.0.2 prints", "[config][lxc]") {
  struct Row {
    const char *text, *key, *value;
  };
  const auto [text, key, value] = GENERATE(values<Row>({
      {"lxc.rootfs.path = dir:/srv/x", "lxc.rootfs.path", "/srv/x"},
      {"lxc.rootfs.path = overlay:/a//b:/c/./d", "lxc.rootfs.path", "/a/b:/c/d"},
      {"lxc.rootfs.path = zfs:a/b", "lxc.rootfs.path", "a/b"},
      {"lxc.net.3.type = veth\nlxc.net.3.ipv4.address = 10.0.3.2", "lxc.net.3.ipv4.address",
       "10.0.3.2/8\n"},
      {"lxc.net.3.type = veth\nlxc.net.3.ipv4.address = 10.0.3.2/24 10.0.3.9",
       "lxc.net.3.ipv4.address", "10.0.3.2/24\n"},
      {"lxc.net.3.type = veth\nlxc.net.3.ipv6.address = 2001:DB8:0::1", "lxc.net.3.ipv6.address",
       "2001:db8::1/64\n"},
      {"lxc.net.3.type = veth\nlxc.net.3.ipv6.gateway = 2001:DB8:0::2", "lxc.net.3.ipv6.gateway",
       "2001:db8::2"},
      {"lxc.net.3.type = veth\nlxc.net.3.hwaddr = 03:16:3E:aa:bb:cc", "lxc.net.3.hwaddr",
       "03:16:3E:aa:bb:cc"},
      {"lxc.net.3.type = veth", "lxc.net.3.veth.mode", "bridge"},
      {"lxc.net.3.type = macvlan", "lxc.net.3.macvlan.mode", "private"},
      {"lxc.net.3.type = ipvlan", "lxc.net.3.ipvlan.isolation", "bridge"},
      {"lxc.net.3.type = ipvlan", "lxc.net.3.ipvlan.mode", "l2"},
      {"lxc.net.3.type = vlan", "lxc.net.3.vlan.id", "0"},
      {"lxc.net.3.type = veth\nlxc.net.10.type = phys\nlxc.net.02.type = ipvlan", "lxc.net",
       "ipvlan\nveth\nphys\n"},
      {"lxc.prlimit.nofile = 1024", "lxc.prlimit.nofile", "1024"},
      {"lxc.prlimit.nofile = 1:2", "lxc.prlimit.nofile", "1:2"},
      {"lxc.time.offset.boot = 5 m", "lxc.time.offset.boot", "300 s"},
      {"lxc.time.offset.boot = 010s", "lxc.time.offset.boot", "10 s"},
      {"lxc.time.offset.boot = 2000ms", "lxc.time.offset.boot", "2000000000 ns"},
      {"lxc.time.offset.boot = 0s", "lxc.time.offset.boot", "0 ns"},
      {"lxc.uts.name = x", "lxc.time.offset.monotonic", "0ns"},
      {"lxc.idmap = u 0 0x10 0x10", "lxc.idmap", "u 0 16 16\n"},
      {"lxc.cap.keep = none kill", "lxc.cap.keep", "kill\n"},
      {"lxc.cap.keep = kill none", "lxc.cap.keep", "(not found)"},
      {"lxc.mount.auto = cgroup proc sys shmounts:/a", "lxc.mount.auto",
       "proc:mixed sys:mixed cgroup"},
      {"lxc.mount.auto = cgroup:rw:force proc", "lxc.mount.auto", "proc:mixed"},
      {"lxc.mount.auto = cgroup2", "lxc.mount.auto", "(not found)"},
      {"lxc.namespace.clone = net pid mnt", "lxc.namespace.clone", "mnt\npid\nnet\n"},
      {"lxc.namespace.share.user = foo/bar", "lxc.namespace.share.user", "foo/bar"},
      {"lxc.init.groups = ,1,,2", "lxc.init.groups", "1,2"},
      {"lxc.init.cmd = sh -c 'x y", "lxc.init.cmd", "sh -c 'x y"},
      {"lxc.tty.dir = a/b", "lxc.tty.dir", "a/b"},
      {"lxc.uts.name = x", "lxc.monitor.signal.pdeath", "9"},
      {"lxc.uts.name = x", "lxc.autodev.tmpfs.size", "0"},
      {"lxc.uts.name = x", "lxc.log.level", "NOTSET"},
  }));
  INFO(text);
  CHECK(got(good(text), key) == value);
  // Where the tool is there, it says the same; it tells others than root of nobody's containers.
  if (::geteuid() != 0 || ::access("/usr/bin/lxc-info", X_OK) != 0) return;
  const Folder folder;
  fs::create_directory(folder / "c");
  write(folder / "c/config", std::string(text) + "\n");
  const std::string out = (folder / "out").string();
  const std::string command = fmt::format("/usr/bin/lxc-info -P {} -n c -c {} >{} 2>/dev/null",
                                          (folder / "").string(), key, out);
  REQUIRE(std::system(command.c_str()) == 0);  // NOLINT(concurrency-mt-unsafe)
  std::string theirs = contents(out);
  REQUIRE(theirs.starts_with(fmt::format("{} =", key)));
  theirs.erase(0, std::string_view(key).size() + 2);
  if (theirs.starts_with(' ')) theirs.erase(0, 1);
  // LXC ends some of its lists with an end of line, and others not.
  const auto ended = [](std::string lines) {
    while (lines.ends_with('\n')) lines.pop_back();
    return lines.empty() ? std::string("(not found)") : lines;
  };
  CHECK(ended(theirs) == ended(value));
}

TEST_CASE("an empty value clears", "[config][lxc]") {
  CHECK(spec_of("lxc.net.0.type = veth\nlxc.net.0.link = a\nlxc.net.0.type =\nlxc.uts.name = x") ==
        spec_of("lxc.uts.name = x"));
  CHECK(spec_of("lxc.cap.drop = kill\nlxc.cap.keep =\nlxc.cap.keep = chown\nlxc.uts.name = x") ==
        spec_of("lxc.cap.keep = chown\nlxc.uts.name = x"));
  const auto hooks =
      translated(good("lxc.hook.start = a\nlxc.hook.stop = b\nlxc.hook.version = 1\n"
                      "lxc.hook =\nlxc.hook.mount = c"));
  CHECK(hooks.program.hooks == std::vector<lxc::Hook>{{"mount", "c"}});
  CHECK(hooks.program.hook_version == 1);
  CHECK(got(good("lxc.cgroup.a.b = 1\nlxc.cgroup.dir = d\nlxc.cgroup ="), "lxc.cgroup.dir") == "d");
  CHECK(got(good("lxc.cgroup.a.b = 1\nlxc.cgroup.a.b =\nlxc.cgroup.c.d = 2"), "lxc.cgroup") ==
        "lxc.cgroup.c.d = 2\n");
  CHECK(translated(good("lxc.network.type = veth\nlxc.network =\nlxc.network.type = empty"))
            .spec.network.interfaces.empty());
}

TEST_CASE("files are included where they are named", "[config][lxc]") {
  const Folder folder;
  fs::create_directory(folder / "more");
  write(folder / "more/b.conf", "lxc.tty.max = 2\n");
  write(folder / "more/a.conf", "lxc.tty.max = 1\nlxc.environment = A=1\n");
  write(folder / "more/c.config", "lxc.unknown = 1\n");
  write(folder / "config",
        fmt::format("lxc.tty.max = 9\nlxc.include = {}\nlxc.include = {}/none/\n",
                    (folder / "more").string(), (folder / "more").string()));
  auto config = Configuration::load(HostPath((folder / "config").string()));
  if (!config) FAIL(to_string(config.error()));
  CHECK(got(*config, "lxc.tty.max") == "2");
  CHECK(config->text() == contents(folder / "config"));

  // What is included is not written; to clear it takes a line.
  REQUIRE(config->clear("lxc.environment"));
  CHECK(got(*config, "lxc.environment") == "(not found)");
  CHECK_THAT(config->text(), Catch::EndsWith("lxc.environment =\n"));
  REQUIRE(config->set("lxc.tty.max", "7"));
  CHECK(got(*config, "lxc.tty.max") == "7");
  const HostPath saved((folder / "saved").string());
  REQUIRE(config->save(saved));
  const auto again = Configuration::load(saved);
  REQUIRE(again);
  CHECK(got(*again, "lxc.tty.max") == "7");

  // A link stays, and what it leads to has its mode.
  REQUIRE(::chmod(saved.str().c_str(), 0604) == 0);
  const HostPath link((folder / "link").string());
  REQUIRE(::symlink("saved", link.str().c_str()) == 0);
  REQUIRE(config->set("lxc.tty.max", "8"));
  REQUIRE(config->save(link));
  CHECK(fs::is_symlink(link.str()));
  CHECK_THAT(contents(saved.str()), Contains("lxc.tty.max = 8"));
  CHECK((fs::status(saved.str()).permissions() & fs::perms::mask) == fs::perms(0604));

  SECTION("an option includes as a line does") {
    REQUIRE(config->apply(fmt::format("lxc.include={}/", (folder / "more").string())));
    CHECK(got(*config, "lxc.environment") == "A=1\n");
    CHECK(got(*config, "lxc.tty.max") == "2");
    CHECK_FALSE(config->apply("lxc.include=/no/such"));
  }
  SECTION("mistakes are told by the file that they are in") {
    write(folder / "more/b.conf", "lxc.tty.max = two\n");
    const auto bad = Configuration::load(HostPath((folder / "config").string()));
    REQUIRE_FALSE(bad);
    CHECK_THAT(bad.error().subject, Contains("more/b.conf:1: lxc.tty.max = two: is no number"));
  }
  SECTION("loops are refused") {
    write(folder / "more/b.conf", fmt::format("lxc.include = {}\n", (folder / "config").string()));
    const auto bad = Configuration::load(HostPath((folder / "config").string()));
    REQUIRE_FALSE(bad);
    CHECK_THAT(bad.error().subject, Contains("includes itself"));
  }
  SECTION("and what goes too deep") {
    for (int i = 0; i < 40; ++i)
      write(folder / fmt::format("deep{}", i),
            fmt::format("lxc.include = {}\n", (folder / fmt::format("deep{}", i + 1)).string()));
    write(folder / "deep40", "lxc.tty.max = 1\n");
    const auto bad = Configuration::load(HostPath((folder / "deep0").string()));
    REQUIRE_FALSE(bad);
    CHECK_THAT(bad.error().subject, Contains("is included 32 files deep"));
  }
  SECTION("each of two files twice does not grow without end") {
    for (int i = 0; i < 30; ++i) {
      const std::string next = (folder / fmt::format("wide{}", i + 1)).string();
      write(folder / fmt::format("wide{}", i),
            fmt::format("lxc.include = {}\nlxc.include = {}\n", next, next));
    }
    write(folder / "wide30", "lxc.tty.max = 1\n");
    const auto bad = Configuration::load(HostPath((folder / "wide0").string()));
    REQUIRE_FALSE(bad);
    CHECK_THAT(bad.error().subject, Contains("is one of more than 2000 files"));
  }
  CHECK(Configuration::load(HostPath("/no/such")).error().is_errno(ENOENT));
  CHECK(Configuration::load(HostPath("/tmp")).error().is_errno(EISDIR));
  CHECK(Configuration::load(HostPath("/dev/null")));
  CHECK(Configuration::load(HostPath("/dev/zero")).error().is_errno(EFBIG));
}

TEST_CASE("floods cost no more than what is read", "[config][lxc]") {
  const std::string line(std::size_t{20} << 20U, 'a');
  CHECK_FALSE(Configuration::parse("lxc.uts.name = " + line));
  // Of a gibibyte nothing is looked at.
  constexpr std::size_t size = std::size_t{1} << 30U;
  void* nothing =
      ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(nothing != MAP_FAILED);
  const auto huge = Configuration::parse({static_cast<const char*>(nothing), size});
  REQUIRE_FALSE(huge);
  CHECK_THAT(huge.error().subject, Contains("a configuration of 1073741824 bytes"));
  ::munmap(nothing, size);
  std::string many;
  for (int i = 0; i < 300000; ++i) many += "#\n";
  const auto bad = Configuration::parse(many, "config");
  REQUIRE_FALSE(bad);
  CHECK(bad.error().subject == "config:250000: more than 250000 lines; the rest was not read");
  std::string errors;
  for (int i = 0; i < 50000; ++i) errors += "lxc.nosuch = 1\n";
  const auto wrong = Configuration::parse(errors, "config");
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().also.size() == 100);
  CHECK(wrong.error().also.back() == "50000 errors at least");
  std::string words = "lxc.cap.drop =";
  for (int i = 0; i < 1000000; ++i) words += " kil";
  CHECK_FALSE(Configuration::parse(words));
}

TEST_CASE("what a line costs does not depend on how many there are", "[config][lxc]") {
  const auto with_misspelt_words = [](int lines) {
    std::string text;
    for (int i = 0; i < lines; ++i) text += "lxc.signal.halt = SIGTREM\n";
    CHECK_FALSE(Configuration::parse(text));
  };
  CHECK(test::growth_to_four(with_misspelt_words, 20000) < 8);
  const auto with_lists = [](int items) {
    std::string text = "lxc.uts.name = x\nlxc.cgroup.devices.deny = a\n";
    for (int i = 0; i < items; ++i)
      text += fmt::format("lxc.environment = N{0}=1\nlxc.cgroup.devices.allow = c 1:{0} r\n", i);
    const Spec spec = spec_of(text);
    CHECK(spec.process.env.size() == static_cast<std::size_t>(items) + 1);
    CHECK(spec.devices.permitted.size() == static_cast<std::size_t>(items));
  };
  CHECK(test::growth_to_four(with_lists, 5000) < 8);
}

TEST_CASE("single items are changed and written back", "[config][lxc]") {
  Configuration config = good("# head\nlxc.uts.name = a\nlxc.environment = A=1\n\nother line\n");
  REQUIRE(config.set("lxc.uts.name", "b"));
  REQUIRE(config.set("lxc.environment", "B=2"));
  REQUIRE(config.apply("lxc.tty.max=3"));
  CHECK(got(config, "lxc.tty.max") == "3");
  CHECK(config.text() ==
        "# head\nlxc.uts.name = b\nlxc.environment = A=1\n\nother line\nlxc.environment = B=2\n");
  REQUIRE(config.set("lxc.net.3.type", "veth"));
  REQUIRE(config.set("lxc.net.3.veth.pair", "pair"));
  REQUIRE(config.set("lxc.uts.name", " 'x' "));
  CHECK(got(config, "lxc.uts.name") == " 'x' ");
  REQUIRE(config.clear("lxc.net.3"));
  REQUIRE(config.clear("lxc.environment"));
  REQUIRE(config.clear("lxc.uts.name"));
  CHECK(config.text() == "# head\n\nother line\n");

  const Configuration before = config;
  CHECK_FALSE(config.set("lxc.tty.max", "x"));
  CHECK_FALSE(config.set("lxc.ttymax", "1"));
  CHECK_FALSE(config.set("lxc.uts.name", "a\nlxc.tty.max = 3"));
  CHECK_FALSE(config.apply("lxc.tty.max"));
  CHECK_FALSE(config.apply("tty.max=1"));
  CHECK_FALSE(config.apply("lxc.tty.max=x"));
  CHECK(config.text() == before.text());
  CHECK(got(config, "lxc.tty.max") == "3");

  // What is no key, or a matter of reading, is not set.
  CHECK_FALSE(config.set("utsname", "x"));
  CHECK_FALSE(config.set("#lxc.tty.max", "3"));
  CHECK_FALSE(config.set("lxc.include", "/dev/null"));
  CHECK_FALSE(config.clear("lxc.include"));
  CHECK(config.text() == before.text());
  // Below a line that clears it takes a line of its own.
  config = good("lxc.uts.name = a\nlxc.uts.name =\n");
  REQUIRE(config.set("lxc.uts.name", "b"));
  CHECK(got(config, "lxc.uts.name") == "b");

  // Interfaces keep their numbers when another one goes.
  config = good(
      "lxc.network.type = veth\nlxc.network.link = a\nlxc.network.type = veth\n"
      "lxc.network.link = b\n");
  REQUIRE(config.clear("lxc.net.0.type"));
  CHECK(got(config, "lxc.net.1.link") == "b");
  CHECK(got(config, "lxc.net.0.link") == "(not found)");
  CHECK(config.text() == "lxc.net.1.type = veth\nlxc.net.1.link = b\n");
  config = good(
      "lxc.net.0.type = veth\nlxc.net.0.link = a\nlxc.network.type = phys\n"
      "lxc.network.link = b\n");
  CHECK(got(config, "lxc.net.0.link") == "a");
  CHECK(got(config, "lxc.net.1.link") == "b");

  // The type of an interface stays where it is.
  config = good("lxc.net.0.type = veth\nlxc.net.0.veth.pair = a\n");
  const auto refused = config.set("lxc.net.0.type", "phys");
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().subject, Contains("its type is phys"));
  REQUIRE(config.set("lxc.net.0.hwaddr", "00:16:3e:xx:xx:xx"));
  config.draw_addresses();
  CHECK(got(config, "lxc.net.0.hwaddr").find('x') == std::string::npos);
}

TEST_CASE("old spellings mean the same as new ones", "[config][lxc]") {
  const auto modern = translated(good(contents(corpus / "report_5.0")));
  for (const char* name : {"report_1.0", "report_2.0", "report_3.0"}) {
    INFO(name);
    const Configuration config = good(contents(corpus / name));
    CHECK(translated(config).spec == modern.spec);
    CHECK(config.notes().empty() == (name == std::string_view("report_3.0")));
  }
  CHECK(spec_of(contents(corpus / "waydroid_old")) ==
        spec_of(contents(corpus / "waydroid_modern")));

  Configuration config = good(
      "# lxc.utsname = commented\n"
      "  lxc.utsname=box\n"
      "lxc.rootfs = /srv/a:/srv/b\n"
      "lxc.rootfs.backend = overlayfs\n"
      "lxc.kmsg = 0\n"
      "lxc.network.type = veth\n"
      "lxc.network.ipv4 = 10.0.0.2/24\n"
      "lxc.network.type = empty\n"
      "lxc.network.7.type = phys\n"
      "lxc.network.7.link = e\n"
      "lxc.limit.nofile = 1\n");
  const auto said = config.modernize();
  CHECK(config.text() ==
        "# lxc.uts.name = commented\n"
        "  lxc.uts.name=box\n"
        "lxc.rootfs.path = overlayfs:/srv/a:/srv/b\n"
        "lxc.net.0.type = veth\n"
        "lxc.net.0.ipv4.address = 10.0.0.2/24\n"
        "lxc.net.1.type = empty\n"
        "lxc.net.7.type = phys\n"
        "lxc.net.7.link = e\n"
        "lxc.prlimit.nofile = 1\n");
  REQUIRE(said.size() == 11);
  CHECK(to_string(said[1]) == "config:2: lxc.utsname = box: becomes lxc.uts.name");
  CHECK(to_string(said[4]) == "config:5: lxc.kmsg = 0: is taken out");
  CHECK(config.notes().empty());

  config = good("lxc.rootfs = dir:/srv/a\nlxc.rootfs.backend = overlayfs\n");
  config.modernize();
  CHECK(config.text() == "lxc.rootfs.path = dir:/srv/a\n");
  const Folder folder;
  write(folder / "a", "lxc.rootfs = /srv/a:/srv/b\n");
  config = good(
      fmt::format("lxc.include = {}\nlxc.rootfs.backend = overlayfs\n", (folder / "a").string()));
  config.modernize();
  CHECK(translated(config).program.rootfs_type == "overlayfs");
}

namespace {

struct Spelling {
  std::string_view key;
  const char* value;
  const char* type = "veth";  ///< Of the interface, where it is about one.
};
constexpr Spelling spellings[] = {
    {"lxc.uts.name", "box"},
    {"lxc.rootfs.path", "/srv/box"},
    {"lxc.init.cmd", "/bin/sh -l"},
    {"lxc.init.uid", "7"},
    {"lxc.init.gid", "8"},
    {"lxc.idmap", "u 0 100000 65536"},
    {"lxc.mount.fstab", "/dev/null"},
    {"lxc.tty.max", "4"},
    {"lxc.tty.dir", "lxc"},
    {"lxc.pty.max", "1024"},
    {"lxc.console.path", "none"},
    {"lxc.apparmor.profile", "unconfined"},
    {"lxc.apparmor.allow_incomplete", "1"},
    {"lxc.selinux.context", "u:r:t:s0"},
    {"lxc.seccomp.profile", CONDROID_TESTS_DIR "/fuzz/corpus/seccomp_lxc/arguments.policy"},
    {"lxc.prlimit.", "5:6"},
    {"lxc.signal.halt", "SIGTERM"},
    {"lxc.signal.reboot", "SIGUSR1"},
    {"lxc.signal.stop", "SIGUSR2"},
    {"lxc.log.level", "INFO"},
    {"lxc.log.file", "/var/log/box"},
    {"lxc.log.syslog", "local3"},
    {"lxc.net.N.type", "veth"},
    {"lxc.net.N.flags", "up"},
    {"lxc.net.N.link", "br1"},
    {"lxc.net.N.l2proxy", "1", "ipvlan"},
    {"lxc.net.N.name", "lan0"},
    {"lxc.net.N.hwaddr", "00:16:3e:01:02:03"},
    {"lxc.net.N.mtu", "1400"},
    {"lxc.net.N.ipv4.address", "192.0.2.9/24 192.0.2.254"},
    {"lxc.net.N.ipv4.gateway", "192.0.2.1"},
    {"lxc.net.N.ipv6.address", "2001:db8::9/64"},
    {"lxc.net.N.ipv6.gateway", "2001:db8::1"},
    {"lxc.net.N.script.up", "/bin/up"},
    {"lxc.net.N.script.down", "/bin/down"},
    {"lxc.net.N.veth.pair", "vethbox"},
    {"lxc.net.N.veth.mode", "router"},
    {"lxc.net.N.veth.n_rxqueues", "2"},
    {"lxc.net.N.veth.n_txqueues", "3"},
    {"lxc.net.N.veth.ipv4.route", "198.51.100.0/24"},
    {"lxc.net.N.veth.ipv6.route", "2001:db8:1::/64"},
    {"lxc.net.N.veth.vlan.id", "5"},
    {"lxc.net.N.veth.vlan.tagged.id", "6"},
    {"lxc.net.N.macvlan.mode", "vepa", "macvlan"},
    {"lxc.net.N.ipvlan.mode", "l3s", "ipvlan"},
    {"lxc.net.N.ipvlan.isolation", "private", "ipvlan"},
    {"lxc.net.N.vlan.id", "9", "vlan"},
};

/// The key of one interface or limit; a table's name is of all of them.
std::string key_of_one(std::string_view name, std::string_view number) {
  std::string key(name);
  if (const std::size_t at = key.find(".N."); at != key.npos)
    key.replace(at, 3, fmt::format(".{}.", number));
  if (key.ends_with('.')) key += "nofile";
  return key;
}

}  // namespace

TEST_CASE("each older key means what its newer one does", "[config][lxc]") {
  for (const lxc::KeyInfo& key : lxc::keys()) {
    if (key.legacy.empty() || key.values == "nothing") continue;
    INFO(key.name);
    const auto* const s = std::ranges::find(spellings, key.name, &Spelling::key);
    REQUIRE(s != std::end(spellings));
    const bool net = key.name.starts_with("lxc.net.");
    const auto written = [&](bool old) {
      const std::string interface = old ? "lxc.network." : "lxc.net.0.";
      std::string text;
      const auto line = [&](const std::string& name, std::string_view value) {
        text += fmt::format("{} = {}\n", name, value);
      };
      if (net) {
        line(interface + "type", s->type);
        line(interface + "flags", "up");
        line(interface + "ipv4.address", "192.0.2.8/24");
        line(interface + "ipv6.address", "2001:db8::8/64");
        if (key.name != "lxc.net.N.link") line(interface + "link", "br0");
      }
      if (key.name == "lxc.idmap") line(old ? "lxc.id_map" : "lxc.idmap", "g 0 100000 65536");
      if (key.name != "lxc.net.N.type" && key.name != "lxc.net.N.flags")
        line(key_of_one(old ? key.legacy : key.name, "0"), s->value);
      return text;
    };
    const Configuration old = good(written(true)), modern = good(written(false));
    INFO(written(true));
    lxc::Translation how = here();
    how.selinux = true;
    const auto a = translated(old, how), b = translated(modern, how);
    CHECK(a.spec == b.spec);
    CHECK(a.program == b.program);
    CHECK(got(old, key_of_one(key.name, "0")) == got(modern, key_of_one(key.name, "0")));
    CHECK(got(modern, key_of_one(key.name, "0")) != "(not found)");
    CHECK(modern.notes().empty());
    CHECK_FALSE(old.notes().empty());
  }
}

TEST_CASE("a configuration has LXC's defaults", "[config][lxc]") {
  const Spec s = spec_of("lxc.uts.name = x\nlxc.rootfs.path = /srv/x");
  CHECK(s.hostname == "x");
  CHECK(s.root.path == HostPath("/srv/x"));
  CHECK(s.process.argv == std::vector<std::string>{"/sbin/init"});
  CHECK(s.process.env == std::vector<std::string>{"container=lxc"});
  CHECK(s.terminal.console);
  CHECK(s.process.stdio == Stdio(Stdio::pty));
  CHECK(s.security.capabilities == CapabilitySet::all());
  CHECK_FALSE(s.security.no_new_privs);
  CHECK(s.security.seccomp.kind == Seccomp::none);
  CHECK(s.security.masked_paths.empty());
  CHECK(s.mounts.empty());
  CHECK_FALSE(s.default_mounts);
  CHECK(s.devices.populate);
  CHECK(s.devices.size == Bytes{500000});
  CHECK_FALSE(s.network.loopback_up);
  CHECK(s.idmap.kind == IdMap::none);
  CHECK(s.lifecycle.halt_signal == Signal{30});
  CHECK(s.lifecycle.stop_signal == Signal{9});
  CHECK(s.lifecycle.restart == Restart::on_reboot);
  for (const auto& host : test::all_hosts()) {
    if (std::string_view(host.name) != "root on v2") continue;
    const auto plan = compile(s, host.facts);
    if (!plan) FAIL(to_string(plan.error()));
  }
}

TEST_CASE("Waydroid's and distributions' configurations become Specs", "[config][lxc]") {
  const auto waydroid = translated(good(contents(corpus / "waydroid_modern")), here("waydroid"));
  const Spec& w = waydroid.spec;
  CHECK(w.process.argv == std::vector<std::string>{"/init"});
  CHECK(w.process.stdio == Stdio(Stdio::inherit));
  CHECK(w.security.no_new_privs);
  CHECK(w.security.capabilities.has(Capability::sys_admin));
  CHECK_FALSE(w.security.capabilities.has(Capability::sys_boot));
  REQUIRE(w.network.interfaces.size() == 1);
  CHECK(w.network.interfaces[0].mtu == 1500U);
  CHECK(w.network.interfaces[0].mac == MacAddress::parse("00:16:3e:f9:d3:03"));
  CHECK(waydroid.program.hooks.size() == 1);
  CHECK(waydroid.program.seccomp_allow_nesting);
  // With lxc.autodev = 0 there is nobody else to make it.
  CHECK(w.mounts.back() == Mount(Devpts{.max = 10, .ptmx = GuestPath("/dev/ptmx")}));
  std::vector<std::string> notes;
  for (const Diagnostic& d : waydroid.notes) notes.push_back(to_string(d));
  INFO(fmt::format("{}", fmt::join(notes, "\n")));
  REQUIRE(notes.size() == 3);
  CHECK_THAT(notes[2],
             Contains("/run/xdg none create=dir 0 0\": not done: its target is not below"));

  const auto box = translated(good(contents(corpus / "distribution")));
  CHECK(box.spec.security.capabilities == CapabilitySet::all());
  CHECK(box.spec.devices.filter == DeviceFilter::never);
  CHECK(box.spec.terminal.ttys == 4);
  CHECK(box.spec.terminal.tty_dir.empty());
  CHECK(box.spec.idmap.uids == std::vector<IdRange>{{0, 100000, 65536}});
  for (const Spec* spec : {&w, &box.spec})
    for (const auto& host : test::all_hosts()) {
      if (!std::string_view(host.name).starts_with("root on")) continue;
      if (!CONDROID_LIBNL && !spec->network.interfaces.empty()) continue;
      INFO(host.name);
      const auto plan = compile(*spec, host.facts);
      if (!plan) FAIL(to_string(plan.error()));
    }
}

TEST_CASE("the Specs of golden plans are those of their configurations", "[config][lxc][golden]") {
  const fs::path golden = fs::path(CONDROID_TESTS_DIR) / "golden";
  for (const auto& [name, spec, machine] :
       {std::tuple{"distribution", "lxc_distribution.spec", "root on hybrid"},
        std::tuple{"waydroid_modern", "lxc_waydroid.spec", "root on v2"}}) {
    INFO(name);
    Configuration config = good(contents(corpus / name));
    REQUIRE(config.clear("lxc.net"));  // so that a build without libnl has the plan, too
    const std::string now =
        fmt::format("# machine: {}\n{}", machine, print_spec(translated(config).spec));
    if (std::getenv("CONDROID_UPDATE_GOLDEN") != nullptr) write(golden / spec, now);
    CHECK(contents(golden / spec) == now);
  }
}

TEST_CASE("every kind of key has its place in the Spec", "[config][lxc]") {
  const auto all = translated(good(contents(corpus / "all_kinds")));
  const Spec& s = all.spec;
  CHECK(s.hostname == "box one");
  CHECK(s.root.path == HostPath("/srv/lower"));
  CHECK(s.root.upper == HostPath("/srv/upper"));
  CHECK(s.root.work == HostPath("/srv/work"));
  CHECK(s.root.read_only);
  CHECK(s.join.size() == 2);
  CHECK(s.time.boottime == -std::chrono::minutes(5));
  CHECK(s.time.monotonic == std::chrono::hours(1));
  CHECK(s.namespaces.has(Namespace::time));
  CHECK_FALSE(s.namespaces.has(Namespace::net));
  CHECK(s.process.env == std::vector<std::string>{"A=2", "B=3", "container=lxc"});
  CHECK(s.process.argv == std::vector<std::string>{"/bin/sh", "-c", "echo \"a b\"", ""});
  CHECK(s.process.groups == std::vector<Gid>{{1}, {2}, {3}});
  CHECK(s.process.oom_score_adj == -10);
  CHECK(s.process.rlimits.size() == 2);
  CHECK(s.security.capabilities == CapabilitySet{Capability::kill, Capability::chown});
  CHECK_FALSE(s.security.own_keyring);
  CHECK(s.network.interfaces.empty());
  CHECK(all.program.console_rotate);
  CHECK(all.program.start_order == -3);
  CHECK(all.program.groups == std::vector<std::string>{"a", "b", "c"});
  CHECK(all.program.network_scripts.empty());

  Configuration own = good(contents(corpus / "all_kinds"));
  REQUIRE(own.clear("lxc.namespace.share.net"));
  const auto net = translated(own);
  const auto& interfaces = net.spec.network.interfaces;
  REQUIRE(interfaces.size() == 4);
  CHECK(std::get<Veth>(interfaces[0].link).host_routes.size() == 1);
  CHECK(interfaces[1].name == "eth1");
  CHECK(interfaces[3].name == "eth9");
  REQUIRE(net.program.network_scripts.size() == 1);
  CHECK(net.program.network_scripts[0].interface == "eth9");

  const std::string router =
      "lxc.net.0.type = veth\nlxc.net.0.veth.mode = router\nlxc.net.0.flags = up\n"
      "lxc.net.0.ipv4.address = 192.0.2.2/24\n";
  const Spec routed = spec_of(router);
  const Veth without = std::get<Veth>(routed.network.interfaces.at(0).link);
  CHECK(without.host_addresses.empty());
  CHECK(without.host_routes == std::vector<IpPrefix>{*IpPrefix::parse("192.0.2.2/32")});
  const Spec by_gateway = spec_of(router + "lxc.net.0.ipv4.gateway = 192.0.2.1\n");
  const Veth with = std::get<Veth>(by_gateway.network.interfaces.at(0).link);
  CHECK(with.host_addresses == std::vector<IpPrefix>{*IpPrefix::parse("192.0.2.1/32")});
  CHECK(with.host_routes.empty());

  CHECK(spec_of("lxc.net.0.type = none").security.allow.has(Allow::host_network));
  CHECK(spec_of("lxc.namespace.keep = pid ipc").security.allow.has(Allow::host_pids));
  const Spec filtered =
      spec_of("lxc.cgroup2.devices.deny = a\nlxc.cgroup2.devices.allow = c 10:229 rw");
  CHECK(filtered.devices.filter == DeviceFilter::always);
  CHECK(filtered.devices.permitted ==
        std::vector<DevicePermission>{
            {.major = 10, .minor = 229, .access = DeviceAccess::read | DeviceAccess::write}});
}

TEST_CASE("what no Spec can say is said", "[config][lxc]") {
  const Configuration config = good(
      "lxc.rootfs.path = zfs:pool/image\n"
      "lxc.namespace.share.net = other\nlxc.net.0.type = veth\nlxc.net.0.l2proxy = 1\n"
      "lxc.mount.entry = /a /srv/a none bind 0 0\n");
  const auto container = translated(config);
  CHECK(std::ranges::count(container.notes, Diagnostic::unsupported, &Diagnostic::kind) == 4);
  const auto strict = config.to_spec({.apparmor = false, .selinux = false, .strict = true});
  REQUIRE_FALSE(strict);
  CHECK(strict.error().also.size() == 3);
}

TEST_CASE("files of the first process, its core and the limit of the console's log",
          "[config][lxc]") {
  const Spec s = spec_of(
      "lxc.proc.timerslack_ns = 60000\nlxc.proc.oom_score_adj = 5\nlxc.proc.coredump_filter = 1\n"
      "lxc.proc.coredump_filter = 0x33\nlxc.sched.core = 1\nlxc.console.logfile = /var/log/x\n"
      "lxc.console.size = 64KB\nlxc.console.rotate = 1\n");
  CHECK(s.process.oom_score_adj == 5);
  CHECK(s.process.proc_files ==
        std::vector<ProcFile>{{"coredump_filter", "0x33"}, {"timerslack_ns", "60000"}});
  CHECK(s.process.scheduling.core);
  CHECK(s.terminal.log_size == Bytes{65536});
  CHECK(s.terminal.log_rotate);
  // Without a limit it is never full, and without a file there is nothing to be full.
  const Spec endless = spec_of("lxc.console.logfile = /var/log/x\nlxc.console.rotate = 1\n");
  CHECK_FALSE(endless.terminal.log_rotate);
  CHECK(spec_of("lxc.console.size = 64KB\nlxc.console.rotate = 1\n").terminal.log_size == Bytes{});
}

TEST_CASE("a boot id of its own where there is a place for it", "[config][lxc]") {
  CHECK(spec_of("lxc.mount.auto = proc\n").lifecycle.own_boot_id);
  CHECK(spec_of("lxc.mount.entry = proc proc proc defaults 0 0\n").lifecycle.own_boot_id);
  CHECK_FALSE(spec_of("lxc.uts.name = x\n").lifecycle.own_boot_id);
  CHECK_FALSE(spec_of("lxc.mount.auto = proc\nlxc.autodev = 0\n").lifecycle.own_boot_id);
}

TEST_CASE("lines of a profile that is generated, and the context of the keyring", "[config][lxc]") {
  const std::string raw = "lxc.apparmor.raw = deny /srv/** w,\nlxc.apparmor.raw = deny mount,\n";
  const Spec s = spec_of(raw + "lxc.apparmor.profile = generated\n", with_apparmor());
  CHECK(s.security.apparmor_rules == std::vector<std::string>{"deny /srv/** w,", "deny mount,"});
  const auto named = translated(good(raw + "lxc.apparmor.profile = mine\n"), with_apparmor());
  CHECK(named.spec.security.apparmor_rules.empty());
  CHECK(said(named, Diagnostic::note, "is for a profile that is generated") == 2);

  lxc::Translation selinux = here();
  selinux.selinux = true;
  const std::string context = "lxc.selinux.context.keyring = a:b:c:d\n";
  CHECK(spec_of(context, selinux).security.selinux_keyring == "a:b:c:d");
  const auto shared = translated(good(context + "lxc.keyring.session = 1\n"), selinux);
  CHECK(shared.spec.security.selinux_keyring.empty());
  CHECK(said(shared, Diagnostic::note, "no keyring of its own") == 1);
  CHECK(said(translated(good(context)), Diagnostic::note, "SELinux is not on") == 1);
}

TEST_CASE("LXC's own profile holds where none is named", "[config][lxc]") {
  CHECK(spec_of("lxc.uts.name = x", with_apparmor()).security.apparmor ==
        "lxc-container-default-cgns");
  CHECK(spec_of("lxc.uts.name = x").security.apparmor.empty());
  CHECK(spec_of("lxc.apparmor.profile = unchanged", with_apparmor()).security.apparmor.empty());
  CHECK(spec_of("lxc.apparmor.profile = unconfined", with_apparmor()).security.apparmor ==
        "unconfined");
  CHECK(spec_of("lxc.apparmor.profile = mine", with_apparmor()).security.apparmor == "mine");
  CHECK(said(translated(good("lxc.apparmor.profile = mine")), Diagnostic::note, "is not on") == 1);
  const auto without = translated(good("lxc.uts.name = x"), with_apparmor({}));
  CHECK(without.spec.security.apparmor.empty());
  CHECK(said(without, Diagnostic::unsupported, "which is not loaded") == 1);
  CHECK(said(translated(good("lxc.namespace.keep = cgroup"), with_apparmor()),
             Diagnostic::unsupported, "which is not loaded") == 1);  // its profile is another

  lxc::Translation selinux = here();
  selinux.selinux = true;
  CHECK(spec_of("lxc.selinux.context = a:b:c:d", selinux).security.selinux == "a:b:c:d");
}

TEST_CASE("containers inside are for a profile that is generated", "[config][lxc]") {
  const char* const nesting =
      "lxc.apparmor.profile = generated\nlxc.apparmor.allow_nesting = 1\nlxc.uts.name = x";
  const Spec nests = spec_of(nesting, with_apparmor());
  CHECK(nests.security.own_apparmor);
  CHECK(nests.security.allow.has(Allow::nesting));
  CHECK(nests.mounts.size() == 2);
  for (const auto& how : {here(), with_apparmor()}) {
    const Spec s = how.apparmor == true
                       ? spec_of("lxc.apparmor.allow_nesting = 1\nlxc.uts.name = x", how)
                       : spec_of(nesting, how);
    CHECK(s.mounts.empty());
    CHECK_FALSE(s.security.allow.has(Allow::nesting));
  }
  CHECK_FALSE(spec_of("lxc.apparmor.profile = generated", with_apparmor())
                  .security.allow.has(Allow::nesting));
}

TEST_CASE("whole hierarchies of cgroups are its own part in a cgroup namespace", "[config][lxc]") {
  const auto mounts = [](const char* text, const lxc::Translation& how = here()) {
    return translated(good(text), how).spec.mounts;
  };
  const auto mount = [&](const char* text, const lxc::Translation& how = here()) {
    return std::get<CgroupMount>(mounts(text, how).at(0));
  };
  CHECK(mounts("lxc.mount.auto = cgroup-full").empty());  // it can do that itself
  for (const char* word : {"cgroup-full:mixed:force", "cgroup-full:rw:force", "cgroup:mixed:force"})
    CHECK_FALSE(mount(line_of(word).c_str()).flags.has(MountFlag::read_only));
  for (const char* word : {"cgroup-full:ro:force", "cgroup:ro:force"})
    CHECK(mount(line_of(word).c_str()).flags.has(MountFlag::read_only));
  CHECK_FALSE(mount("lxc.cap.drop = sys_admin\nlxc.mount.auto = cgroup-full").own_writable);
  // On version 2 alone it is what cgroup is.
  for (const char* how : {"", ":mixed", ":ro", ":rw", ":ro:force"})
    CHECK(mounts(line_of(std::string("cgroup-full") + how).c_str(), with_v2()) ==
          mounts(line_of(std::string("cgroup") + how).c_str(), with_v2()));
  CHECK(mount("lxc.mount.auto = cgroup-full", with_v2()).flags ==
        mount("lxc.mount.auto = cgroup-full:rw", with_v2()).flags);
  const Spec own = spec_of("lxc.mount.auto = cgroup2:ro");
  CHECK(std::get<FsMount>(own.mounts.at(0)).type == "cgroup2");
}

TEST_CASE("without a cgroup namespace the others' cgroups are open where all is asked for",
          "[config][lxc]") {
  const auto mounts = [](std::string_view word) {
    const auto all = translated(
        good(line_of(word) + "lxc.namespace.keep = cgroup user\nlxc.rootfs.path = /srv/x\n"));
    CHECK(std::ranges::count(all.notes, Diagnostic::unsupported, &Diagnostic::kind) == 0);
    for (const auto& host : test::all_hosts()) {
      if (!std::string_view(host.name).starts_with("root on")) continue;
      INFO(word << ", " << host.name);
      const auto plan = compile(all.spec, host.facts);
      if (!plan) FAIL(to_string(plan.error()));
    }
    return all.spec.mounts;
  };
  for (const char* word : {"cgroup-full:mixed", "cgroup:mixed", "cgroup:rw", "cgroup"}) {
    const auto mount = std::get<CgroupMount>(mounts(word).at(0));
    CHECK(mount.own_writable);
    CHECK(mount.flags.has(MountFlag::read_only));
  }
  const auto closed = std::get<CgroupMount>(mounts("cgroup:ro").at(0));
  CHECK_FALSE(closed.own_writable);
  CHECK(closed.flags.has(MountFlag::read_only));
  CHECK(std::get<Bind>(mounts("cgroup-full:ro").at(0)).flags.has(MountFlag::read_only));
  CHECK_FALSE(std::get<Bind>(mounts("cgroup-full:rw").at(0)).flags.has(MountFlag::read_only));
  CHECK_FALSE(std::get<Bind>(mounts("cgroup-full").at(0)).flags.has(MountFlag::read_only));
}

TEST_CASE("proc:mixed closes what is in /proc/sys, but for net", "[config][lxc]") {
  lxc::Translation how = here();
  how.kernel_settings = {"kernel", "net", "oddity"};
  const auto closed = translated(good("lxc.mount.auto = proc:mixed"), how);
  const auto& paths = closed.spec.security.read_only_paths;
  const auto has = [&](const char* path) {
    return std::ranges::find(paths, GuestPath(path)) != paths.end();
  };
  CHECK(has("/proc/sys/oddity"));
  CHECK(has("/proc/sys/kernel"));
  CHECK(has("/proc/sys/fs"));
  CHECK_FALSE(has("/proc/sys/net"));
  CHECK(said(closed, Diagnostic::note, "what a module adds") == 1);
  const Spec all = spec_of("lxc.cap.drop = net_admin\nlxc.mount.auto = proc:mixed");
  CHECK(std::ranges::find(all.security.read_only_paths, GuestPath("/proc/sys")) !=
        all.security.read_only_paths.end());
}

TEST_CASE("of cgroups what is of this machine's version holds", "[config][lxc]") {
  const char* const text =
      "lxc.cgroup.devices.deny = a\nlxc.cgroup2.devices.deny = a\n"
      "lxc.cgroup.devices.allow = c 1:3 rwm\nlxc.cgroup2.devices.allow = c 1:5 r\n"
      "lxc.cgroup.memory.limit_in_bytes = 1M\nlxc.cgroup2.memory.max = 2M\n";
  const auto v1 = translated(good(text)), v2 = translated(good(text), with_v2());
  REQUIRE(v1.spec.devices.permitted.size() == 1);
  CHECK(v1.spec.devices.permitted[0].minor == 3U);
  REQUIRE(v2.spec.devices.permitted.size() == 1);
  CHECK(v2.spec.devices.permitted[0].minor == 5U);
  CHECK(v1.spec.resources.settings ==
        std::vector<CgroupSetting>{{.file = "memory.limit_in_bytes", .value = "1M"}});
  CHECK(v2.spec.resources.settings ==
        std::vector<CgroupSetting>{{.file = "memory.max", .value = "2M"}});
  CHECK(said(v1, Diagnostic::note, "other version of cgroups") == 2);
  CHECK(said(v2, Diagnostic::note, "other version of cgroups") == 2);
  // A list for the other version is better than none.
  for (const auto& how : {here(), with_v2()})
    for (const char* only : {"lxc.cgroup.devices.deny = a", "lxc.cgroup2.devices.deny = a"})
      CHECK(spec_of(only, how).devices.filter == DeviceFilter::always);
}

TEST_CASE("rules for devices are taken as they are written in guides", "[config][lxc]") {
  CHECK(spec_of("lxc.cgroup.devices.deny = a *:* rwm").devices.filter == DeviceFilter::always);
  CHECK(
      spec_of("lxc.cgroup.devices.deny = a\nlxc.cgroup.devices.allow = a *:* rwm").devices.filter ==
      DeviceFilter::never);
  const Spec made = spec_of("lxc.cgroup.devices.deny = a\nlxc.cgroup.devices.allow = a *:* m");
  REQUIRE(made.devices.permitted.size() == 2);
  CHECK(made.devices.permitted[1].kind == DeviceNode::block);
  CHECK(made.devices.permitted[1].access == Flags<DeviceAccess>(DeviceAccess::make));

  const auto less =
      translated(good("lxc.cgroup.devices.deny = a\nlxc.cgroup.devices.allow = c 1:8 rwm\n"
                      "lxc.cgroup.devices.deny = c 1:8 w\nlxc.cgroup.devices.deny = c 1:9 w"));
  REQUIRE(less.spec.devices.permitted.size() == 1);
  CHECK(less.spec.devices.permitted[0].access == (DeviceAccess::read | DeviceAccess::make));
  CHECK(said(less, Diagnostic::note, "no line above allows it in these words") == 1);
  CHECK(spec_of("lxc.cgroup.devices.deny = a\nlxc.cgroup.devices.allow = c 1:8 r\n"
                "lxc.cgroup.devices.deny = c 1:8 rwm")
            .devices.permitted.empty());

  const auto denied =
      translated(good("lxc.cgroup.devices.deny = c 1:8 rwm\nlxc.cgroup.devices.deny = b 7:* w\n"
                      "lxc.cgroup.devices.allow = c 1:8 r\nlxc.cgroup.devices.allow = c 1:9 r\n"));
  CHECK(denied.spec.devices.filter == DeviceFilter::always);
  CHECK(denied.spec.devices.permitted ==
        std::vector<DevicePermission>{{}, {.kind = DeviceNode::block}});
  CHECK(denied.spec.devices.denied ==
        std::vector<DevicePermission>{
            {.major = 1, .minor = 8, .access = DeviceAccess::write | DeviceAccess::make},
            {.kind = DeviceNode::block, .major = 7, .access = DeviceAccess::write}});
  CHECK(said(denied, Diagnostic::note, "no line above denies it in these words") == 1);
  CHECK(
      spec_of("lxc.cgroup.devices.deny = c 1:8 r\nlxc.cgroup.devices.allow = a\n").devices.filter ==
      DeviceFilter::never);
}

TEST_CASE("cgroups are where a configuration says", "[config][lxc]") {
  CHECK(spec_of("lxc.uts.name = x\n").resources.cgroup_path.empty());
  CHECK(spec_of("lxc.cgroup.dir = a/b/\n").resources.cgroup_path == "a/b/lxc.payload.box");
  const Spec both = spec_of(
      "lxc.cgroup.dir.monitor = m\nlxc.cgroup.dir.container = guests/c\n"
      "lxc.cgroup.dir.container.inner = ns\n");
  CHECK(both.resources.cgroup_path == "guests/c");
  CHECK(both.resources.cgroup_inner == "ns");
  CHECK(spec_of("lxc.cgroup.dir.container.inner = ns\n").resources.cgroup_path ==
        "lxc.payload.box");
}

TEST_CASE("a mount that is there gets other flags, and owners by another map", "[config][lxc]") {
  const Spec s = spec_of(
      "lxc.mount.entry = none srv none remount,ro,nosuid 0 0\n"
      "lxc.mount.entry = /a a none bind,idmap=/proc/7/ns/user 0 0\n"
      "lxc.mount.entry = none b tmpfs size=1m,shared 0 0\n");
  REQUIRE(s.mounts.size() >= 3);
  const auto& again = std::get<Bind>(s.mounts.at(0));
  CHECK(again.inside == GuestPath("/srv"));
  CHECK(again.target == GuestPath("/srv"));
  CHECK(again.flags == (MountFlag::read_only | MountFlag::nosuid));
  CHECK_FALSE(again.common.create_target);
  const auto& mapped = std::get<Bind>(s.mounts.at(1));
  CHECK(mapped.idmapped);
  CHECK(mapped.idmap_of == HostPath("/proc/7/ns/user"));
  CHECK(std::get<FsMount>(s.mounts.at(2)).propagation == Propagation::shared);
  CHECK(said(translated(good("lxc.mount.entry = none srv none remount,rw 0 0\n")),
             Diagnostic::unsupported, "taken away") == 1);
}

TEST_CASE("a type begins an interface anew", "[config][lxc]") {
  const Configuration config = good(
      "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.ipv4.address = 10.0.0.2\n"
      "lxc.net.0.type = veth\n");
  CHECK(got(config, "lxc.net.0.link") == "(not found)");
  CHECK(got(config, "lxc.net.0.ipv4.address") == "(not found)");
  REQUIRE(config.notes().size() == 1);
  CHECK_THAT(to_string(config.notes()[0]), Contains("config:4: lxc.net.0.type = veth: begins"));
  CHECK(got(good("lxc.net.0.link = a\nlxc.net.0.type = veth"), "lxc.net.0.link") == "(not found)");
}

TEST_CASE("an empty network has its scripts, and says what it has not", "[config][lxc]") {
  const auto empty =
      translated(good("lxc.net.0.type = empty\nlxc.net.0.flags = up\nlxc.net.0.script.up = /bin/a\n"
                      "lxc.net.0.script.down = /bin/b\nlxc.net.0.ipv4.address = 10.0.0.1\n"
                      "lxc.net.0.mtu = 1400\nlxc.net.0.hwaddr = 00:16:3e:00:00:01"));
  REQUIRE(empty.program.network_scripts.size() == 2);
  CHECK(empty.program.network_scripts[1].command == "/bin/b");
  CHECK(empty.program.network_scripts[1].interface.empty());
  CHECK(empty.program.network_scripts[1].type == "empty");
  CHECK(said(empty, Diagnostic::note, "means nothing to the type empty") == 3);
  const auto none = translated(good("lxc.net.0.type = none\nlxc.net.0.script.up = /bin/a"));
  CHECK(none.program.network_scripts.empty());
  CHECK(said(none, Diagnostic::note, "means nothing to the type none") == 1);
}

TEST_CASE("a gateway that is found out is of the family that asks", "[config][lxc]") {
  const std::string veth =
      "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.flags = up\n"
      "lxc.net.0.ipv4.address = 10.0.0.2/24\n";
  using Gateways = std::vector<std::string>;
  const auto gateways = [&](const std::string& more) {
    const auto all = translated(good(veth + more));
    CHECK(std::ranges::count(all.notes, Diagnostic::unsupported, &Diagnostic::kind) == 0);
    const Interface& i = all.spec.network.interfaces.at(0);
    CHECK(i.gateway_auto);
    Gateways said;
    for (const IpAddress& g : i.gateways) said.push_back(to_string(g));
    return said;
  };
  CHECK(gateways("lxc.net.0.ipv4.gateway = auto").empty());
  const std::string six = "lxc.net.0.ipv6.address = fd00::2/64\n";
  const std::string four = six + "lxc.net.0.ipv4.gateway = auto\n";
  CHECK(gateways(four) == Gateways{"::"});
  CHECK(gateways(four + "lxc.net.0.ipv6.gateway = fd00::1") == Gateways{"fd00::1"});
  CHECK(gateways(four + "lxc.net.0.ipv6.gateway = dev") == Gateways{"::"});
  CHECK(gateways(four + "lxc.net.0.ipv6.gateway = auto").empty());
  CHECK(gateways(six + "lxc.net.0.ipv6.gateway = auto") == Gateways{"0.0.0.0"});
}

TEST_CASE("the beginning of a name is an interface that is lent", "[config][lxc]") {
  lxc::Translation how = here();
  how.interfaces = {"lo", "eth1", "wlan0", "eth0"};
  const std::string phys = "lxc.net.0.type = phys\nlxc.net.0.link = ";
  const auto lent = [&](const std::string& more) {
    const Interface i = spec_of(phys + more, how).network.interfaces.at(0);
    return std::pair(i.name, std::get<Phys>(i.link).parent);
  };
  using Seen = std::pair<std::string, std::string>;
  CHECK(lent("eth+") == Seen("eth0", "eth0"));
  CHECK(lent("eth1+") == Seen("eth1", "eth1"));
  CHECK(lent("wl+\nlxc.net.0.name = lan") == Seen("lan", "wlan0"));
  CHECK(lent("eth+\nlxc.net.1.type = veth") == Seen("eth0", "eth0"));
  CHECK(spec_of(phys + "eth+\nlxc.net.1.type = veth", how).network.interfaces.at(1).name == "eth1");
  const auto missing = good(phys + "usb+").to_spec(how);
  REQUIRE_FALSE(missing);
  CHECK_THAT(missing.error().subject,
             Contains("lxc.net.0.link = usb+: is the beginning of no interface's name here"));
  // Of other kinds it is a part of the name.
  const Spec veth = spec_of("lxc.net.0.type = veth\nlxc.net.0.link = eth+", how);
  CHECK(std::get<Veth>(veth.network.interfaces.at(0).link).bridge == "eth+");
}

TEST_CASE("the host's routes go by a port of a bridge, as LXC has them", "[config][lxc]") {
  const auto all = translated(
      good("lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.veth.ipv4.route = 10.9.0.0/16\n"
           "lxc.net.0.veth.ipv6.route = fd09::/64\n"));
  const auto& veth = std::get<Veth>(all.spec.network.interfaces.at(0).link);
  CHECK(veth.bridge == "br0");
  CHECK(veth.host_routes ==
        std::vector<IpPrefix>{*IpPrefix::parse("10.9.0.0/16"), *IpPrefix::parse("fd09::/64")});
  CHECK(said(all, Diagnostic::note, "come in at the bridge") == 2);
}

TEST_CASE("a mount that is to be moved is made as any other", "[config][lxc]") {
  const auto bound = translated(good("lxc.mount.entry = /a a none bind,move 0 0\n"));
  CHECK(std::get<Bind>(bound.spec.mounts.at(0)).source == HostPath("/a"));
  CHECK(said(bound, Diagnostic::note, "move means nothing") == 1);
  CHECK(std::holds_alternative<Tmpfs>(
      spec_of("lxc.mount.entry = none a tmpfs move 0 0\n").mounts.at(0)));
  const auto lines = wrong("lxc.mount.entry = a b none move 0 0\n");
  REQUIRE(lines.size() == 1);
  CHECK_THAT(lines[0], Contains("neither of a file system nor a bind mount"));
  CHECK(spec_of("lxc.mount.entry = a b none move,optional 0 0\n").mounts.empty());
}

TEST_CASE("what is not its own namespace is left as it is", "[config][lxc]") {
  const std::string veth =
      "lxc.uts.name = x\nlxc.rootfs.path = /srv/x\nlxc.net.0.type = veth\n"
      "lxc.net.0.link = br0\nlxc.net.0.flags = up\n";
  for (const char* shared : {"lxc.namespace.share.net = 1", "lxc.namespace.keep = net"}) {
    const auto all = translated(good(veth + shared));
    CHECK(all.spec.network.interfaces.empty());
    CHECK_FALSE(all.spec.network.loopback_up);
    CHECK(said(all, Diagnostic::note, "lxc.net.0 is not made") == 1);
  }
  // reboot(2) there is the other's.
  CHECK(spec_of(veth).lifecycle.restart == Restart::on_reboot);
  for (const char* shared : {"lxc.namespace.share.pid = 1", "lxc.namespace.keep = pid"})
    CHECK(spec_of(veth + shared).lifecycle.restart == Restart::never);
  const auto mounts =
      translated(good("lxc.uts.name = x\nlxc.namespace.keep = mnt\n"
                      "lxc.mount.auto = proc\nlxc.console.path = none"));
  CHECK(mounts.spec.root == Root{});
  CHECK(mounts.spec.mounts.empty());
  CHECK(said(mounts, Diagnostic::unsupported, "mounts in a mount namespace") == 1);
  for (const auto& host : test::all_hosts()) {
    if (std::string_view(host.name) != "root on v2") continue;
    for (const Spec& spec : {mounts.spec, spec_of(veth + "lxc.namespace.keep = net")}) {
      const auto plan = compile(spec, host.facts);
      if (!plan) FAIL(to_string(plan.error()));
    }
  }
  const auto lines = wrong("lxc.namespace.keep = mnt\nlxc.rootfs.path = /srv/x");
  REQUIRE(lines.size() == 1);
  CHECK_THAT(lines[0], Contains("its mount namespace is not its own"));
}

TEST_CASE("an ipvlan that says nothing has the mode that LXC gives it", "[config][lxc]") {
  const Spec s = spec_of("lxc.net.0.type = ipvlan\nlxc.net.0.link = a");
  CHECK(std::get<Ipvlan>(s.network.interfaces.at(0).link).mode == Ipvlan::l2);
}

TEST_CASE("names of interfaces are the lowest that are free", "[config][lxc]") {
  const Spec s = spec_of(
      "lxc.net.0.type = veth\nlxc.net.1.type = veth\nlxc.net.1.name = wan%d\n"
      "lxc.net.2.type = veth\nlxc.net.3.type = veth\nlxc.net.3.name = eth1\n"
      "lxc.net.4.type = veth\nlxc.net.4.name = wan%d\n");
  std::vector<std::string> names;
  for (const Interface& i : s.network.interfaces) names.push_back(i.name);
  CHECK(names == std::vector<std::string>{"eth0", "wan0", "eth2", "eth1", "wan1"});
}

TEST_CASE("an optional mount that cannot be is left out", "[config][lxc]") {
  const auto all = translated(
      good("lxc.mount.entry = a b none bind,optional 0 0\n"
           "lxc.mount.entry = /a b/../c none bind,optional 0 0\n"
           "lxc.mount.entry = /a b none ro,optional 0 0\n"
           "lxc.rootfs.path = /srv/x\nlxc.mount.entry = var/share share none bind,relative 0 0\n"));
  REQUIRE(all.spec.mounts.size() == 1);
  CHECK(std::get<Bind>(all.spec.mounts[0]).inside == GuestPath("/var/share"));
  CHECK(said(all, Diagnostic::note, "is left out") == 3);
  const Spec odd = spec_of("lxc.mount.entry = /a\\000b\\134\\040 c\\011 none bind 0 0");
  CHECK(std::get<Bind>(odd.mounts.at(0)).source == HostPath("/a\\000b\\ "));
}

TEST_CASE("an image or a block device is the root as one", "[config][lxc]") {
  const Folder folder;
  write(folder / "image", "x");
  const std::string path = (folder / "image").string();
  for (const char* type : {"", "loop:", "lvm:"}) {
    INFO(type);
    const auto image = translated(good("lxc.rootfs.path = " + std::string(type) + path +
                                       "\nlxc.rootfs.options = ro,noload,idmap=container\n"
                                       "lxc.mount.entry = /srv srv none bind,create=dir 0 0\n"));
    CHECK(image.program.rootfs_type == (*type == 'l' && type[1] == 'v' ? "lvm" : "loop"));
    CHECK(image.spec.root.image.path == HostPath(path));
    CHECK(image.spec.root.image.options == std::vector<std::string>{"noload"});
    CHECK(image.spec.root.path.empty());
    CHECK(image.spec.root.read_only);
    CHECK(image.spec.root.idmapped);
    CHECK_FALSE(image.spec.security.allow.has(Allow::host_root_writable));
    CHECK(said(image, Diagnostic::unsupported, "") == 0);
  }
}

TEST_CASE("sys:mixed and further lower directories are as LXC has them", "[config][lxc]") {
  const auto mixed = [](const std::string& more) {
    return std::get<Sysfs>(spec_of("lxc.mount.auto = sys\n" + more).mounts.at(0)).net_writable;
  };
  CHECK(mixed(""));
  CHECK_FALSE(mixed("lxc.net.0.type = none\n"));
  const auto layered = translated(good("lxc.rootfs.path = overlay:/a:/b//c:/d:/upper/x\n"));
  CHECK(layered.spec.root.path == HostPath("/a"));
  CHECK(layered.spec.root.lower == std::vector<HostPath>{HostPath("/b/c"), HostPath("/d")});
  CHECK(layered.spec.root.upper == HostPath("/upper/x"));
  CHECK(said(layered, Diagnostic::unsupported, "") == 0);
}

TEST_CASE("a Spec becomes a configuration, or says what cannot", "[config][lxc]") {
  for (const char* name : {"report_5.0", "distribution", "waydroid_modern"}) {
    INFO(name);
    Spec spec = spec_of(contents(corpus / name));
    // Two kinds of mount have no form of their own in text that comes from a Spec.
    const auto config = Configuration::from(spec);
    if (!config) FAIL(to_string(config.error()));
    CHECK(translated(*config).spec.mounts == spec.mounts);
    CHECK(translated(*config).spec.process == spec.process);
  }
  Spec spec = spec_of("lxc.uts.name = x\nlxc.rootfs.path = /srv/x");
  spec.resources.memory_max = Bytes{1 << 20};
  const auto limited = Configuration::from(spec);
  if (!limited) FAIL(to_string(limited.error()));
  CHECK(got(*limited, "lxc.cgroup2.memory.max") == "1048576\n");
  CHECK(got(*limited, "lxc.cgroup.memory.limit_in_bytes") == "1048576\n");
  for (const auto& how : {here(), with_v2()})
    CHECK_FALSE(translated(*limited, how).spec.resources.settings.at(0).optional);

  // What would come back as something else is refused.
  const auto lost = [&](auto change) {
    Spec other = spec_of("lxc.uts.name = x\nlxc.rootfs.path = /srv/x");
    change(other);
    const auto config = Configuration::from(other);
    return config ? std::string("nothing") : to_string(config.error());
  };
  CHECK(lost([](Spec&) {}) == "nothing");
  CHECK_THAT(lost([](Spec& s) { s.lifecycle.restart = Restart::never; }), Contains("restart"));
  CHECK_THAT(lost([](Spec& s) { s.lifecycle.stop_timeout = std::chrono::seconds(3); }),
             Contains("stop_timeout"));
  CHECK_THAT(lost([](Spec& s) { s.process.stdio = Stdio::capture; }), Contains("stdio"));
  CHECK_THAT(lost([](Spec& s) { s.process.capture_limit = Bytes{5}; }), Contains("capture_limit"));
  CHECK_THAT(lost([](Spec& s) { s.terminal.rows = 3; }), Contains("rows"));
  CHECK_THAT(lost([](Spec& s) { s.resources.cgroup = CgroupMode::never; }), Contains("cgroup"));
  CHECK_THAT(lost([](Spec& s) { s.resources.settings = {{"a.b", "1", true}}; }), Contains("a.b"));
  for (const char* text :
       {"lxc.mount.auto = proc sys cgroup:rw:force", "lxc.tty.max = 3", "lxc.net.0.type = none",
        "lxc.cgroup.devices.deny = a", "lxc.cgroup.memory.limit_in_bytes = 3",
        "lxc.idmap = u 0 1 2\n"
        "lxc.idmap = g 0 1 2",
        "lxc.time.offset.boot = 5 s"}) {
    INFO(text);
    Spec whole = spec_of(std::string("lxc.uts.name = x\nlxc.rootfs.path = /srv/x\n") + text);
    const auto config = Configuration::from(whole);
    if (!config) FAIL(to_string(config.error()));
    CHECK(translated(*config).spec == whole);
  }

  spec.process.umask = Mode{077};
  spec.process.scheduling.nice = 3;
  const auto refused = Configuration::from(spec);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().is(Errc::bad_spec));
  CHECK_THAT(to_string(refused.error()), Contains("process.scheduling.nice = 3 cannot be said"));
  CHECK_THAT(to_string(refused.error()), Contains("process.umask"));
  CHECK_FALSE(Configuration::from(Spec{}));
}

TEST_CASE("LXC's own settings", "[config][lxc]") {
  CHECK(lxc::SystemConfiguration().lxcpath == lxc::system_path());
  const auto c = lxc::SystemConfiguration::parse(
      "# comment\nlxc.lxcpath = /srv//lxc/\nlxc.lxcpath = /other\nunknown = 1\n"
      "lxc.cgroup.pattern = lxc/%n\nlxc.bdev.zfs.root=tank\n");
  REQUIRE(c);
  CHECK(c->lxcpath == HostPath("/srv/lxc"));
  CHECK(c->cgroup_pattern == "lxc/%n");
  CHECK(c->zfs_root == "tank");
  const auto bad =
      lxc::SystemConfiguration::parse("lxc.lxcpath =\nlxc.default_config = x\n", "lxc.conf");
  REQUIRE_FALSE(bad);
  CHECK(bad.error().subject == "lxc.conf:1: lxc.lxcpath: is empty");
  CHECK(bad.error().also ==
        std::vector<std::string>{"lxc.conf:2: lxc.default_config = x: is not absolute"});
  CHECK(lxc::SystemConfiguration::load(HostPath("/no/such")));
}

TEST_CASE("the seeds of the fuzzer hold what it asks", "[config][lxc]") {
  std::size_t seen = 0;
  for (const auto& entry : fs::directory_iterator(corpus)) {
    INFO(entry.path().filename().string());
    CHECK(lxc_config_property::broken(contents(entry.path())) == "");
    ++seen;
  }
  CHECK(seen >= 8);
}

TEST_CASE("docs/lxc-keys.md is the table as it is", "[config][lxc][docs]") {
  const fs::path path = fs::path(CONDROID_TESTS_DIR) / ".." / "docs" / "lxc-keys.md";
  const std::string now = lxc::key_page();
  if (std::getenv("CONDROID_UPDATE_DOCS") != nullptr) write(path, now);
  INFO("run the target update-lxc-keys");
  CHECK((contents(path) == now));
  for (const lxc::KeyInfo& key : lxc::keys()) {
    CHECK_THAT(lxc::key_help(), Contains(std::string(key.name)));
    CHECK_FALSE(key.help.empty());
  }
}
