// Policies of system calls as other tools write them, as a Seccomp. Nothing is opened or asked for
// here.
//
//   auto policy = lxc::parse_seccomp(text);          // the file that lxc.seccomp.profile names
//   if (!policy) return fail(policy);
//   spec.security.seccomp = std::move(*policy);
//
// Both give rules (Seccomp::rules), so a build with libseccomp is needed to launch with them. They
// are the whole filter, as for the tools that they are written for: a list of what is denied needs
// Allow::all_syscalls, unless and_standard is set to have the standard filter beside it. Names
// that this machine's calls are not among are passed over, as by the tools themselves. Rules that
// speak of one call are settled as libseccomp does it for those tools: of two without arguments the
// first holds, and beside one without arguments none with arguments does. Thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "condroid/error.hpp"
#include "condroid/spec/seccomp.hpp"

namespace condroid {
inline namespace v0 {
namespace lxc {

/// A policy file of LXC, version 1 or 2, at most 1 MiB. As LXC 5.0 takes it: `kill` ends the
/// thread, the filter of a version 2 is for 32-bit programs, too (not for x32), and a section of an
/// architecture that this machine runs holds for all that it runs; sections of others are skipped.
/// Stricter than LXC where that reads on silently: a system call by number in version 2, &= without
/// a mask, a mask without &=, words that follow an action. Kinder: sections and rules may have
/// blanks and comments around them, a rule with arguments needs no action, and a version 1 may have
/// comments.
/// @errors Errc::bad_text with all bad lines in the subject and `also`: "line 3: mount: errn:
/// unknown action; did you mean errno?".
[[nodiscard]] Result<Seccomp> parse_seccomp(std::string_view text);

/// Rules as such a file, version 2. The whole filter, as parse_seccomp() reads it: and_standard is
/// not in it, nor what is said of 32-bit programs, who get the same.
/// @errors Errc::bad_spec with the field, for what LXC has no word for: the actions kill_process,
/// trace and log, a rule for one architecture, a call by number, a filter that is not of rules.
[[nodiscard]] Result<std::string> print_seccomp(const Seccomp& policy);

}  // namespace lxc
namespace oci {

/// The object `linux.seccomp` of an OCI runtime configuration as JSON, at most 1 MiB and 32 levels
/// deep. Of the flags only SECCOMP_FILTER_FLAG_LOG makes a difference here: a container is filtered
/// while it has one thread (TSYNC), the processor's protection against speculation stays as it is
/// (SPEC_ALLOW), and who is asked about is not taken back for a signal where the kernel has that
/// (WAIT_KILLABLE_RECV). Who launches the container answers, so listenerPath and listenerMetadata
/// are passed over. Architectures that this machine does not
/// run are passed over, and so are properties that the specification does not know; those with
/// which docker and podman make a profile depend on the container (`archMap`, `includes`,
/// `excludes`) are refused, since to leave them out would open what they close.
/// @errors Errc::bad_text with all that is wrong, by its place: "syscalls[3].args[0].op: ...".
/// Errc::unsupported in a build without nlohmann-json.
[[nodiscard]] Result<Seccomp> parse_seccomp(std::string_view json);

}  // namespace oci
}  // namespace v0
}  // namespace condroid
