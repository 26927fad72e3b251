#include "condroid/android/device.hpp"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <string>
#include <vector>

#include "bpf_machine.hpp"
#include "catch.hpp"
#include "condroid/plan.hpp"
#include "facts.hpp"

using namespace condroid;
using namespace condroid::literals;
using android::Boot;
using android::Device;
using android::Facts;

namespace {

HostFacts machine() { return test::root_on_v2(); }

Device device() {
  return {.system = {.image = "/srv/system.img"_host},
          .vendor = {.image = "/srv/vendor.img"_host},
          .data = "/srv/data"_host,
          .binder = android::Binder::none};
}

Spec spec_of(const Device& d, const Facts& f = {}) {
  auto spec = android::spec_for(d, machine(), f);
  if (!spec) FAIL(to_string(spec.error()));
  return std::move(*spec);
}

std::string error_of(const Device& d, const Facts& f = {}) {
  auto spec = android::spec_for(d, machine(), f);
  return spec ? "" : to_string(spec.error());
}

template <class M>
const M* mount_at(const Spec& spec, std::string_view target) {
  for (const Mount& m : spec.mounts)
    if (const auto* found = std::get_if<M>(&m); found != nullptr && found->target.str() == target)
      return found;
  return nullptr;
}

}  // namespace

TEST_CASE("every way to boot compiles, and reads back as text", "[android]") {
  for (const Boot boot : {Boot::patched, Boot::second_stage, Boot::redroid}) {
    Device d = device();
    d.boot = boot;
    d.androidboot = {{"hardware", "x"}};
    d.screen = android::Screen{};
    d.render_node = "/dev/dri/renderD128"_host;
    d.folders = {{.source = "/home/me"_host, .name = "Host"}};
    const Spec spec = spec_of(d, {.ipv6 = true, .bootconfig = true});
    auto plan = compile(spec, machine());
    if (!plan && CONDROID_LIBSECCOMP) FAIL(to_string(plan.error()));
    auto again = parse_spec(print_spec(spec));
    if (!again) FAIL(to_string(again.error()));
    CHECK(*again == spec);
    CHECK(spec == spec_of(d, {.ipv6 = true, .bootconfig = true}));  // nothing of chance
  }
}

TEST_CASE("images are mounted read-only, or below an overlay", "[android]") {
  Device d = device();
  Spec spec = spec_of(d);
  CHECK(spec.root.image.path == "/srv/system.img"_host);
  CHECK(spec.root.read_only);
  const auto* vendor = mount_at<ImageMount>(spec, "/vendor");
  REQUIRE(vendor != nullptr);
  CHECK(vendor->flags.has(MountFlag::read_only));
  d.system.overlay = d.vendor.overlay = true;
  d.product = {.directory = "/srv/product"_host};
  spec = spec_of(d);
  CHECK(spec.root.ephemeral);
  CHECK_FALSE(spec.root.read_only);
  CHECK(mount_at<ImageMount>(spec, "/vendor")->ephemeral);
  const auto* product = mount_at<Bind>(spec, "/product");
  REQUIRE(product != nullptr);
  CHECK(product->flags.has(MountFlag::read_only));
}

