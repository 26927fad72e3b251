#include "launch/stats_text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace condroid::inline v0::detail {

namespace {

using std::chrono::microseconds;

constexpr std::array<CounterFile, static_cast<std::size_t>(Counter::count_)> files = {{
    {"cpu.stat", false, true},
    {"memory.current", false, true},
    {"memory.peak", false, true},
    {"memory.swap.current", false, true},
    {"memory.events", false, true},
    {"io.stat", false, true},
    {"cpu.pressure", false, true},
    {"memory.pressure", false, true},
    {"io.pressure", false, true},
    {"cpuacct.usage", true, false},
    {"cpuacct.usage_user", true, false},
    {"cpuacct.usage_sys", true, false},
    {"cpu.stat", true, false},
    {"memory.usage_in_bytes", true, false},
    {"memory.max_usage_in_bytes", true, false},
    {"memory.memsw.usage_in_bytes", true, false},
    {"memory.oom_control", true, false},
    {"blkio.throttle.io_service_bytes_recursive", true, false},
    {"blkio.throttle.io_serviced_recursive", true, false},
    {"pids.current", true, true},
    {"pids.peak", true, true},
    {"pids.events", true, true},
}};

/// Takes what is before the separator off the front; the rest of it is not there afterwards.
std::string_view cut(std::string_view& text, char separator) noexcept {
  const std::size_t at = text.find(separator);
  const std::string_view head = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view{} : text.substr(at + 1);
  return head;
}

/// A whole decimal number.
std::optional<std::uint64_t> number(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || wrong != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> first_number(std::string_view text) noexcept {
  return number(cut(text, '\n'));
}

/// Beyond what microseconds can hold is their end.
microseconds micros(std::uint64_t n) noexcept {
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<microseconds::rep>::max());
  return microseconds(static_cast<microseconds::rep>(std::min(n, most)));
}

/// "12.34"
double percent(std::string_view text) noexcept {
  const std::uint64_t whole = number(cut(text, '.')).value_or(0);
  double value = static_cast<double>(whole);
  double place = 0.1;
  for (const char c : text) {
    if (c < '0' || c > '9') break;
    value += place * (c - '0');
    place /= 10;
  }
  return value;
}

template <class T>
T& made(std::optional<T>& value) noexcept {
  if (!value) value.emplace();
  return *value;
}

/// some avg10=0.00 avg60=0.00 avg300=0.00 total=0
void take_pressure(std::string_view text, std::optional<Pressure>& into) noexcept {
  while (!text.empty()) {
    std::string_view words = cut(text, '\n');
    const std::string_view who = cut(words, ' ');
    Pressure::Line line;
    while (!words.empty()) {
      std::string_view value = cut(words, ' ');
      const std::string_view key = cut(value, '=');
      if (key == "avg10") line.avg10 = percent(value);
      if (key == "avg60") line.avg60 = percent(value);
      if (key == "avg300") line.avg300 = percent(value);
      if (key == "total") line.total = micros(number(value).value_or(0));
    }
    if (who == "some") made(into).some = line;
    if (who == "full") made(into).full = line;
  }
}

/// "8:16"; nothing where a line is about something else.
bool device_number(std::string_view text, std::uint32_t& major, std::uint32_t& minor) noexcept {
  const auto a = number(cut(text, ':'));
  const auto b = number(text);
  if (!a || !b || *a > UINT32_MAX || *b > UINT32_MAX) return false;
  major = static_cast<std::uint32_t>(*a);
  minor = static_cast<std::uint32_t>(*b);
  return true;
}

/// The device's place; nullptr when there is none left.
IoCount* place_of(IoUse& io, std::uint32_t major, std::uint32_t minor) noexcept {
  for (std::size_t i = 0; i < io.listed; ++i)
    if (io.list[i].major == major && io.list[i].minor == minor) return &io.list[i].count;
  if (io.listed == io.list.size()) return nullptr;
  IoUse::Device& added = io.list[io.listed++];
  added = {major, minor, {}};
  return &added.count;
}

/// 8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6
void take_io(std::string_view text, IoUse& io) noexcept {
  while (!text.empty()) {
    std::string_view words = cut(text, '\n');
    std::uint32_t major = 0, minor = 0;
    if (!device_number(cut(words, ' '), major, minor) || words.empty()) continue;
    IoCount c;
    while (!words.empty()) {
      std::string_view value = cut(words, ' ');
      const std::string_view key = cut(value, '=');
      const std::uint64_t n = number(value).value_or(0);
      if (key == "rbytes") c.read.value = n;
      if (key == "wbytes") c.written.value = n;
      if (key == "dbytes") c.discarded.value = n;
      if (key == "rios") c.reads = n;
      if (key == "wios") c.writes = n;
      if (key == "dios") c.discards = n;
    }
    io.total.read.value += c.read.value;
    io.total.written.value += c.written.value;
    io.total.discarded.value += c.discarded.value;
    io.total.reads += c.reads;
    io.total.writes += c.writes;
    io.total.discards += c.discards;
    if (IoCount* place = place_of(io, major, minor)) *place = c;
  }
}

/// 8:0 Read 4096, a line per kind; "Total 8192" at the end.
void take_blkio(std::string_view text, bool bytes, IoUse& io) noexcept {
  while (!text.empty()) {
    std::string_view words = cut(text, '\n');
    std::uint32_t major = 0, minor = 0;
    if (!device_number(cut(words, ' '), major, minor)) continue;
    const std::string_view kind = cut(words, ' ');
    const auto n = number(words);
    // Sync, Async and Total are the same once more.
    if (!n || (kind != "Read" && kind != "Write" && kind != "Discard")) continue;
    const auto add = [&](IoCount& c) {
      if (bytes)
        (kind == "Read" ? c.read : kind == "Write" ? c.written : c.discarded).value += *n;
      else
        (kind == "Read" ? c.reads : kind == "Write" ? c.writes : c.discards) += *n;
    };
    add(io.total);
    if (IoCount* place = place_of(io, major, minor)) add(*place);
  }
}

}  // namespace

