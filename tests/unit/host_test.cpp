// HostReport: what is made of findings, for people and for programs.
#include "condroid/host.hpp"

#include <algorithm>
#include <sstream>
#include <string>

#include "catch.hpp"
#include "json.hpp"

namespace {

using condroid::Finding;
using condroid::HostReport;
using condroid::test::Json;

HostReport sample() {
  HostReport r{.kernel = "6.18.0", .machine = "x86_64", .uid = {1000}, .user = "ann"};
  r.findings = {
      {"launch.plain", "containers", "plain container", Finding::works, "", ""},
      {"ns.user", "namespaces", "user", Finding::works, "in a user namespace", ""},
      {"id.newuidmap", "ids", "user ids through newuidmap", Finding::fails,
       "run it: newuidmap: uid range [0-1) -> [100000-100001) not allowed, as it says at some "
       "length",
       "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ann"},
      {"device.kvm", "devices", "kvm", Finding::refused,
       "open /dev/kvm: Permission denied (EACCES)", "usermod --append --groups kvm ann"},
      {"net.tun", "network", "tun and tap", Finding::unknown, "it was not tried", ""},
  };
  return r;
}

std::size_t longest_line(const std::string& text) {
  std::size_t longest = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) longest = std::max(longest, line.size());
  return longest;
}

}  // namespace

TEST_CASE("a report knows its findings by id, and whether containers can be launched", "[host]") {
  HostReport r = sample();
  REQUIRE(r.find("ns.user") != nullptr);
  CHECK(r.find("ns.user")->what == "user");
  CHECK(r.find("ns.use") == nullptr);
  CHECK(r.can_launch());
  r.findings[0].outcome = Finding::refused;
  CHECK_FALSE(r.can_launch());
  r.findings.erase(r.findings.begin());
  CHECK_FALSE(r.can_launch());
}

TEST_CASE("the table of a report fits the width that it is given", "[host]") {
  HostReport r = sample();
  r.kernel = "6.18.0-a-kernel-with-a-name-as-distributions-give";
  r.findings[3].what = "something that takes more columns to name";
  for (const unsigned width : {40U, 60U, 80U, 200U}) {
    const std::string text = to_text(r, {.width = width});
    INFO(text);
    CHECK(longest_line(text) <= width);
    CHECK(text.find("Permission") != text.npos);
  }
  CHECK(longest_line(to_text(r, {.width = 0})) <= 40);
}

TEST_CASE("the table says reason and remedy below what does not work", "[host]") {
  const std::string text = to_text(sample());
  INFO(text);
  CHECK(text.find("plain container                             works\n") != text.npos);
  CHECK(text.find("kvm                                         refused\n"
                  "      open /dev/kvm: Permission denied (EACCES)\n"
                  "      try: usermod --append --groups kvm ann\n") != text.npos);
  CHECK(text.find("2 work, 1 refused, 1 fail, 1 unknown") != text.npos);
  CHECK(text.find("plain containers can be launched\n") != text.npos);
  CHECK(text.find('\x1b') == text.npos);
  CHECK(to_text(sample(), {.colour = true}).find("\x1b[31mfails\x1b[0m") != std::string::npos);
  const std::string problems = to_text(sample(), {.problems = true});
  CHECK(problems.find("plain container  ") == problems.npos);
  CHECK(problems.find("containers\n  ") == problems.npos);
  CHECK(problems.find("kvm") != problems.npos);
}

TEST_CASE("what programs said cannot steer the reader's terminal", "[host]") {
  HostReport r = sample();
  r.user = "a\x1b[2Jb";
  r.findings[2].why = "red \x1b[31m\ttab\r\nnext \x80\xff";
  r.findings[2].what = std::string("nul\0", 4);
  const std::string text = to_text(r);
  for (const char c : text) CHECK((c == '\n' || (c >= ' ' && c < '\x7f')));
}

TEST_CASE("a report as JSON has everything, whatever the text is", "[host]") {
  HostReport r = sample();
  r.findings[2].why = "\"quoted\" \\ back\nline \x01 \xff";
  r.elapsed = std::chrono::milliseconds{212};
  const Json json = Json::parse(to_json(r));
  CHECK(json["kernel"].text() == "6.18.0");
  CHECK(json["user"].text() == "ann");
  CHECK(json["uid"].number() == 1000);
  CHECK(json["elapsed_ms"].number() == 212);
  CHECK(json["can_launch"].truth());
  const auto& list = json["findings"].list();
  REQUIRE(list.size() == r.findings.size());
  CHECK(list[2]["id"].text() == "id.newuidmap");
  CHECK(list[2]["outcome"].text() == "fails");
  CHECK(list[2]["why"].text() == "\"quoted\" \\ back\nline \x01 ?");
  CHECK(list[3]["mend"].text() == r.findings[3].mend);
  CHECK(list[4]["outcome"].text() == "unknown");
  r.findings.clear();
  CHECK(Json::parse(to_json(r))["findings"].list().empty());
}
