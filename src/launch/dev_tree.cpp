#include "launch/dev_tree.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "program/kernel.hpp"
#include "program/kernel_bits.hpp"

namespace condroid::inline v0::detail {

namespace {

bool is_name(const std::string& path) {
  return !path.empty() && path.find('/') == std::string::npos;
}

const op::MountOp* own_tmpfs(const Op& o) {
  const auto* m = std::get_if<op::MountOp>(&o);
  return m != nullptr && m->source == op::MountOp::filesystem && m->what == "tmpfs" &&
                 m->fs_source.empty() && m->place == op::MountOp::at_target && m->to.valid() &&
                 !m->optional && m->propagation == Propagation::as_is
             ? m
             : nullptr;
}

bool fills(const Op& o, op::Slot dir) {
  if (const auto* n = std::get_if<op::MakeNode>(&o))
    return n->base == dir && !n->bind && is_name(n->node.name);
  const auto* e = std::get_if<op::MakeEntry>(&o);
  return e != nullptr && e->base == dir && e->kind != op::MakeEntry::file && is_name(e->path);
}

Fd new_tmpfs(const op::MountOp& m) {
  const Fd fs(static_cast<int>(::syscall(__NR_fsopen, "tmpfs", kernel::fsopen_cloexec)));
  if (!fs.valid()) return {};
  const auto set = [&fs](const std::string& key, const char* value) {
    return ::syscall(__NR_fsconfig, fs.get(),
                     value != nullptr ? kernel::fsconfig_set_string : kernel::fsconfig_set_flag,
                     key.c_str(), value, 0) == 0;
  };
  bool good = set("source", "tmpfs");
  for (const std::string& option : m.options) {
    const auto equals = option.find('=');
    good = good && set(option.substr(0, equals),
                       equals == option.npos ? nullptr : option.c_str() + equals + 1);
  }
  if (!good ||
      ::syscall(__NR_fsconfig, fs.get(), kernel::fsconfig_cmd_create, nullptr, nullptr, 0) < 0)
    return {};
  return Fd(static_cast<int>(
      ::syscall(__NR_fsmount, fs.get(), kernel::fsmount_cloexec, mount_attr(m.flags))));
}

/// Modes are set once more: our umask is the program's, and not ours to change.
bool make(int dir, const op::MakeNode& o) {
  const auto& n = o.node;
  const mode_t type = n.kind == DeviceNode::block ? S_IFBLK : S_IFCHR;
  return ::mknodat(dir, n.name.c_str(), type | n.mode.value, makedev(n.major, n.minor)) == 0 &&
         ::fchmodat(dir, n.name.c_str(), n.mode.value, 0) == 0 &&
         ((n.uid.value == 0 && n.gid.value == 0) ||
          ::fchownat(dir, n.name.c_str(), n.uid.value, n.gid.value, AT_SYMLINK_NOFOLLOW) == 0);
}

bool make(int dir, const op::MakeEntry& o) {
  if (o.kind == op::MakeEntry::link)
    return ::symlinkat(o.content.c_str(), dir, o.path.c_str()) == 0;
  return ::mkdirat(dir, o.path.c_str(), o.mode.value) == 0 &&
         ::fchmodat(dir, o.path.c_str(), o.mode.value, 0) == 0;
}

/// Carries the ops out here, as a detached mount; invalid when something could not be made.
Fd make_dev(const Plan& plan, DevOps ops) {
  Fd mount = new_tmpfs(std::get<op::MountOp>(plan.ops[ops.first]));
  bool good = mount.valid();
  for (std::size_t i = 1; i < ops.count && good; ++i) {
    const Op& o = plan.ops[ops.first + i];
    if (const auto* node = std::get_if<op::MakeNode>(&o))
      good = make(mount.get(), *node);
    else if (const auto* entry = std::get_if<op::MakeEntry>(&o))
      good = make(mount.get(), *entry);
  }
  if (!good) mount.reset();
  return mount;
}

}  // namespace

std::optional<DevOps> find_dev(const Plan& plan) {
  // In another user namespace the files would be the wrong root's.
  if (std::ranges::any_of(plan.ops,
                          [](const Op& o) { return std::holds_alternative<op::BecomeRoot>(o); }))
    return std::nullopt;
  for (std::size_t i = 0; i < plan.ops.size(); ++i) {
    const auto* m = own_tmpfs(plan.ops[i]);
    if (m == nullptr) continue;
    DevOps found{i, 1};
    while (i + found.count < plan.ops.size() && fills(plan.ops[i + found.count], m->to))
      ++found.count;
    if (found.count > 1) return found;
  }
  return std::nullopt;
}

bool SpareDev::is_like(const Plan& plan, DevOps ops) const {
  const auto first = plan.ops.begin() + static_cast<std::ptrdiff_t>(ops.first);
  return std::equal(ops_.begin(), ops_.end(), first,
                    first + static_cast<std::ptrdiff_t>(ops.count));
}

Fd SpareDev::take(const Plan& plan, DevOps ops) {
  Fd old;  // is let go of without the lock: the kernel takes its time
  const std::lock_guard lock(mutex_);
  again_ = is_like(plan, ops);
  if (again_) return std::move(mount_);
  const auto first = plan.ops.begin() + static_cast<std::ptrdiff_t>(ops.first);
  ops_.assign(first, first + static_cast<std::ptrdiff_t>(ops.count));
  old = std::move(mount_);
  return {};
}

void SpareDev::refill(const Plan& plan, DevOps ops) {
  {
    const std::lock_guard lock(mutex_);
    if (!again_ || making_ || mount_.valid() || !is_like(plan, ops)) return;
    making_ = true;
  }
  Fd made = make_dev(plan, ops);
  const std::lock_guard lock(mutex_);
  making_ = false;
  if (made.valid()) proven_.store(true, std::memory_order_relaxed);
  if (is_like(plan, ops)) mount_ = std::move(made);
}

}  // namespace condroid::inline v0::detail
