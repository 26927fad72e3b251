// Programs that these run: templates, cp, and hooks that are not of a start, clone and destroy.
#pragma once

#include <chrono>
#include <condroid/config/lxc.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "place.hpp"

/// From now on a signal that usually ends a program ends what run_program() runs, and is seen by
/// interrupted(): who makes something takes it back first.
void heed_interruption();
[[nodiscard]] bool interrupted();

/// A program with these arguments and, beside this one's environment, `env`: without that no
/// variable of LXC's is left out. It blocks no signal. After `limit`, unless that is 0, it and
/// what it started are killed. Its wait(2) status, or -1.
[[nodiscard]] int run_program(const std::vector<std::string>& argv,
                              const std::vector<std::string>& env = {},
                              std::chrono::seconds limit = {});
/// What wait(2) told, in words.
[[nodiscard]] std::string how_it_ended(int status);

/// What hooks that are not of a start are told beside what the configuration says.
struct HookWords {
  std::string root_at = {};            ///< Where they find the root file system.
  std::string source = {};             ///< Whose clone it is.
  std::vector<std::string> more = {};  ///< Further arguments.
};
/// Runs all hooks of that name, one after the other, a minute each. False, and it was said, for the
/// first that fails.
[[nodiscard]] bool run_scripts(const Place& place, const condroid::lxc::Configuration& config,
                               std::string_view when, const HookWords& words = {});
