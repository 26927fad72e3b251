// Hooks that are not of a start: clone and destroy.
#pragma once

#include <condroid/config/lxc.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "place.hpp"

/// Runs all hooks of that name, one after the other. False, and it was said, for the first that
/// fails.
[[nodiscard]] bool run_scripts(const Place& place, const condroid::lxc::Configuration& config,
                               const condroid::lxc::Program& program, std::string_view when);
/// A program with these arguments; its wait(2) status, or -1.
[[nodiscard]] int run_program(const std::vector<std::string>& argv,
                              const std::vector<std::string>& env);
