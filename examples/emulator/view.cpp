#include "view.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <condroid/sys/pty.hpp>
#include <cstdio>
#include <iterator>
#include <string_view>

using namespace condroid;
using android::Stage;
using std::chrono::nanoseconds;

namespace {

constexpr std::array<Stage, 6> ladder = {Stage::spawned,          Stage::second_stage,
                                         Stage::property_service, Stage::servicemanager,
                                         Stage::zygote,           Stage::boot_completed};
constexpr std::array<std::string_view, 6> titles = {"spawned", "stage-2", "props",
                                                    "svcmgr",  "zygote",  "boot"};
// What comes after each rung, the first before any.
constexpr std::array<std::string_view, 6> colours = {"#b8c4d0", "#9ab8d8", "#6f9cc8",
                                                     "#4878a8", "#c08830", "#5a9a5a"};

double seconds(nanoseconds t) { return std::chrono::duration<double>(t).count(); }

std::string size_text(std::uint64_t bytes) {
  const double mib = static_cast<double>(bytes) / (1U << 20U);
  return mib < 1024 ? fmt::format("{:.1f}M", mib) : fmt::format("{:.1f}G", mib / 1024);
}

/// What a guest says, without what a terminal would take for more than text.
std::string plain(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte >= ' ' && byte < 0x7f ? c : '?';
  }
  return out;
}

std::string xml(std::string_view text) {
  std::string out;
  for (const char c : plain(text)) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else
      out += c;
  }
  return out;
}

std::string end_of(const Guest& g) {
  if (g.error) return to_string(*g.error);
  if (!g.exit) return "given up before it ran";
  std::string text = to_string(*g.exit);
  constexpr std::array<std::string_view, 5> asks = {"", "shutdown", "reboot", "recovery",
                                                    "bootloader"};
  if (g.boot.asks() != android::Asks::nothing)
    text += fmt::format(", asked for {}", asks[static_cast<std::size_t>(g.boot.asks())]);
  for (const std::string& e : g.exit->cleanup_errors) text += "; " + e;
  return text;
}

std::string advice_text(const android::Advice& a) {
  return plain(fmt::format("{}: {}; hint: {}", a.line, a.what, a.hint));
}

std::string svg_head(int width, int height, std::string_view font) {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
      "viewBox=\"0 0 {0} {1}\" font-family=\"{2}\" font-size=\"12\">\n",
      width, height, font);
}

}  // namespace

std::vector<std::string> table_of(const Emulator& all) {
  std::size_t width = 6;
  for (const Guest& g : all.guests()) width = std::max(width, g.name.size());
  std::string line = fmt::format("{:<{}}  {:<9} {:>7} {:>7} {:>5}", "DEVICE", width, "STATE",
                                 "SECONDS", "MEMORY", "CPU");
  for (const auto& title : titles) line += fmt::format(" {:>7}", title);
  std::vector<std::string> lines = {line};
  for (const Guest& g : all.guests()) {
    line = fmt::format("{:<{}}  {:<9} {:>7.1f}", g.name, width, to_string(g.state),
                       seconds(g.over.value_or(all.now()) - g.begun));
    line += fmt::format(
        " {:>7}", g.stats && g.stats->memory ? size_text(g.stats->memory->current.value) : "-");
    line += g.stats && g.stats->cpu ? fmt::format(" {:>4.0f}%", g.cpu * 100) : "     -";
    for (const Stage stage : ladder) {
      const auto found = std::ranges::find(g.boot.events(), stage, &android::BootEvent::stage);
      line += found == g.boot.events().end()
                  ? "       -"
                  : fmt::format(" {:>7.3f}", seconds(found->at - g.begun));
    }
    lines.push_back(line);
  }
  for (const Guest& g : all.guests()) {
    for (const android::Advice& a : g.boot.advice())
      lines.push_back(fmt::format("{}: {}", g.name, advice_text(a)));
    if (g.over) lines.push_back(fmt::format("{}: {}", g.name, end_of(g)));
  }
  return lines;
}

std::string table_svg(const Emulator& all) {
  const std::vector<std::string> lines = table_of(all);
  std::size_t columns = 80;
  for (const std::string& l : lines) columns = std::max(columns, l.size());
  std::string out = svg_head(static_cast<int>(static_cast<double>(columns) * 7.3) + 24,
                             static_cast<int>(lines.size()) * 18 + 20, "monospace");
  out += "<rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#1e2430\"/>\n";
  int y = 22;
  for (const std::string& l : lines) {
    out += fmt::format("<text x=\"12\" y=\"{}\" fill=\"{}\" xml:space=\"preserve\">{}</text>\n", y,
                       y == 22 ? "#8fb4dc" : "#e4e8ee", xml(l));
    y += 18;
  }
  return out + "</svg>\n";
}

