// lxc-ls: which containers there are.
#include <fmt/format.h>
#include <regex.h>
#include <strings.h>
#include <unistd.h>
#include <condroid/sys/pty.hpp>

#include <algorithm>
#include <memory>
#include <set>
#include <sstream>
#include <utility>

#include "place.hpp"
#include "say.hpp"
#include "tools.hpp"
#include "usage.hpp"

using namespace condroid;
using control::State;

namespace {

constexpr Option options[] = {
    {'1', "line", "", "One name a line"},
    {'f', "fancy", "", "A table"},
    {'F', "fancy-format", "COLUMNS",
     "Of these, a comma between them: NAME, STATE, PID, RAM, SWAP, AUTOSTART, GROUPS, INTERFACE, "
     "IPV4, IPV6, UNPRIVILEGED"},
    {0, "active", "", "Those that are there now, running or frozen"},
    {0, "running", "", "Those that run"},
    {0, "frozen", "", "Those that are frozen"},
    {0, "stopped", "", "Those that do not run"},
    {0, "defined", "", "Those that have a configuration"},
    {0, "nesting", "NUM", "For LXC's sake: those inside of others are not looked for",
     Option::optional},
    {0, "filter", "REGEX", "Those whose name matches"},
    {'g', "groups", "GROUPS", "Those that are in all of these groups, a comma between them"},
};

constexpr std::string_view columns[] = {"NAME", "STATE",     "PID",         "RAM",
                                        "SWAP", "AUTOSTART", "GROUPS",      "INTERFACE",
                                        "IPV4", "IPV6",      "UNPRIVILEGED"};
constexpr std::string_view usual = "NAME,STATE,AUTOSTART,GROUPS,IPV4,IPV6,UNPRIVILEGED";

std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> parts;
  std::istringstream in{std::string(text)};
  for (std::string one; std::getline(in, one, at);)
    if (!one.empty()) parts.push_back(one);
  return parts;
}

std::string joined(const std::vector<std::string>& parts, std::string_view between) {
  return parts.empty() ? "-" : fmt::format("{}", fmt::join(parts, between));
}

/// One container, looked at as far as it is asked for.
class Row {
 public:
  Row(const std::string& lxcpath, const std::string& name) : place_(lxcpath, name) {
    if (const auto state = place_.state()) state_ = *state;
    if (!place_.defined()) return;
    auto config = lxc::Configuration::load(HostPath(place_.config_file()));
    if (config) config_ = std::move(*config);
  }
  /// Nothing where who has the name does not say.
  [[nodiscard]] std::optional<State> state() const { return state_; }
  [[nodiscard]] bool defined() const { return place_.defined(); }
  [[nodiscard]] const std::string& name() const { return place_.name(); }
  [[nodiscard]] std::vector<std::string> groups() const { return split(item("lxc.group"), '\n'); }

  [[nodiscard]] std::string cell(std::string_view column) {
    if (column == "NAME") return name();
    if (column == "STATE") return state_ ? std::string(to_string(*state_)) : "-";
    if (column == "AUTOSTART") return item("lxc.start.auto") == "1" ? "1" : "0";
    if (column == "GROUPS") return joined(groups(), ",");
    if (column == "UNPRIVILEGED") return item("lxc.idmap").empty() ? "false" : "true";
    if (!state_ || state_ == State::stopped) return "-";
    if (column == "RAM" || column == "SWAP") return memory(column == "RAM");
    const auto pid = place_.client().init_pid();
    if (!pid) return "-";
    if (column == "PID") return std::to_string(pid->value);
    return network(pid->value, column);
  }

 private:
  [[nodiscard]] std::string item(const char* key) const {
    const auto value = config_ ? config_->get(key) : Result<std::optional<std::string>>();
    return value ? value->value_or("") : "";
  }
  [[nodiscard]] std::string memory(bool ram) const {
    const Usage u = usage_of(place_.client());
    constexpr double mega = 1024.0 * 1024.0;
    return fmt::format("{:.2f}MB",
                       static_cast<double>((ram ? u.memory : u.swap).value_or(0)) / mega);
  }
  [[nodiscard]] std::string network(int pid, std::string_view column) {
    if (!addresses_) addresses_ = addresses_of(pid, true);
    std::vector<std::string> found;
    for (const Address& a : *addresses_) {
      if (column == "INTERFACE" && std::ranges::find(found, a.interface) == found.end())
        found.push_back(a.interface);
      if (column != "INTERFACE" && !a.address.empty() && a.v6 == (column == "IPV6"))
        found.push_back(a.address);
    }
    return joined(found, ", ");
  }

  Place place_;
  std::optional<State> state_;
  std::optional<lxc::Configuration> config_;
  std::optional<std::vector<Address>> addresses_;
};

