#include "commands.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace bench {

std::string find_program(const std::string& name) {
  for (const char* directory :
       {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}) {
    const std::string path = std::string(directory) + "/" + name;
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return "";
}

namespace {

Command command_of(const std::string& name, std::vector<std::string> arguments) {
  Command c;
  c.name = name;
  const std::string path = find_program(name);
  if (path.empty()) c.absent = name + " is not installed";
  c.argv.push_back(path);
  c.argv.insert(c.argv.end(), arguments.begin(), arguments.end());
  return c;
}

template <std::size_t Size>
std::string json_list(const StringList<Size>& paths) {
  std::string out;
  for (const char* p = nullptr; (p = paths.next(p)) != nullptr;)
    out += std::string(out.empty() ? "" : ", ") + "\"/" + p + "\"";
  return "[" + out + "]";
}

// What crun and runc read. The same namespaces, mounts and restrictions; /dev nodes and links are
// made by the runtimes.
std::string oci_config(const Work& work, const std::string& root) {
  std::string namespaces =
      R"({"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"})";
  if (work.net) namespaces += R"(, {"type": "network"})";
  if (work.cgroup_ns) namespaces += R"(, {"type": "cgroup"})";
  const std::string few =
      R"(["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", )"
      R"("CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT"])";
  std::string capabilities;
  if (work.limit_capabilities) {
    capabilities = R"("capabilities": {"bounding": )" + few + R"(, "effective": )" + few +
                   R"(, "permitted": )" + few + "},\n    ";
  }
  return R"({
  "ociVersion": "1.0.2",
  "process": {
    "terminal": false,
    "user": {"uid": 0, "gid": 0},
    "args": [")" +
         std::string(work.command) + R"("],
    "env": [],
    "cwd": "/",
    )" + capabilities +
         R"("noNewPrivileges": )" + (work.no_new_privs ? "true" : "false") + R"(
  },
  "root": {"path": ")" +
         root + R"(", "readonly": )" + (work.read_only_root ? "true" : "false") + R"(},
  "hostname": ")" +
         work.hostname + R"(",
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=512k"]},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
     "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
     "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=64m"]},
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}
  ],
  "linux": {
    "namespaces": [)" +
         namespaces + R"(],
    "maskedPaths": )" +
         json_list(work.masked) + R"(,
    "readonlyPaths": )" +
         json_list(work.read_only) + R"(
  }
}
)";
}

}  // namespace

std::string lxc_config(const Work& work, const std::string& root) {
  return "lxc.rootfs.path = dir:" + root +
         (work.read_only_root ? "\nlxc.rootfs.options = ro" : "") +
         "\nlxc.uts.name = " + work.hostname +
         "\nlxc.net.0.type = " + (work.net ? "empty" : "none") +
         // Its cgroups go below the one it runs in, instead of below that of pid 1.
         "\nlxc.cgroup.relative = 1"
         "\nlxc.autodev = 1"
         "\nlxc.pty.max = 4"
         "\nlxc.mount.auto = proc:rw sys:ro"
         "\nlxc.mount.entry = tmpfs dev/shm tmpfs nosuid,nodev,mode=1777,size=64m,create=dir 0 0"
         "\nlxc.mount.entry = mqueue dev/mqueue mqueue nosuid,nodev,noexec,create=dir 0 0"
         "\nlxc.no_new_privs = " +
         (work.no_new_privs ? "1" : "0") +
         (work.limit_capabilities
              ? "\nlxc.cap.keep = chown dac_override fowner fsetid kill setgid setuid setpcap "
                "net_bind_service sys_chroot"
              : "") +
         "\n";
}

