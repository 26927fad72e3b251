// What the parts of the zygote share: its calls, its table of containers, and what each part does
// for the others. Freestanding, one thread.
#pragma once

#include "program/format.hpp"
#include "program/interpreter.hpp"
#include "program/kernel.hpp"
#include "program/syscall.hpp"

extern "C" {
// NOLINTBEGIN(readability-redundant-declaration): where start.hpp is included, too.
void* memcpy(void* to, const void* from, size_t n);
void* memset(void* to, int c, size_t n);
// NOLINTEND(readability-redundant-declaration)
}

namespace condroid::zygote {

using namespace condroid::kernel;
using namespace condroid::program;

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

[[noreturn]] inline void leave(int status) {
  call(__NR_exit_group, status);
  __builtin_trap();  // a filter of the container's denies it
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

struct Path {
  char text[512];
  size_t size = 0;
  Path& add(const char* s) {
    while (*s != 0 && size + 1 < sizeof text) text[size++] = *s++;
    text[size] = 0;
    return *this;
  }
};

/// As getdents64(2) has it.
struct DirEntry {
  uint64_t ino;
  int64_t off;
  uint16_t size;
  uint8_t type;
  char name[1];
};
constexpr int open_directory = o_rdonly | o_directory | o_nofollow | o_cloexec;

/// What the zygote itself knows of a container; the shared LiveEntry is for others.
struct Container {
  enum State : uint8_t { unused, running, held, draining };
  State state;
  bool detached;
  bool stuck;      // ended, but shown to its tracer alone: looked at from time to time
  bool unwatched;  // ended while held: epoll would only spin on it
  uint8_t retries;
  int pid;
  int pidfd;
  int exit_socket;
  int console;  // of a detached container: its master, drained into log
  int log;
  int slave;     // of that terminal
  bool group;    // its process group is killed unless it ends well
  bool profile;  // one of AppArmor's was loaded for it
  int32_t away;  // errno and number of an interface that is not at home
  uint32_t which;
  uint32_t owner;      // 1 + the container that it lives with; 0: it is none's
  uint32_t companion;  // 1 + what lives with it
  uint64_t cgroups;
  uint64_t ways;  // to those that are gone, to be removed as far as they are empty
  uint64_t v2;
  uint64_t memory;
  uint64_t pids;
  uint64_t cpu;
};

extern Container containers[max_live];  // zero pages until used
extern unsigned live_count, draining_count, stuck_count, detached_count;
extern bool host_gone;
extern char* arena;
extern int parents[max_hierarchies];  // directories below which the runtime's cgroups are
extern bool parent_v2[max_hierarchies];
extern bool adopted[max_hierarchies];
extern Rlimit64 caller_nofile;

inline LiveEntry& live(uint32_t i) { return reinterpret_cast<LiveEntry*>(arena + arena_live)[i]; }
inline ResultPage& page(uint32_t i) {
  return *reinterpret_cast<ResultPage*>(arena + arena_pages + size_t{i} * 4096);
}
// NOLINTNEXTLINE(clang-analyzer-core.uninitialized.UndefReturn): it is mapped before it is used.
inline ArenaHeader& header() { return *reinterpret_cast<ArenaHeader*>(arena); }

inline void close(int fd) {
  if (fd >= 0) call(__NR_close, fd);
}

// ---- cgroups.cpp: what containers leave
// -----------------------------------------------------------

/// Removes a cgroup and all below it. 0, or the first error: EBUSY while something still runs
/// there.
long remove_tree(int parent, const char* name, bool v2, bool kill, int depth);
/// The cgroup of an entry, below a parent.
Path place_of(const LiveEntry& entry);
/// Removes cgroups at places of their own that a launch cut short has left, and the ways there. 0,
/// or an error: EBUSY, if one of them is that.
long remove_places(unsigned hierarchy);
/// What the cgroups that a container still has say of it.
void take_figures(uint32_t i, Figures& figures);
/// Lets what is frozen in a container's cgroups of v1 go on: there nothing dies otherwise.
void thaw_cgroups(uint32_t i);
/// Removes what is left of a container's cgroups. 0 when nothing is left; else `where` is the
/// hierarchy of the first error.
long undo_cgroups(uint32_t i, uint32_t* where);

// ---- profiles.cpp
// -----------------------------------------------------------------------------------

/// Removes a container's own profile. What still ran under it would be free of it. 0, or an error.
long undo_profile_of(uint32_t i);
/// All that are left of this runtime's.
void remove_profiles();

// ---- interfaces.cpp
// ---------------------------------------------------------------------------------

/// Opens what is asked for in a container's network namespace: RequestKind::lend and tap.
void on_reach(const Request& request, int* fds, unsigned count);
/// What was lent to a container. 0, or the first error, and of which one.
long bring_home(uint32_t i, uint32_t* number);
// ---- bridges.cpp
// -----------------------------------------------------------------------------------

/// One that the host takes part in.
void on_bridge(const Request& request, const int* fds, unsigned count);
/// Takes no part any more; where nobody else does, the bridge is removed.
void leave_bridges();

// ---- containers.cpp: life and death
// -----------------------------------------------------------------

/// 0, or why it could not be sent.
long send_record(int socket, const Record& record, int fd);
/// Undoes, tells the host, forgets; later, when something of it still runs.
void finish(uint32_t i, Record& record);
void reap(uint32_t i);
void retry_draining();
void retry_stuck();
void kill_container(uint32_t i);
/// Has the container at `i` end with the one at `owner` - 1. False when that is not there any more.
bool join_owner(uint32_t i, uint32_t owner);
void kill_all();
/// The terminal of a detached container must be read, or its writers stop; what it says goes to the
/// log. Whether there was something.
bool on_console(uint32_t i);
void on_detach(const Request& request, int* fds, unsigned count);
void on_release(const Request& request);

// ---- clone.cpp
// --------------------------------------------------------------------------------------

/// Keeps what children run in out of the memory of those that get a copy of ours. An error, or 0.
long wipe_rooms_on_fork();
void on_clone(const Request& request, const int* fds, unsigned count);

// ---- helper.cpp
// -------------------------------------------------------------------------------------

/// The socket on which helpers are to wait for an attach.
void on_helper(const int* fds, unsigned count);
/// Whether one is missing: to be made when nothing else is to be done.
bool helper_due();
void make_helper();
/// The host is gone: what its helper has cloned is taken over, to be killed like all others.
void drop_helper();

}  // namespace condroid::zygote
