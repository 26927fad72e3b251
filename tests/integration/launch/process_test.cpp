// The process of a container: ids, rights, limits, surroundings. What is not asked for is closed.
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <vector>

#include "containers.hpp"

using condroid::Allow;
using condroid::Capability;
using condroid::CapabilitySet;
using condroid::CapabilitySets;
using condroid::Errc;
using condroid::Flags;
using condroid::Gid;
using condroid::IdMap;
using condroid::Mode;
using condroid::Personality;
using condroid::Rlimit;
using condroid::RlimitSetting;
using condroid::SchedPolicy;
using condroid::Securebit;
using condroid::Signal;
using condroid::Spec;
using condroid::Step;
using condroid::Uid;
using condroid::test::alone;
using condroid::test::attempt;
using condroid::test::facts;
using condroid::test::FailsWith;
using condroid::test::in_child;
using condroid::test::launch_and_wait;
using condroid::test::make_dir;
using condroid::test::make_file;
using condroid::test::must;
using condroid::test::payload;
using condroid::test::privileged;
using condroid::test::read_file;
using condroid::test::Report;
using condroid::test::run;
using condroid::test::TempRoot;
using namespace condroid::literals;

namespace {

std::string hex(CapabilitySet set) { return fmt::format("{:016x}", set.bits()); }
constexpr const char* no_capabilities = "0000000000000000";

/// A Report of a default container with these changes.
template <class Change>
Report probe(const TempRoot& root, Change change) {
  Spec spec = payload(root, {"probe"});
  change(spec);
  return run(spec);
}

}  // namespace

// ---- closed by default -------------------------------------------------------------------------

TEST_CASE("what is not asked for is closed", "[launch][.root][.userns]") {
  ::setenv("CONDROID_TEST_SECRET", "of the host", 1);
  const TempRoot root;
  const Report seen = probe(root, [](Spec&) {});
  const std::string small = hex(CapabilitySet::small());
  CHECK(seen["Uid"] == "0 0 0 0");
  CHECK(seen["Gid"] == "0 0 0 0");
  CHECK(seen["call.bounding"] == small);
  CHECK(seen["call.effective"] == small);
  CHECK(seen["call.permitted"] == small);
  CHECK(seen["call.inheritable"] == no_capabilities);
  CHECK(seen["call.ambient"] == no_capabilities);
  CHECK(seen["call.no_new_privs"] == "1");
  CHECK(seen["securebits"] == "0");
  CHECK(seen.all("env").empty());
  CHECK(seen.all("arg") == std::vector<std::string>{"/bin/payload", "probe"});
  CHECK(seen.below("fd.") == std::vector<std::string>{"0=device", "1=pipe", "2=pipe"});
  CHECK(seen["cwd"] == "/");
  CHECK(seen["root"] == "/");
  CHECK(seen["call.umask"] == "0022");
  CHECK(seen["session.leader"] == "yes");
  CHECK(seen["controlling_terminal"] == "ENXIO");
  CHECK(seen["keyring"] == "ENOSYS");  // the filter of system calls
  CHECK(seen["death_signal"] == "9");
  CHECK(seen["SigBlk"] == no_capabilities);
  CHECK(seen["SigIgn"] == no_capabilities);
  CHECK(seen["Threads"] == "1");
  // Who may map one group only, keeps those that he has: setgroups(2) is denied to him.
  if (!alone()) CHECK(seen["call.groups"].empty());

  Spec spec = payload(root, {"escalate"});
  const Report tried = run(spec);
  CHECK(tried["mknod"] == "EPERM");
  CHECK(tried["sethostname"] == "EPERM");
}

