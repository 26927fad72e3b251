// The kernel's own files: what a container may write to, and a /proc that lies.
#include <sys/mount.h>

#include <array>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <variant>

#include "attacks/attacks.hpp"
#include "condroid/attach.hpp"

namespace {

using namespace condroid;                 // NOLINT(google-build-using-namespace)
using namespace condroid::literals;       // NOLINT(google-build-using-namespace)
using namespace condroid::test;           // NOLINT(google-build-using-namespace)
using namespace condroid::test::attacks;  // NOLINT(google-build-using-namespace)

constexpr const char* ttl = "/proc/sys/net/ipv4/ip_default_ttl";

/// A root whose /proc is a plain directory with a file of that name.
void fake_proc(const TempRoot& root, const std::string& content) {
  for (const char* dir : {"proc/sys", "proc/sys/net", "proc/sys/net/ipv4"}) make_dir(root / dir);
  make_file(root / (ttl + 1), content);
}

constexpr const char* label = "a_u:b_r:c_t:s0";

/// A directory that looks as if a process could write its label in there.
void fake_label(const std::string& proc) {
  for (const char* dir : {"/self", "/self/attr"}) make_dir(proc + dir);
  make_file(proc + "/self/attr/exec", "");
}
/// This machine, and it is made up that it has labels.
HostFacts with_labels() {
  HostFacts made_up = facts();
  made_up.selinux = true;
  return made_up;
}
/// How an attach fails that writes its label to the procfs of the host which is said to be there.
/// Something is done to that at the last moment.
std::string attach_labelled(const Container& box, const std::string& proc,
                            const std::function<void(Pid)>& disturb) {
  AttachTarget target{.name = "test",
                      .pid = box.pid(),
                      .pidfd = {box.pidfd().get()},
                      .inside = {.namespaces = Spec::default_namespaces, .selinux = label},
                      .launched_here = true};
  const Attach what{.process = {.argv = {"/bin/payload", "exit"}, .stdio = Stdio::null}};
  Plan plan = must(compile(what, target, with_labels()));
  for (Op& o : plan.ops)
    if (auto* d = std::get_if<op::OpenDescriptor>(&o))
      if (d->kind == op::OpenDescriptor::directory) d->path = proc;
  Launch attaching = must(runtime().start(plan, {.stop_before = must(plan.find("set label"))}));
  must(drive(attaching));
  must(attaching.stopped(), "it is stopped");
  if (disturb) disturb(attaching.pid());
  attaching.resume();
  const auto done = drive(attaching, true);
  return done ? "it went on" : to_string(done.error());
}

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = ::popen(command.c_str(), "re");
  if (pipe == nullptr) throw std::runtime_error("popen");
  for (std::array<char, 4096> buffer{}; std::fgets(buffer.data(), buffer.size(), pipe) != nullptr;)
    text += buffer.data();
  ::pclose(pipe);
  return text;
}

std::uint64_t bits(const std::string& set) { return std::stoull(set, nullptr, 16); }

constexpr std::array capability_sets = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"};

bool has_bubblewrap() { return std::system("command -v bwrap > /dev/null") == 0; }
/// A container of bubblewrap's that has these capabilities, or those that it gives by itself.
Report in_bubble(const TempRoot& root, const std::optional<CapabilitySet>& set,
                 std::string options = {}) {
  if (set) options += " --cap-drop ALL";
  for (unsigned c = 0; c < capability_count; ++c)
    if (const auto one = static_cast<Capability>(c); set && set->has(one)) {
      options += " --cap-add CAP_";
      for (const char letter : to_string(one)) options += static_cast<char>(std::toupper(letter));
    }
  return Report(Exit{.out = output_of(fmt::format(
                         "bwrap --unshare-all --bind {} / --proc /proc {} /bin/payload probe 2>&1",
                         root.str(), options))});
}

const IdMap ids{.kind = IdMap::ranges,
                .uids = {{.inside = 0, .outside = 300000, .count = 65536}},
                .gids = {{.inside = 0, .outside = 300000, .count = 65536}}};

}  // namespace

TEST_CASE("a setting is the kernel's, whatever the image has in its /proc",
          "[attack][.root][.userns]") {
  const TempRoot root;
  fake_proc(root, "the image's\n");
  Spec spec = payload(root, {"read", "/mnt/sys/net/ipv4/ip_default_ttl", ttl});
  spec.default_mounts = false;
  spec.mounts.push_back(Proc{.target = "/mnt"_guest});
  spec.security.allow |= Allow::unmasked_kernel;
  spec.security.sysctls = {{.name = "net.ipv4.ip_default_ttl", .value = "111"}};
  const Report seen = run(spec);
  CHECK(seen["/mnt/sys/net/ipv4/ip_default_ttl"] == "111");
  CHECK(seen[ttl] == "the image's");
  // Nothing is hidden by way of a link either.
  REQUIRE(::rename((root / "proc").c_str(), (root / "fake").c_str()) == 0);
  REQUIRE(::symlink("fake", (root / "proc").c_str()) == 0);
  CHECK_THAT(attempt(spec), FailsWith(ELOOP, Step::protect_path, "/proc/"));
}

