// What is done with devices that run, whichever program started them: found by their names.
#pragma once

#include <condroid/path.hpp>
#include <string>
#include <vector>

/// Of each the exit status of the program.
[[nodiscard]] int list_devices(const condroid::HostPath& state_dir);
[[nodiscard]] int stop_device(const condroid::HostPath& state_dir, const std::string& name);
[[nodiscard]] int freeze_device(const condroid::HostPath& state_dir, const std::string& name,
                                bool freeze, bool reclaim = false);
/// `argv` in a device; on a terminal of its own there when standard input is one.
[[nodiscard]] int run_in_device(const condroid::HostPath& state_dir, const std::string& name,
                                std::vector<std::string> argv);
