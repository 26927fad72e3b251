// Everything that compile() refuses, one row each: a change that makes a good Spec bad, and the
// field and words of the refusal.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "condroid/plan.hpp"
#include "condroid/plan/take.hpp"
#include "facts.hpp"
#include "spec/names.hpp"

namespace {

using namespace condroid;
using namespace condroid::literals;
using namespace std::chrono_literals;

const std::string nul("a\0b", 3);

/// The refusals of a Spec, one a line; empty when it compiles.
std::vector<std::string> refusals(const Spec& spec, const HostFacts& facts) {
  const auto plan = compile(spec, facts);
  if (plan) return {};
  CHECK(plan.error().step == Step::compile);
  std::vector<std::string> list = {plan.error().subject};
  if (!plan.error().hint.empty()) list.front() += "; hint: " + plan.error().hint;
  list.insert(list.end(), plan.error().also.begin(), plan.error().also.end());
  return list;
}

Spec with_root() {
  Spec s;
  s.name = "t";
  s.root.path = "/srv/root"_host;
  return s;
}

struct Row {
  std::string field;  ///< Of the one refusal there is to be.
  std::string words;  ///< Among its words.
  std::function<void(Spec&)> change;
  std::function<void(HostFacts&)> host = [](HostFacts&) {};
};

/// Each row alone, on a machine where `with_root()` compiles.
void check(const HostFacts& machine, const std::vector<Row>& rows) {
  REQUIRE(refusals(with_root(), machine).empty());
  for (const Row& row : rows) {
    Spec spec = with_root();
    HostFacts facts = machine;
    row.change(spec);
    row.host(facts);
    const auto list = refusals(spec, facts);
    std::string all;
    for (const auto& line : list) all += line + "\n";
    INFO(row.field << ": " << row.words << "\nrefused:\n" << all);
    CHECK(list.size() == 1);
    // Each says what to try, in one line of plain words.
    for (const std::string& line : list) {
      const std::size_t hint = line.find("; hint: ");
      REQUIRE(hint != std::string::npos);
      CHECK(line.size() > hint + 12);
      CHECK(line.back() != '.');
      CHECK(line.find('\n') == std::string::npos);
    }
    CHECK(std::ranges::any_of(list, [&](const std::string& line) {
      return line.starts_with(row.field + ": ") && line.find(row.words) != std::string::npos;
    }));
  }
}

void check_root(const std::vector<Row>& rows) { check(test::root_on_v2(), rows); }
void check_user(const std::vector<Row>& rows) { check(test::user_with_subids(), rows); }

template <class M>
auto mount(M m) {
  return [m](Spec& s) { s.mounts = {m}; };
}
auto sysctl(std::string name) {
  return [name](Spec& s) { s.security.sysctls = {{name, "1"}}; };
}
auto node(DeviceNode n) {
  return [n](Spec& s) {
    s.security.allow |= Allow::devices;
    s.devices.nodes = {n};
  };
}
auto idmap(std::vector<IdRange> uids, std::vector<IdRange> gids) {
  return [=](Spec& s) { s.idmap = {.kind = IdMap::ranges, .uids = uids, .gids = gids}; };
}
void kernel_5_10(HostFacts& f) { f = test::with_kernel(f, 5, 10); }
void kernel_5_4(HostFacts& f) { f = test::with_kernel(f, 5, 4); }
void no_sys_resource(HostFacts& f) { f.effective_caps &= ~(std::uint64_t{1} << 24U); }

const std::vector<IdRange> usual_map = {{0, 100000, 65536}};

}  // namespace

TEST_CASE("the defaults need no token on any machine", "[plan]") {
  for (const auto& host : test::all_hosts()) {
    INFO(host.name);
    Spec spec;
    CHECK(refusals(spec, host.facts).empty());
    spec.root.ephemeral = true;
    if (host.facts.kernel_at_least(5, 19)) CHECK(refusals(spec, host.facts).empty());
    spec.root = {.path = "/srv/root"_host};
    CHECK(refusals(spec, host.facts).empty());
    spec.root.read_only = true;
    CHECK(refusals(spec, host.facts).empty());
    spec.idmap.kind = IdMap::single;
    CHECK(refusals(spec, host.facts).empty());
    spec.process.stdio = Stdio::pty;
    spec.mounts = {Bind{.source = "/etc/resolv.conf"_host, .target = "/etc/resolv.conf"_guest},
                   Tmpfs{.target = "/tmp"_guest}, CgroupMount{}};
    CHECK(refusals(spec, host.facts).empty());
  }
}

TEST_CASE("every refusal of a Spec is told at once", "[plan]") {
  Spec spec = with_root();
  spec.name = "";
  spec.process.argv = {};
  spec.mounts = {Bind{.source = "relative"_host, .target = "/x"_guest}};
  const auto plan = compile(spec, test::root_on_v2());
  REQUIRE_FALSE(plan);
  CHECK(plan.error().is(Errc::bad_spec));
  CHECK(plan.error().subject.starts_with("name: "));
  REQUIRE(plan.error().also.size() == 2);
  CHECK(plan.error().also[0].starts_with("process.argv: "));
  CHECK(plan.error().also[1].starts_with("mounts[0].source: "));
}

TEST_CASE("names are refused that are none", "[plan]") {
  check_root({
      {"name", "0 characters", [](Spec& s) { s.name = ""; }},
      {"name", "65 characters", [](Spec& s) { s.name = std::string(65, 'a'); }},
      {"name", "'a/b'", [](Spec& s) { s.name = "a/b"; }},
      {"name", "'.a'", [](Spec& s) { s.name = ".a"; }},
      {"name", "'-a'", [](Spec& s) { s.name = "-a"; }},
      {"name", "no name", [](Spec& s) { s.name = nul; }},
      {"hostname", "65 bytes", [](Spec& s) { s.hostname = std::string(65, 'a'); }},
      {"hostname", "NUL", [](Spec& s) { s.hostname = nul; }},
      {"hostname", "line end", [](Spec& s) { s.hostname = "a\nb"; }},
      {"hostname", "uts namespace",
       [](Spec& s) {
         s.hostname = "a";
         s.join = {{Namespace::uts, Pid{7}}};
       }},
      {"domainname", "65 bytes", [](Spec& s) { s.domainname = std::string(65, 'a'); }},
      {"domainname", "NUL", [](Spec& s) { s.domainname = nul; }},
  });
  Spec longest = with_root();
  longest.name = std::string(64, 'a');
  longest.hostname = std::string(64, 'b');
  CHECK(refusals(longest, test::root_on_v2()).empty());
}

