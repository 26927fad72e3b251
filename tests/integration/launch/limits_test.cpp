// Limits of a container that runs, seen from inside and in the kernel's files: a hog of memory, a
// bomb of forks, a burner of processors, a writer to a disk. On whatever hierarchies are here.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "condroid/sys/cgroup.hpp"
#include "containers.hpp"
#include "in_child.hpp"

using namespace condroid;
using namespace condroid::literals;
using condroid::test::attempt;
using condroid::test::facts;
using condroid::test::FailsWith;
using condroid::test::failure_of;
using condroid::test::hierarchy_of;
using condroid::test::launch;
using condroid::test::own_cgroups;
using condroid::test::payload;
using condroid::test::read_file;
using condroid::test::runtime;
using condroid::test::TempDir;
using condroid::test::TempRoot;
using condroid::test::wait;
using Clock = std::chrono::steady_clock;

namespace {

bool may_make_cgroups() { return std::ranges::any_of(facts().cgroups, &CgroupHierarchy::writable); }

bool on_v2(std::string_view controller) {
  const CgroupHierarchy* h = hierarchy_of(controller);
  return h != nullptr && h->v2;
}

std::string trimmed(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

/// Of this program, and of its forked children.
std::string own_name() { return trimmed(read_file("/proc/self/comm")); }

/// A container that does what it is told.
class Obeying {
 public:
  explicit Obeying(Spec spec) : box_(begin(std::move(spec))) {
    in_ = box_.take_stdin();
    out_ = box_.take_stdout();
    CHECK(answer() == "ready");
  }

  Container& box() { return box_; }
  /// The answer without its newline; empty when it died of it.
  std::string tell(const std::string& order) {
    test::write_to(in_, order + "\n");
    return answer();
  }
  /// A file of its cgroup, the one of the version that this machine has.
  [[nodiscard]] std::string value(std::string_view controller, std::string_view v1_file,
                                  std::string_view v2_file) const {
    const CgroupHierarchy* h = hierarchy_of(controller);
    if (h == nullptr) return "(no such controller)";
    for (const std::string& dir : own_cgroups())
      if (dir.starts_with(h->mount_point + "/")) {
        const std::string path = fmt::format("{}/{}", dir, h->v2 ? v2_file : v1_file);
        return ::access(path.c_str(), R_OK) == 0 ? trimmed(read_file(path)) : "(no such file)";
      }
    return "(no cgroup)";
  }
  /// The number after a key of a file of lines, or all of a file.
  [[nodiscard]] std::uint64_t number(std::string_view controller, std::string_view v1_file,
                                     std::string_view v2_file, std::string_view key = {}) const {
    std::istringstream text(value(controller, v1_file, v2_file));
    std::string word;
    while (!key.empty() && text >> word && word != key) {
    }
    std::uint64_t n = 0;
    text >> n;
    return n;
  }

 private:
  static Container begin(Spec spec) {
    spec.process.stdio = {Stream::pipe, Stream::pipe, Stream::null};
    return launch(spec);
  }
  std::string answer() { return trimmed(test::read_until(out_, "\n")); }

  Container box_;
  Fd in_, out_;
};

Spec obeying(const TempRoot& root, Resources limits = {}) {
  Spec spec = payload(root, {"obey"});
  spec.resources = std::move(limits);
  return spec;
}

/// What a change reports; a failure ends the test.
std::vector<LeftOut> change(Container& box, const Resources& limits) {
  auto report = box.set_limits(limits);
  if (!report) throw std::runtime_error(to_string(report.error()));
  return std::move(report->left_out);
}

/// A cgroup of the test's own, in every hierarchy, for containers to be below.
class Parents {
 public:
  explicit Parents(std::string name) : name_(std::move(name)) {
    for (const CgroupHierarchy& h : facts().cgroups)
      dirs_.push_back(test::must(CgroupDir::create(h, "/" + name_)));
  }
  Parents(const Parents&) = delete;
  Parents& operator=(const Parents&) = delete;
  ~Parents() {
    for (const CgroupDir& dir : dirs_) {
      (void)dir.kill();
      if (auto ok = dir.remove(std::chrono::seconds{5}); !ok)
        std::fprintf(stderr, "%s\n", to_string(ok.error()).c_str());
    }
  }
  [[nodiscard]] std::string path() const { return "/" + name_; }
  const CgroupDir* in(const CgroupHierarchy* h) const {
    for (std::size_t i = 0; i < dirs_.size(); ++i)
      if (&facts().cgroups[i] == h) return &dirs_[i];
    return nullptr;
  }

 private:
  std::string name_;
  std::vector<CgroupDir> dirs_;
};

}  // namespace

TEST_CASE("a bomb of forks is stopped at the limit of the moment", "[launch][attack][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Obeying bomb(obeying(root, {.pids_max = 8}));
  CHECK(bomb.tell("forks 20") == "forks=7");
  CHECK(change(bomb.box(), {.pids_max = 4}).empty());
  CHECK(bomb.tell("forks 20") == "forks=3");
  CHECK(change(bomb.box(), {.pids_max = unlimited}).empty());
  CHECK(bomb.tell("forks 20") == "forks=20");
  // Below what there is already: nobody is killed, nobody comes.
  CHECK(change(bomb.box(), {.pids_max = 1}).empty());
  CHECK(bomb.tell("forks 20") == "forks=0");
}

TEST_CASE("a hog of memory dies of a limit that came later", "[launch][attack][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Obeying hog(obeying(root, {.memory_max = 256_MiB, .memory_swap_max = 0_B}));
  CHECK(hog.tell("eat 16000000") == "eat=0");
  CHECK(change(hog.box(), {.memory_max = 32_MiB}).empty());
  CHECK(hog.value("memory", "memory.limit_in_bytes", "memory.max") == "33554432");
  CHECK(hog.value("memory", "memory.memsw.limit_in_bytes", "memory.swap.max") ==
        (on_v2("memory") ? "0" : "33554432"));
  CHECK(hog.tell("eat 100000000").empty());
  const Exit e = wait(hog.box());
  CHECK(e.out_of_memory);
  CHECK(to_string(e) == "killed by signal 9 (SIGKILL), out of memory");
  CHECK(own_cgroups().empty());
}

TEST_CASE("memory and swap go up and down", "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Obeying box(obeying(root, {.memory_max = 64_MiB, .memory_swap_max = 32_MiB}));
  const bool v2 = on_v2("memory");
  const auto is = [&](Bytes memory, Bytes swap) {
    CHECK(box.value("memory", "memory.limit_in_bytes", "memory.max") ==
          std::to_string(memory.value));
    CHECK(box.value("memory", "memory.memsw.limit_in_bytes", "memory.swap.max") ==
          std::to_string(v2 ? swap.value : memory.value + swap.value));
  };
  is(64_MiB, 32_MiB);
  CHECK(change(box.box(), {.memory_max = 256_MiB}).empty());
  is(256_MiB, 32_MiB);
  CHECK(change(box.box(), {.memory_max = 48_MiB}).empty());
  is(48_MiB, 32_MiB);
  CHECK(change(box.box(), {.memory_max = 100_MiB, .memory_swap_max = 0_B}).empty());
  is(100_MiB, 0_B);
  CHECK(change(box.box(), {.memory_swap_max = 8_MiB}).empty());
  is(100_MiB, 8_MiB);
  CHECK(change(box.box(), {.memory_max = unlimited, .memory_swap_max = unlimited}).empty());
  if (v2) {
    CHECK(box.value("memory", "", "memory.max") == "max");
    CHECK(box.value("memory", "", "memory.swap.max") == "max");
  } else {
    constexpr std::uint64_t about_all = std::uint64_t{1} << 62U;
    CHECK(box.number("memory", "memory.limit_in_bytes", "") > about_all);
    CHECK(box.number("memory", "memory.memsw.limit_in_bytes", "") > about_all);
  }
  CHECK(box.tell("eat 150000000") == "eat=0");
}

TEST_CASE("a limit of memory below what is in use", "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Obeying hog(obeying(root, {.memory_max = 128_MiB, .memory_swap_max = 0_B, .cpus = 1.5}));
  REQUIRE(hog.tell("eat 60000000") == "eat=0");
  if (on_v2("memory")) {
    // The kernel frees what it can, then it kills.
    CHECK(change(hog.box(), {.memory_max = 16_MiB}).empty());
    CHECK(wait(hog.box()).out_of_memory);
    return;
  }
  const auto report = hog.box().set_limits({.memory_max = 16_MiB, .cpus = 0.5});
  CHECK_THAT(failure_of(report), FailsWith(EBUSY, Step::write_cgroup, "resources.memory_max: "));
  REQUIRE_FALSE(report);
  INFO(to_string(report.error()));
  CHECK(report.error().hint.find("in use") != std::string::npos);
  // What went before it is taken back, and it lives.
  CHECK(hog.value("memory", "memory.limit_in_bytes", "") == "134217728");
  CHECK(hog.value("memory", "memory.memsw.limit_in_bytes", "") == "134217728");
  CHECK(hog.value("cpu", "cpu.cfs_quota_us", "") == "150000");
  CHECK(hog.tell("forks 1") == "forks=1");
}

TEST_CASE("a burner of processors gets its quota, whatever it is at the moment",
          "[long][launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Obeying burner(obeying(root, {.cgroup = CgroupMode::everywhere, .cpus = 0.25}));
  const bool v2 = on_v2("cpu");
  const auto throttled = [&] {
    return burner.number("cpu", "cpu.stat", "cpu.stat", "nr_throttled");
  };
  // Microseconds of all its processes.
  const auto used = [&] {
    return v2 ? burner.number("cpu", "", "cpu.stat", "usage_usec")
              : burner.number("cpuacct", "cpuacct.usage", "") / 1000;
  };
  /// The part of one processor that it got while it burnt 250 ms.
  const auto share = [&] {
    const auto before = used();
    const auto begin = Clock::now();
    CHECK(burner.tell("spin 250") == "spin=250");
    const auto wall =
        std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin).count();
    return static_cast<double>(used() - before) / static_cast<double>(wall);
  };
  const double quarter = share();
  CHECK(quarter < 0.33);
  CHECK(throttled() > 0);
  REQUIRE(change(burner.box(), {.cpus = 0.1}).empty());
  const double tenth = share();
  CHECK(tenth < 0.15);
  const auto until_now = throttled();
  REQUIRE(change(burner.box(), {.cpus = unlimited}).empty());
  CHECK(burner.value("cpu", "cpu.cfs_quota_us", "cpu.max") == (v2 ? "max 100000" : "-1"));
  // The period that has begun may end in one more.
  (void)share();
  CHECK(throttled() <= until_now + 1);
}

