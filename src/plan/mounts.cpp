// The mounts of a container, the user's and the usual ones, in one order.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "formatted.hpp"
#include "plan/draft.hpp"
#include "plan/paths.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr Flags<MountFlag> kernel_flags = MountFlag::nosuid | MountFlag::nodev | MountFlag::noexec;

/// /dev as a whole: a tmpfs with everything in it.
struct PopulateDev {};

struct Item {
  std::string target = {};
  std::variant<Mount, PopulateDev> what = {};
  std::optional<std::size_t> index = {};  ///< In Spec::mounts, for the user's.
};

op::MountOp at_target(const Draft& d, const GuestPath& target, Flags<MountFlag> flags,
                      const MountCommon& common) {
  return {.flags = flags,
          .place = op::MountOp::at_target,
          .base = d.root,
          .target = normalized(target.str()),
          .create = common.create_target,
          .follow_links = common.follow_links,
          .optional = common.optional};
}

/// In our own /dev there is nothing but what we made there.
op::Slot dev_of(const Draft& d, const GuestPath& target, std::optional<std::size_t> index) {
  return !index && d.dev.valid() && parent_of(normalized(target.str())) == "/dev" ? d.dev
                                                                                  : op::Slot{};
}

op::MountOp new_fs(op::MountOp m, std::string type, std::vector<std::string> options = {}) {
  m.source = op::MountOp::filesystem;
  m.what = std::move(type);
  m.options = std::move(options);
  return m;
}

void emit(Draft& d, const Bind& b, std::optional<std::size_t> index) {
  op::MountOp m = at_target(d, b.target, b.flags, b.common);
  m.recursive = b.recursive;
  m.recursive_flags = b.recursive;
  m.propagation = b.propagation;
  if (index && d.sources[*index].valid()) {
    m.source = op::MountOp::slot;
    m.from = d.sources[*index];
    m.what = b.source_fd.valid() ? formatted("descriptor {}", b.source_fd.number) : b.source.str();
  } else {
    m.source = op::MountOp::tree;
    m.inside = !b.inside.empty();
    m.what = m.inside ? normalized(b.inside.str()) : b.source.str();
  }
  d.add(std::move(m));
}

void emit(Draft& d, const Tmpfs& t, std::optional<std::size_t> index) {
  std::vector<std::string> options = {formatted("mode={:04o}", t.mode.value)};
  if (t.size.value != 0) options.push_back(formatted("size={}", t.size.value));
  if (t.inodes != 0) options.push_back(formatted("nr_inodes={}", t.inodes));
  op::MountOp m = new_fs(at_target(d, t.target, t.flags, t.common), "tmpfs", std::move(options));
  m.dir = dev_of(d, t.target, index);
  d.add(std::move(m));
}

/// Keeps a kernel file system at hand for what is hidden in it: whoever may rename in the root
/// could have something else found there when it is looked up again. The topmost of several.
void keep_for_hiding(Draft& d, op::MountOp& m, std::string_view usual, op::Slot& kept) {
  if (m.target != usual || m.optional) return;
  const auto there = [&](const GuestPath& path) { return is_below(usual, normalized(path.str())); };
  if (std::ranges::any_of(d.spec.security.masked_paths, there) ||
      std::ranges::any_of(d.spec.security.read_only_paths, there))
    m.to = kept = d.slot();
}

/// Whether a mount of the user's may lie on top of what is mounted there: another one at that
/// place, or one that goes where links lead.
bool may_be_covered(const Draft& d, std::string_view usual) {
  std::size_t there = 0;
  for (const Mount& m : d.spec.mounts) {
    if (std::visit([](const auto& x) { return x.common.follow_links; }, m)) return true;
    if (normalized(target_of(m).str()) == usual) ++there;
  }
  return there > 1;
}

