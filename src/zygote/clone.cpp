// Cloning: requests become processes, in the zygote's memory or in a copy of it, by way of a helper
// where namespaces are to be joined first.
#include "zygote/clone.hpp"

namespace condroid::zygote {

namespace {

/// Where a child runs that shares our memory until it executes its command. `tid` is set by us and
/// cleared by the kernel when the child has let go of our memory (CLONE_CHILD_CLEARTID), by exec or
/// by its end.
struct Room {
  volatile uint32_t tid;
  /// Bytes until it is used: nobody runs a constructor before this program begins.
  alignas(ChildContext) char context_bytes[sizeof(ChildContext)];
  ChildContext& context() { return *reinterpret_cast<ChildContext*>(context_bytes); }
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
  if (context.join >= 0) keep(context.join);
  keep(context.sync);
  for (unsigned i = 0; i < context.passed_count; ++i) keep(context.passed[i]);
  must_close(next, 0xffffffffL);
  if (context.join >= 0) {
    if (const long e = call(__NR_setns, context.join, context.join_flags); e < 0) {
      context.page->error = static_cast<int32_t>(-e);
      context.page->part = Part::joining;
      context.page->state = ChildState::failed;
      leave(125);
    }
    close(context.join);
  }
  RealSystem system;
  Interpreter<RealSystem> interpreter(system, context);
  leave(interpreter.run());
}

int run_in_room(void* room) { run_child(static_cast<Room*>(room)->context()); }

/// The same with a copy of our memory, in which every room is empty.
[[noreturn]] void run_alone(ChildContext& context) {
  if (context.program_size <= sizeof rooms.list[0].program) context.room = rooms.list[0].program;
  run_child(context);
}

/// In a process that is about to enter a place where others live: leaves it a descriptor table of
/// its own, with nothing but what the child was promised and what the clone takes.
long keep_own_descriptors(const CloneJob& job) {
  int next = 0;
  long e = 0;
  unsigned flags = close_range_unshare;
  const auto keep = [&](int fd) {
    if (fd > next && e == 0) e = call(__NR_close_range, next, fd - 1, flags), flags = 0;
    next = fd + 1;
  };
  keep(fd_self);
  const bool into_cgroup = (job.args.flags & clone_into_cgroup) != 0;
  if (into_cgroup) keep(static_cast<int>(job.args.cgroup));
  keep(job.joins[0]);
  keep(job.context->sync);
  for (unsigned i = 0; i < job.context->passed_count; ++i) keep(job.context->passed[i]);
  return e < 0 ? e : call(__NR_close_range, next, 0xffffffffL, flags);
}

}  // namespace

[[noreturn]] void join_and_clone(const CloneJob& job, int64_t& result) {
  CloneArgs args = job.args;
  if (job.join_flags != 0) {
    result = job.own_descriptors ? 0 : keep_own_descriptors(job);
    if (result < 0) leave(1);
    // A pidfd would be opened in our table: the zygote opens its own.
    args.flags &= ~clone_pidfd;
  }
  uint64_t join_flags = job.join_flags;
  if ((join_flags & clone_newcgroup) != 0 && (args.flags & clone_into_cgroup) != 0) {
    // Where v2 is mounted with nsdelegate, as systemd does, nobody moves or clones across the
    // border of the cgroup namespace that he is in: the child joins it when it is inside.
    join_flags &= ~clone_newcgroup;
    job.context->join = job.joins[0];
    job.context->join_flags = clone_newcgroup;
  }
  for (unsigned i = 0; i < job.join_count; ++i) {
    result = call(__NR_setns, job.joins[i], join_flags);
    if (result < 0) leave(1);
  }
  args.flags |= clone_parent;
  args.exit_signal = 0;
  args.pidfd = job.join_flags != 0 ? 0 : reinterpret_cast<uint64_t>(&header().join_pidfd);
  result = -e_again;  // whoever reads it after an end of ours in between
  const long pid = call(__NR_clone3, &args, sizeof args);
  if (pid == 0) run_alone(*job.context);
  result = pid;
  leave(0);
}

namespace {

int join_and_clone_in(void* job) {
  join_and_clone(*static_cast<const CloneJob*>(job), header().join_result);
}

/// Not in a Room: those are empty in the copy on which the child goes on.
alignas(16) char helper_stack[32 * 1024];

}  // namespace

long child_of_helper(long result, int told) {
  return result == -e_again && told > 0 ? told : result;
}

long open_child(long child, int& pidfd) {
  const long fd = call(__NR_pidfd_open, child, 0);
  if (fd < 0) {
    call(__NR_kill, child, sig_kill);
    call(__NR_waitid, p_pid, child, 0L, wexited | wall, 0L);
    return fd;
  }
  pidfd = static_cast<int>(fd);
  return child;
}

namespace {

long clone_now(CloneJob& job) {
  if (job.share_memory) {
    for (Room& room : rooms.list) {
      if (room.tid != 0) continue;
      __builtin_memcpy(room.context_bytes, job.context, sizeof room.context_bytes);
      room.context().room = room.program;
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
    if (pid == 0) run_alone(*job.context);
    return pid;
  }
  CloneArgs helper{};
  helper.flags = clone_vfork | clone_files;  // pidfds are made in our table
  header().join_result = -e_again;
  header().join_pidfd = -1;
  long pid;
  if (joins_in_shared_memory(job.join_flags)) {
    helper.flags |= clone_vm;
    helper.stack = reinterpret_cast<uint64_t>(helper_stack);
    helper.stack_size = sizeof helper_stack;
    pid = clone3_run(&helper, sizeof helper, join_and_clone_in, &job);
  } else {
    pid = call(__NR_clone3, &helper, sizeof helper);
    if (pid == 0) join_and_clone(job, header().join_result);
  }
  if (pid < 0) return pid;
  call(__NR_waitid, p_pid, pid, 0L, wexited | wall, 0L);
  const int told = *reinterpret_cast<const int*>(job.args.parent_tid);
  const long child = child_of_helper(header().join_result, told);
  auto& pidfd = *reinterpret_cast<int*>(job.args.pidfd);
  pidfd = header().join_pidfd;
  return child > 0 && pidfd < 0 ? open_child(child, pidfd) : child;
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

}  // namespace

long prepare(const Request& request, const int* fds, unsigned count, ChildContext& context,
             CloneJob& job) {
  constexpr uint64_t namespaces = clone_newns | clone_newcgroup | clone_newuts | clone_newipc |
                                  clone_newuser | clone_newpid | clone_newnet;
  const bool into_cgroup = (request.flags & request_into_cgroup) != 0;
  const unsigned before_sync = (into_cgroup ? 1U : 0U) + request.joins;
  if (request.live >= max_live || request.page >= max_pages || request.joins > 8 ||
      (request.join_flags != 0 && request.joins != 1) || (request.clone_flags & ~namespaces) != 0 ||
      count < before_sync + 1 || count - before_sync - 1 > max_passed ||
      containers[request.live].state != Container::unused)
    return -e_proto;
  context.sync = fds[before_sync];
  context.zygote = fd_self;
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
  entry.marks = request.marks;
  Timespec now{};
  call(__NR_clock_gettime, 7 /* CLOCK_BOOTTIME */, &now);
  entry.born = static_cast<uint64_t>(now.sec) * 1000000000U + static_cast<uint64_t>(now.nsec);

  job.args.flags = request.clone_flags | clone_pidfd | clone_parent_settid |
                   (into_cgroup ? clone_into_cgroup : 0);
  // Into the shared file, by the kernel, before the child runs: if we die right now the host can
  // still find it.
  job.args.parent_tid = reinterpret_cast<uint64_t>(&entry.pid);
  job.args.exit_signal = static_cast<uint64_t>(sig_chld);
  job.args.cgroup = into_cgroup ? static_cast<uint64_t>(fds[0]) : 0;
  job.joins = fds + (into_cgroup ? 1 : 0);
  job.join_count = request.joins;
  job.join_flags = request.join_flags;
  job.context = &context;
  return 0;
}

void refuse(const Request& request, const int* fds, unsigned count, long error) {
  Record record{};
  record.magic = magic;
  record.kind = RecordKind::failed;
  record.error = static_cast<int32_t>(-error);
  if (request.live < max_live && containers[request.live].state == Container::unused) {
    live(request.live).pid = 0;
    live(request.live).name[0] = 0;
  }
  if (count > 0) send_record(fds[0], record, -1);
  for (unsigned i = 0; i < count; ++i) close(fds[i]);
}

void take_up(const Request& request, long pid, int pidfd, int exit_socket) {
  Container& c = containers[request.live];
  c = Container{};
  c.state = (request.flags & request_hold) != 0 ? Container::held : Container::running;
  c.pid = static_cast<int>(pid);
  c.pidfd = pidfd;
  c.exit_socket = exit_socket;
  c.console = -1;
  c.log = -1;
  c.slave = -1;
  c.group = (request.marks & mark_group) != 0;
  c.profile = (request.marks & mark_profile) != 0;
  c.cgroups = request.cgroups;
  c.v2 = request.v2;
  c.memory = request.memory;
  c.pids = request.pids;
  c.cpu = request.cpu;
  c.detached = (request.marks & mark_finishes) != 0;
  if (c.detached) ++detached_count;
  ++live_count;
  const bool orphan = !join_owner(request.live, request.lives_with);

  Record record{};
  record.magic = magic;
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
    return;
  }
  if (orphan) kill_container(request.live);
}

long wipe_rooms_on_fork() { return call(__NR_madvise, &rooms, sizeof rooms, madv_wipeonfork); }

void on_clone(const Request& request, const int* fds, unsigned count) {
  if ((request.flags & request_by_helper) != 0) return on_clone_by_helper(request, fds, count);
  ChildContext context;
  CloneJob job{};
  int pidfd = -1;
  if (const long e = count < 1 ? -e_proto : prepare(request, fds + 1, count - 1, context, job);
      e < 0)
    return refuse(request, fds, count, e);
  context.bare_mounts = (request.flags & request_bare_mounts) != 0 ? bare_mounts() : -1;
  // Only a pid namespace has to be joined by who clones. Without one the helper would be among
  // processes that may have rights over it, while we wait for it: the child joins by itself.
  if (request.join_flags != 0 && (request.join_flags & clone_newpid) == 0) {
    context.join = job.joins[0];
    context.join_flags = request.join_flags;
    job.join_count = 0;
    job.join_flags = 0;
  }
  job.args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  job.share_memory = (request.flags & request_share_memory) != 0 && request.joins == 0 &&
                     request.program_size <= sizeof rooms.list[0].program;
  const long pid = clone_now(job);
  if (pid < 0) return refuse(request, fds, count, pid);
  // Our copies go at once, or the host would never see the child's end of file.
  for (unsigned i = 1; i < count; ++i) close(fds[i]);
  take_up(request, pid, pidfd, fds[0]);
}

}  // namespace condroid::zygote
