// What can be known to be wrong with the file system of a Spec: its root, its mounts, its devices.
#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "formatted.hpp"
#include "plan/checks.hpp"
#include "plan/paths.hpp"
#include "plan/words.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr std::size_t most_layers = 500;   // OVL_MAX_STACK
constexpr unsigned most_ptys = 1U << 20U;  // NR_UNIX98_PTY_MAX

}  // namespace

/// A user namespace may mount overlayfs since 5.11.
void Checks::overlay_here(std::string_view field) const {
  if (shape.ids.inside() && !facts.kernel_at_least(5, 11))
    refusals.unsupported(field, "overlayfs in a user namespace needs Linux 5.11",
                         "use a newer kernel, or run as root with idmap.kind = none");
}

void Checks::root() const {
  const Root& r = spec.root;
  if (!shape.own_root()) {
    if (r != Root{})
      refusals.bad("root", "needs a mount namespace of the container's own",
                   "add mount to namespaces");
    return;
  }
  const bool host = is_host_root(r);
  if (!r.path.empty() && host_path("root.path", r.path) && goes_up(r.path.str()))
    // Whether this is the host's own "/", which is never writable by mistake, could not be told.
    refusals.bad("root.path", formatted("{} goes up by '..'", quoted(r.path.str())),
                 "say the directory itself");
  image("root.image", r.image);
  if (!r.image.path.empty() && !r.path.empty())
    refusals.bad("root.path", "there is an image (root.image) as well", "leave one of them out");
  layers("root", r.upper, r.work, r.size, r.ephemeral && r.upper.empty());
  if (!r.upper.empty() && !r.ephemeral)
    refusals.bad("root.upper", "is of an ephemeral root, which this is not",
                 "set root.ephemeral = true");
  for (std::size_t i = 0; i < r.lower.size(); ++i)
    if (const std::string field = nth("root.lower", i);
        host_path(field, r.lower[i]) && without_dots(r.lower[i].str()) == "/")
      need(Allow::unmasked_kernel, field, "shows the host's own '/'");
  if (!r.lower.empty() && (!r.ephemeral || host))
    refusals.bad("root.lower", "is of an ephemeral root that has a path or an image",
                 "set root.ephemeral = true, or leave it out");
  if (!r.lower.empty() && r.idmapped)
    refusals.unsupported("root.lower", "owners of several directories are not shifted",
                         "set root.idmapped = false, or merge them");
  if (host && r.ephemeral && !r.upper.empty())
    refusals.bad("root.upper", "the host's own '/' has a layer for each directory, all in memory",
                 "leave it out, or set root.path");
  if (host && !r.ephemeral && !spec.default_mounts) {
    std::vector<std::string> shown;
    for (const std::string_view kernel : {"/proc", "/sys"})
      if (std::ranges::none_of(spec.mounts, [&](const Mount& m) {
            return normalized(target_of(m).str()) == kernel;
          }))
        shown.emplace_back(kernel);
    if (!shown.empty())
      need(Allow::unmasked_kernel, "default_mounts",
           "without them the container sees the host's own: " + listed(shown, ", "));
  }
  if (host && r.ephemeral && r.read_only)
    refusals.bad("root.read_only", "the host's own '/' is either read-only or ephemeral",
                 "leave out one of them");

  if (r.idmapped) {
    if (host && !r.ephemeral)
      refusals.bad("root.idmapped", "the host's own '/' has its owners as they are",
                   "set root.path, or root.ephemeral = true");
    else if (!shape.ids.own)
      refusals.bad("root.idmapped", "there is no id map", "set idmap.kind");
    else if (!facts.privileged())
      refusals.unsupported("root.idmapped", "needs CAP_SYS_ADMIN on the host", "run as root");
    else if (!facts.kernel_at_least(5, 12))
      refusals.unsupported("root.idmapped", "needs Linux 5.12",
                           "use a newer kernel, or change the owners of the root's files");
  }
  if (!r.ephemeral) return;
  const bool by_host = shape.ids.own && facts.privileged() && (host || r.idmapped);
  if (!by_host)
    overlay_here("root.ephemeral");
  else if (!facts.kernel_at_least(5, 19))
    refusals.unsupported("root.ephemeral", "an overlay above shifted owners needs Linux 5.19",
                         host ? "set idmap.kind = none" : "set root.idmapped = false");
}