void emit(Draft& d, const Proc& p, std::optional<std::size_t> /*index*/) {
  op::MountOp m = at_target(d, p.target, p.flags, p.common);
  keep_for_hiding(d, m, "/proc", d.proc_dir);
  std::vector<std::string> options;
  if (p.pids_only) options.emplace_back("subset=pid");
  if (p.hide_others) options.emplace_back("hidepid=invisible");
  if (options.empty() && d.proc.valid() && !p.common.optional) {
    m.source = op::MountOp::slot;
    m.what = "proc";
    m.from = std::exchange(d.proc, {});
    m.flags = p.flags - kernel_flags;  // the others it has since it was made
    if (!p.flags.has(MountFlag::nosuid) || !p.flags.has(MountFlag::nodev) ||
        !p.flags.has(MountFlag::noexec))
      m.flags = p.flags;
  } else {
    op::MountOp fs = procfs(d, p.flags);
    m.source = fs.source;
    m.what = fs.what;
    m.recursive = fs.recursive;
    m.recursive_flags = fs.recursive_flags;
    m.options = std::move(options);
  }
  d.add(std::move(m));
}

void emit(Draft& d, const Sysfs& s, std::optional<std::size_t> /*index*/) {
  const bool net = s.net_writable && s.flags.has(MountFlag::read_only) && !s.common.optional;
  op::MountOp m = at_target(d, s.target, net ? s.flags - MountFlag::read_only : s.flags, s.common);
  keep_for_hiding(d, m, "/sys", d.sys_dir);
  if (net && !m.to.valid()) m.to = d.slot();
  const op::Slot sys = m.to;
  if (d.shape.shares(Namespace::net) || (d.shape.ids.own && !d.shape.own(Namespace::net))) {
    // A sysfs of the host's network is the host's, and only the owner of a network gets a new one;
    // locked mounts in it cannot be left out.
    m.source = op::MountOp::tree;
    m.what = "/sys";
    m.recursive = m.recursive_flags = d.shape.confined;
  } else {
    m = new_fs(std::move(m), "sysfs");
  }
  d.add(std::move(m));
  if (!net) return;
  // A mount of its own, which stays as it is when the rest is closed.
  const op::Slot part = d.slot();
  d.add(op::MountOp{.source = op::MountOp::tree,
                    .what = "devices/virtual/net",
                    .cwd = sys,
                    .propagation = Propagation::private_,
                    .place = op::MountOp::nowhere,
                    .to = part});
  d.add(op::SetMountFlags{
      .mount = sys, .flags = MountFlag::read_only, .what = normalized(s.target.str())});
  op::MountOp open = at_target(d, s.target / "devices/virtual/net", {}, s.common);
  open.source = op::MountOp::slot;
  open.what = "devices/virtual/net";
  open.from = part;
  open.create = false;
  d.add(std::move(open));
}

void emit(Draft& d, const Mqueue& q, std::optional<std::size_t> index) {
  op::MountOp m = new_fs(at_target(d, q.target, q.flags, q.common), "mqueue");
  m.dir = dev_of(d, q.target, index);
  d.add(std::move(m));
}

void emit(Draft& d, const Devpts& p, std::optional<std::size_t> index) {
  std::vector<std::string> options = {"newinstance", "ptmxmode=0666", "mode=0620"};
  // Of a user namespace that is not ours to make we do not know whether it has that group.
  if (d.shape.ids.has_gid(5) && !d.shape.ids.joined &&
      (d.shape.ids.own || d.facts.initial_user_namespace))
    options.emplace_back("gid=5");
  options.push_back(formatted("max={}", p.max));
  op::MountOp m = new_fs(at_target(d, p.target, p.flags, p.common), "devpts", std::move(options));
  m.dir = dev_of(d, p.target, index);
  if (d.shape.console || d.spec.terminal.ttys > 0)  // they are opened from it
    if (!d.devpts.valid() || normalized(p.target.str()) == "/dev/pts") m.to = d.devpts = d.slot();
  if (!p.ptmx.empty() && !m.to.valid()) m.to = d.slot();
  const op::Slot devpts = m.to;
  d.add(std::move(m));
  if (p.ptmx.empty()) return;
  // A bind rather than a link: AppArmor's profiles look at where a path leads.
  op::MountOp ptmx = at_target(d, p.ptmx, p.flags, {.optional = true});
  ptmx.source = op::MountOp::tree;
  ptmx.what = "ptmx";
  ptmx.cwd = devpts;
  ptmx.propagation = Propagation::private_;
  d.add(std::move(ptmx));
}

/// Where a hierarchy is mounted, from the directory that has them all: "memory", "unified"; "" for
/// that directory.
std::string hierarchy_name(const CgroupHierarchy& h) {
  constexpr std::string_view usual = "/sys/fs/cgroup";
  if (h.mount_point == usual) return {};
  if (is_below(usual, h.mount_point)) return h.mount_point.substr(usual.size() + 1);
  return h.mount_point.substr(h.mount_point.rfind('/') + 1);
}

