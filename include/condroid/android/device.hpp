// Android in a container: what an emulator or a test wants of a device, and the Spec that it is.
//
//   android::Device phone{.name = "phone",
//                         .system = {.image = "/srv/system.img"_host},
//                         .vendor = {.image = "/srv/vendor.img"_host},
//                         .data = "/srv/phone/data"_host};
//   auto ready = android::prepare(phone, runtime->facts());     // checks files, takes the data
//   auto box = android::launch(*runtime, *ready);               // android/launch.hpp
//
// docs/android.md says what the container gets, and why.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/flags.hpp"
#include "condroid/spec.hpp"
#include "condroid/sys/facts.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid {
inline namespace v0 {
namespace android {

/// Who does what the first stage of Android's init does on a phone.
enum class Boot : std::uint8_t {
  /// An init that was changed for containers, which mounts nothing itself: /init. Waydroid.
  patched,
  /// The first stage is left out, and all of it is done here: "/system/bin/init second_stage". ARC.
  second_stage,
  /// A first stage that goes on where it fails, with androidboot.* as its arguments: /init. /proc
  /// and /sys are its own to mount. redroid
  redroid,
};

/// A file system of Android's: an image (ext4, erofs, squashfs) or a directory, one of the two.
/// Read-only. All devices of one image share its mounted file system; docs/images.md.
struct Part {
  HostPath image = {};
  HostPath directory = {};
  std::string type = {};  ///< Of an image, as in mount(8); empty: by what is in it.
  /// Writable by an overlay; what lies below stays as it is.
  bool overlay = false;
  HostPath upper = {};  ///< Of the overlay. Empty: memory, which ends with the device.
  HostPath work = {};   ///< overlayfs's work directory, beside `upper`.
  [[nodiscard]] bool empty() const noexcept { return image.empty() && directory.empty(); }
  bool operator==(const Part&) const = default;
};

/// A property, or a word of the kernel's command line.
struct Property {
  std::string key = {};
  std::string value = {};
  bool operator==(const Property&) const = default;
};

struct Screen {
  unsigned width = 720;    ///< Pixels, 1 to 16384.
  unsigned height = 1280;  ///< The same.
  unsigned density = 320;  ///< Dots per inch, 72 to 1000.
  unsigned fps = 0;        ///< Up to 240; 0: the image's own.
  bool operator==(const Screen&) const = default;
};

/// A directory of the host that apps find in their storage: /data/media/0/NAME, which is
/// /sdcard/NAME.
struct SharedFolder {
  HostPath source = {};
  std::string name = {};
  bool read_only = true;
  bool idmapped = false;  ///< As Bind::idmapped.
  bool operator==(const SharedFolder&) const = default;
};

/// Kinds of this machine's devices; of each all that there are.
enum class HostDevice : std::uint8_t {
  camera = 1,  ///< /dev/video*, /dev/media*
  sound = 2,   ///< /dev/snd/*
  input = 4,   ///< /dev/input/event*
};

}  // namespace android

template <>
struct is_flag_enum<android::HostDevice> : std::true_type {};

namespace android {

/// Sockets of somebody's session on this machine, in whose place Waydroid's images look for them.
struct Session {
  HostPath wayland = {};  ///< A compositor's: "/run/user/1000/wayland-0".
  HostPath pulse = {};    ///< PulseAudio's, or PipeWire's: "/run/user/1000/pulse/native".
  [[nodiscard]] bool empty() const noexcept { return wayland.empty() && pulse.empty(); }
  bool operator==(const Session&) const = default;
};

/// Where the device's binder nodes come from.
enum class Binder : std::uint8_t {
  automatic,  ///< binderfs where the kernel has it, else the pool.
  binderfs,   ///< An instance of its own.
  /// A triple of the nodes that the module made when it was loaded (its parameter `devices`), which
  /// nobody else has while the device lives; android/binder.hpp.
  pool,
  none,  ///< No Android gets past its service manager so; for tests.
};

/// The nodes of one device.
struct BinderNodes {
  HostPath binder = {};
  HostPath hwbinder = {};
  HostPath vndbinder = {};
  /// Their minor numbers, of major 10, in this order. Known, the device gets nodes of its own, for
  /// all to use; 0: the host's are bound, with the mode that they have there.
  std::array<std::uint32_t, 3> minors = {};
  bool operator==(const BinderNodes&) const = default;
};

struct Device {
  std::string name = "android";  ///< As Spec::name; also its host name.
  Boot boot = Boot::patched;

  Part system = {};  ///< The root: "system as root".
  // Where they are not part of the system's image:
  Part vendor = {};
  Part product = {};
  Part system_ext = {};
  Part odm = {};
  /// Bound on /data, writable, of one running device at a time. Empty: memory, which ends with the
  /// device.
  HostPath data = {};
  bool data_idmapped = false;  ///< Its owners are shifted by `idmap`; Linux 5.12.
  std::vector<SharedFolder> folders = {};

  /// Keys without "androidboot.": in /proc/cmdline, and for redroid arguments of init.
  std::vector<Property> androidboot = {};
  std::vector<std::string> cmdline = {};  ///< Further words of /proc/cmdline.
  /// In a file that is bound on `property_file`. Values have at most 91 bytes, those of ro.* more.
  /// For redroid without a `property_file` they are arguments of init, and ro.* alone.
  std::vector<Property> properties = {};
  /// A file that the image has. Empty: /vendor/waydroid.prop for Boot::patched, else none.
  GuestPath property_file = {};
  std::optional<Screen> screen = {};

  Binder binder = Binder::automatic;
  /// With Binder::pool: its nodes, which prepare() leases where they are empty.
  BinderNodes binder_nodes = {};
  /// Bound on /dev/kmsg, where init logs to: a FIFO or the slave of a pseudo terminal; KmsgLog
  /// (android/kmsg.hpp) makes one. Empty: /dev/null, since the kernel's own would leak the
  /// machine's log, and be flooded.
  HostPath kmsg = {};
  /// Of a GPU: "/dev/dri/renderD128". One of Facts::render_nodes is for all in the device; another
  /// has the mode and the owner that it has here.
  HostPath render_node = {};
  /// Where `render_node` is empty: that of android::render_node(), if there is one.
  bool any_render_node = false;
  /// The guest shares them with everybody else here. With an id map they must be for all (0666).
  Flags<HostDevice> host_devices = {};
  /// For Boot::patched: bound in /run/xdg, with the properties that say so. Who has them there must
  /// be who has them here: a session of uid 1000 is one for apps' system user. Not with an id map.
  Session session = {};
  std::vector<DeviceNode> nodes = {};  ///< Further nodes in /dev.
  std::vector<Mount> mounts = {};      ///< Further mounts.

  /// Interfaces; the first should be eth0. One without a MAC address gets 00:16:3e and random
  /// digits. Empty: the loopback alone. Android manages eth0 itself: addresses that are set here
  /// are flushed by it.
  std::vector<Interface> interfaces = {};
  /// Limits. With a `cgroup_path` they are out of the guest's reach; without, it can lift them.
  Resources resources = {};
  IdMap idmap = {.kind = IdMap::none};  ///< Ranges must cover 0 to 99999.

  /// Bounding set; unset: what `boot` needs. Those that this program does not have are left out.
  std::optional<CapabilitySet> capabilities = {};
  /// The guest's reboot(2) ends the device and says what was asked for (Exit::asked); but then
  /// init ignores SIGTERM, and stop() kills. Otherwise SIGTERM is an orderly end, whatever asked
  /// for it exits with 0.
  bool may_reboot = false;
  /// wake_alarm and block_suspend: it can wake the machine, and keep it awake. Some stock images
  /// have a zygote that wants them.
  bool may_wake = false;
  bool new_privileges = false;  ///< Set-uid programs work: a `su`.
  Restart restart = Restart::never;
  bool operator==(const Device&) const = default;
};

/// A device of this machine's, as a guest gets it.
struct HostNode {
  HostDevice kind = HostDevice::camera;
  DeviceNode node = {};
  bool operator==(const HostNode&) const = default;
};

/// /dev/dri/renderD*, of major 226.
struct RenderNode {
  HostPath path = {};
  std::uint32_t minor = 0;
  std::string driver = {};  ///< The kernel's, "amdgpu"; empty: unknown.
  bool operator==(const RenderNode&) const = default;
};

/// What of this machine a device depends on. Plain data.
struct Facts {
  bool binderfs = false;           ///< In /proc/filesystems.
  std::uint32_t binder_major = 0;  ///< Of binderfs's nodes, /proc/devices; 0: unknown.
  /// Triples of the pool, in use or not.
  std::vector<BinderNodes> binder_pool = {};
  std::string binder_module = {};  ///< How it is loaded: "modprobe binder_linux devices=...".
  /// Nodes of the host that a device gets where they are: those of `device_nodes()` and others.
  std::vector<DeviceNode> nodes = {};
  std::vector<HostNode> host_nodes = {};      ///< By kind, and of a kind by number.
  std::vector<RenderNode> render_nodes = {};  ///< By number.
  bool memory_pressure = false;               ///< /proc/pressure
  bool loop_devices = false;                  ///< /dev/loop-control
  bool ipv6 = false;                          ///< The kernel has it.
  bool bootconfig = false;                    ///< There is a /proc/bootconfig, which would be seen.
  std::uint64_t inotify_instances = 0;        ///< For each user, sysctl fs.inotify; 0: unknown.
  std::uint64_t page_size = 4096;
  bool operator==(const Facts&) const = default;
};

/// Looks at this machine. Some hundred microseconds; changes nothing.
[[nodiscard]] Facts probe_facts();

/// The first render node whose driver is not NVIDIA's own, with which no image works; empty where
/// there is none. Pure.
[[nodiscard]] HostPath render_node(const Facts& facts);

/// Something that Android expects of a machine and does not find.
struct Lack {
  std::string what = {};
  std::string without = {};  ///< What becomes of a device.
  std::string hint = {};
  bool operator==(const Lack&) const = default;
};

/// What this machine lacks for so many devices, the worst first. None of it but binder is refused:
/// some images do without. Pure.
[[nodiscard]] std::vector<Lack> lacks(const Facts& facts, unsigned devices = 1);

/// The Spec of a device. Pure: looks at no file. Everything wrong with the Device is told at once.
/// @errors Step::compile: Errc::bad_spec with the field ("vendor.image: ..."), Errc::unsupported
/// with what this machine lacks.
[[nodiscard]] Result<Spec> spec_for(const Device& device, const HostFacts& host,
                                    const Facts& facts);

/// The calls that a guest may not make. Kills for loading modules and kernels; open_by_handle_at is
/// ENOSYS; setting clocks, keys and swap are pretended; BINDER_FREEZE is EINVAL, since the kernel
/// takes its process number for one of the host's. `reboot`: the guest may call reboot(2).
[[nodiscard]] Seccomp seccomp(bool reboot = false);

/// Capabilities that a device has unless Device::capabilities says otherwise.
[[nodiscard]] CapabilitySet capabilities(Boot boot, bool reboot = false, bool wake = false);

/// "NAME=value" each: for a process that is attached to a device, as a shell there has it. Of init
/// the PATH alone.
[[nodiscard]] std::vector<std::string> shell_environment();

/// A ".prop" file of them; empty for none. Not checked.
[[nodiscard]] std::string property_text(const std::vector<Property>& properties);

/// Whether a key is one of Android's, and its value fits: empty, or what is wrong.
[[nodiscard]] std::string property_mistake(const Property& property);

/// What a running device holds of the host. It goes with the handle, and with the program however
/// that ends: locks of flock(2). Keep it as long as the container.
struct Lease {
  Fd data = {};                 ///< The data directory's lock.
  std::vector<Fd> binder = {};  ///< Those of its nodes of the pool.
};

/// A device that can be launched.
struct Ready {
  Spec spec = {};
  Lease lease = {};
  bool binderfs = false;  ///< The nodes are still to be made in it: launch() does.
};

/// Looks into the images, locks the data directory and leases binder nodes, and makes the Spec.
/// Nothing is mounted, nothing on the host is changed. The disk is waited for.
/// @errors as spec_for(); Errc::bad_spec for an image that is none, is sparse or shorter than it
/// says; EBUSY for a data directory of a running device; Errc::unsupported without binder.
[[nodiscard]] Result<Ready> prepare(const Device& device, const HostFacts& host,
                                    const Facts& facts);
/// The same on this machine, looked at now.
[[nodiscard]] Result<Ready> prepare(const Device& device, const HostFacts& host);

}  // namespace android
}  // namespace v0
}  // namespace condroid