void Checks::image(const std::string& field, const RootImage& i) const {
  if (i.path.empty()) {
    if (i != RootImage{})
      refusals.bad(field + ".path", "is empty", "name the file, or the block device");
    return;
  }
  host_path(field + ".path", i.path);
  file_system(field, i.type, i.options);
  if (!facts.privileged())
    refusals.unsupported(field, "mounting a file system takes CAP_SYS_ADMIN on the host",
                         "run as root, or unpack it into a directory (unsquashfs, fsck.erofs "
                         "--extract, debugfs -R 'rdump / DIR') for root.path");
  for (std::size_t n = 0; n < i.options.size(); ++n)
    if (i.options[n] == "ro" || i.options[n] == "rw")
      refusals.bad(nth(field + ".options", n), formatted("{} is said elsewhere", i.options[n]),
                   "root.read_only");
}

/// A type that may be empty, and options.
void Checks::file_system(const std::string& field, const std::string& type,
                         const std::vector<std::string>& options) const {
  if (type.size() > 255 || type.find('/') != std::string::npos)
    refusals.bad(field + ".type", formatted("{} is no file system", quoted(type.substr(0, 80))),
                 "say one of /proc/filesystems");
  else
    text(field + ".type", type);
  for (std::size_t i = 0; i < options.size(); ++i) {
    const std::string option = nth(field + ".options", i);
    if (options[i].empty() || options[i].front() == '=')
      refusals.bad(option, formatted("{} is no option", quoted(options[i])), "key, or key=value");
    else
      text(option, options[i]);
  }
}

void Checks::mounts() const {
  if (!shape.own_root()) {
    if (!spec.mounts.empty())
      refusals.bad("mounts", "need a mount namespace of the container's own",
                   "add mount to namespaces");
    return;
  }
  for (std::size_t i = 0; i < spec.mounts.size(); ++i) {
    const std::string field = nth("mounts", i);
    const Mount& m = spec.mounts[i];
    const std::string target = field + ".target";
    if (guest_path(target, target_of(m)) && normalized(target_of(m).str()) == "/")
      refusals.bad(target, "'/' is the root itself", "root says what that is");
    const Flags<MountFlag> flags = std::visit([](const auto& x) { return x.flags; }, m);
    known(field + ".flags", flags);
    if (flags.has(MountFlag::noatime) && flags.has(MountFlag::strictatime))
      refusals.bad(field + ".flags", "noatime and strictatime exclude each other",
                   "leave out one of them");
    if (flags.has(MountFlag::nosymfollow) && !facts.kernel_at_least(5, 14))
      refusals.unsupported(field + ".flags", "nosymfollow needs Linux 5.14",
                           "use a newer kernel, or leave the flag out");
    // The file systems of the kernel have no device nodes, and devpts is nothing else.
    const bool has_nodes = std::holds_alternative<Bind>(m) || std::holds_alternative<Tmpfs>(m) ||
                           std::holds_alternative<Overlay>(m) ||
                           std::holds_alternative<FsMount>(m) ||
                           std::holds_alternative<ImageMount>(m);
    if (has_nodes && !flags.has(MountFlag::nodev))
      need(Allow::devices, field + ".flags", "without nodev its device nodes can be opened");
    std::visit([&](const auto& x) { mount(field, x); }, m);
  }
}

