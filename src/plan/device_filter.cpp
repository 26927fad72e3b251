#include "plan/device_filter.hpp"

#include <linux/bpf.h>

#include <algorithm>
#include <cstddef>
#include <initializer_list>

#include "formatted.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr std::string_view name_of_filter = "devices.filter";

constexpr std::uint32_t console_major = 5, pty_slaves = 136, last_pty_slaves = 143;

/// eBPF from front to back. Jumps end behind the block that they are in.
class BpfWriter {
 public:
  void load(int to, int base, std::size_t offset) {
    add(BPF_LDX | BPF_MEM | BPF_W, to, base, static_cast<std::int16_t>(offset), 0);
  }
  void copy(int to, int from) { add(BPF_ALU | BPF_MOV | BPF_X, to, from, 0, 0); }
  void set(int to, std::uint32_t k) { add(BPF_ALU | BPF_MOV | BPF_K, to, 0, 0, k); }
  void mask(int to, std::uint32_t k) { add(BPF_ALU | BPF_AND | BPF_K, to, 0, 0, k); }
  void shift_right(int to, std::uint32_t k) { add(BPF_ALU | BPF_RSH | BPF_K, to, 0, 0, k); }
  void leave_unless(int reg, std::uint32_t k) {
    open_.push_back(words_.size());
    // Compared with all 64 bits, of which the upper half is zero.
    add(BPF_JMP | BPF_JNE | BPF_K, reg, 0, 0, k);
  }
  void leave_if(int reg, std::uint32_t k) {
    open_.push_back(words_.size());
    add(BPF_JMP | BPF_JEQ | BPF_K, reg, 0, 0, k);
  }
  void end_block() {
    for (const std::size_t at : open_) words_[at] |= std::uint64_t{words_.size() - at - 1} << 16U;
    open_.clear();
  }
  void give(std::uint32_t answer) {
    set(BPF_REG_0, answer);
    add(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
  }
  [[nodiscard]] std::vector<std::uint64_t> take() { return std::move(words_); }

 private:
  void add(unsigned code, int to, int from, std::int16_t offset, std::uint32_t k) {
    words_.push_back(code | static_cast<std::uint64_t>(to) << 8U |
                     static_cast<std::uint64_t>(from) << 12U |
                     static_cast<std::uint64_t>(static_cast<std::uint16_t>(offset)) << 16U |
                     std::uint64_t{k} << 32U);
  }
  std::vector<std::uint64_t> words_;
  std::vector<std::size_t> open_;
};

std::uint32_t access_bits(Flags<DeviceAccess> access) {
  std::uint32_t bits = 0;
  if (access.has(DeviceAccess::make)) bits |= BPF_DEVCG_ACC_MKNOD;
  if (access.has(DeviceAccess::read)) bits |= BPF_DEVCG_ACC_READ;
  if (access.has(DeviceAccess::write)) bits |= BPF_DEVCG_ACC_WRITE;
  return bits;
}

}  // namespace

bool filters_devices(const Spec& spec, const Shape& shape) {
  const Devices& d = spec.devices;
  switch (d.filter) {
    case DeviceFilter::automatic:
      // In a user namespace no node can be made that could be opened.
      return !d.permitted.empty() || !d.denied.empty() ||
             (spec.security.capabilities.has(Capability::mknod) && !shape.confined);
    case DeviceFilter::always:
      return true;
    case DeviceFilter::never:
      return false;
  }
  return true;
}

bool permits_all(std::span<const DevicePermission> permitted) {
  return std::ranges::all_of(
      std::initializer_list<DeviceNode::Kind>{DeviceNode::character, DeviceNode::block},
      [&](DeviceNode::Kind kind) {
        return std::ranges::find(permitted, DevicePermission{.kind = kind}) != permitted.end();
      });
}

