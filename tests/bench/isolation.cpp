#include "isolation.hpp"

#include <memory>
#include <string>
#include <vector>

#include "rows.hpp"

namespace bench {

void isolation_section(const Warm& warm) {
  const char* const section = "isolation";
  std::string error;
  const std::unique_ptr<Worker> host = warm.start_host(0, nullptr, &error);
  for (const bool net : {false, true}) {
    const Work closed = warm.work(net);
    Work no_filter = closed;
    no_filter.filter_size = 0;
    Work open = no_filter;
    open.new_session = open.no_new_privs = open.own_keyring = false;
    // All but sys_resource, which root may lack, and mknod, which brings a filter of devices along.
    open.capabilities =
        ((std::uint64_t{1} << 41U) - 1) & ~(std::uint64_t{1} << 24U) & ~(std::uint64_t{1} << 27U);
    open.masked = {};
    open.read_only = {};
    for (const Pace pace : {Pace::back_to_back, Pace::spaced}) {
      const std::string condition = std::string(net ? "net, " : "no net, ") + to_string(pace);
      Series bare = series_of("without restrictions", host.get(), Request::run, open, error);
      Series unfiltered =
          series_of("without the filter", host.get(), Request::run, no_filter, error);
      Series ours = series_of("closed, the default", host.get(), Request::run, closed, error);
      const std::vector<Series*> all = {&bare, &unfiltered, &ours};
      if (error.empty())
        measure_until_clear(all, pace, effort_of(pace, warm.quick), ours, bare, 1.1,
                            warm.quick ? 1 : 3, warm.patience);
      if (!complete(warm.report, section, all, condition)) continue;

      warm.report->add(row_of(section, bare, condition));
      warm.report->add(row_of(section, unfiltered, condition));
      Row row = row_of(section, ours, condition);
      row.ratio = paired_ratio(ours.rounds, bare.rounds);
      row.ratio_to = "without restrictions";
      Report::judge(&row, row.ratio->value, "<=", 1.1);
      warm.report->add(row);

      Row filter;
      filter.section = section;
      filter.name = "the filter alone";
      filter.condition = condition;
      std::vector<double> more;
      for (std::size_t i = 0; i < ours.rounds.size() && i < unfiltered.rounds.size(); ++i)
        more.push_back((ours.rounds[i] - unfiltered.rounds[i]) * 1000);
      filter.value = median(more);
      filter.unit = "us";
      Report::judge(&filter, *filter.value, "<=", 50);
      warm.report->add(std::move(filter));
    }
  }
}

}  // namespace bench
