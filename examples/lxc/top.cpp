// lxc-top: what the containers that run use, again and again.
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>

#include "place.hpp"
#include "say.hpp"
#include "terminal.hpp"
#include "tools.hpp"
#include "usage.hpp"

using namespace condroid;

namespace {

constexpr Option options[] = {
    {'d', "delay", "SECONDS", "So long between two looks (3; with -b 300)"},
    {'b', "batch", "", "Lines for a program, a comma between values, until it is ended"},
    {'s', "sort", "LETTER",
     "By n: name, c: CPU, b: block I/O, m: memory, s: memory and swap, k: kernel memory"},
    {'r', "reverse", "", "The other way around"},
};
constexpr std::string_view letters = "ncbmsk";
constexpr double ns_per_second = 1e9;
constexpr std::uint64_t ns_per_tick = 10'000'000;  // USER_HZ is 100

struct Line {
  std::string name = {};
  Load load = {};
};

/// Whoever made an abstract socket has named it.
std::string shown(const std::string& name) {
  std::string text = name;
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = '?';
  return text;
}

std::string short_size(std::uint64_t bytes) {
  constexpr std::uint64_t kilo = 1024;
  return bytes < kilo ? fmt::format("{}.00   ", bytes) : human(bytes);
}

class Order {
 public:
  explicit Order(bool reversed) : reversed_(reversed) {}
  /// The letter of a key. The same one twice turns it around.
  void by(char letter) {
    reversed_ = letter == letter_ && !reversed_;
    letter_ = letter;
  }
  void by_at_first(char letter) { letter_ = letter; }
  void turn() { reversed_ = !reversed_; }
  /// The greatest first, but names from their beginning.
  void apply(std::vector<Line>& lines) const {
    const auto key = [&](const Line& line) -> std::uint64_t {
      switch (letter_) {
        case 'c':
          return line.load.cpu_ns;
        case 'b':
          return line.load.io_total();
        case 'm':
          return line.load.memory;
        case 's':
          return line.load.memory_and_swap;
        case 'k':
          return line.load.kernel;
        default:
          return 0;
      }
    };
    std::ranges::sort(lines, [&](const Line& a, const Line& b) {
      return std::pair(key(b), a.name) < std::pair(key(a), b.name);
    });
    if (reversed_) std::ranges::reverse(lines);
  }

 private:
  char letter_ = 'n';
  bool reversed_ = false;
};

std::vector<Line> look(const std::string& lxcpath) {
  std::vector<Line> lines;
  for (const std::string& name : active_names(lxcpath)) {
    const Place place(lxcpath, name);
    const auto state = place.state();
    if (!state || *state == control::State::stopped || *state == control::State::starting) continue;
    lines.push_back({name, load_of(place.client())});
  }
  return lines;
}

void batch(const std::vector<Line>& lines) {
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  for (const Line& l : lines)
    fmt::print("{},{},{},{},{},{},{},{},{},{}\n", now, shown(l.name), l.load.cpu_ns,
               l.load.cpu_system_ns / ns_per_tick, l.load.cpu_user_ns / ns_per_tick,
               l.load.io_total(), l.load.io_operations, l.load.memory, l.load.memory_and_swap,
               l.load.kernel);
  std::fflush(stdout);
}

/// Which columns there are: Debian's where there is room for them, else what fits into 80.
struct Layout {
  bool wide = true, swap = false, kernel = false;

  Layout(const Load& total, std::size_t columns) {
    constexpr std::size_t full = 107, more = 11;
    swap = total.memory_and_swap > 0;
    kernel = total.kernel > 0;
    wide = columns >= full + (swap ? more : 0) + (kernel ? more : 0);
    if (!wide) swap = kernel = false;
  }
  [[nodiscard]] std::string line(std::string_view name, std::string_view cpu, std::string_view sys,
                                 std::string_view user, const std::string& io,
                                 const std::string& mem, const std::string& both,
                                 const std::string& kmem) const {
    const int io_width = wide ? 36 : 10;
    std::string text = fmt::format("{:<18.18} {:>12} {:>12} {:>12} {:>{}} {:>10}", name, cpu, sys,
                                   user, io, io_width, mem);
    if (swap) text += fmt::format(" {:>10}", both);
    if (kernel) text += fmt::format(" {:>10}", kmem);
    return text;
  }
};

std::string row(const std::string& name, const Load& load, const Layout& layout) {
  const auto seconds = [](std::uint64_t ns) {
    return fmt::format("{:.2f}", static_cast<double>(ns) / ns_per_second);
  };
  const std::string all = short_size(load.io_total());
  return layout.line(
      name, seconds(load.cpu_ns), seconds(load.cpu_system_ns), seconds(load.cpu_user_ns),
      layout.wide
          ? fmt::format("{}({}/{})", all, short_size(load.io_read), short_size(load.io_written))
          : all,
      short_size(load.memory), short_size(load.memory_and_swap), short_size(load.kernel));
}

/// A screen of it: each line as wide as that, and its rest cleared.
std::string screen(const std::vector<Line>& lines, const WindowSize& size) {
  Load total;
  for (const Line& l : lines) total.add(l.load);
  const Layout layout(total, size.columns);
  const std::string above =
      layout.line("Container", "CPU", "CPU", "CPU", "BlkIO", "Mem", "MemSw", "KMem");
  const std::string below =
      layout.line("Name", "Used", "Sys", "User", layout.wide ? "Total(Read/Write)" : "Total",
                  "Used", "Used", "Used");
  // What is too wide for it would break the lines.
  const auto cut = [&](std::string text) {
    if (text.size() > size.columns) text.resize(size.columns);
    return text;
  };
  constexpr std::size_t others = 3;  // two lines above, the sum below
  const std::size_t room = size.rows > others ? size.rows - others : 1;
  const std::size_t count = std::min(room, lines.size());
  std::string text = "\x1b[H\x1b[7;1m";
  text += cut(above) + "\x1b[K\r\n" + cut(below) + "\x1b[K\x1b[0m\r\n";
  for (std::size_t i = 0; i < count; ++i)
    text += cut(row(shown(lines[i].name), lines[i].load, layout)) + "\x1b[K\r\n";
  text += cut(row(fmt::format("TOTAL {} of {}", count, lines.size()), total, layout));
  return text + "\x1b[K\x1b[J";
}

/// Another screen of the terminal, without a cursor; the user's is there again at its end.
class Screen {
 public:
  Screen() { write("\x1b[?1049h\x1b[?25l"); }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  ~Screen() { write("\x1b[?25h\x1b[?1049l"); }
  static void write(std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
      if (n < 0 && errno != EINTR) return;
      if (n > 0) text.remove_prefix(static_cast<std::size_t>(n));
    }
  }
};