TEST_CASE("binder is binderfs, or a triple of the pool, or told to be missing", "[android]") {
  Device d = device();
  d.binder = android::Binder::automatic;
  const android::BinderNodes one = {
      "/dev/c1-binder"_host, "/dev/c1-hwbinder"_host, "/dev/c1-vndbinder"_host, {61, 62, 63}};
  Spec spec = spec_of(d, {.binderfs = true, .binder_major = 511, .binder_pool = {one}});
  CHECK(mount_at<FsMount>(spec, "/dev/binderfs")->type == "binder");
  CHECK(spec.devices.permitted.at(0).major == 511U);
  spec = spec_of(d, {.binder_pool = {one}});
  const auto& made = spec.devices.nodes;
  const auto hw = std::ranges::find_if(made, [](const auto& n) { return n.name == "hwbinder"; });
  REQUIRE(hw != made.end());
  CHECK(hw->major == 10);
  CHECK(hw->minor == 62);
  CHECK(hw->mode.value == 0666);
  d.binder = android::Binder::pool;
  d.binder_nodes = {"/dev/a"_host, "/dev/b"_host, "/dev/c"_host, {}};
  spec = spec_of(d, {.binderfs = true});
  CHECK(mount_at<Bind>(spec, "/dev/vndbinder")->source == "/dev/c"_host);
  d.binder_nodes = {};
  const Facts none{.binder_module = "modprobe binder_linux devices=x"};
  CHECK(error_of(d, none).find("binder: there are no nodes") != std::string::npos);
  d.binder = android::Binder::automatic;
  CHECK(error_of(d, none).find("hint: modprobe binder_linux devices=x") != std::string::npos);
  d.binder = android::Binder::binderfs;
  CHECK(error_of(d, {.binder_pool = {one}}).find("no binderfs") != std::string::npos);
}

TEST_CASE("what is wrong with a device is said with its field, all at once", "[android]") {
  struct Case {
    const char* field;
    const char* words;
    std::function<void(Device&)> change;
  };
  const std::string long_value(92, 'v');
  const Case cases[] = {
      {"system", "is missing", [](Device& d) { d.system = {}; }},
      {"vendor", "an image and a directory", [](Device& d) { d.vendor.directory = "/x"_host; }},
      {"odm.image", "not absolute", [](Device& d) { d.odm.image = "x"_host; }},
      {"odm.overlay", "above nothing", [](Device& d) { d.odm.overlay = true; }},
      {"vendor.work", "is missing",
       [](Device& d) { d.vendor.overlay = true, d.vendor.upper = "/u"_host; }},
      {"vendor.upper", "is of an overlay",
       [](Device& d) { d.vendor.upper = "/u"_host, d.vendor.work = "/w"_host; }},
      {"data", "not absolute", [](Device& d) { d.data = "data"_host; }},
      {"data_idmapped", "no id map", [](Device& d) { d.data_idmapped = true; }},
      {"folders[0].name", "no name",
       [](Device& d) {
         d.folders = {{"/x"_host, "../up"}};
       }},
      {"screen.density", "not among", [](Device& d) { d.screen = {.density = 5}; }},
      {"androidboot[0]", "no key",
       [](Device& d) {
         d.androidboot = {{"a b", "c"}};
       }},
      {"androidboot[0]", "no value",
       [](Device& d) {
         d.androidboot = {{"a", "b c"}};
       }},
      {"androidboot[0]", "no value",
       [](Device& d) {
         d.androidboot = {{"a", "b=c"}};
       }},
      {"androidboot[0]", "no value",
       [](Device& d) {
         d.androidboot = {{"a", ""}};
       }},
      {"androidboot[1]", "twice",
       [](Device& d) {
         d.androidboot = {{"a", "b"}, {"a", "c"}};
       }},
      {"cmdline[0]", "no word", [](Device& d) { d.cmdline = {"a b"}; }},
      {"properties[0]", "92 bytes",
       [&](Device& d) {
         d.properties = {{"persist.x", long_value}};
       }},
      {"properties[0]", "key is empty",
       [](Device& d) {
         d.properties = {{"", "v"}};
       }},
      {"properties[0]", "in a row",
       [](Device& d) {
         d.properties = {{"a..b", "v"}};
       }},
      {"properties[0]", "letters, digits",
       [](Device& d) {
         d.properties = {{"a=b", "v"}};
       }},
      {"properties[0]", "line feed",
       [](Device& d) {
         d.properties = {{"a", "v\nro.x=1"}};
       }},
      {"properties[0]", "UTF-8",
       [](Device& d) {
         d.properties = {{"a", "\xc0\x80"}};
       }},
      {"properties[1]", "twice",
       [](Device& d) {
         d.properties = {{"a", "1"}, {"a", "2"}};
       }},
      {"property_file", "is missing",
       [](Device& d) {
         d.boot = Boot::second_stage, d.properties = {{"a", "1"}};
       }},
      {"properties[0]", "argument of init",
       [](Device& d) {
         d.boot = Boot::redroid, d.properties = {{"persist.a", "1"}};
       }},
      {"vendor.overlay", "not shifted",
       [](Device& d) {
         d.vendor.overlay = true;
         d.idmap = {
             .kind = IdMap::ranges, .uids = {{0, 1000, 100000}}, .gids = {{0, 1000, 100000}}};
       }},
      {"idmap", "does not cover",
       [](Device& d) {
         d.idmap = {.kind = IdMap::ranges, .uids = {{0, 1000, 1000}}, .gids = {{0, 1000, 1000}}};
       }},
  };
  for (const Case& c : cases) {
    Device d = device();
    c.change(d);
    const std::string error = error_of(d);
    INFO(c.field << ": " << error);
    CHECK(error.find(std::string(c.field) + ": ") != std::string::npos);
    CHECK(error.find(c.words) != std::string::npos);
    CHECK(error.find("hint: ") != std::string::npos);
  }
  Device d = device();
  d.system = {};
  d.cmdline = {""};
  const std::string both = error_of(d);
  CHECK(both.find("system: ") != std::string::npos);
  CHECK(both.find("cmdline[0]: ") != std::string::npos);
}

