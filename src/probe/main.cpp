// The probe: a program of its own that tries what the kernel lets this user do, each thing in a
// throwaway process. It is run by the zygote and says what came of it on one pipe. Freestanding, as
// the zygote is, so that it needs nothing of the machine that it looks at.
//
//   condroid-probe uid gid newuidmap newgidmap subuid count subgid count block-device
//                  (1|2 controllers)...
#include "probe/cgroups.hpp"
#include "probe/images.hpp"
#include "probe/mounts.hpp"
#include "probe/namespaces.hpp"
#include "probe/network.hpp"
#include "probe/processes.hpp"
#include "probe/try.hpp"
#include "program/start.hpp"

namespace condroid::probe {
namespace {

struct Probe {
  const char* id;
  void (*body)(Try&, const Facts&);
};
constexpr Probe probes[] = {
    {"ns.user", ns_user},
    {"ns.mount", ns_mount},
    {"ns.pid", ns_pid},
    {"ns.net", ns_net},
    {"ns.uts", ns_uts},
    {"ns.ipc", ns_ipc},
    {"ns.cgroup", ns_cgroup},
    {"ns.time", ns_time},
    {"ns.join", ns_join},
    {"id.single", id_single},
    {"id.direct", id_direct},
    {"id.newuidmap", id_newuidmap},
    {"id.newgidmap", id_newgidmap},
    {"mount.open_tree", mount_open_tree},
    {"mount.fsopen", mount_fsopen},
    {"mount.move_mount", mount_move},
    {"mount.mount_setattr", mount_setattr},
    {"mount.idmapped", mount_idmapped},
    {"mount.open_tree_attr", mount_open_tree_attr},
    {"mount.statmount", mount_statmount},
    {"mount.pivot_root", mount_pivot},
    {"mount.proc", mount_proc},
    {"mount.sysfs", mount_sysfs},
    {"mount.mqueue", mount_mqueue},
    {"mount.cgroup2", mount_cgroup2},
    {"mount.mknod", mount_mknod},
    {"mount.bind-node", mount_bind_node},
    {"overlay.root", overlay_root},
    {"overlay.user", overlay_user},
    {"overlay.host", overlay_host},
    {"image.loop", image_loop},
    {"image.ext4", image_ext4},
    {"image.squashfs", image_squashfs},
    {"image.erofs", image_erofs},
    {"image.erofs-file", image_erofs_file},
    {"image.fuse", fuse},
    {"process.memfd-exec", exec_memfd},
    {"process.clone3", process_clone3},
    {"process.pidfd-getfd", pidfd_getfd},
    {"process.pidfd-group", pidfd_group},
    {"process.pidfd-inode", pidfd_inode},
    {"process.pidfd-info", pidfd_info},
    {"security.bounding-set", security_bounding},
    {"security.seccomp", seccomp_filter},
    {"security.seccomp-notify", seccomp_notify},
    {"security.landlock", landlock},
    {"security.apparmor", apparmor},
    {"security.selinux", selinux},
    {"security.keyring", keyring},
    {"net.veth", net_veth},
    {"net.move", net_move},
    {"net.bridge", net_bridge},
    {"net.macvlan", net_macvlan},
    {"net.ipvlan", net_ipvlan},
    {"net.vlan", net_vlan},
    {"net.tun", net_tun},
    {"net.nftables", net_nftables},
    {"net.pasta", net_pasta},
    {"net.slirp4netns", net_slirp},
    {"net.lxc-user-nic", net_lxc_user_nic},
    {"device.devpts", tty_devpts},
    {"device.pty-peer", tty_peer},
    {"device.kvm", kvm},
    {"device.binderfs", binderfs},
    {"device.binder", binder},
};

class Prober {
 public:
  explicit Prober(Facts facts) : facts_(facts) {
    const long page = call(__NR_mmap, 0, 4096, 3, 0x21 /* MAP_SHARED, MAP_ANONYMOUS */, -1, 0);
    if (page < 0 && page > -4096) leave(3);
    shared_ = reinterpret_cast<Finding*>(page);
    // What probes leave behind when they fail is ours to wait for.
    call(__NR_prctl, pr_set_child_subreaper, 1, 0, 0, 0);
    call(__NR_umask, 022);
  }

