// Limits that are none on any machine: out of range, or not for a spec to write.

#include <bit>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "formatted.hpp"
#include "plan/checks.hpp"
#include "plan/limits.hpp"
#include "plan/words.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr std::uint64_t most_pids = 4U << 20U;                    // PID_MAX_LIMIT
constexpr std::uint32_t most_major = 4095, most_minor = 1048575;  // of a dev_t
constexpr std::uint64_t least_huge = 64U << 10U, most_huge = std::uint64_t{16} << 30U;

/// "0-2,5" of a cpuset: what is wrong with it; empty when nothing is.
std::string number_list_error(std::string_view text, unsigned long most) {
  const auto number = [&](std::string_view digits, unsigned long& out) {
    out = 0;
    if (digits.empty() || digits.size() > 6) return false;
    for (const char c : digits) {
      if (c < '0' || c > '9') return false;
      out = out * 10 + static_cast<unsigned long>(c - '0');
    }
    return true;
  };
  for (;;) {
    const std::size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const std::size_t dash = item.find('-');
    unsigned long first = 0, last = 0;
    const bool fine = number(item.substr(0, dash), first) &&
                      (dash == std::string_view::npos || number(item.substr(dash + 1), last));
    if (!fine) return formatted("{} is no number and no range", quoted(item));
    if (dash == std::string_view::npos) last = first;
    if (last < first) return formatted("{} goes backwards", quoted(item));
    if (last > most) return formatted("{} is beyond {}, the last there can be", last, most);
    if (comma == std::string_view::npos) return {};
    text.remove_prefix(comma + 1);
  }
}

bool text(std::string_view field, std::string_view value, Refusals& refusals) {
  if (value.find('\0') == std::string_view::npos) return true;
  refusals.bad(field, formatted("{} has a NUL byte", quoted(value)),
               "the kernel would see no more than what is before it: take it out");
  return false;
}

void check_memory(const Resources& r, Refusals& refusals) {
  for (const auto& [field, value] :
       {std::pair<std::string_view, const std::optional<Limit<Bytes>>&>{"resources.memory_max",
                                                                        r.memory_max},
        {"resources.memory_high", r.memory_high}})
    if (value && value->limited() && value->most().value == 0)
      refusals.bad(field, "nothing runs in no memory at all", "some MiB, or leave it out");
  if (r.memory_max && r.memory_max->limited() && r.memory_swap_max &&
      r.memory_swap_max->most().value >
          std::numeric_limits<std::uint64_t>::max() - r.memory_max->most().value)
    refusals.bad("resources.memory_swap_max", "together with resources.memory_max it overflows",
                 "lower one of them, or leave it out for no limit");
}

void check_weight(std::string_view field, const std::optional<std::uint32_t>& weight,
                  Refusals& refusals) {
  if (weight && (*weight < 1 || *weight > 10000))
    refusals.bad(field, formatted("{} is not among 1 to 10000", *weight), "100 is usual");
}

void check_processors(const Resources& r, Refusals& refusals) {
  if (r.cpus && r.cpus->limited() &&
      !(r.cpus->most() > 0 && r.cpus->most() <= most_processors))  // a NaN is neither
    refusals.bad("resources.cpus",
                 formatted("{} is not above 0 and up to {}", r.cpus->most(), most_processors),
                 "0.5 is half of one processor; leave it out for no limit");
  check_weight("resources.cpu_weight", r.cpu_weight, refusals);
  if (!r.cpuset_cpus.empty())
    if (const std::string why = number_list_error(r.cpuset_cpus, 8191); !why.empty())
      refusals.bad("resources.cpuset_cpus", why, "for instance 0-2,5");
  if (!r.cpuset_mems.empty())
    if (const std::string why = number_list_error(r.cpuset_mems, 1023); !why.empty())
      refusals.bad("resources.cpuset_mems", why, "for instance 0-1");
}