TEST_CASE("a writer to a disk is slowed to its rate", "[long][launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempDir files;
  struct stat st {};
  REQUIRE(::stat(files.str().c_str(), &st) == 0);
  const CgroupHierarchy* blkio = hierarchy_of("blkio");
  if (blkio == nullptr) blkio = hierarchy_of("io");
  REQUIRE(blkio != nullptr);
  const TempRoot root;
  Spec spec = obeying(root, {.io = {{.device = files.host(), .write_bytes = 4_MiB}}});
  spec.mounts = {Bind{.source = files.host(),
                      .target = "/mnt"_guest,
                      .flags = MountFlag::nosuid | MountFlag::nodev}};
  if (major(st.st_dev) == 0) {
    // No disk below the files here: that is said, and a device by its numbers is one all the same.
    CHECK_THAT(attempt(spec),
               FailsWith(Errc::unsupported, Step::write_cgroup, "resources.io[0]: "));
    struct stat node {};
    int n = 0;
    while (n < 8 && ::stat(fmt::format("/dev/loop{}", n).c_str(), &node) < 0) ++n;
    if (n == 8) {
      // Opening the control device brings the driver.
      const Fd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
      REQUIRE(control);
      REQUIRE(::ioctl(control.get(), 0x4C82 /* LOOP_CTL_GET_FREE */) >= 0);
      n = 0;
      REQUIRE(::stat("/dev/loop0", &node) == 0);
    }
    spec.resources.io = {
        {.device = HostPath(fmt::format("/dev/loop{}", n)), .write_bytes = 4_MiB},
    };
    Obeying box(spec);
    CHECK(box.value("io", "", "io.max") ==
          fmt::format("7:{} rbps=max wbps=4194304 riops=max wiops=max", n));
    CHECK(change(box.box(), {.io = {{.device = DeviceNumber{7, static_cast<std::uint32_t>(n)},
                                     .write_bytes = unlimited,
                                     .read_operations = 99}}})
              .empty());
    CHECK(box.value("io", "", "io.max") ==
          fmt::format("7:{} rbps=max wbps=max riops=99 wiops=max", n));
    return;
  }
  Obeying writer(spec);
  const auto seconds = [&] {
    const auto begin = Clock::now();
    CHECK(writer.tell("write /mnt/file 4194304") == "write=ok");
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  CHECK(seconds() > 0.7);
  CHECK(change(writer.box(), {.io = {{.device = files.host(), .write_bytes = 2_MiB}}}).empty());
  CHECK(seconds() > 1.6);
  CHECK(change(writer.box(), {.io = {{.device = files.host(), .write_bytes = unlimited}}}).empty());
  CHECK(writer.value("blkio", "blkio.throttle.write_bps_device", "io.max").empty());
  CHECK(writer.tell("write /mnt/file 4194304") == "write=ok");
}

TEST_CASE("a path without a device is no device", "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Resources limits{.io = {{.device = "/no/such/disk"_host, .read_bytes = 1_MiB}}};
  CHECK_THAT(attempt(obeying(root, limits)),
             FailsWith(ENOENT, Step::write_cgroup, "resources.io[0]: '/no/such/disk'"));
  limits.io = {{.device = "/proc"_host, .read_bytes = 1_MiB}};
  CHECK_THAT(attempt(obeying(root, limits)),
             FailsWith(Errc::unsupported, Step::write_cgroup, "resources.io[0]: '/proc'"));
  limits.optional = ResourceField::io;
  Obeying box(obeying(root, limits));
  REQUIRE(box.box().left_out().size() == 1);
  CHECK(box.box().left_out().front().field == "resources.io[0]");
  limits.io = {{.device = DeviceNumber{4095, 1048575}, .read_bytes = 1_MiB}};
  limits.optional = {};
  CHECK_THAT(attempt(obeying(root, limits)),
             FailsWith(ENODEV, Step::write_cgroup, "resources.io[0]: "));
  CHECK(own_cgroups().size() == 1);
}

TEST_CASE("weights and huge pages are set where there are such, and reported where not",
          "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  Resources limits{.cgroup = CgroupMode::everywhere,
                   .io_weight = 200,
                   .hugetlb = {{.page_size = 2_MiB, .most = 8_MiB}},
                   .optional = ResourceField::hugetlb};
  Obeying box(obeying(root, limits));
  const auto weight = [&] {
    if (!on_v2("io")) return box.value("blkio", "blkio.bfq.weight", "");
    const std::string usual = box.value("io", "", "io.weight");
    return usual == "(no such file)" ? box.value("io", "", "io.bfq.weight") : usual;
  };
  CHECK_THAT(weight(), Catch::Matchers::EndsWith("200") || Catch::Matchers::EndsWith("109"));
  const auto& left = box.box().left_out();
  if (hierarchy_of("hugetlb") == nullptr) {
    REQUIRE(left.size() == 1);
    CHECK(left.front() ==
          LeftOut{"resources.hugetlb[0]", "no cgroup hierarchy has the controller 'hugetlb'"});
    CHECK(change(box.box(), limits) == left);
    limits.optional = {};
    CHECK_THAT(attempt(obeying(root, limits)),
               FailsWith(Errc::unsupported, Step::compile, "resources.hugetlb[0]: "));
  } else {
    CHECK(left.empty());
    CHECK(box.value("hugetlb", "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max") == "8388608");
  }
  CHECK(change(box.box(), {.io_weight = 50}).empty());
  CHECK_THAT(weight(), Catch::Matchers::EndsWith("50"));
}

