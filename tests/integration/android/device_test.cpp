// Devices without binder: what init finds in its world, by each way to boot, and what is refused.
#include "condroid/android/device.hpp"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>

#include "android_root.hpp"
#include "condroid/android/kmsg.hpp"
#include "in_child.hpp"

using namespace condroid;
using namespace condroid::literals;
using namespace condroid::test;
using android::Boot;
using android::Device;

namespace {

/// The rights that this program can give at all.
std::string bits(CapabilitySet set) {
  return fmt::format("{:016x}", set.keep(CapabilitySet::from_bits(facts().effective_caps)).bits());
}

void check_filter(const Report& r) {
  for (const char* call :
       {"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load"})
    CHECK(r[fmt::format("call:{}", call)] == "SIGSYS");
  CHECK(r["call:open_by_handle_at"] == "ENOSYS");
  for (const char* call : {"adjtimex", "clock_adjtime", "clock_settime", "settimeofday", "add_key",
                           "keyctl", "request_key", "swapon", "swapoff"})
    CHECK(r[fmt::format("call:{}", call)] == "ok");
  CHECK(r["call:ioctl.BINDER_FREEZE"] == "EINVAL");
  CHECK(r["call:ioctl.BINDER_FREEZE.high"] == "EINVAL");
  CHECK(r["call:ioctl.other"] == "EBADF");
  CHECK(r["call:setns"] == "EBADF");
  CHECK(r["call:unshare"] == "ok");
  CHECK(r["call:memfd_create"] == "EFAULT");
  CHECK(r["call:seccomp"] == "EINVAL");
  CHECK(r["call:bpf"] == "EINVAL");
}

void check_common(const Report& r) {
  CHECK(r["pid"] == "1");
  CHECK(r["umask"] == "0");
  CHECK(r["cwd"] == "/");
  CHECK(r["NoNewPrivs"] == "1");
  CHECK(r["Seccomp"] == "2");
  CHECK(r["rlimit.core"] == "0 0");
  rlimit files{};
  must(::getrlimit(RLIMIT_NOFILE, &files) == 0, "getrlimit");
  const bool may_raise = (facts().effective_caps >> 24U & 1U) != 0;  // CAP_SYS_RESOURCE
  CHECK(std::strtoull(r["rlimit.nofile"].c_str(), nullptr, 10) ==
        (may_raise ? 32768U : std::min<std::uint64_t>(32768, files.rlim_max)));
  if (may_raise) CHECK(r["rlimit.nice"] == "40 40");
  CHECK(r["mount:/dev"].starts_with("tmpfs rw,nosuid"));
  CHECK(r["mount:/dev"].find("nodev") == std::string::npos);
  CHECK(r["mount:/dev/pts"].starts_with("devpts rw,nosuid,noexec"));
  for (const auto& [node, what] : {std::pair{"null", "c 1:3 0666 0:0"},
                                   {"zero", "c 1:5 0666 0:0"},
                                   {"full", "c 1:7 0666 0:0"},
                                   {"random", "c 1:8 0666 0:0"},
                                   {"urandom", "c 1:9 0666 0:0"},
                                   {"tty", "c 5:0 0666 0:0"}}) {
    CHECK(r[fmt::format("node:/dev/{}", node)] == what);
    if (node != std::string_view("tty")) CHECK(r[fmt::format("open:/dev/{}", node)] == "ok");
  }
  // The machine's log is not the guest's.
  CHECK(r["node:/dev/kmsg"] == "c 1:3 0600 0:0");
  CHECK(r["dir:/dev/input"] == "0755 0:0");
  CHECK(r["link:/dev/ptmx"] == "pts/ptmx");
  CHECK(r["make:7:0"] == "ok");
  CHECK(r["open:7:0"] == "EPERM");
  for (const DeviceNode& n : android::probe_facts().nodes)
    CHECK(r["node:/dev/" + n.name] == fmt::format("c {}:{} {:04o} {}:{}", n.major, n.minor,
                                                  n.mode.value, n.uid.value, n.gid.value));
  CHECK(r["write:/made-by-init"] == "EROFS");
  CHECK(r["write:/dev/made-by-init"] == "ok");
  CHECK(r["write:/data/made-by-init"] == "ok");
  CHECK(r["data.chown"] == "ok");
  CHECK(r["part:/system"] == "of the system");
  CHECK(r["part:/vendor"] == "of the vendor");
  CHECK(r["write:/vendor/made-by-init"] == "EROFS");
  CHECK(r["setting:/proc/sys/net/ipv4/ping_group_range"] == "0 2147483647");
  CHECK(r["setting:/proc/sys/net/unix/max_dgram_qlen"] == "2400");
  CHECK(r["setting:/proc/sys/net/ipv4/fwmark_reflect"] == "1");
  CHECK(r["second.shared"] == "ok");
  for (const char* dir : {"/apex", "/linkerconfig", "/bootstrap-apex"})
    CHECK(r[fmt::format("second.mount:{}", dir)] == "ok");
  CHECK(r["second.unshare"] == "ok");
  CHECK(r["second.setns"] == "ok");
  CHECK(r["reboots"] == "no");
  check_filter(r);
}

void check_kernel_files(const Report& r) {
  // Files of its own stand for what init must be able to write.
  CHECK(r["write:/proc/sys/vm/mmap_rnd_bits"] == "ok");
  CHECK(r["write:/proc/sys/kernel/kptr_restrict"] == "ok");
  for (const char* path : {"/proc/sys/kernel/sysrq", "/proc/sys/kernel/panic_on_oops"})
    CHECK(r[fmt::format("write:{}", path)] == (::access(path, F_OK) == 0 ? "EROFS" : "ENOENT"));
  CHECK(r["write:/proc/sys/net/ipv4/ip_forward"] == "ok");
  for (const char* path : {"/proc/sysrq-trigger", "/sys/power/state", "/sys/power/wake_lock",
                           "/proc/vmallocinfo", "/proc/kcore"}) {
    INFO(path);
    CHECK(r[fmt::format("hidden:{}", path)] == (::access(path, F_OK) == 0 ? "yes" : "missing"));
  }
}

void check_orderly_end(Booted& b) {
  const auto begun = std::chrono::steady_clock::now();
  const auto ended = b.box.stop();
  REQUIRE(ended.has_value());
  CHECK(ended->success());
  CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(9));
}

}  // namespace

