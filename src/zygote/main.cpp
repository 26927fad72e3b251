// condroid-zygote: a tiny, freestanding, static program that clones every container of one Runtime,
// reaps them, and undoes what they leave. docs/design.md says why it exists. One thread; it keeps
// no allocation; it blocks only in epoll_wait and for helpers of its own, whom nobody else can
// reach; it believes nothing of a message beyond its checked size.
//
// argv: [1] name of the state file, [2] state directory, [3] "1": it is removed when it is empty.
// Descriptors: 3 control socket, 4 pidfd of the host.
#include "program/start.hpp"
#include "zygote/zygote.hpp"

namespace condroid::zygote {

Container containers[max_live];  // zero pages until used
unsigned live_count = 0;
unsigned draining_count = 0;
unsigned stuck_count = 0;
unsigned detached_count = 0;
bool host_gone = false;
char* arena = nullptr;
int parents[max_hierarchies];  // directories below which the runtime's cgroups are
bool parent_v2[max_hierarchies];
bool adopted[max_hierarchies];
Rlimit64 caller_nofile{};

namespace {

const char* arena_name = nullptr;
const char* state_dir = nullptr;
bool remove_state_dir = false;
bool told_staying = false;
unsigned control_errors = 0;  // in a row

void on_host_gone() {
  if (host_gone) return;
  host_gone = true;
  call(__NR_epoll_ctl, fd_epoll, epoll_del, fd_control, 0L);
  call(__NR_epoll_ctl, fd_epoll, epoll_del, fd_host, 0L);
  close(fd_host);
  drop_helper();
  kill_all();
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

/// More than once: nobody is left to be told that it failed.
void remove_at_last(int dir, const char* name, int flags) {
  long e = -e_again;
  for (int tries = 0; tries < 4 && e < 0 && e != -e_noent && e != -e_notempty; ++tries)
    e = call(__NR_unlinkat, dir, name, flags);
}

void remove_state() {
  remove_at_last(fd_state, arena_name, 0);
  if (remove_state_dir) remove_at_last(at_fdcwd, state_dir, at_removedir);
}

/// The last act: the runtime's own cgroups, what is left of its profiles, and its file.
[[noreturn]] void depart() {
  bool all_gone = true;
  for (unsigned h = 0; h < max_hierarchies; ++h) {
    if (!adopted[h]) continue;
    // A launch cut short may have left a cgroup that no container entered yet.
    long e = -e_busy;
    for (int tries = 0; tries < (e == -e_busy ? 200 : 8) && e < 0; ++tries) {
      const long places = remove_places(h);
      e = remove_tree(parents[h], header().runtime, parent_v2[h], true, 0);
      if (e == 0) e = places;
      const Timespec pause{0, 1000000};
      if (e < 0) call(__NR_nanosleep, &pause, 0L);
    }
    if (e < 0) all_gone = false;
  }
  if (header().profiles != 0 && all_gone) remove_profiles();
  leave_bridges();
  remove_state();
  leave(0);
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

enum class Control { message, nothing, ended };

/// One message of the host.
Control on_control() {
  Request request{};
  IoVec iov{&request, sizeof request};
  alignas(8) char control[sizeof(CmsgHdr) + 256 * sizeof(int)];
  *reinterpret_cast<CmsgHdr*>(control) = {};
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
    if (n == sizeof request && request.magic == magic && request.kind == RequestKind::clone) {
      if ((request.flags & request_by_helper) != 0) drop_helper();  // it was asked already
      if (count == 0 && request.page < max_pages) {
        // There was room for none, and nothing to answer on: it is told where the child would.
        ResultPage& told = page(request.page);
        told.op = no_op;
        told.error = record.error;
        told.part = Part::whole;
        told.state = ChildState::failed;
      }
    }
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
    case RequestKind::helper:
      on_helper(fds, count);
      return Control::message;
    case RequestKind::lend:
    case RequestKind::tap:
    case RequestKind::patience:
      on_reach(request, fds, count);
      return Control::message;
    case RequestKind::bridge:
      on_bridge(request, fds, count);
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
  long mapped =
      sized < 0 ? sized : call(__NR_mmap, 0L, arena_size, 3, 1 /* MAP_SHARED */, fd_arena, 0);
  if (mapped > 0) {
    // First of all: a disk's file system reads, and clears, far around, two megabytes at once.
    call(__NR_madvise, mapped, arena_size, 1 /* MADV_RANDOM */);
    // A full one would end us at the first touch. MADV_POPULATE_WRITE, Linux 5.14; EFAULT.
    if (call(__NR_madvise, mapped, arena_live, 23) == -14) mapped = -28;  // ENOSPC
  }
  if (mapped < 0 && mapped > -4096) {
    call(__NR_unlinkat, fd_state, arena_name, 0);
    give_up(mapped, StartPart::state_file);
  }
  arena = reinterpret_cast<char*>(mapped);
  header().magic = magic;
  header().version = arena_version;
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

  must(wipe_rooms_on_fork());

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
    // One that froze itself again between our signal and our thaw is killed once more.
    const bool ending = host_gone && live_count > detached_count;
    const long most = draining_count > 0 ? 4 : (ending || stuck_count > 0 ? 100 : -1);
    const long n = call(__NR_epoll_pwait, fd_epoll, events, 16, helper_due() ? 2 : most, 0L, 8);
    if (n == 0 && helper_due()) make_helper();
    if (draining_count > 0) retry_draining();
    if (stuck_count > 0) retry_stuck();
    if (n == 0 && ending) kill_all();
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
}  // namespace condroid::zygote

extern "C" [[noreturn]] __attribute__((used)) void program_main(long* stack) {
  using namespace condroid::zygote;
  const long argc = stack[0];
  if (argc < 4) leave(2);
  start(reinterpret_cast<char**>(stack + 1));
  serve();
  leave(0);
}
