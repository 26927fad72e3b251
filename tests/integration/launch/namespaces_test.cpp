// Namespaces of a container: new, the host's, or somebody's; and what is in a new one.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <string>
#include <variant>
#include <vector>

#include "containers.hpp"
#include "spec/names.hpp"

using condroid::Allow;
using condroid::CgroupMode;
using condroid::Container;
using condroid::Errc;
using condroid::Fd;
using condroid::Flags;
using condroid::HostFd;
using condroid::HostPath;
using condroid::IdMap;
using condroid::Join;
using condroid::Namespace;
using condroid::Pid;
using condroid::Spec;
using condroid::Stdio;
using condroid::Step;
using condroid::test::attempt;
using condroid::test::facts;
using condroid::test::FailsWith;
using condroid::test::launch;
using condroid::test::own_namespace;
using condroid::test::payload;
using condroid::test::Report;
using condroid::test::run;
using condroid::test::TempRoot;

namespace {

struct Kind {
  Namespace ns;
  const char* name;  ///< In /proc/PID/ns.
  const char* word;  ///< In a Spec.
  Allow token;
};
constexpr Kind kinds[] = {{Namespace::net, "net", "net", Allow::host_network},
                          {Namespace::pid, "pid", "pid", Allow::host_pids},
                          {Namespace::ipc, "ipc", "ipc", Allow::host_ipc},
                          {Namespace::uts, "uts", "uts", Allow::host_uts},
                          {Namespace::cgroup, "cgroup", "cgroup", Allow::host_cgroup}};

// ---- joining ----

struct Joined {
  Namespace ns;
  const char* name;  ///< In /proc/PID/ns.
};
constexpr Joined every_kind[] = {
    {Namespace::mount, "mnt"}, {Namespace::pid, "pid"},       {Namespace::uts, "uts"},
    {Namespace::ipc, "ipc"},   {Namespace::net, "net"},       {Namespace::user, "user"},
    {Namespace::time, "time"}, {Namespace::cgroup, "cgroup"},
};
static_assert(std::size(every_kind) == condroid::EnumNames<Namespace>::table.size());

enum class How { pid, path, descriptor };

/// A namespace of a container, named in each of the ways that a Join knows.
class Source {
 public:
  Source(const Container& holder, const Joined& joined)
      : pid_(holder.pid()),
        path_(fmt::format("/proc/{}/ns/{}", holder.pid().value, joined.name)),
        fd_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {
    condroid::test::must(fd_.valid(), path_);
  }
  [[nodiscard]] std::variant<Pid, HostPath, HostFd> by(How how) const {
    if (how == How::pid) return pid_;
    if (how == How::path) return HostPath(path_);
    return HostFd{fd_.get()};
  }

 private:
  Pid pid_;
  std::string path_;
  Fd fd_;
};

std::string key(const Kind& kind) { return std::string("ns.") + kind.name; }

long long milliseconds(clockid_t clock) {
  timespec t{};
  ::clock_gettime(clock, &t);
  return static_cast<long long>(t.tv_sec) * 1000 + t.tv_nsec / 1000000;
}

}  // namespace

TEST_CASE("a container has namespaces of its own by default", "[launch][.root][.userns]") {
  const TempRoot root;
  const Report seen = run(payload(root, {"probe"}));
  for (const char* name : {"net", "mnt", "pid", "ipc", "uts", "cgroup"}) {
    INFO(name);
    CHECK(seen[std::string("ns.") + name].starts_with(std::string(name) + ":["));
    CHECK(seen[std::string("ns.") + name] != own_namespace(name));
  }
  CHECK(seen["ns.time"] == own_namespace("time"));
  CHECK((seen["ns.user"] == own_namespace("user")) == facts().privileged());
  CHECK(seen["pid"] == "1");
  CHECK(seen["ppid"] == "0");
}

