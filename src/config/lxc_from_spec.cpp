// A Spec in LXC's language. What has been written is read again, and where that is another Spec the
// difference is what the language has no word for: nothing is lost in silence.

#include <algorithm>
#include <set>
#include <utility>

#include "condroid/config/lxc.hpp"
#include "config/lxc_keys.hpp"
#include "formatted.hpp"
#include "spec/names.hpp"
#include "spec/words.hpp"

namespace condroid::inline v0::lxc {

namespace {

/// Limits as files of cgroups.
struct Files {
  std::vector<CgroupSetting> v1 = {}, v2 = {};
};

class Writer {
 public:
  Writer(const Spec& spec, const Files& files) : spec_(spec), files_(files) {}

  std::string all() {
    identity();
    process();
    terminal();
    security();
    resources();
    for (const Mount& m : spec_.mounts) std::visit([&](const auto& x) { mount(x); }, m);
    for (std::size_t i = 0; i < spec_.network.interfaces.size(); ++i) interface(i);
    return std::move(text_);
  }

 private:
  template <class... T>
  void line(std::string_view key, fmt::format_string<T...> pattern, T&&... values) {
    append_formatted(text_, "lxc.{} = ", key);
    append_formatted(text_, pattern, std::forward<T>(values)...);
    text_ += '\n';
  }

  void identity() {
    if (spec_.namespaces.has(Namespace::uts))
      line("uts.name", "{}", spec_.hostname.empty() ? spec_.name : spec_.hostname);
    const Root& root = spec_.root;
    std::vector<std::string_view> layers = {root.path.str()};
    for (const HostPath& below : root.lower) layers.emplace_back(below.str());
    if (!root.upper.empty() && root.image.path.empty())
      line("rootfs.path", "overlay:{}:{}", fmt::join(layers, ":"), root.upper.str());
    else if (!root.image.path.empty())
      line("rootfs.path", "loop:{}", root.image.path.str());
    else if (!root.path.empty())
      line("rootfs.path", "dir:{}", root.path.str());
    std::vector<std::string_view> options(root.image.options.begin(), root.image.options.end());
    if (root.read_only) options.emplace_back("ro");
    if (root.idmapped) options.emplace_back("idmap=container");
    if (!options.empty()) line("rootfs.options", "{}", fmt::join(options, ","));
    Flags<Namespace> kinds = spec_.namespaces - Namespace::user;
    if (spec_.time != TimeOffsets{}) kinds -= Namespace::time;
    if (kinds != Spec::default_namespaces) {
      std::string words;
      for (const auto& [kind, name] : EnumNames<Namespace>::table)
        if (kinds.has(kind))
          words += formatted("{}{}", words.empty() ? "" : " ",
                             kind == Namespace::mount ? std::string_view("mnt") : name);
      const bool only_net = kinds == Spec::default_namespaces - Namespace::net;
      if (only_net && spec_.join.empty())
        line("net.0.type", "none");
      else if (!words.empty())
        line("namespace.clone", "{}", words);
    }
    for (const Join& join : spec_.join) {
      const std::string_view name =
          join.kind == Namespace::mount ? std::string_view("mnt") : name_of(join.kind);
      if (const auto* pid = std::get_if<Pid>(&join.from))
        line(formatted("namespace.share.{}", name), "{}", pid->value);
      else if (const auto* path = std::get_if<HostPath>(&join.from))
        line(formatted("namespace.share.{}", name), "{}", path->str());
    }
    for (const auto& [ranges, kind] :
         {std::pair{&spec_.idmap.uids, 'u'}, std::pair{&spec_.idmap.gids, 'g'}})
      for (const IdRange& r : *ranges)
        line("idmap", "{} {} {} {}", kind, r.inside, r.outside, r.count);
    if (spec_.time.boottime.count() != 0)
      line("time.offset.boot", "{} ns", spec_.time.boottime.count());
    if (spec_.time.monotonic.count() != 0)
      line("time.offset.monotonic", "{} ns", spec_.time.monotonic.count());
    const Lifecycle& life = spec_.lifecycle;
    if (life.halt_signal.value != 30) line("signal.halt", "{}", life.halt_signal.value);
    if (life.reboot_signal.value != 2) line("signal.reboot", "{}", life.reboot_signal.value);
    if (life.stop_signal.value != 9) line("signal.stop", "{}", life.stop_signal.value);
  }