void Checks::mount(std::string_view f, const Bind& m) const {
  const std::string field(f), source = field + ".source";
  const bool by_fd = m.source_fd != HostFd{};
  if (by_fd && !m.source_fd.valid())
    refusals.bad(field + ".source_fd", formatted("{} is no descriptor", m.source_fd.number),
                 "give one that is open, or a path as source");
  if (by_fd && !m.source.empty())
    refusals.bad(source, "there is a descriptor (source_fd) as well", "leave one of them out");
  if (!m.inside.empty()) {
    if (by_fd || !m.source.empty())
      refusals.bad(field + ".inside", "there is a source of the host as well",
                   "leave one of them out");
    if (m.idmapped)
      refusals.bad(field + ".idmapped", "what is inside has the root's owners", "leave it out");
    if (!m.idmap_of.empty())
      refusals.bad(field + ".idmap_of", "what is inside has the root's owners", "leave it out");
    if (!guest_path(field + ".inside", m.inside)) return;
    // What is hidden in there is hidden by its usual name alone.
    const std::string from = normalized(m.inside.str());
    for (const std::string_view kernel : {"/proc", "/sys"})
      if (from == kernel || is_below(kernel, from) || (is_below(from, kernel) && m.recursive))
        need(Allow::unmasked_kernel, field + ".inside",
             formatted("shows {} where nothing of it is hidden", kernel));
    return;
  }
  if (!m.idmap_of.empty()) {
    if (!m.idmapped) refusals.bad(field + ".idmap_of", "is for idmapped mounts", "set idmapped");
    (void)host_path(field + ".idmap_of", m.idmap_of);
  }
  if (m.idmapped) {
    if (!shape.ids.own && m.idmap_of.empty())
      refusals.bad(field + ".idmapped", "there is no id map", "set idmap.kind");
    else if (!facts.privileged())
      refusals.unsupported(field + ".idmapped", "needs CAP_SYS_ADMIN on the host", "run as root");
    else if (!facts.kernel_at_least(5, 12))
      refusals.unsupported(field + ".idmapped", "needs Linux 5.12",
                           "use a newer kernel, or change the owners of the files");
  }
  if (by_fd) return;
  if (m.source.empty())
    refusals.bad(source, "is missing, and source_fd, too", "set one of them");
  else if (host_path(source, m.source)) {
    const std::string from = without_dots(m.source.str());
    const std::string target = normalized(m.target.str());
    const bool read_only = m.flags.has(MountFlag::read_only);
    if (from == "/" && !read_only)
      need(Allow::host_root_writable, field + ".flags", "the host's own '/' would be writable");
    if ((from == "/" && m.recursive) || is_below("/proc", from))
      need(Allow::unmasked_kernel, source, "shows kernel files of the host");
    else if (from == "/proc")
      hidden_below(source, "/proc", target, read_only);
    else if (from == "/sys")
      hidden_below(source, "/sys", target, read_only);
    if ((from == "/sys" || is_below("/sys", from)) && !read_only)
      need(Allow::unmasked_kernel, field + ".flags", "the host's /sys would be writable");
  }
}

void Checks::mount(std::string_view field, const Tmpfs& m) const {
  mode(std::string(field) + ".mode", m.mode);
}

void Checks::mount(std::string_view f, const Proc& m) const {
  const std::string field(f);
  const auto option = [&](bool set, std::string_view name) {
    if (!set) return;
    if (!facts.kernel_at_least(5, 8))
      refusals.unsupported(formatted("{}.{}", field, name), "needs Linux 5.8",
                           "use a newer kernel, or leave it out");
    if (shape.ids.own && shape.shares(Namespace::pid))
      refusals.unsupported(formatted("{}.{}", field, name),
                           "with the host's processes a user namespace has only the host's procfs",
                           "add pid to namespaces");
  };
  option(m.pids_only, "pids_only");
  option(m.hide_others, "hide_others");
  const std::string target = normalized(m.target.str());
  if (target != "/proc" && !m.pids_only)
    hidden_below(field + ".target", "/proc", target, m.flags.has(MountFlag::read_only));
}

