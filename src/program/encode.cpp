#include "program/encode.hpp"

#include <cstring>
#include <type_traits>

#include "formatted.hpp"
#include "program/interface_requests.hpp"
#include "program/kernel.hpp"
#include "program/kernel_bits.hpp"

namespace condroid::inline v0::detail {

using program::Code;
using program::Rec;
using program::Str;

namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

constexpr std::uint64_t pair(std::uint32_t low, std::uint32_t high) {
  return low | (static_cast<std::uint64_t>(high) << 32U);
}

std::int16_t reg(op::Slot slot) { return static_cast<std::int16_t>(slot.number); }

std::string_view last_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

/// The kernel's dev_t in the encoding of mknod(2).
std::uint64_t device_number(std::uint32_t major, std::uint32_t minor) {
  return (minor & 0xffU) | ((major & 0xfffU) << 8U) |
         (static_cast<std::uint64_t>(minor & ~0xffU) << 12U);
}

}  // namespace

Encoder::Encoder() : blob_(8, '\0') {}  // offset 0 is the empty string

Rec& Encoder::add(Code code, std::uint32_t index) {
  Rec x{};
  x.code = code;
  x.index = index;
  for (auto& r : x.r) r = -1;
  recs_.push_back(x);
  return recs_.back();
}

Str Encoder::text(std::string_view s) {
  if (s.empty()) return {0, 0};
  const Str at{static_cast<std::uint32_t>(blob_.size()), static_cast<std::uint32_t>(s.size())};
  blob_.insert(blob_.end(), s.begin(), s.end());
  blob_.push_back('\0');
  return at;
}

Str Encoder::bytes(const void* data, std::size_t size, std::size_t alignment) {
  while (blob_.size() % alignment != 0) blob_.push_back('\0');
  const Str at{static_cast<std::uint32_t>(blob_.size()), static_cast<std::uint32_t>(size)};
  if (data != nullptr) {
    const auto* p = static_cast<const char*>(data);
    blob_.insert(blob_.end(), p, p + size);
  } else {
    blob_.resize(blob_.size() + size, '\0');
  }
  blob_.push_back('\0');
  return at;
}

Str Encoder::strings(const std::vector<std::string>& list) {
  std::string joined;
  for (const auto& s : list) {
    joined += s;
    joined += '\0';
  }
  return bytes(joined.data(), joined.size(), 1);
}

