// How these programs speak: "lxc-info: NAME: what is wrong" to the terminal, to a log file, and
// to syslog(3).
#pragma once

#include <fmt/format.h>

#include <condroid/config/lxc.hpp>
#include <condroid/error.hpp>
#include <condroid/sys/fd.hpp>
#include <string>
#include <string_view>

class Arguments;

/// From the common options. False, and it was said, when the log file cannot be had.
[[nodiscard]] bool begin_saying(std::string_view program, const Arguments& args);
/// Where and from what level on a configuration says to log, if the command line does not; syslog
/// is logged to beside a file.
void log_as(const condroid::lxc::Configuration& config);
/// From what level on it is logged, by its name.
[[nodiscard]] std::string log_level();
/// What was said to the terminal is from now on written there.
void speak_to(condroid::Fd terminal);
/// No more to the terminal: there is none behind a daemon.
void stop_saying();
/// The descriptor of the log file, or -1.
[[nodiscard]] int log_descriptor();

void say_line(condroid::lxc::LogLevel level, std::string_view text);

/// What is wrong: one line.
template <class... T>
void say(fmt::format_string<T...> pattern, T&&... values) {
  say_line(condroid::lxc::LogLevel::error, fmt::format(pattern, std::forward<T>(values)...));
}
/// To what is logged to; to the terminal only what is a warning or worse.
template <class... T>
void note(condroid::lxc::LogLevel level, fmt::format_string<T...> pattern, T&&... values) {
  say_line(level, fmt::format(pattern, std::forward<T>(values)...));
}
/// An error, and what else belongs to it, a line each. 1: the usual status.
int say_error(const condroid::Error& error);
