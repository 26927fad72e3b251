// Plans as they are printed, beside the Specs that they are of: tests/golden. `meson compile
// update-golden` writes them anew; what changed is then read in the diff.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "condroid/plan.hpp"
#include "facts.hpp"

namespace {

using namespace condroid;
namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

/// The lines that only one of them has, marked by '-' or '+'.
std::string diff(const std::string& before, const std::string& after) {
  const auto a = lines_of(before), b = lines_of(after);
  std::vector<std::vector<std::size_t>> common(a.size() + 1,
                                               std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = a.size(); i-- > 0;)
    for (std::size_t k = b.size(); k-- > 0;)
      common[i][k] =
          a[i] == b[k] ? common[i + 1][k + 1] + 1 : std::max(common[i + 1][k], common[i][k + 1]);
  std::string text;
  std::size_t i = 0, k = 0;
  while (i < a.size() || k < b.size()) {
    if (i < a.size() && k < b.size() && a[i] == b[k]) {
      ++i, ++k;
    } else if (k == b.size() || (i < a.size() && common[i + 1][k] >= common[i][k + 1])) {
      text += "-" + a[i++] + "\n";
    } else {
      text += "+" + b[k++] + "\n";
    }
  }
  return text;
}

/// "# machine: root on v2" in the first line of a Spec's text; empty when there is none.
std::string machine_of(const std::string& text) {
  constexpr std::string_view key = "# machine: ";
  const std::string first = text.substr(0, text.find('\n'));
  return first.starts_with(key) ? first.substr(key.size()) : std::string();
}

std::string outcome(const std::string& text, const HostFacts& facts) {
  const auto spec = parse_spec(text);
  if (!spec) return to_string(spec.error()) + "\n";
  const auto plan = compile(*spec, facts);
  if (plan) return to_string(*plan);
  Error first = plan.error();
  first.also.clear();
  std::string lines = to_string(first) + "\n";
  for (const std::string& also : plan.error().also) lines += "also: " + also + "\n";
  return lines;
}

}  // namespace

TEST_CASE("plans are as they are written down in tests/golden", "[plan][golden]") {
  const fs::path folder = fs::path(CONDROID_TESTS_DIR) / "golden";
  const bool update = std::getenv("CONDROID_UPDATE_GOLDEN") != nullptr;
  const auto hosts = test::all_hosts();
  std::set<fs::path> specs, plans;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".spec" && !machine_of(read(entry.path())).empty())
      specs.insert(entry.path());
    if (entry.path().extension() == ".plan") plans.insert(entry.path());
  }
  REQUIRE(specs.size() >= 12);
  for (const fs::path& path : specs) {
    INFO(path.filename().string());
    const std::string text = read(path);
    const auto stem = path.stem();
    if (!CONDROID_LIBNL && (stem == "network" || stem == "hooks" ||
                            stem == "lxc_waydroid")) {  // refused as a whole then
      plans.erase(fs::path(path).replace_extension(".plan"));
      continue;
    }
    const auto host = std::ranges::find_if(
        hosts, [name = machine_of(text)](const test::NamedHost& h) { return h.name == name; });
    REQUIRE(host != hosts.end());
    const std::string now = outcome(text, host->facts);
    fs::path plan = path;
    plan.replace_extension(".plan");
    if (update) {
      std::ofstream out(plan, std::ios::binary);
      out << now;
      REQUIRE(out.flush());
    }
    const std::string written = read(plan);
    INFO("run the target update-golden if this is as it should be\n" << diff(written, now));
    CHECK((written == now));
    plans.erase(plan);
  }
  INFO("a plan without its Spec: " << (plans.empty() ? "" : plans.begin()->filename().string()));
  CHECK(plans.empty());
}
