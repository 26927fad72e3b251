// Changing a container that runs: what has to be done inside is a launch without a command,
// attached to it.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "condroid/container.hpp"
#include "condroid/sys/mount.hpp"
#include "formatted.hpp"
#include "launch/container_core.hpp"
#include "launch/devices.hpp"
#include "launch/inside.hpp"
#include "plan/paths.hpp"
#include "sys/netlink.hpp"
#include "sys/wire.hpp"

namespace condroid {
inline namespace v0 {
namespace detail {

Result<void> check_alive(const ContainerCore* core) {
  if (core == nullptr) return moved_away(Step::join_namespace);
  if (auto ok = core->check_owner(); !ok) return ok;
  if (core->exit || wait_for_fd(core->pidfd.get(), POLLIN, 0) > 0)
    return fail(ESRCH, Step::join_namespace, formatted("container '{}' has ended", core->name));
  return {};
}

namespace {

constexpr op::Slot passed_slot{4};
constexpr op::Slot dir_slot{5};

/// Those that a change of files needs.
Result<Flags<Namespace>> mounts_of(const ContainerCore& c) {
  if (!c.inside.namespaces.has(Namespace::mount))
    return fail(Errc::unsupported, Step::join_namespace,
                formatted("container '{}' shares the host's mounts", c.name),
                "change those of the host");
  return c.inside.namespaces & (Namespace::mount | Flags<Namespace>(Namespace::user));
}

Result<std::string> checked(const GuestPath& path, Step step) {
  const std::string_view text = path.str();
  if (text.empty() || text.front() != '/' || text.find('\0') != std::string_view::npos ||
      goes_up(text) || normalized(text) == "/")
    return fail(Errc::bad_spec, step, formatted("guest path '{}'", text),
                "an absolute path below '/', without '..'");
  return normalized(text);
}

Result<std::string> checked_node(const std::string& name, Step step) {
  if (name.empty() || name.front() == '/' || name.back() == '/')
    return fail(Errc::bad_spec, step, formatted("device '{}'", name),
                "a name below /dev: fuse, net/tun");
  return checked(GuestPath("/dev/" + name), step);
}

/// Adds a device to those that the container may open, where they are filtered.
Result<void> permit(ContainerCore& c, const DeviceNode& node) {
  if (!c.inside.devices) return {};
  const auto parent = std::ranges::find(c.parents, c.inside.devices->hierarchy,
                                        &std::pair<std::size_t, int>::first);
  if (parent == c.parents.end()) return {};
  const Fd dir(::openat(parent->second, c.group_name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir.valid()) return fail(errno, Step::filter_devices, formatted("of '{}'", c.name));
  return permit_device(dir.get(), *c.inside.devices,
                       {.kind = node.kind, .major = node.major, .minor = node.minor}, c.name);
}

}  // namespace
}  // namespace detail

using detail::check_alive;

Result<void> Container::add_mount(const PassedMount& what) const {
  if (auto ok = check_alive(core_.get()); !ok) return ok;
  auto joined = detail::mounts_of(*core_);
  if (!joined) return fail(joined);
  auto target = detail::checked(what.target, Step::resolve_target);
  if (!target) return fail(target);
  auto done = detail::inside(
      *core_, *joined,
      {op::OpenDescriptor{
          .kind = op::OpenDescriptor::borrowed, .fd = what.mount, .to = detail::passed_slot}},
      {op::MountOp{.source = op::MountOp::slot,
                   .what = formatted("descriptor {}", what.mount.number),
                   .from = detail::passed_slot,
                   .base = detail::root_slot,
                   .target = std::move(*target),
                   .create = what.create}});
  if (!done) return fail(done);
  return {};
}

Result<void> Container::remove_mount(const GuestPath& target) const {
  if (auto ok = check_alive(core_.get()); !ok) return ok;
  auto joined = detail::mounts_of(*core_);
  if (!joined) return fail(joined);
  auto path = detail::checked(target, Step::remove_entry);
  if (!path) return fail(path);
  auto done = detail::inside(
      *core_, *joined, {}, {op::RemoveEntry{.base = detail::root_slot, .path = std::move(*path)}});
  if (!done) return fail(done);
  return {};
}

Result<void> Container::add_device(const DeviceNode& node, Flags<Allow> allow) const {
  if (auto ok = check_alive(core_.get()); !ok) return ok;
  if (!allow.has(Allow::devices))
    return fail(Errc::bad_spec, Step::make_node, formatted("device '{}'", node.name),
                "this opens the container towards the host: Allow::devices says that it is meant");
  auto joined = detail::mounts_of(*core_);
  if (!joined) return fail(joined);
  auto path = detail::checked_node(node.name, Step::make_node);
  if (!path) return fail(path);
  if (auto ok = detail::permit(*core_, node); !ok) return ok;
  Result<std::vector<Fd>> done;
  if (!joined->has(Namespace::user)) {
    done = detail::inside(
        *core_, *joined, {},
        {op::OpenInside{.base = detail::root_slot, .path = "/dev", .to = detail::dir_slot},
         op::MakeNode{.base = detail::dir_slot, .node = node, .host_path = "/dev/" + node.name}});
  } else {
    // A node made in a user namespace cannot be opened; the host's, bound, can.
    auto mount = DetachedMount::clone_tree(HostPath(*path));
    if (!mount) return fail(mount);
    struct stat st {};
    if (::fstat(mount->fd().get(), &st) < 0)
      return fail(errno, Step::make_node, formatted("'{}'", *path));
    const mode_t kind = node.kind == DeviceNode::block ? S_IFBLK : S_IFCHR;
    if ((st.st_mode & S_IFMT) != kind || major(st.st_rdev) != node.major ||
        minor(st.st_rdev) != node.minor)
      return fail(ENODEV, Step::make_node,
                  formatted("'{}' of the host has another type or number", *path));
    return add_mount({.mount = {mount->fd().get()}, .target = GuestPath(*path)});
  }
  if (!done) return fail(done);
  return {};
}

Result<void> Container::remove_device(const std::string& name) const {
  if (auto ok = check_alive(core_.get()); !ok) return ok;
  auto joined = detail::mounts_of(*core_);
  if (!joined) return fail(joined);
  auto path = detail::checked_node(name, Step::remove_entry);
  if (!path) return fail(path);
  auto done = detail::inside(
      *core_, *joined, {},
      {op::RemoveEntry{.base = detail::root_slot, .path = std::move(*path), .node = true}});
  if (!done) return fail(done);
  return {};
}

Result<void> Container::resize(const WindowSize& size, unsigned tty) const {
  if (!core_) return detail::moved_away(Step::resize_terminal);
  const std::string what = tty == 0 ? formatted("console of '{}'", core_->name)
                                    : formatted("tty{} of '{}'", tty, core_->name);
  const bool there = tty == 0 ? core_->console.fd.valid() : tty <= core_->ttys.size();
  if (!there) return fail(ENODEV, Step::resize_terminal, what);
  const int fd = tty == 0 ? core_->console.fd.get() : core_->ttys[tty - 1].get();
  const winsize native{size.rows, size.columns, size.width, size.height};
  if (::ioctl(fd, TIOCSWINSZ, &native) < 0) return fail(errno, Step::resize_terminal, what);
  return {};
}

namespace {

Result<void> move_between(const detail::ContainerCore* core, const std::string& name,
                          const std::string& as, bool in) {
  if (auto ok = check_alive(core); !ok) return ok;
  const std::string what = formatted("'{}' {} container '{}'{}", name, in ? "into" : "out of",
                                     core->name, as.empty() ? "" : formatted(" as '{}'", as));
  if (!core->inside.namespaces.has(Namespace::net))
    return fail(Errc::unsupported, Step::move_interface, what,
                "it shares this program's network: there is nothing to move");
  const std::string path =
      in ? formatted("/proc/{}/ns/net", core->pid.value) : std::string("/proc/thread-self/ns/net");
  const Fd to(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!to.valid()) return fail(errno, Step::move_interface, what);
  int error = 0;
  const Fd here = detail::open_netlink(error);
  if (error != 0) return fail(error, Step::move_interface, what);
  // A socket of the container's namespace, opened with our rights where we have any: the kernel
  // asks for them in both, as of who opened it. That this works proves that the path was its own,
  // too.
  auto place = detail::Place::of(*core);
  if (!place) return fail(place);
  auto sent = detail::sockets_inside(*place, {.domain = AF_NETLINK, .type = SOCK_RAW});
  if (!sent) return fail(sent);
  const Fd& there = sent->front();
  if (const int e = detail::move_interface(in ? here : there, in ? there : here, to, name, as);
      e != 0)
    return fail(e, Step::move_interface, what);
  return {};
}

}  // namespace

Result<void> Container::move_interface_in(const std::string& name, const std::string& as) const {
  return move_between(core_.get(), name, as, true);
}
Result<void> Container::move_interface_out(const std::string& name, const std::string& as) const {
  return move_between(core_.get(), name, as, false);
}

}  // namespace v0
}  // namespace condroid
