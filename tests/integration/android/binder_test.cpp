// Devices with binder, on a machine that has it: an instance of binderfs each, or nodes of the pool
// that the module was loaded with (two triples). Nothing of them meets.
#include "condroid/android/binder.hpp"

#include <sys/wait.h>

#include <algorithm>
#include <csignal>

#include "android_root.hpp"

using namespace condroid;
using namespace condroid::literals;
using namespace condroid::test;
using android::Binder;
using android::Device;

namespace {

Device with_role(const AndroidRoot& root, const char* role) {
  Device d = root.device();
  d.data = {};
  d.binder = Binder::automatic;
  d.androidboot = {{"fake_binder", role}};
  return d;
}

void check_nodes(const Report& r) {
  for (const char* name : {"binder", "hwbinder", "vndbinder"}) {
    CHECK(r[fmt::format("binder:/dev/{}", name)] == "8");
    const std::string node = android::probe_facts().binderfs
                                 ? r[fmt::format("node:/dev/binderfs/{}", name)]
                                 : r[fmt::format("node:/dev/{}", name)];
    CHECK(node.find(" 0666 ") != std::string::npos);
  }
  if (android::probe_facts().binderfs) CHECK(r["link:/dev/binder"] == "binderfs/binder");
  // The number is one of the machine's process 1, whatever the guest thinks.
  CHECK(r["binder.freeze"] == "EINVAL");
}

}  // namespace

TEST_CASE("devices have context managers of their own, and see no other's services",
          "[.android-binder][.root]") {
  const AndroidRoot root;
  const bool binderfs = android::probe_facts().binderfs;
  // The machine may have one of its own.
  const auto instances = [] {
    const auto all = mounts_now();
    return std::ranges::count_if(
        all, [](const auto& m) { return m.target.find("binderfs") != std::string::npos; });
  };
  const auto before = instances();
  {
    const Booted first = boot(with_role(root, "manager"));
    check_nodes(first.report);
    CHECK(first.report["binder.manager"] == "ok");
    CHECK(first.report["binder.ask"] == "answered");
    {
      const Booted second = boot(with_role(root, "manager"));
      check_nodes(second.report);
      CHECK(second.report["binder.manager"] == "ok");
      CHECK(second.report["binder.ask"] == "answered");
    }
    // There is one on the machine, but not for this device.
    const Booted third = boot(with_role(root, "client"));
    check_nodes(third.report);
    CHECK(third.report["binder.ask"] != "answered");
    CHECK(third.report["binder.ask"] != "(missing)");
    INFO(third.report["binder.ask"]);
    CHECK((third.report["binder.ask"] == "dead" || third.report["binder.ask"] == "failed"));
  }
  if (binderfs) CHECK(instances() == before);
}

TEST_CASE("binderfs has a device's owners in a user namespace", "[.android-binder][.root]") {
  if (!android::probe_facts().binderfs) return;
  const AndroidRoot root;
  shell(fmt::format("chown -R 200000:200000 {} {}", root / "system", root / "vendor"));
  Device d = with_role(root, "manager");
  const std::vector<IdRange> all = {{.inside = 0, .outside = 200000, .count = 200000}};
  d.idmap = {.kind = IdMap::ranges, .uids = all, .gids = all};
  android::Ready ready = prepared(d);
  ready.spec.root.idmapped = false;
  for (Mount& m : ready.spec.mounts)
    if (auto* bind = std::get_if<Bind>(&m)) bind->idmapped = false;
  ready.spec.process.stdio = {Stdio::null, Stdio::pipe, Stdio::inherit};
  auto box = android::launch(runtime(), ready);
  REQUIRE_THAT(failure_of(box).error ? to_string(*failure_of(box).error) : "", Catch::Equals(""));
  Exit told;
  const Fd out = box->take_stdout();
  told.out = read_until(out, "ready=yes\n");
  const Report r(std::move(told));
  check_nodes(r);
  CHECK(r["binder.manager"] == "ok");
  CHECK(r["binder.ask"] == "answered");
}

TEST_CASE("a pool that is used up says so, and gets its nodes back", "[.android-binder][.root]") {
  const android::Facts found = android::probe_facts();
  if (found.binder_pool.empty()) return;
  const AndroidRoot root;
  Device d = with_role(root, "client");
  d.binder = Binder::pool;
  std::vector<android::Ready> all;
  for (std::size_t i = 0; i < found.binder_pool.size(); ++i) all.push_back(prepared(d));
  CHECK_THAT(failure_of(android::prepare(d, facts())),
             FailsWith(EBUSY, Step::open_descriptor, "binder nodes have a device"));
  all.pop_back();
  all.push_back(prepared(d));
  all.clear();
  // Of a program that is killed, too.
  int ends[2];
  must(::pipe(ends) == 0, "pipe");
  const HostFacts known = facts();
  const pid_t child = ::fork();
  if (child == 0) {
    std::vector<android::Ready> held;
    char c = 'y';
    for (std::size_t i = 0; i < found.binder_pool.size(); ++i) {
      auto one = android::prepare(d, known, found);
      if (!one)
        c = 'n';
      else
        held.push_back(std::move(*one));
    }
    (void)!::write(ends[1], &c, 1);
    ::pause();
    ::_exit(0);
  }
  char c = 0;
  must(::read(ends[0], &c, 1) == 1, "read");
  CHECK(c == 'y');
  CHECK_THAT(failure_of(android::prepare(d, facts())), FailsWith(EBUSY, Step::open_descriptor));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ends[0]);
  ::close(ends[1]);
  CHECK(android::prepare(d, facts()).has_value());
}
