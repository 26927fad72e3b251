// Life and death of containers: reaping, undoing, telling the host, and what detached ones need.
#include "zygote/zygote.hpp"

namespace condroid::zygote {

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

namespace {

void forget(uint32_t i) {
  Container& c = containers[i];
  if (c.owner != 0) containers[c.owner - 1].companion = 0;
  if (c.companion != 0) containers[c.companion - 1].owner = 0;
  for (int tries = 0; tries < 64 && c.console >= 0 && on_console(i);) ++tries;  // its last words
  if (c.console >= 0) call(__NR_epoll_ctl, fd_epoll, epoll_del, c.console, 0L);
  close(c.console);
  close(c.log);
  close(c.slave);
  close(c.exit_socket);
  live(i).pid = 0;
  live(i).name[0] = 0;
  live(i).place[0] = 0;
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

}  // namespace

void finish(uint32_t i, Record& record) {
  // Of what outlives the first process, too: again at each try.
  take_figures(i, record.figures);
  uint32_t where = 0;
  Container& c = containers[i];
  // At the first try: it has nothing left the next time.
  if (const long away = bring_home(i, &c.which); away < 0) c.away = static_cast<int32_t>(-away);
  long e = undo_cgroups(i, &where);
  // What lived with it is gone, too, when the end is told: its ports are free again.
  if (c.companion != 0) {
    kill_container(c.companion - 1);
    if (e == 0) e = -e_busy;
  }
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
  if (c.companion != 0 && e == -e_busy) e = 0;  // a second has passed
  record.undo_error = static_cast<int32_t>(-e);
  record.undo_hierarchy = where;
  // Where something may live yet it stays, until we depart.
  if (const long kept = e == 0 ? undo_profile_of(i) : 0; kept < 0) {
    record.undo_error = static_cast<int32_t>(-kept);
    record.undo_hierarchy = undo_profile;
  }
  if (record.undo_error == 0 && c.away != 0) {
    record.undo_error = c.away;
    record.undo_hierarchy = undo_interface + c.which;
  }
  for (auto& p : pending)
    if (p.used && p.index == i) p.used = false;
  // Told last of all: the host gives its place to another one, whose helper may be faster than we
  // are.
  const int socket = c.exit_socket;
  c.exit_socket = -1;
  forget(i);
  send_record(socket, record, -1);
  close(socket);
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
  if (c.group) {
    // As long as it is a zombie its number is nobody else's.
    const long e =
        call(__NR_waitid, p_pidfd, c.pidfd, &info, wexited | wnohang | wnowait | wall, 0L);
    if (e == 0 && info.pid != 0 && (info.code != cld_exited || info.status != 0))
      call(__NR_kill, -c.pid, sig_kill);
    info = SigInfo{};
  }
  const long e =
      call(__NR_waitid, p_pidfd, c.pidfd, &info, wexited | wnohang | wall, record.rusage);
  if (e == -e_intr || e == -e_again) return;
  if (e == 0 && info.pid == 0) {
    // A process that is traced shows its end to the tracer first: epoll would only spin on it.
    if (!c.stuck) {
      call(__NR_epoll_ctl, fd_epoll, epoll_del, c.pidfd, 0L);
      c.stuck = true;
      ++stuck_count;
    }
    return;
  }
  if (c.stuck) {
    c.stuck = false;
    --stuck_count;
  }
  if (e < 0) {
    record.error = static_cast<int32_t>(-e);
    // Told as it is, but not left: a pid namespace that it was attached to could not end.
    call(__NR_waitid, p_pidfd, c.pidfd, 0L, wexited | wnohang | wall, 0L);
  }
  record.code = info.code;
  record.status = info.status;
  Timespec now{};
  call(__NR_clock_gettime, 1 /* CLOCK_MONOTONIC */, &now);
  record.ended = static_cast<uint64_t>(now.sec) * 1000000000U + static_cast<uint64_t>(now.nsec);
  const int pidfd = c.pidfd;
  c.pidfd = -1;
  // Who waits for this end may attach again at once.
  if (helper_due()) make_helper();
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

void retry_stuck() {
  for (uint32_t i = 0; i < max_live && stuck_count > 0; ++i)
    if (containers[i].stuck) reap(i);
}

void kill_container(uint32_t i) {
  Container& c = containers[i];
  if (c.pidfd < 0) return;
  call(__NR_pidfd_send_signal, c.pidfd, sig_kill, 0L, 0);
  thaw_cgroups(i);
}

bool join_owner(uint32_t i, uint32_t owner) {
  if (owner == 0) return true;
  if (owner > max_live || owner - 1 == i) return false;
  Container& c = containers[owner - 1];
  if (c.state == Container::unused || c.state == Container::draining || c.companion != 0)
    return false;
  c.companion = i + 1;
  containers[i].owner = owner;
  return true;
}

void kill_all() {
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

void on_detach(const Request& request, int* fds, unsigned count) {
  Container* c = request.live < max_live ? &containers[request.live] : nullptr;
  // One that is held would be left to nobody: its end is taken up by the host's `release` alone.
  if (c == nullptr || c->state == Container::unused || c->state == Container::held || count > 2) {
    for (unsigned i = 0; i < count; ++i) close(fds[i]);
    return;
  }
  const auto let_go = [](uint32_t i) {
    if (!containers[i].detached) ++detached_count;
    containers[i].detached = true;
    live(i).detached = 1;
  };
  let_go(request.live);
  if (c->companion != 0) let_go(c->companion - 1);
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

bool on_console(uint32_t i) {
  Container& c = containers[i];
  char text[4096];
  const long n = call(__NR_read, c.console, text, sizeof text);
  if (n == -e_again || n == -e_intr) return false;
  if (n <= 0) {
    call(__NR_epoll_ctl, fd_epoll, epoll_del, c.console, 0L);
    close(c.console);
    close(c.log);
    close(c.slave);
    c.console = c.log = c.slave = -1;
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

}  // namespace condroid::zygote
