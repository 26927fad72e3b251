// Each limit in the files of either version: for a launch, and for a container that runs.
#include "plan/limits.hpp"

#include <string>
#include <vector>

#include "catch.hpp"
#include "condroid/plan.hpp"
#include "condroid/plan/take.hpp"
#include "facts.hpp"

namespace {

using namespace condroid;
using namespace condroid::literals;
using detail::Running;

using Lines = std::vector<std::string>;

/// What is written, "file = value" a line, in order; then what is left out, and refused.
Lines writes(const Resources& limits, const HostFacts& facts, const Running* running = nullptr) {
  detail::Refusals refusals;
  detail::check_limits(limits, refusals);
  detail::Groups groups(facts, refusals, limits.optional, running);
  detail::translate_limits(groups, limits);
  Lines list;
  for (const detail::Group& g : groups.take()) {
    const CgroupHierarchy& h = facts.cgroups[g.hierarchy];
    for (const op::WriteCgroup& w : g.values) {
      CHECK_FALSE(w.field.empty());
      const std::string controller = w.file.substr(0, w.file.find('.'));
      // v2 has a controller switched on for what is written.
      if (h.v2 && controller != "cgroup")
        CHECK(std::ranges::find(g.controllers, controller) != g.controllers.end());
      std::string line = w.file + " = ";
      if (!w.device.empty()) line += "[" + w.device + "] ";
      line += w.value;
      if (!w.or_file.empty()) line += " or " + w.or_file + " = " + w.or_value;
      if (w.optional) line += " (optional)";
      list.push_back(line);
    }
  }
  for (const LeftOut& l : groups.take_left_out()) list.push_back(l.field + " left out: " + l.why);
  if (!refusals.empty()) {
    const Error e = refusals.take();
    list.push_back("refused: " + e.subject);
    for (const std::string& also : e.also) list.push_back("refused: " + also);
  }
  return list;
}

HostFacts on_v2() {
  HostFacts f = test::root_on_v2();
  f.cgroups[0].controllers.emplace_back("hugetlb");
  return f;
}
Running in_all(const HostFacts& facts) {
  Running r;
  for (std::size_t i = 0; i < facts.cgroups.size(); ++i) r.hierarchies.push_back(i);
  return r;
}

const Resources everything{
    .memory_max = 64_MiB,
    .memory_swap_max = 1_MiB,
    .pids_max = 10,
    .cpus = 0.5,
    .cpu_weight = 200,
    .cpuset_cpus = "0-1",
    .cpuset_mems = "0",
    .io_weight = 200,
    .io = {{.device = "/dev/sda"_host, .read_bytes = 1_MiB, .write_bytes = unlimited},
           {.device = DeviceNumber{8, 16}, .read_operations = 30, .write_operations = unlimited}},
    .hugetlb = {{.page_size = 2_MiB, .most = 8_MiB},
                {.page_size = 64_KiB, .most = 128_KiB},
                {.page_size = 1_GiB, .most = unlimited}},
    .settings = {{"memory.oom.group", "1"}, {"pids.no_such", "1", true}}};

}  // namespace

TEST_CASE("every limit has its files on v2", "[plan]") {
  Resources r = everything;
  r.memory_high = 48_MiB;
  CHECK(writes(r, on_v2()) ==
        Lines{"memory.max = 67108864", "memory.high = 50331648", "memory.swap.max = 1048576",
              "pids.max = 10", "cpu.max = 50000 100000", "cpu.weight = 200", "cpuset.cpus = 0-1",
              "cpuset.mems = 0", "io.weight = 200 or io.bfq.weight = 109",
              "io.max = [/dev/sda] rbps=1048576 wbps=max", "io.max = 8:16 riops=30 wiops=max",
              "hugetlb.2MB.max = 8388608", "hugetlb.64KB.max = 131072", "hugetlb.1GB.max = max",
              "memory.oom.group = 1", "pids.no_such = 1 (optional)"});
}