/// Mounts hierarchy number `index`, read-only but for the container's own cgroup: by the same mount
/// while it is writable.
void mount_hierarchy(Draft& d, const CgroupMount& c, std::size_t index, op::MountOp m) {
  const bool has_own =
      std::ranges::any_of(d.shape.groups, [&](const Group& g) { return g.hierarchy == index; });
  if (!c.own_writable || !has_own) return d.add(std::move(m));
  const op::Slot whole = m.to = d.slot();
  op::MountOp own{.cwd = whole,
                  .own_cgroup = index,
                  .propagation = Propagation::private_,
                  .base = m.base,
                  .target = m.target,
                  .create = false};
  m.flags -= MountFlag::read_only;
  op::SetMountFlags closed{.mount = whole, .flags = c.flags, .what = m.target};
  d.add(std::move(m));
  d.add(std::move(own));
  d.add(std::move(closed));
}

void emit(Draft& d, const CgroupMount& c, std::optional<std::size_t> /*index*/) {
  const auto& hierarchies = d.facts.cgroups;
  const std::string target = normalized(c.target.str());
  if (hierarchies.size() == 1 && hierarchies.front().v2) {
    mount_hierarchy(d, c, 0, new_fs(at_target(d, c.target, c.flags, c.common), "cgroup2"));
    return;
  }
  op::MountOp base =
      new_fs(at_target(d, c.target, kernel_flags, c.common), "tmpfs", {"mode=0755", "size=64k"});
  base.to = d.slot();
  const op::Slot slot = base.to;
  d.add(std::move(base));
  for (std::size_t i = 0; i < hierarchies.size(); ++i) {
    const CgroupHierarchy& h = hierarchies[i];
    std::string name = hierarchy_name(h);
    if (name.empty()) name = h.v2 ? "unified" : "cgroup";
    op::MountOp m{.flags = c.flags,
                  .base = d.root,
                  .target = formatted("{}/{}", target, name),
                  .optional = c.common.optional};
    if (h.v2) {
      mount_hierarchy(d, c, i, new_fs(std::move(m), "cgroup2"));
      continue;
    }
    std::vector<std::string> options;
    bool named = false;
    for (const std::string& controller : h.controllers) {
      named = named || controller.starts_with("name=");
      options.push_back(controller);
    }
    if (named && options.size() == 1) options.insert(options.begin(), "none");
    mount_hierarchy(d, c, i, new_fs(std::move(m), "cgroup", std::move(options)));
    if (name.find(',') == std::string::npos) continue;
    for (const std::string& controller :
         h.controllers)  // as the host has it: "cpu" leads to "cpu,cpuacct"
      if (!controller.starts_with("name="))
        d.add(op::MakeEntry{
            .kind = op::MakeEntry::link, .base = slot, .path = controller, .content = name});
  }
  d.add(op::SetMountFlags{.mount = slot, .flags = MountFlag::read_only, .what = target});
}

void emit(Draft& d, const Overlay& o, std::optional<std::size_t> index) {
  op::MountOp m = new_fs(at_target(d, o.target, o.flags, o.common), "overlay");
  std::vector<std::string> lower;
  for (const HostPath& path : o.lower) lower.push_back(path.str());
  const bool in_memory = o.ephemeral && index && d.uppers[*index].valid();
  if (in_memory) {
    m.cwd = d.uppers[*index];
    d.add(op::MakeEntry{.base = m.cwd, .path = "upper"});
    d.add(op::MakeEntry{.base = m.cwd, .path = "work", .mode = {0700}});
  }
  const std::string field = index ? formatted("mounts[{}]", *index) : std::string("mounts");
  overlay_options(d, m, field, lower, in_memory ? "upper" : o.upper.str(),
                  in_memory ? "work" : o.work.str());
  d.add(std::move(m));
}

void emit(Draft& d, const FsMount& f, std::optional<std::size_t> /*index*/) {
  op::MountOp m = new_fs(at_target(d, f.target, f.flags, f.common), f.type, f.options);
  m.fs_source = f.source;
  m.propagation = f.propagation;
  d.add(std::move(m));
}

