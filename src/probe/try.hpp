// What every probe is made of: system calls, small texts, files, children, and the way in which a
// probe says what came of it.
#pragma once

#include <asm/unistd.h>
#include <stddef.h>
#include <stdint.h>

#include <type_traits>

#include "probe/format.hpp"
#include "program/kernel.hpp"
#include "program/syscall.hpp"

namespace condroid::probe {

using namespace condroid::kernel;  // all of it is the kernel's

template <class T>
long word(T value) {
  if constexpr (std::is_pointer_v<T>)
    return reinterpret_cast<long>(value);
  else
    return static_cast<long>(value);
}
template <class... A>
long call(long nr, A... a) {
  const long all[6 + sizeof...(A)] = {word(a)...};
  return syscall6(nr, all[0], all[1], all[2], all[3], all[4], all[5]);
}
[[noreturn]] inline void leave(long status) {
  for (;;) call(__NR_exit_group, status);
}
inline void close(long fd) {
  if (fd >= 0) call(__NR_close, fd);
}

inline size_t length(const char* s) {
  size_t n = 0;
  while (s[n] != 0) ++n;
  return n;
}
inline bool begins(const char* s, const char* with) {
  while (*with != 0)
    if (*s++ != *with++) return false;
  return true;
}
inline bool contains(const char* s, const char* what) {
  for (; *s != 0; ++s)
    if (begins(s, what)) return true;
  return *what == 0;
}
/// Whether a list like "cpu,memory" or "cpu memory" has this word.
inline bool lists(const char* list, const char* name) {
  const size_t n = length(name);
  for (const char* s = list; *s != 0;) {
    size_t end = 0;
    while (s[end] != 0 && s[end] != ',' && s[end] != ' ' && s[end] != '\n') ++end;
    if (end == n && begins(s, name)) return true;
    s += end;
    if (*s != 0) ++s;
  }
  return false;
}
inline uint64_t number(const char* s) {
  uint64_t n = 0;
  while (*s >= '0' && *s <= '9') n = n * 10 + static_cast<uint64_t>(*s++ - '0');
  return n;
}

template <size_t N>
struct Text {
  char text[N] = {};
  size_t size = 0;
  Text() = default;
  explicit Text(const char* s) { add(s); }
  Text& add(const char* s) {
    while (*s != 0 && size + 1 < N) text[size++] = *s++;
    text[size] = 0;
    return *this;
  }
  Text& add(uint64_t n) {
    char digits[24];
    size_t at = sizeof digits - 1;
    digits[at] = 0;
    do digits[--at] = static_cast<char>('0' + n % 10);
    while ((n /= 10) != 0);
    return add(digits + at);
  }
};
using Path = Text<128>;

template <size_t N>
void copy(char (&to)[N], const char* from) {
  size_t i = 0;
  for (; i + 1 < N && from[i] != 0; ++i) to[i] = from[i];
  to[i] = 0;
}

/// What the host knows of this user; taken from the arguments.
struct Facts {
  uint64_t uid = 0, gid = 0;
  const char* newuidmap = "";
  const char* newgidmap = "";
  uint64_t subuid = 0, subuids = 0, subgid = 0, subgids = 0;
  const char* block_device = "";  ///< "8:0"
  struct Hierarchy {
    int base, own;  ///< Where the runtime's cgroup is, and itself.
    bool v2;
    const char* controllers;
  } hierarchies[max_cgroups] = {};
  int hierarchy_count = 0;
};

/// One attempt. Whatever fails ends the process that makes it.
class Try {
 public:
  explicit Try(Finding& finding) : f_(finding) {}

  /// The result of a system call of this step; a failure ends the probe.
  long operator()(const char* step, long result) {
    if (result < 0 && result > -4096) fail(step, -result);
    return result;
  }
  void check(const char* step, bool right, const char* otherwise) {
    if (!right) fail(step, 0, otherwise);
  }
  [[noreturn]] void fail(const char* step, long error, const char* text = "") {
    copy(f_.step, step);
    copy(f_.text, text);
    f_.error = static_cast<int32_t>(error);
    f_.state = State::failed;
    leave(0);
  }
  [[noreturn]] void unknown(const char* text) {
    copy(f_.text, text);
    f_.state = State::unknown;
    leave(0);
  }
  /// In what way it works.
  void how(const char* text) { copy(f_.text, text); }
  void works() { f_.state = State::works; }
  [[nodiscard]] bool failed() const { return f_.state == State::failed; }

