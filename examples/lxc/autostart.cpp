// lxc-autostart: all containers that are to be started with the machine; or their end.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "place.hpp"
#include "say.hpp"
#include "script.hpp"
#include "tools.hpp"

using namespace condroid;

namespace {

constexpr Option options[] = {
    {'k', "kill", "", "Kill them"},
    {'L', "list", "", "Say which, and the seconds to wait after each"},
    {'r', "reboot", "", "Have them restart"},
    {'s', "shutdown", "", "Ask them to end"},
    {'a', "all", "", "Whatever their groups are"},
    {'A', "ignore-auto", "", "Whether lxc.start.auto says so or not"},
    {'g', "groups", "GROUPS",
     "Those in one of these, a comma between them, the first group first; an empty one stands for "
     "those in none; may be repeated"},
    {'t', "timeout", "SECONDS", "After so long they are killed (60)"},
};

struct One {
  std::string name;
  int order = 0;
  std::uint32_t delay = 0;
  std::vector<std::string> groups;
};

/// What cannot be read is told, and is none of them, but counts as failed.
std::vector<One> candidates(const std::string& lxcpath, const std::vector<std::string>& names,
                            bool all, std::size_t& failed) {
  std::vector<One> found;
  for (const std::string& name : names) {
    const auto config = Place(lxcpath, name).load();
    const auto made =
        config ? config->to_spec() : Result<lxc::Translated>(fail(ENOENT, Step::parse, name));
    if (!made) {
      if (config) say_error(made.error());  // else it is said
      ++failed;
      continue;
    }
    if (all || made->program.start_auto)
      found.push_back(
          {name, made->program.start_order, made->program.start_delay, made->program.groups});
  }
  // They come by name; of one order they stay so.
  std::ranges::sort(found, [](const One& a, const One& b) {
    return a.order != b.order ? a.order < b.order : a.name < b.name;
  });
  return found;
}

/// In the order of the groups that were asked for, each container once.
std::vector<One> chosen(const Arguments& args, std::vector<One> from) {
  if (args.has("all")) return from;
  std::vector<std::string> groups;
  // An empty one at the end counts, too.
  std::string text = fmt::format("{}", fmt::join(args.values("groups"), ","));
  for (std::size_t comma = 0;; text.erase(0, comma + 1)) {
    comma = text.find(',');
    groups.push_back(text.substr(0, comma));
    if (comma == text.npos) break;
  }
  std::vector<One> all;
  for (const std::string& g : groups)
    for (One& one : from) {
      const bool in_it =
          g.empty() ? one.groups.empty() : std::ranges::find(one.groups, g) != one.groups.end();
      if (in_it && std::ranges::find(all, one.name, &One::name) == all.end()) all.push_back(one);
    }
  return all;
}

int run(const Arguments& args) {
  const auto path = lxcpath_of(args);
  constexpr long usual = 60;
  const auto seconds = args.number("timeout", usual);
  if (!path || !seconds) return 1;
  const auto names = defined_names(*path);
  std::size_t failed = 0;
  const auto all = candidates(*path, names, args.has("ignore-auto"), failed);
  for (const One& one : chosen(args, all)) {
    const bool start = !args.has("kill") && !args.has("shutdown") && !args.has("reboot");
    const bool runs =
        Place(*path, one.name).state().value_or(control::State::stopped) != control::State::stopped;
    if (start == runs) continue;
    if (args.has("list")) {
      fmt::print("{}", start ? fmt::format("{} {}\n", one.name, one.delay) : one.name + "\n");
      continue;
    }
    std::vector<std::string> command = {"/proc/self/exe"};
    if (start)
      command.emplace_back("lxc-start");
    else if (args.has("kill"))
      command.insert(command.end(), {"lxc-stop", "-k"});
    else
      command.insert(command.end(),
                     {"lxc-stop", args.has("reboot") ? "-rt" : "-t", std::to_string(*seconds)});
    command.insert(command.end(), {"-P", *path, "-n", one.name});
    if (run_program(command, {}) != 0)
      ++failed;
    else if (start)
      ::sleep(one.delay);
  }
  // LXC's: none of none is a failure, too.
  constexpr int some_failed = 2;
  if (failed == names.size()) return 1;
  return failed == 0 ? 0 : some_failed;
}

}  // namespace

const Tool lxc_autostart = {
    .name = "lxc-autostart",
    .synopsis = "[-L] [-k | -r | -s] [-a | -g GROUPS] [-A] [-t SECONDS]",
    .brief = "Starts all containers whose configuration says lxc.start.auto = 1; or ends them.",
    .options = options,
    .names = Tool::none,
    .more =
        "Those of a lower lxc.start.order come first; after each lxc.start.delay seconds are "
        "waited. "
        "Without\n-a and -g only those that are in no lxc.group.\n\n"
        "Exit status: 0; 2 when it failed for some of all containers; 1 when it failed for all, or "
        "there are\nnone.",
    .run = &run,
};
