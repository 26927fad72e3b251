// Containers from LXC's configurations: what is seen inside is what the text says.
#include "condroid/config/lxc.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "containers.hpp"

using condroid::Spec;
using condroid::Stdio;
using condroid::lxc::Configuration;
using condroid::test::make_dir;
using condroid::test::make_file;
using condroid::test::Report;
using condroid::test::run;
using condroid::test::TempDir;
using condroid::test::TempRoot;

namespace {

Spec spec_of(const std::string& text) {
  const auto config = Configuration::parse(text, "config");
  if (!config) FAIL(to_string(config.error()));
  auto container = config->to_spec({.name = "box"});
  if (!container) FAIL(to_string(container.error()));
  return container->spec;
}

bool contains(const std::vector<std::string>& all, std::string_view part) {
  return std::ranges::any_of(
      all, [&](const std::string& one) { return one.find(part) != std::string::npos; });
}

}  // namespace

TEST_CASE("a container is what its LXC configuration says", "[root][lxc]") {
  const TempRoot root;
  const TempDir host;
  make_file(host / "file", "of the host\n");
  make_dir(root / "dev/pts");
  const std::string text = fmt::format(
      "lxc.utsname = box\n"
      "lxc.rootfs.path = dir:{}\n"
      "lxc.init.cmd = /bin/payload probe\n"
      "lxc.init.cwd = /srv/work\n"
      "lxc.init.groups = 7,8\n"
      "lxc.tty.max = 2\n"
      "lxc.tty.dir = lxc\n"
      "lxc.pty.max = 16\n"
      "lxc.mount.auto = proc:mixed sys:ro\n"
      "lxc.mount.entry = tmpfs tmp tmpfs size=1m,mode=0711,nosuid,nodev 0 0\n"
      "lxc.mount.entry = {} srv/host none bind,ro,create=dir 0 0\n"
      "lxc.mount.entry = /no/such srv/none none bind,create=dir,optional 0 0\n"
      "lxc.cap.drop = sys_module sys_time 5\n"
      "lxc.no_new_privs = 1\n"
      "lxc.environment = A=b c\n"
      "lxc.prlimit.nofile = 100:200\n"
      "lxc.proc.oom_score_adj = 17\n"
      "lxc.proc.coredump_filter = 0x33\n"
      "lxc.net.0.type = empty\n"
      "lxc.net.0.flags = up\n"
      "lxc.arch = i686\n"
      "lxc.signal.halt = SIGTERM\n",
      root.str(), host.str());
  Spec spec = spec_of(text);
  spec.process.stdio = Stdio::capture;  // of its console nothing is to be read here
  const Report seen = run(spec);
  CHECK(seen["hostname"] == "box");
  CHECK(seen["personality"] == "8");  // PER_LINUX32
  CHECK(seen["cwd"] == "/srv/work");
  CHECK(seen["Groups"] == "7 8");
  CHECK(seen["NoNewPrivs"] == "1");
  CHECK(seen["rlimit.nofile"] == "100 200");
  CHECK(seen["oom_score_adj"] == "17");
  CHECK(seen["coredump_filter"] == "00000033");
  CHECK(seen["death_signal"] == "9");
  constexpr std::uint64_t dropped = (1U << 16U) | (1U << 25U) | (1U << 5U);
  CHECK((std::stoull(seen["CapBnd"], nullptr, 16) & dropped) == 0);
  CHECK((std::stoull(seen["CapBnd"], nullptr, 16) & (1U << 21U)) != 0);
  CHECK(contains(seen.all("env"), "A=b c"));
  CHECK(contains(seen.all("env"), "container_ttys=pts/1 pts/2"));
  CHECK(seen.mount("/tmp").starts_with("tmpfs rw,nosuid,nodev,relatime"));
  CHECK(seen.mount("/srv/host").find(" ro,") != std::string::npos);
  CHECK(seen.mount("/srv/none") == "(not mounted)");
  CHECK(seen.mount("/sys").starts_with("sysfs ro,"));
  CHECK(seen.mount("/proc/sys/kernel").find(" ro,") != std::string::npos);
  CHECK(seen.mount("/proc/sys/net") == "(not mounted)");
  CHECK(seen.mount("/dev/lxc/tty1").starts_with("devpts"));
  CHECK(contains(seen.below("dev."), "tty1=link"));
  CHECK(contains(seen.below("dev."), "ptmx="));
}

TEST_CASE("old words and new ones launch the same container", "[root][lxc]") {
  const TempRoot root;
  const auto seen = [&](const char* name, const char* rootfs, const char* cmd, const char* tty) {
    Spec spec = spec_of(fmt::format("{} = box\n{} = {}\n{} = /bin/payload probe\n{} = 1\n", name,
                                    rootfs, root.str(), cmd, tty));
    spec.process.stdio = Stdio::capture;
    const Report report = run(spec);
    return report["hostname"] + " " + report.mount("/dev/tty1");
  };
  CHECK(seen("lxc.utsname", "lxc.rootfs", "lxc.init_cmd", "lxc.tty") ==
        seen("lxc.uts.name", "lxc.rootfs.path", "lxc.init.cmd", "lxc.tty.max"));
}

TEST_CASE("what a mount entry says of a mount that is there, or will be", "[root][lxc]") {
  const TempRoot root;
  make_dir(root / "srv");
  make_dir(root / "srv/a");
  Spec spec = spec_of(fmt::format(
      "lxc.rootfs.path = dir:{}\nlxc.init.cmd = /bin/payload probe\nlxc.mount.auto = proc\n"
      "lxc.mount.entry = none srv/a tmpfs size=1m,shared 0 0\n"
      "lxc.mount.entry = none srv/b tmpfs size=1m,create=dir 0 0\n"
      "lxc.mount.entry = none srv/b none remount,ro,nosuid 0 0\n",
      root.str()));
  spec.process.stdio = Stdio::capture;
  const Report seen = run(spec);
  CHECK(seen.mount("/srv/b").starts_with("tmpfs"));
  CHECK(seen.mount("/srv/b").find("ro,nosuid") != std::string::npos);

  spec.process.argv = {"/bin/payload", "pause"};
  const auto box = condroid::test::launch(spec);
  const std::string mounts =
      condroid::test::read_file(fmt::format("/proc/{}/mountinfo", box.pid().value));
  const std::size_t at = mounts.find(" /srv/a ");
  REQUIRE(at != std::string::npos);
  CHECK(mounts.substr(at, mounts.find('\n', at) - at).find(" shared:") != std::string::npos);
}

TEST_CASE("an overlay of LXC's keeps what the container writes", "[root][lxc]") {
  const TempRoot root;
  const TempDir layers;
  make_dir(layers / "upper");
  make_dir(layers / "work");
  Spec spec = spec_of(fmt::format(
      "lxc.uts.name = box\nlxc.rootfs.path = overlay:{}:{}/upper\nlxc.console.path = none\n"
      "lxc.mount.auto = proc:rw\n"
      "lxc.init.cmd = /bin/payload probe\n",
      root.str(), layers.str()));
  spec.process.stdio = Stdio::capture;
  spec.process.cwd = condroid::GuestPath("/made");
  spec.process.create_cwd = true;
  const Report seen = run(spec);
  CHECK(seen["cwd"] == "/made");
  CHECK(::access((layers / "upper/made").c_str(), F_OK) == 0);
  CHECK(::access((root / "made").c_str(), F_OK) != 0);
}