std::vector<Command> make_commands(const Work& work, const Scratch& scratch,
                                   const std::string& condroid_run) {
  const std::string root = work.root;
  const std::string kind = work.net ? "net" : "nonet";
  const std::string bundle = scratch.directory() + "/bundle-" + kind;
  const std::string lxc = scratch.directory() + "/lxc-" + kind;
  ::mkdir(bundle.c_str(), 0755);
  ::mkdir(lxc.c_str(), 0755);
  std::ofstream(bundle + "/config.json") << oci_config(work, root);
  std::ofstream(lxc + "/config") << lxc_config(work, root);

  std::vector<Command> out;
  Command ours;
  ours.name = "condroid-run";
  ours.argv = {condroid_run, "--rootfs", root, "--hostname", work.hostname};
  if (work.read_only_root) ours.argv.emplace_back("--read-only");
  for (const char* a : {"--net", work.net ? "none" : "host", "--", work.command})
    ours.argv.emplace_back(a);
  if (condroid_run.empty()) {
    ours.absent = "absent: give its path with --condroid-run or in CONDROID_RUN";
  } else if (::access(condroid_run.c_str(), X_OK) != 0) {
    ours.absent = condroid_run + ": " + std::strerror(errno);
  }
  out.push_back(ours);

  Command bwrap = command_of("bwrap", {"--unshare-pid", "--unshare-uts", "--unshare-ipc"});
  if (work.net) bwrap.argv.push_back("--unshare-net");
  if (work.cgroup_ns) bwrap.argv.push_back("--unshare-cgroup");
  for (const char* a : {"--as-pid-1", "--die-with-parent", "--new-session", "--hostname"})
    bwrap.argv.emplace_back(a);
  bwrap.argv.insert(bwrap.argv.end(),
                    {work.hostname, work.read_only_root ? "--ro-bind" : "--bind", root, "/",
                     "--dev", "/dev", "--proc", "/proc", "--mqueue", "/dev/mqueue"});
  if (work.limit_capabilities) {
    bwrap.argv.insert(bwrap.argv.end(), {"--cap-drop", "ALL"});
    for (const char* c :
         {"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
          "CAP_SETUID", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT"})
      bwrap.argv.insert(bwrap.argv.end(), {"--cap-add", c});
  }
  if (work.filter_size != 0) {
    bwrap.argv.insert(bwrap.argv.end(), {"--seccomp", std::to_string(filter_descriptor)});
    bwrap.filter = true;
  }
  bwrap.argv.insert(bwrap.argv.end(), {"--", work.command});
  // It cannot mount a sysfs, and masks nothing: less work than ours, which is in its favour.
  bwrap.note = "without /sys and masked paths";
  out.push_back(bwrap);

  Command execute = command_of("lxc-execute", {"-P", lxc, "-n", "bench", "-f", lxc + "/config",
                                               "-o", "/dev/null", "--", work.command});
  execute.caged = true;
  execute.note = "with one cgroup, without masked paths and filter";
  out.push_back(execute);

  Command crun = command_of(
      "crun", {"--root", lxc + "/crun", "--cgroup-manager=disabled", "run", "-b", bundle, "bench"});
  crun.caged = true;
  crun.note = "without a cgroup and filter";
  out.push_back(crun);

  Command runc = command_of("runc", {"--root", lxc + "/runc", "run", "-b", bundle, "bench"});
  runc.caged = true;
  runc.note = "with one cgroup, without a filter";
  out.push_back(runc);

  Command unshare = command_of("unshare", {"--pid", "--fork", "--kill-child", "--mount", "--uts",
                                           "--ipc", "--mount-proc", "--root", root});
  if (work.net) unshare.argv.push_back("--net");
  unshare.argv.emplace_back(work.command);
  unshare.reference = true;
  unshare.note = "reference: no /dev, no /sys, chroot";
  out.push_back(unshare);

  Command plain;
  plain.name = "no container";
  plain.argv = {root + work.command};
  plain.reference = true;
  plain.note = "reference: vfork and exec of the same program";
  out.push_back(plain);
  return out;
}

std::vector<Command> make_network_commands(const Work& work, const Scratch& scratch,
                                           const std::string& condroid_run) {
  const std::string lxc = scratch.directory() + "/lxc-veth";
  ::mkdir(lxc.c_str(), 0755);
  std::string config = lxc_config(work, work.root);
  const std::string none = "lxc.net.0.type = empty";
  config.replace(config.find(none), none.size(),
                 std::string("lxc.net.0.type = veth\nlxc.net.0.flags = up\nlxc.net.0.name = eth0") +
                     "\nlxc.net.0.link = " + work.bridge +
                     "\nlxc.net.0.ipv4.address = 10.78.0.2/24\nlxc.init.cmd = " + work.command);
  std::ofstream(lxc + "/config") << config;

  Command ours;
  ours.name = "condroid-run";
  ours.argv = {condroid_run,  "--rootfs",     work.root, "--hostname",
               work.hostname, "--read-only",  "--net",   std::string("veth:") + work.bridge,
               "--ip",        "10.78.0.2/24", "--",      work.command};
  if (condroid_run.empty())
    ours.absent = "absent: give its path with --condroid-run or in CONDROID_RUN";
  Command start = command_of(
      "lxc-start", {"-F", "-P", lxc, "-n", "bench", "-f", lxc + "/config", "-o", "/dev/null"});
  start.caged = true;
  start.note = "with one cgroup, without masked paths and filter";
  return {ours, start};
}

std::vector<Command> make_box_commands(const Work& work, const Scratch& scratch, unsigned who) {
  const std::string place = scratch.directory() + "/boxes";
  const std::string bundle = place + "/bundle", own = place + "/" + std::to_string(who);
  for (const std::string& directory : {place, bundle, own}) ::mkdir(directory.c_str(), 0755);
  std::ofstream(bundle + "/config.json") << oci_config(work, work.root);

  Command crun = command_of(
      "crun", {"--root", own + "/crun", "--cgroup-manager=disabled", "run", "-b", bundle, "bench"});
  crun.name = "crun run";
  crun.caged = true;
  crun.note = "without a cgroup and filter, root writable";
  Command podman = command_of("podman", {"--root",
                                         place + "/podman",
                                         "--runroot",
                                         place + "/podman-run",
                                         "--tmpdir",
                                         place + "/podman-tmp",
                                         "--storage-driver",
                                         "vfs",
                                         "--cgroup-manager",
                                         "cgroupfs",
                                         "--events-backend",
                                         "none",
                                         "run",
                                         "--rm",
                                         "--cgroups",
                                         "disabled",
                                         "--ulimit",
                                         "nofile=1024:1024",
                                         "--ulimit",
                                         "nproc=4096:4096",
                                         "--network",
                                         "none",
                                         "--rootfs",
                                         work.root,
                                         work.command});
  podman.name = "podman run --rm";
  podman.caged = true;
  podman.optional = true;
  podman.note = "without a cgroup, root writable";
  return {crun, podman};
}

}  // namespace bench