TEST_CASE("roots are refused that cannot be", "[plan]") {
  check_root({
      {"root.path", "not absolute", [](Spec& s) { s.root.path = "srv/root"_host; }},
      {"root.path", "NUL", [](Spec& s) { s.root.path = HostPath("/" + nul); }},
      {"root.path", "4096 bytes",
       [](Spec& s) { s.root.path = HostPath("/" + std::string(4095, 'a')); }},
      {"root.path", "'..'", [](Spec& s) { s.root.path = "/srv/.."_host; }},
      {"root.path", "an image (root.image) as well",
       [](Spec& s) { s.root.image.path = "/srv/image"_host; }},
      {"root.image.path", "not absolute",
       [](Spec& s) { s.root = {.image = {.path = "image"_host}}; }},
      {"root.image.path", "is empty", [](Spec& s) { s.root.image.type = "ext4"; }},
      {"root.image.type", "no file system",
       [](Spec& s) { s.root = {.image = {.path = "/i"_host, .type = "a/b"}}; }},
      {"root.image.options[0]", "ro is said elsewhere",
       [](Spec& s) { s.root = {.image = {.path = "/i"_host, .options = {"ro"}}}; }},
      {"root.image.options[1]", "no option",
       [](Spec& s) {
         s.root = {.image = {.path = "/i"_host, .options = {"noatime", "=1"}}};
       }},
      {"root.lower", "of an ephemeral root", [](Spec& s) { s.root.lower = {"/srv/low"_host}; }},
      {"root.lower[0]", "not absolute",
       [](Spec& s) { s.root = {.path = "/a"_host, .ephemeral = true, .lower = {"b"_host}}; }},
      {"root.lower", "are not shifted",
       [](Spec& s) {
         s.idmap = {.kind = IdMap::ranges, .uids = usual_map, .gids = usual_map};
         s.root.ephemeral = s.root.idmapped = true;
         s.root.lower = {"/srv/low"_host};
       }},
      {"root.upper", "not absolute",
       [](Spec& s) {
         s.root.ephemeral = true;
         s.root.upper = "u"_host;
         s.root.work = "/w"_host;
       }},
      {"root.work", "not absolute",
       [](Spec& s) {
         s.root.ephemeral = true;
         s.root.upper = "/u"_host;
         s.root.work = "w"_host;
       }},
      {"root.work", "is missing",
       [](Spec& s) {
         s.root.ephemeral = true;
         s.root.upper = "/u"_host;
       }},
      {"root.upper", "is missing",
       [](Spec& s) {
         s.root.ephemeral = true;
         s.root.work = "/w"_host;
       }},
      {"root.upper", "which this is not",
       [](Spec& s) {
         s.root.upper = "/u"_host;
         s.root.work = "/w"_host;
       }},
      {"root.size", "no upper layer", [](Spec& s) { s.root.size = 1_MiB; }},
      {"root.upper", "host's own",
       [](Spec& s) { s.root = {.ephemeral = true, .upper = "/u"_host, .work = "/w"_host}; }},
      {"root.read_only", "host's own",
       [](Spec& s) { s.root = {.path = "//."_host, .read_only = true, .ephemeral = true}; }},
      {"root.idmapped", "host's own", [](Spec& s) { s.root = {.idmapped = true}; }},
      {"root.idmapped", "no id map", [](Spec& s) { s.root.idmapped = true; }},
      {"root.idmapped", "Linux 5.12",
       [](Spec& s) {
         s.root.idmapped = true;
         s.idmap.kind = IdMap::subids;
       },
       kernel_5_10},
      {"root.ephemeral", "Linux 5.19",
       [](Spec& s) {
         s.root.idmapped = s.root.ephemeral = true;
         s.idmap.kind = IdMap::subids;
       },
       [](HostFacts& f) { f = test::root_on_5_15(); }},
      {"root", "mount namespace",
       [](Spec& s) {
         s.namespaces -= Namespace::mount;
         s.security.allow = Allow::host_mounts;
       }},
  });
  check_user({
      {"root.idmapped", "CAP_SYS_ADMIN", [](Spec& s) { s.root.idmapped = true; }},
      {"root.image", "unsquashfs",
       [](Spec& s) { s.root = {.image = {.path = "/srv/image"_host}}; }},
      {"root.ephemeral", "Linux 5.11", [](Spec& s) { s.root.ephemeral = true; }, kernel_5_10},
  });
}

TEST_CASE("commands and environments are refused that execve cannot take", "[plan]") {
  const std::string longest(131071, 'a');
  check_root({
      {"process.argv", "is empty", [](Spec& s) { s.process.argv = {}; }},
      {"process.argv", "empty word",
       [](Spec& s) {
         s.process.argv = {"", "a"};
       }},
      {"process.argv[1]", "NUL",
       [](Spec& s) {
         s.process.argv = {"a", nul};
       }},
      {"process.argv[1]", "131072 bytes",
       [&](Spec& s) {
         s.process.argv = {"a", longest + "a"};
       }},
      {"process.argv", "6 MiB", [&](Spec& s) { s.process.argv.resize(50, longest); }},
      {"process.env[0]", "no '='", [](Spec& s) { s.process.env = {"PATH"}; }},
      {"process.env[1]", "no name",
       [](Spec& s) {
         s.process.env = {"A=", "=b"};
       }},
      {"process.env[0]", "NUL", [](Spec& s) { s.process.env = {"A=" + nul}; }},
      {"process.env[0]", "131072 bytes",
       [&](Spec& s) { s.process.env = {"A" + longest.substr(1) + "="}; }},
      {"process.cwd", "is empty", [](Spec& s) { s.process.cwd = {}; }},
      {"process.cwd", "not absolute", [](Spec& s) { s.process.cwd = "home"_guest; }},
      {"process.cwd", "'..'", [](Spec& s) { s.process.cwd = "/home/../etc"_guest; }},
      {"process.cwd", "NUL", [](Spec& s) { s.process.cwd = GuestPath("/" + nul); }},
  });
  Spec fits = with_root();
  fits.process.argv = {"a", longest};
  CHECK(refusals(fits, test::root_on_v2()).empty());
}

TEST_CASE("ids are refused that the container does not have", "[plan]") {
  check_root({
      {"process.uid", "no id", [](Spec& s) { s.process.uid = {0xffffffffU}; }},
      {"process.gid", "no id", [](Spec& s) { s.process.gid = {0xffffffffU}; }},
      {"process.groups[1]", "no id",
       [](Spec& s) {
         s.process.groups = {{5}, {0xffffffffU}};
       }},
      {"process.groups", "65537 groups", [](Spec& s) { s.process.groups.resize(65537); }},
      {"process.uid", "65536 is not in",
       [](Spec& s) {
         s.idmap.kind = IdMap::subids;
         s.process.uid = {65536};
       }},
      {"process.gid", "5 is not in",
       [](Spec& s) {
         idmap(usual_map, {{0, 100000, 5}})(s);
         s.process.gid = {5};
       }},
      {"process.groups[0]", "5 is not in",
       [](Spec& s) {
         idmap(usual_map, {{0, 100000, 5}})(s);
         s.process.groups = {{5}};
       }},
      {"process.uid", "0 is not in", idmap({{1, 100001, 10}}, usual_map)},
  });
  check(test::user_alone(),
        {
            {"process.groups", "setgroups", [](Spec& s) { s.process.groups = {{0}}; }},
        });
}

TEST_CASE("streams and descriptors are refused that cannot be passed", "[plan]") {
  const auto passed = [](std::vector<PassedFd> list) {
    return [list](Spec& s) { s.process.descriptors = list; };
  };
  check_root({
      {"process.stdio.in", "for output", [](Spec& s) { s.process.stdio.in = Stream::capture; }},
      {"process.stdio.in", "no descriptor", [](Spec& s) { s.process.stdio.in = HostFd{}; }},
      {"process.stdio.out", "no descriptor", [](Spec& s) { s.process.stdio.out = HostFd{-5}; }},
      {"process.stdio.err", "no descriptor", [](Spec& s) { s.process.stdio.err = HostFd{}; }},
      {"process.descriptors[0]", "not 3 or more", passed({{.host = {5}, .number = 2}})},
      {"process.descriptors[0]", "not 3 or more", passed({{.host = {5}, .number = -1}})},
      {"process.descriptors[0]", "no descriptor", passed({{.host = {-1}, .number = 3}})},
      {"process.descriptors[1]", "given twice",
       passed({{.host = {5}, .number = 3}, {.host = {6}, .number = 3}})},
      {"process.descriptors[0]", "32767", passed({{.host = {5}, .number = 32768}})},
      {"process.descriptors[0]", "the last descriptor, 99",
       [](Spec& s) {
         s.process.descriptors = {{.host = {5}, .number = 100}};
         s.process.rlimits = {{Rlimit::nofile, 100, 200}};
       }},
      {"spec", "at most 256",
       [](Spec& s) {
         for (int i = 3; i < 303; ++i) s.process.descriptors.push_back({.host = {5}, .number = i});
       }},
  });
}