  void process() {
    const Process& p = spec_.process;
    if (p.argv != Process{}.argv) line("init.cmd", "{}", lxc_language::joined_command(p.argv));
    if (p.uid.value != 0) line("init.uid", "{}", p.uid.value);
    if (p.gid.value != 0) line("init.gid", "{}", p.gid.value);
    for (const Gid g : p.groups) line("init.groups", "{}", g.value);
    if (p.create_cwd) line("init.cwd", "{}", p.cwd.str());
    for (const std::string& e : p.env)
      if (e != "container=lxc" && !e.starts_with("container_ttys=")) line("environment", "{}", e);
    if (p.personality == Personality::linux32) line("arch", "i686");
    if (p.death_signal.value != 9) line("monitor.signal.pdeath", "{}", p.death_signal.value);
    const auto half = [](std::uint64_t n) {
      return n == RlimitSetting::unlimited ? std::string("unlimited") : formatted("{}", n);
    };
    for (const RlimitSetting& r : p.rlimits)
      line(formatted("prlimit.{}", name_of(r.resource)), "{}:{}", half(r.soft), half(r.hard));
    if (p.oom_score_adj) line("proc.oom_score_adj", "{}", *p.oom_score_adj);
    for (const ProcFile& file : p.proc_files)
      line(formatted("proc.{}", file.name), "{}", file.value);
    if (p.scheduling.core) line("sched.core", "1");
  }

  void terminal() {
    const Terminal& t = spec_.terminal;
    if (!t.console && p_stdio_is_no_pty()) line("console.path", "none");
    if (t.ttys != 0) line("tty.max", "{}", t.ttys);
    if (!t.tty_dir.empty()) line("tty.dir", "{}", t.tty_dir);
    if (t.ring.value != 0) line("console.buffer.size", "{}", t.ring.value);
    if (!t.log.empty()) line("console.logfile", "{}", t.log.str());
    if (t.log_size.value != 0) line("console.size", "{}", t.log_size.value);
    if (t.log_rotate) line("console.rotate", "1");
    if (!spec_.devices.populate) line("autodev", "0");
    if (spec_.devices.size.value != 500000)
      line("autodev.tmpfs.size", "{}", spec_.devices.size.value);
    if (spec_.devices.filter != DeviceFilter::always) return;
    // Either list does where the other version's is not there.
    const Devices& d = spec_.devices;
    line(d.denied.empty() ? "cgroup2.devices.deny" : "cgroup2.devices.allow", "a");
    const auto half = [](const std::optional<std::uint32_t>& n) {
      return n ? formatted("{}", *n) : std::string("*");
    };
    for (const DevicePermission& p : d.denied.empty() ? d.permitted : d.denied)
      line(d.denied.empty() ? "cgroup2.devices.allow" : "cgroup2.devices.deny", "{} {}:{} {}{}{}",
           p.kind == DeviceNode::block ? 'b' : 'c', half(p.major), half(p.minor),
           p.access.has(DeviceAccess::read) ? "r" : "",
           p.access.has(DeviceAccess::write) ? "w" : "",
           p.access.has(DeviceAccess::make) ? "m" : "");
  }
  [[nodiscard]] bool p_stdio_is_no_pty() const {
    return spec_.process.stdio.in.kind != Stream::pty;
  }

  void security() {
    const Security& s = spec_.security;
    if (s.capabilities != CapabilitySet::all()) {
      std::string words;
      for (unsigned c = 0; c < capability_count; ++c)
        if (const auto one = static_cast<Capability>(c); s.capabilities.has(one))
          words += formatted("{}{}", words.empty() ? "" : " ", to_string(one));
      line("cap.keep", "{}", words.empty() ? "none" : words);
    }
    if (s.no_new_privs) line("no_new_privs", "1");
    if (!s.own_keyring) line("keyring.session", "1");
    if (s.own_apparmor)
      line("apparmor.profile", "generated");
    else
      line("apparmor.profile", "{}", s.apparmor.empty() ? "unchanged" : s.apparmor);
    for (const std::string& rule : s.apparmor_rules) line("apparmor.raw", "{}", rule);
    if (!s.selinux.empty()) line("selinux.context", "{}", s.selinux);
    if (!s.selinux_keyring.empty()) line("selinux.context.keyring", "{}", s.selinux_keyring);
    for (const Sysctl& one : s.sysctls) line(formatted("sysctl.{}", one.name), "{}", one.value);
  }

  void resources() {
    const Resources& r = spec_.resources;
    if (!r.cgroup_path.empty()) {
      line("cgroup.dir.container", "{}", r.cgroup_path);
      line("cgroup.dir.monitor", "lxc.monitor.{}", spec_.name);
    }
    if (!r.cgroup_inner.empty()) line("cgroup.dir.container.inner", "{}", r.cgroup_inner);
    for (const CgroupSetting& s : files_.v1) line(formatted("cgroup.{}", s.file), "{}", s.value);
    for (const CgroupSetting& s : files_.v2) line(formatted("cgroup2.{}", s.file), "{}", s.value);
  }

