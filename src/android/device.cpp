// A device as a Spec: the tables of what Android's init and its services find in their world.
#include "condroid/android/device.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "android/host_devices.hpp"
#include "formatted.hpp"
#include "plan/paths.hpp"
#include "plan/refusals.hpp"
#include "plan/words.hpp"

namespace condroid::inline v0::android {

namespace {

using detail::quoted;
using detail::Refusals;

constexpr std::string_view path =
    "PATH=/product/bin:/apex/com.android.runtime/bin:/apex/com.android.art/bin:/system_ext/bin:"
    "/system/bin:/system/xbin:/odm/bin:/vendor/bin:/vendor/xbin";

// Ids of Android, system/core/libcutils/include/private/android_filesystem_config.h.
constexpr std::uint32_t aid_system = 1000, aid_graphics = 1003, aid_readproc = 3009;
constexpr std::uint32_t least_ids = 100000;  // with the isolated processes

constexpr Flags<MountFlag> closed = MountFlag::nosuid | MountFlag::nodev | MountFlag::noexec;

// Settings that init writes and takes a failure for its end, with what the kernel has by itself.
// Plain files stand for them: the machine's own are not the guest's to change.
struct Setting {
  const char* target;
  const char* content;
};
constexpr Setting own_settings[] = {{"/proc/sys/vm/mmap_rnd_bits", "32\n"},
                                    {"/proc/sys/vm/mmap_rnd_compat_bits", "16\n"},
                                    {"/proc/sys/kernel/kptr_restrict", "2\n"}};

std::string last_name(const HostPath& file) { return file.str().substr(file.str().rfind('/') + 1); }

/// Everything in Device that becomes a Spec, in the order of a reader.
class Translator {
 public:
  Translator(const Device& device, const HostFacts& host, const Facts& facts)
      : device_(device), host_(host), facts_(facts), render_node_(render_node_of(device, facts)) {}

  Result<Spec> run() {
    check();
    if (!refusals_.empty()) return fail(refusals_.take());
    spec_.name = device_.name;
    spec_.hostname = device_.name;
    spec_.idmap = device_.idmap;
    root();
    parts();
    kernel_mounts();
    dev();
    binder();
    data();
    words();
    process();
    rights();
    settings();
    network();
    resources();
    spec_.mounts.insert(spec_.mounts.end(), device_.mounts.begin(), device_.mounts.end());
    if (!refusals_.empty()) return fail(refusals_.take());
    return std::move(spec_);
  }

 private:
  [[nodiscard]] bool is(Boot boot) const { return device_.boot == boot; }
  [[nodiscard]] bool own_users() const {
    return device_.idmap.kind != IdMap::none && device_.idmap.kind != IdMap::automatic;
  }

  void check();
  void check_part(std::string_view field, const Part& part);
  void check_words();

  void root();
  void part(const Part& from, const char* target);
  void parts();
  void kernel_mounts();
  void dev();
  void binder();
  void data();
  void words();
  void process();
  void rights();
  void settings();
  void network();
  void resources();

