// Every cgroup hierarchy and controller: a cgroup is made below the runtime's own, entered,
// limited, frozen, killed, removed. Whatever is left if we are killed goes with the runtime's.
#pragma once

#include "probe/try.hpp"

namespace condroid::probe {

struct Limit {
  const char* controller;
  const char* file;
  const char* value;  ///< nullptr: what it is already.
};
inline constexpr Limit limits_v1[] = {
    {"memory", "memory.limit_in_bytes", "67108864"},
    {"pids", "pids.max", "64"},
    {"cpu", "cpu.cfs_quota_us", "50000"},
    {"cpuset", "cpuset.cpus", nullptr},
    {"cpuacct", "cpuacct.usage", "0"},
    {"devices", "devices.deny", "c 1:5 rwm"},
    {"blkio", "blkio.throttle.read_bps_device", ""},
    {"hugetlb", "hugetlb.2MB.limit_in_bytes", "4194304"},
    {"net_cls", "net_cls.classid", "65537"},
    {"rdma", "rdma.max", nullptr},
    {"freezer", "freezer.state", "THAWED"},
};
inline constexpr Limit limits_v2[] = {
    {"memory", "memory.max", "67108864"},
    {"pids", "pids.max", "64"},
    {"cpu", "cpu.max", "50000 100000"},
    {"cpuset", "cpuset.cpus", nullptr},
    {"io", "io.max", ""},
    {"hugetlb", "hugetlb.2MB.max", "4194304"},
};

/// One v1 hierarchy, or v2 as such, or one controller of v2.
class CgroupProbe {
 public:
  CgroupProbe(Try& t, const Facts& f, const Facts::Hierarchy& h) : t_(t), f_(f), h_(h) {}

  /// Makes it and opens it.
  long make() {
    t_("make a cgroup", call(__NR_mkdirat, h_.own, "probe", 0755));
    dir_ = t_("open it", call(__NR_openat, h_.own, "probe", o_rdonly | o_directory | o_cloexec));
    return dir_;
  }
  /// v1: a cpuset is usable once it has processors and nodes.
  void inherit(const char* file) {
    char text[256];
    if (read_at(h_.own, file, text) > 0) (void)write_at(dir_, file, text);
  }
  void enter() {
    const bool cpuset = !h_.v2 && lists(h_.controllers, "cpuset");
    if (cpuset) inherit("cpuset.cpus"), inherit("cpuset.mems");
    child_ = t_("fork", fork_child());
    if (child_ == 0) {
      const long e = write_at(dir_, h_.v2 ? "cgroup.procs" : "tasks", "0");
      ready_.tell();
      if (e < 0) leave(-e);
      for (;;) call(__NR_ppoll, 0, 0, 0, 0, 0);
    }
  }
  void start() { t_("pipe", ready_.open()); }
  void entered() {
    close(ready_.in);
    ready_.in = -1;
    if (!ready_.heard()) t_.fail("enter it", 0, "the child ended");
    char who[64];
    t_("enter it", read_at(dir_, "cgroup.procs", who));
    if (who[0] == 0) t_("enter it", -wait_child(child_));
  }
  void limit(const Limit& l) {
    char text[256];
    if (l.value == nullptr) {
      t_("read a limit",
         read_at(h_.v2 ? dir_ : h_.own,
                 h_.v2 && lists("cpuset.cpus", l.file) ? "cpuset.cpus.effective" : l.file, text));
      if (text[0] == 0 || text[0] == '\n') return;
    } else if (l.value[0] == 0) {
      if (f_.block_device[0] == 0) return;
      copy(text,
           Text<64>(f_.block_device).add(h_.v2 ? " rbps=" : " ").add(uint64_t{1U << 30U}).text);
    } else {
      copy(text, l.value);
    }
    t_(l.file, write_at(dir_, l.file, text));
  }
  /// Waits until a file of the cgroup has this line.
  void wait_for(const char* step, const char* file, const char* line) {
    for (int i = 0; i < 500; ++i) {
      char text[256];
      t_(step, read_at(dir_, file, text));
      if (contains(text, line)) return;
      const Timespec moment{0, 1000000};
      call(__NR_ppoll, 0, 0, &moment, 0, 0);
    }
    t_.fail(step, 0, "it did not come to that within half a second");
  }
  void end() {
    if (child_ > 0) {
      call(__NR_kill, child_, sig_kill);
      wait_child(child_);
      child_ = 0;
    }
  }
  void remove() { t_("remove it", call(__NR_unlinkat, h_.own, "probe", at_removedir)); }
  [[nodiscard]] long child() const { return child_; }

