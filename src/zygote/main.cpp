// condroid-zygote: a tiny, freestanding, static program that clones every container of one Runtime,
// reaps them, and undoes what they leave. docs/design.md says why it exists. One thread; it keeps
// no allocation; it never blocks but in epoll_wait; it believes nothing of a message beyond its
// checked size.
//
// argv: [1] name of the state file, [2] state directory, [3] "1": it is removed when it is empty.
// Descriptors: 3 control socket, 4 pidfd of the host.
#include "program/format.hpp"
#include "program/interpreter.hpp"
#include "program/kernel.hpp"
#include "program/syscall.hpp"

using namespace condroid::kernel;
using namespace condroid::program;

extern "C" {
void* memcpy(void* to, const void* from, size_t n) {
  auto* t = static_cast<unsigned char*>(to);
  const auto* f = static_cast<const unsigned char*>(from);
  for (size_t i = 0; i < n; ++i) t[i] = f[i];
  return to;
}
void* memset(void* to, int c, size_t n) {
  auto* t = static_cast<unsigned char*>(to);
  for (size_t i = 0; i < n; ++i) t[i] = static_cast<unsigned char>(c);
  return to;
}
}

namespace {

template <class... A>
long call(long nr, A... a) {
  [[maybe_unused]] const auto raw = [](auto v) {
    if constexpr (requires { static_cast<long>(v); })
      return static_cast<long>(v);
    else
      return reinterpret_cast<long>(v);
  };
  return RealSystem{}(nr, raw(a)...);
}

[[noreturn]] void leave(int status) {
  for (;;) call(__NR_exit_group, status);
}

struct EpollEvent {
  uint32_t events;
#if defined(__x86_64__)
  uint64_t data;
} __attribute__((packed));
#else
  uint64_t data;
};
#endif
constexpr uint32_t epollin = 1;
constexpr int epoll_add = 1, epoll_del = 2;
constexpr uint64_t tag_control = 1, tag_host = 2, tag_child = 1U << 16U, tag_console = 1U << 20U;

/// What the zygote itself knows of a container; the shared LiveEntry is for others.
struct Container {
  enum State : uint8_t { unused, running, held, draining };
  State state;
  bool detached;
  bool unwatched;  // ended while held: epoll would only spin on it
  uint8_t retries;
  int pid;
  int pidfd;
  int exit_socket;
  int console;  // of a detached container: its master, drained into log
  int log;
  int slave;  // of that terminal
  uint64_t cgroups;
  uint64_t v2;
  uint64_t memory;
};

Container containers[max_live];  // zero pages until used
unsigned live_count = 0;
unsigned draining_count = 0;
unsigned detached_count = 0;
bool host_gone = false;
char* arena = nullptr;
int parents[max_hierarchies];  // directories below which the runtime's cgroups are
bool parent_v2[max_hierarchies];
bool adopted[max_hierarchies];
const char* arena_name = nullptr;
const char* state_dir = nullptr;
bool remove_state_dir = false;
bool told_staying = false;
unsigned control_errors = 0;  // in a row
Rlimit64 caller_nofile{};

