// The programs that condroid-run is compared with, each told to make the same container.
#pragma once

#include <string>
#include <vector>

#include "scratch.hpp"
#include "work.hpp"

namespace bench {

struct Command {
  std::string name = {};
  std::vector<std::string> argv = {};
  bool caged = false;      ///< Runs where only the v2 cgroup tree is visible, see Request::cage.
  bool reference = false;  ///< Does less than the others; printed, not compared.
  bool optional = false;  ///< Where it is not there, or cannot run, a row says so, and that is all.
  std::string absent = {};  ///< Why it cannot run; empty if it can.
  bool filter = false;      ///< Reads Work::filter from the descriptor filter_descriptor.
  std::string note = {};
};

/// Its path, or empty.
[[nodiscard]] std::string find_program(const std::string& name);
/// What LXC reads for that container, without a command.
[[nodiscard]] std::string lxc_config(const Work& work, const std::string& root);
/// The commands for the container `work`, with their configuration files in `scratch`.
/// `condroid_run` is the path of ours, or empty.
[[nodiscard]] std::vector<Command> make_commands(const Work& work, const Scratch& scratch,
                                                 const std::string& condroid_run);
/// Those of a container with an interface, as Work::bridge says: ours, and lxc-start.
[[nodiscard]] std::vector<Command> make_network_commands(const Work& work, const Scratch& scratch,
                                                         const std::string& condroid_run);
/// Those that make a throwaway container: crun, podman. Each `who` has a place of its own for what
/// crun remembers, so that several of them can run at once.
[[nodiscard]] std::vector<Command> make_box_commands(const Work& work, const Scratch& scratch,
                                                     unsigned who);

}  // namespace bench
