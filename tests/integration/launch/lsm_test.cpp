// Landlock and labels: what a container's programs may still reach.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "condroid/attach.hpp"
#include "condroid/config/apparmor.hpp"
#include "condroid/pool.hpp"
#include "condroid/registry.hpp"
#include "containers.hpp"
#include "forked.hpp"

namespace {

using namespace condroid;
using namespace condroid::literals;
using namespace condroid::test;

/// What came of each of these in a container with these rules and one for the program itself.
Spec reaching(const TempRoot& root, Landlock rules, std::vector<std::string> what) {
  what.insert(what.begin(), "reach");
  Spec spec = payload(root, what);
  if (rules.handled.any(landlock::run)) rules.permit(landlock::run, "/bin"_guest);
  rules.best_effort = true;
  spec.security.landlock = std::move(rules);
  return spec;
}

void need_landlock() {
  if (facts().landlock_abi == 0) CONDROID_SKIP("needs a kernel with Landlock");
}

/// Whether this kernel has what came with that version; where it has not, that is said.
bool has_abi(unsigned least, const TempRoot& root, Landlock rules, const char* refusal) {
  if (facts().landlock_abi >= least) return true;
  Spec spec = reaching(root, std::move(rules), {});
  spec.security.landlock.best_effort = false;
  CHECK_THAT(attempt(spec), FailsWith(Errc::unsupported, Step::compile, refusal));
  spec.security.landlock.best_effort = true;
  CHECK(launch(spec).left_out().size() == 1);
  return false;
}

}  // namespace

TEST_CASE("what no rule permits is closed, and what one permits is open",
          "[lsm][landlock][.root][.userns]") {
  need_landlock();
  const TempRoot root;
  make_dir(root / "data/below");
  make_file(root / "data/below/file", "deep\n");
  ::chmod((root / "data/file").c_str(), 0666);
  ::chmod((root / "data/below").c_str(), 0777);
  make_file(root / "tmp/payload", read_file(CONDROID_PAYLOAD), 0755);
  const std::vector<std::string> all = {"read:/data/file",
                                        "write:/data/file",
                                        "read:/data/below/file",
                                        "list:/data",
                                        "make:/data/below/new",
                                        "remove:/data/below/new",
                                        "read:/etc/hostname",
                                        "list:/etc",
                                        "list:/",
                                        "make:/tmp/new",
                                        "run:/bin/payload",
                                        "run:/tmp/payload"};
  const Report open = run(reaching(root, {}, all));
  for (const std::string& what : all) CHECK(open[what] == "ok");
  must(::unlink((root / "tmp/new").c_str()) == 0, "unlink");

  Landlock rules;
  rules.permit(landlock::read, "/data"_guest);
  const Report seen = run(reaching(root, rules, all));
  for (const char* what :
       {"read:/data/file", "read:/data/below/file", "list:/data", "run:/bin/payload"}) {
    INFO(what);
    CHECK(seen[what] == "ok");
  }
  for (const char* what : {"write:/data/file", "make:/data/below/new", "read:/etc/hostname",
                           "list:/etc", "list:/", "make:/tmp/new", "run:/tmp/payload"}) {
    INFO(what);
    CHECK(seen[what] == "EACCES");
  }

  SECTION("single files, and directories below others") {
    Landlock single;
    single.permit(landlock::read, "/etc/hostname"_guest)
        .permit(landlock::write, "/data/below"_guest);
    const Report r = run(reaching(root, single, all));
    CHECK(r["read:/etc/hostname"] == "ok");
    CHECK(r["list:/etc"] == "EACCES");
    CHECK(r["make:/data/below/new"] == "ok");
    CHECK(r["remove:/data/below/new"] == "ok");
    CHECK(r["read:/data/below/file"] == "EACCES");
    CHECK(r["read:/data/file"] == "EACCES");
  }
  SECTION("only what is handled is closed") {
    Landlock writes{.handled = landlock::write};
    writes.permit(landlock::write, "/tmp"_guest);
    const Report r = run(reaching(root, writes, all));
    CHECK(r["read:/etc/hostname"] == "ok");
    CHECK(r["run:/tmp/payload"] == "ok");
    CHECK(r["make:/tmp/new"] == "ok");
    CHECK(r["write:/data/file"] == "EACCES");
  }
  SECTION("the command without a rule is not executed") {
    Spec spec = payload(root, {"exit", "0"});
    spec.security.landlock.permit(landlock::read, "/data"_guest).best_effort = true;
    CHECK_THAT(attempt(spec), FailsWith(EACCES, Step::exec, "/bin/payload"));
  }
  SECTION("a user with no capability is under it as root is") {
    Spec spec = reaching(root, rules, {"read:/data/file", "read:/etc/hostname"});
    spec.security.capabilities = {};
    const Report r = run(spec);
    CHECK(r["read:/data/file"] == "ok");
    CHECK(r["read:/etc/hostname"] == "EACCES");
  }
}