class Filter {
 public:
  /// False, and it was said, for an expression that is none: no name matches it.
  bool begin(const Arguments& args) {
    args_ = &args;
    groups_ = split(args.value("groups"), ',');
    if (!args.has("filter")) return true;
    const int error = ::regcomp(&regex_, args.value("filter").c_str(), REG_EXTENDED | REG_NOSUB);
    if (error == 0) {
      has_regex_ = true;
      return true;
    }
    char text[128];
    ::regerror(error, &regex_, text, sizeof text);
    say("--filter={}: {}", args.value("filter"), text);
    return false;
  }
  Filter() = default;
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;
  ~Filter() {
    if (has_regex_) ::regfree(&regex_);
  }
  [[nodiscard]] bool name(const std::string& name) const {
    return !has_regex_ || ::regexec(&regex_, name.c_str(), 0, nullptr, 0) == 0;
  }
  [[nodiscard]] bool takes(const Row& row) const {
    const std::optional<State> s = row.state();
    const bool any = args_->has("active") || args_->has("running") || args_->has("frozen") ||
                     args_->has("stopped");
    const bool wanted = !any || (args_->has("active") && s != State::stopped) ||
                        (args_->has("running") && s == State::running) ||
                        (args_->has("frozen") && s == State::frozen) ||
                        (args_->has("stopped") && s == State::stopped);
    if (!wanted || (args_->has("defined") && !row.defined())) return false;
    const auto has = row.groups();
    return std::ranges::all_of(
        groups_, [&](const std::string& g) { return std::ranges::find(has, g) != has.end(); });
  }
  /// Nothing is asked of the containers themselves.
  [[nodiscard]] bool by_name_alone() const {
    for (const char* one : {"active", "running", "frozen", "stopped", "defined", "groups"})
      if (args_->has(one)) return false;
    return true;
  }

 private:
  const Arguments* args_ = nullptr;
  std::vector<std::string> groups_;
  regex_t regex_{};
  bool has_regex_ = false;
};

int table(std::vector<Row>& rows, const std::vector<std::string>& shown) {
  std::vector<std::vector<std::string>> lines = {shown};
  for (Row& row : rows) {
    std::vector<std::string> line;
    line.reserve(shown.size());
    for (const std::string& column : shown) line.push_back(row.cell(column));
    lines.push_back(std::move(line));
  }
  std::vector<std::size_t> width(shown.size());
  for (std::size_t i = 0; i < shown.size(); ++i) {
    constexpr std::size_t of_memory = 6;
    if (shown[i] == "RAM" || shown[i] == "SWAP") width[i] = of_memory;
    for (const auto& line : lines) width[i] = std::max(width[i], line[i].size());
  }
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) fmt::print("{:<{}} ", line[i], width[i]);
    fmt::print("\n");
  }
  return 0;
}

int run(const Arguments& args) {
  const auto path = lxcpath_of(args);
  Filter filter;
  if (!path) return 1;
  if (!filter.begin(args)) return 0;
  const bool fancy = args.has("fancy");
  std::vector<std::string> shown =
      split(args.has("fancy-format") ? args.value("fancy-format") : usual, ',');
  for (std::string& one : shown) {
    const auto* const column = std::ranges::find_if(
        columns, [&](std::string_view c) { return ::strcasecmp(c.data(), one.c_str()) == 0; });
    if (column == std::end(columns)) {
      // LXC's status for it.
      if (!fancy) break;
      say("there is no column '{}'; {}", one, fmt::join(columns, ", "));
      return 0;
    }
    one = *column;
  }
  std::set<std::string> names;
  for (auto& name : defined_names(*path)) names.insert(std::move(name));
  for (auto& name : active_names(*path)) names.insert(std::move(name));
  std::erase_if(names, [&](const std::string& name) { return !filter.name(name); });
  std::vector<Row> rows;
  if (fancy || !filter.by_name_alone()) {
    for (const std::string& name : names)
      if (Row row(*path, name); filter.takes(row)) rows.push_back(std::move(row));
    names.clear();
    for (const Row& row : rows) names.insert(row.name());
  }
  if (fancy) return rows.empty() ? 0 : table(rows, shown);
  if (names.empty()) return 0;
  std::size_t width = std::string_view("NAME").size();
  for (const std::string& name : names) width = std::max(width, name.size());
  if (args.has("line")) {
    for (const std::string& name : names) fmt::print("{}\n", name);
    return 0;
  }
  // In columns for a terminal; else one a line, as wide, as LXC does.
  const auto size = window_size(FdView(1));
  const std::size_t each = size ? width + 2 : width;
  const std::size_t a_line = size ? std::max<std::size_t>(1, size->columns / each) : 1;
  std::size_t n = 0;
  for (const std::string& name : names) {
    fmt::print("{:<{}}", name, each);
    if (++n % a_line == 0 || n == names.size()) fmt::print("\n");
  }
  return 0;
}

}  // namespace

const Tool lxc_ls = {
    .name = "lxc-ls",
    .synopsis = "[-1 | -f [-F COLUMNS]] [--active] [--running] [--frozen] [--stopped] [-g GROUPS]",
    .brief = "Lists containers: those that have a configuration, and those that run.",
    .options = options,
    .names = Tool::none,
    .run = &run,
};