TEST_CASE("an init that was changed for containers finds everything mounted", "[android][.root]") {
  const AndroidRoot root;
  { const Booted first = boot(root.device()); }  // what a Runtime keeps is there then
  const Surroundings before = Surroundings::quiet();
  const std::string rnd_bits = read_file("/proc/sys/vm/mmap_rnd_bits");
  {
    Device d = root.device();
    d.properties = {{"ro.hardware.gralloc", "gbm"}, {"sys.use_memfd", "true"}};
    d.screen = {.width = 600, .height = 800, .density = 240};
    d.cmdline = {"quiet"};
    Booted b = boot(d);
    const Report& r = b.report;
    check_common(r);
    check_kernel_files(r);
    CHECK(r["arg0"] == "/init");
    CHECK(r["arg1"] == "(missing)");
    CHECK(r.all("env").size() == 1);
    CHECK(r["env"].starts_with("PATH=/product/bin:/apex/"));
    CHECK(r["cmdline"] ==
          "androidboot.hardware=fake androidboot.serialno=0001 androidboot.lcd_density=240 quiet");
    CHECK(r["property:ro.hardware.gralloc"] == "gbm");
    CHECK(r["property:sys.use_memfd"] == "true");
    CHECK(r["property:persist.waydroid.width"] == "600");
    CHECK(r["property:ro.sf.lcd_density"] == "240");
    CHECK(r["property:ro.of"] == "the image");  // of /default.prop
    CHECK(r["CapBnd"] == bits(android::capabilities(Boot::patched)));
    CHECK(r["CapEff"] == r["CapBnd"]);
    CHECK(r["mount:/proc"].starts_with("proc rw,nosuid,nodev,noexec"));
    CHECK(r["mount:/sys"].starts_with("sysfs ro,nosuid,nodev,noexec"));
    CHECK(r["mount:/sys/fs/cgroup"].starts_with("cgroup2 rw,nosuid,nodev,noexec"));
    CHECK(r["cgroup.mkdir"] == "ok");
    CHECK(r["cgroup.procs"] == "ok");
    CHECK(r["cgroup.rmdir"] == "ok");
    for (const char* dir : {"/tmp", "/run", "/var", "/mnt_extra"})
      CHECK(r[fmt::format("mount:{}", dir)].starts_with("tmpfs rw,nodev"));
    CHECK(::access((root / "data/made-by-init").c_str(), F_OK) == 0);
    check_orderly_end(b);
  }
  CHECK(read_file("/proc/sys/vm/mmap_rnd_bits") == rnd_bits);
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("its limits are out of its reach where it has a place for its cgroups",
          "[android][.root]") {
  const AndroidRoot root;
  Device d = root.device();
  const std::string place = fmt::format("device-test-{}", ::getpid());
  d.resources = {
      .cgroup = CgroupMode::everywhere, .cgroup_path = place + "/phone", .pids_max = 500};
  Booted b = boot(d);
  check_common(b.report);  // the list of devices holds below, too
  CHECK(b.report["cgroup.mkdir"] == "ok");
  CHECK(b.report["cgroup.procs"] == "ok");
  CHECK(b.report["cgroup.rmdir"] == "ok");
  std::size_t found = 0;
  for (const CgroupHierarchy& h : facts().cgroups) {
    const std::string group = h.mount_point + "/" + place + "/phone";
    if (::access(group.c_str(), F_OK) != 0) continue;
    ++found;
    INFO(group);
    CHECK(read_file(group + "/cgroup.procs").empty());
    CHECK(read_file(group + "/guest/cgroup.procs")
              .starts_with(fmt::format("{}\n", b.box.pid().value)));
    if (::access((group + "/pids.max").c_str(), F_OK) != 0) continue;
    CHECK(read_file(group + "/pids.max") == "500\n");
    CHECK(read_file(group + "/guest/pids.max") == "max\n");
  }
  CHECK(found > 0);
  check_orderly_end(b);
}

TEST_CASE("a second stage finds what the first would have left", "[android][.root]") {
  const AndroidRoot root;
  Device d = root.device();
  d.boot = Boot::second_stage;
  d.properties = {{"ro.cold_boot_done", "true"}, {"ro.debuggable", "1"}};
  d.property_file = "/default.prop"_guest;
  Booted b = boot(d);
  const Report& r = b.report;
  check_common(r);
  check_kernel_files(r);
  CHECK(r["arg0"] == "/system/bin/init");
  CHECK(r["arg1"] == "second_stage");
  CHECK(r.all("env").size() == 4);
  CHECK(r.all("env").back() == "INIT_SECOND_STAGE=y");
  CHECK(r["property:ro.debuggable"] == "1");
  CHECK(r["cmdline"] == "androidboot.hardware=fake androidboot.serialno=0001");
  CHECK(r["super:/proc"].find("hidepid=invisible") != std::string::npos);
  CHECK(r["super:/proc"].find("gid=3009") != std::string::npos);
  CHECK(r["mount:/sys"].starts_with("sysfs rw,nosuid,nodev,noexec"));
  CHECK(r["mount:/mnt"].starts_with("tmpfs rw,nosuid,nodev,noexec"));
  CHECK(r["super:/mnt"].find("gid=1000") != std::string::npos);
  for (const char* dir : {"/mnt/vendor", "/mnt/product", "/debug_ramdisk", "/dev/socket"})
    CHECK(r[fmt::format("mount:{}", dir)].starts_with("tmpfs rw,nosuid,nodev,noexec"));
  CHECK(r["mount:/second_stage_resources"].starts_with("tmpfs rw,nosuid,nodev"));
  CHECK(r["write:/dev/socket/made-by-init"] == "ok");
  for (const char* set : {"CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"})
    CHECK(r[set] == bits(android::capabilities(Boot::second_stage)));
  check_orderly_end(b);
}

TEST_CASE("a first stage that goes on where it fails has its words as arguments",
          "[android][.root]") {
  const AndroidRoot root;
  Device d = root.device();
  d.boot = Boot::redroid;
  d.screen = android::Screen{.fps = 15};
  d.properties = {{"ro.setupwizard.mode", "DISABLED"}};
  Booted b = boot(d);
  const Report& r = b.report;
  check_common(r);
  CHECK(r["first.proc"] == "ok");
  CHECK(r["first.sys"] == "ok");
  CHECK(r["arg0"] == "/init");
  CHECK(r["arg1"] == "androidboot.hardware=fake");
  CHECK(r["arg2"] == "androidboot.serialno=0001");
  CHECK(r["arg3"] == "androidboot.redroid_width=720");
  CHECK(r["arg4"] == "androidboot.redroid_height=1280");
  CHECK(r["arg5"] == "androidboot.redroid_dpi=320");
  CHECK(r["arg6"] == "androidboot.redroid_fps=15");
  CHECK(r["arg7"] == "ro.setupwizard.mode=DISABLED");
  CHECK(r["CapBnd"] == bits(android::capabilities(Boot::redroid)));
  check_orderly_end(b);
}

TEST_CASE("devices of the same images share each one's file system", "[android][.root]") {
  const AndroidRoot root;
  for (const char* type : {"ext4", "erofs", "squashfs"}) {
    INFO(type);
    Device d = root.device(type);
    d.system.overlay = d.vendor.overlay = true;
    const std::string system = d.system.image.str(), vendor = d.vendor.image.str();
    const std::string bytes = read_file(vendor);
    {
      Booted first = boot(d);
      make_dir(root / fmt::format("data-{}", type));
      d.data = root.host(fmt::format("data-{}", type));
      d.vendor.overlay = false;
      Booted second = boot(d);
      CHECK(loops_of(system) == 1);
      CHECK(loops_of(vendor) == 1);
      for (const Booted* b : {&first, &second}) {
        CHECK(b->report["part:/system"] == "of the system");
        CHECK(b->report["part:/vendor"] == "of the vendor");
        CHECK(b->report["write:/made-by-init"] == "ok");
        CHECK(b->report["mount:/"].starts_with("overlay rw"));
      }
      CHECK(first.report["mount:/vendor"].starts_with("overlay rw,nodev"));
      CHECK(first.report["write:/vendor/made-by-init"] == "ok");
      CHECK(second.report["mount:/vendor"].starts_with(fmt::format("{} ro,nodev", type)));
      CHECK(second.report["write:/vendor/made-by-init"] == "EROFS");
    }
    CHECK(gone(system));
    CHECK(gone(vendor));
    CHECK(read_file(vendor) == bytes);
  }
}

TEST_CASE("a part keeps its changes where an upper layer is named", "[android][.root]") {
  const AndroidRoot root;
  for (const char* name : {"upper", "work"}) make_dir(root / name);
  Device d = root.device("erofs");
  d.vendor.overlay = true;
  d.vendor.upper = root.host("upper");
  d.vendor.work = root.host("work");
  {
    const Booted b = boot(d);
    CHECK(b.report["write:/vendor/made-by-init"] == "ok");
  }
  CHECK(::access((root / "upper/made-by-init").c_str(), F_OK) == 0);
  CHECK(gone(d.vendor.image.str()));
}

TEST_CASE("a data directory has one device at a time", "[android][.root]") {
  const AndroidRoot root;
  const Device d = root.device();
  {
    const Booted b = boot(d);
    CHECK_THAT(failure_of(android::prepare(d, facts())),
               FailsWith(EBUSY, Step::open_source, "data: "));
  }
  { CHECK(android::prepare(d, facts()).has_value()); }
  // Of a program that is killed, too.
  int ends[2];
  must(::pipe(ends) == 0, "pipe");
  const HostFacts known = facts();
  const pid_t child = ::fork();
  if (child == 0) {
    const auto held = android::prepare(d, known);
    const char c = held ? 'y' : 'n';
    (void)!::write(ends[1], &c, 1);
    ::pause();
    ::_exit(0);
  }
  char c = 0;
  must(::read(ends[0], &c, 1) == 1, "read");
  CHECK(c == 'y');
  CHECK_THAT(failure_of(android::prepare(d, facts())), FailsWith(EBUSY, Step::open_source));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ends[0]);
  ::close(ends[1]);
  CHECK(android::prepare(d, facts()).has_value());
  CHECK(entries_of(root / "data").size() <= 1);  // made-by-init, and no lock
}