TEST_CASE("a rule names what is there, without a link", "[lsm][landlock][.root][.userns]") {
  need_landlock();
  const TempRoot root;
  must(::symlink("/data", (root / "mnt/link").c_str()) == 0, "link");
  must(::symlink("../../../../../../etc", (root / "mnt/out").c_str()) == 0, "link");
  const auto with = [&](LandlockRule rule) {
    Landlock l{.handled = landlock::all, .rules = {std::move(rule)}};
    return reaching(root, l, {"read:/data/file", "read:/etc/hostname"});
  };
  const Surroundings before = Surroundings::quiet();
  CHECK_THAT(attempt(with({"/data/none"_guest, landlock::read})),
             FailsWith(ENOENT, Step::apply_landlock, "rule '/data/none'"));
  CHECK_THAT(attempt(with({"/data/file/none"_guest, landlock::read})),
             FailsWith(ENOTDIR, Step::apply_landlock, "rule '/data/file/none'"));
  CHECK_THAT(attempt(with({"/data/file"_guest, LandlockAccess::make_dir})),
             FailsWith(ENOTDIR, Step::apply_landlock, "rule '/data/file'"));
  CHECK_THAT(attempt(with({"/mnt/link"_guest, landlock::read})),
             FailsWith(ELOOP, Step::apply_landlock, "rule '/mnt/link'"));
  CHECK(Surroundings::settled(before) == before);
  LandlockRule optional{"/data/none"_guest, landlock::read};
  optional.optional = true;
  CHECK(run(with(optional))["read:/data/file"] == "EACCES");
  LandlockRule link{"/mnt/link"_guest, landlock::read};
  link.follow_links = true;
  CHECK(run(with(link))["read:/data/file"] == "ok");
  // The container's own /etc, whatever way the link takes.
  link.path = "/mnt/out"_guest;
  const Report seen = run(with(link));
  CHECK(seen["read:/etc/hostname"] == "ok");
  CHECK(seen["read:/data/file"] == "EACCES");
}

TEST_CASE("TCP ports are those that are named", "[lsm][landlock][.root][.userns]") {
  need_landlock();
  const TempRoot root;
  if (!has_abi(4, root, {.tcp = LandlockTcp::bind}, "'bind' needs Linux 6.7")) return;
  const std::vector<std::string> all = {"bind:8080", "bind:8081", "connect:8080", "connect:443"};
  Landlock rules;
  rules.permit_bind(8080).permit_connect(443);
  const Report seen = run(reaching(root, rules, all));
  CHECK(seen["bind:8080"] == "ok");
  CHECK(seen["bind:8081"] == "EACCES");
  CHECK(seen["connect:8080"] == "EACCES");
  CHECK(seen["connect:443"] == "ECONNREFUSED");
  const Report none = run(reaching(root, {.tcp = LandlockTcp::connect}, all));
  CHECK(none["bind:8081"] == "ok");
  CHECK(none["connect:443"] == "EACCES");
}

TEST_CASE("signals and abstract sockets stay inside", "[lsm][landlock][.root]") {
  need_landlock();
  const TempRoot root;
  if (!has_abi(6, root, {.scope = LandlockScope::signal}, "'signal' needs Linux 6.12")) return;
  const std::string name = fmt::format("landlock-test-{}", ::getpid());
  const Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  std::memcpy(a.sun_path + 1, name.data(), name.size());
  must(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&a),
              static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())) == 0 &&
           ::listen(listener.get(), 8) == 0,
       "listen");
  const auto with = [&](Flags<LandlockScope> scope) {
    Spec spec = reaching(root, {.scope = scope}, {"abstract:" + name, "signal:1", "signal:2"});
    spec.namespaces -= Namespace::net;
    spec.security.allow |= Allow::host_network;
    spec.process.init = true;
    return run(spec);
  };
  const Report open = with({});
  CHECK(open["abstract:" + name] == "ok");
  CHECK(open["signal:1"] == "ok");
  const Report closed = with(LandlockScope::abstract_socket | LandlockScope::signal);
  CHECK(closed["abstract:" + name] == "EPERM");
  CHECK(closed["signal:1"] == "EPERM");  // the init is outside
  CHECK(closed["signal:2"] == "ok");     // itself
}