TEST_CASE("every limit has its files on v1", "[plan]") {
  // By hierarchy: cpu, cpuset, memory, pids, blkio, hugetlb.
  CHECK(writes(everything, test::root_on_v1()) ==
        Lines{"cpu.cfs_period_us = 100000", "cpu.cfs_quota_us = 50000", "cpu.shares = 2048",
              "cpuset.cpus = 0-1", "cpuset.mems = 0", "memory.limit_in_bytes = 67108864",
              "memory.memsw.limit_in_bytes = 68157440", "memory.oom.group = 1", "pids.max = 10",
              "pids.no_such = 1 (optional)", "blkio.bfq.weight = 109",
              "blkio.throttle.read_bps_device = [/dev/sda] 1048576",
              "blkio.throttle.write_bps_device = [/dev/sda] 0",
              "blkio.throttle.read_iops_device = 8:16 30",
              "blkio.throttle.write_iops_device = 8:16 0", "hugetlb.2MB.limit_in_bytes = 8388608",
              "hugetlb.64KB.limit_in_bytes = 131072", "hugetlb.1GB.limit_in_bytes = -1"});
}

TEST_CASE("no limit is a value, too", "[plan]") {
  const Resources none{.memory_max = unlimited,
                       .memory_high = unlimited,
                       .memory_swap_max = unlimited,
                       .pids_max = unlimited,
                       .cpus = unlimited};
  CHECK(writes(none, on_v2()) == Lines{"memory.max = max", "memory.high = max",
                                       "memory.swap.max = max", "pids.max = max",
                                       "cpu.max = max 100000"});
  // What v1 does not have needs no lifting, and a new cgroup has no sum.
  CHECK(writes(none, test::root_on_v1()) ==
        Lines{"cpu.cfs_quota_us = -1", "memory.limit_in_bytes = -1", "pids.max = max"});
  HostFacts v1 = test::root_on_v1();
  Running running = in_all(v1);
  running.memory = 100;
  running.memory_and_swap = 150;
  CHECK(writes({.memory_max = unlimited, .memory_swap_max = unlimited}, v1, &running) ==
        Lines{"memory.memsw.limit_in_bytes = -1", "memory.limit_in_bytes = -1"});
  CHECK(writes({.memory_max = unlimited}, v1, &running) ==
        Lines{"memory.memsw.limit_in_bytes = -1", "memory.limit_in_bytes = -1"});
}

TEST_CASE("v1 never has its sum below the memory alone", "[plan]") {
  const HostFacts v1 = test::root_on_v1();
  Running running = in_all(v1);
  const auto change = [&](Resources r) { return writes(r, v1, &running); };
  SECTION("no sum yet") {
    running.memory = 100;
    CHECK(change({.memory_max = 50_B}) == Lines{"memory.limit_in_bytes = 50"});
    CHECK(change({.memory_max = 200_B}) == Lines{"memory.limit_in_bytes = 200"});
    CHECK(change({.memory_swap_max = 7_B}) == Lines{"memory.memsw.limit_in_bytes = 107"});
    CHECK(change({.memory_max = 50_B, .memory_swap_max = 0_B}) ==
          Lines{"memory.limit_in_bytes = 50", "memory.memsw.limit_in_bytes = 50"});
  }
  SECTION("a sum that keeps its swap") {
    running.memory = 100;
    running.memory_and_swap = 130;
    CHECK(change({.memory_max = 50_B}) ==
          Lines{"memory.limit_in_bytes = 50", "memory.memsw.limit_in_bytes = 80"});
    CHECK(change({.memory_max = 200_B}) ==
          Lines{"memory.memsw.limit_in_bytes = 230", "memory.limit_in_bytes = 200"});
    CHECK(change({.memory_max = 110_B, .memory_swap_max = 0_B}) ==
          Lines{"memory.limit_in_bytes = 110", "memory.memsw.limit_in_bytes = 110"});
    CHECK(change({.memory_max = 90_B, .memory_swap_max = 60_B}) ==
          Lines{"memory.memsw.limit_in_bytes = 150", "memory.limit_in_bytes = 90"});
    CHECK(change({.memory_swap_max = 30_B}).empty());
  }
  SECTION("a sum that may not have come about") {
    running.memory = 100;
    running.memory_and_swap = 130;
    running.sum_is_optional = true;
    CHECK(change({.memory_max = 200_B}) ==
          Lines{"memory.memsw.limit_in_bytes = 230 (optional)", "memory.limit_in_bytes = 200"});
    CHECK(change({.memory_max = 200_B, .memory_swap_max = 0_B}) ==
          Lines{"memory.memsw.limit_in_bytes = 200", "memory.limit_in_bytes = 200"});
  }
  SECTION("no limit of memory") {
    CHECK(change({.memory_swap_max = 1_B}) ==
          Lines{"refused: resources.memory_swap_max: cgroup v1 limits memory and swap together"});
  }
}