TEST_CASE("the host's signals, mask and umask do not come along", "[launch][.root][.userns]") {
  const TempRoot root;
  CHECK(in_child([&] {
          for (int n = 1; n < 32; ++n) ::signal(n, SIG_IGN);
          sigset_t all;
          ::sigfillset(&all);
          ::sigprocmask(SIG_SETMASK, &all, nullptr);
          ::umask(0077);
          const Report seen = run(payload(root, {"probe"}));
          must(seen["SigIgn"] == no_capabilities, seen["SigIgn"]);
          must(seen["SigBlk"] == no_capabilities, seen["SigBlk"]);
          must(seen["call.umask"] == "0022", seen["call.umask"]);
          struct stat st {};
          Spec spec = payload(root, {"touch", "/data/made"});
          must(run(spec)["/data/made"] == "ok", "touch");
          must(::stat((root / "data/made").c_str(), &st) == 0 && (st.st_mode & 0777) == 0644,
               "another mode");
        }) == "");
}

// ---- ids ---------------------------------------------------------------------------------------

TEST_CASE("uid, gid and groups are those of the Spec", "[launch][.root][.userns]") {
  const TempRoot root;
  const Report seen = probe(root, [](Spec& s) {
    s.process.uid = {1000};
    s.process.gid = {1001};
    if (!alone()) s.process.groups = {Gid{7}, Gid{1001}, Gid{500}};
  });
  CHECK(seen["Uid"] == "1000 1000 1000 1000");
  CHECK(seen["Gid"] == "1001 1001 1001 1001");
  if (!alone()) CHECK(seen["call.groups"] == "7 500 1001");
  // Another user than root starts with no rights, and can have no more than those.
  CHECK(seen["call.effective"] == no_capabilities);
  CHECK(seen["call.permitted"] == no_capabilities);
  CHECK(seen["call.bounding"] == hex(CapabilitySet::small()));
  Spec spec = payload(root, {"escalate"});
  spec.process.uid = {1000};
  CHECK(run(spec)["setuid0"] == (alone() ? "EINVAL" : "EPERM"));
}

TEST_CASE("the id maps are what the Spec says", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  const Report seen = probe(root, [](Spec& s) {
    s.idmap = {.kind = IdMap::ranges,
               .uids = {{.inside = 0, .outside = 100000, .count = 1000},
                        {.inside = 1000, .outside = 300000, .count = 5}},
               .gids = {{.inside = 0, .outside = 200000, .count = 10}}};
    s.process.uid = {1004};
    s.process.gid = {9};
    s.process.groups = {Gid{3}};
  });
  CHECK(seen["uid_map"] == "0 100000 1000 1000 300000 5");
  CHECK(seen["gid_map"] == "0 200000 10");
  CHECK(seen["setgroups"] == "allow");
  CHECK(seen["call.uid"] == "1004 1004");
  CHECK(seen["call.groups"] == "3");
  const Report none = probe(root, [](Spec& s) { s.idmap.kind = IdMap::none; });
  CHECK(none["uid_map"] == "0 0 4294967295");
}

TEST_CASE("a map without root in it", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  const Report seen = probe(root, [](Spec& s) {
    s.idmap = {.kind = IdMap::ranges,
               .uids = {{.inside = 500, .outside = 100500, .count = 10}},
               .gids = {{.inside = 600, .outside = 100600, .count = 10}}};
    s.process.uid = {501};
    s.process.gid = {602};
  });
  CHECK(seen["call.uid"] == "501 501");
  CHECK(seen["call.gid"] == "602 602");
}

TEST_CASE("a user's id map is made of what he was granted", "[launch][.userns]") {
  const TempRoot root;
  const auto own = [](std::uint32_t inside, std::uint32_t id) {
    return fmt::format("{} {} 1", inside, id);
  };
  const Report seen = probe(root, [](Spec& s) { s.namespaces |= condroid::Namespace::user; });
  if (alone()) {
    CHECK(seen["uid_map"] == own(0, facts().uid.value));
    CHECK(seen["gid_map"] == own(0, facts().gid.value));
    CHECK(seen["setgroups"] == "deny");
    const Report other = probe(root, [](Spec& s) { s.process.uid = {77}, s.process.gid = {78}; });
    CHECK(other["uid_map"] == own(77, facts().uid.value));
    CHECK(other["gid_map"] == own(78, facts().gid.value));
    CHECK(other["call.uid"] == "77 77");
  } else if (!facts().privileged()) {
    const auto& r = facts().subuids.front();
    CHECK(seen["uid_map"] == own(0, facts().uid.value) + fmt::format(" 1 {} {}", r.start, r.count));
    CHECK(seen["setgroups"] == "allow");
  } else {
    CHECK(seen["uid_map"].starts_with("0 "));
    CHECK(seen["setgroups"] == "allow");
  }
  const Report single = probe(root, [](Spec& s) { s.idmap.kind = IdMap::single; });
  CHECK(single["uid_map"] == own(0, facts().uid.value));
}