TEST_CASE("what joins a container later has its rules, too", "[lsm][landlock][.root][.userns]") {
  need_landlock();
  const TempRoot root;
  Landlock rules;
  rules.permit(landlock::read, "/data"_guest);
  Spec spec = reaching(root, rules, {});
  const std::vector<std::string> reach = {"/bin/payload", "reach", "read:/data/file",
                                          "read:/etc/hostname"};

  SECTION("attached") {
    spec.process.argv = {"/bin/payload", "pause"};
    Container box = launch(spec);
    Attach what{.process = {.argv = reach, .stdio = Stdio::capture}};
    const auto seen = [&] {
      auto task = box.attach(what);
      if (!task) FAIL(to_string(task.error()));
      return Report(task->wait().value());
    };
    Report r = seen();
    CHECK(r["read:/data/file"] == "ok");
    CHECK(r["read:/etc/hostname"] == "EACCES");
    what.landlock = Landlock{}.permit(landlock::run, "/"_guest);
    what.landlock->best_effort = true;
    CHECK(seen()["read:/etc/hostname"] == "ok");
    what.landlock = Landlock{};
    CHECK(seen()["read:/etc/hostname"] == "ok");
    // Of whoever is found by pid nobody knows the rules; of a container it is known that it has
    // some.
    const auto found =
        Registry::find(fmt::format("{}", box.pid().value), HostPath(facts().state_dir));
    REQUIRE(found.has_value());
    CHECK(found->landlock);
    what.landlock = spec.security.landlock;
    auto task = runtime().attach(box.pid(), what);
    if (!task) FAIL(to_string(task.error()));
    r = Report(task->wait().value());
    CHECK(r["read:/data/file"] == "ok");
    CHECK(r["read:/etc/hostname"] == "EACCES");
  }
  SECTION("the command of a small init") {
    spec.process.argv = reach;
    spec.process.init = true;
    const Report r = run(spec);
    CHECK(r["read:/data/file"] == "ok");
    CHECK(r["read:/etc/hostname"] == "EACCES");
  }
  SECTION("taken from a pool") {
    spec.process.argv = reach;
    auto pool = Pool::open(runtime(), spec, {.size = 1});
    if (!pool) FAIL(to_string(pool.error()));
    auto box = pool->take();
    if (!box) FAIL(to_string(box.error()));
    const Report r(wait(*box));
    CHECK(r["read:/data/file"] == "ok");
    CHECK(r["read:/etc/hostname"] == "EACCES");
  }
}

TEST_CASE("Landlock goes with privileges that may be gained, for who may",
          "[lsm][landlock][.root]") {
  need_landlock();
  const TempRoot root;
  Landlock rules;
  rules.permit(landlock::read, "/data"_guest);
  Spec spec = reaching(root, rules, {"read:/data/file", "read:/etc/hostname"});
  spec.security.no_new_privs = false;
  spec.security.allow |= Allow::new_privileges;
  const Report seen = run(spec);
  CHECK(seen["read:/data/file"] == "ok");
  CHECK(seen["read:/etc/hostname"] == "EACCES");
}

// ---- labels -------------------------------------------------------------------------------------

TEST_CASE("a label without its module is refused", "[lsm][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"exit", "0"});
  spec.security.selinux = "system_u:system_r:container_t:s0";
  if (!facts().selinux)
    CHECK_THAT(attempt(spec), FailsWith(Errc::unsupported, Step::compile, "security.selinux: SEL"));
  spec.security.selinux.clear();
  spec.security.apparmor = "container";
  if (!facts().apparmor)
    CHECK_THAT(attempt(spec),
               FailsWith(Errc::unsupported, Step::compile, "security.apparmor: App"));
  else
    CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::set_label, "'container'"));
}