TEST_CASE("what a machine cannot do is refused by name, or left out", "[plan]") {
  const Resources wants{.memory_high = 1_MiB,
                        .io_weight = 10,
                        .io = {{.device = DeviceNumber{8, 0}, .read_bytes = 1_B}},
                        .hugetlb = {{.page_size = 2_MiB}}};
  const HostFacts hybrid = test::root_on_hybrid();
  CHECK(
      writes(wants, hybrid) ==
      Lines{"refused: resources.memory_high: the memory controller of this machine is cgroup v1, "
            "which has no such limit",
            "refused: resources.io_weight: no cgroup hierarchy has the controller 'io'; hint: see "
            "/proc/cgroups and cgroup.controllers",
            "refused: resources.io[0]: no cgroup hierarchy has the controller 'io'; hint: see "
            "/proc/cgroups and cgroup.controllers",
            "refused: resources.hugetlb[0]: no cgroup hierarchy has the controller 'hugetlb'; "
            "hint: see /proc/cgroups and cgroup.controllers"});
  Resources marked = wants;
  marked.optional = ResourceField::memory_high | ResourceField::io_weight | ResourceField::io |
                    ResourceField::hugetlb;
  CHECK(writes(marked, hybrid) ==
        Lines{"resources.memory_high left out: the memory controller of this machine is cgroup v1, "
              "which has no such limit",
              "resources.io_weight left out: no cgroup hierarchy has the controller 'io'",
              "resources.io[0] left out: no cgroup hierarchy has the controller 'io'",
              "resources.hugetlb[0] left out: no cgroup hierarchy has the controller 'hugetlb'"});

  SECTION("and the plan says so") {
    Spec spec;
    spec.root.path = "/srv/root"_host;
    spec.resources = marked;
    const auto plan = compile(spec, hybrid);
    REQUIRE(plan);
    REQUIRE(plan->left_out.size() == 4);
    CHECK(plan->left_out[3].field == "resources.hugetlb[0]");
    CHECK(to_string(*plan).find("resources.io[0] is left out: no cgroup hierarchy") !=
          std::string::npos);
  }
  SECTION("to a user without a cgroup of his own") {
    HostFacts user = test::user_alone();
    CHECK(writes({.pids_max = 5, .cpus = 1, .optional = ResourceField::pids_max}, user) ==
          Lines{"resources.pids_max left out: this user may not make cgroups in '/sys/fs/cgroup'",
                "refused: resources.cpus: this user may not make cgroups in '/sys/fs/cgroup'"});
    HostFacts v1 = test::root_on_v1();
    for (CgroupHierarchy& h : v1.cgroups) h.writable = false;
    const Resources both{.memory_max = 1_MiB,
                         .memory_swap_max = 0_B,
                         .optional = ResourceField::memory_max | ResourceField::memory_swap_max};
    CHECK(writes(both, v1) ==
          Lines{"resources.memory_max left out: this user may not make cgroups in "
                "'/sys/fs/cgroup/memory'",
                "resources.memory_swap_max left out: this user may not make cgroups in "
                "'/sys/fs/cgroup/memory'"});
    user.cgroups[0].writable = true;
    user.cgroups[0].controllers = {"memory"};
    CHECK(writes({.pids_max = 5}, user) ==
          Lines{"refused: resources.pids_max: no cgroup hierarchy has the controller 'pids'"});
  }
  SECTION("a value that is none is an error all the same") {
    marked.io_weight = 0;
    CHECK(writes(marked, hybrid).back() ==
          "refused: resources.io_weight: 0 is not among 1 to 10000");
  }
}

