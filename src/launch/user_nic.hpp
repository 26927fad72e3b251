// lxc-user-nic(1), which makes a veth for a user who may not. Private.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace condroid::inline v0::detail {

/// What it complains of, without the places in its source, and without "Quota reached" where that
/// is not all: it says so after every failure.
[[nodiscard]] std::string user_nic_complaint(std::string_view said);

/// The host's end, of its "eth0:731:veth1000_x2Lp:730".
[[nodiscard]] std::optional<std::string> user_nic_host_end(std::string_view said);

}  // namespace condroid::inline v0::detail
