// The rows of the result: a table for people, JSON for machines, a verdict for each target.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "stats.hpp"

namespace bench {

enum class Verdict {
  info,  ///< Nothing was asked of it.
  reached,
  missed,   ///< Measured, and not what it should be.
  missing,  ///< Could not be measured; fails the run.
};

struct Row {
  std::string section = {};
  std::string name = {};
  std::string condition = {};
  std::optional<Summary> latency = {};  ///< Milliseconds.
  std::optional<double> value = {};     ///< Anything that is not a latency, in `unit`.
  std::string unit = {};
  std::optional<Ratio> ratio = {};
  std::string ratio_to = {};  ///< "floor"
  std::string target = {};    ///< "<= 1.15"
  Verdict verdict = Verdict::info;
  std::string note = {};
};

struct Machine {
  std::string kernel = {};
  std::string processor = {};
  unsigned cores = 0;
  unsigned long memory_mib = 0;
  std::string load = {};  ///< Load average at the start: a busy machine explains a bad figure.
};

[[nodiscard]] Machine this_machine();

class Report {
 public:
  explicit Report(Machine machine) : machine_(std::move(machine)) {}

  void add(Row row);
  /// A row that could not be measured.
  void missing(std::string section, std::string name, std::string condition, std::string why);
  /// The verdict of `ratio.value` against "<= limit" or ">= limit" (or "<"), filled into the row.
  static void judge(Row* row, double measured, const char* relation, double limit);

  /// Markdown that is aligned as text.
  [[nodiscard]] std::string table() const;
  [[nodiscard]] std::string json() const;
  [[nodiscard]] std::size_t count(Verdict verdict) const;

 private:
  Machine machine_;
  std::vector<Row> rows_ = {};
};

}  // namespace bench