TEST_CASE("a setting is the one that was named, whatever is mounted on it", "[attack][.root]") {
  // Procfs files both: to ask whether it is procfs is not enough.
  const TempRoot root;
  Spec spec = payload(
      root, {"read", ttl, "/mnt/sys/net/ipv4/ip_default_ttl", "/mnt/sys/net/ipv4/icmp_ratelimit"});
  spec.mounts.push_back(Bind{
      .source = "/proc/sys/net/ipv4/icmp_ratelimit"_host, .target = GuestPath(ttl), .flags = {}});
  spec.mounts.push_back(Proc{.target = "/mnt"_guest});
  spec.security.allow |= Allow::unmasked_kernel | Flags<Allow>(Allow::devices);
  spec.security.sysctls = {{.name = "net.ipv4.ip_default_ttl", .value = "111"}};
  const std::string before = read_file("/proc/sys/net/ipv4/icmp_ratelimit");
  CHECK(run(spec)["/mnt/sys/net/ipv4/ip_default_ttl"] == "111");
  CHECK(read_file("/proc/sys/net/ipv4/icmp_ratelimit") == before);
}

TEST_CASE("who writes settings by path writes what the image says", "[attack][.root]") {
  // CVE-2019-19921: procfs is not where it is looked for.
  const TempRoot root;
  fake_proc(root, "");
  make_dir(root / "real");
  const Exit e = run_naive({.root = root.str(),
                            .argv = {"/bin/payload", "read", ttl},
                            .settings = {{"net.ipv4.ip_default_ttl", "111"}},
                            .proc = "/real",
                            .writes_inside = true});
  CHECK(e.out == std::string(ttl) + "=111\n");
  CHECK(read_file(root / (ttl + 1)) == "111");
}

TEST_CASE("a label is written to the kernel's file, whatever is in its place", "[attack][.root]") {
  // CVE-2025-52881. Here nothing gives processes this label: that the kernel refuses it tells where
  // it went.
  const TempRoot root;
  fake_label(root / "proc");
  SECTION("at a launch") {
    Spec spec = payload(root, {"exit"});
    spec.default_mounts = false;
    spec.mounts.push_back(Proc{.target = "/mnt"_guest});
    spec.security.allow |= Allow::unmasked_kernel;
    spec.security.selinux = label;
    const Plan plan = need(compile(spec, with_labels()));
    CHECK_THAT(failure_of(runtime().launch(plan)), FailsWith(EINVAL, Step::set_label, label));
  }
  SECTION("at an attach, whose procfs is the host's") {
    const TempDir real, linked;
    REQUIRE(::symlink((real / "self").c_str(), (linked / "self").c_str()) == 0);
    CHECK(in_child([&] {
            enter_own_mounts();
            must(::mount("proc", real.str().c_str(), "proc", 0, nullptr) == 0, "proc");
            const Container box = launch(payload(root, {"pause"}));
            const auto fails = [&](const char* error, const std::string& proc,
                                   const std::function<void(Pid)>& disturb = {}) {
              const std::string came = attach_labelled(box, proc, disturb);
              must(came.starts_with("set label: ") && came.find(error) != std::string::npos, came);
            };
            fails("EINVAL", real.str());  // the kernel's answer
            fails("ENODEV", root / "proc");
            fails("EXDEV", linked.str());
            // Mounted on it at the last moment: another file, a directory, one of procfs's own.
            const auto covered = [&](const std::string& from, const char* onto) {
              fails("EXDEV", real.str(), [&](Pid pid) {
                const std::string place = fmt::format("{}/{}/attr{}", real.str(), pid.value, onto);
                must(::mount(from.c_str(), place.c_str(), nullptr, MS_BIND, nullptr) == 0, place);
              });
            };
            covered(root / "proc/self/attr/exec", "/exec");
            covered(root / "proc/self/attr", "");
            covered(real / "self/attr/current", "/exec");
          }) == "");
  }
  CHECK(read_file(root / "proc/self/attr/exec").empty());
  const Exit e = run_naive({.root = root.str(),
                            .argv = {"/bin/payload", "exit"},
                            .label = label,
                            .proc = "/data",
                            .writes_inside = true});
  CAPTURE(e.out);
  CHECK(read_file(root / "proc/self/attr/exec") == label);
}