// ---- rights ------------------------------------------------------------------------------------

TEST_CASE("capabilities are exactly those of the Spec", "[launch][attack][.root][.userns]") {
  const TempRoot root;
  const auto check = [&](CapabilitySet wanted) {
    const Report seen = probe(root, [&](Spec& s) {
      s.security.capabilities = wanted;
      s.security.allow |= Allow::capabilities;
      s.security.allow |= Allow::real_root;
    });
    INFO(hex(wanted));
    for (const char* set : {"bounding", "effective", "permitted"}) {
      INFO(set);
      CHECK(seen[std::string("call.") + set] == hex(wanted));
    }
    CHECK(seen["CapBnd"] == hex(wanted));
  };
  check({});
  check({Capability::kill});
  check({Capability::net_admin, Capability::sys_admin, Capability::chown});
  check(CapabilitySet::from_bits(facts().bounding_caps));
  Spec spec = payload(root, {"probe"});
  spec.security.capabilities.add(Capability::sys_time);
  CHECK_THAT(attempt(spec),
             FailsWith(Errc::bad_spec, Step::compile, "more than the usual: sys_time"));
}

TEST_CASE("ambient capabilities are for other users than root", "[launch][.root][.userns]") {
  const TempRoot root;
  const CapabilitySet wanted = {Capability::net_bind_service, Capability::kill};
  const Report seen = probe(root, [&](Spec& s) {
    s.security.capabilities = wanted;
    s.security.ambient = true;
    s.process.uid = {1000};
  });
  for (const char* set : {"bounding", "effective", "permitted", "inheritable", "ambient"}) {
    INFO(set);
    CHECK(seen[std::string("call.") + set] == hex(wanted));
  }
  CHECK(seen["call.uid"] == "1000 1000");
}

TEST_CASE("each set of capabilities can be said by itself, and what root is worth",
          "[launch][.root][.userns]") {
  const TempRoot root;
  const auto seen_with = [&](CapabilitySets sets, Flags<Securebit> bits, std::uint32_t uid) {
    return probe(root, [&](Spec& s) {
      s.security.capabilities = {Capability::chown, Capability::kill, Capability::fowner};
      s.security.sets = sets;
      s.security.securebits = bits;
      s.process.uid = {uid};
    });
  };
  const std::string all = hex({Capability::chown, Capability::kill, Capability::fowner});
  const std::string kill = hex({Capability::kill});
  {
    // What is inheritable is root's all the same, and stays out of the other sets.
    const Report seen = seen_with({.inheritable = CapabilitySet{Capability::kill}}, {}, 0);
    CHECK(seen["call.inheritable"] == kill);
    CHECK(seen["call.permitted"] == all);
    CHECK(seen["call.ambient"] == no_capabilities);
    CHECK(seen["securebits"] == "0");
  }
  {
    // A root that is nobody: it keeps what is ambient, and never gets more.
    const auto locked = Securebit::noroot | Securebit::noroot_locked |
                        Securebit::no_cap_ambient_raise | Securebit::no_setuid_fixup;
    const Report seen = seen_with({.permitted = CapabilitySet{Capability::kill, Capability::chown},
                                   .effective = CapabilitySet{},
                                   .ambient = CapabilitySet{Capability::kill}},
                                  locked, 0);
    CHECK(seen["call.uid"] == "0 0");
    CHECK(seen["call.bounding"] == all);
    for (const char* set : {"permitted", "effective", "inheritable", "ambient"}) {
      INFO(set);
      CHECK(seen[std::string("call.") + set] == kill);
    }
    CHECK(seen["securebits"] == std::to_string(locked.bits()));
  }
  {
    const Report seen = seen_with({}, Securebit::keep_caps_locked, 1000);
    CHECK(seen["call.permitted"] == no_capabilities);
    CHECK(seen["securebits"] == "32");
  }
}

