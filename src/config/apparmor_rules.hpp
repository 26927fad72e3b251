// The part of a profile that is the same whatever it is called. Private.
#pragma once

#include <string>

#include "condroid/error.hpp"
#include "condroid/spec.hpp"

namespace condroid::inline v0::apparmor {

/// What follows "profile NAME " in apparmor::profile(), which has the errors; the name is in it as
/// the parser's own @{profile_name}.
[[nodiscard]] Result<std::string> rules_of(const Spec& spec);

}  // namespace condroid::inline v0::apparmor
