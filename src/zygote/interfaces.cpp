// What the zygote does in the network namespace of a container: opens a socket there, by which
// interfaces that were lent come home, a tap, or a file of it.
#include "program/send_home.hpp"
#include "zygote/zygote.hpp"

namespace condroid::zygote {

namespace {

struct Lent {
  bool used;
  uint32_t live;
  int away;  // a netlink socket: as long as it is open, so is its namespace
  int home;
  LentInterface what;
};
Lent lent[max_lent];  // zero pages until used
unsigned lent_count = 0;

/// Nobody else can send to one that is connected with the kernel: who is in the container's network
/// could fill it, and an answer would have no room.
long open_netlink() {
  const long fd = call(__NR_socket, af_netlink, sock_raw | sock_cloexec, netlink_route);
  if (fd < 0) return fd;
  const NetlinkAddress kernel{af_netlink, 0, 0, 0};
  const long e = call(__NR_connect, fd, &kernel, sizeof kernel);
  if (e >= 0) return fd;
  close(static_cast<int>(fd));
  return e;
}

/// What `open` returns in the network namespace `ns`.
template <class F>
long opened_in(int ns, F open) {
  const long here = call(__NR_openat, at_fdcwd, "/proc/self/ns/net", o_rdonly | o_cloexec);
  if (here < 0) return here;
  long fd = call(__NR_setns, ns, clone_newnet);
  if (fd >= 0) {
    fd = open();
    // Here the next container would be born.
    long back = -e_again;
    for (int tries = 0; tries < 4 && back < 0; ++tries) back = call(__NR_setns, here, clone_newnet);
    if (back < 0) leave(1);
  }
  close(static_cast<int>(here));
  return fd;
}

long open_tap(const WantedTap& wanted) {
  const long fd = call(__NR_openat, at_fdcwd, "/dev/net/tun", o_rdwr | o_nonblock | o_cloexec);
  if (fd < 0) return fd;
  struct {
    char name[16];
    uint16_t flags;
    char pad[22];
  } request = {};
  memcpy(request.name, wanted.name, sizeof request.name - 1);
  request.flags = static_cast<uint16_t>(wanted.flags);
  const long e = call(__NR_ioctl, fd, tunsetiff, &request);
  if (e >= 0) return fd;
  close(static_cast<int>(fd));
  return e;
}

/// A procfs of its own. In one that is shared the entries of all network namespaces, of one name
/// each, are behind one another: the five hundredth is looked for among five hundred.
long own_proc() {
  const long fs = call(__NR_fsopen, "proc", fsopen_cloexec);
  if (fs < 0) return fs;
  long mount = call(__NR_fsconfig, fs, fsconfig_cmd_create, 0L, 0L, 0);
  if (mount >= 0) mount = call(__NR_fsmount, fs, fsmount_cloexec, 0);
  close(static_cast<int>(fs));
  return mount;
}

long open_patience_file() {
  const long proc = own_proc();
  if (proc < 0) return call(__NR_openat, at_fdcwd, patience_file, o_wronly | o_cloexec);
  constexpr unsigned below = sizeof "/proc/" - 1;
  const long fd = call(__NR_openat, proc, patience_file + below, o_wronly | o_cloexec);
  close(static_cast<int>(proc));
  return fd;
}

/// Not as one of the container's life: the answer may be looked at after that, or never.
void give_patience(const int* fds) {
  Record record{};
  record.magic = magic;
  record.kind = RecordKind::reached;
  const long fd = opened_in(fds[0], open_patience_file);
  record.error = static_cast<int32_t>(fd < 0 ? -fd : 0);
  send_record(fds[1], record, static_cast<int>(fd));
  close(static_cast<int>(fd));
}

}  // namespace

void on_reach(const Request& request, int* fds, unsigned count) {
  if (request.kind == RequestKind::patience) {
    if (count == 2) give_patience(fds);
    for (unsigned i = 0; i < count; ++i) close(fds[i]);
    return;
  }
  const bool lends = request.kind == RequestKind::lend;
  Record record{};
  record.magic = magic;
  record.kind = RecordKind::reached;
  long fd = -e_proto;
  Lent* place = nullptr;
  if (request.live < max_live && count == (lends ? 2U : 1U)) {
    const auto state = containers[request.live].state;
    // Of one that ended the host knows: nothing of it is undone once more.
    if (state != Container::running && state != Container::held) {
      fd = -e_srch;
    } else if (lends) {
      for (unsigned i = 0; i < max_lent && place == nullptr; ++i)
        if (!lent[i].used) place = &lent[i];
      fd = place == nullptr ? -e_mfile : opened_in(fds[0], open_netlink);
    } else {
      WantedTap wanted;
      memcpy(&wanted, request.name, sizeof wanted);
      fd = opened_in(fds[0], [&] { return open_tap(wanted); });
    }
    record.error = static_cast<int32_t>(fd < 0 ? -fd : 0);
    if (state != Container::unused)
      send_record(containers[request.live].exit_socket, record, static_cast<int>(fd));
  }
  if (fd >= 0 && lends) {
    place->used = true;
    place->live = request.live;
    place->away = static_cast<int>(fd);
    place->home = fds[1];
    memcpy(&place->what, request.name, sizeof place->what);
    fds[1] = -1;
    ++lent_count;
  } else {
    close(static_cast<int>(fd));
  }
  for (unsigned i = 0; i < count; ++i) close(fds[i]);
}

long bring_home(uint32_t i, uint32_t* number) {
  long first = 0;
  for (unsigned k = 0; k < max_lent && lent_count > 0; ++k) {
    Lent& l = lent[k];
    if (!l.used || l.live != i) continue;
    RealSystem system;
    const long e = send_home(system, l.away, l.home, l.what);
    if (e < 0 && first == 0) {
      first = e;
      *number = l.what.number;
    }
    close(l.away);
    close(l.home);
    l.used = false;
    --lent_count;
  }
  return first;
}

}  // namespace condroid::zygote
