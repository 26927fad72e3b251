// The TOML file of a device: read and checked, every mistake told with its place.
#pragma once

#include <condroid/android/device.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

struct DeviceFile {
  condroid::android::Device device = {};
  std::uint16_t adb_port = 0;  ///< Of this machine's loopback; 0: none.
};

/// What a file says; paths in it are relative to the file. Nothing, and `mistakes` has a line
/// "FILE:LINE:COLUMN: what" for each, when something is wrong.
[[nodiscard]] std::optional<DeviceFile> read_device(const std::string& file,
                                                    std::vector<std::string>& mistakes);