void emit(Draft& d, const ImageMount& i, std::optional<std::size_t> index) {
  op::MountOp m = at_target(d, i.target, i.flags, i.common);
  const op::Slot image = index ? d.sources[*index] : op::Slot{};
  if (!i.ephemeral) {
    m.source = op::MountOp::slot;
    m.what = i.image.path.str();
    m.from = image;
    m.propagation = Propagation::private_;
    d.add(std::move(m));
    return;
  }
  // Beside the upper layer, where it has a name.
  const op::Slot beside = d.uppers[*index];
  d.add(op::MakeEntry{.base = beside, .path = "lower"});
  d.add(op::MountOp{.source = op::MountOp::slot,
                    .what = i.image.path.str(),
                    .from = image,
                    .flags = i.flags | MountFlag::read_only,
                    .propagation = Propagation::private_,
                    .base = beside,
                    .target = "lower"});
  m = new_fs(std::move(m), "overlay");
  m.cwd = beside;
  const bool in_memory = i.upper.empty();
  if (in_memory) {
    d.add(op::MakeEntry{.base = beside, .path = "upper"});
    d.add(op::MakeEntry{.base = beside, .path = "work", .mode = {0700}});
  }
  overlay_options(d, m, formatted("mounts[{}]", *index), {"lower"},
                  in_memory ? "upper" : i.upper.str(), in_memory ? "work" : i.work.str());
  d.add(std::move(m));
}

void emit(Draft& d, const FileMount& f, std::optional<std::size_t> index) {
  std::string name = formatted("{}", index.value_or(0));
  d.add(op::MakeEntry{.kind = op::MakeEntry::file,
                      .base = d.files,
                      .path = name,
                      .content = f.content,
                      .mode = f.mode});
  op::MountOp m = at_target(d, f.target, f.flags, f.common);
  m.what = std::move(name);
  m.cwd = d.files;
  m.propagation = Propagation::private_;
  d.add(std::move(m));
}

/// What lies in /proc or /sys lies on top of what is hidden and read-only there.
bool over_kernel_files(const Mount& m) {
  if (!std::holds_alternative<FileMount>(m)) return false;
  const std::string target = normalized(target_of(m).str());
  return is_below("/proc", target) || is_below("/sys", target);
}
bool over_kernel_files(const std::variant<Mount, PopulateDev>& what) {
  const auto* m = std::get_if<Mount>(&what);
  return m != nullptr && over_kernel_files(*m);
}

void emit(Draft& d, PopulateDev /*dev*/) { populate_dev(d); }

std::vector<Item> usual_mounts(const Draft& d) {
  std::vector<Item> list;
  const auto add = [&](Mount m) {
    std::string target(target_of(m).str());
    list.push_back({.target = std::move(target), .what = std::move(m)});
  };
  if (d.spec.default_mounts) {
    add(Proc{});
    add(Sysfs{});
  }
  const Devices& dev = d.spec.devices;
  if (dev.populate) {
    list.push_back({.target = "/dev", .what = PopulateDev{}});
    add(Devpts{});
    if (dev.shm) add(Tmpfs{.target = GuestPath("/dev/shm"), .size = dev.shm_size, .mode = {01777}});
    if (dev.mqueue && d.shape.own(Namespace::ipc)) add(Mqueue{.target = GuestPath("/dev/mqueue")});
  }
  if (d.spec.security.allow.has(Allow::nesting)) {
    // In a user namespace the kernel makes new ones only where it finds one in full view.
    add(Proc{.target = GuestPath("/dev/.condroid/proc")});
    if (!d.shape.shares(Namespace::net)) add(Sysfs{.target = GuestPath("/dev/.condroid/sys")});
  }
  if (d.spec.default_mounts && is_host_root(d.spec.root)) {
    // In the host's /run are sockets, which a read-only mount does not close.
    for (const RootEntry& e : d.facts.root_entries) {
      if (e.kind != RootEntry::directory || (e.name != "run" && e.name != "tmp")) continue;
      add(Tmpfs{.target = GuestPath("/" + e.name),
                .size = {},
                .mode = {e.name == "tmp" ? 01777U : 0755U}});
    }
  }
  return list;
}

