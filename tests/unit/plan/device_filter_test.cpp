#include "plan/device_filter.hpp"

#include <linux/bpf.h>

#include <cstring>
#include <stdexcept>

#include "catch.hpp"
#include "condroid/plan/attach.hpp"
#include "facts.hpp"

using namespace condroid;
using namespace condroid::literals;

namespace {

constexpr std::uint32_t block = BPF_DEVCG_DEV_BLOCK, character = BPF_DEVCG_DEV_CHAR;
constexpr std::uint32_t may_make = BPF_DEVCG_ACC_MKNOD, may_read = BPF_DEVCG_ACC_READ,
                        may_write = BPF_DEVCG_ACC_WRITE;

/// What the program says of one access, by the rules of eBPF as far as it uses them. Anything else
/// is an exception.
bool allows(const std::vector<std::uint64_t>& program, std::uint32_t kind, std::uint32_t access,
            std::uint32_t major, std::uint32_t minor) {
  const bpf_cgroup_dev_ctx context{access << 16U | kind, major, minor};
  std::uint64_t r[11] = {};
  for (std::size_t i = 0; i < program.size(); ++i) {
    bpf_insn x;
    std::memcpy(&x, &program[i], sizeof x);
    switch (x.code) {
      case BPF_LDX | BPF_MEM | BPF_W: {
        if (x.src_reg != BPF_REG_1 || x.off < 0 || x.off + 4 > static_cast<int>(sizeof context))
          throw std::runtime_error("a load from elsewhere");
        std::uint32_t value = 0;
        std::memcpy(&value, reinterpret_cast<const char*>(&context) + x.off, 4);
        r[x.dst_reg] = value;
        break;
      }
      case BPF_ALU | BPF_MOV | BPF_X:
        r[x.dst_reg] = static_cast<std::uint32_t>(r[x.src_reg]);
        break;
      case BPF_ALU | BPF_MOV | BPF_K:
        r[x.dst_reg] = static_cast<std::uint32_t>(x.imm);
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        r[x.dst_reg] = static_cast<std::uint32_t>(r[x.dst_reg]) & static_cast<std::uint32_t>(x.imm);
        break;
      case BPF_ALU | BPF_RSH | BPF_K:
        r[x.dst_reg] = static_cast<std::uint32_t>(r[x.dst_reg]) >> x.imm;
        break;
      case BPF_JMP | BPF_JNE | BPF_K:
        if (r[x.dst_reg] != static_cast<std::uint64_t>(std::int64_t{x.imm}))
          i += static_cast<std::size_t>(x.off);
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        if (r[x.dst_reg] == static_cast<std::uint64_t>(std::int64_t{x.imm}))
          i += static_cast<std::size_t>(x.off);
        break;
      case BPF_JMP | BPF_EXIT:
        return r[0] != 0;
      default:
        throw std::runtime_error("an instruction that is not expected");
    }
  }
  throw std::runtime_error("the program ends without an answer");
}

Spec with_mknod() {
  Spec spec;
  spec.root.path = "/srv/root"_host;
  spec.security.capabilities.add(Capability::mknod);
  spec.security.allow = Allow::capabilities;
  return spec;
}

const op::FilterDevices* filter_in(const Plan& plan) {
  for (const Op& o : plan.ops)
    if (const auto* f = std::get_if<op::FilterDevices>(&o)) return f;
  return nullptr;
}
std::string refusal(const Spec& spec, const HostFacts& facts) {
  const auto plan = compile(spec, facts);
  REQUIRE_FALSE(plan);
  return to_string(plan.error());
}

}  // namespace

TEST_CASE("the program of v2 allows what is on the list and nothing else", "[plan][devices]") {
  Spec spec;
  spec.devices.nodes = {{.name = "fuse", .major = 10, .minor = 229}};
  spec.devices.permitted = {{.kind = DeviceNode::block, .major = 8, .access = DeviceAccess::read},
                            {.major = 240, .minor = 0}};
  const auto program = detail::device_program(detail::permitted_devices(spec));
  for (const std::uint32_t minor : {3U, 5U, 7U, 8U, 9U})
    CHECK(allows(program, character, may_read | may_write, 1, minor));
  for (const std::uint32_t minor : {1U, 2U, 4U, 11U})  // mem, kmem, port, kmsg
    CHECK_FALSE(allows(program, character, may_read, 1, minor));
  CHECK_FALSE(allows(program, block, may_read, 1, 3));
  CHECK(allows(program, character, may_read | may_write, 5, 2));
  CHECK(allows(program, character, may_read | may_write, 136, 17));
  CHECK(allows(program, character, may_read | may_write, 143, 9999));
  CHECK_FALSE(allows(program, character, may_read, 144, 0));
  CHECK(allows(program, character, may_read | may_write | may_make, 10, 229));
  CHECK_FALSE(allows(program, character, may_read, 10, 228));
  CHECK(allows(program, block, may_read, 8, 5));
  CHECK_FALSE(allows(program, block, may_write, 8, 5));
  CHECK_FALSE(allows(program, block, may_read | may_write, 8, 5));
  CHECK(allows(program, character, may_write, 240, 0));
  CHECK_FALSE(allows(program, character, may_write, 240, 1));
  // Made, but neither read nor written.
  CHECK(allows(program, block, may_make, 252, 1));
  CHECK(allows(program, character, may_make, 1, 1));
  CHECK_FALSE(allows(program, character, may_make | may_read, 1, 1));
  // Numbers of 32 bits compare as such.
  Spec far;
  far.devices.permitted = {{.major = 0xffffffffU, .minor = 0x80000000U}};
  const auto odd = detail::device_program(far.devices.permitted);
  CHECK_FALSE(allows(odd, character, may_read, 1, 1));
}

