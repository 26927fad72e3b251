// Namespaces and id maps.
#pragma once

#include "probe/try.hpp"

namespace condroid::probe {

inline void ns_user(Try& t, const Facts&) { t("unshare", call(__NR_unshare, clone_newuser)); }

inline void ns_mount(Try& t, const Facts& f) {
  own(t, f, clone_newns);
  scratch(t);
}

inline void ns_pid(Try& t, const Facts& f) {
  own(t, f, clone_newpid);
  t("fork in it", in_child([] { return call(__NR_getpid) == 1 ? 0 : -e_proto; }));
}

inline void ns_uts(Try& t, const Facts& f) {
  own(t, f, clone_newuts);
  t("set the host name", call(__NR_sethostname, "probe", 5));
}

inline void ns_ipc(Try& t, const Facts& f) {
  own(t, f, clone_newipc);
  t("make shared memory", call(__NR_shmget, 0 /* IPC_PRIVATE */, 4096, 01600));
}

inline void ns_cgroup(Try& t, const Facts& f) {
  own(t, f, clone_newcgroup);
  char text[512];
  t("read /proc/self/cgroup", read_at(at_fdcwd, "/proc/self/cgroup", text));
}

inline void ns_net(Try& t, const Facts& f) {
  own(t, f, clone_newnet);
  const long s = t("open a socket", call(__NR_socket, 2, sock_dgram | sock_cloexec, 0));
  struct {
    char name[16];
    int16_t flags;
    char rest[22];
  } request{};
  copy(request.name, "lo");
  request.flags = 1;  // IFF_UP
  t("bring the loopback up", call(__NR_ioctl, s, siocsifflags, &request));
}

inline void ns_time(Try& t, const Facts& f) {
  Timespec before{};
  call(__NR_clock_gettime, 1 /* CLOCK_MONOTONIC */, &before);
  own(t, f, clone_newtime);
  t("write timens_offsets", write_file("/proc/self/timens_offsets", "1 1000 0\n"));
  t("compare clocks", in_child([&] {
      Timespec after{};
      call(__NR_clock_gettime, 1, &after);
      return after.sec - before.sec >= 999 ? 0 : -e_proto;
    }));
}

/// What attach does: enters namespaces of another process by its pidfd.
inline void ns_join(Try& t, const Facts& f) {
  const Waiting child(t, "unshare", [&] { own(t, f, clone_newuts | clone_newipc); });
  const long pidfd = t("pidfd_open", call(__NR_pidfd_open, child.pid(), 0));
  long e = call(__NR_setns, pidfd, clone_newuts | clone_newipc);
  if (e == -e_perm) {
    t.how(in_userns);
    e = call(__NR_setns, pidfd, clone_newuser | clone_newuts | clone_newipc);
  }
  t("setns", e);
}

// ---- id maps ------------------------------------------------------------------------------------

inline void id_single(Try& t, const Facts& f) {
  own_user(t, f);
  t.check("compare ids", call(__NR_geteuid) == 0, "the id is not the one that was mapped");
}

/// A range, written as root may.
inline void id_direct(Try& t, const Facts& f) {
  const Waiting child(t, "unshare", [&] { t("unshare", call(__NR_unshare, clone_newuser)); });
  const uint64_t uid = f.subuids > 1 ? f.subuid : 100000, gid = f.subgids > 1 ? f.subgid : 100000;
  const uint64_t count = f.subuids > 1 && f.subgids > 1 ? 2 : 65536;
  t("write uid_map",
    write_file(Path("/proc/").add(static_cast<uint64_t>(child.pid())).add("/uid_map").text,
               Text<64>("0 ").add(uid).add(" ").add(count).text));
  t("write gid_map",
    write_file(Path("/proc/").add(static_cast<uint64_t>(child.pid())).add("/gid_map").text,
               Text<64>("0 ").add(gid).add(" ").add(count).text));
}

/// The set-id programs of shadow, with a range of /etc/subuid or /etc/subgid.
inline void id_helper(Try& t, const char* tool, uint64_t start, uint64_t count, const char* map) {
  const Waiting child(t, "unshare", [&] { t("unshare", call(__NR_unshare, clone_newuser)); });
  const Path pid = Path().add(static_cast<uint64_t>(child.pid()));
  const Path from = Path().add(count > 0 ? start : 100000),
             many = Path().add(count > 0 ? count : 1);
  const char* const argv[] = {tool, pid.text, "0", from.text, many.text, nullptr};
  const char* const paths[] = {tool, nullptr};
  char said[160];
  const long status = t("run it", run_program(paths, argv, said));
  if (status != 0) t.fail("run it", 0, said[0] != 0 ? said : "it failed and said nothing");
  char text[128];
  t("read the map", read_at(at_fdcwd, Path("/proc/").add(pid.text).add("/").add(map).text, text));
  t.check("read the map", text[0] != 0, "it said nothing, but the map is empty");
  t.how(Text<160>().add(many.text).add(" ids from ").add(from.text).text);
}
inline void id_newuidmap(Try& t, const Facts& f) {
  id_helper(t, f.newuidmap, f.subuid, f.subuids, "uid_map");
}
inline void id_newgidmap(Try& t, const Facts& f) {
  id_helper(t, f.newgidmap, f.subgid, f.subgids, "gid_map");
}

}  // namespace condroid::probe