TEST_CASE("what the machine lacks is said, with what becomes of it", "[android]") {
  const std::vector<DeviceNode> fuse = {{.name = "fuse", .major = 10, .minor = 229}};
  Facts f{.binderfs = true,
          .nodes = fuse,
          .memory_pressure = true,
          .loop_devices = true,
          .ipv6 = true,
          .inotify_instances = 128};
  CHECK(android::lacks(f).empty());
  CHECK(android::lacks(f, 16).empty());
  REQUIRE(android::lacks(f, 17).size() == 1);
  CHECK(android::lacks(f, 17)[0].hint == "sysctl fs.inotify.max_user_instances=136");
  f.binderfs = false;
  f.binder_pool = {{"/dev/binder"_host, "/dev/hwbinder"_host, "/dev/vndbinder"_host, {1, 2, 3}}};
  CHECK(android::lacks(f).empty());
  CHECK(android::lacks(f, 2)[0].what == "nodes of binder's for more than 1 devices");
  const auto all = android::lacks({.page_size = 16384});
  REQUIRE(all.size() == 6);
  CHECK(all[0].what == "binder");
  for (const auto& lack : all) CHECK_FALSE(lack.without.empty());
  CHECK(android::probe_facts().page_size >= 4096);
  CHECK(android::probe_facts().inotify_instances > 0);
}

TEST_CASE("an image is told to do without nodes that are not there", "[android]") {
  Device d = device();
  const auto text = [&](const Facts& f) {
    const Spec spec = spec_of(d, f);
    const auto* file = mount_at<FileMount>(spec, "/vendor/waydroid.prop");
    return file == nullptr ? std::string("none") : file->content;
  };
  CHECK(text({}) == "none");
  d.properties = {{"ro.a", "b"}};
  CHECK(text({}) ==
        "ro.a=b\nsys.use_memfd=true\ndebug.stagefright.ccodec=0\nro.cold_boot_done=true\n");
  CHECK(text({.nodes = {{.name = "ashmem", .major = 10, .minor = 60},
                        {.name = "ion", .major = 10, .minor = 61}}}) ==
        "ro.a=b\nro.cold_boot_done=true\n");
  d.properties = {{"sys.use_memfd", "false"}};
  CHECK(text({}).find("sys.use_memfd=true") == std::string::npos);
}

