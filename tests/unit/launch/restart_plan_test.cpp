#include "launch/kept.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "catch.hpp"
#include "facts.hpp"

namespace {

using namespace condroid;
using namespace condroid::literals;
using namespace condroid::test;

Plan plan_of(const Spec& spec, const HostFacts& facts = root_on_v2()) {
  auto plan = compile(spec, facts);
  if (!plan) FAIL(to_string(plan.error()));
  return std::move(*plan);
}
Spec box() {
  Spec s;
  s.name = "box";
  s.root.path = "/srv/alpine"_host;
  s.lifecycle.restart = Restart::on_reboot;
  return s;
}
template <class T>
std::vector<T> all(const Plan& plan) {
  std::vector<T> list;
  for (const Op& o : plan.ops)
    if (const auto* x = std::get_if<T>(&o)) list.push_back(*x);
  return list;
}
/// What the zygote joins before it clones, in order, by descriptor.
std::vector<int> joined(const Plan& plan) {
  std::vector<int> list;
  for (const auto& o : all<op::OpenDescriptor>(plan))
    if (o.before_clone) list.push_back(o.fd.number);
  return list;
}

}  // namespace

TEST_CASE("a next life without anything kept is the first one", "[launch]") {
  const Plan plan = plan_of(box());
  CHECK(detail::next_life(plan, {}) == plan);
}

TEST_CASE("a kept network is joined in place of being made", "[launch]") {
  const Plan plan = plan_of(box());
  const Plan next = detail::next_life(plan, {.network = 40});
  CHECK(joined(next) == std::vector{40});
  for (const auto& unshare : all<op::Unshare>(next))
    CHECK_FALSE(unshare.namespaces.has(Namespace::net));
  CHECK(all<op::Unshare>(next).size() == 1);
  CHECK(all<op::Clone>(next) == all<op::Clone>(plan));
  // Before the clone: the host does it.
  bool cloned = false;
  for (const Op& o : next.ops) {
    cloned = cloned || std::holds_alternative<op::Clone>(o);
    if (std::holds_alternative<op::OpenDescriptor>(o)) CHECK_FALSE(cloned);
  }
}

#if CONDROID_LIBNL
TEST_CASE("interfaces of a kept network stay as the last life left them", "[launch]") {
  Spec spec = box();
  spec.network.interfaces = {{.link = Veth{.bridge = "br0"}, .addresses = {"10.0.3.2/24"_prefix}}};
  const auto counts = [](const Plan& plan) {
    return std::vector{all<op::CreateInterface>(plan).size(),
                       all<op::ConfigureInterface>(plan).size(),
                       all<op::WriteSetting>(plan).size()};
  };
  spec.hooks.run = {{.point = HookPoint::up, .program = "/x"}};
  const auto hooked = [](const Plan& plan) {
    std::vector<std::string> names;
    for (const auto& o : all<op::RunHook>(plan)) names.push_back(o.hook.interface);
    return names;
  };
  const auto awaited = [](const Plan& plan) {
    std::vector<std::string> names;
    for (const auto& o : all<op::AwaitInterface>(plan)) names.push_back(o.name);
    return names;
  };
  const Plan first = plan_of(spec);
  CHECK(counts(first) == std::vector<std::size_t>{1, 1, 0});
  CHECK(counts(detail::next_life(first, {})) == counts(first));
  CHECK(counts(detail::next_life(first, {.network = 30})) == std::vector<std::size_t>{0, 0, 0});
  CHECK(hooked(detail::next_life(first, {})) == hooked(first));
  CHECK(hooked(detail::next_life(first, {.network = 30})).empty());
  // What is lent came home with the last life.
  spec.network.interfaces[0].ready_within = std::chrono::seconds(1);
  spec.network.interfaces.push_back({.name = "nic",
                                     .link = Phys{.parent = "enp1s0"},
                                     .addresses = {"10.0.4.2/24"_prefix},
                                     .ready_within = std::chrono::seconds(1)});
  const Plan lends = plan_of(spec);
  CHECK(counts(lends) == std::vector<std::size_t>{2, 2, 0});
  const Plan again = detail::next_life(lends, {.network = 30});
  CHECK(counts(again) == std::vector<std::size_t>{1, 1, 0});
  CHECK(awaited(lends) == std::vector<std::string>{"eth0", "nic"});
  CHECK(awaited(again) == std::vector<std::string>{"nic"});
  CHECK(hooked(lends) == std::vector<std::string>{"eth0", "nic"});
  CHECK(hooked(again) == std::vector<std::string>{"nic"});
  // What a program of that life's made is gone.
  spec.network.interfaces = {{.link = Pasta{},
                              .addresses = {"10.0.3.2/24"_prefix},
                              .ready_within = std::chrono::seconds(1)}};
  const Plan next = detail::next_life(plan_of(spec), {.network = 30});
  CHECK(all<op::StartPasta>(next).size() == 1);
  CHECK(awaited(next) == std::vector<std::string>{"eth0"});
  CHECK(all<op::ConfigureInterface>(next).size() == 1);
  // What another one made is in the namespace, and stays with it.
  spec.network.interfaces = {
      {.link = UserNic{.bridge = "br0"}, .addresses = {"10.0.3.2/24"_prefix}}};
  CHECK(all<op::AskUserNic>(plan_of(spec)).size() == 1);
  const Plan kept = detail::next_life(plan_of(spec), {.network = 30});
  CHECK(all<op::AskUserNic>(kept).empty());
  CHECK(all<op::ConfigureInterface>(kept).empty());
}
#endif