void check_io(const Resources& r, Refusals& refusals) {
  check_weight("resources.io_weight", r.io_weight, refusals);
  std::set<std::variant<HostPath, DeviceNumber>> seen;
  for (std::size_t i = 0; i < r.io.size(); ++i) {
    const IoLimit& io = r.io[i];
    const std::string field = formatted("resources.io[{}]", i);
    if (const auto* path = std::get_if<HostPath>(&io.device)) {
      if (!text(field, path->str(), refusals)) continue;
      if (!path->is_absolute())
        refusals.bad(field, formatted("{} is no absolute path", quoted(path->str())),
                     "a device's node like /dev/sda, a file on it, or its numbers like 8:0");
    } else if (const auto& [major, minor] = *std::get_if<DeviceNumber>(&io.device);
               major < 1 || major > most_major || minor > most_minor) {
      refusals.bad(field,
                   formatted("{}:{} is no block device: numbers are 1 to {} and 0 to {}", major,
                             minor, most_major, most_minor),
                   "see lsblk, or give a path");
    }
    if (!seen.insert(io.device).second)
      refusals.bad(field, "this device is there twice", "put its rates into one");
    if (!io.read_bytes && !io.write_bytes && !io.read_operations && !io.write_operations)
      refusals.bad(field, "no rate is given", "for instance write_bytes, or leave it out");
    const auto zero = [&](std::string_view rate) {
      refusals.bad(formatted("{}.{}", field, rate), "nothing is ever done at a rate of 0",
                   "1 at least, or unlimited");
    };
    if (io.read_bytes && io.read_bytes->limited() && io.read_bytes->most().value == 0)
      zero("read_bytes");
    if (io.write_bytes && io.write_bytes->limited() && io.write_bytes->most().value == 0)
      zero("write_bytes");
    if (io.read_operations && io.read_operations->limited() && io.read_operations->most() == 0)
      zero("read_operations");
    if (io.write_operations && io.write_operations->limited() && io.write_operations->most() == 0)
      zero("write_operations");
  }
}

void check_hugetlb(const Resources& r, Refusals& refusals) {
  std::set<Bytes> seen;
  for (std::size_t i = 0; i < r.hugetlb.size(); ++i) {
    const std::string field = formatted("resources.hugetlb[{}]", i);
    const Bytes size = r.hugetlb[i].page_size;
    if (!std::has_single_bit(size.value) || size.value < least_huge || size.value > most_huge)
      refusals.bad(field,
                   formatted("{} is no size of a huge page: a power of two from 64 KiB to 16 GiB",
                             size_text(size)),
                   "see /sys/kernel/mm/hugepages");
    if (!seen.insert(size).second)
      refusals.bad(field, "this page size is there twice", "leave one of them out");
  }
}

void check_settings(const Resources& r, Refusals& refusals) {
  for (std::size_t i = 0; i < r.settings.size(); ++i) {
    const CgroupSetting& s = r.settings[i];
    const std::string field = formatted("resources.settings[{}]", i);
    if (!text(field, s.file, refusals) || !text(field, s.value, refusals)) continue;
    // Who is in it, and whether that runs, is the launch's own business: a frozen child never gets
    // to its command.
    for (const std::string_view own : {"cgroup.procs", "cgroup.threads", "cgroup.kill",
                                       "cgroup.freeze", "cgroup.type", "freezer.state"})
      if (s.file == own)
        refusals.bad(field, formatted("'{}' is not for a spec to write", own),
                     "leave it out: the launch sees to it");
  }
}

}  // namespace

void check_limits(const Resources& r, Refusals& refusals) {
  check_memory(r, refusals);
  if (r.pids_max && r.pids_max->limited() &&
      (r.pids_max->most() == 0 || r.pids_max->most() > most_pids))
    refusals.bad("resources.pids_max",
                 formatted("{} is not among 1 to {}", r.pids_max->most(), most_pids),
                 "leave it out for no limit");
  check_processors(r, refusals);
  check_io(r, refusals);
  check_hugetlb(r, refusals);
  check_settings(r, refusals);
}

void check_change(const Resources& r, Refusals& refusals) {
  check_limits(r, refusals);
  for (const auto& [set, field] : {std::pair{!r.cgroup_path.empty(), "resources.cgroup_path"},
                                   std::pair{!r.cgroup_inner.empty(), "resources.cgroup_inner"}})
    if (set) refusals.bad(field, "its cgroups stay where they are", "leave it out");
}

}  // namespace condroid::inline v0::detail