TEST_CASE("the first GPU is taken that images can do with", "[android]") {
  Facts facts;
  CHECK(android::render_node(facts).empty());
  facts.render_nodes = {{.path = "/dev/dri/renderD128"_host, .minor = 128, .driver = "nvidia"}};
  CHECK(android::render_node(facts).empty());
  facts.render_nodes.push_back({.path = "/dev/dri/renderD129"_host, .minor = 129});
  facts.render_nodes.push_back(
      {.path = "/dev/dri/renderD130"_host, .minor = 130, .driver = "amdgpu"});
  CHECK(android::render_node(facts) == "/dev/dri/renderD129"_host);

  Device d = device();
  const auto has = [](const Spec& s, std::uint32_t minor) {
    return std::ranges::any_of(s.devices.nodes, [&](const DeviceNode& n) {
      return n.name == fmt::format("dri/renderD{}", minor) && n.major == 226 && n.minor == minor &&
             n.mode.value == 0666 && n.gid.value == 1003;
    });
  };
  CHECK_FALSE(has(spec_of(d, facts), 129));
  d.any_render_node = true;
  const Spec spec = spec_of(d, facts);
  CHECK(has(spec, 129));
  REQUIRE(mount_at<FileMount>(spec, "/vendor/waydroid.prop") != nullptr);
  CHECK_THAT(mount_at<FileMount>(spec, "/vendor/waydroid.prop")->content,
             Catch::Contains("gralloc.gbm.device=/dev/dri/renderD129\n"));
  CHECK(spec_of(d) == spec_of(device()));  // there is none
  d.boot = Boot::redroid;
  const auto has_word = [](const Spec& s, std::string_view word) {
    return std::ranges::find(s.process.argv, word) != s.process.argv.end();
  };
  CHECK(has_word(spec_of(d, facts), "androidboot.redroid_gpu_mode=host"));
  CHECK(has_word(spec_of(d, facts), "androidboot.redroid_gpu_node=/dev/dri/renderD129"));
  CHECK_FALSE(has_word(spec_of(d), "androidboot.redroid_gpu_mode=host"));
  d.androidboot = {{"redroid_gpu_mode", "guest"}};
  CHECK_FALSE(has_word(spec_of(d, facts), "androidboot.redroid_gpu_mode=host"));
  d = device();
  d.render_node = "/dev/dri/renderD128"_host;
  CHECK(has(spec_of(d, facts), 128));
  // One that nobody knows is what it is on the host.
  d.render_node = "/dev/dri/renderD131"_host;
  CHECK(mount_at<Bind>(spec_of(d, facts), "/dev/dri/renderD131") != nullptr);
}

TEST_CASE("devices of the host are given by kind", "[android]") {
  using android::HostDevice;
  Facts facts;
  facts.host_nodes = {
      {HostDevice::camera, {.name = "video0", .major = 81, .minor = 0, .gid = {1006}}},
      {HostDevice::sound, {.name = "snd/controlC0", .major = 116, .minor = 2, .gid = {1005}}},
      {HostDevice::input, {.name = "input/event0", .major = 13, .minor = 64, .gid = {1004}}}};
  const auto has = [](const Spec& spec, std::string_view name) {
    return std::ranges::any_of(spec.devices.nodes,
                               [&](const DeviceNode& n) { return n.name == name; });
  };
  Device d = device();
  CHECK(spec_of(d, facts) == spec_of(d));
  CHECK(mount_at<Tmpfs>(spec_of(d), "/dev/input") != nullptr);
  d.host_devices = HostDevice::camera | HostDevice::sound;
  Spec spec = spec_of(d, facts);
  CHECK(has(spec, "video0"));
  CHECK(has(spec, "snd/controlC0"));
  CHECK_FALSE(has(spec, "input/event0"));
  CHECK(mount_at<Tmpfs>(spec, "/dev/input") != nullptr);
  // What lies on /dev/input would hide them.
  d.host_devices = HostDevice::input;
  spec = spec_of(d, facts);
  CHECK(has(spec, "input/event0"));
  CHECK(mount_at<Tmpfs>(spec, "/dev/input") == nullptr);
  d.host_devices = {};
  d.nodes = {{.name = "input/event7", .major = 13, .minor = 71}};
  CHECK(mount_at<Tmpfs>(spec_of(d, facts), "/dev/input") == nullptr);
  d.nodes = {};
  d.host_devices = HostDevice::input;
  // No node of a user namespace's can be opened.
  d.idmap = {.kind = IdMap::subids};
  HostFacts host = machine();
  host.subuids = host.subgids = {{.start = 100000, .count = 200000}};
  auto mapped = android::spec_for(d, host, facts);
  if (!mapped) FAIL(to_string(mapped.error()));
  CHECK(mount_at<Bind>(*mapped, "/dev/input/event0") != nullptr);
}