int interactive(const std::string& lxcpath, Order order, int delay) {
  if (::isatty(STDIN_FILENO) != 1 || ::isatty(STDOUT_FILENO) != 1) {
    say("this is no terminal; -b is for a file or a program");
    return 1;
  }
  const Fd signals = watch_signals();
  auto raw = RawTerminal::enter(STDIN_FILENO);
  if (!raw) return say_error(raw.error());
  const Screen shown_on;
  for (;;) {
    auto lines = look(lxcpath);
    order.apply(lines);
    const auto size = window_size(FdView(STDOUT_FILENO));
    constexpr WindowSize usual{24, 80};
    Screen::write(screen(lines, size && size->rows > 0 ? *size : usual));
    pollfd wait[] = {{STDIN_FILENO, POLLIN, 0}, {signals.get(), POLLIN, 0}};
    if (::poll(wait, 2, delay) <= 0) continue;
    if (wait[1].revents != 0) {
      signalfd_siginfo info{};
      if (::read(signals.get(), &info, sizeof info) == sizeof info && info.ssi_signo != SIGWINCH)
        return 0;
    }
    if (wait[0].revents == 0) continue;
    char key = 0;
    constexpr char control_c = 3, control_d = 4;
    if (::read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == control_c || key == control_d)
      return 0;
    if (key == 'r') order.turn();
    if (letters.find(key) != letters.npos) order.by(key);
  }
}

int run(const Arguments& args) {
  const auto path = lxcpath_of(args);
  if (!path) return 1;
  const bool lines = args.has("batch");
  constexpr long usual = 3, usual_of_lines = 300, most = 86400, ms = 1000;
  const auto seconds = args.number("delay", lines ? usual_of_lines : usual);
  if (!seconds) return 1;
  if (*seconds < 1 || *seconds > most) {
    say("--delay={}: 1 to {} seconds", *seconds, most);
    return 1;
  }
  const std::string by = args.has("sort") ? args.value("sort") : "n";
  if (by.size() != 1 || letters.find(by[0]) == letters.npos) {
    say("--sort={}: one of n, c, b, m, s, k", by);
    return 1;
  }
  Order order(args.has("reverse"));
  order.by_at_first(by[0]);
  const int delay = static_cast<int>(*seconds * ms);
  if (!lines) return interactive(*path, order, delay);
  fmt::print(
      "time_ms,container,cpu_nanos,cpu_sys_userhz,cpu_user_userhz,blkio_bytes,blkio_iops,"
      "mem_used_bytes,memsw_used_bytes,kernel_mem_used_bytes\n");
  for (;;) {
    auto all = look(*path);
    order.apply(all);
    batch(all);
    // Who reads no more ends it.
    pollfd output{STDOUT_FILENO, 0, 0};
    if (::poll(&output, 1, delay) > 0 && (output.revents & (POLLERR | POLLNVAL)) != 0) return 0;
  }
}

}  // namespace

const Tool lxc_top = {
    .name = "lxc-top",
    .synopsis = "[-d SECONDS] [-s LETTER] [-r] [-b]",
    .brief = "Shows what the containers that run use, again and again.",
    .options = options,
    .names = Tool::none,
    .more =
        "Keys: n, c, b, m, s and k sort by what -s says, the same again the other way around; r "
        "turns it around;\nq leaves.\n\n"
        "CPU is in seconds since the container's start. Where nobody counts something it is 0.\n\n"
        "Exit status: 0; 1 when there is no terminal and no -b.",
    .run = &run,
};
