#include "report.hpp"

#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <thread>

namespace bench {
namespace {

template <typename... Args>
std::string format(const char* text, Args... args) {
  std::array<char, 512> buffer{};
  const int length = std::snprintf(buffer.data(), buffer.size(), text, args...);
  return std::string(buffer.data(), std::min(buffer.size() - 1, static_cast<std::size_t>(length)));
}

const char* word(Verdict verdict) {
  switch (verdict) {
    case Verdict::info:
      return "";
    case Verdict::reached:
      return "ok";
    case Verdict::missed:
      return "MISSED";
    case Verdict::missing:
      return "MISSING";
  }
  return "";
}

std::string escape(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += format("\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string value_after_colon(const char* path, const std::string& key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind(key, 0) != 0) continue;
    const std::size_t colon = line.find(':');
    const std::size_t start = line.find_first_not_of(" \t", colon + 1);
    return start == std::string::npos ? "" : line.substr(start);
  }
  return "";
}

std::string value_text(const Row& row) {
  if (!row.value) return "";
  // Whole things are printed whole; what is a mean of several keeps a digit.
  return format(*row.value < 100 ? "%.1f %s" : "%.0f %s", *row.value, row.unit.c_str());
}

constexpr const char* build = CONDROID_BENCH_BUILD;

constexpr std::size_t columns = 10;
using Cells = std::array<std::string, columns>;

Cells cells_of(const Row& row) {
  Cells c = {row.name, row.condition};
  if (row.latency) {
    c[2] = format("%.3f", row.latency->p50);
    c[3] = format("%.3f", row.latency->p99);
    c[4] = format("%.3f", row.latency->min);
  }
  c[5] = value_text(row);
  if (row.ratio) {
    c[6] = format("%.3f [%.3f %.3f] of ", row.ratio->value, row.ratio->low, row.ratio->high) +
           row.ratio_to;
  }
  c[7] = row.target;
  c[8] = word(row.verdict);
  // Others' messages are in it.
  c[9] = row.note;
  for (char& letter : c[9]) {
    if (static_cast<unsigned char>(letter) < 0x20 || letter == '|') letter = ' ';
  }
  while (!c[9].empty() && c[9].back() == ' ') c[9].pop_back();
  return c;
}

// Aligned, so that it is a table for who reads it as text as well. Columns in which nothing stands
// are left out; the first line is the heading.
std::string markdown(const std::vector<Cells>& lines) {
  std::array<std::size_t, columns> width{};
  for (std::size_t i = 0; i < columns; ++i) {
    bool used = false;
    for (const Cells& c : lines) {
      used = used || (&c != lines.data() && !c[i].empty());
      width[i] = std::max(width[i], c[i].size());
    }
    if (!used) width[i] = 0;
  }
  std::string out;
  for (const Cells& c : lines) {
    std::string rule;
    for (std::size_t i = 0; i < columns; ++i) {
      if (width[i] == 0) continue;
      const bool number = i >= 2 && i <= 5;
      const std::string padding(width[i] - c[i].size(), ' ');
      out += "| " + (number ? padding + c[i] : c[i] + padding) + " ";
      rule += "|" + std::string(width[i] + 1, '-') + (number ? ":" : "-");
    }
    out += "|\n";
    if (&c == lines.data()) out += rule + "|\n";
  }
  return out;
}

}  // namespace

Machine this_machine() {
  Machine m;
  utsname name{};
  ::uname(&name);
  m.kernel = std::string(name.sysname) + " " + name.release + " " + name.machine;
  m.processor = value_after_colon("/proc/cpuinfo", "model name");
  m.cores = std::thread::hardware_concurrency();
  m.memory_mib =
      std::strtoul(value_after_colon("/proc/meminfo", "MemTotal").c_str(), nullptr, 10) / 1024;
  std::ifstream("/proc/loadavg") >> m.load;
  return m;
}

void Report::add(Row row) { rows_.push_back(std::move(row)); }

void Report::missing(std::string section, std::string name, std::string condition,
                     std::string why) {
  Row row;
  row.section = std::move(section);
  row.name = std::move(name);
  row.condition = std::move(condition);
  row.verdict = Verdict::missing;
  row.note = std::move(why);
  add(std::move(row));
}

void Report::judge(Row* row, double measured, const char* relation, double limit) {
  const std::string r(relation);
  const bool good = r == "<=" ? measured <= limit : r == "<" ? measured < limit : measured >= limit;
  row->target = format("%s %g", relation, limit);
  row->verdict = good ? Verdict::reached : Verdict::missed;
}

std::string Report::table() const {
  std::string out = format("%s, %s, %u cores, %lu MiB, load %s; library built as %s\n",
                           machine_.kernel.c_str(), machine_.processor.c_str(), machine_.cores,
                           machine_.memory_mib, machine_.load.c_str(), build);
  for (auto first = rows_.begin(); first != rows_.end();) {
    const auto last = std::find_if(first, rows_.end(),
                                   [&](const Row& row) { return row.section != first->section; });
    std::vector<Cells> lines = {{"", "", "p50 ms", "p99 ms", "min ms", "value", "ratio [95 %]",
                                 "target", "verdict", "note"}};
    std::transform(first, last, std::back_inserter(lines), cells_of);
    out += "\n### " + first->section + "\n\n" + markdown(lines);
    first = last;
  }
  out += format("\n%zu targets reached, %zu missed, %zu rows missing\n", count(Verdict::reached),
                count(Verdict::missed), count(Verdict::missing));
  return out;
}

std::string Report::json() const {
  std::string out = "{\n  \"machine\": {\"kernel\": " + escape(machine_.kernel) +
                    ", \"processor\": " + escape(machine_.processor) +
                    format(", \"cores\": %u, \"memory_mib\": %lu, \"load\": ", machine_.cores,
                           machine_.memory_mib) +
                    escape(machine_.load) + ", \"build\": " + escape(build) + "},\n  \"rows\": [";
  const char* separator = "\n";
  for (const Row& row : rows_) {
    out += separator;
    separator = ",\n";
    out += "    {\"section\": " + escape(row.section) + ", \"name\": " + escape(row.name) +
           ", \"condition\": " + escape(row.condition);
    if (row.latency) {
      out += format(", \"p50_ms\": %.6f, \"p99_ms\": %.6f, \"min_ms\": %.6f, \"samples\": %zu",
                    row.latency->p50, row.latency->p99, row.latency->min, row.latency->samples);
    }
    if (row.value) out += format(", \"value\": %.6f, \"unit\": ", *row.value) + escape(row.unit);
    if (row.ratio) {
      out += format(", \"ratio\": %.6f, \"ratio_low\": %.6f, \"ratio_high\": %.6f, \"ratio_to\": ",
                    row.ratio->value, row.ratio->low, row.ratio->high) +
             escape(row.ratio_to);
    }
    if (!row.target.empty()) out += ", \"target\": " + escape(row.target);
    const char* verdict = row.verdict == Verdict::info ? "info" : word(row.verdict);
    std::string lower(verdict);
    std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    out += ", \"verdict\": " + escape(lower);
    if (!row.note.empty()) out += ", \"note\": " + escape(row.note);
    out += "}";
  }
  return out + "\n  ]\n}\n";
}

std::size_t Report::count(Verdict verdict) const {
  return static_cast<std::size_t>(std::count_if(
      rows_.begin(), rows_.end(), [&](const Row& row) { return row.verdict == verdict; }));
}

}  // namespace bench