TEST_CASE("limits and scheduling are refused that the kernel would refuse", "[plan]") {
  const auto limit = [](RlimitSetting l) { return [l](Spec& s) { s.process.rlimits = {l}; }; };
  check_root({
      {"process.umask", "beyond", [](Spec& s) { s.process.umask = Mode{01000}; }},
      {"process.oom_score_adj", "-1001", [](Spec& s) { s.process.oom_score_adj = -1001; }},
      {"process.oom_score_adj", "1001", [](Spec& s) { s.process.oom_score_adj = 1001; }},
      {"process.proc_files[0]", "'' is not the name",
       [](Spec& s) {
         s.process.proc_files = {{"", "1"}};
       }},
      {"process.proc_files[0]", "'root/etc' is not the name",
       [](Spec& s) {
         s.process.proc_files = {{"root/etc", "1"}};
       }},
      {"process.proc_files[0]", "'..' is not the name",
       [](Spec& s) {
         s.process.proc_files = {{"..", "1"}};
       }},
      {"process.proc_files[0]", "has 4096 bytes",
       [](Spec& s) {
         s.process.proc_files = {{"comm", std::string(4096, 'x')}};
       }},
      {"terminal.log_size", "there is no log",
       [](Spec& s) {
         s.terminal.console = true;
         s.terminal.log_size = 8_KiB;
       }},
      {"terminal.log_rotate", "is never full",
       [](Spec& s) {
         s.terminal.console = true;
         s.terminal.log = "/var/log/x"_host;
         s.terminal.log_rotate = true;
       }},
      {"terminal.log_size", "full at once",
       [](Spec& s) {
         s.terminal.console = true;
         s.terminal.log = "/var/log/x"_host;
         s.terminal.log_size = 4095_B;
       }},
      {"process.proc_files[0]", "has 0 bytes",
       [](Spec& s) {
         s.process.proc_files = {{"comm", ""}};
       }},
      {"security.apparmor_rules", "no profile of its own",
       [](Spec& s) { s.security.apparmor_rules = {"deny mount,"}; }},
      {"lifecycle.own_boot_id", "a /dev of the container's own",
       [](Spec& s) {
         s.lifecycle.own_boot_id = true;
         s.devices.populate = false;
       }},
      {"process.death_signal", "1 to 64", [](Spec& s) { s.process.death_signal = {0}; }},
      {"process.death_signal", "1 to 64", [](Spec& s) { s.process.death_signal = {65}; }},
      {"lifecycle.stop_signal", "1 to 64", [](Spec& s) { s.lifecycle.stop_signal = {0}; }},
      {"lifecycle.halt_signal", "1 to 64", [](Spec& s) { s.lifecycle.halt_signal = {65}; }},
      {"lifecycle.reboot_signal", "1 to 64", [](Spec& s) { s.lifecycle.reboot_signal = {-1}; }},
      {"lifecycle.stop_timeout", "less than nothing",
       [](Spec& s) { s.lifecycle.stop_timeout = -1s; }},
      {"lifecycle.freezable", "is a cgroup",
       [](Spec& s) {
         s.lifecycle.freezable = true;
         s.resources.cgroup = CgroupMode::never;
       }},
      {"lifecycle.freezable", "can freeze", [](Spec& s) { s.lifecycle.freezable = true; },
       [](HostFacts& f) { f.cgroups.clear(); }},
      {"lifecycle.restart", "no policy 9",
       [](Spec& s) { s.lifecycle.restart = static_cast<Restart>(9); }},
      {"lifecycle.restart_window", "within some time",
       [](Spec& s) { s.lifecycle = {.restart = Restart::always, .restart_window = 0s}; }},
      {"lifecycle.restart", "none of its own",
       [](Spec& s) {
         s.lifecycle.restart = Restart::on_reboot;
         s.namespaces -= Namespace::pid;
         s.security.allow |= Allow::host_pids;
       }},
      {"process.rlimits[0]", "above the hard", limit({Rlimit::nofile, 10, 9})},
      {"process.rlimits[1]", "twice",
       [](Spec& s) {
         s.process.rlimits = {{Rlimit::core, 0, 0}, {Rlimit::core, 0, 0}};
       }},
      {"process.rlimits[0]", "CAP_SYS_RESOURCE", limit({Rlimit::nofile, 1, 524289}),
       [](HostFacts& f) {
         no_sys_resource(f);
         f.uid = {0};
       }},
      {"process.rlimits[0]", "'memlock' above 8388608",
       [](Spec& s) {
         s.idmap.kind = IdMap::subids;
         s.process.rlimits = {{Rlimit::memlock, 0, RlimitSetting::unlimited}};
       }},
      {"process.scheduling.priority", "1 to 99",
       [](Spec& s) { s.process.scheduling.policy = SchedPolicy::fifo; }},
      {"process.scheduling.priority", "100",
       [](Spec& s) {
         s.process.scheduling = {.policy = SchedPolicy::round_robin, .priority = 100};
       }},
      {"process.scheduling.priority", "'batch' has no priority",
       [](Spec& s) { s.process.scheduling = {.policy = SchedPolicy::batch, .priority = 1}; }},
      {"process.scheduling.nice", "-21", [](Spec& s) { s.process.scheduling.nice = -21; }},
      {"process.scheduling.nice", "20", [](Spec& s) { s.process.scheduling.nice = 20; }},
      {"process.scheduling.cpus", "8192",
       [](Spec& s) {
         s.process.scheduling.cpus = {0, 8192};
       }},
  });
  check_user({
      {"process.rlimits[0]", "524288", limit({Rlimit::nofile, 1, 524289})},
      {"process.scheduling.priority", "CAP_SYS_NICE",
       [](Spec& s) { s.process.scheduling = {.policy = SchedPolicy::fifo, .priority = 1}; }},
  });
  // What is permitted is not refused: raising by root, and what RLIMIT_RTPRIO says.
  Spec raise = with_root();
  raise.process.rlimits = {{Rlimit::nofile, 1000000, 1000000}};
  raise.process.scheduling = {.policy = SchedPolicy::fifo, .priority = 50};
  CHECK(refusals(raise, test::root_on_v2()).empty());
  HostFacts realtime = test::user_with_subids();
  realtime.rlimits[14] = {50, 50};
  raise.process.rlimits = {};
  CHECK(refusals(raise, realtime).empty());
}

TEST_CASE("terminals are refused that cannot be opened", "[plan]") {
  check_root({
      {"terminal.ttys", "64", [](Spec& s) { s.terminal.ttys = 65; }},
      {"terminal.tty_dir", "a/b", [](Spec& s) { s.terminal.tty_dir = "a/b"; }},
      {"terminal.tty_dir", "'..'", [](Spec& s) { s.terminal.tty_dir = ".."; }},
      {"terminal.tty_dir", "NUL", [](Spec& s) { s.terminal.tty_dir = nul; }},
      {"terminal.log", "no console", [](Spec& s) { s.terminal.log = "/var/log/x"_host; }},
      {"terminal.log", "not absolute",
       [](Spec& s) {
         s.terminal.console = true;
         s.terminal.log = "x"_host;
       }},
      {"terminal.console", "no devpts",
       [](Spec& s) {
         s.terminal.console = true;
         s.devices.populate = false;
       }},
      {"process.stdio", "no devpts",
       [](Spec& s) {
         s.process.stdio = Stdio::pty;
         s.mounts = {Tmpfs{.target = "/dev/pts/"_guest}};
       }},
      {"terminal.ttys", "2 terminals are wanted",
       [](Spec& s) {
         s.terminal.ttys = 2;
         s.mounts = {Devpts{.max = 1}};
       }},
      {"terminal.console", "mount namespace",
       [](Spec& s) {
         s.root = {};
         s.terminal.console = true;
         s.join = {{Namespace::mount, Pid{7}}};
       }},
  });
}

TEST_CASE("namespaces are refused that contradict", "[plan]") {
  const auto without = [](Namespace n) { return [n](Spec& s) { s.namespaces -= n; }; };
  const auto join = [](std::vector<Join> list) { return [list](Spec& s) { s.join = list; }; };
  check_root({
      {"namespaces", "Allow::host_network", without(Namespace::net)},
      {"namespaces", "'security.allow = host_pids' in a spec", without(Namespace::pid)},
      {"namespaces", "Allow::host_ipc", without(Namespace::ipc)},
      {"namespaces", "Allow::host_uts", without(Namespace::uts)},
      {"namespaces", "Allow::host_cgroup", without(Namespace::cgroup)},
      {"namespaces", "Allow::host_mounts",
       [](Spec& s) {
         s.root = {};
         s.namespaces -= Namespace::mount;
       }},
      {"namespaces", "bit20",
       [](Spec& s) { s.namespaces |= Flags<Namespace>::from_bits(1U << 20U); }},
      {"namespaces", "Linux 5.6", [](Spec& s) { s.namespaces |= Namespace::time; }, kernel_5_4},
      {"namespaces", "Linux 4.6", [](Spec&) {}, [](HostFacts& f) { f.namespaces_cgroup = false; }},
      {"time.monotonic", "time namespace", [](Spec& s) { s.time.monotonic = 1s; }},
      {"time.boottime", "time namespace", [](Spec& s) { s.time.boottime = -1s; }},
      {"time.boottime", "146 years",
       [](Spec& s) {
         s.namespaces |= Namespace::time;
         s.time.boottime = std::chrono::nanoseconds::min();
       }},
      {"join[1]", "twice", join({{Namespace::net, Pid{7}}, {Namespace::net, HostFd{5}}})},
      {"join[0]", "take it out of namespaces",
       [](Spec& s) {
         s.namespaces |= Namespace::time;
         s.join = {{Namespace::time, Pid{7}}};
       }},
      {"join[0]", "no process", join({{Namespace::net, Pid{0}}})},
      {"join[0]", "not absolute", join({{Namespace::net, "netns/x"_host}})},
      {"join[0]", "is empty", join({{Namespace::net, HostPath{}}})},
      {"join[0]", "NUL", join({{Namespace::net, HostPath("/" + nul)}})},
      {"join[0]", "no descriptor", join({{Namespace::net, HostFd{}}})},
      {"join", "procfs",
       [](Spec& s) {
         s.idmap.kind = IdMap::subids;
         s.join = {{Namespace::pid, Pid{7}}};
       }},
      {"idmap", "joined user namespace",
       [](Spec& s) {
         s.idmap.kind = IdMap::subids;
         s.join = {{Namespace::user, Pid{7}}};
       }},
      {"mounts", "mount namespace",
       [](Spec& s) {
         s.root = {};
         s.join = {{Namespace::mount, Pid{7}}};
         s.mounts = {Tmpfs{.target = "/x"_guest}};
       }},
  });
  check_user({
      {"join", "CAP_SYS_ADMIN", join({{Namespace::net, Pid{7}}})},
      {"idmap.kind", "CAP_SYS_ADMIN", [](Spec& s) { s.idmap.kind = IdMap::none; }},
      {"idmap", "no user namespace", [](Spec&) {}, [](HostFacts& f) { f.namespaces_user = false; }},
      {"process.oom_score_adj", "mount namespace",
       [](Spec& s) {
         s.root = {};
         s.namespaces -= Namespace::mount;
         s.security.allow = Allow::host_mounts;
         s.process.oom_score_adj = 500;
       }},
  });
  // A default set of namespaces is no wish for a new one of the joined kind.
  Spec joined = with_root();
  joined.join = {{Namespace::net, "/run/netns/x"_host}, {Namespace::ipc, Pid{7}}};
  CHECK(refusals(joined, test::root_on_v2()).empty());
  joined.join.push_back({Namespace::user, Pid{7}});
  CHECK(refusals(joined, test::user_with_subids()).empty());
}