/// Where a child runs that shares our memory until it executes its command. `tid` is set by us and
/// cleared by the kernel when the child has let go of our memory (CLONE_CHILD_CLEARTID), by exec or
/// by its end.
struct Room {
  volatile uint32_t tid;
  ChildContext context;
  alignas(16) char program[32 * 1024];
  alignas(16) char stack[32 * 1024];
};
/// Whole pages, so that they can be kept out of the memory of children that get a copy of ours:
/// programs are other containers' arguments and environments, and the small init keeps its memory.
#if defined(__x86_64__)
struct alignas(4096) Rooms {
#else
struct alignas(65536) Rooms {
#endif
  Room list[8];
};
Rooms rooms;

LiveEntry& live(uint32_t i) { return reinterpret_cast<LiveEntry*>(arena + arena_live)[i]; }
ResultPage& page(uint32_t i) {
  return *reinterpret_cast<ResultPage*>(arena + arena_pages + size_t{i} * 4096);
}
ArenaHeader& header() { return *reinterpret_cast<ArenaHeader*>(arena); }

void close(int fd) {
  if (fd >= 0) call(__NR_close, fd);
}

// ---- records to the host ------------------------------------------------------------------------

/// 0, or why it could not be sent.
long send_record(int socket, const Record& record, int fd) {
  Record copy = record;
  IoVec iov{&copy, sizeof copy};
  struct {
    CmsgHdr head;
    int fd;
    int pad;
  } control{{sizeof(CmsgHdr) + sizeof(int), sol_socket, scm_rights}, fd, 0};
  MsgHdr m{nullptr, 0, &iov, 1, nullptr, 0, 0};
  if (fd >= 0) {
    m.control = &control;
    m.control_size = sizeof control;
  }
  // Never blocks: a launch's socket takes the two records it ever gets, and a host that is gone
  // wants none. What fails otherwise (no memory) may not do so again.
  long e = 0;
  for (int tries = 0; tries < 8; ++tries) {
    e = call(__NR_sendmsg, socket, &m, msg_dontwait | msg_nosignal);
    if (e >= 0) return 0;
    if (e == -e_pipe || e == -e_connreset) break;
  }
  return e;
}

// ---- undoing cgroups ----------------------------------------------------------------------------

struct Path {
  char text[512];
  size_t size = 0;
  Path& add(const char* s) {
    while (*s != 0 && size + 1 < sizeof text) text[size++] = *s++;
    text[size] = 0;
    return *this;
  }
};

bool same(const char* a, const char* b) {
  while (*a != 0 && *a == *b) ++a, ++b;
  return *a == *b;
}

/// Writes one word to a file of a directory.
long write_file(int dir, const char* name, const char* text) {
  const long fd = call(__NR_openat, dir, name, o_wronly | o_cloexec);
  if (fd < 0) return fd;
  size_t n = 0;
  while (text[n] != 0) ++n;
  const long e = call(__NR_write, fd, text, n);
  close(static_cast<int>(fd));
  return e;
}

/// SIGKILL to every process of a v1 cgroup. They die by themselves; the caller tries again.
void kill_listed(int dir) {
  const long fd = call(__NR_openat, dir, "cgroup.procs", o_rdonly | o_cloexec);
  if (fd < 0) return;
  char text[4096];
  long pid = 0;
  for (;;) {
    const long n = call(__NR_read, fd, text, sizeof text);
    if (n <= 0) break;
    for (long i = 0; i < n; ++i) {
      if (text[i] >= '0' && text[i] <= '9') {
        pid = pid * 10 + (text[i] - '0');
      } else {
        if (pid > 1) call(__NR_kill, pid, sig_kill);
        pid = 0;
      }
    }
  }
  close(static_cast<int>(fd));
}

struct DirEntry {
  uint64_t ino;
  int64_t off;
  uint16_t size;
  uint8_t type;
  char name[1];
};
constexpr int open_directory = o_rdonly | o_directory | o_nofollow | o_cloexec;

bool is_subdirectory(const DirEntry& e) {
  return e.type == 4 && !same(e.name, ".") && !same(e.name, "..");
}

/// Removes subdirectories up to the first that is not empty, and opens that one; negative when
/// there is none.
long first_full(int dir, unsigned* removed) {
  alignas(8) char list[2048];
  for (;;) {
    const long n = call(__NR_getdents64, dir, list, sizeof list);
    if (n <= 0) return -e_noent;
    for (long i = 0; i < n;) {
      const auto* entry = reinterpret_cast<const DirEntry*>(list + i);
      i += entry->size;
      if (!is_subdirectory(*entry)) continue;
      if (call(__NR_unlinkat, dir, entry->name, at_removedir) < 0)
        return call(__NR_openat, dir, entry->name, open_directory);
      ++*removed;
    }
  }
}

/// What is deeper than anybody nests but who means harm: down to one without subdirectories, up by
/// "..", with one descriptor. Stops where something still runs, and after so many steps; it is
/// tried again.
void remove_deep(int top, bool kill) {
  long at = call(__NR_openat, top, ".", open_directory);
  unsigned depth = 0;
  bool came_up = false;
  for (int steps = 0; at >= 0 && steps < 20000; ++steps) {
    unsigned removed = 0;
    long next = first_full(static_cast<int>(at), &removed);
    if (next >= 0 && came_up && removed == 0) {
      if (kill) kill_listed(static_cast<int>(next));
      close(static_cast<int>(next));
      break;
    }
    came_up = next < 0;
    if (came_up) {
      if (depth == 0) break;
      next = call(__NR_openat, at, "..", open_directory);
      --depth;
    } else {
      ++depth;
    }
    close(static_cast<int>(at));
    at = next;
  }
  close(static_cast<int>(at));
}

/// Removes a cgroup and all below it. 0, or the first error: EBUSY while something still runs
/// there.
long remove_tree(int parent, const char* name, bool v2, bool kill, int depth) {
  const long e = call(__NR_unlinkat, parent, name, at_removedir);
  if (e == 0 || e == -e_noent) return 0;
  const long dir = call(__NR_openat, parent, name, open_directory);
  if (dir < 0) return dir == -e_noent ? 0 : dir;
  if (kill) {
    if (!v2 || write_file(static_cast<int>(dir), "cgroup.kill", "1") < 0)
      kill_listed(static_cast<int>(dir));
  }
  alignas(8) char list[2048];
  if (depth == 32) remove_deep(static_cast<int>(dir), kill);
  for (; depth < 32;) {
    const long n = call(__NR_getdents64, dir, list, sizeof list);
    if (n <= 0) break;
    for (long i = 0; i < n;) {
      const auto* entry = reinterpret_cast<const DirEntry*>(list + i);
      i += entry->size;
      if (is_subdirectory(*entry))
        remove_tree(static_cast<int>(dir), entry->name, v2, kill, depth + 1);
    }
  }
  close(static_cast<int>(dir));
  const long again = call(__NR_unlinkat, parent, name, at_removedir);
  return again == -e_noent ? 0 : again;
}

/// The number after `key` in a flat keyed file like memory.events.
uint64_t read_key(int dir, const char* file, const char* key) {
  const long fd = call(__NR_openat, dir, file, o_rdonly | o_cloexec);
  if (fd < 0) return 0;
  char text[512];
  const long n = call(__NR_read, fd, text, sizeof text - 1);
  close(static_cast<int>(fd));
  if (n <= 0) return 0;
  text[n] = 0;
  for (char* line = text; *line != 0;) {
    const char* k = key;
    char* p = line;
    while (*k != 0 && *p == *k) ++p, ++k;
    if (*k == 0 && *p == ' ') {
      uint64_t value = 0;
      for (++p; *p >= '0' && *p <= '9'; ++p) value = value * 10 + static_cast<uint64_t>(*p - '0');
      return value;
    }
    while (*line != 0 && *line != '\n') ++line;
    if (*line != 0) ++line;
  }
  return 0;
}

uint64_t oom_kills(uint32_t i) {
  const Container& c = containers[i];
  for (unsigned h = 0; h < max_hierarchies; ++h) {
    if (((c.memory >> h) & 1U) == 0 || !adopted[h]) continue;
    Path path;
    path.add(header().runtime)
        .add("/")
        .add(live(i).name)
        .add(parent_v2[h] ? "/memory.events" : "/memory.oom_control");
    return read_key(parents[h], path.text, "oom_kill");
  }
  return 0;
}

/// Removes what is left of a container's cgroups. 0 when nothing is left.
long undo_cgroups(uint32_t i, uint32_t* where) {
  Container& c = containers[i];
  long first = 0;
  for (unsigned h = 0; h < max_hierarchies; ++h) {
    if (((c.cgroups >> h) & 1U) == 0 || !adopted[h]) continue;
    Path path;
    path.add(header().runtime).add("/").add(live(i).name);
    const long e = remove_tree(parents[h], path.text, parent_v2[h], true, 0);
    if (e == 0)
      c.cgroups &= ~(uint64_t{1} << h);
    else if (first == 0)
      first = e, *where = h;
  }
  return first;
}

// ---- life and death of containers ---------------------------------------------------------------

bool on_console(uint32_t i);

void forget(uint32_t i) {
  Container& c = containers[i];
  for (int tries = 0; tries < 64 && c.console >= 0 && on_console(i);) ++tries;  // its last words
  if (c.console >= 0) call(__NR_epoll_ctl, fd_epoll, epoll_del, c.console, 0L);
  close(c.console);
  close(c.log);
  close(c.slave);
  close(c.exit_socket);
  live(i).pid = 0;
  live(i).name[0] = 0;
  if (c.state == Container::draining) --draining_count;
  if (c.detached) --detached_count;
  c.state = Container::unused;
  --live_count;
}

struct Ended {
  SigInfo info;
  uint64_t rusage[18];
};
// The record of a container whose cgroups cannot be removed yet; few at a time, so a small table
// does.
struct Pending {
  uint32_t index;
  bool used;
  Record record;
};
Pending pending[64];

void finish(uint32_t i, Record& record) {
  uint32_t where = 0;
  const long e = undo_cgroups(i, &where);
  Container& c = containers[i];
  if (e != 0 && c.retries < 250) {
    // Processes that share the pid namespace with the host die in their own time; their last one
    // empties the cgroup.
    for (auto& p : pending) {
      if (p.used && p.index != i) continue;
      p.used = true;
      p.index = i;
      p.record = record;
      if (c.state != Container::draining) {
        c.state = Container::draining;
        ++draining_count;
      }
      ++c.retries;
      return;
    }
  }
  record.undo_error = static_cast<int32_t>(-e);
  record.undo_hierarchy = where;
  for (auto& p : pending)
    if (p.used && p.index == i) p.used = false;
  send_record(c.exit_socket, record, -1);
  forget(i);
}

void reap(uint32_t i) {
  Container& c = containers[i];
  if (c.state == Container::held) {
    // The host is writing its id map by pid: the number must not be given to somebody else. Taken
    // up by `release`.
    call(__NR_epoll_ctl, fd_epoll, epoll_del, c.pidfd, 0L);
    c.unwatched = true;
    return;
  }
  Record record{};
  record.magic = magic;
  record.kind = RecordKind::exited;
  record.pid = c.pid;
  SigInfo info{};
  const long e =
      call(__NR_waitid, p_pidfd, c.pidfd, &info, wexited | wnohang | wall, record.rusage);
  if (e == -e_intr || e == -e_again || (e == 0 && info.pid == 0)) return;
  if (e < 0) record.error = static_cast<int32_t>(-e);
  record.code = info.code;
  record.status = info.status;
  if (c.memory != 0) record.oom_kills = oom_kills(i);
  const int pidfd = c.pidfd;
  c.pidfd = -1;
  finish(i, record);  // first: somebody waits for it
  // the host holds the same open file: closing is not enough
  call(__NR_epoll_ctl, fd_epoll, epoll_del, pidfd, 0L);
  close(pidfd);
}

void retry_draining() {
  for (auto& p : pending)
    if (p.used) {
      Record record = p.record;
      finish(p.index, record);
    }
}

void kill_container(uint32_t i) {
  Container& c = containers[i];
  if (c.pidfd >= 0) call(__NR_pidfd_send_signal, c.pidfd, sig_kill, 0L, 0);
}

void on_host_gone() {
  if (host_gone) return;
  host_gone = true;
  call(__NR_epoll_ctl, fd_epoll, epoll_del, fd_control, 0L);
  call(__NR_epoll_ctl, fd_epoll, epoll_del, fd_host, 0L);
  close(fd_host);
  for (uint32_t i = 0; i < max_live && live_count > 0; ++i) {
    Container& c = containers[i];
    if (c.state == Container::unused || c.detached) continue;
    if (c.state == Container::held) {
      c.state = Container::running;
      if (c.unwatched) {
        reap(i);
        continue;
      }
    }
    kill_container(i);
  }
}

/// Only detached containers are left: a host that lives on and waits for us need not wait for them.
void tell_staying() {
  told_staying = true;
  Record record{};
  record.magic = magic;
  record.kind = RecordKind::staying;
  send_record(fd_control, record, -1);
  close(fd_control);
}

void remove_state() {
  long e = -1;
  for (int tries = 0; tries < 4 && e < 0 && e != -e_noent; ++tries)
    e = call(__NR_unlinkat, fd_state, arena_name, 0);
  // only when it is empty
  if (remove_state_dir) call(__NR_unlinkat, at_fdcwd, state_dir, at_removedir);
}

/// The last act: the runtime's own cgroups and its file.
[[noreturn]] void depart() {
  for (unsigned h = 0; h < max_hierarchies; ++h) {
    if (!adopted[h]) continue;
    // A launch cut short may have left a cgroup that no container entered yet.
    for (int tries = 0; tries < 200; ++tries) {
      if (remove_tree(parents[h], header().runtime, parent_v2[h], true, 0) != -e_busy) break;
      const Timespec pause{0, 1000000};
      call(__NR_nanosleep, &pause, 0L);
    }
  }
  remove_state();
  leave(0);
}

// ---- cloning ------------------------------------------------------------------------------------

/// The new process: from here on nothing of the zygote is used but its memory.
[[noreturn]] void run_child(ChildContext& context) {
  // First of all: nothing open but what this container was promised. Received descriptors ascend.
  int next = 0;
  const auto must_close = [&context](int first, long last) {
    const long e = call(__NR_close_range, first, last, 0);
    if (e == 0) return;
    context.page->error = static_cast<int32_t>(-e);
    context.page->part = Part::descriptors;
    context.page->state = ChildState::failed;
    leave(125);
  };
  const auto keep = [&next, &must_close](int fd) {
    if (fd > next) must_close(next, fd - 1);
    next = fd + 1;
  };
  keep(fd_self);
  if (context.bare_mounts >= 0) keep(context.bare_mounts);
  keep(context.sync);
  for (unsigned i = 0; i < context.passed_count; ++i) keep(context.passed[i]);
  must_close(next, 0xffffffffL);
  RealSystem system;
  Interpreter<RealSystem> interpreter(system, context);
  leave(interpreter.run());
}

int run_in_room(void* room) { run_child(static_cast<Room*>(room)->context); }

struct CloneJob {
  bool share_memory;
  CloneArgs args;
  const int* joins;
  unsigned join_count;
  ChildContext* context;
};

/// Runs in a process of its own while the zygote waits (CLONE_VFORK): joins namespaces that decide
/// how the child is cloned, and clones it as the zygote's own child. Not in the zygote's memory:
/// who shares that with others may not join a time namespace (EUSERS).
[[noreturn]] void join_and_clone(CloneJob& job) {
  auto& result = header().join_result;
  for (unsigned i = 0; i < job.join_count; ++i) {
    result = call(__NR_setns, job.joins[i], 0);
    if (result < 0) leave(1);
  }
  job.args.flags |= clone_parent;
  job.args.exit_signal = 0;
  job.args.pidfd = reinterpret_cast<uint64_t>(&header().join_pidfd);
  const long pid = call(__NR_clone3, &job.args, sizeof job.args);
  if (pid == 0) run_child(*job.context);
  result = pid;
  leave(0);
}

long clone_now(CloneJob& job) {
  if (job.share_memory) {
    for (Room& room : rooms.list) {
      if (room.tid != 0) continue;
      room.context = *job.context;
      room.context.room = room.program;
      room.tid = 1;
      CloneArgs args = job.args;
      args.flags |= clone_vm | clone_child_cleartid;
      args.child_tid = reinterpret_cast<uint64_t>(&room.tid);
      args.stack = reinterpret_cast<uint64_t>(room.stack);
      args.stack_size = sizeof room.stack;
      const long pid = clone3_run(&args, sizeof args, run_in_room, &room);
      if (pid < 0) room.tid = 0;
      return pid;
    }
  }
  if (job.join_count == 0) {
    const long pid = call(__NR_clone3, &job.args, sizeof job.args);
    if (pid == 0) run_child(*job.context);
    return pid;
  }
  CloneArgs helper{};
  helper.flags = clone_vfork | clone_files;  // pidfds are made in our table
  header().join_result = -e_again;
  const long pid = call(__NR_clone3, &helper, sizeof helper);
  if (pid == 0) join_and_clone(job);
  if (pid < 0) return pid;
  call(__NR_waitid, p_pid, pid, 0L, wexited | wall, 0L);
  *reinterpret_cast<int*>(job.args.pidfd) = header().join_pidfd;
  return header().join_result;
}

/// Makes a mount namespace of one mount, an empty read-only tmpfs, and opens it: in a process of
/// its own, which the zygote waits for.
[[noreturn]] void empty_mounts() {
  auto& result = header().join_result;
  const auto must = [&result](long e) {
    if (e >= 0) return e;
    result = e;
    leave(1);
  };
  // In any other user namespace the kernel wants to see a procfs before it mounts one,
  // mount_too_revealing() in fs/namespace.c: there is none here.
  Statx user, made, seen;
  must(call(__NR_statx, at_fdcwd, "/proc/self/ns/user", 0, statx_ino, &user));
  must(user.ino == initial_user_namespace ? 0 : -e_perm);
  must(call(__NR_mount, 0L, "/", 0L, ms_rec | ms_private, 0L));
  const long fs = must(call(__NR_fsopen, "tmpfs", fsopen_cloexec));
  must(call(__NR_fsconfig, fs, fsconfig_set_string, "size", "4k", 0));
  must(call(__NR_fsconfig, fs, fsconfig_set_string, "nr_inodes", "1", 0));
  must(call(__NR_fsconfig, fs, fsconfig_set_string, "mode", "0555", 0));
  must(call(__NR_fsconfig, fs, fsconfig_set_flag, "ro", 0L, 0));
  must(call(__NR_fsconfig, fs, fsconfig_cmd_create, 0L, 0L, 0));
  const long root = must(call(__NR_fsmount, fs, fsmount_cloexec,
                              attr_rdonly | attr_nosuid | attr_nodev | attr_noexec));
  must(call(__NR_move_mount, root, "", at_fdcwd, "/", move_mount_f_empty_path));
  must(call(__NR_fchdir, root));
  const long ns = must(call(__NR_openat, at_fdcwd, "/proc/self/ns/mnt", o_rdonly | o_cloexec));
  must(call(__NR_pivot_root, ".", "."));
  must(call(__NR_umount2, ".", mnt_detach));
  // Below a chroot(2) that was not the root of the namespace: who enters finds the machine's.
  must(call(__NR_statx, root, "", at_empty_path, statx_mount, &made));
  must(call(__NR_setns, ns, clone_newns));
  must(call(__NR_statx, at_fdcwd, "/", 0, statx_mount, &seen));
  must(made.mount == seen.mount ? 0 : -e_perm);
  close(static_cast<int>(fs));
  close(static_cast<int>(root));
  result = ns;
  leave(0);
}

/// The empty mount namespace, or -1. Made when it is wanted for the second time: a single container
/// gains nothing by it.
int bare_mounts() {
  static int wanted = 0;  // how often; -1: it is there, or cannot be had
  static int ns = -1;
  if (wanted < 0 || ++wanted < 2) return ns;
  wanted = -1;
  CloneArgs helper{};
  helper.flags = clone_newns | clone_vfork | clone_files;  // it opens in our table
  header().join_result = -e_again;
  const long pid = call(__NR_clone3, &helper, sizeof helper);
  if (pid == 0) empty_mounts();
  if (pid < 0) return ns;
  call(__NR_waitid, p_pid, pid, 0L, wexited | wall, 0L);
  const long made = header().join_result;
  // What it may have left open goes with us; it is tried once.
  if (made < 0 || call(__NR_dup3, made, fd_bare_mounts, o_cloexec) < 0) return ns;
  close(static_cast<int>(made));
  return ns = fd_bare_mounts;
}

void on_clone(const Request& request, const int* fds, unsigned count) {
  const bool into_cgroup = (request.flags & request_into_cgroup) != 0;
  const unsigned before_sync = 1 + (into_cgroup ? 1U : 0U) + request.joins;
  Record record{};
  record.magic = magic;
  const auto refuse = [&](long error) {
    record.kind = RecordKind::failed;
    record.error = static_cast<int32_t>(-error);
    if (count > 0) send_record(fds[0], record, -1);
    for (unsigned i = 0; i < count; ++i) close(fds[i]);
  };
  if (request.live >= max_live || request.page >= max_pages || request.joins > 8 ||
      count < before_sync + 1 || count - before_sync - 1 > max_passed ||
      containers[request.live].state != Container::unused)
    return refuse(-e_proto);

  ChildContext context;
  context.sync = fds[before_sync];
  context.zygote = fd_self;
  context.bare_mounts = (request.flags & request_bare_mounts) != 0 ? bare_mounts() : -1;
  context.passed_count = count - before_sync - 1;
  for (unsigned i = 0; i < context.passed_count; ++i) context.passed[i] = fds[before_sync + 1 + i];
  context.page = &page(request.page);
  context.arena = arena;
  context.nofile = caller_nofile;
  context.program_size = request.program_size;

  LiveEntry& entry = live(request.live);
  memcpy(entry.name, request.name, sizeof entry.name);
  entry.name[sizeof entry.name - 1] = 0;
  entry.cgroups = request.cgroups;
  entry.detached = 0;
  Timespec now{};
  call(__NR_clock_gettime, 7 /* CLOCK_BOOTTIME */, &now);
  entry.born = static_cast<uint64_t>(now.sec) * 1000000000U + static_cast<uint64_t>(now.nsec);

  int pidfd = -1;
  CloneJob job{};
  job.args.flags = request.clone_flags | clone_pidfd | clone_parent_settid |
                   (into_cgroup ? clone_into_cgroup : 0);
  job.args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  // Into the shared file, by the kernel, before the child runs: if we die right now the host can
  // still find it.
  job.args.parent_tid = reinterpret_cast<uint64_t>(&entry.pid);
  job.args.exit_signal = static_cast<uint64_t>(sig_chld);
  job.args.cgroup = into_cgroup ? static_cast<uint64_t>(fds[1]) : 0;
  job.joins = fds + 1 + (into_cgroup ? 1 : 0);
  job.join_count = request.joins;
  job.context = &context;
  job.share_memory = (request.flags & request_share_memory) != 0 && request.joins == 0 &&
                     request.program_size <= sizeof rooms.list[0].program;
  const long pid = clone_now(job);
  if (pid < 0) {
    entry.pid = 0;
    entry.name[0] = 0;
    return refuse(pid);
  }
  // Our copies go at once, or the host would never see the child's end of file.
  for (unsigned i = 1; i < count; ++i) close(fds[i]);

  Container& c = containers[request.live];
  c = Container{};
  c.state = (request.flags & request_hold) != 0 ? Container::held : Container::running;
  c.pid = static_cast<int>(pid);
  c.pidfd = pidfd;
  c.exit_socket = fds[0];
  c.console = -1;
  c.log = -1;
  c.slave = -1;
  c.cgroups = request.cgroups;
  c.v2 = request.v2;
  c.memory = request.memory;
  ++live_count;

  record.kind = RecordKind::cloned;
  record.pid = static_cast<int32_t>(pid);
  long e = send_record(c.exit_socket, record, pidfd);
  const EpollEvent event{epollin, tag_child + request.live};
  if (e == 0) e = call(__NR_epoll_ctl, fd_epoll, epoll_add, pidfd, &event);
  if (e < 0) {
    // Out of watches or memory, or nobody is there: a container that we cannot watch must not live.
    kill_container(request.live);
    c.state = Container::running;
    SigInfo info{};
    call(__NR_waitid, p_pidfd, pidfd, &info, wexited | wall, 0L);
    record.kind = RecordKind::exited;
    record.error = static_cast<int32_t>(-e);
    record.code = info.code;
    record.status = info.status;
    close(pidfd);
    c.pidfd = -1;
    finish(request.live, record);
  }
}

void on_adopt(const Request& request, int* fds, unsigned count) {
  const auto h = request.cgroups;
  if (h >= max_hierarchies || count != 1 || adopted[h]) {
    for (unsigned i = 0; i < count; ++i) close(fds[i]);
    return;
  }
  parents[h] = fds[0];
  parent_v2[h] = request.v2 != 0;
  adopted[h] = true;
}

void on_detach(const Request& request, int* fds, unsigned count) {
  Container* c = request.live < max_live ? &containers[request.live] : nullptr;
  if (c == nullptr || c->state == Container::unused || count > 2) {
    for (unsigned i = 0; i < count; ++i) close(fds[i]);
    return;
  }
  if (!c->detached) ++detached_count;
  c->detached = true;
  live(request.live).detached = 1;
  // Nothing that came may make us wait for it.
  if (count >= 1 && c->console < 0 &&
      call(__NR_fcntl, fds[0], 4 /* F_SETFL */, o_rdwr | o_nonblock) >= 0) {
    c->console = fds[0];
    c->log = count == 2 ? fds[1] : -1;
    // Held open as the host did: without any slave the master is at its end, and so would the
    // terminal be for who opens it again.
    c->slave =
        static_cast<int>(call(__NR_ioctl, c->console, tiocgptpeer, o_rdwr | o_noctty | o_cloexec));
    const EpollEvent event{epollin, tag_console + request.live};
    call(__NR_epoll_ctl, fd_epoll, epoll_add, c->console, &event);
  } else {  // detached before, or nothing that can be read without waiting
    for (unsigned i = 0; i < count; ++i) close(fds[i]);
  }
}

/// The terminal of a detached container must be read, or its writers stop; what it says goes to the
/// log. Whether there was something.
bool on_console(uint32_t i) {
  Container& c = containers[i];
  char text[4096];
  const long n = call(__NR_read, c.console, text, sizeof text);
  if (n == -e_again || n == -e_intr) return false;
  if (n <= 0) {
    call(__NR_epoll_ctl, fd_epoll, epoll_del, c.console, 0L);
    close(c.console);
    c.console = -1;
    return false;
  }
  for (long done = 0; c.log >= 0 && done < n;) {
    const long w = call(__NR_write, c.log, text + done, n - done);
    if (w <= 0) break;
    done += w;
  }
  return true;
}

void on_release(const Request& request) {
  if (request.live >= max_live || containers[request.live].state != Container::held) return;
  Container& c = containers[request.live];
  c.state = Container::running;
  if (c.unwatched) reap(request.live);
}

enum class Control { message, nothing, ended };

/// One message of the host.
Control on_control() {
  Request request;
  IoVec iov{&request, sizeof request};
  alignas(8) char control[sizeof(CmsgHdr) + 256 * sizeof(int)];
  MsgHdr m{nullptr, 0, &iov, 1, control, sizeof control, 0};
  const long n = call(__NR_recvmsg, fd_control, &m, msg_dontwait | msg_cmsg_cloexec);
  if (n == 0) return Control::ended;
  if (n < 0) {
    // The end is told by 0. What else may fail is a lack of memory, for a while.
    control_errors = n == -e_again || n == -e_intr ? 0 : control_errors + 1;
    return control_errors < 100 ? Control::nothing : Control::ended;
  }
  control_errors = 0;
  int* fds = nullptr;
  unsigned count = 0;
  if (m.control_size >= sizeof(CmsgHdr)) {
    auto* c = reinterpret_cast<CmsgHdr*>(control);
    if (c->level == sol_socket && c->type == scm_rights && c->size >= sizeof(CmsgHdr)) {
      fds = reinterpret_cast<int*>(c + 1);
      count = static_cast<unsigned>((c->size - sizeof(CmsgHdr)) / sizeof(int));
    }
  }
  if (n != sizeof request || request.magic != magic || (m.flags & msg_ctrunc) != 0) {
    // A cut-off message: most likely we are out of descriptors. Its sender sees its sockets close.
    Record record{};
    record.magic = magic;
    record.kind = RecordKind::failed;
    record.error = (m.flags & msg_ctrunc) != 0 ? 24 /* EMFILE */ : static_cast<int32_t>(e_proto);
    if (count > 0) send_record(fds[0], record, -1);
    for (unsigned i = 0; i < count; ++i) close(fds[i]);
    return Control::message;
  }
  switch (request.kind) {
    case RequestKind::clone:
      on_clone(request, fds, count);
      return Control::message;
    case RequestKind::adopt:
      on_adopt(request, fds, count);
      return Control::message;
    case RequestKind::detach:
      on_detach(request, fds, count);
      return Control::message;
    case RequestKind::release:
      on_release(request);
      break;
  }
  for (unsigned i = 0; i < count; ++i) close(fds[i]);
  return Control::message;
}

// ---- start --------------------------------------------------------------------------------------

/// Tells the host why we cannot go on and ends.
[[noreturn]] void give_up(long error, StartPart part, uint32_t owner = 0, uint32_t mode = 0) {
  Record record{};
  record.magic = magic;
  record.kind = RecordKind::failed;
  record.error = static_cast<int32_t>(-error);
  record.code = static_cast<int32_t>(part);
  record.status = static_cast<int32_t>(owner);
  record.undo_hierarchy = mode;
  // A directory that we made, and that nobody else uses.
  if (part != StartPart::owner && remove_state_dir)
    call(__NR_unlinkat, at_fdcwd, state_dir, at_removedir);
  send_record(fd_control, record, -1);
  leave(1);
}

void must(long result) {
  if (result < 0) give_up(result, StartPart::itself);
}

void place(long fd, int number) {
  must(fd);
  if (fd == number) return;
  must(call(__NR_dup3, fd, number, o_cloexec));
  close(static_cast<int>(fd));
}

/// Says that we live. A record lock, fcntl(2): it is this process's alone, where one of flock(2)
/// would be shared with every process that inherits the descriptor or a mapping, containers on
/// their way among them.
long lock_state() {
  const struct {
    int16_t type, whence;
    int64_t start, size;
    int32_t pid;
  } whole{1 /* F_WRLCK */, 0, 0, 0, 0};
  long e = -e_intr;
  // a sweep may hold it for a moment
  while (e == -e_intr) e = call(__NR_fcntl, fd_arena, 7 /* F_SETLKW */, &whole);
  return e;
}

/// Makes the state file, in a directory that is made when it is missing. We do it and not the host,
/// so that from the first moment on there is somebody who outlives the host and removes it.
void make_state() {
  long dir = -e_noent, file = -e_noent;
  // Another zygote may remove the empty directory between any two of these, and a sweep a file that
  // is not locked yet.
  for (int tries = 0; tries < 100 && file == -e_noent; ++tries) {
    const long made = call(__NR_mkdirat, at_fdcwd, state_dir, 0700);
    if (made < 0 && made != -e_exist) give_up(made, StartPart::state_dir);
    dir = call(__NR_openat, at_fdcwd, state_dir, o_rdonly | o_directory | o_nofollow | o_cloexec);
    if (dir == -e_noent) continue;
    if (dir < 0) give_up(dir, StartPart::state_dir);
    Statx st;
    if (const long e = call(__NR_statx, dir, "", at_empty_path, statx_basic, &st); e < 0)
      give_up(e, StartPart::state_dir);
    if (st.uid != static_cast<uint32_t>(call(__NR_geteuid)) || (st.mode & 022U) != 0)
      give_up(-e_perm, StartPart::owner, st.uid, st.mode & 07777U);
    file = call(__NR_openat, dir, arena_name, o_rdwr | o_creat | o_excl | o_nofollow | o_cloexec,
                0600);
    if (file >= 0) {
      place(file, fd_arena);
      long e = lock_state();
      if (e >= 0) e = call(__NR_statx, fd_arena, "", at_empty_path, statx_basic, &st);
      if (e < 0) {
        call(__NR_unlinkat, dir, arena_name, 0);
        give_up(e, StartPart::state_file);
      }
      if (st.nlink == 0) file = -e_noent;
    }
    if (file == -e_noent) close(static_cast<int>(dir));
  }
  if (file < 0) give_up(file, StartPart::state_file);
  place(dir, fd_state);
  const long sized = call(__NR_ftruncate, fd_arena, arena_size);
  const long mapped =
      sized < 0 ? sized : call(__NR_mmap, 0L, arena_size, 3, 1 /* MAP_SHARED */, fd_arena, 0);
  if (mapped < 0 && mapped > -4096) {
    call(__NR_unlinkat, fd_state, arena_name, 0);
    give_up(mapped, StartPart::state_file);
  }
  arena = reinterpret_cast<char*>(mapped);
  // a disk's file system reads, and clears, far around
  call(__NR_madvise, arena, arena_size, 1 /* MADV_RANDOM */);
  header().magic = magic;
  header().version = 1;
  header().zygote = static_cast<int32_t>(call(__NR_getpid));
  for (size_t i = 0; i + 1 < sizeof header().runtime && arena_name[i] != 0; ++i)
    header().runtime[i] = arena_name[i];
}

/// From here on a failure has something to take back.
void must_undo(long result) {
  if (result >= 0) return;
  call(__NR_unlinkat, fd_state, arena_name, 0);
  give_up(result, StartPart::itself);
}

void start(char** argv) {
  arena_name = argv[1];
  state_dir = argv[2];
  remove_state_dir = argv[3][0] == '1';
  must(call(__NR_close_range, 5, 0xffffffffL, 0));
  for (int fd = fd_control; fd <= fd_host; ++fd) must(call(__NR_fcntl, fd, 2 /* F_SETFD */, 1));
  call(__NR_prctl, pr_set_name, "condroid-zygote", 0, 0, 0);
  must(call(__NR_prctl, pr_set_dumpable, 0, 0, 0, 0));
  call(__NR_setsid);
  must(call(__NR_chdir, "/"));

  // What the host ignores stays ignored by exec and by CLONE_CLEAR_SIGHAND: containers would
  // inherit it, and an ignored SIGCHLD would take their ends from us.
  const uint64_t by_default[4] = {};  // struct sigaction of the kernel
  for (int s = 1; s <= 64; ++s)
    if (s != sig_kill && s != 19 /* SIGSTOP */) call(__NR_rt_sigaction, s, by_default, 0L, 8);

  // Terminal signals are the host's to decide about. Blocked rather than ignored: ignoring would be
  // inherited.
  uint64_t blocked = 0;
  const int held[] = {1, 2, 3, 10, 12, 13, 14, 20, 21, 22, 28};
  for (const int s : held) blocked |= uint64_t{1} << static_cast<unsigned>(s - 1);
  must(call(__NR_rt_sigprocmask, sig_setmask, &blocked, 0L, 8));

  // Numbers 0 to 2 are occupied by something harmless, so that no descriptor that arrives becomes a
  // standard stream.
  const long event = call(__NR_eventfd2, 0, o_cloexec);
  must(event);
  for (int fd = 0; fd < 3; ++fd) must(call(__NR_dup3, event, fd, o_cloexec));
  must(call(__NR_dup3, event, fd_bare_mounts, o_cloexec));  // until it is made
  close(static_cast<int>(event));

  must(call(__NR_prlimit64, 0, rlimit_nofile, 0L, &caller_nofile));
  const Rlimit64 all{caller_nofile.hard, caller_nofile.hard};
  call(__NR_prlimit64, 0, rlimit_nofile, &all, 0L);

  must(call(__NR_madvise, &rooms, sizeof rooms, 18 /* MADV_WIPEONFORK, Linux 4.14 */));

  place(call(__NR_pidfd_open, call(__NR_getpid), 0), fd_self);
  place(call(__NR_epoll_create1, o_cloexec), fd_epoll);
  make_state();

  const EpollEvent control{epollin, tag_control};
  must_undo(call(__NR_epoll_ctl, fd_epoll, epoll_add, fd_control, &control));
  const EpollEvent host{epollin, tag_host};
  must_undo(call(__NR_epoll_ctl, fd_epoll, epoll_add, fd_host, &host));

  Record record{};
  record.magic = magic;
  record.kind = RecordKind::ready;
  record.pid = header().zygote;
  must_undo(send_record(fd_control, record, -1));
}

void serve() {
  EpollEvent events[16];
  for (;;) {
    if (host_gone && live_count == 0) depart();
    if (host_gone && !told_staying && live_count == detached_count) tell_staying();
    const long n = call(__NR_epoll_pwait, fd_epoll, events, 16, draining_count > 0 ? 4 : -1, 0L, 8);
    if (draining_count > 0) retry_draining();
    for (long i = 0; i < n; ++i) {
      const uint64_t tag = events[i].data;
      if (tag == tag_control) {
        if (!host_gone && on_control() == Control::ended) on_host_gone();
      } else if (tag == tag_host) {
        // What it said last is heard: it names cgroups, and what was detached.
        while (!host_gone && on_control() == Control::message) {
        }
        on_host_gone();
      } else if (tag >= tag_console && tag < tag_console + max_live) {
        const auto k = static_cast<uint32_t>(tag - tag_console);
        if (containers[k].state != Container::unused && containers[k].console >= 0) on_console(k);
      } else if (tag >= tag_child && tag < tag_child + max_live) {
        const auto k = static_cast<uint32_t>(tag - tag_child);
        if (containers[k].state == Container::running || containers[k].state == Container::held)
          reap(k);
      }
    }
  }
}

}  // namespace

extern "C" [[noreturn]] __attribute__((used)) void zygote_main(long* stack) {
  const long argc = stack[0];
  if (argc < 4) leave(2);
  start(reinterpret_cast<char**>(stack + 1));
  serve();
  leave(0);
}

#if defined(__x86_64__)
asm(".globl _start\n"
    ".type _start,@function\n"
    "_start:\n"
    "  xor %ebp, %ebp\n"
    "  mov %rsp, %rdi\n"
    "  and $-16, %rsp\n"
    "  call zygote_main\n"
    "  hlt\n");
#elif defined(__aarch64__)
asm(".globl _start\n"
    ".type _start,%function\n"
    "_start:\n"
    "  mov x29, xzr\n"
    "  mov x30, xzr\n"
    "  mov x0, sp\n"
    "  bl zygote_main\n"
    "  brk #0\n");
#endif
