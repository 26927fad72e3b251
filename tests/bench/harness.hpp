// Throwaway containers for tests.
#pragma once

#include <string>

#include "warm.hpp"

namespace bench {

/// A Sandbox of testing.hpp, made, a command run in it, and gone: cold and out of a full pool,
/// beside the commands that do the same; and how many of them a second, several at once.
/// `worker`: condroid-bench-boxes.
void harness_section(const Warm& warm, const std::string& worker);

}  // namespace bench