TEST_CASE("id maps are refused that the kernel would refuse", "[plan]") {
  std::vector<IdRange> many;
  for (std::uint32_t i = 0; i < 341; ++i) many.push_back({i, 100000 + i, 1});
  check_root({
      {"idmap.uids", "'automatic'", [](Spec& s) { s.idmap.uids = usual_map; }},
      {"idmap.gids", "'single'",
       [](Spec& s) { s.idmap = {.kind = IdMap::single, .gids = usual_map}; }},
      {"idmap.uids", "is empty", idmap({}, usual_map)},
      {"idmap.gids", "is empty", idmap(usual_map, {})},
      {"idmap.uids[1]", "no ids", idmap({{0, 100000, 1}, {1, 100001, 0}}, usual_map)},
      {"idmap.gids[1]", "container ids", idmap(usual_map, {{0, 100000, 10}, {9, 200000, 1}})},
      {"idmap.uids[1]", "host ids", idmap({{0, 100000, 10}, {10, 99999, 2}}, usual_map)},
      {"idmap.uids[1]", "last id", idmap({{0, 100000, 1}, {5, 0xfffffff0U, 16}}, usual_map)},
      {"idmap.uids[1]", "last id", idmap({{0, 100000, 1}, {0xffffffffU, 5, 1}}, usual_map)},
      {"idmap.uids", "341 ranges", idmap(many, usual_map)},
      {"idmap.kind", "asks for a user namespace",
       [](Spec& s) {
         s.idmap.kind = IdMap::none;
         s.namespaces |= Namespace::user;
       }},
  });
  check_user({
      {"idmap.uids[1]", "/etc/subuid", idmap({{0, 1000, 1}, {1, 99999, 2}}, usual_map)},
      {"idmap.gids[0]", "/etc/subgid", idmap({{0, 1000, 1}}, {{0, 100001, 65536}})},
  });
  Spec granted = with_root();
  idmap({{0, 1000, 1}, {1, 100000, 65536}}, usual_map)(granted);
  CHECK(refusals(granted, test::user_with_subids()).empty());
}