TEST_CASE("a running container is changed where it has a cgroup", "[plan]") {
  const HostFacts hybrid = test::root_on_hybrid();
  Running running;
  running.hierarchies = {4};  // pids
  CHECK(writes({.pids_max = 5}, hybrid, &running) == Lines{"pids.max = 5"});
  const Lines refused{
      "refused: resources.cpus: the container has no cgroup in '/sys/fs/cgroup/cpu,cpuacct'"};
  CHECK(writes({.cpus = 2}, hybrid, &running) == refused);
  CHECK(writes({.pids_max = 5, .cpus = 2, .optional = ResourceField::cpus}, hybrid, &running) ==
        Lines{"pids.max = 5",
              "resources.cpus left out: the container has no cgroup in "
              "'/sys/fs/cgroup/cpu,cpuacct'"});
  SECTION("which 'everywhere' sees to") {
    Spec spec;
    spec.root.path = "/srv/root"_host;
    spec.resources.cgroup = CgroupMode::everywhere;
    const auto plan = compile(spec, hybrid);
    REQUIRE(plan);
    CHECK(std::ranges::count_if(plan->ops, [](const Op& o) {
            return std::holds_alternative<op::CreateCgroup>(o);
          }) == static_cast<std::ptrdiff_t>(hybrid.cgroups.size()));
  }
}

TEST_CASE("a parked container is changed from what the pool's Spec gave it", "[plan]") {
  const HostFacts v1 = test::root_on_v1();
  Spec spec;
  spec.root.path = "/srv/root"_host;
  spec.process.argv = {"/bin/true"};
  const auto taken = [&](const Resources& limits) {
    const auto parked = compile_parked(spec, v1);
    if (!parked) return Lines{to_string(parked.error())};
    const auto plan = compile_take(spec, {.resources = limits}, *parked, v1);
    if (!plan) return Lines{to_string(plan.error())};
    Lines list;
    for (std::size_t i = parked->plan.ops.size(); i < plan->ops.size(); ++i)
      if (const auto* w = std::get_if<op::WriteCgroup>(&plan->ops[i]))
        list.push_back(fmt::format("{} = {}", w->file, w->value));
    for (const LeftOut& l : plan->left_out) list.push_back(l.field + " left out: " + l.why);
    return list;
  };
  const Lines raised{"memory.memsw.limit_in_bytes = 230", "memory.limit_in_bytes = 200"};
  const Lines lowered{"memory.limit_in_bytes = 50", "memory.memsw.limit_in_bytes = 80"};
  SECTION("in its fields") {
    spec.resources = {.memory_max = 100_B, .memory_swap_max = 30_B};
    CHECK(taken({.memory_max = 200_B}) == raised);
    CHECK(taken({.memory_max = 50_B}) == lowered);
    CHECK(taken({.memory_max = unlimited}) ==
          Lines{"memory.memsw.limit_in_bytes = -1", "memory.limit_in_bytes = -1"});
  }
  SECTION("in files") {
    spec.resources.settings = {{"memory.limit_in_bytes", "100"},
                               {"memory.memsw.limit_in_bytes", "130"}};
    CHECK(taken({.memory_max = 200_B}) == raised);
    spec.resources.settings = {{"memory.limit_in_bytes", "1K"},
                               {"memory.memsw.limit_in_bytes", "0x800"}};
    CHECK(taken({.memory_max = 2_KiB}) ==
          Lines{"memory.memsw.limit_in_bytes = 3072", "memory.limit_in_bytes = 2048"});
    spec.resources.settings = {{"memory.limit_in_bytes", "-1"}};
    CHECK(taken({.memory_max = 200_B}) == Lines{"memory.limit_in_bytes = 200"});
  }
  SECTION("where it has a cgroup") {
    spec.resources = {.pids_max = 5};
    CHECK(taken({.memory_max = 50_B}).front().find("the container has no cgroup in") !=
          std::string::npos);
    CHECK(taken({.memory_max = 50_B, .pids_max = 6, .optional = ResourceField::memory_max}) ==
          Lines{"pids.max = 6",
                "resources.memory_max left out: the container has no cgroup in "
                "'/sys/fs/cgroup/memory'"});
  }
  SECTION("as often as there are containers, each of one life") {
    spec.lifecycle.restart = Restart::on_failure;
    CHECK(taken({}).front().find("lifecycle.restart: a container of a pool runs once, and this "
                                 "says on_failure") != std::string::npos);
  }
}

