// Which devices a container may open: the devices controller of v1, a BPF program on v2.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <stdexcept>
#include <string>
#include <vector>

#include "condroid/attach.hpp"
#include "containers.hpp"

using condroid::Allow;
using condroid::Attach;
using condroid::Capability;
using condroid::Container;
using condroid::DeviceAccess;
using condroid::DeviceFilter;
using condroid::DeviceNode;
using condroid::Exit;
using condroid::Spec;
using condroid::Stdio;
using condroid::test::launch;
using condroid::test::payload;
using condroid::test::Report;
using condroid::test::run;
using condroid::test::Surroundings;
using condroid::test::TempRoot;

namespace {

/// A character device that this machine's root can open, and that no container has.
struct Foreign {
  std::uint32_t major = 0, minor = 0;
  [[nodiscard]] std::string key() const { return fmt::format("c{}:{}", major, minor); }
};
const Foreign& foreign() {
  static const Foreign found = [] {
    for (const char* name : {"fuse", "net/tun", "loop-control", "tty0", "ttyS0", "vport1p1"}) {
      const std::string path = fmt::format("/dev/{}", name);
      const condroid::Fd fd(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
      struct stat st {};
      if (fd.valid() && ::fstat(fd.get(), &st) == 0 && S_ISCHR(st.st_mode))
        return Foreign{major(st.st_rdev), minor(st.st_rdev)};
    }
    throw std::runtime_error("no device to try it with");
  }();
  return found;
}
std::vector<std::string> devices_tried() {
  return {"device",
          "c",
          std::to_string(foreign().major),
          std::to_string(foreign().minor),
          "c",
          "1",
          "3",
          "b",
          "7",
          "0"};
}

Spec with_mknod(const TempRoot& root) {
  Spec spec = payload(root, devices_tried());
  spec.security.capabilities.add(Capability::mknod);
  spec.security.allow = Allow::capabilities;
  return spec;
}

}  // namespace

TEST_CASE("a container that may make nodes cannot open the host's devices",
          "[devices][attack][.root][any_cgroup]") {
  const TempRoot root;
  Spec spec = with_mknod(root);
  (void)run(spec);  // a Runtime keeps its directory of the hierarchy open
  const Surroundings before = Surroundings::quiet();
  {
    const Report seen = run(spec);
    CHECK(seen[foreign().key()] == "made EPERM");
    CHECK(seen["c1:3"] == "made ok");
    CHECK(seen["b7:0"] == "made EPERM");
  }
  SECTION("unless it is permitted, in the way that is permitted") {
    spec.security.allow |= Allow::devices;
    spec.devices.permitted = {
        {.major = foreign().major, .minor = foreign().minor, .access = DeviceAccess::read}};
    CHECK(run(spec)[foreign().key()] == "made ok");
    CHECK(run(spec)["b7:0"] == "made EPERM");
    spec.process.argv.insert(spec.process.argv.begin() + 2, "write");
    CHECK(run(spec)[foreign().key()] == "made EPERM");
  }
  SECTION("unless all is, but for what is denied") {
    spec.security.allow |= Allow::devices;
    spec.devices.permitted = {{}, {.kind = DeviceNode::block}};
    spec.devices.denied = {
        {.major = foreign().major, .minor = foreign().minor, .access = DeviceAccess::write}};
    CHECK(run(spec)[foreign().key()] == "made ok");
    spec.process.argv.insert(spec.process.argv.begin() + 2, "write");
    CHECK(run(spec)[foreign().key()] == "made EPERM");
    CHECK(run(spec)["c1:3"] == "made ok");
    spec.devices.denied = {
        {.major = foreign().major, .minor = foreign().minor, .access = DeviceAccess::read}};
    CHECK(run(spec)[foreign().key()] == "made ok");
  }
  SECTION("or nobody wants the filter") {
    spec.security.allow |= Allow::devices;
    spec.devices.filter = DeviceFilter::never;
    CHECK(run(spec)[foreign().key()] == "made ok");
  }
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("a device that is added while it runs can be opened", "[devices][.root][any_cgroup]") {
  const TempRoot root;
  Spec spec = with_mknod(root);
  spec.process.argv = {"/bin/payload", "pause"};
  Container box = launch(spec);
  const auto seen = [&](condroid::AttachCgroup cgroup = condroid::AttachCgroup::container) {
    std::vector<std::string> argv = devices_tried();
    argv.insert(argv.begin(), "/bin/payload");
    Attach attach{.process = {.argv = std::move(argv), .stdio = Stdio::capture}};
    attach.cgroup = cgroup;
    auto task = box.attach(attach);
    if (!task) FAIL(to_string(task.error()));
    return Report(task->wait().value());
  };
  CHECK(seen()[foreign().key()] == "made EPERM");
  const auto added = box.add_device(
      DeviceNode{.name = "foreign", .major = foreign().major, .minor = foreign().minor},
      Allow::devices);
  if (!added) FAIL(to_string(added.error()));
  CHECK(seen()[foreign().key()] == "made ok");
  CHECK(seen()["b7:0"] == "made EPERM");
  CHECK(seen(condroid::AttachCgroup::below)["b7:0"] == "made EPERM");
}

TEST_CASE("the usual devices and terminals work behind the filter",
          "[devices][.root][any_cgroup]") {
  const TempRoot root;
  Spec spec = payload(root, {"pty"});
  spec.devices.filter = DeviceFilter::always;
  spec.process.stdio = Stdio::pty;
  spec.terminal.ttys = 2;
  Container box = launch(spec);
  CHECK(condroid::test::wait(box).success());
}