TEST_CASE("mounts are refused that cannot be", "[plan]") {
  const auto target = [](const char* path) { return mount(Tmpfs{.target = GuestPath(path)}); };
  check_root({
      {"mounts[0].target", "is empty", target("")},
      {"mounts[0].target", "not absolute", target("tmp")},
      {"mounts[0].target", "'..'", target("/tmp/../etc")},
      {"mounts[0].target", "NUL", mount(Tmpfs{.target = GuestPath("/" + nul)})},
      {"mounts[0].target", "the root itself", target("//./")},
      {"mounts[2].target", "not absolute",
       [](Spec& s) {
         s.mounts = {Tmpfs{.target = "/a"_guest}, Tmpfs{.target = "/b"_guest},
                     Proc{.target = "c"_guest, .pids_only = true}};
       }},
      {"mounts[0].flags", "exclude",
       mount(Tmpfs{.target = "/x"_guest,
                   .flags = MountFlag::nodev | MountFlag::noatime | MountFlag::strictatime})},
      {"mounts[0].flags", "bit30",
       mount(Tmpfs{.target = "/x"_guest,
                   .flags = MountFlag::nodev | Flags<MountFlag>::from_bits(1U << 30U)})},
      {"mounts[0].flags", "Linux 5.14",
       mount(Tmpfs{.target = "/x"_guest, .flags = MountFlag::nodev | MountFlag::nosymfollow}),
       kernel_5_10},
      {"mounts[0].mode", "beyond", mount(Tmpfs{.target = "/x"_guest, .mode = {010000}})},
      {"mounts[0].source", "is missing", mount(Bind{.target = "/x"_guest})},
      {"mounts[0].inside", "as well",
       mount(Bind{.source = "/y"_host, .inside = "/y"_guest, .target = "/x"_guest})},
      {"mounts[0].inside", "'..'", mount(Bind{.inside = "/../y"_guest, .target = "/x"_guest})},
      {"mounts[0].idmapped", "the root's owners",
       mount(Bind{.inside = "/y"_guest, .target = "/x"_guest, .idmapped = true})},
      {"mounts[0].inside", "nothing of it is hidden",
       mount(Bind{.inside = "/proc/sys"_guest, .target = "/x"_guest})},
      {"mounts[0].net_writable", "a part of sysfs", mount(Sysfs{.net_writable = true})},
      {"mounts[0].source", "as well",
       mount(Bind{.source = "/a"_host, .source_fd = {5}, .target = "/x"_guest})},
      {"mounts[0].source", "not absolute", mount(Bind{.source = "a"_host, .target = "/x"_guest})},
      {"mounts[0].source", "NUL", mount(Bind{.source = HostPath("/" + nul), .target = "/x"_guest})},
      {"mounts[0].source_fd", "no descriptor",
       mount(Bind{.source_fd = {-2}, .target = "/x"_guest})},
      {"mounts[0].idmapped", "no id map",
       mount(Bind{.source = "/a"_host, .target = "/x"_guest, .idmapped = true})},
      {"mounts[0].idmapped", "Linux 5.12",
       [](Spec& s) {
         s.idmap.kind = IdMap::subids;
         s.mounts = {Bind{.source = "/a"_host, .target = "/x"_guest, .idmapped = true}};
       },
       kernel_5_10},
      {"mounts[0].pids_only", "Linux 5.8", mount(Proc{.pids_only = true}), kernel_5_4},
      {"mounts[0].hide_others", "Linux 5.8", mount(Proc{.hide_others = true}), kernel_5_4},
      {"mounts[0].pids_only", "host's procfs",
       [](Spec& s) {
         s.idmap.kind = IdMap::subids;
         s.namespaces -= Namespace::pid;
         s.security.allow = Allow::host_pids;
         s.mounts = {Proc{.pids_only = true}};
       }},
      {"mounts[0]", "ipc namespace",
       [](Spec& s) {
         s.idmap.kind = IdMap::subids;
         s.namespaces -= Namespace::ipc;
         s.security.allow = Allow::host_ipc;
         s.mounts = {Mqueue{.target = "/mq"_guest}};
       }},
      {"mounts[0]", "no cgroup hierarchy", mount(CgroupMount{}),
       [](HostFacts& f) { f.cgroups.clear(); }},
      {"mounts[0]", "'never'",
       [](Spec& s) {
         s.resources.cgroup = CgroupMode::never;
         s.mounts = {CgroupMount{}};
       }},
      {"mounts[0]", "cgroup namespace",
       [](Spec& s) {
         s.idmap.kind = IdMap::subids;
         s.namespaces -= Namespace::cgroup;
         s.security.allow = Allow::host_cgroup;
         s.mounts = {CgroupMount{}};
       }},
      {"mounts[0].flags", "host's cgroups",
       [](Spec& s) {
         s.namespaces -= Namespace::cgroup;
         s.security.allow = Allow::host_cgroup;
         s.mounts = {CgroupMount{.flags = {}}};
       }},
      {"mounts[0].own_writable", "nothing else to see", mount(CgroupMount{.own_writable = true})},
      {"mounts[0].own_writable", "all of it is writable",
       [](Spec& s) {
         s.namespaces -= Namespace::cgroup;
         s.security.allow = Allow::host_cgroup;
         s.mounts = {CgroupMount{.flags = {}, .own_writable = true}};
       }},
      {"mounts[0].own_writable", "must be there",
       [](Spec& s) {
         s.namespaces -= Namespace::cgroup;
         s.security.allow = Allow::host_cgroup;
         s.mounts = {CgroupMount{.own_writable = true, .common = {.optional = true}}};
       }},
      {"mounts[0].own_writable", "lift the limits",
       [](Spec& s) {
         s.namespaces -= Namespace::cgroup;
         s.security.allow = Allow::host_cgroup;
         s.resources.pids_max = 10;
         s.mounts = {CgroupMount{.own_writable = true}};
       }},
      {"mounts[0].max", "1048576", mount(Devpts{.max = 1048577})},
      {"mounts[0].max", "1 to", mount(Devpts{.max = 0})},
      {"mounts[0].ptmx", "not absolute", mount(Devpts{.ptmx = "dev/ptmx"_guest})},
      {"mounts[0].lower", "is empty", mount(Overlay{.target = "/x"_guest, .ephemeral = true})},
      {"mounts[0].lower", "one layer", mount(Overlay{.target = "/x"_guest, .lower = {"/a"_host}})},
      {"mounts[0].lower[1]", "not absolute",
       mount(Overlay{.target = "/x"_guest, .lower = {"/a"_host, "b"_host}})},
      {"mounts[0].lower[0]", "is empty",
       mount(Overlay{.target = "/x"_guest, .lower = {{}, "/b"_host}})},
      {"mounts[0].work", "is missing",
       mount(Overlay{.target = "/x"_guest, .lower = {"/a"_host}, .upper = "/u"_host})},
      {"mounts[0].upper", "is missing",
       mount(Overlay{.target = "/x"_guest, .lower = {"/a"_host, "/b"_host}, .work = "/w"_host})},
      {"mounts[0].upper", "its own",
       mount(Overlay{.target = "/x"_guest,
                     .lower = {"/a"_host},
                     .upper = "/u"_host,
                     .work = "/w"_host,
                     .ephemeral = true})},
      {"mounts[0].size", "no upper layer",
       mount(Overlay{.target = "/x"_guest, .lower = {"/a"_host, "/b"_host}, .size = 1_MiB})},
      {"mounts[0].lower", "501 layers",
       [](Spec& s) {
         s.mounts = {Overlay{.target = "/x"_guest, .lower = std::vector<HostPath>(501, "/a"_host)}};
       }},
      {"mounts[0].type", "is empty", mount(FsMount{.target = "/x"_guest})},
      {"mounts[0].type", "no file system", mount(FsMount{.type = "a/b", .target = "/x"_guest})},
      {"mounts[0].type", "NUL", mount(FsMount{.type = nul, .target = "/x"_guest})},
      {"mounts[0].source", "NUL",
       mount(FsMount{.type = "ext4", .source = nul, .target = "/x"_guest})},
      {"mounts[0].options[1]", "no option",
       mount(FsMount{.type = "ext4", .options = {"a", ""}, .target = "/x"_guest})},
      {"mounts[0].options[0]", "NUL",
       mount(FsMount{.type = "ext4", .options = {nul}, .target = "/x"_guest})},
      {"mounts[0].path", "is empty", mount(ImageMount{.target = "/x"_guest})},
      {"mounts[0].path", "not absolute",
       mount(ImageMount{.image = {.path = "a"_host}, .target = "/x"_guest})},
      {"mounts[0].options[0]", "said elsewhere",
       mount(ImageMount{.image = {.path = "/a"_host, .options = {"ro"}}, .target = "/x"_guest})},
      {"mounts[0].upper", "ephemeral",
       mount(ImageMount{.image = {.path = "/a"_host},
                        .target = "/x"_guest,
                        .upper = "/u"_host,
                        .work = "/w"_host})},
      {"mounts[0].work", "is missing",
       mount(ImageMount{.image = {.path = "/a"_host},
                        .target = "/x"_guest,
                        .ephemeral = true,
                        .upper = "/u"_host})},
      {"mounts[0].size", "no upper layer",
       mount(ImageMount{.image = {.path = "/a"_host}, .target = "/x"_guest, .size = 1_MiB})},
      {"mounts[0].idmapped", "no id map",
       mount(ImageMount{.image = {.path = "/a"_host}, .target = "/x"_guest, .idmapped = true})},
      {"mounts[0].content", "65537 bytes",
       mount(FileMount{.target = "/x"_guest, .content = std::string(65537, 'a')})},
      {"mounts[0].content", "NUL", mount(FileMount{.target = "/x"_guest, .content = nul})},
      {"mounts[0].mode", "", mount(FileMount{.target = "/x"_guest, .mode = {010000}})},
  });
  check_user({
      {"mounts[0].idmapped", "CAP_SYS_ADMIN",
       mount(Bind{.source = "/a"_host, .target = "/x"_guest, .idmapped = true})},
      {"mounts[0]", "Linux 5.11",
       mount(Overlay{.target = "/x"_guest, .lower = {"/a"_host, "/b"_host}}), kernel_5_10},
  });
}

TEST_CASE("device nodes are refused that cannot be", "[plan]") {
  check_root({
      {"devices.nodes", "Allow::devices", [](Spec& s) { s.devices.nodes = {{.name = "fuse"}}; }},
      {"default_mounts", "the host's own: /proc, /sys",
       [](Spec& s) {
         s.root.path = {};
         s.default_mounts = false;
       }},
      {"default_mounts", "the host's own: /sys",
       [](Spec& s) {
         s.root.path = {};
         s.default_mounts = false;
         s.mounts = {Proc{}};
       }},
      {"devices.nodes", "devices.populate",
       [](Spec& s) {
         node({.name = "fuse"})(s);
         s.devices.populate = false;
       }},
      {"devices.nodes", "takes the place",
       [](Spec& s) {
         node({.name = "fuse"})(s);
         s.mounts = {Tmpfs{.target = "/dev"_guest}};
       }},
      {"devices.nodes[0]", "no name", node({.name = ""})},
      {"devices.nodes[0]", "no name", node({.name = "/fuse"})},
      {"devices.nodes[0]", "no name", node({.name = "a/../../b"})},
      {"devices.nodes[0]", "no name", node({.name = "net/"})},
      {"devices.nodes[0]", "NUL", node({.name = nul})},
      {"devices.nodes[0]", "there already", node({.name = "null"})},
      {"devices.nodes[0]", "there already", node({.name = "pts/0"})},
      {"devices.nodes[0]", "4095", node({.name = "x", .major = 4096})},
      {"devices.nodes[0]", "1048575", node({.name = "x", .minor = 1048576})},
      {"devices.nodes[0]", "beyond", node({.name = "x", .mode = {010000}})},
      {"devices.nodes[0]", "no id", node({.name = "x", .uid = {0xffffffffU}})},
      {"devices.nodes[1]", "twice",
       [](Spec& s) {
         s.security.allow = Allow::devices;
         s.devices.nodes = {{.name = "net/tun"}, {.name = "net//tun"}};
       }},
  });
}

