// Spec: what to launch, as plain data. No I/O happens here; compile() (plan.hpp) checks it and says
// what will be done.
//
//   Spec spec;
//   spec.name = "worker";
//   spec.root = {.path = "/srv/alpine"_host, .read_only = true};
//   spec.process.argv = {"/usr/bin/worker"};
//   spec.mounts.push_back(Bind{.source = "/srv/data"_host, .target = "/data"_guest});
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/spec/devices.hpp"
#include "condroid/spec/hooks.hpp"
#include "condroid/spec/idmap.hpp"
#include "condroid/spec/lifecycle.hpp"
#include "condroid/spec/mount.hpp"
#include "condroid/spec/network.hpp"
#include "condroid/spec/process.hpp"
#include "condroid/spec/resources.hpp"
#include "condroid/spec/security.hpp"

namespace condroid {
inline namespace v0 {

/// Everything about a container before it exists. Copy it, compare it, store it (print_spec),
/// launch it many times.
struct Spec {
  /// 1 to 64 of [A-Za-z0-9_.-], not starting with '.' or '-'. Names a launch; need not be unique.
  std::string name = "container";
  Root root = {};
  Process process = {};
  Terminal terminal = {};
  /// The namespaces that are new. What is neither here nor in `join` is shared with the host, which
  /// needs an Allow. Namespace::user is added by `idmap`; put it here to insist on one.
  Flags<Namespace> namespaces = default_namespaces;
  std::vector<Join> join = {};
  IdMap idmap = {};
  TimeOffsets time = {};
  std::string hostname = {};    ///< Empty: the name, in a uts namespace of its own.
  std::string domainname = {};  ///< Empty: left as it is.
  /// In any order: compile() sorts parents before children. Two mounts on one target are stacked in
  /// this order. Of a mount that the defaults make too (/proc, /sys, /dev/pts, /dev/shm,
  /// /dev/mqueue) this one is taken.
  std::vector<Mount> mounts = {};
  bool default_mounts = true;  ///< /proc and /sys. (/dev is Devices::populate.)
  Devices devices = {};
  Network network = {};
  Resources resources = {};
  Security security = {};
  Lifecycle lifecycle = {};
  Hooks hooks = {};

  static constexpr Flags<Namespace> default_namespaces = Namespace::mount | Namespace::pid |
                                                         Namespace::uts | Namespace::ipc |
                                                         Namespace::net | Namespace::cgroup;
  bool operator==(const Spec&) const = default;
};

/// The Spec as text, one "key = value" a line, only what differs from a default Spec. Round trip:
/// parse_spec of it gives the same Spec.
[[nodiscard]] std::string print_spec(const Spec& spec);

/// Parses what print_spec prints; '#' starts a comment line.
/// @errors Errc::bad_text with all bad lines in the subject and `also`: "line 3: root.pth: unknown
/// key".
[[nodiscard]] Result<Spec> parse_spec(std::string_view text);

}  // namespace v0
}  // namespace condroid

// What copies a Spec or a Plan is thousands of functions, in every file that does. Where the
// library is linked statically and made with the same standard library, its own will do: in this
// project's programs and tests, which compile in half the time so.
#ifdef CONDROID_COMPILED_LISTS
extern template class std::vector<condroid::ArgumentCheck>;
extern template class std::vector<condroid::CgroupSetting>;
extern template class std::vector<condroid::DeviceNode>;
extern template class std::vector<condroid::DevicePermission>;
extern template class std::vector<condroid::Gid>;
extern template class std::vector<condroid::GuestPath>;
extern template class std::vector<condroid::Hook>;
extern template class std::vector<condroid::HostPath>;
extern template class std::vector<condroid::HugetlbLimit>;
extern template class std::vector<condroid::IdRange>;
extern template class std::vector<condroid::Interface>;
extern template class std::vector<condroid::IoLimit>;
extern template class std::vector<condroid::IpAddress>;
extern template class std::vector<condroid::IpPrefix>;
extern template class std::vector<condroid::Join>;
extern template class std::vector<condroid::LandlockRule>;
extern template class std::vector<condroid::Mount>;
extern template class std::vector<condroid::PassedFd>;
extern template class std::vector<condroid::ProcFile>;
extern template class std::vector<condroid::PublishedPort>;
extern template class std::vector<condroid::RlimitSetting>;
extern template class std::vector<condroid::Route>;
extern template class std::vector<condroid::SyscallRule>;
extern template class std::vector<condroid::Sysctl>;
#endif