  // ---- mounts ----

  static std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
      if (c == ' ' || c == '\t' || c == '\n' || c == '\\')
        out += formatted("\\{:03o}", static_cast<unsigned>(static_cast<unsigned char>(c)));
      else
        out += c;
    }
    return out;
  }
  static std::string flags(Flags<MountFlag> f, const MountCommon& common) {
    std::string text = f.has(MountFlag::read_only) ? "ro" : "rw";
    for (const auto& [flag, name] : EnumNames<MountFlag>::table)
      if (flag != MountFlag::read_only && f.has(flag)) text += formatted(",{}", name);
    // It makes a file or a directory, as the source is.
    if (common.create_target) text += ",create=dir";
    if (common.optional) text += ",optional";
    return text;
  }
  void entry(std::string_view source, const GuestPath& target, std::string_view type,
             std::string_view options) {
    std::string_view where = target.str();
    while (where.starts_with('/')) where.remove_prefix(1);
    line("mount.entry", "{} {} {} {} 0 0", source.empty() ? "none" : escaped(source),
         escaped(where), type, options);
  }
  void mount(const Bind& b) {
    std::string options = flags(b.flags, b.common) + (b.recursive ? ",rbind" : ",bind");
    if (b.idmapped) options += ",idmap=" + (b.idmap_of.empty() ? "container" : b.idmap_of.str());
    if (b.propagation == Propagation::private_) options += ",private";
    if (b.propagation == Propagation::shared) options += ",shared";
    if (b.propagation == Propagation::unbindable) options += ",unbindable";
    if (!b.inside.empty())
      entry(b.inside.str().substr(1), b.target, "none", options + ",relative");
    else
      entry(b.source.str(), b.target, "none", options);
  }
  void mount(const Tmpfs& t) {
    std::string options = flags(t.flags, t.common) + formatted(",mode={:o}", t.mode.value);
    if (t.size.value != 0) options += formatted(",size={}", t.size.value);
    if (t.inodes != 0) options += formatted(",nr_inodes={}", t.inodes);
    entry("tmpfs", t.target, "tmpfs", options);
  }
  void mount(const Proc& p) {
    const auto& closed = spec_.security.read_only_paths;
    const bool mixed = std::ranges::find(closed, GuestPath("/proc/sysrq-trigger")) != closed.end();
    if (p == Proc{})
      line("mount.auto", "proc:{}", mixed ? "mixed" : "rw");
    else
      entry("proc", p.target, "proc", flags(p.flags, p.common));
  }
  void mount(const Sysfs& s) {
    Sysfs writable;
    writable.flags -= MountFlag::read_only;
    Sysfs mixed;
    mixed.net_writable = true;
    if (s == Sysfs{})
      line("mount.auto", "sys:ro");
    else if (s == mixed)
      line("mount.auto", "sys:mixed");
    else if (s == writable)
      line("mount.auto", "sys:rw");
    else
      entry("sysfs", s.target, "sysfs", flags(s.flags, s.common));
  }
  void mount(const Mqueue& m) { entry("mqueue", m.target, "mqueue", flags(m.flags, m.common)); }
  void mount(const CgroupMount& c) {
    const char* const how = c.own_writable                      ? "mixed"
                            : c.flags.has(MountFlag::read_only) ? "ro"
                                                                : "rw";
    line("mount.auto", "cgroup:{}:force", how);
  }
  void mount(const Devpts& d) {
    // What there is for the terminals alone.
    const bool theirs = !spec_.devices.populate && d.ptmx.empty() &&
                        d.max == spec_.terminal.ttys + (spec_.terminal.console ? 1U : 0U);
    if (d.target == Devpts{}.target && d.max > spec_.terminal.ttys && !theirs)
      line("pty.max", "{}", d.max - spec_.terminal.ttys);
  }
  void mount(const Overlay& /*o*/) {}  // it has no form that is its own
  void mount(const FsMount& f) {
    std::string options = flags(f.flags, f.common);
    for (const std::string& o : f.options) options += formatted(",{}", o);
    if (f.propagation != Propagation::as_is) options += formatted(",{}", name_of(f.propagation));
    entry(f.source, f.target, f.type, options);
  }
  void mount(const ImageMount& /*i*/) {}  // nor have these
  void mount(const FileMount& /*f*/) {}

  // ---- interfaces ----