TEST_CASE("resources are refused that no cgroup can have", "[plan]") {
  const auto with = [](auto change) { return [change](Spec& s) { change(s.resources); }; };
  const auto never = [](auto change) {
    return [change](Spec& s) {
      s.resources.cgroup = CgroupMode::never;
      change(s.resources);
    };
  };
  const auto setting = [](std::string file, std::string value) {
    return [=](Spec& s) { s.resources.settings = {{file, value}}; };
  };
  check_root({
      {"resources.memory_max", "'never'", never([](Resources& r) { r.memory_max = 1_MiB; })},
      {"resources.memory_high", "'never'", never([](Resources& r) { r.memory_high = 1_MiB; })},
      {"resources.memory_swap_max", "'never'",
       never([](Resources& r) { r.memory_swap_max = 0_B; })},
      {"resources.pids_max", "'never'", never([](Resources& r) { r.pids_max = 5; })},
      {"resources.cpus", "'never'", never([](Resources& r) { r.cpus = 1; })},
      {"resources.cpu_weight", "'never'", never([](Resources& r) { r.cpu_weight = 1; })},
      {"resources.cpuset_cpus", "'never'", never([](Resources& r) { r.cpuset_cpus = "0"; })},
      {"resources.cpuset_mems", "'never'", never([](Resources& r) { r.cpuset_mems = "0"; })},
      {"resources.settings", "'never'", never([](Resources& r) {
         r.settings = {{"memory.high", "1"}};
       })},
      {"resources.memory_max", "no memory", with([](Resources& r) { r.memory_max = 0_B; })},
      {"resources.memory_high", "no memory", with([](Resources& r) { r.memory_high = 0_B; })},
      {"resources.memory_swap_max", "overflows", with([](Resources& r) {
         r.memory_max = 1_GiB;
         r.memory_swap_max = Bytes{~std::uint64_t{0}};
       })},
      {"resources.pids_max", "1 to", with([](Resources& r) { r.pids_max = 0; })},
      {"resources.pids_max", "4194304", with([](Resources& r) { r.pids_max = 4194305; })},
      {"resources.cpus", "above 0", with([](Resources& r) { r.cpus = 0; })},
      {"resources.cpus", "above 0", with([](Resources& r) { r.cpus = -1; })},
      {"resources.cpus", "8192", with([](Resources& r) { r.cpus = 1e300; })},
      {"resources.cpus", "nan", with([](Resources& r) { r.cpus = std::nan(""); })},
      {"resources.cpus", "inf",
       with([](Resources& r) { r.cpus = std::numeric_limits<double>::infinity(); })},
      {"resources.cpu_weight", "10000", with([](Resources& r) { r.cpu_weight = 0; })},
      {"resources.cpu_weight", "10001", with([](Resources& r) { r.cpu_weight = 10001; })},
      {"resources.cpuset_cpus", "'a'", with([](Resources& r) { r.cpuset_cpus = "0,a"; })},
      {"resources.cpuset_cpus", "''", with([](Resources& r) { r.cpuset_cpus = "0,"; })},
      {"resources.cpuset_cpus", "backwards", with([](Resources& r) { r.cpuset_cpus = "2-1"; })},
      {"resources.cpuset_cpus", "8191", with([](Resources& r) { r.cpuset_cpus = "0-8192"; })},
      {"resources.cpuset_mems", "'-1'", with([](Resources& r) { r.cpuset_mems = "-1"; })},
      {"resources.settings[0]", "no file", setting("memory/../x", "1")},
      {"resources.settings[0]", "no file", setting("tasks", "0")},
      {"resources.settings[0]", "NUL", setting("memory." + nul, "1")},
      {"resources.settings[0]", "NUL", setting("memory.high", nul)},
      {"resources.settings[0]", "not for a spec", setting("cgroup.procs", "0")},
      {"resources.settings[0]", "not for a spec", setting("cgroup.freeze", "1")},
      {"resources.settings[0]", "controller 'hugetlb'", setting("hugetlb.2MB.max", "1")},
      {"resources", "Linux 5.7", with([](Resources& r) { r.pids_max = 5; }), kernel_5_4},
  });
  check(test::root_on_hybrid(),
        {
            {"resources.memory_high", "v1", with([](Resources& r) { r.memory_high = 1_MiB; })},
            {"resources.memory_swap_max", "together",
             with([](Resources& r) { r.memory_swap_max = 1_MiB; })},
        });
  check_user({
      {"resources.pids_max", "may not make cgroups", with([](Resources& r) { r.pids_max = 5; })},
  });
}

TEST_CASE("what opens a container needs its token", "[plan]") {
  const auto capability = [](Capability c) {
    return [c](Spec& s) { s.security.capabilities.add(c); };
  };
  const std::vector<Row> rows = {
      {"security.no_new_privs", "Allow::new_privileges",
       [](Spec& s) { s.security.no_new_privs = false; }},
      {"security.capabilities", "net_admin; hint: add Allow::capabilities",
       capability(Capability::net_admin)},
      {"security.masked_paths", "/proc/kcore",
       [](Spec& s) { std::erase(s.security.masked_paths, "/proc/kcore"_guest); }},
      {"security.read_only_paths", "Allow::unmasked_kernel",
       [](Spec& s) { std::erase(s.security.read_only_paths, "/proc/sys"_guest); }},
      {"mounts[0].flags", "Allow::unmasked_kernel", mount(Sysfs{.flags = MountFlag::nodev})},
      {"mounts[0].target", "/proc2/kcore", mount(Proc{.target = "/proc2"_guest})},
      {"mounts[0].target", "/s/firmware", mount(Sysfs{.target = "/s"_guest})},
      {"mounts[0].source", "Allow::unmasked_kernel",
       mount(Bind{.source = "/proc/sys"_host, .target = "/x"_guest})},
      {"mounts[0].source", "/x/kcore", mount(Bind{.source = "/proc"_host, .target = "/x"_guest})},
      {"mounts[0].source", "/x/firmware", mount(Bind{.source = "/sys"_host, .target = "/x"_guest})},
      {"mounts[0].source", "Allow::unmasked_kernel",
       mount(Bind{.source = "/"_host, .target = "/x"_guest, .recursive = true})},
      {"mounts[0].flags", "Allow::unmasked_kernel",
       mount(Bind{.source = "/sys/class"_host, .target = "/x"_guest, .flags = MountFlag::nodev})},
      {"mounts[0].flags", "Allow::host_root_writable",
       mount(Bind{.source = "/usr/.."_host, .target = "/x"_guest, .flags = MountFlag::nodev})},
      {"mounts[0].flags", "Allow::devices",
       mount(Bind{.source = "/a"_host, .target = "/x"_guest, .flags = MountFlag::read_only})},
      {"mounts[0].flags", "Allow::devices", mount(Tmpfs{.target = "/x"_guest, .flags = {}})},
      {"mounts[0].flags", "Allow::devices",
       mount(Overlay{.target = "/x"_guest, .lower = {"/a"_host}, .ephemeral = true, .flags = {}})},
      {"mounts[0].flags", "Allow::devices",
       mount(FsMount{.type = "ext4", .target = "/x"_guest, .flags = {}})},
      {"mounts[0].type", "Allow::devices",
       mount(FsMount{.type = "devtmpfs", .target = "/x"_guest})},
      {"mounts[0].type", "Allow::unmasked_kernel",
       mount(FsMount{.type = "debugfs", .target = "/x"_guest})},
      {"mounts[0].target", "Allow::unmasked_kernel",
       mount(FsMount{.type = "proc", .target = "/x"_guest})},
      {"mounts[0].flags", "Allow::unmasked_kernel",
       mount(FsMount{.type = "sysfs", .target = "/sys"_guest})},
      {"devices.nodes", "Allow::devices", [](Spec& s) { s.devices.nodes = {{.name = "fuse"}}; }},
      {"mounts[0].flags", "Allow::own_limits",
       [](Spec& s) {
         s.mounts = {CgroupMount{.flags = MountFlag::nodev}};
         s.resources.memory_max = 64_MiB;
       }},
      {"mounts[0].flags", "Allow::own_limits",
       [](Spec& s) {
         s.mounts = {CgroupMount{.flags = MountFlag::nodev}};
         s.resources.settings = {{.file = "pids.max", .value = "7"}};
         s.idmap.kind = IdMap::single;
       }},
      {"mounts[0].flags", "Allow::own_limits",
       [](Spec& s) {
         s.mounts = {FsMount{
             .type = "cgroup2", .target = "/sys/fs/cgroup"_guest, .flags = MountFlag::nodev}};
         s.resources.pids_max = 5;
       }},
  };
  check_root(rows);
  // With the token that its hint says, each is taken.
  for (const Row& row : rows) {
    Spec spec = with_root();
    row.change(spec);
    for (const auto& [token, name] : EnumNames<Allow>::table)
      for (const auto& line : refusals(spec, test::root_on_v2()))
        if (line.find("'security.allow = " + std::string(name) + "'") != std::string::npos)
          spec.security.allow |= token;
    INFO(row.field << ": " << row.words);
    CHECK_FALSE(spec.security.allow.empty());
    CHECK(refusals(spec, test::root_on_v2()).empty());
  }
  // Nor is a token asked for where the kernel, or an id map, keeps the limits from the container.
  Spec limited = with_root();
  limited.mounts = {CgroupMount{.flags = MountFlag::nodev}};
  HostFacts keeps = test::root_on_v2();
  CHECK(refusals(limited, keeps).empty());
  limited.resources.pids_max = 5;
  limited.idmap.kind = IdMap::subids;
  CHECK(refusals(limited, keeps).empty());
  limited.idmap.kind = IdMap::none;
  CHECK(refusals(limited, keeps).size() == 1);
  keeps.mounts.push_back({.id = 30,
                          .parent = 24,
                          .root = "/",
                          .target = "/sys/fs/cgroup",
                          .options = "rw",
                          .type = "cgroup2",
                          .source = "cgroup2",
                          .super_options = "rw,nsdelegate,memory_recursiveprot"});
  CHECK(refusals(limited, keeps).size() == 1);
  // Hidden elsewhere as at the usual place, nothing is open.
  Spec again = with_root();
  again.mounts = {Proc{.target = "/proc2"_guest},
                  Proc{.target = "/proc3"_guest, .pids_only = true}};
  again.security.masked_paths.push_back("/proc2"_guest);
  CHECK(refusals(again, test::root_on_v2()).empty());
}

