// The run: which rows there are, in which order, with how many samples.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace bench {

struct Options {
  bool quick = false;
  bool strict = false;
  std::chrono::milliseconds patience{300'000};  ///< Spent in all on waiting for quiet moments.
  std::string json = {};
  std::vector<std::string> sections = {};  ///< Empty: all.
  std::string floor = {};
  std::vector<std::string> payloads = {};
  std::string condroid_run = {};
  std::string lxc_worker = {};
  std::string liblxc_worker = {};
  std::string lxc_programs = {};
  std::string box_worker = {};
  std::string device_worker = {};
  std::string device_init = {};
};

/// Measures, prints the table, writes the JSON. 0, or 1 if a row is missing (or, if strict, a
/// target missed).
[[nodiscard]] int run_all(const Options& options);

}  // namespace bench