 private:
  Finding& f_;
};

// ---- files --------------------------------------------------------------------------------------

inline long write_at(long dir, const char* path, const char* text) {
  const long fd = call(__NR_openat, dir, path, o_wronly | o_cloexec | o_noctty);
  if (fd < 0) return fd;
  const long n = call(__NR_write, fd, text, length(text));
  close(fd);
  return n < 0 ? n : 0;
}
inline long write_file(const char* path, const char* text) {
  return write_at(at_fdcwd, path, text);
}
/// So much of a file as fits, with a NUL behind it.
template <size_t N>
long read_at(long dir, const char* path, char (&to)[N]) {
  to[0] = 0;
  const long fd = call(__NR_openat, dir, path, o_rdonly | o_cloexec | o_noctty);
  if (fd < 0) return fd;
  const long n = call(__NR_read, fd, to, N - 1);
  close(fd);
  to[n > 0 ? n : 0] = 0;
  return n;
}

// ---- children -----------------------------------------------------------------------------------

/// fork(2). Who made the child may die before it: then it goes, too.
inline long fork_child(uint64_t flags = 0) {
  const long pid = call(__NR_clone, flags | static_cast<uint64_t>(sig_chld), 0, 0, 0, 0);
  if (pid == 0) call(__NR_prctl, pr_set_pdeathsig, sig_kill, 0, 0, 0);
  return pid;
}
/// Waits for a child: what it ended with, 128 and more for a signal; -errno.
inline long wait_child(long pid) {
  int status = 0;
  long e = -e_intr;
  while (e == -e_intr) e = call(__NR_wait4, pid, &status, wall, 0);
  if (e < 0) return e;
  return (status & 0x7f) != 0 ? 128 + (status & 0x7f) : (status >> 8) & 0xff;
}
/// Runs `body` in a child: 0, or the -errno that it returned.
template <class Body>
long in_child(Body body) {
  const long pid = fork_child();
  if (pid < 0) return pid;
  if (pid == 0) leave(-body());
  return -wait_child(pid);
}

struct Pipe {
  int out = -1, in = -1;  ///< Where it is read, where it is written.
  long open() {
    int pair[2] = {};
    const long e = call(__NR_pipe2, pair, o_cloexec);
    if (e == 0) out = pair[0], in = pair[1];
    return e;
  }
  /// Tells the other side.
  void tell() const { call(__NR_write, in, "x", 1); }
  /// Waits for tell(); false when nobody is left to tell.
  [[nodiscard]] bool heard() const {
    char c;
    return call(__NR_read, out, &c, 1) == 1;
  }
};

/// A child that does `prepare`, with our Try, and then waits until we end or let it go.
class Waiting {
 public:
  template <class Prepare>
  Waiting(Try& t, const char* step, Prepare prepare) {
    Pipe ready;
    t("pipe", ready.open());
    pid_ = t("fork", fork_child());
    if (pid_ == 0) {
      prepare();
      ready.tell();
      for (;;) call(__NR_ppoll, 0, 0, 0, 0, 0);
    }
    close(ready.in);
    if (!ready.heard()) {
      if (t.failed()) leave(0);  // the child has said why
      t.fail(step, 0, "the child ended");
    }
    close(ready.out);
  }
  ~Waiting() {
    call(__NR_kill, pid_, sig_kill);
    wait_child(pid_);
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  [[nodiscard]] long pid() const { return pid_; }

 private:
  long pid_;
};

/// Runs one of these programs and keeps the first line that it prints. Its exit status, or -errno.
template <size_t N>
long run_program(const char* const* paths, const char* const* argv, char (&said)[N],
                 int passed = -1) {
  said[0] = 0;
  Pipe output;
  if (const long e = output.open(); e < 0) return e;
  const long pid = fork_child();
  if (pid < 0) return pid;
  if (pid == 0) {
    const long null = call(__NR_openat, at_fdcwd, "/dev/null", o_rdwr);
    call(__NR_dup3, null, 0, 0);
    if (passed >= 0) call(__NR_dup3, passed, 3, 0);
    call(__NR_dup3, output.in, 1, 0);
    call(__NR_dup3, output.in, 2, 0);
    const char* const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", nullptr};
    long e = -e_noent;
    for (; *paths != nullptr && (e == -e_noent || e == -e_notdir); ++paths)
      e = call(__NR_execve, *paths, argv, env);
    char text[2] = {1, static_cast<char>(-e)};
    call(__NR_write, 1, text, 2);
    leave(127);
  }
  close(output.in);
  size_t size = 0;
  bool late = false;
  for (;;) {
    PollFd waiting{output.out, pollin, 0};
    const Timespec patience{2, 0};
    if (call(__NR_ppoll, &waiting, 1, &patience, 0, 0) == 0) {
      call(__NR_kill, pid, sig_kill);
      late = true;
      break;
    }
    const long n = call(__NR_read, output.out, said + size, N - 1 - size);
    if (n <= 0) break;
    size += static_cast<size_t>(n);
    if (size + 1 >= N) break;
  }
  close(output.out);
  // Some close their output long before they end.
  const long pidfd = call(__NR_pidfd_open, pid, 0);
  PollFd ending{static_cast<int>(pidfd), pollin, 0};
  const Timespec patience{2, 0};
  if (pidfd >= 0 && call(__NR_ppoll, &ending, 1, &patience, 0, 0) == 0) {
    call(__NR_kill, pid, sig_kill);
    late = true;
  }
  close(pidfd);
  const long status = wait_child(pid);
  if (size == 2 && said[0] == 1 && status == 127) return -static_cast<unsigned char>(said[1]);
  said[size] = 0;
  for (char* c = said; *c != 0; ++c)
    if (static_cast<unsigned char>(*c) < ' ') *c = 0;
  if (late && said[0] == 0) copy(said, "it did not end within two seconds");
  return status;
}

// ---- namespaces ---------------------------------------------------------------------------------

/// Maps the caller's ids, one each, to `inside`.
inline void map_single(Try& t, const Facts& f, uint64_t inside = 0) {
  const long denied = write_file("/proc/self/setgroups", "deny");
  if (denied != -e_noent) t("deny setgroups", denied);
  t("write uid_map",
    write_file("/proc/self/uid_map", Text<64>().add(inside).add(" ").add(f.uid).add(" 1").text));
  t("write gid_map",
    write_file("/proc/self/gid_map", Text<64>().add(inside).add(" ").add(f.gid).add(" 1").text));
}
inline void own_user(Try& t, const Facts& f) {
  t("unshare the user namespace", call(__NR_unshare, clone_newuser));
  map_single(t, f);
}
inline constexpr const char* in_userns = "in a user namespace";
/// Makes these namespaces, as this user has to: directly, or in a user namespace.
inline void own(Try& t, const Facts& f, uint64_t flags) {
  long e = call(__NR_unshare, flags);
  if (e == -e_perm) {
    own_user(t, f);
    t.how(in_userns);
    e = call(__NR_unshare, flags);
  }
  t("unshare", e);
  if ((flags & clone_newns) != 0)
    t("make mounts private", call(__NR_mount, 0, "/", 0, ms_rec | ms_private, 0));
}
/// A tmpfs of the probe's own, as working directory. Needs a mount namespace of its own.
inline void scratch(Try& t) {
  long e = 0;
  const char* const places[] = {"/tmp", "/mnt", "/run", "/dev"};
  for (const char* place : places) {
    e = call(__NR_mount, "tmpfs", place, "tmpfs", 0, "size=4m,mode=755");
    if (e == -e_noent || e == -e_notdir) continue;
    t("mount tmpfs", e);
    e = call(__NR_chdir, place);
    break;
  }
  t("enter the tmpfs", e);
}
inline void directory(Try& t, const char* name) {
  t("make a directory", call(__NR_mkdirat, at_fdcwd, name, 0755));
}

/// A tmpfs as working directory with "d" in it, to mount on.
inline void directory_in_scratch(Try& t) {
  scratch(t);
  directory(t, "d");
}

}  // namespace condroid::probe
