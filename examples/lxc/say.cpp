#include "say.hpp"

#include <fcntl.h>
#include <syslog.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cstdio>
#include <ctime>
#include <optional>
#include <utility>

#include "tool.hpp"

using condroid::lxc::LogLevel;

namespace {

constexpr std::array<std::string_view, 9> levels = {"TRACE", "DEBUG", "INFO",  "NOTICE", "WARN",
                                                    "ERROR", "CRIT",  "ALERT", "FATAL"};

/// As LXC's.
constexpr std::array<int, levels.size()> syslog_priorities = {LOG_DEBUG,  LOG_DEBUG,   LOG_INFO,
                                                              LOG_NOTICE, LOG_WARNING, LOG_ERR,
                                                              LOG_CRIT,   LOG_ALERT,   LOG_EMERG};
constexpr std::array<std::pair<std::string_view, int>, 9> facilities = {{{"daemon", LOG_DAEMON},
                                                                         {"local0", LOG_LOCAL0},
                                                                         {"local1", LOG_LOCAL1},
                                                                         {"local2", LOG_LOCAL2},
                                                                         {"local3", LOG_LOCAL3},
                                                                         {"local4", LOG_LOCAL4},
                                                                         {"local5", LOG_LOCAL5},
                                                                         {"local6", LOG_LOCAL6},
                                                                         {"local7", LOG_LOCAL7}}};

struct Voice {
  std::string program = "condroid-lxc";
  std::string container = {};
  bool quiet = false;
  std::optional<LogLevel> level = {};
  condroid::Fd log = {};
  std::optional<int> facility = {};  ///< Of syslog(3), where it is logged there, too.
  condroid::Fd terminal = {};        ///< In the place of standard error.
};
Voice& voice() {
  static Voice one;
  return one;
}

bool open_log(const std::string& path) {
  constexpr unsigned mode = 0640;
  voice().log = condroid::Fd(
      ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, mode));
  if (voice().log.valid()) return true;
  fmt::print(stderr, "{}: log file '{}': {}\n", voice().program, path, condroid::errno_name(errno));
  return false;
}

std::optional<LogLevel> level_of(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  for (std::size_t i = 0; i < levels.size(); ++i)
    if (levels[i] == text || std::to_string(i) == text) return static_cast<LogLevel>(i);
  return {};
}

void to_syslog(const Voice& v, LogLevel level, std::string_view text) {
  // Opened for each line: nobody inherits its socket, and no other descriptor gets its number.
  ::openlog(v.program.c_str(), LOG_PID, *v.facility);
  const std::string line =
      v.container.empty() ? std::string(text) : fmt::format("{}: {}", v.container, text);
  ::syslog(syslog_priorities[static_cast<std::size_t>(level)], "%s", line.c_str());
  ::closelog();
}

void to_file(const Voice& v, LogLevel level, std::string_view text) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  ::gmtime_r(&now.tv_sec, &parts);
  char date[32];
  const std::size_t size = std::strftime(date, sizeof date, "%Y%m%d%H%M%S", &parts);
  constexpr long per_ms = 1000000;
  const std::string line =
      fmt::format("{} {} {}.{:03} {:<8} {}\n", v.program, v.container, std::string_view(date, size),
                  now.tv_nsec / per_ms, levels[static_cast<std::size_t>(level)], text);
  // One write: several programs append to one file.
  (void)!::write(v.log.get(), line.data(), line.size());
}

}  // namespace

bool begin_saying(std::string_view program, const Arguments& args) {
  Voice& v = voice();
  v.program = program;
  v.container = args.container();
  v.quiet = args.has("quiet");
  if (args.has("logpriority")) {
    v.level = level_of(args.value("logpriority"));
    if (!v.level) {
      fmt::print(stderr, "{}: --logpriority={}: no such level; {}\n", v.program,
                 args.value("logpriority"), fmt::join(levels, ", "));
      return false;
    }
  }
  return !args.has("logfile") || open_log(args.value("logfile"));
}

void log_as(const condroid::lxc::Configuration& config) {
  const auto item = [&](const char* key) {
    const auto value = config.get(key);
    return value ? value->value_or("") : std::string();
  };
  if (!voice().level) voice().level = level_of(item("lxc.log.level"));
  if (const std::string file = item("lxc.log.file"); !voice().log.valid() && !file.empty())
    (void)open_log(file);
  const std::string facility = item("lxc.log.syslog");
  for (const auto& [name, number] : facilities)
    if (name == facility) voice().facility = number;
}

std::string log_level() {
  return std::string(levels[static_cast<std::size_t>(voice().level.value_or(LogLevel::error))]);
}

void speak_to(condroid::Fd terminal) { voice().terminal = std::move(terminal); }
void stop_saying() {
  voice().quiet = true;
  voice().terminal.reset();
}
int log_descriptor() { return voice().log.get(); }

void say_line(LogLevel level, std::string_view text) {
  const Voice& v = voice();
  const std::string who =
      v.container.empty() ? v.program : fmt::format("{}: {}", v.program, v.container);
  if (!v.quiet && level >= LogLevel::warn) {
    const std::string line = fmt::format("{}: {}\n", who, text);
    const int fd = v.terminal.valid() ? v.terminal.get() : STDERR_FILENO;
    (void)!::write(fd, line.data(), line.size());
  }
  if (level < v.level.value_or(LogLevel::error)) return;
  if (v.log.valid()) to_file(v, level, text);
  if (v.facility) to_syslog(v, level, text);
}

int say_error(const condroid::Error& error) {
  condroid::Error first = error;
  first.also.clear();
  say("{}", condroid::to_string(first));
  for (const std::string& also : error.also) say("{}", also);
  return 1;
}
