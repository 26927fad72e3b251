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

/// The first argument by which this program is execute_with_own_proc() of those after it.
inline constexpr std::string_view own_proc_word = "--own-proc";
/// Executes the command where /proc and /sys are of the namespaces that this process is in, for it
/// and nobody else. Returns what a shell's status is for a command that cannot be executed, or 1,
/// and why was said.
[[nodiscard]] int execute_with_own_proc(char** command);
