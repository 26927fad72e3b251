// What one launch of the benchmark is to do, and the messages between the harness and its workers.
// Plain data without pointers: it travels through a socket, and floor, condroid and peers are all
// told by the same struct.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bench {

/// Strings one after the other in a fixed block, so that a message stays plain data.
template <std::size_t Size>
class StringList {
 public:
  [[nodiscard]] bool add(std::string_view text) noexcept {
    if (used_ + text.size() + 1 > Size) return false;
    std::memcpy(block_ + used_, text.data(), text.size());
    block_[used_ + text.size()] = '\0';
    used_ += text.size() + 1;
    return true;
  }
  /// The string after `previous`; the first for nullptr; nullptr at the end.
  [[nodiscard]] const char* next(const char* previous) const noexcept {
    const char* at = previous == nullptr ? block_ : previous + std::strlen(previous) + 1;
    return at < block_ + used_ ? at : nullptr;
  }
  [[nodiscard]] bool empty() const noexcept { return used_ == 0; }

 private:
  std::size_t used_ = 0;
  char block_[Size] = {};
};

enum class CgroupUse : std::uint8_t {
  none,
  plain,       ///< One, without limits: v2 where there is one, entered by CLONE_INTO_CGROUP.
  limits,      ///< Those that limits of memory, processes and processor time need, with the values
               ///< written.
  everywhere,  ///< One wherever something is counted; the floor has no such.
};

/// A launch makes its own cgroup below `parent`, writes the values and removes it in the end. v1 is
/// entered by the child, which writes 0 into `tasks`.
struct CgroupDirectory {
  bool v2 = false;
  char parent[160] = {};
  StringList<256> values = {};  ///< File and text in turns: "memory.max", "1048576".
};

enum class SysfsUse : std::uint8_t { none, fresh, bound };

/// One container. The floor does exactly this and nothing else; the condroid adapter makes a Spec
/// of it.
struct Work {
  char root[256] = {};    ///< Host path of the root file system: dev, proc, sys, true and pause.
  char command[64] = {};  ///< "/true" or "/pause"
  bool clock = false;     ///< The command is /clock: its standard output is a pipe.
  char hostname[64] = {};
  bool read_only_root = false;
  bool net = false;  ///< A network namespace of its own, loopback up.
  /// With `net`: a veth at this bridge, see bare_netlink.hpp. Empty: none.
  char bridge[16] = {};
  bool user = false;  ///< A user namespace: ids 0 to 65535 are the host's id_base and up.
  std::uint32_t id_base = 100000;
  bool cgroup_ns = false;
  CgroupUse cgroup = CgroupUse::none;
  SysfsUse sysfs = SysfsUse::fresh;
  bool shm = true;  ///< A tmpfs on /dev/shm.
  bool mqueue = true;
  bool bind_nodes = false;  ///< /dev nodes by bind instead of mknod; a user namespace needs it.

  // The restrictions before exec. All off is the bare container.
  bool new_session = false;
  bool no_new_privs = false;
  bool own_keyring = false;
  bool drop_groups = false;
  bool close_descriptors = false;
  bool limit_capabilities = false;
  std::uint64_t capabilities = 0;  ///< What is kept, if limited.
  /// Of system calls, loaded last: classic BPF, one instruction in each. Taken from condroid's
  /// plan.
  static constexpr std::size_t max_filter = 128;
  std::uint64_t filter[max_filter] = {};
  std::uint16_t filter_size = 0;
  StringList<1024> masked =
      {};  ///< Paths relative to the root: "proc/kcore". A missing one is passed over.
  StringList<1024> read_only = {};

  // For CgroupUse. Taken from what condroid's plan makes, so that both make the same; the harness
  // made the parents.
  static constexpr int max_cgroups = 8;
  CgroupDirectory cgroups[max_cgroups] = {};
  int cgroup_count = 0;
};

struct Request {
  enum Kind : std::uint32_t {
    open,   ///< Host worker: start the launcher (a warm Runtime). Reply value[0]: pid of its helper
            ///< process, or 0.
    grow,   ///< Host worker: make `amount` bytes resident.
    run,    ///< `count` launches one after the other, each timed.
    rate,   ///< Launches from `threads` threads for `millis`. Reply value[0]: how many, value[1]:
            ///< nanoseconds.
    spawn,  ///< Host worker: `count` containers that stay alive. Reply value[0]: nanoseconds for
            ///< all.
    stop_all,  ///< Host worker: kills them and waits. Reply value[0]: nanoseconds for all.
    settle,    ///< Host worker: gives freed memory back, so that growth can be measured.
    // Timed to the first instruction of /clock, `count` times; the end of each is waited for
    // outside of the timing.
    first,       ///< Host worker: launched.
    first_take,  ///< Host worker: taken from the pool, which is full each time.
    /// In the container that spawn() left: host worker by its handle, floor by pid `amount`.
    first_attach,
    fill,  ///< Host worker: a pool of `amount` for the Work, full. 0: none any more.
    /// Host worker: a take each 1/`count` s for `millis`, refilled in between. Reply values: how
    /// many, p50 and p99 of the time to the first instruction, nanoseconds in all.
    sustain,
    cage,   ///< Command and LXC worker: own mount and cgroup namespace in which only the v2 cgroup
            ///< `argv` is visible.
    enter,  ///< LXC worker: an empty /run, and into the cgroups `argv`, one of each hierarchy.
    /// LXC worker: `count` starts of `argv`: LXCPATH, name and configuration, each timed from the
    /// call to where it has stopped.
    lxc_start,
    command,  ///< Command worker: run `argv` `count` times, each timed. Of `work` only the filter.
    /// Command worker: `argv` one after the other for `millis`. Reply as of rate.
    command_rate,
    /// Box worker: an image of the root of `work`, whose pool has `amount`; 0: none. `argv`: a
    /// directory for its cache. It does rate, too.
    image,
    box,  ///< Box worker: `count` boxes, each made, `work.command` run in it, and gone; each timed.
    /// Device worker: devices of `argv`: a directory, and what their parts are ("erofs", or
    /// "directory"). It does open, spawn, stop_all and settle, too.
    device,
    /// Device worker: writes the mounts of a device to `argv`, as bare_mounts.hpp has them.
    device_mounts,
    /// Device worker: `count` devices, each timed to the first word of its init. Floor: the mounts
    /// of the list `argv` and nothing else; `amount`: it lives on, and value[0] is its pid.
    device_start,
    freeze,  ///< Device worker: `count` times the first device that is alive, each timed.
    thaw,
  };
  Kind kind = run;
  std::uint32_t count = 0;
  std::uint32_t threads = 1;
  std::uint32_t millis = 0;
  bool share_memory = false;  ///< Floor: FloorClone::memory_shared.
  std::uint64_t amount = 0;
  Work work = {};
  StringList<4096> argv = {};
};

struct Reply {
  static constexpr std::size_t max_samples = 1024;
  bool ok = false;
  char error[256] = {};
  std::uint64_t value[4] = {};
  std::uint32_t count = 0;
  std::uint64_t ns[max_samples] = {};
};

/// The descriptor on which a worker finds its socket.
inline constexpr int worker_socket = 3;
/// On which a command finds the filter of Request::work, when it has one.
inline constexpr int filter_descriptor = 9;

template <std::size_t Size>
void copy_text(char (&to)[Size], std::string_view from) noexcept {
  const std::size_t length = from.size() < Size ? from.size() : Size - 1;
  std::memcpy(to, from.data(), length);
  to[length] = '\0';
}

}  // namespace bench