TEST_CASE("a session's sockets are where Waydroid's images look for them", "[android]") {
  Device d = device();
  d.session.wayland = "/run/user/1000/wayland-1"_host;
  Spec spec = spec_of(d);
  REQUIRE(mount_at<Bind>(spec, "/run/xdg/wayland-0") != nullptr);
  CHECK(mount_at<Bind>(spec, "/run/xdg/wayland-0")->source == d.session.wayland);
  CHECK(mount_at<Bind>(spec, "/run/xdg/pulse/native") == nullptr);
  d.session.pulse = "/run/user/1000/pulse/native"_host;
  spec = spec_of(d);
  CHECK(mount_at<Bind>(spec, "/run/xdg/pulse/native") != nullptr);
  for (const char* line :
       {"waydroid.xdg_runtime_dir=/run/xdg\n", "waydroid.wayland_display=wayland-0\n",
        "waydroid.pulse_runtime_path=/run/xdg/pulse\n"})
    CHECK_THAT(mount_at<FileMount>(spec, "/vendor/waydroid.prop")->content, Catch::Contains(line));
  d.boot = Boot::redroid;
  CHECK_THAT(error_of(d), Catch::Contains("session: is for Boot::patched"));
  d.boot = Boot::patched;
  d.idmap = {.kind = IdMap::subids};
  CHECK_THAT(error_of(d), Catch::Contains("session: whoever has it here"));
  d.idmap = device().idmap;
  d.session.pulse = "native"_host;
  CHECK_THAT(error_of(d), Catch::Contains("session.pulse: 'native' is not absolute"));
}

