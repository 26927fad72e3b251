// Profiles of AppArmor that are loaded for single containers, from the host's side. Private.
#pragma once

#include <string>
#include <string_view>

#include "condroid/error.hpp"
#include "program/format.hpp"

namespace condroid::inline v0::detail {

/// Of the container that is called so in this runtime. Nobody else's begins with a runtime's name,
/// which is chance.
[[nodiscard]] std::string profile_name(std::string_view runtime, std::string_view unique_name);

/// Removes it. What still ran under it would be free of it. 0, also when it is not loaded, or an
/// errno.
[[nodiscard]] int remove_profile(const std::string& name);
/// All that a runtime whose zygote is dead has left.
void remove_profiles_of(std::string_view runtime);

/// What the zygote could not undo, Record::undo_error.
[[nodiscard]] Error left_behind(const program::Record& record, const std::string& unique_name);

}  // namespace condroid::inline v0::detail
