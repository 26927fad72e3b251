// condroid-lxc: LXC's programs in one, for containers of condroid's and of LXC's. Which one it is,
// is said by the name that it is called by, or by its first word: lxc-info, or condroid-lxc info.
#include <fmt/format.h>

#include <algorithm>
#include <clocale>
#include <condroid/config/lxc.hpp>
#include <csignal>
#include <string>
#include <string_view>

#include "namespaces.hpp"
#include "tool.hpp"
#include "tools.hpp"

namespace {

constexpr const Tool* tools[] = {
#define ONE(name) &(name),
    EACH_TOOL(ONE)
#undef ONE
};

const Tool* find(std::string_view name) {
  const auto* const found = std::ranges::find(tools, name, [](const Tool* t) { return t->name; });
  return found == std::end(tools) ? nullptr : *found;
}

int overview(std::FILE* to) {
  fmt::print(
      to,
      "Usage: condroid-lxc PROGRAM [OPTION...]\n"
      "       condroid-lxc --bash-completion\n"
      "       condroid-lxc --keys [PREFIX]\n\n"
      "LXC's programs, for containers of condroid's and of LXC's. A link with the name of one "
      "is that one.\n\n");
  for (const Tool* t : tools) fmt::print(to, "  {:<20}{}\n", t->name, t->brief);
  fmt::print(to, "\nEach has --help. --keys tells what a configuration may say.\n");
  return to == stdout ? 0 : 1;
}

/// Of those keys that begin with it.
int tell_keys(std::string_view prefix) {
  const std::string all = condroid::lxc::key_help();
  bool shown = false, any = false;
  for (std::string_view rest = all; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n') + 1);
    rest.remove_prefix(line.size());
    // What is said of a key is indented.
    if (!line.starts_with(' ')) shown = line.starts_with(prefix);
    any = any || shown;
    if (shown) fmt::print("{}", line);
  }
  if (any) return 0;
  fmt::print(stderr, "condroid-lxc: no key begins with '{}'\n", prefix);
  return 1;
}

}  // namespace

std::span<const Tool* const> all_tools() { return tools; }

int main(int argc, char** argv) {
  std::string name = argc > 0 ? argv[0] : "condroid-lxc";
  name.erase(0, name.rfind('/') + 1);
  if (argc > 2 && argv[1] == own_proc_word) return execute_with_own_proc(argv + 2);
  const Tool* tool = find(name);
  if (tool == nullptr) {
    if (argc < 2) return overview(stderr);
    const std::string_view word = argv[1];
    if (word == "--help" || word == "-h") return overview(stdout);
    if (word == "--bash-completion") {
      fmt::print("{}", bash_completion());
      return 0;
    }
    if (word == "--keys") return tell_keys(argc > 2 ? argv[2] : "");
    tool = find(word);
    if (tool == nullptr) tool = find(fmt::format("lxc-{}", word));
    if (tool == nullptr) {
      fmt::print(stderr, "condroid-lxc: there is no program '{}'; condroid-lxc --help lists them\n",
                 word);
      return 1;
    }
    --argc;
    ++argv;
  }
  int status = 0;
  const auto args = Arguments::read(*tool, argc, argv, status);
  return args ? tool->run(*args) : status;
}