TEST_CASE("with an id map the user namespace comes along", "[launch]") {
  Spec spec = box();
  spec.idmap = {.kind = IdMap::ranges, .uids = {{0, 100000, 65536}}, .gids = {{0, 100000, 65536}}};
  const Plan plan = plan_of(spec);
  REQUIRE(all<op::WriteIdMap>(plan).size() == 1);
  const Plan next = detail::next_life(plan, {.network = 40, .users = 41});
  CHECK(joined(next) == std::vector{41, 40});  // for its rights over the other
  CHECK(all<op::WriteIdMap>(next).empty());
  REQUIRE(all<op::Clone>(next).size() == 1);
  CHECK_FALSE(all<op::Clone>(next)[0].namespaces.has(Namespace::user));
  CHECK(all<op::Clone>(next)[0].namespaces.has(Namespace::pid));
}

TEST_CASE("kept terminals are opened by their numbers", "[launch]") {
  Spec spec = box();
  spec.terminal = {.console = true, .ttys = 2};
  const Plan plan = plan_of(spec);
  const auto send = all<op::SendPtys>(plan);
  REQUIRE(send.size() == 1);
  CHECK(send[0].count == 3);
  REQUIRE(send[0].devpts.valid());
  // The second was closed by whoever had it.
  const Plan next = detail::next_life(plan, {.devpts = 50, .terminals = {0, -1, 2}});
  const auto ptys = all<op::OpenPty>(next);
  REQUIRE(ptys.size() == 3);
  CHECK(ptys[0].number == 0);
  CHECK(ptys[1].number == -1);
  CHECK(ptys[2].number == 2);
  CHECK(all<op::SendPtys>(next)[0].count == 1);
  CHECK(all<op::SendPtys>(next)[0].devpts == send[0].devpts);
  std::optional<op::MountOp> devpts;
  for (const auto& m : all<op::MountOp>(next))
    if (m.to == send[0].devpts) devpts = m;
  REQUIRE(devpts);
  CHECK(devpts->source == op::MountOp::slot);
  CHECK(devpts->from == send[0].devpts);
  CHECK(devpts->options.empty());
  CHECK(std::ranges::any_of(all<op::OpenDescriptor>(next), [&](const op::OpenDescriptor& o) {
    return o.fd == HostFd{50} && o.to == send[0].devpts && !o.before_clone;
  }));
}

TEST_CASE("without a restart nothing of the terminals is sent up but the masters", "[launch]") {
  Spec spec = box();
  spec.lifecycle = {};
  spec.terminal = {.console = true};
  CHECK_FALSE(all<op::SendPtys>(plan_of(spec))[0].devpts.valid());
}