TEST_CASE("a container without a cgroup where a limit is", "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  SECTION("none at all") {
    Obeying box(obeying(root));
    const auto report = box.box().set_limits({.pids_max = 5});
    CHECK_THAT(failure_of(report), FailsWith(Errc::unsupported, Step::write_cgroup,
                                             "resources.pids_max: the container has no cgroup in"));
    REQUIRE_FALSE(report);
    CHECK(report.error().hint.find("resources.cgroup = everywhere") != std::string::npos);
    const auto left = change(box.box(), {.pids_max = 5, .optional = ResourceField::pids_max});
    REQUIRE(left.size() == 1);
    CHECK(left.front().field == "resources.pids_max");
    CHECK(own_cgroups().empty());
  }
  SECTION("one for another controller") {
    Obeying box(obeying(root, {.pids_max = 5}));
    const auto report = box.box().set_limits({.memory_max = 64_MiB});
    if (on_v2("memory")) {
      // One cgroup is enough there: its controllers are switched on when they are needed.
      CHECK(report);
      CHECK(box.value("memory", "", "memory.max") == "67108864");
    } else {
      CHECK_THAT(failure_of(report),
                 FailsWith(Errc::unsupported, Step::write_cgroup,
                           "resources.memory_max: the container has no cgroup"));
    }
  }
  SECTION("one everywhere") {
    Obeying box(obeying(root, {.cgroup = CgroupMode::everywhere}));
    CHECK(
        change(
            box.box(),
            {.memory_max = 64_MiB, .pids_max = 5, .cpus = 1, .cpu_weight = 50, .cpuset_cpus = "0"})
            .empty());
    CHECK(box.value("memory", "memory.limit_in_bytes", "memory.max") == "67108864");
    CHECK(box.value("cpu", "cpu.shares", "cpu.weight") == (on_v2("cpu") ? "50" : "512"));
    CHECK(box.value("cpuset", "cpuset.cpus", "cpuset.cpus") == "0");
    CHECK(box.tell("forks 20") == "forks=4");
  }
}

