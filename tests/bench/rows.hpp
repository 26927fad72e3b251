// What sections of several series that are taken in turns have in common.
#pragma once

#include <string>
#include <vector>

#include "report.hpp"
#include "series.hpp"

namespace bench {

[[nodiscard]] Series series_of(std::string name, Worker* worker, Request::Kind kind,
                               const Work& work, std::string error);
/// What a reader should know of how it was measured; empty: nothing.
[[nodiscard]] std::string note_of(const Series& series);
/// Its latency, and what a reader should know of how it was measured.
[[nodiscard]] Row row_of(const char* section, const Series& series, std::string condition);
/// False with the rows reported missing when there is nothing to compare.
[[nodiscard]] bool complete(Report* report, const char* section, const std::vector<Series*>& all,
                            const std::string& condition);
/// How much a section of two or three series takes.
[[nodiscard]] Effort effort_of(Pace pace, bool quick);

}  // namespace bench
