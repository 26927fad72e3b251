// Sections on what is there already: containers of a pool, and containers that are entered. Timed
// from the call to the command's first instruction.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "report.hpp"
#include "scratch.hpp"
#include "worker.hpp"

namespace bench {

/// What the sections need of the run.
struct Warm {
  Report* report = nullptr;
  std::chrono::milliseconds* patience = nullptr;
  bool quick = false;
  const Scratch* scratch = nullptr;
  /// The container of the benchmark, with a network namespace or without.
  std::function<Work(bool net)> work = {};
  /// Makes Work have cgroups as condroid does.
  std::function<bool(Work* work, std::string* error)> add_cgroup = {};
  std::function<Worker()> start_floor = {};
  std::function<std::unique_ptr<Worker>(std::uint64_t bytes, pid_t* helper, std::string* error)>
      start_host = {};
};

/// A take against a cold launch.
void take_section(const Warm& warm);
/// Attaching against its floor, from an empty host and a large one.
void attach_section(const Warm& warm);
/// Takes at a steady rate with refill, and what is left of them.
void sustain_section(const Warm& warm);

}  // namespace bench
