
#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>

#include "condroid/container.hpp"
#include "formatted.hpp"
#include "launch/json.hpp"

namespace condroid::inline v0 {

namespace {

using detail::json_text;

constexpr std::array<std::string_view, 3> actors = {"host", "zygote", "child"};

std::size_t row_of(std::string_view actor) {
  const auto* found = std::find(actors.begin(), actors.end(), actor);
  return static_cast<std::size_t>(found - actors.begin());
}

double micros(std::chrono::nanoseconds t) { return static_cast<double>(t.count()) / 1000.0; }

std::string xml_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += byte >= 0x20 && byte < 0x7f ? c : '?';
    }
  }
  return out;
}

std::string label_of(const Timeline::Entry& e) {
  std::string label(to_string(e.step));
  if (!e.object.empty()) label += ": " + e.object;
  return label;
}

}  // namespace

std::string Timeline::chrome_json() const {
  std::string out = "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n";
  append_formatted(
      out,
      "{{\"ph\":\"M\",\"pid\":1,\"tid\":0,\"name\":\"process_name\",\"args\":{{\"name\":"
      "\"launch of {}\"}}}}",
      json_text(name));
  for (std::size_t i = 0; i < actors.size(); ++i)
    append_formatted(out,
                     ",\n{{\"ph\":\"M\",\"pid\":1,\"tid\":{},\"name\":\"thread_name\",\"args\":{{"
                     "\"name\":\"{}\"}}}}",
                     i + 1, actors[i]);
  for (const Entry& e : entries)
    fmt::format_to(
        std::back_inserter(out),
        ",\n{{\"ph\":\"X\",\"pid\":1,\"tid\":{},\"ts\":{:.3f},\"dur\":{:.3f},\"name\":\"{}\","
        "\"args\":{{\"op\":{},\"object\":\"{}\"}}}}",
        row_of(e.actor) + 1, micros(e.begin), micros(e.end - e.begin), json_text(to_string(e.step)),
        e.op, json_text(e.object));
  out += "\n]}\n";
  return out;
}

std::string Timeline::svg() const {
  constexpr int row_height = 18;
  constexpr int left = 60;
  constexpr int plot = 520;  // all of the launch
  constexpr int text = 560;  // room for labels right of the bars
  constexpr int head = 46;
  const double all = std::max(micros(total), 1.0);
  const auto x = [&](std::chrono::nanoseconds t) { return left + micros(t) / all * plot; };
  const int height = head + static_cast<int>(entries.size()) * row_height + 12;

  std::string out;
  const auto put = std::back_inserter(out);
  fmt::format_to(put,
                 "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
                 "viewBox=\"0 0 {0} {1}\" "
                 "font-family=\"sans-serif\" font-size=\"11\">\n"
                 "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
                 "<text x=\"10\" y=\"16\" font-size=\"13\" fill=\"#202020\">launch of {2}: {3:.0f} "
                 "us</text>\n",
                 left + plot + text, height, xml_text(name), micros(total));
  // Ticks at a round distance, about five of them.
  double tick = 1;
  for (const double step :
       {1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 1e5, 1e6, 1e7})
    if (all / step >= 4) tick = step;
  for (int n = 0; n * tick <= all; ++n) {
    const double t = n * tick;
    fmt::format_to(
        put,
        "<line x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2}\" stroke=\"#e4e4e4\"/>"
        "<text x=\"{0:.1f}\" y=\"{3}\" fill=\"#707070\" text-anchor=\"middle\">{4:.0f}</text>\n",
        left + t / all * plot, head - 8, height - 8, head - 12, t);
  }
  static constexpr std::array<std::string_view, 4> colours = {"#4878a8", "#c08830", "#5a9a5a",
                                                              "#909090"};
  int y = head;
  for (const Entry& e : entries) {
    const double width = std::max(x(e.end) - x(e.begin), 1.0);
    fmt::format_to(put,
                   "<text x=\"10\" y=\"{0}\" fill=\"#707070\">{1}</text>"
                   "<rect x=\"{2:.1f}\" y=\"{3}\" width=\"{4:.1f}\" height=\"{5}\" fill=\"{6}\"/>"
                   "<text x=\"{7:.1f}\" y=\"{0}\" fill=\"#202020\">{8}</text>\n",
                   y + 12, xml_text(e.actor), x(e.begin), y + 3, width, row_height - 6,
                   colours[row_of(e.actor)], x(e.begin) + width + 5,
                   xml_text(formatted("{:.0f} us  {}", micros(e.end - e.begin), label_of(e))));
    y += row_height;
  }
  out += "</svg>\n";
  return out;
}

}  // namespace condroid::inline v0