TEST_CASE("a change that makes no sense changes nothing", "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const TempRoot root;
  std::optional<Obeying> box(std::in_place, obeying(root, {.pids_max = 9}));
  Container& c = box->box();
  const auto with = [](std::string file, std::string value, bool optional = false) {
    return Resources{.pids_max = 7, .settings = {{std::move(file), std::move(value), optional}}};
  };
  const auto fails = [&](const Resources& r) { return failure_of(c.set_limits(r)); };
  CHECK_THAT(fails({.pids_max = 0}),
             FailsWith(Errc::bad_spec, Step::write_cgroup, "resources.pids_max: 0"));
  CHECK_THAT(fails({.pids_max = 0, .cpu_weight = 0}),
             FailsWith(Errc::bad_spec, Step::write_cgroup, "resources.cpu_weight: 0"));
  CHECK_THAT(fails(with("nonesuch.max", "1")),
             FailsWith(Errc::unsupported, Step::write_cgroup, "controller 'nonesuch'"));
  CHECK_THAT(fails(with("pids.no_such_file", "1")),
             FailsWith(ENOENT, Step::write_cgroup, "resources.settings[0]: "));
  CHECK_THAT(fails(with("pids.max", "many")),
             FailsWith(EINVAL, Step::write_cgroup, "'many' to 'pids.max'"));
  CHECK_THAT(fails(with("pids.max", "many", true)),
             FailsWith(EINVAL, Step::write_cgroup, "'many' to 'pids.max'"));
  CHECK_THAT(fails(with("cgroup.procs", "0")),
             FailsWith(Errc::bad_spec, Step::write_cgroup, "not for a spec to write"));
  CHECK(box->value("pids", "pids.max", "pids.max") == "9");
  SECTION("but for what is optional") {
    const auto left = change(c, with("pids.no_such_file", "1", true));
    REQUIRE(left.size() == 1);
    CHECK(left.front().field == "resources.settings[0]");
    CHECK(left.front().why.find("ENOENT") != std::string::npos);
    CHECK(box->value("pids", "pids.max", "pids.max") == "7");
    Spec spec = obeying(root, with("pids.no_such_file", "1", true));
    CHECK(Obeying(spec).box().left_out().size() == 1);
  }
  SECTION("of one that has ended") {
    REQUIRE(c.kill());
    SECTION("and nobody looked") {
      for (int i = 0; i < 500 && !own_cgroups().empty(); ++i) ::usleep(10000);
      CHECK_THAT(fails({.pids_max = 5}), FailsWith(ESRCH, Step::write_cgroup, "has ended"));
    }
    (void)wait(c);
    CHECK_THAT(fails({.pids_max = 5}), FailsWith(ESRCH, Step::write_cgroup, "has ended"));
  }
  SECTION("of a handle that was moved from") {
    const Container taken = std::move(c);
    CHECK_THAT(fails({.pids_max = 5}), FailsWith(ESRCH, Step::write_cgroup, "moved from"));
  }
}

