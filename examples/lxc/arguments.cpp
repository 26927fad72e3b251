#include <fmt/format.h>
#include <getopt.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>

#include "say.hpp"
#include "tool.hpp"

namespace {

constexpr int first_long = 256;

struct Table {
  std::vector<Option> rows;
  std::string letters;
  std::vector<std::string> names;
  std::vector<option> longs;

  explicit Table(const Tool& tool);
  [[nodiscard]] const Option* find(int value) const;
};

constexpr Option common[] = {
    {'o', "logfile", "FILE", "Append messages to FILE, too"},
    {'l', "logpriority", "LEVEL", "Log from LEVEL on: TRACE, DEBUG, INFO, NOTICE, WARN, ERROR"},
    {'q', "quiet", "", "Say nothing on the terminal"},
    {'P', "lxcpath", "PATH", "Look for containers in PATH"},
    {'?', "help", "", "Print this help"},
    {0, "usage", "", "Print the first line of it"},
    {0, "version", "", "Print the version"},
};
constexpr Option named[] = {
    {'n', "name", "NAME", "NAME of the container; else the first word that is no option"},
};

Table::Table(const Tool& tool) {
  if (tool.names == Tool::one) rows.assign(std::begin(named), std::end(named));
  rows.insert(rows.end(), tool.options.begin(), tool.options.end());
  const std::size_t own = rows.size();
  bool has_rcfile = false, has_h = false;
  for (const Option& o : rows) {
    has_rcfile = has_rcfile || o.name == "rcfile" || o.name == "template";
    has_h = has_h || o.letter == 'h';
  }
  if (tool.names == Tool::one && !has_rcfile)
    rows.push_back(
        {0, "rcfile", "FILE", "Read FILE in the place of the container's configuration"});
  for (Option o : common) {
    // A letter of the program's own is that one's.
    for (std::size_t i = 0; i < own; ++i)
      if (rows[i].letter == o.letter) o.letter = 0;
    rows.push_back(o);
  }
  letters = ":";
  for (const Option& o : rows) names.emplace_back(o.name);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Option& o = rows[i];
    const int takes = o.argument.empty()           ? no_argument
                      : o.kind == Option::optional ? optional_argument
                                                   : required_argument;
    longs.push_back({names[i].c_str(), takes, nullptr, first_long + static_cast<int>(i)});
    if (o.letter == 0 || o.letter == '?') continue;
    letters += o.letter;
    letters.append(static_cast<std::size_t>(takes), ':');
  }
  if (!has_h) letters += 'h';
  longs.push_back({});
}

const Option* Table::find(int value) const {
  if (value >= first_long) return &rows[static_cast<std::size_t>(value - first_long)];
  for (const Option& o : rows)
    if (o.letter == value) return &o;
  return nullptr;
}

std::string spelled(const Option& o) {
  std::string text = o.letter != 0 ? fmt::format("-{}, ", o.letter) : "    ";
  text += fmt::format("--{}", o.name);
  if (!o.argument.empty())
    text += o.kind == Option::optional ? fmt::format("[={}]", o.argument)
                                       : fmt::format("={}", o.argument);
  return text;
}

/// Words of `text` in lines of at most `width`, each after the first indented.
std::string folded(std::string_view text, std::size_t indent, std::size_t width) {
  std::string out;
  std::size_t column = indent;
  while (!text.empty()) {
    const std::size_t end = text.find(' ');
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    if (column > indent && column + word.size() + 1 > width) {
      out += '\n' + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out;
}

int wrong(const Tool& tool, const std::string& what) {
  fmt::print(stderr, "{}: {}; {} --help tells them\n", tool.name, what, tool.name);
  return 1;
}

}  // namespace

std::optional<Arguments> Arguments::read(const Tool& tool, int argc, char** argv, int& status) {
  const Table table(tool);
  Arguments args;
  opterr = 0;
  status = 1;
  bool wants_help = false;
  for (;;) {
    const int before = optind;
    const int got = ::getopt_long(argc, argv, table.letters.c_str(), table.longs.data(), nullptr);
    if (got == -1) break;
    if (got == 'h' && table.find('h') == nullptr) {
      wants_help = true;
      continue;
    }
    if (got == '?' && optopt == '?') {
      wants_help = true;
      continue;
    }
    if (got == '?' || got == ':') {
      const char* const word = argv[optopt == 0 || optopt >= first_long ? optind - 1 : before];
      const std::string shown = optopt == 0 || optopt >= first_long
                                    ? word
                                    : fmt::format("-{}", static_cast<char>(optopt));
      status = wrong(tool, got == ':' ? fmt::format("option '{}' needs an argument", shown)
                                      : fmt::format("unknown option '{}'", shown));
      return {};
    }
    const Option* const o = table.find(got);
    if (o == nullptr) continue;
    args.given_[o->name].emplace_back(optarg == nullptr ? "" : optarg);
  }
  for (int i = optind; i < argc; ++i) args.words_.emplace_back(argv[i]);
  status = 0;
  if (wants_help || args.has("help")) {
    fmt::print("{}", help(tool));
    return {};
  }
  if (args.has("usage")) {
    fmt::print("Usage: {} {}\n", tool.name, tool.synopsis);
    return {};
  }
  if (args.has("version")) {
    fmt::print("{}\n", lxc_version);
    return {};
  }
  if (!tool.many_paths && args.values("lxcpath").size() > 1) {
    status = wrong(tool, "--lxcpath may be said once");
    return {};
  }
  if (tool.names == Tool::one) {
    args.container_ = args.value("name");
    if (args.container_.empty() && !args.words_.empty()) {
      args.container_ = args.words_.front();
      args.words_.erase(args.words_.begin());
    }
    if (args.container_.empty()) {
      fmt::print(stderr, "{}: no container is named; use -n NAME\n", tool.name);
      status = 1;
      return {};
    }
  }
  if (!begin_saying(tool.name, args)) {
    status = 1;
    return {};
  }
  return args;
}

std::string Arguments::value(std::string_view option) const {
  const auto found = given_.find(option);
  return found == given_.end() ? std::string() : found->second.back();
}

std::vector<std::string> Arguments::values(std::string_view option) const {
  const auto found = given_.find(option);
  return found == given_.end() ? std::vector<std::string>() : found->second;
}

std::optional<long> Arguments::number(std::string_view option, long otherwise) const {
  if (!has(option)) return otherwise;
  const std::string text = value(option);
  long n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error == std::errc{} && end == text.data() + text.size()) return n;
  say("--{}={}: that is no whole number", option, text);
  return {};
}

std::vector<Option> options_of(const Tool& tool) { return Table(tool).rows; }

std::string help(const Tool& tool) {
  constexpr std::size_t column = 32, width = 100;
  const Table table(tool);
  std::string text = fmt::format("Usage: {} {}\n\n{}\n\nOptions:\n", tool.name, tool.synopsis,
                                 folded(tool.brief, 0, width));
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const Option& o = table.rows[i];
    if (i + std::size(common) == table.rows.size()) text += "\nCommon options:\n";
    std::string line = "  " + spelled(o);
    if (line.size() + 2 > column) {
      text += line + '\n';
      line.clear();
    }
    line.resize(column, ' ');
    text += line + folded(o.help, column, width) + '\n';
  }
  if (!tool.more.empty()) text += fmt::format("\n{}\n", tool.more);
  text +=
      "\nOptions and words may be mixed; \"--\" ends the options. An argument of a long option is "
      "that "
      "of its\nletter, too.\n";
  return text;
}
