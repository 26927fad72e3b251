#include "launch/shortcuts.hpp"

#include <optional>
#include <utility>

#include "catch.hpp"
#include "condroid/builder.hpp"
#include "facts.hpp"
#include "launch/dev_tree.hpp"

namespace {

using namespace condroid;
using namespace condroid::literals;
using namespace condroid::test;

Plan plan_of(const ContainerBuilder& builder, const HostFacts& facts = root_on_v2()) {
  auto plan = compile(builder.spec(), facts);
  if (!plan) FAIL(to_string(plan.error()));
  return std::move(*plan);
}
ContainerBuilder box() {
  return ContainerBuilder{"box"}.root("/srv/alpine"_host).exec({"/bin/true"});
}

}  // namespace

TEST_CASE("a container of directories and kernel file systems needs none of the host's mounts",
          "[launch]") {
  CHECK(detail::needs_no_host_mounts(plan_of(box())));
  CHECK(detail::needs_no_host_mounts(plan_of(ContainerBuilder{"box"}.exec({"/bin/true"}))));
  CHECK(detail::needs_no_host_mounts(
      plan_of(box().bind({.source = "/tmp/work"_host, .target = "/work"_guest}))));
  CHECK(detail::needs_no_host_mounts(plan_of(box().tmpfs({.target = "/data"_guest}))));
}

TEST_CASE("what hangs on the host's mounts is seen", "[launch]") {
  const auto hangs = [](const ContainerBuilder& builder, const HostFacts& facts = root_on_v2()) {
    return !detail::needs_no_host_mounts(plan_of(builder, facts));
  };
  CHECK(hangs(box().ephemeral()));  // overlayfs names its layers
  Spec device = box().spec();
  device.mounts.push_back(FsMount{.type = "ext4", .source = "/dev/sda1", .target = "/data"_guest});
  CHECK(hangs(ContainerBuilder{device}));
  Spec slave = box().spec();
  slave.mounts.push_back(
      Bind{.source = "/mnt"_host, .target = "/mnt"_guest, .propagation = Propagation::slave});
  CHECK(hangs(ContainerBuilder{slave}));
  Spec bare_dev = box().spec();
  bare_dev.devices.populate = false;  // masks take the host's /dev/null
  CHECK(hangs(ContainerBuilder{bare_dev}));
  CHECK(hangs(box(), user_with_subids()));  // a user namespace of its own
}

TEST_CASE("an id map is written early only where nothing else has to come first", "[launch]") {
  Spec spec = box().spec();
  CHECK_FALSE(detail::early_map(plan_of(ContainerBuilder{spec})));
  spec.idmap = {.kind = IdMap::ranges, .uids = {{0, 100000, 65536}}, .gids = {{0, 100000, 65536}}};
  const Plan mapped = plan_of(ContainerBuilder{spec});
  const auto early = detail::early_map(mapped);
  REQUIRE(early);
  CHECK(std::holds_alternative<op::WriteIdMap>(mapped.ops[*early]));
  // its child has to be traceable first
  CHECK_FALSE(detail::early_map(plan_of(box(), user_with_subids())));
}

TEST_CASE("/dev is made ahead only where it takes nothing of the host", "[launch]") {
  const Plan plan = plan_of(box());
  const auto dev = detail::find_dev(plan);
  REQUIRE(dev);
  CHECK(std::get<op::MountOp>(plan.ops[dev->first]).target == "/dev");
  // Six nodes, five links, three directories.
  CHECK(dev->count == 1 + 6 + 5 + 3);
  CHECK_FALSE(detail::find_dev(plan_of(box(), user_with_subids())));  // its nodes are binds
  Spec none = box().spec();
  none.devices.populate = false;
  CHECK_FALSE(detail::find_dev(plan_of(ContainerBuilder{none})));
}

TEST_CASE("what is not wanted twice in a row is not made ahead", "[launch]") {
  const Plan one = plan_of(box());
  Spec other_spec = box().spec();
  other_spec.devices.size = 64_KiB;
  const Plan other = plan_of(ContainerBuilder{other_spec});
  const auto ops = *detail::find_dev(one);
  detail::SpareDev spare;
  CHECK_FALSE(spare.take(one, ops).valid());
  spare.refill(one, ops);
  CHECK_FALSE(spare.take(one, ops).valid());  // the first refill made none
  CHECK_FALSE(spare.take(other, *detail::find_dev(other)).valid());
  spare.refill(other, *detail::find_dev(other));
  CHECK_FALSE(spare.take(one, ops).valid());
}