const CounterFile& file_of(Counter counter) noexcept {
  return files[static_cast<std::size_t>(counter)];
}

std::optional<std::uint64_t> number_of(std::string_view text, std::string_view key) noexcept {
  while (!text.empty()) {
    std::string_view value = cut(text, '\n');
    if (cut(value, ' ') == key) return number(value);
  }
  return std::nullopt;
}

void take_counter(Counter counter, std::string_view text, Stats& into) noexcept {
  const auto in_micros = [&](std::string_view key) {
    const auto n = number_of(text, key);
    return n ? std::optional(micros(*n)) : std::nullopt;
  };
  const auto n = first_number(text);
  switch (counter) {
    case Counter::cpu_stat: {
      if (const auto total = in_micros("usage_usec"))
        into.cpu = CpuTime{*total, in_micros("user_usec").value_or(microseconds{0}),
                           in_micros("system_usec").value_or(microseconds{0})};
      // Only there with the controller. A hierarchy of v1 that has it says it in its own words.
      if (const auto stopped = in_micros("throttled_usec"))
        into.throttling = CpuThrottling{number_of(text, "nr_periods").value_or(0),
                                        number_of(text, "nr_throttled").value_or(0), *stopped};
      return;
    }
    case Counter::cpuacct_total:
      if (n) made(into.cpu).total = micros(*n / 1000);
      return;
    case Counter::cpuacct_user:
      if (n) made(into.cpu).user = micros(*n / 1000);
      return;
    case Counter::cpuacct_system:
      if (n) made(into.cpu).system = micros(*n / 1000);
      return;
    case Counter::cpu_stat_v1:
      if (const auto stopped = number_of(text, "throttled_time"))
        into.throttling =
            CpuThrottling{number_of(text, "nr_periods").value_or(0),
                          number_of(text, "nr_throttled").value_or(0), micros(*stopped / 1000)};
      return;
    case Counter::memory_current:
    case Counter::memory_usage:
      if (n) made(into.memory).current = Bytes{*n};
      return;
    case Counter::memory_peak:
    case Counter::memory_max_usage:
      if (n) made(into.memory).peak = Bytes{*n};
      return;
    case Counter::memory_swap:
      if (n) made(into.memory).swap = Bytes{*n};
      return;
    case Counter::memory_and_swap:
      // Read a moment after the memory, so it may be less.
      if (n && into.memory)
        into.memory->swap = Bytes{*n - std::min(*n, into.memory->current.value)};
      return;
    case Counter::memory_events:
    case Counter::oom_control:
      if (const auto kills = number_of(text, "oom_kill")) made(into.memory).oom_kills = *kills;
      return;
    case Counter::io_stat:
      take_io(text, made(into.io));
      return;
    case Counter::blkio_bytes:
    case Counter::blkio_requests:
      take_blkio(text, counter == Counter::blkio_bytes, made(into.io));
      return;
    case Counter::cpu_pressure:
      take_pressure(text, into.cpu_pressure);
      return;
    case Counter::memory_pressure:
      take_pressure(text, into.memory_pressure);
      return;
    case Counter::io_pressure:
      take_pressure(text, into.io_pressure);
      return;
    case Counter::pids_current:
      if (n) made(into.pids).current = *n;
      return;
    case Counter::pids_peak:
      if (n) made(into.pids).peak = *n;
      return;
    case Counter::pids_events:
      if (const auto hits = number_of(text, "max")) made(into.pids).limit_hits = *hits;
      return;
    case Counter::count_:
      return;
  }
}

}  // namespace condroid::inline v0::detail