TEST_CASE("properties have Android's limits", "[android]") {
  const auto fine = [](std::string key, std::string value) {
    return android::property_mistake({std::move(key), std::move(value)}).empty();
  };
  CHECK(fine("persist.sys.x", std::string(91, 'v')));
  CHECK_FALSE(fine("persist.sys.x", std::string(92, 'v')));
  CHECK(fine("ro.fingerprint", std::string(4000, 'v')));
  CHECK(fine("init.svc.a-b_c@1:d", ""));
  CHECK(fine("ro.name", "Gerät €𝄞"));
  CHECK_FALSE(fine(".a", "v"));
  CHECK_FALSE(fine("a.", "v"));
  CHECK_FALSE(fine("a b", "v"));
  CHECK_FALSE(fine("a", " v"));
  CHECK_FALSE(fine("a", std::string("v\0w", 3)));
  for (const char* bad : {"\xff", "\xe2\x82", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe0\x80\x80"})
    CHECK_FALSE(fine("a", bad));
  CHECK(android::property_text({{"a", "1"}, {"ro.b", "x y"}}) == "a=1\nro.b=x y\n");
}

#if CONDROID_LIBSECCOMP
TEST_CASE("a guest's calls are answered as they should be, 32-bit ones alike", "[android]") {
  const auto filter = compile(android::seccomp());
  if (!filter) FAIL(to_string(filter.error()));
  constexpr auto fails = [](std::uint32_t error) { return SECCOMP_RET_ERRNO | error; };
  struct Row {
    int own, compat;
    std::uint32_t answer;
  };
#if defined(__x86_64__)
  constexpr std::uint32_t arch = AUDIT_ARCH_X86_64, compat = AUDIT_ARCH_I386;
  const Row rows[] = {
      {175, 128, SECCOMP_RET_KILL_PROCESS},  // init_module
      {313, 350, SECCOMP_RET_KILL_PROCESS},  // finit_module
      {246, 283, SECCOMP_RET_KILL_PROCESS},  // kexec_load
      {169, 88, fails(EPERM)},               // reboot
      {304, 342, fails(ENOSYS)},             // open_by_handle_at
      {227, 264, fails(0)},                  // clock_settime
      {227, 404, fails(0)},                  // clock_settime64
      {164, 79, fails(0)},                   // settimeofday
      {250, 288, fails(0)},                  // keyctl
      {167, 87, fails(0)},                   // swapon
      {165, 21, SECCOMP_RET_ALLOW},          // mount
      {308, 346, SECCOMP_RET_ALLOW},         // setns
      {312, 349, SECCOMP_RET_ALLOW},         // kcmp
      {298, 336, SECCOMP_RET_ALLOW},         // perf_event_open
  };
  constexpr int ioctl = 16, compat_ioctl = 54, reboot = 169;
#else
  constexpr std::uint32_t arch = AUDIT_ARCH_AARCH64, compat = AUDIT_ARCH_ARM;
  const Row rows[] = {{105, 128, SECCOMP_RET_KILL_PROCESS},
                      {142, 88, fails(EPERM)},
                      {265, 371, fails(ENOSYS)},
                      {112, 262, fails(0)},
                      {40, 21, SECCOMP_RET_ALLOW}};
  constexpr int ioctl = 29, compat_ioctl = 54, reboot = 142;
#endif
  const auto asked = [&](std::uint32_t of, int number, std::uint64_t second = 0) {
    return test::verdict(filter->program, {.nr = number, .arch = of, .args = {0, second}});
  };
  for (const Row& row : rows) {
    INFO(row.own << " " << row.compat);
    CHECK(asked(arch, row.own) == row.answer);
    CHECK(asked(compat, row.compat) == row.answer);
  }
  for (const std::uint64_t request : {0x400c620eU, 0xc00c620fU}) {
    CHECK(asked(arch, ioctl, request) == fails(EINVAL));
    CHECK(asked(arch, ioctl, request | 0xffff'0000'0000'0000U) == fails(EINVAL));
    CHECK(asked(compat, compat_ioctl, request) == fails(EINVAL));
  }
  CHECK(asked(arch, ioctl, 0xc0306201) == SECCOMP_RET_ALLOW);  // BINDER_WRITE_READ
#if defined(__x86_64__)
  for (const int call : {0, 169, 175}) CHECK(asked(arch, call | 0x40000000) != SECCOMP_RET_ALLOW);
#endif
  const auto open = compile(android::seccomp(true));
  REQUIRE(open.has_value());
  CHECK(test::verdict(open->program, {.nr = reboot, .arch = arch}) == SECCOMP_RET_ALLOW);
}
#endif

TEST_CASE("rights are what an image needs and this program has", "[android]") {
  CHECK_FALSE(android::capabilities(Boot::redroid).has(Capability::sys_boot));
  CHECK_FALSE(android::capabilities(Boot::redroid).has(Capability::sys_module));
  CHECK_FALSE(android::capabilities(Boot::patched).has(Capability::wake_alarm));
  CHECK(android::capabilities(Boot::patched, true, true).has(Capability::sys_boot));
  HostFacts less = machine();
  less.effective_caps &= ~(std::uint64_t{1} << 24U);
  const auto spec = android::spec_for(device(), less, {});
  REQUIRE(spec.has_value());
  CHECK_FALSE(spec->security.capabilities.has(Capability::sys_resource));
  CHECK(compile(*spec, less).has_value() == bool(CONDROID_LIBSECCOMP));
  HostFacts user = machine();
  user.effective_caps = 0;
  CHECK_FALSE(android::spec_for(device(), user, {}).has_value());
}
