#include "condroid/android/binder.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>

#include "formatted.hpp"

namespace condroid::inline v0::android {

namespace {

// include/uapi/linux/android/binder.h and binderfs.h; Debian has neither.
constexpr unsigned long binder_version_request = 0xc0046209;  // _IOWR('b', 9, __s32)
constexpr unsigned long binder_ctl_add = 0xc1086201;          // _IOWR('b', 1, binderfs_device)
struct BinderfsDevice {
  char name[256];
  std::uint32_t major;
  std::uint32_t minor;
};
static_assert(sizeof(BinderfsDevice) == 264);

constexpr std::array<const char*, 3> names = {"binder", "hwbinder", "vndbinder"};

/// A link made with an owner whom the file system's user namespace knows: in one of the container's
/// own our root is nobody, and nobody's file is EOVERFLOW. Of this thread alone.
int link_as_owner(const char* to, FdView dir, const char* name) {
  struct stat st {};
  if (::fstat(dir.get(), &st) < 0) return -1;
  const int gid = ::setfsgid(st.st_gid), uid = ::setfsuid(st.st_uid);
  const int made = ::symlinkat(to, dir.get(), name);
  const int error = errno;
  ::setfsuid(static_cast<uid_t>(uid));
  ::setfsgid(static_cast<gid_t>(gid));
  errno = error;
  return made;
}

Result<Fd> open_node(const HostPath& path) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd.valid()) {
    Error e = sys_error(errno, Step::open_descriptor, formatted("binder node '{}'", path));
    if (e.is_errno(EACCES)) e.hint = formatted("chmod 666 {}", path);
    if (e.is_errno(ENXIO) || e.is_errno(ENODEV)) e.hint = "is binder_linux loaded?";
    return fail(std::move(e));
  }
  return fd;
}

}  // namespace

Result<int> binder_version(FdView node) {
  std::int32_t version = 0;
  if (::ioctl(node.get(), binder_version_request, &version) < 0)
    return fail(errno, Step::open_descriptor, "BINDER_VERSION");
  return version;
}

std::vector<BinderNodes> binder_triples(const std::vector<MiscNode>& all) {
  std::map<std::string, BinderNodes> stems;
  for (const MiscNode& node : all) {
    constexpr std::string_view end = "binder";
    if (!node.name.ends_with(end)) continue;
    std::string stem = node.name.substr(0, node.name.size() - end.size());
    HostPath BinderNodes::*which = &BinderNodes::binder;
    std::size_t place = 0;
    if (stem.ends_with("hw") || stem.ends_with("vnd")) {
      place = stem.ends_with("hw") ? 1 : 2;
      which = place == 1 ? &BinderNodes::hwbinder : &BinderNodes::vndbinder;
      stem.resize(stem.size() - (place == 1 ? 2 : 3));
    }
    BinderNodes& triple = stems[stem];
    triple.*which = HostPath("/dev/" + node.name);
    triple.minors[place] = node.minor;
  }
  std::vector<BinderNodes> list;
  for (auto& [stem, nodes] : stems)
    if (!nodes.binder.empty() && !nodes.hwbinder.empty() && !nodes.vndbinder.empty())
      list.push_back(std::move(nodes));
  return list;
}

Result<BinderLease> lease_binder(const std::vector<BinderNodes>& pool) {
  for (const BinderNodes& nodes : pool) {
    BinderLease lease{.nodes = nodes};
    bool taken = false;
    for (const HostPath* path : {&nodes.binder, &nodes.hwbinder, &nodes.vndbinder}) {
      auto fd = open_node(*path);
      if (!fd) return fail(fd);
      auto version = binder_version(*fd);
      if (!version) {
        Error e = std::move(version).error();
        e.subject = formatted("binder node '{}': {}", *path, e.subject);
        return fail(std::move(e));
      }
      if (*version != 8)
        return fail(EPROTO, Step::open_descriptor,
                    formatted("binder node '{}' speaks version {} of the protocol, not 8", *path,
                              *version));
      if (::flock(fd->get(), LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK)
          return fail(errno, Step::open_descriptor, formatted("locking '{}'", *path));
        taken = true;
        break;
      }
      lease.locks.push_back(std::move(*fd));
    }
    if (!taken) return lease;
  }
  Error e = sys_error(EBUSY, Step::open_descriptor,
                      formatted("all {} triples of binder nodes have a device", pool.size()));
  e.hint =
      "end one, or load binder_linux with more names in its parameter devices, which takes a "
      "restart of the machine";
  return fail(std::move(e));
}

Result<void> make_binder_nodes(Pid pid) {
  // By the process's root, which its mounts are seen from, and no further, whatever links the image
  // has; of what is in there nothing runs yet.
  const Fd root(
      ::open(formatted("/proc/{}/root", pid.value).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return fail(errno, Step::make_node, formatted("process {}", pid.value));
  const auto open_inside = [&root](const char* path) {
    open_how how{};
    how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    return Fd(static_cast<int>(::syscall(SYS_openat2, root.get(), path, &how, sizeof how)));
  };
  const Fd dir = open_inside("dev/binderfs");
  if (!dir.valid()) return fail(errno, Step::make_node, "'/dev/binderfs'");
  const Fd control(::openat(dir.get(), "binder-control", O_RDONLY | O_CLOEXEC));
  if (!control.valid()) return fail(errno, Step::make_node, "'/dev/binderfs/binder-control'");
  const Fd outer = open_inside("dev");
  if (!outer.valid()) return fail(errno, Step::make_node, "'/dev'");
  for (const char* name : names) {
    BinderfsDevice device{};
    std::strncpy(device.name, name, sizeof device.name - 1);
    if (::ioctl(control.get(), binder_ctl_add, &device) < 0 && errno != EEXIST)
      return fail(errno, Step::make_node, formatted("'/dev/binderfs/{}'", name));
    if (::fchmodat(dir.get(), name, 0666, 0) < 0)
      return fail(errno, Step::make_node, formatted("'/dev/binderfs/{}', mode 0666", name));
    if (link_as_owner(formatted("binderfs/{}", name).c_str(), outer, name) < 0 && errno != EEXIST)
      return fail(errno, Step::make_link, formatted("'/dev/{}'", name));
    Fd node(::openat(dir.get(), name, O_RDWR | O_CLOEXEC));
    if (!node.valid()) return fail(errno, Step::make_node, formatted("'/dev/binderfs/{}'", name));
    if (auto version = binder_version(node); !version) return fail(version);
  }
  return {};
}

}  // namespace condroid::inline v0::android
