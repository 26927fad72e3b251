#include "usage.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <condroid/sys/fd.hpp>
#include <cstring>
#include <iterator>
#include <sstream>

using namespace condroid;

namespace {

std::optional<std::string> read_at(int dir, const std::string& name) {
  const Fd file(::openat(dir, name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return {};
  std::string text;
  char some[4096];
  for (ssize_t n = 0; (n = ::read(file.get(), some, sizeof some)) > 0;)
    text.append(some, static_cast<std::size_t>(n));
  return text;
}

std::optional<std::uint64_t> number(const std::optional<std::string>& text) {
  std::uint64_t n = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), n).ec != std::errc{})
    return {};
  return n;
}

/// The number after a word: "usage_usec 12".
std::optional<std::uint64_t> field(const std::optional<std::string>& text, std::string_view word) {
  std::istringstream in(text.value_or(""));
  std::string name;
  for (std::uint64_t n = 0; in >> name >> n;)
    if (name == word) return n;
  return {};
}

std::optional<std::uint64_t> io_bytes(const std::string& text) {
  std::uint64_t sum = 0;
  std::istringstream in(text);
  // v1: "8:0 Read 12 ... Total 12"; v2: "8:0 rbytes=1 wbytes=2 rios=..."
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      std::uint64_t n = 0;
      if (word == "Total" && line.starts_with("Total") && words >> n) return n;
      if (!word.starts_with("rbytes=") && !word.starts_with("wbytes=")) continue;
      std::from_chars(word.data() + word.find('=') + 1, word.data() + word.size(), n);
      sum += n;
    }
  }
  return sum;
}

/// In the child: a line for each address to `out`.
[[noreturn]] void tell_addresses(int pid, int out) {
  const Fd ns(::open(fmt::format("/proc/{}/ns/net", pid).c_str(), O_RDONLY | O_CLOEXEC));
  ifaddrs* list = nullptr;
  if (!ns.valid() || ::setns(ns.get(), CLONE_NEWNET) != 0 || ::getifaddrs(&list) != 0) ::_exit(1);
  for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
    char text[INET6_ADDRSTRLEN] = {};
    std::string line = one->ifa_name;
    if (one->ifa_addr != nullptr && one->ifa_addr->sa_family == AF_INET) {
      sockaddr_in a{};
      std::memcpy(&a, one->ifa_addr, sizeof a);
      if ((ntohl(a.sin_addr.s_addr) >> 24U) == IN_LOOPBACKNET) continue;
      line += fmt::format(" 4 {}", ::inet_ntop(AF_INET, &a.sin_addr, text, sizeof text));
    } else if (one->ifa_addr != nullptr && one->ifa_addr->sa_family == AF_INET6) {
      sockaddr_in6 a{};
      std::memcpy(&a, one->ifa_addr, sizeof a);
      if (IN6_IS_ADDR_LOOPBACK(&a.sin6_addr) || IN6_IS_ADDR_LINKLOCAL(&a.sin6_addr)) continue;
      line += fmt::format(" 6 {}", ::inet_ntop(AF_INET6, &a.sin6_addr, text, sizeof text));
    }
    line += '\n';
    (void)!::write(out, line.data(), line.size());
  }
  ::_exit(0);
}

}  // namespace

std::optional<std::string> cgroup_file(const control::Client& client, std::string_view controller,
                                       const std::string& v1, const std::string& v2) {
  auto group = client.limit_cgroup_fd(controller);
  if (!group) group = client.cgroup_fd(controller);
  if (group) return read_at(group->cgroup.dir.get(), group->cgroup.v2 ? v2 : v1);
  const auto dir = client.cgroup2_fd();
  return dir ? read_at(dir->get(), v2) : std::nullopt;
}