  const Device& device_;
  const HostFacts& host_;
  const Facts& facts_;
  HostPath render_node_;
  Refusals refusals_;
  Spec spec_;
};

// ---- what cannot be -----------------------------------------------------------------------------

void Translator::check_part(std::string_view field, const Part& p) {
  const std::string at(field);
  if (!p.image.empty() && !p.directory.empty())
    refusals_.bad(at, "is an image and a directory", "leave one of them out");
  const HostPath& where = p.image.empty() ? p.directory : p.image;
  if (!where.empty() && !where.is_absolute())
    refusals_.bad(at + (p.image.empty() ? ".directory" : ".image"),
                  formatted("{} is not absolute", quoted(where.str())), "begin it with '/'");
  if (p.image.empty() && !p.type.empty())
    refusals_.bad(at + ".type", "is of an image, and there is none", "leave it out");
  if (p.empty() && p.overlay)
    refusals_.bad(at + ".overlay", "lies above nothing", "name the image or the directory");
  if (p.upper.empty() != p.work.empty())
    refusals_.bad(at + (p.upper.empty() ? ".upper" : ".work"), "is missing: there is the other",
                  "set both or neither");
  if (!p.upper.empty() && !p.overlay)
    refusals_.bad(at + ".upper", "is of an overlay", "set overlay = true");
}

void Translator::check_words() {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
  for (std::size_t i = 0; i < device_.androidboot.size(); ++i) {
    const Property& p = device_.androidboot[i];
    const std::string field = formatted("androidboot[{}]", i);
    if (p.key.empty() || p.key.find_first_not_of(plain) != std::string::npos)
      refusals_.bad(field, formatted("{} is no key", quoted(p.key)),
                    "letters, digits, '_', '.' and '-', without \"androidboot.\"");
    else if (const std::string wrong =
                 property_mistake({.key = "ro.boot." + p.key, .value = p.value});
             !wrong.empty())
      refusals_.bad(field, formatted("{}: {}", p.key, wrong), "it becomes ro.boot." + p.key);
    // init splits at blanks, and passes over a word with two '='.
    if (p.value.empty() || p.value.find_first_of(" \t\"'=") != std::string::npos)
      refusals_.bad(field, formatted("{} is no value for {}", quoted(p.value), quoted(p.key)),
                    "one word without quotes and '='");
    for (std::size_t k = 0; k < i; ++k)
      if (device_.androidboot[k].key == p.key)
        refusals_.bad(field, formatted("{} is there twice", p.key), "leave out one of them");
  }
  for (std::size_t i = 0; i < device_.cmdline.size(); ++i) {
    const std::string& word = device_.cmdline[i];
    if (word.empty() || std::ranges::any_of(word, [](char c) { return c <= ' ' || c == '\x7f'; }))
      refusals_.bad(formatted("cmdline[{}]", i), formatted("{} is no word", quoted(word)),
                    "one for each, without blanks");
  }
  const bool as_arguments = is(Boot::redroid) && device_.property_file.empty();
  for (std::size_t i = 0; i < device_.properties.size(); ++i) {
    const Property& p = device_.properties[i];
    const std::string field = formatted("properties[{}]", i);
    if (const std::string wrong = property_mistake(p); !wrong.empty())
      refusals_.bad(field, formatted("{}: {}", quoted(p.key), wrong),
                    "Android would pass over it, or cut it");
    if (as_arguments && (!p.key.starts_with("ro.") || p.value.empty() ||
                         p.value.find_first_of(" \t=") != std::string::npos))
      refusals_.bad(field, formatted("{} cannot be an argument of init", quoted(p.key)),
                    "ro.* with one word; for others set property_file");
    for (std::size_t k = 0; k < i; ++k)
      if (device_.properties[k].key == p.key)
        refusals_.bad(field, formatted("{} is there twice", p.key), "leave out one of them");
  }
  if (is(Boot::second_stage) && !device_.properties.empty() && device_.property_file.empty())
    refusals_.bad("property_file", "is missing: nothing tells which file of the image they replace",
                  "/default.prop or /vendor/build.prop, as the image has it");
}

void Translator::check() {
  if (device_.system.empty())
    refusals_.bad("system", "is missing", "name the image, or the directory, of Android's root");
  check_part("system", device_.system);
  check_part("vendor", device_.vendor);
  check_part("product", device_.product);
  check_part("system_ext", device_.system_ext);
  check_part("odm", device_.odm);
  for (const auto& [field, file] : {std::pair{"data", &device_.data},
                                    {"kmsg", &device_.kmsg},
                                    {"render_node", &device_.render_node},
                                    {"session.wayland", &device_.session.wayland},
                                    {"session.pulse", &device_.session.pulse}})
    if (!file->empty() && !file->is_absolute())
      refusals_.bad(field, formatted("{} is not absolute", quoted(file->str())),
                    "begin it with '/'");
  if (!device_.session.empty() && !is(Boot::patched))
    refusals_.bad("session", "is for Boot::patched: other images look for it elsewhere",
                  "bind the sockets where yours does, by mounts");
  if (!device_.session.empty() && own_users())
    refusals_.unsupported("session", "whoever has it here is nobody with an id map",
                          "leave one of them out");
  if (device_.data_idmapped && !own_users())
    refusals_.bad("data_idmapped", "there is no id map", "set idmap");
  if (device_.data_idmapped && device_.data.empty())
    refusals_.bad("data_idmapped", "there is no data directory", "set data");
  for (std::size_t i = 0; i < device_.folders.size(); ++i) {
    const SharedFolder& f = device_.folders[i];
    if (f.name.empty() || f.name == "." || f.name == ".." || f.name.find('/') != std::string::npos)
      refusals_.bad(formatted("folders[{}].name", i), formatted("{} is no name", quoted(f.name)),
                    "one directory's, without '/'");
  }
  if (device_.screen) {
    const Screen& s = *device_.screen;
    const auto within = [&](std::string_view field, unsigned value, unsigned least, unsigned most) {
      if (value < least || value > most)
        refusals_.bad(formatted("screen.{}", field),
                      formatted("{} is not among {} to {}", value, least, most), "720x1280 at 320");
    };
    within("width", s.width, 1, 16384);
    within("height", s.height, 1, 16384);
    within("density", s.density, 72, 1000);
    within("fps", s.fps, 0, 240);
  }
  check_words();
  // The root's overlay is made by the host, above shifted owners; those of its parts inside.
  for (const auto& [field, p] : {std::pair{"vendor", &device_.vendor},
                                 {"product", &device_.product},
                                 {"system_ext", &device_.system_ext},
                                 {"odm", &device_.odm}})
    if (own_users() && p->overlay)
      refusals_.unsupported(formatted("{}.overlay", field),
                            "owners are not shifted below an overlay of a part",
                            "leave it out, or the idmap");
  if (own_users()) {
    const auto covers = [](const std::vector<IdRange>& ranges) {
      std::uint32_t next = 0;
      for (bool found = true; found && next < least_ids;) {
        found = false;
        for (const IdRange& r : ranges)
          if (r.inside <= next && next - r.inside < r.count)
            next = r.inside + r.count, found = true;
      }
      return next >= least_ids;
    };
    if (device_.idmap.kind == IdMap::ranges &&
        (!covers(device_.idmap.uids) || !covers(device_.idmap.gids)))
      refusals_.bad("idmap", formatted("does not cover 0 to {}", least_ids - 1),
                    "Android's services, apps and isolated processes have ids up to there");
  }
  if (!host_.privileged())
    refusals_.unsupported("system", "a device takes CAP_SYS_ADMIN on the host", "run as root");
  if (device_.binder == Binder::binderfs && !facts_.binderfs)
    refusals_.unsupported("binder", "this kernel has no binderfs",
                          "use Binder::pool, or a kernel with CONFIG_ANDROID_BINDERFS");
  const bool nodes = !device_.binder_nodes.binder.empty();
  if (device_.binder == Binder::pool && !nodes && facts_.binder_pool.empty())
    refusals_.unsupported("binder", "there are no nodes of binder's", facts_.binder_module);
  if (device_.binder == Binder::automatic && !facts_.binderfs && !nodes &&
      facts_.binder_pool.empty())
    refusals_.unsupported("binder", "this kernel has neither binderfs nor nodes of binder's",
                          facts_.binder_module);
}

// ---- file systems -------------------------------------------------------------------------------

void Translator::root() {
  const Part& p = device_.system;
  Root& r = spec_.root;
  if (p.image.empty())
    r.path = p.directory;
  else
    r.image = {.path = p.image, .type = p.type};
  r.ephemeral = p.overlay;
  r.read_only = !p.overlay;
  r.upper = p.upper;
  r.work = p.work;
  r.idmapped = own_users();
}

void Translator::part(const Part& from, const char* target) {
  if (from.empty()) return;
  // Set-uid programs are for Device::new_privileges to say, and no_new_privs.
  const Flags<MountFlag> flags = MountFlag::nodev;
  MountCommon there{.create_target = false};
  if (!from.image.empty()) {
    spec_.mounts.emplace_back(
        ImageMount{.image = {.path = from.image, .type = from.type},
                   .target = GuestPath(target),
                   .ephemeral = from.overlay,
                   .upper = from.upper,
                   .work = from.work,
                   .idmapped = own_users() && !from.overlay,
                   .flags = from.overlay ? flags : flags | MountFlag::read_only,
                   .common = there});
  } else if (from.overlay) {
    spec_.mounts.emplace_back(Overlay{.target = GuestPath(target),
                                      .lower = {from.directory},
                                      .upper = from.upper,
                                      .work = from.work,
                                      .ephemeral = from.upper.empty(),
                                      .flags = flags,
                                      .common = there});
  } else {
    spec_.mounts.emplace_back(Bind{.source = from.directory,
                                   .target = GuestPath(target),
                                   .flags = flags | MountFlag::read_only,
                                   .idmapped = own_users(),
                                   .common = there});
  }
}

void Translator::parts() {
  part(device_.vendor, "/vendor");
  part(device_.product, "/product");
  part(device_.system_ext, "/system_ext");
  part(device_.odm, "/odm");
}

void Translator::kernel_mounts() {
  const auto tmpfs = [&](const char* target, Flags<MountFlag> flags, std::uint32_t gid = 0,
                         bool optional = true) {
    std::vector<std::string> options = {"mode=0755", "uid=0", formatted("gid={}", gid)};
    spec_.mounts.emplace_back(FsMount{.type = "tmpfs",
                                      .options = std::move(options),
                                      .target = GuestPath(target),
                                      .flags = flags,
                                      .common = {.optional = optional}});
  };
  spec_.default_mounts = false;
  if (is(Boot::redroid)) return;  // its first stage mounts them
  if (is(Boot::second_stage)) {
    spec_.mounts.emplace_back(FsMount{.type = "proc",
                                      .options = {"hidepid=2", formatted("gid={}", aid_readproc)},
                                      .target = GuestPath("/proc"),
                                      .flags = closed});
    Sysfs sys;
    sys.flags -= MountFlag::read_only;
    spec_.mounts.emplace_back(sys);
    tmpfs("/sys/kernel/debug", closed);
    tmpfs("/mnt", closed, aid_system);
    tmpfs("/mnt/vendor", closed);
    tmpfs("/mnt/product", closed);
    tmpfs("/debug_ramdisk", closed);
    tmpfs("/second_stage_resources", MountFlag::nosuid | MountFlag::nodev);
    tmpfs("/dev/socket", closed);
  } else {
    spec_.mounts.emplace_back(Proc{});
    spec_.mounts.emplace_back(Sysfs{});
    for (const char* target : {"/tmp", "/var", "/mnt_extra"}) tmpfs(target, MountFlag::nodev);
    // Without a /run there is nowhere to put a session's sockets.
    tmpfs("/run", MountFlag::nodev, 0, device_.session.empty());
    for (const auto& [socket, target] : {std::pair{&device_.session.wayland, "/run/xdg/wayland-0"},
                                         {&device_.session.pulse, "/run/xdg/pulse/native"}})
      if (!socket->empty())
        spec_.mounts.emplace_back(Bind{.source = *socket,
                                       .target = GuestPath(target),
                                       .flags = MountFlag::nosuid | MountFlag::nodev});
    // Of its own namespace. Services get cgroups of their own below it, by init; the directory is
    // not the root of all hierarchies, whatever the host has.
    spec_.mounts.emplace_back(FsMount{.type = "cgroup2",
                                      .target = GuestPath("/sys/fs/cgroup"),
                                      .flags = closed,
                                      .common = {.create_target = false, .optional = true}});
  }
}

// ---- devices ------------------------------------------------------------------------------------

void Translator::dev() {
  Devices& d = spec_.devices;
  // Properties and sockets of all services are in there.
  d.size = {64U << 20U};
  d.shm = d.mqueue = false;
  spec_.mounts.emplace_back(FsMount{.type = "devpts",
                                    .options = {"newinstance", "ptmxmode=0666", "mode=0600"},
                                    .target = GuestPath("/dev/pts"),
                                    .flags = MountFlag::nosuid | MountFlag::noexec});
  std::vector<DeviceNode> nodes = facts_.nodes;
  for (const HostNode& n : facts_.host_nodes)
    if (device_.host_devices.has(n.kind)) nodes.push_back(n.node);
  const auto gpu = std::ranges::find(facts_.render_nodes, render_node_, &RenderNode::path);
  if (gpu != facts_.render_nodes.end())
    nodes.push_back({.name = "dri/" + last_name(gpu->path),
                     .major = 226,
                     .minor = gpu->minor,
                     .mode = {0666},
                     .gid = {aid_graphics}});
  // Watched, whether there is something in it or not.
  const auto is_input = [](const DeviceNode& n) { return n.name.starts_with("input/"); };
  if (std::ranges::none_of(nodes, is_input) && std::ranges::none_of(device_.nodes, is_input))
    spec_.mounts.emplace_back(Tmpfs{.target = GuestPath("/dev/input"), .size = {64U << 10U}});
  const auto bind = [&](HostPath source, const std::string& name) {
    spec_.mounts.emplace_back(Bind{.source = std::move(source),
                                   .target = GuestPath("/dev/" + name),
                                   .flags = MountFlag::nosuid | MountFlag::noexec});
  };
  if (!device_.kmsg.empty())
    bind(device_.kmsg, "kmsg");
  else if (own_users())
    bind(HostPath("/dev/null"), "kmsg");
  else
    d.nodes.push_back({.name = "kmsg", .major = 1, .minor = 3, .mode = {0600}});
  for (const DeviceNode& n : nodes) {
    if (std::ranges::any_of(device_.nodes,
                            [&](const DeviceNode& own) { return own.name == n.name; }))
      continue;
    if (!own_users()) {
      d.nodes.push_back(n);
      continue;
    }
    // Nodes that are made in a user namespace cannot be opened.
    bind(HostPath(n.name == "tun" ? "/dev/net/tun" : "/dev/" + n.name), n.name);
    d.permitted.push_back(
        {.major = n.major, .minor = n.minor, .access = DeviceAccess::read | DeviceAccess::write});
  }
  d.nodes.insert(d.nodes.end(), device_.nodes.begin(), device_.nodes.end());
  if (render_node_.empty() || gpu != facts_.render_nodes.end()) return;
  bind(render_node_, "dri/" + last_name(render_node_));
  d.permitted.push_back({.major = 226, .access = DeviceAccess::read | DeviceAccess::write});
}

void Translator::binder() {
  if (device_.binder == Binder::none) return;
  const BinderNodes& n = device_.binder_nodes;
  const bool pool =
      device_.binder == Binder::pool || (device_.binder == Binder::automatic && !facts_.binderfs);
  constexpr Flags<DeviceAccess> use = DeviceAccess::read | DeviceAccess::write;
  if (!pool) {
    spec_.mounts.emplace_back(FsMount{.type = "binder",
                                      .target = GuestPath("/dev/binderfs"),
                                      .flags = MountFlag::nosuid | MountFlag::noexec});
    spec_.devices.permitted.push_back({.major = facts_.binder_major, .access = use});
    return;
  }
  // Which of them it is to be prepare() finds out.
  const BinderNodes& nodes =
      n.binder.empty() && !facts_.binder_pool.empty() ? facts_.binder_pool.front() : n;
  const std::array<std::pair<const char*, const HostPath*>, 3> all = {
      {{"binder", &nodes.binder}, {"hwbinder", &nodes.hwbinder}, {"vndbinder", &nodes.vndbinder}}};
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto& [name, source] = all[i];
    constexpr std::uint32_t misc = 10;
    if (nodes.minors[i] != 0 && !own_users()) {
      spec_.devices.nodes.push_back({.name = name, .major = misc, .minor = nodes.minors[i]});
      continue;
    }
    spec_.mounts.emplace_back(Bind{.source = *source,
                                   .target = GuestPath(std::string("/dev/") + name),
                                   .flags = MountFlag::nosuid | MountFlag::noexec});
    DevicePermission one{.major = misc, .access = use};
    if (nodes.minors[i] != 0) one.minor = nodes.minors[i];
    spec_.devices.permitted.push_back(one);
  }
}

void Translator::data() {
  const MountCommon there{.create_target = false};
  if (device_.data.empty())
    spec_.mounts.emplace_back(FsMount{
        .type = "tmpfs",
        .options = {"mode=0771", formatted("uid={}", aid_system), formatted("gid={}", aid_system)},
        .target = GuestPath("/data"),
        .flags = MountFlag::nosuid | MountFlag::nodev,
        .common = there});
  else
    spec_.mounts.emplace_back(Bind{.source = device_.data,
                                   .target = GuestPath("/data"),
                                   .flags = MountFlag::nosuid | MountFlag::nodev,
                                   .recursive = true,
                                   .idmapped = device_.data_idmapped,
                                   .common = there});
  for (const SharedFolder& f : device_.folders)
    spec_.mounts.emplace_back(
        Bind{.source = f.source,
             .target = GuestPath("/data/media/0/" + f.name),
             .flags = MountFlag::nosuid | MountFlag::nodev |
                      (f.read_only ? Flags<MountFlag>(MountFlag::read_only) : Flags<MountFlag>{}),
             .idmapped = f.idmapped});
}

// ---- words --------------------------------------------------------------------------------------

void Translator::words() {
  std::vector<Property> boot = device_.androidboot;
  std::vector<Property> properties = device_.properties;
  const auto set = [](std::vector<Property>& list, std::string key, std::string value) {
    if (std::ranges::none_of(list, [&](const Property& p) { return p.key == key; }))
      list.push_back({.key = std::move(key), .value = std::move(value)});
  };
  if (device_.screen) {
    const Screen& s = *device_.screen;
    const auto text = [](unsigned n) { return formatted("{}", n); };
    if (is(Boot::redroid)) {
      set(boot, "redroid_width", text(s.width));
      set(boot, "redroid_height", text(s.height));
      set(boot, "redroid_dpi", text(s.density));
      if (s.fps != 0) set(boot, "redroid_fps", text(s.fps));
    } else {
      set(boot, "lcd_density", text(s.density));
      if (is(Boot::patched)) {
        set(properties, "persist.waydroid.width", text(s.width));
        set(properties, "persist.waydroid.height", text(s.height));
        set(properties, "ro.sf.lcd_density", text(s.density));
      }
    }
  }
  if (!render_node_.empty() && (!properties.empty() || is(Boot::patched)) && !is(Boot::redroid))
    set(properties, "gralloc.gbm.device", "/dev/dri/" + last_name(render_node_));
  // Else it draws by software, whatever it was given.
  if (!render_node_.empty() && is(Boot::redroid)) {
    set(boot, "redroid_gpu_mode", "host");
    set(boot, "redroid_gpu_node", "/dev/dri/" + last_name(render_node_));
  }
  if (!device_.session.empty()) set(properties, "waydroid.xdg_runtime_dir", "/run/xdg");
  if (!device_.session.wayland.empty()) set(properties, "waydroid.wayland_display", "wayland-0");
  if (!device_.session.pulse.empty())
    set(properties, "waydroid.pulse_runtime_path", "/run/xdg/pulse");
  const auto has_node = [&](std::string_view name) {
    return std::ranges::any_of(spec_.devices.nodes,
                               [&](const DeviceNode& n) { return n.name == name; }) ||
           std::ranges::any_of(spec_.mounts, [&](const Mount& m) {
             return target_of(m).str() == formatted("/dev/{}", name);
           });
  };
  if (!is(Boot::redroid) && !properties.empty()) {
    if (!has_node("ashmem")) set(properties, "sys.use_memfd", "true");
    if (!has_node("ion") && !has_node("dma_heap/system"))
      set(properties, "debug.stagefright.ccodec", "0");
  }
  // Nobody sends events for the machine's devices in there: nothing is to be waited for.
  if (!is(Boot::redroid) && !properties.empty()) set(properties, "ro.cold_boot_done", "true");

  std::vector<std::string>& argv = spec_.process.argv;
  std::string line;
  const auto word = [&](std::string w) {
    if (!line.empty()) line += ' ';
    line += w;
    if (is(Boot::redroid)) argv.push_back(std::move(w));
  };
  argv = is(Boot::second_stage) ? std::vector<std::string>{"/system/bin/init", "second_stage"}
                                : std::vector<std::string>{"/init"};
  std::string config;
  for (const Property& p : boot) {
    word(formatted("androidboot.{}={}", p.key, p.value));
    config += formatted("androidboot.{} = \"{}\"\n", p.key, p.value);
  }
  for (const std::string& w : device_.cmdline) word(w);
  GuestPath file = device_.property_file;
  if (file.empty() && is(Boot::patched)) file = GuestPath("/vendor/waydroid.prop");
  if (file.empty() && is(Boot::redroid)) {
    for (const Property& p : properties) argv.push_back(formatted("{}={}", p.key, p.value));
  } else if (!properties.empty()) {
    spec_.mounts.emplace_back(FileMount{.target = std::move(file),
                                        .content = property_text(properties),
                                        .common = {.create_target = false}});
  }
  if (is(Boot::redroid)) return;
  spec_.mounts.emplace_back(FileMount{.target = GuestPath("/proc/cmdline"),
                                      .content = line + "\n",
                                      .mode = {0440},
                                      .common = {.create_target = false}});
  // The machine's own would be read, too; where the kernel has none there cannot be one.
  if (facts_.bootconfig)
    spec_.mounts.emplace_back(FileMount{.target = GuestPath("/proc/bootconfig"),
                                        .content = std::move(config),
                                        .common = {.create_target = false}});
}

void Translator::process() {
  Process& p = spec_.process;
  p.env = {std::string(path)};
  if (is(Boot::second_stage))  // as the stages before would have left it
    for (const char* variable : {"INIT_SELINUX_TOOK=0", "INIT_STARTED_AT=0", "INIT_SECOND_STAGE=y"})
      p.env.emplace_back(variable);
  p.umask = Mode{0};
  p.stdio = Stdio::null;
  p.controlling_terminal = false;
  constexpr std::uint64_t nice = 40, files = 32768, locked = 64U << 10U;
  // In a user namespace of its own nobody has CAP_SYS_RESOURCE of the machine.
  const bool may_raise = !own_users() && host_.has_cap(24 /* CAP_SYS_RESOURCE */);
  const auto limit = [&](Rlimit which, std::uint64_t wanted) {
    const auto index = static_cast<std::size_t>(which);
    std::uint64_t hard = wanted;
    if (index < host_.rlimits.size()) {
      hard = std::max(wanted, host_.rlimits[index].second);
      if (!may_raise) hard = host_.rlimits[index].second;
    }
    if (hard == 0) return;  // it could not be raised by a bit
    p.rlimits.push_back({.resource = which, .soft = std::min(wanted, hard), .hard = hard});
  };
  limit(Rlimit::nice, nice);
  limit(Rlimit::nofile, files);
  limit(Rlimit::memlock, locked);
  // A relative core_pattern of the machine's would fill its data.
  p.rlimits.push_back({.resource = Rlimit::core});
}

// ---- rights -------------------------------------------------------------------------------------

void Translator::rights() {
  Security& s = spec_.security;
  CapabilitySet wanted = device_.capabilities
                             ? *device_.capabilities
                             : capabilities(device_.boot, device_.may_reboot, device_.may_wake);
  if (!device_.may_reboot) wanted.drop(Capability::sys_boot);
  const std::uint64_t known = host_.last_capability >= 63
                                  ? ~std::uint64_t{0}
                                  : (std::uint64_t{2} << host_.last_capability) - 1;
  s.capabilities = wanted.keep(
      CapabilitySet::from_bits(known & (own_users() ? ~std::uint64_t{0} : host_.effective_caps)));
  s.ambient = is(Boot::second_stage);
  s.no_new_privs = !device_.new_privileges;
  s.seccomp = seccomp(device_.may_reboot);
  s.allow = Allow::capabilities | Allow::devices | Allow::unmasked_kernel | Allow::all_syscalls;
  if (!own_users()) s.allow |= Allow::real_root;
  if (device_.new_privileges) s.allow |= Allow::new_privileges;
  for (const char* hidden : {"/proc/sysrq-trigger", "/proc/vmallocinfo", "/sys/power/state",
                             "/sys/power/wake_lock", "/sys/power/wake_unlock"})
    s.masked_paths.emplace_back(hidden);
  // All of /proc/sys but net, which is the namespace's own.
  std::erase_if(s.read_only_paths, [](const GuestPath& p) {
    return p.str() == "/proc/sys" || p.str() == "/proc/sysrq-trigger";
  });
  for (const char* closed_to_it :
       {"/proc/sys/abi", "/proc/sys/crypto", "/proc/sys/debug", "/proc/sys/dev", "/proc/sys/fs",
        "/proc/sys/kernel", "/proc/sys/sunrpc", "/proc/sys/user", "/proc/sys/vm", "/proc/sys/xen"})
    s.read_only_paths.emplace_back(closed_to_it);
  if (is(Boot::redroid)) return;
  for (const Setting& setting : own_settings)
    spec_.mounts.emplace_back(FileMount{.target = GuestPath(setting.target),
                                        .content = setting.content,
                                        .mode = {0644},
                                        .flags = closed,
                                        .common = {.create_target = false, .optional = true}});
}

void Translator::settings() {
  if (!spec_.namespaces.has(Namespace::net)) return;
  const auto set = [&](const char* name, const char* value) {
    spec_.security.sysctls.push_back({.name = name, .value = value});
  };
  // Groups that are not mapped cannot be named.
  if (!own_users()) set("net.ipv4.ping_group_range", "0 2147483647");
  set("net.unix.max_dgram_qlen", "2400");
  set("net.ipv4.conf.all.accept_redirects", "0");
  set("net.ipv4.fwmark_reflect", "1");
  set("net.ipv4.tcp_fwmark_accept", "1");
  if (!facts_.ipv6) return;
  set("net.ipv6.conf.all.accept_redirects", "0");
  set("net.ipv6.fwmark_reflect", "1");
}

void Translator::network() {
  for (Interface i : device_.interfaces) {
    if (!i.mac && i.mac_template.empty()) i.mac_template = "00:16:3e:xx:xx:xx";
    if (!i.mtu) i.mtu = 1500;
    i.ipv6_autoconf = i.ipv6_autoconf || facts_.ipv6;
    spec_.network.interfaces.push_back(std::move(i));
  }
}

void Translator::resources() {
  spec_.resources = device_.resources;
  if (spec_.resources.cgroup == CgroupMode::automatic) spec_.resources.cgroup = CgroupMode::always;
  // Its view, which it may write to, begins below the cgroup with the limits.
  if (!spec_.resources.cgroup_path.empty() && spec_.resources.cgroup_inner.empty())
    spec_.resources.cgroup_inner = "guest";
  spec_.security.allow |= Allow::own_limits;
  spec_.lifecycle.stop_signal = Signal{15};
  spec_.lifecycle.stop_timeout = std::chrono::seconds{10};
  spec_.lifecycle.freezable = true;
  spec_.lifecycle.restart = device_.restart;
}

}  // namespace