TEST_CASE("an id map brings a user namespace along", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  spec.idmap.kind = IdMap::single;
  CHECK(run(spec)["ns.user"] != own_namespace("user"));
  spec.idmap.kind = IdMap::automatic;
  spec.namespaces |= Namespace::user;
  CHECK(run(spec)["ns.user"] != own_namespace("user"));
}

TEST_CASE("a time namespace shifts the clocks", "[launch][.root][.userns]") {
  using namespace std::chrono_literals;
  const TempRoot root;
  Spec spec = payload(root, {"clock"});
  spec.namespaces |= Namespace::time;
  spec.time = {.monotonic = 1000s + 500ms, .boottime = 500000s};
  const long long monotonic = milliseconds(CLOCK_MONOTONIC),
                  boottime = milliseconds(CLOCK_BOOTTIME);
  const Report seen = run(spec);
  const long long later = milliseconds(CLOCK_MONOTONIC) - monotonic;
  const auto between = [&](const char* name, long long before, long long offset) {
    INFO(name << " " << seen[name] << " before " << before);
    const long long value = std::atoll(seen[name].c_str()) - before - offset;
    CHECK(value >= 0);
    CHECK(value <= later);
  };
  between("monotonic", monotonic, 1000500);
  between("boottime", boottime, 500000000);

  spec.process.argv.back() = "probe";
  const Report probe = run(spec);
  CHECK(probe["ns.time"] != own_namespace("time"));
  CHECK(probe["timens_offsets"] == "monotonic 1000 500000000 boottime 500000 0");
  spec.namespaces |= Namespace::user;
  CHECK(run(spec)["timens_offsets"] == "monotonic 1000 500000000 boottime 500000 0");

  spec.time = {.monotonic = -1ms, .boottime = 0s};
  CHECK(run(spec)["timens_offsets"] == "monotonic -1 999000000 boottime 0 0");
}

TEST_CASE("a time namespace without offsets shows the host's time", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  spec.namespaces |= Namespace::time;
  const Report seen = run(spec);
  CHECK(seen["ns.time"] != own_namespace("time"));
  CHECK(seen["timens_offsets"] == "monotonic 0 0 boottime 0 0");
}

TEST_CASE("the loopback of a new network is up unless told otherwise", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  CHECK(run(spec)["loopback"] == "up");
  spec.network.loopback_up = false;
  CHECK(run(spec)["loopback"] == "down");
}

TEST_CASE("host name and domain name are the container's own", "[launch][.root][.userns]") {
  const TempRoot root;
  char before[2][65] = {};
  REQUIRE((::gethostname(before[0], 65) == 0 && ::getdomainname(before[1], 65) == 0));
  Spec spec = payload(root, {"probe"});
  SECTION("the name of the container is its host name") {
    const Report seen = run(spec);
    CHECK(seen["hostname"] == "test");
    CHECK(seen["domainname"] == before[1]);
  }
  SECTION("both can be given") {
    spec.hostname = std::string(64, 'h');
    spec.domainname = "test.example";
    const Report seen = run(spec);
    CHECK(seen["hostname"] == spec.hostname);
    CHECK(seen["domainname"] == "test.example");
  }
  SECTION("the host's stay where they are shared") {
    spec.namespaces -= Namespace::uts;
    spec.security.allow |= Allow::host_uts;
    CHECK(run(spec)["hostname"] == before[0]);
    spec.hostname = "other";
    CHECK_THAT(attempt(spec), FailsWith(Errc::bad_spec, Step::compile, "hostname: needs a uts"));
  }
  char after[2][65] = {};
  REQUIRE((::gethostname(after[0], 65) == 0 && ::getdomainname(after[1], 65) == 0));
  CHECK(std::string(before[0]) == after[0]);
  CHECK(std::string(before[1]) == after[1]);
}

