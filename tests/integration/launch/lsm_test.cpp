// Landlock and labels: what a container's programs may still reach.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "condroid/attach.hpp"
#include "condroid/config/apparmor.hpp"
#include "condroid/pool.hpp"
#include "condroid/registry.hpp"
#include "containers.hpp"

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
      Attach what{.process = {.argv = reads, .stdio = Stdio::capture}, .lsm_label = take};
      auto task = by_pid ? runtime().attach(box.pid(), what) : box.attach(what);
      if (!task) FAIL(to_string(task.error()));
      return Report(task->wait().value());
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
