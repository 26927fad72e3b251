// Reading what counts, and the figures of an Exit.
#include "condroid/stats.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "formatted.hpp"
#include "launch/container_core.hpp"
#include "launch/inside.hpp"
#include "launch/links.hpp"
#include "launch/stats_text.hpp"
#include "sys/wire.hpp"

namespace condroid {
inline namespace v0 {

namespace {

constexpr auto all = static_cast<std::uint8_t>(detail::Counter::count_);

/// What is counted in a cgroup of v2 and by a controller of v1, too, is read once.
bool same_measure(detail::Counter a, detail::Counter b) noexcept {
  using enum detail::Counter;
  const auto cpu = [](detail::Counter c) {
    return c == cpu_stat || c == cpuacct_total || c == cpuacct_user || c == cpuacct_system;
  };
  return a == b || (cpu(a) && cpu(b) && (a == cpu_stat || b == cpu_stat));
}

Error nothing_counted(std::string subject) {
  return make_error(Errc::unsupported, Step::measure, std::move(subject),
                    "resources.cgroup = everywhere gives it cgroups that count");
}

}  // namespace

int StatsReader::add(int dir, bool v2) {
  for (std::uint8_t i = 0; i < all; ++i) {
    const auto counter = static_cast<detail::Counter>(i);
    const detail::CounterFile& file = detail::file_of(counter);
    if (v2 ? !file.v2 : !file.v1) continue;
    bool known = false;
    for (const File& f : files_)
      known = known || same_measure(static_cast<detail::Counter>(f.what), counter);
    if (known) continue;
    Fd fd(::openat(dir, file.name, O_RDONLY | O_CLOEXEC));
    // Not this hierarchy's, or not this kernel's.
    if (!fd && (errno == ENOENT || errno == EOPNOTSUPP || errno == EACCES)) continue;
    if (!fd) return errno;
    files_.push_back({std::move(fd), i});
  }
  return 0;
}

Result<StatsReader> StatsReader::open(std::span<const CgroupDir> cgroups) {
  StatsReader reader;
  for (const bool v2 : {true, false})
    for (const CgroupDir& c : cgroups) {
      if (c.v2() != v2) continue;
      if (const int e = reader.add(c.fd().get(), v2); e != 0)
        return fail(e, Step::measure, formatted("cgroup '{}'", c.path()));
    }
  if (reader.files_.empty())
    return fail(nothing_counted(
        cgroups.empty() ? "no cgroup" : formatted("cgroup '{}'", cgroups.front().path())));
  return reader;
}

Result<bool> StatsReader::read(Stats& into) const {
  if (files_.empty() && !network_.valid()) return false;
  Stats now;
  now.taken = std::chrono::steady_clock::now();
  char text[16384];  // a line of io.stat has a hundred bytes
  for (const File& f : files_) {
    std::size_t size = 0;
    while (size < sizeof text) {
      const ssize_t n =
          ::pread(f.fd.get(), text + size, sizeof text - size, static_cast<off_t>(size));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EOPNOTSUPP) break;  // pressure that was switched off meanwhile
      if (n < 0 && errno == ENODEV) return false;
      if (n < 0)
        return fail(errno, Step::measure,
                    formatted("'{}'", detail::file_of(static_cast<detail::Counter>(f.what)).name));
      size += static_cast<std::size_t>(n);
      // Short files come whole, and so does the end of a long one.
      if (n < 4096) break;
    }
    std::string_view whole(text, size);
    if (size == sizeof text) whole = whole.substr(0, whole.rfind('\n') + 1);
    detail::take_counter(static_cast<detail::Counter>(f.what), whole, now);
  }
  if (network_.valid()) {
    if (detail::wait_for_fd(process_.get(), POLLIN, 0) > 0) return false;
    if (const int e = detail::read_interfaces(network_, now); e != 0)
      return fail(e, Step::measure, "the container's interfaces");
  }
  into = now;
  return true;
}

namespace detail {

Result<StatsReader> ContainerCore::stats_reader(const StatsOptions& options) const {
  if (auto ok = check_owner(); !ok) return fail(ok);
  const std::string subject = formatted("container '{}'", name);
  if (options.interfaces && !inside.namespaces.has(Namespace::net))
    return fail(Errc::unsupported, Step::measure, subject + " shares this program's network",
                "interfaces are counted of a network of its own");
  if (parents.empty() && !options.interfaces)
    return fail(nothing_counted(subject + " has no cgroup"));
  if (exit) return fail(ESRCH, Step::measure, subject + " has ended");
  auto facts = runtime->get_facts();
  if (!facts) return fail(facts);
  StatsReader reader;
  for (const bool v2 : {true, false})
    for (const auto& [hierarchy, dir] : parents) {
      if ((*facts)->cgroups[hierarchy].v2 != v2) continue;
      const Fd own(::openat(dir, group_name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (!own && errno == ENOENT) return fail(ESRCH, Step::measure, subject + " has ended");
      const int e = own ? reader.add(own.get(), v2) : errno;
      if (e != 0) return fail(e, Step::measure, subject);
    }
  if (options.interfaces) {
    auto place = Place::of(*this);
    if (!place) return fail(place);
    auto socket = network_socket(*place);
    if (!socket) return fail(socket);
    reader.network_ = std::move(*socket);
    reader.process_ = std::move(place->pidfd);
  } else if (reader.files_.empty()) {
    return fail(nothing_counted(subject + " is in no cgroup that counts"));
  }
  return reader;
}

void ContainerCore::take_figures(const program::Figures& figures, Exit& e) {
  using program::Figure;
  final_figures = figures;
  e.oom_kills = figures.get(Figure::oom_kills);
  e.out_of_memory = e.oom_kills > 0;
  e.pids_limit_hits = figures.get(Figure::pids_limit_hits);
  if (figures.has(Figure::peak_memory)) e.peak_memory = Bytes{figures.get(Figure::peak_memory)};
  if (figures.has(Figure::peak_pids)) e.peak_pids = figures.get(Figure::peak_pids);
  const auto time = [&](Figure f) {
    return std::chrono::microseconds(static_cast<std::int64_t>(figures.get(f)));
  };
  if (figures.has(Figure::cpu_total))
    e.cpu_time = CpuTime{time(Figure::cpu_total), time(Figure::cpu_user), time(Figure::cpu_system)};
  if (note) {
    // Whoever calls holds its lock.
    note->figures = figures;
    note->ended = true;
    const std::uint64_t one = 1;
    (void)!::write(note->told.get(), &one, sizeof one);
  }
}

void ContainerCore::take_figures_ourselves(Exit& e) {
  using program::Figure;
  program::Figures figures{};
  Stats now;
  if (const auto reader = parents.empty() ? Result<StatsReader>{} : stats_reader();
      reader && reader->read(now).value_or(false)) {
    const auto micros = [](std::chrono::microseconds t) {
      return static_cast<std::uint64_t>(t.count());
    };
    if (now.cpu) {
      figures.raise(Figure::cpu_total, micros(now.cpu->total));
      figures.raise(Figure::cpu_user, micros(now.cpu->user));
      figures.raise(Figure::cpu_system, micros(now.cpu->system));
    }
    if (now.memory && now.memory->peak) figures.raise(Figure::peak_memory, now.memory->peak->value);
    if (now.memory && now.memory->oom_kills)
      figures.raise(Figure::oom_kills, *now.memory->oom_kills);
    if (now.pids && now.pids->peak) figures.raise(Figure::peak_pids, *now.pids->peak);
    if (now.pids && now.pids->limit_hits)
      figures.raise(Figure::pids_limit_hits, *now.pids->limit_hits);
  }
  take_figures(figures, e);
}

}  // namespace detail

}  // namespace v0
}  // namespace condroid
