// What holds for the zygote whatever it is sent, in whatever order its containers end, and whatever
// fails: it closes every descriptor that it is given, once, signals and reaps nobody but its own
// children, leaves none of them, touches no memory but its own, and ends after its host did. The
// zygote's own sources run here, on a machine that is made up from the bytes; the directory zygote/
// has the seam. Used by the fuzz target and, with its seeds, by a test.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "program/syscall.hpp"
// Not apart: what is static in them is looked at.
#include "zygote/bridges.cpp"     // NOLINT(bugprone-suspicious-include)
#include "zygote/cgroups.cpp"     // NOLINT(bugprone-suspicious-include)
#include "zygote/clone.cpp"       // NOLINT(bugprone-suspicious-include)
#include "zygote/containers.cpp"  // NOLINT(bugprone-suspicious-include)
#include "zygote/helper.cpp"      // NOLINT(bugprone-suspicious-include)
#include "zygote/interfaces.cpp"  // NOLINT(bugprone-suspicious-include)
#include "zygote/main.cpp"        // NOLINT(bugprone-suspicious-include)
#include "zygote/profiles.cpp"    // NOLINT(bugprone-suspicious-include)

namespace zygote_property {

namespace program = condroid::program;
namespace kernel = condroid::kernel;
namespace zygote = condroid::zygote;

/// The zygote's end: exit_group(2).
struct Left {
  int status;
};
/// Something that it must not do.
struct Broken {
  std::string what;
};

class Machine {
 public:
  explicit Machine(std::string_view bytes) : bytes_(bytes) {
    for (int fd = 0; fd <= program::fd_host; ++fd) open_.insert(fd);
  }

  long call(long nr, const long (&x)[6]);
  long clone(const kernel::CloneArgs& args, bool helper_that_waits);

  /// Nothing of anybody is left when the zygote has ended.
  void check_end() const {
    std::set<int> mine;
    for (int fd = 0; fd <= program::fd_bare_mounts; ++fd) mine.insert(fd);
    for (unsigned h = 0; h < program::max_hierarchies; ++h)
      if (zygote::adopted[h]) mine.insert(zygote::parents[h]);
    for (const int fd : open_)
      if (!mine.contains(fd)) throw Broken{"descriptor " + std::to_string(fd) + " is left open"};
    for (const auto& [pid, p] : processes_)
      if (!p.reaped) throw Broken{"process " + std::to_string(pid) + " is left"};
    if (zygote::live_count != 0 || zygote::draining_count != 0 || zygote::stuck_count != 0 ||
        zygote::detached_count != 0 || zygote::lent_count != 0)
      throw Broken{"a count that is not 0"};
    for (std::uint32_t i = 0; i < 64; ++i)
      if (zygote::live(i).pid != 0) throw Broken{"an entry of nobody's"};
  }

 private:
  struct Process {
    bool ended = false;
    bool reaped = false;
    bool waits = false;  ///< A helper.
    std::uint64_t tid = 0;
  };

  [[nodiscard]] bool over() const { return at_ >= bytes_.size(); }
  unsigned byte() { return over() ? 0U : static_cast<unsigned char>(bytes_[at_++]); }
  /// Whether something goes wrong now. Nothing does while it starts, nor in the end.
  bool fails() { return started_ && !over() && byte() % 8 == 7; }

  void need(long fd, const char* what) const {
    if (!open_.contains(static_cast<int>(fd)))
      throw Broken{std::string(what) + " of descriptor " + std::to_string(fd) +
                   ", which is not open"};
  }
  long opened() {
    constexpr int most = 1024;
    int fd = 0;
    for (const int used : open_) {
      if (used != fd) break;
      ++fd;
    }
    if (fd >= most) return -EMFILE;
    open_.insert(fd);
    return fd;
  }
  void closed(int fd) {
    open_.erase(fd);
    pidfds_.erase(fd);
    watched_.erase(fd);
  }
  Process& process(int pid) {
    const auto found = processes_.find(pid);
    if (found == processes_.end() || found->second.reaped)
      throw Broken{"process " + std::to_string(pid) + " is none of its children"};
    return found->second;
  }
  void end(Process& p) {
    p.ended = true;
    // The kernel's word that the memory is free again.
    if (p.tid != 0) *reinterpret_cast<volatile std::uint32_t*>(p.tid) = 0;
    p.tid = 0;
  }

