#include "condroid/sys/cgroup.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <iterator>
#include <set>

#include "formatted.hpp"
#include "sys/cgroup_files.hpp"
#include "sys/kernel_files.hpp"
#include "sys/wire.hpp"

namespace condroid {
inline namespace v0 {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// One component of a path, and not a way out.
bool is_name(std::string_view text) {
  return !text.empty() && text != "." && text != ".." &&
         text.find_first_of(std::string_view("/\0", 2)) == std::string_view::npos;
}

bool is_path(std::string_view path) {
  if (!path.starts_with('/') || path.find('\0') != std::string_view::npos) return false;
  return (std::string(path) + '/').find("/../") == std::string::npos;
}

bool has(const std::vector<std::string>& list, std::string_view what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

/// Whether a flat-keyed file like cgroup.events says "key 1".
bool is_set(std::string_view text, std::string_view key) {
  const std::string line = formatted("\n{} 1\n", key);
  return formatted("\n{}", text).find(line) != std::string::npos;
}

milliseconds left_of(milliseconds limit, Clock::time_point began) {
  if (limit.count() < 0) return limit;
  return std::max(milliseconds{0},
                  limit - std::chrono::duration_cast<milliseconds>(Clock::now() - began));
}

/// Calls `what` for the cgroup and each below it, from the top. First errno, or 0; what is removed
/// meanwhile does not count.
template <class F>
int for_each_below(int dir, const F& what) {
  int failed = 0;
  detail::for_each_cgroup(dir, [&](int at) {
    const int e = what(at);
    if (e == ENOENT || e == ENODEV) return false;
    if (failed == 0) failed = e;
    return true;
  });
  return failed;
}

}  // namespace

Result<std::vector<CgroupHierarchy>> CgroupDir::hierarchies() {
  auto facts = probe_host();
  if (!facts) return fail(facts);
  return std::move(facts->cgroups);
}

Result<CgroupDir> CgroupDir::open(const CgroupHierarchy& hierarchy, std::string_view path) {
  if (!is_path(path)) return fail(EINVAL, Step::open_descriptor, formatted("cgroup '{}'", path));
  while (path.ends_with('/')) path.remove_suffix(1);
  std::string full = formatted("{}{}", hierarchy.mount_point, path);
  Fd fd(::open(full.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail(errno, Step::open_descriptor, formatted("cgroup '{}'", full));
  CgroupDir group(std::move(fd), std::move(full));
  group.v2_ = hierarchy.v2;
  group.cpuset_ = !hierarchy.v2 && has(hierarchy.controllers, "cpuset");
  group.freezer_ = !hierarchy.v2 && has(hierarchy.controllers, "freezer");
  group.memory_ = !hierarchy.v2 && has(hierarchy.controllers, "memory");
  group.top_ = path.empty();
  return group;
}

Result<CgroupDir> CgroupDir::adopt(const CgroupHierarchy& hierarchy, Fd directory) {
  if (!directory) return fail(EBADF, Step::open_descriptor, "no cgroup");
  char path[4096];
  const ssize_t n =
      ::readlink(formatted("/proc/self/fd/{}", directory.get()).c_str(), path, sizeof path);
  CgroupDir group(std::move(directory),
                  n > 0 ? std::string(path, static_cast<std::size_t>(n)) : hierarchy.mount_point);
  group.v2_ = hierarchy.v2;
  group.cpuset_ = !hierarchy.v2 && has(hierarchy.controllers, "cpuset");
  group.freezer_ = !hierarchy.v2 && has(hierarchy.controllers, "freezer");
  group.memory_ = !hierarchy.v2 && has(hierarchy.controllers, "memory");
  group.top_ = group.path_ == hierarchy.mount_point;
  return group;
}

Result<CgroupDir> CgroupDir::create(const CgroupHierarchy& hierarchy, std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos)
    return fail(EINVAL, Step::create_cgroup, formatted("'{}'", path));
  auto parent = open(hierarchy, slash == 0 ? "/" : path.substr(0, slash));
  if (!parent) {
    parent.error().step = Step::create_cgroup;
    return fail(parent);
  }
  return parent->create_child(path.substr(slash + 1));
}

Result<CgroupDir> CgroupDir::open_child(std::string_view name) const {
  std::string full = formatted("{}/{}", path_, name);
  if (!is_name(name)) return fail(EINVAL, Step::open_descriptor, formatted("cgroup '{}'", full));
  Fd fd(::openat(fd_.get(), std::string(name).c_str(),
                 O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail(errno, Step::open_descriptor, formatted("cgroup '{}'", full));
  CgroupDir child(std::move(fd), std::move(full));
  child.v2_ = v2_;
  child.cpuset_ = cpuset_;
  child.freezer_ = freezer_;
  child.memory_ = memory_;
  return child;
}

Result<CgroupDir> CgroupDir::create_child(std::string_view name) const {
  const std::string full = formatted("'{}/{}'", path_, name);
  const std::string own(name);
  if (!is_name(name)) return fail(EINVAL, Step::create_cgroup, full);
  if (::mkdirat(fd_.get(), own.c_str(), 0755) < 0) return fail(errno, Step::create_cgroup, full);
  auto child = open_child(name);
  int e = 0;
  if (child && cpuset_) e = detail::inherit_cpuset(fd_.get(), child->fd_.get());
  if (child && e == 0) return child;
  (void)::unlinkat(fd_.get(), own.c_str(), AT_REMOVEDIR);
  if (!child) return fail(child);
  return fail(e, Step::create_cgroup, "cpuset of " + full);
}

Result<std::string> CgroupDir::read(std::string_view file) const {
  std::string text;
  const int e =
      is_name(file) ? detail::read_file_at(fd_.get(), std::string(file).c_str(), text) : EINVAL;
  if (e != 0) return fail(e, Step::open_descriptor, formatted("'{}/{}'", path_, file));
  return text;
}

Result<void> CgroupDir::write(std::string_view file, std::string_view text) const {
  const int e =
      is_name(file) ? detail::write_file_at(fd_.get(), std::string(file).c_str(), text) : EINVAL;
  if (e != 0) return fail(e, Step::write_cgroup, formatted("'{}' to '{}/{}'", text, path_, file));
  return {};
}

Result<void> CgroupDir::enable(const std::vector<std::string>& controllers) const {
  if (!fd_) return fail(EBADF, Step::create_cgroup, "controllers of no cgroup");
  if (!v2_) return {};
  return detail::enable_controllers(fd_.get(), path_, controllers);
}

namespace {

/// Why a v2 cgroup takes no process: it gives controllers to cgroups below. At the end of a
/// message.
std::string gives_controllers(int error, int dir) {
  std::string text;
  if (error != EBUSY || detail::read_file_at(dir, "cgroup.subtree_control", text) != 0) return {};
  text.resize(text.find_last_not_of('\n') + 1);
  return text.empty() ? text : formatted(", which gives controllers to those below ({})", text);
}

}  // namespace

Result<void> CgroupDir::add(Pid process) const {
  if (process.value < 1)
    return fail(EINVAL, Step::enter_cgroup, formatted("process {}", process.value));
  if (const int e = detail::write_file_at(fd_.get(), "cgroup.procs", std::to_string(process.value));
      e != 0)
    return fail(
        e, Step::enter_cgroup,
        formatted("process {} into '{}'{}", process.value, path_, gives_controllers(e, fd_.get())));
  return {};
}

Result<void> CgroupDir::enter() const {
  if (const int e = detail::write_file_at(fd_.get(), "cgroup.procs", "0"); e != 0)
    return fail(e, Step::enter_cgroup, formatted("'{}'{}", path_, gives_controllers(e, fd_.get())));
  return {};
}

Result<void> CgroupDir::enter_thread() const {
  if (const int e = detail::write_file_at(fd_.get(), v2_ ? "cgroup.threads" : "tasks", "0"); e != 0)
    return fail(e, Step::enter_cgroup, formatted("this thread into '{}'", path_));
  return {};
}

Result<std::vector<Pid>> CgroupDir::processes() const {
  std::vector<int> numbers;
  if (const int e = detail::list_cgroup(fd_.get(), numbers); e != 0)
    return fail(e, Step::open_descriptor, formatted("'{}/cgroup.procs'", path_));
  std::vector<Pid> pids;
  std::transform(numbers.begin(), numbers.end(), std::back_inserter(pids),
                 [](int n) { return Pid{n}; });
  return pids;
}

Result<bool> CgroupDir::populated() const {
  if (!fd_) return fail(EBADF, Step::open_descriptor, "no cgroup");
  if (v2_ && !top_) {
    std::string events;
    const int e = detail::read_file_at(fd_.get(), "cgroup.events", events);
    if (e == ENOENT || e == ENODEV) return false;
    if (e != 0) return fail(e, Step::open_descriptor, formatted("'{}/cgroup.events'", path_));
    return is_set(events, "populated");
  }
  bool found = false;
  const int e = for_each_below(fd_.get(), [&](int dir) {
    std::vector<int> pids;
    const int failed = detail::list_cgroup(dir, pids);
    found = found || !pids.empty();
    return failed;
  });
  if (e != 0) return fail(e, Step::open_descriptor, formatted("processes below '{}'", path_));
  return found;
}

Result<void> CgroupDir::freeze(milliseconds limit) const { return change_freezer(true, limit); }
Result<void> CgroupDir::thaw(milliseconds limit) const { return change_freezer(false, limit); }

Result<void> CgroupDir::change_freezer(bool frozen, milliseconds limit) const {
  if (fd_ && !v2_ && !freezer_)
    return fail(Errc::unsupported, Step::freeze,
                formatted("'{}' is not in the freezer's hierarchy", path_));
  const int e =
      v2_ ? detail::write_file_at(fd_.get(), "cgroup.freeze", frozen ? "1" : "0")
          : detail::write_file_at(fd_.get(), "freezer.state", frozen ? "FROZEN" : "THAWED");
  if (e != 0) return fail(e, Step::freeze, formatted("'{}'", path_));
  return v2_ ? wait_frozen_v2(frozen, limit) : wait_frozen_v1(frozen, limit);
}

Result<void> CgroupDir::wait_frozen_v2(bool frozen, milliseconds limit) const {
  const auto began = Clock::now();
  const Fd events(::openat(fd_.get(), "cgroup.events", O_RDONLY | O_CLOEXEC));
  if (!events) return fail(errno, Step::freeze, formatted("'{}/cgroup.events'", path_));
  for (;;) {
    // Reading also arms the next POLLPRI, so that no change is missed between the two.
    char text[1024];
    const ssize_t n = ::pread(events.get(), text, sizeof text, 0);
    if (n < 0) return fail(errno, Step::freeze, formatted("'{}/cgroup.events'", path_));
    if (is_set(std::string_view(text, static_cast<std::size_t>(n)), "frozen") == frozen) return {};
    const auto left = left_of(limit, began);
    if (left.count() == 0) return fail(Errc::deadline, Step::freeze, formatted("'{}'", path_));
    if (const int ready = detail::wait_for_fd(events.get(), POLLPRI, detail::poll_timeout(left));
        ready < 0)
      return fail(-ready, Step::freeze, formatted("'{}/cgroup.events'", path_));
  }
}

Result<void> CgroupDir::wait_frozen_v1(bool frozen, milliseconds limit) const {
  const auto began = Clock::now();
  for (timespec pause{0, 20000};;) {
    std::string state;
    if (const int e = detail::read_file_at(fd_.get(), "freezer.state", state); e != 0)
      return fail(e, Step::freeze, formatted("'{}/freezer.state'", path_));
    if (state == (frozen ? "FROZEN\n" : "THAWED\n")) return {};
    if (left_of(limit, began).count() == 0)
      return fail(Errc::deadline, Step::freeze, formatted("'{}'", path_));
    // Nothing tells; reading is what moves FREEZING on. Most stand still within microseconds.
    (void)::ppoll(nullptr, 0, &pause, nullptr);
    pause.tv_nsec = std::min(pause.tv_nsec * 2, 1000000L);
  }
}

Result<bool> CgroupDir::frozen() const {
  if (!fd_) return fail(EBADF, Step::freeze, "no cgroup");
  if (!v2_ && !freezer_)
    return fail(Errc::unsupported, Step::freeze,
                formatted("'{}' is not in the freezer's hierarchy", path_));
  const char* const file = v2_ ? "cgroup.events" : "freezer.state";
  std::string text;
  if (const int e = detail::read_file_at(fd_.get(), file, text); e != 0)
    return fail(e, Step::freeze, formatted("'{}/{}'", path_, file));
  return v2_ ? is_set(text, "frozen") : text == "FROZEN\n";
}

bool CgroupDir::reclaims() const noexcept {
  return v2_ ? ::faccessat(fd_.get(), "memory.current", F_OK, 0) == 0 : memory_ && !top_;
}

Result<Bytes> CgroupDir::reclaim(std::optional<Bytes> most) const {
  const auto unable = [&](std::string_view why) {
    return fail(Errc::unsupported, Step::write_cgroup, formatted("memory of '{}'", path_),
                std::string(why));
  };
  if (fd_ && !reclaims()) {
    if (::faccessat(fd_.get(), "cgroup.procs", F_OK, 0) < 0)
      return fail(errno, Step::write_cgroup, formatted("'{}'", path_));
    return unable("the memory of what is in there is counted elsewhere");
  }
  if (fd_ && !v2_ && most) return unable("cgroup v1 takes back all that it can, not a part of it");
  const auto held = [&]() -> Result<std::uint64_t> {
    auto text = read(v2_ ? "memory.current" : "memory.usage_in_bytes");
    if (!text) return fail(text);
    return std::strtoull(text->c_str(), nullptr, 10);
  };
  auto before = held();
  if (!before) return fail(before);
  const char* file = v2_ ? "memory.reclaim" : "memory.force_empty";
  const std::string amount =
      v2_ ? formatted("{}", most ? std::min(most->value, *before) : *before) : std::string("0");
  const Fd to(::openat(fd_.get(), file, O_WRONLY | O_CLOEXEC));
  if (!to && errno == ENOENT && v2_ && held()) return unable("memory.reclaim takes Linux 5.19");
  // Once: after a signal the kernel has forgotten how much there was of it already. EAGAIN: there
  // was not so much.
  if (!to ||
      (::write(to.get(), amount.data(), amount.size()) < 0 && errno != EAGAIN && errno != EINTR))
    return fail(errno, Step::write_cgroup, formatted("'{}/{}'", path_, file));
  auto after = held();
  if (!after) return fail(after);
  return Bytes{*before > *after ? *before - *after : 0};
}

Result<void> CgroupDir::kill() const {
  if (!fd_) return fail(EBADF, Step::kill, "no cgroup");
  if (v2_) {
    const int e = detail::write_file_at(fd_.get(), "cgroup.kill", "1");
    if (e == 0) return {};
    if (e != ENOENT) return fail(e, Step::kill, formatted("'{}'", path_));
  }
  return kill_one_by_one();
}

Result<void> CgroupDir::kill_one_by_one() const {
  bool outside = false, own = false;
  std::set<int> known;
  const auto look = [&](auto&& at_new) {
    return for_each_below(fd_.get(), [&](int dir) {
      std::vector<int> pids;
      if (const int e = detail::list_cgroup(dir, pids); e != 0) return e;
      outside = outside || (!pids.empty() && pids.front() == 0);
      own = own || std::binary_search(pids.begin(), pids.end(), ::getpid());
      std::erase_if(pids, [&](int pid) { return pid == 0 || known.contains(pid); });
      return pids.empty() ? 0 : at_new(dir, pids);
    });
  };
  int failed = look([](int, const std::vector<int>&) { return 0; });
  // Who is stopped does not fork. Not when the caller would stop himself.
  const bool stop = freezer_ && !own && !top_;
  if (stop) (void)freeze(milliseconds{200});
  constexpr int most_rounds = 1000;
  for (int round = 0; round < most_rounds; ++round) {
    bool found = false;
    const int e = look([&](int dir, const std::vector<int>& pids) {
      found = true;
      known.insert(pids.begin(), pids.end());
      return detail::kill_listed(dir, pids);
    });
    if (failed == 0) failed = e;
    if (!found) break;
  }
  if (freezer_ && !top_) detail::thaw_below(fd_.get());
  if (failed != 0) return fail(failed, Step::kill, formatted("'{}'", path_));
  if (outside)
    return fail(Errc::unsupported, Step::kill,
                formatted("'{}' has processes outside of this pid namespace", path_));
  return {};
}

Result<void> CgroupDir::remove(milliseconds limit) const {
  if (!fd_) return fail(EBADF, Step::remove_cgroup, "no cgroup");
  if (top_)
    return fail(EBUSY, Step::remove_cgroup, formatted("'{}' is the top of its hierarchy", path_));
  const auto began = Clock::now();
  const Fd parent(::openat(fd_.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!parent) return fail(errno, Step::remove_cgroup, formatted("'{}'", path_));
  const std::string name = path_.substr(path_.rfind('/') + 1);
  for (;;) {
    // Another one that was made under the name since is not ours to remove.
    struct stat ours {
    }, named{};
    if (::fstat(fd_.get(), &ours) < 0)
      return fail(errno, Step::remove_cgroup, formatted("'{}'", path_));
    if (::fstatat(parent.get(), name.c_str(), &named, AT_SYMLINK_NOFOLLOW) < 0 ||
        named.st_ino != ours.st_ino)
      return {};
    const int e = detail::remove_empty_cgroup(parent.get(), name.c_str());
    if (e == 0) return {};
    if (e != EBUSY || left_of(limit, began).count() == 0)
      return fail(e, Step::remove_cgroup,
                  formatted("'{}'{}", path_, detail::in_the_way(e, fd_.get(), ".")));
    (void)::poll(nullptr, 0, 2);
  }
}

}  // namespace v0
}  // namespace condroid