/// A file on our own /dev, bound where the root's lies or would lie.
void write_resolv_conf(Draft& d) {
  const Network& network = d.spec.network;
  if (network.name_servers.empty() && network.search.empty()) return;
  std::string text;
  for (const IpAddress& a : network.name_servers)
    text += formatted("nameserver {}\n", to_string(a));
  if (!network.search.empty()) text += formatted("search {}\n", fmt::join(network.search, " "));
  d.add(op::MakeEntry{.base = d.dev, .path = ".condroid"});
  d.add(op::MakeEntry{.kind = op::MakeEntry::file,
                      .base = d.dev,
                      .path = ".condroid/resolv.conf",
                      .content = std::move(text),
                      .mode = {0644}});
  d.add(op::MountOp{.what = ".condroid/resolv.conf",
                    .cwd = d.dev,
                    .base = d.root,
                    .target = "/etc/resolv.conf",
                    .follow_links = true});
}

}  // namespace

op::MountOp procfs(const Draft& d, Flags<MountFlag> flags) {
  op::MountOp m{.flags = flags};
  if (d.shape.confined && d.shape.shares(Namespace::pid)) {
    // The host's processes are not this user namespace's: it gets no procfs of them but the host's.
    m.source = op::MountOp::tree;
    m.what = "/proc";
    m.recursive = m.recursive_flags = true;
  } else {
    m.source = op::MountOp::filesystem;
    m.what = "proc";
  }
  return m;
}

void make_mounts(Draft& d) {
  std::vector<Item> items = usual_mounts(d);
  const auto& mounts = d.spec.mounts;
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    const std::string target = normalized(target_of(mounts[i]).str());
    std::erase_if(items, [&](const Item& x) { return !x.index && x.target == target; });
    items.push_back({.target = target, .what = mounts[i], .index = i});
  }
  // Component by component, so that "/a" stands before "/a/b" and both before "/a-b"; the same
  // target in the given order.
  std::vector<std::pair<std::vector<std::string_view>, std::size_t>> order;
  order.reserve(items.size());
  for (const Item& item : items) order.emplace_back(components(item.target), order.size());
  std::ranges::sort(order);
  for (const auto& [parts, i] : order) {
    const Item& item = items[i];
    if (over_kernel_files(item.what)) continue;
    if (const auto* m = std::get_if<Mount>(&item.what))
      std::visit([&](const auto& x) { emit(d, x, item.index); }, *m);
    else
      emit(d, PopulateDev{});
  }
  write_resolv_conf(d);
}

void make_kernel_files(Draft& d) {
  for (std::size_t i = 0; i < d.spec.mounts.size(); ++i)
    if (const auto* f = std::get_if<FileMount>(&d.spec.mounts[i]);
        f != nullptr && over_kernel_files(d.spec.mounts[i]))
      emit(d, *f, i);
}

void hide_kernel(Draft& d) {
  const bool proc_covered = may_be_covered(d, "/proc"), sys_covered = may_be_covered(d, "/sys");
  const auto hide = [&](const GuestPath& given, auto o) {
    o.base = d.root;
    o.path = normalized(given.str());
    const bool proc = is_below("/proc", o.path), sys = is_below("/sys", o.path);
    o.dir = proc ? d.proc_dir : sys ? d.sys_dir : op::Slot{};
    const bool kept = o.dir.valid();
    if (kept) d.add(o);
    o.dir = {};
    if (!kept || (proc && proc_covered) || (sys && sys_covered)) d.add(std::move(o));
  };
  for (const GuestPath& path : d.spec.security.read_only_paths) hide(path, op::ProtectPath{});
  for (const GuestPath& path : d.spec.security.masked_paths)
    hide(path, op::MaskPath{.null = d.dev});
}

void set_boot_id(Draft& d) {
  if (!d.spec.lifecycle.own_boot_id) return;
  const std::string file = ".condroid/boot_id";
  d.add(op::MakeEntry{.base = d.dev, .path = ".condroid"});
  d.add(op::MakeEntry{
      .kind = op::MakeEntry::file, .base = d.dev, .path = file, .uuid = true, .mode = {0444}});
  d.add(op::MountOp{
      .what = file,
      .cwd = d.dev,
      .flags = MountFlag::read_only | MountFlag::nosuid | MountFlag::nodev | MountFlag::noexec,
      .base = d.root,
      .target = "/proc/sys/kernel/random/boot_id",
      .create = false});
}

}  // namespace condroid::inline v0::detail