void Checks::mount(std::string_view f, const Sysfs& m) const {
  const std::string field(f), target = normalized(m.target.str());
  if (!m.flags.has(MountFlag::read_only))
    need(Allow::unmasked_kernel, field + ".flags", "a sysfs without read_only is writable");
  if (m.net_writable && m.common.optional)
    refusals.bad(field + ".net_writable", "is of a mount that must be there",
                 "leave it out, or optional");
  if (m.net_writable) {
    need(Allow::unmasked_kernel, field + ".net_writable", "a part of sysfs is writable");
    if (!shape.own(Namespace::net))
      refusals.bad(field + ".net_writable", "the network is not the container's own",
                   "add net to namespaces, or leave it out");
  }
  if (target != "/sys") hidden_below(field + ".target", "/sys", target, true);
}

void Checks::mount(std::string_view field, const Mqueue& /*m*/) const {
  if (shape.ids.own && !shape.own(Namespace::ipc))
    refusals.unsupported(field, "in a new user namespace mqueue needs an ipc namespace of its own",
                         "add ipc to namespaces");
}

void Checks::mount(std::string_view field, const CgroupMount& m) const {
  if (facts.cgroups.empty())
    refusals.unsupported(field, "no cgroup hierarchy is mounted here",
                         "leave it out, or mount one at /sys/fs/cgroup for the calling program");
  const std::string own = std::string(field) + ".own_writable";
  if (m.own_writable && !m.flags.has(MountFlag::read_only))
    return refusals.bad(own, "all of it is writable", "add read_only, or leave it out");
  cgroup_view(field, m.flags);
  if (!m.own_writable) return;
  if (!shape.shares(Namespace::cgroup))
    refusals.bad(own, "in a cgroup namespace of its own there is nothing else to see",
                 "leave out read_only instead");
  if (m.common.optional)
    refusals.bad(own, "is of a mount that must be there", "leave it out, or optional");
  if (may_lift_limits())
    need(Allow::own_limits, own, "it lets the container's root lift the limits of resources");
}

void Checks::cgroup_view(std::string_view field, Flags<MountFlag> flags) const {
  if (spec.resources.cgroup == CgroupMode::never)
    refusals.bad(field, "there is nothing of its own to see: resources.cgroup is 'never'",
                 "leave resources.cgroup out");
  if (!shape.own(Namespace::cgroup) && shape.ids.own)
    refusals.unsupported(field, "in a new user namespace this needs a cgroup namespace of its own",
                         "add cgroup to namespaces");
  else if (shape.shares(Namespace::cgroup) && !flags.has(MountFlag::read_only))
    refusals.bad(std::string(field) + ".flags",
                 "without a cgroup namespace the host's cgroups would be writable",
                 "add cgroup to namespaces, or read_only");
  else if (!flags.has(MountFlag::read_only) && may_lift_limits())
    need(Allow::own_limits, std::string(field) + ".flags",
         "writable, it lets the container's root lift the limits of resources");
}

/// The files of a limit belong to the user who launches. nsdelegate of v2 does not keep them: in a
/// cgroup namespace of his own further down, who owns them may write to those above.
bool Checks::may_lift_limits() const {
  if (std::ranges::none_of(shape.groups,
                           [](const Group& g) { return !g.values.empty() || g.devices; }))
    return false;
  if (!shape.ids.own) return true;  // the host's ids, or a map that we do not know
  return std::ranges::any_of(shape.ids.uids, [&](const IdRange& r) {
    return facts.uid.value >= r.outside && facts.uid.value - r.outside < r.count;
  });
}

void Checks::mount(std::string_view field, const Devpts& m) const {
  if (m.max < 1 || m.max > most_ptys)
    refusals.bad(std::string(field) + ".max",
                 formatted("{} is not among 1 to {}", m.max, most_ptys),
                 "the usual number is 1024");
  if (!m.ptmx.empty()) (void)guest_path(std::string(field) + ".ptmx", m.ptmx);
}

