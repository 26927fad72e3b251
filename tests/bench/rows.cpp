#include "rows.hpp"

namespace bench {

Series series_of(std::string name, Worker* worker, Request::Kind kind, const Work& work,
                 std::string error) {
  Series s;
  s.name = std::move(name);
  s.worker = worker;
  s.request.kind = kind;
  s.request.work = work;
  s.error = std::move(error);
  return s;
}

std::string note_of(const Series& series) {
  if (!series.error.empty()) return series.error;
  if (series.disturbed == 0) return "";
  return std::to_string(series.disturbed) + " of " + std::to_string(series.rounds.size()) +
         " rounds on a busy machine";
}

Row row_of(const char* section, const Series& series, std::string condition) {
  Row row;
  row.section = section;
  row.name = series.name;
  row.condition = std::move(condition);
  row.latency = summarize(series.samples);
  row.note = note_of(series);
  if (!series.error.empty()) row.verdict = Verdict::missing;
  return row;
}

bool complete(Report* report, const char* section, const std::vector<Series*>& all,
              const std::string& condition) {
  bool good = true;
  for (const Series* s : all) good = good && !s->samples.empty() && s->error.empty();
  if (good) return true;
  for (const Series* s : all)
    report->missing(section, s->name, condition,
                    s->error.empty() ? "others of its section are missing" : s->error);
  return false;
}

Effort effort_of(Pace pace, bool quick) {
  Effort effort =
      pace == Pace::spaced ? Effort{.rounds = 40, .batch = 1} : Effort{.rounds = 60, .batch = 8};
  if (quick) effort.rounds = pace == Pace::spaced ? 10 : 12;
  return effort;
}

}  // namespace bench