  template <class Body>
  void run(const char* id, Body body) {
    Finding& f = *shared_;
    f = Finding{};
    copy(f.id, id);
    const long pid = fork_child();
    if (pid == 0) {
      for (int fd = fd_findings; fd <= fd_program; fd += fd_program - fd_findings) close(fd);
      Try t(f);
      body(t);
      t.works();
      leave(0);
    }
    bool late = false;
    const long pidfd = pid < 0 ? -1 : call(__NR_pidfd_open, pid, 0);
    PollFd waiting{static_cast<int>(pidfd), pollin, 0};
    const Timespec patience{5, 0};
    if (pid > 0 && call(__NR_ppoll, &waiting, 1, &patience, 0, 0) == 0) {
      call(__NR_kill, pid, sig_kill);
      late = true;
    }
    if (pid > 0) wait_child(pid);
    close(pidfd);
    end_orphans();
    Finding out = f;
    copy(out.id, id);
    if (pid < 0 || late) {
      out.state = State::failed;
      out.error = static_cast<int32_t>(pid < 0 ? -pid : 0);
      copy(out.step, pid < 0 ? "fork" : "wait for it");
      copy(out.text, "it did not end within five seconds");
    } else if (out.state != State::works && out.state != State::failed &&
               out.state != State::unknown) {
      out.state = State::unknown;
      copy(out.text, "the process that tried ended early");
    }
    call(__NR_write, fd_findings, &out, sizeof out);
  }

  void cgroups() {
    for (int i = 0; i < facts_.hierarchy_count; ++i) {
      const Facts::Hierarchy& h = facts_.hierarchies[i];
      const auto with = [&](const char* id, auto body) {
        run(id, [&](Try& t) { body(t, facts_, h); });
        tidy(h);
      };
      if (!h.v2) {
        with(Text<48>("cgroup.v1.").add(h.controllers).text, cgroup_v1);
        if (lists(h.controllers, "freezer")) with("cgroup.v1.freeze", cgroup_freeze);
        continue;
      }
      with("cgroup.v2", cgroup_v2);
      for (const char* c = h.controllers; *c != 0;) {
        Text<32> name;
        for (; *c != 0 && *c != ','; ++c) add(name, *c);
        if (*c == ',') ++c;
        with(Text<48>("cgroup.v2.").add(name.text).text,
             [&](Try& t, const Facts& f, const Facts::Hierarchy& there) {
               cgroup_v2_controller(t, f, there, name.text);
             });
      }
      with("cgroup.v2.clone-into", cgroup_into);
      with("cgroup.v2.kill", cgroup_kill);
      with("cgroup.v2.freeze", cgroup_freeze);
      with("cgroup.v2.pressure", cgroup_pressure);
      with("cgroup.v2.delegation", cgroup_delegation);
    }
  }

  int all() {
    for (const Probe& p : probes) run(p.id, [&](Try& t) { p.body(t, facts_); });
    cgroups();
    return 0;
  }

 private:
  /// What a probe left running has become our child. Most of it has got its death signal, but a
  /// program that changed its ids has none.
  static void end_orphans() {
    for (int i = 0; i < 1000; ++i) {
      long ended = 1;
      while (ended > 0) ended = call(__NR_wait4, -1, 0, wall | wnohang, 0);
      if (ended < 0) return;
      char list[512];
      if (read_at(at_fdcwd, "/proc/thread-self/children", list) > 0)
        for (const char* c = list; *c != 0; ++c)
          if (c == list || c[-1] == ' ')
            if (const uint64_t pid = number(c); pid > 1) call(__NR_kill, pid, sig_kill);
      const Timespec moment{0, 2000000};
      call(__NR_ppoll, 0, 0, &moment, 0, 0);
    }
  }
  static void add(Text<32>& text, char c) {
    const char both[2] = {c, 0};
    text.add(both);
  }
  Facts facts_;
  Finding* shared_;
};

int start(int argc, char** argv) {
  if (argc < 10) return 0;  // executed by a probe: that is all it wants to know
  Facts f;
  f.uid = number(argv[1]);
  f.gid = number(argv[2]);
  f.newuidmap = argv[3];
  f.newgidmap = argv[4];
  f.subuid = number(argv[5]);
  f.subuids = number(argv[6]);
  f.subgid = number(argv[7]);
  f.subgids = number(argv[8]);
  f.block_device = argv[9];
  for (int i = 10; i + 1 < argc && f.hierarchy_count < max_cgroups; i += 2) {
    const int fd = fd_cgroups + 2 * f.hierarchy_count;
    f.hierarchies[f.hierarchy_count++] = {fd, fd + 1, argv[i][0] == '2', argv[i + 1]};
  }
  return Prober(f).all();
}

}  // namespace

extern "C" [[noreturn]] __attribute__((used)) void program_main(long* stack) {
  leave(start(static_cast<int>(stack[0]), reinterpret_cast<char**>(stack + 1)));
}

}  // namespace condroid::probe