TEST_CASE("capabilities are refused that cannot be given", "[plan]") {
  const auto all = [](Spec& s) {
    s.security.capabilities = CapabilitySet::all();
    s.security.allow = Allow::capabilities | Allow::real_root | Allow::devices;
    s.devices.filter = DeviceFilter::never;  // which would need a cgroup
  };
  check_root({
      {"security.capabilities", "bit50",
       [](Spec& s) {
         s.security.capabilities = CapabilitySet::from_bits(std::uint64_t{1} << 50U);
       }},
      {"security.capabilities", "Allow::real_root",
       [](Spec& s) {
         s.security.capabilities.add(Capability::sys_admin);
         s.security.allow = Allow::capabilities;
       }},
      {"security.capabilities", "this kernel has no perfmon, bpf, checkpoint_restore", all,
       kernel_5_4},
      {"security.capabilities", "the calling program has no sys_resource", all, no_sys_resource},
      {"security.allow", "'nesting'",
       [](Spec& s) {
         s.security.allow = Allow::nesting;
         s.devices.populate = false;
       }},
      {"security.allow", "bit31",
       [](Spec& s) { s.security.allow = Flags<Allow>::from_bits(1U << 31U); }},
  });
  Spec spec = with_root();
  spec.security.capabilities.add(Capability::sys_admin);
  spec.security.allow = Allow::capabilities;
  CHECK(refusals(spec, test::user_with_subids()).empty());
  spec.idmap.kind = IdMap::subids;
  CHECK(refusals(spec, test::root_on_v2()).empty());
}

TEST_CASE("sets of capabilities that contradict each other are refused", "[plan]") {
  const auto sets = [](CapabilitySets of, Flags<Securebit> bits = {}) {
    return [=](Spec& s) {
      s.security.sets = of;
      s.security.securebits = bits;
    };
  };
  const CapabilitySet kill{Capability::kill};
  const CapabilitySet more{Capability::net_raw};
  check_root({
      {"security.sets.permitted", "net_raw in it, but not in security.capabilities",
       sets({.permitted = more}, Securebit::noroot)},
      {"security.sets.inheritable", "not in security.capabilities", sets({.inheritable = more})},
      {"security.sets.effective", "not in the permitted ones",
       sets({.permitted = CapabilitySet{}, .effective = kill}, Securebit::noroot)},
      {"security.sets.ambient", "not in the inheritable ones",
       sets({.inheritable = CapabilitySet{}, .ambient = kill})},
      {"security.sets.permitted", "uid 0 has all of security.capabilities",
       sets({.permitted = kill})},
      {"security.ambient", "say one of the two",
       [=](Spec& s) {
         s.security.ambient = true;
         s.security.sets.ambient = kill;
       }},
      {"security.securebits", "bit4", sets({}, Flags<Securebit>::from_bits(1U << 4U))},
  });
  Spec spec = with_root();
  sets({.permitted = kill, .ambient = kill}, Securebit::noroot)(spec);
  CHECK(refusals(spec, test::root_on_v2()).empty());
}

TEST_CASE("kernel settings are refused that are not the container's own", "[plan]") {
  const auto shared = [](Namespace kind, Allow token, std::string name) {
    return [=](Spec& s) {
      s.namespaces -= kind;
      s.security.allow = token;
      sysctl(name)(s);
    };
  };
  check_root({
      {"security.sysctls[0]", "no kernel setting", sysctl("")},
      {"security.sysctls[0]", "no kernel setting", sysctl("net..ipv4")},
      {"security.sysctls[0]", "no kernel setting", sysctl("/proc/sys/net/x")},
      {"security.sysctls[0]", "no kernel setting", sysctl("net/../kernel/sysrq")},
      {"security.sysctls[0]", "no kernel setting", sysctl("net.ipv4 .x")},
      {"security.sysctls[0]", "NUL", sysctl("net." + nul)},
      {"security.sysctls[0]", "NUL",
       [](Spec& s) {
         s.security.sysctls = {{"net.a.b", nul}};
       }},
      {"security.sysctls[1]", "twice",
       [](Spec& s) {
         s.security.sysctls = {{"net.a.b", "1"}, {"net/a/b", "2"}};
       }},
      {"security.sysctls[0]", "whole host", sysctl("kernel.sysrq")},
      {"security.sysctls[0]", "whole host", sysctl("vm.swappiness")},
      {"security.sysctls[0]", "whole host", sysctl("fs.file-max")},
      {"security.sysctls[0]", "own: net",
       shared(Namespace::net, Allow::host_network, "net.ipv4.ip_forward")},
      {"security.sysctls[0]", "own: ipc", shared(Namespace::ipc, Allow::host_ipc, "kernel.shmmax")},
      {"security.sysctls[0]", "own: ipc",
       shared(Namespace::ipc, Allow::host_ipc, "fs.mqueue.msg_max")},
      {"security.sysctls[0]", "own: uts",
       shared(Namespace::uts, Allow::host_uts, "kernel.domainname")},
      {"security.sysctls[0]", "own: user", sysctl("user.max_user_namespaces")},
      {"security.masked_paths[11]", "not absolute",
       [](Spec& s) { s.security.masked_paths.push_back("proc"_guest); }},
      {"security.masked_paths[11]", "'..'",
       [](Spec& s) { s.security.masked_paths.push_back("/proc/../etc"_guest); }},
      {"security.read_only_paths[5]", "NUL",
       [](Spec& s) { s.security.read_only_paths.push_back(GuestPath("/" + nul)); }},
      {"security.masked_paths[11]", "the root itself",
       [](Spec& s) { s.security.masked_paths.push_back("/"_guest); }},
  });
  Spec fine = with_root();
  for (const char* name :
       {"net.ipv4.ip_forward", "net/ipv4/conf/eth0.5/forwarding", "kernel.shmmax", "kernel.msgmax",
        "kernel.sem", "fs.mqueue.msg_max", "kernel.domainname"})
    fine.security.sysctls.push_back({name, "1"});
  CHECK(refusals(fine, test::root_on_v2()).empty());
}

