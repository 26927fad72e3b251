#include "launch/limits.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

#include "condroid/container.hpp"
#include "formatted.hpp"
#include "launch/container_core.hpp"
#include "launch/zygote.hpp"
#include "plan/limits.hpp"
#include "sys/cgroup_files.hpp"
#include "sys/kernel_files.hpp"

namespace condroid {
inline namespace v0 {
namespace detail {

namespace {

/// What says that this kernel, user or machine has no such limit, and not that a value is none.
bool cannot_be_had(int e) {
  return e == ENOENT || e == ENODEV || e == EOPNOTSUPP || e == EACCES || e == EPERM || e == EROFS;
}

/// The disk that a partition is on, by sysfs; the device itself when it is a disk.
std::pair<unsigned, unsigned> whole_disk(unsigned major, unsigned minor) {
  const std::string dir = formatted("/sys/dev/block/{}:{}", major, minor);
  if (::access((dir + "/partition").c_str(), F_OK) < 0) return {major, minor};
  std::string text;
  const Fd above(::open((dir + "/..").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  unsigned a = 0, b = 0;
  if (above && read_file_at(above.get(), "dev", text) == 0 &&
      std::sscanf(text.c_str(), "%u:%u", &a, &b) == 2)
    return {a, b};
  return {major, minor};
}

/// The field in front, where there is one to name.
std::string subject(const op::WriteCgroup& o, const std::string& file, const std::string& value,
                    const std::string& cgroup) {
  const std::string what = formatted("'{}' to '{}' of cgroup '{}'", value, file, cgroup);
  return o.field.empty() ? what : formatted("{}: {}", o.field, what);
}

std::string hint_of(int e, const op::WriteCgroup& o) {
  if (e == EBUSY && o.file.starts_with("memory."))
    return "more than that is in use, and the kernel could not free enough of it";
  if (e == EBUSY && o.file.starts_with("cpuset."))
    return "a cgroup below it has what would be taken away";
  if (e == ENODEV && !o.device.empty()) return "is it the path of a disk, or of a file on one?";
  if (e == ENODEV && (o.file == "io.max" || o.file.starts_with("blkio.throttle.")))
    return "only whole disks have rates: see lsblk";
  return {};
}

tl::unexpected<Error> refused(int e, const op::WriteCgroup& o, const std::string& file,
                              const std::string& value, const std::string& cgroup) {
  Error error = sys_error(e, Step::write_cgroup, subject(o, file, value, cgroup));
  if (std::string better = hint_of(e, o); !better.empty()) error.hint = std::move(better);
  return fail(std::move(error));
}

/// A write that is about to be done: what exactly goes where.
struct Exact {
  std::string file;
  std::string value;
  std::string device;  ///< "8:0 ", in front of the value
};

Result<Exact> exactly(int dir, const op::WriteCgroup& o) {
  Exact x{o.file, o.value, {}};
  if (!o.device.empty()) {
    auto disk = disk_of(o.device, o.field);
    if (!disk) return fail(disk);
    x.device = std::move(*disk);
  } else if (!o.or_file.empty() && ::faccessat(dir, o.file.c_str(), F_OK, 0) < 0 &&
             errno == ENOENT) {
    x.file = o.or_file;
    x.value = o.or_value;
  }
  x.value = x.device + x.value;
  if (x.file == "io.max" || x.file.starts_with("blkio.throttle."))
    x.device = x.value.substr(0, x.value.find(' ') + 1);
  return x;
}

Result<void> write_exactly(int dir, const op::WriteCgroup& o, const Exact& x,
                           const std::string& cgroup, std::vector<LeftOut>& left_out) {
  const int e = write_file_at(dir, x.file.c_str(), x.value);
  if (e == 0) return {};
  auto failed = refused(e, o, x.file, x.value, cgroup);
  if (!o.optional || !cannot_be_had(e)) return failed;
  left_out.push_back({o.field, to_string(failed.value())});
  return {};
}

}  // namespace

Result<std::string> disk_of(const std::string& path, const std::string& field) {
  struct stat st {};
  const std::string where = formatted("{}: '{}'", field, path);
  if (::stat(path.c_str(), &st) < 0) {
    Error e = sys_error(errno, Step::write_cgroup, where);
    e.hint = "the path of a disk, or of a file on one, as the host sees it";
    return fail(std::move(e));
  }
  const dev_t device = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
  if (major(device) == 0)
    return fail(Errc::unsupported, Step::write_cgroup,
                formatted("{} is on a file system without a disk of its own (device {}:{})", where,
                          major(device), minor(device)),
                "give the disk's node, like /dev/sda");
  const auto [a, b] = whole_disk(major(device), minor(device));
  return formatted("{}:{} ", a, b);
}

Result<void> write_limit(int dir, const op::WriteCgroup& o, const std::string& cgroup,
                         std::vector<LeftOut>& left_out) {
  auto x = exactly(dir, o);
  if (!x && o.optional) {
    left_out.push_back({o.field, to_string(x.error())});
    return {};
  }
  if (!x) return fail(x);
  return write_exactly(dir, o, *x, cgroup, left_out);
}

namespace {

/// What brings back what is in a file now; nothing when there is nothing to be had.
std::optional<std::string> old_value(int dir, const Exact& x) {
  std::string text;
  if (read_file_at(dir, x.file.c_str(), text) != 0) return {};
  if (x.device.empty()) {
    // A weight is there with those of devices below it, and written without its word.
    constexpr std::string_view word = "default ";
    const std::size_t begin = text.starts_with(word) ? word.size() : 0;
    const std::size_t end = text.find('\n', begin);
    const bool one_line = end == std::string::npos || end + 1 == text.size();
    if (begin == 0 && !one_line) return {};
    // An empty set of processors is the parent's; nothing written would be nothing done.
    text = text.substr(begin, end - begin);
    return text.empty() ? "\n" : text;
  }
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    if (text.compare(at, x.device.size(), x.device) == 0) return text.substr(at, end - at);
    at = end + 1;
  }
  return x.device + (x.file == "io.max" ? "rbps=max wbps=max riops=max wiops=max" : "0");
}

/// A number of a v1 file of memory; nothing where the kernel's greatest stands for no limit.
std::optional<std::uint64_t> v1_most(int dir, const char* file) {
  constexpr std::uint64_t about_all = std::uint64_t{1} << 62U;
  std::string text;
  if (read_file_at(dir, file, text) != 0) return {};
  const std::uint64_t n = std::strtoull(text.c_str(), nullptr, 10);
  return n >= about_all ? std::nullopt : std::optional(n);
}

/// Changes that are being made, each of which can be taken back.
class Changes {
 public:
  explicit Changes(const std::string& cgroup) : cgroup_(cgroup) {}

  Result<void> make(int dir, const op::WriteCgroup& o, std::vector<LeftOut>& left_out) {
    auto x = exactly(dir, o);
    if (!x) return write_limit(dir, o, cgroup_, left_out);
    auto before = old_value(dir, *x);
    const std::size_t had = left_out.size();
    if (auto ok = write_exactly(dir, o, *x, cgroup_, left_out); !ok) return ok;
    if (left_out.size() == had) done_.push_back({dir, std::move(*x), std::move(before)});
    return {};
  }

  /// The last one first. What could not be taken back is added to the error.
  void take_back(Error& error) {
    for (; !done_.empty(); done_.pop_back()) {
      const auto& [dir, x, before] = done_.back();
      const int e = before ? write_file_at(dir, x.file.c_str(), *before) : EIO;
      if (e != 0)
        error.also.push_back(
            formatted("'{}' of cgroup '{}' stays at '{}'", x.file, cgroup_, x.value));
    }
  }

 private:
  struct Done {
    int dir;
    Exact x;
    std::optional<std::string> before;
  };
  const std::string& cgroup_;
  std::vector<Done> done_;
};

/// Whether the zygote has removed its cgroups: it has ended, whether somebody looked or not.
bool is_gone(const ContainerCore& core) {
  return std::ranges::any_of(core.parents, [&](const auto& p) {
    return ::faccessat(p.second, core.group_name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
           errno == ENOENT;
  });
}

tl::unexpected<Error> has_ended(const ContainerCore& core) {
  return fail(ESRCH, Step::write_cgroup, formatted("container '{}' has ended", core.name));
}

}  // namespace

Result<LimitsReport> change_limits(ContainerCore& core, const Resources& limits) {
  if (auto ok = core.check_owner(); !ok) return fail(ok);
  if (core.exit) return has_ended(core);
  auto facts = core.runtime->get_facts();
  if (!facts) return fail(facts);

  std::vector<std::pair<std::size_t, Fd>> dirs;
  Running running;
  for (const auto& [hierarchy, parent] : core.parents) {
    Fd dir(
        ::openat(parent, core.group_name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!dir && errno == ENOENT) return has_ended(core);
    if (!dir) return fail(errno, Step::write_cgroup, formatted("cgroup '{}'", core.group_name));
    running.hierarchies.push_back(hierarchy);
    dirs.emplace_back(hierarchy, std::move(dir));
  }
  for (const auto& [hierarchy, dir] : dirs) {
    const CgroupHierarchy& h = (*facts)->cgroups[hierarchy];
    if (h.v2 || std::ranges::find(h.controllers, "memory") == h.controllers.end()) continue;
    running.memory = v1_most(dir.get(), "memory.limit_in_bytes");
    running.memory_and_swap = v1_most(dir.get(), "memory.memsw.limit_in_bytes");
  }

  Refusals refusals;
  check_change(limits, refusals);
  Groups groups(**facts, refusals, limits.optional, &running);
  translate_limits(groups, limits);
  if (!refusals.empty()) {
    Error error = refusals.take();
    error.step = Step::write_cgroup;
    return fail(std::move(error));
  }
  LimitsReport report{groups.take_left_out()};
  Changes changes(core.group_name);
  for (const Group& g : groups.take()) {
    const auto found = std::ranges::find(dirs, g.hierarchy, &std::pair<std::size_t, Fd>::first);
    if (g.hierarchy >= program::max_hierarchies || found == dirs.end()) continue;
    const CgroupHierarchy& h = (*facts)->cgroups[g.hierarchy];
    // The controllers that only now are needed.
    auto ready = core.zygote->cgroup_dir(g.hierarchy, h, g.controllers);
    for (const op::WriteCgroup& o : g.values) {
      Result<void> ok{};
      if (!ready)
        ok = fail(ready.error());
      else
        ok = changes.make(found->second.get(), o, report.left_out);
      if (ok) continue;
      Error error = std::move(ok).error();
      changes.take_back(error);
      if (is_gone(core)) return has_ended(core);
      return fail(std::move(error));
    }
  }
  return report;
}

}  // namespace detail

Result<LimitsReport> Container::set_limits(const Resources& limits) {
  if (!core_) return detail::moved_away(Step::write_cgroup);
  return detail::change_limits(*core_, limits);
}

const std::vector<LeftOut>& Container::left_out() const noexcept {
  static const std::vector<LeftOut> none;
  return core_ ? core_->left_out : none;
}

}  // namespace v0
}  // namespace condroid