TEST_CASE("what a guest asks for at its end is told", "[android][.root]") {
  const AndroidRoot root;
  Device d = root.device();
  d.may_reboot = true;
  const auto end = [&](const char* word) {
    d.androidboot = {{"fake_end", word}};
    Booted b = boot(d);
    CHECK(b.report["reboots"] == "yes");
    return wait(b.box);
  };
  if ((facts().effective_caps >> 22U & 1U) == 0) return;
  CHECK(end("reboot").asked == Exit::Asked::restart);
  CHECK(end("poweroff").asked == Exit::Asked::power_off);
}

TEST_CASE("a device that restarts has its images, files and data again", "[android][.root]") {
  if ((facts().effective_caps >> 22U & 1U) == 0) return;  // CAP_SYS_BOOT
  const AndroidRoot root;
  const Surroundings before = Surroundings::quiet();
  {
    Device d = root.device("erofs");
    d.may_reboot = true;
    d.restart = Restart::on_reboot;
    d.androidboot = {{"fake_end", "reboot"}};
    d.properties = {{"ro.x", "y"}};
    android::Ready ready = prepared(d);
    ready.spec.process.stdio = Stdio::capture;
    ready.spec.lifecycle.restart_limit = 2;
    auto box = android::launch(runtime(), ready);
    REQUIRE(box.has_value());
    const Exit ended = wait(*box);
    CHECK(ended.asked == Exit::Asked::restart);
    CHECK(ended.restarts == 2);
    const Report r(ended);
    CHECK(r["property:ro.x"] == "y");
    CHECK(r["part:/vendor"] == "of the vendor");
    CHECK(r["cmdline"] == "androidboot.fake_end=reboot");
    CHECK(gone(d.vendor.image.str()));
  }
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("a device stands still and goes on", "[android][.root]") {
  const AndroidRoot root;
  Booted b = boot(root.device());
  REQUIRE(b.box.freeze().has_value());
  CHECK(b.box.frozen().value_or(false));
  REQUIRE(b.box.thaw().has_value());
  check_orderly_end(b);
}

TEST_CASE("its init's log is the ladder of its boot", "[android][.root]") {
  const AndroidRoot root;
  auto log = android::KmsgLog::open();
  REQUIRE(log.has_value());
  Device d = root.device();
  d.kmsg = log->path();
  const Booted b = boot(d);
  CHECK(b.report["open:/dev/kmsg"] == "ok");
  android::BootLog ladder;
  for (int i = 0; i < 2000 && !ladder.reached(android::Stage::boot_completed); ++i) {
    REQUIRE(log->read(ladder).has_value());
    ::usleep(10000);
  }
  CHECK(ladder.reached(android::Stage::spawned));
  CHECK(ladder.reached(android::Stage::servicemanager));
  CHECK(ladder.reached(android::Stage::zygote));
  CHECK(ladder.reached(android::Stage::boot_completed));
  CHECK(ladder.advice().empty());
  for (std::size_t i = 1; i < ladder.events().size(); ++i)
    CHECK(ladder.events()[i - 1].at <= ladder.events()[i].at);
}

TEST_CASE("owners of images and data are shifted by an id map", "[android][.root]") {
  const AndroidRoot root;
  struct statfs fs {};
  must(::statfs(root.str().c_str(), &fs) == 0, "statfs");
  constexpr long tmpfs = 0x01021994;  // takes part since Linux 6.3
  if (fs.f_type == tmpfs && !facts().kernel_at_least(6, 3)) return;
  Device d = root.device("ext4");
  const std::vector<IdRange> all = {{.inside = 0, .outside = 200000, .count = 200000}};
  d.idmap = {.kind = IdMap::ranges, .uids = all, .gids = all};
  d.data_idmapped = true;
  const Booted b = boot(d);
  CHECK(b.report["data.owner"] == "0:0");
  CHECK(b.report["data.chown"] == "ok");
  CHECK(b.report["part:/vendor"] == "of the vendor");
  CHECK(b.report["write:/data/made-by-init"] == "ok");
  struct stat st {};
  must(::stat((root / "data").c_str(), &st) == 0, "stat");
  CHECK(st.st_uid == 1000);
}

TEST_CASE("cameras, sound, input and GPUs of the machine are found, in their order",
          "[android][.root]") {
  CHECK(in_child([] {
          namespace fs = std::filesystem;
          must(::unshare(CLONE_NEWNS) == 0, "unshare");
          must(::mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr) == 0, "private");
          must(::mount("tmpfs", "/dev", "tmpfs", 0, nullptr) == 0, "/dev");
          must(::mount("tmpfs", "/sys", "tmpfs", 0, nullptr) == 0, "/sys");
          const auto node = [](const std::string& name, unsigned major, unsigned minor) {
            fs::create_directories(fs::path(name).parent_path());
            must(::mknod(name.c_str(), S_IFCHR | 0600, makedev(major, minor)) == 0, name.c_str());
          };
          for (const unsigned n : {10U, 9U, 0U})
            node(fmt::format("/dev/input/event{}", n), 13, 64 + n);
          node("/dev/input/mouse0", 13, 32);
          node("/dev/video1", 81, 1);
          node("/dev/media0", 248, 0);
          make_file("/dev/video0", "no camera");
          node("/dev/snd/controlC0", 116, 2);
          node("/dev/dri/card0", 226, 0);
          node("/dev/dri/renderD129", 226, 129);
          node("/dev/dri/renderD128", 226, 128);
          fs::create_directories("/sys/class/drm/renderD128/device");
          fs::create_symlink("../../../bus/pci/drivers/nvidia",
                             "/sys/class/drm/renderD128/device/driver");

          const android::Facts found = android::probe_facts();
          std::string said;
          for (const android::HostNode& n : found.host_nodes)
            said += fmt::format("{}:{} {}:{} {:o} {}:{}\n", static_cast<int>(n.kind), n.node.name,
                                n.node.major, n.node.minor, n.node.mode.value, n.node.uid.value,
                                n.node.gid.value);
          for (const android::RenderNode& n : found.render_nodes)
            said += fmt::format("{} '{}'\n", n.path, n.driver);
          const std::string right =
              "1:video1 81:1 660 0:1006\n1:media0 248:0 660 0:1006\n2:snd/controlC0 116:2 660 "
              "1000:1005\n"
              "4:input/event0 13:64 660 0:1004\n4:input/event9 13:73 660 0:1004\n"
              "4:input/event10 13:74 660 0:1004\n"
              "/dev/dri/renderD128 'nvidia'\n/dev/dri/renderD129 ''\n";
          must(said == right, said);
          must(android::render_node(found) == "/dev/dri/renderD129"_host, "render_node");
          // With an id map the host's modes count.
          Device d{.system = {.directory = "/usr"_host}, .binder = android::Binder::none};
          d.idmap = {.kind = IdMap::subids};
          d.host_devices = android::HostDevice::camera;
          auto host = facts();
          host.subuids = host.subgids = {{.start = 100000, .count = 200000}};
          auto ready = android::prepare(d, host, found);
          must(!ready && to_string(ready.error()).find("'/dev/video1' is not for all") !=
                             std::string::npos,
               ready ? "it is ready" : to_string(ready.error()));
        }) == "");
}

