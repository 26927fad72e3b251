// A launcher as somebody writes it who trusts paths. Nothing of condroid is in it. Each weakness is
// one that a real launcher had, and is switched on by itself: an attack that works here, and not on
// condroid, is a real one.
//
//   const Exit e = run_naive({.root = root.str(), .argv = {"/bin/payload", "probe"},
//                             .keeps_groups = true});
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "condroid/container.hpp"

namespace condroid::test {

/// Runs as root, in new namespaces for all but users. With no weakness on, every step is done as it
/// should be.
struct Naive {
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  std::string root = {};
  std::vector<std::string> argv = {};
  std::string image = {};        ///< An ext4 file system in a file, which is mounted on `root`.
  std::string image_label = {};  ///< It is looked at first, and refused with another.
  Pairs mounts = {};             ///< Host's file or directory, and where it goes; bound read-only.
  Pairs settings = {};           ///< Below /proc/sys, of the container's namespaces.
  std::string label = {};        ///< That the command is executed with, by SELinux.
  std::string proc = "/proc";    ///< Where procfs goes, whatever the image has in /proc then.
  std::string console = {};      ///< Where the terminal of the container goes.
  std::string lock = {};         ///< A file that is made, in a place where others make files, too.
  std::string program = {};      ///< A copy of this one's, which it is while it sets up.
  std::string cwd = "/";
  uid_t uid = 0;
  std::string user = {};  ///< Or by name.

  /// What is done to it when its command has said "ready"; then it is listened to until it says
  /// "alive".
  enum { nothing, command_killed, host_killed } when_ready = nothing;
  int patience_ms = 30000;  ///< Without a word, until it is given up: code 124.

  // Paths
  bool follows_links = false;   ///< mkdir(2) and mount(2) on root + target.
  bool looks_first = false;     ///< The same, after a look whether there is a link.
  bool fills_dev = false;       ///< Nodes and links of root + "/dev" by path.
  bool masks_by_path = false;   ///< /proc is mounted, then what is in it covered, by path.
  bool masks_with_its = false;  ///< Covered with root + "/dev/null".
  bool binds_writable = false;
  bool lists_mounts = false;  ///< In a text of lines, "source target".
  bool layers = false;        ///< What is mounted is overlaid, by options in one text.
  bool opens_twice = false;   ///< The image: to look at it, and to mount it.
  // The container's /proc
  bool writes_inside = false;   ///< Settings and label by path, once it is in the container's root.
  bool joins_settings = false;  ///< As one text for a helper, "name=value+name=value".
  bool dots_to_slashes = false;  ///< Names with this beginning are the container's: "net".
  bool opens_kernel = false;     ///< Nothing in /proc is covered or read-only.
  // Descriptors and processes
  bool leaks_directory = false;  ///< "/" of the host is open under number 30.
  bool leaks_report = false;     ///< The pipe on which its end is told is open in the command.
  bool host_network = false;
  bool host_cgroup = false;
  bool host_pids = false;
  /// One more process joins it, with its command's rights, but traceable and with "/" of the host
  /// open, and is in no hurry.
  bool attaches = false;
  // Rights
  bool keeps_groups = false;
  bool all_capabilities = false;
  bool inheritable = false;     ///< What it gives up stays in the inheritable and bounding set.
  bool user_from_root = false;  ///< `user` is looked up in the container's passwd.
  bool gains = false;           ///< No no_new_privs.
  // Terminals and keys
  bool keeps_terminal = false;  ///< Standard input and session are the caller's.
  bool keeps_keys = false;
  bool filters_wide = false;      ///< Denies TIOCSTI, in all 64 bits of the request.
  bool terminal_by_name = false;  ///< The slave by its name in the container's /dev/pts.
};

/// What it printed, and the end as the launcher understood it.
Exit run_naive(const Naive& how);

}  // namespace condroid::test