TEST_CASE("a namespace of the host is shared only with its token", "[launch][.root][.userns]") {
  const TempRoot root;
  const Kind& kind = GENERATE(from_range(std::begin(kinds), std::end(kinds)));
  INFO(kind.word);
  Spec spec = payload(root, {"probe"});
  spec.namespaces -= kind.ns;
  if (kind.ns == Namespace::pid) spec.resources.cgroup = CgroupMode::never;
  CHECK_THAT(attempt(spec),
             FailsWith(Errc::bad_spec, Step::compile,
                       fmt::format("namespaces: '{}' is not among them", kind.word)));
  spec.security.allow |= kind.token;
  const Report seen = run(spec);
  for (const Kind& k : kinds) {
    INFO(k.word << " of the container");
    CHECK((seen[key(k)] == own_namespace(k.name)) == (k.ns == kind.ns));
  }
}

TEST_CASE("without a mount namespace the command sees the host's files",
          "[launch][.root][.userns]") {
  Spec spec = payload({"probe"});
  spec.process.argv.front() = CONDROID_PAYLOAD;
  spec.namespaces -= Namespace::mount;
  CHECK_THAT(attempt(spec), FailsWith(Errc::bad_spec, Step::compile, "namespaces: 'mount'"));
  spec.security.allow |= Allow::host_mounts;
  const Report seen = run(spec);
  CHECK(seen["ns.mnt"] == own_namespace("mnt"));
  CHECK(seen["ns.pid"] != own_namespace("pid"));
  CHECK(seen["cwd"] == "/");
}

TEST_CASE("namespaces of a process are joined", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  using namespace std::chrono_literals;
  const TempRoot root;
  const Joined& joined = GENERATE(from_range(std::begin(every_kind), std::end(every_kind)));
  const auto [ns, name] = joined;
  INFO(name);
  Spec holder = payload(root, {"pause"});
  holder.name = "holder";
  holder.namespaces |= Namespace::time;
  if (ns == Namespace::user) holder.namespaces |= Namespace::user;
  holder.time.monotonic = 77s;
  Container held = launch(holder);
  const std::string pid = std::to_string(held.pid().value);
  for (const How how : {How::pid, How::path, How::descriptor}) {
    INFO("way " << static_cast<int>(how));
    const Source source(held, joined);
    Spec spec = payload(root, {"probe"});
    spec.join.push_back({.kind = ns, .from = source.by(how)});
    // Its procfs is one of its own processes, among which the command has to be.
    const Source pids(held, {Namespace::pid, "pid"});
    if (ns == Namespace::mount) {
      spec.join.push_back({.kind = Namespace::pid, .from = pids.by(how)});
      spec.root = {};
    }
    if (ns == Namespace::pid || ns == Namespace::mount) spec.resources.cgroup = CgroupMode::never;
    const Report seen = run(spec);
    for (const char* k : {"net", "pid", "ipc", "uts", "cgroup", "mnt", "user"}) {
      INFO("its " << k);
      const bool wanted =
          std::string(k) == name || (ns == Namespace::mount && std::string(k) == "pid");
      // The holder has the host's user namespace, too, unless that is the one to be joined.
      if (std::string(k) == "user" && !wanted) {
        CHECK(seen["ns.user"] == own_namespace("user"));
        continue;
      }
      CHECK((seen[std::string("ns.") + k] == own_namespace(k, pid)) == wanted);
    }
    CHECK((seen["ns.time"] == own_namespace("time", pid)) == (ns == Namespace::time));
    // The names of a joined uts namespace are not touched.
    CHECK(seen["hostname"] == (ns == Namespace::uts ? "holder" : "test"));
    CHECK((seen["pid"] == "1") == (ns != Namespace::pid && ns != Namespace::mount));
    if (ns == Namespace::time) CHECK(seen["timens_offsets"] == "monotonic 77 0 boottime 0 0");
  }
}