TEST_CASE("set-id programs gain nothing unless a token says so", "[launch][attack][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  make_file(root / "bin/suid", read_file(CONDROID_PAYLOAD), 0755);
  REQUIRE(::chmod((root / "bin/suid").c_str(), 04755) == 0);
  Spec spec = payload(root, {"probe"});
  spec.process.argv.front() = "/bin/suid";
  spec.process.uid = {1000};
  CHECK(run(spec)["call.uid"] == "1000 1000");
  spec.security.no_new_privs = false;
  CHECK_THAT(attempt(spec), FailsWith(Errc::bad_spec, Step::compile, "security.no_new_privs"));
  spec.security.allow |= Allow::new_privileges;
  // With a token, and on a mount that lets it, whatever the machine says of this one.
  CHECK(in_child([&] {
          condroid::test::enter_own_mounts();
          const char* path = root.str().c_str();
          must(::mount(path, path, nullptr, MS_BIND, nullptr) == 0 &&
                   ::mount(nullptr, path, nullptr, MS_REMOUNT | MS_BIND, nullptr) == 0,
               "a mount without nosuid");
          const Report seen = run(spec);
          must(seen["call.uid"] == "1000 0", seen["call.uid"]);
          must(seen["call.no_new_privs"] == "0", "no_new_privs");
          must(seen["call.effective"] == hex(CapabilitySet::small()), seen["call.effective"]);
        }) == "");
}

// ---- surroundings ------------------------------------------------------------------------------

TEST_CASE("a program of many pieces arrives whole, whatever is answered early",
          "[launch][attack][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  Spec spec = payload(root, {"exit", "0"});
  for (int i = 0; i < 1000; ++i)
    spec.process.env.push_back(fmt::format("N{}=", i) + std::string(1000, 'x'));
  const bool mapped = GENERATE(false, true);
  if (mapped)
    spec.idmap = {.kind = IdMap::ranges,
                  .uids = {{.inside = 0, .outside = 200000, .count = 1000}},
                  .gids = {{.inside = 0, .outside = 200000, .count = 1000}}};
  for (int i = 0; i < 20; ++i) CHECK(launch_and_wait(spec).success());
}

TEST_CASE("the command and its environment are given, nothing else", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"probe", "", "two words", "\xff\x01", "-x"});
  spec.process.env = {"B=2", "A=1", "EMPTY=", "B=3", "X=a=b\nc"};
  const condroid::Exit e = launch_and_wait(spec);
  const Report seen(e);
  CHECK(seen.all("arg") ==
        std::vector<std::string>{"/bin/payload", "probe", "", "two words", "\xff\x01", "-x"});
  CHECK(seen.all("env") == std::vector<std::string>{"B=2", "A=1", "EMPTY=", "B=3", "X=a=b"});
}

TEST_CASE("a command without a slash is looked up in PATH", "[launch][.root][.userns]") {
  const TempRoot root;
  make_dir(root / "opt");
  make_file(root / "opt/tool", read_file(CONDROID_PAYLOAD), 0755);
  make_file(root / "etc/tool", "not to be executed", 0644);
  Spec spec = payload(root, {"exit", "3"});
  spec.process.argv.front() = "payload";  // /bin is in the default
  CHECK(launch_and_wait(spec).code == 3);
  spec.process.argv.front() = "tool";
  CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::exec, "tool"));
  spec.process.env = {"PATH=/no/such:/etc:/opt"};
  CHECK(launch_and_wait(spec).code == 3);
  spec.process.env = {"PATH=/no/such:/etc"};
  CHECK_THAT(attempt(spec), FailsWith(EACCES, Step::exec, "tool"));
  // An empty element is the working directory.
  spec.process.env = {"PATH=/no/such:"};
  spec.process.cwd = "/opt"_guest;
  CHECK(launch_and_wait(spec).code == 3);
}