TEST_CASE("what Landlock has is what the kernel has, or the least one is named", "[plan]") {
  const auto with = [](Landlock l) { return [l](Spec& s) { s.security.landlock = l; }; };
  const auto abi = [](unsigned n) { return [n](HostFacts& f) { f.landlock_abi = n; }; };
  const Landlock all{.handled = landlock::all};
  const LandlockRule reads{.path = "/usr"_guest, .access = landlock::read};
  check(test::root_on_v2(),
        {
            {"security.landlock.handled", "no Landlock", with(all), abi(0)},
            {"security.landlock.handled", "'refer,truncate,ioctl_dev' needs Linux 6.10", with(all),
             abi(1)},
            {"security.landlock.handled", "'ioctl_dev' needs Linux 6.10 (Landlock ABI 5)",
             with(all), abi(4)},
            {"security.landlock.handled", "'truncate' needs Linux 6.2",
             with({.handled = LandlockAccess::truncate}), abi(2)},
            {"security.landlock.tcp", "'connect' needs Linux 6.7",
             with({.tcp = LandlockTcp::connect}), abi(3)},
            {"security.landlock.scope", "'signal' needs Linux 6.12",
             with({.scope = LandlockScope::signal}), abi(5)},
            {"security.landlock.handled", "'bit16'",
             with({.handled = Flags<LandlockAccess>::from_bits(1U << 16U), .best_effort = true})},
            {"security.landlock.rules[0]", "permits nothing", with({.rules = {reads}})},
            {"security.landlock.rules[0]", "permits nothing",
             with({.handled = landlock::all, .rules = {{.path = "/usr"_guest}}})},
            {"security.landlock.rules[0]", "not absolute",
             with({.handled = landlock::all, .rules = {{"usr"_guest, landlock::read}}})},
            {"security.landlock.rules[0]", "'..'",
             with({.handled = landlock::all, .rules = {{"/usr/../etc"_guest, landlock::read}}})},
            {"security.landlock.bind", "every port", with({.bind = {80}})},
            {"security.landlock.connect", "every port", with({.connect = {80}})},
        });

  Spec spec = with_root();
  spec.security.landlock = {.handled = landlock::all,
                            .rules = {reads, {"/dev"_guest, LandlockAccess::ioctl_dev}},
                            .tcp = LandlockTcp::bind,
                            .bind = {80},
                            .scope = LandlockScope::signal,
                            .best_effort = true};
  HostFacts facts = test::root_on_v2();
  const auto applied = [&](unsigned n) -> std::optional<Landlock> {
    facts.landlock_abi = n;
    const auto plan = compile(spec, facts);
    REQUIRE(plan.has_value());
    CHECK(plan->inside.landlock == spec.security.landlock);
    CHECK(plan->left_out.size() == (n == 7 ? 0 : n == 4 ? 2 : 3));
    for (const Op& o : plan->ops)
      if (const auto* l = std::get_if<op::ApplyLandlock>(&o)) return l->landlock;
    return {};
  };
  CHECK(applied(7) == spec.security.landlock);
  CHECK(applied(4)->handled == landlock::all - LandlockAccess::ioctl_dev);
  CHECK(applied(4)->bind == std::vector<std::uint16_t>{80});
  CHECK(applied(4)->scope.empty());
  const auto old = applied(1);
  CHECK(old->rules == std::vector{reads});
  CHECK(old->tcp.empty());
  CHECK(old->bind.empty());
  CHECK_FALSE(applied(0).has_value());
}

TEST_CASE("labels are refused where no module has them", "[plan]") {
  const auto apparmor = [](const char* label) {
    return [label](Spec& s) { s.security.apparmor = label; };
  };
  const auto own = [](Spec& s) { s.security.own_apparmor = true; };
  check(test::root_on_v2(), {
                                {"security.apparmor", "no label", apparmor("two words")},
                                {"security.apparmor", "no label", apparmor("a\nb")},
                                {"security.apparmor", "AppArmor is not active", apparmor("box"),
                                 [](HostFacts& f) { f.apparmor = false; }},
                                {"security.own_apparmor", "AppArmor is not active", own,
                                 [](HostFacts& f) { f.apparmor = false; }},
                                {"security.own_apparmor", "may not load profiles", own,
                                 [](HostFacts& f) { f.apparmor_loads = false; }},
                                {"security.own_apparmor", "is not installed", own,
                                 [](HostFacts& f) { f.apparmor_parser.clear(); }},
                                {"security.apparmor_rules", "end the profile",
                                 [&](Spec& s) {
                                   own(s);
                                   s.security.apparmor_rules = {"} profile other {"};
                                 }},
                                {"security.apparmor_rules", "has control characters",
                                 [&](Spec& s) {
                                   own(s);
                                   s.security.apparmor_rules = {"deny mount,\ndeny umount,"};
                                 }},
                                {"security.own_apparmor", "'box' in security.apparmor are two",
                                 [own](Spec& s) {
                                   own(s);
                                   s.security.apparmor = "box";
                                 }},
                                {"security.own_apparmor", "when its last process has gone",
                                 [own](Spec& s) {
                                   own(s);
                                   s.namespaces -= Namespace::pid;
                                   s.security.allow |= Allow::host_pids;
                                   s.resources.cgroup = CgroupMode::never;
                                 }},
                                {"security.own_apparmor", "with control characters",
                                 [own](Spec& s) {
                                   own(s);
                                   s.security.masked_paths.emplace_back("/a\"b");
                                 }},
                                {"security.selinux", "SELinux is not active",
                                 [](Spec& s) { s.security.selinux = "u:r:t:s0"; }},
                                {"security.selinux_keyring", "SELinux is not active",
                                 [](Spec& s) { s.security.selinux_keyring = "u:r:t:s0"; }},
                                {"security.selinux_mount", "SELinux is not active",
                                 [](Spec& s) { s.security.selinux_mount = "u:r:t:s0"; }},
                            });
}

TEST_CASE("hooks that cannot be are refused by name", "[plan]") {
  Spec spec = with_root();
  spec.hooks.run = {{.program = "relative"},
                    {.program = "/x", .argv = {"%{pidd}"}, .env = {"A=1", "A=2", "none"}},
                    {.program = "/x", .timeout = std::chrono::nanoseconds{0}},
                    {.point = HookPoint::up, .program = "/x", .interface = "eth7"},
                    {.program = "/x", .interface = "eth0"},
                    {.point = HookPoint::mount, .program = "/x", .input = "%{pid"}};
  spec.hooks.root_at = HostPath("/");
  const auto plan = compile(spec, test::root_on_v2());
  REQUIRE(!plan);
  const std::string all = to_string(plan.error());
  for (const char* words :
       {"hooks.run[0].program",
        "hooks.run[1].argv[0]: \"%{pidd}\": unknown value for a hook; did "
        "you mean pid?",
        "hooks.run[1].env[1]: 'A' is there already", "hooks.run[1].env[2]", "hooks.run[2].timeout",
        "hooks.run[3].interface", "hooks.run[4].interface",
        "hooks.run[5].input: \"%{\" begins a value", "hooks.root_at"}) {
    CAPTURE(all);
    CHECK(all.find(words) != std::string::npos);
  }
  spec.hooks = {.run = {{.point = HookPoint::stop, .program = "/x", .argv = {"%{ns_net}"}}}};
  CHECK(compile(spec, test::root_on_v2()));
  CHECK_FALSE(compile_parked(spec, test::root_on_v2()));
  spec.hooks.run[0].argv = {"x", std::string(70000, 'x')};
  const auto too_long = compile(spec, test::root_on_v2());
  REQUIRE(!too_long);
  CHECK(to_string(too_long.error()).find("hooks.run[0].argv: 700") != std::string::npos);
}

TEST_CASE("hooks are behind a filter of the Spec's own that lets them", "[plan]") {
  const std::vector<std::uint64_t> all = {0x7fff000000000006};
  const std::vector<std::uint64_t> no_ppoll = {0x20, (std::uint64_t{SYS_ppoll} << 32U) | 0x01000015,
                                               0x0005000100000006, all[0]};
  const auto at = [](const Plan& plan, auto is) {
    return std::ranges::find_if(plan.ops, is) - plan.ops.begin();
  };
  for (const HookPoint point : {HookPoint::start, HookPoint::start_host}) {
    Spec spec = with_root();
    spec.security.seccomp.kind = Seccomp::bpf;
    spec.security.seccomp.program = all;
    spec.security.allow |= Allow::capabilities | Allow::new_privileges | Allow::all_syscalls;
    spec.hooks.run = {{.point = point, .program = "/x"}};
    for (const bool privs : {false, true}) {
      spec.security.no_new_privs = !privs;
      const CapabilitySet before = spec.security.capabilities;
      for (const bool traces : {false, true}) {
        CAPTURE(static_cast<int>(point), privs, traces);
        if (traces) spec.security.capabilities.add(Capability::sys_ptrace);
        spec.security.seccomp.program = all;
        const auto plan = compile(spec, test::root_on_v2());
        if (!plan) FAIL(to_string(plan.error()));
        // What could trace the child does not find it with more calls than itself has.
        const auto filter = at(*plan, [](const Op& o) {
          const auto* load = std::get_if<op::LoadSeccomp>(&o);
          return load != nullptr && load->what.find("own") != std::string::npos;
        });
        const auto hook =
            at(*plan, [](const Op& o) { return std::holds_alternative<op::RunHookInside>(o); });
        if (point == HookPoint::start) CHECK((filter < hook) == (privs || traces));
        spec.security.seccomp.program = no_ppoll;
        const bool early = privs || (traces && point == HookPoint::start);
        CHECK(compile(spec, test::root_on_v2()).has_value() == !early);
        spec.security.capabilities = before;
      }
    }
  }
}