namespace {

/// What a command that is attached says, by the container's handle or by its pid.
Report seen_attached(Container& box, const std::vector<std::string>& command,
                     std::optional<bool> label, bool by_pid) {
  const Attach what{.process = {.argv = command, .stdio = Stdio::capture}, .lsm_label = label};
  auto task = by_pid ? runtime().attach(box.pid(), what) : box.attach(what);
  if (!task) FAIL(to_string(task.error()));
  return Report(task->wait().value());
}

/// A profile that is loaded as long as this lives.
class Profile {
 public:
  explicit Profile(const std::string& text) {
    make_file(file_, text);
    must(parser("--replace"), "apparmor_parser");
  }
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;
  ~Profile() { (void)parser("--remove"); }
  static constexpr const char* name = "condroid-test-box";

 private:
  [[nodiscard]] bool parser(const char* what) const {
    const std::string command =
        fmt::format("PATH=$PATH:/usr/sbin:/sbin apparmor_parser --skip-cache {} {}", what, file_);
    return std::system(command.c_str()) == 0;
  }
  TempDir dir_;
  std::string file_ = dir_ / "profile";
};

}  // namespace

TEST_CASE("a command runs under the profile that is named", "[lsm][.apparmor]") {
  REQUIRE(facts().apparmor);
  // Made from a Spec that hides one file.
  Spec hiding;
  hiding.security.masked_paths = {"/data/file"_guest};
  const Profile profile(apparmor::profile(hiding, Profile::name).value());
  const TempRoot root;
  const std::string label = fmt::format("{} (enforce)", Profile::name);
  const std::string current = "/proc/self/attr/apparmor/current";
  const std::vector<std::string> reads = {"/bin/payload", "read", "/data/file", "/etc/hostname",
                                          current};
  Spec spec = payload(root, {});
  spec.process.argv = reads;
  const Report open = run(spec);
  CHECK(open["/data/file"] == "original");
  CHECK(open[current] == "unconfined");
  const auto confined = [&](const Report& r) {
    CHECK(r["/data/file"] == "(EACCES)");
    CHECK(r["/etc/hostname"] == "nobody asked");
    CHECK(r[current] == label);
  };
  spec.security.apparmor = Profile::name;

  SECTION("as the first process, or below an init, or in a user namespace") {
    confined(run(spec));
    spec.process.init = true;
    confined(run(spec));
    spec.process.init = false;
    spec.idmap.kind = IdMap::ranges;
    spec.idmap.uids = spec.idmap.gids = {{0, 0, 65536}};
    confined(run(spec));
  }
  SECTION("taken from a pool") {
    auto pool = Pool::open(runtime(), spec, {.size = 1});
    if (!pool) FAIL(to_string(pool.error()));
    auto box = pool->take();
    if (!box) FAIL(to_string(box.error()));
    confined(Report(wait(*box)));
  }
  SECTION("attached") {
    spec.process.argv = {"/bin/payload", "pause"};
    Container box = launch(spec);
    const auto attached = [&](std::optional<bool> take, bool by_pid) {
      return seen_attached(box, reads, take, by_pid);
    };
    confined(attached({}, false));
    confined(attached(true, false));
    confined(attached({}, true));
    CHECK(attached(false, false)[current] == "unconfined");
    CHECK(attached(false, true)["/data/file"] == "original");
  }
  SECTION("another spelling of its name is refused with the right one") {
    spec.security.apparmor = fmt::format("{0}//&{0}", Profile::name);
    const Failure failed = attempt(spec);
    CHECK_THAT(failed, FailsWith(EPERM, Step::set_label, fmt::format("'{}'", Profile::name)));
    INFO(to_string(*failed.error));
    CHECK(failed.error->hint.find("as it is read back") != std::string::npos);
  }
  SECTION("none is a profile, too") {
    spec.security.apparmor = "unconfined";
    CHECK(run(spec)["/data/file"] == "original");
  }
  SECTION("one that is not loaded is refused by its name") {
    spec.security.apparmor = "condroid-test-none";
    const Surroundings before = Surroundings::quiet();
    CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::set_label, "'condroid-test-none'"));
    CHECK(Surroundings::settled(before) == before);
  }
}

