// What an op is, and is done to, in words: for the printed plan, the timeline and the subject of an
// error.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "condroid/plan/op.hpp"
#include "formatted.hpp"
#include "plan/words.hpp"
#include "printable.hpp"
#include "spec/names.hpp"

namespace condroid::inline v0 {

namespace detail {

std::string quoted(std::string_view text) {
  std::string out = "'";
  // What a Spec says must not be able to move the cursor of whoever reads a plan.
  append_printable(out, text);
  return out + "'";
}

std::string listed(const std::vector<std::string>& words, std::string_view separator) {
  std::string out;
  for (const auto& w : words) {
    if (!out.empty()) out += separator;
    out += w;
  }
  return out;
}

std::string size_text(Bytes bytes) {
  constexpr std::string_view units[] = {"", " KiB", " MiB", " GiB", " TiB"};
  std::uint64_t n = bytes.value;
  std::size_t unit = 0;
  for (; n != 0 && n % 1024 == 0 && unit + 1 < std::size(units); ++unit) n /= 1024;
  return unit == 0 ? formatted("{} bytes", n) : formatted("{}{}", n, units[unit]);
}

}  // namespace detail

namespace {

using detail::listed;
using detail::quoted;

/// As mount(8) and /proc/self/mountinfo say it.
std::string mount_options(Flags<MountFlag> flags) {
  std::string text;
  const auto add = [&](MountFlag f, std::string_view word) {
    if (!flags.has(f)) return;
    if (!text.empty()) text += ',';
    text += word;
  };
  add(MountFlag::read_only, "ro");
  add(MountFlag::nosuid, "nosuid");
  add(MountFlag::nodev, "nodev");
  add(MountFlag::noexec, "noexec");
  add(MountFlag::noatime, "noatime");
  add(MountFlag::strictatime, "strictatime");
  add(MountFlag::nodiratime, "nodiratime");
  add(MountFlag::nosymfollow, "nosymfollow");
  return text;
}

std::string namespaces_text(Flags<Namespace> set) { return flag_names(set, " "); }

std::string range_text(std::uint32_t first, std::uint32_t count) {
  return count == 1 ? formatted("{}", first) : formatted("{}-{}", first, first + (count - 1));
}

std::string map_text(std::string_view what, const std::vector<IdRange>& ranges) {
  std::string text(what);
  for (std::size_t i = 0; i < ranges.size() && i < 3; ++i) {
    const IdRange& r = ranges[i];
    text += formatted("{} {} = host {}", i == 0 ? "" : ",", range_text(r.inside, r.count),
                      range_text(r.outside, r.count));
  }
  if (ranges.size() > 3) text += formatted(", {} more", ranges.size() - 3);
  return text;
}

constexpr std::string_view stream_name(int number) {
  constexpr std::string_view names[] = {"stdin", "stdout", "stderr"};
  return number >= 0 && number < 3 ? names[number] : "stream";
}

std::string stream_text(const op::OpenDescriptor& o) {
  switch (o.stream.kind) {
    case Stream::inherit:
      return formatted("{} of the host", stream_name(o.number));
    case Stream::null:
      return formatted("{}: /dev/null", stream_name(o.number));
    case Stream::pipe:
      return formatted("{}: a pipe", stream_name(o.number));
    case Stream::capture:
      return formatted("{}: captured", stream_name(o.number));
    case Stream::pty:
      return formatted("{}: the console", stream_name(o.number));
    case Stream::descriptor:
      return formatted("{}: descriptor {}", stream_name(o.number), o.stream.fd.number);
  }
  return {};
}

std::string link_text(const Interface::Link& link) {
  struct Text {
    std::string operator()(const Veth& l) const {
      const std::string end = l.host_name.empty() ? "" : " of " + quoted(l.host_name);
      return formatted("veth{}{}", end, l.bridge.empty() ? "" : " at bridge " + quoted(l.bridge));
    }
    std::string operator()(const Macvlan& l) const {
      return formatted("macvlan ({}) above {}", name_of(l.mode), quoted(l.parent));
    }
    std::string operator()(const Ipvlan& l) const {
      return formatted("ipvlan ({}) above {}", name_of(l.mode), quoted(l.parent));
    }
    std::string operator()(const Vlan& l) const {
      return formatted("vlan {} above {}", l.id, quoted(l.parent));
    }
    std::string operator()(const Phys& l) const { return "the host's " + quoted(l.parent); }
    std::string operator()(const Tap& /*l*/) const { return "tap"; }
    std::string operator()(const Tun& /*l*/) const { return "tun"; }
    std::string operator()(const NatBridge& l) const {
      return formatted("veth at bridge {} of our own", quoted(l.name));
    }
    std::string operator()(const UserNic& l) const { return "veth at bridge " + quoted(l.bridge); }
    std::string operator()(const Pasta& l) const {
      return l.parent.empty() ? "pasta" : formatted("pasta as {}", quoted(l.parent));
    }
  };
  return std::visit(Text{}, link);
}

struct Describe {
  std::string operator()(const op::CreateCgroup& o) const {
    std::string text = formatted("in {} ({}", quoted(o.mount_point), o.v2 ? "v2" : "v1");
    if (o.v2 && !o.controllers.empty()) text += ": " + listed(o.controllers, " ");
    if (!o.wished.empty()) text += "; where they can be: " + listed(o.wished, " ");
    text += ')';
    if (!o.path.empty()) text += formatted(" at {}", quoted(o.path));
    if (!o.inner.empty()) text += formatted(", {} in it", quoted(o.inner));
    if (o.delegated) text += formatted(", given to uid {} and gid {}", o.uid.value, o.gid.value);
    return text;
  }
  std::string operator()(const op::WriteCgroup& o) const {
    std::string text = formatted("{} = {}", o.file, quoted(o.value));
    if (!o.device.empty()) text += formatted(" for the device of {}", quoted(o.device));
    if (!o.or_file.empty()) text += formatted(", or {} = {}", o.or_file, quoted(o.or_value));
    return o.optional ? text + " (optional)" : text;
  }
  std::string operator()(const op::FilterDevices& o) const {
    if (o.denied.empty())
      return formatted("{} permissions, no others ({})", o.permitted.size(), o.v2 ? "v2" : "v1");
    return formatted("{} permissions, {} denials ({})", o.permitted.size(), o.denied.size(),
                     o.v2 ? "v2" : "v1");
  }
  std::string operator()(const op::OpenCgroup& o) const {
    return formatted("{}{} ({})", o.below ? "a new one in " : "", quoted(o.path),
                     o.v2 ? "v2" : "v1");
  }
  std::string operator()(const op::EnterProcess& o) const {
    return formatted("{} of process {}, joined before the clone", namespaces_text(o.namespaces),
                     o.pid.value);
  }
  std::string operator()(const op::EnterRoot& /*o*/) const { return "root of the process"; }
  std::string operator()(const op::Park& /*o*/) const { return "until it is taken"; }
  std::string operator()(const op::OpenInside& o) const {
    return quoted(o.path) + (o.devpts ? " (devpts)" : "");
  }
  std::string operator()(const op::RemoveEntry& o) const {
    return formatted("{}{}", o.node ? "node " : "mount at ", quoted(o.path));
  }
  std::string operator()(const op::OpenSockets& o) const {
    return formatted("{} of its network", o.count);
  }
  std::string operator()(const op::End& /*o*/) const { return "no command"; }
  std::string operator()(const op::OpenDescriptor& o) const {
    const std::string_view joins = o.before_clone ? ", joined before the clone" : "";
    switch (o.kind) {
      case op::OpenDescriptor::stdio:
        return stream_text(o);
      case op::OpenDescriptor::borrowed:
        return formatted("descriptor {}{}", o.fd.number, joins);
      case op::OpenDescriptor::ns_of_pid:
        return formatted("{} namespace of process {}{}", name_of(o.ns), o.number, joins);
      case op::OpenDescriptor::ns_of_path:
        return formatted("{} namespace {}{}", name_of(o.ns), quoted(o.path), joins);
      case op::OpenDescriptor::tree:
        return formatted("mount of descriptor {}{}", o.fd.number, o.recursive ? ", recursive" : "");
      case op::OpenDescriptor::root_of_pid:
        return formatted("root of process {}", o.number);
      case op::OpenDescriptor::directory:
        return formatted("host directory {}", quoted(o.path));
    }
    return {};
  }
  std::string operator()(const op::PinRootfs& o) const { return quoted(o.path); }
  std::string operator()(const op::WriteIdMap& o) const {
    return formatted("{}; {}{}{}", map_text("uid", o.uids), map_text("gid", o.gids),
                     o.how == op::WriteIdMap::helpers ? ", by newuidmap and newgidmap" : "",
                     o.deny_setgroups ? ", no setgroups" : "");
  }
  std::string operator()(const op::IdmapTree& o) const {
    return formatted("{} with shifted owners{}",
                     o.path.empty() ? formatted("descriptor {}", o.fd.number) : quoted(o.path),
                     o.recursive ? ", recursive" : "");
  }
  std::string operator()(const op::MountImage& o) const {
    return formatted("image {}{}{}{}", quoted(o.image.path.str()),
                     o.image.type.empty() ? "" : " of type " + o.image.type,
                     o.read_only ? ", read-only" : "", o.idmapped ? ", with shifted owners" : "");
  }
  std::string operator()(const op::OverlayTrees& o) const {
    std::vector<std::string> lower;
    for (const auto& l : o.layers) lower.push_back(quoted(l.lower));
    return formatted("overlay over {}{}", listed(lower, ", "),
                     o.idmapped ? " with shifted owners" : "");
  }
  std::string operator()(const op::Clone& o) const {
    return formatted(
        "{}{}",
        o.namespaces.empty() ? "a process" : "new namespaces " + namespaces_text(o.namespaces),
        o.into_cgroup ? ", into its cgroup" : "");
  }
  std::string operator()(const op::ArmDeathSignal& o) const {
    return formatted("{} when the zygote dies{}", signal_name(o.signal),
                     o.dumpable ? "; dumpable until its ids are mapped" : "");
  }
  std::string operator()(const op::EnterCgroup& o) const {
    return formatted("in {}", quoted(o.mount_point));
  }
  std::string operator()(const op::Unshare& o) const { return namespaces_text(o.namespaces); }
  std::string operator()(const op::JoinNamespace& o) const { return std::string(name_of(o.kind)); }
  std::string operator()(const op::SetTimeOffsets& o) const {
    return formatted("monotonic {:+}ns, boottime {:+}ns", o.offsets.monotonic.count(),
                     o.offsets.boottime.count());
  }
  std::string operator()(const op::Sync& o) const {
    std::string_view what =
        o.ask == op::Sync::configure ? "host, configure" : "host, before the command";
    return o.receives.empty() ? std::string(what)
                              : formatted("{} and send {} mounts", what, o.receives.size());
  }
  std::string operator()(const op::BecomeRoot& o) const {
    return formatted("uid {}, gid {} of the user namespace{}", o.uid.value, o.gid.value,
                     o.set_groups ? "" : ", groups kept");
  }
  std::string operator()(const op::ContainPropagation& o) const {
    return o.slave ? "every mount made slave" : "every mount made private";
  }
  std::string operator()(const op::MountOp& o) const;
  std::string operator()(const op::MakeEntry& o) const {
    switch (o.kind) {
      case op::MakeEntry::directory:
      case op::MakeEntry::file:
        return quoted(o.path) + (o.uuid ? ", a random UUID" : "");
      case op::MakeEntry::link:
        return formatted("{} -> {}", quoted(o.path), quoted(o.content));
    }
    return {};
  }
  std::string operator()(const op::MakeNode& o) const {
    if (o.bind)
      return formatted("bind host {} -> guest {}", quoted(o.host_path),
                       quoted("/dev/" + o.node.name));
    return formatted("{} {} {}:{} mode {:04o}", quoted("/dev/" + o.node.name),
                     o.node.kind == DeviceNode::block ? "block" : "char", o.node.major,
                     o.node.minor, o.node.mode.value);
  }
  std::string operator()(const op::OpenPty& o) const {
    return formatted("{}{}{}", o.number < 0 ? "pty" : formatted("kept pty {}", o.number),
                     o.path.empty() ? "" : " " + quoted(o.path),
                     o.link_from.empty() ? "" : formatted(", also {}", quoted(o.link_from)));
  }
  std::string operator()(const op::SendPtys& o) const {
    return formatted("{} pty master{}{} to the host", o.count, o.count == 1 ? "" : "s",
                     o.devpts.valid() ? " and their devpts" : "");
  }
  std::string operator()(const op::MaskPath& o) const { return quoted(o.path); }
  std::string operator()(const op::ProtectPath& o) const { return quoted(o.path); }
  std::string operator()(const op::SetMountFlags& o) const {
    std::vector<std::string> words;
    if (!o.flags.empty()) words.push_back(mount_options(o.flags));
    if (o.propagation != Propagation::as_is) words.emplace_back(name_of(o.propagation));
    if (o.recursive) words.emplace_back("recursive");
    return formatted("{} {}", quoted(o.what), listed(words, ", "));
  }
  std::string operator()(const op::PivotRoot& /*o*/) const { return "the host's root is let go"; }
  std::string operator()(const op::SetHostname& o) const {
    return formatted("{}{}", o.domain ? "domain " : "", quoted(o.name));
  }
  std::string operator()(const op::RaiseLoopback& /*o*/) const { return "lo"; }
  std::string operator()(const op::CreateInterface& o) const {
    return formatted("{}: {}", quoted(o.interface.name), link_text(o.interface.link));
  }
  std::string operator()(const op::LeaseAddress& o) const {
    const auto* bridge = std::get_if<NatBridge>(&o.interface.link);
    std::vector<std::string> from;
    for (const IpPrefix& p : o.interface.addresses) from.push_back(to_string(p));
    if (bridge != nullptr && from.empty())
      for (const IpPrefix& p : bridge->subnets) from.push_back("one of " + to_string(p));
    return formatted("{} at {}: {}", quoted(o.interface.name),
                     quoted(bridge != nullptr ? bridge->name : ""), listed(from, ", "));
  }
  std::string operator()(const op::PublishPorts& o) const {
    std::vector<std::string> all;
    for (const PublishedPort& p : o.ports)
      all.push_back(formatted("{}{}{}->{}/{}", p.host_address ? to_string(*p.host_address) : "",
                              p.host_address ? " " : "", p.host_port, p.port, name_of(p.protocol)));
    return formatted("{} of {}", listed(all, ", "), quoted(o.interface));
  }
  std::string operator()(const op::AskUserNic& o) const {
    return formatted("{}: {} ({})", quoted(o.interface.name), link_text(o.interface.link),
                     quoted(o.program));
  }
  std::string operator()(const op::StartPasta& o) const {
    return formatted("{}: {} ({}{})", quoted(o.interface.name), link_text(o.interface.link),
                     quoted(o.program),
                     o.publish.empty() ? "" : formatted(", {} ports", o.publish.size()));
  }
  std::string operator()(const op::ConfigureInterface& o) const {
    const Interface& i = o.interface;
    std::vector<std::string> words;
    if (o.proc.valid()) words.emplace_back("no IPv6");
    if (i.up) words.emplace_back("up");
    for (const IpPrefix& p : i.addresses) words.push_back(to_string(p));
    for (const Route& r : i.routes)
      words.push_back(to_string(r.to) + (r.via ? " by " + to_string(*r.via) : ""));
    if (i.gateway_auto) words.emplace_back("default by what it hangs on");
    for (const IpAddress& g : i.gateways)
      words.push_back(g.is_any() ? formatted("no default of IPv{}", g.is_v6() ? 6 : 4)
                                 : "default by " + to_string(g));
    return formatted("{}: {}", quoted(i.name), listed(words, ", "));
  }
  std::string operator()(const op::AwaitInterface& o) const {
    std::vector<std::string> words;
    if (o.carrier) words.emplace_back("a carrier");
    for (const IpAddress& a : o.addresses) words.push_back(to_string(a));
    if (o.link_local) words.emplace_back("a link-local address");
    return formatted("{}: {}", quoted(o.name), listed(words, ", "));
  }
  std::string operator()(const op::WriteSetting& o) const {
    return formatted("/proc/{} = {}", o.path, quoted(o.value));
  }
  std::string operator()(const op::SetRlimit& o) const {
    const auto text = [](std::uint64_t n) {
      return n == RlimitSetting::unlimited ? std::string("unlimited") : formatted("{}", n);
    };
    return formatted("{} {} of {}", name_of(o.limit.resource), text(o.limit.soft),
                     text(o.limit.hard));
  }
  std::string operator()(const op::SetScheduling& o) const {
    const Scheduling& s = o.scheduling;
    std::string text = formatted("{}", name_of(s.policy));
    if (s.priority != 0) text += formatted(" {}", s.priority);
    if (s.nice) text += formatted(", nice {}", *s.nice);
    if (!s.cpus.empty()) text += formatted(", on processors {}", fmt::join(s.cpus, ","));
    if (s.core) text += ", a core at a time for itself";
    if (o.cores_of.value == 0) return text;
    const std::string cores = formatted("cores shared with process {}", o.cores_of.value);
    return s == Scheduling{} ? cores : text + ", " + cores;
  }
  std::string operator()(const op::SetPersonality& o) const {
    return std::string(name_of(o.personality));
  }
  std::string operator()(const op::SetUmask& o) const { return formatted("{:04o}", o.umask.value); }
  std::string operator()(const op::JoinKeyring& /*o*/) const { return "new and empty"; }
  std::string operator()(const op::NewSession& o) const {
    return o.terminal.valid() ? "with the console as its terminal" : "without a terminal";
  }
  std::string operator()(const op::PlaceDescriptors& o) const {
    std::vector<std::string> numbers;
    for (const auto& e : o.entries) numbers.push_back(formatted("{}", e.number));
    return formatted("descriptors {}; all others closed", listed(numbers, " "));
  }
  std::string operator()(const op::ChangeDirectory& o) const {
    return formatted("{}{}", quoted(o.path), o.create ? ", made if missing" : "");
  }
  std::string operator()(const op::SetCredentials& o) const;
  std::string operator()(const op::LoadSeccomp& o) const { return o.what; }
  std::string operator()(const op::ApplyLandlock& o) const {
    const Landlock& l = o.landlock;
    std::vector<std::string> words;
    if (!l.handled.empty()) words.push_back(formatted("paths: {}", l.rules.size()));
    if (l.tcp.has(LandlockTcp::bind))
      words.push_back(formatted("ports to bind: {}", l.bind.size()));
    if (l.tcp.has(LandlockTcp::connect))
      words.push_back(formatted("ports to connect to: {}", l.connect.size()));
    if (!l.scope.empty()) words.push_back("scope: " + flag_names(l.scope, " "));
    return listed(words, ", ");
  }
  static std::string hook(const Hook& h) {
    return formatted("{}{}{} {}", name_of(h.point), h.interface.empty() ? "" : " of ",
                     h.interface.empty() ? std::string() : quoted(h.interface), quoted(h.program));
  }
  std::string operator()(const op::RunHook& o) const { return hook(o.hook); }
  std::string operator()(const op::RunHookInside& o) const { return hook(o.hook); }
  std::string operator()(const op::OpenHookOutput& o) const {
    return formatted("output of {} hook{} inside", o.hooks, o.hooks == 1 ? "" : "s");
  }
  std::string operator()(const op::KeepNamespaces& o) const {
    return "namespaces for the hooks of its end: " + flag_names(o.namespaces, " ");
  }
  std::string operator()(const op::LoadProfile& o) const {
    return formatted("AppArmor profile of its own, {} rules, by {}",
                     std::ranges::count(o.rules, '\n') - 2, quoted(o.parser));
  }
  std::string operator()(const op::SetLabel& o) const {
    if (o.own) return "AppArmor profile of its own";
    return formatted("{} {}{}", o.apparmor ? "AppArmor profile" : "SELinux context",
                     quoted(o.label), o.keyring ? " for keyrings" : "");
  }
  std::string operator()(const op::NoNewPrivs& /*o*/) const {
    return "no set-id, no file capabilities";
  }
  std::string operator()(const op::StartInit& /*o*/) const { return "pid 1; the command is pid 2"; }
  std::string operator()(const op::Exec& o) const {
    // A reader wants to know which command it is; an error is one line.
    constexpr std::size_t longest = 200, enough = 500;
    std::vector<std::string> words;
    std::size_t size = 0;
    for (const auto& a : o.argv) {
      if (size > enough) {
        words.push_back(formatted("and {} more", o.argv.size() - words.size()));
        break;
      }
      words.push_back(a.size() <= longest
                          ? quoted(a)
                          : formatted("{}... ({} bytes)", quoted(a.substr(0, longest)), a.size()));
      size += words.back().size() + 1;
    }
    return listed(words, " ");
  }
};

std::string Describe::operator()(const op::MountOp& o) const {
  std::string what;
  switch (o.source) {
    case op::MountOp::tree:
      if (o.place == op::MountOp::on_root)
        what = o.what == "/" ? "the host's own '/'" : "root directory " + quoted(o.what);
      else
        what = formatted("{} {}", o.recursive ? "rbind" : "bind",
                         o.own_cgroup                ? "its own cgroup"
                         : o.cwd.valid() || o.inside ? "its own " + quoted(o.what)
                                                     : quoted(o.what));
      break;
    case op::MountOp::slot:
      what = o.what.empty() ? "prepared mount" : "prepared " + o.what;
      break;
    case op::MountOp::filesystem: {
      what = o.what;
      std::vector<std::string> options = o.options;
      if (!o.fs_source.empty()) options.insert(options.begin(), "source=" + o.fs_source);
      if (!options.empty()) {
        std::string all = quoted(listed(options, ","));
        what += " " + all.substr(1, all.size() - 2);
      }
    }
  }
  switch (o.place) {
    case op::MountOp::nowhere:
      what += ", attached to nothing";
      break;
    case op::MountOp::on_root:
      if (!o.target.empty())
        what += " at host " + quoted(o.target);
      else if (o.source != op::MountOp::tree)
        what += ", hidden";
      break;
    case op::MountOp::at_target:
      what += " -> guest " + quoted(o.target);
      break;
  }
  if (!o.flags.empty()) what += formatted(" ({})", mount_options(o.flags));
  if (o.optional) what += ", optional";
  return what;
}

std::string Describe::operator()(const op::SetCredentials& o) const {
  std::string text = formatted("uid {}, gid {}", o.uid.value, o.gid.value);
  if (!o.set_groups) {
    text += ", groups kept";
  } else if (!o.groups.empty()) {
    std::vector<std::string> groups;
    for (const Gid g : o.groups) groups.push_back(formatted("{}", g.value));
    text += ", groups " + listed(groups, " ");
  }
  const auto names = [](CapabilitySet set) {
    std::vector<std::string> caps;
    for (unsigned c = 0; c < capability_count; ++c)
      if (set.has(static_cast<Capability>(c)))
        caps.emplace_back(name_of(static_cast<Capability>(c)));
    return caps.empty() ? "none" : listed(caps, " ");
  };
  if (o.bounding == CapabilitySet::small())
    text += ", the small set of capabilities";
  else if (o.bounding == CapabilitySet::all())
    text += ", all capabilities";
  else
    text +=
        o.bounding == CapabilitySet{} ? ", no capabilities" : ", capabilities " + names(o.bounding);
  // What is more to say than that root has them, and others none.
  const CapabilitySet usual = o.uid.value == 0 ? o.bounding : o.ambient;
  if (o.permitted != usual) text += ", permitted " + names(o.permitted);
  if (o.effective != o.permitted) text += ", effective " + names(o.effective);
  if (o.inheritable != o.ambient) text += ", inheritable " + names(o.inheritable);
  if (o.ambient != CapabilitySet{})
    text += o.ambient == o.bounding ? ", all ambient" : ", ambient " + names(o.ambient);
  if (!o.securebits.empty()) text += ", " + flag_names(o.securebits);
  return text;
}

struct DescribeUndo {
  template <class O>
  std::string operator()(const O& /*o*/) const {
    return {};
  }
  std::string operator()(const op::CreateCgroup& /*o*/) const {
    return "removing it, with all below it";
  }
  std::string operator()(const op::LeaseAddress& /*o*/) const { return "giving it back"; }
  std::string operator()(const op::PublishPorts& /*o*/) const { return "removing their table"; }
  std::string operator()(const op::LoadProfile& /*o*/) const {
    return "removing it when nothing is left that runs under it";
  }
  std::string operator()(const op::PinRootfs& /*o*/) const { return "closing it at the end"; }
  std::string operator()(const op::MountImage& /*o*/) const {
    return "the last who uses it ends, and with him its loop device";
  }
  std::string operator()(const op::Clone& /*o*/) const { return "SIGKILL to everything in it"; }
};

}  // namespace

Step step_of(const Op& o) {
  if (const auto* m = std::get_if<op::MountOp>(&o); m && m->place == op::MountOp::on_root)
    return Step::mount_root;
  if (const auto* e = std::get_if<op::MakeEntry>(&o); e && e->kind != op::MakeEntry::directory)
    return e->kind == op::MakeEntry::link ? Step::make_link : Step::make_file;
  return std::visit([](const auto& x) { return x.step; }, o);
}

op::Actor actor_of(const Op& o) {
  return std::visit([](const auto& x) { return x.actor; }, o);
}

std::string describe(const Op& o) { return std::visit(Describe{}, o); }
std::string describe_undo(const Op& o) { return std::visit(DescribeUndo{}, o); }

}  // namespace condroid::inline v0
