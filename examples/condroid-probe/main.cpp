// condroid-probe: says what of containers works here, for this user, and what mends the rest.
//
//   condroid-probe                 a table
//   condroid-probe --problems      only what does not work
//   condroid-probe --json          the same for programs
//
// Exit status: 0 when plain containers can be launched, 1 when not, 2 for a wrong option.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <condroid/host.hpp>
#include <condroid/version.hpp>
#include <cstdio>
#include <cstdlib>
#include <string_view>

using namespace condroid;

namespace {

constexpr std::string_view usage =
    "Usage: condroid-probe [OPTIONS]\n"
    "Tries what containers are made of, and says what works here for this user.\n\n"
    "  --json        Writes JSON\n"
    "  --problems    Leaves out what works\n"
    "  --help        Prints this and ends\n"
    "  --version     Prints the version and ends\n\n"
    "Exit status: 0 when plain containers can be launched, 1 when not.\n";

TextStyle style_of_output(bool problems) {
  TextStyle style{.problems = problems};
  winsize window{};
  if (::isatty(STDOUT_FILENO) == 0) return style;
  const char* off = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  style.colour =
      (off == nullptr || *off == 0) && (term == nullptr || std::string_view(term) != "dumb");
  constexpr unsigned widest = 100;
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0)
    style.width = std::min<unsigned>(window.ws_col, widest);
  return style;
}

}  // namespace

int main(int argc, char** argv) {
  bool json = false, problems = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--json") {
      json = true;
    } else if (option == "--problems") {
      problems = true;
    } else if (option == "--help") {
      fmt::print("{}", usage);
      return 0;
    } else if (option == "--version") {
      fmt::print("condroid-probe {}\n", condroid::version);
      return 0;
    } else {
      fmt::print(stderr, "condroid-probe: no option '{}'; --help lists what there is\n", option);
      return 2;
    }
  }
  const HostReport report = Host::report();
  const std::string text = json ? to_json(report) : to_text(report, style_of_output(problems));
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    fmt::print(stderr, "condroid-probe: cannot write to standard output\n");
    return 1;
  }
  return report.can_launch() ? 0 : 1;
}