void Encoder::add(const Op& o, std::uint32_t index) {
  if (actor_of(o) != op::Actor::child) return;
  const auto hidden = [this](Rec& r, const auto& x) {
    const std::string path = x.dir.valid() ? x.path.substr(x.path.find('/', 1) + 1) : x.path;
    r.flags = path.find('/') == std::string::npos ? program::path_near : 0;
    r.r[0] = reg(x.dir.valid() ? x.dir : x.base);
    r.s[0] = text(path);
  };
  std::visit(
      Overloaded{
          [](const auto& x) {
            static_assert(std::decay_t<decltype(x)>::actor != op::Actor::child,
                          "every op of the child needs an encoding");
          },
          [&](const op::ArmDeathSignal& x) {
            Rec& r = add(Code::arm_death_signal, index);
            r.n[0] = static_cast<std::uint64_t>(x.signal.value);
            r.n[1] = x.dumpable ? 1 : 0;
          },
          [&](const op::EnterCgroup& x) { add(Code::enter_cgroup, index).r[0] = reg(x.tasks); },
          [&](const op::Unshare& x) { add(Code::unshare, index).n[0] = clone_bits(x.namespaces); },
          [&](const op::JoinNamespace& x) {
            Rec& r = add(Code::join_namespace, index);
            r.r[0] = reg(x.ns);
            r.n[0] = clone_bits(x.kind);
          },
          [&](const op::EnterRoot& x) { add(Code::enter_root, index).r[0] = reg(x.root); },
          [&](const op::OpenInside& x) {
            Rec& r = add(Code::open_inside, index);
            r.r[0] = reg(x.to);
            r.r[1] = reg(x.base);
            r.s[0] = text(x.path);
            r.n[0] = x.devpts ? kernel::devpts_magic : 0;
          },
          [&](const op::RemoveEntry& x) {
            Rec& r = add(Code::remove_entry, index);
            r.r[0] = reg(x.base);
            r.s[0] = text(x.path);
            r.n[0] = x.mounted ? 1 : 0;
            r.n[1] = x.node ? 1 : 0;
          },
          [&](const op::OpenSockets& x) {
            Rec& r = add(Code::open_sockets, index);
            r.n[0] = static_cast<std::uint64_t>(x.domain);
            r.n[1] = static_cast<std::uint64_t>(x.type);
            r.n[2] = static_cast<std::uint64_t>(x.protocol);
            r.n[3] = x.count;
          },
          [&](const op::End&) { add(Code::end, index); },
          [&](const op::SetTimeOffsets& x) {
            const auto line = [](std::string_view clock, std::chrono::nanoseconds t) {
              auto seconds = std::chrono::floor<std::chrono::seconds>(t);
              return formatted("{} {} {}\n", clock, seconds.count(), (t - seconds).count());
            };
            Rec& r = add(Code::set_time_offsets, index);
            r.r[0] = reg(x.proc);
            r.n[0] = x.dumpable ? 1 : 0;
            r.s[0] =
                text(line("monotonic", x.offsets.monotonic) + line("boottime", x.offsets.boottime));
          },
          [&](const op::Sync& x) {
            std::vector<std::int16_t> regs;
            for (const auto slot : x.receives) regs.push_back(reg(slot));
            Rec& r = add(Code::sync, index);
            r.s[0] = bytes(regs.data(), regs.size() * sizeof(std::int16_t), 2);
            const bool configure = x.ask == op::Sync::configure;
            using K = program::SyncKind;
            r.n[0] = static_cast<std::uint64_t>(configure ? K::configure : K::cgroup);
            r.n[1] = static_cast<std::uint64_t>(configure ? K::post_configure : K::post_cgroup);
          },
          [&](const op::BecomeRoot& x) {
            Rec& r = add(Code::become_root, index);
            r.n[0] = x.uid.value;
            r.n[1] = x.gid.value;
            r.n[2] = !x.set_groups ? 0 : x.groups_may_stay ? 2 : 1;
          },
          [&](const op::ContainPropagation& x) {
            add(Code::contain_propagation, index).n[0] =
                propagation_bits(x.slave ? Propagation::slave : Propagation::private_);
          },
          [&](const op::MountOp& x) {
            Rec& r = add(Code::mount, index);
            r.flags = static_cast<std::uint16_t>(
                (x.source == op::MountOp::tree   ? program::mount_tree
                 : x.source == op::MountOp::slot ? program::mount_slot
                                                 : program::mount_fs) |
                (x.recursive ? program::mount_recursive : 0) |
                (x.recursive_flags ? program::mount_recursive_flags : 0) |
                (x.place == op::MountOp::at_target ? program::mount_at_target : 0) |
                (x.place == op::MountOp::on_root ? program::mount_on_root : 0) |
                (x.create ? program::mount_create : 0) |
                (x.follow_links ? program::mount_follow : 0) |
                (x.optional ? program::mount_optional : 0) |
                (x.inside ? program::mount_inside : 0) | (x.dir.valid() ? program::mount_near : 0));
            r.r[0] = reg(x.dir.valid() ? x.dir : x.base);
            r.r[1] = reg(x.from);
            r.r[2] = reg(x.to);
            r.s[0] = text(x.what);
            r.s[1] = text(x.dir.valid() ? last_name(x.target) : x.target);
            r.s[2] = strings(x.options);
            r.s[3] = text(x.fs_source);
            r.n[0] = mount_attr(x.flags);
            r.n[1] = propagation_bits(x.propagation);
            r.n[2] = static_cast<std::uint64_t>(static_cast<std::int64_t>(x.cwd.number));
            r.n[3] = x.options.size();
          },
          [&](const op::MakeEntry& x) {
            Rec& r = add(x.kind == op::MakeEntry::directory ? Code::make_directory
                         : x.kind == op::MakeEntry::link    ? Code::make_link
                                                            : Code::make_file,
                         index);
            r.r[0] = reg(x.base);
            r.s[0] = text(x.path);
            r.s[1] = text(x.content);
            r.n[0] = x.mode.value;
          },
          [&](const op::MakeNode& x) {
            Rec& r = add(Code::make_node, index);
            r.r[0] = reg(x.base);
            r.s[0] = text(x.node.name);
            r.s[1] = text(x.host_path);
            r.n[0] = x.node.mode.value | (x.node.kind == DeviceNode::block ? 0060000U : 0020000U);
            r.n[1] = device_number(x.node.major, x.node.minor);
            r.n[2] = pair(x.node.uid.value, x.node.gid.value);
            r.n[3] = x.bind ? 1 : 0;
          },
          [&](const op::OpenPty& x) {
            Rec& r = add(Code::open_pty, index);
            r.r[0] = reg(x.devpts);
            r.r[1] = reg(x.dev);
            r.r[2] = reg(x.slave);
            r.s[0] = text(x.path);
            r.s[1] = text(x.link_from);
            r.n[0] = pair(x.uid.value, x.gid.value);
            r.n[1] = x.rows | (static_cast<std::uint64_t>(x.columns) << 16U);
            r.n[2] = x.console ? 1 : 0;
            if (x.number >= 0) r.s[2] = text(formatted("{}", x.number));
          },
          [&](const op::SendPtys& x) {
            Rec& r = add(Code::send_ptys, index);
            r.r[0] = reg(x.devpts);
            r.n[0] = x.count;
          },
          [&](const op::MaskPath& x) {
            Rec& r = add(Code::mask_path, index);
            hidden(r, x);
            r.r[1] = reg(x.null);
          },
          [&](const op::ProtectPath& x) { hidden(add(Code::protect_path, index), x); },
          [&](const op::SetMountFlags& x) {
            Rec& r = add(Code::set_mount_flags, index);
            r.r[0] = reg(x.mount);
            r.n[0] = mount_attr(x.flags);
            r.n[1] = propagation_bits(x.propagation);
            r.n[2] = x.recursive ? 1 : 0;
          },
          [&](const op::PivotRoot& x) { add(Code::pivot_root, index).r[0] = reg(x.root); },
          [&](const op::SetHostname& x) {
            Rec& r = add(x.domain ? Code::set_domainname : Code::set_hostname, index);
            r.s[0] = text(x.name);
          },
          [&](const op::RaiseLoopback&) { add(Code::raise_loopback, index); },
          [&](const op::ConfigureInterface& x) {
            std::string messages;
            std::vector<std::uint32_t> places;
            for (const InterfaceRequest& r : setup_requests(x.interface)) {
              places.push_back(static_cast<std::uint32_t>(messages.size() + r.index_at));
              messages += r.bytes;  // each is a multiple of NLMSG_ALIGNTO long
            }
            Rec& r = add(Code::configure_interface, index);
            r.s[0] = text(x.interface.name);
            r.s[1] = bytes(messages.data(), messages.size(), 4);
            r.s[2] = bytes(places.data(), places.size() * sizeof places[0], 4);
            r.r[0] = reg(x.proc);
            if (x.proc.valid())
              r.s[3] = text(formatted("sys/net/ipv6/conf/{}/disable_ipv6", x.interface.name));
          },
          [&](const op::AwaitInterface& x) {
            std::string addresses;
            for (const IpAddress& a : x.addresses)
              addresses.append(reinterpret_cast<const char*>(a.bytes().data()), a.size());
            Rec& r = add(Code::await_interface, index);
            r.s[0] = text(x.name);
            r.s[1] = bytes(addresses.data(), addresses.size(), 1);
            const std::string room(program::netlink_room, '\0');
            r.s[2] = bytes(room.data(), room.size(), 8);
            r.n[0] = x.carrier ? 1 : 0;
            r.n[1] = x.link_local ? 1 : 0;
            r.n[2] = static_cast<std::uint64_t>(x.limit.count());
          },
          [&](const op::WriteSetting& x) {
            Rec& r = add(Code::write_setting, index);
            r.r[0] = reg(x.proc);
            r.s[0] = text(x.path);
            r.s[1] = text(x.value);
            r.n[0] = x.dumpable ? 1 : 0;
          },
          [&](const op::SetRlimit& x) {
            Rec& r = add(Code::set_rlimit, index);
            r.n[0] = static_cast<std::uint64_t>(x.limit.resource);
            r.n[1] = x.limit.soft;
            r.n[2] = x.limit.hard;
          },
          [&](const op::SetScheduling& x) {
            std::vector<std::uint64_t> mask;
            for (const unsigned cpu : x.scheduling.cpus) {
              if (mask.size() <= cpu / 64) mask.resize(cpu / 64 + 1);
              mask[cpu / 64] |= std::uint64_t{1} << (cpu % 64);
            }
            Rec& r = add(Code::set_scheduling, index);
            r.s[0] = bytes(mask.data(), mask.size() * sizeof mask[0], 8);
            r.n[0] = static_cast<std::uint64_t>(x.scheduling.policy);
            r.n[1] = static_cast<std::uint64_t>(x.scheduling.priority);
            r.n[2] = x.scheduling.nice ? static_cast<std::uint64_t>(*x.scheduling.nice + 100) : 0;
            r.n[3] = static_cast<std::uint64_t>(x.cores_of.value);
            r.flags = x.scheduling.core ? program::share_no_core : 0;
          },
          [&](const op::SetPersonality& x) {
            add(Code::set_personality, index).n[0] = x.personality == Personality::linux32 ? 8 : 0;
          },
          [&](const op::SetUmask& x) { add(Code::set_umask, index).n[0] = x.umask.value; },
          [&](const op::JoinKeyring&) { add(Code::join_keyring, index); },
          [&](const op::NewSession& x) { add(Code::new_session, index).r[0] = reg(x.terminal); },
          [&](const op::PlaceDescriptors& x) {
            std::vector<program::Placement> list;
            for (const auto& e : x.entries)
              list.push_back({reg(e.from), static_cast<std::int16_t>(e.number)});
            Rec& r = add(Code::place_descriptors, index);
            r.s[0] = bytes(list.data(), list.size() * sizeof list[0], 4);
            r.r[0] = reg(x.keep);
          },
          [&](const op::ChangeDirectory& x) {
            Rec& r = add(Code::change_directory, index);
            r.s[0] = text(x.path);
            r.n[0] = x.create ? 1 : 0;
          },
          [&](const op::SetCredentials& x) {
            std::vector<std::uint32_t> groups;
            for (const Gid g : x.groups) groups.push_back(g.value);
            Rec& r = add(Code::set_credentials, index);
            r.flags =
                static_cast<std::uint16_t>((x.set_groups ? program::cred_set_groups : 0) |
                                           (x.groups_may_stay ? program::cred_groups_may_stay : 0));
            r.s[0] = bytes(groups.data(), groups.size() * sizeof groups[0], 4);
            r.n[0] = pair(x.uid.value, x.gid.value);
            const program::CapabilityMasks masks{x.bounding.bits(), x.permitted.bits(),
                                                 x.effective.bits(), x.inheritable.bits(),
                                                 x.ambient.bits()};
            r.s[1] = bytes(&masks, sizeof masks, 8);
            r.n[1] = x.securebits.bits();
            r.n[2] = x.last_capability;
            r.n[3] = static_cast<std::uint64_t>(x.death_signal.value);
          },
          [&](const op::NoNewPrivs&) { add(Code::no_new_privs, index); },
          [&](const op::LoadSeccomp& x) {
            Rec& r = add(Code::load_seccomp, index);
            r.s[0] = bytes(x.program.data(), x.program.size() * sizeof x.program[0], 8);
            r.n[0] = (x.log ? kernel::seccomp_filter_flag_log : 0) |
                     (x.listener ? kernel::seccomp_filter_flag_new_listener : 0);
            r.n[1] = x.before_exec ? 1 : 0;
            r.n[2] = !x.listener ? 0 : x.by_sendmmsg ? 2 : 1;
          },
          [&](const op::ApplyLandlock& x) {
            std::vector<std::string> paths;
            std::vector<std::uint64_t> rights, ports;
            for (const LandlockRule& rule : x.landlock.rules) {
              paths.push_back(rule.path.str());
              rights.push_back((rule.access & x.landlock.handled).bits() |
                               (rule.follow_links ? program::landlock_follow : 0) |
                               (rule.optional ? program::landlock_optional : 0));
            }
            const auto permit = [&](LandlockTcp use, const std::vector<std::uint16_t>& list) {
              for (const std::uint16_t port : list)
                ports.push_back(port | static_cast<std::uint64_t>(use) << 16U);
            };
            permit(LandlockTcp::bind, x.landlock.bind);
            permit(LandlockTcp::connect, x.landlock.connect);
            Rec& r = add(Code::apply_landlock, index);
            r.s[0] = strings(paths);
            r.s[1] = bytes(rights.data(), rights.size() * sizeof rights[0], 8);
            r.s[2] = bytes(ports.data(), ports.size() * sizeof ports[0], 8);
            r.n[0] = x.landlock.handled.bits();
            r.n[1] = x.landlock.tcp.bits();
            r.n[2] = x.landlock.scope.bits();
            r.n[3] = paths.size();
          },
          [&](const op::SetLabel& x) {
            Rec& r = add(Code::set_label, index);
            r.r[0] = reg(x.proc);
            r.s[0] = text(x.keyring    ? "self/attr/keycreate"
                          : x.apparmor ? "self/attr/apparmor/exec"
                                       : "self/attr/exec");
            r.s[1] = text(x.apparmor ? "exec " + x.label : x.label);
            r.s[2] = text(x.label);
          },
          [&](const op::RunHookInside& x) {
            std::vector<std::string> argv = {x.hook.program};
            argv.insert(argv.end(), x.hook.argv.begin(), x.hook.argv.end());
            Rec& r = add(Code::run_hook, index);
            r.flags = x.filtered ? program::hook_filtered : 0;
            r.r[0] = reg(x.output);
            r.s[0] = strings(argv);
            r.s[1] = strings(x.hook.env);
            r.s[2] = bytes(x.hook.input.data(), x.hook.input.size(), 1);
            r.s[3] = bytes(nullptr, (argv.size() + x.hook.env.size() + 2) * sizeof(char*), 8);
            r.n[0] = argv.size();
            r.n[1] = x.hook.env.size();
            r.n[2] = static_cast<std::uint64_t>(x.hook.timeout.count());
            r.n[3] = x.place;
          },
          [&](const op::Park&) { add(Code::park, index); },
          [&](const op::StartInit&) { add(Code::start_init, index); },
          [&](const op::Exec& x) {
            Rec& r = add(Code::exec, index);
            r.s[0] = strings(x.paths);
            r.s[1] = strings(x.argv);
            r.s[2] = strings(x.env);
            r.s[3] = bytes(nullptr, (x.argv.size() + x.env.size() + 2) * sizeof(char*), 8);
            r.n[0] = x.argv.size();
            r.n[1] = x.env.size();
            r.n[2] = x.paths.size();
          },
      },
      o);
}

