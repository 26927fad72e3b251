// The mount interface, file systems of the kernel's own, overlays.
#pragma once

#include "probe/try.hpp"

namespace condroid::probe {

/// A detached tmpfs.
inline long detached_tmpfs(Try& t) {
  const long fs = t("fsopen", call(__NR_fsopen, "tmpfs", fsopen_cloexec));
  t("fsconfig", call(__NR_fsconfig, fs, fsconfig_cmd_create, 0, 0, 0));
  const long mount = t("fsmount", call(__NR_fsmount, fs, fsmount_cloexec, 0));
  close(fs);
  return mount;
}
inline long clone_tree(Try& t, const char* path) {
  return t("open_tree", call(__NR_open_tree, at_fdcwd, path, open_tree_clone | open_tree_cloexec));
}

inline void mount_open_tree(Try& t, const Facts& f) {
  own(t, f, clone_newns);
  scratch(t);
  (void)clone_tree(t, ".");
}

inline void mount_fsopen(Try& t, const Facts& f) {
  own(t, f, clone_newns);
  (void)detached_tmpfs(t);
}

inline void mount_move(Try& t, const Facts& f) {
  own(t, f, clone_newns);
  scratch(t);
  directory(t, "d");
  const long tree = detached_tmpfs(t);
  t("move_mount", call(__NR_move_mount, tree, "", at_fdcwd, "d", move_mount_f_empty_path));
}

inline void check_read_only(Try& t, long tree) {
  const long e = call(__NR_mkdirat, tree, "x", 0755);
  t.check("write to it", e == -30 /* EROFS */, "the mount can be written to");
}

inline void mount_setattr(Try& t, const Facts& f) {
  own(t, f, clone_newns);
  const long tree = detached_tmpfs(t);
  const MountAttr attr{attr_rdonly, 0, 0, 0};
  t("mount_setattr", call(__NR_mount_setattr, tree, "", at_empty_path, &attr, sizeof attr));
  check_read_only(t, tree);
}

inline void mount_open_tree_attr(Try& t, const Facts& f) {
  own(t, f, clone_newns);
  scratch(t);
  const MountAttr attr{attr_rdonly, 0, 0, 0};
  const long tree =
      t("open_tree_attr", call(nr_open_tree_attr, at_fdcwd, ".",
                               open_tree_clone | open_tree_cloexec, &attr, sizeof attr));
  check_read_only(t, tree);
}

inline void mount_idmapped(Try& t, const Facts& f) {
  own(t, f, clone_newns);
  const Waiting child(t, "unshare", [&] { t("unshare", call(__NR_unshare, clone_newuser)); });
  const Path proc = Path("/proc/").add(static_cast<uint64_t>(child.pid()));
  t("write uid_map", write_file(Path(proc.text).add("/uid_map").text, "0 0 1"));
  (void)write_file(Path(proc.text).add("/setgroups").text, "deny");
  t("write gid_map", write_file(Path(proc.text).add("/gid_map").text, "0 0 1"));
  const long ns =
      t("open the user namespace",
        call(__NR_openat, at_fdcwd, Path(proc.text).add("/ns/user").text, o_rdonly | o_cloexec));
  const MountAttr attr{attr_idmap, 0, 0, static_cast<uint64_t>(ns)};
  long e = call(__NR_mount_setattr, detached_tmpfs(t), "", at_empty_path, &attr, sizeof attr);
  if (e == -e_inval) {
    const long tree = call(__NR_open_tree, at_fdcwd, "/", open_tree_clone | open_tree_cloexec);
    if (tree >= 0 && call(__NR_mount_setattr, tree, "", at_empty_path, &attr, sizeof attr) == 0) {
      t.how("not of a tmpfs");
      e = 0;
    }
  }
  t("mount_setattr", e);
}

inline void mount_statmount(Try& t, const Facts&) {
  Statx st{};
  t("statx", call(__NR_statx, at_fdcwd, "/", 0, 0x4000U /* STATX_MNT_ID_UNIQUE, 6.8 */, &st));
  struct {
    uint32_t size, spare;
    uint64_t mount, param;
  } request{24, 0, st.mount, 1 /* STATMOUNT_SB_BASIC */};
  alignas(8) char answer[1024];
  t("statmount", call(457, &request, answer, sizeof answer, 0));
}

inline void mount_pivot(Try& t, const Facts& f) {
  own(t, f, clone_newns);
  scratch(t);
  directory(t, "root");
  t("mount the new root", call(__NR_mount, "tmpfs", "root", "tmpfs", 0, 0));
  t("enter it", call(__NR_chdir, "root"));
  t("pivot_root", call(__NR_pivot_root, ".", "."));
  t("umount the old root", call(__NR_umount2, ".", mnt_detach));
}

/// Mounts a file system of this type in fresh namespaces.
inline void mount_type(Try& t, const Facts& f, uint64_t flags, const char* type) {
  own(t, f, clone_newns | flags);
  scratch(t);
  directory(t, "d");
  const auto mount = [&] {
    return call(__NR_mount, type, "d", type, 0xe /* nosuid, nodev, noexec */, 0);
  };
  // The new pid namespace is that of children.
  t("mount", (flags & clone_newpid) != 0 ? in_child(mount) : mount());
}
inline void mount_proc(Try& t, const Facts& f) { mount_type(t, f, clone_newpid, "proc"); }
inline void mount_sysfs(Try& t, const Facts& f) { mount_type(t, f, clone_newnet, "sysfs"); }
inline void mount_mqueue(Try& t, const Facts& f) { mount_type(t, f, clone_newipc, "mqueue"); }
inline void mount_cgroup2(Try& t, const Facts& f) { mount_type(t, f, clone_newcgroup, "cgroup2"); }

inline void mount_mknod(Try& t, const Facts& f) {
  own(t, f, clone_newns);
  scratch(t);
  t("mknod", call(__NR_mknodat, at_fdcwd, "null", s_ifchr | 0666, 0x103));
  t("open it", call(__NR_openat, at_fdcwd, "null", o_rdwr | o_cloexec));
}

/// What is done where nodes cannot be made.
inline void mount_bind_node(Try& t, const Facts& f) {
  own(t, f, clone_newns);
  const long tree = clone_tree(t, "/dev/null");
  scratch(t);
  t("make a file", call(__NR_mknodat, at_fdcwd, "null", s_ifreg | 0666, 0));
  t("move_mount", call(__NR_move_mount, tree, "", at_fdcwd, "null", move_mount_f_empty_path));
  t("open it", call(__NR_openat, at_fdcwd, "null", o_rdwr | o_cloexec));
}

inline void overlay(Try& t, const char* options) {
  scratch(t);
  const char* const names[] = {"l", "u", "w", "d"};
  for (const char* name : names) directory(t, name);
  t("make a file", call(__NR_mknodat, at_fdcwd, "l/file", s_ifreg | 0644, 0));
  t("mount", call(__NR_mount, "overlay", "d", "overlay", 0, options));
  t("remove a file of the lower layer", call(__NR_unlinkat, at_fdcwd, "d/file", 0));
}
inline void overlay_root(Try& t, const Facts&) {
  t("unshare", call(__NR_unshare, clone_newns));
  t("make mounts private", call(__NR_mount, 0, "/", 0, ms_rec | ms_private, 0));
  overlay(t, "lowerdir=l,upperdir=u,workdir=w");
}
inline void overlay_user(Try& t, const Facts& f) {
  own_user(t, f);
  own(t, f, clone_newns);
  overlay(t, "lowerdir=l,upperdir=u,workdir=w,userxattr");
}
/// A lower layer that is the host's own directory, as of an ephemeral root.
inline void overlay_host(Try& t, const Facts& f) {
  own(t, f, clone_newns);
  scratch(t);
  const char* const names[] = {"u", "w", "d"};
  for (const char* name : names) directory(t, name);
  long e = call(__NR_mount, "overlay", "d", "overlay", 0, "lowerdir=/usr,upperdir=u,workdir=w");
  if (e < 0)
    e = call(__NR_mount, "overlay", "d", "overlay", 0,
             "lowerdir=/usr,upperdir=u,workdir=w,userxattr");
  t("mount", e);
  t("write to it", call(__NR_mkdirat, at_fdcwd, "d/probe", 0755));
}

}  // namespace condroid::probe