Usage usage_of(const control::Client& client) {
  Usage u;
  constexpr std::uint64_t ns_per_us = 1000;
  const auto cpu = cgroup_file(client, "cpuacct", "cpuacct.usage", "cpu.stat");
  u.cpu_ns = number(cpu);
  if (const auto us = field(cpu, "usage_usec")) u.cpu_ns = *us * ns_per_us;
  if (const auto io = cgroup_file(client, "blkio", "blkio.throttle.io_service_bytes", "io.stat"))
    u.io_bytes = io_bytes(*io);
  u.memory = number(cgroup_file(client, "memory", "memory.usage_in_bytes", "memory.current"));
  if (const auto both = number(
          cgroup_file(client, "memory", "memory.memsw.usage_in_bytes", "memory.swap.current")))
    u.swap = both;
  if (u.swap && u.memory && *u.swap >= *u.memory) {
    // Version 1 counts both together.
    const auto group = client.cgroup_fd("memory");
    if (group && !group->cgroup.v2) u.swap = *u.swap - *u.memory;
  }
  const auto kernel = cgroup_file(client, "memory", "memory.kmem.usage_in_bytes", "memory.stat");
  u.kernel = number(kernel);
  if (const auto n = field(kernel, "kernel")) u.kernel = n;
  return u;
}

void Load::add(const Load& other) {
  for (auto member :
       {&Load::cpu_ns, &Load::cpu_system_ns, &Load::cpu_user_ns, &Load::io_read, &Load::io_written,
        &Load::io_operations, &Load::memory, &Load::memory_and_swap, &Load::kernel})
    this->*member += other.*member;
}

Load load_of(const control::Client& client) {
  constexpr std::uint64_t ns_per_us = 1000, ns_per_tick = 10'000'000;
  Load l;
  const Usage u = usage_of(client);
  l.cpu_ns = u.cpu_ns.value_or(0);
  l.memory = u.memory.value_or(0);
  l.kernel = u.kernel.value_or(0);
  if (u.swap) l.memory_and_swap = l.memory + *u.swap;
  const auto cpu = cgroup_file(client, "cpuacct", "cpuacct.stat", "cpu.stat");
  l.cpu_user_ns = field(cpu, "user").value_or(0) * ns_per_tick +
                  field(cpu, "user_usec").value_or(0) * ns_per_us;
  l.cpu_system_ns = field(cpu, "system").value_or(0) * ns_per_tick +
                    field(cpu, "system_usec").value_or(0) * ns_per_us;
  const auto count = [](const std::optional<std::string>& text, std::uint64_t& reads,
                        std::uint64_t& writes, std::string_view v2_reads,
                        std::string_view v2_writes) {
    std::istringstream in(text.value_or(""));
    // v1: "8:0 Read 12"; v2: "8:0 rbytes=1 wbytes=2 rios=..."
    for (std::string word; in >> word;) {
      std::uint64_t n = 0;
      if ((word == "Read" || word == "Write") && in >> n) (word == "Read" ? reads : writes) += n;
      const std::size_t at = word.find('=');
      if (at == word.npos) continue;
      std::from_chars(word.data() + at + 1, word.data() + word.size(), n);
      const std::string_view name = std::string_view(word).substr(0, at);
      if (name == v2_reads) reads += n;
      if (name == v2_writes) writes += n;
    }
  };
  count(cgroup_file(client, "blkio", "blkio.throttle.io_service_bytes", "io.stat"), l.io_read,
        l.io_written, "rbytes", "wbytes");
  std::uint64_t read = 0, written = 0;
  count(cgroup_file(client, "blkio", "blkio.throttle.io_serviced", "io.stat"), read, written,
        "rios", "wios");
  l.io_operations = read + written;
  return l;
}

std::vector<Address> addresses_of(int pid, bool all) {
  std::vector<Address> found;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return found;
  Fd in(ends[0]), out(ends[1]);
  // The namespace is entered by a process of its own: this one stays where it is.
  const pid_t child = ::fork();
  if (child == 0) tell_addresses(pid, out.get());
  out.reset();
  if (child < 0) return found;
  std::string text;
  char some[4096];
  for (ssize_t n = 0; (n = ::read(in.get(), some, sizeof some)) > 0;)
    text.append(some, static_cast<std::size_t>(n));
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    Address a;
    std::string family;
    words >> a.interface >> family >> a.address;
    a.v6 = family == "6";
    if (all || !a.address.empty()) found.push_back(std::move(a));
  }
  return found;
}

std::string human(std::uint64_t bytes) {
  constexpr double step = 1024;
  constexpr const char* units[] = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} bytes", bytes);
  double value = static_cast<double>(bytes) / step;
  std::size_t unit = 0;
  for (; value >= step && unit + 1 < std::size(units); ++unit) value /= step;
  return fmt::format("{:.2f} {}", value, units[unit]);
}