void Checks::mount(std::string_view f, const Overlay& m) const {
  const std::string field(f);
  layers(field, m.upper, m.work, m.size, m.ephemeral);
  if (m.lower.empty())
    refusals.bad(field + ".lower", "is empty: an overlay is above something",
                 "name the directories that are seen through it, the topmost first");
  else if (m.upper.empty() && !m.ephemeral && m.lower.size() < 2)
    refusals.bad(field + ".lower", "one layer alone, with nothing above it, is no overlay",
                 "use a bind, or set upper or ephemeral");
  if (m.lower.size() > most_layers)
    refusals.bad(field + ".lower",
                 formatted("has {} layers; overlayfs takes {}", m.lower.size(), most_layers),
                 "put an overlay of some of them below another");
  for (std::size_t i = 0; i < m.lower.size(); ++i) host_path(nth(field + ".lower", i), m.lower[i]);
  if (m.ephemeral && !m.upper.empty())
    refusals.bad(field + ".upper", "an ephemeral overlay has its own, which is thrown away",
                 "leave out upper and work, or ephemeral");
  overlay_here(field);
}

void Checks::mount(std::string_view f, const FsMount& m) const {
  const std::string field(f);
  if (m.type.empty()) refusals.bad(field + ".type", "is empty", "say one of /proc/filesystems");
  text(field + ".source", m.source);
  file_system(field, m.type, m.options);
  // The same as the mounts that have a type of their own, and what else is the whole machine's.
  const std::string target = normalized(m.target.str());
  const bool read_only = m.flags.has(MountFlag::read_only);
  if (m.type == "proc") {
    if (target != "/proc") hidden_below(field + ".target", "/proc", target, read_only);
  } else if (m.type == "sysfs") {
    mount(f, Sysfs{.target = m.target, .flags = m.flags});
  } else if (m.type == "cgroup" || m.type == "cgroup2") {
    cgroup_view(f, m.flags);
  } else if (m.type == "devtmpfs") {
    need(Allow::devices, field + ".type", "'devtmpfs' has every device of the host");
  } else {
    for (const std::string_view kernel : {"debugfs", "tracefs", "securityfs", "configfs", "bpf",
                                          "efivarfs", "binfmt_misc", "pstore", "selinuxfs"})
      if (m.type == kernel)
        need(Allow::unmasked_kernel, field + ".type",
             formatted("'{}' is the whole machine's", kernel));
  }
}

void Checks::mount(std::string_view f, const ImageMount& m) const {
  const std::string field(f);
  if (m.image.path.empty())
    refusals.bad(field + ".path", "is empty", "name the file, or the block device");
  else
    image(field, m.image);
  layers(field, m.upper, m.work, m.size, m.ephemeral && m.upper.empty());
  if (!m.upper.empty() && !m.ephemeral)
    refusals.bad(field + ".upper", "is of an ephemeral mount, which this is not",
                 "set ephemeral = true");
  if (m.ephemeral) overlay_here(field);
  if (!m.idmapped) return;
  if (m.ephemeral)
    refusals.unsupported(field + ".idmapped", "owners are not shifted below an upper layer",
                         "leave out one of them");
  else if (!shape.ids.own)
    refusals.bad(field + ".idmapped", "there is no id map", "set idmap.kind");
  else if (!facts.kernel_at_least(5, 12))
    refusals.unsupported(field + ".idmapped", "needs Linux 5.12",
                         "use a newer kernel, or change the owners of the image's files");
}

void Checks::mount(std::string_view f, const FileMount& m) const {
  const std::string field(f);
  mode(field + ".mode", m.mode);
  constexpr std::size_t most = std::size_t{64} << 10U;
  if (m.content.size() > most)
    refusals.bad(field + ".content", formatted("has {} bytes; at most {}", m.content.size(), most),
                 "bind a file of the host");
  else if (m.content.find('\0') != std::string::npos)
    refusals.bad(field + ".content", "has a NUL in it", "bind a file of the host");
}

