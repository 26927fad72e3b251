// A host report in words and as JSON.

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "condroid/host.hpp"
#include "formatted.hpp"
#include "launch/json.hpp"

namespace condroid {
inline namespace v0 {

using detail::json_text;

std::string_view to_string(Finding::Outcome outcome) noexcept {
  switch (outcome) {
    case Finding::works:
      return "works";
    case Finding::refused:
      return "refused";
    case Finding::fails:
      return "fails";
    case Finding::unknown:
      return "unknown";
  }
  return "unknown";
}

bool HostReport::can_launch() const noexcept {
  const Finding* plain = find("launch.plain");
  return plain != nullptr && plain->outcome == Finding::works;
}

const Finding* HostReport::find(std::string_view id) const noexcept {
  const auto found = std::ranges::find(findings, id, &Finding::id);
  return found == findings.end() ? nullptr : &*found;
}

namespace {

/// What a terminal would take for more than text is not shown: some of it comes from programs.
std::string printable(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  return out;
}

/// Text in lines of at most `width`; the first begins with `first`, the others with as many blanks.
void wrap(std::string& out, std::string_view first, const std::string& text, std::size_t width) {
  const std::size_t room = width > first.size() + 8 ? width - first.size() : 8;
  std::string_view rest = text;
  std::string_view begin = first;
  const std::string blanks(first.size(), ' ');
  while (!rest.empty()) {
    std::size_t end = rest.size();
    if (end > room) {
      end = rest.rfind(' ', room);
      if (end == rest.npos || end == 0) end = room;
    }
    out.append(begin).append(rest.substr(0, end)) += '\n';
    rest.remove_prefix(end);
    while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
    begin = blanks;
  }
}

class Table {
 public:
  Table(const HostReport& report, TextStyle style)
      : report_(report), style_(style), width_(std::max(style.width, 40U)) {}

  std::string operator()() {
    wrap(out_, "",
         formatted("Linux {} on {}, as {}", printable(report_.kernel), printable(report_.machine),
                   report_.user.empty() ? formatted("user {}", report_.uid.value)
                                        : printable(report_.user)),
         width_);
    std::string_view group;
    std::array<std::size_t, 4> counts{};
    for (const Finding& f : report_.findings) {
      ++counts[std::min<std::size_t>(f.outcome, counts.size() - 1)];
      if (style_.problems && f.outcome == Finding::works) continue;
      if (f.group != group) {
        group = f.group;
        out_ += '\n';
        out_ += paint("1", printable(f.group)) + '\n';
      }
      add(f);
    }
    out_ += '\n';
    std::string sum = formatted("{} work", counts[0]);
    for (std::size_t i = 1; i < counts.size(); ++i)
      if (counts[i] != 0)
        sum += formatted(", {} {}", counts[i], i == 1 ? "refused" : i == 2 ? "fail" : "unknown");
    wrap(out_, "", formatted("{}; {} ms", sum, report_.elapsed.count()), width_);
    const bool can = report_.can_launch();
    std::string verdict;
    wrap(verdict, "",
         can ? "plain containers can be launched"
             : "plain containers cannot be launched: see the first lines",
         width_);
    verdict.pop_back();
    out_ += paint(can ? "32" : "31", verdict) + '\n';
    return std::move(out_);
  }

 private:
  [[nodiscard]] std::string paint(std::string_view how, std::string text) const {
    return style_.colour ? formatted("\x1b[{}m{}\x1b[0m", how, text) : text;
  }
  [[nodiscard]] static std::string_view colour_of(Finding::Outcome outcome) {
    switch (outcome) {
      case Finding::works:
        return "32";
      case Finding::refused:
        return "33";
      case Finding::fails:
        return "31";
      case Finding::unknown:
        return "35";
    }
    return "0";
  }

  void add(const Finding& f) {
    const std::size_t column = std::min<std::size_t>(46, width_ - 12);
    const std::string what = printable(f.what), why = printable(f.why);
    const std::string word(to_string(f.outcome));
    if (what.size() + 3 + word.size() <= width_) {
      out_ += formatted("  {:<{}} ", what, column - 3);
    } else {
      wrap(out_, "  ", what, width_);
      out_ += std::string(column, ' ');
    }
    out_ += paint(colour_of(f.outcome), word);
    const bool beside = f.outcome == Finding::works && !why.empty() &&
                        std::max(what.size() + 3, column) + 8 + why.size() <= width_;
    if (beside) out_ += std::string(8 - word.size(), ' ') + why;
    out_ += '\n';
    if (!beside) wrap(out_, "      ", why, width_);
    wrap(out_, "      try: ", printable(f.mend), width_);
  }

  const HostReport& report_;
  TextStyle style_;
  std::size_t width_;
  std::string out_;
};

}  // namespace

std::string to_text(const HostReport& report, TextStyle style) { return Table(report, style)(); }

std::string to_json(const HostReport& report) {
  std::string out = formatted(
      "{{\n  \"kernel\": \"{}\",\n  \"machine\": \"{}\",\n  \"uid\": {},\n  \"user\": \"{}\",\n"
      "  \"can_launch\": {},\n  \"elapsed_ms\": {},\n  \"findings\": [",
      json_text(report.kernel), json_text(report.machine), report.uid.value, json_text(report.user),
      report.can_launch(), report.elapsed.count());
  const char* between = "\n";
  for (const Finding& f : report.findings) {
    out += formatted(
        "{}    {{\"id\": \"{}\", \"group\": \"{}\", \"what\": \"{}\", \"outcome\": \"{}\", "
        "\"why\": \"{}\", \"mend\": \"{}\"}}",
        between, json_text(f.id), json_text(f.group), json_text(f.what), to_string(f.outcome),
        json_text(f.why), json_text(f.mend));
    between = ",\n";
  }
  return out + "\n  ]\n}\n";
}

}  // namespace v0
}  // namespace condroid
