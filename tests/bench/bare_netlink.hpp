// The messages of rtnetlink(7) that the floor sends, written down by hand. Each returns an errno,
// or 0.
#pragma once

#include <cstdint>

namespace bench {

/// What a container of the benchmark has where Work::bridge is set: "eth0" with 10.78.0.2/24.
inline constexpr const char* bare_interface = "eth0";
inline constexpr unsigned char bare_address[4] = {10, 78, 0, 2};
inline constexpr unsigned char bare_prefix = 24;

/// -1 with errno.
[[nodiscard]] int bare_socket();
[[nodiscard]] int bare_make_bridge(int socket, const char* name);
/// A veth: this end, a port of the bridge and up, and "eth0" in the namespace of that process.
[[nodiscard]] int bare_make_veth(int socket, const char* host_name, int pid, unsigned bridge);
/// "eth0" up, with its address: one message with two requests.
[[nodiscard]] int bare_configure(int socket);
[[nodiscard]] int bare_set_down(int socket, unsigned index);
/// 0 when there is none of that name.
[[nodiscard]] unsigned bare_index(int socket, const char* name);

}  // namespace bench