Result<Program> Encoder::finish(std::uint32_t stop_before) const {
  const std::size_t blob_at = sizeof(program::Header) + recs_.size() * sizeof(Rec);
  const std::size_t total = blob_at + blob_.size();
  if (total > program::max_program)
    return fail(
        Errc::bad_spec, Step::compile,
        formatted("the program of this container has {} bytes", total),
        formatted("arguments, environment and mounts may take {} together", program::max_program));
  if (slots_.size() > program::max_passed)
    return fail(Errc::bad_spec, Step::compile, formatted("{} descriptors", slots_.size()),
                formatted("at most {} go with one launch", program::max_passed));
  Program out;
  out.size = total;
  out.words.assign((total + 7) / 8, 0);
  program::Header& h = out.header();
  h.magic = program::magic;
  h.total = static_cast<std::uint32_t>(total);
  h.count = static_cast<std::uint32_t>(recs_.size());
  h.blob = static_cast<std::uint32_t>(blob_at);
  h.blob_size = static_cast<std::uint32_t>(blob_.size());
  h.stop_before = stop_before;
  h.passed = static_cast<std::uint32_t>(slots_.size());
  for (auto& s : h.slots) s = -1;
  for (std::size_t i = 0; i < slots_.size(); ++i) h.slots[i] = slots_[i];
  auto* bytes = reinterpret_cast<char*>(out.words.data());
  std::memcpy(bytes + sizeof h, recs_.data(), recs_.size() * sizeof(Rec));
  std::memcpy(bytes + blob_at, blob_.data(), blob_.size());
  return out;
}

}  // namespace condroid::inline v0::detail