  void interface(std::size_t n) {
    const Interface& i = spec_.network.interfaces[n];
    const auto key = [&](std::string_view sub) { return formatted("net.{}.{}", n, sub); };
    const auto link = [&](std::string_view type, const std::string& parent) {
      line(key("type"), "{}", type);
      if (!parent.empty()) line(key("link"), "{}", parent);
    };
    if (const auto* v = std::get_if<Veth>(&i.link)) {
      link("veth", v->bridge);
      if (!v->host_name.empty()) line(key("veth.pair"), "{}", v->host_name);
      if (v->bridge.empty() && (!v->host_addresses.empty() || !v->host_routes.empty()))
        line(key("veth.mode"), "router");
      for (const IpPrefix& r : v->host_routes)
        line(key(r.address.is_v6() ? "veth.ipv6.route" : "veth.ipv4.route"), "{}", to_string(r));
      if (v->vlan_id) line(key("veth.vlan.id"), "{}", *v->vlan_id);
      for (const std::uint16_t id : v->tagged) line(key("veth.vlan.tagged.id"), "{}", id);
      if (v->rx_queues != 0) line(key("veth.n_rxqueues"), "{}", v->rx_queues);
      if (v->tx_queues != 0) line(key("veth.n_txqueues"), "{}", v->tx_queues);
    } else if (const auto* m = std::get_if<Macvlan>(&i.link)) {
      link("macvlan", m->parent);
      line(key("macvlan.mode"), "{}", name_of(m->mode));
    } else if (const auto* p = std::get_if<Ipvlan>(&i.link)) {
      link("ipvlan", p->parent);
      line(key("ipvlan.mode"), "{}", name_of(p->mode));
      line(key("ipvlan.isolation"), "{}", name_of(p->isolation));
    } else if (const auto* l = std::get_if<Vlan>(&i.link)) {
      link("vlan", l->parent);
      line(key("vlan.id"), "{}", l->id);
    } else if (const auto* h = std::get_if<Phys>(&i.link)) {
      link("phys", h->parent);
    } else {
      return;  // of condroid's own kinds: refused below
    }
    line(key("name"), "{}", i.name);
    if (i.up) line(key("flags"), "up");
    if (i.mac) line(key("hwaddr"), "{}", to_string(*i.mac));
    if (!i.mac_template.empty()) line(key("hwaddr"), "{}", i.mac_template);
    if (i.mtu) line(key("mtu"), "{}", *i.mtu);
    std::size_t v4 = 0;
    for (const IpPrefix& a : i.addresses) {
      if (a.address.is_v6())
        line(key("ipv6.address"), "{}", to_string(a));
      else if (v4 < i.broadcasts.size())
        line(key("ipv4.address"), "{} {}", to_string(a), to_string(i.broadcasts[v4++]));
      else
        line(key("ipv4.address"), "{}", to_string(a));
    }
    for (const IpAddress& g : i.gateways)
      if (!g.is_any()) line(key(g.is_v6() ? "ipv6.gateway" : "ipv4.gateway"), "{}", to_string(g));
    for (const bool v6 : {false, true}) {
      const auto same = [&](const IpAddress& a) { return a.is_v6() == v6; };
      if (i.gateway_auto && std::ranges::any_of(i.addresses, same, &IpPrefix::address) &&
          std::ranges::none_of(i.gateways, same))
        line(key(v6 ? "ipv6.gateway" : "ipv4.gateway"), "auto");
    }
    for (const Route& r : i.routes)
      if (r.to.length == 0 && !r.via && !r.metric)
        line(key(r.to.address.is_v6() ? "ipv6.gateway" : "ipv4.gateway"), "dev");
  }

  const Spec& spec_;
  const Files& files_;
  std::string text_;
};

bool of_v1(const CgroupSetting& s) {
  const auto has = [&](std::string_view part) { return s.file.find(part) != s.file.npos; };
  return has("_in_bytes") || has("cpu.shares") || has("cpu.cfs_") || has("cpu.rt_") ||
         s.file.starts_with("blkio.") || s.file.starts_with("net_") ||
         s.file == "memory.swappiness";
}

