// lxc-ls: which containers there are.
#include <fmt/format.h>
#include <regex.h>
#include <strings.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <condroid/sys/pty.hpp>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <sstream>
#include <utility>

#include "inside.hpp"
#include "place.hpp"
#include "say.hpp"
#include "storage.hpp"
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
    {0, "nesting", "NUM", "Those inside of these, too, down to NUM levels, or 5", Option::optional},
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
  /// `asked`: else it is somewhere where nobody runs.
  Row(const std::string& lxcpath, const std::string& name, bool asked) : place_(lxcpath, name) {
    if (!asked)
      state_ = State::stopped;
    else if (const auto state = place_.state())
      state_ = *state;
    if (!place_.defined()) return;
    auto config = lxc::Configuration::load(HostPath(place_.config_file()));
    if (config) config_ = std::move(*config);
  }
  /// Nothing where who has the name does not say.
  [[nodiscard]] std::optional<State> state() const { return state_; }
  [[nodiscard]] bool defined() const { return place_.defined(); }
  [[nodiscard]] const std::string& name() const { return place_.name(); }
  [[nodiscard]] const Place& place() const { return place_; }
  /// The directory that is its root file system; empty for another kind of that.
  [[nodiscard]] std::string root() const {
    const Storage s = config_ ? Storage::of(*config_) : Storage{};
    return s.kind == Storage::directory ? s.path : "";
  }
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
    // One word is an expression, too.
    const bool said = args.has("filter");
    if (!said && args.words().size() != 1) return true;
    const std::string text = said ? args.value("filter") : args.words()[0];
    const int error = ::regcomp(&regex_, text.c_str(), REG_EXTENDED | REG_NOSUB);
    if (error == 0) {
      has_regex_ = true;
      return true;
    }
    char why[128];
    ::regerror(error, &regex_, why, sizeof why);
    say("--filter={}: {}", text, why);
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

/// What is shown of one.
struct Entry {
  std::size_t level = 0;  ///< In so many others.
  std::string name = {};
  std::vector<std::string> cells = {};
};

/// For a pipe: neither names nor what is told of containers have a 0 byte.
std::string packed(const std::vector<Entry>& entries) {
  std::string text;
  const auto add = [&text](std::string_view field) { (text += field) += '\0'; };
  for (const Entry& e : entries) {
    add(std::to_string(e.level));
    add(e.name);
    for (const std::string& cell : e.cells) add(cell);
  }
  return text;
}

/// The containers of a path and, if that is asked for, what is in them.
class Finder {
 public:
  Finder(const Filter& filter, std::string lxcpath, std::size_t levels, bool line,
         const std::vector<std::string>* shown)
      : filter_(filter),
        lxcpath_(std::move(lxcpath)),
        levels_(levels),
        whole_names_(line || shown == nullptr),
        shown_(shown) {}

  /// `sockets` as for InsideWork, `above` the name of the one that it is in.
  [[nodiscard]] std::vector<Entry> find(std::size_t level, const std::string& above,
                                        const std::optional<std::string>& sockets) const {
    std::set<std::string> names;
    for (auto& name : defined_names(lxcpath_)) names.insert(std::move(name));
    if (sockets)
      for (auto& name : active_names(lxcpath_, *sockets)) names.insert(std::move(name));
    std::erase_if(names, [&](const std::string& name) { return !filter_.name(name); });
    std::vector<Entry> found;
    for (const std::string& name : names) {
      Entry e{level, whole_names_ && !above.empty() ? fmt::format("{}/{}", above, name) : name, {}};
      if (shown_ == nullptr && levels_ == 0 && filter_.by_name_alone()) {
        found.push_back(std::move(e));
        continue;
      }
      Row row(lxcpath_, name, sockets.has_value());
      if (!filter_.takes(row)) continue;
      if (shown_ != nullptr)
        for (const std::string& column : *shown_)
          e.cells.push_back(column == "NAME" ? e.name : row.cell(column));
      const std::string whole = e.name;
      found.push_back(std::move(e));
      if (level < levels_) add_inner(row, level + 1, whole, found);
    }
    return found;
  }

