// ContainerBuilder: says what to launch, one call per wish. It only ever fills in a Spec; nothing
// happens before launch().
//
//   auto box = ContainerBuilder{"hello"}
//                  .root("/srv/alpine"_host)
//                  .tmpfs({.target = "/tmp"_guest, .size = 64_MiB})
//                  .exec({"/bin/sh", "-c", "echo hello"})
//                  .launch(runtime);
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/spec.hpp"

namespace condroid {
inline namespace v0 {

class Container;
class Runtime;

/// A value: copy it to make variants. Every call exists for a named builder and for a chain of
/// temporaries. What a call means, its units and its ranges are those of the Spec's member that it
/// sets; compile() checks them, not this class.
class ContainerBuilder {
 public:
  explicit ContainerBuilder(std::string name) { spec_.name = std::move(name); }
  /// Starts from a Spec, for example one of parse_spec.
  explicit ContainerBuilder(Spec spec) : spec_(std::move(spec)) {}

  [[nodiscard]] const Spec& spec() const& noexcept { return spec_; }
  [[nodiscard]] Spec spec() && noexcept { return std::move(spec_); }

  /// Launches it and waits until the command was executed; the same as Runtime::launch(spec()).
  /// Needs runtime.hpp.
  [[nodiscard]] Result<Container> launch(const Runtime& runtime) const;

  // ---- root and mounts ----

  /// A directory. Without this call: the host's own "/", read-only or ephemeral, with an empty /run
  /// and /tmp.
  ContainerBuilder& root(HostPath path) & {
    spec_.root.path = std::move(path);
    return *this;
  }
  ContainerBuilder&& root(HostPath path) && { return std::move(root(std::move(path))); }
  ContainerBuilder& root(Root wanted) & {
    spec_.root = std::move(wanted);
    return *this;
  }
  ContainerBuilder&& root(Root wanted) && { return std::move(root(std::move(wanted))); }
  /// A file system in a file or on a block device, by what is in it. Needs root.
  ContainerBuilder& root_image(HostPath path) & {
    spec_.root.image.path = std::move(path);
    return *this;
  }
  ContainerBuilder&& root_image(HostPath path) && { return std::move(root_image(std::move(path))); }
  ContainerBuilder& read_only(bool on = true) & {
    spec_.root.read_only = on;
    return *this;
  }
  ContainerBuilder&& read_only(bool on = true) && { return std::move(read_only(on)); }
  /// Changes go to a tmpfs of this size that ends with the container; 0: the kernel's default.
  ContainerBuilder& ephemeral(Bytes size = {}) & {
    spec_.root.ephemeral = true;
    spec_.root.size = size;
    return *this;
  }
  ContainerBuilder&& ephemeral(Bytes size = {}) && { return std::move(ephemeral(size)); }
  /// Changes go to `upper` and are kept.
  ContainerBuilder& ephemeral(HostPath upper, HostPath work) & {
    spec_.root.ephemeral = true;
    spec_.root.upper = std::move(upper);
    spec_.root.work = std::move(work);
    return *this;
  }
  ContainerBuilder&& ephemeral(HostPath upper, HostPath work) && {
    return std::move(ephemeral(std::move(upper), std::move(work)));
  }
  ContainerBuilder& bind(Bind wanted) & {
    spec_.mounts.emplace_back(std::move(wanted));
    return *this;
  }
  ContainerBuilder&& bind(Bind wanted) && { return std::move(bind(std::move(wanted))); }
  /// Read-only, without set-id programs and devices.
  ContainerBuilder& bind(HostPath source, GuestPath target) & {
    return bind(Bind{.source = std::move(source), .target = std::move(target)});
  }
  ContainerBuilder&& bind(HostPath source, GuestPath target) && {
    return std::move(bind(std::move(source), std::move(target)));
  }
  ContainerBuilder& tmpfs(Tmpfs wanted) & {
    spec_.mounts.emplace_back(std::move(wanted));
    return *this;
  }
  ContainerBuilder&& tmpfs(Tmpfs wanted) && { return std::move(tmpfs(std::move(wanted))); }
  ContainerBuilder& mount(Mount wanted) & {
    spec_.mounts.push_back(std::move(wanted));
    return *this;
  }
  ContainerBuilder&& mount(Mount wanted) && { return std::move(mount(std::move(wanted))); }
  ContainerBuilder& default_mounts(bool on) & {
    spec_.default_mounts = on;
    return *this;
  }
  ContainerBuilder&& default_mounts(bool on) && { return std::move(default_mounts(on)); }
  ContainerBuilder& devices(Devices wanted) & {
    spec_.devices = std::move(wanted);
    return *this;
  }
  ContainerBuilder&& devices(Devices wanted) && { return std::move(devices(std::move(wanted))); }
  /// One more node in /dev; needs Allow::devices.
  ContainerBuilder& device(DeviceNode node) & {
    spec_.devices.nodes.push_back(std::move(node));
    return *this;
  }
  ContainerBuilder&& device(DeviceNode node) && { return std::move(device(std::move(node))); }

  /// A device that it may open, by number; device_filter says more.
  ContainerBuilder& permit_device(DevicePermission device) & {
    spec_.devices.permitted.push_back(device);
    return *this;
  }
  ContainerBuilder&& permit_device(DevicePermission device) && {
    return std::move(permit_device(device));
  }
  ContainerBuilder& device_filter(DeviceFilter filter) & {
    spec_.devices.filter = filter;
    return *this;
  }
  ContainerBuilder&& device_filter(DeviceFilter filter) && {
    return std::move(device_filter(filter));
  }

  // ---- command ----

  /// Program and arguments.
  ContainerBuilder& exec(std::vector<std::string> argv) & {
    spec_.process.argv = std::move(argv);
    return *this;
  }
  ContainerBuilder&& exec(std::vector<std::string> argv) && {
    return std::move(exec(std::move(argv)));
  }
  /// One variable. Nothing of the host's environment is passed on.
  ContainerBuilder& env(std::string_view name, std::string_view value) & {
    std::string entry(name);
    entry += '=';
    entry += value;
    spec_.process.env.push_back(std::move(entry));
    return *this;
  }
  ContainerBuilder&& env(std::string_view name, std::string_view value) && {
    return std::move(env(name, value));
  }
  /// "NAME=value" each; instead of what was there.
  ContainerBuilder& env(std::vector<std::string> all) & {
    spec_.process.env = std::move(all);
    return *this;
  }
  ContainerBuilder&& env(std::vector<std::string> all) && { return std::move(env(std::move(all))); }
  ContainerBuilder& cwd(GuestPath path) & {
    spec_.process.cwd = std::move(path);
    return *this;
  }
  ContainerBuilder&& cwd(GuestPath path) && { return std::move(cwd(std::move(path))); }
  ContainerBuilder& create_cwd(bool on = true) & {
    spec_.process.create_cwd = on;
    return *this;
  }
  ContainerBuilder&& create_cwd(bool on = true) && { return std::move(create_cwd(on)); }
  /// In the container's numbering.
  ContainerBuilder& user(Uid uid, Gid gid) & {
    spec_.process.uid = uid;
    spec_.process.gid = gid;
    return *this;
  }
  ContainerBuilder&& user(Uid uid, Gid gid) && { return std::move(user(uid, gid)); }
  /// Supplementary groups.
  ContainerBuilder& groups(std::vector<Gid> wanted) & {
    spec_.process.groups = std::move(wanted);
    return *this;
  }
  ContainerBuilder&& groups(std::vector<Gid> wanted) && {
    return std::move(groups(std::move(wanted)));
  }
  /// A small init is pid 1 and the command is pid 2.
  ContainerBuilder& init(bool on = true) & {
    spec_.process.init = on;
    return *this;
  }
  ContainerBuilder&& init(bool on = true) && { return std::move(init(on)); }
  ContainerBuilder& umask(Mode mask) & {
    spec_.process.umask = mask;
    return *this;
  }
  ContainerBuilder&& umask(Mode mask) && { return std::move(umask(mask)); }
  ContainerBuilder& rlimit(Rlimit resource, std::uint64_t soft, std::uint64_t hard) & {
    spec_.process.rlimits.push_back({.resource = resource, .soft = soft, .hard = hard});
    return *this;
  }
  ContainerBuilder&& rlimit(Rlimit resource, std::uint64_t soft, std::uint64_t hard) && {
    return std::move(rlimit(resource, soft, hard));
  }
  ContainerBuilder& rlimit(Rlimit resource, std::uint64_t both) & {
    return rlimit(resource, both, both);
  }
  ContainerBuilder&& rlimit(Rlimit resource, std::uint64_t both) && {
    return std::move(rlimit(resource, both));
  }
  ContainerBuilder& oom_score_adj(int score) & {
    spec_.process.oom_score_adj = score;
    return *this;
  }
  ContainerBuilder&& oom_score_adj(int score) && { return std::move(oom_score_adj(score)); }
  /// A file of its directory in /proc: proc_file("coredump_filter", "0x33").
  ContainerBuilder& proc_file(std::string name, std::string value) & {
    spec_.process.proc_files.push_back({.name = std::move(name), .value = std::move(value)});
    return *this;
  }
  ContainerBuilder&& proc_file(std::string name, std::string value) && {
    return std::move(proc_file(std::move(name), std::move(value)));
  }
  ContainerBuilder& scheduling(Scheduling wanted) & {
    spec_.process.scheduling = std::move(wanted);
    return *this;
  }
  ContainerBuilder&& scheduling(Scheduling wanted) && {
    return std::move(scheduling(std::move(wanted)));
  }
  ContainerBuilder& personality(Personality wanted) & {
    spec_.process.personality = wanted;
    return *this;
  }
  ContainerBuilder&& personality(Personality wanted) && { return std::move(personality(wanted)); }
  ContainerBuilder& death_signal(Signal signal) & {
    spec_.process.death_signal = signal;
    return *this;
  }
  ContainerBuilder&& death_signal(Signal signal) && { return std::move(death_signal(signal)); }
  /// How it is asked to end, whether it can be frozen, and when it is launched again.
  ContainerBuilder& lifecycle(Lifecycle wanted) & {
    spec_.lifecycle = wanted;
    return *this;
  }
  ContainerBuilder&& lifecycle(Lifecycle wanted) && { return std::move(lifecycle(wanted)); }
  /// One more program of the caller's, to be run at a point of the container's life.
  ContainerBuilder& hook(Hook wanted) & {
    spec_.hooks.run.push_back(std::move(wanted));
    return *this;
  }
  ContainerBuilder&& hook(Hook wanted) && { return std::move(hook(std::move(wanted))); }
  ContainerBuilder& new_session(bool on) & {
    spec_.process.new_session = on;
    return *this;
  }
  ContainerBuilder&& new_session(bool on) && { return std::move(new_session(on)); }

  // ---- streams and terminals ----

  /// Stdio::pty and so on for all three alike, or one Stream each.
  ContainerBuilder& stdio(Stdio wanted) & {
    spec_.process.stdio = wanted;
    return *this;
  }
  ContainerBuilder&& stdio(Stdio wanted) && { return std::move(stdio(wanted)); }
  ContainerBuilder& capture_limit(Bytes each) & {
    spec_.process.capture_limit = each;
    return *this;
  }
  ContainerBuilder&& capture_limit(Bytes each) && { return std::move(capture_limit(each)); }
  /// The command finds the host's descriptor open under `number`.
  ContainerBuilder& pass_fd(HostFd host, int number) & {
    spec_.process.descriptors.push_back({.host = host, .number = number});
    return *this;
  }
  ContainerBuilder&& pass_fd(HostFd host, int number) && {
    return std::move(pass_fd(host, number));
  }
  ContainerBuilder& console(bool on = true) & {
    spec_.terminal.console = on;
    return *this;
  }
  ContainerBuilder&& console(bool on = true) && { return std::move(console(on)); }
  ContainerBuilder& console_log(HostPath file) & {
    spec_.terminal.log = std::move(file);
    return *this;
  }
  ContainerBuilder&& console_log(HostPath file) && {
    return std::move(console_log(std::move(file)));
  }
  /// /dev/tty1 and so on, or /dev/DIR/tty1 with links to them.
  ContainerBuilder& ttys(unsigned count, std::string dir = {}) & {
    spec_.terminal.ttys = count;
    spec_.terminal.tty_dir = std::move(dir);
    return *this;
  }
  ContainerBuilder&& ttys(unsigned count, std::string dir = {}) && {
    return std::move(ttys(count, std::move(dir)));
  }
  ContainerBuilder& terminal(Terminal wanted) & {
    spec_.terminal = std::move(wanted);
    return *this;
  }
  ContainerBuilder&& terminal(Terminal wanted) && { return std::move(terminal(std::move(wanted))); }

  // ---- namespaces and ids ----

  /// Exactly these are new; the others are the host's.
  ContainerBuilder& namespaces(Flags<Namespace> fresh) & {
    spec_.namespaces = fresh;
    return *this;
  }
  ContainerBuilder&& namespaces(Flags<Namespace> fresh) && { return std::move(namespaces(fresh)); }
  /// The host's own; needs an Allow.
  ContainerBuilder& share(Namespace kind) & {
    spec_.namespaces -= kind;
    return *this;
  }
  ContainerBuilder&& share(Namespace kind) && { return std::move(share(kind)); }
  /// An existing one: of a process, of a file, or a descriptor.
  ContainerBuilder& join(Namespace kind, std::variant<Pid, HostPath, HostFd> from) & {
    spec_.namespaces -= kind;
    spec_.join.push_back({.kind = kind, .from = std::move(from)});
    return *this;
  }
  ContainerBuilder&& join(Namespace kind, std::variant<Pid, HostPath, HostFd> from) && {
    return std::move(join(kind, std::move(from)));
  }
  /// Insists on a user namespace of its own, or on none.
  ContainerBuilder& userns(bool on = true) & {
    if (on)
      spec_.namespaces |= Namespace::user;
    else
      spec_.idmap = {.kind = IdMap::none};
    return *this;
  }
  ContainerBuilder&& userns(bool on = true) && { return std::move(userns(on)); }
  ContainerBuilder& idmap(IdMap map) & {
    spec_.idmap = std::move(map);
    return *this;
  }
  ContainerBuilder&& idmap(IdMap map) && { return std::move(idmap(std::move(map))); }
  ContainerBuilder& idmap(IdMap::Kind kind) & {
    spec_.idmap.kind = kind;
    return *this;
  }
  ContainerBuilder&& idmap(IdMap::Kind kind) && { return std::move(idmap(kind)); }
  /// With a time namespace of its own.
  ContainerBuilder& time_offsets(TimeOffsets offsets) & {
    spec_.namespaces |= Namespace::time;
    spec_.time = offsets;
    return *this;
  }
  ContainerBuilder&& time_offsets(TimeOffsets offsets) && {
    return std::move(time_offsets(offsets));
  }
  ContainerBuilder& hostname(std::string name) & {
    spec_.hostname = std::move(name);
    return *this;
  }
  ContainerBuilder&& hostname(std::string name) && { return std::move(hostname(std::move(name))); }
  ContainerBuilder& domainname(std::string name) & {
    spec_.domainname = std::move(name);
    return *this;
  }
  ContainerBuilder&& domainname(std::string name) && {
    return std::move(domainname(std::move(name)));
  }
  ContainerBuilder& network(Network wanted) & {
    spec_.network = std::move(wanted);
    return *this;
  }
  ContainerBuilder&& network(Network wanted) && { return std::move(network(std::move(wanted))); }
  /// One more.
  ContainerBuilder& interface(Interface wanted) & {
    spec_.network.interfaces.push_back(std::move(wanted));
    return *this;
  }
  ContainerBuilder&& interface(Interface wanted) && {
    return std::move(interface(std::move(wanted)));
  }
  /// A port of the host that leads into the container.
  ContainerBuilder& publish(PublishedPort port) & {
    spec_.network.publish.push_back(port);
    return *this;
  }
  ContainerBuilder&& publish(PublishedPort port) && { return std::move(publish(port)); }
  /// One more server that names are asked of.
  ContainerBuilder& name_server(IpAddress address) & {
    spec_.network.name_servers.push_back(address);
    return *this;
  }
  ContainerBuilder&& name_server(IpAddress address) && { return std::move(name_server(address)); }

  // ---- limits ----

  ContainerBuilder& cgroup(CgroupMode mode) & {
    spec_.resources.cgroup = mode;
    return *this;
  }
  ContainerBuilder&& cgroup(CgroupMode mode) && { return std::move(cgroup(mode)); }
  ContainerBuilder& memory_max(Limit<Bytes> most) & {
    spec_.resources.memory_max = most;
    return *this;
  }
  ContainerBuilder&& memory_max(Limit<Bytes> most) && { return std::move(memory_max(most)); }
  ContainerBuilder& memory_high(Limit<Bytes> high) & {
    spec_.resources.memory_high = high;
    return *this;
  }
  ContainerBuilder&& memory_high(Limit<Bytes> high) && { return std::move(memory_high(high)); }
  ContainerBuilder& memory_swap_max(Limit<Bytes> most) & {
    spec_.resources.memory_swap_max = most;
    return *this;
  }
  ContainerBuilder&& memory_swap_max(Limit<Bytes> most) && {
    return std::move(memory_swap_max(most));
  }
  ContainerBuilder& pids_max(Limit<std::uint64_t> most) & {
    spec_.resources.pids_max = most;
    return *this;
  }
  ContainerBuilder&& pids_max(Limit<std::uint64_t> most) && { return std::move(pids_max(most)); }
  /// Processor time: 0.5 is half of one.
  ContainerBuilder& cpus(Limit<double> processors) & {
    spec_.resources.cpus = processors;
    return *this;
  }
  ContainerBuilder&& cpus(Limit<double> processors) && { return std::move(cpus(processors)); }
  ContainerBuilder& cpu_weight(std::uint32_t weight) & {
    spec_.resources.cpu_weight = weight;
    return *this;
  }
  ContainerBuilder&& cpu_weight(std::uint32_t weight) && { return std::move(cpu_weight(weight)); }
  ContainerBuilder& cpuset(std::string cpus, std::string mems = {}) & {
    spec_.resources.cpuset_cpus = std::move(cpus);
    spec_.resources.cpuset_mems = std::move(mems);
    return *this;
  }
  ContainerBuilder&& cpuset(std::string cpus, std::string mems = {}) && {
    return std::move(cpuset(std::move(cpus), std::move(mems)));
  }
  ContainerBuilder& io_weight(std::uint32_t weight) & {
    spec_.resources.io_weight = weight;
    return *this;
  }
  ContainerBuilder&& io_weight(std::uint32_t weight) && { return std::move(io_weight(weight)); }
  /// Rates of one more device: io({.device = "/srv"_host, .write_bytes = 10_MiB}).
  ContainerBuilder& io(IoLimit device) & {
    spec_.resources.io.push_back(std::move(device));
    return *this;
  }
  ContainerBuilder&& io(IoLimit device) && { return std::move(io(std::move(device))); }
  /// Huge pages of one more size.
  ContainerBuilder& hugetlb(Bytes page_size, Limit<Bytes> most) & {
    spec_.resources.hugetlb.push_back({.page_size = page_size, .most = most});
    return *this;
  }
  ContainerBuilder&& hugetlb(Bytes page_size, Limit<Bytes> most) && {
    return std::move(hugetlb(page_size, most));
  }
  /// Limits that are left out, and reported, where they cannot be had.
  ContainerBuilder& optional_limits(Flags<ResourceField> fields) & {
    spec_.resources.optional |= fields;
    return *this;
  }
  ContainerBuilder&& optional_limits(Flags<ResourceField> fields) && {
    return std::move(optional_limits(fields));
  }
  /// A value for a file of its cgroup: set("memory.high", "64M").
  ContainerBuilder& set(std::string file, std::string value) & {
    spec_.resources.settings.push_back({.file = std::move(file), .value = std::move(value)});
    return *this;
  }
  ContainerBuilder&& set(std::string file, std::string value) && {
    return std::move(set(std::move(file), std::move(value)));
  }

  // ---- security ----

  /// What opens the container towards the host: search for it in a review.
  ContainerBuilder& allow(Flags<Allow> tokens) & {
    spec_.security.allow |= tokens;
    return *this;
  }
  ContainerBuilder&& allow(Flags<Allow> tokens) && { return std::move(allow(tokens)); }
  ContainerBuilder& capabilities(CapabilitySet all) & {
    spec_.security.capabilities = all;
    return *this;
  }
  ContainerBuilder&& capabilities(CapabilitySet all) && { return std::move(capabilities(all)); }
  ContainerBuilder& cap_add(std::initializer_list<Capability> list) & {
    for (const Capability c : list) spec_.security.capabilities.add(c);
    return *this;
  }
  ContainerBuilder&& cap_add(std::initializer_list<Capability> list) && {
    return std::move(cap_add(list));
  }
  ContainerBuilder& cap_drop(std::initializer_list<Capability> list) & {
    for (const Capability c : list) spec_.security.capabilities.drop(c);
    return *this;
  }
  ContainerBuilder&& cap_drop(std::initializer_list<Capability> list) && {
    return std::move(cap_drop(list));
  }
  /// Of what there is only these: cap_keep({Capability::kill}).
  ContainerBuilder& cap_keep(CapabilitySet those) & {
    spec_.security.capabilities.keep(those);
    return *this;
  }
  ContainerBuilder&& cap_keep(CapabilitySet those) && { return std::move(cap_keep(those)); }
  /// The sets one by one: capability_sets({.inheritable = CapabilitySet{}}).
  ContainerBuilder& capability_sets(CapabilitySets sets) & {
    spec_.security.sets = sets;
    return *this;
  }
  ContainerBuilder&& capability_sets(CapabilitySets sets) && {
    return std::move(capability_sets(sets));
  }
  ContainerBuilder& securebits(Flags<Securebit> bits) & {
    spec_.security.securebits = bits;
    return *this;
  }
  ContainerBuilder&& securebits(Flags<Securebit> bits) && { return std::move(securebits(bits)); }
  ContainerBuilder& ambient(bool on = true) & {
    spec_.security.ambient = on;
    return *this;
  }
  ContainerBuilder&& ambient(bool on = true) && { return std::move(ambient(on)); }
  ContainerBuilder& no_new_privs(bool on) & {
    spec_.security.no_new_privs = on;
    return *this;
  }
  ContainerBuilder&& no_new_privs(bool on) && { return std::move(no_new_privs(on)); }
  /// Which system calls it may make: Seccomp::all_but({"mount"}).
  ContainerBuilder& seccomp(Seccomp filter) & {
    spec_.security.seccomp = std::move(filter);
    return *this;
  }
  ContainerBuilder&& seccomp(Seccomp filter) && { return std::move(seccomp(std::move(filter))); }
  /// Which files and ports it may use, beside what is mounted and who it is.
  ContainerBuilder& landlock(Landlock rules) & {
    spec_.security.landlock = std::move(rules);
    return *this;
  }
  ContainerBuilder&& landlock(Landlock rules) && { return std::move(landlock(std::move(rules))); }
  /// The profile of AppArmor that it is executed under.
  ContainerBuilder& apparmor(std::string profile) & {
    spec_.security.apparmor = std::move(profile);
    return *this;
  }
  ContainerBuilder&& apparmor(std::string profile) && {
    return std::move(apparmor(std::move(profile)));
  }
  /// A profile of AppArmor of its own, as long as the container lives.
  ContainerBuilder& own_apparmor(bool on = true) & {
    spec_.security.own_apparmor = on;
    return *this;
  }
  ContainerBuilder&& own_apparmor(bool on = true) && { return std::move(own_apparmor(on)); }
  /// The contexts of SELinux that it is executed in, and that its own mounts have.
  ContainerBuilder& selinux(std::string process, std::string mounts = {}) & {
    spec_.security.selinux = std::move(process);
    spec_.security.selinux_mount = std::move(mounts);
    return *this;
  }
  ContainerBuilder&& selinux(std::string process, std::string mounts = {}) && {
    return std::move(selinux(std::move(process), std::move(mounts)));
  }
  ContainerBuilder& own_keyring(bool on) & {
    spec_.security.own_keyring = on;
    return *this;
  }
  ContainerBuilder&& own_keyring(bool on) && { return std::move(own_keyring(on)); }
  /// One more kernel file that is hidden.
  ContainerBuilder& mask(GuestPath path) & {
    spec_.security.masked_paths.push_back(std::move(path));
    return *this;
  }
  ContainerBuilder&& mask(GuestPath path) && { return std::move(mask(std::move(path))); }
  /// One more kernel file that cannot be written.
  ContainerBuilder& protect(GuestPath path) & {
    spec_.security.read_only_paths.push_back(std::move(path));
    return *this;
  }
  ContainerBuilder&& protect(GuestPath path) && { return std::move(protect(std::move(path))); }
  ContainerBuilder& sysctl(std::string name, std::string value) & {
    spec_.security.sysctls.push_back({.name = std::move(name), .value = std::move(value)});
    return *this;
  }
  ContainerBuilder&& sysctl(std::string name, std::string value) && {
    return std::move(sysctl(std::move(name), std::move(value)));
  }

 private:
  Spec spec_;
};

}  // namespace v0
}  // namespace condroid
