// What a container may not do. Everything is closed by default; what opens it needs an Allow token.
#pragma once

#include <compare>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "condroid/flags.hpp"
#include "condroid/path.hpp"
#include "condroid/spec/landlock.hpp"
#include "condroid/spec/seccomp.hpp"

namespace condroid {
inline namespace v0 {

/// capabilities(7); the values are the kernel's.
enum class Capability : std::uint8_t {
  // clang-format off
  chown, dac_override, dac_read_search, fowner, fsetid, kill, setgid, setuid, setpcap, linux_immutable,
  net_bind_service, net_broadcast, net_admin, net_raw, ipc_lock, ipc_owner, sys_module, sys_rawio, sys_chroot,
  sys_ptrace, sys_pacct, sys_admin, sys_boot, sys_nice, sys_resource, sys_time, sys_tty_config, mknod, lease,
  audit_write, audit_control, setfcap, mac_override, mac_admin, syslog, wake_alarm, block_suspend, audit_read,
  perfmon, bpf, checkpoint_restore,
  // clang-format on
};
inline constexpr unsigned capability_count = 41;

/// A set of capabilities as the kernel's bit mask. Plain value.
class CapabilitySet {
 public:
  constexpr CapabilitySet() noexcept = default;
  constexpr CapabilitySet(std::initializer_list<Capability> list) noexcept {
    for (const Capability c : list) bits_ |= bit(c);
  }
  [[nodiscard]] static constexpr CapabilitySet from_bits(std::uint64_t bits) noexcept {
    CapabilitySet s;
    s.bits_ = bits;
    return s;
  }
  /// Every capability this header knows.
  [[nodiscard]] static constexpr CapabilitySet all() noexcept {
    return from_bits((std::uint64_t{1} << capability_count) - 1);
  }
  /// The default of a Spec: enough to run a distribution's programs as root, nothing that reaches
  /// the host.
  [[nodiscard]] static constexpr CapabilitySet small() noexcept {
    return {Capability::chown,     Capability::dac_override, Capability::fowner,
            Capability::fsetid,    Capability::kill,         Capability::setgid,
            Capability::setuid,    Capability::setpcap,      Capability::net_bind_service,
            Capability::sys_chroot};
  }
  [[nodiscard]] constexpr std::uint64_t bits() const noexcept { return bits_; }
  [[nodiscard]] constexpr bool has(Capability c) const noexcept { return (bits_ & bit(c)) != 0; }
  constexpr CapabilitySet& add(Capability c) noexcept {
    bits_ |= bit(c);
    return *this;
  }
  constexpr CapabilitySet& drop(Capability c) noexcept {
    bits_ &= ~bit(c);
    return *this;
  }
  /// Of what it has only these.
  constexpr CapabilitySet& keep(CapabilitySet those) noexcept {
    bits_ &= those.bits_;
    return *this;
  }
  auto operator<=>(const CapabilitySet&) const = default;

 private:
  static constexpr std::uint64_t bit(Capability c) noexcept {
    return std::uint64_t{1} << static_cast<unsigned>(c);
  }
  std::uint64_t bits_ = 0;
};

/// The sets of the first process one by one, for what `Security::capabilities` alone does not say;
/// capabilities(7). Each that is unset is what capabilities and ambient make of it.
struct CapabilitySets {
  /// Unset: Security::capabilities for uid 0, and for others those that are ambient.
  std::optional<CapabilitySet> permitted = {};
  std::optional<CapabilitySet> effective = {};    ///< Of the permitted ones. Unset: all of them.
  std::optional<CapabilitySet> inheritable = {};  ///< Unset: those that are ambient.
  /// What a program without privileges of its own keeps; permitted and inheritable, too.
  std::optional<CapabilitySet> ambient = {};
  auto operator<=>(const CapabilitySets&) const = default;
};

/// How the kernel treats uid 0 and changes of ids, for the container and all it starts;
/// capabilities(7), "The securebits flags". The values are the kernel's. A locked one can never be
/// changed again.
enum class Securebit : std::uint8_t {
  noroot = 1U << 0U,  ///< A program of uid 0 gets nothing for being root's.
  noroot_locked = 1U << 1U,
  /// Capabilities stay as they are when ids change between 0 and others.
  no_setuid_fixup = 1U << 2U,
  no_setuid_fixup_locked = 1U << 3U,
  keep_caps_locked = 1U << 5U,      ///< PR_SET_KEEPCAPS is refused.
  no_cap_ambient_raise = 1U << 6U,  ///< None becomes ambient any more; Linux 4.3.
  no_cap_ambient_raise_locked = 1U << 7U,
};
template <>
struct is_flag_enum<Securebit> : std::true_type {};

/// Tokens for what opens a container towards the host. compile() refuses a Spec that needs one and
/// does not have it, so that a reviewer finds every opening by searching for "Allow::".
enum class Allow : std::uint32_t {
  host_network = 1U << 0U,  ///< Share the host's network namespace.
  host_pids = 1U << 1U,     ///< Share the host's pid namespace.
  host_ipc = 1U << 2U,      ///< Share the host's ipc namespace.
  host_uts = 1U << 3U,      ///< Share the host's host name.
  /// Share the host's mount namespace: no root file system of its own.
  host_mounts = 1U << 4U,
  host_cgroup = 1U << 5U,   ///< See the host's cgroup paths.
  capabilities = 1U << 6U,  ///< Capabilities beyond CapabilitySet::small().
  /// Programs may gain privileges by set-id bits and file capabilities.
  new_privileges = 1U << 7U,
  /// Fewer masked or read-only kernel paths than the default; a writable /sys.
  unmasked_kernel = 1U << 8U,
  host_root_writable = 1U << 9U,  ///< Write to the host's own "/".
  devices = 1U << 10U,            ///< Further device nodes, and mounts without nodev.
  /// Containers inside: a full procfs and sysfs in a hidden place of /dev.
  nesting = 1U << 11U,
  real_root = 1U << 12U,  ///< CAP_SYS_ADMIN without a user namespace of its own.
  /// Lift its own limits: a writable CgroupMount whose files are its root's.
  own_limits = 1U << 13U,
  all_syscalls = 1U << 14U,  ///< No seccomp filter.
};
template <>
struct is_flag_enum<Allow> : std::true_type {};

/// A kernel setting below /proc/sys, of one of the container's own namespaces:
/// {"net.ipv4.ip_forward", "1"}.
struct Sysctl {
  std::string name = {};
  std::string value = {};
  bool operator==(const Sysctl&) const = default;
};

/// Kernel files that are hidden: files read as empty, directories are empty. Missing ones are
/// passed over.
[[nodiscard]] std::vector<GuestPath> default_masked_paths();
/// Kernel files that cannot be written. Missing ones are passed over.
[[nodiscard]] std::vector<GuestPath> default_read_only_paths();

struct Security {
  /// What the first process and all it starts can ever have: effective, permitted and bounding set.
  CapabilitySet capabilities = CapabilitySet::small();
  /// Also ambient, so that a command with a uid other than 0 has them.
  bool ambient = false;
  CapabilitySets sets = {};          ///< Where they are to differ.
  Flags<Securebit> securebits = {};  ///< prctl(2), PR_SET_SECUREBITS
  bool no_new_privs = true;          ///< prctl(2), PR_SET_NO_NEW_PRIVS
  Seccomp seccomp = {};              ///< Which system calls it may make.
  Landlock landlock = {};            ///< Which files and ports it may use.
  /// Profile of AppArmor that the command is executed under, loaded already; "unconfined" is none.
  /// Empty: as this program's own rules have it. Refused where AppArmor is not active.
  std::string apparmor = {};
  /// In place of that a profile of its own, made from this Spec as apparmor::profile()
  /// (config/apparmor.hpp) makes one, under a name that no other container has: loaded by
  /// apparmor_parser(8) before the launch, some 15 ms, and removed when the container has
  /// ended. Refused where AppArmor is not active, for other users than root, and without the
  /// parser.
  bool own_apparmor = false;
  /// Lines at the end of that profile, as they are; apparmor.d(5). None may end it.
  std::vector<std::string> apparmor_rules = {};
  /// Context of SELinux that the command is executed in: "system_u:system_r:container_t:s0". Empty:
  /// as the policy has it. Refused where SELinux is not active.
  std::string selinux = {};
  /// Context of all files of the tmpfs, overlay and devpts mounts that are made for the container;
  /// mount(8), context=. Refused where SELinux is not active.
  std::string selinux_mount = {};
  /// Context of its session keyring, with `own_keyring`; what is attached has the policy's. Empty:
  /// as the policy has it. Refused where SELinux is not active.
  std::string selinux_keyring = {};
  bool own_keyring = true;  ///< A new, empty session keyring; keyrings(7).
  std::vector<GuestPath> masked_paths = default_masked_paths();
  std::vector<GuestPath> read_only_paths = default_read_only_paths();
  std::vector<Sysctl> sysctls = {};
  Flags<Allow> allow = {};
  bool operator==(const Security&) const = default;
};

/// Names as in capabilities(7), lower case without "cap_": "sys_admin". Empty for an unknown value.
[[nodiscard]] std::string_view to_string(Capability capability) noexcept;

}  // namespace v0
}  // namespace condroid