TEST_CASE("a mount namespace is joined as it is", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  condroid::test::make_file(root / "only-here", "");
  Container held = launch(payload(root, {"pause"}));
  const Source mounts(held, {Namespace::mount, "mnt"});
  for (const How how : {How::pid, How::path, How::descriptor}) {
    INFO("way " << static_cast<int>(how));
    Spec spec = payload({"list", "/"});
    spec.join.push_back({.kind = Namespace::mount, .from = mounts.by(how)});
    const Report seen = run(spec);
    const auto entries = seen.all("entry");
    CHECK(std::ranges::find(entries, "only-here") != entries.end());
  }
}

TEST_CASE("a user namespace is joined with what belongs to it", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec holder = payload(root, {"pause"});
  holder.name = "holder";
  holder.namespaces |= Namespace::user;
  Container held = launch(holder);
  const std::string pid = std::to_string(held.pid().value);
  const How how = GENERATE(How::pid, How::path, How::descriptor);
  INFO("way " << static_cast<int>(how));
  Spec spec = payload(root, {"probe"});
  const Source user(held, {Namespace::user, "user"}), net(held, {Namespace::net, "net"}),
      uts(held, {Namespace::uts, "uts"});
  spec.join = {{.kind = Namespace::user, .from = user.by(how)},
               {.kind = Namespace::net, .from = net.by(how)},
               {.kind = Namespace::uts, .from = uts.by(how)}};
  const Report seen = run(spec);
  for (const char* name : {"user", "net", "uts"}) {
    INFO(name);
    CHECK(seen[std::string("ns.") + name] == own_namespace(name, pid));
  }
  CHECK(seen["ns.mnt"] != own_namespace("mnt", pid));
  CHECK(seen["hostname"] == "holder");
  CHECK(seen["call.uid"] == "0 0");
}

TEST_CASE("a pid namespace joined with its user namespace", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec holder = payload(root, {"pause"});
  holder.namespaces |= Namespace::user;
  Container held = launch(holder);
  const std::string pid = std::to_string(held.pid().value);
  Spec spec = payload(root, {"probe"});
  for (const Namespace ns : {Namespace::user, Namespace::pid})
    spec.join.push_back({.kind = ns, .from = held.pid()});
  spec.resources.cgroup = CgroupMode::never;
  const Report seen = run(spec);
  CHECK(seen["ns.pid"] == own_namespace("pid", pid));
  CHECK(seen["pid"] != "1");
}

TEST_CASE("a user may not join what is not his", "[launch][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  spec.join.push_back({.kind = Namespace::net, .from = Pid{1}});
  // Root of a user namespace may join some; which, the kernel says.
  if (facts().privileged())
    CHECK_THAT(attempt(spec), FailsWith(EACCES, Step::open_descriptor, "/proc/1/ns/net"));
  else
    CHECK_THAT(attempt(spec),
               FailsWith(Errc::unsupported, Step::compile, "join: needs CAP_SYS_ADMIN"));
}

TEST_CASE("joining what is not there is an error that names it", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  Join& join = spec.join.emplace_back();
  SECTION("a path") {
    join = {.kind = Namespace::net, .from = HostPath("/run/netns/none-such")};
    CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::open_descriptor, "/run/netns/none-such"));
  }
  SECTION("a path to something else") {
    join = {.kind = Namespace::net, .from = HostPath("/proc/self/ns/uts")};
    CHECK_THAT(attempt(spec), FailsWith(EINVAL, Step::open_descriptor, "is no net namespace"));
  }
  SECTION("a process that ended") {
    condroid::test::Forked gone([] { return 0; });
    const int pid = gone.pid();
    gone.wait();
    join = {.kind = Namespace::ipc, .from = Pid{pid}};
    CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::open_descriptor, std::to_string(pid)));
  }
  SECTION("a descriptor that is closed") {
    join = {.kind = Namespace::ipc, .from = HostFd{987}};
    CHECK_THAT(attempt(spec), FailsWith(EBADF, Step::open_descriptor, "987"));
  }
}
