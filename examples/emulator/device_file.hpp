// The TOML file of a device: read and checked, every mistake told with its place.
#pragma once

#include <condroid/android/device.hpp>
#include <optional>
#include <string>
#include <vector>

/// The device of a file; paths in it are relative to the file. Nothing, and `mistakes` has a line
/// "FILE:LINE:COLUMN: what" for each, when something is wrong.
[[nodiscard]] std::optional<condroid::android::Device> read_device(
    const std::string& file, std::vector<std::string>& mistakes);
