// What closing a container costs a launch.
#pragma once

#include "warm.hpp"

namespace bench {

/// The default container against one without its filter of system calls, and against one without
/// anything that restricts the command.
void isolation_section(const Warm& warm);

}  // namespace bench
