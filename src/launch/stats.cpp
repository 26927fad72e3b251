// Reading what counts.
#include "condroid/stats.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "launch/container_core.hpp"
#include "launch/stats_text.hpp"

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
                    "resources.cgroup = measured gives it cgroups that count");
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
        return fail(e, Step::measure, fmt::format("cgroup '{}'", c.path()));
    }
  if (reader.files_.empty())
    return fail(nothing_counted(
        cgroups.empty() ? "no cgroup" : fmt::format("cgroup '{}'", cgroups.front().path())));
  return reader;
}

Result<bool> StatsReader::read(Stats& into) const {
  if (files_.empty()) return false;
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
        return fail(
            errno, Step::measure,
            fmt::format("'{}'", detail::file_of(static_cast<detail::Counter>(f.what)).name));
      size += static_cast<std::size_t>(n);
      // Short files come whole, and so does the end of a long one.
      if (n < 4096) break;
    }
    std::string_view whole(text, size);
    if (size == sizeof text) whole = whole.substr(0, whole.rfind('\n') + 1);
    detail::take_counter(static_cast<detail::Counter>(f.what), whole, now);
  }
  into = now;
  return true;
}

namespace detail {

Result<StatsReader> ContainerCore::stats_reader() const {
  if (auto ok = check_owner(); !ok) return fail(ok);
  const std::string subject = fmt::format("container '{}'", name);
  if (parents.empty()) return fail(nothing_counted(subject + " has no cgroup"));
  if (exit) return fail(ESRCH, Step::measure, subject + " has ended");
  auto facts = runtime->get_facts();
  if (!facts) return fail(facts);
  StatsReader reader;
  for (const bool v2 : {true, false})
    for (const auto& [hierarchy, dir] : parents) {
      if ((*facts)->cgroups[hierarchy].v2 != v2) continue;
      const Fd own(::openat(dir, unique_name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (!own && errno == ENOENT) return fail(ESRCH, Step::measure, subject + " has ended");
      const int e = own ? reader.add(own.get(), v2) : errno;
      if (e != 0) return fail(e, Step::measure, subject);
    }
  if (reader.files_.empty()) return fail(nothing_counted(subject + " is in no cgroup that counts"));
  return reader;
}

}  // namespace detail

}  // namespace v0
}  // namespace condroid
