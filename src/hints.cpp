// What a reader might try, by step and errno. One table; the first row that fits is taken.
#include <array>
#include <cerrno>

#include "condroid/error.hpp"

namespace condroid {
inline namespace v0 {

namespace {

struct Row {
  Step step;  // Step::none: any
  int errnum;
  std::string_view hint;
};

constexpr auto table = std::to_array<Row>({
    {Step::exec, ENOENT,
     "is the command, or the interpreter or loader it names, in the container's root?"},
    {Step::exec, EACCES,
     "is it executable, for this user, on a mount without noexec, and do Landlock's rules or its "
     "profile permit it, and its loader?"},
    {Step::exec, E2BIG, "arguments and environment together may take a quarter of RLIMIT_STACK"},
    {Step::exec, ENOEXEC, "neither a program for this machine nor a script that begins with #!"},
    {Step::clone, EPERM, "root is needed, or a user namespace: IdMap, --userns"},
    {Step::clone, ENOSPC, "a limit of /proc/sys/user/max_*_namespaces is reached"},
    {Step::clone, EUSERS, "user namespaces are nested 32 deep at most"},
    {Step::clone, EAGAIN,
     "a limit on processes is reached: pids.max, RLIMIT_NPROC, kernel.pid_max"},
    {Step::clone, EBUSY,
     "a v2 cgroup that gives controllers to its children takes no process itself"},
    {Step::unshare, EPERM, "root is needed, or a user namespace: IdMap, --userns"},
    {Step::unshare, ENOSPC, "a limit of /proc/sys/user/max_*_namespaces is reached"},
    {Step::enter_cgroup, EBUSY,
     "a v2 cgroup that gives controllers to others takes no process itself; AttachCgroup::own "
     "leaves it out"},
    {Step::remove_entry, EINVAL, "nothing is mounted there"},
    {Step::remove_entry, ENOENT, "there is nothing of that name in the container"},
    {Step::move_interface, ENODEV, "there is no interface of that name there; see ip link"},
    {Step::move_interface, EEXIST, "there is one of that name already: give it another one"},
    {Step::move_interface, EPERM, "CAP_NET_ADMIN is needed in both network namespaces"},
    {Step::move_interface, EINVAL,
     "some interfaces belong to their namespace: lo, a bridge with a local part"},
    {Step::move_interface, EOPNOTSUPP, "this build of condroid has no libnl: -Dnetwork=enabled"},
    {Step::create_interface, ENODEV, "there is no interface of that name on the host; see ip link"},
    {Step::create_interface, EEXIST,
     "an interface of that name is there: use another name, or none for a random one"},
    {Step::create_interface, EPERM, "CAP_NET_ADMIN is needed where the host's interfaces are"},
    {Step::create_interface, EOPNOTSUPP, "this kernel does not have that kind of interface"},
    {Step::create_interface, EACCES,
     "an address of the host's end is one of IPv6, and that may be switched off here"},
    {Step::create_interface, EBUSY, "the parent is used in a way that leaves no room for another"},
    {Step::create_interface, ENOENT, "is the kernel module tun loaded, and the device there?"},
    {Step::return_interface, EEXIST, "that name, or an alternative one of it, is taken: rename it"},
    {Step::create_bridge, EEXIST, "an interface of that name is there: use another name"},
    {Step::create_bridge, EPERM, "CAP_NET_ADMIN is needed where the host's interfaces are"},
    {Step::create_bridge, EOPNOTSUPP,
     "the kernel needs bridges, and nf_tables with NAT: modprobe bridge nft_masq nft_nat "
     "nft_fib_inet"},
    {Step::create_bridge, EPROTONOSUPPORT, "this kernel has no nfnetlink: modprobe nfnetlink"},
    {Step::create_bridge, EACCES, "is IPv6 switched off? Leave its subnet out"},
    {Step::create_bridge, EROFS, "/proc/sys is read-only here: switch forwarding on from outside"},
    {Step::lease_address, EADDRNOTAVAIL, "use a larger subnet, or let containers end"},
    {Step::lease_address, EADDRINUSE, "another container has it: use another address, or none"},
    {Step::publish_port, EADDRINUSE, "somebody listens there already; see ss -lntup"},
    {Step::publish_port, EADDRNOTAVAIL, "use an address that this host has"},
    {Step::publish_port, EACCES,
     "ports below net.ipv4.ip_unprivileged_port_start want CAP_NET_BIND_SERVICE"},
    {Step::await_interface, EADDRINUSE,
     "another machine on that network has the address: give it one of its own"},
    {Step::await_interface, ETIMEDOUT, "is there a cable, and long enough a ready_within?"},
    {Step::configure_interface, ENODEV, "the interface went away while the container was made"},
    {Step::configure_interface, EEXIST, "it has that address or route already"},
    {Step::configure_interface, ENETUNREACH, "a router is in the network of one of the addresses"},
    {Step::configure_interface, EACCES, "is IPv6 switched off? net.ipv6.conf.all.disable_ipv6"},
    {Step::join_namespace, ESRCH, "it has ended: look before, or launch it again"},
    {Step::join_namespace, EINVAL, "is that descriptor a namespace of this kind?"},
    {Step::join_namespace, EPERM, "CAP_SYS_ADMIN is needed in the user namespace that owns it"},
    {Step::mount_root, EINVAL,
     "is it a directory? an upper layer and its work directory are on one file system"},
    {Step::mount_root, ENOENT, "does the root directory exist?"},
    {Step::open_descriptor, ENOENT, "is the process still there, and the path right?"},
    {Step::open_descriptor, EBADF, "a descriptor stays open until the launch has started"},
    {Step::open_source, EBADF,
     "the descriptor of a source stays open until the launch has started"},
    {Step::open_source, ENOENT, "does the source exist on the host?"},
    {Step::resolve_target, ELOOP,
     "the target goes through a symbolic link; follow_links follows it inside the root"},
    {Step::resolve_target, ENOENT, "the target is missing and create_target is off"},
    {Step::resolve_target, ENOTDIR, "a part of the target is a file in the container's root"},
    {Step::resolve_target, EACCES,
     "the container's root user may not look there: are the owners mapped (idmapped)?"},
    {Step::make_directory, ENOENT, "below /proc and /sys nothing can be made"},
    {Step::make_directory, EROFS,
     "the root is read-only and the target is missing in it: make it, or use ephemeral"},
    {Step::make_directory, EACCES,
     "the container's root user may not write there: are the owners mapped (idmapped)?"},
    {Step::mount, EPERM,
     "this file system may not be mounted in a user namespace, or /proc and /sys are covered "
     "there"},
    {Step::mount, ENOENT, "does every directory that it names exist on the host?"},
    {Step::mount, EINVAL, "that file system does not know, or does not take, what it is given"},
    {Step::mount, ENOTBLK, "that file system is mounted from a block device"},
    {Step::mount, ENODEV, "this kernel does not have that file system"},
    {Step::attach_mount, EINVAL, "a directory goes onto a directory, a file onto a file"},
    {Step::set_mount_attributes, EINVAL,
     "this file system does not take that attribute (owners shifted: Linux 5.12 and later, "
     "more file systems with each version)"},
    {Step::create_cgroup, EROFS, "cgroups are read-only here: a delegated one is needed"},
    {Step::create_cgroup, EACCES,
     "a cgroup of this user's own is needed: RuntimeOptions::cgroup_parent"},
    {Step::create_cgroup, EPERM,
     "a cgroup of this user's own is needed: RuntimeOptions::cgroup_parent"},
    {Step::create_cgroup, EBUSY,
     "a v2 cgroup with processes of its own cannot give controllers to its children"},
    {Step::filter_devices, EPERM,
     "loading the program takes CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN"},
    {Step::watch, EINVAL,
     "a window is 0.5 to 10 s and not shorter than the stall; without CAP_SYS_RESOURCE a multiple "
     "of 2 s"},
    {Step::watch, EAGAIN, "as many triggers as fs.aio-max-nr allows are there"},
    {Step::open_console, ENOENT, "does the directory of the console's log exist?"},
    {Step::write_cgroup, EINVAL, "that controller does not take such a value"},
    {Step::write_cgroup, ENOENT, "this kernel's controller has no such file"},
    {Step::write_cgroup, ERANGE, "has the machine as many processors and memory nodes?"},
    {Step::write_setting, ENOENT, "this kernel has no such setting, or none for each namespace"},
    {Step::write_setting, EINVAL, "that setting does not take such a value"},
    {Step::write_setting, EACCES,
     "not this user's to change; a lower oom_score_adj needs CAP_SYS_RESOURCE on the host"},
    {Step::set_scheduling, EACCES,
     "a lower nice value needs CAP_SYS_NICE on the host, or RLIMIT_NICE"},
    {Step::set_scheduling, EINVAL,
     "are there such processors, and may the calling program use them?"},
    {Step::set_groups, EPERM,
     "setgroups(2) is denied in this program's user namespace: map a range of groups there "
     "(newgidmap)"},
    {Step::set_rlimit, EPERM, "raising a hard limit needs CAP_SYS_RESOURCE"},
    {Step::write_id_map, EPERM,
     "the ranges must be the caller's own: /etc/subuid and /etc/subgid with newuidmap"},
    {Step::start_scope, ENOENT,
     "is systemd running here, for this user? SystemdScope::preferred does without"},
    {Step::start_scope, ECONNREFUSED,
     "nobody listens there: is systemd running? SystemdScope::preferred does without"},
    {Step::start_scope, EACCES,
     "this user may not: root asks the system's systemd, others their own (systemd --user)"},
    {Step::start_scope, ECONNRESET, "it hung up: does it let this user connect?"},
    {Step::start_scope, EPIPE, "it hung up: does it let this user connect?"},
    {Step::start_zygote, EACCES,
     "may this user execute a memfd (vm.memfd_noexec), or a file in /run?"},
    {Step::open_runtime, EACCES, "give RuntimeOptions::state_dir a directory of this user's own"},
    {Step::change_directory, ENOENT,
     "does the working directory exist in the container? create_cwd makes it"},
    {Step::change_directory, ENOTDIR, "that is a file in the container"},
    {Step::none, EMFILE, "this process has too many descriptors open: raise RLIMIT_NOFILE"},
    {Step::none, ENFILE, "the machine has too many files open"},
    {Step::none, ENOMEM, "no memory, or a cgroup's limit on it"},
    {Step::start_zygote, ENOSYS,
     "a filter of system calls denies it, as in a container without Allow::nesting; or the kernel "
     "is older than Linux 5.15"},
    {Step::apply_landlock, ENOENT, "a rule names what the container has, unless it is optional"},
    {Step::apply_landlock, ELOOP,
     "the path goes through a symbolic link; follow_links follows it inside the root"},
    {Step::apply_landlock, ENOTDIR,
     "it is a file, and all that the rule permits is for directories"},
    {Step::apply_landlock, EPERM, "it takes no_new_privs, or CAP_SYS_ADMIN"},
    {Step::apply_landlock, E2BIG, "restrictions are nested 16 deep at most"},
    {Step::load_profile, EACCES, "the policy is locked, or this program is confined itself"},
    {Step::set_label, ENOENT,
     "is that profile loaded? see /sys/kernel/security/apparmor/profiles, and apparmor_parser(8)"},
    {Step::set_label, EINVAL, "the loaded policy has no such context"},
    {Step::set_label, EACCES, "the label that this program has may not change to that one"},
    {Step::set_label, EPERM, "the label that this program has may not change to that one"},
    {Step::load_seccomp, EINVAL,
     "the kernel takes no such filter, or has none (CONFIG_SECCOMP_FILTER)"},
    {Step::load_seccomp, EACCES,
     "without no_new_privs it takes CAP_SYS_ADMIN in its user namespace"},
    {Step::load_seccomp, EBUSY,
     "this program, or what runs it, is under a filter that has a listener, and the kernel takes "
     "one alone for a process"},
    {Step::answer_syscall, EBADF,
     "its filter has no rule with the action notify, or its listener was taken"},
    {Step::answer_syscall, ENOENT, "the thread was killed meanwhile, or has its answer"},
    {Step::none, ENOSYS,
     "this kernel lacks the system call; Linux 5.15 is the oldest that is supported"},
});

}  // namespace

std::string_view hint_for(Step step, int errnum) noexcept {
  for (const Row& row : table)
    if (row.errnum == errnum && (row.step == step || row.step == Step::none)) return row.hint;
  return {};
}

}  // namespace v0
}  // namespace condroid
