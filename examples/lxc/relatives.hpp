// Who has whose files below its own: LXC's files lxc_snapshots and lxc_rdepends in the directories
// of containers, a path and a name on two lines for each.
#pragma once

#include <string>
#include <vector>

#include "place.hpp"

struct Relative {
  std::string lxcpath = {}, name = {};
  bool operator==(const Relative&) const = default;
};
/// Those that need this one's files.
[[nodiscard]] std::vector<Relative> clones_of(const Place& place);
/// Those whose files it needs.
[[nodiscard]] std::vector<Relative> bases_of(const Place& place);
/// `clone` needs these, and they know it. False, and it was said.
[[nodiscard]] bool depend(const Place& clone, const std::vector<Relative>& bases);
/// Its bases know it no more, but `instead` where there is one.
void forget(const Place& clone, const Place* instead = nullptr);