std::vector<DevicePermission> permitted_devices(const Spec& spec) {
  constexpr auto character = DeviceNode::character;
  std::vector<DevicePermission> list;
  // A node is harmless until it is opened, and archives have some.
  for (const auto kind : {character, DeviceNode::block})
    list.push_back({.kind = kind, .access = DeviceAccess::make});
  for (const std::uint32_t minor : {3U, 5U, 7U, 8U, 9U})  // null, zero, full, random, urandom
    list.push_back({.kind = character, .major = 1U, .minor = minor});
  for (const std::uint32_t minor : {0U, 1U, 2U})  // tty, console, ptmx
    list.push_back({.kind = character, .major = console_major, .minor = minor});
  for (std::uint32_t major = pty_slaves; major <= last_pty_slaves; ++major)
    list.push_back({.kind = character, .major = major});
  for (const DeviceNode& n : spec.devices.nodes)
    list.push_back({.kind = n.kind, .major = n.major, .minor = n.minor});
  list.insert(list.end(), spec.devices.permitted.begin(), spec.devices.permitted.end());
  return list;
}

void filter_devices(Groups& groups, const Spec& spec, const Shape& shape) {
  if (!filters_devices(spec, shape)) return;
  auto hierarchy = groups.find("devices");
  if (!hierarchy) hierarchy = groups.v2();
  if (!hierarchy) {
    groups.refusals().unsupported(
        name_of_filter, "there is neither the devices controller of v1 nor a cgroup v2",
        spec.security.capabilities.has(Capability::mknod)
            ? "take mknod out of the capabilities, or set devices.filter = never"
            : "leave the filter out");
    return;
  }
  if (!spec.devices.denied.empty() && !groups.is_v2(*hierarchy) &&
      !permits_all(spec.devices.permitted)) {
    groups.refusals().unsupported(
        "devices.denied", "cgroup v1 can deny single devices only where all others are permitted",
        "permit all character and block devices, or leave denied ones out of what is permitted");
    return;
  }
  if (Group* g = groups.need(*hierarchy, {name_of_filter}))
    g->devices = op::FilterDevices{.hierarchy = *hierarchy,
                                   .v2 = groups.is_v2(*hierarchy),
                                   .permitted = permitted_devices(spec),
                                   .denied = spec.devices.denied};
}

std::string permission_line(const DevicePermission& p) {
  const auto number = [](const std::optional<std::uint32_t>& n) {
    return n ? formatted("{}", *n) : std::string("*");
  };
  std::string access;
  if (p.access.has(DeviceAccess::read)) access += 'r';
  if (p.access.has(DeviceAccess::write)) access += 'w';
  if (p.access.has(DeviceAccess::make)) access += 'm';
  return formatted("{} {}:{} {}", p.kind == DeviceNode::block ? 'b' : 'c', number(p.major),
                   number(p.minor), access);
}

std::vector<std::uint64_t> device_program(std::span<const DevicePermission> permitted,
                                          std::span<const DevicePermission> denied) {
  constexpr std::uint32_t all = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE;
  enum : int { context = BPF_REG_1, type, access, major, minor, scratch };
  BpfWriter out;
  out.load(access, context, offsetof(bpf_cgroup_dev_ctx, access_type));
  out.copy(type, access);
  out.mask(type, 0xffff);
  out.shift_right(access, 16);
  out.load(major, context, offsetof(bpf_cgroup_dev_ctx, major));
  out.load(minor, context, offsetof(bpf_cgroup_dev_ctx, minor));
  for (const DevicePermission& p : denied) {
    out.leave_unless(type, p.kind == DeviceNode::block ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
    if (p.major) out.leave_unless(major, *p.major);
    if (p.minor) out.leave_unless(minor, *p.minor);
    out.copy(scratch, access);
    out.mask(scratch, access_bits(p.access));
    out.leave_if(scratch, 0);
    out.give(0);
    out.end_block();
  }
  for (const DevicePermission& p : permitted) {
    out.leave_unless(type, p.kind == DeviceNode::block ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
    if (const std::uint32_t others = all & ~access_bits(p.access); others != 0) {
      out.copy(scratch, access);
      out.mask(scratch, others);
      out.leave_unless(scratch, 0);
    }
    if (p.major) out.leave_unless(major, *p.major);
    if (p.minor) out.leave_unless(minor, *p.minor);
    out.give(1);
    out.end_block();
  }
  out.give(0);
  return out.take();
}

}  // namespace condroid::inline v0::detail
