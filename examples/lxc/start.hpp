// What lxc-start and lxc-execute have in common.
#pragma once

#include <string>
#include <vector>

#include "place.hpp"

struct StartWish {
  bool execute = false;
  bool daemon = false;
  bool close_all = false;
  std::string console_log = {};
  std::string pidfile = {};
  std::vector<std::string> command = {};
};

/// -s, -c, --share-*, --uid and --gid, and lxc.cgroup.pattern. False, and it was said, where
/// something is wrong.
[[nodiscard]] bool adapt(const Arguments& args, const Place& place,
                         condroid::lxc::Configuration& config);
/// Starts it and, unless it is put into the background, keeps it until its end. The exit status.
[[nodiscard]] int start_container(const Place& place, const condroid::lxc::Configuration& config,
                                  const StartWish& wish);
