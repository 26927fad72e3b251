// The command line of condroid-run, as a Spec and what concerns the program itself.
#pragma once

#include <chrono>
#include <condroid/spec.hpp>
#include <optional>
#include <string>

struct Options {
  condroid::Spec spec;
  bool tty = false;
  bool dry_run = false;
  bool print_spec = false;
  bool detach = false;
  bool ps = false;     ///< Lists what runs, and ends.
  std::string attach;  ///< A container by name, id or pid, in which the command runs; empty: none.
  bool stats = false;  ///< Says at the end what was used.
  std::string stop;    ///< Ends a container by name, id or pid; empty: none.
  std::chrono::milliseconds timeout{0};  ///< Of the whole run; 0: none.
  bool polite = false;                   ///< --stop-signal or --stop-timeout: ask first, then kill.
  std::string stop_before;               ///< An op, as Plan::find takes it; empty: none.
  std::string trace;                     ///< File; empty: none.
  std::string learn;                     ///< File for the policy that the run needed; empty: none.
};

/// The exit statuses that are ours, as docker's and env(1)'s; timed_out is timeout(1)'s.
enum Status : int { timed_out = 124, failed = 125, not_executable = 126, not_found = 127 };

/// Reads the command line. When the program is to end at once (--help, a mistake) `status` is set
/// instead, and what is to be said has been said.
[[nodiscard]] std::optional<Options> read_options(int argc, char** argv, int& status);