CapabilitySet capabilities(Boot boot, bool reboot, bool wake) {
  CapabilitySet set;
  switch (boot) {
    case Boot::patched:
      set = {Capability::audit_control, Capability::sys_nice,         Capability::setpcap,
             Capability::setgid,        Capability::setuid,           Capability::sys_ptrace,
             Capability::sys_admin,     Capability::sys_time,         Capability::net_admin,
             Capability::net_raw,       Capability::net_bind_service, Capability::kill,
             Capability::dac_override,  Capability::dac_read_search,  Capability::fsetid,
             Capability::mknod,         Capability::syslog,           Capability::chown,
             Capability::sys_resource,  Capability::fowner,           Capability::ipc_lock,
             Capability::sys_chroot};
      break;
    case Boot::second_stage:
      set = {Capability::chown,           Capability::dac_override,
             Capability::dac_read_search, Capability::fowner,
             Capability::fsetid,          Capability::kill,
             Capability::setgid,          Capability::setuid,
             Capability::setpcap,         Capability::net_bind_service,
             Capability::net_broadcast,   Capability::net_admin,
             Capability::net_raw,         Capability::ipc_lock,
             Capability::ipc_owner,       Capability::sys_rawio,
             Capability::sys_chroot,      Capability::sys_ptrace,
             Capability::sys_admin,       Capability::sys_nice,
             Capability::sys_resource,    Capability::sys_tty_config,
             Capability::mknod,           Capability::audit_write,
             Capability::audit_control};
      break;
    case Boot::redroid:
      set = CapabilitySet::all();
      for (const Capability c :
           {Capability::sys_boot, Capability::sys_module, Capability::mac_admin,
            Capability::mac_override, Capability::wake_alarm, Capability::block_suspend})
        set.drop(c);
      break;
  }
  if (reboot) set.add(Capability::sys_boot);
  if (wake) set.add(Capability::wake_alarm).add(Capability::block_suspend);
  return set;
}

