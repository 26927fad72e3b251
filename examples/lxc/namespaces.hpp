// Namespaces as command lines name them.
#pragma once

#include <condroid/flags.hpp>
#include <condroid/namespaces.hpp>
#include <optional>
#include <string>
#include <string_view>

/// For a help: LXC's words.
inline constexpr std::string_view namespace_words =
    "MOUNT, PID, UTSNAME, IPC, USER, NETWORK, CGROUP, TIME";

/// "NETWORK|PID"; the kernel's words, mnt, net, uts and so on, in whatever case, too. Nothing, and
/// it was said, for another word.
[[nodiscard]] std::optional<condroid::Flags<condroid::Namespace>> read_namespaces(
    const std::string& text);