TEST_CASE("below a frozen cgroup nothing is launched, and what is frozen is named",
          "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const Parents parents(fmt::format("limits-test-frozen-{}", ::getpid()));
  const CgroupHierarchy* frozen = hierarchy_of("freezer");
  if (frozen == nullptr || GENERATE(false, true))
    for (const CgroupHierarchy& h : facts().cgroups)
      if (h.v2) frozen = &h;
  REQUIRE(frozen != nullptr);
  const CgroupDir& dir = *parents.in(frozen);
  REQUIRE(dir.freeze());
  const TempRoot root;
  auto mine = Runtime::open({.state_dir = HostPath(fmt::format("/tmp/test-state-{}-l", ::getpid())),
                             .cgroup_parent = parents.path()});
  REQUIRE(mine);
  Spec spec = payload(root, {"exit"});
  spec.resources.cgroup = CgroupMode::everywhere;
  CHECK_THAT(failure_of(mine->launch(spec)),
             FailsWith(EBUSY, Step::create_cgroup, fmt::format("'{}' is frozen", dir.path())));
  REQUIRE(dir.thaw());
  auto box = mine->launch(spec);
  if (!box) FAIL(to_string(box.error()));
  CHECK(wait(*box).success());
}

TEST_CASE("who is in the way of a cgroup is named", "[launch][.root]") {
  if (!may_make_cgroups()) CONDROID_SKIP("needs a machine where root may make cgroups");
  const Parents parents(fmt::format("limits-test-busy-{}", ::getpid()));
  for (const CgroupHierarchy& h : facts().cgroups) {
    INFO(h.mount_point);
    const CgroupDir& dir = *parents.in(&h);
    test::Forked sleeper([] {
      for (;;) ::pause();
      return 0;
    });
    REQUIRE(dir.add(Pid{sleeper.pid()}));
    const auto refused = dir.remove(std::chrono::milliseconds{0});
    CHECK_THAT(failure_of(refused), FailsWith(EBUSY, Step::remove_cgroup,
                                              fmt::format("'{}', where process {} ({}) is",
                                                          dir.path(), sleeper.pid(), own_name())));
  }
}