 private:
  Try& t_;
  const Facts& f_;
  const Facts::Hierarchy& h_;
  long dir_ = -1;
  long child_ = 0;
  Pipe ready_;
};

/// Makes sure that nothing of it stays, whatever came of it.
inline void tidy(const Facts::Hierarchy& h) {
  for (int i = 0; i < 200; ++i) {
    const long e = call(__NR_unlinkat, h.own, "probe", at_removedir);
    if (e != -e_busy) return;
    const Timespec moment{0, 1000000};
    call(__NR_ppoll, 0, 0, &moment, 0, 0);
  }
}

inline void cgroup_v1(Try& t, const Facts& f, const Facts::Hierarchy& h) {
  CgroupProbe p(t, f, h);
  p.start();
  p.make();
  p.enter();
  p.entered();
  for (const Limit& l : limits_v1)
    if (lists(h.controllers, l.controller)) p.limit(l);
  p.end();
  p.remove();
}

inline void cgroup_v2(Try& t, const Facts& f, const Facts::Hierarchy& h) {
  CgroupProbe p(t, f, h);
  p.start();
  p.make();
  p.enter();
  p.entered();
  p.end();
  p.remove();
}

/// Switches a controller on where the runtime's cgroup is, and below it; off again above.
inline void cgroup_v2_controller(Try& t, const Facts& f, const Facts::Hierarchy& h,
                                 const char* controller) {
  char on[256];
  t("read cgroup.subtree_control", read_at(h.base, "cgroup.subtree_control", on));
  const bool was_on = lists(on, controller);
  const Text<64> plus = Text<64>("+").add(controller), minus = Text<64>("-").add(controller);
  // In a child: what was switched on is switched off again, whatever comes of it.
  const long pid = t("fork", fork_child());
  if (pid == 0) {
    if (!was_on) t("switch it on", write_at(h.base, "cgroup.subtree_control", plus.text));
    t("switch it on below", write_at(h.own, "cgroup.subtree_control", plus.text));
    CgroupProbe p(t, f, h);
    p.start();
    p.make();
    p.enter();
    p.entered();
    for (const Limit& l : limits_v2)
      if (lists(controller, l.controller)) p.limit(l);
    p.end();
    p.remove();
    t.works();
    leave(0);
  }
  wait_child(pid);
  tidy(h);
  (void)write_at(h.own, "cgroup.subtree_control", minus.text);
  if (!was_on) (void)write_at(h.base, "cgroup.subtree_control", minus.text);
  leave(0);
}

// ---- what only v2 or a freezer has --------------------------------------------------------------

inline void cgroup_into(Try& t, const Facts& f, const Facts::Hierarchy& h) {
  CgroupProbe p(t, f, h);
  const long dir = p.make();
  CloneArgs args{};
  args.flags = clone_into_cgroup;
  args.exit_signal = static_cast<uint64_t>(sig_chld);
  args.cgroup = static_cast<uint64_t>(dir);
  const long pid = t("clone3", call(__NR_clone3, &args, sizeof args));
  if (pid == 0) leave(0);
  wait_child(pid);
  p.remove();
}
inline void cgroup_kill(Try& t, const Facts& f, const Facts::Hierarchy& h) {
  CgroupProbe p(t, f, h);
  p.start();
  const long dir = p.make();
  p.enter();
  p.entered();
  t("write cgroup.kill", write_at(dir, "cgroup.kill", "1"));
  t.check("wait for the end", wait_child(p.child()) == 128 + sig_kill, "the process lives on");
  p.remove();
}
inline void cgroup_freeze(Try& t, const Facts& f, const Facts::Hierarchy& h) {
  CgroupProbe p(t, f, h);
  p.start();
  const long dir = p.make();
  p.enter();
  p.entered();
  if (h.v2) {
    t("write cgroup.freeze", write_at(dir, "cgroup.freeze", "1"));
    p.wait_for("wait until it is frozen", "cgroup.events", "frozen 1");
    t("write cgroup.freeze", write_at(dir, "cgroup.freeze", "0"));
  } else {
    t("write freezer.state", write_at(dir, "freezer.state", "FROZEN"));
    p.wait_for("wait until it is frozen", "freezer.state", "FROZEN");
    t("write freezer.state", write_at(dir, "freezer.state", "THAWED"));
  }
  p.end();
  p.remove();
}
/// A threshold of pressure that can be waited for.
inline void cgroup_pressure(Try& t, const Facts& f, const Facts::Hierarchy& h) {
  CgroupProbe p(t, f, h);
  const long dir = p.make();
  const long fd = t("open cpu.pressure",
                    call(__NR_openat, dir, "cpu.pressure", o_rdwr | o_cloexec | o_nonblock));
  // A window of two seconds is what this user may ask for, too.
  t("set a threshold", call(__NR_write, fd, "some 150000 2000000", 20));
  close(fd);
  p.remove();
}
/// Another user makes a cgroup below one that was given to him.
inline void cgroup_delegation(Try& t, const Facts& f, const Facts::Hierarchy& h) {
  CgroupProbe p(t, f, h);
  const long dir = p.make();
  const long pid = t("fork", fork_child());
  if (pid == 0) {
    if (f.uid == 0) {
      t("give it to another user", call(__NR_fchownat, dir, "", 65534, 65534, at_empty_path));
      t("give it to another user", call(__NR_fchownat, dir, "cgroup.procs", 65534, 65534, 0));
      t("become that user", call(__NR_setresgid, 65534, 65534, 65534));
      t("become that user", call(__NR_setresuid, 65534, 65534, 65534));
    }
    t("make a cgroup below", call(__NR_mkdirat, dir, "below", 0755));
    t.works();
    leave(0);
  }
  wait_child(pid);
  call(__NR_unlinkat, dir, "below", at_removedir);
  (void)call(__NR_unlinkat, h.own, "probe", at_removedir);
  leave(0);
}

}  // namespace condroid::probe