// Under the policy of selinux.cil: run.sh's stage vm.
TEST_CASE("commands and mounts have the SELinux context that is named", "[lsm][.selinux]") {
  REQUIRE(facts().selinux);
  const TempRoot root;
  const std::string current = "/proc/self/attr/current", label = "u:r:box_t:s0:c0";
  const std::vector<std::string> reads = {"/bin/payload", "read", current};
  const auto says = [&](const Report& r, const std::string& what) {
    CHECK(r[current].substr(0, r[current].find('\0')) == what);
  };
  Spec spec = payload(root, {});
  spec.process.argv = reads;
  says(run(spec), "u:r:host_t:s0");
  spec.security.selinux = label;

  SECTION("as the first process, or below an init, or in a user namespace") {
    says(run(spec), label);
    spec.process.init = true;
    says(run(spec), label);
    spec.process.init = false;
    spec.idmap.kind = IdMap::ranges;
    spec.idmap.uids = spec.idmap.gids = {{0, 0, 65536}};
    says(run(spec), label);
  }
  SECTION("taken from a pool") {
    auto pool = Pool::open(runtime(), spec, {.size = 1});
    if (!pool) FAIL(to_string(pool.error()));
    auto box = pool->take();
    if (!box) FAIL(to_string(box.error()));
    says(Report(wait(*box)), label);
  }
  SECTION("attached") {
    spec.process.argv = {"/bin/payload", "pause"};
    Container box = launch(spec);
    const auto attached = [&](std::optional<bool> take, bool by_pid) {
      return seen_attached(box, reads, take, by_pid);
    };
    says(attached({}, false), label);
    says(attached({}, true), label);
    says(attached(false, true), "u:r:host_t:s0");
  }
  SECTION("of what is mounted, too") {
    spec.security.selinux_mount = "u:object_r:box_file_t:s0:c1";
    spec.root.ephemeral = true;
    spec.process.argv = {"/bin/payload", "pause"};
    const Container box = launch(spec);
    const std::string file = fmt::format("/proc/{}/root/new", box.pid().value);
    make_file(file, "");
    char text[100] = {};
    REQUIRE(::getxattr(file.c_str(), "security.selinux", text, sizeof text) > 0);
    CHECK(text == spec.security.selinux_mount);
  }
  SECTION("of its session keyring, too") {
    spec.process.argv = {"/bin/payload", "probe"};
    spec.security.seccomp.kind = Seccomp::none;
    spec.security.seccomp.and_standard = false;
    spec.security.allow |= Allow::all_syscalls;
    CHECK(run(spec)["keyring_label"] == "u:r:host_t:s0");
    spec.security.selinux_keyring = "u:r:box_t:s0:c1";
    CHECK(run(spec)["keyring_label"] == "u:r:box_t:s0:c1");
    spec.security.selinux_keyring = "u:r:nobody_t:s0";
    CHECK_THAT(attempt(spec), FailsWith(EINVAL, Step::set_label, "'u:r:nobody_t:s0'"));
  }
  SECTION("one that the policy does not lead to, or has not heard of, is refused") {
    const Surroundings before = Surroundings::quiet();
    spec.security.selinux = "u:r:other_t:s0";
    CHECK_THAT(attempt(spec), FailsWith(EACCES, Step::exec, "'/bin/payload'"));
    spec.security.selinux = "u:r:nobody_t:s0";
    CHECK_THAT(attempt(spec), FailsWith(EINVAL, Step::set_label, "'u:r:nobody_t:s0'"));
    CHECK(Surroundings::settled(before) == before);
  }
}

namespace {

/// The loaded profiles whose names begin so, one a line, with their modes.
std::vector<std::string> loaded(const std::string& beginning) {
  std::vector<std::string> out;
  std::istringstream lines(read_file("/sys/kernel/security/apparmor/profiles"));
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(beginning)) out.push_back(line);
  return out;
}
bool soon_gone(const std::string& beginning) {
  for (int i = 0; i < 2000 && !loaded(beginning).empty(); ++i) ::usleep(10000);
  return loaded(beginning).empty();
}

/// Of the test program's own Runtime: the one state file that there is.
std::string runtime_in(const std::string& state_dir) {
  for (const std::string& name : entries_of(state_dir))
    if (name.starts_with("condroid-")) return name;
  return "none";
}

std::string label_of(Pid pid) {
  std::string label = read_file(fmt::format("/proc/{}/attr/apparmor/current", pid.value));
  while (!label.empty() && label.back() == '\n') label.pop_back();
  return label;
}

