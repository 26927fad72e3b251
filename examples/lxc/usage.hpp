// What a running container uses, by the cgroups that its socket names; and its addresses.
#pragma once

#include <condroid/control/client.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// A file of the container's cgroup with that controller: of version 1 or, where there is that, 2.
[[nodiscard]] std::optional<std::string> cgroup_file(const condroid::control::Client& client,
                                                     std::string_view controller,
                                                     const std::string& v1, const std::string& v2);

/// Unset: nobody counts it.
struct Usage {
  std::optional<std::uint64_t> cpu_ns = {}, io_bytes = {}, memory = {}, swap = {}, kernel = {};
};
[[nodiscard]] Usage usage_of(const condroid::control::Client& client);

/// What lxc-top shows; 0: nobody counts it.
struct Load {
  std::uint64_t cpu_ns = 0, cpu_system_ns = 0, cpu_user_ns = 0;
  std::uint64_t io_read = 0, io_written = 0, io_operations = 0;
  std::uint64_t memory = 0, memory_and_swap = 0, kernel = 0;

  [[nodiscard]] std::uint64_t io_total() const { return io_read + io_written; }
  void add(const Load& other);
};
[[nodiscard]] Load load_of(const condroid::control::Client& client);

struct Address {
  std::string interface = {};
  std::string address = {};  ///< Empty: the interface has none.
  bool v6 = false;
};
/// Of the network namespace of that process, without loopback's and link-local ones: what LXC
/// shows. Interfaces without any are there, too, if `all`.
[[nodiscard]] std::vector<Address> addresses_of(int pid, bool all = false);

/// "648.00 KiB"
[[nodiscard]] std::string human(std::uint64_t bytes);
