// lxc-console: one of a container's terminals.
#include <unistd.h>

#include "place.hpp"
#include "say.hpp"
#include "terminal.hpp"
#include "tools.hpp"

using namespace condroid;

namespace {

constexpr Option options[] = {
    {'t', "tty", "NUMBER", "/dev/ttyNUMBER; 0 is the console; the first that is free without"},
    {'e', "escape", "PREFIX",
     "The letter that with Ctrl, and q after it, leaves: 'a', '^a'; -1: none"},
};

int run(const Arguments& args) {
  const auto place = Place::of(args);
  if (!place) return 1;
  const auto number = args.number("tty", -1);
  if (!number) return 1;
  if (args.has("tty") && *number < 0) {
    say("--tty={}: terminals are counted from 0", *number);
    return 1;
  }
  const auto escape = Escape::parse(args.has("escape") ? args.value("escape") : "a");
  if (!escape) {
    say("--escape={}: that is no letter", args.value("escape"));
    return 1;
  }
  std::optional<unsigned> wanted;
  if (*number >= 0) wanted = static_cast<unsigned>(*number);
  const auto terminal = place->client().terminal(wanted);
  if (!terminal) {
    if (terminal.error().is_errno(ECONNREFUSED))
      say("it is not running");
    else if (terminal.error().is_errno(EBADF))
      say("it has no {}",
          wanted ? "such terminal, or somebody has it" : "terminal, or somebody has each");
    else
      say_error(terminal.error());
    return 1;
  }
  if (escape->letter() > 0) {
    const char letter = static_cast<char>('a' + escape->letter() - 1);
    fmt::print(stderr,
               "\nConnected to tty {0}\nType <Ctrl+{1} q> to exit the console, <Ctrl+{1} Ctrl+{1}> "
               "to enter Ctrl+{1} itself\n",
               terminal->number, letter);
  }
  const Fd signals = watch_signals();
  std::optional<RawTerminal> raw;
  if (::isatty(0) == 1 && in_foreground(0)) {
    auto entered = RawTerminal::enter(0);
    if (!entered) return say_error(entered.error());
    raw.emplace(std::move(*entered));
  }
  (void)copy_terminal(terminal->master, 0, 1, *escape, terminal->connection, signals);
  return 0;
}

}  // namespace

const Tool lxc_console = {
    .name = "lxc-console",
    .synopsis = "-n NAME [-t NUMBER] [-e PREFIX]",
    .brief = "Shows one of a container's terminals, and types there.",
    .options = options,
    .more = "Exit status: 0; 1 when it does not run, or has no terminal free.",
    .run = &run,
};