std::string timeline_svg(const Emulator& all) {
  constexpr int left = 120, plot = 640, right = 60, row = 26, head = 64;
  const int height = head + static_cast<int>(all.guests().size()) * row + 16;
  nanoseconds last{1};
  for (const Guest& g : all.guests()) last = std::max(last, g.over.value_or(all.now()));
  const double span = seconds(last);
  const auto x = [&](nanoseconds t) { return left + seconds(t) / span * plot; };

  std::string out = svg_head(left + plot + right, height, "sans-serif");
  const auto put = std::back_inserter(out);
  out += "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
  constexpr int legend = 128;
  for (std::size_t i = 0; i < ladder.size(); ++i)
    fmt::format_to(put,
                   "<rect x=\"{0}\" y=\"8\" width=\"10\" height=\"10\" fill=\"{1}\"/>"
                   "<text x=\"{2}\" y=\"17\" fill=\"#202020\">{3}</text>\n",
                   10 + static_cast<int>(i) * legend, colours[i],
                   10 + static_cast<int>(i) * legend + 14, to_string(ladder[i]));
  // Ticks at a round distance, four to ten of them.
  double tick = std::pow(10.0, std::floor(std::log10(span)));
  for (const double part : {0.5, 0.2, 0.1})
    if (span / tick < 4) tick = std::pow(10.0, std::floor(std::log10(span))) * part;
  for (int n = 0; n * tick <= span; ++n)
    fmt::format_to(put,
                   "<line x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2}\" stroke=\"#e4e4e4\"/>"
                   "<text x=\"{0:.1f}\" y=\"{3}\" fill=\"#707070\" text-anchor=\"middle\">{4:g} s"
                   "</text>\n",
                   left + n * tick / span * plot, head - 8, height - 8, head - 14, n * tick);
  int y = head;
  const auto bar = [&](nanoseconds from, nanoseconds to, std::string_view colour,
                       const std::string& title) {
    fmt::format_to(put,
                   "<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" fill=\"{}\"><title>"
                   "{}</title></rect>\n",
                   x(from), y + 4, std::max(x(to) - x(from), 1.0), row - 10, colour, xml(title));
  };
  for (const Guest& g : all.guests()) {
    const nanoseconds end = g.over.value_or(all.now());
    fmt::format_to(put, "<text x=\"10\" y=\"{}\" fill=\"#202020\">{}</text>\n", y + 16,
                   xml(g.name));
    const auto& events = g.boot.events();
    bar(g.begun, events.empty() ? end : events.front().at, "#d8d8d8", "launch");
    for (std::size_t i = 0; i < events.size(); ++i)
      bar(events[i].at, i + 1 < events.size() ? events[i + 1].at : g.asked.value_or(end),
          colours[static_cast<std::size_t>(events[i].stage)],
          fmt::format("{}: {:.3f} s", to_string(events[i].stage), seconds(events[i].at - g.begun)));
    if (g.asked) bar(*g.asked, end, "#a05050", "stopping");
    y += row;
  }
  return out + "</svg>\n";
}

void View::show(const Emulator& all) {
  if (terminal_) return draw(all);
  for (const Guest& g : all.guests()) tell(g, said_[&g]);
  std::fflush(stdout);
}

void View::draw(const Emulator& all) {
  std::string out;
  if (drawn_ > 0) out += fmt::format("\x1b[{}A", drawn_);
  const auto window = window_size(FdView(STDOUT_FILENO));
  std::vector<std::string> lines = table_of(all);
  // What is above the screen could not be drawn again.
  const bool known = window && window->rows > 1 && window->columns > 0;
  if (known && lines.size() >= window->rows) lines.resize(window->rows - 1U);
  for (std::string& l : lines) {
    if (known && l.size() > window->columns) l.resize(window->columns);
    out += "\r\x1b[K" + l + "\n";
  }
  out += "\x1b[J";
  drawn_ = lines.size();
  fmt::print("{}", out);
  std::fflush(stdout);
}

void View::tell(const Guest& g, Said& said) {
  const auto line = [&](nanoseconds at, std::string_view what) {
    fmt::print("{} {:.3f} s: {}\n", g.name, seconds(at - g.begun), what);
  };
  if (g.lives != said.lives) said = {.lives = g.lives};
  if (g.launched && !said.launched) {
    line(*g.launched, g.lives == 0 ? "launched" : "launched again");
    said.launched = true;
  }
  for (; said.events < g.boot.events().size(); ++said.events) {
    const android::BootEvent& e = g.boot.events()[said.events];
    line(e.at, to_string(e.stage));
  }
  for (; said.advice < g.boot.advice().size(); ++said.advice)
    fmt::print("{}: {}\n", g.name, advice_text(g.boot.advice()[said.advice]));
  // Booting and booted the ladder tells, but for one that is thawed.
  if (g.state != said.state && !g.over) {
    if (g.state == State::frozen || g.state == State::stopping)
      fmt::print("{}: {}\n", g.name, to_string(g.state));
    else if (said.state == State::frozen)
      fmt::print("{}: thawed\n", g.name);
    said.state = g.state;
  }
  if (g.over && !said.over) {
    line(*g.over, end_of(g));
    said.over = true;
  }
}
