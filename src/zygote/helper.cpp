// The helper that waits for the next attach: it joins the container's namespaces and clones, as
// clone.cpp has it done by one that is made for it.
#include "zygote/clone.hpp"

namespace condroid::zygote {

namespace {

/// A process in our memory, with a descriptor table of its own from the start, that waits for the
/// host's next attach: one process less to be cloned, and one less to be woken up, on the way.
struct Waiting {
  int socket;           ///< Of one helper after the other; -1 until the host offers it.
  int pid;              ///< 0: there is none.
  bool failed;          ///< None could be made: not tried again until one is needed.
  volatile bool asked;  ///< From here on it works, and ends.
  Request request;
  int64_t result;
};
Waiting waiting = {-1, 0, false, false, {}, 0};
alignas(16) char waiting_stack[32 * 1024];
constexpr int fd_waiting = fd_self + 1;

/// The descriptors that came with a message.
struct Passed {
  alignas(8) char control[sizeof(CmsgHdr) + 256 * sizeof(int)];
  const int* fds;
  unsigned count;
  unsigned flags;

  long receive(int socket, Request& request, unsigned how) {
    IoVec iov{&request, sizeof request};
    MsgHdr m{};
    *reinterpret_cast<CmsgHdr*>(control) = {};
    long n = 0;
    do {
      m = MsgHdr{nullptr, 0, &iov, 1, control, sizeof control, 0};
      n = call(__NR_recvmsg, socket, &m, msg_cmsg_cloexec | how);
    } while (n == -e_intr);
    const auto* c = reinterpret_cast<const CmsgHdr*>(control);
    const bool some = n >= 0 && m.control_size >= sizeof(CmsgHdr) && c->level == sol_socket &&
                      c->type == scm_rights && c->size >= sizeof(CmsgHdr);
    fds = reinterpret_cast<const int*>(c + 1);
    count = some ? static_cast<unsigned>((c->size - sizeof(CmsgHdr)) / sizeof(int)) : 0;
    flags = m.flags;
    return n;
  }
};

int wait_and_clone(void* /*unused*/) {
  const auto must = [](long e) {
    if (e >= 0) return;
    waiting.result = e;
    leave(1);
  };
  must(call(__NR_prctl, pr_set_pdeathsig, sig_kill, 0, 0, 0));
  if (call(__NR_getppid) != header().zygote) leave(0);  // it was dead before that
  call(__NR_prctl, pr_set_name, "condroid-helper", 0, 0, 0);
  // Numbers below are occupied, so that what comes ascends; see run_child().
  for (int fd = 3; fd < fd_self; ++fd) must(call(__NR_dup3, 0, fd, o_cloexec));
  must(call(__NR_dup3, waiting.socket, fd_waiting, o_cloexec));
  must(call(__NR_close_range, fd_waiting + 1, 0xffffffffL, 0));

  Request& request = waiting.request;
  Passed passed;
  const long n = passed.receive(fd_waiting, request, 0);
  if (n == 0) leave(0);
  must(n);  // the message is there for the next one
  waiting.asked = true;
  if (n != sizeof request || request.magic != magic || request.kind != RequestKind::clone ||
      (passed.flags & msg_ctrunc) != 0 || !may_have_helper(request.join_flags))
    must(-e_proto);
  must(call(__NR_close_range, 0, fd_self - 1, 0));
  close(fd_waiting);
  call(__NR_prctl, pr_set_name, "condroid-zygote", 0, 0, 0);
  ChildContext context;
  CloneJob job{};
  must(prepare(request, passed.fds, passed.count, context, job));
  job.own_descriptors = true;
  join_and_clone(job, waiting.result);
}

/// Waits until it has cloned: the host asked it before it told us. The child's pid, or an error.
long result_of_helper() {
  while (call(__NR_waitid, p_pid, waiting.pid, 0L, wexited | wall, 0L) == -e_intr) {
  }
  waiting.pid = 0;
  if (!waiting.asked) return waiting.result;
  const uint32_t place = waiting.request.live;
  if (place >= max_live) return -e_proto;
  // What is told of a place in use is another's.
  const bool unused = containers[place].state == Container::unused;
  return child_of_helper(waiting.result, unused ? live(place).pid : 0);
}

/// Takes back what no helper came to do.
void drop_message() {
  Request request;
  Passed passed;
  (void)passed.receive(waiting.socket, request, msg_dontwait);
  for (unsigned i = 0; i < passed.count; ++i) close(passed.fds[i]);
}

/// Asked while there is no helper.
bool message_waits() {
  char byte;
  return call(__NR_recvfrom, waiting.socket, &byte, 1, msg_peek | msg_dontwait, 0L, 0L) > 0;
}

/// Ends what a helper cloned that nobody waits for any more.
void end_stray(long pid) {
  int pidfd = -1;
  if (pid > 0) pid = open_child(pid, pidfd);
  const uint32_t place = waiting.request.live;
  const bool unused = place < max_live && containers[place].state == Container::unused;
  if (pid > 0 && unused)
    return take_up(waiting.request, pid, pidfd, -1);  // who cannot be told of is killed
  if (unused) {
    live(place).pid = 0;
    live(place).name[0] = 0;
  }
  if (pid <= 0) return;
  call(__NR_pidfd_send_signal, pidfd, sig_kill, 0L, 0);
  call(__NR_waitid, p_pidfd, pidfd, 0L, wexited | wall, 0L);
  close(pidfd);
}

}  // namespace

void on_clone_by_helper(const Request& request, const int* fds, unsigned count) {
  if (count != 1 || waiting.socket < 0 || request.live >= max_live ||
      containers[request.live].state != Container::unused) {
    drop_helper();  // it was asked already
    return refuse(request, fds, count, -e_proto);
  }
  long pid = -e_again;
  bool asked = false;
  // One that somebody killed has left the message for the next, or has it taken along.
  for (int tries = 0; tries < 3 && !asked; ++tries) {
    if (waiting.pid == 0) {
      if (!message_waits()) return refuse(request, fds, count, -e_again);
      make_helper();
    }
    if (waiting.pid == 0) {
      pid = waiting.result;
      break;
    }
    pid = result_of_helper();
    asked = waiting.asked;
  }
  if (!asked) drop_message();
  if (asked && waiting.request.live != request.live) {
    // The two sockets are out of step: begin anew.
    end_stray(pid);
    drop_helper();
    return refuse(request, fds, count, -e_again);
  }
  int pidfd = -1;
  if (pid > 0) pid = open_child(pid, pidfd);
  if (pid > 0) return take_up(request, pid, pidfd, fds[0]);
  refuse(request, fds, count, pid);
}

bool helper_due() { return waiting.socket >= 0 && waiting.pid == 0 && !waiting.failed; }

void make_helper() {
  CloneArgs args{};
  args.flags = clone_vm;
  args.stack = reinterpret_cast<uint64_t>(waiting_stack);
  args.stack_size = sizeof waiting_stack;
  waiting.asked = false;
  waiting.result = -e_again;
  const long pid = clone3_run(&args, sizeof args, wait_and_clone, nullptr);
  waiting.failed = pid < 0;
  if (pid < 0)
    waiting.result = pid;
  else
    waiting.pid = static_cast<int>(pid);
}

void on_helper(const int* fds, unsigned count) {
  drop_helper();  // the host has lost the other end of it
  if (count == 1)
    waiting.socket = fds[0];
  else
    for (unsigned i = 0; i < count; ++i) close(fds[i]);
}

void drop_helper() {
  if (waiting.pid > 0) {
    call(__NR_kill, waiting.pid, sig_kill);
    end_stray(result_of_helper());
  }
  if (waiting.socket >= 0) close(waiting.socket);
  waiting.socket = -1;
}

}  // namespace condroid::zygote