void Checks::devices() const {
  const Devices& d = spec.devices;
  if (!d.permitted.empty())
    need(Allow::devices, "devices.permitted", "devices beyond the usual ones");
  for (std::size_t i = 0; i < d.denied.size(); ++i) {
    known(nth("devices.denied", i), d.denied[i].access);
    if (d.denied[i].access.empty())
      refusals.bad(nth("devices.denied", i), "denies nothing", "say read, write or make");
  }
  for (std::size_t i = 0; i < d.permitted.size(); ++i) {
    known(nth("devices.permitted", i), d.permitted[i].access);
    if (d.permitted[i].access.empty())
      refusals.bad(nth("devices.permitted", i), "permits nothing", "say read, write or make");
  }
  if (d.filter == DeviceFilter::never) {
    if (!d.denied.empty())
      refusals.bad("devices.denied", "needs the filter, and devices.filter is never",
                   "set it to automatic or always");
    if (!d.permitted.empty())
      refusals.bad("devices.permitted", "needs the filter, and devices.filter is never",
                   "leave one of them out");
    if (spec.security.capabilities.has(Capability::mknod) && !shape.confined)
      need(Allow::devices, "devices.filter",
           "with the capability mknod and no filter every device of the host can be opened");
  }
  if (d.nodes.empty()) return;
  need(Allow::devices, "devices.nodes", "device nodes beyond the usual ones");
  const bool replaced = std::ranges::any_of(
      spec.mounts, [](const Mount& m) { return normalized(target_of(m).str()) == "/dev"; });
  if (!d.populate)
    refusals.bad("devices.nodes", "/dev is left as it is: devices.populate is false",
                 "set devices.populate = true");
  else if (!shape.own_root())
    refusals.bad("devices.nodes", "need a mount namespace of the container's own",
                 "add mount to namespaces");
  else if (replaced)
    refusals.bad("devices.nodes", "another mount takes the place of /dev",
                 "leave that mount out, or make the nodes in what it mounts");
  constexpr auto usual = std::to_array<std::string_view>(
      {"console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
       "stdout", "tty", "urandom", "zero"});
  for (std::size_t i = 0; i < d.nodes.size(); ++i) {
    const DeviceNode& n = d.nodes[i];
    const std::string field = nth("devices.nodes", i);
    const auto names = components(n.name);
    if (!text(field, n.name)) continue;
    if (names.empty() || n.name.front() == '/' || n.name.back() == '/' || goes_up(n.name) ||
        n.name.size() > 255)
      refusals.bad(field, formatted("{} is no name below /dev", quoted(n.name.substr(0, 80))),
                   "for instance fuse, or net/tun");
    else if (std::ranges::find(usual, names.front()) != usual.end() &&
             (names.front() != "console" || shape.console))
      refusals.bad(field, formatted("'{}' is there already", names.front()), "leave it out");
    for (std::size_t k = 0; k < i; ++k)
      if (normalized(d.nodes[k].name) == normalized(n.name))
        refusals.bad(field, formatted("{} is there twice", quoted(n.name)),
                     "leave out one of them");
    // 12 and 20 bits, since Linux 2.6.
    const char* const numbers =
        "ls -l shows the numbers of a node; /proc/devices lists the major ones";
    if (n.major > 0xfffU)
      refusals.bad(field, formatted("major {} is beyond 4095", n.major), numbers);
    if (n.minor > 0xfffffU)
      refusals.bad(field, formatted("minor {} is beyond 1048575", n.minor), numbers);
    if (n.uid.value == no_id || n.gid.value == no_id)
      refusals.bad(field, formatted("{} stands for no id", no_id), "use an id of the container");
    mode(field, n.mode);
  }
}

}  // namespace condroid::inline v0::detail