TEST_CASE("what is denied is denied whatever is permitted", "[plan][devices]") {
  const std::vector<DevicePermission> all = {{}, {.kind = DeviceNode::block}};
  const std::vector<DevicePermission> denied = {
      {.major = 10, .minor = 229, .access = DeviceAccess::write | DeviceAccess::make},
      {.kind = DeviceNode::block, .major = 8}};
  const auto program = detail::device_program(all, denied);
  CHECK(allows(program, character, may_read, 10, 229));
  CHECK_FALSE(allows(program, character, may_write, 10, 229));
  CHECK_FALSE(allows(program, character, may_read | may_write, 10, 229));
  CHECK_FALSE(allows(program, character, may_make, 10, 229));
  CHECK(allows(program, character, may_write, 10, 228));
  CHECK(allows(program, block, may_write, 10, 229));
  CHECK_FALSE(allows(program, block, may_read, 8, 1));
  CHECK(allows(program, block, may_read | may_make, 9, 1));

  // By v1 only where the rest is permitted.
  Spec spec = with_mknod();
  spec.security.allow |= Allow::devices;
  spec.devices.denied = denied;
  CHECK(filter_in(compile(spec, test::root_on_v2()).value())->denied == denied);
  HostFacts v1 = test::root_on_v1();
  v1.cgroups.front().controllers.emplace_back("devices");
  CHECK(refusal(spec, v1).find("devices.denied") != std::string::npos);
  spec.devices.permitted = all;
  CHECK(filter_in(compile(spec, v1).value())->denied == denied);
}

TEST_CASE("who could make nodes of the host's devices has a filter", "[plan][devices]") {
  const HostFacts v2 = test::root_on_v2();
  const auto plan = compile(with_mknod(), v2);
  REQUIRE(plan);
  const auto* filter = filter_in(*plan);
  REQUIRE(filter != nullptr);
  CHECK(filter->permitted == detail::permitted_devices(with_mknod()));
  CHECK(filter->v2);
  CHECK(plan->inside.devices == *filter);

  Spec usual;
  usual.root.path = "/srv/root"_host;
  CHECK(filter_in(compile(usual, v2).value()) == nullptr);
  CHECK_FALSE(compile(usual, v2)->inside.devices);
  usual.devices.filter = DeviceFilter::always;
  CHECK(filter_in(compile(usual, v2).value()) != nullptr);
}

TEST_CASE("v1 has the list in its controller", "[plan][devices]") {
  HostFacts hybrid = test::root_on_hybrid();
  for (CgroupHierarchy& h : hybrid.cgroups)
    if (!h.v2) {
      h.controllers.emplace_back("devices");
      break;
    }
  Spec spec = with_mknod();
  spec.devices.permitted = {
      {.kind = DeviceNode::block, .major = 8, .access = DeviceAccess::read | DeviceAccess::make}};
  spec.security.allow |= Allow::devices;
  const auto plan = compile(spec, hybrid);
  REQUIRE(plan);
  const auto* filter = filter_in(*plan);
  REQUIRE(filter != nullptr);
  CHECK_FALSE(filter->v2);
  CHECK_FALSE(hybrid.cgroups[filter->hierarchy].v2);
  std::vector<std::string> lines;
  for (const DevicePermission& p : filter->permitted) lines.push_back(detail::permission_line(p));
  REQUIRE(lines.size() > 5);
  CHECK(lines[0] == "c *:* m");
  CHECK(lines[2] == "c 1:3 rwm");
  CHECK(lines.back() == "b 8:* rm");
}

TEST_CASE("a filter that cannot be had, or is not meant, is refused", "[plan][devices]") {
  using Catch::Contains;
  HostFacts v2 = test::root_on_v2();
  Spec spec = with_mknod();
  SECTION("never takes a token") {
    spec.devices.filter = DeviceFilter::never;
    CHECK_THAT(refusal(spec, v2), Contains("devices.filter") && Contains("Allow::devices"));
    spec.security.allow |= Allow::devices;
    CHECK(filter_in(compile(spec, v2).value()) == nullptr);
    spec.devices.permitted = {{.major = 1}};
    CHECK_THAT(refusal(spec, v2), Contains("devices.permitted"));
  }
  SECTION("more devices take a token") {
    spec.devices.permitted = {{.major = 8}};
    CHECK_THAT(refusal(spec, v2), Contains("devices.permitted") && Contains("Allow::devices"));
    spec.security.allow |= Allow::devices;
    spec.devices.permitted[0].access = {};
    CHECK_THAT(refusal(spec, v2), Contains("devices.permitted[0]"));
  }
  SECTION("without a cgroup") {
    spec.resources.cgroup = CgroupMode::never;
    CHECK_THAT(refusal(spec, v2), Contains("devices.filter"));
  }
  SECTION("on a machine without") {
    v2.cgroups.clear();
    CHECK_THAT(refusal(spec, v2), Contains("devices.filter") && Contains("mknod"));
  }
  SECTION("an attach around it") {
    const AttachTarget target{.name = "t",
                              .pid = {7},
                              .inside = {.namespaces = Spec::default_namespaces,
                                         .capabilities = spec.security.capabilities,
                                         .devices = op::FilterDevices{}}};
    const auto plan = compile(Attach{.cgroup = AttachCgroup::own}, target, v2);
    REQUIRE_FALSE(plan);
    CHECK_THAT(to_string(plan.error()), Contains("cgroup") && Contains("mknod"));
  }
}