const std::string current = "/proc/self/attr/apparmor/current";

Spec with_own_profile(const TempRoot& root, std::vector<std::string> verb) {
  Spec spec = payload(root, std::move(verb));
  spec.name = "own";
  spec.security.masked_paths.emplace_back("/data/file");
  spec.security.own_apparmor = true;
  return spec;
}

/// A program with a Runtime and a launch of its own, which looks after what it has launched.
struct Other {
  Other(const Spec& spec, bool stops)
      : state(fmt::format("/tmp/test-profiles-{}", ::getpid())), program([&] {
          auto rt = Runtime::open({.state_dir = HostPath(state)});
          if (!rt) return 1;
          auto facts = rt->facts();
          auto plan = facts ? compile(spec, *facts) : fail(facts);
          if (!plan) return 2;
          LaunchOptions options;
          if (stops) options.stop_before = plan->find("clone").value();
          auto launch = rt->start(std::move(*plan), options);
          if (!launch) return 3;
          std::optional<Container> box;
          while (!box && !launch->stopped()) {
            auto done = launch->step();
            if (!done) return 4;
            if (*done) box = std::move(**done);
            const auto [fd, events] = launch->interest();
            pollfd waiting{fd.get(), events, 0};
            if (!box && !launch->stopped()) (void)::poll(&waiting, 1, launch->timeout());
          }
          const std::array<int, 2> said{rt->zygote_pid().value, box ? box->pid().value : 0};
          if (::write(in.get(), &said, sizeof said) != sizeof said) return 5;
          if (box) (void)box->wait();
          for (;;) ::pause();
        }) {
    std::array<int, 2> said{};
    in.reset();
    must(::read(out.get(), &said, sizeof said) == sizeof said, "what the other program said");
    zygote = said[0];
    pid = said[1];
    runtime = runtime_in(state);
  }
  std::string state;
  Fd out, in = ends(out);
  Forked program;
  int zygote = 0, pid = 0;
  std::string runtime;

 private:
  static Fd ends(Fd& out) {
    int pair[2];
    must(::pipe2(pair, O_CLOEXEC) == 0, "pipe2");
    out = Fd(pair[0]);
    return Fd(pair[1]);
  }
};

}  // namespace

