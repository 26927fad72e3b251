// A profile of AppArmor for one container, made from its Spec. Nothing is opened or loaded here:
// Security::own_apparmor has that done for each launch.
//
//   auto text = apparmor::profile(spec, "box-1");     // apparmor_parser --replace reads it
//   spec.security.apparmor = "box-1";
#pragma once

#include <string>
#include <string_view>

#include "condroid/error.hpp"
#include "condroid/spec.hpp"

namespace condroid {
inline namespace v0 {
namespace apparmor {

/// The text of a profile that closes what the Spec closes by mounts and capabilities, once more:
/// capabilities beyond the Spec's; mounts, unless Allow::nesting; writing to and, where they are
/// masked, reading the kernel's files; tracing and signalling what is not under this profile. As
/// apparmor.d(5) of AppArmor 3. Pure, thread-safe.
/// Paths are spelled as the kernel does, without "//" and "/./".
/// @errors Errc::bad_spec, Step::compile: a name that is no word of letters, digits, '.', '_' and
/// '-', or is "unconfined", which means none; a path that is not absolute, has ".." or a character
/// that a profile cannot hold.
[[nodiscard]] Result<std::string> profile(const Spec& spec, std::string_view name);

}  // namespace apparmor
}  // namespace v0
}  // namespace condroid
