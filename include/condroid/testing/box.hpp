// What testing.hpp is made of below: a box's files, the output of what runs in it, the program that
// keeps it. Compiled, in the library condroid-testing; nothing here is promised.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "condroid/container.hpp"
#include "condroid/error.hpp"
#include "condroid/launch.hpp"
#include "condroid/path.hpp"
#include "condroid/sys/fd.hpp"
#include "condroid/units.hpp"

namespace condroid {
inline namespace v0 {
namespace detail {

/// A program in memory that does nothing, needs no library and reaps what is left to it: the first
/// process of a box. memfd_create(2).
[[nodiscard]] Result<Fd> idle_program();

/// A file in memory with this text, to be read from its beginning.
[[nodiscard]] Result<Fd> text_file(std::string_view text);

/// A file in memory that takes so many bytes of output; then writing is EPERM.
[[nodiscard]] Result<Fd> output_file(Bytes most);
/// What was written to it so far.
[[nodiscard]] std::string output_text(FdView file);

/// The root directory of a process that `pidfd` stands for.
/// @errors ESRCH when it has ended.
[[nodiscard]] Result<Fd> root_of(Pid pid, FdView pidfd);
/// Makes a file in there, or replaces what is in it; directories above it are made. Links are
/// followed as in the container.
[[nodiscard]] Result<void> put_file(FdView root, const GuestPath& path, std::string_view contents,
                                    Mode mode);
/// @errors EFBIG for more than `most`; those of open(2).
[[nodiscard]] Result<std::string> get_file(FdView root, const GuestPath& path, Bytes most);

/// Whether the process that it stands for has ended, undone or not.
[[nodiscard]] bool has_ended(FdView pidfd);

/// Waits for a launch that was begun without a deadline.
/// @errors Errc::deadline; it is given up then. Those of a launch.
[[nodiscard]] Result<Container> finished(Launch launch, std::chrono::milliseconds most);

/// A whole file of the host.
[[nodiscard]] Result<std::string> host_file(const HostPath& path, Bytes most);

}  // namespace detail
}  // namespace v0
}  // namespace condroid