  int born() {
    processes_[++last_pid_] = {};
    return last_pid_;
  }
  long event(zygote::EpollEvent* into);
  long receive(long socket, kernel::MsgHdr& m);
  void fill(program::Request& request);
  void helper_ends();
  long wait(long kind, long id, kernel::SigInfo* info, long options);

  std::string_view bytes_;
  std::size_t at_ = 0;
  std::size_t calls_ = 0;
  bool started_ = false;
  bool host_ended_ = false;
  bool away_ = false;  ///< In the network namespace of a container.
  std::set<int> open_;
  std::map<int, int> pidfds_;             ///< Descriptor to process.
  std::map<int, std::uint64_t> watched_;  ///< Descriptor to what epoll says of it.
  std::map<int, Process> processes_;
  int last_pid_ = 1000;
};

inline Machine* machine = nullptr;

/// The memory of the state file, with nothing around it.
inline char* state_memory() {
  static char* const memory = [] {
    constexpr std::size_t page = 1U << 16U;
    void* const all = ::mmap(nullptr, program::arena_size + 2 * page, PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char* const begin = static_cast<char*>(all) + page;
    if (all == MAP_FAILED || ::mprotect(begin, program::arena_size, PROT_READ | PROT_WRITE) < 0)
      throw std::bad_alloc();
    return begin;
  }();
  return memory;
}

/// One thing that happens. Are the bytes at their end, so is the host, and then all containers.
inline long Machine::event(zygote::EpollEvent* into) {
  started_ = true;
  const auto happens = [&](std::uint64_t tag) {
    *into = {zygote::epollin, tag};
    return 1L;
  };
  for (const auto& [fd, tag] : watched_)
    if (const auto of = pidfds_.find(fd); of != pidfds_.end() && process(of->second).ended)
      return happens(tag);
  if (over()) {
    if (!host_ended_) {
      host_ended_ = true;
      return happens(zygote::tag_host);
    }
    for (const auto& [fd, tag] : watched_)
      if (tag >= zygote::tag_console) return happens(tag);
    for (auto& [pid, p] : processes_) {
      if (p.ended || p.waits) continue;
      end(p);
      break;
    }
    return 0;
  }
  switch (const unsigned what = byte(); what % 8) {
    default:
      return happens(zygote::tag_control);
    case 4: {
      unsigned n = what / 8;
      for (auto& [pid, p] : processes_)
        if (!p.ended && n-- == 0) end(p);
      return 0;
    }
    case 5:
      for (const auto& [fd, tag] : watched_)
        if (tag >= zygote::tag_console) return happens(tag);
      return 0;
    case 6:
      return -EINTR;
    case 7:
      return 0;
  }
}

/// A request that could be one, most of the time.
inline void Machine::fill(program::Request& request) {
  const unsigned form = byte();
  request = {};
  if (form % 4 == 3) {
    auto* raw = reinterpret_cast<unsigned char*>(&request);
    for (std::size_t i = 0; i < sizeof request; ++i) raw[i] = static_cast<unsigned char>(byte());
    if (form % 8 != 7) request.magic = program::magic;
    return;
  }
  constexpr std::uint64_t joins[] = {0,
                                     0,
                                     0,
                                     kernel::clone_newpid,
                                     kernel::clone_newnet,
                                     kernel::clone_newpid | kernel::clone_newuser};
  request.magic = program::magic;
  request.kind = static_cast<program::RequestKind>(1 + byte() % 9);
  request.live = byte() % 8 == 7 ? program::max_live - 1 + byte() % 2 : byte() % 4;
  request.page = byte() % 8;
  request.flags = byte();
  request.join_flags = joins[byte() % std::size(joins)];
  const unsigned joins_by_fd = byte();
  request.joins = request.join_flags != 0 ? 1 : joins_by_fd < 200 ? 0 : joins_by_fd - 200;
  request.cgroups = byte() % 4;
  request.v2 = byte() % 4;
  request.memory = request.pids = request.cpu = byte() % 4;
  request.program_size = byte() << 8U;
  std::memset(request.name, 'a' + static_cast<int>(byte() % 26), byte() % sizeof request.name);
}

inline long Machine::receive(long socket, kernel::MsgHdr& m) {
  need(socket, "recvmsg");
  m.flags = 0;
  m.control_size = 0;
  if (over()) return -EAGAIN;
  const unsigned how = byte();
  if (how % 16 == 15) return -ENOMEM;
  if (how % 16 == 14) return -EINTR;
  if (how % 64 == 13) return 0;
  program::Request request;
  fill(request);
  std::size_t size = sizeof request;
  if (how % 16 == 12) size = byte() % sizeof request + 1;
  std::memcpy(m.iov->base, &request, size);
  unsigned count = how % 16 == 11 ? byte() : byte() % 6;
  if (count > 253) count = 253;
  auto* head = static_cast<kernel::CmsgHdr*>(m.control);
  unsigned passed = 0;
  for (; passed < count; ++passed) {
    const long fd = opened();
    if (fd < 0) break;
    const auto number = static_cast<int>(fd);
    std::memcpy(reinterpret_cast<char*>(head + 1) + passed * sizeof(int), &number, sizeof number);
  }
  if (passed < count || how % 16 == 10) m.flags = kernel::msg_ctrunc;
  if (passed > 0) {
    *head = {sizeof *head + passed * sizeof(int), kernel::sol_socket, kernel::scm_rights};
    m.control_size = (head->size + 7) / 8 * 8;
  }
  return static_cast<long>(size);
}

/// Clones of others, and those that come of a helper.
inline long Machine::clone(const kernel::CloneArgs& args, bool helper_that_waits) {
  if (fails()) return -EAGAIN;
  const int pid = born();
  if (helper_that_waits) {
    processes_[pid].waits = true;
    return pid;
  }
  if ((args.flags & kernel::clone_vfork) != 0) {
    // It has done what it is for, or was killed on the way.
    end(processes_[pid]);
    auto& result = zygote::header().join_result;
    const unsigned how = byte() % 4;
    if (how == 1) result = -EPERM;
    if (how != 0) return pid;
    if ((args.flags & kernel::clone_newns) != 0)
      result = opened();
    else
      result = born();
    return pid;
  }
  if ((args.flags & kernel::clone_child_cleartid) != 0) processes_[pid].tid = args.child_tid;
  if ((args.flags & kernel::clone_parent_settid) != 0)
    *reinterpret_cast<std::int32_t*>(args.parent_tid) = pid;
  if ((args.flags & kernel::clone_pidfd) != 0) {
    const long fd = opened();
    if (fd < 0) {
      processes_.erase(pid);
      return fd;
    }
    pidfds_[static_cast<int>(fd)] = pid;
    *reinterpret_cast<std::int32_t*>(args.pidfd) = static_cast<int>(fd);
  }
  if ((args.flags & kernel::clone_into_cgroup) != 0) need(static_cast<long>(args.cgroup), "clone3");
  return pid;
}

/// What the helper that waits has left in the memory that it shares.
inline void Machine::helper_ends() {
  auto& waiting = zygote::waiting;
  if (byte() % 4 == 3) return;  // killed before it was asked
  waiting.asked = true;
  if (byte() % 4 != 3) {
    fill(waiting.request);
    if (byte() % 4 != 3) waiting.request.live = zygote::containers[0].state == 0 ? 0 : 1;
  }
  const unsigned how = byte() % 4;
  if (how == 0) waiting.result = -EPERM;
  // It looks at the place before it clones.
  if (how == 1 && waiting.request.live < program::max_live) waiting.result = born();
  if (how == 2 && waiting.request.live < program::max_live &&
      zygote::containers[waiting.request.live].state == zygote::Container::unused)
    zygote::live(waiting.request.live).pid = born();  // and killed before it could tell
}

inline long Machine::wait(long kind, long id, kernel::SigInfo* info, long options) {
  int pid = static_cast<int>(id);
  if (kind == kernel::p_pidfd) {
    need(id, "waitid");
    const auto of = pidfds_.find(pid);
    if (of == pidfds_.end()) throw Broken{"waitid of what is no process"};
    pid = of->second;
  }
  Process& p = process(pid);
  if (p.waits && !p.ended) {
    end(p);
    helper_ends();
  }
  if ((options & kernel::wnohang) != 0 && (!p.ended || fails())) return 0;  // or it is traced
  end(p);
  p.reaped = true;
  if (info != nullptr) {
    info->pid = pid;
    info->code = 1;
    info->status = 3;
  }
  return 0;
}

inline long Machine::call(long nr, const long (&x)[6]) {
  if (++calls_ > 200000) throw Broken{"it does not end"};
  const auto pointer = [&](int i) { return reinterpret_cast<void*>(x[i]); };
  const auto fd = static_cast<int>(x[0]);
  switch (nr) {
    case __NR_exit_group:
      throw Left{static_cast<int>(x[0])};
    case __NR_close:
      need(x[0], "close");
      closed(fd);
      return 0;
    case __NR_dup3:
      need(x[0], "dup3");
      if (const auto of = pidfds_.find(fd); of != pidfds_.end())
        pidfds_[static_cast<int>(x[1])] = of->second;
      open_.insert(static_cast<int>(x[1]));
      return x[1];
    case __NR_fcntl:
      need(x[0], "fcntl");
      return fails() ? -EBADF : 0;
    case __NR_openat:
      if (x[0] != kernel::at_fdcwd) need(x[0], "openat");
      return fails() ? -ENOENT : opened();
    case __NR_fsconfig:
      need(x[0], "fsconfig");
      return fails() ? -EINVAL : 0;
    case __NR_fsmount:
      need(x[0], "fsmount");
      return fails() ? -EPERM : opened();
    case __NR_fsopen:
      return fails() ? -EPERM : opened();
    case __NR_eventfd2:
    case __NR_epoll_create1:
      return opened();
    case __NR_ioctl:
      need(x[0], "ioctl");
      if (x[1] == static_cast<long>(kernel::tunsetiff)) return fails() ? -EBUSY : 0;
      return fails() ? -EIO : opened();
    case __NR_pidfd_open: {
      if (x[0] != 1000) (void)process(fd);
      if (fails()) return -EMFILE;
      const long made = opened();
      if (made >= 0 && x[0] != 1000) pidfds_[static_cast<int>(made)] = fd;
      return made;
    }
    case __NR_statx: {
      auto& st = *static_cast<kernel::Statx*>(pointer(4));
      std::memset(static_cast<void*>(&st), 0, sizeof st);
      st.mode = 040700;
      st.nlink = 1;
      return 0;
    }
    case __NR_prlimit64:
      if (pointer(3) != nullptr) *static_cast<kernel::Rlimit64*>(pointer(3)) = {1024, 4096};
      return 0;
    case __NR_mmap:
      return reinterpret_cast<long>(state_memory());
    case __NR_clock_gettime:
      *static_cast<kernel::Timespec*>(pointer(1)) = {1, 1};
      return 0;
    case __NR_epoll_ctl: {
      const auto of = static_cast<int>(x[2]);
      need(x[2], "epoll_ctl");
      if (x[1] == zygote::epoll_del) return watched_.erase(of) > 0 ? 0 : -ENOENT;
      if (fails()) return -ENOSPC;
      watched_[of] = static_cast<const zygote::EpollEvent*>(pointer(3))->data;
      return 0;
    }
    case __NR_epoll_pwait:
      return event(static_cast<zygote::EpollEvent*>(pointer(1)));
    case __NR_recvmsg:
      return receive(x[0], *static_cast<kernel::MsgHdr*>(pointer(1)));
    case __NR_recvfrom:
      need(x[0], "recvfrom");
      if (x[2] >= static_cast<long>(sizeof(kernel::NetlinkError))) {
        const std::uint32_t to = fails() ? 1 : program::about_link_sequence;
        kernel::NetlinkError answer{{sizeof answer, kernel::nlmsg_error, 0, to, 0}, 0};
        if (fails()) answer.error = -EEXIST;
        std::memcpy(pointer(1), &answer, sizeof answer);
        return fails() ? -ENOBUFS : static_cast<long>(sizeof answer);
      }
      return byte() % 2;
    case __NR_sendto:
      need(x[0], "sendto");
      return fails() ? -ENOBUFS : x[2];
    case __NR_socket:
      if (!away_) throw Broken{"a socket of its own network namespace"};
      return fails() ? -EMFILE : opened();
    case __NR_setns:
      need(x[0], "setns");
      // Who was let out is let in again.
      if (!away_ && fails()) return -EPERM;
      away_ = !away_;
      return 0;
    case __NR_sendmsg: {
      if (x[0] == -1) return -EBADF;  // nobody is to be told
      need(x[0], "sendmsg");
      const auto& m = *static_cast<const kernel::MsgHdr*>(pointer(1));
      if (m.control_size > 0) {
        int passed = -1;
        std::memcpy(&passed, static_cast<const kernel::CmsgHdr*>(m.control) + 1, sizeof passed);
        need(passed, "passing");
      }
      return fails() ? -EPIPE : static_cast<long>(m.iov->size);
    }
    case __NR_clone3:
      if (away_) throw Broken{"a child in another's network namespace"};
      return clone(*static_cast<const kernel::CloneArgs*>(pointer(0)), false);
    case __NR_waitid:
      return wait(x[0], x[1], static_cast<kernel::SigInfo*>(pointer(2)), x[3]);
    case __NR_kill:
      end(process(fd));
      return 0;
    case __NR_pidfd_send_signal: {
      need(x[0], "pidfd_send_signal");
      const auto of = pidfds_.find(fd);
      if (of == pidfds_.end()) throw Broken{"a signal to what is no process"};
      Process& p = process(of->second);
      end(p);
      return 0;
    }
    case __NR_read: {
      need(x[0], "read");
      if (over()) return 0;
      const unsigned n = byte() % 8;
      std::memset(pointer(1), '1', n + 1);
      static_cast<char*>(pointer(1))[n] = '\n';
      return watched_.contains(fd) ? static_cast<long>(n) : 0;
    }
    case __NR_connect:
      need(x[0], "connect");
      return fails() ? -ENOMEM : 0;
    case __NR_pread64:
      need(x[0], "pread64");
      std::memset(pointer(1), 1, static_cast<std::size_t>(x[2]));
      return fails() ? -EIO : x[2];
    case __NR_write:
      need(x[0], "write");
      return fails() ? -EIO : x[2];
    case __NR_unlinkat:
      if (x[0] != kernel::at_fdcwd) need(x[0], "unlinkat");
      return fails() ? -EBUSY : 0;
    case __NR_fgetxattr:
      need(x[0], "fgetxattr");
      if (fails()) return -ENODATA;
      std::memset(pointer(2), 'a', static_cast<std::size_t>(x[3]));
      return x[3];
    case __NR_getdents64:
      need(x[0], "getdents64");
      return 0;
    case __NR_getpid:
      return 1000;
    case __NR_geteuid:
    case __NR_setsid:
    case __NR_chdir:
    case __NR_prctl:
    case __NR_rt_sigaction:
    case __NR_rt_sigprocmask:
    case __NR_madvise:
    case __NR_nanosleep:
    case __NR_ftruncate:
    case __NR_mkdirat:
    case __NR_close_range:
      return 0;
    default:
      throw Broken{"system call " + std::to_string(nr) + " is none of the zygote's"};
  }
}

/// Empty when it holds, otherwise what does not.
inline std::string broken(std::string_view bytes) {
  Machine here(bytes);
  machine = &here;
  ::madvise(state_memory(), program::arena_size, MADV_DONTNEED);
  for (auto& h : zygote::adopted) h = false;
  for (auto& b : zygote::bridges) b.used = false;
  for (auto& room : zygote::rooms.list) room.tid = 0;
  zygote::waiting = {-1, 0, false, false, {}, 0};
  zygote::host_gone = zygote::told_staying = false;
  zygote::control_errors = 0;
  for (auto& l : zygote::lent) l.used = false;
  zygote::lent_count = 0;
  char name[] = "condroid-zygote", file[] = "condroid-0123456789ab", dir[] = "/run/condroid",
       yes[] = "1";
  long stack[] = {4,
                  reinterpret_cast<long>(name),
                  reinterpret_cast<long>(file),
                  reinterpret_cast<long>(dir),
                  reinterpret_cast<long>(yes),
                  0};
  try {
    program_main(stack);
  } catch (const Left& left) {
    try {
      if (left.status != 0) return "it ended with status " + std::to_string(left.status);
      here.check_end();
    } catch (const Broken& b) {
      return b.what;
    }
    return {};
  } catch (const Broken& b) {
    return b.what;
  }
}

}  // namespace zygote_property

namespace condroid::kernel {

inline long machine_call(long nr, const long (&x)[6]) {
  return zygote_property::machine->call(nr, x);
}
long syscall6(long nr, long a, long b, long c, long d, long e, long f) {
  return machine_call(nr, {a, b, c, d, e, f});
}
long clone3_run(const void* args, unsigned long /*size*/, int (*body)(void*), void* argument) {
  const auto& asked = *static_cast<const CloneArgs*>(args);
  (void)body;
  return zygote_property::machine->clone(asked, argument == nullptr);
}

}  // namespace condroid::kernel