TEST_CASE("on v2 processes and controllers for those below do not go together", "[launch][.v2]") {
  if (facts().cgroups.size() != 1 || !facts().cgroups.front().v2)
    CONDROID_SKIP("needs a machine with cgroup v2 alone");
  const Parents parents(fmt::format("limits-test-inner-{}", ::getpid()));
  const CgroupDir& dir = *parents.in(&facts().cgroups.front());
  test::Forked sleeper([] {
    for (;;) ::pause();
    return 0;
  });
  REQUIRE(dir.add(Pid{sleeper.pid()}));
  const std::string who =
      fmt::format("'{}', where process {} ({}) is", dir.path(), sleeper.pid(), own_name());
  CHECK_THAT(failure_of(dir.enable({"pids"})), FailsWith(EBUSY, Step::create_cgroup, who));
  const TempRoot root;
  Spec spec = payload(root, {"exit"});
  spec.resources.pids_max = 5;
  auto mine = Runtime::open({.state_dir = HostPath(fmt::format("/tmp/test-state-{}-m", ::getpid())),
                             .cgroup_parent = parents.path()});
  REQUIRE(mine);
  CHECK_THAT(failure_of(mine->launch(spec)), FailsWith(EBUSY, Step::create_cgroup, who));
  // The other way round.
  REQUIRE(dir.kill());
  (void)sleeper.wait();
  REQUIRE(dir.enable({"memory"}));
  test::Forked other([] {
    for (;;) ::pause();
    return 0;
  });
  CHECK_THAT(
      failure_of(dir.add(Pid{other.pid()})),
      FailsWith(EBUSY, Step::enter_cgroup, "which gives controllers to those below (memory)"));
}