TEST_CASE("limits of devices and huge pages are refused that none can have", "[plan]") {
  const auto refusal = [](Resources r) {
    const Lines list = writes(r, on_v2());
    const auto found =
        std::ranges::find_if(list, [](const auto& l) { return l.starts_with("refused: "); });
    return found == list.end() ? "(none)" : found->substr(9);
  };
  const auto io = [&](std::vector<IoLimit> list) { return refusal({.io = std::move(list)}); };
  const DeviceNumber sda{8, 0};
  CHECK(refusal({.io_weight = 10001}) == "resources.io_weight: 10001 is not among 1 to 10000");
  CHECK(io({{.device = sda}}) == "resources.io[0]: no rate is given");
  CHECK(io({{.device = "sda"_host, .read_bytes = 1_B}}) ==
        "resources.io[0]: 'sda' is no absolute path");
  CHECK(io({{.read_bytes = 1_B}}) == "resources.io[0]: '' is no absolute path");
  CHECK(io({{.device = HostPath(std::string("/a\0b", 4)), .read_bytes = 1_B}}) ==
        "resources.io[0]: '/a\\x00b' has a NUL byte");
  CHECK(io({{.device = DeviceNumber{0, 5}, .read_bytes = 1_B}}) ==
        "resources.io[0]: 0:5 is no block device: numbers are 1 to 4095 and 0 to 1048575");
  CHECK(io({{.device = DeviceNumber{8, 1048576}, .read_bytes = 1_B}}) ==
        "resources.io[0]: 8:1048576 is no block device: numbers are 1 to 4095 and 0 to 1048575");
  CHECK(io({{.device = sda, .write_operations = 0}}) ==
        "resources.io[0].write_operations: nothing is ever done at a rate of 0");
  CHECK(io({{.device = sda, .read_bytes = 0_B}}) ==
        "resources.io[0].read_bytes: nothing is ever done at a rate of 0");
  CHECK(io({{.device = sda, .read_bytes = 1_B}, {.device = sda, .write_bytes = 1_B}}) ==
        "resources.io[1]: this device is there twice");
  const auto pages = [&](Bytes size) { return refusal({.hugetlb = {{.page_size = size}}}); };
  CHECK(pages(2_MiB) == "(none)");
  CHECK(pages(3_MiB).starts_with("resources.hugetlb[0]: 3 MiB is no size of a huge page"));
  CHECK(pages(4_KiB).starts_with("resources.hugetlb[0]: 4 KiB is no size of a huge page"));
  CHECK(pages(32_GiB).starts_with("resources.hugetlb[0]: 32 GiB is no size of a huge page"));
  CHECK(pages(0_B).starts_with("resources.hugetlb[0]: "));
  CHECK(refusal({.hugetlb = {{.page_size = 2_MiB}, {.page_size = 2_MiB}}}) ==
        "resources.hugetlb[1]: this page size is there twice");
}
