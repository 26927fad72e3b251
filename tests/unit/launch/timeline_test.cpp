// Timeline: the two forms in which others read it.
#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "catch.hpp"
#include "condroid/container.hpp"
#include "json.hpp"

namespace {

using condroid::Step;
using condroid::Timeline;
using condroid::test::Json;
using namespace std::chrono_literals;

/// An element of XML and what is in it; throws where it is not well-formed.
struct Xml {
  std::string name;
  std::map<std::string, std::string> attributes = {};
  std::string text = {};
  std::vector<Xml> children = {};

  static Xml parse(std::string_view in) {
    Xml root = element(in);
    if (in != "\n" && !in.empty()) throw std::runtime_error("something behind the root");
    return root;
  }

 private:
  static std::string entities(std::string_view raw) {
    std::string out;
    while (!raw.empty()) {
      const auto byte = static_cast<unsigned char>(raw[0]);
      if (raw[0] == '<' || raw[0] == '"') throw std::runtime_error("a raw delimiter");
      if ((byte < 0x20 && raw[0] != '\n') || byte >= 0x7f) throw std::runtime_error("a raw byte");
      if (raw[0] != '&') {
        out += raw[0];
        raw.remove_prefix(1);
        continue;
      }
      bool known = false;
      for (const auto& [entity, c] : {std::pair{"&amp;", '&'}, std::pair{"&lt;", '<'},
                                      std::pair{"&gt;", '>'}, std::pair{"&quot;", '"'}})
        if (raw.starts_with(entity)) {
          out += c;
          raw.remove_prefix(std::string_view(entity).size());
          known = true;
          break;
        }
      if (!known) throw std::runtime_error("an unknown entity");
    }
    return out;
  }
  static std::string_view until(std::string_view& in, std::string_view delimiters) {
    const std::size_t n = in.find_first_of(delimiters);
    if (n == std::string_view::npos) throw std::runtime_error("no end");
    const auto part = in.substr(0, n);
    in.remove_prefix(n);
    return part;
  }
  static void expect(std::string_view& in, std::string_view what) {
    if (!in.starts_with(what)) throw std::runtime_error("expected " + std::string(what));
    in.remove_prefix(what.size());
  }
  static Xml element(std::string_view& in) {
    expect(in, "<");
    Xml e{.name = std::string(until(in, " />"))};
    while (in.starts_with(' ')) {
      in.remove_prefix(1);
      const std::string name(until(in, "="));
      expect(in, "=\"");
      if (!e.attributes.emplace(name, entities(until(in, "\""))).second)
        throw std::runtime_error("an attribute twice");
      expect(in, "\"");
    }
    if (in.starts_with("/>")) {
      in.remove_prefix(2);
      return e;
    }
    expect(in, ">");
    for (;;) {
      e.text += entities(until(in, "<"));
      if (in.starts_with("</")) {
        in.remove_prefix(2);
        expect(in, e.name);
        expect(in, ">");
        return e;
      }
      e.children.push_back(element(in));
    }
  }
};

/// What a path or a name may be made of.
const std::string odd = "a\"b\\c<d>&e'\n\t\x01\x7f\xff</text>]]>";

Timeline sample() {
  return {.name = "box",
          .entries = {{0, Step::open_descriptor, "stdin", "host", 0us, 10us},
                      {3, Step::clone, "new namespaces", "zygote", 10us, 110us},
                      {4, Step::mount, odd, "child", 110us, 110500ns},
                      {5, Step::exec, "", "child", 110500ns, 250us}},
          .total = 250us};
}

std::vector<const Xml*> bars(const Xml& svg) {
  std::vector<const Xml*> list;
  for (const Xml& e : svg.children)
    if (e.name == "rect" && e.attributes.contains("x")) list.push_back(&e);
  return list;
}

}  // namespace