/// Limits that have a name here are files of a cgroup there, of either version where both have one.
/// What is said otherwise stays in the Spec, and is refused for that.
Files as_files(Spec& spec) {
  Resources& r = spec.resources;
  Files files;
  const bool v1 = std::ranges::any_of(r.settings, of_v1);
  (v1 ? files.v1 : files.v2) = std::exchange(r.settings, {});
  const auto file = [](std::vector<CgroupSetting>& in, const char* name, std::string value) {
    in.push_back({.file = name, .value = std::move(value)});
  };
  const auto most = [](const auto& limit, auto number, const char* none) {
    return limit.limited() ? formatted("{}", number(limit.most())) : std::string(none);
  };
  const auto bytes = [](Bytes b) { return b.value; };
  const auto count = [](std::uint64_t n) { return n; };
  const auto both = [&](const char* name, const std::string& value) {
    file(files.v1, name, value);
    file(files.v2, name, value);
  };
  const auto memory = std::exchange(r.memory_max, {});
  if (memory) {
    file(files.v2, "memory.max", most(*memory, bytes, "max"));
    file(files.v1, "memory.limit_in_bytes", most(*memory, bytes, "-1"));
  }
  if (r.memory_swap_max && (!v1 || memory)) {
    file(files.v2, "memory.swap.max", most(*r.memory_swap_max, bytes, "max"));
    if (memory) {
      std::uint64_t sum = 0;
      const bool limited =
          r.memory_swap_max->limited() && memory->limited() &&
          !__builtin_add_overflow(r.memory_swap_max->most().value, memory->most().value, &sum);
      file(files.v1, "memory.memsw.limit_in_bytes", limited ? formatted("{}", sum) : "-1");
    }
    r.memory_swap_max.reset();
  }
  if (r.pids_max) both("pids.max", most(*r.pids_max, count, "max"));
  r.pids_max.reset();
  if (!r.cpuset_cpus.empty()) both("cpuset.cpus", std::exchange(r.cpuset_cpus, {}));
  if (!r.cpuset_mems.empty()) both("cpuset.mems", std::exchange(r.cpuset_mems, {}));
  if (!v1) {
    if (r.memory_high) file(files.v2, "memory.high", most(*r.memory_high, bytes, "max"));
    if (r.cpu_weight) file(files.v2, "cpu.weight", formatted("{}", *r.cpu_weight));
    r.memory_high.reset();
    r.cpu_weight.reset();
  }
  r.settings = v1 ? files.v1 : files.v2;
  return files;
}

/// What follows from the rest, or is only more than was asked for.
void level(Spec& spec, const Spec& like) {
  spec.security.allow = like.security.allow;
  if (!like.lifecycle.freezable) spec.lifecycle.freezable = false;
  if (!like.lifecycle.own_boot_id) spec.lifecycle.own_boot_id = false;
  if (like.resources.cgroup != CgroupMode::never) spec.resources.cgroup = like.resources.cgroup;
  spec.namespaces -= Namespace::user;
  if (like.hostname.empty() && spec.hostname == like.name) spec.hostname.clear();
}

std::vector<std::string> lines_of(const Spec& spec) {
  std::vector<std::string> lines;
  const std::string text = print_spec(spec);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  std::ranges::sort(lines);
  return lines;
}

}  // namespace

Result<Configuration> Configuration::from(const Spec& spec) {
  Spec wanted = spec;
  const Files files = as_files(wanted);
  const bool v1 = std::ranges::any_of(spec.resources.settings, of_v1);
  const std::string text = Writer(wanted, files).all();
  auto config = parse(text);
  if (!config) return config;
  std::vector<std::string> closed;
  constexpr std::string_view settings = "/proc/sys/";
  for (const GuestPath& p : spec.security.read_only_paths)
    if (p.str().starts_with(settings)) closed.push_back(p.str().substr(settings.size()));
  const auto again = config->to_spec({.name = spec.name,
                                      .apparmor = true,
                                      .selinux = true,
                                      .cgroup2_only = !v1,
                                      .capabilities = CapabilitySet::all(),
                                      .kernel_settings = std::move(closed)});
  if (!again) return fail(again.error());
  Spec got = again->spec;
  level(got, wanted);
  wanted.namespaces -= Namespace::user;
  if (got == wanted) return config;
  Error error = make_error(Errc::bad_spec, Step::parse, {},
                           "LXC's language has no word for it, or holds another way");
  const auto mine = lines_of(wanted), theirs = lines_of(got);
  std::vector<std::string> lost, other;
  std::ranges::set_difference(mine, theirs, std::back_inserter(lost));
  std::ranges::set_difference(theirs, mine, std::back_inserter(other));
  std::vector<std::string> said;
  std::set<std::string> keys;
  for (const std::string& line : lost) {
    keys.insert(line.substr(0, line.find(" = ")));
    said.push_back(formatted("{} cannot be said", line));
  }
  for (const std::string& line : other)
    if (!keys.contains(line.substr(0, line.find(" = "))))
      said.push_back(formatted("{} would hold", line));
  if (said.empty()) said.emplace_back("a value that only raw bits can be");
  error.subject = std::move(said.front());
  error.also.assign(said.begin() + 1, said.end());
  return fail(std::move(error));
}

}  // namespace condroid::inline v0::lxc