TEST_CASE("scripts are executed, what is no program is not", "[launch][.root][.userns]") {
  const TempRoot root;
  make_file(root / "bin/script", "#!/bin/payload owner\n", 0755);
  make_file(root / "bin/lost", "#!/no/such/interpreter\n", 0755);
  make_file(root / "bin/garbage", "\x01\x02\x03\x04", 0755);
  make_file(root / "bin/text", "just text\n", 0644);
  Spec spec = payload(root, {"/data/file"});
  spec.process.argv.front() = "/bin/script";
  CHECK(run(spec)["/data/file"] != "(missing)");
  spec.process.argv.front() = "/bin/lost";
  CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::exec, "/bin/lost"));
  spec.process.argv.front() = "/bin/garbage";
  CHECK_THAT(attempt(spec), FailsWith(ENOEXEC, Step::exec, "/bin/garbage"));
  spec.process.argv.front() = "/bin/text";
  CHECK_THAT(attempt(spec), FailsWith(EACCES, Step::exec, "/bin/text"));
  spec.process.argv.front() = "/bin";
  CHECK_THAT(attempt(spec), FailsWith(EACCES, Step::exec, "/bin"));
}

TEST_CASE("the working directory", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  spec.process.cwd = "/data"_guest;
  CHECK(run(spec)["cwd"] == "/data");
  spec.process.cwd = "/data/not/there"_guest;
  CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::change_directory, "/data/not/there"));
  spec.process.create_cwd = true;
  CHECK(run(spec)["cwd"] == "/data/not/there");
  spec.process.cwd = "/data/file"_guest;
  CHECK_THAT(attempt(spec), FailsWith(ENOTDIR, Step::change_directory, "/data/file"));
}

TEST_CASE("limits are set, and those that are not are the host's", "[launch][.root][.userns]") {
  const TempRoot root;
  constexpr auto unlimited = RlimitSetting::unlimited;
  const Report seen = probe(root, [](Spec& s) {
    s.process.rlimits = {{.resource = Rlimit::nofile, .soft = 100, .hard = 200},
                         {.resource = Rlimit::core, .soft = 0, .hard = 0},
                         {.resource = Rlimit::cpu, .soft = 1000, .hard = unlimited},
                         {.resource = Rlimit::stack, .soft = 1 << 20, .hard = 1 << 21}};
  });
  const auto text = [](rlim_t n) { return std::to_string(n); };
  CHECK(seen["rlimit.nofile"] == "100 200");
  CHECK(seen["rlimit.core"] == "0 0");
  CHECK(seen["rlimit.cpu"] == "1000 " + text(RLIM_INFINITY));
  CHECK(seen["rlimit.stack"] == "1048576 2097152");

  const Report usual = probe(root, [](Spec&) {});
  struct Limit {
    const char* name;
    int number;
  };
  for (const auto& [name, number] :
       {Limit{"cpu", RLIMIT_CPU}, Limit{"nofile", RLIMIT_NOFILE}, Limit{"nproc", RLIMIT_NPROC},
        Limit{"stack", RLIMIT_STACK}, Limit{"core", RLIMIT_CORE}, Limit{"memlock", RLIMIT_MEMLOCK},
        Limit{"as", RLIMIT_AS}, Limit{"rtprio", RLIMIT_RTPRIO}}) {
    INFO(name);
    rlimit own{};
    REQUIRE(::getrlimit(static_cast<__rlimit_resource>(number), &own) == 0);
    CHECK(usual[std::string("rlimit.") + name] == text(own.rlim_cur) + " " + text(own.rlim_max));
  }
}

