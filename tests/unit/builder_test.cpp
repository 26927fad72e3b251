#include "condroid/builder.hpp"

#include <chrono>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "condroid/container.hpp"

namespace {

using namespace condroid;
using namespace condroid::literals;

/// The call, on a named builder and in a chain, changes a Spec as `expect` does, and nothing else.
template <class Call, class Expect>
void sets(const char* what, Call call, Expect expect) {
  INFO(what);
  Spec wanted;
  wanted.name = "box";
  const Spec before = wanted;
  expect(wanted);
  CHECK((wanted != before));  // else the test would see nothing

  ContainerBuilder named{"box"};
  static_assert(std::is_same_v<decltype(call(named)), ContainerBuilder&>);
  CHECK(&call(named) == &named);
  INFO(print_spec(named.spec()) << "instead of\n" << print_spec(wanted));
  CHECK((named.spec() == wanted));

  static_assert(std::is_same_v<decltype(call(std::move(named))), ContainerBuilder&&>);
  const ContainerBuilder chained = call(ContainerBuilder{"box"});
  CHECK((chained.spec() == wanted));
}

// The same text as a call on an lvalue and on an rvalue.
#define SETS(call, ...)                                                                    \
  sets(                                                                                    \
      #call, [](auto&& b) -> decltype(auto) { return std::forward<decltype(b)>(b).call; }, \
      [](Spec & s) __VA_ARGS__)

}  // namespace

TEST_CASE("a builder begins with a name or with a Spec", "[builder]") {
  Spec named;
  named.name = "box";
  CHECK((ContainerBuilder{"box"}.spec() == named));
  CHECK((ContainerBuilder{named}.spec() == named));
  CHECK((Container::builder("box").spec() == named));
}

TEST_CASE("a builder is a value", "[builder]") {
  const ContainerBuilder base = ContainerBuilder{"box"}.root("/srv/a"_host);
  ContainerBuilder variant = base;
  variant.hostname("other");
  CHECK(base.spec().hostname.empty());
  CHECK(variant.spec().root.path == "/srv/a"_host);
  // A temporary gives its Spec away.
  const Spec taken = ContainerBuilder{base}.spec();
  CHECK((taken == base.spec()));
}

TEST_CASE("each call about root and mounts sets its member", "[builder]") {
  SETS(root("/srv"_host), { s.root.path = "/srv"_host; });
  SETS(root(Root{.path = "/r"_host, .read_only = true, .size = 1_MiB}),
       { s.root = Root{.path = "/r"_host, .read_only = true, .size = 1_MiB}; });
  SETS(read_only(), { s.root.read_only = true; });
  SETS(ephemeral(), { s.root.ephemeral = true; });
  SETS(ephemeral(5_MiB), {
    s.root.ephemeral = true;
    s.root.size = 5_MiB;
  });
  SETS(ephemeral("/u"_host, "/w"_host), {
    s.root.ephemeral = true;
    s.root.upper = "/u"_host;
    s.root.work = "/w"_host;
  });
  SETS(bind(Bind{.source = "/a"_host, .target = "/b"_guest, .recursive = true}),
       { s.mounts = {Bind{.source = "/a"_host, .target = "/b"_guest, .recursive = true}}; });
  SETS(bind("/a"_host, "/b"_guest),
       { s.mounts = {Bind{.source = "/a"_host, .target = "/b"_guest}}; });
  SETS(tmpfs(Tmpfs{.target = "/t"_guest, .size = 1_KiB}),
       { s.mounts = {Tmpfs{.target = "/t"_guest, .size = 1_KiB}}; });
  SETS(mount(Mqueue{.target = "/q"_guest}), { s.mounts = {Mqueue{.target = "/q"_guest}}; });
  SETS(default_mounts(false), { s.default_mounts = false; });
  SETS(devices(Devices{.populate = false}), { s.devices.populate = false; });
  SETS(device(DeviceNode{.name = "fuse", .major = 10, .minor = 229}),
       { s.devices.nodes = {{.name = "fuse", .major = 10, .minor = 229}}; });
}