TEST_CASE("a timeline is a trace that a browser reads", "[launch]") {
  const Timeline t = sample();
  INFO(t.chrome_json());
  const Json trace = Json::parse(t.chrome_json());
  std::map<double, std::string> threads;
  std::vector<const Json*> spans;
  for (const Json& event : trace["traceEvents"].list()) {
    if (event["ph"].text() == "X") spans.push_back(&event);
    if (event["name"].text() == "thread_name")
      threads[event["tid"].number()] = event["args"]["name"].text();
    if (event["name"].text() == "process_name")
      CHECK(event["args"]["name"].text() == "launch of box");
  }
  REQUIRE(spans.size() == t.entries.size());
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const Timeline::Entry& e = t.entries[i];
    const Json& span = *spans[i];
    CHECK(threads.at(span["tid"].number()) == e.actor);
    CHECK(span["name"].text() == to_string(e.step));
    CHECK(span["args"]["op"].number() == static_cast<double>(e.op));
    // Microseconds.
    CHECK(span["ts"].number() * 1000 == Approx(static_cast<double>(e.begin.count())));
    CHECK(span["dur"].number() * 1000 == Approx(static_cast<double>((e.end - e.begin).count())));
  }
}

TEST_CASE("text in a trace comes back, but for bytes that are no ASCII", "[launch]") {
  Timeline t = sample();
  t.name = odd;
  const Json trace = Json::parse(t.chrome_json());
  const std::string wanted = "a\"b\\c<d>&e'\n\t\x01\?\?</text>]]>";
  bool seen = false;
  for (const Json& event : trace["traceEvents"].list()) {
    if (event["name"].text() == "process_name")
      CHECK(event["args"]["name"].text() == "launch of " + wanted);
    if (event["name"].text() == "mount") {
      CHECK(event["args"]["object"].text() == wanted);
      seen = true;
    }
  }
  CHECK(seen);
}

TEST_CASE("a timeline is a picture with one bar for each op", "[launch]") {
  Timeline t = sample();
  t.name = odd;
  INFO(t.svg());
  const Xml svg = Xml::parse(t.svg());
  CHECK(svg.name == "svg");
  CHECK(svg.attributes.at("xmlns") == "http://www.w3.org/2000/svg");
  const auto rows = bars(svg);
  REQUIRE(rows.size() == t.entries.size());
  const double width = std::stod(svg.attributes.at("width"));
  const double height = std::stod(svg.attributes.at("height"));
  double above = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto number = [&](const char* name) { return std::stod(rows[i]->attributes.at(name)); };
    CHECK(number("width") >= 1);
    CHECK(number("x") >= 0);
    CHECK(number("x") + number("width") <= width);
    CHECK(number("y") > above);
    CHECK(number("y") + number("height") <= height);
    above = number("y");
  }
  const auto width_of = [&](std::size_t i) { return std::stod(rows[i]->attributes.at("width")); };
  CHECK(width_of(1) == Approx(width_of(0) * 10).epsilon(0.02));
  // Actors have their colours.
  CHECK(rows[2]->attributes.at("fill") == rows[3]->attributes.at("fill"));
  CHECK(rows[0]->attributes.at("fill") != rows[1]->attributes.at("fill"));
  bool labelled = false;
  for (const Xml& e : svg.children)
    labelled = labelled || e.text.ends_with("mount: a\"b\\c<d>&e'\?\?\?\?\?</text>]]>");
  CHECK(labelled);
}

TEST_CASE("odd timelines are drawn, too", "[launch]") {
  for (const auto total : {0ns, 1ns, 999ns, 3600000000000ns}) {
    Timeline t{.name = "", .total = total};
    CHECK(Json::parse(t.chrome_json())["traceEvents"].list().size() == 4);
    CHECK(Xml::parse(t.svg()).name == "svg");
    t.entries = {{7, Step::mount, "x", "somebody else", 0ns, total}};
    CHECK(Json::parse(t.chrome_json())["traceEvents"].list().size() == 5);
    CHECK(bars(Xml::parse(t.svg())).size() == 1);
    // Not a tick for every pixel.
    CHECK(Xml::parse(t.svg()).children.size() < 1000);
  }
}
