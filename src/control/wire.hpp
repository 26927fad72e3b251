// What goes over LXC's command socket, byte for byte; integers as the machine has them. Private.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace condroid::inline v0::control::wire {

enum class Command : std::uint32_t {
  get_tty_fd,
  terminal_winch,
  stop,
  get_state,
  get_init_pid,
  get_clone_flags,
  get_cgroup,
  get_config_item,
  get_name,
  get_lxcpath,
  add_state_client,
  console_log,
  serve_state_clients,
  seccomp_notify_add_listener,
  add_bpf_device_cgroup,
  freeze,
  unfreeze,
  get_cgroup2_fd,
  get_init_pidfd,
  get_limit_cgroup,
  get_limit_cgroup2_fd,
  get_devpts_fd,
  get_seccomp_notify_fd,
  get_cgroup_ctx,
  get_cgroup_fd,
  get_limit_cgroup_fd,
  get_systemd_scope,
  count_,
};

/// The most that may follow a request; an answer's limit, too, but for the console's.
inline constexpr std::int32_t most_data = 8192;

struct Request {
  std::uint32_t command = 0;
  std::int32_t size = 0;  ///< Of what follows.
  std::int64_t data = 0;  ///< Means something where nothing follows.
};
static_assert(sizeof(Request) == 16);

struct Answer {
  std::int32_t result = 0;  ///< Negative: an errno.
  std::int32_t size = 0;
  std::int64_t data = 0;
};
static_assert(sizeof(Answer) == 16);

/// Number of a state, "not told": of add_state_client.
inline constexpr int no_state = 8;
/// What it may say of a state: now or when it comes; not now, only when it comes.
inline constexpr std::int32_t also_now = 1;

struct StateMessage {
  enum Type : std::int32_t { state, priority, exit_status };
  std::int32_t type = state;
  std::array<char, 256> name{};
  std::int32_t value = 0;
};
static_assert(sizeof(StateMessage) == 264);

struct ConsoleLog {
  std::uint8_t clear = 0;
  std::uint8_t read = 0;
  std::array<std::uint8_t, 6> unused1{};
  std::uint64_t most = 0;  ///< 0: all.
  std::uint8_t write_file = 0;
  std::array<std::uint8_t, 7> unused2{};
};
static_assert(sizeof(ConsoleLog) == 24);

struct CgroupFd {
  std::int32_t layout = -1;
  std::uint32_t utilities = 0;
  std::int32_t type = 0;  ///< The magic of the file system.
  std::int32_t fd = -9;   ///< The sender's number.
  std::array<char, 64> controller{};
};
static_assert(sizeof(CgroupFd) == 80);
inline constexpr std::int32_t cgroup1_magic = 0x27e0eb;
inline constexpr std::int32_t cgroup2_magic = 0x63677270;
inline constexpr std::uint32_t has_devices = 1;
inline constexpr std::uint32_t has_freezer = 2;

inline constexpr std::size_t most_hierarchies = 20;
struct CgroupContext {
  std::int32_t layout = -1;
  std::uint32_t utilities = 0;
  std::uint32_t count = 0;
  std::array<std::int32_t, most_hierarchies> fds{};
  std::int32_t unused = 0;
};
static_assert(sizeof(CgroupContext) == 96);

struct DeviceRule {
  char type = 0;
  std::array<char, 3> unused1{};
  std::int32_t major = 0;  ///< -1: any.
  std::int32_t minor = 0;
  std::array<char, 4> access{};
  std::int32_t allow = 0;
  std::int32_t unused2 = 0;
  std::array<std::uint64_t, 2> unused3{};
};
static_assert(sizeof(DeviceRule) == 40);

/// One of these out of bytes that are as many.
template <class T>
[[nodiscard]] T read_as(const void* bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

}  // namespace condroid::inline v0::control::wire