TEST_CASE("no setting of the host is hidden in the name or value of another",
          "[attack][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"exit"});
  for (const char* name :
       {"net/../kernel/printk_ratelimit", "net.ipv4/../../kernel/printk_ratelimit",
        "net/ipv4/.././../kernel/printk_ratelimit", "/net/ipv4/ip_default_ttl",
        "net//ipv4/ip_default_ttl", "net/ipv4/ip_default_ttl\n", "kernel.printk_ratelimit",
        "kernel.shm_rmid_forced+kernel.printk_ratelimit", "net", "", "kernel.core_pattern",
        "vm.overcommit_memory", "fs.mqueue", "kernel/../net/ipv4/ip_default_ttl"}) {
    CAPTURE(name);
    spec.security.sysctls = {{.name = name, .value = "5"}};
    CHECK(attempt(spec).error.has_value());
  }
  spec.security.sysctls = {
      {.name = "net.ipv4.ip_default_ttl", .value = "1+kernel.printk_ratelimit=5"}};
  CHECK_THAT(attempt(spec), FailsWith(EINVAL, Step::write_setting));
}

TEST_CASE("who takes settings apart himself sets the host's", "[attack][.root]") {
  const TempRoot root;
  const std::string value = read_file("/proc/sys/kernel/printk_ratelimit");
  const std::string same = value.substr(0, value.find('\n'));  // it stays what it is
  Naive naive{.root = root.str(), .argv = {"/bin/payload", "exit", "0"}};
  SECTION("by name") {
    naive.settings = {{"net/../kernel/printk_ratelimit", same}};
    naive.dots_to_slashes = true;
  }
  SECTION("by value") {
    naive.settings = {{"net.ipv4.ip_default_ttl", "64+kernel.printk_ratelimit=" + same}};
    naive.joins_settings = true;
  }
  const Exit e = run_naive(naive);
  CAPTURE(e.out);
  CHECK(e.code == 0);
}

TEST_CASE("no file of the kernel can be written", "[attack][.root][.userns]") {
  const TempRoot root;
  // Of what is open to everybody: a threshold of pressure that wakes up who asked for it.
  const auto writable = [](const Spec& spec) {
    const Report seen = run(spec);
    CHECK(std::stoi(seen["looked_at"]) > 500);
    std::string list;
    for (const std::string& path : seen.all("writable"))
      if (!path.starts_with("/proc/pressure/")) list += path + " ";
    return list;
  };
  SECTION("by default") {
    CHECK(writable(payload(root, {"attack", "walk", "/proc", "/sys"})) == "");
  }
  SECTION("with all that needs no token") {
    Spec spec = payload(root, {"attack", "walk", "/proc", "/sys"});
    spec.mounts.push_back(CgroupMount{});
    spec.process.init = true;
    CHECK(writable(spec) == "");
  }
  SECTION("naive") {
    if (!naive_may_run()) return;
    const Exit e = run_naive({.root = root.str(),
                              .argv = {"/bin/payload", "attack", "open-write",
                                       "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"},
                              .opens_kernel = true});
    CHECK(e.out.find("/proc/sys/kernel/core_pattern=ok") != std::string::npos);
  }
}

TEST_CASE("what the kernel runs for a cgroup is not the container's to say", "[attack][.root]") {
  const CgroupHierarchy* v1 = nullptr;
  for (const CgroupHierarchy& h : facts().cgroups)
    if (!h.v2 && v1 == nullptr) v1 = &h;
  // Only cgroup v1 has it. Where none of that is mounted, one without a controller can be.
  const std::string name =
      v1 != nullptr ? fmt::format("{}", fmt::join(v1->controllers, ",")) : "name=condroid-attack";
  const std::string options = name.starts_with("name=") ? "none," + name : name;
  const TempRoot root;
  const std::string mounted = in_child([&] {
    enter_own_mounts();
    must(::mount("none", (root / "mnt").c_str(), "cgroup", 0, options.c_str()) == 0, options);
  });
  if (v1 == nullptr && !mounted.empty()) CONDROID_SKIP("needs cgroup v1: " + mounted);
  Spec spec = payload(root, {"attack", "release-agent", options});
  CHECK(run(spec)["mount"] == "EPERM");
  // Also where it may mount, in a user namespace: CVE-2022-0492.
  spec.security.capabilities.add(Capability::sys_admin);
  spec.security.allow = Flags<Allow>(Allow::capabilities);
  spec.idmap = ids;
  CHECK(run(spec)["agent"] != "ok");
  const Exit e = run_naive({.root = root.str(),
                            .argv = {"/bin/payload", "attack", "release-agent", options},
                            .host_cgroup = true,
                            .all_capabilities = true});
  CHECK(e.out.find("agent=ok") != std::string::npos);
}