TEST_CASE("each container has a profile of its own, which is gone with it", "[lsm][.apparmor]") {
  REQUIRE(facts().apparmor_loads);
  REQUIRE_FALSE(facts().apparmor_parser.empty());
  const TempRoot root;
  const std::string ours = runtime_in(facts().state_dir);
  const std::vector<std::string> reads = {"/bin/payload", "read", "/data/file", current};

  SECTION("each another one, and what joins a container has the container's") {
    const Spec spec = with_own_profile(root, {"pause"});
    Container a = launch(spec), b = launch(spec);
    const std::string label = label_of(a.pid());
    CHECK(label.starts_with(ours + ".own."));
    CHECK(label.ends_with(" (enforce)"));
    CHECK(label != label_of(b.pid()));
    CHECK(loaded(ours).size() == 2);
    for (const bool by_pid : {false, true}) {
      const Attach what{.process = {.argv = reads, .stdio = Stdio::capture}};
      auto task = by_pid ? runtime().attach(a.pid(), what) : a.attach(what);
      if (!task) FAIL(to_string(task.error()));
      const Report r(task->wait().value());
      CHECK(r[current] == label);
      CHECK(r["/data/file"] == "(EACCES)");
    }
    must(a.kill().has_value(), "kill");
    CHECK(a.wait().value().cleanup_errors.empty());
    CHECK(loaded(ours) == std::vector{label_of(b.pid())});
  }
  SECTION("with lines of one's own") {
    Spec spec = with_own_profile(root, {"read", "/data/file", "/bin/payload"});
    spec.security.masked_paths.clear();
    spec.security.allow |= Allow::unmasked_kernel;
    CHECK(run(spec)["/data/file"] != "(EACCES)");
    spec.security.apparmor_rules = {"deny /data/** r,", "# a comment"};
    CHECK(run(spec)["/data/file"] == "(EACCES)");
    spec.security.apparmor_rules = {"deny what,"};
    CHECK_THAT(attempt(spec), FailsWith(Errc::unsupported, Step::load_profile, "apparmor_parser"));
    CHECK(loaded(ours).empty());
  }
  SECTION("an init has none, but what is attached to it has its command's") {
    Spec spec = with_own_profile(root, {"pause"});
    spec.process.init = true;
    Container box = launch(spec);
    REQUIRE(loaded(ours).size() == 1);
    Attach what{.process = {.argv = reads, .stdio = Stdio::capture}};
    auto task = runtime().attach(box.pid(), what);
    if (!task) FAIL(to_string(task.error()));
    CHECK(Report(task->wait().value())[current] == loaded(ours).front());
    const Profile profile(apparmor::profile(spec, Profile::name).value());
    spec.security.own_apparmor = false;
    spec.security.apparmor = Profile::name;
    const Container named = launch(spec);
    const auto refused = runtime().attach(named.pid(), what);
    REQUIRE_FALSE(refused.has_value());
    CHECK(to_string(refused.error()).find("is the init of container 'own'") != std::string::npos);
    what.lsm_label = false;
    task = runtime().attach(named.pid(), what);
    if (!task) FAIL(to_string(task.error()));
    CHECK(Report(task->wait().value())[current] == "unconfined");
  }
  SECTION("launches that fail leave none") {
    const Surroundings before = Surroundings::quiet();
    Spec spec = with_own_profile(root, {});
    spec.process.argv = {"/bin/none"};
    CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::exec, "/bin/none"));
    CHECK(loaded(ours).empty());
    const auto with = [&](auto change) {
      auto plan = compile(with_own_profile(root, {"pause"}), facts());
      for (Op& o : plan->ops)
        if (auto* load = std::get_if<op::LoadProfile>(&o)) change(*load);
      return runtime().launch(*plan);
    };
    CHECK_THAT(failure_of(with([](op::LoadProfile& o) { o.rules = "{ nonsense }"; })),
               FailsWith(Errc::unsupported, Step::load_profile, "syntax error"));
    CHECK_THAT(failure_of(with([](op::LoadProfile& o) { o.parser = "/none"; })),
               FailsWith(ENOENT, Step::run_helper, "'/none'"));
    {
      auto plan = compile(with_own_profile(root, {"pause"}), facts());
      auto given_up = runtime().start(*plan, {.stop_before = plan->find("clone").value()});
      while (!given_up->stopped()) REQUIRE(given_up->step().has_value());
      CHECK(loaded(ours).size() == 1);
    }
    CHECK(loaded(ours).empty());
    CHECK(Surroundings::settled(before) == before);
  }
  SECTION("taken from a pool, and launched again") {
    Spec spec = with_own_profile(root, {});
    spec.process.argv = reads;
    {
      auto pool = Pool::open(runtime(), spec, {.size = 1});
      if (!pool) FAIL(to_string(pool.error()));
      auto box = pool->take();
      if (!box) FAIL(to_string(box.error()));
      CHECK(Report(wait(*box))[current].starts_with(ours + ".own."));
    }
    CHECK(soon_gone(ours));
    spec.process.argv = {"/bin/payload", "exit", "3"};
    spec.lifecycle.restart = Restart::on_failure;
    spec.lifecycle.restart_limit = 2;
    CHECK(launch(spec).wait().value().code == 3);
    CHECK(loaded(ours).empty());
  }
}

TEST_CASE("no profile outlives its container, whoever dies", "[lsm][.apparmor]") {
  const TempRoot root;
  const bool stops = GENERATE(false, true);
  Other other(with_own_profile(root, {"pause"}), stops);
  REQUIRE(loaded(other.runtime).size() == 1);
  SECTION("the host") { must(::kill(other.program.pid(), SIGKILL) == 0, "kill"); }
  SECTION("the zygote") {
    if (stops) return;  // nobody looks
    must(::kill(other.zygote, SIGKILL) == 0, "kill");
  }
  SECTION("both, and the next Runtime sweeps") {
    must(::kill(other.program.pid(), SIGSTOP) == 0, "stop");
    must(::kill(other.zygote, SIGKILL) == 0, "kill");
    must(::kill(other.program.pid(), SIGKILL) == 0, "kill");
    must(other.program.wait() == 128 + SIGKILL, "the end of the other program");
    const auto next = Runtime::open({.state_dir = HostPath(other.state)});
    CHECK(next.has_value());
    CHECK(loaded(other.runtime).empty());
  }
  CHECK(soon_gone(other.runtime));
}