TEST_CASE("how likely the kernel is to choose it for memory", "[launch][.root][.userns]") {
  const TempRoot root;
  CHECK(probe(root, [](Spec& s) { s.process.oom_score_adj = 777; })["oom_score_adj"] == "777");
  Spec spec = payload(root, {"probe"});
  spec.process.oom_score_adj = -500;
  // Less than it had takes CAP_SYS_RESOURCE on the host.
  if (privileged() && facts().has_cap(static_cast<unsigned>(Capability::sys_resource)))
    CHECK(run(spec)["oom_score_adj"] == "-500");
  else
    CHECK_THAT(attempt(spec), FailsWith(EACCES, Step::write_setting, "oom_score_adj"));
  CHECK(read_file("/proc/self/oom_score_adj") == "0\n");
}

TEST_CASE("files of its own directory in /proc", "[launch][.root][.userns]") {
  const TempRoot root;
  const std::string ours = read_file("/proc/self/coredump_filter");
  const auto seen = probe(root, [](Spec& s) {
    s.process.proc_files = {
        {"coredump_filter", "0x1"}, {"timerslack_ns", "70000"}, {"coredump_filter", "0x33"}};
  });
  CHECK(seen["coredump_filter"] == "00000033");
  CHECK(seen["timerslack_ns"] == "70000");
  CHECK(read_file("/proc/self/coredump_filter") == ours);

  Spec spec = payload(root, {"probe"});
  spec.process.proc_files = {{"no_such_file", "1"}};
  CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::write_setting, "no_such_file"));
  spec.process.proc_files = {{"coredump_filter", "many"}};
  CHECK_THAT(attempt(spec), FailsWith(EINVAL, Step::write_setting, "coredump_filter"));
}

TEST_CASE("a boot id of its own", "[launch][.root][.userns]") {
  const TempRoot root;
  const std::string path = "/proc/sys/kernel/random/boot_id", ours = read_file(path);
  Spec spec = payload(root, {"read", path});
  CHECK(run(spec)[path] + "\n" == ours);
  spec.lifecycle.own_boot_id = true;
  const std::string first = run(spec)[path], second = run(spec)[path];
  CHECK(first != second);
  CHECK(first + "\n" != ours);
  // Version 4 of RFC 4122.
  REQUIRE(first.size() == 36);
  CHECK(first[14] == '4');
  CHECK(std::string("89ab").find(first[19]) != std::string::npos);
  CHECK(first.find_first_not_of("0123456789abcdef-") == std::string::npos);
  CHECK(read_file(path) == ours);

  spec.process.argv = {"/bin/payload", "write", path, "x"};
  CHECK(run(spec)["open"] == "EROFS");
}

TEST_CASE("a core for itself", "[launch][.root][.userns]") {
  // What the kernel says of it to this process, in a child that it is undone with.
  const pid_t child = ::fork();
  if (child == 0) ::_exit(::prctl(62, 1, 0, 1, 0) == 0 ? 0 : errno);  // PR_SCHED_CORE
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  spec.process.scheduling.core = true;
  INFO(WEXITSTATUS(status));
  if (WEXITSTATUS(status) == EINVAL) {
    CHECK_THAT(attempt(spec), FailsWith(EINVAL, Step::set_scheduling, "a core for itself"));
    return;
  }
  // A machine whose cores have one thread each says ENODEV, and there it is so already.
  const auto seen = run(spec);
  if (WEXITSTATUS(status) == 0)
    CHECK(seen["core_cookie"] != "0");
  else
    CHECK(WEXITSTATUS(status) == ENODEV);
}

TEST_CASE("umask, personality and session", "[launch][.root][.userns]") {
  const TempRoot root;
  const Report seen = probe(root, [](Spec& s) {
    s.process.umask = Mode{0077};
    s.process.personality = Personality::linux32;
    s.process.new_session = false;
    s.process.death_signal = Signal{15};
  });
  CHECK(seen["call.umask"] == "0077");
  if (facts().machine == "x86_64") CHECK(seen["machine"] == "i686");
  CHECK(seen["personality"] == "8");
  CHECK(seen["session.leader"] == "no");
  CHECK(seen["death_signal"] == "15");
}