TEST_CASE("a container has no more rights than bubblewrap gives", "[attack][.root]") {
  if (!has_bubblewrap()) CONDROID_SKIP("needs bubblewrap");
  const TempRoot root;
  // What a host has left open, as hosts do.
  const Fd leaked(::open("/", O_RDONLY | O_DIRECTORY));
  const Fd high(::fcntl(leaked.get(), F_DUPFD, 500));
  REQUIRE(high.valid());
  Spec spec = payload(root, {"probe"});
  const Report ours = run(spec);
  // Its --unshare-all is an id map, too.
  spec.idmap = ids;
  const Report mapped = run(spec);
  for (const auto& set : {std::optional<CapabilitySet>(), std::optional(CapabilitySet::small())}) {
    const Report bubble = in_bubble(root, set);
    CAPTURE(set.has_value(), bubble.exit().out);
    for (const char* name : capability_sets)
      for (const Report* own : {&ours, &mapped}) {
        CAPTURE(name, (*own)[name]);
        CHECK((bits((*own)[name]) & ~bits(bubble[name])) == 0);
      }
    int apart = 0;
    for (const char* ns : {"mnt", "pid", "uts", "ipc", "net", "cgroup", "user", "time"}) {
      CAPTURE(ns);
      const std::string key = std::string("ns.") + ns;
      if (bubble[key] == own_namespace(ns)) continue;
      ++apart;
      CHECK(mapped[key] != own_namespace(ns));
    }
    CHECK(apart >= 6);
    CHECK(bubble["NoNewPrivs"] == "1");
    CHECK(bubble["fd.500"] == "directory");
  }
  for (const Report* own : {&ours, &mapped}) {
    CHECK((*own)["NoNewPrivs"] == "1");
    CHECK(own->below("fd.") == std::vector<std::string>{"0=device", "1=pipe", "2=pipe"});
  }
}

TEST_CASE("a user's container has no more rights than bubblewrap gives him",
          "[attack][.root][.userns]") {
  if (!has_bubblewrap()) CONDROID_SKIP("needs bubblewrap");
  const TempRoot root;
  // What is asked of both is the same: nothing, the usual, everything.
  const auto [set, what] =
      GENERATE(table<CapabilitySet, const char*>({{CapabilitySet{}, "nothing"},
                                                  {CapabilitySet::small(), "the usual"},
                                                  {CapabilitySet::all(), "everything"}}));
  CAPTURE(what);
  Spec spec = payload(root, {"probe"});
  spec.security.capabilities = set;
  spec.security.allow |= Allow::capabilities;
  CHECK(in_child([&, set = set] {
          drop_root();
          const Report own = run(spec);
          // As a user and as root of its own user namespace, which ours is.
          for (const char* options : {"", "--uid 0 --gid 0"}) {
            const Report bubble = in_bubble(root, set, options);
            for (const char* name : capability_sets) {
              const std::string both =
                  fmt::format("{}{}: {}, and {}", name, options, own[name], bubble[name]);
              must((bits(own[name]) & ~bits(bubble[name])) == 0, both);
              must(bits(bubble[name]) == set.bits(), both);
            }
            for (const char* ns : {"mnt", "pid", "uts", "ipc", "net", "cgroup", "user"}) {
              const std::string key = std::string("ns.") + ns;
              must(bubble[key] != own_namespace(ns) && own[key] != own_namespace(ns), key);
            }
            must(own["NoNewPrivs"] == "1" && bubble["NoNewPrivs"] == "1", "NoNewPrivs");
          }
          for (const char* name : {"CapPrm", "CapEff", "CapBnd"})
            must(bits(own[name]) == set.bits(), name);
        }) == "");
}

TEST_CASE("a container by default has everything of its own", "[attack][.root][.userns]") {
  const TempRoot root;
  const Report seen = run(payload(root, {"probe"}));
  for (const char* ns : {"mnt", "pid", "uts", "ipc", "net", "cgroup"}) {
    CAPTURE(ns);
    const std::string inside = seen[std::string("ns.") + ns];
    CHECK(inside.starts_with(ns));
    CHECK(inside != own_namespace(ns));
  }
  CHECK(seen["NoNewPrivs"] == "1");
  CHECK(seen["Seccomp"] == "2");
  for (const char* set : {"CapInh", "CapAmb"}) CHECK(bits(seen[set]) == 0);
  CHECK((bits(seen["CapBnd"]) & ~CapabilitySet::small().bits()) == 0);
  CHECK(seen.below("fd.") == std::vector<std::string>{"0=device", "1=pipe", "2=pipe"});
  CHECK(seen["keyring"] == "ENOSYS");
  CHECK(seen["controlling_terminal"] != "yes");
}