TEST_CASE("a user with a delegated part of v2 has limits, and changes them", "[launch][.v2]") {
  if (facts().cgroups.size() != 1 || !facts().cgroups.front().v2)
    CONDROID_SKIP("needs a machine with cgroup v2 alone");
  const CgroupHierarchy& h = facts().cgroups.front();
  const Parents parents(fmt::format("limits-test-user-{}", ::getpid()));
  const CgroupDir& given = *parents.in(&h);
  // As a login has it: the user's own, and below it the session that the program is in.
  auto session = given.create_child("session");
  REQUIRE(session);
  for (const char* file : {"", "/cgroup.procs", "/cgroup.threads", "/cgroup.subtree_control"})
    REQUIRE(::chown((given.path() + file).c_str(), 65534, 65534) == 0);
  const TempRoot root;
  CHECK(test::in_child([&] {
          using test::must;
          must(session->enter());
          test::drop_root();
          const auto mine = must(Runtime::open(
              {.state_dir = HostPath(fmt::format("/tmp/test-state-{}-u", ::getpid()))}));
          const HostFacts& facts = must(mine.facts());
          must(facts.cgroups.front().parent == parents.path(), facts.cgroups.front().parent);
          Spec spec = payload(root, {"forks", "20"});
          spec.resources = {.memory_max = 64_MiB, .pids_max = 6, .cpus = 0.5};
          {
            Container box = must(mine.launch(spec));
            const Exit e = wait(box);
            must(e.out == "forks=5\n" && e.cleanup_errors.empty(), to_string(e) + e.out + e.err);
          }
          spec.process.argv = {"/bin/payload", "pause"};
          Container box = must(mine.launch(spec));
          const std::string group =
              h.mount_point +
              trimmed(read_file(fmt::format("/proc/{}/cgroup", box.pid().value))).substr(3);
          must(group.starts_with(given.path() + "/condroid-"), group);
          must(read_file(group + "/memory.max") == "67108864\n", "memory.max");
          must(must(box.set_limits({.memory_max = 32_MiB, .pids_max = unlimited, .io_weight = 50}))
                   .left_out.empty(),
               "left out");
          must(read_file(group + "/memory.max") == "33554432\n", "memory.max");
          must(read_file(group + "/pids.max") == "max\n", "pids.max");
        }) == "");
  REQUIRE(session->remove(std::chrono::seconds{5}));
}