TEST_CASE("scheduling", "[launch][.root][.userns]") {
  const TempRoot root;
  const Report nice = probe(
      root, [](Spec& s) { s.process.scheduling = {.policy = SchedPolicy::batch, .nice = 7}; });
  CHECK(nice["nice"] == "7");
  CHECK(nice["policy"] == "3");
  cpu_set_t own;
  REQUIRE(::sched_getaffinity(0, sizeof own, &own) == 0);
  unsigned first = 0;
  while (!CPU_ISSET(first, &own)) ++first;
  const Report pinned = probe(root, [&](Spec& s) { s.process.scheduling = {.cpus = {first}}; });
  CHECK(pinned["cpus"] == std::to_string(first));
  const Report idle =
      probe(root, [](Spec& s) { s.process.scheduling = {.policy = SchedPolicy::idle}; });
  CHECK(idle["policy"] == "5");
  Spec spec = payload(root, {"probe"});
  spec.process.scheduling = {.policy = SchedPolicy::other, .nice = -3};
  if (privileged()) {
    CHECK(run(spec)["nice"] == "-3");
    spec.process.scheduling = {.policy = SchedPolicy::fifo, .priority = 5};
    CHECK(run(spec)["policy"] == "1");
  } else {
    CHECK_THAT(attempt(spec), FailsWith(EACCES, Step::set_scheduling));
  }
  spec.process.scheduling = {.cpus = {8000}};
  CHECK_THAT(attempt(spec), FailsWith(EINVAL, Step::set_scheduling));
}

TEST_CASE("kernel settings are those of the container's own namespaces",
          "[launch][.root][.userns]") {
  const TempRoot root;
  const std::string host = read_file("/proc/sys/net/ipv4/ip_default_ttl");
  Spec spec = payload(root, {"read", "/proc/sys/net/ipv4/ip_default_ttl"});
  spec.security.sysctls = {{.name = "net.ipv4.ip_default_ttl", .value = "111"}};
  CHECK(run(spec)["/proc/sys/net/ipv4/ip_default_ttl"] == "111");
  CHECK(read_file("/proc/sys/net/ipv4/ip_default_ttl") == host);
  // The container itself cannot change it any more.
  spec.process.argv = {"/bin/payload", "write", "/proc/sys/net/ipv4/ip_default_ttl", "5"};
  CHECK(run(spec)["open"] == (privileged() ? "EROFS" : "EACCES"));

  spec.security.sysctls = {{.name = "net/ipv4/no_such_setting", .value = "1"}};
  CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::write_setting, "no_such_setting"));
  spec.security.sysctls = {{.name = "net.ipv4.ip_default_ttl", .value = "much"}};
  CHECK_THAT(attempt(spec), FailsWith(EINVAL, Step::write_setting, "ip_default_ttl"));
  spec.security.sysctls = {{.name = "kernel.panic", .value = "1"}};
  CHECK_THAT(attempt(spec), FailsWith(Errc::bad_spec, Step::compile, "kernel.panic"));
  if (privileged()) {
    spec.security.sysctls = {{.name = "kernel.msgmax", .value = "12345"},
                             {.name = "fs.mqueue.queues_max", .value = "17"}};
    spec.process.argv = {"/bin/payload", "read", "/proc/sys/kernel/msgmax",
                         "/proc/sys/fs/mqueue/queues_max"};
    const Report seen = run(spec);
    CHECK(seen["/proc/sys/kernel/msgmax"] == "12345");
    CHECK(seen["/proc/sys/fs/mqueue/queues_max"] == "17");
  }
}

TEST_CASE("a keyring of the host is not the container's", "[launch][attack][.root][.userns]") {
  const TempRoot root;
  const auto with_keys = [](Spec& s) {
    s.security.seccomp.kind = condroid::Seccomp::none;
    s.security.allow |= Allow::all_syscalls;
  };
  const auto and_the_hosts = [&](Spec& s) {
    with_keys(s);
    s.security.own_keyring = false;
  };
  CHECK(probe(root, and_the_hosts)["keyring"].find("keys") != std::string::npos);
  CHECK(probe(root, with_keys)["keyring"] == "0 keys");
}