TEST_CASE("images that are none are refused, with their field", "[android][.root]") {
  const AndroidRoot root;
  const Surroundings before = Surroundings::quiet();
  Device d = root.device("ext4");
  const auto refused = [&] { return failure_of(android::prepare(d, facts())); };
  const std::string vendor = d.vendor.image.str();
  SECTION("missing") {
    d.vendor.image = root.host("nowhere.img");
    CHECK_THAT(refused(), FailsWith(ENOENT, Step::open_source, "vendor.image: '"));
    d.vendor = {.directory = root.host("nowhere")};
    CHECK_THAT(refused(), FailsWith(ENOENT, Step::open_source, "vendor.directory: '"));
    d.vendor = {};
    d.data = root.host("nowhere");
    CHECK_THAT(refused(), FailsWith(ENOENT, Step::open_source, "data: '"));
  }
  SECTION("sparse") {
    make_file(root / "sparse.img", std::string("\x3a\xff\x26\xed", 4) + std::string(4092, '\0'));
    d.system.image = root.host("sparse.img");
    const auto failure = refused();
    CHECK_THAT(failure, FailsWith(Errc::bad_spec, Step::compile, "system.image: '"));
    CHECK(failure.error->hint ==
          fmt::format("simg2img {0} {0}.raw makes a plain one of it", root / "sparse.img"));
  }
  SECTION("of another format") {
    make_file(root / "gzip.img", std::string("\x1f\x8b", 2) + std::string(510, 'x'));
    d.vendor.image = root.host("gzip.img");
    CHECK_THAT(refused(), FailsWith(Errc::bad_spec, Step::compile, "gzip data"));
    make_file(root / "gzip.img", "");
    CHECK_THAT(refused(), FailsWith(Errc::bad_spec, Step::compile, "vendor.image: '"));
  }
  SECTION("shorter than it says") {
    shell("truncate -s 1M " + vendor);
    CHECK_THAT(refused(), FailsWith(Errc::bad_spec, Step::compile, "in 1048576 bytes"));
  }
  SECTION("damaged, which the kernel finds") {
    android::Ready ready = prepared(d);
    shell("dd if=/dev/zero of=" + vendor + " bs=1024 seek=2 count=20000 conv=notrunc");
    CHECK_THAT(failure_of(android::launch(runtime(), ready)),
               FailsWith(EUCLEAN, Step::mount_root, vendor));
  }
  SECTION("a directory, and what is neither") {
    d.vendor.image = root.host("vendor");
    CHECK_THAT(refused(), FailsWith(Errc::bad_spec, Step::compile, "vendor.image: '"));
    d.vendor.image = "/dev/null"_host;
    CHECK_THAT(refused(), FailsWith(Errc::bad_spec, Step::compile, "vendor.image: '"));
    d.vendor = {.directory = HostPath(vendor)};
    CHECK_THAT(refused(), FailsWith(Errc::bad_spec, Step::compile, "is no directory"));
  }
  CHECK(gone(d.system.image.str()));
  CHECK(entries_of(root / "data").empty());
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("a machine without loop devices is said, and nothing is left of the try",
          "[android][.root]") {
  const AndroidRoot root;
  const Surroundings before = Surroundings::quiet();
  const Device d = root.device("ext4");
  CHECK(in_child([&] {
          enter_own_mounts();
          // A /dev with what programs need.
          shell("mkdir " + root / "machine" + " && mount --rbind /dev " + root / "machine" +
                " && mount -t tmpfs none /dev && mkdir /dev/pts /dev/shm && cd /dev && "
                "for n in null zero full random urandom tty ptmx; do touch $n && mount --bind " +
                root / "machine" + "/$n $n || exit 1; done; mount --rbind " + root / "machine" +
                "/pts pts");
          const android::Facts found = android::probe_facts();
          must(!found.loop_devices, "it has none");
          auto here = must(Runtime::open({.state_dir = root.host("state")}));
          auto ready = must(android::prepare(d, must(here.facts()).get(), found));
          const auto box = android::launch(here, ready);
          must(!box, "it is refused");
          must(box.error().is_errno(ENOENT), to_string(box.error()));
          must(box.error().step == Step::mount_root, to_string(box.error()));
          const std::string said = to_string(box.error());
          must(said.find("'/dev/loop-control'") != std::string::npos, said);
          must(said.find("modprobe loop") != std::string::npos, said);
        }) == "");
  CHECK(gone(d.system.image.str()));
  CHECK(entries_of(root / "data").empty());
  CHECK(Surroundings::settled(before) == before);
}