TEST_CASE("each call about the command sets its member", "[builder]") {
  SETS(exec(std::vector<std::string>{"sh", "-c", "true"}), {
    s.process.argv = {"sh", "-c", "true"};
  });
  SETS(exec({"one"}), { s.process.argv = {"one"}; });
  SETS(env("A", "b=c"), { s.process.env.push_back("A=b=c"); });
  SETS(env(std::vector<std::string>{"X=1"}), { s.process.env = {"X=1"}; });
  SETS(cwd("/w"_guest), { s.process.cwd = "/w"_guest; });
  SETS(create_cwd(), { s.process.create_cwd = true; });
  SETS(user(Uid{5}, Gid{6}), {
    s.process.uid = {5};
    s.process.gid = {6};
  });
  SETS(groups(std::vector<Gid>{{7}, {8}}), { s.process.groups = {{7}, {8}}; });
  SETS(init(), { s.process.init = true; });
  SETS(umask(Mode{077}), { s.process.umask = Mode{077}; });
  SETS(rlimit(Rlimit::nofile, 5, 6), { s.process.rlimits = {{Rlimit::nofile, 5, 6}}; });
  SETS(rlimit(Rlimit::core, 0), { s.process.rlimits = {{Rlimit::core, 0, 0}}; });
  SETS(oom_score_adj(-5), { s.process.oom_score_adj = -5; });
  SETS(proc_file("coredump_filter", "1"), { s.process.proc_files = {{"coredump_filter", "1"}}; });
  SETS(scheduling(Scheduling{.nice = 3}), { s.process.scheduling.nice = 3; });
  SETS(personality(Personality::linux32), { s.process.personality = Personality::linux32; });
  SETS(death_signal(Signal{15}), { s.process.death_signal = {15}; });
  SETS(lifecycle(Lifecycle{.freezable = true}), { s.lifecycle.freezable = true; });
  SETS(new_session(false), { s.process.new_session = false; });
}

TEST_CASE("each call about streams and terminals sets its member", "[builder]") {
  SETS(stdio(Stdio::pty), { s.process.stdio = Stdio::pty; });
  SETS(stdio(Stdio(Stream::null, Stream::capture, HostFd{7})),
       { s.process.stdio = Stdio(Stream::null, Stream::capture, HostFd{7}); });
  SETS(capture_limit(3_KiB), { s.process.capture_limit = 3_KiB; });
  SETS(pass_fd(HostFd{9}, 3), { s.process.descriptors = {{.host = {9}, .number = 3}}; });
  SETS(console(), { s.terminal.console = true; });
  SETS(console_log("/l"_host), { s.terminal.log = "/l"_host; });
  SETS(ttys(2), { s.terminal.ttys = 2; });
  SETS(ttys(2, "lxc"), {
    s.terminal.ttys = 2;
    s.terminal.tty_dir = "lxc";
  });
  SETS(terminal(Terminal{.console = true, .rows = 7}),
       { s.terminal = Terminal{.console = true, .rows = 7}; });
}

TEST_CASE("each call about namespaces and ids sets its member", "[builder]") {
  SETS(namespaces(Namespace::mount), { s.namespaces = Namespace::mount; });
  SETS(share(Namespace::net), { s.namespaces -= Namespace::net; });
  SETS(join(Namespace::net, "/run/netns/x"_host), {
    s.namespaces -= Namespace::net;
    s.join = {{Namespace::net, "/run/netns/x"_host}};
  });
  SETS(join(Namespace::ipc, Pid{5}), {
    s.namespaces -= Namespace::ipc;
    s.join = {{Namespace::ipc, Pid{5}}};
  });
  SETS(join(Namespace::user, HostFd{4}), {
    s.namespaces -= Namespace::user;
    s.join = {{Namespace::user, HostFd{4}}};
  });
  SETS(userns(), { s.namespaces |= Namespace::user; });
  SETS(userns(false), { s.idmap = {.kind = IdMap::none}; });
  SETS(idmap(IdMap{.kind = IdMap::ranges, .uids = {{0, 1, 2}}}), {
    s.idmap = {.kind = IdMap::ranges, .uids = {{0, 1, 2}}};
  });
  SETS(idmap(IdMap::single), { s.idmap.kind = IdMap::single; });
  SETS(time_offsets(TimeOffsets{.boottime = std::chrono::seconds(5)}), {
    s.namespaces |= Namespace::time;
    s.time.boottime = std::chrono::seconds(5);
  });
  SETS(hostname("h"), { s.hostname = "h"; });
  SETS(domainname("d"), { s.domainname = "d"; });
  SETS(network(Network{.loopback_up = false}), { s.network.loopback_up = false; });
}

