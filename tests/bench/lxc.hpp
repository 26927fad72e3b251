// LXC's configurations: started in a process, and by programs.
#pragma once

#include <string>

#include "warm.hpp"

namespace bench {

/// Where the programs are.
struct LxcPrograms {
  std::string worker = {};  ///< condroid-bench-lxc
  std::string liblxc = {};  ///< condroid-bench-liblxc; not there where that was not.
  std::string ours = {};    ///< The directory of our lxc-start and lxc-info; empty: nowhere.
};

/// The same configurations by condroid and by LXC: in a host, small and large, where there is
/// nothing but cgroup v2 and with the machine's own hierarchies; and the programs lxc-start and
/// lxc-info.
void lxc_section(const Warm& warm, const LxcPrograms& programs);

}  // namespace bench