 private:
  void add_inner(const Row& row, std::size_t level, const std::string& above,
                 std::vector<Entry>& found) const {
    const auto work = [&](const std::optional<std::string>& sockets) {
      return packed(find(level, above, sockets));
    };
    std::optional<std::string> text;
    if (row.state() == State::stopped) {
      if (const std::string root = row.root(); !root.empty())
        text = ask_below(row.place(), root, work);
    } else if (row.state() && row.state() != State::frozen) {
      // Of one that is frozen nobody inside would answer.
      text = ask_inside(row.place(), work);
    }
    const std::size_t cells = shown_ == nullptr ? 0 : shown_->size();
    std::istringstream in(text.value_or(""));
    for (std::string field; std::getline(in, field, '\0');) {
      Entry e{std::strtoul(field.c_str(), nullptr, 10), {}, std::vector<std::string>(cells)};
      std::getline(in, e.name, '\0');
      for (std::string& cell : e.cells) std::getline(in, cell, '\0');
      // What a container calls its own is not for this terminal to obey.
      const auto tame = [](std::string& words) {
        std::ranges::replace_if(
            words, [](unsigned char c) { return std::iscntrl(c) != 0; }, '?');
      };
      tame(e.name);
      std::ranges::for_each(e.cells, tame);
      found.push_back(std::move(e));
    }
  }

  const Filter& filter_;
  std::string lxcpath_;
  std::size_t levels_;
  bool whole_names_;
  const std::vector<std::string>* shown_;
};

int table(const std::vector<Entry>& rows, const std::vector<std::string>& shown) {
  std::vector<std::vector<std::string>> lines = {shown};
  for (const Entry& row : rows) lines.push_back(row.cells);
  std::vector<std::size_t> width(shown.size());
  for (std::size_t i = 0; i < shown.size(); ++i) {
    constexpr std::size_t of_memory = 6;
    if (shown[i] == "RAM" || shown[i] == "SWAP") width[i] = of_memory;
    for (std::size_t j = 0; j < lines.size(); ++j) {
      std::string& cell = lines[j][i];
      const std::size_t level = j == 0 || shown[i] != "NAME" ? 0 : rows[j - 1].level;
      if (level > 0) cell = fmt::format("{:>{}}{}", '\\', level, cell);
      width[i] = std::max(width[i], cell.size());
    }
  }
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) fmt::print("{:<{}} ", line[i], width[i]);
    fmt::print("\n");
  }
  return 0;
}

/// LXC's number: without one, or for a word that is none, five.
std::size_t levels_of(const Arguments& args) {
  if (!args.has("nesting")) return 0;
  constexpr std::size_t usual_levels = 5;
  const std::string text = args.value("nesting");
  char* end = nullptr;
  errno = 0;
  const unsigned long n = std::strtoul(text.c_str(), &end, 0);
  const bool is_number = !text.empty() && text[0] != '-' && *end == '\0' && errno == 0;
  return is_number && n <= UINT32_MAX ? n : usual_levels;
}

int run(const Arguments& args) {
  const auto path = lxcpath_of(args);
  Filter filter;
  if (!path) return 1;
  if (!filter.begin(args)) return 0;
  if (levels_of(args) > 0) leave_own_file();
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
  const auto found =
      Finder(filter, *path, levels_of(args), args.has("line"), fancy ? &shown : nullptr)
          .find(0, "", sockets_here());
  if (found.empty()) return 0;
  if (fancy) return table(found, shown);
  if (args.has("line")) {
    for (const Entry& e : found) fmt::print("{}\n", e.name);
    return 0;
  }
  std::size_t width = std::string_view("NAME").size();
  for (const Entry& e : found) width = std::max(width, e.name.size() + e.level);
  // In columns for a terminal; else one a line, as wide, as LXC does.
  const auto size = window_size(FdView(1));
  const std::size_t each = size ? width + 2 : width;
  const std::size_t a_line = size ? std::max<std::size_t>(1, size->columns / each) : 1;
  std::size_t n = 0;
  for (const Entry& e : found) {
    fmt::print("{:<{}}", e.name, each);
    if (++n % a_line == 0 || n == found.size()) fmt::print("\n");
  }
  return 0;
}

}  // namespace

const Tool lxc_ls = {
    .name = "lxc-ls",
    .synopsis =
        "[-1 | -f [-F COLUMNS]] [--active] [--running] [--frozen] [--stopped] [--nesting[=NUM]]\n"
        "              [-g GROUPS] [--filter=REGEX | REGEX]",
    .brief = "Lists containers: those that have a configuration, and those that run.",
    .options = options,
    .names = Tool::none,
    .run = &run,
};
