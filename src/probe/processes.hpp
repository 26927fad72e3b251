// Starting and holding processes, and taking rights from them.
#pragma once

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/ioctl.h>
#include <linux/seccomp.h>

#include "probe/try.hpp"

namespace condroid::probe {

inline void exec_memfd(Try& t, const Facts&) {
  long memory = call(__NR_memfd_create, "probe", 1U | 0x10U /* MFD_CLOEXEC, MFD_EXEC 6.3 */);
  if (memory == -e_inval) memory = call(__NR_memfd_create, "probe", 1U);
  t("memfd_create", memory);
  const long program = t("open", call(__NR_openat, at_fdcwd, "/proc/self/exe", o_rdonly));
  for (;;) {
    char block[4096];
    const long n = t("read", call(__NR_read, program, block, sizeof block));
    if (n == 0) break;
    t("write", call(__NR_write, memory, block, n));
  }
  t("execveat", in_child([&] {
      const char* const argv[] = {"probe", nullptr};
      const char* const none[] = {nullptr};
      return call(__NR_execveat, memory, "", argv, none, at_empty_path);
    }));
}

inline void process_clone3(Try& t, const Facts&) {
  int pidfd = -1;
  CloneArgs args{};
  args.flags = clone_pidfd | clone_clear_sighand;
  args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  args.exit_signal = static_cast<uint64_t>(sig_chld);
  const long pid = t("clone3", call(__NR_clone3, &args, sizeof args));
  if (pid == 0) leave(7);
  SigInfo info{};
  t("waitid by pidfd", call(__NR_waitid, p_pidfd, pidfd, &info, wexited | wall, 0));
  t.check("waitid by pidfd", info.status == 7, "another status than the child's");
}

inline void pidfd_getfd(Try& t, const Facts&) {
  Pipe pipe;
  t("pipe", pipe.open());
  const Waiting child(t, "fork", [] {});
  const long pidfd = t("pidfd_open", call(__NR_pidfd_open, child.pid(), 0));
  t("pidfd_getfd", call(__NR_pidfd_getfd, pidfd, pipe.out, 0));
}

inline void pidfd_group(Try& t, const Facts&) {
  t("setpgid", call(__NR_setpgid, 0, 0));
  const long pidfd = t("pidfd_open", call(__NR_pidfd_open, call(__NR_getpid), 0));
  t("pidfd_send_signal", call(__NR_pidfd_send_signal, pidfd, 0, 0, 4 /* to the group, 6.9 */));
}

inline void pidfd_inode(Try& t, const Facts&) {
  const long pidfd = t("pidfd_open", call(__NR_pidfd_open, call(__NR_getpid), 0));
  uint64_t fs[32]{};
  t("fstatfs", call(__NR_fstatfs, pidfd, fs));
  t.check("fstatfs", fs[0] == 0x50494446, "pidfds share one inode before Linux 6.9");
}

inline void pidfd_info(Try& t, const Facts&) {
  const long pidfd = t("pidfd_open", call(__NR_pidfd_open, call(__NR_getpid), 0));
  struct {
    uint64_t mask, cgroup;
    uint32_t pid, rest[11];
  } info{1, 0, 0, {}};
  static_assert(sizeof info == 64);
  t("PIDFD_GET_INFO", call(__NR_ioctl, pidfd, 0xc040ff0bUL, &info));
}

inline void keyring(Try& t, const Facts&) {
  t("keyctl", call(__NR_keyctl, keyctl_join_session_keyring, 0));
}

// ---- rights -------------------------------------------------------------------------------------

inline void security_bounding(Try& t, const Facts& f) {
  long e = call(__NR_prctl, pr_capbset_drop, 25 /* CAP_SYS_TIME */, 0, 0, 0);
  if (e == -e_perm) {
    own_user(t, f);
    t.how(in_userns);
    e = call(__NR_prctl, pr_capbset_drop, 25, 0, 0, 0);
  }
  t("PR_CAPBSET_DROP", e);
}

inline void no_new_privs(Try& t) {
  t("PR_SET_NO_NEW_PRIVS", call(__NR_prctl, pr_set_no_new_privs, 1, 0, 0, 0));
}
/// Installs a filter that answers getppid(2) with `action`.
inline long filter_getppid(uint32_t action, unsigned flags) {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),  // the number
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_getppid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, action),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{4, code};
  return call(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

inline void seccomp_filter(Try& t, const Facts&) {
  no_new_privs(t);
  t("seccomp", filter_getppid(SECCOMP_RET_ERRNO | 18U, 0));
  t.check("call what it refuses", call(__NR_getppid) == -18, "the filter did nothing");
}

inline void seccomp_notify(Try& t, const Facts&) {
  no_new_privs(t);
  const long listener =
      t("seccomp", filter_getppid(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER));
  const long pid = t("fork", fork_child());
  if (pid == 0) leave(call(__NR_getppid) == 4242 ? 0 : 1);
  seccomp_notif seen{};
  t("receive", call(__NR_ioctl, listener, SECCOMP_IOCTL_NOTIF_RECV, &seen));
  seccomp_notif_resp answer{};
  answer.id = seen.id;
  answer.val = 4242;
  t("answer", call(__NR_ioctl, listener, SECCOMP_IOCTL_NOTIF_SEND, &answer));
  t.check("answer", wait_child(pid) == 0, "the caller got another answer");
}

inline void landlock(Try& t, const Facts&) {
  const long version = t("landlock_create_ruleset", call(444, 0, 0, 1U));
  const uint64_t handled = 4;  // reading files
  const long rules = t("landlock_create_ruleset", call(444, &handled, sizeof handled, 0U));
  no_new_privs(t);
  t("landlock_restrict_self", call(446, rules, 0));
  const long fd = call(__NR_openat, at_fdcwd, "/proc/self/stat", o_rdonly | o_cloexec);
  t.check("read a file", fd == -e_acces, "a file can be read in spite of it");
  t.how(Text<64>("version ").add(static_cast<uint64_t>(version)).text);
}

inline void apparmor(Try& t, const Facts&) {
  char label[128];
  t("read its label", read_at(at_fdcwd, "/proc/self/attr/apparmor/current", label));
  for (char& c : label)
    if (c == '\n') c = 0;
  t("name the label of the next program",
    write_file("/proc/self/attr/apparmor/exec", "exec unconfined"));
  t.how(Text<160>("here: ").add(label).text);
}

/// Its file system has a type only where SELinux was not switched off.
inline void selinux(Try& t, const Facts& f) {
  own(t, f, clone_newns);
  t.how("");
  t("fsopen", call(__NR_fsopen, "selinuxfs", fsopen_cloexec));
  char label[128];
  t("read its label", read_at(at_fdcwd, "/proc/self/attr/current", label));
  t.how(Text<160>("here: ").add(label).text);
}

}  // namespace condroid::probe
