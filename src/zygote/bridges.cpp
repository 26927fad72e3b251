// Bridges that the host made for containers: each goes with the last who takes part in it.
// launch/nat_bridges.hpp says what is locked.
#include "program/send_home.hpp"
#include "zygote/zygote.hpp"

namespace condroid::zygote {

namespace {

struct Bridge {
  bool used;
  int locks;
  int route;
  int table;  // nobody writes to it: the kernel removes what it made with the last copy of it
  uint32_t index;
  char file[sizeof Request::name];
};
Bridge bridges[max_bridges];

/// struct flock of the kernel.
struct Lock {
  int16_t type;
  int16_t whence;
  int64_t start;
  int64_t size;
  int32_t pid;
};
constexpr int ofd_setlk = 37;  // F_OFD_SETLK
constexpr int16_t write_lock = 1, no_lock = 2;

long lock(int file, int16_t type, int64_t start, int64_t size) {
  const Lock l{type, 0, start, size, 0};
  long e = -e_intr;
  while (e == -e_intr) e = call(__NR_fcntl, file, ofd_setlk, &l);
  return e;
}

/// Whether it is gone.
bool remove_link(int socket, uint32_t index) {
  RealSystem system;
  long e = -e_again;
  for (int tries = 0; tries < 4 && e != 0 && e != -e_nodev; ++tries)
    e = AboutLink<RealSystem>(system, socket, index).remove();
  return e == 0 || e == -e_nodev;
}

void let_go(Bridge& b) {
  close(b.locks);
  close(b.route);
  close(b.table);
  b.used = false;
}

}  // namespace

void on_bridge(const Request& request, const int* fds, unsigned count) {
  if (request.live >= max_bridges || count < 1 || count > 3) {
    for (unsigned i = 0; i < count; ++i) close(fds[i]);
    return;
  }
  Bridge& b = bridges[request.live];
  if (b.used) let_go(b);
  b.used = true;
  // Alone it is the socket: the file may be there by the time that we go, or not.
  b.locks = count > 1 ? fds[0] : -1;
  b.route = fds[count > 1 ? 1 : 0];
  b.table = count == 3 ? fds[2] : -1;
  b.index = static_cast<uint32_t>(request.cgroups);
  memcpy(b.file, request.name, sizeof b.file);
  b.file[sizeof b.file - 1] = 0;
}

void leave_bridges() {
  for (Bridge& b : bridges) {
    if (!b.used) continue;
    if (b.locks < 0)
      b.locks =
          static_cast<int>(call(__NR_openat, fd_state, b.file, o_rdwr | o_nofollow | o_cloexec));
    // All of it: a fork of the host may have the same open file for longer than we live.
    if (b.locks >= 0) lock(b.locks, no_lock, 0, 0);
    if (b.locks >= 0 && lock(b.locks, write_lock, 0, 1) >= 0) {
      Statx st;
      // Of a file that is gone already the name may be another one's, and the bridge as well.
      const long e = call(__NR_statx, b.locks, "", at_empty_path, statx_basic, &st);
      if (e >= 0 && st.nlink > 0) {
        // Somebody may have removed the one that we know, and another made it again.
        uint32_t index = 0;
        const long got = call(__NR_pread64, b.locks, &index, sizeof index, 0L);
        if (got != sizeof index || index == 0) index = b.index;
        // By its file the next one finds what is left.
        if (index == 0 || remove_link(b.route, index)) call(__NR_unlinkat, fd_state, b.file, 0);
      }
      lock(b.locks, no_lock, 0, 0);
    }
    let_go(b);
  }
}

}  // namespace condroid::zygote