TEST_CASE("each call about limits sets its member", "[builder]") {
  SETS(cgroup(CgroupMode::always), { s.resources.cgroup = CgroupMode::always; });
  SETS(memory_max(1_MiB), { s.resources.memory_max = 1_MiB; });
  SETS(memory_high(1_MiB), { s.resources.memory_high = 1_MiB; });
  SETS(memory_swap_max(0_B), { s.resources.memory_swap_max = 0_B; });
  SETS(pids_max(5), { s.resources.pids_max = 5; });
  SETS(cpus(1.5), { s.resources.cpus = 1.5; });
  SETS(memory_max(unlimited), { s.resources.memory_max = unlimited; });
  SETS(cpus(unlimited), { s.resources.cpus = unlimited; });
  SETS(io_weight(50), { s.resources.io_weight = 50; });
  SETS(io({.device = "/d"_host, .read_bytes = 1_MiB}),
       { s.resources.io = {{.device = "/d"_host, .read_bytes = 1_MiB}}; });
  SETS(hugetlb(2_MiB, 8_MiB), { s.resources.hugetlb = {{.page_size = 2_MiB, .most = 8_MiB}}; });
  SETS(optional_limits(ResourceField::io_weight | ResourceField::memory_high),
       { s.resources.optional = ResourceField::io_weight | ResourceField::memory_high; });
  SETS(cpu_weight(50), { s.resources.cpu_weight = 50; });
  SETS(cpuset("0-2"), { s.resources.cpuset_cpus = "0-2"; });
  SETS(cpuset("0-2", "1"), {
    s.resources.cpuset_cpus = "0-2";
    s.resources.cpuset_mems = "1";
  });
  SETS(set("memory.low", "1M"), { s.resources.settings = {{"memory.low", "1M"}}; });
}

TEST_CASE("each call about security sets its member", "[builder]") {
  SETS(allow(Allow::devices), { s.security.allow = Allow::devices; });
  SETS(capabilities(CapabilitySet::all()), { s.security.capabilities = CapabilitySet::all(); });
  SETS(cap_add({Capability::net_admin, Capability::sys_ptrace}),
       { s.security.capabilities.add(Capability::net_admin).add(Capability::sys_ptrace); });
  SETS(cap_drop({Capability::chown}), { s.security.capabilities.drop(Capability::chown); });
  SETS(cap_keep({Capability::chown, Capability::net_admin}),
       { s.security.capabilities = {Capability::chown}; });
  SETS(capability_sets({.effective = CapabilitySet{}}),
       { s.security.sets.effective = CapabilitySet{}; });
  SETS(securebits(Securebit::noroot), { s.security.securebits = Securebit::noroot; });
  SETS(ambient(), { s.security.ambient = true; });
  SETS(no_new_privs(false), { s.security.no_new_privs = false; });
  SETS(landlock(Landlock{}.permit(landlock::read, "/data"_guest)),
       { s.security.landlock = Landlock{}.permit(landlock::read, "/data"_guest); });
  SETS(apparmor("box"), { s.security.apparmor = "box"; });
  SETS(own_apparmor(), { s.security.own_apparmor = true; });
  SETS(selinux("a:b:c:s0", "a:b:d:s0"), {
    s.security.selinux = "a:b:c:s0";
    s.security.selinux_mount = "a:b:d:s0";
  });
  SETS(seccomp(Seccomp::all_but({"mount"})), { s.security.seccomp = Seccomp::all_but({"mount"}); });
  SETS(own_keyring(false), { s.security.own_keyring = false; });
  SETS(mask("/proc/x"_guest), { s.security.masked_paths.push_back("/proc/x"_guest); });
  SETS(protect("/proc/y"_guest), { s.security.read_only_paths.push_back("/proc/y"_guest); });
  SETS(sysctl("kernel.x", "1"), { s.security.sysctls = {{"kernel.x", "1"}}; });
}

TEST_CASE("what may be said more than once adds up", "[builder]") {
  const Spec s = ContainerBuilder{"box"}
                     .bind("/a"_host, "/b"_guest)
                     .tmpfs({.target = "/t"_guest})
                     .env("A", "1")
                     .env("B", "2")
                     .rlimit(Rlimit::core, 0)
                     .rlimit(Rlimit::nofile, 10)
                     .pass_fd({9}, 3)
                     .pass_fd({10}, 4)
                     .allow(Allow::devices)
                     .allow(Allow::capabilities)
                     .join(Namespace::net, Pid{1})
                     .join(Namespace::ipc, Pid{1})
                     .spec();
  CHECK(s.mounts.size() == 2);
  CHECK(s.process.env.size() == Spec{}.process.env.size() + 2);
  CHECK(s.process.rlimits.size() == 2);
  CHECK(s.process.descriptors.size() == 2);
  CHECK(s.security.allow == Flags<Allow>{Allow::devices, Allow::capabilities});
  CHECK(s.join.size() == 2);
  // The last word counts where there is one place.
  CHECK(ContainerBuilder{"box"}.hostname("a").hostname("b").spec().hostname == "b");
}
