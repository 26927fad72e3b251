// What a Spec says of the sets of capabilities, spelt out. Private.
#pragma once

#include "condroid/spec.hpp"

namespace condroid::inline v0::detail {

/// All of them set.
[[nodiscard]] inline CapabilitySets capability_sets(const Spec& spec) {
  const Security& s = spec.security;
  CapabilitySets sets = s.sets;
  if (!sets.ambient) sets.ambient = s.ambient ? s.capabilities : CapabilitySet{};
  if (!sets.inheritable) sets.inheritable = sets.ambient;
  // A command with another uid than 0 starts with nothing unless it is ambient.
  if (!sets.permitted)
    sets.permitted = spec.process.uid.value == 0 ? s.capabilities : *sets.ambient;
  if (!sets.effective) sets.effective = sets.permitted;
  return sets;
}

}  // namespace condroid::inline v0::detail