std::vector<std::string> shell_environment() {
  std::vector<std::string> env = {std::string(path)};
  for (const char* variable :
       {"ANDROID_ROOT=/system", "ANDROID_DATA=/data", "ANDROID_STORAGE=/storage",
        "ANDROID_ART_ROOT=/apex/com.android.art", "ANDROID_I18N_ROOT=/apex/com.android.i18n",
        "ANDROID_TZDATA_ROOT=/apex/com.android.tzdata", "EXTERNAL_STORAGE=/sdcard",
        "ASEC_MOUNTPOINT=/mnt/asec", "ANDROID_ASSETS=/system/app", "ANDROID_BOOTLOGO=1"})
    env.emplace_back(variable);
  return env;
}

std::vector<Lack> lacks(const Facts& facts, unsigned devices) {
  std::vector<Lack> list;
  const auto has_node = [&](std::string_view name) {
    return std::ranges::any_of(facts.nodes, [&](const DeviceNode& n) { return n.name == name; });
  };
  if (!facts.binderfs && facts.binder_pool.size() < devices)
    list.push_back({.what = facts.binder_pool.empty()
                                ? std::string("binder")
                                : formatted("nodes of binder's for more than {} devices",
                                            facts.binder_pool.size()),
                    .without = "nothing starts",
                    .hint = facts.binder_module});
  if (facts.page_size > 4096)
    list.push_back({.what = "pages of 4 KiB",
                    .without = "images before Android 15 do not start",
                    .hint = "a kernel with CONFIG_ARM64_4K_PAGES"});
  if (!facts.memory_pressure)
    list.push_back({.what = "/proc/pressure",
                    .without = "lmkd ends, and the system server restarts for ever",
                    .hint = "a kernel with CONFIG_PSI; psi=1 on its command line"});
  if (!facts.ipv6)
    list.push_back({.what = "IPv6",
                    .without = "netd restarts for ever, and there is no network",
                    .hint = "ipv6.disable=1 on the kernel's command line switches it off"});
  if (!has_node("fuse"))
    list.push_back({.what = "/dev/fuse",
                    .without = "there is no /sdcard, and vold waits for it",
                    .hint = "modprobe fuse"});
  if (!facts.loop_devices)
    list.push_back({.what = "loop devices",
                    .without = "none of images starts, only of directories",
                    .hint = "modprobe loop"});
  // Guests without a user namespace share the machine's uids 0 and 1000.
  constexpr std::uint64_t instances = 8;
  if (facts.inotify_instances != 0 && facts.inotify_instances < instances * devices)
    list.push_back(
        {.what = formatted("{} inotify instances", instances * devices),
         .without = "input does not work: \"Could not register INotify\"",
         .hint = formatted("sysctl fs.inotify.max_user_instances={}", instances * devices)});
  return list;
}

Result<Spec> spec_for(const Device& device, const HostFacts& host, const Facts& facts) {
  return Translator(device, host, facts).run();
}

}  // namespace condroid::inline v0::android
